// Package wire is the forms in which rows come in and go out: JSON, NDJSON, CSV and Arrow
// IPC, as docs/api.md has them. Texts and errors repeat nothing that the caller sent.
package wire

import (
	"bytes"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/valyala/fastjson"

	"tarn/tokenise/online"
	"tarn/tokenise/reason"
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
	request Request
	parser  fastjson.Parser
	arena   []byte // texts that are not in the body as they are
	limit   int
	visit   func(key []byte, v *fastjson.Value)
	member  member
	table   csvTable
}

// NewDecoder returns a decoder.
func NewDecoder() *Decoder {
	d := &Decoder{}
	d.visit = d.visitMember
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
	d.request.Rows, d.arena, d.member.row = d.request.Rows[:0], d.arena[:0], nil
	if cap(d.arena) > keptArena || cap(d.request.Rows) > keptRows {
		d.arena, d.request.Rows = nil, nil
	}
}

// What a decoder keeps of its memory from one request to the next.
const (
	keptArena = 4 << 20
	keptRows  = 20_000
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
	switch {
	case len(text) == 0:
		return
	case !utf8.Valid(text):
		row.Problem = reason.RowEncoding
	case bytes.IndexByte(text, 0) >= 0:
		if row.Problem == "" {
			row.Problem = reason.RowMalformed
		}
	case at == online.UniqueID:
		row.ID = shared(text)
	default:
		row.Values[at] = strings.TrimSpace(shared(text))
	}
}

// shared returns bytes as a text that shares them: rows do not outlive their request, and
// a copy of each value would be most of the work.
func shared(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
