package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
)

// statusFlags say which key holder is asked, without a certificate.
type statusFlags struct{ address, ca string }

func (f *statusFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.address, "keyholder", "", "the key holder's address, https://host:port")
	c.Flags().StringVar(&f.ca, "ca", "", "the key holder's authority: ca.pem of its folder or of your credentials")
}

func (f *statusFlags) connect(env *boot.Environment) (*client.Client, error) {
	if f.address == "" || f.ca == "" {
		return nil, fault.New(fault.Usage, "calling the key holder", "--keyholder or --ca is missing", "give its address, and ca.pem of its folder")
	}
	return client.Anonymous(f.address, f.ca, env.Wall)
}

func unsealCommand(env *boot.Environment) *cobra.Command {
	var at statusFlags
	var custody custodyFlags
	c := &cobra.Command{
		Use: "unseal --keyholder URL --ca FILE", Short: "Unseal the running service with shares, the passphrase or the identity",
		Long: `Give the running service what unseals it. With shares each keeper may run this by
herself, on her own machine: the service counts, and opens when there are enough. A wrong
share is refused by itself. Nothing that is given is written or logged.`,
		Example: `  keyholder unseal --keyholder https://127.0.0.1:8443 --ca ca.pem --share-file share-2.txt
  keyholder unseal --keyholder https://127.0.0.1:8443 --ca ca.pem`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			to, err := at.connect(env)
			if err != nil {
				return err
			}
			defer to.Close()
			return unseal(c.Context(), env, to, &custody)
		},
	}
	at.add(c)
	custody.add(c)
	return c
}

func unseal(ctx context.Context, env *boot.Environment, to *client.Client, custody *custodyFlags) error {
	status, err := to.SealStatus(ctx)
	if err != nil {
		return err
	}
	next := custody.next(env)
	for once := true; status.Sealed && (once || custody.given < len(custody.shares)); once = false {
		given, err := next(*status)
		if err != nil {
			return err
		}
		if status, err = to.Unseal(ctx, given); err != nil {
			return err
		}
	}
	return sayStatus(env, status)
}

func sayStatus(env *boot.Environment, status *api.SealStatus) error {
	text := "unsealed: it answers"
	if status.Sealed {
		text = "sealed, by " + status.Method
		if status.Threshold > 0 {
			text = fmt.Sprintf("sealed: %d of the %d shares that are needed were given", status.Given, status.Threshold)
		}
	}
	_, err := fmt.Fprintln(env.Stdout, text)
	return err
}

func statusCommand(env *boot.Environment) *cobra.Command {
	var at statusFlags
	asJSON := false
	c := &cobra.Command{
		Use: "status --keyholder URL --ca FILE", Short: "Say whether the running service is sealed", Example: "  keyholder status --keyholder https://127.0.0.1:8443 --ca ca.pem", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			to, err := at.connect(env)
			if err != nil {
				return err
			}
			defer to.Close()
			status, err := to.SealStatus(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return env.PrintJSON(status)
			}
			return sayStatus(env, status)
		},
	}
	at.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}
