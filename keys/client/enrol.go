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

// Enrol exchanges a one-time code for a certificate, and writes a folder of
// credentials that must not exist. The code also names the key holder's
// authority: whoever answers and was not certified by it is refused before the
// code is sent.
func Enrol(ctx context.Context, address, code, folder string, clock func() time.Time) (*api.Client, error) {
	const doing = "enrolling with the key holder"
	if err := checkURL(address); err != nil {
		return nil, err
	}
	parsed, err := enrol.ParseCode(code)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(folder); !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.Usage, doing, "there is something at "+folder+" already", "name a folder that does not exist with --out")
	}
	made, err := enrol.NewClientKeys()
	if err != nil {
		return nil, err
	}
	defer made.Destroy()
	host, err := url.Parse(address)
	if err != nil {
		return nil, fault.New(fault.Usage, doing, "the address cannot be read", "")
	}
	var authority []byte
	anonymous := &Client{credentials: &Credentials{URL: address}, budget: newBudget(clock), http: newHTTP(&tls.Config{
		MinVersion: tls.VersionTLS13,
		// The authority is not known before the code says which it is.
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection holds it to the code
		VerifyConnection: func(state tls.ConnectionState) error {
			authority, err = named(state.PeerCertificates, parsed, host.Hostname(), clock())
			return err
		},
	})}
	defer anonymous.Close()
	enrolled, err := call[api.Enrolled](ctx, anonymous, doing, http.MethodPost, "/v1/enrol",
		api.EnrolRequest{Code: code, CSR: made.CSR, SealingKey: made.SealingPublic})
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(enrolled.Authority, authority) {
		return nil, fault.New(fault.Internal, doing, "the answer is of another authority than the code", "ask the key holder's operators")
	}
	return &enrolled.Client, writeFolder(folder, address, enrolled, made)
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

// writeFolder writes credentials. The folder gets its name when all is in it.
func writeFolder(folder, address string, enrolled *api.Enrolled, made enrol.ClientKeys) (err error) {
	const doing = "writing the credentials"
	parent := filepath.Dir(filepath.Clean(folder))
	pending, err := os.MkdirTemp(parent, ".enrol-")
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "the code was used: ask for another, and name a folder that can be written with --out")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(pending)) }()
	document, err := keys.Encode(connection{Schema: ConnectionSchema, URL: address, Client: enrolled.Client.Name})
	if err != nil {
		return fault.New(fault.Internal, doing, "connection.json could not be made", "")
	}
	certificate := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	return made.UsePrivate(func(tlsKey, sealingKey []byte) error {
		sealing := pem.EncodeToMemory(&pem.Block{Type: sealingType, Bytes: sealingKey})
		defer clear(sealing)
		for _, file := range []struct {
			name    string
			content []byte
		}{{caFile, certificate(enrolled.Authority)}, {certFile, certificate(enrolled.Certificate)}, {keyFile, tlsKey}, {sealingFile, sealing}, {connectionFile, document}} {
			if err := keys.WriteFile(filepath.Join(pending, file.name), file.content); err != nil {
				return fault.Wrap(fault.Internal, doing, err, "the code was used: ask for another")
			}
		}
		if err := os.Rename(pending, folder); err != nil {
			return fault.Wrap(fault.Internal, doing, err, "the code was used: ask for another, and name a folder that can be written with --out")
		}
		return nil
	})
}
