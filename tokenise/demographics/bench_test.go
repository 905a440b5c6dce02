package demographics_test

import (
	"slices"
	"testing"

	"tarn/keys/nhsnumber"
	"tarn/tokenise/demographics"
)

var today = demographics.Date{Year: 2026, Month: 1, Day: 1}

func benchmark(b *testing.B, texts []string, f func(string)) {
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f(texts[i%len(texts)])
	}
}

var (
	asciiNames    = []string{"SMITH", "Anne", "O'Brien", "Mary Jane", "Mr John", "SMITH-JONES", "MacDonald", "Mohammed"}
	accentedNames = []string{"Zoë", "BJØRN", "Łukasz", "Siân", "O’Brien", "Émile", "İpek", "Nguyễn"}
	dates         = []string{"1973-10-22", "22/10/1973", "19731022", "22-OCT-1973", "1973-10-22 00:00:00", "1973-10-22T00:00:00Z"}
	postcodes     = []string{"SW1A 2AA", "M1 1AE", "CF10 3AT", "EH1 1YZ"}
	looseOnes     = []string{"sw1a2aa", "M1  1AE", "L1O 1AA", "eh11yz"}
	numbers       = []string{"9434765919", "943 476 5919", "943-476-5919"}
)

func BenchmarkName(b *testing.B) {
	benchmark(b, asciiNames, func(s string) { demographics.Name(s) })
}
func BenchmarkNameAccented(b *testing.B) {
	benchmark(b, accentedNames, func(s string) { demographics.Name(s) })
}
func BenchmarkParseDate(b *testing.B) {
	benchmark(b, dates, func(s string) { demographics.ParseDate(s, today) })
}
func BenchmarkPostcode(b *testing.B) {
	benchmark(b, postcodes, func(s string) { demographics.Postcode(s) })
}
func BenchmarkPostcodeLoose(b *testing.B) {
	benchmark(b, looseOnes, func(s string) { demographics.Postcode(s) })
}
func BenchmarkSex(b *testing.B) {
	benchmark(b, []string{"1", "F", "male", "9"}, func(s string) { demographics.Sex(s) })
}
func BenchmarkNHSNumber(b *testing.B) {
	benchmark(b, numbers, func(s string) { nhsnumber.Parse(s) })
}

func BenchmarkNames(b *testing.B) {
	var names demographics.Names
	var parts []string
	benchmark(b, asciiNames, func(s string) { parts, _ = names.Append(parts[:0], s) })
}

func BenchmarkNamesAccented(b *testing.B) {
	var names demographics.Names
	var parts []string
	benchmark(b, accentedNames, func(s string) { parts, _ = names.Append(parts[:0], s) })
}

// TestNothingIsAllocated: the ways of the pipeline, on texts met before.
func TestNothingIsAllocated(t *testing.T) {
	var names demographics.Names
	var parts []string
	all := slices.Concat(asciiNames, accentedNames)
	for what, f := range map[string]func(){
		"names": func() {
			for _, raw := range all {
				parts, _ = names.Append(parts[:0], raw)
				parts = demographics.Formal(parts)
			}
		},
		"dates": func() {
			for _, raw := range dates {
				demographics.ParseDate(raw, today)
			}
		},
		"postcodes": func() {
			for _, raw := range postcodes {
				demographics.Postcode(raw)
			}
		},
		"sex": func() { demographics.Sex("Male") },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}
