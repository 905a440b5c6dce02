// Package audit is the record of who used which key and who asked about whom:
// what an entry says, and nothing that an entry must not say. Entries hold
// references only: no identity, no raw token, no free text.
package audit

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys"
)

// MaxLeaf is the length in bytes that an entry's canonical form may have.
const MaxLeaf = 4 << 10

// Version is the value of a leaf's member v.
const Version = 1

// TimeLayout is how entries write the time, in UTC.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// Kind is what happened. Readers accept kinds they do not know.
type Kind string

// The kinds of specification (i).
const (
	KindEvaluate         Kind = "evaluate"
	KindLease            Kind = "lease"
	KindReidRequest      Kind = "reid-request"
	KindReidDecision     Kind = "reid-decision"
	KindApproval         Kind = "approval"
	KindReidIntent       Kind = "reid-intent"
	KindReidOutcome      Kind = "reid-outcome"
	KindRedeliver        Kind = "redeliver"
	KindBreakGlassReview Kind = "break-glass-review"
	KindWorklist         Kind = "worklist"
	KindRelationship     Kind = "relationship"
	KindGrant            Kind = "grant"
	KindClient           Kind = "client"
	KindEnrol            Kind = "enrol"
	KindProject          Kind = "project"
	KindDomain           Kind = "domain"
	KindPolicy           Kind = "policy"
	KindOperatorApproval Kind = "operator-approval"
	KindKeyState         Kind = "key-state"
	KindRotate           Kind = "rotate"
	KindConvert          Kind = "convert"
	KindUnseal           Kind = "unseal"
	KindBackup           Kind = "backup"
	KindRestore          Kind = "restore"
	KindRefuse           Kind = "refuse"
	KindAlarm            Kind = "alarm"
	KindStart            Kind = "start"
	KindWhoAsked         Kind = "who-asked" // somebody was told who had asked about a patient
)

// RuleLogBegun is the rule of a log's first entry, of kind start, where the log goes
// on from another: ref is the size of that one, request its root.
const RuleLogBegun = "log-begun"

// RuleEscrowKey is the rule of entries of kind key-state that are about the key holder's
// escrow key and no domain's or project's: request is the key's name.
const RuleEscrowKey = "escrow-key"

// The rules of alarms: what is not as it should be.
const (
	RuleLogUnavailable  = "log-unavailable"  // the log could not be written, and no key was used
	RuleBudgetExhausted = "budget-exhausted" // a client asked for more rows than it has left
	RuleBudgetLow       = "budget-low"       // a client has used nine tenths of its budget
	RuleCeilingReached  = "ceiling-reached"  // all clients together have used what they may
	RuleRateAbnormal    = "rate-abnormal"    // a client uses several times what it usually does
	RuleBeyondGrant     = "beyond-grant"     // a client has used a key for more rows than it was granted
	RuleTestRange       = "test-range"       // numbers of the test range were given: canaries, or somebody who tries
	RuleTooManyTries    = "too-many-tries"   // wrong shares, passphrases, identities or enrolment codes, one after another

	RuleBreakGlass    = "break-glass"                // a token was opened in an emergency, without the approval that it needs else
	RuleReviewOverdue = "break-glass-review-overdue" // nobody has looked at such an opening in time
)

// RuleLimit begins the rule of entries of kind alarm that say which limit of
// re-identification a request is beyond. They are recorded, and nobody is called.
const RuleLimit = "reidentification-limit"

// Decision is what was decided.
type Decision string

// The decisions.
const (
	Allow   Decision = "allow"
	Approve Decision = "approve"
	Deny    Decision = "deny"
	Pending Decision = "pending"
)

// Actor is who did it.
type Actor struct {
	Issuer       string `json:"iss,omitzero"` // "mtls" for certificates
	Organisation string `json:"org,omitzero"`
	Role         string `json:"role,omitzero"`
	Subject      string `json:"sub,omitzero"` // a client's name or a user's id, never a patient's
}

// Leaf is one entry, specification (i). Absent members are left out.
type Leaf struct {
	Actor         Actor    `json:"actor,omitzero"`
	Count         int64    `json:"count,omitzero"`
	Decision      Decision `json:"decision,omitzero"`
	Domain        string   `json:"domain,omitzero"`
	EncodingEpoch uint32   `json:"encoding_epoch,omitzero"`
	EvidenceH     string   `json:"evidence_h,omitzero"` // of a region's answer, on which a decision rests
	Holder        string   `json:"holder,omitzero"`
	Kind          Kind     `json:"kind"`
	Outcome       string   `json:"outcome,omitzero"`
	Policy        string   `json:"policy,omitzero"` // digest of the policy by which it was decided
	Project       string   `json:"project,omitzero"`
	Purpose       string   `json:"purpose,omitzero"`
	ReasonCommit  string   `json:"reason_commit,omitzero"`
	Ref           *uint64  `json:"ref,omitzero"`
	Request       string   `json:"request,omitzero"`
	Rule          string   `json:"rule,omitzero"`
	SelfReported  bool     `json:"self_reported,omitzero"`
	SubjectH      string   `json:"subject_h,omitzero"`
	Time          string   `json:"time"`
	TokenEpoch    uint32   `json:"token_epoch,omitzero"`
	TokenH        string   `json:"token_h,omitzero"`
	Unwitnessed   bool     `json:"unwitnessed,omitzero"`
	V             int      `json:"v"`
}

// FormatTime returns a time as entries write it.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeLayout) }

var (
	// nameText is what every member that is not a hash or a time may hold: names,
	// roles, codes and ids, nothing that a person wrote at length.
	nameText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$`)
	hashText = regexp.MustCompile(`^[0-9a-f]{32,64}$`)
)

// Encode returns the entry's canonical form (RFC 8785), at most MaxLeaf bytes.
// An entry with free text, without a time or of no kind is refused: that is an
// error in the program, and the message names the member only.
func (l Leaf) Encode() ([]byte, error) {
	l.V = Version
	if at, err := time.Parse(TimeLayout, l.Time); err != nil || FormatTime(at) != l.Time || at.Year() == 0 { // Parse takes a comma, too
		return nil, errors.New("audit: member time is not a time")
	}
	if l.Kind == "" {
		return nil, errors.New("audit: member kind is missing")
	}
	for _, m := range []struct{ name, value string }{
		{"actor.iss", l.Actor.Issuer}, {"actor.org", l.Actor.Organisation}, {"actor.role", l.Actor.Role}, {"actor.sub", l.Actor.Subject},
		{"decision", string(l.Decision)}, {"domain", l.Domain}, {"holder", l.Holder}, {"kind", string(l.Kind)}, {"outcome", l.Outcome},
		{"project", l.Project}, {"purpose", l.Purpose}, {"request", l.Request}, {"rule", l.Rule},
	} {
		if m.value != "" && !nameText.MatchString(m.value) {
			return nil, fmt.Errorf("audit: member %s is no name", m.name)
		}
	}
	for _, m := range []struct{ name, value string }{
		{"evidence_h", l.EvidenceH}, {"policy", l.Policy}, {"reason_commit", l.ReasonCommit}, {"subject_h", l.SubjectH}, {"token_h", l.TokenH},
	} {
		if m.value != "" && !hashText.MatchString(m.value) {
			return nil, fmt.Errorf("audit: member %s is no hash", m.name)
		}
	}
	document, err := keys.Encode(l)
	if err != nil {
		return nil, errors.New("audit: the entry cannot be encoded")
	}
	canonical, err := keys.Canonical(document)
	if err != nil {
		return nil, errors.New("audit: the entry has no canonical form")
	}
	if len(canonical) > MaxLeaf {
		return nil, fmt.Errorf("audit: the entry is longer than %d bytes", MaxLeaf)
	}
	return canonical, nil
}

// Decode reads an entry. Members and kinds that it does not know are accepted: a
// log outlives the programs that read it.
func Decode(entry []byte) (Leaf, error) {
	var l Leaf
	if len(entry) > MaxLeaf {
		return l, errors.New("audit: the entry is longer than any")
	}
	if err := json.Unmarshal(entry, &l); err != nil {
		return l, errors.New("audit: the entry is not a leaf") // the cause might repeat it
	}
	if _, err := time.Parse(TimeLayout, l.Time); err != nil || l.Kind == "" {
		return l, errors.New("audit: the entry has no time or no kind")
	}
	return l, nil
}

// Rules returns the rules of alarms, sorted.
func Rules() []string { return slices.Sorted(maps.Keys(ruleTexts)) }

// RuleText says in words what a rule of alarms has found; "" of one that is not known.
func RuleText(rule string) string { return ruleTexts[rule] }

var ruleTexts = map[string]string{
	RuleLogUnavailable:  "The log could not be written, and no key was used until it could.",
	RuleBudgetExhausted: "A client asked to use a key for more rows than it has left, and was refused.",
	RuleBudgetLow:       "A client has used nine tenths of the rows that it may use a key for.",
	RuleCeilingReached:  "All clients together have used as many rows as they may, and one was refused.",
	RuleRateAbnormal:    "A client uses a key for several times as many rows as it usually does.",
	RuleBeyondGrant:     "A client says that it has used a key for more rows than it was granted.",
	RuleTestRange:       "A client was given NHS numbers of the test range, which no patient has.",
	RuleBreakGlass:      "Somebody has used break-glass to find out who a patient is, and another person has to review it.",
	RuleReviewOverdue:   "Nobody has reviewed a break-glass in time, and who used it may not use it again until somebody has.",
	RuleTooManyTries:    "Somebody has given wrong shares, passphrases, identities or enrolment codes, one after another.",
}
