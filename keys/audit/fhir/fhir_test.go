package fhir_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"tarn/keys/audit"
	"tarn/keys/audit/fhir"
	"tarn/keys/reidentify"
)

var update = flag.Bool("update", false, "write the golden file anew")

var here = fhir.Options{Origin: "keyholder/log-1"}

// kinds are all that specification (i) names, and one that it does not.
var kinds = []audit.Kind{
	audit.KindEvaluate, audit.KindLease, audit.KindReidRequest, audit.KindReidDecision, audit.KindApproval, audit.KindReidIntent, audit.KindReidOutcome,
	audit.KindRedeliver, audit.KindBreakGlassReview, audit.KindWorklist, audit.KindRelationship, audit.KindGrant, audit.KindClient, audit.KindEnrol,
	audit.KindProject, audit.KindDomain, audit.KindPolicy, audit.KindOperatorApproval, audit.KindKeyState, audit.KindRotate, audit.KindConvert,
	audit.KindUnseal, audit.KindBackup, audit.KindRestore, audit.KindRefuse, audit.KindAlarm, audit.KindStart, audit.KindWhoAsked, "of-a-later-version",
}

// samples are a log of one entry of each kind with little in it, and a re-identification
// with all that its entries say.
func samples() []audit.Leaf {
	at := func(n int) string {
		return audit.FormatTime(time.Date(2026, 11, 26, 9, 0, n, 1_000_000, time.UTC))
	}
	all := []audit.Leaf{}
	for n, kind := range kinds {
		all = append(all, audit.Leaf{Kind: kind, Time: at(n)})
	}
	ref := uint64(0)
	step := audit.Leaf{
		Actor: audit.Actor{Issuer: "https://am.example", Organisation: "RX1", Role: "S8000:G8000:R8000", Subject: "555021935107"}, Domain: "lake", Project: "study",
		Purpose: "ETREAT", Request: strings.Repeat("a", 64), SubjectH: strings.Repeat("b", 32), TokenEpoch: 3, TokenH: strings.Repeat("c", 32), Holder: "holder",
	}
	for n, change := range []func(*audit.Leaf){
		func(l *audit.Leaf) {
			l.Kind, l.Count, l.ReasonCommit = audit.KindReidRequest, 1, strings.Repeat("d", 64)
		},
		func(l *audit.Leaf) {
			l.Kind, l.Decision, l.Rule, l.Policy, l.EvidenceH = audit.KindReidDecision, audit.Allow, "break_glass", strings.Repeat("e", 64), strings.Repeat("f", 64)
		},
		func(l *audit.Leaf) {
			l.Kind, l.Rule, l.Outcome, l.Purpose = audit.KindAlarm, audit.RuleLimit+"/night", "warn", "TREAT"
		},
		func(l *audit.Leaf) { l.Kind, l.Ref = audit.KindReidIntent, &ref },
		func(l *audit.Leaf) { l.Kind, l.Rule, l.Ref = audit.KindAlarm, audit.RuleBreakGlass, &ref },
		func(l *audit.Leaf) {
			l.Kind, l.Outcome, l.Ref, l.Unwitnessed = audit.KindReidOutcome, "released", &ref, true
		},
		func(l *audit.Leaf) { l.Kind, l.Outcome, l.Ref = audit.KindReidOutcome, "unknown", &ref },
		func(l *audit.Leaf) { l.Kind, l.Decision, l.Rule = audit.KindReidDecision, audit.Deny, "role_purpose" },
	} {
		l := step
		change(&l)
		l.Time = at(n)
		all = append(all, l)
	}
	return append(all, audit.Leaf{
		Kind: audit.KindLease, Actor: audit.Actor{Issuer: "mtls", Organisation: "RX1", Role: "tokeniser", Subject: "north"}, Count: 7, EncodingEpoch: 2,
		Outcome: "used", Purpose: "encoding", SelfReported: true, Time: at(0),
	}, audit.Leaf{Kind: audit.KindAlarm, Rule: audit.RuleLogUnavailable, Time: at(0)})
}

func written(t testing.TB, all []audit.Leaf, o fhir.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	for n, l := range all {
		line, err := fhir.Resource(l, uint64(n), o)
		if err != nil {
			t.Fatalf("%s: %v", l.Kind, err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// TestGolden: what is written is what was looked at, byte for byte.
func TestGolden(t *testing.T) {
	const path = "testdata/auditevents.ndjson"
	got := written(t, samples(), here)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		for n, line := range bytes.Split(got, []byte("\n")) {
			if before := bytes.Split(want, []byte("\n")); n >= len(before) || !bytes.Equal(line, before[n]) {
				t.Fatalf("line %d is now\n%s", n+1, line)
			}
		}
		t.Fatal("it is shorter than it was")
	}
}

// TestKnownAnswer reads one resource by eye: a break-glass that was opened.
func TestKnownAnswer(t *testing.T) {
	released := samples()[len(kinds)+5]
	got, err := fhir.Resource(released, 40, here)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"resourceType":"AuditEvent","id":"` + fhir.ID(here.Origin, 40) + `",` +
		`"type":{"system":"http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle","code":"reidentify","display":"Re-identify Record Lifecycle Event"},` +
		`"subtype":[{"system":"http://dicom.nema.org/resources/ontology/DCM","code":"110127","display":"Emergency Override Started"},{"system":"urn:tarn:audit-kind","code":"reid-outcome"}],` +
		`"action":"R","recorded":"2026-11-26T09:00:05.001Z","outcome":"0","outcomeDesc":"released",` +
		`"purposeOfEvent":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"ETREAT","display":"Emergency Treatment"}]}],` +
		`"agent":[{"role":[{"coding":[{"system":"urn:tarn:role","code":"S8000:G8000:R8000"}]}],"who":{"identifier":{"system":"https://am.example","value":"555021935107"}},"requestor":true},` +
		`{"who":{"identifier":{"system":"https://fhir.nhs.uk/Id/ods-organization-code","value":"RX1"}},"requestor":false}],` +
		`"source":{"site":"keyholder/log-1","observer":{"identifier":{"system":"urn:tarn:holder","value":"holder"}},` +
		`"type":[{"system":"http://terminology.hl7.org/CodeSystem/security-source-type","code":"4","display":"Application Server"}]},` +
		`"entity":[{"what":{"identifier":{"system":"urn:tarn:log-entry","value":"keyholder/log-1/40"}},"type":{"system":"http://terminology.hl7.org/CodeSystem/audit-entity-type","code":"2","display":"System Object"},` +
		`"role":{"system":"http://terminology.hl7.org/CodeSystem/object-role","code":"13","display":"Security Resource"},` +
		`"detail":[{"type":"domain","valueString":"lake"},{"type":"project","valueString":"study"},{"type":"ref","valueString":"0"},{"type":"token_epoch","valueString":"3"},{"type":"unwitnessed","valueString":"true"}]},` +
		`{"what":{"identifier":{"system":"urn:tarn:request","value":"` + strings.Repeat("a", 64) + `"}},"type":{"system":"http://terminology.hl7.org/CodeSystem/audit-entity-type","code":"2","display":"System Object"},` +
		`"role":{"system":"http://terminology.hl7.org/CodeSystem/object-role","code":"24","display":"Query"}},` +
		patientOf("subject", strings.Repeat("b", 32)) + `,` + patientOf("token", strings.Repeat("c", 32)) + `]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func patientOf(what, hash string) string {
	return `{"what":{"identifier":{"system":"urn:tarn:` + what + `-hash","value":"` + hash + `"}},"type":{"system":"http://terminology.hl7.org/CodeSystem/audit-entity-type","code":"1","display":"Person"},` +
		`"role":{"system":"http://terminology.hl7.org/CodeSystem/object-role","code":"1","display":"Patient"},` +
		`"securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"PSEUDED","display":"pseudonymized"}]}`
}

// TestUnverifiedIsSaid in every resource, and nothing of it in others.
func TestUnverifiedIsSaid(t *testing.T) {
	tag := `"meta":{"tag":[{"system":"urn:tarn:log-verification","code":"unverified"}]}`
	all := samples()
	if n := bytes.Count(written(t, all, fhir.Options{Origin: "o", Unverified: true}), []byte(tag)); n != len(all) {
		t.Errorf("%d of %d resources say it", n, len(all))
	}
	if bytes.Contains(written(t, all, here), []byte("unverified")) {
		t.Error("a resource of a verified log says that it is not")
	}
}

// TestIDs are those of one entry of one log.
func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, origin := range []string{"a", "a1", "b"} {
		for index := range uint64(20) {
			id := fhir.ID(origin, index)
			if seen[id] || !regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`).MatchString(id) {
				t.Errorf("%s of %s, %d", id, origin, index)
			}
			seen[id] = true
		}
	}
}

// TestWhatNoEntryMaySayIsNotWritten: what Encode refuses is refused here, and not repeated.
func TestWhatNoEntryMaySayIsNotWritten(t *testing.T) {
	const planted = "Quetzalina Xylander"
	for name, change := range map[string]func(*audit.Leaf){
		"kind":    func(l *audit.Leaf) { l.Kind = planted },
		"outcome": func(l *audit.Leaf) { l.Outcome = planted },
		"policy":  func(l *audit.Leaf) { l.Policy = planted },
		"subject": func(l *audit.Leaf) { l.Actor.Subject = planted },
		"time":    func(l *audit.Leaf) { l.Time = planted },
	} {
		l := samples()[len(kinds)]
		if _, err := fhir.Resource(l, 0, here); err != nil {
			t.Fatal(err)
		}
		change(&l)
		if b, err := fhir.Resource(l, 0, here); err == nil || strings.Contains(err.Error(), planted) || b != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// drawn is any entry that Encode accepts.
func drawn(t *rapid.T) audit.Leaf {
	name := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}`))
	hash := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[0-9a-f]{32,64}`))
	l := audit.Leaf{
		Actor: audit.Actor{Issuer: name.Draw(t, "iss"), Organisation: name.Draw(t, "org"), Role: name.Draw(t, "role"), Subject: name.Draw(t, "sub")},
		Count: rapid.Int64().Draw(t, "count"), Domain: name.Draw(t, "domain"), EncodingEpoch: rapid.Uint32().Draw(t, "encoding epoch"), EvidenceH: hash.Draw(t, "evidence"),
		Decision: audit.Decision(rapid.OneOf(rapid.SampledFrom([]string{"allow", "approve", "deny", "pending"}), name).Draw(t, "decision")),
		Kind:     audit.Kind(rapid.OneOf(rapid.StringMatching(`[a-z][a-z-]{0,20}`), rapid.Map(rapid.SampledFrom(kinds), func(k audit.Kind) string { return string(k) })).Draw(t, "kind")),
		Holder:   name.Draw(t, "holder"), Outcome: name.Draw(t, "outcome"), Policy: hash.Draw(t, "policy"), Project: name.Draw(t, "project"), Request: name.Draw(t, "request"),
		Purpose:      rapid.OneOf(rapid.SampledFrom([]string{"TREAT", "ETREAT", "token"}), name).Draw(t, "purpose"),
		ReasonCommit: hash.Draw(t, "reason"), Rule: name.Draw(t, "rule"), SelfReported: rapid.Bool().Draw(t, "self"), SubjectH: hash.Draw(t, "subject"),
		TokenEpoch: rapid.Uint32().Draw(t, "epoch"), TokenH: hash.Draw(t, "token"), Unwitnessed: rapid.Bool().Draw(t, "unwitnessed"),
		Time: audit.FormatTime(time.UnixMilli(rapid.Int64Range(-62135596800000, 253402300799999).Draw(t, "time"))),
	}
	if rapid.Bool().Draw(t, "refers") {
		ref := rapid.Uint64().Draw(t, "ref")
		l.Ref = &ref
	}
	return l
}

var (
	codeText    = regexp.MustCompile(`^[^\s]+(\s[^\s]+)*$`)
	instantText = regexp.MustCompile(`^[0-9]{4}-(0[1-9]|1[0-2])-([0-2][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z$`)
)

// TestEveryEntryIsWritten: what Encode accepts has a resource, always the same, with what
// FHIR wants of every AuditEvent, from which each member of the entry can be read.
func TestEveryEntryIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawn(t)
		if _, err := l.Encode(); err != nil {
			t.Skip(err)
		}
		got, err := fhir.Resource(l, 3, here)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := fhir.Resource(l, 3, here); !bytes.Equal(got, again) {
			t.Fatal("it is another each time")
		}
		if wrong := lacks(got); wrong != "" {
			t.Fatalf("%s\n%s", wrong, got)
		}
		for _, value := range []string{
			l.Actor.Subject, l.Actor.Organisation, l.Actor.Role, l.Actor.Issuer, string(l.Decision), l.Domain, l.EvidenceH, string(l.Kind), l.Outcome, l.Policy, l.Project,
			l.Purpose, l.ReasonCommit, l.Request, l.Rule, l.SubjectH, l.TokenH, l.Time, l.Holder,
		} {
			if value != "" && !bytes.Contains(got, []byte(value+`"`)) {
				t.Fatalf("%q is in no member of\n%s", value, got)
			}
		}
	})
}

// lacks says what FHIR wants of an AuditEvent and a document does not have.
func lacks(document []byte) string {
	type coded struct{ System, Code string }
	var e struct {
		ResourceType, ID, Action, Recorded, Outcome string
		Type                                        coded
		Subtype                                     []coded
		Agent                                       []struct {
			Who struct {
				Identifier struct{ System, Value string }
			}
			Requestor *bool
		}
		Source struct {
			Observer struct {
				Identifier struct{ System, Value string }
			}
		}
		Entity []struct {
			What struct {
				Identifier struct{ System, Value string }
			}
			Detail []struct{ Type, ValueString string }
		}
	}
	if err := json.Unmarshal(document, &e, json.MatchCaseInsensitiveNames(true)); err != nil {
		return "it is no JSON"
	}
	requestors := 0
	for _, a := range e.Agent {
		if a.Requestor == nil || a.Who.Identifier.Value == "" || !strings.Contains(a.Who.Identifier.System, ":") {
			return "an agent has no requestor or no identifier"
		}
		if *a.Requestor {
			requestors++
		}
	}
	for _, x := range e.Entity {
		if x.What.Identifier.Value == "" || x.What.Identifier.System == "" {
			return "an entity has no identifier"
		}
		for _, d := range x.Detail {
			if d.Type == "" || d.ValueString == "" {
				return "a detail is empty"
			}
		}
	}
	for _, c := range append(e.Subtype, e.Type) {
		if c.System == "" || !codeText.MatchString(c.Code) {
			return "a code is no code"
		}
	}
	switch {
	case e.ResourceType != "AuditEvent" || e.ID == "":
		return "it is no AuditEvent, or has no id"
	case !strings.Contains("CRUDE", e.Action) || len(e.Action) != 1:
		return "its action is none"
	case !slices.Contains([]string{"0", "4", "8", "12"}, e.Outcome):
		return "its outcome is none"
	case !instantText.MatchString(e.Recorded):
		return "its time is no instant"
	case requestors != 1 || e.Source.Observer.Identifier.Value == "":
		return "nobody has asked, or nobody has seen it"
	}
	return ""
}

// TestResourcesAreFHIR holds what is written to models that others have made of FHIR's
// definition. Each control is a document that they must refuse.
func TestResourcesAreFHIR(t *testing.T) {
	python := os.Getenv("TARN_PYTHON")
	if python == "" {
		t.Skip("TARN_PYTHON is not set, so resources are not held to the models of fhir.resources: make venv installs them")
	}
	if err := exec.Command(python, "-c", "import fhir.resources.R4B.auditevent").Run(); err != nil {
		t.Skip("the Python of TARN_PYTHON has no fhir.resources, so resources are not held to its models: make venv installs it")
	}
	judge := func(documents []byte) (string, error) {
		command := exec.Command(python, "../../../testdata/python/run.py", "../../../testdata/python/fhir_audit.py")
		command.Stdin = bytes.NewReader(documents)
		said, err := command.CombinedOutput()
		return strings.TrimSpace(string(said)), err
	}
	all := samples()
	made := rapid.Custom(drawn)
	for seed := range 300 {
		if l := made.Example(seed); func() bool { _, err := l.Encode(); return err == nil }() {
			all = append(all, l)
		}
	}
	documents := slices.Concat(written(t, all, here), written(t, all, fhir.Options{Origin: "keyholder/log-2", Unverified: true}))
	if said, err := judge(documents); err != nil || said != fmt.Sprint(2*len(all)) {
		t.Errorf("%v: %s", err, said)
	}
	one := written(t, samples()[len(kinds):len(kinds)+1], here)
	for name, change := range map[string][2]string{
		"a member more":  {`"id":`, `"patient":"x","id":`},
		"no time":        {`"recorded":`, `"issued":`},
		"no instant":     {`"recorded":"2026-11-26T`, `"recorded":"2026-13-26T`},
		"no requestor":   {`"requestor":true`, `"requestor":"yes please"`},
		"another kind":   {`"AuditEvent"`, `"Patient"`},
		"a coding alone": {`"type":{"system"`, `"type":{"sistem"`},
	} {
		changed := bytes.Replace(one, []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(changed, one) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if said, err := judge(changed); err == nil {
			t.Errorf("%s is accepted: %s", name, said)
		}
	}
}

// TestTheTableIsTrue: docs/audit.md has a line for each kind, with its type and its action.
func TestTheTableIsTrue(t *testing.T) {
	page, err := os.ReadFile("../../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| kinds | type | subtype | action |")
	if !found {
		t.Fatal("the table is gone")
	}
	row := func(kind audit.Kind) string {
		for line := range strings.Lines(table) {
			if strings.HasPrefix(line, "|") && strings.Contains(line, "`"+string(kind)+"`") {
				return line
			}
		}
		return ""
	}
	for _, l := range samples() {
		var e struct {
			Type   struct{ Code string }
			Action string
		}
		b, err := fhir.Resource(l, 0, here)
		if err == nil {
			err = json.Unmarshal(b, &e, json.MatchCaseInsensitiveNames(true))
		}
		if err != nil {
			t.Fatal(err)
		}
		line := row(l.Kind)
		if l.Kind == "of-a-later-version" {
			if line != "" {
				t.Error("a kind that there is not has a line")
			}
			continue
		}
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.Contains(cells[2], e.Type.Code) || !strings.Contains(cells[4], e.Action) {
			t.Errorf("%s has type %s and action %s, and the page says %q", l.Kind, e.Type.Code, e.Action, line)
		}
	}
}

// TestPurposesAreCodes: every purpose that may be asked for is a code of ActReason, and no
// other is.
func TestPurposesAreCodes(t *testing.T) {
	const system = `"purposeOfEvent":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"`
	for _, purpose := range append(reidentify.Purposes(), "token") {
		l := samples()[len(kinds)]
		l.Purpose = string(purpose)
		b, err := fhir.Resource(l, 0, here)
		if err != nil || bytes.Contains(b, []byte(system+string(purpose)+`","display":"`)) != purpose.Known() {
			t.Errorf("%s: %v\n%s", purpose, err, b)
		}
	}
}
