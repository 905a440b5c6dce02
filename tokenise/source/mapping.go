package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"tarn/keys/fault"
)

// UniqueIDField is the canonical name of the column that identifies rows.
const UniqueIDField = "unique_id"

// RowID stands for the row number in place of a column that identifies rows.
const RowID = "row"

// MapSchema is the schema member of a column map.
const MapSchema = "tarn.column-map/1"

// How sure the mapping is of a column.
const (
	ConfidenceExact = "exact" // the canonical name itself
	ConfidenceKnown = "known" // a name that a known system uses
	ConfidenceGiven = "given" // by a map or a flag
)

// Found is what was made of one column of the input.
type Found struct {
	Column     string
	Field      string // canonical field, empty where there is none
	Confidence string
	Reason     string // in words
	Used       bool
	// RefusedBecause says why a column that looks like a field is not taken.
	RefusedBecause string
}

// Mapping says which column holds which field.
type Mapping struct {
	// Fields gives, for each canonical or profile field, its column.
	Fields map[string]string
	// UniqueID is the column that identifies rows, or RowID.
	UniqueID string
	// Absent names fields that the table is known not to have. Without it, a
	// table that lacks a field which the profile encodes is refused: most often
	// the column has another name.
	Absent    []string
	Confirmed bool // somebody has looked at it
	// Columns tells of every column of the header, in its order; empty for a
	// mapping that was loaded.
	Columns []Found
}

// known are the names, as squash leaves them, by which systems call the
// canonical fields, the surest first.
var known = []struct {
	field string
	names []string
}{
	{"unique_id", []string{"UNIQUEID", "RECORDID", "RECID", "ROWID", "ID", "PERSONID", "PATIENTID", "LOCALPATIENTIDENTIFIER", "LOCALPATIENTID", "HOSPITALNUMBER", "SOURCEID"}},
	{"nhs_number", []string{"NHSNUMBER", "NHSNO", "NHSNUM", "NEWNHSNO", "PATIENTNHSNUMBER"}},
	{"given_name", []string{"GIVENNAME", "FIRSTNAME", "FORENAME", "FORENAME1", "PATIENTFORENAME", "PERSONGIVENNAME"}},
	{"other_given_names", []string{"OTHERGIVENNAMES", "OTHERGIVENNAME", "MIDDLENAMES", "MIDDLENAME", "OTHERFORENAMES"}},
	{"family_name", []string{"FAMILYNAME", "SURNAME", "LASTNAME", "PATIENTSURNAME", "PERSONFAMILYNAME"}},
	{"previous_family_name", []string{"PREVIOUSFAMILYNAME", "PREVIOUSSURNAME", "BIRTHSURNAME", "MAIDENNAME"}},
	{"date_of_birth", []string{"DATEOFBIRTH", "DATEBIRTH", "DOB", "BIRTHDTTM", "BIRTHDATE", "PERSONBIRTHDATE", "PATIENTDOB"}},
	{"sex", []string{"SEX", "GENDER", "PERSONSTATEDGENDER", "PERSONSTATEDGENDERCODE", "ADMINISTRATIVEGENDER"}},
	{"postcode", []string{"POSTCODE", "FULLPOSTCODE", "HOMEADDRESSPOSTCODE", "POSTCODETXT", "POSTCODEOFUSUALADDRESS", "HOMEADD", "PATIENTPOSTCODE"}},
	{"gp_practice_code", []string{"GPPRACTICECODE", "PRACTICECODE", "GPPRAC"}},
}

// notThePatient are beginnings, as squash leaves them, of columns about
// somebody else.
var notThePatient = []string{"MOTHER", "FATHER", "PARENT", "BABY", "CARER", "NEXTOFKIN", "NOK", "GPPRACTICEPOSTCODE", "PRACTICEPOSTCODE", "GPNAME", "CLINICIAN", "CONSULTANT"}

// squash gives a column name upper-cased, letters and digits only.
func squash(name string) string {
	var b strings.Builder
	for _, r := range strings.ToUpper(name) {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// FindMapping finds the canonical fields among the columns by their names, and
// the extra fields, which a profile names, by equal names. It takes no column
// that is about somebody else, and no column of pseudonyms as an identifier.
func FindMapping(header, extra []string) *Mapping {
	m := &Mapping{Fields: map[string]string{}, Columns: make([]Found, len(header))}
	rank := map[string]int{}
	at := map[string]int{}
	for i, column := range header {
		found := Found{Column: column}
		field, order, own := fieldAmong(column, extra)
		if own {
			found.Confidence, found.Reason = ConfidenceExact, "the profile's own field"
		}
		if why := refusedBecause(column); why != "" {
			found.RefusedBecause = why
			m.Columns[i] = found
			continue
		}
		found.Field = field
		if field != "" && found.Confidence == "" {
			found.Confidence, found.Reason = ConfidenceKnown, "a known name of "+field
			if strings.EqualFold(column, field) {
				found.Confidence, found.Reason = ConfidenceExact, "the canonical name"
			}
		}
		if field != "" {
			if other, taken := at[field]; taken {
				loser := i
				if order < rank[field] {
					loser, at[field], rank[field] = other, i, order
					found.Used = true
					m.Columns[other].Used = false
				}
				why := "another column is taken for " + field
				if loser == i {
					found.RefusedBecause = why
				} else {
					m.Columns[other].RefusedBecause = why
				}
			} else {
				at[field], rank[field], found.Used = i, order, true
			}
		}
		m.Columns[i] = found
	}
	for field, i := range at {
		if field == UniqueIDField {
			m.UniqueID = header[i]
		} else {
			m.Fields[field] = header[i]
		}
	}
	return m
}

func fieldOf(column string) (field string, order int) {
	name := squash(column)
	for _, k := range known {
		if order := slices.Index(k.names, name); order >= 0 {
			return k.field, order
		}
	}
	return "", 0
}

// FieldNamed returns the field that a column is taken for by its name: a
// canonical one, or one of the extra fields that a profile names; "" for none.
func FieldNamed(column string, extra []string) string {
	if refusedBecause(column) != "" {
		return ""
	}
	field, _, _ := fieldAmong(column, extra)
	return field
}

// fieldAmong returns the field of a column's name; own says that it is none of
// the canonical ones.
func fieldAmong(column string, extra []string) (field string, order int, own bool) {
	field, order = fieldOf(column)
	for _, name := range extra {
		if field == "" && squash(name) == squash(column) {
			field, own = name, true
		}
	}
	return field, order, own
}

func refusedBecause(column string) string {
	name := squash(column)
	if strings.HasPrefix(name, "PSEUDO") {
		return "it names pseudonyms, not identifiers"
	}
	for _, prefix := range notThePatient {
		if strings.HasPrefix(name, prefix) {
			return "it is about somebody or something else than the patient"
		}
	}
	return ""
}

// Digest returns the SHA-256, in hex, of the fields and their columns, sorted,
// a line each.
func (m *Mapping) Digest() string {
	h := sha256.New()
	for _, field := range m.sortedFields() {
		fmt.Fprintf(h, "%s=%s\n", field, m.Fields[field])
	}
	fmt.Fprintf(h, "%s=%s\n", UniqueIDField, m.UniqueID)
	return hex.EncodeToString(h.Sum(nil))
}

func (m *Mapping) sortedFields() []string {
	fields := make([]string, 0, len(m.Fields))
	for field := range m.Fields {
		fields = append(fields, field)
	}
	slices.Sort(fields)
	return fields
}

// Resolve returns the position of each field's column, that of the column which
// identifies rows under UniqueIDField. A column that is not there is of kind
// [fault.Usage].
func (m *Mapping) Resolve(header []string) (map[string]int, error) {
	positions := map[string]int{}
	at := func(field, column string) error {
		i := slices.Index(header, strings.TrimSpace(column)) // as headers are read
		if i < 0 {
			return fault.New(fault.Usage, "mapping columns to fields", "the input has no column "+column+", which the map gives for "+field, "correct the map, or give the table it was made for")
		}
		positions[field] = i
		return nil
	}
	for _, field := range m.sortedFields() {
		if err := at(field, m.Fields[field]); err != nil {
			return nil, err
		}
	}
	if m.UniqueID != RowID && m.UniqueID != "" {
		if err := at(UniqueIDField, m.UniqueID); err != nil {
			return nil, err
		}
	}
	return positions, nil
}

// CheckFields refuses fields that are neither canonical nor among the extra ones
// that a profile names, with kind [fault.Usage].
func (m *Mapping) CheckFields(extra []string) error {
	names := slices.Clone(extra)
	for _, k := range known {
		names = append(names, k.field)
	}
	for _, field := range slices.Concat(m.sortedFields(), m.Absent) {
		if !slices.Contains(names, field) {
			slices.Sort(names)
			return fault.New(fault.Usage, "mapping columns to fields", "the map names a field that is not known", "the fields are "+strings.Join(slices.Compact(names), ", "))
		}
	}
	return nil
}

// Show adds columns that were left out of the header to those that are told of.
func (m *Mapping) Show(leftOut []string) {
	for _, column := range leftOut {
		m.Columns = append(m.Columns, Found{Column: column, RefusedBecause: "it has objects, lists or bytes in it"})
	}
}

// WriteText writes the mapping for a person to confirm.
func (m *Mapping) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, c := range m.Columns {
		c.Column = printable(c.Column)
		switch {
		case c.Used:
			fmt.Fprintf(&b, "  %-24s -> %-22s %s\n", c.Column, c.Field, c.Reason)
		case c.RefusedBecause != "":
			fmt.Fprintf(&b, "  %-24s    not used: %s\n", c.Column, c.RefusedBecause)
		default:
			fmt.Fprintf(&b, "  %-24s    not used\n", c.Column)
		}
	}
	if m.UniqueID == "" {
		b.WriteString("  no column identifies rows: give --unique-id COLUMN, or --unique-id row for the row's number\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable replaces what would move a terminal's cursor.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, name)
}
