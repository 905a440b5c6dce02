package report_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tarn/keys/fault"
	"tarn/linkage/report"
	"tarn/linkage/result"
)

// pairsFolder is a result folder with 40 links, the weights of which rise; the
// link probability of number 20 is one half, and number 21 is of the same pattern.
func pairsFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	s, run := sample()
	run.Fields = []string{"given_name", "postcode"}
	for i := range run.Patterns {
		run.Patterns[i].Levels, run.Patterns[i].FieldWeights = run.Patterns[i].Levels[:2], run.Patterns[i].FieldWeights[:2]
	}
	w, err := result.CreateLinks(filepath.Join(dir, result.LinksFile), result.Columns{Fields: run.Fields, Datasets: []string{"north", "south"}, Keys: []string{"dob"}}, "test")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		levels := []int8{int8(i), -1}
		if i == 21 {
			levels[0] = 20
		}
		p := 1 / (1 + math.Exp2(20-float64(i)))
		l := &result.Link{SourceDatasetL: "north", SourceDatasetR: "south", UniqueIDL: fmt.Sprintf("left%02d", i), UniqueIDR: fmt.Sprintf("right%02d", i),
			MatchWeight: float64(i) - 20, MatchProbability: p, LinkProbability: &p, Gamma: levels, FieldWeights: []float64{float64(i) - 15, 0},
			MatchKey: "dob", Basis: result.BasisDemographic, Decision: result.DecisionReview}
		if err := w.Append(l); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	s.Outputs = []result.Output{{Path: result.ReportFile, SHA256: "old"}}
	for name, document := range map[string]any{result.SummaryFile: s, result.RunFile: run} {
		if err := result.WriteDocument(dir, name, document); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func redrawn(t *testing.T, dir string, o report.Options) string {
	t.Helper()
	if err := report.Redraw(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, result.ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	s, err := result.ReadSummary(dir)
	if err != nil {
		t.Fatal(err)
	}
	if drawn, err := result.OutputOf(dir, result.ReportFile); err != nil || s.Outputs[0].SHA256 != drawn.SHA256 {
		t.Errorf("summary.json does not have the digest of the new report: %v", err)
	}
	return string(b)
}

func TestRedraw(t *testing.T) {
	dir := pairsFolder(t)
	plain := redrawn(t, dir, report.Options{})
	for _, id := range []string{"left", "right20", "Row-level"} {
		if strings.Contains(plain, id+"0") || strings.Contains(plain, id+"2") || strings.Contains(plain, "Row-level") {
			t.Fatalf("without --row-level the report holds %q", id)
		}
	}
	chosen := redrawn(t, dir, report.Options{RowLevel: true})
	for i := range 40 {
		want := i >= 36 || i >= 14 && i <= 26 && i != 21 // the surest four and the twelve nearest to one half
		if got := strings.Contains(chosen, fmt.Sprintf("left%02d of north with right%02d of south", i, i)); got != want {
			t.Errorf("pair %d shown: %v", i, got)
		}
	}
	if !strings.Contains(chosen, "<strong>Row-level data:</strong>") || strings.Count(chosen, `name="pairs"`) != 16 {
		t.Errorf("%d pairs", strings.Count(chosen, `name="pairs"`))
	}
	named := redrawn(t, dir, report.Options{RowLevel: true, Pairs: [][2]string{{"right03", "left03"}, {"left30", "right30"}}})
	if strings.Count(named, `name="pairs"`) != 2 || strings.Index(named, "left03") > strings.Index(named, "left30") {
		t.Error("the pairs that are named must be shown, in this order")
	}
	if redrawn(t, dir, report.Options{}) != plain {
		t.Error("drawing again without --row-level must take the pairs out")
	}
	for _, o := range []struct {
		options report.Options
		kind    fault.Kind
	}{{report.Options{Pairs: [][2]string{{"left03", "right03"}}}, fault.Policy}, {report.Options{RowLevel: true, Pairs: [][2]string{{"left03", "right04"}}}, fault.Usage}} {
		err := report.Redraw(t.Context(), dir, o.options)
		if fault.KindOf(err) != o.kind || strings.Contains(err.Error(), "left03") {
			t.Errorf("%+v: %v", o.options, err)
		}
	}
}

// TestPairWaterfall: the bars of a pair add up to its weight.
func TestPairWaterfall(t *testing.T) {
	dir := pairsFolder(t)
	page := redrawn(t, dir, report.Options{RowLevel: true, Pairs: [][2]string{{"left30", "right30"}}})
	steps := dataBlocks(t, page)["pair-1-data"].([]any)
	sum := 0.0
	for _, step := range steps[:len(steps)-1] {
		sum += step.(map[string]any)["match_weight"].(float64)
	}
	if last := steps[len(steps)-1].(map[string]any)["match_weight"].(float64); math.Abs(sum-last) > 1e-3 || last != 10 {
		t.Errorf("the steps add up to %v, the weight is %v, want 10", sum, last)
	}
}
