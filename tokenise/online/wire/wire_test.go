package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"pgregory.net/rapid"

	"tarn/tokenise/online"
	"tarn/tokenise/online/wire"
	"tarn/tokenise/source"
)

// read decodes a body, and copies what was read: the decoder's memory is used again.
func read(f wire.Format, body []byte, limit int) ([]online.Row, *wire.Error) {
	r, err := wire.NewDecoder().Decode(f, body, limit)
	if err != nil {
		var known *wire.Error
		if !errors.As(err, &known) {
			panic("an error of another kind")
		}
		return nil, known
	}
	return slices.Clone(r.Rows), nil
}

// told is a row in short: its problem, or its reference and the fields that it has.
func told(r *online.Row) string {
	if r.Problem != "" {
		return string(r.Problem)
	}
	text := fmt.Sprintf("%q", r.ID)
	for i, v := range r.Values {
		if v != "" {
			text += fmt.Sprintf(" %s=%q", online.Fields[i], v)
		}
	}
	return text
}

// TestLineOfJSON: each line is the same as a line of NDJSON and as a row of a document, and
// what it holds is what tokeniser run reads of it.
func TestLineOfJSON(t *testing.T) {
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	for _, x := range []struct{ line, want string }{
		{`{"unique_id":"a","sex":"1"}`, `"a" sex="1"`},
		{`{ "unique_id" : "a" , "postcode" : " SW1A 2AA " }`, `"a" postcode="SW1A 2AA"`},
		{`{"unique_id":" a "}`, `" a "`}, // echoed as it came
		{`{"unique_id":7,"nhs_number":9434765919}`, `"7" nhs_number="9434765919"`},
		{`{"unique_id":1e5,"nhs_number":-0.50,"sex":true,"postcode":false,"given_name":null}`, `"1e5" nhs_number="-0.50" sex="true" postcode="false"`},
		{`{"unique\u005fid":"a","\u0073ex":"1"}`, `"a" sex="1"`},
		{`{"unique_id":"a\/\"\\\b\n\u00e9\ud83d\ude00"}`, `"a/\"\\\b\né😀"`},
		{`{}`, `""`},
		{`{"unique_id":"a","sex":["1"]}`, "row_malformed"},
		{`{"unique_id":"a","sex":{"a":1,"a":2}}`, "row_malformed"},
		{`{"unique_id":"a","sex":` + deep + `}`, "row_malformed"},
		{`{"unique_id":"a","sex":"1","sex":"2"}`, "row_malformed"},
		{`{"unique_id":"a","sex":"1","s\u0065x":"1"}`, "row_malformed"},
		{`{"unique_id":"a","sex":null,"sex":null}`, "row_malformed"},
		{`{"unique_id":"a","given_name":"a\u0000b"}`, "row_malformed"},
		{`{"unique_id":"a\u0000b"}`, "row_malformed"},
		{`{"unique_id":"a","given_name":"\ud800"}`, "row_malformed"},
		{`{"unique_id":"a","given_name":"\udc00 a"}`, "row_malformed"},
		{`{"unique_id":"a","given_name":"\ud800A"}`, "row_malformed"},
		{`{"unique_id":"a","given_name":"\ud800\ud800"}`, "row_malformed"},
		{`{"unique_id":"\ud800"}`, "row_malformed"},
		{"{\"unique_id\":\"a\",\"given_name\":\"\xff\"}", "row_encoding"},
		{"{\"unique_id\":\"a\",\"given_name\":\"\xed\xa0\x80\"}", "row_encoding"},
		{"{\"unique_id\":\"a\xc3\"}", "row_encoding"},
		{"{\"unique_id\":\"a\",\"sex\":[\"\xff\"]}", "row_encoding"},
		{"{\"unique_id\":\"a\",\"sex\":\"\xff\",\"sex\":[\"\\ud800\"]}", "row_encoding"},
		{`[]`, "row_malformed"}, {`"a"`, "row_malformed"}, {`null`, "row_malformed"}, {`1`, "row_malformed"}, {"\"\xff\"", "row_encoding"},
		{`{"unique_id":"` + strings.Repeat("x", 1<<20) + `"}`, "row_too_long"},
		{`{"unique_id":"a","sex":["` + strings.Repeat("x", 1<<20) + `"]}`, "row_too_long"},
	} {
		name := x.line
		if len(name) > 80 {
			name = name[:80]
		}
		if x.line != `[]` { // as a first line that is an array, and not lines
			rows, err := read(wire.NDJSON, []byte(x.line+"\n"), 1)
			if err != nil || len(rows) != 1 || told(&rows[0]) != x.want {
				t.Errorf("NDJSON %s: %v %.200v", name, err, told(&rows[0]))
			}
		}
		rows, err := read(wire.JSON, []byte(`{"rows":[`+x.line+`,{"unique_id":"z"}]}`), 2)
		if err != nil || len(rows) != 2 || told(&rows[0]) != x.want || told(&rows[1]) != `"z"` {
			t.Errorf("JSON %s: %v %.200v", name, err, rows)
		}
	}
}

// TestLinesThatAreNoJSON are refused one by one as NDJSON, and all of a document.
func TestLinesThatAreNoJSON(t *testing.T) {
	for _, line := range []string{
		`{`, `{"unique_id":"a"`, `{"unique_id":"a",}`, `{"unique_id"}`, `{unique_id:"a"}`, `{'unique_id':'a'}`, `{"unique_id":01}`, `{"unique_id":+1}`, `{"unique_id":.5}`, `{"unique_id":NaN}`,
		`{"unique_id":Infinity}`, `{"unique_id":"\x"}`, `{"unique_id":"\u12"}`, `{"unique_id":tru}`, `{"unique_id":"a"}}`, `{"unique_id":"a"} {}`, "{\"unique_id\":\"a\tb\"}", "\u00a0{\"unique_id\":\"a\"}",
		"\v{\"unique_id\":\"a\"}", `{"unique_id":"a"}// `, "{\"unique_id\":\"a\"}\x00", strings.Repeat("[", 100_000), `{"unique_id":` + strings.Repeat(`{"a":`, 100_000), `"`, "nul",
	} {
		name := line[:min(len(line), 40)]
		if strings.HasPrefix(line, "[") {
			line = " 1" + line
		}
		rows, err := read(wire.NDJSON, []byte(line+"\n{\"unique_id\":\"z\"}"), 2)
		if err != nil || len(rows) != 2 || rows[0].Problem != "row_malformed" || told(&rows[1]) != `"z"` {
			t.Errorf("NDJSON %q: %v %.200v", name, err, rows)
		}
		if _, err := read(wire.JSON, []byte(`{"rows":[`+line+`]}`), 2); err == nil || err.Kind != wire.Malformed {
			t.Errorf("JSON %q: %v", name, err)
		}
	}
}

// TestDocuments: what a document may be beside its rows.
func TestDocuments(t *testing.T) {
	d := wire.NewDecoder()
	for _, x := range []struct {
		body   string
		asked  online.Asked
		stated bool
	}{
		{`{"rows":[]}`, online.Asked{}, false},
		{` { "rows" : [ ] } `, online.Asked{}, false},
		{"\ufeff{\"rows\":[]}", online.Asked{}, false},
		{`{"return":["token"],"rows":[]}`, online.Asked{Tokens: true}, true},
		{`{"rows":[],"r\u0065turn":["encodings","token"]}`, online.Asked{Tokens: true, Encodings: true}, true},
	} {
		r, err := d.Decode(wire.JSON, []byte(x.body), 1)
		if err != nil || r.Asked != x.asked || r.Stated != x.stated {
			t.Errorf("%s: %v %v", x.body, r, err)
		}
	}
	for _, body := range []string{
		``, ` `, `[]`, `null`, `"rows"`, `{}`, `{"rows":null}`, `{"rows":{}}`, `{"rows":[]`, `{"rows":[]}x`, `{"rows":[]}{"rows":[]}`, `{"rows":[],"rows":[]}`, `{"rows":[],"more":1}`, `{"Rows":[]}`,
		`{"return":[],"rows":[]}`, `{"return":["token"],"return":["token"],"rows":[]}`, `{"return":"token","rows":[]}`, `{"return":["token",1],"rows":[]}`, `{"return":["tokens"],"rows":[]}`, `{"return":[`,
		`{"return":null,"rows":[]}`, `{"rows":[1,]}`, `{"rows":[1 2]}`, `{"rows":[`, `{"\ud800":[]}`, strings.Repeat(`[`, 1<<20), strings.Repeat(`{"rows":`, 1<<17), `{"rows":` + strings.Repeat("[", 1<<20),
	} {
		if _, err := read(wire.JSON, []byte(body), 10); err == nil || err.Kind != wire.Malformed {
			t.Errorf("%.60q: %v", body, err)
		}
	}
	for f, body := range map[wire.Format]string{
		wire.JSON: `{"rows":[{"unique_id":"a"},{"nhsnumber":"943 476 5919"}]}`, wire.NDJSON: "{\"unique_id\":\"a\"}\n\n{\"nhsnumber\":\"943 476 5919\"}", wire.CSV: "unique_id,nhsnumber\na,943 476 5919\n",
	} {
		_, err := read(f, []byte(body), 10)
		if err == nil || err.Kind != wire.UnknownColumn || strings.Contains(fmt.Sprint(*err), "nhsnumber") || strings.Contains(fmt.Sprint(*err), "943") {
			t.Errorf("%s: an unknown column: %v", f.MediaType(), err)
		}
		if want := map[wire.Format]string{wire.JSON: "/rows/1", wire.NDJSON: "/1"}[f]; err != nil && err.Pointer != want {
			t.Errorf("%s: at %q", f.MediaType(), err.Pointer)
		}
	}
}

// TestRowsAreBounded in each form: as many as may be are read, and one more is refused.
func TestRowsAreBounded(t *testing.T) {
	ids := []string{"a", "b", "c"}
	for f, body := range map[wire.Format][]byte{
		wire.JSON:   []byte(`{"rows":[{"unique_id":"a"},{"unique_id":"b"},{"unique_id":"c"}]}`),
		wire.NDJSON: []byte("{\"unique_id\":\"a\"}\n\n{\"unique_id\":\"b\"}\n{\"unique_id\":\"c\"}\n\n"),
		wire.CSV:    []byte("unique_id\na\n\nb\nc\n"),
		wire.Arrow:  stream(t, 2, map[string][]string{"unique_id": ids}),
	} {
		rows, err := read(f, body, 3)
		if err != nil || len(rows) != 3 || rows[0].ID != "a" || rows[2].ID != "c" {
			t.Errorf("%s: %v %v", f.MediaType(), err, rows)
		}
		if _, err := read(f, body, 2); err == nil || err.Kind != wire.TooManyRows {
			t.Errorf("%s: one too many: %v", f.MediaType(), err)
		}
	}
}

// TestManySmallValuesAreNothing: a document of as many values as fit into it takes no more
// memory than its rows, whatever they are.
func TestManySmallValuesAreNothing(t *testing.T) {
	many := bytes.Repeat([]byte("0,"), 2<<20)
	for name, body := range map[string][]byte{
		"rows":         slices.Concat([]byte(`{"rows":[`), many, []byte(`0]}`)),
		"one row":      slices.Concat([]byte(`{"rows":[[`), many, []byte(`0]]}`)),
		"one value":    slices.Concat([]byte(`{"rows":[{"unique_id":"a","sex":[`), many, []byte(`0]}]}`)),
		"return":       slices.Concat([]byte(`{"return":[`), many, []byte(`0],"rows":[]}`)),
		"many members": slices.Concat([]byte(`{"rows":[{`), bytes.Repeat([]byte(`"sex":0,`), 1<<19), []byte(`"sex":0}]}`)),
	} {
		d := wire.NewDecoder()
		_, _ = d.Decode(wire.JSON, []byte(`{"rows":[]}`), 1)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = d.Decode(wire.JSON, body, 1000)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(len(body)) {
			t.Errorf("%s: %d bytes for a body of %d", name, took, len(body))
		}
	}
}

// stream makes an Arrow stream of records of so many rows. A text of "\x00" is null.
func stream(t interface{ Fatal(...any) }, each int, columns map[string][]string) []byte {
	names := slices.Collect(func(yield func(string) bool) {
		for _, name := range online.Fields {
			if _, ok := columns[name]; ok && !yield(name) {
				return
			}
		}
	})
	fields := make([]arrow.Field, len(names))
	for i, name := range names {
		fields[i] = arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true}
	}
	schema := arrow.NewSchema(fields, nil)
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	rows := len(columns[names[0]])
	for from := 0; from < rows; from += each {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for i, name := range names {
			for _, text := range columns[name][from:min(from+each, rows)] {
				if text == "\x00" {
					b.Field(i).AppendNull()
				} else {
					b.Field(i).(*array.StringBuilder).Append(text)
				}
			}
		}
		if err := w.Write(b.NewRecordBatch()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// table makes an Arrow stream of one record of columns that are made already.
func table(t *testing.T, fields []arrow.Field, columns ...arrow.Array) []byte {
	t.Helper()
	schema := arrow.NewSchema(fields, nil)
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if err := w.Write(array.NewRecordBatch(schema, columns, int64(columns[0].Len()))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestArrowTypes: numbers, dates and views are the texts that a table would have.
func TestArrowTypes(t *testing.T) {
	ids := array.NewStringViewBuilder(memory.DefaultAllocator)
	ids.AppendValues([]string{"a", "a reference that is longer than twelve bytes", "c"}, nil)
	numbers := array.NewInt64Builder(memory.DefaultAllocator)
	numbers.AppendValues([]int64{9434765919, 0, 1}, []bool{true, false, true})
	dates := array.NewDate32Builder(memory.DefaultAllocator)
	dates.AppendValues([]arrow.Date32{1390, 0, 0}, []bool{true, false, true})
	sexes := array.NewFloat64Builder(memory.DefaultAllocator)
	sexes.AppendValues([]float64{2, math.NaN(), 1e17}, nil)
	names := array.NewLargeStringBuilder(memory.DefaultAllocator)
	names.AppendValues([]string{" Zoë ", "\xff", "a\x00b"}, nil)
	body := table(t, []arrow.Field{
		{Name: "unique_id", Type: arrow.BinaryTypes.StringView}, {Name: "nhs_number", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "date_of_birth", Type: arrow.FixedWidthTypes.Date32, Nullable: true}, {Name: "sex", Type: arrow.PrimitiveTypes.Float64}, {Name: "given_name", Type: arrow.BinaryTypes.LargeString},
	}, ids.NewArray(), numbers.NewArray(), dates.NewArray(), sexes.NewArray(), names.NewArray())
	rows, err := read(wire.Arrow, body, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`"a" nhs_number="9434765919" given_name="Zoë" date_of_birth="1973-10-22" sex="2"`, "row_encoding", "row_malformed"} {
		if told(&rows[i]) != want {
			t.Errorf("row %d: %s", i, told(&rows[i]))
		}
	}
	for name, cut := range map[string][]byte{"in a record": body[:len(body)-200], "in the schema": body[:60], "nothing": nil, "of another form": []byte(`{"rows":[]}`)} {
		if _, err := read(wire.Arrow, cut, 3); err == nil || err.Kind != wire.Malformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	if rows, err := read(wire.Arrow, body[:len(body)-8], 3); err != nil || len(rows) != 3 {
		t.Errorf("an end that is not said: %v", err)
	}
}

// TestArrowTextIsBounded: a stream stands for no more text than it has bytes for: views
// share theirs, and a decimal has as many digits as its scale says.
func TestArrowTextIsBounded(t *testing.T) {
	const rows = 1000
	long := strings.Repeat("x", 1<<19)
	header := arrow.ViewHeaderTraits.CastFromBytes(make([]byte, rows*arrow.ViewHeaderTraits.BytesRequired(1)))
	for i := range header {
		header[i].SetIndexOffset(0, 0)
		header[i].SetString(long)
	}
	data := array.NewData(arrow.BinaryTypes.StringView, rows, []*memory.Buffer{nil, memory.NewBufferBytes(arrow.ViewHeaderTraits.CastToBytes(header)), memory.NewBufferBytes([]byte(long))}, nil, 0, 0)
	views := table(t, []arrow.Field{{Name: "unique_id", Type: arrow.BinaryTypes.StringView}}, array.NewStringViewData(data))
	if _, err := read(wire.Arrow, views, rows); err == nil || err.Kind != wire.Malformed {
		t.Errorf("%d bytes of a stream stand for %d of text: %v", len(views), rows*len(long), err)
	}
	if got, err := read(wire.Arrow, views, rows-1); err == nil || err.Kind != wire.TooManyRows {
		t.Errorf("%d rows, %v", len(got), err)
	}
	for scale, refused := range map[int32]bool{2: false, 9: false, 100_000_000: true, -5: true} {
		b := array.NewDecimal32Builder(memory.DefaultAllocator, &arrow.Decimal32Type{Precision: 9, Scale: scale})
		b.Append(decimal.Decimal32(7))
		_, err := read(wire.Arrow, table(t, []arrow.Field{{Name: "unique_id", Type: b.Type()}}, b.NewArray()), 1)
		if (err != nil) != refused {
			t.Errorf("a scale of %d: %v", scale, err)
		}
	}
	// Control: as much text as the stream has bytes is read.
	if got, err := read(wire.Arrow, stream(t, 3, map[string][]string{"unique_id": {"a", long, "c"}}), 3); err != nil || got[1].ID != long {
		t.Errorf("control: %v", err)
	}
}

// fields draws rows of texts that have the same meaning in every form.
func fields(t *rapid.T) map[string][]string {
	n := rapid.IntRange(1, 12).Draw(t, "rows")
	text := rapid.OneOf(rapid.SampledFrom([]string{"", "a", " padded ", "a,b", `say "no"`, "two\nlines", "Zoë", "😀", "O'Brien", "\ufeffmark", "\u00a0", "=cmd", "9434765919"}), rapid.StringMatching(`[a-zA-Z ,"';\n\\é]{0,12}`))
	columns := map[string][]string{}
	for i, name := range online.Fields {
		if i == 0 || rapid.Bool().Draw(t, name) {
			for range n {
				columns[name] = append(columns[name], text.Draw(t, "text"))
			}
		}
	}
	return columns
}

// TestFormsAgree: the same rows are the same rows in whatever form they come.
func TestFormsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := fields(t)
		n := len(columns["unique_id"])
		bodies := map[wire.Format][]byte{wire.Arrow: stream(t, rapid.IntRange(1, 5).Draw(t, "each"), columns)}
		bodies[wire.JSON], bodies[wire.NDJSON], bodies[wire.CSV] = written(columns, n)
		var want []online.Row
		for _, f := range wire.Formats {
			rows, err := read(f, bodies[f], n)
			if err != nil {
				t.Fatalf("%s: %v", f.MediaType(), err)
			}
			if f == wire.JSON {
				want = rows
			}
			if !slices.Equal(rows, want) {
				t.Fatalf("%s: %q\nis not %q\n%s", f.MediaType(), rows, want, bodies[f])
			}
		}
		for i := range want {
			if want[i].Problem != "" || want[i].ID != columns["unique_id"][i] {
				t.Fatalf("row %d is %s", i, told(&want[i]))
			}
		}
	})
}

// written writes rows as JSON, NDJSON and CSV, by hand.
func written(columns map[string][]string, n int) (document, lines, delimited []byte) {
	names := slices.DeleteFunc(slices.Clone(online.Fields[:]), func(name string) bool { return columns[name] == nil })
	document = append(document, `{"rows":[`...)
	delimited = append(delimited, strings.Join(names, ",")+"\n"...)
	for i := range n {
		var members, cells []string
		for _, name := range names {
			members = append(members, fmt.Sprintf("%q:%s", name, quoted(columns[name][i])))
			cells = append(cells, `"`+strings.ReplaceAll(columns[name][i], `"`, `""`)+`"`)
		}
		object := "{" + strings.Join(members, ",") + "}"
		if i > 0 {
			document = append(document, ',')
		}
		document = append(document, object...)
		lines = append(lines, object+"\r\n"...)
		delimited = append(delimited, strings.Join(cells, ",")+"\r\n"...)
	}
	return append(document, "]}"...), lines, delimited
}

func quoted(text string) string {
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "é", `\u00e9`).Replace(text) + `"`
}

// TestDecoderIsUsedAgain: nothing of a request is in the following one.
func TestDecoderIsUsedAgain(t *testing.T) {
	d := wire.NewDecoder()
	bodies := map[wire.Format][2]string{
		wire.JSON:   {`{"return":["token"],"rows":[{"unique_id":"a","sex":"\u0031","postcode":"SW1A 2AA"},{"unique_id":"b"}]}`, `{"rows":[{"unique_id":"c"}]}`},
		wire.NDJSON: {"{\"unique_id\":\"a\",\"sex\":\"1\"}\n{", "{\"unique_id\":\"c\"}"},
		wire.CSV:    {"unique_id,sex\na,1\nb\n", "unique_id\nc"},
	}
	for range 3 {
		for f, two := range bodies {
			for _, body := range two {
				_, err := d.Decode(f, []byte(body), 10)
				if err != nil {
					t.Fatal(err)
				}
				d.Forget()
			}
			r, err := d.Decode(f, []byte(two[1]), 10)
			if err != nil || len(r.Rows) != 1 || told(&r.Rows[0]) != `"c"` || r.Stated {
				t.Fatalf("%s: %v %v", f.MediaType(), r, err)
			}
		}
	}
}

// batch reads a table with the reader of tokeniser run; ok is false where it is another
// table than the service takes: one that is ended at its header, or packed.
func batch(t testing.TB, folder, name string, body []byte, o source.Options) (r source.Reader, rows []source.Row, ok bool) {
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := source.Open(path, o)
	if err != nil {
		return nil, nil, false
	}
	defer func() { _ = r.Close() }()
	for {
		var b source.Batch
		if err := r.Read(&b); errors.Is(err, io.EOF) {
			return r, rows, true
		} else if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, b.Rows...)
	}
}

// sameRows compares rows with those of tokeniser run.
func sameRows(t testing.TB, got []online.Row, want []source.Row, header []string) {
	if len(got) != len(want) {
		t.Fatalf("%d rows, and %d in a batch", len(got), len(want))
	}
	for i := range got {
		if got[i].Problem != want[i].Problem {
			t.Fatalf("row %d is %q, and %q in a batch", i, got[i].Problem, want[i].Problem)
		}
		if got[i].Problem != "" {
			continue
		}
		for c, name := range header {
			at, _ := online.FieldOf(name)
			text := got[i].Values[at]
			if at == online.UniqueID {
				text = strings.TrimSpace(got[i].ID)
			}
			if text != want[i].Values[c] {
				t.Fatalf("row %d: %s is %q, and %q in a batch", i, name, text, want[i].Values[c])
			}
		}
	}
}

func known(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { _, ok := online.FieldOf(name); return !ok })
}

// seeds are what decoders are tried with first.
var seeds = []string{
	"", "{}", "{\"unique_id\":\"a\",\"sex\":\"1\"}\n{\"unique_id\":\"b\",\"nhs_number\":9434765919}\n", "{\"unique_id\":\"\\ud800\"}\n", "{\"unique_id\":\"a\",\"sex\":[1]}\n", "\ufeff{\"unique_id\":\"a\"}",
	"{\"unique_id\":\"a\xff\"}\n\n \n{\"unique_id\":\"\\u0000\"}", "{\"unique_id\":\"a\",\"unique_id\":\"b\"}", "{\"nhsnumber\":1}", "[{\"unique_id\":\"a\"}]",
	"unique_id,sex\na,1\nb,2\n", "unique_id\na\n\n\"b\"\n\"c\nd\"\n", "unique_id,sex\r\na\r\n\"\r\na,\"b\"\"c\"\r\n", "\ufeffunique_id , postcode\n1,SW1A 2AA\n", "sex\n1\n", "unique_id,unique_id\n1,1\n", "unique_id,sex\na\x00,\xff\nb,\xff\n",
	`{"rows":[{"unique_id":"a","sex":null,"given_name":"\u00e9"},1,[{}],{"unique_id":"b","sex":{"a":[]}}],"return":["token","encodings"]}`, `{"return":["token"],"rows":[{"unique_id":true}]}`,
}

// FuzzNDJSON: lines are the rows that tokeniser run reads of the same bytes.
func FuzzNDJSON(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, body []byte) {
		bounded(t, wire.NDJSON, body)
		got, refused := read(wire.NDJSON, body, 1<<20)
		if len(body) > 1<<19 || bytes.Count(body, []byte("\n")) > 900 {
			return // beyond those lines that a batch takes its columns of
		}
		r, want, ok := batch(t, folder, "rows.ndjson", body, source.Options{Encoding: source.EncodingUTF8})
		if !ok || r.Input().Format != source.FormatNDJSON || r.Input().Compression != "" {
			return
		}
		columns := slices.Concat(r.Header(), r.Input().LeftOut)
		if refused != nil {
			plain := !bytes.ContainsFunc(body, func(r rune) bool { return r <= ' ' && r != '\n' || r > '~' || r == '\\' })
			if refused.Kind != wire.UnknownColumn && refused.Kind != wire.Malformed || plain && known(columns) {
				t.Fatalf("a table of a batch is refused: %v", refused)
			}
			return
		}
		if !known(columns) {
			t.Fatal("a column that is no field")
		}
		if len(r.Input().LeftOut) > 0 {
			return // a batch leaves the column out, and ends
		}
		sameRows(t, got, want, r.Header())
	})
}

// FuzzCSV: records are the rows that tokeniser run reads of the same bytes.
func FuzzCSV(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, body []byte) {
		bounded(t, wire.CSV, body)
		got, refused := read(wire.CSV, body, 1<<20)
		r, want, ok := batch(t, folder, "rows.csv", body, source.Options{Encoding: source.EncodingUTF8, Delimiter: ','})
		switch {
		case !ok:
			if refused == nil {
				t.Fatal("what is no table for a batch is one")
			}
			return
		case r.Input().Format != source.FormatCSV || r.Input().Compression != "":
			return
		}
		if fits := known(r.Header()) && slices.Contains(r.Header(), "unique_id"); fits != (refused == nil) {
			t.Fatalf("refused: %v; of a batch %q", refused, r.Header())
		}
		if refused == nil {
			sameRows(t, got, want, r.Header())
		}
	})
}

// FuzzJSON: a document is rows, and no more of them than may be.
func FuzzJSON(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
		f.Add([]byte(`{"rows":[` + seed + `]}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		bounded(t, wire.JSON, body)
		rows, err := read(wire.JSON, body, 1<<20)
		if err != nil || len(body) > 1<<16 || bytes.Contains(body, []byte("\ufeff")) {
			return
		}
		// A row by itself is the line of NDJSON that it was.
		for i := range rows {
			if rows[i].Problem == "" {
				line, _, _ := written(single(&rows[i]), 1)
				again, err := read(wire.JSON, line, 1)
				if err != nil || again[0] != rows[i] {
					t.Fatalf("row %d is %s, and read again %v", i, told(&rows[i]), err)
				}
			}
		}
	})
}

// single is a row as columns.
func single(r *online.Row) map[string][]string {
	columns := map[string][]string{"unique_id": {r.ID}}
	for i, v := range r.Values {
		if v != "" {
			columns[online.Fields[i]] = []string{v}
		}
	}
	return columns
}

// FuzzArrow: whatever comes as a stream is rows or refused.
func FuzzArrow(f *testing.F) {
	f.Add(stream(f, 2, map[string][]string{"unique_id": {"a", "b", "c"}, "sex": {"1", "\x00", ""}, "given_name": {"Zoë", "O'Brien", "x"}}))
	f.Add(stream(f, 9, map[string][]string{"sex": {"1"}}))
	numbers := array.NewInt64Builder(memory.DefaultAllocator)
	numbers.AppendValues([]int64{1, 2}, nil)
	ids := array.NewStringViewBuilder(memory.DefaultAllocator)
	ids.AppendValues([]string{"a", "longer than twelve bytes"}, nil)
	schema := arrow.NewSchema([]arrow.Field{{Name: "unique_id", Type: arrow.BinaryTypes.StringView}, {Name: "nhs_number", Type: arrow.PrimitiveTypes.Int64}}, nil)
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if err := errors.Join(w.Write(array.NewRecordBatch(schema, []arrow.Array{ids.NewArray(), numbers.NewArray()}, 2)), w.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, body []byte) { bounded(t, wire.Arrow, body) })
}

// bounded holds a decoder to what it promises of any bytes: it ends, with no more rows than
// may be, whose texts are texts and are no more than the body stands for.
func bounded(t *testing.T, f wire.Format, body []byte) {
	const limit = 8
	before := bytes.Clone(body)
	rows, err := read(f, body, limit)
	if !bytes.Equal(before, body) {
		t.Fatal("the body was changed")
	}
	if err != nil {
		if len(rows) > 0 || err.Detail == "" || err.Next == "" {
			t.Fatalf("%+v", err)
		}
		return
	}
	if len(rows) > limit {
		t.Fatalf("%d rows", len(rows))
	}
	for i := range rows {
		for _, text := range append(rows[i].Values[:], rows[i].ID) {
			if strings.ToValidUTF8(text, "") != text || strings.ContainsRune(text, 0) {
				t.Fatalf("row %d has a text that is none", i)
			}
		}
	}
}
