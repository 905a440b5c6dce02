package result

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/linkage/cohort/table"
)

// What a link rests on.
const (
	BasisToken       = "token"       // equal tokens; demographics could not be compared or do not decide
	BasisDemographic = "demographic" // demographics alone
	BasisBoth        = "both"        // equal tokens, and demographics that would link alone
)

// What was decided on a pair.
const (
	DecisionLink   = "link"
	DecisionReview = "review"
	DecisionNo     = "no"
)

// Link is one row of links.parquet or conflicts.parquet. Gamma and MatchWeights
// align with the fields the file was created with.
type Link struct {
	MatchWeight      float64 // log2 odds, pairwise
	MatchProbability float64 // 2^w / (1 + 2^w)
	SourceDatasetL   string
	SourceDatasetR   string
	UniqueIDL        string
	UniqueIDR        string
	Gamma            []int8 // agreement level, -1 missing
	FieldWeights     []float64
	MatchKey         string   // what brought the pair together: a block's name, all or token
	LinkProbability  *float64 // after competition with the records' other candidates; nil for conflicts, which do not compete
	Basis            string
	Decision         string
}

func linksSchema(fields []string) *arrow.Schema {
	columns := []arrow.Field{
		table.Double("match_weight", false), table.Double("match_probability", false),
		table.String("source_dataset_l", false, true), table.String("source_dataset_r", false, true),
		table.ID("unique_id_l"), table.ID("unique_id_r"),
	}
	for _, f := range fields {
		columns = append(columns, table.Int8("gamma_"+f, false), table.Double("mw_"+f, false))
	}
	return arrow.NewSchema(append(columns,
		table.String("match_key", false, true), table.Double("link_probability", true),
		table.String("basis", false, true), table.String("decision", false, true)), nil)
}

// LinkWriter writes links.parquet or conflicts.parquet.
type LinkWriter struct {
	table   *table.Writer
	doubles []*array.Float64Builder // match_weight, match_probability, then mw_ of each field, link_probability
	texts   []*array.StringBuilder  // data sets and ids, then match_key, basis, decision
	gamma   []*array.Int8Builder
}

// CreateLinks begins a table of links with these fields.
func CreateLinks(path string, fields []string, software string) (*LinkWriter, error) {
	t, err := table.Create(path, linksSchema(fields), software)
	if err != nil {
		return nil, err
	}
	w := &LinkWriter{table: t}
	for _, column := range t.Builder().Fields() {
		switch b := column.(type) {
		case *array.Float64Builder:
			w.doubles = append(w.doubles, b)
		case *array.StringBuilder:
			w.texts = append(w.texts, b)
		case *array.Int8Builder:
			w.gamma = append(w.gamma, b)
		}
	}
	return w, nil
}

// Append writes one row.
func (w *LinkWriter) Append(l *Link) error {
	w.doubles[0].Append(l.MatchWeight)
	w.doubles[1].Append(l.MatchProbability)
	for i := range l.Gamma {
		w.gamma[i].Append(l.Gamma[i])
		w.doubles[2+i].Append(l.FieldWeights[i])
	}
	if last := w.doubles[len(w.doubles)-1]; l.LinkProbability == nil {
		last.AppendNull()
	} else {
		last.Append(*l.LinkProbability)
	}
	for i, text := range [...]string{l.SourceDatasetL, l.SourceDatasetR, l.UniqueIDL, l.UniqueIDR, l.MatchKey, l.Basis, l.Decision} {
		w.texts[i].Append(text)
	}
	return w.table.EndRow()
}

// Commit ends the file and puts it under its name.
func (w *LinkWriter) Commit() (table.File, error) { return w.table.Commit() }

// Abort removes what was written; after Commit it does nothing.
func (w *LinkWriter) Abort() { w.table.Abort() }

// ScanLinks calls f with each row of a links table, in order, without the
// fields' levels and weights. The Link is reused from call to call.
func ScanLinks(ctx context.Context, path string, f func(*Link) error) error {
	r, err := table.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // opened for reading
	numbers := []string{"match_weight", "match_probability", "link_probability"}
	texts := []string{"source_dataset_l", "source_dataset_r", "unique_id_l", "unique_id_r", "match_key", "basis", "decision"}
	return r.Scan(ctx, append(append([]string{}, numbers...), texts...), func(batch arrow.RecordBatch) error {
		var l Link
		number := make([]func(int) (float64, bool), len(numbers))
		for i, name := range numbers {
			if number[i], err = table.Doubles(batch.Column(i), name); err != nil {
				return err
			}
		}
		text := make([]func(int) (string, bool), len(texts))
		for i, name := range texts {
			if text[i], err = table.Strings(batch.Column(len(numbers)+i), name); err != nil {
				return err
			}
		}
		for row := range int(batch.NumRows()) {
			for i, to := range []*float64{&l.MatchWeight, &l.MatchProbability} {
				*to, _ = number[i](row)
			}
			l.LinkProbability = nil
			if p, ok := number[2](row); ok {
				l.LinkProbability = &p
			}
			for i, to := range []*string{&l.SourceDatasetL, &l.SourceDatasetR, &l.UniqueIDL, &l.UniqueIDR, &l.MatchKey, &l.Basis, &l.Decision} {
				*to, _ = text[i](row)
			}
			if err := f(&l); err != nil {
				return err
			}
		}
		return nil
	})
}
