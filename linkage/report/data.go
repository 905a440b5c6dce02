package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

func blockSizes(run *result.Run) section {
	sec := section{ID: "blocks", Title: "How pairs were found"}
	if run == nil || len(run.Blocks) == 0 {
		sec.Text = []string{"The job did not block by tags, or block sizes were not recorded."}
		return sec
	}
	sec.Text = []string{"Records are compared when they share a block, such as a date of birth. Many pairs in few blocks point to a default value that was not recognised as missing."}
	type datum struct {
		PairsFrom int64  `json:"pairs_from"`
		Blocks    *int64 `json:"blocks"`
		Pairs     *int64 `json:"pairs"`
	}
	blocks, pairs := make([]int64, len(run.Blocks)), make([]int64, len(run.Blocks))
	for i, b := range run.Blocks {
		blocks[i], pairs[i] = b.Blocks, b.Pairs
	}
	shownBlocks, shownPairs := disclosure.Parts(blocks), disclosure.Parts(pairs)
	blockTexts, pairTexts := partTexts(blocks), partTexts(pairs)
	t := dataTable{Caption: "Blocks by the number of pairs in them", Head: []string{"Pairs in the block", "Blocks", "Pairs in all"}}
	var rows []bar
	var data []datum
	most := 0.0
	for i, b := range run.Blocks {
		to := 2*b.PairsFrom - 1
		size := thousands(b.PairsFrom)
		if to > b.PairsFrom {
			size = fmt.Sprintf("%s to %s", thousands(b.PairsFrom), thousands(to))
		}
		r := bar{Label: compact(float64(b.PairsFrom)) + " or more", Text: "hidden", Class: "s1", Hidden: shownPairs[i] == nil}
		if b.PairsFrom >= 1024 {
			r.Label = compact(math.Round(float64(b.PairsFrom)/1000)*1000) + " or more"
		}
		if b.PairsFrom <= 1 {
			r.Label = size + " pair"
		}
		if shownPairs[i] != nil {
			r.Value = float64(*shownPairs[i])
			r.Text = approximate(r.Value)
			most = max(most, r.Value)
		}
		rows = append(rows, r)
		data = append(data, datum{b.PairsFrom, shownBlocks[i], shownPairs[i]})
		t.Rows = append(t.Rows, []string{size, blockTexts[i], pairTexts[i]})
	}
	shapes, height := bars(rows, 0, most, false, linearTicks(0, most, 3, compact))
	sec.Charts = []chart{{ID: "block-sizes", Title: "Pairs by the size of their block", Desc: "Bars: number of pairs in blocks of each size. The table below has the numbers.",
		Height: height, Shapes: shapes, Table: t, Data: data}}
	return sec
}

// approximate writes a number to three digits: 1,234,565 as 1.23m.
func approximate(v float64) string {
	if v < 1000 {
		return compact(v)
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	r := math.Round(v/unit) * unit
	for _, u := range []struct {
		at   float64
		name string
	}{{1e12, "T"}, {1e9, "bn"}, {1e6, "m"}, {1e3, "k"}} {
		if r >= u.at {
			return strconv.FormatFloat(r/u.at, 'g', 3, 64) + u.name
		}
	}
	return compact(r)
}

func completeness(run *result.Run) section {
	sec := section{ID: "completeness", Title: "How complete the data were"}
	if run == nil || len(run.Completeness) == 0 {
		sec.Text = []string{"Completeness was not recorded."}
		return sec
	}
	sec.Text = []string{"The share of records in which a field was present and valid. A field that is missing cannot speak for or against a link."}
	type datum struct {
		SourceDataset string   `json:"source_dataset"`
		Field         string   `json:"field"`
		Share         *float64 `json:"share"`
	}
	var fields []string
	for _, c := range run.Completeness {
		if !slices.Contains(fields, c.Field) {
			fields = append(fields, c.Field)
		}
	}
	t := dataTable{Caption: "Share of records with a field, by field and data set", Head: []string{"Field", "Data set", "Present"}}
	var rows []bar
	var data []datum
	for _, field := range fields {
		heading := fieldName(field)
		for _, c := range run.Completeness {
			if c.Field != field {
				continue
			}
			v, text := share(c.Present, c.Rows)
			d := datum{c.SourceDataset, field, nil}
			b := bar{Heading: heading, Label: c.SourceDataset, Text: strings.Replace(text, "over ", "> ", 1), Class: "s1", Hidden: math.IsNaN(v)}
			if !b.Hidden {
				b.Value, d.Share = v, &v
			}
			switch text {
			case fewer:
				b.Text = "< 10"
			case nearlyAll:
				b.Value, b.Text, b.Hidden = 1, "≈ 100%", false // the bar says no more than the words
			}
			heading = ""
			rows = append(rows, b)
			data = append(data, d)
			t.Rows = append(t.Rows, []string{fieldName(field), c.SourceDataset, text})
		}
	}
	shapes, height := bars(rows, 0, 1, false, linearTicks(0, 1, 4, func(v float64) string { return plainPercent(v, 0) }))
	sec.Charts = []chart{{ID: "completeness", Title: "Completeness by field and data set", Desc: "Bars: share of records in which each field was present, by data set. The table below has the numbers.",
		Height: height, Shapes: shapes, Table: t, Data: data}}
	return sec
}

func equitySection(s *result.Summary) section {
	sec := section{ID: "equity", Title: "For whom it works less well"}
	if s.Equity == nil || len(s.Equity.Dimensions) == 0 {
		sec.Text = []string{"Link rates by group of people have not been measured: linker equity adds them. Linkage error is seldom spread evenly, and a study inherits what is missed."}
		return sec
	}
	if text := widest(s.Equity); text != "" {
		sec.Text = append(sec.Text, text)
	}
	sec.Text = append(sec.Text, "A link rate is the share of a group's records that found a partner. Rates differ by group for two reasons: linkage that works less well, and people who are truly in one data set only. Bars are 95% intervals; a gap within them may be chance.",
		"Groups under ten are hidden, with others where a hidden one would follow by subtraction; rates come from counts rounded to five.")
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
