package requests

import (
	"crypto/sha256"
	"encoding/hex"

	"tarn/keys"
	"tarn/keys/audit"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/regions"
	"tarn/keys/reidentify"
)

// actorOf is a person as entries name them.
func actorOf(p *reidentify.Person) audit.Actor {
	return audit.Actor{Issuer: p.Issuer, Organisation: p.Organisation, Role: p.Role, Subject: p.Subject}
}

// leafOf is what every entry of a request says.
func leafOf(kind audit.Kind, r *reidentify.Request, by *reidentify.Person) audit.Leaf {
	return audit.Leaf{
		Kind: kind, Actor: actorOf(by), Project: r.Project, Domain: r.Domain, TokenEpoch: r.Epoch, Purpose: string(r.Purpose), Request: r.Hash,
	}
}

// about puts into an entry whom it is about.
func about(leaf audit.Leaf, item *reidentify.Item) audit.Leaf {
	leaf.TokenH, leaf.SubjectH = item.TokenH, item.Subject
	return leaf
}

// ruleItem is the rule of entries that say of each patient of a list that they were asked
// about.
const ruleItem = "item"

// requested writes down that somebody asks, and about whom: one entry of the request, and
// where it is a list one of each patient, with what the region has said of them.
func requested(c *keyring.Change, r *reidentify.Request, answers []*regions.Answer) (first uint64) {
	leaf := leafOf(audit.KindReidRequest, r, &r.Requester)
	leaf.Count, leaf.ReasonCommit = int64(len(r.Items)), r.Reason.Commitment()
	if r.Route != "" {
		leaf.Kind, leaf.Outcome = audit.KindWorklist, string(r.Route)
	}
	if len(r.Items) == 1 {
		// Whoever asks gets a receipt of this entry. Two of them, of tokens of two domains or
		// epochs, would tell whether the patient is one: whose it is the decision's entry says.
		leaf.TokenH = r.Items[0].TokenH
		return c.Event(leaf)
	}
	first = c.Event(leaf)
	for i := range r.Items {
		if r.Items[i].Token == "" {
			continue
		}
		item := leafOf(audit.KindReidRequest, r, &r.Requester)
		item.Rule, item.Ref = ruleItem, &first
		if a := answerOf(answers, i); a != nil {
			item.Kind, item.Decision, item.EvidenceH = audit.KindRelationship, decisionOf(a), hex.EncodeToString(a.Evidence[:])
		}
		c.Event(about(item, &r.Items[i]))
	}
	return first
}

func answerOf(answers []*regions.Answer, i int) *regions.Answer {
	if i >= len(answers) {
		return nil
	}
	return answers[i]
}

func decisionOf(a *regions.Answer) audit.Decision {
	if related(a) {
		return audit.Allow
	}
	return audit.Deny
}

// evidenceOf is the digest of all that a region has said of a request's patients: of one
// patient the answer's own, of several that of theirs, one after another.
// routes, nil where none were asked for, come last.
func evidenceOf(answers []*regions.Answer, routes *regions.Routes) string {
	var all []byte
	for _, a := range answers {
		if a != nil {
			all = append(all, a.Evidence[:]...)
		}
	}
	if routes != nil {
		all = append(all, routes.Evidence[:]...)
	}
	switch len(all) {
	case 0:
		return ""
	case sha256.Size:
		return hex.EncodeToString(all)
	}
	sum := sha256.Sum256(all)
	return hex.EncodeToString(sum[:])
}

// outcomes of decisions, as entries say them.
var logged = map[reidentify.State]audit.Decision{reidentify.Ready: audit.Allow, reidentify.Pending: audit.Pending, reidentify.Refused: audit.Deny}

// decided writes down a decision, and the limits that have fired.
func decided(c *keyring.Change, r *reidentify.Request, by *reidentify.Person, evidence string) {
	d := &r.Decision
	for _, fired := range d.Fired {
		leaf := leafOf(audit.KindAlarm, r, &r.Requester)
		leaf.Rule, leaf.Outcome = audit.RuleLimit+"/"+fired.Rule, string(fired.Action)
		if fired.Simulated {
			leaf.Outcome = "simulated-" + leaf.Outcome
		}
		c.Event(leaf)
	}
	leaf := leafOf(audit.KindReidDecision, r, by)
	leaf.Decision, leaf.Rule, leaf.Policy, leaf.EvidenceH = logged[d.Outcome], string(d.Rule), d.Policy, evidence
	if d.Limit != "" {
		leaf.Rule += "/" + d.Limit
	}
	if len(r.Items) == 1 {
		leaf = about(leaf, &r.Items[0])
	}
	c.Event(leaf)
}

// whoAskedHash binds a region's answer to the question who has asked about a patient.
func whoAskedHash(by *reidentify.Person, tokenH string) string {
	sum := sha256.Sum256(keys.LP(keys.Text("tarn/who-asked/v1"), keys.Text(by.Issuer), keys.Text(by.Subject), keys.Text(tokenH)))
	return hex.EncodeToString(sum[:])
}
