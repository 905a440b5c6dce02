package encode

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"tarn/keys"
	"tarn/keys/secret"
	"tarn/tokenise/reason"
)

// FuzzProfile: no document makes ParseProfile panic. One that is accepted is
// what the schema accepts, is the same profile when it is written again, and
// encodes a record within the limits.
func FuzzProfile(f *testing.F) {
	good, _ := PresetDocument(DefaultPreset)
	for _, name := range PresetNames() {
		document, _ := PresetDocument(name)
		f.Add(document)
	}
	febrl, err := os.ReadFile("../../testdata/febrl/febrl.profile.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(febrl)
	for _, c := range mistakes {
		f.Add([]byte(strings.Replace(string(good), c.old, c.new, 1)))
	}
	schema := compileSchema(f)
	raw := map[string]string{FieldGivenName: "Bob Anne", FieldFamilyName: "O'Brien-Featherstonehaugh", FieldDateOfBirth: "1973-10-22", FieldSex: "2", FieldPostcode: "SW1A 2AA"}
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := ParseProfile(document)
		if err != nil {
			if p != nil {
				t.Fatal("a profile came with an error")
			}
			return
		}
		if err := validate(schema, document); err != nil {
			t.Fatalf("accepted, but not by the schema: %v", err)
		}
		encoding, err := keys.Encode(&p.Encoding)
		if err != nil {
			t.Fatal(err)
		}
		written, err := keys.Encode(profileDocument{Schema: ProfileSchema, Name: p.Name, Title: p.Title, Encoding: encoding, Comparison: p.Comparison})
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseProfile(written)
		if err != nil {
			t.Fatalf("refused when written again: %v", err)
		}
		if again.Digest() != p.Digest() || !reflect.DeepEqual(again.Layout(), p.Layout()) {
			t.Fatal("another profile when written again")
		}
		e, err := NewEncoder(p, secret.New([secret.Size]byte{1}), "p", 1)
		if err != nil {
			t.Fatal(err)
		}
		var record Record
		p.NewNormaliser(keyCheckToday).Normalise(func(in string) string {
			if text, ok := raw[in]; ok {
				return text
			}
			return "Flat 12A"
		}, &record, func(string, reason.Code) {})
		var out Encoded
		if err := e.NewWorker().Encode(&record, &out); err != nil {
			t.Fatal(err)
		}
		size := 0
		for i, filter := range out.Filters {
			if filter != nil && len(filter) != p.Layout().Filters[i].Bytes {
				t.Fatal("a filter of another size than its column")
			}
			size += len(filter)
		}
		if size > maxRecordBits/8 {
			t.Fatalf("a record of %d bytes", size)
		}
	})
}
