package synth

import (
	"math/bits"
	"math/rand/v2"
	"sort"
)

// draw is a stream of random numbers that belongs to one thing: a person, a
// household, a record. Everything about that thing comes from its own stream,
// so that it can be made on any core, in any order, and always alike.
type draw struct{ source rand.PCG }

// Streams of the things that are drawn.
const (
	streamGroup uint64 = iota + 1
	streamHousehold
	streamPerson
	streamBirth
	streamRecord
	streamPostcode
	streamOrder
	streamSourceID
	streamNumber
)

func newDraw(seed, stream, index uint64) draw {
	var d draw
	d.source.Seed(mix(seed^mix(stream)), mix(index+0x9e3779b97f4a7c15*stream))
	return d
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below returns a number from 0 to n-1, every one equally likely.
func (d *draw) below(n int) int {
	for {
		hi, lo := bits.Mul64(d.source.Uint64(), uint64(n))
		if lo >= -uint64(n)%uint64(n) {
			return int(hi)
		}
	}
}

// share returns a number from 0 up to 1.
func (d *draw) share() float64 { return float64(d.source.Uint64()>>11) / (1 << 53) }

// chance is true with probability p.
func (d *draw) chance(p float64) bool { return d.share() < p }

// weighted is a list of things of unequal probability.
type weighted struct {
	texts      []string
	cumulative []float64
}

func (w *weighted) add(text string, weight float64) {
	total := weight
	if n := len(w.cumulative); n > 0 {
		total += w.cumulative[n-1]
	}
	w.texts, w.cumulative = append(w.texts, text), append(w.cumulative, total)
}

func (w *weighted) total() float64 {
	if len(w.cumulative) == 0 {
		return 0
	}
	return w.cumulative[len(w.cumulative)-1]
}

func (w *weighted) index(d *draw) int {
	x := d.share() * w.total()
	return min(sort.SearchFloat64s(w.cumulative, x), len(w.texts)-1)
}

func (w *weighted) pick(d *draw) string { return w.texts[w.index(d)] }

// permutation is a keyed order of the numbers below n: a four-round Feistel
// network over the next even number of bits, walked until it falls below n
// (Black and Rogaway, CT-RSA 2002). It needs no memory.
type permutation struct {
	n    uint64
	half uint
	keys [4]uint64
}

func newPermutation(n, seed, stream, index uint64) permutation {
	d := newDraw(seed, stream, index)
	p := permutation{n: n, half: max(uint(bits.Len64(n-1)+1)/2, 1)}
	for i := range p.keys {
		p.keys[i] = d.source.Uint64()
	}
	return p
}

func (p permutation) at(i uint64) uint64 {
	for {
		if i = p.once(i); i < p.n {
			return i
		}
	}
}

func (p permutation) once(i uint64) uint64 {
	mask := uint64(1)<<p.half - 1
	left, right := i>>p.half, i&mask
	for _, key := range p.keys {
		left, right = right, left^mix(right^key)&mask
	}
	return left<<p.half | right
}
