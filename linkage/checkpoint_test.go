package linkage

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"tarn/keys/fault"
	"tarn/linkage/compare"
)

// goOn brings a job to the end of comparing, and reports whether it compared.
func goOn(t *testing.T, o Options) (j *job, compared bool, err error) {
	t.Helper()
	o.Threads = 1
	o.Progress = func(_ string, done, _ int64) { compared = compared || done > 0 }
	j = newJob(o)
	t.Cleanup(j.close)
	must(t, j.read(t.Context()))
	must(t, j.plan(t.Context()))
	err = j.compare(t.Context())
	return j, compared, err
}

// kept returns the pairs that were kept, which are found in any order, in one.
func kept(t *compare.Tally) []compare.Pair {
	return slices.SortedFunc(t.Kept.All(), func(a, b compare.Pair) int { return cmp.Or(cmp.Compare(a.Left, b.Left), cmp.Compare(a.Right, b.Right)) })
}

func sameOutcome(a, b *compare.Outcome) bool {
	return slices.EqualFunc(a.Cross, b.Cross, func(a, b compare.Tally) bool {
		return slices.Equal(a.Counts, b.Counts) && slices.Equal(kept(&a), kept(&b))
	}) &&
		slices.EqualFunc(a.Within, b.Within, slices.Equal[compare.Histogram]) && slices.Equal(a.Passes, b.Passes) &&
		slices.EqualFunc(a.Census, b.Census, func(a, b compare.Census) bool { return a.Empty == b.Empty && slices.Equal(a.Present, b.Present) })
}

// TestCheckpoint: a job goes on from what the same job had found, ends with the
// same files, and begins again where the checkpoint is another's, not whole or
// not there; rows that cannot be are refused.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	c, dir := newCrowd(8, 300, true), t.TempDir()
	sides := []*side{c.party(t, dir, "east", c.people[:200]...), c.party(t, dir, "north", c.people[50:]...), c.party(t, dir, "south", c.people[:20]...)}
	o := options(t, sides...)
	o.Checkpoint = t.TempDir()
	path := filepath.Join(o.Checkpoint, CheckpointFile)
	first := newJob(o)
	defer first.close()
	_, err := first.do(t.Context())
	must(t, err)
	whole, err := os.ReadFile(path)
	must(t, err)
	o.Resume = true
	fresh, compared, err := goOn(t, options(t, sides...))
	must(t, err)
	if !compared || len(kept(&fresh.found.Cross[0])) < 100 || len(fresh.found.Passes) != 2 {
		t.Fatal("there is little to keep")
	}

	t.Run("goes on", func(t *testing.T) {
		j, compared, err := goOn(t, o)
		must(t, err)
		if compared || !sameOutcome(j.found, fresh.found) {
			t.Errorf("it compared: %v, or found something else", compared)
		}
		again := o
		again.Out = t.TempDir()
		checkFiles(t, files(t, done(t, again).Out), files(t, o.Out))
	})

	begins := func(t *testing.T, o Options) {
		t.Helper()
		notes := 0
		o.Note = func(string) { notes++ }
		j, compared, err := goOn(t, o)
		must(t, err)
		if !compared || notes == 0 || !sameOutcome(j.found, fresh.found) {
			t.Errorf("it compared: %v, with %d notes, or found something else", compared, notes)
		}
	}
	put := func(t *testing.T, b []byte) Options {
		t.Helper()
		other := o
		other.Checkpoint = t.TempDir()
		must(t, os.WriteFile(filepath.Join(other.Checkpoint, CheckpointFile), b, 0o600))
		return other
	}
	t.Run("cut short", func(t *testing.T) {
		for _, n := range []int{0, 3, len(whole) / 2, len(whole) - 1} {
			begins(t, put(t, whole[:n]))
		}
	})
	t.Run("another job's", func(t *testing.T) {
		other := put(t, whole)
		other.MinPrecision = .5
		begins(t, other)
		other = put(t, whole)
		other.Software = "another version"
		begins(t, other)
	})

	t.Run("damaged", func(t *testing.T) {
		passes := fresh.found.Passes
		fresh.found.Passes, fresh.Checkpoint = passes[:1], t.TempDir()
		must(t, fresh.writeCheckpoint())
		o.Checkpoint, fresh.found.Passes = fresh.Checkpoint, passes
		if _, _, err := goOn(t, o); fault.KindOf(err) != fault.Usage {
			t.Errorf("a checkpoint that lacks a pass: %v", err)
		}
	})
	t.Run("rows", func(t *testing.T) { checkRestore(t, fresh) })
}

// checkRestore: the rows of a checkpoint make the outcome they were made of, and
// no row is taken for which the job has no place.
func checkRestore(t *testing.T, j *job) {
	good := [][4]int64{}
	must(t, j.checkpointRows(func(kind int8, index int32, a, b int64) error {
		good = append(good, [4]int64{int64(kind), int64(index), a, b})
		return nil
	}))
	found := j.comparison(j.keep, "").NewOutcome()
	for _, r := range good {
		if !j.restore(found, int8(r[0]), int(r[1]), r[2], r[3]) {
			t.Fatalf("row %v is refused", r)
		}
	}
	if !sameOutcome(found, j.found) {
		t.Error("the outcome is another")
	}
	patterns, fields := int64(j.scheme.Patterns()), int64(len(testFields.Fields))
	left, right := int64(j.strata[0].left.Rows()), int64(j.strata[0].right.Rows())
	for _, r := range [][4]int64{
		{rowCross, 3, 0, 1}, {rowCross, -1, 0, 1}, {rowCross, 0, patterns, 1}, {rowCross, 0, -1, 1}, {rowCross, 0, 0, -1},
		{rowWithin, 3, 0, 1}, {rowWithin, 0, patterns, 1}, {rowPresent, 0, fields, 1}, {rowPresent, 3, 0, 1}, {rowEmpty, 3, 0, 0}, {rowEmpty, 0, 0, -1},
		{rowPass, 0, 0, 1}, {rowPass, 2, 0, 1}, {rowKept, 3, 0, 0}, {rowKept, 0, 0, patterns}, {rowKept, 0, 0, -1}, {rowKept, 0, left << 32, 0}, {rowKept, 0, right, 0},
		{rowKept, 0, -1, 0}, {6, 0, 0, 0}, {-1, 0, 0, 0},
	} {
		if j.restore(found, int8(r[0]), int(r[1]), r[2], r[3]) {
			t.Errorf("row %v is taken", r)
		}
	}
}
