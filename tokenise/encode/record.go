package encode

import (
	"slices"

	"tarn/tokenise/demographics"
	"tarn/tokenise/reason"
)

// Names of the canonical input fields.
const (
	FieldUniqueID           = "unique_id"
	FieldNHSNumber          = "nhs_number"
	FieldGivenName          = "given_name"
	FieldOtherGivenNames    = "other_given_names"
	FieldFamilyName         = "family_name"
	FieldPreviousFamilyName = "previous_family_name"
	FieldDateOfBirth        = "date_of_birth"
	FieldSex                = "sex"
	FieldPostcode           = "postcode"
	FieldGPPracticeCode     = "gp_practice_code"
)

// Value is one normalised field. Missing has neither parts nor a date.
type Value struct {
	Parts []string // of a name or text; the one text of a postcode, sex or code
	Date  demographics.Date
}

// Missing reports whether there is no value.
func (v Value) Missing() bool { return len(v.Parts) == 0 && v.Date.IsZero() }

// Record is one record, normalised as a profile says: a value for each of the
// profile's fields, and the date of birth that keys and blocks it.
type Record struct {
	DateOfBirth demographics.Date
	Values      []Value  // as Profile.Encoding.Fields
	parts       []string // memory of the parts of Values
}

// add returns the parts of a value that has one.
func (r *Record) add(part string) []string {
	n := len(r.parts)
	r.parts = append(r.parts, part)
	return r.parts[n : n+1 : n+1]
}

// Normaliser turns raw text into Records. It serves one goroutine.
type Normaliser struct {
	profile *Profile
	today   demographics.Date
	names   demographics.Names
}

// NewNormaliser returns the normaliser of a profile. Dates of birth after
// today are not valid.
func (p *Profile) NewNormaliser(today demographics.Date) *Normaliser {
	return &Normaliser{profile: p, today: today}
}

// Normalise fills record from raw, which returns the text of an input field,
// and calls report with each field that is not used and why.
func (n *Normaliser) Normalise(raw func(input string) string, record *Record, report func(field string, code reason.Code)) {
	var code reason.Code
	record.DateOfBirth, code = demographics.ParseDate(raw(FieldDateOfBirth), n.today)
	if code != "" {
		report(FieldDateOfBirth, code)
	}
	record.Values, record.parts = record.Values[:0], record.parts[:0]
	for i := range n.profile.Encoding.Fields {
		f := &n.profile.Encoding.Fields[i]
		record.Values = append(record.Values, n.value(f, raw, record, report))
	}
}

// Forget forgets the words of names that were met where they are more than so many.
func (n *Normaliser) Forget(most int) { n.names.Forget(most) }

func (n *Normaliser) value(f *Field, raw func(string) string, record *Record, report func(string, reason.Code)) (v Value) {
	input := f.Inputs[0]
	var code reason.Code
	switch f.Normalise {
	case NormaliseName, NormaliseFormal:
		return Value{Parts: n.nameParts(f, raw, record, report)}
	case NormaliseText:
		return Value{Parts: n.union(f, func(input string) []string { return demographics.Text(raw(input)) })}
	case NormaliseDate:
		if input == FieldDateOfBirth {
			return Value{Date: record.DateOfBirth}
		}
		v.Date, code = demographics.ParseDate(raw(input), n.today)
	case NormalisePostcode:
		var text string
		if text, code = demographics.Postcode(raw(input)); text != "" {
			v.Parts = record.add(text)
		}
	case NormaliseSex:
		var letter byte
		if letter, code = demographics.Sex(raw(input)); letter != 0 {
			v.Parts = record.add(string([]byte{letter})) // of one byte, which allocates nothing
		}
	case NormaliseCode:
		if text := demographics.Code(raw(input)); text != "" {
			v.Parts = record.add(text)
		}
	}
	if code != "" {
		report(input, code)
	}
	return v
}

// nameParts returns the parts of the names of all inputs of a field, each once.
func (n *Normaliser) nameParts(f *Field, raw func(string) string, record *Record, report func(string, reason.Code)) []string {
	start := len(record.parts)
	for _, input := range f.Inputs {
		var code reason.Code
		if record.parts, code = n.names.Append(record.parts, raw(input)); code != "" {
			report(input, code)
		}
	}
	parts := record.parts[start:]
	if f.Normalise == NormaliseFormal {
		parts = demographics.Formal(parts)
	}
	if len(f.Inputs) > 1 {
		slices.Sort(parts)
		parts = slices.Compact(parts)
	}
	return slices.Clip(parts)
}

// union returns the parts of all inputs of a field, each once.
func (n *Normaliser) union(f *Field, parts func(input string) []string) []string {
	if len(f.Inputs) == 1 {
		return parts(f.Inputs[0])
	}
	var all []string
	for _, input := range f.Inputs {
		all = append(all, parts(input)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
