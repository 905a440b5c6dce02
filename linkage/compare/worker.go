package compare

import (
	"iter"

	"tarn/linkage/cohort"
	"tarn/linkage/kernel"
)

// tileRows bounds the right records that are compared at a time, so that their
// filters stay in the processor's cache while left records pass by.
const tileRows = 512

// Pair is a pair of records that is kept: their places in their cohorts, and
// how they agree.
type Pair struct {
	Left, Right int32
	Code        uint32
}

// Pairs are pairs in pages, so that a list of many millions is never moved to
// make room for more.
type Pairs struct{ pages [][]Pair }

const pagePairs = 32 << 10

// Append adds a pair.
func (p *Pairs) Append(pair Pair) {
	last := len(p.pages) - 1
	if last < 0 || len(p.pages[last]) == cap(p.pages[last]) {
		p.pages = append(p.pages, make([]Pair, 0, pagePairs))
		last++
	}
	p.pages[last] = append(p.pages[last], pair)
}

// Take moves the pairs of another list here.
func (p *Pairs) Take(other *Pairs) {
	p.pages = append(p.pages, other.pages...)
	other.pages = nil
}

// All yields the pairs.
func (p *Pairs) All() iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		for _, page := range p.pages {
			for _, pair := range page {
				if !yield(pair) {
					return
				}
			}
		}
	}
}

// Retain lets go of all pairs but those of some patterns.
func (p *Pairs) Retain(keep func(code uint32) bool) {
	var kept Pairs
	for pair := range p.Drain() {
		if keep(pair.Code) {
			kept.Append(pair)
		}
	}
	*p = kept
}

// Drain yields the pairs and lets go of each page that has been gone through,
// so that what is made of them takes their place in memory.
func (p *Pairs) Drain() iter.Seq[Pair] {
	return func(yield func(Pair) bool) {
		for i, page := range p.pages {
			for _, pair := range page {
				if !yield(pair) {
					return
				}
			}
			p.pages[i] = nil
		}
		p.pages = nil
	}
}

// Tally is what comparing gives for one pair of sides.
type Tally struct {
	Counts Histogram
	Kept   Pairs
	// room says of each pattern how many of its pairs are kept, and to a worker how
	// many more.
	room []uint16
}

// plan is how the fields of a scheme are compared, ready for the inner loop.
type plan struct {
	fields  *kernel.Fields // of all filters of a record
	filters int            // how many
	equal   bool           // some field counts equal bits
	common  bool           // some field counts common bits
	columns []column
	token   uint32   // the token's stride
	none    []uint16 // room for no pair
}

// column is one field of the scheme but the token.
type column struct {
	stride uint32
	bit    uint64 // in Present
	tag    int    // its place in Rows.Tags, -1 for filters
	filter int    // its place among the filters
	from   int    // its first word in a record
	words  int
	dice   bool
	digits []uint32 // by equal bits: the digit times the stride
	bounds []float64
}

func newPlan(scheme *Scheme, shape *cohort.Shape, path kernel.Path) *plan {
	p := &plan{token: uint32(scheme.Fields[len(scheme.Fields)-1].stride), none: make([]uint16, scheme.Patterns())}
	var widths []int
	from := 0
	for i, f := range scheme.Fields[:len(scheme.Fields)-1] {
		c := column{stride: uint32(f.stride), bit: 1 << i, tag: -1, bounds: f.Levels, words: shape.Words[i], from: from, dice: f.Measure == cohort.MeasureDice}
		switch {
		case f.Measure == cohort.MeasureEqual:
			c.tag = i
		case c.words == 0: // no record of any side has the field
		default:
			c.filter = len(widths)
			widths = append(widths, c.words)
			if p.common = p.common || c.dice; !c.dice {
				p.equal = true
				for _, level := range equalBitLevels(f.FieldComparison, 64*c.words) {
					c.digits = append(c.digits, (1+uint32(level))*c.stride)
				}
			}
		}
		from += c.words
		p.columns = append(p.columns, c)
	}
	p.filters = len(widths)
	if p.filters > 0 {
		p.fields = path.Fields(widths)
	}
	return p
}

// worker compares blocks. It is for one goroutine.
type worker struct {
	*plan
	equalBits  []uint32 // of a tile, filters of a record side by side
	commonBits []uint32
	codes      []uint32
	present    uint64 // the fields that all right records of the tile have
}

func newWorker(p *plan) *worker {
	w := &worker{plan: p, codes: make([]uint32, tileRows)}
	if p.equal {
		w.equalBits = make([]uint32, tileRows*p.filters)
	}
	if p.common {
		w.commonBits = make([]uint32, tileRows*p.filters)
	}
	return w
}

// unit is some blocks of two sides.
type unit struct {
	left, right             *cohort.Rows
	tokensLeft, tokensRight []int32 // by a record's number; nil where tokens are not compared
	earlier                 []earlier
	// following bounds, inside one side, how many of the records that follow a
	// record it is compared with; 0 across two sides.
	following int
	spans     []span
}

// span is some left records and the right records that each is compared with.
type span struct{ leftFrom, leftTo, rightFrom, rightTo int }

// earlier is a pass that has compared the pairs which share its key.
type earlier struct{ left, right *cohort.TagValues }

// compare adds the pairs of a unit to the tally.
func (w *worker) compare(u *unit, t *Tally) {
	for _, s := range u.spans {
		if u.following > 0 {
			w.inside(u, s, t)
			continue
		}
		for from := s.rightFrom; from < s.rightTo; from += tileRows {
			to := min(from+tileRows, s.rightTo)
			w.present = common(u.right.Present[from:to])
			for l := s.leftFrom; l < s.leftTo; l++ {
				w.row(u, l, from, to, t)
			}
		}
	}
}

// common returns the fields that all records have.
func common(present []uint64) uint64 {
	all := ^uint64(0)
	for _, p := range present {
		all &= p
	}
	return all
}

func (w *worker) inside(u *unit, s span, t *Tally) {
	w.present = common(u.right.Present[s.rightFrom:s.rightTo])
	for l := s.leftFrom; l < s.leftTo; l++ {
		to := min(s.rightTo, l+1+u.following)
		for from := l + 1; from < to; from += tileRows {
			w.row(u, l, from, min(from+tileRows, to), t)
		}
	}
}

// row compares left record l with the right records from and up to to.
func (w *worker) row(u *unit, l, from, to int, t *Tally) {
	codes := w.codes[:to-from]
	clear(codes)
	if w.filters > 0 {
		words := w.fields.Words()
		record, rows := u.left.Filters[l*words:(l+1)*words], u.right.Filters[from*words:to*words]
		if w.equal {
			w.fields.EqualBits(w.equalBits, record, rows)
		}
		if w.common {
			w.fields.CommonBits(w.commonBits, record, rows)
		}
	}
	there := u.left.Present[l]
	for i := range w.columns {
		c := &w.columns[i]
		switch {
		case there&c.bit == 0:
		case c.tag >= 0 && w.present&c.bit != 0:
			allTags(codes, c.stride, u.left.Tags[c.tag][l], u.right.Tags[c.tag][from:to])
		case c.tag >= 0:
			tags(codes, c, u.left.Tags[c.tag][l], u.right.Tags[c.tag][from:to], u.right.Present[from:to])
		case c.dice:
			w.dice(codes, c, u, l, from)
		case w.present&c.bit != 0:
			allEqualBitDigits(codes, c.digits, w.equalBits[c.filter:], w.filters)
		default:
			w.equalBitDigits(codes, c, u.right.Present[from:to])
		}
	}
	if u.tokensLeft != nil {
		w.tokens(codes, u, l, from)
	}
	numbers := u.right.Number[from:to]
	for _, e := range u.earlier {
		e.skip(codes, u.left.Number[l], numbers)
	}
	t.add(u.left.Number[l], numbers, codes)
}

// skipped is the code of a pair that an earlier pass has.
const skipped = ^uint32(0)

func (t *Tally) add(left int32, right []int32, codes []uint32) {
	right = right[:len(codes)]
	for i, code := range codes {
		if code == skipped {
			continue
		}
		t.Counts[code]++
		if room := t.room[code]; room > 0 {
			t.Kept.Append(Pair{left, right[i], code})
			if room < every {
				t.room[code]--
			}
		}
	}
}

func (w *worker) equalBitDigits(codes []uint32, c *column, present []uint64) {
	counts, step := w.equalBits[c.filter:], w.filters
	at := 0
	present = present[:len(codes)]
	for i := range codes {
		digit := c.digits[counts[at]]
		if present[i]&c.bit == 0 {
			digit = 0
		}
		codes[i] += digit
		at += step
	}
}

// allEqualBitDigits is equalBitDigits where all right records have the field.
func allEqualBitDigits(codes, digits, counts []uint32, step int) {
	at := 0
	for i := range codes {
		codes[i] += digits[counts[at]]
		at += step
	}
}

// allTags is tags where all right records have the field.
func allTags(codes []uint32, stride uint32, value int64, right []int64) {
	right = right[:len(codes)]
	for i := range codes {
		digit := stride
		if right[i] == value {
			digit = 2 * stride
		}
		codes[i] += digit
	}
}

func tags(codes []uint32, c *column, value int64, right []int64, present []uint64) {
	right, present = right[:len(codes)], present[:len(codes)]
	for i := range codes {
		if present[i]&c.bit == 0 {
			continue
		}
		digit := c.stride
		if right[i] == value {
			digit = 2 * c.stride
		}
		codes[i] += digit
	}
}

func (w *worker) dice(codes []uint32, c *column, u *unit, l, from int) {
	words := w.fields.Words()
	set := cohort.PopCount(u.left.Filters[l*words+c.from : l*words+c.from+c.words])
	for i := range codes {
		r := from + i
		if u.right.Present[r]&c.bit == 0 {
			continue
		}
		common := w.commonBits[i*w.filters+c.filter]
		other := cohort.PopCount(u.right.Filters[r*words+c.from : r*words+c.from+c.words])
		codes[i] += (1 + uint32(levelOf(c.bounds, dice(common, set, other), common == set && common == other))) * c.stride
	}
}

func (w *worker) tokens(codes []uint32, u *unit, l, from int) {
	token := u.tokensLeft[u.left.Number[l]]
	if token == 0 {
		return
	}
	numbers, equal, different := u.right.Number[from:from+len(codes)], (1+TokenEqual)*w.token, (1+TokenDifferent)*w.token
	for i := range codes {
		other, digit := u.tokensRight[numbers[i]], different
		if other == token {
			digit = equal
		}
		if other == 0 {
			digit = 0
		}
		codes[i] += digit
	}
}

// skip marks the pairs that share a key of the earlier pass.
func (e earlier) skip(codes []uint32, left int32, right []int32) {
	if !e.left.Present[left] {
		return
	}
	key := e.left.Value[left]
	for i, r := range right {
		if e.right.Present[r] && e.right.Value[r] == key {
			codes[i] = skipped
		}
	}
}
