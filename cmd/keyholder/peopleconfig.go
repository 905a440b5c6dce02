package main

import (
	"crypto/x509"
	"net/url"
	"os"
	"strings"
	"time"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/holder"
	"tarn/keys/reidentify"
	"tarn/keys/relationship"
	"tarn/keys/signin"
	"tarn/keys/signin/codeflow"
)

// consoleConfig says where people who have signed in are answered. Without an address
// nobody re-identifies anybody.
type consoleConfig struct {
	// Address to answer on, as host:port; another than that of [listen]: people show no
	// certificates.
	Address string `toml:"address"`
	// TLSCert and TLSKey are PEM files, as those of [listen], which are the default. What
	// browsers know is better.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
	// PublicURL is the address by which people call it, https://host.
	PublicURL string `toml:"public_url"`
	// Organisation is the name of who runs the key holder, for people to read.
	Organisation string `toml:"organisation"`
	// Idle is after how long without use people are signed out (default 15m, at most 1h).
	Idle boot.Duration `toml:"idle"`
	// Longest is after how long people are signed out, whatever they do (default 8h, at most 24h).
	Longest boot.Duration `toml:"longest"`
}

// oidcConfig says whose sign-ins are believed (OpenID Connect). Nothing is looked up at
// the issuer's address but its keys.
type oidcConfig struct {
	// Issuer is the iss of tokens, exactly.
	Issuer string `toml:"issuer"`
	// ClientID is the aud of tokens.
	ClientID string `toml:"client_id"`
	// Algorithms that tokens may be signed with (default RS256).
	Algorithms []string `toml:"algorithms"`
	// JWKSURL is where the issuer's keys are read, https. JWKSFile is a file of them instead.
	JWKSURL  string `toml:"jwks_url"`
	JWKSFile string `toml:"jwks_file"`
	// CA is a PEM file of the authority of whoever answers there (default the system's).
	CA string `toml:"ca"`
	// MaxAge is how long a sign-in counts (default 12h).
	MaxAge boot.Duration `toml:"max_age"`
	// AuthorizeURL and TokenURL are the issuer's endpoints by which browsers sign in, https.
	// With them there are pages at [console] address; without them people are answered by the
	// interface only.
	AuthorizeURL string `toml:"authorize_url"`
	TokenURL     string `toml:"token_url"`
	// UserInfoURL is where the issuer says of a person what their ID token does not: CIS2 needs
	// it.
	UserInfoURL string `toml:"userinfo_url"`
	// EndSessionURL is where people sign out at the issuer, too.
	EndSessionURL string `toml:"end_session_url"`
	// ClientSecretFile holds the client's secret, alone, with mode 0600. Without it the client
	// is a public one.
	ClientSecretFile string `toml:"client_secret_file"`
	// Scopes are what the issuer is asked for (default openid profile; with preset cis2
	// nationalrbacaccess, too).
	Scopes []string `toml:"scopes"`
	// Claims say what of a token is what.
	Claims claimsConfig `toml:"claims"`
}

// claimsConfig names the claims of tokens: a path with dots between members, such as
// realm_access.roles. What is left out is the preset's.
type claimsConfig struct {
	// Preset is cis2 (NHS Care Identity Service 2), entra (Microsoft Entra ID) or keycloak.
	Preset string `toml:"preset"`
	// Subject names the person.
	Subject string `toml:"subject"`
	// UserID is what all of a person's accounts share (CIS2: nhsid_useruid).
	UserID string `toml:"user_id"`
	// Organisation is the ODS code of the person's organisation; not with cis2.
	Organisation string `toml:"organisation"`
	// Role is the role that the person selected.
	Role string `toml:"role"`
	// Roles are the roles that the person has.
	Roles string `toml:"roles"`
	// Activities are those of the role; not with cis2.
	Activities string `toml:"activities"`
	// ACR says how the person proved who they are (default acr).
	ACR string `toml:"acr"`
	// AppRoles are the roles that projects know; not with cis2.
	AppRoles []string `toml:"app_roles"`
	// Organisations gives an ODS code for each value of the claim organisation.
	Organisations map[string]string `toml:"organisations"`
}

// policyConfig is about the policy of re-identification. Two operators set it, with
// keyholder policy set, and it lies in the store.
type policyConfig struct {
	// File is a copy of the policy on this machine. Where it is given, a service whose policy
	// is another does not start.
	File string `toml:"file"`
	// Keep is how long requests are kept, with their reasons and comments (default 9600h, 400
	// days; 744h at least). Then they are erased; the log's entries, which hold neither, stay.
	Keep boot.Duration `toml:"keep"`
	// Mode has to be the policy's: enforce or simulate. It is for those who read this file.
	Mode string `toml:"mode"`
}

// relationshipConfig is the region that answers for a domain's tokens.
type relationshipConfig struct {
	// Domain is the domain's name.
	Domain string `toml:"domain"`
	// URL is the address of the region's service, https://host:port.
	URL string `toml:"url"`
	// CA is a PEM file of the authority of its certificate.
	CA string `toml:"ca"`
	// VerifyKey is its public key, as tokeniser relationships key prints it, or a file that
	// holds it.
	VerifyKey string `toml:"verify_key"`
	// MaxAge is how long its answers count (default and at most 60s).
	MaxAge boot.Duration `toml:"max_age"`
}

func (c *relationshipConfig) region() (r holder.Region, err error) {
	doing := "reading [[relationships]] of domain " + fault.Name(c.Domain)
	text := c.VerifyKey
	if b, err := os.ReadFile(text); err == nil {
		text = strings.TrimSpace(string(b))
	}
	key, err := relationship.ParseVerifyKey(text)
	if err != nil {
		return r, fault.Wrap(fault.Usage, doing, err, "give what the region's operators have sent")
	}
	var roots *x509.CertPool
	if c.CA != "" {
		if roots, err = boot.Authorities("[[relationships]] ca", c.CA); err != nil {
			return r, err
		}
	}
	return holder.Region{Domain: c.Domain, URL: c.URL, Roots: roots, Key: key, MaxAge: time.Duration(c.MaxAge)}, nil
}

// people puts into the options what re-identification needs.
func (c *config) people(env *boot.Environment, o *holder.Options) error {
	for i := range c.Relationships {
		region, err := c.Relationships[i].region()
		if err != nil {
			return err
		}
		o.Regions = append(o.Regions, region)
	}
	if c.Console.Address == "" {
		return nil
	}
	verifier, err := c.OIDC.verifier(env)
	if err != nil {
		return err
	}
	o.SignIn = verifier
	if o.Pages, err = c.pages(env, verifier); err != nil {
		return err
	}
	return c.Policy.apply(o)
}

// Bounds of how long sessions last.
const (
	mostIdle    = time.Hour
	mostLongest = 24 * time.Hour
)

// pages are the console's settings; nil where browsers have nowhere to sign in.
func (c *config) pages(env *boot.Environment, verifier *signin.Verifier) (*holder.Pages, error) {
	const doing = "reading [console]"
	o := &c.OIDC
	if o.AuthorizeURL == "" && o.TokenURL == "" {
		if o.UserInfoURL != "" || o.ClientSecretFile != "" || o.EndSessionURL != "" {
			return nil, fault.New(fault.Usage, "reading [oidc]", "authorize_url and token_url are missing", "give both, or leave out userinfo_url, end_session_url and client_secret_file")
		}
		return nil, nil
	}
	public, err := url.Parse(c.Console.PublicURL)
	if err != nil || public.Scheme != "https" || public.Host == "" || public.User != nil || strings.Trim(public.Path, "/") != "" || public.RawQuery != "" || public.Fragment != "" {
		return nil, fault.New(fault.Usage, doing, "public_url is missing, or is more than an address", "give that by which people come, as in https://reid.example.nhs.uk")
	}
	if c.Console.Idle < 0 || time.Duration(c.Console.Idle) > mostIdle || c.Console.Longest < 0 || time.Duration(c.Console.Longest) > mostLongest {
		return nil, fault.New(fault.Usage, doing, "idle or longest is out of bounds", "give at most 1h and 24h")
	}
	flow, err := o.flow(env, "https://"+public.Host+"/sign-in/callback", verifier)
	if err != nil {
		return nil, err
	}
	return &holder.Pages{SignIn: flow, Organisation: c.Console.Organisation, PublicURL: "https://" + public.Host, Idle: time.Duration(c.Console.Idle), Longest: time.Duration(c.Console.Longest)}, nil
}

// flow is the sign-in of browsers.
func (c *oidcConfig) flow(env *boot.Environment, redirect string, verifier *signin.Verifier) (*codeflow.Flow, error) {
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	o := codeflow.Options{
		AuthorizeURL: c.AuthorizeURL, TokenURL: c.TokenURL, UserInfoURL: c.UserInfoURL, EndSessionURL: c.EndSessionURL, ClientID: c.ClientID, RedirectURI: redirect,
		Scopes: c.Scopes, Roots: roots, Verifier: verifier, Clock: env.Wall, Rand: env.Rand,
	}
	if o.Scopes == nil {
		o.Scopes = []string{"openid", "profile"}
		if c.Claims.Preset == signin.PresetCIS2 {
			o.Scopes = append(o.Scopes, "nationalrbacaccess")
		}
	}
	if o.Secret, err = c.secret(); err != nil {
		return nil, err
	}
	return codeflow.New(o)
}

// secret reads the client's secret into a closure, which prints nothing; nil is none.
func (c *oidcConfig) secret() (func() string, error) {
	if c.ClientSecretFile == "" {
		return nil, nil
	}
	b, err := keys.ReadSecret(c.ClientSecretFile)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	text := strings.TrimSpace(string(b))
	if text == "" {
		return nil, fault.New(fault.Usage, "reading [oidc]", "client_secret_file is empty", "put the client's secret into it, alone")
	}
	return func() string { return text }, nil
}

// roots are the authorities of whoever answers at the issuer's addresses.
func (c *oidcConfig) roots() (roots *x509.CertPool, err error) {
	if c.CA != "" {
		return boot.Authorities("[oidc] ca", c.CA)
	}
	if roots, err = x509.SystemCertPool(); err != nil {
		return nil, fault.Wrap(fault.Usage, "reading [oidc]", err, "give the authority of the issuer's certificate as ca")
	}
	return roots, nil
}

// verifier reads whose sign-ins are believed.
func (c *oidcConfig) verifier(env *boot.Environment) (*signin.Verifier, error) {
	source, err := c.keys(env)
	if err != nil {
		return nil, err
	}
	algorithms := c.Algorithms
	if len(algorithms) == 0 {
		algorithms = []string{"RS256"}
	}
	return signin.New(signin.Options{
		Issuer: c.Issuer, Audience: c.ClientID, Algorithms: algorithms, Keys: source, MaxAge: time.Duration(c.MaxAge), Clock: env.Wall,
		Claims: signin.Claims{
			Preset: c.Claims.Preset, Subject: c.Claims.Subject, UserID: c.Claims.UserID, Organisation: c.Claims.Organisation, Role: c.Claims.Role, Roles: c.Claims.Roles,
			Activities: c.Claims.Activities, Assurance: c.Claims.ACR, AppRoles: c.Claims.AppRoles, Organisations: c.Claims.Organisations,
		},
	})
}

func (c *oidcConfig) keys(env *boot.Environment) (signin.KeySource, error) {
	const doing = "reading [oidc]"
	switch {
	case (c.JWKSURL == "") == (c.JWKSFile == ""):
		return nil, fault.New(fault.Usage, doing, "of jwks_url and jwks_file one is needed, and not both", "give the address of the issuer's keys, or a file of them")
	case c.JWKSFile != "":
		return signin.KeysInFile(c.JWKSFile, env.Logger)
	}
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	return signin.KeysAtURL(signin.URLOptions{URL: c.JWKSURL, Roots: roots, Clock: env.Wall, Logger: env.Logger})
}

// leastKeep is how long limits look back, and a day.
const leastKeep = reidentify.Remembered + 24*time.Hour

// apply has the service compare the policy that is set with the copy on this machine.
func (c *policyConfig) apply(o *holder.Options) error {
	const doing = "reading [policy]"
	if c.Mode != "" && c.Mode != string(reidentify.Enforce) && c.Mode != string(reidentify.Simulate) {
		return fault.New(fault.Usage, doing, "mode is neither enforce nor simulate", "give what the policy says, or leave it out")
	}
	if c.Keep != 0 && time.Duration(c.Keep) < leastKeep {
		return fault.New(fault.Usage, doing, "keep is shorter than 744h", "give 31 days at least: limits count a month of requests")
	}
	o.PolicyMode, o.KeepRequests = reidentify.Mode(c.Mode), time.Duration(c.Keep)
	if c.File == "" {
		return nil
	}
	document, err := readPolicy(c.File)
	if err != nil {
		return err
	}
	policy, err := reidentify.ParsePolicy(document)
	if err != nil {
		return err
	}
	o.PolicyDigest = policy.Digest()
	return nil
}
