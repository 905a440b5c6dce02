package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dustin/go-humanize"

	"tarn/cmd/internal/boot"
	"tarn/linkage/result"
)

// finished returns the summary of the complete result that --resume finds under
// --out; nil where there is none, or a report of another kind is wanted.
func (f *linkFlags) finished() *result.Summary {
	summary, err := result.ReadSummary(f.out)
	if err != nil || !f.resume || f.rowLevel {
		return nil
	}
	for _, output := range summary.Outputs {
		if _, err := os.Stat(filepath.Join(f.out, output.Path)); err != nil {
			return nil
		}
	}
	return summary
}

// say prints what a job came to.
func (f *linkFlags) say(env *boot.Environment, summary *result.Summary) error {
	if f.asJSON {
		return env.PrintJSON(summary)
	}
	return writeLinkText(env.Stdout, f.out, summary)
}

func percent(e *result.Estimate) string {
	if e == nil {
		return "not estimated"
	}
	return fmt.Sprintf("%.2f%% (%.2f to %.2f)", 100*e.Value, 100*e.Lo, 100*e.Hi)
}

// inputText says what one cohort of a job is. Results of earlier versions do not say
// what its tokens are.
func inputText(sourceDataset string, rows, valid int64, tokens *result.Tokens) string {
	of := ""
	if tokens != nil {
		of = fmt.Sprintf(" (%s)", tokens)
	}
	return fmt.Sprintf("%-16s %s records, %s with a token%s\n", sourceDataset, humanize.Comma(rows), humanize.Comma(valid), of)
}

func writeLinkText(w io.Writer, out string, s *result.Summary) error {
	var b strings.Builder
	for _, in := range s.Inputs {
		b.WriteString(inputText(in.SourceDataset, in.Rows, in.ValidTokens, in.Tokens))
	}
	fmt.Fprintf(&b, "%s links at link probability %.4g or more: %s by token and demographics, %s by token only, %s by demographics only\n",
		humanize.Comma(s.Links.Total), s.Threshold, humanize.Comma(s.Links.Both), humanize.Comma(s.Links.TokenOnly), humanize.Comma(s.Links.DemographicOnly))
	if s.Estimated.Precision == nil && s.Estimated.Recall == nil {
		b.WriteString("precision and recall are not estimated\n")
	} else {
		fmt.Fprintf(&b, "estimated precision %s, recall %s\n", percent(s.Estimated.Precision), percent(s.Estimated.Recall))
	}
	fmt.Fprintf(&b, "%s pairs to review, %s conflicts (equal tokens, demographics that disagree), %s records that nothing can link\n",
		humanize.Comma(s.Links.Review), humanize.Comma(s.Links.Conflicts), humanize.Comma(s.Unlinkable))
	for _, warning := range s.Warnings {
		fmt.Fprintf(&b, "warning: %s: %s\n", warning.Code, warning.Text)
	}
	fmt.Fprintf(&b, "result in %s; read %s\n", out, filepath.Join(cmp.Or(out, "."), result.ReportFile))
	_, err := io.WriteString(w, b.String())
	return err
}
