package sheet

import (
	"bytes"
	"encoding/csv"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// TestHarmless: what a spreadsheet could run is text, and numbers are numbers.
func TestHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "night": "night", "0": "0", "12": "12", "-5": "-5", "-0.5": "-0.5", "3.25": "3.25", "a-b": "a-b", "x=1": "x=1", "'": "'", " a": " a",
		"=1+1": "'=1+1", "+44": "'+44", "-": "'-", "--5": "'--5", "-5+1": "'-5+1", "-1e5": "'-1e5", "-.5": "'-.5", "@SUM(A1)": "'@SUM(A1)",
		"\tx": "'\tx", "\rx": "'\rx", "\nx": "'\nx", "\t": "'\t",
		"＝1": "'＝1", "＋1": "'＋1", "－1": "'－1", "＠a": "'＠a",
		" =1": "' =1", "  \t=1": "'  \t=1", "\u00a0=1": "'\u00a0=1", "\ufeff=1": "'\ufeff=1", "\u200b+1": "'\u200b+1", "\x00=1": "'\x00=1", "\u3000＝1": "'\u3000＝1",
		" -5": "' -5", "-5\n": "'-5\n", "-5\n=1": "'-5\n=1",
	} {
		if got := Harmless(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestWrite: RFC 4180, byte for byte.
func TestWrite(t *testing.T) {
	var b bytes.Buffer
	err := Write(&b, [][]string{{"section", "measure", "value"}, {"a,b", `say "x"`, "-5"}, {"two\nlines", "=1+1", ""}})
	if want := "section,measure,value\r\n\"a,b\",\"say \"\"x\"\"\",-5\r\n\"two\r\nlines\",'=1+1,\r\n"; err != nil || b.String() != want {
		t.Errorf("%q, %v, want %q", b.String(), err, want)
	}
}

// full is a disk that is.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("=cmd") }

// TestWriteFails: what went wrong is said, and nothing of it repeated.
func TestWriteFails(t *testing.T) {
	if err := Write(full{}, [][]string{{strings.Repeat("x", 1<<16)}, {"y"}}); err == nil || strings.Contains(err.Error(), "=cmd") {
		t.Error(err)
	}
	if err := Write(full{}, [][]string{{"y"}}); err == nil {
		t.Error("nothing was written, and nothing said")
	}
}

// FuzzWrite: whatever is written can be read again, each cell is what it was but for an
// apostrophe, and none begins like a formula.
func FuzzWrite(f *testing.F) {
	for _, cell := range []string{"night", "-5", "=1+1", "\t=1", " ＝1", "\ufeff+1", "a\r\nb", `"`, "\x00@", "-5\n", "'=1", "\xff=1"} {
		f.Add(cell, "1")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		var b bytes.Buffer
		if err := Write(&b, [][]string{{one, two}, {two, one, "end"}}); err != nil {
			t.Fatal(err)
		}
		in := csv.NewReader(&b)
		in.FieldsPerRecord = -1
		rows, err := in.ReadAll()
		if err != nil || len(rows) != 2 || len(rows[0]) != 2 || len(rows[1]) != 3 {
			t.Fatalf("%q, %v", rows, err)
		}
		for i, cell := range rows[0] {
			before := []string{one, two}[i]
			// Line ends are CRLF in the file, and a CR alone is dropped.
			if plain := strings.ReplaceAll(before, "\r", ""); strings.ReplaceAll(cell, "\r", "") != plain && strings.ReplaceAll(cell, "\r", "") != "'"+plain {
				t.Fatalf("%q became %q", before, cell)
			}
		}
		for _, cell := range slices.Concat(rows[0], rows[1]) {
			if !number(cell) && runs(cell) {
				t.Fatalf("%q could be run", cell)
			}
		}
	})
}

// runs reports whether some spreadsheet could run a cell: one passes over what cannot be
// seen, another takes the wide characters for what they look like.
func runs(cell string) bool {
	for i, c := range cell {
		switch {
		case i == 0 && (c == '\t' || c == '\r' || c == '\n'):
			return true
		case slices.Contains([]rune{'=', '+', '-', '@', 0xff1d, 0xff0b, 0xff0d, 0xff20}, c):
			return true
		case unicode.IsSpace(c), unicode.Is(unicode.Cc, c), unicode.Is(unicode.Cf, c):
			continue
		}
		return false
	}
	return false
}

// number reports whether a cell is a plain number, digit by digit.
func number(cell string) bool {
	whole, decimals, point := strings.Cut(strings.TrimPrefix(cell, "-"), ".")
	digits := func(s string) bool {
		return s != "" && strings.Trim(s, "0123456789") == ""
	}
	return digits(whole) && (!point || digits(decimals))
}
