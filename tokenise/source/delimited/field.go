package delimited

import (
	"bytes"
)

// Field is where one field of a record lies in the record's bytes.
type Field struct {
	Start, End int  // all of it: what is between two delimiters
	In, Out    int  // what is between its quotes; equal to Start, End without
	Quoted     bool // it stands in quotes
	Escaped    bool // between the quotes there are doubled quotes or line ends
}

// Text returns the bytes of the field's cell: what is between its quotes, or
// all of it.
func (f *Field) Text(raw []byte) []byte { return raw[f.In:f.Out] }

// Append appends the field's value: without quotes, doubled quotes as one, line
// ends in it as a line feed. White space around it is still there.
func (f *Field) Append(to, raw []byte) []byte {
	text := f.Text(raw)
	if !f.Escaped {
		return append(to, text...)
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"':
			i++ // the second of two
		case c == '\r' && i+1 < len(text) && text[i+1] == '\n':
			continue
		}
		to = append(to, c)
	}
	return to
}

// status says how a split ended.
type status int

const (
	whole     status = iota // at the end of the bytes, outside quotes
	open                    // at the end of the bytes, within quotes
	malformed               // at something that RFC 4180 does not allow
)

// split appends the fields of raw, which is lines with their line ends. inside
// says that raw begins within a quoted field. Fields up to one that is left
// open are complete. The end of a line outside quotes that is not the end of
// raw is malformed.
func split(fields []Field, raw []byte, delimiter byte, inside bool) ([]Field, status) {
	end := len(trimLineEnd(raw))
	pos, start := 0, 0
	for {
		var quote int // of the opening quote
		if inside {
			quote, inside = -1, false
		} else {
			start = pos
			quote = openingQuote(raw[:end], pos, delimiter)
			if quote < 0 {
				stop := end
				if i := bytes.IndexByte(raw[pos:end], delimiter); i >= 0 {
					stop = pos + i
				}
				if bytes.IndexByte(raw[pos:stop], '"') >= 0 || bytes.IndexByte(raw[pos:stop], '\n') >= 0 {
					return fields, malformed
				}
				fields = append(fields, Field{Start: pos, End: stop, In: pos, Out: stop})
				if stop == end {
					return fields, whole
				}
				pos = stop + 1
				continue
			}
		}
		f := Field{Start: start, In: quote + 1, Quoted: true}
		if f.Out = closingQuote(raw, quote+1, &f.Escaped); f.Out < 0 {
			return fields, open
		}
		f.End = f.Out + 1
		fields = append(fields, f)
		switch {
		case f.End >= end: // a closing quote is never part of a line end
			return fields, whole
		case raw[f.End] != delimiter:
			return fields, malformed
		}
		pos = f.End + 1
	}
}

// openingQuote returns where the quote of the field at pos is, white space
// before it ignored; -1 where the field has none.
func openingQuote(raw []byte, pos int, delimiter byte) int {
	for i := pos; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			return i
		case c == delimiter || c != ' ' && c != '\t' && c != '\v' && c != '\f' && c != '\r':
			return -1
		}
	}
	return -1
}

// closingQuote returns where the quoted text that begins at pos ends, or -1.
func closingQuote(raw []byte, pos int, escaped *bool) int {
	begin := pos
	for {
		i := bytes.IndexByte(raw[pos:], '"')
		if i < 0 {
			return -1
		}
		at := pos + i
		if at+1 < len(raw) && raw[at+1] == '"' {
			*escaped = true
			pos = at + 2
			continue
		}
		*escaped = *escaped || bytes.IndexByte(raw[begin:at], '\n') >= 0
		return at
	}
}

// splitPlain appends the fields of a line without quotes and without line end.
func splitPlain(fields []Field, line []byte, delimiter byte) []Field {
	for pos := 0; ; {
		i := bytes.IndexByte(line[pos:], delimiter)
		if i < 0 {
			return append(fields, Field{Start: pos, End: len(line), In: pos, Out: len(line)})
		}
		fields = append(fields, Field{Start: pos, End: pos + i, In: pos, Out: pos + i})
		pos += i + 1
	}
}

// trimLineEnd returns the line without \n, \r\n or, where the stream ends in
// it, \r.
func trimLineEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}
