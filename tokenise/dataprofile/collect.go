package dataprofile

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"tarn/keys/nhsnumber"
	"tarn/tokenise/demographics"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// distinctLimit bounds the values that are remembered, as 64-bit hashes under
// a key that lives as long as the process.
const distinctLimit = 1 << 20

// distinct counts values that were there before.
type distinct struct {
	seen  map[uint64]struct{}
	over  bool
	again int64
}

func newDistinct() *distinct { return &distinct{seen: map[uint64]struct{}{}} }

func (d *distinct) add(hash uint64) {
	if d.over {
		return
	}
	if _, ok := d.seen[hash]; ok {
		d.again++
		return
	}
	if len(d.seen) == distinctLimit {
		d.over, d.seen = true, nil
		return
	}
	d.seen[hash] = struct{}{}
}

// repeats returns how many values repeated an earlier one, nil where there
// were too many to remember.
func (d *distinct) repeats() *int64 {
	if d.over {
		return nil
	}
	return &d.again
}

// column gathers the counts of one field.
type column struct {
	field          string
	at             int
	missing, valid int64
	codes          map[reason.Code]int64
	values         *distinct
	usable         bool // in the row that is being read
}

// collector gathers the counts of one table.
type collector struct {
	seed    maphash.Seed
	today   demographics.Date
	columns []*column
	by      map[string]*column
	rows    *distinct
	counts  counts
}

func newCollector(positions map[string]int, today demographics.Date) *collector {
	c := &collector{seed: maphash.MakeSeed(), today: today, by: map[string]*column{}, rows: newDistinct()}
	for field, at := range positions {
		c.by[field] = &column{field: field, at: at, codes: map[reason.Code]int64{}, values: newDistinct()}
		c.columns = append(c.columns, c.by[field])
	}
	slices.SortFunc(c.columns, func(a, b *column) int { return strings.Compare(a.field, b.field) })
	return c
}

// Collect reads the table to its end and returns its profile, without
// software and created. today is the latest date of birth that is valid.
func Collect(ctx context.Context, r source.Reader, m *source.Mapping, today demographics.Date, progress func(done, total int64)) (*Document, error) {
	positions, err := m.Resolve(r.Header())
	if err != nil {
		return nil, err
	}
	c := newCollector(positions, today)
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
	d := c.result().published(SuppressedBelow)
	d.describe(r.Input(), m)
	d.Advice = d.advice(m.UniqueID)
	return d, nil
}

func (c *collector) row(row *source.Row) {
	c.counts.rows++
	if row.Problem != "" {
		c.counts.refused++
		return
	}
	var whole maphash.Hash
	whole.SetSeed(c.seed)
	for _, value := range row.Values {
		_, _ = whole.WriteString(value) // never fails
		_ = whole.WriteByte(0)
	}
	c.rows.add(whole.Sum64())
	for _, column := range c.columns {
		c.value(column, row.Values[column.at])
	}
	demographic := c.usable("date_of_birth") && (c.usable("given_name") || c.usable("family_name"))
	if demographic {
		c.counts.byDemographics++
	}
	if !demographic && !c.usable("nhs_number") {
		c.counts.neither++
	}
}

func (c *collector) usable(field string) bool {
	column, ok := c.by[field]
	return ok && column.usable
}

// value judges one field of one row.
func (c *collector) value(column *column, raw string) {
	normal, code := c.judge(column.field, raw)
	column.usable = normal != ""
	if code != "" {
		column.codes[code]++
	}
	if column.usable {
		column.valid++
		column.values.add(maphash.String(c.seed, normal))
	} else if code == "" {
		column.missing++
	}
}

// judge returns the normalised value, empty where it cannot be used, and what
// is to be said of it. Neither means that nothing is given.
func (c *collector) judge(field, raw string) (normal string, code reason.Code) {
	switch field {
	case "nhs_number":
		n, state, problem := nhsnumber.Parse(raw)
		if state.Identifies(false) {
			normal = string(n[:])
		}
		return normal, reason.Code(problem.String())
	case "date_of_birth":
		d, code := demographics.ParseDate(raw, c.today)
		if !d.IsZero() {
			normal = d.String()
		}
		return normal, code
	case "postcode":
		return demographics.Postcode(raw)
	case "sex":
		letter, code := demographics.Sex(raw)
		if letter != 0 {
			normal = string(letter)
		}
		return normal, code
	case "given_name", "other_given_names", "family_name", "previous_family_name":
		parts, code := demographics.Name(raw)
		return strings.Join(parts, " "), code
	case source.UniqueIDField:
		return raw, ""
	}
	return demographics.Code(raw), ""
}

func (c *collector) result() *counts {
	c.counts.exactRows = c.rows.repeats()
	for _, column := range c.columns {
		f := fieldCounts{name: column.field, missing: column.missing, plain: column.valid, repeats: column.values.repeats()}
		usable, useless := codesOf(column.field)
		for _, code := range usable {
			f.usable = append(f.usable, coded{code, column.codes[code]})
			f.plain -= column.codes[code]
		}
		for _, code := range useless {
			f.useless = append(f.useless, coded{code, column.codes[code]})
		}
		c.counts.fields = append(c.counts.fields, f)
	}
	return &c.counts
}

// describe adds what is said of the file and its columns.
func (d *Document) describe(in source.Input, m *source.Mapping) {
	d.MapDigest = m.Digest()
	d.Input.Format, d.Input.Header, d.Input.Delimiter, d.Input.Encoding = in.Format, in.HasHeader, text(in.Delimiter), text(in.Encoding)
	if in.Bytes > 0 {
		d.Input.Bytes = &in.Bytes
	}
	for _, f := range m.Columns {
		d.Columns = append(d.Columns, Column{Column: f.Column, Field: text(f.Field), Confidence: text(f.Confidence), Reason: text(f.Reason), Used: f.Used, RefusedBecause: text(f.RefusedBecause)})
	}
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
