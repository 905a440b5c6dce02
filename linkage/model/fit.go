package model

import (
	"math"
	"slices"

	"tarn/keys/fault"
	"tarn/linkage/compare"
)

// Counts are the data of a fit: how often each pattern occurs.
type Counts struct {
	Cross  []compare.Histogram // one for each pair of cohorts
	Within compare.Histogram   // pairs of records of one side, all sides together
}

// Weights of the shipped probabilities, in pairs: at 2,000 x 2,000 records
// with 5% overlap they are the difference between F1 .964 and .992.
const (
	priorMatches   = 500
	priorStrangers = 2000
)

// Fewer expected matches than this leave the m-probabilities as shipped: they
// would be fitted to chance.
const minimumMatches = 100

const (
	maxIterations = 5000
	tolerance     = 1e-9 // of any probability, from one iteration to the next
	outerRounds   = 3    // of u from within sides, then m across them
)

// Fit fits the model to the counts, starting from the probabilities shipped
// with the profile. u-probabilities come from pairs within a side, which are
// strangers but for twins and duplicates; m-probabilities and the class shares
// come from pairs across sides.
//
// A fit that does not converge is an error: its weights would mislead.
func Fit(scheme *compare.Scheme, counts Counts) (*Model, error) {
	m := &Model{Scheme: scheme}
	for _, f := range scheme.Fields {
		m.M = append(m.M, normalised(f.M))
		m.U = append(m.U, normalised(f.U))
	}
	for range counts.Cross {
		m.Strata = append(m.Strata, Shares{Strangers: .97, Twins: .01, Matches: .02})
	}
	within := patternsOf(scheme, []compare.Histogram{counts.Within})
	cross := patternsOf(scheme, counts.Cross)
	m.Converged = true
	for range outerRounds {
		m.twinRatio = m.fitWithin(within)
		m.fitShares(cross)
		if m.ExpectedMatches < minimumMatches {
			break
		}
		m.Fitted = true
		m.fitCross(cross)
	}
	if !m.Converged {
		return nil, fault.New(fault.Internal, "fitting the linkage model", "it did not converge, so its weights would mislead",
			"link more records, or records with more fields in common")
	}
	return m, nil
}

func normalised(p []float64) []float64 {
	sum := 0.0
	for _, v := range p {
		sum += v
	}
	q := slices.Clone(p)
	for i := range q {
		q[i] /= sum
	}
	return q
}

// pattern is one pattern that occurs, with its count in each stratum.
type pattern struct {
	code   uint32
	counts []float64
}

func patternsOf(scheme *compare.Scheme, strata []compare.Histogram) (patterns []pattern) {
	for code := range uint32(scheme.Patterns()) {
		var counts []float64
		for s, h := range strata {
			if len(h) > 0 && h[code] > 0 {
				if counts == nil {
					counts = make([]float64, len(strata))
				}
				counts[s] = float64(h[code])
			}
		}
		if counts != nil {
			patterns = append(patterns, pattern{code, counts})
		}
	}
	return patterns
}

// fitWithin fits u on pairs of one side. The third class is then duplicates,
// which a side that is not deduplicated has. It returns the share of twins
// among the pairs of different people.
//
// That share is the same across sides as within them: of T twin pairs among N
// people, sides that hold shares a and b of the people have a*a*T twin pairs of
// (a*N)^2/2 within, and 2*a*b*T of a*N*b*N across. Taken from within, it cannot
// be inflated by matches whose given name differs.
func (m *Model) fitWithin(patterns []pattern) (twinRatio float64) {
	shares := []Shares{{Strangers: .97, Twins: .02, Matches: .01}}
	m.expectationMaximisation(patterns, shares, func(weight [classes][][]float64) {
		for f := range m.Scheme.Fields {
			if m.Scheme.Fields[f].Name != compare.TokenField {
				m.U[f] = posterior(weight[strangers][f], m.Scheme.Fields[f].U, priorStrangers)
			}
		}
	}, m.U, sharesOf)
	return shares[0].Twins / (shares[0].Twins + shares[0].Strangers)
}

// fitShares fits the class shares alone.
func (m *Model) fitShares(patterns []pattern) {
	m.expectationMaximisation(patterns, m.Strata, func([classes][][]float64) {}, nil, m.crossShares)
	m.countMatches(patterns)
}

// fitCross fits the class shares and m on pairs across sides.
func (m *Model) fitCross(patterns []pattern) {
	m.expectationMaximisation(patterns, m.Strata, func(weight [classes][][]float64) {
		for f := range m.Scheme.Fields {
			m.M[f] = posterior(weight[matches][f], m.Scheme.Fields[f].M, priorMatches)
		}
	}, m.M, m.crossShares)
	m.countMatches(patterns)
}

// posterior returns the mode of the level probabilities given counts and the
// shipped probabilities counted as so many pairs.
func posterior(counts, shipped []float64, pairs float64) []float64 {
	p := make([]float64, len(counts))
	sum := 0.0
	for l := range p {
		p[l] = counts[l] + pairs*shipped[l]
		sum += p[l]
	}
	for l := range p {
		p[l] /= sum
	}
	return p
}

// expectationMaximisation alternates the expected class of every pattern with
// new shares, and new level probabilities by update, until none changes.
// watched are the tables that update replaces; shareOut makes shares of the
// expected pairs of each class.
func (m *Model) expectationMaximisation(patterns []pattern, shares []Shares, update func([classes][][]float64), watched [][]float64, shareOut func([classes]float64) Shares) {
	for range maxIterations {
		m.Iterations++
		weight, totals := m.expect(patterns, shares)
		before := snapshot(watched)
		update(weight)
		change := difference(before, watched)
		for s := range shares {
			next := shareOut(totals[s])
			for c := strangers; c < classes; c++ {
				change = math.Max(change, math.Abs(next.of(c)-shares[s].of(c)))
			}
			shares[s] = next
		}
		if change < tolerance {
			return
		}
	}
	m.Converged = false
}

// expect returns, for each class, field and level, the expected number of
// pairs, and for each stratum the expected number of pairs of each class.
func (m *Model) expect(patterns []pattern, shares []Shares) (weight [classes][][]float64, totals [][classes]float64) {
	for c := range weight {
		weight[c] = make([][]float64, len(m.Scheme.Fields))
		for f := range weight[c] {
			weight[c][f] = make([]float64, len(m.M[f]))
		}
	}
	totals = make([][classes]float64, len(shares))
	for _, p := range patterns {
		var likelihood, expected [classes]float64
		for c := strangers; c < classes; c++ {
			likelihood[c] = m.logLikelihood(c, p.code)
		}
		for s, n := range p.counts {
			if n == 0 {
				continue
			}
			member := membership(likelihood, shares[s])
			for c := range member {
				expected[c] += n * member[c]
				totals[s][c] += n * member[c]
			}
		}
		for f := range m.Scheme.Fields {
			if level := m.Scheme.Level(p.code, f); level != compare.Missing {
				for c := range expected {
					weight[c][f][level] += expected[c]
				}
			}
		}
	}
	return weight, totals
}

func membership(logLikelihood [classes]float64, shares Shares) (p [classes]float64) {
	highest := math.Inf(-1)
	for c := strangers; c < classes; c++ {
		p[c] = math.Log(shares.of(c)) + logLikelihood[c]
		highest = math.Max(highest, p[c])
	}
	sum := 0.0
	for c := range p {
		p[c] = math.Exp(p[c] - highest)
		sum += p[c]
	}
	for c := range p {
		p[c] /= sum
	}
	return p
}

// sharesOf returns the shares of the classes, each counted with half a pair
// more than was seen, so that no class is ruled out for good.
func sharesOf(totals [classes]float64) Shares {
	const half = .5
	sum := 0.0
	for _, v := range totals {
		sum += v + half
	}
	return Shares{(totals[strangers] + half) / sum, (totals[twins] + half) / sum, (totals[matches] + half) / sum}
}

// crossShares are the shares across sides: matches as expected, the rest
// divided into strangers and twins as within sides.
func (m *Model) crossShares(totals [classes]float64) Shares {
	s := sharesOf(totals)
	others := 1 - s.Matches
	return Shares{Strangers: others * (1 - m.twinRatio), Twins: others * m.twinRatio, Matches: s.Matches}
}

func (m *Model) countMatches(patterns []pattern) {
	_, totals := m.expect(patterns, m.Strata)
	m.ExpectedMatches = 0
	for _, t := range totals {
		m.ExpectedMatches += t[matches]
	}
}

func snapshot(tables [][]float64) [][]float64 {
	copied := make([][]float64, len(tables))
	for i, t := range tables {
		copied[i] = slices.Clone(t)
	}
	return copied
}

func difference(a, b [][]float64) (widest float64) {
	for i := range a {
		for j := range a[i] {
			widest = math.Max(widest, math.Abs(a[i][j]-b[i][j]))
		}
	}
	return widest
}
