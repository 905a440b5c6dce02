package source_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding/unicode"

	"tarn/tokenise/source"
)

// TestEncodingIsFound: what is found, from a file and from standard input, and
// how many of the rows are refused.
func TestEncodingIsFound(t *testing.T) {
	ascii := strings.Repeat("1,Ann\n", 20_000) // more than any sample
	wide := func(text string, order unicode.Endianness) string {
		return string(utf16(t, []byte(text), order, unicode.IgnoreBOM))
	}
	for name, c := range map[string]struct {
		text, file, piped string
		refused           int
	}{
		"ASCII":                                    {ascii, source.EncodingUTF8, source.EncodingUTF8, 0},
		"UTF-8 late":                               {ascii + "2,Zoë\n", source.EncodingUTF8, source.EncodingUTF8, 0},
		"Windows-1252 late":                        {ascii + "2,Zo\xeb\n", source.EncodingWindows1252, source.EncodingWindows1252, 0},
		"Windows-1252 apostrophe":                  {ascii + "2,O\x92Neill\n" + ascii, source.EncodingWindows1252, source.EncodingWindows1252, 0},
		"one bad row among UTF-8":                  {"1,Zoë\n2,Zo\xeb\n" + ascii, source.EncodingUTF8, source.EncodingUTF8, 1},
		"one good row among Windows-1252":          {strings.Repeat("1,Zo\xeb\n", 30) + "2,Zoë\n", source.EncodingWindows1252, source.EncodingWindows1252, 0},
		"bytes that no letter has (code page 850)": {"1,Ren\x82e\n", source.EncodingUTF8, source.EncodingUTF8, 1},
		"UTF-16 little-endian without mark":        {wide("a,b\n1,Zoë\n", unicode.LittleEndian), source.EncodingUTF16LE, source.EncodingUTF16LE, 0},
		"UTF-16 big-endian without mark":           {wide("a,b\n1,Zoë\n", unicode.BigEndian), source.EncodingUTF16BE, source.EncodingUTF16BE, 0},
		"UTF-16 with half a character":             {wide("a,b\n1,Zoë\n1,", unicode.LittleEndian) + "\x00\xd8" + wide("x\n", unicode.LittleEndian), source.EncodingUTF16LE, source.EncodingUTF16LE, 1},
		// From a pipe only what is near the first such row can count.
		"Windows-1252, then far away UTF-8": {"1,Zo\xeb\n" + ascii + strings.Repeat("2,Zoë\n", 20), source.EncodingUTF8, source.EncodingWindows1252, 1},
	} {
		text := c.text
		if !strings.Contains(name, "UTF-16") {
			text = "a,b\n" + text
		}
		path := filepath.Join(t.TempDir(), "in.csv")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for from, o := range map[string]source.Options{path: {}, "-": {Stdin: strings.NewReader(text)}} {
			r, err := source.Open(from, o)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			refused, want, encoding := 0, c.refused, c.file
			var last source.Row
			for b := new(source.Batch); r.Read(b) == nil; {
				for _, row := range b.Rows {
					if last = row; row.Problem != "" {
						refused++
					}
				}
			}
			if from == "-" {
				if encoding = c.piped; c.file != c.piped {
					want = 0
				}
			}
			if got := r.Input().Encoding; got != encoding || refused != want {
				t.Errorf("%s, file %v: %s, %d refused (last %s); want %s, %d", name, from != "-", got, refused, last.Problem, encoding, want)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestWindows1252IsDecoded(t *testing.T) {
	_, rows, err := readWith("-", source.Options{Encoding: source.EncodingWindows1252, Stdin: strings.NewReader("a,b\n\xa0Zo\xeb \xa0,\"O\x92N\"\"\xd6\"\n\x81,x\n")})
	if err != nil || len(rows) != 2 || rows[0].Values[0] != "Zoë" || rows[0].Values[1] != `O’N"Ö` || rows[1].Problem != "row_encoding" {
		t.Errorf("%v: %+v", err, rows)
	}
}
