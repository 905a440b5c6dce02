// Package resolve turns scored pairs into links and people: it lets the
// candidates of a record compete, chooses a threshold without truth, assigns
// one to one, and clusters across parties.
package resolve

import (
	"cmp"
	"iter"
	"math"
	"slices"
)

// Candidate is a pair of records of two parties that may be one person.
type Candidate struct {
	// There are tens of millions: members lie from the widest to the narrowest.
	Odds float64
	// Probability is the probability of the link among its competitors: the
	// other candidates of either record, and no match at all. Set by Compete.
	Probability float64
	Left, Right int32
	Code        uint32 // agreement pattern
	Stratum     int16  // pair of cohorts
	Pass        int8   // of the plan; TokenPass for a pair that only its tokens brought together
	Best        bool   // for both of its records; set by Assign
}

// TokenPass is the Pass of a pair that no block holds.
const TokenPass = -1

// Stratum describes a pair of cohorts.
type Stratum struct {
	LeftCohort, RightCohort int
	// Factor multiplies odds where candidates compete, see [OneToOneFactor]; 0 is
	// 1.
	Factor float64
}

// OddsFactor returns the factor.
func (s Stratum) OddsFactor() float64 {
	if s.Factor == 0 {
		return 1
	}
	return s.Factor
}

// Alone returns the probability of a link of these odds that has no rival.
func (s Stratum) Alone(odds float64) float64 { return share(odds*s.OddsFactor(), 0) }

// AppendOrdered appends the candidates of a stratum by left row and right row, in
// which order every step below takes them, so that results do not depend on how
// they were found. Left rows are spread evenly, so that dividing by them leaves
// little to sort. It goes through the candidates twice, and then through last,
// which yields the same and may let go of them.
func AppendOrdered(sorted []Candidate, candidates, last iter.Seq[Candidate]) []Candidate {
	highest, n := int32(0), 0
	for c := range candidates {
		highest, n = max(highest, c.Left), n+1
	}
	if n == 0 {
		return sorted
	}
	step := highest/int32(n) + 1 // left rows in a piece
	from := make([]int32, highest/step+2)
	for c := range candidates {
		from[c.Left/step+1]++
	}
	for b := range len(from) - 1 {
		from[b+1] += from[b]
	}
	base := len(sorted)
	sorted = slices.Grow(sorted, n)[:base+n]
	at := slices.Clone(from)
	for c := range last {
		b := c.Left / step
		sorted[base+int(at[b])] = c
		at[b]++
	}
	for b := range len(from) - 1 {
		piece := sorted[base+int(from[b]) : base+int(from[b+1])]
		if len(piece) > 1 {
			slices.SortFunc(piece, func(a, b Candidate) int { return cmp.Or(cmp.Compare(a.Left, b.Left), cmp.Compare(a.Right, b.Right)) })
		}
	}
	return sorted
}

// Assignment is how candidates become links.
type Assignment string

// The assignments.
const (
	Mutual Assignment = "mutual" // each is the other's best candidate
	Greedy Assignment = "greedy" // best pairs first, each record once, as anonlink does it
	None   Assignment = "none"   // any number of links for a record
)

// People are the cohorts' records, numbered one cohort after the other.
type People struct{ offset []int32 }

// NewPeople numbers the records of cohorts with so many records.
func NewPeople(rows []int) *People {
	p := &People{offset: []int32{0}}
	for _, n := range rows {
		p.offset = append(p.offset, p.offset[len(p.offset)-1]+int32(n))
	}
	return p
}

// Total returns the number of records.
func (p *People) Total() int { return int(p.offset[len(p.offset)-1]) }

// Number returns the number of a record of a cohort.
func (p *People) Number(cohort int, row int32) int32 { return p.offset[cohort] + row }

// Cohort returns the cohort of a record, and its place there.
func (p *People) Cohort(number int32) (cohort int, row int32) {
	for number >= p.offset[cohort+1] {
		cohort++
	}
	return cohort, number - p.offset[cohort]
}

// ends returns the numbers of a candidate's two records.
func (p *People) ends(s Stratum, c *Candidate) (left, right int32) {
	return p.Number(s.LeftCohort, c.Left), p.Number(s.RightCohort, c.Right)
}

// Compete sets the probability of each candidate, taken among the competing
// candidates of both of its records: at most one of them is the match. The
// candidates of each stratum are in the order of [AppendOrdered].
//
// For a candidate of odds o, with S the sum of the odds of all candidates of
// either record, itself counted once, it is o / (1 + S), all odds multiplied by
// the stratum's factor. Where any number of links is allowed nothing competes.
func (p *People) Compete(strata []Stratum, candidates []Candidate, assignment Assignment) {
	var sums []float64
	if assignment != None {
		sums = make([]float64, p.Total())
	}
	for _, group := range byStratum(candidates) {
		s := strata[group[0].Stratum]
		if assignment != None {
			clear(sums)
			for i := range group {
				left, right := p.ends(s, &group[i])
				sums[left] += group[i].Odds
				sums[right] += group[i].Odds
			}
		}
		for i := range group {
			c := &group[i]
			if assignment == None {
				c.Probability = share(c.Odds, 0)
				continue
			}
			left, right := p.ends(s, c)
			rivals := math.Max(0, sums[left]-c.Odds) + math.Max(0, sums[right]-c.Odds)
			c.Probability = share(c.Odds*s.OddsFactor(), rivals*s.OddsFactor())
		}
	}
}

func share(odds, rivals float64) float64 {
	if math.IsInf(odds, 1) {
		return 1
	}
	return odds / (1 + odds + rivals)
}

func byStratum(candidates []Candidate) (groups [][]Candidate) {
	for from := 0; from < len(candidates); {
		to := from
		for to < len(candidates) && candidates[to].Stratum == candidates[from].Stratum {
			to++
		}
		groups = append(groups, candidates[from:to])
		from = to
	}
	return groups
}

// Assign marks the candidates that may become links.
func (p *People) Assign(strata []Stratum, candidates []Candidate, assignment Assignment) {
	for _, group := range byStratum(candidates) {
		s := strata[group[0].Stratum]
		switch assignment {
		case None:
			for i := range group {
				group[i].Best = true
			}
		case Greedy:
			p.assignGreedy(s, group)
		default:
			p.assignMutual(s, group)
		}
	}
}

// assignMutual marks the candidates that are the best of both of their
// records: of equal odds the earlier, so that ties fall the same way every
// time.
func (p *People) assignMutual(s Stratum, group []Candidate) {
	best := make([]int32, p.Total()) // of each record its best candidate's index, plus one
	for i := range group {
		left, right := p.ends(s, &group[i])
		for _, end := range [2]int32{left, right} {
			if at := best[end]; at == 0 || group[i].Odds > group[at-1].Odds {
				best[end] = int32(i + 1)
			}
		}
	}
	for i := range group {
		left, right := p.ends(s, &group[i])
		group[i].Best = best[left] == int32(i+1) && best[right] == int32(i+1)
	}
}

func (p *People) assignGreedy(s Stratum, group []Candidate) {
	order := make([]int32, len(group))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(group[b].Odds, group[a].Odds) })
	taken := make([]bool, p.Total())
	for _, i := range order {
		c := &group[i]
		if left, right := p.ends(s, c); !taken[left] && !taken[right] {
			c.Best, taken[left], taken[right] = true, true, true
		}
	}
}
