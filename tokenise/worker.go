package tokenise

import (
	"encoding/binary"
	"slices"
	"strconv"

	"tarn/keys/nhsnumber"
	"tarn/linkage/cohort"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// maxSourceID is the longest source id that is accepted, in bytes. A longer
// one is a column that was split wrongly.
const maxSourceID = 1024

// prepared is rows that were judged and normalised, in input order, waiting to
// be encoded. It holds identifiers and never leaves memory.
type prepared struct {
	rows   records  // as worker.prepare writes them
	dates  []uint32 // of birth, of each row; 0 is missing
	events records
	// canaries are the rows with an NHS number of the test range.
	canaries int64
}

func (p *prepared) reset() {
	p.canaries = 0
	p.rows.reset()
	p.dates = p.dates[:0]
	p.events.reset()
}

func (p *prepared) add(o *prepared) {
	p.rows.add(&o.rows)
	p.dates = append(room(p.dates, len(o.dates)), o.dates...)
	p.events.add(&o.events)
}

// records is byte strings of different lengths, one after another.
type records struct {
	bytes []byte
	ends  []int
}

func (r *records) reset()   { r.bytes, r.ends = r.bytes[:0], r.ends[:0] }
func (r *records) len() int { return len(r.ends) }
func (r *records) end()     { r.ends = append(r.ends, len(r.bytes)) }
func (r *records) at(i int) []byte {
	start, end := r.span(i)
	return r.bytes[start:end]
}

func (r *records) span(i int) (start, end int) {
	if i > 0 {
		start = r.ends[i-1]
	}
	return start, r.ends[i]
}

// room returns s with room for n more. A slice of many megabytes is doubled,
// where append would copy it every time it has grown by a quarter.
func room[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s
	}
	return slices.Grow(s, max(n, len(s)))
}

// add appends all records of o.
func (r *records) add(o *records) {
	base := len(r.bytes)
	r.bytes = append(room(r.bytes, len(o.bytes)), o.bytes...)
	r.ends = room(r.ends, len(o.ends))
	for _, end := range o.ends {
		r.ends = append(r.ends, base+end)
	}
}

// worker judges rows; it has scratch memory of its own.
type worker struct {
	*setting
	tokens     *Tokens
	minter     *Minter
	normaliser *encode.Normaliser
	record     encode.Record
	values     []string
	warnings   []reason.Problem
	raw        func(field string) string
	report     func(field string, code reason.Code)
}

func (s *setting) newWorker() *worker {
	w := &worker{setting: s, tokens: s.tokenKeys.NewTokens(), minter: NewMinter(s.rowKey, s.SourceDataset), normaliser: s.Profile.NewNormaliser(s.today)}
	w.raw = w.field
	w.report = func(field string, code reason.Code) {
		w.warnings = append(w.warnings, reason.Problem{Field: field, Code: code})
	}
	return w
}

// field returns the text of an input field of the current row.
func (w *worker) field(name string) string {
	if i, ok := w.Columns.Fields[name]; ok && i < len(w.values) {
		return w.values[i]
	}
	return ""
}

// judge adds one row to p, or the reason why it is refused.
func (w *worker) judge(row *source.Row, p *prepared) {
	refuse := func(problem reason.Problem) {
		p.event(&event{number: row.Number, refused: true, problem: problem})
	}
	if row.Problem != "" {
		refuse(reason.Problem{Code: row.Problem})
		return
	}
	w.values = row.Values
	sourceID := w.field(encode.FieldUniqueID)
	if w.Columns.RowNumbers {
		sourceID = strconv.FormatInt(row.Number, 10)
	}
	switch {
	case sourceID == "":
		refuse(reason.Problem{Field: encode.FieldUniqueID, Code: reason.UniqueIDEmpty})
	case len(sourceID) > maxSourceID:
		refuse(reason.Problem{Code: reason.RowMalformed})
	default:
		w.prepare(row.Number, sourceID, p)
	}
}

func (p *prepared) event(e *event) {
	p.events.bytes = appendEvent(p.events.bytes, e)
	p.events.end()
}

// Layout of a prepared row:
//
//	0..7   number of the input row
//	8..23  unique_id
//	24     state of the NHS number
//	25     flags
//	26..57 token, zeros where there is none; digits where it is yet to be evaluated
//	58..87 its sealed number, of a project that has an escrow; else zeros
//	88     the texts of its entry, after their length in four bytes; then the
//	       record, as encode writes it
const (
	preparedID     = 8
	preparedState  = preparedID + 16
	preparedFlags  = preparedState + 1
	preparedToken  = preparedFlags + 1
	preparedSealed = preparedToken + cohort.TokenBytes
	preparedTexts  = preparedSealed + sealedBytes
)

// noSeal is where a row has no sealed number.
var noSeal [sealedBytes]byte

// Flags of a prepared row.
const (
	flagToken   = 1 << iota // it has a token
	flagEncoded             // its encoding has something that can be compared
	flagRefused             // nothing in it can be linked
)

// prepare makes the token of a row that has an id, and normalises the rest.
func (w *worker) prepare(number int64, sourceID string, p *prepared) {
	w.warnings = w.warnings[:0]
	id := w.minter.Mint(sourceID)
	digits, state, problem := nhsnumber.Parse(w.field(encode.FieldNHSNumber))
	if state == nhsnumber.Test {
		p.canaries++
	}
	if problem != nhsnumber.None {
		w.report(encode.FieldNHSNumber, reason.Code(problem.String()))
	}
	w.normaliser.Normalise(w.raw, &w.record, w.report)
	var token [cohort.TokenBytes]byte
	flags := byte(0)
	if state.Identifies(w.Keys.Test) {
		flags = flagToken
		if w.Evaluate != nil {
			copy(token[:], digits[:]) // until it is evaluated, with others
		} else {
			token = w.tokens.Of(digits)
		}
	}
	if w.Profile.Comparable(&w.record) {
		flags |= flagEncoded
	}
	if flags == 0 {
		flags = flagRefused
		p.event(&event{number: number, refused: true, hasID: true, id: id, problem: reason.Problem{Code: reason.RowNothingLinkable}})
	}
	for _, warning := range w.warnings { // of a refused row they say why nothing in it can be linked
		p.event(&event{number: number, hasID: true, id: id, problem: warning})
	}
	b := binary.BigEndian.AppendUint64(p.rows.bytes, uint64(number))
	b = append(append(b, id[:]...), byte(state), flags)
	b = append(b, token[:]...)
	if w.sealing != nil && flags&flagToken != 0 {
		b = w.sealing.seal(b, token, digits)
	} else {
		b = append(b, noSeal[:]...)
	}
	b = append(b, 0, 0, 0, 0)
	texts := len(b)
	b = appendText(b, sourceID)
	for _, g := range w.groups {
		b = appendText(b, w.group(g))
	}
	binary.BigEndian.PutUint32(b[texts-4:], uint32(len(b)-texts))
	p.rows.bytes = w.record.Append(b)
	p.rows.end()
	p.dates = append(p.dates, w.record.DateOfBirth.Ordinal())
}

func (w *worker) group(g groupColumn) string {
	value := ""
	if g.at < len(w.values) {
		value = w.values[g.at]
	}
	if !g.sex {
		return value
	}
	letter, _ := demographics.Sex(value)
	if letter == 0 {
		return ""
	}
	return string(letter)
}
