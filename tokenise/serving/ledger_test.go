package serving_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"tarn/keys/budget"
	"tarn/keys/secret"
	"tarn/tokenise/regionstore"
	"tarn/tokenise/serving"
)

// ledgerSite is a ledger on a store whose disk can be stalled or full, and whose clock the
// test sets.
type ledgerSite struct {
	t       *testing.T
	dir     string
	free    atomic.Uint64
	stalled atomic.Pointer[chan struct{}] // the disk answers when it is closed
	now     func() time.Time              // of the ledger
	clock   func() time.Time              // of the store
	store   *regionstore.Store
	ledger  *serving.Ledger
}

const day = budget.Period(24 * time.Hour)

var etl = serving.Account{Project: "study", Client: "etl"}

func newLedgerSite(t *testing.T) *ledgerSite {
	t.Helper()
	s := &ledgerSite{t: t, dir: filepath.Join(t.TempDir(), "store"), now: time.Now, clock: time.Now}
	s.free.Store(1 << 40)
	s.open()
	t.Cleanup(func() { _ = s.store.Close() })
	return s
}

func (s *ledgerSite) open() {
	s.t.Helper()
	key := secret.New([secret.Size]byte{1})
	var err error
	s.store, err = regionstore.Open(regionstore.Options{Dir: s.dir, Key: key, FreeFloor: 1 << 30, Clock: func() time.Time { return s.clock() }, FreeSpace: func(string) (uint64, error) {
		if stalled := s.stalled.Load(); stalled != nil {
			<-*stalled
		}
		return s.free.Load(), nil
	}})
	if err == nil {
		s.ledger, err = serving.NewLedger(serving.LedgerOptions{Store: s.store, Key: key, Now: func() time.Time { return s.now() }, Ceiling: serving.Allowance{Rows: 1 << 40, Period: day}})
	}
	if err == nil {
		err = s.ledger.Open(etl, serving.Allowance{Rows: 1 << 40, Period: day})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// restart is a kill and a start: the ledger is not closed.
func (s *ledgerSite) restart() {
	s.t.Helper()
	if err := s.store.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

// used is how many rows are charged.
func (s *ledgerSite) used() int64 { return 1<<40 - s.ledger.Remaining(etl) }

func (s *ledgerSite) begin(ctx context.Context, id byte, rows int64) (*serving.Entry, error) {
	return s.ledger.Begin(ctx, serving.Request{Account: etl, ID: [16]byte{id}, Body: []byte{id}, Rows: rows})
}

// request begins a request and keeps it.
func (s *ledgerSite) request(ctx context.Context, id byte, rows int64) (*serving.Entry, error) {
	e, err := s.begin(ctx, id, rows)
	if err != nil {
		return nil, err
	}
	defer e.Abort()
	return e, e.Commit(ctx)
}

// TestSentAgainWhileItIsBeingKept: a request that was given up before its record was on the
// disk is charged once, also when it is sent again before the record is there.
func TestSentAgainWhileItIsBeingKept(t *testing.T) {
	s := newLedgerSite(t)
	goOn := make(chan struct{})
	e, err := s.begin(t.Context(), 1, 5)
	if err != nil {
		t.Fatal(err)
	}
	s.stalled.Store(&goOn)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := e.Commit(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	e.Abort()
	time.AfterFunc(50*time.Millisecond, func() { close(goOn) })
	again, err := s.request(t.Context(), 1, 5)
	if err != nil {
		t.Fatal(err)
	}
	if used := s.used(); !again.Repeated || used != 5 {
		t.Errorf("repeated: %v; %d rows are charged, and not 5", again.Repeated, used)
	}
}

// TestGivenUpAndNotKept: a request that was given up, and could not be kept after all, is
// charged nothing, and its id is free.
func TestGivenUpAndNotKept(t *testing.T) {
	s := newLedgerSite(t)
	goOn := make(chan struct{})
	e, err := s.begin(t.Context(), 1, 5)
	if err != nil {
		t.Fatal(err)
	}
	s.free.Store(0)
	s.stalled.Store(&goOn)
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := e.Commit(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	if used := s.used(); used != 5 {
		t.Errorf("while it may be kept yet %d rows are charged, and not 5", used)
	}
	close(goOn)
	// Whoever comes with the id waits until that is known.
	if _, err := s.request(t.Context(), 1, 5); !errors.Is(err, regionstore.ErrNoSpace) {
		t.Errorf("without space: %v", err)
	}
	if used := s.used(); used != 0 {
		t.Errorf("%d rows are charged, and none was answered", used)
	}
	s.free.Store(1 << 40)
	if again, err := s.request(t.Context(), 1, 5); err != nil || again.Repeated || s.used() != 5 {
		t.Errorf("with space again: %v, %d rows are charged", err, s.used())
	}
}

// TestUseOutlivesAFullDisk: what was not written for want of space is not taken for kept. A
// crash afterwards brings nothing back.
func TestUseOutlivesAFullDisk(t *testing.T) {
	s := newLedgerSite(t)
	for id, rows := range []int64{2000, 990} { // kept ahead of these by 10
		if _, err := s.request(t.Context(), byte(id), rows); err != nil {
			t.Fatal(err)
		}
	}
	e, err := s.begin(t.Context(), 10, 500)
	if err != nil {
		t.Fatal(err)
	}
	s.free.Store(0)
	if err := e.Commit(t.Context()); !errors.Is(err, regionstore.ErrNoSpace) {
		t.Fatalf("%v", err)
	}
	s.free.Store(1 << 40)
	if _, err := s.request(t.Context(), 11, 900); err != nil {
		t.Fatal(err)
	}
	before := s.used()
	s.restart()
	if after := s.used(); before != 3890 || after < before {
		t.Errorf("%d rows were used, and after a kill %d are known", before, after)
	}
}

// ahead returns a time whose wall clock is ahead of its monotonic one, as after a machine
// slept or its clock was set.
func ahead(t time.Time, by time.Duration) time.Time {
	// The words of time.Time: the first has, above 30 bits of nanoseconds, seconds.
	(*struct{ wall uint64 })(unsafe.Pointer(&t)).wall += uint64(by/time.Second) << 30
	return t
}

// TestRememberedForADayByEveryClock: budgets go by a clock that nobody can set. A request is
// known for a day all the same when the machine's clock was set, or stood still, meanwhile.
func TestRememberedForADayByEveryClock(t *testing.T) {
	s := newLedgerSite(t)
	s.now = func() time.Time { return ahead(time.Now(), 48*time.Hour) } // since it was begun
	if d := time.Until(s.now()); d > time.Minute || s.now().Round(0).Sub(time.Now().Round(0)) < 47*time.Hour {
		t.Fatalf("the clock is not what the test needs: %s", d)
	}
	s.clock = s.now
	if _, err := s.request(t.Context(), 1, 5); err != nil {
		t.Fatal(err)
	}
	s.clock = func() time.Time { return ahead(time.Now(), 71*time.Hour) }
	again, err := s.request(t.Context(), 1, 5)
	if err != nil || !again.Repeated || s.used() != 5 {
		t.Errorf("%v; %d rows are charged, and not 5", err, s.used())
	}
}

// TestEachProjectHasItsOwnIDs: a client of two projects may use an id in both.
func TestEachProjectHasItsOwnIDs(t *testing.T) {
	s := newLedgerSite(t)
	other := serving.Account{Project: "other", Client: etl.Client}
	if err := s.ledger.Open(other, serving.Allowance{Rows: 10, Period: day}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.request(t.Context(), 1, 5); err != nil {
		t.Fatal(err)
	}
	e, err := s.ledger.Begin(t.Context(), serving.Request{Account: other, ID: [16]byte{1}, Body: []byte{9}, Rows: 5})
	if err != nil || e.Repeated {
		t.Fatalf("the id of another project's request: %v", err)
	}
	e.Abort()
}

// TestCeilingIsGivenBack: a request that is not answered is not counted for all clients, either.
func TestCeilingIsGivenBack(t *testing.T) {
	s := newLedgerSite(t)
	for id := range byte(4) {
		e, err := s.begin(t.Context(), id, 1<<39)
		if err != nil {
			t.Fatalf("request %d: %v", id, err)
		}
		e.Abort()
	}
	if used := s.used(); used != 0 {
		t.Errorf("%d rows are used", used)
	}
}

// TestUseOutlivesAKillInEverySlot: what was kept ahead in an hour that is over does not stand
// for what is used in the next.
func TestUseOutlivesAKillInEverySlot(t *testing.T) {
	s := newLedgerSite(t)
	late := 30 * time.Minute
	began := time.Now().Truncate(time.Hour)
	s.now = func() time.Time { return began.Add(late) }
	s.restart()
	if _, err := s.request(t.Context(), 1, 5); err != nil {
		t.Fatal(err)
	}
	late += time.Hour
	if _, err := s.request(t.Context(), 2, 500); err != nil {
		t.Fatal(err)
	}
	late += 24 * time.Hour // the first hour is forgotten
	s.restart()
	if used := s.used(); used < 500 {
		t.Errorf("%d rows are known, and 500 were used in the hour after the first", used)
	}
}

// TestRequestOfNoRowsIsNotKept: it costs nothing, so that it could fill a disk.
func TestRequestOfNoRowsIsNotKept(t *testing.T) {
	s := newLedgerSite(t)
	written := s.store.Transactions()
	for range 3 {
		if _, err := s.request(t.Context(), 1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.store.Transactions() - written; n != 0 || s.used() != 0 {
		t.Errorf("%d transactions, %d rows used", n, s.used())
	}
	if e, err := s.request(t.Context(), 1, 5); err != nil || e.Repeated || s.used() != 5 {
		t.Errorf("rows under the same id: %v, %d used", err, s.used())
	}
}
