package budget_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"tarn/keys/budget"
)

const day = budget.Period(24 * time.Hour)

// use is something that was used: the slow twin of a window keeps them all.
type use struct {
	at   budget.Slot
	rows int64
}

func used(uses []use, at budget.Slot) (rows int64) {
	for _, u := range uses {
		if at-u.at < budget.Slots {
			rows += u.rows
		}
	}
	return rows
}

// TestWindowIsTheSumOfWhatIsNotForgotten: charges, refunds and reading agree with a
// list of all that was ever used, whatever the order of times, and what is written
// and read again is the same window.
func TestWindowIsTheSumOfWhatIsNotForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w budget.Window
		var all []use
		at := budget.Slot(rapid.Int64Range(0, 500_000).Draw(t, "start"))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			at += budget.Slot(rapid.SampledFrom([]int64{0, 0, 1, 1, 2, 7, 24, 25, 26, 100, -1, -30}).Draw(t, "forward"))
			at = max(at, 0)
			if rapid.IntRange(0, 3).Draw(t, "refund") == 0 && len(all) > 0 {
				u := &all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
				back := rapid.Int64Range(0, u.rows).Draw(t, "back")
				w.Refund(u.at, back)
				if w.Newest()-u.at < budget.Slots {
					u.rows -= back
				}
			} else {
				rows := rapid.Int64Range(0, 1000).Draw(t, "rows")
				all = append(all, use{w.Charge(at, rows), rows})
			}
			for _, ahead := range []budget.Slot{0, 1, 13, 24, 25} {
				now := max(at, w.Newest()) + ahead
				if got, want := w.Used(now), used(all, now); got != want {
					t.Fatalf("at slot %d: %d used, %d by the list", now, got, want)
				}
			}
			b, err := json.Marshal(&w)
			if err != nil {
				t.Fatal(err)
			}
			var again budget.Window
			if err := json.Unmarshal(b, &again); err != nil || again != w {
				t.Fatalf("%s reads as %+v, not %+v: %v", b, again, w, err)
			}
		}
	})
}

// TestNoPeriodSeesMoreThanTheAllowance, however it is charged: the sum over any time
// span of a period, of charges that fitted, is never above it.
func TestNoPeriodSeesMoreThanTheAllowance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const allowance = 1000
		var w budget.Window
		type charge struct {
			at   time.Time
			rows int64
		}
		var all []charge
		now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(5*time.Hour)).Draw(t, "forward")))
			rows := rapid.Int64Range(1, 600).Draw(t, "rows")
			slot := day.Slot(now)
			at, fits := w.Fits(slot, rows, allowance)
			if !fits {
				t.Fatal("it never fits")
			}
			if at > slot {
				// It does not fit now, does at the slot that is named, and not in the one before.
				if w.Used(at)+rows > allowance || w.Used(at-1)+rows <= allowance || !day.Begin(at).After(now) {
					t.Fatalf("slot %d is not the first at which %d fit", at, rows)
				}
				continue
			}
			w.Charge(slot, rows)
			all = append(all, charge{now, rows})
			sum := int64(0)
			for _, c := range all {
				if now.Sub(c.at) <= 24*time.Hour {
					sum += c.rows
				}
			}
			if sum > allowance {
				t.Fatalf("%d in the day before %s", sum, now)
			}
		}
		if _, fits := w.Fits(day.Slot(now), allowance+1, allowance); fits {
			t.Fatal("more than the allowance fits")
		}
	})
}

// TestAddSumsWindows whose newest slots differ.
func TestAddSumsWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b budget.Window
		var all []use
		for i := range rapid.IntRange(0, 40).Draw(t, "charges") {
			w := []*budget.Window{&a, &b}[i%2]
			rows := rapid.Int64Range(0, 100).Draw(t, "rows")
			all = append(all, use{w.Charge(budget.Slot(rapid.Int64Range(100, 160).Draw(t, "slot")), rows), rows})
		}
		sum := a
		sum.Add(&b)
		newest := max(a.Newest(), b.Newest())
		if got, want := sum.Used(newest), used(all, newest); got != want || sum.Newest() != newest {
			t.Fatalf("%d used at %d, want %d", got, newest, want)
		}
		if got := sum.Since(newest - 3); got > sum.Used(newest) {
			t.Fatal("more was used since than in all")
		}
	})
}

// TestWindowsThatAreNone are refused.
func TestWindowsThatAreNone(t *testing.T) {
	for _, text := range []string{
		`{"newest":-1,"rows":[]}`, `{"newest":100,"rows":[-1]}`, `{"newest":0,"rows":[1,1]}`, `{"newest":100,"rows":[` + strings.Repeat("1,", 25) + `1]}`,
		`{"newest":100,"rows":[9223372036854775807]}`, `[]`, `{"newest":"a"}`,
	} {
		var w budget.Window
		if err := json.Unmarshal([]byte(text), &w); err == nil {
			t.Errorf("%s was read", text)
		}
	}
	if budget.Period(time.Second).Check() == nil || day.Check() != nil {
		t.Error("a second is a period, or a day is none")
	}
}

// TestChargesDoNotOverflow: what is beyond all reason stays beyond it.
func TestChargesDoNotOverflow(t *testing.T) {
	var w budget.Window
	for range 100 {
		w.Charge(7, math.MaxInt64/2)
	}
	if w.Used(7) < math.MaxInt64/100 {
		t.Errorf("%d are used", w.Used(7))
	}
}

// TestClockNeverGoesBack: not with the wall clock, not across a restart.
func TestClockNeverGoesBack(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	wall := func() time.Time { return now }
	c := budget.NewClock(wall, time.Time{})
	first := c.Now()
	now = now.Add(time.Hour)
	if got := c.Now().Sub(first); got != time.Hour {
		t.Errorf("%s passed", got)
	}
	now = now.Add(-48 * time.Hour) // set back while it runs
	if got := c.Now().Sub(first); got != time.Hour {
		t.Errorf("set back, %s have passed", got)
	}
	known := c.Now()
	c = budget.NewClock(wall, known) // and started again
	if got := c.Now(); !got.Equal(known) {
		t.Errorf("after a start it is %s, not %s", got, known)
	}
	now = now.Add(time.Minute)
	if got := c.Now(); !got.Equal(known.Add(time.Minute)) {
		t.Errorf("a minute later it is %s", got)
	}
	// What time has passed while it was away counts, where the clock says so.
	now = known.Add(72 * time.Hour)
	if got := budget.NewClock(wall, known).Now(); !got.Equal(now) {
		t.Errorf("it is %s", got)
	}
}

// TestClockGoesByTheMonotonicClock: the real one's reading is used, not the wall's.
func TestClockGoesByTheMonotonicClock(t *testing.T) {
	begun := time.Now()
	c := budget.NewClock(time.Now, begun.Add(time.Hour).UTC().Round(0)) // the wall clock is an hour behind what is known
	if got := c.Now().Sub(begun); got < time.Hour || got > time.Hour+10*time.Second {
		t.Errorf("it goes on from %s", got)
	}
	if again := c.Now(); again.Before(begun.Add(time.Hour)) {
		t.Errorf("it is %s", again)
	}
}
