package forward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"tarn/keys/fault"
	"tarn/tokenise/source"
	"tarn/tokenise/source/arrowframe"
)

// A Parquet row goes as an Arrow record of one row, whose token is null: types and nulls
// of every column arrive as they were, lists and objects, too. What a stream of Arrow
// begins with, its schema, is the same for all rows and is in the manifest once.

const parquetNext = "give a whole Parquet file; if it was copied, copy it again"

// endOfStream is what a stream of Arrow ends with.
var endOfStream = []byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}

// batchRows is how many rows are read at a time.
const batchRows = 1024

// parquetTable reads a Parquet file.
type parquetTable struct {
	name    string
	file    *os.File
	in      source.Input
	rows    int64
	records pqarrow.RecordReader
	schema  *arrow.Schema // with the column as optional text
	column  int
	before  []byte

	record arrow.RecordBatch // with the column emptied
	texts  *array.String
	at     int
	row    cellRow
	buffer bytes.Buffer
}

func openParquet(ctx context.Context, path, column string) (t *parquetTable, err error) {
	doing := "reading " + path
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Usage, doing, fmt.Sprintf("it cannot be processed (%T)", p), parquetNext)
		}
		if err != nil && t != nil {
			_ = t.file.Close() // opened for reading
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the path of a table that this user can read with --in")
	}
	t = &parquetTable{name: path, file: f}
	info, err := f.Stat()
	if err != nil {
		return t, fault.Wrap(fault.Usage, doing, err, "give the path of a table that this user can read with --in")
	}
	t.in = source.Input{Format: source.FormatParquet, Bytes: info.Size(), HasHeader: true}
	properties := parquet.NewReaderProperties(memory.DefaultAllocator)
	properties.BufferedStreamEnabled = true // pages, not whole row groups, in memory
	raw, err := file.NewParquetReader(f, file.WithReadProps(properties))
	if err != nil {
		return t, fault.New(fault.Usage, doing, "it is not a whole Parquet file", parquetNext)
	}
	t.rows = raw.NumRows()
	if withoutDurations(raw) {
		return t, fault.New(fault.Usage, doing, "a list or an object in a column holds durations, which cannot be sent there", "write them as whole numbers")
	}
	reader, err := pqarrow.NewFileReader(raw, pqarrow.ArrowReadProperties{BatchSize: batchRows}, memory.DefaultAllocator)
	if err != nil {
		return t, fault.New(fault.Usage, doing, "its schema cannot be read", parquetNext)
	}
	schema, err := reader.Schema()
	if err != nil {
		return t, fault.New(fault.Usage, doing, "its schema cannot be read", parquetNext)
	}
	if err := t.choose(doing, schema, column); err != nil {
		return t, err
	}
	if t.records, err = reader.GetRecordReader(ctx, nil, nil); err != nil {
		return t, fault.New(fault.Usage, doing, "its columns cannot be read", parquetNext)
	}
	return t, nil
}

// choose finds the column.
func (t *parquetTable) choose(doing string, schema *arrow.Schema, column string) error {
	at := schema.FieldIndices(column)
	switch {
	case len(at) == 0:
		return fault.New(fault.Usage, doing, "it has no column of the name given with --column", "name one of its columns; names are compared letter by letter")
	case len(at) > 1:
		return fault.New(fault.Usage, doing, "two of its columns have the name given with --column", "name every column, once")
	}
	t.column = at[0]
	fields := schema.Fields()
	if fields[t.column].Type.ID() != arrow.STRING {
		return fault.New(fault.Usage, doing, "the column given with --column does not hold text", "give a table as tokeniser column writes it")
	}
	for i := range fields {
		// One row by itself has no categories: they arrive as what they name.
		if categories, ok := fields[i].Type.(*arrow.DictionaryType); ok {
			fields[i].Type = categories.ValueType
		}
		if nested, ok := fields[i].Type.(arrow.NestedType); ok && holds(nested, arrow.NULL) {
			return fault.New(fault.Usage, doing, "a list or an object in a column holds values of no type, which cannot be sent there", "leave the column out, or write it with a type")
		}
		if hasCategories(fields[i].Type) {
			return fault.New(fault.Usage, doing, "a list or an object in a column is stored as categories, which one row alone cannot be", "write the table with the column's parts as text")
		}
	}
	fields[t.column].Nullable = true
	meta := withoutRange(schema.Metadata())
	t.schema = arrow.NewSchema(fields, &meta)
	stream, err := t.stream(nil)
	t.before = bytes.Clone(bytes.TrimSuffix(stream, endOfStream))
	return err
}

// hasCategories reports whether a type has a part that is stored as categories.
func hasCategories(t arrow.DataType) bool { return holds(t, arrow.DICTIONARY) }

// holds reports whether a type is of a kind, or has a part that is.
func holds(t arrow.DataType, kind arrow.Type) bool {
	if nested, ok := t.(arrow.NestedType); ok {
		return slices.ContainsFunc(nested.Fields(), func(f arrow.Field) bool { return holds(f.Type, kind) })
	}
	return t.ID() == kind
}

// stream writes a record, or none, as a stream of Arrow. It is valid until the next call.
func (t *parquetTable) stream(record arrow.RecordBatch) ([]byte, error) {
	t.buffer.Reset()
	w := ipc.NewWriter(&t.buffer, ipc.WithSchema(t.schema))
	var err error
	if record != nil {
		err = w.Write(record)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fault.New(fault.Internal, "reading "+t.name, "a row could not be written down", "")
	}
	return t.buffer.Bytes(), nil
}

func (t *parquetTable) input() source.Input { return t.in }
func (t *parquetTable) preamble() []byte    { return t.before }

func (t *parquetTable) position() (done, total int64) {
	if t.rows == 0 {
		return t.in.Bytes, t.in.Bytes
	}
	return int64(float64(t.in.Bytes) * float64(t.row.number) / float64(t.rows)), t.in.Bytes
}

func (t *parquetTable) close() error {
	t.records.Release()
	return t.file.Close()
}

func (t *parquetTable) next() (r *cellRow, err error) {
	doing := "reading " + t.name
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fault.New(fault.Usage, doing, fmt.Sprintf("its data cannot be processed (%T)", p), parquetNext)
		}
	}()
	for t.record == nil || t.at == int(t.record.NumRows()) {
		if t.rows == 0 || !t.records.Next() {
			if err := t.records.Err(); err != nil && !errors.Is(err, io.EOF) {
				return nil, fault.New(fault.Usage, doing, "its data are damaged", parquetNext)
			}
			if t.row.number < t.rows {
				return nil, fault.New(fault.Usage, doing, "it has fewer rows than it says", parquetNext)
			}
			return nil, io.EOF
		}
		if err := t.load(t.records.RecordBatch()); err != nil {
			return nil, err
		}
	}
	r = &t.row
	r.number++
	r.text = r.text[:0]
	if !t.texts.IsNull(t.at) {
		r.text = append(r.text, t.texts.Value(t.at)...)
	}
	stream, err := t.stream(t.record.NewSlice(int64(t.at), int64(t.at)+1))
	if err != nil {
		return nil, err
	}
	r.payload = bytes.TrimSuffix(stream[len(t.before):], endOfStream)
	t.at++
	return r, nil
}

// load takes a record, and empties its column.
func (t *parquetTable) load(record arrow.RecordBatch) error {
	texts, text := record.Column(t.column).(*array.String)
	if !text {
		return fault.New(fault.Usage, "reading "+t.name, "the column given with --column does not hold text", "give a table as tokeniser column writes it")
	}
	columns := append([]arrow.Array(nil), record.Columns()...)
	columns[t.column] = array.MakeArrayOfNull(memory.DefaultAllocator, arrow.BinaryTypes.String, int(record.NumRows()))
	for i := range columns {
		if columns[i].DataType().ID() != arrow.DICTIONARY {
			continue
		}
		plain, err := compute.CastArray(context.Background(), columns[i], compute.SafeCastOptions(t.schema.Field(i).Type))
		if err != nil {
			return fault.New(fault.Usage, "reading "+t.name, "a column's categories cannot be read", parquetNext)
		}
		columns[i] = plain
	}
	t.texts, t.at = texts, 0
	t.record = array.NewRecordBatch(t.schema, columns, record.NumRows())
	return nil
}

// parquetWriter writes what a parquetTable read.
type parquetWriter struct {
	to      *sink
	name    string // of the column
	before  []byte
	column  int
	schema  *arrow.Schema // of what arrives
	out     *arrow.Schema // of what is written
	written *pqarrow.FileWriter
}

// sink hides that the output can be closed, which the writer would do, and remembers what
// went wrong with it: all else that the writer says is of what it was given.
type sink struct {
	to     io.Writer
	failed error
}

func (s *sink) Write(p []byte) (n int, err error) {
	if n, err = s.to.Write(p); err != nil {
		s.failed = err
	}
	return n, err
}

// guarded calls f, and turns what Arrow makes of damaged bytes into an error.
func (w *parquetWriter) guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errRow
		}
		if err != nil && w.to.failed != nil {
			err = w.to.failed
		} else if err != nil {
			err = errRow
		}
	}()
	return f()
}

func (w *parquetWriter) begin(preamble []byte) error {
	if !arrowframe.Whole(preamble, arrowframe.Schema) {
		return errRow
	}
	return w.guarded(func() error {
		r, err := ipc.NewReader(io.MultiReader(bytes.NewReader(preamble), bytes.NewReader(endOfStream)))
		if err != nil {
			return errRow
		}
		defer r.Release()
		w.before, w.schema = preamble, r.Schema()
		at := w.schema.FieldIndices(w.name)
		if len(at) != 1 || w.schema.Field(at[0]).Type.ID() != arrow.STRING {
			return errRow
		}
		w.column = at[0]
		properties := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd))
		storing := pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema())
		written, stored, err := withDurations(w.schema)
		if err != nil {
			return err
		}
		if stored {
			storing = pqarrow.NewArrowWriterProperties()
		}
		w.out = written
		w.written, err = pqarrow.NewFileWriter(written, w.to, properties, storing)
		return err
	})
}

func (w *parquetWriter) write(tokens []string, payloads [][]byte) error {
	return w.guarded(func() error {
		parts := []io.Reader{bytes.NewReader(w.before)}
		for _, payload := range payloads {
			if !arrowframe.Whole(payload, arrowframe.Record) {
				return errRow
			}
			parts = append(parts, bytes.NewReader(payload))
		}
		r, err := ipc.NewReader(io.MultiReader(append(parts, bytes.NewReader(endOfStream))...))
		if err != nil {
			return errRow
		}
		defer r.Release()
		columns := make([][]arrow.Array, w.schema.NumFields())
		rows := 0
		for r.Next() {
			record := r.RecordBatch()
			if record.NumRows() != 1 || rows == len(tokens) || !valid(record) {
				return errRow
			}
			rows++
			for i := range columns {
				column := record.Column(i)
				column.Retain()
				columns[i] = append(columns[i], column)
			}
		}
		if r.Err() != nil || rows != len(tokens) {
			return errRow
		}
		b := array.NewStringBuilder(memory.DefaultAllocator)
		for _, token := range tokens {
			if token == "" {
				b.AppendNull()
			} else {
				b.Append(token)
			}
		}
		whole := make([]arrow.Array, len(columns))
		for i := range columns {
			if i == w.column {
				whole[i] = b.NewArray()
			} else if whole[i], err = array.Concatenate(columns[i], memory.DefaultAllocator); err != nil {
				return errRow
			}
		}
		return w.written.WriteBuffered(array.NewRecordBatch(w.out, whole, int64(rows)))
	})
}

// valid reports whether a record's columns are what they say. One of the null type has
// nothing in it, and Arrow's own check does not know what it reads of one.
func valid(record arrow.RecordBatch) bool {
	for _, column := range record.Columns() {
		if int64(column.Len()) != record.NumRows() || column.DataType().ID() != arrow.NULL && array.ValidateFull(column) != nil {
			return false
		}
	}
	return true
}

func (w *parquetWriter) end() error { return w.guarded(w.written.Close) }
