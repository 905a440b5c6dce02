package report_test

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"tarn/keys"
	"tarn/linkage/result"
)

// TestRunMeetsItsSchema holds run.json, with everything in it and with nothing, to
// the schema that others read it by.
func TestRunMeetsItsSchema(t *testing.T) {
	judge, err := jsonschema.NewCompiler().Compile("../../docs/schemas/link-run.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(run *result.Run) error {
		b, err := keys.Encode(run)
		if err != nil {
			return err
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return err
		}
		return judge.Validate(v)
	}
	_, run := sample()
	if err := valid(run); err != nil {
		t.Error(err)
	}
	least := &result.Run{Schema: run.Schema, Software: run.Software, Created: run.Created, RunID: run.RunID, Parameters: run.Parameters}
	if err := valid(least); err != nil {
		t.Error(err)
	}
	run.Patterns[0].Pairs = 9
	if valid(run) == nil {
		t.Error("control: a pattern that nine pairs have must be refused")
	}
}
