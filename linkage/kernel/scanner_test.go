package kernel

import (
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// thresholds are those at which something is special: pairs that hit them
// exactly (.5, .8), that anonlink loses (.75), that only equal filters reach,
// that every pair or none does.
var thresholds = []float64{-1, 0, 5e-324, 1e-9, .1, 1. / 3, .5, .6, .7, .75, .8, .85, .9, .95, 1 - 1e-16, 1, 1.1}

func TestKnownPairs(t *testing.T) {
	left := []uint64{0b1111, 0, 0b111}
	right := make([]uint64, 70)
	right[0], right[1], right[64], right[69] = 0b1111, 0b111, 0b11, 0b11111
	for _, p := range Available() {
		got, wrong := scanned(p.NewScanner(1, right, .8), left)
		want := []pair{
			{0, Match{0, 4, 1}}, {0, Match{1, 3, 6. / 7}}, {0, Match{69, 4, 8. / 9}},
			{2, Match{0, 3, 6. / 7}}, {2, Match{1, 3, 1}}, {2, Match{64, 2, .8}},
		}
		if d := differ(got, want); d != "" || wrong != "" {
			t.Errorf("path %v: %s %s", p, d, wrong)
		}
	}
}

// TestRuleIsAnonlinks holds the table of needs to the comparison of doubles for
// every pair of lengths.
func TestRuleIsAnonlinks(t *testing.T) {
	const size = 128
	for _, threshold := range thresholds {
		r := newRule(threshold, size)
		for a := range size + 1 {
			for b := range size + 1 {
				for common := range min(a, b) + 1 {
					if _, want := anonlinkScore(threshold, a, b, common); common >= r.need(a, b) != want {
						t.Fatalf("threshold %v, %d and %d bits, %d in common: the decision must be %v", threshold, a, b, common, want)
					}
				}
			}
		}
		for sum := 1; sum <= 2*size; sum++ {
			if rise := r.needs[sum] - r.needs[sum-1]; rise < 0 || rise > 1 {
				t.Fatalf("threshold %v: the need rises by %d at %d bits", threshold, rise, sum)
			}
		}
	}
}

// TestScannerEveryLength tries right sides around the ends of tiles, left sides
// around those of batches and every width that is often used.
func TestScannerEveryLength(t *testing.T) {
	some := []float64{0, .3, .6, .75, .85, 1}
	for _, c := range []struct{ words, left, right int }{
		{16, 1, 1}, {16, 3, fewRows}, {16, 3, fewRows + 1}, {16, 5, 63}, {16, 5, 64}, {16, 5, 65}, {16, 2, 255}, {16, 2, 256}, {16, 2, 257}, {16, 2, 511},
		{16, 2, 512}, {16, 2, 513}, {16, 0, 100}, {16, 100, 0}, {1, batchRows - 1, 40}, {1, batchRows, 40}, {1, batchRows + 1, 40}, {2, 65, 300}, {8, 9, 130}, {5, 9, 130}, {32, 3, 70}, {64, 3, 70}, {130, 2, 70}, {300, 2, 40},
	} {
		left, right := similar(c.words, c.left, c.right, 3*c.words, uint64(c.right))
		if testing.Short() { // in an emulator
			if some = []float64{.85}; c.words*c.left*c.right > 17000 {
				continue
			}
		}
		for _, threshold := range some {
			compareScans(t, c.words, left, right, threshold)
			compareScans(t, c.words, extremes(c.words, left), extremes(c.words, right), threshold)
		}
	}
}

func compareScans(t *testing.T, words int, left, right []uint64, threshold float64) {
	t.Helper()
	want := slowScan(words, left, right, threshold)
	for _, p := range Available() {
		got, wrong := scanned(p.NewScanner(words, right, threshold), left)
		if d := differ(got, want); d != "" || wrong != "" {
			t.Fatalf("%d words, %d left and %d right rows, threshold %v, path %v: %s %s", words, len(left)/words, len(right)/words, threshold, p, d, wrong)
		}
	}
}

func TestScannerAgreesWithSlowTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		words := rapid.SampledFrom([]int{1, 2, 3, 8, 16}).Draw(rt, "words")
		left, right := rapid.IntRange(0, 20).Draw(rt, "left"), rapid.IntRange(0, 600/words).Draw(rt, "right")
		threshold := rapid.OneOf(rapid.SampledFrom(thresholds), rapid.Float64Range(0, 1)).Draw(rt, "threshold")
		a, b := drawWords(rt, "left rows", left*words), drawWords(rt, "right rows", right*words)
		if rapid.Bool().Draw(rt, "similar") {
			a, b = similar(words, left, right, rapid.IntRange(0, 20*words).Draw(rt, "changed"), rapid.Uint64().Draw(rt, "seed"))
		}
		compareScans(t, words, a, b, threshold)
	})
}

// TestDeepCounters has filters so full that matches may lack more bits than the
// short counters hold, and more than the long ones do.
func TestDeepCounters(t *testing.T) {
	for _, words := range []int{16, 64, 100} {
		left, right := similar(words, 4, 80, 10*words, 9)
		for i := range left {
			left[i] |= mix(uint64(i))
		}
		for i := range right {
			right[i] |= mix(uint64(i) * 3)
		}
		if testing.Short() && words > 16 { // in an emulator
			continue
		}
		for _, threshold := range []float64{.2, .5, .7} {
			compareScans(t, words, left, right, threshold)
		}
	}
}

// TestComparisonOfScansFindsFaults is the control: a plane with one wrong bit,
// a counter that ends one too early, and a rule that is off by one are found.
func TestComparisonOfScansFindsFaults(t *testing.T) {
	left, right := similar(16, 40, 300, 40, 3)
	for i := range 40 {
		copy(right[(200+i)*16:], left[i*16:(i+1)*16])
		clearUntil(left[i*16:(i+1)*16], right[(200+i)*16:(201+i)*16], .85)
	}
	want := slowScan(16, left, right, .85)
	for _, p := range Available() {
		for name, spoil := range map[string]func(s *Scanner){
			"nothing": func(*Scanner) {},
			"planes": func(s *Scanner) {
				for i := range s.tiles.planes {
					s.tiles.planes[i] = ^uint64(0)
				}
			},
			"needs": func(s *Scanner) {
				for i := range s.rule.needs {
					s.rule.needs[i]++
				}
			},
			"order": func(s *Scanner) { slices.Reverse(s.tiles.order) },
		} {
			s := p.NewScanner(16, right, .85)
			spoil(s)
			got, _ := scanned(s, left)
			if found := differ(got, want) != ""; found != (name != "nothing") {
				t.Errorf("path %v, spoilt %s: found is %v", p, name, found)
			}
		}
	}
}

// clearUntil clears bits of a copy until one less would be too few.
func clearUntil(row, other []uint64, threshold float64) {
	a := commonBits(row, row)
	for i := range 64 * len(row) {
		before := other[i/64]
		other[i/64] &^= 1 << (i % 64)
		if b := commonBits(other, other); Dice(b, a, b) < threshold {
			other[i/64] = before
			return
		}
	}
}

// TestTilesSaveWork holds the scanner to its purpose: without it, verifying
// every pair would pass all other tests.
func TestTilesSaveWork(t *testing.T) {
	left, right := similar(16, 300, 2000, 20, 4)
	for _, p := range Available() {
		work := p.NewScanner(16, right, .85).Scan(left, func(int, []Match) {})
		if work.Pairs != 300*2000 || work.Verified > work.Pairs/100 || work.Planes == 0 || work.Lanes == 0 {
			t.Errorf("path %v: %+v", p, work)
		}
	}
}

func TestScannerRefusesOtherLengths(t *testing.T) {
	s := Best().NewScanner(16, make([]uint64, 32), .85)
	for name, do := range map[string]func(){
		"left":  func() { s.Scan(make([]uint64, 17), nil) },
		"right": func() { Best().NewScanner(16, make([]uint64, 17), .85) },
		"words": func() { Best().NewScanner(0, nil, .85) },
	} {
		if !panics(do) {
			t.Errorf("%s of a wrong length is taken", name)
		}
	}
}

func TestTranspose(t *testing.T) {
	var square, turned [64]uint64
	for i := range square {
		square[i] = mix(uint64(i))
		for j := range 64 {
			turned[j] |= square[i] >> j & 1 << i
		}
	}
	if transpose(&square); square != turned {
		t.Error("bits are not where they belong")
	}
}

func FuzzScanner(f *testing.F) {
	f.Add(uint8(1), .8, []byte{15, 7}, make([]byte, 8*40))
	f.Add(uint8(16), .85, []byte{1, 2, 3}, []byte{255})
	f.Fuzz(func(t *testing.T, width uint8, threshold float64, left, right []byte) {
		words := 1 + int(width)%20
		a, b := toWords(left, words), toWords(right, words)
		a = a[:min(len(a), 6*words)]      // the twin is slow
		for len(b) < (fewRows+10)*words { // or nothing would be laid out
			b = append(b, b[:words]...)
		}
		compareScans(t, words, a, b, threshold)
	})
}

func BenchmarkScan(b *testing.B) {
	left, right := similar(16, 1024, 8192, 20, 4)
	for _, p := range Available() {
		b.Run(p.String()+"-"+strconv.Itoa(8192), func(b *testing.B) {
			s := p.NewScanner(16, right, .85)
			for b.Loop() {
				s.Scan(left, func(int, []Match) {})
			}
			b.ReportMetric(float64(b.N)*1024*8192/b.Elapsed().Seconds()/1e6, "Mpairs/s")
		})
	}
}
