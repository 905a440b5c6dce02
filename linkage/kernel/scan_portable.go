package kernel

import "math/bits"

// scanPortable passes n rows over a tile of 64 lanes. Of every row it adds up
// the planes of its list, 16 at a time, with carry-save adders into counters
// that are bit-sliced too: low[0] holds the lowest bit of 64 counts. A counter
// starts so far below its end that it overflows with the first bit a match may
// not lack, and the lane is dead. Once all but a few are, or the list ends, the
// row is done. It returns the number of rows with lanes alive and the chunks
// that were added up.
func scanPortable(w *scan, tile []uint64, n int, depth int) (count, chunks int) {
	length := chunk * w.lists.chunks
	for row := range n {
		if w.allowed[row] < 0 {
			continue
		}
		list := w.lists.places[row*length : (row+1)*length]
		alive, done := countDown(tile, list, uint64(int32(16)<<depth-1-w.allowed[row]), depth, w.first)
		chunks += done
		if alive != 0 {
			w.survivors.rows[count], w.survivors.lanes[count] = uint32(row), alive
			count++
		}
	}
	return count, chunks
}

// fewAlive is the number of lanes left that are not worth another chunk.
const fewAlive = 0

// countDown adds the planes of a list to 64 counters that start at start and
// overflow at 16<<depth. It first looks after some chunks, and returns the lanes
// that are alive and the chunks done.
func countDown(tile []uint64, list []uint16, start uint64, depth, first int) (alive uint64, chunks int) {
	spread := func(bit int) uint64 { return -(start >> bit & 1) }
	ones, twos, fours, eights := spread(0), spread(1), spread(2), spread(3)
	var high [7]uint64
	for i := range high[:depth] {
		high[i] = spread(4 + i)
	}
	dead := uint64(0)
	for len(list) >= chunk {
		p := (*[chunk]uint16)(list)
		var a, b, c, d, e, f uint64
		ones, a = add(ones, tile[p[0]], tile[p[1]])
		ones, b = add(ones, tile[p[2]], tile[p[3]])
		twos, c = add(twos, a, b)
		ones, a = add(ones, tile[p[4]], tile[p[5]])
		ones, b = add(ones, tile[p[6]], tile[p[7]])
		twos, d = add(twos, a, b)
		fours, e = add(fours, c, d)
		ones, a = add(ones, tile[p[8]], tile[p[9]])
		ones, b = add(ones, tile[p[10]], tile[p[11]])
		twos, c = add(twos, a, b)
		ones, a = add(ones, tile[p[12]], tile[p[13]])
		ones, b = add(ones, tile[p[14]], tile[p[15]])
		twos, d = add(twos, a, b)
		fours, f = add(fours, c, d)
		eights, a = add(eights, e, f)
		for i := range high[:depth] {
			high[i], a = high[i]^a, high[i]&a
		}
		dead |= a
		chunks++
		if chunks >= first && bits.OnesCount64(^dead) <= fewAlive {
			break
		}
		list = list[chunk:]
	}
	return ^dead, chunks
}

// add is a full adder on 64 lanes.
func add(a, b, c uint64) (sum, carry uint64) {
	u, v := a^b, a^c
	return u ^ c, a ^ u&v
}
