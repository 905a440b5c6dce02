package keyring

import (
	"context"
	"time"

	"tarn/keys/audit"
	"tarn/keys/holder/internal/store"
	"tarn/keys/reidentify"
)

// Change is one change of records that others keep beside the keyring's: it is decided
// under the keyring's lock, and written together with its events.
type Change struct{ t *transaction }

// Change decides and applies one change, and returns when the store and the log have it. An
// error of f means that nothing was changed. f holds the keyring's lock: it calls nothing
// of the keyring but the methods of its argument, and does not wait.
func (k *Keyring) Change(ctx context.Context, f func(*Change) error) error {
	return k.change(ctx, func(t *transaction) error { return f(&Change{t}) })
}

// Now is when the change is made.
func (c *Change) Now() time.Time { return c.t.now }

// Policy is [Keyring.Policy], of when the change is made.
func (c *Change) Policy() (policy *reidentify.Policy, document string, set time.Time) {
	return c.t.keyring.currentPolicy()
}

// Reidentifiable is [Keyring.Reidentifiable], of when the change is made.
func (c *Change) Reidentifiable(name string) (r Reidentifiable, there bool) {
	return c.t.keyring.reidentifiable(name)
}

// Put writes a record. Kinds are those of who calls: none is the keyring's.
func (c *Change) Put(kind, name string, record any) { c.t.put(kind, name, record) }

// Remove removes a record.
func (c *Change) Remove(kind, name string) { c.t.remove(kind, name) }

// Erase takes a record from the store such that no copy of the store from now on holds it:
// the store is written anew, which takes a while.
func (c *Change) Erase(kind, name string) {
	c.t.erase = append(c.t.erase, store.Key{Kind: kind, Name: name})
}

// Event records what was done, and returns its index in the log.
func (c *Change) Event(leaf audit.Leaf) uint64 {
	c.t.event(leaf)
	return c.t.keyring.events - 1
}

// Alarm records that something is not as it should be, and has somebody told.
func (c *Change) Alarm(leaf audit.Leaf) { c.t.alarm(leaf) }
