package holder_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/audit/receipt"
	"tarn/keys/holder"
)

// TestNothingOfAPatientIsLeft: whoever opens a token is told a number; nothing else is: no
// file of the key holder's, no line of its log and no other answer holds the number, the
// token or what people wrote, whichever way a request goes wrong.
func TestNothingOfAPatientIsLeft(t *testing.T) {
	t.Parallel()
	s := newReid(t, func(*holder.Options) {})
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	const reason, comment = "Telephoned about her thyroid medication.", "Spoke to the practice nurse about it."
	gp, approver := s.as("gp/1"), s.as("approver/1")
	ask := asks(token, "TREAT", "Y12345")
	ask.Reason.Text = reason
	r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", ask)
	path := "/v1/reidentifications/" + r.ID
	must[api.OpenedItems](gp, "POST", path+"/open", nil)
	other := asks(token, "TREAT", "Y54321")
	pending := must[api.Reidentification](s.as("other-gp/1"), "POST", "/v1/reidentifications", other)
	must[api.Reidentification](approver, "POST", "/v1/reidentifications/"+pending.ID+"/approvals", api.ApprovalGiven{Decision: "reject", RequestHash: pending.RequestHash, Comment: comment})
	secrets := []string{patientNumber, token, strings.ToUpper(token), "thyroid", "practice nurse"}
	// What goes wrong repeats nothing of what was sent.
	named := asks(token, "TREAT", "Y12345")
	named.Reason.Text = "About 943 476 5919, who telephoned."
	wrong := []any{
		named, map[string]any{"project": token, "items": patientNumber}, map[string]any{"purpose": patientNumber}, map[string]any{patientNumber: token},
		api.ReidentificationRequest{Project: "care", Purpose: patientNumber, Organisation: "Y12345", Reason: ask.Reason, Items: ask.Items},
		api.ReidentificationRequest{Project: "care", Purpose: "TREAT", Organisation: "Y12345", Reason: ask.Reason, Items: []api.ReidentificationItem{{Row: 1, Token: patientNumber}}},
		api.ReidentificationRequest{Project: "care", Purpose: "TREAT", Organisation: "Y12345", Reason: ask.Reason, Items: []api.ReidentificationItem{{Row: 1, Token: token[:73] + "q"}}},
		api.ReidentificationRequest{Project: "care", Purpose: "TREAT", Organisation: patientNumber, Reason: ask.Reason, Items: ask.Items},
	}
	for i, body := range wrong {
		status, b := gp.call("POST", "/v1/reidentifications", body)
		if status < 400 || status >= 500 {
			t.Errorf("%d: %d %s", i, status, b)
		}
		for _, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%d: the refusal repeats what was sent: %s", i, b)
			}
		}
	}
	for _, at := range []string{path, "/v1/reidentifications", path + "/receipt", "/v1/me"} {
		_, b := gp.call("GET", at, nil)
		for _, secret := range secrets[:3] { // who asked may read their own reason
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s says %s", at, secret)
			}
		}
	}
	s.stop()
	looked := 0
	err := filepath.WalkDir(s.options.Dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s holds %s", path, secret)
			}
		}
		looked++
		return err
	})
	if err != nil || looked < 10 {
		t.Errorf("%d files were looked at, %v", looked, err)
	}
	for _, secret := range secrets {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log has a line with %s", secret)
		}
	}
	if !strings.Contains(s.log.String(), "/v1/reidentifications") {
		t.Error("the log has no line of re-identification: the search is blind")
	}
}

// TestReceiptsDoNotLinkPatients: the receipt of a request that opens nothing names the
// patient by nothing that the receipt of another token of theirs has, too. The log does.
func TestReceiptsDoNotLinkPatients(t *testing.T) {
	s := newReid(t, func(*holder.Options) {})
	gp := s.as("gp/1")
	r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(s.token(patientNumber), "TREAT", "Y12345"))
	if r.State != "pending_approval" {
		t.Fatalf("%+v", r)
	}
	proved := must[receipt.Receipt](gp, "GET", "/v1/reidentifications/"+r.ID+"/receipt", nil)
	leaf, err := audit.Decode(proved.Leaf)
	if err != nil || leaf.Request != r.RequestHash || leaf.SubjectH != "" {
		t.Errorf("%v %+v", err, leaf)
	}
	found := false
	for _, leaf := range s.leaves() {
		found = found || leaf.Request == r.RequestHash && leaf.SubjectH != ""
	}
	if !found {
		t.Error("nobody could find who asked about the patient")
	}
}
