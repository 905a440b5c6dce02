package requests

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/regions"
	"tarn/keys/reidentify"
	"tarn/keys/relationship"
)

// Ask takes a request, decides it, and writes both down. The request's id makes it: sent
// again it is the same, and what is another under that id is refused.
func (r *Requests) Ask(ctx context.Context, requestID string, draft reidentify.Draft) (*reidentify.Request, error) {
	person := &draft.Requester
	id := idOf(person, requestID)
	if before := r.get(id); before != nil {
		return same(before, &draft)
	}
	if r.limited(person, len(draft.Items)) {
		return nil, api.Refuse(api.CodeTooManyTries, "you have asked very often, or for very many patients", "wait a minute; after long lists wait an hour")
	}
	policy, _, _ := r.ring.Policy()
	project, there := r.ring.Reidentifiable(draft.Project)
	if policy == nil || !there {
		return nil, reidentify.Refuse(reidentify.RuleNoPolicy)
	}
	request, err := reidentify.New(draft, project.Domain, project.DomainNo, r.now(), r.options.Rand)
	if err != nil {
		return nil, err
	}
	request.ID = id
	facts := &reidentify.Facts{Now: request.Created, Policy: policy, Project: project.Project, Request: request, Alerts: r.options.Alerts}
	r.count(facts)
	asks, refused := reidentify.Before(facts)
	var answers []*regions.Answer
	if refused == nil && (asks.Relationship || project.Sealed) {
		if answers, err = r.askRegion(ctx, request, all(request), request.Organisation); err != nil {
			return nil, err
		}
	}
	var routes *regions.Routes
	if refused == nil && request.Route != "" {
		if routes, err = r.route(ctx, request, &project); err != nil {
			return nil, err
		}
	}
	if asks.Relationship {
		for _, a := range answers {
			facts.Related = append(facts.Related, related(a))
		}
	}
	r.name(request, answers)
	err = r.ring.Change(ctx, func(c *keyring.Change) error {
		if before := r.get(id); before != nil { // the same request, twice at once
			request, err = same(before, &draft)
			return err
		}
		r.count(facts)
		occasion := request.Occasion()
		r.mu.Lock() // looking moves the history's windows
		facts.Fired = policy.Fire(r.history, &occasion)
		_, facts.Capped = policy.BreakGlassCap(r.history, &occasion)
		r.mu.Unlock()
		request.Decision = reidentify.Decide(facts)
		request.State = request.Decision.Outcome
		request.Counted = request.State != reidentify.Refused
		request.Entry = requested(c, request, answers)
		decided(c, request, person, evidenceOf(answers, routes))
		r.put(c, request)
		if request.Counted {
			r.mu.Lock()
			r.history.Add(occasion)
			r.history.Forget(request.Created.Add(-historyWindow))
			r.mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.options.Meter.Reidentified(string(request.Purpose), string(request.State), string(request.Decision.Rule))
	return request, nil
}

// same returns a request that was made before under an id, where it is the one that is
// asked now.
func same(before *reidentify.Request, draft *reidentify.Draft) (*reidentify.Request, error) {
	if !before.Same(draft) {
		return nil, api.Refuse(api.CodeConflict, "a request of this id was made before, and was another", "give each request an id of its own")
	}
	return before, nil
}

// count puts into the facts what depends on other requests.
func (r *Requests) count(f *reidentify.Facts) {
	f.Waiting, f.Overdue = 0, false
	person := &f.Request.Requester
	r.each(func(other *reidentify.Request) {
		if other.ID == f.Request.ID || !other.Requester.Is(person) {
			return
		}
		if other.StateAt(f.Now) == reidentify.Pending {
			f.Waiting++
		}
		if due, wanted := other.ReviewDue(f.Policy); wanted && !f.Now.Before(due) {
			f.Overdue = true
		}
	})
}

// all are the places of all items.
func all(r *reidentify.Request) []int {
	places := make([]int, len(r.Items))
	for i := range places {
		places[i] = i
	}
	return places
}

// related reports whether a region has said that there is a relationship.
func related(a *regions.Answer) bool { return a != nil && a.Decision == relationship.Allow }

// askRegion asks the region of a request's domain about patients, some at once. An answer is
// at the place of its item; there is none for items without a token.
func (r *Requests) askRegion(ctx context.Context, request *reidentify.Request, places []int, organisation string) ([]*regions.Answer, error) {
	if r.options.Regions == nil {
		return nil, api.Refuse(api.CodeRegion, "no region answers for the project's domain", "the key holder's operators name it: [[relationships]] in keyholder.toml")
	}
	answers := make([]*regions.Answer, len(request.Items))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(regionsAtOnce)
	for _, i := range places {
		if request.Items[i].Token == "" {
			continue
		}
		token, err := keys.ParseToken(request.Items[i].Token)
		if err != nil {
			return nil, err
		}
		group.Go(func() (err error) {
			answers[i], err = r.options.Regions.Ask(ctx, request.Domain, token, organisation, request.Hash)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, r.region(err)
	}
	return answers, nil
}

// region turns what kept a region from answering into what is told: without its answer
// nothing is decided.
func (r *Requests) region(err error) error {
	r.options.Logger.Warn("a region did not answer", "error", err)
	return api.Refuse(api.CodeRegion, "it does not say whether your organisation has to do with the patient, and without its answer nothing is opened",
		"ask again in a minute; in danger to life use break-glass, or telephone the organisation that knows the patient")
}

// route finds who opens each patient of a worklist. Whose practice nobody knows is opened
// by nobody, and whoever asks is not told which.
func (r *Requests) route(ctx context.Context, request *reidentify.Request, project *keyring.Reidentifiable) (*regions.Routes, error) {
	if request.Route == reidentify.ToSource {
		for i := range request.Items {
			request.Items[i].Recipient = project.Organisations[request.Items[i].Reference.SourceDataset]
		}
		return nil, nil
	}
	if r.options.Regions == nil {
		return nil, api.Refuse(api.CodeRegion, "no region answers for the project's domain", "the key holder's operators name it: [[relationships]] in keyholder.toml")
	}
	tokens := make([]string, len(request.Items))
	for i := range request.Items {
		tokens[i] = request.Items[i].Token
	}
	routes, err := r.options.Regions.Route(ctx, request.Domain, tokens, request.Hash)
	if err != nil {
		return nil, r.region(err)
	}
	for i, organisation := range routes.Organisations {
		request.Items[i].Recipient = organisation
	}
	return routes, nil
}

// name gives each item its names in the log.
func (r *Requests) name(request *reidentify.Request, answers []*regions.Answer) {
	for i := range request.Items {
		item := &request.Items[i]
		token, err := keys.ParseToken(item.Token)
		if err != nil {
			continue // a reference
		}
		item.TokenH = r.ring.TokenH(token)
		if a := answerOf(answers, i); a != nil {
			item.Subject = r.ring.Subject(request.Project, token, a.Envelope)
		} else {
			item.Subject = r.ring.Subject(request.Project, token, nil)
		}
	}
}

// Work does what is to be done beside answering: openings that something has cut off are
// finished, and somebody is told of reviews that are overdue, once for each.
func (r *Requests) Work(ctx context.Context) error {
	if err := r.Recover(ctx); err != nil {
		return err
	}
	if err := r.erase(ctx); err != nil {
		return err
	}
	policy, _, _ := r.ring.Policy()
	if policy == nil {
		return nil
	}
	now := r.now()
	var overdue []string
	r.each(func(request *reidentify.Request) {
		if due, wanted := request.ReviewDue(policy); wanted && !now.Before(due) && !request.OverdueTold {
			overdue = append(overdue, request.ID)
		}
	})
	for _, id := range overdue {
		if err := r.tellOverdue(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// WorkEvery is how often Work is to be called.
const WorkEvery = time.Minute
