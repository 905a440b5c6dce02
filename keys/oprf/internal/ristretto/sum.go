package ristretto

import "encoding/binary"

// WeightSize is the length in bytes of a weight.
const WeightSize = 16

// Weight is a public number below 2^128, little-endian.
type Weight [WeightSize]byte

// window returns the bits of a weight from an offset on.
func (w *Weight) window(offset, width int) int {
	if offset >= 8*WeightSize {
		return 0 // the place of the last carry
	}
	low, high := binary.LittleEndian.Uint64(w[:]), binary.LittleEndian.Uint64(w[8:])
	if offset >= 64 {
		low, high = high, 0
		offset -= 64
	}
	return int((low>>offset | high<<1<<(63-offset)) & (1<<width - 1))
}

// VarTimeSum sets e to the sum of each element times its weight, by buckets (Pippenger,
// 1976). Elements and weights are public: it takes a time that depends on them.
func (e *Element) VarTimeSum(weights []Weight, elements []Element) *Element {
	if len(weights) != len(elements) {
		panic("ristretto: as many weights as elements are needed")
	}
	width := windowWidth(len(elements))
	points, scratch := make([]affine, len(elements)), make([]accumulator, len(elements))
	for i := range elements {
		scratch[i].set(&elements[i])
	}
	toAffine(scratch, points)
	buckets, used := make([]accumulator, 1<<(width-1)+1), make([]bool, 1<<(width-1)+1)
	digits := signedWindows(weights, width)
	sum := *Identity()
	for w := len(digits) - 1; w >= 0; w-- {
		for range width {
			sum.Add(&sum, &sum)
		}
		clear(used)
		for i, digit := range digits[w] {
			at := int(digit)
			if at < 0 {
				at = -at
			}
			if at == 0 {
				continue
			}
			if !used[at] {
				used[at] = true
				buckets[at].setIdentity()
			}
			if digit > 0 {
				buckets[at].add(&points[i])
			} else {
				buckets[at].subtract(&points[i])
			}
		}
		// The sum of each bucket times its number, by running sums from the last on.
		running, total := *Identity(), *Identity()
		var bucket Element
		for at := len(buckets) - 1; at > 0; at-- {
			if used[at] {
				buckets[at].into(&bucket)
				running.Add(&running, &bucket)
			}
			total.Add(&total, &running)
		}
		sum.Add(&sum, &total)
	}
	*e = sum
	return e
}

// signedWindows writes weights in base 2^width with digits from -2^(width-1) to
// 2^(width-1), by place and then by weight.
func signedWindows(weights []Weight, width int) [][]int16 {
	places := (8*WeightSize + width) / width // one more bit for the last carry
	digits := make([][]int16, places)
	all := make([]int16, places*len(weights))
	for p := range digits {
		digits[p] = all[p*len(weights) : (p+1)*len(weights)]
	}
	for i := range weights {
		carry := 0
		for p := range digits {
			digit := weights[i].window(p*width, width) + carry
			carry = 0
			if digit > 1<<(width-1) {
				digit -= 1 << width
				carry = 1
			}
			digits[p][i] = int16(digit)
		}
	}
	return digits
}

// windowWidth is the width of windows that makes the fewest additions: (128/w) times
// the number of elements and of buckets, of which an addition costs about twice.
func windowWidth(elements int) int {
	best, least := 2, 1<<62
	for width := 2; width <= 14; width++ {
		if cost := (8*WeightSize + width) / width * (elements + 3<<(width-1)); cost < least {
			best, least = width, cost
		}
	}
	return best
}
