// Package budget counts identifiers against an allowance over time: how many a
// client may turn into tokens or encodings in a period. Whoever may use a key may
// try every number there is; the allowance bounds how many.
//
// It is pure: time is given to it, and what it counts is kept by its callers.
package budget

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// parts is how many slots a period is divided into. A window has one more, so that
// what was used counts for a whole period at least, and for one slot more at most:
// no time span as long as a period ever sees more than the allowance.
const parts = 24

// Slots is the number of slots of a window.
const Slots = parts + 1

// Period is a time span over which an allowance is counted.
type Period time.Duration

// MinPeriod is the shortest period: its slots last a second.
const MinPeriod = Period(parts * time.Second)

// Check refuses a period that is too short to be divided.
func (p Period) Check() error {
	if p < MinPeriod {
		return fmt.Errorf("a period lasts %s at least", time.Duration(MinPeriod))
	}
	return nil
}

func (p Period) slotLength() time.Duration { return time.Duration(p) / parts }

// Slot is the number of a slot of a period, counted from 1970.
type Slot int64

// Slot returns the slot in which a time lies.
func (p Period) Slot(t time.Time) Slot {
	length := p.slotLength()
	slot := t.UnixNano() / int64(length)
	return Slot(slot)
}

// Begin returns when a slot begins.
func (p Period) Begin(s Slot) time.Time { return time.Unix(0, int64(s)*int64(p.slotLength())).UTC() }

// Number returns the number of the period, without overlap, in which a slot lies.
func (s Slot) Number() int64 { return int64(s) / parts }

// Window is what was used in the slots of the last period. The zero value has
// nothing in it.
type Window struct {
	newest Slot
	rows   [Slots]int64 // of slot s at s % Slots
}

// advance forgets what is too old at a slot. A slot before the newest one changes
// nothing: time does not go back.
func (w *Window) advance(to Slot) {
	if to <= w.newest {
		return
	}
	if to-w.newest >= Slots {
		w.rows = [Slots]int64{}
	} else {
		for s := w.newest + 1; s <= to; s++ {
			w.rows[s%Slots] = 0
		}
	}
	w.newest = to
}

// Charge counts rows in a slot; in the newest one where the slot is before it.
// It returns the slot they were counted in.
func (w *Window) Charge(at Slot, rows int64) Slot {
	w.advance(at)
	held := &w.rows[w.newest%Slots]
	*held += min(rows, math.MaxInt64/Slots-*held)
	return w.newest
}

// Refund takes rows back that were counted in a slot, where it is not forgotten.
func (w *Window) Refund(charged Slot, rows int64) {
	if charged > w.newest || w.newest-charged >= Slots {
		return
	}
	held := &w.rows[charged%Slots]
	*held = max(0, *held-rows)
}

// Used returns how much counts at a slot.
func (w *Window) Used(at Slot) (rows int64) {
	for s := max(at, w.newest) - Slots + 1; s <= w.newest; s++ {
		if s >= 0 {
			rows += w.rows[s%Slots]
		}
	}
	return rows
}

// Since returns how much was used in a slot and after it.
func (w *Window) Since(from Slot) (rows int64) {
	for s := max(from, w.newest-Slots+1); s <= w.newest; s++ {
		if s >= 0 {
			rows += w.rows[s%Slots]
		}
	}
	return rows
}

// Newest returns the newest slot in which there is anything.
func (w *Window) Newest() Slot { return w.newest }

// Fits returns the first slot, from at on, at which rows fit beside what is used,
// and false where they never do.
func (w *Window) Fits(at Slot, rows, allowance int64) (Slot, bool) {
	if rows > allowance {
		return 0, false
	}
	for s := max(at, w.newest); ; s++ {
		if w.Used(s) <= allowance-rows {
			return s, true
		}
	}
}

// Add adds what another window of the same period has.
func (w *Window) Add(o *Window) {
	w.advance(o.newest)
	for s := max(0, o.newest-Slots+1, w.newest-Slots+1); s <= o.newest; s++ {
		w.rows[s%Slots] += o.rows[s%Slots]
	}
}

// document is a window as it is kept: the newest slot, and what was used in it and
// in those before it, newest first, without the zeros at the end.
type document struct {
	Newest Slot    `json:"newest"`
	Rows   []int64 `json:"rows"`
}

// MarshalJSONTo implements [json.MarshalerTo].
func (w *Window) MarshalJSONTo(e *jsontext.Encoder) error {
	d := document{Newest: w.newest, Rows: []int64{}}
	for i := range Slot(Slots) {
		if s := w.newest - i; s >= 0 {
			d.Rows = append(d.Rows, w.rows[s%Slots])
		}
	}
	for len(d.Rows) > 0 && d.Rows[len(d.Rows)-1] == 0 {
		d.Rows = d.Rows[:len(d.Rows)-1]
	}
	return json.MarshalEncode(e, d)
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (w *Window) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	var d document
	if err := json.UnmarshalDecode(from, &d); err != nil {
		return err
	}
	if len(d.Rows) > Slots || d.Newest < 0 || Slot(len(d.Rows)) > d.Newest+1 {
		return fmt.Errorf("a budget's window has more slots than there are")
	}
	*w = Window{newest: d.Newest}
	for i, rows := range d.Rows {
		if rows < 0 || rows > math.MaxInt64/Slots {
			return fmt.Errorf("a budget's window counts less than nothing, or beyond reason")
		}
		w.rows[(d.Newest-Slot(i))%Slots] = rows
	}
	return nil
}

// Clock gives the time that budgets go by. It never goes back: it goes on from the
// later of the wall clock's time at the start and the latest time that is known from
// before, as fast as the system's monotonic clock. So a wall clock that is set while
// the process runs changes nothing, and one that was set back before it started does
// not bring anything back.
type Clock struct {
	now   func() time.Time
	start time.Time // with its monotonic reading
	base  time.Time

	mu      sync.Mutex
	highest time.Time
}

// NewClock makes a clock. now is the real time, with Go's monotonic reading where the
// system has it; known is the latest time of what is kept.
func NewClock(now func() time.Time, known time.Time) *Clock {
	start := now()
	base := start.Round(0).UTC()
	if known.After(base) {
		base = known
	}
	return &Clock{now: now, start: start, base: base, highest: base}
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.base.Add(c.now().Sub(c.start)); t.After(c.highest) {
		c.highest = t
	}
	return c.highest
}
