package reidentify

import (
	"fmt"
	"slices"
	"time"
)

// Project is what a project's record says of re-identification.
type Project struct {
	Name      string
	Direct    bool      // reidentify.mode is direct
	Purposes  []Purpose // that the record names; any if empty
	Approvals int       // that the record asks for
	End       time.Time // the moment at which it expires
}

// Facts are all that a decision rests on.
type Facts struct {
	Now     time.Time
	Policy  *Policy
	Project Project
	Request *Request
	// Related says of each item whether the region says that the organisation has to do
	// with the patient now; nil where it was not asked.
	Related []bool
	// Fired are the limits that the request is beyond.
	Fired []Fired
	// Waiting is how many requests of this person wait already.
	Waiting int
	// Capped is whether break-glass was used too often in 24 hours, Overdue whether one of
	// this person's was not reviewed in time, Alerts whether somebody is told at once.
	Capped, Overdue, Alerts bool
}

// Decision is what was decided on a request.
type Decision struct {
	Outcome State `json:"outcome"` // ready, pending_approval or refused
	Rule    Rule  `json:"rule"`
	// Limit names the limit where the rule is one.
	Limit string `json:"limit,omitzero"`
	// Related says that the region has said that there is a relationship, and that the decision
	// rests on it: whatever else it rests on, the region is asked anew when it is opened.
	Related bool `json:"related,omitzero"`
	// Needed is how many people have to approve it.
	Needed int `json:"needed,omitzero"`
	// Rows are those for whose patients there is no relationship, where the rule is that.
	Rows  []int   `json:"rows,omitzero"`
	Fired []Fired `json:"fired,omitzero"`
	// Policy is the digest of the policy by which it was decided.
	Policy string `json:"policy"`
}

// Refusal returns the decision as a refusal that is told.
func (d *Decision) Refusal() *Refusal { return &Refusal{Rule: d.Rule, Limit: d.Limit} }

// Asks says what the region is asked before a decision.
type Asks struct {
	// Relationship: whether the organisation has to do with each patient.
	Relationship bool
	// Route: which practice each patient is registered with.
	Route bool
}

// Before decides what does not depend on the region: who asks, for what, and whether they
// may at all. refused is nil where the region is to be asked.
func Before(f *Facts) (asks Asks, refused *Refusal) {
	allow, refused := f.may()
	if refused != nil {
		return Asks{}, refused
	}
	// An emergency does not wait for the region, which may be what has failed.
	return Asks{Relationship: allow.When == WhenRelationship && !f.Request.BreakGlass, Route: allow.When == WhenRouted && f.Request.Route == ToPractice}, nil
}

// Decide is the one decision, for every entrance: who asks, for what, whether they may,
// and the limits, in this order. It is the same for the same facts.
func Decide(f *Facts) Decision {
	d := f.decide()
	d.Policy = f.Policy.Digest()
	d.Fired = f.Fired
	return d
}

func refusedBy(r *Refusal) Decision { return Decision{Outcome: Refused, Rule: r.Rule, Limit: r.Limit} }

func (f *Facts) decide() Decision {
	allow, refused := f.may()
	if refused != nil {
		return refusedBy(refused)
	}
	d := f.granted(allow)
	if d.Outcome == Refused || f.Request.BreakGlass {
		return d // the caps of break-glass were looked at; limits are recorded with it
	}
	for _, fired := range f.Fired {
		if fired.Simulated {
			continue
		}
		switch fired.Action {
		case ActionRefuse:
			return Decision{Outcome: Refused, Rule: RuleLimit, Limit: fired.Rule}
		case ActionApproval:
			if d.Outcome == Ready {
				d = Decision{Outcome: Pending, Rule: RuleLimit, Limit: fired.Rule, Related: d.Related}
			}
		}
	}
	if d.Outcome == Pending {
		if f.Waiting >= f.Policy.Limits.Pending {
			return Decision{Outcome: Refused, Rule: RulePending}
		}
		d.Needed = max(1, f.policy().Approvals, f.Project.Approvals)
	}
	return d
}

func (f *Facts) policy() *ProjectPolicy { return f.Policy.Project(f.Project.Name) }

// may returns what lets the person ask, or why nothing does.
func (f *Facts) may() (*Allow, *Refusal) {
	r, p := f.Request, f.policy()
	person := &r.Requester
	switch {
	case p == nil:
		return nil, Refuse(RuleNoPolicy)
	case person.Issuer != p.Issuer:
		return nil, Refuse(RuleIssuer)
	case person.Organisation != r.Organisation:
		return nil, Refuse(RuleOrganisation)
	case f.Policy.IsLinker(person):
		return nil, Refuse(RuleLinker)
	case !f.Project.Direct:
		return nil, Refuse(RuleProjectMode)
	case !f.Now.Before(f.Project.End):
		return nil, Refuse(RuleProjectExpired)
	case r.BreakGlass != (r.Purpose == EmergencyTreatment) || r.BreakGlass && r.Route != "":
		return nil, Refuse(RuleBreakGlassPurpose)
	case r.BreakGlass:
		return f.breakGlass(p)
	case len(f.Project.Purposes) > 0 && !slices.Contains(f.Project.Purposes, r.Purpose):
		return nil, Refuse(RuleProjectPurpose)
	}
	return p.allow(r)
}

// breakGlass is what an emergency needs.
func (f *Facts) breakGlass(p *ProjectPolicy) (*Allow, *Refusal) {
	r := f.Request
	in := func(g Group) bool { return g.Has(&r.Requester) }
	switch {
	case !slices.ContainsFunc(p.BreakGlass, in):
		return nil, Refuse(RuleBreakGlassRole)
	case len(r.Items) != 1:
		return nil, Refuse(RuleBreakGlassItems)
	case !slices.Contains(f.Policy.BreakGlass.Assurances, r.Requester.Assurance), f.Now.Sub(r.Requester.SignedIn) > f.Policy.BreakGlass.signInWithin():
		return nil, Refuse(RuleBreakGlassSignIn)
	case f.Overdue:
		return nil, Refuse(RuleBreakGlassSuspended)
	case f.Capped:
		return nil, Refuse(RuleBreakGlassCap)
	case !f.Alerts:
		return nil, Refuse(RuleBreakGlassAlerts)
	}
	return &Allow{When: WhenRelationship, Absent: AbsentRefuse}, nil
}

// allow returns the rule of a project that lets a person ask for a purpose, the one that
// asks least of them where several do.
func (p *ProjectPolicy) allow(r *Request) (*Allow, *Refusal) {
	var found *Allow
	tooLong := false
	order := []When{WhenRelationship, WhenRouted, WhenApproved}
	for i := range p.Allow {
		a := &p.Allow[i]
		if !a.Has(&r.Requester) || !slices.Contains(a.Purposes, r.Purpose) || (a.When == WhenRouted) != (r.Route != "") {
			continue
		}
		if len(r.Items) > a.MaxItems {
			tooLong = true
			continue
		}
		if found == nil || slices.Index(order, a.When) < slices.Index(order, found.When) {
			found = a
		}
	}
	switch {
	case found != nil:
		return found, nil
	case tooLong:
		return nil, Refuse(RuleListTooLong)
	}
	return nil, Refuse(RuleRolePurpose)
}

// granted decides by what is needed beside role and purpose.
func (f *Facts) granted(a *Allow) Decision {
	switch {
	case f.Request.BreakGlass:
		return Decision{Outcome: Ready, Rule: RuleBreakGlass}
	case a.When == WhenRouted:
		return Decision{Outcome: Ready, Rule: RuleRouted}
	case a.When == WhenApproved:
		return Decision{Outcome: Pending, Rule: RuleNeedsApproval}
	case len(f.Related) != len(f.Request.Items):
		return Decision{Outcome: Refused, Rule: RuleNoRelationship} // it was not asked: no is the answer
	}
	var rows []int
	for i, related := range f.Related {
		if !related {
			rows = append(rows, f.Request.Items[i].Row)
		}
	}
	switch {
	case rows == nil:
		return Decision{Outcome: Ready, Rule: RuleRelationship, Related: true}
	case a.Absent == AbsentRefuse:
		return Decision{Outcome: Refused, Rule: RuleNoRelationship, Rows: rows}
	}
	return Decision{Outcome: Pending, Rule: RuleNoRelationship, Rows: rows}
}

// Next says what whoever asked does now.
func (d *Decision) Next() string {
	switch {
	case d.Outcome == Ready && d.Rule == RuleRouted:
		return "nothing: each practice finds it in its worklist"
	case d.Outcome == Ready:
		return "open it"
	case d.Outcome == Pending:
		return fmt.Sprintf("wait: %s must approve it; the request shows how many have", people(d.Needed))
	}
	return d.Refusal().Next()
}

func people(n int) string {
	if n == 1 {
		return "one of the project's approvers"
	}
	return fmt.Sprintf("%d of the project's approvers", n)
}
