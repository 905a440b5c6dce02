package tokenise

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
	"tarn/tokenise/source"
)

// job is a batch on its way: read in order, judged by any worker, collected in
// order.
type job struct {
	batch  source.Batch
	result prepared
	done   chan struct{}
	chunk  *chunkNote // the chunk that ends with this batch

	position, total int64 // of the reader after the batch
}

// process reads, judges and encodes the rows that the checkpoint does not hold
// yet, and keeps them there. It returns the chain of the run and its whole
// input.
func (s *setting) process(ctx context.Context, c *checkpoint) (chain []byte, err error) {
	group, ctx := errgroup.WithContext(ctx)
	threads := max(s.Threads, 1)
	work := make(chan *job, threads)
	order := make(chan *job, 2*threads) // bounds the batches in memory
	free := make(chan *job, 3*threads)
	full, empty := make(chan *piece), make(chan *piece, 2)
	encoded, written := make(chan *encodedPiece), make(chan *encodedPiece, 2)
	for range cap(empty) {
		empty <- &piece{}
		written <- &encodedPiece{}
	}
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		defer close(work)
		defer close(order)
		chain, err = s.read(ctx, c.notes, work, order, free)
		return err
	})
	for range threads {
		group.Go(fault.Contained(func() error { return s.judgeAll(ctx, work) }))
	}
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		defer close(full)
		return s.collect(ctx, order, free, full, empty)
	})
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		defer close(encoded)
		return s.encodePieces(ctx, full, empty, encoded, written)
	})
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		for p := range encoded {
			if err := c.commit(ctx, p, s.packer.width); err != nil {
				return err
			}
			written <- p // it came from there
		}
		return nil
	})
	err = group.Wait()
	return chain, err
}

// read reads the input in chunks. Rows that the checkpoint holds are read for
// the chain only.
func (s *setting) read(ctx context.Context, held []chunkNote, work, order chan<- *job, free <-chan *job) ([]byte, error) {
	chain, rows, begun := s.newChain(), int64(0), int64(0)
	next := func(j *job) error {
		if err := s.Rows.Read(&j.batch); err != nil {
			return err
		}
		j.position, j.total = s.Rows.Position()
		chain.add(&j.batch)
		rows += int64(len(j.batch.Rows))
		return nil
	}
	if err := s.skip(held, next, chain, &rows); err != nil {
		return nil, err
	}
	begun = rows
	send := func(j *job) error {
		select {
		case order <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case work <- j:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		j := take(free)
		err := next(j)
		if errors.Is(err, io.EOF) {
			if rows == begun {
				return chain.sum(), nil
			}
			j.batch.Rows = j.batch.Rows[:0]
			j.chunk = &chunkNote{To: rows, Chain: chain.sum()}
			return chain.sum(), send(j)
		}
		if err != nil {
			return nil, err
		}
		if rows-begun >= s.chunkRows() {
			j.chunk = &chunkNote{To: rows, Chain: chain.sum()}
			begun = rows
		}
		if err := send(j); err != nil {
			return nil, err
		}
	}
}

// skip reads the rows that the checkpoint holds. They must be those it was
// made of.
func (s *setting) skip(held []chunkNote, next func(*job) error, chain *chain, rows *int64) error {
	j := &job{}
	for _, note := range held {
		for *rows < note.To {
			if err := next(j); errors.Is(err, io.EOF) {
				return errStale
			} else if err != nil {
				return err
			}
			if s.Progress != nil {
				s.Progress(j.position, j.total)
			}
		}
		if *rows != note.To || string(chain.sum()) != string(note.Chain) {
			return errStale
		}
	}
	return nil
}

func take(free <-chan *job) (j *job) {
	select {
	case j = <-free:
	default:
		j = &job{}
	}
	j.done, j.chunk = make(chan struct{}), nil
	j.result.reset()
	return j
}

func (s *setting) judgeAll(ctx context.Context, work <-chan *job) error {
	w := s.newWorker()
	for j := range work {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range j.batch.Rows {
			w.judge(&j.batch.Rows[i], &j.result)
		}
		close(j.done)
	}
	return nil
}

// encodePieces encodes one piece after another, while the next is judged and
// the one before is written.
func (s *setting) encodePieces(ctx context.Context, full <-chan *piece, empty chan<- *piece, encoded chan<- *encodedPiece, written <-chan *encodedPiece) error {
	workers := make([]*rowEncoder, max(s.Threads, 1))
	for i := range workers {
		workers[i] = s.newRowEncoder()
	}
	for p := range full {
		var out *encodedPiece
		select {
		case out = <-written:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.encodePiece(ctx, p, workers, out); err != nil {
			return err
		}
		empty <- p // it came from there
		select {
		case encoded <- out:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// collect gathers judged batches, in input order, into pieces.
func (s *setting) collect(ctx context.Context, order <-chan *job, free chan<- *job, full chan<- *piece, empty <-chan *piece) error {
	p := <-empty
	for j := range order {
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.add(&j.result)
		if s.Used != nil {
			s.Used(int64(len(j.batch.Rows)))
		}
		if s.Progress != nil {
			s.Progress(j.position, j.total)
		}
		if j.chunk != nil {
			p.note = *j.chunk
			select {
			case full <- p:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case p = <-empty:
			case <-ctx.Done():
				return ctx.Err()
			}
			p.reset()
		}
		select {
		case free <- j:
		default:
		}
	}
	return ctx.Err()
}
