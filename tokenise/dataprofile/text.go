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

// leasts returns the least that present and valid can be where they are hidden,
// as far as that follows from what is shown: where one count is hidden beside
// small ones, it is the rest without nine for each of these. nil is unknown.
func (f *Field) leasts(in *Input) (present, valid *int64) {
	rest, open := in.Rows, []string{}
	if in.Refused != nil && f.Missing == nil {
		rest -= *in.Refused
	}
	see := func(name string, n *int64) {
		switch {
		case n != nil:
			rest -= *n
		case slices.Contains(f.Small, name):
			rest -= SuppressedBelow - 1
		default:
			open = append(open, name)
		}
	}
	_, useless := codesOf(f.Field)
	for _, code := range useless {
		see(string(code), f.Codes[string(code)])
	}
	see(partMissing, f.Missing)
	see(partValid, f.Valid)
	if slices.Equal(open, []string{partValid}) {
		valid = &rest
	}
	if f.Missing == nil && slices.Contains(f.Small, partMissing) {
		n := in.Rows - (SuppressedBelow - 1)
		present = &n
	}
	return present, valid
}

// leastByDemographics is the least number of rows with a usable date of birth
// and a usable name that the shown counts of these leave open.
func (d *Document) leastByDemographics() *int64 {
	least := func(name string) int64 {
		f, ok := d.field(name)
		if !ok {
			return 0
		}
		if f.Valid != nil {
			return *f.Valid
		}
		if _, valid := f.leasts(&d.Input); valid != nil {
			return *valid
		}
		return 0
	}
	n := least("date_of_birth") + max(least("given_name"), least("family_name")) - d.Input.Rows
	if n <= 0 {
		return nil
	}
	return &n
}

// atLeast writes a count, or where it is hidden the least that it can be.
func atLeast(shown string, least *int64) string {
	if shown != hiddenText || least == nil {
		return shown
	}
	return ">=" + humanize.Comma(*least)
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
	unread := count(d.Input.Refused)
	if d.Input.Refused == nil && d.Input.Rows >= 2*SuppressedBelow {
		unread = "few, or all but few,"
	}
	fmt.Fprintf(&b, "; %s rows cannot be read\n\n%-22s %12s %12s %12s  reasons\n", unread, "field", "given", "usable", "missing")
	for i := range d.Fields {
		f := &d.Fields[i]
		present, valid := f.leasts(&d.Input)
		line := fmt.Sprintf("%-22s %12s %12s %12s  %s", f.Field, atLeast(count(f.Present), present), atLeast(f.count(partValid, f.Valid), valid), f.count(partMissing, f.Missing), f.reasons())
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	fmt.Fprintf(&b, "\nrows that can be linked by NHS number %s, by demographics %s, by neither %s\n", count(d.Linkable.ByToken), atLeast(count(d.Linkable.ByDemographics), d.leastByDemographics()), count(d.Linkable.Neither))
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
