package resolve

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Expectation is what the candidates' probabilities say of linking at a
// threshold.
type Expectation struct {
	Links     int
	Precision float64
	Recall    float64
	// Standard errors of the two shares: of which pairs happen to be matches, of
	// the model's parameters, of what blocking missed, and of what a model with
	// independent fields leaves out.
	PrecisionError, RecallError float64
}

// Uncertainty is what else than chance makes an estimate uncertain.
type Uncertainty struct {
	// Directions is the number of independent directions in which the model is
	// uncertain, and Sensitivity the change of a candidate's log-odds when the
	// model moves by a standard deviation in each; nil: none is known.
	Directions  int
	Sensitivity func(*Candidate) []float64
	// MissedError is the standard error of the matches that nothing brought
	// together.
	MissedError float64
}

// What a model misfits, measured on simulated cohorts (docs/model.md): errors
// come together in the records of some people, and a fit takes some matches
// that agree on little for strangers.
const (
	misfitRecall    = .003 // standard error, of recall
	misfitPrecision = .3   // standard error, of the share of wrong links
)

// Estimator estimates precision and recall from the probabilities of the
// candidates, without truth. It is as good as the model is calibrated.
type Estimator struct {
	probabilities []float64 // of candidates that may become links, falling
	sum, variance []float64 // running over probabilities
	expected      float64   // matches among all candidates and those that blocking missed
	expectedVar   float64
	missedError   float64
	// moved holds, after every step links, by how much their expected matches
	// change in each direction of the model; movedAll is that of all candidates.
	moved    [][]float64
	step     int
	movedAll []float64
}

// NewEstimator makes an estimator. missed is the number of matches that are
// expected to be in no block and found by no token, as far as that is known.
func NewEstimator(candidates []Candidate, missed float64) *Estimator {
	return NewEstimatorWith(candidates, missed, Uncertainty{})
}

// NewEstimatorWith makes an estimator whose intervals say also how uncertain
// the model and the number of missed matches are.
func NewEstimatorWith(candidates []Candidate, missed float64, u Uncertainty) *Estimator {
	e := &Estimator{expected: missed, missedError: u.MissedError}
	var best []ranked
	for i := range candidates {
		c := &candidates[i]
		e.expected += c.Probability
		e.expectedVar += c.Probability * (1 - c.Probability)
		if c.Best {
			best = append(best, ranked{c.Probability, int32(i)})
		}
	}
	slices.SortFunc(best, func(a, b ranked) int {
		if a.probability != b.probability {
			return cmp.Compare(b.probability, a.probability)
		}
		return cmp.Compare(a.at, b.at)
	})
	e.probabilities, e.sum, e.variance = make([]float64, len(best)), make([]float64, len(best)), make([]float64, len(best))
	sum, variance := 0.0, 0.0
	for i, r := range best {
		p := r.probability
		sum, variance = sum+p, variance+p*(1-p)
		e.probabilities[i], e.sum[i], e.variance[i] = p, sum, variance
	}
	if u.Sensitivity != nil && u.Directions > 0 {
		e.move(candidates, best, u)
	}
	return e
}

// ranked is a candidate that may become a link.
type ranked struct {
	probability float64
	at          int32 // among the candidates
}

// snapshots bounds for how many thresholds it is kept what the model's
// uncertainty does to the links.
const snapshots = 512

func (e *Estimator) move(candidates []Candidate, best []ranked, u Uncertainty) {
	e.step = max(1, len(best)/snapshots)
	running := make([]float64, u.Directions)
	add := func(sums []float64, c *Candidate) {
		// Candidates that no move of the model makes doubtful are most of all.
		if weight := c.Probability * (1 - c.Probability); weight > 1e-6 {
			for k, change := range u.Sensitivity(c) {
				sums[k] += weight * change
			}
		}
	}
	for n, r := range best {
		add(running, &candidates[r.at])
		if (n+1)%e.step == 0 || n+1 == len(best) {
			e.moved = append(e.moved, slices.Clone(running))
		}
	}
	e.movedAll = slices.Clone(running)
	for i := range candidates {
		if !candidates[i].Best {
			add(e.movedAll, &candidates[i])
		}
	}
}

// ExpectedMatches returns the expected number of matches in the data.
func (e *Estimator) ExpectedMatches() float64 { return e.expected }

// At returns what linking at this threshold is expected to give.
func (e *Estimator) At(threshold float64) Expectation {
	n, _ := slices.BinarySearchFunc(e.probabilities, threshold, func(p, t float64) int {
		if p >= t {
			return -1
		}
		return 1
	})
	return e.first(n)
}

// first returns the expectation for the n most probable links.
func (e *Estimator) first(n int) Expectation {
	if n == 0 {
		return Expectation{Precision: 1}
	}
	links := float64(n)
	x := Expectation{Links: n, Precision: e.sum[n-1] / links}
	if e.expected > 0 {
		x.Recall = math.Min(1, e.sum[n-1]/e.expected)
	}
	var right, recall float64 // variances of the right links, and of recall times what is expected
	right = e.variance[n-1]
	rest := math.Max(0, e.expectedVar-e.variance[n-1])
	recall = square(1-x.Recall)*right + square(x.Recall)*(rest+square(e.missedError)) + square(misfitRecall*e.expected)
	if len(e.moved) > 0 {
		for k, change := range e.moved[min((n-1)/e.step, len(e.moved)-1)] {
			right += square(change)
			recall += square(change - x.Recall*e.movedAll[k])
		}
	}
	x.PrecisionError = math.Sqrt(right+square(misfitPrecision*(links-e.sum[n-1]))) / links
	if e.expected > 0 {
		x.RecallError = math.Sqrt(recall) / e.expected
	}
	return x
}

func square(x float64) float64 { return x * x }

// Interval returns the 95% interval of a share with this standard error.
func Interval(value, standardError float64) (lo, hi float64) {
	z := distuv.UnitNormal.Quantile(.975) * standardError
	return math.Max(0, value-z), math.Min(1, value+z)
}

// BestThreshold returns the threshold on probability that maximises expected
// F1 among those whose expected precision is at least minimumPrecision. Where
// none reaches it, nothing is linked: the threshold is 1.
func (e *Estimator) BestThreshold(minimumPrecision float64) float64 {
	best, threshold := -1.0, 1.0
	for n := 1; n <= len(e.probabilities); n++ {
		if n < len(e.probabilities) && e.probabilities[n] == e.probabilities[n-1] {
			continue // a threshold cannot divide equal probabilities
		}
		precision := e.sum[n-1] / float64(n)
		f1 := 2 * e.sum[n-1] / (float64(n) + e.expected)
		if precision >= minimumPrecision && f1 > best {
			best, threshold = f1, e.probabilities[n-1]
		}
	}
	if best < 0 {
		return 1
	}
	// The least probable link stands for all thresholds down to the next
	// candidate; a round number between the two reads better and links the same.
	return e.rounded(threshold)
}

func (e *Estimator) rounded(threshold float64) float64 {
	next := 0.0
	for _, p := range e.probabilities {
		if p < threshold {
			next = p
			break
		}
	}
	for _, digits := range []float64{10, 100, 1e3, 1e4, 1e5, 1e6} {
		// Nothing is surer than 1, which is for thresholds that link nothing.
		if t := math.Min(math.Floor(threshold*digits), digits-1) / digits; t > next {
			return t
		}
	}
	return threshold
}

// reviewFloor is the probability from which a pair that is best for both of
// its records and not linked is worth a look.
const reviewFloor = .1

// Linked reports whether the pair is linked at a threshold.
func (c *Candidate) Linked(threshold float64) bool { return c.Best && c.Probability >= threshold }

// Review reports whether the pair is worth a person's look where it is not
// linked.
func (c *Candidate) Review(threshold float64) bool {
	return c.Best && !c.Linked(threshold) && c.Probability >= reviewFloor
}
