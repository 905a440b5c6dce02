package model

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"tarn/keys/fault"
	"tarn/linkage/compare"
)

// direction is the fit moved by one standard deviation of its posterior: the
// directions are independent of one another, and together are all of it as far
// as it is normal.
type direction struct {
	scorer          scorer
	expectedMatches float64
}

// Directions returns the number of independent directions in which the fit is
// uncertain; 0 where a model was only read.
func (m *Model) Directions() int { return len(m.uncertain) }

// Sensitivity returns by how much the natural logarithm of the odds of a
// pattern in stratum s changes in each direction. The squares of the changes
// add up to the variance of the log-odds of the pattern.
func (m *Model) Sensitivity(s int, code uint32) []float64 {
	slots := m.slots(code)
	at := m.scorer.logOdds(s, slots)
	changes := make([]float64, len(m.uncertain))
	for i := range m.uncertain {
		changes[i] = m.uncertain[i].scorer.logOdds(s, slots) - at
	}
	return changes
}

// MatchesSensitivity returns by how much the expected number of matches among
// the compared pairs changes in each direction.
func (m *Model) MatchesSensitivity() []float64 {
	changes := make([]float64, len(m.uncertain))
	for i, d := range m.uncertain {
		changes[i] = d.expectedMatches - m.ExpectedMatches
	}
	return changes
}

func (m *Model) measureUncertainty() (err error) {
	if m.uncertain, err = m.directions(); err != nil {
		return err
	}
	variance := 0.0
	for _, change := range m.MatchesSensitivity() {
		variance += change * change
	}
	m.MatchesError = math.Sqrt(variance)
	return nil
}

// directions returns the directions of the fit across sides. The posterior of
// what was fitted is taken as normal around its mode (Laplace), in logits. u
// and the twins' share are uncertain by what they were fitted to, and shift
// what was fitted with them held.
func (m *Model) directions() ([]direction, error) {
	x := m.outer.at
	x.refer()
	information := x.information()
	var eigen mat.EigenSym
	if !eigen.Factorize(information, true) {
		return nil, fault.New(fault.Internal, fitting, "its information matrix has no eigenvalues", "")
	}
	values := eigen.Values(nil)
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	n := len(values)
	// solve divides by the information.
	solve := func(g []float64) []float64 {
		step := make([]float64, n)
		for k, value := range values {
			dot := 0.0
			for i := range n {
				dot += vectors.At(i, k) * g[i]
			}
			for i := range n {
				step[i] += dot / value * vectors.At(i, k)
			}
		}
		return step
	}
	if n > 0 && values[0] <= 0 {
		return nil, refuse("the data leave open what the model is: its likelihood is flat in one direction",
			"link records with more fields in common, or reuse a fitted model with --model")
	}
	var list []direction
	add := func(y mixture) {
		d := direction{scorer: scorerOf(y)}
		for _, t := range y.expect().totals {
			d.expectedMatches += t[matches]
		}
		list = append(list, d)
	}
	for k, value := range values {
		step := make([]float64, n)
		for i := range n {
			step[i] = vectors.At(i, k) / math.Sqrt(value)
		}
		add(x.moved(step))
	}
	level := x.gradient()
	for _, y := range m.held(x) {
		g := y.gradient()
		for i := range g {
			g[i] -= level[i]
		}
		add(y.moved(solve(g)))
	}
	return list, nil
}

// held returns the fit with what was held moved by a standard deviation: each
// level of each table as if counted by so many pairs (a Dirichlet distribution
// is that of independent gamma variables over their sum).
func (m *Model) held(x mixture) (list []mixture) {
	n := len(m.Scheme.Fields)
	moveTable := func(t int, counts []float64) {
		for l, c := range counts {
			if c <= 0 {
				continue
			}
			y := x.clone()
			y.tables[t][l] *= math.Exp(1 / math.Sqrt(c+1))
			normalise(y.tables[t])
			list = append(list, y)
		}
	}
	for f, field := range m.Scheme.Fields {
		if m.inner != nil && field.Name != compare.TokenField {
			moveTable(f, sum(m.inner.end.counts[f], m.inner.at.prior[f]))
		}
		if x.prior[n+f] == nil {
			moveTable(n+f, pseudo(field.M, m.Priors.Matches))
		}
	}
	return list
}

func sum(a, b []float64) []float64 {
	c := slices.Clone(a)
	for i := range b {
		c[i] += b[i]
	}
	return c
}

// refer chooses the reference levels.
func (x mixture) refer() {
	x.reference = make([]int, len(x.tables))
	for t, table := range x.tables {
		x.reference[t] = slices.Index(table, slices.Max(table))
	}
}

// gradient returns the derivative of the log-posterior by each free logit:
// for a table those of all levels but its most probable one, for a stratum
// those of the shares that are fitted.
func (x mixture) gradient() (g []float64) {
	e := x.expect()
	for t, prior := range x.prior {
		if prior == nil {
			continue
		}
		counts := sum(e.counts[t], prior)
		total := 0.0
		for _, c := range counts {
			total += c
		}
		for l, p := range x.tables[t] {
			if l != x.reference[t] {
				g = append(g, counts[l]-total*p)
			}
		}
	}
	for s, n := range e.totals {
		pairs := sharesFrom(n).plus(x.sharePrior)
		counts, total := pairs.plus(x.others).list(), pairs.sum()
		shares, others := x.shares[s].list(), x.others.sum()/(1-x.shares[s].Matches)
		for c := households; c < classes; c++ {
			if !x.exists(c) {
				continue
			}
			slope := counts[c] - total*shares[c]
			if c != matches {
				slope -= others * shares[c]
			}
			g = append(g, slope)
		}
	}
	return g
}

// moved returns x with a step added to its free logits, in the order of
// gradient.
func (x mixture) moved(step []float64) mixture {
	// Further than this the posterior is not normal any more.
	const furthest = 3
	next := func() float64 {
		v := step[0]
		step = step[1:]
		return math.Exp(math.Max(-furthest, math.Min(v, furthest)))
	}
	y := x.clone()
	for t, prior := range x.prior {
		if prior == nil {
			continue
		}
		for l := range y.tables[t] {
			if l != x.reference[t] {
				y.tables[t][l] *= next()
			}
		}
		normalise(y.tables[t])
	}
	for s := range y.shares {
		shares := y.shares[s].list()
		for c := households; c < classes; c++ {
			if x.exists(c) {
				shares[c] *= next()
			}
		}
		y.shares[s] = x.scaled(sharesFrom(shares))
	}
	return y
}

// spread is added to the information of each logit, as if it were known to
// two units before: a level that no pair has would have none.
const spread = .25

// information returns the negative second derivative of the log-posterior by
// the free logits, from differences of the gradient.
func (x mixture) information() *mat.SymDense {
	const h = 1e-3
	n := len(x.gradient())
	slopes := make([][]float64, n)
	for i := range n {
		step := make([]float64, n)
		step[i] = h
		ahead := x.moved(step).gradient()
		step[i] = -h
		behind := x.moved(step).gradient()
		slopes[i] = make([]float64, n)
		for j := range n {
			slopes[i][j] = (behind[j] - ahead[j]) / (2 * h)
		}
	}
	information := mat.NewSymDense(max(n, 1), nil)
	for i := range n {
		for j := i; j < n; j++ {
			value := (slopes[i][j] + slopes[j][i]) / 2
			if i == j {
				value += spread
			}
			information.SetSym(i, j, value)
		}
	}
	return information
}
