package badgerdb

import (
	"context"
	"errors"
	"sync"
	"time"

	"tarn/keys/fault"
)

// Bounds of what is written as one transaction. One caller's is never divided, and
// may be more.
const (
	BatchChanges = 4096
	BatchBytes   = 2 << 20
)

// Size is how much a caller wants to be written.
type Size struct{ Changes, Bytes int }

// Queue has one writer write what waits together as one, so that many callers share
// a sync. It is safe for concurrent use.
type Queue[T any] struct {
	write    func([]T) error
	recovers func(error) bool

	mu      sync.Mutex
	waiting []*queued[T]
	wake    chan struct{}
	closing bool
	failure error

	failed chan struct{}
	ended  chan struct{} // the writer
}

type queued[T any] struct {
	what T
	size Size
	done chan error
}

// NewQueue begins a queue. write returns when what it was given is durable, and is
// never called twice at a time. After an error that recovers does not say to leave
// the store as it was (nil: after any), every later caller gets that error, and the
// process must end.
func NewQueue[T any](write func([]T) error, recovers func(error) bool) *Queue[T] {
	q := &Queue[T]{write: write, recovers: recovers, wake: make(chan struct{}, 1), failed: make(chan struct{}), ended: make(chan struct{})}
	go q.work()
	return q
}

// ErrClosed says that a store is closed.
var ErrClosed = errors.New("store: it is closed")

// Enqueue takes what is to be written together, in the order of the calls. wait
// returns when it is durable; its context ends the waiting, not the writing, and it may be
// waited for again.
func (q *Queue[T]) Enqueue(what T, size Size) (wait func(context.Context) error) {
	r := &queued[T]{what: what, size: size, done: make(chan error, 1)}
	q.mu.Lock()
	switch {
	case q.failure != nil:
		r.done <- q.failure
	case q.closing:
		r.done <- ErrClosed
	default:
		q.waiting = append(q.waiting, r)
	}
	q.mu.Unlock()
	q.rouse()
	return func(ctx context.Context) error {
		select {
		case err := <-r.done:
			r.done <- err // for whoever waits again
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (q *Queue[T]) rouse() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// work is the one writer.
func (q *Queue[T]) work() {
	defer close(q.ended)
	for range q.wake {
		for {
			q.mu.Lock()
			batch := q.take()
			closing := q.closing && len(q.waiting) == 0
			err := q.failure
			q.mu.Unlock()
			if len(batch) > 0 && err == nil {
				all := make([]T, len(batch))
				for i, r := range batch {
					all[i] = r.what
				}
				if err = q.write(all); err != nil && (q.recovers == nil || !q.recovers(err)) {
					q.fail(err)
				}
			}
			for _, r := range batch {
				r.done <- err
			}
			if closing {
				return
			}
			if len(batch) == 0 {
				break
			}
		}
	}
}

// take removes from the front of the queue what is written as one.
func (q *Queue[T]) take() (batch []*queued[T]) {
	var sum Size
	for _, r := range q.waiting {
		if len(batch) > 0 && (sum.Changes+r.size.Changes > BatchChanges || sum.Bytes+r.size.Bytes > BatchBytes) {
			break
		}
		batch = append(batch, r)
		sum.Changes, sum.Bytes = sum.Changes+r.size.Changes, sum.Bytes+r.size.Bytes
	}
	q.waiting = q.waiting[len(batch):]
	return batch
}

func (q *Queue[T]) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failure == nil {
		q.failure = err
		close(q.failed)
	}
}

// Failed is closed once something could not be written.
func (q *Queue[T]) Failed() <-chan struct{} { return q.failed }

// closeTimeout bounds the waiting for the writer.
const closeTimeout = 30 * time.Second

// Close writes what waits, and ends the writer. A second call does nothing; first
// reports whether this one was the first.
func (q *Queue[T]) Close() (first bool, err error) {
	q.mu.Lock()
	if q.closing {
		q.mu.Unlock()
		return false, nil
	}
	q.closing = true
	q.mu.Unlock()
	q.rouse()
	select {
	case <-q.ended:
		return true, nil
	case <-time.After(closeTimeout):
		return true, fault.New(fault.Internal, "closing the store", "it is still being written", "")
	}
}
