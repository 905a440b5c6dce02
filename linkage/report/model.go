package report

import (
	"fmt"
	"math"
	"strconv"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

// compact writes an axis number briefly: 1,500 as 1.5k.
func compact(v float64) string {
	a := math.Abs(v)
	for _, u := range []struct {
		at   float64
		unit string
	}{{1e12, "T"}, {1e9, "bn"}, {1e6, "m"}, {1e3, "k"}} {
		if a >= u.at {
			return strconv.FormatFloat(v/u.at, 'f', -1, 64) + u.unit
		}
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func levelName(level, top int) string {
	switch {
	case level < 0:
		return "missing"
	case top == 1 && level == 1:
		return "equal"
	case top == 1:
		return "different"
	case level == 0:
		return "0 least alike"
	case level == top:
		return fmt.Sprintf("%d identical", level)
	}
	return "level " + strconv.Itoa(level)
}

func weights(s *result.Summary) section {
	sec := section{ID: "weights", Title: "How the evidence was weighed"}
	if len(s.Model.Fields) == 0 {
		sec.Text = []string{"No model was fitted: this method compares by similarity alone."}
		return sec
	}
	sec.Text = []string{"A match weight says how much one field's agreement speaks for (right) or against (left) two records being one person: each unit doubles or halves the odds. The weights of a pair's fields are added up."}
	top := map[string]int{}
	least, most := -1.0, 1.0
	for _, l := range s.Model.Fields {
		top[l.Field] = max(top[l.Field], l.Level)
		least, most = min(least, l.MatchWeight), max(most, l.MatchWeight)
	}
	t := dataTable{Caption: "Match weights by field and agreement level", Head: []string{"Field", "Level", "Match weight", "m-probability", "u-probability"}}
	var rows []bar
	last := ""
	for _, l := range s.Model.Fields {
		level := levelName(l.Level, top[l.Field])
		b := bar{Label: level, Value: l.MatchWeight, Text: signed(l.MatchWeight), Class: "s1"}
		if l.MatchWeight < 0 {
			b.Class = "s2"
		}
		if l.Field != last {
			b.Heading, last = fieldName(l.Field), l.Field
		}
		rows = append(rows, b)
		t.Rows = append(t.Rows, []string{fieldName(l.Field), level, signed(l.MatchWeight), probability(l.MProbability), probability(l.UProbability)})
	}
	axis := func(v float64) string {
		if v < 0 {
			return "−" + strconv.FormatFloat(-v, 'f', -1, 64)
		}
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	shapes, height := bars(rows, least, most, false, linearTicks(least, most, 6, axis))
	sec.Charts = []chart{{ID: "match-weights", Title: "Match weights by field and agreement level",
		Desc:   "Diverging bars: to the right evidence for a match, to the left evidence against. The table below has the numbers.",
		Height: height, Shapes: shapes, Table: t, Data: s.Model.Fields,
		Legend: []legendItem{{"s1", "for a match"}, {"s2", "against a match"}}}}
	return sec
}

// Geometry of charts with columns or lines.
const (
	areaTop    = 26.0
	areaBottom = 246.0
	areaLeft   = 7.0 // per cent
	areaRight  = 98.0
)

func logit(p float64) float64 { return math.Log2(p / (1 - p)) }

func scores(s *result.Summary, run *result.Run) section {
	sec := section{ID: "scores", Title: "How the pairs scored"}
	if run == nil || len(run.Scores) == 0 {
		sec.Text = []string{"The distribution of scores was not recorded."}
		return sec
	}
	sec.Text = []string{"Every compared pair by its match weight. Pairs of different people lie to the left, pairs of one person to the right; where the two overlap a link is less sure. " +
		"The scale is logarithmic: each line is ten times the one below. Where fewer than ten pairs lie, no column is drawn."}
	type datum struct {
		MatchWeight int    `json:"match_weight"`
		Pairs       *int64 `json:"pairs"`
		Matches     *int64 `json:"expected_matches"`
	}
	counts := make([]int64, len(run.Scores))
	for i, b := range run.Scores {
		counts[i] = b.Pairs
	}
	shown, texts := disclosure.Parts(counts), partTexts(counts)
	first, last, most := run.Scores[0].MatchWeight, run.Scores[0].MatchWeight, int64(10)
	for i, b := range run.Scores {
		first, last = min(first, b.MatchWeight), max(last, b.MatchWeight)
		if shown[i] != nil {
			most = max(most, *shown[i])
		}
	}
	decades := math.Ceil(math.Log10(float64(most)))
	width := (areaRight - areaLeft) / float64(last-first+1)
	x := func(w float64) float64 { return areaLeft + (w-float64(first))*width }
	y := func(n int64) float64 {
		return areaBottom - (areaBottom-areaTop)*math.Log10(max(float64(n), 1))/decades
	}
	var shapes []shape
	for d := 0.0; d <= decades; d++ {
		at := y(int64(math.Pow(10, d)))
		shapes = append(shapes, line(0, at, areaRight, at, "grid"), label(0, at-4, "start", "tick", compact(math.Pow(10, d))))
	}
	t := dataTable{Caption: "Compared pairs by match weight", Head: []string{"Match weight", "Pairs", "Expected to be matches"}}
	var data []datum
	for i, b := range run.Scores {
		matches := disclosure.Count(int64(math.Round(b.Matches)))
		matchText := fewer
		if matches != nil {
			matchText = thousands(*matches)
		}
		if shown[i] == nil {
			matches, matchText = nil, held
		} else {
			if n := *shown[i]; n > 0 {
				shapes = append(shapes, rect(x(float64(b.MatchWeight))+width*.06, y(n), width*.88, areaBottom-y(n), "s4"))
			}
			if matches != nil && *matches > 0 {
				m := min(*matches, *shown[i])
				shapes = append(shapes, rect(x(float64(b.MatchWeight))+width*.06, y(m), width*.88, areaBottom-y(m), "s1"))
			}
		}
		data = append(data, datum{b.MatchWeight, shown[i], matches})
		t.Rows = append(t.Rows, []string{fmt.Sprintf("%s to %s", minus(b.MatchWeight), minus(b.MatchWeight+1)), texts[i], matchText})
	}
	shapes = append(shapes, line(areaLeft, areaBottom, areaRight, areaBottom, "axis"))
	for _, tk := range linearTicks(float64(first), float64(last+1), 6, func(v float64) string { return minus(int(math.Round(v))) }) {
		shapes = append(shapes, label(x(tk.at), areaBottom+16, "middle", "tick", tk.text))
	}
	shapes = append(shapes, label((areaLeft+areaRight)/2, areaBottom+34, "middle", "tick", "match weight"))
	legend := []legendItem{{"s4", "compared pairs"}, {"s1", "of these, expected to be matches"}}
	if s.Threshold > 0 && s.Threshold < 1 {
		w := logit(s.Threshold)
		if w >= float64(first) && w <= float64(last+1) {
			at, anchor, off := x(w), "start", .8
			if at > 60 {
				anchor, off = "end", -.8
			}
			shapes = append(shapes, line(at, 4, at, areaBottom, "threshold"), label(at+off, 14, anchor, "value", "threshold "+probability(s.Threshold)))
		}
	}
	sec.Charts = []chart{{ID: "score-distribution", Title: "Compared pairs by match weight",
		Desc:   "Columns: number of pairs in each unit of match weight on a logarithmic scale, and how many of them are expected to be matches. A vertical line marks the threshold.",
		Height: int(areaBottom) + 44, Shapes: shapes, Table: t, Data: data, Legend: legend,
		Note: "The threshold applies to the probability that is left when a record's candidates compete, so a pair to the right of the line is not always linked, nor a pair to the left always refused."}}
	return sec
}

func minus(v int) string {
	if v < 0 {
		return "−" + strconv.Itoa(-v)
	}
	return strconv.Itoa(v)
}
