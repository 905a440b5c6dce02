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
	// Days, where they are wanted, are the last 30 days of London, the oldest first and the
	// moment's own last. They are of requests, or of patients who are distinct within the day,
	// as the rule counts; of LimitNight the nights that began on them, of LimitNonWorkingDay
	// nought for days on which the organisation works, of LimitSamePatient the requests for the
	// most frequent patient.
	Days []int
}

// Counter counts at one moment what several people and organisations have asked. It is not
// safe for use by several goroutines.
type Counter struct {
	policy *Policy
	at     time.Time
	days   [DaysCounted]span
	nights [DaysCounted]span // that began on these days
	oldest time.Time         // what is before it counts nowhere

	// What requests are kept in, many at once.
	asks    []Ask
	named   []int32
	scratch []string

	// To count patients is to look into a table: in which of all counts each was last, and how
	// often.
	numbers map[string]int32 // of a patient, in the table
	last    []seen
	count   int
}

type seen struct{ count, times int }

// Ask is a request that limits count, as a Counter keeps it.
type Ask struct {
	of        asked
	patients  []int32 // their numbers
	emergency bool
}

type span struct{ from, to time.Time }

// CountAt makes a Counter.
func (p *Policy) CountAt(at time.Time) *Counter {
	c := &Counter{policy: p, at: at, numbers: map[string]int32{}}
	y, m, d := at.In(london).Date()
	for i := range c.days {
		back := DaysCounted - 1 - i
		c.days[i].from, c.days[i].to = dayOf(time.Date(y, m, d-back, 12, 0, 0, 0, london))
		c.nights[i].from, c.nights[i].to, _ = nightOf(time.Date(y, m, d-back, 21, 0, 0, 0, london))
	}
	c.oldest = c.days[0].from
	if forgotten := at.Add(-Remembered); forgotten.Before(c.oldest) {
		c.oldest = forgotten
	}
	return c
}

// Ask takes a request. It is nil where it counts nowhere: it was refused when it was made,
// or is too old.
func (c *Counter) Ask(r *Request) *Ask {
	if !r.Counted || r.Created.Before(c.oldest) {
		return nil
	}
	c.room(len(r.Items))
	before := len(c.named)
	c.scratch = r.subjects(c.scratch[:0])
	for _, subject := range c.scratch {
		number, there := c.numbers[subject]
		if !there {
			number = int32(len(c.last))
			c.numbers[subject] = number
			c.last = append(c.last, seen{})
		}
		c.named = append(c.named, number)
	}
	o := Occasion{Purpose: r.Purpose, BreakGlass: r.BreakGlass}
	c.asks = append(c.asks, Ask{of: asked{at: r.Created, organisation: r.Organisation}, patients: c.named[before:], emergency: o.emergency()})
	return &c.asks[len(c.asks)-1]
}

// room makes room for one request more of so many patients.
func (c *Counter) room(patients int) {
	const many = 1024
	if len(c.asks) == cap(c.asks) {
		c.asks = make([]Ask, 0, many)
	}
	if cap(c.named)-len(c.named) < patients {
		c.named = make([]int32, 0, max(many, patients))
	}
}

// Person counts what one person has asked, from all their accounts and in any order, who
// would ask for an organisation now; day by day only where that is wanted. It sorts the
// requests.
func (c *Counter) Person(organisation string, asks []*Ask, daily bool) []Count {
	o, person := c.policy.organisation(organisation), gather(asks)
	var patients [len(personWindows)]int
	for w, length := range personWindows {
		patients[w], _ = c.patients(asks[len(asks)-person.all.since(c.at, length):])
	}
	n := newCounts(&o)
	c.policy.countPerson(n, person, &o, c.at, 0, patients)
	by := map[string][]int{}
	if daily {
		days := c.inDays(person, asks)
		by = map[string][]int{LimitRequestsDay: days.requests[:], LimitPatientsDay: days.patients[:], LimitPatientsWeek: days.patients[:], LimitPatientsMonth: days.patients[:], LimitNight: c.byNight(person)}
	}
	all := c.counts(n, by, func(rule string) bool {
		return !slices.Contains(organisationLimits, rule) && (rule != LimitNight || !o.Nights)
	})
	return append(all, c.cap(CapUser, person, c.policy.BreakGlass.User, daily))
}

// Organisation counts what was asked for one organisation, in the same way.
func (c *Counter) Organisation(code string, asks []*Ask, daily bool) []Count {
	o, theirs := c.policy.organisation(code), gather(asks)
	patients, most := c.patients(asks[len(asks)-theirs.all.since(c.at, organisationWindow):])
	n := newCounts(&o)
	n.countOrganisation(theirs, &o, c.at, 0, patients, most)
	by := map[string][]int{}
	if daily {
		days := c.inDays(theirs, asks)
		by = map[string][]int{LimitNonWorkingDay: c.nonWorking(&o, days.requests[:]), LimitOrganisation: days.patients[:], LimitOrganisationShare: days.patients[:], LimitSamePatient: days.most[:]}
	}
	all := c.counts(n, by, func(rule string) bool {
		return slices.Contains(organisationLimits, rule) && (rule != LimitOrganisationShare || o.ListSize > 0)
	})
	return append(all, c.cap(CapOrganisation, theirs, c.policy.BreakGlass.Organisation, daily))
}

// counts puts together the limits that hold for an asker, in the order of LimitRules.
func (c *Counter) counts(n *counts, days map[string][]int, holds func(rule string) bool) (all []Count) {
	for _, l := range c.policy.Limits.all() {
		if !holds(l.rule) {
			continue
		}
		one := Count{Rule: l.rule, Action: l.action, Most: float64(l.most), Now: n.of[l.rule], Simulated: c.policy.Mode == Simulate, Days: days[l.rule]}
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
func (c *Counter) cap(rule string, a *asker, most int, daily bool) Count {
	used := a.emergencies.since(c.at, day)
	one := Count{Rule: rule, Action: ActionRefuse, Most: float64(most), Now: used, Beyond: used >= most}
	if daily {
		one.Days = make([]int, DaysCounted)
		for i, in := range c.days {
			one.Days[i] = len(a.emergencies.between(in.from, in.to))
		}
	}
	return one
}

// gather makes of requests, which it sorts, what a history would have of them, but for its
// windows: to look into a table is several times faster than to move these along.
func gather(asks []*Ask) *asker {
	slices.SortFunc(asks, func(a, b *Ask) int { return a.of.at.Compare(b.of.at) })
	a := new(asker)
	a.all.of = make([]*asked, len(asks))
	for i, ask := range asks {
		a.all.of[i] = &ask.of
		if ask.emergency {
			a.emergencies.of = append(a.emergencies.of, &ask.of)
		}
	}
	return a
}

// patients returns how many different patients requests were for, and for the most frequent
// how many were.
func (c *Counter) patients(asks []*Ask) (patients, most int) {
	c.count++
	for _, ask := range asks {
		for _, number := range ask.patients {
			s := &c.last[number]
			if s.count != c.count {
				*s = seen{count: c.count}
				patients++
			}
			s.times++
			most = max(most, s.times)
		}
	}
	return patients, most
}

// inDays is what an asker has asked day by day.
type inDays struct{ requests, patients, most [DaysCounted]int }

// inDays counts the days of an asker that was gathered of these requests.
func (c *Counter) inDays(a *asker, asks []*Ask) (d inDays) {
	for i, in := range c.days {
		today := asks[a.all.first(in.from):a.all.first(in.to)]
		d.requests[i] = len(today)
		d.patients[i], d.most[i] = c.patients(today)
	}
	return d
}

// byNight counts as the limit does, each night under the day on which it began.
func (c *Counter) byNight(person *asker) []int {
	counts := make([]int, DaysCounted)
	for i, in := range c.nights {
		counts[i] = c.policy.unusual(person.all.between(in.from, in.to))
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
