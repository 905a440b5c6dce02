package holder

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"tarn/keys/fault"
	"tarn/keys/servercert"
)

// Bounds of connections. A caller that is slower than these is cut off.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 15 * time.Second
	writeTimeout   = 20 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeader      = 16 << 10
	maxConnections = 1024
	drainTimeout   = 15 * time.Second
)

// Listen is where the service listens.
type Listen struct {
	Address string
	Cert    string // PEM file: the server's certificate and what signed it
	Key     string // PEM file, readable by its owner only
}

// Files are the certificate and key, as whoever opens them is told of.
func (l Listen) Files() servercert.Files {
	return servercert.Files{Cert: l.Cert, Key: l.Key, Next: "give tls_cert and tls_key in [listen]: the pair that keyholder init or keyholder certificate made"}
}

// Serve listens and answers until the context ends or the store fails; then it
// finishes what it has begun. ready is called with the address once it listens.
func (h *Holder) Serve(ctx context.Context, l Listen, ready func(net.Addr)) error {
	const doing = "serving"
	certificate, err := servercert.Open(l.Files(), h.options.Clock)
	if err != nil {
		return err
	}
	routes, err := h.Handler()
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "")
	}
	socket, err := net.Listen("tcp", l.Address)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, "choose another address in [listen]")
	}
	server := &http.Server{
		Handler:           routes,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		// What the library says of a connection holds addresses, and now and then
		// what was sent: the metrics count, the log has lines of our own.
		ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			// Any certificate or none: TLS proves that the caller has its key. Whose it is,
			// and whether that still counts, the table says, with a reason to read.
			ClientAuth:     tls.RequestClientCert,
			GetCertificate: certificate.Get,
			NextProtos:     []string{"h2", "http/1.1"},
		},
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { h.Work(working) })
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(netutil.LimitListener(socket, maxConnections), "", "") }()
	if ready != nil {
		ready(socket.Addr())
	}
	var failure error
	select {
	case <-ctx.Done():
	case <-h.Failed():
		failure = fault.New(fault.Internal, doing, "the store could not be written, so that what is in memory cannot be believed",
			"look at the disk, then start again; if that is refused restore a backup: docs/operations.md")
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
	stop()
	work.Wait()
	return errors.Join(failure, h.Close(draining))
}
