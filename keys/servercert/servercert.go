// Package servercert is the certificate that a service shows, read again when its file
// changes, so that renewing it needs no restart.
package servercert

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"sync"
	"time"

	"tarn/keys/fault"
)

// Files are where a certificate lies.
type Files struct {
	Cert string // PEM: the server's certificate and what signed it
	Key  string // PEM, readable by its owner only
	// Next says in errors what to do where they are not what they should be.
	Next string
}

// Certificate is a certificate that is read again. It is safe for concurrent use.
type Certificate struct {
	files Files
	clock func() time.Time

	mu      sync.Mutex
	looked  time.Time
	changed time.Time
	current *tls.Certificate
}

// lookAgain is how often the file's time is looked at.
const lookAgain = time.Minute

// Open reads a certificate and its key. The error is of kind [fault.Usage].
func Open(files Files, clock func() time.Time) (*Certificate, error) {
	c := &Certificate{files: files, clock: clock}
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Certificate) read() error {
	const doing = "reading the server's certificate"
	info, err := os.Stat(c.files.Key)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, c.files.Next)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fault.New(fault.Usage, doing, "others than its owner may read the key "+c.files.Key, "run: chmod 600 "+c.files.Key)
	}
	changed, err := os.Stat(c.files.Cert)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, c.files.Next)
	}
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		return fault.New(fault.Usage, doing, "the certificate and the key do not belong together, or are no PEM files", c.files.Next)
	}
	c.looked, c.changed, c.current = c.clock(), changed.ModTime(), &pair
	return nil
}

// Read reads the files now. Where they cannot be read the certificate stays as it was.
func (c *Certificate) Read() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

// Get returns the certificate, for [tls.Config].
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.clock(); now.Sub(c.looked) >= lookAgain {
		c.looked = now
		if info, err := os.Stat(c.files.Cert); err == nil && !info.ModTime().Equal(c.changed) {
			_ = c.read() // half written, perhaps: the one before is good until the next look
		}
	}
	return c.current, nil
}

// End returns when the first certificate in a PEM file ends; the zero time where there is
// none.
func End(path string) time.Time {
	content, err := os.ReadFile(path)
	if err != nil {
		return time.Time{}
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return time.Time{}
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return certificate.NotAfter
}
