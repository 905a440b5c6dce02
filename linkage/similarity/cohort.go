package similarity

import (
	"context"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
)

// RecordColumn is the column of a cohort that holds filters of whole records.
const RecordColumn = cohort.FilterPrefix + "record"

// pieceRows is how many rows of a cohort are read between two looks whether to
// go on.
const pieceRows = 16 << 10

// ReadCohort reads the record filters of a cohort, and the digest of its rows.
// A record without a filter gets one without a bit. most bounds the bytes of the
// filters.
func ReadCohort(ctx context.Context, f *cohort.File, most int64) (s *Set, digest string, err error) {
	doing := "reading the cohort " + f.Path
	width := f.FilterWidth(RecordColumn)
	if width < 0 {
		return nil, "", fault.New(fault.Usage, doing, "it has no column "+RecordColumn,
			"leave out --method, which links cohorts of field filters, or encode with a profile of record filters")
	}
	if int64(f.Rows())*int64(max(width, 8)) > most {
		return nil, "", fault.New(fault.Usage, doing, "its filters do not fit into the memory that may be used", "allow more with --memory")
	}
	s = &Set{Name: f.SourceDataset(), Digest: f.Manifest.CohortID, Words: max(width/8, 1), Bytes: width, rows: f.Rows()}
	if s.ids, err = f.ReadIDs(ctx); err != nil {
		return nil, "", err
	}
	if digest, err = f.CheckIDs(s.ids); err != nil {
		return nil, "", err
	}
	s.Bits = make([]uint64, s.rows*s.Words)
	if width > 0 { // else no record has a filter
		stream := f.Stream(f.Shape(cohort.Comparison{Fields: []cohort.FieldComparison{{Column: RecordColumn, Measure: cohort.MeasureDice}}}), false)
		var piece cohort.Rows
		for from := 0; from < s.rows; from += pieceRows {
			if err := ctx.Err(); err != nil {
				return nil, "", err
			}
			if err := stream.Read(&piece, min(pieceRows, s.rows-from)); err != nil {
				return nil, "", err
			}
			copy(s.Bits[from*s.Words:], piece.Filters)
		}
	}
	s.count()
	return s, digest, nil
}
