package cmd_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"tarn/bench/faults"
)

// holds runs a scenario of bench/faults over the binaries in a folder, and fails for
// all that does not hold. A scenario that cannot be run here is skipped, and says why.
func holds(t *testing.T, binaries, name string) {
	t.Helper()
	found, err := faults.Find([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	o := faults.Options{Binaries: binaries, Folder: t.TempDir(), Full: full, Software: "test", Clock: time.Now}
	if race := filepath.Join(binaries, "race", "tokeniser"); exists(race) {
		o.Race = race
	}
	r, err := faults.Run(t.Context(), found[0], o)
	for _, line := range r.Wrong() {
		t.Error(line)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range r.LeftOut {
		t.Logf("left out: %s", part)
	}
	t.Logf("%d checks, %d controls, ledger on %s: %v", len(r.Checks), len(r.Controls), r.Ledger.Filesystem, r.Figures)
	if r.Outcome == faults.LeftOut {
		t.Skip("skipped: ", r.LeftOut[0])
	}
}

// TestKilledKeyholder is scenario 1, which needs nothing that a machine may not
// have.
func TestKilledKeyholder(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	holds(t, binaries, "kill")
}

// quick are the scenarios that every make test has: they take seconds, and need nothing that a
// machine may not have.
var quick = []string{"kill", "enumerate", "hostile", "http"}

// TestServiceHolds is what callers may do to the tokenise service, in short: enumerate, send
// what is hostile, and abuse HTTP.
func TestServiceHolds(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	for _, name := range quick[1:] {
		t.Run(name, func(t *testing.T) { holds(t, binaries, name) })
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestTableOfScenarios: the table in the document is the one that the last results
// make, and has every scenario.
func TestTableOfScenarios(t *testing.T) {
	const folder, path = "../docs/reliability", "../docs/reliability.md"
	results, err := faults.ReadResults(folder)
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	made, err := faults.Insert(string(written), faults.Table(results))
	if err != nil {
		t.Fatal(err)
	}
	if made != string(written) {
		t.Errorf("the table in %s is another than the results in %s make: tarn faults table --in docs/reliability --document docs/reliability.md", path, folder)
	}
	for _, s := range faults.All() {
		if results[s.Number] == nil {
			t.Errorf("there is no result of scenario %d, %s: make faults", s.Number, s.Name)
		}
	}
	for number, r := range results {
		if r.Outcome != faults.Passed || r.Scale != "full" {
			t.Errorf("the last result of scenario %d is %s, at %s scale", number, r.Outcome, r.Scale)
		}
	}
}
