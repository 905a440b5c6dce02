package holder_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/holder"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf"
	"tarn/keys/reidentify"
	"tarn/keys/relationship"
)

const issuer = "https://sign-in.example.nhs.uk"

// The people of these tests, by the bearer token with which they come.
var people = map[string]reidentify.Person{
	"gp":          {Subject: "gp", Organisation: "Y12345", Role: "gp"},
	"gp-as-clerk": {Subject: "gp", Organisation: "Y12345", Role: "clerk"},
	"gp2":         {Subject: "gp2", Organisation: "Y12345", Role: "gp"},
	"other-gp":    {Subject: "other-gp", Organisation: "Y54321", Role: "gp"},
	"approver":    {Subject: "approver", Organisation: "QMJ", Role: "approver"},
	"guardian":    {Subject: "guardian", Organisation: "QMJ", Role: "guardian"},
	"analyst":     {Subject: "analyst", Organisation: "QMJ", Role: "analyst"},
	"doctor":      {Subject: "doctor", Organisation: "RX1", Role: "emergency", Assurance: "AAL3"},
	"doctor-weak": {Subject: "doctor-weak", Organisation: "RX1", Role: "emergency", Assurance: "AAL1"},
	"ward":        {Subject: "ward", Organisation: "RX1", Role: "gp"},
	"op1":         {Subject: "op1", UserID: "u-op1", Organisation: "X26", Role: "operator"},
	"op1-alias":   {Subject: "op1-alias", UserID: "u-op1", Organisation: "X26", Role: "operator"},
	"op2":         {Subject: "op2", UserID: "u-op2", Organisation: "X26", Role: "operator"},
	"gp-alias":    {Subject: "gp-alias", UserID: "910000000001", Organisation: "QMJ", Role: "approver"},
	"gp-cis2":     {Subject: "gp-cis2", UserID: "910000000001", Organisation: "Y12345", Role: "gp"},
}

// signIn knows people by their tokens. (That tokens are believed for good reasons is for
// the tests of package signin, and of the whole service.)
type signIn struct{ clock func() time.Time }

func (s signIn) Verify(_ context.Context, bearer string) (reidentify.Person, error) {
	// NAME/SESSION, or NAME#NUMBER/SESSION for colleagues who differ in nothing else.
	name, _, _ := strings.Cut(bearer, "/")
	name, number, _ := strings.Cut(name, "#")
	p, there := people[name]
	if !there {
		return p, errors.New("the token is nobody's")
	}
	sum := sha256.Sum256([]byte(bearer))
	p.Subject, p.Issuer, p.SignedIn, p.Session = p.Subject+number, issuer, s.clock(), hex.EncodeToString(sum[:])
	return p, nil
}

const policyDocument = `schema = "tarn.policy/1"
operators = []
[break_glass]
assurances = ["AAL3"]
[[guardian]]
roles = ["guardian"]
organisations = ["QMJ"]
[[project]]
name = "care"
issuer = "https://sign-in.example.nhs.uk"
controllers = ["QMJ"]
[[project.allow]]
roles = ["gp"]
purposes = ["TREAT"]
when = "relationship"
[[project.allow]]
roles = ["analyst"]
purposes = ["CAREMGT"]
when = "route"
[[project.allow]]
roles = ["analyst"]
purposes = ["HQUALIMP"]
when = "approval"
[[project.approver]]
roles = ["approver"]
organisations = ["QMJ"]
[[project.reviewer]]
roles = ["guardian"]
organisations = ["QMJ"]
[[project.break_glass]]
roles = ["emergency"]
`

const careRecord = `{"schema":"tarn.project/1","name":"care","domain":"pond","scheme":"oblivious","profile":"nhs-field-dob-1","purpose":"care",
	"legal_basis":{},"controllers":["QMJ"],"parties":[{"source_dataset":"north","ods":"RX1"}],"opt_outs":{"ndoo":true,"type1":true,"local":false},"groups":[],
	"keys":{"domain_no":0,"token_epoch":0,"token_public_key":null,"token_kcv":null,"encoding_epoch":0,"encoding_kcv":null},"reidentify":{"mode":"direct","approvals":1},"expires":"2999-12-31"}`

// region answers for a domain: it knows who is registered where.
type region struct {
	key    ed25519.PrivateKey
	server *httptest.Server
	clock  func() time.Time

	mu         sync.Mutex
	registered map[string]string // by token
	away       bool
}

func newRegion(t *testing.T) *region {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &region{key: key, registered: map[string]string{}, clock: time.Now}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.answer))
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.server.StartTLS()
	t.Cleanup(r.server.Close)
	return r
}

func (r *region) answer(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, err := io.ReadAll(request.Body)
	if err != nil || r.away {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var document any
	if strings.HasSuffix(request.URL.Path, "/route") {
		var q relationship.RouteQuestion
		if err = json.Unmarshal(body, &q); err == nil {
			organisations := make([]string, len(q.Tokens))
			for i, token := range q.Tokens {
				organisations[i] = r.registered[token]
			}
			document, err = relationship.SignRoute(&q, organisations, r.clock(), r.key)
		}
	} else {
		var q relationship.Question
		if err = json.Unmarshal(body, &q); err == nil {
			decision := relationship.Deny
			if r.registered[q.Token] == q.Organisation {
				decision = relationship.Allow
			}
			document, err = relationship.Sign(&q, decision, nil, r.clock(), r.key)
		}
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	b, _ := json.Marshal(document)
	_, _ = w.Write(b)
}

func (r *region) registers(token, organisation string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.registered[token] = organisation
}

// reid is a site where people re-identify.
type reid struct {
	*site
	region   *region
	ann, bob *caller
	north    *caller
	blinder  *oprf.Blinder
	domainNo uint32
}

func newReid(t *testing.T, more func(*holder.Options)) *reid {
	t.Helper()
	s := &reid{region: newRegion(t)}
	s.site = newSiteWith(t, holder.Custody{Method: "identity"}, func(o *holder.Options) {
		roots := s.region.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		o.SignIn = signIn{o.Clock}
		o.Regions = []holder.Region{{Domain: "pond", URL: s.region.server.URL, Roots: roots, Key: s.region.key.Public().(ed25519.PublicKey)}}
		more(o)
	})
	s.region.clock = s.now
	s.unseal()
	s.ann, s.bob = s.operators()
	change(s.ann, s.bob, api.OpDomainAdd, api.DomainAdd{Name: "pond", Scheme: "oblivious"})
	change(s.ann, s.bob, api.OpProjectAdd, api.ProjectAdd{Record: []byte(careRecord)})
	change(s.ann, s.bob, api.OpPolicySet, api.PolicySet{Document: policyDocument})
	c := change(s.ann, s.bob, api.OpClientAdd, api.ClientAdd{Name: "north", Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{"care"}})
	s.north = s.enrol(c.Code)
	d := must[api.Domain](s.north, "GET", "/v1/domains/pond", nil)
	public, err := oprf.ParsePublicKey(&d.Epochs[0].PublicKey)
	if err == nil {
		s.blinder, err = oprf.NewBlinder(oprf.Generator(), public, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.domainNo = d.DomainNo
	return s
}

// token makes a number's token, as a tokeniser does.
func (s *reid) token(number string) string {
	s.t.Helper()
	n, _, _ := nhsnumber.Parse(number)
	return s.tokens([]nhsnumber.Number{n})[0]
}

// patients are the tokens of so many patients.
func (s *reid) patients(n int) []string {
	s.t.Helper()
	numbers := []nhsnumber.Number{}
	for i := 0; len(numbers) < n; i++ {
		first := [9]byte([]byte(fmt.Sprintf("943%06d", i)))
		if digit, is := nhsnumber.CheckDigit(first); is {
			numbers = append(numbers, nhsnumber.Number(append(first[:], digit)))
		}
	}
	return s.tokens(numbers)
}

// tokens makes the tokens of numbers.
func (s *reid) tokens(numbers []nhsnumber.Number) (texts []string) {
	s.t.Helper()
	id := uuid.New()
	h := oprf.Header{Operation: oprf.Evaluate, DomainNo: s.domainNo, TokenEpoch: 1, RequestID: id}
	batch, err := s.blinder.Numbers(h, numbers, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), "POST", "https://"+s.address+"/v1/points?project=care", bytes.NewReader(batch.Request))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/octet-stream")
	request.Header.Set("X-Request-ID", id.String())
	answer, err := s.north.http.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		s.t.Fatalf("%d %s %v", answer.StatusCode, b, err)
	}
	points, err := batch.Finish(b)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, point := range points {
		texts = append(texts, keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: s.domainNo, TokenEpoch: 1, Value: point}.String())
	}
	return texts
}

// as is somebody who has signed in, in a session of theirs.
func (s *reid) as(bearer string) *caller {
	c := s.with(nil)
	c.at, c.bearer = s.people, bearer
	return c
}

// asks asks for one patient.
func asks(token, purpose, organisation string) api.ReidentificationRequest {
	return api.ReidentificationRequest{
		Project: "care", Purpose: purpose, Organisation: organisation, Reason: api.Reason{Code: "care", Text: "Called back about a blood result."},
		Items: []api.ReidentificationItem{{Row: 1, Token: token}}, BreakGlass: purpose == "ETREAT",
	}
}

const patientNumber = "9434765919"

// leaves returns all entries of the log.
func (s *reid) leaves() (all []audit.Leaf) {
	s.t.Helper()
	for after := ""; ; {
		page := must[api.List[api.Event]](s.ann, "GET", "/v1/events"+after, nil)
		for _, e := range page.Items {
			leaf, err := audit.Decode(e.Leaf)
			if err != nil {
				s.t.Fatal(err)
			}
			all = append(all, leaf)
		}
		if page.Next == "" {
			return all
		}
		after = "?after=" + page.Next
	}
}

// TestDirectCare: a clinician whose organisation has to do with the patient asks, opens and
// is told who it is, once; everybody else is told nothing.
func TestDirectCare(t *testing.T) {
	t.Parallel()
	s := newReid(t, func(*holder.Options) {})
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	gp := s.as("gp/1")
	r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
	if r.State != "ready" || r.Decision.Rule != "relationship" {
		t.Fatalf("%+v", r)
	}
	s.as("other-gp/1").refused(api.CodeNotFound, "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
	s.as("nobody/1").refused(api.CodeSignIn, "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
	opened := must[api.OpenedItems](gp, "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
	if len(opened.Items) != 1 || opened.Items[0].Identity == nil || opened.Items[0].Identity.NHSNumber != patientNumber || opened.Receipt == nil {
		t.Fatalf("%+v", opened)
	}
	again := must[api.OpenedItems](gp, "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
	if again.Items[0].Identity.NHSNumber != patientNumber {
		t.Errorf("%+v", again)
	}
	s.as("gp/2").refused(api.CodeGone, "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
	must[api.OpenedItems](gp, "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
	gp.refused(api.CodeGone, "POST", "/v1/reidentifications/"+r.ID+"/open", nil) // twice at most
	// Somebody else's patient is for approvers.
	if other := must[api.Reidentification](s.as("other-gp/1"), "POST", "/v1/reidentifications", asks(token, "TREAT", "Y54321")); other.State != "pending_approval" || other.Decision.Rule != "no_relationship" {
		t.Errorf("%+v", other)
	}
	kinds := map[audit.Kind]int{}
	for _, leaf := range s.leaves() {
		kinds[leaf.Kind]++
	}
	want := map[audit.Kind]int{audit.KindReidRequest: 2, audit.KindReidIntent: 1, audit.KindReidOutcome: 1, audit.KindRedeliver: 2}
	for kind, n := range want {
		if kinds[kind] != n {
			t.Errorf("%d entries of kind %s, want %d", kinds[kind], kind, n)
		}
	}
}

// TestApproval: what others must approve is opened when they have, and by nobody's own
// approval, from whichever account.
func TestApproval(t *testing.T) {
	t.Parallel()
	s := newReid(t, func(*holder.Options) {})
	token := s.token(patientNumber)
	gp := s.as("gp-cis2/1")
	r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
	if r.State != "pending_approval" || r.Approvals.Needed != 1 {
		t.Fatalf("%+v", r)
	}
	path := "/v1/reidentifications/" + r.ID
	approve := api.ApprovalGiven{Decision: "approve", RequestHash: r.RequestHash}
	gp.refused(api.CodeReidentification, "POST", path+"/open", nil)
	gp.refused(api.CodeApproverIsAsker, "POST", path+"/approvals", approve)
	s.as("gp-alias/1").refused(api.CodeApproverIsAsker, "POST", path+"/approvals", approve)
	s.as("gp2/1").refused(api.CodeNotFound, "POST", path+"/approvals", approve)
	s.as("approver/1").refused(api.CodeHashDiffers, "POST", path+"/approvals", api.ApprovalGiven{Decision: "approve", RequestHash: strings.Repeat("0", 64)})
	approved := must[api.Reidentification](s.as("approver/1"), "POST", path+"/approvals", approve)
	if approved.State != "ready" || approved.Decision.Rule != "approved" {
		t.Fatalf("%+v", approved)
	}
	opened := must[api.OpenedItems](gp, "POST", path+"/open", nil)
	if opened.Items[0].Identity == nil || opened.Items[0].Identity.NHSNumber != patientNumber {
		t.Errorf("%+v", opened)
	}
	if asked := must[api.WhoAsked](s.as("guardian/1"), "POST", "/v1/audit/who-asked", api.WhoAskedRequest{Project: "care", Token: token}); len(asked.Items) < 5 {
		t.Errorf("%d entries about the patient", len(asked.Items))
	}
	gp.refused(api.CodeReidentification, "POST", "/v1/audit/who-asked", api.WhoAskedRequest{Project: "care", Token: token})
}

// TestParallelOpenings: of two hundred who open one approval at once, one does.
func TestParallelOpenings(t *testing.T) {
	t.Parallel()
	s := newReid(t, func(*holder.Options) {})
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	gp := s.as("gp/1")
	r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
	var work sync.WaitGroup
	var mu sync.Mutex
	counts := map[int]int{}
	start := make(chan struct{})
	for range 200 {
		work.Go(func() {
			<-start
			status, _ := gp.call("POST", "/v1/reidentifications/"+r.ID+"/open", nil)
			mu.Lock()
			defer mu.Unlock()
			counts[status]++
		})
	}
	close(start)
	work.Wait()
	intents := 0
	for _, leaf := range s.leaves() {
		if leaf.Kind == audit.KindReidIntent {
			intents++
		}
	}
	if counts[200] != 1 || intents != 1 {
		t.Errorf("%v, %d intents", counts, intents)
	}
}

// TestOldRequestsAreErased: the reason that somebody gave leaves the disk when its time is
// over; the log keeps its entries.
func TestOldRequestsAreErased(t *testing.T) {
	t.Parallel()
	s := newReid(t, func(o *holder.Options) { o.KeepRequests = 24 * time.Hour })
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	r := must[api.Reidentification](s.as("gp/1"), "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
	entries := len(s.leaves())
	s.late.Add(int64(23 * time.Hour))
	if err := s.holder.LookAfterRequests(t.Context()); err != nil {
		t.Fatal(err)
	}
	must[api.Reidentification](s.as("gp/1"), "GET", "/v1/reidentifications/"+r.ID, nil)
	s.late.Add(int64(2 * time.Hour))
	if err := s.holder.LookAfterRequests(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.as("gp/1").refused(api.CodeNotFound, "GET", "/v1/reidentifications/"+r.ID, nil)
	certificate := s.ann.certificate()
	s.stop()
	s.start()
	s.unseal()
	s.ann = s.with(&certificate)
	s.as("gp/1").refused(api.CodeNotFound, "GET", "/v1/reidentifications/"+r.ID, nil)
	if now := len(s.leaves()); now < entries {
		t.Errorf("%d entries, and there were %d", now, entries)
	}
}

// TestBreakGlass: in an emergency it is opened at once, somebody is told before, another
// reviews it; without a stronger sign-in, a role or anybody to tell, it is not.
func TestBreakGlass(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 10)
	duty := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		heard <- string(b)
	}))
	defer duty.Close()
	s := newReid(t, func(o *holder.Options) { o.AlertsURL = duty.URL })
	token := s.token(patientNumber)
	for who, rule := range map[string]string{"gp": "break_glass_role", "doctor-weak": "break_glass_sign_in"} {
		r := must[api.Reidentification](s.as(who+"/1"), "POST", "/v1/reidentifications", asks(token, "ETREAT", people[who].Organisation))
		if r.State != "refused" || r.Decision.Rule != rule {
			t.Errorf("%s: %+v", who, r)
		}
	}
	doctor := s.as("doctor/1")
	r := must[api.Reidentification](doctor, "POST", "/v1/reidentifications", asks(token, "ETREAT", "RX1"))
	if r.State != "ready" || r.Decision.Rule != "break_glass" {
		t.Fatalf("%+v", r)
	}
	path := "/v1/reidentifications/" + r.ID
	s.as("guardian/1").refused(api.CodeConflict, "POST", path+"/review", api.ReviewGiven{Outcome: "justified"}) // nothing is opened yet
	if opened := must[api.OpenedItems](doctor, "POST", path+"/open", nil); opened.Items[0].Identity == nil || opened.Items[0].Identity.NHSNumber != patientNumber {
		t.Errorf("%+v", opened)
	}
	select {
	case alert := <-heard:
		if !strings.Contains(alert, "break-glass") || strings.Contains(alert, patientNumber) || strings.Contains(alert, token) {
			t.Errorf("%s", alert)
		}
	case <-time.After(20 * time.Second):
		t.Error("nobody is told")
	}
	if due := must[api.List[api.Reidentification]](s.as("guardian/1"), "GET", "/v1/reidentifications?as=reviewer", nil); len(due.Items) != 1 || due.Items[0].ReviewDue.IsZero() {
		t.Errorf("%+v", due)
	}
	// Nobody reviews in time: the doctor's next one waits for it.
	s.late.Add(int64(73 * time.Hour))
	if next := must[api.Reidentification](doctor, "POST", "/v1/reidentifications", asks(token, "ETREAT", "RX1")); next.Decision.Rule != "break_glass_suspended" {
		t.Errorf("%+v", next)
	}
	doctor.refused(api.CodeReidentification, "POST", path+"/review", api.ReviewGiven{Outcome: "justified"})
	reviewed := must[api.Reidentification](s.as("guardian/1"), "POST", path+"/review", api.ReviewGiven{Outcome: "justified", Comment: "Unconscious on arrival."})
	if reviewed.Review == nil || reviewed.Review.Outcome != "justified" {
		t.Errorf("%+v", reviewed)
	}
	if next := must[api.Reidentification](doctor, "POST", "/v1/reidentifications", asks(token, "ETREAT", "RX1")); next.State != "ready" {
		t.Errorf("%+v", next)
	}
}

// TestWithoutAlertsNobodyBreaksTheGlass: an alert that nobody hears is none.
func TestWithoutAlertsNobodyBreaksTheGlass(t *testing.T) {
	t.Parallel()
	s := newReid(t, func(*holder.Options) {})
	if r := must[api.Reidentification](s.as("doctor/1"), "POST", "/v1/reidentifications", asks(s.token(patientNumber), "ETREAT", "RX1")); r.Decision.Rule != "break_glass_alerts" {
		t.Errorf("%+v", r)
	}
}

// TestWorklist: who finds the patients sees none; each practice opens its own; whose
// practice nobody knows is nobody's.
func TestWorklist(t *testing.T) {
	t.Parallel()
	s := newReid(t, func(*holder.Options) {})
	tokens := s.patients(3)
	s.region.registers(tokens[0], "Y12345")
	s.region.registers(tokens[1], "Y54321")
	list := api.WorklistRequest{
		Project: "care", Purpose: "CAREMGT", Organisation: "QMJ", Route: "registered_practice", Reason: api.Reason{Code: "invitation", Text: "Frail and not reviewed for a year."},
		Items: []api.ReidentificationItem{{Row: 10, Token: tokens[0]}, {Row: 11, Token: tokens[1]}, {Row: 12, Token: tokens[2]}},
	}
	analyst := s.as("analyst/1")
	r := must[api.Reidentification](analyst, "POST", "/v1/worklists", list)
	if r.State != "ready" || r.Decision.Rule != "routed" || len(r.Rows) != 3 {
		t.Fatalf("%+v", r)
	}
	open := "/v1/worklists/" + r.ID + "/open"
	analyst.refused(api.CodeReidentification, "POST", open, nil)
	s.as("doctor/1").refused(api.CodeNotFound, "POST", open, nil)
	if seen := must[api.List[api.Reidentification]](s.as("gp/1"), "GET", "/v1/reidentifications?as=recipient", nil); len(seen.Items) != 1 || len(seen.Items[0].Rows) != 1 || seen.Items[0].Reason != nil {
		t.Errorf("%+v", seen)
	}
	opened := must[api.OpenedItems](s.as("gp/1"), "POST", open, nil)
	if len(opened.Items) != 1 || opened.Items[0].Row != 10 || opened.Items[0].State != "opened" {
		t.Errorf("%+v", opened)
	}
	// The patient has moved since: the practice that was named sees nobody.
	s.region.registers(tokens[1], "Y99999")
	if opened := must[api.OpenedItems](s.as("other-gp/1"), "POST", open, nil); len(opened.Items) != 1 || opened.Items[0].State != "not_available" || opened.Items[0].Identity != nil {
		t.Errorf("%+v", opened)
	}
	if after := must[api.Reidentification](analyst, "GET", "/v1/reidentifications/"+r.ID, nil); after.State != "ready" { // whether anybody has opened it is not the sender's to know
		t.Errorf("%+v", after)
	}
	// Without a token: by reference, to where the record came from.
	id := strings.Repeat("ab", 16)
	r = must[api.Reidentification](analyst, "POST", "/v1/worklists", api.WorklistRequest{
		Project: "care", Purpose: "CAREMGT", Organisation: "QMJ", Route: "source_organisation", Reason: list.Reason,
		Items: []api.ReidentificationItem{{Row: 1, Reference: &api.Reference{SourceDataset: "north", UniqueID: id}}},
	})
	if opened := must[api.OpenedItems](s.as("ward/1"), "POST", "/v1/worklists/"+r.ID+"/open", nil); opened.Items[0].State != "reference" || opened.Items[0].Reference.UniqueID != id {
		t.Errorf("%+v", opened)
	}
}

// TestRegionAway: what rests on a region's answer is not decided without it, and nothing is
// used up.
func TestRegionAway(t *testing.T) {
	t.Parallel()
	s := newReid(t, func(o *holder.Options) { o.AlertsURL = "http://127.0.0.1:1/" })
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	gp := s.as("gp/1")
	r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
	s.region.mu.Lock()
	s.region.away = true
	s.region.mu.Unlock()
	gp.refused(api.CodeRegion, "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
	gp.refused(api.CodeRegion, "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
	doctor := s.as("doctor/1") // what those are told to do who cannot wait
	emergency := must[api.Reidentification](doctor, "POST", "/v1/reidentifications", asks(token, "ETREAT", "RX1"))
	if opened := must[api.OpenedItems](doctor, "POST", "/v1/reidentifications/"+emergency.ID+"/open", nil); opened.Items[0].State != "opened" {
		t.Errorf("%+v", opened)
	}
	s.region.mu.Lock()
	s.region.away = false
	s.region.mu.Unlock()
	if opened := must[api.OpenedItems](gp, "POST", "/v1/reidentifications/"+r.ID+"/open", nil); opened.Items[0].State != "opened" {
		t.Errorf("%+v", opened)
	}
}

// TestAsksTooOften: whoever asks faster than anybody needs to is told when to come back, and
// their colleagues are not.
func TestAsksTooOften(t *testing.T) {
	t.Parallel()
	s := newReid(t, func(*holder.Options) {})
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	var work sync.WaitGroup
	var mu sync.Mutex
	counts := map[int]int{}
	for range 100 {
		work.Go(func() {
			status, _ := s.as("gp/1").call("POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
			mu.Lock()
			defer mu.Unlock()
			counts[status]++
		})
	}
	work.Wait()
	if counts[http.StatusTooManyRequests] < 20 || counts[http.StatusCreated] < 60 {
		t.Errorf("%v", counts)
	}
	must[api.Reidentification](s.as("gp2/1"), "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
}

// TestRoleChanged: what was asked in one role is not opened in another.
func TestRoleChanged(t *testing.T) {
	t.Parallel()
	s := newReid(t, func(*holder.Options) {})
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	r := must[api.Reidentification](s.as("gp/1"), "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
	s.as("gp-as-clerk/1").refused(api.CodeReidentification, "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
	must[api.OpenedItems](s.as("gp/1"), "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
}
