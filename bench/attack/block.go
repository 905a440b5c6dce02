package attack

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/rand/v2"

	"tarn/keys/secret"
)

// streams of random numbers, one for each use, so that what is drawn for one does
// not change another.
func stream(seed uint64, use string, index int) *rand.Rand {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte(use+"/"), seed), uint64(index)))
	return rand.New(rand.NewChaCha8(sum))
}

// drawKey draws a key that nobody keeps.
func drawKey(seed uint64, use string, index int) (key [secret.Size]byte) {
	random := stream(seed, "key/"+use, index)
	for i := 0; i < len(key); i += 8 {
		binary.BigEndian.PutUint64(key[i:], random.Uint64())
	}
	return key
}

// likeness is what an attacker knows of the distances in a register of people: for
// each field how far the filters of two values lie from each other, on average
// over keys of his own.
type likeness struct {
	class    [][]int32 // of each field and person
	classes  []int     // of each field
	expected [][]float32
	spread   []distances
}

// allFields is what only is where no field is left out.
const allFields = -1

// trialKeys are the keys under which an attacker encodes a register to learn
// distances.
const trialKeys = 12

// profileRanks are the shares of all classes at which distances to the nearest are
// compared.
var profileRanks = []float64{0, .001, .002, .004, .008, .015, .03, .06, .12, .25, .5, .75, .9, .97, .99, .999}

// learnLikeness encodes the values of a register under keys of the attacker's own:
// of all fields, or of one. share is that of its people who are thought to be
// encoded.
func learnLikeness(ctx context.Context, s scheme, register []individual, share float64, seed uint64, only int) (*likeness, error) {
	l := &likeness{}
	public := s.fields()
	first := make([][]individual, len(public)) // of each class
	size := make([][]int, len(public))
	for f := range public {
		index, class := map[string]int32{}, make([]int32, len(register))
		for i := range register {
			value := register[i].values[f]
			if value == "" {
				class[i] = -1
				continue
			}
			c, ok := index[value]
			if !ok {
				c = int32(len(index))
				index[value] = c
				first[f], size[f] = append(first[f], register[i]), append(size[f], 0)
			}
			class[i] = c
			size[f][c]++
		}
		l.class, l.classes = append(l.class, class), append(l.classes, len(index))
		l.expected, l.spread = append(l.expected, nil), append(l.spread, distances{})
	}
	for f := range public {
		if public[f].bits == 0 || l.classes[f] == 0 || only >= 0 && f != only {
			continue
		}
		if err := l.learnField(ctx, s, f, first[f], size[f], share, seed); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *likeness) learnField(ctx context.Context, s scheme, f int, people []individual, size []int, share float64, seed uint64) error {
	n, bits := len(people), s.fields()[f].bits
	d := &l.spread[f]
	d.bits, d.ranks = bits, profileRanks
	expected := make([]float32, n*n)
	samples := make([][]uint16, trialKeys)
	profiles := make([][][]float32, trialKeys)
	for k := range trialKeys {
		e, err := s.encode(ctx, drawKey(seed, "trial", k), people)
		if err != nil {
			return err
		}
		if samples[k], err = distancesOf(ctx, &e.columns[f]); err != nil {
			return err
		}
		random, kept := stream(seed, "kept", k), make([]bool, n)
		for c := range kept {
			kept[c] = random.Float64() < 1-math.Pow(1-min(share, 1), float64(size[c]))
		}
		profiles[k] = make([][]float32, n)
		err = inParallel(ctx, n, func(from, to int) error {
			for a := from; a < to; a++ {
				profiles[k][a] = profileOf(samples[k][a*n:][:n], a, kept, bits, d.ranks)
				for b, x := range samples[k][a*n:][:n] {
					expected[a*n+b] += float32(x) / trialKeys
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	l.expected[f] = expected
	d.fit(samples, expected, n)
	d.fitProfiles(profiles, n)
	return nil
}

// binBits is the width of the expected distances that share a spread.
const binBits = 4

// fit finds how distances lie around the mean of those under other keys, and puts
// into expected, which are such means, what is to be expected where the mean is
// that. The two differ: of values that have nothing in common, which nearly all
// have, a mean that is low is so by chance. Each key in turn is held to the others.
func (d *distances) fit(samples [][]uint16, expected []float32, n int) {
	bins := d.bits/binBits + 1
	sums, squares, counts := make([]float64, bins), make([]float64, bins), make([]float64, bins)
	sum, square, pairs := 0.0, 0.0, 0.0
	const k = trialKeys
	for a := range n {
		for b := range a {
			total := float64(expected[a*n+b]) * k
			for _, sample := range samples {
				x := float64(sample[a*n+b])
				bin := int((total-x)/(k-1)) / binBits
				sums[bin], squares[bin], counts[bin] = sums[bin]+x, squares[bin]+x*x, counts[bin]+1
				sum, square, pairs = sum+x, square+x*x, pairs+1
			}
		}
	}
	d.mean, d.sd = float64(d.bits)/2, math.Sqrt(float64(d.bits))/2
	if pairs > 1 {
		d.mean = sum / pairs
		d.sd = max(math.Sqrt(max(square/pairs-d.mean*d.mean, 0)), 1)
	}
	// A bin of few pairs leans on its middle and on the spread of all.
	const lean = 20
	curve, around := make([]float64, bins), make([]float64, bins)
	for bin := range curve {
		middle := (float64(bin) + .5) * binBits
		curve[bin] = (sums[bin] + lean*middle) / (counts[bin] + lean)
		within := squares[bin] - 2*curve[bin]*sums[bin] + counts[bin]*curve[bin]*curve[bin]
		around[bin] = max(math.Sqrt((within+lean*d.sd*d.sd/4)/(counts[bin]+lean)), 1)
	}
	at := func(of []float64, mean float64) float64 { // between the middles of bins
		x := mean/binBits - .5
		low := max(min(int(math.Floor(x)), bins-2), 0)
		part := max(min(x-float64(low), 1), 0)
		return of[low]*(1-part) + of[low+1]*part
	}
	// How far distances lie around what is expected, by what is expected.
	d.around = make([]float64, d.bits+1)
	weights := make([]float64, d.bits+1)
	for i, mean := range expected {
		if i/n == i%n {
			continue
		}
		x, sd := at(curve, float64(mean)), at(around, float64(mean))
		expected[i] = float32(x)
		d.around[int(x+.5)] += sd
		weights[int(x+.5)]++
	}
	last := d.sd
	for x := len(weights) - 1; x >= 0; x-- {
		if weights[x] > 0 {
			last = d.around[x] / weights[x]
		}
		d.around[x] = last
	}
}

// fitProfiles finds what distances to the nearest are to be expected.
func (d *distances) fitProfiles(profiles [][][]float32, n int) {
	ranks := len(d.ranks)
	d.profileSD = make([]float32, ranks)
	squares := make([]float64, ranks)
	for a := range n {
		mean := make([]float32, ranks)
		for _, p := range profiles {
			for r, x := range p[a] {
				mean[r] += x / float32(len(profiles))
			}
		}
		for _, p := range profiles {
			for r, x := range p[a] {
				squares[r] += float64((x - mean[r]) * (x - mean[r]))
			}
		}
		d.profile = append(d.profile, mean)
	}
	for r := range squares {
		variance := squares[r] / float64(n*(len(profiles)-1)) * (1 + 1/float64(len(profiles)))
		d.profileSD[r] = float32(max(math.Sqrt(variance), 1))
	}
}

// distancesOf returns the distances between all filters of a column, in bits.
func distancesOf(ctx context.Context, c *column) ([]uint16, error) {
	n := len(c.missing)
	out := make([]uint16, n*n)
	// Rows j and n-1-j together are as much work for every worker.
	return out, inParallel(ctx, (n+1)/2, func(from, to int) error {
		for _, a := range pairedRange(from, to, n) {
			for b := range a {
				d := uint16(hamming(c.at(a), c.at(b)))
				out[a*n+b], out[b*n+a] = d, d
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
}

// classesOf numbers the different values of a column in the order of their first.
func classesOf(c *column) (class []int32, first []int) {
	index := map[string]int32{}
	for i := range c.missing {
		if c.missing[i] {
			class = append(class, -1)
			continue
		}
		number, ok := index[string(c.at(i))]
		if !ok {
			number = int32(len(index))
			index[string(c.at(i))] = number
			first = append(first, i)
		}
		class = append(class, number)
	}
	return class, first
}

// block is what an attacker sees of one date of birth, and knows.
type block struct {
	encoded  *encodings
	register []individual
	share    float64
	seeds    [][2]int
	prior    []float32
}

// newMatching puts the task of a block. With equality only, distances between
// filters are not looked at: what is left is what any linkable encoding gives away.
// only is the one field that is looked at, or allFields.
func newMatching(ctx context.Context, s scheme, b *block, l *likeness, equality bool, only int) (*matching, error) {
	p := &matching{n: b.encoded.n, m: len(b.register), share: b.share, seeds: b.seeds, prior: b.prior, rounds: matchRounds}
	for f, public := range s.fields() {
		if only >= 0 && f != only {
			continue
		}
		field := matchField{person: l.class[f], persons: l.classes[f]}
		c := &b.encoded.columns[f]
		var first []int
		field.encoding, first = classesOf(c)
		field.encodings = len(first)
		if public.bits > 0 && !equality && field.encodings > 0 && field.persons > 0 {
			some := column{width: c.width, missing: make([]bool, len(first))}
			for _, i := range first {
				some.data = append(some.data, c.at(i)...)
			}
			var err error
			if field.seen, err = distancesOf(ctx, &some); err != nil {
				return nil, err
			}
			field.expected, field.spread = l.expected[f], l.spread[f]
		}
		p.fields = append(p.fields, field)
	}
	return p, nil
}

// matchRounds suffice for beliefs to settle.
const matchRounds = 24
