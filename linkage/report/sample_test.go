package report_test

import (
	"math"
	"testing"

	"tarn/linkage/equity/disclosure"
	"tarn/linkage/report"
	"tarn/linkage/result"
)

func estimate(v, lo, hi float64) *result.Estimate { return &result.Estimate{Value: v, Lo: lo, Hi: hi} }

// sample is a job between two parties with every section filled in.
func sample() (*result.Summary, *result.Run) {
	s := &result.Summary{
		Schema: result.SummarySchema, Software: "tarn test", Created: "2026-11-24T10:00:00Z", RunID: "8f14e45fceea167a",
		Project: "diabetes-pathways", Profile: "nhs-field-dob-1", ProfileDigest: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
		Method: "fs", Threshold: .62,
		Inputs: []result.Input{{SourceDataset: "north", CohortID: "0123456789abcdef", Rows: 20003, ValidTokens: 18001, Tokens: &result.Tokens{Scheme: "oblivious", Domain: "lake", Epoch: 2}},
			{SourceDataset: "south", CohortID: "fedcba9876543210", Rows: 19991, ValidTokens: 17989, Tokens: &result.Tokens{Scheme: "oblivious", Domain: "lake", Epoch: 2}}},
		Pairs:    result.Pairs{Planned: 412345, Compared: 412345, Token: 8102, Demographic: 404243},
		Links:    result.Links{Total: 9954, TokenOnly: 41, DemographicOnly: 1861, Both: 8052, Review: 77, Conflicts: 3},
		Clusters: result.Clusters{Total: 30040, Linked: 9954, Singletons: 20086, Largest: 2},
		Model:    result.Model{Converged: true, Iterations: 14, Probability: number(2.49e-5)},
		Estimated: result.Quality{
			Precision: estimate(.99961, .9991, .99983), Recall: estimate(.9934, .9912, .9951)},
		Unlinkable: 12,
		Resources:  result.Resources{WallS: 1.25, CPUS: number(2.4)},
		Warnings:   []result.Warning{{Code: "project_digest_differs", Text: "north and south carry different project digests; keys may have been rotated"}},
		Outputs:    []result.Output{{Path: "links.parquet", SHA256: "aa11"}, {Path: "clusters.parquet", SHA256: "bb22"}, {Path: "report.html", SHA256: "cc33"}, {Path: "run.json", SHA256: "dd44"}},
	}
	for _, f := range []struct {
		name string
		m, u []float64
	}{
		{"given_name", []float64{.02, .01, .01, .02, .03, .06, .10, .75}, []float64{.90, .04, .02, .015, .01, .008, .004, .003}},
		{"family_name", []float64{.04, .01, .01, .01, .02, .04, .07, .80}, []float64{.92, .03, .02, .01, .01, .005, .003, .002}},
		{"postcode", []float64{.29, .71}, []float64{.9998, .0002}},
		{"sex", []float64{.004, .996}, []float64{.5, .5}},
		{"nhs_number", []float64{.002, .998}, []float64{.999999, .000001}},
	} {
		for level := range f.m {
			s.Model.Fields = append(s.Model.Fields, result.ModelLevel{Field: f.name, Level: level, MProbability: f.m[level], UProbability: f.u[level], MatchWeight: math.Log2(f.m[level] / f.u[level])})
		}
	}
	for i, p := range []float64{.05, .1, .2, .3, .4, .5, .6, .62, .7, .8, .9, .95, .99, .999} {
		x := float64(i) / 13
		precision, recall := .985+.0149*math.Sqrt(x), .996-.03*x*x*x
		s.Thresholds = append(s.Thresholds, result.Threshold{MatchProbability: p, MatchWeight: math.Log2(p / (1 - p)), Links: 9954 + int64((7-i)*(27-i)),
			Precision: estimate(precision, precision-.004+.0035*x, math.Min(1, precision+.002-.0018*x)), Recall: estimate(recall, recall-.003, recall+.002)})
	}
	run := &result.Run{Schema: result.RunSchema, Software: s.Software, Created: s.Created, RunID: s.RunID,
		Parameters: result.Parameters{Threshold: "auto", MinPrecision: .99, Keep: .01, Method: "fs", OneToOne: "mutual", Blocking: "auto"},
		Fields:     []string{"given_name", "family_name", "postcode", "sex", "nhs_number"}}
	plantPatterns(s, run)
	for w := -22; w <= 34; w++ {
		strangers := 120000 * math.Exp(-math.Pow(float64(w+14)/4, 2))
		matches := 1200 * math.Exp(-math.Pow(float64(w-19)/7, 2))
		run.Scores = append(run.Scores, result.ScoreBin{MatchWeight: w, Pairs: int64(strangers + matches), Matches: matches})
	}
	for i, n := range []int64{3, 14, 88, 640, 4120, 9031, 3120, 205, 12} {
		from := int64(1) << i
		run.Blocks = append(run.Blocks, result.BlockBin{PairsFrom: from, Blocks: n, Pairs: n * (from + from/2)})
	}
	for _, f := range []struct {
		name  string
		share float64
	}{{"nhs_number", .9}, {"blk_dob", .9997}, {"given_name", .998}, {"family_name", .999}, {"postcode", .972}, {"sex", .995}} {
		for i, in := range s.Inputs {
			run.Completeness = append(run.Completeness, result.FieldPresence{SourceDataset: in.SourceDataset, Field: f.name, Rows: in.Rows, Present: int64(float64(in.Rows) * (f.share - .004*float64(i)))})
		}
	}
	return s, run
}

// plantPatterns adds what a run knows beyond its score and block counts.
func plantPatterns(s *result.Summary, run *result.Run) {
	recall := .9931
	run.Plan = result.Plan{Pairs: 412345, Recall: &recall}
	run.Passes = []result.Pass{{Name: "dob", Blocks: 17233, Pairs: 412100, Widest: 412}, {Name: "token", Blocks: 245, Pairs: 245, Widest: 1}}
	run.Numbers = result.Numbers{Used: true, Equal: 8102, Confirmed: 8052, Unconfirmed: 41, Conflicts: 3, Different: 301, DifferentLinked: 14}
	for _, in := range s.Inputs {
		run.Parties = append(run.Parties, result.Party{SourceDataset: in.SourceDataset, Rows: in.Rows, Linked: 9954, Unlinkable: 6})
	}
	run.ClusterSizes = []result.ClusterSizeBin{{Records: 1, Clusters: 20086}, {Records: 2, Clusters: 9954}}
	weight := map[string][]float64{}
	for _, l := range s.Model.Fields {
		weight[l.Field] = append(weight[l.Field], l.MatchWeight)
	}
	for i, levels := range [][]int{{7, 7, 1, 1, 1}, {7, 7, 0, 1, 1}, {7, 7, 1, 1, -1}, {4, 7, 1, 1, -1}, {7, 0, 0, 1, -1}, {0, 7, 1, 1, -1}, {0, 7, 1, 0, -1}, {1, 0, 0, 1, -1}, {0, 0, 0, 0, 0}} {
		p := result.Pattern{SourceDatasetL: "north", SourceDatasetR: "south", Levels: levels, Pairs: []int64{5203, 2034, 903, 88, 31, 214, 66, 50321, 130001}[i], Prior: -5.3}
		p.MatchWeight = p.Prior
		for f, field := range run.Fields {
			w := 0.0
			if levels[f] >= 0 {
				w = weight[field][levels[f]]
			}
			p.FieldWeights = append(p.FieldWeights, w)
			p.MatchWeight += w
		}
		if levels[0] == 0 && levels[1] == 7 {
			twin := .83
			p.Twin, p.Relatives = &twin, -3.1
			p.MatchWeight += p.Relatives
		}
		p.Probability = 1 / (1 + math.Exp2(-p.MatchWeight))
		run.Patterns = append(run.Patterns, p)
	}
}

func sampleEquity() *result.Equity {
	cell := func(group, party string, rows, linked int64) result.EquityGroup {
		rate := disclosure.Wilson(linked, rows)
		return result.EquityGroup{Group: group, SourceDataset: party, Rows: &rows, LinkRate: &rate}
	}
	gap := func(d *result.EquityDimension) {
		if low, high, ok := disclosure.Ends(disclosure.Pool(d)); ok {
			g := high.Rate.Value - low.Rate.Value
			d.MaxGap = &g
		}
	}
	ethnicity := result.EquityDimension{Name: "ethnic_category", Groups: []result.EquityGroup{
		cell("Asian or Asian British", "north", 2100, 1010), cell("Asian or Asian British", "south", 1990, 965),
		cell("Black, Black British, Caribbean or African", "north", 830, 390), cell("Black, Black British, Caribbean or African", "south", 850, 405),
		{Group: "Gypsy or Irish Traveller", SourceDataset: "north"}, {Group: "Gypsy or Irish Traveller", SourceDataset: "south"},
		cell("White", "north", 16500, 8240), cell("White", "south", 16605, 8285),
		cell("not recorded", "north", 520, 240), cell("not recorded", "south", 500, 235)}}
	age := result.EquityDimension{Name: "age_band", Groups: []result.EquityGroup{
		cell("0-17", "north", 4000, 1980), cell("0-17", "south", 4010, 1995), cell("18-64", "north", 12005, 5960), cell("18-64", "south", 11990, 5980),
		cell("65 and over", "north", 4000, 2015), cell("65 and over", "south", 3990, 1980)}}
	gap(&ethnicity)
	gap(&age)
	return &result.Equity{Dimensions: []result.EquityDimension{ethnicity, age}}
}

func number(v float64) *float64 { return &v }

// clk is the report of a job that links by similarity alone, with three parties.
func clk(t *testing.T) string {
	s := bare()
	s.Method, s.Threshold, s.Project = result.MethodCLK, .85, "clks"
	s.Inputs = []result.Input{{SourceDataset: "alpha", Rows: 5000}, {SourceDataset: "beta", Rows: 4990}, {SourceDataset: "gamma", Rows: 2010}}
	s.Links, s.Clusters = result.Links{Total: 3405}, result.Clusters{Total: 8600, Linked: 2705, Singletons: 5890, Largest: 3}
	run := &result.Run{Parameters: result.Parameters{Threshold: "0.85", OneToOne: "greedy", Blocking: "all"}, Plan: result.Plan{Pairs: 45030000, Recall: number(1)},
		ClusterSizes: []result.ClusterSizeBin{{Records: 1, Clusters: 5890}, {Records: 2, Clusters: 2005}, {Records: 3, Clusters: 700}}}
	for i := range 16 {
		links := int64(i * i * 12)
		run.Similarities = append(run.Similarities, result.SimilarityBin{Similarity: .84 + float64(i)/100, Links: links, Pairs: links + int64(20000*math.Exp2(float64(-i)))})
	}
	return render(t, s, run)
}

func rowLevel(t *testing.T) string {
	s, run := sample()
	p := run.Patterns[1]
	return render(t, s, run, report.Pair{SourceDatasetL: "north", SourceDatasetR: "south", UniqueIDL: "7d9f00", UniqueIDR: "a0b1c2",
		Levels: p.Levels, FieldWeights: p.FieldWeights, MatchWeight: p.MatchWeight - 1, LinkProbability: .97, Decision: result.DecisionLink})
}

// cutOver is the report of a job while one of two parties has brought its tokens to
// the new epoch.
func cutOver(t *testing.T) string {
	s, run := sample()
	s.Inputs[0].Tokens.Epoch = 1
	s.Links.DemographicOnly, s.Links.TokenOnly, s.Links.Both, s.Links.Conflicts = s.Links.Total, 0, 0, 0
	s.Warnings = append(s.Warnings, result.Warning{Code: result.TokenPassSkipped,
		Text: "tokens of north (token epoch 1) and south (token epoch 2) were not compared, and the two were linked by demographics alone: bring north to epoch 2 with tokeniser rotate, then link again"})
	run.Numbers = result.Numbers{}
	run.Passes = run.Passes[:1]
	return render(t, s, run)
}
