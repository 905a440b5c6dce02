package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"tarn/linkage/result"
)

// waterfallGroup is a list of waterfalls of which one is open at a time.
type waterfallGroup struct {
	ID, Title, Text string
	Falls           []waterfall
}

// waterfall is one pattern or pair: a line to choose it by, and its chart.
type waterfall struct {
	Odds, Pattern, Note string
	Open                bool
	Chart               chart
}

// evidence is what a waterfall is drawn of.
type evidence struct {
	levels       []int
	fieldWeights []float64
	prior        float64
	relatives    float64
	weight       float64
	pairs        string // band of how many pairs have it; empty for a single pair
	twin         *float64
}

const even = 4 // weights from -4 to 4 are odds of up to 16 to 1

func waterfalls(s *result.Summary, run *result.Run, pairs []Pair) section {
	sec := section{ID: "waterfalls", Title: "Why a pair was linked, or not"}
	sec.Read = "Choose a line to open its picture. Each shows one way in which two records can agree. It begins at the odds before anything is compared; each field moves the sum to the right (for one person) or to the left (against); the last bar is the sum. At 0 the odds are even; +10 is about 1,000 to 1 for, −10 about 1,000 to 1 against."
	if len(pairs) > 0 {
		sec.Waterfalls = append(sec.Waterfalls, pairGroup(s, run, pairs))
	}
	if len(run.Patterns) == 0 {
		if len(pairs) == 0 {
			sec.Read, sec.Text = "", append(sec.Text, "No pattern of agreement is common enough to be shown, or patterns were not recorded.")
		}
		return sec
	}
	nobody := "Patterns that fewer than ten pairs have are not shown, and no picture is of one person."
	if len(pairs) > 0 {
		nobody = "The single pairs are row-level data. Of the patterns, those that fewer than ten pairs have are not shown."
	}
	sec.Text = append(sec.Text, nobody)
	groups := []waterfallGroup{
		{ID: "patterns-linked", Title: "Patterns of links", Text: "What most pairs of one person look like."},
		{ID: "patterns-unsure", Title: "Patterns near even odds", Text: "What the less sure pairs look like. Whether they are linked depends on the threshold and on the other candidates of their records."},
		{ID: "patterns-others", Title: "Patterns of different people", Text: "What pairs look like that shared a block and were refused."},
	}
	several := len(s.Inputs) > 2
	for i := range run.Patterns {
		p := &run.Patterns[i]
		g := 0
		switch {
		case math.Abs(p.MatchWeight) <= even:
			g = 1
		case p.MatchWeight < 0:
			g = 2
		}
		e := evidence{p.Levels, p.FieldWeights, p.Prior, p.Relatives, p.MatchWeight, band(p.Pairs), p.Twin}
		id := fmt.Sprintf("%s-%d", groups[g].ID, len(groups[g].Falls)+1)
		w := e.waterfall(id, s, run.Fields)
		if several {
			w.Note += fmt.Sprintf(" Data sets %s and %s.", p.SourceDatasetL, p.SourceDatasetR)
		}
		groups[g].Falls = append(groups[g].Falls, w)
	}
	for _, g := range groups {
		if len(g.Falls) > 0 {
			g.Falls[0].Open = true
			sec.Waterfalls = append(sec.Waterfalls, g)
		}
	}
	return sec
}

// pairGroup shows single pairs. Their weight beyond the fields' is one bar
// where the odds before comparing are not known.
func pairGroup(s *result.Summary, run *result.Run, pairs []Pair) waterfallGroup {
	g := waterfallGroup{ID: "pairs", Title: "Single pairs of records", Text: "Row-level data: each is one pair of records. The link probability is after competition with the records’ other candidates."}
	for i := range pairs {
		p := &pairs[i]
		rest := p.MatchWeight
		for _, w := range p.FieldWeights {
			rest -= w
		}
		e := evidence{levels: p.Levels, fieldWeights: p.FieldWeights, prior: rest, weight: p.MatchWeight}
		for _, known := range run.Patterns {
			if known.SourceDatasetL == p.SourceDatasetL && known.SourceDatasetR == p.SourceDatasetR && known.Prior >= rest {
				e.prior, e.relatives = known.Prior, rest-known.Prior
				break
			}
		}
		w := e.waterfall(fmt.Sprintf("pair-%d", i+1), s, run.Fields)
		w.Note = fmt.Sprintf("%s of %s with %s of %s. Link probability %s; decision: %s.", p.UniqueIDL, p.SourceDatasetL, p.UniqueIDR, p.SourceDatasetR, percent(p.LinkProbability, 1), p.Decision)
		w.Open = i == 0
		g.Falls = append(g.Falls, w)
	}
	return g
}

// pieces of a waterfall.
type piece struct {
	Name        string  `json:"name"`
	Level       *int    `json:"level"`
	MatchWeight float64 `json:"match_weight"`
	Sum         float64 `json:"sum"`
}

func (e *evidence) waterfall(id string, s *result.Summary, fields []string) waterfall {
	top := tops(s)
	pieces := []piece{{Name: "before comparing", MatchWeight: e.prior}}
	for f, field := range fields {
		if f >= len(e.levels) || f >= len(e.fieldWeights) {
			break
		}
		level := e.levels[f]
		pieces = append(pieces, piece{Name: fieldName(field) + ": " + levelName(level, top[field]), Level: &level, MatchWeight: e.fieldWeights[f]})
	}
	if e.relatives <= -.005 {
		pieces = append(pieces, piece{Name: "may be another of the household", MatchWeight: e.relatives})
	}
	sum, least, most := 0.0, -1.0, 1.0
	var rows []bar
	t := dataTable{Caption: "Match weight step by step", Head: []string{"Step", "Weight", "Sum so far"}}
	for i := range pieces {
		p := &pieces[i]
		b := bar{Label: p.Name, From: sum, Value: p.MatchWeight, Text: signed(p.MatchWeight), Class: signClass(p.MatchWeight)}
		if p.Level != nil && *p.Level < 0 {
			b.Text = "0"
		}
		sum += p.MatchWeight
		least, most = min(least, sum), max(most, sum)
		rows = append(rows, b)
		t.Rows = append(t.Rows, []string{p.Name, b.Text, signed(sum)})
		p.MatchWeight, p.Sum = significant(p.MatchWeight), significant(sum)
	}
	rows = append(rows, bar{Label: "all together", Value: e.weight, Text: signed(e.weight), Class: "s3"})
	t.Rows = append(t.Rows, []string{"all together", signed(e.weight), signed(e.weight)})
	pieces = append(pieces, piece{Name: "all together", MatchWeight: significant(e.weight), Sum: significant(e.weight)})
	least, most = around(least, most, 6)
	shapes, height := falls(rows, least, most, linearTicks(least, most, 6, minus))
	pattern := describe(e.levels, fields, top)
	w := waterfall{Odds: oddsText(e.weight), Pattern: capital(pattern)}
	if e.pairs != "" {
		w.Note = e.pairs + " compared pairs look like this."
	}
	if e.twin != nil {
		w.Note += fmt.Sprintf(" Probability that they are two people of one household, such as twins: %s.", percent(*e.twin, 1))
	}
	w.Chart = chart{ID: id, Title: "Waterfall: " + pattern, Desc: fmt.Sprintf("Bars that add up: %s. The table below has the numbers.", stepsText(rows)),
		Height: height, Shapes: shapes, Table: t, Data: pieces}
	return w
}

func stepsText(rows []bar) string {
	steps := make([]string, len(rows))
	for i, r := range rows {
		steps[i] = r.Label + " " + r.Text
	}
	return strings.Join(steps, "; ")
}

// describe writes a pattern in words, equal fields last.
func describe(levels []int, fields []string, top map[string]int) string {
	var same, others []string
	for f, field := range fields {
		if f >= len(levels) {
			break
		}
		name := levelName(levels[f], top[field])
		if levels[f] > 0 && levels[f] == top[field] {
			same = append(same, fieldName(field))
		} else {
			others = append(others, fieldName(field)+" "+name)
		}
	}
	switch {
	case len(others) == 0:
		return "everything the same"
	case len(same) == 0:
		return strings.Join(others, ", ") + "; nothing the same"
	case len(same) > len(others)+1:
		return strings.Join(others, ", ") + "; all else the same"
	}
	return strings.Join(others, ", ") + "; the same " + list(same)
}

// oddsText writes the probability of a weight, and as odds where the share says
// nothing any more.
func oddsText(weight float64) string {
	p := 1 / (1 + math.Exp2(-weight))
	switch {
	case weight >= 10:
		return "> 99.9%"
	case weight <= -10:
		return "< 0.1%"
	}
	return percent(p, 1)
}

const (
	fallText = 18 // height of the line of words above each bar
	fallBar  = 14
	fallGap  = 8
)

// falls draws a waterfall: each bar under its words, beginning where the last
// one ended.
func falls(rows []bar, least, most float64, ticks []tick) (shapes []shape, height int) {
	const left, right = 1.0, 99.0
	at := func(v float64) float64 { return left + (right-left)*(min(max(v, least), most)-least)/(most-least) }
	y := 4.0
	var body []shape
	for i, b := range rows {
		body = append(body, label(0, y+13, "start", "heading plain", shorten(b.Label, headingRunes)), label(100, y+13, "end", "value", b.Text))
		top := y + fallText
		from, to := at(b.From+min(b.Value, 0)), at(b.From+max(b.Value, 0))
		body = append(body, rect(from, top, to-from, fallBar, b.Class))
		y = top + fallBar + fallGap
		if i+1 < len(rows) {
			end := at(b.From + b.Value)
			body = append(body, line(end, top+fallBar, end, y+fallText, "step"))
		}
	}
	for _, t := range ticks {
		class := "grid"
		if t.strong {
			class = "axis"
		}
		shapes = append(shapes, line(at(t.at), 0, at(t.at), y, class), label(at(t.at), y+14, anchorAt(at(t.at)), "tick", t.text))
	}
	return slices.Concat(shapes, body), int(y) + 22
}
