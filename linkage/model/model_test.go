package model

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/cohort"
	"tarn/linkage/compare"
)

// scheme returns a scheme of n fields of two levels; what is shipped with it
// is far from what the tests hide.
func scheme(t interface{ Fatal(...any) }, n int) *compare.Scheme {
	var c cohort.Comparison
	for i := range n {
		twin := cohort.TwinAgrees
		if i%2 == 0 {
			twin = cohort.TwinDiffers
		}
		c.Fields = append(c.Fields, cohort.FieldComparison{Name: fmt.Sprint("f", i), Column: fmt.Sprint("tag_f", i), Measure: cohort.MeasureEqual, Twin: twin,
			M: []float64{.2, .8}, U: []float64{.7, .3}})
	}
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

// TestFitRecoversWhatIsHidden makes the counts that m, u and a prevalence give
// and wants these back.
func TestFitRecoversWhatIsHidden(t *testing.T) {
	s := scheme(t, 5)
	rapid.Check(t, func(t *rapid.T) {
		const across, within = 4e6, 4e6
		m, u := make([]float64, 5), make([]float64, 5)
		for f := range m {
			m[f] = rapid.Float64Range(.85, .98).Draw(t, "m")
			u[f] = rapid.Float64Range(.02, .1).Draw(t, "u")
		}
		prevalence := rapid.Float64Range(.05, .5).Draw(t, "prevalence")
		const twinShare = .02 // of the pairs of different people
		counts := Counts{Cross: []compare.Histogram{make(compare.Histogram, s.Patterns())}, Within: make(compare.Histogram, s.Patterns())}
		likeTwins := make([]float64, 5)
		for f := range likeTwins {
			likeTwins[f] = u[f]
			if s.Fields[f].Twin == cohort.TwinAgrees {
				likeTwins[f] = m[f]
			}
		}
		for code, levels := range codes(s) {
			different := (1-twinShare)*likelihood(levels, u) + twinShare*likelihood(levels, likeTwins)
			counts.Cross[0][code] = int64(math.Round(across * (prevalence*likelihood(levels, m) + (1-prevalence)*different)))
			counts.Within[code] = int64(math.Round(within * different))
		}
		check(t, s, counts, m, u, prevalence, .01)
	})
}

func check(t interface {
	Fatal(...any)
	Fatalf(string, ...any)
}, s *compare.Scheme, counts Counts, m, u []float64, prevalence, within float64) {
	fit, err := Fit(s, counts)
	if err != nil {
		t.Fatal(err)
	}
	if !fit.Fitted || !fit.Converged {
		t.Fatal("the model was not fitted")
	}
	for f := range m {
		if math.Abs(fit.M[f][1]-m[f]) > within || math.Abs(fit.U[f][1]-u[f]) > within {
			t.Fatalf("field %d: m %.4f, u %.4f, want %.4f, %.4f", f, fit.M[f][1], fit.U[f][1], m[f], u[f])
		}
	}
	if math.Abs(fit.Strata[0].Matches-prevalence) > within {
		t.Fatalf("prevalence %.4f, want %.4f", fit.Strata[0].Matches, prevalence)
	}
}

// TestKnownParameters fits the comparison vectors that Splink tests its own
// fit with: m .7, .9, .95, u .1, .025, .2, half of the pairs match.
func TestKnownParameters(t *testing.T) {
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
	s := scheme(t, 3)
	m, u := []float64{.7, .9, .95}, []float64{.1, .025, .2}
	counts := Counts{Cross: []compare.Histogram{make(compare.Histogram, s.Patterns())}, Within: make(compare.Histogram, s.Patterns())}
	for _, row := range rows[1:] {
		levels := []int{0, 0, 0, compare.Missing}
		for f := range 3 {
			levels[f] = int(row[f][0] - '0')
		}
		counts.Cross[0][s.Code(levels)] += 1000 // so that the shipped probabilities do not weigh
	}
	for code, levels := range codes(s) {
		counts.Within[code] = int64(math.Round(4e6 * likelihood(levels, u)))
	}
	check(t, s, counts, m, u, .5, .01)
}

// TestExpectIsTheSlowSum: what expectation adds up pattern by pattern, in
// logarithms, is what adding up pair by pair, in probabilities, gives.
func TestExpectIsTheSlowSum(t *testing.T) {
	s := scheme(t, 3)
	rapid.Check(t, func(t *rapid.T) {
		strata := []Shares{{.5, .2, .3}, {.9, .05, .05}}
		model := &Model{Scheme: s, Strata: strata}
		share := func(label string) float64 { return rapid.Float64Range(.01, .99).Draw(t, label) }
		for range s.Fields {
			m, u := share("m"), share("u")
			model.M, model.U = append(model.M, []float64{1 - m, m}), append(model.U, []float64{1 - u, u})
		}
		histograms := []compare.Histogram{make(compare.Histogram, s.Patterns()), make(compare.Histogram, s.Patterns())}
		var weight [classes][4][2]float64
		var totals [2][classes]float64
		for range rapid.IntRange(0, 30).Draw(t, "pairs") {
			stratum, levels := rapid.IntRange(0, 1).Draw(t, "stratum"), make([]int, 4)
			for f := range levels {
				levels[f] = rapid.IntRange(compare.Missing, 1).Draw(t, "level")
			}
			histograms[stratum][s.Code(levels)]++
			p, sum := [classes]float64{strata[stratum].Strangers, strata[stratum].Twins, strata[stratum].Matches}, 0.0
			for c := range p {
				for f, level := range levels {
					if level != compare.Missing {
						table := model.U
						if class(c) == matches || class(c) == twins && s.Fields[f].Twin == cohort.TwinAgrees {
							table = model.M
						}
						p[c] *= table[f][level]
					}
				}
				sum += p[c]
			}
			for c := range p {
				totals[stratum][c] += p[c] / sum
				for f, level := range levels {
					if level != compare.Missing {
						weight[c][f][level] += p[c] / sum
					}
				}
			}
		}
		gotWeight, gotTotals := model.expect(patternsOf(s, histograms), strata)
		for c := range weight {
			for f := range weight[c] {
				for level, want := range weight[c][f] {
					if math.Abs(gotWeight[c][f][level]-want) > 1e-9 {
						t.Fatalf("class %d, field %d, level %d: %v, want %v", c, f, level, gotWeight[c][f][level], want)
					}
				}
			}
			for stratum := range totals {
				if math.Abs(gotTotals[stratum][c]-totals[stratum][c]) > 1e-9 {
					t.Fatalf("stratum %d, class %d: %v, want %v", stratum, c, gotTotals[stratum][c], totals[stratum][c])
				}
			}
		}
		// The score is Bayes' rule over the same classes.
		for code, levels := range codes(s) {
			of := func(c class) float64 {
				p := strata[0].of(c)
				for f := range 3 {
					p *= model.probability(c, f)[levels[f]]
				}
				return p
			}
			want := of(matches) / (of(strangers) + of(twins) + of(matches))
			if got := model.Score(0, code); math.Abs(got.Probability-want) > 1e-9 || math.Abs(math.Exp2(got.Weight)-got.Odds) > 1e-9*got.Odds {
				t.Fatalf("score %+v, want probability %v", got, want)
			}
		}
	})
}
