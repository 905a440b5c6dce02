package demographics_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"tarn/tokenise/demographics"
)

// TestDocument holds the examples of docs/normalisation.md to what the
// normalisers do, and the document to all tables and codes that there are.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("../../docs/normalisation.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	kind := ""
	cell := regexp.MustCompile("^`(.+)`$")
	for i, line := range strings.Split(string(b), "\n") {
		cells := strings.Split(line, "|") // nothing, three cells, nothing
		if len(cells) != 5 {
			kind = ""
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		cells = cells[1:4]
		first := cells[0]
		if cells[1] == "becomes" {
			kind = first
			continue
		}
		raw := cell.FindStringSubmatch(first)
		if kind == "" || raw == nil {
			continue
		}
		want := ""
		if becomes := cell.FindStringSubmatch(cells[1]); becomes != nil {
			want = becomes[1]
		}
		if got, code, _ := normalise(kind, raw[1]); got != want {
			t.Errorf("line %d: %s %q gives %q with code %q", i+1, kind, raw[1], got, code)
		}
		examples++
	}
	if examples < 50 {
		t.Errorf("%d examples found, want more than 50", examples)
	}
	codes, err := os.ReadFile("../reason/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`Code += "(\w+)"|= "(\w+)"`).FindAllStringSubmatch(string(codes), -1)
	if len(found) < 20 {
		t.Errorf("%d codes found, want 20 or more", len(found))
	}
	for _, code := range found {
		if name := code[1] + code[2]; !strings.Contains(string(b), "| `"+name+"` |") {
			t.Errorf("the code %s is not explained", name)
		}
	}
	for _, table := range demographics.Tables() {
		if !strings.Contains(string(b), "| `"+table.Name+"` |") {
			t.Errorf("the table %s is not explained", table.Name)
		}
	}
}
