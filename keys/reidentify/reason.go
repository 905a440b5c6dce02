package reidentify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"tarn/keys"
	"tarn/keys/nhsnumber"
)

// Bounds of what a person writes, in characters.
const (
	MinReason  = 10
	MaxReason  = 500
	MaxComment = 500
)

// Reason is why somebody asks. It lies in the request's record, which can be erased; the
// log, which cannot, has its commitment only.
type Reason struct {
	Code string   `json:"code"`
	Text string   `json:"text"`
	Salt [16]byte `json:"salt"`
}

// ReasonCodes returns the reasons that can be chosen.
func ReasonCodes() []string {
	return []string{"care", "emergency", "invitation", "safety", "audit", "study", "patient-asked", "other"}
}

// Commitment returns SHA-256(LP(salt, reason)) in hex, specification (i). The reason is its
// code, a line feed and its text.
func (r *Reason) Commitment() string {
	sum := sha256.Sum256(keys.LP(r.Salt[:], keys.Text(r.Code+"\n"+r.Text)))
	return hex.EncodeToString(sum[:])
}

// Errors of what a person writes. None repeats it.
var (
	ErrReasonCode  = errors.New("the reason's code is not one of those that can be chosen")
	ErrReasonShort = errors.New("the reason has fewer than 10 characters: say in a sentence why you need to know")
	ErrTextLong    = errors.New("the text is longer than 500 characters")
	ErrTextNumber  = errors.New("the text holds what may be an NHS number: say it without")
	ErrTextForm    = errors.New("the text holds characters that are no text")
)

func (r *Reason) check() error {
	if !slices.Contains(ReasonCodes(), r.Code) {
		return ErrReasonCode
	}
	if utf8.RuneCountInString(strings.TrimSpace(r.Text)) < MinReason {
		return ErrReasonShort
	}
	return checkText(r.Text, MaxReason)
}

// checkText refuses a text that is too long, is not made of characters, or may name a
// patient.
func checkText(text string, most int) error {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' && c != '\r' }) {
		return ErrTextForm
	}
	if utf8.RuneCountInString(text) > most {
		return ErrTextLong
	}
	if holdsNumber(text) {
		return ErrTextNumber
	}
	return nil
}

// holdsNumber reports whether ten digits that follow one another, with nothing between them
// but what people group numbers with, pass the check of an NHS number. Digits of every
// script count, and those in circles, raised or on key caps. Dates and times that run together do so now and then: better one sentence
// written again than a number in the record.
func holdsNumber(text string) bool {
	var run []byte
	for _, c := range norm.NFKC.String(text) {
		digit, is := digitOf(c)
		switch {
		case is:
			run = append(run, digit)
		case !groups(c):
			run = run[:0]
		}
		if last := len(run) - len(nhsnumber.Number{}); is && last >= 0 {
			check, can := nhsnumber.CheckDigit([9]byte(run[last:]))
			if can && check == run[len(run)-1] {
				return true
			}
		}
	}
	return false
}

// groups reports whether people write a character between the digits of a number.
func groups(c rune) bool {
	return strings.ContainsRune("_.,/·•−", c) || unicode.IsSpace(c) || unicode.In(c, unicode.Pd, unicode.Cf, unicode.Zs, unicode.M)
}

// digitOf returns a decimal digit of any script as an ASCII digit. Each script's ten lie
// one after another, from a multiple of ten after the start of its range.
func digitOf(c rune) (byte, bool) {
	for _, r := range unicode.Nd.R16 {
		if uint32(c) >= uint32(r.Lo) && uint32(c) <= uint32(r.Hi) {
			return byte('0' + (uint32(c)-uint32(r.Lo))%10), true
		}
	}
	for _, r := range unicode.Nd.R32 {
		if uint32(c) >= r.Lo && uint32(c) <= r.Hi {
			return byte('0' + (uint32(c)-r.Lo)%10), true
		}
	}
	return 0, false
}
