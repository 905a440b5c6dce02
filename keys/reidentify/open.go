package reidentify

import (
	"slices"
	"time"
)

// Redelivery: what was opened is shown again to the same session.
const (
	RedeliverWithin = 5 * time.Minute
	Redeliveries    = 2
)

// Outcome is what came of opening one item.
type Outcome string

// The outcomes, of specification (i).
const (
	Released Outcome = "released"
	Failed   Outcome = "failed"  // nothing was there to open, or it could not be
	Unknown  Outcome = "unknown" // the key holder ended before it was written down
)

// Opening is that a request is being, or has been, opened by one organisation: once.
type Opening struct {
	By Person    `json:"by"`
	At time.Time `json:"at"`
	// Items are the places of the request's items that it is about.
	Items []int `json:"items"`
	// Intents are the log's indices of their entries of intent, Outcomes what came of it;
	// none while it is under way.
	Intents  []uint64  `json:"intents"`
	Outcomes []Outcome `json:"outcomes,omitzero"`
	// Denied are the places of items that may not be opened any more.
	Denied []int `json:"denied,omitzero"`
	// Unwitnessed says that the witness had not signed the intent.
	Unwitnessed bool `json:"unwitnessed,omitzero"`
	// Done is when it was written down what came of it; zero where that is not known.
	Done time.Time `json:"done,omitzero"`
	// Finished says that it was written down, with whatever result.
	Finished bool `json:"finished,omitzero"`
	// Redelivered is how often it was shown again.
	Redelivered int `json:"redelivered,omitzero"`
}

// Opens returns the places of the items that a person opens, or why they open none. shown
// is the opening that is to be shown again, where the same session has opened it less than
// five minutes ago, and was done when this caller arrived.
func (r *Request) Opens(by *Person, arrived, now time.Time) (items []int, shown *Opening, refused *Refusal) {
	if refused := r.opener(by); refused != nil {
		return nil, nil, refused
	}
	if before := r.Openings[by.Organisation]; before != nil {
		again := before.By.Is(by) && before.By.Session == by.Session && !before.Done.IsZero() && arrived.After(before.Done) && now.Sub(before.At) < RedeliverWithin && !now.Before(before.At)
		if !again || before.Redelivered >= Redeliveries {
			return nil, nil, Refuse(RuleGone)
		}
		return before.Items, before, nil
	}
	if r.StateAt(now) != Ready {
		return nil, nil, r.notReady(now)
	}
	for i := range r.Items {
		if r.Route == "" || r.Items[i].Recipient == by.Organisation {
			items = append(items, i)
		}
	}
	if items == nil {
		return nil, nil, Refuse(RuleNotYours)
	}
	return items, nil, nil
}

// opener refuses who is not the one that a request is opened by.
func (r *Request) opener(by *Person) *Refusal {
	switch {
	case by.Issuer != r.Requester.Issuer:
		return Refuse(RuleIssuer)
	case r.Route != "" && r.Requester.Is(by):
		return Refuse(RuleNotYours) // who finds the patients sees none of them
	case r.Route == "" && (!r.Requester.Is(by) || by.Organisation != r.Organisation || by.Role != r.Requester.Role):
		return Refuse(RuleNotYours)
	}
	return nil
}

// notReady says why a request that is not ready is not opened.
func (r *Request) notReady(now time.Time) *Refusal {
	switch r.StateAt(now) {
	case Pending, Refused:
		return r.Decision.Refusal()
	case Opened:
		return Refuse(RuleGone)
	}
	return Refuse(RuleState)
}

// Begin consumes what allows an opening: of two, the second gets no. Its caller has asked
// Opens under the same lock.
func (r *Request) Begin(o Opening) {
	openings := make(map[string]*Opening, len(r.Openings)+1)
	for organisation, before := range r.Openings {
		openings[organisation] = before
	}
	openings[o.By.Organisation] = &o
	r.Openings = openings
	if r.Route == "" || r.allBegun() {
		r.State = Opened
	}
}

// allBegun reports whether every organisation of a worklist has opened its own.
func (r *Request) allBegun() bool {
	return !slices.ContainsFunc(r.Items, func(i Item) bool { return i.Recipient != "" && r.Openings[i.Recipient] == nil })
}

// Underway returns the openings of which it is not written down what came of them.
func (r *Request) Underway() (all []*Opening) {
	for _, o := range r.Openings {
		if !o.Finished {
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b *Opening) int { return a.At.Compare(b.At) })
	return all
}

// change replaces an opening by one that f has changed: requests are read while they
// change.
func (r *Request) change(organisation string, f func(*Opening)) {
	o := *r.Openings[organisation]
	f(&o)
	openings := make(map[string]*Opening, len(r.Openings))
	for name, before := range r.Openings {
		openings[name] = before
	}
	openings[organisation] = &o
	r.Openings = openings
}

// Finish writes down what came of an opening.
func (r *Request) Finish(organisation string, outcomes []Outcome, unwitnessed bool, at time.Time) {
	r.change(organisation, func(o *Opening) {
		o.Outcomes, o.Unwitnessed, o.Done, o.Finished = outcomes, unwitnessed, at, true
	})
}

// Redeliver counts that an opening is shown again.
func (r *Request) Redeliver(organisation string) {
	r.change(organisation, func(o *Opening) { o.Redelivered++ })
}

// Review is what another person found of a break-glass.
type Review struct {
	By      Person        `json:"by"`
	Outcome ReviewOutcome `json:"outcome"`
	Comment string        `json:"comment,omitzero"`
	At      time.Time     `json:"at"`
}

// ReviewOutcome is what a review found.
type ReviewOutcome string

// What a review finds.
const (
	Justified    ReviewOutcome = "justified"
	NotJustified ReviewOutcome = "not-justified"
	Inconclusive ReviewOutcome = "inconclusive"
)

// ReviewDue returns by when a break-glass that was opened has to be reviewed.
func (r *Request) ReviewDue(p *Policy) (due time.Time, wanted bool) {
	o := r.Openings[r.Organisation]
	if !r.BreakGlass || o == nil || r.Review != nil {
		return time.Time{}, false
	}
	return o.At.Add(p.BreakGlass.reviewWithin()), true
}

// Reviews takes a reviewer's finding.
func (r *Request) Reviews(p *Policy, v Review) *Refusal {
	project := p.Project(r.Project)
	switch {
	case project == nil:
		return Refuse(RuleNoPolicy)
	case v.By.Issuer != project.Issuer:
		return Refuse(RuleIssuer)
	case r.Requester.Is(&v.By) || p.IsOperator(&v.By) || !slices.ContainsFunc(project.Reviewers, func(g Group) bool { return g.Has(&v.By) }):
		return Refuse(RuleNotReviewer)
	case r.Review != nil:
		return Refuse(RuleAcknowledged)
	case !r.BreakGlass || r.Openings[r.Organisation] == nil:
		return Refuse(RuleState)
	}
	r.Review = &v
	return nil
}

// Known reports whether it is one of those that a review finds.
func (o ReviewOutcome) Known() bool { return o == Justified || o == NotJustified || o == Inconclusive }

// GiveBack takes an opening back that has opened nothing: what allowed it is not used up.
func (r *Request) GiveBack(organisation string) {
	openings := make(map[string]*Opening, len(r.Openings))
	for name, before := range r.Openings {
		if name != organisation {
			openings[name] = before
		}
	}
	r.Openings, r.State = openings, Ready
}
