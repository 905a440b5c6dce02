package keyring

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/reidentify"
)

// Operators may also be people who have signed in, whom the policy names. They do less than
// those with certificates: a sign-in is somebody else's word, and must not make operators of
// the key holder, or touch its keys.

// AsOperator returns a person who has signed in as who asks for and approves changes.
func AsOperator(p *reidentify.Person) Caller {
	return Caller{
		Name: api.PersonPrefix + p.Subject, Role: api.Role(p.Role), Organisation: p.Organisation, Issuer: p.Issuer,
		Person: api.OperatorPerson{Issuer: p.Issuer, Subject: p.Subject, UserID: p.UserID},
	}
}

func isPerson(p api.OperatorPerson) bool { return p != api.OperatorPerson{} }

func (c Caller) isPerson() bool { return isPerson(c.Person) }

// personOf is a person as the policy and the rules of re-identification compare them.
func personOf(p api.OperatorPerson) *reidentify.Person {
	return &reidentify.Person{Issuer: p.Issuer, Subject: p.Subject, UserID: p.UserID}
}

// is reports whether the caller is who a record names: a client by its name, which no
// person has, and a person by any of their accounts.
func (c Caller) is(name string, person api.OperatorPerson) bool {
	if c.isPerson() {
		return personOf(c.Person).Is(personOf(person))
	}
	return c.Name == name
}

// isOperator reports whether who a record names is an operator now: a client that is
// enrolled, or a person whom the policy that is set names.
func (k *Keyring) isOperator(name string, person api.OperatorPerson) bool {
	if isPerson(person) {
		return k.policy != nil && k.policy.policy.IsOperator(personOf(person))
	}
	c := k.clients[name]
	return c != nil && c.Role == api.RoleOperator && c.State == clientEnrolled
}

// mayOperate refuses a person who is no operator. What clients may call is the allow-list's.
func (k *Keyring) mayOperate(caller Caller) error {
	if !caller.isPerson() {
		return nil
	}
	// A record of somebody whom the log cannot name would never be written.
	if _, err := (audit.Leaf{Kind: audit.KindOperatorApproval, Time: audit.FormatTime(k.now()), Actor: caller.actor()}).Encode(); err != nil || caller.Person.Issuer == "" || caller.Person.Subject == "" {
		return api.Refuse(api.CodeForbidden, "the sign-in has a name that the log does not take", "ask those who run the sign-in")
	}
	if !k.isOperator(caller.Name, caller.Person) {
		return api.Refuse(api.CodeRole, "the policy does not name this person among its operators", "ask the key holder's operators: keyholder policy set")
	}
	return nil
}

// peoplesKinds are the changes that people may ask for and approve.
var peoplesKinds = []api.OperationKind{api.OpProjectAdd, api.OpProjectRenew, api.OpClientAdd, api.OpClientRenew, api.OpClientRevoke}

// mayChange refuses a person a change that is only for operators with certificates.
func (k *Keyring) mayChange(caller Caller, kind api.OperationKind, value jsontext.Value) error {
	if !caller.isPerson() {
		return nil
	}
	if err := k.mayOperate(caller); err != nil {
		return err
	}
	if !slices.Contains(peoplesKinds, kind) {
		return withCertificate("this change is made with an operator's certificate only", kind)
	}
	operators, err := k.aboutOperators(kind, value)
	if err != nil {
		return err
	}
	if operators {
		return withCertificate("clients of role operator are added, renewed and revoked with an operator's certificate only", kind)
	}
	return nil
}

// aboutOperators reports whether a change makes or unmakes an operator with a certificate.
func (k *Keyring) aboutOperators(kind api.OperationKind, value jsontext.Value) (bool, error) {
	switch kind {
	case api.OpClientAdd:
		b, err := body[api.ClientAdd](value)
		return err == nil && b.Role == api.RoleOperator, err
	case api.OpClientRenew, api.OpClientRevoke:
		b, err := body[api.ClientNamed](value)
		if err != nil {
			return false, err
		}
		c := k.clients[b.Name]
		return c != nil && c.Role == api.RoleOperator, nil
	}
	return false, nil
}

func withCertificate(detail string, kind api.OperationKind) error {
	return api.Refuse(api.CodeForbidden, detail, "have it done with: keyholder "+strings.ReplaceAll(string(kind), ".", " "))
}

// acrossRefused is of approvals of what the other kind of operator asked for: somebody with
// both a certificate and an account would be two.
func acrossRefused(caller Caller) error {
	if caller.isPerson() {
		return api.Refuse(api.CodeForbidden, "it was asked for with a certificate, and is approved with another operator's certificate only", "have it done with: keyholder approvals approve")
	}
	return api.Refuse(api.CodeForbidden, "a person who has signed in asked for it, and only another person who has signed in approves it", "have another operator whom the policy names sign in")
}

// ForPeople is what an operator who has signed in may read.
type ForPeople struct {
	k      *Keyring
	caller Caller
}

// ForPeople returns what a person may read where the policy names them as an operator; each
// read asks the policy as it is then.
func (k *Keyring) ForPeople(p *reidentify.Person) ForPeople { return ForPeople{k, AsOperator(p)} }

// readFor reads under the lock, for who is an operator now.
func readFor[T any](f ForPeople, read func(*Keyring) (T, error)) (found T, err error) {
	f.k.mu.RLock()
	defer f.k.mu.RUnlock()
	if err := f.k.mayOperate(f.caller); err != nil {
		return found, err
	}
	return read(f.k)
}

func notPeoples(o api.Operation) bool { return !slices.Contains(peoplesKinds, o.Kind) }

// Operations returns those of the kinds that people may ask for, whoever asked, in a state,
// or all where it is empty, oldest first.
func (f ForPeople) Operations(state api.OperationState) ([]api.Operation, error) {
	return readFor(f, func(k *Keyring) ([]api.Operation, error) {
		return slices.DeleteFunc(k.operationsIn(state), notPeoples), nil
	})
}

// Operation returns one of [ForPeople.Operations].
func (f ForPeople) Operation(id string) (api.Operation, error) {
	return readFor(f, func(k *Keyring) (api.Operation, error) {
		o, err := k.operation(id)
		if err == nil && notPeoples(o) {
			return api.Operation{}, noSuch("operation", "it may be of a kind that is made with an operator's certificate only")
		}
		return o, err
	})
}

// Projects returns every project, by name.
func (f ForPeople) Projects() ([]api.Project, error) {
	return readFor(f, func(k *Keyring) ([]api.Project, error) { return k.allProjects(), nil })
}

// Clients returns every client, by name.
func (f ForPeople) Clients() ([]api.Client, error) {
	return readFor(f, func(k *Keyring) ([]api.Client, error) { return k.allClients(), nil })
}
