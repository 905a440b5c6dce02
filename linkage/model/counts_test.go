package model

import (
	"fmt"
	"math"
	"math/rand/v2"

	"tarn/linkage/cohort"
	"tarn/linkage/compare"
)

// failer is *testing.T or *rapid.T.
type failer interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// scheme returns a scheme of n fields of two levels; what is shipped with it
// is far from what the tests hide.
func scheme(t failer, n int) *compare.Scheme {
	t.Helper()
	var c cohort.Comparison
	for i := range n {
		twin := cohort.TwinAgrees
		if i%2 == 0 {
			twin = cohort.TwinDiffers
		}
		c.Fields = append(c.Fields, cohort.FieldComparison{Name: fmt.Sprint("f", i), Column: fmt.Sprint("tag_f", i), Measure: cohort.MeasureEqual, Twin: twin,
			M: []float64{.2, .8}, U: []float64{.7, .3}})
	}
	return schemeOf(t, c)
}

func schemeOf(t failer, c cohort.Comparison) *compare.Scheme {
	t.Helper()
	s, err := compare.NewScheme(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// codes returns every pattern of agreement without the token, with its levels.
func codes(s *compare.Scheme) map[uint32][]int {
	n := len(s.Fields) - 1
	all := map[uint32][]int{}
	for bits := range 1 << n {
		levels := make([]int, n+1)
		for f := range n {
			levels[f] = bits >> f & 1
		}
		levels[n] = compare.Missing
		all[s.Code(levels)] = levels
	}
	return all
}

// likelihood multiplies the probabilities that fields agree.
func likelihood(levels []int, agree []float64) float64 {
	p := 1.0
	for f, q := range agree {
		p *= []float64{1 - q, q}[levels[f]]
	}
	return p
}

// hidden is what a test hides: the probabilities that fields agree, and the
// shares of matches among all pairs and of twins among the others.
type hidden struct {
	m, u              []float64
	prevalence, twins float64
}

func (h hidden) twin(s *compare.Scheme) []float64 {
	agree := make([]float64, len(h.u))
	for f := range agree {
		if agree[f] = h.u[f]; s.Fields[f].Twin == cohort.TwinAgrees {
			agree[f] = h.m[f]
		}
	}
	return agree
}

// counts returns the counts that are expected of so many pairs across sides and
// as many within.
func (h hidden) counts(s *compare.Scheme, pairs float64) Counts {
	c := Counts{Cross: []compare.Histogram{make(compare.Histogram, s.Patterns())}, Within: make(compare.Histogram, s.Patterns())}
	for code, levels := range codes(s) {
		different := (1-h.twins)*likelihood(levels, h.u) + h.twins*likelihood(levels, h.twin(s))
		c.Cross[0][code] = int64(math.Round(pairs * (h.prevalence*likelihood(levels, h.m) + (1-h.prevalence)*different)))
		c.Within[code] = int64(math.Round(pairs * different))
	}
	return c
}

// drawn returns the counts of so many pairs drawn at random.
func (h hidden) drawn(s *compare.Scheme, pairs int, seed uint64) Counts {
	random := rand.New(rand.NewPCG(seed, 1))
	c := Counts{Cross: []compare.Histogram{make(compare.Histogram, s.Patterns())}, Within: make(compare.Histogram, s.Patterns())}
	draw := func(into compare.Histogram, agree []float64) {
		levels := make([]int, len(agree)+1)
		for f, p := range agree {
			if random.Float64() < p {
				levels[f] = 1
			}
		}
		levels[len(agree)] = compare.Missing
		into[s.Code(levels)]++
	}
	other := func(into compare.Histogram) {
		if random.Float64() < h.twins {
			draw(into, h.twin(s))
		} else {
			draw(into, h.u)
		}
	}
	for range pairs {
		if random.Float64() < h.prevalence {
			draw(c.Cross[0], h.m)
		} else {
			other(c.Cross[0])
		}
		other(c.Within)
	}
	return c
}

func mustFit(t failer, s *compare.Scheme, c Counts) *Model {
	t.Helper()
	m, err := Fit(s, c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// distance is how far the fit is from what is hidden, at most.
func (h hidden) distance(m *Model) (widest float64) {
	for f := range h.m {
		widest = max(widest, math.Abs(m.M[f][1]-h.m[f]), math.Abs(m.U[f][1]-h.u[f]))
	}
	return max(widest, math.Abs(m.Strata[0].Matches-h.prevalence))
}

func (h hidden) check(t failer, m *Model, within float64) {
	t.Helper()
	if !m.Fitted || !m.Converged {
		t.Fatal("the model was not fitted")
	}
	if d := h.distance(m); d > within {
		t.Fatalf("m %v, u %v, prevalence %v: %v from %+v", m.M, m.U, m.Strata[0].Matches, d, h)
	}
}
