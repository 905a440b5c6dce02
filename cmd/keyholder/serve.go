package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/boot/metrics"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/fault"
	"tarn/keys/holder"
	"tarn/keys/reidentify"
	"tarn/keys/servercert"
)

func serveCommand(env *boot.Environment) *cobra.Command {
	path, printConfig, check := "", false, false
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the service, sealed until its operators unseal it",
		Long: `Run the key holder. It starts sealed and answers its health only, until keyholder
unseal has given it enough; with [custody] identity_file it unseals itself.

It ends by itself, with exit code 1, when its store cannot be written: what is in
memory is then not to be believed. SIGTERM ends it after what has begun.`,
		Example: "  keyholder serve --config keyholder.toml --log-level info\n  keyholder serve --config keyholder.toml --print-config",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := readConfig(path)
			if err != nil {
				return err
			}
			if printConfig {
				return toml.NewEncoder(env.Stdout).Encode(config)
			}
			if err := config.Log.Apply(c.Flags()); err != nil {
				return err
			}
			if check {
				return checkConfig(env, config)
			}
			env.SayHardened()
			return serve(c.Context(), env, config)
		},
	}
	c.Flags().StringVar(&path, "config", "", "keyholder.toml")
	c.Flags().BoolVar(&printConfig, "print-config", false, "print the configuration with its defaults, and end")
	c.Flags().BoolVar(&check, "check", false, "read the configuration and what it names, as far as that is not sealed, and end")
	return c
}

// checkConfig reads what can be read of a key holder that is sealed.
func checkConfig(env *boot.Environment, config *config) error {
	options, err := config.options(env)
	if err != nil {
		return err
	}
	listen := config.listen()
	if _, err := servercert.Open(listen.Files(), env.Wall); err != nil {
		return err
	}
	if _, err := os.Stat(config.Store.Anchor); err != nil {
		return fault.Wrap(fault.Usage, "reading the anchor", err, "see that its disk is there: docs/operations.md")
	}
	if config.Custody.IdentityFile != "" {
		identity, err := keys.ReadSecret(config.Custody.IdentityFile)
		if err != nil {
			return err
		}
		clear(identity)
	}
	options.AlertsURL = "" // the spool is the running service's
	if _, err := holder.New(options); err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.Stdout, "the configuration can be used")
	return err
}

// usualDecisions are those that a policy is made for.
func usualDecisions() []metrics.Decision {
	decision := func(p reidentify.Purpose, s reidentify.State, r reidentify.Rule) metrics.Decision {
		return metrics.Decision{Purpose: string(p), Outcome: string(s), Rule: string(r)}
	}
	return []metrics.Decision{
		decision(reidentify.Treatment, reidentify.Ready, reidentify.RuleRelationship),
		decision(reidentify.Treatment, reidentify.Pending, reidentify.RuleNoRelationship),
		decision(reidentify.EmergencyTreatment, reidentify.Ready, reidentify.RuleBreakGlass),
		decision(reidentify.CareManagement, reidentify.Ready, reidentify.RuleRouted),
	}
}

func serve(ctx context.Context, env *boot.Environment, config *config) (err error) {
	options, err := config.options(env)
	if err != nil {
		return err
	}
	listen := config.listen()
	registry := metrics.NewRegistry("keyholder", boot.Version(), env.Hardened())
	var h *holder.Holder
	options.Meter = metrics.NewKeyholder(registry, metrics.KeyholderState{
		Sealed:        func() bool { return h == nil || h.Sealed() },
		FreeBytes:     func() float64 { return float64(h.FreeBytes()) },
		Records:       func() float64 { return float64(h.Records()) },
		TreeSize:      func() float64 { return float64(h.TreeSize()) },
		AlertsWaiting: func() float64 { return float64(h.AlertsWaiting()) },
		Rules:         audit.Rules(),
		Decisions:     usualDecisions(),
		Pending:       func() float64 { return float64(h.Pending()) },
		Unreviewed:    func() float64 { return float64(h.Unreviewed()) },
		Sessions:      func() float64 { return float64(h.Sessions()) },
		Budgets: func(each func(project, client string, left int64)) {
			if h != nil {
				h.Budgets(each)
			}
		},
		CertificateExpiry: func() time.Time { return servercert.End(listen.Cert) },
	})
	if h, err = holder.New(options); err != nil {
		return err
	}
	if config.Custody.IdentityFile != "" {
		identity, err := keys.ReadSecret(config.Custody.IdentityFile)
		if err != nil {
			return err
		}
		_, err = h.Unseal(ctx, api.Unseal{Identity: string(identity)})
		clear(identity)
		if err != nil {
			return described("unsealing", err)
		}
	}
	if config.Listen.MetricsAddress != "" {
		listener, err := metrics.Listen(config.Listen.MetricsAddress, registry)
		if err != nil {
			return err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			err = errors.Join(err, listener.Close(ctx))
		}()
	}
	if !config.Production {
		fmt.Fprintln(env.Stderr, "not for production: production = false")
	}
	if config.Operators.Required < 2 {
		fmt.Fprintln(env.Stderr, "one operator is enough for every change: for trials only")
	}
	return h.Serve(ctx, listen, func(at holder.Addresses) {
		state := "sealed: unseal it with keyholder unseal"
		if !h.Sealed() {
			state = "ready"
		}
		if at.People != nil {
			fmt.Fprintf(env.Stderr, "answering people on %s\n", at.People)
		}
		fmt.Fprintf(env.Stderr, "answering on %s, %s\n", at.Service, state)
	})
}

// described turns a refusal of the service's own rules into a fault.
func described(doing string, err error) error {
	var refused *api.Error
	if errors.As(err, &refused) {
		p := refused.Problem("")
		return p.Fault(doing)
	}
	return err
}

func methodsCommand(env *boot.Environment) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "methods",
		Short: "Print who may call what: the service's allow-list",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return env.PrintJSON(api.Methods())
			}
			for _, m := range api.Methods() {
				sealed := ""
				if m.Sealed {
					sealed = ", also while sealed"
				}
				if _, err := fmt.Fprintf(env.Stdout, "%-6s %-50s %s%s\n       %s\n", m.Verb, m.Path, m.Who(), sealed, m.Does); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// oneArgument refuses any other number of arguments than one.
func oneArgument(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fault.New(fault.Usage, c.CommandPath(), "one "+what+" is needed", "see: "+c.CommandPath()+" --help")
		}
		return nil
	}
}
