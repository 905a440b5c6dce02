package dataprofile

import (
	"fmt"
	"strings"
	"testing"

	"tarn/tokenise/reason"
)

// seen is a count as a reader sees it.
func seen(n *int64) string {
	if n == nil {
		return "*"
	}
	return fmt.Sprint(*n)
}

// gathered are the values that a hidden count takes in tables that are shown
// alike: none is remembered beyond the second.
type gathered map[string][2]int64

func (g gathered) add(key string, value int64) {
	if two, ok := g[key]; !ok {
		g[key] = [2]int64{value, value}
	} else if value != two[0] {
		g[key] = [2]int64{two[0], value}
	}
}

func (g gathered) pinned() (keys []string) {
	for key, two := range g {
		if two[0] == two[1] {
			keys = append(keys, key)
		}
	}
	return keys
}

// TestLinkableFollowsFromNothing: whatever is shown of the fields, what is
// hidden of linkable rows can be one thing or another.
func TestLinkableFollowsFromNothing(t *testing.T) {
	for _, size := range []struct{ limit, rows int64 }{{4, 8}, {4, 9}, {4, 13}, {5, 12}, {10, 22}} {
		counts := []int64{0, size.rows} // what can be shown of a field
		for n := size.limit; n <= size.rows-size.limit; n++ {
			counts = append(counts, n)
		}
		found := gathered{}
		for _, number := range counts {
			for _, date := range counts {
				for _, given := range counts {
					for _, family := range counts {
						linkable(overlap{rows: size.rows, number: exactly(number), date: exactly(date), given: exactly(given), family: exactly(family)}, size.limit, found)
					}
				}
			}
		}
		if bad := found.pinned(); len(bad) > 0 {
			t.Errorf("limit %d, %d rows: %d hidden counts follow from what is shown, such as %s", size.limit, size.rows, len(bad), bad[0])
		}
	}
}

// linkable goes through all that the counts of the fields leave open.
func linkable(o overlap, limit int64, found gathered) {
	number, date, given, family := o.number.lo, o.date.lo, o.given.lo, o.family.lo
	for o.byDemographics = max(0, date+max(given, family)-o.rows); o.byDemographics <= min(date, given+family); o.byDemographics++ {
		for o.neither = max(0, o.rows-number-o.byDemographics); o.neither <= o.rows-max(number, o.byDemographics); o.neither++ {
			o.judge(limit)
			key := fmt.Sprint(number, date, given, family)
			if o.showDemographics {
				key += fmt.Sprint(" by demographics ", o.byDemographics)
			}
			if o.showNeither {
				key += fmt.Sprint(" neither ", o.neither)
			}
			if !o.showDemographics {
				found.add(key+" by demographics *", o.byDemographics)
			}
			if !o.showNeither {
				found.add(key+" neither *", o.neither)
			}
		}
	}
}

// TestDocumentTellsNothingHidden takes every table of some sizes, with numbers,
// dates that may be wrong, names and rows that cannot be read, and asks of each
// hidden count of the document whether another table is shown alike.
func TestDocumentTellsNothingHidden(t *testing.T) {
	for _, size := range []struct{ rows, mostRefused int64 }{{7, 7}, {8, 8}, {9, 6}, {12, 0}} {
		found := gathered{}
		for refused := int64(0); refused <= size.mostRefused; refused++ {
			every(size.rows, refused, found)
		}
		if bad := found.pinned(); len(bad) > 0 {
			t.Errorf("%d rows: %d hidden counts follow from what is shown, such as %s", size.rows, len(bad), bad[0])
		}
	}
}

func every(rows, refused int64, found gathered) {
	readable := rows - refused
	for number := range readable + 1 {
		for date := range readable + 1 {
			for wrong := range readable - date + 1 {
				for given := range readable + 1 {
					for demographics := max(0, date+given-readable); demographics <= min(date, given); demographics++ {
						for neither := max(0, readable-number-demographics); neither <= readable-max(number, demographics); neither++ {
							read(&counts{rows: rows, refused: refused, byDemographics: demographics, neither: neither, fields: []fieldCounts{
								{name: "date_of_birth", missing: readable - date - wrong, plain: date, useless: []coded{{reason.DateOfBirthInvalid, wrong}}},
								{name: "given_name", missing: readable - given, plain: given},
								{name: "nhs_number", missing: readable - number, plain: number},
							}}, found)
						}
					}
				}
			}
		}
	}
}

// read adds the hidden counts of a document to what is found.
func read(c *counts, found gathered) {
	d := c.published(4)
	var key strings.Builder
	hidden := map[string]int64{}
	see := func(name string, shown *int64, truth int64) {
		key.WriteString(name + seen(shown) + " ")
		if shown == nil {
			hidden[name] = truth
		}
	}
	see("refused ", d.Input.Refused, c.refused)
	for i := range d.Fields {
		f, truth := &d.Fields[i], &c.fields[i]
		see(f.Field+" valid ", f.Valid, truth.valid())
		see(f.Field+" missing ", f.Missing, truth.missing+c.refused)
		see(f.Field+" present ", f.Present, c.rows-truth.missing-c.refused)
		for _, code := range truth.useless {
			see(string(code.code)+" ", f.Codes[string(code.code)], code.rows)
		}
		fmt.Fprint(&key, f.Small, " ")
	}
	see("by number ", d.Linkable.ByToken, c.fields[2].valid())
	see("by demographics ", d.Linkable.ByDemographics, c.byDemographics)
	see("neither ", d.Linkable.Neither, c.neither+c.refused)
	for name, truth := range hidden {
		found.add(key.String()+"tells "+name, truth)
	}
}

// TestLeasts: what the terminal says a hidden count is at least, it is.
func TestLeasts(t *testing.T) {
	told := 0
	for missing := range int64(25) {
		for wrong := range int64(25) {
			for _, refused := range []int64{0, 3, 30} {
				c := &counts{rows: 100 + refused, refused: refused, fields: []fieldCounts{
					{name: "date_of_birth", missing: missing, plain: 100 - missing - wrong, useless: []coded{{reason.DateOfBirthFuture, 0}, {reason.DateOfBirthDefault, 0}, {reason.DateOfBirthInvalid, wrong}}}}}
				d := c.published(SuppressedBelow)
				present, valid := d.Fields[0].leasts(&d.Input)
				if present != nil {
					told++
				}
				if present != nil && *present > 100-missing || valid != nil && *valid > 100-missing-wrong {
					t.Errorf("%d missing, %d wrong, %d refused: at least %s and %s", missing, wrong, refused, seen(present), seen(valid))
				}
			}
		}
	}
	if told < 200 {
		t.Errorf("only %d were told: the test is blind", told)
	}
}
