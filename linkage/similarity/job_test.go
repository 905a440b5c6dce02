package similarity

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

func fixed() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// noRandom is what gives the state of the tests its key.
type noRandom struct{}

func (noRandom) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 7
	}
	return len(b), nil
}

func options(t *testing.T, inputs ...string) Options {
	return Options{Inputs: inputs, Out: t.TempDir(), State: t.TempDir(), Threshold: .8, OneToOne: resolve.Greedy, Threads: 2, Memory: 1 << 28,
		Software: "tarn test", Clock: fixed, Wall: fixed, Random: noRandom{}}
}

// people are filters of 16 bits: two parties have 0 and 1, the third 0 alone.
var people = [][][]byte{{{255, 15}, {15, 240}, {0, 0}}, {{15, 240}, {255, 7}}, {{255, 14}, {3, 0}}}

func writeCLKs(t *testing.T, folder, name string, filters [][]byte) string {
	t.Helper()
	b, err := json.Marshal(map[string][][]byte{"clks": filters})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func files(t *testing.T) (paths []string) {
	folder := t.TempDir()
	for i, name := range []string{"south.clks.json", "north.json", "east.clks.json"} {
		paths = append(paths, writeCLKs(t, folder, name, people[i]))
	}
	return paths
}

// pairsOf reads the links of a result.
func pairsOf(t *testing.T, folder string) (pairs []string) {
	t.Helper()
	err := result.ScanLinks(t.Context(), filepath.Join(folder, result.LinksFile), func(l *result.Link) error {
		if l.LinkProbability != nil || l.MatchWeight != 0 || l.Basis != result.BasisDemographic || l.MatchKey != "all" {
			t.Errorf("a link with %+v", *l)
		}
		pairs = append(pairs, strings.Join([]string{l.SourceDatasetL, l.UniqueIDL, l.SourceDatasetR, l.UniqueIDR, l.Decision}, " "))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pairs
}

// TestLink: the folder holds what the job found, in the order of the inputs.
func TestLink(t *testing.T) {
	o := options(t, files(t)...)
	s, err := Link(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	got := pairsOf(t, o.Out)
	want := []string{"south 1 north 0 link", "south 0 north 1 link", "south 0 east 0 link", "north 1 east 0 link"}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("links %q, want %q", got, want)
	}
	clusters := map[string][]string{}
	err = result.ScanClusters(t.Context(), filepath.Join(o.Out, result.ClustersFile), func(m *result.Member) error {
		clusters[m.ClusterID] = append(clusters[m.ClusterID], m.SourceDataset+" "+m.UniqueID)
		if m.ClusterSize != m.Datasets {
			t.Errorf("a cluster of %+v", *m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{}
	for _, members := range clusters {
		texts[strings.Join(members, ", ")] = true
	}
	for _, want := range []string{"east 0, north 1, south 0", "north 0, south 1", "south 2", "east 1"} {
		if !texts[want] {
			t.Errorf("no cluster is %q: %v", want, texts)
		}
	}
	if s.Links.Total != 4 || s.Clusters != (result.Clusters{Total: 4, Linked: 2, Singletons: 2, Largest: 3}) || s.Pairs.Compared != 3*2+3*2+2*2 || s.Unlinkable != 1 || s.Method != "clk" {
		t.Errorf("summary %+v", s)
	}
	read, err := result.ReadSummary(o.Out)
	if err != nil || read.RunID != s.RunID || len(read.Outputs) != 2+3+2 {
		t.Errorf("summary.json %+v: %v", read, err)
	}
	run, err := result.ReadRun(o.Out)
	if err != nil || run.Parameters.Method != "clk" || len(run.Parties) != 3 || run.Parties[0].Linked != 2 || len(run.ClusterSizes) != 3 || len(run.Similarities) == 0 {
		t.Errorf("run.json %+v: %v", run, err)
	}
	report, err := os.ReadFile(filepath.Join(o.Out, result.ReportFile))
	if err != nil || !bytes.Contains(report, []byte("similarity")) {
		t.Errorf("report.html: %v", err)
	}
}

// TestLinkIsRepeatable: the same bytes on any number of threads; another order
// of the inputs, assignment or limit is another run.
func TestLinkIsRepeatable(t *testing.T) {
	inputs := files(t)
	first := options(t, inputs...)
	if _, err := Link(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for i, change := range []func(*Options){
		func(o *Options) { o.Threads = 1 },
		func(o *Options) { o.Inputs = []string{inputs[1], inputs[0], inputs[2]} },
		func(o *Options) { o.OneToOne = resolve.None },
		func(o *Options) { o.OneToOne = resolve.Mutual },
		func(o *Options) { o.PerRecord = 1 },
		func(o *Options) { o.Threshold = .5 },
	} {
		o := options(t, inputs...)
		o.State = first.State
		change(&o)
		s, err := Link(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		ids[s.RunID] = true
		for _, name := range []string{result.LinksFile, result.ClustersFile, result.ReportFile, result.RunFile, "crosswalk/north.parquet"} {
			a, errA := os.ReadFile(filepath.Join(first.Out, name))
			b, errB := os.ReadFile(filepath.Join(o.Out, name))
			if errA != nil || errB != nil || i == 0 && !bytes.Equal(a, b) {
				t.Errorf("%s differs with the number of threads, or is not there: %v, %v", name, errA, errB)
			}
		}
	}
	if len(ids) != 6 {
		t.Errorf("%d different run_ids of 6 runs that differ", len(ids))
	}
}

// writeCohort writes a cohort of record filters.
func writeCohort(t *testing.T, folder, source, kcv string, filters [][]byte) string {
	t.Helper()
	var ids []cohort.ID
	for i := range filters {
		ids = append(ids, cohort.ID{byte(i), source[0]})
	}
	id := cohort.Identity{Schema: cohort.Schema, Project: "demo", ProjectDigest: "p", Profile: "records", ProfileDigest: "d", EncodingEpoch: 1, EncodingKCV: kcv,
		SourceDataset: source, RowsDigest: cohort.RowsDigest(ids)}
	path := filepath.Join(folder, source+".parquet")
	w, err := cohort.Create(path, cohort.Layout{Filters: []cohort.FilterColumn{{Name: RecordColumn, Bytes: 8}}}, id, "tarn test")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range filters {
		row := cohort.Row{UniqueID: ids[i], NHSNumberState: "absent", Filters: [][]byte{nil}}
		if f != nil {
			row.Filters[0] = append(bytes.Clone(f), 0, 0, 0, 0, 0, 0)
		}
		if err := w.Append(&row); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	m := &cohort.Manifest{Identity: id, Created: "2026-01-01T00:00:00Z", Expires: "2026-06-01T00:00:00Z", Rows: int64(len(filters))}
	if m.CohortID, err = id.CohortID(); err != nil {
		t.Fatal(err)
	}
	if err := cohort.WriteManifest(cohort.ManifestPath(path), m); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestLinkCohorts: cohorts are linked as files of CLKs are, under the names of
// their records, and refused where they were not encoded alike.
func TestLinkCohorts(t *testing.T) {
	folder := t.TempDir()
	south, north := writeCohort(t, folder, "south", "k", [][]byte{people[0][0], people[0][1], nil}), writeCohort(t, folder, "north", "k", people[1])
	o := options(t, south, north)
	s, err := Link(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"south 0173" + strings.Repeat("0", 28) + " north 006e" + strings.Repeat("0", 28) + " link",
		"south 0073" + strings.Repeat("0", 28) + " north 016e" + strings.Repeat("0", 28) + " link"}
	if got := pairsOf(t, o.Out); strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("links %q, want %q", got, want)
	}
	if s.Project != "demo" || s.Profile != "records" || s.Unlinkable != 1 {
		t.Errorf("summary %+v", s)
	}
	other := writeCohort(t, folder, "east", "another key", people[2])
	if _, err := Link(t.Context(), options(t, south, other)); fault.KindOf(err) != fault.Disagreement {
		t.Errorf("another key: %v", err)
	}
	late := options(t, south, north)
	late.Wall = func() time.Time { return fixed().AddDate(1, 0, 0) }
	if _, err := Link(t.Context(), late); fault.KindOf(err) != fault.Policy {
		t.Errorf("an expired project: %v", err)
	}
	late = options(t, south, north)
	late.Memory = 40
	if _, err := Link(t.Context(), late); fault.KindOf(err) != fault.Usage {
		t.Errorf("no memory: %v", err)
	}
}

// TestLinkRefuses: what cannot be linked is refused before anything is written.
func TestLinkRefuses(t *testing.T) {
	folder := t.TempDir()
	a, b := writeCLKs(t, folder, "a.json", people[0]), writeCLKs(t, folder, "b.json", people[1])
	wide := writeCLKs(t, folder, "wide.json", [][]byte{{1, 2, 3}})
	c := writeCohort(t, folder, "c", "k", people[2])
	for name, x := range map[string]struct {
		inputs []string
		memory int64
		want   string
	}{
		"one":        {[]string{a}, 1 << 20, "fewer than two"},
		"twice":      {[]string{a, a}, 1 << 20, "two inputs are named a"},
		"mixed":      {[]string{a, c}, 1 << 20, "some inputs are files of CLKs and some are cohorts"},
		"widths":     {[]string{a, b, wide}, 1 << 20, "filters of a have 16 bits, those of wide 24"},
		"not there":  {[]string{a, filepath.Join(folder, "none")}, 1 << 20, "no such file"},
		"no file":    {[]string{a, os.DevNull}, 1 << 20, "no regular file"},
		"memory":     {[]string{a, b}, 30, "do not fit into the memory"},
		"the rest":   {[]string{a, b}, 5*(8+recordBytes) - 1, "leave nothing of the memory"},
		"candidates": {[]string{a, b}, 5*(8+recordBytes) + 2, "reach the threshold"},
	} {
		o := options(t, x.inputs...)
		o.Memory = x.memory
		_, err := Link(t.Context(), o)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, err := os.ReadDir(o.Out); err != nil || len(entries) > 0 {
			t.Errorf("%s: something was written: %v", name, err)
		}
	}
}
