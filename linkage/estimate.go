package linkage

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"time"

	"tarn/keys/fault"
	"tarn/linkage/block"
	"tarn/linkage/compare"
	"tarn/linkage/result"
)

// PlanSchema is the schema member of what --plan prints.
const PlanSchema = "tarn.link-plan/1"

// Plan says what a job would take. Its counts are exact; time, memory and disk
// are estimated from what reading, a sample of the comparisons and a sample of
// the writing took on this machine just now.
type Plan struct {
	Schema   string        `json:"schema"`
	Software string        `json:"software"`
	Created  string        `json:"created"`
	Project  string        `json:"project"`
	Inputs   []PlanInput   `json:"inputs"`
	Blocking string        `json:"blocking"`
	Passes   []result.Pass `json:"passes"` // pairs before those that two passes share are left out
	result.Plan
	ResultBytes int64            `json:"result_bytes"` // of the result folder
	Enough      bool             `json:"enough"`       // whether --memory is
	Warnings    []result.Warning `json:"warnings"`
}

// PlanInput is one cohort of the job.
type PlanInput struct {
	SourceDataset string         `json:"source_dataset"`
	CohortID      string         `json:"cohort_id"`
	Rows          int64          `json:"rows"`
	ValidTokens   int64          `json:"valid_tokens"`
	Tokens        *result.Tokens `json:"tokens"`
}

// Estimate plans a job and does none of it. Out, State and Checkpoint of the
// options are not used.
func Estimate(ctx context.Context, o Options) (*Plan, error) {
	folder, err := os.MkdirTemp(o.TmpDir, "tarn-linker-plan-")
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "planning the job", err, "name a folder that can be written with --tmp-dir")
	}
	defer func() { _ = os.RemoveAll(folder) }() // samples without anybody in them
	o.State, o.Out = folder, folder
	j := newJob(o)
	defer j.close()
	if err := j.stage(ctx, "read", j.read); err != nil {
		return nil, err
	}
	if err := j.stage(ctx, "plan", j.plan); err != nil {
		return nil, err
	}
	e := &estimate{job: j}
	if err := e.sample(ctx); err != nil {
		return nil, err
	}
	return e.plan(), nil
}

// estimate is what a job is expected to take.
type estimate struct {
	*job
	compare  float64 // seconds of all comparisons
	links    float64 // rows of links.parquet
	perLink  float64 // seconds for each, and bytes
	perRow   float64 // seconds for each record in clusters and crosswalks
	linkSize float64
	rowSize  float64
}

// Samples are large enough to be timed, and small beside what they stand for.
const (
	sampleRecords = 60_000
	samplePairs   = 32_000_000
	sampleRows    = 100_000
)

func (e *estimate) sample(ctx context.Context) error {
	if err := e.sampleCompare(ctx); err != nil {
		return err
	}
	return e.sampleWrite()
}

// sampleCompare compares the first records of the first pass. Keys are random
// numbers, so that they are like all others.
func (e *estimate) sampleCompare(ctx context.Context) error {
	j := e.job
	keep := make([][]bool, len(j.strata))
	for i := range keep {
		keep[i] = j.likely(i)
	}
	c := j.comparison(keep, "sample")
	records, total := 0, 0
	p := j.passes[0].Pass
	for _, s := range p.Sides {
		total += s.Runs.Rows()
	}
	if total == 0 {
		return nil
	}
	if j.passes[0].name == block.All {
		p.Parts = cutParts(p.Parts, len(p.Sides), int32(math.Sqrt(samplePairs)))
	}
	parts := p.Parts[:0:0]
	for _, part := range p.Parts {
		if records >= sampleRecords {
			break
		}
		parts = append(parts, part)
		for side := range p.Sides {
			records += int(part.To[side] - part.From[side])
		}
	}
	all := len(p.Parts) == len(parts) && j.passes[0].name != block.All
	p.Parts, p.Census = parts, false
	from, found := time.Now(), c.NewOutcome()
	if err := c.Run(ctx, &p, found); err != nil {
		return err
	}
	seconds := time.Since(from).Seconds()
	pairs := float64(found.Passes[0])
	planned := float64(j.pairsPlanned())
	switch {
	case all || pairs == 0:
		e.compare = seconds
	case j.passes[0].name == block.All:
		e.compare = seconds * planned / pairs
	default:
		// Reading goes with the records, comparing with the pairs, and both with the
		// number of parts.
		e.compare = seconds * (float64(total)/float64(records) + planned/pairs) / 2
	}
	e.countLinks(found, keep, planned/max(pairs, 1))
	return nil
}

// cutParts leaves the first records of the only part of the pass over all
// pairs.
func cutParts(parts []block.Part, sides int, records int32) []block.Part {
	cut := block.Part{Last: parts[0].Last}
	for side := range sides {
		cut.From = append(cut.From, 0)
		cut.To = append(cut.To, min(records, parts[0].To[side]))
	}
	return []block.Part{cut}
}

// countLinks guesses the rows of links.parquet: the pairs of the sample with
// equal tokens, or that the shipped weights take for matches.
func (e *estimate) countLinks(found *compare.Outcome, keep [][]bool, scale float64) {
	for i := range e.strata {
		prior := math.Log2(min(1, e.mostMatches(i)/2/max(float64(e.pairs(e.strata[i].LeftCohort, e.strata[i].RightCohort)), 1)))
		for code, n := range found.Cross[i].Counts {
			if n > 0 && keep[i][code] && (e.scheme.TokenLevel(uint32(code)) == compare.TokenEqual || e.shippedWeight(uint32(code))+prior > 0) {
				e.links += float64(n) * scale
			}
		}
		e.links += float64(len(e.strata[i].tokenOnly))
	}
}

// sampleWrite writes tables like those of a result.
func (e *estimate) sampleWrite() error {
	from := time.Now()
	w, err := result.CreateLinks(filepath.Join(e.Out, "links.parquet"), e.linkColumns(), e.Software)
	if err != nil {
		return err
	}
	defer w.Abort()
	l := result.Link{Gamma: make([]int8, len(e.scheme.Fields)), FieldWeights: make([]float64, len(e.scheme.Fields)), MatchKey: tokenKey, SourceDatasetL: e.cohorts[0].SourceDataset(), SourceDatasetR: e.cohorts[0].SourceDataset(), Basis: result.BasisBoth, Decision: result.DecisionLink}
	for range sampleRows {
		l.UniqueIDL, l.UniqueIDR = sampleID, sampleID
		if err := w.Append(&l); err != nil {
			return err
		}
	}
	f, err := w.Commit()
	if err != nil {
		return err
	}
	e.perLink, e.linkSize = time.Since(from).Seconds()/sampleRows, float64(f.Bytes)/sampleRows

	from = time.Now()
	f, err = result.WriteClusters(filepath.Join(e.Out, "clusters.parquet"), e.runID, e.Software, e.WithTokens, func(yield func(*result.Member) bool) {
		m := result.Member{ClusterID: sampleID, UniqueID: sampleID, ClusterIDP90: sampleID, ClusterIDP95: sampleID, ClusterIDP99: sampleID, ClusterSize: 1, Datasets: 1}
		for range sampleRows {
			if !yield(&m) {
				return
			}
		}
	})
	e.perRow, e.rowSize = time.Since(from).Seconds()/sampleRows, float64(f.Bytes)/sampleRows
	return err
}

const sampleID = "00000000000000000000000000000000"

// Costs that are not measured for each job, as multiples of those that are:
// what it takes to name, order and look up what is then written.
const (
	linksBeside    = 1.5   // of writing a link: scoring, resolving, ordering
	clustersBeside = 1.4   // of writing a row of clusters: joining, naming, ordering
	crosswalkShare = .35   // of a row of clusters: what one of a crosswalk takes, with its bytes
	fixedSeconds   = .1    // fitting and the report
	fixedBytes     = 105e6 // the program, its tables and what it reads at a time
	bytesOfRecord  = 105   // held of each record, with what the collector leaves
	leastOfEach    = 70    // the same where the collector has to look often
	bytesOfHash    = 9     // of each record's hashes
	bytesOfLink    = 50    // of each candidate
	limitShare     = .87   // of what may be taken, at which the collector begins to look often
)

// memory returns what the job is expected to take of what it may take, and
// whether that is enough.
func (e *estimate) memory(rows, beside float64) (bytes int64, enough bool) {
	needed := fixedBytes + beside + e.links*bytesOfLink
	most, least := needed+rows*bytesOfRecord, needed+rows*leastOfEach
	limit := limitShare * float64(e.Memory)
	return int64(max(least, min(most, limit))), least <= float64(e.Memory)
}

func (e *estimate) plan() *Plan {
	j := e.job
	p := &Plan{Schema: PlanSchema, Software: j.Software, Created: j.created, Project: j.cohorts[0].Manifest.Project, Blocking: j.way, Warnings: append([]result.Warning{}, j.warnings...)}
	rows := 0.0
	for _, c := range j.cohorts {
		rows += float64(c.Rows())
		p.Inputs = append(p.Inputs, PlanInput{c.SourceDataset(), c.Manifest.CohortID, int64(c.Rows()), c.tokens, tokensOf(c.Manifest)})
	}
	for _, x := range j.passes {
		p.Passes = append(p.Passes, j.plannedPass(x))
	}
	seconds := fixedSeconds + e.compare + e.links*e.perLink*(1+linksBeside) + rows*e.perRow*(1+clustersBeside)/2 + rows*e.perRow*crosswalkShare
	for _, s := range j.stages {
		seconds += s.WallS
	}
	beside, disk := 0.0, int64(0) // beside what is held of every record in every job
	if j.lsh != nil {
		beside += rows * float64(bytesOfHash*j.lsh.Hashes())
	}
	if !j.allInOrder() {
		spilled := int64(rows) * j.shape.RowBytes()
		if spilled > j.scattered {
			disk = spilled
		} else {
			beside += float64(spilled)
		}
	}
	memory, enough := e.memory(rows, beside)
	p.Plan = result.Plan{Pairs: j.pairsPlanned(), Seconds: &seconds, MemoryBytes: &memory, DiskBytes: &disk}
	p.Recall = j.blockingRecall()
	p.ResultBytes = int64(e.links*e.linkSize + rows*e.rowSize*(1+crosswalkShare))
	p.Enough = enough
	return p
}
