package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

func quality(s *result.Summary) section {
	sec := section{ID: "quality", Title: "How sure the links are"}
	if !byModel(s) {
		sec.Text = []string{"This method links the pairs whose encodings are most alike, from a similarity that was chosen beforehand. It makes no estimate of how many links are right. To know, compare with pairs checked by hand (linker evaluate), or link by the model."}
		return sec
	}
	sec.Text = []string{
		"Precision is the share of the links that join two records of one person. Recall is the share of all true links that were found. Both are estimated from the model, without knowing the truth, and are only as good as the model. A set of pairs checked by hand, or linker evaluate with known truth, is the way to test them.",
		"A 95% interval is the range that would hold the true value in 95 of 100 jobs like this one, if the model is right.",
	}
	sec.Tables = []dataTable{{Caption: "Estimates at the threshold in use", Head: []string{"Estimate", "Value", "95% interval"}, Rows: [][]string{
		estimateRow("Precision", s.Estimated.Precision), estimateRow("Recall", s.Estimated.Recall)}}}
	if c, ok := thresholdChart(s); ok {
		sec.Charts = []chart{c}
	}
	return sec
}

func estimateRow(name string, e *result.Estimate) []string {
	if e == nil {
		return []string{name, "not known", "not known"}
	}
	return []string{name, percent(e.Value, 2), fmt.Sprintf("%s to %s", percent(e.Lo, 2), percent(e.Hi, 2))}
}

// reviewFloor is the link probability from which a pair is left for review. The
// number of these is shown, and with it the number of links at this threshold.
const reviewFloor = .1

// preferred are the thresholds that are shown if not all can be, after the one
// in use and that of review.
var preferred = []float64{.9, .99, .95, .5, .8, .999}

// shownThresholds returns the thresholds that may be shown, in rising order:
// those whose numbers of links are not small and differ from every other one
// shown by none or by ten and more. The number of links at the threshold in use
// is s.Links.Total. Precision and recall of the others are not shown either:
// numbers of links follow from their ratio.
func shownThresholds(s *result.Summary) []result.Threshold {
	order := slices.SortedStableFunc(slices.Values(s.Thresholds), func(a, b result.Threshold) int {
		return cmp.Or(cmp.Compare(rank(a.MatchProbability, s.Threshold), rank(b.MatchProbability, s.Threshold)), cmp.Compare(a.MatchProbability, b.MatchProbability))
	})
	if disclosure.Small(s.Links.Total) {
		return nil
	}
	known := []int64{0, s.Links.Total}
	if !disclosure.Small(s.Links.Review) {
		known = append(known, s.Links.Total+s.Links.Review)
	}
	var shown []result.Threshold
	for _, t := range order {
		if !slices.ContainsFunc(known, func(n int64) bool { return disclosure.Small(max(n, t.Links) - min(n, t.Links)) }) {
			shown = append(shown, t)
			known = append(known, t.Links)
		}
	}
	slices.SortFunc(shown, func(a, b result.Threshold) int { return cmp.Compare(a.MatchProbability, b.MatchProbability) })
	return shown
}

func rank(p, inUse float64) int {
	switch {
	case p == inUse:
		return 0
	case p == reviewFloor:
		return 1
	}
	if i := slices.Index(preferred, p); i >= 0 {
		return 2 + i
	}
	return 2 + len(preferred)
}

// rounded is an estimate to a hundredth of a per cent.
func rounded(e *result.Estimate) *result.Estimate {
	if e == nil {
		return nil
	}
	r := func(v float64) float64 { return math.Round(v*1e4) / 1e4 }
	return &result.Estimate{Value: r(e.Value), Lo: r(e.Lo), Hi: r(e.Hi)}
}

const leftOut = "Thresholds at which fewer than ten links more or fewer would be made than at another one are left out, so that no small number can be worked out."

func thresholdChart(s *result.Summary) (chart, bool) {
	thresholds := shownThresholds(s)
	type datum struct {
		MatchProbability float64          `json:"match_probability"`
		Links            int64            `json:"links"`
		Precision        *result.Estimate `json:"precision"`
		Recall           *result.Estimate `json:"recall"`
	}
	t := dataTable{Caption: "Estimated precision and recall by threshold, with 95% intervals", Head: []string{"Threshold", "Links", "Precision", "Recall"}}
	var data []datum
	least, known := 1.0, false
	for _, th := range thresholds {
		links := disclosure.Round(th.Links)
		data = append(data, datum{th.MatchProbability, links, rounded(th.Precision), rounded(th.Recall)})
		t.Rows = append(t.Rows, []string{probability(th.MatchProbability), thousands(links), shortEstimate(th.Precision), shortEstimate(th.Recall)})
		for _, e := range []*result.Estimate{th.Precision, th.Recall} {
			if e != nil {
				least, known = min(least, e.Lo), true
			}
		}
	}
	if !known {
		return chart{}, false
	}
	floor := max(0, math.Floor((least-.005)*20)/20)
	return chart{ID: "thresholds", Title: "Estimated precision and recall by threshold",
		Desc:   "Two lines: estimated precision (solid, circles) and estimated recall (dashed, squares) by threshold, with 95% intervals as vertical bars. A vertical line marks the threshold in use.",
		Read:   fmt.Sprintf("Each point is what linking at that threshold would give; the dashed upright line is the threshold in use. To the right, fewer links are made and fewer are wrong. Which is better depends on whether a false link or a missed one does more harm to the use in hand. The vertical axis begins at %s, not at 0.", plainPercent(floor, 1)),
		Height: int(areaBottom) + 44, Shapes: thresholdShapes(thresholds, floor, s.Threshold), Table: t, Data: data,
		Legend: []legendItem{{"s1 round", "precision"}, {"s2", "recall"}}, Note: leftOut}, true
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
		shapes = append(shapes, threshold(x(inUse), "in use: "+probability(inUse))...)
	}
	draw := func(estimate func(result.Threshold) *result.Estimate, class, kind string) {
		var before *result.Threshold
		for i := range thresholds {
			th := &thresholds[i]
			e := rounded(estimate(*th))
			if e == nil {
				before = nil
				continue
			}
			here := x(th.MatchProbability)
			if before != nil {
				shapes = append(shapes, line(x(before.MatchProbability), y(rounded(estimate(*before)).Value), here, y(e.Value), "curve "+class))
			}
			shapes = append(shapes, line(here, y(e.Lo), here, y(e.Hi), "interval "+class), mark(kind, here, y(e.Value), class))
			before = th
		}
	}
	draw(func(t result.Threshold) *result.Estimate { return t.Recall }, "s2", "square")
	draw(func(t result.Threshold) *result.Estimate { return t.Precision }, "s1", "dot")
	return shapes
}

// threshold marks a place on the horizontal axis by an upright line.
func threshold(at float64, text string) []shape {
	anchor, off := "start", .8
	if at > 60 {
		anchor, off = "end", -.8
	}
	return []shape{line(at, 4, at, areaBottom, "threshold"), label(at+off, 14, anchor, "value", text)}
}
