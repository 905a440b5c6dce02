package keys_test

import (
	"encoding/json"
	"strings"
	"testing"

	"tarn/keys"
)

const project = `{"schema":"tarn.project/1","name":"first","domain":"here","scheme":"keyed-hash","profile":"nhs-field-dob-1",
"parties":[{"source_dataset":"north"}],"keys":{"domain_no":1,"token_epoch":1,"encoding_epoch":1},"reidentify":{"mode":"direct"},"expires":"2099-12-31"}`

// with returns the project with the member at a path set to a value.
func with(t *testing.T, value any, path ...string) []byte {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal([]byte(project), &document); err != nil {
		t.Fatal(err)
	}
	at := document
	for _, name := range path[:len(path)-1] {
		at = at[name].(map[string]any)
	}
	at[path[len(path)-1]] = value
	b, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestProjectMembers: what is refused names its member and says what to do;
// what lies just inside the limit is read.
func TestProjectMembers(t *testing.T) {
	kcv := strings.Repeat("0f", 16)
	for _, c := range []struct {
		path  string
		value any
		want  string // of the error; empty is read
	}{
		{"keys.token_epoch", 65535, ""},
		{"keys.token_epoch", 65536, "member keys.token_epoch must be from 1 to 65535"},
		{"keys.token_epoch", 0, "member keys.token_epoch must be from 1"},
		{"keys.encoding_epoch", 65536, ""},
		{"keys.encoding_epoch", 4294967295, ""},
		{"keys.encoding_epoch", 4294967296, "/keys/encoding_epoch is not of the expected type"},
		{"keys.encoding_epoch", 0, "member keys.encoding_epoch must be from 1 to 4294967295"},
		{"keys.token_kcv", kcv, ""},
		{"keys.token_kcv", strings.ToUpper(kcv), "member keys.token_kcv must be null or 32 of 0-9 and a-f: copy"},
		{"keys.encoding_kcv", "", "member keys.encoding_kcv must be null or 32"},
		{"keys.escrow_public_key", strings.Repeat("0f", keys.EscrowPublicKeySize), ""},
		{"keys.escrow_public_key", strings.Repeat("0F", keys.EscrowPublicKeySize), "member keys.escrow_public_key must be left out or 2432 of 0-9 and a-f: get"},
		{"keys.escrow_public_key", strings.Repeat("0f", keys.EscrowPublicKeySize-1), "member keys.escrow_public_key must be left out"},
		{"keys.escrow_public_key", "", "member keys.escrow_public_key must be left out"},
		{"parties", []any{}, "member parties is empty: name"},
		{"parties", []any{map[string]any{"source_dataset": "a"}, map[string]any{"source_dataset": "a"}}, "member parties[1].source_dataset is there twice"},
		{"parties", []any{map[string]any{"source_dataset": "a", "budget_rows": -1}}, "member parties[0].budget_rows is negative"},
		{"reidentify.approvals", -1, "member reidentify.approvals is negative"},
		{"groups", nil, ""},
		{"groups", []string{"sex", "ethnicity", "imd_decile", "ward 7", "nhs_region", "Sexual orientation"}, ""},
		{"groups", []string{"sex", "unique_id"}, "member groups[1] is a field that identifies people"},
		{"groups", []string{"nhs_number"}, "take it out"},
		{"groups", []string{"NHS Number"}, "member groups[0] is a field"},
		{"groups", []string{"given_name"}, "member groups[0] is a field"},
		{"groups", []string{"other_given_names"}, "member groups[0] is a field"},
		{"groups", []string{"family_name"}, "member groups[0] is a field"},
		{"groups", []string{"previous_family_name"}, "member groups[0] is a field"},
		{"groups", []string{"Date-of-birth"}, "member groups[0] is a field"},
		{"groups", []string{"postcode"}, "member groups[0] is a field"},
		{"groups", []string{"gp_practice_code"}, "member groups[0] is a field"},
		{"groups", []string{"source_dataset"}, "member groups[0] is the name of a column of Tarn's own"},
		{"groups", []string{"nhs_token"}, "member groups[0] is the name of a column of Tarn's own"},
		{"groups", []string{"bf_given_name"}, "member groups[0] begins with bf_"},
		{"groups", []string{"TAG_sex"}, "member groups[0] begins with tag_"},
		{"groups", []string{"blk_dob"}, "member groups[0] begins with blk_"},
		{"groups", []string{"token_old"}, "member groups[0] begins with token"},
		{"groups", []string{""}, "member groups[0] is empty"},
		{"groups", []string{" _ "}, "member groups[0] is empty"},
		{"groups", []string{"sex "}, "member groups[0] has blanks"},
		{"groups", []string{"age\nband"}, "member groups[0] has blanks around it or a control"},
		{"groups", []string{strings.Repeat("a", 101)}, "member groups[0] is longer than 100 bytes"},
		{"groups", []string{"age_band", "Age Band"}, "member groups[1] is there twice"},
	} {
		_, err := keys.ParseProject(with(t, c.value, strings.Split(c.path, ".")...))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s = %v: %v", c.path, c.value, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s = %v: got error %v, want %q", c.path, c.value, err, c.want)
		}
	}
}

// FuzzParseProject: what is read meets its own check, has a digest and can be
// written and read again.
func FuzzParseProject(f *testing.F) {
	f.Add([]byte(project))
	f.Add([]byte(strings.Replace(project, `"parties"`, `"groups":["sex"],"parties"`, 1)))
	f.Add([]byte(strings.Replace(project, `"token_epoch":1`, `"token_epoch":65536`, 1)))
	f.Add([]byte(`{"schema":"tarn.project/1"`))
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := keys.ParseProject(document)
		if err != nil {
			return
		}
		if len(p.Digest()) != 64 {
			t.Fatal("no digest")
		}
		b, err := keys.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.ParseProject(b); err != nil {
			t.Fatalf("written and read again: %v", err)
		}
	})
}
