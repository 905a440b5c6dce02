package clk

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// date is a day of the proleptic Gregorian calendar, years 1 to 9999.
type date struct{ year, month, day int }

// unknown is a part that the text did not give.
const unknown = -1

// dateParts are what a text says of a date, as Python's _strptime gathers it.
type dateParts struct {
	year, isoYear    int
	month, day       int
	week, isoWeek    int
	weekStartsMonday bool
	weekday          int // Monday is 0
	yearDay          int
}

func newDateParts() dateParts {
	return dateParts{year: unknown, isoYear: unknown, month: 1, day: 1, week: unknown, isoWeek: unknown, weekday: unknown, yearDay: unknown}
}

var (
	weekdayNames = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	monthNames   = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
)

// set takes what a directive matched. Of two directives for one part the
// second counts.
func (d *dateParts) set(directive byte, text string) bool {
	switch directive {
	case 'y':
		if d.year = smallNumber(text) + 1900; d.year <= 1968 {
			d.year += 100
		}
	case 'Y':
		d.year = smallNumber(text)
	case 'G':
		d.isoYear = smallNumber(text)
	case 'm':
		d.month = smallNumber(text)
	case 'B', 'b':
		d.month = 1 + nameIndex(monthNames, text)
		return d.month > 0
	case 'd':
		d.day = smallNumber(strings.TrimPrefix(text, " "))
	case 'A', 'a':
		d.weekday = nameIndex(weekdayNames, text)
		return d.weekday >= 0
	case 'w':
		d.weekday = (smallNumber(text) + 6) % 7
	case 'u':
		d.weekday = smallNumber(text) - 1
	case 'j':
		d.yearDay = smallNumber(text)
	case 'U', 'W':
		d.week, d.weekStartsMonday = smallNumber(text), directive == 'W'
	case 'V':
		d.isoWeek = smallNumber(text)
	case 'S':
		return smallNumber(text) < 60 // strptime knows leap seconds, datetime does not
	case 'z':
		return validOffset(text)
	}
	return true
}

// smallNumber returns the value of digits of any script.
func smallNumber(text string) (n int) {
	for _, r := range text {
		if r >= '0' && r <= '9' {
			n = 10*n + int(r-'0')
		} else {
			n = 10*n + decimalDigit(r)
		}
	}
	return n
}

// nameIndex returns which name a match is, by its first three letters, or -1
// where it has others that only fold to the right ones.
func nameIndex(names []string, text string) int {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return -1
		}
	}
	text = strings.ToLower(text)
	for i, name := range names {
		if strings.HasPrefix(text, name) {
			return i
		}
	}
	return -1
}

// validOffset reports whether Python makes a time zone of what %z matched:
// colons everywhere or nowhere, and less than a day.
func validOffset(text string) bool {
	if text == "Z" {
		return true
	}
	clock, _, _ := strings.Cut(text[1:], ".")
	parts := strings.Split(clock, ":")
	if utf8.RuneCountInString(clock) > 4 && len(parts) == 2 && utf8.RuneCountInString(clock) != 5 {
		return false // +01:3045 or +0130:45
	}
	hours := []rune(clock)[:2]
	return smallNumber(string(hours)) < 24
}

// date works out the day as _strptime does, with what that refuses.
func (d dateParts) date() (date, bool) {
	switch {
	case d.year == unknown && d.isoYear != unknown:
		if d.isoWeek == unknown || d.weekday == unknown || d.yearDay != unknown {
			return date{}, false
		}
	case d.week == unknown && d.isoWeek != unknown:
		return date{}, false
	}
	leapDay := d.year == unknown && d.month == 2 && d.day == 29
	if leapDay {
		d.year = 1904
	} else if d.year == unknown {
		d.year = 1900
	}
	if d.yearDay == unknown && d.weekday != unknown && !d.fromWeek() {
		return date{}, false
	}
	result := date{d.year, d.month, d.day}
	if d.yearDay != unknown {
		if d.year < 1 {
			return date{}, false
		}
		// Day 366 of a common year is the first of the next.
		t := time.Date(d.year, 1, d.yearDay, 0, 0, 0, 0, time.UTC)
		result = date{t.Year(), int(t.Month()), t.Day()}
	} else if !result.valid() {
		return date{}, false
	}
	if leapDay {
		result.year = 1900 // so that a 29 February without a year is refused after all
	}
	return result, result.valid()
}

// fromWeek finds the day of the year from a week and a weekday, if there is a
// week.
func (d *dateParts) fromWeek() bool {
	switch {
	case d.week != unknown:
		if d.year < 1 {
			return false
		}
		d.yearDay = d.yearDayOfWeek()
	case d.isoYear != unknown && d.isoWeek != unknown:
		if d.isoYear < 1 {
			return false
		}
		fourth := time.Date(d.isoYear, 1, 4, 0, 0, 0, 0, time.UTC)
		d.year = d.isoYear
		d.yearDay = 7*d.isoWeek + d.weekday + 1 - (mondayFirst(fourth) + 1 + 3)
		if d.yearDay < 1 {
			if d.year--; d.year < 1 {
				return false
			}
			d.yearDay += daysIn(d.year)
		}
	default:
		return true
	}
	if d.yearDay <= 0 {
		if d.year--; d.year < 1 {
			return false
		}
		d.yearDay += daysIn(d.year)
	}
	return true
}

func (d *dateParts) yearDayOfWeek() int {
	first, weekday := mondayFirst(time.Date(d.year, 1, 1, 0, 0, 0, 0, time.UTC)), d.weekday
	if !d.weekStartsMonday {
		first, weekday = (first+1)%7, (weekday+1)%7
	}
	if d.week == 0 {
		return 1 + weekday - first
	}
	return 1 + (7-first)%7 + 7*(d.week-1) + weekday
}

func mondayFirst(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }

func daysIn(year int) int {
	return time.Date(year, 12, 31, 0, 0, 0, 0, time.UTC).YearDay()
}

func (d date) valid() bool {
	t := time.Date(d.year, time.Month(d.month), d.day, 0, 0, 0, 0, time.UTC)
	return d.year >= 1 && d.year <= 9999 && t.Year() == d.year && int(t.Month()) == d.month && t.Day() == d.day
}

// appendDigits does strftime("%Y%m%d"): where the C library is glibc, years
// before 1000 are not padded.
func (d date) appendDigits(b []byte) []byte {
	b = strconv.AppendInt(b, int64(d.year), 10)
	b = append(b, '0'+byte(d.month/10), '0'+byte(d.month%10))
	return append(b, '0'+byte(d.day/10), '0'+byte(d.day%10))
}
