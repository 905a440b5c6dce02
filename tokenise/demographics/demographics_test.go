package demographics_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"tarn/tokenise/demographics"
	"tarn/tokenise/reason"
)

var today = demographics.Date{Year: 2026, Month: 1, Day: 1}

func TestDates(t *testing.T) {
	for raw, want := range map[string]struct {
		date string
		code reason.Code
	}{
		"1973-10-22": {"1973-10-22", ""}, "19731022": {"1973-10-22", ""}, "22/10/1973": {"1973-10-22", ""}, "22-OCT-1973": {"1973-10-22", ""},
		" 1973-10-22T00:00:00Z ": {"1973-10-22", ""}, "22/10/1973 00:00": {"1973-10-22", ""}, "1973-10-22 00:00:00.000": {"1973-10-22", ""},
		"29/02/2000": {"2000-02-29", ""}, "29/02/1900": {"", reason.DateOfBirthInvalid}, "31/04/1990": {"", reason.DateOfBirthInvalid},
		"22/10/73": {"", reason.DateOfBirthInvalid}, "10/22/1973": {"", reason.DateOfBirthInvalid}, "1973-10-22 garbage": {"", reason.DateOfBirthInvalid},
		"1900-01-01": {"", reason.DateOfBirthDefault}, "01/01/1901": {"", reason.DateOfBirthDefault}, "2026-01-02": {"", reason.DateOfBirthFuture},
		"2026-01-01": {"2026-01-01", ""}, "": {"", ""}, "   ": {"", ""},
	} {
		d, code := demographics.ParseDate(raw, today)
		got := ""
		if !d.IsZero() {
			got = d.String()
		}
		if got != want.date || code != want.code {
			t.Errorf("%q: got %q %q, want %q %q", raw, got, code, want.date, want.code)
		}
	}
}

func TestPostcodes(t *testing.T) {
	for raw, want := range map[string]struct {
		postcode string
		code     reason.Code
	}{
		"SW1A 2AA": {"SW1A 2AA", ""}, "sw1a2aa": {"SW1A 2AA", ""}, "M1 1AE": {"M1 1AE", ""}, "L1O 1AA": {"L10 1AA", ""}, "BI 1AA": {"B1 1AA", ""},
		"ZZ99 3VZ": {"", reason.PostcodePseudo}, "ABC": {"", reason.PostcodeInvalid}, "": {"", ""},
	} {
		if got, code := demographics.Postcode(raw); got != want.postcode || code != want.code {
			t.Errorf("%q: got %q %q, want %q %q", raw, got, code, want.postcode, want.code)
		}
	}
}

func TestNames(t *testing.T) {
	for raw, want := range map[string]string{
		"Zoë Mary": "mary zoe", "O'Brien-Jones": "jones obrien", "BJØRN": "bjorn", "Łukasz": "lukasz", "Mr John": "john", "Lord": "lord", "STRAẞE": "strasse", "": "", "Unknown": "",
	} {
		parts, _ := demographics.Name(raw)
		sorted := slices.Sorted(slices.Values(parts))
		if got := strings.Join(sorted, " "); got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
}

// TestDateForms: the same day gives the same date in every form.
func TestDateForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := demographics.Date{Year: rapid.IntRange(1902, 2025).Draw(t, "year"), Month: rapid.IntRange(1, 12).Draw(t, "month"), Day: rapid.IntRange(1, 28).Draw(t, "day")}
		iso := d.String()
		year, month, day := iso[:4], iso[5:7], iso[8:]
		for _, raw := range []string{iso, year + month + day, day + "/" + month + "/" + year, iso + "T10:11:12"} {
			if got, code := demographics.ParseDate(raw, today); got != d || code != "" {
				t.Fatalf("%q gives %v %q", raw, got, code)
			}
		}
	})
}

// FuzzEverything: no text makes a normaliser panic, what comes out is of the
// promised alphabet, and normalising it again changes nothing.
func FuzzEverything(f *testing.F) {
	for _, seed := range []string{"", "Zoë", "\xff\xfe", "SW1A 2AA", "1973-10-22", "22-OCT-1973", "İpek", "O'Brien", "\u200b", "ﬃ", "1900-01-01T"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if d, code := demographics.ParseDate(raw, today); !d.IsZero() {
			if again, _ := demographics.ParseDate(d.String(), today); again != d || code != "" {
				t.Fatal("a date does not parse to itself")
			}
		}
		if postcode, _ := demographics.Postcode(raw); postcode != "" {
			if again, _ := demographics.Postcode(postcode); again != postcode {
				t.Fatal("a postcode does not normalise to itself")
			}
		}
		parts, _ := demographics.Name(raw)
		for _, part := range parts {
			if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz") != "" || !utf8.ValidString(part) {
				t.Fatal("a part of a name holds more than letters a to z")
			}
		}
		if letter, _ := demographics.Sex(raw); letter != 0 && !strings.ContainsRune("MFI", rune(letter)) {
			t.Fatalf("a sex of %q", letter)
		}
		if code := demographics.Code(raw); demographics.Code(code) != code {
			t.Fatal("a code does not normalise to itself")
		}
		for _, part := range demographics.Text(raw) {
			if part == "" {
				t.Fatal("a text has an empty part")
			}
		}
	})
}
