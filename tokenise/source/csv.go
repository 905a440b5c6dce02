package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"tarn/keys/nhsnumber"
	"tarn/tokenise/demographics"
	"tarn/tokenise/reason"
	"tarn/tokenise/source/delimited"
)

// delimiters are those that are looked for: comma, semicolon, tab, bar, and
// the tilde of GP list files.
const delimiters = ",;\t|~"

type csvReader struct {
	*text
	delimiter byte
	scanner   *delimited.Scanner
	header    []string
	leading   []byte // blank lines before the header
	record    delimited.Record
	held      bool // record is data and was not handed on yet
	number    int64
}

// findDelimiter returns the candidate that divides the first line with
// anything in it into most fields, outside quotes; the comma where none does.
func findDelimiter(sample []byte) byte {
	line, _, _ := bytes.Cut(bytes.TrimLeft(sample, " \r\n"), []byte("\n"))
	best, most := byte(','), 0
	for _, candidate := range []byte(delimiters) {
		if n := countOutsideQuotes(line, candidate); n > most {
			best, most = candidate, n
		}
	}
	return best
}

func countOutsideQuotes(line []byte, c byte) (n int) {
	quoted := false
	for _, b := range line {
		if b == '"' {
			quoted = !quoted
		} else if b == c && !quoted {
			n++
		}
	}
	return n
}

func (r *csvReader) readHeader() error {
	const next = "give a CSV file with a header row, or name its delimiter and encoding"
	for r.record.Blank = true; r.record.Blank; {
		if r.leading = append(r.leading, r.record.Raw...); len(r.leading) > r.options.limit() {
			return r.fault("it begins with blank lines", next)
		}
		if err := r.scanner.Next(0, &r.record); errors.Is(err, io.EOF) {
			return r.fault("it is empty", "give a table with a header row")
		} else if err != nil {
			return r.wrap(err)
		}
	}
	problem := r.record.Problem
	if problem == "" {
		var err error
		if problem, err = r.check(); err != nil {
			return r.wrap(err)
		}
	}
	if problem != "" {
		return r.fault("its first line is no header: "+string(problem), next)
	}
	var b Batch
	r.cells(&b)
	b.add(0, "")
	b.finish(len(r.record.Fields))
	fields := b.Rows[0].Values
	if slices.ContainsFunc(fields, func(f string) bool { return strings.ContainsRune(f, '\r') }) {
		return r.fault("its lines end in carriage returns alone", "convert it: tr '\\r' '\\n'")
	}
	if r.options.NoHeader {
		for i := range fields {
			r.header = append(r.header, fmt.Sprintf("column_%d", i+1))
		}
		r.held = true
		return nil
	}
	r.header = fields
	return r.checkHeader()
}

// checkHeader refuses what is no header.
func (r *csvReader) checkHeader() error {
	if at := dataCell(r.header); at >= 0 {
		return r.fault(fmt.Sprintf("its first line is data and not a header: field %d is a date, a number or a postcode", at+1),
			"add a header row, or give --no-header and a column map")
	}
	if len(r.header) == 1 && strings.ContainsAny(r.header[0], delimiters) {
		return r.fault("its header is a single column that holds another delimiter", "give the delimiter with --delimiter")
	}
	return r.checkNames(r.header)
}

// checkNames refuses columns that cannot be told apart.
func (t *text) checkNames(header []string) error {
	for i, name := range header {
		if name == "" {
			return t.fault(fmt.Sprintf("column %d of its header has no name", i+1), "name every column, once")
		}
		if slices.Index(header, name) < i {
			return t.fault(fmt.Sprintf("columns %d and %d of its header have the same name", slices.Index(header, name)+1, i+1), "name every column, once")
		}
	}
	return nil
}

// isNHSNumber reports whether a column's name is one.
func isNHSNumber(name string) bool {
	_, state, problem := nhsnumber.Parse(name)
	return state != nhsnumber.Absent && problem != nhsnumber.WrongLength
}

// dataCell returns the first field that no header would hold - a date, an NHS
// number, a postcode, ten digits - or -1.
func dataCell(fields []string) int {
	far := demographics.Date{Year: 9999, Month: 12, Day: 31}
	return slices.IndexFunc(fields, func(field string) bool {
		if d, code := demographics.ParseDate(field, far); !d.IsZero() || code == reason.DateOfBirthDefault {
			return true
		}
		if isNHSNumber(field) {
			return true
		}
		postcode, _ := demographics.Postcode(field)
		return postcode != ""
	})
}

func (r *csvReader) Header() []string { return r.header }

func (r *csvReader) Input() Input {
	i := r.input()
	i.Delimiter, i.HasHeader = string(rune(r.delimiter)), !r.options.NoHeader
	return i
}

// Read implements Reader.
func (r *csvReader) Read(b *Batch) error {
	b.reset(r.options.Verbatim)
	for !b.full() {
		if r.held {
			r.held = false
		} else if err := r.scanner.Next(len(r.header), &r.record); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return r.wrap(err)
		}
		problem := r.record.Problem
		if r.record.Blank {
			if !r.options.Verbatim || len(r.header) > 1 {
				continue
			}
			problem = reason.RowMalformed
		}
		if problem == "" {
			var err error
			if problem, err = r.check(); err != nil {
				return r.wrap(err)
			}
		}
		if problem == "" {
			r.cells(b)
		}
		r.number++
		b.add(r.number, problem)
	}
	if len(b.Rows) == 0 {
		return io.EOF
	}
	b.finish(len(r.header))
	return nil
}

// check says why the current record is no text, and settles the encoding
// where it has to be known.
func (r *csvReader) check() (reason.Code, error) {
	raw := r.record.Raw
	if bytes.IndexByte(raw, 0) >= 0 {
		return reason.RowMalformed, nil
	}
	if asciiPrefix(raw) == len(raw) {
		return "", nil
	}
	if r.decoder.encoding == "" {
		var err error
		if raw, err = r.decoder.decide(raw, r.window); err != nil {
			return "", err
		}
		r.record.Raw = raw
	}
	return r.decoder.check(raw), nil
}

// cells adds the cells of the current record.
func (r *csvReader) cells(b *Batch) {
	raw, base := r.record.Raw, len(b.text)
	if r.decoder.encoding != EncodingWindows1252 {
		b.text = append(b.text, raw...)
		for i := range r.record.Fields {
			f := &r.record.Fields[i]
			if !f.Escaped {
				b.spans = append(b.spans, b.span(base+f.In, base+f.Out))
				continue
			}
			start := len(b.text)
			b.text = f.Append(b.text, raw)
			b.cell(start)
		}
		return
	}
	for i := range r.record.Fields {
		start := len(b.text)
		r.decoder.scratch = r.record.Fields[i].Append(r.decoder.scratch[:0], raw)
		b.text = r.decoder.append(b.text, r.decoder.scratch)
		b.cell(start)
	}
}
