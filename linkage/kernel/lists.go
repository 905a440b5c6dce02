package kernel

import "math/bits"

// chunk is the number of planes that are added up at a time.
const chunk = 16

// batchRows is the number of left rows that pass over a tile together.
const batchRows = 512

// lists are the planes of some left rows: of each the places of the bits that
// are set in it, rarest first, in words from the start of a tile.
type lists struct {
	chunks int      // of every list
	places []uint16 // chunks*chunk a row
	ranked []uint64 // planes of 64 rows
}

// fill makes the lists of up to batchRows rows, with at most so many chunks.
// Shorter ones end with the empty plane.
func (l *lists) fill(t *tiles, rows []uint64, limit int) {
	n := len(rows) / t.words
	length := chunk * limit
	l.chunks = limit
	if cap(l.places) < n*length {
		l.places = make([]uint16, batchRows*length)
	}
	l.places = l.places[:n*length]
	if l.ranked == nil {
		l.ranked = make([]uint64, 64*t.words)
	}
	for from := 0; from < n; from += 64 {
		l.fillBlock(t, rows[from*t.words:min(from+64, n)*t.words], l.places[from*length:])
	}
}

// fillBlock fills the lists of up to 64 rows: it turns them round, puts their
// planes in order, and turns them back.
func (l *lists) fillBlock(t *tiles, rows []uint64, places []uint16) {
	n := len(rows) / t.words
	length := chunk * l.chunks
	var square [64]uint64
	for w := range t.words {
		for i := range n {
			square[i] = rows[i*t.words+w]
		}
		clear(square[n:])
		transpose(&square)
		for i, plane := range square {
			l.ranked[t.rank[64*w+i]] = plane
		}
	}
	var ends [64]int
	for w := range t.words {
		copy(square[:], l.ranked[64*w:])
		transpose(&square)
		for i := range n {
			list := places[i*length : (i+1)*length]
			end := ends[i]
			for word := square[i]; word != 0 && end < length; word &= word - 1 {
				list[end] = uint16((64*w + bits.TrailingZeros64(word)) * t.stride())
				end++
			}
			ends[i] = end
		}
	}
	empty := uint16(64 * t.words * t.stride())
	for i := range n {
		list := places[i*length : (i+1)*length]
		for j := ends[i]; j < length; j++ {
			list[j] = empty
		}
	}
}
