package resolve

import (
	"cmp"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// parties is the number of cohorts of a drawn graph; it has a stratum for each
// two of them.
const parties = 3

var (
	allStrata = []Stratum{{0, 1, 0}, {0, 2, 1}, {1, 2, 3}}
	everybody = NewPeople([]int{4, 4, 4})
)

// drawCandidates draws a small graph, with ties.
func drawCandidates(t *rapid.T, strata int) []Candidate {
	seen := map[[3]int32]bool{}
	var candidates []Candidate
	for range rapid.IntRange(0, 9).Draw(t, "candidates") {
		s, l, r := rapid.Int32Range(0, int32(strata-1)).Draw(t, "stratum"), rapid.Int32Range(0, 3).Draw(t, "left"), rapid.Int32Range(0, 3).Draw(t, "right")
		if !seen[[3]int32{s, l, r}] {
			seen[[3]int32{s, l, r}] = true
			candidates = append(candidates, Candidate{Stratum: int16(s), Left: l, Right: r, Odds: rapid.SampledFrom([]float64{.01, .5, 1, 1, 9, 99, math.Inf(1)}).Draw(t, "odds")})
		}
	}
	var ordered []Candidate
	for s := range int32(strata) {
		ofStratum := func(yield func(Candidate) bool) {
			for _, c := range candidates {
				if c.Stratum == int16(s) && !yield(c) {
					return
				}
			}
		}
		ordered = AppendOrdered(ordered, ofStratum, ofStratum)
	}
	if !slices.IsSortedFunc(ordered, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.Stratum, b.Stratum), cmp.Compare(a.Left, b.Left), cmp.Compare(a.Right, b.Right))
	}) || len(ordered) != len(candidates) {
		t.Fatal("candidates are not in order")
	}
	return ordered
}

// rivals are the candidates that share a record with c.
func rivals(candidates []Candidate, c *Candidate) (list []*Candidate) {
	for i := range candidates {
		if o := &candidates[i]; o != c && o.Stratum == c.Stratum && (o.Left == c.Left || o.Right == c.Right) {
			list = append(list, o)
		}
	}
	return list
}

// TestAssignIsOneToOne holds the assignments to what they say, candidate by
// candidate. Mutual best: no rival is better, nor as good and earlier. Greedy:
// the one set in which each candidate is taken unless a rival that was taken
// is better, found among all sets. None: all.
func TestAssignIsOneToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		drawn := drawCandidates(t, parties)
		before := func(a, b *Candidate) bool { // a comes before b
			return cmp.Or(cmp.Compare(b.Odds, a.Odds), cmp.Compare(a.Left, b.Left), cmp.Compare(a.Right, b.Right)) < 0
		}
		assigned := func(mode Assignment) []Candidate {
			candidates := slices.Clone(drawn)
			everybody.Assign(allStrata, candidates, mode)
			return candidates
		}
		mutual := assigned(Mutual)
		for i := range mutual {
			c, beaten := &mutual[i], false
			for _, o := range rivals(mutual, c) {
				beaten = beaten || before(o, c)
				if c.Best && o.Best {
					t.Fatal("mutual: a record has two links")
				}
			}
			if c.Best == beaten {
				t.Fatalf("mutual: candidate %d is best: %v, beaten: %v", i, c.Best, beaten)
			}
		}
		greedy, found := assigned(Greedy), 0
		for set := range 1 << len(drawn) { // brute force
			taken := func(c *Candidate) bool {
				return set>>slices.IndexFunc(greedy, func(o Candidate) bool { return o.Stratum == c.Stratum && o.Left == c.Left && o.Right == c.Right })&1 == 1
			}
			stable := true
			for i := range greedy {
				kept := false
				for _, o := range rivals(greedy, &greedy[i]) {
					kept = kept || taken(o) && before(o, &greedy[i])
				}
				stable = stable && taken(&greedy[i]) != kept
			}
			if !stable {
				continue
			}
			found++
			for i := range greedy {
				if greedy[i].Best != taken(&greedy[i]) {
					t.Fatalf("greedy: candidate %d is best: %v", i, greedy[i].Best)
				}
			}
		}
		if found != 1 {
			t.Fatalf("%d sets are what greedy may take", found)
		}
		if slices.ContainsFunc(assigned(None), func(c Candidate) bool { return !c.Best }) {
			t.Fatal("none: a candidate is left out")
		}
	})
}

// TestCompete: probabilities are those of enumerating what the match of a pair
// can be: itself, one of the rivals of either record, or nothing.
func TestCompete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawCandidates(t, parties)
		everybody.Compete(allStrata, candidates, rapid.SampledFrom([]Assignment{Mutual, Greedy}).Draw(t, "mode"))
		for i := range candidates {
			c := &candidates[i]
			factor := max(allStrata[c.Stratum].Factor, 1)
			outcomes := 1 + factor*c.Odds
			for _, o := range rivals(candidates, c) {
				outcomes += factor * o.Odds
			}
			want := factor * c.Odds / outcomes
			if math.IsInf(c.Odds, 1) {
				want = 1
			} else if math.IsInf(outcomes, 1) {
				want = 0
			}
			if !(math.Abs(c.Probability-want) < 1e-9) {
				t.Fatalf("candidate %d of %+v: probability %v, want %v", i, candidates, c.Probability, want)
			}
		}
		everybody.Compete(allStrata, candidates, None)
		for _, c := range candidates {
			if want := c.Odds / (1 + c.Odds); !math.IsInf(c.Odds, 1) && math.Abs(c.Probability-want) > 1e-12 {
				t.Fatal("without competition the probability is not that of the pair alone")
			}
		}
	})
}

// TestClusterIsTheSlowPartition: clusters are those of joining sets of records
// link by link, best first, where none has two records of a cohort.
func TestClusterIsTheSlowPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawCandidates(t, parties)
		onePerCohort := rapid.Bool().Draw(t, "one per cohort")
		linked := func(c *Candidate) bool { return c.Odds >= .5 }
		// Records are ordered from the last to the first.
		clusters := everybody.Cluster(allStrata, candidates, onePerCohort, linked, func(a, b int32) bool { return a > b })
		clusters.Count(everybody)

		var sets [][]int32
		for number := range int32(everybody.Total()) {
			sets = append(sets, []int32{number})
		}
		order := slices.Clone(candidates)
		slices.SortStableFunc(order, func(a, b Candidate) int { return cmp.Compare(b.Odds, a.Odds) })
		holding := func(number int32) int {
			return slices.IndexFunc(sets, func(set []int32) bool { return slices.Contains(set, number) })
		}
		cohortOf := func(number int32) int { return int(number / 4) }
		for i := range order {
			s := allStrata[order[i].Stratum]
			a, b := holding(int32(4*s.LeftCohort)+order[i].Left), holding(int32(4*s.RightCohort)+order[i].Right)
			clash := a == b
			for _, x := range sets[a] {
				clash = clash || onePerCohort && slices.ContainsFunc(sets[b], func(y int32) bool { return cohortOf(x) == cohortOf(y) })
			}
			if linked(&order[i]) && !clash {
				sets[a] = append(sets[a], sets[b]...)
				sets = slices.Delete(sets, b, b+1)
			}
		}
		for _, set := range sets {
			founder := slices.Max(set)
			cohorts := map[int]bool{}
			for _, number := range set {
				cohorts[cohortOf(number)] = true
			}
			for _, number := range set {
				if clusters.Founder[number] != founder {
					t.Fatalf("record %d is in the cluster of %d, want %d of %v", number, clusters.Founder[number], founder, set)
				}
			}
			if int(clusters.Size[founder]) != len(set) || int(clusters.Cohorts[founder]) != len(cohorts) {
				t.Fatalf("%d records of %d cohorts, want %v", clusters.Size[founder], clusters.Cohorts[founder], set)
			}
		}
	})
}

// TestBestThreshold tries every threshold that tells candidates apart.
func TestBestThreshold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		candidates := drawCandidates(t, 1)
		everybody.Compete(allStrata, candidates, Mutual)
		everybody.Assign(allStrata, candidates, Mutual)
		missed, least := rapid.Float64Range(0, 3).Draw(t, "missed"), rapid.Float64Range(0, 1).Draw(t, "least precision")
		e := NewEstimator(candidates, missed)
		f1Of := func(threshold float64) (f1 float64, links int, ok bool) {
			sum, expected := 0.0, missed
			for _, c := range candidates {
				expected += c.Probability
				if c.Linked(threshold) {
					sum += c.Probability
					links++
				}
			}
			return 2 * sum / (float64(links) + expected), links, links > 0 && sum/float64(links) >= least
		}
		best := 0.0
		for _, c := range candidates {
			if f1, _, ok := f1Of(c.Probability); ok {
				best = max(best, f1)
			}
		}
		got := e.BestThreshold(least)
		f1, links, ok := f1Of(got)
		if best == 0 && links > 0 && got < 1 || best > 0 && (!ok || f1 < best-1e-9) {
			t.Fatalf("threshold %v gives F1 %v with %d links, the best is %v", got, f1, links, best)
		}
		if x := e.At(got); x.Links != links {
			t.Fatalf("%d links are expected where there are %d", x.Links, links)
		}
	})
}
