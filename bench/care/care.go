// Package care makes what re-identification needs, for benchmarks and fault scenarios: a
// key holder as a process of its own where people sign in, a project whose tokens may be
// opened, patients with tokens, and a region that answers whose patients they are. Tokens
// of sign-ins are signed here, by a key of which the key holder has the public half in a
// file: the sign-in itself is tried with package idp.
package care

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"tarn/bench/keyholder"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/escrow"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/relationship"
	"tarn/keys/secret"
	"tarn/keys/trialcert"
	service "tarn/tokenise/relationship"
)

// What there is.
const (
	Issuer   = "https://sign-in.example.nhs.uk"
	ClientID = "tarn"
	Project  = "care"
	Domain   = "pond"
	Practice = "Y12345" // with whom all patients are registered
	Other    = "Y54321" // with whom none is
	Board    = "QMJ"    // the data controller
	Hospital = "RX1"

	// Tokeniser is the name of the client that makes tokens of the project.
	Tokeniser = "shore"
)

// Policy is who may ask for what here.
const Policy = `schema = "tarn.policy/1"
[break_glass]
assurances = ["AAL3"]
[[guardian]]
roles = ["guardian"]
organisations = ["QMJ"]
[[project]]
name = "care"
issuer = "https://sign-in.example.nhs.uk"
controllers = ["QMJ"]
[[project.allow]]
roles = ["gp"]
purposes = ["TREAT"]
when = "relationship"
[[project.allow]]
roles = ["analyst"]
purposes = ["CAREMGT"]
when = "route"
[[project.allow]]
roles = ["analyst"]
purposes = ["HQUALIMP"]
when = "approval"
[[project.approver]]
roles = ["approver"]
organisations = ["QMJ"]
[[project.reviewer]]
roles = ["guardian"]
organisations = ["QMJ"]
[[project.break_glass]]
roles = ["emergency"]
`

// Options are what a site is made of.
type Options struct {
	Keyholder keyholder.Options // Folder, Binary, Software and Clock at least
	Patients  int
	Scheme    string // of tokens: oblivious where it is empty, or keyed-hash
	Policy    string // who may ask for what; empty is [Policy]
	// SignIn is what keyholder.toml says of [console] and [oidc], where people sign in elsewhere;
	// empty: tokens of sign-ins are signed by the site.
	SignIn string
	// Record changes the project's record; nil leaves it.
	Record func(string) string
	// Practices are those with whom patients are registered, in turn; an empty one is none.
	// Without any all are with [Practice].
	Practices []string
}

// Patient is somebody with a token.
type Patient struct {
	Number, Token string
	Practice      string // with whom they are registered; empty is nowhere
}

// Site is a key holder with people, patients and a region.
type Site struct {
	*keyholder.KeyHolder
	Patients []Patient
	Region   string // the address of the region's service, https://host:port

	signer  *rsa.PrivateKey
	options Options
	scheme  string
	sealed  envelopes // of scheme keyed-hash
	stopped chan error
	stop    context.CancelFunc
}

// KeyID names the issuer's key.
const KeyID = "trial"

// Begin makes a site and starts it.
func Begin(ctx context.Context, o Options) (s *Site, err error) {
	if o.Policy == "" {
		o.Policy = Policy
	}
	if o.Practices == nil {
		o.Practices = []string{Practice}
	}
	s = &Site{scheme: o.Scheme, options: o}
	if s.scheme == "" {
		s.scheme = keys.SchemeOblivious
	}
	if s.signer, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, fault.Wrap(fault.Internal, "drawing the issuer's key", err, "")
	}
	set, err := json.Marshal(map[string]any{"keys": []any{jose.JSONWebKey{Key: s.signer.Public(), KeyID: KeyID, Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "writing the issuer's key", err, "")
	}
	jwks := filepath.Join(o.Keyholder.Folder, "jwks.json")
	if err := keys.WriteFile(jwks, set); err != nil {
		return nil, err
	}
	address, key, err := s.prepareRegion(o.Keyholder.Folder)
	if err != nil {
		return nil, err
	}
	s.Region = "https://" + address
	in := func(name string) string { return filepath.Join(o.Keyholder.Folder, name) }
	if o.SignIn == "" {
		o.SignIn = fmt.Sprintf(`[console]
address = "127.0.0.1:0"
[oidc]
issuer = %q
client_id = %q
jwks_file = %q
[oidc.claims]
preset = "cis2"
`, Issuer, ClientID, jwks)
	}
	o.Keyholder.More += o.SignIn + fmt.Sprintf(`[[relationships]]
domain = %q
url = "https://%s"
ca = %q
verify_key = %q
`, Domain, address, in(regionTLS+"/"+trialcert.AuthorityFile), relationship.VerifyKeyText(key.Public()))
	if s.KeyHolder, err = keyholder.Begin(ctx, o.Keyholder); err != nil {
		return nil, err
	}
	fail := func(err error) (*Site, error) { return nil, errors.Join(err, s.Close()) }
	if err := s.populate(ctx, o.Patients); err != nil {
		return fail(err)
	}
	if err := s.startRegion(ctx, address); err != nil {
		return fail(err)
	}
	return s, nil
}

const (
	regionTLS   = "region-tls"
	regionTable = "region-table"
	signingFile = "region-signing.key"
)

// prepareRegion makes what the region listens and signs with.
func (s *Site) prepareRegion(folder string) (address string, key service.SigningKey, err error) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", key, fault.Wrap(fault.Internal, "choosing the region's address", err, "")
	}
	address = socket.Addr().String()
	if err := socket.Close(); err != nil {
		return "", key, fault.Wrap(fault.Internal, "choosing the region's address", err, "")
	}
	if err := trialcert.Make(filepath.Join(folder, regionTLS), []string{"localhost", "127.0.0.1"}, []string{"nobody"}, time.Now()); err != nil {
		return "", key, err
	}
	if key, err = service.NewSigningKey(nil); err != nil {
		return "", key, err
	}
	return address, key, key.Write(filepath.Join(folder, signingFile))
}

// populate makes the project, the policy and the patients.
func (s *Site) populate(ctx context.Context, patients int) error {
	record := strings.Replace(string(keyholder.Record(Project, Domain, s.scheme)), `"reidentify":{"mode":"none"}`, `"reidentify":{"mode":"direct","approvals":1}`, 1)
	if change := s.options.Record; change != nil {
		record = change(record)
	}
	if err := s.AddDomain(ctx, Domain, s.scheme); err != nil {
		return err
	}
	if err := s.AddProject(ctx, []byte(record)); err != nil {
		return err
	}
	if err := s.SetPolicy(ctx, s.options.Policy); err != nil {
		return err
	}
	if err := s.AddTokeniser(ctx, Tokeniser, Project); err != nil {
		return err
	}
	return s.mint(ctx, patients)
}

// mint makes the patients' tokens, as a region's tokeniser does.
func (s *Site) mint(ctx context.Context, n int) error {
	numbers := Numbers(n)
	c, err := s.As(Tokeniser)
	if err != nil {
		return err
	}
	defer c.Close()
	running, session, err := client.Open(ctx, c, s.Clock, Project, int64(n), api.UseToken)
	if err != nil {
		return err
	}
	project, file := session.Keys()
	var tokens [][keys.TokenSize]byte
	if s.scheme == keys.SchemeKeyedHash {
		tokens, err = s.seal(project, file, numbers)
	} else {
		tokens, err = session.Tokens(running, numbers)
	}
	if err := errors.Join(err, session.Close(ctx)); err != nil {
		return err
	}
	scheme, err := keys.SchemeNo(s.scheme, false)
	if err != nil {
		return err
	}
	for i, n := range numbers {
		t := keys.Token{Scheme: scheme, DomainNo: project.Keys.DomainNo, TokenEpoch: uint16(project.Keys.TokenEpoch), Value: tokens[i]}
		s.Patients = append(s.Patients, Patient{string(n[:]), t.String(), s.options.Practices[i%len(s.options.Practices)]})
	}
	return nil
}

// envelopes are what a region keeps beside tokens of scheme keyed-hash.
type envelopes map[[keys.TokenSize]byte]*escrow.Envelope

// Envelope implements what the region's service asks for.
func (e envelopes) Envelope(_ context.Context, _, _ uint32, token [keys.TokenSize]byte) (*escrow.Envelope, error) {
	return e[token], nil
}

// seal makes tokens with the leased key, and seals whose they are to the key holder.
func (s *Site) seal(project *keys.Project, file *keys.KeyFile, numbers []nhsnumber.Number) ([][keys.TokenSize]byte, error) {
	public, err := hex.DecodeString(*project.Keys.EscrowPublicKey)
	if err != nil {
		return nil, err
	}
	c := escrow.Context{Project: Project, Domain: Domain, TokenEpoch: project.Keys.TokenEpoch, HolderKeyID: escrow.KeyID(public)}
	var id [16]byte
	if _, err := io.ReadFull(rand.Reader, id[:]); err != nil {
		return nil, err
	}
	batch, err := escrow.NewBatch(public, c, id)
	if err != nil {
		return nil, err
	}
	s.sealed = envelopes{}
	key, hasher := file.TokenDeriver(project.Keys.TokenEpoch), secret.NewHasher()
	defer key.Destroy()
	mac := key.MAC()
	tokens := make([][keys.TokenSize]byte, len(numbers))
	for i, n := range numbers {
		tokens[i] = *hasher.Sum(mac, n[:])
		item, index, err := batch.Seal(nil, tokens[i], n)
		if err != nil {
			return nil, err
		}
		s.sealed[tokens[i]] = &escrow.Envelope{HolderKeyID: c.HolderKeyID, Batch: batch.ID, Enc: batch.Enc, Index: index, Token: tokens[i], Sealed: item}
	}
	return tokens, nil
}

// Numbers are so many numbers that nobody has been given.
func Numbers(n int) (numbers []nhsnumber.Number) {
	for i := 0; len(numbers) < n; i++ {
		first := [9]byte([]byte(fmt.Sprintf("943%06d", i)))
		if digit, is := nhsnumber.CheckDigit(first); is {
			numbers = append(numbers, nhsnumber.Number(append(first[:], digit)))
		}
	}
	return numbers
}

// startRegion loads the table, and answers.
func (s *Site) startRegion(ctx context.Context, address string) error {
	in := func(name string) string { return filepath.Join(s.Folder, name) }
	var table strings.Builder
	table.WriteString("token,organisation,from,to,relationship\n")
	for _, p := range s.Patients {
		if p.Practice != "" {
			fmt.Fprintf(&table, "%s,%s,2020-01-01,,registered\n", p.Token, p.Practice)
		}
	}
	if err := os.WriteFile(in("relationships.csv"), []byte(table.String()), 0o600); err != nil {
		return fault.Wrap(fault.Internal, "writing the region's table", err, "")
	}
	if _, err := service.Load(ctx, service.LoadOptions{In: in("relationships.csv"), Dir: in(regionTable), Threads: 1, Software: s.Software, Clock: s.Clock, Wall: s.Clock}); err != nil {
		return err
	}
	c := service.Config{
		Address: address, TLSCert: in(regionTLS + "/" + trialcert.ServerCert), TLSKey: in(regionTLS + "/" + trialcert.ServerKey), ClientCA: s.CA(), Clients: []string{"keyholder"},
		SigningKeyFile: in(signingFile), Dir: in(regionTable), ChecksPerSecond: 1e6, ChecksBurst: 1e6,
	}
	region, listen, err := c.Open(s.sealed, s.Clock, slog.New(slog.DiscardHandler), nothing{})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop, s.stopped = stop, make(chan error, 1)
	ready := make(chan struct{})
	go func() { s.stopped <- region.Serve(running, listen, func(net.Addr) { close(ready) }) }()
	select {
	case <-ready:
		return nil
	case err := <-s.stopped:
		s.stopped <- err
		return err
	}
}

// RegionAway ends the region's service.
func (s *Site) RegionAway() error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	s.stop = nil
	return <-s.stopped
}

// Close ends all.
func (s *Site) Close() error { return errors.Join(s.RegionAway(), s.Kill()) }

// Person is somebody who signs in.
type Person struct {
	Subject, UserID, Organisation, Role, Assurance string
	Session                                        string // empty is one of their own
	Now                                            time.Time
}

// Token is the token of a sign-in. change may change its claims; it may be nil.
func (s *Site) Token(p Person, change func(claims map[string]any)) (string, error) {
	claims := s.Claims(p)
	if change != nil {
		change(claims)
	}
	return s.Sign(claims)
}

// Claims are those of the token of a sign-in.
func (s *Site) Claims(p Person) map[string]any {
	if p.Now.IsZero() {
		p.Now = s.Clock()
	}
	if p.Session == "" {
		p.Session = p.Subject
	}
	if p.UserID == "" {
		p.UserID = "user-" + p.Subject
	}
	if p.Assurance == "" {
		p.Assurance = "AAL2"
	}
	return map[string]any{
		"iss": Issuer, "aud": ClientID, "sub": p.Subject, "sid": p.Session, "iat": p.Now.Unix(), "exp": p.Now.Add(time.Hour).Unix(), "auth_time": p.Now.Unix(), "acr": p.Assurance,
		"nhsid_useruid": p.UserID, "selected_roleid": "555",
		"nhsid_nrbac_roles": []any{map[string]any{"person_roleid": "555", "org_code": p.Organisation, "role_code": p.Role, "activity_codes": []string{"B0264"}}},
	}
}

// Sign signs claims as the issuer does.
func (s *Site) Sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims, json.Deterministic(true))
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: s.signer, KeyID: KeyID}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// RegionCA is the path of the authority of the region's certificate, PEM.
func (s *Site) RegionCA() string {
	return filepath.Join(s.Folder, regionTLS, trialcert.AuthorityFile)
}

// RegionStranger is a certificate of the region's own authority, by which it knows nobody,
// and its key.
func (s *Site) RegionStranger() (tls.Certificate, error) {
	folder := filepath.Join(s.Folder, regionTLS)
	return tls.LoadX509KeyPair(filepath.Join(folder, "nobody.pem"), filepath.Join(folder, "nobody.key"))
}

// Key is the issuer's key.
func (s *Site) Key() *rsa.PrivateKey { return s.signer }

// SignedIn is a client of somebody who has signed in.
func (s *Site) SignedIn(p Person) (*client.Person, error) {
	token, err := s.Token(p, nil)
	if err != nil {
		return nil, err
	}
	var id [8]byte
	if _, err := io.ReadFull(rand.Reader, id[:]); err != nil {
		return nil, err
	}
	path := filepath.Join(s.Folder, "sign-in-"+hex.EncodeToString(id[:]))
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		return nil, fault.Wrap(fault.Internal, "writing a token", err, "")
	}
	defer func() { _ = os.Remove(path) }()
	return client.SignedIn(s.People, s.CA(), path, s.Clock)
}

// NewID is an id for a request.
func NewID() string { return uuid.NewString() }

// nothing counts for nobody.
type nothing struct{}

func (nothing) Request(string, int, time.Duration) {}
func (nothing) Routed(int)                         {}
func (nothing) Stranger()                          {}
