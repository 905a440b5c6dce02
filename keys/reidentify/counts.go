package reidentify

import (
	"slices"
	"time"
)

// DaysCounted is for how many days a count is told, day by day.
const DaysCounted = 30

// Count is what a limit, or a cap of break-glass, has counted of a person or an organisation
// by a moment: what a decision at that moment would hold against it, but for the request
// that is decided.
type Count struct {
	Rule      string
	Action    Action
	Most      float64 // requests or patients; of LimitOrganisationShare per cent
	Now       int     // requests or patients, of LimitOrganisationShare, too
	List      int     // of LimitOrganisationShare: how many are registered
	Beyond    bool    // of a limit: Now is more than Most; of a cap: nothing is left
	Simulated bool    // nothing acts on it
	// Days are the last 30 days of London, the oldest first and the moment's own last. They are
	// of requests, or of patients who are distinct within the day, as the rule counts; of
	// LimitNight the nights that began on them, of LimitNonWorkingDay nought for days on which
	// the organisation works, of LimitSamePatient the requests for the most frequent patient.
	Days []int
}

// Counter counts at one moment what several people and organisations have asked. It is not
// safe for use by several goroutines.
type Counter struct {
	policy *Policy
	at     time.Time
	days   [DaysCounted]span
	oldest time.Time // what is before it counts nowhere
}

type span struct{ from, to time.Time }

// CountAt makes a Counter.
func (p *Policy) CountAt(at time.Time) *Counter {
	c := &Counter{policy: p, at: at}
	y, m, d := at.In(london).Date()
	for i := range c.days {
		back := DaysCounted - 1 - i
		c.days[i].from, c.days[i].to = dayOf(time.Date(y, m, d-back, 12, 0, 0, 0, london))
	}
	c.oldest = c.days[0].from
	if forgotten := at.Add(-Remembered); forgotten.Before(c.oldest) {
		c.oldest = forgotten
	}
	return c
}

// Person counts what one person has asked, from all their accounts, who would ask for an
// organisation now. Requests may be in any order; those that limits do not count are passed
// over.
func (c *Counter) Person(organisation string, requests []*Request) []Count {
	o, person := c.policy.organisation(organisation), c.asker(newPerson(), requests)
	n := newCounts(&o)
	c.policy.countPerson(n, person, &o, c.at, 0, nil)
	days := c.inDays(person)
	by := map[string][]int{LimitRequestsDay: days.requests, LimitPatientsDay: days.patients, LimitPatientsWeek: days.patients, LimitPatientsMonth: days.patients}
	if !o.Nights {
		by[LimitNight] = c.nights(person)
	}
	return append(c.counts(n, by), c.cap(CapUser, person, c.policy.BreakGlass.User))
}

// Organisation counts what the people of one organisation have asked for it.
func (c *Counter) Organisation(code string, requests []*Request) []Count {
	o, theirs := c.policy.organisation(code), c.asker(newOrganisation(), requests)
	n := newCounts(&o)
	n.countOrganisation(theirs, &o, c.at, 0, nil)
	n.of[LimitSamePatient] = theirs.all.at(c.at, 0).mostFrequent()
	days := c.inDays(theirs)
	by := map[string][]int{LimitNonWorkingDay: c.nonWorking(&o, days.requests), LimitOrganisation: days.patients, LimitSamePatient: days.most}
	if o.ListSize > 0 {
		by[LimitOrganisationShare] = days.patients
	}
	return append(c.counts(n, by), c.cap(CapOrganisation, theirs, c.policy.BreakGlass.Organisation))
}

// counts puts together what there are days of, in the order of LimitRules.
func (c *Counter) counts(n *counts, days map[string][]int) (all []Count) {
	for _, l := range c.policy.Limits.all() {
		of, counted := days[l.rule]
		if !counted {
			continue
		}
		one := Count{Rule: l.rule, Action: l.action, Most: float64(l.most), Now: n.of[l.rule], Simulated: c.policy.Mode == Simulate, Days: of}
		if l.rule == LimitOrganisationShare {
			one.Most, one.List = l.share, n.listSize
		}
		if one.Action == "" {
			one.Action = ActionOff
		}
		one.Beyond = one.Action != ActionOff && n.beyond(&l)
		all = append(all, one)
	}
	return all
}

// cap counts emergencies. What is over is what a decision would refuse: one more.
func (c *Counter) cap(rule string, a *asker, most int) Count {
	used := a.emergencies.since(c.at, day)
	one := Count{Rule: rule, Action: ActionRefuse, Most: float64(most), Now: used, Beyond: used >= most, Days: make([]int, DaysCounted)}
	for i, d := range c.days {
		one.Days[i] = len(a.emergencies.between(d.from, d.to))
	}
	return one
}

// asker makes of requests what a history would have of them. Its windows are empty until
// they are looked at, which is several times faster than moving them along.
func (c *Counter) asker(a *asker, requests []*Request) *asker {
	asks := make([]asked, 0, len(requests))
	for _, r := range requests {
		if !r.Counted || r.Created.Before(c.oldest) {
			continue
		}
		o := r.Occasion()
		asks = append(asks, asked{at: o.At, organisation: o.Organisation, subjects: o.Subjects})
		if o.emergency() {
			a.emergencies.of = append(a.emergencies.of, &asks[len(asks)-1])
		}
	}
	a.all.of = make([]*asked, len(asks))
	for i := range asks {
		a.all.of[i] = &asks[i]
	}
	byTime := func(a, b *asked) int { return a.at.Compare(b.at) }
	slices.SortFunc(a.all.of, byTime)
	slices.SortFunc(a.emergencies.of, byTime)
	for w := range a.all.windows {
		a.all.windows[w].from = len(a.all.of)
	}
	return a
}

// inDays is what an asker has asked day by day.
type inDays struct{ requests, patients, most []int }

func (c *Counter) inDays(a *asker) inDays {
	d := inDays{make([]int, DaysCounted), make([]int, DaysCounted), make([]int, DaysCounted)}
	type seen struct{ day, times int }
	last := map[string]seen{}
	for i, in := range c.days {
		asks := a.all.between(in.from, in.to)
		d.requests[i] = len(asks)
		for _, e := range asks {
			for _, subject := range e.subjects {
				s := last[subject]
				if s.times == 0 || s.day != i {
					s = seen{day: i}
					d.patients[i]++
				}
				s.times++
				last[subject] = s
				d.most[i] = max(d.most[i], s.times)
			}
		}
	}
	return d
}

// nights counts as the limit does, each night under the day on which it began.
func (c *Counter) nights(person *asker) []int {
	counts := make([]int, DaysCounted)
	for i, in := range c.days {
		y, m, d := in.from.Date()
		if from, to, is := nightOf(time.Date(y, m, d, 21, 0, 0, 0, london)); is {
			counts[i] = c.policy.unusual(person.all.between(from, to))
		}
	}
	return counts
}

// nonWorking leaves the requests of days on which an organisation does not work.
func (c *Counter) nonWorking(o *Organisation, requests []int) []int {
	counts := make([]int, DaysCounted)
	for i, in := range c.days {
		if !o.works(in.from) {
			counts[i] = requests[i]
		}
	}
	return counts
}

// mostFrequent returns how often the most frequent patient is in a window.
func (w *window) mostFrequent() (most int) {
	for _, times := range w.times {
		most = max(most, times)
	}
	return most
}

// OutOfHours reports whether an organisation does not work at a moment: at night, or on a
// day on which it does not.
func (p *Policy) OutOfHours(code string, at time.Time) bool {
	o := p.organisation(code)
	from, _ := dayOf(at)
	_, _, night := nightOf(at)
	return night && !o.Nights || !o.works(from)
}

// London is the time zone of limits.
func London() *time.Location { return london }
