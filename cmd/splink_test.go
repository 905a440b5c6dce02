package cmd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSplinkTakesLinks gives links.parquet and clusters.parquet to Splink 5 as
// they are: its clusters must be the linker's, its charts must draw.
func TestSplinkTakesLinks(t *testing.T) {
	python := os.Getenv("TARN_PYTHON")
	if python == "" {
		t.Skip("TARN_PYTHON is not set, so Splink is not asked")
	}
	folder := t.TempDir()
	build(t, folder)
	run := func(name string, args ...string) string {
		t.Helper()
		code, said := output(t, name, args...)
		if code != 0 {
			t.Fatalf("%s %s: exit %d: %s", filepath.Base(name), strings.Join(args, " "), code, said)
		}
		return said
	}
	at := func(name string) string { return filepath.Join(folder, name) }
	run(at("tarn"), "synth", "--people", "1500", "--parties", "3", "--seed", "3", "--errors", "hard", "--encode", "--out", at("people"))
	north, south, east := at("people/north.parquet"), at("people/south.parquet"), at("people/east.parquet")
	run(at("linker"), "link", north, south, east, "--one-to-one", "none", "--out", at("none"))
	run(at("linker"), "link", north, south, "--out", at("mutual"))
	said := run(python, "../testdata/python/run.py", "../testdata/python/splink_accepts.py", at("none"), at("mutual"))
	if strings.Contains(said, "nothing is compared") {
		t.Skip("splink is not installed for TARN_PYTHON, so it is not asked: make venv installs it")
	}
	for _, want := range []string{"clusters are those of Splink 5", "cluster studio of"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q was not said: %s", want, said)
		}
	}
	// Control: of another result's pairs Splink makes other clusters.
	if err := os.Rename(at("mutual/links.parquet"), at("none/links.parquet")); err != nil {
		t.Fatal(err)
	}
	if code, said := output(t, python, "../testdata/python/run.py", "../testdata/python/splink_accepts.py", at("none"), at("mutual")); code == 0 || !strings.Contains(said, "differ") {
		t.Errorf("control: exit %d: %s", code, said)
	}
}
