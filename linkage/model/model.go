// Package model fits a Fellegi-Sunter model with agreement levels and three
// classes of pairs (strangers, twins, matches) to counts of agreement
// patterns, without truth, and turns patterns into match weights.
//
// A twin pair is two people who share a date of birth, family name and
// postcode. Without a class of their own they are taken for matches, and
// precision goes to them.
package model

import (
	"math"

	"tarn/linkage/cohort"
	"tarn/linkage/compare"
)

// Class numbers the classes of pairs.
type class int

const (
	strangers class = iota
	twins
	matches
	classes
)

// Model is a fitted model. Its probabilities are indexed by the scheme's field
// and by level.
type Model struct {
	Scheme *compare.Scheme
	M, U   [][]float64
	// Strata are the class shares of each pair of cohorts, in the order of
	// Counts.Cross.
	Strata     []Shares
	Converged  bool
	Iterations int
	// Fitted says that m-probabilities were fitted; false means that too few
	// matches were expected and the shipped ones were kept.
	Fitted bool
	// ExpectedMatches is the expected number of matches among the compared
	// pairs of all strata.
	ExpectedMatches float64

	twinRatio float64 // twins among pairs of different people
}

// Shares are the proportions of the classes among the compared pairs.
type Shares struct{ Strangers, Twins, Matches float64 }

func (s Shares) of(c class) float64 { return [classes]float64{s.Strangers, s.Twins, s.Matches}[c] }

// probability returns the table that class c uses for field f.
func (m *Model) probability(c class, f int) []float64 {
	switch {
	case c == matches, c == twins && m.Scheme.Fields[f].Twin == cohort.TwinAgrees:
		return m.M[f]
	default:
		return m.U[f]
	}
}

// logLikelihood returns the natural logarithm of the probability of a pattern
// in a class. Missing fields say nothing.
func (m *Model) logLikelihood(c class, code uint32) float64 {
	sum := 0.0
	for f := range m.Scheme.Fields {
		if level := m.Scheme.Level(code, f); level != compare.Missing {
			sum += math.Log(m.probability(c, f)[level])
		}
	}
	return sum
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

// Score returns the score of a pattern in stratum s.
func (m *Model) Score(s int, code uint32) Score {
	shares := m.Strata[s]
	others := logSum(math.Log(shares.Strangers)+m.logLikelihood(strangers, code), math.Log(shares.Twins)+m.logLikelihood(twins, code))
	return scoreOf(math.Log(shares.Matches) + m.logLikelihood(matches, code) - others)
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

func logSum(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(b, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}
