package oversight

import (
	"io"
	"slices"
	"strconv"

	"tarn/keys/reidentify/oversight/sheet"
)

// WriteCSV writes a report for spreadsheets: the columns section, measure, value and
// month_before. Sections are report (the organisation, and the months), requests, purposes
// (purpose and outcome, as in TREAT_ready), refused (rule, of a limit with its name, as in
// limit/night), lists, approvals, break_glass and limits (rule and what it did, as in
// night/warn, or night/simulated_warn); measures are the members of [Figures]. The error is
// of writing.
func (r *Report) WriteCSV(w io.Writer) error { return sheet.Write(w, r.rows()) }

func (r *Report) rows() [][]string {
	rows := [][]string{
		{"section", "measure", "value", "month_before"},
		{"report", "organisation", r.Organisation, r.Organisation},
		{"report", "month", r.Month.String(), r.MonthBefore.String()},
	}
	now, before := r.Figures.measures(), r.Before.measures()
	value := func(all []measure, name string) string {
		i := slices.IndexFunc(all, func(m measure) bool { return m.name == name })
		if i < 0 {
			return "0" // it did not happen in one of the months
		}
		return strconv.Itoa(all[i].value)
	}
	for i, section := range sections {
		for _, m := range both(now[i], before[i]) {
			rows = append(rows, []string{section, m.name, value(now[i], m.name), value(before[i], m.name)})
		}
	}
	return rows
}

// measure is one figure by its name.
type measure struct {
	name  string
	value int
}

var sections = []string{"requests", "purposes", "refused", "lists", "approvals", "break_glass", "limits"}

// both returns the measures of two months, each once: those of the first, then what only the
// other has.
func both(now, before []measure) []measure {
	all := slices.Clone(now)
	for _, m := range before {
		if !slices.ContainsFunc(now, func(n measure) bool { return n.name == m.name }) {
			all = append(all, m)
		}
	}
	return all
}

// measures are the figures, by section.
func (f *Figures) measures() [][]measure {
	of := func(name string, value int) measure { return measure{name: name, value: value} }
	var purposes, refused, limits []measure
	for _, p := range f.Purposes {
		name := string(p.Purpose)
		purposes = append(purposes, of(name+"_requests", p.Requests), of(name+"_ready", p.Ready), of(name+"_waited", p.Waited), of(name+"_refused", p.Refused))
	}
	for _, r := range f.Refused {
		refused = append(refused, of(r.name(), r.Requests))
	}
	for _, l := range f.Limits {
		limits = append(limits, of(l.Rule+"/"+l.did(), l.Times))
	}
	l, a, b := f.Lists, f.Approvals, f.BreakGlass
	return [][]measure{
		{
			of("requests", f.Requests), of("ready", f.Outcomes.Ready), of("waited", f.Outcomes.Waited), of("refused", f.Outcomes.Refused), of("people", f.People),
			of("patients", f.Patients), of("opened", f.Opened), of("released", f.Released), of("out_of_hours", f.OutOfHours),
		},
		purposes, refused,
		{of("lists", l.Lists), of("sent", l.Sent), of("got", l.Got), of("opened", l.Opened)},
		{of("approved", a.Approved), of("rejected", a.Rejected), of("decided", a.Decided), of("median_minutes", a.MedianMinutes)},
		{
			of("used", b.Used), of("reviewed_in_time", b.ReviewedInTime), of("reviewed_late", b.ReviewedLate), of("not_reviewed", b.NotReviewed),
			of("justified", b.Justified), of("not_justified", b.NotJustified), of("inconclusive", b.Inconclusive),
		},
		limits,
	}
}

// name is the rule, of a limit with its name.
func (r *RefusedFigures) name() string {
	if r.Limit == "" {
		return string(r.Rule)
	}
	return string(r.Rule) + "/" + r.Limit
}
