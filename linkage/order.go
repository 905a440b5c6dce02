package linkage

import (
	"encoding/hex"
	"slices"
	"sync"

	"tarn/linkage/cohort"
)

// sortByID sorts things by an id, whose first byte is first, then by whatever
// compare says. Minted ids are evenly spread, so that one byte of each divides
// them well; the pieces are sorted on all cores.
func sortByID[T any](things []T, first func(*T) byte, compare func(a, b T) int, threads int) []T {
	const pieces = 256
	var from [pieces + 1]int
	for i := range things {
		from[int(first(&things[i]))+1]++
	}
	for b := range pieces {
		from[b+1] += from[b]
	}
	sorted, at := make([]T, len(things)), from
	for i := range things {
		b := first(&things[i])
		sorted[at[b]] = things[i]
		at[b]++
	}
	var group sync.WaitGroup
	threads = max(threads, 1)
	for t := range threads {
		group.Go(func() {
			for b := t * pieces / threads; b < (t+1)*pieces/threads; b++ {
				slices.SortFunc(sorted[from[b]:from[b+1]], compare)
			}
		})
	}
	group.Wait()
	return sorted
}

// rangeRows is how many rows of a table are held and ordered at a time, about.
const rangeRows = 1_000_000

// rangesOf returns into how many ranges of ids, by their first byte, so many
// rows are divided: a power of two up to 256.
func rangesOf(rows int) int {
	ranges := 1
	for ranges < 256 && rows/ranges > rangeRows {
		ranges *= 2
	}
	return ranges
}

// textRows is how many ids are made into text at a time.
const textRows = 8 << 10

// idText is the text of some ids in one piece: a string for each would be work
// for the memory's keeper.
type idText string

func textOf(n int, id func(i int) *cohort.ID) idText {
	b := make([]byte, 0, 32*n)
	for i := range n {
		b = hex.AppendEncode(b, id(i)[:])
	}
	return idText(b)
}

func (t idText) at(i int) string { return string(t[32*i : 32*i+32]) }
