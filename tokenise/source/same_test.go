package source_test

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"pgregory.net/rapid"

	"tarn/tokenise/source"
)

// table is a random table and its forms.
type table struct {
	names []string
	rows  [][]string
}

func drawTable(t *rapid.T) table {
	names := []string{"unique_id", "family name", "postcode", "Größe"}[:rapid.IntRange(1, 4).Draw(t, "columns")]
	cell := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[A-Za-z0-9éÖ’ ,;|"\\{}-]{0,8}`), rapid.StringMatching(`x\n\t?"[yž]`))
	tab := table{names: names}
	for range rapid.IntRange(0, 60).Draw(t, "rows") {
		row := []string{"x"} // a line of nothing but white space is no CSV row
		for range names[1:] {
			row = append(row, strings.TrimSpace(cell.Draw(t, "cell")))
		}
		tab.rows = append(tab.rows, row)
	}
	return tab
}

func (tab table) csv(t tester, delimiter rune, crlf bool) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Comma, w.UseCRLF = delimiter, crlf
	if err := w.WriteAll(append([][]string{tab.names}, tab.rows...)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// ndjson writes missing values as null, as "" or not at all.
func (tab table) ndjson(t tester) []byte {
	var b bytes.Buffer
	for i, row := range tab.rows {
		b.WriteByte('{')
		first := true
		for c, cell := range row {
			value, err := json.Marshal(cell)
			if err != nil {
				t.Fatal(err)
			}
			if cell == "" && i > 0 {
				if value = []byte("null"); (i+c)%3 == 0 {
					continue
				}
			}
			name, err := json.Marshal(tab.names[c])
			if err != nil {
				t.Fatal(err)
			}
			if !first {
				b.WriteString(", ")
			}
			b.Write(append(append(name, ':', ' '), value...))
			first = false
		}
		b.WriteString("}\n")
	}
	return b.Bytes()
}

// utf16 encodes; a nil mark is none.
func utf16(t tester, text []byte, order unicode.Endianness, mark unicode.BOMPolicy) []byte {
	b, err := unicode.UTF16(order, mark).NewEncoder().Bytes(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSameRows: the same table reads as the same rows in every form.
func TestSameRows(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		tab := drawTable(t)
		plain := tab.csv(t, ',', false)
		forms := map[string][]byte{
			"plain.csv": plain, "crlf.csv": tab.csv(t, ',', true), "semicolon.csv": tab.csv(t, ';', false), "tab.tsv": tab.csv(t, '\t', true),
			"mark.csv": append([]byte("\ufeff"), plain...), "packed.csv.gz": packed(t, "gzip", plain), "packed.csv.zst": packed(t, "zstd", plain),
			"members.csv.gz": append(packed(t, "gzip", plain[:len(plain)/2]), packed(t, "gzip", plain[len(plain)/2:])...),
			"frames.csv.zst": append(packed(t, "zstd", plain[:len(plain)/2]), packed(t, "zstd", plain[len(plain)/2:])...),
			"wide.csv":       utf16(t, plain, unicode.LittleEndian, unicode.UseBOM), "wide.txt": utf16(t, plain, unicode.BigEndian, unicode.UseBOM),
			"wide.csv.gz":   packed(t, "gzip", utf16(t, plain, unicode.BigEndian, unicode.UseBOM)),
			"table.parquet": asParquet(t, tab.names, plain), "misnamed.csv": asParquet(t, tab.names, plain),
		}
		if latin, err := charmap.Windows1252.NewEncoder().Bytes(plain); err == nil {
			forms["latin.csv"] = latin
		}
		if len(tab.rows) > 0 {
			json := tab.ndjson(t)
			forms["table.ndjson"], forms["misnamed.txt"] = json, json
			forms["table.ndjson.zst"], forms["wide.ndjson"] = packed(t, "zstd", json), utf16(t, json, unicode.LittleEndian, unicode.UseBOM)
		}
		for name, text := range forms {
			path := filepath.Join(folder, name)
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			o := source.Options{}
			switch name {
			case "semicolon.csv":
				o.Delimiter = ';' // cells hold others
			case "tab.tsv":
				o.Delimiter = '\t'
			case "latin.csv":
				o.Encoding = source.EncodingLatin1
			default:
				if !strings.HasSuffix(name, "parquet") && !strings.Contains(name, "json") {
					o.Delimiter = ','
				}
			}
			header, rows, err := readWith(path, o)
			if err != nil || !slices.Equal(header, tab.names) || len(rows) != len(tab.rows) {
				t.Fatalf("%s: %v, header %q, %d rows of %d", name, err, header, len(rows), len(tab.rows))
			}
			for i, row := range rows {
				if row.Problem != "" || row.Number != int64(i+1) || !slices.Equal(row.Values, tab.rows[i]) {
					t.Fatalf("%s: row %d is %q %s, want %q", name, row.Number, row.Values, row.Problem, tab.rows[i])
				}
			}
			if name == "table.parquet" || name == "misnamed.csv" {
				continue
			}
			// The same from a pipe.
			o.Stdin = bytes.NewReader(text)
			if _, piped, err := readWith("-", o); err != nil || len(piped) != len(rows) || len(rows) > 0 && !slices.Equal(piped[0].Values, rows[0].Values) {
				t.Fatalf("%s from standard input: %v, %d rows of %d", name, err, len(piped), len(rows))
			}
		}
	})
}
