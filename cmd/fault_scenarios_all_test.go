//go:build faults || heavy

package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"tarn/bench/faults"
)

// TestFaultScenarios runs the scenarios, in full or in their short form, but those
// that every make test has.
func TestFaultScenarios(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	race := exec.Command("go", "build", "-race", "-o", filepath.Join(binaries, "race")+"/", "./cmd/tokeniser")
	race.Dir, race.Env = "..", append(os.Environ(), "CGO_ENABLED=1")
	if said, err := race.CombinedOutput(); err != nil {
		t.Fatalf("go build -race: %v\n%s", err, said)
	}
	for _, s := range faults.All() {
		if slices.Contains(quick, s.Name) && !full {
			continue
		}
		t.Run(s.Name, func(t *testing.T) { holds(t, binaries, s.Name) })
	}
}
