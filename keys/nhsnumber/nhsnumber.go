// Package nhsnumber reads NHS numbers as people and systems write them and
// says what kind of number each is. It keeps nothing and prints nothing.
package nhsnumber

import "strings"

// Number is an NHS number as ten ASCII digits.
type Number [10]byte

// State says what was found where an NHS number was looked for.
type State uint8

// The states. Valid, CHI and HSCNI numbers identify a person; Test numbers do
// so in tests only.
const (
	Absent  State = iota // nothing was given
	Valid                // a number of England, Wales or the Isle of Man
	Invalid              // something was given that is no number
	Test                 // 999 000 0000 to 999 999 9999, never issued
	CHI                  // a Scottish Community Health Index number
	HSCNI                // a Northern Irish Health and Care number
)

var stateNames = [...]string{Absent: "absent", Valid: "valid", Invalid: "invalid", Test: "test", CHI: "chi", HSCNI: "hsc_ni"}

// String returns the state as cohorts carry it.
func (s State) String() string { return stateNames[s] }

// Identifies reports whether a number of this state may get a token. test says
// that test numbers may.
func (s State) Identifies(test bool) bool {
	return s == Valid || s == CHI || s == HSCNI || s == Test && test
}

// Problem says what is wrong with, or special about, a number.
type Problem uint8

// The problems.
const (
	None            Problem = iota
	WrongLength             // not ten digits
	WrongCheckDigit         // modulus 11 fails
	Repeated                // one digit ten times
	TestRange               // state Test
	CHIRange                // state CHI
	HSCNIRange              // state HSCNI
)

var problemNames = [...]string{
	None: "", WrongLength: "nhs_number_length", WrongCheckDigit: "nhs_number_check_digit", Repeated: "nhs_number_repeated",
	TestRange: "nhs_number_test_range", CHIRange: "nhs_number_chi", HSCNIRange: "nhs_number_hsc_ni",
}

// String returns the problem's stable code, empty for None.
func (p Problem) String() string { return problemNames[p] }

// Parse reads a number. Digits may be grouped by spaces, hyphens, dots or
// underscores of any kind, be full-width, stand in quotes, and end in the ".0"
// that spreadsheets add. The Number is set for every state that may identify a
// person, and zero otherwise.
func Parse(raw string) (Number, State, Problem) {
	var n Number
	digits, other := 0, false
	raw = strings.TrimSuffix(strings.TrimSpace(raw), ".0")
	for _, r := range raw {
		switch {
		case r >= '０' && r <= '９':
			r += '0' - '０'
			fallthrough
		case r >= '0' && r <= '9':
			if digits < len(n) {
				n[digits] = byte(r)
			}
			digits++
		case separator(r):
		default:
			other = true
		}
	}
	if digits == 0 && !other {
		return Number{}, Absent, None
	}
	if digits != len(n) || other {
		return Number{}, Invalid, WrongLength
	}
	return judge(n)
}

// separator accepts what people put between and around the groups of a number.
func separator(r rune) bool {
	switch r {
	case ' ', '\t', '-', '.', '_', '\'', '"', '\u00a0', '\u00ad', '\u2007', '\u2009', '\u200a', '\u202f', '\u3000', '\ufeff',
		'\u2010', '\u2011', '\u2012', '\u2013', '\u2014', '\u2015', '\u2212', '\uff0d', '\u200b':
		return true
	}
	return r >= '\u2000' && r <= '\u200b'
}

func judge(n Number) (Number, State, Problem) {
	repeated := true
	for _, d := range n {
		repeated = repeated && d == n[0]
	}
	if repeated {
		return Number{}, Invalid, Repeated
	}
	if digit, ok := CheckDigit([9]byte(n[:9])); !ok || digit != n[9] {
		return Number{}, Invalid, WrongCheckDigit
	}
	switch {
	case n[0] == '9' && n[1] == '9' && n[2] == '9':
		return n, Test, TestRange
	case chi(n):
		return n, CHI, CHIRange
	case n[0] == '3' && n[1] >= '2': // 320 000 001x to 399 999 999x
		return n, HSCNI, HSCNIRange
	}
	return n, Valid, None
}

// chi reports whether the first six digits are a day and month and year, as a
// CHI number's are: 010101 0000 to 311299 9999. Numbers in use elsewhere begin
// with 4, 6, 7 or 9.
func chi(n Number) bool {
	day, month := 10*int(n[0]-'0')+int(n[1]-'0'), 10*int(n[2]-'0')+int(n[3]-'0')
	return day >= 1 && day <= 31 && month >= 1 && month <= 12
}

// CheckDigit returns the modulus 11 check digit of nine digits: weights 10 to
// 2, eleven minus the remainder, with eleven written 0. ok is false where it
// would be ten: such numbers are never issued. Source: NHS Data Dictionary, NHS
// NUMBER.
func CheckDigit(first [9]byte) (digit byte, ok bool) {
	sum := 0
	for i, d := range first {
		sum += (10 - i) * int(d-'0')
	}
	check := (11 - sum%11) % 11
	if check == 10 {
		return 0, false
	}
	return byte('0' + check), true
}
