package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage"
	"tarn/linkage/report"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

type linkFlags struct {
	checkpointAfter                                                                   time.Duration
	doing                                                                             string // linker link or linker dedupe
	out, threshold, oneToOne, blocking, state, memory, tmpDir, model, method, project string
	minPrecision, keep                                                                float64
	tokenEpoch                                                                        uint16
	threads                                                                           int
	withTokens, rowLevel, asJSON, plan, resume                                        bool
}

const resultHelp = `DIR gets links.parquet, conflicts.parquet (equal tokens, demographics that
disagree), clusters.parquet, crosswalk/ (a file for each party), model.json,
run.json, report.html and summary.json. It appears when it is complete; an
earlier result is replaced in one step. A job that was stopped goes on with
--resume, and ends with the same files.`

func linkCommand(env *boot.Environment) *cobra.Command {
	f := linkFlags{doing: "linker link"}
	clk := &clkLink{}
	c := &cobra.Command{
		Use:   "link COHORT COHORT...",
		Short: "Link the cohorts of two or more parties",
		Long: `Link encoded cohorts. They are refused (exit code 6) unless project, profile digest,
encoding epoch and encoding key check value agree. Equal tokens are linked and
checked against the demographics; the rest is linked by demographics alone.

With --project they are also refused (exit code 6) unless they are of the project,
encoding epoch and encoding key that this record names. Give the current record: a
cohort whose key was replaced, perhaps because it leaked, agrees with others as old.

Tokens of two epochs are never compared: while parties bring their cohorts to a new
epoch (tokeniser rotate), those of different epochs are linked by demographics alone,
with a warning that names them. With --token-epoch a cohort of another epoch is refused
instead (exit code 6).

The threshold is chosen without truth, unless --threshold gives one: the one that
maximises the expected F1 at an estimated precision of at least --min-precision.

` + resultHelp + "\n\n" + clkLinkHelp,
		Example: `  linker link north.parquet south.parquet --out run1
  linker link north.parquet south.parquet --plan
  linker link north.parquet south.parquet --project project.json --out run1
  linker link north.parquet south.parquet --token-epoch 2 --out run1
  linker link north.parquet south.parquet east.parquet --out run2 --state state --threshold 0.9
` + clkLinkExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return fault.New(fault.Usage, f.doing, "fewer than two cohorts are named", "name the Parquet files of two or more parties, or use linker dedupe for one")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			switch f.method {
			case methodFS:
				if c.Flags().Changed("max-candidates") {
					return f.wrong("max-candidates", "means nothing without --method clk", "leave it out: pairs are weighed, not counted")
				}
				return f.run(c, env, args, false)
			case result.MethodCLK:
				memory, err := f.memoryBytes()
				if err != nil {
					return err
				}
				clk.out, clk.threshold, clk.oneToOne, clk.state = f.out, f.threshold, f.oneToOne, f.state
				clk.threads, clk.asJSON, clk.memory, clk.project = f.threads, f.asJSON, memory, f.project
				return clk.run(c, env, args)
			}
			return f.wrong("method", "is not known", "give fs or clk")
		},
	}
	f.add(c, string(resolve.Mutual))
	c.Flags().StringVar(&f.method, "method", methodFS, "fs (a Fellegi-Sunter model, fitted without truth) or clk (similarity of record filters, as anonlink does it)")
	clk.addFlags(c.Flags())
	return c
}

// methodFS is the method of jobs that fit a model.
const methodFS = "fs"

func dedupeCommand(env *boot.Environment) *cobra.Command {
	f := linkFlags{doing: "linker dedupe"}
	c := &cobra.Command{
		Use:   "dedupe COHORT",
		Short: "Find the records of one cohort that are of one person",
		Long: `Link the records of one encoded cohort with each other. A person may have any
number of records, unless --one-to-one says otherwise. Everything else is as
linker link does it.

` + resultHelp,
		Example: "  linker dedupe north.parquet --out north.people",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.New(fault.Usage, f.doing, "there is not one cohort", "name the Parquet file of one party, or use linker link for several")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			switch f.method {
			case methodFS:
				return f.run(c, env, args, true)
			case result.MethodCLK:
				return f.wrong("method", "clk is of linker link alone: anonlink looks for no pairs within a party", "leave it out")
			}
			return f.wrong("method", "is not known", "give fs")
		},
	}
	f.add(c, string(resolve.None))
	c.Flags().StringVar(&f.method, "method", methodFS, "fs (a Fellegi-Sunter model, fitted without truth); there is no other for one cohort")
	return c
}

// add adds the flags that both commands have.
func (f *linkFlags) add(c *cobra.Command, oneToOne string) {
	flags := c.Flags()
	flags.StringVar(&f.out, "out", "", "the folder to write")
	flags.StringVar(&f.threshold, "threshold", "auto", "link_probability from which pairs are linked, or auto")
	flags.Float64Var(&f.minPrecision, "min-precision", .99, "least estimated precision of a threshold that is chosen")
	flags.Float64Var(&f.keep, "keep", .01, "least link_probability of a pair in links.parquet; links are always there")
	flags.StringVar(&f.oneToOne, "one-to-one", oneToOne, "mutual, greedy or none")
	flags.StringVar(&f.blocking, "blocking", linkage.BlockAuto, "auto (tags where there are any, else all pairs or lsh), tags, all, or lsh (hashes of the filters)")
	flags.StringVar(&f.state, "state", "", "folder of the linker's state, the key of its cluster ids (DIR/.state)")
	flags.StringVar(&f.model, "model", "", "the model.json of another result, whose probabilities are used as they are; without it they are fitted")
	flags.StringVar(&f.project, "project", "", "the project's current project.json, which the cohorts have to be of; without it they are held to each other alone")
	flags.Uint16Var(&f.tokenEpoch, "token-epoch", 0, "the epoch that the cohorts' tokens have to be of; without it tokens are compared where two cohorts' are of one epoch")
	flags.StringVar(&f.memory, "memory", "4GiB", "memory that the job may take; what does not fit goes to --tmp-dir")
	flags.StringVar(&f.tmpDir, "tmp-dir", "", "folder for what does not fit into memory (the system's)")
	flags.IntVar(&f.threads, "threads", runtime.NumCPU(), "cores to use")
	flags.BoolVar(&f.plan, "plan", false, "say what the job would take - pairs, time, memory, disk - and do no more")
	flags.DurationVar(&f.checkpointAfter, "checkpoint-after", 5*time.Second, "keep what comparing found, for --resume, where it took this long; what took less is sooner done again")
	flags.BoolVar(&f.resume, "resume", false, "go on where a job that was stopped had come to")
	flags.BoolVar(&f.withTokens, "with-tokens", false, "write tokens, as text, into clusters.parquet")
	flags.BoolVar(&f.rowLevel, "row-level", false, "show single pairs of records in the report, which is then row-level data")
	flags.BoolVar(&f.asJSON, "json", false, "print the summary, or the plan, as JSON")
}

func (f *linkFlags) wrong(flag, wrong, next string) error {
	return fault.New(fault.Usage, f.doing, "--"+flag+" "+wrong, next)
}

func (f *linkFlags) memoryBytes() (int64, error) {
	memory, err := humanize.ParseBytes(f.memory)
	if err != nil || memory == 0 || memory > 1<<50 {
		return 0, f.wrong("memory", "is no size", "give a size such as 4GiB")
	}
	return int64(memory), nil
}

func (f *linkFlags) options() (o linkage.Options, err error) {
	o = linkage.Options{MinPrecision: f.minPrecision, Keep: f.keep, OneToOne: resolve.Assignment(f.oneToOne), Blocking: f.blocking,
		WithTokens: f.withTokens, Threads: f.threads, TmpDir: f.tmpDir, Resume: f.resume, CheckpointAfter: f.checkpointAfter, Model: f.model, TokenEpoch: uint32(f.tokenEpoch)}
	if f.out == "" && !f.plan {
		return o, f.wrong("out", "is missing", "name the folder to write")
	}
	if f.threshold != "auto" {
		t, err := strconv.ParseFloat(f.threshold, 64)
		if err != nil || !(t > 0 && t <= 1) {
			return o, f.wrong("threshold", "is neither auto nor a probability", "give auto, or a number above 0 and up to 1")
		}
		o.Threshold = &t
	}
	for _, flag := range []struct {
		name  string
		value float64
	}{{"min-precision", f.minPrecision}, {"keep", f.keep}} {
		if !(flag.value >= 0 && flag.value <= 1) {
			return o, f.wrong(flag.name, "is not a probability", "give a number from 0 to 1")
		}
	}
	switch o.OneToOne {
	case resolve.Mutual, resolve.Greedy, resolve.None:
	default:
		return o, f.wrong("one-to-one", "is not known", "give mutual, greedy or none")
	}
	switch f.blocking {
	case linkage.BlockAuto, linkage.BlockTags, linkage.BlockAll, linkage.BlockLSH:
	default:
		return o, f.wrong("blocking", "is not known", "give auto, tags, all or lsh")
	}
	if f.threads < 1 {
		return o, f.wrong("threads", "is below 1", "give the number of cores to use")
	}
	if info, err := os.Stat(f.tmpDir); f.tmpDir != "" && (err != nil || !info.IsDir()) {
		return o, f.wrong("tmp-dir", "is no folder", "name one that exists and can be written")
	}
	if o.Memory, err = f.memoryBytes(); err != nil {
		return o, err
	}
	o.Project, err = readRecord(f.project)
	return o, err
}

// readRecord reads the project's record that --project names; nil where it names
// none.
func readRecord(path string) (*keys.Project, error) {
	if path == "" {
		return nil, nil
	}
	return keys.ReadProject(path)
}

func (f *linkFlags) run(c *cobra.Command, env *boot.Environment, cohorts []string, dedupe bool) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	if c.Flags().Changed("token-epoch") && f.tokenEpoch == 0 {
		return f.wrong("token-epoch", "is 0, and epochs count from 1", "give the epoch of the cohorts' tokens, or leave it out for any")
	}
	if err := notEncoded(cohorts); err != nil {
		return err
	}
	boundMemory(o.Memory)
	o.Inputs, o.Dedupe = cohorts, dedupe
	o.Software, o.Clock, o.Wall, o.Random = boot.Software(), env.Clock, env.Wall, env.Rand
	stages := &stageProgress{env: env}
	o.Progress = stages.set
	o.Note = func(text string) { fmt.Fprintln(env.Stderr, text) }
	if f.plan {
		plan, err := linkage.Estimate(c.Context(), o)
		stages.done()
		if err != nil {
			return err
		}
		return f.writePlan(env, plan)
	}
	earlier := f.finished()
	if earlier != nil {
		o.Finished = earlier.RunID
	}
	var summary *result.Summary
	err = makeResult(f.out, f.state, func(folder, checkpoint, state string) (err error) {
		o.Out, o.Checkpoint, o.State = folder, checkpoint, state
		summary, err = linkage.Link(c.Context(), o)
		stages.done()
		if err != nil || !f.rowLevel {
			return err
		}
		if err := report.Redraw(c.Context(), folder, report.Options{RowLevel: true}); err != nil {
			return err
		}
		summary, err = result.ReadSummary(folder)
		return err
	})
	if errors.Is(err, linkage.ErrFinished) {
		return f.say(env, earlier)
	}
	if err != nil {
		return err
	}
	return f.say(env, summary)
}

// notEncoded refuses files whose names say that they are no cohorts.
func notEncoded(cohorts []string) error {
	for _, path := range cohorts {
		switch strings.ToLower(filepath.Ext(path)) {
		case ".json":
			return fault.New(fault.Usage, "reading the cohort "+path, "it is no encoded cohort", "files of CLKs are linked with --method clk")
		case ".csv", ".ndjson", ".jsonl", ".gz", ".zst":
			return fault.New(fault.Usage, "reading the cohort "+path, "it is no encoded cohort", "encode the table with tokeniser run, and give the Parquet file that it writes")
		}
	}
	return nil
}

// isResult reports whether a folder is an earlier result of this command; a
// release is none.
func isResult(folder string) bool {
	summary, err := result.ReadSummary(folder)
	return err == nil && hasLinks(summary)
}

// stageProgress shows one progress line a stage.
type stageProgress struct {
	env     *boot.Environment
	mu      sync.Mutex
	stage   string
	current *boot.Progress
}

func (s *stageProgress) set(stage string, done, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stage != s.stage {
		if s.current != nil {
			s.current.Done()
		}
		s.stage, s.current = stage, s.env.Progress(stage, "pairs")
	}
	s.current.Set(done, total)
}

func (s *stageProgress) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		s.current.Done()
	}
}
