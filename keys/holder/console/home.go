package console

import (
	"net/http"

	"tarn/keys/reidentify"
)

// task is something that a person can do here.
type task struct {
	Path, Title, Text string
	Waiting           int // how many wait for it
	Urgent            bool
}

// tasks are what a person can do, what waits for them first.
func (v *visit) tasks() []task {
	may := v.may()
	all := []task{}
	add := func(when bool, t task) {
		if when {
			all = append(all, t)
		}
	}
	asks, routes, glass := false, false, glassNeeds(may) != nil
	for i := range may.Asks {
		asks, routes = asks || len(may.Asks[i].Purposes) > 0, routes || len(may.Asks[i].Routes) > 0
	}
	add(asks, task{Path: "/ask", Title: "Find out who a patient is", Text: "You have a token and need the NHS number. For one patient, or for a list."})
	add(glass, task{Path: "/emergency", Title: "Emergency", Text: "A patient may come to harm and you cannot wait for approval. It is reviewed afterwards.", Urgent: true})
	add(asks || routes || glass, task{Path: "/requests", Title: "Your requests", Text: "What you have asked, and what became of it."})
	add(len(may.Receives) > 0, task{Path: "/worklists", Title: "Worklists for your organisation", Text: "Patients of yours whom others think you should look at.", Waiting: v.waiting(reidentify.AsRecipient, reidentify.Ready)})
	add(routes, task{Path: "/worklists/send", Title: "Send a worklist", Text: "Have each patient's own practice find out who they are. You are not told."})
	add(len(may.Approves) > 0, task{Path: "/approvals", Title: "Approvals", Text: "Requests that wait for your decision.", Waiting: v.waiting(reidentify.AsApprover, reidentify.Pending)})
	add(len(may.Reviews) > 0, task{Path: "/reviews", Title: "Emergency reviews", Text: "Emergencies that somebody has to look at afterwards.", Waiting: v.unreviewed()})
	add(may.Guardian, task{Path: "/who-asked", Title: "Who asked about a patient", Text: "Everybody who has asked about one patient, from the log."})
	add(may.Guardian, task{Path: "/log", Title: "Search the log", Text: "What was done, when, by whom. With proof of each entry."})
	add(may.Guardian, task{Path: "/reports", Title: "Monthly reports", Text: "What each organisation has asked in a month. As a page, or as a table for a spreadsheet."})
	add(asks || glass || may.Guardian, task{Path: "/limits", Title: "Limits", Text: "How much is asked, and how near that is to the limits."})
	add(may.Operator, task{Path: "/operators", Title: "Projects and clients", Text: "Add projects and the programs that make tokens. Two operators agree on each change."})
	return all
}

// waiting is how many requests wait for a person.
func (v *visit) waiting(as reidentify.View, state reidentify.State) int {
	page, err := v.console.options.Reader.List(v.r.Context(), v.caller(""), as, state, "")
	if err != nil {
		return 0
	}
	n := 0
	for _, r := range page.Items {
		if one := v.viewOf(r); as != reidentify.AsApprover || !one.Mine {
			n++
		}
	}
	return n
}

// unreviewed is how many emergencies wait for a review by the person.
func (v *visit) unreviewed() (n int) {
	page, err := v.console.options.Reader.List(v.r.Context(), v.caller(""), reidentify.AsReviewer, "", "")
	if err != nil {
		return 0
	}
	for _, r := range page.Items {
		if one := v.viewOf(r); !r.ReviewDue.IsZero() && !one.Mine {
			n++
		}
	}
	return n
}

func (v *visit) accessibility() error {
	v.render(http.StatusOK, "accessibility", "Accessibility statement", nil)
	return nil
}

func (v *visit) privacy() error {
	v.render(http.StatusOK, "privacy", "Privacy and cookies", span(v.console.sessions.idle))
	return nil
}

func (v *visit) help() error {
	v.render(http.StatusOK, "help", "Help", nil)
	return nil
}

func (v *visit) nothingThere() error {
	return &shown{Status: http.StatusNotFound, Title: "Page not found", Text: "There is no such page.", Next: "If you typed the address, check that it is right. If you pasted it, check that you copied the whole of it."}
}
