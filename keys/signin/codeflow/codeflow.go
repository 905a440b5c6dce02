// Package codeflow is the sign-in of a browser at an OpenID Connect provider: the
// authorization code flow with PKCE (RFC 6749, 7636; OpenID Connect Core 1.0, 3.1). Nothing
// of the provider is discovered. Whoever has not signed in costs no memory: what has to come
// back is in a sealed cookie of their browser. No token is kept.
package codeflow

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"tarn/keys/fault"
	"tarn/keys/reidentify"
	"tarn/keys/signin"
)

// Bounds of what the provider is given, and gives.
const (
	exchangeTimeout = 10 * time.Second // of one call
	maxAnswer       = 64 << 10         // bytes, of userinfo
	maxHeader       = 16 << 10
	maxCode         = 4 << 10
)

// Options are what a flow is given. The error of [New] names them as keyholder.toml does.
type Options struct {
	AuthorizeURL  string // where browsers are sent
	TokenURL      string // where codes become tokens
	UserInfoURL   string // what else is said of a person; empty: the ID token says all
	EndSessionURL string // where browsers sign out; empty is nowhere
	ClientID      string
	Secret        func() string // the client's, where it has one; nil: a public client
	RedirectURI   string
	Scopes        []string // openid is added
	Roots         *x509.CertPool
	Verifier      *signin.Verifier
	Clock         func() time.Time
	Rand          io.Reader
}

// Flow signs people in. It is safe for concurrent use.
type Flow struct {
	options Options
	sealer  *sealer
	http    *http.Client
	asking  chan struct{} // whoever has come back and is being asked about
}

// maxAsking is how many sign-ins are finished at once: whoever comes back has not signed in
// yet, and has the provider asked all the same.
const maxAsking = 64

// New returns a flow. The error is of kind [fault.Usage].
func New(o Options) (*Flow, error) {
	const doing = "reading [oidc]"
	for _, one := range []struct {
		name, address string
		needed        bool
	}{{"authorize_url", o.AuthorizeURL, true}, {"token_url", o.TokenURL, true}, {"userinfo_url", o.UserInfoURL, false}, {"end_session_url", o.EndSessionURL, false}, {"the redirect URI", o.RedirectURI, true}} {
		address, err := url.Parse(one.address)
		switch {
		case one.address == "" && !one.needed:
		case err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil || address.Fragment != "":
			return nil, fault.New(fault.Usage, doing, one.name+" cannot be used, or is missing", "give an address of the provider, https://...")
		}
	}
	if o.ClientID == "" || o.Verifier == nil || o.Roots == nil {
		return nil, fault.New(fault.Usage, doing, "client_id, or what tokens are verified with, is missing", "give client_id, jwks_url and ca")
	}
	if !slices.Contains(o.Scopes, "openid") {
		o.Scopes = append([]string{"openid"}, o.Scopes...)
	}
	sealer, err := newSealer(o.Rand, o.Clock)
	if err != nil {
		return nil, err
	}
	return &Flow{options: o, sealer: sealer, asking: make(chan struct{}, maxAsking), http: &http.Client{
		Timeout: exchangeTimeout,
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots, Time: o.Clock},
			ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxHeader, MaxIdleConnsPerHost: 8, IdleConnTimeout: time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Want is what a sign-in is begun for.
type Want struct {
	ReturnTo string   // the page of ours to which the browser goes back
	ACR      []string // how the person shall prove who they are, acr_values; none is as they like
	Fresh    bool     // they prove it anew
}

// Result is who has signed in.
type Result struct {
	Person   reidentify.Person
	Shown    signin.Shown
	ReturnTo string // a page of ours
}

// random returns 256 random bits as text.
func (f *Flow) random() (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(f.options.Rand, b[:]); err != nil {
		return "", fault.New(fault.Internal, "beginning a sign-in", "no random bytes can be had", "")
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

func (f *Flow) config() *oauth2.Config {
	c := &oauth2.Config{
		ClientID: f.options.ClientID, RedirectURL: f.options.RedirectURI, Scopes: f.options.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: f.options.AuthorizeURL, TokenURL: f.options.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}
	if f.options.Secret != nil {
		c.ClientSecret, c.Endpoint.AuthStyle = f.options.Secret(), oauth2.AuthStyleInHeader
	}
	return c
}

// Begin returns where the browser is sent, and what its cookie holds until it is back.
func (f *Flow) Begin(w Want) (redirect, cookie string, err error) {
	p := pending{ReturnTo: Local(w.ReturnTo), Fresh: w.Fresh}
	for _, text := range []*string{&p.State, &p.Nonce, &p.Verifier} {
		if *text, err = f.random(); err != nil {
			return "", "", err
		}
	}
	more := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(p.Verifier), oauth2.SetAuthURLParam("nonce", p.Nonce)}
	if len(w.ACR) > 0 {
		more = append(more, oauth2.SetAuthURLParam("acr_values", strings.Join(w.ACR, " ")))
	}
	if w.Fresh {
		more = append(more, oauth2.SetAuthURLParam("prompt", "login"), oauth2.SetAuthURLParam("max_age", "0"))
	}
	if cookie, err = f.sealer.seal(&p); err != nil {
		return "", "", err
	}
	return f.config().AuthCodeURL(p.State, more...), cookie, nil
}

// Finish returns who has signed in, of what the browser brings back: its cookie, and the
// query of the redirect URI. The error is a [*signin.Error], or a fault of kind
// [fault.Unavailable] where the provider is away. Nothing of what the provider says is in it.
func (f *Flow) Finish(ctx context.Context, cookie string, query url.Values) (*Result, error) {
	p, err := f.sealer.open(cookie)
	if err != nil {
		return nil, err
	}
	code, err := f.answered(p, query)
	if err != nil {
		return nil, err
	}
	select {
	case f.asking <- struct{}{}:
		defer func() { <-f.asking }()
	default:
		return nil, away("too many people sign in at once")
	}
	tokens, err := f.config().Exchange(context.WithValue(ctx, oauth2.HTTPClient, f.http), code, oauth2.VerifierOption(p.Verifier))
	if err != nil {
		return nil, exchangeError(err)
	}
	idToken, is := tokens.Extra("id_token").(string)
	if !is || idToken == "" {
		return nil, refuse("the provider has given no ID token")
	}
	reply := signin.Reply{IDToken: idToken, Nonce: p.Nonce}
	if p.Fresh {
		reply.Since = p.Begun
	}
	if f.options.UserInfoURL != "" {
		if reply.UserInfo, err = f.userInfo(ctx, tokens.AccessToken); err != nil {
			return nil, err
		}
	}
	person, shown, err := f.options.Verifier.VerifyReply(ctx, reply)
	if err != nil {
		return nil, err
	}
	return &Result{Person: person, Shown: shown, ReturnTo: p.ReturnTo}, nil
}

// answered returns the code that a browser has brought for the sign-in that it began.
func (f *Flow) answered(p *pending, query url.Values) (code string, err error) {
	for _, values := range query {
		if len(values) > 1 {
			return "", refuse("the provider's answer says something twice")
		}
	}
	switch {
	case subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(p.State)) != 1:
		return "", refuse("what came back is the answer to another sign-in")
	case query.Has("iss") && query.Get("iss") != f.options.Verifier.Issuer(): // RFC 9207
		return "", refuse("another provider has answered")
	case query.Get("error") == "access_denied":
		return "", refuse("the sign-in was broken off, or was not allowed")
	case query.Has("error"):
		return "", refuse("the provider has not signed you in")
	}
	if code = query.Get("code"); code == "" || len(code) > maxCode {
		return "", refuse("the provider has given no code")
	}
	return code, nil
}

// exchangeError is why there is no token, without what the provider has said of it.
func exchangeError(err error) error {
	var said *oauth2.RetrieveError
	if errors.As(err, &said) && said.Response != nil && said.Response.StatusCode >= 400 && said.Response.StatusCode < 500 && said.Response.StatusCode != http.StatusTooManyRequests {
		return refuse("the provider does not take its own code: it was used before, is too old, or this client is not known to it")
	}
	return away("it gives no token")
}

// userInfo asks what else is said of the person (OpenID Connect Core 1.0, 5.3).
func (f *Flow) userInfo(ctx context.Context, access string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.options.UserInfoURL, nil)
	if err != nil {
		return nil, away("its address cannot be used")
	}
	request.Header.Set("Authorization", "Bearer "+access)
	request.Header.Set("Accept", "application/json")
	answer, err := f.http.Do(request)
	if err != nil {
		return nil, away("it does not say who you are")
	}
	defer func() { _ = answer.Body.Close() }()
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	switch {
	case answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests:
		return nil, away("it does not say who you are")
	case answer.StatusCode != http.StatusOK:
		return nil, refuse("the provider does not say who you are")
	case media != "application/json":
		return nil, refuse("the provider says who you are in a form that is not taken: application/json is")
	}
	document, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil || len(document) > maxAnswer {
		return nil, away("what it says of you was cut off, or is too long")
	}
	return document, nil
}

// Leave returns where the browser is sent to sign out at the provider, too, and comes back
// from; empty is nowhere (OpenID Connect RP-Initiated Logout 1.0).
func (f *Flow) Leave(back string) string {
	if f.options.EndSessionURL == "" {
		return ""
	}
	address, err := url.Parse(f.options.EndSessionURL)
	if err != nil {
		return ""
	}
	query := address.Query()
	query.Set("client_id", f.options.ClientID)
	query.Set("post_logout_redirect_uri", back)
	address.RawQuery = query.Encode()
	return address.String()
}

func refuse(wrong string) error { return &signin.Error{Reason: signin.BadReply, Wrong: wrong} }

func away(wrong string) error {
	return fault.New(fault.Unavailable, "signing in", "the provider cannot be asked: "+wrong, "try again in a minute; the key holder's operators see to it")
}

// Local returns a page of ours: a path, with a query perhaps, that a browser takes for
// nothing else. What is none, and the pages by which one signs in, become the first page.
func Local(page string) string {
	const first = "/"
	address, err := url.Parse(page)
	switch {
	case err != nil || address.Scheme != "" || address.Host != "" || address.User != nil || address.Opaque != "" || address.Fragment != "":
		return first
	case !strings.HasPrefix(page, "/") || strings.HasPrefix(page, "//") || strings.ContainsFunc(page, func(r rune) bool { return r <= ' ' || r == '\\' || r == 0x7f }):
		return first
	case strings.HasPrefix(address.Path, "//") || strings.Contains(address.Path, `\`) || strings.HasPrefix(address.Path, "/sign-") || strings.HasPrefix(address.Path, "/signed-out"):
		return first
	}
	return page
}
