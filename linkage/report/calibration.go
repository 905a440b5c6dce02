package report

import (
	"fmt"
	"math"
	"strings"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

// calibration shows how many pairs lie between the thresholds that are shown
// elsewhere, and how many of them are expected to be right. It uses these
// thresholds alone, so that it tells nothing that they do not.
func calibration(s *result.Summary) section {
	sec := section{ID: "calibration", Title: "What a probability means here"}
	sec.Text = []string{
		"Each link carries a probability of being right, after the other candidates of its two records have competed with it. If the model fits, the probabilities hold: of pairs at 90%, nine in ten are right. This is called calibration, and nothing in this file proves it, since the truth is not known to the job.",
		"To test it, have a sample of pairs checked by hand in each of the bands below and compare the share that is right with the share expected. Where people of known truth are linked, linker evaluate does the same.",
	}
	thresholds := shownThresholds(s)
	type datum struct {
		From     float64 `json:"from"`
		To       float64 `json:"to"`
		Pairs    int64   `json:"pairs"`
		Expected float64 `json:"expected_share_right"`
	}
	t := dataTable{Caption: "Pairs by link probability", Head: []string{"Link probability", "Pairs", "Expected to be right"}}
	var rows []bar
	var data []datum
	for i, th := range thresholds {
		to, pairs, right := 1.0, th.Links, rightAt(th)
		if i+1 < len(thresholds) {
			next := thresholds[i+1]
			to, pairs, right = next.MatchProbability, pairs-next.Links, right-rightAt(next)
		}
		if pairs <= 0 || math.IsNaN(right) {
			continue
		}
		// Within its band by definition; outside by rounding of what was estimated.
		within := min(max(right/float64(pairs), th.MatchProbability), to)
		expected := math.Round(within*1e3) / 1e3
		name := fmt.Sprintf("%s to %s", probability(th.MatchProbability), probability(to))
		rows = append(rows, bar{Label: name, Value: expected, Lo: th.MatchProbability, Hi: to, Text: strings.Replace(percent(within, 1), "over ", "> ", 1), Class: "s1"})
		data = append(data, datum{th.MatchProbability, to, disclosure.Round(pairs), expected})
		t.Rows = append(t.Rows, []string{name, thousands(disclosure.Round(pairs)), percent(within, 1)})
	}
	if len(rows) == 0 {
		return sec
	}
	shapes, height := bars(rows, 0, 1, true, linearTicks(0, 1, 4, func(v float64) string { return plainPercent(v, 0) }))
	sec.Charts = []chart{{ID: "confidence", Title: "Share expected to be right, by link probability",
		Desc:   "Points: expected share of right pairs in each band of link probability; the line is the band. The table below has the numbers.",
		Read:   "Each row is a band of pairs, from less sure to surest. The line is the width of the band, the point the share of its pairs expected to be right. Rows below the threshold in use were not linked. For each band, this is the number to hold a checked sample against.",
		Height: height, Shapes: shapes, Table: t, Data: data, Note: leftOut}}
	return sec
}

// rightAt is the expected number of right links at a threshold, NaN where it is
// not known.
func rightAt(t result.Threshold) float64 {
	if t.Precision == nil {
		return math.NaN()
	}
	return t.Precision.Value * float64(t.Links)
}
