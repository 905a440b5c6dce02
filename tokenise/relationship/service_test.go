package relationship

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/escrow"
	"tarn/keys/fault"
	"tarn/keys/relationship"
	"tarn/tokenise/relationship/table"
)

// authority signs certificates, as a key holder's does.
type authority struct {
	key    *ecdsa.PrivateKey
	issuer *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, issuer}
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// sign gives a certificate of a name, for client or server, that ends at a time.
func (a *authority) sign(t *testing.T, name string, end time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: noon.Add(-time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, a.issuer, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// counted is a meter.
type counted struct {
	mu        sync.Mutex
	requests  map[string]int
	routed    int
	strangers int
}

func (m *counted) Request(route string, status int, _ time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[fmt.Sprintf("%s %d", route, status)]++
}

func (m *counted) Routed(n int) { m.mu.Lock(); m.routed += n; m.mu.Unlock() }
func (m *counted) Stranger()    { m.mu.Lock(); m.strangers++; m.mu.Unlock() }

// counts waits until what was counted is so: a request is counted after its answer.
func (r *region) counts(t *testing.T, so func(*counted) bool) {
	t.Helper()
	for range 500 {
		r.meter.mu.Lock()
		done := so(&r.meter)
		r.meter.mu.Unlock()
		if done {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.meter.mu.Lock()
	defer r.meter.mu.Unlock()
	t.Errorf("counted: %v, %d patients, %d strangers", r.meter.requests, r.meter.routed, r.meter.strangers)
}

// region is a running service.
type region struct {
	folder, dir string
	authority   *authority
	holder      tls.Certificate
	public      ed25519.PublicKey
	meter       counted
	log         bytes.Buffer
	logMu       sync.Mutex
	url         string

	mu  sync.Mutex
	now time.Time
}

func (r *region) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *region) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// Write takes the log.
func (r *region) Write(b []byte) (int, error) {
	r.logMu.Lock()
	defer r.logMu.Unlock()
	return r.log.Write(b)
}

func (r *region) logged() string {
	r.logMu.Lock()
	defer r.logMu.Unlock()
	return r.log.String()
}

// newRegion starts a service for the client "keyholder". change may be nil.
func newRegion(t *testing.T, envelopes Envelopes, change func(*region, *Config)) *region {
	t.Helper()
	r := &region{folder: t.TempDir(), authority: newAuthority(t), now: noon, meter: counted{requests: map[string]int{}}}
	r.dir = filepath.Join(r.folder, "tables")
	r.holder = r.authority.sign(t, "keyholder", noon.Add(100*time.Hour))
	server := r.authority.sign(t, "server", noon.Add(100*time.Hour))
	r.serverIs(t, server)
	if err := os.WriteFile(filepath.Join(r.folder, "ca.pem"), certificatePEM(r.authority.issuer.Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := NewSigningKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	r.public = key.Public()
	c := Config{Address: "127.0.0.1:0", TLSCert: filepath.Join(r.folder, "server.pem"), TLSKey: filepath.Join(r.folder, "server.key"), ClientCA: filepath.Join(r.folder, "ca.pem"),
		Clients: []string{"keyholder"}, SigningKeyFile: filepath.Join(r.folder, "signing.key"), Dir: r.dir}
	if err := key.Write(c.SigningKeyFile); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r, &c)
	}
	s, listen, err := c.Open(envelopes, r.clock, slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug})), &r.meter)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listen, func(a net.Addr) { ready <- a }) }()
	select {
	case a := <-ready:
		r.url = "https://" + a.String()
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

// serverIs writes the server's certificate and key.
func (r *region) serverIs(t *testing.T, c tls.Certificate) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), "server.pem": certificatePEM(c.Certificate[0])} {
		if err := keys.WriteFile(filepath.Join(r.folder, name), content); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *region) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(r.authority.issuer)
	return pool
}

// client calls with a certificate; none if it is empty.
func (r *region) client(c tls.Certificate) *http.Client {
	config := &tls.Config{RootCAs: r.roots(), Time: r.clock, MinVersion: tls.VersionTLS13}
	if len(c.Certificate) > 0 {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
}

const requestUUID = "6b0e5b52-0000-4000-8000-000000000000"

// ask posts a document, and returns what came back.
func (r *region) ask(t *testing.T, path string, document any, change func(*http.Request)) (*http.Response, []byte) {
	t.Helper()
	body, ok := document.([]byte)
	if !ok {
		var err error
		if body, err = keys.Encode(document); err != nil {
			t.Fatal(err)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-ID", requestUUID)
	request.Header.Set("X-Correlation-ID", "cross.1")
	if change != nil {
		change(request)
	}
	response, err := r.client(r.holder).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	meets(t, path, response, got)
	if response.Header.Get("Cache-Control") != "no-store" || response.Header.Get("X-Request-ID") != request.Header.Get("X-Request-ID") || response.Header.Get("X-Correlation-ID") != "cross.1" {
		t.Errorf("headers: %v", response.Header)
	}
	return response, got
}

func (r *region) question(token keys.Token, organisation string) *relationship.Question {
	return &relationship.Question{Token: token.String(), Organisation: organisation, At: r.clock(), RequestHash: strings.Repeat("0a", 32)}
}

// decided asks, and holds the answer to the question.
func (r *region) decided(t *testing.T, q *relationship.Question) *relationship.Answer {
	t.Helper()
	response, body := r.ask(t, "/v1/relationships/check", q, nil)
	var a relationship.Answer
	if err := keys.DecodeStrict(body, &a); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d: %s", response.StatusCode, body)
	}
	if _, err := a.Verify(q, r.public, r.clock()); err != nil {
		t.Fatal(err)
	}
	return &a
}

// problem asks, and wants a problem of a code.
func (r *region) problem(t *testing.T, path string, document any, status int, code api.Code, change func(*http.Request)) *http.Response {
	t.Helper()
	response, body := r.ask(t, path, document, change)
	var p api.Problem
	if err := keys.DecodeStrict(body, &p); err != nil || response.StatusCode != status || p.Code != code || p.Status != status || p.Title == "" {
		t.Errorf("%s: %d, want %d %s: %s (%v)", path, response.StatusCode, status, code, body, err)
	}
	return response
}

var described = sync.OnceValue(func() map[string]any {
	var document map[string]any
	if err := json.Unmarshal(openAPI, &document); err != nil {
		panic(err)
	}
	return document
})

// meets holds an answer to the description of the interface.
func meets(t *testing.T, path string, response *http.Response, body []byte) {
	t.Helper()
	d := described()
	operation, ok := d["paths"].(map[string]any)[path].(map[string]any)
	if !ok {
		return
	}
	verb, _ := operation[strings.ToLower(cmp.Or(response.Request.Method, "GET"))].(map[string]any)
	if verb == nil {
		return
	}
	code := fmt.Sprint(response.StatusCode)
	answer, ok := verb["responses"].(map[string]any)[code].(map[string]any)
	if !ok {
		t.Errorf("%s answers %s, which is not described", path, code)
		return
	}
	media, name := "application/json", ""
	if ref, ok := answer["$ref"].(string); ok {
		media, name = api.ProblemType, strings.TrimPrefix(ref, "#/components/responses/")
	} else if ref, ok := answer["content"].(map[string]any)[media].(map[string]any)["schema"].(map[string]any)["$ref"].(string); ok {
		name = strings.TrimPrefix(ref, "#/components/schemas/")
	}
	if got := response.Header.Get("Content-Type"); got != media {
		t.Errorf("%s answers %s", path, got)
	}
	if name == "" {
		return
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("openapi.json", d); err != nil {
		t.Fatal(err)
	}
	judge, err := compiler.Compile("openapi.json#/components/schemas/" + name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := judge.Validate(v); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

// load loads the region's table of patients 1 to 3.
func (r *region) load(t *testing.T, lines ...string) {
	t.Helper()
	mustLoad(t, options(t, r.dir, append([]string{header + ",relationship"}, lines...)...))
}

func line(token keys.Token, rest string) string { return token.String() + "," + rest }

// TestAnswers: a relationship of today is allowed, all else is denied in the same words; of
// both epochs; the answer is of its question, and lasts a minute; a load counts at once.
func TestAnswers(t *testing.T) {
	r := newRegion(t, nil, nil)
	r.problem(t, "/v1/relationships/check", r.question(patient(3, 1), "A81001"), 503, CodeTable, nil) // nothing is loaded
	r.load(t, line(patient(3, 1), "A81001,2020-01-01,2026-11-26,registered"), line(patient(3, 2), "RX1,2026-11-27,,other"), line(patient(4, 9), "A81001,2020-01-01,,registered"))
	ask := func(token keys.Token, organisation string) relationship.Decision {
		t.Helper()
		return r.decided(t, r.question(token, organisation)).Decision
	}
	if ask(patient(3, 1), "A81001") != relationship.Allow || ask(patient(4, 9), "A81001") != relationship.Allow {
		t.Error("what is there is not allowed")
	}
	for name, q := range map[string]*relationship.Question{
		"another organisation":     r.question(patient(3, 1), "A81002"),
		"another patient":          r.question(patient(3, 2), "A81001"),
		"from tomorrow":            r.question(patient(3, 2), "RX1"),
		"nobody":                   r.question(patient(3, 77), "A81001"),
		"an epoch without a table": r.question(patient(5, 1), "A81001"),
		"another epoch's token":    r.question(patient(4, 1), "A81001"),
	} {
		a := r.decided(t, q)
		if a.Decision != relationship.Deny || a.Envelope != nil || !a.Expires.Equal(r.clock().Add(time.Minute)) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	q := r.question(patient(3, 1), "A81001")
	a := r.decided(t, q)
	if _, err := a.Verify(q, r.public, r.clock().Add(time.Minute)); !errors.Is(err, relationship.ErrExpired) {
		t.Errorf("an hour later: %v", err)
	}
	other := *q
	other.RequestHash = strings.Repeat("0b", 32)
	if _, err := a.Verify(&other, r.public, r.clock()); !errors.Is(err, relationship.ErrSignature) {
		t.Errorf("for another request: %v", err)
	}
	upper := *q
	upper.Token = strings.ToUpper(q.Token)
	if r.decided(t, &upper).Decision != relationship.Allow {
		t.Error("a token in capital letters is another")
	}
	r.load(t, line(patient(3, 2), "RX1,2026-11-26,,other"))
	if ask(patient(3, 1), "A81001") != relationship.Deny || ask(patient(3, 2), "RX1") != relationship.Allow || ask(patient(4, 9), "A81001") != relationship.Allow {
		t.Error("a load does not count at once, or counts for another epoch")
	}
	r.pass(12 * time.Hour) // midnight
	if ask(patient(4, 9), "A81001") != relationship.Allow {
		t.Error("what has no end has ended")
	}
	for _, secret := range []string{patient(3, 1).String()[10:], "A81001", "RX1", "0a0a0a0a"} {
		if strings.Contains(r.logged(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
	if !strings.Contains(r.logged(), "route=/v1/relationships/check") || !strings.Contains(r.logged(), "client=keyholder") {
		t.Errorf("the log: %s", r.logged())
	}
	r.counts(t, func(m *counted) bool {
		return m.requests["/v1/relationships/check 200"] >= 10 && m.requests["/v1/relationships/check 503"] == 1
	})
}

// TestQuestionsOfAnotherTime are refused: what is answered is of now.
func TestQuestionsOfAnotherTime(t *testing.T) {
	r := newRegion(t, nil, nil)
	r.load(t, line(patient(3, 1), "A81001,2020-01-01,,registered"))
	for _, away := range []time.Duration{-time.Hour, -61 * time.Second, 61 * time.Second, time.Hour} {
		q := r.question(patient(3, 1), "A81001")
		q.At = q.At.Add(away)
		r.problem(t, "/v1/relationships/check", q, 400, CodeTime, nil)
		r.problem(t, "/v1/relationships/route", &relationship.RouteQuestion{Tokens: []string{q.Token}, At: q.At, RequestHash: q.RequestHash}, 400, CodeTime, nil)
	}
	for _, away := range []time.Duration{-59 * time.Second, 0, 59 * time.Second} {
		q := r.question(patient(3, 1), "A81001")
		q.At = q.At.Add(away)
		if a := r.decided(t, q); a.Expires.After(q.At.Add(time.Minute)) || a.Expires.After(r.clock().Add(time.Minute)) {
			t.Errorf("%v away it lasts until %s", away, a.Expires)
		} else if _, err := a.Verify(q, r.public, q.At); err != nil {
			t.Errorf("%v away it is not taken: %v", away, err)
		}
	}
}

// kept has one envelope.
type kept struct {
	domainNo, epoch uint32
	envelope        *escrow.Envelope
	err             error
	asked           int
}

func (k *kept) Envelope(_ context.Context, domainNo, epoch uint32, token [keys.TokenSize]byte) (*escrow.Envelope, error) {
	k.asked++
	if k.err != nil || k.envelope == nil || domainNo != k.domainNo || epoch != k.epoch {
		return nil, k.err
	}
	return k.envelope, nil
}

// TestEnvelopes go with every answer about a token of scheme keyed-hash of which there is
// one, whatever is decided, and with no other.
func TestEnvelopes(t *testing.T) {
	hashed := patient(3, 1)
	hashed.Scheme = keys.SchemeNoKeyedHash
	without := patient(4, 1)
	without.Scheme = keys.SchemeNoKeyedHash
	k := &kept{domainNo: 7, epoch: 3, envelope: &escrow.Envelope{HolderKeyID: strings.Repeat("0b", 16), Batch: [16]byte{1}, Enc: []byte("enc"), Index: 2, Token: hashed.Value, Sealed: []byte("sealed")}}
	r := newRegion(t, k, nil)
	r.load(t, line(hashed, "A81001,2020-01-01,,registered"), line(without, "A81001,2020-01-01,,registered"), line(patient(3, 1), "A81001,2020-01-01,,registered"))
	q := r.question(hashed, "A81001")
	a := r.decided(t, q)
	if e, there := a.Opened(q); !there || string(e.Sealed) != "sealed" || e.Token != hashed.Value {
		t.Errorf("%+v", a)
	}
	denied := r.question(hashed, "A81002")
	refusal := r.decided(t, denied)
	if e, there := refusal.Opened(denied); refusal.Decision != relationship.Deny || !there || string(e.Sealed) != "sealed" || e.Token != hashed.Value {
		t.Errorf("%+v", refusal)
	}
	for name, try := range map[string]struct {
		q        *relationship.Question
		decision relationship.Decision
	}{
		"none is kept": {r.question(without, "A81001"), relationship.Allow}, "none is kept, and denied": {r.question(without, "A81002"), relationship.Deny},
		"oblivious": {r.question(patient(3, 1), "A81001"), relationship.Allow}, "oblivious, and denied": {r.question(patient(3, 1), "A81002"), relationship.Deny},
	} {
		if a := r.decided(t, try.q); a.Envelope != nil || a.Decision != try.decision {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if k.asked != 4 {
		t.Errorf("envelopes were looked for %d times, want 4", k.asked)
	}
	if strings.Contains(r.logged(), "envelope") {
		t.Errorf("the log says of which there is one: %s", r.logged())
	}
	k.envelope.Token[0] ^= 1
	r.problem(t, "/v1/relationships/check", q, 503, CodeTable, nil)
	r.problem(t, "/v1/relationships/check", denied, 503, CodeTable, nil)
	k.err = errors.New("9434765919 is planted")
	r.problem(t, "/v1/relationships/check", q, 503, CodeTable, nil)
	if strings.Contains(r.logged(), "9434765919") {
		t.Error("the log has what a store said")
	}
}

// TestWorklists: each patient's practice now; null for whoever has none, has two, or is
// nobody.
func TestWorklists(t *testing.T) {
	r := newRegion(t, nil, nil)
	r.load(t,
		line(patient(3, 1), "A81001,2010-01-01,2026-11-25,registered"), line(patient(3, 1), "B81001,2026-11-26,,registered"), line(patient(3, 1), "RX1,2020-01-01,,other"),
		line(patient(3, 2), "A81001,2010-01-01,,registered"), line(patient(3, 2), "B81001,2015-01-01,,registered"), // the practice before has not said that she left
		line(patient(3, 3), "A81001,2010-01-01,,registered"), line(patient(3, 3), "B81001,2010-01-01,,registered"), // nobody knows
		line(patient(3, 4), "RX1,2010-01-01,,other"), line(patient(4, 5), "C81001,2010-01-01,,registered"), line(patient(3, 6), "C81001,2026-11-27,,registered"))
	q := &relationship.RouteQuestion{At: r.clock(), RequestHash: strings.Repeat("0a", 32)}
	for _, token := range []keys.Token{patient(4, 5), patient(3, 1), patient(3, 2), patient(3, 3), patient(3, 4), patient(3, 6), patient(3, 99), patient(9, 1)} {
		q.Tokens = append(q.Tokens, token.String())
	}
	response, body := r.ask(t, "/v1/relationships/route", q, nil)
	var a relationship.RouteAnswer
	if err := keys.DecodeStrict(body, &a); err != nil || response.StatusCode != 200 {
		t.Fatalf("%d: %s", response.StatusCode, body)
	}
	if _, err := a.Verify(q, r.public, r.clock()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range a.Organisations {
		if o == nil {
			got = append(got, "-")
		} else {
			got = append(got, *o)
		}
	}
	if want := "C81001 B81001 B81001 - - - - -"; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, " "), want)
	}
	r.counts(t, func(m *counted) bool { return m.routed == 8 })
	// The largest there may be fits.
	q.Tokens = nil
	for i := range relationship.MaxRoute {
		token := patient(3, byte(i))
		token.Value[5], token.Value[6] = byte(i>>8), 7
		q.Tokens = append(q.Tokens, token.String())
	}
	if response, body := r.ask(t, "/v1/relationships/route", q, nil); response.StatusCode != 200 {
		t.Errorf("%d: %s", response.StatusCode, body)
	}
	q.Tokens = append(q.Tokens, patient(3, 200).String())
	r.problem(t, "/v1/relationships/route", q, 400, api.CodeMalformed, nil)
}

// TestRequestsThatAreNone: each is a problem, which repeats nothing.
func TestRequestsThatAreNone(t *testing.T) {
	r := newRegion(t, nil, nil)
	r.load(t, line(patient(3, 1), "A81001,2020-01-01,,registered"))
	good, err := keys.Encode(r.question(patient(3, 1), "A81001"))
	if err != nil {
		t.Fatal(err)
	}
	const path = "/v1/relationships/check"
	edit := func(from, to string) []byte { return bytes.Replace(good, []byte(from), []byte(to), 1) }
	for name, body := range map[string][]byte{
		"nothing": {}, "no JSON": []byte("{"), "a list": []byte("[]"), "null": []byte("null"), "two documents": append(bytes.Clone(good), good...),
		"a member more": edit(`"at"`, `"nhs_number": "9434765919", "at"`), "a member twice": edit(`"at"`, `"organisation": "A81001", "at"`), "a member less": edit(`"organisation": "A81001",`, ""),
		"a null": edit(`"A81001"`, "null"), "a number": edit(`"A81001"`, "9434765919"), "a name": edit("A81001", "Foster"), "no token": edit(patient(3, 1).String(), "9434765919"), "another case": edit(`"organisation"`, `"Organisation"`),
		"no time": edit(r.clock().UTC().Format("2006-01-02T15:04:05.000Z"), "noon"), "bad UTF-8": edit("A81001", "A8100\xff"), "no hash": edit(strings.Repeat("0a", 32), "0a"),
	} {
		response, got := r.ask(t, path, body, nil)
		if response.StatusCode != 400 || !bytes.Contains(got, []byte(api.CodeMalformed)) || bytes.Contains(got, []byte("9434765919")) || bytes.Contains(got, []byte("Foster")) {
			t.Errorf("%s: %d %s", name, response.StatusCode, got)
		}
	}
	r.problem(t, path, append(good, bytes.Repeat([]byte(" "), maxCheck)...), 413, api.CodeTooLarge, nil)
	r.problem(t, path, good, 415, api.CodeMediaType, func(q *http.Request) { q.Header.Set("Content-Type", "text/csv") })
	r.problem(t, path, good, 400, api.CodeRequestID, func(q *http.Request) { q.Header.Del("X-Request-ID") })
	r.problem(t, path, good, 405, api.CodeVerb, func(q *http.Request) { q.Method = http.MethodPut })
	r.problem(t, "/v1/relationships/", good, 404, api.CodeNotFound, nil)
}

// TestHealth is answered to whom may ask.
func TestHealth(t *testing.T) {
	r := newRegion(t, nil, nil)
	get := func(path string) int {
		t.Helper()
		response, err := r.client(r.holder).Get(r.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		meets(t, path, response, body)
		return response.StatusCode
	}
	if alive, ready := get("/livez"), get("/readyz"); alive != 200 || ready != 503 {
		t.Errorf("before a load: alive %d, ready %d", alive, ready)
	}
	r.load(t, line(patient(3, 1), "A81001,2020-01-01,,registered"))
	if ready, description := get("/readyz"), get("/v1/openapi.json"); ready != 200 || description != 200 {
		t.Errorf("ready %d, description %d", ready, description)
	}
}

// raw sends bytes over TLS as they are, in HTTP/1.1, and returns all that comes back.
func (r *region) raw(t *testing.T, text string) string {
	t.Helper()
	c, err := tls.Dial("tcp", strings.TrimPrefix(r.url, "https://"), &tls.Config{RootCAs: r.roots(), Time: r.clock, Certificates: []tls.Certificate{r.holder}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSmuggling: a length beside chunks is one refusal and the end of the connection, and
// so is chunks alone; a request with a length is answered, as the control.
func TestSmuggling(t *testing.T) {
	r := newRegion(t, nil, nil)
	r.load(t, line(patient(3, 1), "A81001,2020-01-01,,registered"))
	body, err := keys.Encode(r.question(patient(3, 1), "A81001"))
	if err != nil {
		t.Fatal(err)
	}
	begin := "POST /v1/relationships/check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Request-ID: " + requestUUID + "\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"control":            {begin + length + "Connection: close\r\n\r\n" + string(body), "200"},
		"chunks":             {begin + "Transfer-Encoding: chunked\r\n\r\n" + chunks + begin + length + "\r\n" + string(body), "400"},
		"both":               {begin + length + "Transfer-Encoding: chunked\r\n\r\n" + chunks + begin + length + "\r\n" + string(body), "400"},
		"both, other length": {begin + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + begin + length + "\r\n" + string(body), "400"},
		"two lengths":        {begin + length + "Content-Length: 4\r\n\r\n" + string(body), "400"},
		"another coding":     {begin + length + "Transfer-Encoding: chunked, identity\r\n\r\n" + string(body), "501"},
	} {
		if got := r.raw(t, c.text); strings.Count(got, "HTTP/1.1 ") != 1 || !strings.HasPrefix(got, "HTTP/1.1 "+c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestStrangers are not even heard: no certificate, another authority's, an expired one; one
// of this authority that is not named is told so. The key holder's is the control.
func TestStrangers(t *testing.T) {
	r := newRegion(t, nil, nil)
	r.load(t, line(patient(3, 1), "A81001,2020-01-01,,registered"))
	foreign := newAuthority(t)
	for name, c := range map[string]tls.Certificate{
		"no certificate": {}, "another authority": foreign.sign(t, "keyholder", noon.Add(time.Hour)),
		"expired": r.authority.sign(t, "keyholder", noon.Add(-time.Minute)),
	} {
		response, err := r.client(c).Get(r.url + "/livez")
		if err == nil {
			_ = response.Body.Close()
			t.Errorf("%s: %d", name, response.StatusCode)
		}
	}
	for name, want := range map[string]int{"keyholder": 200, "north": 403, "keyholder2": 403, "Keyholder": 403} {
		response, err := r.client(r.authority.sign(t, name, noon.Add(time.Hour))).Get(r.url + "/livez")
		if err != nil || response.StatusCode != want {
			t.Fatalf("%s: %v", name, err)
		}
		_ = response.Body.Close()
	}
	keyholder := r.holder
	r.holder = r.authority.sign(t, "north", noon.Add(time.Hour))
	r.problem(t, "/v1/relationships/check", r.question(patient(3, 1), "A81001"), 403, api.CodeCertificate, nil)
	r.problem(t, "/v1/relationships/route", []byte("{"), 403, api.CodeCertificate, nil) // its body is not looked at
	r.problem(t, "/elsewhere", []byte("{"), 403, api.CodeCertificate, nil)
	r.holder = keyholder
	r.counts(t, func(m *counted) bool { return m.strangers == 3 })
	if !strings.Contains(r.logged(), "a connection was refused") || strings.Contains(r.logged(), "127.0.0.1") {
		t.Errorf("the log: %s", r.logged())
	}
	// Plain HTTP, and TLS 1.2, are no way in.
	if response, err := http.Get("http://" + strings.TrimPrefix(r.url, "https://") + "/livez"); err == nil {
		if _ = response.Body.Close(); response.StatusCode != http.StatusBadRequest {
			t.Errorf("without TLS: %d", response.StatusCode)
		}
	}
	old := &tls.Config{RootCAs: r.roots(), Time: r.clock, Certificates: []tls.Certificate{r.holder}, MaxVersion: tls.VersionTLS12, MinVersion: tls.VersionTLS12}
	if c, err := tls.Dial("tcp", strings.TrimPrefix(r.url, "https://"), old); err == nil {
		_ = c.Close()
		t.Error("TLS 1.2 is answered")
	}
}

// TestRenewedCertificate: the server's certificate is read again when its file has changed,
// and one that cannot be read is not taken.
func TestRenewedCertificate(t *testing.T) {
	r := newRegion(t, nil, nil)
	shown := func() string {
		t.Helper()
		response, err := r.client(r.holder).Get(r.url + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		return response.TLS.PeerCertificates[0].Subject.CommonName
	}
	if shown() != "server" {
		t.Fatal("it is another already")
	}
	r.serverIs(t, r.authority.sign(t, "renewed", noon.Add(100*time.Hour)))
	if shown() != "server" {
		t.Error("the file is looked at for every connection")
	}
	r.pass(time.Minute)
	if got := shown(); got != "renewed" {
		t.Errorf("%s is shown", got)
	}
	if err := os.WriteFile(filepath.Join(r.folder, "server.pem"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.pass(time.Minute)
	if got := shown(); got != "renewed" {
		t.Errorf("%s is shown", got)
	}
}

// TestPinnedByFingerprint: another certificate of the same name and authority may not ask.
func TestPinnedByFingerprint(t *testing.T) {
	r := newRegion(t, nil, func(r *region, c *Config) {
		sum := sha256.Sum256(r.holder.Certificate[0])
		text := strings.ToUpper(hex.EncodeToString(sum[:]))
		c.Clients = []string{"sha256:" + text[:2] + ":" + text[2:]}
	})
	get := func(c tls.Certificate) bool {
		response, err := r.client(c).Get(r.url + "/livez")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	if !get(r.holder) || get(r.authority.sign(t, "keyholder", noon.Add(time.Hour))) {
		t.Error("it is not that certificate, and no other, that may ask")
	}
}

// TestHandlerByItself: behind another listener it still wants a certificate that was
// verified.
func TestHandlerByItself(t *testing.T) {
	authority := newAuthority(t)
	key, err := NewSigningKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Dir: t.TempDir(), Key: key, Clients: []Client{{Name: "keyholder"}}, Clock: clock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	leaf := authority.sign(t, "keyholder", noon.Add(time.Hour)).Leaf
	for name, c := range map[string]struct {
		state *tls.ConnectionState
		want  api.Code
	}{
		"no TLS": {nil, api.CodeNoCertificate}, "no certificate": {&tls.ConnectionState{}, api.CodeNoCertificate},
		"not verified": {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}, api.CodeCertificate},
		"expired":      {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{authority.sign(t, "keyholder", noon.Add(-time.Second)).Leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}, api.CodeExpired},
		"another":      {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{authority.sign(t, "keyholder2", noon.Add(time.Hour)).Leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}, api.CodeCertificate},
		"control":      {&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf}}}, ""},
	} {
		_, err := s.identify(c.state, noon)
		var refused *refusal
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &refused) || refused.code != c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRates: who asks too much waits, and hears for how long; then it goes on.
func TestRates(t *testing.T) {
	r := newRegion(t, nil, func(_ *region, c *Config) { c.ChecksPerSecond, c.ChecksBurst, c.RoutedPerSecond = .5, 3, 100 })
	r.load(t, line(patient(3, 1), "A81001,2020-01-01,,registered"))
	q := r.question(patient(3, 1), "A81001")
	for range 3 {
		r.decided(t, q)
	}
	response := r.problem(t, "/v1/relationships/check", q, 429, CodeRate, nil)
	if response.Header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After: %s", response.Header.Get("Retry-After"))
	}
	r.pass(2 * time.Second)
	r.decided(t, q)
	r.problem(t, "/v1/relationships/check", q, 429, CodeRate, nil)
	list := &relationship.RouteQuestion{At: r.clock(), RequestHash: q.RequestHash}
	for i := range relationship.MaxRoute {
		token := patient(3, byte(i))
		token.Value[3] = byte(i >> 8)
		list.Tokens = append(list.Tokens, token.String())
	}
	for range 2 {
		if response, body := r.ask(t, "/v1/relationships/route", list, nil); response.StatusCode != 200 {
			t.Fatalf("%d %s", response.StatusCode, body)
		}
	}
	if response := r.problem(t, "/v1/relationships/route", list, 429, CodeRate, nil); response.Header.Get("Retry-After") != "10" {
		t.Errorf("Retry-After: %s", response.Header.Get("Retry-After"))
	}
}

// TestDamagedTablesAreNotAnsweredFrom: of the epoch that is damaged nothing is answered, of
// the other it is.
func TestDamagedTablesAreNotAnsweredFrom(t *testing.T) {
	r := newRegion(t, nil, nil)
	r.load(t, line(patient(3, 1), "A81001,2020-01-01,,registered"), line(patient(4, 1), "A81001,2020-01-01,,registered"))
	r.decided(t, r.question(patient(3, 1), "A81001"))
	document, err := table.Read(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.dir, document.Tables[0].File)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[20] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil { // in place: the table is open
		t.Fatal(err)
	}
	for _, n := range []byte{1, 2} {
		r.problem(t, "/v1/relationships/check", r.question(patient(3, n), "A81001"), 503, CodeTable, nil)
	}
	r.problem(t, "/v1/relationships/route", &relationship.RouteQuestion{Tokens: []string{patient(3, 1).String()}, At: r.clock(), RequestHash: strings.Repeat("0a", 32)}, 503, CodeTable, nil)
	if r.decided(t, r.question(patient(4, 1), "A81001")).Decision != relationship.Allow {
		t.Error("the other epoch is not answered")
	}
	if !strings.Contains(r.logged(), "a file is damaged") {
		t.Errorf("the log does not say why: %s", r.logged())
	}
	if err := os.Remove(filepath.Join(r.dir, table.DocumentFile)); err != nil {
		t.Fatal(err)
	}
	r.problem(t, "/v1/relationships/check", r.question(patient(4, 1), "A81001"), 503, CodeTable, nil)
}

// TestLoadsUnderQuestions: while tables are replaced, again and again, every answer is of
// one of them.
func TestLoadsUnderQuestions(t *testing.T) {
	r := newRegion(t, nil, func(_ *region, c *Config) { c.ChecksBurst = 10_000 })
	both := func(organisation string) []string {
		return []string{line(patient(3, 1), organisation+",2020-01-01,,registered"), line(patient(4, 1), organisation+",2020-01-01,,registered")}
	}
	r.load(t, both("A81001")...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20 {
			r.load(t, both([]string{"B81001", "A81001"}[i%2])...)
		}
	}()
	list := &relationship.RouteQuestion{Tokens: []string{patient(3, 1).String(), patient(4, 1).String()}, At: r.clock(), RequestHash: strings.Repeat("0a", 32)}
	for asked := 0; ; asked++ {
		select {
		case <-done:
			if asked == 0 {
				t.Error("nothing was asked meanwhile")
			}
			return
		default:
		}
		_, body := r.ask(t, "/v1/relationships/route", list, nil)
		var a relationship.RouteAnswer
		if err := keys.DecodeStrict(body, &a); err != nil || len(a.Organisations) != 2 || a.Organisations[0] == nil || a.Organisations[1] == nil || *a.Organisations[0] != *a.Organisations[1] {
			t.Fatalf("%s, %v", body, err)
		}
	}
}

// TestConfigurationsThatAreNone: nothing is served that nobody, or anybody, could ask.
func TestConfigurationsThatAreNone(t *testing.T) {
	folder := t.TempDir()
	key, err := NewSigningKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "signing.key")
	if err := key.Write(path); err != nil {
		t.Fatal(err)
	}
	loose := filepath.Join(folder, "loose.key")
	if err := os.WriteFile(loose, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(loose, 0o644); err != nil {
		t.Fatal(err)
	}
	good := Config{Address: "127.0.0.1:0", TLSCert: "c", TLSKey: "k", ClientCA: "ca", Clients: []string{"keyholder"}, SigningKeyFile: path, Dir: folder}
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"no folder":       {func(c *Config) { c.Dir = "" }, "dir is missing"},
		"no clients":      {func(c *Config) { c.Clients = nil }, "no client may ask"},
		"no client":       {func(c *Config) { c.Clients = []string{"*"} }, "neither the name"},
		"a loose key":     {func(c *Config) { c.SigningKeyFile = loose }, "others than its owner"},
		"another key":     {func(c *Config) { c.SigningKeyFile = filepath.Join(folder, "none") }, ""},
		"a negative rate": {func(c *Config) { c.ChecksPerSecond = -1 }, "a limit"},
		"a small burst":   {func(c *Config) { c.RoutedBurst = 10 }, "a limit"},
		"no CA":           {func(c *Config) { c.ClientCA = "" }, "client_ca is missing"},
	} {
		config := good
		c.change(&config)
		if _, _, err := config.Open(nil, clock, slog.New(slog.DiscardHandler), nil); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := good.Open(nil, clock, slog.New(slog.DiscardHandler), nil); err != nil {
		t.Errorf("the control: %v", err)
	}
}

// TestSigningKeys: what is written is read, is never written over, and is not printed.
func TestSigningKeys(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "signing.key")
	key, err := NewSigningKey(bytes.NewReader(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Write(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, err := ReadSigningKey(path)
	if err != nil || !again.Public().Equal(key.Public()) || hex.EncodeToString(key.Public()) != hex.EncodeToString(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)).Public().(ed25519.PublicKey)) {
		t.Errorf("%v", err)
	}
	if parsed, err := relationship.ParseVerifyKey(relationship.VerifyKeyText(key.Public())); err != nil || !parsed.Equal(key.Public()) {
		t.Errorf("%v", err)
	}
	if err := key.Write(path); fault.KindOf(err) != fault.Usage {
		t.Errorf("it is written over: %v", err)
	}
	for _, text := range []string{fmt.Sprint(key), fmt.Sprintf("%+v", key), fmt.Sprintf("%#v", &key), fmt.Sprintf("%d", key)} {
		if strings.Contains(text, "7 7 7") || strings.Contains(text, "0x7, 0x7") || strings.Contains(text, "070707") {
			t.Errorf("it is printed: %s", text)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"nothing": {}, "cut": whole[:40], "two": append(bytes.Clone(whole), whole...), "another kind": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), "another type": bytes.ReplaceAll(whole, []byte("PRIVATE"), []byte("PUBLIC"))} {
		p := filepath.Join(folder, "bad.key")
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSigningKey(p); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzQuestion: whatever is sent, it is a question that may be asked or refused, and the
// refusal repeats none of it.
func FuzzQuestion(f *testing.F) {
	q := &relationship.Question{Token: patient(3, 1).String(), Organisation: "A81001", At: noon, RequestHash: strings.Repeat("0a", 32)}
	seed, err := keys.Encode(q)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	route, err := keys.Encode(&relationship.RouteQuestion{Tokens: []string{q.Token}, At: noon, RequestHash: q.RequestHash})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(route)
	f.Add([]byte(`{"token":null}`))
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if q, err := parse[relationship.Question](body); err == nil && q.Check() == nil {
			if _, err := relationship.Sign(q, relationship.Deny, nil, q.At, key); err != nil {
				t.Fatal(err)
			}
		}
		if q, err := parse[relationship.RouteQuestion](body); err == nil && q.Check() == nil {
			if _, err := relationship.SignRoute(q, make([]string, len(q.Tokens)), q.At, key); err != nil {
				t.Fatal(err)
			}
		}
	})
}
