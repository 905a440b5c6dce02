package kernel

import (
	"math/bits"
	"slices"
)

// fieldWords is the width that has kernels of its own: the 512 bits of the
// presets' field filters.
const fieldWords = 8

// Fields compares records field by field. A record is its field filters laid
// end to end, without gaps, in the order of the shape it was made for. Fields
// is read-only: any number of goroutines may use one.
type Fields struct {
	shape []int
	words int
	path  Path
	whole bool // every field has fieldWords words
}

// Fields returns what compares records whose fields have the widths of shape,
// in words of 64 bits, each at least 1. It panics on other shapes, which come
// from a profile that was checked before.
func (p Path) Fields(shape []int) *Fields {
	f := &Fields{shape: slices.Clone(shape), path: p, whole: len(shape) > 0}
	for _, width := range shape {
		if width < 1 {
			panic("kernel: a field without words")
		}
		f.words += width
		f.whole = f.whole && width == fieldWords
	}
	return f
}

// Words returns the words of one record.
func (f *Fields) Words() int { return f.words }

// EqualBits compares record, of Words() words, with n rows that lie end to end
// (len(rows) is n*Words()). It sets counts[i*len(shape)+f] to the number of
// bits of field f that are equal in record and row i; len(counts) is at least
// n*len(shape). It allocates nothing.
func (f *Fields) EqualBits(counts []uint32, record, rows []uint64) {
	counts, ok := f.check(counts, record, rows)
	if !ok {
		return
	}
	if f.whole && wholeEqual(f.path, counts, record, rows) {
		return
	}
	for row := rows; len(row) > 0; row = row[f.words:] {
		at := 0
		for i, width := range f.shape {
			counts[i] = uint32(64*width - differentBits(record[at:at+width], row[at:at+width]))
			at += width
		}
		counts = counts[len(f.shape):]
	}
}

// CommonBits is EqualBits for the number of bits that are set in both.
func (f *Fields) CommonBits(counts []uint32, record, rows []uint64) {
	counts, ok := f.check(counts, record, rows)
	if !ok {
		return
	}
	if f.whole && wholeCommon(f.path, counts, record, rows) {
		return
	}
	for row := rows; len(row) > 0; row = row[f.words:] {
		at := 0
		for i, width := range f.shape {
			counts[i] = uint32(commonBits(record[at:at+width], row[at:at+width]))
			at += width
		}
		counts = counts[len(f.shape):]
	}
}

// check returns the counts that will be set, and whether there are any. It
// panics where lengths do not agree: beyond it no bound is checked.
func (f *Fields) check(counts []uint32, record, rows []uint64) ([]uint32, bool) {
	if len(rows) == 0 || f.words == 0 {
		return nil, false
	}
	n := len(rows) / f.words
	if n*f.words != len(rows) || len(record) != f.words {
		panic("kernel: record or rows do not have the length of the shape")
	}
	return counts[:n*len(f.shape)], true
}

func differentBits(a, b []uint64) (count int) {
	b = b[:len(a)]
	for len(a) >= 4 {
		x, y := (*[4]uint64)(a), (*[4]uint64)(b)
		count += bits.OnesCount64(x[0]^y[0]) + bits.OnesCount64(x[1]^y[1]) + bits.OnesCount64(x[2]^y[2]) + bits.OnesCount64(x[3]^y[3])
		a, b = a[4:], b[4:]
	}
	for i, word := range a {
		count += bits.OnesCount64(word ^ b[i])
	}
	return count
}

func commonBits(a, b []uint64) (count int) {
	b = b[:len(a)]
	for len(a) >= 4 {
		x, y := (*[4]uint64)(a), (*[4]uint64)(b)
		count += bits.OnesCount64(x[0]&y[0]) + bits.OnesCount64(x[1]&y[1]) + bits.OnesCount64(x[2]&y[2]) + bits.OnesCount64(x[3]&y[3])
		a, b = a[4:], b[4:]
	}
	for i, word := range a {
		count += bits.OnesCount64(word & b[i])
	}
	return count
}
