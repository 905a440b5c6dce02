package oversight

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"tarn/keys/reidentify"
)

// Month reports one organisation's calendar month. Without a policy reviews are due within
// 72 hours, and an organisation works from Monday to Friday and not at night.
func Month(policy *reidentify.Policy, requests []*reidentify.Request, organisation string, month CalendarMonth) Report {
	if policy == nil {
		policy = &reidentify.Policy{}
	}
	before := month.Add(-1)
	this, last := newTally(policy, organisation, month), newTally(policy, organisation, before)
	for _, r := range requests {
		this.take(r)
		last.take(r)
	}
	return Report{Organisation: organisation, Month: month, Figures: this.figures(), MonthBefore: before, Before: last.figures()}
}

// tally gathers the figures of one month.
type tally struct {
	Figures
	policy       *reidentify.Policy
	organisation string
	from, to     time.Time

	purposes map[reidentify.Purpose]*PurposeFigures
	refused  map[RefusedFigures]int
	limits   map[LimitFigures]int
	patients map[string]struct{}
	people   *people
	waits    []time.Duration
}

func newTally(p *reidentify.Policy, organisation string, month CalendarMonth) *tally {
	t := &tally{
		policy: p, organisation: organisation, purposes: map[reidentify.Purpose]*PurposeFigures{}, refused: map[RefusedFigures]int{},
		limits: map[LimitFigures]int{}, patients: map[string]struct{}{}, people: newPeople(),
	}
	t.from, t.to = month.Bounds()
	for _, purpose := range reidentify.Purposes() {
		t.purposes[purpose] = &PurposeFigures{Purpose: purpose}
	}
	return t
}

// in reports whether a moment is in the month.
func (t *tally) in(at time.Time) bool { return !at.Before(t.from) && at.Before(t.to) }

func (t *tally) take(r *reidentify.Request) {
	if t.in(r.Created) {
		if r.Organisation == t.organisation {
			t.made(r)
		}
		t.routed(r)
	}
	if o := r.Openings[t.organisation]; o != nil {
		t.opened(r, o)
	}
	if r.Organisation == t.organisation {
		t.judged(r)
		t.emergency(r)
	}
}

// made takes a request that the organisation has made in the month.
func (t *tally) made(r *reidentify.Request) {
	t.Requests++
	of := t.purposes[r.Purpose]
	if of == nil {
		of = &PurposeFigures{Purpose: r.Purpose}
		t.purposes[r.Purpose] = of
	}
	of.Requests++
	t.Outcomes.add(r)
	of.Outcomes.add(r)
	if !r.Counted {
		t.refused[RefusedFigures{Rule: r.Decision.Rule, Limit: r.Decision.Limit}]++
	} else if t.policy.OutOfHours(t.organisation, r.Created) {
		t.OutOfHours++
	}
	if r.Route == "" && len(r.Items) > 1 {
		t.Lists.Lists++
	}
	for i := range r.Items {
		if subject := r.Items[i].Subject; subject != "" {
			t.patients[subject] = struct{}{}
		}
	}
	for _, f := range r.Decision.Fired {
		t.limits[LimitFigures{Rule: f.Rule, Text: reidentify.LimitText(f.Rule), Action: f.Action, Simulated: f.Simulated}]++
	}
	t.people.join(&r.Requester)
}

// add takes what was decided of a request when it was made: what approvers decided later
// is in its decision, too.
func (o *Outcomes) add(r *reidentify.Request) {
	switch {
	case !r.Counted:
		o.Refused++
	case r.Decision.Needed > 0:
		o.Waited++
	default:
		o.Ready++
	}
}

// routed takes a worklist that was sent in the month. Who sent it is not told what became
// of it: that would say whether its patients are anybody's.
func (t *tally) routed(r *reidentify.Request) {
	if r.Route == "" || !r.Counted {
		return
	}
	if r.Organisation == t.organisation {
		t.Lists.Sent++
	}
	if slices.ContainsFunc(r.Items, func(i reidentify.Item) bool { return i.Recipient == t.organisation }) {
		t.Lists.Got++
	}
}

// opened takes an opening by the organisation.
func (t *tally) opened(r *reidentify.Request, o *reidentify.Opening) {
	if t.in(o.At) {
		t.Opened++
		if r.Route != "" {
			t.Lists.Opened++
		}
	}
	if t.in(o.Done) {
		t.Released += released(o)
	}
}

// released is how many patients an opening has told.
func released(o *reidentify.Opening) (n int) {
	for _, outcome := range o.Outcomes {
		if outcome == reidentify.Released {
			n++
		}
	}
	return n
}

// judged takes what approvers decided in the month.
func (t *tally) judged(r *reidentify.Request) {
	for i := range r.Approvals {
		switch a := &r.Approvals[i]; {
		case !t.in(a.At):
		case a.Verdict == reidentify.Approve:
			t.Approvals.Approved++
		default:
			t.Approvals.Rejected++
		}
	}
	// Whoever gives the last verdict decides: none is taken after it.
	if rule := r.Decision.Rule; len(r.Approvals) > 0 && (rule == reidentify.RuleApproved || rule == reidentify.RuleRejected) {
		if at := r.Approvals[len(r.Approvals)-1].At; t.in(at) {
			t.waits = append(t.waits, at.Sub(r.Created))
		}
	}
}

// emergency takes a break-glass that was used in the month.
func (t *tally) emergency(r *reidentify.Request) {
	o := r.Openings[r.Organisation]
	if !r.BreakGlass || o == nil || !t.in(o.At) {
		return
	}
	b := &t.BreakGlass
	b.Used++
	if r.Review == nil {
		b.NotReviewed++
		return
	}
	before := *r
	before.Review = nil // as it was when the review was due
	if due, _ := before.ReviewDue(t.policy); r.Review.At.Before(due) {
		b.ReviewedInTime++
	} else {
		b.ReviewedLate++
	}
	switch r.Review.Outcome {
	case reidentify.Justified:
		b.Justified++
	case reidentify.NotJustified:
		b.NotJustified++
	case reidentify.Inconclusive:
		b.Inconclusive++
	}
}

// figures puts together what was gathered.
func (t *tally) figures() Figures {
	f := t.Figures
	f.People, f.Patients = t.people.count(), len(t.patients)
	f.Approvals.Decided, f.Approvals.MedianMinutes = len(t.waits), medianMinutes(t.waits)
	f.Purposes, f.Refused, f.Limits = []PurposeFigures{}, []RefusedFigures{}, []LimitFigures{}
	for _, purpose := range slices.Sorted(maps.Keys(t.purposes)) {
		f.Purposes = append(f.Purposes, *t.purposes[purpose])
	}
	for r, n := range t.refused {
		r.Requests = n
		f.Refused = append(f.Refused, r)
	}
	slices.SortFunc(f.Refused, func(a, b RefusedFigures) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Limit, b.Limit))
	})
	for l, n := range t.limits {
		l.Times = n
		f.Limits = append(f.Limits, l)
	}
	slices.SortFunc(f.Limits, func(a, b LimitFigures) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.did(), b.did())) })
	return f
}

// did says what a limit did, in one word.
func (l *LimitFigures) did() string {
	if l.Simulated {
		return "simulated_" + string(l.Action)
	}
	return string(l.Action)
}

// medianMinutes returns the median of times, of an even number of them half-way between
// the two in the middle.
func medianMinutes(all []time.Duration) int {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	middle := len(all) / 2
	median := all[middle]
	if len(all)%2 == 0 {
		median = all[middle-1] + (median-all[middle-1])/2
	}
	return int(median.Round(time.Minute) / time.Minute)
}
