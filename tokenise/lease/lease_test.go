package lease_test

import (
	"encoding/json"
	"strings"
	"testing"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/lease"
)

var escrowKey = strings.Repeat("cd", 1216)

var record = `{"schema": "tarn.project/1", "name": "p", "domain": "d", "scheme": "keyed-hash", "profile": "nhs-field-dob-1", "purpose": "care",
 "controllers": ["N"], "parties": [{"source_dataset": "north"}, {"source_dataset": "south"}], "groups": ["sex"],
 "keys": {"domain_no": 1, "token_epoch": 3, "encoding_epoch": 2, "token_kcv": "00112233445566778899aabbccddeeff", "encoding_kcv": "ffeeddccbbaa99887766554433221100", "escrow_public_key": "` + escrowKey + `"},
 "reidentify": {"mode": "direct"}, "expires": "2099-12-31"}`

func parse(t *testing.T, edit func(map[string]any)) *keys.Project {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal([]byte(record), &document); err != nil {
		t.Fatal(err)
	}
	edit(document)
	b, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	p, err := keys.ParseProject(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAgree: each member by which tokens, encodings or the linked differ is
// refused by name; the others are said; a check value that one side does not
// state is none.
func TestAgree(t *testing.T) {
	set := func(member string, value any) func(map[string]any) {
		return func(d map[string]any) {
			if name, ok := strings.CutPrefix(member, "keys."); ok {
				d["keys"].(map[string]any)[name] = value
				return
			}
			d[member] = value
		}
	}
	held := parse(t, func(map[string]any) {})
	for name, tt := range map[string]struct {
		edit    func(map[string]any)
		refused string
		said    string
	}{
		"the same":            {func(map[string]any) {}, "", ""},
		"name":                {set("name", "q"), "name is q in the file and p at the key holder", ""},
		"domain":              {set("domain", "e"), "domain is e", ""},
		"profile":             {set("profile", "nhs-field-1"), "profile is nhs-field-1", ""},
		"domain number":       {set("keys.domain_no", 2), "keys.domain_no is 2", ""},
		"token epoch":         {set("keys.token_epoch", 4), "keys.token_epoch is 4 in the file and 3", ""},
		"encoding epoch":      {set("keys.encoding_epoch", 3), "keys.encoding_epoch is 3", ""},
		"token key":           {set("keys.token_kcv", strings.Repeat("0", 32)), "keys.token_kcv is 000", ""},
		"encoding key":        {set("keys.encoding_kcv", strings.Repeat("0", 32)), "keys.encoding_kcv is 000", ""},
		"no check values":     {func(d map[string]any) { set("keys.token_kcv", nil)(d); set("keys.encoding_kcv", nil)(d) }, "", ""},
		"re-identification":   {set("reidentify", map[string]any{"mode": "none"}), "reidentify.mode is none", ""},
		"a party less":        {set("parties", []any{map[string]any{"source_dataset": "north"}}), "parties is north in the file and north, south", ""},
		"purpose and expires": {func(d map[string]any) { set("purpose", "x")(d); set("expires", "2098-12-31")(d) }, "", "differs from the project file in purpose, expires,"},
		"groups":              {set("groups", []any{}), "", "in groups,"},
		"controllers":         {set("controllers", []any{"N", "S"}), "", "in controllers,"},
		"opt-outs":            {set("opt_outs", map[string]any{"ndoo": true}), "", "in opt_outs,"},
		"escrow key":          {set("keys.escrow_public_key", strings.Repeat("ab", 1216)), "", "in keys.escrow_public_key,"},
		"no escrow key":       {set("keys.escrow_public_key", nil), "", ""},
		"legal basis":         {set("legal_basis", map[string]any{"article6": "6(1)(e)"}), "", "in legal_basis,"},
	} {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			err := lease.Agree(parse(t, tt.edit), held, &said)
			switch {
			case tt.refused == "" && err != nil, tt.refused != "" && (err == nil || !strings.Contains(err.Error(), tt.refused) || fault.KindOf(err) != fault.Disagreement):
				t.Errorf("error %v, want %q", err, tt.refused)
			case tt.said == "" && said.Len() > 0 || !strings.Contains(said.String(), tt.said):
				t.Errorf("said %q, want %q", said.String(), tt.said)
			}
		})
	}
}
