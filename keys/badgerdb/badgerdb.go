// Package badgerdb opens Badger the way a store that must not lose what it has
// acknowledged needs it, and has one writer write what several callers wait for.
//
// Badger by itself syncs only when told to, can fail to open once after a kill,
// writes names of records into its log messages, and ends the process with a
// signal that nothing can catch where the disk is full. It also opens damaged
// files without a word: what it holds must be sealed by whoever uses it.
package badgerdb

import (
	"errors"
	"log/slog"
	"os"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"tarn/keys/fault"
)

// DefaultFreeFloor is the free space, in bytes, below which changes are refused.
// Badger writes through mapped files, and a full disk then ends the process with a
// signal: the floor is some four times of what it may map ahead (a memtable's log
// of twice memtableSize, a value log).
const DefaultFreeFloor = 1 << 30

// Sizes of Badger's files, in bytes. A transaction may have 15% of a memtable.
const (
	memtableSize = 64 << 20
	valueLogSize = 64 << 20
)

// Options say what is opened, and how.
type Options struct {
	Dir      string
	Logger   *slog.Logger // nil is silent
	Unsynced bool         // for the control of tests: loses what a power cut loses
}

// ErrInUse says that another process, or another part of this one, has the folder
// open.
var ErrInUse = errors.New("badgerdb: it is open already")

// silent takes Badger's messages, which may hold names and keys of records, and
// says only that there was one.
type silent struct{ logger *slog.Logger }

func (s silent) Errorf(string, ...any)   { s.logger.Error("the store's library reported an error") }
func (s silent) Warningf(string, ...any) { s.logger.Warn("the store's library reported a warning") }
func (silent) Infof(string, ...any)      {}
func (silent) Debugf(string, ...any)     {}

// Open opens a folder of Badger, and makes it where it is missing. The error is
// [ErrInUse], or the library's, whose text may name files only.
func Open(o Options) (*badger.DB, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	options := badger.DefaultOptions(o.Dir).
		WithSyncWrites(!o.Unsynced).
		WithLogger(silent{o.Logger}).
		WithMemTableSize(memtableSize).WithNumMemtables(2).WithValueLogFileSize(valueLogSize).
		WithNumCompactors(2).WithBlockCacheSize(8 << 20).WithMetricsEnabled(false)
	db, err := badger.Open(options)
	if err != nil && inUse(o.Dir) {
		return nil, ErrInUse
	}
	if err != nil {
		// After a kill the first opening can fail and the second succeed (issue 2207 of
		// Badger).
		db, err = badger.Open(options)
	}
	return db, err
}

// inUse reports whether a lock like Badger's cannot be had. Its own error says so in
// words only.
func inUse(dir string) bool {
	folder, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer func() { _ = folder.Close() }() // the lock goes with it
	return errors.Is(unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// FreeSpace returns the bytes that are free for this user where a folder lies.
func FreeSpace(folder string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// ErrNoSpace says that free space is below the floor. Nothing was written; reading
// goes on.
var ErrNoSpace = errors.New("store: there is less free space than the floor")

// Room refuses, with [ErrNoSpace], while there is less free space than a floor, in
// bytes. free is [FreeSpace], or a test's.
func Room(free func(folder string) (uint64, error), folder string, floor uint64) error {
	bytes, err := free(folder)
	if err != nil {
		return fault.Wrap(fault.Internal, "looking for free space", err, "")
	}
	if bytes < floor {
		return ErrNoSpace
	}
	return nil
}
