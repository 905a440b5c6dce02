// Package metrics is the listener that Prometheus reads. It stands apart from
// boot so that a binary without a service links no HTTP server.
package metrics

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tarn/keys/fault"
)

// Registry holds what is counted.
type Registry = prometheus.Registry

// NewRegistry returns a registry with the metrics every service has: the Go
// runtime's, the process's, tarn_build_info, a gauge of 1 whose labels say which
// binary and version this is, and tarn_process_hardened.
func NewRegistry(binary, version string, hardened bool) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "tarn_build_info",
		Help:        "Always 1; the labels say which binary and version is running.",
		ConstLabels: prometheus.Labels{"binary": binary, "version": version, "go_version": runtime.Version()},
	})
	build.Set(1)
	state := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tarn_process_hardened", Help: "1 where the system refuses core files of the process and debuggers; the log says what is lacking."})
	if hardened {
		state.Set(1)
	}
	registry.MustRegister(build, state, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// Listener answers GET /metrics on an address of its own, apart from the
// service's: metrics have other readers.
type Listener struct {
	address net.Addr
	server  *http.Server
	ended   chan error
}

// Listen starts a listener, such as on "127.0.0.1:9090". An address that
// cannot be had is a fault of kind Usage.
func Listen(address string, registry *prometheus.Registry) (*Listener, error) {
	socket, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "listening for metrics", err, "choose another metrics_address")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	}))
	l := &Listener{
		address: socket.Addr(),
		server: &http.Server{
			Handler:           mux,
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       5 * time.Second,
			WriteTimeout:      15 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    8 << 10,
			ErrorLog:          log.New(io.Discard, "", 0), // it holds addresses, and values of panics
		},
		ended: make(chan error, 1),
	}
	go func() { l.ended <- l.server.Serve(socket) }()
	return l, nil
}

// Address returns the address listened on, with the port that was given where
// port 0 was asked for.
func (l *Listener) Address() net.Addr { return l.address }

// Close lets readings under way finish until the context ends, and then
// closes. It returns the error that ended the listener early, if any.
func (l *Listener) Close(ctx context.Context) error {
	stopping := l.server.Shutdown(ctx)
	if stopping != nil {
		stopping = errors.Join(stopping, l.server.Close())
	}
	if err := <-l.ended; !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(stopping, err)
	}
	return stopping
}
