package signin

import "tarn/keys/fault"

// Reason says why a token was not taken. The list is closed: reasons are labels of metrics,
// and the rules of refusals in the log.
type Reason string

// The reasons.
const (
	TokenMissing    Reason = "token_missing"    // there is none, or more than one
	TokenMalformed  Reason = "token_malformed"  // it is no signed JWT in compact form, or has a header that is never taken
	Algorithm       Reason = "algorithm"        // it is signed with an algorithm that is not allowed
	Signature       Reason = "signature"        // the key that it names has not signed it
	Issuer          Reason = "issuer"           // another issuer's
	Audience        Reason = "audience"         // it is for somebody else
	Expired         Reason = "expired"          // its exp is past
	NotYet          Reason = "not_yet"          // its nbf, iat or auth_time is in the future
	TooOld          Reason = "too_old"          // the person signed in too long ago
	BadClaims       Reason = "claims"           // it does not say who the person is, or in which role
	KeyUnknown      Reason = "key_unknown"      // no key of the issuer's has the name that it gives, and fits
	KeysUnavailable Reason = "keys_unavailable" // the issuer's keys could not be had
	BadReply        Reason = "reply"            // the provider's answer to a browser's sign-in is none that was asked for
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{
		TokenMissing, TokenMalformed, Algorithm, Signature, Issuer, Audience, Expired, NotYet, TooOld, BadClaims, KeyUnknown, KeysUnavailable, BadReply,
	}
}

// Error is why a token was not taken. Nothing of the token is in it.
type Error struct {
	Reason Reason
	Wrong  string // "the token has expired"
}

func refuse(reason Reason, wrong string) *Error { return &Error{Reason: reason, Wrong: wrong} }

const doing = "signing in"

// Error returns what is wrong in words.
func (e *Error) Error() string { return doing + ": " + e.Wrong }

// Unwrap returns the error as a [fault.Error]: of kind [fault.Unavailable] where the
// issuer's keys could not be had, else of kind [fault.Policy].
func (e *Error) Unwrap() error {
	if e.Reason == KeysUnavailable {
		return fault.New(fault.Unavailable, doing, e.Wrong, "see that the issuer's service can be reached; then sign in again")
	}
	return fault.New(fault.Policy, doing, e.Wrong, "sign in again; if it stays so, tell the key holder's operators the reason "+string(e.Reason))
}
