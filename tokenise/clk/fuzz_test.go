package clk

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// fuzzValues are put into every feature of a schema that is taken.
var fuzzValues = []string{"", "anne", "Zoë 李", "12", "-3.5", "1e300", "1973-10-22", "M", "\xff", strings.Repeat("9", 5000), strings.Repeat("ab ", 300)}

// FuzzSchema: no document makes the reader panic; with one that is taken,
// records are encoded or refused within bounded memory, the same each time.
func FuzzSchema(f *testing.F) {
	var examples []example
	readJSON(f, "../../testdata/clkhash/vectors.json", &examples)
	for _, x := range examples {
		f.Add([]byte(x.Schema))
	}
	f.Add(peopleSchema(f))
	for seed := range 100 {
		d := rapid.Custom(func(t *rapid.T) members { return drawSchema(t, []string{"string", "integer", "date", "enum"}).schema }).Example(seed)
		document, err := json.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(document)
	}
	secret, err := NewSecret([]byte("secret"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		s, err := Parse(document)
		if err != nil {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		e, err := NewEncoder(s, secret)
		if err != nil {
			t.Fatalf("a schema was taken whose keys cannot be derived: %v", err)
		}
		w := e.NewWorker(1 << 16)
		runtime.ReadMemStats(&after)
		if grown := after.HeapAlloc - min(after.HeapAlloc, before.HeapAlloc); grown > 128<<20 {
			t.Fatalf("%d MiB for one worker", grown>>20)
		}
		row := make([]string, len(s.Identifiers()))
		values := fuzzValues
		for i := range s.features {
			if s.features[i].mostBits() > 1000 || len(row) > 8 {
				values = fuzzValues[:4] // taken, but slow
			}
		}
		for _, value := range values {
			for i := range row {
				row[i] = value
			}
			first := encodeText(w, row)
			if again := encodeText(w, row); again != first {
				t.Fatalf("%q and then %q of the same record", first, again)
			}
			if clk, problems := w.Encode(row); len(problems) == 0 && len(clk) != (s.Bits()+7)/8 {
				t.Fatalf("%d bytes for %d bits", len(clk), s.Bits())
			}
		}
	})
}

// TestLimits: the most that is taken can be encoded, and one more is refused.
func TestLimits(t *testing.T) {
	most := map[string]int{"L": 1 << 16, "FOLDS": 1, "SIZE": 15, "N": maxGram, "K": maxBits, "COUNT": 3}
	document := func(limits map[string]int) []byte {
		feature := `{"identifier": "x", "format": {"type": "string"}, "hashing": {"comparison": {"type": "ngram", "n": $N}, "strategy": {"bitsPerToken": $K}}}`
		text := `{"version": 3, "clkConfig": {"l": $L, "xor_folds": $FOLDS, "kdf": {"type": "HKDF", "keySize": $SIZE}}, "features": [` + feature + strings.Repeat(", "+feature, limits["COUNT"]-1) + `]}`
		for name, value := range limits {
			text = strings.ReplaceAll(text, "$"+name, fmt.Sprint(value))
		}
		return []byte(text)
	}
	w := newEncoder(t, document(most), "secret").NewWorker(0)
	if clk := encodeText(w, slices.Repeat([]string{"x"}, most["COUNT"])); len(clk) < 4*most["L"]/24 {
		t.Errorf("the most that is taken is not encoded: %d characters", len(clk))
	}
	for name, wrong := range map[string]int{"L": 1<<16 + 2, "FOLDS": 2, "N": maxGram + 1, "K": maxBits + 1, "COUNT": maxFeatures + 1} {
		more := maps.Clone(most)
		if more[name] = wrong; name == "COUNT" {
			more["SIZE"] = 1
		}
		if _, err := Parse(document(more)); err == nil {
			t.Errorf("%s of %d is taken", name, wrong)
		}
	}
}
