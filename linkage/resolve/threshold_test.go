package resolve

import (
	"math"
	"math/rand/v2"
	"testing"
)

// drawn returns candidates with probabilities as a fit gives them, and whether
// each is a match, drawn at these probabilities moved by shift in log-odds.
func drawn(n int, shift float64, seed uint64) (candidates []Candidate, match []bool) {
	random := rand.New(rand.NewPCG(seed, 2))
	for i := range n {
		logOdds := 14*random.Float64() - 5
		p := 1 / (1 + math.Exp(-logOdds))
		candidates = append(candidates, Candidate{Left: int32(i), Right: int32(i), Probability: p, Best: true})
		match = append(match, random.Float64() < 1/(1+math.Exp(-logOdds-shift)))
	}
	return candidates, match
}

func truth(candidates []Candidate, match []bool, threshold float64) (precision, recall float64) {
	links, right, all := 0.0, 0.0, 0.0
	for i, c := range candidates {
		if match[i] {
			all++
		}
		if c.Probability >= threshold {
			links++
			if match[i] {
				right++
			}
		}
	}
	return right / links, right / all
}

// TestIntervalsHold: 95% intervals hold the truth, where chance is all there is
// and where the model's log-odds are off by what it says of itself; and do not
// where the model keeps that to itself.
func TestIntervalsHold(t *testing.T) {
	const runs, pairs, deviation = 200, 3000, .8
	held := func(uncertain, told bool) (precision, recall int) {
		random := rand.New(rand.NewPCG(3, 4))
		for seed := range uint64(runs) {
			shift := 0.0
			if uncertain {
				shift = deviation * random.NormFloat64()
			}
			candidates, match := drawn(pairs, shift, seed)
			u := Uncertainty{}
			if told {
				u = Uncertainty{Directions: 1, Sensitivity: func(*Candidate) []float64 { return []float64{deviation} }}
			}
			x := NewEstimatorWith(candidates, 0, u).At(.5)
			p, r := truth(candidates, match, .5)
			if lo, hi := Interval(x.Precision, x.PrecisionError); lo <= p && p <= hi {
				precision++
			}
			if lo, hi := Interval(x.Recall, x.RecallError); lo <= r && r <= hi {
				recall++
			}
		}
		return precision, recall
	}
	const most = runs * 9 / 10
	if p, r := held(false, false); p < most || r < most {
		t.Errorf("chance alone: %d and %d of %d intervals hold", p, r, runs)
	}
	if p, r := held(true, true); p < most || r < most {
		t.Errorf("an uncertain model: %d and %d of %d intervals hold", p, r, runs)
	}
	if _, r := held(true, false); r > most {
		t.Errorf("intervals that leave the model's uncertainty out hold all the same: %d of %d", r, runs)
	}
}

// TestMissedWidens: matches that nothing brought together lower recall, and how
// uncertain they are widens its interval.
func TestMissedWidens(t *testing.T) {
	candidates, _ := drawn(2000, 0, 1)
	none := NewEstimator(candidates, 0).At(.5)
	missed, standardError := MissedByDate(NewEstimator(candidates, 0).ExpectedMatches())
	some := NewEstimatorWith(candidates, missed, Uncertainty{MissedError: standardError}).At(.5)
	if math.Abs(some.Recall/none.Recall-.99) > 1e-9 || some.RecallError < 1.2*none.RecallError || some.Precision != none.Precision {
		t.Fatalf("%+v without missed matches, %+v with", none, some)
	}
}

func TestOneToOneFactor(t *testing.T) {
	for _, c := range []struct{ matches, left, right, want float64 }{{50, 100, 100, 4}, {0, 100, 100, 1}, {100, 100, 1000, 50 / .9}, {10, 0, 100, 1 / .9}} {
		if got := OneToOneFactor(c.matches, c.left, c.right); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v: %v", c, got)
		}
	}
}

// TestOneToOneFactorCalibrates draws people of two sides into blocks, with
// half on both sides, and a score for each pair of a block. With the factor
// competing candidates have the probabilities that they should; without it, they
// are far too low.
func TestOneToOneFactorCalibrates(t *testing.T) {
	const people, blocks, both = 60_000, 45_000, 30_000 // of each side
	random := rand.New(rand.NewPCG(7, 8))
	scoreOf := func(match bool) (likelihoodRatio float64) {
		// Probabilities of three scores among matches and among others.
		scores := [2][3]float64{{.2, .3, .5}, {.9, .09, .01}}
		p := scores[1]
		if match {
			p = scores[0]
		}
		at, draw := 0, random.Float64()
		for draw > p[at] && at < 2 {
			draw -= p[at]
			at++
		}
		return scores[0][at] / scores[1][at]
	}
	left, right := make([][]int, blocks), make([][]int, blocks)
	for person := range people {
		b := random.IntN(blocks)
		left[b] = append(left[b], person)
		if person >= both {
			b = random.IntN(blocks) // another person of the same number
		}
		right[b] = append(right[b], person)
	}
	type pair struct {
		left, right int
		ratio       float64
		match       bool
	}
	var pairs []pair
	for b := range blocks {
		for _, l := range left[b] {
			for _, r := range right[b] {
				match := l == r && l < both
				pairs = append(pairs, pair{l, r, scoreOf(match), match})
			}
		}
	}
	// Doubtful pairs, as expected and as they are.
	doubtful := func(factor float64) (expected, true float64) {
		odds := factor * both / float64(len(pairs)-both)
		sumL, sumR := make([]float64, people), make([]float64, people)
		for _, p := range pairs {
			sumL[p.left] += odds * p.ratio
			sumR[p.right] += odds * p.ratio
		}
		for _, p := range pairs {
			probability := odds * p.ratio / (1 + sumL[p.left] + sumR[p.right] - odds*p.ratio)
			if probability > .1 && probability < .8 {
				expected += probability
				if p.match {
					true++
				}
			}
		}
		return expected, true
	}
	expected, found := doubtful(OneToOneFactor(both, people, people))
	if math.Abs(expected/found-1) > .12 {
		t.Errorf("%.0f matches are expected among doubtful pairs, %.0f there are", expected, found)
	}
	if expected, found = doubtful(1); expected/found > .8 {
		t.Errorf("without the factor %.0f are expected, %.0f there are: it is not needed", expected, found)
	}
}
