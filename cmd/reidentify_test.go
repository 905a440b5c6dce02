package cmd_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tarn/bench/care"
	"tarn/bench/keyholder"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/client"
)

// TestReidentification: with the binaries, in both schemes whose tokens can be opened, a
// patient's own practice is told who they are, another one when somebody else has approved,
// and nobody a second time; the receipts verify, and the commands end as they should.
func TestReidentification(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	for _, scheme := range []string{keys.SchemeOblivious, keys.SchemeKeyedHash} {
		t.Run(scheme, func(t *testing.T) {
			site, err := care.Begin(t.Context(), care.Options{
				Patients: 3, Scheme: scheme, Keyholder: keyholder.Options{Binary: filepath.Join(binaries, "keyholder"), Folder: t.TempDir(), Software: "test", Clock: time.Now},
			})
			if site != nil {
				t.Cleanup(func() { _ = site.Close() })
			}
			if err != nil {
				t.Fatal(err)
			}
			c := &surgery{t, site, binaries}
			c.directCare()
			c.approval()
		})
	}
}

// surgery is a site, and the programs.
type surgery struct {
	*testing.T
	*care.Site
	binaries string
}

// as has somebody sign in, and returns the path of their token.
func (c *surgery) as(p care.Person) string {
	c.Helper()
	token, err := c.Site.Token(p, nil)
	if err != nil {
		c.Fatal(err)
	}
	path := filepath.Join(c.TempDir(), "me.jwt")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		c.Fatal(err)
	}
	return path
}

// reid runs keyholder reid, and returns its exit code and what it printed and said.
func (c *surgery) reid(token string, into any, arguments ...string) (code int, said string) {
	c.Helper()
	command := exec.Command(filepath.Join(c.binaries, "keyholder"), append(append([]string{"reid"}, arguments...), "--keyholder", c.People, "--ca", c.CA(), "--token-file", token, "--json")...)
	var complaint strings.Builder
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil && command.ProcessState == nil {
		c.Fatal(err)
	}
	if code = command.ProcessState.ExitCode(); into != nil && len(out) > 0 {
		if err := json.Unmarshal(out, into); err != nil {
			c.Fatalf("%v in %s", err, out)
		}
	}
	return code, string(out) + complaint.String()
}

// asking writes a request for a patient.
func (c *surgery) asking(patient care.Patient, organisation string) string {
	c.Helper()
	b, err := json.Marshal(api.ReidentificationRequest{
		Project: care.Project, Purpose: "TREAT", Organisation: organisation, Reason: api.Reason{Code: "care", Text: "Called back about a blood result."},
		Items: []api.ReidentificationItem{{Row: 1, Token: patient.Token}},
	})
	if err != nil {
		c.Fatal(err)
	}
	path := filepath.Join(c.TempDir(), "request.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		c.Fatal(err)
	}
	return path
}

// names fails unless an opening names the patient.
func (c *surgery) names(o *api.OpenedItems, patient care.Patient) {
	c.Helper()
	if len(o.Items) != 1 || o.Items[0].Identity == nil || o.Items[0].Identity.NHSNumber != patient.Number {
		c.Errorf("%+v does not name the patient", o)
	}
}

func (c *surgery) directCare() {
	c.Helper()
	gp, patient := c.as(care.Person{Subject: "gp", Organisation: care.Practice, Role: "gp"}), c.Patients[0]
	var made api.Reidentification
	if code, said := c.reid(gp, &made, "ask", "--in", c.asking(patient, care.Practice)); code != 0 || made.State != "ready" {
		c.Fatalf("%d %s", code, said)
	}
	var opened api.OpenedItems
	receipt := filepath.Join(c.TempDir(), "receipt.json")
	if code, said := c.reid(gp, &opened, "open", made.ID, "--receipt", receipt); code != 0 {
		c.Fatalf("%d %s", code, said)
	}
	c.names(&opened, patient)
	verify := exec.Command(filepath.Join(c.binaries, "auditor"), "receipt", receipt, "--log-key", filepath.Join(c.Site.Log(1), "log.vkey"))
	if out, err := verify.CombinedOutput(); err != nil {
		c.Errorf("the receipt: %v %s", err, out)
	}
	// A role that may not ask is refused with exit code 4, and told why.
	approver := c.as(care.Person{Subject: "approver", Organisation: care.Board, Role: "approver"})
	if code, said := c.reid(approver, &made, "ask", "--in", c.asking(patient, care.Board)); code != 4 || !strings.Contains(said, "your role may not ask for this purpose") {
		c.Errorf("%d %s", code, said)
	}
}

func (c *surgery) approval() {
	c.Helper()
	gp, patient := c.as(care.Person{Subject: "other-gp", Organisation: care.Other, Role: "gp"}), c.Patients[1]
	approver := c.as(care.Person{Subject: "approver", Organisation: care.Board, Role: "approver"})
	var made, decided api.Reidentification
	if code, said := c.reid(gp, &made, "ask", "--in", c.asking(patient, care.Other)); code != 0 || made.State != "pending_approval" {
		c.Fatalf("%d %s", code, said)
	}
	if code, said := c.reid(gp, nil, "approve", made.ID, "--hash", made.RequestHash); code != 4 || !strings.Contains(said, "Who asks may not approve") {
		c.Errorf("one's own approval: %d %s", code, said)
	}
	if code, said := c.reid(approver, &decided, "approve", made.ID, "--hash", made.RequestHash); code != 0 || decided.State != "ready" {
		c.Fatalf("%d %s", code, said)
	}
	var opened api.OpenedItems
	if code, said := c.reid(gp, &opened, "open", made.ID); code != 0 {
		c.Fatalf("%d %s", code, said)
	}
	c.names(&opened, patient)
	evening, err := c.SignedIn(care.Person{Subject: "other-gp", Organisation: care.Other, Role: "gp", Session: "evening"})
	if err != nil {
		c.Fatal(err)
	}
	defer evening.Close()
	if _, err := evening.Open(c.Context(), made.ID); client.Code(err) != api.CodeGone {
		c.Errorf("another session: %v", err)
	}
}
