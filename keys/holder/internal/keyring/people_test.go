package keyring

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/audit/fhir"
	"tarn/keys/audit/openings"
	"tarn/keys/holder/internal/store"
	"tarn/keys/reidentify"
)

const issuer = "https://sign-in.example.nhs.uk"

// somebody is a person without a user id: another subject is another person.
func somebody(subject string) *reidentify.Person {
	return &reidentify.Person{Issuer: issuer, Subject: subject, Organisation: "X26", Role: "manager"}
}

// accountOf is one of the accounts of the person of this user id.
func accountOf(userID, subject string) *reidentify.Person {
	p := somebody(subject)
	p.UserID = userID
	return p
}

// setOperators has ann and bob set a policy that names these people.
func (w *world) setOperators(names ...string) {
	w.Helper()
	document := "schema = \"tarn.policy/1\"\noperators = ["
	for _, name := range names {
		document += fmt.Sprintf("%q, ", name)
	}
	w.do(api.OpPolicySet, api.PolicySet{Document: document + "]\n"})
}

// staffed is a settled world in which pam and pete are operators.
func staffed(t *testing.T) *world {
	t.Helper()
	w := settled(t)
	w.setOperators("pam", "pete")
	return w
}

func (w *world) askAs(c Caller, kind api.OperationKind, document any) (api.Operation, error) {
	w.Helper()
	return w.ring.Ask(w.Context(), c, w.id(), api.OperationRequest{Kind: kind, Body: encoded(w.T, document)})
}

// asked is an operation that must be taken.
func (w *world) asked(c Caller, kind api.OperationKind, document any) api.Operation {
	w.Helper()
	o, err := w.askAs(c, kind, document)
	if err != nil {
		w.Fatalf("%s: %v", kind, err)
	}
	return o
}

func (w *world) decideAs(c Caller, o *api.Operation, decision string) (api.Operation, error) {
	w.Helper()
	return w.ring.Decide(w.Context(), c, o.ID, api.ApprovalRequest{Decision: decision, Hash: o.Hash})
}

// refusedSaying fails unless an error is a refusal with this code and these words.
func refusedSaying(t *testing.T, err error, code api.Code, words string) {
	t.Helper()
	refusedWith(t, err, code)
	if err != nil && !strings.Contains(err.Error(), words) {
		t.Errorf("%q does not say %q", err, words)
	}
}

func tokeniserNamed(name string) api.ClientAdd {
	return api.ClientAdd{Name: name, Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{"study"}, SourceDatasets: []string{"south"}}
}

// lastLeaf is the newest event.
func (w *world) lastLeaf() audit.Leaf {
	w.Helper()
	leaf, err := audit.Decode(w.store.records[eventKey(w.ring.Events()-1)])
	if err != nil {
		w.Fatal(err)
	}
	return leaf
}

func TestPeopleAddProjectsAndClientsTwoByTwo(t *testing.T) {
	w := staffed(t)
	pam, pete := AsOperator(somebody("pam")), AsOperator(somebody("pete"))
	o := w.asked(pam, api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("audit", "none")})
	if o.State != api.OpPending || o.Requester != "person/pam" || o.Person != pam.Person || o.Needed != 1 {
		t.Errorf("asked: %+v", o)
	}
	if leaf := w.lastLeaf(); leaf.Kind != audit.KindOperatorApproval || leaf.Decision != audit.Pending ||
		leaf.Actor != (audit.Actor{Issuer: issuer, Organisation: "X26", Role: "manager", Subject: "pam"}) {
		t.Errorf("the log says %+v", leaf)
	}
	other := o
	other.Hash = strings.Repeat("0", 64)
	refusedWith(t, failed(w.decideAs(pete, &other, api.DecisionApprove)), api.CodeHashDiffers)
	o, err := w.decideAs(pete, &o, api.DecisionApprove)
	if err != nil || o.State != api.OpExecuted || len(o.Approvals) != 1 || o.Approvals[0].Client != "person/pete" || o.Approvals[0].Person != pete.Person {
		t.Fatalf("approved: %+v, %v", o, err)
	}
	if _, there := w.ring.projects["audit"]; !there {
		t.Error("the project was not added")
	}
	for _, kind := range []api.OperationKind{api.OpClientAdd, api.OpClientRenew} {
		var document any = tokeniserNamed("south")
		if kind == api.OpClientRenew {
			document = api.ClientNamed{Name: "south"}
		}
		o = w.asked(pam, kind, document)
		refusedWith(t, failed(w.ring.Collect(t.Context(), pam, o.ID)), api.CodeApprovalRequired)
		if o, err = w.decideAs(pete, &o, api.DecisionApprove); err != nil || o.State != api.OpApproved {
			t.Fatalf("%s: %+v, %v", kind, o, err)
		}
		refusedWith(t, failed(w.ring.Collect(t.Context(), pete, o.ID)), api.CodeForbidden)
		refusedWith(t, failed(w.ring.Collect(t.Context(), w.as("ann"), o.ID)), api.CodeForbidden)
		collected, err := w.ring.Collect(t.Context(), pam, o.ID)
		if err != nil || collected.Code == "" || collected.Export != nil || collected.SealTo != nil {
			t.Fatalf("%s: %+v, %v", kind, collected, err)
		}
		refusedWith(t, failed(w.ring.Collect(t.Context(), pam, o.ID)), api.CodeConflict)
		w.enrol("south", collected.Code)
	}
	w.reopen(2) // what was written is read
	o = w.asked(pete, api.OpClientRevoke, api.ClientNamed{Name: "south", Reason: "closed"})
	w.reopen(2)
	if o, err = w.decideAs(pam, &o, api.DecisionApprove); err != nil || o.State != api.OpExecuted {
		t.Errorf("revoked: %+v, %v", o, err)
	}
}

func TestPeopleMayNotDoWhatNeedsACertificate(t *testing.T) {
	w := staffed(t)
	pam, pete := AsOperator(somebody("pam")), AsOperator(somebody("pete"))
	w.do(api.OpClientAdd, api.ClientAdd{Name: "cat", Role: api.RoleOperator, Organisation: "X26"})
	for name, x := range map[string]struct {
		kind     api.OperationKind
		document any
		command  string
	}{
		"domain":         {api.OpDomainAdd, api.DomainAdd{Name: "pond", Scheme: keys.SchemeKeyedHash}, "keyholder domain add"},
		"rotation":       {api.OpKeyRotate, api.KeyChange{Domain: "lake", Reason: "yearly"}, "keyholder key rotate"},
		"policy":         {api.OpPolicySet, api.PolicySet{Document: "schema = \"tarn.policy/1\"\noperators = [\"pam\"]\n"}, "keyholder policy set"},
		"backup":         {api.OpBackup, api.Backup{}, "keyholder backup"},
		"budget":         {api.OpBudgetReset, api.BudgetReset{Reason: "needed"}, "keyholder budget reset"},
		"export":         {api.OpKeyExport, api.KeyExport{Project: "study", Grant: "pilot"}, "keyholder key export"},
		"operator":       {api.OpClientAdd, api.ClientAdd{Name: "dan", Role: api.RoleOperator, Organisation: "X26"}, "keyholder client add"},
		"its code":       {api.OpClientRenew, api.ClientNamed{Name: "cat"}, "keyholder client renew"},
		"its revocation": {api.OpClientRevoke, api.ClientNamed{Name: "cat", Reason: "left"}, "keyholder client revoke"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.askAs(pam, x.kind, x.document)
			refusedSaying(t, err, api.CodeForbidden, x.command)
			// Nor may they decide on, or collect, what a certificate asked for.
			if x.kind == api.OpKeyExport {
				return // needs a grant; the kinds are refused alike
			}
			o := w.asked(w.as("ann"), x.kind, x.document)
			for _, decision := range []string{api.DecisionApprove, api.DecisionReject} {
				_, err = w.decideAs(pete, &o, decision)
				refusedSaying(t, err, api.CodeForbidden, x.command)
			}
			if now, err := w.ring.Operation(o.ID); err != nil || now.State != api.OpPending {
				t.Errorf("it is %s, %v", now.State, err)
			}
		})
	}
	_, err := w.askAs(pam, api.OpClientRenew, api.ClientNamed{Name: "nobody"})
	refusedWith(t, err, api.CodeNotFound)
	_, err = w.askAs(pam, api.OpClientAdd, map[string]any{"name": "x", "rule": "operator"})
	refusedWith(t, err, api.CodeMalformed)
	_, err = w.askAs(pam, "none", struct{}{})
	refusedWith(t, err, api.CodeMalformed)
}

func TestOnlyPeopleWhomThePolicyNames(t *testing.T) {
	w := settled(t)
	add := tokeniserNamed("south")
	pam, pete := AsOperator(somebody("pam")), AsOperator(somebody("pete"))
	_, err := w.askAs(pam, api.OpClientAdd, add)
	refusedSaying(t, err, api.CodeRole, "policy does not name") // there is none
	w.setOperators("pete", "555000000101")
	_, err = w.askAs(pam, api.OpClientAdd, add)
	refusedWith(t, err, api.CodeRole)
	for name, stranger := range map[string]*reidentify.Person{
		"no issuer":  {Subject: "pete", Organisation: "X26", Role: "manager"},
		"no subject": {Issuer: issuer, UserID: "555000000101", Organisation: "X26", Role: "manager"},
		"free text":  {Issuer: issuer, Subject: "pete", Organisation: "X26", Role: "a manager"},
	} {
		if _, err := w.askAs(AsOperator(stranger), api.OpClientAdd, add); err == nil {
			t.Errorf("%s: taken", name)
		} else {
			refusedWith(t, err, api.CodeForbidden)
		}
	}
	o := w.asked(AsOperator(accountOf("555000000101", "pam")), api.OpClientAdd, add)
	_, err = w.decideAs(AsOperator(somebody("pat")), &o, api.DecisionApprove)
	refusedWith(t, err, api.CodeRole)
	_, err = w.decideAs(AsOperator(somebody("pat")), &api.Operation{ID: "none"}, api.DecisionApprove)
	refusedWith(t, err, api.CodeRole) // not whether there is one
	refusedWith(t, failed(w.ring.Collect(t.Context(), AsOperator(somebody("pat")), "none")), api.CodeRole)
	// Who approved and is no operator any more approves nothing, and hears nothing.
	if o, err = w.decideAs(pete, &o, api.DecisionApprove); err != nil || o.State != api.OpApproved {
		t.Fatal(o.State, err)
	}
	w.setOperators("pat", "555000000101")
	refusedSaying(t, failed(w.ring.Collect(t.Context(), AsOperator(accountOf("555000000101", "pam")), o.ID)), api.CodeConflict, "no operator any more")
	_, err = w.decideAs(pete, &o, api.DecisionApprove)
	refusedWith(t, err, api.CodeRole)
	// Nor is anything done for who asked and is none any more.
	o = w.asked(AsOperator(accountOf("555000000101", "pam")), api.OpClientAdd, add)
	w.setOperators("pat", "pete")
	_, err = w.decideAs(pete, &o, api.DecisionApprove)
	refusedSaying(t, err, api.CodeConflict, "who asked for it is no operator any more")
	if o, err = w.decideAs(pete, &o, api.DecisionReject); err != nil || o.State != api.OpRejected {
		t.Errorf("rejected: %s, %v", o.State, err)
	}
	if w.ring.clients["south"] != nil {
		t.Error("the client was added")
	}
}

// TestAPersonOfTwoAccountsIsOne, and two subjects of one name at two issuers are two.
func TestAPersonOfTwoAccountsIsOne(t *testing.T) {
	w := settled(t)
	w.setOperators("555000000101", "pete", "pam", "pam-2")
	one, two, pete := AsOperator(accountOf("555000000101", "pam")), AsOperator(accountOf("555000000101", "pam-2")), AsOperator(somebody("pete"))
	o := w.asked(one, api.OpClientAdd, tokeniserNamed("south"))
	for _, again := range []Caller{one, two} {
		_, err := w.decideAs(again, &o, api.DecisionApprove)
		refusedWith(t, err, api.CodeApproverIsAsker)
	}
	o, err := w.decideAs(pete, &o, api.DecisionApprove)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.ring.Collect(t.Context(), two, o.ID); err != nil {
		t.Errorf("the same person does not collect from the other account: %v", err)
	}
	// A client of the subject's name is somebody else.
	w.do(api.OpClientAdd, api.ClientAdd{Name: "pete", Role: api.RoleOperator, Organisation: "X26"})
	request := api.OperationRequest{Kind: api.OpClientRevoke, Body: encoded(t, api.ClientNamed{Name: "south", Reason: "closed"})}
	id, elsewhere := w.id(), somebody("pete")
	elsewhere.Issuer = "https://other.example.nhs.uk"
	ids := map[string]bool{}
	for _, caller := range []Caller{pete, AsOperator(elsewhere), w.as("ann")} {
		o, err := w.ring.Ask(t.Context(), caller, id, request)
		again, failed := w.ring.Ask(t.Context(), caller, id, request)
		if err != nil || failed != nil || again.ID != o.ID || again.Hash != o.Hash {
			t.Errorf("asked %v, again %v", err, failed)
		}
		ids[o.ID] = true
	}
	if len(ids) != 3 {
		t.Errorf("three callers have %d operations under one id of a request", len(ids))
	}
}

// TestThreePeople: with three operators for a change a second account is no third person.
func TestThreePeople(t *testing.T) {
	w := staffed(t)
	w.setOperators("pam", "555000000101", "pat")
	w.reopen(3)
	o := w.asked(AsOperator(somebody("pam")), api.OpClientRevoke, api.ClientNamed{Name: "north", Reason: "closed"})
	first := AsOperator(accountOf("555000000101", "pete"))
	o, err := w.decideAs(first, &o, api.DecisionApprove)
	if err != nil || o.State != api.OpPending {
		t.Fatal(o.State, err)
	}
	if again, err := w.decideAs(AsOperator(accountOf("555000000101", "pete-2")), &o, api.DecisionApprove); err != nil || len(again.Approvals) != 1 {
		t.Errorf("the other account: %+v, %v", again, err) // a retry
	}
	_, err = w.decideAs(AsOperator(accountOf("555000000101", "pete-2")), &o, api.DecisionReject)
	refusedSaying(t, err, api.CodeConflict, "decided already")
	if o, err = w.decideAs(AsOperator(somebody("pat")), &o, api.DecisionApprove); err != nil || o.State != api.OpExecuted {
		t.Errorf("the third: %s, %v", o.State, err)
	}
}

func TestPeopleAndCertificatesDoNotApproveForOneAnother(t *testing.T) {
	w := staffed(t)
	pam, ann, bob := AsOperator(somebody("pam")), w.as("ann"), w.as("bob")
	add := tokeniserNamed("south")
	byPam := w.asked(pam, api.OpClientAdd, add)
	_, err := w.decideAs(ann, &byPam, api.DecisionApprove)
	refusedSaying(t, err, api.CodeForbidden, "only another person who has signed in")
	byAnn := w.asked(ann, api.OpClientAdd, add)
	_, err = w.decideAs(pam, &byAnn, api.DecisionApprove)
	refusedSaying(t, err, api.CodeForbidden, "with another operator's certificate only")
	// Either may stop what the other began.
	if o, err := w.decideAs(bob, &byPam, api.DecisionReject); err != nil || o.State != api.OpRejected {
		t.Errorf("%s, %v", o.State, err)
	}
	if o, err := w.decideAs(pam, &byAnn, api.DecisionReject); err != nil || o.State != api.OpRejected {
		t.Errorf("%s, %v", o.State, err)
	}
}

// TestOneOperatorIsEnoughInTrials, whoever it is.
func TestOneOperatorIsEnoughInTrials(t *testing.T) {
	w := staffed(t)
	w.reopen(1)
	pam := AsOperator(somebody("pam"))
	o := w.asked(pam, api.OpClientAdd, tokeniserNamed("south"))
	if c, err := w.ring.Collect(t.Context(), pam, o.ID); err != nil || c.Code == "" {
		t.Errorf("collected %+v, %v", c, err)
	}
	if o := w.asked(pam, api.OpClientRevoke, api.ClientNamed{Name: "south", Reason: "closed"}); o.State != api.OpExecuted {
		t.Errorf("it is %s", o.State)
	}
}

func TestWhatPeopleRead(t *testing.T) {
	w := staffed(t)
	pam := AsOperator(somebody("pam"))
	w.asked(pam, api.OpClientAdd, tokeniserNamed("south"))
	byAnn := w.asked(w.as("ann"), api.OpDomainAdd, api.DomainAdd{Name: "pond", Scheme: keys.SchemeKeyedHash})
	read := w.ring.ForPeople(somebody("pam"))
	all, err := read.Operations("")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[api.OperationKind]int{}
	for _, o := range all {
		kinds[o.Kind]++
		if one, err := read.Operation(o.ID); err != nil || one.Hash != o.Hash {
			t.Errorf("%s: %v", o.Kind, err)
		}
	}
	if kinds[api.OpProjectAdd] != 2 || kinds[api.OpClientAdd] != 2 || len(kinds) != 2 {
		t.Errorf("people see %v", kinds)
	}
	refusedWith(t, failed(read.Operation(byAnn.ID)), api.CodeNotFound)
	refusedWith(t, failed(read.Operation("none")), api.CodeNotFound)
	if pending, err := read.Operations(api.OpPending); err != nil || len(pending) != 1 || pending[0].Requester != "person/pam" {
		t.Errorf("pending %+v, %v", pending, err)
	}
	if projects, err := read.Projects(); err != nil || len(projects) != 2 {
		t.Errorf("%d projects, %v", len(projects), err)
	}
	if clients, err := read.Clients(); err != nil || len(clients) != 3 {
		t.Errorf("%d clients, %v", len(clients), err)
	}
	w.setOperators("pete", "pat")
	refusedWith(t, failed(read.Operations("")), api.CodeRole)
	refusedWith(t, failed(read.Operation(byAnn.ID)), api.CodeRole)
	refusedWith(t, failed(read.Projects()), api.CodeRole)
	refusedWith(t, failed(read.Clients()), api.CodeRole)
}

// TestCertificatesAreHeldToTheSame: who was revoked since asks for, approves and has
// collected nothing.
func TestCertificatesAreHeldToTheSame(t *testing.T) {
	w := settled(t)
	c := w.do(api.OpClientAdd, api.ClientAdd{Name: "cat", Role: api.RoleOperator, Organisation: "X26"})
	w.enrol("cat", c.Code)
	cat := w.as("cat")
	byCat := w.asked(cat, api.OpClientRevoke, api.ClientNamed{Name: "north", Reason: "closed"})
	o := w.asked(w.as("ann"), api.OpClientAdd, tokeniserNamed("south"))
	o, err := w.decideAs(cat, &o, api.DecisionApprove)
	if err != nil || o.State != api.OpApproved {
		t.Fatal(o.State, err)
	}
	w.do(api.OpClientRevoke, api.ClientNamed{Name: "cat", Reason: "left"})
	refusedWith(t, failed(w.ring.Collect(t.Context(), w.as("ann"), o.ID)), api.CodeConflict)
	_, err = w.decideAs(w.as("bob"), &byCat, api.DecisionApprove)
	refusedWith(t, err, api.CodeConflict)
	if w.ring.clients["north"].State != clientEnrolled || w.ring.clients["south"] != nil {
		t.Error("something was done")
	}
}

// oldOperation is a record of a version that knew no people.
const oldOperation = `{"approvals":[{"client":"bob","decision":"approve","time":"2026-11-26T09:00:00Z"}],"approvals_needed":1,"body":{"name":"south","reason":"closed"},` +
	`"collect":false,"created":"2026-11-26T09:00:00Z","expires":"2026-11-27T09:00:00Z","hash":"` + oldHash + `","id":"0123456789abcdef0123456789abcdef","kind":"client.revoke","requester":"ann","state":"executed"}`

// oldHash is SHA-256 of tarn/operation/v1, a zero byte and what is approved of the record
// above, as sha256sum computes it.
const oldHash = "2261f8e190bbbf5e2b347b245e9ae8921fb0ad160f2ad3c2a129f73436e76794"

func TestRecordsOfBeforeThereWerePeopleAreRead(t *testing.T) {
	approved := `{"body":{"name":"south","reason":"closed"},"created":"2026-11-26T09:00:00Z","expires":"2026-11-27T09:00:00Z","id":"0123456789abcdef0123456789abcdef","kind":"client.revoke","requester":"ann"}`
	if sum := fmt.Sprintf("%x", sha256.Sum256([]byte("tarn/operation/v1\x00"+approved))); sum != oldHash {
		t.Fatalf("the record's hash is %s", sum)
	}
	w := settled(t)
	key := store.Key{Kind: kindOperation, Name: "0123456789abcdef0123456789abcdef"}
	w.store.records[key] = []byte(oldOperation)
	w.reopen(2)
	o, err := w.ring.Operation(key.Name)
	if err != nil || o.Person != (api.OperatorPerson{}) || o.Approvals[0].Person != (api.OperatorPerson{}) {
		t.Fatalf("%+v, %v", o, err)
	}
	if hash, err := api.OperationHash(&o); err != nil || hash != oldHash {
		t.Errorf("its hash is %s now, %v", hash, err)
	}
	if again, err := json.Marshal(&o, json.Deterministic(true)); err != nil || !sameDocument(again, []byte(oldOperation)) {
		t.Errorf("it is written anew as %s, %v", again, err)
	}
}

func sameDocument(a, b jsontext.Value) bool {
	one, err := keys.Canonical(a)
	two, failed := keys.Canonical(b)
	return err == nil && failed == nil && slices.Equal(one, two)
}

// TestRecordsGiveAPersonNothingMore: a kind that people may not ask for is not collected by
// one, whatever a record says: another version's rules may have been others.
func TestRecordsGiveAPersonNothingMore(t *testing.T) {
	w := staffed(t)
	pam, pete := AsOperator(somebody("pam")), AsOperator(somebody("pete"))
	o := w.asked(pam, api.OpClientAdd, tokeniserNamed("south"))
	o, err := w.decideAs(pete, &o, api.DecisionApprove)
	if err != nil {
		t.Fatal(err)
	}
	control := o
	o.Kind, o.Body = api.OpBackup, jsontext.Value("{}")
	w.store.records[store.Key{Kind: kindOperation, Name: o.ID}] = encoded(t, o)
	w.reopen(2)
	refusedSaying(t, failed(w.ring.Collect(t.Context(), pam, o.ID)), api.CodeForbidden, "keyholder backup")
	w.store.records[store.Key{Kind: kindOperation, Name: o.ID}] = encoded(t, control)
	w.reopen(2)
	if _, err := w.ring.Collect(t.Context(), pam, o.ID); err != nil {
		t.Errorf("the control: %v", err)
	}
}

// TestTheHashCoversWhoAsked: an operation of one person cannot be passed off as another's.
func TestTheHashCoversWhoAsked(t *testing.T) {
	w := staffed(t)
	o := w.asked(AsOperator(accountOf("555000000101", "pam")), api.OpClientAdd, tokeniserNamed("south"))
	if hash, err := api.OperationHash(&o); err != nil || hash != o.Hash {
		t.Fatal(hash, err)
	}
	for name, change := range map[string]func(*api.OperatorPerson){
		"issuer":  func(p *api.OperatorPerson) { p.Issuer += "x" },
		"subject": func(p *api.OperatorPerson) { p.Subject += "x" },
		"user id": func(p *api.OperatorPerson) { p.UserID = "" },
		"all":     func(p *api.OperatorPerson) { *p = api.OperatorPerson{} },
	} {
		other := o
		change(&other.Person)
		if hash, err := api.OperationHash(&other); err != nil || hash == o.Hash {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatPeopleAskedForIsVoidAfterARestore, as what anybody asked for.
func TestWhatPeopleAskedForIsVoidAfterARestore(t *testing.T) {
	w := staffed(t)
	o := w.asked(AsOperator(somebody("pam")), api.OpClientAdd, tokeniserNamed("south"))
	key := store.Key{Kind: kindOperation, Name: o.ID}
	keep, value, err := Restored(key, w.store.records[key], func(string) bool { return false })
	if err != nil || !keep {
		t.Fatal(err)
	}
	w.store.records[key] = value
	w.now = w.now.Add(time.Minute)
	w.reopen(2)
	_, err = w.decideAs(AsOperator(somebody("pete")), &o, api.DecisionApprove)
	refusedWith(t, err, api.CodeConflict)
	if back, err := w.ring.Operation(o.ID); err != nil || back.State != api.OpVoid || back.Person != o.Person || back.Hash != o.Hash {
		t.Errorf("%+v, %v", back, err)
	}
}

// TestEntriesOfPeople: entries name people as those of re-identification do, whether they did
// something or were refused it, and what reads the log reads them.
func TestEntriesOfPeople(t *testing.T) {
	w := staffed(t)
	pam, pete := AsOperator(accountOf("555000000101", "pam")), AsOperator(somebody("pete"))
	from := w.ring.Events()
	o := w.asked(pam, api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("audit", "none")})
	if _, err := w.decideAs(pete, &o, api.DecisionApprove); err != nil {
		t.Fatal(err)
	}
	o = w.asked(pam, api.OpClientAdd, tokeniserNamed("south"))
	if _, err := w.decideAs(pete, &o, api.DecisionReject); err != nil {
		t.Fatal(err)
	}
	if err := w.ring.Refused(t.Context(), pam, "operations.approve", api.CodeApproverIsAsker, 2); err != nil {
		t.Fatal(err)
	}
	var said []string
	var reading openings.Reading
	for index := from; index < w.ring.Events(); index++ {
		leaf, err := audit.Decode(w.store.records[eventKey(index)])
		if err != nil {
			t.Fatal(err)
		}
		reading.Visit(index, leaf)
		resource, err := fhir.Resource(leaf, index, fhir.Options{Origin: "holder/log-1"})
		if err != nil {
			t.Fatal(err)
		}
		if leaf.Actor.Subject == "" {
			continue // the project's own
		}
		if who := `"identifier":{"system":"` + issuer + `","value":"` + leaf.Actor.Subject + `"}`; leaf.Actor.Issuer != issuer || !strings.Contains(string(resource), who) {
			t.Errorf("%+v is written as %s", leaf.Actor, resource)
		}
		said = append(said, string(leaf.Kind)+" "+leaf.Actor.Subject+" "+string(leaf.Decision))
	}
	want := []string{"operator-approval pam pending", "operator-approval pete approve", "operator-approval pete allow", "operator-approval pam pending", "operator-approval pete deny", "refuse pam deny"}
	if !slices.Equal(said, want) {
		t.Errorf("the log says %q", said)
	}
	if report := reading.Of(w.now.Format("2006-01"), w.now); len(report.Findings) > 0 || len(report.Organisations) > 0 {
		t.Errorf("re-identifications are read from them: %+v", report)
	}
}
