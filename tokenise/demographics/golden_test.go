package demographics_test

import (
	"encoding/csv"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"tarn/keys/nhsnumber"
	"tarn/tokenise/demographics"
)

var escapes = regexp.MustCompile(`\\u[0-9a-f]{4}|\\x[0-9a-f]{2}`)

// unescape reads \u00a0 and \xff.
func unescape(text string) string {
	return escapes.ReplaceAllStringFunc(text, func(escape string) string {
		n, err := strconv.ParseUint(escape[2:], 16, 32)
		if err != nil {
			panic(err)
		}
		if escape[1] == 'x' {
			return string([]byte{byte(n)})
		}
		return string(rune(n))
	})
}

// normalise gives what a field of a kind becomes and its code.
func normalise(kind, raw string) (text, code string, ok bool) {
	joined := func(parts []string) string { return strings.Join(parts, " ") }
	switch kind {
	case "name":
		parts, code := demographics.Name(raw)
		return joined(parts), string(code), true
	case "name-formal":
		parts, code := demographics.Name(raw)
		return joined(demographics.Formal(parts)), string(code), true
	case "text":
		return joined(demographics.Text(raw)), "", true
	case "code":
		return demographics.Code(raw), "", true
	case "date":
		d, code := demographics.ParseDate(raw, today)
		if !d.IsZero() {
			text = d.String()
		}
		return text, string(code), true
	case "postcode":
		text, code := demographics.Postcode(raw)
		return text, string(code), true
	case "sex":
		letter, code := demographics.Sex(raw)
		if letter != 0 {
			text = string(letter)
		}
		return text, string(code), true
	case "nhs_number":
		n, _, problem := nhsnumber.Parse(raw)
		if n != (nhsnumber.Number{}) {
			text = string(n[:])
		}
		return text, problem.String(), true
	}
	return "", "", false
}

// goldenCase is a line of the golden table.
type goldenCase struct {
	line   int
	fields []string // kind, input as it is written, expected, code, why
}

func readGolden() (cases []goldenCase, err error) {
	f, err := os.Open("testdata/golden.csv")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	table := csv.NewReader(f)
	table.Comment = '#'
	table.FieldsPerRecord = 5
	for {
		fields, err := table.Read()
		if errors.Is(err, io.EOF) {
			return cases, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := table.FieldPos(0)
		cases = append(cases, goldenCase{line, fields})
	}
}

// goldenInputs returns the inputs of the golden table.
var goldenInputs = sync.OnceValue(func() (inputs []string) {
	cases, err := readGolden()
	if err != nil {
		panic(err)
	}
	for _, c := range cases[1:] {
		inputs = append(inputs, unescape(c.fields[1]))
	}
	return inputs
})

// TestGoldenTable holds the normalisers to testdata/golden.csv, which is there
// to be read and corrected by people who know the data.
func TestGoldenTable(t *testing.T) {
	table, err := readGolden()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(table[0].fields, ","); got != "kind,input,expected,code,why" {
		t.Fatalf("line %d: the header is %s", table[0].line, got)
	}
	cases := map[string]int{}
	seen := map[[2]string]int{}
	for _, c := range table[1:] {
		kind, input := c.fields[0], unescape(c.fields[1])
		text, code, ok := normalise(kind, input)
		switch {
		case !ok:
			t.Errorf("line %d: no kind %q", c.line, kind)
		case text != c.fields[2] || code != c.fields[3]:
			t.Errorf("line %d: %s %+q gives %q with code %q; the table expects %q with code %q", c.line, kind, input, text, code, c.fields[2], c.fields[3])
		case strings.Trim(c.fields[1], " ") != c.fields[1] || !visible(c.fields[1]):
			t.Errorf("line %d: write blanks at the ends and characters that are not seen as \\u0020 or their like", c.line)
		}
		if at, twice := seen[[2]string{kind, input}]; twice {
			t.Errorf("line %d: the same as line %d", c.line, at)
		}
		seen[[2]string{kind, input}] = c.line
		cases[kind]++
	}
	if len(table)-1 < 300 {
		t.Errorf("%d cases, want 300 or more", len(table)-1)
	}
	t.Logf("%d cases: %v", len(table)-1, cases)
}

func visible(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r < ' ' || r == utf8.RuneError || r >= 0x7f && r <= 0xa0 || r == 0xad || r >= 0x2000 && r <= 0x2017 || r >= 0x2018 && r <= 0x201f && r != 0x2019 || r == 0x3000 || r == 0xfeff
	})
}
