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

// linkKills is the number of times that TestKilledLinksGoOn kills a job.
const linkKills = 12

// TestKilledLinksGoOn kills linker link (SIGKILL) at random points, goes on with
// --resume until it ends, and wants the bytes of a job that nobody killed.
func TestKilledLinksGoOn(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	people := filepath.Join(t.TempDir(), "people")
	if code, said := output(t, filepath.Join(binaries, "tarn"), "synth", "--people", "6000", "--parties", "3", "--seed", "4", "--encode", "--out", people); code != 0 {
		t.Fatalf("tarn synth: exit %d: %s", code, said)
	}
	temporary := t.TempDir()
	state := filepath.Join(t.TempDir(), "state")
	command := func(folder string) *exec.Cmd {
		c := exec.Command(filepath.Join(binaries, "linker"), "link", filepath.Join(people, "north.parquet"), filepath.Join(people, "south.parquet"), filepath.Join(people, "east.parquet"),
			"--out", filepath.Join(folder, "run"), "--state", state, "--tmp-dir", temporary, "--checkpoint-after", "0s", "--resume")
		c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1767225600")
		return c
	}
	whole := t.TempDir()
	start := time.Now()
	if said, err := command(whole).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	took := time.Since(start)
	want := linkContents(t, whole)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, an undisturbed job took %v", seed, took)
	random := rand.New(rand.NewPCG(seed, 0))
	killed, resumed := 0, 0
	for folder := t.TempDir(); killed < linkKills; {
		c := command(folder)
		var said strings.Builder
		c.Stdout, c.Stderr = &said, &said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(random.Float64()*1.2*float64(took)), func() { _ = c.Process.Kill() }) // it may have ended
		err := c.Wait()
		timer.Stop()
		if strings.Contains(said.String(), "pairs had been compared before the interruption") {
			resumed++
		}
		if err != nil {
			if c.ProcessState.ExitCode() != -1 {
				t.Fatalf("%v: %s", err, said.String())
			}
			killed++
			if _, err := os.Stat(filepath.Join(folder, "run", "summary.json")); err == nil {
				compare(t, linkContents(t, folder), want) // killed after the result got its name
			}
			continue
		}
		compare(t, linkContents(t, folder), want)
		if left, _ := filepath.Glob(filepath.Join(folder, ".*")); len(left) > 0 {
			t.Fatalf("left behind by the jobs that were killed: %q", left)
		}
		if left, _ := filepath.Glob(filepath.Join(folder, "run", ".checkpoint")); len(left) > 0 {
			t.Fatal("the checkpoint is still there")
		}
		folder = t.TempDir()
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left in the folder of temporary files: %v %v", left, err)
	}
	if resumed == 0 {
		t.Error("no job went on with what was kept: the test kills too early or too late")
	}
	t.Logf("killed %d times; %d jobs went on with what an earlier one had kept", killed, resumed)
}

// linkContents returns the files of the result in a folder, but the summary,
// which says how long the job took.
func linkContents(t *testing.T, folder string) map[string]string {
	t.Helper()
	run := filepath.Join(folder, "run")
	all := map[string]string{}
	for _, pattern := range []string{"*.parquet", "*.html", "run.json", "model.json", "crosswalk/*.parquet"} {
		files, err := filepath.Glob(filepath.Join(run, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s in the result", pattern)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all[strings.TrimPrefix(file, run)] = string(b)
		}
	}
	return all
}
