package column

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
	"tarn/tokenise/source"
)

// block is some consecutive pieces on their way: read in order, worked on by
// any goroutine, written in order.
type block struct {
	bytes  []byte
	values []byte
	cells  []cell
	events []event
	rows   int64

	out    []byte
	counts *Result
	err    error
	done   chan struct{}

	position, total int64 // of the reader after the block
}

// cell is where the cell of one row lies.
type cell struct {
	row        int64
	start, end int // in bytes
	value      int // its end in values; it begins where the one before ends
}

// Bounds of a block.
const (
	blockBytes = 256 << 10
	blockRows  = 2048
)

func (b *block) reset() {
	b.bytes, b.values, b.cells, b.events, b.out = b.bytes[:0], b.values[:0], b.cells[:0], b.events[:0], b.out[:0]
	b.rows, b.err, b.done = 0, nil, make(chan struct{})
}

// add adds a piece.
func (b *block) add(p *source.Piece) {
	if p.Number > 0 {
		b.rows++
	}
	if p.Problem != "" {
		b.events = append(b.events, event{row: p.Number, code: p.Problem})
		return // it is in no output
	}
	base := len(b.bytes)
	b.bytes = append(b.bytes, p.Bytes...)
	if p.Number == 0 {
		return
	}
	if !p.HasCell {
		p.Start, p.End = len(p.Bytes), len(p.Bytes)
	}
	b.values = append(b.values, p.Value...)
	b.cells = append(b.cells, cell{row: p.Number, start: base + p.Start, end: base + p.End, value: len(b.values)})
}

// text replaces the column of CSV or NDJSON.
func (s *setting) text(ctx context.Context, records *source.Records) error {
	if s.Opened != nil {
		if err := s.Opened(records.Input()); err != nil {
			return err
		}
	}
	json := records.Input().Format == source.FormatNDJSON
	group, ctx := errgroup.WithContext(ctx)
	threads := max(s.Threads, 1)
	work, order, free := make(chan *block, threads), make(chan *block, 2*threads), make(chan *block, 3*threads)
	// A read of a pipe may never return, so nobody waits for the reader: it is
	// done when it has closed order, and else it holds its table until the process
	// ends.
	read := make(chan error, 1)
	go func() {
		defer close(work)
		defer close(order)
		read <- fault.Contained(func() error { return s.readBlocks(ctx, records, work, order, free) })()
	}()
	for range threads {
		group.Go(func() (err error) {
			defer fault.Contain(&err)
			j := s.newJudge()
			for b := range receive(ctx, work) {
				j.block(ctx, b, json)
				close(b.done)
			}
			return ctx.Err()
		})
	}
	group.Go(fault.Contained(func() error { return s.writeBlocks(ctx, records, order, free) }))
	if err := group.Wait(); err != nil {
		return err
	}
	if err := <-read; err != nil {
		_ = records.Close() // opened for reading
		return err
	}
	s.result.Input = records.Input()
	return records.Close()
}

// receive yields what comes until the channel is closed or the context ends.
func receive(ctx context.Context, from <-chan *block) func(func(*block) bool) {
	return func(yield func(*block) bool) {
		for {
			select {
			case b, ok := <-from:
				if !ok || !yield(b) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (s *setting) readBlocks(ctx context.Context, records *source.Records, work, order chan<- *block, free <-chan *block) error {
	var p source.Piece
	for {
		var b *block
		select {
		case b = <-free:
		default:
			b = &block{}
		}
		b.reset()
		var err error
		for err == nil && len(b.bytes) < blockBytes && b.rows < blockRows {
			if err = records.Next(&p); err == nil {
				b.add(&p)
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if failed := s.use(ctx, b.rows); failed != nil {
			return failed
		}
		b.position, b.total = records.Position()
		for _, to := range []chan<- *block{order, work} {
			select {
			case to <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			return nil
		}
	}
}

// block replaces the cells of a block.
func (j *judge) block(ctx context.Context, b *block, json bool) {
	j.counts = newResult()
	b.counts = j.counts
	values, value := make([]string, len(b.cells)), 0
	for i := range b.cells {
		values[i] = string(b.values[value:b.cells[i].value])
		value = b.cells[i].value
	}
	texts, codes, err := j.cells(ctx, values)
	if err != nil {
		b.err = err
		return
	}
	at := 0
	for i := range b.cells {
		c, text, code := &b.cells[i], texts[i], codes[i]
		b.out = append(b.out, b.bytes[at:c.start]...)
		b.out = appendCell(b.out, b.bytes[c.start:c.end], text, json)
		at = c.end
		if code != "" {
			b.events = append(b.events, event{row: c.row, code: code, cell: true})
		}
	}
	b.out = append(b.out, b.bytes[at:]...)
}

// appendCell appends what takes the place of a cell. One that is not there, or
// is empty, stays as it is.
func appendCell(to, cell []byte, text string, json bool) []byte {
	switch {
	case len(cell) == 0 || !json:
		return append(to, text...)
	case text != "":
		return append(append(append(to, '"'), text...), '"')
	case string(cell) == `""`:
		return append(to, cell...)
	}
	return append(to, "null"...)
}

func (s *setting) writeBlocks(ctx context.Context, records *source.Records, order <-chan *block, free chan<- *block) error {
	encoder := records.Encode(s.out)
	for b := range receive(ctx, order) {
		select {
		case <-b.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if b.err != nil {
			return b.err
		}
		if _, err := encoder.Write(b.out); err != nil {
			return err
		}
		s.result.Rows += b.rows
		s.result.add(b.counts)
		slices.SortFunc(b.events, func(a, b event) int { return cmp.Compare(a.row, b.row) })
		for _, e := range b.events {
			if err := s.note(e); err != nil {
				return err
			}
		}
		s.proceeded(b.position, b.total)
		select {
		case free <- b:
		default:
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return encoder.Close()
}
