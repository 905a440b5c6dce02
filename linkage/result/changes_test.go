package result

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"tarn/linkage/cohort/table"
)

// TestChangesAreTables: what became of ids is text in four columns, and a job
// that changed nothing has a table without rows.
func TestChangesAreTables(t *testing.T) {
	for _, changes := range [][]Change{nil, {{"a", "b", ChangeMerged}, {"a", "c", ChangeSplit}, {"d", "b", ChangeMerged}}} {
		path := filepath.Join(t.TempDir(), ChangesFile)
		if _, err := WriteChanges(path, "0123456789abcdef", "test", changes); err != nil {
			t.Fatal(err)
		}
		r, err := table.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }() // opened for reading
		var read []Change
		columns := []string{"cluster_id_before", "cluster_id_after", "kind", "run_id"}
		err = r.Scan(t.Context(), columns, func(batch arrow.RecordBatch) error {
			for i := range int(batch.NumRows()) {
				var row [4]string
				for k := range row {
					text, err := table.Strings(batch.Column(k), columns[k])
					if err != nil {
						return err
					}
					value, _ := text(i)
					row[k] = strings.Clone(value)
				}
				if row[3] != "0123456789abcdef" {
					t.Errorf("run_id is %q", row[3])
				}
				read = append(read, Change{row[0], row[1], row[2]})
			}
			return nil
		})
		if err != nil || !reflect.DeepEqual(read, changes) {
			t.Errorf("read %v, written %v, %v", read, changes, err)
		}
	}
}
