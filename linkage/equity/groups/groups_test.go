package groups_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"pgregory.net/rapid"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
	"tarn/linkage/equity/groups"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(paths ...string) (*groups.Table, error) {
	return groups.Read(context.Background(), paths, nil)
}

func names(t *testing.T, table *groups.Table, dataset, id string) []string {
	t.Helper()
	codes, err := table.Lookup(dataset, id)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for d, c := range codes {
		out = append(out, table.Groups[d][c])
	}
	return out
}

func TestCSV(t *testing.T) {
	table, err := read(write(t, "g.csv", "\ufeffsource_dataset,unique_id,age_band,sex\nnorth,1,10-14,F\nsouth,1,5-9,\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(table.Dimensions, table.Groups); got != "[age_band sex] [[5-9 10-14 not recorded] [F not recorded]]" {
		t.Errorf("got %s", got)
	}
	if got := names(t, table, "south", "1"); !slices.Equal(got, []string{"5-9", "not recorded"}) {
		t.Errorf("south 1: %v", got)
	}
	if got := names(t, table, "north", "2"); got != nil {
		t.Errorf("a record that is in no file has groups %v", got)
	}
}

func TestParquetWithoutSourceDataset(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g.parquet")
	w, err := table.Create(path, arrow.NewSchema([]arrow.Field{table.String("unique_id", false, false), table.Int64("imd_decile", true)}, nil), "test")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 11 {
		w.Builder().Field(0).(*array.StringBuilder).Append(fmt.Sprint("r", i))
		if i == 0 {
			w.Builder().Field(1).AppendNull()
		} else {
			w.Builder().Field(1).(*array.Int64Builder).Append(int64(i))
		}
		if err := w.EndRow(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	table, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(table.Groups[0], " "); got != "1 2 3 4 5 6 7 8 9 10 not recorded" {
		t.Errorf("groups %s", got)
	}
	if got := names(t, table, "north", "r0"); got[0] != groups.NotRecorded {
		t.Errorf("null is %v", got)
	}
	if got := names(t, table, "south", "r7"); got[0] != "7" {
		t.Errorf("r7 is %v", got)
	}
	if _, err := table.Lookup("east", "r7"); err == nil {
		t.Error("one unique_id in two data sets must be refused where the file does not say which")
	}
	if _, err := table.Lookup("south", "r7"); err != nil {
		t.Errorf("control: the data set that has the record may ask again: %v", err)
	}
}

func TestSeveralFiles(t *testing.T) {
	north := write(t, "north.csv", "unique_id,sex\n1,F\n")
	more := write(t, "more.csv", "unique_id,imd\n1,4\n2,5\n")
	table, err := read(north, more)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, table, "north", "1"); !slices.Equal(got, []string{"F", "4"}) {
		t.Errorf("1: %v", got)
	}
	if got := names(t, table, "north", "2"); !slices.Equal(got, []string{groups.NotRecorded, "5"}) {
		t.Errorf("2: %v", got)
	}
}

const canary = "CANARY-9434765919"

func TestRefusals(t *testing.T) {
	var many strings.Builder
	many.WriteString("unique_id,surname\n")
	for i := range groups.MaxGroups + 1 {
		fmt.Fprintf(&many, "%d,%s%d\n", i, canary, i)
	}
	for name, c := range map[string]struct {
		text string
		kind fault.Kind
	}{
		"empty":          {"", fault.Usage},
		"no unique_id":   {"id,sex\n" + canary + ",F\n", fault.Usage},
		"repeated id":    {"unique_id,sex\n" + canary + ",F\n" + canary + ",M\n", fault.Usage},
		"missing id":     {"unique_id,sex\n," + canary + "\n", fault.Usage},
		"short row":      {"unique_id,sex\n" + canary + "\n", fault.Usage},
		"bare quote":     {"unique_id,sex\n1,F\"" + canary + "\n", fault.Usage},
		"not UTF-8":      {"unique_id,sex\n" + canary + ",\xff\n", fault.Usage},
		"column twice":   {"unique_id,sex,sex\n1,F,F\n", fault.Usage},
		"no grouping":    {many.String(), fault.Usage},
		"long name":      {"unique_id,sex\n1," + strings.Repeat(canary, 10) + "\n", fault.Usage},
		"encodings":      {"unique_id,bf_given_name,sex\n1,2,F\n", fault.Policy},
		"broken parquet": {"PAR1" + canary, fault.Usage},
	} {
		_, err := read(write(t, "g.csv", c.text))
		if err == nil || fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want kind %d", name, err, c.kind)
			continue
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error quotes the data: %v", name, err)
		}
	}
	ok := write(t, "g.csv", "unique_id,sex,region\n1,F,x\n")
	if _, err := groups.Read(context.Background(), []string{ok}, []string{"sex"}); fault.KindOf(err) != fault.Policy {
		t.Errorf("a column the project does not allow: %v", err)
	}
	if _, err := groups.Read(context.Background(), []string{ok}, []string{"sex", "region"}); err != nil {
		t.Errorf("control: allowed columns: %v", err)
	}
	if _, err := read(write(t, "a.csv", "unique_id,sex\n1,F\n"), write(t, "b.csv", "unique_id,sex\n1,M\n")); err == nil {
		t.Error("files that disagree on a record must be refused")
	}
	if _, err := read(filepath.Join(t.TempDir(), "missing.csv")); fault.KindOf(err) != fault.Usage {
		t.Errorf("a missing file: %v", err)
	}
}

func TestNaturalOrder(t *testing.T) {
	got := []string{"10-14", "90+", "5-9", "White", "0-4", "Asian", "100+", "IMD 10", "IMD 2"}
	slices.SortFunc(got, groups.NaturalCompare)
	if s := strings.Join(got, " "); s != "0-4 5-9 10-14 90+ 100+ Asian IMD 2 IMD 10 White" {
		t.Errorf("got %s", s)
	}
}

func TestNaturalOrderIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a0-2-]{0,5}`)
		a, b, c := name.Draw(t, "a"), name.Draw(t, "b"), name.Draw(t, "c")
		if groups.NaturalCompare(a, b) != -groups.NaturalCompare(b, a) || (groups.NaturalCompare(a, b) == 0) != (a == b) {
			t.Fatalf("%q and %q have no order", a, b)
		}
		if groups.NaturalCompare(a, b) < 0 && groups.NaturalCompare(b, c) < 0 && groups.NaturalCompare(a, c) >= 0 {
			t.Fatalf("%q < %q < %q, but not the first before the last", a, b, c)
		}
	})
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"unique_id,sex\n1,F\n", "", "unique_id\n", "PAR1", "source_dataset,unique_id,a\nn,1,x\n,1,y\n", "\ufeffunique_id,\"a\nb\"\n1,2\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "g")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := read(path)
		if err != nil {
			return
		}
		for d := range table.Dimensions {
			if n := len(table.Groups[d]); n < 1 || table.Groups[d][n-1] != groups.NotRecorded {
				t.Errorf("dimension %d has no last group", d)
			}
		}
	})
}
