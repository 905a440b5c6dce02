// Package health is the command with which whoever runs a service asks it how it is, in
// places that hold no other program to ask with: a container of the service alone.
package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
)

// Service is a service that can be asked.
type Service struct {
	Binary string
	// Config is what its configuration is called, such as tokeniser.toml.
	Config string
	// Live and Ready are the paths at which it says that the process is there, and that it
	// can answer. Ready may be empty: it has one state.
	Live, Ready string
	// Read reads where it listens from its configuration.
	Read func(config string) (Listener, error)
}

// Listener is where a service listens.
type Listener struct {
	Address string // host:port, as its configuration has it
	// Cert is the PEM file of what it shows; empty where it answers without TLS.
	Cert string
}

// askWithin bounds an asking.
const askWithin = 4 * time.Second

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// Command returns the command health of a service.
func Command(env *boot.Environment, s Service) *cobra.Command {
	config, live := "", false
	c := &cobra.Command{
		Use:   "health --config FILE",
		Short: "Ask the service that runs here whether it can answer",
		Long: `Ask the service of a configuration, on this machine and as its address says, whether it
can answer; exit code 0 says that it can, 5 that it cannot. Whoever answers must show the
certificate of the configuration, or one that it vouches for, and one that has not ended.`,
		Example: "  " + s.Binary + " health --config " + s.Config,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if config == "" {
				return fault.New(fault.Usage, "asking the service", "--config is missing", "name the file that the service was started with")
			}
			l, err := s.Read(config)
			if err != nil {
				return err
			}
			path, state := s.Ready, "ready"
			if live || path == "" {
				path, state = s.Live, "live"
			}
			if err := ask(c.Context(), env.Wall, l, path); err != nil {
				return err
			}
			_, err = fmt.Fprintln(env.Stdout, state)
			return err
		},
	}
	c.Flags().StringVar(&config, "config", "", s.Config)
	if s.Ready != "" {
		c.Flags().BoolVar(&live, "live", false, "ask only whether the process is there")
	}
	return c
}

// ask asks once.
func ask(ctx context.Context, clock func() time.Time, l Listener, path string) error {
	const doing = "asking the service"
	address, err := here(l.Address)
	if err != nil {
		return err
	}
	transport := &http.Transport{Proxy: nil, DisableKeepAlives: true}
	scheme := "http"
	if l.Cert != "" {
		scheme = "https"
		if transport.TLSClientConfig, err = trusting(l.Cert, clock); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return fault.New(fault.Usage, doing, "[listen] address cannot be used", "give it as host:port")
	}
	asking := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := asking.Do(request)
	switch {
	case errors.Is(err, errStranger):
		return fault.New(fault.Unavailable, doing, "whoever answers does not show the certificate of the configuration, or it has ended", "see which process has the port; renew the certificate")
	case err != nil:
		return fault.New(fault.Unavailable, doing, "it does not answer", "see whether it runs, and its log")
	}
	defer func() { _ = answer.Body.Close() }() // read below
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fault.New(fault.Unavailable, doing, "its answer was cut off", "see its log")
	}
	if answer.StatusCode != http.StatusOK {
		return fault.New(fault.Unavailable, doing, "it says that it cannot answer: "+reason(answer.StatusCode, b), "see its log")
	}
	return nil
}

// here returns the address at which a service of this machine is called: one that listens
// on every address is called on loopback.
func here(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fault.New(fault.Usage, "asking the service", "[listen] address is not host:port", "give it as host:port")
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified() && ip.Is4():
		host = "127.0.0.1"
	case err == nil && ip.IsUnspecified():
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

// errStranger says that another certificate was shown.
var errStranger = errors.New("health: another certificate")

// trusting trusts the certificates of a PEM file and what they have signed. A name is not
// looked at: the one by which clients call is not this machine's.
func trusting(path string, clock func() time.Time) (*tls.Config, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the service's certificate", err, "name it in [listen] tls_cert")
	}
	known := x509.NewCertPool()
	if !known.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Usage, "reading the service's certificate", "there is none in "+path, "name it in [listen] tls_cert")
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // of the name; VerifyConnection does the rest
		VerifyConnection: func(state tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, more := range state.PeerCertificates[1:] {
				between.AddCert(more)
			}
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: known, Intermediates: between, CurrentTime: clock()})
			if err != nil {
				return errStranger
			}
			return nil
		},
	}, nil
}

// stable is the form of a problem's code.
var stable = regexp.MustCompile(`^[a-z_]{1,64}$`)

// reason returns the code of a problem, and the status where there is none.
func reason(status int, answer []byte) string {
	var problem struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(answer, &problem) == nil && stable.MatchString(problem.Code) {
		return problem.Code
	}
	return fmt.Sprintf("status %d", status)
}
