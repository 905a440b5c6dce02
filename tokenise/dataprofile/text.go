package dataprofile

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

func count(n *int64) string {
	if n == nil {
		return fmt.Sprintf("<%d", SuppressedBelow)
	}
	return humanize.Comma(*n)
}

// WriteText writes the profile for a terminal.
func WriteText(w io.Writer, d *Document) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s rows", d.Input.Format, humanize.Comma(d.Input.Rows))
	if d.Input.Delimiter != nil {
		fmt.Fprintf(&b, ", delimiter %q", *d.Input.Delimiter)
	}
	if d.Input.Encoding != nil {
		fmt.Fprintf(&b, ", %s", *d.Input.Encoding)
	}
	fmt.Fprintf(&b, "; %s rows cannot be read\n\n%-22s %12s %12s %12s  reasons\n", count(d.Input.Refused), "field", "given", "usable", "missing")
	for _, f := range d.Fields {
		codes := make([]string, 0, len(f.Codes))
		for code, n := range f.Codes {
			codes = append(codes, code+" "+count(n))
		}
		slices.Sort(codes)
		fmt.Fprintf(&b, "%-22s %12s %12s %12s  %s\n", f.Field, count(f.Present), count(f.Valid), count(f.Missing), strings.Join(codes, ", "))
	}
	fmt.Fprintf(&b, "\nlinkable by token %s, by demographics %s, by neither %s\n", count(d.Linkable.ByToken), count(d.Linkable.ByDemographics), count(d.Linkable.Neither))
	fmt.Fprintf(&b, "rows that repeat an earlier row: %s; that repeat an NHS number: %s\n", count(d.Duplicates.ExactRows), count(d.Duplicates.NHSNumberRows))
	if len(d.Advice) > 0 {
		b.WriteString("\nto do, most useful first:\n")
		for _, a := range d.Advice {
			fmt.Fprintf(&b, "  %-22s %s\n", a.Field, a.Text)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
