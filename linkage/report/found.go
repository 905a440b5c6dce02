package report

import (
	"fmt"
	"math"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

// found says how pairs were brought together: the plan and what came of it, and
// the sizes of blocks.
func found(s *result.Summary, run *result.Run) section {
	sec := section{ID: "blocks", Title: "How pairs were found"}
	sec.Text = []string{"Comparing every record with every other is seldom possible, so records are compared when they share a block, such as a date of birth. A pair that shares none, and has no equal NHS numbers, is never looked at."}
	if run.Parameters.Blocking == "all" || !byModel(s) {
		sec.Text[0] = "Every record of one data set was compared with every record of the others."
		if len(s.Inputs) == 1 {
			sec.Text[0] = "Every record was compared with every other."
		}
	}
	if r := run.Plan.Recall; r != nil && *r < 1 {
		sec.Text = append(sec.Text, fmt.Sprintf("Of the true pairs, blocking is expected to bring %s together. This is part of what recall can reach.", percent(*r, 1)))
	}
	plan := dataTable{Caption: "Pairs planned and compared", Head: []string{"What", "Number"}, Rows: [][]string{
		{"Pairs planned", countText(s.Pairs.Planned)}, {"Pairs compared", countText(s.Pairs.Compared)}}}
	if s.Pairs.Planned >= disclosure.Minimum {
		off := float64(disclosure.Round(s.Pairs.Compared))/float64(disclosure.Round(s.Pairs.Planned)) - 1
		plan.Rows = append(plan.Rows, []string{"Compared against plan", signedPercent(off)})
	}
	sec.Tables = []dataTable{plan}
	if len(run.Passes) > 0 {
		sec.Tables = append(sec.Tables, passesTable(run.Passes))
	}
	if len(run.Blocks) > 0 {
		sec.Charts = []chart{blocksChart(run.Blocks)}
	}
	return sec
}

func signedPercent(v float64) string {
	text := plainPercent(math.Abs(v), 1)
	switch {
	case text == "0%":
		return "as planned"
	case v < 0:
		return "−" + text
	}
	return "+" + text
}

func passesTable(passes []result.Pass) dataTable {
	t := dataTable{Caption: "Pairs by what brought them together first", Head: []string{"Pass", "Pairs", "Blocks", "Blocks done in tiles", "Pairs of the largest block"}}
	blocks, pairs := make([]int64, len(passes)), make([]int64, len(passes))
	for i, p := range passes {
		blocks[i], pairs[i] = p.Blocks, p.Pairs
	}
	hidden := hideTogether(blocks, pairs)
	for i, p := range passes {
		cells := []string{passName(p.Name), held, held, countText(p.Tiled), "under 10"}
		if !hidden[i] {
			cells[1], cells[2] = thousands(disclosure.Round(p.Pairs)), thousands(disclosure.Round(p.Blocks))
		}
		if p.Widest >= disclosure.Minimum {
			cells[4] = band(p.Widest)
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func passName(name string) string {
	switch name {
	case "all":
		return "every pair"
	case "lsh":
		return "filters alike (LSH)"
	case "token":
		return "equal NHS numbers"
	}
	return "same " + fieldName(name)
}

// hideTogether says which rows of two columns of counts are hidden: those of
// which either count must be, and one more where there is only one.
func hideTogether(a, b []int64) []bool {
	hidden, other := disclosure.Hide(a), disclosure.Hide(b)
	number, next := 0, -1
	for i := range hidden {
		hidden[i] = hidden[i] || other[i]
		if hidden[i] {
			number++
		} else if a[i]+b[i] > 0 && (next < 0 || a[i]+b[i] < a[next]+b[next]) {
			next = i
		}
	}
	if number == 1 && next >= 0 {
		hidden[next] = true
	}
	return hidden
}

func blocksChart(bins []result.BlockBin) chart {
	type datum struct {
		PairsFrom int64  `json:"pairs_from"`
		Blocks    *int64 `json:"blocks"`
		Pairs     *int64 `json:"pairs"`
	}
	blocks, pairs := make([]int64, len(bins)), make([]int64, len(bins))
	for i, b := range bins {
		blocks[i], pairs[i] = b.Blocks, b.Pairs
	}
	hidden := hideTogether(blocks, pairs)
	t := dataTable{Caption: "Blocks by the number of pairs in them", Head: []string{"Pairs in the block", "Blocks", "Pairs in all"}}
	var rows []bar
	var data []datum
	most := 0.0
	for i, b := range bins {
		size := thousands(b.PairsFrom)
		if to := 2*b.PairsFrom - 1; to > b.PairsFrom {
			size = fmt.Sprintf("%s to %s", size, thousands(to))
		}
		r := bar{Label: compact(float64(b.PairsFrom)) + " or more", Text: held, Class: "s1", Hidden: hidden[i]}
		if b.PairsFrom >= 1024 {
			r.Label = compact(math.Round(float64(b.PairsFrom)/1000)*1000) + " or more"
		}
		if b.PairsFrom <= 1 {
			r.Label = size + " pair"
		}
		d := datum{PairsFrom: b.PairsFrom}
		cells := []string{size, held, held}
		if !hidden[i] {
			shownBlocks, shownPairs := disclosure.Round(b.Blocks), disclosure.Round(b.Pairs)
			d.Blocks, d.Pairs = &shownBlocks, &shownPairs
			r.Value = float64(shownPairs)
			r.Text = approximate(r.Value)
			cells[1], cells[2] = thousands(shownBlocks), thousands(shownPairs)
			most = max(most, r.Value)
		}
		rows, data, t.Rows = append(rows, r), append(data, d), append(t.Rows, cells)
	}
	shapes, height := bars(rows, 0, most, false, linearTicks(0, most, 3, compact))
	return chart{ID: "block-sizes", Title: "Pairs by the size of their block", Desc: "Bars: number of pairs in blocks of each size. The table below has the numbers.",
		Read:   "Each row gathers the blocks of one size and shows the pairs in all of them. Many pairs in a few large blocks point to a default value, such as 1 January 1900, that was not recognised as missing.",
		Height: height, Shapes: shapes, Table: t, Data: data}
}
