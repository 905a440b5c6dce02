package demographics

import "strings"

// defaultDates is the table default_dates, monthNames the table month_names.
var (
	defaultDates = loadDefaultDates()
	monthNames   = loadMonthNames()
)

func loadDefaultDates() map[Date]bool {
	dates := map[Date]bool{}
	for _, line := range lines(TableDefaultDates) {
		text, _, _ := strings.Cut(line, " ")
		d, ok := readDate([]byte(text))
		if !ok {
			bad(TableDefaultDates, line)
		}
		dates[d] = true
	}
	return dates
}

func loadMonthNames() map[string]int {
	months := map[string]int{}
	for _, line := range lines(TableMonthNames) {
		fields := strings.Fields(line)
		month := tableNumber(TableMonthNames, line, fields[0], 10)
		for _, name := range fields[1:] {
			months[name] = month
		}
	}
	return months
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// reader takes a plain text apart from the front.
type reader struct {
	text []byte
	at   int
}

func (r *reader) done() bool { return r.at == len(r.text) }

// number takes the digits there are, at most most of them, and returns how
// many they were.
func (r *reader) number(most int) (n, digits int) {
	for !r.done() && digits < most && digit(r.text[r.at]) {
		n = 10*n + int(r.text[r.at]-'0')
		digits++
		r.at++
	}
	return n, digits
}

// one takes a character of a set, and reports whether there was one.
func (r *reader) one(set string) (byte, bool) {
	if r.done() || !in(r.text[r.at], set) {
		return 0, false
	}
	r.at++
	return r.text[r.at-1], true
}

// month takes the letters there are and returns the month that they name, 0 for
// none.
func (r *reader) month() int {
	start := r.at
	for !r.done() && r.text[r.at] >= 'a' && r.text[r.at] <= 'z' {
		r.at++
	}
	return monthNames[string(r.text[start:r.at])]
}

// readDate reads a date and what may follow it. It does not ask whether the
// calendar has that date.
func readDate(text []byte) (d Date, ok bool) {
	r := reader{text: text}
	n, digits := r.number(8)
	switch digits {
	case 8:
		d = Date{n / 10000, n / 100 % 100, n % 100}
		return d, r.ends() || r.basicTime()
	case 4:
		d.Year = n
		before, _ := r.one("-/. ")
		d.Month, digits = r.number(2)
		if after, ok := r.one("-/. "); digits == 0 || !ok || after != before {
			return Date{}, false
		}
		d.Day, digits = r.number(2)
		return d, digits > 0 && r.ends()
	case 1, 2:
		d.Day = n
		before, _ := r.one("-/. ")
		if d.Month, digits = r.number(2); digits == 0 {
			d.Month = r.month()
			digits = d.Month
		}
		if after, _ := r.one("-/. "); digits == 0 || after != before {
			return Date{}, false
		}
		if d.Year, digits = r.number(4); digits != 4 {
			return Date{}, false
		}
		if before == 0 && !r.done() && r.text[r.at] == ':' { // 22OCT1973:00:00:00, of SAS
			r.at++
			return d, r.time()
		}
		return d, r.ends()
	}
	return Date{}, false
}
