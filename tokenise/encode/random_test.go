package encode

import (
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/linkage/cohort"
	"tarn/tokenise/demographics"
)

// drawProfile draws the document of a valid profile, as a user might write it.
func drawProfile(t *rapid.T) []byte {
	e := Encoding{
		Name:      rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,31}`).Draw(t, "name"),
		Version:   rapid.SampledFrom([]int{1, 2, 1<<53 - 1}).Draw(t, "version"),
		RecordKey: rapid.SampledFrom([]string{KeyedByDateOfBirth, KeyedByProject}).Draw(t, "record key"),
		Diffusion: rapid.IntRange(0, 8).Draw(t, "diffusion"),
		Pad:       rapid.Bool().Draw(t, "pad"),
		Blocks:    []BlockTag{},
		Tables:    map[string]string{},
	}
	name := rapid.StringMatching(`[a-z][a-z0-9_]{0,12}`).Filter(func(s string) bool { return s != FieldNHSNumber && s != FieldUniqueID })
	for _, kind := range rapid.SliceOfNDistinct(name, 0, 3, rapid.ID).Draw(t, "blocks") {
		e.Blocks = append(e.Blocks, BlockTag{Kind: kind, Field: FieldDateOfBirth})
	}
	for _, n := range rapid.SliceOfNDistinct(name, 1, 5, rapid.ID).Draw(t, "fields") {
		e.Fields = append(e.Fields, drawField(t, n, &e, name))
	}
	here := map[string]string{}
	for _, table := range demographics.Tables() {
		here[table.Name] = table.SHA256
	}
	for table := range e.tables() {
		e.Tables[table] = here[table]
	}
	encoding, err := keys.Encode(&e)
	if err != nil {
		t.Fatal(err)
	}
	document, err := keys.Encode(profileDocument{Schema: ProfileSchema, Name: e.Name, Title: rapid.StringN(0, 20, -1).Draw(t, "title"), Encoding: encoding, Comparison: drawComparison(t, &e)})
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func drawField(t *rapid.T, name string, e *Encoding, other *rapid.Generator[string]) Field {
	f := Field{Name: name, Normalise: rapid.SampledFrom(slices.Sorted(maps.Keys(tokensOf))).Draw(t, "normalise")}
	f.Tokens = rapid.SampledFrom(tokensOf[f.Normalise]).Draw(t, "tokens")
	inputs := 1
	if f.Normalise == NormaliseName || f.Normalise == NormaliseFormal || f.Normalise == NormaliseText {
		inputs = rapid.IntRange(1, 3).Draw(t, "inputs")
	}
	canonical := rapid.SampledFrom([]string{FieldGivenName, FieldOtherGivenNames, FieldFamilyName, FieldPreviousFamilyName, FieldDateOfBirth, FieldSex, FieldPostcode, FieldGPPracticeCode})
	for range inputs {
		f.Inputs = append(f.Inputs, rapid.OneOf(canonical, other).Filter(func(in string) bool {
			return in != FieldDateOfBirth || f.Normalise != NormaliseDate || e.RecordKey != KeyedByDateOfBirth
		}).Draw(t, "input"))
	}
	if !f.Tag() {
		f.Bits = 1 << rapid.IntRange(6, 11).Draw(t, "bits")
		f.Hashes = rapid.OneOf(rapid.IntRange(1, 40), rapid.IntRange(1, maxHashes)).Draw(t, "hashes")
	}
	return f
}

func drawComparison(t *rapid.T, e *Encoding) (c cohort.Comparison) {
	c.Fields = []cohort.FieldComparison{}
	for _, f := range e.Fields {
		if rapid.IntRange(0, 4).Draw(t, "compared") == 0 {
			continue
		}
		field := cohort.FieldComparison{
			Name: f.Name, Column: f.Column(), Measure: cohort.MeasureEqualBits,
			Twin: rapid.SampledFrom([]string{cohort.TwinAgrees, cohort.TwinDiffers}).Draw(t, "twin"), Confirms: rapid.Bool().Draw(t, "confirms"),
		}
		if f.Tag() {
			field.Measure = cohort.MeasureEqual
		} else {
			if e.Diffusion == 0 && !e.Pad && rapid.Bool().Draw(t, "dice") {
				field.Measure = cohort.MeasureDice
			}
			field.Levels = rapid.SliceOfNDistinct(rapid.Float64Range(0.01, 1), 0, 6, rapid.ID).Draw(t, "levels")
			slices.Sort(field.Levels)
		}
		for range field.LevelCount() {
			field.M = append(field.M, 1/float64(field.LevelCount()))
		}
		field.U = field.M
		c.Fields = append(c.Fields, field)
	}
	return c
}

// drawRecord draws a record as it is after normalisation, one of whose dates of
// birth is one of dates.
func drawRecord(t *rapid.T, p *Profile, dates []demographics.Date) (r Record) {
	missing := func(what string) bool { return rapid.IntRange(0, 5).Draw(t, what+" missing") == 0 }
	if !missing("date of birth") {
		r.DateOfBirth = rapid.SampledFrom(dates).Draw(t, "date of birth")
	}
	for _, f := range p.Encoding.Fields {
		var v Value
		switch {
		case missing(f.Name):
		case f.Normalise == NormaliseDate:
			v.Date = drawDate(t)
		default:
			v.Parts = valuesOf(f.Normalise).Draw(t, f.Normalise)
		}
		r.Values = append(r.Values, v)
	}
	return r
}

func drawDate(t *rapid.T) demographics.Date {
	return demographics.Date{Year: rapid.IntRange(1880, 2140).Draw(t, "year"), Month: rapid.IntRange(1, 12).Draw(t, "month"), Day: rapid.IntRange(1, 28).Draw(t, "day")}
}

// valuesOf draws the parts that a normaliser leaves.
func valuesOf(normalise string) *rapid.Generator[[]string] {
	one := func(pattern string) *rapid.Generator[[]string] {
		return rapid.Map(rapid.StringMatching(pattern), func(s string) []string { return []string{s} })
	}
	several := func(pattern string) *rapid.Generator[[]string] {
		return rapid.Map(rapid.SliceOfNDistinct(rapid.StringMatching(pattern), 1, 4, rapid.ID), func(parts []string) []string {
			slices.Sort(parts)
			return parts
		})
	}
	switch normalise {
	case NormaliseName, NormaliseFormal:
		return several(`[a-z]{1,20}`)
	case NormaliseText:
		return several(`[a-z0-9]{1,20}`)
	case NormalisePostcode:
		return one(`[A-Z]{1,2}[0-9][0-9A-Z]? [0-9][A-Z]{2}`)
	case NormaliseSex:
		return one(`[MFI]`)
	case NormaliseCode:
		return one(`[A-Z0-9]{1,30}`)
	}
	panic(fmt.Sprintf("no values of normaliser %s", normalise))
}
