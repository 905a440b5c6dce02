package reidentify

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// thursday is an ordinary working day, at noon.
var thursday = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// only returns a policy of which one limit acts, and the organisations that tests know.
func only(rule string, most int, action Action) *Policy {
	p := &Policy{Mode: Enforce, Organisations: []Organisation{
		{Code: "A81001", ListSize: 5000, Holidays: []string{"2026-12-25"}},
		{Code: "RYJ", Nights: true, WorkingDays: days},
	}}
	l := Limit{Most: most, Action: action}
	switch rule {
	case LimitNight:
		p.Limits.Night = l
	case LimitNonWorkingDay:
		p.Limits.NonWorking = l
	case LimitRequestsDay:
		p.Limits.Requests = l
	case LimitPatientsDay:
		p.Limits.PatientsDay = l
	case LimitPatientsWeek:
		p.Limits.PatientsWeek = l
	case LimitPatientsMonth:
		p.Limits.PatientsMonth = l
	case LimitOrganisation:
		p.Limits.Organisation = l
	case LimitOrganisationShare:
		p.Limits.Share = Percent{Most: float64(most), Action: action}
	case LimitSamePatient:
		p.Limits.SamePatient = l
	}
	return p
}

func user(n int) Person { return Person{Issuer: "https://a.example", Subject: fmt.Sprint("user-", n)} }

// patients returns n subjects from a number on.
func patients(from, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("%032x", from+i))
	}
	return all
}

// asks returns an occasion of user 1 at a practice.
func asks(at time.Time, subjects ...string) *Occasion {
	return &Occasion{At: at, Person: user(1), Project: "care", Organisation: "A81001", Purpose: QualityImprovement, Subjects: subjects}
}

func history(occasions ...*Occasion) *History {
	h := NewHistory()
	for _, o := range occasions {
		h.Add(*o)
	}
	return h
}

// fires reports whether a rule fires, and nothing else does.
func fires(t *testing.T, p *Policy, h *History, o *Occasion, rule string) bool {
	t.Helper()
	fired := p.Fire(h, o)
	if len(fired) > 1 || len(fired) == 1 && fired[0].Rule != rule {
		t.Fatalf("fired %+v, and only %s acts", fired, rule)
	}
	return len(fired) == 1
}

// TestWindows: what is a length ago is out of a window, a nanosecond less is in it; what is
// as much as most is not beyond it, and one more is.
func TestWindows(t *testing.T) {
	for rule, length := range map[string]time.Duration{
		LimitRequestsDay: 24 * time.Hour, LimitPatientsDay: 24 * time.Hour, LimitPatientsWeek: 7 * 24 * time.Hour, LimitPatientsMonth: 30 * 24 * time.Hour,
		LimitOrganisation: 30 * 24 * time.Hour, LimitSamePatient: 30 * 24 * time.Hour,
	} {
		now := asks(thursday, patients(0, 1)...)
		// before has two occasions before, of other patients or of this one.
		before := func(ago time.Duration) *History {
			one, two := patients(1, 1), patients(2, 1)
			if rule == LimitSamePatient {
				one, two = now.Subjects, now.Subjects
			}
			return history(asks(thursday.Add(-ago), one...), asks(thursday.Add(-time.Minute), two...))
		}
		for _, x := range []struct {
			name string
			ago  time.Duration
			most int
			want bool
		}{
			{"one below", length - 1, 4, false}, {"as much", length - 1, 3, false}, {"one more", length - 1, 2, true},
			{"one more, out of it", length, 2, false}, {"out of it, at one less", length, 1, true}, {"long out of it", length * 3, 2, false},
		} {
			if got := fires(t, only(rule, x.most, ActionWarn), before(x.ago), now, rule); got != x.want {
				t.Errorf("%s, %s: fires %t", rule, x.name, got)
			}
		}
	}
}

// TestThresholds holds the defaults to NHS England's: at them nothing fires, one further
// does.
func TestThresholds(t *testing.T) {
	p := &Policy{Mode: Enforce, Limits: DefaultLimits(), Organisations: only("", 0, "").Organisations}
	fired := func(h *History, o *Occasion) (rules []string) {
		for _, f := range p.Fire(h, o) {
			if f.Action != ActionWarn || f.Simulated {
				t.Errorf("%+v", f)
			}
			rules = append(rules, f.Rule)
		}
		return rules
	}
	ago := func(d time.Duration) time.Time { return thursday.Add(-d) }
	requests := NewHistory()
	for i := range 99 {
		requests.Add(*asks(ago(time.Duration(i)*time.Minute), patients(i, 1)...))
	}
	// elsewhere the organisation has no list and no history
	elsewhere := func(o *Occasion) *Occasion { o.Organisation = "RYJ"; return o }
	evening := time.Date(2026, 11, 26, 21, 0, 0, 0, time.UTC)
	saturday := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, x := range []struct {
		name string
		h    *History
		o    *Occasion
		want []string
	}{
		{"the 100th request", requests, elsewhere(asks(thursday, patients(0, 1)...)), nil},
		{"300 patients", history(elsewhere(asks(ago(time.Hour), patients(0, 299)...))), elsewhere(asks(thursday, patients(299, 1)...)), nil},
		{"301 patients", history(elsewhere(asks(ago(time.Hour), patients(0, 299)...))), elsewhere(asks(thursday, patients(299, 2)...)), []string{LimitPatientsDay}},
		{"the same 300 again", history(elsewhere(asks(ago(time.Hour), patients(0, 300)...))), elsewhere(asks(thursday, patients(0, 300)...)), nil},
		{"500 in a week", history(elsewhere(asks(ago(100*time.Hour), patients(0, 300)...))), elsewhere(asks(thursday, patients(300, 200)...)), nil},
		{"501 in a week", history(elsewhere(asks(ago(100*time.Hour), patients(0, 300)...))), elsewhere(asks(thursday, patients(300, 201)...)), []string{LimitPatientsWeek}},
		{"1,000 in a month", history(asks(ago(700*time.Hour), patients(0, 300)...), asks(ago(600*time.Hour), patients(300, 200)...), asks(ago(300*time.Hour), patients(500, 250)...)), elsewhere(asks(thursday, patients(750, 250)...)), nil},
		{"1,001 in a month", history(asks(ago(700*time.Hour), patients(0, 300)...), asks(ago(600*time.Hour), patients(300, 200)...), asks(ago(300*time.Hour), patients(500, 250)...)), elsewhere(asks(thursday, patients(750, 251)...)), []string{LimitPatientsMonth}},
		{"6% of a list", history(asks(ago(100*time.Hour), patients(0, 299)...)), asks(thursday, patients(299, 1)...), nil},
		{"more than 6% of a list", history(asks(ago(100*time.Hour), patients(0, 300)...)), asks(thursday, patients(300, 1)...), []string{LimitOrganisationShare}},
		{"750 of an organisation", byOthers(750-1, "X26"), &Occasion{At: thursday, Person: user(1), Organisation: "X26", Subjects: patients(749, 1)}, nil},
		{"751 of an organisation", byOthers(750, "X26"), &Occasion{At: thursday, Person: user(1), Organisation: "X26", Subjects: patients(750, 1)}, []string{LimitOrganisation}},
		{"the same patient twice", history(asks(ago(time.Hour), patients(0, 1)...)), asks(thursday, patients(0, 1)...), nil},
		{"three times", history(asks(ago(time.Hour), patients(0, 1)...), asks(ago(500*time.Hour), patients(0, 1)...)), asks(thursday, patients(0, 1)...), []string{LimitSamePatient}},
		{"once in a night", NewHistory(), asks(evening, patients(0, 1)...), nil},
		{"twice in a night", history(asks(evening, patients(1, 1)...)), asks(evening.Add(time.Hour), patients(0, 1)...), []string{LimitNight}},
		{"a day without work", NewHistory(), asks(saturday, patients(0, 1)...), []string{LimitNonWorkingDay}},
	} {
		if got := fired(x.h, x.o); !slices.Equal(got, x.want) {
			t.Errorf("%s: fired %v, want %v", x.name, got, x.want)
		}
	}
	requests.Add(*asks(ago(time.Hour), patients(0, 1)...))
	if got := fired(requests, elsewhere(asks(thursday, patients(0, 1)...))); !slices.Equal(got, []string{LimitRequestsDay}) {
		t.Errorf("the 101st request: %v", got)
	}
}

// byOthers returns a history in which n people of an organisation asked for one patient
// each.
func byOthers(n int, organisation string) *History {
	h := NewHistory()
	for i := range n {
		h.Add(Occasion{At: thursday.Add(-time.Duration(i) * time.Minute), Person: user(100 + i), Organisation: organisation, Subjects: patients(i, 1)})
	}
	return h
}

// TestNights: 21:00 to before 06:00 in London is one night, also when the clocks change.
func TestNights(t *testing.T) {
	at := func(month time.Month, day, hour, minute int) time.Time {
		return time.Date(2026, month, day, hour, minute, 0, 0, london)
	}
	for name, x := range map[string]struct {
		before, now time.Time
		want        bool
	}{
		"evening and night":                  {at(11, 25, 21, 0), at(11, 26, 5, 59), true},
		"before the evening":                 {at(11, 25, 20, 59), at(11, 26, 1, 0), false},
		"after the morning":                  {at(11, 25, 23, 0), at(11, 26, 6, 0), false},
		"by day":                             {at(11, 26, 10, 0), at(11, 26, 11, 0), false},
		"the night before":                   {at(11, 26, 5, 0), at(11, 26, 21, 0), false},
		"one night and the next":             {at(11, 25, 22, 0), at(11, 26, 22, 0), false},
		"in summer, by London's clock":       {at(7, 1, 21, 0), at(7, 2, 5, 59), true},
		"in summer, before it by UTC":        {time.Date(2026, 7, 1, 20, 0, 0, 0, time.UTC), at(7, 1, 23, 0), true},
		"in summer, a minute earlier":        {time.Date(2026, 7, 1, 19, 59, 0, 0, time.UTC), at(7, 1, 23, 0), false},
		"in summer, after it by UTC":         {at(7, 1, 23, 0), time.Date(2026, 7, 2, 5, 0, 0, 0, time.UTC), false},
		"over the change in March":           {at(3, 28, 21, 0), at(3, 29, 5, 59), true},
		"over it, after the morning":         {at(3, 28, 21, 0), at(3, 29, 6, 0), false},
		"over the change in October":         {at(10, 24, 21, 0), at(10, 25, 5, 59), true},
		"over it, in the hour that is twice": {time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC), true},
		"over it, before the evening":        {at(10, 24, 20, 59), at(10, 25, 5, 59), false},
		"over a new year":                    {time.Date(2025, 12, 31, 22, 0, 0, 0, london), time.Date(2026, 1, 1, 3, 0, 0, 0, london), true},
	} {
		if got := fires(t, only(LimitNight, 1, ActionWarn), history(asks(x.before, "a")), asks(x.now, "b"), LimitNight); got != x.want {
			t.Errorf("%s: fires %t", name, got)
		}
	}
	for name, x := range map[string]struct {
		now  time.Time
		long time.Duration
	}{"March": {at(3, 29, 0, 0), 8 * time.Hour}, "October": {at(10, 25, 0, 0), 10 * time.Hour}, "November": {at(11, 26, 0, 0), 9 * time.Hour}} {
		if from, to, is := nightOf(x.now); !is || to.Sub(from) != x.long {
			t.Errorf("%s: the night lasts %v", name, to.Sub(from))
		}
	}
	// Who works at night is not counted there, and no occasion there counts elsewhere.
	p := only(LimitNight, 1, ActionWarn)
	night := at(11, 25, 23, 0)
	hospital := func(o *Occasion) *Occasion { o.Organisation = "RYJ"; return o }
	h := history(hospital(asks(night, "a")), hospital(asks(night, "b")))
	if fires(t, p, h, hospital(asks(night, "c")), LimitNight) {
		t.Error("it fires where the organisation works at night")
	}
	if fires(t, p, h, asks(night, "c"), LimitNight) {
		t.Error("a night at a hospital counts at a practice")
	}
	if h.Add(*asks(night, "d")); !fires(t, p, h, asks(night, "c"), LimitNight) {
		t.Error("twice at the practice is not seen beside the hospital")
	}
}

// TestDaysWithoutWork: by the organisation's days and holidays, from midnight to midnight
// in London.
func TestDaysWithoutWork(t *testing.T) {
	p := only(LimitNonWorkingDay, 0, ActionWarn)
	at := func(month time.Month, day, hour, minute int) time.Time {
		return time.Date(2026, month, day, hour, minute, 0, 0, london)
	}
	for name, x := range map[string]struct {
		organisation string
		at           time.Time
		want         bool
	}{
		"a Thursday":                         {"A81001", thursday, false},
		"Friday's last minute":               {"A81001", at(11, 27, 23, 59), false},
		"Saturday's first":                   {"A81001", at(11, 28, 0, 0), true},
		"Sunday's last":                      {"A81001", at(11, 29, 23, 59), true},
		"Monday's first":                     {"A81001", at(11, 30, 0, 0), false},
		"in summer, by London's midnight":    {"A81001", time.Date(2026, 7, 3, 23, 0, 0, 0, time.UTC), true},
		"in summer, a minute before":         {"A81001", time.Date(2026, 7, 3, 22, 59, 0, 0, time.UTC), false},
		"Christmas, a Friday":                {"A81001", at(12, 25, 12, 0), true},
		"Christmas where it is no holiday":   {"X26", at(12, 25, 12, 0), false},
		"a Saturday where it is not named":   {"X26", at(11, 28, 12, 0), true},
		"a Saturday of those who work on it": {"RYJ", at(11, 28, 12, 0), false},
	} {
		o := asks(x.at, "a")
		o.Organisation = x.organisation
		if got := fires(t, p, NewHistory(), o, LimitNonWorkingDay); got != x.want {
			t.Errorf("%s: fires %t", name, got)
		}
	}
	// Those of the whole organisation count, on that day.
	p = only(LimitNonWorkingDay, 2, ActionWarn)
	other := asks(at(11, 28, 0, 0), "b")
	other.Person = user(2)
	h := history(asks(at(11, 27, 23, 59), "a"), other)
	if fires(t, p, h, asks(at(11, 28, 12, 0), "c"), LimitNonWorkingDay) {
		t.Error("the day before counts")
	}
	if h.Add(*other); !fires(t, p, h, asks(at(11, 28, 12, 0), "c"), LimitNonWorkingDay) {
		t.Error("three of the organisation are not seen")
	}
}

// TestOnePersonOfSeveralAccounts: occasions of all accounts that are one person's count, also
// where it shows only later that they are.
func TestOnePersonOfSeveralAccounts(t *testing.T) {
	account := func(issuer, subject, userID string) Person {
		return Person{Issuer: issuer, Subject: subject, UserID: userID}
	}
	by := func(p Person) *Occasion {
		o := asks(thursday, "x")
		o.Person = p
		return o
	}
	p := only(LimitRequestsDay, 2, ActionWarn)
	for name, x := range map[string]struct {
		before []Person
		now    Person
		want   bool
	}{
		"one account":                    {[]Person{account("i", "s", ""), account("i", "s", "")}, account("i", "s", ""), true},
		"two accounts, one user id":      {[]Person{account("i", "s", "u"), account("i", "t", "u")}, account("j", "v", "u"), true},
		"the user id is new":             {[]Person{account("i", "s", ""), account("i", "s", "")}, account("i", "s", "u"), true},
		"accounts joined by what is now": {[]Person{account("i", "s", ""), account("j", "t", "u")}, account("i", "s", "u"), true},
		"accounts joined before":         {[]Person{account("i", "s", ""), account("i", "s", "u")}, account("j", "t", "u"), true},
		"two people":                     {[]Person{account("i", "s", "u"), account("i", "t", "v")}, account("i", "s", "u"), false},
		"one name, two issuers":          {[]Person{account("i", "s", ""), account("j", "s", "")}, account("i", "s", ""), false},
		"a name that is a user id":       {[]Person{account("i", "s", "t"), account("i", "s", "t")}, account("i", "t", ""), false},
	} {
		h := NewHistory()
		for _, before := range x.before {
			h.Add(*by(before))
		}
		for range 2 { // to decide puts nothing down
			if got := fires(t, p, h, by(x.now), LimitRequestsDay); got != x.want {
				t.Errorf("%s: fires %t", name, got)
			}
		}
	}
}

// TestListsCountAsOneRequest, and their patients as patients, each once.
func TestListsCountAsOneRequest(t *testing.T) {
	h := history(asks(thursday, append(patients(0, 50), patients(0, 50)...)...))
	if fires(t, only(LimitRequestsDay, 2, ActionWarn), h, asks(thursday, patients(50, 50)...), LimitRequestsDay) {
		t.Error("a list is more than one request")
	}
	if fires(t, only(LimitPatientsDay, 100, ActionWarn), h, asks(thursday, append(patients(50, 50), patients(50, 50)...)...), LimitPatientsDay) {
		t.Error("a patient who is on a list twice is two")
	}
	if !fires(t, only(LimitPatientsDay, 99, ActionWarn), h, asks(thursday, patients(50, 50)...), LimitPatientsDay) {
		t.Error("the patients of lists are not counted")
	}
	if fires(t, only(LimitSamePatient, 2, ActionWarn), h, asks(thursday, append(patients(0, 1), patients(0, 1)...)...), LimitSamePatient) {
		t.Error("a patient who is on a list twice is asked for twice")
	}
}

// TestShareOfAList: exactly, whatever a computer makes of decimals; nothing where the list
// is not known.
func TestShareOfAList(t *testing.T) {
	for _, x := range []struct {
		percent        float64
		list, patients int
		want           bool
	}{
		{6, 5000, 300, false}, {6, 5000, 301, true}, {0.29, 10000, 29, false}, {0.29, 10000, 30, true}, {6, 0, 900, false},
		{0, 5000, 1, true}, {100, 10, 10, false}, {33.3333, 3, 1, true}, {33.3334, 3, 1, false},
	} {
		p := only("", 0, "")
		p.Organisations[0].ListSize = x.list
		p.Limits.Share = Percent{Most: x.percent, Action: ActionWarn}
		if got := fires(t, p, NewHistory(), asks(thursday, patients(0, x.patients)...), LimitOrganisationShare); got != x.want {
			t.Errorf("%d of %d at %g%%: fires %t", x.patients, x.list, x.percent, got)
		}
	}
}

// TestActions: what a limit does, to whom, in which mode.
func TestActions(t *testing.T) {
	// Every occasion is beyond each limit: at night, on a day without work.
	night := time.Date(2026, 11, 28, 23, 0, 0, 0, time.UTC)
	organisations := []string{LimitNonWorkingDay, LimitOrganisation, LimitOrganisationShare, LimitSamePatient}
	for _, rule := range LimitRules() {
		of := slices.Contains(organisations, rule)
		for _, x := range []struct {
			purpose    Purpose
			breakGlass bool
			set, want  Action
		}{
			{QualityImprovement, false, ActionOff, ""}, {QualityImprovement, false, ActionWarn, ActionWarn}, {QualityImprovement, false, ActionApproval, ActionApproval}, {QualityImprovement, false, ActionRefuse, ActionRefuse},
			{CareManagement, false, ActionRefuse, ActionRefuse},
			{Treatment, false, ActionWarn, ActionWarn}, {Treatment, false, ActionApproval, ActionApproval}, {Treatment, false, ActionOff, ""},
			{EmergencyTreatment, true, ActionWarn, ActionWarn}, {EmergencyTreatment, true, ActionApproval, ActionWarn}, {EmergencyTreatment, true, ActionRefuse, ActionWarn}, {EmergencyTreatment, true, ActionOff, ""},
			{EmergencyTreatment, false, ActionRefuse, ActionWarn}, {Treatment, true, ActionRefuse, ActionWarn},
			{Treatment, false, ActionRefuse, map[bool]Action{false: ActionRefuse, true: ActionApproval}[of]},
		} {
			for _, mode := range []Mode{Enforce, Simulate} {
				p := only(rule, 0, x.set)
				p.Mode = mode
				o := asks(night, "a")
				o.Purpose, o.BreakGlass = x.purpose, x.breakGlass
				want := []Fired{{Rule: rule, Action: x.want, Simulated: mode == Simulate}}
				if x.want == "" {
					want = nil
				}
				if got := p.Fire(NewHistory(), o); !slices.Equal(got, want) {
					t.Errorf("%s, %s, break-glass %t, %s, %s: fired %+v, want %+v", rule, x.purpose, x.breakGlass, x.set, mode, got, want)
				}
			}
		}
	}
}

// TestBreakGlassCaps: five a user and twenty an organisation in 24 hours, in every mode,
// and what is no emergency does not count.
func TestBreakGlassCaps(t *testing.T) {
	emergency := func(at time.Time, n int) *Occasion {
		o := asks(at, patients(n, 1)...)
		o.Person, o.Purpose, o.BreakGlass = user(n), EmergencyTreatment, true
		return o
	}
	p := &Policy{Mode: Simulate, BreakGlass: BreakGlassRules{User: 5, Organisation: 20}}
	cap := func(h *History, o *Occasion, want string) {
		t.Helper()
		if rule, beyond := p.BreakGlassCap(h, o); rule != want || beyond != (want != "") {
			t.Errorf("%q, %t, want %q", rule, beyond, want)
		}
	}
	h := NewHistory()
	for range 4 {
		h.Add(*emergency(thursday.Add(-time.Hour), 1))
		h.Add(*asks(thursday, "a")) // of the same user, in no emergency
	}
	h.Add(*emergency(thursday.Add(-24*time.Hour), 1)) // exactly: out
	cap(h, emergency(thursday, 1), "")
	h.Add(*emergency(thursday.Add(1-24*time.Hour), 1))
	cap(h, emergency(thursday, 1), CapUser)
	cap(h, emergency(thursday, 2), "")
	for n := range 14 {
		h.Add(*emergency(thursday, 10+n))
	}
	cap(h, emergency(thursday, 2), "")
	h.Add(*emergency(thursday, 30))
	cap(h, emergency(thursday, 2), CapOrganisation)
	cap(h, emergency(thursday, 1), CapUser)
	other := emergency(thursday, 2)
	other.Organisation = "RYJ"
	cap(h, other, "")
}

// TestClocksThatGoBack: what is later than now counts, and is out again when its time is.
func TestClocksThatGoBack(t *testing.T) {
	p := only(LimitPatientsDay, 1, ActionWarn)
	h := history(asks(thursday, "a"))
	for _, x := range []struct {
		after time.Duration
		want  bool
	}{{time.Hour, true}, {1000 * time.Hour, false}, {-1000 * time.Hour, true}, {0, true}, {24 * time.Hour, false}, {24*time.Hour - 1, true}} {
		if got := fires(t, p, h, asks(thursday.Add(x.after), "b"), LimitPatientsDay); got != x.want {
			t.Errorf("%v after: fires %t", x.after, got)
		}
	}
}

// TestEveryRuleHasItsWords, and no other has.
func TestEveryRuleHasItsWords(t *testing.T) {
	rules := append(LimitRules(), CapUser, CapOrganisation)
	slices.Sort(rules)
	if !slices.Equal(rules, slices.Sorted(maps.Keys(limitTexts))) || LimitText("other") != "" {
		t.Errorf("texts are of %v", slices.Sorted(maps.Keys(limitTexts)))
	}
	var all []string
	for _, l := range new(Limits).all() {
		all = append(all, l.rule)
	}
	if !slices.Equal(all, LimitRules()) {
		t.Errorf("limits are in the order %v", all)
	}
}
