package demographics

import (
	"strings"
	"time"

	"tarn/tokenise/reason"
)

// Date is a calendar date; the zero Date is missing.
type Date struct{ Year, Month, Day int }

// IsZero reports whether there is no date.
func (d Date) IsZero() bool { return d == Date{} }

// String returns the date as 2006-01-02.
func (d Date) String() string {
	b := make([]byte, 0, 10)
	b = append(b, byte('0'+d.Year/1000%10), byte('0'+d.Year/100%10), byte('0'+d.Year/10%10), byte('0'+d.Year%10), '-',
		byte('0'+d.Month/10), byte('0'+d.Month%10), '-', byte('0'+d.Day/10), byte('0'+d.Day%10))
	return string(b)
}

// After reports whether d is later than o.
func (d Date) After(o Date) bool {
	if d.Year != o.Year {
		return d.Year > o.Year
	}
	if d.Month != o.Month {
		return d.Month > o.Month
	}
	return d.Day > o.Day
}

// DateOf returns the date of t in its own zone.
func DateOf(t time.Time) Date {
	year, month, day := t.Date()
	return Date{year, int(month), day}
}

// earliestYear is the first year of birth that is believed: nobody born
// before it lives, and data sets that hold the dead do not go further back.
const earliestYear = 1880

// defaults are dates that systems store when they do not know one.
var defaults = []Date{{1900, 1, 1}, {1901, 1, 1}}

// ParseDate reads a date of birth: yyyy-MM-dd, yyyyMMdd, dd/MM/yyyy and
// dd-MMM-yyyy, with -, /, . or a space between, with or without a time.
// today is the latest date that is valid.
//
// The zero Date comes with the reason: date_of_birth_invalid for what is no
// calendar date in one of these forms (years of two digits among them: the
// century would be guessed), date_of_birth_default, date_of_birth_future, or
// none where nothing was given.
func ParseDate(raw string, today Date) (Date, reason.Code) {
	text := strings.TrimFunc(raw, blank)
	if text == "" {
		return Date{}, ""
	}
	d, ok := readDate(dayPart(text))
	if !ok || d.Year < earliestYear || !d.calendar() {
		return Date{}, reason.DateOfBirthInvalid
	}
	for _, known := range defaults {
		if d == known {
			return Date{}, reason.DateOfBirthDefault
		}
	}
	if d.After(today) {
		return Date{}, reason.DateOfBirthFuture
	}
	return d, ""
}

// dayPart cuts a time of day off: everything from a T or a space that a digit
// follows and a colon comes after.
func dayPart(text string) string {
	for i := 1; i+1 < len(text); i++ {
		if (text[i] == 'T' || text[i] == 't' || text[i] == ' ') && digit(text[i+1]) && timeOfDay(strings.TrimSpace(text[i+1:])) {
			return strings.TrimRight(text[:i], " ")
		}
	}
	return text
}

// timeOfDay accepts h:mm and everything that may follow it: seconds,
// fractions, a zone.
func timeOfDay(text string) bool {
	colon := strings.IndexByte(text, ':')
	if colon < 1 || colon > 2 || len(text) < colon+3 || !digit(text[colon+1]) || !digit(text[colon+2]) {
		return false
	}
	for i := range len(text) {
		if c := text[i]; !digit(c) && !strings.ContainsRune(":.+-ZzAPMapm ", rune(c)) {
			return false
		}
	}
	return true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func readDate(text string) (Date, bool) {
	if len(text) == 8 && allDigits(text) {
		return Date{number(text[:4]), number(text[4:6]), number(text[6:])}, true
	}
	a, b, c, ok := threeParts(text)
	if !ok || !allDigits(a) || !allDigits(c) {
		return Date{}, false
	}
	month, named := monthNamed(b)
	switch {
	case len(a) == 4 && len(c) <= 2 && !named && len(b) <= 2 && allDigits(b):
		return Date{number(a), number(b), number(c)}, true
	case len(a) <= 2 && len(c) == 4 && named:
		return Date{number(c), month, number(a)}, true
	case len(a) <= 2 && len(c) == 4 && len(b) <= 2 && allDigits(b):
		return Date{number(c), number(b), number(a)}, true
	}
	return Date{}, false
}

// threeParts splits at two equal separators.
func threeParts(text string) (a, b, c string, ok bool) {
	i := strings.IndexAny(text, "-/. ")
	if i < 1 {
		return "", "", "", false
	}
	a, rest := text[:i], text[i+1:]
	j := strings.IndexByte(rest, text[i])
	if j < 1 || j+1 >= len(rest) {
		return "", "", "", false
	}
	b, c = rest[:j], rest[j+1:]
	return a, b, c, true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !digit(s[i]) {
			return false
		}
	}
	return len(s) > 0
}

func number(s string) (n int) {
	for i := range len(s) {
		n = 10*n + int(s[i]-'0')
	}
	return n
}

const monthNames = "janfebmaraprmayjunjulaugsepoctnovdec"

// monthNamed reads the English name of a month, whole or its first three
// letters (and sept).
func monthNamed(s string) (int, bool) {
	if len(s) < 3 {
		return 0, false
	}
	s = strings.ToLower(s)
	i := strings.Index(monthNames, s[:3])
	if i < 0 || i%3 != 0 {
		return 0, false
	}
	month := i/3 + 1
	whole := strings.ToLower(time.Month(month).String())
	return month, len(s) == 3 || s == whole || s == "sept"
}

func (d Date) calendar() bool {
	if d.Month < 1 || d.Month > 12 || d.Day < 1 {
		return false
	}
	days := [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[d.Month-1]
	if d.Month == 2 && d.Year%4 == 0 && (d.Year%100 != 0 || d.Year%400 == 0) {
		days = 29
	}
	return d.Day <= days
}
