package idp

import (
	"crypto"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// client is the one client that the provider has.
type client struct {
	id, secret string
	redirects  []string
	left       []string // after signing out
	lifetime   time.Duration
}

func (c *client) GetID() string                       { return c.id }
func (c *client) RedirectURIs() []string              { return c.redirects }
func (c *client) PostLogoutRedirectURIs() []string    { return c.left }
func (c *client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c *client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c *client) GrantTypes() []oidc.GrantType         { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c *client) LoginURL(id string) string            { return loginPath + "?request=" + id }
func (c *client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeJWT }
func (c *client) IDTokenLifetime() time.Duration       { return c.lifetime }
func (c *client) DevMode() bool                        { return false }
func (c *client) IsScopeAllowed(scope string) bool     { return scope == scopeRoles }
func (c *client) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c *client) ClockSkew() time.Duration             { return 0 }
func unrestricted(scopes []string) []string            { return scopes }

func (c *client) RestrictAdditionalIdTokenScopes() func([]string) []string     { return unrestricted }
func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return unrestricted }

// AuthMethod is that of a client with a secret, if it has one.
func (c *client) AuthMethod() oidc.AuthMethod {
	if c.secret == "" {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

// key signs tokens; a public one verifies them.
type key struct {
	id        string
	algorithm jose.SignatureAlgorithm
	key       any
}

func (k *key) public() *key {
	return &key{id: k.id, algorithm: k.algorithm, key: k.key.(crypto.Signer).Public()}
}

func (k *key) ID() string                                  { return k.id }
func (k *key) Algorithm() jose.SignatureAlgorithm          { return k.algorithm }
func (k *key) SignatureAlgorithm() jose.SignatureAlgorithm { return k.algorithm }
func (k *key) Use() string                                 { return "sig" }
func (k *key) Key() any                                    { return k.key }
