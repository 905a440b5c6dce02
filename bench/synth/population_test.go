package synth

import (
	"slices"
	"testing"
	"time"
)

// TestBornOn: the people of a day are those whose day of birth it is, no more
// than asked for, on any number of threads.
func TestBornOn(t *testing.T) {
	p, err := NewPopulation(3, 200_000, "")
	if err != nil {
		t.Fatal(err)
	}
	days := []time.Time{p.Person(17).Birth, time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC), p.Person(12_345).Birth}
	want := make([][]uint64, len(days))
	for i := range p.Len() {
		for day, when := range days {
			if p.Person(i).Birth.Equal(when) {
				want[day] = append(want[day], i)
			}
		}
	}
	if len(want[0]) < 2 || len(want[1]) != 0 {
		t.Fatalf("born on the days: %d, %d, %d: the test is blind", len(want[0]), len(want[1]), len(want[2]))
	}
	for _, threads := range []int{1, 3} {
		got, err := p.BornOn(t.Context(), days, 100, threads)
		if err != nil {
			t.Fatal(err)
		}
		for day := range days {
			if !slices.Equal(got[day], want[day]) {
				t.Errorf("%d threads, day %d: %d people, want %d", threads, day, len(got[day]), len(want[day]))
			}
		}
		if got, err = p.BornOn(t.Context(), days, 2, threads); err != nil || !slices.Equal(got[0], want[0][:2]) {
			t.Errorf("two at most: %v, %v; want %v", got[0], err, want[0][:2])
		}
	}
}

// TestBornOnKnowsTwins: the younger twin has the older one's day.
func TestBornOnKnowsTwins(t *testing.T) {
	p, err := NewPopulation(3, 20_000, "")
	if err != nil {
		t.Fatal(err)
	}
	twins := 0
	for i := range p.Len() {
		places := p.population.places(i / groupSize)
		q := places[i%groupSize]
		if q.younger {
			twins++
		}
		if got, want := p.population.birthOf(i, q, places), p.Person(i).Birth; !got.Equal(want) {
			t.Fatalf("person %d: born %v, want %v", i, got, want)
		}
	}
	if twins == 0 {
		t.Fatal("no twins: the test is blind")
	}
}
