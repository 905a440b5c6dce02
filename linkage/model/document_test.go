package model

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tarn/keys"
	"tarn/linkage/compare"
)

func written(t *testing.T, m *Model) (*Document, []byte) {
	t.Helper()
	d, err := m.Document([][2]string{{"north", "south"}})
	if err != nil {
		t.Fatal(err)
	}
	d.Software, d.Created, d.Project, d.Profile = "test", "2026-01-01T00:00:00Z", "p", "test"
	b, err := keys.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	return d, b
}

// dependent returns a model whose second field depends on its first.
func dependent(t *testing.T) (*compare.Scheme, Counts, *Model) {
	t.Helper()
	s := scheme(t, 4)
	c := ordinary.counts(s, 1e6)
	m := mustFit(t, s, c)
	m.Dependence.Parent[2], m.Dependence.Given[2] = 0, [][]float64{{.9, .1}, {.2, .8}}
	m.prepare()
	return s, c, m
}

// TestDocumentIsTheModel: a model that is written, read and applied to the same
// counts scores as before.
func TestDocumentIsTheModel(t *testing.T) {
	s, c, m := dependent(t)
	_, b := written(t, m)
	path := filepath.Join(t.TempDir(), "model.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := ReadDocument(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Apply(s, Counts{Cross: c.Cross})
	if err != nil {
		t.Fatal(err)
	}
	if !again.Reused || again.Fitted {
		t.Fatal("a reused model says that it was fitted")
	}
	again.Strata = m.Strata
	again.prepare()
	for code := range codes(s) {
		if x, y := m.Score(0, code), again.Score(0, code); math.Abs(x.Weight-y.Weight) > 1e-9 {
			t.Fatalf("weight %v, %v once read", x.Weight, y.Weight)
		}
	}
	// Shares follow the new counts.
	h := ordinary
	h.prevalence = .05
	if again, err = d.Apply(s, h.counts(s, 1e6)); err != nil || math.Abs(again.Strata[0].Matches-.05) > .01 {
		t.Fatalf("shares %+v, %v", again.Strata, err)
	}
	for name, other := range map[string]*compare.Scheme{"fewer fields": scheme(t, 3), "more fields": scheme(t, 5)} {
		if _, err := d.Apply(other, Counts{}); err == nil || !strings.Contains(err.Error(), "--model") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Fields[1].Name = "another"
	if _, err := d.Apply(s, c); err == nil {
		t.Error("a model was used for another field")
	}
}

// TestParseDocumentRefuses: each mistake, in a document that is read without it.
func TestParseDocumentRefuses(t *testing.T) {
	_, _, m := dependent(t)
	_, good := written(t, m)
	if _, err := ParseDocument(good); err != nil {
		t.Fatal(err)
	}
	for part, spoil := range map[string]func(map[string]any, []any){
		"schema":        func(d map[string]any, _ []any) { d["schema"] = "tarn.link-model/2" },
		"unknown":       func(d map[string]any, _ []any) { d["more"] = 1 },
		"last field":    func(d map[string]any, f []any) { d["fields"] = f[:3] },
		"name is taken": func(_ map[string]any, f []any) { f[1].(map[string]any)["name"] = "f0" },
		"m must hold":   func(_ map[string]any, f []any) { f[1].(map[string]any)["m"] = []float64{.5, .6} },
		"u must hold":   func(_ map[string]any, f []any) { f[1].(map[string]any)["u"] = []float64{0, 1} },
		"same levels":   func(_ map[string]any, f []any) { f[1].(map[string]any)["u"] = []float64{.1, .2, .7} },
		"two fewer":     func(_ map[string]any, f []any) { f[1].(map[string]any)["levels"] = []float64{.5} },
		"u_given":       func(_ map[string]any, f []any) { f[2].(map[string]any)["u_given"] = [][]float64{{.5, .5}} },
		"depends on none": func(_ map[string]any, f []any) {
			f[0].(map[string]any)["given"] = "f2"
			f[0].(map[string]any)["u_given"] = [][]float64{{.5, .5}, {.5, .5}}
		},
		"not add up":        func(d map[string]any, _ []any) { d["strata"].([]any)[0].(map[string]any)["matches"] = .9 },
		"others":            func(d map[string]any, _ []any) { d["others"].(map[string]any)["twins"] = .9 },
		"scheme_digest":     func(_ map[string]any, f []any) { f[1].(map[string]any)["name"] = "another" },
		"not of the expect": func(d map[string]any, _ []any) { d["fields"] = 1 },
	} {
		var d map[string]any
		if err := json.Unmarshal(good, &d); err != nil {
			t.Fatal(err)
		}
		spoil(d, d["fields"].([]any))
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseDocument(b); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one that says %q", err, part)
		}
	}
	// What earlier versions wrote had none of these.
	var d map[string]any
	if err := json.Unmarshal(good, &d); err != nil {
		t.Fatal(err)
	}
	delete(d, "scheme_digest")
	delete(d, "others")
	delete(d, "fit")
	for _, f := range d["fields"].([]any) {
		delete(f.(map[string]any), "given")
		delete(f.(map[string]any), "u_given")
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	old, err := ParseDocument(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Apply(scheme(t, 4), ordinary.counts(scheme(t, 4), 1e5)); err != nil {
		t.Fatal(err)
	}
}

// TestCompareModels: a model differs from itself by nothing, and from one with a
// moved level by that.
func TestCompareModels(t *testing.T) {
	_, _, m := dependent(t)
	a, _ := written(t, m)
	same, err := Compare(a, a)
	if err != nil || same.Largest == nil || same.Largest.Weight != 0 {
		t.Fatalf("%+v, %v", same, err)
	}
	other := *m
	other.M = slices.Clone(m.M)
	other.M[3] = []float64{.25, .75}
	b, _ := written(t, &other)
	d, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := math.Log2(.25 / m.M[3][0])
	if d.Largest.Field != "f3" || d.Largest.Level != 0 || math.Abs(d.Largest.Weight-want) > 1e-9 || len(d.Levels) != 10 {
		t.Fatalf("%+v, want f3 level 0 by %v", d.Largest, want)
	}
	var text bytes.Buffer
	if err := WriteDifference(&text, a, d); err != nil || !strings.Contains(text.String(), "f3 at level 0") {
		t.Fatalf("%v\n%s", err, text.String())
	}
	text.Reset()
	if err := WriteText(&text, a); err != nil || !strings.Contains(text.String(), "u of f2 depends on f0") || strings.Count(text.String(), "identical") < 5 {
		t.Fatalf("%v\n%s", err, text.String())
	}
	fewer, _ := written(t, mustFit(t, scheme(t, 5), hidden{m: []float64{.9, .9, .9, .9, .9}, u: []float64{.1, .1, .1, .1, .1}, prevalence: .3}.counts(scheme(t, 5), 1e5)))
	if _, err := Compare(a, fewer); err == nil {
		t.Fatal("models of other fields were compared")
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"schema":"tarn.link-model/1"}`))
	f.Add([]byte(`{"schema":"tarn.link-model/1","fields":[{"name":"a","measure":"equal","m":[0.1,0.9],"u":[0.9,0.1],"given":"a","u_given":[[0.5,0.5],[0.5,0.5]]},{"name":"nhs_number","measure":"equal","m":[0.1,0.9],"u":[0.9,0.1]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := ParseDocument(b); err == nil {
			if _, err := Compare(d, d); err != nil {
				t.Fatal(err)
			}
			if err := WriteText(&bytes.Buffer{}, d); err != nil {
				t.Fatal(err)
			}
		}
	})
}
