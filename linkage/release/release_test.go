package release

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"pgregory.net/rapid"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
	"tarn/linkage/result"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// aResult is the result of an earlier version, with conflicts, a state and
// tokens.
func aResult(t *testing.T) (folder string, members []result.Member) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "run")
	must(t, os.CopyFS(folder, os.DirFS("../../testdata/formats/2026-11-25/result")))
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = os.Chmod(path, 0o700)
		}
		return err
	}))
	summary, err := result.ReadSummary(folder)
	must(t, err)
	members = scan(t, folder)
	clusters := filepath.Join(folder, result.ClustersFile)
	must(t, os.Remove(clusters))
	_, err = result.WriteClusters(clusters, summary.RunID, "test", true, func(yield func(*result.Member) bool) {
		for i := range members {
			m := members[i]
			m.NHSToken = "tarn1.secret"
			if !yield(&m) {
				return
			}
		}
	})
	must(t, err)
	conflicts := filepath.Join(folder, result.ConflictsFile)
	must(t, os.Remove(conflicts))
	w, err := result.CreateLinks(conflicts, result.Columns{Datasets: []string{"north", "south"}, Keys: []string{"token"}}, "test")
	must(t, err)
	for _, pair := range [][2]string{{"n2", "s1"}, {"n1", "s1"}, {"n2", "s2"}} {
		must(t, w.Append(&result.Link{SourceDatasetL: "north", SourceDatasetR: "south", UniqueIDL: pair[0], UniqueIDR: pair[1], MatchKey: "token", Basis: result.BasisToken, Decision: result.DecisionNo}))
	}
	_, err = w.Commit()
	must(t, err)
	must(t, os.Mkdir(filepath.Join(folder, ".state"), 0o700))
	must(t, os.WriteFile(filepath.Join(folder, ".state", "state.json"), []byte("{}"), 0o600))
	return folder, members
}

func scan(t *testing.T, folder string) (members []result.Member) {
	t.Helper()
	must(t, result.ScanClusters(t.Context(), filepath.Join(folder, result.ClustersFile), func(m *result.Member) error {
		x := *m
		for _, text := range []*string{&x.ClusterID, &x.SourceDataset, &x.UniqueID, &x.ClusterIDP90, &x.ClusterIDP95, &x.ClusterIDP99} {
			*text = strings.Clone(*text)
		}
		members = append(members, x)
		return nil
	}))
	return members
}

// texts reads columns of text.
func texts(t *testing.T, path string, columns ...string) (rows []string) {
	t.Helper()
	r, err := table.Open(path)
	must(t, err)
	defer func() { _ = r.Close() }() // opened for reading
	if n := len(r.Schema().Fields()); n != len(columns) {
		t.Errorf("%s has %d columns, want %q", path, n, columns)
	}
	must(t, r.Scan(t.Context(), columns, func(batch arrow.RecordBatch) error {
		for i := range int(batch.NumRows()) {
			var row []string
			for k, name := range columns {
				text, err := table.Strings(batch.Column(k), name)
				must(t, err)
				value, _ := text(i)
				row = append(row, strings.Clone(value))
			}
			rows = append(rows, strings.Join(row, " "))
		}
		return nil
	}))
	return rows
}

func aRelease(t *testing.T, from string, seed byte) string {
	t.Helper()
	to := t.TempDir()
	clock := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	must(t, Make(t.Context(), Options{From: from, To: to, Software: "test", Clock: clock, Random: rand.NewChaCha8([32]byte{seed})}))
	return to
}

// TestNewIds: a release has the clusters of its result at every threshold, under
// ids that neither the result nor another release has.
func TestNewIds(t *testing.T) {
	t.Parallel()
	from, members := aResult(t)
	all := map[string]bool{}
	ids := func(m *result.Member) [4]string {
		return [4]string{m.ClusterID, m.ClusterIDP90, m.ClusterIDP95, m.ClusterIDP99}
	}
	for i := range members {
		for _, id := range ids(&members[i]) {
			all[id] = true
		}
	}
	known := len(all)
	for round, seed := range []byte{1, 2} {
		released := scan(t, aRelease(t, from, seed))
		if len(released) != len(members) || len(members) < 20 {
			t.Fatalf("%d records, want %d", len(released), len(members))
		}
		renamed := map[string]string{}
		for i := range released {
			got := &released[i]
			at := slices.IndexFunc(members, func(m result.Member) bool { return m.SourceDataset == got.SourceDataset && m.UniqueID == got.UniqueID })
			want := &members[at]
			for k, id := range ids(got) {
				old := ids(want)[k]
				if renamed[old] == "" && all[id] {
					t.Fatalf("the id of a cluster is known elsewhere")
				}
				if renamed[old] == "" {
					renamed[old] = id
					all[id] = true
				}
				if renamed[old] != id {
					t.Fatalf("a cluster has two ids")
				}
			}
			if got.ClusterSize != want.ClusterSize || got.Datasets != want.Datasets {
				t.Errorf("a cluster has other counts: %+v, want %+v", got, want)
			}
			if i > 0 && got.ClusterID < released[i-1].ClusterID {
				t.Errorf("rows are in another order than that of the new ids")
			}
		}
		if len(all) != (round+2)*known {
			t.Errorf("%d ids in all, want %d", len(all), (round+2)*known)
		}
	}
}

// TestWhatIsReleased: a release holds nothing of pairs, tokens or the state; a
// party gets its own records alone; and the summary lists what is there.
func TestWhatIsReleased(t *testing.T) {
	t.Parallel()
	from, members := aResult(t)
	to := aRelease(t, from, 1)
	var files []string
	must(t, filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("tarn1")) {
			t.Errorf("%s has a token", path)
		}
		name, _ := filepath.Rel(to, path)
		files = append(files, fmt.Sprintf("%s %x", filepath.ToSlash(name), sha256.Sum256(b)))
		return err
	}))
	summary, err := result.ReadSummary(to)
	must(t, err)
	var listed []string
	for _, o := range summary.Outputs {
		listed = append(listed, o.Path+" "+o.SHA256)
	}
	slices.Sort(listed)
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasPrefix(f, result.SummaryFile) })
	slices.Sort(files)
	if !slices.Equal(files, listed) || len(files) != 8 {
		t.Errorf("there are %q, and the summary lists %q", files, listed)
	}
	if summary.Created != "2026-01-02T03:04:05Z" {
		t.Errorf("created %s", summary.Created)
	}
	released := scan(t, to)
	for name, conflicts := range map[string][]string{"north": {"n1", "n2"}, "south": {"s1", "s2"}} {
		if got := texts(t, filepath.Join(to, ConflictsDir, name+".parquet"), "unique_id"); !slices.Equal(got, conflicts) {
			t.Errorf("conflicts of %s: %q", name, got)
		}
		var want []string
		for i := range released {
			if m := &released[i]; m.SourceDataset == name {
				want = append(want, m.UniqueID+" "+m.ClusterID)
			}
		}
		slices.Sort(want)
		if got := texts(t, filepath.Join(to, result.CrosswalkDir, name+".parquet"), "unique_id", "cluster_id"); !slices.Equal(got, want) || len(got) == 0 || len(got) == len(members) {
			t.Errorf("the crosswalk of %s is %q, want %q", name, got, want)
		}
	}
}

// TestSameRandomSameRelease: nothing but the key makes two releases differ.
func TestSameRandomSameRelease(t *testing.T) {
	t.Parallel()
	from, _ := aResult(t)
	a, b, other := aRelease(t, from, 1), aRelease(t, from, 1), aRelease(t, from, 2)
	read := func(folder string) string {
		content, err := os.ReadFile(filepath.Join(folder, result.ClustersFile))
		must(t, err)
		return string(content)
	}
	if read(a) != read(b) || read(a) == read(other) {
		t.Error("releases differ, or do not, by something else than their key")
	}
}

// TestRefusals: what is no whole result is released by nobody.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, missing := range []string{"", result.SummaryFile, result.RunFile, result.ClustersFile} {
		from, _ := aResult(t)
		if missing != "" {
			must(t, os.Remove(filepath.Join(from, missing)))
		}
		err := Make(t.Context(), Options{From: from, To: t.TempDir(), Software: "test", Clock: time.Now})
		if missing == "" && err != nil || missing != "" && fault.KindOf(err) != fault.Usage {
			t.Errorf("without %q: %v", missing, err)
		}
	}
}

// TestRanges: every id is in one range, and ranges rise with ids.
func TestRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(rapid.StringMatching(`[0-9a-f]{32}`), rapid.StringMatching(`[0-9]{1,9}`)).Draw(t, "id")
		n := 1 << rapid.IntRange(0, 8).Draw(t, "ranges")
		in := 0
		for i := range n {
			if inRange(id, i, n) {
				in++
			}
		}
		if in != 1 {
			t.Fatalf("%q is in %d of %d ranges", id, in, n)
		}
	})
	for rows, want := range map[int64]int{0: 1, heldRows: 1, 2 * heldRows: 2, 2*heldRows + 2: 4, 1 << 50: 256} {
		r := &releaser{summary: &result.Summary{Inputs: []result.Input{{Rows: rows}}}}
		if got := r.ranges(); got != want {
			t.Errorf("%d ranges of %d rows, want %d", got, rows, want)
		}
	}
}
