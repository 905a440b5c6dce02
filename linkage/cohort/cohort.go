// Package cohort is the exchange format between a tokeniser and a linker: a
// Parquet file (or a folder of parts) of encoded records and a manifest that
// says how they were made. It is the only package that both sides share; it
// holds no key, no identifier and no encoding.
//
// A cohort's cells and row order are the same for the same input, project and
// epoch, on any machine and core count.
package cohort

import (
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"tarn/linkage/cohort/table"
)

// Names of the columns that every cohort has.
const (
	ColumnUniqueID       = "unique_id"
	ColumnSourceDataset  = "source_dataset"
	ColumnCohortID       = "cohort_id"
	ColumnToken          = "nhs_token"
	ColumnNHSNumberState = "nhs_number_state"
	BlockPrefix          = "blk_"
	FilterPrefix         = "bf_"
	TagPrefix            = "tag_"
)

// BlockDateOfBirth is the block column by which rows are sorted where it is
// there.
const BlockDateOfBirth = "blk_dob"

// TokenBytes is the width of nhs_token.
const TokenBytes = 32

// FilterColumn is one column of Bloom filters.
type FilterColumn struct {
	Name  string // bf_<field>
	Bytes int    // width of every filter
}

// Layout names the encoded columns of a cohort, in the profile's order.
type Layout struct {
	Blocks  []string // blk_<kind>
	Filters []FilterColumn
	Tags    []string // tag_<field>
}

// nhsNumberStates are the values of ColumnNHSNumberState.
var nhsNumberStates = []string{"valid", "absent", "invalid", "test", "chi", "hsc_ni"}

// schema returns the columns of a cohort of one party.
func (l Layout) schema(sourceDataset, cohortID string) *arrow.Schema {
	fields := []arrow.Field{
		table.ID(ColumnUniqueID),
		table.Constant(ColumnSourceDataset, sourceDataset),
		table.Constant(ColumnCohortID, cohortID),
		table.Fixed(ColumnToken, TokenBytes, true),
		table.OneOf(ColumnNHSNumberState, nhsNumberStates...),
	}
	for _, name := range l.Blocks {
		fields = append(fields, table.Int64(name, true))
	}
	for _, f := range l.Filters {
		fields = append(fields, table.Fixed(f.Name, f.Bytes, true))
	}
	for _, name := range l.Tags {
		fields = append(fields, table.Int64(name, true))
	}
	return arrow.NewSchema(fields, nil)
}

// sortBlock returns the index of the block column that orders the rows, or -1.
func (l Layout) sortBlock() int { return slices.Index(l.Blocks, BlockDateOfBirth) }

// Tag is a keyed 8-byte tag as a big-endian int64; the zero Tag is missing.
type Tag struct {
	Value   int64
	Present bool
}

// Row is one encoded record. Its slices align with the Layout; the writer
// copies what it keeps.
type Row struct {
	UniqueID       [16]byte // minted; written as 32 hex digits
	Token          [TokenBytes]byte
	HasToken       bool
	NHSNumberState string
	Blocks         []Tag
	Filters        [][]byte // nil is missing
	Tags           []Tag
}

// Compare orders rows as a cohort is sorted: by blk_dob as a signed integer,
// missing last, then by unique_id.
func (l Layout) Compare(a, b *Row) int {
	if i := l.sortBlock(); i >= 0 {
		switch x, y := a.Blocks[i], b.Blocks[i]; {
		case x.Present != y.Present:
			if x.Present {
				return -1
			}
			return 1
		case x.Value != y.Value:
			if x.Value < y.Value {
				return -1
			}
			return 1
		}
	}
	return slices.Compare(a.UniqueID[:], b.UniqueID[:])
}

// layoutOf reads a layout off a file's columns, in file order. A filter that
// a tool has widened to variable length has 0 bytes here, until its first value is seen. unknown are the
// columns that are not of the format.
func layoutOf(schema *arrow.Schema) (l Layout, unknown []string) {
	common := []string{ColumnUniqueID, ColumnSourceDataset, ColumnCohortID, ColumnToken, ColumnNHSNumberState}
	for _, f := range schema.Fields() {
		switch {
		case slices.Contains(common, f.Name):
		case strings.HasPrefix(f.Name, BlockPrefix):
			l.Blocks = append(l.Blocks, f.Name)
		case strings.HasPrefix(f.Name, TagPrefix):
			l.Tags = append(l.Tags, f.Name)
		case strings.HasPrefix(f.Name, FilterPrefix):
			column := FilterColumn{Name: f.Name}
			if t, ok := f.Type.(*arrow.FixedSizeBinaryType); ok {
				column.Bytes = t.ByteWidth
			}
			l.Filters = append(l.Filters, column)
		default:
			unknown = append(unknown, f.Name)
		}
	}
	return l, unknown
}
