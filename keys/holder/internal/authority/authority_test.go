package authority

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/keys/enrol"
	"tarn/keys/fault"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func newAuthority(t testing.TB) *Authority {
	t.Helper()
	a, err := New("Tarn key holder", noon, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func ecdsaKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t testing.TB, key crypto.Signer, template *x509.CertificateRequest) []byte {
	t.Helper()
	if template == nil {
		template = &x509.CertificateRequest{}
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pool(t testing.TB, a *Authority) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(a.CertificatePEM()) {
		t.Fatal("the authority's PEM is not taken")
	}
	return p
}

func verify(t testing.TB, a *Authority, der []byte, usage x509.ExtKeyUsage, at time.Time) error {
	t.Helper()
	_, err := parse(t, der).Verify(x509.VerifyOptions{Roots: pool(t, a), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage}})
	return err
}

func TestAuthorityCertificate(t *testing.T) {
	c := parse(t, newAuthority(t).Certificate())
	if !c.IsCA || !c.BasicConstraintsValid || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign {
		t.Error("it is not a certificate of an authority that signs nothing but leaves")
	}
	if c.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() || c.Subject.CommonName != "Tarn key holder" {
		t.Error("its key or its name is another")
	}
	if want := noon.AddDate(10, 0, 0); !c.NotAfter.Equal(want) || !c.NotBefore.Equal(noon.Add(-skew)) {
		t.Errorf("it lasts from %v to %v", c.NotBefore, c.NotAfter)
	}
	for _, name := range []string{"", " x", "x ", "a\nb", "a\x00b", "a\u202eb", "\xff", strings.Repeat("x", 65)} {
		if _, err := New(name, noon, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("an authority of the name %q: %v", name, err)
		}
	}
	if _, err := New("Äquator 1", noon, nil); err != nil {
		t.Errorf("the control: %v", err)
	}
	if _, err := New("x", noon, bytes.NewReader(make([]byte, 3))); err == nil {
		t.Error("a short read made a serial number")
	}
	if _, err := New("x", noon, bytes.NewReader(make([]byte, 64))); err == nil {
		t.Error("a generator of zeros made a serial number")
	}
}

// TestClientAndServerCertificates: each holds for its own use, not for the
// other's, not for another authority, and not after its end.
func TestClientAndServerCertificates(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{ecdsaKey(t, elliptic.P256()), ecdsaKey(t, elliptic.P384()), edKey} {
		csr := request(t, key, nil)
		client, err := a.SignClient(csr, "north-1", 0, noon)
		if err != nil {
			t.Fatal(err)
		}
		server, err := a.SignServer(csr, []string{"keyholder.example"}, []net.IP{net.ParseIP("127.0.0.1"), net.IPv6loopback}, time.Hour, noon)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name       string
			issued     Issued
			use, wrong x509.ExtKeyUsage
			lasts      time.Duration
		}{
			{"client", client, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth, DefaultLifetime},
			{"server", server, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, time.Hour},
		} {
			der := tt.issued.DER
			if err := verify(t, a, der, tt.use, noon); err != nil {
				t.Errorf("%s: its chain does not hold: %v", tt.name, err)
			}
			if err := verify(t, a, der, tt.wrong, noon); err == nil {
				t.Errorf("%s: it holds for another use", tt.name)
			}
			if err := verify(t, a, der, x509.ExtKeyUsageCodeSigning, noon); err == nil {
				t.Errorf("%s: it holds for code signing", tt.name)
			}
			if err := verify(t, other, der, tt.use, noon); err == nil {
				t.Errorf("%s: it holds for another authority", tt.name)
			}
			if !tt.issued.End.Equal(noon.Add(tt.lasts)) || !parse(t, der).NotAfter.Equal(tt.issued.End) {
				t.Errorf("%s: it ends at %v", tt.name, tt.issued.End)
			}
			if verify(t, a, der, tt.use, noon.Add(tt.lasts)) != nil || verify(t, a, der, tt.use, noon.Add(tt.lasts+time.Second)) == nil {
				t.Errorf("%s: its end does not count", tt.name)
			}
			c := parse(t, der)
			if c.IsCA || !c.BasicConstraintsValid || c.KeyUsage != x509.KeyUsageDigitalSignature || len(c.ExtKeyUsage) != 1 || len(c.UnknownExtKeyUsage) > 0 {
				t.Errorf("%s: it may do more than it should", tt.name)
			}
		}
		c := parse(t, client.DER)
		if len(c.URIs) != 1 || c.URIs[0].String() != "tarn://client/north-1" || c.Subject.String() != "CN=north-1" {
			t.Errorf("the client's names are %v and %v", c.URIs, c.Subject)
		}
		s := parse(t, server.DER)
		if s.VerifyHostname("keyholder.example") != nil || s.VerifyHostname("127.0.0.1") != nil || s.VerifyHostname("other.example") == nil {
			t.Error("the server's names are others")
		}
		if Fingerprint(client.DER) != sha256.Sum256(client.DER) {
			t.Error("the fingerprint is another")
		}
	}
}

// TestSerialsAreOfTheGivenGenerator: 128 bits, another for each certificate.
func TestSerialsAreOfTheGivenGenerator(t *testing.T) {
	var random []byte
	for i := range 3 * serialSize {
		random = append(random, byte(0xF0+i))
	}
	a, err := New("x", noon, bytes.NewReader(random))
	if err != nil {
		t.Fatal(err)
	}
	csr := request(t, ecdsaKey(t, elliptic.P256()), nil)
	serials := []*big.Int{parse(t, a.Certificate()).SerialNumber}
	for range 2 {
		issued, err := a.SignClient(csr, "a", 0, noon)
		if err != nil {
			t.Fatal(err)
		}
		serials = append(serials, parse(t, issued.DER).SerialNumber)
	}
	for i, serial := range serials {
		if want := new(big.Int).SetBytes(random[i*serialSize : (i+1)*serialSize]); serial.Cmp(want) != 0 {
			t.Errorf("serial number %d is %x, want %x", i, serial, want)
		}
	}
	if _, err := a.SignClient(csr, "a", 0, noon); err == nil {
		t.Error("an empty generator made a serial number")
	}
}

// TestRequestsGetNothingButTheirKey: a request that asks for an authority's
// rights, other names and other uses gets a client's certificate.
func TestRequestsGetNothingButTheirKey(t *testing.T) {
	marshal := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key := ecdsaKey(t, elliptic.P256())
	csr := request(t, key, &x509.CertificateRequest{
		Subject:        pkix.Name{CommonName: "operator", Organization: []string{"NHS England"}},
		DNSNames:       []string{"keyholder.example"},
		EmailAddresses: []string{"a@example"},
		IPAddresses:    []net.IP{net.IPv6loopback},
		URIs:           []*url.URL{{Scheme: "tarn", Host: "client", Path: "/operator"}},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: marshal(struct{ IsCA bool }{true})},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Critical: true, Value: marshal(asn1.BitString{Bytes: []byte{0x06}, BitLength: 7})},
			{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: marshal([]asn1.ObjectIdentifier{{2, 5, 29, 37, 0}})},
			{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}},
		},
	})
	if asked, err := x509.ParseCertificateRequest(csr); err != nil || len(asked.Extensions) < 5 {
		t.Fatalf("the control: the request does not ask for what it should: %v", err)
	}
	a := newAuthority(t)
	issued, err := a.SignClient(csr, "north", 0, noon)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := a.SignClient(request(t, key, nil), "north", 0, noon)
	if err != nil {
		t.Fatal(err)
	}
	got, want := parse(t, issued.DER), parse(t, plain.DER)
	same := func(a, b pkix.Extension) bool {
		return a.Id.Equal(b.Id) && a.Critical == b.Critical && bytes.Equal(a.Value, b.Value)
	}
	if !slices.EqualFunc(got.Extensions, want.Extensions, same) || !bytes.Equal(got.RawSubject, want.RawSubject) {
		t.Error("the request got more than a plain one gets")
	}
	if got.IsCA || len(got.DNSNames)+len(got.IPAddresses)+len(got.EmailAddresses) > 0 || verify(t, a, issued.DER, x509.ExtKeyUsageAny, noon) != nil {
		t.Error("the request got what it asked for")
	}
	// What it signs is worth nothing.
	forged, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon.Add(time.Hour)}, got, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	intermediates := x509.NewCertPool()
	intermediates.AddCert(got)
	if _, err := parse(t, forged).Verify(x509.VerifyOptions{Roots: pool(t, a), Intermediates: intermediates, CurrentTime: noon, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("a client signs certificates that hold")
	}
}

func TestRequestRefusals(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	good := request(t, key, nil)
	// another's key with one's own signature
	foreign := bytes.Clone(good)
	at := bytes.Index(foreign, point(t, key))
	if at < 0 {
		t.Fatal("the key is not found in its request")
	}
	victim := ecdsaKey(t, elliptic.P256())
	copy(foreign[at:], point(t, victim))
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	t.Setenv("GODEBUG", "rsa1024min=0")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		csr  []byte
		want string
	}{
		{"empty", nil, "not PKCS #10"},
		{"text", []byte("-----BEGIN CERTIFICATE REQUEST-----"), "not PKCS #10"},
		{"cut", good[:len(good)-1], "not PKCS #10"},
		{"trailing", append(bytes.Clone(good), 0), "not PKCS #10"},
		{"endless", append(bytes.Clone(good), make([]byte, maxRequest)...), "longer than 16 KiB"},
		{"another's key", foreign, "not signed by the key it is for"},
		{"flipped signature", flipped, "not signed by the key it is for"},
		{"RSA 1024", request(t, small, nil), "not ECDSA P-256 or P-384, or Ed25519"},
		{"RSA 2048", request(t, large, nil), "not ECDSA P-256 or P-384, or Ed25519"},
		{"P-224", request(t, ecdsaKey(t, elliptic.P224()), nil), "not ECDSA P-256 or P-384, or Ed25519"},
		{"P-521", request(t, ecdsaKey(t, elliptic.P521()), nil), "not ECDSA P-256 or P-384, or Ed25519"},
		{"SHA-1", signedWithSHA1(t, good, key), "not signed with SHA-256"},
	}
	a := newAuthority(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, sign := range signers(a) {
				issued, err := sign(tt.csr, noon)
				if fault.KindOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), tt.want) || issued.DER != nil {
					t.Errorf("got %v, want it to say %q", err, tt.want)
				}
			}
		})
	}
	for _, sign := range signers(a) {
		if _, err := sign(good, noon); err != nil {
			t.Errorf("the control: %v", err)
		}
	}
}

// point returns a public key as requests hold it.
func point(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signers are both ways to a certificate.
func signers(a *Authority) []func([]byte, time.Time) (Issued, error) {
	return []func([]byte, time.Time) (Issued, error){
		func(csr []byte, now time.Time) (Issued, error) { return a.SignClient(csr, "a", 0, now) },
		func(csr []byte, now time.Time) (Issued, error) {
			return a.SignServer(csr, []string{"a.example"}, nil, 0, now)
		},
	}
}

// signedWithSHA1 signs the body of a request again, with SHA-1.
func signedWithSHA1(t *testing.T, csr []byte, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	parsed, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		t.Fatal(err)
	}
	digest := crypto.SHA1.New()
	digest.Write(parsed.RawTBSCertificateRequest)
	signature, err := key.Sign(rand.Reader, digest.Sum(nil), crypto.SHA1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := asn1.Marshal(struct {
		Body      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		asn1.RawValue{FullBytes: parsed.RawTBSCertificateRequest},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}},
		asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)},
	})
	if err != nil {
		t.Fatal(err)
	}
	control, err := x509.ParseCertificateRequest(again)
	if err != nil || control.SignatureAlgorithm != x509.ECDSAWithSHA1 {
		t.Fatalf("the control: it is not a request with SHA-1: %v", err)
	}
	return again
}

func TestNamesLifetimesAndTimes(t *testing.T) {
	a := newAuthority(t)
	csr := request(t, ecdsaKey(t, elliptic.P256()), nil)
	for _, name := range []ClientName{"", "a\x00b", "a\nb", "North", "a/b", "../a", "a b", "é", ClientName(strings.Repeat("a", 33))} {
		if _, err := a.SignClient(csr, name, 0, noon); fault.KindOf(err) != fault.Usage {
			t.Errorf("the client's name %q: %v", name, err)
		}
	}
	for _, names := range [][]string{
		nil, {""}, {"a\x00.example"}, {"*.example"}, {"a..example"}, {"-a.example"}, {"A.example"}, {"127.0.0.1"}, {"a.example", "b_c"},
		{strings.Repeat("a", 64)}, {strings.Repeat("abcdefg.", 32) + "example"}, slices.Repeat([]string{"a.example"}, maxNames+1),
	} {
		if _, err := a.SignServer(csr, names, nil, 0, noon); fault.KindOf(err) != fault.Usage {
			t.Errorf("the server's names %q: %v", names, err)
		}
	}
	for _, address := range []net.IP{nil, {1, 2}, net.IPv4zero, net.IPv4allsys} {
		if _, err := a.SignServer(csr, []string{"a.example"}, []net.IP{address}, 0, noon); fault.KindOf(err) != fault.Usage {
			t.Errorf("the server's address %v: %v", address, err)
		}
	}
	for _, lifetime := range []time.Duration{-time.Hour, time.Second, MaxLifetime + time.Second} {
		if _, err := a.SignClient(csr, "a", lifetime, noon); fault.KindOf(err) != fault.Usage {
			t.Errorf("the lifetime %v: %v", lifetime, err)
		}
	}
	end := noon.AddDate(10, 0, 0)
	for _, sign := range signers(a) {
		for _, now := range []time.Time{noon.Add(-time.Hour), end, end.Add(time.Hour)} {
			if _, err := sign(csr, now); fault.KindOf(err) != fault.Policy {
				t.Errorf("signed at %v: %v", now, err)
			}
		}
		issued, err := sign(csr, end.Add(-time.Hour))
		if err != nil || !issued.End.Equal(end) {
			t.Errorf("just before the authority's end: until %v, %v", issued.End, err)
		}
		issued, err = sign(csr, noon.Add(-time.Minute))
		if err != nil || parse(t, issued.DER).NotBefore.Before(noon.Add(-skew)) {
			t.Errorf("a certificate begins before its authority: %v", err)
		}
	}
}

func TestLoad(t *testing.T) {
	a := newAuthority(t)
	key, err := a.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(a.CertificatePEM(), key, nil)
	if err != nil {
		t.Fatal(err)
	}
	csr := request(t, ecdsaKey(t, elliptic.P256()), nil)
	issued, err := again.SignClient(csr, "north", 0, noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t, a, issued.DER, x509.ExtKeyUsageClientAuth, noon); err != nil {
		t.Errorf("what a loaded authority signs does not hold: %v", err)
	}
	otherKey, err := newAuthority(t).MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	leafKey := ecdsaKey(t, elliptic.P256())
	leaf, err := a.SignClient(request(t, leafKey, nil), "leaf", 0, noon)
	if err != nil {
		t.Fatal(err)
	}
	marshal := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	selfSigned := func(isAuthority bool, usage x509.KeyUsage) []byte {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: noon, NotAfter: noon.Add(time.Hour), BasicConstraintsValid: true, IsCA: isAuthority, KeyUsage: usage,
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, leafKey.Public(), leafKey)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: certificate, Bytes: der})
	}
	if _, err := Load(selfSigned(true, x509.KeyUsageCertSign), marshal(leafKey), nil); err != nil {
		t.Errorf("an authority that was made elsewhere: %v", err)
	}
	inPEM := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for _, tt := range []struct {
		name             string
		certificate, key []byte
		want             string
	}{
		{"no PEM", a.Certificate(), key, "not one PEM block"},
		{"two blocks", append(a.CertificatePEM(), a.CertificatePEM()...), key, "not one PEM block"},
		{"another block", inPEM("PRIVATE KEY", a.Certificate()), key, "not one PEM block"},
		{"broken", inPEM(certificate, a.Certificate()[:100]), key, "cannot be read"},
		{"a client's", inPEM(certificate, leaf.DER), marshal(leafKey), "may not sign others"},
		{"no authority", selfSigned(false, x509.KeyUsageCertSign), marshal(leafKey), "may not sign others"},
		{"an authority for other uses", selfSigned(true, x509.KeyUsageCRLSign), marshal(leafKey), "may not sign others"},
		{"no key", a.CertificatePEM(), nil, "not one in PKCS #8"},
		{"key in PEM", a.CertificatePEM(), inPEM("PRIVATE KEY", key), "not one in PKCS #8"},
		{"RSA", a.CertificatePEM(), marshal(rsaKey), "not ECDSA"},
		{"another's key", a.CertificatePEM(), otherKey, "not that of the certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Load(tt.certificate, tt.key, nil); fault.KindOf(err) != fault.Usage || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
}

// TestHandshake: a client that enrolled and a server speak TLS 1.3 with mutual
// authentication; each refuses the other's certificate in its own role, and
// that of another authority.
func TestHandshake(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	pair := func(signer *Authority, server bool) tls.Certificate {
		made, err := enrol.NewClientKeys()
		if err != nil {
			t.Fatal(err)
		}
		var issued Issued
		if server {
			issued, err = signer.SignServer(made.CSR, []string{"keyholder.example"}, nil, 0, noon)
		} else {
			issued, err = signer.SignClient(made.CSR, "north", 0, noon)
		}
		if err != nil {
			t.Fatal(err)
		}
		var pair tls.Certificate
		if err := made.UsePrivate(func(tlsKey, _ []byte) error {
			pair, err = tls.X509KeyPair(pem.EncodeToMemory(&pem.Block{Type: certificate, Bytes: issued.DER}), tlsKey)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return pair
	}
	client, server := pair(a, false), pair(a, true)
	for _, tt := range []struct {
		name           string
		client, server tls.Certificate
		clock          time.Time
		ok             bool
	}{
		{"both enrolled", client, server, noon, true},
		{"a client as the server", client, client, noon, false},
		{"a server as the client", server, server, noon, false},
		{"a stranger's client", pair(other, false), server, noon, false},
		{"a stranger's server", client, pair(other, true), noon, false},
		{"no client", tls.Certificate{}, server, noon, false},
		{"too late", client, server, noon.Add(DefaultLifetime + time.Second), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clock := func() time.Time { return tt.clock }
			peer, err := talk(&tls.Config{
				MinVersion: tls.VersionTLS13, Time: clock, Certificates: []tls.Certificate{tt.server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(t, a),
			}, &tls.Config{
				MinVersion: tls.VersionTLS13, Time: clock, Certificates: []tls.Certificate{tt.client}, RootCAs: pool(t, a), ServerName: "keyholder.example",
			})
			if (err == nil) != tt.ok || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the handshake gave %v", err)
			}
			if tt.ok && (peer.Version != tls.VersionTLS13 || Fingerprint(peer.PeerCertificates[0].Raw) != Fingerprint(client.Certificate[0])) {
				t.Error("the server saw another version or client")
			}
		})
	}
}

// talk sends a word from client to server and back, and returns what the server
// knows of the connection.
func talk(serverConfig, clientConfig *tls.Config) (tls.ConnectionState, error) {
	a, b := net.Pipe()
	server, client := tls.Server(a, serverConfig), tls.Client(b, clientConfig)
	deadline := time.Now().Add(20 * time.Second)
	served := make(chan error, 1)
	go func() {
		defer a.Close()
		served <- func() error {
			if err := a.SetDeadline(deadline); err != nil {
				return err
			}
			word := make([]byte, 4)
			if _, err := io.ReadFull(server, word); err != nil {
				return err
			}
			_, err := server.Write(word)
			return err
		}()
	}()
	asked := func() error {
		defer b.Close()
		if err := b.SetDeadline(deadline); err != nil {
			return err
		}
		if err := client.Handshake(); err != nil {
			return err
		}
		// A pipe holds nothing: a server that refuses writes its alert while the
		// client writes its word.
		wrote := make(chan struct{})
		go func() {
			defer close(wrote)
			_, _ = client.Write([]byte("word")) // the answer says whether it came
		}()
		word := make([]byte, 4)
		_, err := io.ReadFull(client, word)
		_ = b.Close() // ends the writing
		<-wrote
		return err
	}()
	return server.ConnectionState(), errors.Join(asked, <-served)
}

// everyPrinting returns all that the standard library makes of v.
func everyPrinting(v any) string {
	var out bytes.Buffer
	for _, verb := range "vsdxXqobTp" {
		for _, flag := range []string{"%", "%+", "%#", "% "} {
			fmt.Fprintf(&out, flag+string(verb)+"\n", v)
		}
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "v", v, slog.Any("g", v))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "v", v)
	b, err := json.Marshal(v)
	fmt.Fprintln(&out, string(b), err)
	fmt.Fprintln(&out, gob.NewEncoder(&out).Encode(v))
	return out.String()
}

// leaks reports whether a printing holds the secret number of a key, in a form
// that Go prints numbers and bytes in.
func leaks(printed string, key *ecdsa.PrivateKey) bool {
	b, err := key.Bytes()
	if err != nil {
		panic(err)
	}
	d := new(big.Int).SetBytes(b)
	forms := []string{d.String(), d.Text(16), strings.ToUpper(d.Text(16)), strings.Trim(fmt.Sprint(b[:6]), "[]"), fmt.Sprintf("% x", b[:6])}
	for i := range 3 { // base64 at each of its alignments
		forms = append(forms, base64.RawStdEncoding.EncodeToString(b[i : i+6])[1:7])
	}
	for _, word := range d.Bits() {
		forms = append(forms, fmt.Sprint(uint(word)), fmt.Sprintf("%x", uint(word)))
	}
	return slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(printed, form) })
}

func TestNeverPrinted(t *testing.T) {
	a := newAuthority(t)
	key := a.get().key.(*ecdsa.PrivateKey)
	der, err := a.MarshalKey()
	if err != nil {
		t.Fatal(err)
	}
	_, wrong := Load(a.CertificatePEM(), der[:len(der)-1], nil)
	for _, v := range []any{a, *a, struct{ inner *Authority }{a}, []any{struct{ inner Authority }{*a}}, wrong} {
		if leaks(everyPrinting(v), key) {
			t.Errorf("%T prints the key", v)
		}
	}
	if !leaks(everyPrinting(struct{ inner *ecdsa.PrivateKey }{key})+everyPrinting(*key), key) {
		t.Error("a planted leak is not found: this test proves nothing")
	}
}

// FuzzRequest: nothing that is not a request makes a certificate, or a panic.
func FuzzRequest(f *testing.F) {
	a := newAuthority(f)
	good := request(f, ecdsaKey(f, elliptic.P256()), nil)
	f.Add(good)
	f.Add(good[:60])
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, csr []byte) {
		issued, err := a.SignClient(csr, "north", 0, noon)
		if err != nil {
			if issued.DER != nil || fault.KindOf(err) != fault.Usage {
				t.Fatalf("refused with a certificate, or with another kind: %v", err)
			}
			return
		}
		if err := verify(t, a, issued.DER, x509.ExtKeyUsageClientAuth, noon); err != nil {
			t.Fatal(err)
		}
	})
}
