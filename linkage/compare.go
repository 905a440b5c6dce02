package linkage

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"tarn/keys/fault"
	"tarn/linkage/compare"
	"tarn/linkage/kernel"
	"tarn/linkage/model"
	"tarn/linkage/resolve"
)

// counter returns a progress function that adds up pairs from all workers.
func (j *job) counter(stage string, total int64) func(int64) {
	var done atomic.Int64
	return func(pairs int64) { j.report(stage, done.Add(pairs), total) }
}

func (j *job) comparison(keep [][]bool, stage string) *compare.Job {
	c := &compare.Job{Scheme: j.scheme, Shape: j.shape, Rounded: j.rounded, Keep: keep, Few: j.few(), Kernel: kernel.Best(), Threads: j.Threads, Folder: j.TmpDir,
		Memory: j.scattered, Disk: j.disk.add, Progress: j.counter(stage, j.pairsPlanned())}
	for _, p := range j.cohorts {
		c.Sides = append(c.Sides, compare.Side{File: p.File, IDs: p.ids, Tokens: p.numbers})
	}
	for _, s := range j.strata {
		c.Strata = append(c.Strata, compare.Stratum{Left: s.LeftCohort, Right: s.RightCohort, Tokens: s.tokens})
	}
	return c
}

// few is how many pairs of an unlikely pattern are kept all the same: a pattern
// that turns out to matter has few.
func (j *job) few() uint16 { return uint16(min(j.fewPairs, fewInAll/j.scheme.Patterns())) }

const (
	fewPairs = 1000
	fewInAll = 2_000_000
)

// likelyMargin is by how much, in log2 odds, a fitted match weight may exceed
// the shipped one before pairs are missed when they are first compared.
const likelyMargin = 8

// likely returns the patterns whose pairs are kept when they are first compared,
// before the model is known: those whose shipped match weight, with as many
// matches as there can be, comes near what makes a candidate. What the model
// then asks for beyond them is compared once more.
func (j *job) likely(stratum int) []bool {
	s := &j.strata[stratum]
	prior := math.Log2(min(1, j.mostMatches(stratum)/max(float64(s.pairs), 1)))
	least := math.Log2(j.floor(stratum)) - prior - j.margin
	keep := make([]bool, j.scheme.Patterns())
	for code := range keep {
		weight := j.shippedWeight(uint32(code))
		keep[code] = weight >= least || j.scheme.TokenLevel(uint32(code)) == compare.TokenEqual
	}
	return keep
}

// shippedWeight is the match weight of a pattern, without the prior, by the
// probabilities that are known before the fit.
func (j *job) shippedWeight(code uint32) (weight float64) {
	for f, field := range j.scheme.Fields {
		m, u := field.M, field.U
		if j.given != nil {
			m, u = j.given.Fields[f].M, j.given.Fields[f].U
		}
		if level := j.scheme.Level(code, f); level != compare.Missing {
			weight += math.Log2(m[level] / u[level])
		}
	}
	return weight
}

// What a job holds at the least, whatever it may take: of itself and of each
// record, in bytes.
const (
	leastMemory   = 48 << 20
	leastOfRecord = 60
	leastOfTag    = 9  // of each record and pass after the first
	ofCandidate   = 32 // resolve.Candidate
)

// records is what is held of the records at the least, in bytes.
func (j *job) records() int64 {
	rows := int64(0)
	for _, c := range j.cohorts {
		rows += int64(c.Rows())
	}
	return leastMemory + rows*int64(leastOfRecord+leastOfTag*max(0, len(j.passes)-1))
}

// checkCandidates refuses a job whose candidates, which are counted by now, do
// not fit.
func (j *job) checkCandidates(fates [][]uint8) error {
	candidates := int64(0)
	for i, fate := range fates {
		for code, n := range j.found.Cross[i].Counts {
			if fate[code] != dropped {
				candidates += n
			}
		}
	}
	if j.Memory >= j.records()+candidates*ofCandidate {
		return nil
	}
	return fault.New(fault.Usage, "scoring the pairs", fmt.Sprintf("%d pairs that may be links, or compete with them, do not fit into the memory that may be used", candidates),
		"allow more with --memory, or write down fewer pairs with a higher --keep")
}

// checkMemory refuses a job that cannot be done in the memory that it may take.
func (j *job) checkMemory() error {
	if j.Memory >= j.records() {
		return nil
	}
	return fault.New(fault.Usage, "comparing the cohorts", "what is held of their records does not fit into the memory that may be used",
		"allow more with --memory (--plan says how much), or link fewer records at a time")
}

// compare counts the patterns of all pairs, and keeps the pairs that look like
// matches.
func (j *job) compare(ctx context.Context) error {
	if err := j.checkMemory(); err != nil {
		return err
	}
	j.keep = make([][]bool, len(j.strata))
	for i := range j.keep {
		j.keep[i] = j.likely(i)
	}
	if j.Resume {
		found, err := j.readCheckpoint(ctx)
		if err != nil {
			return err
		}
		if found {
			return nil
		}
	}
	c, from := j.comparison(j.keep, "compare"), j.Wall()
	j.found = c.NewOutcome()
	for _, p := range j.passes {
		if err := c.Run(ctx, &p.Pass, j.found); err != nil {
			return err
		}
	}
	j.found.DropPartial()
	if j.Wall().Sub(from) < j.CheckpointAfter {
		return nil
	}
	return j.writeCheckpoint()
}

// fit fits the model to the counts.
func (j *job) fit(context.Context) error {
	counts := model.Counts{}
	for i := range j.strata {
		counts.Cross = append(counts.Cross, j.found.Cross[i].Counts)
		counts.MostMatches += j.mostMatches(i)
	}
	if j.Dedupe {
		counts.Records = float64(j.cohorts[0].Rows())
	} else {
		counts.Within = make(compare.Histogram, j.scheme.Patterns())
		for _, h := range j.found.Within {
			counts.Within.Add(h)
		}
	}
	var err error
	if j.given != nil {
		j.model, err = j.given.Apply(j.scheme, counts)
	} else {
		j.model, err = model.Fit(j.scheme, counts)
	}
	if err != nil {
		return err
	}
	if j.OneToOne != resolve.None {
		for i := range j.strata {
			s := &j.strata[i]
			matches := j.model.Strata[i].Matches * float64(j.found.Cross[i].Counts.Total())
			s.Factor = resolve.OneToOneFactor(matches+float64(len(s.tokenOnly)), float64(s.left.Rows()), float64(s.right.Rows()))
		}
	}
	if !j.model.Fitted && j.given == nil {
		j.warn("few_matches", "fewer than 100 matches are expected among the compared pairs, so the m-probabilities shipped with the profile were used and only prevalence was fitted")
	}
	return nil
}

// mostMatches is the largest number of matches that a pair of cohorts without
// duplicates can have.
func (j *job) mostMatches(stratum int) float64 {
	s := &j.strata[stratum]
	if s.LeftCohort == s.RightCohort {
		return s.everyPair()
	}
	return float64(min(s.left.Rows(), s.right.Rows()))
}
