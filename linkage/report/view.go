package report

import (
	"fmt"
	"html/template"
	"path/filepath"
	"slices"
	"strings"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/result"
)

// view is what the template shows.
type view struct {
	CSS       template.CSS
	StyleHash string

	Title    string
	Software string
	RunID    string
	Headline []string
	Alerts   []string
	Figures  []figure
	Sections []section
}

// figure is one number at the head of the report.
type figure struct{ Label, Value, Note string }

// section is one part of the report, linked from its contents.
type section struct {
	ID, Title string
	Text      []string
	Tables    []dataTable
	Charts    []chart
	Items     []item
}

// item is a warning: a stable code and what it means.
type item struct{ Code, Text string }

func newView(s *result.Summary, run *result.Run, software string) *view {
	v := &view{Title: "Linkage report: " + s.Project, Software: software, RunID: s.RunID}
	v.Headline = headline(s)
	v.Alerts = alerts(s)
	v.Figures = figures(s)
	v.Sections = []section{inputs(s), links(s), quality(s)}
	v.Sections = append(v.Sections, weights(s), scores(s, run), blockSizes(run), completeness(run))
	v.Sections = append(v.Sections, equitySection(s))
	v.Sections = append(v.Sections, warnings(s), parameters(s, run))
	return v
}

func headline(s *result.Summary) []string {
	records := make([]string, len(s.Inputs))
	for i, in := range s.Inputs {
		the := "the "
		if disclosure.Small(in.Rows) {
			the = "" // "fewer than 10 records"
		}
		records[i] = fmt.Sprintf("%s%s records of %s", the, countText(in.Rows), in.SourceDataset)
	}
	between := "between"
	if len(s.Inputs) == 1 {
		between = "within"
	} else if len(s.Inputs) > 2 {
		between = "among"
	}
	made := countText(s.Links.Total) + " links were made"
	if s.Links.Total == 0 {
		made = "no links were made"
	}
	first := fmt.Sprintf("%s %s %s.", made, between, list(records))
	if s.Links.Total == 0 {
		return []string{capital(first)}
	}
	p, r := s.Estimated.Precision, s.Estimated.Recall
	var second string
	switch {
	case p != nil && r != nil:
		second = fmt.Sprintf("An estimated %s of them join two records of one person, and they are an estimated %s of all the links there are to find.", estimateText(p), estimateText(r))
	case p != nil:
		second = fmt.Sprintf("An estimated %s of them join two records of one person; how many links were missed is not known.", estimateText(p))
	case r != nil:
		second = fmt.Sprintf("They are an estimated %s of all the links there are to find; how many of them are right is not known.", estimateText(r))
	default:
		second = "How many of them are right, and how many were missed, could not be estimated; the warnings say why."
	}
	return []string{capital(first), second}
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func alerts(s *result.Summary) []string {
	var a []string
	if len(s.Model.Fields) > 0 && !s.Model.Converged {
		a = append(a, "The model did not converge. Do not rely on the match weights and on what is estimated from them.")
	}
	if s.Links.Conflicts > 0 {
		a = append(a, fmt.Sprintf("Pairs of records with one NHS number token whose names disagree: %s. They are set aside in conflicts.parquet and not linked; a wrong NHS number on a record is a known hazard.", countText(s.Links.Conflicts)))
	}
	return a
}

func figures(s *result.Summary) []figure {
	shown := []figure{
		{"Links", countText(s.Links.Total), "pairs of records joined"},
		{"Estimated precision", "not known", "links that are right"},
		{"Estimated recall", "not known", "true links that were found"},
		{"Threshold", probability(s.Threshold), "least probability of a link"},
	}
	for i, e := range []*result.Estimate{s.Estimated.Precision, s.Estimated.Recall} {
		if e != nil {
			shown[1+i].Value = percent(e.Value, 2)
		}
	}
	return shown
}

func inputs(s *result.Summary) section {
	t := dataTable{Caption: "Records that were linked, by data set", Head: []string{"Data set", "Cohort", "Records", "With an NHS number token"}}
	for _, in := range s.Inputs {
		_, text := share(in.ValidTokens, in.Rows)
		t.Rows = append(t.Rows, []string{in.SourceDataset, in.CohortID, countText(in.Rows), text})
	}
	text := []string{fmt.Sprintf("Project %s, encoding profile %s. The linkage saw keyed tokens and encodings only, no name, date or number.", s.Project, s.Profile)}
	if s.Unlinkable > 0 {
		text = append(text, fmt.Sprintf("Records with neither a token nor anything to compare, which nothing can link: %s.", countText(s.Unlinkable)))
	}
	return section{ID: "inputs", Title: "What was linked", Text: text, Tables: []dataTable{t}}
}

func links(s *result.Summary) section {
	names := []string{"Both", "NHS number only", "Demographics only"}
	short := []string{"Both", "NHS number", "Demographics"}
	notes := []string{
		"equal NHS number tokens, and demographics that would link alone",
		"equal NHS number tokens; demographics could not be compared or do not decide",
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
	c := chart{ID: "links-by-basis", Title: "Links by what they rest on", Desc: "Bars: number of links by basis. The table below has the numbers.",
		Height: height, Shapes: shapes, Table: t, Data: data}
	clusters := partTexts([]int64{s.Clusters.Linked, s.Clusters.Singletons})
	also := dataTable{Caption: "Pairs and clusters", Head: []string{"What", "Number"}, Rows: [][]string{
		{"Pairs left for review", countText(s.Links.Review)},
		{"Pairs in conflict, set aside", countText(s.Links.Conflicts)},
		{"Clusters (people) of two records or more", clusters[0]},
		{"Records that found no partner", clusters[1]},
		{"Records in the largest cluster", thousands(s.Clusters.Largest)},
		{"Pairs planned", countText(s.Pairs.Planned)},
		{"Pairs compared", countText(s.Pairs.Compared)},
		{"Pairs with equal NHS number tokens", countText(s.Pairs.Token)},
	}}
	return section{ID: "links", Title: "What the links rest on", Charts: []chart{c}, Tables: []dataTable{also}}
}

func warnings(s *result.Summary) section {
	sec := section{ID: "warnings", Title: "Warnings"}
	if len(s.Warnings) == 0 {
		sec.Text = []string{"None."}
	}
	for _, w := range s.Warnings {
		sec.Items = append(sec.Items, item(w))
	}
	return sec
}

func parameters(s *result.Summary, run *result.Run) section {
	sec := section{ID: "parameters", Title: "How it was done"}
	rows := [][]string{{"Run", s.RunID}, {"Project", s.Project}, {"Encoding profile", s.Profile}, {"Profile digest (SHA-256)", s.ProfileDigest},
		{"Method", s.Method}, {"Threshold in use", probability(s.Threshold)}}
	if run != nil {
		p := run.Parameters
		rows = append(rows, []string{"Threshold asked for", p.Threshold}, []string{"Least precision asked for", probability(p.MinPrecision)},
			[]string{"Candidates kept from probability", probability(p.Keep)}, []string{"One-to-one", p.OneToOne}, []string{"Blocking", p.Blocking})
	}
	if len(s.Model.Fields) > 0 {
		converged := "yes"
		if !s.Model.Converged {
			converged = "no"
		}
		rows = append(rows, []string{"Model converged", converged}, []string{"Model iterations", thousands(int64(s.Model.Iterations))},
			[]string{"Probability that two random records match", optional(s.Model.Probability)})
	}
	sec.Tables = append(sec.Tables, dataTable{Caption: "Parameters", Head: []string{"Parameter", "Value"}, Rows: rows})
	files := dataTable{Caption: "Tables of this result and their SHA-256 digests", Head: []string{"File", "SHA-256"}}
	for _, o := range s.Outputs {
		// The JSON documents carry the time, this report its own digest: neither could be repeated.
		if filepath.Ext(o.Path) == ".parquet" {
			files.Rows = append(files.Rows, []string{o.Path, o.SHA256})
		}
	}
	slices.SortFunc(files.Rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	if len(files.Rows) > 0 {
		sec.Tables = append(sec.Tables, files)
	}
	sec.Text = []string{"When the job ran and what it cost is in summary.json, so that this file is the same from run to run."}
	return sec
}
