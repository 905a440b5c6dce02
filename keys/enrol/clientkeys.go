package enrol

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// ClientKeys are what a client makes for itself before it enrols: a TLS key
// (ECDSA P-256) with the request for its certificate, and an HPKE key
// (MLKEM768X25519) to which the key holder seals leases. The private halves
// never leave the client. Use [NewClientKeys].
type ClientKeys struct {
	CSR           []byte // PKCS #10, DER; it asks for no name: the key holder knows the client by its code
	SealingPublic []byte // HPKE public key, 1,216 bytes

	private func() *privateKeys
}

type privateKeys struct{ tls, sealing []byte }

// NewClientKeys makes the keys of a client. Their randomness is the operating
// system's: crypto/ecdsa and crypto/hpke take no other.
func NewClientKeys() (ClientKeys, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return ClientKeys{}, fmt.Errorf("making the client's TLS key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{SignatureAlgorithm: x509.ECDSAWithSHA256}, key)
	if err != nil {
		return ClientKeys{}, fmt.Errorf("asking for the client's certificate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return ClientKeys{}, errors.New("writing the client's TLS key failed")
	}
	defer clear(der)
	sealing, err := hpke.MLKEM768X25519().GenerateKey()
	if err != nil {
		return ClientKeys{}, fmt.Errorf("making the client's sealing key: %w", err)
	}
	seed, err := sealing.Bytes()
	if err != nil {
		return ClientKeys{}, errors.New("writing the client's sealing key failed")
	}
	private := &privateKeys{tls: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), sealing: seed}
	return ClientKeys{CSR: csr, SealingPublic: sealing.PublicKey().Bytes(), private: func() *privateKeys { return private }}, nil
}

// UsePrivate calls f with the TLS key (PKCS #8, PEM) and the HPKE private key
// (its 32-byte serialisation). f writes them to files of mode 0600, and neither
// keeps nor prints them.
func (c ClientKeys) UsePrivate(f func(tlsKey, sealingKey []byte) error) error {
	p := c.private()
	return f(p.tls, p.sealing)
}

// Destroy overwrites the private keys, for every copy of c. What crypto/ecdsa
// and crypto/hpke made on the way is left to the garbage collector.
func (c ClientKeys) Destroy() {
	p := c.private()
	clear(p.tls)
	clear(p.sealing)
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (c ClientKeys) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (c ClientKeys) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses: the keys are written to their files only.
func (c ClientKeys) MarshalText() ([]byte, error) {
	return nil, errors.New("enrol: refusing to marshal")
}
