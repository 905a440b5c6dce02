package tokenise

import (
	"context"
	"errors"
	"io"

	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
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
	full, empty := make(chan *piece), make(chan *piece, 3)
	encoded, written := make(chan *encodedPiece), make(chan *encodedPiece, 2)
	for range cap(written) {
		empty <- &piece{}
		written <- &encodedPiece{}
	}
	var refused error
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		defer close(work)
		defer close(order)
		chain, refused, err = s.read(ctx, c.notes, work, order, free)
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
	ready := full
	if s.Evaluate != nil {
		tokens := make(chan *piece)
		ready = tokens
		empty <- &piece{}
		group.Go(func() (err error) {
			defer fault.Contain(&err)
			defer close(tokens)
			return s.evaluatePieces(ctx, full, tokens)
		})
	}
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		defer close(encoded)
		return s.encodePieces(ctx, ready, empty, encoded, written)
	})
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		for p := range encoded {
			if s.sealing != nil {
				if p.note.Batch, err = s.sealing.note(); err != nil {
					return err
				}
			}
			if err := c.commit(ctx, p, s.packer.width); err != nil {
				return err
			}
			written <- p // it came from there
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return chain, refused
}

// read reads the input in chunks. Rows that the checkpoint holds are read for
// the chain only. Where the keys may not be used for more, what was read before is
// a chunk, which is kept, and why is returned as refused.
func (s *setting) read(ctx context.Context, held []chunkNote, work, order chan<- *job, free <-chan *job) (sum []byte, refused, err error) {
	chain, rows, begun := s.newChain(), int64(0), int64(0)
	next := func(j *job) error {
		if err := s.Rows.Read(&j.batch); err != nil {
			return err
		}
		j.position, j.total = s.Rows.Position()
		return nil
	}
	take := func(j *job) {
		chain.add(&j.batch)
		rows += int64(len(j.batch.Rows))
	}
	skipped := func(j *job) error {
		if err := next(j); err != nil {
			return err
		}
		take(j)
		return nil
	}
	if err := s.skip(held, skipped, chain, &rows); err != nil {
		return nil, nil, err
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
		j := fresh(free)
		err := next(j)
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return nil, nil, err
		}
		if !ended && s.Use != nil {
			if err := s.Use(ctx, int64(len(j.batch.Rows))); err != nil {
				refused = noMoreRows{err}
			}
		}
		if ended || refused != nil {
			if rows == begun {
				return chain.sum(), refused, nil
			}
			j.batch.Rows = j.batch.Rows[:0]
			j.chunk = &chunkNote{To: rows, Chain: chain.sum()}
			return chain.sum(), refused, send(j)
		}
		take(j)
		if rows-begun >= s.chunkRows() {
			j.chunk = &chunkNote{To: rows, Chain: chain.sum()}
			begun = rows
		}
		if err := send(j); err != nil {
			return nil, nil, err
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

func fresh(free <-chan *job) (j *job) {
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

// evaluatePieces has the tokens of one piece after another made by the key holder,
// while the piece before is encoded and the next is judged.
func (s *setting) evaluatePieces(ctx context.Context, full <-chan *piece, ready chan<- *piece) error {
	tokens := s.tokenKeys.NewTokens()
	for p := range full {
		var numbers []nhsnumber.Number
		var at []int // in the piece's bytes
		for i := range p.rows.len() {
			if start, _ := p.rows.span(i); p.rows.bytes[start+preparedFlags]&flagToken != 0 {
				at = append(at, start+preparedToken)
				numbers = append(numbers, nhsnumber.Number(p.rows.bytes[start+preparedToken:]))
			}
		}
		made, err := s.Evaluate(ctx, numbers)
		if err != nil {
			return err
		}
		for i, token := range made {
			released := tokens.Released(token)
			copy(p.rows.bytes[at[i]:], released[:])
		}
		clear(numbers)
		select {
		case ready <- p:
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
		if s.Canaries != nil && j.result.canaries > 0 {
			s.Canaries(j.result.canaries)
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
