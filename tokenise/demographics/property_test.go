package demographics_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"tarn/keys/nhsnumber"
	"tarn/tokenise/demographics"
)

// The promises about names, in both directions. Two names give the same parts
// if and only if the rules, read aloud by the slow twin, make them the same;
// what the rules do not name - another letter, another part - keeps two people
// apart.

// anyName is text such as name fields hold, with what the rules act on far more
// often than in life.
func anyName() *rapid.Generator[string] {
	words := []string{"", "mr", "Lord", "SIR", "baby", "Boy", "twin", "one", "not", "known", "do", "use", "test", "patient", "n/a", "N/A", "unknown", "aka", "zztestx", "O", "d", "Ann", "Zoë", "\u00b4", "ø", "Łukasz", "İpek", "李", "ﬁ", "7"}
	for _, table := range []string{"titles", "junk_names"} {
		for _, line := range entries(table) {
			words = append(words, strings.Fields(line)...)
		}
	}
	between := []string{" ", " ", "-", "'", ".", "", "\u2019", "\u2013", "\u00a0", "\u200b", "/", "\u0301", ","}
	return rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		for range rapid.IntRange(0, 5).Draw(t, "words") {
			b.WriteString(rapid.OneOf(rapid.SampledFrom(words), rapid.String(), rapid.StringMatching(`[a-zA-Z]{1,9}`)).Draw(t, "word"))
			b.WriteString(rapid.SampledFrom(between).Draw(t, "between"))
		}
		return b.String()
	})
}

func TestNamesAreWhatTheRulesSay(t *testing.T) {
	var names demographics.Names
	rapid.Check(t, func(t *rapid.T) {
		raw := anyName().Draw(t, "name")
		want, wantCode := readSlow().name(raw)
		got, code := demographics.Name(raw)
		if !slices.Equal(got, want) || string(code) != wantCode {
			t.Fatalf("%+q: got %q %q, want %q %q", raw, got, code, want, wantCode)
		}
		again, code := names.Append([]string{"before"}, raw)
		if !slices.Equal(again[1:], want) || string(code) != wantCode || again[0] != "before" {
			t.Fatalf("%+q: Names has %q %q, want %q %q", raw, again, code, want, wantCode)
		}
		if got, want := demographics.Text(raw), readSlow().fold(raw, notWords); !slices.Equal(got, want) {
			t.Fatalf("text %+q: got %q, want %q", raw, got, want)
		}
	})
}

// plainPart is a part that no table knows.
func plainPart() *rapid.Generator[string] {
	known := map[string]bool{}
	for _, table := range []string{"titles", "junk_names"} {
		for _, line := range entries(table) {
			for _, word := range strings.Fields(line) {
				known[word] = true
			}
		}
	}
	return rapid.StringMatching(`[a-w][a-z]{0,7}`).Filter(func(part string) bool { return !known[part] && !strings.HasPrefix(part, "test") })
}

// written writes parts in one of the ways in which systems write them.
func written(t *rapid.T, parts []string) string {
	marks := []string{"", "", "\u0301", "'", "\u2019", "\u200b"}
	var b strings.Builder
	b.WriteString(rapid.SampledFrom([]string{"", "Mr ", "dr.", "\u00a0"}).Draw(t, "before"))
	for i, part := range rapid.Permutation(parts).Draw(t, "order") {
		if i > 0 {
			b.WriteString(rapid.SampledFrom([]string{" ", "-", "\u2013", "  ", ", ", " & "}).Draw(t, "between"))
		}
		for _, c := range part {
			b.WriteString(rapid.SampledFrom([]string{string(c), strings.ToUpper(string(c))}).Draw(t, "case"))
			b.WriteString(rapid.SampledFrom(marks).Draw(t, "mark"))
		}
	}
	b.WriteString(rapid.SampledFrom([]string{"", " (Mrs)", " baby", "\t"}).Draw(t, "after"))
	return rapid.SampledFrom([]norm.Form{norm.NFC, norm.NFD}).Draw(t, "form").String(b.String())
}

// TestTwoNamesStayTwo: parts come out as they went in, however they are
// written, so two different sets of parts can never become one.
func TestTwoNamesStayTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfNDistinct(plainPart(), 1, 4, rapid.ID).Draw(t, "parts")
		raw := written(t, parts)
		got, code := demographics.Name(raw)
		if slices.Sort(parts); !slices.Equal(got, parts) || code != "" {
			t.Fatalf("%+q: got %q %q, want %q", raw, got, code, parts)
		}
	})
}

// TestNothingChangesTwice: what came out goes in and comes out the same, with
// blanks around it, in the other case, composed or not.
func TestNothingChangesTwice(t *testing.T) {
	kinds := []string{"name", "name-formal", "text", "code", "date", "postcode", "sex", "nhs_number"}
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		raw := rapid.OneOf(anyName(), rapid.String(), goldenInput()).Draw(t, "raw")
		text, code, _ := normalise(kind, raw)
		if again, _, _ := normalise(kind, text); again != text {
			t.Fatalf("%s %+q: %q became %q", kind, raw, text, again)
		}
		for _, other := range []string{"\u00a0" + raw + " \u200b\t", norm.NFC.String(raw), norm.NFD.String(raw), asciiUpper(raw)} {
			if other2, code2, _ := normalise(kind, other); other2 != text || code2 != code {
				t.Fatalf("%s %+q: got %q %q, and of %+q %q %q", kind, raw, text, code, other, other2, code2)
			}
		}
	})
}

func asciiUpper(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	}, text)
}

func goldenInput() *rapid.Generator[string] { return rapid.SampledFrom(goldenInputs()) }

// TestDatesKeepTheirYear: whatever text is taken for a date holds its year in
// four digits, and its day.
func TestDatesKeepTheirYear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.OneOf(rapid.StringMatching(`[0-9]{1,4}[-/. ]?([0-9]{1,2}|[A-Za-z]{3})[-/. ]?[0-9]{1,4}([T ][0-9:]{4,8})?`), goldenInput(), rapid.String()).Draw(t, "raw")
		d, _ := demographics.ParseDate(raw, today)
		if d.IsZero() {
			return
		}
		iso := d.String()
		if text := norm.NFKC.String(raw); !strings.Contains(text, iso[:4]) || !strings.Contains(text, strings.TrimPrefix(iso[8:], "0")) {
			t.Fatalf("%+q was read as %s", raw, iso)
		}
	})
}

// TestNumbersInEveryForm: each way to write a number gives that number, and
// each way to write two, or part of one, gives none.
func TestNumbersInEveryForm(t *testing.T) {
	separators := []string{"", " ", "-", "\u00a0", "\u2009", "\u2013", "_", "\u200b", "  "}
	rapid.Check(t, func(t *rapid.T) {
		nine := rapid.StringMatching(`[0-9]{9}`).Draw(t, "nine")
		check, ok := nhsnumber.CheckDigit([9]byte([]byte(nine)))
		n := nine + string(check)
		if !ok || strings.Count(n, n[:1]) == 10 {
			return
		}
		var b strings.Builder
		for i := range len(n) {
			digit := string(n[i])
			if rapid.IntRange(0, 9).Draw(t, "wide") == 0 {
				digit = string('０' + rune(n[i]-'0'))
			}
			b.WriteString(digit)
			b.WriteString(rapid.SampledFrom(separators).Draw(t, "separator"))
		}
		raw := b.String()
		around := rapid.SampledFrom([][2]string{{"", ""}, {" ", "\r\n"}, {"'", ""}, {`"`, `"`}, {`="`, `"`}, {"", ".0"}, {`"`, `.00"`}, {"\ufeff", ""}}).Draw(t, "around")
		raw = around[0] + strings.TrimRight(raw, " -_\u00a0\u2009\u2013\u200b") + around[1]
		if got, state, _ := nhsnumber.Parse(raw); string(got[:]) != n || !state.Identifies(true) {
			t.Fatalf("%+q: got %v, want %s", raw, got, n)
		}
		cut := rapid.IntRange(0, 9).Draw(t, "cut")
		for _, raw := range []string{raw + raw, raw + " " + n, n + "/" + n, n[:cut] + n[cut+1:], n[:9] + "." + n[9:], n + "x", n[:cut] + "x" + n[cut:], n + ".1", n[:1] + "." + n[1:] + "E9", n + "E0"} {
			if got, state, _ := nhsnumber.Parse(raw); state != nhsnumber.Invalid || got != (nhsnumber.Number{}) {
				t.Fatalf("%+q was read as a number", raw)
			}
		}
	})
}
