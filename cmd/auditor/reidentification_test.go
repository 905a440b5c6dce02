package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"tarn/cmd/internal/boot"
	"tarn/keys/audit"
	"tarn/keys/audit/tiles/tilestest"
)

// subject is the hash of the patient whom everything is about: no report may show it.
var subject, token = strings.Repeat("5", 32), strings.Repeat("7", 32)

// reidentified are the entries of a request that was allowed, opened and shown again.
func reidentified() []audit.Leaf {
	leaf := audit.Leaf{
		Actor: audit.Actor{Issuer: "https://am.example", Organisation: "RX1", Role: "doctor", Subject: "ann"}, Domain: "lake", Project: "study", Purpose: "TREAT",
		Request: strings.Repeat("a", 64), SubjectH: subject, TokenH: token, TokenEpoch: 1,
	}
	all := []audit.Leaf{}
	for n, change := range []func(*audit.Leaf){
		func(l *audit.Leaf) {
			l.Kind, l.Count, l.ReasonCommit = audit.KindReidRequest, 1, strings.Repeat("b", 64)
		},
		func(l *audit.Leaf) { l.Kind, l.Rule, l.Outcome = audit.KindAlarm, audit.RuleLimit+"/night", "warn" },
		func(l *audit.Leaf) { l.Kind, l.Decision, l.Rule = audit.KindReidDecision, audit.Allow, "relationship" },
		func(l *audit.Leaf) { l.Kind, l.Ref = audit.KindReidIntent, new(uint64) },
		func(l *audit.Leaf) {
			l.Kind, l.Ref, l.Outcome = audit.KindReidOutcome, new(uint64), "released"
			*l.Ref = 3
		},
		func(l *audit.Leaf) { l.Kind, l.Ref = audit.KindRedeliver, new(uint64); *l.Ref = 3 },
		func(l *audit.Leaf) { l.Kind, l.Request, l.Purpose = audit.KindWhoAsked, "", "" },
	} {
		l := leaf
		l.Time = fmt.Sprintf("2026-11-20T09:00:0%d.000Z", n)
		change(&l)
		all = append(all, l)
	}
	return all
}

func encoded(t *testing.T, leaves []audit.Leaf) [][]byte {
	t.Helper()
	entries := [][]byte{}
	for _, l := range leaves {
		b, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, b)
	}
	return entries
}

// signedLog writes a log that is signed, and returns its folder.
func signedLog(t *testing.T, entries [][]byte) string {
	t.Helper()
	folder := t.TempDir()
	tilestest.WriteSigned(t, folder, "keyholder/log-test", entries)
	return folder
}

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, said bytes.Buffer
	code = boot.Run(context.WithoutCancel(t.Context()), command, args, strings.NewReader(""), &out, &said)
	return code, out.String(), said.String()
}

// TestReportOnReidentifications: what is counted is said in words and in a document that
// meets its schema, and no patient is in either.
func TestReportOnReidentifications(t *testing.T) {
	folder := signedLog(t, encoded(t, reidentified()))
	code, text, said := run(t, "report", folder, "--month", "2026-11")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	for _, want := range []string{
		"re-identification: 1 requests about 1 patients, 0 cancelled; 1 patients opened, 1 shown again", "beyond the limit night (warn): 1",
		"questions who has asked: 1", "Every opening of the month follows from a decision",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	code, document, said := run(t, "report", folder, "--month", "2026-11", "--json")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	if strings.Contains(text+document, subject) || strings.Contains(text+document, token) {
		t.Error("a patient is in the report")
	}
	judge := schema(t)
	if err := judge(document); err != nil {
		t.Error(err)
	}
	if judge(strings.Replace(document, `"requests":`, `"subject_h": "`+subject+`", "requests":`, 1)) == nil {
		t.Error("a document with a patient meets the schema")
	}
}

func schema(t *testing.T) func(document string) error {
	t.Helper()
	compiled, err := jsonschema.NewCompiler().Compile("../../docs/schemas/log-report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(document string) error {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		return compiled.Validate(v)
	}
}

// TestReportNamesOpeningsThatDoNotFollow, though the log is what was signed.
func TestReportNamesOpeningsThatDoNotFollow(t *testing.T) {
	leaves := reidentified()
	leaves[2].Decision = audit.Pending
	folder := signedLog(t, encoded(t, leaves))
	if code, _, said := run(t, "verify", folder); code != 0 {
		t.Fatalf("the log is not whole: %s", said)
	}
	code, text, said := run(t, "report", folder, "--month", "2026-11")
	if code != 6 || !strings.Contains(text, "OPENINGS THAT DO NOT FOLLOW FROM WHAT WAS RECORDED: 1\n  entry 3: a patient was opened") || !strings.Contains(said, "does not follow") {
		t.Errorf("exit %d:\n%s%s", code, text, said)
	}
	code, document, _ := run(t, "report", folder, "--month", "2026-11", "--json")
	if code != 6 || !strings.Contains(document, `"what": "opening-without-decision"`) || schema(t)(document) != nil {
		t.Errorf("exit %d:\n%s", code, document)
	}
}

// TestTamperedReidentificationsAreNamed: each entry of a re-identification that is changed,
// removed or moved is found out by verify, by its index. Nothing of it is exported.
func TestTamperedReidentificationsAreNamed(t *testing.T) {
	whole := encoded(t, reidentified())
	filler, err := audit.Leaf{Kind: audit.KindStart, Time: "2026-11-20T09:01:00.000Z"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, tamper := range map[string]struct {
		do   func(entries [][]byte, at int) [][]byte
		what string
	}{
		"patient": {func(e [][]byte, at int) [][]byte {
			e[at] = bytes.ReplaceAll(e[at], []byte(subject), []byte(strings.Repeat("6", 32)))
			return e
		}, "changed"},
		"who": {func(e [][]byte, at int) [][]byte {
			e[at] = bytes.Replace(e[at], []byte(`"ann"`), []byte(`"bob"`), 1)
			return e
		}, "changed"},
		"kind":    {func(e [][]byte, at int) [][]byte { e[at] = filler; return e }, "changed"},
		"removed": {func(e [][]byte, at int) [][]byte { return append(slices.Delete(e, at, at+1), filler) }, "removed"},
		"swapped": {func(e [][]byte, at int) [][]byte { e[at], e[at+1] = e[at+1], e[at]; return e }, "out of order"},
	} {
		for at := range whole[:len(whole)-1] {
			folder := signedLog(t, whole)
			if code, _, said := run(t, "verify", folder); code != 0 {
				t.Fatalf("untampered: exit %d: %s", code, said)
			}
			tilestest.WriteBundles(t, folder, tamper.do(slices.Clone(whole), at))
			code, document, _ := run(t, "verify", folder, "--json")
			if code != 6 || !strings.Contains(document, fmt.Sprintf(`"index": %d`, at)) || !strings.Contains(document, `"what": "`+tamper.what+`"`) {
				t.Errorf("%s at %d: exit %d\n%s", name, at, code, document)
			}
			if code, exported, _ := run(t, "export", folder, "--format", "fhir"); code != 6 || exported != "" {
				t.Errorf("%s at %d is exported: exit %d", name, at, code)
			}
		}
	}
}

// TestExportLeavesNothingOut: unknown kinds are written; what no entry may say is not, and
// that is said.
func TestExportLeavesNothingOut(t *testing.T) {
	entries := append(encoded(t, reidentified()), []byte(`{"kind":"of-a-later-version","time":"2026-11-20T09:00:09.000Z","v":2}`))
	out := filepath.Join(t.TempDir(), "log.ndjson")
	if code, _, said := run(t, "export", signedLog(t, entries), "--format", "fhir", "--out", out); code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	written, err := os.ReadFile(out)
	if err != nil || bytes.Count(written, []byte("\n")) != len(entries) || !bytes.Contains(written, []byte(`"of-a-later-version"`)) {
		t.Errorf("%v: %s", err, written)
	}
	const planted = "Quetzalina Xylander"
	entries = append(entries, []byte(`{"kind":"alarm","outcome":"`+planted+`","time":"2026-11-20T09:00:09.000Z","v":1}`))
	code, stdout, said := run(t, "export", signedLog(t, entries), "--format", "fhir")
	if code != 6 || strings.Count(stdout, "\n") != len(entries)-1 || !strings.Contains(said, "entry 8: they are left out") || strings.Contains(stdout+said, planted) {
		t.Errorf("exit %d: %s", code, said)
	}
}
