package serving

import (
	"context"
	"sync"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
)

// Window gathers the numbers of requests that come at about the same time into one
// evaluation: a batch has one proof, one answer and one round trip, whatever its size, so
// that small requests are nearly as cheap for each number as large ones.
//
// The first number of a batch waits for a short time, or until the batch is large enough;
// while a batch is under way the next one gathers.
type Window struct {
	wait, timeout time.Duration
	evaluate      func(context.Context, []nhsnumber.Number) ([][keys.TokenSize]byte, error)

	mu      sync.Mutex
	current *gathered
}

// gathered is a batch that is being gathered, and then evaluated.
type gathered struct {
	numbers []nhsnumber.Number
	full    chan struct{} // closed when it need not wait
	done    chan struct{} // closed when it is evaluated
	tokens  [][keys.TokenSize]byte
	err     error
}

// largeBatch is from how many numbers on a batch gains nothing by waiting.
const largeBatch = 512

// NewWindow returns a window in which numbers wait so long for others. timeout bounds an
// evaluation, which does not end with the requests that it is for.
func NewWindow(wait, timeout time.Duration, evaluate func(context.Context, []nhsnumber.Number) ([][keys.TokenSize]byte, error)) *Window {
	return &Window{wait: wait, timeout: timeout, evaluate: evaluate}
}

// Tokens returns the token of each number.
func (w *Window) Tokens(ctx context.Context, numbers []nhsnumber.Number) ([][keys.TokenSize]byte, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	if len(numbers) >= largeBatch {
		return w.evaluate(ctx, numbers)
	}
	w.mu.Lock()
	g := w.current
	first := g == nil
	if first {
		g = &gathered{full: make(chan struct{}), done: make(chan struct{})}
		w.current = g
	}
	from := len(g.numbers)
	g.numbers = append(g.numbers, numbers...)
	if len(g.numbers) >= largeBatch {
		w.current = nil // the next number begins another
		close(g.full)
	}
	w.mu.Unlock()
	if first {
		go w.run(context.WithoutCancel(ctx), g)
	}
	select {
	case <-g.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if g.err != nil {
		return nil, g.err
	}
	return g.tokens[from:][:len(numbers)], nil
}

// run waits for a batch to gather, and has it evaluated.
func (w *Window) run(ctx context.Context, g *gathered) {
	defer close(g.done)
	defer func() { clear(g.numbers) }() // those that came later, too
	timer := time.NewTimer(w.wait)
	select {
	case <-g.full:
	case <-timer.C:
	}
	timer.Stop()
	w.mu.Lock()
	if w.current == g {
		w.current = nil
	}
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	g.err = fault.Contained(func() (err error) {
		g.tokens, err = w.evaluate(ctx, g.numbers)
		return err
	})()
}
