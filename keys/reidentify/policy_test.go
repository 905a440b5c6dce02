package reidentify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"tarn/keys/fault"
)

// whole is a policy that has everything, in which nothing is wrong or unwise.
const whole = `schema = "tarn.policy/1"
operators = ["op-1", "op-2"]
linkers = ["linker-1"]

[[guardian]]
roles = ["R9001"]
organisations = ["QMF"]

[[project]]
name = "care"
issuer = "https://am.example.nhs.uk/oauth2"
controllers = ["QMF", "RYJ"]
approvals = 2
[[project.allow]]
roles = ["R8000", "R8001"]
purposes = ["TREAT"]
when = "relationship"
[[project.allow]]
roles = ["R8008"]
organisations = ["QMF"]
activities = ["B0370"]
purposes = ["HQUALIMP", "PATSFTY"]
when = "approval"
max_items = 1000
[[project.allow]]
roles = ["R8008"]
purposes = ["CAREMGT"]
when = "route"
[[project.approver]]
roles = ["R9001"]
organisations = ["QMF"]
[[project.reviewer]]
roles = ["R9001"]
[[project.break_glass]]
roles = ["R8000"]

[[organisation]]
code = "RYJ"
nights = true
working_days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
[[organisation]]
code = "F84004"
list_size = 5000
holidays = ["2026-12-25"]

[limits]
night = { most = 3 }
organisation_share = { most = 7.5, action = "approval" }
patients_a_day = { action = "refuse" }

[break_glass]
assurances = ["AAL3"]
`

func parsed(t *testing.T, document string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPolicyIsRead: what is given is read, and what is left out has its default.
func TestPolicyIsRead(t *testing.T) {
	p := parsed(t, whole)
	if findings := p.Check(); findings != nil {
		t.Errorf("there is something wrong: %+v", findings)
	}
	sum := sha256.Sum256([]byte(whole))
	if p.Digest() != hex.EncodeToString(sum[:]) || p.Mode != Enforce {
		t.Errorf("digest %s, mode %s", p.Digest(), p.Mode)
	}
	want := DefaultLimits()
	want.Night.Most, want.PatientsDay.Action, want.Share = 3, ActionRefuse, Percent{Most: 7.5, Action: ActionApproval}
	if p.Limits != want {
		t.Errorf("limits are %+v, want %+v", p.Limits, want)
	}
	b := &p.BreakGlass
	if b.User != 5 || b.Organisation != 20 || b.Unwitnessed != 3 || b.signInWithin() != 5*time.Minute || b.reviewWithin() != 72*time.Hour {
		t.Errorf("break-glass is %+v", b)
	}
	care := p.Project("care")
	if care == nil || p.Project("other") != nil {
		t.Fatal("projects are not found by name")
	}
	if care.Approvals != 2 || care.Allow[0].MaxItems != 100 || care.Allow[1].MaxItems != 1000 || care.Allow[0].Absent != AbsentApproval || care.Allow[1].Absent != "" || care.Allow[0].Roles[1] != "R8001" {
		t.Errorf("it is %+v", care)
	}
	one := parsed(t, strings.Replace(whole, "approvals = 2\n", "", 1))
	if one.Project("care").Approvals != 1 {
		t.Error("approvals that are left out are not one")
	}
	other := parsed(t, strings.Replace(whole, `assurances = ["AAL3"]`, "assurances = [\"AAL3\"]\nsign_in_within = \"90s\"\nreview_within = \"24h\"", 1))
	if b := &other.BreakGlass; b.signInWithin() != 90*time.Second || b.reviewWithin() != 24*time.Hour || other.Digest() == p.Digest() {
		t.Errorf("break-glass is %+v", b)
	}
	literal := BreakGlassRules{SignInWithin: "7m"} // one that was not parsed
	if literal.signInWithin() != 7*time.Minute || literal.reviewWithin() != defaultReview {
		t.Error("durations of a policy that was not parsed")
	}
	if o := p.organisation("F84004"); o.ListSize != 5000 || o.Nights || len(o.WorkingDays) != 5 {
		t.Errorf("it is %+v", o)
	}
	if o := p.organisation("X99"); o.Code != "X99" || o.ListSize != 0 || len(o.WorkingDays) != 5 {
		t.Errorf("an organisation that is not named is %+v", o)
	}
	unparsed := &Policy{Organisations: []Organisation{{Code: "X26", Nights: true}}}
	if o := unparsed.organisation("X26"); !o.Nights || len(o.WorkingDays) != 5 {
		t.Errorf("it is %+v", o)
	}
}

// TestWhoIsWho: groups are by role, organisation and activity, all of them; operators and
// linkers by either name.
func TestWhoIsWho(t *testing.T) {
	p := parsed(t, whole)
	analyst := Person{Subject: "s", UserID: "u", Organisation: "QMF", Role: "R8008", Activities: []string{"B0001", "B0370"}}
	group := &p.Project("care").Allow[1].Group
	if !group.Has(&analyst) {
		t.Fatal("who is of the group is not")
	}
	for name, change := range map[string]func(*Person){
		"another role":         func(p *Person) { p.Role = "R8000" },
		"no role":              func(p *Person) { p.Role = "" },
		"another organisation": func(p *Person) { p.Organisation = "RYJ" },
		"no activity":          func(p *Person) { p.Activities = nil },
		"another activity":     func(p *Person) { p.Activities = []string{"B037"} },
	} {
		other := analyst
		if change(&other); group.Has(&other) {
			t.Errorf("%s: is of the group", name)
		}
	}
	if (&Group{}).Has(&Person{}) || (&Group{Organisations: []string{"QMF"}}).Has(&analyst) {
		t.Error("a group without roles has somebody")
	}
	for _, x := range []struct {
		person                      Person
		operator, linker, guardians bool
	}{
		{Person{Subject: "op-1"}, true, false, false},
		{Person{Subject: "x", UserID: "op-2"}, true, false, false},
		{Person{Subject: "linker-1", Role: "R9001", Organisation: "QMF"}, false, true, true},
		{Person{Subject: "x", Role: "R9001", Organisation: "RYJ"}, false, false, false},
		{Person{}, false, false, false},
	} {
		if p.IsOperator(&x.person) != x.operator || p.IsLinker(&x.person) != x.linker || p.IsGuardian(&x.person) != x.guardians {
			t.Errorf("%+v: %t %t %t", x.person, p.IsOperator(&x.person), p.IsLinker(&x.person), p.IsGuardian(&x.person))
		}
	}
}

// contradiction is one change of a policy in which nothing is wrong.
type contradiction struct {
	name, replace, with string
	severity            Severity
	where, wrong        string
}

var contradictions = []contradiction{
	{"schema", "tarn.policy/1", "tarn.policy/2", SeverityError, "schema", "tarn.policy/1"},
	{"mode", "operators =", "mode = \"off\"\noperators =", SeverityError, "mode", "no such mode"},
	{"empty mode", "operators =", "mode = \"\"\noperators =", SeverityError, "mode", "no such mode"},
	{"simulation", "operators =", "mode = \"simulate\"\noperators =", SeverityWarning, "mode", "no limit acts"},
	{"project twice", "[[organisation]]\ncode = \"RYJ\"", "[[project]]\nname = \"care\"\nissuer = \"https://a.example\"\ncontrollers = [\"QMF\"]\n[[project.allow]]\nroles = [\"R1\"]\npurposes = [\"CAREMGT\"]\nwhen = \"route\"\n[[project.approver]]\nroles = [\"R1\"]\n[[organisation]]\ncode = \"RYJ\"", SeverityError, "project care", "twice"},
	{"project's name", `name = "care"`, `name = "Care of 9434765919"`, SeverityError, "project 1", "name is none"},
	{"no issuer", `issuer = "https://am.example.nhs.uk/oauth2"`, "", SeverityError, "project care", "no issuer"},
	{"issuer of two lines", `am.example.nhs.uk/oauth2`, `am.example.nhs.uk\nx`, SeverityError, "project care", "issuer is none"},
	{"issuer without TLS", "https://am", "http://am", SeverityWarning, "project care", "no https"},
	{"no controllers", `controllers = ["QMF", "RYJ"]`, "", SeverityError, "project care", "no controllers"},
	{"controller in words", `controllers = ["QMF", "RYJ"]`, `controllers = ["QMF", "the ICB"]`, SeverityError, "project care, controllers", "no ODS code"},
	{"controller twice", `controllers = ["QMF", "RYJ"]`, `controllers = ["QMF", "QMF"]`, SeverityError, "project care, controllers", "twice"},
	{"a patient for a controller", `controllers = ["QMF", "RYJ"]`, `controllers = ["QMF", "9434765919"]`, SeverityError, "project care, controllers", "no ODS code"},
	{"no approvals", "approvals = 2", "approvals = 0", SeverityError, "project care", "approvals"},
	{"fewer approvals than none", "approvals = 2", "approvals = -1", SeverityError, "project care", "approvals"},
	{"approvals that nobody gets", "approvals = 2", "approvals = 1000", SeverityError, "project care", "approvals"},
	{"no roles", `roles = ["R8000", "R8001"]`, "", SeverityError, "project care, allow 1", "everybody"},
	{"empty roles", `roles = ["R8000", "R8001"]`, "roles = []", SeverityError, "project care, allow 1", "everybody"},
	{"empty role", `roles = ["R8000", "R8001"]`, `roles = ["R8000", ""]`, SeverityError, "project care, allow 1, roles", "empty"},
	{"every role", `roles = ["R8000", "R8001"]`, `roles = ["*"]`, SeverityError, "project care, allow 1, roles", "everybody"},
	{"role twice", `roles = ["R8000", "R8001"]`, `roles = ["R8000", "R8000"]`, SeverityError, "project care, allow 1, roles", "twice"},
	{"role with a space", `roles = ["R8000", "R8001"]`, `roles = ["R8000 "]`, SeverityError, "project care, allow 1, roles", "spaces"},
	{"role without sight", `roles = ["R8000", "R8001"]`, `roles = ["R8000\u200b"]`, SeverityError, "project care, allow 1, roles", "no text"},
	{"empty activity", `activities = ["B0370"]`, `activities = [""]`, SeverityError, "project care, allow 2, activities", "empty"},
	{"no purposes", `purposes = ["TREAT"]`, "", SeverityError, "project care, allow 1", "no purposes"},
	{"unknown purpose", `purposes = ["TREAT"]`, `purposes = ["TREATMENT"]`, SeverityError, "project care, allow 1", "not known"},
	{"emergencies by the way", `purposes = ["TREAT"]`, `purposes = ["TREAT", "ETREAT"]`, SeverityError, "project care, allow 1", "break-glass"},
	{"worklists by relationship", `purposes = ["TREAT"]`, `purposes = ["TREAT", "CAREMGT"]`, SeverityError, "project care, allow 1", "own practices"},
	{"worklists by approval", `"PATSFTY"]`, `"CAREMGT"]`, SeverityError, "project care, allow 2", "own practices"},
	{"research by relationship", `purposes = ["TREAT"]`, `purposes = ["HRESCH"]`, SeverityError, "project care, allow 1", "TREAT only"},
	{"care by route", `purposes = ["CAREMGT"]`, `purposes = ["TREAT"]`, SeverityError, "project care, allow 3", "only CAREMGT"},
	{"care by approval", `"PATSFTY"]`, `"TREAT"]`, SeverityWarning, "project care, allow 2", "waits"},
	{"no when", `when = "relationship"`, "", SeverityError, "project care, allow 1", "no such when"},
	{"unknown when", `when = "route"`, `when = "always"`, SeverityError, "project care, allow 3", "no such when"},
	{"unknown absent", `when = "relationship"`, "when = \"relationship\"\nabsent = \"allow\"", SeverityError, "project care, allow 1", "no such absent"},
	{"absent of nothing", `when = "approval"`, "when = \"approval\"\nabsent = \"refuse\"", SeverityError, "project care, allow 2", "absent goes"},
	{"no items", "max_items = 1000", "max_items = 0", SeverityError, "project care, allow 2", "max_items"},
	{"more items", "max_items = 1000", "max_items = 1001", SeverityError, "project care, allow 2", "max_items"},
	{"nobody approves", "[[project.approver]]\nroles = [\"R9001\"]\norganisations = [\"QMF\"]\n", "", SeverityError, "project care", "nobody approves"},
	{"no approver of a controller", "[[project.approver]]\nroles = [\"R9001\"]\norganisations = [\"QMF\"]", "[[project.approver]]\nroles = [\"R9001\"]\norganisations = [\"F84004\"]", SeverityError, "project care", "no approver can be of a controller"},
	{"nobody reviews", "[[project.reviewer]]\nroles = [\"R9001\"]\n", "", SeverityError, "project care", "nobody reviews"},
	{"no assurance", `assurances = ["AAL3"]`, "", SeverityError, "project care", "no sign-in"},
	{"empty assurance", `assurances = ["AAL3"]`, `assurances = [""]`, SeverityError, "break_glass, assurances", "empty"},
	{"nobody may break glass", `assurances = ["AAL3"]`, "assurances = [\"AAL3\"]\nuser = 0", SeverityError, "break_glass, user", "1 to"},
	{"more emergencies", `assurances = ["AAL3"]`, "assurances = [\"AAL3\"]\nuser = 6", SeverityWarning, "break_glass, user", "more than 5"},
	{"fewer than a user", `assurances = ["AAL3"]`, "assurances = [\"AAL3\"]\norganisation = 4", SeverityWarning, "break_glass, organisation", "fewer"},
	{"unwitnessed", `assurances = ["AAL3"]`, "assurances = [\"AAL3\"]\nunwitnessed = -1", SeverityError, "break_glass, unwitnessed", "0 to"},
	{"no sign-in", `assurances = ["AAL3"]`, "assurances = [\"AAL3\"]\nsign_in_within = \"0s\"", SeverityError, "break_glass, sign_in_within", "no time span"},
	{"an old sign-in", `assurances = ["AAL3"]`, "assurances = [\"AAL3\"]\nsign_in_within = \"61m\"", SeverityError, "break_glass, sign_in_within", "no time span"},
	{"an older sign-in", `assurances = ["AAL3"]`, "assurances = [\"AAL3\"]\nsign_in_within = \"6m\"", SeverityWarning, "break_glass, sign_in_within", "longer than 5m"},
	{"a review of days", `assurances = ["AAL3"]`, "assurances = [\"AAL3\"]\nreview_within = \"3 days\"", SeverityError, "break_glass, review_within", "no time span"},
	{"a negative review", `assurances = ["AAL3"]`, "assurances = [\"AAL3\"]\nreview_within = \"-72h\"", SeverityError, "break_glass, review_within", "no time span"},
	{"no guardian", "[[guardian]]\nroles = [\"R9001\"]\norganisations = [\"QMF\"]\n", "", SeverityWarning, "guardian", "nobody sees"},
	{"guardians without roles", "[[guardian]]\nroles = [\"R9001\"]", "[[guardian]]", SeverityError, "guardian 1", "everybody"},
	{"one operator", `operators = ["op-1", "op-2"]`, `operators = ["op-1"]`, SeverityWarning, "operators", "fewer than two"},
	{"an operator twice", `operators = ["op-1", "op-2"]`, `operators = ["op-1", "op-1"]`, SeverityError, "operators", "twice"},
	{"an operator without a name", `operators = ["op-1", "op-2"]`, `operators = ["op-1", ""]`, SeverityError, "operators", "empty"},
	{"an operator of no text", `operators = ["op-1", "op-2"]`, `operators = ["op-1", "o\np"]`, SeverityError, "operators", "no text"},
	{"an operator who links", `linkers = ["linker-1"]`, `linkers = ["op-2"]`, SeverityWarning, "operators", "linker, too"},
	{"no linkers", `linkers = ["linker-1"]`, "", SeverityWarning, "linkers", "nobody is named"},
	{"organisation twice", `code = "F84004"`, `code = "RYJ"`, SeverityError, "organisation RYJ", "twice"},
	{"organisation in words", `code = "F84004"`, `code = "a practice"`, SeverityError, "organisation 2", "no ODS code"},
	{"no list", "list_size = 5000", "list_size = -1", SeverityError, "organisation F84004", "list_size"},
	{"a list of everybody", "list_size = 5000", "list_size = 1000000000", SeverityError, "organisation F84004", "list_size"},
	{"no working day", "nights = true\nworking_days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]", "working_days = []", SeverityError, "organisation RYJ", "working_days"},
	{"unknown day", `"sat", "sun"`, `"Sat", "sun"`, SeverityError, "organisation RYJ", "working_days"},
	{"day twice", `"sat", "sun"`, `"sat", "sat"`, SeverityError, "organisation RYJ", "working_days"},
	{"no holiday", `"2026-12-25"`, `"25/12/2026"`, SeverityError, "organisation F84004", "holidays"},
	{"a holiday that is never", `"2026-12-25"`, `"2026-02-29"`, SeverityError, "organisation F84004", "holidays"},
	{"holiday twice", `"2026-12-25"`, `"2026-12-25", "2026-12-25"`, SeverityError, "organisation F84004", "twice"},
	{"negative limit", "night = { most = 3 }", "night = { most = -1 }", SeverityError, "limits, night", "most"},
	{"unknown action", `patients_a_day = { action = "refuse" }`, `patients_a_day = { action = "stop" }`, SeverityError, "limits, patients_a_day", "no such action"},
	{"empty action", `patients_a_day = { action = "refuse" }`, `patients_a_day = { action = "" }`, SeverityError, "limits, patients_a_day", "no such action"},
	{"care that stops", `patients_a_day = { action = "refuse" }`, `organisation_patients = { action = "refuse" }`, SeverityWarning, "limits, organisation_patients", "never refuses direct care"},
	{"more than a list", "most = 7.5", "most = 100.1", SeverityError, "limits, organisation_share", "per cent"},
	{"no share", "most = 7.5", "most = nan", SeverityError, "limits, organisation_share", "per cent"},
	{"endless share", "most = 7.5", "most = inf", SeverityError, "limits, organisation_share", "per cent"},
	{"negative share", "most = 7.5", "most = -0.5", SeverityError, "limits, organisation_share", "per cent"},
	{"fine share", "most = 7.5", "most = 0.00001", SeverityError, "limits, organisation_share", "decimals"},
	{"nobody waits", "night = { most = 3 }", "pending = 0", SeverityError, "limits, pending", "1 to"},
}

// TestContradictions: each is found, where it is and as bad as it is, alone, and errors are
// refused. Nothing malformed is repeated.
func TestContradictions(t *testing.T) {
	for _, x := range contradictions {
		t.Run(x.name, func(t *testing.T) {
			if strings.Count(whole, x.replace) == 0 {
				t.Fatal("the change changes nothing")
			}
			document := strings.Replace(whole, x.replace, x.with, 1)
			findings, err := CheckPolicy([]byte(document))
			if err != nil {
				t.Fatal(err)
			}
			if len(findings) != 1 {
				t.Fatalf("there are %d findings, want one: %+v", len(findings), findings)
			}
			if f := findings[0]; f.Severity != x.severity || f.Where != x.where || !strings.Contains(f.Wrong, x.wrong) || f.Next == "" {
				t.Errorf("found %+v", f)
			}
			_, err = ParsePolicy([]byte(document))
			if (err != nil) != (x.severity == SeverityError) {
				t.Errorf("ParsePolicy: %v", err)
			}
			if err != nil && (fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), x.where) || strings.Contains(err.Error(), "9434765919") || strings.Contains(err.Error(), "the ICB")) {
				t.Errorf("ParsePolicy: %v", err)
			}
		})
	}
}

// TestWhatNeedsApproval: approvers are asked for where something needs them, and only there.
func TestWhatNeedsApproval(t *testing.T) {
	const bare = `schema = "tarn.policy/1"
[[project]]
name = "care"
issuer = "https://a.example"
controllers = ["QMF"]
[[project.allow]]
roles = ["R8000"]
purposes = ["TREAT"]
when = "relationship"
absent = "refuse"
`
	for document, needed := range map[string]bool{
		bare: false,
		strings.Replace(bare, `absent = "refuse"`, "", 1):                                                                 true,
		bare + "[limits]\nnight = {action = \"approval\"}\n":                                                              true,
		bare + "[limits]\nnight = {action = \"refuse\"}\n":                                                                false,
		bare + "[limits]\nsame_patient = {action = \"refuse\"}\n":                                                         true, // it is approval for TREAT
		strings.NewReplacer(`"TREAT"`, `"HRESCH"`, `"relationship"`, `"approval"`, `absent = "refuse"`, "").Replace(bare): true,
		strings.NewReplacer(`"TREAT"`, `"CAREMGT"`, `"relationship"`, `"route"`, `absent = "refuse"`, "").Replace(bare) + "[limits]\nsame_patient = {action = \"refuse\"}\n": false,
	} {
		_, err := ParsePolicy([]byte(document))
		if (err != nil) != needed || err != nil && !strings.Contains(err.Error(), "nobody approves it") {
			t.Errorf("%v, for\n%s", err, document)
		}
	}
}

// TestDocumentsThatAreNoPolicy: misspelt keys are told with the nearest, and nothing of
// what is no policy is repeated.
func TestDocumentsThatAreNoPolicy(t *testing.T) {
	for name, x := range map[string]struct{ replace, with, want string }{
		"misspelt key":           {"controllers =", "controlers =", "there is no key project.controlers (did you mean project.controllers?)"},
		"misspelt in a group":    {`roles = ["R8000", "R8001"]`, `role = ["R8000"]`, "there is no key project.allow.role (did you mean project.allow.roles?)"},
		"misspelt limit":         {"night =", "nigth =", "there is no key limits.nigth (did you mean limits.night?)"},
		"misspelt table":         {"[break_glass]", "[breakglass]", "there is no key breakglass (did you mean break_glass?)"},
		"misspelt in a limit":    {"most = 3", "most = 3, acton = \"warn\"", "(did you mean limits.night.action?)"},
		"digest that is claimed": {"operators =", "digest = \"x\"\noperators =", "there is no key digest"},
		"text for a number":      {"approvals = 2", "approvals = \"Quetzalina\"", "line 13"},
		"not TOML":               {"schema =", "Quetzalina\nschema =", "line 1"},
		"a day without quotes":   {`"2026-12-25"`, `2026-12-25`, "line"},
		"key twice":              {"approvals = 2", "approvals = 2\napprovals = 3", "line 14"},
	} {
		_, err := ParsePolicy([]byte(strings.Replace(whole, x.replace, x.with, 1)))
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "Quetzalina") {
			t.Errorf("%s: %v", name, err)
		}
		if _, checked := CheckPolicy([]byte(strings.Replace(whole, x.replace, x.with, 1))); checked == nil {
			t.Errorf("%s: the checker reads it", name)
		}
	}
	var f *fault.Error
	if _, err := ParsePolicy(make([]byte, MaxPolicy+1)); !errors.As(err, &f) || !strings.Contains(f.Wrong, "more than") {
		t.Errorf("a long document: %v", err)
	}
	many := strings.Repeat("[[project]]\n", 999)
	if _, err := ParsePolicy([]byte(many)); err == nil || !strings.Contains(err.Error(), "and 3") || len(err.Error()) > 1<<13 {
		t.Errorf("a thousand errors: %.300v", err)
	}
	if _, err := ParsePolicy(nil); err == nil || !strings.Contains(err.Error(), "schema") {
		t.Errorf("an empty document: %v", err)
	}
}

// TestHostileLengths: what is too long or too many is refused, and soon.
func TestHostileLengths(t *testing.T) {
	list := func(n int) string { return strings.Repeat(`"R1",`, n) }
	for name, x := range map[string]struct{ replace, with, want string }{
		"role":          {`roles = ["R8000", "R8001"]`, `roles = ["` + strings.Repeat("R", 256) + `"]`, "longer than 255"},
		"issuer":        {"am.example.nhs.uk", "am." + strings.Repeat("a", 300), "issuer is none"},
		"roles":         {`roles = ["R8000", "R8001"]`, "roles = [" + list(1001) + "]", "more than 1000"},
		"operators":     {`operators = ["op-1", "op-2"]`, "operators = [" + list(1001) + "]", "more than 1000"},
		"groups":        {"[[project.approver]]", strings.Repeat("[[project.approver]]\n", 1001) + "[[project.approver]]", "more than 1000"},
		"allow":         {"[[project.approver]]", strings.Repeat("[[project.allow]]\n", 1001) + "[[project.approver]]", "more than 1000"},
		"projects":      {"[[guardian]]", strings.Repeat("[[project]]\n", 1001) + "[[guardian]]", "more than 1000"},
		"organisations": {"[[guardian]]", strings.Repeat("[[organisation]]\n", 50_001) + "[[guardian]]", "more than 50000"},
		"holidays":      {`holidays = ["2026-12-25"]`, "holidays = [" + list(1001) + "]", "more than 1000"},
		"purpose":       {`"TREAT"`, `"` + strings.Repeat("T", 100_000) + `"`, "not known"},
	} {
		_, err := ParsePolicy([]byte(strings.Replace(whole, x.replace, x.with, 1)))
		if err == nil || !strings.Contains(err.Error(), x.want) || len(err.Error()) > 1<<13 {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

// FuzzParsePolicy: whatever is read, nothing panics, and what is taken is taken again.
func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(whole))
	for _, x := range contradictions {
		f.Add([]byte(strings.Replace(whole, x.replace, x.with, 1)))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := ParsePolicy(document)
		if err != nil {
			return
		}
		if len(p.Digest()) != 64 || p.BreakGlass.signInWithin() <= 0 || p.BreakGlass.reviewWithin() <= 0 {
			t.Error("what is taken is not whole")
		}
		for i := range p.Projects {
			if p.Projects[i].Approvals < 1 || p.Project(p.Projects[i].Name) != &p.Projects[i] {
				t.Error("a project has no approvals, or is not found")
			}
		}
	})
}
