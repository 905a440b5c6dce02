package kernel

import (
	"testing"

	"pgregory.net/rapid"
)

// slow is the twin that every kernel must agree with: one bit at a time.
type slow struct{}

func bit(words []uint64, i int) uint64 { return words[i/64] >> (i % 64) & 1 }

func (slow) count(counts []uint32, filter, rows []uint64, counts1 func(a, b uint64) bool) {
	width := len(filter)
	for i := range len(rows) / width {
		row := rows[i*width : (i+1)*width]
		counts[i] = 0
		for j := range 64 * width {
			if counts1(bit(filter, j), bit(row, j)) {
				counts[i]++
			}
		}
	}
}

func (s slow) EqualBits(counts []uint32, filter, rows []uint64) {
	s.count(counts, filter, rows, func(a, b uint64) bool { return a == b })
}

func (s slow) CommonBits(counts []uint32, filter, rows []uint64) {
	s.count(counts, filter, rows, func(a, b uint64) bool { return a&b == 1 })
}

// words draws random words and the patterns that break population counts:
// none, all, one bit at either end, alternating.
func words(n int) *rapid.Generator[[]uint64] {
	return rapid.SliceOfN(rapid.OneOf(rapid.Uint64(),
		rapid.SampledFrom([]uint64{0, ^uint64(0), 1, 1 << 63, 0xAAAAAAAAAAAAAAAA, 0x5555555555555555})), n, n)
}

func TestAgreesWithSlowTwin(t *testing.T) {
	for _, k := range []Kernel{portable{}, New()} {
		rapid.Check(t, func(t *rapid.T) {
			width := rapid.IntRange(1, 20).Draw(t, "width")
			n := rapid.IntRange(0, 9).Draw(t, "rows")
			filter, rows := words(width).Draw(t, "filter"), words(width*n).Draw(t, "rows")
			got, want := make([]uint32, n), make([]uint32, n)
			for name, f := range map[string][2]func([]uint32, []uint64, []uint64){
				"equal": {k.EqualBits, slow{}.EqualBits}, "common": {k.CommonBits, slow{}.CommonBits},
			} {
				f[0](got, filter, rows)
				f[1](want, filter, rows)
				for i := range want {
					if got[i] != want[i] {
						t.Fatalf("%s bits, width %d, row %d: got %d, want %d", name, width, i, got[i], want[i])
					}
				}
			}
		})
	}
}

func BenchmarkEqualBits512(b *testing.B) {
	const n = 1024
	filter, rows, counts := make([]uint64, 8), make([]uint64, 8*n), make([]uint32, n)
	for i := range rows {
		rows[i] = uint64(i) * 0x9E3779B97F4A7C15
	}
	k := New()
	for b.Loop() {
		k.EqualBits(counts, filter, rows)
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds()/1e6, "Mpairs/s")
}
