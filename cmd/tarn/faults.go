package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tarn/bench/faults"
	"tarn/bench/process"
	"tarn/cmd/internal/boot"
	"tarn/keys/client"
	"tarn/keys/fault"
)

func faultsCommand(env *boot.Environment) *cobra.Command {
	o := faults.Options{Software: boot.Software(), Clock: env.Wall}
	var out, scale string
	asJSON := false
	c := &cobra.Command{
		Use:   "faults [SCENARIO..]",
		Short: "Kill, cut off, fill and tamper with the services, and see what they keep",
		Long: `Run the fault scenarios, by name or number, or all that there are: the binaries that lie
beside tarn are killed, their disks lose their power or are full, system calls fail, logs
are tampered with and put back. Each scenario has controls, which must fail or be found. A
document of tarn.fault/1 is written for each, and a table printed; the exit code is 4
where one does not hold.

What the services acknowledged is kept on another filesystem (/dev/shm, else --ledger)
and asked for by another process. Some scenarios need root, strace and a loop device: what
cannot be run is said with the reason. make test-faults installs what they need.`,
		Example: `  tarn faults list
  tarn faults kill tamper
  tarn faults --scale full --out docs/reliability`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if scale != "small" && scale != "full" {
				return fault.New(fault.Usage, "tarn faults", "--scale is neither small nor full", "small ends within a minute a scenario")
			}
			o.Full = scale == "full"
			scenarios, err := faults.Find(args)
			if err != nil {
				return err
			}
			return runFaults(c, env, o, scenarios, out, asJSON)
		},
	}
	flags := c.Flags()
	flags.StringVar(&scale, "scale", "small", "small or full")
	flags.StringVar(&out, "out", filepath.Join("bench", "results", "faults"), "folder of the results")
	flags.StringVar(&o.Ledger, "ledger", "", "a folder for the ledger, on another filesystem than that of temporary files")
	flags.StringVar(&o.Binaries, "binaries", filepath.Dir(process.Beside("tarn")), "folder of the binaries that are tried")
	flags.StringVar(&o.Race, "race", "", "a tokeniser that was built with the race detector, for scenario 20")
	flags.BoolVar(&o.Keep, "keep", false, "leave what the scenarios made, and say where")
	flags.BoolVar(&asJSON, "json", false, "print the results as JSON documents, one after another")
	c.AddCommand(faultsListCommand(env), faultsTableCommand(env), faultsCheckCommand(env))
	return c
}

func runFaults(c *cobra.Command, env *boot.Environment, o faults.Options, scenarios []faults.Scenario, out string, asJSON bool) (err error) {
	if o.Folder, err = os.MkdirTemp("", "tarn-faults-"); err != nil {
		return fault.Wrap(fault.Internal, "making a folder for the scenarios", err, "free space on the disk of temporary files")
	}
	if o.Keep {
		fmt.Fprintf(env.Stderr, "what the scenarios make is left in %s\n", o.Folder)
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(o.Folder)) }() // synthetic people only
	}
	var results []*faults.Result
	wrong := 0
	for _, s := range scenarios {
		o.Progress = func(what string) { fmt.Fprintf(env.Stderr, "%d %s: %s\n", s.Number, s.Name, what) }
		r, err := faults.Run(c.Context(), s, o)
		if c.Context().Err() != nil {
			return err
		}
		if r.Outcome == faults.Failed {
			wrong++
		}
		results = append(results, r)
		if err := r.Write(out); err != nil {
			return err
		}
		if asJSON {
			if err := env.PrintJSON(r); err != nil {
				return err
			}
		}
	}
	if !asJSON {
		if err := faults.WriteTable(env.Stdout, results); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fault.New(fault.Policy, "running the fault scenarios", fmt.Sprintf("%d of %d do not hold, or their controls do not", wrong, len(results)), "what is said above does not hold; look with --keep")
	}
	return nil
}

func faultsListCommand(env *boot.Environment) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the scenarios, with their controls", Example: "  tarn faults list", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, s := range faults.All() {
				if _, err := fmt.Fprintf(env.Stdout, "%2d %s\n   %s\n   control: %s\n", s.Number, s.Name, s.Does, s.Control); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func faultsTableCommand(env *boot.Environment) *cobra.Command {
	var in, document string
	c := &cobra.Command{
		Use: "table --in DIR", Short: "Make the table of all scenarios from their last results",
		Long: `Print the table of all scenarios with their last results, in Markdown; with --document put
it into a document, between the lines that mark its place.`,
		Example: "  tarn faults table --in docs/reliability --document docs/reliability.md", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			results, err := faults.ReadResults(in)
			if err != nil {
				return err
			}
			table := faults.Table(results)
			if document == "" {
				_, err = fmt.Fprint(env.Stdout, table)
				return err
			}
			doing := "putting the table into " + document
			text, err := os.ReadFile(document)
			if err != nil {
				return fault.Wrap(fault.Usage, doing, err, "")
			}
			changed, err := faults.Insert(string(text), table)
			if err != nil {
				return err
			}
			if err := os.WriteFile(document, []byte(changed), 0o644); err != nil {
				return fault.Wrap(fault.Internal, doing, err, "")
			}
			return nil
		},
	}
	c.Flags().StringVar(&in, "in", filepath.Join("bench", "results", "faults"), "folder of the results")
	c.Flags().StringVar(&document, "document", "", "a document to put the table into")
	return c
}

func faultsCheckCommand(env *boot.Environment) *cobra.Command {
	var ledger string
	var at client.Files
	asJSON, restored := false, false
	c := &cobra.Command{
		Use: "check --ledger FILE --as DIR", Short: "Ask a key holder for everything that a ledger says it has acknowledged",
		Long: `Ask a running key holder, as an operator, whether all that a ledger of tarn faults says it
has acknowledged is there, is what was acknowledged, and is in its log once. The exit code
is 4 where it is not. The scenarios run this in a process of its own.`,
		Example: "  tarn faults check --ledger /dev/shm/acknowledged --keyholder https://127.0.0.1:8443 --as ann", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if ledger == "" || at.Folder == "" {
				return fault.New(fault.Usage, "checking what was acknowledged", "--ledger or --as is missing", "see: tarn faults check --help")
			}
			credentials, err := client.Load(at)
			if err != nil {
				return err
			}
			operator := client.New(credentials, env.Wall)
			defer operator.Close()
			found, err := faults.Check(c.Context(), ledger, operator, restored, boot.Software(), env.Wall())
			if err != nil {
				return err
			}
			if asJSON {
				err = env.PrintJSON(found)
			} else {
				_, err = fmt.Fprintln(env.Stdout, found)
			}
			if err == nil && !found.Whole() {
				err = fault.New(fault.Policy, "checking what was acknowledged", "not all of it is there, equal, and in the log once", "keep the key holder's folders as they are")
			}
			return err
		},
	}
	c.Flags().StringVar(&ledger, "ledger", "", "the ledger")
	c.Flags().StringVar(&at.URL, "keyholder", "", "the key holder's address, https://host:port (default that of the credentials)")
	c.Flags().StringVar(&at.Folder, "as", "", "the folder of an operator's credentials")
	c.Flags().BoolVar(&restored, "restored", false, "the key holder was restored: its log is another than that of what was acknowledged")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}
