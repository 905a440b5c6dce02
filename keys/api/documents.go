package api

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/parcel"
)

// EpochState is what a key may be used for.
type EpochState string

// The states of an epoch's key, in the order in which it goes through them.
const (
	StatePending     EpochState = "pending"     // made, not used yet
	StateCurrent     EpochState = "current"     // leased, or sealed to; one of each domain or project, one escrow key
	StateReadable    EpochState = "readable"    // replaced; what it made may still be read
	StateRetired     EpochState = "retired"     // nothing is done with it any more
	StateCompromised EpochState = "compromised" // somebody may have it: what it made is refused
	StateDestroyed   EpochState = "destroyed"   // the key does not exist any more
)

// Epoch is one key of a domain or project, or an escrow key, without the key.
type Epoch struct {
	Epoch    uint32     `json:"epoch"`
	State    EpochState `json:"state"`
	KeyCheck string     `json:"key_check"` // see KeyCheck; of an escrow key its name, see escrow.KeyID
	// PublicKey is the public key of a domain's evaluated scheme or of an escrow key, hex.
	PublicKey string    `json:"public_key,omitzero"`
	Created   time.Time `json:"created"`
	Changed   time.Time `json:"changed"`
}

// Domain is a set of data within which a person has one token.
type Domain struct {
	Name     string    `json:"name"`
	DomainNo uint32    `json:"domain_no"`
	Scheme   string    `json:"scheme"`
	Epochs   []Epoch   `json:"epochs"`
	Created  time.Time `json:"created"`
}

// Project is a project's record with the keys that the key holder has for it.
type Project struct {
	Name     string         `json:"name"`
	Record   jsontext.Value `json:"record"` // project.json as it is now, key numbers and check values filled in
	Digest   string         `json:"digest"` // of the record
	Encoding []Epoch        `json:"encoding"`
	Created  time.Time      `json:"created"`
}

// Client is somebody who may call, as the key holder knows them.
type Client struct {
	Name           string     `json:"name"`
	Role           Role       `json:"role"`
	Organisation   string     `json:"organisation"`
	Projects       []string   `json:"projects,omitzero"`        // tokenisers: whose keys it may lease
	SourceDatasets []string   `json:"source_datasets,omitzero"` // tokenisers: whose rows it encodes
	State          string     `json:"state"`                    // invited, enrolled, revoked
	Certificate    string     `json:"certificate,omitzero"`     // SHA-256 of its DER, hex
	CertificateEnd *time.Time `json:"certificate_end,omitzero"`
	CodeEnd        *time.Time `json:"code_end,omitzero"` // of an enrolment code that was not used yet
	Created        time.Time  `json:"created"`
}

// Self is what the key holder knows of its caller.
type Self struct {
	Client            Client `json:"client"`
	OperatorsRequired int    `json:"operators_required"`
	Production        bool   `json:"production"`
}

// Grant allows one thing that nobody may do otherwise.
type Grant struct {
	Name       string     `json:"name"`
	Kind       GrantKind  `json:"kind"`
	Project    string     `json:"project,omitzero"` // exports: whose keys
	From       string     `json:"from,omitzero"`    // conversions: domains
	To         string     `json:"to,omitzero"`
	Purpose    string     `json:"purpose"`
	LegalBasis string     `json:"legal_basis"`
	OptOuts    string     `json:"opt_outs,omitzero"` // version of the opt-out list that was applied
	RowCap     int64      `json:"row_cap,omitzero"`
	RowsUsed   int64      `json:"rows_used,omitzero"` // conversions: rows that were converted under it
	Expires    time.Time  `json:"expires"`
	State      string     `json:"state"` // active, used, revoked
	Created    time.Time  `json:"created"`
	Used       *time.Time `json:"used,omitzero"`
	// Recipient is who gets converted rows, where it is another party than who has them.
	Recipient *GrantRecipient `json:"recipient,omitzero"`
}

// GrantSchema is the schema member of a grant's record.
const GrantSchema = "tarn.grant/1"

// GrantRecord is a grant as a file, which its users are given.
type GrantRecord struct {
	Schema   string `json:"schema"`
	Software string `json:"software,omitzero"`
	Grant
}

// GrantRecipient is another party for which tokens are converted: neither it nor who has
// them sees both tokens of a row.
type GrantRecipient struct {
	Project string           `json:"project"` // of the domain that tokens go to; its budget counts the rows, too
	Client  string           `json:"client"`  // a tokeniser of that project
	Keys    parcel.Recipient `json:"keys"`    // which only the recipient has the other half of
}

// GrantKind is what a grant allows.
type GrantKind string

// The kinds of grants.
const (
	GrantExport  GrantKind = "export"  // one keys.json of a project, for work without a key holder
	GrantConvert GrantKind = "convert" // tokens of one domain into another's
)

// LeaseRecord is a lease as operators and auditors see it: no key.
type LeaseRecord struct {
	ID           string    `json:"id"`
	Use          Use       `json:"use"`
	Project      string    `json:"project"`
	Client       string    `json:"client"`
	Epoch        uint32    `json:"epoch"`
	State        string    `json:"state"` // active, ended, expired, revoked
	RowsExpected int64     `json:"rows_expected"`
	RowsGranted  int64     `json:"rows_granted"`
	RowsReported int64     `json:"rows_reported"` // self-reported
	Created      time.Time `json:"created"`
	Expires      time.Time `json:"expires"`
}

// Budget is what a client may use a project's key for, and how much of it is left.
type Budget struct {
	Project string `json:"project"`
	Client  string `json:"client"`
	Use     Use    `json:"use"`
	Rows    int64  `json:"rows"`   // in a period
	Period  string `json:"period"` // as in 24h0m0s
	Used    int64  `json:"used"`   // granted or used in the last period
	Left    int64  `json:"left"`
	// UsedUpUntil is set while the budget counts as used up since a restore.
	UsedUpUntil *time.Time `json:"used_up_until,omitzero"`
}

// OperationKind is a change that operators make.
type OperationKind string

// The changes that need operators.
const (
	OpDomainAdd    OperationKind = "domain.add"
	OpProjectAdd   OperationKind = "project.add"
	OpProjectRenew OperationKind = "project.renew"
	OpClientAdd    OperationKind = "client.add"
	OpClientRenew  OperationKind = "client.renew"
	OpClientRevoke OperationKind = "client.revoke"
	OpGrantAdd     OperationKind = "grant.add"
	OpGrantRevoke  OperationKind = "grant.revoke"
	OpKeyRotate    OperationKind = "key.rotate"
	OpKeyRetire    OperationKind = "key.retire"
	OpKeyDestroy   OperationKind = "key.destroy"
	OpKeyExport    OperationKind = "key.export"
	OpBackup       OperationKind = "backup"
	OpBudgetReset  OperationKind = "budget.reset"
	OpPolicySet    OperationKind = "policy.set"
)

// OperationRequest asks for a change. Body is the document of the kind.
type OperationRequest struct {
	Kind OperationKind  `json:"kind"`
	Body jsontext.Value `json:"body"`
}

// The bodies of operations.
type (
	// DomainAdd is the body of domain.add.
	DomainAdd struct {
		Name   string `json:"name"`
		Scheme string `json:"scheme"`
	}
	// ProjectAdd is the body of project.add and project.renew: a project.json whose
	// key numbers and check values the key holder fills in.
	ProjectAdd struct {
		Record jsontext.Value `json:"record"`
	}
	// ClientAdd is the body of client.add.
	ClientAdd struct {
		Name           string   `json:"name"`
		Role           Role     `json:"role"`
		Organisation   string   `json:"organisation"`
		Projects       []string `json:"projects,omitzero"`
		SourceDatasets []string `json:"source_datasets,omitzero"`
	}
	// ClientNamed is the body of client.renew and client.revoke.
	ClientNamed struct {
		Name   string `json:"name"`
		Reason string `json:"reason,omitzero"`
	}
	// BudgetReset is the body of budget.reset. A member that is absent is all.
	BudgetReset struct {
		Project string `json:"project,omitzero"`
		Client  string `json:"client,omitzero"`
		Reason  string `json:"reason"`
	}
	// GrantAdd is the body of grant.add.
	GrantAdd struct {
		Name       string    `json:"name"`
		Kind       GrantKind `json:"kind"`
		Project    string    `json:"project,omitzero"`
		From       string    `json:"from,omitzero"`
		To         string    `json:"to,omitzero"`
		Purpose    string    `json:"purpose"`
		LegalBasis string    `json:"legal_basis"`
		OptOuts    string    `json:"opt_outs,omitzero"`
		RowCap     int64     `json:"row_cap,omitzero"`
		Expires    time.Time `json:"expires"`
		// Recipient makes a conversion one for another party.
		Recipient *GrantRecipient `json:"recipient,omitzero"`
	}
	// GrantRevoke is the body of grant.revoke.
	GrantRevoke struct {
		Name   string `json:"name"`
		Reason string `json:"reason"`
	}
	// KeyChange is the body of key.rotate, key.retire and key.destroy: of a domain's
	// token keys, a project's encoding and release keys or the key holder's escrow keys,
	// whichever is named.
	KeyChange struct {
		Domain      string `json:"domain,omitzero"`
		Project     string `json:"project,omitzero"`
		Escrow      bool   `json:"escrow,omitzero"`
		Epoch       uint32 `json:"epoch,omitzero"` // not with key.rotate
		Compromised bool   `json:"compromised,omitzero"`
		Reason      string `json:"reason"`
	}
	// KeyExport is the body of key.export.
	KeyExport struct {
		Project string `json:"project"`
		Grant   string `json:"grant"`
	}
	// PolicySet is the body of policy.set: the whole of policy.toml.
	PolicySet struct {
		Document string `json:"document"`
	}
	// Backup is the body of backup.
	Backup struct{}
)

// OperationState is how far a change has got.
type OperationState string

// The states of an operation.
const (
	OpPending   OperationState = "pending"  // waits for another operator
	OpApproved  OperationState = "approved" // waits to be collected by who asked
	OpExecuted  OperationState = "executed" // done
	OpRejected  OperationState = "rejected" // by another operator
	OpExpired   OperationState = "expired"  // nobody approved or collected it in time
	OpVoid      OperationState = "void"     // came back from a backup
	OpRefusedAt OperationState = "refused"  // approved, and no longer possible when it was carried out
)

// OperationStates returns every state of an operation.
func OperationStates() []OperationState {
	return []OperationState{OpPending, OpApproved, OpExecuted, OpRejected, OpExpired, OpVoid, OpRefusedAt}
}

// PersonPrefix begins the names of operators who have signed in: no client can have such a name.
const PersonPrefix = "person/"

// OperatorPerson is an operator who has signed in, as far as it says who is one person: role
// and organisation change from one sign-in to the next.
type OperatorPerson struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
	UserID  string `json:"user_id,omitzero"`
}

// Operation is a change that was asked for. Its hash is over what is approved,
// and over nothing that changes later.
type Operation struct {
	ID        string              `json:"id"`
	Kind      OperationKind       `json:"kind"`
	Body      jsontext.Value      `json:"body"`
	Requester string              `json:"requester"`       // a client's name, or [PersonPrefix] and a subject
	Person    OperatorPerson      `json:"person,omitzero"` // who asked, where they had signed in
	Created   time.Time           `json:"created"`
	Expires   time.Time           `json:"expires"`
	Hash      string              `json:"hash"`
	State     OperationState      `json:"state"`
	Needed    int                 `json:"approvals_needed"`
	Approvals []OperationApproval `json:"approvals"`
	Outcome   string              `json:"outcome,omitzero"` // in words, after execution
	Collect   bool                `json:"collect"`          // its result is collected by who asked
}

// OperationApproval is what one operator said.
type OperationApproval struct {
	Client   string         `json:"client"`          // a client's name, or [PersonPrefix] and a subject
	Person   OperatorPerson `json:"person,omitzero"` // who it was, where they had signed in
	Decision string         `json:"decision"`        // approve or reject
	Time     time.Time      `json:"time"`
}

// ApprovalRequest approves or rejects the operation of this hash.
type ApprovalRequest struct {
	Decision string `json:"decision"`
	Hash     string `json:"hash"`
}

// The decisions of an approval.
const (
	DecisionApprove = "approve"
	DecisionReject  = "reject"
)

// OperationHash returns the hash that approvers approve, in hex:
// SHA-256("tarn/operation/v1" || 00 || JCS{body, created, expires, id, kind, requester}), with
// the member person where a person asked: without one the bytes are those of before.
func OperationHash(o *Operation) (string, error) {
	document, err := keys.Encode(struct {
		ID        string         `json:"id"`
		Kind      OperationKind  `json:"kind"`
		Body      jsontext.Value `json:"body"`
		Requester string         `json:"requester"`
		Person    OperatorPerson `json:"person,omitzero"`
		Created   time.Time      `json:"created"`
		Expires   time.Time      `json:"expires"`
	}{o.ID, o.Kind, o.Body, o.Requester, o.Person, o.Created, o.Expires})
	if err != nil {
		return "", err
	}
	canonical, err := keys.Canonical(document)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte("tarn/operation/v1\x00"), canonical...))
	return hex.EncodeToString(sum[:]), nil
}

// Collected is what an operation gave, once, to who asked for it.
type Collected struct {
	Code    string    `json:"code,omitzero"`     // client.add, client.renew: the enrolment code
	CodeEnd time.Time `json:"code_end,omitzero"` // until when
	Sealed  []byte    `json:"sealed,omitzero"`   // key.export: keys.json, sealed to the operator: see SealExport
	Path    string    `json:"path,omitzero"`     // backup: the file's name in the key holder's backup folder
}

// EnrolRequest asks for a certificate.
type EnrolRequest struct {
	Code       string `json:"code"`
	CSR        []byte `json:"csr"`         // PKCS #10, DER; left out where the caller shows a certificate of a given authority
	SealingKey []byte `json:"sealing_key"` // HPKE public key of LeaseKEM
}

// Enrolled is the certificate that a code was exchanged for.
type Enrolled struct {
	Client      Client `json:"client"`
	Certificate []byte `json:"certificate"` // DER
	Authority   []byte `json:"authority"`   // DER: who signed it
}

// SealStatus says whether the key holder can answer.
type SealStatus struct {
	Sealed     bool   `json:"sealed"`
	Method     string `json:"method"`              // identity, passphrase or shares
	Threshold  int    `json:"threshold,omitzero"`  // shares needed
	Shares     int    `json:"shares,omitzero"`     // shares that exist
	Given      int    `json:"given,omitzero"`      // shares given so far
	Deployment string `json:"deployment,omitzero"` // first bytes of the digest of the recipient, as shares carry them
}

// Unseal carries one share, the passphrase or the identity, whichever the
// custody takes.
type Unseal struct {
	Share      string `json:"share,omitzero"`
	Passphrase string `json:"passphrase,omitzero"`
	Identity   string `json:"identity,omitzero"`
}

// How long what unseals may be, in characters: beyond that it is nothing that
// custody ever made or takes.
const (
	maxShare      = 1000
	maxPassphrase = 1000
	maxIdentity   = 10_000
)

// Check refuses what is too long to unseal anything, before it is looked at.
func (u *Unseal) Check() error {
	if utf8.RuneCountInString(u.Share) > maxShare || utf8.RuneCountInString(u.Passphrase) > maxPassphrase || utf8.RuneCountInString(u.Identity) > maxIdentity {
		return Refuse(CodeMalformed, "what was given to unseal is too long to be a share, a passphrase or an identity", "give what keyholder init made, and nothing else")
	}
	return nil
}

// Event is one thing that was done or refused.
type Event struct {
	Index uint64         `json:"index"`
	Leaf  jsontext.Value `json:"leaf"` // specification (i)
}

// List is a page of things.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitzero"` // give it as ?after= for what follows
}
