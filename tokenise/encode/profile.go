package encode

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort"
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

// ParseProfile reads and checks a profile document. Unknown, missing and
// duplicate members and null are errors, and so is everything in the encoding
// part for which RFC 8785 leaves room: fractions, text that is not ASCII.
func ParseProfile(document []byte) (*Profile, error) {
	var d profileDocument
	if err := keys.DecodeStrict(document, &d); err != nil {
		return nil, err
	}
	if d.Schema != ProfileSchema {
		return nil, fmt.Errorf("member schema is not %q", ProfileSchema)
	}
	if len(d.Encoding) == 0 {
		return nil, fmt.Errorf("member encoding is missing")
	}
	if err := checkCanonical(d.Encoding); err != nil {
		return nil, fmt.Errorf("in the encoding part: %w", err)
	}
	if err := checkNoNull(document); err != nil {
		return nil, err
	}
	if d.Comparison.Fields == nil {
		return nil, fmt.Errorf("member comparison.fields is missing; [] compares nothing")
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
	if err := checkComplete(canonical); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := p.Encoding.checkOneForm(canonical); err != nil {
		return nil, err
	}
	return p, nil
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
