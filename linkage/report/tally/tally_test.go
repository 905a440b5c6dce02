package tally_test

import (
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/report/tally"
	"tarn/linkage/result"
)

func seenOf(t *rapid.T) []tally.Seen {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) tally.Seen {
		s := tally.Seen{SourceDatasetL: "a", SourceDatasetR: "b", Pairs: rapid.Int64Range(0, 60).Draw(t, "pairs"), Prior: rapid.Float64Range(-12, -1).Draw(t, "prior"),
			Levels: rapid.SliceOfN(rapid.IntRange(-1, 3), 3, 3).Draw(t, "levels"), FieldWeights: rapid.SliceOfN(rapid.Float64Range(-8, 9), 3, 3).Draw(t, "weights")}
		s.Weight = s.Prior - rapid.Float64Range(0, 3).Draw(t, "relatives")
		for _, w := range s.FieldWeights {
			s.Weight += w
		}
		s.Probability = 1 / (1 + math.Exp2(-s.Weight))
		return s
	}), 0, 60).Draw(t, "seen")
}

// TestPatterns: no pattern of few pairs, each waterfall adds up to its weight,
// the order of the input does not matter.
func TestPatterns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := seenOf(t)
		got := tally.Patterns(slices.Values(seen))
		most := int64(0)
		for _, s := range seen {
			most = max(most, s.Pairs)
		}
		if len(got) > 32 || most >= disclosure.Minimum && len(got) == 0 {
			t.Fatalf("%d patterns of %d", len(got), len(seen))
		}
		found := false
		for i, p := range got {
			sum := p.Prior + p.Relatives
			for _, w := range p.FieldWeights {
				sum += w
			}
			if p.Pairs < disclosure.Minimum || p.Relatives > 0 || math.Abs(sum-p.MatchWeight) > 1e-9 || i > 0 && p.MatchWeight > got[i-1].MatchWeight {
				t.Fatalf("pattern %d: %+v", i, p)
			}
			found = found || p.Pairs == most
		}
		if most >= disclosure.Minimum && !found {
			t.Fatal("the most frequent pattern is not there")
		}
		shuffled := slices.Clone(seen)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again := tally.Patterns(slices.Values(shuffled))
		if !slices.EqualFunc(got, again, func(a, b result.Pattern) bool {
			return a.MatchWeight == b.MatchWeight && slices.Equal(a.Levels, b.Levels)
		}) {
			t.Fatal("another order, other patterns")
		}
	})
}

func TestPatternsCopyWhatIsReused(t *testing.T) {
	levels := []int{3}
	got := tally.Patterns(func(yield func(tally.Seen) bool) {
		if yield(tally.Seen{Levels: levels, FieldWeights: []float64{1}, Pairs: 20, Weight: 1}) {
			levels[0] = 0
			yield(tally.Seen{Levels: levels, FieldWeights: []float64{1}, Pairs: 30, Weight: -1})
		}
	})
	if len(got) != 2 || got[0].Levels[0] != 3 || got[1].Levels[0] != 0 {
		t.Errorf("%+v", got)
	}
}

func TestScores(t *testing.T) {
	got := tally.Scores(slices.Values([]tally.Seen{{Weight: 2.5, Probability: .8, Pairs: 10}, {Weight: -.5, Probability: .4, Pairs: 5}, {Weight: 2, Probability: .7, Pairs: 10}, {Weight: -1, Probability: .3, Pairs: 1}}))
	want := []result.ScoreBin{{MatchWeight: -1, Pairs: 6, Matches: 2.3}, {MatchWeight: 2, Pairs: 20, Matches: 15}}
	if !slices.EqualFunc(got, want, func(a, b result.ScoreBin) bool {
		return a.MatchWeight == b.MatchWeight && a.Pairs == b.Pairs && math.Abs(a.Matches-b.Matches) < 1e-9
	}) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestSimilarities(t *testing.T) {
	var seen iter.Seq2[float64, bool] = func(yield func(float64, bool) bool) {
		_ = yield(.85, true) && yield(.8599, false) && yield(1, true) && yield(.29, false)
	}
	want := []result.SimilarityBin{{Similarity: .29, Pairs: 1}, {Similarity: .85, Pairs: 2, Links: 1}, {Similarity: .99, Pairs: 1, Links: 1}}
	if got := tally.Similarities(seen); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestBlocksAndClusters(t *testing.T) {
	got := tally.Blocks(slices.Values([]int64{1, 2, 3, 4, 1023, 1024, math.MaxInt64 / 2}))
	want := []result.BlockBin{{PairsFrom: 1, Blocks: 1, Pairs: 1}, {PairsFrom: 2, Blocks: 2, Pairs: 5}, {PairsFrom: 4, Blocks: 1, Pairs: 4},
		{PairsFrom: 512, Blocks: 1, Pairs: 1023}, {PairsFrom: 1024, Blocks: 1, Pairs: 1024}, {PairsFrom: 1 << 61, Blocks: 1, Pairs: math.MaxInt64 / 2}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	sizes := tally.ClusterSizes(slices.Values([]int64{1, 2, 1, 3, 2, 1}))
	if !slices.Equal(sizes, []result.ClusterSizeBin{{Records: 1, Clusters: 3}, {Records: 2, Clusters: 2}, {Records: 3, Clusters: 1}}) {
		t.Errorf("%+v", sizes)
	}
}
