package source_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"tarn/tokenise/source"
)

// FuzzMap: no column map makes its reader panic, and what it accepts it writes
// in a form that reads as the same.
func FuzzMap(f *testing.F) {
	for _, seed := range []string{"", "schema = \"tarn.column-map/1\"\nunique_id = \"row\"\n[columns]\nsex = \"Sex\"\n", "schema = \"tarn.column-map/1\"\nconfirmed = true\nunique_id = \"id\"\n", "schema = 1", "schema = \"tarn.column-map/1\"\nunique_id = \"id\"\nother = 1\n", "[columns]\nunique_id = \"x\"\n", "unique_id = \"\\u0000\"\n[columns]\n\"\" = \"\\\"\"\nschema = \"x\""} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "map.toml")
	f.Fuzz(func(t *testing.T, text string) {
		load := func(b []byte) (*source.Mapping, error) {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return source.LoadMap(path)
		}
		m, err := load([]byte(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := m.Write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := load(b.Bytes())
		if err != nil || again.Digest() != m.Digest() || again.Confirmed != m.Confirmed {
			t.Fatalf("%v: what was written reads otherwise", err)
		}
	})
}
