package clinic

import (
	"context"
	"errors"
	"path/filepath"

	"tarn/bench/care"
	"tarn/bench/idp"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
)

// Past is what has happened before anybody looks: the ids of requests.
type Past struct {
	Opened     []string // of two doctors of practice A and one of B, in turn
	Waiting    string   // of the doctor of B, for a patient of A
	Rejected   string   // the same, and the approver has said no
	Refused    string   // of an approver, who may not ask
	BreakGlass string   // opened, and nobody has reviewed it
	Worklist   string   // to both practices, which have not opened it
}

// Populate fills the clinic with a past through the interface for programs, so that no list
// and no count is empty: so many requests that were opened, and one of each other kind.
// Patients are taken from the end of each practice's, and again where there are too few.
func (c *Clinic) Populate(ctx context.Context, opened int) (*Past, error) {
	w := &writer{Clinic: c, ctx: ctx, used: map[string]int{}}
	defer w.close()
	for i := range opened {
		user, practice := idp.GPOfA, idp.PracticeA
		switch i % 3 {
		case 1:
			user = idp.OtherGPOfA
		case 2:
			user, practice = idp.GPOfB, idp.PracticeB
		}
		w.past.Opened = append(w.past.Opened, w.open(user, w.ask(user, idp.AAL2, api.ReidentificationRequest{Purpose: "TREAT", Organisation: practice, Items: w.items(practice)})))
	}
	elsewhere := api.ReidentificationRequest{Purpose: "TREAT", Organisation: idp.PracticeB}
	elsewhere.Items = w.items(idp.PracticeA)
	w.past.Waiting = w.ask(idp.GPOfB, idp.AAL2, elsewhere)
	elsewhere.Items = w.items(idp.PracticeA)
	w.past.Rejected = w.reject(w.ask(idp.GPOfB, idp.AAL2, elsewhere))
	w.past.BreakGlass = w.open(idp.Emergency, w.ask(idp.Emergency, idp.AAL3, api.ReidentificationRequest{Purpose: "ETREAT", BreakGlass: true, Organisation: idp.Trust, Items: w.items("")}))
	w.past.Worklist = w.send()
	w.past.Refused = w.ask(idp.Approver, idp.AAL2, api.ReidentificationRequest{Purpose: "TREAT", Organisation: idp.ICB, Items: w.items(idp.PracticeA)})
	return &w.past, w.err
}

// writer writes a past, until something is not as it has to be.
type writer struct {
	*Clinic
	ctx    context.Context
	people map[string]*client.Person
	used   map[string]int
	past   Past
	err    error
}

// as is somebody who has signed in.
func (w *writer) as(user, acr string) *client.Person {
	if p := w.people[user+acr]; p != nil || w.err != nil {
		return p
	}
	token, err := w.Provider.Vouch(user, acr)
	if err != nil {
		w.err = err
		return nil
	}
	path := filepath.Join(w.Folder, "past-"+user+acr+".jwt")
	if w.err = keys.WriteFile(path, []byte(token)); w.err != nil {
		return nil
	}
	p, err := client.SignedIn(w.Console, w.Authority, path, w.Clock)
	if w.err = err; err != nil {
		return nil
	}
	if w.people == nil {
		w.people = map[string]*client.Person{}
	}
	w.people[user+acr] = p
	return p
}

func (w *writer) close() {
	for _, p := range w.people {
		p.Close()
	}
}

// items is the next patient of a practice.
func (w *writer) items(practice string) []api.ReidentificationItem {
	all := w.Of(practice)
	if len(all) == 0 {
		w.err = errors.Join(w.err, fault.New(fault.Usage, "writing a past", "there are too few patients", "give the clinic three at least"))
		return nil
	}
	one := all[len(all)-1-w.used[practice]%len(all)]
	w.used[practice]++
	return []api.ReidentificationItem{{Row: 1, Token: one.Token}}
}

func because() api.Reason {
	return api.Reason{Code: "care", Text: "Called back about a blood result."}
}

func (w *writer) ask(user, acr string, r api.ReidentificationRequest) (id string) {
	r.Project, r.Reason = care.Project, because()
	if p := w.as(user, acr); w.err == nil {
		made, err := p.Reidentify(w.ctx, care.NewID(), &r)
		if w.err = err; err == nil {
			return made.ID
		}
	}
	return ""
}

// open opens a request, as somebody who has asked; in an emergency with the same sign-in.
func (w *writer) open(user, id string) string {
	acr := idp.AAL2
	if user == idp.Emergency {
		acr = idp.AAL3
	}
	if p := w.as(user, acr); w.err == nil {
		_, w.err = p.Open(w.ctx, id)
	}
	return id
}

func (w *writer) reject(id string) string {
	p := w.as(idp.Approver, idp.AAL2)
	if w.err != nil {
		return id
	}
	asked, err := p.Reidentification(w.ctx, id)
	if w.err = err; err == nil {
		_, w.err = p.Decide(w.ctx, id, api.ApprovalGiven{Decision: "reject", RequestHash: asked.RequestHash, Comment: "Ask their own practice."})
	}
	return id
}

func (w *writer) send() (id string) {
	var all []api.ReidentificationItem
	for i, practice := range []string{idp.PracticeA, idp.PracticeB} {
		for _, item := range w.items(practice) {
			item.Row = i + 1
			all = append(all, item)
		}
	}
	if p := w.as(idp.Analyst, idp.AAL2); w.err == nil {
		made, err := p.Worklist(w.ctx, care.NewID(), &api.WorklistRequest{
			Project: care.Project, Purpose: "CAREMGT", Organisation: idp.ICB, Reason: api.Reason{Code: "invitation", Text: "Frail, and not reviewed for a year."}, Items: all, Route: "registered_practice",
		})
		if w.err = err; err == nil {
			return made.ID
		}
	}
	return ""
}
