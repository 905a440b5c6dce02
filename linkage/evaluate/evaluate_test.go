package evaluate_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/evaluate"
	"tarn/linkage/result"
)

var update = flag.Bool("update", false, "write testdata/*.golden.*")

// row is one row of links.parquet between north (left) and south (right).
type row struct {
	l, r     string
	p        float64
	decision string
}

func link(l, r string, p float64) row   { return row{l, r, p, result.DecisionLink} }
func review(l, r string, p float64) row { return row{l, r, p, result.DecisionReview} }
func no(l, r string, p float64) row     { return row{l, r, p, result.DecisionNo} }

// dataset is the party of a record: the letter its name begins with.
func dataset(id string) string {
	return map[byte]string{'n': "north", 's': "south", 'e': "east"}[id[0]]
}

func writeLinks(t testing.TB, dir string, rows []row) string {
	t.Helper()
	path := filepath.Join(dir, result.LinksFile)
	w, err := result.CreateLinks(path, result.Columns{Datasets: []string{"north", "south", "east"}, Keys: []string{"dob"}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		l := result.Link{SourceDatasetL: dataset(r.l), SourceDatasetR: dataset(r.r), UniqueIDL: r.l, UniqueIDR: r.r,
			LinkProbability: &r.p, MatchProbability: r.p, MatchWeight: math.Log2(r.p / (1 - r.p)), MatchKey: "dob", Basis: result.BasisDemographic, Decision: r.decision}
		if err := w.Append(&l); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) members(t testing.TB, ids ...string) {
	t.Helper()
	_, err := result.WriteClusters(filepath.Join(w.dir, result.ClustersFile), "run", "test", false, func(yield func(*result.Member) bool) {
		for _, id := range ids {
			if !yield(&result.Member{ClusterID: id, SourceDataset: dataset(id), UniqueID: id, ClusterSize: 1, Datasets: 1}) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// world is a result folder and what it is compared with.
type world struct {
	dir     string
	options evaluate.Options
}

func newWorld(t testing.TB, rows []row, truth string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.options = evaluate.Options{Links: writeLinks(t, w.dir, rows), Truth: w.file(t, "truth.csv", truth),
		Software: "tarn test", Now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	return w
}

func (w *world) file(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) summary(t testing.TB, threshold float64, parameters result.Parameters) {
	t.Helper()
	s := &result.Summary{Schema: result.SummarySchema, Threshold: threshold,
		Inputs:    []result.Input{{SourceDataset: "north"}, {SourceDataset: "south"}},
		Estimated: result.Quality{Precision: &result.Estimate{Value: .9, Lo: .8, Hi: 1}},
		// Not in the fixed grid, to see that the job's own thresholds are scored too.
		Thresholds: []result.Threshold{{MatchProbability: .55}}}
	if err := result.WriteDocument(w.dir, result.SummaryFile, s); err != nil {
		t.Fatal(err)
	}
	if err := result.WriteDocument(w.dir, result.RunFile, &result.Run{Schema: result.RunSchema, Parameters: parameters}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) evaluate(t testing.TB) *evaluate.Evaluation {
	t.Helper()
	e, err := evaluate.Evaluate(context.Background(), w.options)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const pairsHeader = "source_dataset_l,unique_id_l,source_dataset_r,unique_id_r\n"

func truthPairs(pairs ...[2]string) string {
	var b strings.Builder
	b.WriteString(pairsHeader)
	for _, p := range pairs {
		fmt.Fprintf(&b, "%s,%s,%s,%s\n", dataset(p[0]), p[0], dataset(p[1]), p[1])
	}
	return b.String()
}

func counts(s evaluate.Score) string {
	show := func(v *float64) string {
		if v == nil {
			return "nil"
		}
		return fmt.Sprintf("%.4f", *v)
	}
	return fmt.Sprintf("%d %d %d %s %s %s", s.TP, s.FP, s.FN, show(s.Precision), show(s.Recall), show(s.F1))
}

func at(t testing.TB, e *evaluate.Evaluation, threshold float64) string {
	t.Helper()
	for _, s := range e.ByThreshold {
		if s.MatchProbability == threshold {
			return counts(s.Score)
		}
	}
	return "no such threshold"
}

// four links, three of them true; five true pairs. Swapped and repeated pairs
// count once.
var (
	fourLinks = []row{link("n1", "s1", .99), link("n2", "s2", .9), link("s3", "n3", .8), link("n4", "s9", .7), link("n1", "s1", .99),
		review("n5", "s5", .4), no("n6", "s7", .2), no("n1", "s5", .1)}
	fiveTrue = [][2]string{{"n1", "s1"}, {"s2", "n2"}, {"n3", "s3"}, {"n4", "s4"}, {"n5", "s5"}, {"s1", "n1"}}
)

func TestPairs(t *testing.T) {
	w := newWorld(t, fourLinks, truthPairs(fiveTrue...))
	w.summary(t, .6, result.Parameters{OneToOne: "mutual", Keep: .05})
	e := w.evaluate(t)
	// P = 3/4, R = 3/5, F1 = 6/9.
	if got := counts(e.Score); got != "3 1 2 0.7500 0.6000 0.6667" {
		t.Errorf("got %s", got)
	}
	if e.Threshold == nil || *e.Threshold != .6 || e.MissedByBlocking != nil || len(e.Warnings) != 0 {
		t.Errorf("threshold %v, missed %v, warnings %v", e.Threshold, e.MissedByBlocking, e.Warnings)
	}
	if p := e.EstimateError.Precision; p == nil || math.Abs(*p-.15) > 1e-12 || e.EstimateError.Recall != nil {
		t.Errorf("estimate error %+v", e.EstimateError)
	}
	for threshold, want := range map[float64]string{
		.1:  "4 2 1 0.6667 0.8000 0.7273", // n5-s5 and n6-s7 too; n1-s5 stands in the way of n1-s1
		.3:  "4 1 1 0.8000 0.8000 0.8000", // n5-s5
		.5:  "3 1 2 0.7500 0.6000 0.6667",
		.55: "3 1 2 0.7500 0.6000 0.6667", // of the summary
		.6:  "3 1 2 0.7500 0.6000 0.6667", // of the job: its own links
		.8:  "3 0 2 1.0000 0.6000 0.7500",
		.9:  "2 0 3 1.0000 0.4000 0.5714",
		.99: "1 0 4 1.0000 0.2000 0.3333",
		.02: "no such threshold", // below --keep
	} {
		if got := at(t, e, threshold); got != want {
			t.Errorf("at %v: got %s, want %s", threshold, got, want)
		}
	}
	if e.Best == nil || e.Best.MatchProbability != .4 || e.Best.F1 != .8 {
		t.Errorf("best %+v", e.Best)
	}
}

func TestOneToOneModes(t *testing.T) {
	// n1 prefers s2, which is taken; its next is s1.
	rows := []row{link("n2", "s2", .9), no("n1", "s2", .45), no("n1", "s1", .4)}
	truth := truthPairs([2]string{"n1", "s1"}, [2]string{"n2", "s2"})
	for mode, want := range map[string]string{
		"mutual": "1 0 1 1.0000 0.5000 0.6667", // s2 is n1's best, so s1 is not
		"greedy": "2 0 0 1.0000 1.0000 1.0000",
		"none":   "2 1 0 0.6667 1.0000 0.8000",
	} {
		w := newWorld(t, rows, truth)
		w.summary(t, .5, result.Parameters{OneToOne: mode})
		if got := at(t, w.evaluate(t), .3); got != want {
			t.Errorf("%s: got %s, want %s", mode, got, want)
		}
	}
}

func TestClusterTruth(t *testing.T) {
	// Two records of the north and one of the south are one person: two true
	// pairs between the data sets, the third is inside the north.
	w := newWorld(t, []row{link("n1", "s1", .9), link("n3", "s2", .9)},
		"source_dataset,unique_id,cluster\nnorth,n1,1\nnorth,n2,1\nsouth,s1,1\nnorth,n3,2\nsouth,s3,3\n")
	e := w.evaluate(t)
	if got := counts(e.Score); got != "1 1 1 0.5000 0.5000 0.5000" {
		t.Errorf("got %s", got)
	}
	if len(e.Warnings) != 1 || !strings.HasPrefix(e.Warnings[0], "1 true pairs are of a kind") {
		t.Errorf("warnings %q", e.Warnings)
	}
}

func TestThreeParties(t *testing.T) {
	w := newWorld(t, []row{link("n1", "s1", .9), link("n1", "e1", .9), link("s2", "e1", .8)},
		"source_dataset,unique_id,cluster\nnorth,n1,1\nsouth,s1,1\neast,e1,1\n")
	// True: n1-s1, n1-e1, s1-e1.
	if got := counts(w.evaluate(t).Score); got != "2 1 1 0.6667 0.6667 0.6667" {
		t.Errorf("got %s", got)
	}
}

func TestDedupe(t *testing.T) {
	rows := []row{link("n1", "n2", .9), link("n3", "n4", .9)}
	w := newWorld(t, rows, "source_dataset,unique_id,cluster\nnorth,n1,1\nnorth,n2,1\nnorth,n5,1\nsouth,s1,1\n")
	w.members(t, "n1", "n2", "n3", "n4", "n5")
	e := w.evaluate(t)
	// True inside the north: n1-n2, n1-n5, n2-n5; the three pairs with s1 are absent.
	if got := counts(e.Score); got != "1 1 2 0.5000 0.3333 0.4000" {
		t.Errorf("got %s", got)
	}
	if len(e.Warnings) != 1 || !strings.HasPrefix(e.Warnings[0], "3 true pairs have a record that was not in the job") {
		t.Errorf("warnings %q", e.Warnings)
	}
}

func TestRecordsOutsideTheJob(t *testing.T) {
	w := newWorld(t, fourLinks, truthPairs(append(fiveTrue, [2]string{"n8", "s8"})...))
	if got := counts(w.evaluate(t).Score); got != "3 1 3 0.7500 0.5000 0.6000" {
		t.Errorf("control: without clusters.parquet the pair counts: %s", got)
	}
	w.members(t, "n1", "n2", "n3", "n4", "n5", "n6", "s1", "s2", "s3", "s4", "s5", "s7", "s9")
	e := w.evaluate(t)
	if got := counts(e.Score); got != "3 1 2 0.7500 0.6000 0.6667" || len(e.Warnings) != 1 {
		t.Errorf("got %s, warnings %q", got, e.Warnings)
	}
}

func TestClericalScores(t *testing.T) {
	w := newWorld(t, []row{link("n1", "s1", .9), link("n2", "s2", .9)},
		"unique_id_l,source_dataset_l,unique_id_r,source_dataset_r,clerical_match_score\nn1,north,s1,south,0.5\nn2,north,s2,south,0.49\n")
	if got := counts(w.evaluate(t).Score); got != "1 1 0 0.5000 1.0000 0.6667" {
		t.Errorf("got %s", got)
	}
}

func TestNothingIsNotZero(t *testing.T) {
	w := newWorld(t, nil, truthPairs([2]string{"n1", "s1"}))
	e := w.evaluate(t)
	if got := counts(e.Score); got != "0 0 1 nil 0.0000 0.0000" || e.Best != nil || e.Threshold != nil {
		t.Errorf("no links: %s, best %v", got, e.Best)
	}
	w = newWorld(t, nil, pairsHeader)
	if e = w.evaluate(t); counts(e.Score) != "0 0 0 nil nil nil" || len(e.Warnings) != 1 {
		t.Errorf("nothing at all: %s, warnings %q", counts(e.Score), e.Warnings)
	}
}

func TestWithoutProbabilities(t *testing.T) {
	w := newWorld(t, []row{link("n1", "s1", 0)}, truthPairs([2]string{"n1", "s1"}))
	e := w.evaluate(t)
	if len(e.ByThreshold) != 0 || e.Best != nil || counts(e.Score) != "1 0 0 1.0000 1.0000 1.0000" {
		t.Errorf("method clk: %s, %v, %v", counts(e.Score), e.ByThreshold, e.Best)
	}
}

func withGroups(t testing.TB) *world {
	w := newWorld(t, fourLinks, truthPairs(fiveTrue...))
	w.summary(t, .6, result.Parameters{OneToOne: "mutual", Keep: .05})
	var g strings.Builder
	g.WriteString("unique_id,source_dataset,ethnic_category,sex\n")
	for _, id := range []string{"n1", "s1", "n2", "s2", "n3", "s3", "n4", "s4", "s9"} {
		group := map[byte]string{'1': "A", '2': "A", '3': "B", '4': "B", '9': "A"}[id[1]]
		fmt.Fprintf(&g, "%s,%s,%s,F\n", id, dataset(id), group)
	}
	w.options.Groups = []string{w.file(t, "groups.csv", g.String())}
	return w
}

func TestGroups(t *testing.T) {
	e := withGroups(t).evaluate(t)
	var got strings.Builder
	for _, g := range e.ByGroup {
		fmt.Fprintf(&got, "%s %s %d %d %d; ", g.Dimension, g.Group, g.TP, g.FP, g.FN)
	}
	// n4-s9 is of B and of A: a false positive in both. n5-s5 is in no group file.
	want := "ethnic_category A 2 1 0; ethnic_category B 1 1 1; ethnic_category not recorded 0 0 1; sex F 3 1 1; sex not recorded 0 0 1; "
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", got.String(), want)
	}
	if len(e.MaxRecallGap) != 2 || *e.MaxRecallGap[0].Gap != 1 || *e.MaxRecallGap[1].Gap != .75 {
		t.Errorf("gaps %+v", e.MaxRecallGap)
	}
	if len(e.Warnings) != 2 {
		t.Errorf("tiny groups must be pointed out for both dimensions: %q", e.Warnings)
	}
}

func TestGolden(t *testing.T) {
	e := withGroups(t).evaluate(t)
	document, err := keys.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := evaluate.WriteText(&text, e); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"evaluation.golden.json": document, "evaluation.golden.txt": text.Bytes()} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs; if the change is wanted, run with -update:\n%s", name, got)
		}
	}
}

const canary = "CANARY-9434765919"

func TestRefusedTruth(t *testing.T) {
	for name, text := range map[string]string{
		"empty":              "",
		"other columns":      "id,cluster\n" + canary + ",1\n",
		"short row":          pairsHeader + canary + "\n",
		"missing id":         pairsHeader + "north,,south," + canary + "\n",
		"score not a number": strings.TrimSuffix(pairsHeader, "\n") + ",clerical_match_score\nnorth,n1,south,s1," + canary + "\n",
		"score too large":    strings.TrimSuffix(pairsHeader, "\n") + ",clerical_match_score\nnorth,n1,south,s1,1.5\n",
		"score NaN":          strings.TrimSuffix(pairsHeader, "\n") + ",clerical_match_score\nnorth,n1,south,s1,NaN\n",
		"no cluster":         "source_dataset,unique_id,cluster\nnorth," + canary + ",\n",
		"record twice":       "source_dataset,unique_id,cluster\nnorth," + canary + ",1\nnorth," + canary + ",2\n",
		"not UTF-8":          pairsHeader + "north,n1,south,\xff" + canary + "\n",
	} {
		w := newWorld(t, fourLinks, text)
		_, err := evaluate.Evaluate(context.Background(), w.options)
		if fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v, want a usage fault", name, err)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error quotes the data: %v", name, err)
		}
	}
	w := newWorld(t, fourLinks, pairsHeader)
	w.options.Truth = filepath.Join(w.dir, "missing.csv")
	if _, err := evaluate.Evaluate(context.Background(), w.options); fault.KindOf(err) != fault.Usage {
		t.Errorf("missing file: %v", err)
	}
	w.options.Truth = w.file(t, "bom.csv", "\ufeff"+truthPairs(fiveTrue...))
	if e := w.evaluate(t); e.TP != 3 {
		t.Errorf("control: a good file with a byte order mark: %d", e.TP)
	}
}

func FuzzTruth(f *testing.F) {
	for _, s := range []string{truthPairs(fiveTrue...), "source_dataset,unique_id,cluster\nnorth,n1,1\nsouth,s1,1\n", "", "\"", pairsHeader + "north,n1\n"} {
		f.Add([]byte(s))
	}
	w := newWorld(f, fourLinks, pairsHeader)
	f.Fuzz(func(t *testing.T, truth []byte) {
		path := filepath.Join(t.TempDir(), "truth.csv")
		if err := os.WriteFile(path, truth, 0o600); err != nil {
			t.Fatal(err)
		}
		o := w.options
		o.Truth = path
		e, err := evaluate.Evaluate(context.Background(), o)
		if err == nil && (e.TP+e.FP != 4 || e.TP < 0 || e.FN < 0) {
			t.Errorf("four links, but %+v", e.Score)
		}
	})
}
