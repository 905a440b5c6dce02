package httpapi

import (
	"context"
	"errors"
	"testing"
	"time"

	"tarn/keys/api"
)

// TestMemoryOfStages: who has nothing waits for its turn; of those that hold a part of their
// bodies one waits for more and the others are refused at once, and no stage takes from
// another. All is given back.
func TestMemoryOfStages(t *testing.T) {
	const each = 1000
	m := newMemory(each * int64(stages))
	new := func() *reservation { return &reservation{memory: m} }
	grow := func(r *reservation, bytes int64) <-chan error {
		done := make(chan error, 1)
		go func() { done <- r.grow(t.Context(), bytes) }()
		return done
	}
	waits := func(done <-chan error) {
		t.Helper()
		select {
		case err := <-done:
			t.Fatalf("it does not wait: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	ends := func(done <-chan error) error {
		t.Helper()
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for ever")
			return nil
		}
	}
	a, b, c, d := new(), new(), new(), new()
	for _, r := range []*reservation{a, b, c} {
		if err := ends(grow(r, 300)); err != nil {
			t.Fatal(err)
		}
	}
	first := grow(a, 500) // 200 more, of 100
	waits(first)
	var refused *problem
	if err := ends(grow(b, 500)); !errors.As(err, &refused) || refused.code != api.CodeBusy || refused.retryAfter == 0 {
		t.Errorf("a second that holds some: %v", err)
	}
	if b.held[reading] != 300 {
		t.Errorf("what is refused holds %d", b.held[reading])
	}
	fresh := grow(d, 100)
	waits(fresh) // behind the one that came first
	b.release()
	if ends(first) != nil || ends(fresh) != nil || a.held[reading] != 500 || d.held[reading] != 100 {
		t.Errorf("%v, %v", a.held, d.held)
	}
	if err := ends(grow(c, 200)); err != nil || c.held[reading] != 300 {
		t.Errorf("less than there is: %v, %v", err, c.held)
	}
	// Other stages are as they were, and nobody takes more than there is.
	if err := c.take(t.Context(), answering, 10*each); err != nil || c.held[answering] != each {
		t.Errorf("%v %v", err, c.held)
	}
	late, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := d.take(late, answering, 1); !errors.As(err, &refused) || refused.code != api.CodeBusy {
		t.Errorf("after its time: %v", err)
	}
	c.keep(answering, 10)
	if err := d.take(t.Context(), answering, each-10); err != nil {
		t.Error(err)
	}
	for _, r := range []*reservation{a, b, c, d} {
		r.release()
		r.release()
	}
	for i := range m.stages {
		if !m.stages[i].TryAcquire(each) {
			t.Errorf("stage %d is not given back", i)
		}
	}
}
