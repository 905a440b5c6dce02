package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tarn/bench/schemathesis"
	"tarn/tokenise/httpapi"
)

// TestTokeniserAnswersAsDescribed has schemathesis call the running tokenise service, as a
// client and as one that is none, with requests that its description allows and with some
// that it does not, in all four forms: no failure of the service, no status, type, header or
// document that is not described; and in each form whole rows that are answered, each.
func TestTokeniserAnswersAsDescribed(t *testing.T) {
	program := schemathesis.Program()
	if program == "" {
		t.Skip(schemathesis.Absent)
	}
	r := newRegion(t)
	description := filepath.Join(repository(t), "tokenise/httpapi/openapi.json")
	answers := r.path("answers")
	call := func(who, description string, more ...string) (int, string) {
		t.Helper()
		r.write("schemathesis.toml", fmt.Sprintf("hooks = %q\n[parameters]\nproject = %q\n", filepath.Join(repository(t), "testdata", "python", "rows.py"), regionProject))
		called := schemathesis.Run{
			Program: program, Config: r.path("schemathesis.toml"), URL: "https://" + r.address, CA: r.path("tls/ca.pem"), Folder: r.folder, Environment: []string{"TARN_ANSWERS=" + answers},
			Arguments: []string{"--request-cert", r.path("tls/" + who + ".pem"), "--request-cert-key", r.path("tls/" + who + ".key"), "--phases", "coverage,fuzzing"},
		}
		code, said, err := called.Call(t.Context(), description, more...)
		must(t, err)
		return code, said
	}
	for name, x := range map[string][]string{
		// What a schema cannot say, such as that a client may see a project, may be refused.
		"client":   {"etl", "--exclude-operation-id", "tokenise", "--exclude-checks", "positive_data_acceptance"},
		"stranger": {"other", "--exclude-checks", "positive_data_acceptance"},
		// A row that is none is refused by itself, in an answer with status 200.
		"rows":       {"etl", "--include-operation-id", "tokenise", "--max-examples", "60", "--exclude-checks", "positive_data_acceptance,negative_data_rejection"},
		"whole rows": {"etl", "--include-operation-id", "tokenise", "--phases", "fuzzing", "--mode", "positive", "--max-examples", "300", "--exclude-checks", "positive_data_acceptance"},
	} {
		if code, said := call(x[0], description, x[1:]...); code != 0 {
			t.Errorf("%s: exit %d:\n%s", name, code, said)
		}
	}
	got := r.answered(answers)
	for _, form := range []string{"application/json", "application/x-ndjson", "text/csv", "application/vnd.apache.arrow.stream"} {
		if got[form].whole < 10 || got[form].rows < 20 || got[form].refused < 3 {
			t.Errorf("%s: %+v: the requests stopped at the door, or none was wrong", form, got[form])
		}
	}
	t.Logf("answers: %+v; %d rows charged", got, r.charged())

	// Control: descriptions of another service are found out.
	for name, lie := range map[string]struct{ from, to, found string }{
		"a member that is not there": {`"required": [` + "\n" + `          "budget",`, `"required": [` + "\n" + `          "planted",` + "\n" + `          "budget",`, "Response violates schema"},
		"a type that is another":     {`"max_rows": {` + "\n" + `                "description": "Rows of a request",` + "\n" + `                "type": "integer",`, `"max_rows": {"type": "string",`, "Response violates schema"},
	} {
		text := strings.Replace(string(httpapi.OpenAPI()), lie.from, lie.to, 1)
		if text == string(httpapi.OpenAPI()) {
			t.Errorf("control: %s is not in the description", name)
			continue
		}
		var any map[string]json.RawMessage
		must(t, json.Unmarshal([]byte(text), &any))
		r.write("lie.json", text)
		if code, said := call("etl", r.path("lie.json"), "--include-operation-id", "project", "--exclude-checks", "positive_data_acceptance"); code == 0 || !strings.Contains(said, lie.found) {
			t.Errorf("control: %s is not noticed: exit %d: %s", name, code, said)
		}
	}
}

// formAnswers is how the requests of a form were answered.
type formAnswers struct {
	whole, rows, refused int
	statuses             map[int]int
}

// answered reads what the hooks have counted.
func (r *region) answered(path string) map[string]formAnswers {
	r.t.Helper()
	b, err := os.ReadFile(path)
	must(r.t, err)
	all := map[string]formAnswers{}
	for line := range strings.Lines(string(b)) {
		var form string
		var status, rows int
		if _, err := fmt.Sscan(line, &form, &status, &rows); err != nil {
			continue // without a body
		}
		x := all[form]
		if x.statuses == nil {
			x.statuses = map[int]int{}
		}
		x.statuses[status]++
		switch {
		case status == 200 && rows > 0:
			x.whole++
			x.rows += rows
		case status != 200 && status != 403:
			x.refused++
		}
		all[form] = x
	}
	return all
}
