package block

import (
	"math"
	"math/rand/v2"

	"tarn/linkage/cohort"
)

// LSHName is the name of the passes that hashes of filters make.
const LSHName = "lsh"

// LSH hashes the filters of records so that similar ones are likely to have a
// hash in common: each hash is some bits of two fields (bit sampling for
// Hamming distance, Indyk and Motwani 1998). A hash of two fields alone finds
// the pairs that agree on these, whatever the others say; there are several for
// every two fields, so that some find pairs that nearly agree.
type LSH struct{ tables []lshTable }

type lshTable struct {
	fields [2]int   // of the comparison; equal where there is only one
	bits   []lshBit // of a record's filters
	drawn  [2]int   // how many of either field
	need   uint64   // the fields that must be there
}

type lshBit struct {
	word  int
	shift uint8
}

// How many hashes there are for every two fields, and bits in one. Two strangers
// have about half of the bits of a filter in common: they share a hash of 24
// bits once in some millions, unless they share a name.
const (
	lshRepeats = 4
	lshBits    = 24
)

// mostHashes bounds the hashes of profiles with many filters: each is held of
// each record, and is a pass of its own.
const mostHashes = 100

// NewLSH returns the hashes of a shape's filters. They are the same every time.
// There are none where no field is a filter.
func NewLSH(shape *cohort.Shape) *LSH {
	random := rand.New(rand.NewPCG(0x7461726e, 0x6c7368)) // which bits are taken need not be a secret
	h := &LSH{}
	var filters, from []int
	at := 0
	for f, words := range shape.Words {
		if words > 0 {
			filters, from = append(filters, f), append(from, at)
		}
		at += words
	}
	repeats := max(1, min(lshRepeats, mostHashes/max(1, len(filters)*(len(filters)-1)/2)))
	for i := range filters {
		for k := i; k < len(filters); k++ {
			if k == i && len(filters) > 1 {
				continue
			}
			for range repeats {
				t := lshTable{fields: [2]int{filters[i], filters[k]}, need: 1<<filters[i] | 1<<filters[k], drawn: [2]int{lshBits / 2, lshBits / 2}}
				for side, at := range [2]int{i, k} {
					t.bits = append(t.bits, drawBits(random, from[at], shape.Words[filters[at]], t.drawn[side])...)
				}
				h.tables = append(h.tables, t)
			}
		}
	}
	return h
}

func drawBits(random *rand.Rand, from, words, n int) (bits []lshBit) {
	for _, b := range random.Perm(64 * words)[:min(n, 64*words)] {
		bits = append(bits, lshBit{from + b/64, uint8(b % 64)})
	}
	return bits
}

// Hashes returns the number of hashes of a record.
func (h *LSH) Hashes() int { return len(h.tables) }

// Hash returns hash t of record i, and whether the record has what it is made
// of.
func (h *LSH) Hash(t int, rows *cohort.Rows, rowWords, i int) (key int64, ok bool) {
	table := &h.tables[t]
	if rows.Present[i]&table.need != table.need {
		return 0, false
	}
	row := rows.Filters[i*rowWords : (i+1)*rowWords]
	for _, b := range table.bits {
		key = key<<1 | int64(row[b.word]>>b.shift&1)
	}
	return key, true
}

// negligible is the probability of a combination of levels that is left out of
// account, so that profiles of many fields take no time.
const negligible = 1e-8

// Recall returns the share of matches that are expected to have a hash in
// common, in [0, 1]: by the shipped probability of each level of agreement, the
// fields taken as independent. Two filters of a level agree on as many bits as
// its lower bound says, and on half of them below all bounds. It is of pairs
// that have all fields.
func (h *LSH) Recall(fields []cohort.FieldComparison) (recall float64) {
	levels := make([]int, len(fields))
	var walk func(f int, p float64)
	walk = func(f int, p float64) {
		if p < negligible {
			return
		}
		if f == len(fields) {
			recall += p * h.found(fields, levels)
			return
		}
		if fields[f].Measure == cohort.MeasureEqual {
			walk(f+1, p)
			return
		}
		for level, m := range fields[f].M {
			levels[f] = level
			walk(f+1, p*m)
		}
	}
	walk(0, 1)
	return min(recall, 1)
}

// found is the probability that a pair of these levels shares a hash.
func (h *LSH) found(fields []cohort.FieldComparison, levels []int) float64 {
	missed := 1.0
	for _, t := range h.tables {
		p := 1.0
		for side, f := range t.fields {
			p *= math.Pow(equalShare(fields[f], levels[f]), float64(t.drawn[side]))
		}
		missed *= 1 - p
	}
	return 1 - missed
}

func equalShare(f cohort.FieldComparison, level int) float64 {
	switch {
	case level == f.LevelCount()-1:
		return 1
	case level == 0:
		return .5
	}
	return f.Levels[level-1]
}
