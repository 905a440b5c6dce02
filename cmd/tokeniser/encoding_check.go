package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"tarn/linkage/cohort"
	"tarn/tokenise/encode"
)

// profileCheck is what encoding check says of a profile.
type profileCheck struct {
	Schema    string           `json:"schema"`
	Software  string           `json:"software"`
	Created   string           `json:"created"`
	Name      string           `json:"name"`
	Title     string           `json:"title"`
	Digest    string           `json:"digest"`
	RecordKey string           `json:"record_key"`
	Blocks    []string         `json:"blocks"` // columns
	Fields    []fieldCheck     `json:"fields"`
	Diffusion int              `json:"diffusion"`
	Pad       bool             `json:"pad"`
	Inputs    []string         `json:"inputs"`
	Warnings  []profileWarning `json:"warnings"`
}

type fieldCheck struct {
	Name      string   `json:"name"`
	Column    string   `json:"column"`
	Inputs    []string `json:"inputs"`
	Normalise string   `json:"normalise"`
	Tokens    string   `json:"tokens"`
	Bits      *int     `json:"bits"`          // null for a tag
	Hashes    *int     `json:"hashes"`        // null for a tag
	Fill      *float64 `json:"expected_fill"` // share of the filter's bits that a usual value sets; null for a tag
	Measure   *string  `json:"measure"`       // null where the field is not compared
	Levels    *int     `json:"levels"`        // levels of agreement; null where the field is not compared
}

type profileWarning struct {
	Code   string `json:"code"`
	Field  string `json:"field,omitzero"`
	Text   string `json:"text"`
	Advice string `json:"advice"`
}

func describeProfile(p *encode.Profile) (*profileCheck, error) {
	e := &p.Encoding
	d := &profileCheck{Name: p.Name, Title: p.Title, Digest: p.DigestText(), RecordKey: e.RecordKey, Blocks: []string{}, Diffusion: e.Diffusion, Pad: e.Pad, Inputs: p.Inputs(), Warnings: []profileWarning{}}
	for _, b := range e.Blocks {
		d.Blocks = append(d.Blocks, cohort.BlockPrefix+b.Kind)
	}
	for _, f := range e.Fields {
		c := fieldCheck{Name: f.Name, Column: f.Column(), Inputs: f.Inputs, Normalise: f.Normalise, Tokens: f.Tokens}
		if !f.Tag() {
			fill := expectedFill(f)
			c.Bits, c.Hashes, c.Fill = &f.Bits, &f.Hashes, &fill
		}
		if i := slices.IndexFunc(p.Comparison.Fields, func(c cohort.FieldComparison) bool { return c.Name == f.Name }); i >= 0 {
			levels := p.Comparison.Fields[i].LevelCount()
			c.Measure, c.Levels = &p.Comparison.Fields[i].Measure, &levels
		}
		d.Fields = append(d.Fields, c)
	}
	if slices.Contains(encode.PresetNames(), p.Name) {
		preset, err := encode.LoadProfile(p.Name, "")
		if err != nil {
			return nil, err
		}
		if preset.Digest() != p.Digest() {
			d.warn("preset_name", "", "it has the name of a preset and encodes differently", "give it a name of its own, in name and in encoding.name")
		}
	}
	d.warnOfKeys(slices.ContainsFunc(e.Fields, func(f encode.Field) bool { return !f.Tag() }))
	for i := range d.Fields {
		d.warnOfField(&d.Fields[i])
	}
	return d, nil
}

// usualTokens is how many tokens a usual value has: a name of six letters, a
// line of an address, a code of six characters.
func usualTokens(f encode.Field) int {
	switch f.Tokens {
	case encode.TokensBigrams:
		if f.Normalise == encode.NormaliseText {
			return 20
		}
		return 7 * len(f.Inputs)
	case encode.TokensWords:
		if f.Normalise == encode.NormaliseText {
			return 4
		}
		return len(f.Inputs)
	case encode.TokensDate:
		return 5
	case encode.TokensPostcode:
		return 8
	}
	return 7
}

// expectedFill is the share of a filter's bits that a usual value sets, in whole
// hundredths: 1 - (1 - 1/m)^(k T).
func expectedFill(f encode.Field) float64 {
	share := -math.Expm1(float64(f.Hashes*usualTokens(f)) * math.Log1p(-1/float64(f.Bits)))
	return math.Round(share*100) / 100
}

func (d *profileCheck) warn(code, field, text, advice string) {
	d.Warnings = append(d.Warnings, profileWarning{code, field, text, advice})
}

func (d *profileCheck) warnOfKeys(filters bool) {
	if d.RecordKey == encode.KeyedByProject {
		d.warn("keyed_by_project", "", "all records share one key, so one table and pad serve them all and can be recovered from enough rows", `set record_key to "date_of_birth" where dates of birth are good`)
	} else if len(d.Blocks) == 0 {
		d.warn("no_blocks", "", "records of different dates of birth cannot be compared, yet no block tells them apart", `add {"kind": "dob", "field": "date_of_birth"} to blocks`)
	}
	if filters && d.Diffusion == 0 {
		d.warn("no_diffusion", "", "each bit of a filter stands for parts of names, so frequent ones can be read off", "set diffusion to 6")
	}
	if filters && !d.Pad {
		d.warn("no_pad", "", "the number of bits set gives away how long a value is", "set pad to true")
	}
}

func (d *profileCheck) warnOfField(f *fieldCheck) {
	switch {
	case f.Measure == nil:
		d.warn("not_compared", f.Name, "it is encoded and has no comparison, so it gives something away and helps no linkage", "add it to comparison.fields, or leave it out of encoding.fields")
	case f.Bits != nil && *f.Levels == 2:
		d.warn("no_levels", f.Name, "it is a filter and compared as identical or not", "give it levels, or make it a tag")
	}
	name := f.Normalise == encode.NormaliseName || f.Normalise == encode.NormaliseFormal || f.Normalise == encode.NormaliseText
	if name && f.Bits == nil && d.RecordKey == encode.KeyedByProject {
		d.warn("name_tag", f.Name, "a tag that all records share a key for shows how frequent each value is, which names it", "make it a filter of bigrams, or key records by date of birth")
	}
	if f.Fill == nil {
		return
	}
	switch percent := *f.Fill * 100; {
	case percent > 50:
		d.warn("too_full", f.Name, fmt.Sprintf("a usual value sets about %.0f%% of the bits, so different values look alike", percent), "take more bits or fewer hashes; 20% is usual")
	case percent < 5:
		d.warn("too_empty", f.Name, fmt.Sprintf("a usual value sets about %.0f%% of the bits, so that single tokens stand out", percent), "take fewer bits or more hashes; 20% is usual")
	}
}

func (d *profileCheck) text() []byte {
	var b bytes.Buffer
	line := func(label, format string, values ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", label, fmt.Sprintf(format, values...))
	}
	fmt.Fprintf(&b, "%s is a profile that this version can use\n", d.Name)
	line("digest", "%s", d.Digest)
	line("inputs", "%s", strings.Join(d.Inputs, ", "))
	if d.RecordKey == encode.KeyedByDateOfBirth {
		line("key", "of the record's date of birth; a record without one has no encoding")
	} else {
		line("key", "of the project, the same for all records")
	}
	if d.Diffusion > 0 {
		line("diffusion", "%d bits of the filter in each bit of the output: hides which bits stand for what", d.Diffusion)
	} else {
		line("diffusion", "none")
	}
	if d.Pad {
		line("pad", "yes: hides how many bits are set")
	} else {
		line("pad", "none")
	}
	if len(d.Blocks) == 0 {
		line("blocks", "none")
	}
	for _, column := range d.Blocks {
		line("block", "%s: a keyed tag of the date of birth", column)
	}
	for i := range d.Fields {
		f := &d.Fields[i]
		line("field", "%s: %s, normalised as %s, %s", f.Column, strings.Join(f.Inputs, " and "), f.Normalise, f.kind())
	}
	for _, w := range d.Warnings {
		field := ""
		if w.Field != "" {
			field = w.Field + ": "
		}
		fmt.Fprintf(&b, "warning %s: %s%s; %s\n", w.Code, field, w.Text, w.Advice)
	}
	return b.Bytes()
}

func (f *fieldCheck) kind() string {
	compared := "not compared"
	if f.Measure != nil {
		compared = fmt.Sprintf("compared by %s in %d levels", *f.Measure, *f.Levels)
	}
	if f.Bits == nil {
		return "a keyed tag, " + compared
	}
	return fmt.Sprintf("tokens %s, %d bits, %d hashes, about %.0f%% full, %s", f.Tokens, *f.Bits, *f.Hashes, *f.Fill*100, compared)
}
