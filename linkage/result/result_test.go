package result

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
)

// TestUnknownProbabilityIsNull: what has no link probability has none when it
// is read, and what has 0 has 0.
func TestUnknownProbabilityIsNull(t *testing.T) {
	none, some := 0.0, .75
	row := func(id string, p *float64) Link {
		return Link{SourceDatasetL: "north", SourceDatasetR: "south", UniqueIDL: id, LinkProbability: p, MatchKey: "dob", Basis: BasisBoth, Decision: DecisionReview}
	}
	links := []Link{row("a", &some), row("b", nil), row("c", &none), row("d", nil)}
	path := filepath.Join(t.TempDir(), ConflictsFile)
	w, err := CreateLinks(path, Columns{Datasets: []string{"north", "south"}, Keys: []string{"dob"}}, "tarn test")
	if err != nil {
		t.Fatal(err)
	}
	for i := range links {
		if err := w.Append(&links[i]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	var read []Link
	if err := ScanLinks(t.Context(), path, func(l *Link) error { read = append(read, *l); return nil }); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, links) {
		t.Errorf("read %+v, written %+v", read, links)
	}
	if w, err = CreateLinks(path, Columns{Datasets: []string{"north"}, Keys: []string{"dob"}}, "tarn test"); err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if w.Append(&links[0]) == nil {
		t.Error("a data set was written that the table was not made for")
	}
}

// TestCountsThatWereRewritten: a tool may widen the counts of clusters.parquet;
// counts that are no integers are refused and never read as 0.
func TestCountsThatWereRewritten(t *testing.T) {
	write := func(size arrow.Field, add func(array.Builder)) string {
		path := filepath.Join(t.TempDir(), ClustersFile)
		w, err := table.Create(path, arrow.NewSchema([]arrow.Field{table.String("cluster_id", false, false), table.String("source_dataset", false, true), table.ID("unique_id"),
			table.ID("cluster_id_p90"), table.ID("cluster_id_p95"), table.ID("cluster_id_p99"), size, table.Int32("n_datasets", false)}, nil), "tarn test")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			w.Builder().Field(i).(*array.StringBuilder).Append("x")
		}
		add(w.Builder().Field(6))
		w.Builder().Field(7).(*array.Int32Builder).Append(1)
		if err := w.EndRow(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sizes := []int32{}
	scan := func(path string) error {
		return ScanClusters(t.Context(), path, func(m *Member) error { sizes = append(sizes, m.ClusterSize); return nil })
	}
	for _, path := range []string{
		write(table.Int32("cluster_size", false), func(b array.Builder) { b.(*array.Int32Builder).Append(3) }),
		write(table.Int64("cluster_size", false), func(b array.Builder) { b.(*array.Int64Builder).Append(4) }),
	} {
		if err := scan(path); err != nil {
			t.Error(err)
		}
	}
	if !reflect.DeepEqual(sizes, []int32{3, 4}) {
		t.Errorf("sizes %v", sizes)
	}
	if err := scan(write(table.String("cluster_size", false, false), func(b array.Builder) { b.(*array.StringBuilder).Append("3") })); fault.KindOf(err) != fault.Usage {
		t.Errorf("text was read as counts: %v", err)
	}
}

// TestReadDocuments: documents of an earlier version are read, and what they
// do not say is nil; others are refused.
func TestReadDocuments(t *testing.T) {
	earlier := filepath.Join("..", "..", "testdata", "formats", "2026-11-25", "result")
	s, err := ReadSummary(earlier)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Outputs) == 0 || s.Outputs[0].Bytes != nil || s.Outputs[0].SHA256 == "" || s.Model.Probability == nil {
		t.Errorf("an earlier summary is read as %+v", s.Outputs)
	}
	if _, err := ReadRun(earlier); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(filepath.Join(earlier, SummaryFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, document := range map[string]string{
		"another schema":    strings.Replace(string(b), SummarySchema, "tarn.link-summary/2", 1),
		"an unknown member": strings.Replace(string(b), `"run_id"`, `"runid"`, 1),
		"cut":               string(b[:len(b)/2]),
	} {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, SummaryFile), []byte(document), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadSummary(folder); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}
