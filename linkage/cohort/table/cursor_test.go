package table

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"pgregory.net/rapid"

	"tarn/keys/fault"
)

// columnKind is a type that a tool may give a column.
type columnKind struct {
	name string
	kind arrow.DataType
	all  bool // every value is missing
}

var columnKinds = []columnKind{
	{"text", arrow.BinaryTypes.String, false}, {"large_text", arrow.BinaryTypes.LargeString, false}, {"bytes", arrow.BinaryTypes.Binary, false},
	{"large_bytes", arrow.BinaryTypes.LargeBinary, false}, {"fixed", &arrow.FixedSizeBinaryType{ByteWidth: 8}, false},
	{"int64", arrow.PrimitiveTypes.Int64, false}, {"double", arrow.PrimitiveTypes.Float64, false},
	{"no_int32", arrow.PrimitiveTypes.Int32, true}, {"no_bool", arrow.FixedWidthTypes.Boolean, true}, {"no_float", arrow.PrimitiveTypes.Float32, true},
	{"no_null", arrow.Null, true}, {"no_text", arrow.BinaryTypes.String, true}, {"no_int64", arrow.PrimitiveTypes.Int64, true}, {"no_double", arrow.PrimitiveTypes.Float64, true},
}

// isText says that values are read as bytes, else as integers.
func (k columnKind) isText() bool {
	switch k.kind.ID() {
	case arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.LARGE_BINARY, arrow.FIXED_SIZE_BINARY:
		return true
	}
	return false
}

// value is one cell; the zero value is a missing one.
type value struct {
	bytes   string
	integer int64
	double  float64
	ok      bool
}

var someValues = []value{
	{"", 0, 0, true}, {"a", 1, 1.5, true}, {"12345678", -1, -3, true}, {"0123456789abcdef0123456789abcdef", math.MaxInt64, math.NaN(), true},
	{"abcdefgh", math.MinInt64, 1 << 62, true}, {"\x00\xff", 1 << 53, math.Inf(1), true},
}

// appendValue builds a cell.
func appendValue(b array.Builder, v value) {
	if !v.ok {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.StringBuilder:
		b.Append(v.bytes)
	case *array.LargeStringBuilder:
		b.Append(v.bytes)
	case *array.BinaryBuilder:
		b.Append([]byte(v.bytes))
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte(fmt.Sprintf("%-8.8s", v.bytes)))
	case *array.Int64Builder:
		b.Append(v.integer)
	case *array.Float64Builder:
		b.Append(v.double)
	}
}

// encodeTable writes rows with the Parquet library itself, as other tools may.
func encodeTable(t rapid.TB, kinds []columnKind, nullable []bool, rows [][]value, groupRows int64, properties ...parquet.WriterProperty) []byte {
	t.Helper()
	var fields []arrow.Field
	for i, k := range kinds {
		fields = append(fields, arrow.Field{Name: k.name, Type: k.kind, Nullable: nullable[i] || k.all})
	}
	schema := arrow.NewSchema(fields, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for _, row := range rows {
		for i := range kinds {
			appendValue(b.Field(i), row[i])
		}
	}
	batch := b.NewRecordBatch()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(properties...), pqarrow.DefaultWriterProps())
	if err == nil && len(rows) > 0 {
		err = w.WriteTable(array.NewTableFromRecords(schema, []arrow.RecordBatch{batch}), groupRows)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func openBytes(t rapid.TB, path string, b []byte) *Reader {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err == nil {
		err = os.Remove(path) // to write over a file waits for the disk
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// scan reads a column by Scan, the slow twin of a cursor.
func scan(t *rapid.T, r *Reader, k columnKind) (values []value) {
	err := r.Scan(t.Context(), []string{k.name}, func(batch arrow.RecordBatch) error {
		column := batch.Column(0)
		for i := range int(batch.NumRows()) {
			v := value{ok: column.IsValid(i)}
			switch a := column.(type) {
			case *array.Int64:
				v.integer = a.Value(i)
			case *array.Float64:
				if v.ok = v.ok && !math.IsNaN(a.Value(i)); v.ok {
					v.integer = saturate(a.Value(i))
				}
			case interface{ Value(int) []byte }:
				v.bytes = string(a.Value(i))
			case interface{ Value(int) string }:
				v.bytes = a.Value(i)
			default:
				v.ok = false
			}
			if !v.ok {
				v = value{}
			}
			values = append(values, v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// readPieces reads a column by a cursor, piece by piece.
func readPieces(c *Cursor, text bool, rows int, piece func() int) (values []value, err error) {
	for rows > len(values) {
		from, n := len(values), min(piece(), rows-len(values))
		check := func(i int, v value) error {
			if from+i != len(values) {
				return fmt.Errorf("value %d of a piece comes as its value %d", len(values)-from, i)
			}
			values = append(values, v)
			return nil
		}
		if text {
			err = c.Bytes(n, func(i int, b []byte) error { return check(i, value{bytes: string(b), ok: b != nil}) })
		} else {
			err = c.Int64s(n, func(i int, v int64, ok bool) error { return check(i, value{integer: v, ok: ok}) })
		}
		if err == nil && len(values) != from+n {
			err = fmt.Errorf("%d values where there should be %d", len(values)-from, n)
		}
		if err != nil {
			return values, err
		}
	}
	return values, nil
}

// TestCursorReadsWhatScanReads: whatever the types, pages, row groups, encodings
// and pieces.
func TestCursorReadsWhatScanReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.parquet")
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 2, 9, 60, 60, 60, 60, 60, cursorRows + 5}).Draw(t, "rows")
		kinds := rapid.SliceOfNDistinct(rapid.SampledFrom(columnKinds), 4, 4, func(k columnKind) string { return k.name }).Draw(t, "columns")
		nullable := rapid.SliceOfN(rapid.Bool(), len(kinds), len(kinds)).Draw(t, "nullable")
		share := rapid.SampledFrom([]int{2, 3, 50, 1 << 30}).Draw(t, "one in so many is missing")
		seed := rapid.IntRange(0, 1<<20).Draw(t, "seed")
		rows := make([][]value, n)
		for i := range rows {
			for k := range kinds {
				seed = (seed*1103515245 + 12345) & (1<<31 - 1)
				v := someValues[seed>>8%len(someValues)]
				if kinds[k].all || nullable[k] && seed>>16%share == 0 {
					v = value{}
				}
				rows[i] = append(rows[i], v)
			}
		}
		version := rapid.SampledFrom([]parquet.DataPageVersion{parquet.DataPageV1, parquet.DataPageV2}).Draw(t, "page version")
		codec := rapid.SampledFrom([]compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Zstd}).Draw(t, "codec")
		properties := []parquet.WriterProperty{parquet.WithDataPageVersion(version), parquet.WithCompression(codec), parquet.WithBatchSize(7),
			parquet.WithDictionaryDefault(rapid.Bool().Draw(t, "dictionary")), parquet.WithDataPageSize(rapid.SampledFrom([]int64{1, 200, 1 << 20}).Draw(t, "page size")),
			parquet.WithDictionaryPageSizeLimit(rapid.SampledFrom([]int64{20, 1 << 20}).Draw(t, "dictionary size"))}
		delta := rapid.Bool().Draw(t, "delta")
		groupRows := rapid.SampledFrom([]int64{9, 13, 5000}).Draw(t, "rows in a group")
		if delta && n <= 60 {
			// One page: the library's encoder keeps the length of the page before where a
			// page has no deltas, and panics, or writes what lies in its buffer.
			groupRows = 5000
			properties = append(properties, parquet.WithEncodingFor("int64", parquet.Encodings.DeltaBinaryPacked), parquet.WithDataPageSize(1<<20))
		}
		if n > 1000 {
			groupRows = 3000
			properties = append(properties, parquet.WithDataPageSize(2000), parquet.WithBatchSize(100))
		}
		r := openBytes(t, path, encodeTable(t, kinds, nullable, rows, groupRows, properties...))
		defer func() { _ = r.Close() }()
		piece := rapid.SampledFrom([]int{1, 5, 64, cursorRows, 1 << 20}).Draw(t, "piece")
		for k, kind := range kinds {
			for _, text := range []bool{kind.isText(), !kind.isText()} {
				if text != kind.isText() && !kind.all {
					continue
				}
				c, err := r.Cursor(kind.name)
				if err != nil {
					t.Fatal(err)
				}
				got, err := readPieces(c, text, n, func() int { piece = max(1, (piece*5+3)%(n+1)); return piece })
				if err != nil {
					t.Fatalf("%s: %v", kind.name, err)
				}
				if want := scan(t, r, kind); !slices.Equal(got, want) {
					t.Fatalf("%s: got %v, want %v", kind.name, got, want)
				}
				if missing := func(v value) bool { return !v.ok }; kind.all != (slices.IndexFunc(got, func(v value) bool { return v.ok }) < 0) && n > 9 || kind.kind.ID() != arrow.FLOAT64 && slices.ContainsFunc(rows, func(row []value) bool { return missing(row[k]) }) != slices.ContainsFunc(got, missing) {
					t.Fatalf("%s: values are missing, or are there, that should not", kind.name)
				}
				if err := c.Bytes(1, func(int, []byte) error { return nil }); fault.KindOf(err) != fault.Usage {
					t.Fatalf("%s: reading past the end: %v", kind.name, err)
				}
			}
			if rounded := kind.kind.ID() == arrow.FLOAT64 && slices.ContainsFunc(rows, func(row []value) bool { return row[k].ok }); r.Rounded(kind.name) != rounded {
				t.Fatalf("%s: rounded is %v", kind.name, !rounded)
			}
		}
	})
}

// TestCursorRefuses: a type that is none of those asked for, a column that is
// nested or not there.
func TestCursorRefuses(t *testing.T) {
	rows := [][]value{{someValues[1], someValues[1]}}
	kinds := []columnKind{{"text", arrow.BinaryTypes.String, false}, {"int64", arrow.PrimitiveTypes.Int64, false}}
	r := openBytes(t, filepath.Join(t.TempDir(), "t.parquet"), encodeTable(t, kinds, []bool{true, true}, rows, 10))
	defer func() { _ = r.Close() }()
	read := func(name string, read func(*Cursor) error) error {
		c, err := r.Cursor(name)
		if err != nil {
			return err
		}
		return read(c)
	}
	asBytes := func(c *Cursor) error { return c.Bytes(1, func(int, []byte) error { return nil }) }
	asIntegers := func(c *Cursor) error { return c.Int64s(1, func(int, int64, bool) error { return nil }) }
	for name, err := range map[string]error{"text as integers": read("text", asIntegers), "integers as text": read("int64", asBytes), "missing": read("other", asBytes)} {
		if fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	mine := errors.New("mine")
	for _, err := range []error{
		read("text", func(c *Cursor) error { return c.Bytes(1, func(int, []byte) error { return mine }) }),
		read("int64", func(c *Cursor) error { return c.Int64s(1, func(int, int64, bool) error { return mine }) }),
	} {
		if !errors.Is(err, mine) {
			t.Errorf("the caller's error becomes %v", err)
		}
	}

	nested := arrow.NewSchema([]arrow.Field{
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
		{Name: "struct", Type: arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}), Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, nested)
	list := b.Field(0).(*array.ListBuilder)
	list.Append(true)
	list.ValueBuilder().(*array.Int64Builder).AppendValues([]int64{1, 2}, nil)
	b.Field(1).(*array.StructBuilder).Append(true)
	b.Field(1).(*array.StructBuilder).FieldBuilder(0).(*array.Int64Builder).Append(1)
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(nested, &out, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err == nil {
		err = w.Write(b.NewRecordBatch())
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	deep := openBytes(t, filepath.Join(t.TempDir(), "nested.parquet"), out.Bytes())
	defer func() { _ = deep.Close() }()
	for _, name := range []string{"list", "list.list.element", "struct", "struct.a", "element", "a"} {
		if _, err := deep.Cursor(name); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}
