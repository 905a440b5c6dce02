package main

import (
	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
)

func serveCommand(env *boot.Environment) *cobra.Command {
	path, printConfig, check := "", false, false
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the service that ingestion pipelines send rows to",
		Long: `Run the tokenise service: rows come in as JSON, NDJSON, CSV or Arrow over mutual TLS, and
go out as tokens and encodings, in their order, with a reason for each row that cannot
be used. A request may be sent again with its X-Request-ID: for 24 hours it gets the same
answer and is charged once. Nothing of a row is kept.

It starts when its configuration, certificate and store can be read, and is ready when a
project's keys are leased; it keeps trying. SIGHUP reads the configuration again: projects'
files, clients and budgets, certificates. SIGTERM ends it after what has begun. It ends by
itself, with exit code 1, when its store cannot be written.`,
		Example: `  tokeniser serve --config tokeniser.toml --log-level info
  tokeniser serve --config tokeniser.toml --print-config`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := readServeConfig(path)
			if err != nil {
				return err
			}
			if printConfig {
				return toml.NewEncoder(env.Stdout).Encode(config)
			}
			if err := config.Log.Apply(c.Flags()); err != nil {
				return err
			}
			s, err := newService(env, path, config)
			if err != nil {
				return err
			}
			if check {
				return s.check(c.Context())
			}
			if err := s.open(); err != nil {
				return err
			}
			env.SayHardened()
			return s.run(c.Context())
		},
	}
	c.Flags().StringVar(&path, "config", "", "tokeniser.toml")
	c.Flags().BoolVar(&printConfig, "print-config", false, "print the configuration with its defaults, and end")
	c.Flags().BoolVar(&check, "check", false, "read the configuration and what it names, change nothing, and end; also while the service runs")
	return c
}
