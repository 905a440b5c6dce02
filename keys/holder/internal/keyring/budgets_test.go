package keyring

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/holder/internal/store"
)

// budgeted is a settled world in which party north may use 1,000 rows a day.
func budgeted(t *testing.T) *world {
	t.Helper()
	w := settled(t)
	w.do(api.OpProjectRenew, api.ProjectAdd{Record: projectRecord("study", "none", `{"source_dataset":"north"}`, `{"source_dataset":"north","budget_rows":1000}`)})
	return w
}

// take leases the token key for so many rows.
func (w *world) take(rows int64) (api.Lease, error) {
	return w.ring.Lease(w.Context(), w.as("north"), w.id(), "study", api.LeaseRequest{Use: api.UseToken, RowsExpected: rows})
}

// left is what north has left of study's budget for the token key.
func (w *world) left() int64 {
	w.Helper()
	for _, b := range w.ring.Budgets() {
		if b.Project == "study" && b.Client == "north" && b.Use == api.UseToken {
			return b.Left
		}
	}
	w.Fatal("north has no budget")
	return 0
}

// alarms are the rules of the alarms that were recorded, in order.
func (w *world) alarms() (rules []string) {
	w.Helper()
	for i := range w.ring.Events() {
		leaf, err := audit.Decode(w.store.records[EventKey(i)])
		if err != nil {
			w.Fatal(err)
		}
		if leaf.Kind == audit.KindAlarm {
			rules = append(rules, leaf.Rule)
		}
	}
	return rules
}

func wantAlarms(t *testing.T, w *world, want ...string) {
	t.Helper()
	if got := w.alarms(); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("alarms %v, want %v", got, want)
	}
}

// TestBudgetStopsALease at the row that is too many, says when to come back, and
// that is when it fits again.
func TestBudgetStopsALease(t *testing.T) {
	w := budgeted(t)
	l, err := w.take(600)
	if err != nil || l.RowsGranted != 600 || w.left() != 400 {
		t.Fatalf("granted %d, %d left, %v", l.RowsGranted, w.left(), err)
	}
	_, err = w.take(401)
	refusedWith(t, err, api.CodeBudget)
	var early interface{ RetryAfter() (time.Duration, bool) }
	if !errors.As(err, &early) {
		t.Fatal("the refusal does not say when to come back")
	}
	wait, helps := early.RetryAfter()
	if !helps || wait <= 23*time.Hour || wait > 26*time.Hour {
		t.Errorf("come back in %s", wait)
	}
	wantAlarms(t, w, audit.RuleBudgetExhausted)
	if _, err := w.take(401); err == nil {
		t.Error("asking again helps")
	}
	wantAlarms(t, w, audit.RuleBudgetExhausted) // once
	w.now = w.now.Add(wait - 2*time.Second)
	if _, err := w.take(401); err == nil {
		t.Error("it fits before it should")
	}
	w.now = w.now.Add(2 * time.Second)
	if _, err := w.take(401); err != nil {
		t.Errorf("it does not fit when it should: %v", err)
	}
	_, err = w.take(1001)
	refusedWith(t, err, api.CodeForbidden)
	if errors.As(err, &early); early != nil {
		if _, helps := early.RetryAfter(); helps {
			t.Error("what never fits is told to come back")
		}
	}
}

// TestUsesCountByThemselves: each key has a budget of its own, and so has each client
// and project.
func TestUsesCountByThemselves(t *testing.T) {
	w := budgeted(t)
	if _, err := w.take(1000); err != nil {
		t.Fatal(err)
	}
	for project, use := range map[string]api.Use{"study": api.UseEncoding, "care": api.UseToken} {
		if _, err := w.ring.Lease(t.Context(), w.as("north"), w.id(), project, api.LeaseRequest{Use: use, RowsExpected: 1000}); err != nil {
			t.Errorf("%s of %s: %v", use, project, err)
		}
	}
}

// TestUnusedRowsComeBack where the client says that it is done; not where the lease
// expired or was revoked: who knows what it was used for?
func TestUnusedRowsComeBack(t *testing.T) {
	w := budgeted(t)
	north := w.as("north")
	l, err := w.take(900)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.ring.Use(t.Context(), north, w.id(), "study", l.ID, api.Usage{Rows: 100}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a retry
		if err := w.ring.End(t.Context(), north, "study", l.ID); err != nil || w.left() != 900 {
			t.Fatalf("%d left, %v", w.left(), err)
		}
	}
	if _, err = w.take(500); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(2 * time.Hour) // expired
	if w.left() != 400 {
		t.Errorf("%d left after a lease has expired", w.left())
	}
}

// TestUnknownRowsAreGrantedInParts, and no more than there is; what was used beyond
// counts, and is an alarm.
func TestUnknownRowsAreGrantedInParts(t *testing.T) {
	w := settled(t)
	w.do(api.OpProjectRenew, api.ProjectAdd{Record: projectRecord("study", "none", `{"source_dataset":"north"}`, `{"source_dataset":"north","budget_rows":25000}`)})
	north := w.as("north")
	l, err := w.take(0)
	if err != nil || l.RowsGranted != leastOpenGrant {
		t.Fatalf("granted %d, %v", l.RowsGranted, err)
	}
	want := func(wanted int64) (api.LeaseUse, error) {
		return w.ring.Use(t.Context(), north, w.id(), "study", l.ID, api.Usage{RowsWanted: wanted})
	}
	if u, err := want(9_000); err != nil || u.RowsGranted != 10_000 || w.left() != 15_000 {
		t.Errorf("granted %d, %d left, %v", u.RowsGranted, w.left(), err)
	}
	if u, err := want(10_001); err != nil || u.RowsGranted != 20_000 || w.left() != 5_000 {
		t.Errorf("granted %d, %d left, %v", u.RowsGranted, w.left(), err)
	}
	if u, err := want(20_001); err != nil || u.RowsGranted != 25_000 || w.left() != 0 {
		t.Errorf("granted %d, %d left, %v", u.RowsGranted, w.left(), err)
	}
	_, err = want(25_001)
	refusedWith(t, err, api.CodeBudget)
	_, err = w.take(0)
	refusedWith(t, err, api.CodeBudget)
	// What it says besides is recorded though it is refused.
	_, err = w.ring.Use(t.Context(), north, w.id(), "study", l.ID, api.Usage{Rows: 26_000, RowsWanted: 30_000})
	refusedWith(t, err, api.CodeBudget)
	leases, err := w.ring.Leases("study")
	if err != nil || len(leases) != 1 || leases[0].RowsReported != 26_000 || leases[0].RowsGranted != 26_000 {
		t.Errorf("%+v, %v", leases, err)
	}
	wantAlarms(t, w, audit.RuleBudgetLow, audit.RuleBudgetExhausted, audit.RuleBeyondGrant)
}

// TestCanariesAreAnAlarm: numbers of the test range.
func TestCanariesAreAnAlarm(t *testing.T) {
	w := budgeted(t)
	l, err := w.take(100)
	if err != nil {
		t.Fatal(err)
	}
	id := w.id()
	for range 2 { // a retry is told once
		if _, err := w.ring.Use(t.Context(), w.as("north"), id, "study", l.ID, api.Usage{Rows: 10, TestRange: 3}); err != nil {
			t.Fatal(err)
		}
	}
	wantAlarms(t, w, audit.RuleTestRange)
}

// TestAbnormalRateIsAnAlarm: several times what is usual, once in a period, and not
// before anything is usual.
func TestAbnormalRateIsAnAlarm(t *testing.T) {
	w := settled(t)
	day := func(rows int64) {
		w.Helper()
		if _, err := w.take(rows); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(24 * time.Hour)
	}
	day(900_000) // nothing is usual yet
	for range 4 {
		day(5_000)
	}
	wantAlarms(t, w)
	day(24_000) // a median is not moved by one large day
	wantAlarms(t, w)
	w.reopen(2) // and it is remembered
	for range 3 {
		if _, err := w.take(13_000); err != nil {
			t.Fatal(err)
		}
	}
	wantAlarms(t, w, audit.RuleRateAbnormal)
}

// TestBudgetSurvivesAnything: a new start, a clock that was set back, and both.
func TestBudgetSurvivesAnything(t *testing.T) {
	w := budgeted(t)
	if _, err := w.take(990); err != nil {
		t.Fatal(err)
	}
	for _, set := range []time.Duration{0, -time.Hour, -48 * time.Hour, 30 * time.Minute} {
		w.now = w.now.Add(set)
		if w.left() != 10 {
			t.Errorf("the clock set by %s: %d left", set, w.left())
		}
		w.reopen(2)
		if w.left() != 10 {
			t.Errorf("the clock set by %s, and started again: %d left", set, w.left())
		}
	}
	_, err := w.take(11)
	refusedWith(t, err, api.CodeBudget)
}

// TestAnotherPeriodKeepsWhatWasUsed: whoever changes the configuration gives nothing
// back.
func TestAnotherPeriodKeepsWhatWasUsed(t *testing.T) {
	w := budgeted(t)
	if _, err := w.take(700); err != nil {
		t.Fatal(err)
	}
	for _, period := range []time.Duration{time.Hour, 30 * 24 * time.Hour, time.Minute} {
		w.limits.Period = period
		w.reopen(2)
		if w.left() != 300 {
			t.Errorf("with a period of %s %d are left", period, w.left())
		}
	}
}

// TestRestoredBudgetsAreUsedUp, those of clients that had used nothing, too; operators
// give them back.
func TestRestoredBudgetsAreUsedUp(t *testing.T) {
	w := budgeted(t)
	if _, err := w.take(1); err != nil {
		t.Fatal(err)
	}
	kind, name, value := RestoredAt(w.now)
	w.store.records[store.Key{Kind: kind, Name: name}] = value
	w.reopen(2)
	_, err := w.take(1)
	refusedWith(t, err, api.CodeBudget)
	var early interface{ RetryAfter() (time.Duration, bool) }
	if errors.As(err, &early); early == nil {
		t.Fatal("the refusal does not say when to come back")
	} else if wait, helps := early.RetryAfter(); !helps || wait > 24*time.Hour+time.Second {
		t.Errorf("come back in %s", wait)
	}
	_, err = w.ask(api.OpBudgetReset, api.BudgetReset{Project: "study", Client: "south", Reason: "restored"})
	refusedWith(t, err, api.CodeNotFound)
	_, err = w.ask(api.OpBudgetReset, api.BudgetReset{Project: "study"})
	refusedWith(t, err, api.CodeMalformed)
	w.now = w.now.Add(time.Minute)
	w.do(api.OpBudgetReset, api.BudgetReset{Project: "study", Reason: "nothing was used after the backup"})
	if _, err := w.take(1000); err != nil {
		t.Errorf("after a reset: %v", err)
	}
	w.reopen(2)
	if w.left() != 0 {
		t.Errorf("%d left", w.left())
	}
	_, err = w.ring.Lease(t.Context(), w.as("north"), w.id(), "care", api.LeaseRequest{Use: api.UseToken, RowsExpected: 1})
	refusedWith(t, err, api.CodeBudget) // the other project was not named
	w.now = w.now.Add(24 * time.Hour)
	if _, err := w.ring.Lease(t.Context(), w.as("north"), w.id(), "care", api.LeaseRequest{Use: api.UseToken, RowsExpected: 1}); err != nil {
		t.Errorf("a period after the restore: %v", err)
	}
}

// TestCeilingLeavesEachItsShare: one client uses up what is for all, and the others
// still have what is reserved for them, and no more.
func TestCeilingLeavesEachItsShare(t *testing.T) {
	w := settled(t)
	w.limits = Budgets{CeilingRows: 1000, ReservedShare: .4} // 600 for all, and 200 each
	w.reopen(2)
	c := w.do(api.OpClientAdd, api.ClientAdd{Name: "south", Role: api.RoleTokeniser, Organisation: "RX2", Projects: []string{"study"}, SourceDatasets: []string{"south"}})
	w.enrol("south", c.Code)
	lease := func(client string, rows int64) error {
		return failed(w.ring.Lease(t.Context(), w.as(client), w.id(), "study", api.LeaseRequest{Use: api.UseToken, RowsExpected: rows}))
	}
	for _, step := range []struct {
		client  string
		rows    int64
		refused bool
	}{
		{"north", 600, false}, {"north", 200, false}, {"north", 1, true}, {"south", 201, true}, {"south", 200, false}, {"south", 1, true}, {"north", 1, true},
	} {
		switch err := lease(step.client, step.rows); {
		case step.refused:
			refusedWith(t, err, api.CodeBudget)
		case err != nil:
			t.Fatalf("%+v: %v", step, err)
		}
	}
	wantAlarms(t, w, audit.RuleCeilingReached, audit.RuleCeilingReached) // one of each client
	w.reopen(2)
	refusedWith(t, lease("north", 1), api.CodeBudget)
	w.now = w.now.Add(26 * time.Hour)
	if err := lease("south", 600); err != nil {
		t.Error(err)
	}
}

// TestNoOrderOfCallsExceedsTheBudget: of random leases, reports, ends, starts and times,
// with retries, the rows that clients may have used in any period are never above it.
func TestNoOrderOfCallsExceedsTheBudget(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := budgeted(t)
		north := w.as("north")
		type held struct {
			lease    api.Lease
			reported int64
		}
		var open []*held
		type used struct {
			at   time.Time
			rows int64
		}
		var all []used
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"lease", "lease", "use", "end", "wait", "start"}).Draw(r, "step") {
			case "lease":
				if l, err := w.take(rapid.Int64Range(0, 700).Draw(r, "rows")); err == nil {
					open = append(open, &held{lease: l})
				}
			case "use":
				if len(open) == 0 {
					continue
				}
				h := open[rapid.IntRange(0, len(open)-1).Draw(r, "which")]
				rows := rapid.Int64Range(0, h.lease.RowsGranted-h.reported).Draw(r, "rows")
				id := w.id()
				for range rapid.IntRange(1, 2).Draw(r, "tries") {
					if _, err := w.ring.Use(t.Context(), north, id, "study", h.lease.ID, api.Usage{Rows: rows}); err != nil {
						rows = 0 // its lease has ended
					}
				}
				h.reported += rows
				all = append(all, used{w.now, rows})
			case "end":
				if len(open) == 0 {
					continue
				}
				h := open[0]
				open = open[1:]
				if err := w.ring.End(t.Context(), north, "study", h.lease.ID); err != nil {
					r.Fatal(err)
				}
			case "wait":
				w.now = w.now.Add(time.Duration(rapid.Int64Range(0, int64(14*time.Hour)).Draw(r, "time")))
			case "start":
				w.reopen(2)
			}
			sum := int64(0)
			for _, u := range all {
				// A lease lasts an hour: what it is granted is charged before it is used.
				if w.now.Sub(u.at) <= 23*time.Hour {
					sum += u.rows
				}
			}
			if sum > 1000 {
				r.Fatalf("%d rows were used in a day", sum)
			}
		}
	})
}

// TestAlarmsWaitUntilTheyAreTaken: across a start, in order, and once.
func TestAlarmsWaitUntilTheyAreTaken(t *testing.T) {
	w := budgeted(t)
	w.alerts = true
	w.reopen(2)
	if err := w.ring.Alarm(t.Context(), audit.RuleTooManyTries, "enrol"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.take(1001); err == nil {
		t.Fatal("it was not refused")
	}
	w.reopen(2)
	waiting := w.ring.Alerts()
	if len(waiting) != 2 || waiting[0].Leaf.Rule != audit.RuleTooManyTries || waiting[1].Leaf.Rule != audit.RuleBudgetExhausted || waiting[1].Leaf.Count != 1001 ||
		waiting[1].Leaf.Actor.Subject != "north" || waiting[1].Leaf.Project != "study" || waiting[0].Index >= waiting[1].Index {
		t.Fatalf("%+v", waiting)
	}
	if err := w.ring.AlertsTaken(t.Context(), waiting[:1]); err != nil {
		t.Fatal(err)
	}
	w.reopen(2)
	if left := w.ring.Alerts(); len(left) != 1 || left[0] != waiting[1] {
		t.Errorf("%+v", left)
	}
}

// TestAccountsReadBack: what is written of an account is what was there.
func TestAccountsReadBack(t *testing.T) {
	w := budgeted(t)
	if _, err := w.take(123); err != nil {
		t.Fatal(err)
	}
	key := accountKey{"study", "north", api.UseToken}
	var a account
	if err := json.Unmarshal(w.store.records[store.Key{Kind: kindBudget, Name: key.name()}], &a); err != nil {
		t.Fatal(err)
	}
	if held := w.ring.budgets.accounts[key]; a.Window != held.Window || a.Total != 123 || a.Slot != int64(time.Hour) || fmt.Sprint(a.Usual) != fmt.Sprint(held.Usual) {
		t.Errorf("%+v, held %+v", a, held)
	}
}
