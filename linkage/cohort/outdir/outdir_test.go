package outdir_test

import (
	"os"
	"path/filepath"
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
		if round == "first" {
			write(t, filepath.Join(f.Path(), ".state", "key"), "kept")
		} else if err := f.Keep(".state/key"); err != nil {
			t.Fatal(err)
		}
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
	if b, err := os.ReadFile(filepath.Join(final, ".state", "key")); err != nil || string(b) != "kept" {
		t.Errorf("what was to be kept is gone: %v", err)
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
