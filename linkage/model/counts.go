package model

import (
	"tarn/linkage/compare"
)

// Counts are the data of a fit: how often each pattern occurs.
type Counts struct {
	// Cross holds a histogram for each pair of cohorts: the pairs among which
	// matches are sought. To find the duplicates of one cohort it holds one, of
	// the pairs of its records.
	Cross []compare.Histogram
	// Within counts pairs of records of one side, all sides together, compared
	// under the same blocking as Cross: people who are not one another, but for
	// the duplicates that a side may have, which get a class of their own. It is
	// nil where there are no such pairs apart from those in Cross, as when one
	// cohort is searched for duplicates; u-probabilities are then fitted to Cross
	// together with the m-probabilities.
	Within compare.Histogram
	// Duplicates says that sides may hold several records of one person. How
	// these agree is then fitted too; else the few there are are taken to agree as
	// shipped, so that nothing else can pass for them.
	Duplicates bool
	// MostMatches is the largest number of matches that there can be among the
	// pairs of Cross, as where sides are de-duplicated: the sum over the pairs of
	// cohorts of the rows of the smaller. 0: not known.
	MostMatches float64
	// Records is the number of records whose pairs Cross counts, where Within is
	// nil. How many relatives there are among them is then taken from what is
	// known of people, since nothing in the data tells twins from one person whose
	// given name is recorded in two ways. 0: not known.
	Records float64
}

// What is known of people: three in two hundred have a twin (ONS, births in
// England and Wales: 1.5% of maternities), and half share a home and a name
// with somebody, in round numbers. A cohort that is a sample of the people has
// fewer of either kind of pair, in proportion.
const (
	twinPairs      = .0075 // pairs of twins for each record
	householdPairs = .5    // pairs of other people of one home and name for each record
)

// held is how many times as many pairs as there are speak for what is known of
// people, so that it holds.
const held = 10

// relatives returns what is known of the shares of relatives as pseudo-pairs:
// of twins by the number of records, or, where the share of households has been
// fitted, in proportion to it.
func (c *Counts) relatives(households float64) Shares {
	pairs := 0.0
	for _, h := range c.Cross {
		pairs += float64(h.Total())
	}
	if c.Records == 0 || pairs == 0 {
		return Shares{}
	}
	t := min(.1, twinPairs*c.Records/pairs)
	if households > 0 {
		t = min(t, households*twinPairs/householdPairs)
	}
	return Shares{Strangers: 1 - t - households, Households: households, Twins: t}.times(held * pairs)
}

// Priors are how many pairs the shipped probabilities count for.
type Priors struct {
	Matches   float64 // pseudo-matches at the shipped m-probabilities
	Strangers float64 // pseudo-pairs of different people at the shipped u-probabilities
	Relatives float64 // pseudo-pairs of relatives at their share within sides
	Token     float64 // pseudo-matches with two valid tokens at the shipped share of wrong ones
}

// DefaultPriors returns the weights that were found to serve 2,000 records a
// side with 5% overlap (F1 .992, .964 without) and to vanish where there are
// more. The share of wrong tokens is fitted like any other: at weights from 20
// to 2,000 the links were the same.
func DefaultPriors() Priors { return Priors{Matches: 500, Strangers: 2000, Relatives: 300, Token: 500} }

// pattern is one pattern that occurs, with its count in each stratum.
type pattern struct {
	levels []int8
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
		if counts == nil {
			continue
		}
		levels := make([]int8, len(scheme.Fields))
		for f := range levels {
			levels[f] = int8(scheme.Level(code, f))
		}
		patterns = append(patterns, pattern{levels, counts})
	}
	return patterns
}
