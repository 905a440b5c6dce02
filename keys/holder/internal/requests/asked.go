package requests

import "tarn/keys/reidentify"

// asked are the ids of requests by who asked: by each name that a person has, so that a
// decision costs as much however many requests others have made.
type asked map[string]map[string]bool

// namesOf are what a person is found by: an account, and the user id that all of a
// person's accounts share.
func namesOf(p *reidentify.Person) []string {
	names := []string{"account " + p.Issuer + " " + p.Subject}
	if p.UserID != "" {
		names = append(names, "user "+p.UserID)
	}
	return names
}

func (a asked) add(r *reidentify.Request) {
	for _, name := range namesOf(&r.Requester) {
		if a[name] == nil {
			a[name] = map[string]bool{}
		}
		a[name][r.ID] = true
	}
}

func (a asked) remove(r *reidentify.Request) {
	for _, name := range namesOf(&r.Requester) {
		if delete(a[name], r.ID); len(a[name]) == 0 {
			delete(a, name)
		}
	}
}

// by returns the ids of what a person has asked, from whichever account, each once.
func (a asked) by(p *reidentify.Person) map[string]bool {
	ids := map[string]bool{}
	for _, name := range namesOf(p) {
		for id := range a[name] {
			ids[id] = true
		}
	}
	return ids
}

// eachOf gives every request of one person, once, in no order.
func (r *Requests) eachOf(p *reidentify.Person, f func(*reidentify.Request)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for id := range r.asked.by(p) {
		f(r.all[id])
	}
}
