package model

import (
	"math"
	"slices"

	"tarn/linkage/compare"
)

// mixture is a mixture of classes of pairs: tables of level probabilities and
// the shares of the classes in each stratum. It is a value of the parameters;
// the methods make new values and change none.
type mixture struct {
	*structure
	tables [][]float64
	shares []Shares
}

// structure is what a fit does not change.
type structure struct {
	lookup
	patterns []pattern
	// prior holds pseudo-counts of the levels of a table; nil: the table is fixed.
	prior [][]float64
	// sharePrior holds pseudo-pairs of each class in each stratum. A class with
	// none does not exist.
	sharePrior Shares
	// others holds pseudo-pairs of the classes of different people that tell of
	// their shares among themselves, and nothing of how many matches there are.
	others Shares
	// reference is the level of each table whose logit is held at 0.
	reference []int
	slots     []patternSlots
	limit     int // of iterations of a climb; 0: maxIterations
}

// lookup says which table a class uses for a field.
type lookup struct {
	table [classes][]int
	// given holds, for a field whose level depends on that of its parent, the
	// table of each level of the parent; nil where it depends on nothing, and not
	// used where the parent is missing.
	given  [classes][][]int
	parent []int // of each field, -1: none
}

func newLookup(fields int) (l lookup) {
	for c := range l.table {
		l.table[c], l.given[c] = make([]int, fields), make([][]int, fields)
	}
	l.parent = slices.Repeat([]int{-1}, fields)
	return l
}

func (l *lookup) of(c class, f int, levels []int8) int {
	if given := l.given[c][f]; given != nil {
		if at := levels[l.parent[f]]; at >= 0 {
			return given[at]
		}
	}
	return l.table[c][f]
}

// patternSlots are where in the flat list of all tables a pattern's
// probabilities lie, class after class.
type patternSlots [classes][]int32

// offsets returns where each table starts in a flat list of all of them, and
// its length.
func (x mixture) offsets() (starts []int, size int) {
	for _, t := range x.tables {
		starts = append(starts, size)
		size += len(t)
	}
	return starts, size
}

// slotsOf returns the slots of levels.
func (l *lookup) slotsOf(levels []int8, starts []int) (slots patternSlots) {
	for c := range slots {
		for f, level := range levels {
			if level != compare.Missing {
				slots[c] = append(slots[c], int32(starts[l.of(class(c), f, levels)]+int(level)))
			}
		}
	}
	return slots
}

// bind finds the slots of all patterns, once the tables are there.
func (x mixture) bind() mixture {
	starts, _ := x.offsets()
	x.slots = nil
	for i := range x.patterns {
		x.slots = append(x.slots, x.slotsOf(x.patterns[i].levels, starts))
	}
	return x
}

// expectation is what one pass over the patterns gives.
type expectation struct {
	counts [][]float64        // of each table and level, pseudo-counts not included
	totals [][classes]float64 // expected pairs of each class in each stratum
	// logPosterior is the log-likelihood plus the logarithm of the priors, up to a
	// constant.
	logPosterior, logLikelihood float64
}

func (x mixture) clone() mixture {
	y := mixture{structure: x.structure, shares: slices.Clone(x.shares)}
	for _, t := range x.tables {
		y.tables = append(y.tables, slices.Clone(t))
	}
	return y
}

// exists reports whether the class is part of the mixture.
func (x *structure) exists(c class) bool { return x.sharePrior.list()[c] > 0 }

// logs returns the logarithms of all tables in a flat list, and of the shares.
func (x mixture) logs() (logs []float64, logShares [][classes]float64) {
	for _, table := range x.tables {
		for _, p := range table {
			logs = append(logs, math.Log(p))
		}
	}
	for _, s := range x.shares {
		list := s.list()
		for c := range list {
			list[c] = math.Log(list[c])
		}
		logShares = append(logShares, list)
	}
	return logs, logShares
}

// expect returns the expected class of every pair, added up.
func (x mixture) expect() (e expectation) {
	logs, logShares := x.logs()
	counts := make([]float64, len(logs))
	e.totals = make([][classes]float64, len(x.shares))
	for i := range x.patterns {
		slots := &x.slots[i]
		likelihood := likelihoodsOf(slots, logs)
		var expected [classes]float64
		for s, n := range x.patterns[i].counts {
			if n == 0 {
				continue
			}
			member, logSum := membership(likelihood, logShares[s])
			e.logLikelihood += n * logSum
			for c, share := range member {
				expected[c] += n * share
				e.totals[s][c] += n * share
			}
		}
		for c := range slots {
			for _, slot := range slots[c] {
				counts[slot] += expected[c]
			}
		}
	}
	starts, _ := x.offsets()
	for t, table := range x.tables {
		e.counts = append(e.counts, counts[starts[t]:][:len(table)])
		if prior := x.prior[t]; prior != nil {
			for l, pseudo := range prior {
				e.logPosterior += pseudo * logs[starts[t]+l]
			}
		}
	}
	for _, s := range x.shares {
		e.logPosterior += x.shareLogPrior(s)
	}
	e.logPosterior += e.logLikelihood
	return e
}

// likelihoodsOf returns the log-likelihood of each class.
func likelihoodsOf(slots *patternSlots, logs []float64) (likelihood [classes]float64) {
	for c := range slots {
		for _, slot := range slots[c] {
			likelihood[c] += logs[slot]
		}
	}
	return likelihood
}

// membership returns the probability of each class given a pattern, and the
// logarithm of the probability of the pattern.
func membership(logLikelihood, logShares [classes]float64) (p [classes]float64, logSum float64) {
	highest := math.Inf(-1)
	for c := range p {
		p[c] = logShares[c] + logLikelihood[c]
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
	return p, highest + math.Log(sum)
}

func (x *structure) shareLogPrior(s Shares) (sum float64) {
	shares, pseudo, others := s.list(), x.sharePrior.list(), x.others.list()
	for c := range shares {
		if pseudo[c] > 0 {
			sum += pseudo[c]*math.Log(shares[c]) + others[c]*math.Log(shares[c]/(1-s.Matches))
		}
	}
	return sum
}

// maximise returns the parameters that an expectation makes most probable.
func (x mixture) maximise(e expectation) mixture {
	y := x.clone()
	for t, prior := range x.prior {
		if prior != nil {
			for l := range y.tables[t] {
				y.tables[t][l] = e.counts[t][l] + prior[l]
			}
			normalise(y.tables[t])
		}
	}
	for s, n := range e.totals {
		y.shares[s] = x.sharesOf(sharesFrom(n))
	}
	return y
}

// sharesOf scales expected pairs to shares, pseudo-pairs included.
func (x *structure) sharesOf(pairs Shares) Shares {
	pairs = pairs.plus(x.sharePrior)
	matches := pairs.Matches / pairs.sum()
	pairs.Matches = 0
	pairs = pairs.plus(x.others)
	rest := (1 - matches) / pairs.sum()
	return Shares{rest * pairs.Strangers, rest * pairs.Households, rest * pairs.Twins, matches}
}

// normalise scales p to sum 1, no level being ruled out for good.
func normalise(p []float64) {
	const least = 1e-12
	sum := 0.0
	for l := range p {
		sum += p[l]
	}
	if sum <= 0 {
		for l := range p {
			p[l] = 1 / float64(len(p))
		}
		return
	}
	rest := 0.0
	for l := range p {
		p[l] = math.Max(p[l]/sum, least)
		rest += p[l]
	}
	for l := range p {
		p[l] /= rest
	}
}
