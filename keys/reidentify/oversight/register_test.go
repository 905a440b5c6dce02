package oversight

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys/reidentify"
)

// released1 returns a request of which so many patients were told at a moment.
func released1(project string, at time.Time, patients int) *reidentify.Request {
	r := asks(person(1), at.Add(-time.Hour), 1)
	r.Project, r.State = project, reidentify.Opened
	r.Openings = map[string]*reidentify.Opening{"A81001": {At: at.Add(-time.Minute), Done: at, Finished: true, Outcomes: append(slices.Repeat([]reidentify.Outcome{reidentify.Released}, patients), reidentify.Failed, reidentify.Unknown)}}
	return r
}

// TestRegister: by hand, with the edges of months.
func TestRegister(t *testing.T) {
	at := func(year int, month time.Month, day, hour int) time.Time {
		return time.Date(year, month, day, hour, 0, 0, 0, reidentify.London())
	}
	now := at(2026, 11, 26, 12)
	asked := asks(person(1), at(2026, 10, 1, 12), 1)
	asked.Project, asked.Purpose = "care", reidentify.Research
	only := asks(person(1), at(2026, 11, 1, 0), 1)
	only.Project = "new"
	got := Register([]*reidentify.Request{
		released1("care", at(2026, 10, 31, 23), 9), released1("care", at(2026, 9, 30, 23), 14), released1("care", at(2026, 9, 1, 0), 1),
		released1("care", at(2025, 11, 1, 0), 3), released1("care", at(2025, 10, 31, 23), 500), released1("care", at(2026, 11, 1, 0), 500),
		asked, only,
	}, now)
	if len(got) != 2 || got[0].Project != "care" || got[0].Purpose != reidentify.Research || got[1].Purpose != reidentify.Treatment {
		t.Fatalf("%+v", got)
	}
	if got[0].Total != (Rounded{}) || got[0].Total.String() != "0" {
		t.Errorf("%+v", got[0])
	}
	care := got[1]
	var months []string
	for _, m := range care.Months {
		months = append(months, fmt.Sprint(m.Month, " ", m.Openings))
	}
	want := "2025-11 fewer than 10, 2025-12 0, 2026-01 0, 2026-02 0, 2026-03 0, 2026-04 0, 2026-05 0, 2026-06 0, 2026-07 0, 2026-08 0, 2026-09 20, 2026-10 fewer than 10"
	if text := strings.Join(months, ", "); text != want {
		t.Errorf("%s\nwant %s", text, want)
	}
	if care.Total.String() != "30" { // 27, not 20 and what the others may be
		t.Errorf("%+v", care.Total)
	}
	document, err := json.Marshal(care)
	if err != nil || !strings.HasPrefix(string(document), `{"project":"care","purpose":"TREAT","months":[{"month":"2025-11","openings":{"about":0,"fewer_than":10}},{"month":"2025-12","openings":{"about":0}},`) {
		t.Errorf("%s", document)
	}
}

// TestRound: every count is within five of what is told, and small ones are one.
func TestRound(t *testing.T) {
	for n, want := range map[int]Rounded{0: {}, 1: {FewerThan: 10}, 9: {FewerThan: 10}, 10: {About: 10}, 14: {About: 10}, 15: {About: 20}, 104: {About: 100}, 105: {About: 110}} {
		if got := round(n); got != want {
			t.Errorf("%d: %+v", n, got)
		}
	}
}

// TestRegisterAgainstItsTwin: each month is what a look at every opening says of it.
func TestRegisterAgainstItsTwin(t *testing.T) {
	some := 0
	rapid.Check(t, func(t *rapid.T) {
		now := nows().Draw(t, "now")
		requests := drawnRequests(t, now.AddDate(0, -rapid.IntRange(0, 13).Draw(t, "months"), 0), 25)
		got := Register(requests, now)
		want := map[string]int{}
		there := map[string]bool{}
		this, first := MonthOf(now).String(), MonthOf(now).Add(-12).String()
		in := func(at time.Time) (month string, is bool) {
			month = at.In(reidentify.London()).Format("2006-01")
			return month, month >= first && month < this
		}
		for _, r := range requests {
			name := fmt.Sprint(r.Project, " ", r.Purpose)
			if _, is := in(r.Created); is {
				there[name] = true
			}
			for _, o := range r.Openings {
				month, is := in(o.Done)
				if !is {
					continue
				}
				there[name] = true
				for _, outcome := range o.Outcomes {
					if outcome == reidentify.Released {
						want[name+" "+month]++
						want[name]++
					}
				}
			}
		}
		if len(got) != len(there) {
			t.Fatalf("%+v, want %v", got, there)
		}
		for _, c := range got {
			name := fmt.Sprint(c.Project, " ", c.Purpose)
			if !there[name] || c.Total != slowRound(want[name]) || len(c.Months) != 12 {
				t.Fatalf("%+v, want %d", c, want[name])
			}
			for _, m := range c.Months {
				if m.Openings != slowRound(want[name+" "+m.Month.String()]) {
					t.Fatalf("%+v, want %v", m, want)
				}
			}
			some += want[name]
		}
	})
	if some < 100 {
		t.Errorf("%d: the test is blind", some)
	}
}

func slowRound(n int) Rounded {
	if n >= 1 && n <= 9 {
		return Rounded{FewerThan: 10}
	}
	for about := 0; ; about += 10 {
		if n < about+5 {
			return Rounded{About: about}
		}
	}
}

// TestRegisterStands: nothing that happens in a month changes what the public reads in it.
func TestRegisterStands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := nows().Draw(t, "now")
		from, to := MonthOf(now).Bounds()
		before := drawnRequests(t, from, 10)
		before = slices.DeleteFunc(before, func(r *reidentify.Request) bool { return !r.Created.Before(from) })
		for _, r := range before {
			for _, o := range r.Openings {
				if !o.Done.Before(from) {
					o.Done, o.Outcomes = time.Time{}, nil // under way when the month began
				}
			}
		}
		first := Register(before, from)
		var more []*reidentify.Request
		for _, r := range before {
			next := *r
			next.Openings = map[string]*reidentify.Opening{}
			for code, o := range r.Openings {
				done := *o
				if o.Done.IsZero() {
					done.Done, done.Outcomes = from.Add(time.Second), []reidentify.Outcome{reidentify.Released}
				}
				next.Openings[code] = &done
			}
			more = append(more, &next)
		}
		more = append(more, released1("care", from.Add(time.Hour), 700), released1("unheard-of", from.Add(2*time.Hour), 3))
		if got := Register(more, to.Add(-time.Second)); !reflect.DeepEqual(got, first) {
			t.Fatalf("%+v\nwas %+v", got, first)
		}
		if got := Register(more, to); reflect.DeepEqual(got, first) {
			t.Fatal("nothing is there when the month is over")
		}
	})
}
