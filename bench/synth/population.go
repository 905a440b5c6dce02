package synth

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Population is people as they truly are, without records or errors, by number.
// Nothing of them is held: a nation is as cheap as a village. It may be shared by
// goroutines.
type Population struct {
	population *population
	people     uint64
}

// Person is one of them: names as they are written, the day of birth in UTC.
type Person struct {
	Given, Middle, Family, Postcode string
	Birth                           time.Time
	Female                          bool
}

// NewPopulation returns so many people, with the frequencies of names of a folder
// (as for [Config.NamesDir]), or, where it is empty, the built-in ones.
func NewPopulation(seed, people uint64, namesDir string) (*Population, error) {
	names, err := loadNames(namesDir)
	if err != nil {
		return nil, err
	}
	return &Population{population: newPopulation(seed, people, names), people: people}, nil
}

// Len returns how many people there are.
func (p *Population) Len() uint64 { return p.people }

// Person returns the person of a number from 0 up to Len.
func (p *Population) Person(index uint64) Person {
	x := p.population.person(index)
	return Person{Given: x.given, Middle: x.middle, Family: x.family, Postcode: x.postcode, Birth: x.birth, Female: x.female}
}

// scanPeople is how many people a worker looks at before it looks whether there
// are enough.
const scanPeople = 1 << 16 * groupSize

// BornOn returns the numbers, rising, of the first people born on each of the
// days (UTC), at most so many of each: fewer where the population has no more.
// The people are gone through in order until all days have enough, so that the
// answer is the same on any number of threads.
func (p *Population) BornOn(ctx context.Context, days []time.Time, most, threads int) ([][]uint64, error) {
	wanted := map[time.Time]int{}
	for i, day := range days {
		wanted[day] = i
	}
	found := make([][]uint64, len(days))
	for from := uint64(0); from < p.people; from += uint64(threads) * scanPeople {
		parts := make([][][]uint64, threads)
		group, ctx := errgroup.WithContext(ctx)
		for i := range threads {
			first := from + uint64(i)*scanPeople
			group.Go(func() error {
				parts[i] = p.scan(first, min(first+scanPeople, p.people), wanted, len(days))
				return ctx.Err()
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
		enough := true
		for day := range days {
			for i := range parts {
				found[day] = append(found[day], parts[i][day]...)
			}
			enough = enough && len(found[day]) >= most
		}
		if enough {
			break
		}
	}
	for day := range found {
		found[day] = slices.Clip(found[day][:min(len(found[day]), most)])
	}
	return found, nil
}

// scan returns the numbers of those from first up to end who were born on a day
// that is wanted.
func (p *Population) scan(first, end uint64, wanted map[time.Time]int, days int) [][]uint64 {
	found := make([][]uint64, days)
	for group := first / groupSize; group*groupSize < end; group++ {
		places := p.population.places(group)
		for at, q := range places {
			index := group*groupSize + uint64(at)
			if index < first || index >= end {
				continue
			}
			if day, ok := wanted[p.population.birthOf(index, q, places)]; ok {
				found[day] = append(found[day], index)
			}
		}
	}
	return found
}

// birthOf returns the day of birth of a person at a place of a group.
func (p *population) birthOf(index uint64, q place, places [groupSize]place) time.Time {
	if q.younger {
		older := index - index%groupSize + uint64(q.twin)
		return p.birth(older, places[q.twin])
	}
	return p.birth(index, q)
}
