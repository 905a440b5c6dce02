package evaluate

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// WriteText writes the evaluation for people to read.
func WriteText(w io.Writer, e *Evaluation) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) } // tabwriter keeps the error for Flush
	line("Of %s links, %s are right; %s true pairs were not linked.\n", thousands(e.TP+e.FP), thousands(e.TP), thousands(e.FN))
	line("precision %s, recall %s, F1 %s\n", share(e.Precision), share(e.Recall), share(e.F1))
	if e.Threshold != nil {
		line("threshold %s on link_probability", number(*e.Threshold))
		if e.Best != nil {
			line("; the best, known only with truth: F1 %s at %s", share(&e.Best.F1), number(e.Best.MatchProbability))
		}
		line("\n")
	}
	if e.EstimateError.Precision != nil || e.EstimateError.Recall != nil {
		line("estimated minus true: precision %s, recall %s\n", signed(e.EstimateError.Precision), signed(e.EstimateError.Recall))
	}
	if e.MissedByBlocking != nil {
		line("true pairs missed by blocking: %s\n", thousands(*e.MissedByBlocking))
	}
	if len(e.ByThreshold) > 0 {
		line("\nthreshold\ttp\tfp\tfn\tprecision\trecall\tF1\t\n")
		for _, s := range e.ByThreshold {
			line("%s\t%d\t%d\t%d\t%s\t%s\t%s\t\n", number(s.MatchProbability), s.TP, s.FP, s.FN, share(s.Precision), share(s.Recall), share(s.F1))
		}
	}
	for _, gap := range e.MaxRecallGap {
		line("\n%s: largest gap in recall %s\n", gap.Dimension, share(gap.Gap))
		line("group\ttp\tfp\tfn\tprecision\trecall\t\n")
		for _, g := range e.ByGroup {
			if g.Dimension == gap.Dimension {
				line("%s\t%d\t%d\t%d\t%s\t%s\t\n", g.Group, g.TP, g.FP, g.FN, share(g.Precision), share(g.Recall))
			}
		}
	}
	for _, warning := range e.Warnings {
		line("\nwarning: %s\n", warning)
	}
	return t.Flush()
}

func share(v *float64) string {
	if v == nil {
		return "unknown"
	}
	return strconv.FormatFloat(*v, 'f', 4, 64)
}

func signed(v *float64) string {
	if v == nil {
		return "unknown"
	}
	return fmt.Sprintf("%+.4f", *v)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
