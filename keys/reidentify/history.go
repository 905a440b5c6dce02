package reidentify

import (
	"slices"
	"sort"
	"time"
)

// Occasion is one request for re-identification as limits count it.
type Occasion struct {
	At           time.Time
	Person       Person
	Project      string
	Organisation string
	Purpose      Purpose
	Subjects     []string // subject_h, each once
	BreakGlass   bool
}

// Fired is a limit that a request is beyond.
type Fired struct {
	Rule   string `json:"rule"`
	Action Action `json:"action"`
	// Simulated says that it was not acted upon.
	Simulated bool `json:"simulated,omitzero"`
}

// The windows of limits. A window of 24 hours that ends now began just after the moment 24
// hours ago: what happened at that moment is out of it.
const (
	day   = 24 * time.Hour
	week  = 7 * day
	month = 30 * day
)

// personWindows are those in which patients of a person are counted, organisationWindow
// that of an organisation's.
var personWindows = [...]time.Duration{day, week, month}

const organisationWindow = month

// Remembered is how far back limits look: a history that holds less counts too little.
const Remembered = month

// History is what was asked, as limits count it: it is found by person, by organisation and
// by patient, so that a decision costs as much however long it is. Occasions may be added
// in any order. What is later than the occasion that is decided counts, too: a clock that
// was put back makes limits stricter, never looser.
//
// It is not safe for use by several goroutines: to decide moves its windows.
type History struct {
	people        map[account]*asker
	organisations map[string]*asker
}

// NewHistory returns a history of nothing.
func NewHistory() *History {
	return &History{people: map[account]*asker{}, organisations: map[string]*asker{}}
}

// account is what a person is found by: the issuer and its subject, or the user id.
type account struct{ issuer, subject, userID string }

func accounts(p *Person) []account {
	all := []account{{issuer: p.Issuer, subject: p.Subject}}
	if p.UserID != "" {
		all = append(all, account{userID: p.UserID})
	}
	return all
}

// asked is an occasion as it is kept.
type asked struct {
	at           time.Time
	organisation string
	subjects     []string
}

// asker is a person, with all their accounts, or an organisation.
type asker struct {
	all         series
	emergencies series
	accounts    []account // of a person
}

func newPerson() *asker       { return &asker{all: newSeries(personWindows[:]...)} }
func newOrganisation() *asker { return &asker{all: newSeries(organisationWindow)} }

func (a *asker) add(e *asked, emergency bool) {
	a.all.add(e)
	if emergency {
		a.emergencies.add(e)
	}
}

// join takes over what another was.
func (a *asker) join(other *asker) {
	for _, e := range other.all.of {
		a.all.add(e)
	}
	for _, e := range other.emergencies.of {
		a.emergencies.add(e)
	}
	a.accounts = append(a.accounts, other.accounts...)
}

// Add puts down an occasion that was allowed.
func (h *History) Add(o Occasion) {
	e := &asked{at: o.At, organisation: o.Organisation, subjects: distinct(o.Subjects)}
	h.known(&o.Person).add(e, o.emergency())
	organisation := h.organisations[o.Organisation]
	if organisation == nil {
		organisation = newOrganisation()
		h.organisations[o.Organisation] = organisation
	}
	organisation.add(e, o.emergency())
}

// distinct returns a sorted copy in which each is once.
func distinct(subjects []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(subjects)))
}

// found returns those that a person was known as: several where it shows only now that
// their accounts are one person's.
func (h *History) found(p *Person) (all []*asker) {
	for _, a := range accounts(p) {
		if one := h.people[a]; one != nil && !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

// known returns a person as one, whose accounts they are from now on.
func (h *History) known(p *Person) *asker {
	all := h.found(p)
	if len(all) == 0 {
		all = []*asker{newPerson()}
	}
	one := all[0]
	for _, other := range all[1:] {
		one.join(other)
	}
	for _, a := range accounts(p) {
		if !slices.Contains(one.accounts, a) {
			one.accounts = append(one.accounts, a)
		}
	}
	for _, a := range one.accounts {
		h.people[a] = one
	}
	return one
}

// person returns all that a person has asked, and puts nothing down.
func (h *History) person(p *Person) *asker {
	switch all := h.found(p); len(all) {
	case 0:
		return newPerson()
	case 1:
		return all[0]
	default:
		one := newPerson()
		for _, other := range all {
			one.join(other)
		}
		return one
	}
}

func (h *History) organisation(code string) *asker {
	if o := h.organisations[code]; o != nil {
		return o
	}
	return newOrganisation()
}

// Forget drops what was asked before a moment. Nothing counts differently if that is
// Remembered ago or more.
func (h *History) Forget(before time.Time) {
	for _, a := range h.people {
		a.forget(before) // once for each account: the second time there is nothing left to drop
	}
	for key, a := range h.people {
		if len(a.all.of) == 0 {
			delete(h.people, key)
		}
	}
	for code, a := range h.organisations {
		if a.forget(before); len(a.all.of) == 0 {
			delete(h.organisations, code)
		}
	}
}

func (a *asker) forget(before time.Time) {
	a.all.forget(before)
	a.emergencies.forget(before)
}

// series is occasions in the order of their times, with what their windows hold.
type series struct {
	of      []*asked
	windows []window
}

// window is the end of a series: how often each patient is in it.
type window struct {
	length time.Duration
	from   int // the first that is in it
	times  map[string]int
}

func newSeries(lengths ...time.Duration) (s series) {
	for _, length := range lengths {
		s.windows = append(s.windows, window{length: length, times: map[string]int{}})
	}
	return s
}

// first returns the place of the first occasion that is not before a moment.
func (s *series) first(t time.Time) int {
	return sort.Search(len(s.of), func(i int) bool { return !s.of[i].at.Before(t) })
}

// between returns what happened from a moment on and before another.
func (s *series) between(from, to time.Time) []*asked { return s.of[s.first(from):s.first(to)] }

// since returns how many happened less than a time before a moment, or after it.
func (s *series) since(t time.Time, length time.Duration) int {
	return len(s.of) - s.first(t.Add(-length+1))
}

func (s *series) add(e *asked) {
	i := s.first(e.at.Add(1))
	s.of = slices.Insert(s.of, i, e)
	for w := range s.windows {
		if window := &s.windows[w]; i < window.from {
			window.from++
		} else {
			window.take(e)
		}
	}
}

func (s *series) forget(before time.Time) {
	n := s.first(before)
	if n == 0 {
		return
	}
	for w := range s.windows {
		window := &s.windows[w]
		for _, e := range s.of[min(window.from, n):n] {
			window.drop(e)
		}
		window.from = max(0, window.from-n)
	}
	s.of = slices.Clone(s.of[n:])
}

// at returns a window as it is at a moment.
func (s *series) at(t time.Time, w int) *window {
	window := &s.windows[w]
	out := t.Add(-window.length)
	for window.from < len(s.of) && !s.of[window.from].at.After(out) {
		window.drop(s.of[window.from])
		window.from++
	}
	for window.from > 0 && s.of[window.from-1].at.After(out) {
		window.from--
		window.take(s.of[window.from])
	}
	return window
}

func (w *window) take(e *asked) {
	for _, subject := range e.subjects {
		w.times[subject]++
	}
}

func (w *window) drop(e *asked) {
	for _, subject := range e.subjects {
		if w.times[subject]--; w.times[subject] == 0 {
			delete(w.times, subject)
		}
	}
}

// with returns how many patients there are in a window with those of one occasion more,
// and how often the most frequent of these.
func (w *window) with(subjects []string) (patients, most int) {
	patients = len(w.times)
	for _, subject := range subjects {
		times := w.times[subject]
		if times == 0 {
			patients++
		}
		most = max(most, times+1)
	}
	return patients, most
}
