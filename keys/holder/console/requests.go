package console

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"tarn/keys/api"
	"tarn/keys/reidentify"
)

func itoa(n int) string { return strconv.Itoa(n) }

// requestView is a request as its page and lists have it.
type requestView struct {
	*api.Reidentification
	Mine    bool // the person has asked it, from this account
	Now     time.Time
	FormID  string
	Project *api.RegisterProject // what the register says of its project; nil where it says nothing
	Wrong   wrong
	Comment string // of a form that was sent and has to be corrected
	Chosen  string
}

// Path is the request's page.
func (r *requestView) Path() string { return "/requests/" + r.ID }

// Patients is how many it is about.
func (r *requestView) Patients() string { return count(len(r.Rows), "patient") }

// ReasonText is why it was asked; empty for those who are not told.
func (r *requestView) ReasonText() string {
	if r.Reason == nil {
		return ""
	}
	return reasonText(r.Reason.Code) + ": " + r.Reason.Text
}

// WhyReady says why it can be opened.
func (r *requestView) WhyReady() string {
	if reidentify.Rule(r.Decision.Rule) == reidentify.RuleRelationship {
		return "Your organisation is recorded as caring for " + map[bool]string{true: "this patient", false: "these patients"}[len(r.Rows) == 1] + "."
	}
	return sentence(r.Decision.Why)
}

// Worklist reports whether each patient's own practice opens it.
func (r *requestView) Worklist() bool { return r.Route != "" }

// CanOpen reports whether the person who asked may open it as things are.
func (r *requestView) CanOpen() bool {
	return r.Mine && !r.Worklist() && r.State == string(reidentify.Ready)
}

// CanCancel reports whether who asked may take it back.
func (r *requestView) CanCancel() bool {
	return r.Mine && (r.State == string(reidentify.Ready) || r.State == string(reidentify.Pending))
}

// Overdue reports whether its review is.
func (r *requestView) Overdue() bool { return !r.ReviewDue.IsZero() && !r.Now.Before(r.ReviewDue) }

func (v *visit) viewOf(r *api.Reidentification) *requestView {
	p := &v.session.person
	return &requestView{Reidentification: r, Mine: r.Requester.Issuer == p.Issuer && r.Requester.Subject == p.Subject || r.Requester.UserID != "" && r.Requester.UserID == p.UserID, Now: v.arrived}
}

// listView is a list of requests.
type listView struct {
	Items []*requestView
	State string
	Next  string // the address of the next page; empty is none
	Empty string // what is said where there is none
}

// list reads a page of the requests that the person sees as what they say.
func (v *visit) list(as reidentify.View, state reidentify.State) (*listView, error) {
	query := v.r.URL.Query()
	if chosen := reidentify.State(query.Get("state")); state == "" && slices.Contains(reidentify.States(), chosen) {
		state = chosen
	}
	all := listView{State: string(state)}
	page, err := v.console.options.Reader.List(v.r.Context(), v.caller(""), as, state, query.Get("after"))
	if err != nil {
		return nil, err
	}
	for _, request := range page.Items {
		all.Items = append(all.Items, v.viewOf(request))
	}
	if page.Next != "" {
		query.Set("after", page.Next)
		all.Next = v.r.URL.Path + "?" + query.Encode()
	}
	return &all, nil
}

// newestFirst turns a list round: what is asked of a person is oldest first, what they have
// asked newest first.
func (l *listView) newestFirst() { slices.Reverse(l.Items) }

func (v *visit) myRequests() error {
	all, err := v.list(reidentify.AsRequester, "")
	if err != nil {
		return err
	}
	all.newestFirst()
	v.render(http.StatusOK, "requests", "Your requests", all)
	return nil
}

var idText = regexp.MustCompile(`^[0-9a-f]{32}$`)

// theRequest reads the request that an address names.
func (v *visit) theRequest() (*requestView, error) {
	id := v.r.PathValue("id")
	if !idText.MatchString(id) {
		return nil, api.Refuse(api.CodeNotFound, "", "")
	}
	r, err := v.console.options.Reader.Get(v.r.Context(), v.caller(""), id)
	if err != nil {
		return nil, err
	}
	return v.viewOf(r), nil
}

func (v *visit) request() error {
	r, err := v.theRequest()
	if err != nil {
		return err
	}
	title := "Request for " + r.Patients()
	switch {
	case r.BreakGlass:
		title = "Emergency request"
	case r.Worklist():
		title = "Worklist of " + r.Patients()
	}
	v.render(http.StatusOK, "request", title, r)
	return nil
}

// answerView is what was opened. It is shown by the answer to the form that opened it, and
// lies at no address.
type answerView struct {
	*api.OpenedItems
	Request *requestView
	Hidden  string // after how long it hides itself
}

// Named are how many patients are.
func (a *answerView) Named() (n int) {
	for i := range a.Items {
		if a.Items[i].Identity != nil {
			n++
		}
	}
	return n
}

// hidesAfter is after how long an answer hides itself; the style sheet has the same time.
const hidesAfter = 2 * time.Minute

// openRequest opens a request, or the practice's own part of a worklist, and shows what came
// of it.
func (v *visit) openRequest() error {
	r, err := v.theRequest()
	if err != nil {
		return err
	}
	opened, err := v.console.options.Asker.Open(v.r.Context(), v.caller(""), r.ID)
	if err != nil {
		return err
	}
	title := "Who the patient is"
	if len(opened.Items) != 1 {
		title = "Who the patients are"
	}
	v.render(http.StatusOK, "answer", title, &answerView{OpenedItems: opened, Request: r, Hidden: span(hidesAfter)})
	return nil
}

func (v *visit) cancelRequest() error {
	r, err := v.theRequest()
	if err != nil {
		return err
	}
	if _, err := v.console.options.Asker.Cancel(v.r.Context(), v.caller(""), r.ID); err != nil {
		return err
	}
	v.redirect(r.Path())
	return nil
}

// receipt is a file by which anybody can prove that the request is in the log.
func (v *visit) receipt() error {
	r, err := v.theRequest()
	if err != nil {
		return err
	}
	document, err := v.console.options.Reader.Receipt(v.r.Context(), v.caller(""), r.ID)
	if err != nil {
		return err
	}
	return v.file("receipt-"+itoa(int(r.Receipt.Index))+".json", "application/json", document)
}

// file gives the browser something to save.
func (v *visit) file(name, media string, content []byte) error {
	header := v.w.Header()
	header.Set("Content-Type", media)
	header.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	v.w.WriteHeader(http.StatusOK)
	_, _ = v.w.Write(content) // the browser has gone: nothing to tell it
	return nil
}

func (v *visit) worklists() error {
	all, err := v.list(reidentify.AsRecipient, "")
	if err != nil {
		return err
	}
	all.newestFirst()
	v.render(http.StatusOK, "worklists", "Worklists for "+v.session.person.Organisation, all)
	return nil
}
