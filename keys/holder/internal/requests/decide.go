package requests

import (
	"context"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/reidentify"
)

// notFound is the answer for a request that there is not, and for one that a person has
// nothing to do with.
func notFound() error {
	return api.Refuse(api.CodeNotFound, "there is no request of this id that you have to do with", "list yours: GET /v1/reidentifications")
}

// changed applies f to a copy of a request that a person may see, and writes it. Where f
// refuses, or says that nothing is to be changed, nothing is.
func (r *Requests) changed(ctx context.Context, by *reidentify.Person, id string, f func(*keyring.Change, *reidentify.Policy, *reidentify.Request) (write bool, err error)) (*reidentify.Request, error) {
	var result *reidentify.Request
	err := r.ring.Change(ctx, func(c *keyring.Change) error {
		policy, _, _ := c.Policy() // the one that holds when it is written
		before := r.get(id)
		if before == nil || policy == nil || !sees(policy, before, by) {
			return notFound()
		}
		next := *before
		write, err := f(c, policy, &next)
		if err != nil {
			return err
		}
		result = before
		if write {
			result = &next
			r.put(c, &next)
		}
		return nil
	})
	return result, err
}

// Decide takes an approver's verdict.
func (r *Requests) Decide(ctx context.Context, by *reidentify.Person, id string, verdict reidentify.Verdict, hash, comment string) (*reidentify.Request, error) {
	if verdict != reidentify.Approve && verdict != reidentify.Reject {
		return nil, &reidentify.FormError{Pointer: "/decision", Wrong: "it is neither approve nor reject"}
	}
	if err := reidentify.CheckComment(comment); err != nil {
		return nil, &reidentify.FormError{Pointer: "/comment", Wrong: err.Error()}
	}
	if !reidentify.IsHash(hash) {
		return nil, &reidentify.FormError{Pointer: "/request_hash", Wrong: "it is no hash: 64 hexadecimal digits in small letters, as the request shows it"}
	}
	return r.changed(ctx, by, id, func(c *keyring.Change, policy *reidentify.Policy, request *reidentify.Request) (bool, error) {
		again, refused := request.Decides(policy, reidentify.Approval{By: *by, Verdict: verdict, Hash: hash, Comment: comment, At: c.Now()})
		if refused != nil {
			return false, refused
		}
		if again {
			return false, nil
		}
		leaf := leafOf(audit.KindApproval, request, by)
		leaf.Decision, leaf.Ref = audit.Approve, &request.Entry
		if verdict == reidentify.Reject {
			leaf.Decision = audit.Deny
		}
		c.Event(leaf)
		if request.State != reidentify.Pending {
			decided(c, request.Settled(), by, "")
			r.options.Meter.Reidentified(string(request.Purpose), string(request.State), string(request.Decision.Rule))
		}
		return true, nil
	})
}

// Cancel takes a request back.
func (r *Requests) Cancel(ctx context.Context, by *reidentify.Person, id string) (*reidentify.Request, error) {
	return r.changed(ctx, by, id, func(c *keyring.Change, _ *reidentify.Policy, request *reidentify.Request) (bool, error) {
		again, refused := request.Cancel(by, c.Now())
		if refused != nil {
			return false, refused
		}
		if again {
			return false, nil
		}
		leaf := leafOf(audit.KindReidRequest, request, by)
		leaf.Outcome, leaf.Ref = string(reidentify.Void), &request.Entry
		c.Event(leaf)
		return true, nil
	})
}

// Review takes what another person found of a break-glass.
func (r *Requests) Review(ctx context.Context, by *reidentify.Person, id string, outcome reidentify.ReviewOutcome, comment string) (*reidentify.Request, error) {
	if err := reidentify.CheckComment(comment); err != nil {
		return nil, &reidentify.FormError{Pointer: "/comment", Wrong: err.Error()}
	}
	if !outcome.Known() {
		return nil, &reidentify.FormError{Pointer: "/outcome", Wrong: "it is none of justified, not-justified and inconclusive"}
	}
	return r.changed(ctx, by, id, func(c *keyring.Change, policy *reidentify.Policy, request *reidentify.Request) (bool, error) {
		if refused := request.Reviews(policy, reidentify.Review{By: *by, Outcome: outcome, Comment: comment, At: c.Now()}); refused != nil {
			return false, refused
		}
		leaf := leafOf(audit.KindBreakGlassReview, request, by)
		leaf.Outcome, leaf.Ref = string(outcome), &request.Entry
		c.Event(about(leaf, &request.Items[0]))
		return true, nil
	})
}

// tellOverdue gives the alarm of a break-glass that nobody has reviewed in time.
func (r *Requests) tellOverdue(ctx context.Context, id string) error {
	return r.ring.Change(ctx, func(c *keyring.Change) error {
		before := r.get(id)
		if before == nil || before.OverdueTold || before.Review != nil {
			return nil
		}
		next := *before
		next.OverdueTold = true
		leaf := leafOf(audit.KindAlarm, &next, &next.Requester)
		leaf.Rule, leaf.Ref = audit.RuleReviewOverdue, &next.Entry
		c.Alarm(leaf)
		r.put(c, &next)
		return nil
	})
}
