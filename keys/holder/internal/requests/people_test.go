package requests_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"tarn/keys/reidentify"
)

const (
	issuer  = "https://sign-in.example.nhs.uk"
	another = "https://elsewhere.example.nhs.uk"
)

// somebody is an account, and whose it is: what the rules have to find out.
type somebody struct {
	who string
	reidentify.Person
}

var accounts = map[string]somebody{
	"ann":           {"ann", reidentify.Person{Issuer: issuer, Subject: "ann", Organisation: "Y11111", Role: "gp"}},
	"ann-away":      {"ann", reidentify.Person{Issuer: issuer, Subject: "ann", Organisation: "Y22222", Role: "gp"}},
	"ann-reception": {"ann", reidentify.Person{Issuer: issuer, Subject: "ann", Organisation: "Y11111", Role: "reception"}},
	"ben":           {"ben", reidentify.Person{Issuer: issuer, Subject: "ben", Organisation: "Y22222", Role: "gp"}},
	"dual":          {"dual", reidentify.Person{Issuer: issuer, Subject: "dual-gp", UserID: "910000000001", Organisation: "Y11111", Role: "gp"}},
	"dual-approver": {"dual", reidentify.Person{Issuer: issuer, Subject: "dual-approver", UserID: "910000000001", Organisation: "QMJ", Role: "approver"}},
	"carol":         {"carol", reidentify.Person{Issuer: issuer, Subject: "carol", Organisation: "QMJ", Role: "approver"}},
	"cyd":           {"cyd", reidentify.Person{Issuer: issuer, Subject: "cyd", Organisation: "QMJ", Role: "approver"}},
	"nora":          {"nora", reidentify.Person{Issuer: issuer, Subject: "nora", Organisation: "RX9", Role: "approver"}},
	"alan":          {"alan", reidentify.Person{Issuer: issuer, Subject: "alan", Organisation: "QMJ", Role: "analyst"}},
	"alan-gp":       {"alan", reidentify.Person{Issuer: issuer, Subject: "alan", Organisation: "Y11111", Role: "gp"}},
	"rita":          {"rita", reidentify.Person{Issuer: issuer, Subject: "rita", Organisation: "QMJ", Role: "guardian"}},
	"dora":          {"dora", reidentify.Person{Issuer: issuer, Subject: "dora", Organisation: "RX1", Role: "emergency", Assurance: "AAL3"}},
	"dora-weak":     {"dora", reidentify.Person{Issuer: issuer, Subject: "dora", Organisation: "RX1", Role: "emergency", Assurance: "AAL2"}},
	"olga":          {"olga", reidentify.Person{Issuer: issuer, Subject: "olga", Organisation: "QMJ", Role: "approver"}},
	"lena":          {"lena", reidentify.Person{Issuer: issuer, Subject: "lena", Organisation: "Y11111", Role: "gp"}},
	"otto":          {"otto", reidentify.Person{Issuer: another, Subject: "ann", Organisation: "Y11111", Role: "gp"}},
}

// whose returns whose an account is, by what entries of the log say of it.
func whose(iss, sub string) string {
	for _, a := range accounts {
		if a.Issuer == iss && a.Subject == sub {
			return a.who
		}
	}
	return ""
}

// signedIn is somebody in a session of theirs.
func signedIn(name string, session int, at time.Time) somebody {
	a := accounts[name]
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", name, session))
	a.Session, a.SignedIn = hex.EncodeToString(sum[:]), at
	return a
}

// rights is what a policy says, as these tests know it: the documents below are written
// from it by hand.
type rights struct {
	document    string
	projects    []string
	when        map[string]reidentify.When // by role and purpose
	approvals   int
	emergencies bool
	unwitnessed int
	operators   []string
	linkers     []string
}

func (r *rights) may(a *somebody, project string, purpose reidentify.Purpose) reidentify.When {
	if a.Issuer != issuer || slices.Contains(r.linkers, a.who) || !slices.Contains(r.projects, project) {
		return ""
	}
	return r.when[a.Role+" "+string(purpose)]
}

func (r *rights) approver(who string) bool {
	return slices.Contains([]string{"dual", "carol", "cyd", "nora", "olga"}, who) && !slices.Contains(r.operators, who)
}

// head is what each policy begins with: reviewers and approvers are always the same.
func head(operators, linkers, more string) string {
	return fmt.Sprintf("schema = \"tarn.policy/1\"\noperators = [%s]\nlinkers = [%s]\n%s\n[[guardian]]\nroles = [\"guardian\"]\norganisations = [\"QMJ\"]\n", operators, linkers, more)
}

func projectOf(name, more string) string {
	return fmt.Sprintf(`[[project]]
name = %q
issuer = %q
controllers = ["QMJ"]
%s
[[project.approver]]
roles = ["approver"]
[[project.reviewer]]
roles = ["guardian"]
organisations = ["QMJ"]
`, name, issuer, more)
}

func allow(role, purpose, when string, more ...string) string {
	return fmt.Sprintf("[[project.allow]]\nroles = [%q]\npurposes = [%q]\nwhen = %q\n%s\n", role, purpose, when, strings.Join(more, "\n"))
}

const glass = "[[project.break_glass]]\nroles = [\"emergency\"]\n"

// policies are those that operators set, one after another, in these tests.
var policies = func() []*rights {
	plain := allow("gp", "TREAT", "relationship") + allow("analyst", "CAREMGT", "route") + allow("analyst", "HQUALIMP", "approval") + glass
	strict := "approvals = 2\n" + allow("gp", "TREAT", "relationship", `absent = "refuse"`) + allow("analyst", "HQUALIMP", "approval")
	shifted := allow("gp", "TREAT", "approval") + allow("analyst", "CAREMGT", "route") + glass
	bounds := "[break_glass]\nassurances = [\"AAL3\"]\nuser = 100\norganisation = 100\n"
	return []*rights{
		{
			document: head(`"olga"`, `"lena"`, bounds) + projectOf("care", plain) + projectOf("hashed", plain) + projectOf("study", plain),
			projects: []string{"care", "hashed"}, approvals: 1, emergencies: true, unwitnessed: 3, operators: []string{"olga"}, linkers: []string{"lena"},
			when: map[string]reidentify.When{"gp TREAT": reidentify.WhenRelationship, "analyst CAREMGT": reidentify.WhenRouted, "analyst HQUALIMP": reidentify.WhenApproved},
		},
		{
			document: head(`"olga"`, `"lena"`, bounds+"[limits.same_patient]\nmost = 3\naction = \"approval\"\n") + projectOf("care", strict),
			projects: []string{"care"}, approvals: 2, operators: []string{"olga"}, linkers: []string{"lena"},
			when: map[string]reidentify.When{"gp TREAT": reidentify.WhenRelationship, "analyst HQUALIMP": reidentify.WhenApproved},
		},
		{
			document: head(`"olga", "carol"`, `"lena", "ben"`, bounds+"unwitnessed = 1\n") + projectOf("care", shifted) + projectOf("hashed", shifted),
			projects: []string{"care", "hashed"}, approvals: 1, emergencies: true, unwitnessed: 1, operators: []string{"olga", "carol"}, linkers: []string{"lena", "ben"},
			when: map[string]reidentify.When{"gp TREAT": reidentify.WhenApproved, "analyst CAREMGT": reidentify.WhenRouted},
		},
	}
}()
