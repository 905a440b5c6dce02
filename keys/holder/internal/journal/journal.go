// Package journal brings a key holder's events from its store, where each lies in
// the transaction that it is of, into the transparency log, in order and once, and
// says when they are there: nothing is answered before.
package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Log is where entries go.
type Log interface {
	// Append appends entries from an index on, and returns when they are durable.
	// After an error some may be: Size says how many entries there are.
	Append(ctx context.Context, first uint64, entries [][]byte) error
	Size(ctx context.Context) (uint64, error)
}

// Options are what a journal is given.
type Options struct {
	Log Log
	// Size is the number of entries that the log has.
	Size uint64
	// Retry is how long a log that could not be written is left alone.
	Retry time.Duration
	// Failing is told when the log cannot be written, and when it can again. It must
	// not wait for the journal.
	Failing func(failing bool)
	// Appended is told how long it took to append entries. May be nil.
	Appended func(entries int, took time.Duration)
	Clock    func() time.Time
}

// ErrUnavailable says that the log cannot be written.
var ErrUnavailable = errors.New("journal: the log cannot be written")

// ErrPending is ErrUnavailable of what was offered: the store has it, and it comes
// into the log when that can be written.
var ErrPending = fmt.Errorf("%w yet", ErrUnavailable)

var errClosed = errors.New("journal: it is closed")

// Journal is safe for concurrent use, but for Offer, whose calls come in the order
// of their indices.
type Journal struct {
	options Options
	size    atomic.Uint64
	failing atomic.Bool
	wake    chan struct{}
	stop    chan struct{}
	ended   chan struct{}

	mu      sync.Mutex
	waiting []*offer
	closing bool
}

// offer is the events of one transaction.
type offer struct {
	first   uint64
	leaves  [][]byte
	durable func(context.Context) error
	done    chan error
}

// New begins a journal.
func New(o Options) *Journal {
	j := &Journal{options: o, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	j.size.Store(o.Size)
	go j.write()
	return j
}

// Size is the number of entries that the log has, durably.
func (j *Journal) Size() uint64 { return j.size.Load() }

// Ready returns ErrUnavailable while the log cannot be written.
func (j *Journal) Ready() error {
	if j.failing.Load() {
		return ErrUnavailable
	}
	return nil
}

// Offer takes the events of a transaction, of which the first has the index first.
// durable returns when the store has the transaction; of nil it has it already. wait
// returns when the log has the events; its context ends the waiting only.
func (j *Journal) Offer(first uint64, leaves [][]byte, durable func(context.Context) error) (wait func(context.Context) error) {
	o := &offer{first: first, leaves: leaves, durable: durable, done: make(chan error, 1)}
	j.mu.Lock()
	if j.closing {
		o.done <- errClosed
	} else {
		j.waiting = append(j.waiting, o)
	}
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return func(ctx context.Context) error {
		select {
		case err := <-o.done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (j *Journal) write() {
	defer close(j.ended)
	for {
		j.mu.Lock()
		batch := j.waiting
		j.waiting = nil
		closing := j.closing
		j.mu.Unlock()
		if len(batch) > 0 {
			if !j.append(batch) {
				return
			}
			continue
		}
		if closing {
			return
		}
		<-j.wake
	}
}

// append brings a batch into the log, and tries again until it is there. It reports
// whether the journal goes on.
func (j *Journal) append(batch []*offer) bool {
	reply := func(err error) {
		for _, o := range batch {
			select {
			case o.done <- err:
			default: // it was told before that the log cannot be written
			}
		}
	}
	for _, o := range batch {
		if o.durable == nil {
			continue
		}
		if err := o.durable(context.Background()); err != nil {
			reply(err) // the process ends for it
			return true
		}
	}
	first := batch[0].first
	var entries [][]byte
	for _, o := range batch {
		entries = append(entries, o.leaves...)
	}
	begun, count := j.options.Clock(), len(entries)
	for len(entries) > 0 {
		if j.options.Log.Append(context.Background(), first, entries) == nil {
			first += uint64(len(entries))
			break
		}
		if !j.failing.Swap(true) {
			j.options.Failing(true)
		}
		reply(ErrPending)
		select {
		case <-j.stop:
			return false
		case <-time.After(j.options.Retry):
		}
		if size, err := j.options.Log.Size(context.Background()); err == nil && size > first && size <= first+uint64(len(entries)) {
			entries = entries[size-first:]
			first = size
		}
	}
	j.size.Store(first)
	if j.options.Appended != nil {
		j.options.Appended(count, j.options.Clock().Sub(begun))
	}
	if j.failing.Swap(false) {
		j.options.Failing(false)
	}
	reply(nil)
	return true
}

// Close ends the journal when what was offered is in the log, or at once where the
// log cannot be written: what is missing then is appended at the next start.
func (j *Journal) Close() {
	j.mu.Lock()
	already := j.closing
	j.closing = true
	j.mu.Unlock()
	if !already {
		close(j.stop)
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
	<-j.ended
}
