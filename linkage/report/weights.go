package report

import (
	"fmt"
	"math"
	"strconv"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

func levelName(level, top int) string {
	switch {
	case level < 0:
		return "missing"
	case top == 1 && level == 1:
		return "equal"
	case level == 0:
		return "different"
	case level == top:
		return "identical"
	}
	return fmt.Sprintf("alike, step %d", level)
}

// tops returns the highest level of each field.
func tops(s *result.Summary) map[string]int {
	top := map[string]int{}
	for _, l := range s.Model.Fields {
		top[l.Field] = max(top[l.Field], l.Level)
	}
	return top
}

// significant rounds to five significant digits.
func significant(v float64) float64 {
	r, err := strconv.ParseFloat(probability(v), 64)
	if err != nil {
		return v
	}
	return r
}

func weights(s *result.Summary) section {
	sec := section{ID: "weights", Title: "How the evidence was weighed"}
	if len(s.Model.Fields) == 0 {
		sec.Text = []string{"No model was fitted."}
		return sec
	}
	sec.Text = []string{"A pair of records is judged field by field. How alike the two are in a field gives a match weight; the weights of a pair’s fields are added up, as the waterfalls below show."}
	top := tops(s)
	least, most := -1.0, 1.0
	for _, l := range s.Model.Fields {
		least, most = min(least, l.MatchWeight), max(most, l.MatchWeight)
	}
	least, most = around(least, most, 6)
	type datum struct {
		Field        string  `json:"field"`
		Level        int     `json:"level"`
		Meaning      string  `json:"meaning"`
		MProbability float64 `json:"m_probability"`
		UProbability float64 `json:"u_probability"`
		MatchWeight  float64 `json:"match_weight"`
	}
	t := dataTable{Caption: "Match weights by field and agreement level", Head: []string{"Field", "Level", "Meaning", "Match weight", "m-probability", "u-probability"}}
	var rows []bar
	var data []datum
	last := ""
	for _, l := range s.Model.Fields {
		level := levelName(l.Level, top[l.Field])
		b := bar{Label: level, Value: l.MatchWeight, Text: signed(l.MatchWeight), Class: signClass(l.MatchWeight)}
		if l.Field != last {
			b.Heading, last = fieldName(l.Field), l.Field
		}
		rows = append(rows, b)
		data = append(data, datum{l.Field, l.Level, level, significant(l.MProbability), significant(l.UProbability), significant(l.MatchWeight)})
		t.Rows = append(t.Rows, []string{fieldName(l.Field), strconv.Itoa(l.Level), level, signed(l.MatchWeight), probability(l.MProbability), probability(l.UProbability)})
	}
	shapes, height := bars(rows, least, most, false, linearTicks(least, most, 6, minus))
	sec.Charts = []chart{{ID: "match-weights", Title: "Match weights by field and agreement level",
		Desc:   "Diverging bars: to the right evidence for a match, to the left evidence against. The table below has the numbers.",
		Read:   "Each row is one level of agreement in one field. A bar to the right speaks for one person, to the left against; each unit doubles or halves the odds, so +10 is about a thousand to one. “Alike” is similar but not the same, the more so the higher the step. A missing field has weight 0: it says nothing. In the table, m is how often records of one person reach a level, u how often records of two people do.",
		Height: height, Shapes: shapes, Table: t, Data: data,
		Legend: []legendItem{{"s1", "for one person"}, {"s2", "against"}}}}
	return sec
}

func signClass(v float64) string {
	if v < 0 {
		return "s2"
	}
	return "s1"
}

func logit(p float64) float64 { return math.Log2(p / (1 - p)) }

func scores(s *result.Summary, run *result.Run) section {
	sec := section{ID: "scores", Title: "How the pairs scored"}
	if len(run.Scores) == 0 {
		sec.Text = []string{"The distribution of scores was not recorded."}
		return sec
	}
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
	t := dataTable{Caption: "Compared pairs by match weight", Head: []string{"Match weight", "Pairs", "Expected to be one person"}}
	var columns []column
	var data []datum
	for i, b := range run.Scores {
		c := column{At: float64(b.MatchWeight)}
		d := datum{MatchWeight: b.MatchWeight, Pairs: shown[i]}
		matchText := held
		if shown[i] != nil {
			c.Whole, matchText = *shown[i], fewer
			if matches := disclosure.Count(int64(math.Round(b.Matches))); matches != nil {
				c.Part = min(*matches, c.Whole)
				part := c.Part
				d.Matches, matchText = &part, thousands(part)
			}
		}
		columns, data = append(columns, c), append(data, d)
		t.Rows = append(t.Rows, []string{fmt.Sprintf("%s to %s", minus(float64(b.MatchWeight)), minus(float64(b.MatchWeight+1))), texts[i], matchText})
	}
	at := math.Inf(1)
	if s.Threshold > 0 && s.Threshold < 1 {
		at = logit(s.Threshold)
	}
	sec.Charts = []chart{{ID: "score-distribution", Title: "Compared pairs by match weight",
		Desc:   "Columns: number of pairs in each unit of match weight on a logarithmic scale, and how many of them are expected to be matches. A vertical line marks the threshold.",
		Read:   "Every compared pair by the sum of its weights; 0 is even odds. Pairs of two people lie to the left, pairs of one person to the right. The fewer pairs lie near the dashed line, the less depends on where it is drawn. The scale is logarithmic: each line is ten times the one below. Where fewer than ten pairs lie, no column is drawn.",
		Height: areaHeight, Shapes: columnShapes(columns, at, "threshold "+probability(s.Threshold), "match weight", minus), Table: t, Data: data,
		Legend: []legendItem{{"s4", "compared pairs"}, {"s1", "of these, expected to be one person"}},
		Note:   "The threshold applies to the probability that is left when a record’s candidates compete, so a pair to the right of the line is not always linked, nor one to the left always refused."}}
	return sec
}

// minus writes a number of an axis with a proper minus sign.
func minus(v float64) string {
	if v < 0 {
		return "−" + strconv.FormatFloat(-v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}
