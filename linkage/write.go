package linkage

import (
	"cmp"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/table"
	"tarn/linkage/compare"
	"tarn/linkage/report"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// write writes the result folder; summary.json comes last, as it lists the
// digests of the others.
func (j *job) write(ctx context.Context) (*result.Summary, error) {
	summary := j.summary()
	run := j.run()
	err := j.stage(ctx, "write", func(ctx context.Context) error {
		steps := []func() ([]result.Output, error){
			func() ([]result.Output, error) { return j.writeLinks(result.LinksFile, j.candidates) },
			func() ([]result.Output, error) { return j.writeLinks(result.ConflictsFile, j.conflicts) },
			func() ([]result.Output, error) { return j.writeClusters(summary) },
		}
		for _, step := range steps {
			if err := ctx.Err(); err != nil {
				return err
			}
			outputs, err := step()
			if err != nil {
				return err
			}
			summary.Outputs = append(summary.Outputs, outputs...)
		}
		if err := result.WriteDocument(j.Out, result.ModelFile, modelDocument(j.model, j.strataNames(), j.cohorts[0].Manifest, j.Software, j.created)); err != nil {
			return err
		}
		if err := result.WriteDocument(j.Out, result.RunFile, run); err != nil {
			return err
		}
		if err := report.Write(filepath.Join(j.Out, result.ReportFile), summary, run, j.Software); err != nil {
			return err
		}
		for _, name := range []string{result.ModelFile, result.RunFile, result.ReportFile} {
			output, err := result.OutputOf(j.Out, name)
			if err != nil {
				return err
			}
			summary.Outputs = append(summary.Outputs, output)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	summary.Resources = resources(j.started, j.Wall(), j.stages)
	return summary, result.WriteDocument(j.Out, result.SummaryFile, summary)
}

func output(folder string, f table.File) result.Output {
	path, err := filepath.Rel(folder, f.Path)
	if err != nil {
		path = filepath.Base(f.Path)
	}
	return result.Output{Path: filepath.ToSlash(path), SHA256: f.SHA256, Bytes: &f.Bytes}
}

func (j *job) writeLinks(name string, candidates []resolve.Candidate) ([]result.Output, error) {
	w, err := result.CreateLinks(filepath.Join(j.Out, name), j.scheme.Names(), j.Software)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	for _, i := range j.linkOrder(candidates) {
		c := &candidates[i]
		if name == result.LinksFile && c.Probability < j.Keep {
			continue
		}
		l := j.link(c)
		if name == result.LinksFile { // conflicts compete with nothing
			l.LinkProbability = &c.Probability
		}
		if err := w.Append(l); err != nil {
			return nil, err
		}
	}
	f, err := w.Commit()
	if err != nil {
		return nil, err
	}
	return []result.Output{output(j.Out, f)}, nil
}

// linkOrder orders pairs by data sets and unique_ids, which tells nothing of
// the order of the input.
func (j *job) linkOrder(candidates []resolve.Candidate) []int {
	order := make([]int, len(candidates))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := &candidates[a], &candidates[b]
		s := &j.strata[x.Stratum]
		if x.Stratum != y.Stratum {
			return cmp.Compare(x.Stratum, y.Stratum)
		}
		return cmp.Or(cmp.Compare(s.left.UniqueID[x.Left], s.left.UniqueID[y.Left]), cmp.Compare(s.right.UniqueID[x.Right], s.right.UniqueID[y.Right]))
	})
	return order
}

func (j *job) link(c *resolve.Candidate) *result.Link {
	s := &j.strata[c.Stratum]
	score := j.scoreOf(c)
	l := &result.Link{
		MatchWeight: score.Weight, MatchProbability: score.Probability,
		SourceDatasetL: s.left.SourceDataset(), SourceDatasetR: s.right.SourceDataset(),
		UniqueIDL: s.left.UniqueID[c.Left], UniqueIDR: s.right.UniqueID[c.Right],
		MatchKey: "token", Basis: j.basis(c), Decision: result.DecisionNo,
	}
	if c.Pass != resolve.TokenPass {
		l.MatchKey = s.plan.Passes[c.Pass].Name
	}
	for f := range j.scheme.Fields {
		level := j.scheme.Level(c.Code, f)
		l.Gamma = append(l.Gamma, int8(level))
		l.FieldWeights = append(l.FieldWeights, j.model.FieldWeight(f, level))
	}
	switch {
	case c.Linked:
		l.Decision = result.DecisionLink
	case c.Review():
		l.Decision = result.DecisionReview
	}
	return l
}

// clusterings are the partitions of clusters.parquet: at the job's threshold
// and at three fixed ones.
func (j *job) clusterings() [4]*resolve.Clusters {
	var rows []int
	for _, c := range j.cohorts {
		rows = append(rows, c.Rows())
	}
	var strata []resolve.Stratum
	for _, s := range j.strata {
		strata = append(strata, s.Stratum)
	}
	onePerCohort := j.OneToOne != resolve.None
	at := func(threshold float64) *resolve.Clusters {
		return resolve.Cluster(rows, strata, j.candidates, onePerCohort, func(c *resolve.Candidate) bool { return c.Best && c.Probability >= threshold })
	}
	return [4]*resolve.Clusters{at(j.threshold), at(.90), at(.95), at(.99)}
}

func (j *job) writeClusters(summary *result.Summary) ([]result.Output, error) {
	members := j.members(j.clusterings(), &summary.Clusters)
	f, err := result.WriteClusters(filepath.Join(j.Out, result.ClustersFile), j.runID, j.Software, j.WithTokens, func(yield func(*result.Member) bool) {
		for i := range members {
			if !yield(&members[i]) {
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	outputs := []result.Output{output(j.Out, f)}
	folder := filepath.Join(j.Out, result.CrosswalkDir)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+folder, err, "choose a folder that can be written")
	}
	for _, c := range j.cohorts {
		var rows []result.CrosswalkRow
		for i := range members {
			if members[i].SourceDataset == c.SourceDataset() {
				rows = append(rows, result.CrosswalkRow{UniqueID: members[i].UniqueID, ClusterID: members[i].ClusterID})
			}
		}
		slices.SortFunc(rows, func(a, b result.CrosswalkRow) int { return strings.Compare(a.UniqueID, b.UniqueID) })
		f, err := result.WriteCrosswalk(filepath.Join(folder, c.SourceDataset()+".parquet"), j.Software, rows)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, output(j.Out, f))
	}
	return outputs, nil
}

// members returns a row for each record, by cluster, data set and unique_id.
func (j *job) members(clusterings [4]*resolve.Clusters, counts *result.Clusters) (members []result.Member) {
	var ids [4][]string // cluster ids of the records of all cohorts, in order
	for k, clusters := range clusterings {
		ids[k] = j.clusterIDs(clusters)
	}
	at := 0
	for n, c := range j.cohorts {
		for row := range c.Rows() {
			r := resolve.Record{Cohort: n, Row: int32(row)}
			m := result.Member{ClusterID: ids[0][at], SourceDataset: c.SourceDataset(), UniqueID: c.UniqueID[row],
				ClusterIDP90: ids[1][at], ClusterIDP95: ids[2][at], ClusterIDP99: ids[3][at], ClusterSize: clusterings[0].Size(r)}
			group := clusterings[0].Members(r)
			m.Datasets = datasetsIn(group)
			if group[0] == r {
				countCluster(counts, int64(len(group)))
			}
			if j.WithTokens && c.HasToken[row] {
				m.NHSToken = tokenText(c, row)
			}
			members = append(members, m)
			at++
		}
	}
	slices.SortFunc(members, func(a, b result.Member) int {
		return cmp.Or(strings.Compare(a.ClusterID, b.ClusterID), strings.Compare(a.SourceDataset, b.SourceDataset), strings.Compare(a.UniqueID, b.UniqueID))
	})
	return members
}

func datasetsIn(group []resolve.Record) (n int32) {
	for i, r := range group {
		if i == 0 || r.Cohort != group[i-1].Cohort {
			n++
		}
	}
	return n
}

func countCluster(counts *result.Clusters, size int64) {
	counts.Total++
	counts.Largest = max(counts.Largest, size)
	if size > 1 {
		counts.Linked++
	} else {
		counts.Singletons++
	}
}

// clusterIDs returns the cluster id of every record. The founding member of a
// cluster is the first by data set and unique_id.
func (j *job) clusterIDs(clusters *resolve.Clusters) (ids []string) {
	known := map[int32]string{}
	for n, c := range j.cohorts {
		for row := range c.Rows() {
			r := resolve.Record{Cohort: n, Row: int32(row)}
			key := clusters.Key(r)
			id, ok := known[key]
			if !ok {
				id = j.foundingID(clusters.Members(r))
				known[key] = id
			}
			ids = append(ids, id)
		}
	}
	return ids
}

func (j *job) foundingID(group []resolve.Record) string {
	first := slices.MinFunc(group, func(a, b resolve.Record) int {
		return cmp.Or(strings.Compare(j.cohorts[a.Cohort].SourceDataset(), j.cohorts[b.Cohort].SourceDataset()),
			strings.Compare(j.cohorts[a.Cohort].UniqueID[a.Row], j.cohorts[b.Cohort].UniqueID[b.Row]))
	})
	return j.state.clusterID(j.cohorts[first.Cohort].SourceDataset(), j.cohorts[first.Cohort].UniqueID[first.Row])
}

func tokenText(c *cohort.Cohort, row int) string {
	scheme, err := keys.SchemeNo(c.Manifest.TokenScheme, c.Manifest.TokenRelease)
	if err != nil {
		return ""
	}
	return keys.Token{Scheme: scheme, DomainNo: c.Manifest.DomainNo, TokenEpoch: uint16(c.Manifest.TokenEpoch), Value: c.Token[row]}.String()
}

func (j *job) strataNames() (names [][2]string) {
	for _, s := range j.strata {
		names = append(names, [2]string{s.left.SourceDataset(), s.right.SourceDataset()})
	}
	return names
}

func (j *job) summary() *result.Summary {
	m := j.cohorts[0].Manifest
	s := &result.Summary{
		Schema: result.SummarySchema, Software: j.Software, Created: j.created, RunID: j.runID,
		Project: m.Project, Profile: m.Profile, ProfileDigest: m.ProfileDigest, Method: "fs", Threshold: j.threshold,
		Pairs: j.pairs(), Links: j.links(), Unlinkable: j.unlinkable(), Warnings: append([]result.Warning{}, j.warnings...),
		Model:      result.Model{Converged: j.model.Converged, Iterations: j.model.Iterations, Probability: j.prevalence()},
		Thresholds: []result.Threshold{}, Inputs: []result.Input{}, Outputs: []result.Output{},
	}
	for _, c := range j.cohorts {
		tokens := int64(0)
		for _, has := range c.HasToken {
			if has {
				tokens++
			}
		}
		s.Inputs = append(s.Inputs, result.Input{SourceDataset: c.SourceDataset(), CohortID: c.Manifest.CohortID, Rows: int64(c.Rows()), ValidTokens: tokens})
	}
	for f, field := range j.scheme.Fields {
		for level := range j.model.M[f] {
			s.Model.Fields = append(s.Model.Fields, result.ModelLevel{Field: field.Name, Level: level,
				MProbability: j.model.M[f][level], UProbability: j.model.U[f][level], MatchWeight: j.model.FieldWeight(f, level)})
		}
	}
	s.Estimated = j.quality(j.estimator.At(j.threshold))
	for _, t := range j.thresholdGrid() {
		x := j.estimator.At(t)
		q := j.quality(x)
		s.Thresholds = append(s.Thresholds, result.Threshold{MatchProbability: t, MatchWeight: math.Log2(t / (1 - t)), Links: int64(x.Links), Precision: q.Precision, Recall: q.Recall})
	}
	return s
}

// thresholdGrid are the thresholds that the summary lists, the job's own among
// them. A threshold of 1 has no finite weight and is left out.
func (j *job) thresholdGrid() []float64 {
	grid := []float64{.1, .2, .3, .4, .5, .6, .7, .8, .9, .95, .98, .99, .995, .999}
	if j.threshold > 0 && j.threshold < 1 {
		grid = append(grid, j.threshold)
	}
	slices.Sort(grid)
	return slices.Compact(grid)
}

func (j *job) quality(x resolve.Expectation) (q result.Quality) {
	if j.estimator.ExpectedMatches() < minimumEstimated || x.Links == 0 {
		return q
	}
	lo, hi := resolve.Interval(x.Precision, x.PrecisionError)
	q.Precision = &result.Estimate{Value: x.Precision, Lo: lo, Hi: hi}
	lo, hi = resolve.Interval(x.Recall, x.RecallError)
	q.Recall = &result.Estimate{Value: x.Recall, Lo: lo, Hi: hi}
	return q
}

// prevalence is the probability that two random records of different parties
// are one person's; nil where there are no two.
func (j *job) prevalence() *float64 {
	pairs := 0.0
	for _, s := range j.strata {
		pairs += float64(s.left.Rows()) * float64(s.right.Rows())
	}
	if pairs == 0 {
		return nil
	}
	p := min(1, j.estimator.ExpectedMatches()/pairs)
	return &p
}

func (j *job) pairs() (p result.Pairs) {
	p.Planned = j.pairsPlanned()
	p.Token = j.tokenPairs()
	for _, h := range j.histograms {
		for code, n := range h {
			p.Compared += n
			if n > 0 && j.scheme.TokenLevel(uint32(code)) != compare.TokenEqual {
				p.Demographic += n
			}
		}
	}
	return p
}

func (j *job) links() (l result.Links) {
	l.Conflicts = int64(len(j.conflicts))
	for i := range j.candidates {
		c := &j.candidates[i]
		if c.Review() {
			l.Review++
		}
		if !c.Linked {
			continue
		}
		l.Total++
		switch j.basis(c) {
		case result.BasisToken:
			l.TokenOnly++
		case result.BasisBoth:
			l.Both++
		default:
			l.DemographicOnly++
		}
	}
	return l
}

// unlinkable counts records that have neither a token nor, with tags, a
// block, nor, without, a field to compare.
func (j *job) unlinkable() (n int64) {
	for _, c := range j.cohorts {
		var columns [][]bool
		if names, err := j.blocking(); err == nil && len(names) > 0 {
			for _, name := range names {
				columns = append(columns, c.Blocks[c.BlockIndex(cohort.BlockPrefix+name)].Present)
			}
		} else {
			for _, f := range c.Filters {
				columns = append(columns, f.Present)
			}
			for _, t := range c.Tags {
				columns = append(columns, t.Present)
			}
		}
		for row := range c.Rows() {
			linkable := c.HasToken[row]
			for _, present := range columns {
				linkable = linkable || present[row]
			}
			if !linkable {
				n++
			}
		}
	}
	return n
}

// run gathers the counts behind the report's pictures.
func (j *job) run() *result.Run {
	r := &result.Run{Schema: result.RunSchema, Software: j.Software, Created: j.created, RunID: j.runID,
		Parameters: j.parameters(), Fields: j.scheme.Names(), Scores: j.scoreBins(), Blocks: j.blockBins(), Completeness: []result.FieldPresence{}}
	for _, c := range j.cohorts {
		add := func(field string, present []bool) {
			p := result.FieldPresence{SourceDataset: c.SourceDataset(), Field: field, Rows: int64(c.Rows())}
			for _, ok := range present {
				if ok {
					p.Present++
				}
			}
			r.Completeness = append(r.Completeness, p)
		}
		add(compare.TokenField, c.HasToken)
		for i, name := range c.Layout.Blocks {
			add(name, c.Blocks[i].Present)
		}
		for i, f := range c.Layout.Filters {
			add(strings.TrimPrefix(f.Name, cohort.FilterPrefix), c.Filters[i].Present)
		}
		for i, name := range c.Layout.Tags {
			add(strings.TrimPrefix(name, cohort.TagPrefix), c.Tags[i].Present)
		}
	}
	return r
}

func (j *job) scoreBins() []result.ScoreBin {
	bins := map[int]*result.ScoreBin{}
	for s, h := range j.histograms {
		for code, n := range h {
			if n == 0 {
				continue
			}
			score := j.model.Score(s, uint32(code))
			at := int(math.Floor(score.Weight))
			if bins[at] == nil {
				bins[at] = &result.ScoreBin{MatchWeight: at}
			}
			bins[at].Pairs += n
			bins[at].Matches += float64(n) * score.Probability
		}
	}
	list := make([]result.ScoreBin, 0, len(bins))
	for _, b := range bins {
		list = append(list, *b)
	}
	slices.SortFunc(list, func(a, b result.ScoreBin) int { return cmp.Compare(a.MatchWeight, b.MatchWeight) })
	return list
}

func (j *job) blockBins() []result.BlockBin {
	bins := map[int64]*result.BlockBin{}
	for _, s := range j.strata {
		for _, pass := range s.plan.Passes {
			countBlocks(pass, bins)
		}
	}
	list := make([]result.BlockBin, 0, len(bins))
	for _, b := range bins {
		list = append(list, *b)
	}
	slices.SortFunc(list, func(a, b result.BlockBin) int { return cmp.Compare(a.PairsFrom, b.PairsFrom) })
	return list
}

func countBlocks(pass *block.Pass, bins map[int64]*result.BlockBin) {
	for i := range pass.Blocks() {
		pairs := pass.Block(i).Pairs()
		from := int64(1)
		for from*2 <= pairs {
			from *= 2
		}
		if bins[from] == nil {
			bins[from] = &result.BlockBin{PairsFrom: from}
		}
		bins[from].Blocks++
		bins[from].Pairs += pairs
	}
}
