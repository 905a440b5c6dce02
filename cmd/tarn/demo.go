package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tarn/bench/demo"
	"tarn/bench/process"
	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/linkage/cohort/outdir"
)

func demoCommand(env *boot.Environment) *cobra.Command {
	o := demo.Options{}
	var out string
	quiet := false
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run everything from end to end on synthetic people",
		Long: `Make synthetic people in several regions; start a key holder, and enrol each region's
tokeniser with it over mutual TLS; encode each region, with tokens that the key holder
makes of what it does not see and an encoding key that is leased; bring tokens to another
epoch and another domain; try a million numbers, and be stopped; verify the key holder's
log, and a copy in which one entry was changed; link the cohorts, compare the links with
the truth, and add link rates by group; look for people where nobody should be found:
each step is the command that a party would run, shown as it runs. DIR gets report.html, summary.json,
links.parquet, the key holder's events and everything in between.

It starts tokeniser, keyholder, auditor and linker, which lie beside tarn or on the PATH.
The key holder answers on loopback, while the demonstration runs.`,
		Example: "  tarn demo --out demo",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.People < 1 || o.Parties < 2 {
				return fault.New(fault.Usage, "tarn demo", "there is nobody to link", "give --people from 1 and --parties from 2")
			}
			folder, err := outdir.Begin(out, demo.IsOutput)
			if err != nil {
				return err
			}
			defer folder.Abort()
			o.Folder, o.Shown, o.Command, o.Start = folder.Path(), out, runBinary, startBinary
			o.Software, o.Clock, o.Wall = boot.Software(), env.Clock, env.Wall
			if !quiet {
				o.Step = func(binary string, args []string) {
					fmt.Fprintf(env.Stdout, "$ %s %s\n", binary, strings.Join(args, " "))
				}
			}
			document, err := demo.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if err := folder.Commit(); err != nil {
				return err
			}
			return demo.WriteText(env.Stdout, document, out)
		},
	}
	c.AddCommand(demoUpCommand(env))
	flags := c.Flags()
	flags.StringVar(&out, "out", filepath.Join("build", "demo"), "the folder to write")
	flags.IntVar(&o.People, "people", 20000, "people of each party")
	flags.IntVar(&o.Parties, "parties", 2, "number of parties")
	flags.Uint64Var(&o.Seed, "seed", 7, "what the people follow from")
	flags.BoolVar(&quiet, "quiet", false, "do not show the commands")
	return c
}

// stopGrace is how long a command may take to stop when the demonstration is
// stopped.
const stopGrace = 10 * time.Second

// runBinary runs a binary that lies beside this one, or is on the PATH, and
// returns what it printed. What it says on failing is passed on: commands print
// nothing that must not be seen.
func runBinary(ctx context.Context, folder, name string, args ...string) ([]byte, error) {
	path, err := process.Find(name)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, path, args...)
	prepare(command, folder)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		said := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(stderr.String()), "error: "))
		return stdout.Bytes(), fault.New(fault.Internal, fmt.Sprintf("running %s %s", name, args[0]), fmt.Sprintf("it ended with exit code %d: %s", exit.ExitCode(), said), "")
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "running "+path, err, "")
	}
	return stdout.Bytes(), nil
}

func prepare(command *exec.Cmd, folder string) {
	command.Dir = folder
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopGrace
}

// startTime is how long a service may take until it answers.
const startTime = 30 * time.Second

// startBinary starts a binary as a service, and returns the line in which it says
// until, on standard error, and what stops it.
func startBinary(ctx context.Context, folder, until, name string, args ...string) (said string, stop func() error, err error) {
	path, err := process.Find(name)
	if err != nil {
		return "", nil, err
	}
	p, said, err := process.Start(ctx, process.Options{Folder: folder, Until: until, Within: startTime, Grace: stopGrace}, path, args...)
	if err != nil {
		return "", nil, err
	}
	return said, p.Stop, nil
}
