package kernel

import (
	"cmp"
	"math/bits"
	"slices"
)

// tiles are the right rows turned round: a tile is so many rows, the lanes, as
// planes of one bit of each. Planes are those that few rows have first, because
// a row is told apart from another soonest where it has what few have. They
// hold what a row does not have, so that adding planes of a left row's bits
// counts what is missing.
type tiles struct {
	lanes int // rows of a tile, a multiple of 64
	words int // of a record
	// planes holds (64*words+1)*lanes/64 words a tile; the last plane is empty
	// and nothing is missing in it.
	planes []uint64
	// rank is the place of each bit's plane.
	rank []uint16
	// order is the right rows by number of set bits, as they lie in the tiles,
	// and least and most are the bounds of that number in each tile.
	order       []uint32
	least, most []int32
}

// maxPlaneWords bounds the words of a tile, so that a plane's place fits into
// 16 bits.
const maxPlaneWords = 1 << 16

func fits(words, lanes int) bool { return (64*words+1)*lanes/64 <= maxPlaneWords }

func (t *tiles) stride() int { return t.lanes / 64 }

// size returns the words of one tile.
func (t *tiles) size() int { return (64*t.words + 1) * t.stride() }

func (t *tiles) count() int { return len(t.least) }

func (t *tiles) tile(i int) []uint64 { return t.planes[i*t.size() : (i+1)*t.size()] }

// newTiles lays out rows, of which each has so many bits set.
func newTiles(lanes, words int, rows []uint64, set []uint32) *tiles {
	t := &tiles{lanes: lanes, words: words, order: make([]uint32, len(set))}
	for i := range t.order {
		t.order[i] = uint32(i)
	}
	slices.SortFunc(t.order, func(a, b uint32) int { return cmp.Or(cmp.Compare(set[a], set[b]), cmp.Compare(a, b)) })
	t.rank = rankPlanes(words, rows)
	count := (len(set) + lanes - 1) / lanes
	t.planes = make([]uint64, count*t.size())
	for i := range count {
		in := t.order[i*lanes : min((i+1)*lanes, len(set))]
		t.least, t.most = append(t.least, int32(set[in[0]])), append(t.most, int32(set[in[len(in)-1]]))
		t.fill(t.tile(i), rows, in)
	}
	return t
}

// rankSample is the number of rows from which the frequency of bits is taken.
const rankSample = 4096

// rankPlanes returns the place of each bit, those that are set in the fewest
// rows first.
func rankPlanes(words int, rows []uint64) []uint16 {
	frequency := make([]int, 64*words)
	n := len(rows) / words
	var square [64]uint64
	for block := 0; block+64 <= n; block += max(64, n/(rankSample/64)) {
		for w := range words {
			for i := range square {
				square[i] = rows[(block+i)*words+w]
			}
			transpose(&square)
			for i, plane := range square {
				frequency[64*w+i] += bits.OnesCount64(plane)
			}
		}
	}
	order := make([]uint16, 64*words)
	for i := range order {
		order[i] = uint16(i)
	}
	slices.SortStableFunc(order, func(a, b uint16) int { return cmp.Compare(frequency[a], frequency[b]) })
	rank := make([]uint16, len(order))
	for place, bit := range order {
		rank[bit] = uint16(place)
	}
	return rank
}

// fill writes the planes of a tile of the rows that are named. Lanes that are
// left over lack every bit.
func (t *tiles) fill(tile, rows []uint64, named []uint32) {
	var square [64]uint64
	for group := range t.stride() {
		for w := range t.words {
			for i := range square {
				square[i] = 0
				if at := 64*group + i; at < len(named) {
					square[i] = rows[int(named[at])*t.words+w]
				}
			}
			transpose(&square)
			for i, plane := range square {
				tile[int(t.rank[64*w+i])*t.stride()+group] = ^plane
			}
		}
	}
}
