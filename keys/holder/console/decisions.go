package console

import (
	"net/http"

	"tarn/keys/api"
	"tarn/keys/reidentify"
)

// What approvers and reviewers decide.

// WhyWaits says to an approver why a request waits. What the rule says is for who asked.
func (r *requestView) WhyWaits() string {
	switch reidentify.Rule(r.Decision.Rule) {
	case reidentify.RuleNoRelationship:
		return "the region does not say that " + r.Organisation + " has to do with the patient now"
	case reidentify.RuleNeedsApproval:
		return "this purpose always needs approval"
	case reidentify.RuleLimit:
		return "it is beyond a limit: " + reidentify.LimitText(r.Decision.Limit)
	}
	return r.Decision.Why
}

func (v *visit) approvals() error {
	all, err := v.list(reidentify.AsApprover, reidentify.Pending)
	if err != nil {
		return err
	}
	if len(all.Items) == 0 && len(v.may().Approves) == 0 {
		return noUse("You cannot approve requests", "Your role approves no requests.")
	}
	v.render(http.StatusOK, "approvals", "Requests waiting for approval", all)
	return nil
}

// approval is what an approver reads before they decide.
func (v *visit) approval() error {
	r, err := v.theRequest()
	if err != nil {
		return err
	}
	return v.approvalPage(r)
}

func (v *visit) approvalPage(r *requestView) error {
	r.Project = v.registered(r.Reidentification.Project)
	title, status := "Decide on a request", http.StatusOK
	if len(r.Wrong) > 0 {
		title, status = "Error: "+title, http.StatusUnprocessableEntity
	}
	v.render(status, "approval", title, r)
	return nil
}

// registered is what the register says of a project.
func (v *visit) registered(name string) *api.RegisterProject {
	register, err := v.console.options.Registrar.Register(v.r.Context())
	if err != nil {
		return nil
	}
	for i := range register.Projects {
		if register.Projects[i].Name == name {
			return &register.Projects[i]
		}
	}
	return nil
}

// decide takes an approver's decision on the request of the hash that they were shown.
func (v *visit) decide() error {
	r, err := v.theRequest()
	if err != nil {
		return err
	}
	if err := v.readForm(); err != nil {
		return err
	}
	r.Chosen, r.Comment = v.value("decision"), v.value("comment")
	if r.Chosen == "" {
		r.Wrong.add("decision", "Choose whether you approve it.")
		return v.approvalPage(r)
	}
	given := &api.ApprovalGiven{Decision: r.Chosen, RequestHash: v.value("hash"), Comment: r.Comment}
	_, err = v.console.options.Decider.Decide(v.r.Context(), v.caller(""), r.ID, given)
	switch {
	case err == nil:
		v.redirect("/approvals/" + r.ID)
		return nil
	case ofForm(err, map[string]string{"/comment": "comment", "/decision": "decision"}, &r.Wrong):
		return v.approvalPage(r)
	}
	return err
}

func (v *visit) reviews() error {
	all, err := v.list(reidentify.AsReviewer, "")
	if err != nil {
		return err
	}
	if len(all.Items) == 0 && len(v.may().Reviews) == 0 {
		return noUse("You cannot review emergencies", "Your role reviews no emergency requests.")
	}
	v.render(http.StatusOK, "reviews", "Emergency requests to review", all)
	return nil
}

func (v *visit) review() error {
	r, err := v.theRequest()
	if err != nil {
		return err
	}
	return v.reviewPage(r)
}

func (v *visit) reviewPage(r *requestView) error {
	title, status := "Review an emergency request", http.StatusOK
	if len(r.Wrong) > 0 {
		title, status = "Error: "+title, http.StatusUnprocessableEntity
	}
	r.Project = v.registered(r.Reidentification.Project)
	v.render(status, "review", title, r)
	return nil
}

func (v *visit) sendReview() error {
	r, err := v.theRequest()
	if err != nil {
		return err
	}
	if err := v.readForm(); err != nil {
		return err
	}
	r.Chosen, r.Comment = v.value("outcome"), v.value("comment")
	if r.Chosen == "" {
		r.Wrong.add("outcome", "Choose what you found.")
		return v.reviewPage(r)
	}
	_, err = v.console.options.Decider.Review(v.r.Context(), v.caller(""), r.ID, &api.ReviewGiven{Outcome: r.Chosen, Comment: r.Comment})
	switch {
	case err == nil:
		v.redirect("/reviews/" + r.ID)
		return nil
	case ofForm(err, map[string]string{"/comment": "comment", "/outcome": "outcome"}, &r.Wrong):
		return v.reviewPage(r)
	}
	return err
}
