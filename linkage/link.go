// Package linkage links encoded cohorts: it refuses cohorts that were not
// encoded alike, finds the pairs worth comparing, fits a model to their
// agreement without truth, decides, clusters, and writes a result folder. It
// holds no tokenising or encoding key and sees no identifier.
//
// Of each record it holds what fits into some fifty bytes; encodings stream
// past, part by part.
package linkage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/compare"
	"tarn/linkage/model"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// Ways of blocking.
const (
	BlockAuto = "auto" // tags where the profile has them, else all pairs where there are not too many, else lsh
	BlockTags = "tags"
	BlockAll  = "all"
	BlockLSH  = "lsh" // locality-sensitive hashes of the filters
)

// Options are the settings of a job.
type Options struct {
	Inputs []string // cohort files or folders of parts: two or more, or one to deduplicate
	Dedupe bool     // link the records of the one cohort with each other
	Out    string   // an existing folder that the result is written into
	State  string   // folder of the linker's state; made if it is not there
	// Checkpoint is an existing folder for what a job that is stopped goes on from;
	// "" keeps nothing.
	Checkpoint string
	// CheckpointAfter is how long comparing must have taken for it to be kept:
	// what took less is sooner done again than read.
	CheckpointAfter time.Duration
	Resume          bool // go on from what Checkpoint holds, if it is of the same job
	// Finished is the run_id of a complete result that is there already. With
	// Resume, a job of that id is not done again, and ends with [ErrFinished].
	Finished string
	Model    string // a model.json whose probabilities are used; "" fits them
	// Project is the project's record as it is now, which the cohorts have to be of;
	// nil holds them to each other alone.
	Project *keys.Project
	// TokenEpoch is the epoch that the cohorts' tokens have to be of; 0 takes any, and
	// compares tokens where two cohorts' are of one epoch.
	TokenEpoch uint32
	// Threshold on link_probability; nil chooses it without truth.
	Threshold *float64
	// MinPrecision bounds, from below, the estimated precision of a threshold
	// that is chosen without truth.
	MinPrecision float64
	Keep         float64 // links.parquet holds pairs of at least this link_probability
	OneToOne     resolve.Assignment
	Blocking     string
	WithTokens   bool
	Threads      int
	Memory       int64  // bytes that the job may take
	TmpDir       string // for what does not fit; "" is the system's

	Software string
	Clock    func() time.Time                      // the time that documents carry
	Wall     func() time.Time                      // the real time, for expiry and durations
	Random   io.Reader                             // for a new state's key
	Progress func(stage string, done, total int64) // may be nil
	Note     func(text string)                     // says how the job goes, which is not part of its result; may be nil
}

// ErrFinished says that there is nothing to go on with: the job was done.
var ErrFinished = errors.New("linkage: the result is there already")

// job is one run of Link.
type job struct {
	Options
	created  string
	started  time.Time
	stages   []result.Stage
	cohorts  []*party
	lastNo   int32 // the greatest number of a token
	rounded  bool
	way      string   // of blocking
	tags     []string // the block columns that are used, without their prefix
	lsh      *block.LSH
	strata   []stratum
	skipped  []skipped // pairs of cohorts whose tokens are not compared
	passes   []*pass
	people   *resolve.People
	scheme   *compare.Scheme
	given    *model.Document // of Options.Model; may be nil
	shape    *cohort.Shape
	model    *model.Model
	state    *state
	jobID    string // the run_id that it would have with no job before it
	runID    string
	earlier  string // the run_id of the job whose clusters this one goes on from; "" where there is none
	number   int    // of the run, from 1
	founders founders
	warnings []result.Warning
	disk     peak

	scattered  int64    // bytes that records may take which do not lie in the order of a pass
	margin     float64  // see likelyMargin
	fewPairs   int      // see few
	keep       [][]bool // of each stratum, the patterns whose pairs are kept when they are first compared
	found      *compare.Outcome
	candidates []resolve.Candidate
	conflicts  []resolve.Candidate
	threshold  float64
	estimator  *resolve.Estimator
}

// Link runs a job and returns its summary, which is also in the folder.
func Link(ctx context.Context, o Options) (*result.Summary, error) {
	j := newJob(o)
	defer j.close()
	return j.do(ctx)
}

func (j *job) do(ctx context.Context) (*result.Summary, error) {
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"read", j.read}, {"plan", j.plan}, {"compare", j.compare}, {"fit", j.fit}, {"score", j.score}, {"resolve", j.resolve},
	} {
		if err := j.stage(ctx, stage.name, stage.run); err != nil {
			return nil, err
		}
	}
	return j.write(ctx)
}

func newJob(o Options) *job {
	return &job{Options: o, created: created(o.Clock()), started: o.Wall(), scattered: o.Memory / 4, margin: likelyMargin, fewPairs: fewPairs}
}

func (j *job) close() {
	for _, c := range j.cohorts {
		c.Close()
	}
}

func (j *job) stage(ctx context.Context, name string, run func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	from := j.Wall()
	j.report(name, 0, 0)
	if err := run(ctx); err != nil {
		return err
	}
	j.stages = append(j.stages, result.Stage{Name: name, WallS: j.Wall().Sub(from).Seconds()})
	return nil
}

func (j *job) report(stage string, done, total int64) {
	if j.Progress != nil {
		j.Progress(stage, done, total)
	}
}

func (j *job) note(text string) {
	if j.Note != nil {
		j.Note(text)
	}
}

func (j *job) warn(code, format string, args ...any) {
	j.warnings = append(j.warnings, result.Warning{Code: code, Text: fmt.Sprintf(format, args...)})
}

func created(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// mostParties is more than there are regions, and as many as fit where a party
// is one byte.
const mostParties = 100

// check refuses numbers of inputs that the job cannot be done with.
func (o *Options) check() error {
	switch {
	case o.Dedupe && len(o.Inputs) != 1:
		return fault.New(fault.Usage, "deduplicating", "there is not one cohort", "give the Parquet file of one party")
	case !o.Dedupe && len(o.Inputs) < 2:
		return fault.New(fault.Usage, "linking", "there are fewer than two cohorts", "give the Parquet files of two or more parties, or use linker dedupe for one")
	case len(o.Inputs) > mostParties:
		return fault.New(fault.Usage, "linking", fmt.Sprintf("there are more than %d cohorts", mostParties), "link fewer parties at a time")
	}
	return nil
}
