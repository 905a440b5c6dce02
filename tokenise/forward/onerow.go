package forward

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"tarn/keys/oprf"
	"tarn/tokenise/source/delimited"
	"tarn/tokenise/source/jsonlines"
	"tarn/tokenise/source/stream"
)

// A row of text comes from somebody else, as bytes that are written as they are. Each is
// held to be one record of the table, whole, with the token in its column: else several
// lines might come in one, which nobody has counted, or one might take in the next.

// rowForm is what a row of text has to be.
type rowForm struct {
	json      bool
	delimiter byte
	width     int    // of CSV, in fields; 0 until it is known
	column    int    // of CSV; -1 where it is not known
	name      string // of the column
}

// lineLimit is how long a line is at most, in bytes: a row's and a token's.
const lineLimit = oprf.MaxRowPayload + 1<<10

// newRowForm returns what rows have to be behind a preamble, which has one record at most,
// the header; nil where it is no preamble.
func newRowForm(m *manifest) *rowForm {
	f := &rowForm{json: m.Format == "ndjson", column: -1, name: m.Column}
	before := bytes.TrimPrefix(m.Preamble, []byte("\ufeff"))
	if f.json {
		if m.Delimiter != "" || len(bytes.TrimSpace(before)) > 0 {
			return nil
		}
		return f
	}
	if len(m.Delimiter) != 1 || strings.ContainsAny(m.Delimiter, "\r\n\"") || m.Delimiter[0] > 0x7e {
		return nil
	}
	f.delimiter = m.Delimiter[0]
	scanner := delimited.New(stream.NewWindow(bytes.NewReader(before)), f.delimiter, lineLimit)
	var r delimited.Record
	for {
		err := scanner.Next(0, &r)
		switch {
		case errors.Is(err, io.EOF):
			return f
		case err != nil || r.Problem != "" || !bytes.HasSuffix(r.Raw, []byte("\n")) || bareReturn(r.Raw) || !r.Blank && f.width > 0:
			return nil
		case r.Blank:
			continue
		}
		f.width = len(r.Fields)
		for i := range r.Fields {
			if string(bytes.TrimSpace(r.Fields[i].Append(nil, r.Raw))) == f.name {
				f.column = i
			}
		}
	}
}

// line is a row as it is written, and where its cell lies in it, if it has one.
type line struct {
	bytes      []byte
	hasCell    bool
	start, end int
}

// hold reports whether each line is one record with its cell where it says.
func (f *rowForm) hold(lines []line) bool {
	var all []byte
	for i := range lines {
		all = append(all, lines[i].bytes...)
	}
	window := stream.NewWindow(bytes.NewReader(all))
	if f.json {
		scanner := jsonlines.New(window, lineLimit)
		var r jsonlines.Record
		for i := range lines {
			if scanner.Next(&r) != nil || !bytes.Equal(r.Raw, lines[i].bytes) || r.Blank || r.Problem != "" || !f.inMember(&r, &lines[i]) {
				return false
			}
		}
		return true
	}
	scanner := delimited.New(window, f.delimiter, lineLimit)
	var r delimited.Record
	for i := range lines {
		if scanner.Next(f.width, &r) != nil || !bytes.Equal(r.Raw, lines[i].bytes) || r.Problem != "" || bareReturn(r.Raw) || !f.inField(&r, &lines[i]) {
			return false
		}
	}
	return true
}

// inMember reports whether a line's cell is the member of the column's name, or there is
// none of it.
func (f *rowForm) inMember(r *jsonlines.Record, l *line) bool {
	if !bytes.HasSuffix(l.bytes, []byte("\n")) {
		return false
	}
	found := 0
	for _, m := range r.Members {
		if strings.TrimSpace(string(jsonlines.AppendText(nil, r.Raw[m.Name:m.NameEnd]))) != f.name {
			continue
		}
		if found++; !l.hasCell || m.Start != l.start || m.End != l.end {
			return false
		}
	}
	return found <= 1 && (found == 1) == l.hasCell
}

// inField reports whether a line's cell is one field, and the column's. A table of one
// column may have a row in which there is nothing.
func (f *rowForm) inField(r *delimited.Record, l *line) bool {
	if !bytes.HasSuffix(l.bytes, []byte("\n")) || !l.hasCell {
		return false
	}
	if r.Blank {
		return f.width <= 1 && l.start == l.end
	}
	if f.width == 0 {
		f.width = len(r.Fields) // of a table without a header the first row says it
	}
	for i := range r.Fields {
		if r.Fields[i].In == l.start && r.Fields[i].Out == l.end && (f.column < 0 || f.column == i) {
			return len(r.Fields) == f.width
		}
	}
	return false
}

// bareReturn reports whether a record of CSV has a carriage return outside quotes that
// ends no line: what reads it may take it for an end.
func bareReturn(record []byte) bool {
	quoted := false
	for i, c := range record {
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\r' && !quoted && (i+1 == len(record) || record[i+1] != '\n'):
			return true
		}
	}
	return false
}
