// Package exact finds the records that carry the same token. It is exact up to
// the fold that [cohort.Fold] speaks of.
package exact

import (
	"context"
	"math/bits"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"tarn/linkage/cohort"
)

// sliceTokens is how many tokens are numbered at a time: a table of them stays
// near the processor.
const sliceTokens = 1 << 17

// Number numbers the tokens of several cohorts: records have the same number
// where they carry the same token, and 0 where they carry none. Numbers go up to
// last.
func Number(ctx context.Context, cohorts [][]cohort.Fold, threads int) (numbers [][]int32, last int32, err error) {
	total := 0
	for _, tokens := range cohorts {
		total += len(tokens)
		numbers = append(numbers, make([]int32, len(tokens)))
	}
	shift := 64 - bits.Len(uint(total/sliceTokens))
	parts := make([]*sliced, len(cohorts))
	for c, tokens := range cohorts {
		parts[c] = sliceOf(tokens, shift)
	}
	n := 1 << (64 - shift)
	base := make([]int32, n+1) // numbers given before a slice
	for s := range n {
		base[s+1] = base[s]
		for c := range cohorts {
			base[s+1] += int32(len(parts[c].rows(s)))
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int32
	for range max(threads, 1) {
		group.Go(func() error {
			var t table
			for {
				s := int(next.Add(1)) - 1
				if s >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				t.reset(int(base[s+1] - base[s]))
				for c, tokens := range cohorts {
					for _, row := range parts[c].rows(s) {
						numbers[c][row] = base[s] + t.number(tokens[row])
					}
				}
			}
		})
	}
	return numbers, base[n], group.Wait()
}

// mix spreads a token over all bits, for those that are not random.
func mix(t cohort.Fold) uint64 {
	high, low := bits.Mul64(t[0]^0x9E3779B97F4A7C15, t[1]^0xD6E8FEB86659FD93)
	return high ^ low ^ t[0]
}

// sliced is the rows of a cohort that have a token, by the leading bits of what
// mix makes of it.
type sliced struct {
	order []int32
	start []int32
}

func (s *sliced) rows(slice int) []int32 { return s.order[s.start[slice]:s.start[slice+1]] }

func sliceOf(tokens []cohort.Fold, shift int) *sliced {
	s := &sliced{start: make([]int32, 1<<(64-shift)+1)}
	for i := range tokens {
		if tokens[i] != (cohort.Fold{}) {
			s.start[mix(tokens[i])>>shift+1]++
		}
	}
	for i := range len(s.start) - 1 {
		s.start[i+1] += s.start[i]
	}
	s.order = make([]int32, s.start[len(s.start)-1])
	at := slices.Clone(s.start)
	for i := range tokens {
		if tokens[i] != (cohort.Fold{}) {
			slice := mix(tokens[i]) >> shift
			s.order[at[slice]] = int32(i)
			at[slice]++
		}
	}
	return s
}

// table numbers the tokens of one slice from 1, by linear probing.
type table struct {
	tokens  []cohort.Fold
	numbers []int32
	mask    uint64
	last    int32
}

func (t *table) reset(tokens int) {
	size := 1 << bits.Len(uint(2*tokens))
	if len(t.tokens) < size {
		t.tokens, t.numbers = make([]cohort.Fold, size), make([]int32, size)
	}
	clear(t.numbers)
	t.mask, t.last = uint64(len(t.tokens)-1), 0
}

func (t *table) number(token cohort.Fold) int32 {
	for at := mix(token) & t.mask; ; at = (at + 1) & t.mask {
		if t.numbers[at] == 0 {
			t.last++
			t.tokens[at], t.numbers[at] = token, t.last
		}
		if t.tokens[at] == token {
			return t.numbers[at]
		}
	}
}

// Pairs calls f with each pair of a left and a right record that carry the same
// token. last is that of [Number].
func Pairs(left, right []int32, last int32, f func(left, right int32)) {
	start := make([]int32, last+2)
	for _, number := range right {
		start[number+1]++
	}
	for i := range last + 1 {
		start[i+1] += start[i]
	}
	order, at := make([]int32, len(right)), slices.Clone(start)
	for row, number := range right {
		order[at[number]] = int32(row)
		at[number]++
	}
	for row, number := range left {
		if number == 0 {
			continue
		}
		for _, other := range order[start[number]:start[number+1]] {
			f(int32(row), other)
		}
	}
}
