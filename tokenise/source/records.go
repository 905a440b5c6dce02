package source

import (
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"tarn/tokenise/reason"
	"tarn/tokenise/source/jsonlines"
)

// Records reads a table of CSV or NDJSON as the pieces it is made of, so that
// it can be written again with one column changed and every other byte as it
// was. Put together, the bytes of all pieces are the table.
type Records struct {
	table  *text
	csv    *csvReader    // nil for NDJSON
	ndjson *ndjsonReader // nil for CSV
	column int           // of CSV
	number int64
	next   stage
}

// stage is what comes next of a table.
type stage int

const (
	stageMark stage = iota
	stageLeading
	stageHeader
	stageRows
)

// Piece is a stretch of a table: a record, or what is between and before them.
type Piece struct {
	// Bytes is valid until the next piece is read. Of UTF-16 it is UTF-8, which
	// Encode turns back. It is empty for a row that is too long.
	Bytes   []byte
	Number  int64       // of the data row, from 1; 0 for the header, blank lines and the like
	Problem reason.Code // why the row cannot be divided into cells, or ""
	// HasCell says that the row has the cell; an NDJSON object may lack it. It
	// lies at Start to End in Bytes: of CSV without its quotes, of NDJSON with
	// them.
	HasCell    bool
	Start, End int
	// Value is the cell's text as UTF-8, white space around it included; valid as
	// long as Bytes.
	Value []byte
}

// OpenRecords opens a table for its pieces and finds the column in its header.
// A nil Records says that the table is Parquet. What is wrong with the table as
// a whole is of kind [fault.Usage].
func OpenRecords(path, column string, o Options) (*Records, error) {
	t, err := openText(path, o)
	if err != nil {
		return nil, err
	}
	r := &Records{table: t}
	if t.format == FormatParquet {
		return nil, t.Close()
	}
	if err := r.open(column); err != nil {
		_ = t.Close() // opened for reading
		return nil, err
	}
	return r, nil
}

func (r *Records) open(column string) error {
	reader, err := r.table.reader()
	if err != nil {
		return err
	}
	switch reader := reader.(type) {
	case *csvReader:
		r.csv = reader
	case *ndjsonReader:
		r.ndjson = reader
	}
	if r.column = slices.Index(reader.Header(), column); r.column >= 0 {
		return nil
	}
	if slices.Contains(reader.Input().LeftOut, column) {
		return r.table.fault("the column holds objects or lists", "name a column of text or numbers with --column")
	}
	return r.table.fault("it has no column of the name given with --column", "name one of its columns; names are compared letter by letter")
}

// Input says what is being read.
func (r *Records) Input() Input {
	if r.csv != nil {
		return r.csv.Input()
	}
	return r.ndjson.Input()
}

// Header returns the names of the columns, as that of a Reader.
func (r *Records) Header() []string {
	if r.csv != nil {
		return r.csv.Header()
	}
	return r.ndjson.Header()
}

// Position is that of a Reader.
func (r *Records) Position() (done, total int64) { return r.table.Position() }

// Close closes the table.
func (r *Records) Close() error { return r.table.Close() }

// Next reads the next piece, or returns io.EOF.
func (r *Records) Next(p *Piece) error {
	*p = Piece{Value: p.Value[:0]}
	if r.next == stageMark {
		r.next = stageLeading
		if p.Bytes = r.table.mark; p.Bytes != nil {
			return nil
		}
	}
	var err error
	if r.csv != nil {
		err = r.nextCSV(p)
	} else {
		err = r.nextNDJSON(p)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return r.table.wrap(err)
	}
	return err
}

func (r *Records) nextCSV(p *Piece) error {
	c := r.csv
	header := false
	switch r.next {
	case stageLeading:
		r.next = stageHeader
		if p.Bytes = c.leading; len(p.Bytes) > 0 {
			return nil
		}
		fallthrough
	case stageHeader: // was read when the table was opened
		r.next, header = stageRows, true
	default:
		if err := c.scanner.Next(len(c.header), &c.record); err != nil {
			return err
		}
	}
	p.Bytes = c.record.Raw
	if header && !c.held || c.record.Blank {
		return nil
	}
	r.row(p, c.record.Problem)
	if p.Problem != "" {
		return nil
	}
	f := &c.record.Fields[r.column]
	p.HasCell, p.Start, p.End = true, f.In, f.Out
	if c.decoder.encoding == EncodingWindows1252 {
		c.decoder.scratch = f.Append(c.decoder.scratch[:0], p.Bytes)
		p.Value = c.decoder.append(p.Value, c.decoder.scratch)
	} else {
		p.Value = f.Append(p.Value, p.Bytes)
	}
	return nil
}

func (r *Records) nextNDJSON(p *Piece) error {
	n := r.ndjson
	if err := n.scanner.Next(&n.record); err != nil {
		return err
	}
	if p.Bytes = n.record.Raw; n.record.Blank {
		return nil
	}
	r.row(p, n.record.Problem)
	for i := range n.record.Members {
		m := &n.record.Members[i]
		at, known := n.column(p.Bytes[m.Name:m.NameEnd], i)
		if !known && m.Kind != 'n' && p.Problem == "" { // it may hold what the column should
			p.Problem, p.HasCell, p.Value = reason.RowMalformed, false, p.Value[:0]
		}
		if !known || at != r.column || p.Problem != "" {
			continue
		}
		p.HasCell, p.Start, p.End = true, m.Start, m.End
		if m.Nested() { // no number, whatever is in it
			p.Value = append(p.Value, p.Bytes[m.Start:m.End]...)
		} else {
			p.Value = jsonlines.AppendText(p.Value, p.Bytes[m.Start:m.End])
		}
	}
	return nil
}

// row makes a piece the next data row.
func (r *Records) row(p *Piece, problem reason.Code) {
	r.number++
	p.Number, p.Problem = r.number, problem
	// What was no UTF-16 cannot be turned back into what it was.
	if r.table.stream.Encoding() != "" && problem == "" && r.table.decoder.check(p.Bytes) != "" {
		p.Problem = reason.RowEncoding
	}
}

// Encode returns a writer that turns pieces back into the encoding they were
// read in. Close it; that does not close w.
func (r *Records) Encode(w io.Writer) io.WriteCloser {
	order := unicode.LittleEndian
	switch r.table.stream.Encoding() {
	case EncodingUTF16LE:
	case EncodingUTF16BE:
		order = unicode.BigEndian
	default:
		return plain{w}
	}
	return transform.NewWriter(w, unicode.UTF16(order, unicode.IgnoreBOM).NewEncoder())
}

// Compress returns a writer that compresses what a table of this name is, by its
// extension: .gz or .zst, else not. Close it; that does not close w.
func Compress(path string, w io.Writer) (io.WriteCloser, error) {
	switch name := strings.ToLower(path); {
	case strings.HasSuffix(name, ".gz"):
		return gzip.NewWriter(w), nil
	case strings.HasSuffix(name, ".zst"):
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return plain{w}, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
