package dataprofile

import (
	"slices"

	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// counts is what was counted in a table, before anything is hidden.
type counts struct {
	rows, refused  int64
	exactRows      *int64 // nil where there were too many to remember
	fields         []fieldCounts
	byDemographics int64
	neither        int64 // rows that can be read and yet not be linked
}

// fieldCounts is of one field that a column holds.
type fieldCounts struct {
	name    string
	missing int64   // of the rows that can be read
	plain   int64   // usable, and nothing to be said
	usable  []coded // usable, and something to be said
	useless []coded
	repeats *int64 // usable values that an earlier row had; nil where there were too many to remember
}

type coded struct {
	code reason.Code
	rows int64
}

func (f *fieldCounts) valid() int64 {
	n := f.plain
	for _, c := range f.usable {
		n += c.rows
	}
	return n
}

// codesOf returns the codes that a field can have, in the order in which they
// are hidden: of values that are usable all the same, and of others.
func codesOf(field string) (usable, useless []reason.Code) {
	switch field {
	case "nhs_number":
		return []reason.Code{reason.NHSNumberCHI, reason.NHSNumberHSCNI},
			[]reason.Code{reason.NHSNumberTestRange, reason.NHSNumberRepeated, reason.NHSNumberLength, reason.NHSNumberCheckDigit}
	case "date_of_birth":
		return nil, []reason.Code{reason.DateOfBirthFuture, reason.DateOfBirthDefault, reason.DateOfBirthInvalid}
	case "postcode":
		return nil, []reason.Code{reason.PostcodePseudo, reason.PostcodeInvalid}
	case "sex":
		return nil, []reason.Code{reason.SexUnknown}
	case "given_name", "other_given_names", "family_name", "previous_family_name":
		return nil, []reason.Code{reason.NameEmpty, reason.NameJunk}
	}
	return nil, nil
}

// published hides what must not be shown. What is promised: for each count of
// refused rows, of a field or of linkable rows that is hidden, there is another
// table with the same number of rows for which the same counts and the same
// nils are shown and in which that count is different; a reader who knows this
// code cannot tell the two apart. Counts of repeated rows are hidden where they
// are 1 to limit-1, and where such a one would follow from them.
func (c *counts) published(limit int64) *Document {
	d := &Document{Schema: Schema, SuppressedBelow: int(limit), Columns: []Column{}, Fields: []Field{}, Advice: []Advice{}, Input: Input{Rows: c.rows}}
	readable := c.rows
	showRefused := !hide([]int64{c.refused, c.rows - c.refused}, limit).hidden[0]
	if showRefused {
		d.Input.Refused = &c.refused
		readable -= c.refused
	}
	// Rows that cannot be read count as not linkable where their number is hidden.
	o := overlap{rows: readable, unread: !showRefused, byDemographics: c.byDemographics, neither: c.neither + readable - (c.rows - c.refused)}
	for i := range c.fields {
		f := c.fields[i]
		if !showRefused {
			f.missing += c.refused // the reader cannot tell them from rows without a value
		}
		shown := f.published(limit)
		if shown.Missing != nil && showRefused {
			n := *shown.Missing + c.refused
			shown.Missing = &n
		}
		if showRefused && c.refused > 0 { // what is small is not all that is missing
			shown.Small = slices.DeleteFunc(shown.Small, func(name string) bool { return name == partMissing })
		}
		d.Fields = append(d.Fields, shown)
		if known := o.of(f.name); known != nil && shown.Valid == nil {
			*known = span{0, readable}
		} else if known != nil {
			*known = exactly(*shown.Valid)
		}
	}
	if n, ok := d.field("nhs_number"); !ok {
		d.Linkable.ByToken = new(int64)
	} else {
		d.Linkable.ByToken = n.Valid
	}
	if o.judge(limit); o.showDemographics {
		d.Linkable.ByDemographics = &c.byDemographics
	}
	if o.showNeither {
		n := c.neither + c.refused
		d.Linkable.Neither = &n
	}
	c.duplicates(d, limit)
	return d
}

// of returns where the usable values of a field belong, nil for a field of
// which linkable rows do not depend.
func (o *overlap) of(field string) *span {
	switch field {
	case "nhs_number":
		return &o.number
	case "date_of_birth":
		return &o.date
	case "given_name":
		return &o.given
	case "family_name":
		return &o.family
	}
	return nil
}

func (d *Document) field(name string) (*Field, bool) {
	for i := range d.Fields {
		if d.Fields[i].Field == name {
			return &d.Fields[i], true
		}
	}
	return nil, false
}

// Counts of a field that are no code, as Small names them.
const (
	partMissing = "missing"
	partValid   = "valid"
)

// published returns the field as it is shown, without what repeats.
func (f *fieldCounts) published(limit int64) Field {
	parts := make([]int64, 0, len(f.useless)+2)
	for _, c := range f.useless {
		parts = append(parts, c.rows)
	}
	missing, valid := len(parts), len(parts)+1
	parts = append(parts, f.missing, f.valid())
	v := hide(parts, limit)
	shown := Field{Field: f.name, Codes: map[string]*int64{}, Small: []string{}}
	total := int64(0)
	for i, n := range parts {
		total += n
		name, to := "", (**int64)(nil)
		switch i {
		case missing:
			name, to = partMissing, &shown.Missing
		case valid:
			name, to = partValid, &shown.Valid
		default:
			name = string(f.useless[i].code)
		}
		var count *int64
		if !v.hidden[i] {
			count = &n
		}
		if to != nil {
			*to = count
		} else {
			shown.Codes[name] = count
		}
		if v.small[i] {
			shown.Small = append(shown.Small, name)
		}
	}
	if shown.Missing != nil {
		present := total - f.missing
		shown.Present = &present
	}
	f.publishUsable(&shown, limit)
	switch f.name {
	case "date_of_birth":
		shown.DefaultValues = shown.Codes[string(reason.DateOfBirthDefault)]
	case "postcode":
		shown.DefaultValues = shown.Codes[string(reason.PostcodePseudo)]
	}
	return shown
}

// publishUsable adds the codes of usable values: all or, where one of them or
// the rest is small, none.
func (f *fieldCounts) publishUsable(shown *Field, limit int64) {
	show := shown.Valid != nil && (f.plain == 0 || f.plain >= limit)
	for _, c := range f.usable {
		show = show && (c.rows == 0 || c.rows >= limit)
	}
	for _, c := range f.usable {
		shown.Codes[string(c.code)] = nil
		if show {
			shown.Codes[string(c.code)] = &c.rows
		}
	}
}

// duplicates shows how many rows repeat earlier ones. Usable values that repeat
// are shown only beside the count of usable values. Rows that repeat as a whole
// repeat each of their usable values too: they are hidden where they would say
// more of a hidden count of those than that it is not 0, or of refused rows.
func (c *counts) duplicates(d *Document, limit int64) {
	small := func(n int64) bool { return n > 0 && n < limit }
	showRows := c.exactRows != nil && d.Input.Refused != nil && c.rows >= 2*limit && !small(*c.exactRows)
	for i := range c.fields {
		f, shown := &c.fields[i], &d.Fields[i]
		if shown.Valid == nil || f.repeats == nil {
			continue
		}
		if small(*f.repeats) {
			showRows = showRows && *c.exactRows-(c.rows-c.refused-f.valid()) <= 1
			continue
		}
		switch f.name {
		case "nhs_number":
			d.Duplicates.NHSNumberRows = f.repeats
		case source.UniqueIDField:
			d.Duplicates.UniqueIDRows = f.repeats
		}
		if n := f.valid(); n > 0 {
			ratio := float64(n-*f.repeats) / float64(n)
			shown.DistinctRatio = &ratio
		}
	}
	if showRows {
		d.Duplicates.ExactRows = c.exactRows
	}
}
