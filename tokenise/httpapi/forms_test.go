package httpapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/nhsnumber"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/cohorttest"
	"tarn/tokenise"
	"tarn/tokenise/encode"
	"tarn/tokenise/online"
	"tarn/tokenise/online/wire"
	"tarn/tokenise/source"
)

// number returns the n-th number of the test range.
func number(n int) string {
	for i := 990_000_000 + 7*n; ; i++ {
		first := [9]byte([]byte(strconv.Itoa(i)))
		if digit, ok := nhsnumber.CheckDigit(first); ok {
			return string(first[:]) + string(digit)
		}
	}
}

// people are rows of everything that there is: whole ones, such that lack something, such
// that are refused, and some that are nearly alike.
func people() (rows []map[string]string) {
	given := []string{"Anne", "Zoë Mary", "unknown", "", "Олена", "O'Connor", "Anne", `"Bob", the`, "  padded  "}
	family := []string{"Smith", "O’Brien", "", "van der Berg", "Smith-Jones", "Smith"}
	born := []string{"1973-10-22", "22/10/1973", "1980-01-01", "1900-01-01", "", "rubbish", "2031-01-01"}
	for i := range 300 {
		row := map[string]string{
			"unique_id": fmt.Sprintf("row,%d", i), "given_name": given[i%len(given)], "family_name": family[i%len(family)], "date_of_birth": born[i%len(born)],
			"sex": []string{"1", "F", "9", ""}[i%4], "postcode": []string{"SW1A 2AA", "zz99 3vz", "x", ""}[i/2%4], "nhs_number": []string{number(i), "943 476 5919", "", "1", "9434765918"}[i%5],
			"other_given_names": []string{"", "Lee"}[i%2], "previous_family_name": []string{"", "Young"}[i/3%2], "gp_practice_code": []string{"", "Y00001", "?"}[i%3],
		}
		if i%50 == 7 {
			row = map[string]string{"unique_id": fmt.Sprintf("row,%d", i), "sex": "1"} // nothing linkable
		}
		rows = append(rows, row)
	}
	return rows
}

// cells is a row of an answer, whatever its form.
type cells struct {
	id, status, codes string
	token             string // hex; empty is none
	values            string // columns in order, empty where there is none
}

// bodies writes rows in all forms.
func bodies(t testing.TB, rows []map[string]string) map[wire.Format][]byte {
	t.Helper()
	var lines, objects [][]byte
	var table bytes.Buffer
	w := csv.NewWriter(&table)
	must(t, w.Write(online.Fields[:]))
	fields := make([]arrow.Field, len(online.Fields))
	for i, name := range online.Fields {
		fields[i] = arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true}
	}
	schema := arrow.NewSchema(fields, nil)
	record := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for _, row := range rows {
		b, err := json.Marshal(row)
		must(t, err)
		lines, objects = append(lines, b), append(objects, b)
		cells := make([]string, len(online.Fields))
		for i, name := range online.Fields {
			cells[i] = row[name]
			if text, ok := row[name]; ok {
				record.Field(i).(*array.StringBuilder).Append(text)
			} else {
				record.Field(i).AppendNull()
			}
		}
		must(t, w.Write(cells))
	}
	w.Flush()
	var out bytes.Buffer
	stream := ipc.NewWriter(&out, ipc.WithSchema(schema))
	must(t, stream.Write(record.NewRecordBatch()))
	must(t, stream.Close())
	return map[wire.Format][]byte{
		wire.JSON: slices.Concat([]byte(`{"rows":[`), bytes.Join(objects, []byte(",")), []byte("]}")), wire.NDJSON: bytes.Join(lines, []byte("\n")), wire.CSV: table.Bytes(), wire.Arrow: out.Bytes(),
	}
}

func codesOf(problems ...[]problemGiven) string {
	var all []string
	for _, p := range slices.Concat(problems...) {
		text := p.Code
		if p.Field != nil {
			text = *p.Field + ":" + p.Code
		}
		all = append(all, text)
	}
	return strings.Join(all, ";")
}

func tokenHex(t testing.TB, text string) string {
	t.Helper()
	if text == "" {
		return ""
	}
	token, err := keys.ParseToken(text)
	must(t, err)
	return fmt.Sprintf("%x", token.Value)
}

// rowCells reads a row of JSON. Of columns it takes those of the layout, each once, and finds
// no others.
func rowCells(t testing.TB, l cohort.Layout, r *rowGiven) cells {
	t.Helper()
	c := cells{id: r.ID, status: r.Status, codes: codesOf(r.Errors, r.Warnings)}
	if r.Token != nil {
		c.token = tokenHex(t, *r.Token)
	}
	if r.Status == "refused" {
		if r.Encodings != nil || r.Tags != nil || r.Token != nil || len(r.Errors) != 1 {
			t.Fatalf("a refused row is %+v", r)
		}
		return c
	}
	for _, f := range l.Filters {
		value, ok := r.Encodings[f.Name]
		if !ok {
			t.Fatalf("there is no %s", f.Name)
		}
		c.values += "," + binary(t, value)
	}
	for _, name := range slices.Concat(l.Blocks, l.Tags) {
		value, ok := r.Tags[name]
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		if c.values += ","; value != nil {
			c.values += *value
		}
	}
	if len(r.Encodings) != len(l.Filters) || len(r.Tags) != len(l.Blocks)+len(l.Tags) || len(r.Errors) > 0 {
		t.Fatalf("a row has %v", r)
	}
	return c
}

func binary(t testing.TB, text *string) string {
	t.Helper()
	if text == nil || *text == "" {
		return ""
	}
	b, err := base64.StdEncoding.DecodeString(*text)
	must(t, err)
	return fmt.Sprintf("%x", b)
}

// read reads an answer in its form.
func read(t testing.TB, f wire.Format, l cohort.Layout, body []byte) (all []cells) {
	t.Helper()
	columns := []string{"unique_id", "status", "nhs_token"}
	for _, filter := range l.Filters {
		columns = append(columns, filter.Name)
	}
	columns = append(slices.Concat(columns, l.Blocks, l.Tags), "codes")
	switch f {
	case wire.JSON:
		var d document
		must(t, json.Unmarshal(body, &d))
		for i := range d.Rows {
			all = append(all, rowCells(t, l, &d.Rows[i]))
		}
	case wire.NDJSON:
		for line := range bytes.Lines(body) {
			var r rowGiven
			must(t, json.Unmarshal(line, &r))
			all = append(all, rowCells(t, l, &r))
		}
	case wire.CSV:
		records, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
		must(t, err)
		if !slices.Equal(records[0], columns) {
			t.Fatalf("columns %q", records[0])
		}
		for _, r := range records[1:] {
			c := cells{id: r[0], status: r[1], token: tokenHex(t, r[2]), codes: r[len(r)-1]}
			for i, text := range r[3 : len(r)-1] {
				if c.status == "refused" {
					continue
				}
				if i < len(l.Filters) {
					text = binary(t, &text)
				}
				c.values += "," + text
			}
			all = append(all, c)
		}
	case wire.Arrow:
		reader, err := ipc.NewReader(bytes.NewReader(body))
		must(t, err)
		defer reader.Release()
		for i, field := range reader.Schema().Fields() {
			if field.Name != columns[i] {
				t.Fatalf("column %d is %s", i, field.Name)
			}
		}
		for reader.Next() {
			record := reader.RecordBatch()
			for i := range int(record.NumRows()) {
				c := cells{}
				for k := range columns {
					text := ""
					switch a := record.Column(k).(type) {
					case *array.String:
						text = a.Value(i)
					case *array.FixedSizeBinary:
						if a.IsValid(i) {
							text = fmt.Sprintf("%x", a.Value(i))
						}
					case *array.Int64:
						if a.IsValid(i) {
							text = strconv.FormatInt(a.Value(i), 10)
						}
					default:
						t.Fatalf("column %s is %s", columns[k], a.DataType())
					}
					switch columns[k] {
					case "unique_id":
						c.id = text
					case "status":
						c.status = text
					case "nhs_token":
						c.token = text
					case "codes":
						c.codes = text
					default:
						if c.status != "refused" {
							c.values += "," + text
						} else if text != "" {
							t.Fatalf("a refused row has %s", columns[k])
						}
					}
				}
				all = append(all, c)
			}
		}
		must(t, reader.Err())
	}
	return all
}

// ran is the cohort that tokeniser run makes of a table, by the source's own id, and why
// rows are not in it.
func ran(t *testing.T, s *site, table []byte) (rows map[string]cells, codes map[string]string, layout cohort.Layout) {
	t.Helper()
	must(t, os.WriteFile(s.path("north.csv"), table, 0o600))
	reader, err := source.Open(s.path("north.csv"), source.Options{})
	must(t, err)
	project, err := keys.ReadProject(s.path("project.json"))
	must(t, err)
	profile, err := encode.LoadProfile(project.Profile, "")
	must(t, err)
	fields := map[string]int{}
	for i, name := range reader.Header() {
		fields[name] = i
	}
	material := keysOf(1)
	_, err = tokenise.Run(t.Context(), tokenise.Options{
		Project: project, Keys: material, Profile: profile, SourceDataset: "north", Rows: reader, Columns: tokenise.Columns{Fields: fields}, Out: s.path("north.parquet"),
		Quarantine: s.path("refused.csv"), Warnings: s.path("warnings.csv"), Crosswalk: s.path("north.crosswalk.parquet"), MaxRefused: 1, Threads: 2, Software: "test", Clock: s.options.Wall, Wall: s.options.Wall,
	})
	must(t, err)
	layout = profile.Layout()
	found, _, err := cohorttest.Rows(t.Context(), s.path("north.parquet"))
	must(t, err)
	rows, codes = map[string]cells{}, map[string]string{}
	for i := range found {
		r := &found[i]
		c := cells{status: "ok"}
		if r.HasToken {
			c.token = fmt.Sprintf("%x", r.Token)
		}
		for _, filter := range r.Filters {
			c.values += fmt.Sprintf(",%x", filter)
		}
		for _, tag := range slices.Concat(r.Blocks, r.Tags) {
			if c.values += ","; tag.Present {
				c.values += strconv.FormatInt(tag.Value, 10)
			}
		}
		rows[fmt.Sprintf("%x", r.UniqueID)] = c
	}
	for _, name := range []string{"refused.csv", "warnings.csv"} {
		b, err := os.ReadFile(s.path(name))
		must(t, err)
		records, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
		must(t, err)
		for _, r := range records[1:] {
			text := r[3]
			if r[2] != "" {
				text = r[2] + ":" + text
			}
			if codes[r[1]] != "" {
				text = codes[r[1]] + ";" + text
			}
			codes[r[1]] = text
		}
	}
	return rows, codes, layout
}

// TestFormsAreWhatRunWrites: in all four forms, in and out, each row has cell by cell what
// tokeniser run writes of it, in the order in which it came, with the reasons that run gives.
func TestFormsAreWhatRunWrites(t *testing.T) {
	s := newSite(t)
	rows := people()
	sent := bodies(t, rows)
	want, why, layout := ran(t, s, sent[wire.CSV])
	minter := tokenise.NewMinter(keysOf(1).RowKeys["north"], "north")
	expected, tokens, filters, refused := []cells{}, 0, 0, 0
	for _, row := range rows {
		minted := fmt.Sprintf("%x", minter.Mint(row["unique_id"]))
		c, there := want[minted]
		if !there {
			c.status = "refused"
			refused++
		}
		if c.token != "" {
			tokens++
		}
		filters += strings.Count(c.values, ",") - strings.Count(c.values, ",,")
		c.id, c.codes = row["unique_id"], why[minted]
		expected = append(expected, c)
	}
	if tokens < 100 || refused < 6 || filters < 500 {
		t.Fatalf("too little is compared: %d tokens, %d filters, %d refused rows", tokens, filters, refused)
	}
	for _, in := range wire.Formats {
		for _, out := range wire.Formats {
			a := s.call(call{media: in.MediaType(), accept: out.MediaType(), body: sent[in]})
			if a.status != 200 || a.header.Get("Content-Type") != out.MediaType() {
				t.Fatalf("%s: %d %.200s", in.MediaType(), a.status, a.body)
			}
			got := read(t, out, layout, a.body)
			for i := range expected {
				if i >= len(got) || got[i] != expected[i] {
					t.Fatalf("%s to %s, row %d of %d: %+v\nand run writes %+v", in.MediaType(), out.MediaType(), i, len(got), got[i], expected[i])
				}
			}
			if len(got) != len(expected) {
				t.Fatalf("%d rows", len(got))
			}
			if a.header.Get("Tarn-Rows-Ok") != strconv.Itoa(len(expected)-refused) || a.header.Get("Tarn-Rows-Refused") != strconv.Itoa(refused) {
				t.Errorf("headers %v", a.header)
			}
		}
	}
}

// TestContextOfAnswers: what all rows have in common is in the document, in headers, and in
// the stream's metadata, and is what GET says.
func TestContextOfAnswers(t *testing.T) {
	s := newSite(t, func(s *site) { s.rows = 100 })
	a := s.call(call{body: rowsOf("a", 3)})
	d := s.document(a)
	if d.Counts != (counts{3, 3, 0, 0}) || d.Project != "study" || d.Domain != "lake" || d.Scheme != "keyed-hash" || d.Epoch != 1 || d.EncodingEpoch != 1 || d.Profile != "nhs-field-dob-1" {
		t.Errorf("%+v", d)
	}
	if kcv := keys.TokenKCV(keysOf(1).TokenDeriver(1)); d.TokenKCV != kcv {
		t.Errorf("token_kcv %s, and %s", d.TokenKCV, kcv)
	}
	for i, r := range d.Rows {
		if *r.Token == "" || r.Encodings != nil || r.ID != fmt.Sprintf("a-%d", i) || len(r.Warnings) > 0 {
			t.Errorf("%+v", r)
		}
	}
	for name, want := range map[string]string{
		"Tarn-Token-Epoch": "1", "Tarn-Encoding-Epoch": "1", "Tarn-Profile-Digest": d.ProfileDigest, "Tarn-Key-Check": d.TokenKCV, "Tarn-Encoding-Key-Check": d.EncodingKCV, "Tarn-Domain": "lake",
		"Tarn-Scheme": "keyed-hash", "Tarn-Rows-Ok": "3", "Tarn-Rows-Refused": "0", "Tarn-Budget-Remaining": "97", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if a.header.Get(name) != want {
			t.Errorf("%s: %q, and not %q", name, a.header.Get(name), want)
		}
	}
	stream := s.call(call{media: "application/x-ndjson", accept: "application/vnd.apache.arrow.stream", body: []byte(`{"unique_id":"x","nhs_number":"` + number(1) + `"}`)})
	reader, err := ipc.NewReader(bytes.NewReader(stream.body))
	must(t, err)
	m := reader.Schema().Metadata()
	for name, want := range map[string]string{
		"tarn.project": "study", "tarn.token_domain": "lake", "tarn.token_scheme": "keyed-hash", "tarn.token_epoch": "1", "tarn.token_kcv": d.TokenKCV, "tarn.profile": d.Profile,
		"tarn.profile_digest": d.ProfileDigest, "tarn.encoding_epoch": "1", "tarn.encoding_kcv": d.EncodingKCV,
	} {
		if got, _ := m.GetValue(name); got != want {
			t.Errorf("%s: %q, and not %q", name, got, want)
		}
	}
	about := s.call(call{method: "GET", path: "/v1/projects/study", id: "-"})
	var p struct {
		Project, Domain, Scheme, Profile, Expires string
		Epoch                                     int
		TokenKCV                                  string `json:"token_kcv"`
		EncodingKCV                               string `json:"encoding_kcv"`
		ProfileDigest                             string `json:"profile_digest"`
		Budget                                    struct{ Rows, Remaining, PeriodS int64 }
		Limits                                    struct {
			MaxRows int `json:"max_rows"`
			MaxBody int `json:"max_body"`
		}
	}
	if err := json.Unmarshal(about.body, &p); err != nil || about.status != 200 || p.Project != "study" || p.TokenKCV != d.TokenKCV || p.EncodingKCV != d.EncodingKCV || p.ProfileDigest != d.ProfileDigest ||
		p.Epoch != 1 || p.Budget.Rows != 100 || p.Budget.Remaining != 96 || p.Limits.MaxRows != 1000 || p.Limits.MaxBody != 1<<20 || p.Expires != "2099-12-31" {
		t.Errorf("%d %s: %v", about.status, about.body, err)
	}
}

// TestWhatIsAskedFor: by the address or in the document, and not two things.
func TestWhatIsAskedFor(t *testing.T) {
	s := newSite(t)
	whole := `"rows":[{"unique_id":"a","nhs_number":"` + number(1) + `","given_name":"Anne","family_name":"Smith","date_of_birth":"1973-10-22"},{"unique_id":"b","given_name":"Anne","family_name":"Smith","date_of_birth":"1973-10-22"},{"unique_id":"c","nhs_number":"` + number(2) + `"}]}`
	for _, x := range []struct {
		query, member string
		token, coded  bool
	}{
		{"", "", true, true}, {"?return=token", "", true, false}, {"?return=encodings", "", false, true}, {"?return=encodings,token", "", true, true}, {"", `"return":["token"],`, true, false},
		{"?return=token", `"return":["token"],`, true, false}, {"?return=token,%20encodings", "", true, true},
	} {
		d := s.document(s.call(call{query: x.query, body: []byte("{" + x.member + whole)}))
		for i, r := range d.Rows {
			linkable := x.token && i != 1 || x.coded && i != 2 // what was not asked for is not looked at
			if (r.Status == "ok") != linkable || (r.Token != nil) != (x.token && i != 1) || (r.Encodings != nil) != (x.coded && linkable) {
				t.Errorf("%s%s, row %d: %+v", x.query, x.member, i, r)
			}
			if !linkable && codesOf(r.Errors) != "row_nothing_linkable" {
				t.Errorf("%s", codesOf(r.Errors))
			}
		}
	}
	for _, query := range []string{"?return=tokens", "?return=token,", "?return=,", "?return=token&return=x"} {
		a := s.call(call{query: query, body: []byte("{" + whole)})
		if query == "?return=token&return=x" && a.status == 200 {
			t.Errorf("%s is taken", query)
		}
		s.problem(a, 400, api.CodeMalformed)
	}
	s.problem(s.call(call{query: "?return=token", body: []byte(`{"return":["encodings"],` + whole)}), 400, api.CodeMalformed)
}

// TestRowsThatAreRefused: one by one, each with its reason, in order; the others are answered.
func TestRowsThatAreRefused(t *testing.T) {
	s := newSite(t)
	good := `{"unique_id":"good","nhs_number":"` + number(3) + `"}`
	long := strings.Repeat("x", 1025)
	body := `{"return":["token"],"rows":[` + good + `,{"nhs_number":"` + number(4) + `"},{"unique_id":"` + long + `","nhs_number":"` + number(4) + `"},{"unique_id":"twice","unique_id":"b"},17,{"unique_id":"nested","sex":{}},` +
		`{"unique_id":"none"},{"unique_id":"bad","nhs_number":"1"},{"unique_id":"half","given_name":"\ud800"},{"unique_id":"nul","given_name":"\u0000"},` + "{\"unique_id\":\"utf\xff\",\"sex\":\"1\"}," + good + `,` + good + `]}`
	a := s.call(call{body: []byte(body)})
	d := s.document(a)
	var got []string
	for _, r := range d.Rows {
		got = append(got, r.ID[:min(len(r.ID), 8)]+" "+r.Status+" "+codesOf(r.Errors, r.Warnings))
	}
	want := []string{
		"good ok ", " refused unique_id:unique_id_empty", "xxxxxxxx refused row_malformed", "twice refused row_malformed", " refused row_malformed", "nested refused row_malformed",
		"none refused row_nothing_linkable", "bad refused row_nothing_linkable;nhs_number:nhs_number_length", "half refused row_malformed", "nul refused row_malformed", " refused row_encoding",
		"good ok ", "good ok ", // references may be there twice: they are the caller's own
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nand not\n%q", got, want)
	}
	if *d.Rows[0].Token != *d.Rows[11].Token || d.Counts != (counts{13, 3, 10, 1}) {
		t.Errorf("%+v", d.Counts)
	}
}

// TestReferencesComeBackAsTheyWent, whatever is in them: a machine reads them.
func TestReferencesComeBackAsTheyWent(t *testing.T) {
	s := newSite(t)
	ids := []string{"plain", " padded ", "=1+1", "@cmd", "a,b", `say "no"`, "two\nlines", "cr\rlf", "\u202eright to left", "😀", "é", "e\u0301", "\u007f", "\u2028", `\`, "-1", "+1", "\ttab", "<script>", "9" + strings.Repeat("0", 300)}
	var rows []map[string]string
	for _, id := range ids {
		rows = append(rows, map[string]string{"unique_id": id, "nhs_number": number(5)})
	}
	sent := bodies(t, rows)
	profile, err := encode.LoadProfile("nhs-field-dob-1", "")
	must(t, err)
	for _, in := range []wire.Format{wire.JSON, wire.NDJSON, wire.Arrow} { // csv.Reader makes \r\n of \r
		for _, out := range wire.Formats {
			a := s.call(call{media: in.MediaType(), accept: out.MediaType(), body: sent[in]})
			if out == wire.CSV && !bytes.Contains(a.body, []byte("\n\"cr\rlf\",ok,")) { // which Go's reader takes without
				t.Error("a carriage return is not quoted")
			}
			for i, c := range read(t, out, profile.Layout(), a.body) {
				if c.id != ids[i] {
					t.Errorf("%s to %s: %q is %q", in.MediaType(), out.MediaType(), ids[i], c.id)
				}
			}
		}
	}
}

// TestReferencesThatAreNumbers are refused: the answer would say whose token is whose.
func TestReferencesThatAreNumbers(t *testing.T) {
	s := newSite(t)
	body := []byte(`{"rows":[`)
	for i := range 50 {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"unique_id":"%s","nhs_number":"%s"}`, number(i), number(i))
	}
	p := s.problem(s.call(call{body: append(body, "]}"...)}), 422, "unique_id_looks_like_nhs_number")
	if strings.Contains(fmt.Sprint(p), "999") || s.left("etl") != plenty {
		t.Errorf("%v, %d left", p, s.left("etl"))
	}
}

// TestCompression: bodies are unpacked and answers packed as the headers say.
func TestCompression(t *testing.T) {
	s := newSite(t)
	body := bodies(t, people())[wire.CSV]
	plain := s.call(call{media: "text/csv", body: body})
	pack := map[string]func([]byte) []byte{
		"gzip": func(b []byte) []byte {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			_, _ = w.Write(b)
			must(t, w.Close())
			return out.Bytes()
		},
		"zstd": func(b []byte) []byte {
			w, err := zstd.NewWriter(nil)
			must(t, err)
			return w.EncodeAll(b, nil)
		},
	}
	unpack := map[string]func([]byte) ([]byte, error){
		"": func(b []byte) ([]byte, error) { return b, nil },
		"gzip": func(b []byte) ([]byte, error) {
			r, err := gzip.NewReader(bytes.NewReader(b))
			if err != nil {
				return nil, err
			}
			return io.ReadAll(r)
		},
		"zstd": func(b []byte) ([]byte, error) {
			r, err := zstd.NewReader(nil)
			if err != nil {
				return nil, err
			}
			return r.DecodeAll(b, nil)
		},
	}
	for _, x := range []struct{ in, accept, out string }{
		{"gzip", "", ""}, {"zstd", "", ""}, {"", "gzip", "gzip"}, {"", "zstd", "zstd"}, {"gzip", "gzip, zstd", "zstd"}, {"zstd", "gzip;q=1, zstd;q=0.5", "gzip"}, {"", "identity", ""}, {"", "br", ""}, {"", "gzip;q=0", ""},
	} {
		c := call{media: "text/csv", body: body, headers: map[string]string{}}
		if x.in != "" {
			c.body, c.headers["Content-Encoding"] = pack[x.in](body), x.in
		}
		if x.accept != "" {
			c.headers["Accept-Encoding"] = x.accept
		}
		a := s.call(c)
		got, err := unpack[x.out](a.body)
		if err != nil || a.status != 200 || a.header.Get("Content-Encoding") != x.out || !bytes.Equal(got, plain.body) || a.header.Get("Vary") == "" {
			t.Errorf("%+v: %d %v %v", x, a.status, a.header, err)
		}
		if x.out != "" && len(a.body) >= len(plain.body) {
			t.Errorf("%+v: %d bytes of %d", x, len(a.body), len(plain.body))
		}
	}
	send := func(coding string, body []byte) answer {
		return s.call(call{media: "text/csv", body: body, headers: map[string]string{"Content-Encoding": coding}})
	}
	for coding, f := range pack {
		whole := f(body)
		s.problem(send(coding, whole[:len(whole)/2]), 400, api.CodeMalformed)
		s.problem(send(coding, body), 400, api.CodeMalformed)
		// A bomb: a thousand times as large as it is sent. One just as large as may be is read.
		s.problem(send(coding, f(make([]byte, 64<<20))), 413, api.CodeTooLarge)
		fits := append([]byte("unique_id,nhs_number\n"), bytes.Repeat([]byte("\n"), s.options.Limits.MaxBody-21)...)
		if a := send(coding, f(fits)); a.status != 200 {
			t.Errorf("%s: %d bytes: %d %s", coding, len(fits), a.status, a.body)
		}
		s.problem(send(coding, f(append(fits, '\n'))), 413, api.CodeTooLarge)
	}
	s.problem(send("gzip", pack["zstd"](body)), 400, api.CodeMalformed)
	for _, coding := range []string{"br", "gzip, gzip", "deflate"} {
		s.problem(send(coding, body), 415, "content_encoding_unknown")
	}
	// A frame that says that it needs a window larger than a request may be.
	s.problem(send("zstd", []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xb8, 0x01, 0x00, 0x00}), 413, api.CodeTooLarge)
}

// TestTypes: what is read and what is answered, and what is not.
func TestTypes(t *testing.T) {
	s := newSite(t)
	line := []byte(`{"unique_id":"a","nhs_number":"` + number(1) + `"}`)
	for media, status := range map[string]int{
		"application/x-ndjson": 200, "application/x-ndjson; charset=utf-8": 200, "Application/X-NDJSON;charset=UTF-8": 200, "application/x-ndjson; charset=latin1": 415, "application/xml": 415, "text/plain": 415,
		"application/x-ndjson, text/csv": 415, "multipart/form-data; boundary=x": 415, "*/*": 415,
	} {
		if a := s.call(call{media: media, body: line}); a.status != status {
			t.Errorf("%s: %d %s", media, a.status, a.body)
		} else if status == 415 {
			s.problem(a, 415, api.CodeMediaType)
		}
	}
	for accept, want := range map[string]string{
		"*/*": "application/x-ndjson", "text/csv": "text/csv", "text/*": "text/csv", "application/json;q=0.5, text/csv;q=0.4": "application/json", "text/html, */*;q=0.1": "application/x-ndjson",
		"application/*": "application/x-ndjson", "application/x-ndjson;q=0, */*": "application/json", "text/html": "", "text/csv;q=0": "", "rubbish": "", "application/json;q=2": "",
	} {
		a := s.call(call{media: "application/x-ndjson", accept: accept, body: line})
		if want == "" {
			s.problem(a, 406, "not_acceptable")
		} else if a.header.Get("Content-Type") != want {
			t.Errorf("%s: %d %s", accept, a.status, a.header.Get("Content-Type"))
		}
	}
	for _, x := range []struct {
		media, body string
		code        api.Code
		status      int
	}{
		{"application/json", `{"rows":[{"unique_id":"a","nhsnumber":"1"}]}`, "column_unknown", 422},
		{"application/x-ndjson", `{"unique_id":"a","nhsnumber":"1"}`, "column_unknown", 422},
		{"text/csv", "unique_id,nhsnumber\n", "column_unknown", 422},
		{"text/csv", "nhs_number\n1\n", "column_unknown", 422},
		{"text/csv", "", api.CodeMalformed, 400},
		{"application/json", "", api.CodeMalformed, 400},
		{"application/vnd.apache.arrow.stream", "", api.CodeMalformed, 400},
		{"application/json", `{"rows":`, api.CodeMalformed, 400},
		{"application/x-ndjson", `[{"unique_id":"a"}]`, api.CodeMalformed, 400},
		{"application/json", strings.Repeat("[", 1<<20), api.CodeMalformed, 400},
		{"application/json", `{"rows":` + strings.Repeat("[", 1<<19), api.CodeMalformed, 400},
		{"application/json", `{"rows":[{"unique_id":"` + strings.Repeat("x", 1<<20), api.CodeTooLarge, 413},
	} {
		p := s.problem(s.call(call{media: x.media, body: []byte(x.body)}), x.status, x.code)
		if strings.Contains(fmt.Sprint(p), "nhsnumber") {
			t.Errorf("%v repeats what was sent", p)
		}
	}
	if a := s.call(call{media: "application/x-ndjson"}); a.status != 200 || len(a.body) > 0 {
		t.Errorf("no lines: %d %s", a.status, a.body)
	}
	if d := s.document(s.call(call{body: []byte(`{"rows":[]}`)})); len(d.Rows) != 0 || d.Rows == nil {
		t.Errorf("no rows: %v", d)
	}
	a := s.call(call{method: "GET", path: "/v1/openapi.json", as: "nobody", id: "-"})
	var description map[string]any
	if err := json.Unmarshal(a.body, &description); err != nil || a.status != 200 {
		t.Errorf("%d %v", a.status, err)
	}
	for path, verb := range map[string]string{"/livez": "GET", "/readyz": "GET", "/v1/openapi.json": "GET", "/v1/projects/study": "GET", "/v1/projects/study/tokenise": "POST"} {
		for _, other := range slices.Sorted(maps.Keys(map[string]bool{"GET": true, "POST": true, "PUT": true, "DELETE": true, "OPTIONS": true, "HEAD": true})) {
			if other == verb {
				continue
			}
			a := s.call(call{method: other, path: path})
			if a.status != 405 || a.header.Get("Allow") != verb || other != "HEAD" && len(a.body) == 0 || other == "HEAD" && len(a.body) > 0 {
				t.Errorf("%s %s: %d %v", other, path, a.status, a.header)
			}
		}
	}
	for _, path := range []string{"/", "/v1/projects/", "/v1/projects/study/", "/v1/projects/study/tokenise/", "/v1/projects/a/b/tokenise", "/metrics", "/debug/pprof/", "/v1/projects/study/../../x"} {
		s.problem(s.call(call{path: path}), 404, api.CodeNotFound)
	}
}
