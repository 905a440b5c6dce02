package delimited

import (
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/tokenise/reason"
	"tarn/tokenise/source/stream"
)

// scan reads all records of a text and checks that they are the text.
func scan(t interface{ Fatalf(string, ...any) }, text string, width int) (records []Record, s *Scanner) {
	s = New(stream.NewWindow(strings.NewReader(text)), ',', 1<<20)
	var all strings.Builder
	for {
		var r Record
		if err := s.Next(width, &r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v", err)
		}
		all.Write(r.Raw)
		r.Raw = []byte(string(r.Raw))
		records = append(records, r)
	}
	if all.String() != text {
		t.Fatalf("%d bytes of records for %d bytes of text", all.Len(), len(text))
	}
	return records, s
}

// TestWorkIsLinear: however quotes are left open, each byte is looked at for
// them three times at most. The work is counted, not timed.
func TestWorkIsLinear(t *testing.T) {
	lines := map[string]string{
		"opened on every line":      "1,\"open,x\n",
		"three quotes":              "1,\"\"\"open,x\n",
		"a closed and an open one":  "\"a\",\"open\n",
		"a quote alone":             "\"\n",
		"every third line":          "a,b,c\na,\"b\",c\n\"a,b,c\n",
		"a bare and an open one":    "a\"b,c,\"open\n",
		"closed by the next, wrong": "\"a\n\",\"b\n",
	}
	for name, line := range lines {
		for _, width := range []int{0, 3, 50} {
			text := strings.Repeat(line, 20_000)
			records, s := scan(t, text, width)
			if s.worked > 3*int64(len(text)) {
				t.Errorf("%s, width %d: %d bytes of work for %d bytes", name, width, s.worked, len(text))
			}
			if len(records) == 0 {
				t.Errorf("%s: no records", name)
			}
		}
	}
	// A quote that nothing closes looks ahead once, not once a line.
	text := "\"open\n" + strings.Repeat("a,\"b\",c\n", 5000)
	if records, s := scan(t, text, 3); len(records) != 5001 || s.worked > 3*int64(len(text)) {
		t.Errorf("%d records, %d bytes of work for %d", len(records), s.worked, len(text))
	}
}

// TestEveryByteIsInOneRecord, whatever the bytes, and fields lie in order
// between delimiters.
func TestEveryByteIsInOneRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a,"\r\n \x00é]{0,60}`).Draw(t, "text")
		records, _ := scan(t, text, rapid.IntRange(0, 3).Draw(t, "width"))
		for _, r := range records {
			if (r.Problem != "" || r.Blank) != (len(r.Fields) == 0) {
				t.Fatalf("%q has %d fields, problem %q", r.Raw, len(r.Fields), r.Problem)
			}
			at := 0
			for i, f := range r.Fields {
				if f.Start != at || f.In < f.Start || f.Out < f.In || f.End < f.Out || i > 0 && r.Raw[f.Start-1] != ',' {
					t.Fatalf("%q: field %d is %+v", r.Raw, i, f)
				}
				at = f.End + 1
			}
		}
	})
}

func TestTooLongRecords(t *testing.T) {
	s := New(stream.NewWindow(strings.NewReader("a,b\n"+strings.Repeat("x", 5000)+"\n1,2\n\"q"+strings.Repeat("y\n", 3000)+"z\"\n")), ',', 100)
	var codes []reason.Code
	var r Record
	for s.Next(2, &r) == nil && len(codes) < 4 {
		codes = append(codes, r.Problem)
	}
	if want := []reason.Code{"", reason.RowTooLong, "", reason.RowMalformed}; len(codes) != 4 || codes[1] != want[1] || codes[2] != "" || codes[3] != want[3] {
		t.Errorf("problems %q, want %q", codes, want)
	}
}
