package report

import (
	"fmt"
	"slices"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

func links(s *result.Summary, run *result.Run) section {
	sec := section{ID: "links", Title: "What the links rest on"}
	if byModel(s) {
		sec.Charts = []chart{basisChart(s)}
	}
	if run.Numbers.Used {
		sec.Tables = append(sec.Tables, numbersTable(&run.Numbers))
	}
	sec.Tables = append(sec.Tables, clustersTable(s, run))
	return sec
}

func basisChart(s *result.Summary) chart {
	names := []string{"Both", "NHS number only", "Demographics only"}
	short := []string{"Both", "NHS number", "Demographics"}
	notes := []string{
		"equal NHS numbers, and demographics that would link alone",
		"equal NHS numbers; demographics could not be compared or do not decide",
		"names, date of birth, postcode and sex alone",
	}
	counts := []int64{s.Links.Both, s.Links.TokenOnly, s.Links.DemographicOnly}
	texts := partTexts(counts)
	shown := disclosure.Parts(counts)
	most := int64(0)
	type datum struct {
		Basis string `json:"basis"`
		Links *int64 `json:"links"`
	}
	var rows []bar
	var data []datum
	t := dataTable{Caption: "Links by what they rest on", Head: []string{"Basis", "Links", "Meaning"}}
	for i, name := range names {
		b := bar{Label: short[i], Text: texts[i], Class: "s1", Hidden: shown[i] == nil}
		if shown[i] != nil {
			b.Value = float64(*shown[i])
			most = max(most, *shown[i])
		}
		if b.Text == fewer {
			b.Text = "< 10"
		}
		rows = append(rows, b)
		data = append(data, datum{name, shown[i]})
		t.Rows = append(t.Rows, []string{name, texts[i], notes[i]})
	}
	shapes, height := bars(rows, 0, float64(most), false, linearTicks(0, float64(most), 3, compact))
	return chart{ID: "links-by-basis", Title: "Links by what they rest on", Desc: "Bars: number of links by basis. The table below has the numbers.",
		Read:   "An NHS number that is equal on both sides is strong evidence. Links by demographics alone are the ones that an NHS number could not give; they depend on the model below.",
		Height: height, Shapes: shapes, Table: t, Data: data}
}

// numbersTable says what NHS numbers said. The total of pairs with equal
// numbers is not in it, since a small part would follow from it.
func numbersTable(n *result.Numbers) dataTable {
	return dataTable{Caption: "What the NHS numbers said", Head: []string{"Pairs of records", "Number", "What was done"}, Rows: [][]string{
		{"Equal numbers, and demographics agree", countText(n.Confirmed), "linked"},
		{"Equal numbers, demographics do not decide", countText(n.Unconfirmed), "linked and flagged (basis token): often a wrong date of birth that the number rescues"},
		{"Equal numbers, names disagree", countText(n.Conflicts), "set aside, not linked"},
		{"Two valid numbers that differ, compared", countText(n.Different), "strong evidence against a link, not proof"},
		{"Of these, linked all the same", countText(n.DifferentLinked), "linked: everything else agrees, one number is likely to be wrong"},
	}}
}

// clusterFolds are the sizes that the table of clusters tells apart; the last
// is that size or more.
const clusterFolds = 5

func clustersTable(s *result.Summary, run *result.Run) dataTable {
	t := dataTable{Caption: "Clusters: records taken to be one person’s", Head: []string{"What", "Number"}}
	if len(run.ClusterSizes) == 0 {
		texts := partTexts([]int64{s.Clusters.Singletons, s.Clusters.Linked})
		t.Rows = [][]string{{"Records that found no partner", texts[0]}, {"Clusters of two records or more", texts[1]}}
	} else {
		counts := make([]int64, clusterFolds)
		for _, c := range run.ClusterSizes {
			counts[min(max(c.Records, 1), clusterFolds)-1] += c.Clusters
		}
		names := []string{"Records that found no partner", "Clusters of 2 records", "Clusters of 3 records", "Clusters of 4 records", "Clusters of 5 records or more"}
		for i, text := range partTexts(counts) {
			if i < 2 || slices.ContainsFunc(counts[i:], func(n int64) bool { return n > 0 }) {
				t.Rows = append(t.Rows, []string{names[i], text})
			}
		}
	}
	t.Rows = append(t.Rows, []string{"Records in the largest cluster", clusterBand(s.Clusters.Largest)})
	if byModel(s) {
		t.Rows = append(t.Rows, []string{"Pairs just below the threshold, worth a person’s look (decision review)", countText(s.Links.Review)})
	}
	return t
}

// clusterBand writes the size of one cluster without its exact number of
// records where it is large enough to stand out.
func clusterBand(n int64) string {
	if n <= 4 {
		return thousands(n)
	}
	if n < 10 {
		return "5 to 9"
	}
	return band(n)
}

// band writes a count of at least ten as a range, so that nothing can be had by
// subtracting it from another.
func band(n int64) string {
	from, to, factor := int64(10), int64(50), int64(2)
	for n >= to {
		from, to, factor = to, to*factor, 7-factor
	}
	return fmt.Sprintf("%s to %s", thousands(from), thousands(to-1))
}
