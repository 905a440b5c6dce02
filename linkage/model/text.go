package model

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// WriteText writes the model for people to read.
func WriteText(w io.Writer, d *Document) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) } // tabwriter keeps the error for Flush
	line("Model of %s, profile %s, %s, by %s\n", d.Project, d.Profile, d.Created, d.Software)
	switch {
	case d.Fitted:
		line("m-probabilities were fitted; %.0f matches were expected among the compared pairs", d.ExpectedMatches)
	default:
		line("m-probabilities were not fitted here; %.0f matches were expected among the compared pairs", d.ExpectedMatches)
	}
	if d.Fit != nil {
		line(", standard error %.1f\n", d.Fit.MatchesError)
		if d.Fit.Joint {
			line("u-probabilities come from the same pairs as m\n")
		} else {
			line("u-probabilities come from pairs within sides, %.0f of them expected duplicates\n", d.Fit.ExpectedDuplicates)
		}
		line("%d starts, %d iterations, last change of a probability %.1g, log-likelihood %.2f\n", len(d.Fit.Starts), d.Fit.Iterations, d.Fit.Change, d.Fit.LogLikelihood)
	} else {
		line("\n")
	}
	line("\nfield\tlevel\tm\tu\tweight\t\n")
	for _, f := range d.Fields {
		for l := range f.M {
			line("%s\t%s\t%s\t%s\t%+.2f\t\n", f.Name, f.levelName(l), small(f.M[l]), small(f.U[l]), math.Log2(f.M[l]/f.U[l]))
		}
	}
	for _, f := range d.dependents() {
		line("\nu of %s depends on %s: where that is identical, u of identical %s is %s\n", f.Name, f.Given, f.Name, small(f.UGiven[len(f.UGiven)-1][len(f.M)-1]))
	}
	line("\nparties\tstrangers\thouseholds\ttwins\tmatches\t\n")
	for _, s := range d.Strata {
		line("%s, %s\t%s\t%s\t%s\t%s\t\n", s.SourceDatasetL, s.SourceDatasetR, small(s.Strangers), small(s.Households), small(s.Twins), small(s.Matches))
	}
	return t.Flush()
}

// WriteDifference writes a comparison of two models, a and b, for people to
// read.
func WriteDifference(w io.Writer, a *Document, d *Difference) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format, args...) } // tabwriter keeps the error for Flush
	if d.Largest == nil {
		line("No level of agreement is common enough in both to be compared.\n")
	} else {
		line("The largest difference of weights is %+.2f (log2), %s at level %d.\n", d.Largest.Weight, d.Largest.Field, d.Largest.Level)
	}
	line("\nfield\tlevel\tm of A\tm of B\tu of A\tu of B\tweight A\tweight B\tB - A\t\n")
	at := 0
	for _, f := range a.Fields {
		for l := range f.M {
			x := d.Levels[at]
			at++
			line("%s\t%s\t%s\t%s\t%s\t%s\t%+.2f\t%+.2f\t%+.2f\t\n", f.Name, f.levelName(l), small(x.MA), small(x.MB), small(x.UA), small(x.UB), x.WeightA, x.WeightB, x.Weight)
		}
	}
	return t.Flush()
}

// small writes a probability with three digits that count.
func small(p float64) string { return fmt.Sprintf("%.3g", p) }
