package result

import (
	"context"
	"errors"
	"slices"

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

// Columns says what a table of links is about.
type Columns struct {
	Fields   []string // of gamma_ and mw_
	Datasets []string // every source_dataset there can be, at most 127
	Keys     []string // every match_key there can be, at most 127
}

// Bases and decisions, as they are numbered in a table.
var (
	bases     = []string{BasisToken, BasisDemographic, BasisBoth}
	decisions = []string{DecisionLink, DecisionReview, DecisionNo}
)

func (c *Columns) schema() *arrow.Schema {
	columns := []arrow.Field{
		table.Double("match_weight", false), table.Double("match_probability", false),
		table.OneOf("source_dataset_l", c.Datasets...), table.OneOf("source_dataset_r", c.Datasets...),
		table.ID("unique_id_l"), table.ID("unique_id_r"),
	}
	for _, f := range c.Fields {
		columns = append(columns, table.Int8("gamma_"+f, false), table.Double("mw_"+f, false))
	}
	return arrow.NewSchema(append(columns,
		table.OneOf("match_key", c.Keys...), table.Double("link_probability", true),
		table.OneOf("basis", bases...), table.OneOf("decision", decisions...)), nil)
}

// LinkWriter writes links.parquet or conflicts.parquet.
type LinkWriter struct {
	columns Columns
	table   *table.Writer
	doubles []*array.Float64Builder // match_weight, match_probability, then mw_ of each field, link_probability
	ids     []*array.StringBuilder
	indices []*array.Int8Builder // data sets, then gamma_ of each field, match_key, basis, decision
}

// CreateLinks begins a table of links.
func CreateLinks(path string, columns Columns, software string) (*LinkWriter, error) {
	t, err := table.Create(path, columns.schema(), software)
	if err != nil {
		return nil, err
	}
	w := &LinkWriter{columns: columns, table: t}
	for _, column := range t.Builder().Fields() {
		switch b := column.(type) {
		case *array.Float64Builder:
			w.doubles = append(w.doubles, b)
		case *array.StringBuilder:
			w.ids = append(w.ids, b)
		case *array.Int8Builder:
			w.indices = append(w.indices, b)
		}
	}
	return w, nil
}

// Append writes one row. Its data sets, match_key, basis and decision are
// among those that there can be.
func (w *LinkWriter) Append(l *Link) error {
	w.doubles[0].Append(l.MatchWeight)
	w.doubles[1].Append(l.MatchProbability)
	w.ids[0].Append(l.UniqueIDL)
	w.ids[1].Append(l.UniqueIDR)
	fields := len(l.Gamma)
	for i := range l.Gamma {
		w.indices[2+i].Append(l.Gamma[i])
		w.doubles[2+i].Append(l.FieldWeights[i])
	}
	if last := w.doubles[2+fields]; l.LinkProbability == nil {
		last.AppendNull()
	} else {
		last.Append(*l.LinkProbability)
	}
	for _, x := range [...]struct {
		column int
		known  []string
		text   string
	}{
		{0, w.columns.Datasets, l.SourceDatasetL}, {1, w.columns.Datasets, l.SourceDatasetR},
		{2 + fields, w.columns.Keys, l.MatchKey}, {3 + fields, bases, l.Basis}, {4 + fields, decisions, l.Decision},
	} {
		at := slices.Index(x.known, x.text)
		if at < 0 {
			return errUnknown
		}
		w.indices[x.column].Append(int8(at))
	}
	return w.table.EndRow()
}

var errUnknown = errors.New("result: a link has a text that its table was not made for")

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
