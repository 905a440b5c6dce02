package reidentify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// twin decides limits from the list of all occasions, each time anew.
type twin struct {
	people []*twinPerson
}

type twinPerson struct {
	names     []string
	occasions []Occasion
}

func twinNames(p *Person) []string {
	names := []string{"account " + p.Issuer + " " + p.Subject}
	if p.UserID != "" {
		names = append(names, "user "+p.UserID)
	}
	return names
}

// whoever returns one person of all who share a name with p, and those who do not.
func (t *twin) whoever(p *Person) (one *twinPerson, others []*twinPerson) {
	one = &twinPerson{names: twinNames(p)}
	for _, q := range t.people {
		if slices.ContainsFunc(q.names, func(name string) bool { return slices.Contains(twinNames(p), name) }) {
			one.names = append(one.names, q.names...)
			one.occasions = append(one.occasions, q.occasions...)
		} else {
			others = append(others, q)
		}
	}
	return one, others
}

func (t *twin) add(o Occasion) {
	one, others := t.whoever(&o.Person)
	one.occasions = append(one.occasions, o)
	t.people = append(others, one)
}

func (t *twin) forget(before time.Time) {
	var left []*twinPerson
	for _, p := range t.people {
		p.occasions = slices.DeleteFunc(p.occasions, func(o Occasion) bool { return o.At.Before(before) })
		if len(p.occasions) > 0 {
			left = append(left, p)
		}
	}
	t.people = left
}

func (t *twin) ofOrganisation(code string) (all []Occasion) {
	for _, p := range t.people {
		for _, o := range p.occasions {
			if o.Organisation == code {
				all = append(all, o)
			}
		}
	}
	return all
}

// within returns the occasions less than a time ago, or later.
func within(all []Occasion, now time.Time, hours int) []Occasion {
	return where(all, func(o *Occasion) bool { return now.Sub(o.At) < time.Duration(hours)*time.Hour })
}

func where(all []Occasion, is func(*Occasion) bool) (some []Occasion) {
	for i := range all {
		if is(&all[i]) {
			some = append(some, all[i])
		}
	}
	return some
}

func patientsOf(all []Occasion) int {
	seen := map[string]bool{}
	for _, o := range all {
		for _, s := range o.Subjects {
			seen[s] = true
		}
	}
	return len(seen)
}

// twinNight names a night by the day on which it began; empty by day.
func twinNight(t time.Time) string {
	local := t.In(london)
	day := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC)
	switch clock := local.Format("15:04"); {
	case clock >= "21:00":
		return day.Format(time.DateOnly)
	case clock < "06:00":
		return day.AddDate(0, 0, -1).Format(time.DateOnly)
	}
	return ""
}

func (t *twin) rules(p *Policy, o *Occasion) (rules []string) {
	person, _ := t.whoever(&o.Person)
	theirs := append(slices.Clone(person.occasions), *o)
	organisation := append(t.ofOrganisation(o.Organisation), *o)
	works := func(code string) Organisation { return p.organisation(code) }
	beyond := func(rule string, is bool) {
		if is {
			rules = append(rules, rule)
		}
	}
	night := where(theirs, func(other *Occasion) bool {
		return twinNight(other.At) == twinNight(o.At) && !works(other.Organisation).Nights
	})
	beyond(LimitNight, twinNight(o.At) != "" && !works(o.Organisation).Nights && len(night) > p.Limits.Night.Most)
	date := o.At.In(london).Format(time.DateOnly)
	today := where(organisation, func(other *Occasion) bool { return other.At.In(london).Format(time.DateOnly) == date })
	weekday := o.At.In(london).Format("Mon")
	working := slices.ContainsFunc(works(o.Organisation).WorkingDays, func(d string) bool { return strings.EqualFold(d, weekday) })
	beyond(LimitNonWorkingDay, (!working || slices.Contains(works(o.Organisation).Holidays, date)) && len(today) > p.Limits.NonWorking.Most)
	beyond(LimitRequestsDay, len(within(theirs, o.At, 24)) > p.Limits.Requests.Most)
	beyond(LimitPatientsDay, patientsOf(within(theirs, o.At, 24)) > p.Limits.PatientsDay.Most)
	beyond(LimitPatientsWeek, patientsOf(within(theirs, o.At, 7*24)) > p.Limits.PatientsWeek.Most)
	beyond(LimitPatientsMonth, patientsOf(within(theirs, o.At, 30*24)) > p.Limits.PatientsMonth.Most)
	recent := within(organisation, o.At, 30*24)
	beyond(LimitOrganisation, patientsOf(recent) > p.Limits.Organisation.Most)
	size := works(o.Organisation).ListSize
	beyond(LimitOrganisationShare, size > 0 && float64(patientsOf(recent)) > p.Limits.Share.Most/100*float64(size)+1e-9)
	again := slices.ContainsFunc(o.Subjects, func(s string) bool {
		return len(where(recent, func(other *Occasion) bool { return slices.Contains(other.Subjects, s) })) > p.Limits.SamePatient.Most
	})
	beyond(LimitSamePatient, again)
	return rules
}

func (t *twin) capped(p *Policy, o *Occasion) string {
	emergency := func(o *Occasion) bool { return o.Purpose == EmergencyTreatment }
	person, _ := t.whoever(&o.Person)
	switch {
	case len(where(within(person.occasions, o.At, 24), emergency)) >= p.BreakGlass.User:
		return CapUser
	case len(where(within(t.ofOrganisation(o.Organisation), o.At, 24), emergency)) >= p.BreakGlass.Organisation:
		return CapOrganisation
	}
	return ""
}

// drawn returns a policy of small limits.
func drawn(t *rapid.T) *Policy {
	limit := func(name string, most int) Limit {
		return Limit{Most: rapid.IntRange(0, most).Draw(t, name), Action: ActionWarn}
	}
	return &Policy{
		Mode: Enforce,
		Organisations: []Organisation{
			{Code: "A81001", ListSize: rapid.IntRange(0, 100).Draw(t, "list"), Holidays: []string{"2026-03-30", "2026-10-26"}},
			{Code: "RYJ", Nights: true, WorkingDays: days},
		},
		Limits: Limits{
			Night: limit("night", 3), NonWorking: limit("non-working", 3), Requests: limit("requests", 6),
			PatientsDay: limit("day", 8), PatientsWeek: limit("week", 10), PatientsMonth: limit("month", 12),
			Organisation: limit("organisation", 14), Share: Percent{Most: float64(rapid.IntRange(0, 12).Draw(t, "share")), Action: ActionWarn}, SamePatient: limit("same", 4),
		},
		BreakGlass: BreakGlassRules{User: rapid.IntRange(0, 3).Draw(t, "user"), Organisation: rapid.IntRange(0, 5).Draw(t, "users")},
	}
}

// drawnOccasion returns an occasion at a time. Its patients are of tokens of several domains
// and epochs, which share their subjects.
func drawnOccasion(t *rapid.T, at time.Time) Occasion {
	o := Occasion{
		At:           at,
		Person:       Person{Issuer: rapid.SampledFrom([]string{"i", "j"}).Draw(t, "issuer"), Subject: rapid.SampledFrom([]string{"r", "s", "t"}).Draw(t, "subject"), UserID: rapid.SampledFrom([]string{"", "", "u", "v"}).Draw(t, "user id")},
		Project:      rapid.SampledFrom([]string{"care", "study"}).Draw(t, "project"),
		Organisation: rapid.SampledFrom([]string{"A81001", "RYJ", "X26"}).Draw(t, "organisation"),
		Purpose:      rapid.SampledFrom([]Purpose{Treatment, QualityImprovement, EmergencyTreatment}).Draw(t, "purpose"),
	}
	o.BreakGlass = o.Purpose == EmergencyTreatment
	for range rapid.IntRange(1, 5).Draw(t, "patients") {
		token := struct{ domain, epoch, patient int }{rapid.IntRange(1, 2).Draw(t, "domain"), rapid.IntRange(1, 3).Draw(t, "epoch"), rapid.IntRange(0, 15).Draw(t, "patient")}
		if subject := fmt.Sprintf("%032x", token.patient); !slices.Contains(o.Subjects, subject) {
			o.Subjects = append(o.Subjects, subject)
		}
	}
	return o
}

// TestLimitsAgainstTheirTwin: whatever was asked, by whom, in which order, what fires is
// what a count of the whole list says.
func TestLimitsAgainstTheirTwin(t *testing.T) {
	ever := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		p, h, slow := drawn(t), NewHistory(), new(twin)
		now := rapid.SampledFrom([]time.Time{
			thursday, time.Date(2026, 3, 28, 20, 30, 0, 0, time.UTC), time.Date(2026, 10, 24, 20, 30, 0, 0, time.UTC), time.Date(2026, 7, 3, 19, 0, 0, 0, time.UTC),
		}).Draw(t, "begin")
		steps := rapid.OneOf(
			rapid.SampledFrom([]time.Duration{0, 1, time.Minute, 24*time.Hour - 1, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, -1, -time.Hour, -24 * time.Hour, -40 * 24 * time.Hour}),
			rapid.Custom(func(t *rapid.T) time.Duration {
				return time.Duration(rapid.IntRange(0, 600).Draw(t, "minutes")) * time.Minute
			}),
		)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(steps.Draw(t, "step"))
			o := drawnOccasion(t, now)
			var got []string
			for _, f := range p.Fire(h, &o) {
				got = append(got, f.Rule)
				ever[f.Rule]++
			}
			if want := slow.rules(p, &o); !slices.Equal(got, want) {
				t.Fatalf("at %s fired %v, want %v", now, got, want)
			}
			rule, beyond := p.BreakGlassCap(h, &o)
			if want := slow.capped(p, &o); rule != want || beyond != (want != "") {
				t.Fatalf("at %s capped by %q, want %q", now, rule, want)
			}
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0: // it was refused
			case 1:
				before := now.Add(-time.Hour * time.Duration(rapid.SampledFrom([]int{1, 24, 48, 72, 168, 240, 720}).Draw(t, "forget")))
				h.Forget(before)
				slow.forget(before)
			default:
				h.Add(o)
				slow.add(o)
			}
		}
	})
	for _, rule := range LimitRules() {
		if ever[rule] < 10 {
			t.Errorf("%s fired %d times: the test is blind to it", rule, ever[rule])
		}
	}
}

// TestHistoryForgets: what is forgotten takes no room.
func TestHistoryForgets(t *testing.T) {
	h := NewHistory()
	for i := range 100 {
		o := asks(thursday.Add(time.Duration(i)*time.Hour), patients(i, 2)...)
		o.Person = user(i)
		h.Add(*o)
	}
	h.Forget(thursday.Add(99 * time.Hour))
	if len(h.people) != 1 || len(h.organisations) != 1 || len(h.organisations["A81001"].all.of) != 1 || len(h.organisations["A81001"].all.windows[0].times) != 2 {
		t.Errorf("%d people, %d organisations", len(h.people), len(h.organisations))
	}
	h.Forget(thursday.Add(100 * time.Hour))
	if len(h.people) != 0 || len(h.organisations) != 0 {
		t.Errorf("%d people, %d organisations", len(h.people), len(h.organisations))
	}
}

// BenchmarkFire decides and adds, one occasion after another, for an organisation that has
// had 100,000 in a month.
func BenchmarkFire(b *testing.B) {
	p := &Policy{Mode: Enforce, Limits: DefaultLimits(), Organisations: []Organisation{{Code: "RYJ", ListSize: 1_000_000, WorkingDays: days}}}
	h := NewHistory()
	const size = 100_000
	at := func(i int) Occasion {
		return Occasion{At: thursday.Add(time.Duration(i) * month / size), Person: user(i % 300), Organisation: "RYJ", Purpose: Treatment, Subjects: patients(i%60_000, 1)}
	}
	for i := range size {
		h.Add(at(i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		o := at(size + i)
		p.Fire(h, &o)
		h.Add(o)
	}
}
