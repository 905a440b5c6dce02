package source_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// TestParquetTypes: each type reads as the text that CSV would hold; columns
// that have none are left out and do not stand in the way.
func TestParquetTypes(t *testing.T) {
	dictionary := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	types := []struct {
		name string
		t    arrow.DataType
		in   string // as arrow's JSON
		want string // "-" for a column that is left out
	}{
		{"string", arrow.BinaryTypes.String, `" Zoë "`, "Zoë"}, {"large", arrow.BinaryTypes.LargeString, `"x"`, "x"},
		{"binary", arrow.BinaryTypes.Binary, `"eHl6"`, "xyz"}, {"dictionary", dictionary, `"cat"`, "cat"},
		{"int8", arrow.PrimitiveTypes.Int8, `-8`, "-8"}, {"int16", arrow.PrimitiveTypes.Int16, `16`, "16"}, {"int32", arrow.PrimitiveTypes.Int32, `32`, "32"}, {"int64", arrow.PrimitiveTypes.Int64, `9434765919`, "9434765919"},
		{"uint8", arrow.PrimitiveTypes.Uint8, `255`, "255"}, {"uint16", arrow.PrimitiveTypes.Uint16, `65535`, "65535"}, {"uint32", arrow.PrimitiveTypes.Uint32, `4294967295`, "4294967295"}, {"uint64", arrow.PrimitiveTypes.Uint64, `18446744073709551615`, "18446744073709551615"},
		{"float32", arrow.PrimitiveTypes.Float32, `1.5`, "1.5"}, {"float32 rounded", arrow.PrimitiveTypes.Float32, `9434765919`, "9.434766e+09"}, {"float64 rounded", arrow.PrimitiveTypes.Float64, `9007199254740993`, "9.007199254740992e+15"}, {"float64", arrow.PrimitiveTypes.Float64, `9434765919`, "9434765919"}, {"bool", arrow.FixedWidthTypes.Boolean, `true`, "true"},
		{"date32", arrow.FixedWidthTypes.Date32, `"1973-10-22"`, "1973-10-22"}, {"date64", arrow.FixedWidthTypes.Date64, `"1973-10-22"`, "1973-10-22"},
		{"time32", arrow.FixedWidthTypes.Time32s, `"12:34:56"`, "12:34:56"}, {"time64", arrow.FixedWidthTypes.Time64us, `"12:34:56.000007"`, "12:34:56"},
		{"moment", &arrow.TimestampType{Unit: arrow.Millisecond}, `"1973-10-22T00:00:00"`, "1973-10-22T00:00:00"},
		{"decimal", &arrow.Decimal128Type{Precision: 12, Scale: 0}, `"9434765919"`, "9434765919"}, {"scaled", &arrow.Decimal128Type{Precision: 12, Scale: 2}, `"1.50"`, "1.50"},
		{"list", arrow.ListOf(arrow.PrimitiveTypes.Int64), `[1,2]`, "-"}, {"struct", arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64}), `{"x":1}`, "-"}, {"fixed", &arrow.FixedSizeBinaryType{ByteWidth: 2}, `"eHk="`, "-"},
	}
	var fields []arrow.Field
	var line, nulls []string
	var header, leftOut, want []string
	for _, c := range types {
		fields = append(fields, arrow.Field{Name: c.name, Type: c.t, Nullable: true})
		line, nulls = append(line, `"`+c.name+`":`+c.in), append(nulls, `"`+c.name+`":null`)
		if c.want == "-" {
			leftOut = append(leftOut, c.name)
		} else {
			header, want = append(header, c.name), append(want, c.want)
		}
	}
	rows := strings.Repeat("{"+strings.Join(line, ",")+"},{"+strings.Join(nulls, ",")+"},", 2000)
	record, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema(fields, nil), strings.NewReader("["+strings.TrimSuffix(rows, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "in.parquet")
	if err := os.WriteFile(path, parquetOf(t, record, 3000), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := source.Open(path, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.Header(), header) || !slices.Equal(r.Input().LeftOut, leftOut) {
		t.Errorf("header %q, left out %q", r.Header(), r.Input().LeftOut)
	}
	n := 0
	for b := new(source.Batch); r.Read(b) == nil; {
		if len(b.Rows) > 1024 {
			t.Fatalf("a batch of %d rows", len(b.Rows))
		}
		for _, row := range b.Rows {
			if n++; n%2 == 1 && !slices.Equal(row.Values, want) || n%2 == 0 && !slices.Equal(row.Values, make([]string, len(want))) {
				t.Fatalf("row %d is %q, want %q", row.Number, row.Values, want)
			}
		}
	}
	if n != 4000 {
		t.Errorf("%d rows of 4000", n)
	}
}

func TestParquetRowsThatAreRefused(t *testing.T) {
	builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "b", Type: arrow.BinaryTypes.Binary}}, nil))
	for _, value := range []string{"x", "\xff", "a\x00b", strings.Repeat("x", 101), "é"} {
		builder.Field(0).(*array.BinaryBuilder).Append([]byte(value))
	}
	path := filepath.Join(t.TempDir(), "in.parquet")
	if err := os.WriteFile(path, parquetOf(t, builder.NewRecordBatch(), 10), 0o600); err != nil {
		t.Fatal(err)
	}
	_, rows, err := readWith(path, source.Options{MaxRowBytes: 100})
	var codes []reason.Code
	for _, row := range rows {
		codes = append(codes, row.Problem)
	}
	if want := []reason.Code{"", reason.RowEncoding, reason.RowMalformed, reason.RowTooLong, ""}; err != nil || !slices.Equal(codes, want) || rows[4].Values[0] != "é" {
		t.Errorf("%v: %q, want %q", err, codes, want)
	}
}
