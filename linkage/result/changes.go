package result

import (
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
