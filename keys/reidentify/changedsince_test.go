package reidentify_test

import (
	"strings"
	"testing"
	"time"

	"tarn/keys/reidentify"
)

const changedPolicy = `schema = "tarn.policy/1"
operators = ["op1", "op2"]
linkers = ["linker"]
[break_glass]
assurances = ["AAL3"]
[[project]]
name = "care"
issuer = "https://sign-in.example.nhs.uk"
controllers = ["QMJ"]
approvals = 1
[[project.allow]]
roles = ["gp"]
purposes = ["TREAT"]
when = "relationship"
[[project.allow]]
roles = ["analyst"]
purposes = ["CAREMGT"]
when = "route"
[[project.approver]]
roles = ["approver"]
[[project.reviewer]]
roles = ["guardian"]
[[project.break_glass]]
roles = ["emergency"]
`

var changedNow = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func somebody(subject, organisation, role string) reidentify.Person {
	return reidentify.Person{Issuer: "https://sign-in.example.nhs.uk", Subject: subject, Organisation: organisation, Role: role, Assurance: "AAL3", SignedIn: changedNow}
}

func changedFacts(t *testing.T, policy string, r *reidentify.Request) *reidentify.Facts {
	t.Helper()
	p, err := reidentify.ParsePolicy([]byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	return &reidentify.Facts{Now: changedNow, Policy: p, Project: reidentify.Project{Name: "care", Direct: true, End: changedNow.Add(time.Hour)}, Request: r, Alerts: true}
}

func readyBy(rule reidentify.Rule, purpose reidentify.Purpose, requester reidentify.Person) *reidentify.Request {
	return &reidentify.Request{
		Draft: reidentify.Draft{Requester: requester, Project: "care", Organisation: requester.Organisation, Purpose: purpose, Items: make([]reidentify.Item, 1)},
		State: reidentify.Ready, Decision: reidentify.Decision{Outcome: reidentify.Ready, Rule: rule}, Expires: changedNow.Add(time.Hour),
	}
}

// replaced is a policy in which one text has become another.
func replaced(t *testing.T, policy string, pairs ...string) string {
	t.Helper()
	changed := strings.NewReplacer(pairs...).Replace(policy)
	if changed == policy {
		t.Fatal("the policy was not changed")
	}
	return changed
}

// TestWhoOpensIsHeldToTheRoleOfNow: what was decided for a role is not opened in another
// one, by an account that links, or in an emergency by a weaker sign-in.
func TestWhoOpensIsHeldToTheRoleOfNow(t *testing.T) {
	related := readyBy(reidentify.RuleRelationship, reidentify.Treatment, somebody("gp", "Y12345", "gp"))
	emergency := readyBy(reidentify.RuleBreakGlass, reidentify.EmergencyTreatment, somebody("doctor", "RX1", "emergency"))
	emergency.BreakGlass = true
	worklist := readyBy(reidentify.RuleRouted, reidentify.CareManagement, somebody("analyst", "QMJ", "analyst"))
	worklist.Route, worklist.Items[0].Recipient = reidentify.ToPractice, "Y12345"
	weak := somebody("doctor", "RX1", "emergency")
	weak.Assurance = "AAL1"
	elsewhere := somebody("doctor", "RX1", "emergency")
	elsewhere.Issuer = "https://other.example.nhs.uk"
	for name, one := range map[string]struct {
		request *reidentify.Request
		by      reidentify.Person
		want    reidentify.Rule // empty: nothing is refused
	}{
		"the same role":            {related, somebody("gp", "Y12345", "gp"), ""},
		"another role":             {related, somebody("gp", "Y12345", "receptionist"), reidentify.RuleRolePurpose},
		"an account that links":    {related, somebody("linker", "Y12345", "gp"), reidentify.RuleLinker},
		"a strong sign-in":         {emergency, somebody("doctor", "RX1", "emergency"), ""},
		"a weak sign-in":           {emergency, weak, reidentify.RuleBreakGlassSignIn},
		"another issuer":           {emergency, elsewhere, reidentify.RuleIssuer},
		"a linker in an emergency": {emergency, somebody("linker", "RX1", "emergency"), reidentify.RuleLinker},
		"a practice":               {worklist, somebody("gp2", "Y12345", "gp"), ""},
		"a linker at a practice":   {worklist, somebody("linker", "Y12345", "gp"), reidentify.RuleLinker},
	} {
		t.Run(name, func(t *testing.T) {
			refused := reidentify.StillMay(changedFacts(t, changedPolicy, one.request), &one.by)
			if refused == nil && one.want != "" || refused != nil && refused.Rule != one.want {
				t.Errorf("%v, want %q", refused, one.want)
			}
		})
	}
}

// TestAPolicyThatWasChangedHolds: what needs others' approval by the policy of now is not
// opened by a decision of before, and whoever is no approver any more has approved nothing.
func TestAPolicyThatWasChangedHolds(t *testing.T) {
	gp := somebody("gp", "Y12345", "gp")
	related := readyBy(reidentify.RuleRelationship, reidentify.Treatment, gp)
	approved := readyBy(reidentify.RuleApproved, reidentify.Treatment, gp)
	approved.Decision.Needed = 1
	approved.Approvals = []reidentify.Approval{{By: somebody("op3", "QMJ", "approver"), Verdict: reidentify.Approve}}
	for name, one := range map[string]struct {
		request *reidentify.Request
		policy  string
		refused bool
	}{
		"related, unchanged":  {related, changedPolicy, false},
		"related, approval":   {related, replaced(t, changedPolicy, `when = "relationship"`, `when = "approval"`), true},
		"approved, unchanged": {approved, changedPolicy, false},
		"approved, approval":  {approved, replaced(t, changedPolicy, `when = "relationship"`, `when = "approval"`), false},
		"two have to approve": {approved, replaced(t, changedPolicy, "approvals = 1", "approvals = 2"), true},
		"no approver":         {approved, replaced(t, changedPolicy, `roles = ["approver"]`, `roles = ["caldicott"]`), true},
		"an operator now":     {approved, replaced(t, changedPolicy, `"op2"`, `"op3"`), true},
		"no controller now":   {approved, replaced(t, changedPolicy, `controllers = ["QMJ"]`, `controllers = ["RX1"]`), true},
	} {
		t.Run(name, func(t *testing.T) {
			refused := reidentify.StillMay(changedFacts(t, one.policy, one.request), &gp)
			if (refused != nil) != one.refused {
				t.Errorf("%v, refused: %v", refused, one.refused)
			}
		})
	}
}

// TestApprovalsAreOfThoseWhoStillApprove: an approval of somebody who was taken off the
// policy does not count with the next one.
func TestApprovalsAreOfThoseWhoStillApprove(t *testing.T) {
	r := readyBy(reidentify.RuleNeedsApproval, reidentify.Treatment, somebody("gp", "Y12345", "gp"))
	r.State, r.Decision.Outcome, r.Decision.Needed = reidentify.Pending, reidentify.Pending, 2
	r.Approvals = []reidentify.Approval{{By: somebody("gone", "QMJ", "was-approver"), Verdict: reidentify.Approve}}
	policy := changedFacts(t, changedPolicy, r).Policy
	if _, refused := r.Decides(policy, reidentify.Approval{By: somebody("one", "QMJ", "approver"), Verdict: reidentify.Approve, At: changedNow}); refused != nil || r.State != reidentify.Pending {
		t.Fatalf("%v %s", refused, r.State)
	}
	if _, refused := r.Decides(policy, reidentify.Approval{By: somebody("two", "RX1", "approver"), Verdict: reidentify.Approve, At: changedNow}); refused != nil || r.State != reidentify.Ready {
		t.Fatalf("%v %s", refused, r.State)
	}
}
