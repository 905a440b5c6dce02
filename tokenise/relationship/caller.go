package relationship

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"tarn/keys/api"
	"tarn/keys/fault"
)

// Client is who may ask: the certificate with this fingerprint, or any with this name that
// the authority of [Listen.ClientCA] has signed.
type Client struct {
	Name        string // the subject's common name, or a DNS name
	Fingerprint string // SHA-256 of the certificate's DER, 64 hexadecimal digits; goes before Name
}

var (
	clientName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	fingerprint = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ParseClient reads a client as configurations name it: a certificate's name, or its
// SHA-256 in hexadecimal, with or without sha256: before it and colons in it.
func ParseClient(text string) (Client, error) {
	if hash := strings.ReplaceAll(strings.TrimPrefix(strings.ToLower(text), "sha256:"), ":", ""); fingerprint.MatchString(hash) {
		return Client{Fingerprint: hash}, nil
	}
	if !clientName.MatchString(text) {
		return Client{}, fault.New(fault.Usage, "reading [relationships] clients", "a client is neither the name in a certificate nor its SHA-256", "give what this prints of it: openssl x509 -noout -subject -fingerprint -sha256")
	}
	return Client{Name: text}, nil
}

// caller is a client, and what it may still ask.
type caller struct {
	client         Client
	label          string // for the log
	checks, routed *rate.Limiter
}

func newCaller(c Client, l *Limits) *caller {
	label := c.Name
	if c.Fingerprint != "" {
		label = c.Fingerprint[:16]
	}
	return &caller{client: c, label: label, checks: rate.NewLimiter(rate.Limit(l.ChecksPerSecond), l.ChecksBurst), routed: rate.NewLimiter(rate.Limit(l.RoutedPerSecond), l.RoutedBurst)}
}

// take takes n from an allowance, or says when there will be as many.
func (c *caller) take(from *rate.Limiter, now time.Time, n int) error {
	r := from.ReserveN(now, n)
	if !r.OK() {
		return refuse(api.CodeTooLarge, "these are more than may ever be asked at once", "ask for fewer")
	}
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return tooFast(wait)
	}
	return nil
}

// identify returns who the other end of a connection is. TLS has proved that it holds the
// certificate's key, and that an authority of ours has signed it.
func (s *Service) identify(state *tls.ConnectionState, now time.Time) (*caller, error) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil, refuse(api.CodeNoCertificate, "", "call with the key holder's client certificate")
	}
	leaf := state.PeerCertificates[0]
	if len(state.VerifiedChains) == 0 {
		return nil, refuse(api.CodeCertificate, "its authority is not one that is known here", "name the authority in [relationships] client_ca")
	}
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return nil, refuse(api.CodeExpired, "", "renew it")
	}
	sum := sha256.Sum256(leaf.Raw)
	hash := hex.EncodeToString(sum[:])
	for _, c := range s.clients {
		if c.client.Fingerprint == hash {
			return c, nil
		}
	}
	for _, c := range s.clients {
		if c.client.Name == "" {
			continue
		}
		if leaf.Subject.CommonName == c.client.Name {
			return c, nil
		}
		for _, name := range leaf.DNSNames {
			if strings.EqualFold(name, c.client.Name) {
				return c, nil
			}
		}
	}
	return nil, refuse(api.CodeCertificate, "it is not one that may ask", fmt.Sprintf("name it in [relationships] clients; %d may ask", len(s.clients)))
}
