package compare

import (
	"cmp"
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/exact"
	"tarn/linkage/kernel"
)

var comparison = cohort.Comparison{Fields: []cohort.FieldComparison{
	{Name: "given_name", Column: "bf_given_name", Measure: cohort.MeasureEqualBits, Levels: []float64{.5, .75}, M: []float64{.1, .2, .3, .4}, U: []float64{.4, .3, .2, .1}, Twin: cohort.TwinDiffers},
	{Name: "record", Column: "bf_record", Measure: cohort.MeasureDice, Levels: []float64{.6}, M: []float64{.1, .4, .5}, U: []float64{.6, .3, .1}, Twin: cohort.TwinAgrees},
	{Name: "sex", Column: "tag_sex", Measure: cohort.MeasureEqual, M: []float64{.1, .9}, U: []float64{.5, .5}, Twin: cohort.TwinDiffers},
}}

var layout = cohort.Layout{Blocks: []string{cohort.BlockDateOfBirth, "blk_other"}, Tags: []string{"tag_sex"},
	Filters: []cohort.FilterColumn{{Name: "bf_given_name", Bytes: 16}, {Name: "bf_record", Bytes: 64}}}

// side is a cohort in memory, in file order, and on disk.
type side struct {
	rows []cohort.Row
	file *cohort.File
}

// newSide makes a cohort of n rows with values of few kinds, so that they meet,
// and writes it.
func newSide(t *testing.T, dir, name string, seed uint64, n int) *side {
	random := rand.New(rand.NewPCG(seed, uint64(n)))
	next := random.IntN
	tag := func(kinds int) cohort.Tag {
		if next(6) == 0 {
			return cohort.Tag{}
		}
		return cohort.Tag{Value: int64(next(kinds)), Present: true}
	}
	filter := func(bytes int) []byte {
		if next(6) == 0 {
			return nil
		}
		return slices.Repeat([][]byte{{0}, {0xff}, {0x0f}, {0x3c}, {0xff, 0}}[next(5)], bytes)[:bytes]
	}
	s := &side{}
	for i := range n {
		r := cohort.Row{NHSNumberState: "valid", Blocks: []cohort.Tag{tag(3), tag(4)}, Filters: [][]byte{filter(16), filter(64)}, Tags: []cohort.Tag{tag(2)}}
		r.UniqueID = [16]byte{byte(next(256)), byte(i >> 8), byte(i)}
		if r.HasToken = next(4) > 0; r.HasToken {
			r.Token = [cohort.TokenBytes]byte{byte(next(2)), 31: byte(next(3))} // some are told apart by their last byte alone
		}
		s.rows = append(s.rows, r)
	}
	slices.SortFunc(s.rows, func(a, b cohort.Row) int { return layout.Compare(&a, &b) })
	s.write(t, dir, name)
	return s
}

func (s *side) write(t *testing.T, dir, name string) {
	fatal := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	identity := cohort.Identity{Schema: cohort.Schema, SourceDataset: name}
	path := filepath.Join(dir, name+".parquet")
	w, err := cohort.Create(path, layout, identity, "test")
	fatal(err)
	for i := range s.rows {
		fatal(w.Append(&s.rows[i]))
	}
	_, err = w.Commit()
	fatal(err)
	id, err := identity.CohortID()
	fatal(err)
	fatal(cohort.WriteManifest(cohort.ManifestPath(path), &cohort.Manifest{CohortID: id, Identity: identity, Comparison: comparison}))
	s.file, err = cohort.Open(t.Context(), path)
	fatal(err)
	t.Cleanup(s.file.Close)
}

// slowPattern compares two records field by field, as the specification says.
func slowPattern(s *Scheme, a, b *cohort.Row, tokens bool) uint32 {
	levels := []int{Missing, Missing, Missing, Missing}
	if x, y := a.Filters[0], b.Filters[0]; x != nil && y != nil {
		equal := 0
		for i := range x {
			equal += 8 - bits.OnesCount8(x[i]^y[i])
		}
		share := float64(equal) / 128
		levels[0] = map[bool]int{true: 1}[share >= .5] + map[bool]int{true: 1}[share >= .75] + map[bool]int{true: 1}[share == 1]
	}
	if x, y := a.Filters[1], b.Filters[1]; x != nil && y != nil {
		common, set := 0, 0
		for i := range x {
			common += bits.OnesCount8(x[i] & y[i])
			set += bits.OnesCount8(x[i]) + bits.OnesCount8(y[i])
		}
		levels[1] = map[bool]int{true: 1}[set > 0 && 2*float64(common)/float64(set) >= .6]
		if slices.Equal(x, y) {
			levels[1] = 2
		}
	}
	if x, y := a.Tags[0], b.Tags[0]; x.Present && y.Present {
		levels[2] = map[bool]int{true: 1}[x.Value == y.Value]
	}
	if tokens && a.HasToken && b.HasToken {
		levels[3] = map[bool]int{true: TokenEqual, false: TokenDifferent}[a.Token == b.Token]
	}
	return s.Code(levels)
}

// share reports whether two records have one of the tags in common.
func share(a, b *cohort.Row, tags []int) bool {
	return slices.ContainsFunc(tags, func(k int) bool {
		return a.Blocks[k].Present && b.Blocks[k].Present && a.Blocks[k].Value == b.Blocks[k].Value
	})
}

// TestRunIsTheNestedLoop: every pair that shares a tag is compared once, no
// other, with the pattern that comparing field by field gives, and kept if it
// is to be; whatever the number of workers and the memory; within one cohort
// and across two, by tags in order and not, and without.
func TestRunIsTheNestedLoop(t *testing.T) {
	scheme, err := NewScheme(comparison)
	if err != nil {
		t.Fatal(err)
	}
	// Files are written once, as the disk may be slow; everything else is drawn.
	dir := t.TempDir()
	var lefts, rights []*side
	for i, rows := range []int{0, 1, 7, 20, 20, 40, 40} {
		lefts = append(lefts, newSide(t, dir, fmt.Sprint("left", i), uint64(i), rows))
	}
	for i, rows := range []int{0, 1, 7, 20, 20, 40, tileRows + 3, tileRows + 3} { // the last do not fit a tile
		rights = append(rights, newSide(t, dir, fmt.Sprint("right", i), uint64(i+100), rows))
	}
	rapid.Check(t, func(t *rapid.T) {
		sides := []*side{rapid.SampledFrom(lefts).Draw(t, "left"), rapid.SampledFrom(rights).Draw(t, "right")}
		passes := rapid.SampledFrom([][]int{nil, {0}, {1}, {0, 1}}).Draw(t, "tags of the passes")
		tokens := rapid.Bool().Draw(t, "tokens")
		job := &Job{Scheme: scheme, Shape: sides[0].file.Shape(comparison), Strata: []Stratum{{0, 1, tokens}, {0, 0, true}}, Kernel: kernel.Best(),
			Threads: rapid.IntRange(1, 3).Draw(t, "threads"), Folder: dir, Memory: rapid.SampledFrom([]int64{1, 1 << 30}).Draw(t, "memory"), Disk: func(int64) {}}
		keep := make([]bool, scheme.Patterns())
		for code := range keep {
			keep[code] = code%3 > 0
		}
		job.Keep = [][]bool{keep, keep}
		prepare(t, job, sides)
		got := job.NewOutcome()
		records := rapid.IntRange(1, 60).Draw(t, "records in a part")
		for p := range max(len(passes), 1) {
			if err := job.Run(t.Context(), passOf(t, sides, passes, p, records), got); err != nil {
				t.Fatal(err)
			}
		}
		for i, s := range job.Strata {
			checkTally(t, scheme, sides[s.Left], sides[s.Right], s, passes, &got.Cross[i])
		}
		for i, s := range sides {
			within := make(Histogram, scheme.Patterns())
			for l := range s.rows {
				for r := range l {
					if len(passes) == 0 || share(&s.rows[l], &s.rows[r], passes) {
						within[slowPattern(scheme, &s.rows[r], &s.rows[l], true)]++
					}
				}
			}
			if !slices.Equal(within, got.Within[i]) {
				t.Fatalf("side %d: patterns within are counted wrongly", i)
			}
			checkCensus(t, s, &got.Census[i])
		}
	})
}

func prepare(t *rapid.T, job *Job, sides []*side) {
	var folds [][]cohort.Fold
	for _, s := range sides {
		ids, err := s.file.ReadIDs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fold, err := s.file.ReadTokens(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		folds = append(folds, fold)
		job.Sides = append(job.Sides, Side{File: s.file, IDs: ids})
	}
	numbers, _, err := exact.Number(t.Context(), folds, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sides {
		job.Sides[i].Tokens = numbers[i]
	}
}

func passOf(t *rapid.T, sides []*side, passes []int, p, records int) *Pass {
	pass := &Pass{Census: p == 0}
	var runs []*block.Runs
	tagsOf := func(s *side, pass int) *cohort.TagValues {
		tags, err := s.file.ReadTags(t.Context(), layout.Blocks[passes[pass]], false)
		if err != nil {
			t.Fatal(err)
		}
		return &tags
	}
	for _, s := range sides {
		x := PassSide{Runs: block.One(len(s.rows)), Following: 1 << 20}
		if len(passes) > 0 {
			x.Tags = tagsOf(s, p)
			x.Runs = block.Of(*x.Tags)
		}
		x.Within = 1
		ids, err := s.file.ReadIDs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		x.InOrder = block.InOrder(x.Tags, ids)
		runs, pass.Sides = append(runs, x.Runs), append(pass.Sides, x)
	}
	for e := range p {
		pass.Earlier = append(pass.Earlier, []*cohort.TagValues{tagsOf(sides[0], e), tagsOf(sides[1], e)})
	}
	pass.Parts = block.Parts(runs, records)
	return pass
}

func checkTally(t *rapid.T, scheme *Scheme, left, right *side, s Stratum, passes []int, got *Tally) {
	histogram, kept := make(Histogram, scheme.Patterns()), map[[2]int32]uint32{}
	for l := range left.rows {
		for r := range right.rows {
			a, b := &left.rows[l], &right.rows[r]
			if s.Left == s.Right && slices.Compare(a.UniqueID[:], b.UniqueID[:]) == 0 || len(passes) > 0 && !share(a, b, passes) {
				continue
			}
			code := slowPattern(scheme, a, b, s.Tokens)
			if s.Left != s.Right || l < r {
				histogram[code]++
			}
			if code%3 > 0 {
				kept[[2]int32{int32(l), int32(r)}] = code
			}
		}
	}
	if !slices.Equal(histogram, got.Counts) {
		t.Fatalf("patterns are counted wrongly: %d pairs, want %d", got.Counts.Total(), histogram.Total())
	}
	found := map[[2]int32]uint32{}
	for p := range got.Kept.All() {
		if _, twice := found[[2]int32{p.Left, p.Right}]; twice {
			t.Fatal("a pair is kept twice")
		}
		found[[2]int32{p.Left, p.Right}] = p.Code
		if s.Left == s.Right {
			found[[2]int32{p.Right, p.Left}] = p.Code
		}
	}
	if !maps.Equal(found, kept) {
		t.Fatalf("%d pairs are kept, want %d, or patterns differ", len(found), len(kept))
	}
}

func checkCensus(t *rapid.T, s *side, got *Census) {
	want := Census{Present: make([]int64, 3)}
	for _, r := range s.rows {
		there := []bool{r.Filters[0] != nil, r.Filters[1] != nil, r.Tags[0].Present}
		for f, ok := range there {
			if ok {
				want.Present[f]++
			}
		}
		if !slices.Contains(there, true) && !r.HasToken {
			want.Empty++
		}
	}
	if cmp.Compare(want.Empty, got.Empty) != 0 || !slices.Equal(want.Present, got.Present) {
		t.Fatalf("census %v, want %v", fmt.Sprint(*got), fmt.Sprint(want))
	}
}
