package reidentify

import (
	"math"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // nights and days are London's, on machines without zone files, too
)

// london is the time zone of nights and days, summer time and all.
var london = func() *time.Location {
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		panic("reidentify: the zones that are in this program cannot be read")
	}
	return zone
}()

// percentScale is how many millionths of a list a per cent is.
const percentScale = 10_000

// perMillion returns a share of per cent in millionths, so that 6% of a list is exactly
// that.
func perMillion(percent float64) int64 { return int64(math.Round(percent * percentScale)) }

// Fire returns the limits that one occasion more would be beyond, in the order of
// LimitRules, and what each does to it. The history holds the occasions before it; it is
// not added. A count that is as large as the policy's most is not beyond it.
func (p *Policy) Fire(h *History, o *Occasion) (fired []Fired) {
	c := p.count(h, o)
	for _, l := range p.Limits.all() {
		if l.action == ActionOff || l.action == "" || !c.beyond(&l) {
			continue
		}
		fired = append(fired, Fired{Rule: l.rule, Action: weakened(l.rule, l.action, o), Simulated: p.Mode == Simulate})
	}
	return fired
}

// BreakGlassCap reports whether one opening more in an emergency would be beyond what a
// user or an organisation may in 24 hours, and which. It holds in every mode.
func (p *Policy) BreakGlassCap(h *History, o *Occasion) (rule string, beyond bool) {
	if h.person(&o.Person).emergencies.since(o.At, day) >= p.BreakGlass.User {
		return CapUser, true
	}
	if h.organisation(o.Organisation).emergencies.since(o.At, day) >= p.BreakGlass.Organisation {
		return CapOrganisation, true
	}
	return "", false
}

// counts are those that limits are held against, with the occasion that is decided.
type counts struct {
	of       map[string]int // by rule; what does not apply is missing
	listSize int
}

// beyond reports whether a limit's count is larger than its most.
func (c *counts) beyond(l *limit) bool {
	n, applies := c.of[l.rule]
	if l.rule == LimitOrganisationShare {
		return applies && int64(n)*100*percentScale > perMillion(l.share)*int64(c.listSize)
	}
	return applies && n > l.most
}

func (p *Policy) count(h *History, o *Occasion) *counts {
	organisation, subjects := p.organisation(o.Organisation), distinct(o.Subjects)
	person, theirs := h.person(&o.Person), h.organisation(o.Organisation)
	var patients [len(personWindows)]int
	for w := range personWindows {
		patients[w], _ = person.all.at(o.At, w).with(subjects)
	}
	c := newCounts(&organisation)
	p.countPerson(c, person, &organisation, o.At, 1, patients)
	all, most := theirs.all.at(o.At, 0).with(subjects)
	c.countOrganisation(theirs, &organisation, o.At, 1, all, most)
	return c
}

func newCounts(o *Organisation) *counts { return &counts{listSize: o.ListSize, of: map[string]int{}} }

// countPerson counts what a person has asked, and so many requests more, for an
// organisation. Their patients are those of personWindows.
func (p *Policy) countPerson(c *counts, person *asker, organisation *Organisation, at time.Time, more int, patients [len(personWindows)]int) {
	c.of[LimitRequestsDay] = person.all.since(at, day) + more
	for w, rule := range []string{LimitPatientsDay, LimitPatientsWeek, LimitPatientsMonth} {
		c.of[rule] = patients[w]
	}
	if from, to, night := nightOf(at); night && !organisation.Nights {
		c.of[LimitNight] = p.unusual(person.all.between(from, to)) + more
	}
}

// countOrganisation counts what was asked for an organisation, and so many requests more.
// Its patients are those of organisationWindow, and most is how often the most frequent.
func (c *counts) countOrganisation(theirs *asker, organisation *Organisation, at time.Time, more, patients, most int) {
	c.of[LimitOrganisation], c.of[LimitSamePatient] = patients, most
	if organisation.ListSize > 0 {
		c.of[LimitOrganisationShare] = patients
	}
	if from, to := dayOf(at); !organisation.works(from) {
		c.of[LimitNonWorkingDay] = len(theirs.all.between(from, to)) + more
	}
}

// unusual returns how many occasions of a night were at an organisation that does not work
// at night: a night at NHS 111 says nothing of one at a practice.
func (p *Policy) unusual(night []*asked) (n int) {
	for _, e := range night {
		if organisation := p.organisation(e.organisation); !organisation.Nights {
			n++
		}
	}
	return n
}

// nightOf returns the night in which a moment is, from 21:00 to before 06:00 in London; it
// is of nine hours, but ten or eight when the clocks change.
func nightOf(t time.Time) (from, to time.Time, is bool) {
	local := t.In(london)
	y, m, d := local.Date()
	switch hour := local.Hour(); {
	case hour < 6:
		d--
	case hour < 21:
		return from, to, false
	}
	return time.Date(y, m, d, 21, 0, 0, 0, london), time.Date(y, m, d+1, 6, 0, 0, 0, london), true
}

// dayOf returns the day in London in which a moment is: its beginning, and the next one's.
func dayOf(t time.Time) (from, to time.Time) {
	y, m, d := t.In(london).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, london), time.Date(y, m, d+1, 0, 0, 0, 0, london)
}

// works reports whether an organisation works on a day, which is given by its beginning.
func (o *Organisation) works(day time.Time) bool {
	name := strings.ToLower(day.Weekday().String()[:3])
	return slices.Contains(o.WorkingDays, name) && !slices.Contains(o.Holidays, day.Format(time.DateOnly))
}
