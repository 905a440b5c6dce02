package reidentify

import "fmt"

// Rule names what a decision rests on, in answers and in the log.
type Rule string

// The rules by which something is allowed.
const (
	RuleRelationship Rule = "relationship" // the organisation has to do with the patient
	RuleApproved     Rule = "approved"     // enough people have approved
	RuleBreakGlass   Rule = "break_glass"  // an emergency; others review it afterwards
	RuleRouted       Rule = "routed"       // each patient's own practice opens its own
)

// The rules by which something waits or is refused.
const (
	RuleIssuer              Rule = "issuer"
	RuleOrganisation        Rule = "organisation"
	RuleLinker              Rule = "linker"
	RuleNoPolicy            Rule = "no_policy"
	RuleProjectMode         Rule = "project_mode"
	RuleProjectExpired      Rule = "project_expired"
	RuleProjectPurpose      Rule = "project_purpose"
	RuleRolePurpose         Rule = "role_purpose"
	RuleListTooLong         Rule = "list_too_long"
	RuleNoRelationship      Rule = "no_relationship"
	RuleNeedsApproval       Rule = "needs_approval"
	RuleLimit               Rule = "limit"
	RulePending             Rule = "pending"
	RuleBreakGlassPurpose   Rule = "break_glass_purpose"
	RuleBreakGlassRole      Rule = "break_glass_role"
	RuleBreakGlassItems     Rule = "break_glass_items"
	RuleBreakGlassSignIn    Rule = "break_glass_sign_in"
	RuleBreakGlassCap       Rule = "break_glass_cap"
	RuleBreakGlassSuspended Rule = "break_glass_suspended"
	RuleBreakGlassAlerts    Rule = "break_glass_alerts"
	RuleRejected            Rule = "rejected"
	RuleSelfApproval        Rule = "self_approval"
	RuleNotApprover         Rule = "not_approver"
	RuleNotReviewer         Rule = "not_reviewer"
	RuleNotYours            Rule = "not_yours"
	RuleState               Rule = "state"
	RuleHashDiffers         Rule = "hash_differs"
	RuleDecidedAlready      Rule = "decided_already"
	RuleGone                Rule = "gone"
	RuleNotGuardian         Rule = "not_guardian"
	RuleAcknowledged        Rule = "reviewed_already"
)

// words are what a rule says to whoever is refused or has to wait.
type words struct {
	why  string // what is so
	who  string // who can allow it
	next string // what to do
}

const (
	policyMakers = "information governance of the project, by a change of its policy that two operators make"
	approvers    = "the project's approvers"
)

var ruleWords = map[Rule]words{
	RuleRelationship:        {why: "your organisation has to do with the patient"},
	RuleApproved:            {why: "those who had to approve it have"},
	RuleBreakGlass:          {why: "an emergency: it is recorded, others are told now, and somebody reviews it"},
	RuleRouted:              {why: "each patient's own practice opens its own"},
	RuleIssuer:              {"you have not signed in where this project's users do", policyMakers, "sign in with the account that the project uses"},
	RuleOrganisation:        {"the organisation that you ask for is not that of the role in which you signed in", "nobody", "sign in again and select your role at that organisation"},
	RuleLinker:              {"you link data of this kind, and who links may not ask who people are", policyMakers, "ask a colleague who does not"},
	RuleNoPolicy:            {"nobody may ask for patients of this project", policyMakers, "check the project's name; ask its controllers whether it may be re-identified"},
	RuleProjectMode:         {"tokens of this project can never be opened", "nobody: the project was made so", "ask the organisation that the data came from"},
	RuleProjectExpired:      {"the project has ended", "its data controllers, by renewing it", "ask them"},
	RuleProjectPurpose:      {"the project's record does not name this purpose", "its data controllers", "choose the purpose that fits; if it does, ask them to renew the project's record"},
	RuleRolePurpose:         {"your role may not ask for this purpose", policyMakers, "choose the purpose that fits what you do, or ask a colleague whose role it is"},
	RuleListTooLong:         {"the list is longer than your role may ask for at once", policyMakers, "ask for fewer patients at once"},
	RuleNoRelationship:      {"the region does not say that your organisation has to do with the patient now", approvers, "see that the patient is registered with or referred to your organisation, then ask again"},
	RuleNeedsApproval:       {"this purpose needs approval", approvers, "wait until they have decided; the request shows how many have"},
	RuleLimit:               {"it is beyond a limit", approvers, "wait until they have decided, or until the time that the limit counts is over"},
	RulePending:             {"too many of your requests wait", "you", "cancel some of your requests, or wait until they are decided"},
	RuleBreakGlassPurpose:   {"break-glass is for emergency treatment only, and emergency treatment by break-glass only", "nobody", "ask with purpose ETREAT and break_glass true, or with another purpose and without"},
	RuleBreakGlassRole:      {"your role may not break the glass", policyMakers, "ask a colleague whose role may, or ask with purpose TREAT"},
	RuleBreakGlassItems:     {"break-glass is for one patient at a time", "nobody", "ask for one patient"},
	RuleBreakGlassSignIn:    {"break-glass needs a sign-in that was made just now, and stronger", "you", "sign in again with your card or second factor, and ask again at once"},
	RuleBreakGlassCap:       {"break-glass was used too often in 24 hours", approvers, "ask with purpose TREAT; in danger to life, telephone the organisation that knows the patient"},
	RuleBreakGlassSuspended: {"a break-glass of yours was not reviewed in time, and you may not use it until it is", "a reviewer of the project", "have it reviewed; ask with purpose TREAT meanwhile"},
	RuleBreakGlassAlerts:    {"nobody would be told at once, so that break-glass cannot be used", "the key holder's operators", "ask with purpose TREAT"},
	RuleRejected:            {"an approver has rejected it", approvers, "talk to them; ask again if something was missing"},
	RuleSelfApproval:        {"who asks may not approve, from whichever account", "another approver", "leave it to the others"},
	RuleNotApprover:         {"your role does not approve requests of this project", policyMakers, "leave it to the project's approvers"},
	RuleNotReviewer:         {"your role does not review this project's break-glass, or it is your own", "a reviewer of the project", "leave it to them"},
	RuleNotYours:            {"it is somebody else's, or was asked in another role", "nobody", "sign in again in the role in which you asked, or ask for the patient yourself"},
	RuleState:               {"it is not in a state in which that can be done", "nobody", "read it again; ask anew if it is still wanted"},
	RuleHashDiffers:         {"what was approved is not what is asked", "nobody", "read the request again, and decide on what you see then"},
	RuleDecidedAlready:      {"you have decided on it already", "nobody", "leave it to the others"},
	RuleGone:                {"it was opened, and is shown once: for five minutes, to the session that opened it", "nobody", "ask again if you still need it"},
	RuleNotGuardian:         {"your role does not read who asked about whom", policyMakers, "ask information governance"},
	RuleAcknowledged:        {"it was reviewed already", "nobody", "read the review"},
}

// Refusal is why something may not be done: an error that is told.
type Refusal struct {
	Rule Rule
	// Limit is the limit's name where the rule is a limit.
	Limit string
}

// Refuse makes a refusal by a rule.
func Refuse(rule Rule) *Refusal { return &Refusal{Rule: rule} }

// Why says what is so, Who who could allow it, and Next what to do.
func (r *Refusal) Why() string { return ruleWords[r.Rule].why }

// Who says who could allow it.
func (r *Refusal) Who() string { return ruleWords[r.Rule].who }

// Next says what to do.
func (r *Refusal) Next() string { return ruleWords[r.Rule].next }

// Error implements error.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s; who can allow it: %s; %s", r.Why(), r.Who(), r.Next())
}

// Why says in words what a rule has found.
func (r Rule) Why() string { return ruleWords[r].why }
