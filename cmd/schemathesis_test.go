package cmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/bench/keyholder"
	"tarn/bench/schemathesis"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/client"
	"tarn/keys/oprf"
)

// TestKeyholderAnswersAsDescribed has schemathesis call the running service as
// an operator and as a tokeniser, with requests that its description allows and
// with some that it does not: no failure of the service, no status, type or
// document that is not described, nothing taken that is not allowed.
func TestKeyholderAnswersAsDescribed(t *testing.T) {
	program := schemathesis.Program()
	if program == "" {
		t.Skip(schemathesis.Absent)
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
	// Before schemathesis tries codes: after too many nobody enrols for a while.
	for name, scheme := range domainsOfBatches {
		must(t, s.AddDomain(t.Context(), name, scheme))
		must(t, s.AddProject(t.Context(), keyholder.Record("of-"+name, name, scheme)))
		for _, client := range atDomain(name) {
			must(t, s.AddTokeniser(t.Context(), client, "of-"+name))
		}
	}
	operator := s.operator()
	defer operator.Close()
	made, err := operator.Operations(t.Context(), api.OpExecuted)
	must(t, err)
	// Names that are there, so that calls get past the question whether they are.
	config := filepath.Join(s.Folder, "schemathesis.toml")
	if err := os.WriteFile(config, []byte("[parameters]\nproject = \"sample\"\ndomain = \"lake\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	call := func(config string, environment []string, who, description string, more ...string) (int, string) {
		t.Helper()
		folder := filepath.Join(s.Folder, who)
		// The methods of people are called as people: see keys/holder.
		called := schemathesis.Run{Program: program, Config: config, URL: s.URL, CA: s.CA(), Folder: s.Folder, Environment: environment, Arguments: []string{
			"--request-cert", filepath.Join(folder, "cert.pem"), "--request-cert-key", filepath.Join(folder, "key.pem"),
			"--exclude-path-regex", "^/v1/(me$|reidentifications|worklists|audit/)", "--phases", "coverage,fuzzing,stateful",
			// What a schema cannot say, such as that a thing exists, may be refused.
			"--exclude-checks", "positive_data_acceptance",
		}}
		code, said, err := called.Call(t.Context(), description, more...)
		must(t, err)
		return code, said
	}
	run := func(who, description string, more ...string) (int, string) {
		t.Helper()
		return call(config, nil, who, description, more...)
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
	if err != nil || len(operations) < len(made)+2 {
		t.Errorf("%d changes were carried out: %v", len(operations)-len(made), err)
	}
	t.Logf("%d leases, %d changes carried out", len(leases), len(operations)-len(made))
	s.batches(operator, call)

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

// address is what the header of a batch says, for the hooks of
// testdata/python/batches.py.
type address struct {
	Operation    oprf.Operation `json:"op"`
	DomainNo     uint32         `json:"domain_no"`
	TokenEpoch   uint32         `json:"token_epoch"`
	ToDomainNo   uint32         `json:"to_domain_no"`
	ToTokenEpoch uint32         `json:"to_epoch"`
}

// domainsOfBatches are domains whose tokens the key holder makes, with their schemes.
// Each has a project, of-NAME, and clients: see atDomain.
var domainsOfBatches = map[string]string{"pond": keys.SchemeOblivious, "river": keys.SchemeOblivious, "spring": keys.SchemeRFC9497}

// atDomain are the clients of a domain's project. Schemathesis may come across the name of
// one, and revoke it.
func atDomain(name string) []string {
	return []string{"at-" + name, "also-at-" + name, "yet-at-" + name}
}

// stillAt is a client of a domain's project that was not revoked.
func (s *service) stillAt(operator *client.Client, name string) string {
	s.t.Helper()
	clients, err := operator.Clients(s.t.Context())
	must(s.t, err)
	for _, c := range clients {
		if c.State == "enrolled" && slices.Contains(atDomain(name), c.Name) {
			return c.Name
		}
	}
	s.t.Fatalf("every client of %s was revoked", name)
	return ""
}

// batches has schemathesis send batches of points, whole ones and wrong ones, to
// the paths that take octets, and counts those that were answered by what the key
// holder's log has of them. Octets at random, which it sent before, are the control:
// none of them got past the header.
func (s *service) batches(operator *client.Client, call func(config string, environment []string, who, description string, more ...string) (int, string)) {
	s.t.Helper()
	no := map[string]uint32{}
	for name := range domainsOfBatches {
		domain, err := operator.Domain(s.t.Context(), name)
		must(s.t, err)
		no[name] = domain.DomainNo
	}
	_, err := operator.Ask(s.t.Context(), api.OpKeyRotate, api.KeyChange{Domain: "pond", Reason: "yearly"})
	must(s.t, err)
	_, err = operator.Ask(s.t.Context(), api.OpGrantAdd, api.GrantAdd{Name: "join", Kind: api.GrantConvert, From: "pond", To: "river", Purpose: "a test", LegalBasis: "none",
		OptOuts: "2026-11-01", RowCap: 1_000_000, Expires: time.Now().AddDate(0, 1, 0)})
	must(s.t, err)
	if before := s.evaluated(operator); len(before) > 0 {
		s.t.Errorf("control: octets at random were evaluated: %v", before)
	}
	for _, x := range []struct {
		domain, paths string
		addresses     map[string]address
	}{
		{"pond", "^/v1/(points|domains/[^/]+/rotations|grants/[^/]+/convert)$", map[string]address{
			"points.evaluate": {oprf.Evaluate, no["pond"], 2, 0, 0},
			"tokens.rotate":   {oprf.Rotate, no["pond"], 1, no["pond"], 2},
			"tokens.convert":  {oprf.Convert, no["pond"], 2, no["river"], 1},
		}},
		{"spring", "^/v1/points$", map[string]address{"points.evaluate": {oprf.EvaluateRFC9497, no["spring"], 1, 0, 0}}},
	} {
		addresses, err := json.Marshal(x.addresses)
		must(s.t, err)
		config := filepath.Join(s.Folder, x.domain+".toml")
		must(s.t, os.WriteFile(config, fmt.Appendf(nil, "hooks = %q\n[parameters]\nproject = \"of-%s\"\ndomain = %q\ngrant = \"join\"\n",
			filepath.Join(repository(s.t), "testdata", "python", "batches.py"), x.domain, x.domain), 0o600))
		code, said := call(config, []string{"TARN_BATCHES=" + string(addresses)}, s.stillAt(operator, x.domain), filepath.Join(repository(s.t), "keys/api/openapi.json"),
			"--include-path-regex", x.paths, "--phases", "coverage,fuzzing", "--max-examples", "60")
		if code != 0 {
			s.t.Errorf("with batches, at %s: exit %d:\n%s", x.domain, code, said)
		}
	}
	after := s.evaluated(operator)
	for _, what := range []string{"evaluate in pond", "rotate in pond", "convert in pond", "evaluate in spring"} {
		if after[what] < 5 {
			s.t.Errorf("%s: %d batches were answered: they stopped at the door", what, after[what])
		}
	}
	s.t.Logf("batches answered: %v", after)
}

// evaluated counts the batches that the log has, by kind and domain.
func (s *service) evaluated(operator *client.Client) map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	for after, more := "", true; more; more = after != "" {
		events, next, err := operator.Events(s.t.Context(), after)
		must(s.t, err)
		for _, event := range events {
			var leaf audit.Leaf
			must(s.t, json.Unmarshal(event.Leaf, &leaf))
			switch leaf.Kind {
			case audit.KindEvaluate, audit.KindRotate, audit.KindConvert:
				counts[fmt.Sprintf("%s in %s", leaf.Kind, leaf.Domain)]++
			}
		}
		after = next
	}
	return counts
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
