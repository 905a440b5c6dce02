package dataprofile

import (
	"cmp"
	"maps"
	"slices"

	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// Who can put a problem right.
const (
	byExtract = "whoever makes the extract"
	bySource  = "the data quality team of the source system"
	byDesk    = "those who register people"
	byYou     = "whoever runs the tokeniser"
	byNobody  = "nobody: nothing is wrong"
)

// byOf says who can put right what a code says.
func byOf(code reason.Code) string {
	if code.Harmless() {
		return byNobody
	}
	switch code {
	case reason.NHSNumberLength, reason.DateOfBirthInvalid, reason.DateOfBirthFuture, reason.NameEmpty, reason.SexUnknown:
		return byExtract
	case reason.DateOfBirthDefault, reason.NameJunk:
		return byDesk
	}
	return bySource
}

// missingText says what a missing value costs and what to do.
func missingText(field string) (by, text string) {
	switch field {
	case "nhs_number":
		return bySource, "no number is given: trace these people (PDS batch tracing); until then they link by demographics only"
	case "date_of_birth":
		return byDesk, "no date of birth is given: without it a row cannot be linked by demographics at all"
	case "given_name", "family_name":
		return byDesk, "no name is given: check that the extract takes the current name; without it a row links much less surely"
	case "postcode", "sex":
		return byDesk, "nothing is given: rows link less surely without it"
	case source.UniqueIDField:
		return byExtract, "no id is given: these rows are refused; give every row an id of its own, or run with --unique-id row"
	}
	return "", ""
}

// advice follows from what is shown of the document alone. Most rows first;
// what is hidden comes after it.
func (d *Document) advice(uniqueID string) []Advice {
	list := []Advice{}
	add := func(field string, code reason.Code, rows *int64, by, what string) {
		list = append(list, Advice{Field: field, Code: text(string(code)), Rows: rows, Share: d.share(rows), By: by, Text: what})
	}
	nonzero := func(n *int64) bool { return n != nil && *n > 0 }
	unread := d.Input.Refused == nil && d.Input.Rows >= 2*SuppressedBelow
	if unread || nonzero(d.Input.Refused) {
		add("table", "", d.Input.Refused, byExtract, "rows cannot be read: run with --quarantine to see which and why; often quotation marks or the character encoding are wrong")
	}
	if nonzero(d.Duplicates.ExactRows) {
		add("table", "", d.Duplicates.ExactRows, byExtract, "rows repeat an earlier one in every column: leave them out")
	}
	if nonzero(d.Duplicates.UniqueIDRows) {
		add(source.UniqueIDField, reason.UniqueIDDuplicate, d.Duplicates.UniqueIDRows, byExtract,
			"rows have the id of an earlier one and are refused: give every row an id of its own, or run with --unique-id row")
	}
	if nonzero(d.Duplicates.NHSNumberRows) {
		add("nhs_number", "", d.Duplicates.NHSNumberRows, bySource, "rows have the number of an earlier one: merge the records of one person, or expect several links of one")
	}
	for i := range d.Fields {
		f := &d.Fields[i]
		for _, code := range slices.Sorted(maps.Keys(f.Codes)) {
			if n := f.Codes[code]; nonzero(n) || slices.Contains(f.Small, code) {
				add(f.Field, reason.Code(code), n, byOf(reason.Code(code)), reason.Code(code).Advice())
			}
		}
		// Few missing values may be those of rows that cannot be read.
		if by, what := missingText(f.Field); what != "" && (nonzero(f.Missing) || !unread && slices.Contains(f.Small, partMissing)) {
			add(f.Field, "", f.Missing, by, what)
		}
	}
	slices.SortStableFunc(list, func(a, b Advice) int { return cmp.Compare(gain(&b), gain(&a)) })
	return append(d.unmapped(uniqueID), list...)
}

func (d *Document) share(rows *int64) *float64 {
	if rows == nil || d.Input.Rows == 0 {
		return nil
	}
	share := float64(*rows) / float64(d.Input.Rows)
	return &share
}

// gain orders advice: what nobody has to do comes last.
func gain(a *Advice) int64 {
	switch {
	case a.By == byNobody:
		return -1
	case a.Rows == nil:
		return 0
	}
	return *a.Rows
}

// unmapped names the fields that no column holds; every row would gain.
func (d *Document) unmapped(uniqueID string) (list []Advice) {
	list = []Advice{}
	add := func(field, what string) {
		list = append(list, Advice{Field: field, Rows: &d.Input.Rows, Share: d.share(&d.Input.Rows), By: byYou, Text: what})
	}
	for _, field := range []string{"nhs_number", "date_of_birth", "given_name", "family_name", "postcode", "sex"} {
		if _, ok := d.field(field); !ok {
			add(field, "no column holds it: if one does, name it in a map (--write-map, then --map)")
		}
	}
	if uniqueID == "" {
		add(source.UniqueIDField, "no column identifies rows: name one with --unique-id, or give --unique-id row to use the row's number")
	}
	return list
}
