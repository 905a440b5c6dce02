package main

import (
	"crypto/x509"
	"encoding"
	"errors"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"tarn/cmd/internal/boot"
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
	Audit     auditConfig     `toml:"audit"`
	Log       logConfig       `toml:"log"`
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
	FreeFloor size `toml:"free_floor"`
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
	TTL duration `toml:"ttl"`
	// CertificateTTL is how long a client's certificate lasts (default 2160h).
	CertificateTTL duration `toml:"certificate_ttl"`
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

type logConfig struct {
	// Format is text or json, Level debug, info, warn or error: as the flags
	// --log-format and --log-level, which go before.
	Format string `toml:"format"`
	Level  string `toml:"level"`
}

// size is a number of bytes, written as in "1GiB".
type size uint64

// duration is a time span, written as in "1h30m".
type duration time.Duration

var (
	_ encoding.TextUnmarshaler = new(size)
	_ encoding.TextUnmarshaler = new(duration)
)

// UnmarshalText reads a size.
func (s *size) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil {
		return errors.New("a size is a number of bytes, such as 1GiB") // the library's error repeats it
	}
	*s = size(n)
	return nil
}

// UnmarshalText reads a time span.
func (d *duration) UnmarshalText(text []byte) error {
	span, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New("a time span is written as 1h30m") // the library's error repeats it
	}
	*d = duration(span)
	return nil
}

func readConfig(path string) (*config, error) {
	doing := "reading the configuration " + path
	if path == "" {
		return nil, fault.New(fault.Usage, "keyholder serve", "--config is missing", "give a keyholder.toml; docs/operations.md has one to begin with")
	}
	c := &config{Production: true, Name: "keyholder", Operators: operatorsConfig{Required: 2}}
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
	return c, nil
}

// apply sets the log as the configuration says, where the flags did not.
func (l *logConfig) apply(flags *pflag.FlagSet) error {
	for _, setting := range []struct{ key, flag, value, next string }{
		{"format", "log-format", l.Format, "give text or json"},
		{"level", "log-level", l.Level, "give debug, info, warn or error"},
	} {
		if setting.value == "" || flags.Changed(setting.flag) {
			continue
		}
		if err := flags.Set(setting.flag, setting.value); err != nil {
			return fault.New(fault.Usage, "setting the log", "[log] "+setting.key+" is not known", setting.next)
		}
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

// options makes the service's options of the configuration.
func (c *config) options(env *boot.Environment) (holder.Options, error) {
	o := holder.Options{
		Dir: c.Store.Dir, Anchor: c.Store.Anchor, Backups: c.Store.Backups, Name: c.Name, Software: boot.Software(), Production: c.Production,
		OperatorsRequired: c.Operators.Required, LeaseTTL: time.Duration(c.Leases.TTL), CertificateTTL: time.Duration(c.Leases.CertificateTTL),
		FreeFloor: uint64(c.Store.FreeFloor), Clock: env.Wall, Rand: env.Rand, Logger: env.Logger,
	}
	if err := c.Audit.apply(&o); err != nil {
		return o, err
	}
	if c.Listen.ClientCA == "" {
		return o, nil
	}
	pem, err := os.ReadFile(c.Listen.ClientCA)
	if err != nil {
		return o, fault.Wrap(fault.Usage, "reading [listen] client_ca", err, "give the PEM file of an authority")
	}
	o.ClientCA = x509.NewCertPool()
	if !o.ClientCA.AppendCertsFromPEM(pem) {
		return o, fault.New(fault.Usage, "reading [listen] client_ca", "it holds no certificate", "give the PEM file of an authority")
	}
	return o, nil
}
