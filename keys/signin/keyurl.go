package signin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tarn/keys/fault"
)

// When keys are fetched.
const (
	keysLast     = time.Hour       // after which they are fetched again
	fetchPause   = time.Minute     // at least, between two fetches, whatever tokens name
	firstPause   = 5 * time.Second // the same, as long as there are no keys at all
	fetchTimeout = 5 * time.Second // of a fetch, all of it
	maxHeader    = 16 << 10        // bytes
)

// URLOptions are what keys are fetched with.
type URLOptions struct {
	URL    string         // https://..., the issuer's jwks_uri
	Roots  *x509.CertPool // of the server's certificate
	Clock  func() time.Time
	Logger *slog.Logger
}

// keyURL is a key set that is fetched.
type keyURL struct {
	URLOptions
	http *http.Client

	mu       sync.Mutex
	tried    time.Time // when the last fetch began
	failed   bool      // whether it gave nothing
	fetched  time.Time // when the current ones came
	current  []jose.JSONWebKey
	fetching chan struct{} // closed when the fetch that is under way has ended; nil without one
}

// KeysAtURL returns the keys of the JSON Web Key Set at an address. They are fetched when
// first needed, each hour, and when a token names a key that is not known, though at most
// once a minute. Where that fails the last ones stay, and there is a line in the log. No
// redirect is followed and no proxy used. The error is of kind [fault.Usage].
func KeysAtURL(o URLOptions) (KeySource, error) {
	address, err := url.Parse(o.URL)
	switch {
	case err != nil || address.Scheme != "https" || address.Host == "" || address.User != nil || address.Fragment != "":
		return nil, fault.New(fault.Usage, "reading [oidc]", "jwks_url cannot be used", "give the issuer's jwks_uri: https://...")
	case o.Roots == nil:
		return nil, fault.New(fault.Usage, "reading [oidc]", "ca is missing", "give the PEM file of the authority of the issuer's certificate")
	}
	return &keyURL{URLOptions: o, http: &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots, Time: o.Clock},
			// Fetches are an hour apart.
			DisableKeepAlives: true, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func (k *keyURL) keys(ctx context.Context, unknown bool) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	if k.due(unknown) {
		k.tried, k.fetching = k.Clock(), make(chan struct{})
		go k.fetch(context.WithoutCancel(ctx), k.fetching)
	}
	fetching := k.fetching
	wait := fetching != nil && (unknown || k.old())
	k.mu.Unlock()
	if wait {
		select {
		case <-fetching:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.current == nil || unknown && k.failed {
		return nil, refuse(KeysUnavailable, "the issuer's keys cannot be fetched now")
	}
	return k.current, nil
}

// old reports whether there are no keys, or none that still count without another look.
func (k *keyURL) old() bool { return k.current == nil || k.Clock().Sub(k.fetched) >= keysLast }

// due reports whether to fetch.
func (k *keyURL) due(unknown bool) bool {
	pause := fetchPause
	if k.current == nil {
		pause = firstPause
	}
	return k.fetching == nil && (unknown || k.old()) && (k.tried.IsZero() || k.Clock().Sub(k.tried) >= pause)
}

// fetch fetches the keys. Nobody who stops waiting ends it: others may wait, too.
func (k *keyURL) fetch(ctx context.Context, ended chan struct{}) {
	all, err := k.get(ctx)
	if err != nil {
		k.Logger.Warn("the issuer's keys could not be fetched: those from before stay", "error", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed = err != nil; !k.failed {
		k.current, k.fetched = all, k.Clock()
	}
	k.fetching = nil
	close(ended)
}

func (k *keyURL) get(ctx context.Context) ([]jose.JSONWebKey, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, k.URL, nil)
	if err != nil {
		return nil, errors.New("its address cannot be used")
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := k.http.Do(request)
	if err != nil {
		var wrong *tls.CertificateVerificationError
		if errors.As(err, &wrong) {
			return nil, errors.New("whoever answers has no certificate of the authority in ca, or it has ended")
		}
		// What the library says holds addresses.
		return nil, errors.New("the issuer cannot be reached, or did not answer in time")
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the issuer answered with status %d", answer.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxKeySet+1))
	if err != nil {
		return nil, errors.New("the answer was cut off")
	}
	all, err := readKeys(b)
	if err != nil {
		return nil, fmt.Errorf("what it answered cannot be used: %w", err)
	}
	return all, nil
}
