package holder_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/enrol"
	"tarn/keys/holder"
)

// meter counts for nobody.
type meter struct{}

func (meter) Request(string, int, time.Duration) {}
func (meter) Evaluated(int)                      {}
func (meter) Leased(string)                      {}
func (meter) Refused(string, string)             {}
func (meter) Appended(int, time.Duration)        {}
func (meter) LogFailing(bool)                    {}
func (meter) Alarmed(string)                     {}
func (meter) AlertDelivered()                    {}
func (meter) AlertFailed()                       {}

// site is a deployment, as its operators see it.
type site struct {
	t       *testing.T
	options holder.Options
	made    *holder.Initialised
	now     func() time.Time
	late    atomic.Int64 // how far the clock is ahead, in nanoseconds

	holder  *holder.Holder
	address string
	stop    func()
	ca      *x509.CertPool
	log     *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSite(t *testing.T, custody holder.Custody) *site {
	t.Helper()
	s := &site{t: t, log: new(lockedBuffer)}
	s.now = func() time.Time { return time.Now().UTC().Add(time.Duration(s.late.Load())) }
	dir, anchor := filepath.Join(t.TempDir(), "holder"), filepath.Join(t.TempDir(), "anchor.json")
	made, err := holder.Init(t.Context(), holder.InitOptions{
		Dir: dir, Anchor: anchor, Custody: custody, Name: "holder", Organisation: "X26", Operators: []string{"ann", "bob"}, Hosts: []string{"127.0.0.1"},
		Software: "test", Clock: s.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.made = made
	s.options = holder.Options{
		Dir: dir, Anchor: anchor, Name: "holder", Software: "test", OperatorsRequired: 2, FreeFloor: 1, Clock: s.now,
		Logger: slog.New(slog.NewTextHandler(s.log, nil)), Meter: meter{},
	}
	s.start()
	return s
}

// start serves the deployment, sealed.
func (s *site) start() {
	s.t.Helper()
	h, err := holder.New(s.options)
	if err != nil {
		s.t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(s.options.Dir, holder.AuthorityFile))
	if err != nil {
		s.t.Fatal(err)
	}
	s.holder, s.ca = h, x509.NewCertPool()
	s.ca.AppendCertsFromPEM(pem)
	ctx, cancel := context.WithCancel(context.Background())
	listening, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- h.Serve(ctx, holder.Listen{
			Address: "127.0.0.1:0", Cert: filepath.Join(s.options.Dir, holder.ServerCertFile), Key: filepath.Join(s.options.Dir, holder.ServerKeyFile),
		}, func(a net.Addr) { listening <- a })
	}()
	select {
	case a := <-listening:
		s.address = a.String()
	case err := <-ended:
		s.t.Fatal(err)
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("serving ended with %v", err)
		}
	})
	s.t.Cleanup(s.stop)
}

func (s *site) unseal() {
	s.t.Helper()
	if _, err := s.holder.Unseal(s.t.Context(), api.Unseal{Identity: string(s.made.Identity)}); err != nil {
		s.t.Fatal(err)
	}
}

// caller is somebody with a certificate, or without.
type caller struct {
	site    *site
	http    *http.Client
	keys    enrol.ClientKeys
	digest  [sha256.Size]byte
	sealing []byte
}

func (s *site) anyone() *caller { return s.with(nil) }

func (s *site) with(certificate *tls.Certificate) *caller {
	config := &tls.Config{RootCAs: s.ca, MinVersion: tls.VersionTLS13}
	if certificate != nil {
		config.Certificates = []tls.Certificate{*certificate}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &caller{site: s, http: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
}

// call sends a request and returns the answer's status and body.
func (c *caller) call(verb, path string, body any) (int, []byte) {
	c.site.t.Helper()
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			c.site.t.Fatal(err)
		}
		content = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(c.site.t.Context(), verb, "https://"+c.site.address+path, content)
	if err != nil {
		c.site.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-ID", uuid.NewString())
	answer, err := c.http.Do(request)
	if err != nil {
		c.site.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		c.site.t.Fatal(err)
	}
	if early := answer.StatusCode == http.StatusTooManyRequests; early && !regexp.MustCompile(`^[1-9][0-9]*$`).MatchString(answer.Header.Get("Retry-After")) {
		c.site.t.Errorf("%s %s: 429 without Retry-After", verb, path)
	}
	if answer.Header.Get("Cache-Control") != "no-store" || answer.Header.Get("X-Request-ID") != request.Header.Get("X-Request-ID") {
		c.site.t.Errorf("%s %s: headers %v", verb, path, answer.Header)
	}
	return answer.StatusCode, b
}

func (c *caller) certificate() tls.Certificate {
	return c.http.Transport.(*http.Transport).TLSClientConfig.Certificates[0]
}

// must is call for what is expected to succeed.
func must[T any](c *caller, verb, path string, body any) (document T) {
	c.site.t.Helper()
	status, b := c.call(verb, path, body)
	if status >= 300 {
		c.site.t.Fatalf("%s %s: %d %s", verb, path, status, b)
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &document); err != nil {
			c.site.t.Fatalf("%s %s: %v in %s", verb, path, err, b)
		}
	}
	return document
}

// refused is call for what is expected to be refused with a code.
func (c *caller) refused(code api.Code, verb, path string, body any) {
	c.site.t.Helper()
	status, b := c.call(verb, path, body)
	var p api.Problem
	if err := json.Unmarshal(b, &p); err != nil || p.Code != code || p.Status != status || status != api.Codes()[code] {
		c.site.t.Errorf("%s %s: %d %s, want a problem %s", verb, path, status, b, code)
	}
}

// enrol exchanges a code for a certificate.
func (s *site) enrol(code string) *caller {
	s.t.Helper()
	made, err := enrol.NewClientKeys()
	if err != nil {
		s.t.Fatal(err)
	}
	enrolled := must[api.Enrolled](s.anyone(), "POST", "/v1/enrol", api.EnrolRequest{Code: code, CSR: made.CSR, SealingKey: made.SealingPublic})
	var certificate tls.Certificate
	var sealing []byte
	err = made.UsePrivate(func(tlsKey, sealingKey []byte) error {
		sealing = bytes.Clone(sealingKey)
		certificate, err = tls.X509KeyPair(pemOf(enrolled.Certificate), tlsKey)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	c := s.with(&certificate)
	c.keys, c.digest, c.sealing = made, sha256.Sum256(enrolled.Certificate), sealing
	return c
}

func (s *site) operators() (ann, bob *caller) {
	return s.enrol(s.made.Codes["ann"]), s.enrol(s.made.Codes["bob"])
}

// change has one operator ask and the other approve, and collects.
func change(ann, bob *caller, kind api.OperationKind, body any) api.Collected {
	ann.site.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		ann.site.t.Fatal(err)
	}
	o := must[api.Operation](ann, "POST", "/v1/operations", api.OperationRequest{Kind: kind, Body: raw})
	o = must[api.Operation](bob, "POST", "/v1/operations/"+o.ID+"/approvals", api.ApprovalRequest{Decision: api.DecisionApprove, Hash: o.Hash})
	if !o.Collect {
		return api.Collected{}
	}
	return must[api.Collected](ann, "POST", "/v1/operations/"+o.ID+"/collections", nil)
}

const record = `{"schema":"tarn.project/1","name":"study","domain":"lake","scheme":"keyed-hash","profile":"nhs-field-dob-1","purpose":"care",
	"legal_basis":{},"controllers":["X26"],"parties":[{"source_dataset":"north"}],"opt_outs":{"ndoo":true,"type1":true,"local":false},"groups":[],
	"keys":{"domain_no":0,"token_epoch":0,"token_public_key":null,"token_kcv":null,"encoding_epoch":0,"encoding_kcv":null},"reidentify":{"mode":"none"},"expires":"2999-12-31"}`

// prepare makes a domain, a project and a tokeniser of it.
func prepare(ann, bob *caller) (north *caller) {
	change(ann, bob, api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: "keyed-hash"})
	change(ann, bob, api.OpProjectAdd, api.ProjectAdd{Record: []byte(record)})
	c := change(ann, bob, api.OpClientAdd, api.ClientAdd{Name: "north", Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{"study"}})
	return ann.site.enrol(c.Code)
}

// lease leases a key and opens it.
func (c *caller) lease(use api.Use) (api.Lease, string) {
	c.site.t.Helper()
	l := must[api.Lease](c, "POST", "/v1/projects/study/leases", api.LeaseRequest{Use: use, RowsExpected: 5})
	private, err := api.LeaseKEM().NewPrivateKey(c.sealing)
	if err != nil {
		c.site.t.Fatal(err)
	}
	key, err := l.Open(private, c.digest)
	if err != nil {
		c.site.t.Fatal(err)
	}
	return l, api.KeyCheck(api.UseEncoding, key, "", 0)
}

// TestFromSealedToLease: sealed it answers its health only; unsealed, two
// operators set it up, and a tokeniser leases keys that are the same after a
// restart.
func TestFromSealedToLease(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	anyone := s.anyone()
	if status, _ := anyone.call("GET", "/livez", nil); status != 200 {
		t.Errorf("livez: %d", status)
	}
	anyone.refused(api.CodeSealed, "GET", "/readyz", nil)
	anyone.refused(api.CodeSealed, "POST", "/v1/enrol", api.EnrolRequest{Code: "x"})
	anyone.refused(api.CodeSealed, "GET", "/v1/domains/lake", nil)
	if status := must[api.SealStatus](anyone, "GET", "/v1/seal-status", nil); !status.Sealed || status.Method != "identity" {
		t.Errorf("%+v", status)
	}
	anyone.refused(api.CodeUnsealRefused, "POST", "/v1/unseal", api.Unseal{Identity: "AGE-SECRET-KEY-1"})
	if status := must[api.SealStatus](anyone, "POST", "/v1/unseal", api.Unseal{Identity: string(s.made.Identity)}); status.Sealed {
		t.Fatalf("%+v", status)
	}
	must[map[string]string](anyone, "GET", "/readyz", nil)
	ann, bob := s.operators()
	north := prepare(ann, bob)
	_, before := north.lease(api.UseEncoding)
	north.lease(api.UseToken)
	north.lease(api.UseRelease)

	s.stop()
	s.start()
	s.unseal()
	certificate := north.http.Transport.(*http.Transport).TLSClientConfig.Certificates[0]
	again := s.with(&certificate)
	again.digest, again.sealing = north.digest, north.sealing
	if _, after := again.lease(api.UseEncoding); after != before {
		t.Error("after a restart another key is leased")
	}
	for _, secret := range []string{string(s.made.Identity), s.made.Codes["ann"]} {
		if strings.Contains(s.log.String(), strings.TrimSpace(secret)) {
			t.Error("the log holds a secret")
		}
	}
	if !strings.Contains(s.log.String(), "leases") {
		t.Error("the log holds no request at all: the search is blind")
	}
}

// TestWhoMayCallWhat goes through the allow-list with every role and without a
// certificate: whoever a line does not name is refused.
func TestWhoMayCallWhat(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	north := prepare(ann, bob)
	c := change(ann, bob, api.OpClientAdd, api.ClientAdd{Name: "eve", Role: api.RoleAuditor, Organisation: "X26"})
	callers := map[api.Role]*caller{api.RoleOperator: ann, api.RoleTokeniser: north, api.RoleAuditor: s.enrol(c.Code)}
	path := strings.NewReplacer("{project}", "study", "{domain}", "lake", "{lease}", strings.Repeat("0", 32), "{operation}", strings.Repeat("0", 32))
	for _, m := range api.Methods() {
		if m.Public {
			continue
		}
		s.anyone().refused(api.CodeNoCertificate, m.Verb, path.Replace(m.Path), nil)
		for role, caller := range callers {
			if !m.Allows(role) {
				caller.refused(api.CodeRole, m.Verb, path.Replace(m.Path), nil)
			} else if status, b := caller.call(m.Verb, path.Replace(m.Path), nil); strings.Contains(string(b), string(api.CodeRole)) {
				t.Errorf("%s is refused %s: %d %s", role, m.Name, status, b)
			}
		}
	}
	s.anyone().refused(api.CodeNotFound, "GET", "/v1/nothing", nil)
	s.anyone().refused(api.CodeVerb, "DELETE", "/v1/domains", nil)
	ann.refused(api.CodeMalformed, "POST", "/v1/operations", map[string]any{"kind": "domain.add", "body": map[string]any{}, "extra": 1})
}

// TestForeignCertificates: a certificate of nobody's, and one that an authority
// of the same name has signed, are refused with a reason; so is TLS 1.2.
func TestForeignCertificates(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, _ := s.operators()
	other := newSite(t, holder.Custody{Method: "identity"})
	other.unseal()
	foreign, _ := other.operators()
	certificate := foreign.http.Transport.(*http.Transport).TLSClientConfig.Certificates[0]
	s.with(&certificate).refused(api.CodeCertificate, "GET", "/v1/self", nil)
	must[api.Self](ann, "GET", "/v1/self", nil)
	_, err := tls.Dial("tcp", s.address, &tls.Config{RootCAs: s.ca, MaxVersion: tls.VersionTLS12}) //nolint:gosec // the refusal is what is tested
	if err == nil {
		t.Error("TLS 1.2 is spoken")
	}
}

// TestRefusalsOfCertificatesAreRecorded: expired, revoked and of the wrong role,
// each with who it was and how often.
func TestRefusalsOfCertificatesAreRecorded(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	north := prepare(ann, bob)
	c := change(ann, bob, api.OpClientAdd, api.ClientAdd{Name: "south", Role: api.RoleTokeniser, Organisation: "RX2", Projects: []string{"study"}})
	south := s.enrol(c.Code)
	change(ann, bob, api.OpClientRevoke, api.ClientNamed{Name: "south", Reason: "contract ended"})
	for range 3 {
		south.refused(api.CodeRevoked, "POST", "/v1/projects/study/leases", api.LeaseRequest{Use: api.UseToken})
	}
	north.refused(api.CodeRole, "GET", "/v1/clients", nil)
	s.anyone().refused(api.CodeNoCertificate, "GET", "/v1/clients", nil)
	s.late.Store(int64(91 * 24 * time.Hour))
	north.refused(api.CodeExpired, "GET", "/v1/self", nil)
	s.late.Store(0)
	s.stop() // what was gathered is recorded
	s.start()
	s.unseal()
	certificate := ann.http.Transport.(*http.Transport).TLSClientConfig.Certificates[0]
	events := fmt.Sprint(must[api.List[api.Event]](s.with(&certificate), "GET", "/v1/events", nil).Items)
	for _, want := range []string{
		`"count":3,"decision":"deny","holder":"holder","kind":"refuse","purpose":"leases.create","rule":"certificate_revoked"`,
		`{"actor":{"iss":"mtls","org":"RX1","role":"tokeniser","sub":"north"},"count":1,"decision":"deny","holder":"holder","kind":"refuse","purpose":"clients.list","rule":"role_not_allowed"`,
		`"rule":"certificate_missing"`,
		`{"actor":{"iss":"mtls","org":"RX1","role":"tokeniser","sub":"north"},"count":1,"decision":"deny","holder":"holder","kind":"refuse","purpose":"self","rule":"certificate_expired"`,
	} {
		if !strings.Contains(events, want) {
			t.Errorf("not recorded: %s", want)
		}
	}
}

// TestBackupUnderLoad: what was acknowledged before a backup began is in it,
// while other changes go on; it is restored whole, with the same count.
func TestBackupUnderLoad(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	prepare(ann, bob)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				change(ann, bob, api.OpDomainAdd, api.DomainAdd{Name: fmt.Sprintf("during-%d", i), Scheme: "keyed-hash"})
			}
		}
	}()
	change(bob, ann, api.OpDomainAdd, api.DomainAdd{Name: "before", Scheme: "keyed-hash"})
	name := change(bob, ann, api.OpBackup, api.Backup{}).Path
	close(stop)
	<-done
	s.stop()
	info, err := holder.CheckBackup(filepath.Join(s.options.Dir, "backups", name), s.options.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "standby")
	restored, err := holder.Restore(t.Context(), info, holder.RestoreOptions{Dir: dir, Anchor: s.options.Anchor, AcceptLoss: info.Behind, Hosts: []string{"127.0.0.1"}, Software: "test", Clock: s.now},
		func(api.SealStatus) (api.Unseal, error) { return api.Unseal{Identity: string(s.made.Identity)}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if restored.Records+restored.LeftOut != info.Count || restored.LeftOut == 0 {
		t.Errorf("%d records of a backup of %d, %d left out", restored.Records, info.Count, restored.LeftOut)
	}
	s.options.Dir = dir
	s.start()
	s.unseal()
	certificate := ann.http.Transport.(*http.Transport).TLSClientConfig.Certificates[0]
	must[api.Domain](s.with(&certificate), "GET", "/v1/domains/before", nil)
}

// TestEscrowKeysComeBack: after a start, and from a backup, the key holder has the escrow
// keys that it had, so that what regions have sealed to them opens; fsck holds them to
// their public halves.
func TestEscrowKeysComeBack(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	prepare(ann, bob)
	care := strings.NewReplacer(`"study"`, `"care"`, `"none"`, `"direct"`).Replace(record)
	change(ann, bob, api.OpProjectAdd, api.ProjectAdd{Record: []byte(care)})
	change(ann, bob, api.OpKeyRotate, api.KeyChange{Escrow: true, Reason: "yearly"})
	certificate := ann.certificate()
	seen := func() (list []api.Epoch, record *keys.Project) {
		t.Helper()
		ann := s.with(&certificate)
		list = must[api.List[api.Epoch]](ann, "GET", "/v1/escrow-keys", nil).Items
		record, err := keys.ParseProject(must[api.Project](ann, "GET", "/v1/projects/care", nil).Record)
		if err != nil {
			t.Fatal(err)
		}
		if other := must[api.Project](ann, "GET", "/v1/projects/study", nil); strings.Contains(string(other.Record), "escrow") {
			t.Error("a project whose tokens nobody opens has an escrow key")
		}
		return list, record
	}
	before, stated := seen()
	if len(before) != 2 || before[0].State != api.StateReadable || before[1].State != api.StateCurrent || *stated.Keys.EscrowPublicKey != before[1].PublicKey {
		t.Fatalf("%+v, %v", before, stated.Keys.EscrowPublicKey)
	}
	same := func(when string) {
		t.Helper()
		after, again := seen()
		if !slices.Equal(after, before) || again.Digest() != stated.Digest() {
			t.Errorf("%s: %+v, before %+v", when, after, before)
		}
	}
	name := change(ann, bob, api.OpBackup, api.Backup{}).Path
	s.stop()
	with := opens(s.made.Handout, "")
	checked, err := holder.Check(t.Context(), s.options, with.collect())
	if err != nil || checked.Kinds["escrow"] != 1 || checked.Kinds["key"] != 1+2+2+2+1 {
		t.Errorf("fsck counts %+v, %v", checked, err)
	}
	s.start()
	s.unseal()
	same("after a start")
	change(s.with(&certificate), s.with(new(bob.certificate())), api.OpKeyRetire, api.KeyChange{Escrow: true, Epoch: 1, Reason: "sealed anew"})
	change(s.with(&certificate), s.with(new(bob.certificate())), api.OpKeyDestroy, api.KeyChange{Escrow: true, Epoch: 1, Reason: "promised"})
	s.stop()
	info, err := holder.CheckBackup(filepath.Join(s.options.Dir, "backups", name), s.options.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	s.options.Dir = filepath.Join(t.TempDir(), "standby")
	restored, err := holder.Restore(t.Context(), info, holder.RestoreOptions{
		Dir: s.options.Dir, Anchor: s.options.Anchor, AcceptLoss: info.Behind, Hosts: []string{"127.0.0.1"}, Software: "test", Clock: s.now,
	}, with.collect())
	if err != nil || !slices.Equal(restored.Destroyed, []string{"escrow/" + before[0].KeyCheck}) {
		t.Fatalf("%+v, %v", restored, err)
	}
	if checked, err = holder.Check(t.Context(), s.options, with.collect()); err != nil || checked.Kinds["escrow"] != 1 || checked.Kinds["key"] != 1+2+2+1+1 {
		t.Errorf("fsck of the restored counts %+v, %v", checked, err)
	}
	s.start()
	s.unseal()
	before[0].State = api.StateDestroyed // which no restore brings back
	same("after a restore")
}

// TestShares: wrong and foreign shares are refused and counted, too few leave it
// sealed, and any two of three open it.
func TestShares(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "shares", Threshold: 2, Shares: 3})
	foreign := newSite(t, holder.Custody{Method: "shares", Threshold: 2, Shares: 3})
	anyone := s.anyone()
	anyone.refused(api.CodeUnsealRefused, "POST", "/v1/unseal", api.Unseal{Share: foreign.made.Shares[0]})
	anyone.refused(api.CodeUnsealRefused, "POST", "/v1/unseal", api.Unseal{Share: strings.Replace(s.made.Shares[0], "q", "p", 1)})
	if status := must[api.SealStatus](anyone, "POST", "/v1/unseal", api.Unseal{Share: s.made.Shares[2]}); !status.Sealed || status.Given != 1 || status.Threshold != 2 {
		t.Errorf("%+v", status)
	}
	anyone.refused(api.CodeUnsealRefused, "POST", "/v1/unseal", api.Unseal{Share: s.made.Shares[2]})
	anyone.refused(api.CodeSealed, "GET", "/v1/self", nil)
	if status := must[api.SealStatus](anyone, "POST", "/v1/unseal", api.Unseal{Share: s.made.Shares[0]}); status.Sealed {
		t.Errorf("%+v", status)
	}
	ann, _ := s.operators()
	events := must[api.List[api.Event]](ann, "GET", "/v1/events", nil)
	if text := fmt.Sprint(events.Items); !strings.Contains(text, `"kind":"unseal"`) || !strings.Contains(text, `"count":3`) {
		t.Errorf("the tries are not recorded: %s", text)
	}
	for _, share := range s.made.Shares {
		if strings.Contains(s.log.String(), share) {
			t.Error("the log holds a share")
		}
	}
}

// TestDestroyedKeysAreGone: after a key was destroyed nothing in the folder opens
// to it, a backup from before is restored without it, and nothing else is lost.
func TestDestroyedKeysAreGone(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	north := prepare(ann, bob)
	_, before := north.lease(api.UseToken)
	early := change(ann, bob, api.OpBackup, api.Backup{})
	change(ann, bob, api.OpKeyRotate, api.KeyChange{Project: "study", Reason: "yearly"})
	change(ann, bob, api.OpKeyRetire, api.KeyChange{Project: "study", Epoch: 1, Reason: "over"})
	change(ann, bob, api.OpKeyDestroy, api.KeyChange{Project: "study", Epoch: 1, Reason: "promised"})
	p := must[api.Project](ann, "GET", "/v1/projects/study", nil)
	if p.Encoding[0].State != api.StateDestroyed || p.Encoding[1].State != api.StateCurrent {
		t.Errorf("%+v", p.Encoding)
	}
	if _, after := north.lease(api.UseToken); after != before {
		t.Error("another key changed, too")
	}
	entries, err := os.ReadDir(s.options.Dir)
	if err != nil {
		t.Fatal(err)
	}
	stores := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "store.") {
			stores++
		}
	}
	if stores != 1 {
		t.Errorf("%d stores lie in the folder", stores)
	}
	s.stop()
	s.start()
	s.unseal()

	// The backup from before is older: it is restored only where the loss is
	// accepted, and without the destroyed key.
	info, err := holder.CheckBackup(filepath.Join(s.options.Dir, "backups", early.Path), s.options.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	if info.Behind == 0 {
		t.Error("the backup is not older than the anchor")
	}
	anchor := filepath.Join(t.TempDir(), "anchor.json")
	content, err := os.ReadFile(s.options.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(anchor, content, 0o600); err != nil {
		t.Fatal(err)
	}
	restore := func(loss uint64) (*holder.Restored, string, error) {
		dir := filepath.Join(t.TempDir(), "standby")
		r, err := holder.Restore(t.Context(), info, holder.RestoreOptions{Dir: dir, Anchor: anchor, AcceptLoss: loss, Hosts: []string{"127.0.0.1"}, Software: "test", Clock: s.now},
			func(api.SealStatus) (api.Unseal, error) { return api.Unseal{Identity: string(s.made.Identity)}, nil })
		return r, dir, err
	}
	if _, _, err := restore(0); err == nil || !strings.Contains(err.Error(), "--accept-loss") {
		t.Errorf("an old backup is restored without a word: %v", err)
	}
	restored, dir, err := restore(info.Behind)
	if err != nil {
		t.Fatal(err)
	}
	if restored.Lost != info.Behind || len(restored.Destroyed) != 2 {
		t.Errorf("%+v", restored)
	}
	s.stop()
	s.options.Dir, s.options.Anchor = dir, anchor
	s.start()
	s.unseal()
	certificate := ann.http.Transport.(*http.Transport).TLSClientConfig.Certificates[0]
	p = must[api.Project](s.with(&certificate), "GET", "/v1/projects/study", nil)
	if p.Encoding[0].State != api.StateDestroyed || len(p.Encoding) != 1 {
		t.Errorf("the destroyed key is back: %+v", p.Encoding)
	}
}

// TestBadBackupsAreRefused: cut off, flipped, of another deployment, with
// another's anchor.
func TestBadBackupsAreRefused(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	prepare(ann, bob)
	name := change(ann, bob, api.OpBackup, api.Backup{}).Path
	folder := filepath.Join(s.options.Dir, "backups")
	good := filepath.Join(folder, name)
	if _, err := holder.CheckBackup(good, s.options.Anchor); err != nil {
		t.Fatal(err)
	}
	other := newSite(t, holder.Custody{Method: "identity"})
	if _, err := holder.CheckBackup(good, other.options.Anchor); err == nil {
		t.Error("a backup fits another key holder's anchor")
	}
	for _, ending := range []string{".age", ".manifest.json"} {
		content, err := os.ReadFile(good + ending)
		if err != nil {
			t.Fatal(err)
		}
		for what, changed := range map[string][]byte{
			"cut off":  content[:len(content)-2],
			"half":     content[:len(content)/2],
			"empty":    {},
			"flipped":  append(append(bytes.Clone(content[:len(content)/2]), content[len(content)/2]^1), content[len(content)/2+1:]...),
			"extended": append(bytes.Clone(content), 'x'),
		} {
			bad := filepath.Join(t.TempDir(), "bad")
			for _, e := range []string{".age", ".manifest.json"} {
				c, err := os.ReadFile(good + e)
				if err != nil {
					t.Fatal(err)
				}
				if e == ending {
					c = changed
				}
				if err := os.WriteFile(bad+e, c, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := holder.CheckBackup(bad, s.options.Anchor); err == nil {
				t.Errorf("%s, %s: accepted", ending, what)
			}
		}
	}
}

// TestCheck is fsck: good as it is, with the four keys of a domain, a project and the log; refused
// where the root key is another's.
func TestCheck(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	prepare(ann, bob)
	s.stop()
	check := func(identity []byte) (*holder.Checked, error) {
		return holder.Check(t.Context(), s.options, func(api.SealStatus) (api.Unseal, error) { return api.Unseal{Identity: string(identity)}, nil })
	}
	checked, err := check(s.made.Identity)
	if err != nil || checked.Kinds["client"] != 3 || checked.Kinds["key"] != 4 {
		t.Fatalf("%+v, %v", checked, err)
	}
	other := newSite(t, holder.Custody{Method: "identity"})
	if _, err := check(other.made.Identity); err == nil {
		t.Error("another deployment's identity opens it")
	}
	if err := os.RemoveAll(filepath.Join(s.options.Dir, "store.1")); err != nil {
		t.Fatal(err)
	}
	if _, err := check(s.made.Identity); err == nil {
		t.Error("nothing is a good store")
	}
}

// TestRecoverGivesOperatorsNewCodes: with every certificate ended nobody can
// approve anything, and those who hold the custody can change that; a revoked
// operator gets none.
func TestRecoverGivesOperatorsNewCodes(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "shares", Threshold: 2, Shares: 2})
	unseal := func() {
		for _, share := range s.made.Shares {
			if _, err := s.holder.Unseal(t.Context(), api.Unseal{Share: share}); err != nil {
				t.Fatal(err)
			}
		}
	}
	unseal()
	ann, bob := s.operators()
	for _, name := range []string{"cat", "dan"} {
		c := change(ann, bob, api.OpClientAdd, api.ClientAdd{Name: name, Role: api.RoleOperator, Organisation: "X26"})
		s.enrol(c.Code)
	}
	change(ann, bob, api.OpClientRevoke, api.ClientNamed{Name: "dan", Reason: "left"})
	s.late.Store(int64(100 * 24 * time.Hour))
	ann.refused(api.CodeExpired, "GET", "/v1/self", nil)
	s.stop()
	given := 0
	collect := func(api.SealStatus) (api.Unseal, error) {
		given++
		return api.Unseal{Share: s.made.Shares[given-1]}, nil
	}
	codes, err := holder.Recover(t.Context(), s.options, collect)
	if err != nil || len(codes) != 3 || codes["dan"] != "" {
		t.Fatalf("codes for %d operators, %v", len(codes), err)
	}
	s.start()
	unseal()
	again := s.enrol(codes["ann"])
	must[api.Self](again, "GET", "/v1/self", nil)
	s.late.Store(0)
}

// TestInitLeavesOthersAlone: a second key holder with the anchor of a first is
// refused, the first's anchor stays, and a try that fails leaves nothing.
func TestInitLeavesOthersAlone(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	before, err := os.ReadFile(s.options.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	try := func(anchor string, operators ...string) (string, error) {
		dir := filepath.Join(t.TempDir(), "second")
		_, err := holder.Init(t.Context(), holder.InitOptions{
			Dir: dir, Anchor: anchor, Custody: holder.Custody{Method: "identity"}, Name: "second", Organisation: "X26", Operators: operators,
			Hosts: []string{"127.0.0.1"}, Software: "test", Clock: s.now,
		})
		return dir, err
	}
	if _, err := try(s.options.Anchor, "ann", "bob"); err == nil {
		t.Error("two key holders have one anchor")
	}
	if after, err := os.ReadFile(s.options.Anchor); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the first key holder's anchor was touched (%v)", err)
	}
	anchor := filepath.Join(t.TempDir(), "anchor.json")
	dir, err := try(anchor, "ann", "ann")
	if err == nil {
		t.Error("one operator counts twice")
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("a try that failed leaves %d files", len(entries))
	}
	if _, err := os.Stat(anchor); err == nil {
		t.Error("a try that failed leaves an anchor")
	}
	if _, err := try(filepath.Join(t.TempDir(), "absent", "anchor.json"), "ann", "bob"); err == nil {
		t.Error("an anchor in no folder")
	}
}

// TestOpenAPIListsTheAllowList holds the description to the allow-list, both
// ways.
func TestOpenAPIListsTheAllowList(t *testing.T) {
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Description string `json:"description"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(api.OpenAPI(), &document); err != nil {
		t.Fatal(err)
	}
	described := 0
	for _, verbs := range document.Paths {
		described += len(verbs)
	}
	for _, m := range api.Methods() {
		operation, there := document.Paths[m.Path][strings.ToLower(m.Verb)]
		if !there || operation.OperationID != m.Name || operation.Description != "For: "+m.Who() {
			t.Errorf("%s %s is described as %+v", m.Verb, m.Path, operation)
		}
	}
	if described != len(api.Methods()) {
		t.Errorf("%d operations are described, %d are in the allow-list", described, len(api.Methods()))
	}
}

func pemOf(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }

// TestWhatTheDescriptionForbidsIsRefused: what the description does not allow
// and a lenient decoder would take. What is allowed stands beside it.
func TestWhatTheDescriptionForbidsIsRefused(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	anyone := s.anyone()
	for _, given := range []api.Unseal{{Share: strings.Repeat("1", 1001)}, {Passphrase: strings.Repeat("1", 1001)}, {Identity: strings.Repeat("1", 10_001)}} {
		anyone.refused(api.CodeMalformed, "POST", "/v1/unseal", given)
	}
	anyone.refused(api.CodeUnsealRefused, "POST", "/v1/unseal", api.Unseal{Identity: strings.Repeat("1", 10_000)})
	s.unseal()
	ann, bob := s.operators()
	north := prepare(ann, bob)

	for _, query := range []string{"?state=planned", "?state=", "?state=pending&state=pending"} {
		ann.refused(api.CodeMalformed, "GET", "/v1/operations"+query, nil)
	}
	for _, state := range api.OperationStates() {
		must[api.List[api.Operation]](ann, "GET", "/v1/operations?state="+string(state), nil)
	}
	for _, query := range []string{"?after=", "?after=-1", "?after=0&after=0"} {
		ann.refused(api.CodeMalformed, "GET", "/v1/events"+query, nil)
	}
	must[api.List[api.Event]](ann, "GET", "/v1/events?after=0", nil)

	ask := func(kind api.OperationKind, body any) map[string]any {
		return map[string]any{"kind": kind, "body": body}
	}
	ann.refused(api.CodeMalformed, "POST", "/v1/operations", ask(api.OpBackup, nil))
	ann.refused(api.CodeMalformed, "POST", "/v1/operations", ask(api.OpBackup, []any{}))
	ann.refused(api.CodeMalformed, "POST", "/v1/operations", ask(api.OpClientAdd, map[string]any{"name": "x", "role": "auditor", "organisation": "X26", "projects": nil}))
	must[api.Operation](ann, "POST", "/v1/operations", ask(api.OpClientAdd, map[string]any{"name": "x", "role": "auditor", "organisation": "X26"}))
	ann.refused(api.CodeMalformed, "POST", "/v1/operations", ask(api.OpKeyRetire, map[string]any{"domain": "lake", "epoch": 1, "compromised": true, "reason": "lost"}))
	north.refused(api.CodeMalformed, "POST", "/v1/projects/study/leases", map[string]any{"use": "token", "rows_expected": nil})
	must[api.Lease](north, "POST", "/v1/projects/study/leases", map[string]any{"use": "token"})
	// Check values of a project.json may be null, and no others of its members
	// are kept from it here: the record has its own rules.
	project := must[api.Project](ann, "GET", "/v1/projects/study", nil)
	if !strings.Contains(string(project.Record), `"encoding_kcv":null`) {
		t.Fatalf("the record has no null: nothing is shown: %s", project.Record)
	}
	must[api.Operation](ann, "POST", "/v1/operations", ask(api.OpProjectRenew, map[string]any{"record": project.Record}))
}

// TestOpenAPIDescribesRefusalsAndOperations: every status of a refusal is one
// that some code has, none is left to "default", and there is a body for each
// kind of operation.
func TestOpenAPIDescribesRefusalsAndOperations(t *testing.T) {
	var document struct {
		Paths map[string]map[string]struct {
			Responses map[string]any `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas struct {
				OperationRequest struct {
					OneOf []struct {
						Properties struct {
							Kind struct {
								Const api.OperationKind `json:"const"`
							} `json:"kind"`
						} `json:"properties"`
					} `json:"oneOf"`
				}
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(api.OpenAPI(), &document); err != nil {
		t.Fatal(err)
	}
	statuses := map[string]bool{"200": true, "201": true, "204": true}
	for _, status := range api.Codes() {
		statuses[fmt.Sprint(status)] = true
	}
	for path, verbs := range document.Paths {
		for verb, operation := range verbs {
			for status := range operation.Responses {
				if !statuses[status] {
					t.Errorf("%s %s answers %s, which no code does", verb, path, status)
				}
			}
		}
	}
	kinds := map[api.OperationKind]bool{}
	for _, one := range document.Components.Schemas.OperationRequest.OneOf {
		kinds[one.Properties.Kind.Const] = true
	}
	for _, kind := range []api.OperationKind{
		api.OpDomainAdd, api.OpProjectAdd, api.OpProjectRenew, api.OpClientAdd, api.OpClientRenew, api.OpClientRevoke, api.OpGrantAdd, api.OpGrantRevoke,
		api.OpKeyRotate, api.OpKeyRetire, api.OpKeyDestroy, api.OpKeyExport, api.OpBackup, api.OpBudgetReset,
	} {
		if !kinds[kind] {
			t.Errorf("the body of %s is not described", kind)
		}
		delete(kinds, kind)
	}
	if len(kinds) > 0 {
		t.Errorf("bodies of no operation are described: %v", kinds)
	}
}
