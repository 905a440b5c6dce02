package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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
	killAgain(t, kill{times: linkKills, command: command, resumed: "pairs had been compared before the interruption", complete: "run/summary.json", contents: linkContents})
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left in the folder of temporary files: %v %v", left, err)
	}
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
