package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tarn/bench/keyholder"
	"tarn/keys"
	"tarn/keys/api"
)

// TestKeyholderAnswersAsDescribed has schemathesis call the running service as
// an operator and as a tokeniser, with requests that its description allows and
// with some that it does not: no failure of the service, no status, type or
// document that is not described, nothing taken that is not allowed.
func TestKeyholderAnswersAsDescribed(t *testing.T) {
	python := os.Getenv("TARN_PYTHON")
	program := filepath.Join(filepath.Dir(python), "schemathesis")
	if _, err := os.Stat(program); python == "" || err != nil {
		t.Skip("TARN_PYTHON is not set or has no schemathesis beside it, so the service is not called by it: make venv installs it")
	}
	s := newService(t)
	err := s.AddDomain(t.Context(), "lake", keys.SchemeKeyedHash)
	if err == nil {
		err = s.AddProject(t.Context(), keyholder.Record("sample", "lake", keys.SchemeKeyedHash))
	}
	if err == nil {
		err = s.AddTokeniser(t.Context(), "region", "sample")
	}
	if err != nil {
		t.Fatal(err)
	}
	// Names that are there, so that calls get past the question whether they are.
	config := filepath.Join(s.Folder, "schemathesis.toml")
	if err := os.WriteFile(config, []byte("[parameters]\nproject = \"sample\"\ndomain = \"lake\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(who, description string, more ...string) (int, string) {
		t.Helper()
		folder := filepath.Join(s.Folder, who)
		command := exec.Command(program, slices.Concat([]string{
			"--no-color", "--config-file", config, "run", description, "--url", s.URL, "--tls-verify", s.CA(),
			"--request-cert", filepath.Join(folder, "cert.pem"), "--request-cert-key", filepath.Join(folder, "key.pem"),
			"--generation-deterministic", "--max-examples", "20", "--phases", "coverage,fuzzing,stateful", "--continue-on-failure",
			// What a schema cannot say, such as that a thing exists, may be refused.
			"--exclude-checks", "positive_data_acceptance",
		}, more)...)
		command.Dir = s.Folder // it leaves what failed there
		said, err := command.CombinedOutput()
		if err != nil && command.ProcessState == nil {
			t.Fatal(err)
		}
		return command.ProcessState.ExitCode(), string(said)
	}
	for _, call := range [][]string{
		{keyholder.Operator}, {"region"},
		// Of all methods hardly any sequence leads from a lease to its end.
		{"region", "--include-path-regex", "^/v1/projects/.*/leases", "--exclude-operation-id", "leases.list", "--phases", "stateful", "--max-examples", "60"},
	} {
		who, more := call[0], call[1:]
		if code, said := run(who, filepath.Join(repository(t), "keys/api/openapi.json"), more...); code != 0 {
			t.Errorf("as %s: exit %d:\n%s", who, code, said)
		}
	}
	// The calls did something: keys were leased, and changes asked for.
	operator := s.operator()
	defer operator.Close()
	leases, err := operator.Leases(t.Context(), "sample")
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"active", "ended"} {
		if !slices.ContainsFunc(leases, func(l api.LeaseRecord) bool { return l.State == state }) {
			t.Errorf("of %d leases none is %s: the calls stopped at the door", len(leases), state)
		}
	}
	operations, err := operator.Operations(t.Context(), api.OpExecuted)
	if err != nil || len(operations) < 5 {
		t.Errorf("%d changes were carried out: %v", len(operations), err)
	}
	t.Logf("%d leases, %d changes carried out", len(leases), len(operations))

	// Control: descriptions of another service are found out.
	for name, lie := range map[string]string{
		"a member that is not there": `"required": ["method", "sealed", "planted"]`,
		"another type":               `"required": ["method", "sealed"], "properties": {"sealed": {"type": "string"}}, "additionalProperties": true`,
	} {
		said := s.lie(run, lie)
		if !strings.Contains(said, "Response violates schema") {
			t.Errorf("control: %s is not noticed: %s", name, said)
		}
	}
}

// lie runs schemathesis on a description whose seal status is another, and
// returns what it says; it has to fail.
func (s *service) lie(run func(who, description string, more ...string) (int, string), members string) string {
	s.t.Helper()
	var document map[string]any
	if err := json.Unmarshal(api.OpenAPI(), &document); err != nil {
		s.t.Fatal(err)
	}
	var status map[string]any
	if err := json.Unmarshal([]byte(`{"type": "object", `+members+`}`), &status); err != nil {
		s.t.Fatal(err)
	}
	document["components"].(map[string]any)["schemas"].(map[string]any)["SealStatus"] = status
	b, err := json.Marshal(document)
	path := filepath.Join(s.Folder, "lie.json")
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	code, said := run(keyholder.Operator, path, "--include-path", "/v1/seal-status", "--include-method", "GET")
	if code == 0 {
		return fmt.Sprintf("exit 0: %s", said)
	}
	return said
}
