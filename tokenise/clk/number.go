package clk

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDigits is the number of digits beyond which Python's int and str refuse a
// number (sys.get_int_max_str_digits; leading zeros count).
const maxDigits = 4300

// asciiNumber does what Python's int and float do to a string first: decimal
// digits of any script become ASCII ones, white space around is dropped. It
// reports false where a character is left that no number holds. What it
// returns is valid until scratch is used again.
func asciiNumber(scratch, text []byte) ([]byte, bool) {
	text = bytes.TrimFunc(text, unicode.IsSpace)
	scratch = scratch[:0]
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		if r < utf8.RuneSelf {
			scratch = append(scratch, byte(r))
		} else if digit := decimalDigit(r); digit >= 0 {
			scratch = append(scratch, '0'+byte(digit))
		} else {
			return nil, false
		}
	}
	return scratch, true
}

// decimalDigit returns the value of a character of category Nd, else -1. Every
// run of these characters starts with a zero and has a multiple of ten.
func decimalDigit(r rune) int {
	for _, run := range unicode.Nd.R16 {
		if r <= rune(run.Hi) {
			if r < rune(run.Lo) {
				return -1
			}
			return int(r-rune(run.Lo)) % 10
		}
	}
	for _, run := range unicode.Nd.R32 {
		if r <= rune(run.Hi) {
			if r < rune(run.Lo) {
				return -1
			}
			return int(r-rune(run.Lo)) % 10
		}
	}
	return -1
}

// integer does str(int(text)): it returns the number without white space,
// plus sign, underscores and leading zeros; -0 is 0. What it returns is valid
// until scratch is used again.
func integer(scratch, text []byte) ([]byte, bool) {
	number, ok := asciiNumber(scratch, text)
	if !ok || len(number) == 0 {
		return nil, false
	}
	to, at := 0, 0
	if number[0] == '-' || number[0] == '+' {
		at = 1
		if number[0] == '-' {
			to = 1
		}
	}
	digits := to
	seen := 0
	underscore := true // where none may stand: at the start, and after another
	for ; at < len(number); at++ {
		c := number[at]
		if c == '_' && !underscore {
			underscore = true
			continue
		}
		if c < '0' || c > '9' {
			return nil, false
		}
		underscore = false
		seen++
		if c == '0' && to == digits {
			continue
		}
		number[to] = c
		to++
	}
	if underscore || seen > maxDigits {
		return nil, false
	}
	if to == digits {
		return append(number[:0], '0'), true
	}
	return number[:to], true
}

// isPlain reports whether a text is a number as integer would return it: up to
// 18 ASCII digits, the first not 0.
func isPlain(text []byte) bool {
	if len(text) == 0 || len(text) > 18 || text[0] == '0' {
		return false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// float does float(text). Infinities and what is not a number are refused:
// no number can be made of them.
func float(scratch, text []byte) (float64, bool) {
	number, ok := asciiNumber(scratch, text)
	if !ok {
		return 0, false
	}
	to := 0
	digit := func(i int) bool { return i >= 0 && i < len(number) && number[i] >= '0' && number[i] <= '9' }
	for at, c := range number {
		switch {
		case c == '_':
			if !digit(at-1) || !digit(at+1) {
				return 0, false
			}
			continue
		case digit(at), strings.IndexByte("+-.eE", c) >= 0:
		default: // Go's other forms: hexadecimal, inf, nan
			return 0, false
		}
		number[to] = c // at or before what was read: digit looks at what is unchanged
		to++
	}
	v, err := strconv.ParseFloat(string(number[:to]), 64)
	return v, err == nil
}

// compareDecimals compares two numbers in the form that integer returns.
func compareDecimals(a, b []byte) int {
	negativeA, negativeB := a[0] == '-', b[0] == '-'
	switch {
	case negativeA && !negativeB:
		return -1
	case negativeB && !negativeA:
		return 1
	case negativeA:
		a, b = b[1:], a[1:]
	}
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return bytes.Compare(a, b)
}
