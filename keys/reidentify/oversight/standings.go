package oversight

import (
	"time"

	"tarn/keys/reidentify"
)

// Subject is whom standings are of: one person, or one organisation by its ODS code.
type Subject struct {
	Person       *reidentify.Person // in the role that they selected
	Organisation string             // where Person is nil
}

// Standings says where one person, or one organisation, stands. Of a person these are the
// limits of people, the cap of break-glass, what waits and what is to be reviewed; of an
// organisation its own limits, its cap, and what is to be reviewed of all its people. There
// is nothing where there is no policy.
//
// A person has asked whatever one of their accounts has, as the decision takes it: also by
// way of a third, of the same user id.
func Standings(policy *reidentify.Policy, requests []*reidentify.Request, of Subject, now time.Time) []Standing {
	if policy == nil {
		return []Standing{}
	}
	counter := policy.CountAt(now)
	var open matters
	if of.Person == nil {
		for _, r := range requests {
			if r.Organisation == of.Organisation {
				open.add(policy, r, now)
			}
		}
		return organisationStandings(counter, of.Organisation, asksOf(counter, requests, of.Organisation), open)
	}
	for _, r := range requests {
		if r.Requester.Is(of.Person) {
			open.add(policy, r, now)
		}
	}
	return personStandings(policy, counter, of.Person, asksBy(counter, requests, of.Person), open, true)
}

func asksOf(c *reidentify.Counter, requests []*reidentify.Request, organisation string) (theirs []*reidentify.Ask) {
	for _, r := range requests {
		if r.Organisation != organisation {
			continue
		}
		if ask := c.Ask(r); ask != nil {
			theirs = append(theirs, ask)
		}
	}
	return theirs
}

// asksBy returns what one person has asked that limits count, from all accounts.
func asksBy(c *reidentify.Counter, requests []*reidentify.Request, person *reidentify.Person) (theirs []*reidentify.Ask) {
	all := newPeople()
	for _, r := range requests {
		if r.Counted {
			all.join(&r.Requester)
		}
	}
	all.join(person) // as the decision does, to whom all of their accounts are one
	for _, r := range requests {
		if !r.Counted || !all.same(&r.Requester, person) {
			continue
		}
		if ask := c.Ask(r); ask != nil {
			theirs = append(theirs, ask)
		}
	}
	return theirs
}

func personStandings(p *reidentify.Policy, c *reidentify.Counter, person *reidentify.Person, asks []*reidentify.Ask, open matters, daily bool) []Standing {
	all := make([]Standing, 0, 8)
	for _, count := range c.Person(person.Organisation, asks, daily) {
		all = append(all, standing(count))
	}
	return append(all, open.waiting(p), open.unreviewed())
}

func organisationStandings(c *reidentify.Counter, code string, asks []*reidentify.Ask, open matters) []Standing {
	all := make([]Standing, 0, 6)
	for _, count := range c.Organisation(code, asks, true) {
		all = append(all, standing(count))
	}
	return append(all, open.unreviewed())
}

// matters are what is still to be done of requests: to be decided, to be reviewed.
type matters struct{ pending, reviews, overdue int }

func (m *matters) add(p *reidentify.Policy, r *reidentify.Request, now time.Time) {
	if r.StateAt(now) == reidentify.Pending {
		m.pending++
	}
	if due, wanted := r.ReviewDue(p); wanted {
		m.reviews++
		if !now.Before(due) {
			m.overdue++
		}
	}
}

func (m *matters) waiting(p *reidentify.Policy) Standing {
	return Standing{
		Rule: RulePending, Text: texts[RulePending], Action: string(reidentify.ActionRefuse), Unit: unit(RulePending),
		Most: float64(p.Limits.Pending), Now: float64(m.pending), Beyond: m.pending >= p.Limits.Pending,
	}
}

func (m *matters) unreviewed() Standing {
	return Standing{
		Rule: RuleReviews, Text: texts[RuleReviews], Action: string(reidentify.ActionRefuse), Unit: unit(RuleReviews),
		Now: float64(m.reviews), Beyond: m.overdue > 0, Overdue: m.overdue,
	}
}
