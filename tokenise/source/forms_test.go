package source_test

import (
	"bytes"
	"encoding/csv"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// tester is what tests, benchmarks and properties have in common.
type tester interface {
	Fatal(...any)
	Helper()
}

// packed compresses.
func packed(t tester, compression string, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if compression == "zstd" {
		w, _ = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1)) // these options are valid
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// asParquet makes a table of text columns; empty is null.
func asParquet(t tester, names []string, text []byte) []byte {
	t.Helper()
	records, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var fields []arrow.Field
	for _, name := range names {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true})
	}
	builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer builder.Release()
	for _, record := range records[1:] {
		for c, cell := range record {
			if column := builder.Field(c).(*array.StringBuilder); cell == "" {
				column.AppendNull()
			} else {
				column.Append(cell)
			}
		}
	}
	return parquetOf(t, builder.NewRecordBatch(), 700)
}

// parquetOf writes a record in row groups of so many rows.
func parquetOf(t tester, record arrow.RecordBatch, groupRows int64) []byte {
	t.Helper()
	defer record.Release()
	var b bytes.Buffer
	w, err := pqarrow.NewFileWriter(record.Schema(), &b, parquet.NewWriterProperties(parquet.WithMaxRowGroupLength(groupRows)), pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	for from := int64(0); from < record.NumRows(); from += groupRows {
		part := record.NewSlice(from, min(from+groupRows, record.NumRows()))
		if err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		part.Release()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
