package holder

import "sync"

// What is worked on at once. Programs and people have places of their own: however many
// people ask, tokenisers are answered, and the other way round. One person takes no more
// than a part of those for people.
const (
	maxInFlight    = 256
	maxOfAllPeople = 1024
	maxOfPerson    = maxOfAllPeople / 4
)

// places are the places of one listener. It is safe for concurrent use.
type places struct {
	all chan struct{}

	mu sync.Mutex
	of map[string]int // how many each person has; nobody who has none
}

func newPlaces(n int) *places { return &places{all: make(chan struct{}, n), of: map[string]int{}} }

// enter takes a place, where there is one.
func (p *places) enter() (leave func(), there bool) {
	select {
	case p.all <- struct{}{}:
		return func() { <-p.all }, true
	default:
		return nil, false
	}
}

// enterAs counts a place that was taken as a person's, unless they have too many.
func (p *places) enterAs(person string) (leave func(), there bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[person] >= maxOfPerson {
		return nil, false
	}
	p.of[person]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.of[person]--; p.of[person] == 0 {
			delete(p.of, person)
		}
	}, true
}
