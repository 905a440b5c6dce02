package column_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
	"tarn/tokenise/column"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

type tester interface {
	Fatal(...any)
	Helper()
}

func options(t tester) column.Options {
	t.Helper()
	p, err := keys.ParseProject([]byte(`{"schema": "tarn.project/1", "name": "p", "domain": "d", "scheme": "keyed-hash", "profile": "nhs-field-dob-1", "purpose": "a test",
 "legal_basis": {}, "controllers": ["nobody"], "parties": [{"source_dataset": "north"}], "opt_outs": {"ndoo": true, "type1": false, "local": false}, "groups": [],
 "keys": {"domain_no": 7, "token_epoch": 3, "token_public_key": null, "token_kcv": null, "encoding_epoch": 2, "encoding_kcv": null}, "reidentify": {"mode": "direct"}, "expires": "2099-12-31"}`))
	if err != nil {
		t.Fatal(err)
	}
	key := func(n byte) secret.Key { return secret.New([secret.Size]byte{9, n}) }
	return column.Options{
		Project: p, Keys: &keys.KeyFile{Project: "p", Domain: "d", Scheme: "keyed-hash", TokenKey: key(1), EncodingKey: key(2), ReleaseKey: key(3)},
		In: "-", Column: "nhs", Out: "-", Threads: 2, Wall: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) },
	}
}

// tokenOf is the token's text by the letter of specification (f) and (g).
func tokenOf(t tester, digits string) string {
	o := options(t)
	token := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 7, TokenEpoch: 3}
	o.Keys.TokenKey.Derive(keys.LP(keys.Text("tarn/nhs-token/v1"), keys.Text("d"), keys.U32(3))).Derive([]byte(digits)).Use(func(b *[secret.Size]byte) { token.Value = *b })
	return token.String()
}

// run replaces the column of a text, from standard input to standard output.
func run(t tester, text []byte, change func(*column.Options)) ([]byte, *column.Result, error) {
	t.Helper()
	o := options(t)
	var out bytes.Buffer
	o.Source.Stdin, o.Stdout = bytes.NewReader(text), &out
	if change != nil {
		change(&o)
	}
	result, err := column.Run(context.Background(), o)
	return out.Bytes(), result, err
}

// cell is what a cell holds and the digits that its token is made of, if any.
type cell struct{ text, digits string }

var cells = []cell{
	{"9434765919", "9434765919"}, {"943 476 5919", "9434765919"}, {" 943-476-5870 ", "9434765870"}, {"9434765919.0", "9434765919"}, {"0101010001", "0101010001"},
	{"", ""}, {"  ", ""}, {"-", ""}, {"9434765918", ""}, {"12", ""}, {"9990000018", ""}, {"not a number", ""}, {"9.43e9", ""}, {"1111111111", ""},
}

// drawn is a random table before and after.
type drawn struct{ before, after string }

// drawCSV draws a table that is written in as many ways as there are.
func drawCSV(t *rapid.T) (d drawn) {
	delimiter := rapid.SampledFrom([]string{",", ";", "\t", "|"}).Draw(t, "delimiter")
	d.both(rapid.SampledFrom([]string{"", "\n", " \r\n\n"}).Draw(t, "blank lines"))
	d.both("id" + delimiter + `"nhs"` + delimiter + "Größe ")
	for range rapid.IntRange(0, 12).Draw(t, "rows") {
		d.both(rapid.SampledFrom([]string{"\n", "\r\n", "\n\n", "\r\n \r\n"}).Draw(t, "line end"))
		d.both(rapid.SampledFrom([]string{"1", `"1"`, "", `"a""b"`, "\"9434765919\n\"", "é"}).Draw(t, "id"))
		d.both(delimiter)
		c := rapid.SampledFrom(cells).Draw(t, "cell")
		now := ""
		if c.digits != "" {
			now = tokenOf(t, c.digits)
		}
		switch quote := rapid.SampledFrom([]string{"", `"`, ` "`}).Draw(t, "quote"); {
		case quote == "", delimiter == "\t" && quote != `"`:
			d.add(c.text, now)
		default:
			d.add(quote+c.text+`"`, quote+now+`"`)
		}
		d.both(delimiter)
		d.both(rapid.SampledFrom([]string{"x", `" y,; "`, " ", "ß", "\"\r\n\"\"\""}).Draw(t, "rest"))
	}
	d.both(rapid.SampledFrom([]string{"", "\n", "\r\n", "\n\n\n"}).Draw(t, "end"))
	return d
}

func (d *drawn) add(before, after string) { d.before, d.after = d.before+before, d.after+after }
func (d *drawn) both(text string)         { d.add(text, text) }

func drawNDJSON(t *rapid.T) (d drawn) {
	d.both("{\"id\":1,\"nhs\":\"\"}")
	for range rapid.IntRange(0, 12).Draw(t, "rows") {
		d.both(rapid.SampledFrom([]string{"\n", "\r\n", "\n\n"}).Draw(t, "line end"))
		d.both(rapid.SampledFrom([]string{`{"id" : "é\n" , `, ` {"id":[9434765919,{"nhs":"9434765919"}],`, `{`}).Draw(t, "begin"))
		c := rapid.SampledFrom(cells).Draw(t, "cell")
		now := "null"
		switch {
		case c.digits != "":
			now = `"` + tokenOf(t, c.digits) + `"`
		case c.text == "":
			now = `""`
		}
		name := rapid.SampledFrom([]string{`"nhs"`, `"\u006ehs" `, `"nhs"  `}).Draw(t, "name") + ":"
		switch rapid.IntRange(0, 3).Draw(t, "value") {
		case 0:
			d.add(name+"null", name+"null")
		case 1:
			d.add(name+"9434765919", name+`"`+tokenOf(t, "9434765919")+`"`)
		default:
			d.add(name+`"`+c.text+`"`, name+now)
		}
		d.both(rapid.SampledFrom([]string{"}", ` , "z":1e400}`, `,"z":"\u00e9"}  `}).Draw(t, "rest"))
	}
	d.both(rapid.SampledFrom([]string{"", "\n"}).Draw(t, "end"))
	return d
}

// TestAllElseIsUntouched: what comes out is what went in with only the cells
// changed - so that putting the cells back gives the input - in every encoding,
// from every kind of stream and on any number of threads.
func TestAllElseIsUntouched(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d drawn
		json := rapid.Bool().Draw(t, "NDJSON")
		if json {
			d = drawNDJSON(t)
		} else {
			d = drawCSV(t)
		}
		encode := func(text string) []byte { return []byte(text) }
		encoding := source.EncodingAuto
		switch rapid.SampledFrom([]string{"plain", "mark", "utf-16le", "utf-16be", "windows-1252"}).Draw(t, "encoding") {
		case "mark":
			encode = func(text string) []byte { return []byte("\ufeff" + text) }
		case "utf-16le":
			encode = wide(unicode.LittleEndian)
		case "utf-16be":
			encode = wide(unicode.BigEndian)
		case "windows-1252":
			if !json {
				encoding = source.EncodingWindows1252
				encode = func(text string) []byte {
					b, err := charmap.Windows1252.NewEncoder().Bytes([]byte(text))
					if err != nil {
						t.Fatal(err)
					}
					return b
				}
			}
		}
		for _, threads := range []int{1, 3} {
			out, result, err := run(t, encode(d.before), func(o *column.Options) { o.Threads, o.Source.Encoding = threads, encoding })
			if err != nil {
				t.Fatalf("%v for %q", err, d.before)
			}
			if !bytes.Equal(out, encode(d.after)) {
				t.Fatalf("%q\nbecame %q\nwant   %q", encode(d.before), out, encode(d.after))
			}
			if n := int64(strings.Count(d.after, "tarn1")); result.Tokens != n {
				t.Fatalf("%d tokens counted of %d", result.Tokens, n)
			}
		}
	})
}

func wide(order unicode.Endianness) func(string) []byte {
	return func(text string) []byte {
		b, err := unicode.UTF16(order, unicode.UseBOM).NewEncoder().Bytes([]byte(text))
		if err != nil {
			panic(err) // the texts of these tests are UTF-8
		}
		return b
	}
}

// canaries returns n valid numbers, none of which was issued.
func canaries(n int) (numbers []string) {
	for i := 0; len(numbers) < n; i++ {
		nine := [9]byte([]byte(fmt.Sprintf("%09d", 900_000_000+i*37)))
		if digit, ok := nhsnumber.CheckDigit(nine); ok {
			numbers = append(numbers, string(nine[:])+string(digit))
		}
	}
	return numbers
}

// leaks returns the numbers that are in any of the texts, as digits in a row
// or grouped.
func leaks(numbers []string, texts ...[]byte) (found []string) {
	wanted := map[string]bool{}
	for _, n := range numbers {
		wanted[n] = true
	}
	for _, text := range texts {
		digits := bytes.ReplaceAll(bytes.ReplaceAll(text, []byte(" "), nil), []byte("-"), nil)
		for i := 0; i+10 <= len(digits); i++ {
			if wanted[string(digits[i:i+10])] {
				found = append(found, string(digits[i:i+10]))
			}
		}
	}
	return found
}

// TestNoNumberIsLeft: of 5,000 numbers in a column, in rows good and bad, none
// is in the output, in the quarantine or in an error.
func TestNoNumberIsLeft(t *testing.T) {
	numbers := canaries(5000)
	var csv, json strings.Builder
	csv.WriteString("id,nhs,note\n")
	json.WriteString(strings.Repeat(`{"id":0,"nhs":null,"note":""}`+"\n", 1000)) // lists further down do not make a column of lists
	for i, n := range numbers {
		wrong := n[:9] + string('0'+(n[9]-'0'+1)%10)
		csv.WriteString([]string{
			fmt.Sprintf("%d,%s,x\n", i, n), fmt.Sprintf("%d,\"%s %s %s\",\"two\nlines\"\n", i, n[:3], n[3:6], n[6:]), fmt.Sprintf("%d,%s,x\n", i, wrong),
			fmt.Sprintf("%d,%s\n", i, n), fmt.Sprintf("%d,%s,x,y\n", i, n), fmt.Sprintf("%d,\"%s,x\n", i, n), fmt.Sprintf("%d,%s,\"x\"y\n", i, n), fmt.Sprintf("%d,%s and %s,x\n", i, n, n),
			fmt.Sprintf("%d,%s\x00,\xff\n", i, n), fmt.Sprintf("%d,%s,%s\n", i, n, strings.Repeat("x", 3000)),
		}[i%10])
		json.WriteString([]string{
			fmt.Sprintf(`{"id":%d,"nhs":%s,"note":"x"}`, i, n), fmt.Sprintf(`{"id":%d,"nhs":"%s"}`, i, n), fmt.Sprintf(`{"nhs":["%s"]}`, n), fmt.Sprintf(`{"nhs":"%s","nhs":"%s"}`, n, n),
			fmt.Sprintf(`{"nhs":"%s"`, n), fmt.Sprintf(`{"nhs":"%s","id":%c"}`, n, 0xff), fmt.Sprintf(`{"\u006ehs":"%s"} {"nhs":"%s"}`, n, n), fmt.Sprintf(`["%s"]`, n), fmt.Sprintf(`{"nhs":%s0}`, n), fmt.Sprintf(`{"n\u0068s":"%s","id":"%s"}`, n, strings.Repeat("x", 3000)),
		}[i%10] + "\n")
	}
	for name, text := range map[string]string{"in.csv": csv.String(), "in.ndjson": json.String()} {
		if found := leaks(numbers, []byte(text)); len(found) < 4000 {
			t.Fatalf("the search is blind: it finds %d numbers in the input", len(found))
		}
		quarantine := filepath.Join(t.TempDir(), "refused.csv")
		out, result, err := run(t, []byte(text), func(o *column.Options) { o.Quarantine, o.Source.MaxRowBytes = quarantine, 2000 })
		if err != nil {
			t.Fatal(err)
		}
		listed, err := os.ReadFile(quarantine)
		if err != nil {
			t.Fatal(err)
		}
		if found := leaks(numbers, out, listed); len(found) > 0 {
			t.Errorf("%s: %d numbers are left", name, len(found))
		}
		if result.Tokens < 900 || len(result.LeftOut) < 2 || int64(bytes.Count(listed, []byte("\n")))-1 != sum(result.LeftOut)+sum(result.Emptied) {
			t.Errorf("%s: %+v with %d quarantined", name, result, bytes.Count(listed, []byte("\n"))-1)
		}
		_, _, err = run(t, []byte(text), func(o *column.Options) { o.Invalid, o.Source.MaxRowBytes = column.InvalidError, 2000 })
		if fault.KindOf(err) != fault.RowsRefused || len(leaks(numbers, []byte(err.Error()))) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sum(counts map[reason.Code]int64) (n int64) {
	for _, c := range slices.Collect(maps.Values(counts)) {
		n += c
	}
	return n
}

func TestRefusals(t *testing.T) {
	good, bad := "id,nhs\n1,9434765919\n2,\n", "id,nhs\n1,9434765919\n2,9434765918\n3,9990000018\n4,0101010001\n"
	folder := t.TempDir()
	path := filepath.Join(folder, "in.csv")
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text   string
		change func(*column.Options)
		kind   fault.Kind
		want   string
	}{
		"invalid cells":      {bad, func(o *column.Options) { o.Invalid = column.InvalidError }, fault.RowsRefused, "2 of 4 rows cannot be passed on (row 2 nhs_number_check_digit, row 3 nhs_number_test_range)"},
		"a row that is none": {good + "3\n", nil, fault.RowsRefused, "1 of 3 rows cannot be passed on (row 3 row_malformed)"},
		"another domain":     {good, func(o *column.Options) { o.Domain = "elsewhere" }, fault.Disagreement, "which is d"},
		"another key file":   {good, func(o *column.Options) { o.Keys.Domain = "elsewhere" }, fault.Disagreement, "domain is elsewhere in the keys"},
		"no such column":     {good, func(o *column.Options) { o.Column = "NHS" }, fault.Usage, "no column of the name"},
		"a column of lists":  {`{"nhs":[1],"id":1}`, nil, fault.Usage, "objects or lists"},
		"no such mode":       {good, func(o *column.Options) { o.Invalid = "keep" }, fault.Usage, "--invalid"},
		"the project has expired": {good, func(o *column.Options) {
			o.Wall = func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }
		}, fault.Policy, "expired"},
		"a name of another format": {good, func(o *column.Options) { o.Out = filepath.Join(folder, "out.parquet") }, fault.Usage, "another format"},
		"itself":                   {"", func(o *column.Options) { o.In, o.Out = path, path }, fault.Usage, "it is the input"},
		"no folder":                {good, func(o *column.Options) { o.Out = filepath.Join(folder, "no", "out.csv") }, fault.Internal, "writing"},
		"half a character":         {string(wide(unicode.LittleEndian)(good+"3,")) + "\x00\xd8" + string(wide(unicode.LittleEndian)("\n")[2:]), nil, fault.RowsRefused, "row 3 row_encoding"},
	} {
		out := filepath.Join(folder, "out.csv")
		_, _, err := run(t, []byte(c.text), func(o *column.Options) {
			if o.Out = out; c.change != nil {
				c.change(o)
			}
		})
		if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want kind %d and %q", name, err, c.kind, c.want)
		}
		if names, err := filepath.Glob(filepath.Join(folder, "*")); err != nil || len(names) != 1 {
			t.Fatalf("%s left %q", name, names)
		}
	}
	out, result, err := run(t, []byte(bad), func(o *column.Options) { o.Domain = "d"; o.Keys.Test = true })
	want := "id,nhs\n1," + tokenOf(t, "9434765919") + "\n2,\n3," + tokenOf(t, "9990000018") + "\n4," + tokenOf(t, "0101010001") + "\n"
	if err != nil || string(out) != want || result.Noted[reason.NHSNumberTestRange] != 1 || result.Noted[reason.NHSNumberCHI] != 1 || result.Emptied[reason.NHSNumberCheckDigit] != 1 {
		t.Errorf("%v: %q, %+v", err, out, result)
	}
}

// TestCompressionFollowsTheName, whatever that of the input is.
func TestCompressionFollowsTheName(t *testing.T) {
	text := "id,nhs\n" + strings.Repeat("1,9434765919\n", 9000)
	want := strings.ReplaceAll(text, "9434765919", tokenOf(t, "9434765919"))
	folder := t.TempDir()
	var first []byte
	for _, name := range []string{"out.csv", "out.csv.gz", "out.csv.zst"} {
		path := filepath.Join(folder, name)
		if _, _, err := run(t, []byte(text), func(o *column.Options) { o.Out = path }); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = bytes.NewReader(b)
		switch filepath.Ext(name) {
		case ".gz":
			r, err = gzip.NewReader(r)
			first = b
		case ".zst":
			r, err = zstd.NewReader(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("%s: %v, %d bytes, want %d", name, err, len(got), len(want))
		}
	}
	// A compressed input, and the same bytes again.
	path := filepath.Join(folder, "again.csv.gz")
	if _, result, err := run(t, gz(t, text), func(o *column.Options) { o.Out, o.Threads = path, 1 }); err != nil || result.Input.Compression != "gzip" {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, first) {
		t.Errorf("%v: another run wrote other bytes", err)
	}
	// A stream that ends too early leaves nothing.
	whole := gz(t, text)
	_, _, err := run(t, whole[:len(whole)-9], func(o *column.Options) { o.Out = filepath.Join(folder, "cut.csv") })
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "ends too early") {
		t.Errorf("a stream that was cut: %v", err)
	}
	if names, err := filepath.Glob(filepath.Join(folder, "*cut*")); err != nil || len(names) > 0 {
		t.Errorf("it left %q", names)
	}
}

func gz(t tester, text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestItEndsWithItsContext, even while standard input waits.
func TestItEndsWithItsContext(t *testing.T) {
	in, feed := io.Pipe()
	defer func() { _ = feed.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	o := options(t)
	o.Out = filepath.Join(t.TempDir(), "out.csv")
	o.Source.Stdin = in
	go func() {
		_, _ = io.WriteString(feed, "id,nhs\n"+strings.Repeat("1,9434765919\n", 50_000))
		cancel()
	}()
	if _, err := column.Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if names, err := filepath.Glob(filepath.Join(filepath.Dir(o.Out), "*")); err != nil || len(names) > 0 {
		t.Errorf("it left %q", names)
	}
}

func BenchmarkColumn(b *testing.B) {
	var text strings.Builder
	text.WriteString("id,nhs,given_name,family_name,date_of_birth,sex,postcode,note\n")
	for i, n := range canaries(100_000) {
		fmt.Fprintf(&text, "%d,%s,Quetzalina,Xylander,1973-10-22,2,SW1A 2AA,nothing\n", i, n)
	}
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprint(threads), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(text.Len()))
			for b.Loop() {
				o := options(b)
				o.Threads, o.Stdout, o.Source.Stdin = threads, io.Discard, strings.NewReader(text.String())
				if _, err := column.Run(context.Background(), o); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// TestColumnStopsAtItsBudget: rows are asked for before they get tokens, in every
// format; where they are refused there is no table. Canaries are told.
func TestColumnStopsAtItsBudget(t *testing.T) {
	var text strings.Builder
	text.WriteString("nhs,n\n")
	const rows = 20_000
	for i := range rows {
		number := "9434765919"
		if i%1000 == 0 {
			number = "9990000018"
		}
		fmt.Fprintf(&text, "%s,%d\n", number, i)
	}
	for _, budget := range []int64{0, rows / 2, rows} {
		taken, canaries := int64(0), int64(0)
		folder := t.TempDir()
		_, result, err := run(t, []byte(text.String()), func(o *column.Options) {
			o.Out = filepath.Join(folder, "out.csv")
			o.Use = func(_ context.Context, rows int64) error {
				if taken+rows > budget {
					return fault.New(fault.Policy, "asking for rows", "the budget is used up", "")
				}
				taken += rows
				return nil
			}
			o.Canaries = func(rows int64) { canaries += rows }
		})
		_, there := os.Stat(filepath.Join(folder, "out.csv"))
		if budget < rows {
			if fault.KindOf(err) != fault.Policy || there == nil || taken > budget {
				t.Errorf("with a budget of %d: %d taken, %v, the table is there: %v", budget, taken, err, there == nil)
			}
			continue
		}
		if err != nil || there != nil || taken != rows || canaries != rows/1000 || result.Rows != rows {
			t.Errorf("with a budget of all rows: %d taken, %d canaries, %v, %v", taken, canaries, err, there)
		}
	}
}
