package main

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage"
	"tarn/linkage/cohort/outdir"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// stateFolder is where the linker keeps its state inside the result, unless
// --state names another place.
const stateFolder = ".state"

type linkFlags struct {
	out, threshold, oneToOne, blocking, state string
	minPrecision, keep                        float64
	threads                                   int
	withTokens, asJSON                        bool
}

func linkCommand(env *boot.Environment) *cobra.Command {
	var f linkFlags
	c := &cobra.Command{
		Use:   "link COHORT COHORT...",
		Short: "Link the cohorts of two or more parties",
		Long: `Link encoded cohorts. They are refused (exit code 6) unless project, profile digest,
encoding epoch and encoding key check value agree. Equal tokens are linked and
checked against the demographics; the rest is linked by demographics alone.

The threshold is chosen without truth, unless --threshold gives one: the one that
maximises the expected F1 at an estimated precision of at least --min-precision.

DIR gets links.parquet, conflicts.parquet (equal tokens, demographics that
disagree), clusters.parquet, crosswalk/ (a file for each party), model.json,
run.json, report.html and summary.json. It appears when it is complete; an
earlier result is replaced in one step.`,
		Example: `  linker link north.parquet south.parquet --out run1
  linker link north.parquet south.parquet east.parquet --out run2 --state state --threshold 0.9`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return fault.New(fault.Usage, "linker link", "fewer than two cohorts are named", "name the Parquet files of two or more parties")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return runLink(c, env, &f, args) },
	}
	flags := c.Flags()
	flags.StringVar(&f.out, "out", "", "the folder to write")
	flags.StringVar(&f.threshold, "threshold", "auto", "link_probability from which pairs are linked, or auto")
	flags.Float64Var(&f.minPrecision, "min-precision", .99, "least estimated precision of a threshold that is chosen")
	flags.Float64Var(&f.keep, "keep", .01, "least link_probability of a pair in links.parquet")
	flags.StringVar(&f.oneToOne, "one-to-one", string(resolve.Mutual), "mutual, greedy or none")
	flags.StringVar(&f.blocking, "blocking", linkage.BlockAuto, "auto (tags where there are any), tags or all")
	flags.StringVar(&f.state, "state", "", "folder of the linker's state, the key of its cluster ids (DIR/.state)")
	flags.IntVar(&f.threads, "threads", runtime.NumCPU(), "cores to use")
	flags.BoolVar(&f.withTokens, "with-tokens", false, "write tokens, as text, into clusters.parquet")
	flags.BoolVar(&f.asJSON, "json", false, "print the summary as JSON")
	return c
}

func (f *linkFlags) options() (o linkage.Options, err error) {
	wrong := func(flag, wrong, next string) error {
		return fault.New(fault.Usage, "linker link", "--"+flag+" "+wrong, next)
	}
	o = linkage.Options{MinPrecision: f.minPrecision, Keep: f.keep, OneToOne: resolve.Assignment(f.oneToOne), Blocking: f.blocking,
		WithTokens: f.withTokens, Threads: f.threads}
	if f.out == "" {
		return o, wrong("out", "is missing", "name the folder to write")
	}
	if f.threshold != "auto" {
		t, err := strconv.ParseFloat(f.threshold, 64)
		if err != nil || !(t > 0 && t <= 1) {
			return o, wrong("threshold", "is neither auto nor a probability", "give auto, or a number above 0 and up to 1")
		}
		o.Threshold = &t
	}
	for _, flag := range []struct {
		name  string
		value float64
	}{{"min-precision", f.minPrecision}, {"keep", f.keep}} {
		if !(flag.value >= 0 && flag.value <= 1) {
			return o, wrong(flag.name, "is not a probability", "give a number from 0 to 1")
		}
	}
	switch o.OneToOne {
	case resolve.Mutual, resolve.Greedy, resolve.None:
	default:
		return o, wrong("one-to-one", "is not known", "give mutual, greedy or none")
	}
	switch f.blocking {
	case linkage.BlockAuto, linkage.BlockTags, linkage.BlockAll:
	default:
		return o, wrong("blocking", "is not known", "give auto, tags or all")
	}
	if f.threads < 1 {
		return o, wrong("threads", "is below 1", "give the number of cores to use")
	}
	return o, nil
}

func runLink(c *cobra.Command, env *boot.Environment, f *linkFlags, cohorts []string) error {
	o, err := f.options()
	if err != nil {
		return err
	}
	folder, err := outdir.Begin(f.out, isResult)
	if err != nil {
		return err
	}
	defer folder.Abort()
	o.Inputs, o.Out, o.State = cohorts, folder.Path(), f.state
	if o.State == "" {
		if err := folder.Keep(filepath.Join(stateFolder, "state.json")); err != nil {
			return err
		}
		o.State = filepath.Join(folder.Path(), stateFolder)
	}
	o.Software, o.Clock, o.Wall, o.Random = boot.Software(), env.Clock, env.Wall, env.Rand
	stages := &stageProgress{env: env}
	o.Progress = stages.set
	summary, err := linkage.Link(c.Context(), o)
	stages.done()
	if err != nil {
		return err
	}
	if err := folder.Commit(); err != nil {
		return err
	}
	if f.asJSON {
		b, err := keys.Encode(summary)
		if err != nil {
			return err
		}
		_, err = env.Stdout.Write(b)
		return err
	}
	return writeLinkText(env.Stdout, f.out, summary)
}

// isResult reports whether a folder is an earlier result of this command.
func isResult(folder string) bool {
	_, err := result.ReadRun(folder)
	return err == nil
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

func percent(e *result.Estimate) string {
	if e == nil {
		return "not estimated"
	}
	return fmt.Sprintf("%.2f%% (%.2f to %.2f)", 100*e.Value, 100*e.Lo, 100*e.Hi)
}

func writeLinkText(w io.Writer, out string, s *result.Summary) error {
	var b strings.Builder
	for _, in := range s.Inputs {
		fmt.Fprintf(&b, "%-16s %s records, %s with a token\n", in.SourceDataset, humanize.Comma(in.Rows), humanize.Comma(in.ValidTokens))
	}
	fmt.Fprintf(&b, "%s links at link probability %.4g or more: %s by token and demographics, %s by token only, %s by demographics only\n",
		humanize.Comma(s.Links.Total), s.Threshold, humanize.Comma(s.Links.Both), humanize.Comma(s.Links.TokenOnly), humanize.Comma(s.Links.DemographicOnly))
	fmt.Fprintf(&b, "estimated precision %s, recall %s\n", percent(s.Estimated.Precision), percent(s.Estimated.Recall))
	fmt.Fprintf(&b, "%s pairs to review, %s conflicts (equal tokens, demographics that disagree), %s records that nothing can link\n",
		humanize.Comma(s.Links.Review), humanize.Comma(s.Links.Conflicts), humanize.Comma(s.Unlinkable))
	for _, warning := range s.Warnings {
		fmt.Fprintf(&b, "warning: %s: %s\n", warning.Code, warning.Text)
	}
	fmt.Fprintf(&b, "result in %s; read %s\n", out, filepath.Join(cmp.Or(out, "."), result.ReportFile))
	_, err := io.WriteString(w, b.String())
	return err
}
