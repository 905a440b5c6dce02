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

	// People is where people who have signed in are answered; nowhere if empty.
	People Pair
}

// Pair is an address with a certificate of its own. Without one it shows the service's.
type Pair struct{ Address, Cert, Key string }

// Addresses are where the service answers; People is nil where it answers none.
type Addresses struct{ Service, People net.Addr }

// Files are the certificate and key, as whoever opens them is told of.
func (l Listen) Files() servercert.Files {
	return servercert.Files{Cert: l.Cert, Key: l.Key, Next: "give tls_cert and tls_key in [listen]: the pair that keyholder init or keyholder certificate made"}
}

// Serve listens and answers until the context ends or the store fails; then it
// finishes what it has begun. ready is called with the addresses once it listens.
func (h *Holder) Serve(ctx context.Context, l Listen, ready func(Addresses)) error {
	const doing = "serving"
	listeners, err := h.listen(l)
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	work.Go(func() { h.Work(working) })
	ended := make(chan error, len(listeners))
	for _, one := range listeners {
		go func() { ended <- one.server.ServeTLS(one.socket, "", "") }()
	}
	if ready != nil {
		addresses := Addresses{Service: listeners[0].socket.Addr()}
		if len(listeners) > 1 {
			addresses.People = listeners[1].socket.Addr()
		}
		ready(addresses)
	}
	var failure error
	left := len(listeners)
	select {
	case <-ctx.Done():
	case <-h.Failed():
		failure = fault.New(fault.Internal, doing, "the store could not be written, so that what is in memory cannot be believed",
			"look at the disk, then start again; if that is refused restore a backup: docs/operations.md")
	case failure = <-ended:
		left--
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	for _, one := range listeners {
		if err := one.server.Shutdown(draining); err != nil {
			failure = errors.Join(failure, one.server.Close())
		}
	}
	for ; left > 0; left-- {
		if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
			failure = errors.Join(failure, err)
		}
	}
	stop()
	work.Wait()
	return errors.Join(failure, h.Close(draining))
}

// listener is a socket with what answers there.
type listener struct {
	socket net.Listener
	server *http.Server
}

// listen opens the service's sockets, that for programs first.
func (h *Holder) listen(l Listen) (all []listener, err error) {
	defer func() {
		if err != nil {
			for _, one := range all {
				err = errors.Join(err, one.socket.Close())
			}
		}
	}()
	service, err := h.Handler()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "serving", err, "")
	}
	// Any certificate or none: TLS proves that the caller has its key. Whose it is, and
	// whether that still counts, the table says, with a reason to read.
	one, err := h.listenAt(l, service, tls.RequestClientCert, "[listen]")
	if err != nil {
		return nil, err
	}
	all = append(all, one)
	if l.People.Address == "" {
		return all, nil
	}
	people, err := h.PeopleHandler()
	if err != nil {
		return all, fault.Wrap(fault.Internal, "serving", err, "")
	}
	at := Listen{Address: l.People.Address, Cert: l.People.Cert, Key: l.People.Key}
	if at.Cert == "" {
		at.Cert, at.Key = l.Cert, l.Key
	}
	if one, err = h.listenAt(at, people, tls.NoClientCert, "[console]"); err != nil {
		return all, err
	}
	return append(all, one), nil
}

// listenAt opens a socket; section is that of its configuration.
func (h *Holder) listenAt(l Listen, routes http.Handler, clients tls.ClientAuthType, section string) (listener, error) {
	certificate, err := servercert.Open(l.Files(), h.options.Clock)
	if err != nil {
		return listener{}, err
	}
	socket, err := net.Listen("tcp", l.Address)
	if err != nil {
		return listener{}, fault.Wrap(fault.Usage, "serving", err, "choose another address in "+section)
	}
	return listener{netutil.LimitListener(socket, maxConnections), &http.Server{
		Handler:           routes,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		// What the library says of a connection holds addresses, and now and then
		// what was sent: the metrics count, the log has lines of our own.
		ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: clients, GetCertificate: certificate.Get, NextProtos: []string{"h2", "http/1.1"},
		},
	}}, nil
}
