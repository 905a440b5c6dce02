package result

import (
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/linkage/cohort/table"
)

// MethodCLK is the method of jobs that compare record filters by similarity
// alone and have no model: no weights, no probabilities, no conflicts.
const MethodCLK = "clk"

// SimilarityLink is one row of links.parquet of method clk.
type SimilarityLink struct {
	SourceDatasetL, SourceDatasetR string
	UniqueIDL, UniqueIDR           string
	Similarity                     float64 // Dice coefficient
	Linked                         bool
}

// WriteSimilarityLinks writes links.parquet of method clk: the columns of
// [Link], of which weights and probabilities are null, with similarity where
// levels and weights of fields would be. rows gives the pairs in order; it may
// end early with an error.
func WriteSimilarityLinks(path, software string, rows iter.Seq2[*SimilarityLink, error]) (table.File, error) {
	w, err := table.Create(path, arrow.NewSchema([]arrow.Field{
		table.Double("match_weight", true), table.Double("match_probability", true),
		table.String("source_dataset_l", false, true), table.String("source_dataset_r", false, true),
		table.String("unique_id_l", false, false), table.String("unique_id_r", false, false),
		table.Double("similarity", false),
		table.String("match_key", false, true), table.Double("link_probability", true),
		table.String("basis", false, true), table.String("decision", false, true)}, nil), software)
	if err != nil {
		return table.File{}, err
	}
	defer w.Abort()
	for l, err := range rows {
		if err != nil {
			return table.File{}, err
		}
		decision := DecisionNo
		if l.Linked {
			decision = DecisionLink
		}
		b := w.Builder()
		b.Field(0).AppendNull()
		b.Field(1).AppendNull()
		for i, text := range []string{l.SourceDatasetL, l.SourceDatasetR, l.UniqueIDL, l.UniqueIDR} {
			b.Field(2 + i).(*array.StringBuilder).Append(text)
		}
		b.Field(6).(*array.Float64Builder).Append(l.Similarity)
		b.Field(7).(*array.StringBuilder).Append("all")
		b.Field(8).AppendNull()
		b.Field(9).(*array.StringBuilder).Append(BasisDemographic)
		b.Field(10).(*array.StringBuilder).Append(decision)
		if err := w.EndRow(); err != nil {
			return table.File{}, err
		}
	}
	return w.Commit()
}

// WriteSimilarityClusters writes clusters.parquet of method clk: as
// [WriteClusters] does, but the clusters at link probabilities are null, since
// there are none. rows gives the members in order; it may end early with an
// error.
func WriteSimilarityClusters(path, runID, software string, rows iter.Seq2[*Member, error]) (table.File, error) {
	w, err := table.Create(path, arrow.NewSchema([]arrow.Field{
		table.ID("cluster_id"), table.String("source_dataset", false, true), table.String("unique_id", false, false),
		table.String("cluster_id_p90", true, false), table.String("cluster_id_p95", true, false), table.String("cluster_id_p99", true, false),
		table.Int32("cluster_size", false), table.Int32("n_datasets", false), table.String("run_id", false, true)}, nil), software)
	if err != nil {
		return table.File{}, err
	}
	defer w.Abort()
	for m, err := range rows {
		if err != nil {
			return table.File{}, err
		}
		b := w.Builder()
		for i, text := range []string{m.ClusterID, m.SourceDataset, m.UniqueID} {
			b.Field(i).(*array.StringBuilder).Append(text)
			b.Field(3 + i).AppendNull()
		}
		b.Field(6).(*array.Int32Builder).Append(m.ClusterSize)
		b.Field(7).(*array.Int32Builder).Append(m.Datasets)
		b.Field(8).(*array.StringBuilder).Append(runID)
		if err := w.EndRow(); err != nil {
			return table.File{}, err
		}
	}
	return w.Commit()
}
