package cmd_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kills is the number of times that TestKilledRunsGoOn kills a run.
const kills = 20

// TestKilledRunsGoOn kills tokeniser run (SIGKILL) at random points, goes on
// with --resume until it ends, and wants the bytes of a run that nobody killed.
func TestKilledRunsGoOn(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	people := filepath.Join(t.TempDir(), "people")
	if code, said := output(t, filepath.Join(binaries, "tarn"), "synth", "--people", "8000", "--parties", "1", "--overlap", "0", "--seed", "4", "--keys", "--out", people); code != 0 {
		t.Fatalf("tarn synth: exit %d: %s", code, said)
	}
	temporary := t.TempDir()
	command := func(folder string) *exec.Cmd {
		c := exec.Command(filepath.Join(binaries, "tokeniser"), "run", "--project", filepath.Join(people, "project.json"), "--key-file", filepath.Join(people, "keys.json"),
			"--in", filepath.Join(people, "north.csv"), "--out", filepath.Join(folder, "north.parquet"), "--groups", filepath.Join(folder, "groups.parquet"),
			"--quarantine", filepath.Join(folder, "refused.csv"), "--warnings", filepath.Join(folder, "warnings.csv"), "--confirm-map", "--checkpoint-rows", "400", "--resume")
		c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1767225600", "TMPDIR="+temporary)
		return c
	}
	killAgain(t, kill{times: kills, command: command, resumed: "had been encoded before the interruption", complete: "north.manifest.json", contents: contents})
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left in the folder of temporary files: %v %v", left, err)
	}
}

// kill is a command that is killed and goes on.
type kill struct {
	times    int
	command  func(folder string) *exec.Cmd // writes into the folder
	resumed  string                        // what it says when it goes on with what was kept
	complete string                        // the file that gets its name last
	contents func(t *testing.T, folder string) map[string]string
}

// killAgain kills a command (SIGKILL) at random points, lets it go on until it
// ends, and wants the bytes of one that nobody killed, with nothing beside them.
func killAgain(t *testing.T, k kill) {
	t.Helper()
	whole := t.TempDir()
	start := time.Now()
	if said, err := k.command(whole).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	took := time.Since(start)
	want := k.contents(t, whole)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, an undisturbed run took %v", seed, took)
	random := rand.New(rand.NewPCG(seed, 0))
	killed, resumed := 0, 0
	for folder := t.TempDir(); killed < k.times; {
		c := k.command(folder)
		var said strings.Builder
		c.Stdout, c.Stderr = &said, &said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(random.Float64()*1.2*float64(took)), func() { _ = c.Process.Kill() }) // it may have ended
		err := c.Wait()
		timer.Stop()
		if strings.Contains(said.String(), k.resumed) {
			resumed++
		}
		if err != nil {
			if c.ProcessState.ExitCode() != -1 {
				t.Fatalf("%v: %s", err, said.String())
			}
			killed++
			if _, err := os.Stat(filepath.Join(folder, k.complete)); err == nil {
				compare(t, k.contents(t, folder), want) // killed after the last file got its name: all of them are there
			}
			continue
		}
		compare(t, k.contents(t, folder), want)
		for _, pattern := range []string{".*", "*/.checkpoint"} {
			if left, _ := filepath.Glob(filepath.Join(folder, pattern)); len(left) > 0 {
				t.Fatalf("left behind by the runs that were killed: %q", left)
			}
		}
		folder = t.TempDir()
	}
	if resumed == 0 {
		t.Error("no run went on with what was kept: the test kills too early or too late")
	}
	t.Logf("killed %d times; %d runs went on with what an earlier one had kept and ended", killed, resumed)
}

// contents returns the files of a folder, but those that have not got their
// names.
func contents(t *testing.T, folder string) map[string]string {
	t.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(b)
	}
	return all
}

func compare(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d files, want %d", len(got), len(want))
	}
	for name, content := range want {
		if got[name] != content {
			t.Fatalf("%s differs from that of a run that nobody killed", name)
		}
	}
}
