// Package enrol is what a client needs to become known to a key holder: the
// one-time code that an operator gives it, and the keys that it makes for
// itself. Client and key holder share it, so it knows neither.
//
// It promises that a code and a private key are printed by nothing but the
// methods that are named for it.
package enrol

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"

	"tarn/keys"
	"tarn/keys/fault"
)

const (
	randomSize    = 16 // what only client and key holder know
	authoritySize = 16 // of the SHA-256 of the authority's certificate
	checkSize     = 3
	payloadSize   = randomSize + authoritySize

	prefix    = "tarn-enrol-"
	digits    = (payloadSize + checkSize) * 8 / 5
	groupSize = 4

	redacted = "[redacted]"
	doing    = "reading the enrolment code"
	askAgain = "ask whoever gave it to read it out again"
)

// alphabet is that of Crockford's base32: no I, L, O or U.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// crockford writes 35 bytes as exactly 56 digits: there is no padding.
func crockford() *base32.Encoding { return base32.NewEncoding(alphabet).WithPadding(base32.NoPadding) }

// Code is an enrolment code: 16 random bytes that prove the client to the key
// holder, and 16 of the digest of the authority's certificate, that prove the
// key holder to the client. It is as secret as a key until it is used. The zero
// Code is invalid: see [Code.Valid].
type Code struct {
	_   [0]func()
	get func() *[payloadSize]byte
}

func codeOf(payload [payloadSize]byte) Code {
	return Code{get: func() *[payloadSize]byte { return &payload }}
}

// NewCode makes a code for enrolling with the authority of this certificate
// (DER). Its random half is from r, or from the operating system's generator
// where r is nil.
func NewCode(authority []byte, r io.Reader) (Code, error) {
	if r == nil {
		r = rand.Reader
	}
	var payload [payloadSize]byte
	if _, err := io.ReadFull(r, payload[:randomSize]); err != nil {
		return Code{}, fmt.Errorf("drawing an enrolment code: %w", err)
	}
	digest := sha256.Sum256(authority)
	copy(payload[randomSize:], digest[:])
	return codeOf(payload), nil
}

// Valid reports whether c holds a code; the zero Code does not.
func (c Code) Valid() bool { return c.get != nil }

// Text returns the code as people give it to each other: tarn-enrol- and 14
// groups of 4 digits of Crockford's base32, the last five of them (24 bits) a
// checksum.
func (c Code) Text() string {
	payload := c.get()
	check := checksum(payload)
	text := crockford().EncodeToString(append(payload[:len(payload):len(payload)], check[:]...))
	var b strings.Builder
	b.WriteString(prefix)
	for i := 0; i < len(text); i += groupSize {
		if i > 0 {
			b.WriteByte('-')
		}
		b.WriteString(text[i : i+groupSize])
	}
	return b.String()
}

// Digest returns what a key holder keeps of a code:
// SHA-256(LP("tarn/enrol-code/v1", random half)).
func (c Code) Digest() [sha256.Size]byte {
	return sha256.Sum256(keys.LP(keys.Text("tarn/enrol-code/v1"), c.get()[:randomSize]))
}

// SameDigest compares two digests of codes in constant time.
func SameDigest(a, b [sha256.Size]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// Names reports, in constant time, whether the code was made for the authority
// of this certificate (DER). A client that enrols talks to no other.
func (c Code) Names(authority []byte) bool {
	digest := sha256.Sum256(authority)
	return subtle.ConstantTimeCompare(c.get()[randomSize:], digest[:authoritySize]) == 1
}

func checksum(payload *[payloadSize]byte) (check [checkSize]byte) {
	sum := sha256.Sum256(keys.LP(keys.Text("tarn/enrol-code-check/v1"), payload[:]))
	copy(check[:], sum[:])
	return check
}

// ParseCode reads a code as people type it: upper or lower case, with blanks
// and dashes anywhere, with O for 0 and I or L for 1. The error, of kind
// [fault.Usage], says what is wrong and where, as far as that can be known, and
// repeats nothing of the code.
func ParseCode(text string) (Code, error) {
	typed := fold(text)
	rest, ok := strings.CutPrefix(typed, fold(prefix))
	if !ok {
		return Code{}, fault.New(fault.Usage, doing, "it does not begin with "+prefix, "give the whole code, as the operator got it")
	}
	found := []byte(nil)
	for _, r := range rest {
		if r == 'o' {
			r = '0'
		} else if r == 'i' || r == 'l' {
			r = '1'
		}
		if r >= unicode.MaxASCII || !strings.ContainsRune(alphabet, r) {
			return Code{}, fault.New(fault.Usage, doing, place(len(found))+" is a character that no code holds", "look at it again, or "+askAgain)
		}
		found = append(found, byte(r))
	}
	defer clear(found)
	if len(found) != digits {
		return Code{}, fault.New(fault.Usage, doing, fmt.Sprintf("it has %d characters after %s, a code has %d", len(found), prefix, digits), "give the whole code, as the operator got it")
	}
	if payload, ok := decode(found); ok {
		return codeOf(payload), nil
	}
	if at := mistyped(found); at >= 0 {
		return Code{}, fault.New(fault.Usage, doing, place(at)+" is probably mistyped", "look at it again, or "+askAgain)
	}
	return Code{}, fault.New(fault.Usage, doing, "more than one of its characters is mistyped", askAgain)
}

// fold removes what people add to a code, and its case.
func fold(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, text)
}

// place says where a digit stands, counting as people do.
func place(at int) string {
	return fmt.Sprintf("character %d of group %d", at%groupSize+1, at/groupSize+1)
}

// decode reads all digits and reports whether their checksum holds.
func decode(found []byte) (payload [payloadSize]byte, ok bool) {
	var b [payloadSize + checkSize]byte
	defer clear(b[:])
	if _, err := crockford().Decode(b[:], found); err != nil {
		return payload, false
	}
	copy(payload[:], b[:])
	check := checksum(&payload)
	return payload, subtle.ConstantTimeCompare(check[:], b[payloadSize:]) == 1
}

// mistyped returns which digit would, in another form, make the code whole, or
// -1 where none or several would. That it names a wrong one by chance has odds
// of 1 in 9,600 (1,736 tries at a checksum of 24 bits).
func mistyped(found []byte) int {
	candidate := -1
	for i, was := range found {
		for _, digit := range []byte(alphabet) {
			if digit == was {
				continue
			}
			found[i] = digit
			if _, ok := decode(found); ok {
				if candidate >= 0 {
					found[i] = was
					return -1
				}
				candidate = i
			}
		}
		found[i] = was
	}
	return candidate
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (c Code) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (c Code) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses: a code is written out with [Code.Text] only.
func (c Code) MarshalText() ([]byte, error) { return nil, errors.New("enrol: refusing to marshal") }
