package oversight

import (
	"time"

	"tarn/keys/fault"
	"tarn/keys/reidentify"
)

// CalendarMonth is one month of the calendar, in London. Its text is as in 2026-11.
type CalendarMonth struct {
	Year  int
	Month time.Month
}

const monthLayout = "2006-01"

// MonthOf returns the month in which a moment is.
func MonthOf(t time.Time) CalendarMonth {
	y, m, _ := t.In(reidentify.London()).Date()
	return CalendarMonth{y, m}
}

// ParseMonth reads a month. The error is of kind [fault.Usage] and does not repeat it.
func ParseMonth(text string) (CalendarMonth, error) {
	t, err := time.Parse(monthLayout, text)
	if err != nil {
		return CalendarMonth{}, fault.New(fault.Usage, "reading a month", "it is no month of the form 2026-11", "give year and month")
	}
	return CalendarMonth{t.Year(), t.Month()}, nil
}

// String returns it as in 2026-11.
func (m CalendarMonth) String() string {
	return time.Date(m.Year, m.Month, 1, 0, 0, 0, 0, time.UTC).Format(monthLayout)
}

// MarshalText implements [encoding.TextMarshaler].
func (m CalendarMonth) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *CalendarMonth) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMonth(string(text))
	return err
}

// Add returns the month that many months later.
func (m CalendarMonth) Add(months int) CalendarMonth {
	t := time.Date(m.Year, m.Month+time.Month(months), 1, 0, 0, 0, 0, time.UTC)
	return CalendarMonth{t.Year(), t.Month()}
}

// Bounds returns when it begins, and when the next one does.
func (m CalendarMonth) Bounds() (from, to time.Time) {
	return time.Date(m.Year, m.Month, 1, 0, 0, 0, 0, reidentify.London()), time.Date(m.Year, m.Month+1, 1, 0, 0, 0, 0, reidentify.London())
}
