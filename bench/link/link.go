// Package link is the benchmark suite of linkage from file to file: the
// linker's program on encoded cohorts beside Splink 5 on DuckDB and plain rules
// in DuckDB on the clear text of the same people. All run in fresh processes on
// the same cores, read Parquet and write links after one-to-one as Parquet.
package link

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tarn/bench/measure"
	"tarn/bench/quality/splink"
	"tarn/bench/quality/trial"
	"tarn/bench/synth"
	"tarn/keys/fault"
)

// Suite is the name under which results are written.
const Suite = "link"

// Options are the settings of the suite.
type Options struct {
	Folder   string // for tables and results, removed by the caller
	Cache    string // folder where encoded cohorts are kept from run to run; empty keeps none
	Full     bool   // a million records a side, and the largest job; else a hundred thousand, and targets are not judged
	Linker   string // the linker's program
	Python   string // an interpreter with Splink; without, no peers
	Skip     []string
	Software string
	Clock    func() time.Time
	Progress func(name string)
	Rows     int // of each side; 0 is the scale's
}

// Targets of the project: times as fast as the peer, F1 and precision, bytes.
const (
	targetTuned      = 5
	targetDocumented = 40
	targetRules      = 1
	targetF1         = .992
	targetPrecision  = .999
	targetNumbersF1  = .9985
	targetMemory     = 2 << 30
)

const (
	runs          = 3
	threads       = 2
	seed          = 7
	largestRows   = synth.MaxPeople
	largestMemory = "2GiB"
	largestDisk   = 24 << 30 // tables, cohorts and result of the largest job
	peerThreshold = .9
	peerKeep      = 1e-3 // least match_probability in a peer's links
)

type suite struct {
	Options
	ctx     context.Context
	rows    int
	threads int
	people  *trial.Dataset // demographics only
	clear   *trial.Clear
	tables  []string // their clear text as Parquet
}

// Run measures all cases. With an error come the results before it.
func Run(ctx context.Context, o Options) ([]*measure.Result, error) {
	s := &suite{Options: o, ctx: ctx, rows: o.Rows, threads: min(threads, runtime.NumCPU())}
	if s.rows == 0 {
		s.rows = 100_000
		if o.Full {
			s.rows = 1_000_000
		}
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	var results []*measure.Result
	for _, group := range []struct {
		name string
		run  func() ([]*measure.Result, error)
	}{{"speed", s.speed}, {"numbers", s.numbers}, {"largest", s.largest}} {
		if s.skipped(group.name) {
			continue
		}
		o.Progress(group.name)
		some, err := group.run()
		results = append(results, some...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

func (s *suite) skipped(name string) bool {
	if slices.ContainsFunc(s.Skip, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
		s.Progress(name + " is left out, as asked")
		return true
	}
	return false
}

func (s *suite) prepare() (err error) {
	s.Progress(fmt.Sprintf("making two sides of %d people", s.rows))
	if s.people, err = s.cohorts(s.rows, true); err != nil {
		return err
	}
	if s.clear, err = trial.ReadClear(s.ctx, s.people); err != nil {
		return err
	}
	for i := range s.people.Sides {
		path := filepath.Join(s.Folder, s.people.Sides[i].Name+".clear.parquet")
		if err := s.clear.WriteClear(i, path, s.Software); err != nil {
			return err
		}
		s.tables = append(s.tables, path)
	}
	return nil
}

// completeFile marks a folder of cohorts that were made to the end.
const completeFile = "complete"

// cohorts makes two encoded sides, or takes them from the cache.
func (s *suite) cohorts(rows int, noNumbers bool) (*trial.Dataset, error) {
	name := fmt.Sprintf("people-%d-%d", rows, seed)
	if noNumbers {
		name += "-no-numbers"
	}
	folder := filepath.Join(s.Folder, name)
	if s.Cache != "" {
		folder = filepath.Join(s.Cache, name)
	}
	p := trial.People{Folder: folder, Rows: rows, Seed: seed, Errors: synth.ErrorsCRATE, Overlap: .5, NoNumbers: noNumbers, Threads: runtime.NumCPU(), Software: s.Software}
	marker := filepath.Join(folder, completeFile)
	if _, err := os.Stat(marker); err == nil {
		return p.Made(), nil
	}
	err := os.RemoveAll(folder)
	if err == nil {
		err = os.MkdirAll(folder, 0o700)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "making "+folder, err, "choose a cache that can be written")
	}
	d, err := p.Make(s.ctx)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+marker, err, "free space on the disk")
	}
	return d, nil
}

// link runs the linker on a data set into a new folder.
func (s *suite) link(d *trial.Dataset, out string, args ...string) (*trial.Job, trial.Usage, error) {
	path := filepath.Join(s.Folder, out)
	if err := os.RemoveAll(path); err != nil {
		return nil, trial.Usage{}, fault.Wrap(fault.Internal, "removing "+path, err, "")
	}
	job := &trial.Job{Linker: s.Linker, Out: path, Args: append([]string{"--threads", fmt.Sprint(s.threads)}, args...)}
	usage, err := job.Link(s.ctx, d)
	return job, usage, err
}

// apartStages are what the linker does beyond the links that its peers write.
var apartStages = []string{"clusters", "crosswalk", "report"}

// apart is the time of the stages of clusters, crosswalk and report.
func apart(stages map[string]float64) (seconds float64) {
	for name, wall := range stages {
		if slices.ContainsFunc(apartStages, func(word string) bool { return strings.Contains(name, word) }) {
			seconds += wall
		}
	}
	return seconds
}

// peer runs a peer on the clear text.
func (s *suite) peer(ctx context.Context, settings string) (*splink.Said, trial.Usage, string, error) {
	job := splink.Job{Settings: settings, Tables: s.tables, Out: filepath.Join(s.Folder, settings+".parquet"), OneToOne: true, Keep: peerKeep, Threads: s.threads}
	args, err := job.Args()
	if err != nil {
		return nil, trial.Usage{}, "", err
	}
	out, usage, err := trial.Run(ctx, s.Folder, s.Python, args...)
	if err != nil {
		return nil, usage, "", err
	}
	said, err := splink.ReadSaid(out)
	return said, usage, job.Out, err
}

// free is the number of bytes that can be written into a folder.
func free(folder string) uint64 {
	var s unix.Statfs_t
	if unix.Statfs(folder, &s) != nil {
		return 0
	}
	return s.Bavail * uint64(s.Bsize)
}
