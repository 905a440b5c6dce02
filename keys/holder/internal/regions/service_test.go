package regions

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tarn/keys"
	"tarn/keys/escrow"
	"tarn/keys/fault"
	"tarn/keys/relationship"
	service "tarn/tokenise/relationship"
)

// sealed has an envelope for everybody.
type sealed struct{}

func (sealed) Envelope(context.Context, uint32, uint32, [keys.TokenSize]byte) (*escrow.Envelope, error) {
	return envelope(), nil
}

// TestAsksARegionsService: a key holder asks the service that regions run, over its own
// listener, and takes its answers; one whose certificate is not named is told so.
func TestAsksARegionsService(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	certificate := theirs.certificate(t)
	der, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"server.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), "server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		"ca.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours.cert.Raw}), "in.csv": []byte("token,organisation,from,to\n" + patient.String() + ",RX1,2026-11-26,\n"),
	} {
		if err := os.WriteFile(at(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	clock := func() time.Time { return noon }
	if _, err := service.Load(t.Context(), service.LoadOptions{In: at("in.csv"), Dir: at("tables"), Threads: 1, Software: "test", Clock: clock, Wall: clock}); err != nil {
		t.Fatal(err)
	}
	key, err := service.NewSigningKey(nil)
	if err == nil {
		err = key.Write(at("signing.key"))
	}
	if err != nil {
		t.Fatal(err)
	}
	// start runs a service for a client, until the test ends.
	start := func(client string) *Regions {
		t.Helper()
		c := service.Config{Address: "127.0.0.1:0", TLSCert: at("server.pem"), TLSKey: at("server.key"), ClientCA: at("ca.pem"), Clients: []string{client}, SigningKeyFile: at("signing.key"), Dir: at("tables")}
		s, listen, err := c.Open(sealed{}, clock, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ready, ended := make(chan net.Addr, 1), make(chan error, 1)
		go func() { ended <- s.Serve(ctx, listen, func(a net.Addr) { ready <- a }) }()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		public, err := relationship.ParseVerifyKey(relationship.VerifyKeyText(key.Public()))
		if err != nil {
			t.Fatal(err)
		}
		r, err := New([]Region{{Domain: "lake", URL: "https://" + (<-ready).String(), Roots: theirs.pool, Key: public}}, Options{Certificate: showing(ours.certificate(t)), Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
	r := start("test") // the name in the key holder's certificate
	a, err := r.Ask(t.Context(), "lake", patient, "RX1", request)
	if err != nil || a.Decision != relationship.Allow || a.Envelope == nil || string(a.Envelope.Sealed) != "sealed" || a.Evidence == [32]byte{} {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = r.Ask(t.Context(), "lake", patient, "RX2", request); err != nil || a.Decision != relationship.Deny || a.Envelope == nil || string(a.Envelope.Sealed) != "sealed" {
		t.Errorf("%+v, %v", a, err)
	}
	var refused *fault.Error
	if a, err := start("another").Ask(t.Context(), "lake", patient, "RX1", request); a != nil || !errors.As(err, &refused) || refused.Kind != fault.Policy || !strings.Contains(refused.Wrong, "does not take this key holder's certificate") {
		t.Errorf("a stranger: %+v, %v", a, err)
	}
}
