// Package nhsnumber reads NHS numbers as people and systems write them and
// says what kind of number each is. It keeps nothing and prints nothing.
package nhsnumber

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

// Parse reads a number. Its digits may be grouped by blanks, hyphens or
// underscores of any kind anywhere, and by full stops after the third and the
// sixth; be full-width; stand in quotation marks or after the apostrophe or the
// equals sign that make spreadsheets keep text; and end in the ".0" of a number
// that was read as a fraction. Everything else is no number: ten digits that a
// lost leading zero, a minus sign, an exponent or a second number leaves in doubt
// are never completed or cut. The Number is set for every state that may identify a
// person, and zero otherwise.
func Parse(raw string) (Number, State, Problem) {
	var n Number
	var r reading
	for _, c := range raw {
		if c >= '０' && c <= '９' {
			c += '0' - '０'
		}
		if c >= '0' && c <= '9' {
			r.digit(&n, byte(c))
		} else {
			r.other(c)
		}
	}
	switch {
	case r.digits == 0 && !r.wrong:
		return Number{}, Absent, None
	case r.digits != len(n) || r.wrong || r.negative:
		return Number{}, Invalid, WrongLength
	}
	return judge(n)
}

// reading is how far Parse has come.
type reading struct {
	digits   int
	fraction bool // a full stop came after the tenth digit
	ended    bool // something else came after the fraction
	wrong    bool // something that no number has
	negative bool // a minus sign came before the first digit
}

func (r *reading) digit(n *Number, c byte) {
	switch {
	case r.fraction:
		r.wrong = r.wrong || r.ended || c != '0'
	case r.digits < len(n):
		n[r.digits] = c
		r.digits++
	default:
		r.wrong = true
	}
}

func (r *reading) other(c rune) {
	r.ended = r.fraction
	r.negative = r.negative || r.digits == 0 && (c == '-' || c == '\u2212')
	switch {
	case c == '.' && r.digits == len(Number{}) && !r.fraction:
		r.fraction = true
	case c == '.':
		r.wrong = r.wrong || r.digits != 0 && r.digits != 3 && r.digits != 6
	case c == '=':
		r.wrong = r.wrong || r.digits > 0
	case !separator(c):
		r.wrong = true
	}
}

// separator accepts what people put between and around the groups of a number:
// blanks, hyphens and dashes, quotation marks, and characters that are not
// seen.
func separator(c rune) bool {
	switch c {
	case ' ', '\t', '\n', '\r', '-', '_', '\'', '"', '`', '\u0085', '\u00a0', '\u00ad', '\u00b4', '\u061c', '\u1680', '\u202f', '\u205f', '\u2060',
		'\u2212', '\u3000', '\ufe58', '\ufe63', '\ufeff', '\uff0d', '\x00', '\v', '\f':
		return true
	}
	return c >= '\u2000' && c <= '\u2015' || // spaces, zero-width characters, dashes
		c >= '\u2018' && c <= '\u201f' || // quotation marks
		c >= '\u2028' && c <= '\u202e' || // line ends, marks of direction
		c >= '\u2066' && c <= '\u2069'
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

// chi reports whether the first six digits are a day, month and year, as a CHI
// number's are: 010101 0000 to 311299 9999. Numbers of England, Wales and the
// Isle of Man begin with 4, 6, 7 or 9.
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
