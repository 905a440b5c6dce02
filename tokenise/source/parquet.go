package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"tarn/keys/fault"
	"tarn/tokenise/reason"
)

type parquetReader struct {
	name     string
	file     *os.File
	verbatim bool
	size     int64
	limit    int // bytes of a row
	rows     int64
	header   []string
	leftOut  []string
	records  pqarrow.RecordReader
	columns  []TextColumn
	number   int64
}

const parquetNext = "give a whole Parquet file; if it was copied, copy it again"

func openParquet(name string, f *os.File, size int64, o Options) (r Reader, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Usage, "reading "+name, fmt.Sprintf("it cannot be processed (%T)", p), parquetNext)
		}
		if err != nil {
			_ = f.Close() // opened for reading
		}
	}()
	properties := parquet.NewReaderProperties(memory.DefaultAllocator)
	properties.BufferedStreamEnabled = true // pages, not whole row groups, in memory
	raw, err := file.NewParquetReader(f, file.WithReadProps(properties))
	if err != nil {
		return nil, fault.New(fault.Usage, "reading "+name, "it is not a whole Parquet file", parquetNext)
	}
	reader, err := pqarrow.NewFileReader(raw, pqarrow.ArrowReadProperties{BatchSize: batchRows}, memory.DefaultAllocator)
	if err != nil {
		return nil, fault.New(fault.Usage, "reading "+name, "its schema cannot be read", parquetNext)
	}
	p := &parquetReader{name: name, file: f, size: size, limit: o.limit(), verbatim: o.Verbatim, rows: raw.NumRows()}
	leaves, err := p.choose(reader.Manifest.Fields)
	if err != nil {
		return nil, err
	}
	if p.records, err = reader.GetRecordReader(context.Background(), leaves, nil); err != nil {
		return nil, fault.New(fault.Usage, "reading "+name, "its columns cannot be read", parquetNext)
	}
	return p, nil
}

// choose makes the header of the columns that can be read as text, and returns
// their numbers. Others are left out.
func (r *parquetReader) choose(fields []pqarrow.SchemaField) (leaves []int, err error) {
	for i := range fields {
		field := &fields[i]
		column := strings.TrimSpace(field.Field.Name)
		if isNHSNumber(column) {
			return nil, fault.New(fault.Usage, "reading "+r.name, fmt.Sprintf("column %d has an NHS number for a name", i+1), "write one person a row, with the same columns in each")
		}
		if !field.IsLeaf() || !Readable(field.Field.Type) {
			r.leftOut = append(r.leftOut, column)
			continue
		}
		if slices.Contains(r.header, column) {
			return nil, fault.New(fault.Usage, "reading "+r.name, "two of its columns have the same name", "name every column, once")
		}
		r.header = append(r.header, column)
		leaves = append(leaves, field.ColIndex)
	}
	if len(leaves) == 0 {
		return nil, fault.New(fault.Usage, "reading "+r.name, "it has no column of text, numbers or dates", "write what identifies people as text, numbers or dates")
	}
	r.columns = make([]TextColumn, len(leaves))
	return leaves, nil
}

func (r *parquetReader) Header() []string { return r.header }
func (r *parquetReader) Input() Input {
	return Input{Format: FormatParquet, Bytes: r.size, Rows: r.rows, HasHeader: true, LeftOut: slices.Clone(r.leftOut)}
}

// Position gives rows as a share of the file's bytes, so that progress means
// the same for all formats.
func (r *parquetReader) Position() (done, total int64) {
	if r.rows == 0 {
		return r.size, r.size
	}
	return int64(float64(r.size) * float64(r.number) / float64(r.rows)), r.size
}

func (r *parquetReader) Close() error {
	r.records.Release()
	return r.file.Close()
}

// Read implements Reader.
func (r *parquetReader) Read(b *Batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Usage, "reading "+r.name, fmt.Sprintf("its data cannot be processed (%T)", p), parquetNext)
		}
	}()
	b.reset(r.verbatim)
	if r.rows == 0 || !r.records.Next() {
		if err := r.records.Err(); err != nil && !errors.Is(err, io.EOF) {
			return fault.New(fault.Usage, "reading "+r.name, "its data are damaged", parquetNext)
		}
		if r.number < r.rows {
			return fault.New(fault.Usage, "reading "+r.name, "it has fewer rows than it says", parquetNext)
		}
		return io.EOF
	}
	record := r.records.RecordBatch()
	for c := range r.columns {
		if r.columns[c], err = ColumnText(record.Column(c)); err != nil {
			return fault.New(fault.Usage, "reading "+r.name, "column "+r.header[c]+" "+err.Error(), "write the column as text, numbers or dates")
		}
	}
	for i := range int(record.NumRows()) {
		r.number++
		b.add(r.number, r.cells(b, record, i))
	}
	b.finish(len(r.header))
	return nil
}

// cells adds the cells of one row, or says why it cannot.
func (r *parquetReader) cells(b *Batch, record arrow.RecordBatch, row int) (problem reason.Code) {
	base, start := len(b.spans), len(b.text)
	for c, appendText := range r.columns {
		from := len(b.text)
		if !record.Column(c).IsNull(row) {
			b.text = appendText(b.text, row)
		}
		b.cell(from)
	}
	switch text := b.text[start:]; {
	case len(text) > r.limit:
		problem = reason.RowTooLong
	case !utf8.Valid(text):
		problem = reason.RowEncoding
	case bytes.IndexByte(text, 0) >= 0:
		problem = reason.RowMalformed
	}
	if problem != "" {
		b.drop(base, start)
	}
	return problem
}
