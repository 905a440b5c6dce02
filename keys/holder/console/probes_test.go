package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/holder/console"
	"tarn/keys/reidentify"
)

// good is a token, of nobody.
func good(t *testing.T) string {
	t.Helper()
	return keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: 1, Value: [32]byte{1, 2, 3}}.String()
}

// asking is a form by which somebody asks.
func asking(number, token string) url.Values {
	return url.Values{"form_id": {number}, "token": {token}, "purpose": {"TREAT care"}, "reason": {"care"}, "text": {"Called back about a blood result."}}
}

// TestForgery: what another site has a browser send is refused, whatever it says of itself
// but that it is ours; the same from our own page is done.
func TestForgery(t *testing.T) {
	s := newSite(t)
	s.signIn()
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "", "Origin", "null"}} {
		got := s.post("/requests/"+readyID+"/cancel", url.Values{}, headers...)
		if got.StatusCode != http.StatusForbidden || !strings.Contains(got.body, "did not come from a page of ours") {
			t.Errorf("%v: %d", headers, got.StatusCode)
		}
	}
	if got := s.post("/requests/"+readyID+"/cancel", url.Values{}); got.StatusCode != http.StatusSeeOther {
		t.Errorf("our own page: %d", got.StatusCode)
	}
	// What changes something is no GET.
	for _, path := range []string{"/requests/" + readyID + "/open", "/requests/" + readyID + "/cancel", "/sign-out", "/operators/changes/" + readyID + "/code"} {
		if got := s.get(path); got.StatusCode == http.StatusOK || got.StatusCode == http.StatusSeeOther {
			t.Errorf("GET %s: %d", path, got.StatusCode)
		}
	}
}

// TestFixation: a session is never one that the browser brought, and the one before a
// sign-in is of no use after it.
func TestFixation(t *testing.T) {
	s := newSite(t)
	at, err := url.Parse(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.browser.Jar.SetCookies(at, []*http.Cookie{{Name: "__Host-tarn-session", Value: "chosen-by-somebody-else", Path: "/", Secure: true}})
	session := func() string {
		for _, c := range s.browser.Jar.Cookies(at) {
			if c.Name == "__Host-tarn-session" {
				return c.Value
			}
		}
		return ""
	}
	got := s.signIn()
	first := session()
	if first == "" || first == "chosen-by-somebody-else" {
		t.Fatalf("the session is %q", first)
	}
	for _, c := range got.Cookies() {
		if c.Name == "__Host-tarn-session" && (!c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "") {
			t.Errorf("the cookie is %v", c)
		}
	}
	s.signIn()
	second := session()
	if second == first {
		t.Error("a second sign-in has the session of the first")
	}
	s.browser.Jar.SetCookies(at, []*http.Cookie{{Name: "__Host-tarn-session", Value: first, Path: "/", Secure: true}})
	if got := s.get("/ask"); got.StatusCode != http.StatusSeeOther {
		t.Errorf("the session before a sign-in can still be used: %d", got.StatusCode)
	}
	s.browser.Jar.SetCookies(at, []*http.Cookie{{Name: "__Host-tarn-session", Value: second, Path: "/", Secure: true}})
	if got := s.get("/ask"); got.StatusCode != http.StatusOK {
		t.Errorf("control: %d", got.StatusCode)
	}
}

// TestSessionsEnd: by themselves, when nobody uses them, after the longest time, and when
// somebody signs out. What is sent then is not done.
func TestSessionsEnd(t *testing.T) {
	in := func(s *site) bool { return s.get("/requests").StatusCode == http.StatusOK }
	t.Run("idle", func(t *testing.T) {
		s := newSite(t)
		s.signIn()
		number := s.form("/ask")
		if s.pass(console.DefaultIdle); !in(s) {
			t.Fatal("it has ended too early")
		}
		s.pass(console.DefaultIdle + time.Second)
		got := s.post("/ask", asking(number, good(t)))
		if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.body, "You were signed out") || len(s.asked) > 0 {
			t.Errorf("%d, %d asked", got.StatusCode, len(s.asked))
		}
		if got := s.get("/sign-in"); !strings.Contains(got.body, "You were signed out") {
			t.Error("nobody is told why")
		}
	})
	t.Run("longest", func(t *testing.T) {
		s := newSite(t)
		s.signIn()
		for d := time.Duration(0); d < console.DefaultLongest; d += 10 * time.Minute {
			if !in(s) {
				t.Fatalf("it has ended after %s", d)
			}
			s.pass(10 * time.Minute)
		}
		if s.pass(time.Minute); in(s) {
			t.Error("it lasts for ever")
		}
	})
	t.Run("sign out", func(t *testing.T) {
		s := newSite(t)
		s.signIn()
		at, _ := url.Parse(s.server.URL)
		before := s.browser.Jar.Cookies(at)
		if got := s.post("/sign-out", nil); got.StatusCode != http.StatusSeeOther {
			t.Errorf("signing out: %d", got.StatusCode)
		}
		s.browser.Jar.SetCookies(at, before) // whoever has copied it
		if in(s) {
			t.Error("the session has not ended")
		}
	})
	t.Run("too many of one person", func(t *testing.T) {
		s := newSite(t)
		s.signIn()
		first := s.browser
		for range 8 {
			s.pass(time.Second)
			s.browser = s.newBrowser()
			s.signIn()
		}
		if s.browser = first; in(s) {
			t.Error("a person has as many sessions as they like")
		}
	})
}

// TestOpenRedirect: whoever signs in comes back to a page of ours.
func TestOpenRedirect(t *testing.T) {
	s := newSite(t)
	for _, next := range []string{"https://evil.example/", "//evil.example/", `/\evil.example/`, "/%5cevil.example", "javascript:alert(1)", "\t//evil.example", "/sign-in/callback", "evil", "///evil.example", "/\n/evil.example"} {
		s.get("/sign-in/start?" + url.Values{"next": {next}}.Encode())
		got := s.get("/sign-in/callback?code=1")
		to, err := url.Parse(got.Header.Get("Location"))
		if err != nil || to.Host != "" || to.Scheme != "" || strings.HasPrefix(got.Header.Get("Location"), "//") || strings.Contains(got.Header.Get("Location"), `\`) || strings.HasPrefix(to.Path, "/sign-in") {
			t.Errorf("%q: comes back to %q, %v", next, got.Header.Get("Location"), err)
		}
		if got := s.get("/sign-in?" + url.Values{"next": {next}}.Encode()); strings.HasPrefix(got.Header.Get("Location"), "//") || strings.Contains(got.Header.Get("Location"), "evil.example/") && !strings.HasPrefix(got.Header.Get("Location"), "/") {
			t.Errorf("%q: the page to sign in sends to %q", next, got.Header.Get("Location"))
		}
		s.post("/sign-out", nil)
	}
	s.get("/sign-in/start?next=%2Flog%3Fkind%3Dalarm")
	if got := s.get("/sign-in/callback?code=1"); got.Header.Get("Location") != "/log?kind=alarm" {
		t.Errorf("control: comes back to %q", got.Header.Get("Location"))
	}
}

// TestScripts: what people and programs write is text, wherever it is shown.
func TestScripts(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	s := newSite(t)
	s.provider.person.Role = evil
	for _, r := range s.requests {
		r.Project, r.Organisation, r.Reason.Text, r.Requester.Subject, r.Requester.Role = evil, evil, evil, evil, evil
		r.Decision.Why = evil
		r.Approvals.Given = []api.ReidentificationApproval{{By: r.Requester, Decision: "approve", Comment: evil, Time: now}}
		r.Review = &api.ReviewShown{By: r.Requester, Outcome: "justified", Comment: evil, Time: now}
	}
	s.signIn()
	pages := []answer{}
	for _, path := range everyPage {
		pages = append(pages, s.get(path))
	}
	number := s.form("/ask")
	form := asking(number, evil)
	form.Set("text", evil)
	pages = append(pages, s.post("/ask", form), s.post("/ask/list", url.Values{"form_id": {number}, "tokens": {evil}, "text": {evil}, "reason": {evil}, "purpose": {evil}}),
		s.post("/who-asked", url.Values{"token": {evil}, "project": {evil}}), s.get("/log?"+url.Values{"kind": {evil}, "project": {evil}, "request": {evil}, "from": {evil}}.Encode()),
		s.get("/reports?"+url.Values{"organisation": {evil}, "month": {evil}}.Encode()), s.post("/approvals/"+pendingID, url.Values{"decision": {""}, "comment": {evil}}), s.get("/"+url.PathEscape(evil)),
		s.post("/operators/client", url.Values{"form_id": {number}, "name": {evil}, "organisation": {evil}, "sources": {evil}}), s.post("/operators/project", url.Values{"form_id": {number}, "record": {evil}, "kind": {"project.add"}}))
	for _, page := range pages {
		if strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "<img src=x") {
			t.Errorf("%s shows what was written as more than text", page.Request.URL.Path)
		}
	}
}

// TestAsking: a token that was mistyped is found before anything is sent; a form that is sent
// twice is one request; what was filled in is there again.
func TestAsking(t *testing.T) {
	s := newSite(t)
	s.signIn()
	number := s.form("/ask")
	got := s.post("/ask", asking(number, "tarn1"+strings.Repeat("q", 69)))
	if got.StatusCode != http.StatusUnprocessableEntity || len(s.asked) != 0 || !strings.Contains(got.body, "There is a problem") || !strings.Contains(got.body, "Called back about a blood result.") || !strings.Contains(got.body, `href="#token"`) {
		t.Errorf("a mistyped token: %d, %d asked\n%s", got.StatusCode, len(s.asked), got.body)
	}
	for field, value := range map[string]string{"purpose": "", "text": "short"} {
		form := asking(number, good(t))
		form.Set(field, value)
		if got := s.post("/ask", form); got.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(got.body, `href="#`+field+`"`) || len(s.asked) != 0 {
			t.Errorf("without a good %s: %d, %d asked", field, got.StatusCode, len(s.asked))
		}
	}
	for range 2 {
		if got := s.post("/ask", asking(number, good(t))); got.StatusCode != http.StatusSeeOther || got.Header.Get("Location") != "/requests/"+readyID {
			t.Fatalf("asking: %d %s\n%s", got.StatusCode, got.Header.Get("Location"), got.body)
		}
	}
	if len(s.asked) != 2 || s.ids[0] != number || s.ids[1] != number || s.asked[0].Organisation != "Z00001" || s.asked[0].Purpose != "TREAT" || s.asked[0].Project != "care" || s.asked[0].Items[0].Token != good(t) {
		t.Errorf("asked %+v as %v", s.asked, s.ids)
	}
	if got := s.post("/ask", asking("", good(t))); got.StatusCode != http.StatusBadRequest || len(s.asked) != 2 {
		t.Errorf("without a number: %d", got.StatusCode)
	}
	// What the key holder finds wrong is said at its field.
	s.err = &api.Error{Code: api.CodeMalformed, Detail: "/items/0/token: it is not a token of the project's domain", Errors: []api.ProblemError{{Pointer: "/items/0/token"}}}
	if got := s.post("/ask", asking(s.form("/ask"), good(t))); got.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(got.body, "not a token of the project") {
		t.Errorf("a token of another domain: %d\n%s", got.StatusCode, got.body)
	}
}

// TestRefusals: what the key holder refuses is said in its words, with who can allow it.
func TestRefusals(t *testing.T) {
	s := newSite(t)
	s.signIn()
	refusal := reidentify.Refuse(reidentify.RuleNotApprover)
	for _, c := range []struct {
		err    *api.Error
		status int
		says   string
	}{
		{&api.Error{Code: api.CodeReidentification, Detail: refusal.Why(), Who: refusal.Who()}, http.StatusForbidden, "Who can allow it: Information governance"},
		{api.Refuse(api.CodeApproverIsAsker, "", ""), http.StatusForbidden, "You cannot approve your own request"},
		{api.Refuse(api.CodeGone, "it was opened", ""), http.StatusGone, "This was shown already"},
		{api.Refuse(api.CodeSealed, "", ""), http.StatusServiceUnavailable, "The service is locked"},
		{api.Refuse(api.CodeRegion, "", ""), http.StatusServiceUnavailable, "The region does not answer"},
		{api.Refuse(api.CodeInternal, "", ""), http.StatusInternalServerError, "there is a problem with the service"},
	} {
		s.err = c.err
		if got := s.post("/requests/"+readyID+"/open", nil); got.StatusCode != c.status || !strings.Contains(got.body, c.says) {
			t.Errorf("%s: %d\n%s", c.err.Code, got.StatusCode, got.body)
		}
	}
	// Nobody is told that they may not, where it cannot be known.
	s.sealed = api.Refuse(api.CodeSealed, "", "")
	for _, path := range []string{"/", "/ask", "/emergency", "/operators"} {
		if got := s.get(path); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.body, "The service is locked") {
			t.Errorf("%s while it is sealed: %d", path, got.StatusCode)
		}
	}
	s.sealed, s.err = nil, nil
	for _, path := range []string{"/requests/" + strings.Repeat("f", 32), "/requests/..%2f", "/requests/x", "/nowhere", "/log/x"} {
		if got := s.get(path); got.StatusCode != http.StatusNotFound || !strings.Contains(got.body, "Page not found") {
			t.Errorf("%s: %d", path, got.StatusCode)
		}
	}
}

// TestSignInRefused: why somebody was not signed in is said, and the provider's words are
// not.
func TestSignInRefused(t *testing.T) {
	s := newSite(t)
	if got := s.get("/sign-in/callback?code=1&state=2"); got.StatusCode != http.StatusBadRequest {
		t.Errorf("without having begun: %d", got.StatusCode)
	}
	s.get("/sign-in/start")
	s.provider.err = fault.New(fault.Unavailable, "asking the provider", "it does not answer", "")
	if got := s.get("/sign-in/callback?code=1"); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.body, "does not answer") {
		t.Errorf("a provider that is away: %d", got.StatusCode)
	}
	s.provider.err = nil
	s.get("/sign-in/start")
	if got := s.get("/sign-in/callback?error=access_denied&error_description=%3Cb%3Eevil"); got.StatusCode != http.StatusForbidden || strings.Contains(got.body, "evil") {
		t.Errorf("a refusal: %d\n%s", got.StatusCode, got.body)
	}
}

// TestEmergency: the consequences are there before the form, and the form for a fresh and
// strong sign-in only.
func TestEmergency(t *testing.T) {
	s := newSite(t)
	s.signIn()
	got := s.get("/emergency")
	if !strings.Contains(got.body, "Another person reviews it within 3 days") || strings.Contains(got.body, `name="token"`) || !strings.Contains(got.body, "step=emergency") {
		t.Errorf("an ordinary sign-in sees %s", got.body)
	}
	s.get("/sign-in/start?next=%2Femergency&step=emergency")
	if last := s.provider.wants[len(s.provider.wants)-1]; !last.Fresh || len(last.ACR) != 1 || last.ACR[0] != "AAL3" || last.ReturnTo != "/emergency" {
		t.Errorf("the provider is asked for %+v", last)
	}
	s.provider.person.Assurance = "AAL3"
	s.get("/sign-in/callback?code=1")
	got = s.get("/emergency")
	number := formNumber.FindStringSubmatch(got.body)
	if number == nil || !strings.Contains(got.body, "9:05am") {
		t.Fatalf("a fresh sign-in sees %s", got.body)
	}
	form := url.Values{"form_id": {number[1]}, "token": {good(t)}, "purpose": {"ETREAT care"}, "text": {"Unconscious, no history known."}}
	if got := s.post("/emergency", form); got.StatusCode != http.StatusUnprocessableEntity || len(s.asked) != 0 {
		t.Errorf("without having read what happens: %d", got.StatusCode)
	}
	form.Set("understood", "yes")
	if got := s.post("/emergency", form); got.StatusCode != http.StatusSeeOther || len(s.asked) != 1 || !s.asked[0].BreakGlass || s.asked[0].Reason.Code != "emergency" {
		t.Errorf("breaking the glass: %d, %+v\n%s", got.StatusCode, s.asked, got.body)
	}
	if s.pass(6 * time.Minute); strings.Contains(s.get("/emergency").body, `name="token"`) {
		t.Error("six minutes later there is still a form")
	}
}

// TestDeciding: the hash that was shown is the hash that is decided on.
func TestDeciding(t *testing.T) {
	s := newSite(t)
	s.signIn()
	page := s.get("/approvals/" + pendingID).body
	if !strings.Contains(page, `name="hash" value="`+hash+`"`) || !strings.Contains(page, "6(1)(e)") {
		t.Errorf("an approver sees %s", page)
	}
	if got := s.post("/approvals/"+pendingID, url.Values{"hash": {hash}, "decision": {"approve"}, "comment": {"Seen."}}); got.StatusCode != http.StatusSeeOther || len(s.decided) != 1 || s.decided[0].RequestHash != hash || s.decided[0].Comment != "Seen." {
		t.Errorf("deciding: %d, %+v", got.StatusCode, s.decided)
	}
	// Of one's own there is no form.
	s.requests[pendingID].Requester.UserID = "u1"
	if page := s.get("/approvals/" + pendingID).body; strings.Contains(page, `name="decision"`) || !strings.Contains(page, "You have asked for this yourself") {
		t.Errorf("who asked sees %s", page)
	}
}

// TestRoles: a page that is of no use to somebody says so, and the menu has what is.
func TestRoles(t *testing.T) {
	s := newSite(t)
	s.signIn()
	s.may = reidentify.Abilities{}
	for _, path := range []string{"/ask", "/ask/list", "/worklists/send", "/emergency", "/who-asked", "/operators", "/operators/client"} {
		if got := s.get(path); got.StatusCode != http.StatusForbidden || !strings.Contains(got.body, "<h1") {
			t.Errorf("%s: %d", path, got.StatusCode)
		}
	}
	if got := s.get("/"); !strings.Contains(got.body, "There is nothing here that you can do in this role") || strings.Contains(got.body, "nhsuk-header__navigation-link") {
		t.Errorf("somebody who may nothing sees %s", got.body)
	}
}

// TestTables: what is saved for a spreadsheet is a file, and is not shown by the browser.
func TestTables(t *testing.T) {
	s := newSite(t)
	s.signIn()
	for path, media := range map[string]string{"/reports/table.csv?organisation=Z00001&month=2026-11": "text/csv; charset=utf-8", "/requests/" + readyID + "/receipt": "application/json", "/log/7/receipt": "application/json"} {
		got := s.get(path)
		if got.StatusCode != http.StatusOK || got.Header.Get("Content-Type") != media || !strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment;") {
			t.Errorf("%s: %d %v", path, got.StatusCode, got.Header)
		}
	}
	if got := s.get("/reports/table.csv?organisation=%22evil&month=2026-11"); got.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("of no organisation: %d", got.StatusCode)
	}
}
