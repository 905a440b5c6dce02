package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/boot/metrics"
	"tarn/keys/api"
	"tarn/keys/budget"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/keys/servercert"
	"tarn/tokenise/httpapi"
	"tarn/tokenise/lease"
	"tarn/tokenise/regionstore"
	"tarn/tokenise/relationship"
	"tarn/tokenise/serving"
)

// service is what serve runs.
type service struct {
	env         *boot.Environment
	path        string
	config      *serveConfig
	certificate *servercert.Certificate
	clients     *x509.CertPool // whose certificates callers show
	store       *regionstore.Store
	ledger      *serving.Ledger
	keyholder   *client.Client // nil where all projects have key files
	projects    []*serving.Project
	server      *httpapi.Server
	meter       *metrics.Tokeniser
	listener    *metrics.Listener
	asked       *relationship.Service // by the key holder; nil where nothing is configured
	askedOn     relationship.Listen
	kept        *relationship.Kept // whose tokens are, sealed

	up, sealed atomic.Bool // what the key holder said last
}

// newService reads what the configuration names. It opens nothing that is to be closed.
func newService(env *boot.Environment, path string, config *serveConfig) (s *service, err error) {
	s = &service{env: env, path: path, config: config}
	s.up.Store(true) // until it is seen that it does not answer
	files := servercert.Files{Cert: config.Listen.TLSCert, Key: config.Listen.TLSKey, Next: "give tls_cert and tls_key in [listen]; for a trial: tokeniser certificates"}
	if s.certificate, err = servercert.Open(files, env.Wall); err != nil {
		return nil, err
	}
	if s.clients, err = boot.Authorities("[listen] client_ca", config.Listen.ClientCA); err != nil {
		return nil, err
	}
	if files := config.Keyholder.files(); files != (client.Files{}) {
		credentials, err := client.Load(files)
		if err != nil {
			return nil, err
		}
		if credentials.EndsSoon(env.Wall()) {
			fmt.Fprintf(env.Stderr, "the key holder's certificate for this service ends on %s: ask its operators for a new code (keyholder client renew) and enrol again\n", credentials.End().Format(time.DateOnly))
		}
		s.keyholder = client.New(credentials, env.Wall)
	}
	for i := range config.Projects {
		p, err := serving.NewProject(s.projectOptions(&config.Projects[i]))
		if err != nil {
			return nil, err
		}
		for _, other := range s.projects {
			if other.Name() == p.Name() {
				return nil, fault.New(fault.Usage, "reading the configuration "+path, "two [[project]] are the project "+p.Name(), "give each project once, with all its clients")
			}
		}
		s.projects = append(s.projects, p)
	}
	return s, nil
}

// check says whether the service could start, or read its configuration again, with what
// is there. It makes nothing: whoever checks may be another user than the service's.
func (s *service) check(ctx context.Context) error {
	for _, p := range s.projects {
		if err := p.Check(ctx); err != nil {
			return err
		}
	}
	said := "the configuration can be used"
	if _, err := os.Stat(regionstore.KeyPath(s.config.Store.Dir)); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(filepath.Clean(s.config.Store.Dir))); err != nil {
			return fault.Wrap(fault.Usage, "looking for the folder of [store] dir", err, "make that folder, for the service's user")
		}
		said += "; the store is made when the service starts"
	} else if err := s.openStore(func(secret.Key) error { return nil }); errors.Is(err, regionstore.ErrInUse) {
		said += "; the store is open in a service that runs"
	} else if err != nil {
		return err
	} else if err := s.store.Close(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(s.env.Stdout, said)
	return err
}

// openStore opens the store, and does what needs its key.
func (s *service) openStore(with func(secret.Key) error) error {
	c := &s.config.Store
	key, err := regionstore.OpenKey(regionstore.KeyPath(c.Dir), s.env.Rand)
	if err != nil {
		return err
	}
	defer key.Destroy() // whoever needs it has derived its own
	if s.store, err = regionstore.Open(regionstore.Options{Dir: c.Dir, Key: key, FreeFloor: uint64(c.FreeFloor), Logger: s.env.Logger, Clock: s.env.Wall, Rand: s.env.Rand}); err != nil {
		return err
	}
	if err := with(key); err != nil {
		return errors.Join(err, s.store.Close())
	}
	return nil
}

// open opens the store, and what answers.
func (s *service) open() error {
	return s.openStore(func(key secret.Key) (err error) {
		s.ledger, err = serving.NewLedger(serving.LedgerOptions{Store: s.store, Key: key, Now: s.env.Wall,
			Ceiling: serving.Allowance{Rows: s.config.Limits.CeilingRows, Period: budget.Period(24 * time.Hour)}})
		if err == nil {
			err = s.openBudgets(s.config)
		}
		if err == nil {
			err = s.openEscrow()
		}
		if err == nil {
			err = s.newServer(s.clients)
		}
		return err
	})
}

func (s *service) projectOptions(p *serveProjectConfig) serving.ProjectOptions {
	o := serving.ProjectOptions{
		File: p.File, KeyFile: p.KeyFile, Production: s.config.Production, CachedDates: s.config.Limits.CachedDates, Wall: s.env.Wall, Logger: s.env.Logger,
		BatchWindow: time.Duration(s.config.Keyholder.BatchWindow), BatchTimeout: time.Duration(s.config.Keyholder.Timeout),
	}
	if p.KeyFile == "" {
		o.KeyHolder = s.keyholderAway
		o.Lease = func(ctx context.Context, project string, rows int64, uses ...api.Use) (context.Context, lease.Session, error) {
			running, session, err := client.Open(ctx, s.keyholder, s.env.Wall, project, rows, uses...)
			if err != nil {
				return nil, nil, err // session is nil, and an interface that holds it would not be
			}
			return running, session, nil
		}
	}
	return o
}

// openBudgets says what each client of each project may use.
func (s *service) openBudgets(config *serveConfig) error {
	for i, p := range config.Projects {
		for _, name := range p.Clients {
			if err := s.ledger.Open(serving.Account{Project: s.projects[i].Name(), Client: name}, serving.Allowance{Rows: p.BudgetRows, Period: budget.Period(p.BudgetPeriod)}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *service) newServer(clients *x509.CertPool) error {
	l := s.config.Limits
	registry := metrics.NewRegistry("tokeniser", boot.Version(), s.env.Hardened())
	s.meter = metrics.NewTokeniser(registry, metrics.TokeniserState{
		Budgets: func(each func(project, client string, left int64)) {
			s.ledger.Each(func(a serving.Account, left int64) { each(a.Project, a.Client, left) })
		},
		Allowed: func(each func(project, client string, rows int64)) {
			s.ledger.Each(func(a serving.Account, _ int64) { each(a.Project, a.Client, s.ledger.Allowed(a)) })
		},
		Projects: func(each func(project string, ready bool, leaseEnd time.Time)) {
			for _, p := range s.projects {
				each(p.Name(), p.Ready() == nil, p.LeaseEnd())
			}
		},
		HasKeyholder: s.keyholder != nil, KeyholderSealed: s.sealed.Load, KeyholderUp: s.up.Load,
		CertificateExpiry: func() time.Time { return servercert.End(s.config.Listen.TLSCert) },
		FreeBytes:         func() float64 { return float64(s.store.FreeBytes()) },
	})
	s.server = httpapi.New(httpapi.Options{
		Projects: s.served(s.config), ClientCA: clients, Ledger: s.ledger, Wall: s.env.Wall, Clock: s.env.Clock, Logger: s.env.Logger, Meter: s.meter,
		Limits: httpapi.Limits{MaxRows: l.MaxRows, MaxBody: int(l.MaxBody), Timeout: time.Duration(l.Timeout), MaxConnections: l.MaxConnections, MaxMemory: int64(l.MaxMemory)},
	})
	if err := s.openRelationships(registry); err != nil {
		return err
	}
	if s.config.Listen.MetricsAddress == "" {
		return nil
	}
	var err error
	s.listener, err = metrics.Listen(s.config.Listen.MetricsAddress, registry)
	return err
}

// served returns the projects and who may call for each.
func (s *service) served(config *serveConfig) (all []httpapi.Project) {
	for i, p := range config.Projects {
		all = append(all, httpapi.Project{Project: s.projects[i], Clients: p.Clients, Rows: p.BudgetRows, Period: budget.Period(p.BudgetPeriod)})
	}
	return all
}

// run answers until the context ends or the store fails.
func (s *service) run(ctx context.Context) error {
	socket, err := net.Listen("tcp", s.config.Listen.Address)
	if err != nil {
		return errors.Join(fault.Wrap(fault.Usage, "serving", err, "choose another address in [listen]"), s.close(ctx))
	}
	if !s.config.Production {
		fmt.Fprintln(s.env.Stderr, "not for production: production = false")
	}
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	for _, p := range s.projects {
		work.Go(func() { p.Work(working) })
	}
	work.Go(func() { s.store.Work(working) })
	if s.keyholder != nil {
		work.Go(func() { s.watchKeyholder(working) })
	}
	ended := make(chan error, 2)
	go func() { ended <- s.server.Serve(socket, httpapi.TLS{Certificate: s.certificate.Get}) }()
	if s.asked != nil {
		work.Go(func() {
			if err := s.asked.Serve(working, s.askedOn, func(at net.Addr) { fmt.Fprintf(s.env.Stderr, "answering the key holder on %s\n", at) }); err != nil {
				select {
				case ended <- err:
				default: // it is ending
				}
			}
		})
	}
	fmt.Fprintf(s.env.Stderr, "answering on %s\n", socket.Addr())
	reload, stopReload := boot.Reloads()
	defer stopReload()
	failure := s.wait(ctx, ended, reload)
	// It ends within the time of a request, and what it takes to end leases.
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(s.config.Limits.Timeout)+5*time.Second)
	defer cancel()
	failure = errors.Join(failure, s.server.Stop(stopping))
	stop()
	work.Wait()
	return errors.Join(failure, s.close(stopping))
}

// wait returns when the service is to end, and why if something failed.
func (s *service) wait(ctx context.Context, ended <-chan error, reload <-chan struct{}) error {
	for {
		select {
		case <-ctx.Done():
			s.server.Drain()
			if drain := time.Duration(s.config.Limits.Drain); drain > 0 {
				time.Sleep(drain)
			}
			return nil
		case err := <-ended:
			return err
		case <-s.store.Failed():
			return fault.New(fault.Internal, "serving", "the store could not be written, so that it is not known which requests were answered",
				"look at the disk of [store] dir, then start again")
		case <-reload:
			if err := s.reload(); err != nil {
				s.env.Logger.Error("the configuration cannot be read again, and stays as it was", "error", err)
				fmt.Fprintln(s.env.Stderr, "the configuration stays as it was: "+boot.Describe(err))
			}
		}
	}
}

// reload reads the configuration again. Of what changes projects' files, clients and
// budgets count, and certificates; all else needs a restart.
func (s *service) reload() error {
	config, err := readServeConfig(s.path)
	if err != nil {
		return err
	}
	if len(config.Projects) != len(s.config.Projects) {
		return fault.New(fault.Usage, "reading the configuration "+s.path, "there are other [[project]] than before", "start the service again: projects are added and removed then")
	}
	for i := range config.Projects {
		if a, b := &config.Projects[i], &s.config.Projects[i]; a.File != b.File || a.KeyFile != b.KeyFile {
			return fault.New(fault.Usage, "reading the configuration "+s.path, "there are other [[project]] than before", "start the service again: projects are added and removed then")
		}
	}
	clients, err := boot.Authorities("[listen] client_ca", config.Listen.ClientCA)
	if err != nil {
		return err
	}
	if err := s.certificate.Read(); err != nil {
		return err
	}
	if err := s.openBudgets(config); err != nil {
		return err
	}
	s.server.Reconfigure(s.served(config), clients)
	for _, p := range s.projects {
		p.Reload()
	}
	s.config.Projects = config.Projects
	fmt.Fprintln(s.env.Stderr, "the configuration was read again")
	return nil
}

// lookEvery is how often the key holder is asked whether it can answer; after awayAfter
// times in vain it is away.
const (
	lookEvery = 2 * time.Second
	awayAfter = 2
)

// watchKeyholder asks the key holder how it is, for readiness and metrics.
func (s *service) watchKeyholder(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for inVain := 0; ; {
		asking, cancel := context.WithTimeout(ctx, lookEvery)
		state, err := s.keyholder.SealStatus(asking)
		cancel()
		if inVain++; err == nil {
			inVain = 0
		}
		s.up.Store(inVain < awayAfter)
		s.sealed.Store(err == nil && state.Sealed)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// keyholderAway returns why the key holder makes no tokens; nil while it does.
func (s *service) keyholderAway() error {
	const doing = "asking the key holder how it is"
	switch {
	case s.sealed.Load():
		return fault.New(fault.Unavailable, doing, "it is sealed", "it answers when its operators have unsealed it")
	case !s.up.Load():
		return fault.New(fault.Unavailable, doing, "it does not answer", "see that it runs and can be reached")
	}
	return nil
}

// close closes what newService opened.
func (s *service) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := s.ledger.Close(ctx)
	// Where its folder cannot be written any more the library tries to, without end.
	closed := make(chan error, 1)
	go func() { closed <- s.store.Close() }()
	select {
	case ended := <-closed:
		err = errors.Join(err, ended)
	case <-ctx.Done():
		err = errors.Join(err, fault.New(fault.Internal, "closing the region's store", "it could not be written in time", "look at the disk and the folder of [store] dir, then start again"))
	}
	if s.listener != nil {
		err = errors.Join(err, s.listener.Close(ctx))
	}
	if s.keyholder != nil {
		s.keyholder.Close()
	}
	return err
}
