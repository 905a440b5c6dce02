package faults

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"

	"tarn/bench/care"
	"tarn/bench/enumerate"
	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/audit"
)

// Somebody who asks, and all that she is besides: the same subject or the same user id.
var (
	asker        = care.Person{Subject: "asker", UserID: "555000000201", Organisation: care.Other, Role: "gp"}
	askerBoard   = care.Person{Subject: "asker", UserID: "555000000201", Organisation: care.Board, Role: "approver", Session: "board"}
	askerAccount = care.Person{Subject: "asker-too", UserID: "555000000201", Organisation: care.Board, Role: "approver"}
)

// anOperator is a person whom the policy names as an operator, and who is an approver too.
var anOperator = care.Person{Subject: "operator", UserID: "555000000101", Organisation: care.Board, Role: "approver"}

// selfApproved is scenario 14.
func selfApproved(t *Trial) error {
	duty, err := enumerate.NewDuty()
	if err != nil {
		return err
	}
	t.later(duty.Close)
	d, err := t.desk(10, keyholder.Options{AlertsURL: duty.URL})
	if err != nil {
		return err
	}
	named := strings.Replace(care.Policy, "[break_glass]", fmt.Sprintf("operators = [%q]\n[break_glass]", anOperator.UserID), 1)
	if err := d.SetPolicy(t.ctx, named); err != nil {
		return err
	}
	for _, part := range []func(*desk) error{(*desk).ownRequest, (*desk).ownBreakGlass, (*desk).ownWorklist} {
		if err := part(d); err != nil {
			return err
		}
	}
	return t.ownOperation()
}

// entrance is one way in which somebody may try to approve a request.
type entrance struct {
	name string
	try  func() (*keyholder.Answer, error)
	// status and code are what it is answered with.
	status int
	code   api.Code
}

// ownRequest tries to approve a request by every entrance, as the one who asks.
func (d *desk) ownRequest() error {
	t := d.t
	t.note("every entrance for her own request")
	r, err := d.asked(asker, 0)
	if err != nil {
		return err
	}
	if !t.check(r.State == "pending_approval" && r.Approvals.Needed == 1, "her request waits for an approver", "%s, %d needed", r.State, r.Approvals.Needed) {
		return nil
	}
	given := api.ApprovalGiven{Decision: "approve", RequestHash: r.RequestHash}
	path := requestsPath + "/" + r.ID
	approves := func(p care.Person) func() (*keyholder.Answer, error) {
		return func() (*keyholder.Answer, error) { return d.post(p, path+"/approvals", given) }
	}
	later := asker
	later.Session = "another"
	pair, err := d.Pair(keyholder.Operator)
	if err != nil {
		return err
	}
	certificate := func(url, authorisation, verb, path string, body any) func() (*keyholder.Answer, error) {
		return func() (*keyholder.Answer, error) {
			c, err := d.CallAt(url, &pair, authorisation)
			if err != nil {
				return nil, err
			}
			defer c.Close()
			return c.Send(t.ctx, care.NewID(), verb, path, body)
		}
	}
	bearer, err := d.Token(askerBoard, nil)
	if err != nil {
		return err
	}
	nameless, err := d.Token(askerAccount, func(claims map[string]any) { delete(claims, "nhsid_useruid") })
	if err != nil {
		return err
	}
	tried := []entrance{
		{"as herself", approves(asker), 403, api.CodeApproverIsAsker},
		{"from another session", approves(later), 403, api.CodeApproverIsAsker},
		{"in a role of hers that approves", approves(askerBoard), 403, api.CodeApproverIsAsker},
		{"from another account with her user id", approves(askerAccount), 403, api.CodeApproverIsAsker},
		{"from another account that hides her user id", certificate(d.People, "Bearer "+nameless, http.MethodPost, path+"/approvals", given), 401, api.CodeSignIn},
		{"as a colleague who may not approve", approves(stranger), 404, api.CodeNotFound},
		{"as an operator who is an approver too", approves(anOperator), 404, api.CodeNotFound},
		{"with an operator's certificate, where programs call", certificate(d.URL, "", http.MethodPost, path+"/approvals", given), 404, api.CodeNotFound},
		{"with an operator's certificate and her own sign-in, where programs call", certificate(d.URL, "Bearer "+bearer, http.MethodPost, path+"/approvals", given), 404, api.CodeNotFound},
		{"with an operator's certificate, where people call", certificate(d.People, "", http.MethodPost, path+"/approvals", given), 401, api.CodeSignIn},
		{"with an operator's certificate and her own sign-in, where people call", certificate(d.People, "Bearer "+bearer, http.MethodPost, path+"/approvals", given), 403, api.CodeApproverIsAsker},
		{"as an operation that operators approve", certificate(d.URL, "", http.MethodPost, "/v1/operations/"+r.ID+"/approvals", api.ApprovalRequest{Decision: "approve", Hash: r.RequestHash}), 404, api.CodeNotFound},
		{"in the request itself", func() (*keyholder.Answer, error) {
			return d.post(asker, requestsPath, struct {
				api.ReidentificationRequest
				State     string              `json:"state"`
				Approvals []api.ApprovalGiven `json:"approvals"`
			}{d.about(1, asker.Organisation), "ready", []api.ApprovalGiven{given}})
		}, 400, api.CodeMalformed},
		{"by putting another in its place", func() (*keyholder.Answer, error) {
			return d.send(askerBoard, care.NewID(), http.MethodPut, path, map[string]string{"state": "ready"})
		}, 405, api.CodeVerb},
		{"by opening it without", func() (*keyholder.Answer, error) { return d.open(asker, r) }, 403, api.CodeReidentification},
	}
	if err := d.refusedAll(r, tried); err != nil {
		return err
	}
	if err := d.byCommand(r); err != nil {
		return err
	}
	self := 1 // the command's
	for _, e := range tried {
		if e.code == api.CodeApproverIsAsker {
			self++
		}
	}
	n, err := d.refusals(api.CodeApproverIsAsker, int64(self))
	if err != nil {
		return err
	}
	t.check(n == int64(self), "every try of hers is in the log", "%d of %d", n, self)
	t.figure("entrances", float64(len(tried)+1))

	a, err := d.decided(approver, r)
	if err != nil {
		return err
	}
	after, err := made(a)
	t.control(err == nil && after.State == "ready" && after.Approvals.Have == 1, "another's approval counts", "%s", a.Body)
	if a, err = d.open(asker, r); err != nil {
		return err
	}
	t.control(a.Done() && d.names(a, 0), "what another has approved is opened", "status %d, %s", a.Status, a.Code)
	leaves, err := d.leaves(t.ctx, r)
	if err != nil {
		return err
	}
	by := []string{}
	for i := range leaves {
		if leaves[i].Kind == audit.KindApproval {
			by = append(by, leaves[i].Actor.Subject)
		}
	}
	t.check(len(by) == 1 && by[0] == approver.Subject, "the log has one approval, the other's", "%d", len(by))
	return nil
}

// refusedAll tries entrances, and looks whether the request still waits, for all of them.
func (d *desk) refusedAll(r *api.Reidentification, tried []entrance) error {
	for _, e := range tried {
		a, err := e.try()
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		d.t.check(a.Status == e.status && a.Code == e.code, "refused: "+e.name, "status %d, %s %s", a.Status, a.Code, a.Rule)
		if err := d.waits(r, e.name); err != nil {
			return err
		}
	}
	return nil
}

// waits checks that a request waits for an approval, and has none.
func (d *desk) waits(r *api.Reidentification, after string) error {
	a, err := d.send(asker, care.NewID(), http.MethodGet, requestsPath+"/"+r.ID, nil)
	if err != nil {
		return err
	}
	now, err := made(a)
	if err != nil {
		return err
	}
	d.t.check(now.State == "pending_approval" && now.Approvals.Have == 0 && len(now.Approvals.Given) == 0, "nothing of it is approved", "after %s: %s, %d", after, now.State, now.Approvals.Have)
	return nil
}

// byCommand tries it with the command.
func (d *desk) byCommand(r *api.Reidentification) error {
	token, err := d.Token(askerBoard, nil)
	if err != nil {
		return err
	}
	path := filepath.Join(d.Folder, "her.jwt")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		return err
	}
	code, _, said, err := d.t.command("keyholder", "reid", "approve", r.ID, "--hash", r.RequestHash, "--keyholder", d.People, "--ca", d.CA(), "--token-file", path)
	if err != nil {
		return err
	}
	d.t.check(code == 4, "refused: with keyholder reid approve", "exit code %d: %s", code, said)
	return d.waits(r, "keyholder reid approve")
}

// ownBreakGlass has somebody review her own break-glass.
func (d *desk) ownBreakGlass() error {
	t := d.t
	t.note("her own break-glass")
	emergency := care.Person{Subject: "emergency", UserID: "555000000301", Organisation: care.Hospital, Role: "emergency", Assurance: "AAL3"}
	ask := d.about(2, emergency.Organisation)
	ask.Purpose, ask.BreakGlass = "ETREAT", true
	a, err := d.post(emergency, requestsPath, ask)
	if err != nil {
		return err
	}
	r, err := made(a)
	if err != nil {
		return err
	}
	if a, err = d.open(emergency, r); err != nil {
		return err
	}
	if !t.check(a.Done() && d.names(a, 2), "the glass is broken", "%s: status %d, %s", r.State, a.Status, a.Code) {
		return nil
	}
	review := func(p care.Person) (*keyholder.Answer, error) {
		return d.post(p, requestsPath+"/"+r.ID+"/review", api.ReviewGiven{Outcome: "justified"})
	}
	guardian := func(p care.Person) care.Person {
		p.Organisation, p.Role, p.Session = care.Board, "guardian", "guardian-"+p.Subject
		return p
	}
	account := emergency
	account.Subject = "emergency-too"
	for name, p := range map[string]care.Person{
		"as herself":                            emergency,
		"in a role of hers that reviews":        guardian(emergency),
		"from another account with her user id": guardian(account),
	} {
		if a, err = review(p); err != nil {
			return err
		}
		t.check(a.Status == http.StatusForbidden && a.Code == api.CodeReidentification, "she does not review her own break-glass", "%s: status %d, %s %s", name, a.Status, a.Code, a.Rule)
	}
	another := guardian(care.Person{Subject: "another-guardian"})
	if a, err = review(another); err != nil {
		return err
	}
	after, err := made(a)
	t.control(err == nil && after.Review != nil && after.Review.By.Subject == another.Subject, "another's review counts", "status %d, %s", a.Status, a.Code)
	return nil
}

// ownWorklist has whoever sends a worklist open it.
func (d *desk) ownWorklist() error {
	t := d.t
	t.note("her own worklist")
	analyst := care.Person{Subject: "analyst", UserID: "555000000401", Organisation: care.Board, Role: "analyst"}
	a, err := d.post(analyst, worklistsPath, api.WorklistRequest{
		Project: care.Project, Purpose: "CAREMGT", Organisation: analyst.Organisation, Route: "registered_practice", Reason: api.Reason{Code: "invitation", Text: "Frail and not reviewed for a year."},
		Items: []api.ReidentificationItem{{Row: 1, Token: d.Patients[3].Token}},
	})
	if err != nil {
		return err
	}
	r, err := made(a)
	if err != nil {
		return err
	}
	open := worklistsPath + "/" + r.ID + "/open"
	account := care.Person{Subject: "analyst-too", UserID: analyst.UserID, Organisation: care.Practice, Role: "gp"}
	role := analyst
	role.Organisation, role.Role, role.Session = care.Practice, "gp", "practice"
	for name, p := range map[string]care.Person{"as herself": analyst, "in a role of hers at the practice": role, "from another account with her user id, at the practice": account} {
		if a, err = d.post(p, open, nil); err != nil {
			return err
		}
		t.check(a.Status == http.StatusForbidden && a.Code == api.CodeReidentification && !d.names(a, 3), "who sends a worklist does not open it", "%s: status %d, %s %s", name, a.Status, a.Code, a.Rule)
	}
	if a, err = d.post(doctor, open, nil); err != nil {
		return err
	}
	t.control(a.Done() && d.names(a, 3), "the practice opens it", "status %d, %s", a.Status, a.Code)
	return nil
}

// secondOperator is the name of the second operator.
const secondOperator = "bob"

// ownOperation has one of two operators set a policy by herself.
func (t *Trial) ownOperation() error {
	t.note("one of two operators")
	folder, err := t.sub("two")
	if err != nil {
		return err
	}
	k, err := t.newKeyHolder(keyholder.Options{Folder: folder, Second: secondOperator})
	if err == nil {
		err = k.Start(t.ctx)
	}
	for _, name := range []string{keyholder.Operator, secondOperator} {
		if err == nil {
			err = k.Enrol(t.ctx, name, k.Made.Codes[name])
		}
	}
	if err != nil {
		return err
	}
	ann, err := k.CallAs(keyholder.Operator)
	if err != nil {
		return err
	}
	defer ann.Close()
	document, _, _ := strings.Cut(care.Policy, "[[project]]") // it has no project
	asks := request(api.OpPolicySet, api.PolicySet{Document: document})
	var o api.Operation
	status, refused, err := ann.Call(t.ctx, http.MethodPost, "/v1/operations", asks, &o)
	if err != nil {
		return err
	}
	if !t.check(status < http.StatusMultipleChoices && o.State == api.OpPending, "what one operator asks for waits", "status %d %s, %s", status, refused, o.State) {
		return nil
	}
	var twin api.Operation
	if status, refused, err = ann.Call(t.ctx, http.MethodPost, "/v1/operations", asks, &twin); err != nil {
		return err
	}
	t.check(twin.State == api.OpPending, "nor is asking twice an approval", "status %d %s, %s", status, refused, twin.State)
	approve := api.ApprovalRequest{Decision: "approve", Hash: o.Hash}
	path := "/v1/operations/" + o.ID
	a, err := ann.Send(t.ctx, care.NewID(), http.MethodPost, path+"/approvals", approve)
	if err != nil {
		return err
	}
	t.check(a.Status == http.StatusForbidden && a.Code == api.CodeApproverIsAsker, "an operator does not approve her own operation", "status %d, %s", a.Status, a.Code)
	if a, err = ann.Send(t.ctx, care.NewID(), http.MethodPost, path+"/collections", nil); err != nil {
		return err
	}
	t.check(!a.Done(), "nor does she have it carried out without", "status %d, %s", a.Status, a.Code)
	code, _, said, err := t.command("keyholder", "approvals", "approve", o.ID, "--hash", o.Hash, "--as", k.Credentials(keyholder.Operator), "--keyholder", k.URL)
	if err != nil {
		return err
	}
	t.check(code == 4, "nor with keyholder approvals approve", "exit code %d: %s", code, said)
	if isSet, err := t.policySet(ann); err != nil {
		return err
	} else if !t.check(!isSet, "no policy is set by one operator", "") {
		return nil
	}
	bob, err := k.CallAs(secondOperator)
	if err != nil {
		return err
	}
	defer bob.Close()
	if a, err = bob.Send(t.ctx, care.NewID(), http.MethodPost, path+"/approvals", approve); err != nil {
		return err
	}
	isSet, err := t.policySet(ann)
	t.control(a.Done() && isSet, "with the other operator's approval the policy is set", "status %d, %s", a.Status, a.Code)
	return err
}

// policySet reports whether a policy is set.
func (t *Trial) policySet(operator *keyholder.Caller) (bool, error) {
	a, err := operator.Send(t.ctx, care.NewID(), http.MethodGet, "/v1/policy", nil)
	if err != nil {
		return false, err
	}
	var p api.Policy
	return a.Done() && json.Unmarshal(a.Body, &p) == nil && p.Document != "", nil
}
