package report

import (
	"math"
	"slices"
	"strings"

	"tarn/linkage/result"
)

func completeness(run *result.Run) section {
	sec := section{ID: "completeness", Title: "How complete the data were"}
	if len(run.Completeness) == 0 {
		sec.Text = []string{"Completeness was not recorded."}
		return sec
	}
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
				v = math.Round(v*1e4) / 1e4
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
		Read:   "The share of records in which a field was present and valid. A field that is missing cannot speak for or against a link. A field that is much less complete on one side than on the other is worth a question to that side.",
		Height: height, Shapes: shapes, Table: t, Data: data}}
	return sec
}
