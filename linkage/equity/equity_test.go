package equity_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tarn/keys/fault"
	"tarn/linkage/equity"
	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

// people are a number of records of one group in one party, the first linked of
// which found a partner.
type people struct {
	party, group string
	rows, linked int
}

// folder writes clusters.parquet, summary.json, run.json and a group file.
func folder(t *testing.T, all []people) (dir, groupFile string) {
	t.Helper()
	dir = t.TempDir()
	var members []result.Member
	var groups strings.Builder
	groups.WriteString("source_dataset,unique_id,ethnic_category\n")
	rows := map[string]int64{}
	for _, p := range all {
		for i := range p.rows {
			id := fmt.Sprintf("%s-%s-%d", p.party, p.group, i)
			m := result.Member{ClusterID: id, SourceDataset: p.party, UniqueID: id, ClusterSize: 1, Datasets: 1}
			if i < p.linked {
				m.ClusterSize, m.Datasets = 2, 2
			}
			members = append(members, m)
			if p.group != "" {
				fmt.Fprintf(&groups, "%s,%s,%s\n", p.party, id, p.group)
			}
			rows[p.party]++
		}
	}
	_, err := result.WriteClusters(filepath.Join(dir, result.ClustersFile), "run", "test", false, func(yield func(*result.Member) bool) {
		for i := range members {
			if !yield(&members[i]) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &result.Summary{Schema: result.SummarySchema, Software: "tarn test", Project: "p", Method: "fs", Threshold: .5,
		Outputs: []result.Output{{Path: result.ReportFile, SHA256: "old"}, {Path: result.LinksFile, SHA256: "links"}}}
	for party, n := range rows {
		s.Inputs = append(s.Inputs, result.Input{SourceDataset: party, Rows: n})
	}
	for name, document := range map[string]any{result.SummaryFile: s, result.RunFile: &result.Run{Schema: result.RunSchema}} {
		if err := result.WriteDocument(dir, name, document); err != nil {
			t.Fatal(err)
		}
	}
	groupFile = filepath.Join(t.TempDir(), "groups.csv")
	if err := os.WriteFile(groupFile, []byte(groups.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, groupFile
}

func text(d result.EquityDimension) string {
	var b strings.Builder
	for _, g := range d.Groups {
		if g.Rows == nil {
			fmt.Fprintf(&b, "%s/%s hidden; ", g.Group, g.SourceDataset)
		} else {
			fmt.Fprintf(&b, "%s/%s %d %.4f; ", g.Group, g.SourceDataset, *g.Rows, g.LinkRate.Value)
		}
	}
	return b.String()
}

func TestMeasure(t *testing.T) {
	dir, file := folder(t, []people{
		{"north", "A", 203, 101}, {"north", "B", 98, 81}, {"south", "A", 400, 300}, {"south", "B", 52, 42}, {"south", "", 17, 3}})
	e, err := equity.Measure(context.Background(), dir, []string{file})
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Dimensions) != 1 || e.Dimensions[0].Name != "ethnic_category" {
		t.Fatalf("%+v", e.Dimensions)
	}
	d := e.Dimensions[0]
	// 203 -> 205, 101 -> 100; 98 -> 100, 81 -> 80; 52 -> 50, 42 -> 40; 17 -> 15, 3 -> 5.
	want := "A/north 205 0.4878; A/south 400 0.7500; B/north 100 0.8000; B/south 50 0.8000; not recorded/south 15 0.3333; "
	if got := text(d); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// Over all parties A is 400/605, B 120/150 and not recorded 5/15.
	if d.MaxGap == nil || math.Abs(*d.MaxGap-(.8-1./3)) > 1e-12 {
		t.Errorf("gap %v", d.MaxGap)
	}
	if w := disclosure.Wilson(300, 400); *d.Groups[1].LinkRate != w {
		t.Errorf("interval %+v, want %+v", *d.Groups[1].LinkRate, w)
	}
}

// TestComplementary: north has a group of 4. If it alone were hidden, the
// party's total, which summary.json states, would give it back.
func TestComplementary(t *testing.T) {
	all := []people{{"north", "A", 400, 100}, {"north", "B", 4, 1}, {"north", "C", 40, 20}, {"south", "A", 400, 100}, {"south", "B", 40, 10}}
	dir, file := folder(t, all)
	e, err := equity.Measure(context.Background(), dir, []string{file})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := text(e.Dimensions[0]), "A/north 400 0.2500; A/south 400 0.2500; B/north hidden; B/south 40 0.2500; C/north hidden; "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	recovered := func(cells []result.EquityGroup) int64 {
		left := int64(444)
		for _, g := range cells {
			if g.SourceDataset == "north" && g.Rows != nil {
				left -= *g.Rows
			}
		}
		return left
	}
	if left := recovered(e.Dimensions[0].Groups); disclosure.Small(left) {
		t.Errorf("subtraction gives the small group back: %d", left)
	}
	forty := int64(40)
	control := append([]result.EquityGroup{{Group: "C", SourceDataset: "north", Rows: &forty}}, e.Dimensions[0].Groups...)
	if left := recovered(control); left != 4 {
		t.Errorf("control: with C shown, subtraction must give 4, not %d", left)
	}
}

func TestPartyWithoutGroupsIsLeftOut(t *testing.T) {
	dir, file := folder(t, []people{{"north", "A", 40, 20}, {"south", "", 40, 20}})
	e, err := equity.Measure(context.Background(), dir, []string{file})
	if err != nil {
		t.Fatal(err)
	}
	if got := text(e.Dimensions[0]); got != "A/north 40 0.5000; " {
		t.Errorf("got %s", got)
	}
	if e.Dimensions[0].MaxGap != nil {
		t.Error("one group has no gap")
	}
	other := filepath.Join(t.TempDir(), "other.csv")
	if err := os.WriteFile(other, []byte("unique_id,sex\nnobody,F\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := equity.Measure(context.Background(), dir, []string{other}); fault.KindOf(err) != fault.Usage {
		t.Errorf("groups of other records: %v", err)
	}
	if _, err := equity.Measure(context.Background(), dir, []string{file}, "age_band"); fault.KindOf(err) != fault.Policy {
		t.Errorf("a column that is not allowed: %v", err)
	}
}

func TestDedupe(t *testing.T) {
	dir := t.TempDir()
	var groups strings.Builder
	groups.WriteString("unique_id,sex\n")
	_, err := result.WriteClusters(filepath.Join(dir, result.ClustersFile), "run", "test", false, func(yield func(*result.Member) bool) {
		for i := range 40 {
			m := result.Member{ClusterID: fmt.Sprint(i / 2), SourceDataset: "north", UniqueID: fmt.Sprint(i), ClusterSize: 1, Datasets: 1}
			if i < 20 {
				m.ClusterSize = 2
			}
			fmt.Fprintf(&groups, "%d,F\n", i)
			if !yield(&m) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "g.csv")
	if err := os.WriteFile(file, []byte(groups.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := equity.Measure(context.Background(), dir, []string{file})
	if err != nil {
		t.Fatal(err)
	}
	if got := text(e.Dimensions[0]); got != "F/north 40 0.5000; " {
		t.Errorf("got %s", got)
	}
}

func TestApply(t *testing.T) {
	dir, file := folder(t, []people{{"north", "A", 40, 20}, {"north", "B", 40, 30}, {"south", "A", 40, 20}})
	e, err := equity.Measure(context.Background(), dir, []string{file})
	if err != nil {
		t.Fatal(err)
	}
	if err := equity.Apply(dir, e); err != nil {
		t.Fatal(err)
	}
	s, err := result.ReadSummary(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Equity == nil || text(s.Equity.Dimensions[0]) != text(e.Dimensions[0]) {
		t.Errorf("summary has %+v", s.Equity)
	}
	page, err := os.ReadFile(filepath.Join(dir, result.ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(page)
	if s.Outputs[0].SHA256 != hex.EncodeToString(sum[:]) || s.Outputs[1].SHA256 != "links" {
		t.Errorf("digests %+v", s.Outputs)
	}
	if !strings.Contains(string(page), "The widest gap is by ethnic category: 25.0 percentage points") {
		t.Error("the report does not name the gap")
	}
	if err := equity.Apply(dir, e); err != nil {
		t.Fatal(err)
	}
	again, err := os.ReadFile(filepath.Join(dir, result.ReportFile))
	if err != nil || string(again) != string(page) {
		t.Errorf("a second time gives another report: %v", err)
	}
}
