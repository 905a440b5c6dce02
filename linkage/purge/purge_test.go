package purge

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tarn/keys/fault"
	"tarn/linkage/result"
)

// folder is a result of two cohorts that were gone before anybody purged.
func folder(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	summary := &result.Summary{Schema: result.SummarySchema, RunID: "0123456789abcdef", Project: "one",
		Inputs: []result.Input{{SourceDataset: "north", CohortID: "aaaaaaaaaaaaaaaa", Rows: 3}, {SourceDataset: "south", CohortID: "bbbbbbbbbbbbbbbb", Rows: 4}}}
	if err := result.WriteDocument(dir, result.SummaryFile, summary); err != nil {
		t.Fatal(err)
	}
	if err := WriteInputs(dir, "test", "2026-01-01T00:00:00Z", []Input{{"aaaaaaaaaaaaaaaa", filepath.Join(dir, "north.parquet")}, {"bbbbbbbbbbbbbbbb", filepath.Join(dir, "south.parquet")}}); err != nil {
		t.Fatal(err)
	}
	return Options{Result: dir, Software: "test", Clock: func() time.Time { return time.Unix(1767225600, 0) }}
}

func TestWhatWasDeletedStaysOnRecord(t *testing.T) {
	o := folder(t)
	size, at := int64(9), "2026-01-01T00:00:00Z"
	parts := []Gone{{Name: "part-00000.parquet", Bytes: &size, Deleted: true, DeletedAt: &at}, {Name: "part-00001.parquet", Bytes: &size, Deleted: true, DeletedAt: &at}}
	first := Record{Schema: Schema, Created: at, Project: "one", Purged: []Purged{{SourceDataset: "north", CohortID: "aaaaaaaaaaaaaaaa", Rows: 3, Files: parts}}}
	if err := result.WriteDocument(o.Result, File, first); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := []Purged{first.Purged[0], {SourceDataset: "south", CohortID: "bbbbbbbbbbbbbbbb", Rows: 4, Files: []Gone{{Name: "south.parquet"}}}}
	if !reflect.DeepEqual(r.Purged, want) {
		t.Errorf("%+v, want %+v", r.Purged, want)
	}
	written, err := o.earlier()
	if err != nil || !reflect.DeepEqual(written, map[string][]Gone{"aaaaaaaaaaaaaaaa": parts}) {
		t.Errorf("the record has %+v, %v", written, err)
	}
}

// TestWhatCannotBeDeletedHidesNothing: a purge that fails half way has on
// record what it did until then.
func TestWhatCannotBeDeletedHidesNothing(t *testing.T) {
	dir, size := t.TempDir(), int64(1)
	if err := os.WriteFile(filepath.Join(dir, "a.parquet"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &Record{Created: "now", Purged: []Purged{{Files: []Gone{{Name: "a.parquet", Bytes: &size}, {Name: "b.parquet", Bytes: &size}, {Name: "c.parquet", Bytes: &size}}}}}
	err := r.remove([]string{dir})
	if fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "run linker purge again") {
		t.Errorf("said: %v", err)
	}
	if f := r.Purged[0].Files; !f[0].Deleted || !f[0].Now || f[1].Deleted || f[2].Deleted {
		t.Errorf("on record: %+v", f)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.parquet")); err == nil {
		t.Error("a file that is on record as deleted is still there")
	}
}

func TestRecordsThatCannotBeRead(t *testing.T) {
	for _, text := range []string{"", "{}", `{"schema": "tarn.link-purge/2"}`, `{"schema": "tarn.link-purge/1", "other": 1}`} {
		o := folder(t)
		if err := os.WriteFile(filepath.Join(o.Result, File), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), o); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q: %v", text, err)
		}
		if b, err := os.ReadFile(filepath.Join(o.Result, File)); err != nil || string(b) != text {
			t.Errorf("%q was written over", text)
		}
	}
}

// TestFilesOfTheFirstVersion: what it wrote in a result is read.
func TestFilesOfTheFirstVersion(t *testing.T) {
	o := Options{Result: "../../testdata/formats/2026-11-26/result", DryRun: true, Software: "test", Clock: time.Now}
	paths, err := o.paths(t.Context(), "fs")
	if err != nil || paths["c307b0c18c77e0cc"] != "/cohorts/north.parquet" || len(paths) != 2 {
		t.Errorf("cohorts: %v, %v", paths, err)
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Purged {
		if f := p.Files; p.Rows != 20000 || len(f) != 1 || !f[0].Deleted || f[0].Now || f[0].Bytes == nil || f[0].DeletedAt == nil {
			t.Errorf("%+v", p)
		}
	}
}
