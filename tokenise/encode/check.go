package encode

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/linkage/cohort"
	"tarn/tokenise/demographics"
)

// checkCanonical accepts only objects, arrays, booleans, ASCII strings and
// whole numbers below 2^53.
func checkCanonical(value jsontext.Value) error {
	return walk(value, func(at jsontext.Pointer, token jsontext.Token) error {
		switch token.Kind() {
		case 'n':
			return fmt.Errorf("%s is null", at)
		case '"':
			for _, c := range []byte(token.String()) {
				if c < 0x20 || c > 0x7e {
					return fmt.Errorf("%s holds a character that is not printable ASCII", at)
				}
			}
		case '0':
			if v, err := token.Float(); err != nil || v != math.Trunc(v) || math.Abs(v) >= 1<<53 || strings.ContainsAny(token.String(), ".eE") {
				return fmt.Errorf("%s is not a whole number below 2^53", at)
			}
		}
		return nil
	})
}

func (p *Profile) check() error {
	e := &p.Encoding
	switch {
	case !keys.ValidName(e.Name) || e.Name != p.Name:
		return fmt.Errorf("members name and encoding.name must be the same name of a-z, 0-9 and -")
	case e.Version < 1:
		return fmt.Errorf("member encoding.version counts from 1")
	case e.RecordKey != KeyedByDateOfBirth && e.RecordKey != KeyedByProject:
		return fmt.Errorf("member encoding.record_key must be %s or %s", KeyedByDateOfBirth, KeyedByProject)
	case len(e.Fields) == 0:
		return fmt.Errorf("member encoding.fields is empty")
	case e.Diffusion < 0 || e.Diffusion > maxDiffusion:
		return fmt.Errorf("member encoding.diffusion must be 0 (none) to %d", maxDiffusion)
	}
	kinds := map[string]bool{}
	for i, b := range e.Blocks {
		if kinds[b.Kind] {
			return fmt.Errorf("encoding.blocks[%d]: the kind is there twice", i)
		}
		kinds[b.Kind] = true
		if !validFieldName(b.Kind) || b.Field != FieldDateOfBirth {
			return fmt.Errorf("encoding.blocks[%d]: kind must be a name and field %s; a tag of a name would give its frequency away", i, FieldDateOfBirth)
		}
	}
	seen := map[string]bool{}
	for i, f := range e.Fields {
		if err := f.check(e); err != nil {
			return fmt.Errorf("encoding.fields[%d]: %w", i, err)
		}
		if seen[f.Name] {
			return fmt.Errorf("encoding.fields[%d]: the name is there twice", i)
		}
		seen[f.Name] = true
	}
	if err := e.checkLimits(); err != nil {
		return err
	}
	if err := p.checkTables(); err != nil {
		return err
	}
	return p.checkComparison()
}

// validFieldName accepts names of columns: lower-case letters, digits and _.
func validFieldName(s string) bool {
	if len(s) == 0 || len(s) > 64 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// tokensOf says which tokens a normaliser's values can have.
var tokensOf = map[string][]string{
	NormaliseName:     {TokensBigrams, TokensWords, TokensTag},
	NormaliseFormal:   {TokensBigrams, TokensWords, TokensTag},
	NormaliseText:     {TokensBigrams, TokensWords, TokensTag},
	NormaliseDate:     {TokensDate, TokensTag},
	NormalisePostcode: {TokensPostcode, TokensPositional, TokensTag},
	NormaliseCode:     {TokensPositional, TokensTag},
	NormaliseSex:      {TokensTag},
}

func (f Field) check(e *Encoding) error {
	tokens, known := tokensOf[f.Normalise]
	switch {
	case !validFieldName(f.Name) || f.Name == FieldNHSNumber:
		return fmt.Errorf("name must be lower-case letters, digits and _, and not %s", FieldNHSNumber)
	case len(f.Inputs) == 0:
		return fmt.Errorf("inputs is empty")
	case !known:
		return fmt.Errorf("normalise must be name, name-formal, date, postcode-uk, sex, code or text")
	case !slices.Contains(tokens, f.Tokens):
		return fmt.Errorf("tokens must be one of %s for normalise %s", strings.Join(tokens, ", "), f.Normalise)
	case f.Normalise != NormaliseName && f.Normalise != NormaliseFormal && f.Normalise != NormaliseText && len(f.Inputs) > 1:
		return fmt.Errorf("only names and texts may have more than one input")
	case e.RecordKey == KeyedByDateOfBirth && f.Normalise == NormaliseDate && slices.Contains(f.Inputs, FieldDateOfBirth):
		return fmt.Errorf("a date of birth encoded under its own key is constant and says nothing")
	}
	for _, in := range f.Inputs {
		if !validFieldName(in) || in == FieldNHSNumber || in == FieldUniqueID {
			return fmt.Errorf("inputs must be lower-case letters, digits and _, and neither %s nor %s", FieldNHSNumber, FieldUniqueID)
		}
	}
	if f.Tag() {
		if f.Bits != 0 || f.Hashes != 0 {
			return fmt.Errorf("a tag has neither bits nor hashes")
		}
		return nil
	}
	if f.Bits < minBits || f.Bits > maxBits || f.Bits&(f.Bits-1) != 0 {
		return fmt.Errorf("bits must be a power of two, 64 to 65536")
	}
	if f.Hashes < 1 || f.Hashes > maxHashes {
		return fmt.Errorf("hashes must be 1 to 2048")
	}
	if e.Diffusion > f.Bits/8 {
		return fmt.Errorf("bits is too small for this diffusion")
	}
	return nil
}

// tablesOf are the normalisation tables that a normaliser reads.
var tablesOf = map[string][]string{
	NormaliseName:     nameTables,
	NormaliseFormal:   append([]string{demographics.TableNicknames}, nameTables...),
	NormaliseText:     textTables,
	NormaliseCode:     textTables,
	NormaliseDate:     {demographics.TableCharacters, demographics.TableDefaultDates, demographics.TableMonthNames},
	NormalisePostcode: {demographics.TableCharacters, demographics.TablePostcodeAreas, demographics.TablePseudoPostcodes},
	NormaliseSex:      {demographics.TableCharacters, demographics.TableSexCodes},
}

var (
	textTables = []string{demographics.TableCharacters, demographics.TableLetterMap, demographics.TableUnicode}
	nameTables = []string{demographics.TableCharacters, demographics.TableJunkNames, demographics.TableLetterMap, demographics.TableTitles, demographics.TableUnicode}
)

// tables returns the names of the tables that decide what the profile encodes
// and which records have keys.
func (e *Encoding) tables() map[string]bool {
	needed := map[string]bool{}
	need := func(normaliser string) {
		for _, name := range tablesOf[normaliser] {
			needed[name] = true
		}
	}
	for _, f := range e.Fields {
		need(f.Normalise)
	}
	if e.RecordKey == KeyedByDateOfBirth || len(e.Blocks) > 0 {
		need(NormaliseDate)
	}
	return needed
}

// checkTables refuses a profile made for other tables than this binary has.
func (p *Profile) checkTables() error {
	here := map[string]string{}
	for _, t := range demographics.Tables() {
		here[t.Name] = t.SHA256
	}
	needed := p.Encoding.tables()
	for _, name := range slices.Sorted(maps.Keys(needed)) {
		if p.Encoding.Tables[name] == "" {
			return fmt.Errorf("encoding.tables.%s is missing; the digest of the table of this version is %s", name, here[name])
		}
		if p.Encoding.Tables[name] != here[name] {
			return fmt.Errorf("encoding.tables.%s is not the table of this version, whose digest is %s", name, here[name])
		}
	}
	for name := range p.Encoding.Tables {
		if !needed[name] {
			return fmt.Errorf("encoding.tables names a table that no field uses")
		}
	}
	return nil
}

func (p *Profile) checkComparison() error {
	if err := p.Comparison.Check(); err != nil {
		return err
	}
	columns := map[string]Field{}
	for _, f := range p.Encoding.Fields {
		columns[f.Column()] = f
	}
	for i, c := range p.Comparison.Fields {
		f, ok := columns[c.Column]
		if !ok || f.Name != c.Name {
			return fmt.Errorf("comparison.fields[%d]: the encoding has no such field and column", i)
		}
		if f.Tag() != (c.Measure == cohort.MeasureEqual) {
			return fmt.Errorf("comparison.fields[%d]: tags are compared by %s, filters are not", i, cohort.MeasureEqual)
		}
		if c.Measure == cohort.MeasureDice && (p.Encoding.Diffusion > 0 || p.Encoding.Pad) {
			return fmt.Errorf("comparison.fields[%d]: %s means nothing on diffused or padded filters; use %s", i, cohort.MeasureDice, cohort.MeasureEqualBits)
		}
	}
	return nil
}
