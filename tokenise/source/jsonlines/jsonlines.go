// Package jsonlines reads NDJSON: one JSON object (RFC 8259) a line, each a
// record whose members are its fields. It says where each value lies, so that
// a program may read a table or write it again with every other byte untouched.
//
// Nothing is lost and nothing ends early: a line that is no object, holds a
// name twice or is not UTF-8 is handed on with its reason.
package jsonlines

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/tokenise/reason"
	"tarn/tokenise/source/stream"
)

// Member is one top-level member of an object: where its name and its value lie
// in the line, quotation marks included.
type Member struct {
	Name, NameEnd int
	Start, End    int
	Kind          jsontext.Kind // of the value: n, f, t, ", 0, { or [
}

// Nested reports whether the value is an object or an array.
func (m *Member) Nested() bool { return m.Kind == '{' || m.Kind == '[' }

// Record is one line, valid until the next is read.
type Record struct {
	Raw     []byte   // with its line end; empty where it is too long
	Members []Member // empty where there is a problem
	Blank   bool     // white space only: no record
	Problem reason.Code
}

// Scanner reads one line after another.
type Scanner struct {
	window  *stream.Window
	limit   int
	line    bytes.Buffer
	decoder *jsontext.Decoder
}

// New returns a scanner of the lines that are left in the window, of at most
// limit bytes each.
func New(window *stream.Window, limit int) *Scanner {
	s := &Scanner{window: window, limit: limit}
	s.decoder = jsontext.NewDecoder(&s.line)
	return s
}

// Next reads the next line, or returns io.EOF.
func (s *Scanner) Next(r *Record) error {
	r.Blank, r.Problem, r.Members = false, "", r.Members[:0]
	end, ok, err := s.window.LineAt(0, s.limit+2)
	if err != nil {
		return err
	}
	if !ok {
		r.Raw, r.Problem = nil, reason.RowTooLong
		return s.window.SkipLine()
	}
	if end == 0 {
		return io.EOF
	}
	r.Raw = s.window.Bytes()[:end]
	s.window.Take(end)
	s.parse(r)
	return nil
}

// Peek parses the line that begins at from in the window, and returns its end;
// it takes nothing. A line that is too long, or not whole in the window, has
// the problem [reason.RowTooLong].
func (s *Scanner) Peek(from int, r *Record) (end int) {
	r.Blank, r.Problem, r.Members = false, "", r.Members[:0]
	rest := s.window.Bytes()[from:]
	end = bytes.IndexByte(rest, '\n') + 1
	if end == 0 {
		end = len(rest)
	}
	if r.Raw = rest[:end]; end > s.limit+2 {
		r.Problem = reason.RowTooLong
		return from + end
	}
	s.parse(r)
	return from + end
}

func (s *Scanner) parse(r *Record) {
	if len(bytes.TrimSpace(r.Raw)) == 0 {
		r.Blank = true
		return
	}
	if !utf8.Valid(r.Raw) {
		r.Problem = reason.RowEncoding
		return
	}
	s.line = *bytes.NewBuffer(r.Raw[:len(r.Raw):len(r.Raw)]) // so that nothing behind the line is written to
	s.decoder.Reset(&s.line)
	if !s.object(r) {
		r.Problem, r.Members = reason.RowMalformed, r.Members[:0]
	}
}

// object reads one object and nothing after it.
func (s *Scanner) object(r *Record) bool {
	d := s.decoder
	if d.PeekKind() != '{' {
		return false
	}
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadValue()
		if err != nil {
			return false
		}
		nameEnd := int(d.InputOffset())
		nameStart := nameEnd - len(name)
		kind := d.PeekKind()
		value, err := d.ReadValue()
		if err != nil {
			return false
		}
		end := int(d.InputOffset())
		r.Members = append(r.Members, Member{Name: nameStart, NameEnd: nameEnd, Start: end - len(value), End: end, Kind: kind})
	}
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	_, err := d.ReadToken()
	return errors.Is(err, io.EOF)
}

// AppendText appends the text of a value or name: a string without its
// quotation marks and escapes, a number, true or false as written, nothing for
// null. It must not be nested.
func AppendText(to, raw []byte) []byte {
	switch {
	case len(raw) > 0 && raw[0] == '"':
		if bytes.IndexByte(raw, '\\') < 0 {
			return append(to, raw[1:len(raw)-1]...)
		}
		to, _ = jsontext.AppendUnquote(to, raw) // the decoder has accepted it
		return to
	case len(raw) > 0 && raw[0] == 'n':
		return to
	}
	return append(to, raw...)
}
