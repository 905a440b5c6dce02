package report

import (
	"fmt"
	"math"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

// similarities shows pairs by Dice similarity, for the method that has no
// model.
func similarities(s *result.Summary, run *result.Run) section {
	sec := section{ID: "similarities", Title: "How alike the pairs were"}
	if len(run.Similarities) == 0 {
		sec.Text = []string{"The distribution of similarities was not recorded."}
		return sec
	}
	type datum struct {
		Similarity float64 `json:"similarity"`
		Pairs      *int64  `json:"pairs"`
		Links      *int64  `json:"links"`
	}
	links, others := make([]int64, len(run.Similarities)), make([]int64, len(run.Similarities))
	var columns []column
	for i, b := range run.Similarities {
		links[i], others[i] = b.Links, b.Pairs-b.Links
	}
	hidden := hideTogether(links, others)
	t := dataTable{Caption: "Pairs by similarity", Head: []string{"Similarity", "Pairs", "Linked"}}
	var data []datum
	for i, b := range run.Similarities {
		c := column{At: math.Round(b.Similarity * 100)}
		d := datum{Similarity: b.Similarity}
		name := fmt.Sprintf("%.2f to %.2f", b.Similarity, b.Similarity+.01)
		if hidden[i] {
			t.Rows = append(t.Rows, []string{name, held, held})
		} else {
			pairs, linked := disclosure.Round(b.Pairs), disclosure.Round(b.Links)
			d.Pairs, d.Links, c.Whole, c.Part = &pairs, &linked, pairs, linked
			t.Rows = append(t.Rows, []string{name, thousands(pairs), thousands(linked)})
		}
		columns, data = append(columns, c), append(data, d)
	}
	sec.Charts = []chart{{ID: "similarity-distribution", Title: "Pairs by similarity",
		Desc:   "Columns: number of pairs in each hundredth of similarity on a logarithmic scale, and how many of them were linked. A vertical line marks the threshold.",
		Read:   "Similarity (Dice coefficient) runs from 0, nothing in common, to 1, identical. Pairs to the right of the dashed line could be linked; of the candidates of one record the most alike wins. Two clear hills with a valley at the line are a good sign; a single slope is not. The scale is logarithmic: each line is ten times the one below. Where fewer than ten pairs lie, no column is drawn.",
		Height: areaHeight, Shapes: columnShapes(columns, s.Threshold*100, "threshold "+probability(s.Threshold), "similarity", func(v float64) string { return fmt.Sprintf("%.2f", v/100) }),
		Table: t, Data: data, Legend: []legendItem{{"s4", "pairs"}, {"s1", "of these, linked"}}}}
	return sec
}
