// Package oversight turns requests for re-identification into what guardians, people
// themselves and the public read: where somebody stands against the limits (Standings,
// Everybody), an organisation's month (Month), and the public register's counts (Register).
//
// It is pure: it does no I/O and the time is given. Requests may be in any order, and are
// only read. What limits count is counted by package reidentify, which decides by it; there
// is no second rule here.
//
// No document of it holds an identity, a token, a subject_h, a request's id or a text that
// somebody wrote. [Overview] names those who asked, as guardians see them; [Report] and
// [ProjectCount] name nobody. The members of the documents are described beside them; all
// times and days are London's unless they say UTC.
package oversight

import (
	"tarn/keys/reidentify"
)

// Rules that stand beside limits in standings.
const (
	// RulePending is how many requests of one person wait.
	RulePending = "pending"
	// RuleReviews is how many break-glasses nobody has reviewed yet.
	RuleReviews = "break_glass_reviews"
)

// Units of what is counted.
const (
	UnitRequests = "requests"
	UnitPatients = "patients"
	UnitPercent  = "per_cent" // of an organisation's list
	UnitReviews  = "reviews"
)

var units = map[string]string{
	reidentify.LimitPatientsDay: UnitPatients, reidentify.LimitPatientsWeek: UnitPatients, reidentify.LimitPatientsMonth: UnitPatients,
	reidentify.LimitOrganisation: UnitPatients, reidentify.LimitOrganisationShare: UnitPercent, RuleReviews: UnitReviews,
}

var texts = map[string]string{
	RulePending: "this person has as many requests that wait for approval as one may",
	RuleReviews: "a break-glass was not reviewed in time, and who used it may not use it again until it is",
}

// Standing is how far somebody has come towards one limit. All limits that count for a
// person or an organisation are there, also those that are off; a night's limit not for
// people of an organisation that works at night, a share not of an organisation whose list
// is not known.
type Standing struct {
	// Rule is a limit's name, break_glass_user, break_glass_organisation, pending or
	// break_glass_reviews.
	Rule string `json:"rule"`
	// Text says in plain words what is so beyond it.
	Text string `json:"text"`
	// Action is off, warn, approval or refuse: the policy's; direct care and emergencies are
	// treated more mildly.
	Action string `json:"action"`
	// Unit is requests, patients, per_cent or reviews: of most and now.
	Unit string `json:"unit"`
	// Most is what the policy allows; 0 of reviews, none of which may be overdue.
	Most float64 `json:"most"`
	// Now is what counts at this moment: of a night by day, and of a non-working day on a
	// working one, 0.
	Now float64 `json:"now"`
	// Beyond says of a limit that now is more than most. Of a cap of break-glass, and of
	// pending, it says that as many are used as there may be, so that one more is refused; of
	// reviews that one is overdue.
	Beyond bool `json:"beyond"`
	// Simulated says that the policy only counts limits, and nothing acts on this one.
	Simulated bool `json:"simulated,omitzero"`
	// Overdue is how many reviews were not made in time.
	Overdue int `json:"overdue,omitzero"`
	// Days are the last 30 days, the oldest first, today last; none of pending and reviews. They
	// are requests of the day, or different patients of the day where the unit is patients or
	// per_cent; of night those of the night that began on the day, of non_working_day 0 for
	// days on which the organisation works, of same_patient those for the most frequent patient
	// of the day.
	Days []int `json:"days,omitzero"`
}

// near is how near it is to its limit, in per cent; of a limit of none 100 for each that is
// there, and 100 more.
func (s *Standing) near() float64 {
	switch {
	case s.Rule == RuleReviews && s.Overdue == 0, s.Action == string(reidentify.ActionOff), s.Now == 0:
		return 0
	case s.Rule == RuleReviews:
		return 100 * float64(1+s.Overdue)
	case s.Most == 0:
		return 100 * (1 + s.Now)
	}
	return 100 * s.Now / s.Most
}

func nearest(all []Standing) (near float64) {
	for i := range all {
		near = max(near, all[i].near())
	}
	return near
}

// standing makes of a count what is read.
func standing(c reidentify.Count) Standing {
	s := Standing{
		Rule: c.Rule, Text: reidentify.LimitText(c.Rule), Action: string(c.Action), Unit: unit(c.Rule), Most: c.Most, Now: float64(c.Now),
		Beyond: c.Beyond, Simulated: c.Simulated && c.Rule != reidentify.CapUser && c.Rule != reidentify.CapOrganisation, Days: c.Days,
	}
	if c.Rule == reidentify.LimitOrganisationShare {
		s.Now = 100 * s.Now / float64(c.List)
	}
	return s
}

func unit(rule string) string {
	if u := units[rule]; u != "" {
		return u
	}
	return UnitRequests
}
