package link

import (
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/bench/measure"
	"tarn/bench/quality/splink"
)

func TestStagesApart(t *testing.T) {
	stages := map[string]float64{"read": 1, "write links": 2, "write clusters": 4, "crosswalk": 8, "report": 16}
	if got := apart(stages); got != 28 {
		t.Errorf("%g s apart, want 28", got)
	}
}

func TestFree(t *testing.T) {
	if free(t.TempDir()) == 0 || free("/no such folder") != 0 {
		t.Error("free disk is not told")
	}
}

// TestSuite runs everything but Splink's slow settings on few people, twice
// with one cache.
func TestSuite(t *testing.T) {
	linker := filepath.Join(t.TempDir(), "linker")
	if said, err := exec.Command("go", "build", "-o", linker, "tarn/cmd/linker").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	python := os.Getenv("TARN_PYTHON")
	peers := splink.Installed(context.Background(), python)
	cache := t.TempDir()
	var said []string
	o := Options{Cache: cache, Linker: linker, Python: python, Skip: []string{"documented", "tuned"}, Rows: 1500, Software: "test", Clock: time.Now,
		Progress: func(what string) { said = append(said, what) }}
	var results []*measure.Result
	for range 2 {
		o.Folder = t.TempDir()
		var err error
		if results, err = Run(context.Background(), o); err != nil {
			t.Fatal(err)
		}
	}
	var cases []string
	for _, r := range results {
		cases = append(cases, r.Case)
		if r.Met != nil {
			t.Errorf("%s is judged at small scale", r.Case)
		}
		if math.IsNaN(r.Median) || r.Median <= 0 {
			t.Errorf("%s is %g", r.Case, r.Median)
		}
	}
	want := []string{"rules", "demographics-f1", "demographics-precision", "everything", "numbers-f1"}
	if !peers {
		want = want[1:]
	}
	if !slices.Equal(cases, want) {
		t.Errorf("cases %q, want %q", cases, want)
	}
	if peers && (results[0].Peer.Version == "" || results[0].Ratio == nil) {
		t.Errorf("%+v", results[0])
	}
	if !slices.ContainsFunc(said, func(text string) bool { return strings.HasPrefix(text, "largest is left out") }) {
		t.Errorf("said %q: the largest job is left out without a reason", said)
	}
	if kept, err := filepath.Glob(filepath.Join(cache, "*", completeFile)); err != nil || len(kept) != 2 {
		t.Errorf("%d sets of cohorts are kept, want 2", len(kept))
	}
}
