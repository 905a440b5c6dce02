package oversight

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys/reidentify"
)

// TestEverybody: three people, of whom one is beyond a limit, one near one, and of one
// everything was refused; by hand.
func TestEverybody(t *testing.T) {
	p := &reidentify.Policy{Limits: reidentify.DefaultLimits(), BreakGlass: reidentify.BreakGlassRules{User: 5, Organisation: 20}}
	p.Limits.Requests.Most, p.Limits.PatientsDay.Most = 2, 4
	one, two, three := person(1), person(2), person(3)
	three.Organisation = "X26"
	refused := asks(three, thursday.Add(-time.Hour), 1)
	refused.Counted, refused.State = false, reidentify.Refused
	refused.Decision.Fired = []reidentify.Fired{{Rule: reidentify.LimitNight, Action: reidentify.ActionRefuse}}
	warned := asks(two, thursday.Add(-time.Minute), 1, 2, 3)
	warned.Decision.Fired = []reidentify.Fired{{Rule: reidentify.LimitNight, Action: reidentify.ActionWarn}, {Rule: reidentify.LimitSamePatient, Action: reidentify.ActionApproval, Simulated: true}}
	long := asks(person(4), thursday.Add(-30*day), 1)
	long.Decision.Fired = warned.Decision.Fired
	requests := []*reidentify.Request{
		refused, warned, long,
		asks(one, thursday.Add(-2*time.Hour), 1), asks(one, thursday.Add(-3*time.Hour), 1), asks(one, thursday.Add(-4*time.Hour), 1),
	}
	got := Everybody(p, requests, thursday)
	if got.Mode != "enforce" || !got.Time.Equal(thursday) || got.PeopleTotal != 3 {
		t.Errorf("%+v", got)
	}
	var people []string
	for _, p := range got.People {
		people = append(people, fmt.Sprint(p.Person.Subject, " ", p.Person.Organisation, " ", p.Near))
	}
	if want := []string{"subject-1 A81001 150", "subject-2 A81001 75", "subject-3 X26 0"}; !slices.Equal(people, want) {
		t.Errorf("%q, want %q", people, want)
	}
	if len(got.Organisations) != 2 || got.Organisations[0].Organisation != "A81001" || got.Organisations[0].Near != 200 {
		t.Errorf("%+v", got.Organisations) // patient 1 was asked for four times, and twice is usual
	}
	night, same := got.Fired[0], got.Fired[8]
	if night != (LimitFired{Rule: "night", Text: reidentify.LimitText("night"), Fired: 2, Warned: 1, Refused: 1}) || same != (LimitFired{Rule: "same_patient", Text: reidentify.LimitText("same_patient"), Fired: 1, Simulated: 1}) {
		t.Errorf("%+v and %+v", night, same)
	}
}

// TestEverybodyIsNear: the nearest come first, and no more than may be shown.
func TestEverybodyIsNear(t *testing.T) {
	p := &reidentify.Policy{Limits: reidentify.DefaultLimits(), BreakGlass: reidentify.BreakGlassRules{User: 5, Organisation: 20}}
	var requests []*reidentify.Request
	for i := range MostPeople + 50 {
		for n := range i%7 + 1 {
			requests = append(requests, asks(person(i), thursday.Add(-time.Duration(n)*time.Minute), i))
		}
	}
	got := Everybody(p, requests, thursday)
	if len(got.People) != MostPeople || got.PeopleTotal != MostPeople+50 {
		t.Fatalf("%d of %d", len(got.People), got.PeopleTotal)
	}
	if !slices.IsSortedFunc(got.People, func(a, b PersonStandings) int { return int(b.Near*1000) - int(a.Near*1000) }) || got.People[0].Near != 7 {
		t.Error("they are not in their order")
	}
}

// TestEverybodyIsEach: what is shown of everybody is what each of them is shown, in
// whatever order requests come; nobody is missing, and nobody is there twice.
func TestEverybodyIsEach(t *testing.T) {
	several := 0
	rapid.Check(t, func(t *rapid.T) {
		p, now := drawnPolicy(t), nows().Draw(t, "now")
		requests := drawnRequests(t, now, 20)
		got := Everybody(p, requests, now)
		if again := Everybody(p, rapid.Permutation(requests).Draw(t, "order"), now); !reflect.DeepEqual(again, got) {
			t.Fatal("another order of the requests gives something else")
		}
		for _, one := range got.People {
			who := reidentify.Person{Issuer: one.Person.Issuer, Subject: one.Person.Subject, UserID: one.Person.UserID, Organisation: one.Person.Organisation}
			if want := Standings(p, requests, Subject{Person: &who}, now); !reflect.DeepEqual(one.Standings, want) {
				t.Fatalf("%+v\nwant %+v", one.Standings, want)
			}
			if one.Near != nearest(one.Standings) {
				t.Fatalf("%v", one.Near)
			}
		}
		for _, one := range got.Organisations {
			if want := Standings(p, requests, Subject{Organisation: one.Organisation}, now); !reflect.DeepEqual(one.Standings, want) {
				t.Fatalf("%+v\nwant %+v", one.Standings, want)
			}
		}
		if want := slowPeople(requests, func(r *reidentify.Request) bool { return inOverview(r, now) }); got.PeopleTotal != want || len(got.People) != want {
			t.Fatalf("%d people, want %d", got.PeopleTotal, want)
		}
		if got.PeopleTotal > 3 {
			several++
		}
		checkFired(t, got, requests, now)
	})
	if several < 10 {
		t.Errorf("%d: the test is blind", several)
	}
}

// inOverview reports whether whoever made a request is shown for it.
func inOverview(r *reidentify.Request, now time.Time) bool {
	unreviewed := r.BreakGlass && len(r.Openings) > 0 && r.Review == nil
	return now.Sub(r.Created) < 30*day || r.State == reidentify.Pending && now.Before(r.Expires) || unreviewed
}

// slowPeople counts the people of whom some requests are: accounts are one person's where a
// chain of requests that count makes them so.
func slowPeople(requests []*reidentify.Request, some func(*reidentify.Request) bool) int {
	names := func(r *reidentify.Request) []string {
		all := []string{"account " + r.Requester.Issuer + " " + r.Requester.Subject}
		if r.Requester.UserID != "" {
			all = append(all, "user "+r.Requester.UserID)
		}
		return all
	}
	one := map[string]string{} // the least of the names of whoever has a name
	of := func(name string) string {
		if one[name] == "" {
			one[name] = name
		}
		return one[name]
	}
	link := func(r *reidentify.Request) {
		for _, name := range names(r)[1:] {
			a, b := of(names(r)[0]), of(name)
			for other, who := range one {
				if who == max(a, b) {
					one[other] = min(a, b)
				}
			}
		}
	}
	for _, r := range requests {
		if r.Counted {
			for _, name := range names(r) {
				of(name)
			}
			link(r)
		}
	}
	known := maps.Clone(one)
	whose := func(r *reidentify.Request) string { // what was refused makes no two one
		for _, name := range names(r) {
			if known[name] != "" {
				return one[name]
			}
		}
		return ""
	}
	for _, r := range requests {
		if whose(r) == "" {
			link(r)
		}
	}
	who := map[string]bool{}
	for _, r := range requests {
		if some(r) {
			who[cmp.Or(whose(r), of(names(r)[0]))] = true
		}
	}
	return len(who)
}

// checkFired counts what fired one by one.
func checkFired(t *rapid.T, got Overview, requests []*reidentify.Request, now time.Time) {
	for _, l := range got.Fired {
		want := map[string]int{}
		for _, r := range requests {
			for _, f := range r.Decision.Fired {
				if f.Rule != l.Rule || now.Sub(r.Created) >= 30*day {
					continue
				}
				if want["fired"]++; f.Simulated {
					want["simulated"]++
				} else {
					want[string(f.Action)]++
				}
			}
		}
		if l.Fired != want["fired"] || l.Simulated != want["simulated"] || l.Warned != want["warn"] || l.Approval != want["approval"] || l.Refused != want["refuse"] {
			t.Fatalf("%+v, want %v", l, want)
		}
	}
}

// TestNear: how near a standing is to its limit.
func TestNear(t *testing.T) {
	for _, tt := range []struct {
		s    Standing
		near float64
	}{
		{Standing{Rule: "night", Action: "warn", Most: 4, Now: 3}, 75},
		{Standing{Rule: "night", Action: "warn", Most: 4, Now: 5}, 125},
		{Standing{Rule: "night", Action: "off", Most: 4, Now: 5}, 0},
		{Standing{Rule: "non_working_day", Action: "warn", Now: 1}, 200},
		{Standing{Rule: "non_working_day", Action: "warn"}, 0},
		{Standing{Rule: RuleReviews, Action: "refuse", Now: 3}, 0},
		{Standing{Rule: RuleReviews, Action: "refuse", Now: 3, Overdue: 1}, 200},
	} {
		if got := tt.s.near(); got != tt.near {
			t.Errorf("%+v: %v, want %v", tt.s, got, tt.near)
		}
	}
}
