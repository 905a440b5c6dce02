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
	"tarn/keys/audit/openings"
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
	// Findings are what does not follow from what was recorded before it.
	Findings []openings.Finding `json:"findings"`
}

// organisation is what one organisation did in the month; "" is the key holder
// itself.
type organisation struct {
	Organisation string `json:"organisation"`
	Rows         int64  `json:"rows"` // that its tokenisers say they made tokens of
	Refused      int64  `json:"refused"`
	Did          []did  `json:"did"`
	// Reidentification is nil where it has had nothing to do with any.
	Reidentification *openings.Counts `json:"reidentification"`
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
	openings openings.Reading
	mu       sync.Mutex
	month    string
	entries  int64
	rows     map[string]int64
	refused  map[string]int64
	times    map[string]map[did]int64
}

func (c *counter) visit(index uint64, leaf audit.Leaf) {
	c.openings.Visit(index, leaf) // of any month: what is opened in one may have been allowed in another
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

// organisations returns what was counted, with what was read of re-identifications.
func (c *counter) organisations(opened []openings.Organisation) []organisation {
	for _, o := range opened {
		if c.times[o.Organisation] == nil { // others have done what concerns it
			c.times[o.Organisation] = map[did]int64{}
		}
	}
	all := []organisation{}
	for who, times := range c.times {
		o := organisation{Organisation: who, Rows: c.rows[who], Refused: c.refused[who], Did: []did{}}
		if i := slices.IndexFunc(opened, func(o openings.Organisation) bool { return o.Organisation == who }); i >= 0 {
			o.Reidentification = &opened[i].Counts
		}
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
and re-identifications: requests, the patients they were about, those who were opened,
approvals, emergencies and their reviews, limits. It names no patient, by any hash.

The log is verified first: a report on one that is not whole says so, and the exit code
is 6. It is also read as a whole for openings that do not follow from what was recorded
before them, such as one that no decision allows. There must be none: each is named by
its index, and the exit code is 6, too.`,
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
			opened := count.openings.Of(month, env.Clock())
			d := &monthly{Schema: "tarn.log-report/1", Software: boot.Software(), Created: env.Clock().Format(time.RFC3339), Log: r.Origin, Month: month, Whole: r.Whole(),
				Entries: count.entries, Organisations: count.organisations(opened.Organisations), Findings: opened.Findings}
			if asJSON {
				err = env.PrintJSON(d)
			} else {
				err = writeReport(env.Stdout, d)
			}
			doing := "reporting on the log " + args[0]
			switch {
			case err != nil:
				return err
			case !r.Whole():
				return fault.New(fault.Disagreement, doing, "it is not whole", "see what is wrong: auditor verify")
			case len(d.Findings) > 0:
				return fault.New(fault.Disagreement, doing, "it is what the key holder has signed, and something was opened that does not follow from it", "look at the entries that the report names, and ask the key holder's operators; keep this copy")
			}
			return nil
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
		writeReidentification(&b, o.Reidentification)
	}
	if len(d.Organisations) == 0 {
		b.WriteString("nothing was recorded in this month\n")
	}
	if len(d.Organisations) > 0 || len(d.Findings) > 0 {
		writeFindings(&b, d)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeReidentification(b *strings.Builder, c *openings.Counts) {
	if c == nil {
		return
	}
	comma := humanize.Comma
	fmt.Fprintf(b, "  re-identification: %s requests about %s patients, %s cancelled; %s patients opened, %s shown again\n",
		comma(c.Requests), comma(c.Patients), comma(c.Cancelled), comma(c.Opened), comma(c.Redeliveries))
	fmt.Fprintf(b, "    approvals given: %s, rejections: %s; questions who has asked: %s\n", comma(c.Approvals), comma(c.Rejections), comma(c.WhoAsked))
	if g := c.BreakGlass; g.Used > 0 {
		fmt.Fprintf(b, "    break-glass: used %s times; reviewed %s, to be reviewed %s, OVERDUE %s\n", comma(g.Used), comma(g.Reviewed), comma(g.Outstanding), comma(g.Overdue))
	}
	for _, t := range c.Refused {
		fmt.Fprintf(b, "    refused by %s: %s\n", t.Rule, comma(t.Times))
	}
	for _, t := range c.Limits {
		fmt.Fprintf(b, "    beyond the limit %s (%s): %s\n", t.Rule, t.Action, comma(t.Times))
	}
}

func writeFindings(b *strings.Builder, d *monthly) {
	if len(d.Findings) == 0 {
		if d.Whole { // else it is not known what was recorded
			b.WriteString("\nEvery opening of the month follows from a decision that was recorded before it.\n")
		}
		return
	}
	fmt.Fprintf(b, "\nOPENINGS THAT DO NOT FOLLOW FROM WHAT WAS RECORDED: %s\n", humanize.Comma(int64(len(d.Findings))))
	for _, f := range d.Findings {
		fmt.Fprintf(b, "  entry %d: %s\n", f.Index, f.What.Text())
	}
}
