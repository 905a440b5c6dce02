package linkage

import (
	"context"

	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/compare"
	"tarn/linkage/exact"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// stratum is one pair of cohorts, or one cohort with itself.
type stratum struct {
	resolve.Stratum
	left, right *party
	pairs       int64 // in the blocks of all passes, before those that two passes share are left out
	tokens      bool  // whether equal tokens are one person's
	tokenPrior  float64
	tokenOnly   []resolve.Candidate // pairs with equal tokens that no pass brings together
}

// pass is one way of bringing pairs together.
type pass struct {
	compare.Pass
	name string
}

// partRecords is how many records of all cohorts a part has at least.
const partRecords = 48 << 10

// withinPairs is about how many pairs inside the blocks of one side are
// compared, for u-probabilities: a level that one pair in a thousand reaches is
// then known to within two per cent.
const withinPairs = 3_000_000

// withinFollowing bounds what one record of a large block adds to them.
const withinFollowing = 256

// plan counts the work before any is done.
func (j *job) plan(context.Context) error {
	var rows []int
	for _, c := range j.cohorts {
		rows = append(rows, c.Rows())
	}
	j.people = resolve.NewPeople(rows)
	for p, name := range j.passNames() {
		j.passes = append(j.passes, j.pass(name, p, j.way != BlockAll))
	}
	if !j.Dedupe {
		for side := range j.cohorts {
			j.chooseWithin(side)
		}
	}
	for a, left := range j.cohorts {
		for b := a + 1; b < len(j.cohorts); b++ {
			j.addStratum(a, b, left, j.cohorts[b])
		}
		if j.Dedupe {
			j.addStratum(a, a, left, left)
		}
	}
	if len(j.skipped) > 0 {
		j.warn(result.TokenPassSkipped, "%s", skippedText(j.skipped))
	}
	if len(j.passes) == 1 && j.allInOrder() {
		for i, c := range j.cohorts {
			c.blocks, j.passes[0].Sides[i].Tags = nil, nil
		}
	}
	return nil
}

func (j *job) allInOrder() bool {
	for _, p := range j.passes {
		for _, s := range p.Sides {
			if !s.InOrder {
				return false
			}
		}
	}
	return true
}

// pass plans pass number p, over a block column or over all pairs.
func (j *job) pass(name string, p int, tags bool) *pass {
	x := &pass{name: name}
	x.Census = p == 0
	var runs []*block.Runs
	for _, c := range j.cohorts {
		s := compare.PassSide{Runs: block.One(c.Rows())}
		if tags {
			s.Tags = &c.blocks[p]
			s.Runs = block.Of(*s.Tags)
		}
		s.InOrder = block.InOrder(s.Tags, c.ids)
		runs = append(runs, s.Runs)
		x.Sides = append(x.Sides, s)
	}
	x.Parts = block.Parts(runs, partRecords)
	for e := range p {
		var keys []*cohort.TagValues
		for _, c := range j.cohorts {
			keys = append(keys, &c.blocks[e])
		}
		x.Earlier = append(x.Earlier, keys)
	}
	return x
}

// chooseWithin chooses the pairs inside the blocks of one side that are
// compared: the same share of the blocks of every pass, so that they are
// brought together as the pairs across sides are.
func (j *job) chooseWithin(side int) {
	following := withinFollowing
	if j.way == BlockAll {
		following = min(following, withinPairs/max(j.cohorts[side].Rows(), 1)+1)
	}
	pairs := int64(0)
	for _, p := range j.passes {
		pairs += p.Sides[side].Runs.WithinUpTo(int64(following))
	}
	share := 1.0
	if pairs > withinPairs && j.way != BlockAll {
		share = withinPairs / float64(pairs)
	}
	for _, p := range j.passes {
		p.Sides[side].Within, p.Sides[side].Following = share, following
	}
}

func (j *job) addStratum(a, b int, left, right *party) {
	s := stratum{Stratum: resolve.Stratum{LeftCohort: a, RightCohort: b}, left: left, right: right}
	s.pairs = j.pairs(a, b)
	var why skipped
	if s.tokens, why = tokensComparable(left.Manifest, right.Manifest); !s.tokens {
		j.skipped = append(j.skipped, why)
	} else {
		j.findTokenOnly(&s, int16(len(j.strata)))
	}
	j.strata = append(j.strata, s)
}

// findTokenOnly finds the pairs with equal tokens that no pass brings together:
// a wrong or missing date of birth, which the number rescues. Nothing else can
// be compared there.
func (j *job) findTokenOnly(s *stratum, index int16) {
	code := j.tokenOnlyCode()
	exact.Pairs(s.left.numbers, s.right.numbers, j.lastNo, func(left, right int32) {
		// Inside one cohort the left record is that of the lesser id, as in a block.
		if s.LeftCohort == s.RightCohort && s.left.ids[left].Compare(s.right.ids[right]) >= 0 || s.firstPass(left, right) >= 0 {
			return
		}
		s.tokenOnly = append(s.tokenOnly, resolve.Candidate{Stratum: index, Left: left, Right: right, Code: code, Pass: resolve.TokenPass})
	})
	found := float64(len(s.tokenOnly))
	outside := s.everyPair() - float64(s.pairs)
	s.tokenPrior = (found + .5) / max(outside+1, found+1)
}

// everyPair is the number of pairs of records of the two cohorts.
func (s *stratum) everyPair() float64 {
	if s.LeftCohort == s.RightCohort {
		return float64(s.left.Rows()) * float64(s.left.Rows()-1) / 2
	}
	return float64(s.left.Rows()) * float64(s.right.Rows())
}

// firstPass returns the pass that brings the pair together first, -1 where none
// does.
func (s *stratum) firstPass(left, right int32) int {
	if len(s.left.blocks) == 0 {
		return 0 // the pass that holds every pair
	}
	for b := range s.left.blocks {
		l, r := &s.left.blocks[b], &s.right.blocks[b]
		if l.Present[left] && r.Present[right] && l.Value[left] == r.Value[right] {
			return b
		}
	}
	return -1
}

func (j *job) tokenOnlyCode() uint32 {
	levels := make([]int, len(j.scheme.Fields))
	for f := range levels {
		levels[f] = compare.Missing
	}
	levels[len(levels)-1] = compare.TokenEqual
	return j.scheme.Code(levels)
}

// pairs returns the number of pairs in the blocks of all passes, before those
// that two passes share are left out.
func (j *job) pairs(a, b int) (n int64) {
	for _, p := range j.passes {
		if a == b {
			n += p.Sides[a].Runs.Within()
		} else {
			n += block.Pairs(p.Sides[a].Runs, p.Sides[b].Runs)
		}
	}
	return n
}

func (j *job) pairsPlanned() (n int64) {
	for _, s := range j.strata {
		n += s.pairs
	}
	return n
}
