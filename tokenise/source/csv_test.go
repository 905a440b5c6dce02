package source_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/tokenise/source"
)

// readAll reads a table from standard input.
func readAll(text string) (header []string, rows []source.Row, err error) {
	r, err := source.Open("-", source.Options{Delimiter: ',', Stdin: strings.NewReader(text)})
	if err != nil {
		return nil, nil, err
	}
	for {
		var b source.Batch
		err := r.Read(&b)
		if errors.Is(err, io.EOF) {
			return r.Header(), rows, nil
		}
		if err != nil {
			return nil, nil, err
		}
		rows = append(rows, b.Rows...)
	}
}

// TestAgainstTheStandardParser: a well-formed table reads as encoding/csv
// reads it.
func TestAgainstTheStandardParser(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringMatching(`x[a-z",éß 0-9]{0,6}x|x[a-z]*\nx|`)
		records := [][]string{{"one", "two", "three"}}
		for range rapid.IntRange(0, 8).Draw(t, "rows") {
			records = append(records, []string{"x", cell.Draw(t, "a"), cell.Draw(t, "b")})
		}
		var text bytes.Buffer
		if err := csv.NewWriter(&text).WriteAll(records); err != nil {
			t.Fatal(err)
		}
		header, rows, err := readAll(text.String())
		if err != nil || !slices.Equal(header, records[0]) || len(rows) != len(records)-1 {
			t.Fatalf("%v: header %q, %d rows of %d", err, header, len(rows), len(records)-1)
		}
		for i, row := range rows {
			if row.Problem != "" || row.Number != int64(i+1) || !slices.Equal(row.Values, records[i+1]) {
				t.Fatalf("row %d is %q %s, want %q", row.Number, row.Values, row.Problem, records[i+1])
			}
		}
	})
}

// TestNothingIsLost: with an open quote anywhere, every other row is still
// there.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "rows")
		broken := rapid.IntRange(0, n-1).Draw(t, "broken")
		text := "one,two\n"
		for i := range n {
			if i == broken {
				text += "\"open,2\n"
			} else {
				text += "a,b\n"
			}
		}
		_, rows, err := readAll(text)
		if err != nil || len(rows) != n {
			t.Fatalf("%v: %d rows of %d", err, len(rows), n)
		}
		for i, row := range rows {
			if (row.Problem != "") != (i == broken) {
				t.Fatalf("row %d: problem %q", i, row.Problem)
			}
		}
	})
}

// FuzzCSV: no input makes the reader panic, rows are numbered without gaps, and
// no error repeats the input.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"", "a,b\n1,2\n", "a\n\"", "\ufeffa,b\n", "a,b\n\x00,\xff\n", "a,a\n", "a;b\n1;2\n", "a,b\r\n\"x\r\ny\",2\r\n", "\xff\xfea"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		header, rows, err := readAll(text)
		if err != nil {
			return
		}
		for i, row := range rows {
			if row.Number != int64(i+1) || row.Problem == "" && len(row.Values) != len(header) {
				t.Fatalf("row %d is number %d with %d values for %d columns", i+1, row.Number, len(row.Values), len(header))
			}
		}
	})
}
