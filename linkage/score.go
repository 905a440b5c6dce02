package linkage

import (
	"context"
	"sync/atomic"

	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/compare"
	"tarn/linkage/model"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// rivalShare is the part of Keep down to which pairs are gathered: a pair too
// improbable to be written still competes with others for its records.
const rivalShare = .1

// counter returns a progress function that adds up pairs from all workers.
func (j *job) counter(stage string, total int64) func(int64) {
	var done atomic.Int64
	return func(pairs int64) { j.report(stage, done.Add(pairs), total) }
}

// What becomes of the pairs of a pattern.
const (
	dropped uint8 = iota
	candidate
	conflict
)

// collector gathers the pairs whose patterns are worth keeping.
type collector struct {
	stratum    int
	fate       []uint8
	candidates []resolve.Candidate
	conflicts  []resolve.Candidate
}

// Visit implements compare.Visitor.
func (c *collector) Visit(pass int, left int32, right []int32, codes []uint32) {
	for i, code := range codes {
		if code == compare.Skip || c.fate[code] == dropped {
			continue
		}
		pair := resolve.Candidate{Stratum: c.stratum, Left: left, Right: right[i], Code: code, Pass: int8(pass)}
		if c.fate[code] == conflict {
			c.conflicts = append(c.conflicts, pair)
		} else {
			c.candidates = append(c.candidates, pair)
		}
	}
}

// score compares once more, now that the model is known, and keeps the pairs
// that may be links. Comparing twice costs less than keeping every pair.
func (j *job) score(ctx context.Context) error {
	progress := j.counter("score", j.pairsPlanned())
	for i := range j.strata {
		s := &j.strata[i]
		fate := j.fates(i)
		collectors := make([]*collector, max(j.Threads, 1))
		err := j.comparison(s, progress).Run(ctx, func(worker int) compare.Visitor {
			collectors[worker] = &collector{stratum: i, fate: fate}
			return collectors[worker]
		})
		if err != nil {
			return err
		}
		for _, c := range collectors {
			j.candidates = append(j.candidates, c.candidates...)
			j.conflicts = append(j.conflicts, c.conflicts...)
		}
		j.addTokenOnly(i)
	}
	resolve.Order(j.candidates)
	resolve.Order(j.conflicts)
	for _, list := range [][]resolve.Candidate{j.candidates, j.conflicts} {
		for i := range list {
			list[i].Odds = j.scoreOf(&list[i]).Odds
		}
	}
	return nil
}

// scoreOf returns the score of a pair.
func (j *job) scoreOf(c *resolve.Candidate) model.Score {
	if c.Pass == resolve.TokenPass {
		return j.model.TokenOnlyScore(j.strata[c.Stratum].tokenPrior)
	}
	return j.model.Score(c.Stratum, c.Code)
}

// fates says, for each pattern that occurs in a stratum, what becomes of its
// pairs.
func (j *job) fates(stratum int) []uint8 {
	fate := make([]uint8, j.scheme.Patterns())
	floor := j.Keep * rivalShare
	for code, n := range j.histograms[stratum] {
		switch c := uint32(code); {
		case n == 0:
		case j.scheme.TokenLevel(c) == compare.TokenEqual && j.scheme.Contradicted(c):
			fate[code] = conflict
		case j.model.Score(stratum, c).Probability >= floor:
			fate[code] = candidate
		}
	}
	return fate
}

// addTokenOnly adds the pairs with equal tokens that no block holds: a wrong
// or missing date of birth, which the number rescues. Nothing else can be
// compared there.
func (j *job) addTokenOnly(i int) {
	s := &j.strata[i]
	if !s.tokens {
		return
	}
	code := j.tokenOnlyCode()
	byToken := map[[cohort.TokenBytes]byte][]int32{}
	for row, has := range s.right.HasToken {
		if has {
			byToken[s.right.Token[row]] = append(byToken[s.right.Token[row]], int32(row))
		}
	}
	found := 0
	for left, has := range s.left.HasToken {
		if !has {
			continue
		}
		for _, right := range byToken[s.left.Token[left]] {
			if !s.compared(int32(left), right) {
				j.candidates = append(j.candidates, resolve.Candidate{Stratum: i, Left: int32(left), Right: right, Code: code, Pass: resolve.TokenPass})
				found++
			}
		}
	}
	j.tokenOnly += found
	outside := float64(s.left.Rows())*float64(s.right.Rows()) - float64(s.plan.Pairs())
	s.tokenPrior = (float64(found) + .5) / max(outside+1, float64(found)+1)
}

func (j *job) tokenOnlyCode() uint32 {
	levels := make([]int, len(j.scheme.Fields))
	for f := range levels {
		levels[f] = compare.Missing
	}
	levels[len(levels)-1] = compare.TokenEqual
	return j.scheme.Code(levels)
}

// compared reports whether a pass of the plan holds the pair.
func (s *stratum) compared(left, right int32) bool {
	for _, pass := range s.plan.Passes {
		a, b := s.left.BlockIndex(cohort.BlockPrefix+pass.Name), s.right.BlockIndex(cohort.BlockPrefix+pass.Name)
		if a < 0 || b < 0 {
			return true // the pass that holds every pair
		}
		if s.left.Blocks[a].Present[left] && s.right.Blocks[b].Present[right] && s.left.Blocks[a].Value[left] == s.right.Blocks[b].Value[right] {
			return true
		}
	}
	return false
}

func (j *job) resolve(context.Context) error {
	resolve.Compete(j.candidates, j.OneToOne)
	resolve.Assign(j.candidates, j.OneToOne)
	j.missed = j.expectedMissed()
	j.estimator = resolve.NewEstimator(j.candidates, j.missed)
	if j.Threshold != nil {
		j.threshold = *j.Threshold
	} else {
		j.threshold = j.estimator.BestThreshold(j.MinPrecision)
	}
	resolve.Decide(j.candidates, j.threshold)
	if j.estimator.ExpectedMatches() < minimumEstimated {
		j.warn("no_estimate", "fewer than %d matches are expected, so precision and recall are not estimated", minimumEstimated)
	} else if j.tokenPairs() == 0 && len(j.strata[0].plan.Passes) > 0 && j.strata[0].plan.Passes[0].Name != block.All {
		j.warn("recall_within_blocks", "without tokens nothing is known of matches that share no block, so estimated recall counts only those that do")
	}
	return nil
}

// minimumEstimated is the number of expected matches below which precision is
// not estimated.
const minimumEstimated = 30

func (j *job) tokenPairs() (n int64) {
	for _, h := range j.histograms {
		for code, count := range h {
			if count > 0 && j.scheme.TokenLevel(uint32(code)) == compare.TokenEqual {
				n += count
			}
		}
	}
	return n + int64(j.tokenOnly)
}

// expectedMissed estimates the matches that nothing brought together: pairs
// without two equal tokens miss their block as often as pairs with equal
// tokens do.
func (j *job) expectedMissed() float64 {
	inBlocks, outside, withoutToken := 0.0, 0.0, 0.0
	for i := range j.candidates {
		switch c := &j.candidates[i]; {
		case c.Pass == resolve.TokenPass:
			outside += c.Probability
		case j.scheme.TokenLevel(c.Code) == compare.TokenEqual:
			inBlocks += c.Probability
		default:
			withoutToken += c.Probability
		}
	}
	if inBlocks == 0 {
		return 0
	}
	return withoutToken * outside / inBlocks
}

// basis says what a pair rests on.
func (j *job) basis(c *resolve.Candidate) string {
	if j.scheme.TokenLevel(c.Code) != compare.TokenEqual {
		return result.BasisDemographic
	}
	if c.Pass != resolve.TokenPass && j.model.Score(c.Stratum, j.scheme.WithoutToken(c.Code)).Probability >= j.threshold {
		return result.BasisBoth
	}
	return result.BasisToken
}
