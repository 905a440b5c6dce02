package holder

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"time"

	"tarn/keys/fault"
	"tarn/keys/holder/internal/authority"
	"tarn/keys/holder/internal/keyring"
)

// ourselves is the certificate by which regions know the key holder: of its own authority,
// under the name that no client can have. Its key is drawn while the process runs, and is
// on no disk.
type ourselves struct {
	mu          sync.Mutex
	certificate *tls.Certificate
	made        time.Time
}

// ourLifetime is how long such a certificate lasts; after half of it there is a new one.
const ourLifetime = 24 * time.Hour

// clientCertificate returns the certificate that the key holder shows to regions; there is
// none while it is sealed.
func (h *Holder) clientCertificate() (*tls.Certificate, error) {
	const doing = "showing a region who asks"
	h.mu.RLock()
	ca := h.authority
	h.mu.RUnlock()
	if ca == nil {
		return nil, fault.New(fault.Unavailable, doing, "the key holder is sealed", "its operators unseal it: keyholder unseal")
	}
	h.ourselves.mu.Lock()
	defer h.ourselves.mu.Unlock()
	now := h.options.Clock()
	if c := h.ourselves.certificate; c != nil && now.Sub(h.ourselves.made) < ourLifetime/2 && !now.Before(h.ourselves.made) {
		return c, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "no key could be drawn", "")
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, new(x509.CertificateRequest), key)
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "the certificate could not be asked for", "")
	}
	issued, err := ca.SignClient(csr, authority.ClientName(keyring.OwnName), ourLifetime, now)
	if err != nil {
		return nil, err
	}
	h.ourselves.certificate = &tls.Certificate{Certificate: [][]byte{issued.DER, ca.Certificate()}, PrivateKey: key}
	h.ourselves.made = now
	return h.ourselves.certificate, nil
}
