package quality

import (
	"context"
	"runtime"

	"tarn/bench/quality/trial"
	"tarn/bench/synth"
)

const (
	hundredThousand = 100_000
	million         = 1_000_000
	fewRows         = 2_000
	pooled          = 5 // data sets of few rows, of which one says little
)

const (
	crateNotes = "CRATE's published rates: one side is in error, all groups alike"
	nhsNotes   = "both sides are in error, groups at one, two or three times CRATE's rates"
)

func (s *suite) people(rows int, errors string, overlap float64, noNumbers bool) func(context.Context, string, uint64) (*trial.Dataset, error) {
	return func(ctx context.Context, folder string, seed uint64) (*trial.Dataset, error) {
		return trial.People{Folder: folder, Rows: rows, Seed: seed, Errors: errors, Overlap: overlap, NoNumbers: noNumbers, Threads: runtime.NumCPU(), Software: s.Software}.Make(ctx)
	}
}

func (s *suite) syntheticSets() []set {
	sets := s.cohorts("100k", hundredThousand, .993, .9985)
	sets = append(sets,
		set{name: "crate-2k-50", make: s.people(fewRows, synth.ErrorsCRATE, .5, true), seeds: pooled, notes: "half of each side is shared; five pairs of cohorts pooled"},
		set{name: "crate-2k-5", make: s.people(fewRows, synth.ErrorsCRATE, .05, true), seeds: pooled, f1: .992, notes: "5% shared; five pairs of cohorts pooled"},
		set{name: "crate-2k-0.5", make: s.people(fewRows, synth.ErrorsCRATE, .005, true), seeds: pooled, withheld: true, notes: ".5% shared, ten people; five pairs of cohorts pooled"},
	)
	if s.Full {
		sets = append(sets, s.cohorts("1m", million, .992, .9985)...)
	}
	return sets
}

// cohorts are two error models, with and without NHS numbers.
func (s *suite) cohorts(size string, rows int, demographics, numbers float64) []set {
	const half = .5
	return []set{
		{name: "crate-" + size, make: s.people(rows, synth.ErrorsCRATE, half, true), f1: demographics, precision: .999, estimates: true, notes: "demographics only. " + crateNotes},
		{name: "crate-numbers-" + size, make: s.people(rows, synth.ErrorsCRATE, half, false), f1: numbers, precision: .999, estimates: true, notes: "NHS numbers missing in 10% of a side. " + crateNotes},
		{name: "nhs-" + size, make: s.people(rows, synth.ErrorsNHS, half, true), f1: demographics, precision: .999, estimates: true, notes: "demographics only. " + nhsNotes},
		{name: "nhs-numbers-" + size, make: s.people(rows, synth.ErrorsNHS, half, false), f1: numbers, precision: .999, gap: .02, estimates: true, notes: "NHS numbers missing in 10 to 30% of a side. " + nhsNotes},
	}
}
