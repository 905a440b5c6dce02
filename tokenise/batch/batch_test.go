package batch_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/linkage/cohort/cohorttest"
	"tarn/tokenise"
	"tarn/tokenise/batch"
)

const projectText = `{"schema": "tarn.project/1", "name": "p", "domain": "d", "scheme": "keyed-hash", "profile": "nhs-field-dob-1",
 "parties": [{"source_dataset": "north"}, {"source_dataset": "south"}], "groups": ["sex"],
 "keys": {"domain_no": 1, "token_epoch": 3, "encoding_epoch": 2}, "reidentify": {"mode": "direct"}, "expires": "2099-12-31"}`

const header = "id,nhs_number,given_name,family_name,date_of_birth,sex,postcode\n"

// tokenKey is K[domain, token_epoch] of the tests, rowKey that of north's ids.
var tokenKey, rowKey = [secret.Size]byte{1, 2, 3}, [secret.Size]byte{7, 8, 9}

// options make a project and its keys in a folder and return what runs a table
// under them. test marks the keys as such.
func options(t *testing.T, folder, table string, test bool) batch.Options {
	t.Helper()
	o := batch.Options{Project: filepath.Join(folder, "project.json"), KeyFile: filepath.Join(folder, "keys.json"), In: filepath.Join(folder, "north.csv"),
		ConfirmMap: true, Out: filepath.Join(folder, "north.parquet"), MaxRefused: 1, Threads: 2, Software: "tarn test", Clock: day, Wall: day}
	k := &keys.KeyFile{Test: test, Project: "p", Domain: "d", Scheme: "keyed-hash", TokenKey: secret.New(tokenKey), EncodingKey: secret.New([secret.Size]byte{4}),
		ReleaseKey: secret.New([secret.Size]byte{5}), RowKeys: map[string]secret.Key{"north": secret.New(rowKey), "south": secret.New([secret.Size]byte{6})}}
	for path, content := range map[string]string{o.Project: projectText, o.In: table} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Write(o.KeyFile, "tarn test", "", true); err != nil {
		t.Fatal(err)
	}
	return o
}

func day() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// mac is HMAC-SHA-256 over the length-prefixed parts, written out.
func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(part))))
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}

// slowToken is specification (g), slowID (k).
func slowToken(digits string) (token [32]byte) {
	h := hmac.New(sha256.New, mac(tokenKey[:], "tarn/nhs-token/v1", "d", "\x00\x00\x00\x03"))
	h.Write([]byte(digits))
	return [32]byte(h.Sum(nil))
}

func slowID(id string) string {
	return hex.EncodeToString(mac(rowKey[:], "tarn/row/v1", "north", id)[:16])
}

// run encodes and returns the result and the cohort's rows by unique_id.
func run(t *testing.T, o batch.Options) (*tokenise.Result, map[string]string) {
	t.Helper()
	r, err := batch.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := cohorttest.Rows(t.Context(), o.Out)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range all {
		text := fmt.Sprintf("%v %x", row.HasToken, row.Token)
		for _, tag := range slices.Concat(row.Blocks, row.Tags) {
			text += fmt.Sprint(" ", tag.Present, tag.Value)
		}
		for _, filter := range row.Filters {
			text += fmt.Sprintf(" %v%x", filter != nil, filter)
		}
		rows[hex.EncodeToString(row.UniqueID[:])] = text
	}
	return r, rows
}

// forms are the ways in which sources write one number, and what is none.
var forms = []struct {
	written, digits string // digits empty: no token
}{
	{"9434765919", "9434765919"}, {"943 476 5919", "9434765919"}, {"943-476-5919", "9434765919"}, {" 9434765919 ", "9434765919"}, {"'9434765919", "9434765919"},
	{`"=""9434765919"""`, "9434765919"}, {"９４３４７６５９１９", "9434765919"}, {"943\u00a0476\u00a05919", "9434765919"}, {"9434765919.0", "9434765919"}, {"943.476.5919", "9434765919"},
	{"0101010028", "0101010028"}, {"3200000023", "3200000023"}, // Scotland and Northern Ireland
	{"", ""}, {"943476591", ""}, {"94347659190", ""}, {"9434765918", ""}, {"9999999999", ""}, {"9.43E+09", ""}, {"9434765919 9434765919", ""}, {"9990000026", ""}, {"9434765919x", ""},
}

// people writes a table with every form of number, names and dates.
func people() (table string, ids []string, rows []string) {
	for i, form := range forms {
		id := fmt.Sprint("id-", i)
		row := fmt.Sprintf("%s,%s,%s,%s,19%02d-02-03,%s,LS%d 4AP\n", id, form.written, []string{"Ann", "Zoë", "", "Jo Anne"}[i%4], []string{"Smith", "O'Neill", "Å"}[i%3], 40+i, []string{"1", "F", "X"}[i%3], 1+i%9)
		ids, rows = append(ids, id), append(rows, row)
	}
	return header + strings.Join(rows, ""), ids, rows
}

// TestTokensOfForms: each form of one number gives its token, as the
// specification computes it, and what is no number gives none.
func TestTokensOfForms(t *testing.T) {
	table, ids, _ := people()
	for _, test := range []bool{false, true} {
		result, rows := run(t, options(t, t.TempDir(), table, test))
		tokens := int64(0)
		for i, form := range forms {
			want := fmt.Sprintf("false %x ", [32]byte{})
			digits := form.digits
			if test && form.written == "9990000026" { // test keys take test numbers
				digits = form.written
			}
			if digits != "" {
				want = fmt.Sprintf("true %x ", slowToken(digits))
				tokens++
			}
			row, ok := rows[slowID(ids[i])]
			if !ok || !strings.HasPrefix(row, want) {
				t.Errorf("form %d, test keys %v: the row is there: %v; its token is not the number's", i, test, ok)
			}
		}
		if result.Tokens != tokens {
			t.Errorf("%d tokens are counted, want %d", result.Tokens, tokens)
		}
	}
}

// TestBatchIsRowByRow: a table encoded at once, in chunks of a few rows by two
// workers, is its rows encoded each alone.
func TestBatchIsRowByRow(t *testing.T) {
	table, ids, lines := people()
	o := options(t, t.TempDir(), table, false)
	o.ChunkRows = 4
	_, together := run(t, o)
	if len(together) != len(lines) {
		t.Fatalf("%d rows of %d", len(together), len(lines))
	}
	folder := t.TempDir()
	for i, line := range lines {
		_, alone := run(t, options(t, folder, header+line, false))
		if id := slowID(ids[i]); len(alone) != 1 || alone[id] != together[id] {
			t.Errorf("row %d alone is not what it is in the table", i)
		}
	}
}

// TestRefusals: what ends a run before anything is written, and that nothing
// is.
func TestRefusals(t *testing.T) {
	table, _, _ := people()
	for name, c := range map[string]struct {
		change func(*batch.Options)
		table  string
		want   string
	}{
		"map not confirmed": {func(o *batch.Options) { o.ConfirmMap = false }, table, "the column map has not been confirmed"},
		"no such party":     {func(o *batch.Options) { o.SourceDataset = "west" }, table, "give --source with one of: north, south"},
		"no id":             {func(*batch.Options) {}, strings.Replace(table, "id,", "visit,", 1), "no column identifies rows"},
		"ids are NHS numbers": {func(o *batch.Options) { o.UniqueID = "nhs_number" }, "nhs_number,family_name,given_name,date_of_birth,sex,postcode\n" +
			strings.Repeat("9434765919,Smith,Ann,1980-02-03,1,LS1 4AP\n", 200), "unique_id_looks_like_nhs_number"},
		"a field is missing": {func(*batch.Options) {}, "id,nhs_number,family_name,date_of_birth,sex,postcode\n1,,Smith,1980-02-03,1,LS1 4AP\n", "no column holds given_name"},
		"nothing to link on": {func(*batch.Options) {}, "id,ward\n1,2\n", "no column holds a field that could be linked on"},
		"expired": {func(o *batch.Options) {
			o.Wall = func() time.Time { return time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) }
		}, table, "it expired on 2099-12-31"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			o := options(t, folder, c.table, false)
			c.change(&o)
			var said strings.Builder
			o.Messages = &said
			_, err := batch.Run(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) == fault.Internal {
				t.Errorf("got %v, want %q", err, c.want)
			}
			for _, value := range []string{"9434765919", "Smith", "1980"} {
				if err != nil && strings.Contains(err.Error()+said.String(), value) {
					t.Error("a value is said")
				}
			}
			if left, _ := filepath.Glob(filepath.Join(folder, "*.parquet")); left != nil {
				t.Errorf("left behind: %d files", len(left))
			}
		})
	}
}

// TestStandardInputNeedsNames: of standard input the party cannot be guessed.
func TestStandardInputNeedsNames(t *testing.T) {
	table, ids, _ := people()
	o := options(t, t.TempDir(), table, false)
	o.In, o.Source.Stdin = "-", strings.NewReader(table)
	if _, err := batch.Run(t.Context(), o); err == nil || fault.KindOf(err) != fault.Usage {
		t.Errorf("without --source: %v", err)
	}
	o.SourceDataset, o.Source.Stdin = "north", strings.NewReader(table)
	if _, rows := run(t, o); rows[slowID(ids[0])] == "" || len(rows) != len(forms) {
		t.Error("standard input is not encoded as the file is")
	}
}
