// Package block chooses the pairs of records that are compared: those that
// share a keyed tag, or all. It counts them before any is compared, and cuts
// the work into parts that fit into memory.
package block

import (
	"cmp"
	"slices"

	"tarn/linkage/cohort"
)

// All is the name of the pass that pairs every record with every other.
const All = "all"

// Runs are the blocks of one cohort in one pass: the distinct keys, rising, and
// where the records of each lie in the order of keys.
type Runs struct {
	Key   []int64
	Start []int32 // of each key's records; one more, where the last end
}

// Rows returns the number of records that have a key.
func (r *Runs) Rows() int { return int(r.Start[len(r.Key)]) }

// Size returns the number of records in block i.
func (r *Runs) Size(i int) int64 { return int64(r.Start[i+1] - r.Start[i]) }

// Of returns the blocks that a column of tags makes. Records without a tag are
// in none.
func Of(tags cohort.TagValues) *Runs {
	values := make([]int64, 0, len(tags.Value))
	sorted := true
	for i, ok := range tags.Present {
		if ok {
			sorted = sorted && (len(values) == 0 || values[len(values)-1] <= tags.Value[i])
			values = append(values, tags.Value[i])
		}
	}
	if !sorted {
		slices.Sort(values)
	}
	r := &Runs{}
	for i, v := range values {
		if i == 0 || v != values[i-1] {
			r.Key, r.Start = append(r.Key, v), append(r.Start, int32(i))
		}
	}
	r.Start = append(r.Start, int32(len(values)))
	return r
}

// One returns a single block of all records, for the pass [All].
func One(rows int) *Runs {
	if rows == 0 {
		return &Runs{Start: []int32{0}}
	}
	return &Runs{Key: []int64{0}, Start: []int32{0, int32(rows)}}
}

// InOrder reports whether the records lie in the order of a pass: by key,
// without one last, then by unique_id. A pass over such a cohort reads it from
// one end to the other. No tags is the pass [All].
func InOrder(tags *cohort.TagValues, ids []cohort.ID) bool {
	for i := 1; i < len(ids); i++ {
		if Compare(tags, ids, int32(i-1), int32(i)) > 0 {
			return false
		}
	}
	return true
}

// Compare orders two records of a cohort as a pass takes them.
func Compare(tags *cohort.TagValues, ids []cohort.ID, a, b int32) int {
	if tags != nil {
		switch {
		case tags.Present[a] != tags.Present[b]:
			if tags.Present[a] {
				return -1
			}
			return 1
		case tags.Value[a] != tags.Value[b]:
			return cmp.Compare(tags.Value[a], tags.Value[b])
		}
	}
	return ids[a].Compare(ids[b])
}

// Shared calls f with each key that both cohorts have, and how many records of
// either have it.
func Shared(a, b *Runs, f func(key, left, right int64)) {
	for i, j := 0, 0; i < len(a.Key) && j < len(b.Key); {
		switch cmp.Compare(a.Key[i], b.Key[j]) {
		case -1:
			i++
		case 1:
			j++
		default:
			f(a.Key[i], a.Size(i), b.Size(j))
			i, j = i+1, j+1
		}
	}
}

// Pairs returns the number of pairs across two cohorts, in all blocks.
func Pairs(a, b *Runs) (n int64) {
	Shared(a, b, func(_, left, right int64) { n += left * right })
	return n
}

// Within returns the number of pairs inside the blocks of one cohort.
func (r *Runs) Within() (n int64) {
	for i := range r.Key {
		n += r.Size(i) * (r.Size(i) - 1) / 2
	}
	return n
}

// WithinUpTo is Within where each record is paired with at most so many of the
// records of its block that follow it.
func (r *Runs) WithinUpTo(following int64) (n int64) {
	for i := range r.Key {
		size := r.Size(i)
		near := min(following, size-1)
		n += near*(near+1)/2 + (size-1-near)*near
	}
	return n
}

// Part is a piece of a pass: all records of every cohort whose keys lie between
// those of the part before and After.
type Part struct {
	// From and To are where the part's records lie, for each cohort, in the order
	// of keys.
	From, To []int32
	// Last is the greatest key of the part.
	Last int64
}

// Parts cuts a pass over several cohorts into parts of at least so many records,
// but for the last. A block is never cut.
func Parts(runs []*Runs, records int) (parts []Part) {
	at, from := make([]int, len(runs)), make([]int32, len(runs))
	for {
		key, any := int64(0), false
		for c, r := range runs {
			if at[c] < len(r.Key) && (!any || r.Key[at[c]] < key) {
				key, any = r.Key[at[c]], true
			}
		}
		size := 0
		for c, r := range runs {
			if any && at[c] < len(r.Key) && r.Key[at[c]] == key {
				at[c]++
			}
			size += int(r.Start[at[c]] - from[c])
		}
		if any && size < records && !done(runs, at) || size == 0 && any {
			continue
		}
		if size > 0 {
			p := Part{From: slices.Clone(from), Last: key}
			for c, r := range runs {
				from[c] = r.Start[at[c]]
			}
			p.To = slices.Clone(from)
			parts = append(parts, p)
		}
		if !any || done(runs, at) {
			return parts
		}
	}
}

func done(runs []*Runs, at []int) bool {
	for c, r := range runs {
		if at[c] < len(r.Key) {
			return false
		}
	}
	return true
}

// Sampled reports whether the block of a key is in a sample of this share of
// all blocks. The sample is the same every time, and keys are random numbers.
func Sampled(key int64, share float64) bool {
	if share >= 1 {
		return true
	}
	x := uint64(key) * 0x9E3779B97F4A7C15
	x ^= x >> 32
	return float64(x*0xD6E8FEB86659FD93>>11)/(1<<53) < share
}
