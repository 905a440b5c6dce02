package oversight

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"tarn/keys/reidentify"
)

// MostPeople is how many people an overview shows.
const MostPeople = 200

// Overview is where everybody stands who has asked in the last 30 days, or of whom something
// waits or is to be reviewed. It is for guardians.
type Overview struct {
	// Time is the moment of which it is, in UTC.
	Time time.Time `json:"time"`
	// Mode is enforce or simulate, of the policy.
	Mode string `json:"mode"`
	// People are the 200 who are nearest to a limit, the nearest first; PeopleTotal is how many
	// there are.
	People      []PersonStandings `json:"people"`
	PeopleTotal int               `json:"people_total"`
	// Organisations are those of whoever asked, in the order of their codes.
	Organisations []OrganisationStandings `json:"organisations"`
	// Fired are all limits, in the order in which they are looked at.
	Fired []LimitFired `json:"fired"`
}

// Person is somebody who asked, as others see them, in the role of their newest request.
type Person struct {
	Issuer       string `json:"iss"`
	Subject      string `json:"sub"`
	UserID       string `json:"user_id,omitzero"`
	Organisation string `json:"organisation"` // ODS code
	Role         string `json:"role"`
}

// PersonStandings is where a person stands.
type PersonStandings struct {
	Person Person `json:"person"`
	// Near is the largest share of a limit that is used, in per cent: more than 100 is beyond
	// one. What is off counts nothing; of a limit of none each request counts 100, and 100 more.
	Near      float64    `json:"near"`
	Standings []Standing `json:"standings"`
}

// OrganisationStandings is where an organisation stands.
type OrganisationStandings struct {
	Organisation string     `json:"organisation"` // ODS code
	Near         float64    `json:"near"`         // as of a person
	Standings    []Standing `json:"standings"`
}

// LimitFired says how often a limit fired in the last 30 days, by what it did: fired is the
// sum of the others.
type LimitFired struct {
	Rule      string `json:"rule"`
	Text      string `json:"text"`
	Fired     int    `json:"fired"`
	Warned    int    `json:"warned"`
	Approval  int    `json:"approval"`
	Refused   int    `json:"refused"`
	Simulated int    `json:"simulated"` // nothing acted on it, whatever it would have done
}

// Everybody says where everybody stands. Nobody is in it where there is no policy.
func Everybody(policy *reidentify.Policy, requests []*reidentify.Request, now time.Time) Overview {
	o := Overview{Time: now.UTC(), People: []PersonStandings{}, Organisations: []OrganisationStandings{}, Fired: []LimitFired{}}
	if policy == nil {
		return o
	}
	o.Mode = string(cmp.Or(policy.Mode, reidentify.Enforce))
	for _, rule := range reidentify.LimitRules() {
		o.Fired = append(o.Fired, LimitFired{Rule: rule, Text: reidentify.LimitText(rule)})
	}
	since := now.Add(-reidentify.Remembered)
	g := newGathering(policy.CountAt(now), len(requests))
	for _, r := range requests {
		recent := r.Created.After(since)
		if recent {
			o.fired(r)
		}
		var m matters
		m.add(policy, r, now)
		g.add(r, m, recent || m != matters{})
	}
	o.Organisations = g.organisationsStandings()
	o.People, o.PeopleTotal = g.peopleStandings(policy)
	return o
}

// fired takes what a request was beyond.
func (o *Overview) fired(r *reidentify.Request) {
	for _, f := range r.Decision.Fired {
		if i := slices.IndexFunc(o.Fired, func(l LimitFired) bool { return l.Rule == f.Rule }); i >= 0 {
			o.Fired[i].add(f)
		}
	}
}

func (l *LimitFired) add(f reidentify.Fired) {
	l.Fired++
	switch {
	case f.Simulated:
		l.Simulated++
	case f.Action == reidentify.ActionApproval:
		l.Approval++
	case f.Action == reidentify.ActionRefuse:
		l.Refused++
	default:
		l.Warned++
	}
}

// gathering is requests by who asked.
type gathering struct {
	counter       *reidentify.Counter
	people        *people // whom limits know
	requests      []asked // of all people
	organisations map[string]*asker
	// What is to be done, by either name of a person: as a decision looks for it.
	byAccount map[account][]open
	byUser    map[string][]open
}

type asked struct {
	*reidentify.Request
	node  int  // of whoever asked
	other bool // the node is of people of whom everything was refused
	shown bool
	ask   *reidentify.Ask // nil where limits count it no more
}

// asker is somebody of whom requests were gathered.
type asker struct {
	newest *reidentify.Request // that shows in which role they ask: one that counts, if there is one
	asks   []*reidentify.Ask
	open   matters // of an organisation
	shown  bool
}

// open is a request of which something is to be done.
type open struct {
	request *reidentify.Request
	matters
}

func newGathering(c *reidentify.Counter, most int) *gathering {
	return &gathering{counter: c, requests: make([]asked, 0, most), people: newPeople(), organisations: map[string]*asker{}, byAccount: map[account][]open{}, byUser: map[string][]open{}}
}

func (g *gathering) add(r *reidentify.Request, m matters, shown bool) {
	one := asked{Request: r, shown: shown, ask: g.counter.Ask(r)}
	if r.Counted {
		one.node = g.people.join(&r.Requester)
	}
	if r.Counted || shown {
		g.requests = append(g.requests, one)
	}
	if m != (matters{}) {
		who := &r.Requester
		g.byAccount[account{who.Issuer, who.Subject}] = append(g.byAccount[account{who.Issuer, who.Subject}], open{r, m})
		if who.UserID != "" {
			g.byUser[who.UserID] = append(g.byUser[who.UserID], open{r, m})
		}
	}
	o := g.organisations[r.Organisation]
	if o == nil {
		o = &asker{}
		g.organisations[r.Organisation] = o
	}
	o.take(&one)
	o.open.pending, o.open.reviews, o.open.overdue = o.open.pending+m.pending, o.open.reviews+m.reviews, o.open.overdue+m.overdue
}

func (a *asker) take(one *asked) {
	r := one.Request
	a.shown = a.shown || one.shown
	if one.ask != nil {
		a.asks = append(a.asks, one.ask)
	}
	if a.newest == nil || r.Counted && !a.newest.Counted || r.Counted == a.newest.Counted && r.After(a.newest) {
		a.newest = r
	}
}

// openOf returns what is to be done of a person's requests, each once.
func (g *gathering) openOf(p *reidentify.Person) (m matters) {
	seen := map[*reidentify.Request]bool{}
	for _, some := range [][]open{g.byAccount[account{p.Issuer, p.Subject}], g.byUser[p.UserID]} {
		for _, o := range some {
			if !seen[o.request] {
				seen[o.request] = true
				m.pending, m.reviews, m.overdue = m.pending+o.pending, m.reviews+o.reviews, m.overdue+o.overdue
			}
		}
	}
	return m
}

// byPerson returns the askers that are people. What was refused makes no two accounts one
// person's: it is of somebody whom limits know, by account or else by user id, or of
// somebody of whom everything was refused.
func (g *gathering) byPerson() []*asker {
	known, others := g.people, newPeople()
	for i := range g.requests {
		if r := &g.requests[i]; !r.Counted {
			var there bool
			if r.node, there = known.find(&r.Requester); !there {
				r.node, r.other = others.join(&r.Requester), true
			}
		}
	}
	all := make([]*asker, len(known.parent)+len(others.parent))
	for i := range g.requests {
		r := &g.requests[i]
		root := 0
		if r.other {
			root = len(known.parent) + others.root(r.node)
		} else {
			root = known.root(r.node)
		}
		if all[root] == nil {
			all[root] = &asker{}
		}
		all[root].take(r)
	}
	return slices.DeleteFunc(all, func(a *asker) bool { return a == nil || !a.shown })
}

// peopleStandings looks at all, and day by day only at those who are shown.
func (g *gathering) peopleStandings(p *reidentify.Policy) (shown []PersonStandings, total int) {
	type one struct {
		*asker
		open matters
		near float64
	}
	var all []one
	for _, a := range g.byPerson() {
		open := g.openOf(&a.newest.Requester)
		all = append(all, one{a, open, nearest(personStandings(p, g.counter, &a.newest.Requester, a.asks, open, false))})
	}
	slices.SortFunc(all, func(a, b one) int {
		x, y := &a.newest.Requester, &b.newest.Requester
		return cmp.Or(cmp.Compare(b.near, a.near), strings.Compare(x.Issuer, y.Issuer), strings.Compare(x.Subject, y.Subject))
	})
	shown = []PersonStandings{}
	for _, a := range all[:min(len(all), MostPeople)] {
		who := &a.newest.Requester
		shown = append(shown, PersonStandings{
			Person: Person{Issuer: who.Issuer, Subject: who.Subject, UserID: who.UserID, Organisation: who.Organisation, Role: who.Role},
			Near:   a.near, Standings: personStandings(p, g.counter, who, a.asks, a.open, true),
		})
	}
	return shown, len(all)
}

func (g *gathering) organisationsStandings() []OrganisationStandings {
	all := []OrganisationStandings{}
	for _, code := range slices.Sorted(maps.Keys(g.organisations)) {
		o := g.organisations[code]
		if !o.shown {
			continue
		}
		standings := organisationStandings(g.counter, code, o.asks, o.open)
		all = append(all, OrganisationStandings{Organisation: code, Near: nearest(standings), Standings: standings})
	}
	return all
}
