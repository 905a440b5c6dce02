package outdir_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tarn/keys/fault"
	"tarn/linkage/cohort/outdir"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func hasMarker(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "marker"))
	return err == nil
}

func TestAppearsWhenCompleteAndReplacesItsOwn(t *testing.T) {
	final := filepath.Join(t.TempDir(), "deep", "out")
	for _, round := range []string{"first", "second"} {
		f, err := outdir.Begin(final, hasMarker)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(f.Path(), "marker"), round)
		if round == "first" && hasMarker(final) {
			t.Fatal("the output is there before it is complete")
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		f.Abort() // must do nothing now
		b, err := os.ReadFile(filepath.Join(final, "marker"))
		if err != nil || string(b) != round {
			t.Fatalf("got %q, %v after the %s round", b, err, round)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(final)); err != nil || len(left) != 1 {
		t.Errorf("something was left beside the output: %v, %v", left, err)
	}
}

func TestRefusesAFolderOfSomethingElse(t *testing.T) {
	final := t.TempDir()
	write(t, filepath.Join(final, "thesis.txt"), "precious")
	if _, err := outdir.Begin(final, hasMarker); fault.KindOf(err) != fault.Usage {
		t.Fatalf("got %v, want a usage fault", err)
	}
	if _, err := os.Stat(filepath.Join(final, "thesis.txt")); err != nil {
		t.Error("the refused folder was touched")
	}
}

func begin(t *testing.T, final string) *outdir.Folder {
	t.Helper()
	f, err := outdir.Begin(final, hasMarker)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestCheckpoint: what a job goes on from outlives a job that stops, hinders
// none that begins, and goes with the one that ends.
func TestCheckpoint(t *testing.T) {
	final := filepath.Join(t.TempDir(), "out")
	for _, round := range []string{"new", "replaced"} {
		f := begin(t, final)
		kept, err := f.Checkpoint()
		if err != nil || filepath.Dir(kept) != final {
			t.Fatalf("%s: %s, %v", round, kept, err)
		}
		write(t, filepath.Join(kept, "half"), "x")
		f.Abort()
		f = begin(t, final)
		if again, err := f.Checkpoint(); err != nil || again != kept || !exists(filepath.Join(kept, "half")) {
			t.Errorf("%s: what was kept is gone: %v", round, err)
		}
		write(t, filepath.Join(f.Path(), "marker"), "x")
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		f.Abort()
		if exists(kept) || !hasMarker(final) {
			t.Errorf("%s: the checkpoint is still there, or the output is not", round)
		}
	}
	f := begin(t, filepath.Join(t.TempDir(), "file"))
	defer f.Abort()
	write(t, filepath.Join(filepath.Dir(f.Path()), "file"), "in the way")
	if _, err := f.Checkpoint(); fault.KindOf(err) != fault.Internal {
		t.Errorf("a file is in the way: %v", err)
	}
}

// otherProcess, in the environment, names an output that this test, run as
// another process, begins and holds.
const otherProcess = "TARN_TEST_OUTDIR"

func TestOtherProcess(t *testing.T) {
	final := os.Getenv(otherProcess)
	if final == "" {
		t.Skip("it is run by TestStaleFolders")
	}
	f := begin(t, final)
	write(t, filepath.Join(f.Path(), "half"), "x")
	fmt.Println("folder " + f.Path())
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
}

// TestStaleFolders: what killed processes had begun is removed; what living ones
// write, and what is of another output, is not.
func TestStaleFolders(t *testing.T) {
	parent := t.TempDir()
	final := filepath.Join(parent, "out[1]*") // a name that would be a pattern
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOtherProcess$")
	other.Env = append(os.Environ(), otherProcess+"="+final)
	hold, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Close() }()
	printed, err := other.StdoutPipe()
	if err == nil {
		err = other.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	living, lines := "", bufio.NewScanner(printed)
	for living == "" && lines.Scan() {
		living, _ = strings.CutPrefix(lines.Text(), "folder ")
	}
	others := filepath.Join(parent, ".other.partial-000000000000")
	mine := filepath.Join(parent, ".out1.partial-000000000000")
	for _, folder := range []string{others, mine} {
		write(t, filepath.Join(folder, "x"), "x")
	}
	first := begin(t, final)
	if !exists(filepath.Join(living, "half")) || living == first.Path() {
		t.Error("what a living process writes was removed")
	}
	second := begin(t, final)
	if !exists(first.Path()) {
		t.Error("what this process writes was removed")
	}
	second.Abort()
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait() // it was killed
	third := begin(t, final)
	defer third.Abort()
	if exists(living) || !exists(first.Path()) {
		t.Error("what a dead process wrote is left, or what a living one writes is not")
	}
	first.Abort()
	if !exists(others) || !exists(mine) {
		t.Error("a folder of another output was removed")
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	f, err := outdir.Begin(filepath.Join(parent, "out"), hasMarker)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(f.Path(), "half"), "x")
	f.Abort()
	if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestWhatALinkLeadsToIsReplaced: the link itself stays, and nothing is left in
// what it led to.
func TestWhatALinkLeadsToIsReplaced(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	write(t, filepath.Join(target, "marker"), "first")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	f, err := outdir.Begin(link, hasMarker)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(f.Path(), "marker"), "second")
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(target, "marker"))
	if to, e := os.Readlink(link); err != nil || e != nil || string(b) != "second" || to != "real" {
		t.Errorf("there is %q, %v; the link leads to %q, %v", b, err, to, e)
	}
	if _, err := os.Stat(filepath.Join(target, outdir.CheckpointDir)); err == nil {
		t.Error("the checkpoint is still there")
	}
}

// TestPlacesThatNothingCanTake: said before the work, not after it.
func TestPlacesThatNothingCanTake(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{".", "./", "..", "x/..", "/"} {
		if _, err := outdir.Begin(name, hasMarker); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	f, err := outdir.Begin("x", hasMarker)
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
}
