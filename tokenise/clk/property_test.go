package clk

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/bench/peer"
)

// agreement counts what was compared, so that the test cannot be blind.
type agreement struct {
	schemas, refusedByBoth, refusedHere, beyond int
	records, refused                            int // of schemas that both sides take
	seen                                        map[string]bool
}

// TestAgainstCLKHash holds this package to clkhash on random schemas and
// records: it makes the same CLKs, and refuses the same schemas and records.
func TestAgainstCLKHash(t *testing.T) {
	p := startPeer(t)
	a := agreement{seen: map[string]bool{}}
	for name, formats := range map[string][]string{
		"string": {"string"}, "integer": {"integer"}, "date": {"date"}, "enum": {"enum"}, "mixed": {"string", "integer", "date", "enum"},
	} {
		t.Run(name, func(t *testing.T) { // 100 schemas each, unless -rapid.checks says otherwise
			rapid.Check(t, func(t *rapid.T) { a.compare(t, p, formats) })
		})
	}
	t.Logf("%d schemas: %d refused by both sides, %d refused here and useless to clkhash, %d skipped for their patterns; %d records: %d encoded, %d refused by both sides, %d different CLKs",
		a.schemas, a.refusedByBoth, a.refusedHere, a.beyond, a.records, a.records-a.refused, a.refused, len(a.seen))
	t.Log("left out: l of 1 with prevent_singularity (clkhash never ends), %Z in dates (depends on the machine), characters younger than Unicode 14, lone surrogates, xor_folds above 3")
	if !t.Failed() && (a.records < recordsPerSchema*a.schemas/2 || a.refused > a.records*2/3 || len(a.seen) < a.records/20) {
		t.Error("too little was compared")
	}
}

const recordsPerSchema = 20

func (a *agreement) compare(t *rapid.T, p *peer.Peer, formats []string) {
	d := drawSchema(t, formats)
	rows := make([][]string, recordsPerSchema)
	for i := range rows {
		for _, values := range d.values {
			rows[i] = append(rows[i], values.Draw(t, "value"))
		}
	}
	secret := rapid.StringMatching(`[ -~é]{1,80}`).Draw(t, "secret")
	document, err := json.Marshal(d.schema)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		CLKs    []*string `json:"clks"`
		Refused bool      `json:"refused"`
	}
	p.Ask(t, map[string]any{"schema": rawJSON(document), "secret": secret, "rows": rows}, &answer)
	a.schemas++
	s, err := Parse(document)
	switch {
	case answer.Refused && err != nil:
		a.refusedByBoth++
		return
	case answer.Refused:
		t.Fatalf("clkhash refuses this schema, and it is taken here: %s", document)
	case err != nil && strings.Contains(err.Error(), "cannot be used here"):
		a.beyond++ // a pattern that Go cannot match as Python does
		return
	case err != nil:
		for i, clk := range answer.CLKs {
			if clk != nil && d.complete(rows[i]) {
				t.Fatalf("refused here (%v), but clkhash makes a CLK of row %d %+q: %s", err, i, rows[i], document)
			}
		}
		a.refusedHere++
		return
	}
	key, err := NewSecret([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(s, key)
	if err != nil {
		t.Fatal(err)
	}
	w := e.NewWorker(some(t, 1<<15, 1<<22)) // with the first, values push each other out
	for range 2 {                           // the second time some are in it
		for i, row := range rows {
			want := ""
			if answer.CLKs[i] != nil {
				want = *answer.CLKs[i]
			}
			if got := encodeText(w, row); got != want {
				t.Fatalf("row %d %+q: got %q, want %q with %s", i, row, got, want, document)
			}
		}
	}
	a.count(answer.CLKs)
}

// complete reports whether every feature has a value to be encoded. What
// clkhash cannot encode at all - keys that are too long for BLAKE2, a directive
// twice - it takes as long as there is nothing to be encoded; here the schema is
// refused.
func (d *drawn) complete(row []string) bool {
	for i, value := range row {
		if value == "" || value == d.sentinels[i] {
			return false
		}
	}
	return true
}

func (a *agreement) count(clks []*string) {
	for _, clk := range clks {
		a.records++
		if clk == nil {
			a.refused++
		} else if !emptyCLK(*clk) {
			a.seen[*clk] = true
		}
	}
}

func emptyCLK(text string) bool {
	b, err := base64.StdEncoding.DecodeString(text)
	return err == nil && strings.Trim(string(b), "\x00") == ""
}
