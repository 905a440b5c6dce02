package truth_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/bench/truth"
	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
)

func crosswalk(t *testing.T, dataset string, ids map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), dataset+".crosswalk.parquet")
	w, err := table.Create(path, arrow.NewSchema([]arrow.Field{
		table.String("source_dataset", false, true), table.String("source_id", false, false), table.String("unique_id", false, false)}, nil), "test")
	if err != nil {
		t.Fatal(err)
	}
	for sourceID, id := range ids {
		for i, value := range []string{dataset, sourceID, id} {
			w.Builder().Field(i).(*array.StringBuilder).Append(value)
		}
		if err := w.EndRow(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return path
}

func mint(t *testing.T, text string, crosswalks ...string) (string, *truth.Counts, error) {
	t.Helper()
	in, out := filepath.Join(t.TempDir(), "truth.csv"), filepath.Join(t.TempDir(), "minted.csv")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	counts, err := truth.Mint(context.Background(), in, crosswalks, out)
	b, _ := os.ReadFile(out) // absent after an error
	return string(b), counts, err
}

func TestClustersAndPairs(t *testing.T) {
	// The same source id in two data sets is two records.
	north, south := crosswalk(t, "north", map[string]string{"1": "aa", "2": "bb"}), crosswalk(t, "south", map[string]string{"1": "cc"})
	got, counts, err := mint(t, "source_dataset,unique_id,cluster\nnorth,1,x\nsouth, 1 ,x\nnorth,2,y\nsouth,2,y\n", north, south)
	if err != nil {
		t.Fatal(err)
	}
	if want := "source_dataset,unique_id,cluster\nnorth,aa,x\nsouth,cc,x\nnorth,bb,y\n"; got != want || counts.Rows != 3 || counts.Dropped != 1 {
		t.Errorf("got %q, %+v", got, *counts)
	}
	got, counts, err = mint(t, "unique_id_r,source_dataset_r,note,source_dataset_l,unique_id_l\n1,south,kept,north,2\n9,south,dropped,north,2\n", north, south)
	if err != nil {
		t.Fatal(err)
	}
	if want := "unique_id_r,source_dataset_r,note,source_dataset_l,unique_id_l\ncc,south,kept,north,bb\n"; got != want || counts.Dropped != 1 {
		t.Errorf("got %q, %+v", got, *counts)
	}
}

func TestRefusalsLeaveNothing(t *testing.T) {
	north := crosswalk(t, "north", map[string]string{"1": "aa"})
	for name, text := range map[string]string{"no columns": "a,b\n1,2\n", "empty": "", "broken": "source_dataset,unique_id,cluster\nnorth,\"CANARY\n"} {
		got, _, err := mint(t, text, north)
		if fault.KindOf(err) != fault.Usage || err == nil || got != "" {
			t.Errorf("%s: %v, left %q", name, err, got)
		}
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: the error quotes the data", name)
		}
	}
}
