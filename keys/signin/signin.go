// Package signin says who has signed in: it turns the signed token of an OpenID Connect
// provider (an ID token, or a JWT access token) into a [reidentify.Person].
//
// The provider is configured, and nothing about it is discovered. A token chooses neither
// the algorithm nor the key: the algorithms are an allow-list without none and HMAC, keys
// come from a configured file or address only, and a token that brings a key or says where
// one is, is refused. The signature is verified by go-oidc and go-jose; what the claims say
// is then read strictly, with every member there once. Sources: OpenID Connect Core 1.0,
// 3.1.3.7; RFC 7515, 7519, 8725 and 9068.
package signin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/reidentify"
)

// Options are what a verifier is given.
type Options struct {
	Issuer     string   // https://..., exactly as tokens have it in iss
	Audience   string   // the client_id: exactly as tokens have it in aud
	Algorithms []string // that tokens may be signed with: of [Algorithms]
	Keys       KeySource
	Claims     Claims
	MaxAge     time.Duration // how long ago a person may have signed in (auth_time); 0 is 12 hours
	Clock      func() time.Time
}

// Algorithms returns what tokens may be signed with (RFC 7518, 3.1; RFC 8037): what is
// verified with a public key.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// Times.
const (
	defaultMaxAge = 12 * time.Hour
	clockSkew     = 30 * time.Second // how far the issuer's clock may be from ours
)

// Verifier verifies tokens of one issuer. It is safe for concurrent use.
type Verifier struct {
	options Options
	config  oidc.Config
}

// nameText is what the log takes for a name, specification (i).
var nameText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$`)

// New returns what verifies tokens. The error is of kind [fault.Usage].
func New(o Options) (*Verifier, error) {
	if wrong, next := o.check(); wrong != "" {
		return nil, fault.New(fault.Usage, "reading [oidc]", wrong, next)
	}
	claims, err := o.Claims.complete()
	if err != nil {
		return nil, err
	}
	o.Claims, o.Algorithms = claims, slices.Clone(o.Algorithms)
	if o.MaxAge == 0 {
		o.MaxAge = defaultMaxAge
	}
	clock := o.Clock
	return &Verifier{options: o, config: oidc.Config{
		ClientID: o.Audience, SupportedSigningAlgs: o.Algorithms,
		Now: func() time.Time { return clock().Add(-clockSkew) }, // it allows for none at exp
	}}, nil
}

// Issuer is whose tokens are believed.
func (v *Verifier) Issuer() string { return v.options.Issuer }

// check says what is wrong with options, and what to do; "" of good ones.
func (o *Options) check() (wrong, next string) {
	issuer, err := url.Parse(o.Issuer)
	switch {
	case err != nil || issuer.Scheme != "https" || issuer.Host == "" || issuer.User != nil || issuer.RawQuery != "" || issuer.ForceQuery || strings.Contains(o.Issuer, "#"):
		return "issuer cannot be used", "give it as tokens have it in iss: https://..., without query and fragment"
	case !nameText.MatchString(o.Issuer):
		return "issuer is none that the log takes", "it has at most 128 letters, digits and ._:/@+-"
	case o.Audience == "":
		return "client_id is missing", "give it as tokens have it in aud"
	case len(o.Algorithms) == 0:
		return "algorithms are missing", `name what the issuer signs with, as in algorithms = ["RS256"]`
	case o.Keys == nil:
		return "the issuer's keys are missing", "give jwks_file, or jwks_url and ca"
	case o.MaxAge < 0:
		return "max_age is negative", "give how long ago a person may have signed in, or leave it out"
	}
	for _, algorithm := range o.Algorithms {
		if !slices.Contains(Algorithms(), algorithm) {
			return "algorithms names one that is not taken", "choose of " + strings.Join(Algorithms(), ", ") + ": never none, and never HS256 and its like, whose key would be shared"
		}
	}
	return "", ""
}

// Verify returns who has signed in, in the role that they selected. bearer is the token by
// itself, see [Bearer]. The error is an [*Error], or the context's.
func (v *Verifier) Verify(ctx context.Context, bearer string) (reidentify.Person, error) {
	return v.VerifyWith(ctx, bearer, nil)
}

// VerifyWith is Verify of an ID token that does not say all: CIS2 has nhsid_useruid and
// nhsid_nrbac_roles at its userinfo endpoint only. userInfo is the JSON that the caller got
// there itself, over TLS and for this very sign-in (OpenID Connect Core 1.0, 5.3); nobody
// else may bring it. It must be of the token's subject, and it adds claims: what the token
// says stays as it is, and how a person has signed in and in which role it alone says. A nil
// userInfo adds none.
func (v *Verifier) VerifyWith(ctx context.Context, bearer string, userInfo []byte) (reidentify.Person, error) {
	person, _, err := v.verify(ctx, Reply{IDToken: bearer, UserInfo: userInfo})
	return person, err
}

// Reply is what a client gets at the end of a browser's sign-in.
type Reply struct {
	IDToken  string
	UserInfo []byte // as of [Verifier.VerifyWith]; nil is none
	Nonce    string // that the client has given, and the token must have
	// Since is when a sign-in was asked for that had to be a new one: the token must say that
	// it was (auth_time); when the token was issued does not stand for it. The zero time is any.
	Since time.Time
}

// VerifyReply is VerifyWith of a sign-in that the client has begun: the token must be the
// answer to it, and to no other (OpenID Connect Core 1.0, 3.1.3.7, 11). shown is for the
// person's own eyes: it goes into no record.
func (v *Verifier) VerifyReply(ctx context.Context, r Reply) (person reidentify.Person, shown Shown, err error) {
	if r.Nonce == "" {
		return person, shown, refuse(BadClaims, "the sign-in has no nonce")
	}
	return v.verify(ctx, r)
}

func (v *Verifier) verify(ctx context.Context, r Reply) (nobody reidentify.Person, shown Shown, err error) {
	person, c, err := v.believe(ctx, r)
	if err != nil {
		return nobody, shown, err
	}
	return person, c.shown(), nil
}

// believe returns who has signed in, and what is said of them.
func (v *Verifier) believe(ctx context.Context, r Reply) (nobody reidentify.Person, said claims, err error) {
	token, err := readCompact(r.IDToken)
	if err != nil {
		return nobody, nil, err
	}
	if !slices.Contains(v.options.Algorithms, token.algorithm) {
		return nobody, nil, refuse(Algorithm, "the token is signed with an algorithm that is not allowed")
	}
	key, err := find(ctx, v.options.Keys, token)
	if err != nil {
		return nobody, nil, err
	}
	set := &oneKey{key: key, algorithm: jose.SignatureAlgorithm(token.algorithm)}
	_, failed := oidc.NewVerifier(v.options.Issuer, set, &v.config).Verify(ctx, token.text)
	if set.payload == nil {
		return nobody, nil, refuse(Signature, "the token is not signed by the key that it names")
	}
	// Our own reading comes first, for the reason: the library's errors repeat claims.
	person, said, err := v.read(token, set.payload, r)
	if err != nil {
		return nobody, nil, err
	}
	if failed != nil {
		return nobody, nil, refuse(BadClaims, "the token's claims are not those of an ID token")
	}
	return person, said, nil
}

// oneKey is a set of the one key that a token was found to name.
type oneKey struct {
	key       *jose.JSONWebKey
	algorithm jose.SignatureAlgorithm
	payload   []byte // of a token whose signature is right
}

// VerifySignature implements [oidc.KeySet].
func (o *oneKey) VerifySignature(_ context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{o.algorithm})
	if err != nil {
		return nil, errors.New("signin: no compact form")
	}
	payload, err := signed.Verify(o.key.Key)
	if err != nil {
		return nil, errors.New("signin: the signature is wrong")
	}
	o.payload = payload
	return payload, nil
}

// read holds the claims of a token whose signature is right.
func (v *Verifier) read(token *compact, payload []byte, r Reply) (nobody reidentify.Person, said claims, err error) {
	c, err := readClaims(payload)
	if err != nil {
		return nobody, nil, err
	}
	if err := v.meant(c); err != nil {
		return nobody, nil, err
	}
	if err := c.answers(r.Nonce); err != nil {
		return nobody, nil, err
	}
	signedIn, err := v.inTime(c, r.Since)
	if err != nil {
		return nobody, nil, err
	}
	name, err := session(c, v.options.Issuer, token.signed)
	if err != nil {
		return nobody, nil, err
	}
	if c, err = c.with(r.UserInfo, v.options.Claims.ofSignIn()); err != nil {
		return nobody, nil, err
	}
	p, err := v.options.Claims.person(c)
	if err != nil {
		return nobody, nil, err
	}
	p.Issuer, p.SignedIn, p.Session = v.options.Issuer, signedIn, name
	return p, c, nil
}

// maxAudiences is how many a token may be for.
const maxAudiences = 16

// meant refuses tokens of another issuer, and for another audience.
func (v *Verifier) meant(c claims) error {
	if issuer, err := c.required("iss"); err != nil || issuer != v.options.Issuer {
		return refuse(Issuer, "the token is of another issuer")
	}
	audiences, err := c.oneOrMore("aud")
	if err != nil || len(audiences) > maxAudiences || !slices.Contains(audiences, v.options.Audience) {
		return refuse(Audience, "the token is for another audience")
	}
	if len(audiences) == 1 {
		return nil
	}
	if party, err := c.required("azp"); err != nil || party != v.options.Audience {
		return refuse(Audience, "the token is for several audiences, and was not issued to this one")
	}
	return nil
}

// inTime refuses tokens that do not count now, and returns when the person signed in.
func (v *Verifier) inTime(c claims, since time.Time) (time.Time, error) {
	var none time.Time
	now := v.options.Clock()
	times := map[string]time.Time{}
	for _, name := range []string{"exp", "nbf", "iat", "auth_time"} {
		t, err := c.time(name)
		if err != nil {
			return none, err
		}
		times[name] = t
	}
	signedIn := times["auth_time"]
	if signedIn.IsZero() && v.options.Claims.issuedIsSignedIn() {
		signedIn = times["iat"]
	}
	switch latest := now.Add(clockSkew); {
	case times["exp"].IsZero():
		return none, refuse(BadClaims, "the token does not say when it expires")
	case !now.Before(times["exp"].Add(clockSkew)):
		return none, refuse(Expired, "the token has expired")
	case times["nbf"].After(latest), times["iat"].After(latest), signedIn.After(latest):
		return none, refuse(NotYet, "the token is of a time to come: see that both clocks are right")
	case signedIn.IsZero():
		return none, refuse(BadClaims, "the token does not say when the person signed in")
	case !since.IsZero() && times["auth_time"].Before(since.Add(-clockSkew)):
		return none, refuse(TooOld, "the person was to sign in anew, and has not")
	case now.Sub(signedIn) > v.options.MaxAge:
		return none, refuse(TooOld, "the person signed in too long ago")
	}
	return signedIn, nil
}

// session names a sign-in: by the provider's own name of it, which all its tokens share,
// else by the token. That is by what is signed of it: a signature may have another form
// that verifies.
func session(c claims, issuer, signed string) (string, error) {
	subject, err := c.required("sub")
	if err != nil {
		return "", err
	}
	id, there, err := c.optional("sid")
	if err != nil {
		return "", err
	}
	message := keys.LP(keys.Text("tarn/session/v1"), keys.Text(issuer), keys.Text(subject), keys.Text(id))
	if !there {
		message = keys.LP(keys.Text("tarn/session-of-token/v1"), keys.Text(issuer), keys.Text(signed))
	}
	sum := sha256.Sum256(message)
	return hex.EncodeToString(sum[:]), nil
}
