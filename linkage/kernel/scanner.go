package kernel

import (
	"cmp"
	"math/bits"
	"slices"
)

// Scanner finds, for left rows, the right rows whose Dice coefficient reaches a
// threshold. It holds the right rows, laid out for that. It is read-only once
// made: any number of goroutines may scan with one.
type Scanner struct {
	path  Path
	words int
	rule  *rule
	rows  []uint64
	set   []uint32 // bits of each row
	tiles *tiles   // nil where pairs are compared one by one
}

// Work says what a scan did.
type Work struct {
	Pairs    int64 // compared
	Planes   int64 // added up, each over a tile of Lanes right rows
	Lanes    int
	Verified int64 // pairs counted one by one
}

// fewRows is the number of right rows up to which turning them and the left
// rows round takes longer than comparing them one by one.
const fewRows = 32

// NewScanner lays out right rows of so many words each, end to end, for scans
// at a threshold; the rows must not be changed while the scanner is used. A
// pair is a match if anonlink 0.15.3 takes it for one: the coefficient,
// computed in doubles, is at least the threshold (see Match.Dice), and none of
// the filters is empty; at a threshold of 0 or less every pair is. No pair
// reaches a threshold that is above 1 or not a number. It panics if words is
// below 1 or does not divide the rows, or if there are 1<<32 rows or more.
func (p Path) NewScanner(words int, rows []uint64, threshold float64) *Scanner {
	if words < 1 || len(rows)%words != 0 || uint64(len(rows)/max(words, 1)) >= 1<<32 {
		panic("kernel: rows are not whole records, or too many")
	}
	s := &Scanner{path: p, words: words, rule: newRule(threshold, 64*words), rows: rows, set: make([]uint32, len(rows)/words)}
	for i := range s.set {
		row := s.row(i)
		s.set[i] = uint32(commonBits(row, row))
	}
	if lanes := p.lanes(); len(s.set) > fewRows && threshold > 0 && fits(words, lanes) {
		s.tiles = newTiles(lanes, words, rows, s.set)
	}
	return s
}

// lanes returns the rows of a tile: the bits of a register.
func (p Path) lanes() int {
	switch p {
	case AVX2:
		return 256
	case AVX512:
		return 512
	}
	return 64
}

func (s *Scanner) row(i int) []uint64 { return s.rows[i*s.words : (i+1)*s.words] }

// Scan compares every left row with every right row. It calls visit for each
// left row that has matches, in ascending order, with the matches in ascending
// order of their rows; the slice is used again after the call. left is rows
// laid end to end; a thousand at a time is a good piece of work to give to a
// goroutine.
func (s *Scanner) Scan(left []uint64, visit func(row int, matches []Match)) Work {
	if len(left)%s.words != 0 {
		panic("kernel: left rows are not whole records")
	}
	n := len(left) / s.words
	work := Work{Pairs: int64(n) * int64(len(s.set))}
	if s.tiles == nil {
		s.oneByOne(left, visit)
		work.Verified = work.Pairs
		return work
	}
	w := &scan{Scanner: s, work: &work}
	work.Lanes = s.tiles.lanes
	for from := 0; from < n; from += batchRows {
		w.batch(left[from*s.words:min(from+batchRows, n)*s.words], from, visit)
	}
	return work
}

func (s *Scanner) oneByOne(left []uint64, visit func(row int, matches []Match)) {
	var matches []Match
	for i := 0; i*s.words < len(left); i++ {
		record := left[i*s.words : (i+1)*s.words]
		matches = matches[:0]
		a := commonBits(record, record)
		for j := range s.set {
			if m, ok := s.verify(record, a, uint32(j)); ok {
				matches = append(matches, m)
			}
		}
		if len(matches) > 0 {
			visit(i, matches)
		}
	}
}

// verify counts the common bits of a pair and decides.
func (s *Scanner) verify(record []uint64, a int, right uint32) (Match, bool) {
	b := int(s.set[right])
	common := commonBits(record, s.row(int(right)))
	if common < s.rule.need(a, b) {
		return Match{}, false
	}
	return Match{right, uint32(common), Dice(common, a, b)}, true
}

// scan is the state of one call of Scan.
type scan struct {
	*Scanner
	work  *Work
	lists lists
	first int // chunks before the first look at what is left

	set       [batchRows]int32 // bits of each left row
	allowed   [batchRows]int32 // bits of a left row that a match in the tile may lack; below 0 none can match
	survivors survivors
	found     []found
	matches   []Match
}

// survivors are the rows of a batch that may have matches in a tile, and the
// lanes in which.
type survivors struct {
	rows  [batchRows]uint32
	lanes [batchRows * 8]uint64 // lanes/64 words each
}

type found struct {
	left uint32
	Match
}

// Counters have four bits and so many more: the fewer, the faster.
const (
	shallow = 3
	deep    = 7
)

// batch compares up to batchRows left rows, of which the first has index from.
func (w *scan) batch(left []uint64, from int, visit func(row int, matches []Match)) {
	n := len(left) / w.words
	most := 0
	for i := range n {
		record := left[i*w.words : (i+1)*w.words]
		set := commonBits(record, record)
		w.set[i], most = int32(set), max(most, set)
	}
	w.lists.fill(w.tiles, left, w.limit((most+chunk-1)/chunk))
	w.found = w.found[:0]
	for t := range w.tiles.count() {
		w.pass(t, left, n)
	}
	slices.SortFunc(w.found, func(a, b found) int { return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.Row, b.Row)) })
	for at := 0; at < len(w.found); {
		row := w.found[at].left
		w.matches = w.matches[:0]
		for ; at < len(w.found) && w.found[at].left == row; at++ {
			w.matches = append(w.matches, w.found[at].Match)
		}
		visit(from+int(row), w.matches)
	}
}

// ahead is how many chunks a list has after the first look. What is left then
// is counted pair by pair.
const ahead = 4

// limit returns the chunks of the lists of a batch, of which the longest would
// have so many. The first batch has whole lists, and guesses where rows end: a
// stranger lacks about two thirds of the bits.
func (w *scan) limit(whole int) int {
	if w.first > 0 {
		return min(whole, w.first+ahead)
	}
	a := int(w.set[0])
	w.first = 1
	if need := int(w.rule.needs[a+int(w.tiles.least[w.tiles.count()/2])]); need < a {
		w.first += (a - need) * 3 / (2 * chunk)
	}
	return whole
}

// pass compares the rows of a batch with one tile.
func (w *scan) pass(t int, left []uint64, n int) {
	least, most := int(w.tiles.least[t]), int(w.tiles.most[t])
	largest := int32(-1)
	needs := w.rule.needs
	for i, a := range w.set[:n] {
		allowed := a - needs[int(a)+least]
		if needs[int(a)+most] > int32(most) {
			allowed = -1 // too long for all
		}
		w.allowed[i] = allowed
		largest = max(largest, allowed)
	}
	if largest < 0 {
		return
	}
	if largest > 16<<deep-1 { // filters so long that counters would not do
		for i := range n {
			w.verifyTile(t, left, i)
		}
		return
	}
	depth := shallow
	if largest > 16<<shallow-1 {
		depth = deep
	}
	count, chunks := w.path.scanTile(w, w.tiles.tile(t), n, depth)
	w.work.Planes += chunk * int64(chunks)
	w.learn(n, chunks)
	stride := w.tiles.stride()
	in := w.tiles.order[t*w.tiles.lanes : min((t+1)*w.tiles.lanes, len(w.tiles.order))]
	for i, row := range w.survivors.rows[:count] {
		record := left[int(row)*w.words : (int(row)+1)*w.words]
		for group, lanes := range w.survivors.lanes[i*stride : (i+1)*stride] {
			for ; lanes != 0; lanes &= lanes - 1 {
				if at := 64*group + bits.TrailingZeros64(lanes); at < len(in) {
					w.verify(record, row, in[at])
				}
			}
		}
	}
}

func (w *scan) verifyTile(t int, left []uint64, i int) {
	for _, right := range w.tiles.order[t*w.tiles.lanes : min((t+1)*w.tiles.lanes, len(w.tiles.order))] {
		w.verify(left[i*w.words:(i+1)*w.words], uint32(i), right)
	}
}

func (w *scan) verify(record []uint64, left, right uint32) {
	w.work.Verified++
	if m, ok := w.Scanner.verify(record, int(w.set[left]), right); ok {
		w.found = append(w.found, found{left, m})
	}
}

// learn moves the first look to where most rows have nothing left: a look costs
// a branch that is guessed wrong where that varies.
func (w *scan) learn(n, chunks int) {
	extra := chunks - n*w.first // at most: rows that cannot match have none
	switch {
	case extra > n/4 && w.first < w.lists.chunks:
		w.first++
	case extra < n/50 && w.first > 1:
		w.first--
	}
}
