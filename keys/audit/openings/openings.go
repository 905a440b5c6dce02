// Package openings reads from the log what was asked for and opened by
// re-identification: how much of it each organisation did, and what does not follow from
// what was recorded before it. The second is a check of the key holder that does not
// believe it: it rests on the entries alone.
package openings

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"tarn/keys/audit"
)

// Times that openings are held to.
const (
	// ReviewWithin is how long the review of a break-glass may take.
	ReviewWithin = 72 * time.Hour
	// OutcomeWithin is how long an opening may be under way. A key holder that ends before
	// writes its outcome when it starts again.
	OutcomeWithin = time.Minute
)

// Names of the members of entries, as the key holder writes them.
const (
	purposeEmergency = "ETREAT"
	outcomeReleased  = "released"
	outcomeFailed    = "failed"
	outcomeVoid      = "void"
	// ruleGivenBack and ruleNotLogged are the rules of outcomes of openings that have opened
	// nothing, since the witness was away or the log could not be written: what allowed them
	// is not used up.
	ruleGivenBack = "witness_unavailable"
	ruleNotLogged = "log_unavailable"
	ruleApproved  = "approved"
)

// read are the kinds that are looked at.
var read = []audit.Kind{
	audit.KindReidRequest, audit.KindReidDecision, audit.KindApproval, audit.KindReidIntent, audit.KindReidOutcome, audit.KindRedeliver, audit.KindBreakGlassReview,
	audit.KindWorklist, audit.KindRelationship, audit.KindWhoAsked, audit.KindAlarm,
}

// Reading gathers entries. It keeps those of re-identifications only: what it takes grows
// with them and not with the log.
type Reading struct {
	mu      sync.Mutex
	entries []entry
}

type entry struct {
	index uint64
	leaf  audit.Leaf
}

// Visit takes an entry; in any order, and from several goroutines at once.
func (r *Reading) Visit(index uint64, leaf audit.Leaf) {
	if !slices.Contains(read, leaf.Kind) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, entry{index, leaf})
}

// Report is what was read of a month.
type Report struct {
	Organisations []Organisation
	Findings      []Finding
}

// Organisation is what one organisation did in a month.
type Organisation struct {
	Organisation string // "" is the key holder itself
	Counts
}

// Counts are what an organisation did. No patient is among them, by any name.
type Counts struct {
	Requests  int64 `json:"requests"` // a list or a worklist is one
	Cancelled int64 `json:"cancelled"`
	Patients  int64 `json:"patients"` // whom it has asked about, each once in the month
	Opened    int64 `json:"opened"`   // patients, each time that they were released to it
	// Refused are its requests that were refused, and patients whom it could not open.
	Refused []Times `json:"refused"`
	// Approvals and Rejections are those that its people gave, of anybody's requests.
	Approvals    int64      `json:"approvals"`
	Rejections   int64      `json:"rejections"`
	BreakGlass   BreakGlass `json:"break_glass"`
	Limits       []Times    `json:"limits"` // that its requests were beyond
	Redeliveries int64      `json:"redeliveries"`
	WhoAsked     int64      `json:"who_asked"` // questions of guardians
}

// BreakGlass is how emergencies of a month were reviewed: Used is the sum of the others.
// What is overdue is said as of the time of the report.
type BreakGlass struct {
	Used        int64 `json:"used"`
	Reviewed    int64 `json:"reviewed"` // in time or late
	Outstanding int64 `json:"outstanding"`
	Overdue     int64 `json:"overdue"` // for longer than ReviewWithin
}

// Times is how often a rule was the reason. Action says of a limit what it did.
type Times struct {
	Rule   string `json:"rule"`
	Action string `json:"action,omitzero"`
	Times  int64  `json:"times"`
}

// Finding is an entry that does not follow from those before it, or that nothing follows.
type Finding struct {
	Index uint64 `json:"index"`
	What  What   `json:"what"`
}

// What a finding says.
type What string

// The findings.
const (
	// WithoutDecision: an opening, and the newest decision before it does not allow it.
	WithoutDecision What = "opening-without-decision"
	// WithoutApproval: a decision says that it was approved, and nobody but the requester
	// has approved it.
	WithoutApproval What = "approved-without-approval"
	// WithoutOutcome: an opening that was begun, and it is not recorded what came of it.
	WithoutOutcome What = "intent-without-outcome"
	// OpenedTwice: what allows an opening is used up by it, and somebody has begun another.
	OpenedTwice What = "opened-twice"
	// WithoutIntent: something was opened or shown, and its beginning is not recorded.
	WithoutIntent What = "outcome-without-intent"
	// OutcomeTwice: an opening has a second outcome.
	OutcomeTwice What = "second-outcome"
	// WithoutRelease: something was shown again that was not opened before.
	WithoutRelease What = "redelivery-without-outcome"
)

// Text says what a finding is in words.
func (w What) Text() string { return texts[w] }

var texts = map[What]string{
	WithoutDecision: "a patient was opened, and the newest decision before it does not allow it",
	WithoutApproval: "a request was allowed as approved, and nobody but who asked has approved it",
	WithoutOutcome:  "an opening was begun, and it is not recorded what came of it",
	OpenedTwice:     "a patient of a request was opened before, and is opened again",
	WithoutIntent:   "a patient was opened or shown, and it is not recorded that this was begun",
	OutcomeTwice:    "one opening has a second outcome",
	WithoutRelease:  "a patient was shown again, and it is not recorded that they were opened before",
}

// Findings returns everything that a finding can say, in the order of their names.
func Findings() []What {
	all := []What{}
	for w := range texts {
		all = append(all, w)
	}
	slices.Sort(all)
	return all
}

// Of returns what was read of a month, as in 2026-11, at a time. The log is to be
// verified: of one that is not whole findings say little.
func (r *Reading) Of(month string, now time.Time) *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.entries, func(a, b entry) int { return cmp.Compare(a.index, b.index) })
	w := &walk{month: month + "-", now: now, requests: map[string]*request{}, intents: map[uint64]*intent{}, organisations: map[string]*organisation{}}
	for i := range r.entries {
		w.step(r.entries[i].index, &r.entries[i].leaf)
	}
	return w.report()
}

func within(month string, leaf *audit.Leaf) bool { return strings.HasPrefix(leaf.Time, month) }
