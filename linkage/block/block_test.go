package block

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/cohort"
)

func drawTags(t *rapid.T, label string, n int) cohort.TagValues {
	tags := cohort.TagValues{Value: make([]int64, n), Present: make([]bool, n)}
	for i := range n {
		tags.Present[i] = rapid.Bool().Draw(t, label)
		if tags.Present[i] {
			tags.Value[i] = rapid.SampledFrom([]int64{-1 << 63, -5, 0, 5, 1<<63 - 1}).Draw(t, label)
		}
	}
	return tags
}

func pairsOf(p *Plan) (pairs [][2]int32) {
	for _, pass := range p.Passes {
		for i := range pass.Blocks() {
			b := pass.Block(i)
			for _, l := range b.Left {
				for _, r := range b.Right {
					if !p.Within || l < r {
						pairs = append(pairs, [2]int32{l, r})
					}
				}
			}
		}
	}
	slices.SortFunc(pairs, func(a, b [2]int32) int { return slices.Compare(a[:], b[:]) })
	return pairs
}

func TestByTagsPairsExactlyEqualTags(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, m := rapid.IntRange(0, 12).Draw(t, "n"), rapid.IntRange(0, 12).Draw(t, "m")
		a, b := drawTags(t, "left", n), drawTags(t, "right", m)
		var want [][2]int32
		for i := range n {
			for j := range m {
				if a.Present[i] && b.Present[j] && a.Value[i] == b.Value[j] {
					want = append(want, [2]int32{int32(i), int32(j)})
				}
			}
		}
		plan := ByTags([]string{"dob"}, Side{n, []cohort.TagValues{a}}, Side{m, []cohort.TagValues{b}})
		if got := pairsOf(plan); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		if plan.Pairs() != int64(len(want)) {
			t.Fatalf("planned %d pairs of %d", plan.Pairs(), len(want))
		}
	})
}

func TestEverything(t *testing.T) {
	if got := pairsOf(Everything(Side{Rows: 2}, Side{Rows: 2})); len(got) != 4 {
		t.Errorf("got %v", got)
	}
	if p := Everything(Side{Rows: 0}, Side{Rows: 2}); p.Pairs() != 0 || len(pairsOf(p)) != 0 {
		t.Error("an empty side has no pairs")
	}
}

func TestWithinSampleNamesEachPairOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 30).Draw(t, "n")
		limit := rapid.Int64Range(1, 200).Draw(t, "limit")
		order := rapid.Permutation(numbers(n)).Draw(t, "order")
		seen := map[[2]int32]bool{}
		for _, p := range pairsOf(WithinSample(order, limit)) {
			key := [2]int32{min(p[0], p[1]), max(p[0], p[1])}
			if key[0] == key[1] || seen[key] {
				t.Fatalf("pair %v twice or with itself", p)
			}
			seen[key] = true
		}
		if n > 1 && int64(len(seen)) > max(limit, int64(n)) {
			t.Fatalf("%d pairs, more than the limit %d and the %d rows", len(seen), limit, n)
		}
	})
}
