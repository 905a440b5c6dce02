package reidentify

import "slices"

// View is as what a person sees a request.
type View string

// The views.
const (
	AsRequester View = "requester"
	AsApprover  View = "approver"
	AsRecipient View = "recipient" // of a worklist
	AsReviewer  View = "reviewer"  // of a break-glass
	AsGuardian  View = "guardian"  // who reads who asked
)

// Views returns every view.
func Views() []View { return []View{AsRequester, AsApprover, AsRecipient, AsReviewer, AsGuardian} }

// SeenAs reports whether a person sees a request as what they say.
func (r *Request) SeenAs(p *Policy, by *Person, as View) bool {
	project := p.Project(r.Project)
	if project == nil || by.Issuer != project.Issuer {
		return as == AsRequester && r.Requester.Is(by)
	}
	in := func(g Group) bool { return g.Has(by) }
	switch as {
	case AsRequester:
		return r.Requester.Is(by)
	case AsApprover:
		// Who asked sees it as who asked: an approver of their own request they are not.
		return !p.IsOperator(by) && (r.Decision.Needed > 0 || len(r.Approvals) > 0) && slices.ContainsFunc(project.Approvers, in)
	case AsRecipient:
		return r.Route != "" && r.Decision.Outcome == Ready && r.receives(project, by)
	case AsReviewer:
		return !p.IsOperator(by) && r.BreakGlass && len(r.Openings) > 0 && slices.ContainsFunc(project.Reviewers, in)
	case AsGuardian:
		return p.IsGuardian(by)
	}
	return false
}

// receives reports whether a person may open a part of a worklist: their organisation is a
// recipient, and their role may see its own patients.
func (r *Request) receives(p *ProjectPolicy, by *Person) bool {
	return slices.ContainsFunc(r.Items, func(i Item) bool { return i.Recipient == by.Organisation }) && p.caresAs(by, r.Purpose)
}

// caresAs reports whether a person's role may see the patients with whom their
// organisation has to do: for this purpose, or for treatment.
func (p *ProjectPolicy) caresAs(by *Person, purpose Purpose) bool {
	return slices.ContainsFunc(p.Allow, func(a Allow) bool {
		return a.When == WhenRelationship && a.Has(by) && (slices.Contains(a.Purposes, purpose) || slices.Contains(a.Purposes, Treatment))
	})
}

// StillMay refuses what a policy, or a project's record, that was changed since a request
// was decided does not allow any more, and whoever opens it in a role that may not. by is
// who opens it.
func StillMay(f *Facts, by *Person) *Refusal {
	r := f.Request
	switch {
	case f.Policy.IsLinker(by):
		return Refuse(RuleLinker)
	case r.BreakGlass:
		return f.stillEmergency(by)
	case r.Route != "":
		return f.stillRouted(by)
	case f.Policy.IsLinker(&r.Requester):
		return Refuse(RuleLinker)
	}
	// Who opens what they asked for may have signed in anew since, in another role.
	opened, now := *r, *f
	opened.Requester, now.Request = *by, &opened
	allow, refused := now.may()
	switch {
	case refused != nil:
		return refused
	case r.Decision.Rule == RuleRelationship && allow.When != WhenRelationship:
		return Refuse(RuleState) // others would have to approve it now, and nobody has
	case r.Decision.Rule == RuleApproved && !r.approved(f.Policy, f.policy(), f.Project.Approvals):
		return Refuse(RuleState)
	}
	return nil
}

// stillRouted is StillMay of a worklist: who sent it may, and who opens their part, too.
func (f *Facts) stillRouted(by *Person) *Refusal {
	if _, refused := f.may(); refused != nil {
		return refused
	}
	if !f.Request.receives(f.policy(), by) {
		return Refuse(RuleNotYours)
	}
	return nil
}

// stillEmergency is StillMay of break-glass. That the sign-in was made just now was looked
// at when it was asked; that it is a strong one is looked at again.
func (f *Facts) stillEmergency(by *Person) *Refusal {
	switch p := f.policy(); {
	case p == nil:
		return Refuse(RuleNoPolicy)
	case by.Issuer != p.Issuer:
		return Refuse(RuleIssuer)
	case !f.Project.Direct:
		return Refuse(RuleProjectMode)
	case !f.Now.Before(f.Project.End):
		return Refuse(RuleProjectExpired)
	case !slices.ContainsFunc(p.BreakGlass, func(g Group) bool { return g.Has(by) }):
		return Refuse(RuleBreakGlassRole)
	case !slices.Contains(f.Policy.BreakGlass.Assurances, by.Assurance):
		return Refuse(RuleBreakGlassSignIn)
	case !f.Alerts:
		return Refuse(RuleBreakGlassAlerts)
	}
	return nil
}
