package encode

import "testing"

// TestPresetsArePinned: the digest of a preset, and its key check value under
// the known key of testdata/vectors/spec.json, never change once a version that
// has it was released: data encoded before and after could not be compared, and
// projects pin them. Whatever changes one (a member, a list of
// tokenise/demographics/tables, the Unicode data, the published records, a rule
// of normalisation, the encoder) needs a preset of a new name, beside the old.
// docs/encoding.md shows the same values.
func TestPresetsArePinned(t *testing.T) {
	v := readVectors(t)
	pinned := map[string]struct{ digest, kcv string }{
		"nhs-field-dob-1": {"77c5e6ceb39cb7402acdabd5feacc7816948568a73845ec28195635583828278", "ae98abb717cb2a66ea1143fe25f5a9ab"},
		"nhs-field-1":     {"f1d5c1977ef423a0356d845fbdd746270ea41912dc77079ba9d99500edc7c7ae", "b40e721104287a39a47da219ac76203a"},
	}
	if len(pinned) != len(PresetNames()) {
		t.Errorf("%d presets, %d of them pinned", len(PresetNames()), len(pinned))
	}
	for _, name := range PresetNames() {
		p := preset(t, name)
		e, err := NewEncoder(p, keyOf(t, v.Encoding.KEnc), v.Encoding.Project, v.Encoding.EncodingEpoch)
		if err != nil {
			t.Fatal(err)
		}
		kcv, err := e.KeyCheckValue()
		if err != nil {
			t.Fatal(err)
		}
		if want := pinned[name]; p.DigestText() != want.digest || kcv != want.kcv {
			t.Errorf("%s has digest %s and key check value %s, want %s and %s: give what you changed a new name", name, p.DigestText(), kcv, want.digest, want.kcv)
		}
	}
}
