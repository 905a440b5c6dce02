package reidentify_test

import (
	"slices"
	"testing"
	"time"

	"tarn/keys/reidentify"
)

const mayPolicy = `schema = "tarn.policy/1"
operators = ["ops"]
linkers = ["linker"]
[break_glass]
assurances = ["AAL3"]
[[guardian]]
roles = ["guardian"]
organisations = ["QMJ"]
[[project]]
name = "care"
issuer = "https://a.example"
controllers = ["QMJ"]
[[project.allow]]
roles = ["gp"]
purposes = ["TREAT", "PATSFTY"]
when = "approval"
max_items = 200
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
organisations = ["QMJ"]
[[project.reviewer]]
roles = ["guardian"]
organisations = ["QMJ"]
[[project.break_glass]]
roles = ["gp"]
`

// TestMay: what a person is shown first is what the rules would let them do.
func TestMay(t *testing.T) {
	policy, err := reidentify.ParsePolicy([]byte(mayPolicy))
	if err != nil {
		t.Fatal(err)
	}
	care := []reidentify.Project{{Name: "care", Direct: true, End: time.Unix(1<<40, 0), Purposes: []reidentify.Purpose{"TREAT", "CAREMGT"}}}
	may := func(subject, organisation, role string, projects []reidentify.Project) reidentify.Abilities {
		return policy.May(&reidentify.Person{Issuer: "https://a.example", Subject: subject, Organisation: organisation, Role: role}, projects)
	}
	gp := may("gp", "Y12345", "gp", care)
	if len(gp.Asks) != 1 || !gp.Asks[0].Glass || gp.Asks[0].Needs.Within != "5m0s" || len(gp.Asks[0].Routes) != 0 || !slices.Equal(gp.Receives, []string{"care"}) {
		t.Errorf("a GP may %+v", gp)
	}
	// By relationship where it is allowed both ways; PATSFTY is not the project's.
	if want := []reidentify.AsksFor{{Purpose: "TREAT", When: reidentify.WhenRelationship, MaxItems: 200}}; !slices.Equal(gp.Asks[0].Purposes, want) {
		t.Errorf("a GP may ask for %+v", gp.Asks[0].Purposes)
	}
	if analyst := may("a", "QMJ", "analyst", care); len(analyst.Asks) != 1 || len(analyst.Asks[0].Routes) != 1 || len(analyst.Asks[0].Purposes) != 0 || len(analyst.Receives) != 0 {
		t.Errorf("an analyst may %+v", analyst)
	}
	if guardian := may("g", "QMJ", "guardian", care); !guardian.Guardian || len(guardian.Reviews) != 1 || len(guardian.Asks) != 0 {
		t.Errorf("a guardian may %+v", guardian)
	}
	if approver := may("p", "QMJ", "approver", care); len(approver.Approves) != 1 || approver.Guardian {
		t.Errorf("an approver may %+v", approver)
	}
	if operator := may("ops", "QMJ", "approver", care); len(operator.Approves) != 0 || !operator.Operator {
		t.Errorf("an operator may %+v", operator)
	}
	if linker := may("linker", "Y12345", "gp", care); len(linker.Asks) != 0 {
		t.Errorf("who links may %+v", linker)
	}
	if other := may("gp", "Y12345", "gp", nil); len(other.Asks) != 0 {
		t.Errorf("of a project that is not there a GP may %+v", other)
	}
	if closed := may("gp", "Y12345", "gp", []reidentify.Project{{Name: "care", End: time.Unix(1<<40, 0)}}); len(closed.Asks) != 0 {
		t.Errorf("of a project whose tokens nobody opens a GP may %+v", closed)
	}
}
