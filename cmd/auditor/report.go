package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/audit"
	"tarn/keys/audit/verify"
	"tarn/keys/fault"
)

// monthly is the document of auditor report.
type monthly struct {
	Schema        string         `json:"schema"`
	Software      string         `json:"software"`
	Created       string         `json:"created"`
	Log           string         `json:"log"`
	Month         string         `json:"month"`
	Whole         bool           `json:"whole"`
	Entries       int64          `json:"entries"` // of the month
	Organisations []organisation `json:"organisations"`
}

// organisation is what one organisation did in the month; "" is the key holder
// itself.
type organisation struct {
	Organisation string `json:"organisation"`
	Rows         int64  `json:"rows"` // that its tokenisers say they made tokens of
	Refused      int64  `json:"refused"`
	Did          []did  `json:"did"`
}

// did is how often something happened.
type did struct {
	Kind    string `json:"kind"`
	Outcome string `json:"outcome"` // or the decision, where there is no outcome
	Project string `json:"project"`
	Times   int64  `json:"times"`
}

// counter counts entries, from several goroutines at once.
type counter struct {
	mu      sync.Mutex
	month   string
	entries int64
	rows    map[string]int64
	refused map[string]int64
	times   map[string]map[did]int64
}

func (c *counter) visit(_ uint64, leaf audit.Leaf) {
	if !strings.HasPrefix(leaf.Time, c.month) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	who := leaf.Actor.Organisation
	c.entries++
	what := did{Kind: string(leaf.Kind), Outcome: cmp.Or(leaf.Outcome, string(leaf.Decision)), Project: leaf.Project}
	if c.times[who] == nil {
		c.times[who] = map[did]int64{}
	}
	c.times[who][what]++
	if leaf.Kind == audit.KindLease && leaf.Outcome == "used" && leaf.Purpose == "token" { // of each key there is a report
		c.rows[who] += leaf.Count
	}
	if leaf.Kind == audit.KindRefuse || leaf.Decision == audit.Deny {
		c.refused[who]++
	}
}

func (c *counter) organisations() []organisation {
	all := []organisation{}
	for who, times := range c.times {
		o := organisation{Organisation: who, Rows: c.rows[who], Refused: c.refused[who], Did: []did{}}
		for what, n := range times {
			what.Times = n
			o.Did = append(o.Did, what)
		}
		slices.SortFunc(o.Did, func(a, b did) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Project, b.Project))
		})
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b organisation) int { return cmp.Compare(a.Organisation, b.Organisation) })
	return all
}

func reportCommand(env *boot.Environment) *cobra.Command {
	var f keyFlags
	month := ""
	asJSON := false
	c := &cobra.Command{
		Use:   "report LOG --month YYYY-MM",
		Short: "What each organisation did in a month",
		Long: `Count what is in a log for a month, organisation by organisation: keys leased, rows that
tokens were made of (as the tokenisers say), changes asked for and approved, refusals,
and re-identifications. The log is verified first: a report on one that is not whole
says so, and the exit code is 6.`,
		Example: "  auditor report /srv/keyholder/log/1 --month 2026-11",
		Args:    oneLog,
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := time.Parse("2006-01", month); err != nil {
				return fault.New(fault.Usage, "reporting on a month", "--month is not of the form YYYY-MM", "give it as in --month 2026-11")
			}
			o, err := f.options()
			if err != nil {
				return err
			}
			count := &counter{month: month + "-", rows: map[string]int64{}, refused: map[string]int64{}, times: map[string]map[did]int64{}}
			o.Visit = count.visit
			r, err := verify.Log(c.Context(), args[0], o)
			if err != nil {
				return err
			}
			d := &monthly{Schema: "tarn.log-report/1", Software: boot.Software(), Created: env.Clock().Format(time.RFC3339), Log: r.Origin, Month: month, Whole: r.Whole(),
				Entries: count.entries, Organisations: count.organisations()}
			if asJSON {
				err = env.PrintJSON(d)
			} else {
				err = writeReport(env.Stdout, d)
			}
			if err == nil && !r.Whole() {
				err = fault.New(fault.Disagreement, "reporting on the log "+args[0], "it is not whole", "see what is wrong: auditor verify")
			}
			return err
		},
	}
	f.add(c.Flags())
	c.Flags().StringVar(&month, "month", "", "the month, as in 2026-11")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

func writeReport(w io.Writer, d *monthly) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s in %s: %s entries", d.Log, d.Month, humanize.Comma(d.Entries))
	if !d.Whole {
		b.WriteString(". THE LOG IS NOT WHOLE: do not rely on this report")
	}
	b.WriteString("\n")
	for _, o := range d.Organisations {
		name := o.Organisation
		if name == "" {
			name = "the key holder itself"
		}
		fmt.Fprintf(&b, "\n%s: %s rows as its tokenisers say, %s refusals\n", name, humanize.Comma(o.Rows), humanize.Comma(o.Refused))
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, what := range o.Did {
			fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", what.Kind, what.Outcome, what.Project, humanize.Comma(what.Times))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if len(d.Organisations) == 0 {
		b.WriteString("nothing was recorded in this month\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
