package holder

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys/api"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/store"
	"tarn/keys/reidentify"
)

// noStore keeps nothing: these tests ask the keyring's memory.
type noStore struct{}

func (noStore) Each(func(store.Key, []byte) error) error                             { return nil }
func (noStore) Room() error                                                          { return nil }
func (noStore) Enqueue([]store.Change) func(context.Context) error                   { return noWait }
func (noStore) Destroy(context.Context, []store.Change, []store.Key, []string) error { return nil }

func noWait(context.Context) error { return nil }

// staffedRing is a keyring with a policy that names pam and pete.
func staffedRing(t *testing.T) *keyring.Keyring {
	t.Helper()
	codes := 0
	ring, err := keyring.Open(noStore{}, keyring.Options{
		Clock: func() time.Time { return time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC) }, Holder: "holder", OperatorsRequired: 2,
		Code: func() (string, [sha256.Size]byte, error) {
			codes++
			text := fmt.Sprintf("code-%d", codes)
			return text, sha256.Sum256([]byte(text)), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	invited, err := ring.Bootstrap(t.Context(), "X26", []string{"ann", "bob"})
	if err != nil {
		t.Fatal(err)
	}
	sealing, err := api.LeaseKEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	operators := []keyring.Caller{}
	for name, code := range invited {
		certificate := []byte(name)
		_, err := ring.Enrol(t.Context(), sha256.Sum256([]byte(code)), sealing.PublicKey().Bytes(), func(string) ([]byte, time.Time, error) {
			return certificate, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), nil
		})
		caller, failed := ring.Identify(sha256.Sum256(certificate))
		if err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		operators = append(operators, caller)
	}
	policy, err := json.Marshal(api.PolicySet{Document: "schema = \"tarn.policy/1\"\noperators = [\"pam\", \"pete\"]\n"})
	if err != nil {
		t.Fatal(err)
	}
	o, err := ring.Ask(t.Context(), operators[0], "00000000-0000-4000-8000-000000000001", api.OperationRequest{Kind: api.OpPolicySet, Body: policy})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Decide(t.Context(), operators[1], o.ID, api.ApprovalRequest{Decision: api.DecisionApprove, Hash: o.Hash}); err != nil {
		t.Fatal(err)
	}
	return ring
}

// TestOperatorsWhoHaveSignedIn: what the console calls does it in the person's own name, and
// whoever the policy does not name gets nothing.
func TestOperatorsWhoHaveSignedIn(t *testing.T) {
	ring := staffedRing(t)
	person := func(subject string) *reidentify.Person {
		return &reidentify.Person{Issuer: "https://sign-in.example.nhs.uk", Subject: subject, Organisation: "X26", Role: "manager"}
	}
	pam, pete, eve := person("pam"), person("pete"), person("eve")
	request := api.OperationRequest{Kind: api.OpClientAdd, Body: jsontext.Value(`{"name":"eve","role":"auditor","organisation":"X26"}`)}
	asked, err := askOperation(t.Context(), ring, pam, "00000000-0000-4000-8000-000000000002", request)
	if err != nil || asked.Person.Subject != "pam" || asked.State != api.OpPending {
		t.Fatal(asked, err)
	}
	for name, call := range map[string]func(*reidentify.Person) error{
		"ask": func(p *reidentify.Person) error {
			return failed(askOperation(t.Context(), ring, p, "00000000-0000-4000-8000-000000000003", request))
		},
		"decide": func(p *reidentify.Person) error {
			return failed(decideOperation(t.Context(), ring, p, asked.ID, api.ApprovalRequest{Decision: api.DecisionApprove, Hash: asked.Hash}))
		},
		"collect":    func(p *reidentify.Person) error { return failed(collectForPerson(t.Context(), ring, p, asked.ID)) },
		"operations": func(p *reidentify.Person) error { return failed(operationsForPerson(ring, p, "")) },
		"operation":  func(p *reidentify.Person) error { return failed(operationForPerson(ring, p, asked.ID)) },
		"projects":   func(p *reidentify.Person) error { return failed(projectsForPerson(ring, p)) },
		"clients":    func(p *reidentify.Person) error { return failed(clientsForPerson(ring, p)) },
	} {
		var refused *api.Error
		if err := call(eve); !errors.As(err, &refused) || refused.Code != api.CodeRole || !recorded(refused.Code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if found, err := operationsForPerson(ring, pete, "pending"); err != nil || len(found) != 1 || found[0].ID != asked.ID {
		t.Errorf("pending: %+v, %v", found, err)
	}
	if _, err := operationsForPerson(ring, pete, "unheard-of"); err == nil {
		t.Error("any state is one")
	}
	if one, err := operationForPerson(ring, pete, asked.ID); err != nil || one.Hash != asked.Hash {
		t.Errorf("%+v, %v", one, err)
	}
	if decided, err := decideOperation(t.Context(), ring, pete, asked.ID, api.ApprovalRequest{Decision: api.DecisionApprove, Hash: asked.Hash}); err != nil || decided.State != api.OpApproved {
		t.Errorf("%+v, %v", decided, err)
	}
	if collected, err := collectForPerson(t.Context(), ring, pam, asked.ID); err != nil || collected.Code == "" {
		t.Errorf("%+v, %v", collected, err)
	}
	if clients, err := clientsForPerson(ring, pam); err != nil || len(clients) != 3 {
		t.Errorf("%d clients, %v", len(clients), err)
	}
	if projects, err := projectsForPerson(ring, pam); err != nil || len(projects) != 0 {
		t.Errorf("%d projects, %v", len(projects), err)
	}
}

// failed is the error of what has a result besides.
func failed[T any](_ T, err error) error { return err }
