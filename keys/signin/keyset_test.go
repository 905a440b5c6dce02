package signin

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tarn/keys/fault"
)

// stranger is a key that the issuer does not have.
func stranger() ed25519.PrivateKey {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	return private
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
	template.NotBefore, template.NotAfter = noon.Add(-time.Hour), noon.Add(24*time.Hour)
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

// tlsServer is a server with a certificate of an authority.
type tlsServer struct {
	*httptest.Server
	certificate []byte
	roots       *x509.CertPool
}

func serveTLS(t *testing.T, a *authority, answer http.HandlerFunc) tlsServer {
	t.Helper()
	key, cert := a.issue(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	s := tlsServer{Server: httptest.NewUnstartedServer(answer), certificate: cert.Raw, roots: a.pool}
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// TestKeysThatAreNotUsed: a set's key that no token should be verified with is as if it were
// not there, and the rest of the set is used.
func TestKeysThatAreNotUsed(t *testing.T) {
	ec := signers()["ec"]
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	with := func(differ object) object { return but(signers()["rsa"].jwk(), differ) }
	symmetric := object{"kty": "oct", "kid": "rsa", "alg": "HS256", "k": text64([]byte("secret"))}
	for name, tt := range map[string]struct {
		key  object
		from signer
		want bool
	}{
		"as it should be":      {with(nil), signers()["rsa"], true},
		"without alg and use":  {with(object{"alg": nil, "use": nil}), signers()["rsa"], true},
		"for verifying":        {with(object{"key_ops": []string{"verify"}}), signers()["rsa"], true},
		"with more members":    {with(object{"x5t": "eA", "x5c": []string{"no certificate"}, "x5u": "https://evil.example", "nbf": 1}), signers()["rsa"], true},
		"for another alg":      {with(object{"alg": "RS512"}), signers()["rsa"], false},
		"for encrypting":       {with(object{"use": "enc"}), signers()["rsa"], false},
		"for signing only":     {with(object{"key_ops": []string{"sign"}}), signers()["rsa"], false},
		"nameless":             {with(object{"kid": nil}), signers()["rsa"], false},
		"private":              {with(object{"d": "AQAB"}), signers()["rsa"], false},
		"of a small exponent":  {with(object{"e": "Aw"}), signers()["rsa"], false},
		"of an even modulus":   {with(object{"n": text64(append(signers()["rsa"].private.(*rsa.PrivateKey).N.Bytes()[:255], 0))}), signers()["rsa"], false},
		"of 8200 bits":         {with(object{"n": text64(bytes.Repeat([]byte{0xff}, 1025))}), signers()["rsa"], false},
		"of 1024 bits":         {signer{"rsa", "RS256", short}.jwk(), signer{"rsa", "RS256", short}, false},
		"symmetric":            {symmetric, signers()["rsa"], false},
		"of another curve":     {but(ec.jwk(), object{"kid": "rsa", "crv": "P-384"}), signer{"rsa", "ES256", ec.private}, false},
		"of a point elsewhere": {but(ec.jwk(), object{"kid": "rsa", "x": ec.jwk()["y"]}), signer{"rsa", "ES256", ec.private}, false},
		"no key":               {object{"kid": "rsa"}, signers()["rsa"], false},
		"of numbers":           {object{"kid": 1, "kty": "RSA"}, signers()["rsa"], false},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.Keys = keysOf(t, tt.key, ec.jwk())
			v := verifier(t, o)
			taken(t, v, ec.token(cis2()))
			if token := tt.from.token(cis2()); tt.want {
				taken(t, v, token)
			} else {
				refused(t, v, token, KeyUnknown)
			}
		})
	}
	// The secret of a symmetric key signs nothing.
	o := options(t)
	o.Keys = keysOf(t, symmetric, ec.jwk())
	refused(t, verifier(t, o), hmacToken([]byte("secret"), "rsa", cis2()), Algorithm)
	// Of two keys with one name neither is used, unless the algorithm says which.
	second := signers()["rsa-2"]
	o.Keys = keysOf(t, signers()["rsa"].jwk(), but(second.jwk(), object{"kid": "rsa"}), but(ec.jwk(), object{"kid": "rsa"}))
	v := verifier(t, o)
	refused(t, v, signers()["rsa"].token(cis2()), KeyUnknown)
	taken(t, v, signer{"rsa", "ES256", ec.private}.token(cis2()))
}

// TestKeySetsThatAreNone: nothing begins without keys.
func TestKeySetsThatAreNone(t *testing.T) {
	good := document(object{"keys": []object{signers()["ec"].jwk()}})
	var full []object
	for range maxKeys + 1 {
		full = append(full, signers()["ec"].jwk())
	}
	for name, content := range map[string]string{
		"nothing": "", "empty": "{}", "null": "null", "no keys": `{"keys":[]}`, "a key": document(signers()["ec"].jwk()), "twice": good + good,
		"keys twice": strings.Replace(good, "{", `{"keys":[],`, 1), "too many": document(object{"keys": full}), "too long": good + strings.Repeat(" ", maxKeySet),
		"PEM": "-----BEGIN PUBLIC KEY-----",
	} {
		path := keySet(t)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := KeysInFile(path, silent); fault.KindOf(err) != fault.Usage || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := KeysInFile(keySet(t)+"x", silent); fault.KindOf(err) != fault.Usage {
		t.Errorf("no file: %v", err)
	}
	if _, err := readKeys([]byte(good)); err != nil {
		t.Errorf("control: %v", err)
	}
}

// TestFilesAreReadAgain when they have changed; what cannot be read changes nothing.
func TestFilesAreReadAgain(t *testing.T) {
	ec, ed := signers()["ec"], signers()["ed"]
	path := keySet(t, ec.jwk())
	source, err := KeysInFile(path, silent)
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Keys = source
	v := verifier(t, o)
	write := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	taken(t, v, ec.token(cis2()))
	refused(t, v, ed.token(cis2()), KeyUnknown)
	write("{")
	taken(t, v, ec.token(cis2()))
	write(document(object{"keys": []object{ed.jwk()}}))
	taken(t, v, ed.token(cis2()))
	refused(t, v, ec.token(cis2()), KeyUnknown)
	// As long as it was.
	write(document(object{"keys": []object{but(ed.jwk(), object{"kid": "de"})}}))
	if err := os.Chtimes(path, noon, noon); err != nil {
		t.Fatal(err)
	}
	ed.id = "de"
	taken(t, v, ed.token(cis2()))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	taken(t, v, ed.token(cis2()))
}

// provider is a server of keys, and a verifier that fetches them.
type provider struct {
	*testing.T
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int32
	mu     sync.Mutex
	now    time.Time
	v      *Verifier
}

func (p *provider) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *provider) later(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

func (p *provider) with(answer http.HandlerFunc) { p.answer.Store(&answer) }

func (p *provider) has(all ...signer) {
	var keys []object
	for _, s := range all {
		keys = append(keys, s.jwk())
	}
	p.with(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, document(object{"keys": keys})) })
}

// token lasts as long as a test.
func (p *provider) token(s signer) string {
	return s.token(but(cis2(), object{"exp": noon.Add(12 * time.Hour).Unix()}))
}

func (p *provider) wasAsked(times int32) {
	p.Helper()
	if asked := p.asked.Swap(0); asked != times {
		p.Errorf("the provider was asked %d times, not %d", asked, times)
	}
}

func newProvider(t *testing.T, change func(*URLOptions)) *provider {
	t.Helper()
	p := &provider{T: t, now: noon}
	server := serveTLS(t, newAuthority(t), func(w http.ResponseWriter, r *http.Request) { p.asked.Add(1); (*p.answer.Load())(w, r) })
	p.has(signers()["ec"])
	o := URLOptions{URL: server.URL + "/keys", Roots: server.roots, Clock: p.clock, Logger: silent}
	change(&o)
	source, err := KeysAtURL(o)
	if err != nil {
		t.Fatal(err)
	}
	all := options(t)
	all.Keys, all.Clock = source, p.clock
	p.v = verifier(t, all)
	return p
}

// TestFetching: keys are fetched when first needed, each hour, and when one is not known,
// and then not again for a minute; what fails leaves the last ones.
func TestFetching(t *testing.T) {
	p := newProvider(t, func(*URLOptions) {})
	ec, ed := signers()["ec"], signers()["ed"]
	p.wasAsked(0)
	taken(t, p.v, p.token(ec))
	taken(t, p.v, p.token(ec))
	p.wasAsked(1)
	// A flood of names that are not known does not become one of questions.
	for range 10 {
		refused(t, p.v, p.token(ed), KeyUnknown)
	}
	p.wasAsked(0)
	p.has(ec, ed)
	p.later(time.Minute)
	taken(t, p.v, p.token(ed))
	p.wasAsked(1)
	// A key that has gone counts for an hour at most.
	p.has(ed)
	p.later(59 * time.Minute)
	taken(t, p.v, p.token(ec))
	p.wasAsked(0)
	p.later(time.Minute)
	refused(t, p.v, p.token(ec), KeyUnknown)
	p.wasAsked(1)
	// The provider is away.
	for name, answer := range map[string]http.HandlerFunc{
		"failed": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, document(object{"keys": []object{ec.jwk()}})) // not taken
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"no keys": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(" ", maxKeySet)+"{}")
		},
		"a panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			_, _ = w.Write(nil)
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) },
	} {
		p.with(answer)
		p.later(time.Hour)
		if _, err := p.v.Verify(t.Context(), p.token(ed)); err != nil {
			t.Errorf("%s: the last keys do not stay: %v", name, err)
		}
		p.wasAsked(1)
		refused(t, p.v, p.token(ec), KeysUnavailable)
		p.wasAsked(0)
	}
}

// TestNoKeysAtAll: without keys nobody signs in, and they are fetched again soon.
func TestNoKeysAtAll(t *testing.T) {
	other := newAuthority(t)
	for name, change := range map[string]func(*URLOptions){
		"of another authority": func(o *URLOptions) { o.Roots = other.pool },
		"nobody there":         func(o *URLOptions) { o.URL = "https://127.0.0.1:1/keys" },
		"of the system":        func(o *URLOptions) { o.Roots = x509.NewCertPool() },
	} {
		p := newProvider(t, change)
		refused(t, p.v, p.token(signers()["ec"]), KeysUnavailable)
		if asked := p.asked.Load(); asked != 0 {
			t.Errorf("%s: somebody was asked", name)
		}
	}
	p := newProvider(t, func(*URLOptions) {})
	p.with(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	for range 5 {
		refused(t, p.v, p.token(signers()["ec"]), KeysUnavailable)
	}
	p.wasAsked(1)
	p.has(signers()["ec"])
	p.later(firstPause)
	taken(t, p.v, p.token(signers()["ec"]))
	p.wasAsked(1)
	for _, address := range []string{"http://127.0.0.1/keys", "/keys", "", "https://a@127.0.0.1/"} {
		if _, err := KeysAtURL(URLOptions{URL: address, Roots: other.pool}); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: %v", address, err)
		}
	}
	if _, err := KeysAtURL(URLOptions{URL: "https://127.0.0.1/"}); fault.KindOf(err) != fault.Usage {
		t.Errorf("without roots: %v", err)
	}
}

// TestOneFetchForMany: those who come while keys are fetched wait for them, and for no
// longer than they want to.
func TestOneFetchForMany(t *testing.T) {
	p := newProvider(t, func(*URLOptions) {})
	release := make(chan struct{})
	p.with(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = io.WriteString(w, document(object{"keys": []object{signers()["ec"].jwk()}}))
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.v.Verify(ctx, p.token(signers()["ec"])); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait gets %v", err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := p.v.Verify(t.Context(), p.token(signers()["ec"])); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	all.Wait()
	p.wasAsked(1)
}
