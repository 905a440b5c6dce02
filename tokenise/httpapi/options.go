// Package httpapi is the endpoint that ingestion pipelines call, docs/api.md. It is the
// only package that knows fasthttp, whose buffers are used again when a handler has
// returned: what is kept beyond that is copied here, at the edge.
package httpapi

import (
	"crypto/x509"
	"log/slog"
	"time"

	"tarn/keys/budget"
	"tarn/tokenise/serving"
)

// Bounds that are given where the configuration says nothing.
const (
	DefaultMaxRows        = 10_000
	DefaultMaxBody        = 8 << 20
	DefaultTimeout        = 10 * time.Second
	DefaultMaxConnections = 4096
	DefaultMaxMemory      = 256 << 20
	DefaultBudgetRows     = 100_000_000
	DefaultBudgetPeriod   = 24 * time.Hour
	DefaultCeilingRows    = 450_000_000
	DefaultBatchWindow    = 2 * time.Millisecond
)

// Limits bound what callers may take.
type Limits struct {
	MaxRows        int           // of a request
	MaxBody        int           // bytes of a request, as sent and unpacked
	Timeout        time.Duration // of reading a request and answering it, and again of writing the answer
	MaxConnections int
	MaxMemory      int64 // bytes of all requests that are worked on at once; others wait
}

// Project is a project and who may have its rows answered.
type Project struct {
	Project *serving.Project
	// Clients are names in the callers' certificates (common name or DNS name), or
	// sha256: and the hash of a certificate in hex.
	Clients []string
	Rows    int64 // each client's budget in a period
	Period  budget.Period
}

// Options are what the service is made of.
type Options struct {
	Projects []Project
	Limits   Limits
	ClientCA *x509.CertPool // of whom callers' certificates are
	Ledger   *serving.Ledger
	Wall     func() time.Time
	Clock    func() time.Time // for durations
	Logger   *slog.Logger
	Meter    Meter // nil counts nothing
	Trace    Trace // nil traces nothing
}

// Meter counts. Labels are of the service's own lists: routes, codes, projects, clients.
type Meter interface {
	Request(route string, status int, took time.Duration)
	Rows(project string, ok, refused int)
	Code(code string, refused bool)
}

// Trace is told of each request as it goes through its stages, where somebody wants to
// see where time goes: begun, read, charged, answered, kept. It is off unless it is given,
// and never sees anything of a request's content.
type Trace func(request string, stage string, at time.Time)

type nobody struct{}

func (nobody) Request(string, int, time.Duration) {}
func (nobody) Rows(string, int, int)              {}
func (nobody) Code(string, bool)                  {}
