package relationship

import (
	"log/slog"
	"time"

	"tarn/keys/fault"
)

// Config is [relationships] of tokeniser.toml. Paths are taken from the folder in which the
// service is started.
type Config struct {
	// Address to answer the key holder on, as host:port; no questions are answered if empty.
	Address string `toml:"address"`
	// TLSCert and TLSKey are PEM files: the certificate under which the key holder calls
	// this service, with its authority's, and its key, readable by its owner only. The
	// certificate is read again when it changes.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
	// ClientCA is a PEM file of the authority that has signed the key holder's client
	// certificate.
	ClientCA string `toml:"client_ca"`
	// Clients are the certificates that may ask: each the name in one (its common name, or a
	// DNS name), or sha256: and its SHA-256 in hexadecimal. At least one: the authority certifies others,
	// too.
	Clients []string `toml:"clients"`
	// SigningKeyFile is the key that signs answers, as tokeniser relationships key made it.
	SigningKeyFile string `toml:"signing_key_file"`
	// Dir is the folder of the tables, as tokeniser relationships load fills it.
	Dir string `toml:"dir"`
	// ChecksPerSecond and ChecksBurst bound how fast a client may ask (default 10 a second,
	// and 100 at once).
	ChecksPerSecond float64 `toml:"checks_per_second"`
	ChecksBurst     int     `toml:"checks_burst"`
	// RoutedPerSecond and RoutedBurst bound for how many patients of worklists a client may
	// ask (default 1 a second, and 2000 at once, which is at least 1000).
	RoutedPerSecond float64 `toml:"routed_per_second"`
	RoutedBurst     int     `toml:"routed_burst"`
}

// Given reports whether questions are to be answered.
func (c *Config) Given() bool { return c.Address != "" }

// Open makes the service of a configuration, and says where it listens. It reads the
// signing key.
func (c *Config) Open(envelopes Envelopes, clock func() time.Time, logger *slog.Logger, meter Meter) (*Service, Listen, error) {
	l := Listen{Address: c.Address, Cert: c.TLSCert, Key: c.TLSKey, ClientCA: c.ClientCA}
	for _, setting := range []struct{ key, value string }{
		{"address", c.Address}, {"tls_cert", c.TLSCert}, {"tls_key", c.TLSKey}, {"client_ca", c.ClientCA}, {"signing_key_file", c.SigningKeyFile}, {"dir", c.Dir},
	} {
		if setting.value == "" {
			return nil, l, fault.New(fault.Usage, "reading [relationships]", setting.key+" is missing", "docs/relationships.md has one to begin with")
		}
	}
	o := Options{Dir: c.Dir, Envelopes: envelopes, Limits: DefaultLimits(), Clock: clock, Logger: logger, Meter: meter}
	for _, text := range c.Clients {
		client, err := ParseClient(text)
		if err != nil {
			return nil, l, err
		}
		o.Clients = append(o.Clients, client)
	}
	setFloat(&o.Limits.ChecksPerSecond, c.ChecksPerSecond)
	setInt(&o.Limits.ChecksBurst, c.ChecksBurst)
	setFloat(&o.Limits.RoutedPerSecond, c.RoutedPerSecond)
	setInt(&o.Limits.RoutedBurst, c.RoutedBurst)
	var err error
	if o.Key, err = ReadSigningKey(c.SigningKeyFile); err != nil {
		return nil, l, err
	}
	s, err := New(o)
	return s, l, err
}

func setFloat(to *float64, from float64) {
	if from != 0 {
		*to = from
	}
}

func setInt(to *int, from int) {
	if from != 0 {
		*to = from
	}
}
