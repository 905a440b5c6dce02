package openings

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"tarn/keys/audit"
)

// walk goes through the entries from the first to the last, and knows at each what the
// log says until there.
type walk struct {
	month         string
	now           time.Time
	requests      map[string]*request // by hash
	intents       map[uint64]*intent  // by index
	organisations map[string]*organisation
	findings      []Finding
}

// request is what the log says of one.
type request struct {
	actor    audit.Actor // who has asked
	decision audit.Decision
	patients map[patient]audit.Decision // decided of one of them, by those who open
	openings map[patient]*intent        // the newest
	approved bool                       // by somebody else
	reviewed bool
}

// patient is one of a request's, as one organisation opens them.
type patient struct{ organisation, token string }

// intent is an opening that was begun.
type intent struct {
	index     uint64
	leaf      *audit.Leaf
	concluded bool
	released  bool
	givenBack bool
}

// organisation is what is counted of one.
type organisation struct {
	Counts
	subjects map[string]struct{}
	refused  map[Times]int64
	limits   map[Times]int64
}

func (w *walk) organisation(name string) *organisation {
	o := w.organisations[name]
	if o == nil {
		o = &organisation{subjects: map[string]struct{}{}, refused: map[Times]int64{}, limits: map[Times]int64{}}
		w.organisations[name] = o
	}
	return o
}

// count adds to what the organisation of an entry did, where it is of the month.
func (w *walk) count(leaf *audit.Leaf, name string, add func(*organisation)) {
	if within(w.month, leaf) {
		add(w.organisation(name))
	}
}

func (w *walk) find(index uint64, leaf *audit.Leaf, what What) {
	if within(w.month, leaf) {
		w.findings = append(w.findings, Finding{index, what})
	}
}

// of returns the request of an entry. One that the log does not have has been asked by
// nobody and is allowed by nothing.
func (w *walk) of(leaf *audit.Leaf) *request {
	r := w.requests[leaf.Request]
	if r == nil {
		r = &request{patients: map[patient]audit.Decision{}, openings: map[patient]*intent{}}
		w.requests[leaf.Request] = r
	}
	return r
}

func (w *walk) step(index uint64, leaf *audit.Leaf) {
	switch leaf.Kind {
	case audit.KindReidRequest, audit.KindWorklist, audit.KindRelationship:
		w.asked(leaf)
	case audit.KindReidDecision:
		w.decided(index, leaf)
	case audit.KindApproval:
		w.approved(leaf)
	case audit.KindReidIntent:
		w.begun(index, leaf)
	case audit.KindReidOutcome:
		w.concluded(index, leaf)
	case audit.KindRedeliver:
		w.shownAgain(index, leaf)
	case audit.KindBreakGlassReview:
		w.of(leaf).reviewed = true
	case audit.KindWhoAsked:
		w.count(leaf, leaf.Actor.Organisation, func(o *organisation) { o.WhoAsked++ })
	case audit.KindAlarm:
		w.alarmed(leaf)
	}
}

// asked takes a request, one patient of it, or that it was taken back.
func (w *walk) asked(leaf *audit.Leaf) {
	request, name := w.of(leaf), leaf.Actor.Organisation
	if leaf.Outcome == outcomeVoid {
		request.decision = audit.Deny
		w.count(leaf, name, func(o *organisation) { o.Cancelled++ })
		return
	}
	if leaf.Ref == nil && leaf.Kind != audit.KindRelationship { // else it is one patient of a list
		request.actor = leaf.Actor
		w.count(leaf, name, func(o *organisation) { o.Requests++ })
	}
	w.patient(leaf, name)
}

// patient counts the patient of an entry as one whom an organisation has asked about.
func (w *walk) patient(leaf *audit.Leaf, name string) {
	if leaf.SubjectH != "" {
		w.count(leaf, name, func(o *organisation) { o.subjects[leaf.SubjectH] = struct{}{} })
	}
}

// decided takes a decision: of a request, or, where it refers to one, of a patient whom
// somebody is about to open.
func (w *walk) decided(index uint64, leaf *audit.Leaf) {
	request := w.of(leaf)
	if leaf.Ref == nil {
		request.decision = leaf.Decision
		if leaf.Actor == request.actor { // else an approver's, of what was counted when it was asked
			w.patient(leaf, leaf.Actor.Organisation)
		}
	} else {
		request.patients[patient{leaf.Actor.Organisation, leaf.TokenH}] = leaf.Decision
	}
	if leaf.Decision == audit.Allow && strings.Split(leaf.Rule, "/")[0] == ruleApproved && !request.approved {
		w.find(index, leaf, WithoutApproval)
	}
	if leaf.Decision == audit.Deny {
		name := cmp.Or(request.actor.Organisation, leaf.Actor.Organisation) // it may be the approver's entry
		if leaf.Ref != nil {
			name = leaf.Actor.Organisation
		}
		w.count(leaf, name, func(o *organisation) { o.refused[Times{Rule: leaf.Rule}]++ })
	}
}

func (w *walk) approved(leaf *audit.Leaf) {
	if leaf.Decision != audit.Approve {
		w.count(leaf, leaf.Actor.Organisation, func(o *organisation) { o.Rejections++ })
		return
	}
	request := w.of(leaf)
	if leaf.Actor.Issuer != request.actor.Issuer || leaf.Actor.Subject != request.actor.Subject {
		request.approved = true
	}
	w.count(leaf, leaf.Actor.Organisation, func(o *organisation) { o.Approvals++ })
}

func (w *walk) begun(index uint64, leaf *audit.Leaf) {
	begun := &intent{index: index, leaf: leaf}
	w.intents[index] = begun
	request, whom := w.of(leaf), patient{leaf.Actor.Organisation, leaf.TokenH}
	one, decided := request.patients[whom]
	if request.decision != audit.Allow || decided && one != audit.Allow {
		w.find(index, leaf, WithoutDecision)
	}
	if leaf.TokenH == "" { // a reference to a source's own records, which entries do not tell apart
		return
	}
	if before := request.openings[whom]; before != nil && !before.givenBack {
		w.find(index, leaf, OpenedTwice)
	}
	request.openings[whom] = begun
}

// opening returns what an entry says that it is of; nil where that was not recorded, or
// was another's.
func (w *walk) opening(leaf *audit.Leaf) *intent {
	if leaf.Ref == nil {
		return nil
	}
	begun := w.intents[*leaf.Ref]
	if begun == nil || begun.leaf.Request != leaf.Request || begun.leaf.TokenH != leaf.TokenH || begun.leaf.Actor.Organisation != leaf.Actor.Organisation {
		return nil
	}
	return begun
}

func (w *walk) concluded(index uint64, leaf *audit.Leaf) {
	if leaf.Outcome == outcomeReleased {
		w.count(leaf, leaf.Actor.Organisation, func(o *organisation) { o.Opened++ })
	}
	begun := w.opening(leaf)
	switch {
	case begun == nil:
		w.find(index, leaf, WithoutIntent)
		return
	case begun.concluded:
		w.find(index, leaf, OutcomeTwice)
	}
	begun.concluded = true
	begun.released = begun.released || leaf.Outcome == outcomeReleased
	begun.givenBack = !begun.released && leaf.Outcome == outcomeFailed && (leaf.Rule == ruleGivenBack || leaf.Rule == ruleNotLogged)
}

// shownAgain: also of patients of whom nobody was found the key holder says that they
// were shown again, since who looks is not told.
func (w *walk) shownAgain(index uint64, leaf *audit.Leaf) {
	w.count(leaf, leaf.Actor.Organisation, func(o *organisation) { o.Redeliveries++ })
	switch begun := w.opening(leaf); {
	case begun == nil:
		w.find(index, leaf, WithoutIntent)
	case !begun.concluded || begun.givenBack:
		w.find(index, leaf, WithoutRelease)
	}
}

func (w *walk) alarmed(leaf *audit.Leaf) {
	if limit, is := strings.CutPrefix(leaf.Rule, audit.RuleLimit+"/"); is {
		w.count(leaf, leaf.Actor.Organisation, func(o *organisation) { o.limits[Times{Rule: limit, Action: leaf.Outcome}]++ })
	}
}

// report ends the walk: what has no outcome or no review by now has none.
func (w *walk) report() *Report {
	emergencies := map[string]*intent{} // by request: it has one patient
	for _, begun := range w.intents {
		at, _ := time.Parse(audit.TimeLayout, begun.leaf.Time) // Decode has parsed it
		if !begun.concluded && w.now.Sub(at) > OutcomeWithin {
			w.find(begun.index, begun.leaf, WithoutOutcome)
		}
		if begun.leaf.Purpose == purposeEmergency && !begun.givenBack {
			emergencies[begun.leaf.Request] = begun
		}
	}
	for hash, begun := range emergencies {
		w.count(begun.leaf, begun.leaf.Actor.Organisation, func(o *organisation) { o.BreakGlass.add(w.requests[hash], begun.leaf, w.now) })
	}
	slices.SortFunc(w.findings, func(a, b Finding) int { return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.What, b.What)) })
	r := &Report{Organisations: []Organisation{}, Findings: slices.Clip(append([]Finding{}, w.findings...))}
	for _, name := range slices.Sorted(maps.Keys(w.organisations)) {
		o := w.organisations[name]
		o.Patients, o.Refused, o.Limits = int64(len(o.subjects)), sorted(o.refused), sorted(o.limits)
		r.Organisations = append(r.Organisations, Organisation{name, o.Counts})
	}
	return r
}

func (b *BreakGlass) add(r *request, leaf *audit.Leaf, now time.Time) {
	at, _ := time.Parse(audit.TimeLayout, leaf.Time)
	b.Used++
	switch {
	case r.reviewed:
		b.Reviewed++
	case now.Before(at.Add(ReviewWithin)):
		b.Outstanding++
	default:
		b.Overdue++
	}
}

func sorted(counts map[Times]int64) []Times {
	all := []Times{}
	for t, n := range counts {
		t.Times = n
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Times) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Action, b.Action)) })
	return all
}
