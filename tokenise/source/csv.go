package source

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/tokenise/demographics"
	"tarn/tokenise/reason"
)

// delimiters are those that are looked for: comma, semicolon, tab, bar, and
// the tilde of GP list files.
const delimiters = ",;\t|~"

// batchRows is the number of rows read at a time.
const batchRows = 1024

type csvReader struct {
	name    string
	closer  io.Closer
	total   int64
	frames  *framer
	decode  bool // from Windows-1252
	header  []string
	input   Input
	number  int64
	first   []byte // the first record, where it is data
	parser  *csv.Reader
	current *bytes.Reader
	ended   bool
}

func newCSV(name string, in io.Reader, closer io.Closer, size int64, o Options) (*csvReader, error) {
	limit := o.MaxRowBytes
	if limit <= 0 {
		limit = DefaultMaxRowBytes
	}
	r := &csvReader{name: name, closer: closer, total: size, decode: o.Encoding == EncodingWindows1252}
	r.frames = newFramer(in, ',', limit)
	if err := r.byteOrderMark(); err != nil {
		return nil, err
	}
	sample, err := r.frames.in.Peek(1 << 15)
	if err != nil && len(sample) == 0 {
		if err == io.EOF {
			return nil, r.fault("it is empty", "give a table with a header row")
		}
		return nil, fault.Wrap(fault.Usage, "reading "+name, err, "give a file that can be read")
	}
	delimiter := byte(o.Delimiter)
	if o.Delimiter == 0 {
		delimiter = findDelimiter(sample)
	} else if o.Delimiter > 0x7e || strings.ContainsRune("\"\r\n", o.Delimiter) {
		return nil, r.fault("the delimiter is not a single ASCII character that may divide fields", "give --delimiter as one of , ; | ~ or tab")
	}
	r.frames.delimiter = delimiter
	r.input = Input{Format: "csv", Delimiter: string(rune(delimiter)), Encoding: EncodingUTF8, Bytes: size, HasHeader: !o.NoHeader}
	if r.decode {
		r.input.Encoding = EncodingWindows1252
	}
	r.current = bytes.NewReader(nil)
	r.parser = csv.NewReader(r.current)
	return r, r.readHeader(o)
}

func (r *csvReader) fault(wrong, next string) error {
	return fault.New(fault.Usage, "reading "+r.name, wrong, next)
}

// byteOrderMark skips the mark of UTF-8 and refuses UTF-16.
func (r *csvReader) byteOrderMark() error {
	mark, _ := r.frames.in.Peek(3)
	switch {
	case bytes.HasPrefix(mark, []byte{0xef, 0xbb, 0xbf}):
		_, _ = r.frames.in.Discard(3)
		r.frames.read += 3
	case bytes.HasPrefix(mark, []byte{0xff, 0xfe}), bytes.HasPrefix(mark, []byte{0xfe, 0xff}):
		return r.fault("it is UTF-16", "save it as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8")
	}
	return nil
}

// findDelimiter returns the candidate that divides the first line into most
// fields, outside quotes; the comma where none does.
func findDelimiter(sample []byte) byte {
	line, _, _ := bytes.Cut(sample, []byte("\n"))
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

func (r *csvReader) readHeader(o Options) error {
	record, problem, err := r.frames.next()
	if err == io.EOF {
		return r.fault("it is empty", "give a table with a header row")
	}
	if err != nil {
		return fault.Wrap(fault.Usage, "reading "+r.name, err, "give a file that can be read")
	}
	var fields []string
	if problem == "" {
		fields, problem = r.parse(record, nil)
	}
	if problem != "" {
		return r.fault("its first line is no header: "+string(problem), "give a CSV file with a header row in UTF-8, or name its delimiter and encoding")
	}
	if o.NoHeader {
		for i := range fields {
			r.header = append(r.header, fmt.Sprintf("column_%d", i+1))
		}
		r.first = bytes.Clone(record)
		return nil
	}
	if at := dataCell(fields); at >= 0 {
		return r.fault(fmt.Sprintf("its first line is data and not a header: field %d is a date, a number or a postcode", at+1),
			"add a header row, or give --no-header and a column map")
	}
	if len(fields) == 1 && strings.ContainsAny(fields[0], delimiters) {
		return r.fault("its header is a single column that holds another delimiter", "give the delimiter with --delimiter")
	}
	for i, name := range fields {
		if name == "" {
			return r.fault(fmt.Sprintf("column %d of its header has no name", i+1), "name every column, once")
		}
		if slices.Index(fields, name) < i {
			return r.fault(fmt.Sprintf("columns %d and %d of its header have the same name", slices.Index(fields, name)+1, i+1), "name every column, once")
		}
	}
	r.header = fields
	return nil
}

// dataCell returns the first field that no header would hold - a date, an NHS
// number, a postcode, ten digits - or -1.
func dataCell(fields []string) int {
	far := demographics.Date{Year: 9999, Month: 12, Day: 31}
	return slices.IndexFunc(fields, func(field string) bool {
		if d, code := demographics.ParseDate(field, far); !d.IsZero() || code == reason.DateOfBirthDefault {
			return true
		}
		if _, state, problem := nhsnumber.Parse(field); state != nhsnumber.Absent && problem != nhsnumber.WrongLength {
			return true
		}
		postcode, _ := demographics.Postcode(field)
		return postcode != ""
	})
}

func (r *csvReader) Header() []string { return r.header }
func (r *csvReader) Input() Input     { return r.input }

func (r *csvReader) Position() (done, total int64) { return r.frames.read, r.total }

func (r *csvReader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Read implements Reader.
func (r *csvReader) Read(b *Batch) error {
	b.Rows = b.Rows[:0]
	for len(b.Rows) < batchRows && !r.ended {
		record, problem, err := r.nextRecord()
		if err == io.EOF {
			r.ended = true
			break
		}
		if err != nil {
			return fault.Wrap(fault.Internal, "reading "+r.name, err, "check the disk, then run again")
		}
		r.number++
		row := Row{Number: r.number, Problem: problem}
		if cap(b.Rows) > len(b.Rows) {
			row.Values = b.Rows[:len(b.Rows)+1][len(b.Rows)].Values[:0]
		}
		if problem == "" {
			row.Values, row.Problem = r.parse(record, row.Values)
		}
		if row.Problem == "" && len(row.Values) != len(r.header) {
			row.Problem = reason.RowMalformed
		}
		if row.Problem != "" {
			// Perhaps a quote that was never closed has swallowed good rows.
			r.frames.giveBack()
		}
		b.Rows = append(b.Rows, row)
	}
	if len(b.Rows) == 0 {
		return io.EOF
	}
	return nil
}

func (r *csvReader) nextRecord() ([]byte, reason.Code, error) {
	if r.first != nil {
		record := r.first
		r.first = nil
		return record, "", nil
	}
	return r.frames.next()
}

// parse splits one record into trimmed fields, appended to values[:0].
func (r *csvReader) parse(record []byte, values []string) ([]string, reason.Code) {
	if bytes.IndexByte(record, 0) >= 0 {
		return nil, reason.RowMalformed
	}
	if r.decode {
		decoded, err := charmap.Windows1252.NewDecoder().Bytes(record)
		if err != nil {
			return nil, reason.RowEncoding
		}
		record = decoded
	} else if !utf8.Valid(record) {
		return nil, reason.RowEncoding
	}
	values = values[:0]
	if bytes.IndexByte(record, '"') < 0 {
		text := string(record)
		for {
			i := strings.IndexByte(text, r.frames.delimiter)
			if i < 0 {
				return append(values, strings.TrimSpace(text)), ""
			}
			values = append(values, strings.TrimSpace(text[:i]))
			text = text[i+1:]
		}
	}
	r.current.Reset(record)
	r.parser = csv.NewReader(r.current) // a parser keeps state of the record before
	r.parser.Comma, r.parser.TrimLeadingSpace, r.parser.FieldsPerRecord = rune(r.frames.delimiter), r.frames.delimiter != '\t', -1
	fields, err := r.parser.Read()
	if err != nil || r.current.Len() > 0 && r.hasMore() {
		return nil, reason.RowMalformed
	}
	for _, field := range fields {
		values = append(values, strings.TrimSpace(field))
	}
	return values, ""
}

// hasMore reports whether the parser finds a second record where there may be
// one only.
func (r *csvReader) hasMore() bool {
	_, err := r.parser.Read()
	return err != io.EOF
}
