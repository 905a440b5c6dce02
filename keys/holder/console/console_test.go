package console_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tarn/keys/api"
	"tarn/keys/holder/console"
	"tarn/keys/reidentify"
	"tarn/keys/reidentify/oversight"
	"tarn/keys/signin"
	"tarn/keys/signin/codeflow"
)

// service is what the pages ask, for tests of the pages alone: what is asked of it is kept,
// and it answers what it was told to. The rules themselves are tried with the real key
// holder, in a browser.
type service struct {
	mu       sync.Mutex
	may      reidentify.Abilities
	requests map[string]*api.Reidentification
	asked    []*api.ReidentificationRequest
	ids      []string
	decided  []*api.ApprovalGiven
	opened   *api.OpenedItems
	err      error
	sealed   error
}

func (s *service) answer(id string) (*api.Reidentification, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if r := s.requests[id]; r != nil {
		return r, nil
	}
	return nil, api.Refuse(api.CodeNotFound, "there is no request of this id that you have to do with", "")
}

func (s *service) Reidentify(_ context.Context, c console.Caller, r *api.ReidentificationRequest) (*api.Reidentification, error) {
	s.mu.Lock()
	s.asked, s.ids = append(s.asked, r), append(s.ids, c.RequestID)
	s.mu.Unlock()
	return s.answer(readyID)
}
func (s *service) Worklist(context.Context, console.Caller, *api.WorklistRequest) (*api.Reidentification, error) {
	return s.answer(readyID)
}
func (s *service) Cancel(_ context.Context, _ console.Caller, id string) (*api.Reidentification, error) {
	return s.answer(id)
}
func (s *service) Open(context.Context, console.Caller, string) (*api.OpenedItems, error) {
	return s.opened, s.err
}
func (s *service) May(context.Context, console.Caller) (*reidentify.Abilities, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	may := s.may
	return &may, s.sealed
}
func (s *service) List(context.Context, console.Caller, reidentify.View, reidentify.State, string) (*api.List[*api.Reidentification], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := &api.List[*api.Reidentification]{}
	for _, r := range s.requests {
		page.Items = append(page.Items, r)
	}
	return page, nil
}
func (s *service) Get(_ context.Context, _ console.Caller, id string) (*api.Reidentification, error) {
	return s.answer(id)
}
func (s *service) Receipt(context.Context, console.Caller, string) ([]byte, error) {
	return []byte(`{"schema":"tarn.receipt/1"}`), nil
}
func (s *service) Decide(_ context.Context, _ console.Caller, id string, given *api.ApprovalGiven) (*api.Reidentification, error) {
	s.mu.Lock()
	s.decided = append(s.decided, given)
	s.mu.Unlock()
	return s.answer(id)
}
func (s *service) Review(_ context.Context, _ console.Caller, id string, _ *api.ReviewGiven) (*api.Reidentification, error) {
	return s.answer(id)
}
func (s *service) WhoAsked(context.Context, console.Caller, *api.WhoAskedRequest) (*api.WhoAsked, error) {
	return &api.WhoAsked{Items: []api.Event{{Index: 7, Leaf: []byte(entry)}}, Searched: 9}, s.err
}
func (s *service) Events(context.Context, console.Caller, *api.EventFilter) (*api.EventsFound, error) {
	return &api.EventsFound{Items: []api.Event{{Index: 7, Leaf: []byte(entry)}}, Found: 1, Searched: 9}, s.err
}
func (s *service) EventReceipt(context.Context, console.Caller, uint64) ([]byte, error) {
	return []byte(`{"schema":"tarn.receipt/1","leaf":` + entry + `}`), s.err
}
func (s *service) Standings(context.Context, console.Caller) (own, organisation []oversight.Standing, err error) {
	one := oversight.Standing{Rule: reidentify.LimitRequestsDay, Text: "more requests than usual", Action: "warn", Unit: oversight.UnitRequests, Most: 100, Now: 12, Days: []int{0, 3, 120, 12}}
	return []oversight.Standing{one}, []oversight.Standing{{Rule: reidentify.LimitOrganisationShare, Action: "warn", Unit: oversight.UnitPercent, Most: 6, Now: 0.25, Days: []int{1}}}, nil
}
func (s *service) Overview(context.Context, console.Caller) (*oversight.Overview, error) {
	own, of, _ := s.Standings(context.Background(), console.Caller{})
	return &oversight.Overview{People: []oversight.PersonStandings{{Person: oversight.Person{Subject: "910", Organisation: "Z00001", Role: "R1"}, Near: 12, Standings: own}}, PeopleTotal: 1,
		Organisations: []oversight.OrganisationStandings{{Organisation: "Z00001", Near: 4.2, Standings: of}}, Fired: []oversight.LimitFired{{Rule: "night", Text: "asked at night", Fired: 2, Warned: 2}}}, nil
}
func (s *service) Report(_ context.Context, _ console.Caller, organisation string, month oversight.CalendarMonth) (*oversight.Report, error) {
	return &oversight.Report{Organisation: organisation, Month: month, MonthBefore: month.Add(-1), Figures: oversight.Figures{Requests: 3}}, nil
}
func (s *service) Organisations(context.Context, console.Caller) ([]string, error) {
	return []string{"Z00001", "Z00002"}, nil
}
func (s *service) Register(context.Context) (*api.Register, error) {
	return &api.Register{Projects: []api.RegisterProject{{Name: "care", Purpose: "direct care", Article6: "6(1)(e)", Controllers: []string{"QZZ"}, Reidentify: "direct", Purposes: []string{"TREAT"}, Ends: now.AddDate(1, 0, 0)}}}, s.err
}
func (s *service) Counts(context.Context) ([]oversight.ProjectCount, error) {
	return []oversight.ProjectCount{{Project: "care", Purpose: "TREAT", Months: []oversight.MonthCount{{Month: oversight.MonthOf(now), Openings: oversight.Rounded{About: 20}}}, Total: oversight.Rounded{FewerThan: 10}}}, nil
}
func (s *service) See(context.Context, console.Caller) (*api.OperatorsSee, error) {
	return &api.OperatorsSee{
		Operations: []api.Operation{{ID: readyID, Kind: api.OpClientAdd, Body: []byte(`{"name":"north","role":"tokeniser"}`), Requester: "person/2", Person: api.OperatorPerson{Issuer: "https://idp.example", Subject: "2"}, Created: now, Expires: now.Add(time.Hour), Hash: hash, State: api.OpPending, Needed: 1}},
		Projects:   []api.Project{{Name: "care", Created: now}},
		Clients:    []api.Client{{Name: "north", Role: api.RoleTokeniser, Organisation: "Z00001", State: "enrolled", Created: now}, {Name: "ann", Role: api.RoleOperator, Organisation: "X26", State: "enrolled", Created: now}},
	}, nil
}
func (s *service) AskChange(context.Context, console.Caller, *api.OperationRequest) (*api.Operation, error) {
	return &api.Operation{ID: readyID}, s.err
}
func (s *service) DecideChange(context.Context, console.Caller, string, *api.ApprovalRequest) (*api.Operation, error) {
	return &api.Operation{ID: readyID}, s.err
}
func (s *service) CollectChange(context.Context, console.Caller, string) (*api.Collected, error) {
	return &api.Collected{Code: "tarn-enrol-code", CodeEnd: now}, s.err
}

// provider signs everybody in as one person.
type provider struct {
	person reidentify.Person
	wants  []codeflow.Want
	err    error
}

func (p *provider) Begin(w codeflow.Want) (string, string, error) {
	p.wants = append(p.wants, w)
	return "https://idp.example/authorize?x=1", "sealed " + w.ReturnTo, nil
}
func (p *provider) Finish(_ context.Context, cookie string, query url.Values) (*codeflow.Result, error) {
	back, is := strings.CutPrefix(cookie, "sealed ")
	if p.err != nil || !is || query.Get("code") == "" {
		return nil, errors.Join(p.err, errors.New("no"))
	}
	return &codeflow.Result{Person: p.person, Shown: signin.Shown{Name: "Dr Ada Example"}, ReturnTo: back}, nil
}
func (p *provider) Leave(back string) string {
	return "https://idp.example/end?back=" + url.QueryEscape(back)
}

type meter struct{}

func (meter) Request(string, int, time.Duration) {}

const (
	readyID   = "0123456789abcdef0123456789abcdef"
	pendingID = "1123456789abcdef0123456789abcdef"
	glassID   = "2123456789abcdef0123456789abcdef"
	refusedID = "3123456789abcdef0123456789abcdef"
	listID    = "4123456789abcdef0123456789abcdef"
	hash      = "93ab5f1c0d2e4b6a8c7d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
	entry     = `{"actor":{"iss":"https://idp.example","org":"Z00001","role":"R1","sub":"1"},"decision":"allow","kind":"reid-decision","project":"care","purpose":"TREAT","request":"` + hash + `","rule":"relationship","time":"2026-11-27T09:00:00.000Z","v":1}`
)

var now = time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)

// site is the console, and a browser.
type site struct {
	*service
	t        *testing.T
	provider *provider
	server   *httptest.Server
	browser  *http.Client
	mu       sync.Mutex
	time     time.Time
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, time: now, provider: &provider{person: reidentify.Person{Issuer: "https://idp.example", Subject: "1", UserID: "u1", Organisation: "Z00001", Role: "R1", SignedIn: now, Session: strings.Repeat("a", 64)}}}
	s.service = &service{requests: map[string]*api.Reidentification{}}
	of := func(id string, state reidentify.State, rule reidentify.Rule) *api.Reidentification {
		r := &api.Reidentification{ID: id, State: string(state), Decision: api.ReidentificationDecision{Outcome: string(state), Rule: string(rule), Why: rule.Why()}, RequestHash: hash, Created: now, Expires: now.Add(72 * time.Hour),
			Requester: api.PersonShown{Issuer: "https://idp.example", Subject: "1", UserID: "u1", Organisation: "Z00001", Role: "R1"}, Project: "care", Purpose: "TREAT", Organisation: "Z00001",
			Reason: &api.Reason{Code: "care", Text: "Called back about a blood result."}, Rows: []int{1}}
		s.requests[id] = r
		return r
	}
	of(readyID, reidentify.Ready, reidentify.RuleRelationship)
	of(pendingID, reidentify.Pending, reidentify.RuleNoRelationship).Approvals.Needed = 1
	of(refusedID, reidentify.Refused, reidentify.RuleRolePurpose)
	glass := of(glassID, reidentify.Opened, reidentify.RuleBreakGlass)
	glass.BreakGlass, glass.ReviewDue, glass.Requester.Subject, glass.Requester.UserID = true, now.Add(time.Hour), "9", "u9"
	of(listID, reidentify.Ready, reidentify.RuleRouted).Route = string(reidentify.ToPractice)
	for _, r := range []*api.Reidentification{s.requests[pendingID], s.requests[listID]} {
		r.Requester.Subject, r.Requester.UserID = "8", "u8"
	}
	asks := reidentify.AsksOf{Project: "care", Purposes: []reidentify.AsksFor{{Purpose: "TREAT", When: reidentify.WhenRelationship, MaxItems: 100}}, Routes: []reidentify.AsksFor{{Purpose: "CAREMGT", When: reidentify.WhenRouted, MaxItems: 100}}, Glass: true,
		Needs: reidentify.BreakGlassNeeds{Assurances: []string{"AAL3"}, Within: "5m0s", Review: "72h0m0s"}}
	s.may = reidentify.Abilities{Asks: []reidentify.AsksOf{asks}, Approves: []string{"care"}, Reviews: []string{"care"}, Receives: []string{"care"}, Guardian: true, Operator: true}
	s.opened = &api.OpenedItems{Items: []api.OpenedItem{{Row: 1, State: api.ItemOpened, Identity: &api.Identity{NHSNumber: "9990000018"}}}}
	c := console.New(console.Options{SignIn: s.provider, Asker: s.service, Reader: s.service, Decider: s.service, Auditor: s.service, Overseer: s.service, Operators: s.service, Registrar: s.service,
		Organisation: "Example Key Holder", PublicURL: "https://reid.example", Clock: s.clock, Rand: rand.Reader, Logger: slog.New(slog.DiscardHandler), Meter: meter{}})
	s.server = httptest.NewTLSServer(c)
	t.Cleanup(s.server.Close)
	s.browser = s.newBrowser()
	return s
}

func (s *site) newBrowser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &http.Client{Jar: jar, Transport: s.server.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (s *site) clock() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.time }

func (s *site) pass(d time.Duration) { s.mu.Lock(); defer s.mu.Unlock(); s.time = s.time.Add(d) }

// answer is what came to a browser.
type answer struct {
	*http.Response
	body string
}

func (s *site) do(r *http.Request) answer {
	s.t.Helper()
	got, err := s.browser.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{got, string(body)}
}

func (s *site) get(path string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.server.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.do(r)
}

func (s *site) post(path string, form url.Values, header ...string) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.server.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.do(r)
}

// signIn goes through the sign-in.
func (s *site) signIn() answer {
	s.t.Helper()
	if got := s.get("/sign-in/start?next=%2Fask"); got.StatusCode != http.StatusSeeOther || !strings.HasPrefix(got.Header.Get("Location"), "https://idp.example/") {
		s.t.Fatalf("signing in begins with %d %s", got.StatusCode, got.Header.Get("Location"))
	}
	return s.get("/sign-in/callback?code=1&state=2")
}

var formNumber = regexp.MustCompile(`name="form_id" value="([^"]+)"`)

func (s *site) form(path string) string {
	s.t.Helper()
	found := formNumber.FindStringSubmatch(s.get(path).body)
	if found == nil {
		s.t.Fatalf("%s has no form", path)
	}
	return found[1]
}

// everyPage is every page that is shown to somebody who may everything.
var everyPage = []string{"/", "/ask", "/ask/list", "/requests", "/requests/" + readyID, "/requests/" + pendingID, "/requests/" + refusedID, "/requests/" + glassID, "/requests/" + listID, "/worklists", "/worklists/send",
	"/emergency", "/approvals", "/approvals/" + pendingID, "/reviews", "/reviews/" + glassID, "/who-asked", "/log", "/log/7", "/limits", "/reports", "/operators", "/operators/project", "/operators/client",
	"/operators/clients/north", "/operators/clients/ann", "/operators/changes/" + readyID, "/register", "/accessibility", "/privacy", "/help", "/signed-out"}

// TestEveryPage: every page is made whole, with the headers that all have, and loads nothing
// from elsewhere.
func TestEveryPage(t *testing.T) {
	s := newSite(t)
	s.signIn()
	elsewhere := regexp.MustCompile(`(?:src|href|action)="(?:https?:)?//`)
	for _, path := range everyPage {
		got := s.get(path)
		if got.StatusCode != http.StatusOK || !strings.Contains(got.body, "</html>") || strings.Contains(got.body, "ZgotmplZ") || strings.Contains(got.body, "&lt;no value") {
			t.Errorf("%s: %d\n%s", path, got.StatusCode, got.body)
		}
		if strings.Count(got.body, "<h1") != 1 {
			t.Errorf("%s has %d headings of the first level", path, strings.Count(got.body, "<h1"))
		}
		if found := elsewhere.FindString(strings.ReplaceAll(got.body, "https://idp.example/end", "")); found != "" && path != "/signed-out" {
			t.Errorf("%s: %s", path, found)
		}
		if strings.Contains(got.body, " style=") || strings.Contains(got.body, " onclick=") {
			t.Errorf("%s has a style or a script that the policy refuses", path)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"} {
			if got.Header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, got.Header.Get(name))
			}
		}
		if policy := got.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
	}
}

// TestAssets: every file that a page loads is there, and may be kept.
func TestAssets(t *testing.T) {
	s := newSite(t)
	found := regexp.MustCompile(`"(/assets/[^"]+)"`).FindAllStringSubmatch(s.get("/register").body, -1)
	if len(found) < 3 {
		t.Fatalf("a page loads %v", found)
	}
	for _, one := range found {
		got := s.get(one[1])
		if got.StatusCode != http.StatusOK || !strings.Contains(got.Header.Get("Cache-Control"), "immutable") || len(got.body) == 0 || got.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %d, %v", one[1], got.StatusCode, got.Header)
		}
	}
	if got := s.get("/assets/none.css"); got.StatusCode != http.StatusNotFound {
		t.Errorf("an asset that is not there: %d", got.StatusCode)
	}
}
