package compare

import (
	"context"
	"encoding/binary"
	"math/bits"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/kernel"
)

// Visitor receives the patterns of one left row with several right rows. The
// slices are reused after the call. A worker has its own Visitor.
type Visitor interface {
	Visit(pass int, left int32, right []int32, codes []uint32)
}

// Skip is the code of a pair that is not part of the plan: an earlier pass has
// it, or it is a row with itself.
const Skip = ^uint32(0)

// tileRows bounds the right rows that are compared at a time, so that their
// filters stay in the processor's cache while left rows pass by.
const tileRows = 512

// Job compares two cohorts by a scheme and a plan.
type Job struct {
	Scheme      *Scheme
	Plan        *block.Plan
	Left, Right *cohort.Cohort
	// Tokens says that the cohorts' tokens may be compared.
	Tokens bool
	Kernel kernel.Kernel
	// Threads is the number of workers, at least 1.
	Threads int
	// Progress, if not nil, is told of pairs done.
	Progress func(pairs int64)
}

// Run compares every pair of the plan and gives the patterns to one Visitor a
// worker. The order in which pairs come is not fixed: what a Visitor makes of
// them must not depend on it.
func (j *Job) Run(ctx context.Context, newVisitor func(worker int) Visitor) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	units := j.units()
	for worker := range max(j.Threads, 1) {
		visitor := newVisitor(worker)
		group.Go(func() error {
			w := newWorker(j)
			for {
				i := int(next.Add(1)) - 1
				if i >= len(units) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				done := w.unit(units[i], visitor)
				if j.Progress != nil {
					j.Progress(done)
				}
			}
		})
	}
	return group.Wait()
}

// unit is some consecutive blocks of a pass, or some left rows of one block.
type unit struct {
	pass, from, to   int
	leftFrom, leftTo int // within the block, where to == from+1
}

// unitPairs is how many pairs a unit has, about: enough that taking one costs
// nothing, few enough that workers end together.
const unitPairs = 1 << 20

func (j *Job) units() (units []unit) {
	for p, pass := range j.Plan.Passes {
		from, pairs := 0, int64(0)
		flush := func(to int) {
			if to > from {
				units = append(units, unit{pass: p, from: from, to: to, leftTo: -1})
			}
			from, pairs = to, 0
		}
		for i := range pass.Blocks() {
			b := pass.Block(i)
			if b.Pairs() < 2*unitPairs {
				if pairs += b.Pairs(); pairs >= unitPairs {
					flush(i + 1)
				}
				continue
			}
			flush(i)
			step := max(int(unitPairs/int64(len(b.Right))), 1)
			for l := 0; l < len(b.Left); l += step {
				units = append(units, unit{pass: p, from: i, to: i + 1, leftFrom: l, leftTo: min(l+step, len(b.Left))})
			}
			from = i + 1
		}
		flush(pass.Blocks())
	}
	return units
}

// column is one field of the scheme bound to the columns of both cohorts.
type column struct {
	stride      uint32
	measure     string
	left, right *cohort.FilterValues
	tagL, tagR  *cohort.TagValues
	levels      []uint8 // by equal bits
	bounds      []float64
}

type worker struct {
	job     *Job
	columns []column
	words   [][]uint64 // right filters of the tile, for each filter column
	scratch [][]uint64 // where they are laid end to end if they are not already
	counts  []uint32
	codes   []uint32
	tokenL  []uint64
	tokenR  []uint64
}

func newWorker(j *Job) *worker {
	w := &worker{job: j, counts: make([]uint32, tileRows), codes: make([]uint32, tileRows)}
	for _, f := range j.Scheme.Fields[:len(j.Scheme.Fields)-1] {
		c := column{stride: uint32(f.stride), measure: f.Measure, bounds: f.Levels}
		if f.Measure == cohort.MeasureEqual {
			c.tagL, c.tagR = &j.Left.Tags[j.Left.TagIndex(f.Column)], &j.Right.Tags[j.Right.TagIndex(f.Column)]
		} else {
			c.left, c.right = &j.Left.Filters[j.Left.FilterIndex(f.Column)], &j.Right.Filters[j.Right.FilterIndex(f.Column)]
			c.levels = equalBitLevels(f.FieldComparison, 64*c.left.WordsPerRow)
		}
		w.columns = append(w.columns, c)
		w.words = append(w.words, nil)
		w.scratch = append(w.scratch, nil)
	}
	if j.Tokens {
		w.tokenL, w.tokenR = shortTokens(j.Left), shortTokens(j.Right)
	}
	return w
}

// shortTokens returns 8 bytes of each token, 0 where there is none, by which
// nearly all different tokens are told apart.
func shortTokens(c *cohort.Cohort) []uint64 {
	short := make([]uint64, c.Rows())
	for i, has := range c.HasToken {
		if has {
			short[i] = max(binary.LittleEndian.Uint64(c.Token[i][:]), 1)
		}
	}
	return short
}

func (w *worker) unit(u unit, v Visitor) (pairs int64) {
	pass := w.job.Plan.Passes[u.pass]
	for i := u.from; i < u.to; i++ {
		b := pass.Block(i)
		if u.leftTo >= 0 {
			b.Left = b.Left[u.leftFrom:u.leftTo]
		}
		for from := 0; from < len(b.Right); from += tileRows {
			w.tile(u.pass, b.Left, b.Right[from:min(from+tileRows, len(b.Right))], v)
		}
		pairs += b.Pairs()
	}
	return pairs
}

func (w *worker) tile(pass int, left, right []int32, v Visitor) {
	for c := range w.columns {
		if w.columns[c].right != nil {
			w.words[c] = w.gather(c, right)
		}
	}
	codes := w.codes[:len(right)]
	for _, l := range left {
		clear(codes)
		for c := range w.columns {
			w.column(c, l, right, codes)
		}
		w.token(l, right, codes)
		w.skip(pass, l, right, codes)
		v.Visit(pass, l, right, codes)
	}
}

// gather returns the filters of the rows end to end. Rows that follow one
// another need no copy.
func (w *worker) gather(column int, rows []int32) []uint64 {
	f := w.columns[column].right
	first, n := int(rows[0]), len(rows)
	if int(rows[n-1]) == first+n-1 && slices.IsSorted(rows) {
		return f.Words[first*f.WordsPerRow : (first+n)*f.WordsPerRow]
	}
	words := w.scratch[column][:0]
	for _, row := range rows {
		words = append(words, f.Row(int(row))...)
	}
	w.scratch[column] = words
	return words
}

func (w *worker) column(at int, l int32, right []int32, codes []uint32) {
	c := &w.columns[at]
	switch c.measure {
	case cohort.MeasureEqual:
		if !c.tagL.Present[l] {
			return
		}
		value := c.tagL.Value[l]
		for i, r := range right {
			if c.tagR.Present[r] {
				digit := uint32(1)
				if c.tagR.Value[r] == value {
					digit = 2
				}
				codes[i] += digit * c.stride
			}
		}
	case cohort.MeasureEqualBits:
		if !c.left.Present[l] {
			return
		}
		counts := w.counts[:len(right)]
		w.job.Kernel.EqualBits(counts, c.left.Row(int(l)), w.words[at])
		for i, r := range right {
			if c.right.Present[r] {
				codes[i] += (1 + uint32(c.levels[counts[i]])) * c.stride
			}
		}
	case cohort.MeasureDice:
		if !c.left.Present[l] {
			return
		}
		row := c.left.Row(int(l))
		counts := w.counts[:len(right)]
		w.job.Kernel.CommonBits(counts, row, w.words[at])
		set := popcount(row)
		for i, r := range right {
			if !c.right.Present[r] {
				continue
			}
			other := popcount(c.right.Row(int(r)))
			d := dice(counts[i], set, other)
			codes[i] += (1 + uint32(levelOf(c.bounds, d, counts[i] == set && counts[i] == other))) * c.stride
		}
	}
}

func popcount(row []uint64) (n uint32) {
	for _, word := range row {
		n += uint32(bits.OnesCount64(word))
	}
	return n
}

func (w *worker) token(l int32, right []int32, codes []uint32) {
	if w.tokenL == nil || w.tokenL[l] == 0 {
		return
	}
	fields := w.job.Scheme.Fields
	stride := uint32(fields[len(fields)-1].stride)
	for i, r := range right {
		switch w.tokenR[r] {
		case 0:
		case w.tokenL[l]:
			if w.job.Left.Token[l] == w.job.Right.Token[r] {
				codes[i] += (1 + TokenEqual) * stride
				continue
			}
			fallthrough
		default:
			codes[i] += (1 + TokenDifferent) * stride
		}
	}
}

// skip marks the pairs that this pass leaves out.
func (w *worker) skip(pass int, l int32, right []int32, codes []uint32) {
	if w.job.Plan.Within {
		for i, r := range right {
			if r <= l {
				codes[i] = Skip
			}
		}
	}
	for _, earlier := range w.job.Plan.Passes[:pass] {
		a := w.job.Left.BlockIndex(cohort.BlockPrefix + earlier.Name)
		b := w.job.Right.BlockIndex(cohort.BlockPrefix + earlier.Name)
		if a < 0 || b < 0 {
			continue
		}
		tagsL, tagsR := &w.job.Left.Blocks[a], &w.job.Right.Blocks[b]
		if !tagsL.Present[l] {
			continue
		}
		for i, r := range right {
			if tagsR.Present[r] && tagsR.Value[r] == tagsL.Value[l] {
				codes[i] = Skip
			}
		}
	}
}

// Histogram counts patterns.
type Histogram []int64

// Visit implements Visitor.
func (h Histogram) Visit(_ int, _ int32, _ []int32, codes []uint32) {
	for _, code := range codes {
		if code != Skip {
			h[code]++
		}
	}
}

// Count runs the job and returns how often each pattern occurs.
func (j *Job) Count(ctx context.Context) (Histogram, error) {
	parts := make([]Histogram, max(j.Threads, 1))
	err := j.Run(ctx, func(worker int) Visitor {
		parts[worker] = make(Histogram, j.Scheme.Patterns())
		return parts[worker]
	})
	if err != nil {
		return nil, err
	}
	total := parts[0]
	for _, part := range parts[1:] {
		for code, n := range part {
			total[code] += n
		}
	}
	return total, nil
}
