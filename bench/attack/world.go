package attack

import (
	"context"
	"runtime"
	"time"

	"tarn/bench/synth"
)

// size is how large the attacks of a scale are.
type size struct {
	dates     int // dates of birth whose registers the attacker holds
	register  int // people of each
	cohort    int // of them, in the project's cohort
	pairs     int // known pairs over all dates
	reference int // other people, from whom frequencies of names are known
	targets   int // records of the dictionary attack
	pooled    int // records from which the table is to be recovered
	tables    int // blocks of a whole register, for the same
	block     int // people of a register in S1 to S3
	whole     int // blocks of S1
	half      int // of S2
	seeded    int // of S3
	controls  int // blocks of each of them, for the control
	learnt    int // dates of attacks 3 and S4, for the control
	aligned   int // dates of attack 5, where keys are by date
	values    int // filters, the most frequent, that attack 5 looks at under a key
}

var (
	smallSize = size{dates: 24, register: 1560, cohort: 28, pairs: 12_000, reference: 200_000, targets: 200, pooled: 300_000, tables: 2, block: 780, whole: 1, half: 2, seeded: 1, controls: 1, learnt: 4, aligned: 3, values: 300}
	fullSize  = size{dates: 60, register: 1560, cohort: 28, pairs: 12_000, reference: 300_000, targets: 1_000, pooled: 1_000_000, tables: 4, block: 1560, whole: 1, half: 2, seeded: 1, controls: 1, learnt: 8, aligned: 4, values: 400}
)

const (
	nation      = 57_000_000 // people from whom registers and cohorts are drawn: 1,560 to a date, on average over ages
	cohortShare = 12_000.0 / 1_000_000
	seedPairs   = 25 // known pairs of S3
)

// Years of birth of the registers: people of working age, of whom a date has
// enough.
const firstYear, lastYear = 1960, 2007

// world is the people of a run: whom the records are of, and whom the attacker
// knows of.
type world struct {
	size
	seed      uint64
	nation    *synth.Population
	days      []time.Time
	registers [][]synth.Person // of each date, in no order
	cohort    [][]int          // of each date: those of the register in the cohort
	known     [][]bool         // of each of them: among the known pairs
	elsewhere []synth.Person   // known pairs of all dates
	reference []synth.Person   // of another nation with the same names
}

func newWorld(ctx context.Context, z size, seed uint64, namesDir string) (*world, error) {
	w := &world{size: z, seed: seed}
	var err error
	if w.nation, err = synth.NewPopulation(seed, nation, namesDir); err != nil {
		return nil, err
	}
	random := stream(seed, "dates", 0)
	taken := map[time.Time]bool{}
	for len(w.days) < z.dates {
		day := time.Date(firstYear, 1, 1+random.IntN((lastYear+1-firstYear)*1461/4), 0, 0, 0, 0, time.UTC)
		if !taken[day] {
			taken[day] = true
			w.days = append(w.days, day)
		}
	}
	found, err := w.nation.BornOn(ctx, w.days, z.register, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, err
	}
	for i, numbers := range found {
		random := stream(seed, "register", i)
		register := make([]synth.Person, len(numbers))
		for at, to := range random.Perm(len(numbers)) {
			register[to] = w.nation.Person(numbers[at])
		}
		w.registers = append(w.registers, register)
		w.cohort = append(w.cohort, random.Perm(len(register))[:min(z.cohort, len(register))])
		known := make([]bool, z.cohort)
		for j := range known {
			known[j] = random.Float64() < cohortShare
		}
		w.known = append(w.known, known)
	}
	random = stream(seed, "elsewhere", 0)
	w.elsewhere, err = peopleOf(ctx, w.nation, max(z.pairs, z.targets), func(int) uint64 { return random.Uint64N(nation) })
	if err != nil {
		return nil, err
	}
	// Of the same frequencies, and nobody of them is among the records.
	others, err := synth.NewPopulation(seed+1, nation, namesDir)
	if err != nil {
		return nil, err
	}
	w.reference, err = peopleOf(ctx, others, z.reference, func(i int) uint64 { return uint64(i) })
	return w, err
}

// peopleOf returns so many people of a population, by number.
func peopleOf(ctx context.Context, p *synth.Population, n int, number func(int) uint64) ([]synth.Person, error) {
	numbers := make([]uint64, n)
	for i := range numbers {
		numbers[i] = number(i)
	}
	people := make([]synth.Person, n)
	return people, inParallel(ctx, n, func(from, to int) error {
		for i := from; i < to; i++ {
			people[i] = p.Person(numbers[i])
			if i%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
}

// readAll normalises people.
func readAll(ctx context.Context, s scheme, people []synth.Person) ([]individual, error) {
	out := make([]individual, len(people))
	return out, inParallel(ctx, len(people), func(from, to int) error {
		for i := from; i < to; i++ {
			out[i] = s.read(&people[i])
			if i%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
}

// some returns those of people whose places are given.
func some[T any](people []T, at []int) []T {
	out := make([]T, len(at))
	for i, j := range at {
		out[i] = people[j]
	}
	return out
}
