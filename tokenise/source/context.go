package source

import (
	"context"

	"tarn/keys/fault"
)

// OpenContext opens a table as Open does, and ends with the context's error when
// the context ends before: finding the format of a pipe waits for its writer.
// What Read returns then, too, ends with the context.
func OpenContext(ctx context.Context, path string, o Options) (Reader, error) {
	r, err := await(ctx, func() (Reader, error) { return Open(path, o) })
	if err != nil {
		return nil, err
	}
	return WithContext(ctx, r), nil
}

// OpenRecordsContext is OpenRecords that ends when the context does.
func OpenRecordsContext(ctx context.Context, path, column string, o Options) (*Records, error) {
	return await(ctx, func() (*Records, error) { return OpenRecords(path, column, o) })
}

// await returns what open returns, unless the context ends before. An open that
// never returns keeps its goroutine; the process is about to end then.
func await[T any](ctx context.Context, open func() (T, error)) (T, error) {
	type opened struct {
		reader T
		err    error
	}
	done := make(chan opened, 1)
	go func() {
		var o opened
		defer func() { done <- o }()
		defer fault.Contain(&o.err)
		o.reader, o.err = open()
	}()
	select {
	case o := <-done:
		return o.reader, o.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// interruptible is a Reader that gives up when its context ends.
type interruptible struct {
	Reader
	ctx     context.Context
	batches chan *Batch
	results chan error
	// abandoned says that the reader below may still be at work.
	abandoned bool
}

// WithContext returns a Reader whose Read ends with the context's error when
// the context ends, even while the reader below waits for a pipe or a slow
// disk. The batch of such a Read must not be used again, since the reader below
// may still be filling it.
func WithContext(ctx context.Context, r Reader) Reader {
	i := &interruptible{Reader: r, ctx: ctx, batches: make(chan *Batch), results: make(chan error, 1)}
	go i.serve()
	return i
}

// serve reads one batch after another until the context ends. A read that never
// returns keeps its goroutine; the process is about to end then.
func (i *interruptible) serve() {
	for {
		select {
		case b := <-i.batches:
			i.results <- i.read(b)
		case <-i.ctx.Done():
			return
		}
	}
}

func (i *interruptible) read(b *Batch) (err error) {
	defer fault.Contain(&err)
	return i.Reader.Read(b)
}

// Read implements Reader.
func (i *interruptible) Read(b *Batch) error {
	select {
	case i.batches <- b:
	case <-i.ctx.Done():
		return i.ctx.Err()
	}
	select {
	case err := <-i.results:
		return err
	case <-i.ctx.Done():
		i.abandoned = true
		return i.ctx.Err()
	}
}

// Close implements Reader. A reader that was left in the middle of a read is
// not closed under it.
func (i *interruptible) Close() error {
	if i.abandoned {
		return nil
	}
	return i.Reader.Close()
}
