package demographics_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"tarn/tokenise/demographics"
)

// seed adds the inputs of a kind of the golden table to those in testdata/fuzz.
func seed(f *testing.F, kinds ...string) {
	cases, err := readGolden()
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range cases[1:] {
		if slices.Contains(kinds, c.fields[0]) {
			f.Add(unescape(c.fields[1]))
		}
	}
}

// FuzzName: a name is what the slow twin says, whichever way it is asked for,
// and normalising it again changes nothing.
func FuzzName(f *testing.F) {
	seed(f, "name", "name-formal")
	var names demographics.Names
	f.Fuzz(func(t *testing.T, raw string) {
		parts, code := demographics.Name(raw)
		if want, wantCode := readSlow().name(raw); !slices.Equal(parts, want) || string(code) != wantCode {
			t.Fatalf("got %q %q, want %q %q", parts, code, want, wantCode)
		}
		if again, code2 := names.Append(nil, raw); !slices.Equal(again, parts) || code2 != code {
			t.Fatalf("got %q %q, of Names %q %q", parts, code, again, code2)
		}
		if again, _ := demographics.Name(strings.Join(parts, " ")); !slices.Equal(again, parts) {
			t.Fatalf("%q became %q", parts, again)
		}
		formal := demographics.Formal(parts)
		if again := demographics.Formal(formal); !slices.Equal(again, formal) || !slices.IsSorted(formal) {
			t.Fatalf("formal %q became %q", formal, again)
		}
	})
}

// FuzzDate: what is taken for a date is one day of the calendar, is the same
// when read again, and has its year written in the text.
func FuzzDate(f *testing.F) {
	seed(f, "date")
	f.Fuzz(func(t *testing.T, raw string) {
		d, code := demographics.ParseDate(raw, today)
		if d.IsZero() {
			if code == "" && readSlow().shown(raw) != "" {
				t.Fatal("something was given and neither a date nor a code came of it")
			}
			return
		}
		if again, code2 := demographics.ParseDate(d.String(), today); again != d || code != "" || code2 != "" {
			t.Fatalf("%v became %v %q", d, again, code2)
		}
		if d.After(today) || d.Year < 1880 || d.Month < 1 || d.Month > 12 || d.Day < 1 || d.Day > 31 {
			t.Fatalf("no day to be born on: %v", d)
		}
		if !strings.Contains(norm.NFKC.String(shownCharacters(raw)), d.String()[:4]) {
			t.Fatalf("%v, whose year is not in the text", d)
		}
	})
}

// shownCharacters drops what is not seen.
func shownCharacters(raw string) string {
	return strings.Map(func(r rune) rune {
		if readSlow().unseen[r] != "" {
			return -1
		}
		return r
	}, raw)
}

// FuzzPostcode: what is taken for a postcode has the format of one, is the same
// when read again, and differs from the text by O and 0, I and 1 only.
func FuzzPostcode(f *testing.F) {
	seed(f, "postcode")
	swap := strings.NewReplacer("O", "0", "I", "1", " ", "", "-", "", ".", "")
	f.Fuzz(func(t *testing.T, raw string) {
		got, code := demographics.Postcode(raw)
		if got == "" {
			if code == "" && readSlow().shown(raw) != "" {
				t.Fatal("something was given and neither a postcode nor a code came of it")
			}
			return
		}
		if again, code2 := demographics.Postcode(got); again != got || code != "" || code2 != "" {
			t.Fatalf("%q became %q %q", got, again, code2)
		}
		if got[len(got)-4] != ' ' || !validPostcode.MatchString(strings.Replace(got, " ", "", 1)) {
			t.Fatalf("%q is no postcode", got)
		}
		text := strings.Map(func(r rune) rune {
			switch does := readSlow().divide[r]; {
			case does == "space" || does == "hyphen":
				return -1
			case r >= '！' && r <= '～':
				return r - '！' + '!'
			}
			return r
		}, shownCharacters(raw))
		if text = strings.ToUpper(text); swap.Replace(text) != swap.Replace(got) {
			t.Fatalf("%+q became %q", text, got)
		}
		if want := readSlow().postcode(strings.ReplaceAll(text, ".", "")); got != want {
			t.Fatalf("%+q became %q, the slow twin has %q", text, got, want)
		}
	})
}

// FuzzTextCodeSex: the smaller normalisers give only what they promise, and the
// same when asked again.
func FuzzTextCodeSex(f *testing.F) {
	seed(f, "text", "code", "sex")
	f.Fuzz(func(t *testing.T, raw string) {
		text := demographics.Text(raw)
		if want := readSlow().fold(raw, notWords); !slices.Equal(text, want) {
			t.Fatalf("text %q, want %q", text, want)
		}
		if again := demographics.Text(strings.Join(text, " ")); !slices.Equal(again, text) {
			t.Fatalf("text %q became %q", text, again)
		}
		code := demographics.Code(raw)
		if demographics.Code(code) != code || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
			t.Fatalf("code %q", code)
		}
		letter, reason := demographics.Sex(raw)
		if letter != 0 && (!strings.ContainsRune("MFI", rune(letter)) || reason != "") {
			t.Fatalf("sex %q with %q", letter, reason)
		}
		if letter == 0 && (reason == "") != (readSlow().shown(raw) == "") {
			t.Fatalf("no sex and %q", reason)
		}
	})
}
