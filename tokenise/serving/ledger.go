package serving

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys"
	"tarn/keys/budget"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise/demographics"
	"tarn/tokenise/regionstore"
)

// Store is what a ledger is kept in.
type Store interface {
	Get(kind regionstore.Kind, name []byte) ([]byte, error)
	Enqueue(changes []regionstore.Change) (wait func(context.Context) error)
	Room() error
}

// Remembered is for how long a request that was answered is known again.
const Remembered = 24 * time.Hour

// Ledger remembers which requests were answered and what clients have used, in a store
// that outlives the process. Of a request it keeps the caller's id and a keyed digest, from
// which nothing of the request can be found again. It is safe for concurrent use.
type Ledger struct {
	store  Store
	clock  *budget.Clock
	now    func() time.Time
	mac    cipher.AEAD // of digests
	ahead  int64
	begun  time.Time
	roomy  atomic.Int64 // when there was room in the store, since begun; 0 is never
	shards [shards]shard

	mu      sync.Mutex
	budgets map[Account]*account
	ceiling *account // of all clients together; nil where there is none
}

const shards = 64

// shard is the requests that are being answered now, of a part of all ids.
type shard struct {
	mu  sync.Mutex
	now map[place]chan struct{}
}

// place is a request: the caller's id under its client and project.
type place [sha256.Size]byte

// Account is whose rows are counted together.
type Account struct{ Project, Client string }

// Allowance is how many rows an account may have answered in a period.
type Allowance struct {
	Rows   int64
	Period budget.Period
}

// account is what an account has used. What is kept of it is ahead of what is used by
// some rows, so that not every request writes it: after a crash they count as used.
type account struct {
	allowance Allowance
	window    budget.Window
	kept      int64       // rows that are kept as used and are not
	keptIn    budget.Slot // in which slot
	name      []byte      // of its record
}

// LedgerOptions are what a ledger is made of.
type LedgerOptions struct {
	Store Store
	Key   secret.Key // the store's; the ledger's is derived from it
	Now   func() time.Time
	// Ceiling bounds all clients of all projects together; no rows is no bound.
	Ceiling Allowance
}

// keptAhead is how many rows an account's record is ahead of what it has used.
const keptAhead = 1000

// NewLedger returns the ledger that lies in a store.
func NewLedger(o LedgerOptions) (*Ledger, error) {
	mac, err := newMAC(o.Key.Derive(keys.LP(keys.Text("tarn/request-digest/v1"))))
	if err != nil {
		return nil, err
	}
	l := &Ledger{store: o.Store, now: o.Now, mac: mac, begun: time.Now(), budgets: map[Account]*account{}, ahead: keptAhead}
	for i := range l.shards {
		l.shards[i].now = map[place]chan struct{}{}
	}
	known := time.Time{}
	if o.Ceiling.Rows > 0 {
		l.ceiling = &account{allowance: o.Ceiling, name: keys.LP(keys.Text("ceiling"))}
		newest, err := l.read(l.ceiling)
		if err != nil {
			return nil, err
		}
		known = newest
	}
	l.clock = budget.NewClock(o.Now, known)
	return l, nil
}

func newMAC(key secret.Key) (mac cipher.AEAD, err error) {
	key.Use(func(b *[secret.Size]byte) {
		var block cipher.Block
		if block, err = aes.NewCipher(b[:]); err == nil {
			mac, err = cipher.NewGCM(block)
		}
	})
	key.Destroy()
	if err != nil {
		return nil, fault.New(fault.Internal, "setting up the digests of requests", "the cipher could not be made", "")
	}
	return mac, nil
}

// Open says what an account may use. What it has used is read.
func (l *Ledger) Open(a Account, allowance Allowance) error {
	if err := allowance.Period.Check(); err != nil {
		return fault.New(fault.Usage, "reading the budgets", err.Error(), "give a longer budget_period")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.budgets[a]; known != nil && known.allowance.Period == allowance.Period {
		known.allowance = allowance
		return nil
	}
	n := &account{allowance: allowance, name: keys.LP(keys.Text("budget"), keys.Text(a.Project), keys.Text(a.Client), keys.U32(uint32(time.Duration(allowance.Period)/time.Second)))}
	if _, err := l.read(n); err != nil {
		return err
	}
	l.budgets[a] = n
	return nil
}

// read reads what an account has used, and returns the latest time that it knows of.
func (l *Ledger) read(a *account) (newest time.Time, err error) {
	b, err := l.store.Get(regionstore.KindBudget, a.name)
	if errors.Is(err, regionstore.ErrNotFound) {
		return newest, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &a.window)
	}
	if err != nil {
		return newest, fault.Wrap(fault.Internal, "reading what clients have used", err, "look at the disk of [store] dir")
	}
	return a.allowance.Period.Begin(a.window.Newest()), nil
}

// Errors of a request.
var (
	// ErrOtherBody says that the id was used for another request.
	ErrOtherBody = errors.New("serving: another request had this id")
	// ErrOtherKeys says that the request was answered, and under other keys than there
	// are now: the same answer cannot be given.
	ErrOtherKeys = errors.New("serving: the keys have changed since the request was answered")
	// ErrNeverFits says that a request has more rows than a whole period's.
	ErrNeverFits = errors.New("serving: the request has more rows than its budget")
)

// BudgetError says that a budget is used up.
type BudgetError struct {
	Again time.Duration // until the rows fit
	All   bool          // it is that of all clients together
}

// Error says that.
func (e *BudgetError) Error() string { return "serving: the budget of rows is used up" }

// Request is what is to be answered.
type Request struct {
	Account Account
	ID      [16]byte
	Kind    [4]byte // what of it besides the body determines its answer
	Body    []byte
	Keys    Digest // of the keys that it is answered under
	Rows    int64
	Today   demographics.Date
}

// Digest is a digest, keyed where it is of content.
type Digest [16]byte

// Digest returns a keyed digest of a request's content and of what else determines its
// answer: GMAC (SP 800-38D), which takes a tenth of the time of an HMAC, under a nonce that
// follows from the request's place, so that what two requests have in common does not show.
// kind is a few bytes.
func (l *Ledger) digest(p *place, kind [4]byte, body []byte) (d Digest) {
	var nonce [12]byte
	copy(nonce[:], p[:])
	for i, b := range kind {
		nonce[i] ^= b // another kind of the same body is another request
	}
	l.mac.Seal(d[:0], nonce[:], nil, body)
	return d
}

// Entry is a request that is being answered. It is ended by Commit or by Abort, of which
// whatever comes later does nothing.
type Entry struct {
	ledger   *Ledger
	request  Request
	place    place
	Repeated bool              // it was answered before, and is not charged again
	Today    demographics.Date // on which its dates are judged
	slots    [2]budget.Slot    // of the account and of the ceiling, in which it is charged
	charged  bool
	ended    bool
}

// Begin begins a request: one that is not known is charged to its account, in memory. Of
// two that come at one time with one id the second waits for the first.
func (l *Ledger) Begin(ctx context.Context, r Request) (*Entry, error) {
	e := &Entry{ledger: l, request: r, Today: r.Today}
	e.place = sha256.Sum256(keys.AppendLP(keys.LP(keys.Text(r.Account.Project), keys.Text(r.Account.Client)), r.ID[:]))
	if err := l.enter(ctx, e.place); err != nil {
		return nil, err
	}
	if err := e.begin(); err != nil {
		l.leave(e.place)
		return nil, err
	}
	return e, nil
}

func (e *Entry) begin() error {
	l := e.ledger
	b, err := l.store.Get(regionstore.KindRequest, e.place[:])
	switch {
	case err == nil:
		return e.again(b)
	case !errors.Is(err, regionstore.ErrNotFound):
		return err
	}
	if e.request.Rows == 0 { // it costs nothing, and is not kept: it would be disk for nothing
		e.Repeated = true
		return nil
	}
	if err := l.room(); err != nil { // before anything is done that could not be kept
		return err
	}
	return e.charge()
}

// roomGood is for how long what was found of the free space is taken for true: to ask the
// system for each of many small requests would be a good part of their work.
const roomGood = 50 * time.Millisecond

func (l *Ledger) room() error {
	now := time.Since(l.begun)
	if looked := time.Duration(l.roomy.Load()); looked != 0 && now-looked < roomGood {
		return nil
	}
	if err := l.store.Room(); err != nil {
		l.roomy.Store(0) // looked at again until there is room
		return err
	}
	l.roomy.Store(int64(now))
	return nil
}

// Record of a request: digest, digest of keys, day.
const recordSize = 2*len(Digest{}) + 4

func (e *Entry) again(record []byte) error {
	l := e.ledger
	if len(record) != recordSize {
		return fault.New(fault.Internal, "looking for an earlier request", "its record is of another form", "send the request with another id")
	}
	if digest := l.digest(&e.place, e.request.Kind, e.request.Body); !hmac.Equal(record[:16], digest[:]) {
		return ErrOtherBody
	}
	if !hmac.Equal(record[16:32], e.request.Keys[:]) {
		return ErrOtherKeys
	}
	e.Repeated, e.Today = true, demographics.DateOfOrdinal(binary.BigEndian.Uint32(record[32:]))
	return nil
}

// enter waits until no other request of this id is being answered.
func (l *Ledger) enter(ctx context.Context, p place) error {
	s := &l.shards[p[0]%shards]
	for {
		s.mu.Lock()
		other, busy := s.now[p]
		if !busy {
			s.now[p] = make(chan struct{})
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *Ledger) leave(p place) {
	s := &l.shards[p[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.now[p])
	delete(s.now, p)
}

// charge counts the request's rows, where they fit.
func (e *Entry) charge() error {
	l := e.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.budgets[e.request.Account]
	if a == nil {
		return fault.New(fault.Internal, "charging a request", "its client has no budget", "")
	}
	now := l.clock.Now()
	for _, one := range []*account{a, l.ceiling} {
		if one == nil {
			continue
		}
		at := one.allowance.Period.Slot(now)
		slot, fits := one.window.Fits(at, e.request.Rows, one.allowance.Rows)
		switch {
		case !fits:
			return ErrNeverFits
		case slot > at:
			return &BudgetError{Again: one.allowance.Period.Begin(slot).Sub(now), All: one == l.ceiling}
		}
	}
	e.slots[0] = a.window.Charge(a.allowance.Period.Slot(now), e.request.Rows)
	if l.ceiling != nil {
		e.slots[1] = l.ceiling.window.Charge(l.ceiling.allowance.Period.Slot(now), e.request.Rows)
	}
	e.charged = true
	return nil
}

// Commit keeps that the request is answered, and returns when that is durable: only then
// may the answer leave. After an error the entry is aborted.
func (e *Entry) Commit(ctx context.Context) error {
	if e.Repeated {
		e.end()
		return nil
	}
	l := e.ledger
	digest := l.digest(&e.place, e.request.Kind, e.request.Body)
	record := make([]byte, 0, recordSize)
	record = append(append(record, digest[:]...), e.request.Keys[:]...)
	record = binary.BigEndian.AppendUint32(record, e.Today.Ordinal())
	changes := []regionstore.Change{{Kind: regionstore.KindRequest, Name: e.place[:], Value: record, ExpiresAt: l.forget()}}
	l.mu.Lock()
	for _, a := range []*account{l.budgets[e.request.Account], l.ceiling} {
		if a == nil {
			continue
		}
		change, err := a.keep(e.request.Rows, l.ahead)
		if err != nil {
			l.mu.Unlock()
			e.Abort()
			return err
		}
		if change != nil {
			changes = append(changes, *change)
		}
	}
	wait := l.store.Enqueue(changes) // in the order of what is kept
	l.mu.Unlock()
	err := wait(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		// It may be kept yet. Until that is known nobody is let in with its id, to whom it would
		// be charged again.
		unknown := *e
		unknown.request.Body = nil // the caller's
		e.ended = true
		go func() { unknown.settle(wait(context.WithoutCancel(ctx))) }()
		return err
	}
	e.settle(err)
	return err
}

// forget returns until when a request that is answered now is remembered: for a day by the
// clock that budgets go by, and by that of the machine, which the store goes by.
func (l *Ledger) forget() time.Time {
	now := l.clock.Now()
	if wall := l.now().Round(0); wall.After(now) {
		now = wall
	}
	return now.Add(Remembered)
}

// settle ends a request of which it is known whether it is kept.
func (e *Entry) settle(err error) {
	if err == nil {
		e.end()
		return
	}
	l := e.ledger
	l.mu.Lock()
	for _, a := range []*account{l.budgets[e.request.Account], l.ceiling} {
		if a != nil {
			a.kept = 0 // what is kept is not ahead of anything: the next one writes it
		}
	}
	l.mu.Unlock()
	if !errors.Is(err, regionstore.ErrNoSpace) {
		e.charged = false // it may be there after a restart, and is answered then when it comes again: it stays charged
	}
	e.Abort()
}

// end lets in who waits with the same id.
func (e *Entry) end() {
	e.ended = true
	e.ledger.leave(e.place)
}

// keep returns the change that keeps an account's use, nil where what is kept is ahead of
// it already.
func (a *account) keep(rows, ahead int64) (*regionstore.Change, error) {
	if a.kept -= rows; a.kept >= 0 && a.keptIn == a.window.Newest() {
		return nil, nil
	}
	a.kept, a.keptIn = ahead, a.window.Newest()
	kept := a.window
	kept.Charge(a.keptIn, ahead)
	b, err := json.Marshal(&kept)
	if err != nil {
		return nil, fault.New(fault.Internal, "keeping what clients have used", "it could not be written", "")
	}
	return &regionstore.Change{Kind: regionstore.KindBudget, Name: a.name, Value: b}, nil
}

// Abort ends a request that is not answered: it is charged nothing.
func (e *Entry) Abort() {
	if e.ended {
		return
	}
	if e.charged {
		l := e.ledger
		l.mu.Lock()
		if a := l.budgets[e.request.Account]; a != nil {
			a.window.Refund(e.slots[0], e.request.Rows)
		}
		if l.ceiling != nil {
			l.ceiling.window.Refund(e.slots[1], e.request.Rows)
		}
		l.mu.Unlock()
		e.charged = false
	}
	e.end()
}

// Room returns why no new request can be answered, or nil: there is less free space than
// the store's floor.
func (l *Ledger) Room() error { return l.store.Room() }

// Remaining returns how many rows an account may still have answered in this period.
func (l *Ledger) Remaining(a Account) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.budgets[a]
	if one == nil {
		return 0
	}
	return max(0, one.allowance.Rows-one.window.Used(one.allowance.Period.Slot(l.clock.Now())))
}

// Allowed returns how many rows an account may have answered in a period; 0 of one that is
// not known.
func (l *Ledger) Allowed(a Account) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.budgets[a]; one != nil {
		return one.allowance.Rows
	}
	return 0
}

// Each calls f with what every account may still use.
func (l *Ledger) Each(f func(a Account, left int64)) {
	l.mu.Lock()
	accounts := make([]Account, 0, len(l.budgets))
	for a := range l.budgets {
		accounts = append(accounts, a)
	}
	l.mu.Unlock()
	for _, a := range accounts {
		f(a, l.Remaining(a))
	}
}

// Close keeps exactly what was used. Nothing may be begun any more.
func (l *Ledger) Close(ctx context.Context) error {
	l.mu.Lock()
	var changes []regionstore.Change
	all := []*account{}
	for _, a := range l.budgets {
		all = append(all, a)
	}
	if l.ceiling != nil {
		all = append(all, l.ceiling)
	}
	for _, a := range all {
		a.kept = -1
		change, err := a.keep(0, 0)
		if err != nil {
			l.mu.Unlock()
			return err
		}
		changes = append(changes, *change)
	}
	wait := l.store.Enqueue(changes)
	l.mu.Unlock()
	return wait(ctx)
}
