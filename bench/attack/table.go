package attack

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/bits"
	"slices"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise/encode"
)

// This file attacks the diffusion table. Output bits that share an input bit
// correlate, by little: with enough records that were diffused by one table, all
// pairs of output bits that share one stand out, the outputs of one input bit are
// t that all pairwise do, and with them the table is known and diffusion undone.
// It needs neither a key nor a known pair.

// bitRows holds filters bit by bit: row j has bit j of each filter.
type bitRows struct {
	bits, n int
	rows    [][]uint64
	seen    map[uint64]bool // filters that are there already
}

func newBitRows(bits int) *bitRows {
	return &bitRows{bits: bits, rows: make([][]uint64, bits), seen: map[uint64]bool{}}
}

// add adds filters. Each is taken once: those that come again say nothing new, and
// frequent names would drown what is looked for.
func (r *bitRows) add(c *column) {
	for i := range c.missing {
		if c.missing[i] {
			continue
		}
		filter := c.at(i)
		h := fnv.New64a()
		_, _ = h.Write(filter) // it never fails
		if r.seen[h.Sum64()] {
			continue
		}
		r.seen[h.Sum64()] = true
		if r.n%64 == 0 {
			for j := range r.rows {
				r.rows[j] = append(r.rows[j], 0)
			}
		}
		for j := range r.rows {
			r.rows[j][r.n/64] |= uint64(filter[j>>3]>>(j&7)&1) << (r.n % 64)
		}
		r.n++
	}
}

// correlations returns by how many standard errors each pair of output bits agrees
// more often than the two would by themselves, and than pairs usually do: bits by
// bits.
func (r *bitRows) correlations(ctx context.Context) ([]float32, error) {
	L := r.bits
	z := make([]float32, L*L)
	if r.n < 2 {
		return z, nil
	}
	lean := make([]float64, L) // of a bit: share of 0 less share of 1
	for j, row := range r.rows {
		ones := 0
		for _, w := range row {
			ones += bits.OnesCount64(w)
		}
		lean[j] = 1 - 2*float64(ones)/float64(r.n)
	}
	// Bit j has j pairs with bits below it; bits j and L-1-j together are as much
	// work for every worker.
	err := inParallel(ctx, (L+1)/2, func(from, to int) error {
		for _, j := range pairedRange(from, to, L) {
			for k := range j {
				differ := 0
				other := r.rows[k]
				for i, w := range r.rows[j] {
					differ += bits.OnesCount64(w ^ other[i])
				}
				x := (1 - 2*float64(differ)/float64(r.n) - lean[j]*lean[k]) * math.Sqrt(float64(r.n))
				// Filters are emptier than half full, so that sums of their bits lean to
				// 0; a bit that leans to 1 is padded.
				z[j*L+k] = float32(math.Copysign(x, x*lean[j]*lean[k]))
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for j := range L {
		for k := range j {
			z[k*L+j] = z[j*L+k]
		}
	}
	// What a bit has with all others comes of the number of bits set, not of a
	// shared input.
	mean, all := make([]float64, L), 0.0
	for j := range mean {
		for k := range L {
			mean[j] += float64(z[j*L+k]) / float64(L-1)
		}
		all += mean[j] / float64(L)
	}
	for j := range L {
		for k := range L {
			if j != k {
				z[j*L+k] -= float32(mean[j] + mean[k] - all)
			}
		}
	}
	return z, nil
}

// pairedRange is the numbers from from up to to, and those as far from the end of
// L, each once.
func pairedRange(from, to, L int) (numbers []int) {
	for j := from; j < to; j++ {
		numbers = append(numbers, j)
		if other := L - 1 - j; other != j {
			numbers = append(numbers, other)
		}
	}
	return numbers
}

// firstPairs are the standard errors, pass by pass, from which a pair of output bits
// begins a search.
var firstPairs = []float32{4.5, 3.5, 2.5}

// aboveChance is by how much a set must correlate more than the best of all sets
// would by chance.
const aboveChance = 1.2

// columnsOf finds the outputs of each input bit: sets of t output bits that
// pairwise correlate, rising. What a set explains is taken off the correlations of
// its pairs, since two outputs may share two inputs. z is changed.
func columnsOf(ctx context.Context, z []float32, L, t int) (columns [][]int, err error) {
	among := float64(t * (t - 1) / 2)
	sets := 0.0 // the logarithm of how many there are
	for i := range t {
		sets += math.Log(float64(L-i) / float64(i+1))
	}
	least := aboveChance * math.Sqrt(2*sets/among)
	most := usualPair(z, L, t)
	times := make([]int, L)
	for _, first := range firstPairs {
		type pair struct {
			j, k int
			z    float32
		}
		var pairs []pair
		for j := range L {
			for k := j + 1; k < L; k++ {
				if z[j*L+k] >= first {
					pairs = append(pairs, pair{j, k, z[j*L+k]})
				}
			}
		}
		slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.z, a.z) })
		for _, p := range pairs {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if z[p.j*L+p.k] < first || times[p.j] == t || times[p.k] == t {
				continue
			}
			set, mean := growSet(z, most, L, t, times, []int{p.j, p.k})
			if len(set) < t || mean < least {
				continue
			}
			for _, a := range set {
				times[a]++
				for _, b := range set {
					z[a*L+b] -= float32(mean)
				}
			}
			slices.Sort(set)
			columns = append(columns, set)
		}
	}
	return columns, nil
}

// usualPair returns what two outputs that share one input usually correlate, as far
// as there are as many pairs as there are to be: the median of so many.
func usualPair(z []float32, L, t int) float32 {
	var all []float32
	for j := range L {
		all = append(all, z[j*L+j+1:(j+1)*L]...)
	}
	slices.Sort(all)
	return all[max(len(all)-L*t*(t-1)/4, 0)]
}

// growSet adds to a pair the outputs that correlate most with all of a set, then
// replaces members while that makes it better, and returns the mean correlation of
// its pairs. A pair counts for no more than most: two outputs that share two inputs
// are no better members of either's outputs.
func growSet(z []float32, most float32, L, t int, times []int, set []int) ([]int, float64) {
	with := make([]float32, L) // with all members
	add := func(a int, sign float32) {
		for c, x := range z[a*L:][:L] {
			with[c] += sign * min(x, most)
		}
	}
	for _, a := range set {
		add(a, 1)
	}
	best := func(without int) int {
		at, highest := -1, float32(math.Inf(-1))
		for c := range with {
			if times[c] == t || slices.Contains(set, c) {
				continue
			}
			x := with[c]
			if without >= 0 {
				x -= min(z[without*L+c], most)
			}
			if x > highest {
				at, highest = c, x
			}
		}
		return at
	}
	for len(set) < t {
		c := best(-1)
		if c < 0 {
			return set, 0
		}
		set = append(set, c)
		add(c, 1)
	}
	for range t { // enough to settle
		changed := false
		for i, a := range set {
			c := best(a)
			if c < 0 || with[c]-min(z[a*L+c], most) <= with[a]-min(z[a*L+a], most) {
				continue
			}
			add(c, 1)
			add(a, -1)
			set[i], changed = c, true
		}
		if !changed {
			break
		}
	}
	sum := 0.0
	for i, a := range set {
		for _, b := range set[:i] {
			sum += float64(min(z[a*L+b], most))
		}
	}
	return set, sum / float64(t*(t-1)/2)
}

// table is a diffusion table: of each output bit, the input bits that it is the
// sum of.
type table [][]uint16

// rightColumns returns how many of the columns are an input's of the table.
func (t table) rightColumns(columns [][]int) (right int) {
	outputs := make([][]int, len(t))
	for j, row := range t {
		for _, p := range row {
			outputs[p] = append(outputs[p], j) // rising
		}
	}
	for _, c := range columns {
		if slices.ContainsFunc(outputs, func(o []int) bool { return slices.Equal(o, c) }) {
			right++
		}
	}
	return right
}

// recordKey derives K_rec of a date ("" for a project's K_p), as docs/encoding.md
// has it: the auditor knows the key and checks what was recovered with it, and
// makes the variant that must fall.
func recordKey(p *encode.Profile, key [secret.Size]byte, date string) []byte {
	digest := p.Digest()
	k := mac(key[:], keys.LP(keys.Text("tarn/encoding/v1"), keys.Text(project), keys.U32(1), digest[:]))
	if date == "" {
		return k
	}
	return mac(k, keys.LP(keys.Text("record-key"), keys.Text("dob"), keys.Text(date)))
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

// drawTable draws the table of a record key and a field of so many bits, row by
// row, word for word as docs/encoding.md says.
func drawTable(record []byte, field string, L, t int) (table, error) {
	stream, err := keystream(mac(record, keys.LP(keys.Text("diffusion"), keys.Text(field))))
	if err != nil {
		return nil, err
	}
	next := func() int {
		var b [2]byte
		stream.XORKeyStream(b[:], b[:])
		return int(binary.LittleEndian.Uint16(b[:]))
	}
	uniform := func(n int) int {
		for {
			if v := next(); v < 1<<16-(1<<16)%n {
				return v % n
			}
		}
	}
	var pool []uint16
	n := 0
	rows := make(table, L)
	for j := range rows {
		for len(rows[j]) < t {
			if n == 0 {
				pool = pool[:0]
				for p := range L {
					pool = append(pool, uint16(p))
				}
				n = L
			}
			r := uniform(n)
			if slices.Contains(rows[j], pool[r]) {
				continue
			}
			rows[j] = append(rows[j], pool[r])
			n--
			pool[r], pool[n] = pool[n], pool[r]
		}
	}
	return rows, nil
}

func drawPad(record []byte, field string, L int) ([]byte, error) {
	stream, err := keystream(mac(record, keys.LP(keys.Text("pad"), keys.Text(field))))
	if err != nil {
		return nil, err
	}
	pad := make([]byte, L/8)
	stream.XORKeyStream(pad, pad)
	return pad, nil
}

func keystream(key []byte) (cipher.Stream, error) {
	c, err := aes.NewCipher(key)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "setting up AES-256", err, "")
	}
	return cipher.NewCTR(c, make([]byte, c.BlockSize())), nil
}

// diffuse replaces a filter by its diffused form.
func (t table) diffuse(filter, pad []byte) {
	out := make([]byte, len(filter))
	for j, row := range t {
		bit := byte(0)
		for _, p := range row {
			bit ^= filter[p>>3] >> (p & 7)
		}
		out[j>>3] |= bit & 1 << (j & 7)
	}
	for i := range pad {
		out[i] ^= pad[i]
	}
	copy(filter, out)
}

// oneTable is the profile with one table and one pad of each field for all
// records: what docs/encoding.md warns of, which the attack must break. It is made
// here of the product's filters without diffusion, so that the product's encoder
// has no switch for it.
type oneTable struct {
	*profileScheme
	inputs int
}

// newOneTable returns the variant of a profile; its tables have usualInputs where
// the profile has no diffusion.
func newOneTable(p *encode.Profile) (*oneTable, error) {
	plain := *p
	plain.Encoding.Diffusion, plain.Encoding.Pad = 0, false
	v := &oneTable{profileScheme: newProfileScheme(&plain), inputs: p.Encoding.Diffusion}
	if v.inputs < 2 {
		v.inputs = usualInputs
	}
	v.spread = func(key [secret.Size]byte, f int) (func([]byte), error) {
		table, pad, err := v.tableOf(key, "", f)
		return func(filter []byte) { table.diffuse(filter, pad) }, err
	}
	for f := range v.public {
		if v.public[f].bits > 0 {
			v.public[f].inputs = v.inputs
		}
	}
	return v, nil
}

// usualInputs is t of the default profile.
const usualInputs = 6

// tableOf returns table and pad of a field, of a date ("" for all).
func (v *oneTable) tableOf(key [secret.Size]byte, date string, f int) (table, []byte, error) {
	record := recordKey(v.profile, key, date)
	t, err := drawTable(record, v.public[f].name, v.public[f].bits, v.inputs)
	if err != nil {
		return nil, nil, err
	}
	pad, err := drawPad(record, v.public[f].name, v.public[f].bits)
	return t, pad, err
}
