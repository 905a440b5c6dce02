package model

import (
	"slices"

	"tarn/linkage/cohort"
	"tarn/linkage/compare"
)

// Fewer expected matches than this leave the m-probabilities as shipped: they
// would be fitted to chance.
const minimumMatches = 100

// Fit fits the model to the counts with the shipped probabilities as priors of
// the default weight; see FitWith.
func Fit(scheme *compare.Scheme, counts Counts) (*Model, error) {
	return FitWith(scheme, counts, DefaultPriors())
}

// FitWith fits the model to the counts. u-probabilities come from pairs within
// a side, which are strangers but for members of one household, twins and
// duplicates; m-probabilities and the class shares come from pairs across
// sides, with u held, so that matches that fit their class badly cannot spoil
// it. Where there are no pairs within, all are fitted together.
//
// Each fit climbs from several starts to the highest posterior. A fit that does
// not converge, or whose result the data do not determine, is an error: its
// weights would mislead.
func FitWith(scheme *compare.Scheme, counts Counts, priors Priors) (*Model, error) {
	m := &Model{Scheme: scheme, Priors: priors, Converged: true, Dependence: independent(len(scheme.Fields))}
	for _, f := range scheme.Fields {
		m.M = append(m.M, shipped(f.M))
		m.U = append(m.U, shipped(f.U))
	}
	m.Strata = make([]Shares, len(counts.Cross))
	if within := patternsOf(scheme, []compare.Histogram{counts.Within}); len(within) > 0 {
		if err := m.fitWithin(within, counts.Duplicates); err != nil {
			return nil, err
		}
	} else {
		m.Joint = true
	}
	cross := patternsOf(scheme, counts.Cross)
	if err := m.fitCross(cross, &counts); err != nil {
		return nil, err
	}
	if len(cross) > 0 {
		if err := m.measureUncertainty(); err != nil {
			return nil, err
		}
	}
	if m.Fitted || m.Joint && len(cross) > 0 {
		if err := m.check(counts.MostMatches); err != nil {
			return nil, err
		}
	}
	m.prepare()
	return m, nil
}

func shipped(p []float64) []float64 {
	q := slices.Clone(p)
	normalise(q)
	return q
}

// pseudo returns the shipped probabilities as counts of so many pairs.
func pseudo(p []float64, pairs float64) []float64 {
	q := shipped(p)
	for l := range q {
		q[l] *= pairs
	}
	return q
}

// priorOfM returns the pseudo-counts of a field's m-probabilities.
func (m *Model) priorOfM(f int) []float64 {
	field := m.Scheme.Fields[f]
	if field.Name == compare.TokenField {
		return pseudo(field.M, m.Priors.Token)
	}
	return pseudo(field.M, m.Priors.Matches)
}

// fitWithin fits u on pairs of one side. The classes are those across sides,
// with duplicates, which a side that is not de-duplicated has, for matches.
// Relatives agree on what they have in common as is shipped for matches. That is
// not fitted: of two fields in common the data show how often both agree, which a
// larger share of relatives and a smaller agreement explain as well.
//
// The share of relatives among pairs of different people would be the same
// across sides as within them if people came to the sides one by one: of T twin
// pairs among N people, sides that hold shares a and b of the people have a*a*T
// twin pairs of (a*N)^2/2 within, and 2*a*b*T of a*N*b*N across. Households come
// together, so that across there are fewer. The share within is a weak prior of
// that across: taken from across alone it could be inflated by matches whose
// given name differs.
func (m *Model) fitWithin(patterns []pattern, duplicates bool) error {
	x := m.within(patterns, duplicates)
	var starts []mixture
	for _, shares := range []Shares{{.96, .01, .02, .01}, {.5, .05, .05, .4}, {.998, .0009, .001, .0001}} {
		y := x.clone()
		y.shares = []Shares{y.scaled(shares)}
		starts = append(starts, y)
	}
	best, err := m.bestOf(starts, "u-probabilities")
	if err != nil {
		return err
	}
	n := len(m.Scheme.Fields)
	m.U = m.U[:0]
	for _, table := range best.at.tables[:n] {
		m.U = append(m.U, slices.Clone(table))
	}
	m.ExpectedDuplicates = best.end.totals[0][matches]
	m.takeOthers(best)
	m.Dependence = dependenceOf(best.at, n)
	m.inner = &best
	return nil
}

// takeOthers keeps the shares of the classes among pairs of different people.
func (m *Model) takeOthers(best climb) {
	var pairs Shares
	for _, t := range best.end.totals {
		pairs = pairs.plus(sharesFrom(t))
	}
	pairs = pairs.plus(best.at.sharePrior)
	pairs.Matches = 0
	sum := pairs.sum()
	m.Others = Shares{pairs.Strangers / sum, pairs.Households / sum, pairs.Twins / sum, 0}
}

// within returns the mixture of pairs within a side. Its tables are u of every
// field, then what relatives agree on, then those of duplicates.
func (m *Model) within(patterns []pattern, duplicates bool) mixture {
	s := &structure{lookup: newLookup(len(m.Scheme.Fields)), patterns: patterns, sharePrior: sharePrior(m.Scheme)}
	x := mixture{structure: s}
	add := func(table, prior []float64) int {
		x.tables, s.prior = append(x.tables, slices.Clone(table)), append(s.prior, prior)
		return len(x.tables) - 1
	}
	for f, field := range m.Scheme.Fields {
		prior := pseudo(field.U, m.Priors.Strangers)
		if field.Name == compare.TokenField {
			prior = nil // two strangers with one number are too few to count
		}
		at := add(m.U[f], prior)
		for c := range s.table {
			s.table[c][f] = at
		}
	}
	for f, field := range m.Scheme.Fields {
		if field.Twin != cohort.TwinAgrees {
			continue
		}
		at := add(shipped(field.M), nil)
		for _, c := range []class{households, twins} {
			if c.agrees(field) {
				s.table[c][f] = at
			}
		}
	}
	for f := range m.Scheme.Fields {
		var prior []float64
		if duplicates {
			prior = m.priorOfM(f)
		}
		s.table[matches][f] = add(m.M[f], prior)
	}
	return x.bind()
}

// fitCross fits the class shares, and m where enough matches are expected, on
// pairs across sides; u too where no pairs within a side were given, and then
// once more with what is known by then of how fields depend on one another.
//
// Where u is fitted too nothing tells twins from one person whose given name is
// recorded in two ways: there are as many as the households of the first fit, or
// the number of records, say.
func (m *Model) fitCross(patterns []pattern, counts *Counts) error {
	if err := m.fitOnce(patterns, m.Joint); err != nil || !m.Joint {
		return err
	}
	m.relatives = counts.relatives(m.Others.Households)
	if m.relatives.sum() > 0 {
		if err := m.fitOnce(patterns, true); err != nil {
			return err
		}
	}
	m.Dependence = dependenceOf(m.outer.at, len(m.Scheme.Fields))
	if slices.Max(m.Dependence.Parent) < 0 {
		return nil
	}
	return m.fitOnce(patterns, false)
}

func (m *Model) fitOnce(patterns []pattern, fitU bool) error {
	best, err := m.bestOf(m.startsOf(m.cross(patterns, fitU, false)), "class shares")
	if err != nil {
		return err
	}
	if m.Fitted = best.matches() >= minimumMatches; m.Fitted {
		if err := m.checkFields(patterns); err != nil {
			return err
		}
		// From where the shares alone have led, and from elsewhere.
		x := m.cross(patterns, fitU, true)
		x.shares = best.at.shares
		if best, err = m.bestOf(append(m.startsOf(x), x), "m-probabilities"); err != nil {
			return err
		}
	}
	m.take(best)
	return nil
}

func (m *Model) take(best climb) {
	n := len(m.Scheme.Fields)
	copy(m.U, best.at.tables[:n])
	copy(m.M, best.at.tables[n:])
	copy(m.Strata, best.at.shares)
	m.ExpectedMatches = best.matches()
	m.Change, m.LogLikelihood, m.LogPosterior = best.change, best.end.logLikelihood, best.end.logPosterior
	if m.Joint {
		m.takeOthers(best)
	}
	m.outer = &best
}

func (c climb) matches() (sum float64) {
	for _, t := range c.end.totals {
		sum += t[matches]
	}
	return sum
}

// cross returns the mixture of pairs across sides.
func (m *Model) cross(patterns []pattern, fitU, fitM bool) mixture {
	x := m.mixture()
	x.patterns = patterns
	if m.Joint {
		x.others = x.existing(m.relatives)
	} else {
		x.others = m.Others.times(m.Priors.Relatives / max(m.Others.Households+m.Others.Twins, 1e-9))
	}
	n := len(m.Scheme.Fields)
	for f, field := range m.Scheme.Fields {
		if fitU && field.Name != compare.TokenField {
			x.prior[f] = pseudo(field.U, m.Priors.Strangers)
		}
		if fitM {
			x.prior[n+f] = m.priorOfM(f)
		}
	}
	return x.bind()
}

// mixture returns the model as a mixture across sides, without patterns and
// with everything fixed. Its tables are u of every field, m of every field,
// then u given another field.
func (m *Model) mixture() mixture {
	n := len(m.Scheme.Fields)
	s := &structure{lookup: newLookup(n), sharePrior: sharePrior(m.Scheme)}
	x := mixture{structure: s, shares: slices.Clone(m.Strata)}
	for _, p := range slices.Concat(m.U, m.M) {
		x.tables = append(x.tables, slices.Clone(p))
	}
	given := make([][]int, n)
	copy(s.parent, m.Dependence.Parent)
	for f := range n {
		for _, p := range m.Dependence.Given[f] {
			given[f] = append(given[f], len(x.tables))
			x.tables = append(x.tables, slices.Clone(p))
		}
	}
	for c := range s.table {
		for f, field := range m.Scheme.Fields {
			if s.table[c][f] = f; class(c).agrees(field) {
				s.table[c][f] = n + f
			} else if p := s.parent[f]; p >= 0 && !class(c).agrees(m.Scheme.Fields[p]) {
				s.given[c][f] = given[f]
			}
		}
	}
	s.prior = make([][]float64, len(x.tables))
	return x
}

// startsOf returns x with shares from few matches to many, and with
// m-probabilities, where they are fitted, blunter and sharper than shipped.
func (m *Model) startsOf(x mixture) (starts []mixture) {
	for _, share := range []float64{.02, 1e-4, .5, .9} {
		y, rest := x.clone(), 1-share
		for s := range y.shares {
			y.shares[s] = y.scaled(Shares{.98 * rest, .01 * rest, .01 * rest, share})
		}
		starts = append(starts, y)
	}
	n := len(m.Scheme.Fields)
	if x.prior[n] == nil {
		return starts
	}
	for _, blunt := range []float64{.5, -.5} {
		y := starts[0].clone()
		for f := range n {
			for l := range y.tables[n+f] {
				u := y.tables[f][l]
				y.tables[n+f][l] += blunt * (u - y.tables[n+f][l])
				y.tables[n+f][l] = max(y.tables[n+f][l], 1e-6)
			}
			normalise(y.tables[n+f])
		}
		starts = append(starts, y)
	}
	return starts
}
