package codeflow_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tarn/bench/idp"
	"tarn/keys/fault"
	"tarn/keys/signin"
	"tarn/keys/signin/codeflow"
	"tarn/keys/trialcert"
)

const callback = "https://reid.example/sign-in/callback" // nobody is there: the browser does not go

// site is a real provider, and a client of it.
type site struct {
	t        *testing.T
	provider *idp.Provider
	roots    *x509.CertPool
	options  codeflow.Options
	late     time.Duration
}

func newSite(t *testing.T, change func(*idp.Options)) *site {
	t.Helper()
	folder := t.TempDir()
	if err := trialcert.Make(folder, []string{"127.0.0.1"}, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, trialcert.ServerCert), filepath.Join(folder, trialcert.ServerKey))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(filepath.Join(folder, trialcert.AuthorityFile))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, roots: x509.NewCertPool()}
	s.roots.AppendCertsFromPEM(authority)
	o := idp.Options{Certificate: certificate, Roots: s.roots, RedirectURIs: []string{callback}, RolesApart: true, ClientSecret: "a secret of tests"}
	change(&o)
	ctx, stop := context.WithCancel(t.Context())
	if s.provider, err = idp.Serve(ctx, o); err != nil {
		stop()
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); _ = s.provider.Wait() })
	source, err := signin.KeysAtURL(signin.URLOptions{URL: s.provider.JWKSURL, Roots: s.roots, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := signin.New(signin.Options{Issuer: s.provider.URL, Audience: s.provider.ClientID, Algorithms: []string{"RS256"}, Keys: source, Claims: signin.Claims{Preset: signin.PresetCIS2}, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	s.options = codeflow.Options{
		AuthorizeURL: s.provider.URL + "/authorize", TokenURL: s.provider.URL + "/oauth/token", UserInfoURL: s.provider.URL + "/userinfo", EndSessionURL: s.provider.URL + "/end_session",
		ClientID: s.provider.ClientID, RedirectURI: callback, Scopes: []string{"openid", "profile", "nationalrbacaccess"}, Roots: s.roots, Verifier: verifier,
		Clock: func() time.Time { return time.Now().Add(s.late) }, Rand: rand.Reader,
	}
	if o.ClientSecret != "" {
		s.options.Secret = func() string { return o.ClientSecret }
	}
	return s
}

func (s *site) flow(change func(*codeflow.Options)) *codeflow.Flow {
	s.t.Helper()
	o := s.options
	change(&o)
	f, err := codeflow.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

func asItIs(*codeflow.Options) {}

// browser is one in which nobody has signed in.
func (s *site) browser() *http.Client {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true}, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// signsIn has somebody answer the provider's page, and returns what the browser brings back.
func (s *site) signsIn(b *http.Client, redirect, user, acr string) url.Values {
	s.t.Helper()
	answer, err := b.Get(redirect)
	if err != nil {
		s.t.Fatal(err)
	}
	if request := answer.Request.URL.Query().Get("request"); request != "" {
		role := ""
		for _, u := range idp.Users() {
			if u.ID == user && len(u.Roles) > 0 {
				role = u.Roles[0].ID
			}
		}
		_ = answer.Body.Close()
		if answer, err = b.PostForm(s.provider.URL+"/login", url.Values{"request": {request}, "user": {user + "/" + role}, "acr": {acr}}); err != nil {
			s.t.Fatal(err)
		}
	}
	defer func() { _ = answer.Body.Close() }()
	to, err := answer.Location()
	if err != nil {
		said, _ := io.ReadAll(answer.Body)
		s.t.Fatalf("the browser is not sent back: %d %s", answer.StatusCode, said)
	}
	return to.Query()
}

// comes goes through a sign-in.
func (s *site) comes(f *codeflow.Flow, w codeflow.Want, user, acr string) (*codeflow.Result, error) {
	s.t.Helper()
	redirect, cookie, err := f.Begin(w)
	if err != nil {
		s.t.Fatal(err)
	}
	return f.Finish(s.t.Context(), cookie, s.signsIn(s.browser(), redirect, user, acr))
}

// refused fails unless a sign-in is refused, in words that repeat nothing of it.
func refused(t *testing.T, what string, r *codeflow.Result, err error, unavailable bool) {
	t.Helper()
	if err == nil || r != nil || (fault.KindOf(err) == fault.Unavailable) != unavailable {
		t.Errorf("%s: %+v, %v", what, r, err)
		return
	}
	var known *signin.Error
	if !unavailable && !errors.As(err, &known) {
		t.Errorf("%s: %T", what, err)
	}
	for _, said := range []string{"evil", "secret", "91000", "55500", "127.0.0.1"} {
		if strings.Contains(err.Error(), said) {
			t.Errorf("%s: the error repeats something: %v", what, err)
		}
	}
}

// TestSignIn: whom the provider vouches for comes in, with what only userinfo says, as they
// have proved who they are; and back to their page.
func TestSignIn(t *testing.T) {
	for name, change := range map[string]func(*idp.Options){
		"as CIS2": func(*idp.Options) {}, "a public client": func(o *idp.Options) { o.ClientSecret = "" }, "all in the token": func(o *idp.Options) { o.RolesApart = false },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, change)
			f := s.flow(func(o *codeflow.Options) {
				if name == "all in the token" {
					o.UserInfoURL = ""
				}
			})
			r, err := s.comes(f, codeflow.Want{ReturnTo: "/requests?state=ready"}, idp.GPOfA, idp.AAL2)
			if err != nil {
				t.Fatal(err)
			}
			if p := r.Person; p.Subject != "910000000001" || p.UserID != "555000000001" || p.Organisation != idp.PracticeA || p.Role != idp.RoleGP || p.Assurance != idp.AAL2 || p.Issuer != s.provider.URL || p.Session == "" {
				t.Errorf("%+v", p)
			}
			if r.Shown != (signin.Shown{Name: "Dr Ada Example", Role: "General practitioner"}) || r.ReturnTo != "/requests?state=ready" {
				t.Errorf("%+v comes back to %q", r.Shown, r.ReturnTo)
			}
		})
	}
}

// TestStepUp: a stronger sign-in is a new one, though the provider knows the browser.
func TestStepUp(t *testing.T) {
	s := newSite(t, func(*idp.Options) {})
	f, b := s.flow(asItIs), s.browser()
	first := func(w codeflow.Want) *codeflow.Result {
		redirect, cookie, err := f.Begin(w)
		if err != nil {
			t.Fatal(err)
		}
		acr := idp.AAL2
		if len(w.ACR) > 0 {
			acr = w.ACR[0]
		}
		r, err := f.Finish(t.Context(), cookie, s.signsIn(b, redirect, idp.Emergency, acr))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	before := first(codeflow.Want{})
	time.Sleep(time.Until(before.Person.SignedIn.Add(1100 * time.Millisecond))) // auth_time has seconds
	after := first(codeflow.Want{ACR: []string{idp.AAL3}, Fresh: true})
	if after.Person.Assurance != idp.AAL3 || !after.Person.SignedIn.After(before.Person.SignedIn) {
		t.Errorf("before %+v, after %+v", before.Person, after.Person)
	}
}

// TestFreshIsNew: whoever keeps the provider from asking anew has not signed in anew.
func TestFreshIsNew(t *testing.T) {
	s := newSite(t, func(*idp.Options) {})
	f, b := s.flow(asItIs), s.browser()
	come := func(fresh bool) error {
		redirect, cookie, err := f.Begin(codeflow.Want{Fresh: fresh})
		if err != nil {
			t.Fatal(err)
		}
		address, err := url.Parse(redirect)
		if err != nil {
			t.Fatal(err)
		}
		query := address.Query()
		query.Del("prompt")
		query.Del("max_age")
		address.RawQuery = query.Encode()
		_, err = f.Finish(t.Context(), cookie, s.signsIn(b, address.String(), idp.Emergency, idp.AAL3))
		return err
	}
	if err := come(false); err != nil {
		t.Fatalf("control: %v", err)
	}
	s.late = time.Minute // the provider still knows the browser
	var why *signin.Error
	if err := come(true); !errors.As(err, &why) || why.Reason != signin.TooOld {
		t.Errorf("a sign-in of a minute ago is new: %v", err)
	}
	if err := come(false); err != nil {
		t.Errorf("control: %v", err)
	}
}

// TestReplies: what does not answer the sign-in that this browser began is refused.
func TestReplies(t *testing.T) {
	s := newSite(t, func(*idp.Options) {})
	f := s.flow(asItIs)
	redirect, cookie, err := f.Begin(codeflow.Want{})
	if err != nil {
		t.Fatal(err)
	}
	_, others, err := f.Begin(codeflow.Want{})
	if err != nil {
		t.Fatal(err)
	}
	query := s.signsIn(s.browser(), redirect, idp.GPOfA, idp.AAL2)
	with := func(name, value string) url.Values {
		changed := url.Values{}
		for k, v := range query {
			changed[k] = v
		}
		changed.Set(name, value)
		return changed
	}
	twice := with("code", "evil")
	twice["code"] = []string{query.Get("code"), "evil"}
	for what, c := range map[string]struct {
		cookie string
		query  url.Values
	}{
		"another browser's cookie":  {others, query},
		"no cookie":                 {"", query},
		"a cookie of nobody's":      {"evil", query},
		"a cookie that was changed": {cookie[:len(cookie)-2] + "AA", query},
		"another state":             {cookie, with("state", "evil")},
		"no state":                  {cookie, url.Values{"code": query["code"]}},
		"another provider":          {cookie, with("iss", "https://evil.example")},
		"an error":                  {cookie, url.Values{"state": query["state"], "error": {"access_denied"}, "error_description": {"evil"}}},
		"another error":             {cookie, url.Values{"state": query["state"], "error": {"evil"}}},
		"two codes":                 {cookie, twice},
		"no code":                   {cookie, url.Values{"state": query["state"]}},
		"a code of nobody's":        {cookie, with("code", "evil")},
	} {
		r, err := f.Finish(t.Context(), c.cookie, c.query)
		refused(t, what, r, err, false)
	}
	restarted := s.flow(asItIs) // another process has another key
	r, err := restarted.Finish(t.Context(), cookie, query)
	refused(t, "after a restart", r, err, false)
	s.late = 11 * time.Minute
	r, err = f.Finish(t.Context(), cookie, query)
	refused(t, "too late", r, err, false)
	s.late = 0
	if _, err := f.Finish(t.Context(), cookie, query); err != nil {
		t.Fatalf("control: %v", err)
	}
	r, err = f.Finish(t.Context(), cookie, query)
	refused(t, "a second time", r, err, false)
}

// TestNonce: a code that was got for another sign-in, though its own cookie's verifier is
// right for it, gives a token with another nonce.
func TestNonce(t *testing.T) {
	s := newSite(t, func(o *idp.Options) { o.ClientSecret = "" })
	f := s.flow(asItIs)
	redirect, cookie, err := f.Begin(codeflow.Want{})
	if err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(redirect)
	if err != nil {
		t.Fatal(err)
	}
	query := address.Query()
	query.Set("nonce", "another")
	address.RawQuery = query.Encode()
	r, err := f.Finish(t.Context(), cookie, s.signsIn(s.browser(), address.String(), idp.GPOfA, idp.AAL2))
	refused(t, "a token with another nonce", r, err, false)
}

// TestRefusedPeople: without a role there is nobody to be.
func TestRefusedPeople(t *testing.T) {
	s := newSite(t, func(*idp.Options) {})
	r, err := s.comes(s.flow(asItIs), codeflow.Want{}, idp.WithoutRole, idp.AAL2)
	refused(t, "without a role", r, err, false)
	r, err = s.comes(s.flow(func(o *codeflow.Options) { o.UserInfoURL = "" }), codeflow.Want{}, idp.GPOfA, idp.AAL2)
	refused(t, "without userinfo", r, err, false)
	r, err = s.comes(s.flow(func(o *codeflow.Options) { o.Secret = func() string { return "another" } }), codeflow.Want{}, idp.GPOfA, idp.AAL2)
	refused(t, "with another secret", r, err, false)
}

// TestProviderAway: that the provider is away is no fault of who signs in, and one that says
// something else is not believed.
func TestProviderAway(t *testing.T) {
	s := newSite(t, func(*idp.Options) {})
	for what, c := range map[string]struct {
		answer      http.HandlerFunc
		unavailable bool
	}{
		"away":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, true},
		"a page": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>evil") }, false},
		"huge": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, strings.Repeat(" ", 100<<10))
		}, true},
		"a jwt": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/jwt")
			_, _ = io.WriteString(w, "a.b.c")
		}, false},
		"moved": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, s.provider.URL+"/userinfo", http.StatusTemporaryRedirect)
		}, false},
		"refuses": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, false},
		"another": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, `{"sub":"910000000099","nhsid_useruid":"555"}`)
		}, false},
		"no json": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprint(w, `evil`)
		}, false},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, true},
	} {
		server := httptest.NewTLSServer(c.answer)
		roots := s.roots.Clone()
		roots.AddCert(server.Certificate())
		f := s.flow(func(o *codeflow.Options) { o.UserInfoURL, o.Roots = server.URL+"/userinfo", roots })
		r, err := s.comes(f, codeflow.Want{}, idp.GPOfA, idp.AAL2)
		refused(t, "userinfo: "+what, r, err, c.unavailable)
		server.Close()
		r, err = s.comes(f, codeflow.Want{}, idp.GPOfA, idp.AAL2)
		refused(t, "userinfo that does not answer", r, err, true)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	defer server.Close()
	roots := s.roots.Clone()
	roots.AddCert(server.Certificate())
	r, err := s.comes(s.flow(func(o *codeflow.Options) { o.TokenURL, o.Roots = server.URL, roots }), codeflow.Want{}, idp.GPOfA, idp.AAL2)
	refused(t, "no token", r, err, true)
	r, err = s.comes(s.flow(func(o *codeflow.Options) { o.TokenURL = server.URL }), codeflow.Want{}, idp.GPOfA, idp.AAL2)
	refused(t, "a certificate of somebody else", r, err, true)
}

// TestOptions: what is missing is said by its name, before anybody comes.
func TestOptions(t *testing.T) {
	s := newSite(t, func(*idp.Options) {})
	for name, change := range map[string]func(*codeflow.Options){
		"authorize_url":   func(o *codeflow.Options) { o.AuthorizeURL = "" },
		"token_url":       func(o *codeflow.Options) { o.TokenURL = "http://plain.example" },
		"userinfo_url":    func(o *codeflow.Options) { o.UserInfoURL = "https://" },
		"end_session_url": func(o *codeflow.Options) { o.EndSessionURL = "https://user@host/" },
		"client_id":       func(o *codeflow.Options) { o.ClientID = "" },
	} {
		o := s.options
		change(&o)
		if _, err := codeflow.New(o); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.flow(asItIs).Leave("https://reid.example/signed-out"); !strings.HasPrefix(got, s.provider.URL+"/end_session?") || !strings.Contains(got, "client_id=") {
		t.Errorf("signing out goes to %q", got)
	}
}

// TestCookie: what a browser keeps says nothing to whoever reads it, and never the same.
func TestCookie(t *testing.T) {
	s := newSite(t, func(*idp.Options) {})
	f := s.flow(asItIs)
	redirect, one, err := f.Begin(codeflow.Want{ReturnTo: "/log"})
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := f.Begin(codeflow.Want{ReturnTo: "/log"})
	if err != nil || one == other || len(one) > 1000 || strings.ContainsAny(one, ";, \"\\") {
		t.Errorf("%q, %q, %v", one, other, err)
	}
	address, err := url.Parse(redirect)
	if err != nil {
		t.Fatal(err)
	}
	if q := address.Query(); q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" || q.Get("state") == "" || q.Get("nonce") == q.Get("state") || q.Get("response_type") != "code" || strings.Contains(one, q.Get("state")) {
		t.Errorf("the provider is asked %v", q)
	}
}

// FuzzLocal: wherever a browser is sent back to is a path of this origin.
func FuzzLocal(f *testing.F) {
	for _, page := range []string{"/", "/ask", "/log?kind=alarm", "//evil.example", `/\evil.example`, "https://evil.example", "/%2f/evil.example", "/sign-in", "javascript:alert(1)", "/\t/evil", "/a b", "/ask#x", "///", "/@evil.example"} {
		f.Add(page)
	}
	base, err := url.Parse("https://reid.example/sign-in/callback")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, page string) {
		got := codeflow.Local(page)
		to, err := base.Parse(got)
		if err != nil || to.Host != "reid.example" || to.Scheme != "https" || !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\t\r\n ") || strings.HasPrefix(to.Path, "/sign-") {
			t.Errorf("%q: back to %q, %v", page, got, err)
		}
		if codeflow.Local(got) != got {
			t.Errorf("%q: not twice the same", page)
		}
	})
}

// TestManyAtOnce: whoever comes back with a code of their own making has the provider asked
// only so often at once.
func TestManyAtOnce(t *testing.T) {
	s := newSite(t, func(*idp.Options) {})
	var asked atomic.Int32
	goOn := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		<-goOn
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer server.Close()
	roots := s.roots.Clone()
	roots.AddCert(server.Certificate())
	f := s.flow(func(o *codeflow.Options) { o.TokenURL, o.Roots = server.URL, roots })
	come := func() error {
		redirect, cookie, err := f.Begin(codeflow.Want{})
		if err != nil {
			return err
		}
		address, err := url.Parse(redirect)
		if err != nil {
			return err
		}
		_, err = f.Finish(t.Context(), cookie, url.Values{"state": address.Query()["state"], "code": {"made up"}})
		return err
	}
	var work sync.WaitGroup
	for range 64 {
		work.Go(func() { _ = come() })
	}
	for asked.Load() < 64 {
		runtime.Gosched()
	}
	if err := come(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("one more: %v", err)
	}
	close(goOn)
	work.Wait()
	if err := come(); fault.KindOf(err) == fault.Unavailable {
		t.Errorf("control: %v", err)
	}
}
