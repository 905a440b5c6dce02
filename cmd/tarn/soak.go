package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tarn/bench/process"
	"tarn/bench/soak"
	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
)

func soakCommand(env *boot.Environment) *cobra.Command {
	o := soak.Options{Software: boot.Software(), Clock: env.Wall}
	var out string
	minutes := 0.
	asJSON := false
	c := &cobra.Command{
		Use:   "soak --minutes N --out DIR",
		Short: "Put load on the tokenise service while keys are replaced and it is restarted",
		Long: `Run a key holder and the tokenise service, the binaries that lie beside tarn, and put load
on the service for some minutes: requests of one row and of a thousand, in all four forms,
packed now and then, and earlier ones again, at a rate that does not wait for answers.
After a third of the time the keys of its domains are replaced, after half of it the service
gets SIGTERM and is started again.

Every answer is held to what tokeniser run makes of the same people, what was acknowledged
is asked for again at the end by another process, and memory and goroutines must be flat.
DIR/soak.json is a document of tarn.soak/1. The exit code is 4 where something is lost, wrong,
charged twice or grows, or a control is not found.`,
		Example: `  tarn soak --minutes 2 --out build/soak
  tarn soak --minutes 30 --rate 100 --out build/soak`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Folder, err = os.MkdirTemp("", "tarn-soak-"); err != nil {
				return fault.Wrap(fault.Internal, "making a folder for the soak", err, "free space on the disk of temporary files")
			}
			defer func() { err = errors.Join(err, os.RemoveAll(o.Folder)) }() // synthetic people only
			o.Span = time.Duration(minutes * float64(time.Minute))
			o.Progress = func(what string) { fmt.Fprintln(env.Stderr, what) }
			r, err := soak.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if err := r.Write(out); err != nil {
				return err
			}
			if asJSON {
				err = env.PrintJSON(r)
			} else {
				err = r.Print(env.Stdout)
			}
			if err == nil && !r.Holds {
				err = fault.New(fault.Policy, "soaking", "not all that must hold does", "what does not is said above, and in "+filepath.Join(out, "soak.json"))
			}
			return err
		},
	}
	flags := c.Flags()
	flags.Float64Var(&minutes, "minutes", 2, "how long the load lasts, at least half a minute")
	flags.Float64Var(&o.Rate, "rate", 60, "requests a second")
	flags.StringVar(&out, "out", filepath.Join("bench", "results", "soak"), "folder of the report")
	flags.StringVar(&o.Binaries, "binaries", filepath.Dir(process.Beside("tarn")), "folder of the binaries that are tried")
	flags.BoolVar(&asJSON, "json", false, "print the report as JSON")
	c.AddCommand(soakCheckCommand(env))
	return c
}

func soakCheckCommand(env *boot.Environment) *cobra.Command {
	var o soak.CheckOptions
	c := &cobra.Command{
		Use: "check --ledger FILE --people FILE --address HOST:PORT", Short: "Ask a tokenise service again for everything that a ledger says it has answered",
		Long: `Send the requests of a ledger of tarn soak again, each under its id: they must be answered
as they were, and charged nothing. The exit code is 4 where they are not. A soak runs this in a
process of its own.`,
		Example: "  tarn soak check --ledger acknowledged --people north.csv --address 127.0.0.1:8443 --ca ca.pem --cert etl.pem --key etl.key", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Ledger == "" || o.Table == "" || o.Address == "" {
				return fault.New(fault.Usage, "checking what was acknowledged", "--ledger, --people or --address is missing", "see: tarn soak check --help")
			}
			found, err := soak.Check(c.Context(), o)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(env.Stdout, found); err != nil {
				return err
			}
			if !found.Whole() {
				return fault.New(fault.Policy, "checking what was acknowledged", "not all of it is answered as it was, and charged once", "keep the service's store as it is")
			}
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Ledger, "ledger", "", "the ledger")
	flags.StringVar(&o.Table, "people", "", "the table whose people were sent")
	flags.StringVar(&o.Address, "address", "", "where the service answers, host:port")
	flags.StringVar(&o.CA, "ca", "", "the authority's certificate, PEM")
	flags.StringVar(&o.Cert, "cert", "", "the client's certificate, PEM")
	flags.StringVar(&o.Key, "key", "", "the client's key, PEM")
	flags.IntVar(&o.Most, "most", 0, "how many requests, evenly taken (default all)")
	return c
}
