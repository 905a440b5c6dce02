package model

import (
	"math"
	"slices"
	"strings"
	"testing"

	"tarn/linkage/cohort"
	"tarn/linkage/compare"
)

var ordinary = hidden{m: []float64{.9, .95, .92, .97}, u: []float64{.05, .02, .1, .2}, prevalence: .3, twins: .01}

func refusal(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), ";") {
		t.Fatalf("error %v, want one that says %q and what to do", err, part)
	}
}

// TestRefusesBadFits: each refusal, beside counts that differ in one respect
// and are fitted.
func TestRefusesBadFits(t *testing.T) {
	s := scheme(t, 4)
	mustFit(t, s, ordinary.counts(s, 1e5))

	t.Run("more matches than there can be", func(t *testing.T) {
		c := ordinary.counts(s, 1e5)
		c.MostMatches = 35_000
		mustFit(t, s, c)
		c.MostMatches = 15_000
		_, err := Fit(s, c)
		refusal(t, err, "15000 at most")
	})
	t.Run("a field the wrong way round", func(t *testing.T) {
		h := ordinary
		h.m = slices.Clone(h.m)
		h.m[3] = .05
		_, err := FitWith(s, h.counts(s, 1e5), Priors{Matches: 1, Strangers: 1, Relatives: 1, Token: 1})
		refusal(t, err, "f3 speak against a match")
	})
	t.Run("too few fields", func(t *testing.T) {
		few := scheme(t, 2)
		h := hidden{m: []float64{.9, .95}, u: []float64{.05, .02}, prevalence: .3}
		c := h.counts(few, 1e5)
		mustFit(t, few, c) // u is known
		c.Within = nil
		_, err := Fit(few, c)
		refusal(t, err, "2 fields are present")
	})
	t.Run("one kind of pair only", func(t *testing.T) {
		h := ordinary
		h.m, h.prevalence = []float64{1, 1, 1, 1}, 1
		c := h.counts(s, 1e6)
		mustFit(t, s, c) // u is known
		c.Within = nil
		_, err := FitWith(s, c, Priors{Matches: 500, Strangers: 2000, Relatives: 10, Token: 1})
		refusal(t, err, "all fields together speak against a match")
	})
}

// TestRefusesWhatCannotBeTold: classes that hardly differ, and a number of
// matches that could be another.
func TestRefusesWhatCannotBeTold(t *testing.T) {
	s := scheme(t, 4)
	m := mustFit(t, s, ordinary.counts(s, 1e5))
	if err := m.check(0); err != nil {
		t.Fatal(err)
	}
	alike := *m
	alike.M = nil
	for _, u := range m.U {
		alike.M = append(alike.M, []float64{u[0] - .001, u[1] + .001})
	}
	refusal(t, alike.check(0), "hardly told from other pairs")
	alike.M = slices.Clone(m.M)
	alike.M[0], alike.M[2] = m.U[0], m.U[2] // on which twins differ
	refusal(t, alike.check(0), "hardly told from twins")
	alike.M, alike.Joint, alike.Strata = m.M, true, []Shares{{.0004, 0, .0001, .9995}}
	refusal(t, alike.check(0), "nearly all pairs are taken for matches")
	alike.Joint, alike.MatchesError = false, .6*m.ExpectedMatches
	refusal(t, alike.check(0), "not determined")
}

// TestRefusesEndsThatDisagree: of two ends as probable as each other none is
// presented; of one end reached twice it is. An end that is not reached is none.
func TestRefusesEndsThatDisagree(t *testing.T) {
	s := scheme(t, 4)
	h := hidden{m: []float64{.9, .9, .9, .9}, u: []float64{.1, .1, .1, .1}, prevalence: .5}
	m := mustFit(t, s, h.counts(s, 1e5))
	x := m.cross(patternsOf(s, h.counts(s, 1e5).Cross), true, true)
	x.sharePrior.Twins, x.others = 0, Shares{} // so that nothing tells the two classes apart but their names
	for f := range x.prior {
		x.prior[f] = make([]float64, len(x.tables[f]))
		if slices.Contains([]int{4, 9}, f) {
			x.prior[f] = nil // the token
		}
	}
	x.shares = []Shares{{.5, 0, 0, .5}}
	for f, field := range s.Fields {
		x.table[twins][f] = x.table[matches][f]
		if field.Name != compare.TokenField {
			x.tables[f], x.tables[5+f] = []float64{.8, .2}, []float64{.2, .8}
		}
	}
	x = x.bind()
	swapped := x.clone()
	for f := range 4 {
		swapped.tables[f], swapped.tables[5+f] = swapped.tables[5+f], swapped.tables[f]
	}
	if _, err := m.bestOf([]mixture{x, x.clone()}, "test"); err != nil {
		t.Fatal(err)
	}
	_, err := m.bestOf([]mixture{x, swapped}, "test")
	refusal(t, err, "two different models")
	x.limit = 1
	_, err = m.bestOf([]mixture{x}, "test")
	refusal(t, err, "did not converge")
}

// TestFewMatchesKeepWhatIsShipped: under 100 expected matches only shares are
// fitted.
func TestFewMatchesKeepWhatIsShipped(t *testing.T) {
	s := scheme(t, 4)
	s.Fields[0].M, s.Fields[1].M, s.Fields[2].M, s.Fields[3].M = []float64{.1, .9}, []float64{.05, .95}, []float64{.08, .92}, []float64{.03, .97}
	h := ordinary
	h.prevalence, h.twins = .0004, 0
	m := mustFit(t, s, h.counts(s, 1e5))
	if m.Fitted || !slices.Equal(m.M[0], shipped(s.Fields[0].M)) {
		t.Fatalf("m was fitted to %v matches", m.ExpectedMatches)
	}
	if m.ExpectedMatches < 20 || m.ExpectedMatches > 60 {
		t.Fatalf("%v matches are expected of 40", m.ExpectedMatches)
	}
	h.prevalence = .004
	if m = mustFit(t, s, h.counts(s, 1e5)); !m.Fitted {
		t.Fatal("m was not fitted to 400 matches")
	}
}

// TestDependence: where a field of strangers goes with another, as sex goes with
// given name, the fit finds it, and the number of matches; and where it does
// not, it finds none.
func TestDependence(t *testing.T) {
	s := scheme(t, 4)
	h := ordinary
	h.twins, h.prevalence = 0, .02
	h.u = []float64{.02, .02, .5, .05}
	c := h.counts(s, 1e6)
	if m := mustFit(t, s, c); slices.Max(m.Dependence.Parent) >= 0 {
		t.Fatalf("independent fields depend on one another: %v", m.Dependence.Parent)
	}
	for code, levels := range codes(s) { // among strangers f2 agrees wherever f0 does
		if levels[0] == 0 {
			continue
		}
		strangers := likelihood(levels, []float64{h.u[0], h.u[1], 1, h.u[3]})
		c.Within[code] = int64(1e6 * strangers)
		c.Cross[0][code] = int64(1e6 * (h.prevalence*likelihood(levels, h.m) + (1-h.prevalence)*strangers))
	}
	m := mustFit(t, s, c)
	if m.Dependence.Parent[2] != 0 || m.Dependence.Given[2][1][1] < .97 {
		t.Fatalf("f2 does not depend on f0: %+v", m.Dependence)
	}
	if math.Abs(m.ExpectedMatches-20_000) > 400 {
		t.Fatalf("%.0f matches are expected of 20000", m.ExpectedMatches)
	}
	both := m.FieldWeights(s.Code([]int{1, 0, 1, 0, compare.Missing}))
	if alone := m.FieldWeight(2, 1); math.Abs(both[2]) > .2 || alone < .5 {
		t.Fatalf("f2 adds %.2f bits where f0 agrees, %.2f alone", both[2], alone)
	}
}

// TestCalibration: of drawn pairs, as large a share of those at a score are
// matches as the score says, and the intervals hold the number of matches.
func TestCalibration(t *testing.T) {
	s := scheme(t, 4)
	h := ordinary
	h.prevalence, h.twins = .05, 0
	inside := 0
	for seed := range uint64(20) {
		m, err := FitWith(s, h.drawn(s, 20_000, seed), Priors{Matches: 5, Strangers: 5, Relatives: 1, Token: 1})
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(m.ExpectedMatches-1000) < 2*math.Hypot(m.MatchesError, math.Sqrt(1000*.95)) {
			inside++
		}
		for code, levels := range codes(s) {
			want := h.prevalence * likelihood(levels, h.m)
			want /= want + (1-h.prevalence)*likelihood(levels, h.u)
			sensitivity := 0.0
			for _, change := range m.Sensitivity(0, code) {
				sensitivity += change * change
			}
			logit := func(p float64) float64 { return math.Log(p / (1 - p)) }
			if off := logit(m.Score(0, code).Probability) - logit(want); math.Abs(off) > 5*math.Sqrt(sensitivity)+.5 {
				t.Fatalf("seed %d, levels %v: probability %v, true %v, standard error of log-odds %v", seed, levels, m.Score(0, code).Probability, want, math.Sqrt(sensitivity))
			}
		}
	}
	if inside < 16 {
		t.Fatalf("%d of 20 intervals hold the number of matches", inside)
	}
}

// TestHouseholds: where dates of birth are compared, people of one household are
// not taken for twins or matches.
func TestHouseholds(t *testing.T) {
	field := func(name, twin string, m, u float64) cohort.FieldComparison {
		return cohort.FieldComparison{Name: name, Column: "tag_" + name, Measure: cohort.MeasureEqual, Twin: twin, M: []float64{1 - m, m}, U: []float64{1 - u, u}}
	}
	s := schemeOf(t, cohort.Comparison{Fields: []cohort.FieldComparison{field("given_name", "u", .95, .003), field("family_name", "m", .95, .002),
		field("postcode", "m", .7, .0005), field("date_of_birth", "m", .99, .0001)}})
	c := Counts{Cross: []compare.Histogram{make(compare.Histogram, s.Patterns())}, Within: make(compare.Histogram, s.Patterns())}
	m, u := []float64{.95, .95, .7, .99}, []float64{.003, .002, .0005, .0001}
	household, near := []float64{.003, .95, .7, .0001}, []float64{.003, .97, .97, .0001}
	for code, levels := range codes(s) {
		c.Cross[0][code] = int64(math.Round(1e7*likelihood(levels, u) + 2000*likelihood(levels, m) + 3000*likelihood(levels, household)))
		c.Within[code] = int64(math.Round(1e7*likelihood(levels, u) + 3000*likelihood(levels, near)))
	}
	fit := mustFit(t, s, c)
	if math.Abs(fit.ExpectedMatches-2000) > 20 || math.Abs(1e7*fit.Strata[0].Households-3000) > 600 || 1e7*fit.Strata[0].Twins > 60 {
		t.Fatalf("%.0f matches of 2000, shares %+v", fit.ExpectedMatches, fit.Strata[0])
	}
}

// TestDuplicates: u is as good where sides hold duplicates, and these are
// counted.
func TestDuplicates(t *testing.T) {
	s := scheme(t, 4)
	h := ordinary
	h.twins = 0
	c := h.counts(s, 1e6)
	const duplicates = 2e5
	agree := []float64{.99, .98, .99, .99}
	for code, levels := range codes(s) {
		c.Within[code] += int64(math.Round(duplicates * likelihood(levels, agree)))
	}
	c.Duplicates = true
	m := mustFit(t, s, c)
	h.check(t, m, .01)
	if math.Abs(m.ExpectedDuplicates-duplicates) > .02*duplicates {
		t.Fatalf("%.0f duplicates are expected of %.0f", m.ExpectedDuplicates, duplicates)
	}
}
