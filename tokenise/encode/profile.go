package encode

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/tokenise/demographics"
)

// ProfileSchema is the schema member of a profile document.
const ProfileSchema = "tarn.encoding-profile/1"

// Keying of records.
const (
	KeyedByDateOfBirth = "date_of_birth" // each date of birth has keys, table and pad of its own
	KeyedByProject     = "none"          // one table for all: recoverable from enough rows
)

// Normalisers of fields.
const (
	NormaliseName     = "name"
	NormaliseFormal   = "name-formal" // a given name, its short forms replaced by formal names
	NormaliseDate     = "date"
	NormalisePostcode = "postcode-uk"
	NormaliseSex      = "sex"
	NormaliseCode     = "code"
	NormaliseText     = "text"
)

// Ways of turning a normalised value into tokens.
const (
	TokensBigrams    = "bigrams"    // of each part p of a name or text, the bigrams of _p_
	TokensPostcode   = "postcode"   // outward code, and each character with its place
	TokensPositional = "positional" // each character of a code with its place
	TokensDate       = "date"       // day, month, year, decade, last digit of the year
	TokensWords      = "words"      // each part as it is
	TokensTag        = "tag"        // no filter: a keyed tag, compared as equal or not
)

// Profile says how demographics are encoded. Its digest is its identity.
type Profile struct {
	Name       string
	Title      string
	Encoding   Encoding
	Comparison cohort.Comparison
	digest     [sha256.Size]byte
}

// Encoding is the part of a profile that the digest covers.
type Encoding struct {
	Name      string            `json:"name"`
	Version   int               `json:"version"`
	RecordKey string            `json:"record_key"`
	Blocks    []BlockTag        `json:"blocks"`
	Fields    []Field           `json:"fields"`
	Diffusion int               `json:"diffusion"` // bits of the filter in each output bit; 0 is no diffusion
	Pad       bool              `json:"pad"`
	Tables    map[string]string `json:"tables"` // digests of the normalisation tables it uses
}

// BlockTag is a keyed tag of a field by which records are blocked.
type BlockTag struct {
	Kind  string `json:"kind"` // column blk_<kind>
	Field string `json:"field"`
}

// Field is one encoded field.
type Field struct {
	Name      string   `json:"name"`
	Inputs    []string `json:"inputs"` // canonical fields, or columns of the profile's own
	Normalise string   `json:"normalise"`
	Tokens    string   `json:"tokens"`
	Bits      int      `json:"bits,omitzero"`   // filter size, a power of two
	Hashes    int      `json:"hashes,omitzero"` // positions of each token
}

// Tag reports whether the field is a tag and not a filter.
func (f Field) Tag() bool { return f.Tokens == TokensTag }

// Column returns the name of the field's column in a cohort.
func (f Field) Column() string {
	if f.Tag() {
		return cohort.TagPrefix + f.Name
	}
	return cohort.FilterPrefix + f.Name
}

//go:embed profiles/*.json
var presets embed.FS

// DefaultPreset is the preset for data sets with good dates of birth.
const DefaultPreset = "nhs-field-dob-1"

// PresetNames returns the names of the presets, the default first.
func PresetNames() []string { return []string{DefaultPreset, "nhs-field-1"} }

// PresetDocument returns the document of a preset.
func PresetDocument(name string) ([]byte, bool) {
	if !slices.Contains(PresetNames(), name) {
		return nil, false
	}
	b, err := presets.ReadFile("profiles/" + name + ".json")
	return b, err == nil
}

// LoadProfile returns the profile that a project names: a preset, or a file
// whose path is relative to folder. Errors are of kind [fault.Usage].
func LoadProfile(name, folder string) (*Profile, error) {
	document, ok := PresetDocument(name)
	doing := "reading the encoding profile " + name
	if !ok {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(folder, path)
		}
		var err error
		if document, err = os.ReadFile(path); err != nil {
			return nil, fault.Wrap(fault.Usage, doing, err, "name a preset ("+strings.Join(PresetNames(), ", ")+") or the path of a profile file, relative to the project file")
		}
	}
	p, err := ParseProfile(document)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "correct it; tokeniser encoding check names the first mistake, tokeniser encoding show prints an example")
	}
	return p, nil
}

type profileDocument struct {
	Schema     string            `json:"schema"`
	Software   string            `json:"software,omitzero"`
	Created    string            `json:"created,omitzero"`
	Name       string            `json:"name"`
	Title      string            `json:"title,omitzero"`
	Encoding   jsontext.Value    `json:"encoding"`
	Comparison cohort.Comparison `json:"comparison"`
}

// ParseProfile reads and checks a profile document. Unknown and duplicate
// members are errors, and so is everything in the encoding part for which
// RFC 8785 leaves room: fractions, null, text that is not ASCII.
func ParseProfile(document []byte) (*Profile, error) {
	var d profileDocument
	if err := keys.DecodeStrict(document, &d); err != nil {
		return nil, err
	}
	if d.Schema != ProfileSchema {
		return nil, fmt.Errorf("member schema is not %q", ProfileSchema)
	}
	if err := checkCanonical(d.Encoding); err != nil {
		return nil, fmt.Errorf("in the encoding part: %w", err)
	}
	p := &Profile{Name: d.Name, Title: d.Title, Comparison: d.Comparison}
	if err := keys.DecodeStrict(d.Encoding, &p.Encoding); err != nil {
		return nil, fmt.Errorf("in the encoding part: %w", err)
	}
	canonical, err := keys.Canonical(d.Encoding)
	if err != nil {
		return nil, err
	}
	p.digest = sha256.Sum256(canonical)
	return p, p.check()
}

// Digest returns the profile's identity: the SHA-256 of the RFC 8785 form of
// its encoding part.
func (p *Profile) Digest() [sha256.Size]byte { return p.digest }

// DigestText returns the digest in hex.
func (p *Profile) DigestText() string { return hex.EncodeToString(p.digest[:]) }

// Layout returns the columns of cohorts of this profile.
func (p *Profile) Layout() (l cohort.Layout) {
	for _, b := range p.Encoding.Blocks {
		l.Blocks = append(l.Blocks, cohort.BlockPrefix+b.Kind)
	}
	for _, f := range p.Encoding.Fields {
		if f.Tag() {
			l.Tags = append(l.Tags, f.Column())
		} else {
			l.Filters = append(l.Filters, cohort.FilterColumn{Name: f.Column(), Bytes: f.Bits / 8})
		}
	}
	return l
}

// Inputs returns the input fields that the profile reads, each once, the date
// of birth among them where records are keyed or blocked by it.
func (p *Profile) Inputs() (names []string) {
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, f := range p.Encoding.Fields {
		for _, in := range f.Inputs {
			add(in)
		}
	}
	for _, b := range p.Encoding.Blocks {
		add(b.Field)
	}
	if p.Encoding.RecordKey == KeyedByDateOfBirth {
		add(FieldDateOfBirth)
	}
	return names
}

// checkCanonical accepts only objects, arrays, booleans, ASCII strings and
// whole numbers below 2^53.
func checkCanonical(value jsontext.Value) error {
	decoder := jsontext.NewDecoder(bytes.NewReader(value))
	for {
		token, err := decoder.ReadToken()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return keys.DescribeJSON(err)
		}
		at := decoder.StackPointer()
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
	}
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
	case e.Diffusion < 0 || e.Diffusion > 16:
		return fmt.Errorf("member encoding.diffusion must be 0 (none) to 16")
	}
	for i, b := range e.Blocks {
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
	if f.Bits < 64 || f.Bits > 65536 || f.Bits&(f.Bits-1) != 0 {
		return fmt.Errorf("bits must be a power of two, 64 to 65536")
	}
	if f.Hashes < 1 || f.Hashes > 2048 {
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
