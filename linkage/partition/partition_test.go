package partition

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys/fault"
	"tarn/linkage/block"
	"tarn/linkage/cohort"
)

var comparison = cohort.Comparison{Fields: []cohort.FieldComparison{
	{Name: "given_name", Column: "bf_given_name", Measure: cohort.MeasureEqualBits, M: []float64{.5, .5}, U: []float64{.5, .5}, Twin: cohort.TwinDiffers},
	{Name: "sex", Column: "tag_sex", Measure: cohort.MeasureEqual, M: []float64{.1, .9}, U: []float64{.5, .5}, Twin: cohort.TwinDiffers},
	{Name: "record", Column: "bf_record", Measure: cohort.MeasureDice, M: []float64{.5, .5}, U: []float64{.5, .5}, Twin: cohort.TwinAgrees},
	{Name: "area", Column: "tag_area", Measure: cohort.MeasureEqual, M: []float64{.1, .9}, U: []float64{.5, .5}, Twin: cohort.TwinAgrees},
}}

var layout = cohort.Layout{Blocks: []string{cohort.BlockDateOfBirth, "blk_area"}, Tags: []string{"tag_sex", "tag_area"},
	Filters: []cohort.FilterColumn{{Name: "bf_given_name", Bytes: 16}, {Name: "bf_record", Bytes: 24}}}

// tb is what tests have, drawn or not.
type tb interface {
	rapid.TB
	Context() context.Context
}

// table is a cohort in memory, in file order, and on disk.
type table struct {
	rows []cohort.Row
	ids  []cohort.ID
	file *cohort.File
}

// newTable writes a cohort of n rows, of which share have no key.
func newTable(t *testing.T, dir string, n int, share float64) *table {
	random := rand.New(rand.NewPCG(uint64(n), 5))
	tag := func(kinds int) cohort.Tag {
		if random.Float64() < share {
			return cohort.Tag{}
		}
		return cohort.Tag{Value: int64(random.IntN(kinds)) - 2, Present: true}
	}
	filter := func(bytes int) []byte {
		if random.IntN(5) == 0 {
			return nil
		}
		b := make([]byte, bytes)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	x := &table{}
	for i := range n {
		r := cohort.Row{NHSNumberState: "absent", Blocks: []cohort.Tag{tag(n/8 + 1), tag(6)}, Filters: [][]byte{filter(16), filter(24)}, Tags: []cohort.Tag{tag(2), tag(9)}}
		binary.BigEndian.PutUint64(r.UniqueID[:], random.Uint64())
		r.UniqueID[15] = byte(i)
		x.rows = append(x.rows, r)
	}
	slices.SortFunc(x.rows, func(a, b cohort.Row) int { return layout.Compare(&a, &b) })
	identity := cohort.Identity{Schema: cohort.Schema, SourceDataset: fmt.Sprintf("party%d-%v", n, share > .5)}
	path := filepath.Join(dir, identity.SourceDataset+".parquet")
	w, err := cohort.Create(path, layout, identity, "test")
	must(t, err)
	for i := range x.rows {
		must(t, w.Append(&x.rows[i]))
		x.ids = append(x.ids, x.rows[i].UniqueID)
	}
	_, err = w.Commit()
	must(t, err)
	id, err := identity.CohortID()
	must(t, err)
	must(t, cohort.WriteManifest(cohort.ManifestPath(path), &cohort.Manifest{CohortID: id, Identity: identity, Comparison: comparison}))
	x.file, err = cohort.Open(t.Context(), path)
	must(t, err)
	t.Cleanup(x.file.Close)
	return x
}

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// slowRows are some rows of a cohort as Rows has them.
func (x *table) slowRows(numbers []int32, column int) *cohort.Rows {
	shape := x.file.Shape(comparison)
	rows := &cohort.Rows{}
	rows.Reset(shape, len(numbers))
	for i, n := range numbers {
		r := &x.rows[n]
		rows.Number[i], rows.Key[i] = n, 0
		if column >= 0 {
			rows.Key[i] = r.Blocks[column].Value
		}
		var filters []byte
		for k, filter := range r.Filters {
			if filter != nil {
				rows.Present[i] |= 1 << (2 * k)
			} else {
				filter = make([]byte, layout.Filters[k].Bytes)
			}
			filters = append(filters, filter...)
		}
		for w := range 5 {
			rows.Filters[5*i+w] = binary.LittleEndian.Uint64(filters[8*w:])
		}
		for k, tag := range r.Tags {
			if tag.Present {
				rows.Present[i] |= 2 << (2 * k)
			}
			rows.Tags[1+2*k][i] = tag.Value
		}
	}
	return rows
}

// columns of block keys that a pass may be over.
const all, dob, area = -1, 0, 1

// pass returns a pass over a column of two cohorts, as the first takes part.
func (x *table) pass(t tb, column, records int, other *table) Pass {
	p := Pass{File: x.file, Shape: x.file.Shape(comparison), IDs: x.ids}
	p.Runs = block.One(len(x.rows))
	runs := []*block.Runs{p.Runs, block.One(len(other.rows))}
	if column >= 0 {
		tags, err := x.file.ReadTags(t.Context(), layout.Blocks[column], false)
		must(t, err)
		others, err := other.file.ReadTags(t.Context(), layout.Blocks[column], false)
		must(t, err)
		p.Tags, p.Runs = &tags, block.Of(tags)
		runs = []*block.Runs{p.Runs, block.Of(others)}
	}
	p.Parts = block.Parts(runs, records)
	return p
}

// load loads all parts, and checks that every record is seen once.
func load(t tb, p Pass, open func(Pass) (Source, error)) (parts []*cohort.Rows) {
	seen := make([]int, p.File.Rows())
	p.Seen = func(rows *cohort.Rows) {
		for _, n := range rows.Number {
			seen[n]++
		}
	}
	s, err := open(p)
	must(t, err)
	defer s.Close()
	for range p.Parts {
		rows := new(cohort.Rows)
		must(t, s.Load(t.Context(), rows))
		parts = append(parts, rows)
	}
	must(t, s.Finish(t.Context()))
	if i := slices.IndexFunc(seen, func(n int) bool { return n != 1 }); i >= 0 {
		t.Fatalf("record %d is seen %d times", i, seen[i])
	}
	return parts
}

func same(a, b *cohort.Rows) bool {
	return slices.Equal(a.Number, b.Number) && slices.Equal(a.Key, b.Key) && slices.Equal(a.Present, b.Present) && slices.Equal(a.Filters, b.Filters) &&
		reflect.DeepEqual(a.Tags, b.Tags)
}

// TestPartsAreThoseOfTheSort: both sources give the records with a key, sorted
// and cut as planned, whatever the memory, and leave nothing behind.
func TestPartsAreThoseOfTheSort(t *testing.T) {
	dir := t.TempDir()
	tmp := t.TempDir()
	var tables []*table
	for _, n := range []int{0, 1, 30, 200} {
		tables = append(tables, newTable(t, dir, n, .2))
	}
	tables = append(tables, newTable(t, dir, 40, 1), newTable(t, dir, 60, .6))
	rapid.Check(t, func(t *rapid.T) {
		x, other := rapid.SampledFrom(tables).Draw(t, "cohort"), rapid.SampledFrom(tables).Draw(t, "other")
		column := rapid.SampledFrom([]int{all, dob, area}).Draw(t, "column")
		x.checkParts(t, x.pass(t, column, rapid.IntRange(1, 60).Draw(t, "records"), other), column, tmp, rapid.SampledFrom([]int64{0, 1 << 40}).Draw(t, "memory"), new(int))
	})
	// This one takes two pieces, each of which is spilled.
	big := newTable(t, dir, pieceRows+300, .2)
	for column, want := range map[int]int{all: 2, dob: 1, area: 2} { // the last are without a date
		spills := 0
		if big.checkParts(t, big.pass(t, column, 5000, tables[3]), column, tmp, 0, &spills); spills != want {
			t.Errorf("spilled %d times, want %d", spills, want)
		}
	}
}

// checkParts holds what both sources load against a plain sort.
func (x *table) checkParts(t tb, p Pass, column int, tmp string, memory int64, spills *int) {
	var numbers []int32
	for i := range x.rows {
		if column < 0 || x.rows[i].Blocks[column].Present {
			numbers = append(numbers, int32(i))
		}
	}
	key := func(n int32) int64 {
		if column < 0 {
			return 0
		}
		return x.rows[n].Blocks[column].Value
	}
	slices.SortFunc(numbers, func(a, b int32) int { return cmp.Or(cmp.Compare(key(a), key(b)), x.ids[a].Compare(x.ids[b])) })
	got := map[string][]*cohort.Rows{"scattered": load(t, p, func(p Pass) (Source, error) {
		return Scatter(t.Context(), p, tmp, memory, func(int64) { *spills++ })
	})}
	if column == dob { // as every cohort is written
		got["in order"] = load(t, p, func(p Pass) (Source, error) { return InOrder(p), nil })
	}
	for name, parts := range got {
		at := 0
		for i, part := range p.Parts {
			size := int(part.To[0] - part.From[0])
			if want := x.slowRows(numbers[at:at+size], column); !same(parts[i], want) {
				t.Fatalf("%s: part %d of %d is not rows %d to %d of the sort", name, i, len(parts), at, at+size)
			}
			at += size
		}
		if at != len(numbers) {
			t.Fatalf("%s: %d records in all parts, want %d", name, at, len(numbers))
		}
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Fatalf("%v is left behind, %v", left, err)
	}
}

// TestSomeParts: of a pass of which some parts are wanted, or a part of its one
// block, no more is loaded.
func TestSomeParts(t *testing.T) {
	x := newTable(t, t.TempDir(), 200, .2)
	for column, cut := range map[int]func([]block.Part) []block.Part{
		area: func(parts []block.Part) []block.Part { return parts[:2] },
		all: func(parts []block.Part) []block.Part {
			return []block.Part{{From: []int32{0, 0}, To: []int32{17, 5}, Last: parts[0].Last}}
		},
	} {
		p := x.pass(t, column, 20, x)
		whole := len(p.Parts)
		p.Parts = cut(p.Parts)
		for i, rows := range load(t, p, func(p Pass) (Source, error) { return Scatter(t.Context(), p, "", 0, func(int64) {}) }) {
			if want := int(p.Parts[i].To[0] - p.Parts[i].From[0]); rows.Len() != want || want == 0 {
				t.Errorf("column %d: part %d of %d has %d records, want %d", column, i, whole, rows.Len(), want)
			}
		}
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	x := newTable(t, t.TempDir(), 30, .2)
	p := x.pass(t, area, 10, x)
	_, err := Scatter(t.Context(), p, filepath.Join(t.TempDir(), "missing"), 0, func(int64) {})
	if fault.KindOf(err) != fault.Internal || !strings.Contains(fmt.Sprint(err), "--tmp-dir") {
		t.Errorf("got %v", err)
	}
	if _, err := Scatter(t.Context(), p, "", 1<<30, func(int64) { t.Error("disk was used") }); err != nil {
		t.Errorf("what fits needs no folder: %v", err)
	}
	var none *os.PathError
	if !errors.As(err, &none) {
		t.Errorf("the cause is lost: %v", err)
	}
}
