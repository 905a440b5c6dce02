package trial

import (
	"context"
	"errors"
	"io"
	"slices"

	"tarn/linkage/equity/csvfile"
)

// membership is the group of each record in a dimension.
type membership map[record]string

func readGroups(ctx context.Context, c *Clear, dimension string) (membership, error) {
	r, err := csvfile.Open(c.dataset.Groups, "groups file", "give groups on minted ids")
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // opened for reading
	m := membership{}
	dataset, id, at := r.Column("source_dataset"), r.Column("unique_id"), r.Column(dimension)
	if dataset < 0 || id < 0 || at < 0 {
		return nil, r.Fault(1, "a column is missing")
	}
	for {
		cells, err := r.Next()
		if errors.Is(err, io.EOF) {
			return m, ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if n, ok := c.numbers[key{cells[dataset], cells[id]}]; ok {
			m[n] = cells[at]
		}
	}
}

// explainGap tells the false negatives of the group with the lowest recall of
// the dimension with the widest gap apart.
func (o *Outcome) explainGap(ctx context.Context, c *Clear, t truth, links, conflicts []link) error {
	if c.dataset.Groups == "" || len(o.RecallGaps) == 0 {
		return nil
	}
	dimension, _ := o.WidestGap()
	var lowest *Group
	for i := range o.Groups {
		g := &o.Groups[i]
		if g.Dimension == dimension && g.Recall != nil && (lowest == nil || *g.Recall < *lowest.Recall) {
			lowest = g
		}
	}
	if lowest == nil {
		return nil
	}
	m, err := readGroups(ctx, c, dimension)
	if err != nil {
		return err
	}
	some := truth{}
	for p := range t {
		if a, b := p.records(); slices.Contains([]string{m[a], m[b]}, lowest.Group) {
			some[p] = struct{}{}
		}
	}
	lowest.FalseNegatives = falseNegatives(c, some, links, conflicts)
	ceiling := some.ceiling(c)
	lowest.Ceiling = &ceiling
	return nil
}
