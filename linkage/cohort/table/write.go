package table

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"tarn/keys"
	"tarn/keys/fault"
)

// Writer writes one table. Rows are appended to the column builders of
// [Writer.Builder], each column but the constant ones once for a row, followed by
// [Writer.EndRow].
// While rows are appended, those before them are encoded and written by a
// goroutine of the writer's own, which ends with Finish, Commit or Abort: one of
// them must be called.
type Writer struct {
	path    string
	pending *keys.PendingFile
	buffer  *bufio.Writer
	digest  hash.Hash
	bytes   countingWriter
	parquet *pqarrow.FileWriter
	columns *assembler
	builder *array.RecordBuilder
	rows    int64
	batch   int64

	full   chan arrow.RecordBatch // to the goroutine; nil once it was told to end
	failed chan struct{}          // closed when err is set
	done   chan struct{}          // closed when the goroutine has ended
	err    error                  // why a batch could not be written

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
// the file's creator. How each column is stored is for the functions that make
// fields to say: [ID], [Fixed] and so on.
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
		_, repeated := f.Metadata.GetValue(hintRepeated)
		if _, oneOf := f.Metadata.GetValue(hintOneOf); repeated || oneOf {
			properties = append(properties, parquet.WithDictionaryFor(f.Name, true))
		}
		_, plain := f.Metadata.GetValue(hintPlain)
		_, random := f.Metadata.GetValue(hintRandom)
		if plain || random {
			properties = append(properties, parquet.WithCompressionFor(f.Name, compress.Codecs.Uncompressed))
		}
		if plain || random {
			properties = append(properties, parquet.WithStatsFor(f.Name, false))
		}
	}
	w.columns = newAssembler(schema)
	w.parquet, err = pqarrow.NewFileWriter(w.columns.schema, io.MultiWriter(w.buffer, w.digest, &w.bytes),
		parquet.NewWriterProperties(properties...), pqarrow.DefaultWriterProps())
	if err != nil {
		w.Abort()
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	w.builder = array.NewRecordBuilder(memory.DefaultAllocator, w.columns.built)
	w.reserve()
	w.full, w.failed, w.done = make(chan arrow.RecordBatch, 1), make(chan struct{}), make(chan struct{})
	go w.write(w.full)
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

// flush hands the rows that were built to the goroutine. An error is that of a
// batch before.
func (w *Writer) flush() error {
	if w.batch == 0 {
		return nil
	}
	record := w.columns.batch(w.builder.NewRecordBatch())
	w.rows += w.batch
	w.batch = 0
	select {
	case w.full <- record:
	case <-w.failed:
		record.Release()
		return w.err
	}
	w.reserve()
	return nil
}

// reserve makes room for the rows of a batch, and for the text of minted ids,
// which would otherwise be moved each time that it is doubled.
func (w *Writer) reserve() {
	w.builder.Reserve(batchRows)
	for _, i := range w.columns.ids {
		w.builder.Field(i).(*array.StringBuilder).ReserveData(batchRows * idBytes)
	}
}

// idBytes is the length of a minted id as text.
const idBytes = 32

// write writes batches until there are no more, or one fails: the others are
// then let go.
func (w *Writer) write(full <-chan arrow.RecordBatch) {
	defer close(w.done)
	for record := range full {
		if w.err == nil {
			if w.err = w.writeBatch(record); w.err != nil {
				close(w.failed)
			}
		}
		record.Release()
	}
}

func (w *Writer) writeBatch(record arrow.RecordBatch) (err error) {
	defer recoverInto(&err, "writing "+w.path, fault.Internal, "")
	if err := w.parquet.WriteBuffered(record); err != nil {
		return fault.Wrap(fault.Internal, "writing "+w.path, err, "free space on the disk, then run again")
	}
	return nil
}

// stop waits until all batches are written and the goroutine has ended.
func (w *Writer) stop() error {
	if w.full != nil {
		close(w.full)
		w.full = nil
		<-w.done
	}
	return w.err
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
	if err := w.stop(); err != nil {
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
	if w.full != nil {
		_ = w.stop() // the file is given up
	}
	_ = w.pending.Cleanup() // nothing under the final name depends on it
	if w.builder != nil {
		w.builder.Release()
		w.builder = nil
	}
}
