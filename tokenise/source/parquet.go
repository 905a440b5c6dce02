package source

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"tarn/keys/fault"
)

type parquetReader struct {
	name    string
	file    *os.File
	size    int64
	rows    int64
	header  []string
	records pqarrow.RecordReader
	number  int64
}

const parquetNext = "give a whole Parquet file; if it was copied, copy it again"

func openParquet(name string, f *os.File, size int64) (r Reader, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fault.New(fault.Usage, "reading "+name, fmt.Sprintf("it cannot be processed (%T)", p), parquetNext)
		}
		if err != nil {
			_ = f.Close()
		}
	}()
	raw, err := file.NewParquetReader(f)
	if err != nil {
		return nil, fault.New(fault.Usage, "reading "+name, "it is not a whole Parquet file", parquetNext)
	}
	reader, err := pqarrow.NewFileReader(raw, pqarrow.ArrowReadProperties{BatchSize: batchRows}, memory.DefaultAllocator)
	if err != nil {
		return nil, fault.New(fault.Usage, "reading "+name, "its schema cannot be read", parquetNext)
	}
	records, err := reader.GetRecordReader(context.Background(), nil, nil)
	if err != nil {
		return nil, fault.New(fault.Usage, "reading "+name, "its columns cannot be read", parquetNext)
	}
	p := &parquetReader{name: name, file: f, size: size, rows: raw.NumRows(), records: records}
	seen := map[string]bool{}
	for _, field := range records.Schema().Fields() {
		column := strings.TrimSpace(field.Name)
		if seen[column] {
			return nil, fault.New(fault.Usage, "reading "+name, "two of its columns have the same name", "name every column, once")
		}
		seen[column] = true
		p.header = append(p.header, column)
	}
	return p, nil
}

func (r *parquetReader) Header() []string { return r.header }
func (r *parquetReader) Input() Input {
	return Input{Format: "parquet", Bytes: r.size, HasHeader: true}
}

// Position gives rows as a share of the file's bytes, so that progress means
// the same for both formats.
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
	b.Rows = b.Rows[:0]
	if r.rows == 0 || !r.records.Next() {
		if err := r.records.Err(); err != nil && err != io.EOF {
			return fault.New(fault.Usage, "reading "+r.name, "its data are damaged", parquetNext)
		}
		if r.number < r.rows {
			return fault.New(fault.Usage, "reading "+r.name, "it has fewer rows than it says", parquetNext)
		}
		return io.EOF
	}
	record := r.records.RecordBatch()
	n := int(record.NumRows())
	cells := make([]string, n*len(r.header))
	for c := range r.header {
		text, err := textOf(record.Column(c))
		if err != nil {
			return fault.New(fault.Usage, "reading "+r.name, "column "+r.header[c]+" "+err.Error(), "write the column as text, numbers or dates")
		}
		for i := range n {
			cells[i*len(r.header)+c] = strings.TrimSpace(text(i))
		}
	}
	for i := range n {
		r.number++
		b.Rows = append(b.Rows, Row{Number: r.number, Values: cells[i*len(r.header) : (i+1)*len(r.header)]})
	}
	return nil
}

// textOf gives the values of a column as the text that CSV would hold: null is
// empty, dates are 2006-01-02.
func textOf(column arrow.Array) (func(i int) string, error) {
	var value func(i int) string
	switch a := column.(type) {
	case *array.String:
		value = func(i int) string { return strings.Clone(a.Value(i)) }
	case *array.LargeString:
		value = func(i int) string { return strings.Clone(a.Value(i)) }
	case *array.Binary:
		value = func(i int) string { return string(a.Value(i)) }
	case *array.LargeBinary:
		value = func(i int) string { return string(a.Value(i)) }
	case *array.Int8:
		value = func(i int) string { return strconv.Itoa(int(a.Value(i))) }
	case *array.Int16:
		value = func(i int) string { return strconv.Itoa(int(a.Value(i))) }
	case *array.Int32:
		value = func(i int) string { return strconv.Itoa(int(a.Value(i))) }
	case *array.Int64:
		value = func(i int) string { return strconv.FormatInt(a.Value(i), 10) }
	case *array.Uint32:
		value = func(i int) string { return strconv.FormatUint(uint64(a.Value(i)), 10) }
	case *array.Uint64:
		value = func(i int) string { return strconv.FormatUint(a.Value(i), 10) }
	case *array.Float64:
		value = func(i int) string { return strconv.FormatFloat(a.Value(i), 'f', -1, 64) }
	case *array.Float32:
		value = func(i int) string { return strconv.FormatFloat(float64(a.Value(i)), 'f', -1, 32) }
	case *array.Boolean:
		value = func(i int) string { return strconv.FormatBool(a.Value(i)) }
	case *array.Date32:
		value = func(i int) string { return a.Value(i).ToTime().Format(time.DateOnly) }
	case *array.Date64:
		value = func(i int) string { return a.Value(i).ToTime().Format(time.DateOnly) }
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit
		value = func(i int) string { return a.Value(i).ToTime(unit).UTC().Format("2006-01-02T15:04:05") }
	case *array.Dictionary:
		values, err := textOf(a.Dictionary())
		if err != nil {
			return nil, err
		}
		value = func(i int) string { return values(a.GetValueIndex(i)) }
	case *array.Null:
		return func(int) string { return "" }, nil
	default:
		return nil, fmt.Errorf("is of type %s", column.DataType())
	}
	return func(i int) string {
		if column.IsNull(i) {
			return ""
		}
		return value(i)
	}, nil
}
