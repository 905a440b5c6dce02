// Package model fits a Fellegi-Sunter model with agreement levels and several
// classes of pairs (strangers, households, twins, matches) to counts of
// agreement patterns, without truth, and turns patterns into match weights.
//
// A twin pair is two people who share a date of birth, family name and
// postcode; a household pair shares family name and postcode. Without classes of
// their own they are taken for matches, and precision goes to them.
//
// It presents no model that has not converged or that the data do not
// determine: Fit refuses. docs/model.md has the statistics.
package model

import (
	"math"

	"tarn/linkage/compare"
)

// Model is a fitted model. Its probabilities are indexed by the scheme's field
// and by level.
type Model struct {
	Scheme     *compare.Scheme
	M, U       [][]float64
	Dependence Dependence // of fields among pairs of different people
	// Strata are the class shares of each pair of cohorts, in the order of
	// Counts.Cross.
	Strata []Shares
	// Others are the shares of the classes among pairs of different people.
	Others Shares
	Priors Priors

	// Fitted says that m-probabilities were fitted; false means that too few
	// matches were expected and the shipped ones, or those of a model that was
	// read, were kept.
	Fitted bool
	// Reused says that m and u are those of a model that was read.
	Reused bool
	// Joint says that u-probabilities were fitted to the same pairs as m.
	Joint bool
	// ExpectedMatches is the expected number of matches among the compared
	// pairs of all strata, MatchesError its standard error as far as it comes from
	// the model's uncertainty.
	ExpectedMatches, MatchesError float64
	// ExpectedDuplicates is the expected number of pairs within sides that are
	// one person.
	ExpectedDuplicates float64

	// How the fit went.
	Converged  bool
	Iterations int     // of all starts
	Change     float64 // of any probability in the last step
	// Of the pairs of Counts.Cross, natural logarithms; the posterior up to a constant.
	LogLikelihood, LogPosterior float64
	Starts                      []Start

	relatives    Shares  // pseudo-pairs of what is known of people, where m is joint
	inner, outer *climb  // of the fits within and across sides
	ready        mixture // the model as a mixture, its tables' offsets and logarithms
	offsets      []int
	scorer       scorer
	uncertain    []direction // of the fit across sides
}

// scorer holds the logarithms of a mixture's parameters.
type scorer struct {
	logs      []float64
	logShares [][classes]float64
}

func scorerOf(x mixture) scorer {
	logs, logShares := x.logs()
	return scorer{logs, logShares}
}

// prepare makes the model ready to score.
func (m *Model) prepare() {
	m.ready = m.mixture()
	m.offsets, _ = m.ready.offsets()
	m.scorer = scorerOf(m.ready)
}

// logOdds returns the natural logarithm of the odds that a pair is a match.
func (s *scorer) logOdds(stratum int, slots *patternSlots) float64 {
	likelihood := likelihoodsOf(slots, s.logs)
	others := math.Inf(-1)
	for c := range matches {
		others = logSum(others, s.logShares[stratum][c]+likelihood[c])
	}
	return s.logShares[stratum][matches] + likelihood[matches] - others
}

func (m *Model) levels(code uint32) []int8 {
	levels := make([]int8, len(m.Scheme.Fields))
	for f := range levels {
		levels[f] = int8(m.Scheme.Level(code, f))
	}
	return levels
}

// Score is what the model says of a pattern in one pair of cohorts.
type Score struct {
	Weight      float64 // match weight, log2 of the odds, prior included
	Probability float64 // 2^Weight / (1 + 2^Weight)
	Odds        float64 // 2^Weight
}

func scoreOf(logOdds float64) Score {
	weight := logOdds / math.Ln2
	return Score{Weight: weight, Odds: math.Exp(logOdds), Probability: 1 / (1 + math.Exp(-logOdds))}
}

// slots returns where the probabilities of a pattern lie.
func (m *Model) slots(code uint32) *patternSlots {
	slots := m.ready.slotsOf(m.levels(code), m.offsets)
	return &slots
}

// Score returns the score of a pattern in stratum s.
func (m *Model) Score(s int, code uint32) Score {
	return scoreOf(m.scorer.logOdds(s, m.slots(code)))
}

// TokenOnlyScore returns the score of a pair with equal tokens that no block
// holds. prior is the share of matches among all such pairs of the stratum.
func (m *Model) TokenOnlyScore(prior float64) Score {
	token := len(m.Scheme.Fields) - 1
	return scoreOf(math.Log(prior) - math.Log1p(-prior) + math.Log(m.M[token][compare.TokenEqual]) - math.Log(m.U[token][compare.TokenEqual]))
}

// FieldWeight returns log2(m/u) of a level, 0 where the field is missing.
func (m *Model) FieldWeight(f, level int) float64 {
	if level == compare.Missing {
		return 0
	}
	return math.Log2(m.M[f][level] / m.U[f][level])
}

// FieldWeights returns what each field adds to the weight of a match against
// strangers, log2, and 0 where it is missing. Unlike FieldWeight it takes into
// account what a field's level says of another's.
func (m *Model) FieldWeights(code uint32) []float64 {
	levels, x := m.levels(code), m.ready
	weights := make([]float64, len(levels))
	for f, level := range levels {
		if level >= 0 {
			weights[f] = math.Log2(m.M[f][level] / x.tables[x.of(strangers, f, levels)][level])
		}
	}
	return weights
}

func logSum(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
