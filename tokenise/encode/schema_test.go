package encode

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/schemas/encoding-profile.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func validate(schema *jsonschema.Schema, document []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

func TestSchemaTakesPresetsAndTheExample(t *testing.T) {
	schema := compileSchema(t)
	documents := map[string][]byte{"name-formal": []byte(formalDocument(t))}
	for _, name := range PresetNames() {
		documents[name], _ = PresetDocument(name)
	}
	febrl, err := os.ReadFile("../../testdata/febrl/febrl.profile.json")
	if err != nil {
		t.Fatal(err)
	}
	documents["febrl"] = febrl
	for name, document := range documents {
		if err := validate(schema, document); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ParseProfile(document); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSchemaTakesWhatIsAccepted: whatever profile is valid, the schema says so.
func TestSchemaTakesWhatIsAccepted(t *testing.T) {
	schema := compileSchema(t)
	rapid.Check(t, func(t *rapid.T) {
		document := drawProfile(t)
		if _, err := ParseProfile(document); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		if err := validate(schema, document); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
	})
}

// mistakes are changes to a preset that make it wrong, and what is said of
// them. Those that the schema lets pass are beyond a JSON Schema.
var mistakes = []struct {
	old, new    string
	want        string
	schemaBlind bool
}{
	{old: `"tarn.encoding-profile/1"`, new: `"tarn.encoding-profile/9"`, want: "schema"},
	{old: `"title":`, new: `"titel":`, want: "unknown member"},
	{old: `"hashes": 16`, new: `"hashes": 16, "sheep": 3`, want: "unknown member"},
	{old: `"hashes": 16`, new: `"hashes": null`, want: "null"},
	{old: `"twin": "u"`, new: `"twin": null`, want: "null"},
	{old: `"hashes": 16`, new: `"hashes": "16"`, want: "expected type"},
	{old: `"hashes": 16`, new: `"hashes": 16.5`, want: "whole number"},
	{old: `"hashes": 16`, new: `"hashes": 1.6e1`, want: "whole number", schemaBlind: true},
	{old: `"hashes": 16`, new: `"hashes": 16, "hashes": 16`, want: "twice", schemaBlind: true},
	{old: `"hashes": 16`, new: `"hashes": 0`, want: "hashes must be 1 to 2048"},
	{old: `"hashes": 16`, new: `"hashes": 2049`, want: "hashes must be 1 to 2048"},
	{old: "\"bits\": 512,\n        \"hashes\": 16", new: `"bits": 512`, want: "hashes must be"},
	{old: `"version": 1`, new: `"version": 9007199254740992`, want: "whole number"},
	{old: `"version": 1`, new: `"version": 0`, want: "version"},
	{old: `"name": "nhs-field-dob-1"`, new: `"name": "NHS_field"`, want: "same name"},
	{old: `"name": "nhs-field-dob-1"`, new: `"name": "another"`, want: "same name", schemaBlind: true},
	{old: `"name": "given_name"`, new: `"name": "givén"`, want: "ASCII"},
	{old: `"name": "given_name"`, new: `"name": "Given name"`, want: "lower-case letters"},
	{old: `"name": "given_name"`, new: `"name": "nhs_number"`, want: "not nhs_number"},
	{old: `"name": "given_name"`, new: `"name": "family_name"`, want: "the name is there twice", schemaBlind: true},
	{old: `"bits": 512`, new: `"bits": 500`, want: "power of two"},
	{old: `"bits": 512`, new: `"bits": 32`, want: "64 to 65536"},
	{old: `"bits": 512`, new: `"bits": 131072`, want: "64 to 65536"},
	{old: `"bits": 512`, new: `"bits": 9007199254740991`, want: "64 to 65536"},
	{old: `"tokens": "tag"`, new: `"tokens": "tag", "bits": 512`, want: "neither bits nor hashes"},
	{old: `"tokens": "tag"`, new: `"tokens": "tag", "bits": 0`, want: "not even 0"},
	{old: `"diffusion": 6`, new: `"diffusion": 17`, want: "diffusion must be"},
	{old: `"diffusion": 6`, new: `"diffusion": -1`, want: "diffusion must be"},
	{old: `"diffusion": 6,`, new: ``, want: "encoding.diffusion is missing"},
	{old: `"pad": true,`, new: ``, want: "encoding.pad is missing"},
	{old: `"pad": true`, new: `"pad": "yes"`, want: "expected type"},
	{old: `"record_key": "date_of_birth"`, new: `"record_key": "name"`, want: "record_key"},
	{old: `"field": "date_of_birth"`, new: `"field": "family_name"`, want: "frequency"},
	{old: `"blocks": [`, new: `"blocks": [ {"kind": "dob", "field": "date_of_birth"},`, want: "the kind is there twice", schemaBlind: true},
	{old: `"normalise": "sex"`, new: `"normalise": "gender"`, want: "normalise must be"},
	{old: `"normalise": "name"`, new: `"normalise": "code"`, want: "tokens must be one of positional, tag"},
	{old: `"inputs": [`, new: `"inputs": [ "nhs_number",`, want: "neither nhs_number nor unique_id"},
	{old: "\"inputs\": [\n          \"sex\"", new: `"inputs": [ "sex", "gender"`, want: "more than one input"},
	{old: "\"inputs\": [\n          \"sex\"", new: `"inputs": [`, want: "inputs is empty"},
	{old: "\"sex\"\n        ],\n        \"normalise\": \"sex\"", new: `"date_of_birth"], "normalise": "date"`, want: "constant"},
	{old: `"letter_map": "`, new: `"letter_map": "0`, want: "encoding.tables.letter_map is not the table"},
	{old: `"letter_map": "3`, new: `"letter_map": "4`, want: "encoding.tables.letter_map is not the table", schemaBlind: true},
	{old: `"letter_map": "`, new: `"lettermap": "`, want: "encoding.tables.letter_map is missing"},
	{old: `"tables": {`, new: `"tables": {"nicknames": "` + strings.Repeat("0", 64) + `",`, want: "a table that no field uses", schemaBlind: true},
	{old: `"encoding":`, new: `"encodings":`, want: "unknown member"},
	{old: `"comparison":`, new: `"comparisons":`, want: "unknown member"},
	{old: `"twin": "u"`, new: `"twin": "x"`, want: "twin"},
	{old: `"measure": "equal_bits"`, new: `"measure": "dice"`, want: "means nothing"},
	{old: `"measure": "equal_bits"`, new: `"measure": "jaro"`, want: "measure must be"},
	{old: `"column": "bf_given_name"`, new: `"column": "bf_other"`, want: "no such field", schemaBlind: true},
	{old: `"column": "bf_given_name"`, new: `"column": "given_name"`, want: "no such field"},
	{old: `0.53,`, new: `0,`, want: "levels must rise"},
	{old: `0.53,`, new: `0.56,`, want: "levels must rise", schemaBlind: true},
	{old: `0.53,`, new: ``, want: "has 9 values for 8 levels", schemaBlind: true},
	{old: `0.95`, new: `1.95`, want: "above 0 and below 1"},
	{old: `0.95`, new: `0.5`, want: "does not sum to 1", schemaBlind: true},
}

// TestMistakesAreRefused: by ParseProfile, which says what is wrong, and by the
// schema, unless a schema cannot say it.
func TestMistakesAreRefused(t *testing.T) {
	schema := compileSchema(t)
	good, _ := PresetDocument(DefaultPreset)
	for _, c := range mistakes {
		if !strings.Contains(string(good), c.old) {
			t.Errorf("the preset does not hold %s", c.old)
			continue
		}
		bad := []byte(strings.Replace(string(good), c.old, c.new, 1))
		if _, err := ParseProfile(bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.new, err, c.want)
		}
		if err := validate(schema, bad); (err == nil) != c.schemaBlind {
			t.Errorf("%s: the schema says %v", c.new, err)
		}
	}
}

// TestLimitsOfProfiles: no profile asks for more memory than there is.
func TestLimitsOfProfiles(t *testing.T) {
	schema := compileSchema(t)
	good, _ := PresetDocument(DefaultPreset)
	repeat := func(what string, n int) string {
		var all []string
		for i := range n {
			all = append(all, strings.ReplaceAll(what, "#", string(rune('a'+i/26))+string(rune('a'+i%26))))
		}
		return strings.Join(all, ",")
	}
	field := `{"name": "#", "inputs": ["#"], "normalise": "sex", "tokens": "tag"}`
	filter := `{"name": "#", "inputs": ["#"], "normalise": "name", "tokens": "bigrams", "bits": 65536, "hashes": 2048}`
	block := `{"kind": "#", "field": "date_of_birth"}`
	for _, c := range []struct {
		member, what string
		most         int // beside what the preset has
		want         string
		schemaBlind  bool
	}{
		{`"fields": [`, field, maxFields - 4, "more than 64 fields", false},
		{`"fields": [`, filter, 1, "more than 131072 bits", true},
		{`"blocks": [`, block, maxBlocks - 1, "more than 8 blocks", false},
		{`"inputs": [`, `"#"`, maxInputs - 1, "more than 16", false},
	} {
		with := func(n int) []byte {
			return []byte(strings.Replace(string(good), c.member, c.member+repeat(c.what, n)+",", 1))
		}
		if _, err := ParseProfile(with(c.most)); err != nil {
			t.Errorf("%s: as many as may be are refused: %v", c.member, err)
		}
		if err := validate(schema, with(c.most)); err != nil {
			t.Errorf("%s: as many as may be are refused by the schema: %v", c.member, err)
		}
		if _, err := ParseProfile(with(c.most + 1)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.member, err, c.want)
		}
		if err := validate(schema, with(c.most+1)); (err == nil) != c.schemaBlind {
			t.Errorf("%s: the schema says %v", c.member, err)
		}
	}
}

// TestCachedDates: the presets keep a century of dates, and the largest profile
// no more bytes than they.
func TestCachedDates(t *testing.T) {
	for _, name := range PresetNames() {
		if n := preset(t, name).Encoding.cachedDates(); name == DefaultPreset && n != defaultCachedDates {
			t.Errorf("%s keeps %d dates", name, n)
		}
	}
	large := Encoding{Diffusion: maxDiffusion, Fields: []Field{{Bits: maxBits}, {Bits: maxBits}}}
	if n := large.cachedDates(); n < 1 || n*maxRecordBits*maxDiffusion*2 > cachedBytes {
		t.Errorf("the largest profile keeps %d dates", n)
	}
}
