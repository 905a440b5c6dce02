package keyring

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
)

// An operation is a change that one operator asks for and another approves.
// Both see the same document, and approve its hash. It is checked when it is
// asked for, so that nobody approves what cannot be done, and again when it is
// carried out.

// operation is how one kind of operation is checked and carried out.
type operation struct {
	// check refuses what cannot be done as things are.
	check func(*Keyring, jsontext.Value) error
	// apply carries it out, after a check under the same lock. Where the result is
	// a secret or a file it is carried out when who asked collects it.
	apply func(*transaction, jsontext.Value) (outcome string, err error)
	// collect is apply for those.
	collect func(*transaction, jsontext.Value) (*Collected, string, error)
}

// Collected is what an operation gives to who asked for it.
type Collected struct {
	api.Collected
	Export *keys.KeyFile // key.export: to be sealed to the operator
	Backup bool          // backup: to be made
	// SealTo and Certificate are the operator's, for Export.
	SealTo      []byte
	Certificate [sha256.Size]byte
}

// body decodes an operation's body, strictly.
func body[T any](value jsontext.Value) (*T, error) {
	b := new(T)
	if err := keys.DecodeStrict(value, b); err != nil {
		return nil, api.Refuse(api.CodeMalformed, "the body of the operation: "+err.Error(), "see docs/key-holder.md for the bodies of operations")
	}
	return b, nil
}

func plain[T any](check func(*Keyring, *T) error, apply func(*transaction, *T) (string, error)) operation {
	return operation{
		check: func(k *Keyring, value jsontext.Value) error {
			b, err := body[T](value)
			if err != nil {
				return err
			}
			return check(k, b)
		},
		apply: func(t *transaction, value jsontext.Value) (string, error) {
			b, err := body[T](value)
			if err != nil {
				return "", err
			}
			return apply(t, b)
		},
	}
}

func collected[T any](check func(*Keyring, *T) error, collect func(*transaction, *T) (*Collected, string, error)) operation {
	o := plain(check, func(*transaction, *T) (string, error) { return "", nil })
	o.apply = nil
	o.collect = func(t *transaction, value jsontext.Value) (*Collected, string, error) {
		b, err := body[T](value)
		if err != nil {
			return nil, "", err
		}
		return collect(t, b)
	}
	return o
}

// operationOf returns how a kind is done.
func operationOf(kind api.OperationKind) (operation, bool) {
	keyChange := func(to api.EpochState) operation {
		return plain(func(k *Keyring, b *api.KeyChange) error { return k.checkKeyChange(kind, b) },
			func(t *transaction, b *api.KeyChange) (string, error) { return t.setState(b, to) })
	}
	switch kind {
	case api.OpDomainAdd:
		return plain((*Keyring).checkDomainAdd, (*transaction).addDomain), true
	case api.OpProjectAdd:
		return plain((*Keyring).checkProjectAdd, (*transaction).addProject), true
	case api.OpProjectRenew:
		return plain((*Keyring).checkProjectRenew, (*transaction).renewProject), true
	case api.OpClientAdd:
		return collected((*Keyring).checkClientAdd, func(t *transaction, b *api.ClientAdd) (*Collected, string, error) {
			c, err := t.addClient(b)
			return code(c, err, "client "+b.Name+" added; its code was collected")
		}), true
	case api.OpClientRenew:
		return collected((*Keyring).checkClientRenew, func(t *transaction, b *api.ClientNamed) (*Collected, string, error) {
			c, err := t.renewClient(b)
			return code(c, err, "client "+b.Name+" has a new code; it was collected")
		}), true
	case api.OpClientRevoke:
		return plain((*Keyring).checkClientRevoke, (*transaction).revokeClient), true
	case api.OpGrantAdd:
		return plain((*Keyring).checkGrantAdd, (*transaction).addGrant), true
	case api.OpGrantRevoke:
		return plain((*Keyring).checkGrantRevoke, (*transaction).revokeGrant), true
	case api.OpKeyRotate:
		return plain(func(k *Keyring, b *api.KeyChange) error { return k.checkKeyChange(kind, b) }, (*transaction).rotate), true
	case api.OpKeyRetire:
		return keyChange(api.StateRetired), true
	case api.OpKeyDestroy:
		return keyChange(api.StateDestroyed), true
	case api.OpKeyExport:
		return collected((*Keyring).checkKeyExport, (*transaction).exportKeys), true
	case api.OpBudgetReset:
		return plain((*Keyring).checkBudgetReset, (*transaction).resetBudget), true
	case api.OpPolicySet:
		return plain((*Keyring).checkPolicySet, (*transaction).setPolicy), true
	case api.OpBackup:
		return collected(func(*Keyring, *api.Backup) error { return nil }, func(t *transaction, _ *api.Backup) (*Collected, string, error) {
			t.event(audit.Leaf{Kind: audit.KindBackup, Decision: audit.Allow})
			return &Collected{Backup: true}, "backup begun", nil
		}), true
	}
	return operation{}, false
}

func code(c *api.Collected, err error, outcome string) (*Collected, string, error) {
	if err != nil {
		return nil, "", err
	}
	return &Collected{Collected: *c}, outcome, nil
}

func (t *transaction) exportKeys(b *api.KeyExport) (*Collected, string, error) {
	file, err := t.keyring.export(t.keyring.projects[b.Project])
	if err != nil {
		return nil, "", err
	}
	g := *t.keyring.grants[b.Grant]
	g.State, g.Used = grantUsed, pointer(t.now)
	t.putGrant(&g, grantUsed)
	return &Collected{Export: file}, "the keys of project " + b.Project + " were exported", nil
}

// maxPending is how many operations may wait at once.
const maxPending = 1000

// Ask asks for a change. Where one operator is enough it is carried out, or
// ready to be collected, at once. The request's id makes the operation's: a
// retry gets the same operation.
func (k *Keyring) Ask(ctx context.Context, caller Caller, requestID string, request api.OperationRequest) (asked api.Operation, err error) {
	how, known := operationOf(request.Kind)
	if !known {
		return asked, api.Refuse(api.CodeMalformed, "there is no such kind of operation", "see docs/key-holder.md")
	}
	canonical, err := keys.Canonical(request.Body)
	if err != nil {
		return asked, api.Refuse(api.CodeMalformed, "the body of the operation: "+err.Error(), "")
	}
	if jsontext.Value(canonical).Kind() != '{' {
		return asked, api.Refuse(api.CodeMalformed, "the body of the operation is no object", "see docs/key-holder.md for the bodies of operations")
	}
	id := idOf("operation", caller, requestID)
	err = k.change(ctx, func(t *transaction) error {
		if err := k.mayChange(caller, request.Kind, canonical); err != nil {
			return err
		}
		if again := k.operations[id]; again != nil {
			if again.Kind != request.Kind || !bytes.Equal(again.Body, canonical) {
				return api.Refuse(api.CodeConflict, "a request of this id was answered before, and was another", "give each request an id of its own")
			}
			asked = *again
			return nil
		}
		if pending := k.pending(t.now); pending >= maxPending {
			return api.Refuse(api.CodeBusy, "too many operations wait for approval", "approve or reject some: keyholder approvals list")
		}
		if err := how.check(k, canonical); err != nil {
			return err
		}
		o := &api.Operation{
			ID: id, Kind: request.Kind, Body: canonical, Requester: caller.Name, Person: caller.Person, Created: t.now, Expires: t.now.Add(operationTTL),
			State: api.OpPending, Needed: k.options.OperatorsRequired - 1, Approvals: []api.OperationApproval{}, Collect: how.collect != nil,
		}
		if o.Hash, err = api.OperationHash(o); err != nil {
			return err
		}
		t.event(k.operationLeaf(caller, o, audit.Pending))
		if o.Needed == 0 {
			if err := t.settle(caller, o, how); err != nil {
				return err
			}
		}
		t.putOperation(o)
		asked = *o
		return nil
	})
	return asked, err
}

func (k *Keyring) operationLeaf(caller Caller, o *api.Operation, decision audit.Decision) audit.Leaf {
	return audit.Leaf{Kind: audit.KindOperatorApproval, Actor: caller.actor(), Request: o.Hash, Purpose: string(o.Kind), Decision: decision}
}

func (t *transaction) putOperation(o *api.Operation) {
	t.keyring.operations[o.ID] = o
	t.put(kindOperation, o.ID, o)
}

// pending counts the operations that wait.
func (k *Keyring) pending(now time.Time) (n int) {
	for _, o := range k.operations {
		if o.State == api.OpPending && now.Before(o.Expires) {
			n++
		}
	}
	return n
}

// settle carries out an operation that has its approvals, or leaves it to be
// collected. The check has been made under this lock.
func (t *transaction) settle(caller Caller, o *api.Operation, how operation) (err error) {
	if how.collect != nil {
		o.State = api.OpApproved
		return nil
	}
	if o.Outcome, err = how.apply(t, o.Body); err != nil {
		return err
	}
	o.State = api.OpExecuted
	t.event(t.keyring.operationLeaf(caller, o, audit.Allow))
	return nil
}

// Decide approves or rejects an operation that another operator asked for.
func (k *Keyring) Decide(ctx context.Context, caller Caller, id string, request api.ApprovalRequest) (decided api.Operation, err error) {
	var refused error
	err = k.change(ctx, func(t *transaction) error {
		old := k.operations[id]
		if again, err := k.mayDecide(caller, old, &request, t.now); again || err != nil {
			if again {
				decided = *old
			}
			return err
		}
		o := *old
		o.Approvals = append(slices.Clone(old.Approvals), api.OperationApproval{Client: caller.Name, Person: caller.Person, Decision: request.Decision, Time: t.now})
		if request.Decision == api.DecisionReject {
			o.State = api.OpRejected
			t.event(k.operationLeaf(caller, &o, audit.Deny))
		} else {
			t.event(k.operationLeaf(caller, &o, audit.Approve))
			if k.approvals(&o) >= o.Needed {
				how, _ := operationOf(o.Kind)
				if refused = how.check(k, o.Body); refused != nil {
					o.State, o.Outcome = api.OpRefusedAt, "no longer possible when it was approved"
				} else if err := t.settle(caller, &o, how); err != nil {
					return err
				}
			}
		}
		t.putOperation(&o)
		decided = o
		return nil
	})
	if err == nil {
		err = refused
	}
	return decided, err
}

// mayDecide refuses a decision that cannot count. again says that the same was said before,
// which is a retry.
func (k *Keyring) mayDecide(caller Caller, o *api.Operation, request *api.ApprovalRequest, now time.Time) (again bool, err error) {
	if err := k.mayOperate(caller); err != nil {
		return false, err
	}
	if o == nil {
		return false, noSuch("operation", "list them with: keyholder approvals list")
	}
	if err := k.mayChange(caller, o.Kind, o.Body); err != nil {
		return false, err
	}
	said := func(a api.OperationApproval) bool { return caller.is(a.Client, a.Person) }
	approve := request.Decision == api.DecisionApprove
	switch {
	case slices.ContainsFunc(o.Approvals, func(a api.OperationApproval) bool {
		return said(a) && a.Decision == request.Decision && hmac.Equal([]byte(o.Hash), []byte(request.Hash))
	}):
		return true, nil
	case !approve && request.Decision != api.DecisionReject:
		return false, api.Refuse(api.CodeMalformed, "the decision is neither approve nor reject", "")
	case stateAt(o, now) != api.OpPending:
		return false, api.Refuse(api.CodeConflict, "the operation is "+string(stateAt(o, now)), "ask for it again if it is still wanted")
	case !hmac.Equal([]byte(o.Hash), []byte(request.Hash)):
		return false, api.Refuse(api.CodeHashDiffers, "the hash is not this operation's", "read it again: keyholder approvals show")
	case approve && caller.is(o.Requester, o.Person):
		return false, api.Refuse(api.CodeApproverIsAsker, "", "ask another operator")
	case approve && caller.isPerson() != isPerson(o.Person):
		return false, acrossRefused(caller)
	case slices.ContainsFunc(o.Approvals, said):
		return false, api.Refuse(api.CodeConflict, "this operator has decided already", "")
	case approve && !k.isOperator(o.Requester, o.Person):
		return false, api.Refuse(api.CodeConflict, "who asked for it is no operator any more", "reject it, and ask for it again if it is still wanted")
	}
	return false, nil
}

// approvals counts those of operators that still are: an operator who was
// revoked since, or whom the policy no longer names, approves nothing.
func (k *Keyring) approvals(o *api.Operation) (n int) {
	for _, a := range o.Approvals {
		if a.Decision == api.DecisionApprove && k.isOperator(a.Client, a.Person) {
			n++
		}
	}
	return n
}

// Collect carries out an approved operation whose result is a secret or a file,
// and gives it to who asked, once.
func (k *Keyring) Collect(ctx context.Context, caller Caller, id string) (result *Collected, err error) {
	err = k.change(ctx, func(t *transaction) error {
		old := k.operations[id]
		if err := k.mayOperate(caller); err != nil {
			return err
		}
		switch {
		case old == nil:
			return noSuch("operation", "list them with: keyholder approvals list")
		case !caller.is(old.Requester, old.Person):
			return api.Refuse(api.CodeForbidden, "only who asked may collect", "")
		case stateAt(old, t.now) == api.OpPending:
			return api.Refuse(api.CodeApprovalRequired, "nobody has approved it yet", "ask another operator: keyholder approvals approve")
		case stateAt(old, t.now) != api.OpApproved:
			return api.Refuse(api.CodeConflict, "the operation is "+string(stateAt(old, t.now)), "ask for it again if it is still wanted")
		case !k.isOperator(old.Requester, old.Person) || k.approvals(old) < old.Needed:
			return api.Refuse(api.CodeConflict, "who asked for it or approved it is no operator any more", "ask for it again if it is still wanted")
		}
		if err := k.mayChange(caller, old.Kind, old.Body); err != nil {
			return err
		}
		how, _ := operationOf(old.Kind)
		if err := how.check(k, old.Body); err != nil {
			return err
		}
		o := *old
		if result, o.Outcome, err = how.collect(t, o.Body); err != nil {
			return err
		}
		if c := k.clients[caller.Name]; c != nil { // nothing is sealed to a person
			result.SealTo = c.SealingKey
			result.Certificate, _ = digestOf(c.Certificate)
		}
		o.State = api.OpExecuted
		t.event(k.operationLeaf(caller, &o, audit.Allow))
		t.putOperation(&o)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// stateAt is an operation's state at a time: it expires by itself.
func stateAt(o *api.Operation, now time.Time) api.OperationState {
	if (o.State == api.OpPending || o.State == api.OpApproved) && !now.Before(o.Expires) {
		return api.OpExpired
	}
	return o.State
}

// Operation returns one operation.
func (k *Keyring) Operation(id string) (api.Operation, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.operation(id)
}

func (k *Keyring) operation(id string) (api.Operation, error) {
	o := k.operations[id]
	if o == nil {
		return api.Operation{}, noSuch("operation", "list them with: keyholder approvals list")
	}
	seen := *o
	seen.State = stateAt(o, k.now())
	return seen, nil
}

// Operations returns those in a state, or all where it is empty, oldest first.
func (k *Keyring) Operations(state api.OperationState) []api.Operation {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.operationsIn(state)
}

func (k *Keyring) operationsIn(state api.OperationState) []api.Operation {
	now := k.now()
	all := []api.Operation{}
	for _, o := range k.operations {
		seen := *o
		if seen.State = stateAt(o, now); state == "" || seen.State == state {
			all = append(all, seen)
		}
	}
	slices.SortFunc(all, func(a, b api.Operation) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return all
}
