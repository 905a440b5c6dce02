package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/health"
	"tarn/keys"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/witness"
	"tarn/keys/fault"
)

// witnessConfig is witness.toml.
type witnessConfig struct {
	// Dir is the witness's folder: its key and what it has signed.
	Dir    string `toml:"dir"`
	Listen struct {
		// Address to answer on, as host:port.
		Address string `toml:"address"`
		// TLSCert and TLSKey are PEM files. Without them the witness answers without
		// TLS: what it signs is public, and signed.
		TLSCert string `toml:"tls_cert"`
		TLSKey  string `toml:"tls_key"`
	} `toml:"listen"`
	// LogKeys are files with the verifier keys of the logs that it signs for.
	LogKeys []string `toml:"log_keys"`
}

// Files of a witness's folder.
const (
	witnessKeyFile    = "witness.key"
	witnessPublicFile = "witness.vkey"
)

func witnessCommand(env *boot.Environment) *cobra.Command {
	path, printConfig, check := "", false, false
	c := &cobra.Command{
		Use:   "witness --config FILE",
		Short: "Sign what a log says of itself, once it is seen that it only grew",
		Long: `Run a witness: a service on another host than the key holder, of another organisation
where there is one, that signs the log's checkpoints when each follows from the last
one that it has signed. It sees sizes and hashes, no entry. A log that is rolled back
or made anew finds no signature any more, and the key holder does not start with it.

Make its key first, with witness new: witness.vkey goes to the key holder and to
auditors, by another way than the log.`,
		Example: "  auditor witness new --dir /srv/witness --name witness.example.nhs.uk\n  auditor witness --config witness.toml\n  auditor witness --config witness.toml --check",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := readWitnessConfig(path)
			if err != nil {
				return err
			}
			if printConfig {
				return toml.NewEncoder(env.Stdout).Encode(config)
			}
			if check {
				return checkWitness(env, config)
			}
			return serveWitness(c.Context(), env, config)
		},
	}
	c.Flags().StringVar(&path, "config", "", "witness.toml")
	c.Flags().BoolVar(&printConfig, "print-config", false, "print the configuration, and end")
	c.Flags().BoolVar(&check, "check", false, "read the configuration and what it names, and end")
	c.AddCommand(witnessNewCommand(env), witnessHealthCommand(env))
	return c
}

func readWitnessConfig(path string) (*witnessConfig, error) {
	if path == "" {
		return nil, fault.New(fault.Usage, "running a witness", "--config is missing", "see: auditor witness --help")
	}
	c := &witnessConfig{}
	if err := boot.LoadTOML(path, c); err != nil {
		return nil, err
	}
	if c.Dir == "" || c.Listen.Address == "" || len(c.LogKeys) == 0 {
		return nil, fault.New(fault.Usage, "reading the configuration "+path, "dir, [listen] address or log_keys is missing", "name the witness's folder, the host:port to answer on, and the files with the logs' keys")
	}
	return c, nil
}

// witnessHealthCommand asks the witness that runs.
func witnessHealthCommand(env *boot.Environment) *cobra.Command {
	return health.Command(env, health.Service{Binary: "auditor witness", Config: "witness.toml", Live: "/healthz", Read: func(path string) (health.Listener, error) {
		c, err := readWitnessConfig(path)
		if err != nil {
			return health.Listener{}, err
		}
		return health.Listener{Address: c.Listen.Address, Cert: c.Listen.TLSCert}, nil
	}})
}

func checkWitness(env *boot.Environment, config *witnessConfig) error {
	_, err := newWitness(config)
	if err == nil && config.Listen.TLSCert != "" {
		_, err = config.certificate()
	}
	if err == nil {
		_, err = fmt.Fprintln(env.Stdout, "the configuration can be used")
	}
	return err
}

// certificate reads what the witness shows.
func (c *witnessConfig) certificate() (tls.Certificate, error) {
	certificate, err := tls.LoadX509KeyPair(c.Listen.TLSCert, c.Listen.TLSKey)
	if err != nil {
		return certificate, fault.New(fault.Usage, "running the witness", "[listen] tls_cert and tls_key are not a certificate and its key", "give PEM files")
	}
	return certificate, nil
}

func witnessNewCommand(env *boot.Environment) *cobra.Command {
	var dir, name string
	c := &cobra.Command{
		Use: "new --dir DIR --name NAME", Short: "Make a witness's folder and key",
		Long: `Make a witness's folder, with its key in witness.key, for its owner only, and the
verifier key in witness.vkey. NAME is what its signatures carry: a DNS name of its
organisation's, for one.`,
		Example: "  auditor witness new --dir /srv/witness --name witness.example.nhs.uk", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			const doing = "making a witness"
			if dir == "" || name == "" || strings.ContainsAny(name, "+ \t\n") {
				return fault.New(fault.Usage, doing, "--dir or --name is missing, or the name has a space or + in it", "see: auditor witness new --help")
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				return fault.Wrap(fault.Usage, doing, err, "name a folder that does not exist with --dir")
			}
			private, public, err := note.GenerateKey(env.Rand, name)
			if err != nil {
				return fault.New(fault.Internal, doing, "no random numbers could be had", "")
			}
			if public, err = cosignature.VKeyToCosignatureV1(public); err != nil {
				return fault.New(fault.Internal, doing, "the verifier key could not be made", "")
			}
			for file, content := range map[string]string{witnessKeyFile: private, witnessPublicFile: public} {
				if err := keys.WriteFile(filepath.Join(dir, file), []byte(content+"\n")); err != nil {
					return fault.Wrap(fault.Internal, doing, err, "free space on its disk")
				}
			}
			_, err = fmt.Fprintf(env.Stdout, "%s\n", public)
			fmt.Fprintf(env.Stderr, "the line above is the witness's verifier key, %s: give it to the key holder and to auditors\n", filepath.Join(dir, witnessPublicFile))
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the folder to make")
	c.Flags().StringVar(&name, "name", "", "the witness's name in its signatures")
	return c
}

// newWitness opens a witness as its configuration says.
func newWitness(config *witnessConfig) (*witness.Witness, error) {
	const doing = "reading the witness's key"
	private, err := keys.ReadSecret(filepath.Join(config.Dir, witnessKeyFile))
	if err != nil {
		return nil, err
	}
	defer clear(private)
	signer, err := cosignature.NewSignerForCosignatureV1(strings.TrimSpace(string(private)))
	if err != nil {
		return nil, fault.New(fault.Usage, doing, witnessKeyFile+" is not a witness's key", "restore it from its backup; a new one: auditor witness new")
	}
	var logs []note.Verifier
	for _, path := range config.LogKeys {
		key, err := keyFile(path)
		if err != nil {
			return nil, err
		}
		verifier, err := checkpoint.Verifier(key)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, "reading the log's key "+path, err, "give the key holder's log.vkey")
		}
		logs = append(logs, verifier)
	}
	return witness.New(config.Dir, signer, signer.Verifier(), logs)
}

// shutdownTime is how long answers may take when the witness ends.
const shutdownTime = 5 * time.Second

func serveWitness(ctx context.Context, env *boot.Environment, config *witnessConfig) error {
	const doing = "running the witness"
	w, err := newWitness(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", config.Listen.Address)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, "give another [listen] address")
	}
	server := &http.Server{Handler: w.Handler(env.Logger), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	if config.Listen.TLSCert != "" {
		certificate, err := config.certificate()
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		listener = tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}})
	}
	fmt.Fprintf(env.Stderr, "witnessing on %s\n", listener.Addr())
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		_ = server.Shutdown(ctx) // what is not answered by then is asked again
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fault.Wrap(fault.Internal, doing, err, "")
	}
	return nil
}
