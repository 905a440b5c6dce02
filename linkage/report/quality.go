package report

import (
	"fmt"
	"math"
	"slices"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

func quality(s *result.Summary) section {
	sec := section{ID: "quality", Title: "How sure the links are"}
	sec.Text = []string{
		"Precision is the share of the links that join two records of one person. Recall is the share of all true links that were found. Both are estimated from the model, without knowing the truth, and are only as good as the model: a set of pairs checked by hand, or linker evaluate with known truth, is the way to test them.",
		"A 95% interval is the range that would hold the true value in 95 of 100 jobs like this one. A higher threshold links less and is wrong less often; which is better depends on whether a false link or a missed one does more harm to the use in hand.",
	}
	sec.Tables = []dataTable{{Caption: "Estimates at the threshold in use", Head: []string{"Estimate", "Value and 95% interval"}, Rows: [][]string{
		{"Precision", shortEstimate(s.Estimated.Precision)}, {"Recall", shortEstimate(s.Estimated.Recall)}}}}
	if c, ok := thresholdChart(s); ok {
		sec.Charts = []chart{c}
	}
	return sec
}

// shownThresholds hides link counts that differ from the last one shown by
// fewer than ten, outwards from the job's own total, so that no small number of
// people follows from two counts.
func shownThresholds(thresholds []result.Threshold, total int64, at float64) []*int64 {
	shown := make([]*int64, len(thresholds))
	walk := func(order []int) {
		last := total
		for _, i := range order {
			n := thresholds[i].Links
			d := n - last
			if d < 0 {
				d = -d
			}
			if disclosure.Small(n) || disclosure.Small(d) {
				continue
			}
			r := disclosure.Round(n)
			shown[i], last = &r, n
		}
	}
	var down, up []int
	for i, t := range thresholds {
		if t.MatchProbability <= at {
			down = append(down, i)
		} else {
			up = append(up, i)
		}
	}
	slices.Reverse(down)
	walk(down)
	walk(up)
	return shown
}

func thresholdChart(s *result.Summary) (chart, bool) {
	thresholds := slices.SortedFunc(slices.Values(s.Thresholds), func(a, b result.Threshold) int {
		switch {
		case a.MatchProbability < b.MatchProbability:
			return -1
		case a.MatchProbability > b.MatchProbability:
			return 1
		}
		return 0
	})
	type datum struct {
		MatchProbability float64          `json:"match_probability"`
		Links            *int64           `json:"links"`
		Precision        *result.Estimate `json:"precision"`
		Recall           *result.Estimate `json:"recall"`
	}
	counts := shownThresholds(thresholds, s.Links.Total, s.Threshold)
	t := dataTable{Caption: "Estimated precision and recall by threshold, with 95% intervals", Head: []string{"Threshold", "Links", "Precision", "Recall"}}
	var data []datum
	least, any := 1.0, false
	for i, th := range thresholds {
		data = append(data, datum{th.MatchProbability, counts[i], th.Precision, th.Recall})
		text := held
		if counts[i] != nil {
			text = thousands(*counts[i])
		} else if disclosure.Small(th.Links) {
			text = fewer
		}
		t.Rows = append(t.Rows, []string{probability(th.MatchProbability), text, shortEstimate(th.Precision), shortEstimate(th.Recall)})
		for _, e := range []*result.Estimate{th.Precision, th.Recall} {
			if e != nil {
				least, any = min(least, e.Lo), true
			}
		}
	}
	if !any {
		return chart{}, false
	}
	floor := max(0, math.Floor((least-.005)*20)/20)
	return chart{ID: "thresholds", Title: "Estimated precision and recall by threshold",
		Desc:   "Two lines: estimated precision (solid, circles) and estimated recall (dashed, squares) by threshold, with 95% intervals as vertical bars. A vertical line marks the threshold in use.",
		Height: int(areaBottom) + 44, Shapes: thresholdShapes(thresholds, floor, s.Threshold), Table: t, Data: data,
		Legend: []legendItem{{"s1 round", "precision"}, {"s2", "recall"}},
		Note:   fmt.Sprintf("The vertical axis begins at %s. Counts hidden in the table differ from a neighbour by fewer than ten.", plainPercent(floor, 1))}, true
}

func thresholdShapes(thresholds []result.Threshold, floor, inUse float64) []shape {
	const reach = 13 // log2 odds of .99988; thresholds beyond are drawn there
	at := func(p float64) float64 { return min(max(logit(min(max(p, 1e-9), 1-1e-9)), -reach), reach) }
	first, last := at(thresholds[0].MatchProbability), at(thresholds[len(thresholds)-1].MatchProbability)
	if inUse > 0 {
		first, last = min(first, at(inUse)), max(last, at(inUse))
	}
	first, last = first-.4, last+.4
	x := func(p float64) float64 { return areaLeft + 2 + (areaRight-areaLeft-4)*(at(p)-first)/(last-first) }
	y := func(v float64) float64 { return areaBottom - (areaBottom-areaTop)*(max(v, floor)-floor)/(1-floor) }
	var shapes []shape
	for _, tk := range linearTicks(floor, 1, 5, func(v float64) string { return plainPercent(v, 1) }) {
		shapes = append(shapes, line(0, y(tk.at), areaRight, y(tk.at), "grid"), label(0, y(tk.at)-4, "start", "tick", tk.text))
	}
	for _, p := range []float64{.01, .1, .5, .9, .99, .999} {
		if l := at(p); l >= first && l <= last {
			shapes = append(shapes, line(x(p), areaBottom, x(p), areaBottom+4, "axis"), label(x(p), areaBottom+17, "middle", "tick", probability(p)))
		}
	}
	shapes = append(shapes, line(0, areaBottom, areaRight, areaBottom, "axis"), label((areaLeft+areaRight)/2, areaBottom+35, "middle", "tick", "threshold (probability of a link)"))
	if inUse > 0 && inUse < 1 {
		anchor, off := "start", .8
		if x(inUse) > 60 {
			anchor, off = "end", -.8
		}
		shapes = append(shapes, line(x(inUse), 4, x(inUse), areaBottom, "threshold"), label(x(inUse)+off, 14, anchor, "value", "in use: "+probability(inUse)))
	}
	draw := func(estimate func(result.Threshold) *result.Estimate, class, kind string) {
		var before *result.Threshold
		for i := range thresholds {
			th := &thresholds[i]
			e := estimate(*th)
			if e == nil {
				before = nil
				continue
			}
			here := x(th.MatchProbability)
			if before != nil {
				shapes = append(shapes, line(x(before.MatchProbability), y(estimate(*before).Value), here, y(e.Value), "curve "+class))
			}
			shapes = append(shapes, line(here, y(e.Lo), here, y(e.Hi), "interval "+class), mark(kind, here, y(e.Value), class))
			before = th
		}
	}
	draw(func(t result.Threshold) *result.Estimate { return t.Recall }, "s2", "square")
	draw(func(t result.Threshold) *result.Estimate { return t.Precision }, "s1", "dot")
	return shapes
}
