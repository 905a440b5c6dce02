package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tarn/bench/load"
	"tarn/bench/tokeniser"
)

// regionSites are where the tests panic in the tokenise service: in a request, with a row in
// the value, and in a goroutine of a library's, which ends the process.
var regionSites = []patch{
	{"tokenise/httpapi/planted.go", "", plant("httpapi")},
	{"tokenise/httpapi/tokenise.go", "\t\tif err := w.Answer(&rows[i], j.asked, token, &b.answer); err != nil {\n", "\t\tplanted(\"request\", rows[i])\n\t\tif err := w.Answer(&rows[i], j.asked, token, &b.answer); err != nil {\n"},
}

// testRegion has the tokenise service panic with people in the value. What else can happen to
// them there is scenario 12 of bench/faults.
func (l *leakage) testRegion(t *testing.T) {
	for _, c := range []struct {
		how     string
		patches []patch
		found   bool // the control: without what holds the value back somebody is
	}{
		{"request", regionSites, false}, {"request in a library", regionSites, false},
		{"request said", regionSites, true}, {"request in a library", append(regionSites, softened[1]), true},
	} {
		folder := t.TempDir()
		s, err := tokeniser.New(tokeniser.Options{Binary: plantFor(t, t.TempDir(), "tokeniser", c.patches...), Folder: folder, Clock: time.Now, Limits: "cached_dates = 1\n", LogLevel: "debug", Metrics: true,
			Projects: []tokeniser.Project{{File: filepath.Join(l.people, "project.json"), KeyFile: filepath.Join(l.people, "keys.json"), Clients: []string{"etl"}, BudgetRows: 1 << 30}}})
		must(t, err)
		t.Setenv("TARN_TEST_PLANT", c.how)
		must(t, s.Start(t.Context(), "env", "-C", l.core, "GOTRACEBACK=crash"))
		ready, cancel := context.WithTimeout(t.Context(), time.Minute)
		must(t, s.Ready(ready, "synth-9", "etl"))
		cancel()
		target, err := s.Target("synth-9", "etl", "")
		must(t, err)
		conn := load.NewConn(target, 1)
		var answers bytes.Buffer
		count := map[int]int{}
		for i, p := range strangers()[:20] {
			row, err := json.Marshal(map[string]string{"unique_id": p.ID, "nhs_number": p.Number, "given_name": p.Given, "family_name": p.Family, "date_of_birth": p.Birth.Format(time.DateOnly), "postcode": p.Postcode})
			must(t, err)
			a, err := conn.Do(&load.Request{Media: "application/json", Body: fmt.Appendf(nil, `{"rows":[%s]}`, row)}, fmt.Sprintf("00000000-0000-4000-8000-%012d", i), 10*time.Second)
			if err != nil {
				continue
			}
			count[a.Status]++
			fmt.Fprintf(&answers, "%v %s\n", a.Header, a.Body)
		}
		conn.Close()
		said := func() string { return s.Process.Said() }
		if c.how == "request" {
			page, err := s.MetricsPage(t.Context())
			must(t, err)
			noneAstray(t, "the metrics", strangersScanner().Text("metrics", page), nowhere)
		}
		if strings.HasSuffix(c.how, "library") {
			<-s.Process.Ended()
			if code := s.Process.ExitCode(); !c.found && (code != 1 || !strings.Contains(said(), "panic, its value withheld because it could hold data")) {
				t.Errorf("exit %d: %s", code, said())
			}
		}
		must(t, s.Kill()) // all that it said has been read
		if c.how == "request" && (count[500] != 20 || strings.Count(said(), "a request ended in a panic") != 20) {
			t.Errorf("it was answered, by status: %v, and says %s", count, said())
		}
		found := strangersScanner().Text("output", said())
		if c.found {
			if len(found) == 0 {
				t.Errorf("%s: nobody was found in what it said, though somebody was planted: %s", c.how, said())
			}
			continue
		}
		noneAstray(t, c.how+": what it says", found, nowhere)
		noneAstray(t, c.how+": what is answered", strangersScanner().Bytes("answers", answers.Bytes()), nowhere)
		noneInTree(t, c.how+": its folder", folder, nowhere)
	}
}
