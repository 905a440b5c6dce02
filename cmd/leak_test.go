package cmd_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"golang.org/x/sys/unix"

	"tarn/bench/leak"
)

// strangers are 5,000 people who do not exist: scenario 12 of the reliability
// tests. Whatever happens to them, nothing of them may be found but where
// docs/formats.md says.
var strangers = sync.OnceValue(func() []leak.Person { return leak.People(5000, 12) })

var strangersScanner = sync.OnceValue(func() *leak.Scanner { return leak.NewScanner(strangers()) })

// where says which kinds may be in a place.
type where func(place string) []leak.Kind

// nowhere is for what may hold nothing of anybody.
func nowhere(string) []leak.Kind { return nil }

// asDocumented is what docs/formats.md and docs/tokeniser.md allow: source ids in the
// crosswalk, and in what a run keeps while it lasts.
func asDocumented(place string) []leak.Kind {
	folder, name, _ := strings.Cut(place, "/")
	if strings.HasSuffix(place, ".crosswalk.parquet") || strings.HasSuffix(folder, ".checkpoint") && name != "" {
		return []leak.Kind{leak.ID}
	}
	return nil
}

// astray returns what was found where it may not be.
func astray(found []leak.Finding, allowed where) (wrong []leak.Finding) {
	for _, f := range found {
		if !slices.Contains(allowed(f.Place), f.Kind) {
			wrong = append(wrong, f)
		}
	}
	return wrong
}

// noneAstray fails where something is found that may not be there.
func noneAstray(t *testing.T, what string, found []leak.Finding, allowed where) {
	t.Helper()
	if wrong := astray(found, allowed); len(wrong) > 0 {
		t.Errorf("%s: %d values are where they may not be; the first: %v", what, len(wrong), wrong[:min(len(wrong), 5)])
	}
}

func noneInTree(t *testing.T, what, folder string, allowed where) {
	t.Helper()
	found, err := strangersScanner().Tree(folder)
	if err != nil {
		t.Fatal(err)
	}
	noneAstray(t, what, slices.DeleteFunc(found, func(f leak.Finding) bool { return byChance(found, f) }), allowed)
}

// byChance reports whether a finding is what random bytes give now and then. An escrow
// holds a sealed number for each row, and before each its length: three zero bytes, after
// which one of 256 begins as a number does in eight bytes. 5,000 of them and 5,000 people
// make that one of those people's once in some 40,000 files, and three times never: what
// writes numbers writes all of them.
func byChance(found []leak.Finding, f leak.Finding) bool {
	const few = 3
	binary := func(f leak.Finding) bool {
		return f.Kind == leak.Number && (strings.Contains(f.Form, "64-bit") || strings.Contains(f.Form, "floating-point"))
	}
	if !strings.HasSuffix(f.Place, ".escrow") || !binary(f) {
		return false
	}
	people := map[int]bool{}
	for _, other := range found {
		if other.Place == f.Place && binary(other) {
			people[other.Person] = true
		}
	}
	return len(people) < few
}

// leakage is a folder of people's tables, and the binaries.
type leakage struct {
	bin    string
	people string // project.json and keys.json, of a region north
	tables string
	core   string // the folder that every program runs in: where the kernel would put a core file
	header []string
}

func newLeakage(t *testing.T) *leakage {
	t.Helper()
	l := &leakage{bin: t.TempDir(), people: filepath.Join(t.TempDir(), "people"), tables: t.TempDir(), core: t.TempDir(),
		header: []string{"unique_id", "nhs_number", "given_name", "family_name", "date_of_birth", "sex", "postcode", "ethnicity", "deprivation_decile", "age_band"}}
	build(t, l.bin)
	if code, said := output(t, filepath.Join(l.bin, "tarn"), "synth", "--people", "10", "--parties", "1", "--overlap", "0", "--seed", "9", "--keys", "--out", l.people); code != 0 {
		t.Fatalf("tarn synth: exit %d: %s", code, said)
	}
	if err := os.Remove(filepath.Join(l.people, "north.csv")); err != nil {
		t.Fatal(err)
	}
	// The project has an escrow, so that every run seals numbers as well.
	record, err := os.ReadFile(filepath.Join(l.people, "project.json"))
	if err != nil {
		t.Fatal(err)
	}
	sealed := bytes.Replace(record, []byte(`"token_epoch": 1,`), []byte(`"token_epoch": 1, "escrow_public_key": "`+escrowKeyOfNobody(t)+`",`), 1)
	if err := os.WriteFile(filepath.Join(l.people, "sealed.json"), sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(l.people, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	keys := regexp.MustCompile(`"[0-9a-f]{64}"`).FindAllString(string(b), -1)
	if len(keys) < 3 {
		t.Fatalf("%d keys were found in keys.json", len(keys))
	}
	for _, text := range keys {
		key, err := hex.DecodeString(strings.Trim(text, `"`))
		if err != nil {
			t.Fatal(err)
		}
		strangersScanner().Secret(key)
	}
	l.writeTables(t)
	return l
}

func cells(i int, p leak.Person) []string {
	return []string{p.ID, p.Number, p.Given, p.Family, p.Birth.Format(time.DateOnly), strconv.Itoa(1 + i%2), p.Postcode, "White", "3", "90+"}
}

// writeTables writes the people in every form, and tables that are wrong in every
// way.
func (l *leakage) writeTables(t *testing.T) {
	t.Helper()
	put := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(l.tables, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var table, headless, ndjson, semicolons, keyed bytes.Buffer
	header := strings.Join(l.header, ",") + "\n"
	table.WriteString(header)
	semicolons.WriteString(strings.ReplaceAll(header, ",", ";"))
	keyed.WriteString("{")
	for i, p := range strangers() {
		row := cells(i, p)
		line := strings.Join(row, ",") + "\n"
		table.WriteString(line)
		headless.WriteString(line)
		semicolons.WriteString(strings.ReplaceAll(line, ",", ";"))
		object := map[string]string{}
		for c, name := range l.header {
			object[name] = row[c]
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		ndjson.Write(append(text, '\n'))
		fmt.Fprintf(&keyed, "%q:%s,", p.Number, text)
	}
	put("north.csv", table.Bytes())
	put("headless.csv", headless.Bytes())
	put("semicolons.csv", semicolons.Bytes())
	put("north.ndjson", ndjson.Bytes())
	put("keyed.json", append(bytes.TrimSuffix(keyed.Bytes(), []byte(",")), '}'))
	put("north.parquet", l.parquet(t, strangers()))
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(table.Bytes())
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	put("north.csv.gz", packed.Bytes())
	put("cut.csv.gz", packed.Bytes()[:packed.Len()/2])
	put("cut.parquet", l.parquet(t, strangers())[:100_000])
	put("utf16.csv", utf16Text(table.String()))
	put("refused.csv", l.refused())
	put("numbers.csv", numbersAsIDs(header))
	put("quotes.csv", []byte(header+"\""+headless.String()))
	put("wide.csv", []byte(header+strings.ReplaceAll(headless.String(), "White", strings.Repeat("White ", 3000))[:3<<20]))
	put("twice.csv", []byte("unique_id,"+strangers()[0].Number+","+strangers()[0].Number+"\n"+headless.String()))
	// A header whose names are values.
	put("named.csv", []byte(strings.Join(cells(0, strangers()[0]), ",")+"\n"+headless.String()))
	put("people.toml", []byte(strangers()[1].Number+" = \""+strangers()[1].Family+"\"\n"))
	put("people.map.toml", fmt.Appendf(nil, "schema = \"tarn.column-map/1\"\nconfirmed = true\nunique_id = %q\n[columns]\n%q = %q\n", strangers()[2].ID, strangers()[2].Family, strangers()[2].Number))
	for _, document := range []string{"project", "keys"} {
		b, err := os.ReadFile(filepath.Join(l.people, document+".json"))
		if err != nil {
			t.Fatal(err)
		}
		p := strangers()[3]
		put("member."+document+".json", bytes.Replace(b, []byte("{"), fmt.Appendf(nil, "{%q: %q,", p.Number, p.Family), 1))
		put("type."+document+".json", bytes.Replace(b, []byte(`"domain": "synthetic"`), fmt.Appendf(nil, `"domain": {%q: %q}`, p.Family, p.Number), 1))
		put("named."+document+".json", bytes.Replace(b, []byte(`"domain": "synthetic"`), fmt.Appendf(nil, `"domain": %q`, p.Number), 1))
		put("broken."+document+".json", bytes.Replace(b, []byte(`"domain": "synthetic"`), fmt.Appendf(nil, `"domain": %q %q`, p.Number, p.Postcode), 1))
		put("purpose."+document+".json", bytes.Replace(b, []byte("synthetic people, none"), fmt.Appendf(nil, "for %s, none", p.Number), 1))
	}
}

func utf16Text(text string) (out []byte) {
	out = []byte{0xff, 0xfe}
	for i := range len(text) { // ASCII
		out = append(out, text[i], 0)
	}
	return out
}

// refused is a table in which every row is refused, or loses a field, for some
// reason; each row holds somebody.
func (l *leakage) refused() []byte {
	var b bytes.Buffer
	b.WriteString(strings.Join(l.header, ",") + "\n")
	for i, p := range strangers() {
		row := cells(i, p)
		switch i % 16 {
		case 0: // row_malformed
			row = append(row, p.Number, p.Family)
		case 1: // row_encoding
			row[2] += "\xff\xfe"
		case 2: // row_too_long
			if i < 64 {
				row[3] = strings.Repeat(p.Family, 200_000)
			}
		case 3: // row_nothing_linkable
			row = []string{p.ID, "x" + p.Number, "", "", "x" + p.Birth.Format(time.DateOnly), "", "x" + p.Postcode, "", "", ""}
		case 4: // unique_id_duplicate
			row[0] = strangers()[i-1].ID
		case 5: // unique_id_empty
			row[0] = ""
		case 6:
			row[1] = p.Number + "0" // nhs_number_length
		case 7: // nhs_number_check_digit
			row[1] = p.Number[:9] + string('0'+(p.Number[9]-'0'+1)%10)
		case 8:
			row[1], row[2] = "9999999999", p.Given+" "+p.Number // nhs_number_repeated
		case 9:
			row[1], row[3] = "9990000018", p.Family+" "+p.Postcode // nhs_number_test_range
		case 10:
			row[4] = p.Birth.Format("2006-02-31") + p.Number // date_of_birth_invalid
		case 11:
			row[4], row[6] = "1900-01-01", p.Postcode+" "+p.Number // date_of_birth_default, postcode_invalid
		case 12:
			row[4] = "2999-01-01" // date_of_birth_future
		case 13:
			row[6] = "ZZ99 3VZ" // postcode_pseudo
		case 14:
			row[2], row[3] = "TEST", "DO NOT USE "+p.Family // name_junk
		case 15:
			row[5] = p.Number // sex_unknown
		}
		b.WriteString(strings.Join(row, ",") + "\n")
	}
	return b.Bytes()
}

func numbersAsIDs(header string) []byte {
	var b bytes.Buffer
	b.WriteString(header)
	for i, p := range strangers() {
		row := cells(i, p)
		row[0] = p.Number
		b.WriteString(strings.Join(row, ",") + "\n")
	}
	return b.Bytes()
}

// parquet writes people as a table of text.
func (l *leakage) parquet(t *testing.T, some []leak.Person) []byte {
	t.Helper()
	var fields []arrow.Field
	for _, name := range l.header {
		fields = append(fields, arrow.Field{Name: name, Type: arrow.BinaryTypes.String})
	}
	schema := arrow.NewSchema(fields, nil)
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	for i, p := range some {
		for c, cell := range cells(i, p) {
			builder.Field(c).(*array.StringBuilder).Append(cell)
		}
	}
	record := builder.NewRecordBatch()
	defer record.Release()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy)), pqarrow.DefaultWriterProps())
	if err == nil {
		err = w.Write(record)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// happens is one run of a program on people.
type happens struct {
	binary string
	in     io.Reader
	env    []string
	args   []string
}

func (l *leakage) command(h happens) *exec.Cmd {
	c := exec.Command(h.binary, h.args...)
	c.Dir = l.core
	c.Env = append(append(os.Environ(), "SOURCE_DATE_EPOCH=1767225600", "GOTRACEBACK=crash"), h.env...)
	c.Stdin = h.in
	return c
}

// run runs a program, looks at what it says, and wants an exit code; any but 0 where
// code is negative.
func (l *leakage) run(t *testing.T, code int, h happens) (said string) {
	t.Helper()
	c := l.command(h)
	var both bytes.Buffer
	c.Stdout, c.Stderr = &both, &both
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	l.judged(t, code, c, both.String(), h)
	return both.String()
}

func (l *leakage) judged(t *testing.T, code int, c *exec.Cmd, said string, h happens) {
	t.Helper()
	if got := c.ProcessState.ExitCode(); got != code && code >= 0 || code < 0 && got == 0 {
		t.Errorf("%v: exit %d, want %d: %s", h.args, got, code, said)
	}
	noneAstray(t, fmt.Sprintf("what %v says", h.args), strangersScanner().Text("output", said), nowhere)
}

func (l *leakage) tokeniser() string { return filepath.Join(l.bin, "tokeniser") }

func (l *leakage) table(name string) string { return filepath.Join(l.tables, name) }

// encode is a run of the tokeniser into a folder.
func (l *leakage) encode(in, folder string, more ...string) happens {
	return happens{binary: l.tokeniser(), args: append([]string{"run", "--project", filepath.Join(l.people, "sealed.json"), "--key-file", filepath.Join(l.people, "keys.json"),
		"--in", in, "--source", "north", "--confirm-map", "--out", filepath.Join(folder, "north.parquet"), "--log-level", "debug"}, more...)}
}

// some is the first half of what there is, and in full all.
func some[T any](all ...T) []T {
	if leaksInFull {
		return all
	}
	return all[:(len(all)+1)/2]
}

func all(folder string) []string {
	return []string{"--quarantine", filepath.Join(folder, "refused.csv"), "--warnings", filepath.Join(folder, "warnings.csv"), "--groups", filepath.Join(folder, "groups.parquet")}
}

// unlimited lets the programs that the test starts leave core files, as far as they
// do not forbid it.
func unlimited(t *testing.T) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: before.Max, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &before) })
}

// noCore wants no program to have left a core file where the kernel puts them here.
func (l *leakage) noCore(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(l.core)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the folder in which programs ran: %v %v", left, err)
	}
}

// TestNothingLeaks is scenario 12 of the reliability tests: 5,000 people through
// everything that can happen to a table, and at every entrance of the key holder, and
// none of them in what is said, nor in any file but those that are for them. Make test
// runs a part of it, make test-heavy all.
func TestNothingLeaks(t *testing.T) {
	unlimited(t)
	l := newLeakage(t)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	t.Run("done", l.testDone)
	t.Run("refused", l.testRefused)
	t.Run("wrong", l.testWrong)
	t.Run("profile", l.testProfile)
	t.Run("column", l.testColumn)
	t.Run("relationships", l.testRelationships)
	t.Run("killed", l.testKilled)
	t.Run("no room", l.testNoRoom)
	t.Run("panic", l.testPanic)
	t.Run("planted", l.testPlanted)
	t.Run("key holder", l.testKeyholder)
	t.Run("region", l.testRegion)
	if leaksInFull {
		t.Run("core", l.testCore)
	}
	noneInTree(t, "the folder of temporary files", temporary, nowhere)
	l.noCore(t)
}

func (l *leakage) testDone(t *testing.T) {
	for _, in := range some("north.csv", "north.ndjson", "north.parquet", "semicolons.csv", "north.csv.gz", "utf16.csv") {
		folder := t.TempDir()
		said := l.run(t, 0, l.encode(l.table(in), folder, append(all(folder), "--log-format", "json")...))
		if !strings.Contains(said, "5,000 rows read, 5,000 encoded, 0 refused") {
			t.Errorf("%s: not everybody was encoded: %s", in, said)
		}
		said = l.run(t, 0, happens{binary: l.tokeniser(), args: []string{"escrow", "import", filepath.Join(folder, "north.escrow"), "--store", filepath.Join(folder, "region")}})
		if !strings.Contains(said, "5,000 tokens: 5,000 new") {
			t.Errorf("%s: not everybody is in the escrow: %s", in, said)
		}
		noneInTree(t, in, folder, asDocumented)
		found, err := strangersScanner().Tree(filepath.Join(folder, "north.crosswalk.parquet"))
		ids := map[int]bool{}
		for _, f := range found {
			ids[f.Person] = ids[f.Person] || f.Kind == leak.ID
		}
		if err != nil || len(ids) != 5000 {
			t.Errorf("%s: %d people were found in the crosswalk (%v): the search is blind", in, len(ids), err)
		}
	}
	folder := t.TempDir()
	l.run(t, 0, l.encode(l.table("north.csv"), folder, "--json", "--part-rows", "1000", "--out", filepath.Join(folder, "parts")))
	noneInTree(t, "parts", folder, asDocumented)
}

func (l *leakage) testRefused(t *testing.T) {
	folder := t.TempDir()
	said := l.run(t, 3, l.encode(l.table("refused.csv"), folder, append(all(folder), "--encoding", "utf-8")...))
	noneInTree(t, "refused", folder, asDocumented)
	folder = t.TempDir()
	said += l.run(t, 0, l.encode(l.table("refused.csv"), folder, append(all(folder), "--max-refused", "100%", "--encoding", "utf-8")...))
	noneInTree(t, "refused, and gone on", folder, asDocumented)
	for _, name := range []string{"refused.csv", "warnings.csv"} {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		said += string(b)
	}
	for _, code := range []string{"row_malformed", "row_encoding", "row_too_long", "row_nothing_linkable", "unique_id_duplicate", "unique_id_empty", "nhs_number_length", "nhs_number_check_digit",
		"nhs_number_repeated", "nhs_number_test_range", "date_of_birth_invalid", "date_of_birth_default", "date_of_birth_future", "postcode_invalid", "postcode_pseudo", "name_junk", "sex_unknown"} {
		if !strings.Contains(said, code) {
			t.Errorf("no row was refused, nor lost a field, for %s", code)
		}
	}
	folder = t.TempDir()
	l.run(t, 2, l.encode(l.table("numbers.csv"), folder))
	noneInTree(t, "numbers as ids", folder, nowhere)
}

// testWrong gives what was meant for something else, and values where names belong.
func (l *leakage) testWrong(t *testing.T) {
	p := strangers()[4]
	project, keys := filepath.Join(l.people, "project.json"), filepath.Join(l.people, "keys.json")
	folder := t.TempDir()
	out := filepath.Join(folder, "north.parquet")
	for _, in := range []string{"headless.csv", "cut.csv.gz", "cut.parquet", "twice.csv", "named.csv", "keyed.json", "people.toml"} {
		l.run(t, 2, l.encode(l.table(in), folder))
		l.run(t, -1, happens{binary: l.tokeniser(), args: []string{"column", "--project", project, "--key-file", keys, "--in", l.table(in), "--column", "nhs_number", "--out", filepath.Join(folder, "out"+filepath.Ext(in))}})
	}
	l.run(t, 0, l.encode(l.table("wide.csv"), folder, "--max-refused", "100%"))
	l.run(t, 0, l.encode(l.table("quotes.csv"), folder, "--max-refused", "100%"))
	for _, document := range []string{"north.csv", "north.ndjson", "north.parquet", "keyed.json", "people.toml"} {
		for _, args := range [][]string{
			{"run", "--project", l.table(document), "--key-file", keys, "--in", l.table("north.csv"), "--out", out},
			{"run", "--project", project, "--key-file", l.table(document), "--in", l.table("north.csv"), "--out", out},
			{"run", "--project", project, "--key-file", keys, "--in", l.table("north.csv"), "--map", l.table(document), "--out", out},
			{"run", "--schema", l.table(document), "--secret-file", l.table("north.csv"), "--in", l.table("north.csv"), "--format", "clks.json", "--out", out},
			{"encoding", "check", l.table(document)},
			{"keys", "new", "--project", l.table(document), "--out", filepath.Join(folder, "keys.json")},
			{"enrol", "--keyholder", "https://127.0.0.1:1", "--code-file", l.table(document), "--out", filepath.Join(folder, "enrolled")},
			{"run", "--project", project, "--as", l.table(document), "--in", l.table("north.csv"), "--out", out},
		} {
			l.run(t, -1, happens{binary: l.tokeniser(), args: args})
		}
	}
	for _, wrong := range []string{"member", "type", "named", "broken", "purpose"} {
		l.run(t, 2, happens{binary: l.tokeniser(), args: []string{"run", "--project", l.table(wrong + ".project.json"), "--key-file", keys, "--in", l.table("north.csv"), "--out", out}})
		if wrong == "purpose" {
			continue
		}
		key := l.table(wrong + ".keys.json")
		l.run(t, -1, happens{binary: l.tokeniser(), args: []string{"run", "--project", project, "--key-file", key, "--in", l.table("north.csv"), "--out", out}})
	}
	l.run(t, 2, l.encode(l.table("north.csv"), folder, "--map", l.table("people.map.toml")))
	for _, value := range []string{p.Number, p.Family, p.Birth.Format(time.DateOnly), p.Postcode, "--" + p.Number, "-" + p.Family} {
		for _, args := range [][]string{
			{value}, {"run", value}, {"run", "--" + value}, {"run", "--threads", value}, {"run", "--max-refused", value}, {"run", "--delimiter", value, "--in", "x"}, {"run", "--encoding", value, "--in", "x"},
			{"run", "--project", project, "--key-file", keys, "--in", l.table("north.csv"), "--source", value, "--out", out},
			{"run", "--project", project, "--key-file", keys, "--in", l.table("north.csv"), "--source", "north", "--unique-id", value, "--out", out},
			{"column", "--project", project, "--key-file", keys, "--in", l.table("north.csv"), "--column", value, "--out", filepath.Join(folder, "c.csv")},
			{"column", "--project", project, "--key-file", keys, "--in", l.table("north.csv"), "--column", "nhs_number", "--domain", value, "--out", filepath.Join(folder, "c.csv")},
			{"--log-level", value, "run"}, {"--log-format", value, "run"}, {"encoding", "show", value}, {"project", value, "--as", folder},
		} {
			l.run(t, -1, happens{binary: l.tokeniser(), args: args})
		}
	}
	noneInTree(t, "what is left of what was wrong", folder, asDocumented)
}

func (l *leakage) testProfile(t *testing.T) {
	for i, in := range []string{"north.csv", "refused.csv", "north.ndjson", "north.parquet", "headless.csv", "cut.csv.gz", "named.csv"} {
		folder := t.TempDir()
		code := 0
		if i >= 4 {
			code = 2
		}
		l.run(t, code, happens{binary: l.tokeniser(), args: []string{"profile", "--in", l.table(in), "--write-map", filepath.Join(folder, "map.toml")}})
		l.run(t, code, happens{binary: l.tokeniser(), args: []string{"profile", "--in", l.table(in), "--json"}})
		noneInTree(t, in, folder, nowhere)
	}
}

// besideTheColumn is what tokeniser column leaves in its output: everything but the
// numbers.
func besideTheColumn(place string) []leak.Kind {
	if strings.HasPrefix(place, "out.") {
		return []leak.Kind{leak.ID, leak.Given, leak.Family, leak.Birth, leak.Postcode}
	}
	return nil
}

func (l *leakage) testColumn(t *testing.T) {
	for _, in := range some("north.csv", "north.ndjson", "north.parquet", "north.csv.gz", "utf16.csv") {
		folder := t.TempDir()
		args := []string{"column", "--project", filepath.Join(l.people, "project.json"), "--key-file", filepath.Join(l.people, "keys.json"), "--in", l.table(in), "--column", "nhs_number",
			"--out", filepath.Join(folder, "out"+strings.TrimPrefix(in, strings.TrimSuffix(in, filepath.Ext(in)))), "--quarantine", filepath.Join(folder, "refused.csv")}
		l.run(t, 0, happens{binary: l.tokeniser(), args: args})
		noneInTree(t, in, folder, besideTheColumn)
		args[8] = "family_name" // no number is in it
		l.run(t, 3, happens{binary: l.tokeniser(), args: append(args, "--invalid", "error", "--replace")})
	}
}

// half gives the first half of a table, and then what happens; then nothing until it
// is closed.
func (l *leakage) half(t *testing.T) (read *os.File, stop func()) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile(l.table("north.csv"))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = write.Write(table[:len(table)/2]) }() // the reader may be gone
	return read, func() { _ = write.Close(); _ = read.Close() }
}

// awaitCheckpoint returns when a run into a folder has kept rows, and where.
func awaitCheckpoint(t *testing.T, folder string) string {
	t.Helper()
	checkpoint := filepath.Join(folder, ".north.parquet.checkpoint")
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if kept, _ := filepath.Glob(filepath.Join(checkpoint, "*")); len(kept) > 2 {
			return checkpoint
		}
	}
	t.Fatal("no rows were kept")
	return ""
}

// testKilled ends runs in the middle, in every way in which a process ends, looks at
// what they leave, and goes on.
func (l *leakage) testKilled(t *testing.T) {
	for _, signal := range some(syscall.SIGKILL, syscall.SIGABRT, syscall.SIGTERM, syscall.SIGSEGV, syscall.SIGQUIT) {
		folder := t.TempDir()
		in, stop := l.half(t)
		h := l.encode("-", folder, append(all(folder), "--checkpoint-rows", "500")...)
		h.in = in
		c := l.command(h)
		var both bytes.Buffer
		c.Stdout, c.Stderr = &both, &both
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		checkpoint := awaitCheckpoint(t, folder)
		if err := c.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // how it ended is in its state
		stop()
		want := map[syscall.Signal]int{syscall.SIGKILL: -1, syscall.SIGTERM: 143, syscall.SIGABRT: 1, syscall.SIGSEGV: 1, syscall.SIGQUIT: 1}[signal]
		if got := c.ProcessState.ExitCode(); got != want {
			t.Errorf("%v: exit %d, want %d: %s", signal, got, want, both.String())
		}
		noneAstray(t, signal.String(), strangersScanner().Bytes("output", both.Bytes()), nowhere)
		noneInTree(t, "left by "+signal.String(), folder, asDocumented)
		if _, err := os.Stat(checkpoint); err != nil {
			t.Errorf("%v: nothing was kept: %v", signal, err)
		}
		h = l.encode("-", folder, append(all(folder), "--checkpoint-rows", "500", "--resume")...)
		table, err := os.Open(l.table("north.csv"))
		if err != nil {
			t.Fatal(err)
		}
		h.in = table
		l.run(t, 0, h)
		_ = table.Close() // read only
		noneInTree(t, "gone on after "+signal.String(), folder, asDocumented)
	}
}

// testNoRoom writes where nothing can be written, and to a disk that is full.
func (l *leakage) testNoRoom(t *testing.T) {
	folder := t.TempDir()
	l.run(t, 1, l.encode(l.table("north.csv"), filepath.Join(folder, "nowhere")))
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.run(t, -1, l.encode(l.table("north.csv"), file))
	if !canMount() {
		t.Log("no small file system can be mounted here: no disk is filled")
		return
	}
	for _, size := range some("64k", "1m", "512k", "2m") {
		kept := t.TempDir() // what is left on the small disk, which goes when the command ends
		h := l.encode(l.table("north.csv"), folder, append(all(folder), "--checkpoint-rows", "500")...)
		script := `mount -t tmpfs -o size="$1" none "$2" && folder=$2 && kept=$3 && shift 3 && "$@"; code=$?; cp -a "$folder/." "$kept"; exit $code`
		h.args = append(append(unshare(), "sh", "-c", script, "sh", size, folder, kept, h.binary), h.args...)
		h.binary = "unshare"
		l.run(t, 1, h)
		noneInTree(t, "left on a disk of "+size, kept, asDocumented)
	}
}

// patch replaces a text, which is there once, in a file of the module.
type patch struct{ file, old, new string }

// plantFor builds a binary from the module with some texts replaced: what a test
// plants is in no file of the product.
func plantFor(t *testing.T, folder, binary string, patches ...patch) string {
	t.Helper()
	root := repository(t)
	sources := map[string]string{}
	for _, p := range patches {
		source, there := sources[p.file]
		if b, err := os.ReadFile(filepath.Join(root, p.file)); !there && err == nil {
			source = string(b)
		}
		if p.old == "" {
			source = p.new // a file of its own
		} else if strings.Count(source, p.old) != 1 {
			t.Fatalf("%s has not once what a test replaces: %s", p.file, p.old)
		} else {
			source = strings.Replace(source, p.old, p.new, 1)
		}
		sources[p.file] = source
	}
	out := filepath.Join(folder, binary)
	command := exec.Command("go", "build", "-trimpath", "-overlay", overlay(t, sources), "-o", out, "./cmd/"+binary)
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	return out
}

// plant is a file with a function that panics with what it is given, at the site that
// the environment names.
func plant(name string) string {
	return "package " + name + `
import ("fmt"; "os"; "time")
func planted(site string, value any) {
	if os.Getenv("TARN_TEST_PLANT") == site { panic(fmt.Sprintf("%v", value)) }
	if os.Getenv("TARN_TEST_PLANT") == site+" in a library" { go func() { panic(fmt.Errorf("cannot parse %v", value)) }(); time.Sleep(time.Minute) }
	if os.Getenv("TARN_TEST_PLANT") == site+" said" { fmt.Fprintln(os.Stderr, value) }
}
`
}

// sites are where the tests panic in the tokeniser.
var sites = []patch{
	{"tokenise/planted.go", "", plant("tokenise")},
	{"tokenise/column/planted.go", "", plant("column")},
	{"tokenise/source/planted.go", "", plant("source")},
	{"tokenise/process.go", "\t\t\tw.judge(&j.batch.Rows[i], &j.result)", "\t\t\tplanted(\"judge\", j.batch.Rows[i].Values)\n\t\t\tw.judge(&j.batch.Rows[i], &j.result)"},
	{"tokenise/process.go", "\t\tchain.add(&j.batch)\n", "\t\tplanted(\"read\", j.batch.Rows)\n\t\tchain.add(&j.batch)\n"},
	{"tokenise/piece.go", "\t\t\t\t\tstart, end := p.rows.span(int(uint32(key)))\n", "\t\t\t\t\tstart, end := p.rows.span(int(uint32(key)))\n\t\t\t\t\tplanted(\"encode\", text[start:end])\n"},
	{"tokenise/column/text.go", "\t\t\t\tj.block(ctx, b, json)\n", "\t\t\t\tplanted(\"column\", string(b.values))\n\t\t\t\tj.block(ctx, b, json)\n"},
	{"tokenise/column/parquetcolumn.go", "\t\t\tmade, codes, err := j.cells(ctx, texts[from:to])\n", "\t\t\tplanted(\"parquet column\", texts[from:to])\n\t\t\tmade, codes, err := j.cells(ctx, texts[from:to])\n"},
	{"tokenise/source/context.go", "\treturn i.Reader.Read(b)\n", "\terr = i.Reader.Read(b)\n\tplanted(\"table\", b.Rows)\n\treturn err\n"},
}

// softened are patches that take away what holds a panic's value back, and what
// forbids core files.
var softened = []patch{
	{"keys/fault/text.go", "\tif value := recover(); value != nil {", "\tif value := any(nil); value != nil {"},
	{"cmd/internal/boot/harden_linux.go", "\tmuteRuntime()\n", ""},
	{"cmd/internal/boot/harden_linux.go", "\tdebug.SetTraceback(\"none\")\n", "\tdebug.SetTraceback(\"crash\")\n"},
	{"cmd/internal/boot/harden_linux.go", "\t_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})", "\t_ = unix.RLIMIT_CORE"},
	{"cmd/internal/boot/harden_linux.go", "\t_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) ", "\t_ = unix.PR_SET_DUMPABLE "},
}

// testPanic has the tokeniser panic with somebody in the value wherever rows are
// handled, in its own goroutines and in such as a library starts.
func (l *leakage) testPanic(t *testing.T) {
	binary := plantFor(t, t.TempDir(), "tokeniser", sites...)
	run := func(in string) func(string) happens {
		return func(folder string) happens {
			return l.encode(l.table(in), folder, append(all(folder), "--checkpoint-rows", "500")...)
		}
	}
	column := func(in string) func(string) happens {
		return func(folder string) happens {
			return happens{args: []string{"column", "--project", filepath.Join(l.people, "project.json"), "--key-file", filepath.Join(l.people, "keys.json"), "--in", l.table(in), "--column", "nhs_number",
				"--out", filepath.Join(folder, "out"+filepath.Ext(in))}}
		}
	}
	profile := func(string) happens { return happens{args: []string{"profile", "--in", l.table("north.csv")}} }
	type panicking struct {
		site string
		run  func(string) happens
	}
	for _, c := range some(panicking{"judge", run("north.csv")}, panicking{"encode", run("north.csv")}, panicking{"column", column("north.csv")}, panicking{"parquet column", column("north.parquet")},
		panicking{"read", run("north.csv")}, panicking{"table", run("north.parquet")}, panicking{"column", column("north.ndjson")}) {
		for _, how := range []string{"", " in a library"} {
			folder := t.TempDir()
			h := c.run(folder)
			h.binary, h.env = binary, []string{"TARN_TEST_PLANT=" + c.site + how}
			said := l.run(t, 1, h)
			want := "panic with a value of type string, withheld because it could hold data"
			if how != "" {
				want = "panic, its value withheld because it could hold data"
			}
			if !strings.Contains(said, want) {
				t.Errorf("%s%s: it is not said that it panicked: %s", c.site, how, said)
			}
			noneInTree(t, c.site+how, folder, asDocumented)
		}
	}
	h := profile("")
	h.binary, h.env = binary, []string{"TARN_TEST_PLANT=table"}
	l.run(t, 1, h)
	// Controls: a program that says what it should not is found out, and so is one that
	// panics without what holds the value back.
	soft := plantFor(t, t.TempDir(), "tokeniser", slices.Concat(sites, softened[:2])...)
	for site, control := range map[string]string{"judge said": binary, "judge": soft, "judge in a library": soft} {
		folder := t.TempDir()
		h := run("north.csv")(folder)
		h.binary, h.env = control, []string{"TARN_TEST_PLANT=" + site, "GOTRACEBACK=none"}
		c := l.command(h)
		said, _ := c.CombinedOutput() // how it ends is not the question
		if found := strangersScanner().Bytes("output", said); len(astray(found, nowhere)) == 0 {
			t.Errorf("%s: nobody was found in what it said, though somebody was planted: %.200s", site, said)
		}
	}
}

// aKey is a key of keys.json, in hexadecimal.
func (l *leakage) aKey(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(l.people, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`[0-9a-f]{64}`).FindString(string(b))
}

// testPlanted plants somebody in a copy of each sort of file, as a leak would be there,
// and wants the search to name the place and the person.
func (l *leakage) testPlanted(t *testing.T) {
	folder := t.TempDir()
	in, stop := l.half(t)
	h := l.encode("-", folder, append(all(folder), "--checkpoint-rows", "500")...)
	h.in = in
	c := l.command(h)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	checkpoint := awaitCheckpoint(t, folder)
	_ = c.Process.Kill() // it waits for the rest of its table
	_ = c.Wait()
	stop()
	l.run(t, 0, l.encode(l.table("north.csv"), filepath.Join(folder), append(all(folder), "--out", filepath.Join(folder, "whole.parquet"))...))

	p := strangers()[77]
	add := func(text string) func([]byte) []byte { return func(b []byte) []byte { return append(b, text...) } }
	whole := func(b []byte) []byte { return l.parquet(t, strangers()[77:78]) }
	kept, err := os.ReadDir(checkpoint)
	if err != nil || len(kept) == 0 {
		t.Fatalf("nothing was kept: %v", err)
	}
	for _, planted := range []struct {
		file string
		kind leak.Kind
		put  func([]byte) []byte
	}{
		{"refused.csv", leak.Number, add("5001,,nhs_number," + p.Number + "\n")},
		{"whole.manifest.json", leak.Secret, add(l.aKey(t))},
		{"warnings.csv", leak.Family, add("5001,," + p.Family + ",name_junk\n")},
		{"whole.manifest.json", leak.Postcode, add(`{"note":"` + p.Postcode + `"}`)},
		{"whole.parquet", leak.Number, whole},
		{"groups.parquet", leak.Birth, whole},
		{"whole.crosswalk.parquet", leak.Number, whole},
		{filepath.Join(".north.parquet.checkpoint", kept[0].Name()), leak.Family, add("\x00" + p.Family)},
	} {
		copied := t.TempDir()
		target := filepath.Join(copied, planted.file)
		b, err := os.ReadFile(filepath.Join(folder, planted.file))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(target), 0o700)
		}
		if err == nil {
			err = os.WriteFile(target, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		noneInTree(t, "before it is planted", copied, asDocumented)
		if err := os.WriteFile(target, planted.put(b), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := strangersScanner().Tree(copied)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(astray(found, asDocumented), func(f leak.Finding) bool {
			return f.Place == planted.file && (f.Person == 77 || f.Kind == leak.Secret) && f.Kind == planted.kind
		}) {
			t.Errorf("%s: planted, and not found: %v", planted.file, found)
		}
	}
}

// TestByChance: one or two numbers among random bytes are chance; more, and anything that
// is written out, are a leak.
func TestByChance(t *testing.T) {
	number := func(place, form string, person int) leak.Finding {
		return leak.Finding{Place: place, Person: person, Kind: leak.Number, Form: form}
	}
	const binary = "zstd > 64-bit big-endian"
	two := []leak.Finding{number("a.escrow", binary, 1), number("a.escrow", binary, 2), number("b.escrow", binary, 3)}
	for _, f := range two {
		if !byChance(two, f) {
			t.Errorf("%v is taken for a leak", f)
		}
	}
	for _, found := range [][]leak.Finding{
		append(two, number("a.escrow", binary, 3)),
		{number("a.escrow", "plain", 1)},
		{number("a.parquet", binary, 1)},
		{{Place: "a.escrow", Kind: leak.Secret, Form: "plain"}},
	} {
		if byChance(found, found[0]) {
			t.Errorf("%v is taken for chance", found[0])
		}
	}
}
