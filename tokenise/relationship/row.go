package relationship

import (
	"regexp"
	"slices"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/tokenise/reason"
	"tarn/tokenise/relationship/table"
	"tarn/tokenise/source"
)

// The columns of a table of relationships.
const (
	columnToken        = "token"
	columnOrganisation = "organisation"
	columnFrom         = "from"
	columnTo           = "to"
	columnRelationship = "relationship" // may be missing
)

// What the column relationship may hold.
const (
	registered = "registered"
	other      = "other"
)

var (
	odsCode = regexp.MustCompile(`^[A-Z0-9]{3,10}$`)
	// practiceCode is the form of a GP practice's ODS code in England and Wales: the letter
	// of an area, or of what was opened later (Y), and five digits. Y codes are not all
	// practices.
	practiceCode = regexp.MustCompile(`^[A-HJ-NPWY][0-9]{5}$`)
)

// defaultCodes of the NHS Data Dictionary stand where a practice should: none, not
// applicable, not known.
var defaultCodes = []string{"V81997", "V81998", "V81999"}

// columns is where a table has each.
type columns struct {
	token, organisation, from, to int
	relationship                  int // -1 where there is none
}

// findColumns reads a header. It refuses one with more columns: what else is in a table of
// who has to do with whom does not belong here.
func findColumns(header []string) (columns, error) {
	const doing = "reading the relationships"
	c := columns{relationship: slices.Index(header, columnRelationship)}
	known := 0
	for _, column := range []struct {
		name string
		at   *int
	}{{columnToken, &c.token}, {columnOrganisation, &c.organisation}, {columnFrom, &c.from}, {columnTo, &c.to}} {
		if *column.at = slices.Index(header, column.name); *column.at < 0 {
			return c, fault.New(fault.Usage, doing, "the column "+column.name+" is missing", "give a table with the columns token, organisation, from and to")
		}
		known++
	}
	if c.relationship >= 0 {
		known++
	}
	if len(header) > known {
		return c, fault.New(fault.Usage, doing, "there are columns besides token, organisation, from, to and relationship", "leave them out: only these belong into this table")
	}
	return c, nil
}

// row is what became of a row of the table.
type row struct {
	number   int64
	key      table.Key
	row      table.Row
	problems []reason.Problem // any, and the row is refused
}

// read reads one row's values.
func (c *columns) read(r *source.Row) (out row) {
	out.number = r.Number
	if r.Problem != "" {
		out.refuse("", r.Problem)
		return out
	}
	c.readToken(r.Values, &out)
	c.readOrganisation(r.Values, &out)
	var err error
	if out.row.From, err = table.ParseDay(r.Values[c.from]); err != nil {
		out.refuse(columnFrom, reason.FromInvalid)
	}
	out.row.To = table.NoEnd
	if text := r.Values[c.to]; text != "" {
		if out.row.To, err = table.ParseDay(text); err != nil {
			out.refuse(columnTo, reason.ToInvalid)
		}
	}
	if len(out.problems) == 0 && out.row.To < out.row.From {
		out.refuse(columnTo, reason.ToBeforeFrom)
	}
	return out
}

func (c *columns) readToken(values []string, out *row) {
	token, err := keys.ParseToken(values[c.token])
	switch {
	case err != nil || token.TokenEpoch == 0: // epochs are counted from 1 on
		out.refuse(columnToken, reason.TokenMalformed)
	case token.Scheme == keys.SchemeNoRelease:
		out.refuse(columnToken, reason.TokenRelease)
	}
	out.key, out.row.Token = table.KeyOf(&token), token.Value
}

func (c *columns) readOrganisation(values []string, out *row) {
	code := values[c.organisation]
	switch {
	case !odsCode.MatchString(code) || nhsnumber.In(code): // columns that were exchanged
		out.refuse(columnOrganisation, reason.OrganisationInvalid)
	case slices.Contains(defaultCodes, code):
		out.refuse(columnOrganisation, reason.OrganisationDefault)
	default:
		out.row.Organisation = table.Organisation(code)
	}
	switch {
	case c.relationship < 0 && practiceCode.MatchString(code):
		out.row.Kind = table.Registered
	case c.relationship < 0:
		out.row.Kind = table.Other
	case values[c.relationship] == registered:
		out.row.Kind = table.Registered
	case values[c.relationship] == other:
		out.row.Kind = table.Other
	default:
		out.refuse(columnRelationship, reason.RelationshipUnknown)
	}
}

func (r *row) refuse(field string, code reason.Code) {
	r.problems = append(r.problems, reason.Problem{Field: field, Code: code})
}
