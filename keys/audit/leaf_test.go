package audit_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/keys/audit"
)

func whole() audit.Leaf {
	ref := uint64(0)
	return audit.Leaf{
		Actor: audit.Actor{Issuer: "mtls", Organisation: "RX1", Role: "tokeniser", Subject: "north"}, Count: 7, Decision: audit.Allow, Domain: "lake",
		EncodingEpoch: 2, EvidenceH: strings.Repeat("d", 64), Policy: strings.Repeat("e", 64), Holder: "holder", Kind: audit.KindLease, Outcome: "used", Project: "study", Purpose: "encoding", Ref: &ref,
		ReasonCommit: strings.Repeat("a", 64), Request: "6f1c", Rule: "r1", SelfReported: true, SubjectH: strings.Repeat("b", 32),
		Time: audit.FormatTime(time.Date(2026, 11, 26, 9, 0, 0, 1_000_000, time.UTC)), TokenEpoch: 3, TokenH: strings.Repeat("c", 32), Unwitnessed: true,
	}
}

// TestLeafIsCanonical: members sorted, no blanks, absent ones left out, time in
// milliseconds.
func TestLeafIsCanonical(t *testing.T) {
	got, err := whole().Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"actor":{"iss":"mtls","org":"RX1","role":"tokeniser","sub":"north"},"count":7,"decision":"allow","domain":"lake","encoding_epoch":2,"evidence_h":"` + strings.Repeat("d", 64) + `","holder":"holder",` +
		`"kind":"lease","outcome":"used","policy":"` + strings.Repeat("e", 64) + `","project":"study","purpose":"encoding","reason_commit":"` + strings.Repeat("a", 64) + `","ref":0,"request":"6f1c","rule":"r1",` +
		`"self_reported":true,"subject_h":"` + strings.Repeat("b", 32) + `","time":"2026-11-26T09:00:00.001Z","token_epoch":3,"token_h":"` + strings.Repeat("c", 32) + `","unwitnessed":true,"v":1}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	short, err := audit.Leaf{Kind: audit.KindStart, Time: "2026-11-26T09:00:00.000Z"}.Encode()
	if err != nil || string(short) != `{"kind":"start","time":"2026-11-26T09:00:00.000Z","v":1}` {
		t.Errorf("%s, %v", short, err)
	}
}

// TestLeafTakesNoFreeText: whatever a person could write at length is refused,
// and so is what is no time, no kind and no hash; the message repeats nothing.
func TestLeafTakesNoFreeText(t *testing.T) {
	const planted = "for Ms Quetzalina Xylander"
	for name, change := range map[string]func(*audit.Leaf){
		"organisation": func(l *audit.Leaf) { l.Actor.Organisation = planted },
		"subject":      func(l *audit.Leaf) { l.Actor.Subject = planted },
		"outcome":      func(l *audit.Leaf) { l.Outcome = planted },
		"purpose":      func(l *audit.Leaf) { l.Purpose = planted },
		"rule":         func(l *audit.Leaf) { l.Rule = planted },
		"request":      func(l *audit.Leaf) { l.Request = planted },
		"project":      func(l *audit.Leaf) { l.Project = planted },
		"domain":       func(l *audit.Leaf) { l.Domain = planted },
		"holder":       func(l *audit.Leaf) { l.Holder = planted },
		"decision":     func(l *audit.Leaf) { l.Decision = planted },
		"kind":         func(l *audit.Leaf) { l.Kind = planted },
		"no kind":      func(l *audit.Leaf) { l.Kind = "" },
		"hash":         func(l *audit.Leaf) { l.SubjectH = planted },
		"token":        func(l *audit.Leaf) { l.TokenH = strings.Repeat("c", 31) },
		"commitment":   func(l *audit.Leaf) { l.ReasonCommit = planted },
		"evidence":     func(l *audit.Leaf) { l.EvidenceH = planted },
		"policy":       func(l *audit.Leaf) { l.Policy = planted },
		"time":         func(l *audit.Leaf) { l.Time = "2026-11-26" },
		"long":         func(l *audit.Leaf) { l.Request = strings.Repeat("x", 129) },
	} {
		l := whole()
		change(&l)
		if _, err := l.Encode(); err == nil || strings.Contains(err.Error(), planted) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRulesAreSaidInWords: each alarm's rule has a text of its own, and a name that an entry
// takes.
func TestRulesAreSaidInWords(t *testing.T) {
	rules := audit.Rules()
	for _, want := range []string{audit.RuleTestRange, audit.RuleBreakGlass, audit.RuleReviewOverdue} {
		if !slices.Contains(rules, want) {
			t.Errorf("%s is no rule of alarms", want)
		}
	}
	said := map[string]string{"": "nothing"}
	for _, rule := range rules {
		if other := said[audit.RuleText(rule)]; other != "" {
			t.Errorf("%s says what %s says", rule, other)
		}
		said[audit.RuleText(rule)] = rule
		l := audit.Leaf{Kind: audit.KindAlarm, Time: "2026-11-26T09:00:00.000Z", Rule: rule}
		if _, err := l.Encode(); err != nil {
			t.Errorf("%s: %v", rule, err)
		}
	}
	if audit.RuleText("unheard-of") != "" {
		t.Error("a rule that is not known is said in words")
	}
}
