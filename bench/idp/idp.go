// Package idp is an identity provider for tests and demonstrations: a real OpenID Connect
// provider with the code flow and PKCE, served over TLS on this machine, whose users are
// made up and sign in without a password. What it says of them has the shape of NHS Care
// Identity Service 2. It keeps nothing.
package idp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/op"

	"tarn/keys/fault"
)

// DefaultClientID is the client's name unless it is given another.
const DefaultClientID = "tarn"

// scopeRoles is what CIS2 calls the scope of nhsid_nrbac_roles.
const scopeRoles = "nationalrbacaccess"

const (
	defaultLifetime = time.Hour // of tokens
	readTimeout     = 10 * time.Second
	stopTimeout     = 5 * time.Second
	rsaBits         = 2048
)

// Options are the settings of a provider.
type Options struct {
	Address      string          // host:port of this machine, whose certificate it is; empty is 127.0.0.1 and any port
	Certificate  tls.Certificate // the server's
	Roots        *x509.CertPool  // of the certificate, for [Provider.SignIn]
	ClientID     string          // empty is [DefaultClientID]
	ClientSecret string          // empty is a public client
	RedirectURIs []string        // of the client, exactly; at least one
	LeftURIs     []string        // where the client may have browsers sent that have signed out
	Users        []User          // none are [Users]
	Algorithm    string          // RS256 or ES256; empty is RS256
	Lifetime     time.Duration   // of tokens; 0 is an hour
	// RolesApart leaves nhsid_useruid and nhsid_nrbac_roles out of the tokens, as CIS2 does: the
	// userinfo endpoint has them.
	RolesApart bool
}

// Provider is a provider that is served.
type Provider struct {
	URL      string // the issuer
	JWKSURL  string
	ClientID string

	options Options
	storage *storage
	ended   chan struct{}
	err     error // of the end
}

// Serve serves a provider until the context ends. It returns as soon as it answers.
func Serve(ctx context.Context, o Options) (*Provider, error) {
	const doing = "serving the test identity provider"
	if err := o.complete(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give another address")
	}
	p := &Provider{URL: "https://" + listener.Addr().String(), ClientID: o.ClientID, options: o, ended: make(chan struct{})}
	p.JWKSURL = p.URL + "/keys"
	handler, err := p.handler()
	if err != nil {
		return nil, errors.Join(fault.New(fault.Internal, doing, "it could not be set up", ""), listener.Close())
	}
	server := &http.Server{
		Handler: handler, ReadTimeout: readTimeout, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{o.Certificate}},
	}
	go func() {
		defer close(p.ended)
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			p.err = fault.New(fault.Unavailable, doing, "it has ended", "")
		}
	}()
	context.AfterFunc(ctx, func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if server.Shutdown(stop) != nil {
			_ = server.Close() // somebody takes too long
		}
	})
	return p, nil
}

// Wait returns when the provider has ended.
func (p *Provider) Wait() error {
	<-p.ended
	return p.err
}

// complete fills in what is not given, and refuses what cannot be.
func (o *Options) complete() error {
	const doing = "reading the test identity provider's options"
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.ClientID == "" {
		o.ClientID = DefaultClientID
	}
	if o.Users == nil {
		o.Users = Users()
	}
	if o.Lifetime == 0 {
		o.Lifetime = defaultLifetime
	}
	if o.Algorithm == "" {
		o.Algorithm = string(jose.RS256)
	}
	host, _, err := net.SplitHostPort(o.Address)
	switch {
	case err != nil || !net.ParseIP(host).IsLoopback():
		return fault.New(fault.Usage, doing, "the address is not this machine's own", "give 127.0.0.1 and a port: whoever reaches it may be anybody")
	case len(o.Certificate.Certificate) == 0:
		return fault.New(fault.Usage, doing, "the certificate is missing", "give one for the address")
	case len(o.RedirectURIs) == 0:
		return fault.New(fault.Usage, doing, "the client has no redirect URI", "give where it takes codes")
	case !slices.Contains([]string{"RS256", "ES256"}, o.Algorithm):
		return fault.New(fault.Usage, doing, "it does not sign with that algorithm", "give RS256 or ES256")
	}
	return nil
}

// signingKeys draws a key for each algorithm, that which signs first.
func signingKeys(algorithm string) ([]*key, error) {
	r, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, err
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	all := []*key{{"test-rsa", jose.RS256, r}, {"test-ec", jose.ES256, e}}
	if algorithm == string(jose.ES256) {
		slices.Reverse(all)
	}
	return all, nil
}

func (p *Provider) handler() (http.Handler, error) {
	keys, err := signingKeys(p.options.Algorithm)
	if err != nil {
		return nil, err
	}
	s := &storage{
		client:     &client{id: p.ClientID, secret: p.options.ClientSecret, redirects: p.options.RedirectURIs, left: p.options.LeftURIs, lifetime: p.options.Lifetime},
		rolesApart: p.options.RolesApart,
		keys:       keys, clock: time.Now, // the library's tokens have the system's time, too
		requests: map[string]*request{}, codes: map[string]string{}, access: map[string]*signIn{},
	}
	config := &op.Config{CodeMethodS256: true, SupportedScopes: []string{"openid", "profile", scopeRoles}}
	if _, err := rand.Read(config.CryptoKey[:]); err != nil {
		return nil, err
	}
	provider, err := op.NewProvider(config, s, op.StaticIssuer(p.URL))
	if err != nil {
		return nil, err
	}
	p.storage = s
	people := &login{provider: provider, storage: s, issuer: p.URL, users: p.options.Users, sessions: map[string]*signIn{}}
	routes := http.NewServeMux()
	routes.Handle(loginPath, people)
	routes.Handle(provider.EndSessionEndpoint().Relative(), people.leaving(provider))
	routes.Handle("/", provider)
	return routes, nil
}
