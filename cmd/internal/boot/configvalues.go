package boot

import (
	"crypto/x509"
	"encoding"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"

	"tarn/keys/fault"
)

// LogConfig is [log] of a service's configuration.
type LogConfig struct {
	// Format is text or json, Level debug, info, warn or error: as the flags
	// --log-format and --log-level, which go before.
	Format string `toml:"format"`
	Level  string `toml:"level"`
}

// Apply sets the log as the configuration says, where the flags did not.
func (l *LogConfig) Apply(flags *pflag.FlagSet) error {
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

// Size is a number of bytes, written as in "1GiB".
type Size uint64

// Duration is a time span, written as in "1h30m".
type Duration time.Duration

var (
	_ encoding.TextUnmarshaler = new(Size)
	_ encoding.TextUnmarshaler = new(Duration)
)

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil {
		return errors.New("a size is a number of bytes, such as 1GiB") // the library's error repeats it
	}
	*s = Size(n)
	return nil
}

// MarshalText writes a size as it is read, to the byte.
func (s Size) MarshalText() ([]byte, error) {
	n, unit := uint64(s), ""
	for _, larger := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, larger
	}
	return []byte(strconv.FormatUint(n, 10) + unit), nil
}

// UnmarshalText reads a time span.
func (d *Duration) UnmarshalText(text []byte) error {
	span, err := time.ParseDuration(string(text))
	if err != nil {
		return errors.New("a time span is written as 1h30m") // the library's error repeats it
	}
	*d = Duration(span)
	return nil
}

// MarshalText writes a time span as it is read.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Authorities reads a PEM file of certificates. key is what names it in the configuration.
func Authorities(key, path string) (*x509.CertPool, error) {
	const next = "give the PEM file of an authority"
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading "+key, err, next)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Usage, "reading "+key, "it holds no certificate", next)
	}
	return pool, nil
}
