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
	// Standard errors of the two shares.
	PrecisionError, RecallError float64
}

// Estimator estimates precision and recall from the probabilities of the
// candidates, without truth. It is as good as the model is calibrated.
type Estimator struct {
	probabilities []float64 // of candidates that may become links, falling
	sum, variance []float64 // running over probabilities
	expected      float64   // matches among all candidates and those that blocking missed
	expectedVar   float64
}

// NewEstimator makes an estimator. missed is the number of matches that are
// expected to be in no block and found by no token, as far as that is known.
func NewEstimator(candidates []Candidate, missed float64) *Estimator {
	e := &Estimator{expected: missed}
	for _, c := range candidates {
		e.expected += c.Probability
		e.expectedVar += c.Probability * (1 - c.Probability)
		if c.Best {
			e.probabilities = append(e.probabilities, c.Probability)
		}
	}
	slices.SortFunc(e.probabilities, func(a, b float64) int { return cmp.Compare(b, a) })
	sum, variance := 0.0, 0.0
	for _, p := range e.probabilities {
		sum, variance = sum+p, variance+p*(1-p)
		e.sum, e.variance = append(e.sum, sum), append(e.variance, variance)
	}
	return e
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
	x := Expectation{Links: n}
	x.Precision = e.sum[n-1] / float64(n)
	x.PrecisionError = math.Sqrt(e.variance[n-1]) / float64(n)
	if e.expected > 0 {
		x.Recall = math.Min(1, e.sum[n-1]/e.expected)
		x.RecallError = math.Sqrt(e.expectedVar) / e.expected
	}
	return x
}

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
		x := e.first(n)
		f1 := 2 * e.sum[n-1] / (float64(n) + e.expected)
		if x.Precision >= minimumPrecision && f1 > best {
			best, threshold = f1, e.probabilities[n-1]
		}
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
		if t := math.Floor(threshold*digits) / digits; t > next {
			return t
		}
	}
	return threshold
}

// reviewFloor is the probability from which a pair that is best for both of
// its records and not linked is worth a look.
const reviewFloor = .1

// Decide marks the candidates that are linked at the threshold.
func Decide(candidates []Candidate, threshold float64) {
	for i := range candidates {
		c := &candidates[i]
		c.Linked = c.Best && c.Probability >= threshold
	}
}

// Review reports whether the pair is worth a person's look.
func (c *Candidate) Review() bool { return c.Best && !c.Linked && c.Probability >= reviewFloor }
