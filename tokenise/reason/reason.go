// Package reason names why a row or one of its fields was not used. The codes
// are stable: pipelines, dashboards and the quarantine file rely on them.
package reason

import "cmp"

// Code is a stable reason code; the empty Code means nothing is wrong.
type Code string

// Codes of single fields. They are warnings: the row goes on without the field.
const (
	NHSNumberLength     Code = "nhs_number_length"      // not ten digits
	NHSNumberCheckDigit Code = "nhs_number_check_digit" // modulus 11 fails
	NHSNumberRepeated   Code = "nhs_number_repeated"    // one digit ten times
	NHSNumberTestRange  Code = "nhs_number_test_range"  // 999 000 0000 to 999 999 9999
	NHSNumberCHI        Code = "nhs_number_chi"         // a Scottish CHI number: gets a token
	NHSNumberHSCNI      Code = "nhs_number_hsc_ni"      // a Northern Irish H&C number: gets a token
	DateOfBirthInvalid  Code = "date_of_birth_invalid"
	DateOfBirthDefault  Code = "date_of_birth_default" // 1900-01-01 and its like
	DateOfBirthFuture   Code = "date_of_birth_future"
	PostcodeInvalid     Code = "postcode_invalid"
	PostcodePseudo      Code = "postcode_pseudo" // ZZ99: no fixed abode, abroad
	NameJunk            Code = "name_junk"       // "baby", "unknown", "test"
	NameEmpty           Code = "name_empty"      // something was given and nothing is left of it
	SexUnknown          Code = "sex_unknown"
)

// Codes of whole rows and of ids. The row is refused.
const (
	RowMalformed             Code = "row_malformed"        // not a row of this table
	RowEncoding              Code = "row_encoding"         // not text in the file's character encoding
	RowTooLong               Code = "row_too_long"         // longer than the limit
	RowNothingLinkable       Code = "row_nothing_linkable" // neither a number nor demographics
	UniqueIDDuplicate        Code = "unique_id_duplicate"  // not the first row with this id
	UniqueIDEmpty            Code = "unique_id_empty"
	UniqueIDLooksLikeNumbers Code = "unique_id_looks_like_nhs_number" // of a column, not a row: ends the run
)

// Codes of cells that should hold a token.
const (
	TokenMalformed Code = "token_malformed" // no token's text form: tarn token parse says what is wrong
	TokenOther     Code = "token_other"     // of another scheme, domain or epoch than those that are rotated
)

// Codes of relationships. The row is refused.
const (
	TokenRelease        Code = "token_release"        // a release token: nobody can open it, and nobody has to do with it
	OrganisationInvalid Code = "organisation_invalid" // no ODS code: 3 to 10 of A-Z and 0-9
	OrganisationDefault Code = "organisation_default" // V81997 to V81999: no practice, or not known
	FromInvalid         Code = "from_invalid"         // not written as 2006-01-02, or missing
	ToInvalid           Code = "to_invalid"           // not written as 2006-01-02
	ToBeforeFrom        Code = "to_before_from"
	RelationshipUnknown Code = "relationship_unknown" // neither registered nor other
)

// Problem is one reason at one place: a field, or the row where Field is empty.
type Problem struct {
	Field string // canonical field name
	Code  Code
}

// Compare orders problems by field, then by code.
func Compare(a, b Problem) int {
	return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Code, b.Code))
}

// Harmless reports that the code says what is so, and nothing is to be
// corrected.
func (c Code) Harmless() bool {
	return c == NHSNumberCHI || c == NHSNumberHSCNI || c == PostcodePseudo
}

// Advice says what to do about a field that could not be used, or a row that was
// refused, for this reason; empty where there is nothing to say.
func (c Code) Advice() string {
	switch c {
	case RowMalformed:
		return "these rows have another number of fields than the header, or are no rows: often quotation marks or line breaks within fields"
	case RowEncoding:
		return "these rows are not text in the table's encoding: give it with --encoding, or write the table as UTF-8"
	case RowTooLong:
		return "these rows are too long to be rows: often a quotation mark that is never closed"
	case UniqueIDDuplicate:
		return "only the first row of each id is used: give every row an id of its own, or run with --unique-id row"
	case UniqueIDEmpty:
		return "give every row an id, or run with --unique-id row"
	case RowNothingLinkable:
		return "these rows have neither an NHS number nor enough else to link on: tokeniser profile says which fields are missing or unusable"
	case NHSNumberLength:
		return "check that the column holds ten-digit numbers and that no spreadsheet has dropped leading zeros or rounded them"
	case NHSNumberCheckDigit:
		return "these numbers were mistyped or are not NHS numbers: check which column they come from, and trace them"
	case NHSNumberRepeated, NHSNumberTestRange:
		return "placeholders and test patients: remove them at the source"
	case NHSNumberCHI, NHSNumberHSCNI:
		return "Scottish or Northern Irish numbers, used as they are: nothing to do unless the source should hold English numbers only"
	case DateOfBirthInvalid:
		return "write dates as yyyy-MM-dd with a year of four digits"
	case DateOfBirthDefault:
		return "a default stands for unknown dates: leave them empty at the source"
	case DateOfBirthFuture:
		return "check the century of two-digit years and the order of day and month"
	case PostcodeInvalid:
		return "write whole postcodes; truncated ones and districts cannot be compared"
	case PostcodePseudo:
		return "these postcodes stand for no fixed abode or abroad: nothing to do"
	case NameJunk:
		return "placeholders stand where names should: leave them empty at the source"
	case NameEmpty:
		return "these names have no letter that can be written in a to z: send the transliteration the source holds"
	case TokenMalformed:
		return "these cells hold no token: tarn token parse says what is wrong with one"
	case TokenOther:
		return "these tokens are of another scheme, domain or epoch: give the record that they were made with"
	case TokenRelease:
		return "release tokens are never opened: give the tokens of the domain"
	case OrganisationInvalid:
		return "write ODS codes, capital letters and digits, not names"
	case OrganisationDefault:
		return "codes that stand for no practice: leave these rows out at the source"
	case FromInvalid, ToInvalid:
		return "write days as 2026-11-26; leave the last empty where there is none yet"
	case ToBeforeFrom:
		return "the last day comes before the first: often the columns are exchanged"
	case RelationshipUnknown:
		return "write registered for the practice that a patient is registered with, else other"
	case SexUnknown:
		return "these codes say unknown, or are of another code list: map them to 1, 2, 9 or M, F, I"
	}
	return ""
}
