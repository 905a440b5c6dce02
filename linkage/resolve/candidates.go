// Package resolve turns scored pairs into links and people: it lets the
// candidates of a record compete, chooses a threshold without truth, assigns
// one to one, and clusters across parties.
package resolve

import (
	"cmp"
	"math"
	"slices"
)

// Candidate is a pair of records of two parties that may be one person.
type Candidate struct {
	Stratum     int // pair of cohorts
	Left, Right int32
	Code        uint32 // agreement pattern
	Pass        int8   // of the plan; TokenPass for a pair that only its tokens brought together
	Odds        float64
	// Probability is the probability of the link among its competitors: the
	// other candidates of either record, and no match at all. Set by Compete.
	Probability float64
	Best        bool // for both of its records; set by Assign
	Linked      bool // set by Decide
}

// TokenPass is the Pass of a pair that no block holds.
const TokenPass = -1

// Stratum describes a pair of cohorts.
type Stratum struct{ LeftCohort, RightCohort int }

// Order sorts candidates by stratum, left row and right row, in which order
// every step below takes them, so that results do not depend on how they were
// found.
func Order(candidates []Candidate) {
	slices.SortFunc(candidates, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.Stratum, b.Stratum), cmp.Compare(a.Left, b.Left), cmp.Compare(a.Right, b.Right))
	})
}

// Assignment is how candidates become links.
type Assignment string

// The assignments.
const (
	Mutual Assignment = "mutual" // each is the other's best candidate
	Greedy Assignment = "greedy" // best pairs first, each record once, as anonlink does it
	None   Assignment = "none"   // any number of links for a record
)

// Compete sets the probability of each candidate, taken among the competing
// candidates of both of its records: at most one of them is the match.
//
// For a candidate of odds o, with S the sum of the odds of all candidates of
// either record, itself counted once, it is o / (1 + S). Where any number of
// links is allowed nothing competes.
func Compete(candidates []Candidate, assignment Assignment) {
	for _, group := range byStratum(candidates) {
		left, right := map[int32]float64{}, map[int32]float64{}
		for _, c := range group {
			left[c.Left] += c.Odds
			right[c.Right] += c.Odds
		}
		for i := range group {
			c := &group[i]
			rivals := 0.0
			if assignment != None {
				rivals = math.Max(0, left[c.Left]-c.Odds) + math.Max(0, right[c.Right]-c.Odds)
			}
			c.Probability = share(c.Odds, rivals)
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
func Assign(candidates []Candidate, assignment Assignment) {
	for _, group := range byStratum(candidates) {
		switch assignment {
		case None:
			for i := range group {
				group[i].Best = true
			}
		case Greedy:
			assignGreedy(group)
		default:
			assignMutual(group)
		}
	}
}

// better reports whether candidate i is to be preferred to j: higher odds,
// then the earlier rows, so that ties fall the same way every time.
func better(group []Candidate, i, j int) bool { return group[i].Odds > group[j].Odds }

func assignMutual(group []Candidate) {
	left, right := map[int32]int{}, map[int32]int{}
	for i, c := range group {
		if best, ok := left[c.Left]; !ok || better(group, i, best) {
			left[c.Left] = i
		}
		if best, ok := right[c.Right]; !ok || better(group, i, best) {
			right[c.Right] = i
		}
	}
	for i, c := range group {
		group[i].Best = left[c.Left] == i && right[c.Right] == i
	}
}

func assignGreedy(group []Candidate) {
	order := make([]int, len(group))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(group[b].Odds, group[a].Odds) })
	left, right := map[int32]bool{}, map[int32]bool{}
	for _, i := range order {
		c := &group[i]
		if !left[c.Left] && !right[c.Right] {
			c.Best = true
			left[c.Left], right[c.Right] = true, true
		}
	}
}
