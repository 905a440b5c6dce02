package requests_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"tarn/keys/audit"
	"tarn/keys/holder/internal/requests"
	"tarn/keys/nhsnumber"
	"tarn/keys/reidentify"
)

// checking is what is known of the log. It is read from the store, entry by entry, and
// nothing of it comes from what is tested.
type checking struct {
	read     int // entries that were read
	leaves   map[uint64]*audit.Leaf
	of       map[string][]uint64 // entries by the request that they are of
	outcomes map[uint64][]uint64 // by intent
	again    map[uint64]int      // how often an intent's was shown again, by entries
	policy   map[uint64]*rights  // that held at each entry
	holds    *rights
	released map[uint64]*release // by intent
}

// release is what people were given of one intent.
type release struct {
	times   int
	session string
}

func newChecking() checking {
	return checking{leaves: map[uint64]*audit.Leaf{}, of: map[string][]uint64{}, outcomes: map[uint64][]uint64{}, again: map[uint64]int{}, policy: map[uint64]*rights{}, released: map[uint64]*release{}}
}

var byDigest = func() map[string]*rights {
	all := map[string]*rights{}
	for _, r := range policies {
		sum := sha256.Sum256([]byte(r.document))
		all[hex.EncodeToString(sum[:])] = r
	}
	return all
}()

// check reads the entries that have come, and holds each to those before it.
func (m *model) check() {
	c := &m.checking
	for ; c.read < len(m.store.events); c.read++ {
		entry, i := m.store.events[c.read], uint64(c.read)
		m.silent(string(entry))
		leaf, err := audit.Decode(entry)
		if err != nil {
			m.Fatal(err)
		}
		if leaf.Kind == audit.KindPolicy {
			c.holds = byDigest[leaf.Policy]
		}
		c.leaves[i], c.policy[i] = &leaf, c.holds
		m.named(&leaf)
		m.follows(i, &leaf)
		c.of[leaf.Request] = append(c.of[leaf.Request], i)
	}
	if m.nested {
		return
	}
	opened := map[string]uint64{}
	for i, leaf := range c.leaves {
		if leaf.Kind != audit.KindReidIntent {
			continue
		}
		if len(c.outcomes[i]) != 1 {
			m.Fatalf("entry %d, an intent, has %d outcomes", i, len(c.outcomes[i]))
		}
		if outcome := c.leaves[c.outcomes[i][0]].Outcome; outcome == "failed" {
			continue
		}
		name := leaf.Request + leaf.TokenH + leaf.Actor.Organisation
		if _, before := opened[name]; before {
			m.Fatalf("one patient of one request was opened twice: entry %d", i)
		}
		opened[name] = i
	}
}

// silent fails where an entry holds what it must not: a token, digits, what people wrote.
func (m *model) silent(entry string) {
	secrets := append([]string{planted, "tarn1"}, numbers...)
	for _, t := range m.tokens {
		secrets = append(secrets, hex.EncodeToString(t.value[:]), t.text[10:40])
	}
	for _, s := range secrets {
		if strings.Contains(strings.ToLower(entry), s) {
			m.Fatalf("an entry holds what it must not: %s", entry)
		}
	}
}

// named fails where a patient has another name than elsewhere, in another epoch or domain.
func (m *model) named(leaf *audit.Leaf) {
	if leaf.TokenH == "" {
		return
	}
	for _, t := range m.tokens {
		if t.tokenH != leaf.TokenH {
			continue
		}
		// The first entry of a request, of which who asked gets a receipt, says of no patient
		// whose tokens they have.
		want := t.subjectH
		if leaf.Ref == nil && (leaf.Kind == audit.KindReidRequest || leaf.Kind == audit.KindWorklist) {
			want = ""
		}
		if leaf.Project == "care" && want != leaf.SubjectH {
			m.Fatalf("the patient has two names: %+v", leaf)
		}
		return
	}
	m.Fatalf("an entry is about a token that there is not: %+v", leaf)
}

// follows fails where an entry rests on none before it.
func (m *model) follows(i uint64, leaf *audit.Leaf) {
	c := &m.checking
	before := func() *audit.Leaf {
		if leaf.Ref == nil || c.leaves[*leaf.Ref] == nil || c.leaves[*leaf.Ref].Request != leaf.Request {
			m.Fatalf("entry %d rests on none before it: %+v", i, leaf)
		}
		return c.leaves[*leaf.Ref]
	}
	want := audit.KindReidIntent
	switch leaf.Kind {
	case audit.KindReidIntent:
		before()
		return
	case audit.KindReidOutcome:
		c.outcomes[*leaf.Ref] = append(c.outcomes[*leaf.Ref], i)
		m.count("unknown", leaf.Outcome == "unknown")
		m.count("given back", leaf.Rule == "witness_unavailable")
	case audit.KindRedeliver:
		c.again[*leaf.Ref]++
	case audit.KindApproval:
		m.approvedHash(leaf)
		return
	default:
		return
	}
	if on := before(); on.Kind != want || on.TokenH != leaf.TokenH || on.Actor != leaf.Actor {
		m.Fatalf("entry %d is about another intent: %+v after %+v", i, leaf, on)
	}
}

func (m *model) count(name string, is bool) {
	if is {
		m.seen[name]++
	}
}

// approvedHash fails where the log has an approval that nobody has given to this request.
func (m *model) approvedHash(leaf *audit.Leaf) {
	for _, a := range m.all {
		if a.hash == leaf.Request && (leaf.Decision == audit.Deny || a.approved[leaf.Actor.Issuer+" "+leaf.Actor.Subject]) {
			return
		}
	}
	m.Fatalf("nobody has approved this: %+v", leaf)
}

// released holds what somebody was given to the log.
func (m *model) released(a *asked, by *somebody, opened *requests.Opened) {
	for i := range opened.Items {
		item := &opened.Items[i]
		if a.route != "" && a.recipients[item.Item.Token] != by.Organisation {
			m.Fatalf("%s was told of a patient of %s", by.account(), a.recipients[item.Item.Token])
		}
		if item.Identity == nil {
			continue
		}
		digits := ""
		item.Identity.Identity.Release(func(n *nhsnumber.Number) { digits = string(n[:]) })
		t := m.tokens[item.Item.Token]
		if t == nil || t.number != digits || !contains(a.tokens, t) {
			m.Fatalf("somebody else was opened")
		}
		m.mayHave(a, by, t)
	}
}

func contains(all []*token, t *token) bool {
	for _, one := range all {
		if one.text == t.text {
			return true
		}
	}
	return false
}

// mayHave fails unless the log says, in its order, by what somebody was given a patient.
func (m *model) mayHave(a *asked, by *somebody, t *token) {
	c := &m.checking
	if a.hash == "" {
		m.Fatalf("a request was opened that nobody has made")
	}
	intent, outcome := m.openingOf(a, by, t)
	r := c.released[intent]
	if r == nil {
		r = &release{session: by.Session}
		c.released[intent] = r
	}
	r.times++
	if at := m.timeOf(intent); r.times > 1 {
		m.seen["shown again"]++
		if r.session != by.Session || m.shownAt(intent).Sub(at) >= 5*time.Minute || c.again[intent] < r.times-1 || c.again[intent] > 2 {
			m.Fatalf("it was shown again: %d times by the log, %d in truth, after %v", c.again[intent], r.times, m.now.Sub(at))
		}
	}
	if l := c.leaves[outcome]; l.SubjectH != t.subjectH && !a.nameless[t.text] {
		m.Fatalf("the patient has another name than in the other domain: %+v", l)
	}
	entry := m.entryOf(a, t)
	decision := m.decisionOf(a, entry, intent)
	rule := c.leaves[decision].Rule
	m.seen["released by "+rule]++
	held := c.policy[intent]
	switch rule {
	case "relationship":
		m.rightAt(held, a, by, reidentify.WhenRelationship)
		m.answered(c.leaves[decision].EvidenceH, a, t, by.Organisation, 0)
	case "approved":
		m.approvals(a, entry, decision)
	case "routed":
		m.rightAt(held, a, &a.by, reidentify.WhenRouted)
	case "break_glass":
		m.glass(a, held, intent, outcome)
	default:
		m.Fatalf("it was opened by %q", rule)
	}
	m.recipient(a, by, t, held, entry, intent)
	if rule == "relationship" || a.route != "" {
		m.related(a, by, t, entry, intent)
	}
	if rule != "break_glass" && held.may(&a.by, a.project, a.purpose) == "" {
		m.Fatalf("the policy does not allow it any more")
	}
	for _, i := range c.of[a.hash] {
		if l := c.leaves[i]; i < intent && (l.Outcome == "void" || l.Decision == audit.Deny && (l.Kind == audit.KindApproval || l.Kind == audit.KindReidDecision && l.Ref == nil)) {
			m.Fatalf("it was opened after entry %d: %+v", i, l)
		}
	}
	if at := m.timeOf(intent); !at.Before(a.expires) || at.Before(a.made) {
		m.Fatalf("it was opened after it had expired")
	}
	m.signed(a, intent, outcome)
}

// shownAt is when the log says last that an intent's was shown again.
func (m *model) shownAt(intent uint64) (at time.Time) {
	for _, i := range m.checking.of[m.checking.leaves[intent].Request] {
		if l := m.checking.leaves[i]; l.Kind == audit.KindRedeliver && *l.Ref == intent {
			at = m.timeOf(i)
		}
	}
	return at
}

func (m *model) timeOf(i uint64) time.Time {
	at, err := time.Parse(audit.TimeLayout, m.checking.leaves[i].Time)
	if err != nil {
		m.Fatal(err)
	}
	return at
}

// openingOf returns the one intent and its outcome by which somebody was given a patient.
func (m *model) openingOf(a *asked, by *somebody, t *token) (intent, outcome uint64) {
	c := &m.checking
	found := 0
	for _, i := range c.of[a.hash] {
		l := c.leaves[i]
		if l.Kind != audit.KindReidIntent || l.TokenH != t.tokenH || l.Actor.Organisation != by.Organisation || len(c.outcomes[i]) != 1 {
			continue
		}
		if o := c.outcomes[i][0]; c.leaves[o].Outcome == "released" {
			found, intent, outcome = found+1, i, o
		}
	}
	if found != 1 {
		m.Fatalf("a patient was named, and the log has %d intents with that outcome", found)
	}
	if l := c.leaves[intent]; l.Actor.Issuer != by.Issuer || whose(l.Actor.Issuer, l.Actor.Subject) != by.who {
		m.Fatalf("somebody was given what the log says that others have opened")
	}
	return intent, outcome
}

// entryOf returns the entry that says that it was asked.
func (m *model) entryOf(a *asked, t *token) uint64 {
	c := &m.checking
	kind := audit.KindReidRequest
	if a.route != "" {
		kind = audit.KindWorklist
	}
	for _, i := range c.of[a.hash] {
		l := c.leaves[i]
		if l.Kind == kind && l.Ref == nil && l.Actor.Subject == a.by.Subject && l.Actor.Issuer == a.by.Issuer && l.Actor.Role == a.by.Role && l.Count == int64(len(a.tokens)) && l.ReasonCommit != "" &&
			(len(a.tokens) > 1 || l.TokenH == t.tokenH) {
			return i
		}
	}
	m.Fatalf("the log does not say that it was asked")
	return 0
}

// decisionOf returns the one decision that allows a request.
func (m *model) decisionOf(a *asked, entry, intent uint64) (decision uint64) {
	c := &m.checking
	for _, i := range c.of[a.hash] {
		if l := c.leaves[i]; i > entry && i < intent && l.Kind == audit.KindReidDecision && l.Ref == nil && l.Decision == audit.Allow {
			if decision != 0 {
				m.Fatalf("two decisions allow one request")
			}
			decision = i
		}
	}
	if decision == 0 {
		m.Fatalf("no decision allows it")
	}
	return decision
}

func (m *model) rightAt(held *rights, a *asked, by *somebody, when reidentify.When) {
	if got := held.may(by, a.project, a.purpose); got != when {
		m.Fatalf("%s has opened it by %q; the policy then says %q", by.account(), when, got)
	}
}

// answered fails unless the region has said, in what an entry refers to, that an
// organisation has to do with a patient, less than a minute before.
func (m *model) answered(evidence string, a *asked, t *token, organisation string, before int) {
	if len(a.tokens) > 1 && before == 0 {
		return // of a list the digest of all: the answers of each are entries of their own
	}
	told, there := m.region.answers[evidence]
	if !there || !told.allowed || told.token != t.text || told.organisation != organisation {
		m.Fatalf("the region has not said so: %+v", told)
	}
	if before > 0 {
		if age := m.timeOf(uint64(before)).Sub(told.at); age < 0 || age >= time.Minute {
			m.Fatalf("the region has said so %v before", age)
		}
	}
}

// related fails unless the region was asked anew when it was opened.
func (m *model) related(a *asked, by *somebody, t *token, entry, intent uint64) {
	c := &m.checking
	for _, i := range c.of[a.hash] {
		l := c.leaves[i]
		if i < intent && i+8 > intent && l.Kind == audit.KindReidDecision && l.Ref != nil && *l.Ref == entry && l.Decision == audit.Allow && l.TokenH == t.tokenH && l.Actor.Organisation == by.Organisation {
			m.answered(l.EvidenceH, a, t, by.Organisation, int(i))
			return
		}
	}
	m.Fatalf("the region was not asked when it was opened")
}

// approvals fails unless enough others have approved a request, one of a controller.
func (m *model) approvals(a *asked, entry, decision uint64) {
	c := &m.checking
	people, controller := map[string]bool{}, false
	for _, i := range c.of[a.hash] {
		l := c.leaves[i]
		if l.Kind != audit.KindApproval || i < entry || i > decision || l.Decision != audit.Approve {
			continue
		}
		who := whose(l.Actor.Issuer, l.Actor.Subject)
		if who == "" || who == a.by.who || l.Actor.Role != "approver" || !c.policy[i].approver(who) {
			m.Fatalf("%s has approved a request of %s", who, a.by.who)
		}
		people[who] = true
		controller = controller || l.Actor.Organisation == "QMJ"
	}
	if needed := a.policy.approvals; len(people) < needed || !controller {
		m.Fatalf("%d have approved, of a controller: %v; it needs %d", len(people), controller, needed)
	}
}

// glass fails unless an emergency is one, and somebody was told.
func (m *model) glass(a *asked, held *rights, intent, outcome uint64) {
	c := &m.checking
	if a.by.who != "dora" || a.by.Assurance != "AAL3" || a.made.Sub(a.by.SignedIn) > 5*time.Minute || a.purpose != reidentify.EmergencyTreatment || len(a.tokens) != 1 || !held.emergencies {
		m.Fatalf("it was no emergency: %s", a.by.account())
	}
	for _, i := range c.of[a.hash] {
		if l := c.leaves[i]; l.Kind == audit.KindAlarm && l.Rule == audit.RuleBreakGlass && i < outcome && i+3 > intent {
			return
		}
	}
	m.Fatalf("nobody was told of the emergency")
}

// recipient fails where somebody was given what is for others.
func (m *model) recipient(a *asked, by *somebody, t *token, held *rights, entry, intent uint64) {
	switch {
	case a.route == "" && (by.who != a.by.who || by.Issuer != a.by.Issuer || by.Organisation != a.by.Organisation):
		m.Fatalf("%s was given what %s has asked", by.account(), a.by.account())
	case a.route == "" && a.purpose == reidentify.EmergencyTreatment && by.Assurance != "AAL3":
		m.Fatalf("an emergency was opened in a weaker sign-in")
	case a.route == "" && by.Role != a.by.Role:
		m.Fatalf("%s has asked, and %s has opened", a.by.Role, by.Role)
	case a.route != "" && (by.who == a.by.who || by.Issuer != issuer || by.Role != "gp" || a.recipients[t.text] != by.Organisation):
		m.Fatalf("%s was given a patient of %s", by.account(), a.recipients[t.text])
	case a.route != "" && held.may(by, a.project, reidentify.Treatment) == "":
		m.Fatalf("%s, who may not see patients, was given one", by.account())
	}
}

// signed fails where the witness had not signed an intent, but in an emergency, of which
// three may be outstanding.
func (m *model) signed(a *asked, intent, outcome uint64) {
	c := &m.checking
	if !c.leaves[outcome].Unwitnessed {
		if m.witness.signed <= intent {
			m.Fatalf("the witness has not signed entry %d", intent)
		}
		return
	}
	m.seen["unwitnessed"]++
	outstanding := 0
	for i, outcomes := range c.outcomes {
		if i >= m.witness.signed && c.leaves[outcomes[0]].Unwitnessed && c.leaves[outcomes[0]].Outcome == "released" {
			outstanding++
		}
	}
	if a.purpose != reidentify.EmergencyTreatment || outstanding > 3 {
		m.Fatalf("%d are outstanding, the last by %s", outstanding, a.purpose)
	}
}
