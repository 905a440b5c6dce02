package clk

import (
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// example is a schema with rows and what clkhash made of them: one CLK each, ""
// for a row that it refused.
type example struct {
	Name   string          `json:"name"`
	Schema json.RawMessage `json:"schema"`
	Secret string          `json:"secret"`
	Rows   [][]string      `json:"rows"`
	CLKs   []string        `json:"clks"`
}

func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func newEncoder(t testing.TB, schema []byte, secret string) *Encoder {
	t.Helper()
	s, err := Parse(schema)
	if err != nil {
		t.Fatalf("%v in %s", err, schema)
	}
	key, err := NewSecret([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(s, key)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func encodeText(w *Worker, row []string) string {
	clk, problems := w.Encode(row)
	if len(problems) > 0 {
		return ""
	}
	return base64.StdEncoding.EncodeToString(clk)
}

func checkExample(t *testing.T, x *example) {
	t.Helper()
	w := newEncoder(t, x.Schema, x.Secret).NewWorker(1 << 16)
	if len(x.CLKs) != len(x.Rows) || len(x.Rows) == 0 {
		t.Fatalf("%d rows and %d CLKs", len(x.Rows), len(x.CLKs))
	}
	for i, row := range x.Rows {
		if got := encodeText(w, row); got != x.CLKs[i] {
			t.Errorf("%s: row %d (%+q): got %q, want %q", x.Name, i, row, got, x.CLKs[i])
		}
	}
}

func sharedData(t *testing.T) string {
	folder := os.Getenv("TARN_TESTDATA")
	if folder == "" {
		t.Skip("TARN_TESTDATA is not set: the shared vectors are not compared")
	}
	return folder
}

// The repository's own vectors, which testdata/python/clkhash_vectors.py makes.
func TestVectors(t *testing.T) {
	var examples []example
	readJSON(t, "../../testdata/clkhash/vectors.json", &examples)
	for i := range examples {
		checkExample(t, &examples[i])
	}
}

func TestSharedEdgeVectors(t *testing.T) {
	var examples []example
	readJSON(t, filepath.Join(sharedData(t), "vectors/clkhash/edge.json"), &examples)
	for i := range examples {
		checkExample(t, &examples[i])
	}
}

func TestFEBRL(t *testing.T) {
	folder := sharedData(t)
	schema, err := os.ReadFile(filepath.Join(folder, "vectors/clkhash/febrl_schema_v3.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, half := range []string{"4a", "4b"} {
		x := example{Name: half, Schema: schema, Secret: "secret"}
		readJSON(t, filepath.Join(folder, "vectors/clkhash/febrl"+half+"_clks.json"), &x)
		x.Rows = trimmedRows(t, filepath.Join(folder, "data/febrl/dataset"+half+".csv"))
		checkExample(t, &x)
	}
}

func trimmedRows(t *testing.T, path string) [][]string {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(b))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
	}
	return rows[1:]
}
