package model

import (
	"cmp"
	"math"
	"slices"
)

// Dependence is how levels of fields depend on one another among strangers: a
// tree (Chow and Liu, IEEE Transactions on Information Theory 14, 1968). A
// given name goes with a sex, so that where two strangers' given names are the
// same their sexes are too and say nothing more; without that, weights count
// the same evidence twice.
type Dependence struct {
	Parent []int // of each field; -1: none
	// Given holds, for a field that has a parent, the u-probabilities of its
	// levels for each level of the parent; nil for other fields. Where the parent
	// is missing U holds.
	Given [][][]float64
}

func independent(fields int) Dependence {
	return Dependence{Parent: slices.Repeat([]int{-1}, fields), Given: make([][][]float64, fields)}
}

// joint counts, for two fields, strangers by the levels of both.
type joint struct {
	a, b        int // a before b
	counts      [][]float64
	total       float64
	information float64 // nats, 0 where it may be chance
}

// dependenceOf finds the tree among the strangers of x, whose tables of u come
// first. The token, the last field, is left out: no two strangers share one.
func dependenceOf(x mixture, fields int) Dependence {
	d := independent(fields)
	if fields < 3 {
		return d
	}
	edges := x.joints(fields - 1)
	slices.SortStableFunc(edges, func(p, q *joint) int { return cmp.Compare(q.information, p.information) })
	group := make([]int, fields) // of fields that are joined already
	for f := range group {
		group[f] = f
	}
	neighbours := make([][]*joint, fields)
	for _, e := range edges {
		if e.information <= 0 || group[e.a] == group[e.b] {
			continue
		}
		from, to := group[e.b], group[e.a]
		for f := range group {
			if group[f] == from {
				group[f] = to
			}
		}
		neighbours[e.a], neighbours[e.b] = append(neighbours[e.a], e), append(neighbours[e.b], e)
	}
	seen := make([]bool, fields)
	var hang func(parent int)
	hang = func(parent int) {
		seen[parent] = true
		for _, e := range neighbours[parent] {
			child := e.a + e.b - parent
			if !seen[child] {
				d.Parent[child], d.Given[child] = parent, e.given(parent, x.prior[parent], x.prior[child])
				hang(child)
			}
		}
	}
	for f := range fields {
		if !seen[f] {
			hang(f)
		}
	}
	return d
}

// joints counts the strangers by the levels of each two of the fields.
func (x mixture) joints(fields int) (list []*joint) {
	for a := range fields {
		for b := a + 1; b < fields; b++ {
			e := &joint{a: a, b: b}
			for range x.tables[a] {
				e.counts = append(e.counts, make([]float64, len(x.tables[b])))
			}
			list = append(list, e)
		}
	}
	logs, logShares := x.logs()
	for i, p := range x.patterns {
		likelihood, n := likelihoodsOf(&x.slots[i], logs), 0.0
		for s, count := range p.counts {
			if count > 0 {
				member, _ := membership(likelihood, logShares[s])
				n += count * member[strangers]
			}
		}
		for _, e := range list {
			if la, lb := p.levels[e.a], p.levels[e.b]; la >= 0 && lb >= 0 {
				e.counts[la][lb] += n
				e.total += n
			}
		}
	}
	for _, e := range list {
		e.inform()
	}
	return list
}

// inform computes the mutual information, 0 where the Bayesian information
// criterion prefers independence.
func (e *joint) inform() {
	rows, columns := make([]float64, len(e.counts)), make([]float64, len(e.counts[0]))
	for la, row := range e.counts {
		for lb, n := range row {
			rows[la] += n
			columns[lb] += n
		}
	}
	for la, row := range e.counts {
		for lb, n := range row {
			if n > 0 {
				e.information += n / e.total * math.Log(n*e.total/(rows[la]*columns[lb]))
			}
		}
	}
	free := float64((len(rows) - 1) * (len(columns) - 1))
	if e.total < 1 || 2*e.total*e.information < free*math.Log(e.total) {
		e.information = 0
	}
}

// given returns the probabilities of the other field's levels for each level of
// the parent. The pseudo-pairs of the two fields count as pairs in which they
// are independent, as they do in u.
func (e *joint) given(parent int, priorOfParent, prior []float64) [][]float64 {
	at := func(p, l int) float64 { return e.counts[p][l] }
	if parent == e.b {
		at = func(p, l int) float64 { return e.counts[l][p] }
	}
	pairs := 0.0
	for _, n := range prior {
		pairs += n
	}
	tables := make([][]float64, len(priorOfParent))
	for p := range tables {
		tables[p] = make([]float64, len(prior))
		for l := range prior {
			tables[p][l] = at(p, l) + priorOfParent[p]*prior[l]/pairs
		}
		normalise(tables[p])
	}
	return tables
}
