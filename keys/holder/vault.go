package holder

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"tarn/keys/fault"
	"tarn/keys/holder/internal/authority"
	"tarn/keys/holder/internal/custody"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/store"
	"tarn/keys/secret"
)

// The kinds of the vault's own records, which the keyring leaves alone.
const (
	kindAuthority = "authority"
	kindBackupKey = "backup-key"
)

// The names of the authority's two records.
const (
	authorityCertificate = "certificate"
	authorityKey         = "key"
)

// vault is the deployment's store and root key: what a keyring writes to, and
// what destroys.
type vault struct {
	options *Options
	failed  func()
	// succeed makes the root key and root.json of the next generation; nil draws a
	// key and leaves custody as it is.
	succeed func() (successor, error)

	mu       sync.RWMutex // held alone while the store is replaced
	document custody.Document
	store    *store.Store
}

// successor is what the next generation begins with.
type successor struct {
	root     secret.Key
	document custody.Document
	handOut  func() error // called when all but root.json is written; may be nil
}

// options of the store of a generation.
func storeOptions(o *Options, document custody.Document, root secret.Key) store.Options {
	return store.Options{
		Dir: filepath.Join(o.Dir, document.Store), Anchor: o.Anchor, Root: root, Generation: document.Generation,
		FreeFloor: o.FreeFloor, Rand: o.Rand, Logger: o.Logger,
	}
}

// open opens everything with the root key, removes what a switch that was not
// finished has left, and begins to answer.
func (h *Holder) open(ctx context.Context, root secret.Key) error {
	s, err := store.Open(ctx, storeOptions(&h.options, h.document, root))
	if err != nil {
		return err
	}
	v := &vault{options: &h.options, document: h.document, store: s, failed: sync.OnceFunc(func() { close(h.failed) })}
	fail := func(err error) error { return errors.Join(err, s.Close()) }
	if err := removeOtherStores(h.options.Dir, h.document.Store); err != nil {
		return fail(err)
	}
	ca, err := v.loadAuthority()
	if err != nil {
		return fail(err)
	}
	options := keyringOptions(&h.options, ca)
	options.Alerts, options.Alarmed = h.alerts.spool != nil, h.alarmed
	ring, err := keyring.Open(v, options)
	if err != nil {
		return fail(fault.Wrap(fault.Internal, "reading the store", err, "restore the newest backup: docs/operations.md"))
	}
	l, err := h.openLog(ctx, v, ring)
	if err != nil {
		return fail(err)
	}
	if err := errors.Join(ring.Unsealed(ctx, string(h.document.Method), h.tries), ring.Started(ctx)); err != nil {
		l.close(ctx)
		return fail(err)
	}
	desk, err := h.openRequests(ctx, v, ring, l)
	if err != nil {
		l.close(ctx)
		return fail(err)
	}
	go v.watch()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.vault, h.ring, h.authority, h.log, h.desk = v, ring, ca, l, desk
	return nil
}

func keyringOptions(o *Options, ca *authority.Authority) keyring.Options {
	return keyring.Options{
		Clock: o.Clock, Rand: o.Rand, Holder: o.Name, Software: o.Software, Production: o.Production,
		OperatorsRequired: o.OperatorsRequired, LeaseTTL: o.LeaseTTL, Code: newCode(ca, o.Rand), Budgets: o.Budgets,
	}
}

// loadAuthority reads the authority that the store keeps.
func (v *vault) loadAuthority() (*authority.Authority, error) {
	certificate, err := v.get(store.Key{Kind: kindAuthority, Name: authorityCertificate})
	if err != nil {
		return nil, err
	}
	key, err := v.get(store.Key{Kind: kindAuthority, Name: authorityKey})
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return authority.Load(certificate, key, v.options.Rand)
}

// get returns a record's value, nil where there is none.
func (v *vault) get(key store.Key) ([]byte, error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.store.Get(key)
}

// watch reports a store that could not be written, whichever generation it is.
func (v *vault) watch() {
	for {
		v.mu.RLock()
		s := v.store
		v.mu.RUnlock()
		select {
		case <-s.Failed():
			v.failed()
			return
		case <-s.Closed():
		}
		v.mu.RLock()
		same := v.store == s
		v.mu.RUnlock()
		if same {
			return // closed, and not replaced
		}
	}
}

// Each implements [keyring.Store].
func (v *vault) Each(f func(store.Key, []byte) error) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.store.Each(f)
}

// Enqueue implements [keyring.Store].
func (v *vault) Enqueue(changes []store.Change) func(context.Context) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.store.Enqueue(changes)
}

// Room implements [keyring.Store].
func (v *vault) Room() error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.store.Room()
}

func (v *vault) records() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.store.State().Count
}

// Close closes the store.
func (v *vault) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.store.Close()
}

// Destroy implements [keyring.Store]: every record but the erased ones goes
// into a new store under a new root key, root.json is replaced in one step, and
// the store before is removed. Killed before the step, everything is as it was;
// after it, the start removes what is left.
func (v *vault) Destroy(ctx context.Context, changes []store.Change, erase []store.Key, tombstones []string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	succeed := v.succeed
	if succeed == nil {
		succeed = v.rotate
	}
	to, err := succeed()
	if err != nil {
		return v.fail(err)
	}
	defer to.root.Destroy()
	next := to.document
	if err := removeOtherStores(v.options.Dir, v.document.Store); err != nil {
		return v.fail(err)
	}
	dropped := func(key store.Key) bool { return slices.Contains(erase, key) }
	replaced, err := v.store.Rewrite(ctx, storeOptions(v.options, next, to.root), changes, dropped, tombstones)
	if err != nil {
		return v.fail(err)
	}
	if to.handOut != nil {
		if err := to.handOut(); err != nil {
			return v.fail(errors.Join(err, replaced.Close()))
		}
	}
	if err := custody.Write(v.options.Dir, next); err != nil {
		return v.fail(errors.Join(err, replaced.Close()))
	}
	if err := replaced.Promote(); err != nil {
		return v.fail(errors.Join(err, replaced.Close()))
	}
	before := v.store
	v.store, v.document = replaced, next
	return errors.Join(before.Close(), removeOtherStores(v.options.Dir, next.Store))
}

// rotate draws the next root key, and seals it to the same custody.
func (v *vault) rotate() (successor, error) {
	root, err := secret.Generate(v.options.Rand)
	if err != nil {
		return successor{}, err
	}
	next, err := v.document.Rotate(root)
	if err != nil {
		root.Destroy()
		return successor{}, err
	}
	return successor{root: root, document: next}, nil
}

// fail ends the process by way of Failed: the keyring's memory has the change
// and the disk has not.
func (v *vault) fail(err error) error {
	v.failed()
	return err
}

// removeOtherStores removes the folders of other generations.
func removeOtherStores(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fault.Wrap(fault.Internal, "looking into the key holder's folder", err, "")
	}
	for _, entry := range entries {
		if name := entry.Name(); entry.IsDir() && name != keep && custody.IsStore(name) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return fault.Wrap(fault.Internal, "removing a store that was replaced", err, "remove it by hand: it may hold destroyed keys")
			}
		}
	}
	return nil
}

func sortedRefusals(counts map[refusalKey]int64) []refusalKey {
	sorted := make([]refusalKey, 0, len(counts))
	for key := range counts {
		sorted = append(sorted, key)
	}
	slices.SortFunc(sorted, func(a, b refusalKey) int {
		return cmp.Or(cmp.Compare(a.caller.Name, b.caller.Name), cmp.Compare(a.method, b.method), cmp.Compare(a.code, b.code))
	})
	return sorted
}
