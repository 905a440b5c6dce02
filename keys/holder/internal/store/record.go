package store

import "tarn/keys/badgerdb"

// Key names a record. Kind is of a-z and -, Name any text of at most 1 KiB.
type Key struct{ Kind, Name string }

// Change writes a record, or deletes it where Value is nil.
type Change struct {
	Key   Key
	Value []byte
}

// KindTombstone is the kind of records that lie in the anchor as well, by name:
// what a restore must not bring back. They are never deleted.
const KindTombstone = "tombstone"

// ErrNoSpace says that free space is below the floor. Nothing was written;
// reading goes on. [Store.Room] gives it before a change is decided, so that a
// caller whose memory runs ahead of the disk need not take a change back;
// Enqueue itself gives it only at a harder floor, half as high.
var ErrNoSpace = badgerdb.ErrNoSpace
