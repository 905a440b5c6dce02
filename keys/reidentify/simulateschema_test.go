package reidentify

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"tarn/keys"
)

// TestSimulationsMeetTheirSchema, with occasions and without any; a member more is refused.
func TestSimulationsMeetTheirSchema(t *testing.T) {
	judge, err := jsonschema.NewCompiler().Compile("../../docs/schemas/policy-simulation.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(document []byte) error {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		return judge.Validate(v)
	}
	for _, occasions := range [][]Occasion{past(), nil} {
		s := Replay(parsed(t, whole), occasions)
		s.Software, s.Created = "tarn test", "2026-11-27T00:00:00Z"
		document, err := keys.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(document); err != nil {
			t.Errorf("%v\n%s", err, document)
		}
		if valid(bytes.Replace(document, []byte(`"policy":`), []byte(`"patient": "x", "policy":`), 1)) == nil {
			t.Error("a document with a patient passes")
		}
	}
}
