package disclosure_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

func TestRound(t *testing.T) {
	for n, want := range map[int64]int64{0: 0, 10: 10, 12: 10, 13: 15, 17: 15, 18: 20, 1002: 1000, 1003: 1005} {
		if got := disclosure.Round(n); got != want {
			t.Errorf("Round(%d) = %d, want %d", n, got, want)
		}
	}
	for n, hidden := range map[int64]bool{0: false, 1: true, 9: true, 10: false} {
		if (disclosure.Count(n) == nil) != hidden || disclosure.Small(n) != hidden {
			t.Errorf("%d: hidden must be %v", n, hidden)
		}
	}
}

func TestHide(t *testing.T) {
	for _, c := range []struct {
		name   string
		counts []int64
		want   []bool
	}{
		{"nothing small", []int64{100, 20, 0}, []bool{false, false, false}},
		{"one small takes the next smallest along", []int64{100, 4, 20}, []bool{false, true, true}},
		{"two small of ten in all suffice", []int64{100, 4, 6}, []bool{false, true, true}},
		{"two small of nine in all do not", []int64{100, 4, 5, 30}, []bool{false, true, true, true}},
		{"zero is no cover", []int64{100, 3, 0}, []bool{true, true, false}},
		{"the first of equals", []int64{20, 3, 20}, []bool{true, true, false}},
		{"nothing left to hide", []int64{3}, []bool{true}},
		{"empty", nil, []bool{}},
	} {
		got := disclosure.Hide(c.counts)
		for i := range c.want {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
				break
			}
		}
	}
}

// attack tries to learn a hidden small count from the total and the counts
// shown: it succeeds where only one is hidden, or what is hidden is below ten
// in all.
func attack(counts []int64, hidden []bool) bool {
	number, sum := 0, int64(0)
	for i, n := range counts {
		if hidden[i] {
			number++
			sum += n
		}
	}
	return number == 1 || number > 0 && sum < disclosure.Minimum
}

func TestSubtractionLearnsNothing(t *testing.T) {
	caught := 0
	rapid.Check(t, func(t *rapid.T) {
		counts := rapid.SliceOfN(rapid.Int64Range(0, 40), 2, 8).Draw(t, "counts")
		hidden := disclosure.Hide(counts)
		positive := 0
		primary := make([]bool, len(counts))
		for i, n := range counts {
			primary[i] = disclosure.Small(n)
			if primary[i] && !hidden[i] {
				t.Fatalf("%v: %d is shown", counts, n)
			}
			if n > 0 {
				positive++
			}
		}
		all := 0
		for i := range hidden {
			if hidden[i] {
				all++
			}
		}
		if all < positive && attack(counts, hidden) {
			t.Fatalf("%v hidden %v: a small count follows by subtraction", counts, hidden)
		}
		if attack(counts, primary) {
			caught++
		}
	})
	if caught == 0 {
		t.Error("control: hiding small counts alone must fall to the attack somewhere")
	}
}

// Wilson intervals of Newcombe, Stat Med 1998; 17: 857-872, table I, method 3.
func TestWilsonKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		k, n   int64
		lo, hi float64
	}{{81, 263, .2553, .3662}, {15, 148, .0624, .1605}, {0, 20, 0, .1611}, {1, 29, .0061, .1718}} {
		e := disclosure.Wilson(c.k, c.n)
		if math.Abs(e.Lo-c.lo) > 5e-5 || math.Abs(e.Hi-c.hi) > 5e-5 {
			t.Errorf("%d/%d: %.4f to %.4f, want %.4f to %.4f", c.k, c.n, e.Lo, e.Hi, c.lo, c.hi)
		}
	}
	if e := disclosure.Wilson(20, 20); e.Value != 1 || e.Hi != 1 || math.Abs(e.Lo-.8389) > 5e-5 {
		t.Errorf("20/20: %+v", e)
	}
}

func TestPool(t *testing.T) {
	cell := func(group string, rows int64, rate float64) result.EquityGroup {
		return result.EquityGroup{Group: group, Rows: &rows, LinkRate: &result.Estimate{Value: rate}}
	}
	d := &result.EquityDimension{Groups: []result.EquityGroup{cell("a", 100, .5), cell("a", 300, .9), cell("b", 200, .75), {Group: "c"}}}
	pooled := disclosure.Pool(d)
	if len(pooled) != 2 || pooled[0].Rate.Value != .8 || pooled[0].Rows != 400 || pooled[1].Rate.Value != .75 {
		t.Fatalf("%+v", pooled)
	}
	low, high, ok := disclosure.Ends(pooled)
	if !ok || low.Group != "b" || high.Group != "a" {
		t.Errorf("ends %v %v", low, high)
	}
	if _, _, ok := disclosure.Ends(pooled[:1]); ok {
		t.Error("one group has no gap")
	}
}
