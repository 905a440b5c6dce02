package reidentify

import (
	"crypto/subtle"
	"slices"
	"time"
)

// Verdict is what an approver decides.
type Verdict string

// The verdicts.
const (
	Approve Verdict = "approve"
	Reject  Verdict = "reject"
)

// Approval is what one approver has decided.
type Approval struct {
	By      Person    `json:"by"`
	Verdict Verdict   `json:"decision"`
	Hash    string    `json:"request_hash"`
	Comment string    `json:"comment,omitzero"`
	At      time.Time `json:"at"`
}

// CheckComment refuses a comment that may name a patient, is too long, or is no text.
func CheckComment(text string) error { return checkText(text, MaxComment) }

// Decides takes an approver's verdict on a request. again is true where the same person has
// given the same verdict on the same hash before: a retry, which changes nothing.
func (r *Request) Decides(p *Policy, a Approval) (again bool, refused *Refusal) {
	project := p.Project(r.Project)
	sameHash := subtle.ConstantTimeCompare([]byte(a.Hash), []byte(r.Hash)) == 1
	before := slices.IndexFunc(r.Approvals, func(b Approval) bool { return b.By.Is(&a.By) })
	switch {
	case project == nil:
		return false, Refuse(RuleNoPolicy)
	case a.By.Issuer != project.Issuer:
		return false, Refuse(RuleIssuer)
	case r.Requester.Is(&a.By):
		return false, Refuse(RuleSelfApproval)
	case !p.approves(project, &a.By):
		return false, Refuse(RuleNotApprover)
	case !sameHash:
		return false, Refuse(RuleHashDiffers)
	case before >= 0 && r.Approvals[before].Verdict == a.Verdict:
		return true, nil
	case before >= 0:
		return false, Refuse(RuleDecidedAlready)
	case r.StateAt(a.At) != Pending:
		return false, Refuse(RuleState)
	}
	r.Approvals = append(slices.Clone(r.Approvals), a)
	r.Decision.Needed = max(r.Decision.Needed, project.Approvals) // as it is now
	switch {
	case a.Verdict == Reject:
		r.State, r.Decision.Outcome, r.Decision.Rule = Refused, Refused, RuleRejected
	case r.approved(p, project, 0):
		r.State, r.Decision.Outcome, r.Decision.Rule = Ready, Ready, RuleApproved
	}
	return false, nil
}

// Have is how many have approved.
func (r *Request) Have() (n int) {
	for i := range r.Approvals {
		if r.Approvals[i].Verdict == Approve {
			n++
		}
	}
	return n
}

// approves reports whether a person is one of a project's approvers.
func (p *Policy) approves(project *ProjectPolicy, by *Person) bool {
	return by.Issuer == project.Issuer && !p.IsOperator(by) && slices.ContainsFunc(project.Approvers, func(g Group) bool { return g.Has(by) })
}

// approved reports whether enough people have, one of a data controller among them. Whom
// the policy does not count as an approver any more has approved nothing. needed is how
// many the project's record asks for.
func (r *Request) approved(p *Policy, project *ProjectPolicy, needed int) bool {
	have, controller := 0, false
	for i := range r.Approvals {
		a := &r.Approvals[i]
		if a.Verdict == Approve && p.approves(project, &a.By) {
			have++
			controller = controller || slices.Contains(project.Controllers, a.By.Organisation)
		}
	}
	return controller && have >= max(1, needed, project.Approvals, r.Decision.Needed)
}

// Cancel takes a request back: its own requester's, before it is opened.
func (r *Request) Cancel(by *Person, now time.Time) (again bool, refused *Refusal) {
	switch state := r.StateAt(now); {
	case !r.Requester.Is(by):
		return false, Refuse(RuleNotYours)
	case state == Void:
		return true, nil
	case state != Pending && state != Ready || len(r.Openings) > 0:
		return false, Refuse(RuleState)
	}
	r.State = Void
	return false, nil
}

// Settled is a request that approvers have decided, for what is written down of it: limits
// that fired when it was made were written down then.
func (r *Request) Settled() *Request {
	settled := *r
	settled.Decision.Fired = nil
	return &settled
}
