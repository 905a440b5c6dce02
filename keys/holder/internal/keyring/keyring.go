// Package keyring is what the key holder knows and may do: domains and projects
// with the states of their keys, clients, grants, leases, and the operations
// with which operators change them. It holds the rules, and no I/O of its own:
// time, randomness and the store are given to it.
//
// All of it lies in memory. A change is decided against memory under one lock,
// handed to the store in the same order, and reported when the store says that
// it is durable. After an error of the store memory may be ahead of the disk,
// and the process must end.
package keyring

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/budget"
	"tarn/keys/holder/internal/store"
	"tarn/keys/secret"
)

// Store is where a keyring's records lie.
type Store interface {
	// Each gives every record, in a fixed order.
	Each(func(store.Key, []byte) error) error
	// Enqueue takes changes to be written together. Those of a later call are
	// applied later. wait returns when they are durable.
	Enqueue([]store.Change) (wait func(context.Context) error)
	// Room refuses while there is too little space to take changes.
	Room() error
	// Destroy writes the store anew, with changes and without the records to erase,
	// such that no copy of it from now on holds them. Tombstones name them for
	// restores.
	Destroy(ctx context.Context, changes []store.Change, erase []store.Key, tombstones []string) error
}

// Journal brings events into the log.
type Journal interface {
	// Ready refuses while the log cannot be written.
	Ready() error
	// Offer takes the events of a transaction, of which the first has the index first.
	// durable returns when the store has the transaction; of nil it has it. wait returns
	// when the log has the events, too.
	Offer(first uint64, leaves [][]byte, durable func(context.Context) error) (wait func(context.Context) error)
	// Size is how many events the log has.
	Size() uint64
}

// Options are what a keyring is given.
type Options struct {
	Clock      func() time.Time // the real time
	Rand       io.Reader        // nil is the operating system's
	Holder     string           // the key holder's name, for events
	Software   string           // the version that writes project records
	Production bool
	// OperatorsRequired is how many operators a change needs, who asks included: 2,
	// or 1 where Production is false.
	OperatorsRequired int
	LeaseTTL          time.Duration
	// Code makes a client's enrolment code: its text, and its digest for the table.
	Code func() (text string, digest [sha256.Size]byte, err error)

	Budgets Budgets
	// Alerts keeps alarms until they are taken to where somebody hears them.
	Alerts bool
	// Alarmed is called when an alarm has been recorded; it does not wait. May be nil.
	Alarmed func(rule string)
}

// The times that things last.
const (
	DefaultLeaseTTL   = time.Hour
	codeTTL           = 24 * time.Hour
	operationTTL      = 24 * time.Hour
	keepEndedLeases   = 7 * 24 * time.Hour
	renewAfterOfLease = 2 // a lease is renewed when 1/2 of it is over
)

// The kinds of records in the store.
const (
	kindDomain    = "domain"
	kindProject   = "project"
	kindClient    = "client"
	kindGrant     = "grant"
	kindLease     = "lease"
	kindOperation = "operation"
	kindKey       = "key"
	kindEvent     = "event"
	kindTombstone = store.KindTombstone
)

// Keyring is the state of a key holder. It is safe for concurrent use.
type Keyring struct {
	store   Store
	options Options

	mu            sync.RWMutex
	domains       map[string]*domain
	projects      map[string]*project
	clients       map[string]*client
	byCertificate map[[sha256.Size]byte]*client
	byCode        map[[sha256.Size]byte]*client
	grants        map[string]*api.Grant
	leases        map[string]*lease
	operations    map[string]*api.Operation
	escrow        escrowKeys
	policy        *policyKept           // nil where none was set
	keys          map[string]secret.Key // by the name of the key's record
	events        uint64                // how many there are
	journal       Journal               // nil where there is no log: events wait in the store
	kept          uint64                // the first event that the store still has
	sinceTidy     int                   // leases made since old ones were forgotten
	budgets       budgets
	alerts        map[uint64]Alert // not taken yet

	batches        map[string]*batch
	sinceBatchTidy int // batches since old ones were forgotten
}

// Open reads every record of a store.
func Open(s Store, o Options) (*Keyring, error) {
	if o.OperatorsRequired < 2 && o.Production || o.OperatorsRequired < 1 {
		return nil, fmt.Errorf("a key holder in production needs two operators for a change")
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.LeaseTTL <= 0 {
		o.LeaseTTL = DefaultLeaseTTL
	}
	o.Budgets = o.Budgets.withDefaults()
	if o.Alarmed == nil {
		o.Alarmed = func(string) {}
	}
	k := &Keyring{
		store: s, options: o, alerts: map[uint64]Alert{}, batches: map[string]*batch{},
		budgets: budgets{limits: o.Budgets, accounts: map[accountKey]*account{}, clients: map[clientUse]*budget.Window{}, all: map[api.Use]*budget.Window{}},
		domains: map[string]*domain{}, projects: map[string]*project{}, clients: map[string]*client{}, grants: map[string]*api.Grant{},
		byCertificate: map[[sha256.Size]byte]*client{}, byCode: map[[sha256.Size]byte]*client{},
		leases: map[string]*lease{}, operations: map[string]*api.Operation{}, keys: map[string]secret.Key{},
	}
	if err := s.Each(k.load); err != nil {
		return nil, err
	}
	k.budgets.begin(o.Clock)
	return k, k.check()
}

// load takes one record from the store into memory.
func (k *Keyring) load(key store.Key, value []byte) (err error) {
	switch key.Kind {
	case kindDomain:
		d := new(domain)
		err = json.Unmarshal(value, d)
		k.domains[key.Name] = d
	case kindProject:
		p := new(project)
		if err = json.Unmarshal(value, p); err == nil {
			err = p.parse()
		}
		k.projects[key.Name] = p
	case kindClient:
		c := new(client)
		err = json.Unmarshal(value, c)
		k.putClient(c)
	case kindGrant:
		g := new(api.Grant)
		err = json.Unmarshal(value, g)
		k.grants[key.Name] = g
	case kindLease:
		l := new(lease)
		err = json.Unmarshal(value, l)
		k.leases[key.Name] = l
	case kindOperation:
		o := new(api.Operation)
		err = json.Unmarshal(value, o)
		k.operations[key.Name] = o
	case kindPolicy:
		k.policy = new(policyKept)
		err = k.policy.parse(value)
	case kindEscrow:
		err = json.Unmarshal(value, &k.escrow)
	case kindKey:
		if len(value) != secret.Size {
			return fmt.Errorf("a key in the store has not %d bytes", secret.Size)
		}
		k.keys[key.Name] = secret.New([secret.Size]byte(value))
	case kindBatch:
		b := new(batch)
		err = json.Unmarshal(value, b)
		k.batches[key.Name] = b
	case kindBudget:
		a := new(account)
		if err = json.Unmarshal(value, a); err == nil {
			k.budgets.load(a)
		}
	case kindRestoredTime:
		k.budgets.restored, err = time.Parse(audit.TimeLayout, string(value))
		if k.budgets.restored.After(k.budgets.known) {
			k.budgets.known = k.budgets.restored
		}
	case kindAlert:
		err = k.loadAlert(key.Name, value)
	case kindEvent:
		index, failed := strconv.ParseUint(key.Name, 10, 64)
		if failed != nil {
			return fmt.Errorf("an event in the store has no index")
		}
		if k.events == 0 || index < k.kept {
			k.kept = index
		}
		k.events = max(k.events, index+1)
	}
	if err != nil {
		return fmt.Errorf("a record of kind %s in the store cannot be read by this version", key.Kind)
	}
	return nil
}

// check holds the records to one another: each key that should be there is, and
// no other.
func (k *Keyring) check() error {
	wanted := map[string]bool{}
	for _, d := range k.domains {
		for _, e := range d.Epochs {
			wanted[tokenKey(d.Name, e.Epoch)] = e.State != api.StateDestroyed
		}
	}
	for _, e := range k.escrow.Epochs {
		wanted[escrowKey(e.KeyCheck)] = e.State != api.StateDestroyed
	}
	if k.keys[auditKey].Valid() { // of before there was one a store has none until it starts
		wanted[auditKey] = true
	}
	for _, p := range k.projects {
		if k.domains[p.Domain] == nil {
			return fmt.Errorf("project %s is of a domain that the store has not got", p.Name)
		}
		for _, e := range p.Encoding {
			wanted[encodingKey(p.Name, e.Epoch)] = e.State != api.StateDestroyed
			wanted[releaseKey(p.Name, e.Epoch)] = e.State != api.StateDestroyed
		}
	}
	for name, there := range wanted {
		if _, have := k.keys[name]; have != there {
			return fmt.Errorf("the key %s and the record of its state disagree", name)
		}
	}
	if _, there := k.keys[auditKey]; there { // a store of before there was one gets it at its start
		wanted[auditKey] = true
	}
	for name := range k.keys {
		if !wanted[name] {
			return fmt.Errorf("the key %s belongs to nothing", name)
		}
	}
	return k.checkEscrow()
}

func tokenKey(domain string, epoch uint32) string { return fmt.Sprintf("domain/%s/%d", domain, epoch) }
func encodingKey(project string, epoch uint32) string {
	return fmt.Sprintf("encoding/%s/%d", project, epoch)
}
func releaseKey(project string, epoch uint32) string {
	return fmt.Sprintf("release/%s/%d", project, epoch)
}

// transaction collects what one change writes. Its caller has checked
// everything before it puts anything: a change that has begun is not refused.
type transaction struct {
	keyring    *Keyring
	now        time.Time
	changes    []store.Change
	erase      []store.Key
	tombstones []string
	first      uint64   // the index of the first event
	leaves     [][]byte // the events
	anew       bool     // the store is written anew though nothing is erased
	alarms     []string // the rules of the alarms among the events
	err        error    // a record that cannot be encoded: an error in the program
}

// put writes a record.
func (t *transaction) put(kind, name string, record any) {
	value, err := json.Marshal(record, json.Deterministic(true))
	if err != nil {
		t.err = fmt.Errorf("a record of kind %s cannot be written", kind)
		return
	}
	t.changes = append(t.changes, store.Change{Key: store.Key{Kind: kind, Name: name}, Value: value})
}

func (t *transaction) remove(kind, name string) {
	t.changes = append(t.changes, store.Change{Key: store.Key{Kind: kind, Name: name}})
}

// putKey writes a key. The copy that goes to the store is the store's to clear.
func (t *transaction) putKey(name string, key secret.Key) {
	t.keyring.keys[name] = key
	key.Use(func(b *[secret.Size]byte) {
		t.changes = append(t.changes, store.Change{Key: store.Key{Kind: kindKey, Name: name}, Value: append([]byte(nil), b[:]...)})
	})
}

// eraseKey takes a key from memory and, when the change is written, from the
// disk.
func (t *transaction) eraseKey(name string) {
	if key, there := t.keyring.keys[name]; there {
		key.Destroy()
		delete(t.keyring.keys, name)
	}
	t.erase = append(t.erase, store.Key{Kind: kindKey, Name: name})
	t.tombstones = append(t.tombstones, name)
}

// event records what was done.
func (t *transaction) event(leaf audit.Leaf) {
	leaf.Time, leaf.Holder = audit.FormatTime(t.now), t.keyring.options.Holder
	encoded, err := leaf.Encode()
	if err != nil {
		t.err = err
		return
	}
	t.changes = append(t.changes, store.Change{Key: eventKey(t.keyring.events), Value: encoded})
	if len(t.leaves) == 0 {
		t.first = t.keyring.events
	}
	// The store clears what it is given.
	t.leaves = append(t.leaves, bytes.Clone(encoded))
	t.keyring.events++
}

// forget removes events that the log has from the store, a few for each that comes,
// but for the last: it says how many there are.
func (t *transaction) forget() {
	k := t.keyring
	if k.journal == nil || len(t.leaves) == 0 {
		return
	}
	durable := min(k.journal.Size(), t.first)
	for n := 0; n < len(t.leaves)+1 && k.kept < durable; n++ {
		key := eventKey(k.kept)
		t.remove(key.Kind, key.Name)
		k.kept++
	}
}

func eventKey(index uint64) store.Key {
	return store.Key{Kind: kindEvent, Name: fmt.Sprintf("%020d", index)}
}

// change decides and applies one change, and returns when it is durable. An
// error of f means that nothing was changed.
func (k *Keyring) change(ctx context.Context, f func(*transaction) error) error {
	if err := k.store.Room(); err != nil {
		return err
	}
	if k.journal != nil {
		if err := k.journal.Ready(); err != nil {
			return err
		}
	}
	k.mu.Lock()
	t := &transaction{keyring: k, now: k.now()}
	if err := f(t); err != nil {
		k.mu.Unlock()
		return err
	}
	if t.err != nil {
		k.mu.Unlock()
		return t.err
	}
	wait, err := k.write(ctx, t)
	k.mu.Unlock()
	if err != nil {
		return err
	}
	if err := wait(ctx); err != nil {
		return err
	}
	for _, rule := range t.alarms {
		k.options.Alarmed(rule)
	}
	return nil
}

// write hands a transaction to the store, and its events to the journal. wait
// returns when both have them. Nothing is decided while it holds the lock: the
// store may be written anew.
func (k *Keyring) write(ctx context.Context, t *transaction) (wait func(context.Context) error, err error) {
	switch {
	case len(t.erase) > 0 || t.anew:
		if err := k.store.Destroy(ctx, t.changes, t.erase, t.tombstones); err != nil {
			return nil, err
		}
	case len(t.changes) > 0:
		t.forget()
		wait = k.store.Enqueue(t.changes)
	}
	if k.journal != nil && len(t.leaves) > 0 {
		return k.journal.Offer(t.first, t.leaves, wait), nil
	}
	if wait == nil {
		wait = func(context.Context) error { return nil }
	}
	return wait, nil
}

// Record brings every event from now on into a log. It is called once, before the
// first change; the log has every event that there is.
func (k *Keyring) Record(j Journal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.journal = j
}

// LogBegun records, as the first event of a log, from which checkpoint it goes on.
func (k *Keyring) LogBegun(ctx context.Context, size uint64, root string) error {
	return k.change(ctx, func(t *transaction) error {
		t.event(audit.Leaf{Kind: audit.KindStart, Rule: audit.RuleLogBegun, Ref: &size, Request: root})
		return nil
	})
}

// Alarm records that something is not as it should be, by the name of a rule.
func (k *Keyring) Alarm(ctx context.Context, rule, outcome string) error {
	return k.change(ctx, func(t *transaction) error {
		t.alarm(audit.Leaf{Rule: rule, Outcome: outcome})
		return nil
	})
}

// now is the time, to the millisecond that documents carry.
func (k *Keyring) now() time.Time { return k.options.Clock().UTC().Truncate(time.Millisecond) }

// Caller is a client whose certificate was shown, or a person who has signed in.
type Caller struct {
	Name         string
	Role         api.Role
	Organisation string
	Issuer       string // of a person's sign-in; empty where it is a certificate
	// Person is set by [AsOperator] only: who asks for and approves changes as a person.
	Person api.OperatorPerson
}

// actor is the caller as events name it.
func (c Caller) actor() audit.Actor {
	if c.isPerson() {
		c.Name = c.Person.Subject // as entries of re-identification name them
	}
	if c.Issuer != "" {
		return audit.Actor{Issuer: c.Issuer, Organisation: c.Organisation, Role: string(c.Role), Subject: c.Name}
	}
	return audit.Actor{Issuer: "mtls", Organisation: c.Organisation, Role: string(c.Role), Subject: c.Name}
}

// Started records that the key holder answers from now on. Projects of before there were
// escrow keys, or whose escrow key did not come back from a backup, get one. So does a
// store of before there was K_audit.
func (k *Keyring) Started(ctx context.Context) error {
	return k.change(ctx, func(t *transaction) error {
		needed := false
		for _, p := range k.projects {
			needed = needed || escrowed(&p.base)
		}
		first, err := k.firstEscrowKey(needed)
		if err != nil {
			return err
		}
		forLog, err := k.firstAuditKey()
		if err != nil {
			return err
		}
		t.event(audit.Leaf{Kind: audit.KindStart})
		if forLog.Valid() {
			t.putKey(auditKey, forLog)
		}
		if first.Valid() {
			t.putEscrowKey(first, api.StateReadable)
		}
		return nil
	})
}

// Refused records requests that were refused for one reason, count times.
func (k *Keyring) Refused(ctx context.Context, caller Caller, method string, code api.Code, count int64) error {
	return k.change(ctx, func(t *transaction) error {
		leaf := audit.Leaf{Kind: audit.KindRefuse, Decision: audit.Deny, Purpose: method, Rule: string(code), Count: count}
		if caller.Name != "" {
			leaf.Actor = caller.actor()
		}
		t.event(leaf)
		return nil
	})
}

// Unsealed records how the key holder was unsealed, and how many tries failed.
func (k *Keyring) Unsealed(ctx context.Context, method string, failed int64) error {
	return k.change(ctx, func(t *transaction) error {
		t.event(audit.Leaf{Kind: audit.KindUnseal, Rule: method, Outcome: "released", Count: failed})
		return nil
	})
}

// CustodyReplaced writes the store anew, under what custody by this method
// keeps, and records it.
func (k *Keyring) CustodyReplaced(ctx context.Context, method string) error {
	return k.change(ctx, func(t *transaction) error {
		t.anew = true
		t.event(audit.Leaf{Kind: audit.KindRotate, Rule: method, Outcome: "custody-replaced"})
		return nil
	})
}

// Events returns how many events there are.
func (k *Keyring) Events() uint64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.events
}

// EventKey returns the store's name of an event.
func EventKey(index uint64) store.Key { return eventKey(index) }
