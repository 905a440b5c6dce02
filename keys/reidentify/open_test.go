package reidentify

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// slowOpening is what the model knows of one organisation's opening.
type slowOpening struct {
	who, session string
	at, done     time.Time
	finished     bool
	shown        int
}

// TestOpeningsAgainstAModel: any order of opening, finishing, giving back and showing again,
// by anybody, at any time, is allowed or not as a list of what has happened says.
func TestOpeningsAgainstAModel(t *testing.T) {
	people := []Person{personOf("gp-1", "Y12345", "R8000"), personOf("gp-1", "Y54321", "R8000"), personOf("gp-1", "Y12345", "R0001"), personOf("gp-3", "Y12345", "R8000"), personOf("gp-4", "Y54321", "R8000"), personOf("gp-5", "RX1", "R8000")}
	recipients := []string{"Y12345", "Y54321", ""}
	rapid.Check(t, func(rt *rapid.T) {
		f := good(t)
		r := f.Request
		r.State = Ready
		worklist := rapid.Bool().Draw(rt, "worklist")
		if worklist {
			r.Route, r.Items = ToPractice, nil
			for i := range rapid.IntRange(1, 4).Draw(rt, "items") {
				r.Items = append(r.Items, Item{Row: i, Recipient: rapid.SampledFrom(recipients).Draw(rt, "recipient")})
			}
			r.Requester = personOf("analyst", "QMJ", "R8000")
		}
		now, all := madeAt, map[string]*slowOpening{}
		rt.Repeat(map[string]func(*rapid.T){
			"time": func(rt *rapid.T) {
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 5 * time.Minute, time.Hour, 40 * time.Hour}).Draw(rt, "time"))
			},
			"open": func(rt *rapid.T) {
				by := rapid.SampledFrom(people).Draw(rt, "by")
				by.Session = fmt.Sprint(rapid.IntRange(1, 2).Draw(rt, "session"))
				arrived := now.Add(-rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute}).Draw(rt, "arrived"))
				var want []int
				for i, item := range r.Items {
					if !worklist && by.Subject == "gp-1" && by.Organisation == "Y12345" && by.Role == "R8000" || worklist && item.Recipient == by.Organisation {
						want = append(want, i)
					}
				}
				before := all[by.Organisation]
				first := len(want) > 0 && before == nil && now.Before(r.Expires)
				again := len(want) > 0 && before != nil && before.finished && !before.done.IsZero() && before.who == by.Subject && before.session == by.Session &&
					arrived.After(before.done) && now.Before(before.at.Add(5*time.Minute)) && before.shown < 2
				items, shown, refused := r.Opens(&by, arrived, now)
				if (refused == nil) != (first || again) || (shown != nil) != again || refused == nil && !slices.Equal(items, want) {
					rt.Fatalf("%+v opens %v, %v, %v; want %v %v %v", by, items, shown, refused, want, first, again)
				}
				switch {
				case first:
					r.Begin(Opening{By: by, At: now, Items: items})
					all[by.Organisation] = &slowOpening{who: by.Subject, session: by.Session, at: now}
				case again:
					r.Redeliver(by.Organisation)
					before.shown++
				}
			},
			"finish": func(rt *rapid.T) {
				for organisation, o := range all {
					if !o.finished {
						o.done = rapid.SampledFrom([]time.Time{now, {}}).Draw(rt, "done")
						o.finished = true
						r.Finish(organisation, []Outcome{Released}, false, o.done)
						return
					}
				}
			},
			"give back": func(*rapid.T) {
				for organisation, o := range all {
					if !o.finished {
						r.GiveBack(organisation)
						delete(all, organisation)
						return
					}
				}
			},
			"": func(rt *rapid.T) {
				underway, begun := 0, true
				for _, o := range all {
					if !o.finished {
						underway++
					}
				}
				for _, item := range r.Items {
					begun = begun && (!worklist || item.Recipient == "" || all[item.Recipient] != nil)
				}
				opened := len(all) > 0 && begun
				if len(r.Underway()) != underway || (r.State == Opened) != opened || r.State != Opened && r.State != Ready {
					rt.Fatalf("%d are under way, want %d; it is %s", len(r.Underway()), underway, r.State)
				}
			},
		})
	})
}

// TestNotReady: what is not ready is not opened, and why is told.
func TestNotReady(t *testing.T) {
	for state, want := range map[State]Rule{Ready: "", Pending: RuleNeedsApproval, Refused: RuleNeedsApproval, Opened: RuleGone, Void: RuleState} {
		_, r := waiting(t)
		r.State = state
		if _, _, refused := r.Opens(&r.Requester, madeAt, madeAt); (refused == nil) != (want == "") || refused != nil && refused.Rule != want {
			t.Errorf("%s: %v, want %s", state, refused, want)
		}
		if _, _, refused := r.Opens(&r.Requester, madeAt, r.Expires); refused == nil {
			t.Errorf("%s is opened when it has expired", state)
		}
	}
}

// TestStillMay: what changed since the decision stops an opening, and so does another role
// or a weaker sign-in of who opens.
func TestStillMay(t *testing.T) {
	worklist := func(f *Facts) {
		routed(f)
		f.Request.Items[0].Recipient = "Y54321"
		f.Request.Decision.Rule = RuleRouted
	}
	relation := func(f *Facts) { f.Request.Decision.Rule = RuleRelationship }
	for i, c := range []struct {
		base   func(*Facts)
		change func(*Facts, *Person)
		want   Rule
	}{
		{relation, func(*Facts, *Person) {}, ""},
		{relation, func(_ *Facts, by *Person) { by.Role = "R0001" }, RuleRolePurpose},
		{relation, func(_ *Facts, by *Person) { by.Organisation = "Y54321" }, RuleOrganisation},
		{relation, func(f *Facts, by *Person) { f.Policy.Linkers = []string{by.Subject} }, RuleLinker},
		{relation, func(f *Facts, _ *Person) { f.Policy.Projects[0].Issuer = "https://other.example.nhs.uk" }, RuleIssuer},
		{relation, func(f *Facts, _ *Person) { f.Policy.Projects[0].Allow[0].When = WhenApproved }, RuleNeedsApproval},
		{relation, func(f *Facts, _ *Person) { f.Policy.Projects = nil }, RuleNoPolicy},
		{relation, func(f *Facts, _ *Person) { f.Project.End = f.Now }, RuleProjectExpired},
		{emergency, func(*Facts, *Person) {}, ""},
		{emergency, func(f *Facts, _ *Person) { f.Now = f.Now.Add(50 * time.Minute) }, ""},
		{emergency, func(_ *Facts, by *Person) { by.Assurance = "AAL2" }, RuleBreakGlassSignIn},
		{emergency, func(_ *Facts, by *Person) { by.Role = "R8001" }, RuleBreakGlassRole},
		{emergency, func(f *Facts, by *Person) { f.Policy.Linkers = []string{by.Subject} }, RuleLinker},
		{emergency, func(f *Facts, _ *Person) { f.Project.Direct = false }, RuleProjectMode},
		{emergency, func(f *Facts, _ *Person) { f.Alerts = false }, RuleBreakGlassAlerts},
		{worklist, func(_ *Facts, by *Person) { *by = personOf("gp-4", "Y54321", "R8000") }, ""},
		{worklist, func(_ *Facts, by *Person) { *by = personOf("gp-4", "Y54321", "R0001") }, RuleNotYours},
		{worklist, func(_ *Facts, by *Person) { *by = personOf("gp-4", "RX1", "R8000") }, RuleNotYours},
		{worklist, func(_ *Facts, by *Person) { *by = personOf("linker", "Y54321", "R8000") }, RuleLinker},
	} {
		f := good(t)
		f.Project.End = madeAt.Add(24 * time.Hour)
		c.base(f)
		by := f.Request.Requester
		c.change(f, &by)
		if refused := StillMay(f, &by); (refused == nil) != (c.want == "") || refused != nil && refused.Rule != c.want {
			t.Errorf("%d: %v, want %s", i, refused, c.want)
		}
	}
}
