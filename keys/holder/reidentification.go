package holder

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/audit/receipt"
	"tarn/keys/holder/internal/requests"
	"tarn/keys/nhsnumber"
	"tarn/keys/reidentify"
)

// shown is a person as others see them.
func shown(p *reidentify.Person) api.PersonShown {
	return api.PersonShown{Issuer: p.Issuer, Subject: p.Subject, UserID: p.UserID, Organisation: p.Organisation, Role: p.Role}
}

// draft is a request of the caller's, as the rules take it.
func (c *call) draft(project, purpose, organisation string, reason api.Reason, items []api.ReidentificationItem) reidentify.Draft {
	d := reidentify.Draft{
		Requester: c.person, Project: project, Organisation: organisation, Purpose: reidentify.Purpose(purpose),
		Reason: reidentify.Reason{Code: reason.Code, Text: reason.Text}, Items: make([]reidentify.Item, len(items)),
	}
	for i, item := range items {
		d.Items[i] = reidentify.Item{Row: item.Row, Token: item.Token}
		if item.Reference != nil {
			d.Items[i].Reference = &reidentify.Reference{SourceDataset: item.Reference.SourceDataset, UniqueID: item.Reference.UniqueID}
		}
	}
	return d
}

func createReidentification(ctx context.Context, c *call) (int, any, error) {
	body, err := decode[api.ReidentificationRequest](c)
	if err != nil {
		return 0, nil, err
	}
	return created(c.reidentify(ctx, body))
}

func createWorklist(ctx context.Context, c *call) (int, any, error) {
	body, err := decode[api.WorklistRequest](c)
	if err != nil {
		return 0, nil, err
	}
	return created(c.worklist(ctx, body))
}

// created answers with what was made, or with why it was not.
func created[T any](document T, err error) (int, any, error) {
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, document, nil
}

// What follows is what the methods of people do. The console calls the same.

func (c *call) reidentify(ctx context.Context, body *api.ReidentificationRequest) (*api.Reidentification, error) {
	d := c.draft(body.Project, body.Purpose, body.Organisation, body.Reason, body.Items)
	d.BreakGlass = body.BreakGlass
	return c.seen(c.desk.Ask(ctx, c.id, d))
}

func (c *call) worklist(ctx context.Context, body *api.WorklistRequest) (*api.Reidentification, error) {
	d := c.draft(body.Project, body.Purpose, body.Organisation, body.Reason, body.Items)
	if d.Route = reidentify.Route(body.Route); d.Route == "" {
		return nil, &reidentify.FormError{Pointer: "/route", Wrong: "it is missing: registered_practice or source_organisation"}
	}
	return c.seen(c.desk.Ask(ctx, c.id, d))
}

// seen returns a request as the caller sees it, or why there is none.
func (c *call) seen(request *reidentify.Request, err error) (*api.Reidentification, error) {
	if err != nil {
		return nil, err
	}
	return c.document(request), nil
}

// document is a request as the caller sees it.
func (c *call) document(r *reidentify.Request) *api.Reidentification {
	policy, _, _ := c.ring.Policy()
	now := c.holder.options.Clock().UTC()
	d := &api.Reidentification{
		ID: r.ID, State: string(r.StateFor(&c.person, now)), Decision: decision(r), RequestHash: r.Hash, Created: r.Created, Expires: r.Expires, Requester: shown(&r.Requester),
		Project: r.Project, Purpose: string(r.Purpose), Organisation: r.Organisation, BreakGlass: r.BreakGlass, Route: string(r.Route), Rows: []int{},
		Approvals: api.Approvals{Needed: r.Decision.Needed, Have: r.Have()}, Receipt: api.EntryNamed{Index: r.Entry},
	}
	whole := r.Requester.Is(&c.person)
	for _, as := range []reidentify.View{reidentify.AsApprover, reidentify.AsReviewer, reidentify.AsGuardian} {
		whole = whole || policy != nil && r.SeenAs(policy, &c.person, as)
	}
	if whole {
		d.Reason = &api.Reason{Code: r.Reason.Code, Text: r.Reason.Text}
		for i := range r.Approvals {
			a := &r.Approvals[i]
			d.Approvals.Given = append(d.Approvals.Given, api.ReidentificationApproval{By: shown(&a.By), Decision: string(a.Verdict), Comment: a.Comment, Time: a.At})
		}
		if v := r.Review; v != nil {
			d.Review = &api.ReviewShown{By: shown(&v.By), Outcome: string(v.Outcome), Comment: v.Comment, Time: v.At}
		}
	}
	for i := range r.Items {
		if whole || r.Items[i].Recipient == c.person.Organisation {
			d.Rows = append(d.Rows, r.Items[i].Row)
		}
	}
	if policy != nil {
		d.ReviewDue, _ = r.ReviewDue(policy)
	}
	return d
}

// decision is what was decided, in words.
func decision(r *reidentify.Request) api.ReidentificationDecision {
	d := &r.Decision
	refusal := d.Refusal()
	shown := api.ReidentificationDecision{Outcome: string(d.Outcome), Rule: string(d.Rule), Limit: d.Limit, Why: refusal.Why(), Who: refusal.Who(), Next: d.Next(), Rows: d.Rows}
	for _, fired := range d.Fired {
		shown.Warnings = append(shown.Warnings, api.LimitFired{Rule: fired.Rule, Text: reidentify.LimitText(fired.Rule), Action: string(fired.Action), Simulated: fired.Simulated})
	}
	return shown
}

func listReidentifications(_ context.Context, c *call) (int, any, error) {
	as, there, err := c.query("as")
	if err != nil {
		return 0, nil, err
	}
	if !there {
		as = string(reidentify.AsRequester)
	}
	state, there, err := c.query("state")
	if err != nil {
		return 0, nil, err
	}
	if there && !slices.Contains(reidentify.States(), reidentify.State(state)) {
		return 0, nil, api.Refuse(api.CodeMalformed, "state is not one that a request can have", "see /v1/openapi.json, or leave it out for all")
	}
	after, there, err := c.query("after")
	if err != nil {
		return 0, nil, err
	}
	if there && after == "" {
		return 0, nil, notInList()
	}
	return found(c.list(reidentify.View(as), reidentify.State(state), after))
}

func notInList() error {
	return api.Refuse(api.CodeMalformed, "after is no request of this list", "give what next said, or leave it out")
}

// list is a page of the requests that the caller sees as what they say, in a state or in
// any, after one of them or from the first.
func (c *call) list(as reidentify.View, state reidentify.State, after string) (*api.List[*api.Reidentification], error) {
	if !slices.Contains(reidentify.Views(), as) {
		return nil, api.Refuse(api.CodeMalformed, "as is none of requester, approver, recipient, reviewer and guardian", "")
	}
	all := c.desk.List(&c.person, as, state)
	if after != "" {
		// Where it stood counts, not whether it is still in the list: it may have another state
		// by now.
		last, err := c.desk.Get(&c.person, after)
		if err != nil {
			return nil, notInList()
		}
		all = slices.DeleteFunc(all, func(r *reidentify.Request) bool { return !r.After(last) })
	}
	page := &api.List[*api.Reidentification]{Items: []*api.Reidentification{}}
	for _, request := range all[:min(len(all), requestPage)] {
		page.Items = append(page.Items, c.document(request))
	}
	if len(all) > requestPage {
		page.Next = all[requestPage-1].ID
	}
	return page, nil
}

// requestPage is how many requests one answer holds.
const requestPage = 200

func getReidentification(_ context.Context, c *call) (int, any, error) {
	return found(c.seen(c.desk.Get(&c.person, c.request.PathValue("request"))))
}

func cancelReidentification(ctx context.Context, c *call) (int, any, error) {
	return found(c.cancel(ctx, c.request.PathValue("request")))
}

func (c *call) cancel(ctx context.Context, id string) (*api.Reidentification, error) {
	return c.seen(c.desk.Cancel(ctx, &c.person, id))
}

func approveReidentification(ctx context.Context, c *call) (int, any, error) {
	given, err := decode[api.ApprovalGiven](c)
	if err != nil {
		return 0, nil, err
	}
	return found(c.decide(ctx, c.request.PathValue("request"), given))
}

func (c *call) decide(ctx context.Context, id string, given *api.ApprovalGiven) (*api.Reidentification, error) {
	return c.seen(c.desk.Decide(ctx, &c.person, id, reidentify.Verdict(given.Decision), given.RequestHash, given.Comment))
}

func reviewReidentification(ctx context.Context, c *call) (int, any, error) {
	given, err := decode[api.ReviewGiven](c)
	if err != nil {
		return 0, nil, err
	}
	return found(c.review(ctx, c.request.PathValue("request"), given))
}

func (c *call) review(ctx context.Context, id string, given *api.ReviewGiven) (*api.Reidentification, error) {
	return c.seen(c.desk.Review(ctx, &c.person, id, reidentify.ReviewOutcome(given.Outcome), given.Comment))
}

func reidentificationReceipt(ctx context.Context, c *call) (int, any, error) {
	return found(c.receiptOf(ctx, c.request.PathValue("request")))
}

// receiptOf proves that a request is in the log.
func (c *call) receiptOf(ctx context.Context, id string) (*receipt.Receipt, error) {
	request, err := c.desk.Get(&c.person, id)
	if err != nil {
		return nil, err
	}
	proof, err := c.receipt(ctx, request.Entry)
	if err != nil {
		return nil, err
	}
	// After a restore the log is another, and has another entry there, of somebody else.
	if leaf, wrong := audit.Decode(proof.Leaf); wrong != nil || leaf.Request != request.Hash {
		return nil, api.Refuse(api.CodeNotFound, "the request is in the log of before the key holder was restored", "ask those who keep that log")
	}
	return proof, nil
}

func openReidentification(ctx context.Context, c *call) (int, any, error) {
	return found(c.open(ctx, c.request.PathValue("request")))
}

// open opens a request, or the caller's own part of a worklist. Identities leave the
// process by what it returns, and by nothing else.
func (c *call) open(ctx context.Context, id string) (*api.OpenedItems, error) {
	arrived, leave := c.desk.Arrive(id, c.arrived)
	c.after = leave
	opened, err := c.desk.Open(ctx, &c.person, id, arrived)
	if err != nil {
		return nil, err
	}
	defer opened.Forget()
	document := &api.OpenedItems{Items: []api.OpenedItem{}, Advice: api.Advice, Unwitnessed: opened.Unwitnessed}
	receipts, cancel := context.WithTimeout(context.WithoutCancel(ctx), receiptOfOpening)
	defer cancel()
	if r, err := c.desk.Receipt(receipts, opened.Entry); err == nil {
		document.Receipt = r // without one the answer is whole: it can be had later
	}
	for i := range opened.Items {
		document.Items = append(document.Items, released(&opened.Items[i]))
	}
	return document, nil
}

// receiptOfOpening is how long an answer waits for its receipt: the witness has signed
// already.
const receiptOfOpening = time.Second

// released is one patient as the answer names them.
func released(o *requests.OpenedItem) api.OpenedItem {
	item := api.OpenedItem{Row: o.Item.Row, State: api.ItemNotAvailable}
	if r := o.Item.Reference; r != nil {
		item.State, item.Reference = api.ItemReference, &api.Reference{SourceDataset: r.SourceDataset, UniqueID: r.UniqueID}
		return item
	}
	if o.Identity == nil {
		return item
	}
	o.Identity.Identity.Release(func(number *nhsnumber.Number) {
		item.State = api.ItemOpened
		item.Identity = &api.Identity{NHSNumber: string(number[:]), ConfirmOn: "PDS"}
		if opening, proven := o.Identity.Opening(); proven {
			item.Identity.Point, item.Identity.Proof = opening.Point[:], opening.Proof[:]
		}
	})
	return item
}

func whoAsked(ctx context.Context, c *call) (int, any, error) {
	given, err := decode[api.WhoAskedRequest](c)
	if err != nil {
		return 0, nil, err
	}
	return found(c.whoAsked(ctx, given))
}

func (c *call) whoAsked(ctx context.Context, given *api.WhoAskedRequest) (*api.WhoAsked, error) {
	return c.desk.WhoAsked(ctx, &c.person, given.Project, given.Token)
}

// receipt proves that an entry is in the log.
func (c *call) receipt(ctx context.Context, index uint64) (*receipt.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, receiptTime)
	defer cancel()
	r, err := c.holder.receipt(ctx, index)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, api.Refuse(api.CodeBusy, "no checkpoint that the witness has signed covers the event yet", "ask again in a while; if that does not help, see that the witness runs")
	}
	return r, err
}

func getPolicy(_ context.Context, c *call) (int, any, error) {
	policy, document, set := c.ring.Policy()
	if policy == nil {
		return 0, nil, api.Refuse(api.CodeNotFound, "no policy was set: nobody re-identifies anybody", "set one: keyholder policy set")
	}
	return http.StatusOK, api.Policy{Document: document, Digest: policy.Digest(), Set: set}, nil
}

// simulatePolicy holds past requests to a policy that is not set.
func simulatePolicy(_ context.Context, c *call) (int, any, error) {
	given, err := decode[api.PolicySet](c)
	if err != nil {
		return 0, nil, err
	}
	policy, err := reidentify.ParsePolicy([]byte(given.Document))
	if err != nil {
		return 0, nil, api.Refuse(api.CodeMalformed, "the policy: "+err.Error(), "correct it: keyholder policy check")
	}
	simulation := c.desk.Simulate(policy)
	simulation.Software, simulation.Created = c.holder.options.Software, c.holder.options.Clock().UTC().Format(time.RFC3339)
	return http.StatusOK, simulation, nil
}
