package idp

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// requestLasts is how long a person may take to sign in.
const requestLasts = 10 * time.Minute

// request is a client's, for somebody to sign in. It is not changed once it is done.
type request struct {
	*oidc.AuthRequest
	id    string
	begun time.Time
	as    *signIn // nil until somebody has
}

// signIn is who has signed in, how and when.
type signIn struct {
	user      *User
	role      string // the selected role's ID; empty of who has none
	assurance string
	at        time.Time
	session   string // sid
}

func (r *request) GetID() string                      { return r.id }
func (r *request) GetAMR() []string                   { return nil }
func (r *request) GetAudience() []string              { return []string{r.ClientID} }
func (r *request) GetClientID() string                { return r.ClientID }
func (r *request) GetNonce() string                   { return r.Nonce }
func (r *request) GetRedirectURI() string             { return r.RedirectURI }
func (r *request) GetResponseType() oidc.ResponseType { return r.ResponseType }
func (r *request) GetResponseMode() oidc.ResponseMode { return r.ResponseMode }
func (r *request) GetScopes() []string                { return r.Scopes }
func (r *request) GetState() string                   { return r.State }
func (r *request) Done() bool                         { return r.as != nil }
func (r *request) GetACR() string                     { return r.signedIn().assurance }
func (r *request) GetAuthTime() time.Time             { return r.signedIn().at }
func (r *request) GetSubject() string                 { return r.signedIn().user.Subject }
func (r *request) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}

// signedIn is nobody as long as nobody has signed in.
func (r *request) signedIn() *signIn {
	if r.as == nil {
		return &signIn{user: &User{}}
	}
	return r.as
}

// inToken are the claims of a token beside the standard's.
func (s *storage) inToken(as *signIn) map[string]any {
	c := as.claims()
	if s.rolesApart {
		delete(c, "nhsid_useruid")
		delete(c, "nhsid_nrbac_roles")
	}
	return c
}

// claims are what CIS2 says beside the standard's claims.
func (s *signIn) claims() map[string]any {
	roles := s.user.Roles
	if roles == nil {
		roles = []Role{}
	}
	c := map[string]any{"sid": s.session, "name": s.user.Name, "nhsid_useruid": s.user.UserID, "nhsid_nrbac_roles": roles}
	if s.role != nobodySelected {
		c["selected_roleid"] = s.role
	}
	return c
}

// storage is what the provider keeps, all of it in memory. Of [op.Storage] it has what the
// code flow needs; the rest is refused.
type storage struct {
	client *client
	keys   []*key // the first signs
	clock  func() time.Time

	rolesApart bool // see Options

	mu       sync.Mutex
	requests map[string]*request // by their ids
	codes    map[string]string   // ids of requests
	access   map[string]*signIn  // by access tokens' ids
}

var (
	errUnknown     = errors.New("there is no such request")
	errUnsupported = errors.New("this test provider knows the code flow only")
)

// CreateAuthRequest takes a request with PKCE only.
func (s *storage) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	if r.CodeChallenge == "" || r.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with S256 is required")
	}
	one := &request{AuthRequest: r, id: uuid.NewString(), begun: s.clock()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, other := range s.requests {
		if one.begun.Sub(other.begun) > requestLasts {
			delete(s.requests, id)
		}
	}
	s.requests[one.id] = one
	return one, nil
}

func (s *storage) request(id string) (*request, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.requests[id]; r != nil && s.clock().Sub(r.begun) <= requestLasts {
		return r, nil
	}
	return nil, errUnknown
}

// done says who has signed in for a request.
func (s *storage) done(r *request, as *signIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	finished := *r
	finished.as = as
	s.requests[r.id] = &finished
}

func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	r, err := s.request(id)
	if err != nil {
		return nil, err // not a nil request in the interface
	}
	return r, nil
}

// AuthRequestByCode takes a code once.
func (s *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id, there := s.codes[code]
	delete(s.codes, code)
	s.mu.Unlock()
	if !there {
		return nil, errUnknown
	}
	return s.AuthRequestByID(ctx, id)
}

func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	return nil
}

func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	return nil
}

func (s *storage) CreateAccessToken(_ context.Context, r op.TokenRequest) (id string, ends time.Time, err error) {
	one, is := r.(*request)
	if !is || !one.Done() {
		return "", ends, errUnsupported
	}
	id = uuid.NewString()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.access[id] = one.as
	return id, s.clock().Add(s.client.lifetime), nil
}

// SetUserinfoFromRequest fills the ID token.
func (s *storage) SetUserinfoFromRequest(_ context.Context, info *oidc.UserInfo, r op.IDTokenRequest, _ []string) error {
	one, is := r.(*request)
	if !is || !one.Done() {
		return errUnsupported
	}
	info.Subject, info.Claims = one.as.user.Subject, s.inToken(one.as)
	return nil
}

// GetPrivateClaimsFromRequest fills the access token, which is a JWT: it says all that the
// ID token does.
func (s *storage) GetPrivateClaimsFromRequest(_ context.Context, r op.TokenRequest, _ []string) (map[string]any, error) {
	one, is := r.(*request)
	if !is || !one.Done() {
		return nil, errUnsupported
	}
	c := s.inToken(one.as)
	c["acr"], c["auth_time"] = one.as.assurance, one.as.at.Unix()
	return c, nil
}

// SetUserinfoFromToken answers at the userinfo endpoint.
func (s *storage) SetUserinfoFromToken(_ context.Context, info *oidc.UserInfo, token, _, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	as := s.access[token]
	if as == nil {
		return errUnknown
	}
	info.Subject, info.Claims = as.user.Subject, as.claims()
	return nil
}

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.client.id {
		return nil, errors.New("there is no such client")
	}
	return s.client, nil
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != s.client.id || s.client.secret == "" || secret != s.client.secret {
		return errors.New("the client's secret is another")
	}
	return nil
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) { return s.keys[0], nil }

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{s.keys[0].algorithm}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	all := make([]op.Key, len(s.keys))
	for i, k := range s.keys {
		all[i] = k.public()
	}
	return all, nil
}

func (s *storage) Health(context.Context) error { return nil }

// What the code flow does not need.

func (s *storage) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (id, refresh string, ends time.Time, err error) {
	return "", "", ends, errUnsupported
}

func (s *storage) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errUnsupported
}

func (s *storage) TerminateSession(context.Context, string, string) error { return nil }

func (s *storage) RevokeToken(context.Context, string, string, string) *oidc.Error { return nil }

func (s *storage) GetRefreshTokenInfo(context.Context, string, string) (user, token string, err error) {
	return "", "", op.ErrInvalidRefreshToken
}

func (s *storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

func (s *storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errUnsupported
}

func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (s *storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errUnsupported
}

func (s *storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errUnsupported
}
