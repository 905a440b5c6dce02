package column_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// page is what a test holds of a chunk's page: whether it is the dictionary, and its bytes
// if so.
type page struct {
	kind       string
	dictionary string
}

// plain reports whether a page refers to no dictionary.
func plain(p page) bool { return p.kind == "PLAIN" }

func pagesOf(t *testing.T, table []byte, column int) (pages [][]page) {
	t.Helper()
	r, err := file.NewParquetReader(bytes.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	for g := range r.NumRowGroups() {
		from, err := r.RowGroup(g).GetColumnPageReader(column)
		if err != nil {
			t.Fatal(err)
		}
		var of []page
		for from.Next() {
			p := page{kind: fmt.Sprint(from.Page().Encoding())}
			if _, is := from.Page().(*file.DictionaryPage); is {
				p = page{"dictionary", string(from.Page().Data())}
			}
			of = append(of, p)
		}
		if from.Err() != nil {
			t.Fatal(from.Err())
		}
		pages = append(pages, of)
	}
	return pages
}

// TestCategories: the dictionary of a chunk, which Arrow's tools read as the categories of
// a column, has the same texts in the same order, those of no row, too; a chunk without one
// gets none; and the stored schema says as before that categories are ordered.
func TestCategories(t *testing.T) {
	long := strings.Repeat("z", 2<<20) // longer than the writer lets a dictionary be
	ordered := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String, Ordered: true}
	layout := arrow.NewSchema([]arrow.Field{
		{Name: "nhs", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "stage", Type: ordered, Nullable: true}, {Name: "grows", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
	texts := func(values ...string) arrow.Array {
		b := array.NewStringBuilder(memory.DefaultAllocator)
		b.AppendValues(values, nil)
		return b.NewArray()
	}
	group := func(rows int, categories []string) arrow.RecordBatch {
		indices := array.NewInt8Builder(memory.DefaultAllocator)
		var numbers, grows []string
		for i := range rows {
			numbers = append(numbers, canaries(1)[0])
			grows = append(grows, fmt.Sprintf("%0400d", i%max(1, rows-5))) // where nothing is compressed, a dictionary is worth it in the last group only
			if i%3 == 0 {
				indices.AppendNull()
			} else {
				indices.Append(int8(i % 2))
			}
		}
		return array.NewRecordBatch(layout, []arrow.Array{texts(numbers...), array.NewDictionaryArray(ordered, indices.NewArray(), texts(categories...)), texts(grows...)}, int64(rows))
	}
	first := map[string]bool{}
	for _, codec := range []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Zstd} {
		var b bytes.Buffer
		properties := parquet.NewWriterProperties(parquet.WithCompression(codec), parquet.WithDictionaryPageSizeLimit(16<<20), parquet.WithDictionaryCostFallbackFor("stage", false))
		w, err := pqarrow.NewFileWriter(layout, &b, properties, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range []arrow.RecordBatch{group(20, []string{"late", "early", "never"}), group(9000, []string{"early", "never", "late"}), group(6, []string{long, "x"})} {
			if err := w.Write(record); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		after, _, err := runParquet(t, t.TempDir(), b.Bytes(), nil)
		if err != nil {
			t.Fatal(err)
		}
		was, is := pagesOf(t, b.Bytes(), 1), pagesOf(t, after, 1)
		for g := range was {
			if was[g][0].kind != "dictionary" || was[g][0] != is[g][0] || slices.ContainsFunc(is[g], plain) {
				t.Errorf("row group %d: its dictionary has changed", g)
			}
			if columns, copied := pagesOf(t, b.Bytes(), 2), pagesOf(t, after, 2); columns[g][0].kind != copied[g][0].kind {
				t.Errorf("row group %d: its first page is %s, and was %s", g, copied[g][0].kind, columns[g][0].kind)
			} else {
				first[columns[g][0].kind] = true
			}
		}
		_, before := openParquet(t, b.Bytes())
		_, now := openParquet(t, after)
		for i := 1; i < 3; i++ {
			if !slices.Equal(values(before.Column(i)), values(now.Column(i))) {
				t.Errorf("column %d has other values", i)
			}
		}
		if kind, ok := now.Schema().Field(1).Type.(*arrow.DictionaryType); !ok || !kind.Ordered || kind.IndexType.ID() != arrow.INT8 {
			t.Errorf("the categories are %s now", now.Schema().Field(1).Type)
		}
	}
	if !first["dictionary"] || !first["PLAIN"] {
		t.Errorf("chunks with and without a dictionary were to be tested: %v", first)
	}
}

// TestDictionaryThatGrows: a chunk whose dictionary was given up midway, as that of a
// column of notes is, is copied with what it had, and no dictionary grows with the table.
func TestDictionaryThatGrows(t *testing.T) {
	layout := arrow.NewSchema([]arrow.Field{{Name: "nhs", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "note", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	const rows = 110_000
	b := array.NewStringBuilder(memory.DefaultAllocator)
	for i := range rows {
		b.Append(strconv.Itoa(10_000_000 + i))
	}
	var table bytes.Buffer
	properties := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDataPageSize(4000))
	w, err := pqarrow.NewFileWriter(layout, &table, properties, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(array.NewRecordBatch(layout, []arrow.Array{array.MakeArrayOfNull(memory.DefaultAllocator, arrow.BinaryTypes.String, rows), b.NewArray()}, rows)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	was := pagesOf(t, table.Bytes(), 1)[0]
	if was[0].kind != "dictionary" || !slices.ContainsFunc(was, plain) {
		t.Fatalf("the table is not what is to be tested: %d pages", len(was))
	}
	after, _, err := runParquet(t, t.TempDir(), table.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	is := pagesOf(t, after, 1)[0]
	if is[0].kind != "dictionary" || !strings.HasPrefix(is[0].dictionary, was[0].dictionary) || len(is[0].dictionary) > len(was[0].dictionary)+4096*12 || !slices.ContainsFunc(is, plain) {
		t.Errorf("%d bytes of a dictionary of %d, %d pages of %d", len(is[0].dictionary), len(was[0].dictionary), len(is), len(was))
	}
	_, before := openParquet(t, table.Bytes())
	_, now := openParquet(t, after)
	if !slices.Equal(values(before.Column(1)), values(now.Column(1))) {
		t.Error("it has other values")
	}
}

// TestDamagedDictionary: a dictionary that ends within a text, or names a length beyond it,
// is damage.
func TestDamagedDictionary(t *testing.T) {
	layout := arrow.NewSchema([]arrow.Field{{Name: "nhs", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "kind", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewStringBuilder(memory.DefaultAllocator)
	b.AppendValues([]string{"marker-one", "marker-one", "marker-one", "marker-two"}, nil)
	kinds := b.NewArray()
	var table bytes.Buffer
	w, err := pqarrow.NewFileWriter(layout, &table, parquet.NewWriterProperties(parquet.WithDictionaryCostFallbackFor("kind", false)), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(array.NewRecordBatch(layout, []arrow.Array{array.MakeArrayOfNull(memory.DefaultAllocator, arrow.BinaryTypes.String, 4), kinds}, 4)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(table.Bytes(), []byte("marker-two"))
	for _, length := range []byte{11, 0xff} {
		damaged := bytes.Clone(table.Bytes())
		damaged[at-4] = length
		folder := t.TempDir()
		if _, _, err := runParquet(t, folder, damaged, nil); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("a text of %d bytes: %v", length, err)
		}
		if _, err := os.Stat(filepath.Join(folder, "out.parquet")); err == nil {
			t.Error("there is an output")
		}
	}
}

// TestCategoriesThatChange: where the categories of a chunk changed midway, so that the
// values behind that are in no dictionary, those before keep theirs and their order.
func TestCategoriesThatChange(t *testing.T) {
	optional := func(name string) schema.Node {
		node, err := schema.NewPrimitiveNodeLogical(name, parquet.Repetitions.Optional, schema.StringLogicalType{}, parquet.Types.ByteArray, -1, -1)
		if err != nil {
			t.Fatal(err)
		}
		return node
	}
	root, err := schema.NewGroupNode("schema", parquet.Repetitions.Required, schema.FieldList{optional("nhs"), optional("kind")}, -1)
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	w := file.NewParquetWriter(&table, root, file.WithWriterProps(parquet.NewWriterProperties(parquet.WithDictionaryPageSizeLimit(16<<20), parquet.WithDictionaryCostFallbackFor("kind", false))))
	group, err := w.AppendRowGroupChecked()
	if err != nil {
		t.Fatal(err)
	}
	write := func(to file.ColumnChunkWriter, definition []int16, values ...string) {
		var all []parquet.ByteArray
		for _, v := range values {
			all = append(all, parquet.ByteArray(v))
		}
		if _, err := to.(*file.ByteArrayColumnChunkWriter).WriteBatch(all, definition, nil); err != nil {
			t.Fatal(err)
		}
	}
	next := func() file.ColumnChunkWriter {
		to, err := group.NextColumn()
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	numbers := next()
	write(numbers, []int16{0, 0, 0, 0})
	kinds := next().(*file.ByteArrayColumnChunkWriter)
	categories := array.NewStringBuilder(memory.DefaultAllocator)
	categories.AppendValues([]string{strings.Repeat("z", 2<<20), "b", "a"}, nil)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(kinds.CurrentEncoder().(interface{ PutDictionary(arrow.Array) error }).PutDictionary(categories.NewArray()))
	write(kinds, []int16{1, 1}, "a", "b")
	must(kinds.WriteDictionaryPage())
	must(kinds.FlushBufferedDataPages())
	kinds.FallbackToPlain()
	write(kinds, []int16{1, 1}, "x", "y")
	must(w.Close())

	was := pagesOf(t, table.Bytes(), 1)[0]
	if len(was) != 3 || was[0].kind != "dictionary" || !plain(was[2]) {
		t.Fatalf("the table is not what is to be tested: %d pages", len(was))
	}
	after, _, err := runParquet(t, t.TempDir(), table.Bytes(), nil)
	must(err)
	if is := pagesOf(t, after, 1)[0]; !strings.HasPrefix(is[0].dictionary, was[0].dictionary) {
		t.Error("the dictionary has gone")
	}
	_, before := openParquet(t, table.Bytes())
	_, now := openParquet(t, after)
	if !slices.Equal(values(before.Column(1)), values(now.Column(1))) {
		t.Error("it has other values")
	}
}
