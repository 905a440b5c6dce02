package cohort

import (
	"encoding/hex"
	"errors"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/linkage/cohort/table"
)

// Writer writes the Parquet file of a cohort. Rows come in the order of
// [Layout.Compare].
type Writer struct {
	layout   Layout
	identity Identity
	software string
	table    *table.Writer
	last     Row
	any      bool
}

// ErrOrder says that a row was written out of order, which is a programming
// error of the caller.
var ErrOrder = errors.New("cohort: rows are not in the order of the format")

var errState = errors.New("cohort: the state of an NHS number is none of the format's")

// Create begins the cohort file at path. identity is complete: its RowsDigest
// is known before the first row is written.
func Create(path string, layout Layout, identity Identity, software string) (*Writer, error) {
	id, err := identity.CohortID()
	if err != nil {
		return nil, err
	}
	t, err := table.Create(path, layout.schema(identity.SourceDataset, id), software)
	if err != nil {
		return nil, err
	}
	return &Writer{layout: layout, identity: identity, software: software, table: t}, nil
}

// Append writes one row.
func (w *Writer) Append(row *Row) error {
	if w.any && w.layout.Compare(&w.last, row) >= 0 {
		return ErrOrder
	}
	state := slices.Index(nhsNumberStates, row.NHSNumberState)
	if state < 0 {
		return errState
	}
	w.last.UniqueID = row.UniqueID
	w.last.Blocks = append(w.last.Blocks[:0], row.Blocks...)
	w.any = true

	b := w.table.Builder()
	var id [32]byte
	hex.Encode(id[:], row.UniqueID[:])
	b.Field(0).(*array.StringBuilder).BinaryBuilder.Append(id[:])
	if row.HasToken {
		b.Field(1).(*array.FixedSizeBinaryBuilder).Append(row.Token[:])
	} else {
		b.Field(1).AppendNull()
	}
	b.Field(2).(*array.Int8Builder).Append(int8(state))
	at := 3
	at = appendTags(b, at, row.Blocks)
	for _, filter := range row.Filters {
		if filter == nil {
			b.Field(at).AppendNull()
		} else {
			b.Field(at).(*array.FixedSizeBinaryBuilder).Append(filter)
		}
		at++
	}
	appendTags(b, at, row.Tags)
	return w.table.EndRow()
}

func appendTags(b *array.RecordBuilder, at int, tags []Tag) int {
	for _, tag := range tags {
		if tag.Present {
			b.Field(at).(*array.Int64Builder).Append(tag.Value)
		} else {
			b.Field(at).AppendNull()
		}
		at++
	}
	return at
}

// Finish ends the file, not yet under its name: see [table.Writer.Finish].
func (w *Writer) Finish() (table.File, error) { return w.table.Finish(w.metadata()...) }

// Commit ends the file, where Finish has not, and puts it under its name.
func (w *Writer) Commit() (table.File, error) { return w.table.Commit(w.metadata()...) }

func (w *Writer) metadata() []table.KeyValue {
	return append(w.identity.metadata(), table.KeyValue{Key: "tarn.software", Value: w.software})
}

// Abort removes what was written; after Commit it does nothing.
func (w *Writer) Abort() { w.table.Abort() }
