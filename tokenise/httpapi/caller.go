package httpapi

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"tarn/keys/api"
)

// conn is a connection that remembers who calls: a certificate that is good is looked at
// once, and again when the configuration changes.
type conn struct {
	*tls.Conn
	caller atomic.Pointer[caller]
}

// caller is who a connection's certificate is of.
type caller struct {
	state  *settings // under which it was looked at
	names  []string  // of the certificate, and its hash
	ends   time.Time
	refuse *problem // why it is nobody; nil
}

// listener hands out connections that remember.
type listener struct{ net.Listener }

// Accept implements [net.Listener].
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c.(*tls.Conn)}, nil
}

// secured returns a listener for TLS 1.3 that takes so many connections at once.
func secured(socket net.Listener, config *tls.Config, connections int) net.Listener {
	return listener{tls.NewListener(netutil.LimitListener(socket, connections), config)}
}

// who returns who calls, or why it is nobody.
func (s *Server) who(c net.Conn) (*caller, *problem) {
	state := s.state.Load()
	known, ok := c.(*conn)
	if !ok {
		return nil, refuse(api.CodeNoCertificate, "", "call over TLS")
	}
	found := known.caller.Load()
	if found == nil || found.state != state {
		if found = s.look(known.ConnectionState(), state); found.refuse == nil {
			known.caller.Store(found)
		}
	}
	if found.refuse == nil && !s.options.Wall().Before(found.ends) {
		return nil, refuse(api.CodeExpired, "", "get a new certificate from whoever runs the tokeniser")
	}
	return found, found.refuse
}

// hashPrefix is before the hash of a certificate, where clients are listed.
const hashPrefix = "sha256:"

// look verifies a certificate.
func (s *Server) look(connection tls.ConnectionState, state *settings) *caller {
	c := &caller{state: state}
	if len(connection.PeerCertificates) == 0 {
		c.refuse = refuse(api.CodeNoCertificate, "", "call with a client certificate of the authority in [listen] client_ca")
		return c
	}
	leaf := connection.PeerCertificates[0]
	between := x509.NewCertPool()
	for _, more := range connection.PeerCertificates[1:] {
		between.AddCert(more)
	}
	now := s.options.Wall()
	if now.After(leaf.NotAfter) {
		c.refuse = refuse(api.CodeExpired, "", "get a new certificate from whoever runs the tokeniser")
		return c
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: state.clientCA, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		c.refuse = refuse(api.CodeCertificate, "it is not of the authority whose clients may call, or not for clients", "get one from whoever runs the tokeniser")
		return c
	}
	hash := sha256.Sum256(leaf.Raw)
	for _, name := range append([]string{leaf.Subject.CommonName}, leaf.DNSNames...) {
		if !strings.HasPrefix(name, hashPrefix) { // what a hash says, no name says
			c.names = append(c.names, name)
		}
	}
	c.names = append(c.names, hashPrefix+hex.EncodeToString(hash[:]))
	c.ends = leaf.NotAfter
	return c
}

// client returns the name under which a caller is a client of a project.
func (c *caller) client(p *Project) (string, bool) {
	for _, name := range p.Clients {
		for _, own := range c.names {
			if own != "" && own == name {
				return name, true
			}
		}
	}
	return "", false
}

// TLS says how the service proves who it is.
type TLS struct {
	// Certificate returns the service's certificate, which may change while it runs.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// config returns the configuration of the listener. A caller without a certificate, or
// with one of nobody's, is answered, and told so: whose certificates count is looked at for
// each connection.
func (t TLS) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert, GetCertificate: t.Certificate, NextProtos: []string{"http/1.1"}}
}
