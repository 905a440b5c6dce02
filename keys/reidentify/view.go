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
// was decided does not allow any more. by is who opens it: in the sign-in and role in which
// they do, they must be who may ask. Whoever is no approver any more has approved nothing.
func StillMay(f *Facts, by *Person) *Refusal {
	now, request := *f, *f.Request
	if now.Request = &request; request.Route == "" {
		request.Requester = *by
		request.Requester.SignedIn = f.Now // how fresh it was is a question of when it was asked
	}
	allow, refused := now.may()
	rule := request.Decision.Rule
	switch {
	case refused != nil:
		return refused
	case rule == RuleRelationship && allow.When == WhenApproved, rule == RuleApproved && !request.approved(f.Policy, f.policy(), f.Project.Approvals):
		return Refuse(RuleNeedsApproval)
	case request.Route == "":
		return nil
	case f.Policy.IsLinker(by):
		return Refuse(RuleLinker)
	case !request.receives(f.policy(), by):
		return Refuse(RuleNotYours)
	}
	return nil
}
