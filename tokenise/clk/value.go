package clk

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"tarn/tokenise/reason"
)

// Codes of values that clkhash refuses. The row is refused.
const (
	ValueEncoding   reason.Code = "value_encoding"     // not in the feature's character encoding
	ValuePattern    reason.Code = "value_pattern"      // not as the pattern says
	ValueLength     reason.Code = "value_length"       // too short or too long
	ValueCase       reason.Code = "value_case"         // letters of the wrong case
	ValueNotInteger reason.Code = "value_not_integer"  // Python's int does not take it
	ValueRange      reason.Code = "value_out_of_range" // below the minimum or above the maximum
	ValueNotDate    reason.Code = "value_not_date"     // not a date of this format
	ValueNotListed  reason.Code = "value_not_listed"   // not one of the feature's values
	ValueNotNumber  reason.Code = "value_not_number"   // the numeric comparison cannot use it
)

// codes numbers the codes for the cache; 0 is a value that can be used.
var codes = [...]reason.Code{"", ValueEncoding, ValuePattern, ValueLength, ValueCase, ValueNotInteger, ValueRange, ValueNotDate, ValueNotListed, ValueNotNumber}

func codeNumber(code reason.Code) byte {
	for i, c := range codes {
		if c == code {
			return byte(i)
		}
	}
	panic("clk: a code without a number")
}

// normaliser checks values of a feature and gives them the form that is
// encoded. It is not for concurrent use.
type normaliser struct {
	*feature
	upper   cases.Caser
	scratch []byte
}

func newNormaliser(f *feature) normaliser {
	return normaliser{feature: f, upper: cases.Upper(language.Und)}
}

// value does validate and format_value of clkhash's FieldSpec: it returns the
// text whose tokens are encoded, valid until the next call.
func (n *normaliser) value(text []byte) ([]byte, reason.Code) {
	if n.sentinel != nil && string(text) == *n.sentinel {
		n.scratch = append(n.scratch[:0], n.replaceWith...)
		if n.numeric == nil && !n.encodable(n.scratch) {
			return nil, ValueEncoding // tokens of a number are ASCII again
		}
		return n.scratch, "" // neither checked nor reformatted
	}
	if !utf8.Valid(text) {
		return nil, ValueEncoding
	}
	switch n.format {
	case formatInteger:
		return n.integer(text)
	case formatDate:
		day, ok := n.dates.parse(string(text))
		if !ok {
			return nil, ValueNotDate
		}
		n.scratch = day.appendDigits(n.scratch[:0])
		return n.scratch, ""
	case formatEnum:
		if !n.values[string(text)] {
			return nil, ValueNotListed
		}
		return text, ""
	}
	return text, n.checkText(text)
}

func (n *normaliser) integer(text []byte) ([]byte, reason.Code) {
	digits := text
	if !isPlain(text) {
		var ok bool
		if digits, ok = integer(n.scratch, text); !ok {
			return nil, ValueNotInteger
		}
		n.scratch = digits
	}
	if n.minimum != nil && compareDecimals(digits, n.minimum) < 0 || n.maximum != nil && compareDecimals(digits, n.maximum) > 0 {
		return nil, ValueRange
	}
	return digits, ""
}

// encodable reports whether a text can be written in the feature's encoding.
func (n *normaliser) encodable(text []byte) bool {
	return n.encoding != encodingASCII || !slices.ContainsFunc(text, func(c byte) bool { return c >= utf8.RuneSelf })
}

func (n *normaliser) checkText(text []byte) reason.Code {
	if !n.encodable(text) {
		return ValueEncoding
	}
	if n.pattern != nil {
		if !n.pattern.Match(text) {
			return ValuePattern
		}
		return ""
	}
	if length := utf8.RuneCount(text); length < n.minLength || n.maxLength >= 0 && length > n.maxLength {
		return ValueLength
	}
	switch n.letterCase {
	case caseUpper:
		if n.upper.String(string(text)) != string(text) {
			return ValueCase
		}
	case caseLower:
		if strings.IndexFunc(string(text), changesInLower) >= 0 {
			return ValueCase
		}
	}
	return ""
}

// changesInLower reports whether Python's lower changes a character. No rule
// for several characters makes it keep one that unicode.ToLower changes.
func changesInLower(r rune) bool { return unicode.ToLower(r) != r }
