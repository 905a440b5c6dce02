package source_test

import (
	"slices"
	"strings"
	"testing"

	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

func TestNDJSONRows(t *testing.T) {
	text := strings.Join([]string{
		`{"id":"1","nhs":9434765919,"note":{"x":[1]},"ok":true}`,
		`{"nhs":"9434765919","id":2}`,
		``,
		`{"id":"3","nhs":9.43e9,"ok":null,"note":null}`,
		`{"id":" \"\u00e9\n","nhs":null}`,
		`{"\u0069d":"5"}`,
		`{"id":"6","id":"7"}`,
		`{"id":"6","\u0069d":"7"}`,
		`{"id":"6"`,
		`{"id":"6"} {"id":"7"}`,
		`[1]`,
		`{"id":"` + "\xff" + `"}`,
		`{"id":"` + strings.Repeat("x", 2000) + `"}`,
		`{"id":"\u0000"}`,
		`{"id":"15","nhs":{"value":"9434765919"}}`,
		`{"id":"16","later":null}` + "\r",
		`  {"id":"17","nhs":[]}`,
		`{}`,
	}, "\n")
	text += strings.Repeat("\n{\"id\":\"1\"}", 1000) + "\n" + `{"id":"18","later":"x"}` + "\n" + `{"id":"19","later":null}`
	r, err := source.Open("-", source.Options{Stdin: strings.NewReader(text), MaxRowBytes: 1000})
	if err != nil {
		t.Fatal(err)
	}
	// nhs is an object in line 14, so that it is no column; a second table has it.
	if in := r.Input(); !slices.Equal(r.Header(), []string{"id", "ok", "later"}) || !slices.Equal(in.LeftOut, []string{"nhs", "note"}) || in.Format != source.FormatNDJSON || in.Encoding != source.EncodingUTF8 {
		t.Errorf("header %q, %+v", r.Header(), in)
	}
	text = "{\"id\":\"0\",\"nhs\":1,\"ok\":1,\"note\":[]}\n" + strings.Repeat("{\"id\":\"1\"}\n", 1000) + text
	_, rows, err := readWith("-", source.Options{Stdin: strings.NewReader(text), MaxRowBytes: 1000})
	if err != nil || len(rows) < 1001 {
		t.Fatalf("%v: %d rows", err, len(rows))
	}
	malformed := []string{string(reason.RowMalformed)}
	for i, want := range [][]string{
		{"1", "9434765919", "true"}, {"2", "9434765919", ""}, {"3", "9.43e9", ""}, {"\"é", "", ""}, {"5", "", ""}, malformed, malformed, malformed, malformed, malformed,
		{string(reason.RowEncoding)}, {string(reason.RowTooLong)}, malformed, malformed, {"16", "", ""}, malformed, {"", "", ""},
	} {
		got := rows[1001+i].Values
		if p := rows[1001+i].Problem; p != "" {
			got = []string{string(p)}
		}
		if !slices.Equal(got, want) {
			t.Errorf("row %d is %q, want %q", i, got, want)
		}
	}
	if last := rows[len(rows)-2:]; last[0].Problem != reason.RowMalformed || last[1].Problem != "" {
		t.Errorf("members that are not in the header: %q, %q; want the one with a value refused", last[0].Problem, last[1].Problem)
	}
}

func TestNDJSONThatIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":`:                        "none of its first lines",
		"{}\n{}":                       "none of its first lines",
		`{"a":[1]}`:                    "all its members are objects or lists",
		"[\n {\"a\":1}]":               "jq -c",
		`{"a":1," a":2}`:               "have the same name",
		`{"a":1,"":2}`:                 "has no name",
		strings.Repeat(" ", 40) + "\n": "it is empty",
	} {
		if _, _, err := readAll(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, _, err := readWith("-", source.Options{Encoding: source.EncodingWindows1252, Stdin: strings.NewReader(`{"a":1}`)}); err == nil {
		t.Error("NDJSON in Windows-1252 is accepted")
	}
}

// FuzzNDJSON is FuzzCSV with lines of JSON.
func FuzzNDJSON(f *testing.F) {
	for _, seed := range []string{`{"a":1}`, "{\"a\":\"\\u00e9\\\"\",\"b\":null}\n{\"b\":[1,{}]}\n", "{\"a\":1,\"a\":2}\n{\"a\":1}", "\ufeff{\"a\":1e5}\r\n\r\n{}", "{\"a\":\"\\u0000\"}\n{\"\\u0061\":\"\xff\"}\n", "{\"a\":1}\n{\"c\":2}x\n[]\n", "{\"a\":\"\\ud800\"}\n{\"a\":true}", `{"a":` + strings.Repeat("[", 300)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, lines []byte) {
		checkReading(t, append([]byte("{\"a\":0}\n"), lines...))
	})
}
