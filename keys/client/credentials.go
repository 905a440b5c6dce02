// Package client calls the key holder: with a client's certificate, over
// TLS 1.3, trusting the key holder's own authority and no other. Requests that
// may be repeated are repeated with the same id, a few times, at times that
// chance has a part in, and never beyond a budget that all callers of a process
// share: a key holder that comes back must not be met by a storm.
package client

import (
	"crypto/hpke"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
)

// The files of a folder of credentials, as enrolment writes it.
const (
	caFile         = "ca.pem"
	certFile       = "cert.pem"
	keyFile        = "key.pem"
	sealingFile    = "seal.key"
	connectionFile = "connection.json"
)

// ConnectionSchema is the schema member of connection.json.
const ConnectionSchema = "tarn.connection/1"

// connection is connection.json: where the key holder is.
type connection struct {
	Schema string `json:"schema"`
	URL    string `json:"url"`
	Client string `json:"client"` // the name that the key holder knows this client by
}

// Files say where a client's credentials lie. Each path may be empty if Folder
// has it.
type Files struct {
	Folder  string // as enrolment writes it
	URL     string // https://host:port
	CA      string // PEM: the key holder's authority
	Cert    string // PEM: the client's certificate
	Key     string // PEM, PKCS #8, for its owner only
	Sealing string // HPKE private key, for its owner only; seal.key beside Key if empty
}

// Credentials are a client's certificate and keys, ready for use.
type Credentials struct {
	URL         string
	certificate tls.Certificate
	roots       *x509.CertPool
	sealing     hpke.PrivateKey
	digest      [sha256.Size]byte
	end         time.Time
}

// End is when the certificate ends.
func (c *Credentials) End() time.Time { return c.end }

// endsSoon is how long before its end a certificate should be renewed.
const endsSoon = 14 * 24 * time.Hour

// EndsSoon reports whether the certificate should be renewed by now.
func (c *Credentials) EndsSoon(now time.Time) bool { return c.end.Sub(now) < endsSoon }

// OpenExport opens a key file that the key holder sealed to this client.
func (c *Credentials) OpenExport(sealed []byte) (*keys.KeyFile, error) {
	return api.OpenExport(sealed, c.sealing, c.digest)
}

// Load reads credentials. Keys that others than their owner may read are
// refused.
func Load(f Files) (*Credentials, error) {
	const doing = "reading the credentials for the key holder"
	next := "give the folder that enrolment wrote, or each file"
	if f.Folder != "" {
		document, err := os.ReadFile(filepath.Join(f.Folder, connectionFile))
		if err != nil {
			return nil, fault.Wrap(fault.Usage, doing, err, next)
		}
		var c connection
		if err := keys.DecodeStrict(document, &c); err != nil || c.Schema != ConnectionSchema {
			return nil, fault.New(fault.Usage, doing, connectionFile+" in the folder is not one that enrolment wrote", "enrol again")
		}
		inFolder := func(path *string, name string) {
			if *path == "" {
				*path = filepath.Join(f.Folder, name)
			}
		}
		inFolder(&f.CA, caFile)
		inFolder(&f.Cert, certFile)
		inFolder(&f.Key, keyFile)
		inFolder(&f.Sealing, sealingFile)
		if f.URL == "" {
			f.URL = c.URL
		}
	}
	if f.Sealing == "" && f.Key != "" {
		f.Sealing = filepath.Join(filepath.Dir(f.Key), sealingFile)
	}
	if err := checkURL(f.URL); err != nil {
		return nil, err
	}
	roots, err := readRoots(f.CA)
	if err != nil {
		return nil, err
	}
	c := &Credentials{URL: f.URL, roots: roots}
	for _, path := range []string{f.Key, f.Sealing} {
		if err := privateFile(doing, path); err != nil {
			return nil, err
		}
	}
	if c.certificate, err = tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		return nil, fault.New(fault.Usage, doing, "the certificate and its key cannot be read, or do not belong together", next)
	}
	c.digest, c.end = sha256.Sum256(c.certificate.Certificate[0]), c.certificate.Leaf.NotAfter
	sealing, err := os.ReadFile(f.Sealing)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, next)
	}
	defer clear(sealing)
	block, _ := pem.Decode(sealing)
	if block == nil || block.Type != sealingType {
		return nil, fault.New(fault.Usage, doing, "the sealing key cannot be read", "enrol again")
	}
	defer clear(block.Bytes)
	if c.sealing, err = api.LeaseKEM().NewPrivateKey(block.Bytes); err != nil {
		return nil, fault.New(fault.Usage, doing, "the sealing key cannot be read", "enrol again")
	}
	return c, nil
}

// sealingType is the PEM type of a sealing key.
const sealingType = "TARN SEALING KEY"

// readRoots reads the key holder's authority.
func readRoots(path string) (*x509.CertPool, error) {
	const doing = "reading the key holder's authority"
	ca, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the key holder's ca.pem with --ca")
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fault.New(fault.Usage, doing, path+" holds no certificate", "give the key holder's ca.pem with --ca")
	}
	return roots, nil
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Path != "" && u.Path != "/" {
		return fault.New(fault.Usage, "reading the key holder's address", "it is not of the form https://host:port", "give it with --keyholder")
	}
	return nil
}

func privateFile(doing, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, "give the folder that enrolment wrote, or each file")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fault.New(fault.Usage, doing, fmt.Sprintf("others than its owner may use %s (mode %04o)", path, mode),
			"if nobody else can have read it, run: chmod 600 "+path+"; else enrol again")
	}
	return nil
}
