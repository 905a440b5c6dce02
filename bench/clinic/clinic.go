// Package clinic is a key holder whose pages people use, for tests, demonstrations and
// whoever wants to click through them: the service as a process of its own, a provider at
// which made-up people sign in, a region with patients of two practices, somebody who hears
// alarms, projects and a policy.
package clinic

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tarn/bench/care"
	"tarn/bench/enumerate"
	"tarn/bench/idp"
	"tarn/bench/keyholder"
	"tarn/bench/process"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/trialcert"
)

// Options are what a clinic is made of.
type Options struct {
	Folder   string // an existing one
	Binary   string // the key holder's program
	Address  string // of the pages, host:port on this machine; empty is any
	Patients int    // of practice A, of B and of neither, in turn; 0 is 30
	Doctors  int    // of practice A, beside the test users: see Doctor
	LogLevel string // of the key holder; empty is error
	Limits   string // the table [limits] of the policy, without its head; empty is an ordinary policy's
	Software string
	Clock    func() time.Time
}

// Clinic is a clinic that is open.
type Clinic struct {
	*care.Site
	Console  string // the address of the pages
	Provider *idp.Provider
	Duty     *enumerate.Duty // hears alarms
	Roots    *x509.CertPool  // of both certificates
	// Certificate is the PEM file of the certificate that the pages and the provider show, and
	// Authority that of its authority.
	Certificate, Authority string

	users []idp.User
	stop  context.CancelFunc
}

const tlsFolder = "people-tls"

// policy is who may do what. Its limits are those of an ordinary policy.
const policy = `schema = "tarn.policy/1"
operators = ["555000000012", "555000000013"]
[limits]
%[2]s
[break_glass]
assurances = ["` + idp.AAL3 + `"]
[[guardian]]
roles = ["` + idp.RoleReviewer + `"]
organisations = ["` + idp.ICB + `"]
[[organisation]]
code = "` + idp.PracticeA + `"
list_size = 9000
working_days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
[[organisation]]
code = "` + idp.PracticeB + `"
list_size = 7000
[[organisation]]
code = "` + idp.Trust + `"
nights = true
working_days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
[[project]]
name = "` + care.Project + `"
issuer = "%[1]s"
controllers = ["` + idp.ICB + `"]
[[project.allow]]
roles = ["` + idp.RoleGP + `"]
purposes = ["TREAT"]
when = "relationship"
[[project.allow]]
roles = ["` + idp.RoleGP + `"]
purposes = ["PATSFTY"]
when = "approval"
[[project.allow]]
roles = ["` + idp.RoleClinician + `"]
purposes = ["TREAT"]
when = "relationship"
[[project.allow]]
roles = ["` + idp.RoleAnalyst + `"]
purposes = ["CAREMGT"]
when = "route"
[[project.allow]]
roles = ["` + idp.RoleAnalyst + `"]
purposes = ["HQUALIMP"]
when = "approval"
[[project.approver]]
roles = ["` + idp.RoleApprover + `"]
organisations = ["` + idp.ICB + `"]
[[project.reviewer]]
roles = ["` + idp.RoleReviewer + `"]
organisations = ["` + idp.ICB + `"]
[[project.break_glass]]
roles = ["` + idp.RoleClinician + `"]
`

// signInText is what keyholder.toml says of people.
const signInText = `[console]
address = %[1]q
public_url = "https://%[1]s"
organisation = "Example Key Holder"
tls_cert = %[2]q
tls_key = %[3]q
[oidc]
issuer = %[4]q
client_id = %[5]q
jwks_url = %[6]q
authorize_url = "%[4]s/authorize"
token_url = "%[4]s/oauth/token"
userinfo_url = "%[4]s/userinfo"
end_session_url = "%[4]s/end_session"
client_secret_file = %[7]q
ca = %[8]q
[oidc.claims]
preset = "cis2"
`

// Open makes a clinic and opens it. It closes with Close.
func Open(ctx context.Context, o Options) (c *Clinic, err error) {
	if o.Patients == 0 {
		o.Patients = 30
	}
	if o.LogLevel == "" {
		o.LogLevel = "error"
	}
	c = &Clinic{Roots: x509.NewCertPool()}
	ctx, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
			c = nil
		}
	}()
	if o.Address == "" {
		if o.Address, err = process.FreeAddress(); err != nil {
			return c, err
		}
	}
	c.Console, c.users = "https://"+o.Address, append(idp.Users(), doctors(o.Doctors)...)
	if c.Duty, err = enumerate.NewDuty(); err != nil {
		return c, err
	}
	signIn, err := c.serveSignIn(ctx, &o)
	if err != nil {
		return c, err
	}
	c.Site, err = care.Begin(ctx, care.Options{
		Patients: o.Patients, SignIn: signIn, Policy: fmt.Sprintf(policy, c.Provider.URL, o.Limits), Practices: []string{idp.PracticeA, idp.PracticeB, ""}, Record: record,
		Keyholder: keyholder.Options{Binary: o.Binary, Folder: o.Folder, AlertsURL: c.Duty.URL, LogLevel: o.LogLevel, Software: o.Software, Clock: o.Clock, Metrics: true},
	})
	if err != nil {
		return c, err
	}
	return c, c.furnish(ctx)
}

// record says of the project what the register shows.
func record(text string) string {
	return strings.NewReplacer(
		`"purpose":"bench"`, `"purpose":"Direct care, and finding patients whom their own practice then looks after"`,
		`"legal_basis":{}`, `"legal_basis":{"article6":"6(1)(e) public task","article9":"9(2)(h) health or social care","confidentiality":"direct care: implied consent","refs":["EXAMPLE-DPIA-12"]}`,
		`"controllers":["X26"]`, `"controllers":["`+idp.ICB+`"]`,
		`"parties":[{"source_dataset":"north"}]`, `"parties":[{"source_dataset":"north","ods":"`+idp.PracticeA+`"},{"source_dataset":"hospital","ods":"`+idp.Trust+`"}]`,
		`"mode":"direct","approvals":1`, `"mode":"direct","approvals":1,"purposes":["TREAT","CAREMGT","HQUALIMP","PATSFTY"]`,
	).Replace(text)
}

// serveSignIn serves the provider, and returns what the key holder is told of it.
func (c *Clinic) serveSignIn(ctx context.Context, o *Options) (string, error) {
	folder := filepath.Join(o.Folder, tlsFolder)
	if err := trialcert.Make(folder, []string{"localhost", "127.0.0.1"}, nil, time.Now()); err != nil {
		return "", err
	}
	c.Certificate, c.Authority = filepath.Join(folder, trialcert.ServerCert), filepath.Join(folder, trialcert.AuthorityFile)
	pair, err := tls.LoadX509KeyPair(c.Certificate, filepath.Join(folder, trialcert.ServerKey))
	if err != nil {
		return "", fault.Wrap(fault.Internal, "reading the pages' certificate", err, "")
	}
	pem, err := os.ReadFile(c.Authority)
	if err != nil || !c.Roots.AppendCertsFromPEM(pem) {
		return "", fault.New(fault.Internal, "reading the pages' certificate", "its authority cannot be read", "")
	}
	const secret = "the secret of a made-up client"
	secretFile := filepath.Join(o.Folder, "client-secret")
	if err := keys.WriteFile(secretFile, []byte(secret)); err != nil {
		return "", err
	}
	c.Provider, err = idp.Serve(ctx, idp.Options{Users: c.users, Certificate: pair, Roots: c.Roots, ClientSecret: secret, RolesApart: true, RedirectURIs: []string{c.Console + "/sign-in/callback"}, LeftURIs: []string{c.Console + "/signed-out"}})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(signInText, o.Address, c.Certificate, filepath.Join(folder, trialcert.ServerKey), c.Provider.URL, c.Provider.ClientID, c.Provider.JWKSURL, secretFile, c.Authority), nil
}

// registry is a domain into which tokens may be converted.
const registry = "registry"

// furnish adds what else the register shows, a project that nobody re-identifies and a
// conversion, and has changes need two operators from then on.
func (c *Clinic) furnish(ctx context.Context) error {
	text := string(keyholder.Record("planning", care.Domain, keys.SchemeOblivious))
	if err := c.AddProject(ctx, []byte(strings.NewReplacer(`"purpose":"bench"`, `"purpose":"Planning of services: counts only"`, `"controllers":["X26"]`, `"controllers":["`+idp.ICB+`"]`,
		`"legal_basis":{}`, `"legal_basis":{"article6":"6(1)(e) public task","article9":"9(2)(h) health or social care","confidentiality":"section 251 support"}`).Replace(text))); err != nil {
		return err
	}
	if err := c.AddDomain(ctx, registry, keys.SchemeOblivious); err != nil {
		return err
	}
	if err := c.AddGrant(ctx, api.GrantAdd{
		Name: "registry-2026", Kind: api.GrantConvert, From: care.Domain, To: registry, Purpose: "A registry of a disease", LegalBasis: "section 251 support", OptOuts: "2026-11", RowCap: 1000, Expires: c.Clock().Add(90 * 24 * time.Hour),
	}); err != nil {
		return err
	}
	if err := c.Stop(); err != nil {
		return err
	}
	config, err := os.ReadFile(c.Config)
	if err != nil {
		return fault.Wrap(fault.Internal, "configuring the key holder", err, "")
	}
	if err := os.WriteFile(c.Config, []byte(strings.Replace(string(config), "required = 1", "required = 2", 1)), 0o600); err != nil {
		return fault.Wrap(fault.Internal, "configuring the key holder", err, "")
	}
	return c.Start(ctx)
}

// Doctor is the name of one of the further doctors for the provider, from 0.
func Doctor(i int) string { return fmt.Sprintf("doctor-%d", i) }

func doctors(n int) (all []idp.User) {
	for i := range n {
		number := fmt.Sprintf("%06d", 100+i)
		all = append(all, idp.User{ID: Doctor(i), Name: "Dr " + number, Subject: "910001" + number, UserID: "555001" + number, Roles: []idp.Role{{
			ID: "600001" + number, Organisation: idp.PracticeA, Code: idp.RoleGP, Name: "General practitioner", Activities: []string{idp.ActivityDirectCare},
		}}})
	}
	return all
}

// Of are the tokens of a practice's patients; of nobody's where it is empty.
func (c *Clinic) Of(practice string) (tokens []care.Patient) {
	for _, p := range c.Patients {
		if p.Practice == practice {
			tokens = append(tokens, p)
		}
	}
	return tokens
}

// Close ends all.
func (c *Clinic) Close() (err error) {
	if c.Site != nil {
		err = c.Site.Close()
	}
	c.stop()
	if c.Provider != nil {
		err = errors.Join(err, c.Provider.Wait())
	}
	if c.Duty != nil {
		err = errors.Join(err, c.Duty.Close())
	}
	return err
}

// Visitor is somebody's browser as a program, which shows nothing: signed in, with cookies,
// following where it is sent.
func (c *Clinic) Visitor(ctx context.Context, user, acr string) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	b := &http.Client{Jar: jar, Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true}}
	get := func(verb, address string, form url.Values) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, verb, address, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := b.Do(r)
		if err == nil {
			err = answer.Body.Close()
		}
		return answer, err
	}
	answer, err := get(http.MethodGet, c.Console+"/sign-in/start", nil)
	if err != nil {
		return nil, err
	}
	role := ""
	for _, u := range c.users {
		if u.ID == user && len(u.Roles) > 0 {
			role = u.Roles[0].ID
		}
	}
	form := url.Values{"request": {answer.Request.URL.Query().Get("request")}, "user": {user + "/" + role}, "acr": {acr}}
	if answer, err = get(http.MethodPost, c.Provider.URL+"/login", form); err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK || "https://"+answer.Request.URL.Host != c.Console {
		return nil, fault.New(fault.Internal, "signing in to the pages", fmt.Sprintf("status %d", answer.StatusCode), "")
	}
	return b, nil
}
