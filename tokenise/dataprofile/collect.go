// Package dataprofile says how fit a table is for linkage before anything is
// encoded: what is there, what is valid, what is duplicated, which rows could
// be linked by what. It counts and never repeats a value; small counts are
// suppressed, so that the profile may be shown to people who may not see the
// table.
package dataprofile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"tarn/keys/nhsnumber"
	"tarn/tokenise/demographics"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// Schema is the schema member of a data profile.
const Schema = "tarn.data-profile/1"

// SuppressedBelow is the smallest count that is shown.
const SuppressedBelow = 10

// Document is a data profile. Counts that are suppressed are nil.
type Document struct {
	Schema          string     `json:"schema"`
	Software        string     `json:"software"`
	Created         string     `json:"created"`
	Input           Input      `json:"input"`
	Columns         []Column   `json:"columns"`
	Fields          []Field    `json:"fields"`
	Duplicates      Duplicates `json:"duplicates"`
	Linkable        Linkable   `json:"linkable"`
	Advice          []Advice   `json:"advice"`
	MapDigest       string     `json:"map_digest"`
	SuppressedBelow int        `json:"suppressed_below"`
}

// Input is the table.
type Input struct {
	Format    string  `json:"format"`
	Rows      int64   `json:"rows"`
	Refused   *int64  `json:"refused"` // rows that cannot be read
	Bytes     int64   `json:"bytes"`
	Delimiter *string `json:"delimiter"`
	Encoding  *string `json:"encoding"`
	Header    bool    `json:"header"`
}

// Column is one column of the table and what it was taken for.
type Column struct {
	Column         string  `json:"column"`
	Field          *string `json:"field"`
	Confidence     *string `json:"confidence"`
	Reason         *string `json:"reason"`
	Used           bool    `json:"used"`
	RefusedBecause *string `json:"refused_because"`
}

// Field is one canonical field.
type Field struct {
	Field         string            `json:"field"`
	Present       *int64            `json:"present"` // something is given
	Valid         *int64            `json:"valid"`   // of these, usable
	Missing       *int64            `json:"missing"`
	Codes         map[string]*int64 `json:"codes"`
	DistinctRatio *float64          `json:"distinct_ratio"` // of the usable values; nil where too many to count
	DefaultValues *int64            `json:"default_values"` // dates that stand for "not known", pseudo-postcodes
	present       int64
	valid         int64
}

// Duplicates counts rows that repeat an earlier one.
type Duplicates struct {
	ExactRows     *int64 `json:"exact_rows"`
	NHSNumberRows *int64 `json:"nhs_number_rows"`
}

// Linkable counts rows by what they could be linked on.
type Linkable struct {
	ByToken        *int64 `json:"by_token"`
	ByDemographics *int64 `json:"by_demographics"` // a date of birth and a name
	Neither        *int64 `json:"neither"`
}

// Advice is one thing to do, most useful first.
type Advice struct {
	Field string `json:"field"`
	Text  string `json:"text"`
}

// distinctLimit bounds the values that are remembered, as 64-bit hashes under
// a key that lives as long as the process.
const distinctLimit = 1 << 20

// distinct counts different values.
type distinct struct {
	seen map[uint64]struct{}
	over bool
	rows int64 // values that were seen before
}

func newDistinct() *distinct { return &distinct{seen: map[uint64]struct{}{}} }

func (d *distinct) add(hash uint64) {
	if d.over {
		return
	}
	if _, ok := d.seen[hash]; ok {
		d.rows++
		return
	}
	if len(d.seen) == distinctLimit {
		d.over, d.seen = true, nil
		return
	}
	d.seen[hash] = struct{}{}
}

// collector gathers the counts of one table.
type collector struct {
	seed      maphash.Seed
	today     demographics.Date
	positions map[string]int
	fields    []string
	counts    map[string]*Field
	codes     map[string]map[reason.Code]int64
	distinct  map[string]*distinct
	rows      *distinct
	refused   int64
	total     int64
	byToken   int64
	byDemo    int64
	neither   int64
}

// Collect reads the table to its end and returns its profile, without
// software and created. today is the latest date of birth that is valid.
func Collect(ctx context.Context, r source.Reader, m *source.Mapping, today demographics.Date, progress func(done, total int64)) (*Document, error) {
	positions, err := m.Resolve(r.Header())
	if err != nil {
		return nil, err
	}
	c := &collector{seed: maphash.MakeSeed(), today: today, positions: positions, counts: map[string]*Field{}, codes: map[string]map[reason.Code]int64{}, distinct: map[string]*distinct{}, rows: newDistinct()}
	for field := range positions {
		if field != source.UniqueIDField {
			c.fields = append(c.fields, field)
			c.counts[field], c.codes[field], c.distinct[field] = &Field{Field: field}, map[reason.Code]int64{}, newDistinct()
		}
	}
	slices.Sort(c.fields)
	var batch source.Batch
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := r.Read(&batch)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		for i := range batch.Rows {
			c.row(&batch.Rows[i])
		}
		if progress != nil {
			progress(r.Position())
		}
	}
	return c.document(r, m), nil
}

func (c *collector) row(row *source.Row) {
	c.total++
	if row.Problem != "" {
		c.refused++
		return
	}
	var whole maphash.Hash
	whole.SetSeed(c.seed)
	for _, value := range row.Values {
		_, _ = whole.WriteString(value) // never fails
		_ = whole.WriteByte(0)
	}
	c.rows.add(whole.Sum64())
	usable := map[string]bool{}
	for _, field := range c.fields {
		usable[field] = c.value(field, row.Values[c.positions[field]])
	}
	token := usable["nhs_number"]
	demographic := usable["date_of_birth"] && (usable["given_name"] || usable["family_name"])
	if token {
		c.byToken++
	}
	if demographic {
		c.byDemo++
	}
	if !token && !demographic {
		c.neither++
	}
}

// value judges one field of one row and reports whether it can be used.
func (c *collector) value(field, raw string) bool {
	normal, code, given := c.judge(field, raw)
	f := c.counts[field]
	if given {
		f.present++
	}
	if code != "" {
		c.codes[field][code]++
	}
	if normal == "" {
		return false
	}
	f.valid++
	c.distinct[field].add(maphash.String(c.seed, normal))
	return true
}

// judge returns the normalised value, empty where it cannot be used, what is
// to be said of it, and whether anything was given.
func (c *collector) judge(field, raw string) (normal string, code reason.Code, given bool) {
	switch field {
	case "nhs_number":
		n, state, problem := nhsnumber.Parse(raw)
		if n != (nhsnumber.Number{}) {
			normal = string(n[:])
		}
		return normal, reason.Code(problem.String()), state != nhsnumber.Absent
	case "date_of_birth":
		d, code := demographics.ParseDate(raw, c.today)
		if !d.IsZero() {
			normal = d.String()
		}
		return normal, code, normal != "" || code != ""
	case "postcode":
		normal, code = demographics.Postcode(raw)
		return normal, code, normal != "" || code != ""
	case "sex":
		letter, code := demographics.Sex(raw)
		if letter != 0 {
			normal = string(letter)
		}
		return normal, code, normal != "" || code != ""
	case "given_name", "other_given_names", "family_name", "previous_family_name":
		parts, code := demographics.Name(raw)
		return strings.Join(parts, " "), code, len(parts) > 0 || code != ""
	}
	normal = demographics.Code(raw)
	return normal, "", normal != ""
}

func shown(n int64) *int64 {
	if n > 0 && n < SuppressedBelow {
		return nil
	}
	return &n
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (c *collector) document(r source.Reader, m *source.Mapping) *Document {
	in := r.Input()
	d := &Document{Schema: Schema, MapDigest: m.Digest(), SuppressedBelow: SuppressedBelow, Columns: []Column{}, Fields: []Field{}, Advice: []Advice{},
		Input:    Input{Format: in.Format, Rows: c.total, Refused: shown(c.refused), Bytes: in.Bytes, Delimiter: text(in.Delimiter), Encoding: text(in.Encoding), Header: in.HasHeader},
		Linkable: Linkable{ByToken: shown(c.byToken), ByDemographics: shown(c.byDemo), Neither: shown(c.neither)}}
	for _, f := range m.Columns {
		d.Columns = append(d.Columns, Column{Column: f.Column, Field: text(f.Field), Confidence: text(f.Confidence), Reason: text(f.Reason), Used: f.Used, RefusedBecause: text(f.RefusedBecause)})
	}
	readable := c.total - c.refused
	for _, name := range c.fields {
		f := c.counts[name]
		f.Present, f.Valid, f.Missing = shown(f.present), shown(f.valid), shown(readable-f.present)
		f.Codes = map[string]*int64{}
		for code, n := range c.codes[name] {
			f.Codes[string(code)] = shown(n)
		}
		if values := c.distinct[name]; !values.over && f.valid >= SuppressedBelow {
			ratio := float64(len(values.seen)) / float64(f.valid)
			f.DistinctRatio = &ratio
		}
		f.DefaultValues = shown(c.codes[name][reason.DateOfBirthDefault] + c.codes[name][reason.PostcodePseudo])
		d.Fields = append(d.Fields, *f)
	}
	if !c.rows.over {
		d.Duplicates.ExactRows = shown(c.rows.rows)
	}
	if n := c.distinct["nhs_number"]; n != nil && !n.over {
		d.Duplicates.NHSNumberRows = shown(n.rows)
	}
	d.Advice = c.advice(readable)
	return d
}

// advice names fields by the number of rows that would gain, most first.
func (c *collector) advice(rows int64) []Advice {
	type gain struct {
		Advice
		rows int64
	}
	var gains []gain
	add := func(field string, n int64, format string) {
		if n >= SuppressedBelow && rows > 0 {
			gains = append(gains, gain{Advice{field, fmt.Sprintf(format, 100*float64(n)/float64(rows))}, n})
		}
	}
	for _, name := range c.fields {
		f := c.counts[name]
		add(name, f.present-f.valid, "%.1f%% of rows have a value that cannot be used: see the codes")
		if slices.Contains([]string{"nhs_number", "date_of_birth", "given_name", "family_name"}, name) {
			add(name, rows-f.present, "%.1f%% of rows have no value; without it a row links less well or not at all")
		}
	}
	for _, needed := range []string{"nhs_number", "date_of_birth", "given_name", "family_name", "postcode", "sex"} {
		if _, ok := c.counts[needed]; !ok {
			gains = append(gains, gain{Advice{needed, "no column holds it: map one if there is one"}, rows + 1})
		}
	}
	slices.SortStableFunc(gains, func(a, b gain) int { return cmp.Compare(b.rows, a.rows) })
	advice := []Advice{}
	for _, g := range gains {
		advice = append(advice, g.Advice)
	}
	return advice
}
