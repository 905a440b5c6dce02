package report

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
	"tarn/linkage/result"
)

// Pair is one pair of records with what speaks for and against it.
type Pair struct {
	SourceDatasetL, SourceDatasetR string
	UniqueIDL, UniqueIDR           string

	Levels          []int     // by Run.Fields; -1 is missing
	FieldWeights    []float64 // log2
	MatchWeight     float64   // log2 odds
	LinkProbability float64
	Decision        string
}

// How many pairs are shown where none are named.
const (
	surest   = 4
	nearEven = 12
)

// readPairs returns the named pairs of a table of links, in the order they are
// named; where none are named, those of the highest weight and those whose link
// probability is nearest to one half, one of each pattern of agreement. A named pair that is not there
// is an error.
func readPairs(ctx context.Context, path string, run *result.Run, named [][2]string) ([]Pair, error) {
	if len(run.Fields) == 0 {
		return nil, fault.New(fault.Usage, "reading "+path, "its pairs carry no weights by field", "draw the report without --row-level")
	}
	wanted := map[[2]string]int{}
	for i, n := range named {
		wanted[n], wanted[[2]string{n[1], n[0]}] = i, i
	}
	var sure, near []Pair
	found := make([]*Pair, len(named))
	err := scanPairs(ctx, path, run.Fields, func(p *Pair) {
		if len(named) > 0 {
			if i, ok := wanted[[2]string{p.UniqueIDL, p.UniqueIDR}]; ok {
				found[i] = copied(p)
			}
			return
		}
		sure = keepFirst(sure, p, surest, func(a, b *Pair) int { return cmp.Compare(b.MatchWeight, a.MatchWeight) })
		near = keepFirst(near, p, nearEven, func(a, b *Pair) int {
			return cmp.Compare(math.Abs(a.LinkProbability-.5), math.Abs(b.LinkProbability-.5))
		})
	})
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		return distinct(sure, near), nil
	}
	var pairs []Pair
	for i, p := range found {
		if p == nil {
			return nil, fault.New(fault.Usage, "reading "+path, fmt.Sprintf("pair %d of those named is not in it", i+1),
				"name two unique_ids of one row of links.parquet; pairs less probable than --keep are not written")
		}
		pairs = append(pairs, *p)
	}
	return pairs, nil
}

func copied(p *Pair) *Pair {
	c := *p
	for _, text := range []*string{&c.SourceDatasetL, &c.SourceDatasetR, &c.UniqueIDL, &c.UniqueIDR, &c.Decision} {
		*text = strings.Clone(*text) // it lies in the batch
	}
	c.Levels, c.FieldWeights = slices.Clone(p.Levels), slices.Clone(p.FieldWeights)
	return &c
}

// keepFirst keeps the first n by an order, one of each pattern of agreement; of
// equals the one that was seen first.
func keepFirst(kept []Pair, p *Pair, n int, order func(a, b *Pair) int) []Pair {
	if len(kept) == n && order(p, &kept[n-1]) >= 0 {
		return kept
	}
	if alike := slices.IndexFunc(kept, func(k Pair) bool { return slices.Equal(k.Levels, p.Levels) }); alike >= 0 {
		if order(p, &kept[alike]) >= 0 {
			return kept
		}
		kept = slices.Delete(kept, alike, alike+1)
	}
	kept = append(kept, *copied(p))
	slices.SortStableFunc(kept, func(a, b Pair) int { return order(&a, &b) })
	return kept[:min(n, len(kept))]
}

// distinct joins lists of pairs, each pair once, by falling weight.
func distinct(lists ...[]Pair) []Pair {
	pairs := slices.Concat(lists...)
	slices.SortFunc(pairs, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(b.MatchWeight, a.MatchWeight), cmp.Compare(a.SourceDatasetL, b.SourceDatasetL), cmp.Compare(a.SourceDatasetR, b.SourceDatasetR),
			cmp.Compare(a.UniqueIDL, b.UniqueIDL), cmp.Compare(a.UniqueIDR, b.UniqueIDR))
	})
	return slices.CompactFunc(pairs, func(a, b Pair) bool {
		return a.SourceDatasetL == b.SourceDatasetL && a.SourceDatasetR == b.SourceDatasetR && a.UniqueIDL == b.UniqueIDL && a.UniqueIDR == b.UniqueIDR
	})
}

// scanPairs calls f with each row of a table of links, in order. The Pair is
// reused from call to call.
func scanPairs(ctx context.Context, path string, fields []string, f func(*Pair)) error {
	r, err := table.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // opened for reading
	texts := []string{"source_dataset_l", "source_dataset_r", "unique_id_l", "unique_id_r", "decision"}
	columns := append(slices.Clone(texts), "match_weight", "link_probability")
	for _, field := range fields {
		columns = append(columns, "gamma_"+field, "mw_"+field)
	}
	p := &Pair{Levels: make([]int, len(fields)), FieldWeights: make([]float64, len(fields))}
	return r.Scan(ctx, columns, func(batch arrow.RecordBatch) error {
		fill, err := filler(batch, p, len(texts), len(fields), columns)
		if err != nil {
			return err
		}
		for row := range int(batch.NumRows()) {
			fill(row)
			f(p)
		}
		return nil
	})
}

// filler returns a function that fills p from a row of the batch.
func filler(batch arrow.RecordBatch, p *Pair, texts, fields int, columns []string) (func(row int), error) {
	var steps []func(row int)
	for i, to := range []*string{&p.SourceDatasetL, &p.SourceDatasetR, &p.UniqueIDL, &p.UniqueIDR, &p.Decision} {
		text, err := table.Strings(batch.Column(i), columns[i])
		if err != nil {
			return nil, err
		}
		steps = append(steps, func(row int) { *to, _ = text(row) })
	}
	number := func(i int, to *float64) error {
		value, err := table.Doubles(batch.Column(i), columns[i])
		steps = append(steps, func(row int) { *to, _ = value(row) })
		return err
	}
	if err := number(texts, &p.MatchWeight); err != nil {
		return nil, err
	}
	if err := number(texts+1, &p.LinkProbability); err != nil {
		return nil, err
	}
	for k := range fields {
		at := texts + 2 + 2*k
		level, err := levels(batch.Column(at), columns[at])
		if err != nil {
			return nil, err
		}
		steps = append(steps, func(row int) { p.Levels[k] = level(row) })
		if err := number(at+1, &p.FieldWeights[k]); err != nil {
			return nil, err
		}
	}
	return func(row int) {
		for _, step := range steps {
			step(row)
		}
	}, nil
}

// levels reads a column of levels, wider than 8 bits where a tool has rewritten
// it.
func levels(column arrow.Array, name string) (func(row int) int, error) {
	switch c := column.(type) {
	case *array.Int8:
		return func(row int) int { return int(c.Value(row)) }, nil
	case *array.Int32:
		return func(row int) int { return int(c.Value(row)) }, nil
	case *array.Int64:
		return func(row int) int { return int(c.Value(row)) }, nil
	}
	return nil, fault.New(fault.Usage, "reading the column "+name, "it holds no integers", "give the file as linker link wrote it")
}
