// Package store keeps the key holder's records in Badger, sealed, such that a
// write that was acknowledged is there after a power cut, and a record that was
// lost, changed, moved or rolled back is noticed at the next start.
//
// Badger by itself does neither: it syncs only when told to, and opens a damaged
// log without a word (measured: a flipped byte lost 953 of 966 keys). So each
// transaction is synced, each value lies in an authenticated envelope bound to
// its name and version, and the count of records and a keyed sum over them are
// compared with an anchor on another filesystem.
//
// Changes go through one queue. What waits together is written as one
// transaction, so that many callers share a sync.
package store

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"tarn/keys"
	"tarn/keys/badgerdb"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// State says how far a store has got.
type State struct {
	Sequence   uint64            // transactions since the deployment began
	Count      uint64            // records
	Root       [sha256.Size]byte // keyed sum over all envelopes
	Generation uint64
	Tombstones []string // sorted
}

// Options are what a store is given.
type Options struct {
	Dir        string // Badger's folder, of this generation
	Anchor     string // the anchor's path, on another filesystem
	Root       secret.Key
	Generation uint64
	FreeFloor  uint64                              // bytes; 0 is badgerdb.DefaultFreeFloor
	FreeSpace  func(folder string) (uint64, error) // nil asks the system
	Rand       io.Reader                           // nil is the operating system's
	Logger     *slog.Logger                        // nil is silent
	Unsynced   bool                                // for the control of tests: loses what a power cut loses
}

// Store is an open store. It is safe for concurrent use.
type Store struct {
	options Options
	db      *badger.DB
	sealer  *sealer
	anchor  secret.Key // of the deployment: stays when the generation changes
	signer  string
	queue   *badgerdb.Queue[[]Change]
	closed  chan struct{}

	stateMu      sync.Mutex
	state        State
	pending      bool // Promote has not been called
	transactions uint64
}

// ledger is the store's own record of its state. It is written in the same
// transaction as what it counts, and is not counted.
type ledger struct {
	Sequence   uint64   `json:"sequence"`
	Count      uint64   `json:"count"`
	Root       string   `json:"root"`
	Before     string   `json:"before"` // root of the transaction before
	CountThen  uint64   `json:"count_before"`
	Tombstones []string `json:"tombstones"`
	Earlier    []string `json:"tombstones_before"`
}

var (
	ledgerKey = Key{Kind: "ledger", Name: "state"}
	anchorKey = Key{Kind: "store", Name: "anchor-key"}
)

func openBadger(o *Options) (*badger.DB, error) {
	db, err := badgerdb.Open(badgerdb.Options{Dir: o.Dir, Logger: o.Logger, Unsynced: o.Unsynced})
	if err != nil {
		return nil, fault.New(fault.Internal, "opening the store", "its files cannot be opened, or another process has them open",
			"see that no other key holder runs here; else restore a backup: docs/operations.md")
	}
	return db, nil
}

func (o *Options) complete() {
	if o.FreeFloor == 0 {
		o.FreeFloor = badgerdb.DefaultFreeFloor
	}
	if o.FreeSpace == nil {
		o.FreeSpace = badgerdb.FreeSpace
	}
}

func begin(o Options) (*Store, error) {
	o.complete()
	sealer, err := newSealer(o.Root, o.Generation, o.Rand)
	if err != nil {
		return nil, err
	}
	o.Root = secret.Key{} // the caller's to destroy
	s := &Store{options: o, sealer: sealer, closed: make(chan struct{})}
	s.db, err = openBadger(&s.options)
	return s, err
}

// Create makes a store in a folder that is missing or empty, and its anchor.
func Create(ctx context.Context, o Options) (*Store, error) {
	if _, err := ReadAnchor(o.Anchor); !errors.Is(err, errNoAnchor) {
		return nil, fault.New(fault.Usage, "making the store", "there is an anchor at "+o.Anchor+" already, so there is or was a store that it belongs to",
			"choose another path for the anchor; to bring a store back, restore a backup")
	}
	key, err := secret.Generate(o.Rand)
	if err != nil {
		return nil, err
	}
	var value []byte
	key.Use(func(b *[secret.Size]byte) { value = append(value, b[:]...) })
	defer clear(value)
	return fill(ctx, o, key, State{Generation: o.Generation}, nil, []Change{{Key: anchorKey, Value: value}}, false)
}

// fill makes a new store of these records. pending leaves the anchor's current
// mark as it is, until Promote.
func fill(ctx context.Context, o Options, anchor secret.Key, from State, tombstones []string, records []Change, pending bool) (*Store, error) {
	const doing = "making the store"
	entries, err := os.ReadDir(o.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.Wrap(fault.Usage, doing, err, "choose another folder")
	}
	if len(entries) > 0 {
		return nil, fault.New(fault.Usage, doing, "the folder "+o.Dir+" is not empty", "choose one that is missing or empty")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	s, err := begin(o)
	if err != nil {
		return nil, err
	}
	s.anchor, s.signer, s.pending = anchor, signerOf(anchor), pending
	s.state = State{Sequence: from.Sequence, Generation: o.Generation, Tombstones: union(from.Tombstones, tombstones)}
	s.queue = badgerdb.NewQueue(s.transaction, nil)
	for _, name := range tombstones {
		records = append(records, Change{Key: Key{KindTombstone, name}, Value: []byte("{}")})
	}
	for chunk := range slices.Chunk(records, badgerdb.BatchChanges) {
		if err := s.Commit(ctx, chunk); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, errors.Join(keys.SyncFolder(filepath.Dir(o.Dir)))
}

// signerOf returns the public key of a deployment's backups, in hex.
func signerOf(anchor secret.Key) string {
	return hex.EncodeToString(signingKey(anchor).Public().(ed25519.PublicKey)) //nolint:forcetypeassert // by its documentation
}

// signingKey is the deployment's key for signing backups.
func signingKey(anchor secret.Key) (key ed25519.PrivateKey) {
	anchor.Derive([]byte("tarn/holder/backup-signing/v1")).Use(func(b *[secret.Size]byte) { key = ed25519.NewKeyFromSeed(b[:]) })
	return key
}

// Open opens a store, reads all of it, and holds it to its anchor.
func Open(ctx context.Context, o Options) (*Store, error) {
	const doing = "opening the store"
	restore := "keep both as they are, find out what happened, and restore a backup: docs/operations.md"
	if _, err := os.Stat(o.Dir); err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, restore)
	}
	a, err := ReadAnchor(o.Anchor)
	if err != nil {
		return nil, err
	}
	s, err := begin(o)
	if err != nil {
		return nil, err
	}
	fail := func(wrong string) (*Store, error) {
		return nil, errors.Join(fault.New(fault.Internal, doing, wrong, restore), s.db.Close())
	}
	state, l, err := s.verify(ctx)
	if err != nil {
		if errors.Is(err, errDamaged) {
			return fail("a record is damaged or lies where it does not belong, or the root key is not this store's")
		}
		return nil, errors.Join(err, s.db.Close())
	}
	if l == nil {
		return fail("it holds no record of its own state: its files were damaged or removed")
	}
	state.Sequence, state.Tombstones = l.Sequence, l.Tombstones
	if state.Count != l.Count || hex.EncodeToString(state.Root[:]) != l.Root {
		return fail("records are missing, or are older than others: its files were damaged or put together from several copies")
	}
	if !s.anchor.Valid() {
		return fail("it holds no key for its anchor")
	}
	s.signer = signerOf(s.anchor)
	m := a.mark(o.Generation)
	switch {
	case m == nil:
		return fail("the anchor is of another generation")
	case !m.Verify(s.anchor):
		return fail("the anchor was not written by this deployment, or was changed")
	case m.same(state):
	case m.Sequence+1 == l.Sequence && m.Count == l.CountThen && m.Root == l.Before && slices.Equal(m.Tombstones, l.Earlier):
		// Killed after the transaction and before the anchor: nobody was told.
	case m.Sequence > l.Sequence:
		return fail(fmt.Sprintf("it is older than its anchor by %d transactions: an older copy was put in its place, or writes were lost", m.Sequence-l.Sequence))
	default:
		return fail("it does not follow from its anchor: the anchor is an older copy, or writes were lost")
	}
	s.state = state
	if err := s.mark(state); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	s.queue = badgerdb.NewQueue(s.transaction, nil)
	return s, nil
}

// verify opens every envelope, and returns the state that they add up to and
// what the ledger says.
func (s *Store) verify(ctx context.Context) (State, *ledger, error) {
	state, found := State{Generation: s.options.Generation}, (*ledger)(nil)
	err := s.envelopes(ctx, func(at place, envelope []byte) error {
		key, value, err := s.sealer.open(at, envelope)
		if err != nil {
			return err
		}
		defer clear(value)
		switch key {
		case ledgerKey:
			found = new(ledger)
			return keys.DecodeStrict(value, found)
		case anchorKey:
			if len(value) != secret.Size {
				return errDamaged
			}
			s.anchor = secret.New([secret.Size]byte(value))
		}
		state.Count++
		add(&state.Root, s.sealer.sum(at, envelope))
		return nil
	})
	return state, found, err
}

// envelopes gives every envelope of the store as it is now.
func (s *Store) envelopes(ctx context.Context, f func(place, []byte) error) error {
	return s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			item := it.Item()
			if len(item.Key()) != placeSize {
				return errDamaged
			}
			if err := item.Value(func(envelope []byte) error { return f(place(item.Key()), envelope) }); err != nil {
				return damagedOr(err)
			}
		}
		return nil
	})
}

// damagedOr hides what Badger says of a value that it cannot read.
func damagedOr(err error) error {
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errDamaged
}

// State returns how far the store has got.
func (s *Store) State() State {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	state := s.state
	state.Tombstones = slices.Clone(state.Tombstones)
	return state
}

// Failed is closed once a change could not be written. Every later one fails,
// and the process must end.
func (s *Store) Failed() <-chan struct{} { return s.queue.Failed() }

// Closed is closed once the store is.
func (s *Store) Closed() <-chan struct{} { return s.closed }

// Room refuses, with [ErrNoSpace], while there is less free space than the
// floor.
func (s *Store) Room() error {
	return badgerdb.Room(s.options.FreeSpace, s.options.Dir, s.options.FreeFloor)
}

// Get returns a record's value, nil where there is none.
func (s *Store) Get(key Key) (value []byte, err error) {
	at := s.sealer.placeOf(key)
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(at[:])
		if err != nil {
			return err
		}
		return item.Value(func(envelope []byte) error {
			_, value, err = s.sealer.open(at, envelope)
			return err
		})
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "reading the store", "a record is damaged", "stop the key holder, and restore a backup: docs/operations.md")
	}
	return value, nil
}

// Each gives every record but the store's own, by kind and name.
func (s *Store) Each(f func(Key, []byte) error) error {
	records, err := s.records(context.Background())
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Key == anchorKey {
			continue
		}
		if err := f(r.Key, r.Value); err != nil {
			return err
		}
	}
	return nil
}

// records returns every record but the ledger, by kind and name.
func (s *Store) records(ctx context.Context) (all []Change, err error) {
	err = s.envelopes(ctx, func(at place, envelope []byte) error {
		key, value, err := s.sealer.open(at, envelope)
		if err == nil && key != ledgerKey {
			all = append(all, Change{key, value})
		}
		return err
	})
	sortRecords(all)
	return all, err
}

func sortRecords(records []Change) {
	slices.SortFunc(records, func(a, b Change) int {
		return cmp.Or(strings.Compare(a.Key.Kind, b.Key.Kind), strings.Compare(a.Key.Name, b.Key.Name))
	})
}

// Enqueue takes changes to be written together, in the order of the calls. wait
// returns when they are durable; its context ends the waiting, not the writing.
func (s *Store) Enqueue(changes []Change) (wait func(context.Context) error) {
	size := badgerdb.Size{Changes: len(changes)}
	for _, c := range changes {
		size.Bytes += len(c.Value) + len(c.Key.Name)
	}
	return s.queue.Enqueue(changes, size)
}

// Commit writes changes, and returns when they are durable.
func (s *Store) Commit(ctx context.Context, changes []Change) error { return s.Enqueue(changes)(ctx) }

// transaction writes a batch: the records and the ledger in one, then the
// anchor.
func (s *Store) transaction(batch [][]Change) error {
	before := s.State()
	if err := badgerdb.Room(s.options.FreeSpace, s.options.Dir, s.options.FreeFloor/2); err != nil {
		return err
	}
	after := before
	after.Sequence++
	err := s.db.Update(func(txn *badger.Txn) error {
		for _, changes := range batch {
			for _, c := range changes {
				if err := s.apply(txn, c, &after); err != nil {
					return err
				}
			}
		}
		return s.putLedger(txn, before, after)
	})
	if err != nil {
		return fault.New(fault.Internal, "writing the store", "the transaction failed", "look at the disk, then start again")
	}
	if err := s.mark(after); err != nil {
		return err
	}
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	s.state = after
	s.transactions++
	return nil
}

func (s *Store) apply(txn *badger.Txn, c Change, state *State) error {
	at, next := s.sealer.placeOf(c.Key), uint64(1)
	item, err := txn.Get(at[:])
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		if c.Value == nil {
			return nil
		}
		state.Count++
	case err != nil:
		return err
	default:
		err := item.Value(func(envelope []byte) error {
			// What is replaced is taken from the root as it lies there: it must be whole.
			if _, _, err := s.sealer.open(at, envelope); err != nil {
				return err
			}
			add(&state.Root, s.sealer.sum(at, envelope))
			next = version(envelope) + 1
			return nil
		})
		if err != nil {
			return err
		}
	}
	if c.Value == nil {
		if c.Key.Kind == KindTombstone {
			return errors.New("store: a tombstone is never deleted")
		}
		state.Count--
		return txn.Delete(at[:])
	}
	if c.Key.Kind == KindTombstone {
		state.Tombstones = union(state.Tombstones, []string{c.Key.Name})
	}
	envelope, err := s.sealer.seal(c.Key, at, next, c.Value)
	if err != nil {
		return err
	}
	add(&state.Root, s.sealer.sum(at, envelope))
	return txn.Set(at[:], envelope)
}

func (s *Store) putLedger(txn *badger.Txn, before, after State) error {
	value, err := keys.Encode(ledger{
		Sequence: after.Sequence, Count: after.Count, Root: hex.EncodeToString(after.Root[:]),
		Before: hex.EncodeToString(before.Root[:]), CountThen: before.Count, Tombstones: notNil(after.Tombstones), Earlier: notNil(before.Tombstones),
	})
	if err != nil {
		return err
	}
	at := s.sealer.placeOf(ledgerKey)
	envelope, err := s.sealer.seal(ledgerKey, at, after.Sequence, value)
	if err != nil {
		return err
	}
	return txn.Set(at[:], envelope)
}

// mark writes a state into the anchor.
func (s *Store) mark(state State) error {
	m := Mark{
		Generation: state.Generation, Sequence: state.Sequence, Count: state.Count, Root: hex.EncodeToString(state.Root[:]),
		Tombstones: notNil(state.Tombstones), Signer: s.signer,
	}
	var err error
	if m.MAC, err = m.sum(s.anchor); err != nil {
		return err
	}
	a := Anchor{Schema: AnchorSchema, Current: m}
	s.stateMu.Lock()
	pending := s.pending
	s.stateMu.Unlock()
	if pending {
		if a, err = ReadAnchor(s.options.Anchor); err != nil {
			return err
		}
		a.Next = &m
	}
	return writeAnchor(s.options.Anchor, a)
}

func notNil(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

// union returns the names of both, sorted, each once.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// Rewrite makes the store of the next generation, under another root key, of
// every record but those that drop names, with changes and tombstones besides.
// It is the one that counts once root.json names its generation: then Promote it
// and remove this one. No change may be enqueued here meanwhile.
func (s *Store) Rewrite(ctx context.Context, to Options, changes []Change, drop func(Key) bool, tombstones []string) (*Store, error) {
	if err := s.Commit(ctx, nil); err != nil { // what was enqueued before is written first
		return nil, err
	}
	records, err := s.records(ctx)
	if err != nil {
		return nil, err
	}
	records = slices.DeleteFunc(records, func(r Change) bool { return drop(r.Key) })
	defer func() {
		for _, r := range records {
			clear(r.Value)
		}
	}()
	return fill(ctx, to, s.anchor, s.State(), tombstones, slices.Concat(records, changes), true)
}

// Promote makes a store that Rewrite made the one that the anchor names.
func (s *Store) Promote() error {
	if err := s.Commit(context.Background(), nil); err != nil {
		return err
	}
	s.stateMu.Lock()
	s.pending = false
	s.stateMu.Unlock()
	return s.Commit(context.Background(), nil)
}

// Transactions returns how many transactions were written since the store was
// opened.
func (s *Store) Transactions() uint64 {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	return s.transactions
}

// Close writes what waits, and closes the store.
func (s *Store) Close() error {
	if first, err := s.queue.Close(); !first || err != nil {
		return err
	}
	err := s.db.Close()
	s.sealer.destroy()
	close(s.closed)
	if err != nil {
		return fault.New(fault.Internal, "closing the store", "its files could not be closed", "look at the disk")
	}
	return nil
}
