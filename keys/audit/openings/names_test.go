package openings

import (
	"testing"

	"tarn/keys/api"
	"tarn/keys/reidentify"
)

// TestNames: an auditor knows nothing of the key holder but how it writes; what is written
// is still called what it is called here.
func TestNames(t *testing.T) {
	for here, there := range map[string]string{
		ruleGivenBack:    string(api.CodeWitness),
		ruleNotLogged:    string(api.CodeLogUnavailable),
		ruleApproved:     string(reidentify.RuleApproved),
		purposeEmergency: string(reidentify.EmergencyTreatment),
		outcomeReleased:  string(reidentify.Released),
		outcomeFailed:    string(reidentify.Failed),
		outcomeVoid:      string(reidentify.Void),
	} {
		if here != there {
			t.Errorf("%q is called %q", here, there)
		}
	}
}
