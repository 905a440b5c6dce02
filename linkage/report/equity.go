package report

import (
	"fmt"
	"math"
	"strconv"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

func equitySection(s *result.Summary) section {
	sec := section{ID: "equity", Title: "For whom it works less well"}
	if s.Equity == nil || len(s.Equity.Dimensions) == 0 {
		sec.Text = []string{"Link rates by group of people have not been measured: linker equity adds them. Linkage error is seldom spread evenly, and a study inherits what is missed."}
		return sec
	}
	if text := widest(s.Equity); text != "" {
		sec.Text = append(sec.Text, text)
	}
	sec.Read = "Each point is the share of a group’s records that found a partner, and the line its 95% interval; a gap within the intervals may be chance. Rates differ for two reasons: linkage that works less well for a group, and people who are truly in one data set only. A study of linked data inherits what is missed."
	sec.Text = append(sec.Text, "Groups under ten are hidden, with others where a hidden one would follow by subtraction; rates come from counts rounded to five.")
	for i := range s.Equity.Dimensions {
		sec.Charts = append(sec.Charts, equityChart(i, &s.Equity.Dimensions[i]))
	}
	return sec
}

// widest names the widest gap of all dimensions, and its two groups.
func widest(e *result.Equity) string {
	var at *result.EquityDimension
	for i := range e.Dimensions {
		d := &e.Dimensions[i]
		if d.MaxGap != nil && (at == nil || *d.MaxGap > *at.MaxGap) {
			at = d
		}
	}
	if at == nil {
		return ""
	}
	low, high, ok := disclosure.Ends(disclosure.Pool(at))
	if !ok {
		return ""
	}
	return fmt.Sprintf("The widest gap is by %s: %s percentage points, between %s (%s linked, 95%% interval %s to %s) and %s (%s, %s to %s).",
		fieldName(at.Name), strconv.FormatFloat(*at.MaxGap*100, 'f', 1, 64),
		low.Group, fixedPercent(low.Rate.Value), fixedPercent(low.Rate.Lo), fixedPercent(low.Rate.Hi),
		high.Group, fixedPercent(high.Rate.Value), fixedPercent(high.Rate.Lo), fixedPercent(high.Rate.Hi))
}

func equityChart(number int, d *result.EquityDimension) chart {
	name := fieldName(d.Name)
	t := dataTable{Caption: "Link rates by " + name, Head: []string{"Group", "Data set", "Records", "Link rate (95% interval)"}}
	var rows []bar
	last, least, most := "", 1.0, 0.0
	for i, g := range d.Groups {
		b := bar{Label: g.SourceDataset, Text: "hidden", Class: "s1", Hidden: true}
		if i == 0 || g.Group != last {
			b.Heading, last = g.Group, g.Group
		}
		cells := []string{g.Group, g.SourceDataset, "hidden", "hidden"}
		if g.Rows != nil && g.LinkRate != nil {
			e := g.LinkRate
			b.Value, b.Lo, b.Hi, b.Hidden = e.Value, e.Lo, e.Hi, false
			b.Text = fixedPercent(e.Value)
			cells[2], cells[3] = thousands(*g.Rows), fmt.Sprintf("%s (%s to %s)", fixedPercent(e.Value), fixedPercent(e.Lo), fixedPercent(e.Hi))
			least, most = min(least, e.Lo), max(most, e.Hi)
		}
		rows = append(rows, b)
		t.Rows = append(t.Rows, cells)
	}
	if least > most {
		least, most = 0, 1
	}
	step := niceStep(max(most-least, .02), 4)
	least, most = max(0, math.Floor(least/step+1e-9)*step), min(1, math.Ceil(most/step-1e-9)*step)
	shapes, height := bars(rows, least, most, true, linearTicks(least, most, 4, func(v float64) string { return plainPercent(v, 1) }))
	c := chart{ID: "equity-" + strconv.Itoa(number+1), Title: "Link rates by " + name,
		Desc:   "Points with 95% intervals: link rate of each group in each data set. The table below has the numbers.",
		Height: height, Shapes: shapes, Table: t, Data: d}
	if d.MaxGap != nil {
		c.Note = fmt.Sprintf("Widest gap: %s percentage points. ", strconv.FormatFloat(*d.MaxGap*100, 'f', 1, 64))
	}
	if least > 0 {
		c.Note += fmt.Sprintf("The axis begins at %s.", plainPercent(least, 1))
	}
	return c
}
