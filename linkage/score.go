package linkage

import (
	"context"
	"iter"
	"runtime/debug"
	"slices"

	"tarn/linkage/block"
	"tarn/linkage/compare"
	"tarn/linkage/model"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// rivalShare is the part of what is written down to which pairs are gathered: a
// pair too improbable to be written still competes with others for its records.
const rivalShare = .1

// Where there are so many pairs, rivals that the first comparison has not kept
// are not worth another if they are so small a share of all candidates.
const (
	manyPairs = 10_000_000
	fewRivals = .01
)

// mostKeep bounds Keep from above where pairs are gathered, so that estimates
// and links are the same however few other pairs are written.
const mostKeep = .1

// least is the match probability from which competition can raise a pair of a
// stratum to what is written or linked.
func (j *job) least(stratum int) float64 {
	least := min(j.Keep, mostKeep)
	if j.Threshold != nil {
		least = min(least, *j.Threshold)
	}
	return least / j.strata[stratum].OddsFactor()
}

// floor is the match probability from which pairs of a stratum become
// candidates.
func (j *job) floor(stratum int) float64 {
	return j.least(stratum) * min(1, rivalShare*j.strata[stratum].OddsFactor())
}

// What becomes of the pairs of a pattern.
const (
	dropped uint8 = iota
	candidate
	conflict
)

// score makes candidates of the pairs that may be links, now that the model is
// known.
func (j *job) score(ctx context.Context) error {
	fates := make([][]uint8, len(j.strata))
	for i := range j.strata {
		fates[i] = j.fates(i)
	}
	if err := j.checkCandidates(fates); err != nil {
		return err
	}
	if err := j.compareAgain(ctx, fates); err != nil {
		return err
	}
	for _, c := range j.cohorts {
		c.numbers = nil // all tokens have been compared
	}
	for i, fate := range fates {
		j.found.Cross[i].Kept.Retain(func(code uint32) bool { return fate[code] != dropped })
	}
	// Candidates take the most memory of all, at once: first goes back what
	// comparing has left.
	debug.FreeOSMemory()
	for i := range j.strata {
		s, odds, fate, kept := &j.strata[i], j.odds(i), fates[i], &j.found.Cross[i].Kept
		pairs := func(what uint8, from iter.Seq[compare.Pair]) iter.Seq[resolve.Candidate] {
			return func(yield func(resolve.Candidate) bool) {
				for p := range from {
					if fate[p.Code] == what && !yield(resolve.Candidate{Stratum: int16(i), Left: p.Left, Right: p.Right, Code: p.Code, Odds: odds[p.Code]}) {
						return
					}
				}
				if what != candidate {
					return
				}
				for _, c := range s.tokenOnly {
					c.Odds = j.scoreOf(&c).Odds
					if !yield(c) {
						return
					}
				}
			}
		}
		conflicts := pairs(conflict, kept.All())
		j.conflicts = resolve.AppendOrdered(j.conflicts, conflicts, conflicts)
		j.candidates = resolve.AppendOrdered(j.candidates, pairs(candidate, kept.All()), pairs(candidate, kept.Drain()))
		s.tokenOnly = nil
	}
	j.findPasses(j.candidates)
	j.findPasses(j.conflicts)
	return nil
}

// compareAgain compares once more for the patterns that were not expected to
// matter and do. Where there are many pairs, and all that is missing are a few
// rivals that cannot be written themselves, it lets these go.
func (j *job) compareAgain(ctx context.Context, fates [][]uint8) error {
	missing := make([][]bool, len(j.strata))
	candidates, rivals, needed := int64(0), int64(0), false
	for i, fate := range fates {
		missing[i] = make([]bool, len(fate))
		least := j.least(i)
		for code, n := range j.found.Cross[i].Counts {
			switch {
			case fate[code] == dropped:
			case j.found.Cross[i].Whole(uint32(code)):
				candidates += n
			default:
				missing[i][code] = true
				rivals += n
				needed = needed || fate[code] == conflict || j.model.Score(i, uint32(code)).Probability >= least
			}
		}
	}
	if rivals == 0 {
		return nil
	}
	if !needed && j.pairsPlanned() >= manyPairs && float64(rivals) <= fewRivals*float64(candidates) {
		return nil // they have not been kept
	}
	c := j.comparison(missing, "score")
	c.Few = 0
	more := c.NewOutcome()
	for _, p := range j.passes {
		q := p.Pass
		q.Sides = slices.Clone(q.Sides)
		for i := range q.Sides {
			q.Sides[i].Within = 0
		}
		q.Census = false
		if err := c.Run(ctx, &q, more); err != nil {
			return err
		}
	}
	for i := range more.Cross {
		j.found.Cross[i].Kept.Take(&more.Cross[i].Kept)
	}
	return nil
}

// odds returns the odds of every pattern that occurs in a stratum.
func (j *job) odds(stratum int) []float64 {
	odds := make([]float64, j.scheme.Patterns())
	for code, n := range j.found.Cross[stratum].Counts {
		if n > 0 {
			odds[code] = j.model.Score(stratum, uint32(code)).Odds
		}
	}
	return odds
}

// findPasses says of each candidate which pass brought it together first.
func (j *job) findPasses(candidates []resolve.Candidate) {
	if len(j.passes) == 1 {
		return
	}
	for i := range candidates {
		c := &candidates[i]
		if c.Pass == resolve.TokenPass {
			continue
		}
		c.Pass = int8(j.strata[c.Stratum].firstPass(c.Left, c.Right))
	}
}

// scoreOf returns the score of a pair.
func (j *job) scoreOf(c *resolve.Candidate) model.Score {
	if c.Pass == resolve.TokenPass {
		return j.model.TokenOnlyScore(j.strata[c.Stratum].tokenPrior)
	}
	return j.model.Score(int(c.Stratum), c.Code)
}

// fates says, for each pattern that occurs in a stratum, what becomes of its
// pairs.
func (j *job) fates(stratum int) []uint8 {
	fate := make([]uint8, j.scheme.Patterns())
	floor := j.floor(stratum)
	for code, n := range j.found.Cross[stratum].Counts {
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

// resolved returns the strata as package resolve knows them.
func (j *job) resolved() (strata []resolve.Stratum) {
	for _, s := range j.strata {
		strata = append(strata, s.Stratum)
	}
	return strata
}

func (j *job) resolve(context.Context) error {
	j.people.Compete(j.resolved(), j.candidates, j.OneToOne)
	j.people.Assign(j.resolved(), j.candidates, j.OneToOne)
	j.estimator = j.newEstimator()
	if j.Threshold != nil {
		j.threshold = *j.Threshold
	} else {
		j.threshold = j.estimator.BestThreshold(j.MinPrecision)
	}
	if j.Threshold == nil && j.estimator.At(0).Links > 0 && j.estimator.At(j.threshold).Links == 0 {
		j.warn("nothing_linked", "no threshold has an estimated precision of %.4g, so nothing is linked", j.MinPrecision)
	}
	if j.estimator.ExpectedMatches() < minimumEstimated {
		j.warn("no_estimate", "fewer than %d matches are expected, so precision and recall are not estimated", minimumEstimated)
	} else if j.tokenPairs() == 0 && j.passes[0].name != block.All {
		j.warn("recall_within_blocks", "without tokens nothing is known of matches that share no block; estimated recall counts one in a hundred for them, as in data of an NHS trust")
	}
	return nil
}

// minimumEstimated is the number of expected matches below which precision is
// not estimated.
const minimumEstimated = 30

// tokenPairs counts the pairs with equal tokens.
func (j *job) tokenPairs() (n int64) {
	for i := range j.strata {
		for code, count := range j.found.Cross[i].Counts {
			if count > 0 && j.scheme.TokenLevel(uint32(code)) == compare.TokenEqual {
				n += count
			}
		}
	}
	return n + int64(j.tokenOnly())
}

// tokenOnly counts the pairs that only their tokens brought together.
func (j *job) tokenOnly() (n int) {
	for i := range j.candidates {
		if j.candidates[i].Pass == resolve.TokenPass {
			n++
		}
	}
	return n
}

// newEstimator estimates precision and recall from the candidates and the
// model's uncertainty.
func (j *job) newEstimator() *resolve.Estimator {
	missed, u := j.expectedMissed(), resolve.Uncertainty{Directions: j.model.Directions()}
	u.MissedError = missed / 2
	if j.tokenPairs() == 0 && j.way == BlockTags {
		found := 0.0
		for i := range j.candidates {
			found += j.candidates[i].Probability
		}
		missed, u.MissedError = resolve.MissedByDate(found)
	}
	known := map[kind][]float64{}
	u.Sensitivity = func(c *resolve.Candidate) []float64 {
		if c.Pass == resolve.TokenPass {
			return nil
		}
		k := kind{stratum: c.Stratum, code: c.Code}
		sensitivity, ok := known[k]
		if !ok {
			sensitivity = j.model.Sensitivity(int(c.Stratum), c.Code)
			known[k] = sensitivity
		}
		return sensitivity
	}
	return resolve.NewEstimatorWith(j.candidates, missed, u)
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
	if c.Pass != resolve.TokenPass && j.alone(c) >= j.threshold {
		return result.BasisBoth
	}
	return result.BasisToken
}

// alone is the probability of a link without its tokens and its rivals.
func (j *job) alone(c *resolve.Candidate) float64 {
	return j.strata[c.Stratum].Alone(j.model.Score(int(c.Stratum), j.scheme.WithoutToken(c.Code)).Odds)
}
