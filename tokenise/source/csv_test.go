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

	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// readAll reads a table from standard input.
func readAll(text string) (header []string, rows []source.Row, err error) {
	return readWith("-", source.Options{Delimiter: ',', Stdin: strings.NewReader(text)})
}

func readWith(path string, o source.Options) (header []string, rows []source.Row, err error) {
	r, err := source.Open(path, o)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = r.Close() }() // opened for reading
	var b source.Batch               // one for all reads: what is kept must be copied
	for {
		err := r.Read(&b)
		if errors.Is(err, io.EOF) {
			return r.Header(), rows, nil
		}
		if err != nil {
			return nil, nil, err
		}
		for _, row := range b.Rows {
			row.Values = slices.Clone(row.Values)
			rows = append(rows, row)
		}
	}
}

// TestAgainstTheStandardParser: any table, well-formed or not, whose records
// are lines reads as encoding/csv reads each, and tables with line ends in
// quotes as it reads the whole: whatever the delimiter, the line ends, the
// quotes, blanks around them and the byte order mark.
func TestAgainstTheStandardParser(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		delimiter := rapid.SampledFrom([]string{",", ";", "|", "\t", "~"}).Draw(t, "delimiter")
		end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "line end")
		blank := rapid.SampledFrom([]string{"", " ", "  "})
		if delimiter == "\t" {
			blank = rapid.Just("")
		}
		cell := rapid.OneOf(
			rapid.StringMatching(`[a-zéß0-9 '.\r]{0,6}`),
			rapid.Map(rapid.StringMatching(`([a-zé,;|~\t ]|""|\n|\r\n|\r){0,6}`), func(s string) string { return `"` + s + `"` }),
			rapid.StringMatching(`"?[a-z]{0,2}"?[a-z]?`),
		)
		text := rapid.SampledFrom([]string{"", "\ufeff"}).Draw(t, "mark") + strings.Join([]string{"one", "two", "three"}, delimiter) + end
		wellFormed := true
		for range rapid.IntRange(0, 8).Draw(t, "rows") {
			line := ""
			for c := range 3 {
				if c > 0 {
					line += delimiter
				}
				line += blank.Draw(t, "blank") + cell.Draw(t, "cell")
			}
			if standard, err := standardRecords(line+end, delimiter); err != nil || len(standard) != 1 || len(standard[0]) != 3 || strings.TrimSpace(line) == "" {
				wellFormed = false
			}
			text += line + end
		}
		if rapid.Bool().Draw(t, "no line end at the end") {
			text = strings.TrimSuffix(text, end)
		}
		header, rows, err := readWith("-", source.Options{Delimiter: rune(delimiter[0]), Stdin: strings.NewReader(text)})
		if err != nil || !slices.Equal(header, []string{"one", "two", "three"}) {
			t.Fatalf("%v: header %q", err, header)
		}
		if !wellFormed {
			return // what is refused then is TestNothingIsLost's
		}
		want, err := standardRecords(strings.TrimPrefix(text, "\ufeff"), delimiter)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != len(want)-1 {
			t.Fatalf("%d rows of %d in %q", len(rows), len(want)-1, text)
		}
		for i, row := range rows {
			if row.Problem != "" || row.Number != int64(i+1) || !slices.Equal(row.Values, want[i+1]) {
				t.Fatalf("row %d is %q %s, want %q", row.Number, row.Values, row.Problem, want[i+1])
			}
		}
	})
}

func standardRecords(text, delimiter string) ([][]string, error) {
	parser := csv.NewReader(strings.NewReader(text))
	parser.Comma, parser.TrimLeadingSpace, parser.FieldsPerRecord = rune(delimiter[0]), delimiter != "\t", -1
	records, err := parser.ReadAll()
	for _, record := range records {
		for i := range record {
			record[i] = strings.TrimSpace(record[i])
		}
	}
	return records, err
}

// TestMalformedLines: a single line that encoding/csv refuses, or that has
// another number of fields, is refused, and no other.
func TestMalformedLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.StringMatching(`x[a",]{0,8}`).Draw(t, "line") // begins within no quote
		standard, err := standardRecords(line, ",")
		bad := err != nil || len(standard[0]) != 3
		_, rows, readErr := readAll("one,two,three\n" + line + "\n1,2,3\n")
		if readErr != nil || len(rows) != 2 || (rows[0].Problem != "") != bad || rows[1].Problem != "" {
			t.Fatalf("%q: %v, rows %+v, want refused %v", line, readErr, rows, bad)
		}
	})
}

// TestNothingIsLost: with an open quote anywhere, every other row is still
// there.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "rows")
		broken := rapid.IntRange(0, n-1).Draw(t, "broken")
		quoted := rapid.Bool().Draw(t, "quoted rows behind it")
		text := "one,two\n"
		for i := range n {
			switch {
			case i == broken:
				text += "\"open,2\n"
			case quoted:
				text += "a,\"b\"\n"
			default:
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

func TestRowsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		codes []reason.Code
	}{
		"too few, too many":                {"a,b\n1\n1,2,3\n1,2\n", []reason.Code{reason.RowMalformed, reason.RowMalformed, ""}},
		"NUL":                              {"a,b\n1,\x00\n1,2\n", []reason.Code{reason.RowMalformed, ""}},
		"not UTF-8 among UTF-8":            {"a,b\n1,\xff\n1,é\n", []reason.Code{reason.RowEncoding, ""}},
		"bad bytes within a quoted record": {"a,b\n1,\"x\n\x00\ny\"\n1,é\n", []reason.Code{reason.RowMalformed, ""}},
		"two quotes, neither closed":       {"a,b\n\"open,2\n1,\"\n1,2\n", []reason.Code{reason.RowMalformed, reason.RowMalformed, ""}},
		"blank lines are none":             {"\na,b\n\n1,2\n  \n\r\n3,4", []reason.Code{"", ""}},
	} {
		_, rows, err := readAll(c.text)
		var codes []reason.Code
		for _, row := range rows {
			codes = append(codes, row.Problem)
		}
		if err != nil || !slices.Equal(codes, c.codes) {
			t.Errorf("%s: %v, %q, want %q", name, err, codes, c.codes)
		}
	}
	// All empty is a row, in any format; with tabs it is white space too.
	if _, rows, err := readWith("-", source.Options{Stdin: strings.NewReader("a\tb\n\t\n")}); err != nil || len(rows) != 1 {
		t.Errorf("%v: %d rows of a line of tabs", err, len(rows))
	}
}

func TestHeadersThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "it is empty",
		"\n\n":                      "it is empty",
		"a,a\n":                     "columns 1 and 2 of its header have the same name",
		"a,\n":                      "column 2 of its header has no name",
		"id,1973-10-22\n":           "field 2 is a date",
		"a;b\n1;2\n":                "single column that holds another delimiter",
		"a,b\r1,2\r":                "carriage returns alone",
		"a,\"b\n":                   "row_malformed",
		"[{\"a\":1}]":               "JSON array",
		"PAR1":                      "Parquet",
		"PK\x03\x04rest of archive": "ZIP archive",
	} {
		if _, _, err := readAll(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestNoHeader(t *testing.T) {
	header, rows, err := readWith("-", source.Options{NoHeader: true, Stdin: strings.NewReader("\ufeff1,Zoë\n2,x\n")})
	if err != nil || !slices.Equal(header, []string{"column_1", "column_2"}) || len(rows) != 2 || rows[0].Values[1] != "Zoë" || rows[1].Number != 2 {
		t.Errorf("%v: %q %+v", err, header, rows)
	}
}

// FuzzCSV: no input makes the reader panic; rows are numbered without gaps; no
// value holds NUL or anything but UTF-8; and the pieces are the input.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"", "a,b\n1,2\n", "a\n\"", "\ufeffa,b\n", "a,b\n\x00,\xff\n", "a,a\n", "a;b\n1;2\n", "a,b\r\n\"x\r\ny\",2\r\n", "\xff\xfea\x00,\x00b\x00\n\x00", "a,b\n\"x\"\"y\",\"\n\n", "\x1f\x8b", "\x28\xb5\x2f\xfd", "a,b\n\xe9,\xe9\n", "a\tb\n\t\n", "a,b\n\"1\n2\",3\n\"4,5\n"} {
		f.Add([]byte(seed))
	}
	f.Add(packed(f, "gzip", []byte("a,b\n1,2\n")))
	f.Add(packed(f, "zstd", []byte("a,b\n1,2\n")))
	f.Fuzz(func(t *testing.T, text []byte) { checkReading(t, text) })
}

// checkReading holds a reader to what is true of any input.
func checkReading(t *testing.T, text []byte) {
	header, rows, err := readWith("-", source.Options{Stdin: bytes.NewReader(text), MaxRowBytes: 500})
	if err != nil {
		return
	}
	refused := 0
	for i, row := range rows {
		if row.Problem != "" {
			refused++
		}
		if row.Number != int64(i+1) || row.Problem == "" && len(row.Values) != len(header) {
			t.Fatalf("row %d is number %d with %d values for %d columns", i+1, row.Number, len(row.Values), len(header))
		}
		for _, v := range row.Values {
			if strings.ContainsRune(v, 0) || v != strings.ToValidUTF8(v, "") || v != strings.TrimSpace(v) {
				t.Fatalf("row %d has the value %q", row.Number, v)
			}
		}
	}
	checkPieces(t, text, header[0], len(rows))
}
