// Package wire is the forms in which rows come in and go out: JSON, NDJSON, CSV and Arrow
// IPC, as docs/api.md has them. Texts and errors repeat nothing that the caller sent.
package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/tokenise/online"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
	"tarn/tokenise/source/jsonlines"
)

// Format is a form of rows.
type Format int

// The forms.
const (
	JSON Format = iota
	NDJSON
	CSV
	Arrow
)

// mediaTypes are the forms' media types.
var mediaTypes = [...]string{JSON: "application/json", NDJSON: "application/x-ndjson", CSV: "text/csv", Arrow: "application/vnd.apache.arrow.stream"}

// Formats are all forms, the one that is preferred first.
var Formats = []Format{JSON, NDJSON, CSV, Arrow}

// MediaType returns the form's media type.
func (f Format) MediaType() string { return mediaTypes[f] }

// OfMediaType returns the form of a media type without parameters, in lower case.
func OfMediaType(media string) (Format, bool) {
	for f, m := range mediaTypes {
		if media == m {
			return Format(f), true
		}
	}
	return 0, false
}

// Kind says what is wrong with a request.
type Kind int

// What can be wrong.
const (
	Malformed     Kind = iota // it is not in the form that it says
	TooManyRows               // it has more rows than one request may
	UnknownColumn             // it has a column or member that no row has
)

// Error says why no row of a request is answered. It repeats nothing of the request.
type Error struct {
	Kind    Kind
	Pointer string // RFC 6901, where that is known and names nothing of the caller's
	Detail  string
	Next    string
}

// Error returns the detail.
func (e *Error) Error() string { return "wire: " + e.Detail }

// maxRow is the longest row, in bytes as it is sent, as in a batch. Of JSON it is the row's
// object, of Arrow its texts.
const maxRow = source.DefaultMaxRowBytes

// columns are the fields, for messages.
var columns = strings.Join(online.Fields[:], ", ")

func unknownColumn(pointer string) *Error {
	return &Error{Kind: UnknownColumn, Pointer: pointer, Detail: "there is a column that no row has", Next: "send these and no others: " + columns}
}

func malformed(pointer, detail, next string) *Error {
	return &Error{Kind: Malformed, Pointer: pointer, Detail: detail, Next: next}
}

func tooMany() *Error {
	return &Error{Kind: TooManyRows, Detail: "it has more rows than one request may have", Next: "send them in several requests"}
}

func noUniqueID() *Error {
	return &Error{Kind: UnknownColumn, Detail: "it has no column unique_id", Next: "give every row a reference of your own in unique_id: it is echoed, and kept nowhere"}
}

// Request is what a decoder read: rows that share the decoder's memory and the body's.
type Request struct {
	Rows []online.Row
	// Asked is what the document says is asked for; false in Stated where it does not.
	Asked  online.Asked
	Stated bool
}

// Decoder reads requests one after another; its memory is used again. It is not for
// concurrent use.
type Decoder struct {
	request  Request
	tokens   *jsontext.Decoder
	document bytes.Buffer // what tokens are read from
	line     jsonlines.Record
	scratch  []byte
	arena    []byte // texts that are not in the body as they are
	limit    int
	order    []online.Field // of the members of the row before
	table    csvTable
}

// NewDecoder returns a decoder.
func NewDecoder() *Decoder {
	d := &Decoder{}
	d.tokens = jsontext.NewDecoder(&d.document)
	return d
}

// Decode reads a request of at most so many rows. What it returns is good until the
// following call, and as long as the body is not changed. The error is an [*Error].
func (d *Decoder) Decode(f Format, body []byte, maxRows int) (*Request, error) {
	d.request.Rows, d.request.Stated, d.request.Asked = d.request.Rows[:0], false, online.Asked{}
	d.arena, d.limit = d.arena[:0], maxRows
	var err error
	switch f {
	case JSON:
		err = d.json(body)
	case NDJSON:
		err = d.lines(body)
	case CSV:
		err = d.csv(body)
	case Arrow:
		err = d.arrow(body)
	}
	if err != nil {
		return nil, err
	}
	return &d.request, nil
}

// Forget lets go of what was read: the decoder refers to nothing of a request that is
// over, and keeps no more memory than most requests need.
func (d *Decoder) Forget() {
	clear(d.request.Rows)
	clear(d.arena)
	clear(d.scratch)
	d.request.Rows, d.arena, d.scratch = d.request.Rows[:0], d.arena[:0], d.scratch[:0]
	d.document, d.line.Raw, d.table.record.Raw = bytes.Buffer{}, nil, nil
	d.tokens.Reset(&d.document)
	if cap(d.scratch) > keptScratch || cap(d.line.Members) > keptRows || cap(d.table.record.Fields) > keptRows {
		d.scratch, d.line.Members, d.table.record.Fields = nil, nil, nil
	}
	if cap(d.arena) > keptArena || cap(d.request.Rows) > keptRows {
		d.arena, d.request.Rows = nil, nil
	}
}

// What a decoder keeps of its memory from one request to the next.
const (
	keptArena   = 4 << 20
	keptScratch = 64 << 10
	keptRows    = 20_000
)

// next adds a row, or says that there are too many.
func (d *Decoder) next() (*online.Row, error) {
	n := len(d.request.Rows)
	if n == d.limit {
		return nil, tooMany()
	}
	if n < cap(d.request.Rows) {
		d.request.Rows = d.request.Rows[:n+1]
		d.request.Rows[n] = online.Row{}
	} else {
		d.request.Rows = append(d.request.Rows, online.Row{})
	}
	return &d.request.Rows[n], nil
}

// set sets a field of a row to a text. What is no text of a row makes it a problem of
// the row.
func set(row *online.Row, at online.Field, text []byte) {
	if len(text) == 0 {
		return
	}
	ascii, control := look(text)
	switch {
	case !ascii && !utf8.Valid(text):
		refuse(row, reason.RowEncoding)
	case control && bytes.IndexByte(text, 0) >= 0:
		refuse(row, reason.RowMalformed)
	case at == online.UniqueID:
		row.ID = shared(text)
	default:
		row.Values[at] = trimmed(shared(text))
	}
}

// look reports whether a text is ASCII only, and whether it may hold a control character,
// eight bytes at a time: most texts are short, and neither.
func look(text []byte) (ascii, control bool) {
	const high, ones = 0x8080808080808080, 0x0101010101010101
	var seen, low uint64
	for ; len(text) >= 8; text = text[8:] {
		word := binary.LittleEndian.Uint64(text)
		seen |= word
		low |= (word - 0x20*ones) & ^word // a byte below 0x20 borrows
	}
	for _, c := range text {
		seen |= uint64(c)
		if c < ' ' {
			low |= high
		}
	}
	return seen&high == 0, low&high != 0
}

// trimmed returns a text without white space around it. Most have none.
func trimmed(text string) string {
	if first, last := text[0], text[len(text)-1]; first > ' ' && first < 0x80 && last > ' ' && last < 0x80 {
		return text
	}
	return strings.TrimSpace(text)
}

// field returns the field of this name, the nth of its row. Rows have their members in one
// order, mostly: what was found there in the row before is tried first.
func (d *Decoder) field(name []byte, n int) (at online.Field, known bool) {
	if n < len(d.order) {
		if at = d.order[n]; string(name) == online.Fields[at] {
			return at, true
		}
	}
	if at, known = online.FieldOf(name); !known {
		return at, false
	}
	if n < len(d.order) {
		d.order[n] = at
	} else if n == len(d.order) && n < len(online.Fields) {
		d.order = append(d.order, at)
	}
	return at, true
}

// refuse makes a row one that could not be read; what is no UTF-8 is said before all else.
func refuse(row *online.Row, why reason.Code) {
	if row.Problem != reason.RowEncoding {
		row.Problem = why
	}
}

// shared returns bytes as a text that shares them: rows do not outlive their request, and
// a copy of each value would be most of the work.
func shared(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
