package report

import (
	"fmt"
	"html/template"
	"math"
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
	RowLevel bool
	Headline []string
	Alerts   []string
	Figures  []figure
	Sections []section
}

// figure is one number at the head of the report.
type figure struct{ Label, Value, Note string }

// section is one part of the report, linked from its contents.
type section struct {
	ID, Title  string
	Text       []string
	Read       string // how to read it
	Items      []item
	Charts     []chart
	Waterfalls []waterfallGroup
	Tables     []dataTable
}

// item is a warning: a stable code and what it means.
type item struct{ Code, Text string }

func newView(s *result.Summary, run *result.Run, software string, pairs []Pair) *view {
	v := &view{Title: "Linkage report: " + s.Project, Software: software, RunID: s.RunID, RowLevel: len(pairs) > 0}
	v.Headline = headline(s)
	v.Alerts = alerts(s)
	v.Figures = figures(s)
	v.Sections = []section{quality(s), inputs(s, run), links(s, run)}
	if byModel(s) {
		v.Sections = append(v.Sections, calibration(s), weights(s), waterfalls(s, run, pairs), scores(s, run))
	} else {
		v.Sections = append(v.Sections, similarities(s, run))
	}
	v.Sections = append(v.Sections, found(s, run))
	if byModel(s) || len(run.Completeness) > 0 {
		v.Sections = append(v.Sections, completeness(run))
	}
	v.Sections = append(v.Sections, equitySection(s), warnings(s), parameters(s, run))
	return v
}

// byModel reports a job that weighs evidence with a model; others compare by
// similarity alone.
func byModel(s *result.Summary) bool { return s.Method != result.MethodCLK }

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
	if s.Links.Total == 0 {
		return []string{fmt.Sprintf("No links were made %s %s.", between, list(records))}
	}
	first := capital(fmt.Sprintf("%s links were made %s %s.", countText(s.Links.Total), between, list(records)))
	p, r := s.Estimated.Precision, s.Estimated.Recall
	var second string
	switch {
	case p != nil && r != nil:
		second = fmt.Sprintf("An estimated %s of them are right: they join two records of one person. They are an estimated %s of all the links there are to find. In other words, about %s is wrong, and about %s was missed.",
			estimateText(p), estimateText(r), inThousand(1-p.Value, "link"), inThousand(1-r.Value, "true link"))
	case p != nil:
		second = fmt.Sprintf("An estimated %s of them are right: they join two records of one person. How many links were missed is not known.", estimateText(p))
	case r != nil:
		second = fmt.Sprintf("They are an estimated %s of all the links there are to find; how many of them are right is not known.", estimateText(r))
	case !byModel(s):
		second = "How many of them are right, and how many were missed, is not known: this method links by similarity alone and estimates neither."
	default:
		second = "How many of them are right, and how many were missed, could not be estimated; the warnings say why."
	}
	return []string{first, second}
}

// inThousand writes a small share as a frequency: "1 link in 300".
func inThousand(share float64, noun string) string {
	if share < 1e-4 {
		return "fewer than 1 " + noun + " in 10,000"
	}
	n := 1 / share
	unit := math.Pow(10, math.Floor(math.Log10(n)))
	if n > 20 {
		unit /= 2
	}
	return fmt.Sprintf("1 %s in %s", noun, thousands(int64(math.Round(n/unit)*unit)))
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
	if slices.ContainsFunc(s.Warnings, func(w result.Warning) bool { return w.Code == result.TokenPassSkipped }) {
		a = append(a, "Not all data sets could be compared by NHS number: some have tokens of another key or epoch. These were linked to each other by demographics alone. The warnings name them and say what to do.")
	}
	if s.Links.Conflicts > 0 {
		a = append(a, fmt.Sprintf("Pairs of records with one NHS number whose names disagree: %s. They were set aside (conflicts.parquet) and not linked. A wrong NHS number on a record is a known hazard.", countText(s.Links.Conflicts)))
	}
	return a
}

func figures(s *result.Summary) []figure {
	shown := []figure{
		{"Links", countText(s.Links.Total), "pairs of records joined"},
		{"Estimated precision", "not known", "share of links that are right"},
		{"Estimated recall", "not known", "share of true links found"},
		{"Threshold", probability(s.Threshold), "least probability of a link"},
	}
	if !byModel(s) {
		shown[3].Note = "least similarity of a link"
		return []figure{shown[0], shown[3]}
	}
	for i, e := range []*result.Estimate{s.Estimated.Precision, s.Estimated.Recall} {
		if e != nil {
			shown[1+i].Value = percent(e.Value, 2)
		}
	}
	return shown
}

func inputs(s *result.Summary, run *result.Run) section {
	t := dataTable{Caption: "Records by data set", Head: []string{"Data set", "Records", "Linked"}}
	sec := section{ID: "inputs", Title: "What was linked"}
	sec.Read = "“Linked” is the share of a data set’s records that found a partner. A record without one is not an error: most often that person is in one data set only."
	if byModel(s) {
		t.Head = append(t.Head, "Unlinkable", "NHS number", "Token epoch")
		sec.Text = []string{fmt.Sprintf("Project %s, encoding profile %s. The linkage saw keyed tokens and encodings only: no name, date of birth, postcode or NHS number.", s.Project, s.Profile)}
		sec.Read += " “Unlinkable” records have neither an NHS number nor anything else to compare, so nothing can link them. “NHS number” is the share with a valid one. Numbers are compared as tokens, and only where two data sets have tokens of one key: their epochs are then equal."
	} else {
		sec.Text = []string{"The linkage saw encodings of whole records only: no name, date of birth, postcode or NHS number."}
	}
	rows := int64(0)
	for _, in := range s.Inputs {
		rows += in.Rows
		linked, unlinkable := "not recorded", "not recorded"
		for _, p := range run.Parties {
			if p.SourceDataset == in.SourceDataset {
				_, linked = share(p.Linked, p.Rows)
				_, unlinkable = share(p.Unlinkable, p.Rows)
			}
		}
		cells := []string{in.SourceDataset, countText(in.Rows), linked}
		if byModel(s) {
			_, tokens := share(in.ValidTokens, in.Rows)
			epoch := "not recorded"
			if in.Tokens != nil {
				epoch = fmt.Sprint(in.Tokens.Epoch)
			}
			cells = append(cells, unlinkable, tokens, epoch)
		}
		t.Rows = append(t.Rows, cells)
	}
	if _, unlinkable := share(s.Unlinkable, rows); rows > 0 {
		sec.Text = append(sec.Text, fmt.Sprintf("Unlinkable share over all data sets: %s of %s records.", unlinkable, countText(rows)))
	}
	sec.Tables = []dataTable{t}
	return sec
}

func warnings(s *result.Summary) section {
	sec := section{ID: "warnings", Title: "Warnings"}
	if len(s.Warnings) == 0 {
		sec.Text = []string{"The job gave no warning."}
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
	for _, in := range s.Inputs {
		rows = append(rows, []string{"Cohort of " + in.SourceDataset, in.CohortID})
		if in.Tokens != nil {
			rows = append(rows, []string{"Tokens of " + in.SourceDataset, in.Tokens.String()})
		}
	}
	if p := run.Parameters; p.Threshold != "" {
		rows = append(rows, []string{"Threshold asked for", p.Threshold}, []string{"One-to-one", p.OneToOne}, []string{"Blocking", p.Blocking})
		if byModel(s) {
			rows = append(rows, []string{"Least precision asked for", probability(p.MinPrecision)}, []string{"Candidates kept from probability", probability(p.Keep)})
		}
	}
	if len(s.Model.Fields) > 0 {
		converged := "yes"
		if !s.Model.Converged {
			converged = "no"
		}
		rows = append(rows, []string{"Model converged", converged}, []string{"Model iterations", thousands(int64(s.Model.Iterations))},
			[]string{"Probability that two random records match", optional(s.Model.Probability)})
	}
	rows = slices.DeleteFunc(rows, func(row []string) bool { return row[1] == "" })
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
