// Package block chooses the pairs of records that are compared: those that
// share a keyed tag, or all.
package block

import (
	"cmp"
	"slices"
	"sort"

	"tarn/linkage/cohort"
)

// All is the name of the pass that pairs every record with every other.
const All = "all"

// Side is what blocking needs of one cohort.
type Side struct {
	Rows int
	// Tags are the blocking columns, aligned with the names given to ByTags.
	Tags []cohort.TagValues
}

// Pass is one way of bringing pairs together. A pair that an earlier pass of
// the same plan has brought together is left out by the comparison, see
// Plan.Earlier.
type Pass struct {
	Name        string // of the block column without its prefix, or All
	blocks      []pair
	left, right []int32 // row numbers in block order
}

// pair is one block: positions in the pass's left and right row lists.
type pair struct{ leftFrom, leftTo, rightFrom, rightTo int32 }

// Block is one block: rows of either side, all of which are compared with all.
type Block struct{ Left, Right []int32 }

// Pairs returns the number of pairs in the block.
func (b Block) Pairs() int64 { return int64(len(b.Left)) * int64(len(b.Right)) }

// Blocks returns the number of blocks of the pass.
func (p *Pass) Blocks() int { return len(p.blocks) }

// Block returns block i. Its slices belong to the pass.
func (p *Pass) Block(i int) Block {
	b := p.blocks[i]
	return Block{Left: p.left[b.leftFrom:b.leftTo], Right: p.right[b.rightFrom:b.rightTo]}
}

// Plan is the passes of one pair of cohorts.
type Plan struct {
	Passes []*Pass
	// Within says that left and right are the same cohort: only pairs whose left
	// row number is lower are meant.
	Within bool
}

// Pairs returns the number of pairs in all blocks, before pairs that two
// passes share are left out.
func (p *Plan) Pairs() int64 {
	var n int64
	for _, pass := range p.Passes {
		for i := range pass.blocks {
			n += pass.Block(i).Pairs()
		}
	}
	return n
}

// ByTags plans one pass for each blocking column: rows with the same tag form
// a block, rows without the tag are in none.
func ByTags(names []string, left, right Side) *Plan {
	p := &Plan{}
	for i, name := range names {
		p.Passes = append(p.Passes, byTag(name, left.Tags[i], right.Tags[i]))
	}
	return p
}

// Everything plans one block that holds every pair.
func Everything(left, right Side) *Plan {
	pass := &Pass{Name: All, left: numbers(left.Rows), right: numbers(right.Rows)}
	if left.Rows > 0 && right.Rows > 0 {
		pass.blocks = []pair{{0, int32(left.Rows), 0, int32(right.Rows)}}
	}
	return &Plan{Passes: []*Pass{pass}}
}

// WithinByTags plans the pairs inside the blocks of one cohort.
func WithinByTags(names []string, side Side) *Plan {
	p := ByTags(names, side, side)
	p.Within = true
	return p
}

// WithinSample plans about limit pairs of one cohort: each row in the given
// order with the rows that follow it. The order must tell nothing of the
// records, as that of minted ids does.
func WithinSample(order []int32, limit int64) *Plan {
	n := int64(len(order))
	pass := &Pass{Name: All, left: order, right: order}
	if n > 1 {
		following := min(max(limit/n, 1), n-1)
		for i := range n - 1 {
			pass.blocks = append(pass.blocks, pair{int32(i), int32(i + 1), int32(i + 1), int32(min(i+1+following, n))})
		}
	}
	// The sample already names each pair once, whatever the row numbers are.
	return &Plan{Passes: []*Pass{pass}}
}

func numbers(n int) []int32 {
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(i)
	}
	return rows
}

func byTag(name string, left, right cohort.TagValues) *Pass {
	pass := &Pass{Name: name, left: ordered(left), right: ordered(right)}
	i, j := 0, 0
	for i < len(pass.left) && j < len(pass.right) {
		a, b := left.Value[pass.left[i]], right.Value[pass.right[j]]
		switch cmp.Compare(a, b) {
		case -1:
			i++
		case 1:
			j++
		default:
			leftTo, rightTo := endOf(pass.left, left, i), endOf(pass.right, right, j)
			pass.blocks = append(pass.blocks, pair{int32(i), int32(leftTo), int32(j), int32(rightTo)})
			i, j = leftTo, rightTo
		}
	}
	return pass
}

// ordered returns the rows that have the tag, by tag and then row number.
func ordered(tags cohort.TagValues) []int32 {
	rows := make([]int32, 0, len(tags.Value))
	for i, present := range tags.Present {
		if present {
			rows = append(rows, int32(i))
		}
	}
	byTag := func(a, b int32) int { return cmp.Compare(tags.Value[a], tags.Value[b]) }
	if !slices.IsSortedFunc(rows, byTag) {
		slices.SortStableFunc(rows, byTag)
	}
	return rows
}

func endOf(rows []int32, tags cohort.TagValues, from int) int {
	tag := tags.Value[rows[from]]
	return from + sort.Search(len(rows)-from, func(k int) bool { return tags.Value[rows[from+k]] > tag })
}
