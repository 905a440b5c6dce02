package compare

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/kernel"
)

var comparison = cohort.Comparison{Fields: []cohort.FieldComparison{
	{Name: "given_name", Column: "bf_given_name", Measure: cohort.MeasureEqualBits, Levels: []float64{.5, .75}, M: []float64{.1, .2, .3, .4}, U: []float64{.4, .3, .2, .1}, Twin: cohort.TwinDiffers},
	{Name: "record", Column: "bf_record", Measure: cohort.MeasureDice, Levels: []float64{.6}, M: []float64{.1, .4, .5}, U: []float64{.6, .3, .1}, Twin: cohort.TwinAgrees},
	{Name: "sex", Column: "tag_sex", Measure: cohort.MeasureEqual, M: []float64{.1, .9}, U: []float64{.5, .5}, Twin: cohort.TwinDiffers},
}}

// draw draws a cohort of n rows with values of few kinds, so that they meet.
func draw(t *rapid.T, label string, n int) *cohort.Cohort {
	seed := rapid.Uint64().Draw(t, label)
	next := func(below int) int { // a table of hundreds of rows would take rapid too long
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed >> 33 % uint64(below))
	}
	tags := func(kinds int) cohort.TagValues {
		v := cohort.TagValues{Value: make([]int64, n), Present: make([]bool, n)}
		for i := range n {
			if v.Present[i] = next(6) > 0; v.Present[i] {
				v.Value[i] = int64(next(kinds))
			}
		}
		return v
	}
	filters := func(words int) cohort.FilterValues {
		v := cohort.FilterValues{WordsPerRow: words, Words: make([]uint64, n*words), Present: make([]bool, n)}
		for i := range n {
			if v.Present[i] = next(6) > 0; v.Present[i] {
				for w := range words {
					v.Words[i*words+w] = []uint64{0, 0xff, 0x0f0f, ^uint64(0), 0xffff0000ffff0000}[next(5)]
				}
			}
		}
		return v
	}
	c := &cohort.Cohort{UniqueID: make([]string, n), Token: make([][cohort.TokenBytes]byte, n), HasToken: make([]bool, n),
		Layout: cohort.Layout{Blocks: []string{"blk_dob", "blk_other"}, Filters: []cohort.FilterColumn{{Name: "bf_given_name", Bytes: 16}, {Name: "bf_record", Bytes: 64}}, Tags: []string{"tag_sex"}},
		Blocks: []cohort.TagValues{tags(3), tags(4)}, Filters: []cohort.FilterValues{filters(2), filters(8)}, Tags: []cohort.TagValues{tags(2)}}
	for i := range n {
		c.UniqueID[i] = fmt.Sprint(i)
		if c.HasToken[i] = next(4) > 0; c.HasToken[i] {
			c.Token[i][cohort.TokenBytes-1] = byte(next(3)) // told apart by its last byte alone
			c.Token[i][0] = byte(next(2))
		}
	}
	return c
}

// slowPattern compares two records field by field, as the specification says.
func slowPattern(s *Scheme, a, b *cohort.Cohort, l, r int, tokens bool) uint32 {
	levels := []int{Missing, Missing, Missing, Missing}
	if x, y := &a.Filters[0], &b.Filters[0]; x.Present[l] && y.Present[r] {
		equal := 0
		for w, word := range x.Row(l) {
			equal += 64 - bits.OnesCount64(word^y.Row(r)[w])
		}
		share := float64(equal) / 128
		levels[0] = map[bool]int{true: 1}[share >= .5] + map[bool]int{true: 1}[share >= .75] + map[bool]int{true: 1}[share == 1]
	}
	if x, y := &a.Filters[1], &b.Filters[1]; x.Present[l] && y.Present[r] {
		common, set := 0, 0
		for w, word := range x.Row(l) {
			common += bits.OnesCount64(word & y.Row(r)[w])
			set += bits.OnesCount64(word) + bits.OnesCount64(y.Row(r)[w])
		}
		levels[1] = map[bool]int{true: 1}[set > 0 && 2*float64(common)/float64(set) >= .6]
		if slices.Equal(x.Row(l), y.Row(r)) {
			levels[1] = 2
		}
	}
	if x, y := &a.Tags[0], &b.Tags[0]; x.Present[l] && y.Present[r] {
		levels[2] = map[bool]int{true: 1}[x.Value[l] == y.Value[r]]
	}
	if tokens && a.HasToken[l] && b.HasToken[r] {
		levels[3] = map[bool]int{true: TokenEqual, false: TokenDifferent}[a.Token[l] == b.Token[r]]
	}
	return s.Code(levels)
}

// visits gathers every pair that is visited.
type visits struct {
	mu    sync.Mutex
	codes map[[2]int32][]uint32
}

func (v *visits) Visit(_ int, left int32, right []int32, codes []uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, r := range right {
		if codes[i] != Skip {
			v.codes[[2]int32{left, r}] = append(v.codes[[2]int32{left, r}], codes[i])
		}
	}
}

// TestRunIsTheNestedLoop: every pair that shares a tag is visited once, no
// other, with the pattern that comparing field by field gives; whatever the
// number of workers, within one cohort and across two, by tags and without.
func TestRunIsTheNestedLoop(t *testing.T) {
	scheme, err := NewScheme(comparison)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 1, 7, 20, tileRows + 3}) // the last does not fit a tile
		left := draw(t, "left", min(size.Draw(t, "rows left"), 40))
		right := draw(t, "right", size.Draw(t, "rows right"))
		within, tags, tokens := rapid.Bool().Draw(t, "within"), rapid.Bool().Draw(t, "tags"), rapid.Bool().Draw(t, "tokens")
		if within {
			right = left
		}
		names := []string{"dob", "other"}
		sideOf := func(c *cohort.Cohort) block.Side { return block.Side{Rows: c.Rows(), Tags: c.Blocks} }
		plan := block.Everything(sideOf(left), sideOf(right))
		switch {
		case within:
			plan, tags = block.WithinByTags(names, sideOf(left)), true
		case tags:
			plan = block.ByTags(names, sideOf(left), sideOf(right))
		}
		job := &Job{Scheme: scheme, Plan: plan, Left: left, Right: right, Tokens: tokens, Kernel: kernel.New(), Threads: rapid.IntRange(1, 3).Draw(t, "threads")}

		want, histogram := map[[2]int32][]uint32{}, make(Histogram, scheme.Patterns())
		for l := range left.Rows() {
			for r := range right.Rows() {
				meet := !tags
				for k := range names {
					x, y := &left.Blocks[k], &right.Blocks[k]
					meet = meet || x.Present[l] && y.Present[r] && x.Value[l] == y.Value[r]
				}
				if meet && (!within || l < r) {
					code := slowPattern(scheme, left, right, l, r, tokens)
					want[[2]int32{int32(l), int32(r)}] = []uint32{code}
					histogram[code]++
				}
			}
		}
		got := &visits{codes: map[[2]int32][]uint32{}}
		if err := job.Run(t.Context(), func(int) Visitor { return got }); err != nil {
			t.Fatal(err)
		}
		if !maps.EqualFunc(got.codes, want, slices.Equal) {
			t.Fatalf("%d pairs visited, %d wanted, or patterns differ", len(got.codes), len(want))
		}
		counted, err := job.Count(t.Context())
		if err != nil || !slices.Equal(counted, histogram) {
			t.Fatalf("patterns are counted wrongly (%v)", err)
		}
	})
}
