package column_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"tarn/keys/fault"
	"tarn/tokenise/column"
	"tarn/tokenise/reason"
)

// The other columns of the tables of these tests: of every physical type,
// nested ones, and one that is never null.
var others = []arrow.Field{
	{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "bytes", Type: arrow.BinaryTypes.Binary, Nullable: true}, {Name: "fixed", Type: &arrow.FixedSizeBinaryType{ByteWidth: 3}, Nullable: true},
	{Name: "required", Type: arrow.PrimitiveTypes.Int32}, {Name: "big", Type: arrow.PrimitiveTypes.Uint64, Nullable: true}, {Name: "small", Type: arrow.PrimitiveTypes.Int8, Nullable: true},
	{Name: "single", Type: arrow.PrimitiveTypes.Float32, Nullable: true}, {Name: "double", Type: arrow.PrimitiveTypes.Float64, Nullable: true}, {Name: "flag", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true}, {Name: "moment", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Europe/London"}, Nullable: true}, {Name: "money", Type: &arrow.Decimal128Type{Precision: 20, Scale: 3}, Nullable: true},
	{Name: "category", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}, Nullable: true},
	{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
	{Name: "deep", Type: arrow.StructOf(arrow.Field{Name: "nhs", Type: arrow.BinaryTypes.String, Nullable: true}, arrow.Field{Name: "more", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true}), Nullable: true},
}

const otherRow = `"text":"t%d","bytes":"eHl6","fixed":"YWJj","required":%d,"big":18446744073709551615,"small":-7,"single":1.5,"double":0.1,"flag":true,"day":"1973-10-22","moment":"1973-10-22T12:34:56Z","money":"12.345","category":"c%d","list":[1,null,%d],"deep":{"nhs":"kept","more":["a",null]}`

// number is one value of the column: how each type holds it.
type number struct {
	text  string
	whole int64
	null  bool
}

// appender makes the column of one type.
type columnType struct {
	name   string
	t      arrow.DataType
	add    func(array.Builder, number)
	needed bool // null cannot be
}

var columnTypes = []columnType{
	{"string", arrow.BinaryTypes.String, func(b array.Builder, n number) { b.(*array.StringBuilder).Append(n.text) }, false},
	{"large string", arrow.BinaryTypes.LargeString, func(b array.Builder, n number) { b.(*array.LargeStringBuilder).Append(n.text) }, false},
	{"dictionary", &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}, func(b array.Builder, n number) {
		_ = b.(*array.BinaryDictionaryBuilder).AppendString(n.text) // into memory
	}, false},
	{"int64", arrow.PrimitiveTypes.Int64, func(b array.Builder, n number) { b.(*array.Int64Builder).Append(n.whole) }, false},
	{"required int64", arrow.PrimitiveTypes.Int64, func(b array.Builder, n number) { b.(*array.Int64Builder).Append(n.whole) }, true},
	{"float64", arrow.PrimitiveTypes.Float64, func(b array.Builder, n number) {
		if v := float64(n.whole); n.whole != 0 {
			b.(*array.Float64Builder).Append(v)
		} else {
			b.(*array.Float64Builder).Append(math.NaN())
		}
	}, false},
	{"decimal", &arrow.Decimal128Type{Precision: 12}, func(b array.Builder, n number) {
		b.(*array.Decimal128Builder).Append(decimal128.FromI64(n.whole))
	}, false},
}

// makeParquet writes a table with the column in the middle.
func makeParquet(t tester, c columnType, numbers []number) []byte {
	t.Helper()
	var lines []string
	for i := range numbers {
		line := fmt.Sprintf(otherRow, i, i, i%5, i)
		if i%3 == 1 {
			line = fmt.Sprintf(`"required":%d,"list":[],"deep":{}`, i)
		}
		lines = append(lines, "{"+line+"}")
	}
	rest, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema(others, nil), strings.NewReader("["+strings.Join(lines, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	builder := array.NewBuilder(memory.DefaultAllocator, c.t)
	for _, n := range numbers {
		if n.null && !c.needed {
			builder.AppendNull()
		} else {
			c.add(builder, n)
		}
	}
	fields := slices.Insert(slices.Clone(others), 4, arrow.Field{Name: "nhs", Type: c.t, Nullable: !c.needed})
	columns := slices.Insert(slices.Clone(rest.Columns()), 4, builder.NewArray())
	meta := arrow.NewMetadata([]string{"mine", "pandas"}, []string{"kept", `{"columns":[{"name":"nhs","field_name":"nhs","pandas_type":"int64","numpy_type":"Int64","metadata":null},{"name":"text","pandas_type":"unicode","numpy_type":"object","metadata":null}],"index_columns":[]}`})
	record := array.NewRecordBatch(arrow.NewSchema(fields, &meta), columns, int64(len(numbers)))
	var b bytes.Buffer
	properties := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Uncompressed), parquet.WithDataPageSize(2000), parquet.WithCompressionFor("text", compress.Codecs.Zstd), parquet.WithDictionaryFor("bytes", false))
	w, err := pqarrow.NewFileWriter(record.Schema(), &b, properties, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	for from := int64(0); from < record.NumRows(); from += 400 {
		if err := w.Write(record.NewSlice(from, min(from+400, record.NumRows()))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openParquet(t tester, b []byte) (*file.Reader, arrow.Table) {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := fr.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r, table
}

func runParquet(t tester, folder string, text []byte, change func(*column.Options)) ([]byte, *column.Result, error) {
	t.Helper()
	o := options(t)
	o.In, o.Out = filepath.Join(folder, "in.parquet"), filepath.Join(folder, "out.parquet")
	if err := os.WriteFile(o.In, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&o)
	}
	result, err := column.Run(context.Background(), o)
	if err != nil {
		return nil, result, err
	}
	b, err := os.ReadFile(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	return b, result, nil
}

// TestParquet: for every type of the column, tokens and nulls are where they
// belong, and all else - values, types, nulls, row groups, compression,
// metadata - is as it was; no number is left in any form.
func TestParquet(t *testing.T) {
	canaries := canaries(1000)
	var numbers []number
	for i, n := range canaries {
		whole, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 10 {
		case 3:
			numbers = append(numbers, number{null: true})
		case 6:
			numbers = append(numbers, number{text: n[1:], whole: whole % 1_000_000_000})
		default:
			numbers = append(numbers, number{text: n, whole: whole})
		}
	}
	for _, c := range columnTypes {
		before := makeParquet(t, c, numbers)
		var bytes1 []byte
		for _, threads := range []int{1, 3} {
			after, result, err := runParquet(t, t.TempDir(), before, func(o *column.Options) { o.Threads = threads })
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if bytes1 == nil {
				bytes1 = after
			} else if !bytes.Equal(bytes1, after) {
				t.Errorf("%s: other threads, other bytes", c.name)
			}
			if result.Rows != 1000 || result.Tokens != 800 || result.Absent+result.Emptied[reason.NHSNumberLength] != 200 {
				t.Errorf("%s: %+v", c.name, result)
			}
		}
		compare(t, c.name, before, bytes1)
		_, table := openParquet(t, bytes1)
		tokens := array.NewTableReader(table, 0)
		row := 0
		for tokens.Next() {
			a := tokens.RecordBatch().Column(4).(*array.String)
			for i := range a.Len() {
				want := ""
				if i := row % 10; i != 3 && i != 6 {
					want = tokenOf(t, canaries[row])
				}
				if a.IsNull(i) != (want == "") || a.Value(i) != want {
					t.Fatalf("%s: row %d holds %q", c.name, row+1, a.Value(i))
				}
				row++
			}
		}
		if found := leaks(canaries, bytes1); len(found) > 0 {
			t.Errorf("%s: %d numbers are left", c.name, len(found))
		}
		for _, n := range numbers {
			if n.whole > 1e9 && bytes.Contains(bytes1, binary.LittleEndian.AppendUint64(nil, uint64(n.whole))) {
				t.Fatalf("%s: a number is left as an integer", c.name)
			}
		}
	}
}

// compare holds all but the column to what it was.
func compare(t *testing.T, name string, before, after []byte) {
	t.Helper()
	old, oldTable := openParquet(t, before)
	now, nowTable := openParquet(t, after)
	if old.NumRowGroups() != now.NumRowGroups() || old.NumRowGroups() != 3 {
		t.Fatalf("%s: %d row groups, %d before", name, now.NumRowGroups(), old.NumRowGroups())
	}
	for g := range old.NumRowGroups() {
		if old.RowGroup(g).NumRows() != now.RowGroup(g).NumRows() {
			t.Errorf("%s: row group %d has another size", name, g)
		}
		for c := range old.MetaData().Schema.NumColumns() {
			a, errA := old.MetaData().RowGroup(g).ColumnChunk(c)
			b, errB := now.MetaData().RowGroup(g).ColumnChunk(c)
			if errA != nil || errB != nil || a.Compression() != b.Compression() || c != 4 && a.HasDictionaryPage() != b.HasDictionaryPage() {
				t.Errorf("%s: column %d is compressed in another way", name, c)
			}
			if node := old.MetaData().Schema.Column(c).SchemaNode(); c != 4 && !node.Equals(now.MetaData().Schema.Column(c).SchemaNode()) {
				t.Errorf("%s: column %d has another type", name, c)
			}
		}
	}
	for i, field := range oldTable.Schema().Fields() {
		if field.Name == "nhs" {
			continue
		}
		if other := nowTable.Schema().Field(i); !field.Equal(other) {
			t.Errorf("%s: field %s is %s, was %s", name, field.Name, other, field)
		}
		if a, b := values(oldTable.Column(i)), values(nowTable.Column(i)); !slices.Equal(a, b) {
			t.Errorf("%s: column %s has other values", name, field.Name)
		}
	}
	meta := now.MetaData().KeyValueMetadata()
	mine, pandas, stored := meta.FindValue("mine"), meta.FindValue("pandas"), meta.FindValue("ARROW:schema")
	if mine == nil || *mine != "kept" || pandas == nil || strings.Contains(*pandas, "Int64") || !strings.Contains(*pandas, `"name":"text"`) || stored == nil {
		t.Fatalf("%s: metadata %v", name, meta)
	}
	// The schema that Arrow's tools store repeats all that.
	if schema, err := base64.StdEncoding.DecodeString(*stored); err != nil || bytes.Contains(schema, []byte(`"Int64"`)) || !bytes.Contains(schema, []byte("kept")) {
		t.Errorf("%s: %v: the stored schema holds the old type", name, err)
	}
}

// values gives a column as text.
func values(c *arrow.Column) (texts []string) {
	for _, chunk := range c.Data().Chunks() {
		for i := range chunk.Len() {
			texts = append(texts, chunk.ValueStr(i))
		}
	}
	return texts
}

func TestParquetThatIsRefused(t *testing.T) {
	whole := makeParquet(t, columnTypes[0], []number{{text: "9434765919"}, {text: "9434765918"}})
	for name, c := range map[string]struct {
		text   []byte
		change func(*column.Options)
		kind   fault.Kind
		want   string
	}{
		"cut":                {whole[:len(whole)-20], nil, fault.Usage, "not a whole Parquet file"},
		"a nested column":    {whole, func(o *column.Options) { o.Column = "deep" }, fault.Usage, "neither text nor whole numbers"},
		"dates":              {whole, func(o *column.Options) { o.Column = "day" }, fault.Usage, "neither text nor whole numbers"},
		"amounts":            {whole, func(o *column.Options) { o.Column = "money" }, fault.Usage, "neither text nor whole numbers"},
		"no such column":     {whole, func(o *column.Options) { o.Column = "NHS" }, fault.Usage, "no column of the name"},
		"invalid cells":      {whole, func(o *column.Options) { o.Invalid = column.InvalidError }, fault.RowsRefused, "1 of 2 rows cannot be passed on (row 2 nhs_number_check_digit)"},
		"from another name":  {whole, func(o *column.Options) { o.Out += ".csv" }, fault.Usage, "another format"},
		"another domain yet": {whole, func(o *column.Options) { o.Domain = "x" }, fault.Disagreement, "which is d"},
	} {
		folder := t.TempDir()
		if _, _, err := runParquet(t, folder, c.text, c.change); err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if names, err := filepath.Glob(filepath.Join(folder, "*")); err != nil || len(names) != 1 {
			t.Errorf("%s left %q", name, names)
		}
	}
}
