// Package reidentify holds the rules by which one pseudonymous patient may be
// re-identified: who may ask, for what, on whose approval, within which limits, and what
// is written down before anything is opened. It is pure: the time and the randomness are
// given to it, it does no I/O and no cryptography but hashes, and it never holds an
// identity.
package reidentify

import (
	"slices"
	"time"
)

// Person is somebody who has signed in, in the role that they selected.
type Person struct {
	Issuer       string    `json:"iss"`                 // who vouches for the sign-in
	Subject      string    `json:"sub"`                 // the issuer's name of the person
	UserID       string    `json:"user_id,omitzero"`    // nhsid_useruid of CIS2: one person has one, whatever accounts they have
	Organisation string    `json:"organisation"`        // ODS code, of the selected role
	Role         string    `json:"role"`                // the selected role's code
	Activities   []string  `json:"activities,omitzero"` // activity codes of the selected role
	Assurance    string    `json:"assurance,omitzero"`  // acr: how the person proved who they are
	SignedIn     time.Time `json:"signed_in"`           // auth_time
	Session      string    `json:"session"`             // names the sign-in, 64 hex; never the token itself
}

// Is reports whether two are one person: by issuer and subject, or by the user id that all
// of a person's accounts share.
func (p *Person) Is(other *Person) bool {
	return p.Issuer == other.Issuer && p.Subject == other.Subject || p.UserID != "" && p.UserID == other.UserID
}

// Does reports whether the person's role has one of these activities.
func (p *Person) Does(activities []string) bool {
	return slices.ContainsFunc(activities, func(a string) bool { return slices.Contains(p.Activities, a) })
}
