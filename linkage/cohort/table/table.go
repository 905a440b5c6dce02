// Package table writes and reads flat Parquet tables the way Tarn promises
// them: columns in the stated order, the same bytes for the same rows, nothing
// under a final name until it is complete, and a damaged file is an error and
// never a panic.
package table

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"tarn/keys"
	"tarn/keys/fault"
)

// RowGroupRows is the number of rows in every row group but the last.
const RowGroupRows = 128 << 10

// File describes a finished file.
type File struct {
	Path   string // as given to Create
	SHA256 string // of the whole file, lower-case hex
	Rows   int64
	Bytes  int64
}

// KeyValue is one entry of a file's metadata.
type KeyValue struct{ Key, Value string }

// Writer writes one table. Rows are appended to the column builders of
// [Writer.Builder], each column once for a row, followed by [Writer.EndRow].
type Writer struct {
	path    string
	pending *keys.PendingFile
	buffer  *bufio.Writer
	digest  hash.Hash
	bytes   countingWriter
	parquet *pqarrow.FileWriter
	builder *array.RecordBuilder
	rows    int64
	batch   int64

	finished *File // after Finish
}

type countingWriter int64

func (c *countingWriter) Write(b []byte) (int, error) {
	*c += countingWriter(len(b))
	return len(b), nil
}

// batchRows is how many rows are built before they go to the Parquet writer;
// it divides RowGroupRows, so that groups always end at the same rows.
const batchRows = 16 << 10

// Create begins the table at path with this schema. software is recorded as
// the file's creator. Columns whose metadata hold the key "plain" are written
// without dictionary and compression.
func Create(path string, schema *arrow.Schema, software string) (*Writer, error) {
	doing := "writing " + path
	pending, err := keys.NewFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "choose a folder that exists and can be written")
	}
	w := &Writer{path: path, pending: pending, digest: sha256.New()}
	w.buffer = bufio.NewWriterSize(pending, 1<<20)
	properties := []parquet.WriterProperty{
		parquet.WithCreatedBy(software),
		parquet.WithCompression(compress.Codecs.Snappy),
		parquet.WithMaxRowGroupLength(RowGroupRows),
		parquet.WithDictionaryDefault(false),
		parquet.WithVersion(parquet.V2_LATEST),
		parquet.WithAllocator(memory.DefaultAllocator),
	}
	for _, f := range schema.Fields() {
		if _, ok := f.Metadata.GetValue(hintRepeated); ok {
			properties = append(properties, parquet.WithDictionaryFor(f.Name, true))
		}
		if _, ok := f.Metadata.GetValue(hintPlain); ok {
			properties = append(properties, parquet.WithCompressionFor(f.Name, compress.Codecs.Uncompressed), parquet.WithStatsFor(f.Name, false))
		}
	}
	bare := withoutHints(schema)
	w.parquet, err = pqarrow.NewFileWriter(bare, io.MultiWriter(w.buffer, w.digest, &w.bytes),
		parquet.NewWriterProperties(properties...), pqarrow.DefaultWriterProps())
	if err != nil {
		w.Abort()
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	w.builder = array.NewRecordBuilder(memory.DefaultAllocator, bare)
	w.builder.Reserve(batchRows)
	return w, nil
}

// Builder returns the builder whose columns take the next row.
func (w *Writer) Builder() *array.RecordBuilder { return w.builder }

// EndRow ends a row, which every column builder must have been given.
func (w *Writer) EndRow() error {
	w.batch++
	if w.batch < batchRows {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() (err error) {
	defer recoverInto(&err, "writing "+w.path, fault.Internal, "")
	if w.batch == 0 {
		return nil
	}
	record := w.builder.NewRecordBatch()
	defer record.Release()
	if err := w.parquet.WriteBuffered(record); err != nil {
		return fault.Wrap(fault.Internal, "writing "+w.path, err, "free space on the disk, then run again")
	}
	w.rows += w.batch
	w.batch = 0
	w.builder.Reserve(batchRows)
	return nil
}

// Finish adds metadata, ends the file and makes sure that it is on the disk,
// not yet under its name. What can fail for want of space fails here, so that
// several files can be finished before any of them gets its name.
func (w *Writer) Finish(metadata ...KeyValue) (f File, err error) {
	doing, next := "writing "+w.path, "free space on the disk, then run again"
	defer func() {
		if err != nil {
			w.Abort()
		}
	}()
	if err := w.flush(); err != nil {
		return File{}, err
	}
	for _, kv := range metadata {
		if err := w.parquet.AppendKeyValueMetadata(kv.Key, kv.Value); err != nil {
			return File{}, fault.Wrap(fault.Internal, doing, err, "")
		}
	}
	if err := w.parquet.Close(); err != nil {
		return File{}, fault.Wrap(fault.Internal, doing, err, next)
	}
	if err := w.buffer.Flush(); err != nil {
		return File{}, fault.Wrap(fault.Internal, doing, err, next)
	}
	if err := w.pending.Sync(); err != nil {
		return File{}, fault.Wrap(fault.Internal, doing, err, next)
	}
	w.finished = &File{Path: w.path, SHA256: hex.EncodeToString(w.digest.Sum(nil)), Rows: w.rows, Bytes: int64(w.bytes)}
	return *w.finished, nil
}

// Commit puts the file under its name, after Finish with this metadata where
// that has not been called.
func (w *Writer) Commit(metadata ...KeyValue) (f File, err error) {
	defer w.Abort()
	if w.finished == nil {
		if _, err := w.Finish(metadata...); err != nil {
			return File{}, err
		}
	}
	if err := w.pending.CloseAtomicallyReplace(); err != nil {
		return File{}, fault.Wrap(fault.Internal, "writing "+w.path, err, "free space on the disk, then run again")
	}
	return *w.finished, nil
}

// Abort removes what was written. After Commit it does nothing.
func (w *Writer) Abort() {
	_ = w.pending.Cleanup() // nothing under the final name depends on it
	if w.builder != nil {
		w.builder.Release()
		w.builder = nil
	}
}

// Reader reads a table.
type Reader struct {
	path   string
	file   *os.File
	reader *pqarrow.FileReader
	schema *arrow.Schema
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
		return nil, fault.New(fault.Usage, doing, "it is not a whole Parquet file", next)
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

// recoverInto turns a panic of the Parquet library, which some damaged files
// cause, into an error. The panic's text may quote data and is not used.
func recoverInto(err *error, doing string, kind fault.Kind, next string) {
	if p := recover(); p != nil {
		*err = fault.New(kind, doing, fmt.Sprintf("the file cannot be processed (%T)", p), next)
	}
}
