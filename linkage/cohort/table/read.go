package table

import (
	"context"
	"io"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"tarn/keys/fault"
)

// Reader reads a table.
type Reader struct {
	path   string
	file   *os.File
	reader *pqarrow.FileReader
	schema *arrow.Schema
}

// notWhole says what is wrong with a file that cannot be read as Parquet.
func notWhole(f *os.File) string {
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, 0); err == nil && string(magic) != "PAR1" {
		return "it is no Parquet file"
	}
	return "it is not a whole Parquet file"
}

// Open opens the table at path. A file that is not a whole Parquet file is an
// error of kind [fault.Usage].
func Open(path string) (r *Reader, err error) {
	doing, next := "reading "+path, "give a whole Parquet file; if it was copied, copy it again"
	defer recoverInto(&err, doing, fault.Usage, next)
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the path of a Parquet file that this user can read")
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	raw, err := file.NewParquetReader(f)
	if err != nil {
		return nil, fault.New(fault.Usage, doing, notWhole(f), next)
	}
	reader, err := pqarrow.NewFileReader(raw, pqarrow.ArrowReadProperties{BatchSize: batchRows}, memory.DefaultAllocator)
	if err != nil {
		return nil, fault.New(fault.Usage, doing, "its schema cannot be read", next)
	}
	schema, err := reader.Schema()
	if err != nil {
		return nil, fault.New(fault.Usage, doing, "its schema cannot be read", next)
	}
	return &Reader{path: path, file: f, reader: reader, schema: schema}, nil
}

// Schema returns the columns as Arrow sees them.
func (r *Reader) Schema() *arrow.Schema { return r.schema }

// Rows returns the number of rows.
func (r *Reader) Rows() int64 { return r.reader.ParquetReader().NumRows() }

// Metadata returns the value of a key of the file's metadata.
func (r *Reader) Metadata(key string) (string, bool) {
	if v := r.reader.ParquetReader().MetaData().KeyValueMetadata().FindValue(key); v != nil {
		return *v, true
	}
	return "", false
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Scan calls f with the rows, batch by batch, in order. The batch holds the
// named columns in the order they are named, and is valid only during the
// call.
func (r *Reader) Scan(ctx context.Context, columns []string, f func(arrow.RecordBatch) error) (err error) {
	doing, next := "reading "+r.path, "give a whole Parquet file; if it was copied, copy it again"
	defer recoverInto(&err, doing, fault.Usage, next)
	if r.Rows() == 0 {
		return nil
	}
	indices := make([]int, len(columns))
	for i, name := range columns {
		at := r.schema.FieldIndices(name)
		if len(at) != 1 {
			return fault.New(fault.Usage, doing, "it has no single column "+name, "give a file of the format docs/formats.md describes")
		}
		indices[i] = at[0]
	}
	records, err := r.reader.GetRecordReader(ctx, indices, nil)
	if err != nil {
		return fault.New(fault.Usage, doing, "its columns cannot be read", next)
	}
	defer records.Release()
	// The reader returns columns in file order, the caller asked for its own.
	order := make([]int, len(columns))
	for i, name := range columns {
		order[i] = records.Schema().FieldIndices(name)[0]
	}
	fields := make([]arrow.Field, len(columns))
	for i := range columns {
		fields[i] = records.Schema().Field(order[i])
	}
	schema := arrow.NewSchema(fields, nil)
	for records.Next() {
		batch := records.RecordBatch()
		ordered := make([]arrow.Array, len(columns))
		for i := range columns {
			ordered[i] = batch.Column(order[i])
		}
		view := array.NewRecordBatch(schema, ordered, batch.NumRows())
		err := f(view)
		view.Release()
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := records.Err(); err != nil && err != io.EOF {
		return fault.New(fault.Usage, doing, "its data are damaged", next)
	}
	return nil
}
