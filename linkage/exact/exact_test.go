package exact

import (
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/cohort"
)

// TestEqualTokens: numbers are equal where tokens are, whatever the number of
// threads, and pairs are those of the nested loop.
func TestEqualTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var cohorts [][]cohort.Fold
		for range rapid.IntRange(1, 3).Draw(t, "cohorts") {
			cohorts = append(cohorts, rapid.SliceOfN(rapid.Custom(func(t *rapid.T) cohort.Fold {
				return cohort.Fold{rapid.Uint64Range(0, 3).Draw(t, "high"), rapid.Uint64Range(0, 3).Draw(t, "low")}
			}), 0, 30).Draw(t, "tokens"))
		}
		numbers, last, err := Number(t.Context(), cohorts, rapid.IntRange(1, 3).Draw(t, "threads"))
		if err != nil {
			t.Fatal(err)
		}
		for c, tokens := range cohorts {
			for d, others := range cohorts {
				want, got := map[[2]int32]bool{}, map[[2]int32]bool{}
				for i, x := range tokens {
					for j, y := range others {
						if numbers[c][i] < 0 || numbers[c][i] > last {
							t.Fatal("a number is out of range")
						}
						if (numbers[c][i] == 0) != (x == cohort.Fold{}) || x != (cohort.Fold{}) && (numbers[c][i] == numbers[d][j]) != (x == y) {
							t.Fatalf("tokens %v and %v have numbers %d and %d", x, y, numbers[c][i], numbers[d][j])
						}
						if x == y && x != (cohort.Fold{}) {
							want[[2]int32{int32(i), int32(j)}] = true
						}
					}
				}
				Pairs(numbers[c], numbers[d], last, func(l, r int32) { got[[2]int32{l, r}] = true })
				if len(got) != len(want) {
					t.Fatalf("%d pairs, want %d", len(got), len(want))
				}
				for p := range want {
					if !got[p] {
						t.Fatal("a pair is missing")
					}
				}
			}
		}
	})
}

func TestManyTokens(t *testing.T) {
	tokens := make([]cohort.Fold, 5*sliceTokens)
	for i := range tokens {
		tokens[i] = cohort.Fold{uint64(i/2 + 1), 7} // each twice, and far from random
	}
	numbers, _, err := Number(t.Context(), [][]cohort.Fold{tokens}, 2)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int32]int{}
	for i, n := range numbers[0] {
		if n == 0 || n != numbers[0][i^1] {
			t.Fatal("equal tokens have different numbers")
		}
		seen[n]++
	}
	if len(seen) != len(tokens)/2 {
		t.Errorf("%d numbers for %d tokens", len(seen), len(tokens)/2)
	}
}
