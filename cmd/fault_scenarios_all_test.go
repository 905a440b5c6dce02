//go:build faults || heavy

package cmd_test

import (
	"testing"

	"tarn/bench/faults"
)

// TestFaultScenarios runs the scenarios, in full or in their short form, but the
// one that every make test has.
func TestFaultScenarios(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	for _, s := range faults.All() {
		if s.Run == nil || s.Name == "kill" && !full {
			continue
		}
		t.Run(s.Name, func(t *testing.T) { holds(t, binaries, s.Name) })
	}
}
