package reidentify

import (
	"slices"
	"testing"
	"time"
)

// requested returns an occasion as a request that limits count.
func requested(o *Occasion) *Request {
	r := &Request{Draft: Draft{Requester: o.Person, Project: o.Project, Organisation: o.Organisation, Purpose: o.Purpose, BreakGlass: o.BreakGlass}, Created: o.At, Counted: true}
	for i, subject := range o.Subjects {
		r.Items = append(r.Items, Item{Row: i, Subject: subject})
	}
	return r
}

// asksOf gives requests to a counter.
func asksOf(c *Counter, occasions ...*Occasion) (asks []*Ask) {
	for _, o := range occasions {
		if ask := c.Ask(requested(o)); ask != nil {
			asks = append(asks, ask)
		}
	}
	return asks
}

// TestCounts: what a practice and one of its people asked until the night after a Thursday,
// counted by hand.
func TestCounts(t *testing.T) {
	now := time.Date(2026, 11, 26, 22, 30, 0, 0, london)
	at := func(month time.Month, day, hour int) time.Time {
		return time.Date(2026, month, day, hour, 0, 0, 0, london)
	}
	emergency := asks(at(11, 26, 10), patients(4, 1)...)
	emergency.Purpose, emergency.BreakGlass = EmergencyTreatment, true
	asked := []*Occasion{
		asks(at(11, 26, 22), patients(1, 2)...),  // in this night
		asks(at(11, 26, 20), patients(1, 1)...),  // today
		emergency,                                // today
		asks(at(11, 25, 23), patients(1, 1)...),  // within 24 hours, the night before
		asks(at(11, 22, 12), patients(8, 1)...),  // a Sunday, within 7 days
		asks(at(11, 1, 12), patients(9, 3)...),   // a Sunday, within 30 days
		asks(at(10, 27, 22), patients(20, 1)...), // before 30 days, on a day before those that are told
	}
	p := &Policy{Mode: Simulate, Limits: DefaultLimits(), Organisations: []Organisation{{Code: "A81001", ListSize: 100}}, BreakGlass: BreakGlassRules{User: 2, Organisation: 1}}
	p.Limits.Organisation.Action = ActionOff
	p.Limits.SamePatient.Most = 3
	counter := p.CountAt(now)
	asks := asksOf(counter, asked...)
	want := []struct {
		rule      string
		most      float64
		now, list int
		beyond    bool
		today     int
	}{
		{LimitNight, 1, 1, 0, false, 1},
		{LimitRequestsDay, 100, 4, 0, false, 3},
		{LimitPatientsDay, 300, 3, 0, false, 3},
		{LimitPatientsWeek, 500, 4, 0, false, 3},
		{LimitPatientsMonth, 1000, 7, 0, false, 3},
		{CapUser, 2, 1, 0, false, 1},
		{LimitNonWorkingDay, 0, 0, 0, false, 0},
		{LimitOrganisation, 750, 7, 0, false, 3},
		{LimitOrganisationShare, 6, 7, 100, true, 3},
		{LimitSamePatient, 3, 3, 0, false, 2},
		{CapOrganisation, 1, 1, 0, true, 1},
	}
	got := append(counter.Person("A81001", asks, true), counter.Organisation("A81001", asks, true)...)
	if len(got) != len(want) {
		t.Fatalf("%d counts, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		c := got[i]
		if c.Rule != w.rule || c.Most != w.most || c.Now != w.now || c.List != w.list || c.Beyond != w.beyond || !c.Simulated && i < 5 || len(c.Days) != DaysCounted || c.Days[DaysCounted-1] != w.today {
			t.Errorf("%+v, want %+v", c, w)
		}
	}
	if got[7].Action != ActionOff || got[8].Action != ActionWarn {
		t.Errorf("%s and %s", got[7].Action, got[8].Action)
	}
	// The 26th is the last day, so that the 22nd is 4 before it, and the 1st 25.
	nights, sundays := got[0].Days, got[6].Days
	if nights[28] != 1 || sundays[25] != 1 || sundays[4] != 1 || sum(sundays) != 2 || sum(nights) != 2 {
		t.Errorf("nights %v, Sundays %v", nights, sundays)
	}
}

func sum(all []int) (n int) {
	for _, i := range all {
		n += i
	}
	return n
}

// TestCountsLeaveOut: a person of a hospital has no limit of the night, an organisation
// whose list is not known no share of it; what was refused counts nowhere.
func TestCountsLeaveOut(t *testing.T) {
	p := only(LimitNight, 1, ActionWarn)
	rules := func(all []Count) (rules []string) {
		for _, c := range all {
			rules = append(rules, c.Rule)
			if c.Days != nil {
				t.Errorf("%s is told day by day", c.Rule)
			}
		}
		return rules
	}
	c := p.CountAt(thursday)
	if got := rules(c.Person("RYJ", nil, false)); slices.Contains(got, LimitNight) || len(got) != 5 {
		t.Error(got)
	}
	if got := rules(c.Person("A81001", nil, false)); !slices.Contains(got, LimitNight) || len(got) != 6 {
		t.Error(got)
	}
	if got := rules(c.Organisation("RYJ", nil, false)); slices.Contains(got, LimitOrganisationShare) || len(got) != 4 {
		t.Error(got)
	}
	refused := requested(asks(thursday, patients(1, 1)...))
	refused.Counted = false
	if c.Ask(refused) != nil {
		t.Error("what was refused is counted")
	}
}

// TestOutOfHours: nights, weekends and holidays, but where people work then.
func TestOutOfHours(t *testing.T) {
	p := only(LimitNight, 1, ActionWarn)
	at := func(month time.Month, day, hour, minute int) time.Time {
		return time.Date(2026, month, day, hour, minute, 0, 0, london)
	}
	for _, tt := range []struct {
		code string
		at   time.Time
		out  bool
	}{
		{"A81001", at(11, 26, 12, 0), false},
		{"A81001", at(11, 26, 20, 59), false},
		{"A81001", at(11, 26, 21, 0), true},
		{"A81001", at(11, 26, 5, 59), true},
		{"A81001", at(11, 26, 6, 0), false},
		{"A81001", at(11, 28, 12, 0), true}, // a Saturday
		{"A81001", at(12, 25, 12, 0), true}, // a holiday, on a Friday
		{"RYJ", at(11, 28, 23, 0), false},
		{"X26", at(11, 29, 12, 0), true}, // not in the policy
	} {
		if got := p.OutOfHours(tt.code, tt.at); got != tt.out {
			t.Errorf("%s at %s: %v", tt.code, tt.at, got)
		}
	}
	if London() != london {
		t.Error("London is elsewhere")
	}
}
