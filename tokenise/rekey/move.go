package rekey

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sync/errgroup"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/outfile"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/parts"
)

// Move returns what tokens become, in order. It is called by several goroutines.
type Move func(ctx context.Context, tokens [][keys.TokenSize]byte) ([][keys.TokenSize]byte, error)

// Result is what a run over a cohort did.
type Result struct {
	Manifest *cohort.Manifest
	Rows     int64
	Tokens   int64    // rows that have a token
	Outputs  []string // the cohort, and its manifest
}

// inFlight is how many batches are on their way: one is blinded or verified here while
// others are answered there, and the next one is read.
const inFlight = 3

// batch is some consecutive rows on their way.
type batch struct {
	rows []cohort.Row
	n    int // of rows, that were read
	err  error
	done chan struct{}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Move writes the cohort with its tokens moved. Nothing has its name before all is
// complete, and the manifest gets its last. The caller holds the journal's lock, which says
// that no other run is writing the same. progress is told of rows and may be nil.
func (c *Cohort) Move(ctx context.Context, move Move, progress func(done, total int64)) (*Result, error) {
	outfile.RemoveUnfinished(c.Out, cohort.ManifestPath(c.Out))
	partRows := int64(0)
	if isFolder(c.In) {
		partRows = max(c.file.Manifest.Files[0].Rows, 1)
	}
	to, err := parts.Create(c.Out, partRows, c.file.Layout, c.manifest.Identity, c.Software)
	if err != nil {
		return nil, err
	}
	defer to.Abort()
	r := &Result{Outputs: []string{c.Out, cohort.ManifestPath(c.Out)}}
	if err := c.batches(ctx, move, func(b *batch) error {
		for i := range b.rows[:b.n] {
			if err := to.Append(&b.rows[i]); errors.Is(err, cohort.ErrOrder) {
				return fault.New(fault.Usage, "reading the cohort "+c.In, "its rows are not in the order of the format", "give the file that tokeniser run wrote")
			} else if err != nil {
				return err
			}
			if b.rows[i].HasToken {
				r.Tokens++
			}
		}
		r.Rows += int64(b.n)
		if progress != nil {
			progress(r.Rows, int64(c.file.Rows()))
		}
		return nil
	}); err != nil {
		return nil, fault.Ended(ctx, err)
	}
	if err := to.Finish(); err != nil {
		return nil, err
	}
	made := *c.manifest
	made.Files = to.Files()
	r.Manifest = &made
	if err := to.Commit(); err != nil {
		return nil, err
	}
	return r, cohort.WriteManifest(cohort.ManifestPath(c.Out), &made)
}

// batches reads the rows in batches, has the tokens of some of these moved side by side,
// and gives them to write in order. The batches are the same however many are on their way:
// a run that goes on asks for the same ones.
func (c *Cohort) batches(ctx context.Context, move Move, write func(*batch) error) error {
	records, err := c.file.Records()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	work, order, free := make(chan *batch), make(chan *batch, inFlight), make(chan *batch, inFlight+2)
	for range cap(free) {
		free <- &batch{rows: make([]cohort.Row, max(c.Batch, 1))}
	}
	group.Go(fault.Contained(func() error {
		defer close(work)
		defer close(order)
		for {
			var b *batch
			select {
			case b = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			var err error
			if b.n, err = records.Read(b.rows); err != nil || b.n == 0 {
				return err
			}
			b.err, b.done = nil, make(chan struct{})
			for _, to := range []chan<- *batch{order, work} {
				select {
				case to <- b:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}))
	for range inFlight {
		group.Go(fault.Contained(func() error {
			for b := range work {
				b.err = b.move(ctx, move)
				close(b.done)
			}
			return nil
		}))
	}
	group.Go(fault.Contained(func() error {
		for b := range order {
			select {
			case <-b.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if b.err != nil {
				return b.err
			}
			if err := write(b); err != nil {
				return err
			}
			free <- b // has room for all there are
		}
		return nil
	}))
	return group.Wait()
}

// move moves the tokens of a batch.
func (b *batch) move(ctx context.Context, move Move) error {
	var tokens [][keys.TokenSize]byte
	for i := range b.rows[:b.n] {
		if b.rows[i].HasToken {
			tokens = append(tokens, b.rows[i].Token)
		}
	}
	if len(tokens) == 0 {
		return nil
	}
	moved, err := move(ctx, tokens)
	if err != nil {
		return err
	}
	if len(moved) != len(tokens) {
		return fault.New(fault.Internal, doing, "other tokens came back than were given", "")
	}
	at := 0
	for i := range b.rows[:b.n] {
		if b.rows[i].HasToken {
			b.rows[i].Token = moved[at]
			at++
		}
	}
	return nil
}
