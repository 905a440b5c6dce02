//go:build heavy

package cmd_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tarn/bench/attack"
)

// TestAttack runs the privacy self-audit as it is shipped. A profile that holds ends
// with 0. The default fails one limit, for half of a date of birth, and no other, as
// docs/privacy-audit.md says: should that change, either way, this shows it. A profile
// whose diffusion and keys by date were taken away fails more.
func TestAttack(t *testing.T) {
	folder := t.TempDir()
	build(t, folder)
	for _, tt := range []struct {
		name, profile string
		code          int
		fails         []string
	}{
		{"one name", "../testdata/attack/one-name-dob-1.profile.json", 0, nil},
		{"default", "nhs-field-dob-1", 4, []string{"4 S2"}},
		{"weakened", weakened(t, folder), 4, []string{"2", "3", "4 S4", "4 S2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			command := exec.Command(filepath.Join(folder, "tarn"), "attack", "--scale", "small", "--json", "--profile", tt.profile)
			var stdout, stderr bytes.Buffer
			command.Stdout, command.Stderr = &stdout, &stderr
			_ = command.Run() // the exit code is looked at
			if code := command.ProcessState.ExitCode(); code != tt.code {
				t.Errorf("exit %d, want %d\n%s", code, tt.code, stderr.String())
			}
			var document any
			var audit attack.Document
			if err := json.Unmarshal(stdout.Bytes(), &document); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(stdout.Bytes(), &audit); err != nil {
				t.Fatal(err)
			}
			if _, judge := schemaOf(t, attack.Schema); valid(judge, document) != nil {
				t.Error(valid(judge, document))
			}
			var fails []string
			for _, a := range audit.Attacks {
				t.Logf("%-4s %d of %d, %s", a.ID, a.Right, a.Records, a.Verdict)
				switch {
				case a.Verdict == attack.VerdictBlind:
					t.Errorf("attack %s is blind", a.ID)
				case a.Verdict == attack.VerdictFails:
					fails = append(fails, a.ID)
					if !strings.Contains(stderr.String(), "attack "+a.ID) {
						t.Errorf("the message does not name attack %s: %s", a.ID, stderr.String())
					}
				}
			}
			if got, want := strings.Join(fails, ", "), strings.Join(tt.fails, ", "); got != want {
				t.Errorf("fails %q, want %q", got, want)
			}
		})
	}
}

// weakened writes the default without diffusion, pad and keys by date.
func weakened(t *testing.T, folder string) string {
	t.Helper()
	b, err := os.ReadFile("../tokenise/encode/profiles/nhs-field-dob-1.json")
	if err != nil {
		t.Fatal(err)
	}
	var profile map[string]any
	if err := json.Unmarshal(b, &profile); err != nil {
		t.Fatal(err)
	}
	encoding := profile["encoding"].(map[string]any)
	encoding["record_key"], encoding["diffusion"], encoding["pad"] = "none", 0, false
	if b, err = json.Marshal(profile); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "weakened.profile.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
