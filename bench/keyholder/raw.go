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
	url  string
	http *http.Client
}

// CallAs makes a caller of credentials that Enrol wrote, at the address of now.
func (k *KeyHolder) CallAs(name string) (*Caller, error) {
	folder := k.Credentials(name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem"))
	if err != nil {
		return nil, fault.New(fault.Usage, "reading credentials", "they cannot be read", "")
	}
	pem, err := os.ReadFile(filepath.Join(folder, "ca.pem"))
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading credentials", err, "")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &Caller{url: k.URL, http: &http.Client{
		Timeout:   callWithin,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair}}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16},
	}}, nil
}

// Close ends idle connections.
func (c *Caller) Close() { c.http.CloseIdleConnections() }

// Call sends one request and returns the status of the answer and, of a refusal, its
// code. What was answered is read into answer, which may be nil. An error says that
// nothing was answered.
func (c *Caller) Call(ctx context.Context, verb, path string, body, answer any) (status int, code api.Code, err error) {
	var content []byte
	if body != nil {
		if content, err = json.Marshal(body); err != nil {
			return 0, "", fmt.Errorf("the request could not be made")
		}
	}
	request, err := http.NewRequestWithContext(ctx, verb, c.url+path, bytes.NewReader(content))
	if err != nil {
		return 0, "", fmt.Errorf("the request could not be made")
	}
	request.Header.Set("X-Request-ID", uuid.NewString())
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return 0, "", fmt.Errorf("it did not answer")
	}
	defer func() { _ = response.Body.Close() }() // read to its end below
	b, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, "", fmt.Errorf("its answer was cut off")
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		var p api.Problem
		_ = json.Unmarshal(b, &p) // of another document the code stays empty
		return response.StatusCode, p.Code, nil
	}
	if answer != nil && json.Unmarshal(b, answer) != nil {
		return response.StatusCode, "", fault.New(fault.Internal, "calling the key holder", "its answer cannot be read", "")
	}
	return response.StatusCode, "", nil
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
