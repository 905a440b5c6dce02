package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"tarn/keys/api"
	"tarn/keys/fault"
)

// Bounds of a call.
const (
	attemptTimeout = 8 * time.Second
	callTimeout    = 20 * time.Second // all attempts of a call together
	maxAttempts    = 5
	firstWait      = 100 * time.Millisecond
	longestWait    = 3 * time.Second
	maxAnswer      = 8 << 20 // bytes
)

// Client calls a key holder. It is safe for concurrent use.
type Client struct {
	credentials *Credentials
	http        *http.Client
	budget      *budget
	authorise   func(http.Header) // puts the token of a sign-in into a request; nil where there is none
}

// New makes a client of these credentials. clock is the real time.
func New(c *Credentials, clock func() time.Time) *Client {
	return &Client{credentials: c, budget: newBudget(clock), http: newHTTP(&tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: c.roots, Certificates: []tls.Certificate{c.certificate},
	})}
}

func newHTTP(config *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: attemptTimeout, ResponseHeaderTimeout: attemptTimeout,
		},
		// A key holder sends nobody elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Credentials returns who the client is.
func (c *Client) Credentials() *Credentials { return c.credentials }

// budget bounds how often a process repeats requests: each first attempt earns a
// part of a repetition, and some are free from the beginning. While a key holder
// is away, callers then ask little more often than when it is there.
type budget struct {
	mu     sync.Mutex
	tokens float64
	clock  func() time.Time
	last   time.Time
}

const (
	budgetMost     = 10
	budgetEarned   = .1 // of a repetition, for each first attempt
	budgetInSecond = .5 // repetitions that time earns
)

func newBudget(clock func() time.Time) *budget {
	return &budget{tokens: budgetMost, clock: clock, last: clock()}
}

func (b *budget) earn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(budgetMost, b.tokens+budgetEarned)
}

// spend reports whether a request may be repeated now.
func (b *budget) spend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock()
	b.tokens = min(budgetMost, b.tokens+budgetInSecond*max(0, now.Sub(b.last).Seconds()))
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// unavailable says that the key holder cannot be reached. What the library says
// is not repeated: it holds addresses.
func unavailable(doing, wrong string) *fault.Error {
	return fault.New(fault.Unavailable, doing, wrong, "see that the key holder runs, is unsealed and can be reached; then run it again")
}

// Problem is a refusal by the key holder. It wraps a [fault.Error] for a
// user, and holds the problem for programs.
type Problem struct {
	fault   *fault.Error
	Problem api.Problem
}

// Error returns the fault's text.
func (p *Problem) Error() string { return p.fault.Error() }

// Unwrap returns the fault.
func (p *Problem) Unwrap() error { return p.fault }

// RefusedAs returns the refusal's code, for programs that do not know this package.
func (p *Problem) RefusedAs() api.Code { return p.Problem.Code }

// Code returns the code of a refusal by the key holder, or "".
func Code(err error) api.Code {
	var p *Problem
	if errors.As(err, &p) {
		return p.Problem.Code
	}
	return ""
}

// call sends a request, and again where that may help, and decodes the answer.
func call[T any](ctx context.Context, c *Client, doing, verb, path string, body any) (*T, error) {
	return callAs[T](ctx, c, uuid.NewString(), doing, verb, path, body)
}

func callAs[T any](ctx context.Context, c *Client, id, doing, verb, path string, body any) (*T, error) {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return nil, fault.New(fault.Internal, doing, "the request could not be made", "")
		}
		defer clear(content)
	}
	return exchanged(ctx, c, doing, func(ctx context.Context) (**T, error) {
		return attempt(ctx, c, doing, sent{verb, path, id, "application/json", content}, func(b []byte) (**T, error) {
			document, err := decode[T](doing, b)
			return &document, err
		})
	})
}

// exchanged sends a request, and again where that may help.
func exchanged[T any](ctx context.Context, c *Client, doing string, send func(context.Context) (*T, error)) (answer T, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval, wait.Multiplier, wait.RandomizationFactor = firstWait, longestWait, 2, .8
	first := true
	got, err := backoff.Retry(ctx, func() (*T, error) {
		if first {
			c.budget.earn()
		} else if !c.budget.spend() {
			return nil, backoff.Permanent(unavailable(doing, "it does not answer, and has been asked often enough"))
		}
		first = false
		return send(ctx)
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(maxAttempts), backoff.WithMaxElapsedTime(callTimeout))
	if err == nil {
		return *got, nil
	}
	return answer, explain(doing, err)
}

// sent is a request.
type sent struct {
	verb, path, id, media string
	content               []byte
}

// explain takes what the retrying library wraps around an error away.
func explain(doing string, err error) error {
	var problem *Problem
	var known *fault.Error
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &known):
		return known
	case errors.Is(err, context.Canceled):
		return context.Canceled
	}
	return unavailable(doing, "it did not answer in time")
}

// attempt sends a request once. Errors that are not permanent may be tried
// again.
func attempt[T any](ctx context.Context, c *Client, doing string, s sent, read func([]byte) (*T, error)) (*T, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, s.verb, strings.TrimSuffix(c.credentials.URL, "/")+s.path, bytes.NewReader(s.content))
	if err != nil {
		return nil, backoff.Permanent(fault.New(fault.Usage, doing, "the key holder's address cannot be used", "give it as https://host:port"))
	}
	request.Header.Set("X-Request-ID", s.id)
	if c.authorise != nil {
		c.authorise(request.Header)
	}
	if s.content != nil {
		request.Header.Set("Content-Type", s.media)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		var wrong *tls.CertificateVerificationError
		if errors.As(err, &wrong) {
			return nil, backoff.Permanent(fault.New(fault.Policy, doing, "whoever answers is not the key holder that this client enrolled with, or its certificate has ended",
				"check the address; ask the key holder's operators"))
		}
		return nil, unavailable(doing, "it cannot be reached")
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	defer clear(b)
	switch {
	case err != nil:
		return nil, unavailable(doing, "its answer was cut off")
	case len(b) > maxAnswer:
		return nil, backoff.Permanent(fault.New(fault.Internal, doing, "its answer is longer than any it gives", "check the address"))
	case answer.StatusCode >= 200 && answer.StatusCode < 300:
		return read(b)
	}
	return nil, refusal(doing, answer, b)
}

func decode[T any](doing string, b []byte) (*T, error) {
	document := new(T)
	if len(b) == 0 {
		return document, nil
	}
	if json.Unmarshal(b, document) != nil {
		return nil, backoff.Permanent(fault.New(fault.Internal, doing, "its answer cannot be read", "see that both are of versions that fit"))
	}
	return document, nil
}

// refusal turns a problem document into an error, and into one to try again
// where it says that it will pass.
func refusal(doing string, answer *http.Response, b []byte) error {
	var p api.Problem
	if json.Unmarshal(b, &p) != nil || p.Status == 0 {
		p = api.Problem{Status: answer.StatusCode, Title: fmt.Sprintf("status %d", answer.StatusCode)}
	}
	err := &Problem{fault: p.Fault(doing), Problem: p}
	if answer.StatusCode != http.StatusServiceUnavailable && answer.StatusCode != http.StatusTooManyRequests {
		return backoff.Permanent(err)
	}
	if p.Code == api.CodeSealed || p.Code == api.CodeBudget {
		return backoff.Permanent(err) // people unseal, and budgets fill up: that takes longer than any call
	}
	if seconds, parse := strconv.Atoi(answer.Header.Get("Retry-After")); parse == nil && seconds > 0 {
		if time.Duration(seconds)*time.Second > longestWait {
			return backoff.Permanent(err) // it says itself that asking again at once is in vain
		}
		return errors.Join(backoff.RetryAfter(seconds), err)
	}
	return err
}

// Anonymous makes a client without a certificate, for what the key holder
// answers to anyone: whether it is sealed, and unsealing.
func Anonymous(address, caPath string, clock func() time.Time) (*Client, error) {
	if err := checkURL(address); err != nil {
		return nil, err
	}
	roots, err := readRoots(caPath)
	if err != nil {
		return nil, err
	}
	return &Client{credentials: &Credentials{URL: address, roots: roots}, budget: newBudget(clock), http: newHTTP(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots})}, nil
}
