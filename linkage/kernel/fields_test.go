package kernel

import (
	"encoding/binary"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func TestKnownCounts(t *testing.T) {
	shape := []int{8, 8, 2, 1}
	record := make([]uint64, 19)
	record[0], record[15], record[18] = 0b1011, 1<<63, ^uint64(0)
	rows := slices.Concat(record, make([]uint64, 19))
	for _, p := range Available() {
		counts := make([]uint32, 8)
		p.Fields(shape).EqualBits(counts, record, rows)
		if d := differ(counts, []uint32{512, 512, 128, 64, 509, 511, 128, 0}); d != "" {
			t.Errorf("equal bits, path %v: %s", p, d)
		}
		p.Fields(shape).CommonBits(counts, record, rows)
		if d := differ(counts, []uint32{3, 1, 0, 64, 0, 0, 0, 0}); d != "" {
			t.Errorf("common bits, path %v: %s", p, d)
		}
	}
}

// TestFieldsEveryLength tries every number of 512-bit fields and of rows up to
// a few groups of every kernel, where groups begin anywhere in a record.
func TestFieldsEveryLength(t *testing.T) {
	for fields := 1; fields <= 18; fields++ {
		if testing.Short() && fields != 1 && fields != 3 && fields != 5 && fields != 15 { // in an emulator
			continue
		}
		shape := slices.Repeat([]int{8}, fields)
		all, _ := similar(8*fields, 40, 0, 0, uint64(fields))
		all = extremes(8*fields, all)
		for _, p := range Available() {
			f := p.Fields(shape)
			for n := range 40 {
				if n > 12 && (n%5 != fields%5 || testing.Short()) {
					continue
				}
				if d := counted(f, shape, all[8*fields*n:8*fields*(n+1)], all[:8*fields*n]); d != "" {
					t.Fatal(d)
				}
			}
		}
	}
}

func TestFieldsAgreeWithSlowTwin(t *testing.T) {
	for _, p := range Available() {
		rapid.Check(t, func(t *rapid.T) {
			shape := rapid.SliceOfN(rapid.OneOf(rapid.Just(8), rapid.IntRange(1, 20)), 1, 7).Draw(t, "shape")
			if rapid.Bool().Draw(t, "whole") {
				shape = slices.Repeat([]int{8}, len(shape))
			}
			f := p.Fields(shape)
			n := rapid.IntRange(0, 25).Draw(t, "rows")
			if d := counted(f, shape, drawWords(t, "record", f.Words()), drawWords(t, "rows", n*f.Words())); d != "" {
				t.Fatal(d)
			}
		})
	}
}

// TestComparisonOfFieldsFindsFaults is the control: counts that are wrong in
// one place, or written where none belong, are found.
func TestComparisonOfFieldsFindsFaults(t *testing.T) {
	shape := []int{8, 8}
	all, _ := similar(16, 9, 0, 0, 1)
	f := Best().Fields(shape)
	if d := counted(f, shape, all[:16], all[16:]); d != "" {
		t.Fatal(d)
	}
	planted := slices.Clone(all)
	planted[16+8*16-1] ^= 1 << 63 // what a kernel that misses the last bit sees
	want := slowFields(shape, all[:16], all[16:], func(a, b bool) bool { return a == b })
	got := make([]uint32, len(want))
	f.EqualBits(got, all[:16], planted[16:])
	if differ(got, want) == "" {
		t.Error("a bit that was missed is not found")
	}
	if counted(&Fields{shape: []int{16}, words: 16, path: Portable}, shape, all[:16], all[16:]) == "" {
		t.Error("counts of other fields are not found")
	}
}

func TestFieldsRefuseOtherLengths(t *testing.T) {
	f := Best().Fields([]int{8, 8})
	for name, do := range map[string]func(){
		"record": func() { f.EqualBits(make([]uint32, 2), make([]uint64, 8), make([]uint64, 16)) },
		"rows":   func() { f.CommonBits(make([]uint32, 4), make([]uint64, 16), make([]uint64, 17)) },
		"counts": func() { f.EqualBits(make([]uint32, 3), make([]uint64, 16), make([]uint64, 32)) },
		"shape":  func() { Best().Fields([]int{8, 0}) },
	} {
		if !panics(do) {
			t.Errorf("%s of a wrong length is taken", name)
		}
	}
}

func panics(do func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	do()
	return false
}

func TestFieldsDoNotAllocate(t *testing.T) {
	f := Best().Fields(slices.Repeat([]int{8}, 5))
	record, rows, counts := make([]uint64, 40), make([]uint64, 40*30), make([]uint32, 150)
	if n := testing.AllocsPerRun(100, func() { f.EqualBits(counts, record, rows) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzFields(f *testing.F) {
	f.Add([]byte{8, 8, 8}, make([]byte, 24*8*3))
	f.Add([]byte{8, 1, 20}, []byte{255, 0, 255})
	f.Fuzz(func(t *testing.T, widths, data []byte) {
		var shape []int
		for _, w := range widths[:min(len(widths), 8)] {
			shape = append(shape, 1+int(w)%20)
		}
		if len(shape) == 0 {
			return
		}
		for _, p := range Available() {
			fields := p.Fields(shape)
			words := toWords(data, fields.Words())
			if d := counted(fields, shape, words[:fields.Words()], words[fields.Words():]); d != "" {
				t.Error(d)
			}
		}
	})
}

// toWords pads bytes to at least one whole record and takes 40 at most.
func toWords(data []byte, record int) []uint64 {
	data = data[:min(len(data), 40*8*record)]
	n := max(1, (len(data)+8*record-1)/(8*record)) * record
	data = append(slices.Clone(data), make([]byte, 8*n-len(data))...)
	words := make([]uint64, n)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(data[8*i:])
	}
	return words
}

func BenchmarkFields(b *testing.B) {
	for _, p := range Available() {
		for _, n := range []int{5, 30, 1500} {
			b.Run(p.String()+"-"+strconv.Itoa(n), func(b *testing.B) {
				f := p.Fields(slices.Repeat([]int{8}, 5))
				rows, record := similar(40, n, 1, 0, 1)
				counts := make([]uint32, 5*n)
				for b.Loop() {
					f.EqualBits(counts, record, rows)
				}
				b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds()/1e6, "Mpairs/s")
			})
		}
	}
}
