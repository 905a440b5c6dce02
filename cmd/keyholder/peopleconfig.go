package main

import (
	"crypto/x509"
	"os"
	"strings"
	"time"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/keys/holder"
	"tarn/keys/relationship"
)

// consoleConfig says where people who have signed in are answered. Without an address
// nobody re-identifies anybody.
type consoleConfig struct {
	// Address to answer on, as host:port; another than that of [listen]: people show no
	// certificates.
	Address string `toml:"address"`
	// TLSCert and TLSKey are PEM files, as those of [listen], which are the default. What
	// browsers know is better.
	TLSCert string `toml:"tls_cert"`
	TLSKey  string `toml:"tls_key"`
	// PublicURL is the address by which people call it, https://host.
	PublicURL string `toml:"public_url"`
	// Organisation is the name of who runs the key holder, for people to read.
	Organisation string `toml:"organisation"`
}

// oidcConfig says whose sign-ins are believed (OpenID Connect). Nothing is looked up at
// the issuer's address but its keys.
type oidcConfig struct {
	// Issuer is the iss of tokens, exactly.
	Issuer string `toml:"issuer"`
	// ClientID is the aud of tokens.
	ClientID string `toml:"client_id"`
	// Algorithms that tokens may be signed with (default RS256).
	Algorithms []string `toml:"algorithms"`
	// JWKSURL is where the issuer's keys are read, https. JWKSFile is a file of them instead.
	JWKSURL  string `toml:"jwks_url"`
	JWKSFile string `toml:"jwks_file"`
	// CA is a PEM file of the authority of whoever answers there (default the system's).
	CA string `toml:"ca"`
	// MaxAge is how long a sign-in counts (default 12h).
	MaxAge boot.Duration `toml:"max_age"`
	// Claims say what of a token is what.
}

// policyConfig is about the policy of re-identification. Two operators set it, with
// keyholder policy set, and it lies in the store.
type policyConfig struct {
	// File is a copy of the policy on this machine. Where it is given, a service whose policy
	// is another does not start.
	File string `toml:"file"`
	// Mode has to be the policy's: enforce or simulate. It is for those who read this file.
	Mode string `toml:"mode"`
}

// relationshipConfig is the region that answers for a domain's tokens.
type relationshipConfig struct {
	// Domain is the domain's name.
	Domain string `toml:"domain"`
	// URL is the address of the region's service, https://host:port.
	URL string `toml:"url"`
	// CA is a PEM file of the authority of its certificate.
	CA string `toml:"ca"`
	// VerifyKey is its public key, as tokeniser relationships key prints it, or a file that
	// holds it.
	VerifyKey string `toml:"verify_key"`
	// MaxAge is how long its answers count (default and at most 60s).
	MaxAge boot.Duration `toml:"max_age"`
}

func (c *relationshipConfig) region() (r holder.Region, err error) {
	doing := "reading [[relationships]] of domain " + fault.Name(c.Domain)
	text := c.VerifyKey
	if b, err := os.ReadFile(text); err == nil {
		text = strings.TrimSpace(string(b))
	}
	key, err := relationship.ParseVerifyKey(text)
	if err != nil {
		return r, fault.Wrap(fault.Usage, doing, err, "give what the region's operators have sent")
	}
	var roots *x509.CertPool
	if c.CA != "" {
		if roots, err = boot.Authorities("[[relationships]] ca", c.CA); err != nil {
			return r, err
		}
	}
	return holder.Region{Domain: c.Domain, URL: c.URL, Roots: roots, Key: key, MaxAge: time.Duration(c.MaxAge)}, nil
}

// people puts into the options what re-identification needs.
func (c *config) people(env *boot.Environment, o *holder.Options) error {
	for i := range c.Relationships {
		region, err := c.Relationships[i].region()
		if err != nil {
			return err
		}
		o.Regions = append(o.Regions, region)
	}
	if c.Console.Address == "" {
		return nil
	}
	return nil
}
