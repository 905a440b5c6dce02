package holder_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"tarn/keys/api"
	"tarn/keys/enrol"
	"tarn/keys/holder"
)

// party is an authority or a client of another authority than the key holder's.
type party struct {
	certificate *x509.Certificate
	key         crypto.Signer
	above       [][]byte // what signed it, without the root
}

func signedBy(t *testing.T, by *party, end time.Time, usages ...x509.ExtKeyUsage) *party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "other"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usages, BasicConstraintsValid: true,
	}
	if len(usages) == 0 {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign
	}
	p := &party{key: key}
	signer, parent := crypto.Signer(key), template
	if by != nil {
		signer, parent = by.key, by.certificate
		if len(usages) > 0 {
			p.above = [][]byte{by.certificate.Raw}
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err == nil {
		p.certificate, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGivenAuthority: certificates of another authority, with an intermediate,
// are taken when their client enrols, and from then on known by the table alone.
func TestGivenAuthority(t *testing.T) {
	year := time.Now().Add(365 * 24 * time.Hour)
	root, foreign := signedBy(t, nil, year), signedBy(t, nil, year)
	between := signedBy(t, root, year)
	s := newSite(t, holder.Custody{Method: "identity"})
	s.stop()
	s.options.ClientCA = x509.NewCertPool()
	s.options.ClientCA.AddCert(root.certificate)
	s.start()
	s.unseal()
	ann, bob := s.operators()
	change(ann, bob, api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: "keyed-hash"})
	change(ann, bob, api.OpProjectAdd, api.ProjectAdd{Record: []byte(record)})
	code := change(ann, bob, api.OpClientAdd, api.ClientAdd{Name: "north", Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{"study"}}).Code
	made, err := enrol.NewClientKeys()
	if err != nil {
		t.Fatal(err)
	}
	shown := func(p *party) *caller {
		return s.with(&tls.Certificate{Certificate: append([][]byte{p.certificate.Raw}, p.above...), PrivateKey: p.key})
	}
	request := api.EnrolRequest{Code: code, SealingKey: made.SealingPublic}
	client := x509.ExtKeyUsageClientAuth
	s.anyone().refused(api.CodeMalformed, "POST", "/v1/enrol", request)
	alone := signedBy(t, between, year, client)
	alone.above = nil
	for name, p := range map[string]*party{
		"expired": signedBy(t, between, time.Now().Add(-time.Hour), client), "foreign": signedBy(t, foreign, year, client),
		"for servers": signedBy(t, between, year, x509.ExtKeyUsageServerAuth), "without its intermediate": alone,
	} {
		t.Log(name)
		shown(p).refused(api.CodeCertificate, "POST", "/v1/enrol", request)
	}
	good := signedBy(t, between, time.Now().Add(24*time.Hour), client)
	north := shown(good)
	north.refused(api.CodeCertificate, "GET", "/v1/self", nil) // it is not enrolled yet
	must[api.Enrolled](north, "POST", "/v1/enrol", request)
	must[api.Self](north, "GET", "/v1/self", nil)
	north.refused(api.CodeRole, "GET", "/v1/domains", nil)
	shown(signedBy(t, between, year, client)).refused(api.CodeCertificate, "GET", "/v1/self", nil) // of the authority, and nobody's
	s.late.Store(int64(25 * time.Hour))
	north.refused(api.CodeExpired, "GET", "/v1/self", nil)
	s.late.Store(0)
	change(ann, bob, api.OpClientRevoke, api.ClientNamed{Name: "north", Reason: "left"})
	north.refused(api.CodeRevoked, "GET", "/v1/self", nil)
}
