package encode

import (
	"slices"
	"strings"
	"testing"

	"tarn/tokenise/demographics"
	"tarn/tokenise/reason"
)

func tableDigest(t *testing.T, name string) string {
	t.Helper()
	for _, table := range demographics.Tables() {
		if table.Name == name {
			return table.SHA256
		}
	}
	t.Fatalf("no table %s", name)
	return ""
}

// formalDocument is the default preset with formal given names.
func formalDocument(t *testing.T) string {
	t.Helper()
	document, _ := PresetDocument(DefaultPreset)
	text := strings.Replace(string(document), `"normalise": "name"`, `"normalise": "name-formal"`, 1)
	return strings.Replace(text, `"tables": {`, `"tables": { "nicknames": "`+tableDigest(t, demographics.TableNicknames)+`",`, 1)
}

func TestFormalNames(t *testing.T) {
	p, err := ParseProfile([]byte(formalDocument(t)))
	if err != nil {
		t.Fatal(err)
	}
	var record Record
	raw := map[string]string{FieldGivenName: "Bill", FieldFamilyName: "Bill", FieldDateOfBirth: "1973-10-22"}
	p.NewNormaliser(keyCheckToday).Normalise(func(in string) string { return raw[in] }, &record, func(string, reason.Code) {})
	if given, family := record.Values[0].Parts, record.Values[1].Parts; !slices.Equal(given, []string{"william"}) || !slices.Equal(family, []string{"bill"}) {
		t.Errorf("got %q and %q, want william and, of a field that is not normalised so, bill", given, family)
	}
}

// TestTablesThatDecideKeysAreNamed: a profile keyed by date of birth names the
// tables of dates although no field of it is a date, because they decide which
// records have keys.
func TestTablesThatDecideKeysAreNamed(t *testing.T) {
	good := formalDocument(t)
	for _, name := range []string{
		demographics.TableCharacters, demographics.TableDefaultDates, demographics.TableJunkNames, demographics.TableLetterMap, demographics.TableMonthNames, demographics.TableNicknames,
		demographics.TablePostcodeAreas, demographics.TablePseudoPostcodes, demographics.TableSexCodes, demographics.TableTitles, demographics.TableUnicode,
	} {
		digest := tableDigest(t, name)
		wrong := strings.Repeat("0", len(digest))
		if !strings.Contains(good, digest) {
			t.Errorf("%s is not named", name)
		}
		if _, err := ParseProfile([]byte(strings.Replace(good, digest, wrong, 1))); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s with another digest: got %v", name, err)
		}
	}
}

// TestRecordsDoNotShareMemory: a record's values stay what they are until the
// same record is filled again, and filling needs no memory for names met before.
func TestRecordsDoNotShareMemory(t *testing.T) {
	n := preset(t, DefaultPreset).NewNormaliser(keyCheckToday)
	fill := func(record *Record, given, family string) {
		n.Normalise(func(in string) string {
			return map[string]string{FieldGivenName: given, FieldFamilyName: family, FieldPostcode: "SW1A 2AA", FieldSex: "2"}[in]
		}, record, func(string, reason.Code) {})
	}
	var one, two Record
	fill(&one, "Mary Jane", "Smith")
	fill(&two, "John", "O'Brien-Jones")
	var got []string
	for _, v := range append(one.Values, two.Values...) {
		got = append(got, strings.Join(v.Parts, " "))
	}
	if want := []string{"jane mary", "smith", "SW1A 2AA", "F", "john", "jones obrien", "SW1A 2AA", "F"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	raw := func(in string) string {
		if in == FieldFamilyName {
			return "O'Brien-Jones"
		}
		return "SW1A 2AA"
	}
	report := func(string, reason.Code) {}
	if allocations := testing.AllocsPerRun(100, func() { n.Normalise(raw, &two, report) }); allocations != 0 {
		t.Errorf("%v allocations a record", allocations)
	}
}
