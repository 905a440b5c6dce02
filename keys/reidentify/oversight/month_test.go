package oversight

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys/reidentify"
)

// november is what a practice asked, and a worklist that came to it, in November 2026 and at
// its edges.
func november() []*reidentify.Request {
	at := func(month time.Month, day, hour int) time.Time {
		return time.Date(2026, month, day, hour, 0, 0, 0, reidentify.London())
	}
	opened := func(r *reidentify.Request, by string, at time.Time, outcomes ...reidentify.Outcome) *reidentify.Request {
		if r.Openings == nil {
			r.Openings = map[string]*reidentify.Opening{}
		}
		r.Openings[by] = &reidentify.Opening{By: reidentify.Person{Organisation: by}, At: at, Done: at.Add(time.Second), Outcomes: outcomes, Finished: true}
		r.State = reidentify.Opened
		return r
	}
	decided := func(r *reidentify.Request, verdict reidentify.Verdict, after time.Duration) *reidentify.Request {
		waits(r).Approvals = []reidentify.Approval{{Verdict: verdict, At: r.Created.Add(after)}}
		r.State, r.Decision.Rule, r.Decision.Outcome = reidentify.Ready, reidentify.RuleApproved, reidentify.Ready
		if verdict == reidentify.Reject {
			r.State, r.Decision.Rule, r.Decision.Outcome = reidentify.Refused, reidentify.RuleRejected, reidentify.Refused
		}
		return r
	}
	one, two, far := person(1), person(2), person(3)
	far.Organisation = "QZ9"
	again := one
	again.Subject, again.UserID, one.UserID = "another-account", "u1", "u1"
	care := opened(asks(one, at(11, 2, 10), 1, 2, 3), "A81001", at(11, 2, 11), reidentify.Released, reidentify.Failed, reidentify.Released)
	audit := decided(asks(two, at(11, 3, 10), 3), reidentify.Approve, 30*time.Minute)
	audit.Purpose = reidentify.QualityImprovement
	refused := asks(two, at(11, 4, 10), 9)
	refused.Counted, refused.State, refused.Decision = false, reidentify.Refused, reidentify.Decision{Outcome: reidentify.Refused, Rule: reidentify.RuleLimit, Limit: reidentify.LimitPatientsDay}
	refused.Decision.Fired = []reidentify.Fired{{Rule: reidentify.LimitPatientsDay, Action: reidentify.ActionRefuse}}
	night := asks(again, at(11, 5, 23), 1)
	night.Decision.Fired = []reidentify.Fired{{Rule: reidentify.LimitNight, Action: reidentify.ActionWarn, Simulated: true}}
	used := breaks(one, at(11, 7, 12), true) // a Saturday
	used.Review = &reidentify.Review{At: at(11, 9, 12), Outcome: reidentify.Justified}
	late := breaks(one, at(11, 10, 12), true)
	late.Review = &reidentify.Review{At: at(11, 13, 12), Outcome: reidentify.NotJustified} // exactly 72 hours
	list := asks(far, at(11, 11, 12), 50, 51)
	list.Purpose, list.Route = reidentify.CareManagement, reidentify.ToPractice
	list.Items[0].Recipient, list.Items[1].Recipient = "A81001", "X26"
	opened(opened(list, "A81001", at(11, 12, 9), reidentify.Released), "X26", at(11, 12, 9), reidentify.Released)
	sent := asks(one, at(11, 13, 12), 60)
	sent.Purpose, sent.Route, sent.Items[0].Recipient = reidentify.CareManagement, reidentify.ToPractice, "X26"
	opened(sent, "X26", at(11, 14, 9), reidentify.Released)
	return []*reidentify.Request{
		care, audit, refused, night, used, late, breaks(two, at(11, 16, 12), true), breaks(two, at(11, 17, 12), false), list, sent,
		decided(asks(two, at(10, 31, 23), 4), reidentify.Reject, 2*time.Hour), // made in October, decided in November
		asks(two, at(12, 1, 0), 5), // the first moment of December
		opened(asks(two, at(10, 30, 12), 6), "A81001", at(11, 1, 0), reidentify.Released),
	}
}

// TestMonth: November, by hand.
func TestMonth(t *testing.T) {
	p := &reidentify.Policy{BreakGlass: reidentify.BreakGlassRules{ReviewWithin: "72h"}}
	r := Month(p, november(), "A81001", CalendarMonth{2026, time.November})
	f := r.Figures
	if r.Organisation != "A81001" || r.Month.String() != "2026-11" || r.MonthBefore.String() != "2026-10" {
		t.Errorf("%+v", r)
	}
	if f.Requests != 9 || f.Outcomes != (Outcomes{Ready: 7, Waited: 1, Refused: 1}) {
		t.Errorf("%d requests, %+v", f.Requests, f.Outcomes)
	}
	purposes := map[reidentify.Purpose]PurposeFigures{}
	for _, of := range f.Purposes {
		purposes[of.Purpose] = of
	}
	if len(f.Purposes) != 8 || purposes[reidentify.Treatment] != (PurposeFigures{reidentify.Treatment, 3, Outcomes{Ready: 2, Refused: 1}}) ||
		purposes[reidentify.QualityImprovement] != (PurposeFigures{reidentify.QualityImprovement, 1, Outcomes{Waited: 1}}) || purposes[reidentify.EmergencyTreatment].Ready != 4 {
		t.Errorf("%+v", f.Purposes)
	}
	if want := []RefusedFigures{{reidentify.RuleLimit, reidentify.LimitPatientsDay, 1}}; !slices.Equal(f.Refused, want) {
		t.Errorf("%+v", f.Refused)
	}
	// Patients 1, 2, 3, 9 and 60; the emergencies were for patient 1.
	if f.People != 2 || f.Patients != 5 {
		t.Errorf("%d people, %d patients", f.People, f.Patients)
	}
	// Three emergencies, two of its own, and a worklist.
	if f.Opened != 6 || f.Released != 7 || f.OutOfHours != 2 {
		t.Errorf("%d opened, %d released, %d out of hours", f.Opened, f.Released, f.OutOfHours)
	}
	if f.Lists != (ListFigures{Lists: 1, Sent: 1, Got: 1, Opened: 1}) {
		t.Errorf("%+v", f.Lists)
	}
	if f.Approvals != (ApprovalFigures{Approved: 1, Rejected: 1, Decided: 2, MedianMinutes: 75}) {
		t.Errorf("%+v", f.Approvals)
	}
	if f.BreakGlass != (BreakGlassFigures{Used: 3, ReviewedInTime: 1, ReviewedLate: 1, NotReviewed: 1, Justified: 1, NotJustified: 1}) {
		t.Errorf("%+v", f.BreakGlass)
	}
	if want := []LimitFigures{
		{"night", reidentify.LimitText("night"), reidentify.ActionWarn, true, 1}, {"patients_a_day", reidentify.LimitText("patients_a_day"), reidentify.ActionRefuse, false, 1},
	}; !slices.Equal(f.Limits, want) {
		t.Errorf("%+v", f.Limits)
	}
	if b := r.Before; b.Requests != 2 || b.Outcomes.Waited != 1 || b.Opened != 0 || b.Released != 0 || b.People != 1 || b.Approvals.Rejected != 0 {
		t.Errorf("October: %+v", b)
	}
}

// TestMonthBefore: what stands beside a month is what that month's own report says.
func TestMonthBefore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, now := drawnPolicy(t), nows().Draw(t, "now")
		requests, code, month := drawnRequests(t, now, 15), drawnCode(t), MonthOf(now)
		this, last := Month(p, requests, code, month), Month(p, requests, code, month.Add(-1))
		if !reflect.DeepEqual(this.Before, last.Figures) || this.MonthBefore != last.Month {
			t.Fatalf("%+v, want %+v", this.Before, last.Figures)
		}
		if again := Month(p, rapid.Permutation(requests).Draw(t, "order"), code, month); !reflect.DeepEqual(again, this) {
			t.Fatal("another order of the requests gives something else")
		}
	})
}

// TestMonthAgainstItsTwin: each figure is what a look at all requests says, one figure at a
// time, with months told apart by their names.
func TestMonthAgainstItsTwin(t *testing.T) {
	ever := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		p, now := drawnPolicy(t), nows().Draw(t, "now")
		requests, code, month := drawnRequests(t, now, 25), drawnCode(t), MonthOf(now)
		got := Month(p, requests, code, month)
		want := slowMonth(p, requests, code, month.String())
		rows := got.rows()
		have := map[string]int{}
		for _, row := range rows[3:] {
			n, err := strconv.Atoi(row[2])
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				have[row[0]+" "+row[1]] = n
				ever[row[0]+" "+row[1]]++
			}
		}
		if !reflect.DeepEqual(have, want) {
			t.Fatalf("%v\nwant %v", have, want)
		}
	})
	for _, name := range []string{
		"requests ready", "requests waited", "requests refused", "requests people", "requests patients", "requests opened", "requests released", "requests out_of_hours",
		"lists lists", "lists sent", "lists got", "lists opened", "approvals approved", "approvals rejected", "approvals decided", "approvals median_minutes",
		"break_glass reviewed_in_time", "break_glass reviewed_late", "break_glass not_reviewed", "break_glass justified", "break_glass not_justified", "break_glass inconclusive",
		"limits night/warn", "limits night/simulated_warn", "refused limit/night", "refused role_purpose", "purposes TREAT_ready",
	} {
		if ever[name] == 0 {
			t.Errorf("%s was never there: the test is blind to it", name)
		}
	}
}

func slowMonth(p *reidentify.Policy, requests []*reidentify.Request, code, month string) map[string]int {
	in := func(at time.Time) bool { return at.In(reidentify.London()).Format("2006-01") == month }
	all := map[string]int{}
	subjects := map[string]bool{}
	var made []*reidentify.Request
	var minutes []float64
	for _, r := range requests {
		outcome := "ready"
		switch {
		case !r.Counted:
			outcome = "refused"
		case r.Decision.Needed > 0:
			outcome = "waited"
		}
		if in(r.Created) && r.Organisation == code {
			made = append(made, r)
			all["requests requests"]++
			all["requests "+outcome]++
			all[fmt.Sprintf("purposes %s_requests", r.Purpose)]++
			all[fmt.Sprintf("purposes %s_%s", r.Purpose, outcome)]++
			if outcome == "refused" && r.Decision.Limit != "" {
				all[fmt.Sprintf("refused %s/%s", r.Decision.Rule, r.Decision.Limit)]++
			} else if outcome == "refused" {
				all[fmt.Sprintf("refused %s", r.Decision.Rule)]++
			}
			for _, item := range r.Items {
				subjects[item.Subject] = true
			}
			for _, f := range r.Decision.Fired {
				simulated := map[bool]string{true: "simulated_"}[f.Simulated]
				all[fmt.Sprintf("limits %s/%s%s", f.Rule, simulated, f.Action)]++
			}
			if r.Counted && slowOut(p, code, r.Created) {
				all["requests out_of_hours"]++
			}
			if len(r.Items) > 1 && r.Route == "" {
				all["lists lists"]++
			}
		}
		if in(r.Created) && r.Counted && r.Route != "" {
			if r.Organisation == code {
				all["lists sent"]++
			}
			for _, item := range r.Items {
				if item.Recipient == code {
					all["lists got"]++
					break
				}
			}
		}
		for by, o := range r.Openings {
			if by == code && in(o.At) {
				all["requests opened"]++
				if r.Route != "" {
					all["lists opened"]++
				}
			}
			for _, outcome := range o.Outcomes {
				if by == code && outcome == reidentify.Released && in(o.Done) {
					all["requests released"]++
				}
			}
			if by == code && r.Organisation == code && r.BreakGlass && in(o.At) {
				all["break_glass used"]++
				switch {
				case r.Review == nil:
					all["break_glass not_reviewed"]++
				case r.Review.At.Sub(o.At) < 72*time.Hour:
					all["break_glass reviewed_in_time"]++
				default:
					all["break_glass reviewed_late"]++
				}
				if r.Review != nil {
					all["break_glass "+map[reidentify.ReviewOutcome]string{"justified": "justified", "not-justified": "not_justified", "inconclusive": "inconclusive"}[r.Review.Outcome]]++
				}
			}
		}
		if r.Organisation != code {
			continue
		}
		approved := 0
		for _, a := range r.Approvals {
			name := map[reidentify.Verdict]string{"approve": "approved", "reject": "rejected"}[a.Verdict]
			if in(a.At) {
				all["approvals "+name]++
			}
			if a.Verdict == reidentify.Approve {
				approved++
			}
			if in(a.At) && (a.Verdict == reidentify.Reject || approved == 2) {
				all["approvals decided"]++
				minutes = append(minutes, a.At.Sub(r.Created).Minutes())
			}
		}
	}
	delete(subjects, "")
	all["requests patients"] = len(subjects)
	all["requests people"] = slowAskers(made)
	if len(minutes) > 0 {
		slices.Sort(minutes)
		all["approvals median_minutes"] = int((minutes[(len(minutes)-1)/2]+minutes[len(minutes)/2])/2 + 0.5)
	}
	for name, n := range all {
		if n == 0 {
			delete(all, name)
		}
	}
	return all
}

// slowOut is out of hours by what the drawn policies say of organisations.
func slowOut(p *reidentify.Policy, code string, at time.Time) bool {
	local := at.In(reidentify.London())
	weekend := local.Weekday() == time.Saturday || local.Weekday() == time.Sunday
	holiday := code == "A81001" && slices.Contains(p.Organisations[0].Holidays, local.Format(time.DateOnly))
	return code != "RYJ" && (weekend || holiday || local.Hour() >= 21 || local.Hour() < 6)
}

// slowAskers counts people by pulling together whoever is one, until nothing moves.
func slowAskers(requests []*reidentify.Request) int {
	group := make([]int, len(requests))
	for i := range group {
		group[i] = i
	}
	for moved := true; moved; {
		moved = false
		for i, a := range requests {
			for j, b := range requests {
				if a.Requester.Is(&b.Requester) && group[i] < group[j] {
					group[j], moved = group[i], true
				}
			}
		}
	}
	slices.Sort(group)
	return len(slices.Compact(group))
}

// TestMedian: odd and even numbers of times, to the nearest minute.
func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		seconds []int
		want    int
	}{{nil, 0}, {[]int{29}, 0}, {[]int{30}, 1}, {[]int{600, 60, 120}, 2}, {[]int{600, 60, 120, 240}, 3}} {
		var all []time.Duration
		for _, s := range tt.seconds {
			all = append(all, time.Duration(s)*time.Second)
		}
		if got := medianMinutes(all); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.seconds, got, tt.want)
		}
	}
}

// TestWriteCSV: the sheet of November.
func TestWriteCSV(t *testing.T) {
	r := Month(nil, november(), "A81001", CalendarMonth{2026, time.November})
	var b bytes.Buffer
	if err := r.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || !slices.Equal(rows[0], []string{"section", "measure", "value", "month_before"}) {
		t.Fatalf("%v, %v", rows, err)
	}
	has := func(row ...string) {
		if !slices.ContainsFunc(rows, func(r []string) bool { return slices.Equal(r, row) }) {
			t.Errorf("no row %q in %q", row, rows)
		}
	}
	has("report", "month", "2026-11", "2026-10")
	has("requests", "requests", "9", "2")
	has("purposes", "TREAT_ready", "2", "1")
	has("refused", "limit/patients_a_day", "1", "0")
	has("approvals", "median_minutes", "75", "0")
	has("limits", "night/simulated_warn", "1", "0")
	october := Month(nil, november(), "A81001", CalendarMonth{2026, time.December})
	rows = october.rows()
	has("limits", "night/simulated_warn", "0", "1") // what only the month before has
	names := map[string]bool{}
	for _, row := range rows {
		if name := row[0] + " " + row[1]; names[name] {
			t.Errorf("%s is there twice", name)
		} else {
			names[name] = true
		}
	}
}

// TestCalendarMonth: months of London, with summer time.
func TestCalendarMonth(t *testing.T) {
	if m := MonthOf(time.Date(2026, 6, 30, 23, 30, 0, 0, time.UTC)); m.String() != "2026-07" {
		t.Error(m)
	}
	if m := MonthOf(time.Date(2026, 11, 30, 23, 30, 0, 0, time.UTC)); m.String() != "2026-11" {
		t.Error(m)
	}
	if m := (CalendarMonth{2026, time.January}).Add(-1); m.String() != "2025-12" || m.Add(13).String() != "2027-01" {
		t.Error(m)
	}
	from, to := CalendarMonth{2026, time.March}.Bounds()
	if from.UTC().Format(time.RFC3339) != "2026-03-01T00:00:00Z" || to.UTC().Format(time.RFC3339) != "2026-03-31T23:00:00Z" {
		t.Error(from, to)
	}
	for _, text := range []string{"", "2026", "2026-13", "2026-1", "26-11", "2026-11-01", " 2026-11"} {
		if _, err := ParseMonth(text); err == nil {
			t.Errorf("%q is a month", text)
		}
	}
	var m CalendarMonth
	if err := json.Unmarshal([]byte(`"2026-11"`), &m); err != nil || m != (CalendarMonth{2026, time.November}) {
		t.Error(m, err)
	}
}
