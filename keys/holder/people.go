package holder

import (
	"context"
	"errors"
	"net/http"
	"time"

	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/regions"
	"tarn/keys/holder/internal/requests"
	"tarn/keys/reidentify"
	"tarn/keys/signin"
)

// SignIn says whose bearer token a request carries; see package signin.
type SignIn interface {
	// Verify returns who has signed in. Its errors are told, and hold nothing of the token.
	Verify(ctx context.Context, bearer string) (reidentify.Person, error)
}

// Region is who answers for a domain's tokens.
type Region = regions.Region

// floor is the time before which no answer of some methods leaves.
const floor = 300 * time.Millisecond

// wait waits until it is time for an answer.
func (c *call) wait() {
	left := floor - c.holder.options.Clock().Sub(c.arrived)
	if left <= 0 || left > floor {
		return
	}
	time.Sleep(left)
}

// signIn finds out who has signed in.
func (c *call) signIn(ctx context.Context) error {
	if c.holder.options.SignIn == nil {
		return api.Refuse(api.CodeSignIn, "this key holder has nowhere to sign in", "its operators say where: [oidc] in keyholder.toml")
	}
	bearer, err := signin.Bearer(c.request.Header)
	if err != nil {
		return api.Refuse(api.CodeSignIn, err.Error(), "sign in, and send the token that you got")
	}
	person, err := c.holder.options.SignIn.Verify(ctx, bearer)
	switch {
	case fault.KindOf(err) == fault.Unavailable:
		return api.Refuse(api.CodeBusy, err.Error(), "ask again in a minute; the key holder's operators see to it")
	case ctx.Err() != nil:
		return ctx.Err() // it says nothing of the token
	case err != nil:
		refused := api.Refuse(api.CodeSignIn, err.Error(), "sign in again")
		var why *signin.Error
		if errors.As(err, &why) {
			refused.Rule = string(why.Reason) // for the log
		}
		return refused
	}
	c.person = person
	c.caller = callerOf(&person)
	return nil
}

// requests returns the requests for re-identification; nil while sealed.
func (h *Holder) requests() *requests.Requests {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.desk
}

// openRequests reads the requests, and writes down what an end of the process has cut off,
// before anything is answered.
func (h *Holder) openRequests(ctx context.Context, v *vault, ring *keyring.Keyring, l *transparency) (*requests.Requests, error) {
	if err := h.options.checkPolicy(ring); err != nil {
		return nil, err
	}
	o := requests.Options{
		Log: &provingLog{l}, Meter: h.options.Meter, Clock: h.options.Clock, Rand: h.options.Rand, Logger: h.options.Logger, Keep: h.options.KeepRequests,
		Alerts: h.alerts.spool != nil, Reached: h.options.Reached,
	}
	if h.regions != nil {
		o.Regions = h.regions
	}
	desk, err := requests.Open(v.Each, ring, o)
	if err != nil {
		return nil, err
	}
	return desk, desk.Recover(ctx)
}

// reidentificationRefusal turns what the rules refuse into what is told; nil where it is
// something else.
func reidentificationRefusal(err error) *api.Error {
	var form *reidentify.FormError
	if errors.As(err, &form) {
		e := api.Refuse(api.CodeMalformed, form.Error(), "correct it; see /v1/openapi.json")
		e.Errors = []api.ProblemError{{Pointer: form.Pointer, Code: api.CodeMalformed}}
		return e
	}
	var refused *reidentify.Refusal
	if !errors.As(err, &refused) {
		return nil
	}
	code := api.CodeReidentification
	switch refused.Rule {
	case reidentify.RuleGone:
		code = api.CodeGone
	case reidentify.RuleSelfApproval:
		code = api.CodeApproverIsAsker
	case reidentify.RuleHashDiffers:
		code = api.CodeHashDiffers
	case reidentify.RuleState, reidentify.RuleDecidedAlready, reidentify.RuleAcknowledged, reidentify.RuleNeedsApproval:
		code = api.CodeConflict
	}
	e := api.Refuse(code, refused.Why(), refused.Next())
	e.Rule, e.Who = string(refused.Rule), refused.Who()
	if refused.Limit != "" {
		e.Rule += "/" + refused.Limit
	}
	return e
}

func me(_ context.Context, c *call) (int, any, error) {
	return http.StatusOK, shown(&c.person), nil
}

// Pending is how many requests for re-identification wait for approval; 0 while sealed.
func (h *Holder) Pending() int {
	if desk := h.requests(); desk != nil {
		return desk.Pending()
	}
	return 0
}

// Unreviewed is how many times break-glass was used and nobody has reviewed it; 0 while
// sealed.
func (h *Holder) Unreviewed() int {
	if desk := h.requests(); desk != nil {
		return desk.Unreviewed()
	}
	return 0
}

// checkPolicy holds the policy that is set to the copy on this machine: what its operators
// believe to be the policy is.
func (o *Options) checkPolicy(ring *keyring.Keyring) error {
	const doing = "comparing the policy that is set with [policy]"
	policy, _, _ := ring.Policy()
	switch {
	case policy == nil:
		return nil // nobody re-identifies anybody
	case o.PolicyDigest != "" && policy.Digest() != o.PolicyDigest:
		return fault.New(fault.Disagreement, doing, "file has SHA-256 "+o.PolicyDigest+", the policy that is set "+policy.Digest(),
			"put the policy that is set in its place (keyholder policy show), or leave file out and set the other: keyholder policy set")
	case o.PolicyMode != "" && policy.Mode != o.PolicyMode:
		return fault.New(fault.Disagreement, doing, "mode is "+string(o.PolicyMode)+", that of the policy that is set "+string(policy.Mode),
			"correct mode, or set another policy: keyholder policy set")
	}
	return nil
}

// LookAfterRequests does what is to be done with requests for re-identification beside
// answering. Work calls it each minute.
func (h *Holder) LookAfterRequests(ctx context.Context) error {
	if desk := h.requests(); desk != nil {
		return desk.Work(ctx)
	}
	return nil
}
