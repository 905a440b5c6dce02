package clks

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"math/bits"
	"strings"
	"unicode"

	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
	"tarn/tokenise/clk"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// pipeline reads blocks in order, encodes them on any thread and writes them in
// order.
type pipeline struct {
	*Options
	encoder *clk.Encoder
	reader  source.Reader
	out     *output
	result  *Result
}

// block is a batch of rows on its way.
type block struct {
	rows source.Batch
	done chan struct{}

	clks     []byte // each in quotes and with a comma before it
	problems []problem
	refused  int64
	spaced   int64
	set      bitsSet

	position, total int64 // of the reader behind the block
}

func (b *block) reset() {
	b.clks, b.problems, b.refused, b.spaced, b.set = b.clks[:0], b.problems[:0], 0, 0, bitsSet{}
	b.done = make(chan struct{})
}

// cacheBytes bounds the caches of all threads together.
const cacheBytes = 256 << 20

func (p *pipeline) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	threads := max(p.Threads, 1)
	work, order, free := make(chan *block, threads), make(chan *block, 2*threads), make(chan *block, 3*threads)
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		defer close(work)
		defer close(order)
		return p.read(ctx, free, order, work)
	})
	for range threads {
		group.Go(func() (err error) {
			defer fault.Contain(&err)
			e := &rowEncoder{Worker: p.encoder.NewWorker(min(clk.DefaultCacheBytes, cacheBytes/threads)), keepSpace: p.KeepSpace}
			for b := range work {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				e.block(b)
				close(b.done)
			}
			return nil
		})
	}
	group.Go(func() (err error) {
		defer fault.Contain(&err)
		for b := range order {
			select {
			case <-b.done:
			case <-ctx.Done(): // the block may never have come to be worked on
				return ctx.Err()
			}
			if err := p.write(b); err != nil {
				return err
			}
			free <- b // has room for all there are
		}
		return nil
	})
	return group.Wait()
}

// read reads blocks until the table ends. There are no more of them than free
// has room for.
func (p *pipeline) read(ctx context.Context, free <-chan *block, to ...chan<- *block) error {
	for made := 0; ; {
		var b *block
		if made < cap(free) {
			made++
			b = &block{}
		} else {
			select {
			case b = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		b.reset()
		if err := p.reader.Read(&b.rows); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		b.position, b.total = p.reader.Position()
		for _, channel := range to {
			select {
			case channel <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func (p *pipeline) write(b *block) error {
	r := p.result
	r.Rows += int64(len(b.rows.Rows))
	r.Refused += b.refused
	r.Spaced += b.spaced
	r.set.add(b.set)
	for _, problem := range b.problems {
		r.Codes[problem.Code]++
		if n := len(r.first); n < namedRows && (n == 0 || r.first[n-1].row != problem.row) {
			r.first = append(r.first, problem)
		}
		if err := p.out.quarantined(problem); err != nil {
			return err
		}
	}
	if p.Progress != nil {
		p.Progress(b.position, b.total)
	}
	if r.Refused > 0 {
		return nil // there will be no file
	}
	return p.out.add(b.clks)
}

// rowEncoder encodes blocks on one thread.
type rowEncoder struct {
	*clk.Worker
	keepSpace bool
}

func (e *rowEncoder) block(b *block) {
	for i := range b.rows.Rows {
		row := &b.rows.Rows[i]
		if row.Problem != "" {
			b.refuse(row.Number, reason.Problem{Code: row.Problem})
			continue
		}
		if !e.keepSpace && strip(row.Values) {
			b.spaced++
		}
		encoded, problems := e.Encode(row.Values)
		if len(problems) > 0 {
			b.refuse(row.Number, problems...)
			continue
		}
		b.clks = append(b.clks, comma+`"`...)
		b.clks = base64.StdEncoding.AppendEncode(b.clks, encoded)
		b.clks = append(b.clks, '"')
		n := int64(0)
		for _, octet := range encoded {
			n += int64(bits.OnesCount8(octet))
		}
		b.set.add(bitsSet{clks: 1, sum: n, squares: n * n})
	}
}

func (b *block) refuse(row int64, problems ...reason.Problem) {
	b.refused++
	for _, p := range problems {
		b.problems = append(b.problems, problem{row: row, Problem: p})
	}
}

// strip drops white space around values, and reports whether there was any.
func strip(values []string) (any bool) {
	for i, value := range values {
		if value == "" || inner(value[0]) && inner(value[len(value)-1]) {
			continue
		}
		if short := strings.TrimFunc(value, space); len(short) < len(value) {
			values[i], any = short, true
		}
	}
	return any
}

// inner reports whether a byte is neither white space nor a part of it.
func inner(c byte) bool { return c > ' ' && c < 0x80 }

// space reports what str.strip of Python drops.
func space(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
