package reidentify

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"tarn/keys"
)

// State is how far a request has come.
type State string

// The states. Ready becomes opened or expired; pending becomes ready, refused, void or
// expired.
const (
	Ready   State = "ready"
	Pending State = "pending_approval"
	Refused State = "refused"
	Opened  State = "opened"
	Expired State = "expired"
	Void    State = "void" // whoever asked has taken it back
)

// States returns every state.
func States() []State { return []State{Ready, Pending, Refused, Opened, Expired, Void} }

// How long a request can be decided and opened, from when it was made.
const (
	Lifetime          = 72 * time.Hour
	EmergencyLifetime = time.Hour
	WorklistLifetime  = 14 * 24 * time.Hour // practices work at their own pace
)

// MaxItems is how many patients a request may name, whatever a policy says: a region is
// asked for each.
const MaxItems = 1000

// Item is one patient of a request.
type Item struct {
	// Row is the caller's own number of the patient within the list.
	Row int `json:"row"`
	// Token is the text form, in small letters. It lies in the sealed record, and is in no log.
	Token string `json:"token,omitzero"`
	// Reference is what stands for a patient without a token: the source's own record.
	Reference *Reference `json:"reference,omitzero"`

	TokenH  string `json:"token_h,omitzero"`   // specification (i), hex
	Subject string `json:"subject_h,omitzero"` // specification (i), hex
	// Recipient is the organisation whose people open it where they are not who asked: an
	// ODS code; empty where nobody can be found.
	Recipient string `json:"recipient,omitzero"`
}

// Reference names a person who has no token: the record of a source data set, by the
// minted unique_id that the source's crosswalk translates back. Nothing is opened: the
// source looks its own record up.
type Reference struct {
	SourceDataset string `json:"source_dataset"`
	UniqueID      string `json:"unique_id"` // 32 hex
}

// Route says who opens a worklist.
type Route string

// The routes.
const (
	ToPractice Route = "registered_practice"
	ToSource   Route = "source_organisation"
)

// Draft is what somebody asks.
type Draft struct {
	Requester    Person  `json:"requester"`
	Project      string  `json:"project"`
	Organisation string  `json:"organisation"`
	Purpose      Purpose `json:"purpose"`
	Reason       Reason  `json:"reason"`
	BreakGlass   bool    `json:"break_glass,omitzero"`
	Route        Route   `json:"route,omitzero"` // empty: who asks opens it
	Items        []Item  `json:"items"`
}

// Request is one request for re-identification, and all that has become of it.
type Request struct {
	ID string `json:"id"`
	Draft
	Domain  string    `json:"domain"`
	Epoch   uint32    `json:"epoch"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Nonce   string    `json:"nonce"` // 32 hex
	// Hash is of the canonical form, specification (i): what approvers approve.
	Hash string `json:"hash"`

	State     State               `json:"state"`
	Decision  Decision            `json:"decision"`
	Approvals []Approval          `json:"approvals,omitzero"`
	Openings  map[string]*Opening `json:"openings,omitzero"` // by the organisation that opened
	Review    *Review             `json:"review,omitzero"`

	// Entry is the index of its first entry in the log.
	Entry uint64 `json:"entry"`
	// Counted says that limits count it: it was not refused when it was made.
	Counted bool `json:"counted,omitzero"`
	// OverdueTold says that somebody was told that its review is overdue.
	OverdueTold bool `json:"overdue_told,omitzero"`
}

// Same reports whether a draft is the one that the request was made of.
func (r *Request) Same(d *Draft) bool {
	same := r.Requester.Is(&d.Requester) && r.Project == d.Project && r.Organisation == d.Organisation && r.Purpose == d.Purpose && r.BreakGlass == d.BreakGlass && r.Route == d.Route
	same = same && r.Reason.Code == d.Reason.Code && r.Reason.Text == d.Reason.Text
	return same && slices.EqualFunc(r.Items, d.Items, func(a, b Item) bool {
		if a.Row != b.Row || a.Token != strings.ToLower(b.Token) || (a.Reference == nil) != (b.Reference == nil) {
			return false
		}
		return a.Reference == nil || *a.Reference == *b.Reference
	})
}

// canonical is the form of specification (i) that approvers sign. References are this
// product's addition: a request without them has the specification's bytes.
type canonical struct {
	Created      string      `json:"created"`
	Domain       string      `json:"domain"`
	Epoch        uint32      `json:"epoch"`
	Expires      string      `json:"expires"`
	Nonce        string      `json:"nonce"`
	Organisation string      `json:"org"`
	Project      string      `json:"project"`
	Purpose      Purpose     `json:"purpose"`
	ReasonCommit string      `json:"reason_commit"`
	References   []Reference `json:"references,omitzero"`
	Requester    subject     `json:"requester"`
	Role         string      `json:"role"`
	Tokens       []string    `json:"tokens"`
	V            int         `json:"v"`
}

type subject struct {
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
}

// TimeLayout is how the canonical form writes times, in UTC.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// requestLabel separates a request's hash from all others.
const requestLabel = "tarn/reid-request/v1"

// hash returns SHA-256(label || 00 || JCS) of the request, in hex.
func (r *Request) hash() (string, error) {
	c := canonical{
		Created: r.Created.UTC().Format(TimeLayout), Domain: r.Domain, Epoch: r.Epoch, Expires: r.Expires.UTC().Format(TimeLayout), Nonce: r.Nonce,
		Organisation: r.Organisation, Project: r.Project, Purpose: r.Purpose, ReasonCommit: r.Reason.Commitment(),
		Requester: subject{r.Requester.Issuer, r.Requester.Subject}, Role: r.Requester.Role, Tokens: []string{}, V: 1,
	}
	for _, item := range r.Items {
		if item.Reference != nil {
			c.References = append(c.References, *item.Reference)
		} else {
			c.Tokens = append(c.Tokens, item.Token)
		}
	}
	slices.Sort(c.Tokens)
	slices.SortFunc(c.References, func(a, b Reference) int {
		return strings.Compare(a.SourceDataset+"/"+a.UniqueID, b.SourceDataset+"/"+b.UniqueID)
	})
	document, err := keys.Encode(c)
	if err != nil {
		return "", errors.New("reidentify: a request has no canonical form")
	}
	form, err := keys.Canonical(document)
	if err != nil {
		return "", errors.New("reidentify: a request has no canonical form")
	}
	sum := sha256.Sum256(append([]byte(requestLabel+"\x00"), form...))
	return hex.EncodeToString(sum[:]), nil
}

// FormError is a request that cannot be read as one: where it is wrong, by a JSON pointer,
// and how. It repeats nothing of it.
type FormError struct{ Pointer, Wrong string }

// Error implements error.
func (e *FormError) Error() string { return e.Pointer + ": " + e.Wrong }

var (
	uniqueIDText = regexp.MustCompile(`^[0-9a-f]{32}$`)
	hashText     = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// IsHash reports whether a text is a request's hash by its form.
func IsHash(text string) bool { return hashText.MatchString(text) }

// New makes a request of a draft. What it returns is not decided yet. The error is a
// *FormError.
func New(d Draft, domain string, domainNo uint32, now time.Time, random io.Reader) (*Request, error) {
	r := &Request{Draft: d, Domain: domain, Created: now, State: Refused, Openings: map[string]*Opening{}}
	r.Items = slices.Clone(d.Items)
	if err := r.check(domainNo); err != nil {
		return nil, err
	}
	lifetime := Lifetime
	switch {
	case d.BreakGlass:
		lifetime = EmergencyLifetime
	case d.Route != "":
		lifetime = WorklistLifetime
	}
	r.Expires = now.Add(lifetime)
	if err := r.Reason.check(); err != nil {
		return nil, &FormError{"/reason", err.Error()}
	}
	var nonce [16]byte
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return nil, fmt.Errorf("reidentify: no random bytes can be had")
	}
	if _, err := io.ReadFull(random, r.Reason.Salt[:]); err != nil {
		return nil, fmt.Errorf("reidentify: no random bytes can be had")
	}
	r.Nonce = hex.EncodeToString(nonce[:])
	var err error
	r.Hash, err = r.hash()
	return r, err
}

// check holds a request's items to one another.
func (r *Request) check(domainNo uint32) error {
	switch {
	case len(r.Items) == 0:
		return &FormError{"/items", "it is empty: name one patient at least"}
	case len(r.Items) > MaxItems:
		return &FormError{"/items", fmt.Sprintf("it has more than %d patients", MaxItems)}
	case !isODS(r.Organisation):
		return &FormError{"/organisation", "it is no ODS code: 3 to 10 of A-Z and 0-9"}
	case !r.Purpose.Known():
		return &FormError{"/purpose", "there is no such purpose of use"}
	case r.Route != "" && r.Route != ToPractice && r.Route != ToSource:
		return &FormError{"/route", "there is no such route"}
	}
	rows, seen := map[int]bool{}, map[string]bool{}
	for i := range r.Items {
		item, at := &r.Items[i], fmt.Sprintf("/items/%d", i)
		if item.Row < 0 || item.Row > 1_000_000_000 || rows[item.Row] {
			return &FormError{at + "/row", "it is no number of a row, or is there twice"}
		}
		rows[item.Row] = true
		var name string
		var err error
		if item.Reference != nil {
			name, err = r.checkReference(item, at)
		} else {
			name, err = r.checkToken(item, at, domainNo)
		}
		if err != nil {
			return err
		}
		if seen[name] {
			return &FormError{at, "the patient is there twice"}
		}
		seen[name] = true
	}
	return nil
}

func (r *Request) checkReference(item *Item, at string) (string, error) {
	switch {
	case r.Route != ToSource:
		return "", &FormError{at + "/reference", "a reference goes by a worklist with route source_organisation: nothing can be opened of it"}
	case item.Token != "":
		return "", &FormError{at, "give a token or a reference, not both"}
	case !keys.ValidSourceDataset(item.Reference.SourceDataset):
		return "", &FormError{at + "/reference/source_dataset", "it is no name of a source data set"}
	case !uniqueIDText.MatchString(item.Reference.UniqueID):
		return "", &FormError{at + "/reference/unique_id", "it is no unique_id: 32 hexadecimal digits"}
	}
	return item.Reference.SourceDataset + "/" + item.Reference.UniqueID, nil
}

func (r *Request) checkToken(item *Item, at string, domainNo uint32) (string, error) {
	if r.Route == ToSource {
		return "", &FormError{at, "route source_organisation is for references: a token goes to the registered practice"}
	}
	if item.Token == "" {
		return "", &FormError{at + "/token", "it is missing"}
	}
	if err := keys.ExplainToken(item.Token); err != nil {
		return "", &FormError{at + "/token", err.Error()}
	}
	token, err := keys.ParseToken(item.Token)
	if err != nil {
		return "", &FormError{at + "/token", err.Error()}
	}
	item.Token = token.String()
	switch {
	case token.Scheme == keys.SchemeNoRelease || token.Scheme == keys.SchemeNoRFC9497:
		return "", &FormError{at + "/token", "it is a token that nobody can open, such as research extracts carry"}
	case token.DomainNo != domainNo:
		return "", &FormError{at + "/token", "it is not a token of the project's domain"}
	case r.Epoch != 0 && r.Epoch != uint32(token.TokenEpoch):
		return "", &FormError{at + "/token", "it is of another epoch than the tokens before: ask for them in a request of their own"}
	}
	r.Epoch = uint32(token.TokenEpoch)
	return item.Token, nil
}

// StateAt is the request's state at a time: it expires by itself.
func (r *Request) StateAt(now time.Time) State {
	if (r.State == Ready || r.State == Pending) && !now.Before(r.Expires) {
		return Expired
	}
	return r.State
}

// After reports whether a request comes after another in lists: by when they were made, and
// at one time by their ids.
func (r *Request) After(other *Request) bool {
	return cmp.Or(r.Created.Compare(other.Created), strings.Compare(r.ID, other.ID)) > 0
}

// StateFor is StateAt as a person sees it: who sent a worklist does not see whether anybody
// has opened it, which would tell whether its patients are anybody's, and a practice sees
// whether it has opened its own part, and not whether another has.
func (r *Request) StateFor(by *Person, now time.Time) State {
	state := r.StateAt(now)
	if r.Route == "" || state != Opened && state != Ready {
		return state
	}
	mine := r.Requester.Is(by)
	receives := !mine && slices.ContainsFunc(r.Items, func(i Item) bool { return i.Recipient == by.Organisation })
	switch {
	case !mine && !receives:
		return state
	case receives && r.Openings[by.Organisation] != nil:
		return Opened
	case !now.Before(r.Expires):
		return Expired
	}
	return Ready
}

// Occasion is the request as limits count it.
func (r *Request) Occasion() Occasion {
	return Occasion{At: r.Created, Person: r.Requester, Project: r.Project, Organisation: r.Organisation, Purpose: r.Purpose, BreakGlass: r.BreakGlass, Subjects: r.subjects(nil)}
}

// subjects appends the subject_h of the request's patients, each once, as far as they are
// known.
func (r *Request) subjects(to []string) []string {
	before := len(to)
	for i := range r.Items {
		if subject := r.Items[i].Subject; subject != "" && !slices.Contains(to[before:], subject) {
			to = append(to, subject)
		}
	}
	return to
}
