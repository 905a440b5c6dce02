package block

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/cohort"
)

func drawTags(t *rapid.T, label string) cohort.TagValues {
	n := rapid.IntRange(0, 60).Draw(t, label+" rows")
	tags := cohort.TagValues{Value: make([]int64, n), Present: make([]bool, n)}
	for i := range n {
		if tags.Present[i] = rapid.IntRange(0, 5).Draw(t, "there") > 0; tags.Present[i] {
			tags.Value[i] = rapid.Int64Range(-4, 4).Draw(t, "tag")
		}
	}
	return tags
}

// TestCountsAreTheNestedLoop: pairs across and within, counted from runs, are
// those that comparing every record with every other finds.
func TestCountsAreTheNestedLoop(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawTags(t, "a"), drawTags(t, "b")
		var across, within int64
		for i, v := range a.Value {
			for j, w := range b.Value {
				if a.Present[i] && b.Present[j] && v == w {
					across++
				}
			}
			for j, w := range a.Value[:i] {
				if a.Present[i] && a.Present[j] && v == w {
					within++
				}
			}
		}
		if got := Pairs(Of(a), Of(b)); got != across {
			t.Fatalf("%d pairs across, want %d", got, across)
		}
		if got := Of(a).Within(); got != within {
			t.Fatalf("%d pairs within, want %d", got, within)
		}
	})
}

// TestPartsHoldEveryBlockOnce: parts follow one another without a gap, cut no
// block, and are of the size that was asked for.
func TestPartsHoldEveryBlockOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var runs []*Runs
		for range rapid.IntRange(1, 3).Draw(t, "cohorts") {
			runs = append(runs, Of(drawTags(t, "cohort")))
		}
		records := rapid.IntRange(1, 40).Draw(t, "records")
		parts := Parts(runs, records)
		at := make([]int32, len(runs))
		for i, p := range parts {
			if !slices.Equal(p.From, at) {
				t.Fatal("a gap between two parts")
			}
			size := 0
			for c := range runs {
				size += int(p.To[c] - p.From[c])
				if _, whole := slices.BinarySearch(runs[c].Start, p.To[c]); !whole {
					t.Fatal("a block is cut")
				}
				for k, key := range runs[c].Key {
					inside := runs[c].Start[k] >= p.From[c] && runs[c].Start[k] < p.To[c]
					if inside && (key > p.Last || i > 0 && key <= parts[i-1].Last) {
						t.Fatal("a key lies outside its part")
					}
				}
			}
			if size < records && i < len(parts)-1 {
				t.Fatalf("a part of %d records where %d are asked for", size, records)
			}
			at = p.To
		}
		for c, r := range runs {
			if int(at[c]) != r.Rows() {
				t.Fatalf("%d of %d records are in parts", at[c], r.Rows())
			}
		}
	})
}

func TestInOrder(t *testing.T) {
	ids := []cohort.ID{{1}, {2}, {0}}
	tags := &cohort.TagValues{Value: []int64{-1, -1, 0}, Present: []bool{true, true, false}}
	if !InOrder(tags, ids) || InOrder(nil, ids) {
		t.Error("the order is by tag, missing last, then by id")
	}
	tags.Present[0] = false
	if InOrder(tags, ids) {
		t.Error("a record without a tag comes last")
	}
}

func TestSampledShare(t *testing.T) {
	n := 0
	for i := range int64(100_000) {
		if Sampled(i*0x1234567890ABCDE, .2) {
			n++
		}
	}
	if n < 19_000 || n > 21_000 {
		t.Errorf("%d of 100,000 blocks are in a sample of a fifth", n)
	}
}
