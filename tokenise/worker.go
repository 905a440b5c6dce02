package tokenise

import (
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

// judged is what a batch of rows became, in input order. Nothing of it is an
// identifier but the source ids in its entries.
type judged struct {
	rows    []byte // packed rows, of one width each
	entries records
	events  records
}

func (j *judged) reset() {
	j.rows = j.rows[:0]
	j.entries.reset()
	j.events.reset()
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
	start := 0
	if i > 0 {
		start = r.ends[i-1]
	}
	return r.bytes[start:r.ends[i]]
}

// add appends all records of o.
func (r *records) add(o *records) {
	base := len(r.bytes)
	r.bytes = append(r.bytes, o.bytes...)
	for _, end := range o.ends {
		r.ends = append(r.ends, base+end)
	}
}

// worker judges and encodes rows; it has scratch memory of its own.
type worker struct {
	*setting
	tokens     *Tokens
	minter     *Minter
	normaliser *encode.Normaliser
	encoder    *encode.Worker
	record     encode.Record
	encoded    encode.Encoded
	row        cohort.Row
	values     []string
	groups     []string
	warnings   []reason.Problem
	place      [packedPlace]byte
	raw        func(field string) string
	report     func(field string, code reason.Code)
}

func (s *setting) newWorker() *worker {
	w := &worker{setting: s, tokens: s.tokenKeys.NewTokens(), minter: NewMinter(s.rowKey, s.SourceDataset), normaliser: s.Profile.NewNormaliser(s.today), encoder: s.encoder.NewWorker()}
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

// judge adds one row to j.
func (w *worker) judge(row *source.Row, j *judged) error {
	if row.Problem != "" {
		j.refuse(&event{number: row.Number, problem: reason.Problem{Code: row.Problem}})
		return nil
	}
	w.values = row.Values
	sourceID := w.field(encode.FieldUniqueID)
	if w.Columns.RowNumbers {
		sourceID = strconv.FormatInt(row.Number, 10)
	}
	switch {
	case sourceID == "":
		j.refuse(&event{number: row.Number, problem: reason.Problem{Field: encode.FieldUniqueID, Code: reason.UniqueIDEmpty}})
		return nil
	case len(sourceID) > maxSourceID:
		j.refuse(&event{number: row.Number, problem: reason.Problem{Code: reason.RowMalformed}})
		return nil
	}
	w.row.UniqueID = w.minter.Mint(sourceID)
	return w.encode(row.Number, sourceID, j)
}

func (j *judged) refuse(e *event) {
	e.refused = true
	j.events.bytes = appendEvent(j.events.bytes, e)
	j.events.end()
}

// encode makes the token and the encodings of a row that has an id.
func (w *worker) encode(number int64, sourceID string, j *judged) error {
	w.warnings = w.warnings[:0]
	digits, state, problem := nhsnumber.Parse(w.field(encode.FieldNHSNumber))
	if problem != nhsnumber.None {
		w.report(encode.FieldNHSNumber, reason.Code(problem.String()))
	}
	w.normaliser.Normalise(w.raw, &w.record, w.report)
	if err := w.encoder.Encode(&w.record, &w.encoded); err != nil {
		return err
	}
	w.row.Blocks, w.row.Filters, w.row.Tags = w.encoded.Blocks, w.encoded.Filters, w.encoded.Tags
	if w.row.HasToken = state.Identifies(w.Keys.Test); w.row.HasToken {
		w.row.Token = w.tokens.Of(digits)
	}
	encoded := comparable(&w.encoded)
	linkable := w.row.HasToken || encoded
	w.packer.place(w.place[:], &w.row, number)
	w.groups = w.groups[:0]
	if linkable {
		j.rows = w.packer.pack(j.rows, &w.row, number, state, encoded)
		w.readGroups()
		for _, warning := range w.warnings {
			j.events.bytes = appendEvent(j.events.bytes, &event{number: number, hasID: true, id: w.row.UniqueID, problem: warning})
			j.events.end()
		}
	} else {
		j.refuse(&event{number: number, hasID: true, id: w.row.UniqueID, problem: reason.Problem{Code: reason.RowNothingLinkable}})
	}
	j.entries.bytes = appendEntry(j.entries.bytes, w.place[:], !linkable, sourceID, w.groups)
	j.entries.end()
	return nil
}

func (w *worker) readGroups() {
	for _, g := range w.setting.groups {
		value := ""
		if g.at < len(w.values) {
			value = w.values[g.at]
		}
		if g.sex {
			value = sexGroup(value)
		}
		w.groups = append(w.groups, value)
	}
}

// sexGroup returns the letter of a sex code, empty where it is not known.
func sexGroup(code string) string {
	letter, _ := demographics.Sex(code)
	if letter == 0 {
		return ""
	}
	return string(letter)
}

// comparable reports whether an encoded record has anything by which a person
// can be told from another: a filter, or, in a profile without filters, a tag.
func comparable(e *encode.Encoded) bool {
	for _, f := range e.Filters {
		if f != nil {
			return true
		}
	}
	if len(e.Filters) > 0 {
		return false
	}
	for _, t := range e.Tags {
		if t.Present {
			return true
		}
	}
	return false
}
