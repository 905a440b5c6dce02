package keyring

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/api"
)

// hand is one way in which a human comes: with a certificate, or from an account.
type hand struct {
	human        string
	client       string // with a certificate
	subject, uid string // from an account
}

// hands are those of the model: ann and pete have a certificate and accounts, too. Nobody
// takes ann's and bob's certificates from them: they set the policy.
var hands = []hand{
	{human: "ann", client: "ann"}, {human: "ann", subject: "s1", uid: "u1"}, {human: "ann", subject: "s2", uid: "u1"},
	{human: "bob", client: "bob"},
	{human: "pete", client: "cat"}, {human: "pete", subject: "pete"},
	{human: "pat", subject: "s3", uid: "u2"}, {human: "pat", subject: "s4", uid: "u2"},
	{human: "mallory", subject: "ann"}, // as a client is called
}

// statement is what somebody was heard to say of an operation.
type statement struct {
	by   hand
	hash string
}

// ledger is what the model knows of one operation: what was asked, and not what became of it.
type ledger struct {
	asked    statement
	kind     api.OperationKind
	client   string // whom it is about
	operator bool   // it makes or unmakes an operator
	approved []statement
}

// offices is a keyring that random operators work with, and what the model knows.
type offices struct {
	*world
	r         *rapid.T
	named     []string // by the policy
	gone      bool     // cat was revoked
	ledgers   map[string]*ledger
	done      map[string]bool // operations that were carried out
	operators map[string]bool // clients of role operator
	names     int
	seen      map[string]int
}

func newOffices(t *testing.T, r *rapid.T, seen map[string]int) *offices {
	o := &offices{world: settled(t), r: r, ledgers: map[string]*ledger{}, done: map[string]bool{}, operators: map[string]bool{"ann": true, "bob": true, "cat": true}, seen: seen}
	c := o.do(api.OpClientAdd, api.ClientAdd{Name: "cat", Role: api.RoleOperator, Organisation: "X26"})
	o.enrol("cat", c.Code)
	o.setPolicy()
	return o
}

func (o *offices) setPolicy() {
	o.named = nil
	for _, name := range []string{"s1", "s2", "u1", "pete", "s3", "u2", "ann", "s9"} {
		if rapid.IntRange(0, 3).Draw(o.r, "named "+name) > 0 {
			o.named = append(o.named, name)
		}
	}
	o.setOperators(o.named...)
	o.note()
}

// note takes what was carried out as known: by the model itself.
func (o *offices) note() {
	for id, operation := range o.ring.operations {
		if operation.State == api.OpExecuted {
			o.done[id] = true
		}
	}
}

// may is the model's own word on who is an operator now.
func (o *offices) may(h hand) bool {
	if h.client != "" {
		return h.client != "cat" || !o.gone
	}
	return slices.Contains(o.named, h.subject) || h.uid != "" && slices.Contains(o.named, h.uid)
}

func (h hand) person() bool { return h.client == "" }

// caller is a hand as the service knows it; false where its certificate is no good any more.
func (o *offices) caller(h hand) (Caller, bool) {
	if h.person() {
		return AsOperator(accountOf(h.uid, h.subject)), true
	}
	return Caller{Name: h.client, Role: api.RoleOperator, Organisation: "X26"}, o.may(h)
}

// about draws a change.
func (o *offices) about() (kind api.OperationKind, document any, l ledger) {
	o.names++
	name := fmt.Sprintf("c%d", o.names)
	role := rapid.SampledFrom([]api.Role{api.RoleTokeniser, api.RoleTokeniser, api.RoleOperator, api.RoleAuditor}).Draw(o.r, "role")
	kind = rapid.SampledFrom([]api.OperationKind{api.OpClientAdd, api.OpClientAdd, api.OpClientRenew, api.OpClientRevoke, api.OpProjectAdd, api.OpDomainAdd, api.OpBackup}).Draw(o.r, "kind")
	switch kind {
	case api.OpClientAdd:
		add := tokeniserNamed(name)
		if add.Role = role; role != api.RoleTokeniser {
			add.Projects, add.SourceDatasets = nil, nil
		}
		return kind, add, ledger{client: name, operator: role == api.RoleOperator}
	case api.OpClientRenew, api.OpClientRevoke:
		all := slices.DeleteFunc(slices.Sorted(maps.Keys(o.ring.clients)), func(n string) bool { return n == "ann" || n == "bob" })
		name = rapid.SampledFrom(all).Draw(o.r, "client")
		return kind, api.ClientNamed{Name: name, Reason: "model"}, ledger{client: name, operator: o.operators[name]}
	case api.OpProjectAdd:
		return kind, api.ProjectAdd{Record: projectRecord("p"+name, "none")}, ledger{}
	case api.OpDomainAdd:
		return kind, api.DomainAdd{Name: "d" + name, Scheme: keys.SchemeKeyedHash}, ledger{}
	}
	return kind, api.Backup{}, ledger{}
}

// waiting are the operations in a state, by their ids; all where there is none.
func (o *offices) waiting(state api.OperationState) []string {
	all := slices.Sorted(maps.Keys(o.ledgers))
	if found := slices.DeleteFunc(slices.Clone(all), func(id string) bool { return o.ring.operations[id].State != state }); len(found) > 0 {
		return found
	}
	return all
}

// often reports true more often than not.
func (o *offices) often(what string) bool { return rapid.IntRange(0, 5).Draw(o.r, what) > 0 }

func (o *offices) step() {
	h := rapid.SampledFrom(hands).Draw(o.r, "hand")
	step := rapid.SampledFrom([]string{"ask", "ask", "decide", "decide", "decide", "decide", "collect", "collect", "policy", "wait"}).Draw(o.r, "step")
	if len(o.ledgers) == 0 && step != "policy" && step != "wait" {
		step = "ask"
	}
	switch step {
	case "policy":
		o.setPolicy()
	case "wait":
		o.now = o.now.Add(time.Duration(rapid.IntRange(0, 8).Draw(o.r, "hours")) * time.Hour)
	case "ask":
		o.asks(h)
	case "decide":
		o.decides(h, rapid.SampledFrom(o.waiting(api.OpPending)).Draw(o.r, "operation"))
	case "collect":
		id := rapid.SampledFrom(o.waiting(api.OpApproved)).Draw(o.r, "operation")
		if o.often("who asked collects") {
			h = o.ledgers[id].asked.by
		}
		if caller, there := o.caller(h); there {
			_, err := o.ring.Collect(o.Context(), caller, id)
			if by := o.ledgers[id].asked.by; err == nil && (h.human != by.human || h.person() != by.person()) {
				o.r.Fatalf("%+v collects what %+v asked for", h, by)
			}
		}
	}
}

func (o *offices) asks(h hand) {
	caller, there := o.caller(h)
	if !there {
		return // the certificate is refused before anything is asked of it
	}
	kind, document, l := o.about()
	asked, err := o.askAs(caller, kind, document)
	if err != nil {
		o.seen["asking refused"]++
		return
	}
	l.kind, l.asked = kind, statement{h, asked.Hash}
	o.ledgers[asked.ID] = &l
}

func (o *offices) decides(h hand, id string) {
	caller, there := o.caller(h)
	if !there {
		return
	}
	hash, decision := o.ledgers[id].asked.hash, api.DecisionApprove
	if !o.often("the right hash") {
		hash = o.ledgers[rapid.SampledFrom(slices.Sorted(maps.Keys(o.ledgers))).Draw(o.r, "hash")].asked.hash
	}
	if !o.often("yes") {
		decision = api.DecisionReject
	}
	_, err := o.ring.Decide(o.Context(), caller, id, api.ApprovalRequest{Decision: decision, Hash: hash})
	switch {
	case err != nil:
		o.seen["deciding refused"]++
	case decision == api.DecisionApprove:
		o.ledgers[id].approved = append(o.ledgers[id].approved, statement{h, hash})
	}
}

// look holds what was done since to what was said.
func (o *offices) look(before map[string]client) {
	changed := map[string]bool{}
	for name, c := range o.ring.clients {
		if was, there := before[name]; !there || was.State != c.State || string(was.CodeDigest) != string(c.CodeDigest) {
			changed[name] = true
		}
	}
	for id, operation := range o.ring.operations {
		if operation.State != api.OpExecuted || o.done[id] {
			continue
		}
		o.done[id] = true
		l := o.ledgers[id]
		o.agreed(l)
		if delete(changed, l.client); l.operator && l.kind == api.OpClientAdd {
			o.operators[l.client] = true
		}
		o.gone = o.gone || l.kind == api.OpClientRevoke && l.client == "cat"
	}
	if len(changed) > 0 {
		o.r.Fatalf("clients were changed by no operation")
	}
	for name, c := range o.ring.clients {
		if (c.Role == api.RoleOperator) != o.operators[name] {
			o.r.Fatalf("client %s is of role %s", name, c.Role)
		}
	}
}

// agreed fails unless two humans, both of one kind and operators now, said the same.
func (o *offices) agreed(l *ledger) {
	who := l.asked.by
	if !o.may(who) {
		o.r.Fatalf("%s was done for %+v, who is no operator", l.kind, who)
	}
	if people := []api.OperationKind{"project.add", "project.renew", "client.add", "client.renew", "client.revoke"}; who.person() && (l.operator || !slices.Contains(people, l.kind)) {
		o.r.Fatalf("a person has had %s done (of an operator: %t)", l.kind, l.operator)
	}
	if !slices.ContainsFunc(l.approved, func(s statement) bool {
		return s.hash == l.asked.hash && s.by.human != who.human && s.by.person() == who.person() && o.may(s.by)
	}) {
		o.r.Fatalf("%s, asked for by %+v, was done on the word of %+v; operators are %v", l.kind, who, l.approved, o.named)
	}
	kind := "by certificates"
	if who.person() {
		kind = "by people"
	}
	o.seen[kind+": "+string(l.kind)]++
}

// TestNothingIsDoneOnOneHumansWord: whatever people and certificates ask for and approve
// while the policy changes, what is done was agreed to by two humans who are operators then,
// both people or both with certificates; and people make and unmake no operator.
func TestNothingIsDoneOnOneHumansWord(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		o := newOffices(t, r, seen)
		for range rapid.IntRange(40, 160).Draw(r, "steps") {
			before := map[string]client{}
			for name, c := range o.ring.clients {
				before[name] = *c
			}
			o.step()
			o.look(before)
		}
	})
	t.Log(seen)
	for _, name := range []string{"by people: client.add", "by people: client.revoke", "by people: client.renew", "by people: project.add",
		"by certificates: client.add", "by certificates: domain.add", "asking refused", "deciding refused"} {
		if seen[name] == 0 && !t.Failed() {
			t.Errorf("it never happened: %s", name)
		}
	}
}
