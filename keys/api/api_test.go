package api_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"tarn/keys/api"
	"tarn/keys/fault"
)

// TestMethodsAreAnAllowList: every line is named once, has a pattern that the
// server takes, and says who may call it; what anyone may call is listed here,
// so that adding to it is a decision.
func TestMethodsAreAnAllowList(t *testing.T) {
	public := map[string]bool{"livez": true, "readyz": true, "openapi": true, "seal.status": true, "seal.unseal": true, "enrol": true}
	mux, names := http.NewServeMux(), map[string]bool{}
	for _, m := range api.Methods() {
		if names[m.Name] || m.Does == "" {
			t.Errorf("%s is there twice, or says nothing", m.Name)
		}
		names[m.Name] = true
		mux.HandleFunc(m.Pattern(), func(http.ResponseWriter, *http.Request) {}) // panics where two are the same
		ways := 0                                                                // of proving who one is: none is needed, a certificate, or a sign-in
		for _, way := range []bool{m.Public, len(m.Roles) > 0, m.SignedIn} {
			if way {
				ways++
			}
		}
		if m.Public != public[m.Name] || ways != 1 || m.Sealed && !m.Public || m.Floor && !m.SignedIn {
			t.Errorf("%s: public %v, roles %v, signed in %v, sealed %v, floor %v", m.Name, m.Public, m.Roles, m.SignedIn, m.Sealed, m.Floor)
		}
		for _, role := range api.Roles() {
			// A simulation has a policy in its body, and changes nothing.
			if changes := m.Verb != http.MethodGet && m.Name != "policy.simulate"; changes && m.Allows(role) && role == api.RoleAuditor {
				t.Errorf("an auditor may call %s, which changes something", m.Name)
			}
		}
	}
}

// TestProblemsBecomeFaults: each code has a status, and a kind that says what a
// command's user can do.
func TestProblemsBecomeFaults(t *testing.T) {
	kinds := map[int]fault.Kind{400: fault.Usage, 401: fault.Policy, 403: fault.Policy, 404: fault.Usage, 405: fault.Usage, 409: fault.Policy, 410: fault.Policy, 413: fault.Usage,
		415: fault.Usage, 429: fault.Unavailable, 500: fault.Internal, 503: fault.Unavailable, 507: fault.Unavailable}
	for code, status := range api.Codes() {
		e := api.Refuse(code, "a detail", "what to do")
		p := e.Problem("6b0e5b52-0000-4000-8000-000000000000")
		want, known := kinds[status]
		switch code {
		case api.CodeKeyCheckDiffers:
			want = fault.Disagreement
		case api.CodeBudget:
			want = fault.Policy
		}
		f := p.Fault("doing it")
		if !known || f.Kind != want || p.Status != status || p.Title == "" || !strings.Contains(f.Error(), "a detail") || !strings.HasPrefix(p.Instance, "urn:uuid:") {
			t.Errorf("%s: status %d, %+v, %v", code, status, p, f)
		}
	}
	if (&api.Error{Code: "unheard_of"}).Status() != 500 {
		t.Error("an unknown code is not an internal failure")
	}
}

// TestOperationHashCoversWhatIsApproved, and nothing that changes afterwards.
func TestOperationHashCoversWhatIsApproved(t *testing.T) {
	now := time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)
	operation := func() *api.Operation {
		return &api.Operation{ID: "1", Kind: api.OpDomainAdd, Body: []byte(`{"name":"lake","scheme":"keyed-hash"}`), Requester: "ann", Created: now, Expires: now.Add(time.Hour)}
	}
	base, err := api.OperationHash(operation())
	if err != nil || len(base) != 64 {
		t.Fatal(base, err)
	}
	for name, change := range map[string]struct {
		change func(*api.Operation)
		covers bool
	}{
		"id":         {func(o *api.Operation) { o.ID = "2" }, true},
		"kind":       {func(o *api.Operation) { o.Kind = api.OpBackup }, true},
		"body":       {func(o *api.Operation) { o.Body = []byte(`{"name":"lake2","scheme":"keyed-hash"}`) }, true},
		"requester":  {func(o *api.Operation) { o.Requester = "bob" }, true},
		"created":    {func(o *api.Operation) { o.Created = now.Add(1) }, true},
		"expires":    {func(o *api.Operation) { o.Expires = now }, true},
		"same body":  {func(o *api.Operation) { o.Body = []byte(` {"scheme" : "keyed-hash","name":"lake"}`) }, false},
		"state":      {func(o *api.Operation) { o.State = api.OpExecuted }, false},
		"approvals":  {func(o *api.Operation) { o.Approvals = []api.OperationApproval{{Client: "bob"}} }, false},
		"its result": {func(o *api.Operation) { o.Outcome = "done" }, false},
	} {
		o := operation()
		change.change(o)
		if got, err := api.OperationHash(o); err != nil || (got != base) != change.covers {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

// TestDocumentationListsMethodsAndCodes holds docs/key-holder.md to the code.
func TestDocumentationListsMethodsAndCodes(t *testing.T) {
	b, err := os.ReadFile("../../docs/key-holder.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, m := range api.Methods() {
		sealed := ""
		if m.Sealed {
			sealed = "yes"
		}
		if line := fmt.Sprintf("| `%s %s` | %s | %s | %s |\n", m.Verb, m.Path, m.Who(), sealed, m.Does); !strings.Contains(text, line) {
			t.Errorf("docs/key-holder.md lacks %s", line)
		}
	}
	for code, status := range api.Codes() {
		if line := fmt.Sprintf("| `%s` | %d |\n", code, status); !strings.Contains(text, line) {
			t.Errorf("docs/key-holder.md lacks %s", line)
		}
	}
	if methods := strings.Count(text, "| `GET ") + strings.Count(text, "| `POST ") + strings.Count(text, "| `DELETE "); methods != len(api.Methods()) {
		t.Errorf("docs/key-holder.md lists %d methods, there are %d", methods, len(api.Methods()))
	}
}
