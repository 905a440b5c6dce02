// Package tokeniser runs the tokenise service as a process of its own, for benchmarks, for
// fault scenarios, for the demonstration and for tests: certificates are made for it, and
// its clients.
package tokeniser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tarn/bench/load"
	"tarn/bench/process"
	"tarn/keys/fault"
	"tarn/keys/trialcert"
)

// startWithin is when a start has failed, on a slow machine and traced.
const startWithin = time.Minute

// Project is a project that is served.
type Project struct {
	Name         string
	File         string // path of project.json
	KeyFile      string // path of keys.json; empty with a key holder
	Clients      []string
	BudgetRows   int64         // 0 is the service's default
	BudgetPeriod time.Duration // 0 is the service's default
}

// Options are what a service is made of.
type Options struct {
	Binary   string // the tokeniser's program
	Folder   string // an existing one: of its configuration, certificates and store
	Store    string // folder of its store; empty is in Folder
	Projects []Project
	// Credentials is the folder of credentials for the key holder, and KeyholderURL its
	// address, where it has another than they say.
	Credentials, KeyholderURL string
	KeyholderTimeout          time.Duration // 0 is the service's default
	Clients                   []string      // names that certificates are made for; empty is those of the projects
	Limits                    string        // lines of [limits]
	More                      string        // further tables of its configuration
	FreeFloor                 string        // empty is 64MiB
	LogLevel                  string        // empty is the service's default
	LogFormat                 string
	Metrics                   bool
	Clock                     func() time.Time
}

// Tokeniser is a service that was made, whether it runs or not.
type Tokeniser struct {
	Options
	Config  string           // the path of its tokeniser.toml
	Process *process.Process // of its last start
	Address string           // since its last start, host:port

	metrics string
}

// New makes a service, which does not run yet.
func New(o Options) (*Tokeniser, error) {
	if o.Store == "" {
		o.Store = filepath.Join(o.Folder, "store")
	}
	if o.FreeFloor == "" {
		o.FreeFloor = "64MiB"
	}
	t := &Tokeniser{Options: o, Config: filepath.Join(o.Folder, "tokeniser.toml")}
	clients := o.Clients
	for _, p := range o.Projects {
		if len(o.Clients) == 0 {
			clients = append(clients, p.Clients...)
		}
	}
	if err := trialcert.Make(t.tls(""), []string{"localhost", "127.0.0.1"}, clients, o.Clock()); err != nil {
		return nil, err
	}
	if o.Metrics {
		address, err := process.FreeAddress()
		if err != nil {
			return nil, err
		}
		t.metrics = address
	}
	return t, t.Configure()
}

func (t *Tokeniser) tls(name string) string { return filepath.Join(t.Folder, "tls", name) }

// Configure writes tokeniser.toml of what t says now, for its next start or reload.
func (t *Tokeniser) Configure() error {
	var b strings.Builder
	address := "127.0.0.1:0"
	if t.Address != "" {
		address = t.Address // clients find it where it was
	}
	fmt.Fprintf(&b, "production = false\n[listen]\naddress = %q\ntls_cert = %q\ntls_key = %q\nclient_ca = %q\nmetrics_address = %q\n",
		address, t.tls(trialcert.ServerCert), t.tls(trialcert.ServerKey), t.CA(), t.metrics)
	if t.Credentials != "" {
		fmt.Fprintf(&b, "[keyholder]\nas = %q\nurl = %q\n", t.Credentials, t.KeyholderURL)
		if t.KeyholderTimeout > 0 {
			fmt.Fprintf(&b, "timeout = %q\n", t.KeyholderTimeout)
		}
	}
	for _, p := range t.Projects {
		fmt.Fprintf(&b, "[[project]]\nfile = %q\nkey_file = %q\nclients = [\"%s\"]\nbudget_rows = %d\n", p.File, p.KeyFile, strings.Join(p.Clients, `", "`), p.BudgetRows)
		if p.BudgetPeriod > 0 {
			fmt.Fprintf(&b, "budget_period = %q\n", p.BudgetPeriod)
		}
	}
	fmt.Fprintf(&b, "[limits]\n%s\n[store]\ndir = %q\nfree_floor = %q\n[log]\nlevel = %q\nformat = %q\n", t.Limits, t.Store, t.FreeFloor, t.LogLevel, t.LogFormat)
	b.WriteString(t.More)
	if err := os.WriteFile(t.Config, []byte(b.String()), 0o600); err != nil {
		return fault.Wrap(fault.Internal, "configuring the tokenise service", err, "")
	}
	return nil
}

// Start starts its program, behind another one where one is given, and returns when it says
// where it answers. That it is ready is another thing: see Ready.
func (t *Tokeniser) Start(ctx context.Context, before ...string) error {
	const answering = "answering on "
	command := append(before, t.Binary, "serve", "--config", t.Config)
	p, answer, err := process.Start(ctx, process.Options{Until: answering, Within: startWithin}, command[0], command[1:]...)
	t.Process = p
	if err != nil {
		return err
	}
	_, t.Address, _ = strings.Cut(answer, answering)
	return nil
}

// CA is the path of the authority's certificate.
func (t *Tokeniser) CA() string { return t.tls(trialcert.AuthorityFile) }

// ClientFiles are the paths of a client's certificate and key.
func (t *Tokeniser) ClientFiles(name string) (cert, key string) {
	return t.tls(name + ".pem"), t.tls(name + ".key")
}

// Target is a project's tokenise route, called by a client. query is what follows it.
func (t *Tokeniser) Target(project, client, query string) (load.Target, error) {
	cert, key := t.ClientFiles(client)
	config, err := load.TLS(t.CA(), cert, key)
	return load.Target{Address: t.Address, Path: "/v1/projects/" + project + "/tokenise" + query, TLS: config}, err
}

// MetricsURL is where its metrics are.
func (t *Tokeniser) MetricsURL() string { return "http://" + t.metrics + "/metrics" }

// MetricsPage returns all metrics of a service that has Metrics, as Prometheus reads them.
func (t *Tokeniser) MetricsPage(ctx context.Context) (string, error) {
	return process.Page(ctx, t.MetricsURL())
}

// Ready returns when a request for a project's rows is answered, or with the context's
// error.
func (t *Tokeniser) Ready(ctx context.Context, project, client string) error {
	target, err := t.Target(project, client, "")
	if err != nil {
		return err
	}
	c := load.NewConn(target, uint64(t.Clock().UnixNano()))
	defer c.Close()
	for {
		a, err := c.Do(&load.Request{Media: "application/json", Body: []byte(`{"rows":[]}`)}, c.ID(), 5*time.Second)
		if err == nil && a.Status == 200 {
			return nil
		}
		if t.Process.HasEnded() {
			return fault.New(fault.Internal, "waiting for the tokenise service", "it has ended: "+t.Process.Said(), "")
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Internal, "waiting for the tokenise service", "it was not ready in time: "+t.Process.Said(), "")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Reload has it read its configuration again.
func (t *Tokeniser) Reload() error { return t.Process.Signal(syscall.SIGHUP) }

// Stop ends it with SIGTERM, if it runs.
func (t *Tokeniser) Stop() error {
	if t.Process == nil || t.Process.HasEnded() {
		return nil
	}
	return t.Process.Stop()
}

// Kill ends it at once, if it runs.
func (t *Tokeniser) Kill() error {
	if t.Process == nil {
		return nil
	}
	return t.Process.Kill()
}
