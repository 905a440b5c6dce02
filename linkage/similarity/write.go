package similarity

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tarn/keys/fault"
	"tarn/linkage"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/table"
	"tarn/linkage/report"
	"tarn/linkage/report/tally"
	"tarn/linkage/result"
)

// write writes the result folder; summary.json comes last, as it lists the
// digests of the others.
func (j *job) write(ctx context.Context) (*result.Summary, error) {
	summary, run := j.summary(), j.run()
	err := j.stage(ctx, "write", func(ctx context.Context) error {
		if err := j.writeTables(ctx, summary, run); err != nil {
			return err
		}
		if err := result.WriteDocument(j.Out, result.RunFile, run); err != nil {
			return err
		}
		if err := report.Write(filepath.Join(j.Out, result.ReportFile), summary, run, j.Software); err != nil {
			return err
		}
		for _, name := range []string{result.RunFile, result.ReportFile} {
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
	summary.Resources = linkage.Used(j.started, j.Wall(), j.stages)
	return summary, result.WriteDocument(j.Out, result.SummaryFile, summary)
}

// writeTables writes links, clusters and crosswalks, and counts what is in them.
func (j *job) writeTables(ctx context.Context, summary *result.Summary, run *result.Run) error {
	take := func(f table.File, err error) error {
		if err != nil {
			return err
		}
		path, err := filepath.Rel(j.Out, f.Path)
		if err != nil {
			return fault.Wrap(fault.Internal, "writing "+f.Path, err, "")
		}
		summary.Outputs = append(summary.Outputs, result.Output{Path: filepath.ToSlash(path), SHA256: f.SHA256, Bytes: &f.Bytes})
		return nil
	}
	if err := take(result.WriteSimilarityLinks(filepath.Join(j.Out, result.LinksFile), j.Software, j.links(ctx))); err != nil {
		return err
	}
	members := j.members(&summary.Clusters, run)
	if err := take(result.WriteSimilarityClusters(filepath.Join(j.Out, result.ClustersFile), j.runID, j.Software, j.clusterRows(ctx, members))); err != nil {
		return err
	}
	folder := filepath.Join(j.Out, result.CrosswalkDir)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fault.Wrap(fault.Internal, "writing "+folder, err, "choose a folder that can be written")
	}
	for i, s := range j.sets {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := take(result.WriteCrosswalk(filepath.Join(folder, s.Name+".parquet"), j.Software, j.crosswalk(members, uint16(i)))); err != nil {
			return err
		}
	}
	return nil
}

// interruptible is how many rows are written between two looks whether to go on.
const interruptible = 1 << 14

// links gives the rows of links.parquet: all candidates, in anonlink's order.
func (j *job) links(ctx context.Context) iter.Seq2[*result.SimilarityLink, error] {
	return func(yield func(*result.SimilarityLink, error) bool) {
		var l result.SimilarityLink
		for i, c := range j.candidates {
			var err error
			if i%interruptible == 0 {
				err = ctx.Err()
				j.report("write")(int64(i), int64(len(j.candidates)))
			}
			left, right := j.sets[c.Left], j.sets[c.Right]
			l = result.SimilarityLink{SourceDatasetL: left.Name, SourceDatasetR: right.Name, UniqueIDL: left.UniqueID(int(c.LeftRow)), UniqueIDR: right.UniqueID(int(c.RightRow)),
				Similarity: c.Similarity, Linked: j.linked(i)}
			if !yield(&l, err) {
				return
			}
		}
	}
}

// member is a record and its cluster.
type member struct {
	cluster        cohort.ID
	record         Record
	size, datasets int32
}

// members returns a member for each record, by cluster, data set and
// unique_id.
func (j *job) members(counts *result.Clusters, run *result.Run) (members []member) {
	sizes := map[int64]int64{}
	add := func(records ...Record) {
		size := int64(len(records))
		counts.Total++
		counts.Largest = max(counts.Largest, size)
		if size > 1 {
			counts.Linked++
		} else {
			counts.Singletons++
		}
		sizes[size]++
		m := member{cluster: j.ids.Of(j.name(slices.MinFunc(records, j.byName))), size: int32(size), datasets: datasetsOf(records)}
		for _, m.record = range records {
			members = append(members, m)
		}
	}
	for _, records := range j.groups.All {
		add(records...)
	}
	for i, s := range j.sets {
		for row := range s.Rows() {
			r := Record{uint16(i), uint32(row)}
			if g := j.groups.Of(r); g == none || len(j.groups.groups[g].members) == 1 {
				add(r)
			}
		}
	}
	slices.SortFunc(members, func(a, b member) int {
		return cmp.Or(a.cluster.Compare(b.cluster), j.byName(a.record, b.record))
	})
	run.ClusterSizes = tally.ClusterSizes(func(yield func(int64) bool) {
		for _, size := range slices.Sorted(maps.Keys(sizes)) {
			for range sizes[size] {
				if !yield(size) {
					return
				}
			}
		}
	})
	return members
}

func (j *job) name(r Record) (sourceDataset, uniqueID string) {
	return j.sets[r.Party].Name, j.sets[r.Party].UniqueID(int(r.Row))
}

// byName orders records by data set and unique_id.
func (j *job) byName(a, b Record) int {
	if a.Party != b.Party {
		return strings.Compare(j.sets[a.Party].Name, j.sets[b.Party].Name)
	}
	return j.sets[a.Party].compareIDs(a.Row, b.Row)
}

func datasetsOf(records []Record) (n int32) {
	for i, r := range records {
		if !slices.ContainsFunc(records[:i], func(before Record) bool { return before.Party == r.Party }) {
			n++
		}
	}
	return n
}

func (j *job) clusterRows(ctx context.Context, members []member) iter.Seq2[*result.Member, error] {
	return func(yield func(*result.Member, error) bool) {
		var row result.Member
		for i, m := range members {
			var err error
			if i%interruptible == 0 {
				err = ctx.Err()
			}
			name, id := j.name(m.record)
			row = result.Member{ClusterID: m.cluster.String(), SourceDataset: name, UniqueID: id, ClusterSize: m.size, Datasets: m.datasets}
			if !yield(&row, err) {
				return
			}
		}
	}
}

// crosswalk gives the rows of a party, by unique_id.
func (j *job) crosswalk(members []member, party uint16) iter.Seq[result.CrosswalkRow] {
	set := j.sets[party]
	clusters := make([]cohort.ID, set.Rows())
	for _, m := range members {
		if m.record.Party == party {
			clusters[m.record.Row] = m.cluster
		}
	}
	return func(yield func(result.CrosswalkRow) bool) {
		for _, row := range set.byID() {
			if !yield(result.CrosswalkRow{UniqueID: set.UniqueID(int(row)), ClusterID: clusters[row].String()}) {
				return
			}
		}
	}
}

func (j *job) pairs() (n int64) {
	for i, left := range j.sets {
		for _, right := range j.sets[i+1:] {
			n += int64(left.Rows()) * int64(right.Rows())
		}
	}
	return n
}

func (j *job) summary() *result.Summary {
	pairs := j.pairs()
	s := &result.Summary{Schema: result.SummarySchema, Software: j.Software, Created: j.created, RunID: j.runID, Method: result.MethodCLK, Threshold: j.Threshold,
		Pairs: result.Pairs{Planned: pairs, Compared: pairs, Demographic: pairs}, Warnings: append([]result.Warning{}, j.warnings...),
		Model: result.Model{Fields: []result.ModelLevel{}}, Thresholds: []result.Threshold{}, Inputs: []result.Input{}, Outputs: []result.Output{}}
	if j.cohorts != nil {
		m := j.cohorts[0].Manifest
		s.Project, s.Profile, s.ProfileDigest = m.Project, m.Profile, m.ProfileDigest
	}
	for _, set := range j.sets {
		s.Inputs = append(s.Inputs, result.Input{SourceDataset: set.Name, CohortID: set.Digest, Rows: int64(set.Rows())})
		s.Unlinkable += set.empty
	}
	for i := range j.candidates {
		if j.linked(i) {
			s.Links.Total++
		}
	}
	s.Links.DemographicOnly = s.Links.Total
	return s
}

// run gathers the counts behind the report's pictures.
func (j *job) run() *result.Run {
	pairs, everything := j.pairs(), 1.0
	r := &result.Run{Schema: result.RunSchema, Software: j.Software, Created: j.created, RunID: j.runID, Parameters: j.parameters(), Fields: []string{},
		Plan: result.Plan{Pairs: pairs, Recall: &everything}, Passes: []result.Pass{{Name: linkage.BlockAll, Blocks: 1, Pairs: pairs, Widest: pairs}},
		Blocks: []result.BlockBin{}, Scores: []result.ScoreBin{}, Patterns: []result.Pattern{}, Completeness: []result.FieldPresence{},
		Similarities: tally.Similarities(func(yield func(float64, bool) bool) {
			for i, c := range j.candidates {
				if !yield(c.Similarity, j.linked(i)) {
					return
				}
			}
		})}
	linked := make([]int64, len(j.sets))
	for i, seen := range j.inLinks() {
		for _, is := range seen {
			if is {
				linked[i]++
			}
		}
	}
	for i, s := range j.sets {
		r.Parties = append(r.Parties, result.Party{SourceDataset: s.Name, Rows: int64(s.Rows()), Linked: linked[i], Unlinkable: s.empty})
		r.Completeness = append(r.Completeness, result.FieldPresence{SourceDataset: s.Name, Field: "record", Rows: int64(s.Rows()), Present: int64(s.Rows()) - s.empty})
	}
	return r
}

// inLinks tells, by party and row, which records are in a link.
func (j *job) inLinks() [][]bool {
	seen := make([][]bool, len(j.sets))
	for i, s := range j.sets {
		seen[i] = make([]bool, s.Rows())
	}
	for i, c := range j.candidates {
		if j.linked(i) {
			seen[c.Left][c.LeftRow], seen[c.Right][c.RightRow] = true, true
		}
	}
	return seen
}
