// Package cohorttest reads whole cohorts into memory, for tests.
package cohorttest

import (
	"context"
	"encoding/binary"

	"tarn/linkage/cohort"
)

// Rows reads every record of the cohort at path, in file order, without the
// states of NHS numbers, and what the linker would remark on the cohort.
func Rows(ctx context.Context, path string) ([]cohort.Row, []cohort.Note, error) {
	f, err := cohort.Open(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	ids, err := f.ReadIDs(ctx)
	if err != nil {
		return nil, nil, err
	}
	digest, err := f.CheckIDs(ids)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := f.ReadWholeTokens(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows := make([]cohort.Row, f.Rows())
	for i := range rows {
		rows[i].UniqueID = ids[i]
		if tokens[i] != nil {
			rows[i].Token, rows[i].HasToken = *tokens[i], true
		}
	}
	for _, name := range f.Layout.Blocks {
		if err := addTags(ctx, f, name, rows, func(r *cohort.Row, t cohort.Tag) { r.Blocks = append(r.Blocks, t) }); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range f.Layout.Tags {
		if err := addTags(ctx, f, name, rows, func(r *cohort.Row, t cohort.Tag) { r.Tags = append(r.Tags, t) }); err != nil {
			return nil, nil, err
		}
	}
	return rows, f.Notes(digest), addFilters(f, rows)
}

func addTags(ctx context.Context, f *cohort.File, name string, rows []cohort.Row, add func(*cohort.Row, cohort.Tag)) error {
	tags, err := f.ReadTags(ctx, name, false)
	if err != nil {
		return err
	}
	for i := range rows {
		add(&rows[i], cohort.Tag{Value: tags.Value[i], Present: tags.Present[i]})
	}
	return nil
}

func addFilters(f *cohort.File, rows []cohort.Row) error {
	var c cohort.Comparison
	for _, column := range f.Layout.Filters {
		if column.Bytes == 0 {
			f.SetFilterWidth(column.Name, 8) // no record has one
		}
		c.Fields = append(c.Fields, cohort.FieldComparison{Name: column.Name, Column: column.Name, Measure: cohort.MeasureEqualBits})
	}
	shape, all := f.Shape(c), new(cohort.Rows)
	if err := f.Stream(shape, false).Read(all, len(rows)); err != nil {
		return err
	}
	for i := range rows {
		at := i * shape.RowWords()
		for k, words := range shape.Words {
			var filter []byte
			if all.Present[i]>>k&1 == 1 {
				for _, word := range all.Filters[at : at+words] {
					filter = binary.LittleEndian.AppendUint64(filter, word)
				}
			}
			rows[i].Filters = append(rows[i].Filters, filter)
			at += words
		}
	}
	return nil
}
