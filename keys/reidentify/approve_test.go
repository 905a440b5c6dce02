package reidentify

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func personOf(subject, organisation, role string) Person {
	return Person{Issuer: "https://sign-in.example.nhs.uk", Subject: subject, Organisation: organisation, Role: role}
}

// waiting is a request that two have to approve.
func waiting(t *testing.T) (*Policy, *Request) {
	t.Helper()
	f := good(t)
	f.Request.Purpose, f.Request.Requester.UserID = QualityImprovement, "u-1"
	f.Request.Decision = Decide(f)
	f.Request.State = f.Request.Decision.Outcome
	return f.Policy, f.Request
}

func given(r *Request, by Person, verdict Verdict) Approval {
	return Approval{By: by, Verdict: verdict, Hash: r.Hash, At: madeAt.Add(time.Minute)}
}

// TestWhoApproves: each reason for which somebody may not, and its control.
func TestWhoApproves(t *testing.T) {
	carol := personOf("carol", "QMJ", "approver")
	for name, c := range map[string]struct {
		change func(*Policy, *Request, *Approval)
		want   Rule
	}{
		"control":          {func(*Policy, *Request, *Approval) {}, ""},
		"no policy":        {func(_ *Policy, r *Request, _ *Approval) { r.Project = "other" }, RuleNoPolicy},
		"another issuer":   {func(_ *Policy, _ *Request, a *Approval) { a.By.Issuer += "x" }, RuleIssuer},
		"herself":          {func(_ *Policy, r *Request, a *Approval) { a.By.Subject = r.Requester.Subject }, RuleSelfApproval},
		"her other self":   {func(_ *Policy, _ *Request, a *Approval) { a.By.UserID = "u-1" }, RuleSelfApproval},
		"another role":     {func(_ *Policy, _ *Request, a *Approval) { a.By.Role = "R8000" }, RuleNotApprover},
		"operator":         {func(_ *Policy, _ *Request, a *Approval) { a.By.Subject = "operator" }, RuleNotApprover},
		"operator by user": {func(_ *Policy, _ *Request, a *Approval) { a.By.UserID = "operator" }, RuleNotApprover},
		"another hash":     {func(_ *Policy, _ *Request, a *Approval) { a.Hash = strings.Repeat("0", 64) }, RuleHashDiffers},
		"no hash":          {func(_ *Policy, _ *Request, a *Approval) { a.Hash = "" }, RuleHashDiffers},
		"expired":          {func(_ *Policy, r *Request, a *Approval) { a.At = r.Expires }, RuleState},
		"taken back":       {func(_ *Policy, r *Request, _ *Approval) { r.State = Void }, RuleState},
		"ready":            {func(_ *Policy, r *Request, _ *Approval) { r.State = Ready }, RuleState},
	} {
		p, r := waiting(t)
		a := given(r, carol, Approve)
		c.change(p, r, &a)
		state := r.State
		again, refused := r.Decides(p, a)
		if again || (refused == nil) != (c.want == "") || refused != nil && refused.Rule != c.want {
			t.Errorf("%s: %v, want %s", name, refused, c.want)
		}
		if refused != nil && (len(r.Approvals) > 0 || r.State != state) {
			t.Errorf("%s: what is refused changes something", name)
		}
	}
}

// TestRetries: the same verdict again changes nothing, even later; another one is refused.
func TestRetries(t *testing.T) {
	p, r := waiting(t)
	carol := personOf("carol", "QMJ", "approver")
	carol.UserID = "u-2"
	if _, refused := r.Decides(p, given(r, carol, Approve)); refused != nil {
		t.Fatal(refused)
	}
	alias := carol
	alias.Subject = "carol-2"
	late := given(r, alias, Approve)
	late.At = r.Expires.Add(time.Hour)
	if again, refused := r.Decides(p, late); !again || refused != nil || r.Have() != 1 {
		t.Errorf("%v, %v: %d", again, refused, r.Have())
	}
	if _, refused := r.Decides(p, given(r, carol, Reject)); refused == nil || refused.Rule != RuleDecidedAlready || r.State != Pending {
		t.Errorf("%v", refused)
	}
}

// TestApprovalsInAnyOrder: enough people have approved, one of a controller, if and only if
// it is ready; one who rejects ends it. The model counts people from the list of all verdicts.
func TestApprovalsInAnyOrder(t *testing.T) {
	people := []Person{}
	for i, organisation := range []string{"QMJ", "QMJ", "RX9", "RX9", "RX8"} {
		people = append(people, personOf(fmt.Sprint("approver-", i), organisation, "approver"))
	}
	rapid.Check(t, func(rt *rapid.T) {
		p, r := waiting(t)
		r.Decision.Needed = rapid.IntRange(0, 4).Draw(rt, "needed")
		approved, rejected, controller := map[string]bool{}, false, false
		ready := false
		for range rapid.IntRange(1, 8).Draw(rt, "verdicts") {
			by := rapid.SampledFrom(people).Draw(rt, "by")
			verdict := rapid.SampledFrom([]Verdict{Approve, Approve, Approve, Reject}).Draw(rt, "verdict")
			before := len(r.Approvals)
			_, _ = r.Decides(p, given(r, by, verdict))
			if !ready && !rejected && !approved[by.Subject] {
				if verdict == Reject {
					rejected = true
				} else {
					approved[by.Subject] = true
					controller = controller || by.Organisation == "QMJ"
				}
			} else if len(r.Approvals) != before {
				rt.Fatalf("a verdict more was taken")
			}
			ready = !rejected && controller && len(approved) >= max(1, r.Decision.Needed)
			want := Pending
			switch {
			case rejected:
				want = Refused
			case ready:
				want = Ready
			}
			if r.State != want || r.Have() != len(approved) {
				rt.Fatalf("%s with %d, want %s with %d", r.State, r.Have(), want, len(approved))
			}
		}
		if r.State == Ready && r.Decision.Rule != RuleApproved || r.State == Refused && r.Decision.Rule != RuleRejected {
			rt.Fatalf("%s by %s", r.State, r.Decision.Rule)
		}
	})
	// The same people in every order come to the same.
	for range 50 {
		p, r := waiting(t)
		rand.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] })
		for _, by := range people {
			_, _ = r.Decides(p, given(r, by, Approve))
		}
		if r.State != Ready {
			t.Errorf("%v is not enough", people)
		}
	}
}

// TestCancel: who asked takes a request back until somebody has opened some of it.
func TestCancel(t *testing.T) {
	p, r := waiting(t)
	carol := personOf("carol", "QMJ", "approver")
	if _, refused := r.Cancel(&carol, madeAt); refused == nil || refused.Rule != RuleNotYours {
		t.Errorf("%v", refused)
	}
	opened := *r
	opened.State = Ready
	opened.Begin(Opening{By: r.Requester, At: madeAt})
	late := *r
	for _, c := range []struct {
		r   *Request
		now time.Time
	}{{&opened, madeAt}, {&late, r.Expires}} {
		if _, refused := c.r.Cancel(&r.Requester, c.now); refused == nil || refused.Rule != RuleState {
			t.Errorf("%v", refused)
		}
	}
	if again, refused := r.Cancel(&r.Requester, madeAt); again || refused != nil || r.State != Void {
		t.Errorf("%v", refused)
	}
	if again, refused := r.Cancel(&r.Requester, madeAt); !again || refused != nil {
		t.Errorf("%v", refused)
	}
	if _, refused := r.Decides(p, given(r, carol, Approve)); refused == nil || refused.Rule != RuleState {
		t.Errorf("%v", refused)
	}
}

// TestReviews: by others, of what was opened, once.
func TestReviews(t *testing.T) {
	rita := personOf("rita", "QMJ", "guardian")
	for name, c := range map[string]struct {
		change func(*Request, *Review)
		want   Rule
	}{
		"control":        {func(*Request, *Review) {}, ""},
		"no policy":      {func(r *Request, _ *Review) { r.Project = "other" }, RuleNoPolicy},
		"another issuer": {func(_ *Request, v *Review) { v.By.Issuer += "x" }, RuleIssuer},
		"herself":        {func(r *Request, v *Review) { v.By.Subject = r.Requester.Subject }, RuleNotReviewer},
		"her other self": {func(_ *Request, v *Review) { v.By.UserID = "u-1" }, RuleNotReviewer},
		"operator":       {func(_ *Request, v *Review) { v.By.Subject = "operator" }, RuleNotReviewer},
		"another role":   {func(_ *Request, v *Review) { v.By.Role = "approver" }, RuleNotReviewer},
		"reviewed":       {func(r *Request, _ *Review) { r.Review = &Review{} }, RuleAcknowledged},
		"not opened":     {func(r *Request, _ *Review) { r.GiveBack(r.Organisation) }, RuleState},
		"no emergency":   {func(r *Request, _ *Review) { r.BreakGlass = false }, RuleState},
	} {
		p, r := waiting(t)
		r.BreakGlass = true
		r.Begin(Opening{By: r.Requester, At: madeAt})
		if due, wanted := r.ReviewDue(p); !wanted || !due.Equal(madeAt.Add(72*time.Hour)) {
			t.Fatalf("%v, %v", due, wanted)
		}
		v := Review{By: rita, Outcome: Justified, At: madeAt}
		c.change(r, &v)
		refused := r.Reviews(p, v)
		if (refused == nil) != (c.want == "") || refused != nil && refused.Rule != c.want {
			t.Errorf("%s: %v, want %s", name, refused, c.want)
		}
		if _, wanted := r.ReviewDue(p); refused == nil && wanted {
			t.Errorf("%s: it is reviewed, and still due", name)
		}
	}
}

// TestViews: who sees which request as what.
func TestViews(t *testing.T) {
	people := map[string]Person{
		"requester": personOf("gp-1", "Y12345", "R8000"), "alias": personOf("gp-2", "Y12345", "R8000"), "colleague": personOf("gp-3", "Y12345", "R8000"),
		"practice": personOf("gp-4", "Y54321", "R8000"), "reception": personOf("rec", "Y54321", "R0001"), "approver": personOf("carol", "QMJ", "approver"),
		"operator": personOf("operator", "QMJ", "approver"), "guardian": personOf("rita", "QMJ", "guardian"),
		"outside": {Issuer: "https://elsewhere.example.nhs.uk", Subject: "gp-1", Organisation: "Y54321", Role: "approver"},
	}
	alias := people["alias"]
	alias.UserID = "u-1"
	people["alias"] = alias
	p, pending := waiting(t)
	ready, routedTo, glass, routedPending := *pending, *pending, *pending, *pending
	ready.Decision, ready.State = Decision{Outcome: Ready, Rule: RuleRelationship}, Ready
	routedTo.Decision, routedTo.State, routedTo.Route, routedTo.Purpose = Decision{Outcome: Ready, Rule: RuleRouted}, Ready, ToPractice, CareManagement
	routedTo.Items = []Item{{Recipient: "Y54321"}}
	routedPending.Route, routedPending.Purpose, routedPending.Items = ToPractice, CareManagement, routedTo.Items
	glass.Decision, glass.BreakGlass = Decision{Outcome: Ready, Rule: RuleBreakGlass}, true
	glass.Begin(Opening{By: glass.Requester, At: madeAt})
	own := "requester:requester alias:requester guardian:guardian"
	for name, c := range map[string]struct {
		r    *Request
		want string
	}{
		"pending":        {pending, own + " approver:approver"},
		"ready":          {&ready, own},
		"routed":         {&routedTo, own + " practice:recipient"},
		"routed pending": {&routedPending, own + " approver:approver"},
		"break-glass":    {&glass, own + " guardian:reviewer"},
	} {
		var got []string
		for who, person := range people {
			for _, as := range Views() {
				if c.r.SeenAs(p, &person, as) {
					got = append(got, who+":"+string(as))
				}
			}
		}
		slices.Sort(got)
		want := strings.Fields(c.want)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if requester := people["requester"]; !c.r.SeenAs(&Policy{}, &requester, AsRequester) || c.r.SeenAs(&Policy{}, &requester, AsGuardian) {
			t.Errorf("%s: without a policy who asked does not see it, or sees more", name)
		}
	}
}
