package kernel

import (
	"fmt"
	"math"
	"slices"

	"pgregory.net/rapid"
)

// The slow twins: one bit at a time, and the decision as anonlink writes it.

func bit(words []uint64, i int) bool { return words[i/64]>>(i%64)&1 == 1 }

// slowFields counts the bits of each field of each row on which both is true.
func slowFields(shape []int, record, rows []uint64, both func(a, b bool) bool) (counts []uint32) {
	for ; len(rows) > 0; rows = rows[len(record):] {
		at := 0
		for _, width := range shape {
			counts = append(counts, 0)
			for end := at + 64*width; at < end; at++ {
				if both(bit(record, at), bit(rows, at)) {
					counts[len(counts)-1]++
				}
			}
		}
	}
	return counts
}

// pair is a match of a left row.
type pair struct {
	left int
	Match
}

// slowScan compares all pairs.
func slowScan(words int, left, right []uint64, threshold float64) (pairs []pair) {
	count := func(row []uint64, other []uint64) (n int) {
		for i := range 64 * words {
			if bit(row, i) && bit(other, i) {
				n++
			}
		}
		return n
	}
	var countOther []int
	for j := range len(right) / words {
		countOther = append(countOther, count(right[j*words:], right[j*words:]))
	}
	for i := range len(left) / words {
		one := left[i*words : (i+1)*words]
		countOne := count(one, one)
		for j := range len(right) / words {
			common := count(one, right[j*words:])
			if score, ok := anonlinkScore(threshold, countOne, countOther[j], common); ok {
				pairs = append(pairs, pair{i, Match{uint32(j), uint32(common), score}})
			}
		}
	}
	return pairs
}

// anonlinkScore decides on a pair as anonlink 0.15.3 does in
// similarities/dice.cpp.
func anonlinkScore(threshold float64, countOne, countOther, common int) (score float64, ok bool) {
	if countOne == 0 {
		return 0, threshold <= 0
	}
	if threshold > 0 {
		longest := math.Trunc(float64(2*countOne) * (1/threshold - 1))
		if math.Abs(float64(countOne-countOther)) > longest {
			return 0, false
		}
	}
	score = float64(2*common) / float64(countOne+countOther)
	return score, score >= threshold
}

// scanned is what a scanner finds, and what is wrong with the order it tells
// it in.
func scanned(s *Scanner, left []uint64) (pairs []pair, wrong string) {
	last := -1
	s.Scan(left, func(row int, matches []Match) {
		if row <= last || len(matches) == 0 {
			wrong = fmt.Sprintf("row %d with %d matches after row %d", row, len(matches), last)
		}
		last = row
		for i, m := range matches {
			if i > 0 && m.Row <= matches[i-1].Row {
				wrong = fmt.Sprintf("right row %d after %d", m.Row, matches[i-1].Row)
			}
			pairs = append(pairs, pair{row, m})
		}
	})
	return pairs, wrong
}

// differ says how two slices of results differ; nothing if they do not.
func differ[T comparable](got, want []T) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("result %d is %v, want %v", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%d results, want %d", len(got), len(want))
	}
	return ""
}

// counted runs EqualBits and CommonBits of a shape and says how they differ
// from the twin, in counts or in what they write beyond them.
func counted(f *Fields, shape []int, record, rows []uint64) string {
	n := len(rows) / len(record)
	counts := make([]uint32, n*len(shape)+1)
	for name, run := range map[string]struct {
		count func([]uint32, []uint64, []uint64)
		both  func(a, b bool) bool
	}{
		"equal":  {f.EqualBits, func(a, b bool) bool { return a == b }},
		"common": {f.CommonBits, func(a, b bool) bool { return a && b }},
	} {
		for i := range counts {
			counts[i] = 0xDEADBEEF
		}
		run.count(counts, record, rows)
		want := append(slowFields(shape, record, rows, run.both), 0xDEADBEEF)
		if d := differ(counts, want); d != "" {
			return fmt.Sprintf("%s bits of %v in %d rows, path %v: %s", name, shape, n, f.path, d)
		}
	}
	return ""
}

// drawWords draws words of which many are those that break population counts:
// none, all, one bit at either end, alternating.
func drawWords(t *rapid.T, label string, n int) []uint64 {
	seeds := rapid.SliceOfN(rapid.OneOf(rapid.Uint64(),
		rapid.SampledFrom([]uint64{0, ^uint64(0), 1, 1 << 63, 0xAAAAAAAAAAAAAAAA, 0x5555555555555555})), 1, 40).Draw(t, label)
	whole := rapid.SampledFrom([]int{0, 1, 2, 8, 40, 64}).Draw(t, label+" repeats") // whole fields, rows or tiles of one pattern
	words := make([]uint64, n)
	for i := range words {
		words[i] = seeds[i%len(seeds)]
		if whole > 0 {
			words[i] = seeds[i/whole%len(seeds)]
		} else if i >= len(seeds) {
			words[i] = mix(words[i] + uint64(i))
		}
	}
	return words
}

// mix is a step of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// similar makes rows like people's: about a third of the bits set, and of the
// right rows every third one a left row with some bits changed.
func similar(words, left, right, changed int, seed uint64) (a, b []uint64) {
	a, b = make([]uint64, words*left), make([]uint64, words*right)
	for i := range a {
		a[i] = mix(seed+uint64(2*i)) & (mix(seed+uint64(2*i+1)) | mix(^seed+uint64(i))&mix(seed*3+uint64(i)))
	}
	for i := range b {
		b[i] = mix(seed*7+uint64(2*i)) & mix(seed*5+uint64(2*i+1))
	}
	for i := 0; i < right && left > 0; i += 3 {
		row := b[i*words : (i+1)*words]
		copy(row, a[i%left*words:])
		for c := range uint64(changed) {
			at := mix(seed+uint64(i)*1000+c) % uint64(64*words)
			row[at/64] ^= 1 << (at % 64)
		}
	}
	return a, b
}

// extremes puts empty, full and nearly empty rows among others.
func extremes(words int, rows []uint64) []uint64 {
	rows = slices.Clone(rows)
	for i := range len(rows) / words {
		row := rows[i*words : (i+1)*words]
		switch i % 11 {
		case 2:
			clear(row)
		case 4:
			for j := range row {
				row[j] = ^uint64(0)
			}
		case 6:
			clear(row)
			row[0] = 1
		case 8:
			clear(row)
			row[words-1] = 1 << 63
		case 10:
			for j := range row {
				row[j] = 0xAAAAAAAAAAAAAAAA
			}
		}
	}
	return rows
}
