package result

import (
	"context"
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
)

// Member is one row of clusters.parquet: one input record, singletons too.
type Member struct {
	ClusterID     string // at the job's threshold
	SourceDataset string
	UniqueID      string
	ClusterIDP90  string // at link_probability .90
	ClusterIDP95  string
	ClusterIDP99  string
	ClusterSize   int32
	Datasets      int32
	NHSToken      string // text form, with --with-tokens only; empty is missing
}

// WriteClusters writes clusters.parquet; rows gives the members in order.
func WriteClusters(path, runID, software string, withTokens bool, rows func(yield func(*Member) bool)) (table.File, error) {
	columns := []arrow.Field{
		table.ID("cluster_id"), table.String("source_dataset", false, true), table.ID("unique_id"),
		table.ID("cluster_id_p90"), table.ID("cluster_id_p95"), table.ID("cluster_id_p99"),
		table.Int32("cluster_size", false), table.Int32("n_datasets", false), table.Constant("run_id", runID),
	}
	if withTokens {
		columns = append(columns, table.String("nhs_token", true, false))
	}
	w, err := table.Create(path, arrow.NewSchema(columns, nil), software)
	if err != nil {
		return table.File{}, err
	}
	defer w.Abort()
	for m := range rows {
		b := w.Builder()
		for i, text := range []string{m.ClusterID, m.SourceDataset, m.UniqueID, m.ClusterIDP90, m.ClusterIDP95, m.ClusterIDP99} {
			b.Field(i).(*array.StringBuilder).Append(text)
		}
		b.Field(6).(*array.Int32Builder).Append(m.ClusterSize)
		b.Field(7).(*array.Int32Builder).Append(m.Datasets)
		if withTokens {
			if m.NHSToken == "" {
				b.Field(8).AppendNull()
			} else {
				b.Field(8).(*array.StringBuilder).Append(m.NHSToken)
			}
		}
		if err := w.EndRow(); err != nil {
			return table.File{}, err
		}
	}
	return w.Commit()
}

// ScanClusters calls f with each row of a clusters table, without its token. The
// Member is reused from call to call, and its texts are valid until the next.
func ScanClusters(ctx context.Context, path string, f func(*Member) error) error {
	r, err := table.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // opened for reading
	columns := []string{"cluster_id", "source_dataset", "unique_id", "cluster_id_p90", "cluster_id_p95", "cluster_id_p99", "cluster_size", "n_datasets"}
	return r.Scan(ctx, columns, func(batch arrow.RecordBatch) error {
		var m Member
		text := make([]func(int) (string, bool), 6)
		for i := range text {
			if text[i], err = table.Strings(batch.Column(i), columns[i]); err != nil {
				return err
			}
		}
		sizes, err := counts(batch.Column(6), columns[6])
		if err != nil {
			return err
		}
		datasets, err := counts(batch.Column(7), columns[7])
		if err != nil {
			return err
		}
		for row := range int(batch.NumRows()) {
			for i, to := range []*string{&m.ClusterID, &m.SourceDataset, &m.UniqueID, &m.ClusterIDP90, &m.ClusterIDP95, &m.ClusterIDP99} {
				*to, _ = text[i](row)
			}
			m.ClusterSize, m.Datasets = sizes(row), datasets(row)
			if err := f(&m); err != nil {
				return err
			}
		}
		return nil
	})
}

// counts reads a column of counts, 64 bits wide where a tool has rewritten it.
func counts(column arrow.Array, name string) (func(row int) int32, error) {
	switch c := column.(type) {
	case *array.Int32:
		return c.Value, nil
	case *array.Int64:
		return func(row int) int32 { return int32(c.Value(row)) }, nil
	}
	return nil, fault.New(fault.Usage, "reading the column "+name, "it holds no integers", "give the file as linker link wrote it")
}

// CrosswalkRow says to which cluster a record of one party belongs.
type CrosswalkRow struct{ UniqueID, ClusterID string }

// WriteCrosswalk writes one party's crosswalk file; rows gives its records in
// order.
func WriteCrosswalk(path, software string, rows iter.Seq[CrosswalkRow]) (table.File, error) {
	w, err := table.Create(path, arrow.NewSchema([]arrow.Field{
		table.ID("unique_id"), table.ID("cluster_id")}, nil), software)
	if err != nil {
		return table.File{}, err
	}
	defer w.Abort()
	for row := range rows {
		w.Builder().Field(0).(*array.StringBuilder).Append(row.UniqueID)
		w.Builder().Field(1).(*array.StringBuilder).Append(row.ClusterID)
		if err := w.EndRow(); err != nil {
			return table.File{}, err
		}
	}
	return w.Commit()
}

// WriteIDs writes a file of unique_ids alone.
func WriteIDs(path, software string, ids iter.Seq[string]) (table.File, error) {
	w, err := table.Create(path, arrow.NewSchema([]arrow.Field{table.ID("unique_id")}, nil), software)
	if err != nil {
		return table.File{}, err
	}
	defer w.Abort()
	for id := range ids {
		w.Builder().Field(0).(*array.StringBuilder).Append(id)
		if err := w.EndRow(); err != nil {
			return table.File{}, err
		}
	}
	return w.Commit()
}
