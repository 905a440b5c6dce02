package api

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The documents of re-identification. Whoever asks signs in; see docs/reidentification.md.

// Reason is why somebody asks.
type Reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// ReidentificationItem is one patient of a request.
type ReidentificationItem struct {
	Row       int        `json:"row"`
	Token     string     `json:"token,omitzero"`
	Reference *Reference `json:"reference,omitzero"` // worklists with route source_organisation only
}

// Reference is a record of a source data set that has no token.
type Reference struct {
	SourceDataset string `json:"source_dataset"`
	UniqueID      string `json:"unique_id"`
}

// ReidentificationRequest asks who some patients are.
type ReidentificationRequest struct {
	Project      string                 `json:"project"`
	Purpose      string                 `json:"purpose"`
	Reason       Reason                 `json:"reason"`
	Organisation string                 `json:"organisation"`
	Items        []ReidentificationItem `json:"items"`
	BreakGlass   bool                   `json:"break_glass,omitzero"`
}

// WorklistRequest has each patient's own practice, or the source of the data, find out who
// they are: whoever sends it does not.
type WorklistRequest struct {
	Project      string                 `json:"project"`
	Purpose      string                 `json:"purpose"`
	Reason       Reason                 `json:"reason"`
	Organisation string                 `json:"organisation"`
	Items        []ReidentificationItem `json:"items"`
	Route        string                 `json:"route"` // registered_practice or source_organisation
}

// ReidentificationDecision is what was decided, and what to do.
type ReidentificationDecision struct {
	Outcome string `json:"outcome"` // ready, pending_approval or refused
	Rule    string `json:"rule"`
	Limit   string `json:"limit,omitzero"` // where the rule is one
	Why     string `json:"why"`
	Who     string `json:"who,omitzero"` // who can allow it
	Next    string `json:"next"`
	// Rows are those for whose patients the region knows of no relationship.
	Rows []int `json:"rows,omitzero"`
	// Warnings are the limits that the request is beyond.
	Warnings []LimitFired `json:"warnings,omitzero"`
}

// LimitFired is a limit that a request is beyond.
type LimitFired struct {
	Rule      string `json:"rule"`
	Text      string `json:"text"`
	Action    string `json:"action"` // warn, approval or refuse
	Simulated bool   `json:"simulated,omitzero"`
}

// PersonShown is a person as others see them in a request.
type PersonShown struct {
	Issuer       string `json:"iss"`
	Subject      string `json:"sub"`
	UserID       string `json:"user_id,omitzero"`
	Organisation string `json:"organisation"`
	Role         string `json:"role"`
}

// ReidentificationApproval is what one approver has decided.
type ReidentificationApproval struct {
	By       PersonShown `json:"by"`
	Decision string      `json:"decision"`
	Comment  string      `json:"comment,omitzero"`
	Time     time.Time   `json:"time"`
}

// Approvals says how many have to approve, and how many have.
type Approvals struct {
	Needed int                        `json:"needed"`
	Have   int                        `json:"have"`
	Given  []ReidentificationApproval `json:"given,omitzero"`
}

// EntryNamed names an entry of the log.
type EntryNamed struct {
	Index uint64 `json:"index"`
}

// ReviewShown is what was found of a break-glass.
type ReviewShown struct {
	By      PersonShown `json:"by"`
	Outcome string      `json:"outcome"`
	Comment string      `json:"comment,omitzero"`
	Time    time.Time   `json:"time"`
}

// Reidentification is a request as those see it who may: never a token, never an identity.
type Reidentification struct {
	ID           string                   `json:"id"`
	State        string                   `json:"state"`
	Decision     ReidentificationDecision `json:"decision"`
	Approvals    Approvals                `json:"approvals"`
	RequestHash  string                   `json:"request_hash"`
	Created      time.Time                `json:"created"`
	Expires      time.Time                `json:"expires"`
	Requester    PersonShown              `json:"requester"`
	Project      string                   `json:"project"`
	Purpose      string                   `json:"purpose"`
	Organisation string                   `json:"organisation"`
	// Reason is told to who asked, approvers and reviewers.
	Reason     *Reason `json:"reason,omitzero"`
	BreakGlass bool    `json:"break_glass,omitzero"`
	Route      string  `json:"route,omitzero"`
	// Rows are the numbers of the patients: all of them for who asked and who approves, those
	// of one's own organisation for recipients.
	Rows []int `json:"rows"`
	// ReviewDue is by when a break-glass has to be reviewed.
	ReviewDue time.Time    `json:"review_due,omitzero"`
	Review    *ReviewShown `json:"review,omitzero"`
	Receipt   EntryNamed   `json:"receipt"` // its first entry; GET .../receipt proves it
}

// ApprovalGiven is what an approver decides on the request of this hash.
type ApprovalGiven struct {
	Decision    string `json:"decision"` // approve or reject
	RequestHash string `json:"request_hash"`
	Comment     string `json:"comment,omitzero"`
}

// ReviewGiven is what a reviewer finds of a break-glass.
type ReviewGiven struct {
	Outcome string `json:"outcome"` // justified, not-justified or inconclusive
	Comment string `json:"comment,omitzero"`
}

// Identity is who a patient is.
type Identity struct {
	NHSNumber string `json:"nhs_number"`
	ConfirmOn string `json:"confirm_on"` // PDS
	// Point and Proof, of scheme oblivious, show that the key holder has used the right key:
	// see docs/oblivious.md.
	Point []byte `json:"point,omitzero"`
	Proof []byte `json:"proof,omitzero"`
}

// The states of an item that was opened.
const (
	ItemOpened       = "opened"
	ItemNotAvailable = "not_available" // unknown and forbidden alike
	ItemReference    = "reference"     // there is no token: look the record up where it came from
)

// OpenedItem is what came of one patient.
type OpenedItem struct {
	Row       int        `json:"row"`
	State     string     `json:"state"`
	Identity  *Identity  `json:"identity,omitzero"`
	Reference *Reference `json:"reference,omitzero"`
}

// OpenedItems are the patients of a request, shown once.
type OpenedItems struct {
	Items  []OpenedItem `json:"items"`
	Advice string       `json:"advice"`
	// Receipt proves that the opening is in the log, by an entry of it.
	Receipt jsontext.Value `json:"receipt,omitzero"` // tarn.receipt/1
	// Unwitnessed says that the log's witness had not signed when it was opened.
	Unwitnessed bool `json:"unwitnessed,omitzero"`
}

// Advice goes with every answer that names somebody.
const Advice = "Check against a second identifier; confirm on PDS."

// WhoAskedRequest asks who has asked about a patient.
type WhoAskedRequest struct {
	Project string `json:"project"`
	Token   string `json:"token"`
}

// WhoAsked is who has asked about a patient, from the log, oldest first.
type WhoAsked struct {
	Items []Event `json:"items"`
	// Searched is how many entries of the log were looked at.
	Searched uint64 `json:"searched"`
}

// Policy is the policy of re-identification as it is set.
type Policy struct {
	Document string    `json:"document"` // policy.toml
	Digest   string    `json:"digest"`   // SHA-256 of the document, hex
	Set      time.Time `json:"set"`
}
