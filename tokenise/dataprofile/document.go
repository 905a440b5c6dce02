// Package dataprofile says how fit a table is for linkage before anything is
// encoded: what is there, what is valid, what is duplicated, which rows could
// be linked by what, what to correct and who can.
//
// It counts and never repeats a value, so that a profile may be shown to people
// who may not see the table: a count of 1 to 9 rows is hidden, and so are the
// counts from which it would follow. What exactly is promised is said at hide
// and published; docs/formats.md says it to readers of a profile.
package dataprofile

// Schema is the schema member of a data profile.
const Schema = "tarn.data-profile/1"

// SuppressedBelow is the smallest count other than 0 that is shown.
const SuppressedBelow = 10

// Document is a data profile. A count is nil where it is hidden or not known;
// it is never 0 for that.
type Document struct {
	Schema          string     `json:"schema"`
	Software        string     `json:"software"`
	Created         string     `json:"created"`
	Input           Input      `json:"input"`
	Columns         []Column   `json:"columns"`
	Fields          []Field    `json:"fields"`
	Duplicates      Duplicates `json:"duplicates"`
	Linkable        Linkable   `json:"linkable"`
	Advice          []Advice   `json:"advice"`
	MapDigest       string     `json:"map_digest"`
	SuppressedBelow int        `json:"suppressed_below"`
}

// Input is the table.
type Input struct {
	Format    string  `json:"format"`
	Rows      int64   `json:"rows"`
	Refused   *int64  `json:"refused"` // of the rows, those that cannot be read
	Bytes     *int64  `json:"bytes"`   // nil of standard input
	Delimiter *string `json:"delimiter"`
	Encoding  *string `json:"encoding"`
	Header    bool    `json:"header"`
}

// Column is one column of the table and what it was taken for. With a map that
// was given there are none.
type Column struct {
	Column         string  `json:"column"`
	Field          *string `json:"field"`
	Confidence     *string `json:"confidence"`
	Reason         *string `json:"reason"`
	Used           bool    `json:"used"`
	RefusedBecause *string `json:"refused_because"`
}

// Field is one field that a column holds. present + missing is every row of the
// table, and present is valid and the codes of values that cannot be used.
type Field struct {
	Field   string `json:"field"`
	Present *int64 `json:"present"` // something is given
	Valid   *int64 `json:"valid"`   // of these, usable
	Missing *int64 `json:"missing"` // nothing is given; rows that cannot be read among them
	// Codes counts rows by what is to be said of their value: every code that the
	// field can have.
	Codes map[string]*int64 `json:"codes"`
	// Small names the hidden counts of this field that are 1 to 9: "missing",
	// "valid" or a code. Others are hidden because a small one would follow from
	// them. Where all are hidden it is empty: which are small is not told then.
	Small         []string `json:"small"`
	DistinctRatio *float64 `json:"distinct_ratio"` // of the usable values
	DefaultValues *int64   `json:"default_values"` // dates and postcodes that stand for "not known"; nil of other fields
}

// Duplicates counts rows that repeat an earlier one: nil also where there are
// too many different values to remember.
type Duplicates struct {
	ExactRows     *int64 `json:"exact_rows"`
	NHSNumberRows *int64 `json:"nhs_number_rows"`
	UniqueIDRows  *int64 `json:"unique_id_rows"`
}

// Linkable counts rows by what they could be linked on.
type Linkable struct {
	ByToken        *int64 `json:"by_token"`
	ByDemographics *int64 `json:"by_demographics"` // a date of birth and a name
	Neither        *int64 `json:"neither"`         // rows that cannot be read among them
}

// Advice is one thing to do, most useful first. It follows from the rest of
// the document, so it tells nothing that is hidden there.
type Advice struct {
	Field string   `json:"field"` // or "table"
	Code  *string  `json:"code"`  // of the problem, where it has one
	Rows  *int64   `json:"rows"`  // that would gain; nil where that is hidden
	Share *float64 `json:"share"` // of the rows
	By    string   `json:"by"`    // who can do it
	Text  string   `json:"text"`
}
