package health_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/health"
	"tarn/keys/trialcert"
)

// asked runs the command of a service that listens as it is said.
func asked(t *testing.T, l health.Listener, args ...string) (code int, said string) {
	t.Helper()
	var out bytes.Buffer
	code = boot.Run(t.Context(), func(env *boot.Environment) *cobra.Command {
		root := &cobra.Command{Use: "service"}
		root.AddCommand(health.Command(env, health.Service{Binary: "service", Config: "service.toml", Live: "/livez", Ready: "/readyz", Read: func(string) (health.Listener, error) { return l, nil }}))
		return root
	}, append([]string{"health"}, args...), strings.NewReader(""), &out, &out)
	return code, out.String()
}

// certificates makes an authority and what it signed, from a time on.
func certificates(t *testing.T, from time.Time) (cert string, pair tls.Certificate) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "tls")
	// The name is another than this machine's: clients call by it, the command does not.
	if err := trialcert.Make(folder, []string{"service.example.nhs.uk"}, nil, from); err != nil {
		t.Fatal(err)
	}
	cert = filepath.Join(folder, trialcert.ServerCert)
	pair, err := tls.LoadX509KeyPair(cert, filepath.Join(folder, trialcert.ServerKey))
	if err != nil {
		t.Fatal(err)
	}
	return cert, pair
}

func TestHealth(t *testing.T) {
	cert, pair := certificates(t, time.Now())
	other, _ := certificates(t, time.Now())
	ended, endedPair := certificates(t, time.Now().Add(-2*trialcert.Lasts))
	answer := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/livez" {
				return
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		})
	}
	for name, tt := range map[string]struct {
		answer http.Handler
		shows  tls.Certificate
		cert   string
		args   []string
		code   int
		said   string
	}{
		"ready":                {answer(200, "{}"), pair, cert, nil, 0, "ready\n"},
		"without TLS":          {answer(200, "{}"), tls.Certificate{}, "", nil, 0, "ready\n"},
		"sealed":               {answer(503, `{"code":"sealed"}`), pair, cert, nil, 5, "it says that it cannot answer: sealed"},
		"live, and not ready":  {answer(503, `{"code":"sealed"}`), pair, cert, []string{"--live"}, 0, "live\n"},
		"a code that is none":  {answer(503, `{"code":"943 476 5919"}`), pair, cert, nil, 5, "status 503"},
		"another certificate":  {answer(200, "{}"), pair, other, nil, 5, "does not show the certificate"},
		"a certificate ended":  {answer(200, "{}"), endedPair, ended, nil, 5, "it has ended"},
		"TLS where none is":    {answer(200, "{}"), tls.Certificate{}, cert, nil, 5, "it does not answer"},
		"no TLS where some is": {answer(200, "{}"), pair, "", nil, 5, "status 400"},
		"it leads elsewhere":   {http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound), pair, cert, nil, 5, "status 302"},
		"no certificate":       {answer(200, "{}"), pair, "missing.pem", nil, 2, "tls_cert"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(tt.answer)
			server.Config.ErrorLog = nil
			if tt.shows.Certificate != nil {
				server.TLS = &tls.Config{Certificates: []tls.Certificate{tt.shows}}
				server.StartTLS()
			} else {
				server.Start()
			}
			defer server.Close()
			_, port, err := net.SplitHostPort(server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			code, said := asked(t, health.Listener{Address: "0.0.0.0:" + port, Cert: tt.cert}, append([]string{"--config", "service.toml"}, tt.args...)...)
			if code != tt.code || !strings.Contains(said, tt.said) || strings.Contains(said, "943") {
				t.Errorf("exit %d, said %q; want %d and %q", code, said, tt.code, tt.said)
			}
		})
	}
	if code, said := asked(t, health.Listener{Address: "127.0.0.1:1"}, "--config", "service.toml"); code != 5 || !strings.Contains(said, "it does not answer") {
		t.Errorf("where nobody listens: exit %d, said %q", code, said)
	}
	if code, said := asked(t, health.Listener{Address: "service"}, "--config", "service.toml"); code != 2 || !strings.Contains(said, "host:port") {
		t.Errorf("no address: exit %d, said %q", code, said)
	}
	if code, said := asked(t, health.Listener{}); code != 2 || !strings.Contains(said, "--config is missing") {
		t.Errorf("no configuration: exit %d, said %q", code, said)
	}
}
