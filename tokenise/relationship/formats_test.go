package relationship

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"tarn/bench/peer"
	"tarn/keys"
	"tarn/tokenise/relationship/table"
)

// golden has tables as this version's first writer wrote them, and what they were made of.
const golden = "../../testdata/formats/2026-11-26/relationships"

// TestTablesOfEarlierVersions are read, and the same input gives the same bytes.
func TestTablesOfEarlierVersions(t *testing.T) {
	written := filepath.Join(golden, "tables")
	document, err := table.Read(written)
	if err != nil || len(document.Tables) != 2 {
		t.Fatalf("%v", err)
	}
	dir := filepath.Join(t.TempDir(), "tables")
	l := mustLoad(t, LoadOptions{In: filepath.Join(golden, "relationships.csv"), Dir: dir, Threads: 1, Software: "test", Clock: clock, Wall: clock})
	for i := range document.Tables {
		e := &document.Tables[i]
		opened, err := table.Open(written, e)
		if err != nil {
			t.Fatal(err)
		}
		if err := opened.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
		then, err := os.ReadFile(filepath.Join(written, e.File))
		if err != nil {
			t.Fatal(err)
		}
		now, err := os.ReadFile(filepath.Join(dir, l.Tables[i].File))
		if err != nil || !bytes.Equal(now, then) || l.Tables[i].Digest != e.Digest {
			t.Errorf("%s is another now: %v", e.File, err)
		}
	}
	for organisation, want := range map[string]bool{"A81000": true, "RX0": true, "A81001": false} {
		if got := related(t, written, patient(3, 0), organisation, noon); got != want {
			t.Errorf("%s: %v", organisation, got)
		}
	}
}

// TestTablesAgreeWithPython: a program that was written from docs/formats.md finds in a
// table the rows that it was made of, sorted.
func TestTablesAgreeWithPython(t *testing.T) {
	python := peer.Start(t, peer.Python(t, "relationships.py"), "relationships.py")
	f, err := os.Open(filepath.Join(golden, "relationships.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type found struct {
		Token, Relationship, Organisation, From, To string
	}
	want := map[table.Key][]found{}
	for _, c := range lines[1:] {
		token, err := keys.ParseToken(c[0])
		if err != nil {
			t.Fatal(err)
		}
		want[table.KeyOf(&token)] = append(want[table.KeyOf(&token)], found{hex.EncodeToString(token.Value[:]), c[4], c[1], c[2], c[3]})
	}
	document, err := table.Read(filepath.Join(golden, "tables"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range document.Tables {
		e := &document.Tables[i]
		var said struct {
			Scheme     uint8   `json:"scheme"`
			DomainNo   uint32  `json:"domain_no"`
			TokenEpoch uint16  `json:"token_epoch"`
			Rows       []found `json:"rows"`
			Digest     string  `json:"digest"`
		}
		python.Ask(t, map[string]any{"op": "table", "path": filepath.Join(golden, "tables", e.File)}, &said)
		key := table.Key{Scheme: said.Scheme, DomainNo: said.DomainNo, TokenEpoch: said.TokenEpoch}
		rows := want[key]
		slices.SortFunc(rows, func(a, b found) int {
			// registered goes before other
			return slices.Compare([]string{a.Token, b.Relationship, a.Organisation, a.From}, []string{b.Token, a.Relationship, b.Organisation, b.From})
		})
		if said.Digest != e.Digest || int64(len(rows)) != e.Rows || !slices.Equal(rows, said.Rows) {
			t.Errorf("%s: %d rows were found, %d are in it", e.File, len(said.Rows), len(rows))
		}
	}
}

// TestDocumentation holds docs/relationships.md to the settings, routes and codes.
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile("../../docs/relationships.md")
	if err != nil {
		t.Fatal(err)
	}
	named := []string{string(CodeRate), string(CodeTable), string(CodeTime)}
	for field := range reflect.TypeFor[Config]().Fields() {
		named = append(named, field.Tag.Get("toml"))
	}
	for _, r := range routes() {
		named = append(named, r.path)
		if described()["paths"].(map[string]any)[r.path] == nil {
			t.Errorf("openapi.json does not describe %s", r.path)
		}
	}
	for _, name := range named {
		if !bytes.Contains(b, []byte(name)) {
			t.Errorf("docs/relationships.md does not name %s", name)
		}
	}
}
