package requests

import (
	"slices"
	"strings"

	"tarn/keys/reidentify"
	"tarn/keys/reidentify/oversight"
)

// everything returns all requests, in no order. Requests are never changed in place.
func (r *Requests) everything() []*reidentify.Request {
	all := []*reidentify.Request{}
	r.each(func(request *reidentify.Request) { all = append(all, request) })
	return all
}

// policyOrNone is the policy that is set, or one by which nobody may anything.
func (r *Requests) policyOrNone() *reidentify.Policy {
	if policy, _, _ := r.ring.Policy(); policy != nil {
		return policy
	}
	return &reidentify.Policy{}
}

// Standings is where a person stands, and their organisation.
func (r *Requests) Standings(by *reidentify.Person) (own, organisation []oversight.Standing) {
	policy, all, now := r.policyOrNone(), r.everything(), r.now()
	return oversight.Standings(policy, all, oversight.Subject{Person: by}, now), oversight.Standings(policy, all, oversight.Subject{Organisation: by.Organisation}, now)
}

// Overview is where everybody stands, for a guardian.
func (r *Requests) Overview(by *reidentify.Person) (*oversight.Overview, error) {
	if err := r.Guards(by); err != nil {
		return nil, err
	}
	o := oversight.Everybody(r.policyOrNone(), r.everything(), r.now())
	return &o, nil
}

// Report is a month of an organisation, for a guardian.
func (r *Requests) Report(by *reidentify.Person, organisation string, month oversight.CalendarMonth) (*oversight.Report, error) {
	if err := r.Guards(by); err != nil {
		return nil, err
	}
	report := oversight.Month(r.policyOrNone(), r.everything(), organisation, month)
	return &report, nil
}

// Organisations are those whose people have asked, or get worklists, for a guardian to
// choose from.
func (r *Requests) Organisations(by *reidentify.Person) ([]string, error) {
	if err := r.Guards(by); err != nil {
		return nil, err
	}
	all := []string{}
	r.each(func(request *reidentify.Request) {
		all = append(all, request.Organisation)
		for i := range request.Items {
			if to := request.Items[i].Recipient; to != "" {
				all = append(all, to)
			}
		}
	})
	slices.SortFunc(all, strings.Compare)
	return slices.Compact(all), nil
}

// Counts are how often somebody was named, for the public.
func (r *Requests) Counts() []oversight.ProjectCount {
	return oversight.Register(r.everything(), r.now())
}
