package idp_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tarn/bench/idp"
	"tarn/keys/fault"
	"tarn/keys/reidentify"
	"tarn/keys/signin"
	"tarn/keys/trialcert"
)

const callback = "https://127.0.0.1:1/callback" // nobody is there: the browser does not go

// options are those of a provider with a certificate of a trial.
func options(t *testing.T) idp.Options {
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
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return idp.Options{Certificate: certificate, Roots: roots, RedirectURIs: []string{callback}}
}

func serve(t *testing.T, o idp.Options) *idp.Provider {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	p, err := idp.Serve(ctx, o)
	if err != nil {
		stop()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// verifier takes what a provider signs, with keys that it fetches over TLS.
func verifier(t *testing.T, p *idp.Provider, roots *x509.CertPool, change func(*signin.Options)) *signin.Verifier {
	t.Helper()
	source, err := signin.KeysAtURL(signin.URLOptions{URL: p.JWKSURL, Roots: roots, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	o := signin.Options{
		Issuer: p.URL, Audience: p.ClientID, Algorithms: []string{"RS256", "ES256"}, Keys: source,
		Claims: signin.Claims{Preset: signin.PresetCIS2}, Clock: time.Now,
	}
	change(&o)
	v, err := signin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func same(*signin.Options) {}

func person(t *testing.T, v *signin.Verifier, token string) reidentify.Person {
	t.Helper()
	p, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestEverybodySignsIn: each user goes through the code flow, and what comes out is who they
// are in the role that is selected; of ID token and access token alike.
func TestEverybodySignsIn(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES256"} {
		o := options(t)
		o.Algorithm = algorithm
		if algorithm == "ES256" {
			o.ClientSecret = "a secret / of the client"
		}
		p := serve(t, o)
		v := verifier(t, p, o.Roots, func(o *signin.Options) { o.Algorithms = []string{algorithm} })
		for _, u := range idp.Users() {
			b, err := p.Browser()
			if err != nil {
				t.Fatal(err)
			}
			tokens, err := b.SignIn(t.Context(), idp.Request{User: u.ID, ACR: idp.AAL3})
			if err != nil {
				t.Fatalf("%s: %v", u.ID, err)
			}
			if len(u.Roles) == 0 {
				_, err := v.Verify(t.Context(), tokens.ID)
				var refused *signin.Error
				if !errors.As(err, &refused) || refused.Reason != signin.BadClaims {
					t.Errorf("who has no role is %v", err)
				}
				continue
			}
			got := person(t, v, tokens.ID)
			want := reidentify.Person{
				Issuer: p.URL, Subject: u.Subject, UserID: u.UserID, Organisation: u.Roles[0].Organisation, Role: u.Roles[0].Code,
				Activities: u.Roles[0].Activities, Assurance: idp.AAL3, SignedIn: got.SignedIn, Session: got.Session,
			}
			if !reflect.DeepEqual(got, want) || time.Since(got.SignedIn) > time.Minute || len(got.Session) != 64 {
				t.Errorf("%s is %+v, not %+v", u.ID, got, want)
			}
			if other := person(t, v, tokens.Access); !reflect.DeepEqual(other, got) {
				t.Errorf("by the access token %s is %+v, not %+v", u.ID, other, got)
			}
		}
	}
}

// TestRolesApart: where tokens are without roles, as those of CIS2, the userinfo endpoint has
// them, for the same person.
func TestRolesApart(t *testing.T) {
	o := options(t)
	o.RolesApart = true
	p := serve(t, o)
	v := verifier(t, p, o.Roots, same)
	sign := func(user string) (tokens idp.Tokens, info []byte) {
		t.Helper()
		b, err := p.Browser()
		if err != nil {
			t.Fatal(err)
		}
		if tokens, err = b.SignIn(t.Context(), idp.Request{User: user}); err != nil {
			t.Fatal(err)
		}
		if info, err = b.UserInfo(t.Context(), tokens.Access); err != nil {
			t.Fatal(err)
		}
		return tokens, info
	}
	tokens, info := sign(idp.Emergency)
	if _, err := v.Verify(t.Context(), tokens.ID); err == nil {
		t.Error("the token has roles")
	}
	got, err := v.VerifyWith(t.Context(), tokens.ID, info)
	if err != nil || got.Organisation != idp.Trust || got.UserID != "555000000008" || !got.Does([]string{idp.ActivityBreakGlass}) {
		t.Errorf("%+v, %v", got, err)
	}
	_, others := sign(idp.GPOfA)
	if got, err := v.VerifyWith(t.Context(), tokens.ID, others); err == nil {
		t.Errorf("with what is said of somebody else it is %+v", got)
	}
}

// TestVouching: where tokens are without roles, one that is vouched for has them, is of the
// same person, and is taken as any other; of somebody who is not there is none.
func TestVouching(t *testing.T) {
	o := options(t)
	o.RolesApart = true
	p := serve(t, o)
	v := verifier(t, p, o.Roots, same)
	token, err := p.Vouch(idp.Emergency, idp.AAL3)
	if err != nil {
		t.Fatal(err)
	}
	got := person(t, v, token)
	want := reidentify.Person{
		Issuer: p.URL, Subject: "910000000008", UserID: "555000000008", Organisation: idp.Trust, Role: idp.RoleClinician,
		Activities: []string{idp.ActivityDirectCare, idp.ActivityBreakGlass}, Assurance: idp.AAL3, SignedIn: got.SignedIn, Session: got.Session,
	}
	if !reflect.DeepEqual(got, want) || time.Since(got.SignedIn) > time.Minute {
		t.Errorf("%+v, not %+v", got, want)
	}
	again, err := p.Vouch(idp.Emergency, idp.AAL3)
	if err != nil || person(t, v, again).Session == got.Session {
		t.Errorf("the same session twice: %v", err)
	}
	if token, err := p.Vouch("nobody", idp.AAL2); err == nil {
		t.Errorf("nobody has %s", token)
	}
	if token, err := p.Vouch(idp.WithoutRole, idp.AAL2); err != nil {
		t.Error(err)
	} else if _, err := v.Verify(t.Context(), token); err == nil {
		t.Error("who has no role is somebody")
	}
}

// TestSigningOut: a browser that has signed out is sent where the client says, if the client
// may, and asked again who it is; another browser is not.
func TestSigningOut(t *testing.T) {
	o := options(t)
	o.LeftURIs = []string{"https://127.0.0.1:1/left"}
	p := serve(t, o)
	leave := func(b *idp.Browser, back string) string {
		t.Helper()
		location, err := b.SignOut(t.Context(), back)
		if err != nil {
			t.Fatal(err)
		}
		return location
	}
	var browsers [2]*idp.Browser
	for i := range browsers {
		var err error
		if browsers[i], err = p.Browser(); err == nil {
			_, err = browsers[i].SignIn(t.Context(), idp.Request{User: idp.GPOfA})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if at := leave(browsers[0], "https://127.0.0.1:1/elsewhere"); at != "" {
		t.Errorf("it is sent to %s", at)
	}
	if at := leave(browsers[0], o.LeftURIs[0]); at != o.LeftURIs[0] {
		t.Errorf("it is sent to %q", at)
	}
	if _, err := browsers[0].SignIn(t.Context(), idp.Request{}); !errors.Is(err, idp.ErrAsked) {
		t.Errorf("after signing out: %v", err)
	}
	if _, err := browsers[1].SignIn(t.Context(), idp.Request{}); err != nil {
		t.Errorf("another browser: %v", err)
	}
}

// TestTwoAccountsOfOnePerson are one person, and nobody else is.
func TestTwoAccountsOfOnePerson(t *testing.T) {
	o := options(t)
	p := serve(t, o)
	v := verifier(t, p, o.Roots, same)
	by := map[string]reidentify.Person{}
	for _, name := range []string{idp.FirstOfTwo, idp.SecondOfTwo, idp.Approver} {
		token, err := p.SignIn(t.Context(), name, "")
		if err != nil {
			t.Fatal(err)
		}
		by[name] = person(t, v, token)
	}
	first, second, other := by[idp.FirstOfTwo], by[idp.SecondOfTwo], by[idp.Approver]
	if first.Subject == second.Subject || !first.Is(&second) || first.Is(&other) || second.Is(&other) {
		t.Errorf("%+v, %+v, %+v", first, second, other)
	}
}

// TestTokensOfOthers are not taken: of another provider with the same names of keys, and for
// another client.
func TestTokensOfOthers(t *testing.T) {
	o := options(t)
	p, other := serve(t, o), serve(t, o)
	token, err := p.SignIn(t.Context(), idp.GPOfA, "")
	if err != nil {
		t.Fatal(err)
	}
	person(t, verifier(t, p, o.Roots, same), token)
	for want, v := range map[signin.Reason]*signin.Verifier{
		signin.Signature:       verifier(t, other, o.Roots, func(o *signin.Options) { o.Issuer = p.URL }),
		signin.Audience:        verifier(t, p, o.Roots, func(o *signin.Options) { o.Audience = "another" }),
		signin.Issuer:          verifier(t, p, o.Roots, func(o *signin.Options) { o.Issuer = other.URL }),
		signin.Algorithm:       verifier(t, p, o.Roots, func(o *signin.Options) { o.Algorithms = []string{"ES256"} }),
		signin.TooOld:          verifier(t, p, o.Roots, func(o *signin.Options) { o.MaxAge = time.Nanosecond }),
		signin.KeysUnavailable: verifier(t, p, x509.NewCertPool(), same),
	} {
		_, err := v.Verify(t.Context(), token)
		var refused *signin.Error
		if !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("not refused for %s: %v", want, err)
		}
	}
}

// TestSingleSignOn: a browser in which somebody has signed in is not asked again, unless
// more is asked for: a higher level, a new sign-in, or a younger one.
func TestSingleSignOn(t *testing.T) {
	o := options(t)
	p := serve(t, o)
	v := verifier(t, p, o.Roots, same)
	b, err := p.Browser()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(r idp.Request, asked bool) reidentify.Person {
		t.Helper()
		tokens, err := b.SignIn(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if tokens.Asked != asked {
			t.Errorf("the page asks: %v, not %v", tokens.Asked, asked)
		}
		return person(t, v, tokens.ID)
	}
	if _, err := b.SignIn(t.Context(), idp.Request{Prompt: "none"}); err == nil || !strings.Contains(err.Error(), "login_required") {
		t.Errorf("nobody has signed in: %v", err)
	}
	if _, err := b.SignIn(t.Context(), idp.Request{}); !errors.Is(err, idp.ErrAsked) {
		t.Errorf("nobody has signed in: %v", err)
	}
	first := ask(idp.Request{User: idp.Emergency}, true)
	if first.Assurance != idp.AAL2 {
		t.Errorf("%+v", first)
	}
	if again := ask(idp.Request{}, false); !reflect.DeepEqual(again, first) {
		t.Errorf("it is %+v, not %+v", again, first)
	}
	ask(idp.Request{Prompt: "none"}, false)
	ask(idp.Request{MaxAge: time.Hour}, false)
	ask(idp.Request{ACR: idp.AAL2}, false)
	// Step-up: the same session, another level, a new time.
	if _, err := b.SignIn(t.Context(), idp.Request{ACR: idp.AAL3, Prompt: "none"}); err == nil || !strings.Contains(err.Error(), "login_required") {
		t.Errorf("a higher level comes by itself: %v", err)
	}
	time.Sleep(1100 * time.Millisecond) // times in tokens are whole seconds
	higher := ask(idp.Request{User: idp.Emergency, ACR: idp.AAL3}, true)
	if higher.Assurance != idp.AAL3 || !higher.SignedIn.After(first.SignedIn) || higher.Session != first.Session {
		t.Errorf("after a step-up it is %+v, not like %+v", higher, first)
	}
	ask(idp.Request{ACR: idp.AAL3}, false)
	ask(idp.Request{User: idp.Emergency, Prompt: "login"}, true)
	time.Sleep(1100 * time.Millisecond)
	ask(idp.Request{User: idp.Emergency, MaxAge: time.Second}, true)
	// Somebody else in the same browser is another session, and so is another role.
	other := ask(idp.Request{User: idp.GPOfA, Prompt: "select_account"}, true)
	if other.Session == first.Session || other.Is(&first) {
		t.Errorf("%+v", other)
	}
	analyst := ask(idp.Request{User: idp.Analyst, Prompt: "login"}, true)
	second := ask(idp.Request{User: idp.Analyst, Role: "600000000017", Prompt: "login"}, true)
	if analyst.Organisation != idp.ICB || second.Organisation != idp.Trust || analyst.Session == second.Session {
		t.Errorf("%+v, %+v", analyst, second)
	}
}

// TestWhatTheProviderRefuses: it is a provider for tests, and still one: no code without
// PKCE, none to an address that is not the client's, no user that there is not.
func TestWhatTheProviderRefuses(t *testing.T) {
	o := options(t)
	p := serve(t, o)
	b := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.Roots}, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	get := func(path string, query url.Values) (status int, location, body string) {
		t.Helper()
		answer, err := b.Get(p.URL + path + "?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		content, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, answer.Header.Get("Location"), string(content)
	}
	query := func(differ url.Values) url.Values {
		q := url.Values{
			"client_id": {p.ClientID}, "response_type": {"code"}, "redirect_uri": {callback}, "scope": {"openid"}, "state": {"s"},
			"code_challenge_method": {"S256"}, "code_challenge": {strings.Repeat("a", 43)},
		}
		for name, values := range differ {
			q[name] = values
		}
		return q
	}
	status, location, _ := get("/authorize", query(nil))
	if status != http.StatusFound || !strings.Contains(location, "/login?request=") {
		t.Fatalf("control: status %d, %s", status, location)
	}
	for name, differ := range map[string]url.Values{
		"no PKCE": {"code_challenge": nil}, "plain PKCE": {"code_challenge_method": {"plain"}}, "another address": {"redirect_uri": {"https://127.0.0.1:2/callback"}},
		"another client": {"client_id": {"another"}}, "the implicit flow": {"response_type": {"id_token"}},
	} {
		if status, location, _ := get("/authorize", query(differ)); strings.Contains(location, "/login") || strings.Contains(location, "code=") || strings.Contains(location, ":2/") {
			t.Errorf("%s: status %d, %s", name, status, location)
		}
	}
	// The page says what it is; what is not on it does not sign in.
	address, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, body := get("/login", address.Query()); !strings.Contains(body, "This is a test") || !strings.Contains(body, "Dr Ada Example") {
		t.Errorf("the page is %s", body)
	}
	for name, form := range map[string]url.Values{
		"nobody": {"user": {"root/"}, "acr": {idp.AAL2}}, "another's role": {"user": {idp.GPOfA + "/600000000008"}, "acr": {idp.AAL2}}, "no level": {"user": {idp.WithoutRole + "/"}},
		"a level that there is not": {"user": {idp.WithoutRole + "/"}, "acr": {"AAL9"}},
	} {
		form.Set("request", address.Query().Get("request"))
		answer, err := b.PostForm(p.URL+"/login", form)
		if err != nil {
			t.Fatal(err)
		}
		if _ = answer.Body.Close(); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, answer.StatusCode)
		}
	}
	// Nobody has signed in for this request: there is no code for it.
	if status, location, _ := get("/authorize/callback", url.Values{"id": {address.Query().Get("request")}}); strings.Contains(location, "code=") {
		t.Errorf("without a sign-in: status %d, %s", status, location)
	}
	// A code is for who has begun, and for once.
	verifier := strings.Repeat("verifier", 6)
	sum := sha256.Sum256([]byte(verifier))
	exchange := func(code, verifier, redirect string) int {
		t.Helper()
		answer, err := b.PostForm(p.URL+"/oauth/token", url.Values{
			"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "client_id": {p.ClientID}, "code_verifier": {verifier},
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	code := func() string {
		t.Helper()
		_, location, _ := get("/authorize", query(url.Values{"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}}))
		request := location[strings.Index(location, "=")+1:]
		answer, err := b.PostForm(p.URL+"/login", url.Values{"request": {request}, "user": {idp.WithoutRole + "/"}, "acr": {idp.AAL2}})
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		_, location, _ = get("/authorize/callback", url.Values{"id": {request}})
		back, err := url.Parse(location)
		if err != nil || back.Query().Get("code") == "" {
			t.Fatalf("there is no code: %s", location)
		}
		return back.Query().Get("code")
	}
	once := code()
	if status := exchange(once, verifier, callback); status != http.StatusOK {
		t.Fatalf("control: status %d", status)
	}
	if status := exchange(once, verifier, callback); status < 400 || status >= 500 {
		t.Errorf("a second time: status %d", status)
	}
	if status := exchange(code(), "another"+verifier, callback); status < 400 || status >= 500 {
		t.Errorf("of somebody else: status %d", status)
	}
	if status := exchange(code(), "", callback); status < 400 || status >= 500 {
		t.Errorf("without PKCE: status %d", status)
	}
	if status := exchange(code(), verifier, callback+"2"); status < 400 || status >= 500 {
		t.Errorf("for another address: status %d", status)
	}
	if status, _, _ := get("/login", url.Values{"request": {"none"}}); status != http.StatusBadRequest {
		t.Errorf("a request that there is not: status %d", status)
	}
}

// TestOptionsThatAreNone: it is not served beyond this machine.
func TestOptionsThatAreNone(t *testing.T) {
	for name, change := range map[string]func(*idp.Options){
		"everywhere": func(o *idp.Options) { o.Address = ":0" }, "all addresses": func(o *idp.Options) { o.Address = "0.0.0.0:0" }, "a name": func(o *idp.Options) { o.Address = "example.org:443" },
		"no certificate": func(o *idp.Options) { o.Certificate = tls.Certificate{} }, "no client": func(o *idp.Options) { o.RedirectURIs = nil }, "HS256": func(o *idp.Options) { o.Algorithm = "HS256" },
	} {
		o := options(t)
		change(&o)
		if p, err := idp.Serve(t.Context(), o); p != nil || fault.KindOf(err) != fault.Usage || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
