// Package kernel compares one Bloom filter with many. It is the inner loop of
// linkage and knows nothing of fields, blocks or weights.
package kernel

import "math/bits"

// Kernel counts, for one filter against n rows of filters of the same width
// laid end to end, the bits on which they agree. All implementations give the
// same counts. Filters are little-endian words; len(rows) is n*len(filter) and
// len(counts) is at least n.
type Kernel interface {
	// EqualBits sets counts[i] to the number of bits that are equal in filter
	// and row i.
	EqualBits(counts []uint32, filter, rows []uint64)
	// CommonBits sets counts[i] to the number of bits that are set in both
	// filter and row i.
	CommonBits(counts []uint32, filter, rows []uint64)
}

// New returns the kernel for this machine.
func New() Kernel { return portable{} }

// portable counts word by word with the processor's population count, where
// the compiler knows one.
type portable struct{}

// fieldWords is the width of a field filter of the presets, 512 bits.
const fieldWords = 8

func (portable) EqualBits(counts []uint32, filter, rows []uint64) {
	if len(filter) == fieldWords {
		equalBits512(counts, (*[fieldWords]uint64)(filter), rows)
		return
	}
	width := len(filter)
	for i := 0; len(rows) >= width && width > 0; i++ {
		different := 0
		for w, word := range filter {
			different += bits.OnesCount64(word ^ rows[w])
		}
		counts[i] = uint32(64*width - different)
		rows = rows[width:]
	}
}

// equalBits512 is EqualBits for the common width, unrolled so that the counts
// of the words do not wait for each other.
func equalBits512(counts []uint32, filter *[fieldWords]uint64, rows []uint64) {
	n := len(rows) / fieldWords
	counts = counts[:n]
	for i := range counts {
		row := (*[fieldWords]uint64)(rows[i*fieldWords:])
		a := bits.OnesCount64(filter[0]^row[0]) + bits.OnesCount64(filter[1]^row[1])
		b := bits.OnesCount64(filter[2]^row[2]) + bits.OnesCount64(filter[3]^row[3])
		c := bits.OnesCount64(filter[4]^row[4]) + bits.OnesCount64(filter[5]^row[5])
		d := bits.OnesCount64(filter[6]^row[6]) + bits.OnesCount64(filter[7]^row[7])
		counts[i] = uint32(64*fieldWords - (a + b + c + d))
	}
}

func (portable) CommonBits(counts []uint32, filter, rows []uint64) {
	width := len(filter)
	for i := 0; len(rows) >= width && width > 0; i++ {
		common := 0
		for w, word := range filter {
			common += bits.OnesCount64(word & rows[w])
		}
		counts[i] = uint32(common)
		rows = rows[width:]
	}
}
