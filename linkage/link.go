// Package linkage links encoded cohorts: it refuses cohorts that were not
// encoded alike, finds the pairs worth comparing, fits a model to their
// agreement without truth, decides, clusters, and writes a result folder. It
// holds no tokenising or encoding key and sees no identifier.
package linkage

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/compare"
	"tarn/linkage/kernel"
	"tarn/linkage/model"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// Ways of blocking.
const (
	BlockAuto = "auto" // tags where the profile has them, else all pairs
	BlockTags = "tags"
	BlockAll  = "all"
)

// Options are the settings of a job.
type Options struct {
	Inputs []string // cohort files or folders of parts, two or more
	Out    string   // an existing folder that the result is written into
	State  string   // folder of the linker's state; made if it is not there
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

	Software string
	Clock    func() time.Time                      // the time that documents carry
	Wall     func() time.Time                      // the real time, for expiry and durations
	Random   io.Reader                             // for a new state's key
	Progress func(stage string, done, total int64) // may be nil
}

// job is one run of Link.
type job struct {
	Options
	created  string
	started  time.Time
	stages   []result.Stage
	cohorts  []*cohort.Cohort
	strata   []stratum
	scheme   *compare.Scheme
	model    *model.Model
	state    *state
	runID    string
	warnings []result.Warning

	histograms []compare.Histogram // of each stratum
	candidates []resolve.Candidate
	conflicts  []resolve.Candidate
	tokenOnly  int
	missed     float64
	threshold  float64
	estimator  *resolve.Estimator
}

// stratum is one pair of cohorts.
type stratum struct {
	resolve.Stratum
	left, right *cohort.Cohort
	plan        *block.Plan
	tokens      bool
	tokenPrior  float64
}

// Link runs a job and returns its summary, which is also in the folder.
func Link(ctx context.Context, o Options) (*result.Summary, error) {
	j := &job{Options: o, created: created(o.Clock()), started: o.Wall()}
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

func (j *job) warn(code, format string, args ...any) {
	j.warnings = append(j.warnings, result.Warning{Code: code, Text: fmt.Sprintf(format, args...)})
}

func (j *job) read(ctx context.Context) error {
	if len(j.Inputs) < 2 {
		return fault.New(fault.Usage, "linking", "there are fewer than two cohorts", "give the Parquet files of two or more parties")
	}
	for i, path := range j.Inputs {
		c, err := cohort.Read(ctx, path)
		if err != nil {
			return err
		}
		j.cohorts = append(j.cohorts, c)
		j.report("read", int64(i+1), int64(len(j.Inputs)))
	}
	// The order in which files are named does not matter to the result.
	slices.SortFunc(j.cohorts, func(a, b *cohort.Cohort) int { return cmp.Compare(a.SourceDataset(), b.SourceDataset()) })
	warnings, err := checkAgreement(j.cohorts)
	if err != nil {
		return err
	}
	j.warnings = append(j.warnings, warnings...)
	if err := checkExpiry(j.cohorts, j.Wall()); err != nil {
		return err
	}
	comparison := j.cohorts[0].Manifest.Comparison
	rounded := false
	for _, c := range j.cohorts {
		if err := checkColumns(c, comparison); err != nil {
			return err
		}
		for _, note := range c.Notes {
			j.warn(note.Code, "%s", note.Text)
		}
		if c.Rows() == 0 {
			j.warn("cohort_empty", "%s has no rows", c.SourceDataset())
		}
		rounded = rounded || c.Rounded
	}
	if rounded {
		for _, c := range j.cohorts {
			c.RoundTags()
		}
	}
	if err := checkWidths(j.cohorts, comparison); err != nil {
		return err
	}
	if j.scheme, err = compare.NewScheme(comparison); err != nil {
		return err
	}
	m := j.cohorts[0].Manifest
	j.state, err = openState(j.State, m.Project, m.EncodingEpoch, j.Software, j.created, j.Random)
	if err != nil {
		return err
	}
	return j.identify()
}

func created(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// identify computes run_id from what the result depends on.
func (j *job) identify() error {
	identity := struct {
		Cohorts    []string          `json:"cohorts"`
		Rows       []string          `json:"rows"`
		Comparison cohort.Comparison `json:"comparison"`
		Parameters result.Parameters `json:"parameters"`
		State      string            `json:"state"`
	}{Parameters: j.parameters(), State: j.state.check(), Comparison: j.cohorts[0].Manifest.Comparison}
	for _, c := range j.cohorts {
		identity.Cohorts = append(identity.Cohorts, c.Manifest.CohortID)
		identity.Rows = append(identity.Rows, c.RowsDigest)
	}
	b, err := keys.Encode(identity)
	if err != nil {
		return fault.Wrap(fault.Internal, "identifying the run", err, "")
	}
	digest, err := keys.Digest(b)
	if err != nil {
		return fault.Wrap(fault.Internal, "identifying the run", err, "")
	}
	j.runID = digest[:16]
	return nil
}

func (j *job) parameters() result.Parameters {
	threshold := "auto"
	if j.Threshold != nil {
		threshold = fmt.Sprint(*j.Threshold)
	}
	return result.Parameters{Threshold: threshold, MinPrecision: j.MinPrecision, Keep: j.Keep, Method: "fs",
		OneToOne: string(j.OneToOne), Blocking: j.Blocking, WithTokens: j.WithTokens}
}

// blocking returns the block columns that the job uses, without their prefix;
// none means all pairs.
func (j *job) blocking() ([]string, error) {
	var names []string
	for _, column := range j.cohorts[0].Layout.Blocks {
		common := true
		for _, c := range j.cohorts {
			common = common && c.BlockIndex(column) >= 0
		}
		if common {
			names = append(names, column[len(cohort.BlockPrefix):])
		}
	}
	switch {
	case j.Blocking == BlockAll:
		return nil, nil
	case j.Blocking == BlockTags && len(names) == 0:
		return nil, fault.New(fault.Usage, "planning the job", "the cohorts have no blocking tag in common", "use --blocking all, or a profile with blocking tags")
	}
	return names, nil
}

func (j *job) plan(context.Context) error {
	names, err := j.blocking()
	if err != nil {
		return err
	}
	for a := range j.cohorts {
		for b := a + 1; b < len(j.cohorts); b++ {
			left, right := j.cohorts[a], j.cohorts[b]
			s := stratum{Stratum: resolve.Stratum{LeftCohort: a, RightCohort: b}, left: left, right: right}
			if len(names) == 0 {
				s.plan = block.Everything(sideOf(left, nil), sideOf(right, nil))
			} else {
				s.plan = block.ByTags(names, sideOf(left, names), sideOf(right, names))
			}
			var differ string
			if s.tokens, differ = tokensComparable(left.Manifest, right.Manifest); !s.tokens {
				j.warn("token_pass_skipped", "tokens of %s and %s were not compared: %s", left.SourceDataset(), right.SourceDataset(), differ)
			}
			j.strata = append(j.strata, s)
		}
	}
	return nil
}

func sideOf(c *cohort.Cohort, names []string) block.Side {
	side := block.Side{Rows: c.Rows()}
	for _, name := range names {
		side.Tags = append(side.Tags, c.Blocks[c.BlockIndex(cohort.BlockPrefix+name)])
	}
	return side
}

// withinPairs bounds the pairs of one side that are compared for
// u-probabilities where no blocks bound them.
const withinPairs = 2_000_000

func (j *job) withinPlan(c *cohort.Cohort) (*block.Plan, error) {
	names, err := j.blocking()
	if err != nil {
		return nil, err
	}
	if len(names) > 0 {
		return block.WithinByTags(names, sideOf(c, names)), nil
	}
	// Minted ids are random and tell nothing of the records.
	order := make([]int32, c.Rows())
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(c.UniqueID[a], c.UniqueID[b]) })
	return block.WithinSample(order, withinPairs), nil
}

func (j *job) comparison(s *stratum, progress func(int64)) *compare.Job {
	return &compare.Job{Scheme: j.scheme, Plan: s.plan, Left: s.left, Right: s.right, Tokens: s.tokens,
		Kernel: kernel.New(), Threads: j.Threads, Progress: progress}
}

func (j *job) pairsPlanned() (n int64) {
	for i := range j.strata {
		n += j.strata[i].plan.Pairs()
	}
	return n
}

// compare counts the patterns across sides.
func (j *job) compare(ctx context.Context) error {
	progress := j.counter("compare", j.pairsPlanned())
	for i := range j.strata {
		h, err := j.comparison(&j.strata[i], progress).Count(ctx)
		if err != nil {
			return err
		}
		j.histograms = append(j.histograms, h)
	}
	return nil
}

// fit counts the patterns within sides and fits the model.
func (j *job) fit(ctx context.Context) error {
	within := make(compare.Histogram, j.scheme.Patterns())
	for _, c := range j.cohorts {
		plan, err := j.withinPlan(c)
		if err != nil {
			return err
		}
		side := stratum{left: c, right: c, plan: plan, tokens: true}
		h, err := j.comparison(&side, nil).Count(ctx)
		if err != nil {
			return err
		}
		for code, n := range h {
			within[code] += n
		}
	}
	var err error
	j.model, err = model.Fit(j.scheme, model.Counts{Cross: j.histograms, Within: within})
	if err != nil {
		return err
	}
	if !j.model.Fitted {
		j.warn("few_matches", "fewer than 100 matches are expected among the compared pairs, so the m-probabilities shipped with the profile were used and only prevalence was fitted")
	}
	return nil
}
