package linkage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// TestWhatIsKeptDoesNotMatter: pairs that were not kept when they were first
// compared, and turn out to matter, are found again: the candidates are the
// same whatever was kept.
func TestWhatIsKeptDoesNotMatter(t *testing.T) {
	t.Parallel()
	c, dir := newCrowd(4, 250, true), t.TempDir()
	// All people of one side are on the other: the odds of a link are then far
	// above those of its pair alone.
	full := []*side{c.party(t, dir, "north", c.people[:200]...), c.party(t, dir, "south", c.people...)}
	all := pair(t, 5, false)
	sizes := map[int]bool{}
	for _, sides := range [][]*side{full, all, full[1:]} {
		var want []resolve.Candidate
		var conflicts []resolve.Candidate
		for i, margin := range []float64{1e9, likelyMargin, -2, -1e9} {
			o := options(t, sides...)
			if o.Dedupe {
				o.OneToOne = resolve.None
			}
			j := newJob(o)
			defer j.close()
			j.margin, j.fewPairs = margin, 3*i
			for _, stage := range []func() error{
				func() error { return j.read(t.Context()) }, func() error { return j.plan(t.Context()) }, func() error { return j.compare(t.Context()) },
			} {
				must(t, stage())
			}
			for k := range j.found.Cross {
				sizes[len(kept(&j.found.Cross[k]))] = true
			}
			must(t, j.fit(t.Context()))
			must(t, j.score(t.Context()))
			if i == 0 {
				want, conflicts = j.candidates, j.conflicts
			} else if !slices.Equal(j.candidates, want) || !slices.Equal(j.conflicts, conflicts) {
				t.Errorf("%d candidates and %d conflicts at margin %v, want %d and %d", len(j.candidates), len(j.conflicts), margin, len(want), len(conflicts))
			}
		}
	}
	if len(sizes) < 8 {
		t.Errorf("the margins keep only %d different numbers of pairs", len(sizes))
	}
}

// files reads all files of a result, the summary without what differs from run
// to run.
func files(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	must(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		if name == result.SummaryFile {
			var document map[string]any
			must(t, json.Unmarshal(b, &document))
			delete(document, "resources")
			b, err = json.Marshal(document)
		}
		all[name] = b
		return err
	}))
	return all
}

func checkFiles(t *testing.T, got, want map[string][]byte) {
	t.Helper()
	if len(got) != len(want) || len(want) < 8 {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%s differs", name)
		}
	}
}

// TestSameBytesOnAnyMachine: neither memory nor the number of cores changes
// what is written, and nothing stays in the folder of what did not fit.
func TestSameBytesOnAnyMachine(t *testing.T) {
	t.Parallel()
	c, dir := newCrowd(6, 310, true), t.TempDir()
	sides := []*side{c.party(t, dir, "east", c.people[:200]...), c.party(t, dir, "north", c.people[50:250]...), c.party(t, dir, "south", c.people[110:]...)}
	var want map[string][]byte
	for _, x := range []struct {
		threads   int
		scattered int64
		turned    bool
	}{{1, 1 << 40, false}, {2, 1, false}, {3, 1, true}} {
		o := options(t, sides...)
		o.Threads = x.threads
		if x.turned {
			slices.Reverse(o.Inputs)
		}
		j := newJob(o)
		defer j.close()
		j.scattered = x.scattered
		_, err := j.do(t.Context())
		must(t, err)
		if spilled := j.disk.bytes.Load() > 0; spilled != (x.scattered == 1) {
			t.Errorf("%d bytes: disk was used: %v", x.scattered, spilled)
		}
		if left, err := os.ReadDir(o.TmpDir); err != nil || len(left) > 0 {
			t.Errorf("%v is left behind, %v", left, err)
		}
		if got := files(t, o.Out); want == nil {
			want = got
		} else {
			checkFiles(t, got, want)
		}
	}
}

// TestSortByID: the order is that of a plain sort, on any number of cores.
func TestSortByID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		things := rapid.SliceOf(rapid.SampledFrom([][2]byte{{0, 1}, {0, 2}, {1, 0}, {7, 7}, {127, 3}, {128, 0}, {255, 0}, {255, 255}})).Draw(t, "things")
		compare := func(a, b [2]byte) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }
		got := sortByID(slices.Clone(things), func(x *[2]byte) byte { return x[0] }, compare, rapid.IntRange(0, 5).Draw(t, "threads"))
		slices.SortFunc(things, compare)
		if !slices.Equal(got, things) {
			t.Fatalf("got %v, want %v", got, things)
		}
	})
}
