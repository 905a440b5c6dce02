package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/tokenise/online"
	"tarn/tokenise/reason"
	"tarn/tokenise/source/jsonlines"
	"tarn/tokenise/source/stream"
)

// Members of a request.
const (
	memberReturn = "return"
	memberRows   = "rows"
)

const jsonForm = `send {"return": ["token", "encodings"], "rows": [{"unique_id": ..}, ..]}`

var (
	errNoJSON  = malformed("", "it is no JSON", jsonForm)
	errMembers = malformed("", "it has not the members return and rows, each once at most and of the right kind", jsonForm)
)

// json reads {"return": [..], "rows": [..]}. Nothing is made of it but rows, so that what
// it takes is bounded by their number whatever is in it. A row that could not be read is
// refused by itself: names that are there twice and what is no Unicode are looked at here.
func (d *Decoder) json(body []byte) error {
	body = bytes.TrimPrefix(body, byteOrderMark)
	d.document = *bytes.NewBuffer(slices.Clip(body)) // nothing is written behind it
	t := d.tokens
	t.Reset(&d.document, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if kind := t.PeekKind(); kind != jsontext.KindBeginObject && kind != jsontext.KindInvalid {
		return malformed("", "it is no JSON object", jsonForm)
	}
	if _, err := t.ReadToken(); err != nil { // it may repeat the text, as all of these
		return errNoJSON
	}
	rows := false
	for t.PeekKind() != jsontext.KindEndObject {
		name, err := t.ReadValue()
		if err != nil {
			return errNoJSON
		}
		switch kind := t.PeekKind(); {
		case d.is(name, memberRows) && kind == jsontext.KindBeginArray && !rows:
			rows = true
			if err := d.jsonRows(); err != nil {
				return err
			}
		case d.is(name, memberReturn) && kind == jsontext.KindBeginArray && !d.request.Stated:
			if err := d.asked(); err != nil {
				return err
			}
		case kind == jsontext.KindInvalid:
			return errNoJSON
		default:
			return errMembers
		}
	}
	if _, err := t.ReadToken(); err != nil {
		return errNoJSON
	}
	if _, err := t.ReadToken(); !errors.Is(err, io.EOF) {
		return errNoJSON
	}
	if !rows {
		return errMembers
	}
	return nil
}

// is reports whether a name, as it is written, is this one.
func (d *Decoder) is(raw []byte, name string) bool { return string(d.name(raw)) == name }

// name returns a name without its quotation marks and escapes, until the following call.
func (d *Decoder) name(raw []byte) []byte {
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	d.scratch, _ = jsontext.AppendUnquote(d.scratch[:0], raw) // what is no Unicode in it makes it no field's
	return d.scratch
}

// asked reads what a document asks for.
func (d *Decoder) asked() error {
	t := d.tokens
	if _, err := t.ReadToken(); err != nil {
		return errNoJSON
	}
	for t.PeekKind() != jsontext.KindEndArray {
		switch word, err := t.ReadValue(); {
		case err != nil:
			return errNoJSON
		case word.Kind() != jsontext.KindString || !Ask(&d.request.Asked, string(d.name(word))):
			return errMembers
		}
		d.request.Stated = true
	}
	if _, err := t.ReadToken(); err != nil {
		return errNoJSON
	}
	if !d.request.Stated {
		return errMembers
	}
	return nil
}

// Ask adds one word of what is asked for, token or encodings, and reports whether it is
// one.
func Ask(a *online.Asked, word string) bool {
	switch word {
	case "token":
		a.Tokens = true
	case "encodings":
		a.Encodings = true
	default:
		return false
	}
	return true
}

// jsonRows reads the array of rows.
func (d *Decoder) jsonRows() error {
	t := d.tokens
	if _, err := t.ReadToken(); err != nil {
		return errNoJSON
	}
	for t.PeekKind() != jsontext.KindEndArray {
		row, err := d.next()
		if err != nil {
			return err
		}
		begin := t.InputOffset()
		if err := d.jsonRow(row); err != nil {
			return err
		}
		if t.InputOffset()-begin > maxRow {
			row.Problem = reason.RowTooLong
		}
	}
	if _, err := t.ReadToken(); err != nil {
		return errNoJSON
	}
	return nil
}

// jsonRow reads a row of a document.
func (d *Decoder) jsonRow(row *online.Row) error {
	t := d.tokens
	if t.PeekKind() != jsontext.KindBeginObject {
		raw, err := t.ReadValue()
		if err != nil {
			return errNoJSON
		}
		refuse(row, unreadable(raw))
		return nil
	}
	if _, err := t.ReadToken(); err != nil {
		return errNoJSON
	}
	var seen uint32
	for n := 0; t.PeekKind() != jsontext.KindEndObject; n++ {
		raw, err := t.ReadValue()
		if err != nil {
			return errNoJSON
		}
		at, known := d.field(d.name(raw), n)
		if !known {
			return unknownColumn("/rows/" + strconv.Itoa(len(d.request.Rows)-1))
		}
		value, err := t.ReadValue()
		if err != nil {
			return errNoJSON
		}
		if seen>>at&1 == 1 { // which of two is meant nobody knows
			refuse(row, unreadable(value))
			continue
		}
		seen |= 1 << at
		d.value(row, at, value, false)
	}
	if _, err := t.ReadToken(); err != nil {
		return errNoJSON
	}
	return nil
}

// unreadable returns why what is no row, or no value of one, is refused.
func unreadable(raw []byte) reason.Code {
	if !utf8.Valid(raw) {
		return reason.RowEncoding
	}
	return reason.RowMalformed
}

// value sets a field to the text of a value as it is written: of a string what it is, of a
// number, true and false its letters. transient says that raw is used again, so that the
// text has to be copied.
func (d *Decoder) value(row *online.Row, at online.Field, raw jsontext.Value, transient bool) {
	from := len(d.arena)
	text := []byte(raw)
	switch kind := raw.Kind(); {
	case kind == jsontext.KindNull:
		return
	case kind == jsontext.KindBeginObject || kind == jsontext.KindBeginArray:
		refuse(row, unreadable(raw))
		return
	case kind == jsontext.KindString && bytes.IndexByte(raw, '\\') >= 0:
		var err error
		if d.arena, err = jsontext.AppendUnquote(d.arena, raw); err != nil { // half of a pair of surrogates, or no UTF-8
			refuse(row, unreadable(raw))
			return
		}
		set(row, at, d.arena[from:len(d.arena):len(d.arena)])
		return
	case kind == jsontext.KindString:
		text = text[1 : len(text)-1]
	}
	if transient {
		text = d.kept(text)
	}
	set(row, at, text)
}

// kept returns a copy of a text in the decoder's memory.
func (d *Decoder) kept(text []byte) []byte {
	from := len(d.arena)
	d.arena = append(d.arena, text...)
	return d.arena[from:len(d.arena):len(d.arena)]
}

// lines reads NDJSON, one row a line, with the reader of tokeniser run. A line that is no
// object is a row that is refused; one of white space only is none.
func (d *Decoder) lines(body []byte) error {
	body = bytes.TrimPrefix(body, byteOrderMark)
	if trimmed := bytes.TrimSpace(body); len(trimmed) > 0 && trimmed[0] == '[' {
		return malformed("", "it is a JSON array and not lines", "send one object a line: jq -c '.[]'")
	}
	scanner := jsonlines.New(stream.NewWindow(bytes.NewReader(body)), maxRow)
	r := &d.line
	for {
		if err := scanner.Next(r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return malformed("", "it cannot be read", "send one object a line")
		}
		if r.Blank {
			continue
		}
		row, err := d.next()
		if err != nil {
			return err
		}
		row.Problem = r.Problem
		for i := range r.Members {
			m := &r.Members[i]
			at, known := d.field(d.name(r.Raw[m.Name:m.NameEnd]), i)
			if !known {
				return unknownColumn("/" + strconv.Itoa(len(d.request.Rows)-1))
			}
			d.value(row, at, r.Raw[m.Start:m.End], true)
		}
	}
}
