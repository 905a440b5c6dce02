package forward

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf"
	"tarn/keys/parcel"
	"tarn/keys/secret"
	"tarn/tokenise/reason"
)

// holder is a key holder's part, and what it was asked.
type holder struct {
	t        testing.TB
	from, to secret.Key
	records  [2]*keys.Project
	keys     *parcel.Keys
	grant    *api.Grant

	mu       sync.Mutex
	requests map[string]int // how often each was answered
	rows     int
	coming   []int64
	fail     func(call int) error
	calls    int
}

func newHolder(t testing.TB) *holder {
	t.Helper()
	h := &holder{t: t, requests: map[string]int{}}
	for i, key := range []*secret.Key{&h.from, &h.to} {
		var err error
		if *key, err = oprf.NewKey(nil); err != nil {
			t.Fatal(err)
		}
		public, err := oprf.PublicKey(*key)
		if err != nil {
			t.Fatal(err)
		}
		text := hex.EncodeToString(public[:])
		h.records[i] = &keys.Project{Name: []string{"lake", "registry"}[i] + "-study", Domain: []string{"lake", "registry"}[i], Scheme: keys.SchemeOblivious,
			Reidentify: keys.Reidentify{Mode: "direct"}, Keys: keys.KeySet{DomainNo: uint32(i + 1), TokenEpoch: uint32(3 - i), TokenPublicKey: &text}}
	}
	var err error
	if h.keys, err = parcel.NewKeys("registrar", "test", "2026-01-01T00:00:00Z", nil); err != nil {
		t.Fatal(err)
	}
	h.grant = &api.Grant{Name: "follow-up", Kind: api.GrantConvert, From: "lake", To: "registry", Recipient: &api.GrantRecipient{Project: "registry-study", Client: "registrar", Keys: h.keys.Public}}
	return h
}

func (h *holder) public(i int) oprf.Point {
	p, err := oprf.ParsePublicKey(h.records[i].Keys.TokenPublicKey)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *holder) convert(_ context.Context, request []byte, coming int64) ([]byte, error) {
	h.mu.Lock()
	h.calls++
	call := h.calls
	h.coming = append(h.coming, coming)
	h.mu.Unlock()
	if h.fail != nil {
		if err := h.fail(call); err != nil {
			return nil, err
		}
	}
	p, err := oprf.ParseParcel(request, 1)
	if err != nil {
		return nil, err
	}
	quotient, err := oprf.Quotient(h.to, h.from)
	if err != nil {
		return nil, err
	}
	y, err := h.keys.Public.Point()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	if h.requests[string(request)]++; h.requests[string(request)] == 1 {
		h.rows += p.Rows()
	}
	h.mu.Unlock()
	answer, err := p.Answer(quotient, h.public(0), h.public(1), y, nil, 1)
	if err != nil {
		return nil, err
	}
	return parcel.SealAnswer(h.keys.Public.SealingKey, answer)
}

// tokens returns the i-th person's tokens in both domains.
func (h *holder) tokens(i int) (from, to string) {
	first := [9]byte([]byte(fmt.Sprintf("%09d", 400_000_000+i*11)))
	digit, ok := nhsnumber.CheckDigit(first)
	for ; !ok; digit, ok = nhsnumber.CheckDigit(first) {
		first[8] = '0' + (first[8]-'0'+1)%10
	}
	p := oprf.Encode(nhsnumber.Number(append(first[:], digit)))
	text := func(key secret.Key, record *keys.Project) string {
		// Opening with 1/k is multiplying by k.
		one := secret.New([secret.Size]byte{1})
		inverse, err := oprf.Quotient(one, key)
		if err != nil {
			h.t.Fatal(err)
		}
		public, err := oprf.PublicKey(inverse)
		if err != nil {
			h.t.Fatal(err)
		}
		token, err := oprf.Open(inverse, public, 1, 1, p)
		if err != nil {
			h.t.Fatal(err)
		}
		return keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: record.Keys.DomainNo, TokenEpoch: uint16(record.Keys.TokenEpoch), Value: token.Point}.String()
	}
	return text(h.from, h.records[0]), text(h.to, h.records[1])
}

func (h *holder) send(in, column, out string, change ...func(*SendOptions)) (*Sent, error) {
	o := SendOptions{Grant: h.grant, From: h.records[0], To: h.records[1], In: in, Column: column, Out: out, Convert: h.convert, Random: rand.Reader, Software: "test", Clock: func() time.Time { return time.Unix(0, 0) }}
	for _, f := range change {
		f(&o)
	}
	return Send(h.t.Context(), o)
}

func (h *holder) receive(parcel, out string, change ...func(*ReceiveOptions)) (*Received, error) {
	o := ReceiveOptions{Parcel: parcel, Keys: h.keys, To: h.records[1], Out: out, Threads: 2, PublicKey: func(_ context.Context, domain string, no, epoch uint32) (oprf.Point, error) {
		if record := h.records[0]; domain != record.Domain || no != record.Keys.DomainNo || epoch != record.Keys.TokenEpoch {
			return oprf.Point{}, errors.New("there is no such epoch")
		}
		return h.public(0), nil
	}}
	for _, f := range change {
		f(&o)
	}
	return Receive(h.t.Context(), o)
}

func write(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sorted are the lines after the header, in an order of their own.
func sorted(text, end string, header int) []string {
	lines := strings.SplitAfter(text, end)
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	rest := slices.Clone(lines[header:])
	slices.Sort(rest)
	return append(lines[:header], rest...)
}

// TestTablesArriveWithTheOtherTokens: CSV and NDJSON of several batches arrive as they
// were but for their tokens, their order and blank lines.
func TestTablesArriveWithTheOtherTokens(t *testing.T) {
	h := newHolder(t)
	people := make([][2]string, 40)
	for i := range people {
		people[i][0], people[i][1] = h.tokens(i)
	}
	token := func(i, side int) string {
		if i%7 == 3 {
			return ""
		}
		return people[i%len(people)][side]
	}
	for _, tt := range []struct {
		name, header string
		row          func(i int, token string) string
		end, blank   string
		rows, lines  int
	}{
		{"visits.csv", "\ufeffvisit,nhs_token,note\r\n", func(i int, token string) string {
			return fmt.Sprintf("%d,\"%s\",\"é, \"\"quoted\"\" %s\"", i, token, strings.Repeat("x", 900+i%90))
		}, "\r\n", "\r\n", 1500, 1},
		{"small.csv", "nhs_token;visit\n", func(i int, token string) string { return fmt.Sprintf("%s;%d", token, i) }, "\n", "\n", 1, 1},
		{"empty.csv", "nhs_token,visit\n", nil, "\n", "", 0, 1},
		{"visits.ndjson", "", func(i int, token string) string {
			switch {
			case i%7 == 3 && i%2 == 0:
				return fmt.Sprintf(`{"visit": %d,  "nhs_token": null}`, i)
			case i%7 == 3:
				return fmt.Sprintf(`{"visit": %d}`, i)
			}
			return fmt.Sprintf(`{"visit": %d,  "nhs_token": "%s", "more": {"deep": [1, null]}}`, i, token)
		}, "\n", "", 300, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			var in, want strings.Builder
			in.WriteString(tt.header)
			want.WriteString(tt.header)
			for i := range tt.rows {
				in.WriteString(tt.row(i, token(i, 0)))
				want.WriteString(tt.row(i, token(i, 1)) + tt.end)
				if i < tt.rows-1 { // the last line has no end
					in.WriteString(tt.end)
				}
				if i == 5 {
					in.WriteString(tt.blank)
				}
			}
			path, out := write(t, filepath.Join(folder, tt.name), in.String()), filepath.Join(folder, "out."+tt.name)
			sent, err := h.send(path, "nhs_token", path+".parcel")
			if err != nil {
				t.Fatal(err)
			}
			received, err := h.receive(path+".parcel", out)
			if err != nil {
				t.Fatal(err)
			}
			if sent.Rows != int64(tt.rows) || received.Rows != sent.Rows || received.Tokens != sent.Tokens || received.Absent != sent.Absent || sent.Tokens+sent.Absent != sent.Rows || tt.rows > 1000 && sent.Batches < 2 {
				t.Errorf("%+v sent, %+v received", sent, received)
			}
			got, expected := sorted(read(t, out), tt.end, tt.lines), sorted(want.String(), tt.end, tt.lines)
			if !slices.Equal(got, expected) {
				t.Errorf("%d lines arrive, not the %d that were expected", len(got), len(expected))
			}
			if tt.rows > 2 && read(t, out) == want.String() {
				t.Error("the rows arrive in the order in which they were sent")
			}
			if b := read(t, path+".parcel"); tt.rows > 0 && (strings.Contains(b, people[0][0]) || strings.Contains(b, "visit\": 1") || strings.Contains(b, "quoted")) {
				t.Error("the parcel can be read")
			}
			if _, err := os.Stat(path + ".parcel" + StateSuffix); !errors.Is(err, os.ErrNotExist) {
				t.Error("the run's state is left")
			}
		})
	}
}

// TestWhatIsReplaced: receiving again replaces what was received, and nothing else; a
// parcel of the same grant is known as one.
func TestWhatIsReplaced(t *testing.T) {
	h := newHolder(t)
	from, to := h.tokens(1)
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	parquetRows(t, at("in.parquet"), 3, func(int) string { return from })
	write(t, at("in.csv"), "id,nhs_token\n1,"+from+"\n")
	write(t, at("in.ndjson"), `{"id":1,"nhs_token":"`+from+`"}`+"\n")
	for _, tt := range []struct{ format, precious string }{
		{"parquet", read(t, at("in.parquet"))}, {"csv", "id,nhs_token\n1," + from + "\n"}, {"csv", "id,nhs_token,more\n1," + to + ",x\n"}, {"ndjson", `{"id":1,"nhs_token":"` + to + `"}` + "\n"},
	} {
		parcel, out := at("parcel."+tt.format), at("out."+tt.format)
		if _, err := h.send(at("in."+tt.format), "nhs_token", parcel); err != nil {
			t.Fatal(err)
		}
		if start := []byte(read(t, parcel)); !IsParcel(start[:min(len(start), 4<<10)], "follow-up") || IsParcel(start, "another") || IsParcel(start[:60], "follow-up") {
			t.Error("a parcel is not known, or another's is")
		}
		if err := os.RemoveAll(out); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := h.receive(parcel, out, func(o *ReceiveOptions) { o.Replace = tt.format == "ndjson" }); err != nil {
				t.Fatalf("%s: %v", out, err)
			}
		}
		write(t, out, tt.precious)
		if _, err := h.receive(parcel, out); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--replace") || read(t, out) != tt.precious {
			t.Errorf("%s: %v", out, err)
		}
		write(t, at(".out."+tt.format+"1234567890123"), "rows of a killed run")
		if _, err := h.receive(parcel, out, func(o *ReceiveOptions) { o.Replace = true }); err != nil {
			t.Error(err)
		}
		if left, err := filepath.Glob(at(".out.*")); err != nil || len(left) > 0 {
			t.Errorf("left: %q, %v", left, err)
		}
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if err := errors.Join(writeZIP(z, "letter.xml", strings.NewReader("{}")), z.Close()); err != nil {
		t.Fatal(err)
	}
	if IsParcel(b.Bytes(), "follow-up") || IsParcel(nil, "") || IsParcel([]byte("PK\x03\x04"), "") {
		t.Error("another archive is taken for a parcel")
	}
}

// parquetFields are columns of many types beside that of the tokens.
var parquetFields = []arrow.Field{
	{Name: "visit", Type: arrow.PrimitiveTypes.Int64}, {Name: "nhs_token", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "double", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "moment", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Europe/London"}, Nullable: true}, {Name: "money", Type: &arrow.Decimal128Type{Precision: 20, Scale: 3}, Nullable: true},
	{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
	{Name: "deep", Type: arrow.StructOf(arrow.Field{Name: "nhs", Type: arrow.BinaryTypes.String, Nullable: true}, arrow.Field{Name: "more", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true}), Nullable: true},
}

// parquetRows are rows as JSON, and their table.
func parquetRows(t testing.TB, path string, rows int, token func(i int) string) (lines []string) {
	t.Helper()
	for i := range rows {
		text := "null"
		if token := token(i); token != "" {
			text = `"` + token + `"`
		}
		rest := fmt.Sprintf(`"text":"t%d","double":0.1,"moment":"1973-10-22 12:34:56.000000007Z","money":"12.345","list":[1,null,%d],"deep":{"nhs":"kept","more":["a",null]}`, i, i)
		if i%4 == 1 {
			rest = `"text":null,"double":null,"moment":null,"money":null,"list":null,"deep":null`
		}
		lines = append(lines, fmt.Sprintf(`{"visit":%d,"nhs_token":%s,%s}`, i, text, rest))
	}
	if path == "" {
		return lines
	}
	schema := arrow.NewSchema(parquetFields, nil)
	record, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader("["+strings.Join(lines, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, f, nil, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(record), w.Close()); err != nil {
		t.Fatal(err)
	}
	return lines
}

// parquetLines are a table's rows as JSON, sorted.
func parquetLines(t testing.TB, path string) (schema *arrow.Schema, lines []string) {
	t.Helper()
	in, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	reader, err := pqarrow.NewFileReader(in, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := reader.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	records := array.NewTableReader(whole, 0)
	var b bytes.Buffer
	for records.Next() {
		if err := array.RecordToJSON(records.RecordBatch(), &b); err != nil {
			t.Fatal(err)
		}
	}
	lines = strings.Split(strings.TrimSpace(b.String()), "\n")
	slices.Sort(lines)
	return whole.Schema(), lines
}

// TestParquetArrivesAsItWas: values, nulls, lists and types of every column.
func TestParquetArrivesAsItWas(t *testing.T) {
	h := newHolder(t)
	from, to := h.tokens(1)
	pick := func(token string) func(int) string {
		return func(i int) string {
			if i%3 == 2 {
				return ""
			}
			return token
		}
	}
	folder := t.TempDir()
	in, expected, out := filepath.Join(folder, "in.parquet"), filepath.Join(folder, "expected.parquet"), filepath.Join(folder, "out.parquet")
	parquetRows(t, in, 1500, pick(from))
	parquetRows(t, expected, 1500, pick(to))
	sent, err := h.send(in, "nhs_token", in+".parcel")
	if err != nil {
		t.Fatal(err)
	}
	received, err := h.receive(in+".parcel", out)
	if err != nil || received.Rows != 1500 || received.Absent != 500 || sent.Batches < 2 {
		t.Fatalf("%+v of %+v, %v", received, sent, err)
	}
	schema, got := parquetLines(t, out)
	wantSchema, want := parquetLines(t, expected)
	if !slices.Equal(got, want) {
		t.Errorf("rows arrive otherwise:\n%s\n%s", got[0], want[0])
	}
	if !schema.Equal(wantSchema) {
		t.Errorf("the schema is\n%s\nnot\n%s", schema, wantSchema)
	}
}

// TestDurationsAndNothing: durations, which Parquet stores as whole numbers and a stored
// schema calls by their name, arrive so; so does a column of the null type; and what pandas
// says of the numbers of rows, which arrive in another order, does not.
func TestDurationsAndNothing(t *testing.T) {
	h := newHolder(t)
	from, to := h.tokens(1)
	folder := t.TempDir()
	fields := []arrow.Field{{Name: "nhs_token", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "wait", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "nothing", Type: arrow.Null, Nullable: true}}
	called := slices.Clone(fields)
	called[1].Type = arrow.FixedWidthTypes.Duration_us
	const pandas = `{"index_columns":[{"kind":"range","name":null,"start":5,"stop":8,"step":1},"kept"],"columns":[]}`
	said := arrow.NewMetadata([]string{"pandas"}, []string{pandas})
	meta := arrow.NewMetadata([]string{"pandas", "ARROW:schema"}, []string{pandas, schemaText(called, arrow.NewSchema(called, &said))})
	layout := arrow.NewSchema(fields, &meta)
	record, _, err := array.RecordFromJSON(memory.DefaultAllocator, layout, strings.NewReader(`[{"nhs_token":"`+from+`","wait":-7,"nothing":null},{"nhs_token":null,"wait":null,"nothing":null},{"nhs_token":"`+from+`","wait":9007199254740993,"nothing":null}]`))
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	w, err := pqarrow.NewFileWriter(layout, &table, nil, pqarrow.DefaultWriterProps())
	if err == nil {
		err = errors.Join(w.Write(record), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	in, out := write(t, filepath.Join(folder, "in.parquet"), table.String()), filepath.Join(folder, "out.parquet")
	if _, err := h.send(in, "nhs_token", in+".parcel"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.receive(in+".parcel", out); err != nil {
		t.Fatal(err)
	}
	arrived, err := file.NewParquetReader(strings.NewReader(read(t, out)))
	if err != nil {
		t.Fatal(err)
	}
	kept := arrived.MetaData().KeyValueMetadata()
	if text := kept.FindValue("pandas"); text == nil || *text != `{"columns":[],"index_columns":["kept"]}` {
		t.Errorf("pandas is told %v", kept)
	}
	text := kept.FindValue(arrowKey)
	if text == nil {
		t.Fatal("no schema is stored")
	}
	_, stored := storedSchema(*text)
	if len(stored) != 3 || !arrow.TypeEqual(stored[1].Type, called[1].Type) || stored[1].HasMetadata() && stored[1].Metadata.FindKey(durationKey) >= 0 || !arrow.TypeEqual(stored[2].Type, arrow.Null) {
		t.Errorf("what is stored is %v", stored)
	}
	withoutDurations(arrived) // which this Arrow cannot read
	reader, err := pqarrow.NewFileReader(arrived, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := reader.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i := range 3 {
		lines = append(lines, whole.Column(0).Data().Chunk(0).ValueStr(i)+" "+whole.Column(1).Data().Chunk(0).ValueStr(i))
	}
	slices.Sort(lines)
	if want := []string{"(null) (null)", to + " -7", to + " 9007199254740993"}; !slices.Equal(lines, want) {
		t.Errorf("%q arrive", lines)
	}
	// A field that says that it is a duration, and cannot be one, is nobody's.
	for _, wrong := range []arrow.Field{{Name: "x", Type: arrow.BinaryTypes.String, Metadata: arrow.NewMetadata([]string{durationKey}, []string{"us"})}, {Name: "x", Type: arrow.PrimitiveTypes.Int64, Metadata: arrow.NewMetadata([]string{durationKey}, []string{"weeks"})}} {
		if _, _, err := withDurations(arrow.NewSchema([]arrow.Field{wrong}, nil)); !errors.Is(err, errRow) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if !holds(arrow.ListOf(arrow.StructOf(called[1])), arrow.DURATION) || holds(arrow.ListOf(arrow.StructOf(fields...)), arrow.DURATION) || !holds(arrow.ListOf(arrow.Null), arrow.NULL) {
		t.Error("durations in a part of a column are not seen")
	}
}

// TestCategoriesArriveAsText: one row by itself has none.
func TestCategoriesArriveAsText(t *testing.T) {
	h := newHolder(t)
	from, to := h.tokens(1)
	folder := t.TempDir()
	schema := arrow.NewSchema([]arrow.Field{{Name: "nhs_token", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "ward", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, Nullable: true}}, nil)
	record, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"nhs_token":"`+from+`","ward":"a"},{"nhs_token":null,"ward":null},{"nhs_token":"`+from+`","ward":"b"},{"nhs_token":"`+from+`","ward":"a"}]`))
	if err != nil {
		t.Fatal(err)
	}
	in := filepath.Join(folder, "in.parquet")
	f, err := os.Create(in)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, f, nil, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err == nil {
		err = errors.Join(w.Write(record), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.send(in, "nhs_token", in+".parcel"); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(folder, "out.parquet")
	if _, err := h.receive(in+".parcel", out); err != nil {
		t.Fatal(err)
	}
	_, got := parquetLines(t, out)
	want := []string{`{"nhs_token":"` + to + `","ward":"a"}`, `{"nhs_token":"` + to + `","ward":"a"}`, `{"nhs_token":"` + to + `","ward":"b"}`, `{"nhs_token":null,"ward":null}`}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	nested := arrow.StructOf(arrow.Field{Name: "ward", Type: schema.Field(1).Type})
	if !hasCategories(arrow.ListOf(nested)) || hasCategories(arrow.ListOf(arrow.BinaryTypes.String)) {
		t.Error("categories in a part of a column are not seen")
	}
}

// interruptedRows fill half a dozen batches.
const interruptedRows = 2500

// TestAnInterruptedRunGoesOn: what was answered is not asked again, what was not is sent
// again as it was, byte for byte, and is charged once.
func TestAnInterruptedRunGoesOn(t *testing.T) {
	h := newHolder(t)
	from, _ := h.tokens(1)
	folder := t.TempDir()
	var in strings.Builder
	in.WriteString("nhs_token,visit\n")
	for i := range interruptedRows {
		fmt.Fprintf(&in, "%s,%d%s\n", from, i, strings.Repeat("x", 2000)) // long rows fill batches
	}
	path := write(t, filepath.Join(folder, "visits.csv"), in.String())
	out := path + ".parcel"
	away := fault.New(fault.Unavailable, "calling the key holder", "it is away", "")
	h.fail = func(call int) error {
		if call > 2 {
			return away
		}
		return nil
	}
	if _, err := h.send(path, "nhs_token", out); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("%v", err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Error("there is a parcel")
	}
	// The answer of one batch is lost on its way: the key holder has charged it.
	var lost atomic.Bool
	h.fail = nil
	before := h.calls
	convert := h.convert
	_, err := h.send(path, "nhs_token", out, func(o *SendOptions) {
		o.Convert = func(ctx context.Context, request []byte, coming int64) ([]byte, error) {
			answer, err := convert(ctx, request, coming)
			if !lost.Swap(true) {
				return nil, away
			}
			return answer, err
		}
	})
	if fault.KindOf(err) != fault.Unavailable || h.calls == before {
		t.Fatalf("%v", err)
	}
	// Another table under the same name is not taken for the first.
	other := write(t, filepath.Join(folder, "other.csv"), in.String()+from+",x\n")
	if _, err := h.send(other, "nhs_token", out); fault.KindOf(err) != fault.Usage {
		t.Errorf("another table: %v", err)
	}
	// A folder that does not say whose it is is not taken for anybody's.
	orphan := filepath.Join(folder, "orphan.parcel")
	if err := os.CopyFS(orphan+StateSuffix, os.DirFS(out+StateSuffix)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(orphan+StateSuffix, runFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.send(path, "nhs_token", orphan); fault.KindOf(err) != fault.Usage {
		t.Errorf("a folder of nobody's: %v", err)
	}
	// An answer that is damaged is asked for again.
	kept, err := filepath.Glob(filepath.Join(out+StateSuffix, "*.answer"))
	if err != nil || len(kept) == 0 {
		t.Fatal("no answer is kept")
	}
	damaged := []byte(read(t, kept[0]))
	damaged[len(damaged)-5] ^= 1
	write(t, kept[0], string(damaged))
	resumed := 0
	sent, err := h.send(path, "nhs_token", out, func(o *SendOptions) { o.Resumed = func(batches int) { resumed = batches } })
	if err != nil {
		t.Fatal(err)
	}
	if resumed < 1 || resumed >= sent.Batches {
		t.Errorf("%d batches of %d were there", resumed, sent.Batches)
	}
	if h.rows != interruptedRows || len(h.requests) != sent.Batches {
		t.Errorf("%d rows in %d requests are charged, of %d batches", h.rows, len(h.requests), sent.Batches)
	}
	received, err := h.receive(out, filepath.Join(folder, "out.csv"))
	if err != nil || received.Rows != interruptedRows || received.Tokens != interruptedRows {
		t.Errorf("%+v, %v", received, err)
	}
}

// TestRowsThatReadersDivideOtherwise: a row with a carriage return that ends no line is left
// out before it is sent, since the recipient refuses it; a last line that ends in one arrives
// as a line; a table without a header, or with an unusual delimiter, arrives.
func TestRowsThatReadersDivideOtherwise(t *testing.T) {
	h := newHolder(t)
	from, to := h.tokens(1)
	folder := t.TempDir()
	for name, tt := range map[string]struct {
		in, want string
		change   func(*SendOptions)
	}{
		"returns":   {"nhs_token,visit\n" + from + ",1\r2\n" + from + ",\"3\r4\"\n" + from + ",5\r", "nhs_token,visit\n" + to + ",\"3\r4\"\n" + to + ",5\r\n", func(o *SendOptions) { o.Quarantine = filepath.Join(folder, "refused.csv") }},
		"no header": {from + "^1,2\n" + from + "^3", to + "^1,2\n" + to + "^3\n", func(o *SendOptions) { o.Column, o.Source.NoHeader, o.Source.Delimiter = "column_1", true, '^' }},
	} {
		path, out := write(t, filepath.Join(folder, name+".csv"), tt.in), filepath.Join(folder, name+".out.csv")
		if _, err := h.send(path, "nhs_token", path+".parcel", tt.change); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := h.receive(path+".parcel", out); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := sorted(read(t, out), "\n", 1), sorted(tt.want, "\n", 1); !slices.Equal(got, want) && !slices.Equal(sorted(read(t, out), "\n", 0), sorted(tt.want, "\n", 0)) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := read(t, filepath.Join(folder, "refused.csv")); got != "row,unique_id,field,code\n1,,,row_malformed\n" {
		t.Errorf("the quarantine is %q", got)
	}
}

// TestJoinedParcels are not read as the last of them.
func TestJoinedParcels(t *testing.T) {
	h := newHolder(t)
	from, _ := h.tokens(1)
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "in.csv"), "nhs_token,visit\n"+from+",1\n")
	for _, out := range []string{"a.parcel", "b.parcel"} {
		if _, err := h.send(path, "nhs_token", filepath.Join(folder, out)); err != nil {
			t.Fatal(err)
		}
	}
	a, b := read(t, filepath.Join(folder, "a.parcel")), read(t, filepath.Join(folder, "b.parcel"))
	for name, content := range map[string]string{"equally long": a + b, "another length": "x" + a + b, "behind": a + "x", "half": a + b[:len(b)/2], "comment": a[:len(a)-2] + "\x01\x00x"} {
		if _, err := h.receive(write(t, filepath.Join(folder, "joined.parcel"), content), filepath.Join(folder, "out.csv")); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "parcels were joined") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An archive of more files than a short one can have ends with the longer records.
	var many bytes.Buffer
	z := zip.NewWriter(&many)
	for i := range 1 << 16 {
		if err := writeZIP(z, answerOf(i), strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if whole := many.Bytes(); !alone(bytes.NewReader(whole), int64(len(whole))) || alone(bytes.NewReader(append([]byte("x"), whole...)), int64(len(whole)+1)) {
		t.Error("a long archive is not known, or one with more before it is")
	}
	if _, err := h.receive(filepath.Join(folder, "b.parcel"), filepath.Join(folder, "out.csv")); err != nil {
		t.Error(err)
	}
}

// TestHowManyRowsAreToCome is said of a new run with every batch, the first of which goes by
// itself: a grant that does not suffice is refused with it.
func TestHowManyRowsAreToCome(t *testing.T) {
	h := newHolder(t)
	from, _ := h.tokens(1)
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "in.csv"), "nhs_token,visit\n"+strings.Repeat(from+","+strings.Repeat("x", 60_000)+"\n", 60))
	out := filepath.Join(folder, "out.parcel")
	h.fail = func(int) error {
		return fault.New(fault.Policy, "calling the key holder", "the grant does not suffice", "")
	}
	if _, err := h.send(path, "nhs_token", out); fault.KindOf(err) != fault.Policy || len(h.coming) != 1 || h.coming[0] != 60 {
		t.Errorf("asked with %d rows to come: %v", h.coming, err)
	}
	h.fail = func(call int) error {
		if call == 4 {
			return fault.New(fault.Unavailable, "calling the key holder", "it is away", "")
		}
		return nil
	}
	h.coming = nil
	if _, err := h.send(path, "nhs_token", out); fault.KindOf(err) != fault.Unavailable || len(h.coming) < 3 || h.coming[0] != 60 || slices.Max(h.coming[1:]) >= 60 || slices.Min(h.coming) <= 0 || h.coming[1] == h.coming[2] {
		t.Errorf("asked with %d rows to come: %v", h.coming, err)
	}
	h.fail, h.coming = nil, nil
	if _, err := h.send(path, "nhs_token", out); err != nil || slices.Max(h.coming) != 0 {
		t.Errorf("of a run that goes on: %d, %v", h.coming, err)
	}
}

// TestARunIsKnownByItsRows: a table that was touched, copied or renamed goes on; one with
// other rows does not, though its size and time are the same; and a damaged request is named.
func TestARunIsKnownByItsRows(t *testing.T) {
	h := newHolder(t)
	from, _ := h.tokens(1)
	folder := t.TempDir()
	content := "nhs_token,visit\n" + strings.Repeat(from+","+strings.Repeat("x", 60_000)+"\n", 25)
	path := write(t, filepath.Join(folder, "in.csv"), content)
	out := filepath.Join(folder, "out.parcel")
	stamp := time.Unix(1_700_000_000, 0)
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	h.fail = func(call int) error {
		if call > 1 {
			return fault.New(fault.Unavailable, "calling the key holder", "it is away", "")
		}
		return nil
	}
	if _, err := h.send(path, "nhs_token", out); fault.KindOf(err) != fault.Unavailable {
		t.Fatal(err)
	}
	h.fail = nil
	calls := h.calls
	write(t, path, content[:len(content)-2]+"y\n")
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
	if _, err := h.send(path, "nhs_token", out); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "the table was changed since") || h.calls != calls {
		t.Errorf("other rows: %v", err)
	}
	if _, err := h.send(path, "nhs_token", out, func(o *SendOptions) { o.Invalid = "null" }); fault.KindOf(err) != fault.Usage {
		t.Errorf("other options: %v", err)
	}
	requests, err := filepath.Glob(filepath.Join(out+StateSuffix, "*.request"))
	if err != nil || len(requests) != 2 {
		t.Fatalf("%q, %v", requests, err)
	}
	moved := write(t, filepath.Join(folder, "moved.csv"), content)
	whole := read(t, requests[1])
	write(t, requests[1], whole[:len(whole)-1]+"!")
	if _, err := h.send(moved, "nhs_token", out); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), requests[1]) {
		t.Errorf("a damaged request: %v", err)
	}
	write(t, requests[1], whole)
	resumed := 0
	if _, err := h.send(moved, "nhs_token", out, func(o *SendOptions) { o.Resumed = func(batches int) { resumed = batches } }); err != nil || resumed == 0 || h.rows != 25 {
		t.Errorf("%d batches go on, %d rows are charged: %v", resumed, h.rows, err)
	}
}

// TestTwoRunsDoNotWriteOneParcel, and a run whose table changes between its two readings
// leaves none.
func TestTwoRunsDoNotWriteOneParcel(t *testing.T) {
	h := newHolder(t)
	from, _ := h.tokens(1)
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "in.csv"), "nhs_token,visit\n"+from+",1\n")
	out := filepath.Join(folder, "out.parcel")
	inside := 0
	if _, err := h.send(path, "nhs_token", out, func(o *SendOptions) {
		o.Convert = func(ctx context.Context, request []byte, coming int64) ([]byte, error) {
			inside++
			if _, err := h.send(path, "nhs_token", out); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "another run is writing the same output") {
				t.Errorf("the second run: %v", err)
			}
			return h.convert(ctx, request, coming)
		}
	}); err != nil || inside != 1 || h.calls != 1 {
		t.Fatalf("%d, %d, %v", inside, h.calls, err)
	}
	changed := filepath.Join(folder, "changed.parcel")
	_, err := h.send(path, "nhs_token", changed, func(o *SendOptions) {
		o.Random = readerFunc(func(b []byte) (int, error) { // is asked between the readings
			write(t, path, "nhs_token,visit\n"+from+",2\n")
			return rand.Read(b)
		})
	})
	if _, there := os.Stat(changed); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "it was changed while it was read") || there == nil {
		t.Errorf("a table that changes: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestAFailedRunLeavesNothing where the key holder has refused all it was asked; where it
// may have charged something, what was sent is kept.
func TestAFailedRunLeavesNothing(t *testing.T) {
	from, _ := newHolder(t).tokens(1)
	for _, tt := range []struct {
		name    string
		refused int // the call from which on it is refused
		kind    fault.Kind
		left    bool
	}{{"the first", 1, fault.Policy, false}, {"no answer", 1, fault.Unavailable, true}, {"the second", 2, fault.Policy, true}} {
		h := newHolder(t)
		folder := t.TempDir()
		path := write(t, filepath.Join(folder, "in.csv"), "nhs_token,visit\n"+strings.Repeat(from+","+strings.Repeat("x", 60_000)+"\n", 25))
		h.fail = func(call int) error {
			if call >= tt.refused {
				return fault.New(tt.kind, "calling the key holder", "no", "")
			}
			return nil
		}
		out := filepath.Join(folder, "out.parcel")
		for range 2 { // what is left is not forgotten by the next run that fails
			if _, err := h.send(path, "nhs_token", out); fault.KindOf(err) != tt.kind {
				t.Errorf("%s: %v", tt.name, err)
			}
			if _, err := os.Stat(out + StateSuffix); (err == nil) != tt.left {
				t.Errorf("%s: what was sent is left: %v", tt.name, err == nil)
			}
			h.fail = func(int) error { return fault.New(tt.kind, "calling the key holder", "no", "") }
		}
	}
}

// TestCompressedTables: what is read may be compressed, and what is written is what its
// name says.
func TestCompressedTables(t *testing.T) {
	h := newHolder(t)
	from, to := h.tokens(1)
	folder := t.TempDir()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := io.WriteString(w, "nhs_token,visit\n"+from+",1\n")
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	path := write(t, filepath.Join(folder, "in.csv.gz"), packed.String())
	if _, err := h.send(path, "nhs_token", path+".parcel"); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(folder, "out.csv.gz")
	if _, err := h.receive(path+".parcel", out); err != nil {
		t.Fatal(err)
	}
	r, err := gzip.NewReader(strings.NewReader(read(t, out)))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "nhs_token,visit\n"+to+",1\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestRowsThatHoldNoToken: they end the run, or go without a token; rows that cannot be
// read end it, or are left out; the quarantine has all of them.
func TestRowsThatHoldNoToken(t *testing.T) {
	h := newHolder(t)
	from, to := h.tokens(1)
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "in.csv"), "nhs_token,visit\n"+from+",1\n"+to+",2\nnobody,3\n"+from+"\n,5\n")
	out, quarantine := path+".parcel", filepath.Join(folder, "refused.csv")
	sent, err := h.send(path, "nhs_token", out)
	if fault.KindOf(err) != fault.RowsRefused || !strings.Contains(err.Error(), "row 2 token_other, row 3 token_malformed, row 4 row_malformed") {
		t.Fatalf("%+v, %v", sent, err)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) || h.calls != 0 {
		t.Errorf("there is a parcel, or the key holder was asked %d times", h.calls)
	}
	lenient := func(o *SendOptions) { o.Invalid, o.Quarantine = "null", quarantine }
	sent, err = h.send(path, "nhs_token", out, lenient)
	if err != nil || sent.Rows != 5 || sent.Tokens != 1 || sent.Absent != 1 || sent.Emptied[reason.TokenOther] != 1 || sent.Emptied[reason.TokenMalformed] != 1 || sent.LeftOut[reason.RowMalformed] != 1 {
		t.Fatalf("%+v, %v", sent, err)
	}
	if got := read(t, quarantine); got != "row,unique_id,field,code\n2,,nhs_number,token_other\n3,,nhs_number,token_malformed\n4,,,row_malformed\n" {
		t.Errorf("the quarantine is %q", got)
	}
	received, err := h.receive(out, filepath.Join(folder, "out.csv"))
	if err != nil || received.Rows != 4 || received.Tokens != 1 || received.Absent != 3 {
		t.Fatalf("%+v, %v", received, err)
	}
	if got := sorted(read(t, filepath.Join(folder, "out.csv")), "\n", 1); !slices.Equal(got, []string{"nhs_token,visit\n", ",2\n", ",3\n", ",5\n", to + ",1\n"}) {
		t.Errorf("%q", got)
	}
}

// TestTokensOfAnotherEpoch do not go, nor does a batch of another epoch arrive.
func TestTokensOfAnotherEpoch(t *testing.T) {
	h := newHolder(t)
	from, _ := h.tokens(1)
	folder := t.TempDir()
	token, err := keys.ParseToken(from)
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, filepath.Join(folder, "in.csv"), "nhs_token,visit\n"+from+",1\n")
	out := path + ".parcel"
	if _, err := h.send(path, "nhs_token", out); err != nil {
		t.Fatal(err)
	}
	token.TokenEpoch++
	write(t, path, "nhs_token,visit\n"+token.String()+",1\n")
	if _, err := h.send(path, "nhs_token", path+".2.parcel"); fault.KindOf(err) != fault.RowsRefused || !strings.Contains(err.Error(), "token_other") {
		t.Errorf("a token of another epoch: %v", err)
	}
	// The manifest says another epoch than the key holder's answer.
	archive, err := zip.OpenReader(out)
	if err != nil {
		t.Fatal(err)
	}
	var changed bytes.Buffer
	z := zip.NewWriter(&changed)
	for _, f := range archive.File {
		b, err := readZIP(f, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if f.Name == manifestName {
			b = bytes.Replace(b, []byte(fmt.Sprintf(`"token_epoch": %d`, h.records[0].Keys.TokenEpoch)), []byte(`"token_epoch": 9`), 1)
		}
		if err := writeZIP(z, f.Name, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), archive.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = h.receive(write(t, filepath.Join(folder, "changed.parcel"), changed.String()), filepath.Join(folder, "out.csv"), func(o *ReceiveOptions) {
		o.PublicKey = func(_ context.Context, _ string, _, epoch uint32) (oprf.Point, error) {
			if epoch != 9 {
				t.Errorf("epoch %d is asked for", epoch)
			}
			return h.public(0), nil
		}
	})
	if fault.KindOf(err) != fault.Disagreement || !strings.Contains(err.Error(), "of other domains than the parcel") {
		t.Errorf("a batch of another epoch: %v", err)
	}
}

// TestParcelsThatAreNotWhole: none leaves a table.
func TestParcelsThatAreNotWhole(t *testing.T) {
	h := newHolder(t)
	from, _ := h.tokens(1)
	folder := t.TempDir()
	path := write(t, filepath.Join(folder, "in.csv"), "nhs_token,visit\n"+strings.Repeat(from+","+strings.Repeat("x", 1000)+"\n", 1200))
	good := filepath.Join(folder, "good.parcel")
	if sent, err := h.send(path, "nhs_token", good); err != nil || sent.Batches != 2 {
		t.Fatalf("%+v, %v", sent, err)
	}
	parts := map[string][]byte{}
	var names []string
	archive, err := zip.OpenReader(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.File {
		if parts[f.Name], err = readZIP(f, 1<<30); err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	again := func(names []string, parts map[string][]byte) string {
		path := filepath.Join(folder, "changed.parcel")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w := zip.NewWriter(f)
		for _, name := range names {
			if err := writeZIP(w, name, bytes.NewReader(parts[name])); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		return path
	}
	with := func(name string, content []byte) map[string][]byte {
		changed := map[string][]byte{}
		for n, c := range parts {
			changed[n] = c
		}
		changed[name] = content
		return changed
	}
	document := func(old, new string) map[string][]byte {
		if !bytes.Contains(parts[manifestName], []byte(old)) {
			t.Fatalf("the manifest has no %s", old)
		}
		return with(manifestName, bytes.Replace(parts[manifestName], []byte(old), []byte(new), 1))
	}
	out := filepath.Join(folder, "out.csv")
	other := newHolder(t)
	for name, change := range map[string]func(*ReceiveOptions){
		"cut": func(o *ReceiveOptions) {
			o.Parcel = write(t, filepath.Join(folder, "cut.parcel"), read(t, good)[:1<<19])
		},
		"no parcel":            func(o *ReceiveOptions) { o.Parcel = path },
		"another table's name": func(o *ReceiveOptions) { o.Out = filepath.Join(folder, "out.parquet") },
		"the parcel itself":    func(o *ReceiveOptions) { o.Out = o.Parcel },
		"another's keys":       func(o *ReceiveOptions) { o.Keys = other.keys },
		"another domain's key": func(o *ReceiveOptions) {
			record := *o.To
			record.Keys.TokenPublicKey = other.records[1].Keys.TokenPublicKey
			o.To = &record
		},
		"another record": func(o *ReceiveOptions) { o.To = h.records[0] },
		"another sender's key": func(o *ReceiveOptions) {
			o.PublicKey = func(context.Context, string, uint32, uint32) (oprf.Point, error) { return other.public(0), nil }
		},
		"release tokens": func(o *ReceiveOptions) {
			record := *o.To
			record.Reidentify.Mode = "none"
			o.To = &record
		},
	} {
		if r, err := h.receive(good, out, change); err == nil || r != nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	_, first, err := parcel.Head(parts[names[1]])
	if err != nil {
		t.Fatal(err)
	}
	twice := document(`"rows": 1200`, fmt.Sprintf(`"rows": %d`, 2*first))
	twice[names[2]] = parts[names[1]]
	// Of other domains under the same keys: a key holder would not, but its numbers are held
	// to the parcel's all the same.
	elsewhere := *h.records[0]
	elsewhere.Keys.DomainNo = 7
	path7 := write(t, filepath.Join(folder, "in7.csv"), "nhs_token,visit\n,1\n")
	if _, err := h.send(path7, "nhs_token", path7+".parcel", func(o *SendOptions) { o.From = &elsewhere }); err != nil {
		t.Fatal(err)
	}
	other7 := func() string {
		archive, err := zip.OpenReader(path7 + ".parcel")
		if err != nil {
			t.Fatal(err)
		}
		changed := map[string][]byte{}
		var order []string
		for _, f := range archive.File {
			if changed[f.Name], err = readZIP(f, 1<<30); err != nil {
				t.Fatal(err)
			}
			order = append(order, f.Name)
		}
		if err := archive.Close(); err != nil {
			t.Fatal(err)
		}
		changed[manifestName] = bytes.Replace(changed[manifestName], []byte(`"domain_no": 7`), []byte(`"domain_no": 1`), 1)
		return again(order, changed)
	}
	second := filepath.Join(folder, "second.parcel")
	if _, err := h.send(path, "nhs_token", second); err != nil {
		t.Fatal(err)
	}
	foreign, err := zip.OpenReader(second)
	if err != nil {
		t.Fatal(err)
	}
	ofAnotherRun, err := readZIP(foreign.File[2], 1<<30)
	if err := errors.Join(err, foreign.Close()); err != nil {
		t.Fatal(err)
	}
	fewer := document(`"batches": 2`, `"batches": 1`)
	fewer[manifestName] = bytes.Replace(fewer[manifestName], []byte(`"rows": 1200`), []byte(fmt.Sprintf(`"rows": %d`, first)), 1)
	encoded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, make := range map[string]func() string{
		"a part less":               func() string { return again(names[:2], parts) },
		"a part less, and so said":  func() string { return again(names[:2], document(`"batches": 2`, `"batches": 1`)) },
		"a row less, and so said":   func() string { return again(names, document(`"rows": 1200`, `"rows": 1199`)) },
		"a part twice":              func() string { return again(names, with(names[2], parts[names[1]])) },
		"a part twice, and so said": func() string { return again(names, twice) },
		"a part of another domain":  other7,
		"a part of another run":     func() string { return again(names, with(names[2], ofAnotherRun)) },
		"a part and its rows less":  func() string { return again(names[:2], fewer) },
		"another header": func() string {
			return again(names, document(encoded("nhs_token,visit\n"), encoded("visit,nhs_token\n")))
		},
		"another grant":          func() string { return again(names, document(`"follow-up"`, `"another-one"`)) },
		"another column":         func() string { return again(names, document(`"nhs_token"`, `"visit"`)) },
		"parts exchanged":        func() string { return again([]string{names[0], names[2], names[1]}, parts) },
		"no manifest":            func() string { return again(names[1:], parts) },
		"another version":        func() string { return again(names, document("tarn.parcel/1", "tarn.parcel/2")) },
		"another epoch":          func() string { return again(names, document(`"token_epoch": 3`, `"token_epoch": 4`)) },
		"another epoch to go to": func() string { return again(names, document(`"token_epoch": 2`, `"token_epoch": 1`)) },
		"another domain":         func() string { return again(names, document(`"domain": "lake"`, `"domain": "pond"`)) },
		"another format":         func() string { return again(names, document(`"csv"`, `"xml"`)) },
	} {
		if r, err := h.receive(make(), out); err == nil || r != nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Error("a table is left")
	}
	if _, err := h.receive(again(names, parts), out); err != nil {
		t.Errorf("nothing was changed: %v", err)
	}
}

// TestSendingRefusals: nothing is asked of the key holder.
func TestSendingRefusals(t *testing.T) {
	h := newHolder(t)
	path := write(t, filepath.Join(t.TempDir(), "in.csv"), "nhs_token,visit\n")
	for name, change := range map[string]func(*SendOptions){
		"no recipient":      func(o *SendOptions) { o.Grant = &api.Grant{From: "lake", To: "registry"} },
		"another domain":    func(o *SendOptions) { o.From, o.To = o.To, o.From },
		"one domain":        func(o *SendOptions) { o.To = o.From },
		"no such column":    func(o *SendOptions) { o.Column = "other" },
		"no such table":     func(o *SendOptions) { o.In += "x" },
		"the table itself":  func(o *SendOptions) { o.Out = o.In },
		"another --invalid": func(o *SendOptions) { o.Invalid = "drop" },
		"a keyed hash": func(o *SendOptions) {
			record := *o.From
			record.Scheme = keys.SchemeKeyedHash
			o.From = &record
		},
		"an answer to another": func(o *SendOptions) {
			from, _ := h.tokens(1)
			o.In = write(t, path+"2.csv", "nhs_token\n"+from+"\n")
			o.Convert = func(context.Context, []byte, int64) ([]byte, error) { return []byte("TNEX"), nil }
		},
	} {
		if sent, err := h.send(path, "nhs_token", path+".parcel", change); err == nil || sent != nil {
			t.Errorf("%s: it is done", name)
		}
	}
	if h.calls != 0 {
		t.Error("the key holder was asked")
	}
}
