package demographics

import (
	"time"

	"tarn/tokenise/reason"
)

// Date is a calendar date; the zero Date is missing.
type Date struct{ Year, Month, Day int }

// IsZero reports whether there is no date.
func (d Date) IsZero() bool { return d == Date{} }

// String returns the date as 2006-01-02.
func (d Date) String() string {
	var b [10]byte
	return string(d.Append(b[:0]))
}

// Append appends the date as 2006-01-02.
func (d Date) Append(b []byte) []byte {
	return append(b, byte('0'+d.Year/1000%10), byte('0'+d.Year/100%10), byte('0'+d.Year/10%10), byte('0'+d.Year%10), '-',
		byte('0'+d.Month/10), byte('0'+d.Month%10), '-', byte('0'+d.Day/10), byte('0'+d.Day%10))
}

// DayBefore returns the day before.
func (d Date) DayBefore() Date {
	return DateOf(time.Date(d.Year, time.Month(d.Month), d.Day-1, 0, 0, 0, 0, time.UTC))
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

// earliestYear is the first year of birth that is believed: nobody born
// before it lives, and data sets that hold the dead do not go further back.
const earliestYear = 1880

// ParseDate reads a date of birth: yyyy-MM-dd, yyyyMMdd, dd/MM/yyyy,
// dd-MMM-yyyy and ddMMMyyyy (month in English), with two equal separators of -,
// /, . or a blank, with or without a time of day. Hyphens and blanks may be any
// that there are. A time and its zone are checked and not used: the date is the
// one that is written. today is the latest date that is valid.
//
// The zero Date comes with the reason: date_of_birth_default for a date of the
// table default_dates, date_of_birth_invalid for what is no calendar date in
// one of these forms or before 1880 (years of two digits are invalid: the
// century would be guessed), date_of_birth_future, or none where nothing was
// given.
func ParseDate(raw string, today Date) (Date, reason.Code) {
	var memory [48]byte
	text, ok := plain(memory[:0], raw)
	if ok && len(text) == 0 {
		return Date{}, ""
	}
	var d Date
	if ok {
		d, ok = readDate(text)
	}
	switch {
	case !ok:
		return Date{}, reason.DateOfBirthInvalid
	case defaultDates[d]:
		return Date{}, reason.DateOfBirthDefault
	case d.Year < earliestYear || !d.calendar():
		return Date{}, reason.DateOfBirthInvalid
	case d.After(today):
		return Date{}, reason.DateOfBirthFuture
	}
	return d, ""
}
