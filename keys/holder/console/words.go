package console

import (
	"fmt"
	"strings"
	"time"

	"tarn/keys/reidentify"
)

// What pages say in words.

var purposeWords = map[reidentify.Purpose]string{
	reidentify.Treatment:          "Direct care of this patient",
	reidentify.EmergencyTreatment: "Emergency treatment",
	reidentify.CareManagement:     "Care by the patients' own practices",
	reidentify.QualityImprovement: "Clinical audit and quality improvement",
	reidentify.Research:           "Research",
	reidentify.PublicHealth:       "Public health",
	reidentify.PatientSafety:      "Patient safety",
	reidentify.Complaint:          "The patient has asked",
}

func purposeText(p string) string {
	if text := purposeWords[reidentify.Purpose(p)]; text != "" {
		return text
	}
	return p
}

var reasonWords = map[string]string{
	"care": "To care for the patient", "emergency": "An emergency", "invitation": "To invite patients", "safety": "Something may harm the patient", "audit": "Clinical audit",
	"study": "A study that was approved", "patient-asked": "The patient has asked", "other": "Something else",
}

func reasonText(code string) string {
	if text := reasonWords[code]; text != "" {
		return text
	}
	return code
}

var stateWords = map[string]string{
	string(reidentify.Ready): "Ready to open", string(reidentify.Pending): "Waiting for approval", string(reidentify.Refused): "Refused", string(reidentify.Opened): "Opened",
	string(reidentify.Expired): "Expired", string(reidentify.Void): "Taken back",
}

// stateColours are those of the design system's tags.
var stateColours = map[string]string{
	string(reidentify.Ready): "green", string(reidentify.Pending): "yellow", string(reidentify.Refused): "red", string(reidentify.Opened): "blue",
	string(reidentify.Expired): "grey", string(reidentify.Void): "grey",
}

func stateText(s string) string { return stateWords[s] }

// sentence begins a text with a capital letter and ends it with a full stop.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if strings.ContainsAny(text[len(text)-1:], ".?!") {
		return text
	}
	return text + "."
}

// londonTime is a moment as people in England write it, after the NHS's content guide.
func londonTime(t time.Time) string {
	t = t.In(reidentify.London())
	clock := t.Format("3:04pm")
	if t.Minute() == 0 {
		clock = t.Format("3pm")
	}
	return t.Format("2 January 2006") + ", " + clock
}

// whenText is londonTime for templates: empty of no moment.
func whenText(t any) string {
	switch t := t.(type) {
	case time.Time:
		return londonTime(t)
	case *time.Time:
		if t != nil {
			return londonTime(*t)
		}
	}
	return ""
}

// lastDay is the last day before a moment; records that never end have a year that nobody
// sees.
func lastDay(end time.Time) string {
	if end.Year() >= 2900 {
		return "no end date"
	}
	return londonDay(end.Add(-time.Nanosecond))
}

func londonDay(t time.Time) string { return t.In(reidentify.London()).Format("2 January 2006") }

// until says how long it is until a moment, or how long ago it was.
func until(t, now time.Time) string {
	if d := t.Sub(now); d >= 0 {
		return "in " + span(d)
	}
	return span(now.Sub(t)) + " ago"
}

// span is a duration in its two largest units.
func span(d time.Duration) string {
	d = d.Round(time.Minute)
	days, hours, minutes := int(d/(24*time.Hour)), int(d/time.Hour)%24, int(d/time.Minute)%60
	switch {
	case days > 0 && hours > 0:
		return count(days, "day") + " " + count(hours, "hour")
	case days > 0:
		return count(days, "day")
	case hours > 0 && minutes > 0:
		return count(hours, "hour") + " " + count(minutes, "minute")
	case hours > 0:
		return count(hours, "hour")
	case minutes > 0:
		return count(minutes, "minute")
	}
	return "less than a minute"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// groups writes an NHS number as the NHS does: 3, 3 and 4 digits.
func groups(number string) []string {
	if len(number) != 10 {
		return []string{number}
	}
	return []string{number[:3], number[3:6], number[6:]}
}
