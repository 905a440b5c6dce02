//go:build heavy

package holder_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/bench/schemathesis"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/holder"
	"tarn/keys/nhsnumber"
)

// given is what the hooks of testdata/python/people.py fill in.
type given struct {
	Project      string   `json:"project"`
	Organisation string   `json:"organisation"`
	Tokens       []string `json:"tokens"`
	Request      string   `json:"request,omitzero"`
	RequestHash  string   `json:"request_hash,omitzero"`
}

// described is a site that schemathesis calls as people who have signed in.
type described struct {
	*reid
	program, folder string
	tokens          []string
}

// call has schemathesis call as somebody, about one request or about none.
func (s *described) call(bearer, organisation string, about *api.Reidentification, description string, more ...string) (int, string, error) {
	g := given{Project: "care", Organisation: organisation, Tokens: s.tokens}
	if about != nil {
		g.Request, g.RequestHash = about.ID, about.RequestHash
	}
	environment, err := json.Marshal(g)
	if err != nil {
		return 0, "", err
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	folder, err := os.MkdirTemp(s.folder, "run")
	if err != nil {
		return 0, "", err
	}
	run := schemathesis.Run{
		Program: s.program, Config: filepath.Join(s.folder, "schemathesis.toml"), URL: "https://" + s.people, CA: filepath.Join(s.options.Dir, holder.AuthorityFile), Folder: folder,
		Arguments: []string{
			"--warnings", "off",
			// What a schema cannot say, such as that a thing exists, may be refused.
			"--exclude-checks", "positive_data_acceptance",
		},
		Environment: []string{"TARN_PEOPLE=" + string(environment), "TARN_BEARER=" + bearer},
	}
	return run.Call(ctx, description, more...)
}

// TestPeopleAreAnsweredAsDescribed has schemathesis call as people who have signed in, each
// with what they may and much that they may not: no failure of the service, no status, type,
// header or document that is not described, nothing taken that is not allowed, and nothing
// answered to who has not signed in.
func TestPeopleAreAnsweredAsDescribed(t *testing.T) {
	program := schemathesis.Program()
	if program == "" {
		t.Skip(schemathesis.Absent)
	}
	s := &described{
		// Break-glass needs somebody who is told; that nobody hears it there is not looked at.
		reid:    newReid(t, func(o *holder.Options) { o.AlertsURL = "http://127.0.0.1:1/" }),
		program: program, folder: t.TempDir(),
	}
	const hooks = "hooks = %q\n[auth.openapi.bearerAuth]\nbearer = \"${TARN_BEARER}\"\n" +
		// Who asks too often is told so, and what is not as it was when it was decided.
		"[checks.negative_data_rejection]\nexpected-statuses = [400, 401, 403, 404, 409, 410, 413, 415, 429]\n"
	python, err := filepath.Abs("../../testdata/python/people.py")
	if err == nil {
		err = os.WriteFile(filepath.Join(s.folder, "schemathesis.toml"), fmt.Appendf(nil, hooks, python), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, nine := range []string{"943476591", "943476500", "943476501", "943476502", "943476503"} {
		check, can := nhsnumber.CheckDigit([9]byte([]byte(nine)))
		if !can {
			continue
		}
		token := s.token(nine + string(check))
		s.region.registers(token, "Y12345")
		s.tokens = append(s.tokens, token)
	}
	pending := must[api.Reidentification](s.as("other-gp/1"), "POST", "/v1/reidentifications", asks(s.tokens[0], "TREAT", "Y54321"))
	taken := must[api.Reidentification](s.as("other-gp/1"), "POST", "/v1/reidentifications", asks(s.tokens[1], "TREAT", "Y54321"))
	emergency := must[api.Reidentification](s.as("doctor/1"), "POST", "/v1/reidentifications", asks(s.tokens[0], "ETREAT", "RX1"))
	must[api.OpenedItems](s.as("doctor/1"), "POST", "/v1/reidentifications/"+emergency.ID+"/open", nil)
	worklist := must[api.Reidentification](s.as("analyst/1"), "POST", "/v1/worklists", api.WorklistRequest{
		Project: "care", Purpose: "CAREMGT", Organisation: "QMJ", Route: "registered_practice", Reason: api.Reason{Code: "invitation", Text: "Invitations to a review."},
		Items: []api.ReidentificationItem{{Row: 1, Token: s.tokens[0]}, {Row: 2, Token: s.tokens[1]}},
	})
	const description = "../api/openapi.json"
	path, err := filepath.Abs(description)
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	for _, x := range []struct {
		name, bearer, organisation string
		about                      *api.Reidentification
		more                       []string
	}{
		{"a clinician", "gp/1", "Y12345", nil, []string{"--include-path-regex", "^/v1/(me|reidentifications)$", "--phases", "coverage"}},
		{"a clinician who goes on", "gp2/1", "Y12345", nil, []string{"--include-path-regex", "^/v1/reidentifications", "--phases", "stateful", "--max-examples", "10"}},
		{"an approver", "approver/1", "QMJ", &pending, []string{"--include-path-regex", "^/v1/reidentifications/.*/(approvals|receipt)$", "--phases", "coverage,fuzzing"}},
		{"a guardian", "guardian/1", "QMJ", &emergency, []string{"--include-path-regex", "^/v1/(reidentifications/.*/review|audit/who-asked)$", "--phases", "coverage,fuzzing"}},
		{"an analyst", "analyst/1", "QMJ", nil, []string{"--include-path-regex", "^/v1/worklists$", "--phases", "fuzzing", "--max-examples", "40"}},
		{"a practice", "gp2/2", "Y12345", &worklist, []string{"--include-path-regex", "^/v1/worklists/.*/open$", "--phases", "coverage,fuzzing"}},
		{"who asked", "other-gp/1", "Y54321", &taken, []string{"--include-path-regex", "^/v1/reidentifications/[^/]*(/(cancel|open))?$", "--phases", "coverage"}},
	} {
		work.Go(func() {
			code, said, err := s.call(x.bearer, x.organisation, x.about, path, x.more...)
			if err != nil || code != 0 {
				t.Errorf("%s: exit %d, %v:\n%s", x.name, code, err, said)
			}
			t.Logf("%s: %s", x.name, lastOf(said))
		})
	}
	work.Wait()
	// The calls did something: each kind of entry is there.
	counts := map[audit.Kind]int{}
	for _, leaf := range s.leaves() {
		counts[leaf.Kind]++
	}
	for kind, least := range map[audit.Kind]int{
		audit.KindReidRequest: 15, audit.KindReidDecision: 15, audit.KindReidIntent: 3, audit.KindReidOutcome: 3, audit.KindRedeliver: 2, audit.KindApproval: 1,
		audit.KindBreakGlassReview: 1, audit.KindWorklist: 5, audit.KindWhoAsked: 3,
	} {
		if counts[kind] < least {
			t.Errorf("%d entries of kind %s: the calls stopped at the door", counts[kind], kind)
		}
	}
	t.Logf("entries: %v", counts)

	// Control: a description of another service is found out.
	lie := strings.Replace(string(api.OpenAPI()), `"PersonShown": {`+"\n"+`        "type": "object",`, `"PersonShown": {"type": "array",`, 1)
	planted := filepath.Join(s.folder, "lie.json")
	if err := os.WriteFile(planted, []byte(lie), 0o600); err != nil || lie == string(api.OpenAPI()) {
		t.Fatalf("control: the description is not another, %v", err)
	}
	if code, said, err := s.call("gp/1", "Y12345", nil, planted, "--include-operation-id", "me", "--phases", "coverage"); err != nil || code == 0 || !strings.Contains(said, "Response violates schema") {
		t.Errorf("control: another type is not noticed: exit %d, %v: %s", code, err, said)
	}
}

// lastOf returns the last line of what schemathesis says that is not blank or a rule.
func lastOf(said string) string {
	for _, line := range slices.Backward(slices.Collect(strings.Lines(said))) {
		if text := strings.Trim(line, "= \n"); text != "" {
			return text
		}
	}
	return ""
}
