package requests

import (
	"context"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/escrow"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/reidentify"
)

// sees reports whether a request is one that a person has to do with.
func sees(p *reidentify.Policy, r *reidentify.Request, by *reidentify.Person) bool {
	for _, as := range reidentify.Views() {
		if r.SeenAs(p, by, as) {
			return true
		}
	}
	return false
}

// Get returns a request that a person has to do with, and as what.
func (r *Requests) Get(by *reidentify.Person, id string) (*reidentify.Request, error) {
	policy, _, _ := r.ring.Policy()
	request := r.get(id)
	if request == nil || policy == nil || !sees(policy, request, by) {
		return nil, notFound()
	}
	return request, nil
}

// List returns the requests that a person sees as what they say, in a state or in any,
// oldest first.
func (r *Requests) List(by *reidentify.Person, as reidentify.View, state reidentify.State) []*reidentify.Request {
	policy, _, _ := r.ring.Policy()
	found := []*reidentify.Request{}
	if policy == nil {
		return found
	}
	now := r.now()
	each := r.each
	if as == reidentify.AsRequester {
		each = func(f func(*reidentify.Request)) { r.eachOf(by, f) }
	}
	each(func(request *reidentify.Request) {
		if request.SeenAs(policy, by, as) && (state == "" || request.StateFor(by, now) == state) {
			found = append(found, request)
		}
	})
	sortRequests(found)
	return found
}

// WhoAsked searches the log for who has asked about a patient, for a guardian, and writes
// down that they have.
func (r *Requests) WhoAsked(ctx context.Context, by *reidentify.Person, projectName, text string) (*api.WhoAsked, error) {
	policy, _, _ := r.ring.Policy()
	project, there := r.ring.Reidentifiable(projectName)
	if policy == nil || !policy.IsGuardian(by) {
		return nil, reidentify.Refuse(reidentify.RuleNotGuardian)
	}
	token, err := keys.ParseToken(text)
	if err != nil {
		return nil, &reidentify.FormError{Pointer: "/token", Wrong: keys.ExplainToken(text).Error()}
	}
	if !there || token.DomainNo != project.DomainNo {
		return nil, &reidentify.FormError{Pointer: "/token", Wrong: "it is not a token of the project's domain"}
	}
	var envelope *escrow.Envelope
	tokenH := r.ring.TokenH(token)
	if project.Sealed {
		if r.options.Regions == nil {
			return nil, api.Refuse(api.CodeRegion, "no region answers for the project's domain", "the key holder's operators name it: [[relationships]] in keyholder.toml")
		}
		// The question is bound to what is asked here: nothing is opened of its answer.
		answer, err := r.options.Regions.Ask(ctx, project.Domain, token, by.Organisation, whoAskedHash(by, tokenH))
		if err != nil {
			return nil, r.region(err)
		}
		envelope = answer.Envelope
	}
	subject := r.ring.Subject(projectName, token, envelope)
	err = r.ring.Change(ctx, func(c *keyring.Change) error {
		c.Event(audit.Leaf{Kind: audit.KindWhoAsked, Actor: actorOf(by), Project: projectName, Domain: project.Domain, TokenEpoch: uint32(token.TokenEpoch), TokenH: tokenH, SubjectH: subject})
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := &api.WhoAsked{Items: []api.Event{}}
	found.Searched, err = r.options.Log.Search(ctx, subject, func(index uint64, leaf []byte) {
		found.Items = append(found.Items, api.Event{Index: index, Leaf: leaf})
	})
	return found, err
}

// Receipt proves an entry of the log, as a document.
func (r *Requests) Receipt(ctx context.Context, index uint64) ([]byte, error) {
	return r.options.Log.Receipt(ctx, index)
}

// Simulate says which limits of a policy the requests of the last month would have been
// beyond.
func (r *Requests) Simulate(policy *reidentify.Policy) *reidentify.Simulation {
	occasions, since := []reidentify.Occasion{}, r.now().Add(-reidentify.Remembered)
	r.each(func(request *reidentify.Request) {
		if request.Counted && request.Created.After(since) {
			occasions = append(occasions, request.Occasion())
		}
	})
	return reidentify.Replay(policy, occasions)
}
