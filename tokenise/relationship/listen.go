package relationship

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/time/rate"

	"tarn/keys/fault"
	"tarn/keys/servercert"
)

// Bounds of connections. A caller that is slower than these is cut off.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 15 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeader      = 8 << 10
	maxConnections = 256
	drainTimeout   = 10 * time.Second
)

// Listen is where the service listens, a listener of its own.
type Listen struct {
	Address  string // host:port
	Cert     string // PEM file: the server's certificate and what signed it; read again when it changes
	Key      string // PEM file, readable by its owner only
	ClientCA string // PEM file of the authorities of clients' certificates
}

// Serve listens and answers until the context ends; then it finishes what it has begun, and
// closes the service. ready may be nil, and is called with the address once it listens.
func (s *Service) Serve(ctx context.Context, l Listen, ready func(net.Addr)) error {
	const doing = "serving relationships"
	defer s.Close()
	config, err := s.tlsConfig(l)
	if err != nil {
		return err
	}
	socket, err := net.Listen("tcp", l.Address)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, "choose another address in [relationships]")
	}
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog:  log.New(&strangers{service: s, lines: rate.NewLimiter(1, 10)}, "", 0),
		TLSConfig: config,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(netutil.LimitListener(socket, maxConnections), "", "") }()
	if ready != nil {
		ready(socket.Addr())
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-ended:
		ended <- nil
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(draining); err != nil {
		failure = errors.Join(failure, server.Close())
	}
	if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
		failure = errors.Join(failure, err)
	}
	return failure
}

func (s *Service) tlsConfig(l Listen) (*tls.Config, error) {
	const doing = "reading [relationships] client_ca"
	server, err := servercert.Open(servercert.Files{Cert: l.Cert, Key: l.Key, Next: "give [relationships] tls_cert and tls_key: the certificate under which the key holder calls this service, and its key"}, s.options.Clock)
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(l.ClientCA)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the PEM file of the key holder's authority")
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Usage, doing, "it holds no certificate", "give the PEM file of the key holder's authority")
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Who has no certificate of the authority is refused here. Whether another is one that may
		// ask is said in an answer, which TLS 1.3 could not do reliably: a client that has sent its
		// question by then finds the connection broken.
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
		Time:                   s.options.Clock,
		SessionTicketsDisabled: true, // every connection shows its certificate
		GetCertificate:         server.Get,
		NextProtos:             []string{"h2", "http/1.1"},
	}, nil
}

// strangers takes what the library says of connections. It holds addresses and what was
// sent, so that only that there was something is said, and not too often.
type strangers struct {
	service *Service
	lines   *rate.Limiter
}

// Write implements [io.Writer].
func (w *strangers) Write(line []byte) (int, error) {
	o := &w.service.options
	if m := o.Meter; m != nil {
		m.Stranger()
	}
	if w.lines.AllowN(o.Clock(), 1) {
		o.Logger.Warn("a connection was refused or broke off: without a certificate of the authority, most often")
	}
	return len(line), nil
}
