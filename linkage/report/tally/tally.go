// Package tally adds up what a job found into the counts behind the report's
// pictures. It is arithmetic alone: what the counts are of is decided by who
// gives them. The same input in another order gives the same counts; sums of
// probabilities are the same to the last bit in the same order.
package tally

import (
	"cmp"
	"iter"
	"maps"
	"math"
	"slices"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

// Seen is one pattern of agreement between two data sets: how many compared
// pairs have it, and what the model makes of it. Levels and FieldWeights are
// by field, -1 and 0 where the field is missing. Weight and Prior are log2
// odds. The slices may be reused from one Seen to the next.
type Seen struct {
	SourceDatasetL, SourceDatasetR string

	Levels       []int
	Pairs        int64
	Weight       float64
	Probability  float64
	Prior        float64
	FieldWeights []float64
	Twin         *float64 // probability that the pair are two people of one household; nil where not known
}

// How many patterns of each kind are kept for waterfalls.
const (
	likely     = 12 // that most links have
	borderline = 12 // whose odds are nearest to even
	unlikely   = 8  // that most pairs have which are no matches
)

// Patterns returns the patterns worth a picture: the most frequent ones of
// matches and of others, and those nearest to even odds. A pattern that fewer
// than [disclosure.Minimum] pairs have is left out. They are ordered by falling
// match weight.
func Patterns(seen iter.Seq[Seen]) []result.Pattern {
	var all []result.Pattern
	for s := range seen {
		if s.Pairs >= disclosure.Minimum {
			all = append(all, patternOf(s))
		}
	}
	slices.SortFunc(all, byWeight)
	chosen := make([]bool, len(all))
	choose := func(n int, from func(*result.Pattern) bool, first func(a, b *result.Pattern) int) {
		var some []int
		for i := range all {
			if from(&all[i]) {
				some = append(some, i)
			}
		}
		slices.SortStableFunc(some, func(a, b int) int { return first(&all[a], &all[b]) })
		for _, i := range some[:min(n, len(some))] {
			chosen[i] = true
		}
	}
	frequent := func(a, b *result.Pattern) int { return cmp.Compare(b.Pairs, a.Pairs) }
	choose(likely, func(p *result.Pattern) bool { return p.Probability >= .5 }, frequent)
	choose(unlikely, func(p *result.Pattern) bool { return p.Probability < .5 }, frequent)
	choose(borderline, func(*result.Pattern) bool { return true }, func(a, b *result.Pattern) int {
		return cmp.Compare(math.Abs(a.MatchWeight), math.Abs(b.MatchWeight))
	})
	kept := []result.Pattern{}
	for i := range all {
		if chosen[i] {
			kept = append(kept, all[i])
		}
	}
	return kept
}

func patternOf(s Seen) result.Pattern {
	p := result.Pattern{SourceDatasetL: s.SourceDatasetL, SourceDatasetR: s.SourceDatasetR,
		Levels: slices.Clone(s.Levels), Pairs: s.Pairs, Prior: s.Prior, FieldWeights: slices.Clone(s.FieldWeights),
		MatchWeight: s.Weight, Probability: s.Probability, Relatives: s.Weight - s.Prior}
	for _, w := range s.FieldWeights {
		p.Relatives -= w
	}
	p.Relatives = min(p.Relatives, 0) // what is above 0 is rounding
	if s.Twin != nil {
		twin := *s.Twin
		p.Twin = &twin
	}
	return p
}

func byWeight(a, b result.Pattern) int {
	return cmp.Or(cmp.Compare(b.MatchWeight, a.MatchWeight), slices.Compare(b.Levels, a.Levels),
		cmp.Compare(a.SourceDatasetL, b.SourceDatasetL), cmp.Compare(a.SourceDatasetR, b.SourceDatasetR))
}

// Scores counts pairs by match weight, in rising order.
func Scores(seen iter.Seq[Seen]) []result.ScoreBin {
	bins := map[int]result.ScoreBin{}
	for s := range seen {
		at := int(math.Floor(s.Weight))
		b := bins[at]
		b.MatchWeight = at
		b.Pairs += s.Pairs
		b.Matches += float64(s.Pairs) * s.Probability
		bins[at] = b
	}
	return sorted(bins)
}

// Similarities counts pairs by Dice similarity, each in [0, 1], in rising order
// from the lowest that occurs; seen gives the similarity and whether the pair
// is a link.
func Similarities(seen iter.Seq2[float64, bool]) []result.SimilarityBin {
	bins := map[int]result.SimilarityBin{}
	for similarity, linked := range seen {
		at := min(int(similarity*100+1e-9), 99)
		b := bins[at]
		b.Similarity = float64(at) / 100
		b.Pairs++
		if linked {
			b.Links++
		}
		bins[at] = b
	}
	return sorted(bins)
}

// Blocks counts blocks by the number of pairs in them, each at least 1, in
// rising order.
func Blocks(pairs iter.Seq[int64]) []result.BlockBin {
	bins := map[int64]result.BlockBin{}
	for n := range pairs {
		from := int64(1)
		for from <= n/2 {
			from *= 2
		}
		b := bins[from]
		b.PairsFrom = from
		b.Blocks++
		b.Pairs += n
		bins[from] = b
	}
	return sorted(bins)
}

// ClusterSizes counts clusters by their number of records, in rising order.
func ClusterSizes(records iter.Seq[int64]) []result.ClusterSizeBin {
	bins := map[int64]result.ClusterSizeBin{}
	for n := range records {
		bins[n] = result.ClusterSizeBin{Records: n, Clusters: bins[n].Clusters + 1}
	}
	return sorted(bins)
}

func sorted[K cmp.Ordered, V any](bins map[K]V) []V {
	list := make([]V, 0, len(bins))
	for _, k := range slices.Sorted(maps.Keys(bins)) {
		list = append(list, bins[k])
	}
	return list
}
