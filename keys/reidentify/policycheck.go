package reidentify

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"tarn/keys"
	"tarn/keys/nhsnumber"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // the policy contradicts itself, and is not taken
	SeverityWarning Severity = "warning" // it is taken; somebody should look at it
)

// Finding is what is wrong or unwise in a policy.
type Finding struct {
	Severity Severity `json:"severity"`
	Where    string   `json:"where"` // such as "project care, allow 2"; the first is 1
	Wrong    string   `json:"wrong"`
	Next     string   `json:"next"`
}

// Error returns "where: wrong; next" without its severity.
func (f *Finding) Error() string { return f.Where + ": " + f.Wrong + ", " + f.Next }

// Bounds of a policy: what is beyond them is a mistake, or somebody's attempt.
const (
	maxItems         = 1000 // patients of one request, see Allow
	maxApprovals     = 10
	maxProjects      = 1000
	maxOrganisations = 50_000
	maxList          = 1000 // groups of a project, roles of a group
	maxText          = 255  // bytes of a role, a subject, an issuer
	maxListSize      = 100_000_000
	maxLimit         = 1_000_000_000
	maxPending       = 1000
	maxBreakGlass    = 1000
	maxUnwitnessed   = 100
	maxSignIn        = time.Hour
	maxReview        = 30 * 24 * time.Hour // how long occasions are remembered
)

var (
	odsText = regexp.MustCompile(`^[A-Z0-9]{3,10}$`)
	days    = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	actions = []Action{ActionOff, ActionWarn, ActionApproval, ActionRefuse}
)

// checker collects findings.
type checker struct {
	policy   *Policy
	findings []Finding
}

func (c *checker) wrong(where, wrong, next string) {
	c.findings = append(c.findings, Finding{SeverityError, where, wrong, next})
}

func (c *checker) unwise(where, wrong, next string) {
	c.findings = append(c.findings, Finding{SeverityWarning, where, wrong, next})
}

// Check returns every contradiction of a policy, and what is unwise in it. Findings name
// places and well-formed codes, never another value of the document.
func (p *Policy) Check() []Finding {
	c := &checker{policy: p}
	if p.Schema != PolicySchema {
		c.wrong("schema", "it is not "+PolicySchema, `write schema = "`+PolicySchema+`"`)
	}
	if p.Mode != Enforce && p.Mode != Simulate {
		c.wrong("mode", "there is no such mode", "give enforce or simulate")
	}
	if p.Mode == Simulate {
		c.unwise("mode", "no limit acts: what would have fired is only recorded", "give enforce once you have seen what would have")
	}
	c.projects()
	c.people()
	c.organisations()
	c.limits()
	c.breakGlass()
	return c.findings
}

func (c *checker) projects() {
	if len(c.policy.Projects) == 0 {
		c.unwise("project", "there is none, so that nobody may ask for anybody", "add a [[project]]")
	}
	if len(c.policy.Projects) > maxProjects {
		c.wrong("project", fmt.Sprintf("there are more than %d", maxProjects), "give those that exist")
		return
	}
	seen := map[string]bool{}
	for i := range c.policy.Projects {
		p := &c.policy.Projects[i]
		where := fmt.Sprintf("project %d", i+1)
		if keys.ValidName(p.Name) {
			where = "project " + p.Name
		} else {
			c.wrong(where, "its name is none", "give the project's name: 1 to 32 of a-z, 0-9 and -")
		}
		if seen[p.Name] {
			c.wrong(where, "it is there twice", "put both into one [[project]]")
		}
		seen[p.Name] = true
		c.project(where, p)
	}
}

func (c *checker) project(where string, p *ProjectPolicy) {
	c.issuer(where, p.Issuer)
	if len(p.Controllers) == 0 {
		c.wrong(where, "it has no controllers", "give the ODS codes of the data controllers: one approver at least is of one of them")
	}
	c.codes(where+", controllers", p.Controllers)
	if p.Approvals < 1 || p.Approvals > maxApprovals {
		c.wrong(where, fmt.Sprintf("approvals is not 1 to %d", maxApprovals), "give how many people have to approve, or leave it out for 1")
	}
	if len(p.Allow) > maxList {
		c.wrong(where+", allow", fmt.Sprintf("there are more than %d", maxList), "put groups together")
		return
	}
	for i := range p.Allow {
		c.allow(fmt.Sprintf("%s, allow %d", where, i+1), &p.Allow[i])
	}
	c.groups(where+", approver", p.Approvers)
	c.groups(where+", reviewer", p.Reviewers)
	c.groups(where+", break_glass", p.BreakGlass)
	c.approvers(where, p)
	if len(p.Allow) == 0 && len(p.BreakGlass) == 0 {
		c.unwise(where, "nobody may ask for anybody", "add a [[project.allow]], or leave the project out")
	}
	if len(p.BreakGlass) == 0 {
		return
	}
	if len(p.Reviewers) == 0 {
		c.wrong(where, "it has break_glass groups, and nobody reviews what they opened", "add a [[project.reviewer]]")
	}
	if len(c.policy.BreakGlass.Assurances) == 0 {
		c.wrong(where, "it has break_glass groups, and no sign-in is good enough for them", "give assurances in [break_glass]: the acr values of a stepped-up sign-in")
	}
}

func (c *checker) issuer(where, issuer string) {
	if issuer == "" {
		c.wrong(where, "it has no issuer", "give who vouches for everybody who asks, approves and reviews: the provider's iss")
		return
	}
	u, err := url.Parse(issuer)
	switch {
	case !isText(issuer), err != nil:
		c.wrong(where, "its issuer is none", "give the provider's iss, as its tokens have it")
	case u.Scheme != "https" || u.Host == "":
		c.unwise(where, "its issuer is no https address, as those of providers are", "give the provider's iss, as its tokens have it")
	}
}

func (c *checker) allow(where string, a *Allow) {
	c.group(where, &a.Group)
	if len(a.Purposes) == 0 {
		c.wrong(where, "it has no purposes", "give what its people may ask for")
	}
	if !slices.Contains([]When{WhenRelationship, WhenApproved, WhenRouted}, a.When) {
		c.wrong(where, "there is no such when", "give relationship, approval or route")
		return
	}
	for _, purpose := range a.Purposes {
		c.purpose(where, purpose, a.When)
	}
	switch {
	case a.When == WhenRelationship && a.Absent != "" && a.Absent != AbsentApproval && a.Absent != AbsentRefuse:
		c.wrong(where, "there is no such absent", "give approval or refuse")
	case a.When != WhenRelationship && a.Absent != "":
		c.wrong(where, `absent goes with when = "relationship" only`, "leave it out")
	}
	if a.MaxItems < 1 || a.MaxItems > maxItems {
		c.wrong(where, fmt.Sprintf("max_items is not 1 to %d", maxItems), fmt.Sprintf("give how many patients one request may name, or leave it out for %d", DefaultMaxItems))
	}
}

// purpose holds a purpose to what is needed beside it: a relationship answers for direct
// care only, and all else is approved.
func (c *checker) purpose(where string, purpose Purpose, when When) {
	switch {
	case len(purpose) > maxText || !purpose.Known():
		c.wrong(where, "a purpose is not known", "give some of "+purposeNames())
	case purpose == EmergencyTreatment:
		c.wrong(where, "ETREAT is break-glass", "name the group in [[project.break_glass]] instead")
	case purpose == CareManagement && when != WhenRouted:
		c.wrong(where, "CAREMGT goes to the patients' own practices", `give when = "route"`)
	case purpose != CareManagement && when == WhenRouted:
		c.wrong(where, "only CAREMGT is routed", `give when = "relationship" or "approval"`)
	case purpose != Treatment && when == WhenRelationship:
		c.wrong(where, "a relationship with the patient is a reason for TREAT only", `give when = "approval"`)
	case purpose == Treatment && when == WhenApproved:
		c.unwise(where, "direct care waits for others' approval", `give when = "relationship": who has nothing to do with the patient still waits`)
	}
}

func purposeNames() string {
	var all []string
	for _, p := range Purposes() {
		if p != EmergencyTreatment {
			all = append(all, string(p))
		}
	}
	return strings.Join(all, ", ")
}

// approvers holds a project to the rule that one approver at least is of a controller.
func (c *checker) approvers(where string, p *ProjectPolicy) {
	if why := c.needsApproval(p); len(p.Approvers) == 0 && why != "" {
		c.wrong(where, why+", and nobody approves it", "add a [[project.approver]]")
	}
	ofController := func(g Group) bool {
		return len(g.Organisations) == 0 || slices.ContainsFunc(g.Organisations, func(o string) bool { return slices.Contains(p.Controllers, o) })
	}
	if len(p.Approvers) > 0 && len(p.Controllers) > 0 && !slices.ContainsFunc(p.Approvers, ofController) {
		c.wrong(where, "no approver can be of a controller, and one at least has to be: nothing could ever be approved", "add an approver group of a controller's organisation")
	}
}

// needsApproval says why something of a project can need approval; empty where nothing can.
func (c *checker) needsApproval(p *ProjectPolicy) string {
	treats := false
	for i := range p.Allow {
		a := &p.Allow[i]
		treats = treats || slices.Contains(a.Purposes, Treatment)
		switch {
		case a.When == WhenApproved:
			return "something needs approval"
		case a.When == WhenRelationship && a.Absent != AbsentRefuse:
			return "what is asked without a relationship needs approval"
		}
	}
	for _, l := range c.policy.Limits.all() {
		weakened := l.action == ActionRefuse && treats && slices.Contains(organisationLimits, l.rule)
		if len(p.Allow) > 0 && l.action == ActionApproval || weakened {
			return "what is beyond the limit " + l.rule + " needs approval"
		}
	}
	return ""
}

func (c *checker) people() {
	p := c.policy
	c.groups("guardian", p.Guardians)
	if len(p.Guardians) == 0 {
		c.unwise("guardian", "there is none, so that nobody sees who asked about whom", "add a [[guardian]], such as the Caldicott guardian's role")
	}
	c.texts("operators", p.Operators)
	if len(p.Operators) < 2 {
		c.unwise("operators", "fewer than two are named: who is not named is not kept from approving and reviewing", "give the subjects or user ids of all who run the key holder")
	}
	if slices.ContainsFunc(p.Operators, func(who string) bool { return slices.Contains(p.Linkers, who) }) {
		c.unwise("operators", "one is a linker, too, and would have the linked data beside its keys", "let somebody else link")
	}
	c.texts("linkers", p.Linkers)
	if len(p.Linkers) == 0 {
		c.unwise("linkers", "nobody is named: who is not named is not kept from asking", "give the subjects or user ids of all who link the data")
	}
}

func (c *checker) groups(where string, groups []Group) {
	if len(groups) > maxList {
		c.wrong(where, fmt.Sprintf("there are more than %d", maxList), "put groups together")
		return
	}
	for i := range groups {
		c.group(fmt.Sprintf("%s %d", where, i+1), &groups[i])
	}
}

func (c *checker) group(where string, g *Group) {
	if len(g.Roles) == 0 {
		c.wrong(where, "it has no roles, and would be everybody", "give role codes")
	}
	c.texts(where+", roles", g.Roles)
	c.codes(where+", organisations", g.Organisations)
	c.texts(where+", activities", g.Activities)
}

// texts holds a list of names and codes that are other people's to what such can look like.
func (c *checker) texts(where string, list []string) {
	switch {
	case len(list) > maxList:
		c.wrong(where, fmt.Sprintf("there are more than %d", maxList), "give fewer")
	case !isSet(list):
		c.wrong(where, "one is there twice", "give it once")
	case slices.Contains(list, "*"):
		c.wrong(where, "there is no sign for everybody", "name each")
	case slices.ContainsFunc(list, func(s string) bool { return !isText(s) }):
		c.wrong(where, "one is empty, longer than 255 bytes, or has spaces around it or characters that are no text", "give it as the provider's tokens have it")
	}
}

// codes holds a list of ODS codes to their form.
func (c *checker) codes(where string, list []string) {
	switch {
	case len(list) > maxOrganisations:
		c.wrong(where, fmt.Sprintf("there are more than %d", maxOrganisations), "give fewer")
	case slices.ContainsFunc(list, func(s string) bool { return !isODS(s) }):
		c.wrong(where, "one is no ODS code", "give 3 to 10 of A-Z and 0-9")
	case !isSet(list):
		c.wrong(where, "one is there twice", "give it once")
	}
}

func isSet(list []string) bool {
	sorted := slices.Sorted(slices.Values(list))
	return len(slices.Compact(sorted)) == len(list)
}

func isODS(s string) bool { return odsText.MatchString(s) && !nhsnumber.In(s) }

func isText(s string) bool {
	return s != "" && len(s) <= maxText && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (c *checker) organisations() {
	if len(c.policy.Organisations) > maxOrganisations {
		c.wrong("organisation", fmt.Sprintf("there are more than %d", maxOrganisations), "give those that ask")
		return
	}
	seen := map[string]bool{}
	for i := range c.policy.Organisations {
		o := &c.policy.Organisations[i]
		where := fmt.Sprintf("organisation %d", i+1)
		if isODS(o.Code) {
			where = "organisation " + o.Code
		} else {
			c.wrong(where, "its code is no ODS code", "give 3 to 10 of A-Z and 0-9")
		}
		if seen[o.Code] {
			c.wrong(where, "it is there twice", "put both into one [[organisation]]")
		}
		seen[o.Code] = true
		c.organisation(where, o)
	}
}

func (c *checker) organisation(where string, o *Organisation) {
	if o.ListSize < 0 || o.ListSize > maxListSize {
		c.wrong(where, "its list_size is none", "give how many patients are registered with it, or leave it out if that is not known")
	}
	switch {
	case o.WorkingDays != nil && len(o.WorkingDays) == 0:
		c.wrong(where, "its working_days are none", "leave them out for mon to fri")
	case len(o.WorkingDays) > len(days) || !isSet(o.WorkingDays) || slices.ContainsFunc(o.WorkingDays, func(d string) bool { return !slices.Contains(days, d) }):
		c.wrong(where, "its working_days are none", "give some of "+strings.Join(days, ", ")+", each once")
	}
	switch {
	case len(o.Holidays) > maxList:
		c.wrong(where, fmt.Sprintf("it has more than %d holidays", maxList), "leave out those that are past")
	case slices.ContainsFunc(o.Holidays, func(day string) bool { _, err := time.Parse(time.DateOnly, day); return err != nil }):
		c.wrong(where, "one of its holidays is no day", "write it as 2006-01-02")
	case !isSet(o.Holidays):
		c.wrong(where, "one of its holidays is there twice", "give it once")
	}
}

func (c *checker) limits() {
	for _, l := range c.policy.Limits.all() {
		where := "limits, " + l.rule
		if !slices.Contains(actions, l.action) {
			c.wrong(where, "there is no such action", "give off, warn, approval or refuse")
		}
		switch {
		case l.rule == LimitOrganisationShare && !(l.share >= 0 && l.share <= 100): // NaN is neither
			c.wrong(where, "most is not 0 to 100 per cent", "give a share of the organisation's list")
		case l.rule == LimitOrganisationShare && math.Abs(l.share*percentScale-float64(perMillion(l.share))) > 1e-6:
			c.wrong(where, "most has more than four decimals", "give fewer")
		case l.most < 0 || l.most > maxLimit:
			c.wrong(where, fmt.Sprintf("most is not 0 to %d", maxLimit), "give the largest count that is as usual")
		}
		if l.action == ActionRefuse && slices.Contains(organisationLimits, l.rule) {
			c.unwise(where, "it never refuses direct care, so that no one user can stop it: TREAT goes to approval instead", "give approval to say so")
		}
	}
	if n := c.policy.Limits.Pending; n < 1 || n > maxPending {
		c.wrong("limits, pending", fmt.Sprintf("it is not 1 to %d", maxPending), "give how many requests of one user may wait at once, or leave it out for 20")
	}
}

func (c *checker) breakGlass() {
	b := &c.policy.BreakGlass
	c.texts("break_glass, assurances", b.Assurances)
	c.duration("break_glass, sign_in_within", b.SignInWithin, maxSignIn, "5m")
	c.duration("break_glass, review_within", b.ReviewWithin, maxReview, "72h")
	for _, n := range []struct {
		name              string
		is, least, at, as int
	}{
		{"user", b.User, 1, maxBreakGlass, 5}, {"organisation", b.Organisation, 1, maxBreakGlass, 20}, {"unwitnessed", b.Unwitnessed, 0, maxUnwitnessed, 3},
	} {
		switch where := "break_glass, " + n.name; {
		case n.is < n.least || n.is > n.at:
			c.wrong(where, fmt.Sprintf("it is not %d to %d", n.least, n.at), fmt.Sprintf("leave it out for %d", n.as))
		case n.is > n.as:
			c.unwise(where, fmt.Sprintf("it is more than %d", n.as), "say why in the change's record")
		}
	}
	if b.Organisation < b.User {
		c.unwise("break_glass, organisation", "it is fewer than one user may", "give at least as many")
	}
}

// duration holds the text of a duration to its bounds; what is longer than usual is unwise.
func (c *checker) duration(where, text string, longest time.Duration, usual string) {
	d, err := time.ParseDuration(text)
	limit, _ := time.ParseDuration(usual) // a constant
	switch {
	case err != nil || d <= 0 || d > longest:
		c.wrong(where, fmt.Sprintf("it is no time span up to %s", longest), "leave it out for "+usual)
	case d > limit:
		c.unwise(where, "it is longer than "+usual, "say why in the change's record")
	}
}
