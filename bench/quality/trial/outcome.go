package trial

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"

	"tarn/keys/fault"
	"tarn/linkage/evaluate"
	"tarn/linkage/result"
)

// Outcome says how well a data set was linked at the threshold that the linker
// chose without truth, and why not better.
type Outcome struct {
	Score                               // at the linker's threshold
	Best             Score              `json:"best_with_truth"`
	Oracle           *float64           `json:"best_f1_of_any_model_over_these_levels"` // nil for pooled data sets
	Ceiling          Ceiling            `json:"ceiling"`
	MissedByBlocking *int64             `json:"missed_by_blocking"`
	Estimated        Estimates          `json:"estimated"`
	EstimateError    Estimates          `json:"estimate_error"` // estimated minus true
	Calibration      []Bin              `json:"calibration"`
	CalibrationError float64            `json:"calibration_error"`
	Demographic      []Bin              `json:"calibration_demographics_only"`
	WorstPatterns    []Pattern          `json:"worst_calibrated_patterns"`
	FalseNegatives   []Kind             `json:"false_negatives"`
	FalsePositives   []Kind             `json:"false_positives"`
	RecallGaps       map[string]float64 `json:"max_recall_gaps"`
	Groups           []Group            `json:"recall_by_group"`
	Warnings         []string           `json:"warnings"` // codes of the linker's
	Stages           map[string]float64 `json:"stages_s"`
	Pairs            int64              `json:"pairs_compared"`
	Usage            Usage              `json:"usage"`
}

// Estimates are shares, nil where there is none.
type Estimates struct {
	Precision *float64 `json:"precision"`
	Recall    *float64 `json:"recall"`
}

// Group is the recall of a group of people.
type Group struct {
	Dimension string   `json:"dimension"`
	Group     string   `json:"group"`
	TruePairs int64    `json:"true_pairs"`
	Recall    *float64 `json:"recall"`
	// FalseNegatives of the group, told apart as those of all; only of the group
	// with the lowest recall of its dimension.
	FalseNegatives []Kind   `json:"false_negatives,omitempty"`
	Ceiling        *Ceiling `json:"ceiling,omitempty"`
}

// Summary is what is read of summary.json.
type Summary struct {
	Threshold float64 `json:"threshold"`
	Pairs     struct {
		Compared int64 `json:"compared"`
	} `json:"pairs"`
	Links struct {
		Total int64 `json:"total"`
	} `json:"links"`
	Estimated result.Quality `json:"estimated"`
	Resources struct {
		Stages []result.Stage `json:"stages"`
	} `json:"resources"`
	Warnings []result.Warning `json:"warnings"`
}

// Job is a run of the linker on a data set.
type Job struct {
	Linker string   // the program
	Out    string   // folder of the result, made by the linker
	Args   []string // further arguments of link or dedupe
	Keep   float64  // least link_probability of links.parquet
}

// Link links or deduplicates an encoded data set and returns what that took.
func (j *Job) Link(ctx context.Context, d *Dataset) (Usage, error) {
	args := []string{"link"}
	if d.Dedupe() {
		args[0] = "dedupe"
	}
	for _, s := range d.Sides {
		args = append(args, s.Cohort)
	}
	args = append(args, "--out", j.Out)
	if j.Keep > 0 {
		args = append(args, "--keep", strconv.FormatFloat(j.Keep, 'g', -1, 64))
	}
	_, usage, err := Run(ctx, "", j.Linker, append(args, j.Args...)...)
	return usage, err
}

// Judge compares what Link has left with the truth.
func (j *Job) Judge(ctx context.Context, d *Dataset, c *Clear) (*Outcome, error) {
	o := &Outcome{RecallGaps: map[string]float64{}, Warnings: []string{}}
	if err := j.readSummary(o); err != nil {
		return nil, err
	}
	t, err := readTruth(ctx, c)
	if err != nil {
		return nil, err
	}
	links, fields, err := readLinks(ctx, c, filepath.Join(j.Out, result.LinksFile))
	if err != nil {
		return nil, err
	}
	conflicts, _, err := readLinks(ctx, c, filepath.Join(j.Out, result.ConflictsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	e, err := j.evaluate(ctx, d)
	if err != nil {
		return nil, err
	}
	o.take(e)
	o.Score = scoreLinked(t, links, o.Score.Threshold)
	if o.TP != e.TP || o.FP != e.FP || o.FN != e.FN {
		return nil, fault.New(fault.Internal, "comparing links with truth", "linker evaluate counts other pairs than the benchmark", "")
	}
	bound := oracle(t, links, !d.Dedupe())
	o.Oracle = &bound
	o.Ceiling = t.ceiling(c)
	o.Calibration, o.Demographic = reliability(t, links, false), reliability(t, links, true)
	o.WorstPatterns = worstPatterns(t, links, fields)
	o.CalibrationError = calibrationError(o.Calibration)
	o.FalseNegatives, o.FalsePositives = falseNegatives(c, t, links, conflicts), falsePositives(c, t, links)
	o.EstimateError = Estimates{minus(o.Estimated.Precision, o.Precision), minus(o.Estimated.Recall, o.Recall)}
	return o, o.explainGap(ctx, c, t, links, conflicts)
}

// Pool adds the counts of another data set of the same make, and takes its
// estimate of precision where there was none. What else there is stays that of
// the first.
func (o *Outcome) Pool(other *Outcome) {
	pairs := o.TP + o.FN + other.TP + other.FN
	o.Score = scoreOf(o.Threshold, o.TP+other.TP, o.FP+other.FP, pairs)
	o.Best = scoreOf(o.Best.Threshold, o.Best.TP+other.Best.TP, o.Best.FP+other.Best.FP, pairs)
	o.Ceiling = ceilingOf(o.Ceiling.Unreachable+other.Ceiling.Unreachable, o.Ceiling.Pairs+other.Ceiling.Pairs)
	o.Oracle = nil
	if o.Estimated.Precision == nil {
		o.Estimated.Precision = other.Estimated.Precision
	}
}

func minus(estimate *float64, share float64) *float64 {
	if estimate == nil {
		return nil
	}
	d := *estimate - share
	return &d
}

func scoreLinked(t truth, links []link, threshold float64) Score {
	tp, fp := int64(0), int64(0)
	for i := range links {
		switch {
		case !links[i].linked():
		case t.has(links[i].pair):
			tp++
		default:
			fp++
		}
	}
	return scoreOf(threshold, tp, fp, int64(len(t)))
}

// StageSeconds are the wall times of the job's stages.
func (s *Summary) StageSeconds() map[string]float64 {
	seconds := map[string]float64{}
	for _, stage := range s.Resources.Stages {
		seconds[stage.Name] += stage.WallS
	}
	return seconds
}

// Summary reads what Link has left.
func (j *Job) Summary() (*Summary, error) {
	path := filepath.Join(j.Out, result.SummaryFile)
	s := &Summary{}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, s)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "reading "+path, err, "")
	}
	return s, nil
}

func (j *Job) readSummary(o *Outcome) error {
	s, err := j.Summary()
	if err != nil {
		return err
	}
	o.Score.Threshold, o.Pairs, o.Stages = s.Threshold, s.Pairs.Compared, s.StageSeconds()
	if e := s.Estimated.Precision; e != nil {
		o.Estimated.Precision = &e.Value
	}
	if e := s.Estimated.Recall; e != nil {
		o.Estimated.Recall = &e.Value
	}
	for _, w := range s.Warnings {
		o.Warnings = append(o.Warnings, w.Code)
	}
	return nil
}

// evaluate asks the linker's own program, which reads what it has written.
func (j *Job) evaluate(ctx context.Context, d *Dataset) (*evaluate.Evaluation, error) {
	args := []string{"evaluate", "--json", "--links", filepath.Join(j.Out, result.LinksFile), "--truth", d.Truth}
	if d.Groups != "" {
		args = append(args, "--groups", d.Groups)
	}
	for _, s := range d.Sides {
		args = append(args, "--cohorts", s.Cohort)
	}
	out, _, err := Run(ctx, "", j.Linker, args...)
	if err != nil {
		return nil, err
	}
	e := &evaluate.Evaluation{}
	if err := json.Unmarshal(out, e); err != nil {
		return nil, fault.Wrap(fault.Internal, "reading what linker evaluate printed", err, "use binaries of one version")
	}
	return e, nil
}

func (o *Outcome) take(e *evaluate.Evaluation) {
	o.MissedByBlocking = e.MissedByBlocking
	if e.Best != nil {
		o.Best = Score{Threshold: e.Best.MatchProbability, F1: e.Best.F1}
		for _, s := range e.ByThreshold {
			if s.MatchProbability == e.Best.MatchProbability {
				o.Best = scoreOf(s.MatchProbability, s.TP, s.FP, s.TP+s.FN)
			}
		}
	}
	for _, gap := range e.MaxRecallGap {
		if gap.Gap != nil {
			o.RecallGaps[gap.Dimension] = *gap.Gap
		}
	}
	for _, g := range e.ByGroup {
		o.Groups = append(o.Groups, Group{Dimension: g.Dimension, Group: g.Group, TruePairs: g.TP + g.FN, Recall: g.Recall})
	}
}

// WidestGap is the largest gap in recall between two groups of a dimension.
func (o *Outcome) WidestGap() (dimension string, gap float64) {
	gap = math.Inf(-1)
	for name, g := range o.RecallGaps {
		if g > gap || g == gap && name < dimension {
			dimension, gap = name, g
		}
	}
	return dimension, gap
}

// Unwarned reports whether the linker gave no warning of these codes.
func (o *Outcome) Unwarned(codes ...string) bool {
	return !slices.ContainsFunc(codes, func(code string) bool { return slices.Contains(o.Warnings, code) })
}
