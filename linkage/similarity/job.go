package similarity

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage"
	"tarn/linkage/cohort"
	"tarn/linkage/kernel"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// Options are the settings of a job.
type Options struct {
	// Inputs are files of CLKs, or cohorts with filters of whole records, two or
	// more. Their order is that of anonlink's datasets: among pairs that are
	// equally similar it decides.
	Inputs    []string
	Out       string  // an existing folder that the result is written into
	State     string  // folder of the linker's state; made if it is not there
	Threshold float64 // least similarity of a candidate, above 0 and up to 1
	PerRecord int     // anonlink's k: how many candidates of each other party a record may have; 0 is any number
	OneToOne  resolve.Assignment
	Threads   int
	Memory    int64 // bytes that filters, candidates and groups may take together
	// Project is the project's record as it is now, which cohorts have to be of; nil
	// holds them to each other alone. Files of CLKs do not say what they are of, and
	// are refused with it.
	Project *keys.Project

	Software string
	Clock    func() time.Time                      // the time that documents carry
	Wall     func() time.Time                      // the real time, for expiry and durations
	Random   io.Reader                             // for a new state's key
	Progress func(stage string, done, total int64) // may be nil
}

// The state of jobs on files of CLKs, which belong to no project.
const (
	noProject = "clks-of-no-project"
	noEpoch   = 1
)

// recordBytes is what a record takes beside its filter: where its group is, and
// its row of clusters.parquet while these are put in order.
const recordBytes = 96

// job is one run of Link.
type job struct {
	Options
	created    string
	started    time.Time
	stages     []result.Stage
	cohorts    []*cohort.File // none: files of CLKs
	rows       []string       // digests of the cohorts' rows
	sets       []*Set
	ids        *linkage.ClusterIDs
	runID      string
	warnings   []result.Warning
	candidates []Candidate
	groups     *Groups
	linked     func(i int) bool // by candidate
}

// Link runs a job, writes its result and returns its summary, which is in the
// folder, too.
func Link(ctx context.Context, o Options) (*result.Summary, error) {
	j := &job{Options: o, created: o.Clock().UTC().Format(time.RFC3339), started: o.Wall()}
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{{"read", j.read}, {"compare", j.compare}, {"resolve", j.resolve}} {
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
	j.report(name)(0, 0)
	if err := run(ctx); err != nil {
		return err
	}
	j.stages = append(j.stages, result.Stage{Name: name, WallS: j.Wall().Sub(from).Seconds()})
	return nil
}

// report returns what says how far a stage is.
func (j *job) report(stage string) func(done, total int64) {
	return func(done, total int64) {
		if j.Progress != nil {
			j.Progress(stage, done, total)
		}
	}
}

func (j *job) warn(code, format string, args ...any) {
	j.warnings = append(j.warnings, result.Warning{Code: code, Text: fmt.Sprintf(format, args...)})
}

func (j *job) read(ctx context.Context) error {
	if err := j.readInputs(ctx); err != nil {
		return err
	}
	if err := sameWidth(j.sets); err != nil {
		return err
	}
	project, epoch := noProject, uint32(noEpoch)
	switch {
	case j.cohorts == nil && j.Project != nil:
		return fault.New(fault.Usage, "linking", "files of CLKs do not say of which project and key they are", "leave the project's record out, or give cohorts")
	case j.cohorts == nil:
		j.warn("clks_unchecked", "files of CLKs do not say how they were made, so it was not checked that schema and secret were the same")
	default:
		ofRecord, err := linkage.CheckProject(j.Project, j.cohorts, j.Wall())
		if err != nil {
			return err
		}
		alike, err := linkage.CheckCohorts(j.cohorts, j.Wall())
		if err != nil {
			return err
		}
		j.warnings = append(append(j.warnings, ofRecord...), alike...)
		project, epoch = j.cohorts[0].Manifest.Project, j.cohorts[0].Manifest.EncodingEpoch
	}
	j.warn("similarity_only", "pairs were judged by the similarity of their filters alone: a similarity is no probability, so how many links are right and how many were missed could not be estimated")
	if j.PerRecord > 0 {
		j.warn("candidates_limited", "a record had at most %d candidates of each other party; links beyond them were not found", j.PerRecord)
	}
	for _, s := range j.sets {
		if s.Rows() == 0 {
			j.warn("cohort_empty", "%s has no rows", s.Name)
		}
		if s.empty > 0 {
			j.warn("empty_filters", "%s has records whose filter has no bit set, which are like no other: %d", s.Name, s.empty)
		}
	}
	var err error
	if j.ids, err = linkage.OpenClusterIDs(j.State, project, epoch, j.Software, j.created, j.Random); err != nil {
		return err
	}
	return j.identify()
}

func (j *job) readInputs(ctx context.Context) error {
	if len(j.Inputs) < 2 {
		return fault.New(fault.Usage, "linking", "there are fewer than two inputs", "give the files of two or more parties")
	}
	if len(j.Inputs) > 1<<16 {
		return fault.New(fault.Usage, "linking", "there are more inputs than can be numbered", "give fewer")
	}
	clks := 0
	for _, path := range j.Inputs {
		info, err := os.Stat(path)
		if err != nil {
			return fault.Wrap(fault.Usage, "reading "+path, err, "give the files of two or more parties")
		}
		if !info.Mode().IsRegular() && !info.IsDir() { // a pipe could not be looked at first
			return fault.New(fault.Usage, "reading "+path, "it is no regular file", "write it into a file first")
		}
		if IsCLKs(path) {
			clks++
		}
	}
	if clks != 0 && clks != len(j.Inputs) {
		return fault.New(fault.Usage, "linking", "some inputs are files of CLKs and some are cohorts", "give either: they were not encoded alike")
	}
	left := j.Memory
	for _, path := range j.Inputs {
		s, err := j.readInput(ctx, path, clks > 0, max(left, 0))
		if err != nil {
			return err
		}
		j.sets = append(j.sets, s)
		left -= int64(8*len(s.Bits)) + recordBytes*int64(s.Rows())
	}
	if j.Memory = left; left <= 0 {
		return fault.New(fault.Usage, "linking", "the filters leave nothing of the memory that may be used", "allow more with --memory")
	}
	return nil
}

func (j *job) readInput(ctx context.Context, path string, clks bool, most int64) (*Set, error) {
	if clks {
		return ReadCLKs(ctx, path, most, j.report("read"))
	}
	c, err := cohort.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	s, digest, err := ReadCohort(ctx, c, most)
	if err != nil {
		return nil, err
	}
	j.cohorts, j.rows = append(j.cohorts, c), append(j.rows, digest)
	for _, note := range c.Notes(digest) {
		j.warn(note.Code, "%s", note.Text)
	}
	return s, nil
}

// identify computes run_id from what the result depends on.
func (j *job) identify() error {
	identity := struct {
		Inputs     [][2]string       `json:"inputs"`
		Parameters result.Parameters `json:"parameters"`
		PerRecord  int               `json:"per_record"`
		State      string            `json:"state"`
	}{Parameters: j.parameters(), PerRecord: j.PerRecord, State: j.ids.Check()}
	for i, s := range j.sets {
		rows := ""
		if j.cohorts != nil {
			rows = j.rows[i]
		}
		identity.Inputs = append(identity.Inputs, [2]string{s.Name + " " + s.Digest, rows})
	}
	var err error
	j.runID, err = linkage.RunID(identity)
	return err
}

func (j *job) parameters() result.Parameters {
	return result.Parameters{Threshold: strconv.FormatFloat(j.Threshold, 'g', -1, 64), Method: result.MethodCLK, OneToOne: string(j.OneToOne), Blocking: linkage.BlockAll}
}

// compare finds the candidates. Half of the memory that is left is theirs: while
// their list grows or is put in order it is there twice.
func (j *job) compare(ctx context.Context) (err error) {
	search := Search{Threshold: j.Threshold, PerRecord: j.PerRecord, Threads: j.Threads, Memory: j.Memory / 2, Path: kernel.Best(), Progress: j.report("compare")}
	j.candidates, err = search.Find(ctx, j.sets)
	for _, s := range j.sets {
		s.Bits = nil // needed no more
	}
	return err
}

func (j *job) resolve(context.Context) error {
	switch j.OneToOne {
	case resolve.None:
		j.groups, j.linked = Connected(j.sets, j.candidates), func(int) bool { return true }
	case resolve.Mutual:
		j.groups, j.linked = Mutual(j.sets, j.candidates)
	default:
		j.groups = Greedy(j.sets, j.candidates)
		j.linked = func(i int) bool { return j.groups.Together(j.candidates[i]) }
	}
	return nil
}
