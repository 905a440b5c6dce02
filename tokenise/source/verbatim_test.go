package source_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"tarn/tokenise/source"
)

// TestVerbatim: white space around cells stays in every format, and around the
// header's names it does not; a blank line is a row where it may be a cell.
func TestVerbatim(t *testing.T) {
	builder := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.BinaryTypes.String}, {Name: "b", Type: arrow.BinaryTypes.String}}, nil))
	builder.Field(0).(*array.StringBuilder).Append(" x ")
	builder.Field(1).(*array.StringBuilder).Append("\u00a0é\t")
	for name, text := range map[string]string{
		"in.csv": " a , b\n\n x ,\u00a0é\t\n", "quoted.csv": "a,b\n\" x \",\"\u00a0é\t\"\n", "latin.csv": "a,b\n x ,\xa0\xe9\t\n",
		"in.ndjson": "{\"a\": \" x \", \"b\": \"\\u00a0é\\t\"}\n", "in.parquet": string(parquetOf(t, builder.NewRecordBatch(), 10)),
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for verbatim, want := range map[bool]string{true: `[" x " "\u00a0é\t"]`, false: `["x" "é"]`} {
			header, rows, err := readWith(path, source.Options{Verbatim: verbatim})
			if err != nil || len(rows) != 1 || fmt.Sprintf("%q", header) != `["a" "b"]` || fmt.Sprintf("%q", rows[0].Values) != want {
				t.Errorf("%s, %v: %q, %v, %v", name, verbatim, header, rows, err)
			}
		}
	}
	for verbatim, want := range map[bool]string{true: "[x row_malformed y]", false: "[x y]"} {
		path := filepath.Join(t.TempDir(), "one.csv")
		if err := os.WriteFile(path, []byte("a\nx\n\ny\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, rows, err := readWith(path, source.Options{Verbatim: verbatim})
		var got []string
		for _, row := range rows {
			got = append(got, string(row.Problem))
			if row.Problem == "" {
				got[len(got)-1] = row.Values[0]
			}
		}
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%v: %v, %v", verbatim, got, err)
		}
	}
}
