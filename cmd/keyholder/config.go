package main

import (
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/health"
	"tarn/keys/budget"
	"tarn/keys/fault"
	"tarn/keys/holder"
)

// config is keyholder.toml. Paths are taken from the folder in which the
// service is started.
type config struct {
	// Production refuses what is for trials only: one operator, and everything
	// that a test makes. Default true.
	Production bool `toml:"production"`
	// Name is the key holder's name in its events: 1 to 64 of letters, digits and
	// . - _ (default "keyholder").
	Name string `toml:"name"`

	Listen    listenConfig    `toml:"listen"`
	Store     storeConfig     `toml:"store"`
	Custody   custodyConfig   `toml:"custody"`
	Operators operatorsConfig `toml:"operators"`
	Leases    leasesConfig    `toml:"leases"`
	Budgets   budgetsConfig   `toml:"budgets"`
	Audit     auditConfig     `toml:"audit"`
	Alerts    alertsConfig    `toml:"alerts"`
	Log       boot.LogConfig  `toml:"log"`

	Console       consoleConfig        `toml:"console"`
	OIDC          oidcConfig           `toml:"oidc"`
	Policy        policyConfig         `toml:"policy"`
	Relationships []relationshipConfig `toml:"relationships"`
}

type listenConfig struct {
	// Address to answer on, as host:port.
	Address string `toml:"address"`
	// TLSCert and TLSKey are PEM files: the server's certificate with its
	// authority's, and its key, readable by its owner only. Default server.pem and
	// server.key in the store's folder, which init makes. They are read again when
	// they change.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
	// ClientCA is a PEM file of an authority of your own for clients: a client that
	// enrols may then show a certificate of it instead of a request for one.
	ClientCA string `toml:"client_ca"`
	// MetricsAddress is where Prometheus reads, as host:port; none if empty.
	MetricsAddress string `toml:"metrics_address"`
}

type storeConfig struct {
	// Dir is the key holder's folder, as init made it.
	Dir string `toml:"dir"`
	// Anchor is the anchor's path, on another disk than Dir.
	Anchor string `toml:"anchor"`
	// Backups is where backups are written (default Dir/backups).
	Backups string `toml:"backups"`
	// FreeFloor is the free space below which changes are refused (default 1GiB).
	FreeFloor boot.Size `toml:"free_floor"`
}

type custodyConfig struct {
	// IdentityFile unseals at start, with custody by identity. It lies on this
	// machine, so that whoever has the machine has the keys: for trials and small
	// sites.
	IdentityFile string `toml:"identity_file"`
}

type operatorsConfig struct {
	// Required is how many operators a change needs: 2 (default), or 1 where
	// production = false.
	Required int `toml:"required"`
}

type leasesConfig struct {
	// TTL is how long a lease lasts if it is not renewed (default 1h).
	TTL boot.Duration `toml:"ttl"`
	// CertificateTTL is how long a client's certificate lasts (default 2160h).
	CertificateTTL boot.Duration `toml:"certificate_ttl"`
}

// budgetsConfig says how many rows clients may use keys for: whoever may use a key may
// try every number that there is. A project's own budgets are budget_rows of its
// parties.
type budgetsConfig struct {
	// Period is the time span over which rows are counted: no period, whenever it
	// begins, sees more than the budget (default 24h, at least 24s).
	Period boot.Duration `toml:"period"`
	// UnstatedRows is the budget of a client of whose parties the project states none
	// (default 100000000).
	UnstatedRows int64 `toml:"unstated_rows"`
	// CeilingRows bounds all clients together, for each use of a key (default
	// 450000000: half of all NHS numbers that there can be).
	CeilingRows int64 `toml:"ceiling_rows"`
	// ReservedShare is the part of the ceiling, 0 to 1, that is divided among the
	// clients, so that none can use up what another needs (default 0.5).
	ReservedShare float64 `toml:"reserved_share"`
	// RateFactor is how many times its usual use a client's use in a period is when it is
	// an alarm (default 5).
	RateFactor float64 `toml:"rate_factor"`
}

// alertsConfig says who hears of alarms. Each is also an entry of the log and counted
// in tarn_alarms_total.
type alertsConfig struct {
	// URL is where alarms are sent as JSON with POST, https or on this machine; nowhere
	// if empty.
	URL string `toml:"url"`
	// Spool is the folder where they wait until they are heard (default alerts in the
	// store's folder).
	Spool string `toml:"spool"`
	// CA is a PEM file of the authority of whoever answers there (default the system's).
	CA string `toml:"ca"`
}

type auditConfig struct {
	// Dir is the folder of the log, better on another disk than the store (default
	// log in the store's folder). In it is a folder for each log: 1, 2, ..
	Dir string `toml:"dir"`
	// WitnessURL is the address of the log's witness. Without one the key holder could
	// make its log anew, and nobody would notice.
	WitnessURL string `toml:"witness_url"`
	// WitnessKey is a file with the witness's verifier key, witness.vkey.
	WitnessKey string `toml:"witness_key"`
}

func readConfig(path string) (*config, error) {
	doing := "reading the configuration " + path
	if path == "" {
		return nil, fault.New(fault.Usage, "keyholder serve", "--config is missing", "give a keyholder.toml; docs/operations.md has one to begin with")
	}
	c := &config{Production: true, Name: "keyholder", Store: storeConfig{FreeFloor: holder.DefaultFreeFloor}, Operators: operatorsConfig{Required: 2}, Leases: leasesConfig{
		TTL: boot.Duration(holder.DefaultLeaseTTL), CertificateTTL: boot.Duration(holder.DefaultCertificateTTL),
	}, Policy: policyConfig{Keep: boot.Duration(holder.DefaultKeepRequests)}, Budgets: budgetsConfig{
		Period: boot.Duration(holder.DefaultBudgetPeriod), UnstatedRows: holder.DefaultUnstatedRows, CeilingRows: holder.DefaultCeilingRows,
		ReservedShare: holder.DefaultReservedShare, RateFactor: holder.DefaultRateFactor,
	}}
	if err := boot.LoadTOML(path, c); err != nil {
		return nil, err
	}
	missing := func(key, next string) error {
		return fault.New(fault.Usage, doing, key+" is missing", next)
	}
	switch {
	case c.Listen.Address == "":
		return nil, missing("[listen] address", "give the host:port to answer on")
	case c.Store.Dir == "":
		return nil, missing("[store] dir", "give the folder that keyholder init made")
	case c.Store.Anchor == "":
		return nil, missing("[store] anchor", "give the anchor that keyholder init made")
	case c.Operators.Required < 1 || c.Operators.Required < 2 && c.Production:
		return nil, fault.New(fault.Usage, doing, "[operators] required is less than 2 in production", "leave it out; for a trial with one operator set production = false")
	}
	return c, c.Budgets.check(doing)
}

func (b *budgetsConfig) check(doing string) error {
	wrong := func(key, what, next string) error {
		return fault.New(fault.Usage, doing, "[budgets] "+key+" "+what, next)
	}
	switch {
	case budget.Period(b.Period).Check() != nil:
		return wrong("period", "is shorter than 24 s", "give the time span over which rows are counted, such as 24h")
	case b.UnstatedRows < 1:
		return wrong("unstated_rows", "is no number of rows", "leave it out, or give how many rows a client may use a key for in a period")
	case b.CeilingRows < 1:
		return wrong("ceiling_rows", "is no number of rows", "leave it out, or give how many rows all clients together may use a key for in a period")
	case !(b.ReservedShare >= 0 && b.ReservedShare <= 1):
		return wrong("reserved_share", "is no share", "give a number from 0 to 1")
	case !(b.RateFactor > 1):
		return wrong("rate_factor", "is not above 1", "give how many times its usual use is an alarm, such as 5")
	}
	return nil
}

func (c *auditConfig) apply(o *holder.Options) error {
	const doing = "reading [audit]"
	o.Logs, o.WitnessURL = c.Dir, c.WitnessURL
	if (c.WitnessURL == "") != (c.WitnessKey == "") {
		return fault.New(fault.Usage, doing, "of witness_url and witness_key one is missing", "give both: the address of the witness, and its witness.vkey")
	}
	if c.WitnessKey == "" {
		return nil
	}
	key, err := os.ReadFile(c.WitnessKey)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, "give the file witness.vkey that auditor witness new wrote")
	}
	o.WitnessKey = string(key)
	return nil
}

// listen returns where the service listens, and with which certificate.
func (c *config) listen() holder.Listen {
	l := holder.Listen{Address: c.Listen.Address, Cert: c.Listen.TLSCert, Key: c.Listen.TLSKey}
	if l.Cert == "" {
		l.Cert = filepath.Join(c.Store.Dir, holder.ServerCertFile)
	}
	if l.Key == "" {
		l.Key = filepath.Join(c.Store.Dir, holder.ServerKeyFile)
	}
	l.People = holder.Pair{Address: c.Console.Address, Cert: c.Console.TLSCert, Key: c.Console.TLSKey}
	return l
}

// healthCommand asks the service that runs.
func healthCommand(env *boot.Environment) *cobra.Command {
	return health.Command(env, health.Service{Binary: "keyholder", Config: "keyholder.toml", Live: "/livez", Ready: "/readyz", Read: func(path string) (health.Listener, error) {
		c, err := readConfig(path)
		if err != nil {
			return health.Listener{}, err
		}
		return health.Listener{Address: c.Listen.Address, Cert: c.listen().Cert}, nil
	}})
}

// options makes the service's options of the configuration.
func (c *config) options(env *boot.Environment) (holder.Options, error) {
	o := holder.Options{
		Dir: c.Store.Dir, Anchor: c.Store.Anchor, Backups: c.Store.Backups, Name: c.Name, Software: boot.Software(), Production: c.Production,
		OperatorsRequired: c.Operators.Required, LeaseTTL: time.Duration(c.Leases.TTL), CertificateTTL: time.Duration(c.Leases.CertificateTTL),
		FreeFloor: uint64(c.Store.FreeFloor), Clock: env.Wall, Rand: env.Rand, Logger: env.Logger,
	}
	o.Budgets = holder.Budgets{
		Period: time.Duration(c.Budgets.Period), UnstatedRows: c.Budgets.UnstatedRows, CeilingRows: c.Budgets.CeilingRows,
		ReservedShare: c.Budgets.ReservedShare, RateFactor: c.Budgets.RateFactor,
	}
	if err := c.Audit.apply(&o); err != nil {
		return o, err
	}
	if err := c.Alerts.apply(&o); err != nil {
		return o, err
	}
	if err := c.people(env, &o); err != nil {
		return o, err
	}
	if c.Listen.ClientCA == "" {
		return o, nil
	}
	var err error
	o.ClientCA, err = boot.Authorities("[listen] client_ca", c.Listen.ClientCA)
	return o, err
}

func (c *alertsConfig) apply(o *holder.Options) error {
	o.AlertsURL, o.AlertsSpool = c.URL, c.Spool
	if c.CA == "" {
		return nil
	}
	roots, err := boot.Authorities("[alerts] ca", c.CA)
	o.AlertsCA = roots
	return err
}
