// Package regions asks a region, before one of its tokens is opened, whether an
// organisation has to do with the patient, and takes nothing but the region's own signed
// answer to that very question. Whatever else comes, or does not come, is an error, and
// nothing is opened.
package regions

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/escrow"
	"tarn/keys/fault"
	"tarn/keys/relationship"
)

// Bounds of a question.
const (
	askTimeout  = 3 * time.Second // all of it: nobody waits longer for a patient's number
	idleTimeout = time.Minute
	maxAnswer   = 32 << 10 // bytes; an envelope takes some 1.8 KiB, a worklist's practices 13
	maxHeader   = 8 << 10  // bytes
)

// Where a region answers.
const (
	checkPath = "/v1/relationships/check"
	routePath = "/v1/relationships/route"
)

// Region is who answers for a domain's tokens.
type Region struct {
	Domain string
	URL    string            // https://host:port
	Roots  *x509.CertPool    // of the region's certificate; never the system's
	Key    ed25519.PublicKey // of its answers
	MaxAge time.Duration     // how long an answer counts: 0 is a minute, and more is none
}

// Options are what all regions are asked with.
type Options struct {
	// Certificate returns that by which regions know the key holder.
	Certificate func() (*tls.Certificate, error)
	Clock       func() time.Time
	Timeout     time.Duration // of a question; 0 is three seconds
}

// Regions asks regions. It is safe for concurrent use.
type Regions struct {
	options Options
	of      map[string]*region // by the domain's name
}

type region struct {
	Region
	http *http.Client
}

// New returns what asks these regions. The error is of kind [fault.Usage].
func New(all []Region, o Options) (*Regions, error) {
	if o.Timeout == 0 {
		o.Timeout = askTimeout
	}
	r := &Regions{options: o, of: map[string]*region{}}
	for _, one := range all {
		if wrong, next := one.check(); wrong != "" {
			return nil, fault.New(fault.Usage, "reading [[relationships]] of domain "+one.Domain, wrong, next)
		}
		if r.of[one.Domain] != nil {
			return nil, fault.New(fault.Usage, "reading [[relationships]]", "domain "+one.Domain+" is there twice", "name the one region that answers for it")
		}
		if one.MaxAge == 0 {
			one.MaxAge = relationship.MaxAge
		}
		r.of[one.Domain] = &region{Region: one, http: &http.Client{
			// No proxy: a token goes to the region and to nobody between.
			Transport: &http.Transport{
				TLSClientConfig: &tls.Config{
					MinVersion: tls.VersionTLS13, RootCAs: one.Roots, Time: o.Clock,
					GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.Certificate() },
				},
				ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: idleTimeout, TLSHandshakeTimeout: o.Timeout, ResponseHeaderTimeout: o.Timeout,
				MaxResponseHeaderBytes: maxHeader,
			},
			// A region sends nobody elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
	}
	return r, nil
}

// check says what is wrong with a region's settings, and what to do; "" of good ones.
func (r *Region) check() (wrong, next string) {
	address, err := url.Parse(r.URL)
	switch {
	case !keys.ValidName(r.Domain):
		return "there is no such name of a domain", "a domain's name is 1 to 32 of a-z, 0-9 and -"
	case err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil || address.RawQuery != "" || address.Fragment != "" || strings.Trim(address.Path, "/") != "":
		return "url cannot be used", "give it as https://host:port"
	case r.Roots == nil:
		return "ca is missing", "give the PEM file of the authority of the region's certificate"
	case len(r.Key) != ed25519.PublicKeySize:
		return "verify_key is no public key of Ed25519", "give the file that the region's operators have sent"
	case r.MaxAge < 0 || r.MaxAge > relationship.MaxAge:
		return "max_age is negative, or more than a minute", "give at most 60s, or leave it out"
	}
	return "", ""
}

// Close ends idle connections.
func (r *Regions) Close() {
	for _, one := range r.of {
		one.http.CloseIdleConnections()
	}
}

// Answer is what a region has said, and signed.
type Answer struct {
	Decision relationship.Decision
	Envelope *escrow.Envelope  // whose token it is, sealed, with either decision; nil where the region has none
	Evidence [sha256.Size]byte // of all that was said: evidence_h of the log
	Until    time.Time         // from then on it counts no more
}

// Ask asks the region of a domain whether an organisation has to do with a token's patient
// now, for one request for re-identification. Each failure is an error, and there is one
// try: who waits for an answer asks again. Errors repeat nothing of the question. A
// signature that is not the region's wraps [relationship.ErrSignature], an answer that is
// too old [relationship.ErrExpired].
func (r *Regions) Ask(ctx context.Context, domain string, token keys.Token, organisation, requestHash string) (*Answer, error) {
	one := r.of[domain]
	if one == nil {
		return nil, noRegion("asking a region for a relationship")
	}
	doing := "asking the region of domain " + domain + " for a relationship"
	q := &relationship.Question{Token: token.String(), Organisation: organisation, At: r.options.Clock().UTC().Truncate(time.Millisecond), RequestHash: requestHash}
	if err := q.Check(); err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "") // it names the member only
	}
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	b, err := one.ask(ctx, doing, checkPath, q)
	if err != nil {
		return nil, err
	}
	return one.read(doing, q, b, r.options.Clock())
}

// ask sends a question, and returns the bytes that came back with status 200.
func (r *region) ask(ctx context.Context, doing, path string, question any) ([]byte, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "the question could not be written", "")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(r.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return nil, fault.New(fault.Usage, doing, "its address cannot be used", "give it as https://host:port")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("X-Request-ID", uuid.NewString())
	answer, err := r.http.Do(request)
	if err != nil {
		var wrong *tls.CertificateVerificationError
		if errors.As(err, &wrong) {
			return nil, fault.New(fault.Policy, doing, "whoever answers is not that region, or its certificate has ended", "check url and ca in keyholder.toml; ask the region's operators")
		}
		var refused *net.OpError
		if errors.As(err, &refused) && refused.Op == "remote error" { // an alert of TLS
			return nil, stranger(doing)
		}
		// What the library says holds addresses.
		return nil, unavailable(doing, "it cannot be reached, or did not answer in time")
	}
	defer func() { _ = answer.Body.Close() }()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, stranger(doing)
	default:
		return nil, unavailable(doing, fmt.Sprintf("it answered with status %d", answer.StatusCode))
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, unavailable(doing, "its answer was cut off")
	}
	return b, nil
}

func noRegion(doing string) error {
	return fault.New(fault.Policy, doing, "no region answers for the token's domain", "name it: [[relationships]] in keyholder.toml")
}

func noAnswer(doing string) error {
	return fault.New(fault.Unavailable, doing, "what it answered is no answer", "see that both are of versions that fit")
}

func notTheRegions(doing string, err error) error {
	return fault.Wrap(fault.Policy, doing, err, "check verify_key in keyholder.toml, and both clocks; tell the region's operators")
}

func stranger(doing string) error {
	return fault.New(fault.Policy, doing, "it does not take this key holder's certificate, or speaks no TLS 1.3", "see that the certificate has not ended; have the region's operators take it up")
}

func unavailable(doing, wrong string) error {
	return fault.New(fault.Unavailable, doing, wrong, "see that the region's service runs and can be reached; then ask again")
}

// read holds what came back to the question.
func (r *region) read(doing string, q *relationship.Question, b []byte, now time.Time) (*Answer, error) {
	var a relationship.Answer
	if len(b) > maxAnswer || keys.DecodeStrict(b, &a) != nil {
		return nil, noAnswer(doing)
	}
	evidence, err := a.Verify(q, r.Key, now)
	if err != nil {
		return nil, notTheRegions(doing, err)
	}
	until, err := r.until(doing, a.Expires, q.At, now)
	if err != nil {
		return nil, err
	}
	answer := &Answer{Decision: a.Decision, Evidence: evidence, Until: until}
	if a.Envelope != nil {
		e, there := a.Opened(q)
		if !there {
			return nil, fault.New(fault.Unavailable, doing, "the envelope that it answered with is none", "see that both are of versions that fit")
		}
		answer.Envelope = &e
	}
	return answer, nil
}

// until returns from when on an answer counts no more; an error where it does not count now.
func (r *region) until(doing string, expires, at, now time.Time) (time.Time, error) {
	if end := at.Add(r.MaxAge); end.Before(expires) {
		expires = end
	}
	if !now.Before(expires) {
		return expires, fault.Wrap(fault.Policy, doing, relationship.ErrExpired, "the region takes too long: see max_age in keyholder.toml")
	}
	return expires, nil
}
