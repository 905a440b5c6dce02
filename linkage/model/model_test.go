package model

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/cohort"
	"tarn/linkage/compare"
)

// TestFitRecoversWhatIsHidden makes the counts that m, u and a prevalence give
// and wants these back.
func TestFitRecoversWhatIsHidden(t *testing.T) {
	s := scheme(t, 5)
	rapid.Check(t, func(t *rapid.T) {
		h := hidden{m: make([]float64, 5), u: make([]float64, 5), prevalence: rapid.Float64Range(.05, .7).Draw(t, "prevalence"),
			twins: rapid.SampledFrom([]float64{0, .02}).Draw(t, "twins")}
		for f := range h.m {
			h.m[f], h.u[f] = rapid.Float64Range(.85, .98).Draw(t, "m"), rapid.Float64Range(.02, .15).Draw(t, "u")
		}
		h.check(t, mustFit(t, s, h.counts(s, 4e6)), .01)
	})
}

// TestFitConverges fits what did not converge by plain steps, and a side that
// is all there is.
func TestFitConverges(t *testing.T) {
	s := scheme(t, 5)
	h := hidden{m: slices.Repeat([]float64{.98}, 5), u: slices.Repeat([]float64{.25}, 5), prevalence: .5}
	h.check(t, mustFit(t, s, h.counts(s, 4e6)), .01)
	h.prevalence = .2
	c := h.counts(s, 4e6)
	c.Within = nil
	m := mustFit(t, s, c)
	if h.check(t, m, .01); !m.Joint {
		t.Fatal("u was not fitted together with m")
	}
}

// splinks are the parameters of the vectors that Splink tests its own fit with.
var splinks = hidden{m: []float64{.7, .9, .95}, u: []float64{.1, .025, .2}, prevalence: .5}

// TestKnownParameters fits those vectors, and the table that the parameters
// give. The shipped probabilities are far off and must not weigh.
func TestKnownParameters(t *testing.T) {
	s := scheme(t, 3)
	splinks.check(t, mustFit(t, s, splinks.counts(s, 4e6)), .01)
	folder := os.Getenv("TARN_TESTDATA")
	if folder == "" {
		t.Skip("TARN_TESTDATA is not set: Splink's vectors are not at hand")
	}
	f, err := os.Open(filepath.Join(folder, "vectors", "splink", "known_params_comparison_vectors.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // opened for reading
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	c := splinks.counts(s, 4e6)
	clear(c.Cross[0])
	for _, row := range rows[1:] {
		levels := []int{0, 0, 0, compare.Missing}
		for f := range 3 {
			levels[f] = int(row[f][0] - '0')
		}
		c.Cross[0][s.Code(levels)]++
	}
	light := Priors{Matches: 1, Strangers: 1, Relatives: 1, Token: 1}
	for name, within := range map[string]compare.Histogram{"u from within": c.Within, "u from the same pairs": nil} {
		m, err := FitWith(s, Counts{Cross: c.Cross, Within: within}, light)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		splinks.check(t, m, .01)
	}
}

// TestMoreDataIsCloser: the fit of many drawn pairs is closer than that of few.
func TestMoreDataIsCloser(t *testing.T) {
	s := scheme(t, 4)
	h := hidden{m: []float64{.9, .95, .92, .97}, u: []float64{.05, .02, .1, .2}, prevalence: .3, twins: .01}
	mean := func(pairs int) (sum float64) {
		for seed := range uint64(8) {
			sum += h.distance(mustFit(t, s, h.drawn(s, pairs, seed))) / 8
		}
		return sum
	}
	few, some, many := mean(2000), mean(20_000), mean(200_000)
	if !(few > some && some > many && many < .01) {
		t.Fatalf("mean distances %v, %v, %v", few, some, many)
	}
}

// TestOrderDoesNotMatter: the same fit whichever field or pair of cohorts comes
// first, and twice the same to the bit.
func TestOrderDoesNotMatter(t *testing.T) {
	s, other := scheme(t, 4), scheme(t, 4)
	h := hidden{m: []float64{.9, .95, .92, .97}, u: []float64{.05, .02, .1, .2}, prevalence: .3, twins: .01}
	g := h
	g.prevalence = .1
	one, two := h.drawn(s, 50_000, 1), g.drawn(s, 50_000, 2)
	a := Counts{Cross: []compare.Histogram{one.Cross[0], two.Cross[0]}, Within: one.Within}
	b := Counts{Cross: []compare.Histogram{two.Cross[0], one.Cross[0]}, Within: one.Within}
	first, again, swapped := mustFit(t, s, a), mustFit(t, s, a), mustFit(t, s, b)
	if !reflect.DeepEqual(first.M, again.M) || !reflect.DeepEqual(first.Strata, again.Strata) {
		t.Fatal("two fits of the same counts differ")
	}
	near := func(p, q []float64) bool {
		return slices.EqualFunc(p, q, func(x, y float64) bool { return math.Abs(x-y) < 1e-6 })
	}
	for f := range first.M {
		if !near(first.M[f], swapped.M[f]) {
			t.Fatalf("field %d: m %v, %v where cohorts are swapped", f, first.M[f], swapped.M[f])
		}
	}
	if math.Abs(first.Strata[0].Matches-swapped.Strata[1].Matches) > 1e-6 {
		t.Fatal("shares depend on the order of cohorts")
	}
	// Fields 0 and 2 change places, as do 1 and 3.
	moved := func(h compare.Histogram) compare.Histogram {
		to := make(compare.Histogram, len(h))
		for code, levels := range codes(s) {
			to[other.Code([]int{levels[2], levels[3], levels[0], levels[1], levels[4]})] = h[code]
		}
		return to
	}
	m := mustFit(t, other, Counts{Cross: []compare.Histogram{moved(one.Cross[0]), moved(two.Cross[0])}, Within: moved(one.Within)})
	for f := range 4 {
		if !near(first.M[f], m.M[(f+2)%4]) || !near(first.U[f], m.U[(f+2)%4]) {
			t.Fatalf("field %d: m %v, %v in another place", f, first.M[f], m.M[(f+2)%4])
		}
	}
}

// TestExpectIsTheSlowSum: what expectation adds up pattern by pattern, in
// logarithms, is what adding up pair by pair, in probabilities, gives.
func TestExpectIsTheSlowSum(t *testing.T) {
	s := scheme(t, 3)
	rapid.Check(t, func(t *rapid.T) {
		strata := []Shares{{.5, 0, .2, .3}, {.9, 0, .05, .05}}
		model := &Model{Scheme: s, Strata: strata, Joint: true, Dependence: independent(len(s.Fields))}
		share := func(label string) float64 { return rapid.Float64Range(.01, .99).Draw(t, label) }
		pair := func(label string) []float64 { p := share(label); return []float64{1 - p, p} }
		for range s.Fields {
			model.M, model.U = append(model.M, pair("m")), append(model.U, pair("u"))
		}
		if rapid.Bool().Draw(t, "dependent") {
			model.Dependence.Parent[2], model.Dependence.Given[2] = 0, [][]float64{pair("u given 0"), pair("u given 1")}
		}
		probability := func(c class, levels []int) float64 {
			p := 1.0
			for f, level := range levels {
				table := model.U[f]
				if c == matches || c == twins && s.Fields[f].Twin == cohort.TwinAgrees {
					table = model.M[f]
				} else if given := model.Dependence.Given[f]; given != nil && levels[0] >= 0 {
					table = given[levels[0]]
				}
				if level != compare.Missing {
					p *= table[level]
				}
			}
			return p
		}
		histograms := []compare.Histogram{make(compare.Histogram, s.Patterns()), make(compare.Histogram, s.Patterns())}
		var atMatch [4][2]float64
		var totals [2][classes]float64
		for range rapid.IntRange(0, 30).Draw(t, "pairs") {
			stratum, levels := rapid.IntRange(0, 1).Draw(t, "stratum"), make([]int, 4)
			for f := range levels {
				levels[f] = rapid.IntRange(compare.Missing, 1).Draw(t, "level")
			}
			histograms[stratum][s.Code(levels)]++
			p, sum := strata[stratum].list(), 0.0
			for c := range p {
				p[c] *= probability(class(c), levels)
				sum += p[c]
			}
			for c := range p {
				totals[stratum][c] += p[c] / sum
			}
			for f, level := range levels {
				if level != compare.Missing {
					atMatch[f][level] += p[matches] / sum
					if s.Fields[f].Twin == cohort.TwinAgrees {
						atMatch[f][level] += p[twins] / sum // the same table
					}
				}
			}
		}
		e := model.cross(patternsOf(s, histograms), true, true).expect()
		for f := range atMatch {
			for level, want := range atMatch[f] {
				if got := e.counts[4+f][level]; math.Abs(got-want) > 1e-9 {
					t.Fatalf("field %d, level %d: %v, want %v", f, level, got, want)
				}
			}
		}
		for stratum := range totals {
			for c, want := range totals[stratum] {
				if math.Abs(e.totals[stratum][c]-want) > 1e-9 {
					t.Fatalf("stratum %d, class %d: %v, want %v", stratum, c, e.totals[stratum][c], want)
				}
			}
		}
		// The score is Bayes' rule over the same classes, and without twins it is
		// the sum of what fields add to the prior.
		model.prepare()
		alone := *model
		alone.Strata = []Shares{{.8, 0, 0, .2}}
		alone.prepare()
		for code, levels := range codes(s) {
			of := func(c class) float64 { return strata[0].list()[c] * probability(c, levels) }
			want := of(matches) / (of(strangers) + of(twins) + of(matches))
			if got := model.Score(0, code); math.Abs(got.Probability-want) > 1e-9 || math.Abs(math.Exp2(got.Weight)-got.Odds) > 1e-9*got.Odds {
				t.Fatalf("score %+v, want probability %v", got, want)
			}
			sum := math.Log2(.2 / .8)
			for _, w := range alone.FieldWeights(code) {
				sum += w
			}
			if got := alone.Score(0, code).Weight; math.Abs(got-sum) > 1e-9 {
				t.Fatalf("weight %v, its parts add up to %v", got, sum)
			}
		}
	})
}
