package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tarn/bench/audit"
	"tarn/bench/encoding"
	"tarn/bench/kernel"
	"tarn/bench/keys"
	"tarn/bench/link"
	"tarn/bench/measure"
	"tarn/bench/process"
	"tarn/bench/quality"
	"tarn/bench/reid"
	"tarn/bench/serve"
	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
)

// benchOptions are what every suite gets.
type benchOptions struct {
	folder, python string
	out            string   // folder of the results
	linker         string   // the linker's program
	cache          string   // folder where the link suite keeps its cohorts, may be empty
	testdata       string   // folder of shared test data, may be empty
	skip           []string // data sets or cases that begin with one of these
	full           bool
	progress       func(string)
}

func suites(env *boot.Environment) map[string]func(context.Context, benchOptions) ([]*measure.Result, error) {
	return map[string]func(context.Context, benchOptions) ([]*measure.Result, error){
		encoding.Suite: func(ctx context.Context, o benchOptions) ([]*measure.Result, error) {
			return encoding.Run(ctx, encoding.Options{Folder: o.folder, Full: o.full, Python: o.python, Software: boot.Software(), Clock: env.Wall, Progress: o.progress})
		},
		kernel.Suite: func(ctx context.Context, o benchOptions) ([]*measure.Result, error) {
			return kernel.Run(ctx, kernel.Options{Folder: o.folder, Full: o.full, Python: o.python, Software: boot.Software(), Clock: env.Wall, Progress: o.progress})
		},
		audit.Suite: func(ctx context.Context, o benchOptions) ([]*measure.Result, error) {
			return audit.Run(ctx, audit.Options{Folder: o.folder, Full: o.full, Software: boot.Software(), Clock: env.Wall, Progress: o.progress})
		},
		keys.Suite: func(ctx context.Context, o benchOptions) ([]*measure.Result, error) {
			return keys.Run(ctx, keys.Options{Folder: o.folder, Full: o.full, Keyholder: process.Beside("keyholder"), Tokeniser: process.Beside("tokeniser"), Software: boot.Software(), Clock: env.Wall, Progress: o.progress})
		},
		link.Suite: func(ctx context.Context, o benchOptions) ([]*measure.Result, error) {
			return link.Run(ctx, link.Options{Folder: o.folder, Cache: o.cache, Full: o.full, Linker: o.linker, Python: o.python, Skip: o.skip,
				Software: boot.Software(), Clock: env.Wall, Progress: o.progress})
		},
		reid.Suite: func(ctx context.Context, o benchOptions) ([]*measure.Result, error) {
			return reid.Run(ctx, reid.Options{Folder: o.folder, Full: o.full, Keyholder: process.Beside("keyholder"), Auditor: process.Beside("auditor"), Software: boot.Software(), Clock: env.Wall, Progress: o.progress})
		},
		serve.Suite: func(ctx context.Context, o benchOptions) ([]*measure.Result, error) {
			return serve.Run(ctx, serve.Options{Folder: o.folder, Full: o.full, Tokeniser: process.Beside("tokeniser"), Workbench: process.Beside("tarn"), Software: boot.Software(), Clock: env.Wall, Progress: o.progress})
		},
		quality.Suite: func(ctx context.Context, o benchOptions) ([]*measure.Result, error) {
			return quality.Run(ctx, quality.Options{Folder: o.folder, Results: o.out, Full: o.full, Linker: o.linker, Python: o.python, TestData: o.testdata, Skip: o.skip,
				Software: boot.Software(), Clock: env.Wall, Progress: o.progress})
		},
	}
}

func benchCommand(env *boot.Environment) *cobra.Command {
	var out, scale, python, linker, cache string
	var skip []string
	c := &cobra.Command{
		Use:   "bench [SUITE]",
		Short: "Measure Tarn beside its peers, in the same run on this machine",
		Long: `Run a suite of benchmarks, or all of them, each beside a peer or a limit that is
measured in the same run: absolute figures are noise, ratios hold. One document of
tarn.bench/1 is written for each case, and a table printed. The peers are Python
packages; make bench installs them and runs this.`,
		Example: "  tarn bench encode --scale full --python build/venv/bin/python",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if scale != "small" && scale != "full" {
				return fault.New(fault.Usage, "tarn bench", "--scale is neither small nor full", "small ends within ten minutes a suite")
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			known := suites(env)
			names, err := measure.Find(known, name)
			if err != nil {
				return err
			}
			var results []*measure.Result
			for _, name := range names {
				some, err := runSuite(c.Context(), env, known[name], name, out, benchOptions{python: python, out: out, linker: linker, cache: cache, testdata: os.Getenv("TARN_TESTDATA"), skip: skip, full: scale == "full"})
				if err != nil {
					return err
				}
				results = append(results, some...)
			}
			if err := measure.WriteTable(env.Stdout, results); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "results: %s\n", filepath.Join(out, "*.json"))
			return err
		},
	}
	c.Flags().StringVar(&out, "out", filepath.Join("bench", "results"), "folder of the results")
	c.Flags().StringVar(&scale, "scale", "small", "small or full")
	c.Flags().StringVar(&linker, "linker", process.Beside("linker"), "the linker that quality and link run")
	c.Flags().StringVar(&cache, "cache", "", "folder where link keeps its cohorts from run to run")
	c.Flags().StringSliceVar(&skip, "skip", nil, "leave out data sets and cases of quality and link that begin with this")
	c.Flags().StringVar(&python, "python", "python3", "a Python that has the peers")
	return c
}

func runSuite(ctx context.Context, env *boot.Environment, run func(context.Context, benchOptions) ([]*measure.Result, error), name, out string, o benchOptions) ([]*measure.Result, error) {
	folder, err := os.MkdirTemp("", "tarn-bench-")
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "making a folder for the suite "+name, err, "free space on the disk of temporary files")
	}
	defer func() { _ = os.RemoveAll(folder) }() // synthetic people only
	o.folder, o.progress = folder, func(what string) { fmt.Fprintf(env.Stderr, "%s/%s\n", name, what) }
	results, failed := run(ctx, o)
	for _, r := range results { // what was measured before a failure is kept
		if err := r.Write(out); err != nil {
			return nil, err
		}
	}
	return results, failed
}

// benchPeerCommand runs what the suite serve measures beside the service, in a process of
// its own.
func benchPeerCommand(env *boot.Environment) *cobra.Command {
	var folder, project, keyFile string
	c := &cobra.Command{
		Use: "bench-peer KIND", Short: "Run a server that tarn bench serve measures beside the tokenise service", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return serve.ServePeer(c.Context(), args[0], folder, project, keyFile, env.Stderr)
		},
	}
	c.Flags().StringVar(&folder, "folder", "", "the folder whose tls folder has certificates")
	c.Flags().StringVar(&project, "project", "", "project.json")
	c.Flags().StringVar(&keyFile, "key-file", "", "keys.json")
	return c
}
