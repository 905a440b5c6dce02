// Package relationship is the question that a key holder asks a region before it opens a
// token for direct care, and the region's signed answer: has this organisation now to do
// with this patient, named by token? The table of who has to do with whom belongs to the
// region; the key holder, who could open its tokens, never sees it.
//
// A worklist's question is which practice each of its patients is registered with.
//
// An answer is of one question, lasts a minute at most, and is signed (Ed25519).
package relationship

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"regexp"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys"
	"tarn/keys/escrow"
)

// Question is whether an organisation has to do with a patient, for one request for
// re-identification.
type Question struct {
	Token        string    `json:"token"`        // text form, specification (f)
	Organisation string    `json:"organisation"` // ODS code
	At           time.Time `json:"at"`           // when it is asked
	RequestHash  string    `json:"request_hash"` // of the request, specification (i), hex
}

// Decision is what a region answers.
type Decision string

// The decisions.
const (
	Allow Decision = "allow" // there is a relationship now
	Deny  Decision = "deny"  // there is none, or the token is nobody's here: the decision does not say which
)

// Answer is a region's. Signature covers all of it, and the question. Envelope goes with
// either decision, if the region has it: the key holder may have another ground to open a
// token than a relationship. With it a deny says that the token is somebody's.
type Answer struct {
	Decision Decision  `json:"decision"`
	Expires  time.Time `json:"expires"`
	// Envelope is whose token it is, of scheme keyed-hash, sealed to the key holder. It is there
	// whatever the decision: others may have approved, or it is an emergency. So a key holder
	// learns whether the region knows the token; it tells nobody.
	Envelope  *Envelope `json:"envelope,omitzero"`
	Signature []byte    `json:"signature"`
}

// Envelope is an [escrow.Envelope] as it travels; its token is the question's.
type Envelope struct {
	Key    string `json:"key"` // the key holder's escrow key that it was sealed to, see [escrow.KeyID]
	Batch  []byte `json:"batch"`
	Enc    []byte `json:"enc"`
	Index  uint32 `json:"index"`
	Sealed []byte `json:"sealed"`
}

// MaxAge is how long an answer lasts.
const MaxAge = time.Minute

// clockSkew is how far ahead a region's clock may be.
const clockSkew = 5 * time.Second

var (
	hashText         = regexp.MustCompile(`^[0-9a-f]{64}$`)
	keyText          = regexp.MustCompile(`^[0-9a-f]{32}$`)
	organisationText = regexp.MustCompile(`^[A-Z0-9]{3,10}$`)
)

// Check refuses a question that is none. The error repeats nothing of it.
func (q *Question) Check() error {
	if _, err := keys.ParseToken(q.Token); err != nil {
		return errors.New("relationship: member token is no token")
	}
	switch {
	case !organisationText.MatchString(q.Organisation):
		return errors.New("relationship: member organisation is no ODS code: 3 to 10 of A-Z and 0-9")
	case q.At.IsZero():
		return errors.New("relationship: member at is missing")
	case !hashText.MatchString(q.RequestHash):
		return errors.New("relationship: member request_hash is not of 64 hexadecimal digits")
	}
	return nil
}

// signed is what a signature covers, in the form of RFC 8785.
type signed struct {
	Token          string   `json:"token"`
	Organisation   string   `json:"organisation"`
	At             string   `json:"at"`
	RequestHash    string   `json:"request_hash"`
	Decision       Decision `json:"decision"`
	Expires        string   `json:"expires"`
	EnvelopeSHA256 string   `json:"envelope_sha256"` // of LP(key, batch, enc, u32(index), sealed); empty where there is none
}

// timeLayout is that of the log, specification (i).
const timeLayout = "2006-01-02T15:04:05.000Z"

func timeText(t time.Time) string { return t.UTC().Format(timeLayout) }

// message returns LP("tarn/relationship/v1", JCS{..}).
func message(q *Question, a *Answer) ([]byte, error) {
	s := signed{Token: q.Token, Organisation: q.Organisation, At: timeText(q.At), RequestHash: q.RequestHash, Decision: a.Decision, Expires: timeText(a.Expires)}
	if e := a.Envelope; e != nil {
		sum := sha256.Sum256(keys.LP(keys.Text(e.Key), e.Batch, e.Enc, keys.U32(e.Index), e.Sealed))
		s.EnvelopeSHA256 = hex.EncodeToString(sum[:])
	}
	return labelled("tarn/relationship/v1", s)
}

// labelled returns LP(label, JCS(signed)).
func labelled(label string, signed any) ([]byte, error) {
	document, err := keys.Encode(signed)
	if err != nil {
		return nil, err
	}
	canonical, err := keys.Canonical(document)
	if err != nil {
		return nil, err
	}
	return keys.LP(keys.Text(label), canonical), nil
}

func expires(now time.Time) time.Time { return now.Add(MaxAge).UTC().Truncate(time.Millisecond) }

// inTime reports whether an answer to a question of at counts now.
func inTime(expires, at, now time.Time) bool {
	return now.Before(expires) && !expires.After(now.Add(MaxAge+clockSkew)) && !expires.After(at.Add(MaxAge+clockSkew))
}

// Sign answers a question at a time. envelope is what the region keeps beside the token,
// whatever is decided, or nil. The answer lasts a minute.
func Sign(q *Question, decision Decision, envelope *escrow.Envelope, now time.Time, key ed25519.PrivateKey) (*Answer, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if decision != Allow && decision != Deny {
		return nil, errors.New("relationship: there is no such decision")
	}
	a := &Answer{Decision: decision, Expires: expires(now)}
	if envelope != nil {
		if !keyText.MatchString(envelope.HolderKeyID) {
			return nil, errors.New("relationship: the envelope does not name the escrow key that it was sealed to")
		}
		a.Envelope = &Envelope{Key: envelope.HolderKeyID, Batch: envelope.Batch[:], Enc: envelope.Enc, Index: envelope.Index, Sealed: envelope.Sealed}
	}
	m, err := message(q, a)
	if err != nil {
		return nil, err
	}
	a.Signature = ed25519.Sign(key, m)
	return a, nil
}

// Errors of an answer.
var (
	ErrSignature = errors.New("relationship: the answer is not the region's, or not to this question")
	ErrExpired   = errors.New("relationship: the answer has expired, or lasts longer than a minute")
)

// Verify holds an answer to its question and the region's public key, at a time. What it
// returns goes into the log: the SHA-256 of all that the answer says, evidence_h of
// specification (i).
func (a *Answer) Verify(q *Question, region ed25519.PublicKey, now time.Time) (evidence [sha256.Size]byte, err error) {
	if err := q.Check(); err != nil {
		return evidence, err
	}
	if a.Decision != Allow && a.Decision != Deny || len(region) != ed25519.PublicKeySize {
		return evidence, ErrSignature
	}
	m, err := message(q, a)
	if err != nil || !ed25519.Verify(region, m, a.Signature) {
		return evidence, ErrSignature
	}
	if !inTime(a.Expires, q.At, now) {
		return evidence, ErrExpired
	}
	return sha256.Sum256(keys.LP(m, a.Signature)), nil
}

// Opened returns the envelope of an answer as it is opened, beside the question's token;
// false where there is none.
func (a *Answer) Opened(q *Question) (e escrow.Envelope, there bool) {
	token, err := keys.ParseToken(q.Token)
	if a.Envelope == nil || err != nil || len(a.Envelope.Batch) != len(e.Batch) {
		return e, false
	}
	return escrow.Envelope{HolderKeyID: a.Envelope.Key, Batch: [16]byte(a.Envelope.Batch), Enc: a.Envelope.Enc, Index: a.Envelope.Index, Token: token.Value, Sealed: a.Envelope.Sealed}, true
}

// Times travel as they are signed, to the millisecond and in UTC, with the zeros that the
// library would leave out.

// MarshalJSON implements [json.Marshaler].
func (q Question) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Token        string `json:"token"`
		Organisation string `json:"organisation"`
		At           string `json:"at"`
		RequestHash  string `json:"request_hash"`
	}{q.Token, q.Organisation, timeText(q.At), q.RequestHash})
}

// MarshalJSON implements [json.Marshaler].
func (a Answer) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Decision  Decision  `json:"decision"`
		Expires   string    `json:"expires"`
		Envelope  *Envelope `json:"envelope,omitzero"`
		Signature []byte    `json:"signature"`
	}{a.Decision, timeText(a.Expires), a.Envelope, a.Signature})
}

// MarshalJSON implements [json.Marshaler].
func (q RouteQuestion) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Tokens      []string `json:"tokens"`
		At          string   `json:"at"`
		RequestHash string   `json:"request_hash"`
	}{q.Tokens, timeText(q.At), q.RequestHash})
}

// MarshalJSON implements [json.Marshaler].
func (a RouteAnswer) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Organisations []*string `json:"organisations"`
		Expires       string    `json:"expires"`
		Signature     []byte    `json:"signature"`
	}{a.Organisations, timeText(a.Expires), a.Signature})
}
