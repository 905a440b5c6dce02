package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// disk is a log in memory that can fail after some entries of an append.
type disk struct {
	mu      sync.Mutex
	entries []string
	fails   int // so many appends
	after   int // when they have appended so many
}

func (d *disk) Append(_ context.Context, first uint64, entries [][]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if first != uint64(len(d.entries)) {
		return fmt.Errorf("from %d, and there are %d", first, len(d.entries))
	}
	for i, entry := range entries {
		if d.fails > 0 && i >= d.after {
			d.fails--
			return errors.New("no space")
		}
		d.entries = append(d.entries, string(entry))
	}
	if d.fails > 0 {
		d.fails--
		return errors.New("no answer")
	}
	return nil
}

func (d *disk) Size(context.Context) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return uint64(len(d.entries)), nil
}

func (d *disk) fail(fails, after int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails, d.after = fails, after
}

type alarms struct {
	mu  sync.Mutex
	all []bool
}

func (a *alarms) failing(now bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, now)
}

func newJournal(d *disk, a *alarms) *Journal {
	return New(Options{Log: d, Size: uint64(len(d.entries)), Retry: time.Millisecond, Failing: a.failing, Clock: time.Now})
}

func leavesOf(first, n int) (leaves [][]byte) {
	for i := range n {
		leaves = append(leaves, fmt.Append(nil, first+i))
	}
	return leaves
}

// TestJournalKeepsOrder: events of many transactions, whose callers wait at once,
// come into the log in order and once, after the store has them.
func TestJournalKeepsOrder(t *testing.T) {
	d, a := &disk{}, &alarms{}
	j := newJournal(d, a)
	var waits sync.WaitGroup
	next := 0
	for i := range 200 {
		n := 1 + i%3
		stored := make(chan struct{})
		wait := j.Offer(uint64(next), leavesOf(next, n), func(context.Context) error { <-stored; return nil })
		next += n
		waits.Go(func() {
			if err := wait(t.Context()); err != nil {
				t.Error(err)
			}
			select {
			case <-stored:
			default:
				t.Error("the log has what the store may not have")
			}
		})
		close(stored)
	}
	waits.Wait()
	j.Close()
	for i, entry := range d.entries {
		if entry != fmt.Sprint(i) {
			t.Fatalf("entry %d is %s", i, entry)
		}
	}
	if len(d.entries) != next || j.Size() != uint64(next) || len(a.all) != 0 {
		t.Errorf("%d entries of %d, size %d, alarms %v", len(d.entries), next, j.Size(), a.all)
	}
}

// TestLogThatCannotBeWritten: callers are told, nothing new is taken, an alarm
// begins and ends, and what was offered comes into the log once all the same,
// wherever the append had failed.
func TestLogThatCannotBeWritten(t *testing.T) {
	for _, after := range []int{0, 1, 2, 3} {
		d, a := &disk{}, &alarms{}
		j := newJournal(d, a)
		d.fail(3, after)
		if err := j.Offer(0, leavesOf(0, 3), nil)(t.Context()); !errors.Is(err, ErrPending) || !errors.Is(err, ErrUnavailable) {
			t.Fatalf("after %d entries: %v", after, err)
		}
		for j.Ready() != nil {
			time.Sleep(time.Millisecond)
		}
		d.fail(0, 0)
		if err := j.Offer(3, leavesOf(3, 2), nil)(t.Context()); err != nil {
			t.Fatal(err)
		}
		j.Close()
		if want := []string{"0", "1", "2", "3", "4"}; !slices.Equal(d.entries, want) {
			t.Errorf("after %d entries: %v", after, d.entries)
		}
		if !slices.Equal(a.all, []bool{true, false}) {
			t.Errorf("alarms %v", a.all)
		}
	}
}

// TestStoreThatFails: what the store has not got does not come into the log.
func TestStoreThatFails(t *testing.T) {
	d := &disk{}
	j := newJournal(d, &alarms{})
	broken := errors.New("broken")
	if err := j.Offer(0, leavesOf(0, 1), func(context.Context) error { return broken })(t.Context()); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	j.Close()
	if len(d.entries) != 0 {
		t.Error("the log has what the store has not")
	}
}

// TestCloseOfALogThatCannotBeWritten ends, and takes nothing any more.
func TestCloseOfALogThatCannotBeWritten(t *testing.T) {
	d := &disk{fails: 1 << 30}
	j := newJournal(d, &alarms{})
	if err := j.Offer(0, leavesOf(0, 1), nil)(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	j.Close()
	j.Close()
	if err := j.Offer(1, leavesOf(1, 1), nil)(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("%v", err)
	}
}
