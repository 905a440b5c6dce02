package dataprofile

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"tarn/tokenise/source"
)

// hiddenText stands for a count that is not shown, smallText for one that is
// known to be 1 to SuppressedBelow - 1.
const hiddenText = "*"

func smallText() string { return fmt.Sprintf("<%d", SuppressedBelow) }

func count(n *int64) string {
	if n == nil {
		return hiddenText
	}
	return humanize.Comma(*n)
}

func (f *Field) count(name string, n *int64) string {
	if n == nil && slices.Contains(f.Small, name) {
		return smallText()
	}
	return count(n)
}

// reasons lists the codes that are not 0.
func (f *Field) reasons() string {
	var list []string
	for code, n := range f.Codes {
		if n == nil || *n > 0 {
			list = append(list, code+" "+f.count(code, n))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
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
	for i := range d.Fields {
		f := &d.Fields[i]
		line := fmt.Sprintf("%-22s %12s %12s %12s  %s", f.Field, count(f.Present), f.count("valid", f.Valid), f.count("missing", f.Missing), f.reasons())
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	fmt.Fprintf(&b, "\nrows that can be linked by NHS number %s, by demographics %s, by neither %s\n", count(d.Linkable.ByToken), count(d.Linkable.ByDemographics), count(d.Linkable.Neither))
	fmt.Fprintf(&b, "rows that repeat an earlier row %s", count(d.Duplicates.ExactRows))
	if _, ok := d.field("nhs_number"); ok {
		fmt.Fprintf(&b, ", its NHS number %s", count(d.Duplicates.NHSNumberRows))
	}
	if _, ok := d.field(source.UniqueIDField); ok {
		fmt.Fprintf(&b, ", its id %s", count(d.Duplicates.UniqueIDRows))
	}
	fmt.Fprintf(&b, "\n%s is 1 to %d rows; %s is not shown, because small numbers of people would follow from it, or not known\n", smallText(), SuppressedBelow-1, hiddenText)
	if len(d.Advice) > 0 {
		b.WriteString("\nto do, most useful first:\n")
	}
	for i := range d.Advice {
		d.Advice[i].write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (a *Advice) write(b *strings.Builder) {
	what := a.Field
	if a.Code != nil {
		what = cmp.Or(*a.Code, what)
	}
	rows := smallText() + " rows" // no number is given of these alone
	switch {
	case a.Share == nil:
	case *a.Share < .0005:
		rows = humanize.Comma(*a.Rows) + " rows, under 0.1%"
	default:
		rows = fmt.Sprintf("%s rows, %.1f%%", humanize.Comma(*a.Rows), 100**a.Share)
	}
	fmt.Fprintf(b, "  %s (%s)\n    %s\n    who: %s\n", what, rows, a.Text, a.By)
}
