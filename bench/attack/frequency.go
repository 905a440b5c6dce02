package attack

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
)

// aligned is what aligning frequencies found of a field.
type aligned struct {
	score
	floor int // right, where distances between filters are not looked at
	usual int // records that have the value which is most frequent among others
}

// alignment looks, under each key, for what each filter or tag of a field stands
// for, by how often it comes: as often as the value does among other people of the
// same generation. Filters also have distances, which must be those of the values.
type alignment struct {
	scheme    scheme
	field     int
	reference []individual
	seed      uint64
	most      int // filters, the most frequent, that are looked at; half as many more values are
}

// generation is to how many years others' names count.
const generation = 5

// run aligns one scope of records: those of one key, of one date where keys are by
// date.
func (a *alignment) run(ctx context.Context, e *encodings, people []individual) (found aligned, err error) {
	ranked, counts, total := a.values(people)
	if len(ranked) == 0 {
		return found, nil
	}
	c := &e.columns[a.field]
	class, first := classesOf(c)
	often := make([]int, len(first))
	for i, x := range class {
		if x < 0 {
			continue
		}
		often[x]++
		found.records++
		if people[i].values[a.field] == ranked[0].values[a.field] {
			found.usual++
		}
	}
	looked := make([]int, len(first)) // classes, the most frequent first
	for x := range looked {
		looked[x] = x
	}
	slices.SortStableFunc(looked, func(x, y int) int { return cmp.Compare(often[y], often[x]) })
	looked = looked[:min(len(looked), a.most)]

	some := &encodings{n: len(looked), columns: make([]column, len(e.columns))}
	for f := range some.columns {
		some.columns[f] = column{width: e.columns[f].width, missing: make([]bool, len(looked)), data: make([]byte, len(looked)*e.columns[f].width)}
	}
	b := &block{encoded: some, register: ranked, share: min(float64(len(looked))/float64(len(ranked)), 1), prior: make([]float32, len(looked)*len(ranked))}
	for k, x := range looked {
		copy(some.columns[a.field].at(k), c.at(first[x]))
		n := float64(often[x])
		for u := range ranked {
			mean := float64(found.records) * (float64(counts[u]) + .5) / (float64(total) + 1)
			b.prior[k*len(ranked)+u] = float32(n*math.Log(mean) - mean - logFactorial(n))
		}
	}
	likeness, err := learnLikeness(ctx, a.scheme, ranked, b.share, a.seed, a.field)
	if err != nil {
		return found, err
	}
	for _, equality := range []bool{false, true} {
		task, err := newMatching(ctx, a.scheme, b, likeness, equality, a.field)
		if err != nil {
			return found, err
		}
		who, err := task.solve(ctx)
		if err != nil {
			return found, err
		}
		meaning := make([]string, len(first))
		for k, x := range looked {
			meaning[x] = ranked[who[k]].values[a.field]
		}
		right := 0
		for i, x := range class {
			if x >= 0 && meaning[x] == people[i].values[a.field] {
				right++
			}
		}
		if equality {
			found.floor = right
		} else {
			found.right = right
		}
	}
	return found, nil
}

func logFactorial(n float64) float64 {
	x, _ := math.Lgamma(n + 1)
	return x
}

// values returns somebody of each of the most frequent values among others, how
// many have it, and of how many in all.
func (a *alignment) values(people []individual) (somebody []individual, counts []int, total int) {
	times, who := map[string]int{}, map[string]int{}
	for i := range a.reference {
		x := &a.reference[i]
		near := x.born.Year >= firstYear && x.born.Year <= lastYear
		if a.scheme.byDate() && len(people) > 0 {
			apart := x.born.Year - people[0].born.Year
			near = apart >= -generation && apart <= generation
		}
		if v := x.values[a.field]; near && v != "" {
			if times[v] == 0 {
				who[v] = i
			}
			times[v]++
			total++
		}
	}
	for _, v := range byCount(times) {
		if len(somebody) == a.most*3/2 {
			break
		}
		somebody, counts = append(somebody, a.reference[who[v]]), append(counts, times[v])
	}
	return somebody, counts, total
}

// byCount returns keys, the most frequent first; equally frequent ones by text.
func byCount(counts map[string]int) []string {
	keys := make([]string, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y string) int {
		return cmp.Or(cmp.Compare(counts[y], counts[x]), strings.Compare(x, y))
	})
	return keys
}

// frequencies runs attack 5 on a field of a scheme over registers.
func (r *run) frequencies(ctx context.Context, s scheme, f int) (total aligned, err error) {
	a := &alignment{scheme: s, field: f, seed: r.world.seed, most: r.world.values}
	if a.reference, err = readAll(ctx, s, r.world.reference); err != nil {
		return total, err
	}
	var scopes [][]individual
	registers := r.world.registers
	if s.byDate() {
		registers = registers[:min(r.world.aligned, len(registers))]
	}
	for i := range registers {
		people, err := readAll(ctx, s, registers[i])
		if err != nil {
			return total, err
		}
		if !s.byDate() && len(scopes) > 0 {
			scopes[0] = append(scopes[0], people...)
		} else {
			scopes = append(scopes, people)
		}
	}
	for _, people := range scopes {
		e, err := s.encode(ctx, r.victim, people)
		if err != nil {
			return total, err
		}
		found, err := a.run(ctx, e, people)
		if err != nil {
			return total, err
		}
		total.score.add(found.score)
		total.floor += found.floor
		total.usual += found.usual
	}
	return total, nil
}
