package reidentify

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const decisionPolicy = `schema = "tarn.policy/1"
operators = ["operator"]
linkers = ["linker"]
[break_glass]
assurances = ["AAL3"]
[[guardian]]
roles = ["guardian"]
[[project]]
name = "care"
issuer = "https://sign-in.example.nhs.uk"
controllers = ["QMJ"]
approvals = 2
[[project.allow]]
roles = ["R8000"]
purposes = ["TREAT"]
when = "relationship"
max_items = 2
[[project.allow]]
roles = ["R8001"]
purposes = ["TREAT"]
when = "relationship"
absent = "refuse"
[[project.allow]]
roles = ["R8000"]
purposes = ["HQUALIMP"]
when = "approval"
[[project.allow]]
roles = ["R8000"]
purposes = ["CAREMGT"]
when = "route"
[[project.approver]]
roles = ["approver"]
[[project.reviewer]]
roles = ["guardian"]
[[project.break_glass]]
roles = ["R8000"]
`

func mustPolicy(t *testing.T, document string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// good are facts by which direct care is ready.
func good(t *testing.T) *Facts {
	t.Helper()
	r, err := New(draftOf(tokenOf(1)), "pond", domainNo, madeAt, zeroes())
	if err != nil {
		t.Fatal(err)
	}
	r.Requester.SignedIn, r.Requester.Assurance = madeAt, "AAL3"
	return &Facts{
		Now: madeAt, Policy: mustPolicy(t, decisionPolicy), Request: r, Related: []bool{true}, Alerts: true,
		Project: Project{Name: "care", Direct: true, Approvals: 1, End: madeAt.Add(time.Hour)},
	}
}

func purpose(p Purpose) func(*Facts) { return func(f *Facts) { f.Request.Purpose = p } }

func emergency(f *Facts) {
	f.Request.Purpose, f.Request.BreakGlass, f.Related = EmergencyTreatment, true, nil
}

func routed(f *Facts) { f.Request.Purpose, f.Request.Route = CareManagement, ToPractice }

// decisions are the facts that give each rule, beside good ones and what base makes of them:
// without change the same facts give another rule, so that nothing else gives this one.
var decisions = []struct {
	rule    Rule
	outcome State
	base    func(*Facts)
	change  func(*Facts)
}{
	{RuleRelationship, Ready, func(f *Facts) { f.Related = []bool{false} }, func(f *Facts) { f.Related = []bool{true} }},
	{RuleRouted, Ready, nil, routed},
	{RuleBreakGlass, Ready, nil, emergency},
	{RuleNoPolicy, Refused, nil, func(f *Facts) { f.Project.Name = "other" }},
	{RuleIssuer, Refused, nil, func(f *Facts) { f.Request.Requester.Issuer += "/other" }},
	{RuleOrganisation, Refused, nil, func(f *Facts) { f.Request.Requester.Organisation = "Y54321" }},
	{RuleLinker, Refused, nil, func(f *Facts) { f.Request.Requester.Subject = "linker" }},
	{RuleLinker, Refused, nil, func(f *Facts) { f.Request.Requester.UserID = "linker" }},
	{RuleLinker, Refused, emergency, func(f *Facts) { f.Request.Requester.UserID = "linker" }},
	{RuleProjectMode, Refused, nil, func(f *Facts) { f.Project.Direct = false }},
	{RuleProjectMode, Refused, emergency, func(f *Facts) { f.Project.Direct = false }},
	{RuleProjectExpired, Refused, nil, func(f *Facts) { f.Project.End = f.Now }},
	{RuleProjectPurpose, Refused, nil, func(f *Facts) { f.Project.Purposes = []Purpose{Research} }},
	{RuleRolePurpose, Refused, nil, purpose(Research)},
	{RuleRolePurpose, Refused, nil, purpose(CareManagement)}, // it is routed, or not at all
	{RuleRolePurpose, Refused, nil, func(f *Facts) { f.Request.Route = ToPractice }},
	{RuleListTooLong, Refused, nil, func(f *Facts) { f.Request.Items = make([]Item, 3) }},
	{RuleNoRelationship, Pending, nil, func(f *Facts) { f.Related = []bool{false} }},
	{RuleNoRelationship, Refused, nil, func(f *Facts) { f.Related = nil }},
	{RuleNoRelationship, Refused, func(f *Facts) { f.Request.Requester.Role = "R8001" }, func(f *Facts) { f.Related = []bool{false} }},
	{RuleNeedsApproval, Pending, nil, purpose(QualityImprovement)},
	{RuleLimit, Pending, nil, func(f *Facts) { f.Fired = []Fired{{Rule: LimitNight, Action: ActionApproval}} }},
	{RuleLimit, Refused, nil, func(f *Facts) { f.Fired = []Fired{{Rule: LimitNight, Action: ActionRefuse}} }},
	{RuleLimit, Refused, nil, func(f *Facts) {
		f.Fired = []Fired{{Rule: LimitNight, Action: ActionApproval}, {Rule: LimitRequestsDay, Action: ActionRefuse}}
	}},
	{RuleLimit, Pending, routed, func(f *Facts) { f.Fired = []Fired{{Rule: LimitNight, Action: ActionApproval}} }},
	{RulePending, Refused, purpose(QualityImprovement), func(f *Facts) { f.Waiting = 20 }},
	{RuleBreakGlassPurpose, Refused, nil, func(f *Facts) { f.Request.BreakGlass = true }},
	{RuleBreakGlassPurpose, Refused, nil, purpose(EmergencyTreatment)},
	{RuleBreakGlassPurpose, Refused, emergency, func(f *Facts) { f.Request.Route = ToPractice }},
	{RuleBreakGlassRole, Refused, emergency, func(f *Facts) { f.Request.Requester.Role = "R8001" }},
	{RuleBreakGlassItems, Refused, emergency, func(f *Facts) { f.Request.Items = make([]Item, 2) }},
	{RuleBreakGlassSignIn, Refused, emergency, func(f *Facts) { f.Request.Requester.Assurance = "AAL2" }},
	{RuleBreakGlassSignIn, Refused, emergency, func(f *Facts) { f.Request.Requester.SignedIn = f.Now.Add(-5*time.Minute - time.Millisecond) }},
	{RuleBreakGlassSuspended, Refused, emergency, func(f *Facts) { f.Overdue = true }},
	{RuleBreakGlassCap, Refused, emergency, func(f *Facts) { f.Capped = true }},
	{RuleBreakGlassAlerts, Refused, emergency, func(f *Facts) { f.Alerts = false }},
}

// elsewhere are rules that [Decide] does not give: see the tests of approvals, of openings,
// and of who sees what.
var elsewhere = []Rule{RuleApproved, RuleRejected, RuleSelfApproval, RuleNotApprover, RuleNotReviewer, RuleNotYours, RuleRoleChanged, RuleState, RuleHashDiffers, RuleDecidedAlready, RuleGone, RuleNotGuardian, RuleAcknowledged}

// TestDecisions: each rule is given by facts that only just give it.
func TestDecisions(t *testing.T) {
	for i, c := range decisions {
		f := good(t)
		if c.base != nil {
			c.base(f)
		}
		if d := Decide(f); d.Rule == c.rule && d.Outcome == c.outcome {
			t.Errorf("%d: %s is given without what the case is about", i, c.rule)
		}
		c.change(f)
		d := Decide(f)
		if d.Rule != c.rule || d.Outcome != c.outcome || d.Policy != f.Policy.Digest() {
			t.Errorf("%d: %s %s, want %s %s", i, d.Outcome, d.Rule, c.outcome, c.rule)
		}
		if (d.Outcome == Pending) != (d.Needed == 2) {
			t.Errorf("%d: %s needs %d", i, d.Outcome, d.Needed)
		}
		if d.Next() == "" {
			t.Errorf("%d: nothing says what to do", i)
		}
	}
	for _, rule := range rulesOf(t) {
		if given := slices.ContainsFunc(decisions[:], func(c struct {
			rule    Rule
			outcome State
			base    func(*Facts)
			change  func(*Facts)
		},
		) bool {
			return c.rule == rule
		}); given == slices.Contains(elsewhere, rule) {
			t.Errorf("no case gives %s, or it is said to be given elsewhere", rule)
		}
	}
}

// TestOrder: of two reasons to refuse, the one that comes first in the design is told: who,
// for what, whether they may, and limits last.
func TestOrder(t *testing.T) {
	order := []struct {
		rule   Rule
		change func(*Facts)
	}{
		{RuleIssuer, func(f *Facts) { f.Request.Requester.Issuer += "x" }},
		{RuleOrganisation, func(f *Facts) { f.Request.Requester.Organisation = "Y54321" }},
		{RuleLinker, func(f *Facts) { f.Request.Requester.UserID = "linker" }},
		{RuleProjectMode, func(f *Facts) { f.Project.Direct = false }},
		{RuleProjectExpired, func(f *Facts) { f.Project.End = f.Now }},
		{RuleProjectPurpose, func(f *Facts) { f.Project.Purposes = []Purpose{Research} }},
		{RuleRolePurpose, func(f *Facts) { f.Request.Requester.Role = "R9999" }},
		{RuleLimit, func(f *Facts) { f.Fired = []Fired{{Rule: LimitNight, Action: ActionRefuse}} }},
	}
	for i := range order {
		f := good(t)
		for _, c := range order[i:] {
			c.change(f)
		}
		if d := Decide(f); d.Rule != order[i].rule {
			t.Errorf("%s is told before %s", d.Rule, order[i].rule)
		}
	}
}

// TestLimitsThatDoNothing: what is simulated or warns, and all in an emergency, is recorded
// and nothing more.
func TestLimitsThatDoNothing(t *testing.T) {
	for _, c := range []struct {
		fired Fired
		base  func(*Facts)
	}{
		{Fired{Rule: LimitNight, Action: ActionWarn}, nil},
		{Fired{Rule: LimitNight, Action: ActionRefuse, Simulated: true}, nil},
		{Fired{Rule: LimitNight, Action: ActionRefuse}, emergency},
	} {
		f := good(t)
		if c.base != nil {
			c.base(f)
		}
		f.Fired = []Fired{c.fired}
		if d := Decide(f); d.Outcome != Ready || len(d.Fired) != 1 {
			t.Errorf("%+v: %+v", c.fired, d)
		}
	}
}

// TestRegionIsAskedWhenItMatters: not of who may not ask, and not in an emergency, which
// may be that the region does not answer.
func TestRegionIsAskedWhenItMatters(t *testing.T) {
	for i, c := range []struct {
		change func(*Facts)
		want   Asks
	}{
		{func(*Facts) {}, Asks{Relationship: true}}, {routed, Asks{Route: true}}, {emergency, Asks{}}, {purpose(QualityImprovement), Asks{}}, {purpose(Research), Asks{}},
	} {
		f := good(t)
		c.change(f)
		if asks, refused := Before(f); asks != c.want || (refused != nil) != (i == 4) {
			t.Errorf("%d: %+v, %v", i, asks, refused)
		}
	}
}

// TestMoreApprovals: the larger of what the policy and the project's record ask for.
func TestMoreApprovals(t *testing.T) {
	f := good(t)
	f.Request.Purpose, f.Project.Approvals = QualityImprovement, 3
	if d := Decide(f); d.Needed != 3 || !strings.Contains(d.Next(), "3 of") {
		t.Errorf("%+v, %s", d, d.Next())
	}
}

// rulesOf returns every constant of type Rule, from the source.
func rulesOf(t *testing.T) (all []Rule) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "refusal.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		declared, is := d.(*ast.GenDecl)
		if !is || declared.Tok != token.CONST {
			continue
		}
		for _, s := range declared.Specs {
			v := s.(*ast.ValueSpec)
			if kind, is := v.Type.(*ast.Ident); is && kind.Name == "Rule" {
				text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, Rule(text))
			}
		}
	}
	return all
}

// TestEveryRuleHasWords: why it is so, and, of what is refused, who can allow it and what
// to do; none of them holds a value, and a refusal says all three.
func TestEveryRuleHasWords(t *testing.T) {
	all := rulesOf(t)
	if len(all) < 35 {
		t.Fatalf("%d rules were found", len(all))
	}
	allowing := []Rule{RuleRelationship, RuleApproved, RuleBreakGlass, RuleRouted}
	for _, rule := range all {
		r := Refuse(rule)
		if r.Why() == "" || rule.Why() != r.Why() || !slices.Contains(allowing, rule) && (r.Who() == "" || r.Next() == "") {
			t.Errorf("%s: %q, %q, %q", rule, r.Why(), r.Who(), r.Next())
		}
		for _, part := range []string{r.Why(), r.Who(), r.Next()} {
			if !strings.Contains(r.Error(), part) || strings.ContainsAny(part, "%{}<>") {
				t.Errorf("%s: %q", rule, r.Error())
			}
		}
	}
	if len(ruleWords) != len(all) {
		t.Errorf("%d rules have words, of %d", len(ruleWords), len(all))
	}
}

// TestALimitKeepsTheRelationship: what waits for approvers because of a limit still rests on
// the relationship, which is looked at again when it is opened; what has none does not.
func TestALimitKeepsTheRelationship(t *testing.T) {
	f := good(t)
	f.Fired = []Fired{{Rule: LimitNight, Action: ActionApproval}}
	if d := Decide(f); d.Outcome != Pending || d.Rule != RuleLimit || !d.Related {
		t.Errorf("%+v", d)
	}
	f.Fired = nil
	f.Related[0] = false
	if d := Decide(f); d.Outcome != Pending || d.Rule != RuleNoRelationship || d.Related {
		t.Errorf("the control: %+v", d)
	}
}
