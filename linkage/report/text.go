package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

const (
	fewer = "fewer than 10"
	held  = "hidden" // not small itself, but would give a small one away

	nearlyAll = "nearly all" // all but one to nine
)

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// countText is a count as the report shows it.
func countText(n int64) string {
	if disclosure.Small(n) {
		return fewer
	}
	return thousands(disclosure.Round(n))
}

// partTexts are counts that add up to a known total as the report shows them.
func partTexts(counts []int64) []string {
	texts := make([]string, len(counts))
	for i, shown := range disclosure.Parts(counts) {
		switch {
		case shown != nil:
			texts[i] = thousands(*shown)
		case disclosure.Small(counts[i]):
			texts[i] = fewer
		default:
			texts[i] = held
		}
	}
	return texts
}

// percent writes a share with this many decimals, and never as 100% or 0%
// where it is neither.
func percent(v float64, decimals int) string {
	unit := math.Pow(10, -float64(decimals))
	p := v * 100
	rounded := math.Round(p/unit) * unit
	switch {
	case v < 1 && rounded >= 100:
		return "over " + strconv.FormatFloat(100-unit, 'f', decimals, 64) + "%"
	case v > 0 && rounded <= 0:
		return "under " + strconv.FormatFloat(unit, 'f', decimals, 64) + "%"
	case v == 1 || v == 0:
		return strconv.FormatFloat(p, 'f', 0, 64) + "%"
	}
	return strconv.FormatFloat(rounded, 'f', decimals, 64) + "%"
}

// plainPercent is percent for axes and bounds: rounded, in digits only.
func plainPercent(v float64, decimals int) string {
	s := strconv.FormatFloat(v*100, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s + "%"
}

// fixedPercent is a share with one decimal, for columns of them.
func fixedPercent(v float64) string { return strconv.FormatFloat(v*100, 'f', 1, 64) + "%" }

// estimateText is "99.95% (95% interval 99.90% to 99.98%)".
func estimateText(e *result.Estimate) string {
	if e == nil {
		return "not known"
	}
	return fmt.Sprintf("%s (95%% interval %s to %s)", percent(e.Value, 2), percent(e.Lo, 2), percent(e.Hi, 2))
}

func shortEstimate(e *result.Estimate) string {
	if e == nil {
		return "not known"
	}
	return fmt.Sprintf("%s (%s to %s)", percent(e.Value, 2), percent(e.Lo, 2), percent(e.Hi, 2))
}

func signed(v float64) string {
	s := strconv.FormatFloat(math.Abs(v), 'f', 2, 64)
	switch {
	case s == "0.00":
		return s
	case v < 0:
		return "−" + s
	}
	return "+" + s
}

// probability writes a threshold without rounding .999 to 1.
func probability(v float64) string { return strconv.FormatFloat(v, 'g', 5, 64) }

func optional(v *float64) string {
	if v == nil {
		return "not known"
	}
	return probability(*v)
}

// share is present/rows as the report shows it: from rounded counts, and
// hidden where one side is small. value is NaN where it is hidden.
func share(part, whole int64) (value float64, text string) {
	switch {
	case whole == 0:
		return math.NaN(), "no records"
	case disclosure.Small(whole):
		return math.NaN(), "too few"
	case disclosure.Small(part):
		return math.NaN(), fewer
	case part < whole && disclosure.Small(whole-part):
		return math.NaN(), nearlyAll
	}
	v := float64(disclosure.Round(part)) / float64(disclosure.Round(whole))
	return min(v, 1), percent(min(v, 1), 1)
}

// list joins names as prose: "a, b and c".
func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// fieldName writes the name of a field or block column as prose.
func fieldName(field string) string {
	field = strings.TrimPrefix(field, "blk_")
	switch field {
	case "nhs_number":
		return "NHS number"
	case "dob":
		return "date of birth"
	}
	return strings.ReplaceAll(field, "_", " ")
}

// units of short numbers, the largest first.
var units = [...]struct {
	at   float64
	name string
}{{1e12, "T"}, {1e9, "bn"}, {1e6, "m"}, {1e3, "k"}}

// approximate writes a number to three digits: 1,234,565 as 1.23m.
func approximate(v float64) string {
	if v < 1000 {
		return compact(v)
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	r := math.Round(v/unit) * unit
	for _, u := range units {
		if r >= u.at {
			return strconv.FormatFloat(r/u.at, 'g', 3, 64) + u.name
		}
	}
	return compact(r)
}

// compact writes an axis number briefly: 1,500 as 1.5k.
func compact(v float64) string {
	a := math.Abs(v)
	for _, u := range units {
		if a >= u.at {
			return strconv.FormatFloat(v/u.at, 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
