package cmd_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"tarn/bench/attack"
	"tarn/bench/faults"
	"tarn/bench/keyholder"
	"tarn/bench/measure"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/holder"
	"tarn/keys/reidentify"
	"tarn/tokenise/rowkey"
)

// schemaFolder holds a JSON Schema for each document that a command writes.
const schemaFolder = "../docs/schemas"

// withoutSchema are documents that no other program reads.
var withoutSchema = map[string]string{
	"tarn.tokenise-checkpoint/1": "inside the hidden folder of a run, read by the version that wrote it",
	"tarn.column-map/1":          "TOML",
	"tarn.policy/1":              "TOML",
	"tarn.encoding-profile/1":    "written by people; held to its schema beside the code that reads it",
}

// journey runs every command that writes a document or a table once, over the
// binaries as they are shipped, and returns the folder and what was printed as
// JSON.
type journey struct {
	folder  string
	printed [][]byte
}

func (j *journey) run(t *testing.T, code int, name string, args ...string) (printed []byte) {
	t.Helper()
	command := exec.Command(filepath.Join(j.folder, "bin", name), args...)
	command.Dir = j.folder
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	_ = command.Run() // the exit code is looked at
	if got := command.ProcessState.ExitCode(); got != code {
		t.Fatalf("%s %s: exit %d, want %d\n%s", name, strings.Join(args, " "), got, code, stderr.String())
	}
	if slices.Contains(args, "--json") {
		j.printed = append(j.printed, bytes.Clone(stdout.Bytes()))
	}
	return stdout.Bytes()
}

func (j *journey) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(j.folder, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// weakProfile writes a preset in which one field is not compared, which is
// warned of.
func (j *journey) weakProfile(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../tokenise/encode/profiles/nhs-field-1.json")
	if err != nil {
		t.Fatal(err)
	}
	var profile map[string]any
	if err := json.Unmarshal(b, &profile); err != nil {
		t.Fatal(err)
	}
	comparison := profile["comparison"].(map[string]any)
	comparison["fields"] = comparison["fields"].([]any)[1:]
	if b, err = json.Marshal(profile); err != nil {
		t.Fatal(err)
	}
	j.write(t, "weak.profile.json", b)
	return "weak.profile.json"
}

func newJourney(t *testing.T) *journey {
	t.Helper()
	j := &journey{folder: t.TempDir()}
	build(t, filepath.Join(j.folder, "bin"))
	j.run(t, 0, "tarn", "synth", "--people", "400", "--parties", "2", "--seed", "5", "--errors", "nhs", "--encode", "--out", "people")
	table, err := os.ReadFile(filepath.Join(j.folder, "people", "north.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(table), "\n")
	lines[5] = "a line with too few fields\n"
	lines[6] = strings.Replace(lines[6], ",", ",123", 1) // a number of the wrong length
	j.write(t, "holes.csv", []byte(strings.Join(lines, "")))
	j.write(t, "headers.csv", []byte(lines[0]))
	project := []string{"--project", "people/project.json", "--key-file", "people/keys.json"}
	j.run(t, 0, "tokeniser", append([]string{"run", "--in", "holes.csv", "--source", "north", "--confirm-map", "--out", "holes.parquet", "--groups", "holes.groups.parquet", "--json"}, project...)...)
	j.run(t, 0, "tokeniser", append([]string{"run", "--in", "people/south.csv", "--confirm-map", "--out", "south.parquet", "--groups", "south.groups.parquet"}, project...)...)
	j.run(t, 0, "tokeniser", "profile", "--in", "holes.csv", "--json")
	j.run(t, 0, "tokeniser", append([]string{"column", "--in", "holes.csv", "--column", "nhs_number", "--out", "tokens.csv", "--quarantine", "refused.csv", "--json"}, project...)...)
	j.run(t, 0, "tokeniser", "encoding", "check", j.weakProfile(t), "--json")
	archive, err := txtar.ParseFile("testdata/script/clkhash.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range archive.Files {
		if file.Name == "people.csv" || file.Name == "schema.json" {
			j.write(t, "clk."+file.Name, file.Data)
		}
	}
	j.write(t, "secret.txt", []byte("a secret of nobody\n"))
	j.run(t, 0, "tokeniser", "run", "--schema", "clk.schema.json", "--secret-file", "secret.txt", "--in", "clk.people.csv", "--out", "clks.json", "--json")
	j.run(t, 0, "tokeniser", "run", "--schema", "clk.schema.json", "--secret-file", "secret.txt", "--in", "clk.people.csv", "--out", "same.clks.json")
	j.run(t, 0, "linker", "link", "clks.json", "same.clks.json", "--method", "clk", "--threshold", "0.7", "--out", "similar")
	j.run(t, 0, "linker", "link", "holes.parquet", "south.parquet", "--out", "result", "--with-tokens", "--json")
	j.run(t, 0, "linker", "model", "compare", "result/model.json", "result/model.json", "--json")
	j.run(t, 0, "tarn", "synth", "--people", "40", "--parties", "2", "--seed", "6", "--errors", "nhs", "--encode", "--out", "few")
	j.run(t, 0, "tarn", "synth", "--people", "40", "--errors", "crate", "--no-numbers", "--out", "nameless")
	j.run(t, 0, "linker", "link", "few/north.parquet", "few/south.parquet", "--out", "unsure")
	j.run(t, 0, "linker", "release", "result", "--out", "release")
	j.run(t, 0, "tarn", "synth", "--people", "40", "--parties", "2", "--seed", "7", "--encode", "--out", "gone")
	j.run(t, 0, "tokeniser", "run", "--project", "few/project.json", "--key-file", "few/keys.json", "--in", "headers.csv", "--source", "south", "--confirm-map", "--out", "nobody.parquet")
	j.run(t, 0, "linker", "link", "few/north.parquet", "nobody.parquet", "--plan", "--json")
	j.run(t, 0, "linker", "link", "gone/north.parquet", "gone/south.parquet", "--out", "purged")
	j.run(t, 0, "linker", "purge", "purged", "--json")
	j.run(t, 0, "linker", "equity", "result", "--groups", "holes.groups.parquet", "south.groups.parquet")
	j.run(t, 0, "linker", "evaluate", "--links", "result/links.parquet", "--truth", "people/truth.csv", "--groups", "people/groups.csv", "--cohorts", "holes.parquet", "south.parquet", "--json")
	j.relationshipDocuments(t)
	j.keyholderDocuments(t, filepath.Join(j.folder, "keyholder"))
	j.run(t, 0, "tarn", "faults", "rollback", "--out", "faults", "--json")
	log := filepath.Join(j.folder, "keyholder", "holder", "log", "1")
	j.run(t, 0, "auditor", "verify", log, "--json")
	j.run(t, 0, "auditor", "report", log, "--month", time.Now().UTC().Format("2006-01"), "--json")
	j.dishonestLog(t)
	tampered := filepath.Join(log, "tile", "entries")
	if err := os.RemoveAll(tampered); err != nil {
		t.Fatal(err)
	}
	j.run(t, 6, "auditor", "verify", log, "--json")
	if _, _, err := rowkey.Open(filepath.Join(j.folder, "state"), "study", "north", nil); err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile(filepath.Join(j.folder, "people", "project.json"))
	if err != nil {
		t.Fatal(err)
	}
	sealed := bytes.Replace(record, []byte(`"token_epoch": 1,`), []byte(`"token_epoch": 1, "escrow_public_key": "`+escrowKeyOfNobody(t)+`",`), 1)
	j.write(t, "sealed.json", sealed)
	j.run(t, 0, "tokeniser", "run", "--project", "sealed.json", "--key-file", "people/keys.json", "--in", "people/north.csv", "--confirm-map", "--out", "sealed.parquet", "--json")
	j.run(t, 0, "tokeniser", "escrow", "import", "sealed.escrow", "--store", "region/store", "--json")
	j.run(t, 0, "tarn", "token", "parse", "tarn1qgqqqqq8qqqsqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8cfc8qfa", "--json")
	j.run(t, 0, "tarn", "demo", "--people", "1000", "--quiet", "--out", "demo")
	figures := &measure.Case{Suite: "none", Name: "none", Unit: "rows/s", HigherIsBetter: true, Parameters: map[string]any{"rows": 1}, Dataset: measure.Dataset{Name: "none", Rows: 1},
		Subject: func(context.Context) (float64, error) { return 2, nil }, Peer: func(context.Context) (float64, error) { return 1, nil },
		TargetOf: func(float64) float64 { return 1 }, Check: func(context.Context) (int64, bool, error) { return 1, true, nil }}
	result, err := figures.Run(t.Context(), 3, "test", time.Now)
	if err == nil {
		result.LatencyMS = &measure.Latency{P50: 1, P99: 2, P999: 3, Max: 4}
		err = result.Write(filepath.Join(j.folder, "bench"))
	}
	if err != nil {
		t.Fatal(err)
	}
	half := .5
	audit, err := keys.Encode(&attack.Document{Schema: attack.Schema, Software: "test", Created: "2026-01-01T00:00:00Z", Profile: attack.Subject{Name: "none", Digest: strings.Repeat("0", 64)},
		Scale: attack.ScaleSmall, NotAttacked: []string{"ward"}, Attacks: []attack.Attack{{ID: "1", Name: "none", Has: "nothing", Finds: "nothing", Expected: attack.ExpectReport, Records: 2, Right: 1,
			Found: &half, Low: &half, High: &half, Chance: &half, Floor: &half, Limit: &half, Must: &half, Verdict: attack.VerdictReported, Control: &attack.Control{Name: "none", Records: 1, Must: .5}}}})
	if err != nil {
		t.Fatal(err)
	}
	j.write(t, "audit.json", audit)
	j.write(t, "simulation.json", simulation(t))
	return j
}

// simulation returns what the example of a policy would have done to two requests in a
// night.
func simulation(t *testing.T) []byte {
	t.Helper()
	document, err := os.ReadFile(filepath.Join(deployFolder, "config", "policy.toml"))
	must(t, err)
	policy, err := reidentify.ParsePolicy(document)
	must(t, err)
	night := time.Date(2026, 11, 26, 23, 0, 0, 0, time.UTC)
	asked := reidentify.Occasion{At: night, Person: reidentify.Person{Issuer: "https://example.org", Subject: "ann"}, Organisation: "Z99001", Purpose: reidentify.Treatment, Subjects: []string{strings.Repeat("0", 32)}}
	again := asked
	again.At = night.Add(time.Hour)
	s := reidentify.Replay(policy, []reidentify.Occasion{asked, again})
	s.Software, s.Created = "tarn test", "2026-11-27T00:00:00Z"
	written, err := keys.Encode(s)
	must(t, err)
	return written
}

// keyholderDocuments leaves what a key holder and its operator write: with
// custody by a passphrase and by shares, whose documents have members of their
// own, and of a running one.
func (j *journey) keyholderDocuments(t *testing.T, folder string) {
	t.Helper()
	for name, custody := range map[string]holder.Custody{
		"passphrase": {Method: "passphrase", Passphrase: []byte("a passphrase of nobody's at all")},
		"shares":     {Method: "shares", Threshold: 2, Shares: 3},
	} {
		elsewhere := filepath.Join(folder, name+"-anchor")
		if err := os.MkdirAll(elsewhere, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := holder.Init(t.Context(), holder.InitOptions{
			Dir: filepath.Join(folder, name), Anchor: filepath.Join(elsewhere, "anchor.json"), Custody: custody, Name: "test", Organisation: "X26",
			Operators: []string{"ann", "bob"}, Hosts: []string{"127.0.0.1"}, Software: "tarn test", Clock: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s := newService(t)
	must(t, s.Kill())
	config, err := os.ReadFile(s.Config)
	must(t, err)
	must(t, os.WriteFile(s.Config, append(config, "[alerts]\nurl = \"http://127.0.0.1:1/nobody\"\n"...), 0o600))
	must(t, s.Start(t.Context()))
	operator := s.operator()
	defer operator.Close()
	raiseAlarm(t, s, operator)
	o, err := operator.Ask(t.Context(), api.OpBackup, api.Backup{})
	if err == nil {
		_, err = operator.Collect(t.Context(), o.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	must(t, s.AddProject(t.Context(), bytes.Replace(keyholder.Record("care", "lake", keys.SchemeKeyedHash), []byte(`"mode":"none"`), []byte(`"mode":"direct"`), 1)))
	j.write(t, "care.json", j.run(t, 0, "keyholder", "project", "show", "care", "--as", s.Credentials(keyholder.Operator), "--keyholder", s.URL))
	j.forwardedDocuments(t, s, operator)
	receipt, err := operator.Receipt(t.Context(), "0")
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "receipt.json"), receipt, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	planted := faults.Acknowledged{Kind: "domain", Name: "planted", Operation: "none"}
	ledger, err := faults.OpenLedger(filepath.Join(t.TempDir(), "ledger"))
	if err == nil {
		err = errors.Join(ledger.Keep(planted), ledger.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	j.run(t, 4, "tarn", "faults", "check", "--ledger", ledger.Path(), "--keyholder", s.URL, "--as", s.Credentials(keyholder.Operator), "--json")
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{"running": s.Folder, "holder": s.Dir} {
		if err := os.CopyFS(filepath.Join(folder, to), os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	// While a key is destroyed the anchor has two marks.
	var anchor map[string]any
	b, err := os.ReadFile(s.Anchor)
	if err == nil {
		err = json.Unmarshal(b, &anchor)
	}
	if err != nil {
		t.Fatal(err)
	}
	anchor["next"] = anchor["current"]
	if b, err = json.Marshal(anchor); err == nil {
		err = os.WriteFile(filepath.Join(folder, "destroying.json"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// nowhereURL is where no key holder answers.
const nowhereURL = "https://127.0.0.1:1"

// forwardedDocuments leaves what a sender and a recipient write: keys, a parcel, opened,
// and what a run leaves that got no answer.
func (j *journey) forwardedDocuments(t *testing.T, s *service, operator *client.Client) {
	t.Helper()
	for domain, project := range map[string]string{"pond": "visits", "registry": "register"} {
		must(t, s.AddDomain(t.Context(), domain, keys.SchemeOblivious))
		must(t, s.AddProject(t.Context(), bytes.Replace(keyholder.Record(project, domain, keys.SchemeOblivious), []byte(`"mode":"none"`), []byte(`"mode":"direct"`), 1)))
		must(t, s.AddTokeniser(t.Context(), project, project))
		j.run(t, 0, "tokeniser", "project", project, "--as", s.Credentials(project), "--out", project+".json")
	}
	j.run(t, 0, "tokeniser", "recipient", "registry", "--out", "registry.keys.json", "--public", "registry.recipient.json")
	grant := api.GrantAdd{Kind: api.GrantConvert, From: "pond", To: "registry", Purpose: "a test", LegalBasis: "none", OptOuts: "none", Expires: time.Now().Add(time.Hour), Recipient: &api.GrantRecipient{Project: "register", Client: "register"}}
	b, err := os.ReadFile(filepath.Join(j.folder, "registry.recipient.json"))
	must(t, err)
	must(t, keys.DecodeStrict(b, &grant.Recipient.Keys))
	for name, rows := range map[string]int64{"whole": 1000, "small": 1} {
		grant.Name, grant.RowCap = name, rows
		_, err := operator.Ask(t.Context(), api.OpGrantAdd, grant)
		must(t, err)
	}
	_, err = operator.Ask(t.Context(), api.OpGrantAdd, api.GrantAdd{Name: "pilot", Kind: api.GrantExport, Project: "sample", Purpose: "a test", LegalBasis: "none", Expires: time.Now().Add(time.Hour)})
	must(t, err)
	o, err := operator.Ask(t.Context(), api.OpKeyExport, api.KeyExport{Project: "sample", Grant: "pilot"})
	if err == nil {
		_, err = operator.Collect(t.Context(), o.ID)
	}
	must(t, err)
	show := func(name string) {
		j.write(t, name+".grant.json", j.run(t, 0, "keyholder", "grant", "show", name, "--as", s.Credentials(keyholder.Operator), "--keyholder", s.URL))
	}
	show("small")
	show("pilot")
	show("whole")
	between := []string{"--from", "visits.json", "--to", "register.json"}
	j.run(t, 0, "tokeniser", "column", "--project", "visits.json", "--as", s.Credentials("visits"), "--in", "people/north.csv", "--column", "nhs_number", "--out", "visits.csv")
	j.run(t, 5, "tokeniser", append([]string{"convert", "--grant", "whole.grant.json", "--as", s.Credentials("visits"), "--keyholder", nowhereURL, "--in", "visits.csv", "--column", "nhs_number", "--out", "small.parcel"}, between...)...)
	j.run(t, 0, "tokeniser", append([]string{"convert", "--grant", "whole.grant.json", "--as", s.Credentials("visits"), "--in", "visits.csv", "--column", "nhs_number", "--out", "visits.parcel", "--json"}, between...)...)
	j.run(t, 0, "tokeniser", "receive", "--in", "visits.parcel", "--recipient-keys", "registry.keys.json", "--to", "register.json", "--as", s.Credentials("register"), "--keyholder", s.URL, "--out", "received.csv", "--json")
	show("whole") // it is used now
	archive, err := zip.OpenReader(filepath.Join(j.folder, "visits.parcel"))
	must(t, err)
	must(t, os.CopyFS(filepath.Join(j.folder, "parcel"), archive))
	must(t, archive.Close())
}

// raiseAlarm has a client use up its budget, and waits for the alert that nobody
// hears.
func raiseAlarm(t *testing.T, s *service, operator *client.Client) {
	t.Helper()
	must(t, s.AddDomain(t.Context(), "lake", keys.SchemeKeyedHash))
	must(t, s.AddProject(t.Context(), keyholder.Record("sample", "lake", keys.SchemeKeyedHash)))
	must(t, s.AddTokeniser(t.Context(), "north", "sample"))
	budgets, err := operator.Budgets(t.Context())
	if err != nil || len(budgets) == 0 {
		t.Fatalf("%v, %v", budgets, err)
	}
	north, err := s.As("north")
	must(t, err)
	defer north.Close()
	for _, rows := range []int64{budgets[0].Rows * 95 / 100, budgets[0].Rows * 6 / 100} {
		_, err = north.Lease(t.Context(), "sample", api.LeaseRequest{Use: api.UseToken, RowsExpected: rows})
	}
	if client.Code(err) != api.CodeBudget {
		t.Fatalf("beyond its budget: %v", err)
	}
	for range 1500 {
		if spooled, err := filepath.Glob(filepath.Join(s.Dir, "alerts", "*.json")); err == nil && len(spooled) == 2 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("there is no alert")
}

// documents returns every JSON document of the journey, and those of
// testdata/formats that people write, by the schema that each names.
func (j *journey) documents(t *testing.T) map[string][][]byte {
	t.Helper()
	documents := map[string][][]byte{}
	add := func(from string, content []byte) {
		var head struct {
			Schema string `json:"schema"`
		}
		if err := json.Unmarshal(content, &head); err != nil || head.Schema == "" {
			t.Errorf("%s is no document that names its schema: %v", from, err)
		}
		documents[head.Schema] = append(documents[head.Schema], content)
	}
	for _, content := range j.printed {
		add("what was printed", content)
	}
	err := filepath.WalkDir(j.folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".json" || strings.Contains(path, "clk") {
			return err
		}
		b, err := os.ReadFile(path)
		add(entry.Name(), b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../testdata/formats/project.json")
	if err != nil {
		t.Fatal(err)
	}
	add("testdata/formats/project.json", example)
	// A soak takes minutes: what it writes is held to this file, byte for byte, where it is written.
	report, err := os.ReadFile("../testdata/formats/soak.json")
	if err != nil {
		t.Fatal(err)
	}
	add("testdata/formats/soak.json", report)
	return documents
}

// schemaOf returns a schema as it is written and as it judges.
func schemaOf(t *testing.T, name string) (written map[string]any, judge *jsonschema.Schema) {
	t.Helper()
	short, version, _ := strings.Cut(strings.TrimPrefix(name, "tarn."), "/")
	path := filepath.Join(schemaFolder, short+".schema.json")
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &written)
	}
	if err != nil {
		t.Fatal(err)
	}
	if written["$id"] != "tarn:"+short+"/"+version {
		t.Errorf("%s is not of %s", path, name)
	}
	if judge, err = jsonschema.NewCompiler().Compile(path); err != nil {
		t.Fatal(err)
	}
	return written, judge
}

func valid(judge *jsonschema.Schema, document any) error {
	b, err := json.Marshal(document)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return judge.Validate(v)
}

// members calls f for each object of a document that a schema lists the
// members of, with its place in the schema.
func members(schema map[string]any, document any, place string, f func(place string, schema, object map[string]any)) {
	switch v := document.(type) {
	case map[string]any:
		if properties, ok := schema["properties"].(map[string]any); ok {
			f(place, schema, v)
			for name, value := range v {
				if below, ok := properties[name].(map[string]any); ok {
					members(below, value, place+"/"+name, f)
				}
			}
		} else if below, ok := schema["additionalProperties"].(map[string]any); ok {
			for _, value := range v {
				members(below, value, place+"/*", f)
			}
		}
	case []any:
		if below, ok := schema["items"].(map[string]any); ok {
			for _, value := range v {
				members(below, value, place+"/-", f)
			}
		}
	}
}

// listed returns every member that a schema lists.
func listed(schema map[string]any, place string, into map[string]bool) {
	properties, _ := schema["properties"].(map[string]any)
	for name, below := range properties {
		into[place+"/"+name] = true
		listed(below.(map[string]any), place+"/"+name, into)
	}
	for _, step := range []struct{ name, mark string }{{"items", "/-"}, {"additionalProperties", "/*"}} {
		if below, ok := schema[step.name].(map[string]any); ok {
			listed(below, place+step.mark, into)
		}
	}
}

// TestDocumentsMeetTheirSchemas: what the commands write meets its schema; the
// schema lists nothing that is not written; and it refuses a document with a
// member more or one less.
func TestDocumentsMeetTheirSchemas(t *testing.T) {
	j := newJourney(t)
	documents := j.documents(t)
	for _, name := range schemaNames(t) {
		if withoutSchema[name] != "" {
			continue
		}
		if len(documents[name]) == 0 {
			t.Errorf("nothing wrote a document of %s", name)
			continue
		}
		written, judge := schemaOf(t, name)
		never := map[string]bool{}
		listed(written, "", never)
		tried := map[string]bool{}
		for _, content := range documents[name] {
			var document any
			if err := json.Unmarshal(content, &document); err != nil {
				t.Fatal(err)
			}
			if err := valid(judge, document); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			members(written, document, "", func(place string, schema, object map[string]any) {
				for member := range object {
					delete(never, place+"/"+member)
				}
				if tried[place] {
					return
				}
				tried[place] = true
				object["of_another_kind"] = 1
				if valid(judge, document) == nil {
					t.Errorf("%s: a member that is not listed passes at %q", name, place)
				}
				delete(object, "of_another_kind")
				required, _ := schema["required"].([]any)
				for _, member := range required {
					value := object[member.(string)]
					delete(object, member.(string))
					if valid(judge, document) == nil {
						t.Errorf("%s: a document without %s/%s passes", name, place, member)
					}
					object[member.(string)] = value
				}
			})
		}
		for member := range never {
			t.Errorf("%s lists %s, which nothing writes", name, member)
		}
	}
	t.Run("columns", func(t *testing.T) { j.columns(t) })
}

// schemaNames returns the schemas that the code names.
func schemaNames(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	name := regexp.MustCompile(`"(tarn\.[a-z-]+/[0-9]+)"`)
	for _, root := range []string{"../keys", "../linkage", "../tokenise", "../bench", "."} {
		err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			for _, match := range name.FindAllStringSubmatch(string(b), -1) {
				found[match[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	names := slices.Sorted(maps.Keys(found))
	if len(names) < 15 {
		t.Fatalf("found %d schemas: the test is blind", len(names))
	}
	return names
}

// TestOptionalMembersOfAProject: a project that a schema accepts is read,
// whichever of the members that may be missing are.
func TestOptionalMembersOfAProject(t *testing.T) {
	written, judge := schemaOf(t, keys.ProjectSchema)
	b, err := os.ReadFile("../testdata/formats/project.json")
	if err != nil {
		t.Fatal(err)
	}
	optional := 0
	for pass := range 2 { // 0: each alone, 1: all together
		var document any
		if err := json.Unmarshal(b, &document); err != nil {
			t.Fatal(err)
		}
		read := func() {
			t.Helper()
			b, err := json.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			if err := valid(judge, document); err != nil {
				t.Errorf("the schema: %v", err)
			}
			if _, err := keys.ParseProject(b); err != nil {
				t.Error(err)
			}
		}
		read()
		members(written, document, "", func(_ string, schema, object map[string]any) {
			for _, member := range slices.Sorted(maps.Keys(object)) {
				if slices.Contains(schema["required"].([]any), any(member)) {
					continue
				}
				optional++
				value := object[member]
				delete(object, member)
				read()
				if pass == 0 {
					object[member] = value
				}
			}
		})
	}
	if optional < 20 {
		t.Errorf("%d members may be missing: the test is blind", optional)
	}
}
