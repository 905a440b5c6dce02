package oversight

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"tarn/keys/reidentify"
)

// thursday is an ordinary working day, at noon.
var thursday = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

var everyDay = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// nows are moments at which counting is not plain: at noon, in nights in which the clocks
// change, in a night of a weekend, and when a month begins.
func nows() *rapid.Generator[time.Time] {
	london := reidentify.London()
	return rapid.SampledFrom([]time.Time{
		thursday, time.Date(2026, 3, 29, 2, 30, 0, 0, london), time.Date(2026, 10, 25, 1, 30, 0, 0, london), time.Date(2026, 7, 4, 22, 0, 0, 0, london),
		time.Date(2026, 11, 1, 0, 0, 0, 0, london), time.Date(2026, 10, 31, 23, 59, 59, 0, london), time.Date(2026, 3, 30, 12, 0, 0, 0, london),
	})
}

func drawnPerson(t *rapid.T) reidentify.Person {
	return reidentify.Person{
		Issuer:       rapid.SampledFrom([]string{"i", "j"}).Draw(t, "issuer"),
		Subject:      rapid.SampledFrom([]string{"r", "s", "t"}).Draw(t, "subject"),
		UserID:       rapid.SampledFrom([]string{"", "", "u", "v"}).Draw(t, "user id"),
		Organisation: drawnCode(t),
		Role:         "R1",
	}
}

func drawnCode(t *rapid.T) string {
	return rapid.SampledFrom([]string{"A81001", "RYJ", "X26"}).Draw(t, "organisation")
}

// drawnPolicy returns a policy of small limits.
func drawnPolicy(t *rapid.T) *reidentify.Policy {
	limit := func(name string, most int) reidentify.Limit {
		action := rapid.SampledFrom([]reidentify.Action{reidentify.ActionOff, reidentify.ActionWarn, reidentify.ActionApproval, reidentify.ActionRefuse}).Draw(t, name+" does")
		return reidentify.Limit{Most: rapid.IntRange(0, most).Draw(t, name), Action: action}
	}
	share := limit("share", 12)
	return &reidentify.Policy{
		Mode: rapid.SampledFrom([]reidentify.Mode{reidentify.Enforce, reidentify.Simulate}).Draw(t, "mode"),
		Organisations: []reidentify.Organisation{
			{Code: "A81001", ListSize: rapid.IntRange(0, 100).Draw(t, "list"), Holidays: []string{"2026-03-30", "2026-10-26"}},
			{Code: "RYJ", Nights: true, WorkingDays: everyDay},
		},
		Limits: reidentify.Limits{
			Night: limit("night", 3), NonWorking: limit("non-working", 3), Requests: limit("requests", 6),
			PatientsDay: limit("day", 8), PatientsWeek: limit("week", 10), PatientsMonth: limit("month", 12),
			Organisation: limit("organisation", 14), Share: reidentify.Percent{Most: float64(share.Most), Action: share.Action}, SamePatient: limit("same", 4),
			Pending: rapid.IntRange(0, 5).Draw(t, "pending"),
		},
		BreakGlass: reidentify.BreakGlassRules{User: rapid.IntRange(0, 3).Draw(t, "user"), Organisation: rapid.IntRange(0, 5).Draw(t, "users"), ReviewWithin: "72h"},
	}
}

const day = 24 * time.Hour

// drawnPast returns a time before a moment, at the edges of windows more often than not; now
// and then after it, as where a clock was put back.
func drawnPast(t *rapid.T, now time.Time) time.Time {
	edges := rapid.SampledFrom([]time.Duration{0, 1, time.Minute, 3 * time.Hour, 12 * time.Hour, 36 * time.Hour, 60 * time.Hour, day - 1, day, day + 1, 3 * day, 7*day - 1, 7 * day, 29 * day, 30*day - 1, 30 * day, 30*day + 1, 45 * day, -time.Hour})
	hours := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(0, 32*24*4).Draw(t, "quarters")) * time.Hour / 4
	})
	return now.Add(-rapid.OneOf(edges, hours).Draw(t, "ago"))
}

// drawnRequests returns what was asked until a moment, in no order. How it is reached does
// not matter: all that a record can say is there.
func drawnRequests(t *rapid.T, now time.Time, most int) (all []*reidentify.Request) {
	// Rapid draws few more often than many, and many are what is worth looking at.
	for i := range rapid.OneOf(rapid.IntRange(0, most), rapid.Just(most), rapid.Just(most)).Draw(t, "requests") {
		all = append(all, drawnRequest(t, i, now))
	}
	return all
}

func drawnRequest(t *rapid.T, i int, now time.Time) *reidentify.Request {
	r := &reidentify.Request{ID: fmt.Sprintf("%032x", i), Created: drawnPast(t, now), Counted: rapid.IntRange(0, 5).Draw(t, "refused") > 0}
	r.Requester = drawnPerson(t)
	r.Organisation = r.Requester.Organisation
	r.Project = rapid.SampledFrom([]string{"care", "study"}).Draw(t, "project")
	r.Purpose = rapid.SampledFrom([]reidentify.Purpose{reidentify.Treatment, reidentify.QualityImprovement, reidentify.EmergencyTreatment}).Draw(t, "purpose")
	r.BreakGlass = r.Purpose == reidentify.EmergencyTreatment
	r.Expires = r.Created.Add(reidentify.Lifetime)
	if !r.BreakGlass && rapid.IntRange(0, 3).Draw(t, "worklist") == 0 {
		r.Route = reidentify.ToPractice
	}
	patients := rapid.SliceOfNDistinct(rapid.IntRange(0, 15), 1, 5, rapid.ID[int]).Draw(t, "patients")
	for row, patient := range patients {
		item := reidentify.Item{Row: row}
		if patient > 0 { // else it is a reference, which has no name in the log
			item.Subject = fmt.Sprintf("%032x", patient)
		}
		if r.Route != "" {
			item.Recipient = drawnCode(t)
		}
		r.Items = append(r.Items, item)
	}
	drawnDecision(t, r)
	if r.Counted {
		drawnOpenings(t, r)
	}
	return r
}

func drawnDecision(t *rapid.T, r *reidentify.Request) {
	for range rapid.IntRange(0, 2).Draw(t, "fired") {
		r.Decision.Fired = append(r.Decision.Fired, reidentify.Fired{
			Rule:      rapid.SampledFrom(reidentify.LimitRules()).Draw(t, "limit"),
			Action:    rapid.SampledFrom([]reidentify.Action{reidentify.ActionWarn, reidentify.ActionApproval, reidentify.ActionRefuse}).Draw(t, "action"),
			Simulated: rapid.Bool().Draw(t, "simulated"),
		})
	}
	if !r.Counted {
		r.State, r.Decision.Outcome = reidentify.Refused, reidentify.Refused
		r.Decision.Rule = rapid.SampledFrom([]reidentify.Rule{reidentify.RuleRolePurpose, reidentify.RuleLimit}).Draw(t, "rule")
		if r.Decision.Rule == reidentify.RuleLimit {
			r.Decision.Limit = reidentify.LimitNight
		}
		return
	}
	r.State, r.Decision.Outcome, r.Decision.Rule = reidentify.Ready, reidentify.Ready, reidentify.RuleRelationship
	if rapid.Bool().Draw(t, "waits") {
		r.State, r.Decision.Outcome, r.Decision.Rule, r.Decision.Needed = reidentify.Pending, reidentify.Pending, reidentify.RuleNeedsApproval, 2
		drawnApprovals(t, r)
	}
}

func drawnApprovals(t *rapid.T, r *reidentify.Request) {
	at := r.Created
	for range rapid.IntRange(0, 2).Draw(t, "approvals") {
		at = at.Add(time.Duration(rapid.IntRange(0, 70*60).Draw(t, "minutes")) * time.Minute)
		a := reidentify.Approval{At: at, Verdict: reidentify.Approve}
		if rapid.IntRange(0, 2).Draw(t, "rejects") == 0 {
			a.Verdict = reidentify.Reject
		}
		r.Approvals = append(r.Approvals, a)
		switch {
		case a.Verdict == reidentify.Reject:
			r.State, r.Decision.Outcome, r.Decision.Rule = reidentify.Refused, reidentify.Refused, reidentify.RuleRejected
			return
		case r.Have() == 2:
			r.State, r.Decision.Outcome, r.Decision.Rule = reidentify.Ready, reidentify.Ready, reidentify.RuleApproved
		}
	}
}

func drawnOpenings(t *rapid.T, r *reidentify.Request) {
	by := []string{r.Organisation}
	if r.Route != "" {
		by = rapid.SliceOfNDistinct(rapid.Custom(drawnCode), 0, 2, rapid.ID[string]).Draw(t, "openers")
	} else if rapid.Bool().Draw(t, "closed") {
		return
	}
	r.Openings = map[string]*reidentify.Opening{}
	for _, code := range by {
		o := &reidentify.Opening{At: r.Created.Add(time.Duration(rapid.IntRange(0, 48).Draw(t, "hours")) * time.Hour)}
		o.By.Organisation = code
		if rapid.IntRange(0, 3).Draw(t, "under way") > 0 {
			o.Done, o.Finished = o.At.Add(time.Hour), true
			for range r.Items {
				o.Outcomes = append(o.Outcomes, rapid.SampledFrom([]reidentify.Outcome{reidentify.Released, reidentify.Failed, reidentify.Unknown}).Draw(t, "outcome"))
			}
		}
		r.Openings[code] = o
		r.State = reidentify.Opened
	}
	if r.BreakGlass && rapid.Bool().Draw(t, "reviewed") {
		r.Review = &reidentify.Review{
			At:      r.Openings[r.Organisation].At.Add(rapid.SampledFrom([]time.Duration{time.Hour, 72*time.Hour - 1, 72 * time.Hour, 100 * time.Hour}).Draw(t, "review")),
			Outcome: rapid.SampledFrom([]reidentify.ReviewOutcome{reidentify.Justified, reidentify.NotJustified, reidentify.Inconclusive}).Draw(t, "found"),
		}
	}
}
