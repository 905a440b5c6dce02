package compare

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/kernel"
	"tarn/linkage/partition"
)

// Histogram counts patterns, by code.
type Histogram []int64

// Add adds the counts of another.
func (h Histogram) Add(other Histogram) {
	for code, n := range other {
		h[code] += n
	}
}

// Total returns the number of pairs.
func (h Histogram) Total() (n int64) {
	for _, count := range h {
		n += count
	}
	return n
}

// Side is one cohort of a job.
type Side struct {
	File *cohort.File
	IDs  []cohort.ID
	// Tokens numbers each record's token: equal numbers are equal tokens, 0 is
	// none.
	Tokens []int32
}

// PassSide is how one cohort takes part in a pass.
type PassSide struct {
	Runs *block.Runs
	Tags *cohort.TagValues // nil for the pass block.All, and where InOrder
	// InOrder says that the cohort lies in the order of the pass.
	InOrder bool
	// Within is the share of blocks whose own pairs are counted, for
	// u-probabilities: each record with at most Following of those that follow it
	// in the order of ids, which tells nothing of the records.
	Within    float64
	Following int
}

// Pass is one way of bringing pairs together.
type Pass struct {
	Sides []PassSide // as Job.Sides
	Parts []block.Part
	// Earlier are the keys of the passes before, by pass and side: a pair that
	// shares one of them was compared there.
	Earlier [][]*cohort.TagValues
	// Census counts the fields that records have, on the way.
	Census bool
}

// Stratum is one pair of cohorts whose pairs are compared, or one cohort with
// itself: then each pair of its records is compared once.
type Stratum struct {
	Left, Right int // sides
	Tokens      bool
}

// Job compares cohorts by a scheme.
type Job struct {
	Scheme  *Scheme
	Shape   *cohort.Shape
	Rounded bool // tags have been stored as floating point, see [cohort.File.ReadTags]
	Sides   []Side
	Strata  []Stratum
	// Keep says of each pattern of each stratum whether its pairs are kept. Of
	// others they are where there are Few of them at most.
	Keep    [][]bool
	Few     uint16
	Kernel  kernel.Path
	Threads int    // workers, at least 1
	Folder  string // for what does not fit into Memory; "" is the system's
	Memory  int64  // bytes that records may take which do not lie in the order of a pass
	Disk    func(bytes int64)
	// Progress, if not nil, is told of pairs done.
	Progress func(pairs int64)
}

// Outcome is what a job has found so far.
type Outcome struct {
	Cross  []Tally     // of each stratum; the order of what is kept is not fixed
	Within []Histogram // of each side, patterns of pairs inside its blocks
	Census []Census    // of each side
	Passes []int64     // pairs that each pass compared
}

// Census counts the records of one side.
type Census struct {
	Present []int64 // that have each field but the token
	Empty   int64   // that have none, nor a token
}

func (c *Census) count(rows *cohort.Rows, tokens []int32) {
	for i, present := range rows.Present {
		for f := range c.Present {
			c.Present[f] += int64(present >> f & 1)
		}
		if present == 0 && tokens[rows.Number[i]] == 0 {
			c.Empty++
		}
	}
}

// NewOutcome returns an outcome without any pair.
func (j *Job) NewOutcome() *Outcome {
	o := &Outcome{}
	for i := range j.Strata {
		o.Cross = append(o.Cross, Tally{Counts: make(Histogram, j.Scheme.Patterns()), room: j.room(i)})
	}
	for range j.Sides {
		o.Within = append(o.Within, make(Histogram, j.Scheme.Patterns()))
		o.Census = append(o.Census, Census{Present: make([]int64, len(j.Scheme.Fields)-1)})
	}
	return o
}

// every is room for every pair of a pattern.
const every = 1<<16 - 1

func (j *Job) room(stratum int) []uint16 {
	room := make([]uint16, j.Scheme.Patterns())
	for code, keep := range j.Keep[stratum] {
		if room[code] = min(j.Few, every-1); keep {
			room[code] = every
		}
	}
	return room
}

// Whole reports whether all pairs of a pattern were kept.
func (t *Tally) Whole(code uint32) bool {
	return t.room[code] == every || t.Counts[code] <= int64(t.room[code])
}

// DropPartial lets go of the pairs of patterns of which not all were kept.
func (o *Outcome) DropPartial() {
	for i := range o.Cross {
		t := &o.Cross[i]
		t.Kept.Retain(t.Whole)
	}
}

func (o *Outcome) add(other *Outcome) {
	for i := range o.Cross {
		o.Cross[i].Counts.Add(other.Cross[i].Counts)
		o.Cross[i].Kept.Take(&other.Cross[i].Kept)
	}
	for i := range o.Within {
		o.Within[i].Add(other.Within[i])
	}
}

func (o *Outcome) total() (n int64) {
	for i := range o.Cross {
		n += o.Cross[i].Counts.Total()
	}
	return n
}

// loaded is one part of all sides. The last task that uses it gives its rows
// back.
type loaded struct {
	rows  []*cohort.Rows
	tasks atomic.Int32
}

// task is a unit and where its pairs count.
type task struct {
	unit
	part    *loaded
	stratum int // -1: within a side
	side    int
	pairs   int64
}

// Run compares every pair of a pass and adds what it finds to the outcome. It
// holds a few parts at a time.
func (j *Job) Run(ctx context.Context, pass *Pass, outcome *Outcome) error {
	group, ctx := errgroup.WithContext(ctx)
	tasks := make(chan task, 2*j.Threads)
	free := make(chan *cohort.Rows, 8*len(j.Sides))
	streams := make([]chan *cohort.Rows, len(j.Sides))
	for side := range j.Sides {
		streams[side] = make(chan *cohort.Rows, 1)
		group.Go(func() error { return j.load(ctx, pass, side, streams[side], free, &outcome.Census[side]) })
	}
	group.Go(func() error { return j.divide(ctx, pass, streams, tasks, free) })
	prepared := newPlan(j.Scheme, j.Shape, j.Kernel)
	found := make([]*Outcome, max(j.Threads, 1))
	for i := range found {
		found[i] = j.NewOutcome()
		group.Go(func() error {
			w := newWorker(prepared)
			for t := range tasks {
				if err := ctx.Err(); err != nil {
					return err
				}
				j.do(w, &t, found[i], free)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	before := outcome.total()
	for _, f := range found {
		outcome.add(f)
	}
	outcome.Passes = append(outcome.Passes, outcome.total()-before)
	return nil
}

func (j *Job) do(w *worker, t *task, found *Outcome, free chan<- *cohort.Rows) {
	if t.stratum >= 0 {
		w.compare(&t.unit, &found.Cross[t.stratum])
		if j.Progress != nil {
			j.Progress(t.pairs)
		}
	} else {
		w.compare(&t.unit, &Tally{Counts: found.Within[t.side], room: w.none})
	}
	if t.part.tasks.Add(-1) == 0 {
		t.part.release(free)
	}
}

// release gives the rows back, to be filled again.
func (p *loaded) release(free chan<- *cohort.Rows) {
	for _, rows := range p.rows {
		select {
		case free <- rows:
		default: // enough are free
		}
	}
}

// load reads the parts of one side.
func (j *Job) load(ctx context.Context, pass *Pass, side int, to chan<- *cohort.Rows, free <-chan *cohort.Rows, census *Census) error {
	defer close(to)
	source, err := j.source(ctx, pass, side, census)
	if err != nil {
		return err
	}
	defer source.Close()
	for range pass.Parts {
		var rows *cohort.Rows
		select {
		case rows = <-free:
		default:
			rows = new(cohort.Rows)
		}
		if err := source.Load(ctx, rows); err != nil {
			return err
		}
		select {
		case to <- rows:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return source.Finish(ctx)
}

func (j *Job) source(ctx context.Context, pass *Pass, side int, census *Census) (partition.Source, error) {
	s := &pass.Sides[side]
	p := partition.Pass{File: j.Sides[side].File, Shape: j.Shape, Rounded: j.Rounded, Tags: s.Tags, IDs: j.Sides[side].IDs, Runs: s.Runs, Parts: pass.Parts, Cohort: side}
	if pass.Census {
		p.Seen = func(rows *cohort.Rows) { census.count(rows, j.Sides[side].Tokens) }
	}
	if s.InOrder {
		return partition.InOrder(p), nil
	}
	return partition.Scatter(ctx, p, j.Folder, j.Memory/int64(len(j.Sides)), j.Disk)
}

// divide takes the parts of all sides together and hands out their work.
func (j *Job) divide(ctx context.Context, pass *Pass, streams []chan *cohort.Rows, tasks chan<- task, free chan<- *cohort.Rows) error {
	defer close(tasks)
	for range pass.Parts {
		part := &loaded{}
		for _, stream := range streams {
			select {
			case rows, ok := <-stream:
				if !ok {
					return ctx.Err() // its error stops the others
				}
				part.rows = append(part.rows, rows)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		work := j.tasks(pass, part)
		if len(work) == 0 {
			part.release(free)
		}
		part.tasks.Store(int32(len(work)))
		for _, t := range work {
			select {
			case tasks <- t:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// TaskPairs is how many pairs a task has at most, about: few enough that
// workers end together.
const TaskPairs = 1 << 19

// everyFollowing compares each record of one side with all that follow it.
const everyFollowing = 1 << 30

func (j *Job) tasks(pass *Pass, part *loaded) (tasks []task) {
	for i, s := range j.Strata {
		u := unit{left: part.rows[s.Left], right: part.rows[s.Right]}
		if s.Tokens {
			u.tokensLeft, u.tokensRight = j.Sides[s.Left].Tokens, j.Sides[s.Right].Tokens
		}
		for _, keys := range pass.Earlier {
			u.earlier = append(u.earlier, earlier{keys[s.Left], keys[s.Right]})
		}
		t := task{unit: u, part: part, stratum: i}
		if s.Left == s.Right {
			t.following = everyFollowing
			tasks = append(tasks, inside(t, func(int64) bool { return true })...)
		} else {
			tasks = append(tasks, across(t)...)
		}
	}
	for side, s := range pass.Sides {
		if s.Within == 0 {
			continue
		}
		u := unit{left: part.rows[side], right: part.rows[side], tokensLeft: j.Sides[side].Tokens, tokensRight: j.Sides[side].Tokens, following: s.Following}
		for _, keys := range pass.Earlier {
			u.earlier = append(u.earlier, earlier{keys[side], keys[side]})
		}
		tasks = append(tasks, inside(task{unit: u, part: part, stratum: -1, side: side}, func(key int64) bool { return block.Sampled(key, s.Within) })...)
	}
	return tasks
}

// blockEnd returns where the block that begins at from ends.
func blockEnd(keys []int64, from int) int {
	to := from + 1
	for to < len(keys) && keys[to] == keys[from] {
		to++
	}
	return to
}

// across divides the blocks that two sides share.
func across(t task) (tasks []task) {
	d := divider{task: t}
	left, right := t.left.Key, t.right.Key
	for l, r := 0, 0; l < len(left) && r < len(right); {
		switch {
		case left[l] < right[r]:
			l = blockEnd(left, l)
		case left[l] > right[r]:
			r = blockEnd(right, r)
		default:
			lTo, rTo := blockEnd(left, l), blockEnd(right, r)
			step := max(TaskPairs/(rTo-r), 1)
			for from := l; from < lTo; from += step {
				to := min(from+step, lTo)
				d.add(span{from, to, r, rTo}, int64(to-from)*int64(rTo-r))
			}
			l, r = lTo, rTo
		}
	}
	return d.done()
}

// inside divides the blocks of one side whose key is wanted.
func inside(t task, wanted func(key int64) bool) (tasks []task) {
	d := divider{task: t}
	keys := t.left.Key
	for from := 0; from < len(keys); {
		to := blockEnd(keys, from)
		if to-from > 1 && wanted(keys[from]) {
			step := max(TaskPairs/min(to-from, t.following), 1)
			for l := from; l < to; l += step {
				s := span{l, min(l+step, to), l, to}
				pairs := int64(0)
				for i := s.leftFrom; i < s.leftTo; i++ {
					pairs += int64(min(to-1-i, t.following))
				}
				d.add(s, pairs)
			}
		}
		from = to
	}
	return d.done()
}

// divider gathers spans into tasks of about TaskPairs pairs.
type divider struct {
	task
	tasks []task
}

func (d *divider) add(s span, pairs int64) {
	d.spans = append(d.spans, s)
	if d.pairs += pairs; d.pairs >= TaskPairs {
		d.flush()
	}
}

func (d *divider) flush() {
	d.tasks = append(d.tasks, d.task)
	d.spans, d.pairs = nil, 0
}

func (d *divider) done() []task {
	if len(d.spans) > 0 {
		d.flush()
	}
	return d.tasks
}
