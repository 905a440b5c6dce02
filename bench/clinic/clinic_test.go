package clinic_test

import (
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tarn/bench/care"
	"tarn/bench/clinic"
	"tarn/bench/idp"
	"tarn/keys/api"
	"tarn/keys/client"
)

// open opens a clinic with the program as it is now.
func open(t *testing.T, limits string) *clinic.Clinic {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "keyholder")
	if out, err := exec.Command("go", "build", "-o", binary, "tarn/cmd/keyholder").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c, err := clinic.Open(t.Context(), clinic.Options{Folder: t.TempDir(), Binary: binary, Patients: 9, Limits: limits, Software: "test", Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// as is somebody who calls as a program.
func as(t *testing.T, c *clinic.Clinic, user string) *client.Person {
	t.Helper()
	token, err := c.Provider.Vouch(user, idp.AAL2)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "me.jwt")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := client.SignedIn(c.Console, c.Authority, path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// states counts what somebody sees of requests.
func states(t *testing.T, p *client.Person, as string) map[string]int {
	t.Helper()
	all, err := p.Reidentifications(t.Context(), as, "")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, one := range all {
		got[one.State]++
	}
	return got
}

// page is what a page says, to somebody whose browser it is.
func page(t *testing.T, b *http.Client, address string) string {
	t.Helper()
	answer, err := b.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %v", answer.StatusCode, err)
	}
	return string(content)
}

// TestClinic: people sign in at the pages, and a past is there for everybody to see.
func TestClinic(t *testing.T) {
	c := open(t, "")
	doctor := as(t, c, idp.GPOfA)
	if got := states(t, doctor, "requester"); len(got) != 0 {
		t.Errorf("before there was a past: %v", got)
	}
	past, err := c.Populate(t.Context(), 6)
	if err != nil {
		t.Fatal(err)
	}
	if len(past.Opened) != 6 {
		t.Errorf("%d were opened", len(past.Opened))
	}
	for _, one := range []struct {
		who, as string
		want    map[string]int
	}{
		{idp.GPOfA, "requester", map[string]int{"opened": 2}},
		{idp.GPOfB, "requester", map[string]int{"opened": 2, "pending_approval": 1, "refused": 1}},
		{idp.Approver, "approver", map[string]int{"pending_approval": 1, "refused": 1}},
		{idp.Approver, "requester", map[string]int{"refused": 1}},
		{idp.Emergency, "requester", map[string]int{"opened": 1}},
		{idp.Guardian, "reviewer", map[string]int{"opened": 1}},
		{idp.OtherGPOfA, "recipient", map[string]int{"ready": 1}},
	} {
		if got := states(t, as(t, c, one.who), one.as); !maps.Equal(got, one.want) {
			t.Errorf("%s as %s sees %v, not %v", one.who, one.as, got, one.want)
		}
	}
	if !c.Duty.Wait("break-glass") {
		t.Error("nobody was told of the emergency")
	}
	guardian, err := c.Visitor(t.Context(), idp.Guardian, idp.AAL2)
	if err != nil {
		t.Fatal(err)
	}
	if text := page(t, guardian, c.Console+"/log?kind=reid-decision"); !strings.Contains(text, "910000000004") {
		t.Error("the log does not show who was refused")
	}
	register := page(t, &http.Client{Transport: guardian.Transport}, c.Console+"/register")
	for _, text := range []string{"Direct care, and finding patients", "Planning of services", "A registry of a disease", idp.ICB} {
		if !strings.Contains(register, text) {
			t.Errorf("the register does not say %q", text)
		}
	}
}

// TestLimits: a clinic whose limits are small is beyond one soon; an ordinary one is not.
func TestLimits(t *testing.T) {
	c := open(t, `requests_a_day = { most = 1, action = "refuse" }`)
	doctor := as(t, c, idp.GPOfA)
	for i, want := range []string{"ready", "refused"} {
		made, err := doctor.Reidentify(t.Context(), care.NewID(), &api.ReidentificationRequest{
			Project: care.Project, Purpose: "TREAT", Organisation: idp.PracticeA, Reason: api.Reason{Code: "care", Text: "Called back about a blood result."},
			Items: []api.ReidentificationItem{{Row: 1, Token: c.Of(idp.PracticeA)[i].Token}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if made.State != want || (made.Decision.Limit == "requests_a_day") != (want == "refused") {
			t.Errorf("request %d is %s by %s %s", i+1, made.State, made.Decision.Rule, made.Decision.Limit)
		}
	}
}
