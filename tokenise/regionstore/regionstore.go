// Package regionstore is the one store of a region: a folder of Badger in which the
// tokeniser keeps, sealed, what it must still know after a restart. Records are of
// kinds, and each kind's names and values are its user's affair.
//
// What was committed is there after a power cut. A record that is damaged on the disk
// gives an error or is missing, and never another value: names are keyed hashes, and
// each value lies in an authenticated envelope bound to its kind and name. Unlike the
// key holder's store it has no anchor elsewhere, and so does not notice that records
// are gone or that an older copy took its place: a record that is lost is only made
// again (an escrow envelope at the token's next sight; a request that was answered is
// answered again).
//
// One process has it open at a time. Changes go through one queue, and what waits
// together shares a sync.
package regionstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"tarn/keys/badgerdb"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// Kind is a sort of records. 0 is none. Records of kinds from 128 on expire, and no
// others do.
type Kind byte

// The kinds.
const (
	KindEscrowBatch Kind = 1 // see tokenise/escrow
	KindEscrow      Kind = 2
	KindBudget      Kind = 3   // what a client has used, see tokenise/serving
	KindRequest     Kind = 128 // a request that was answered
)

// firstExpiring is the first kind whose records expire.
const firstExpiring Kind = 128

// Expires reports whether records of a kind expire.
func (k Kind) Expires() bool { return k >= firstExpiring }

// Bounds of a record, in bytes.
const (
	MaxName  = 1 << 10
	MaxValue = 1 << 20
)

// Change writes a record, or deletes it where Value is nil.
type Change struct {
	Kind  Kind
	Name  []byte
	Value []byte
	// ExpiresAt is when the record ceases to be, for a kind that expires, to the
	// millisecond; zero for others.
	ExpiresAt time.Time
	// stale deletes the record only if it has expired when it comes to that.
	stale *place
}

// Options are what a store is given.
type Options struct {
	Dir       string     // of this store only; made where it is missing
	Key       secret.Key // see OpenKey; the caller's to destroy
	FreeFloor uint64     // bytes; 0 is badgerdb.DefaultFreeFloor
	FreeSpace func(folder string) (uint64, error)
	Logger    *slog.Logger
	Clock     func() time.Time // needed
	Rand      io.Reader        // nil is the operating system's
	Unsynced  bool             // for the control of tests: loses what a power cut loses
}

// Store is an open store. It is safe for concurrent use.
type Store struct {
	options Options
	sealer  *sealer
	queue   *badgerdb.Queue[[]Change]

	mu     sync.RWMutex // held for writing while it is closed
	db     *badger.DB
	closed bool

	filters      filters
	writing      sync.Mutex // held while a transaction is written
	transactions atomic.Uint64
}

// ErrNotFound says that there is no such record, or no longer.
var ErrNotFound = errors.New("region store: there is no such record")

// ErrDamaged is wrapped by the error of a record that is not as it was written. It can be
// written again.
var ErrDamaged = errors.New("region store: a record is damaged")

// ErrNoSpace says that free space is below the floor. Nothing was written; reading
// goes on, and so does writing when there is space again.
var ErrNoSpace = badgerdb.ErrNoSpace

// ErrInUse says that another process has the store open.
var ErrInUse = badgerdb.ErrInUse

// DefaultFreeFloor is the free space, in bytes, below which nothing is written.
const DefaultFreeFloor = badgerdb.DefaultFreeFloor

// content is what the marker's record holds.
const content = "tarn/region-store/v1"

// Open opens a store, and makes it where its folder is missing or empty. It refuses a
// store that another process has open, and one of another key.
func Open(o Options) (*Store, error) {
	doing := "opening the region's store " + o.Dir
	if o.FreeFloor == 0 {
		o.FreeFloor = badgerdb.DefaultFreeFloor
	}
	if o.FreeSpace == nil {
		o.FreeSpace = badgerdb.FreeSpace
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	sealer, err := newSealer(o.Key, o.Rand)
	if err != nil {
		return nil, err
	}
	o.Key = secret.Key{}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "name a folder that can be written")
	}
	if err := badgerdb.Room(o.FreeSpace, o.Dir, o.FreeFloor); err != nil {
		return nil, fault.New(fault.Internal, doing, "there is less free space there than its floor", "make space, or lower free_floor")
	}
	db, err := badgerdb.Open(badgerdb.Options{Dir: o.Dir, Logger: o.Logger, Unsynced: o.Unsynced})
	if errors.Is(err, badgerdb.ErrInUse) {
		return nil, &fault.Error{Kind: fault.Usage, Doing: doing, Wrong: "another tokeniser has it open: a region's store has one owner", Next: "stop the other, or name another folder", Cause: ErrInUse}
	}
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "its files cannot be opened",
			"see that this user may read and write them; if they are damaged, remove the folder: what it held is made again")
	}
	s := &Store{options: o, sealer: sealer, db: db}
	if err := s.check(doing); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.queue = badgerdb.NewQueue(s.transaction, func(err error) bool { return errors.Is(err, ErrNoSpace) })
	return s, nil
}

// check holds the store to its key, and leaves the key's mark in a new one.
func (s *Store) check(doing string) error {
	value, err := s.read(marker)
	switch {
	case err == nil && string(value) == content:
		return nil
	case !errors.Is(err, badger.ErrKeyNotFound) || !s.empty():
		return fault.New(fault.Disagreement, doing, "its records are sealed under another key, or are damaged",
			"restore the key from its backup, or remove the folder: what it held is made again")
	}
	envelope, err := s.sealer.seal(marker, time.Time{}, []byte(content))
	if err == nil {
		err = s.db.Update(func(txn *badger.Txn) error { return txn.Set(marker[:], envelope) })
	}
	if err != nil {
		return fault.New(fault.Internal, doing, "it could not be written", "look at the disk, then start again")
	}
	return nil
}

func (s *Store) empty() (empty bool) {
	err := s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		it.Rewind()
		empty = !it.Valid()
		return nil
	})
	return empty && err == nil
}

// read returns the value at a place. It is badger.ErrKeyNotFound where there is none
// that still holds.
func (s *Store) read(at place) (value []byte, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		value, err = s.readIn(txn, at)
		return err
	})
	return value, err
}

func (s *Store) readIn(txn *badger.Txn, at place) (value []byte, err error) {
	item, err := txn.Get(at[:])
	if err != nil {
		return nil, err
	}
	err = item.Value(func(envelope []byte) error {
		holds := false
		if value, holds, err = s.sealer.open(at, envelope, s.options.Clock()); err == nil && !holds {
			clear(value)
			value, err = nil, badger.ErrKeyNotFound
		}
		return err
	})
	return value, err
}

// Get returns a record's value, or [ErrNotFound]. The error of one that is damaged wraps
// [ErrDamaged].
func (s *Store) Get(kind Kind, name []byte) (value []byte, err error) {
	at := s.sealer.placeOf(kind, name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, badgerdb.ErrClosed
	}
	if s.filters.absent(kind, &at) {
		return nil, ErrNotFound
	}
	value, err = s.read(at)
	return value, outward(err)
}

// outward hides what Badger says of a record that it cannot read.
func outward(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, badger.ErrKeyNotFound):
		return ErrNotFound
	}
	return &fault.Error{Kind: fault.Internal, Doing: "reading the region's store", Wrong: "a record is damaged",
		Next: "stop the tokeniser, look at the disk, and remove the store's folder: what it held is made again", Cause: ErrDamaged}
}

// Commit writes changes, and returns when they are durable. Callers that wait together
// share a sync. More than some thousand changes are divided, and may be there in part
// after an error. After any error but [ErrNoSpace], and one that says that the changes
// are none, the process must end: see Failed.
func (s *Store) Commit(ctx context.Context, changes []Change) error {
	return s.Enqueue(changes)(ctx)
}

// Enqueue is Commit for a caller to whom the order matters: changes are written in the
// order of the calls. wait returns when they are durable; its context ends the waiting,
// not the writing.
func (s *Store) Enqueue(changes []Change) (wait func(context.Context) error) {
	if err := valid(changes); err != nil {
		return func(context.Context) error { return err }
	}
	if n, size := divide(changes); n == len(changes) {
		return s.queue.Enqueue(changes, size)
	}
	var waits []func(context.Context) error
	for len(changes) > 0 {
		n, size := divide(changes)
		waits = append(waits, s.queue.Enqueue(changes[:n], size))
		changes = changes[n:]
	}
	return func(ctx context.Context) error {
		for _, wait := range waits {
			if err := wait(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

func valid(changes []Change) error {
	for i := range changes {
		c := &changes[i]
		expires := c.Kind.Expires() && c.Value != nil
		if c.stale == nil && (c.Kind == 0 || len(c.Name) > MaxName || len(c.Value) > MaxValue || expires == c.ExpiresAt.IsZero()) {
			return fmt.Errorf("region store: a record of kind %d is longer than it may be, or expires where its kind does not", c.Kind)
		}
	}
	return nil
}

// overhead is what a record has besides its value, in bytes, at most.
const overhead = 128

// divide returns how many of the first changes are written as one.
func divide(changes []Change) (n int, size badgerdb.Size) {
	for n < len(changes) && n < badgerdb.BatchChanges {
		more := len(changes[n].Value) + overhead
		if n > 0 && size.Bytes+more > badgerdb.BatchBytes {
			break
		}
		n, size.Bytes = n+1, size.Bytes+more
	}
	size.Changes = n
	return n, size
}

// transaction writes a batch as one. It is the queue's.
func (s *Store) transaction(batch [][]Change) error {
	if err := s.Room(); err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.db.Update(func(txn *badger.Txn) error {
		for _, changes := range batch {
			for i := range changes {
				if err := s.apply(txn, &changes[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fault.New(fault.Internal, "writing the region's store", "the transaction failed", "look at the disk, then start again")
	}
	s.transactions.Add(1)
	return nil
}

// collectAfter is for how long Badger keeps a record that has expired. It goes by the
// system's clock; that a record is not returned any more goes by the store's.
const collectAfter = time.Hour

func (s *Store) apply(txn *badger.Txn, c *Change) error {
	if c.stale != nil {
		_, err := s.readIn(txn, *c.stale)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return txn.Delete(c.stale[:])
		}
		return nil // written anew meanwhile; what is damaged gives its error to its reader
	}
	at := s.sealer.placeOf(c.Kind, c.Name)
	if c.Value == nil {
		return txn.Delete(at[:])
	}
	envelope, err := s.sealer.seal(at, c.ExpiresAt, c.Value)
	if err != nil {
		return err
	}
	entry := badger.NewEntry(at[:], envelope)
	if c.Kind.Expires() {
		s.filters.note(&at) // before it is there: who asks for it must not be told that it is not
		entry = entry.WithTTL(max(0, c.ExpiresAt.Sub(s.options.Clock())) + collectAfter)
	}
	return txn.SetEntry(entry)
}

// Failed is closed once a change could not be written. Every later one fails, and the
// process must end.
func (s *Store) Failed() <-chan struct{} { return s.queue.Failed() }

// Room refuses, with [ErrNoSpace], while there is less free space than the floor.
func (s *Store) Room() error {
	return badgerdb.Room(s.options.FreeSpace, s.options.Dir, s.options.FreeFloor)
}

// FreeBytes returns the free bytes where the store lies, 0 where the system does not
// say.
func (s *Store) FreeBytes() uint64 {
	free, err := s.options.FreeSpace(s.options.Dir)
	if err != nil {
		return 0
	}
	return free
}

// Transactions returns how many transactions were written since the store was opened.
func (s *Store) Transactions() uint64 { return s.transactions.Load() }

// places gives every place of a kind at which Badger has a record, until f returns an
// error.
func (s *Store) places(ctx context.Context, kind Kind, f func(place) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return badgerdb.ErrClosed
	}
	return s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{byte(kind)}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if key := it.Item().Key(); len(key) == len(place{}) {
				if err := f(place(key)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Count returns how many records of a kind there are, those that have expired and are
// not swept yet included. It walks over all of them.
func (s *Store) Count(ctx context.Context, kind Kind) (n uint64, err error) {
	err = s.places(ctx, kind, func(place) error { n++; return nil })
	return n, err
}

// Sweep deletes records that have expired. They are on the disk until Badger has
// written its files anew.
func (s *Store) Sweep(ctx context.Context) (swept int, err error) {
	var stale []Change
	for kind := int(firstExpiring); kind <= 0xff; kind++ {
		err := s.places(ctx, Kind(kind), func(at place) error {
			if _, err := s.read(at); errors.Is(err, badger.ErrKeyNotFound) {
				stale = append(stale, Change{stale: &at})
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return len(stale), s.Commit(ctx, stale)
}

// workEvery is the time between two looks at what Badger could collect; sweepEvery between
// two walks over all records that expire, which Badger forgets by itself, an hour after by
// the system's clock.
const (
	workEvery  = 10 * time.Minute
	sweepEvery = 6 * time.Hour
)

// wasted is the part of a value log that must be of no use for it to be written anew.
const wasted = .5

// Work keeps the store small and quick until its context ends: it sweeps, has Badger collect
// what is of no use, and makes what tells of most names without a read that they are not
// there.
func (s *Store) Work(ctx context.Context) {
	tick := time.NewTicker(workEvery)
	defer tick.Stop()
	for round := 0; ; round++ {
		if round%int(sweepEvery/workEvery) == 0 {
			if err := s.sweepAndRefresh(ctx); err != nil && ctx.Err() == nil {
				s.options.Logger.Warn("the region's store could not be swept")
			}
		}
		s.collect(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweepAndRefresh makes the filter first: a sweep reads every record.
func (s *Store) sweepAndRefresh(ctx context.Context) error {
	if err := s.refresh(ctx); err != nil {
		return err
	}
	if _, err := s.Sweep(ctx); err != nil {
		return err
	}
	return s.refresh(ctx)
}

func (s *Store) collect(ctx context.Context) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for !s.closed && ctx.Err() == nil && s.db.RunValueLogGC(wasted) == nil { // an error: there is nothing to collect
	}
}

// Close writes what waits, and closes the store. A second call does nothing.
func (s *Store) Close() error {
	first, err := s.queue.Close()
	if !first || err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if err := s.db.Close(); err != nil {
		return fault.New(fault.Internal, "closing the region's store", "its files could not be closed", "look at the disk")
	}
	return nil
}
