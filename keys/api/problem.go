package api

import (
	"fmt"

	"tarn/keys/fault"
)

// Problem is an error as it crosses (RFC 9457, application/problem+json). It
// never holds a value that the caller sent.
type Problem struct {
	Type     string         `json:"type"`
	Title    string         `json:"title"`
	Status   int            `json:"status"`
	Detail   string         `json:"detail"`
	Instance string         `json:"instance,omitzero"` // the request's id, as a URN
	Code     Code           `json:"code"`
	Next     string         `json:"next,omitzero"` // what to do
	Errors   []ProblemError `json:"errors,omitzero"`

	// Rule and Who are of refusals of re-identification: the rule that refuses, and who could
	// allow it.
	Rule string `json:"rule,omitzero"`
	Who  string `json:"who,omitzero"`
}

// ProblemError says where in the caller's document something is wrong.
type ProblemError struct {
	Pointer string `json:"pointer"` // RFC 6901
	Code    Code   `json:"code"`
}

// ProblemType is the media type of [Problem].
const ProblemType = "application/problem+json"

// Code is a stable name of what is wrong, for programs.
type Code string

// The codes that the key holder answers with.
const (
	CodeMalformed        Code = "request_malformed"
	CodeTooLarge         Code = "request_too_large"
	CodeMediaType        Code = "media_type_unknown"
	CodeRequestID        Code = "request_id_missing"
	CodeNotFound         Code = "not_found"
	CodeVerb             Code = "verb_not_allowed"
	CodeNoCertificate    Code = "certificate_missing"
	CodeCertificate      Code = "certificate_unknown"
	CodeExpired          Code = "certificate_expired"
	CodeRevoked          Code = "certificate_revoked"
	CodeRole             Code = "role_not_allowed"
	CodeForbidden        Code = "not_allowed"
	CodeProjectExpired   Code = "project_expired"
	CodeSealed           Code = "sealed"
	CodeUnsealRefused    Code = "unseal_refused"
	CodeEnrolCode        Code = "enrol_code_refused"
	CodeTooManyTries     Code = "too_many_tries"
	CodeConflict         Code = "conflict"
	CodeApprovalRequired Code = "approval_required"
	CodeApproverIsAsker  Code = "approver_is_requester"
	CodeHashDiffers      Code = "hash_differs"
	CodeKeyState         Code = "key_state"
	CodeKeyCheckDiffers  Code = "key_check_differs"
	CodeLeaseEnded       Code = "lease_ended"
	CodeBudget           Code = "budget_exhausted"
	CodeSignIn           Code = "sign_in_refused"
	CodeReidentification Code = "reidentification_refused"
	CodeGone             Code = "gone"
	CodeRegion           Code = "region_unavailable"
	CodeWitness          Code = "witness_unavailable"
	CodeNoSpace          Code = "no_space"
	CodeLogUnavailable   Code = "log_unavailable"
	CodeBusy             Code = "busy"
	CodeStopping         Code = "stopping"
	CodeInternal         Code = "internal"
)

// status is what each code answers with, and its title.
var status = map[Code]struct {
	status int
	title  string
}{
	CodeMalformed:        {400, "The request cannot be read"},
	CodeTooLarge:         {413, "The request is too large"},
	CodeMediaType:        {415, "The request is of a type that is not read here"},
	CodeRequestID:        {400, "The request has no id"},
	CodeNotFound:         {404, "There is no such thing"},
	CodeVerb:             {405, "The method does not fit the address"},
	CodeNoCertificate:    {401, "No client certificate was shown"},
	CodeCertificate:      {403, "The client certificate is not enrolled"},
	CodeExpired:          {403, "The client certificate has expired"},
	CodeRevoked:          {403, "The client has been revoked"},
	CodeRole:             {403, "The client's role may not do this"},
	CodeForbidden:        {403, "The client may not do this"},
	CodeProjectExpired:   {403, "The project has expired"},
	CodeSealed:           {503, "The key holder is sealed"},
	CodeUnsealRefused:    {403, "That does not unseal"},
	CodeEnrolCode:        {403, "The enrolment code is not valid"},
	CodeTooManyTries:     {429, "Too many wrong tries"},
	CodeConflict:         {409, "That is not possible as things are"},
	CodeApprovalRequired: {409, "Another operator has to approve"},
	CodeApproverIsAsker:  {403, "Who asks may not approve"},
	CodeHashDiffers:      {409, "What was approved is not what is asked"},
	CodeKeyState:         {409, "The key's state does not allow this"},
	CodeKeyCheckDiffers:  {409, "The key check value differs"},
	CodeLeaseEnded:       {403, "The lease has ended"},
	CodeBudget:           {429, "The budget of rows is used up"},
	CodeSignIn:           {401, "The sign-in is not accepted"},
	CodeReidentification: {403, "That is not allowed"},
	CodeGone:             {410, "It is not shown again"},
	CodeRegion:           {503, "The region cannot be asked"},
	CodeWitness:          {503, "The log's witness cannot be asked"},
	CodeNoSpace:          {507, "There is too little disk space"},
	CodeLogUnavailable:   {503, "The log cannot be written"},
	CodeBusy:             {503, "There is too much to do"},
	CodeStopping:         {503, "The key holder is stopping"},
	CodeInternal:         {500, "Internal failure"},
}

// Codes returns every code with its HTTP status and title.
func Codes() map[Code]int {
	all := make(map[Code]int, len(status))
	for code, s := range status {
		all[code] = s.status
	}
	return all
}

// Error is a refusal: an error that says which problem it answers with.
type Error struct {
	Code Code
	// Detail says what was being done and what is wrong, Next what to do. Neither
	// holds what the caller sent.
	Detail, Next string
	Rule, Who    string // of refusals of re-identification
	Errors       []ProblemError
}

// Refuse makes an Error.
func Refuse(code Code, detail, next string) *Error {
	return &Error{Code: code, Detail: detail, Next: next}
}

// Error returns the title, the detail and what to do.
func (e *Error) Error() string {
	text := e.Title()
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Next != "" {
		text += "; " + e.Next
	}
	return text
}

// Status returns the HTTP status the error answers with.
func (e *Error) Status() int {
	if s, ok := status[e.Code]; ok {
		return s.status
	}
	return status[CodeInternal].status
}

// Title returns the code in words.
func (e *Error) Title() string {
	if s, ok := status[e.Code]; ok {
		return s.title
	}
	return status[CodeInternal].title
}

// Problem returns the document for the request of this id.
func (e *Error) Problem(request string) Problem {
	p := Problem{Type: "about:blank", Title: e.Title(), Status: e.Status(), Detail: e.Detail, Code: e.Code, Next: e.Next, Rule: e.Rule, Who: e.Who, Errors: e.Errors}
	if e.Code == CodeSignIn {
		p.Rule = "" // it is no rule of re-identification
	}
	if request != "" {
		p.Instance = "urn:uuid:" + request
	}
	return p
}

// Fault returns the problem as an error for a command's user: doing is what the
// command was doing. The kind follows the status: refusals by policy, what is
// away, what disagrees.
func (p *Problem) Fault(doing string) *fault.Error {
	kind := fault.Internal
	switch {
	case p.Code == CodeKeyCheckDiffers:
		kind = fault.Disagreement
	case p.Status == 401 || p.Status == 403 || p.Status == 409 || p.Status == 410 || p.Code == CodeBudget:
		kind = fault.Policy
	case p.Status == 429 || p.Status == 503 || p.Status == 507:
		kind = fault.Unavailable
	case p.Status >= 400 && p.Status < 500:
		kind = fault.Usage
	}
	wrong := p.Title
	if p.Detail != "" {
		wrong = fmt.Sprintf("%s: %s", p.Title, p.Detail)
	}
	return fault.New(kind, doing, wrong, p.Next)
}
