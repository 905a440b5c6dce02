package wire

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/valyala/fastjson"

	"tarn/tokenise/online"
	"tarn/tokenise/reason"
)

// Members of a request.
const (
	memberReturn = "return"
	memberRows   = "rows"
)

// json reads {"return": [..], "rows": [..]}.
func (d *Decoder) json(body []byte) error {
	const form = `send {"return": ["token", "encodings"], "rows": [{"unique_id": ..}, ..]}`
	document, err := d.document(body)
	if err != nil { // it repeats the text
		return malformed("", "it is no JSON", form)
	}
	object, err := document.Object()
	if err != nil {
		return malformed("", "it is no JSON object", form)
	}
	var rows *fastjson.Value
	members, wrong := 0, false
	object.Visit(func(key []byte, v *fastjson.Value) {
		members++
		switch string(key) {
		case memberRows:
			wrong = wrong || rows != nil
			rows = v
		case memberReturn:
			wrong = wrong || d.request.Stated || !d.asked(v)
		default:
			wrong = true
		}
	})
	switch {
	case wrong || rows == nil || rows.Type() != fastjson.TypeArray:
		return malformed("", "it has not the members return and rows, each once at most and of the right kind", form)
	}
	for i, v := range rows.GetArray() {
		row, err := d.next()
		if err != nil {
			return err
		}
		if d.rowOf(v, row) {
			return unknownColumn("/rows/" + strconv.Itoa(i))
		}
	}
	return nil
}

// document parses JSON. The parser bounds how deep it is nested, and is generous where RFC
// 8259 is not; the validator is not generous, and knows no bound: in this order.
func (d *Decoder) document(b []byte) (*fastjson.Value, error) {
	v, err := d.parser.ParseBytes(b)
	if err != nil {
		return nil, err
	}
	return v, fastjson.ValidateBytes(b)
}

// asked reads what a document asks for.
func (d *Decoder) asked(v *fastjson.Value) bool {
	all, err := v.Array()
	if err != nil || len(all) == 0 {
		return false
	}
	for _, one := range all {
		text, err := one.StringBytes()
		if err != nil || !Ask(&d.request.Asked, string(text)) {
			return false
		}
	}
	d.request.Stated = true
	return true
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

// member is what the visitor of a row's members works on.
type member struct {
	row     *online.Row
	seen    uint32
	unknown bool
}

// rowOf reads a row, and reports whether it has a member that no row has.
func (d *Decoder) rowOf(v *fastjson.Value, row *online.Row) (unknown bool) {
	object, err := v.Object()
	if err != nil {
		row.Problem = reason.RowMalformed
		return false
	}
	d.member = member{row: row}
	object.Visit(d.visit)
	return d.member.unknown
}

func (d *Decoder) visitMember(key []byte, v *fastjson.Value) {
	m := &d.member
	at, known := online.FieldOf(key)
	if !known {
		m.unknown = true
		return
	}
	if m.seen>>at&1 == 1 { // which of two is meant nobody knows
		m.row.Problem = reason.RowMalformed
		return
	}
	m.seen |= 1 << at
	switch v.Type() {
	case fastjson.TypeString:
		set(m.row, at, v.GetStringBytes())
	case fastjson.TypeNull:
	case fastjson.TypeNumber, fastjson.TypeTrue, fastjson.TypeFalse:
		// As it is written, which is what a table's reader takes it for.
		from := len(d.arena)
		d.arena = v.MarshalTo(d.arena)
		set(m.row, at, d.arena[from:len(d.arena):len(d.arena)])
	default:
		m.row.Problem = reason.RowMalformed
	}
}

// lines reads NDJSON, one row a line. A line that is no object is a row that is refused;
// one of white space only is none.
func (d *Decoder) lines(body []byte) error {
	if trimmed := bytes.TrimSpace(body); len(trimmed) > 0 && trimmed[0] == '[' {
		return malformed("", "it is a JSON array and not lines", "send one object a line: jq -c '.[]'")
	}
	// The parser has the memory of one document at a time: lines are made members of one.
	for number := 0; len(body) > 0; {
		line, rest, _ := bytes.Cut(body, []byte("\n"))
		body = rest
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		row, err := d.next()
		if err != nil {
			return err
		}
		number++
		if !utf8.Valid(line) {
			row.Problem = reason.RowEncoding
			continue
		}
		v, err := d.document(line)
		if err != nil {
			row.Problem = reason.RowMalformed
			continue
		}
		if d.rowOf(v, row) {
			return unknownColumn("/" + strconv.Itoa(number-1))
		}
		d.keep(row)
	}
	return nil
}

// keep copies a row's texts, which the parser's next document overwrites, into the
// decoder's memory.
func (d *Decoder) keep(row *online.Row) {
	row.ID = d.kept(row.ID)
	for i := range row.Values {
		row.Values[i] = d.kept(row.Values[i])
	}
}

func (d *Decoder) kept(text string) string {
	if text == "" {
		return ""
	}
	from := len(d.arena)
	d.arena = append(d.arena, text...)
	return shared(d.arena[from:len(d.arena):len(d.arena)])
}
