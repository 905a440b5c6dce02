package requests

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/escrow"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/regions"
	"tarn/keys/reidentify"
)

// Opened is what came of opening a request, until it is released.
type Opened struct {
	Request *reidentify.Request
	Items   []OpenedItem
	// Entry is the index of the first entry that the opening has written: the intent of its
	// first item, or that it is denied.
	Entry       uint64
	Unwitnessed bool
}

// OpenedItem is one patient. Identity is nil where nobody is named.
type OpenedItem struct {
	Item     reidentify.Item
	Identity *keyring.Opened
}

// Forget clears every identity that was not released.
func (o *Opened) Forget() {
	for _, item := range o.Items {
		if item.Identity != nil {
			item.Identity.Forget()
		}
	}
}

// Open opens a request: once. The steps are those of the design, in its order: the region
// is asked anew, what allows the opening is used up and the intent is in the log, its
// witness signs, the identity is opened, what came of it is in the log, and then it is
// returned. Whatever goes wrong before, nothing is.
//
// To the session that has opened a request it is shown again, twice at most and for five
// minutes. arrived is when the caller came: who came before the first was done is one of
// two at once, and gets nothing.
func (r *Requests) Open(ctx context.Context, by *reidentify.Person, id string, arrived time.Time) (*Opened, error) {
	policy, _, _ := r.ring.Policy()
	request := r.get(id)
	if request == nil || policy == nil || !sees(policy, request, by) {
		return nil, notFound()
	}
	if o := r.unopenedOf(openingKey{id, by.Organisation}); o != nil && o.By.Is(by) {
		if err := r.giveBack(ctx, id, o, api.CodeLogUnavailable); err != nil {
			return nil, err // the log cannot be written yet
		}
		request = r.get(id)
	}
	places, shown, refused := request.Opens(by, arrived, r.now())
	if refused != nil {
		return nil, refused
	}
	if refused := r.stillMay(r.ring, request, by); refused != nil {
		return nil, refused
	}
	answers, err := r.answersFor(ctx, request, by, places)
	if err != nil {
		return nil, err
	}
	r.options.Reached(StepAsked)
	if shown != nil {
		return r.redeliver(ctx, by, id, arrived, answers)
	}
	// From here on it is written down what comes of it, whether or not the caller waits.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishingTime)
	defer cancel()
	opening, entries, err := r.begin(ctx, by, id, arrived, answers)
	if err != nil {
		return nil, err
	}
	key := openingKey{id, by.Organisation}
	defer r.ended(key)
	r.options.Reached(StepConsumed)
	if err := r.witnessed(ctx, by, id, opening, entries.last+1); err != nil {
		return nil, err
	}
	r.options.Reached(StepWitnessed)
	opened := r.openItems(request, opening, answers)
	opened.Entry = entries.first
	r.options.Reached(StepOpened)
	if err := r.finish(ctx, id, by, opening, opened); err != nil {
		opened.Forget()
		return nil, err
	}
	r.options.Reached(StepWritten)
	return opened, nil
}

// rules are what says who may ask: the keyring, or a change of it, within its lock.
type rules interface {
	Policy() (policy *reidentify.Policy, document string, set time.Time)
	Reidentifiable(project string) (r keyring.Reidentifiable, there bool)
}

// Arrive takes note of a caller who opens a request, until leave is called when they have
// their answer, and returns as when they count for [Requests.Open]: whoever comes while
// another is there is one of several at once, however long the machine took to look at
// them, and counts as having come with the first.
func (r *Requests) Arrive(id string, at time.Time) (arrived time.Time, leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.there[id] > 0 {
		at = time.Time{}
	}
	r.there[id]++
	return at, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.there[id]--; r.there[id] == 0 {
			delete(r.there, id)
		}
	}
}

// stillMay refuses what a policy or a project's record that was changed since does not
// allow any more, and who opens in another role than lets them.
func (r *Requests) stillMay(from rules, request *reidentify.Request, by *reidentify.Person) *reidentify.Refusal {
	policy, _, _ := from.Policy()
	project, there := from.Reidentifiable(request.Project)
	if policy == nil || !there {
		return reidentify.Refuse(reidentify.RuleNoPolicy)
	}
	return reidentify.StillMay(&reidentify.Facts{Now: r.now(), Policy: policy, Project: project.Project, Request: request, Alerts: r.options.Alerts}, by)
}

// rests reports whether a request rests on a relationship of those who open it.
func rests(request *reidentify.Request) bool {
	return request.Decision.Related || request.Route == reidentify.ToPractice
}

// answersFor asks the region anew where an opening rests on its answer, or needs the
// envelope that comes with it.
func (r *Requests) answersFor(ctx context.Context, request *reidentify.Request, by *reidentify.Person, places []int) ([]*regions.Answer, error) {
	project, _ := r.ring.Reidentifiable(request.Project)
	if !rests(request) && !project.Sealed {
		return nil, nil
	}
	return r.askRegion(ctx, request, places, by.Organisation)
}

// begin uses up what allows an opening, and writes down that it is going to be: of two at
// once the second is refused.
func (r *Requests) begin(ctx context.Context, by *reidentify.Person, id string, arrived time.Time, answers []*regions.Answer) (opening *reidentify.Opening, entries entries, err error) {
	opening, begun := &reidentify.Opening{By: *by}, false
	err = r.ring.Change(ctx, func(c *keyring.Change) error {
		before := r.get(id)
		if before == nil {
			return notFound() // it was erased meanwhile
		}
		request := *before
		places, shown, refused := request.Opens(by, arrived, c.Now())
		if refused != nil {
			return refused
		}
		if shown != nil {
			return reidentify.Refuse(reidentify.RuleGone)
		}
		if refused := r.stillMay(c, &request, by); refused != nil { // while the region was asked
			return refused
		}
		opening.At = c.Now()
		for _, i := range places {
			item := &request.Items[i]
			if rests(&request) && item.Token != "" {
				a := answerOf(answers, i)
				allowed := related(a) && c.Now().Before(a.Until)
				entries.add(r.settled(c, &request, by, item, a, allowed))
				if !allowed {
					opening.Denied = append(opening.Denied, i)
					continue
				}
			}
			opening.Items = append(opening.Items, i)
			leaf := leafOf(audit.KindReidIntent, &request, by)
			leaf.Ref = &request.Entry
			intent := c.Event(about(leaf, item))
			entries.add(intent)
			opening.Intents = append(opening.Intents, intent)
		}
		if request.BreakGlass {
			alarm := leafOf(audit.KindAlarm, &request, by)
			alarm.Rule, alarm.Ref = audit.RuleBreakGlass, &request.Entry
			c.Alarm(about(alarm, &request.Items[0]))
		}
		request.Begin(*opening)
		begun = true
		r.mu.Lock()
		r.opening[openingKey{id, by.Organisation}] = true // before it is there to be found: it is not cut off
		r.mu.Unlock()
		r.put(c, &request)
		return nil
	})
	if err != nil {
		if begun { // another's that is under way stays so
			key := openingKey{id, by.Organisation}
			r.mu.Lock()
			r.unopened[key] = opening
			r.mu.Unlock()
			r.ended(key)
		}
		return nil, entries, err
	}
	return opening, entries, nil
}

// entries are the first and the last entry of several that follow one another.
type entries struct {
	first, last uint64
	any         bool
}

func (e *entries) add(index uint64) {
	if !e.any {
		e.first, e.any = index, true
	}
	e.last = index
}

// settled writes down that the region has answered anew.
func (r *Requests) settled(c *keyring.Change, request *reidentify.Request, by *reidentify.Person, item *reidentify.Item, a *regions.Answer, allowed bool) uint64 {
	leaf := leafOf(audit.KindReidDecision, request, by)
	leaf.Decision, leaf.Rule, leaf.Ref, leaf.Policy = audit.Deny, string(reidentify.RuleNoRelationship), &request.Entry, request.Decision.Policy
	if allowed {
		leaf.Decision, leaf.Rule = audit.Allow, string(reidentify.RuleRelationship)
	}
	if a != nil {
		leaf.EvidenceH = hex.EncodeToString(a.Evidence[:])
	}
	return c.Event(about(leaf, item))
}

func (r *Requests) ended(key openingKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.opening, key)
	delete(r.unwitnessed, key)
}

// witnessed waits until the witness has signed what is going to be opened. An emergency
// does not wait for it any longer, a few times; all else is given back, unopened.
func (r *Requests) witnessed(ctx context.Context, by *reidentify.Person, id string, o *reidentify.Opening, size uint64) error {
	waiting, cancel := context.WithTimeout(ctx, witnessTime)
	defer cancel()
	err := r.options.Log.Witnessed(waiting, size)
	if err == nil {
		return nil
	}
	request := r.get(id)
	if policy, _, _ := r.ring.Policy(); request.BreakGlass && policy != nil && r.mayGoOn(ctx, openingKey{id, by.Organisation}, size, policy.BreakGlass.Unwitnessed) {
		o.Unwitnessed = true
		return nil
	}
	if err := r.giveBack(ctx, id, o, api.CodeWitness); err != nil {
		r.mu.Lock()
		r.unopened[openingKey{id, by.Organisation}] = o // when the log can be written
		r.mu.Unlock()
		return err
	}
	return api.Refuse(api.CodeWitness, "without it nothing is opened, so that no opening can be hidden; the request can still be opened",
		"open it again in a minute; the key holder's operators see to the witness")
}

// mayGoOn reports whether one opening more may go on that the witness has not signed, and
// counts it from now on: several at once are no more than one after another.
func (r *Requests) mayGoOn(ctx context.Context, key openingKey, size uint64, most int) bool {
	r.goingOn.Lock()
	defer r.goingOn.Unlock()
	if r.outstanding(ctx) >= most {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unwitnessed[key] = size
	return true
}

// outstanding is how many openings of emergencies the witness has not signed yet.
func (r *Requests) outstanding(ctx context.Context) (n int) {
	r.mu.RLock()
	sizes := slices.Collect(maps.Values(r.unwitnessed)) // it is not written down of these yet
	r.mu.RUnlock()
	r.each(func(request *reidentify.Request) {
		for _, o := range request.Openings {
			if o.Unwitnessed && len(o.Intents) > 0 {
				sizes = append(sizes, o.Intents[len(o.Intents)-1]+1)
			}
		}
	})
	slices.Sort(sizes)
	// What the witness has signed covers all before it.
	for i := len(sizes); i > 0; i-- {
		waiting, cancel := context.WithTimeout(ctx, outstandingAsk)
		err := r.options.Log.Witnessed(waiting, sizes[i-1])
		cancel()
		if err == nil {
			break
		}
		n++
	}
	return n
}

// giveBack writes down that nothing was opened, and why, and lets the request be opened
// later.
func (r *Requests) giveBack(ctx context.Context, id string, o *reidentify.Opening, why api.Code) error {
	return r.ring.Change(ctx, func(c *keyring.Change) error {
		request := *r.get(id)
		r.outcomes(c, &request, &o.By, o, slices.Repeat([]reidentify.Outcome{reidentify.Failed}, len(o.Items)), string(why))
		request.GiveBack(o.By.Organisation)
		r.put(c, &request)
		r.mu.Lock()
		delete(r.unopened, openingKey{id, o.By.Organisation})
		r.mu.Unlock()
		return nil
	})
}

// unopenedOf is the opening of which this process knows that it has opened nothing, though
// it is not written down: the log could not be written. Nil where there is none.
func (r *Requests) unopenedOf(key openingKey) *reidentify.Opening {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.unopened[key]
}

// outcomes writes down what came of each item.
func (r *Requests) outcomes(c *keyring.Change, request *reidentify.Request, by *reidentify.Person, o *reidentify.Opening, outcomes []reidentify.Outcome, rule string) {
	for n, i := range o.Items {
		leaf := leafOf(audit.KindReidOutcome, request, by)
		leaf.Ref, leaf.Outcome, leaf.Unwitnessed, leaf.Rule = &o.Intents[n], string(outcomes[n]), o.Unwitnessed, rule
		c.Event(about(leaf, &request.Items[i]))
	}
}

// openItems opens what is to be opened, into memory. Who cannot be named is not: whoever
// asks is not told why.
func (r *Requests) openItems(request *reidentify.Request, o *reidentify.Opening, answers []*regions.Answer) *Opened {
	opened := &Opened{Request: request, Unwitnessed: o.Unwitnessed}
	for n, i := range o.Items {
		item := OpenedItem{Item: request.Items[i]}
		if o.Outcomes == nil || o.Outcomes[n] == reidentify.Released { // shown again: what the log says was released
			item.Identity = r.openItem(request, i, answers)
		}
		opened.Items = append(opened.Items, item)
	}
	for _, i := range o.Denied {
		opened.Items = append(opened.Items, OpenedItem{Item: request.Items[i]})
	}
	slices.SortFunc(opened.Items, func(a, b OpenedItem) int { return a.Item.Row - b.Item.Row })
	return opened
}

func (r *Requests) openItem(request *reidentify.Request, i int, answers []*regions.Answer) *keyring.Opened {
	token, err := keys.ParseToken(request.Items[i].Token)
	if err != nil {
		return nil // a reference: there is nothing to open
	}
	var envelope *escrow.Envelope
	if a := answerOf(answers, i); a != nil {
		envelope = a.Envelope
	}
	identity, err := r.ring.Open(request.Project, token, envelope)
	if err != nil {
		return nil
	}
	return identity
}

// outcomeOf is what is written down of an opened item.
func (o *OpenedItem) outcome() reidentify.Outcome {
	if o.Identity == nil && o.Item.Reference == nil {
		return reidentify.Failed
	}
	return reidentify.Released
}

// finish writes down what came of an opening.
func (r *Requests) finish(ctx context.Context, id string, by *reidentify.Person, o *reidentify.Opening, opened *Opened) error {
	byRow := map[int]reidentify.Outcome{}
	for i := range opened.Items {
		byRow[opened.Items[i].Item.Row] = opened.Items[i].outcome()
	}
	return r.ring.Change(ctx, func(c *keyring.Change) error {
		request := *r.get(id)
		outcomes := make([]reidentify.Outcome, len(o.Items))
		for n, i := range o.Items {
			outcomes[n] = byRow[request.Items[i].Row]
		}
		r.outcomes(c, &request, by, o, outcomes, "")
		request.Finish(by.Organisation, outcomes, o.Unwitnessed, c.Now())
		r.put(c, &request)
		return nil
	})
}

// redeliver shows again what the same session has opened.
func (r *Requests) redeliver(ctx context.Context, by *reidentify.Person, id string, arrived time.Time, answers []*regions.Answer) (*Opened, error) {
	var request reidentify.Request
	var opening reidentify.Opening
	var entry uint64
	err := r.ring.Change(ctx, func(c *keyring.Change) error {
		before := r.get(id)
		if before == nil {
			return notFound()
		}
		request = *before
		_, shown, refused := request.Opens(by, arrived, c.Now())
		if refused != nil {
			return refused
		}
		if shown == nil {
			return reidentify.Refuse(reidentify.RuleState)
		}
		if refused := r.stillMay(c, &request, by); refused != nil {
			return refused
		}
		opening = *shown
		for n, i := range shown.Items {
			if shown.Outcomes[n] != reidentify.Released {
				continue // nobody was named, and nobody is now
			}
			leaf := leafOf(audit.KindRedeliver, &request, by)
			leaf.Ref = &shown.Intents[n]
			entry = c.Event(about(leaf, &request.Items[i]))
		}
		request.Redeliver(by.Organisation)
		r.put(c, &request)
		return nil
	})
	if err != nil {
		return nil, err
	}
	opened := r.openItems(&request, &opening, answers)
	opened.Entry = entry
	return opened, nil
}

// Recover writes down, before anything is answered, that it is not known what came of
// openings that an end of the process has cut off.
func (r *Requests) Recover(ctx context.Context) error {
	type cutOff struct {
		id      string
		opening *reidentify.Opening
	}
	var found []cutOff
	r.each(func(request *reidentify.Request) { // holds the lock of r.opening, too
		for _, o := range request.Underway() {
			if !r.opening[openingKey{request.ID, o.By.Organisation}] {
				found = append(found, cutOff{request.ID, o})
			}
		}
	})
	slices.SortFunc(found, func(a, b cutOff) int { return a.opening.At.Compare(b.opening.At) })
	for _, one := range found {
		if o := r.unopenedOf(openingKey{one.id, one.opening.By.Organisation}); o != nil {
			if err := r.giveBack(ctx, one.id, o, api.CodeLogUnavailable); err != nil {
				return err
			}
			continue
		}
		err := r.ring.Change(ctx, func(c *keyring.Change) error {
			request := *r.get(one.id)
			if o := request.Openings[one.opening.By.Organisation]; o == nil || o.Finished || o.At != one.opening.At {
				return nil // somebody else has just finished it
			}
			outcomes := slices.Repeat([]reidentify.Outcome{reidentify.Unknown}, len(one.opening.Items))
			r.outcomes(c, &request, &one.opening.By, one.opening, outcomes, "")
			request.Finish(one.opening.By.Organisation, outcomes, one.opening.Unwitnessed, time.Time{})
			r.put(c, &request)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
