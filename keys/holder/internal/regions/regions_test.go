package regions

import (
	"bytes"
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
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/escrow"
	"tarn/keys/fault"
	"tarn/keys/relationship"
)

var (
	noon    = time.Date(2026, 11, 26, 12, 0, 0, 123_456_789, time.UTC)
	patient = keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 7, TokenEpoch: 3, Value: [keys.TokenSize]byte{1, 2, 3}}
	request = strings.Repeat("0a", 32)
)

func envelope() *escrow.Envelope {
	return &escrow.Envelope{HolderKeyID: strings.Repeat("0c", 16), Batch: [16]byte{9}, Enc: []byte("enc"), Index: 4, Token: patient.Value, Sealed: []byte("sealed")}
}

func showing(c tls.Certificate) func() (*tls.Certificate, error) {
	return func() (*tls.Certificate, error) { return &c, nil }
}

// authority signs certificates of its own.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	a.key, a.cert = a.issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.pool.AddCert(a.cert)
	return a
}

// issue signs a certificate, by the authority or by itself.
func (a *authority) issue(t *testing.T, template *x509.Certificate) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: "test"}
	template.NotBefore, template.NotAfter = noon.Add(-time.Hour), noon.Add(time.Hour)
	by, parent := a.key, a.cert
	if by == nil {
		by, parent = key, template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func (a *authority) certificate(t *testing.T) tls.Certificate {
	key, cert := a.issue(t, &x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// site is a region and a key holder that asks it.
type site struct {
	*testing.T
	ours, theirs *authority
	private      ed25519.PrivateKey
	answer       http.HandlerFunc
	current      atomic.Pointer[http.HandlerFunc] // answer, for those that hang longer than anybody waits
	asked        atomic.Int32
	server       *httptest.Server
	region       Region
	options      Options
}

// newSite is a region that answers each question with allow and an envelope.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, ours: newAuthority(t), theirs: newAuthority(t)}
	var public ed25519.PublicKey
	var err error
	if public, s.private, err = ed25519.GenerateKey(nil); err != nil {
		t.Fatal(err)
	}
	s.answer = s.signed(relationship.Allow, envelope(), noon)
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.asked.Add(1); (*s.current.Load())(w, r) }))
	s.server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{s.theirs.certificate(t)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: s.ours.pool,
		Time: func() time.Time { return noon },
	}
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.EnableHTTP2 = true
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	s.region = Region{Domain: "lake", URL: s.server.URL, Roots: s.theirs.pool, Key: public}
	s.options = Options{Certificate: showing(s.ours.certificate(t)), Clock: func() time.Time { return noon }}
	return s
}

// signed answers the question that comes as the region would.
func (s *site) signed(decision relationship.Decision, e *escrow.Envelope, now time.Time) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q relationship.Question
		b, err := io.ReadAll(r.Body)
		if err == nil {
			err = keys.DecodeStrict(b, &q)
		}
		var a *relationship.Answer
		if err == nil {
			a, err = relationship.Sign(&q, decision, e, now, s.private)
		}
		if err == nil {
			b, err = json.Marshal(a)
		}
		if err != nil {
			http.Error(w, "no question", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b)
	}
}

func (s *site) ask() (*Answer, error) {
	s.Helper()
	answer := s.answer
	s.current.Store(&answer)
	r, err := New([]Region{s.region}, s.options)
	if err != nil {
		s.Fatal(err)
	}
	defer r.Close()
	return r.Ask(s.Context(), "lake", patient, "RX1", request)
}

// refused fails unless there is no answer but an error of this kind, which repeats nothing.
func (s *site) refused(name string, kind fault.Kind, is error) {
	s.Helper()
	a, err := s.ask()
	if a != nil || fault.KindOf(err) != kind || is != nil && !errors.Is(err, is) || err == nil {
		s.Errorf("%s: %+v, %v", name, a, err)
		return
	}
	var known *fault.Error
	for _, said := range []string{patient.String(), request, strings.TrimPrefix(s.server.URL, "https://")} {
		if !errors.As(err, &known) || strings.Contains(err.Error(), said) {
			s.Errorf("%s: the error repeats what was asked, or whom: %v", name, err)
		}
	}
}

// TestRegionsAnswer: what a region has signed comes back whole, and counts a minute from
// when it was asked.
func TestRegionsAnswer(t *testing.T) {
	s := newSite(t)
	answer := s.answer
	s.answer = func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var q relationship.Question
		if err := keys.DecodeStrict(b, &q); err != nil {
			t.Error(err)
		}
		if want := (relationship.Question{Token: patient.String(), Organisation: "RX1", At: noon.Truncate(time.Millisecond), RequestHash: request}); q != want {
			t.Errorf("it is asked %+v", q)
		}
		if _, err := uuid.Parse(r.Header.Get("X-Request-ID")); err != nil || r.Method != http.MethodPost || r.URL.String() != "/v1/relationships/check" || r.Header.Get("Content-Type") != "application/json" || r.ProtoMajor != 2 {
			t.Errorf("it is asked %s %s %v, %v", r.Method, r.URL, r.Header, err)
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		answer(w, r)
	}
	a, err := s.ask()
	if err != nil {
		t.Fatal(err)
	}
	e := a.Envelope
	if a.Decision != relationship.Allow || e == nil || e.HolderKeyID != envelope().HolderKeyID || e.Batch != envelope().Batch || e.Token != patient.Value || string(e.Sealed) != "sealed" || e.Index != 4 || string(e.Enc) != "enc" {
		t.Errorf("%+v", a)
	}
	if want := noon.Truncate(time.Millisecond).Add(time.Minute); !a.Until.Equal(want) || a.Evidence == [32]byte{} {
		t.Errorf("it counts until %s, not %s", a.Until, want)
	}
	s.region.MaxAge = 10 * time.Second
	if a, err = s.ask(); err != nil || !a.Until.Equal(noon.Truncate(time.Millisecond).Add(10*time.Second)) {
		t.Errorf("of 10 s it counts until %+v, %v", a, err)
	}
	s.answer = s.signed(relationship.Deny, nil, noon)
	denied, err := s.ask()
	if err != nil || denied.Decision != relationship.Deny || denied.Envelope != nil || denied.Evidence == a.Evidence {
		t.Errorf("%+v, %v", denied, err)
	}
	s.answer = s.signed(relationship.Deny, envelope(), noon)
	sealed, err := s.ask()
	if err != nil || sealed.Decision != relationship.Deny || sealed.Envelope == nil || sealed.Envelope.Token != patient.Value || string(sealed.Envelope.Sealed) != "sealed" || sealed.Evidence == denied.Evidence {
		t.Errorf("%+v, %v", sealed, err)
	}
	s.answer = s.signed(relationship.Allow, nil, noon)
	if a, err = s.ask(); err != nil || a.Decision != relationship.Allow || a.Envelope != nil {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestNothingElseIsAnAnswer: whatever else comes is an error, and nothing comes with it.
func TestNothingElseIsAnAnswer(t *testing.T) {
	s := newSite(t)
	good := s.answer
	bytesOf := func(change func(map[string]any)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			recorded := httptest.NewRecorder()
			good(recorded, r)
			var document map[string]any
			if err := json.Unmarshal(recorded.Body.Bytes(), &document); err != nil {
				t.Error(err)
			}
			change(document)
			b, err := json.Marshal(document)
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(b)
		}
	}
	_, another, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	say := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, text) }
	}
	elsewhere := newSite(t)
	// Control: nothing is changed.
	s.answer = bytesOf(func(map[string]any) {})
	if _, err := s.ask(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		kind   fault.Kind
		is     error
	}{
		"of another region": {func(w http.ResponseWriter, r *http.Request) {
			other := site{T: t, private: another}
			other.signed(relationship.Allow, envelope(), noon)(w, r)
		}, fault.Policy, relationship.ErrSignature},
		"to another question": {func(w http.ResponseWriter, r *http.Request) {
			b, err := json.Marshal(relationship.Question{Token: patient.String(), Organisation: "RX2", At: noon, RequestHash: request})
			if err != nil {
				t.Error(err)
			}
			r.Body = io.NopCloser(bytes.NewReader(b))
			good(w, r)
		}, fault.Policy, relationship.ErrSignature},
		"turned round":         {bytesOf(func(d map[string]any) { d["decision"] = "deny" }), fault.Policy, relationship.ErrSignature},
		"without its envelope": {bytesOf(func(d map[string]any) { delete(d, "envelope") }), fault.Policy, relationship.ErrSignature},
		"unsigned":             {bytesOf(func(d map[string]any) { delete(d, "signature") }), fault.Policy, relationship.ErrSignature},
		"of a minute ago":      {s.signed(relationship.Allow, envelope(), noon.Add(-time.Minute)), fault.Policy, relationship.ErrExpired},
		"of an hour's time":    {s.signed(relationship.Allow, envelope(), noon.Add(time.Hour)), fault.Policy, relationship.ErrExpired},
		"with a member more":   {bytesOf(func(d map[string]any) { d["note"] = "x" }), fault.Unavailable, nil},
		"nothing":              {say(200, ""), fault.Unavailable, nil},
		"empty":                {say(200, "{}"), fault.Policy, relationship.ErrSignature},
		"no JSON":              {say(200, "<html>allow</html>"), fault.Unavailable, nil},
		"two documents":        {func(w http.ResponseWriter, r *http.Request) { good(w, r); _, _ = io.WriteString(w, "{}") }, fault.Unavailable, nil},
		"too long": {func(w http.ResponseWriter, r *http.Request) {
			good(w, r)
			_, _ = io.WriteString(w, strings.Repeat(" ", maxAnswer))
		}, fault.Unavailable, nil},
		"a great deal":      {say(200, strings.Repeat(" ", 1<<20)), fault.Unavailable, nil},
		"cut off":           {func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "9999"); good(w, r) }, fault.Unavailable, nil},
		"without a request": {say(400, "{}"), fault.Unavailable, nil},
		"from a stranger":   {say(403, "{}"), fault.Policy, nil},
		"too many":          {say(429, "{}"), fault.Unavailable, nil},
		"failed":            {say(500, "{}"), fault.Unavailable, nil},
		"away":              {say(503, "{}"), fault.Unavailable, nil},
		"a panic":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable, nil},
		"accepted":          {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted); good(w, r) }, fault.Unavailable, nil},
		"go elsewhere": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.server.URL+checkPath, http.StatusTemporaryRedirect)
		}, fault.Unavailable, nil},
	} {
		s.answer = tt.answer
		before := s.asked.Load()
		s.refused(name, tt.kind, tt.is)
		if asked := s.asked.Load() - before; asked != 1 {
			t.Errorf("%s: it was asked %d times", name, asked)
		}
	}
	if elsewhere.asked.Load() != 0 {
		t.Error("somebody else was asked")
	}
	// A region that signs an envelope that is none.
	for _, batch := range [][]byte{make([]byte, 16), make([]byte, 15), nil} {
		s.answer = func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(s.signedByHand(r, batch)) }
		if len(batch) == 16 {
			if _, err := s.ask(); err != nil {
				t.Fatalf("control: %v", err)
			}
			continue
		}
		s.refused(fmt.Sprintf("a batch of %d bytes", len(batch)), fault.Unavailable, nil)
	}
}

// signedByHand is an answer with an envelope of any batch, signed as a region does.
func (s *site) signedByHand(r *http.Request, batch []byte) []byte {
	var q relationship.Question
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = keys.DecodeStrict(b, &q)
	}
	e := envelope()
	sum := sha256.Sum256(keys.LP(keys.Text(e.HolderKeyID), batch, e.Enc, keys.U32(e.Index), e.Sealed))
	expires := q.At.Add(time.Minute)
	document, failed := json.Marshal(map[string]string{
		"token": q.Token, "organisation": q.Organisation, "at": q.At.Format("2006-01-02T15:04:05.000Z"), "request_hash": q.RequestHash,
		"decision": "allow", "expires": expires.Format("2006-01-02T15:04:05.000Z"), "envelope_sha256": hex.EncodeToString(sum[:]),
	})
	canonical, wrong := keys.Canonical(document)
	a := relationship.Answer{
		Decision: relationship.Allow, Expires: expires, Envelope: &relationship.Envelope{Key: e.HolderKeyID, Batch: batch, Enc: e.Enc, Index: e.Index, Sealed: e.Sealed},
		Signature: ed25519.Sign(s.private, keys.LP(keys.Text("tarn/relationship/v1"), canonical)),
	}
	b, last := json.Marshal(a)
	if err := errors.Join(err, failed, wrong, last); err != nil {
		s.Error(err)
	}
	return b
}

// TestAnswersThatComeTooLate: a region that takes longer than it may is away, whatever it
// would have said, and so is one for which nobody waits any more.
func TestAnswersThatComeTooLate(t *testing.T) {
	s := newSite(t)
	s.answer = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	s.options.Timeout = 50 * time.Millisecond
	s.refused("it hangs", fault.Unavailable, nil)
	s.answer = func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, `{"decision":`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	s.refused("it hangs in the middle", fault.Unavailable, nil)
	r, err := New([]Region{s.region}, Options{Certificate: s.options.Certificate, Clock: s.options.Clock})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.options.Timeout != askTimeout {
		t.Errorf("a question may take %s", r.options.Timeout)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hangs := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	s.current.Store(&hangs)
	if a, err := r.Ask(ctx, "lake", patient, "RX1", request); a != nil || err == nil {
		t.Errorf("nobody waits: %+v, %v", a, err)
	}
	// The clock goes on while the region thinks: what it says is of before.
	var late atomic.Int64
	s.options.Clock, s.options.Timeout = func() time.Time { return noon.Add(time.Duration(late.Load())) }, time.Minute
	good := s.signed(relationship.Allow, envelope(), noon)
	s.answer = func(w http.ResponseWriter, r *http.Request) { late.Store(int64(11 * time.Second)); good(w, r) }
	s.region.MaxAge = 10 * time.Second
	s.refused("longer than max_age", fault.Policy, relationship.ErrExpired)
	late.Store(0)
	s.region.MaxAge = 12 * time.Second
	if _, err := s.ask(); err != nil {
		t.Error(err)
	}
}

// TestWhoIsAsked: the region by its own authority's certificate and over TLS 1.3, and it
// takes this key holder's certificate.
func TestWhoIsAsked(t *testing.T) {
	s := newSite(t)
	if _, err := s.ask(); err != nil {
		t.Fatal(err)
	}
	roots, certificate := s.region.Roots, s.options.Certificate
	s.region.Roots = s.ours.pool
	s.refused("another authority", fault.Policy, nil)
	s.region.Roots, s.options.Certificate = roots, showing(s.theirs.certificate(t))
	// Which of the two is said depends on whether the alert comes before the connection ends.
	if a, err := s.ask(); a != nil || fault.KindOf(err) != fault.Policy && fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a certificate that the region does not know: %+v, %v", a, err)
	}
	s.options.Certificate = certificate
	s.options.Clock = func() time.Time { return noon.Add(2 * time.Hour) }
	s.refused("a certificate that has ended", fault.Policy, nil)
	s.options.Clock = func() time.Time { return noon }
	if got := s.asked.Load(); got != 1 {
		t.Errorf("it was asked %d times", got)
	}
	s.server.Close()
	s.refused("nobody is there", fault.Unavailable, nil)

	old := newSite(t)
	old.server.TLS.MinVersion, old.server.TLS.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	old.refused("TLS 1.2", fault.Policy, nil)
}

// TestQuestionsThatAreNotAsked: of a domain that nobody answers for, or that are none.
func TestQuestionsThatAreNotAsked(t *testing.T) {
	s := newSite(t)
	r, err := New([]Region{s.region}, s.options)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, ask := range map[string]func() (*Answer, error){
		"another domain":  func() (*Answer, error) { return r.Ask(t.Context(), "sea", patient, "RX1", request) },
		"no organisation": func() (*Answer, error) { return r.Ask(t.Context(), "lake", patient, "9434765919!", request) },
		"no request":      func() (*Answer, error) { return r.Ask(t.Context(), "lake", patient, "RX1", "9434765919") },
		"no token":        func() (*Answer, error) { return r.Ask(t.Context(), "lake", keys.Token{}, "RX1", request) },
	} {
		if a, err := ask(); a != nil || err == nil || strings.Contains(err.Error(), "9434765919") {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if s.asked.Load() != 0 {
		t.Error("the region was asked")
	}
}

// TestRegionsThatAreNone: settings with which nobody could be asked safely.
func TestRegionsThatAreNone(t *testing.T) {
	s := newSite(t)
	for name, change := range map[string]func(*Region){
		"no domain":          func(r *Region) { r.Domain = "" },
		"a number":           func(r *Region) { r.Domain = "9434765919" },
		"no address":         func(r *Region) { r.URL = "" },
		"in clear":           func(r *Region) { r.URL = "http://127.0.0.1:1" },
		"a name in it":       func(r *Region) { r.URL = "https://me:word@127.0.0.1:1" },
		"a path in it":       func(r *Region) { r.URL += "/tokens" },
		"a query in it":      func(r *Region) { r.URL += "?a=b" },
		"no authority":       func(r *Region) { r.Roots = nil },
		"no key":             func(r *Region) { r.Key = nil },
		"more than a minute": func(r *Region) { r.MaxAge = time.Minute + 1 },
		"less than nothing":  func(r *Region) { r.MaxAge = -1 },
	} {
		region := s.region
		change(&region)
		if _, err := New([]Region{region}, s.options); fault.KindOf(err) != fault.Usage || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New([]Region{s.region, s.region}, s.options); fault.KindOf(err) != fault.Usage || err == nil {
		t.Errorf("two regions of a domain: %v", err)
	}
	s.region.URL += "/"
	if _, err := s.ask(); err != nil {
		t.Error(err)
	}
}

// FuzzAnswers: no bytes are taken for an answer but what the region has signed.
func FuzzAnswers(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	r := &region{Region: Region{Domain: "lake", Key: key.Public().(ed25519.PublicKey), MaxAge: time.Minute}}
	q := &relationship.Question{Token: patient.String(), Organisation: "RX1", At: noon.Truncate(time.Millisecond), RequestHash: request}
	signed := map[string]relationship.Answer{} // by the signature
	for _, decision := range []relationship.Decision{relationship.Allow, relationship.Deny} {
		for _, e := range []*escrow.Envelope{nil, envelope()} {
			a, err := relationship.Sign(q, decision, e, noon, key)
			if err != nil {
				f.Fatal(err)
			}
			b, err := json.Marshal(a)
			if err != nil {
				f.Fatal(err)
			}
			signed[string(a.Signature)] = *a
			f.Add(b)
		}
	}
	f.Add([]byte("{}"))
	f.Add([]byte(`{"decision":"allow","expires":"2026-11-26T12:01:00.123Z","envelope":{},"signature":""}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		answer, err := r.read("reading", q, b, noon)
		if (answer == nil) == (err == nil) {
			t.Fatalf("%+v, %v", answer, err)
		}
		if err != nil {
			return
		}
		var a relationship.Answer
		err = json.Unmarshal(b, &a)
		made, there := signed[string(a.Signature)]
		if err != nil || !there || made.Decision != answer.Decision || (answer.Envelope == nil) != (made.Envelope == nil) {
			t.Fatalf("taken: %+v, %v", answer, err)
		}
	})
}

// TestSeedsAreTaken is the control of FuzzAnswers: what is signed is taken.
func TestSeedsAreTaken(t *testing.T) {
	s := newSite(t)
	q := &relationship.Question{Token: patient.String(), Organisation: "RX1", At: noon.Truncate(time.Millisecond), RequestHash: request}
	a, err := relationship.Sign(q, relationship.Allow, envelope(), noon, s.private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	s.region.MaxAge = time.Minute
	if _, err := (&region{Region: s.region}).read("reading", q, b, noon); err != nil {
		t.Error(err)
	}
}
