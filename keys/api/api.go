// Package api is the contract between the key holder and those who call it:
// who may call what, the documents that cross, how a leased key is sealed, and
// how an error is said. Both sides import it; it does no I/O.
//
// Byte layouts that are not in the specification are here, with a version in
// their labels: change one only with a new version.
package api

import (
	"slices"
	"strings"
)

// Role is what a client may be. A client has one role.
type Role string

// The roles.
const (
	RoleTokeniser Role = "tokeniser" // leases the keys of its projects
	RoleOperator  Role = "operator"  // asks for and approves changes, two by two
	RoleAuditor   Role = "auditor"   // reads who did what
)

// Roles returns every role.
func Roles() []Role { return []Role{RoleTokeniser, RoleOperator, RoleAuditor} }

// Method is one thing a caller can ask of the key holder.
type Method struct {
	Name string // "leases.create"
	Verb string // GET, POST or DELETE
	Path string // a pattern of net/http: "/v1/projects/{project}/leases"
	Does string // for readers

	Roles  []Role // who may call it; nobody else
	Public bool   // answered without a certificate
	// SignedIn is for methods of re-identification: people call them, with a bearer token of
	// their sign-in and no certificate, at an address of its own.
	SignedIn bool
	// Floor says that no answer leaves earlier than 300 ms after its request came: how long
	// it takes says nothing about whether a token exists.
	Floor  bool
	Sealed bool // answered while the key holder is sealed
}

// Methods returns the key holder's allow-list. What is not in it is not
// answered; a method without roles that is not public is answered to nobody.
func Methods() []Method {
	operator := []Role{RoleOperator}
	readers := []Role{RoleOperator, RoleAuditor}
	everyone := Roles()
	tokeniser := []Role{RoleTokeniser}
	return []Method{
		{Name: "livez", Verb: "GET", Path: "/livez", Public: true, Sealed: true, Does: "says that the process is there"},
		{Name: "readyz", Verb: "GET", Path: "/readyz", Public: true, Sealed: true, Does: "says whether it can answer: not while sealed, without space or stopping"},
		{Name: "openapi", Verb: "GET", Path: "/v1/openapi.json", Public: true, Sealed: true, Does: "describes this interface"},
		{Name: "seal.status", Verb: "GET", Path: "/v1/seal-status", Public: true, Sealed: true, Does: "says whether it is sealed, and how many shares it has and needs"},
		{Name: "seal.unseal", Verb: "POST", Path: "/v1/unseal", Public: true, Sealed: true, Does: "takes a share, a passphrase or an identity"},
		{Name: "enrol", Verb: "POST", Path: "/v1/enrol", Public: true, Does: "gives a certificate for a one-time code"},
		{Name: "self", Verb: "GET", Path: "/v1/self", Roles: everyone, Does: "says who the caller is and what it may do"},
		{Name: "domains.get", Verb: "GET", Path: "/v1/domains/{domain}", Roles: everyone, Does: "gives a domain's epochs, their states and public keys"},
		{Name: "domains.list", Verb: "GET", Path: "/v1/domains", Roles: readers, Does: "lists domains"},
		{Name: "projects.get", Verb: "GET", Path: "/v1/projects/{project}", Roles: everyone, Does: "gives a project's record as it is now"},
		{Name: "projects.list", Verb: "GET", Path: "/v1/projects", Roles: readers, Does: "lists projects"},
		{Name: "leases.create", Verb: "POST", Path: "/v1/projects/{project}/leases", Roles: tokeniser, Does: "leases a key, sealed to the caller"},
		{Name: "leases.renew", Verb: "POST", Path: "/v1/projects/{project}/leases/{lease}/renewals", Roles: tokeniser, Does: "moves a lease's end"},
		{Name: "leases.usage", Verb: "POST", Path: "/v1/projects/{project}/leases/{lease}/usage", Roles: tokeniser, Does: "takes what the caller says it used a key for"},
		{Name: "leases.end", Verb: "DELETE", Path: "/v1/projects/{project}/leases/{lease}", Roles: tokeniser, Does: "ends a lease"},
		{Name: "leases.list", Verb: "GET", Path: "/v1/projects/{project}/leases", Roles: readers, Does: "lists a project's leases"},
		{Name: "points.evaluate", Verb: "POST", Path: "/v1/points", Roles: tokeniser, Does: "evaluates a batch of blinded numbers, and proves with which key"},
		{Name: "tokens.rotate", Verb: "POST", Path: "/v1/domains/{domain}/rotations", Roles: tokeniser, Does: "brings a batch of blinded tokens to the current epoch, and proves with which keys"},
		{Name: "tokens.convert", Verb: "POST", Path: "/v1/grants/{grant}/convert", Roles: tokeniser, Does: "makes a batch of blinded tokens another domain's, under a grant, and proves with which keys"},
		{Name: "escrow.list", Verb: "GET", Path: "/v1/escrow-keys", Roles: readers, Does: "lists the key holder's escrow keys, their states and public halves"},
		{Name: "clients.list", Verb: "GET", Path: "/v1/clients", Roles: readers, Does: "lists clients, their roles and certificates"},
		{Name: "budgets.list", Verb: "GET", Path: "/v1/budgets", Roles: readers, Does: "lists what clients may use keys for, and what is left"},
		{Name: "grants.list", Verb: "GET", Path: "/v1/grants", Roles: readers, Does: "lists grants"},
		{Name: "operations.create", Verb: "POST", Path: "/v1/operations", Roles: operator, Does: "asks for a change"},
		{Name: "operations.list", Verb: "GET", Path: "/v1/operations", Roles: readers, Does: "lists changes that were asked for"},
		{Name: "operations.get", Verb: "GET", Path: "/v1/operations/{operation}", Roles: readers, Does: "gives a change in full, for its approver"},
		{Name: "operations.approve", Verb: "POST", Path: "/v1/operations/{operation}/approvals", Roles: operator, Does: "approves or rejects a change another operator asked for"},
		{Name: "operations.collect", Verb: "POST", Path: "/v1/operations/{operation}/collections", Roles: operator, Does: "hands an approved change's secret or file to who asked for it, once"},
		{Name: "events.list", Verb: "GET", Path: "/v1/events", Roles: readers, Does: "lists what was done, newest last"},
		{Name: "events.receipt", Verb: "GET", Path: "/v1/events/{index}/receipt", Roles: readers, Does: "proves that an event is in the log"},
		{Name: "policy.get", Verb: "GET", Path: "/v1/policy", Roles: readers, Does: "gives the policy of re-identification as it is set"},
		{Name: "policy.simulate", Verb: "POST", Path: "/v1/policy/simulations", Roles: readers, Does: "says which limits of a policy past requests would have been beyond"},
		{Name: "me", Verb: "GET", Path: "/v1/me", SignedIn: true, Does: "says who has signed in, and in which role"},
		{Name: "reidentifications.create", Verb: "POST", Path: "/v1/reidentifications", SignedIn: true, Floor: true, Does: "asks who patients are"},
		{Name: "reidentifications.list", Verb: "GET", Path: "/v1/reidentifications", SignedIn: true, Does: "lists the requests that the caller has to do with"},
		{Name: "reidentifications.get", Verb: "GET", Path: "/v1/reidentifications/{request}", SignedIn: true, Does: "gives one request"},
		{Name: "reidentifications.cancel", Verb: "POST", Path: "/v1/reidentifications/{request}/cancel", SignedIn: true, Does: "takes a request back"},
		{Name: "reidentifications.approve", Verb: "POST", Path: "/v1/reidentifications/{request}/approvals", SignedIn: true, Does: "approves or rejects another person's request"},
		{Name: "reidentifications.open", Verb: "POST", Path: "/v1/reidentifications/{request}/open", SignedIn: true, Floor: true, Does: "opens a request, once"},
		{Name: "reidentifications.review", Verb: "POST", Path: "/v1/reidentifications/{request}/review", SignedIn: true, Does: "takes what a reviewer found of a break-glass"},
		{Name: "reidentifications.receipt", Verb: "GET", Path: "/v1/reidentifications/{request}/receipt", SignedIn: true, Does: "proves that a request is in the log"},
		{Name: "worklists.create", Verb: "POST", Path: "/v1/worklists", SignedIn: true, Floor: true, Does: "has each patient's own practice find out who they are"},
		{Name: "worklists.open", Verb: "POST", Path: "/v1/worklists/{request}/open", SignedIn: true, Floor: true, Does: "opens a practice's own part of a worklist, once"},
		{Name: "who-asked", Verb: "POST", Path: "/v1/audit/who-asked", SignedIn: true, Floor: true, Does: "lists who has asked about a patient, for a guardian"},
	}
}

// Allows reports whether a role may call the method.
func (m *Method) Allows(role Role) bool { return slices.Contains(m.Roles, role) }

// Pattern returns the method as net/http's ServeMux takes it.
func (m *Method) Pattern() string { return m.Verb + " " + m.Path }

// Who says in words who may call the method.
func (m *Method) Who() string {
	switch {
	case m.Public:
		return "anyone"
	case m.SignedIn:
		return "whoever has signed in; the policy decides"
	}
	names := make([]string, len(m.Roles))
	for i, role := range m.Roles {
		names[i] = string(role)
	}
	return strings.Join(names, ", ")
}
