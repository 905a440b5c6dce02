package oversight

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys/reidentify"
)

func person(n int) reidentify.Person {
	return reidentify.Person{Issuer: "https://a.example", Subject: fmt.Sprint("subject-", n), Organisation: "A81001", Role: "R1"}
}

// asks returns a request that limits count.
func asks(who reidentify.Person, at time.Time, patients ...int) *reidentify.Request {
	r := &reidentify.Request{ID: fmt.Sprint(at.UnixNano(), who.Subject, patients), Created: at, Expires: at.Add(reidentify.Lifetime), Counted: true, State: reidentify.Ready}
	r.Requester, r.Organisation, r.Project, r.Purpose = who, who.Organisation, "care", reidentify.Treatment
	r.Decision = reidentify.Decision{Outcome: reidentify.Ready, Rule: reidentify.RuleRelationship}
	for row, patient := range patients {
		r.Items = append(r.Items, reidentify.Item{Row: row, Subject: fmt.Sprintf("%032x", patient)})
	}
	return r
}

func breaks(who reidentify.Person, at time.Time, opened bool) *reidentify.Request {
	r := asks(who, at, 1)
	r.Purpose, r.BreakGlass, r.Expires = reidentify.EmergencyTreatment, true, at.Add(reidentify.EmergencyLifetime)
	if opened {
		r.State = reidentify.Opened
		r.Openings = map[string]*reidentify.Opening{r.Organisation: {By: who, At: at, Done: at, Outcomes: []reidentify.Outcome{reidentify.Released}, Finished: true}}
	}
	return r
}

func waits(r *reidentify.Request) *reidentify.Request {
	r.State, r.Decision = reidentify.Pending, reidentify.Decision{Outcome: reidentify.Pending, Rule: reidentify.RuleNeedsApproval, Needed: 1}
	return r
}

func find(t interface {
	Fatalf(string, ...any)
}, all []Standing, rule string) Standing {
	i := slices.IndexFunc(all, func(s Standing) bool { return s.Rule == rule })
	if i < 0 {
		t.Fatalf("there is no standing of %s", rule)
	}
	return all[i]
}

// TestStandings: one person's and their practice's, counted by hand.
func TestStandings(t *testing.T) {
	p := &reidentify.Policy{Mode: reidentify.Simulate, Limits: reidentify.DefaultLimits(), Organisations: []reidentify.Organisation{{Code: "A81001", ListSize: 200}}, BreakGlass: reidentify.BreakGlassRules{User: 5, Organisation: 2}}
	one, other := person(1), person(2)
	requests := []*reidentify.Request{
		asks(one, thursday.Add(-time.Hour), 1, 2, 3),
		asks(one, thursday.Add(-2*time.Hour), 1),
		asks(other, thursday.Add(-3*time.Hour), 1, 9),
		waits(asks(one, thursday.Add(-4*time.Hour), 4)),
		waits(asks(one, thursday.Add(-4*day), 5)), // has expired
		breaks(one, thursday.Add(-5*day), true),   // its review is overdue
		breaks(other, thursday.Add(-time.Minute), true),
	}
	got := Standings(p, requests, Subject{Person: &one}, thursday)
	want := "night 0/1, requests_a_day 3/100, patients_a_day 4/300, patients_a_week 5/500, patients_a_month 5/1000, break_glass_user 0/5, pending 1/20, break_glass_reviews 1/0!"
	if text := shown(got); text != want {
		t.Errorf("%s\nwant %s", text, want)
	}
	got = Standings(p, requests, Subject{Organisation: "A81001"}, thursday)
	// Six patients of 200 are 3 per cent; patient 1 was asked for five times.
	want = "non_working_day 0/0, organisation_patients 6/750, organisation_share 3/6, same_patient 5/2!, break_glass_organisation 1/2, break_glass_reviews 2/0!"
	if text := shown(got); text != want {
		t.Errorf("%s\nwant %s", text, want)
	}
	same := find(t, got, reidentify.LimitSamePatient)
	if !same.Simulated || same.Action != "warn" || same.Text != reidentify.LimitText(reidentify.LimitSamePatient) || same.Unit != UnitRequests || same.Days[29] != 4 || same.Days[24] != 1 {
		t.Errorf("%+v", same)
	}
	if cap := find(t, got, reidentify.CapOrganisation); cap.Simulated || cap.Days[29] != 1 || cap.Days[24] != 1 {
		t.Errorf("%+v: no mode simulates a cap", cap)
	}
	if share := find(t, got, reidentify.LimitOrganisationShare); share.Unit != UnitPercent || share.Days[29] != 5 {
		t.Errorf("%+v", share)
	}
	if reviews := find(t, got, RuleReviews); reviews.Overdue != 1 || reviews.Days != nil {
		t.Errorf("%+v", reviews)
	}
}

// shown writes standings as one line.
func shown(all []Standing) string {
	var some []string
	for _, s := range all {
		text := fmt.Sprintf("%s %v/%v", s.Rule, s.Now, s.Most)
		if s.Beyond {
			text += "!"
		}
		some = append(some, text)
	}
	return strings.Join(some, ", ")
}

// TestStandingsWithoutPolicy: nothing is allowed and nothing is counted.
func TestStandingsWithoutPolicy(t *testing.T) {
	one := person(1)
	if got := Standings(nil, []*reidentify.Request{asks(one, thursday, 1)}, Subject{Person: &one}, thursday); got == nil || len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := Everybody(nil, nil, thursday); got.People == nil || got.Organisations == nil || got.Fired == nil || len(got.People) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestStandingsAreTheDecisions: whatever was asked, what stands is what the rules that
// decide would hold against one request more.
func TestStandingsAreTheDecisions(t *testing.T) {
	ever := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		p, now := drawnPolicy(t), nows().Draw(t, "now")
		requests := drawnRequests(t, now, 25)
		who := drawnPerson(t)
		d := &decision{p, historyOf(requests)}
		o := reidentify.Occasion{At: now, Person: who, Organisation: who.Organisation, Purpose: reidentify.QualityImprovement}
		most := d.most(&o) // of a request for nobody
		standings := append(Standings(p, requests, Subject{Person: &who}, now), Standings(p, requests, Subject{Organisation: who.Organisation}, now)...)
		for _, s := range standings {
			want := 0
			switch s.Rule {
			case RulePending, RuleReviews:
				continue
			case reidentify.CapUser, reidentify.CapOrganisation:
				want = d.used(&o, s.Rule)
				if beyond := want >= int(s.Most); beyond != s.Beyond {
					t.Fatalf("%s beyond: %v, with %d of %v", s.Rule, s.Beyond, want, s.Most)
				}
			case reidentify.LimitNight, reidentify.LimitNonWorkingDay, reidentify.LimitRequestsDay:
				want = max(0, most[s.Rule]-1) // that request is counted by these
				if off := s.Action == "off"; !off && s.Beyond != (want > int(s.Most)) {
					t.Fatalf("%s beyond: %v, with %d", s.Rule, s.Beyond, want)
				}
			case reidentify.LimitSamePatient:
				for patient := range 16 {
					again := o
					again.Subjects = []string{fmt.Sprintf("%032x", patient)}
					want = max(want, d.most(&again)[s.Rule]-1)
				}
				if off := s.Action == "off"; !off && s.Beyond != (want > int(s.Most)) {
					t.Fatalf("%s beyond: %v, with %d", s.Rule, s.Beyond, want)
				}
			default:
				want = most[s.Rule]
				if beyond := d.fires(p, &o, s.Rule); beyond != s.Beyond {
					t.Fatalf("%s beyond: %v, and the decision says %v", s.Rule, s.Beyond, beyond)
				}
			}
			if s.Rule == reidentify.LimitOrganisationShare {
				list := p.Organisations[0].ListSize
				if s.Now != 100*float64(most[reidentify.LimitOrganisation])/float64(list) {
					t.Fatalf("%v per cent of %d, with %d", s.Now, list, most[reidentify.LimitOrganisation])
				}
			} else if s.Now != float64(want) {
				t.Fatalf("%s counts %v, and the decision %d, at %s", s.Rule, s.Now, want, now)
			}
			if s.Now > 0 {
				ever[s.Rule]++
			}
			if s.Beyond {
				ever[s.Rule+" beyond"]++
			}
		}
	})
	for _, rule := range append(reidentify.LimitRules(), reidentify.CapUser, reidentify.CapOrganisation) {
		if ever[rule] < 5 || ever[rule+" beyond"] < 2 {
			t.Errorf("%s was counted %d times and beyond %d: the test is blind to it", rule, ever[rule], ever[rule+" beyond"])
		}
	}
}

// TestWhatWaits: what waits and what is to be reviewed of a person is counted one by one.
func TestWhatWaits(t *testing.T) {
	some := 0
	rapid.Check(t, func(t *rapid.T) {
		p, now := drawnPolicy(t), nows().Draw(t, "now")
		requests := drawnRequests(t, now, 50)
		who := drawnPerson(t)
		pending, reviews, overdue := 0, 0, 0
		for _, r := range requests {
			mine := r.Requester.Issuer == who.Issuer && r.Requester.Subject == who.Subject || who.UserID != "" && r.Requester.UserID == who.UserID
			if mine && r.State == reidentify.Pending && r.Expires.After(now) {
				pending++
			}
			if mine && r.BreakGlass && len(r.Openings) > 0 && r.Review == nil {
				reviews++
				if now.Sub(r.Openings[r.Organisation].At) >= 72*time.Hour {
					overdue++
				}
			}
		}
		all := Standings(p, requests, Subject{Person: &who}, now)
		if s := find(t, all, RulePending); s.Now != float64(pending) || s.Beyond != (pending >= p.Limits.Pending) || s.Most != float64(p.Limits.Pending) {
			t.Fatalf("%+v, want %d", s, pending)
		}
		if s := find(t, all, RuleReviews); s.Now != float64(reviews) || s.Overdue != overdue || s.Beyond != (overdue > 0) {
			t.Fatalf("%+v, want %d and %d", s, reviews, overdue)
		}
		some += pending + overdue
	})
	if some < 20 {
		t.Errorf("%d: the test is blind", some)
	}
}

// TestDays: each of the last 30 days is what a look at every request says of its date.
func TestDays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, now := drawnPolicy(t), nows().Draw(t, "now")
		requests := drawnRequests(t, now, 25)
		code := drawnCode(t)
		all := Standings(p, requests, Subject{Organisation: code}, now)
		today := now.In(reidentify.London())
		noon := time.Date(today.Year(), today.Month(), today.Day(), 12, 0, 0, 0, time.UTC)
		for i := range reidentify.DaysCounted {
			date := noon.AddDate(0, 0, i-reidentify.DaysCounted+1)
			count, times := 0, map[string]int{}
			for _, r := range requests {
				if r.Counted && r.Organisation == code && r.Created.In(reidentify.London()).Format(time.DateOnly) == date.Format(time.DateOnly) {
					count++
					for _, item := range r.Items {
						if item.Subject != "" {
							times[item.Subject]++
						}
					}
				}
			}
			most := 0
			for _, n := range times {
				most = max(most, n)
			}
			if works := !p.OutOfHours(code, time.Date(date.Year(), date.Month(), date.Day(), 12, 0, 0, 0, reidentify.London())); works {
				count = 0
			}
			for rule, want := range map[string]int{reidentify.LimitOrganisation: len(times), reidentify.LimitSamePatient: most, reidentify.LimitNonWorkingDay: count} {
				if got := find(t, all, rule).Days[i]; got != want {
					t.Fatalf("%s on %s: %d, want %d", rule, date.Format(time.DateOnly), got, want)
				}
			}
		}
	})
}

// TestNights: a person's nights are told under the day on which they began, also those of
// nine hours less one, or one more.
func TestNights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, now := drawnPolicy(t), nows().Draw(t, "now")
		requests := drawnRequests(t, now, 25)
		who := person(1)
		want := map[string]int{}
		for _, r := range requests {
			r.Requester = who
			local := r.Created.In(reidentify.London())
			if !r.Counted || r.Organisation == "RYJ" || local.Hour() >= 6 && local.Hour() < 21 {
				continue
			}
			date := time.Date(local.Year(), local.Month(), local.Day(), 12, 0, 0, 0, time.UTC)
			if local.Hour() < 6 {
				date = date.AddDate(0, 0, -1)
			}
			want[date.Format(time.DateOnly)]++
		}
		days := find(t, Standings(p, requests, Subject{Person: &who}, now), reidentify.LimitNight).Days
		today := now.In(reidentify.London())
		for i, got := range days {
			date := time.Date(today.Year(), today.Month(), today.Day()+i-len(days)+1, 12, 0, 0, 0, time.UTC).Format(time.DateOnly)
			if got != want[date] {
				t.Fatalf("the night of %s: %d, want %d", date, got, want[date])
			}
		}
	})
}

// TestStandingIsDocumented: the members' names are what documents promise.
func TestStandingIsDocumented(t *testing.T) {
	document, err := json.Marshal(Standing{Rule: "night", Text: "t", Action: "warn", Unit: UnitRequests, Most: 1, Now: 2, Beyond: true, Simulated: true, Overdue: 1, Days: []int{1}})
	if want := `{"rule":"night","text":"t","action":"warn","unit":"requests","most":1,"now":2,"beyond":true,"simulated":true,"overdue":1,"days":[1]}`; err != nil || string(document) != want {
		t.Errorf("%s, %v", document, err)
	}
}
