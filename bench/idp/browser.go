package idp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Browser signs people in as their browser and the client would: over HTTP, with cookies
// that it keeps, redirects and PKCE.
type Browser struct {
	provider *Provider
	http     *http.Client
}

// Browser returns a browser in which nobody has signed in.
func (p *Provider) Browser() (*Browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	return &Browser{provider: p, http: &http.Client{
		Jar: jar, Timeout: readTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: p.options.Roots}, DisableKeepAlives: true},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if p.isClient(r.URL) {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}}, nil
}

// isClient reports whether an address is where the client takes codes: a browser would go
// there.
func (p *Provider) isClient(address *url.URL) bool {
	bare := *address
	bare.RawQuery = ""
	return slices.Contains(p.options.RedirectURIs, bare.String()) || slices.Contains(p.options.LeftURIs, bare.String())
}

// Request is what a client asks for, and what the person answers.
type Request struct {
	User   string // of [User]: whom to choose, where the page asks; empty: nobody answers
	Role   string // person_roleid; empty is the user's first
	ACR    string // acr_values; empty asks for none, and AAL2 is chosen
	MaxAge time.Duration
	Prompt string // login, none, select_account, or empty
}

// Tokens are what the client gets.
type Tokens struct {
	ID     string `json:"id_token"`
	Access string `json:"access_token"` // a JWT, too, with the same claims
	Asked  bool   `json:"-"`            // whether the page asked who it is
}

// ErrAsked says that the page asks who it is, and the request has nobody to answer.
var ErrAsked = errors.New("idp: the provider asks who it is")

// SignIn signs a user in with their first role in a new browser, and returns the ID token.
// acr is asked for with acr_values; empty asks for none.
func (p *Provider) SignIn(ctx context.Context, user, acr string) (idToken string, err error) {
	b, err := p.Browser()
	if err != nil {
		return "", err
	}
	tokens, err := b.SignIn(ctx, Request{User: user, ACR: acr})
	return tokens.ID, err
}

// SignIn goes through the code flow. A second time is a single sign-on, unless the request
// asks for more than the session has.
func (b *Browser) SignIn(ctx context.Context, r Request) (Tokens, error) {
	state, nonce, verifier := rand.Text(), rand.Text(), rand.Text()+rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	redirect := b.provider.options.RedirectURIs[0]
	query := url.Values{
		"client_id": {b.provider.ClientID}, "response_type": {"code"}, "redirect_uri": {redirect}, "scope": {"openid profile " + scopeRoles},
		"state": {state}, "nonce": {nonce}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])},
	}
	if r.ACR != "" {
		query.Set("acr_values", r.ACR)
	}
	if r.Prompt != "" {
		query.Set("prompt", r.Prompt)
	}
	if r.MaxAge != 0 {
		query.Set("max_age", strconv.Itoa(int(r.MaxAge.Seconds())))
	}
	code, asked, err := b.authorise(ctx, query, r)
	if err != nil {
		return Tokens{Asked: asked}, err
	}
	tokens, err := b.exchange(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "client_id": {b.provider.ClientID}, "code_verifier": {verifier},
	})
	tokens.Asked = asked
	return tokens, err
}

// SignOut ends the browser's session, and returns where it is sent then: empty where the
// client may not send it there.
func (b *Browser) SignOut(ctx context.Context, back string) (location string, err error) {
	query := url.Values{"client_id": {b.provider.ClientID}, "post_logout_redirect_uri": {back}}
	answer, err := b.do(ctx, http.MethodGet, b.provider.URL+"/end_session?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	if address, err := answer.Location(); err == nil {
		return address.String(), nil
	}
	return "", nil
}

// authorise returns the code that the browser brings to the client.
func (b *Browser) authorise(ctx context.Context, query url.Values, r Request) (code string, asked bool, err error) {
	answer, err := b.do(ctx, http.MethodGet, b.provider.URL+"/authorize?"+query.Encode(), nil)
	if err != nil {
		return "", false, err
	}
	if answer.StatusCode == http.StatusOK && answer.Request.URL.Path == loginPath {
		if asked = true; r.User == "" {
			return "", asked, ErrAsked
		}
		if answer, err = b.do(ctx, http.MethodPost, b.provider.URL+loginPath, b.form(answer.Request.URL.Query().Get("request"), r)); err != nil {
			return "", asked, err
		}
	}
	back, err := answer.Location()
	if err != nil || !b.provider.isClient(back) {
		return "", asked, fmt.Errorf("idp: the browser was not sent back, but shown status %d", answer.StatusCode)
	}
	switch got := back.Query(); {
	case got.Get("state") != query.Get("state"):
		return "", asked, errors.New("idp: what comes back is of another request")
	case got.Get("error") != "":
		return "", asked, fmt.Errorf("idp: %s", got.Get("error"))
	default:
		return got.Get("code"), asked, nil
	}
}

// form is what the person fills in.
func (b *Browser) form(request string, r Request) url.Values {
	role, acr := r.Role, r.ACR
	if acr == "" {
		acr = AAL2
	}
	for _, user := range b.provider.options.Users {
		if role == "" && user.ID == r.User && len(user.Roles) > 0 {
			role = user.Roles[0].ID
		}
	}
	return url.Values{"request": {request}, "acr": {acr}, "user": {r.User + "/" + role}}
}

// do returns an answer, whose body it has read.
func (b *Browser) do(ctx context.Context, method, address string, form url.Values) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := b.http.Do(request)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer, errors.Join(err, answer.Body.Close())
}

// UserInfo returns what the userinfo endpoint says to who has an access token.
func (b *Browser) UserInfo(ctx context.Context, access string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.provider.URL+"/userinfo", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+access)
	answer, err := b.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }() // read to its end, or of no use
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("idp: the access token is not taken: status %d", answer.StatusCode)
	}
	return io.ReadAll(answer.Body)
}

// exchange gives the code for tokens, as the client does.
func (b *Browser) exchange(ctx context.Context, form url.Values) (t Tokens, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.provider.URL+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return t, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret := b.provider.options.ClientSecret; secret != "" {
		request.SetBasicAuth(url.QueryEscape(b.provider.ClientID), url.QueryEscape(secret))
	}
	answer, err := b.http.Do(request)
	if err != nil {
		return t, err
	}
	defer func() { _ = answer.Body.Close() }() // read to its end, or of no use
	if answer.StatusCode != http.StatusOK {
		return t, fmt.Errorf("idp: the code is not taken: status %d", answer.StatusCode)
	}
	return t, json.UnmarshalRead(answer.Body, &t)
}
