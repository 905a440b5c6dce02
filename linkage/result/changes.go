package result

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/linkage/cohort/table"
)

// ChangesFile says what became of the cluster ids of the job before.
const ChangesFile = "changes.parquet"

// Kinds of change.
const (
	// ChangeMerged: the cluster is in one that keeps the id of another.
	ChangeMerged = "merged"
	// ChangeSplit: some records of the cluster left it, or left it where the rest was
	// merged.
	ChangeSplit = "split"
)

// Change is one row of changes.parquet: records of cluster Before are in After
// now. Where a cluster keeps its id, nothing is said of the records that stay.
type Change struct{ Before, After, Kind string }

// WriteChanges writes changes.parquet.
func WriteChanges(path, runID, software string, changes []Change) (table.File, error) {
	w, err := table.Create(path, arrow.NewSchema([]arrow.Field{
		table.ID("cluster_id_before"), table.ID("cluster_id_after"), table.OneOf("kind", ChangeMerged, ChangeSplit), table.Constant("run_id", runID)}, nil), software)
	if err != nil {
		return table.File{}, err
	}
	defer w.Abort()
	for _, c := range changes {
		b := w.Builder()
		b.Field(0).(*array.StringBuilder).Append(c.Before)
		b.Field(1).(*array.StringBuilder).Append(c.After)
		kind := int8(0)
		if c.Kind == ChangeSplit {
			kind = 1
		}
		b.Field(2).(*array.Int8Builder).Append(kind)
		if err := w.EndRow(); err != nil {
			return table.File{}, err
		}
	}
	return w.Commit()
}

// ScanChanges calls f with each row of changes.parquet.
func ScanChanges(ctx context.Context, path string, f func(Change) error) error {
	r, err := table.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // opened for reading
	columns := []string{"cluster_id_before", "cluster_id_after", "kind"}
	return r.Scan(ctx, columns, func(batch arrow.RecordBatch) error {
		var text [3]func(int) (string, bool)
		for i := range text {
			if text[i], err = table.Strings(batch.Column(i), columns[i]); err != nil {
				return err
			}
		}
		for row := range int(batch.NumRows()) {
			var values [3]string
			for i := range values {
				values[i], _ = text[i](row)
			}
			if err := f(Change{values[0], values[1], values[2]}); err != nil {
				return err
			}
		}
		return nil
	})
}
