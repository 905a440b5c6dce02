package keyholder

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"tarn/bench/process"
	"tarn/keys/api"
	"tarn/keys/fault"
)

// callWithin bounds one call of a Caller.
const callWithin = 10 * time.Second

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 8 << 20

// Caller calls the service's interface as it is: each call is one request, which is
// never repeated, so that what was answered can be counted.
type Caller struct {
	url           string
	authorisation string // of the header Authorization; empty is none
	http          *http.Client
}

// Answer is what one request was answered with.
type Answer struct {
	Status int
	Code   api.Code // of a refusal; empty where its document is another
	Rule   string   // of a refusal of re-identification
	Body   []byte
}

// Done reports whether it was answered with what was asked for.
func (a *Answer) Done() bool { return a.Status < http.StatusMultipleChoices }

// CallAs makes a caller of credentials that Enrol wrote, at the address of now.
func (k *KeyHolder) CallAs(name string) (*Caller, error) {
	pair, err := k.Pair(name)
	if err != nil {
		return nil, err
	}
	return k.CallAt(k.URL, &pair, "")
}

// Pair is the certificate of credentials that Enrol wrote, and its key.
func (k *KeyHolder) Pair(name string) (tls.Certificate, error) {
	folder := k.Credentials(name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
	if err != nil {
		return pair, fault.New(fault.Usage, "reading credentials", "they cannot be read", "")
	}
	return pair, nil
}

// CallAt makes a caller of an address of the key holder's, which shows a certificate, or
// none where it is nil, whatever the key holder says that it takes; and sends a header
// Authorization, or none where it is empty.
func (k *KeyHolder) CallAt(url string, shown *tls.Certificate, authorisation string) (*Caller, error) {
	return CallAt(url, k.CA(), shown, authorisation)
}

// CallAt makes a caller of a service whose certificate is of the authority in a PEM file.
func CallAt(url, ca string, shown *tls.Certificate, authorisation string) (*Caller, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading an authority", err, "")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	if shown != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown, nil }
	}
	return &Caller{url: url, authorisation: authorisation, http: &http.Client{
		Timeout:   callWithin,
		Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16},
	}}, nil
}

// Close ends idle connections.
func (c *Caller) Close() { c.http.CloseIdleConnections() }

// Call sends one request and returns the status of the answer and, of a refusal, its
// code. What was answered is read into answer, which may be nil. An error says that
// nothing was answered.
func (c *Caller) Call(ctx context.Context, verb, path string, body, answer any) (status int, code api.Code, err error) {
	a, err := c.Send(ctx, uuid.NewString(), verb, path, body)
	if err != nil {
		return 0, "", err
	}
	if answer != nil && a.Done() && json.Unmarshal(a.Body, answer) != nil {
		return a.Status, "", fault.New(fault.Internal, "calling the key holder", "its answer cannot be read", "")
	}
	return a.Status, a.Code, nil
}

// Send sends one request of an id. An error says that nothing was answered.
func (c *Caller) Send(ctx context.Context, id, verb, path string, body any) (*Answer, error) {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("the request could not be made")
		}
	}
	request, err := http.NewRequestWithContext(ctx, verb, c.url+path, bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("the request could not be made")
	}
	request.Header.Set("X-Request-ID", id)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.authorisation != "" {
		request.Header.Set("Authorization", c.authorisation)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("it did not answer")
	}
	defer func() { _ = response.Body.Close() }() // read to its end below
	a := &Answer{Status: response.StatusCode}
	if a.Body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer)); err != nil {
		return nil, fmt.Errorf("its answer was cut off")
	}
	if !a.Done() {
		var p api.Problem
		_ = json.Unmarshal(a.Body, &p) // of another document the code stays empty
		a.Code, a.Rule = p.Code, p.Rule
	}
	return a, nil
}

// MetricsPage returns all metrics of a key holder that has Metrics, as Prometheus reads
// them.
func (k *KeyHolder) MetricsPage(ctx context.Context) (string, error) {
	return process.Page(ctx, "http://"+k.metrics+"/metrics")
}

// Metric returns a metric without labels of a key holder that has Metrics.
func (k *KeyHolder) Metric(ctx context.Context, name string) (value float64, err error) {
	page, err := k.MetricsPage(ctx)
	if err != nil {
		return 0, err
	}
	if value, ok := process.Metric(page, name); ok {
		return value, nil
	}
	return 0, fault.New(fault.Internal, "reading the key holder's metrics", "there is no metric "+name, "")
}
