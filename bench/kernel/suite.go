// Package kernel is the benchmark suite of the counting kernels, beside
// anonlink's C++ and beside the limit of the processor. docs/kernel.md derives
// the limits.
package kernel

import (
	"context"
	"os"
	"runtime"
	"slices"
	"time"

	"tarn/bench/measure"
	"tarn/keys/fault"
	"tarn/linkage/kernel"
)

// Suite is the name under which results are written.
const Suite = "kernel"

// Options are the settings of the suite.
type Options struct {
	Folder   string // for filters, removed by the caller
	Full     bool   // four times the pairs
	Python   string // an interpreter with anonlink
	Software string
	Clock    func() time.Time
	Progress func(name string)
}

// Targets of the project: ratios to anonlink, and shares of the limit.
const (
	targetBest     = 10
	targetPortable = 1. / 3
	targetLimit    = .65

	threshold   = .85
	runs        = 5
	passes      = 10 // beside a limit, the fastest of so many
	fieldsOfRow = 5
)

type suite struct {
	Options
	left, right *filterSet
	peer        *anonlink
	model       string // of the processor, known once a case has run
	found       map[kernel.Path][]pair
	theirs      []pair // of the peer
}

// Run measures all cases.
func Run(ctx context.Context, o Options) ([]*measure.Result, error) {
	s := &suite{Options: o, found: map[kernel.Path][]pair{}, peer: &anonlink{python: o.Python, folder: o.Folder}}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var results []*measure.Result
	for _, c := range s.cases() {
		o.Progress(c.Name)
		r, err := c.Run(ctx, runs, o.Software, o.Clock)
		if err != nil {
			return nil, err
		}
		s.model = r.Machine.CPU
		results = append(results, r)
	}
	return results, nil
}

// prepare makes filters of people in the proportion of a list that is looked
// up in a register, and asks the peer once, which also fails early.
func (s *suite) prepare(ctx context.Context) (err error) {
	people := 40_000
	if s.Full {
		people = 80_000
	}
	if s.left, s.right, err = makeFilters(ctx, s.Folder, people); err != nil {
		return err
	}
	if err := s.left.cut(people / 4); err != nil {
		return err
	}
	_, _, err = s.peer.scan(ctx, s.left, s.right, threshold)
	return err
}

// cut keeps the first rows, in memory and in the file.
func (f *filterSet) cut(rows int) error {
	f.rows = f.rows[:rows*filterWords]
	if err := os.Truncate(f.path, int64(rows*filterWords*8)); err != nil {
		return fault.Wrap(fault.Internal, "shortening "+f.path, err, "")
	}
	return nil
}

func (s *suite) pairs() float64 {
	return float64(len(s.left.rows)/filterWords) * float64(len(s.right.rows)/filterWords)
}

// scan returns the pairs per second of a path, in millions, layout included.
func (s *suite) scan(path kernel.Path) float64 {
	var found []pair
	start := time.Now()
	scanner := path.NewScanner(filterWords, s.right.rows, threshold)
	scanner.Scan(s.left.rows, func(row int, matches []kernel.Match) {
		for _, m := range matches {
			found = append(found, pair{uint32(row), m.Row, m.Dice})
		}
	})
	seconds := time.Since(start).Seconds()
	s.found[path] = found
	return s.pairs() / seconds / 1e6
}

func (s *suite) cases() []*measure.Case {
	best := kernel.Best()
	return []*measure.Case{
		s.besideAnonlink("dice-0.85", best, targetBest),
		s.besideAnonlink("dice-0.85-portable", kernel.Portable, targetPortable),
		s.scanLimit("dice-0.85-limit", best, countingLimit, "the limit is that of counting pair by pair with VPOPCNTQ and early termination, 1,905 million pairs a second at 2.5 GHz, at the clock measured in the run"),
		s.scanOwnLimit(best),
		s.fields(best, 30),
		s.fields(best, 1500),
	}
}

func (s *suite) dataset() measure.Dataset {
	return measure.Dataset{Name: "tarn synth, error model nhs, clkhash-3 of names, date of birth, sex and postcode, 1024 bits", Rows: int64(len(s.left.rows)+len(s.right.rows)) / filterWords}
}

func (s *suite) besideAnonlink(name string, path kernel.Path, target float64) *measure.Case {
	return &measure.Case{Suite: Suite, Name: name, SubjectVersion: s.Software, Unit: "M pairs/s", HigherIsBetter: true, Target: &target, Dataset: s.dataset(),
		Parameters: map[string]any{"path": path.String(), "threshold": threshold, "cores": 1, "left": len(s.left.rows) / filterWords, "right": len(s.right.rows) / filterWords},
		Subject:    func(context.Context) (float64, error) { return s.scan(path), nil },
		PeerParty:  measure.Party{Name: "anonlink", Version: s.peer.version},
		Peer: func(ctx context.Context) (float64, error) {
			seconds, pairs, err := s.peer.scan(ctx, s.left, s.right, threshold)
			s.theirs = pairs
			return s.pairs() / max(seconds, 1e-9) / 1e6, err
		},
		Check: func(context.Context) (int64, bool, error) {
			return int64(len(s.theirs)), len(s.theirs) > 0 && slices.Equal(s.found[path], s.theirs), nil
		},
		Notes: "layout of the right rows is included; the pairs and their scores must be those of anonlink"}
}

// limitCase measures a rate beside the processor's limit for it.
func (s *suite) limitCase(name string, subject func() float64, limit func(hertz float64) float64) *measure.Case {
	target, parameters := targetLimit, map[string]any{"path": kernel.Best().String()}
	return &measure.Case{Suite: Suite, Name: name, SubjectVersion: s.Software, Unit: "M pairs/s", HigherIsBetter: true, Target: &target, Parameters: parameters,
		Subject: func(context.Context) (float64, error) {
			best := 0.0
			for range passes {
				best = max(best, subject())
			}
			return best, nil
		},
		PeerParty: measure.Party{Name: "the limit of the processor"},
		Peer: func(context.Context) (float64, error) {
			hertz := clock()
			parameters["clock_ghz"] = hertz / 1e9
			if seen := logicSeen(hertz); seen > 0 {
				parameters["vector_operations_a_cycle"] = seen
			}
			return limit(hertz) / 1e6, nil
		},
		Notes: "the limit is of the operations of the inner loop, at the clock measured in the run, on a core that nothing shares, so the fastest of some passes counts in each run; see docs/kernel.md"}
}

// scanLimit measures scans with a scanner that is made, beside a limit.
func (s *suite) scanLimit(name string, path kernel.Path, limit func(work kernel.Work, hertz float64) float64, notes string) *measure.Case {
	scanner := path.NewScanner(filterWords, s.right.rows, threshold)
	var work kernel.Work
	scan := func() float64 {
		start := time.Now()
		work = scanner.Scan(s.left.rows, func(int, []kernel.Match) {})
		return s.pairs() / time.Since(start).Seconds() / 1e6
	}
	c := s.limitCase(name, scan, func(hertz float64) float64 { return limit(work, hertz) })
	c.Dataset = s.dataset()
	c.Notes += "; " + notes
	return c
}

// scanOwnLimit measures scans beside the limit of their own way of counting,
// which has no target: it says what is left.
func (s *suite) scanOwnLimit(path kernel.Path) *measure.Case {
	c := s.scanLimit("dice-0.85-own-limit", path, newProcessor(path, s.model).scanLimit, "the limit is that of the adders of the planes that were looked at")
	c.Target = nil
	return c
}

// fields measures the agreement of five fields of 512 bits of records with
// blocks of so many rows.
func (s *suite) fields(path kernel.Path, block int) *measure.Case {
	const fieldWords = 8
	shape := slices.Repeat([]int{fieldWords}, fieldsOfRow)
	f := path.Fields(shape)
	const n = 1500 // half a megabyte: whoever compares blocks has just put them together
	counts := make([]uint32, block*fieldsOfRow)
	// Each record meets the whole block that it is in, as in linkage; how the
	// bits are set does not matter here.
	rate := func() float64 {
		pairs := 0
		start := time.Now()
		for pairs < 1_000_000 {
			for from := 0; from < n; from += block {
				rows := s.right.rows[from*f.Words() : (from+block)*f.Words()]
				for i := range min(block, 100) {
					f.EqualBits(counts, rows[i*f.Words():(i+1)*f.Words()], rows)
					pairs += block
				}
			}
		}
		return float64(pairs) / time.Since(start).Seconds() / 1e6
	}
	name := map[int]string{30: "fields-30", 1500: "fields-1500"}[block]
	c := s.limitCase(name, rate, func(hertz float64) float64 { return newProcessor(path, s.model).fieldsLimit(fieldsOfRow, hertz) })
	c.Parameters["fields"], c.Parameters["rows_of_block"] = fieldsOfRow, block
	c.Dataset = measure.Dataset{Name: "records of five fields of 512 bits", Rows: n}
	return c
}
