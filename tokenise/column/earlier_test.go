package column_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/column"
)

// TestWhatIsReplaced: the output of an earlier run is replaced, of any format; a table with
// other columns, with tokens of another epoch or domain, with numbers or with anything else
// is not, unless that is asked for.
func TestWhatIsReplaced(t *testing.T) {
	token := tokenOf(t, "9434765919")
	other, err := keys.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	other.TokenEpoch++
	elsewhere := other
	elsewhere.TokenEpoch, elsewhere.DomainNo = other.TokenEpoch-1, 8
	const csv, ndjson = "id,nhs\n1,9434765919\n2,\n", `{"id":1,"nhs":"9434765919"}` + "\n" + `{"id":2,"more":{"x":[]}}` + "\n"
	for _, tt := range []struct {
		name, in, there string
		replaced        bool
	}{
		{"tokens.csv", csv, "id,nhs\n7," + token + "\n8,\n", true},
		{"of no rows.csv", csv, "id,nhs\n", true},
		{"empty.csv", csv, "", true},
		{"tokens.ndjson", ndjson, `{"more":{},"nhs":"` + token + `","id":1}` + "\n", true},
		{"numbers.csv", csv, csv, false},
		{"one number.csv", csv, "id,nhs\n7," + token + "\n8,9434765919\n", false},
		{"no token.csv", csv, "id,nhs\n7,\n8,\n", false},
		{"more columns.csv", csv, "id,nhs,note\n7," + token + ",x\n", false},
		{"other order.csv", csv, "nhs,id\n" + token + ",7\n", false},
		{"other epoch.csv", csv, "id,nhs\n7," + other.String() + "\n", false},
		{"other domain.csv", csv, "id,nhs\n7," + elsewhere.String() + "\n", false},
		{"bad row.csv", csv, "id,nhs\n7," + token + "\n8\n", false},
		{"format.csv", csv, `{"id":1,"nhs":"` + token + `"}` + "\n", false},
		{"notes.csv", csv, "precious\n", false},
		{"more.ndjson", ndjson, `{"more":{},"nhs":"` + token + `","id":1,"note":"x"}` + "\n", false},
	} {
		for _, replace := range []bool{false, true} {
			o := options(t)
			folder := t.TempDir()
			o.In, o.Out, o.Replace = filepath.Join(folder, "in"), filepath.Join(folder, tt.name), replace
			for path, content := range map[string]string{o.In: tt.in, o.Out: tt.there} {
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := column.Run(context.Background(), o)
			if want := tt.replaced || replace; want != (err == nil) || err != nil && (fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--replace")) {
				t.Errorf("%s, --replace %v: %v", tt.name, replace, err)
			}
			b, e := os.ReadFile(o.Out)
			if e != nil {
				t.Fatal(e)
			}
			if (string(b) == tt.there) != (err != nil) {
				t.Errorf("%s, --replace %v: %d bytes are there", tt.name, replace, len(b))
			}
			if err != nil && strings.Contains(err.Error(), token) {
				t.Error("the error holds a token")
			}
		}
	}
}

// TestParquetThatIsReplaced likewise.
func TestParquetThatIsReplaced(t *testing.T) {
	folder := t.TempDir()
	table := makeParquet(t, columnTypes[3], []number{{text: "9434765919", whole: 9434765919}, {null: true}})
	first, _, err := runParquet(t, folder, table, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := runParquet(t, folder, table, nil); err != nil {
		t.Errorf("over its own output: %v", err)
	}
	for name, content := range map[string][]byte{"numbers": table, "cut": first[:len(first)-9], "another": makeParquet(t, columnTypes[0], []number{{text: "x"}})} {
		if err := os.WriteFile(filepath.Join(folder, "out.parquet"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := runParquet(t, folder, table, nil); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--replace") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := runParquet(t, folder, table, func(o *column.Options) { o.Replace = true }); err != nil {
		t.Error(err)
	}
}

// TestWhatAKilledRunLeft: rows that a killed run has left beside the output are gone after
// the next; those of a run that is under way are not touched.
func TestWhatAKilledRunLeft(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	for _, name := range []string{"in.csv", ".out.csv12345678901", ".refused.csv9876543210123", ".out.csv20261231", ".other.csv12345678901"} {
		if err := os.WriteFile(at(name), []byte("id,nhs\n1,9434765919\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	running, err := keys.NewFile(at("out.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = running.Cleanup() }()
	o := options(t)
	o.In, o.Out, o.Quarantine = at("in.csv"), at("out.csv"), at("refused.csv")
	if _, err := column.Run(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{".out.csv12345678901": false, ".refused.csv9876543210123": false, ".out.csv20261231": true, ".other.csv12345678901": true, filepath.Base(running.Name()): true} {
		if _, err := os.Lstat(at(name)); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", name, err == nil, want)
		}
	}
	if f, err := os.Open(running.Name()); err != nil || unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		t.Error(fmt.Errorf("what is being written is not locked (%w)", err))
	}
}
