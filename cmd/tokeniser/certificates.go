package main

import (
	"fmt"
	"regexp"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/keys/trialcert"
)

// clientName is what a client may be called: it is the name of files, too.
var clientName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func certificatesCommand(env *boot.Environment) *cobra.Command {
	out := ""
	var hosts, clients []string
	c := &cobra.Command{
		Use:   "certificates --out DIR",
		Short: "Make certificates for a trial of the service on this machine",
		Long: `Make certificates for a trial: an authority (ca.pem), one for the service (server.pem,
server.key) and one for each client (NAME.pem, NAME.key). They last 30 days, and the
authority's key is not kept. In production use certificates of your own authority.`,
		Example: "  tokeniser certificates --out tls --client etl",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			const doing = "making certificates for a trial"
			if out == "" {
				return fault.New(fault.Usage, doing, "--out is missing", "name the folder to write to")
			}
			if len(hosts) == 0 || len(clients) == 0 {
				return fault.New(fault.Usage, doing, "there is no host or no client", "leave --host and --client out, or name some")
			}
			for _, name := range clients {
				if !clientName.MatchString(name) || name == "ca" || name == "server" {
					return fault.New(fault.Usage, doing, "a client's name is none: a to z, 0 to 9 and hyphens, and neither ca nor server", "give another with --client")
				}
			}
			if err := trialcert.Make(out, hosts, clients, env.Wall()); err != nil {
				return err
			}
			_, err := fmt.Fprintf(env.Stdout, "certificates for a trial in %s, good for 30 days\n", out)
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "the folder to write to")
	c.Flags().StringSliceVar(&hosts, "host", []string{"localhost", "127.0.0.1", "::1"}, "names and addresses by which clients call the service")
	c.Flags().StringSliceVar(&clients, "client", []string{"etl"}, "names of clients")
	return c
}
