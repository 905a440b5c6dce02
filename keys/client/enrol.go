package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/enrol"
	"tarn/keys/fault"
)

// Enrolment is what a client enrols with.
type Enrolment struct {
	URL    string // the key holder's, https://host:port
	Code   string // one-time
	Folder string // of credentials, to be made
	// Cert and Key are PEM files of a certificate, with what is between it and its
	// authority, and of its key: of an authority that the key holder was given. Empty
	// asks the key holder for a certificate of its own authority.
	Cert, Key string
}

// Enrol exchanges a one-time code for a certificate, and writes a folder of
// credentials that must not exist. The code also names the key holder's
// authority: whoever answers and was not certified by it is refused before the
// code is sent.
func Enrol(ctx context.Context, e Enrolment, clock func() time.Time) (*api.Client, error) {
	const doing = "enrolling with the key holder"
	if err := checkURL(e.URL); err != nil {
		return nil, err
	}
	parsed, err := enrol.ParseCode(e.Code)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(e.Folder); !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.Usage, doing, "there is something at "+e.Folder+" already", "name a folder that does not exist with --out")
	}
	own, err := e.certificate()
	if err != nil {
		return nil, err
	}
	defer clear(own.key)
	made, err := enrol.NewClientKeys()
	if err != nil {
		return nil, err
	}
	defer made.Destroy()
	host, err := url.Parse(e.URL)
	if err != nil {
		return nil, fault.New(fault.Usage, doing, "the address cannot be read", "")
	}
	var authority []byte
	anonymous := &Client{credentials: &Credentials{URL: e.URL}, budget: newBudget(clock), http: newHTTP(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: own.shown,
		// The authority is not known before the code says which it is.
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection holds it to the code
		VerifyConnection: func(state tls.ConnectionState) error {
			authority, err = named(state.PeerCertificates, parsed, host.Hostname(), clock())
			return err
		},
	})}
	defer anonymous.Close()
	request := api.EnrolRequest{Code: e.Code, CSR: made.CSR, SealingKey: made.SealingPublic}
	if len(own.shown) > 0 {
		request.CSR = nil
	}
	enrolled, err := call[api.Enrolled](ctx, anonymous, doing, http.MethodPost, "/v1/enrol", request)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(enrolled.Authority, authority) {
		return nil, fault.New(fault.Internal, doing, "the answer is of another authority than the code", "ask the key holder's operators")
	}
	return &enrolled.Client, e.write(enrolled, made, own)
}

// ownCertificate is a certificate of an authority that the key holder was given,
// and its key, as their files have them. It is empty where there is none.
type ownCertificate struct {
	shown     []tls.Certificate
	cert, key []byte
}

func (e *Enrolment) certificate() (own ownCertificate, err error) {
	const doing = "reading the client's own certificate"
	switch {
	case e.Cert == "" && e.Key == "":
		return own, nil
	case e.Cert == "" || e.Key == "":
		return own, fault.New(fault.Usage, doing, "of --cert and --key one is missing", "give both, or neither for a certificate of the key holder's own authority")
	}
	if own.key, err = keys.ReadSecret(e.Key); err != nil {
		return own, err
	}
	if own.cert, err = os.ReadFile(e.Cert); err != nil {
		return own, fault.Wrap(fault.Usage, doing, err, "give a PEM file with --cert")
	}
	pair, err := tls.X509KeyPair(own.cert, own.key)
	if err != nil {
		return own, fault.New(fault.Usage, doing, "--cert and --key are not a certificate and its key", "give PEM files that belong together")
	}
	own.shown = []tls.Certificate{pair}
	return own, nil
}

// named returns the authority in a server's chain that the code names, if it has
// certified the server for this host.
func named(chain []*x509.Certificate, code enrol.Code, host string, now time.Time) ([]byte, error) {
	for _, certificate := range chain {
		if !code.Names(certificate.Raw) {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(certificate)
		if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now}); err != nil {
			break
		}
		return certificate.Raw, nil
	}
	return nil, &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: errors.New("not the code's authority")}
}

// write writes credentials. The folder gets its name when all is in it.
func (e *Enrolment) write(enrolled *api.Enrolled, made enrol.ClientKeys, own ownCertificate) (err error) {
	const doing = "writing the credentials"
	parent := filepath.Dir(filepath.Clean(e.Folder))
	pending, err := os.MkdirTemp(parent, ".enrol-")
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "the code was used: ask for another, and name a folder that can be written with --out")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(pending)) }()
	document, err := keys.Encode(connection{Schema: ConnectionSchema, URL: e.URL, Client: enrolled.Client.Name})
	if err != nil {
		return fault.New(fault.Internal, doing, "connection.json could not be made", "")
	}
	certificate := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	return made.UsePrivate(func(tlsKey, sealingKey []byte) error {
		cert := certificate(enrolled.Certificate)
		if len(own.shown) > 0 {
			cert, tlsKey = own.cert, own.key
		}
		sealing := pem.EncodeToMemory(&pem.Block{Type: sealingType, Bytes: sealingKey})
		defer clear(sealing)
		for _, file := range []struct {
			name    string
			content []byte
		}{{caFile, certificate(enrolled.Authority)}, {certFile, cert}, {keyFile, tlsKey}, {sealingFile, sealing}, {connectionFile, document}} {
			if err := keys.WriteFile(filepath.Join(pending, file.name), file.content); err != nil {
				return fault.Wrap(fault.Internal, doing, err, "the code was used: ask for another")
			}
		}
		if err := os.Rename(pending, e.Folder); err != nil {
			return fault.Wrap(fault.Internal, doing, err, "the code was used: ask for another, and name a folder that can be written with --out")
		}
		return nil
	})
}
