package holder_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/holder"
	"tarn/keys/signin"
	"tarn/keys/signin/codeflow"
)

// pagesSignIn signs in whom the browser says. (The provider is a real one in the tests of
// package codeflow, and in those of the whole service.)
type pagesSignIn struct{ signIn }

func (pagesSignIn) Begin(w codeflow.Want) (string, string, error) {
	return "https://idp.example/", url.QueryEscape(w.ReturnTo), nil
}

func (p pagesSignIn) Finish(ctx context.Context, cookie string, query url.Values) (*codeflow.Result, error) {
	back, err := url.QueryUnescape(cookie)
	person, refused := p.Verify(ctx, query.Get("as"))
	if err := errors.Join(err, refused); err != nil {
		return nil, err
	}
	return &codeflow.Result{Person: person, Shown: signin.Shown{Name: "Dr " + query.Get("as")}, ReturnTo: back}, nil
}

func (pagesSignIn) Leave(string) string { return "" }

// withPages is a site whose people come by pages, too.
func withPages(t *testing.T) *reid {
	t.Helper()
	return newReid(t, func(o *holder.Options) {
		o.Pages = &holder.Pages{SignIn: pagesSignIn{signIn{o.Clock}}, Organisation: "Example", PublicURL: "https://reid.example"}
		o.AlertsURL = "https://127.0.0.1:1/" // somebody is told of emergencies, when they answer
	})
}

// browser is a person's.
type browser struct {
	site *reid
	http *http.Client
}

// browser signs somebody in.
func (s *reid) browser(as string) *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	c := s.with(nil).http
	c.Jar, c.CheckRedirect = jar, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	b := &browser{s, c}
	b.get(http.StatusSeeOther, "/sign-in/start?next=%2F")
	b.get(http.StatusSeeOther, "/sign-in/callback?"+url.Values{"as": {as}}.Encode())
	return b
}

func (b *browser) do(want int, verb, path string, form url.Values) (page, location string) {
	t := b.site.t
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), verb, "https://"+b.site.people+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if verb == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	got, err := b.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode != want {
		t.Fatalf("%s %s: %d %v\n%s", verb, path, got.StatusCode, err, textOf(string(body)))
	}
	return textOf(string(body)), got.Header.Get("Location")
}

func (b *browser) get(want int, path string) string {
	b.site.t.Helper()
	page, _ := b.do(want, http.MethodGet, path, nil)
	return page
}

var tags = regexp.MustCompile(`<[^>]*>`)
var blanks = regexp.MustCompile(`\s+`)

// textOf is what a page says.
func textOf(page string) string {
	return blanks.ReplaceAllString(html.UnescapeString(tags.ReplaceAllString(page, "")), " ")
}

// asks asks for a patient by the form, and returns the address of the request's page.
func (b *browser) asks(path, token, purpose string, more url.Values) string {
	b.site.t.Helper()
	form := url.Values{"form_id": {uuid.NewString()}, "token": {token}, "tokens": {token}, "purpose": {purpose + " care"}, "reason": {"care"}, "text": {"Called back about a blood result."}}
	for name, values := range more {
		form[name] = values
	}
	_, to := b.do(http.StatusSeeOther, http.MethodPost, path, form)
	return to
}

func (b *browser) has(path string, texts ...string) string {
	b.site.t.Helper()
	page := b.get(http.StatusOK, path)
	for _, text := range texts {
		if !strings.Contains(page, text) {
			b.site.t.Errorf("%s does not say %q: %s", path, text, page)
		}
	}
	return page
}

// TestPagesDirectCare: by pages as by the interface: told at once, once, and twice more in
// the same session.
func TestPagesDirectCare(t *testing.T) {
	t.Parallel()
	s := withPages(t)
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	gp := s.browser("gp/1")
	gp.has("/", "Find out who a patient is", "Your requests")
	to := gp.asks("/ask", token, "TREAT", nil)
	if page := gp.has(to, "Ready to open", "Show who it is"); strings.Contains(page, patientNumber) {
		t.Error("the request's page names the patient")
	}
	for range 3 {
		if page, _ := gp.do(http.StatusOK, http.MethodPost, to+"/open", nil); !strings.Contains(page, patientNumber) || !strings.Contains(page, "Check it is the right patient") {
			t.Fatalf("opened: %s", page)
		}
	}
	if page, _ := gp.do(http.StatusGone, http.MethodPost, to+"/open", nil); strings.Contains(page, patientNumber) {
		t.Error("it is shown a fourth time")
	}
	if page, _ := s.browser("gp/2").do(http.StatusGone, http.MethodPost, to+"/open", nil); strings.Contains(page, patientNumber) {
		t.Error("another session is shown it")
	}
	s.browser("other-gp/1").get(http.StatusNotFound, to)
	gp.has("/requests", "1 patient", "Opened")
	// What a page asks is counted and written down as what the interface is asked.
	kinds := map[audit.Kind]int{}
	for _, leaf := range s.leaves() {
		if leaf.Actor.Subject == "gp" {
			kinds[leaf.Kind]++
		}
	}
	if kinds[audit.KindReidIntent] != 1 || kinds[audit.KindReidOutcome] != 1 || kinds[audit.KindRedeliver] != 2 {
		t.Errorf("the log has %v", kinds)
	}
	if strings.Contains(s.log.String(), token) || strings.Contains(s.log.String(), patientNumber) || strings.Contains(s.log.String(), to) {
		t.Error("the service's lines say whom somebody asked for")
	}
}

// TestPagesApproval: who asks does not approve, another does, and what they read is what is
// opened.
func TestPagesApproval(t *testing.T) {
	t.Parallel()
	s := withPages(t)
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	asker, approver := s.browser("gp-cis2/1"), s.browser("approver/1")
	s.region.registers(token, "Y99999")
	to := asker.asks("/ask", token, "TREAT", nil)
	id := strings.TrimPrefix(to, "/requests/")
	asker.has(to, "Waiting for approval", "An approver has to agree first")
	approver.has("/approvals", "Direct care of this patient: 1 patient", "0 of 1 approval")
	page := approver.has("/approvals/"+id, "the region does not say that Y12345 has to do with the patient now", "Called back about a blood result.", "Data controllers QMJ")
	hash := regexp.MustCompile(`[0-9a-f]{64}`).FindString(page)
	alias := s.browser("gp-alias/1") // the same person, from another account
	alias.has("/approvals/"+id, "You have asked for this yourself")
	if page, _ := alias.do(http.StatusForbidden, http.MethodPost, "/approvals/"+id, url.Values{"hash": {hash}, "decision": {"approve"}}); !strings.Contains(page, "You cannot approve your own request") {
		t.Errorf("one's own: %s", page)
	}
	if page, _ := approver.do(http.StatusConflict, http.MethodPost, "/approvals/"+id, url.Values{"hash": {strings.Repeat("0", 64)}, "decision": {"approve"}}); !strings.Contains(page, "The request is not what you read") {
		t.Errorf("another hash: %s", page)
	}
	approver.do(http.StatusSeeOther, http.MethodPost, "/approvals/"+id, url.Values{"hash": {hash}, "decision": {"approve"}, "comment": {"Referred this morning."}})
	approver.has("/approvals", "Nothing waits for your decision")
	asker.has(to, "Ready to open", "Referred this morning.")
	if page, _ := asker.do(http.StatusOK, http.MethodPost, to+"/open", nil); !strings.Contains(page, patientNumber) {
		t.Errorf("opened: %s", page)
	}
	// A request that nobody decides ends by itself.
	late := asker.asks("/ask", token, "TREAT", nil)
	s.late.Store(int64(73 * time.Hour))
	s.browser("gp-cis2/2").has(late, "Expired", "It was not opened in time")
}

// TestPagesEmergency: a strong sign-in is needed, others review it, and not who used it.
func TestPagesEmergency(t *testing.T) {
	t.Parallel()
	s := withPages(t)
	token := s.token(patientNumber)
	doctor, weak, guardian := s.browser("doctor/1"), s.browser("doctor-weak/1"), s.browser("guardian/1")
	weak.has("/emergency", "First, sign in again")
	understood := url.Values{"understood": {"yes"}}
	refused := weak.asks("/emergency", token, "ETREAT", understood)
	weak.has(refused, "Refused", "Break-glass needs a sign-in that was made just now, and stronger")
	to := doctor.asks("/emergency", token, "ETREAT", understood)
	if page, _ := doctor.do(http.StatusOK, http.MethodPost, to+"/open", nil); !strings.Contains(page, patientNumber) {
		t.Fatalf("opened: %s", page)
	}
	doctor.has(to, "Somebody else reviews it by")
	id := strings.TrimPrefix(to, "/requests/")
	guardian.has("/reviews", "To review")
	guardian.do(http.StatusSeeOther, http.MethodPost, "/reviews/"+id, url.Values{"outcome": {"justified"}, "comment": {"Spoken to the doctor."}})
	guardian.has("/reviews/"+id, "Reviewed", "justified", "Spoken to the doctor.")
	guardian.do(http.StatusConflict, http.MethodPost, "/reviews/"+id, url.Values{"outcome": {"not-justified"}})
	doctor.get(http.StatusForbidden, "/reviews")
}

// TestPagesWorklist: each practice opens its own patients, and who sent it opens none.
func TestPagesWorklist(t *testing.T) {
	t.Parallel()
	s := withPages(t)
	tokens := s.patients(3)
	s.region.registers(tokens[0], "Y12345")
	s.region.registers(tokens[1], "Y54321")
	analyst, gp, other := s.browser("analyst/1"), s.browser("gp/1"), s.browser("other-gp/1")
	to := analyst.asks("/worklists/send", strings.Join(tokens, "\n"), "CAREMGT", nil)
	analyst.has(to, "Each patient's own practice finds it in its worklists")
	analyst.do(http.StatusForbidden, http.MethodPost, to+"/open", nil)
	for _, b := range []*browser{gp, other} {
		b.has("/worklists", "1 patient, worklist", "Ready to open") // whatever the other has done
		b.has(to, "1 patient of yours is on this list")
		if page, _ := b.do(http.StatusOK, http.MethodPost, to+"/open", nil); !strings.Contains(page, "NHS number") {
			t.Errorf("opened: %s", page)
		}
		b.has("/worklists", "Opened")
	}
	s.browser("ward/1").get(http.StatusNotFound, to)
}

// TestPagesGuardian: who asked, the log, proofs, limits and reports; for guardians only.
func TestPagesGuardian(t *testing.T) {
	t.Parallel()
	s := withPages(t)
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	gp, guardian := s.browser("gp/1"), s.browser("guardian/1")
	to := gp.asks("/ask", token, "TREAT", nil)
	gp.do(http.StatusOK, http.MethodPost, to+"/open", nil)
	form := url.Values{"token": {token}, "project": {"care"}}
	page, _ := guardian.do(http.StatusOK, http.MethodPost, "/who-asked", form)
	for _, text := range []string{"gp, role gp at Y12345", "Opening: ", "the patient was named", "that is all of them"} {
		if !strings.Contains(page, text) {
			t.Errorf("who asked does not say %q: %s", text, page)
		}
	}
	page, _ = guardian.do(http.StatusOK, http.MethodPost, "/who-asked", url.Values{"token": {s.token("9000000009")}, "project": {"care"}})
	if !strings.Contains(page, "Nobody has asked about this patient") {
		t.Errorf("of somebody else: %s", page)
	}
	guardian.has("/log?kind=reid-outcome", "1 entry, the newest first", "the patient was named")
	guardian.has("/log?subject=gp&organisation=y12345&project=care", "Asked who a patient is")
	guardian.has("/log?from=2999-01-01", "No entry fits")
	guardian.get(http.StatusUnprocessableEntity, "/log?from=yesterday")
	index := uint64(0)
	for i, leaf := range s.leaves() {
		if leaf.Kind == audit.KindReidOutcome {
			index = uint64(i)
		}
	}
	guardian.has(fmt.Sprintf("/log/%d", index), "Opening: the patient was named")
	guardian.has(fmt.Sprintf("/log/%d/receipt", index), `"schema":"tarn.receipt/1"`)
	guardian.has("/limits", "Organisations", "Y12345", "gp, role gp at Y12345")
	guardian.has("/reports?organisation=Y12345", "Requests 1 0", "Patients named 1 0")
	guardian.has("/reports/table.csv?organisation=Y12345", "requests,requests,1,0")
	gp.has("/limits", "Requests in 24 hours", "1 of 100")
	for _, path := range []string{"/who-asked", "/log", fmt.Sprintf("/log/%d", index), fmt.Sprintf("/log/%d/receipt", index), "/reports", "/reports/table.csv"} {
		gp.get(http.StatusForbidden, path)
	}
	gp.do(http.StatusForbidden, http.MethodPost, "/who-asked", form)
	// Anybody reads the register, without having signed in.
	nobody := &browser{s, s.with(nil).http}
	nobody.has("/register", "care", "national data opt-out, type 1 opt-out", "No figures yet")
}

// TestPagesOperators: one operator asks, another approves what they read, and who asked gets
// the code, once. Nobody approves their own, from whichever account.
func TestPagesOperators(t *testing.T) {
	t.Parallel()
	s := withPages(t)
	change(s.ann, s.bob, api.OpPolicySet, api.PolicySet{Document: strings.Replace(policyDocument, "operators = []", `operators = ["u-op1", "u-op2"]`, 1)})
	one, alias, two := s.browser("op1/1"), s.browser("op1-alias/1"), s.browser("op2/1")
	one.has("/operators", "Changes that wait None", "care", "north", "ann")
	form := url.Values{"form_id": {uuid.NewString()}, "name": {"south"}, "role": {"tokeniser"}, "organisation": {"rx1"}, "project": {"care"}, "sources": {"north"}}
	_, to := one.do(http.StatusSeeOther, http.MethodPost, "/operators/client", form)
	one.has(to, "Add client south", "You have asked for this yourself")
	page := alias.has(to, "You have asked for this yourself")
	hash := regexp.MustCompile(`Its hash is ?([0-9a-f]{64})`).FindStringSubmatch(page)
	if hash == nil {
		t.Fatalf("no hash: %s", page)
	}
	approve := url.Values{"hash": {hash[1]}, "decision": {"approve"}}
	alias.do(http.StatusForbidden, http.MethodPost, to, approve)
	two.do(http.StatusConflict, http.MethodPost, to, url.Values{"hash": {strings.Repeat("0", 64)}, "decision": {"approve"}})
	two.has(to, "Client south Role tokeniser Organisation RX1 Projects care")
	two.do(http.StatusSeeOther, http.MethodPost, to, approve)
	two.do(http.StatusForbidden, http.MethodPost, to+"/code", nil)
	one.has(to, "Approved: its code is to be collected", "Show the code")
	if page, _ := one.do(http.StatusOK, http.MethodPost, to+"/code", nil); !strings.Contains(page, "Enrolment code") {
		t.Errorf("the code: %s", page)
	}
	one.do(http.StatusConflict, http.MethodPost, to+"/code", nil)
	one.has("/operators/clients/south", "invited", "Its code ends")
	// A project, whose record both read.
	record := strings.Replace(careRecord, `"name":"care"`, `"name":"audit"`, 1)
	_, to = two.do(http.StatusSeeOther, http.MethodPost, "/operators/project", url.Values{"form_id": {uuid.NewString()}, "kind": {"project.add"}, "record": {record}})
	hash = regexp.MustCompile(`Its hash is ?([0-9a-f]{64})`).FindStringSubmatch(one.has(to, "Add project", "Data controllers QMJ"))
	one.do(http.StatusSeeOther, http.MethodPost, to, url.Values{"hash": {hash[1]}, "decision": {"approve"}})
	one.has("/register", "audit")
	if page, _ := one.do(http.StatusUnprocessableEntity, http.MethodPost, "/operators/project", url.Values{"form_id": {uuid.NewString()}, "kind": {"project.add"}, "record": {`{"schema":"tarn.project/1"}`}}); !strings.Contains(page, "There is a problem") {
		t.Errorf("half a record: %s", page)
	}
	// Operators' certificates are not made or unmade here.
	form = url.Values{"form_id": {uuid.NewString()}, "name": {"eve"}, "role": {"operator"}, "organisation": {"X26"}}
	one.do(http.StatusForbidden, http.MethodPost, "/operators/client", form)
	one.do(http.StatusForbidden, http.MethodPost, "/operators/clients/ann", url.Values{"form_id": {uuid.NewString()}, "action": {"revoke"}})
	s.browser("gp/1").get(http.StatusForbidden, "/operators")
}
