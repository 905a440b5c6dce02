package main

import (
	"time"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/health"
	"tarn/keys/budget"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/tokenise/httpapi"
	"tarn/tokenise/regionstore"
	"tarn/tokenise/relationship"
)

// serveConfig is tokeniser.toml. Paths are taken from the folder in which the service is
// started.
type serveConfig struct {
	// Production refuses what is for trials only: keys of tests. Default true.
	Production bool `toml:"production"`

	Listen        serveListenConfig    `toml:"listen"`
	Keyholder     serveKeyholderConfig `toml:"keyholder"`
	Projects      []serveProjectConfig `toml:"project"`
	Limits        serveLimitsConfig    `toml:"limits"`
	Relationships relationship.Config  `toml:"relationships"`
	Store         serveStoreConfig     `toml:"store"`
	Log           boot.LogConfig       `toml:"log"`
}

type serveListenConfig struct {
	// Address to answer on, as host:port.
	Address string `toml:"address"`
	// TLSCert and TLSKey are PEM files: the service's certificate with what signed it, and
	// its key, readable by its owner only. They are read again when they change.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
	// ClientCA is a PEM file of the authority whose certificates clients show.
	ClientCA string `toml:"client_ca"`
	// MetricsAddress is where Prometheus reads, as host:port; none if empty.
	MetricsAddress string `toml:"metrics_address"`
}

// serveKeyholderConfig says who the service is to the key holder.
type serveKeyholderConfig struct {
	// As is the folder of credentials that tokeniser enrol wrote. It has all of the
	// following, of which those that are given go before.
	As string `toml:"as"`
	// URL is the key holder's address, https://host:port.
	URL string `toml:"url"`
	// CA, Cert and Key are PEM files: the key holder's authority, and this service's
	// certificate and key; seal.key lies beside the key.
	CA   string `toml:"ca"`
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
	// Timeout bounds a call of the key holder (default 5s).
	Timeout boot.Duration `toml:"timeout"`
	// BatchWindow is how long the numbers of small requests wait for others, with which
	// they are evaluated, in schemes whose tokens the key holder makes (default 2ms).
	BatchWindow boot.Duration `toml:"batch_window"`
}

type serveProjectConfig struct {
	// File is project.json: tokeniser project gets it from the key holder. It pins the
	// keys: what the key holder says otherwise is refused.
	File string `toml:"file"`
	// KeyFile is keys.json, for a trial without a key holder.
	KeyFile string `toml:"key_file"`
	// Clients are who may call: names in their certificates (common name or DNS name), or
	// sha256: and the SHA-256 of a certificate in hex.
	Clients []string `toml:"clients"`
	// BudgetRows is how many rows each client may have answered in a period: whoever may
	// call may try every number there is (default 100000000).
	BudgetRows int64 `toml:"budget_rows"`
	// BudgetPeriod is that period: no time span of this length, whenever it begins, sees
	// more rows (default 24h, at least 24s).
	BudgetPeriod boot.Duration `toml:"budget_period"`
}

type serveLimitsConfig struct {
	// MaxRows is how many rows a request may have (default 10000).
	MaxRows int `toml:"max_rows"`
	// MaxBody is how many bytes a request may have, as sent and unpacked (default 8MiB).
	MaxBody boot.Size `toml:"max_body"`
	// Timeout bounds the reading of a request and its answering together, and the writing
	// of the answer by itself (default 10s).
	Timeout boot.Duration `toml:"timeout"`
	// MaxConnections is how many connections there may be; others wait (default 4096).
	MaxConnections int `toml:"max_connections"`
	// MaxMemory bounds the memory of all requests that are worked on; others wait (default
	// 256MiB, at least four times max_body).
	MaxMemory boot.Size `toml:"max_memory"`
	// CeilingRows bounds the rows of all clients of all projects together in 24 hours
	// (default 450000000: half of all NHS numbers that there can be).
	CeilingRows int64 `toml:"ceiling_rows"`
	// CachedDates is of how many dates of birth, in each project, the tables are kept, some
	// 12 KiB each under the default profile (default 36600, a century's: 450 MB).
	CachedDates int `toml:"cached_dates"`
	// Drain is for how long, when it is stopped, the service still answers and says that it
	// is not ready, so that whoever shares load out sends no more (default 0s).
	Drain boot.Duration `toml:"drain"`
}

type serveStoreConfig struct {
	// Dir is the folder of the region's store: which requests were answered, what clients
	// have used, and escrow envelopes. One process has it at a time. Its key lies beside
	// it, as DIR.key.json, and is made on first use.
	Dir string `toml:"dir"`
	// FreeFloor is the free space below which nothing is answered (default 1GiB).
	FreeFloor boot.Size `toml:"free_floor"`
}

// defaultKeyholderTimeout is the key holder's timeout where the configuration is silent.
const defaultKeyholderTimeout = 5 * time.Second

func readServeConfig(path string) (*serveConfig, error) {
	doing := "reading the configuration " + path
	if path == "" {
		return nil, fault.New(fault.Usage, "tokeniser serve", "--config is missing", "give a tokeniser.toml; docs/tokenise-service.md has one to begin with")
	}
	c := &serveConfig{
		Production: true,
		Keyholder:  serveKeyholderConfig{Timeout: boot.Duration(defaultKeyholderTimeout), BatchWindow: boot.Duration(httpapi.DefaultBatchWindow)},
		Limits: serveLimitsConfig{
			MaxRows: httpapi.DefaultMaxRows, MaxBody: httpapi.DefaultMaxBody, Timeout: boot.Duration(httpapi.DefaultTimeout),
			MaxConnections: httpapi.DefaultMaxConnections, MaxMemory: httpapi.DefaultMaxMemory, CeilingRows: httpapi.DefaultCeilingRows,
		},
		Store: serveStoreConfig{FreeFloor: regionstore.DefaultFreeFloor},
	}
	if err := boot.LoadTOML(path, c); err != nil {
		return nil, err
	}
	missing := func(key, next string) error {
		return fault.New(fault.Usage, doing, key+" is missing", next)
	}
	switch {
	case c.Listen.Address == "":
		return nil, missing("[listen] address", "give the host:port to answer on")
	case c.Listen.TLSCert == "" || c.Listen.TLSKey == "":
		return nil, missing("[listen] tls_cert or tls_key", "give the service's certificate and key, PEM; for a trial: tokeniser certificates")
	case c.Listen.ClientCA == "":
		return nil, missing("[listen] client_ca", "give the authority whose certificates clients show, PEM; for a trial: tokeniser certificates")
	case c.Store.Dir == "":
		return nil, missing("[store] dir", "give a folder for the region's store, on a disk of this machine")
	case len(c.Projects) == 0:
		return nil, missing("[[project]]", "give each project's file and clients")
	}
	for i := range c.Projects {
		if err := c.Projects[i].check(doing, c); err != nil {
			return nil, err
		}
	}
	return c, c.Limits.check(doing)
}

func (p *serveProjectConfig) check(doing string, c *serveConfig) error {
	if p.BudgetRows == 0 {
		p.BudgetRows = httpapi.DefaultBudgetRows
	}
	if p.BudgetPeriod == 0 {
		p.BudgetPeriod = boot.Duration(httpapi.DefaultBudgetPeriod)
	}
	wrong := func(what, next string) error { return fault.New(fault.Usage, doing, "[[project]] "+what, next) }
	switch {
	case p.File == "":
		return wrong("file is missing", "give project.json: tokeniser project gets it from the key holder")
	case len(p.Clients) == 0:
		return wrong("clients of "+p.File+" is missing", "name who may call: the common name or a DNS name of their certificates")
	case p.KeyFile == "" && c.Keyholder.files() == client.Files{}:
		return wrong("of "+p.File+" has no keys", "give [keyholder] as, the folder that tokeniser enrol wrote; or for a trial key_file")
	case p.BudgetRows < 1:
		return wrong("budget_rows is no number of rows", "leave it out, or give how many rows a client may have answered in a period")
	case budget.Period(p.BudgetPeriod).Check() != nil:
		return wrong("budget_period is shorter than 24 s", "give the time span over which rows are counted, such as 24h")
	}
	return nil
}

func (l *serveLimitsConfig) check(doing string) error {
	wrong := func(what, next string) error { return fault.New(fault.Usage, doing, "[limits] "+what, next) }
	switch {
	case l.MaxRows < 1 || l.MaxRows > 1_000_000:
		return wrong("max_rows is not between 1 and 1000000", "leave it out, or give how many rows a request may have")
	case l.MaxBody < 1<<10 || l.MaxBody > 1<<30:
		return wrong("max_body is not between 1KiB and 1GiB", "leave it out, or give a size such as 8MiB")
	case time.Duration(l.Timeout) < 100*time.Millisecond:
		return wrong("timeout is shorter than 100ms", "leave it out, or give a time such as 10s")
	case l.MaxConnections < 1:
		return wrong("max_connections is less than 1", "leave it out, or give how many connections there may be")
	case l.MaxMemory < 4*l.MaxBody:
		return wrong("max_memory is less than four times max_body, so that the largest request could not be answered", "give more, or a smaller max_body")
	case l.CeilingRows < 1:
		return wrong("ceiling_rows is no number of rows", "leave it out, or give how many rows all clients together may have answered in 24 hours")
	case l.CachedDates < 0:
		return wrong("cached_dates is negative", "leave it out, or give of how many dates of birth the tables are kept")
	}
	return nil
}

func (k *serveKeyholderConfig) files() client.Files {
	return client.Files{Folder: k.As, URL: k.URL, CA: k.CA, Cert: k.Cert, Key: k.Key}
}

// healthCommand asks the service that runs.
func healthCommand(env *boot.Environment) *cobra.Command {
	return health.Command(env, health.Service{Binary: "tokeniser", Config: "tokeniser.toml", Live: "/livez", Ready: "/readyz", Read: func(path string) (health.Listener, error) {
		c, err := readServeConfig(path)
		if err != nil {
			return health.Listener{}, err
		}
		return health.Listener{Address: c.Listen.Address, Cert: c.Listen.TLSCert}, nil
	}})
}
