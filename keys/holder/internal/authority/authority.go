// Package authority is the key holder's own small certificate authority: it
// signs the certificates of clients that enrol, and of the key holder itself.
//
// It promises that a certificate says only what the key holder decided. Of a
// request nothing is taken but its public key, once its signature shows that
// the asker holds the private one; names, extensions and usages that it asks
// for are ignored. The authority's own key is printed by nothing.
package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tarn/keys"
	"tarn/keys/fault"
)

// How long certificates last.
const (
	DefaultLifetime = 90 * 24 * time.Hour  // of a client's or a server's, where none is asked for
	MaxLifetime     = 366 * 24 * time.Hour // of a client's or a server's
	authorityYears  = 10
	// skew is how long before it is made a certificate is valid: clocks differ.
	skew = 5 * time.Minute
)

const (
	serialSize  = 16      // bytes
	maxName     = 64      // bytes: the limit of a common name, RFC 5280 appendix A.1
	maxRequest  = 1 << 14 // bytes
	maxNames    = 64      // DNS names and addresses of a server
	maxDNSName  = 253     // bytes, RFC 1035
	certificate = "CERTIFICATE"
	redacted    = "[redacted]"
)

// ClientName is the name of a client in the key holder's table: [keys.ValidName].
type ClientName string

// Issued is a certificate that the authority signed.
type Issued struct {
	DER []byte
	End time.Time // the last second in which it is valid
}

// Authority signs certificates. It is safe for concurrent use.
type Authority struct {
	_   [0]func()
	get func() *authority
}

type authority struct {
	key         crypto.Signer
	certificate *x509.Certificate
	rand        io.Reader
}

func wrap(a *authority) *Authority { return &Authority{get: func() *authority { return a }} }

// New makes an authority of this name (1 to 64 bytes of text): an ECDSA P-256
// key and a certificate for it that lasts ten years and may sign no further
// authority. Serial numbers are drawn from r, or from the operating system's
// generator where r is nil; the key is always the operating system's, because
// crypto/ecdsa takes no other.
func New(name string, now time.Time, r io.Reader) (*Authority, error) {
	const doing = "making the certificate authority"
	if !validText(name) {
		return nil, fault.New(fault.Usage, doing, fmt.Sprintf("its name is not 1 to %d bytes of text without control characters", maxName), "give it another name")
	}
	if r == nil {
		r = rand.Reader
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "its key could not be made", "")
	}
	serial, err := newSerial(r)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	now = now.UTC().Truncate(time.Second)
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.AddDate(authorityYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "its certificate could not be made", "")
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "its certificate cannot be read", "")
	}
	return wrap(&authority{key: key, certificate: made, rand: r}), nil
}

// Load takes an authority as [Authority.CertificatePEM] and
// [Authority.MarshalKey] gave it, or one that was made elsewhere: a certificate
// that may sign others, with an ECDSA (P-256, P-384) or Ed25519 key. The caller
// clears the key's bytes. Serial numbers are drawn as with [New].
func Load(certificatePEM, keyPKCS8 []byte, r io.Reader) (*Authority, error) {
	const doing = "loading the certificate authority"
	refuse := func(wrong string) (*Authority, error) {
		return nil, fault.New(fault.Usage, doing, wrong, "give the certificate of an authority and its own key")
	}
	block, rest := pem.Decode(certificatePEM)
	if block == nil || block.Type != certificate || len(strings.TrimSpace(string(rest))) > 0 {
		return refuse("the certificate is not one PEM block CERTIFICATE")
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return refuse("the certificate cannot be read")
	}
	if !parsed.BasicConstraintsValid || !parsed.IsCA || parsed.KeyUsage&x509.KeyUsageCertSign == 0 {
		return refuse("the certificate may not sign others")
	}
	private, err := x509.ParsePKCS8PrivateKey(keyPKCS8)
	if err != nil { // its text may say something of the key
		return refuse("the key is not one in PKCS #8, DER")
	}
	signer, ok := private.(crypto.Signer)
	if !ok || !acceptable(signer.Public()) {
		return refuse("the key is not ECDSA P-256 or P-384, or Ed25519")
	}
	if !signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(parsed.PublicKey) {
		return refuse("the key is not that of the certificate")
	}
	if r == nil {
		r = rand.Reader
	}
	return wrap(&authority{key: signer, certificate: parsed, rand: r}), nil
}

// Certificate returns the authority's certificate, DER.
func (a *Authority) Certificate() []byte {
	return append([]byte(nil), a.get().certificate.Raw...)
}

// CertificatePEM returns the authority's certificate as one PEM block.
func (a *Authority) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificate, Bytes: a.get().certificate.Raw})
}

// MarshalKey returns the authority's private key, PKCS #8 in DER, for the
// sealed store and nothing else. The caller clears it.
func (a *Authority) MarshalKey() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(a.get().key)
	if err != nil {
		return nil, fault.New(fault.Internal, "writing the certificate authority's key", "it cannot be encoded", "")
	}
	return der, nil
}

// SignClient signs the certificate of a client for the key in its request (PKCS
// #10, DER): for client authentication only, with the name in the subject and
// as the URI tarn://client/NAME. A lifetime of 0 is [DefaultLifetime]; none
// outlives the authority.
func (a *Authority) SignClient(csr []byte, name ClientName, lifetime time.Duration, now time.Time) (Issued, error) {
	const doing = "signing a client's certificate"
	if !keys.ValidName(string(name)) {
		return Issued{}, fault.New(fault.Usage, doing, "a client's name is 1 to 32 of a-z, 0-9 and -", "choose another name")
	}
	return a.sign(doing, csr, lifetime, now, &x509.Certificate{
		Subject:     pkix.Name{CommonName: string(name)},
		URIs:        []*url.URL{{Scheme: "tarn", Host: "client", Path: "/" + string(name)}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// SignServer signs the certificate of a server for the key in its request: for
// server authentication only, with these DNS names (no wildcards) and
// addresses, of which there must be at least one. Lifetimes are those of
// [Authority.SignClient].
func (a *Authority) SignServer(csr []byte, dnsNames []string, addresses []net.IP, lifetime time.Duration, now time.Time) (Issued, error) {
	const doing = "signing a server's certificate"
	refuse := func(wrong, next string) (Issued, error) { return Issued{}, fault.New(fault.Usage, doing, wrong, next) }
	if n := len(dnsNames) + len(addresses); n == 0 || n > maxNames {
		return refuse(fmt.Sprintf("it needs 1 to %d DNS names or addresses", maxNames), "give the names that clients call it by")
	}
	host := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	for i, name := range dnsNames {
		if len(name) > maxDNSName || !host.MatchString(name) || net.ParseIP(name) != nil {
			return refuse(fmt.Sprintf("DNS name %d is not a host's name in lower case", i+1), "write it as in keyholder.example.nhs.uk; addresses are given as addresses")
		}
	}
	for i, address := range addresses {
		if address.To16() == nil || address.IsUnspecified() || address.IsMulticast() {
			return refuse(fmt.Sprintf("address %d is not one that a server can have", i+1), "give the address that clients call it by")
		}
	}
	return a.sign(doing, csr, lifetime, now, &x509.Certificate{ // names are in the extension, where clients look
		DNSNames:    dnsNames,
		IPAddresses: addresses,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// sign completes a template and signs it for the key of a request.
func (a *Authority) sign(doing string, csr []byte, lifetime time.Duration, now time.Time, template *x509.Certificate) (Issued, error) {
	public, err := requestedKey(csr)
	if err != nil {
		return Issued{}, fault.Wrap(fault.Usage, doing, err, "make the request again, with an ECDSA P-256 key")
	}
	if lifetime == 0 {
		lifetime = DefaultLifetime
	}
	if lifetime < time.Minute || lifetime > MaxLifetime {
		return Issued{}, fault.New(fault.Usage, doing, "a certificate lasts from a minute to 366 days", "give another lifetime")
	}
	own := a.get()
	now = now.UTC().Truncate(time.Second)
	if now.Before(own.certificate.NotBefore) || !now.Before(own.certificate.NotAfter) {
		return Issued{}, fault.New(fault.Policy, doing, "the authority's own certificate is not valid at this time", "check the clock; an authority that has ended must be replaced")
	}
	serial, err := newSerial(own.rand)
	if err != nil {
		return Issued{}, fault.Wrap(fault.Internal, doing, err, "")
	}
	template.SerialNumber = serial
	template.NotBefore = later(now.Add(-skew), own.certificate.NotBefore)
	template.NotAfter = now.Add(lifetime)
	if template.NotAfter.After(own.certificate.NotAfter) {
		template.NotAfter = own.certificate.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, own.certificate, public, own.key)
	if err != nil {
		return Issued{}, fault.New(fault.Internal, doing, "the certificate could not be made", "")
	}
	return Issued{DER: der, End: template.NotAfter}, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// requestedKey returns the public key of a request that its holder signed. No
// error repeats anything of the request.
func requestedKey(der []byte) (crypto.PublicKey, error) {
	if len(der) > maxRequest {
		return nil, errors.New("the request is longer than 16 KiB")
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, errors.New("the request is not PKCS #10 in DER")
	}
	if !acceptable(csr.PublicKey) {
		return nil, errors.New("the request's key is not ECDSA P-256 or P-384, or Ed25519")
	}
	switch csr.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
	default: // crypto/x509 would take SHA-1 here
		return nil, errors.New("the request is not signed with SHA-256, SHA-384, SHA-512 or Ed25519")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, errors.New("the request is not signed by the key it is for")
	}
	return csr.PublicKey, nil
}

func acceptable(public crypto.PublicKey) bool {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384()
	case ed25519.PublicKey:
		return true
	}
	return false
}

// newSerial draws a serial number of 128 random bits; 0 is none.
func newSerial(r io.Reader) (*big.Int, error) {
	var b [serialSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, fmt.Errorf("drawing a serial number: %w", err)
	}
	serial := new(big.Int).SetBytes(b[:])
	if serial.Sign() == 0 {
		return nil, errors.New("drawing a serial number: the generator gives zeros")
	}
	return serial, nil
}

func validText(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && s == strings.TrimSpace(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Fingerprint returns the SHA-256 of a certificate's DER, by which the key
// holder knows it.
func Fingerprint(der []byte) [sha256.Size]byte { return sha256.Sum256(der) }

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (a *Authority) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (a *Authority) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses: the key is written with [Authority.MarshalKey] only.
func (a *Authority) MarshalText() ([]byte, error) {
	return nil, errors.New("authority: refusing to marshal")
}
