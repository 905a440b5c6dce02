package linkage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tarn/keys"
	"tarn/linkage/cohort"
	"tarn/linkage/resolve"
)

// Cohorts for tests, written with package cohort: people are drawn, not
// encoded, since a linker sees no more of them than filters and tags.

var testFields = cohort.Comparison{Fields: []cohort.FieldComparison{
	{Name: "given_name", Column: "bf_given_name", Measure: cohort.MeasureEqualBits, Levels: []float64{.6, .8}, M: []float64{.03, .02, .05, .9}, U: []float64{.93, .02, .02, .03}, Twin: cohort.TwinDiffers, Confirms: true},
	{Name: "family_name", Column: "bf_family_name", Measure: cohort.MeasureDice, Levels: []float64{.6, .8}, M: []float64{.03, .02, .05, .9}, U: []float64{.95, .02, .01, .02}, Twin: cohort.TwinAgrees, Confirms: true},
	{Name: "postcode", Column: "bf_postcode", Measure: cohort.MeasureEqualBits, Levels: []float64{.7}, M: []float64{.1, .05, .85}, U: []float64{.96, .02, .02}, Twin: cohort.TwinAgrees},
	{Name: "sex", Column: "tag_sex", Measure: cohort.MeasureEqual, M: []float64{.01, .99}, U: []float64{.5, .5}, Twin: cohort.TwinDiffers},
}}

// testLayout has no tag by which filters would be keyed where dated is false.
func testLayout(dated bool) cohort.Layout {
	l := cohort.Layout{Blocks: []string{cohort.BlockDateOfBirth, "blk_area"}, Tags: []string{"tag_sex"},
		Filters: []cohort.FilterColumn{{Name: "bf_given_name", Bytes: 64}, {Name: "bf_family_name", Bytes: 64}, {Name: "bf_postcode", Bytes: 32}}}
	if !dated {
		l.Blocks = nil
	}
	return l
}

// side is a cohort as it was written: rows in file order.
type side struct {
	name, path string
	rows       []cohort.Row
	epoch      uint32 // of its tokens, less one
}

// comparable reports whether tokens of two sides may be compared.
func comparable(a, b *side) bool { return a.epoch == b.epoch }

// of makes the side one of this token epoch, with the tokens that it has.
func (s *side) of(t testing.TB, epoch uint32) *side {
	t.Helper()
	s.epoch = epoch - 1
	s.write(t, testLayout(len(s.rows[0].Blocks) > 0), testFields)
	return s
}

// rotated writes the side into another folder as it is once its tokens were
// brought to an epoch: other tokens, equal where they were equal, and all else the
// same.
func (s *side) rotated(t testing.TB, dir string, epoch uint32) *side {
	t.Helper()
	r := &side{name: s.name, path: filepath.Join(dir, s.name+".parquet"), rows: slices.Clone(s.rows)}
	for i := range r.rows {
		if r.rows[i].HasToken {
			r.rows[i].Token = sha256.Sum256(fmt.Appendf(r.rows[i].Token[:], "epoch %d", epoch))
		}
	}
	return r.of(t, epoch)
}

// crowd draws people and their records.
type crowd struct {
	*rand.Rand
	dated  bool
	people []cohort.Row
}

func newCrowd(seed uint64, people int, dated bool) *crowd {
	c := &crowd{Rand: rand.New(rand.NewPCG(seed, 1)), dated: dated}
	for range people {
		c.people = append(c.people, c.person())
	}
	return c
}

// word is an encoding of word n of a kind: always the same.
func word(kind string, n, size int) (filter []byte) {
	for i := 0; len(filter) < size; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", kind, n, i))
		filter = append(filter, sum[:]...)
	}
	return filter[:size]
}

func tag(n int) cohort.Tag {
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(n)))
	return cohort.Tag{Value: int64(binary.LittleEndian.Uint64(sum[:])), Present: true}
}

func (c *crowd) person() cohort.Row {
	area := c.IntN(40)
	p := cohort.Row{NHSNumberState: "valid", HasToken: true, Filters: [][]byte{word("given", c.IntN(40), 64), word("family", c.IntN(60), 64), word("postcode", area, 32)}, Tags: []cohort.Tag{tag(c.IntN(2))}}
	for i := range p.Token {
		p.Token[i] = byte(c.Uint32())
	}
	if c.dated {
		p.Blocks = []cohort.Tag{tag(100 + c.IntN(60)), tag(1000 + area%20)}
	}
	return p
}

// record is a person's record, as a party may have it.
func (c *crowd) record(p cohort.Row) cohort.Row {
	p.Blocks, p.Filters, p.Tags = slices.Clone(p.Blocks), slices.Clone(p.Filters), slices.Clone(p.Tags)
	for i := range p.UniqueID {
		p.UniqueID[i] = byte(c.Uint32())
	}
	other := c.person()
	for f := range p.Filters {
		switch x := c.Float64(); {
		case x < .03:
			p.Filters[f] = other.Filters[f]
		case x < .08: // a letter
			p.Filters[f] = bytes.Clone(p.Filters[f])
			for range 30 {
				p.Filters[f][c.IntN(len(p.Filters[f]))] ^= 1 << c.IntN(8)
			}
		case x < .10:
			p.Filters[f] = nil
		}
	}
	for _, tags := range [][]cohort.Tag{p.Blocks, p.Tags} {
		for k := range tags {
			if x := c.Float64(); x < .02 {
				tags[k] = cohort.Tag{}
			} else if x < .04 {
				tags[k] = tag(100 + c.IntN(60))
			}
		}
	}
	switch x := c.Float64(); {
	case x < .3:
		p.HasToken, p.Token, p.NHSNumberState = false, [cohort.TokenBytes]byte{}, "absent"
	case x < .32: // somebody else's
		p.Token = c.people[c.IntN(len(c.people))].Token
	}
	return p
}

// party writes a cohort of records of these people.
func (c *crowd) party(t testing.TB, dir, name string, people ...cohort.Row) *side {
	t.Helper()
	s := &side{name: name, path: filepath.Join(dir, name+".parquet")}
	for _, p := range people {
		s.rows = append(s.rows, c.record(p))
	}
	s.write(t, testLayout(c.dated), testFields)
	return s
}

func (s *side) write(t testing.TB, layout cohort.Layout, comparison cohort.Comparison) {
	t.Helper()
	slices.SortFunc(s.rows, func(a, b cohort.Row) int { return layout.Compare(&a, &b) })
	var ids []cohort.ID
	for i := range s.rows {
		ids = append(ids, s.rows[i].UniqueID)
	}
	slices.SortFunc(ids, cohort.ID.Compare)
	kcv := fmt.Sprintf("%032d", s.epoch)
	identity := cohort.Identity{Schema: cohort.Schema, Project: "test", TokenScheme: keys.SchemeOblivious, TokenDomain: "lake", TokenEpoch: s.epoch + 1, TokenKCV: &kcv, SourceDataset: s.name, RowsDigest: cohort.RowsDigest(ids)}
	w, err := cohort.Create(s.path, layout, identity, "test")
	must(t, err)
	for i := range s.rows {
		must(t, w.Append(&s.rows[i]))
	}
	_, err = w.Commit()
	must(t, err)
	id, err := identity.CohortID()
	must(t, err)
	must(t, cohort.WriteManifest(cohort.ManifestPath(s.path), &cohort.Manifest{CohortID: id, Identity: identity, Expires: "2100-01-01T00:00:00Z", Comparison: comparison, Rows: int64(len(s.rows))}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair returns two cohorts that share most of their people.
func pair(t testing.TB, seed uint64, dated bool) []*side {
	t.Helper()
	c, dir := newCrowd(seed, 310, dated), t.TempDir()
	return []*side{c.party(t, dir, "north", c.people[:230]...), c.party(t, dir, "south", c.people[80:]...)}
}

// options are those of a job over some cohorts.
func options(t testing.TB, sides ...*side) Options {
	t.Helper()
	clock := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	o := Options{Out: t.TempDir(), State: t.TempDir(), TmpDir: t.TempDir(), MinPrecision: .99, Keep: .01, OneToOne: resolve.Mutual, Blocking: BlockAuto,
		Threads: 2, Memory: 1 << 30, Software: "test", Clock: clock, Wall: clock, Random: rand.NewChaCha8([32]byte{7})}
	for _, s := range sides {
		o.Inputs = append(o.Inputs, s.path)
	}
	o.Dedupe = len(sides) == 1
	return o
}

// done does a whole job.
func done(t testing.TB, o Options) *job {
	t.Helper()
	j := newJob(o)
	t.Cleanup(j.close)
	_, err := j.do(t.Context())
	must(t, err)
	return j
}
