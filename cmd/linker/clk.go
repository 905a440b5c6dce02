package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
	"tarn/linkage/similarity"
)

const clkLinkHelp = `With --method clk, the inputs are files of CLKs ({"clks": [..]}, as clkhash, anonlink
and tokeniser run --schema write them) or cohorts with a column bf_record. Pairs whose
Dice coefficient is at least --threshold are found, and one-to-one links made of them,
as anonlink 0.15.3 does: the same pairs, similarities and groups, for two parties or
more. The order of the inputs decides between pairs that are equally similar. Records
are named by their row, from 0. No model is fitted and nothing is estimated: see
docs/clk-method.md.`

const clkLinkExample = `  linker link north.clks.json south.clks.json --method clk --threshold 0.85 --out run3`

// clkLink is a job of linker link with --method clk: the flags of link that it
// shares with jobs of the other method, and its own.
type clkLink struct {
	out, threshold, oneToOne, state, project string
	perRecord                                int
	memory                                   int64 // bytes
	threads                                  int
	asJSON                                   bool
}

// addFlags adds the flags of link that only jobs of method clk have.
func (l *clkLink) addFlags(flags *pflag.FlagSet) {
	flags.IntVar(&l.perRecord, "max-candidates", 0, "with --method clk: how many candidates of each other party a record may have (anonlink's k); 0 is any number")
}

// clkLinkRefusals are flags of link that mean nothing with --method clk, and
// why. --resume is none of them: the job begins again, and ends with the same
// bytes. Nor is --tmp-dir: nothing is put there.
var clkLinkRefusals = []struct{ name, why string }{
	{"min-precision", "no precision is estimated of similarities"},
	{"keep", "all pairs that reach the threshold are written"},
	{"blocking", "all pairs are compared"},
	{"with-tokens", "there are no tokens"},
	{"token-epoch", "no tokens are compared"},
	{"model", "no model is fitted"},
	{"plan", "all pairs are compared: rows times rows"},
	{"row-level", "the report shows no pairs"},
}

// options checks the flags. changed tells which of the command's flags were
// given.
func (l *clkLink) options(flags *pflag.FlagSet) (o similarity.Options, err error) {
	const doing = "linking by similarity"
	wrong := func(flag, wrong, next string) error {
		return fault.New(fault.Usage, doing, "--"+flag+" "+wrong, next)
	}
	var refused []string
	for _, r := range clkLinkRefusals {
		if flags.Changed(r.name) {
			refused = append(refused, fmt.Sprintf("--%s cannot be used with --method clk (%s)", r.name, r.why))
		}
	}
	o = similarity.Options{PerRecord: l.perRecord, Threads: l.threads, Memory: l.memory, OneToOne: resolve.Assignment(l.oneToOne)}
	if !flags.Changed("one-to-one") {
		o.OneToOne = resolve.Greedy // as anonlink does it
	}
	switch {
	case refused != nil:
		return o, fault.New(fault.Usage, doing, strings.Join(refused, ", "), "leave it out")
	case l.out == "":
		return o, wrong("out", "is missing", "name the folder to write")
	case !flags.Changed("threshold") || l.threshold == "auto":
		return o, wrong("threshold", "is missing: a similarity is no probability, and none can be chosen without truth",
			"give the one that you use with anonlink, such as --threshold 0.85")
	case l.perRecord < 0:
		return o, wrong("max-candidates", "is below 0", "give a number of candidates, or 0 for any")
	case l.threads < 1:
		return o, wrong("threads", "is below 1", "give the number of cores to use")
	}
	switch o.OneToOne {
	case resolve.Mutual, resolve.Greedy, resolve.None:
	default:
		return o, wrong("one-to-one", "is not known", "give greedy, mutual or none")
	}
	if o.Threshold, err = strconv.ParseFloat(l.threshold, 64); err != nil || !(o.Threshold > 0 && o.Threshold <= 1) {
		return o, wrong("threshold", "is no similarity", "give a number above 0 and up to 1")
	}
	o.Project, err = readRecord(l.project)
	return o, err
}

// run links the inputs into the folder that --out names.
func (l *clkLink) run(c *cobra.Command, env *boot.Environment, inputs []string) error {
	o, err := l.options(c.Flags())
	if err != nil {
		return err
	}
	boundMemory(l.memory)
	o.Inputs = inputs
	o.Software, o.Clock, o.Wall, o.Random = boot.Software(), env.Clock, env.Wall, env.Rand
	stages := &stageProgress{env: env}
	o.Progress = stages.set
	var summary *result.Summary
	err = makeResult(l.out, l.state, func(folder, _, state string) (err error) {
		o.Out, o.State = folder, state
		summary, err = similarity.Link(c.Context(), o)
		stages.done()
		return err
	})
	if err != nil {
		return err
	}
	if l.asJSON {
		return env.PrintJSON(summary)
	}
	return writeCLKLinkText(env.Stdout, l.out, summary)
}

func writeCLKLinkText(w io.Writer, out string, s *result.Summary) error {
	var b strings.Builder
	for _, in := range s.Inputs {
		fmt.Fprintf(&b, "%-16s %s records\n", in.SourceDataset, humanize.Comma(in.Rows))
	}
	fmt.Fprintf(&b, "%s pairs compared; %s links at a similarity of %.4g or more\n", humanize.Comma(s.Pairs.Compared), humanize.Comma(s.Links.Total), s.Threshold)
	fmt.Fprintf(&b, "%s people with two records or more, %s records without a partner\n", humanize.Comma(s.Clusters.Linked), humanize.Comma(s.Clusters.Singletons))
	for _, warning := range s.Warnings {
		fmt.Fprintf(&b, "warning: %s: %s\n", warning.Code, warning.Text)
	}
	fmt.Fprintf(&b, "result in %s; read %s\n", out, filepath.Join(out, result.ReportFile))
	_, err := io.WriteString(w, b.String())
	return err
}
