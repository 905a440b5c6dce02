package cmd_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"tarn/keys/audit"
	"tarn/keys/audit/tiles/tilestest"
)

// dishonestLog writes a log such as no key holder of ours writes, and has it reported on:
// a request that a limit refuses, and a patient of it who is opened all the same.
func (j *journey) dishonestLog(t *testing.T) {
	t.Helper()
	intent := uint64(3)
	entries := [][]byte{}
	for n, leaf := range []audit.Leaf{
		{Kind: audit.KindReidRequest},
		{Kind: audit.KindAlarm, Rule: audit.RuleLimit + "/night", Outcome: "refuse"},
		{Kind: audit.KindReidDecision, Decision: audit.Deny, Rule: "limit/night"},
		{Kind: audit.KindReidIntent},
		{Kind: audit.KindReidOutcome, Outcome: "released", Ref: &intent},
	} {
		leaf.Time, leaf.Request = fmt.Sprintf("2026-11-20T09:00:0%d.000Z", n), strings.Repeat("a", 64)
		leaf.Actor = audit.Actor{Issuer: "https://am.example", Organisation: "RX1", Role: "doctor", Subject: "ann"}
		leaf.Purpose, leaf.SubjectH, leaf.TokenH = "TREAT", strings.Repeat("b", 32), strings.Repeat("c", 32)
		entry, err := leaf.Encode()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry)
	}
	tilestest.WriteSigned(t, filepath.Join(j.folder, "dishonest"), "keyholder/log-of-a-test", entries)
	j.run(t, 6, "auditor", "report", "dishonest", "--month", "2026-11", "--json")
}
