package demographics_test

import (
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"tarn/tokenise/demographics"
)

func name(raw string) string {
	parts, code := demographics.Name(raw)
	return strings.Join(parts, " ") + "|" + string(code)
}

// TestEveryCharacter: each character of Unicode between two letters gives the
// same as the slow twin says, in either case, composed and decomposed. Planes 4
// to 13, where no character is, and those for private use are left out.
func TestEveryCharacter(t *testing.T) {
	if raced {
		t.Skip("tries everything, without the race detector only: make exhaustive, which make test does")
	}
	twin := readSlow()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) || r >= 0x40000 && r < 0xe0000 || r >= 0xf0000 {
			continue
		}
		text := "q" + string(r) + "k"
		got := name(text)
		others := []string{"q" + string(unicode.ToUpper(r)) + "k", "q" + string(unicode.ToLower(r)) + "k"}
		if r > 0x7f {
			parts, code := twin.name(text)
			if want := strings.Join(parts, " ") + "|" + code; got != want {
				t.Errorf("%U: got %q, the slow twin has %q", r, got, want)
			}
			others = append(others, norm.NFC.String(text), norm.NFD.String(text))
		}
		for _, other := range others {
			if again := name(other); again != got {
				t.Errorf("%U: got %q, and of %+q %q", r, got, other, again)
			}
		}
	}
}

// TestEveryDay: no two days are taken for one another, in any of the forms.
func TestEveryDay(t *testing.T) {
	months := strings.Fields("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec")
	defaults := entries("default_dates")
	days := 0
	for year := 1880; year <= 2025; year++ {
		for month := 1; month <= 12; month++ {
			for day := 1; day <= 31; day++ {
				d := demographics.Date{Year: year, Month: month, Day: day}
				iso := d.String()
				y, m, dd := iso[:4], iso[5:7], iso[8:]
				exists := day <= 28 || day <= 30 && month != 2 || day == 31 && slices.Contains([]int{1, 3, 5, 7, 8, 10, 12}, month) ||
					day == 29 && month == 2 && year%4 == 0 && year != 1900
				if slices.ContainsFunc(defaults, func(line string) bool { return strings.HasPrefix(line, iso) }) || !exists {
					d = demographics.Date{}
				} else {
					days++
				}
				for _, raw := range []string{iso, y + m + dd, dd + "/" + m + "/" + y, dd + "-" + months[month-1] + "-" + y, dd + months[month-1] + y, iso + "T10:11:12Z", y + m + dd + "101112"} {
					if got, code := demographics.ParseDate(raw, today); got != d || (code == "") != (d != demographics.Date{}) {
						t.Fatalf("%q gives %v %q, want %v", raw, got, code, d)
					}
				}
			}
		}
	}
	if want := 146*365 + 36 - 4; days != want { // leap years from 1880 to 2024, without 1900; four default dates
		t.Errorf("%d days, want %d", days, want)
	}
}

// TestEveryPostcodeOfFewLetters: a postcode stays what it is, and what is none
// becomes the one that exchanging O and 0, I and 1 makes of it, if it is one
// only.
func TestEveryPostcodeOfFewLetters(t *testing.T) {
	if raced {
		t.Skip("tries everything, without the race detector only: make exhaustive, which make test does")
	}
	twin := readSlow()
	const alphabet = "OI01S2CPA"
	valid, corrected := 0, 0
	check := func(text string) {
		got, _ := demographics.Postcode(text)
		if want := twin.postcode(text); got != want {
			t.Fatalf("%s: got %q, want %q", text, got, want)
		}
		switch {
		case validPostcode.MatchString(text):
			valid++
			if strings.Replace(got, " ", "", 1) != text {
				t.Fatalf("%s is a postcode and became %s", text, got)
			}
		case got != "":
			corrected++
		}
	}
	var outward func(text string)
	outward = func(text string) {
		if len(text) > 1 {
			for _, inward := range []string{"1AA", "OAA", "IAA", "0AA", "10A", "1OA"} {
				check(text + inward)
			}
		}
		if len(text) < 4 {
			for _, c := range alphabet {
				outward(text + string(c))
			}
		}
	}
	outward("")
	if valid < 1000 || corrected < 1000 {
		t.Errorf("only %d postcodes and %d corrections met", valid, corrected)
	}
	t.Logf("%d postcodes, %d corrections", valid, corrected)
}
