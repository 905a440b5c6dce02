package relationship

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"tarn/keys"
)

// MaxRoute is how many patients one worklist's question may name.
const MaxRoute = 1000

// RouteQuestion is which practice each patient of a worklist is registered with: who finds
// the patients does not see them, each practice opens its own.
type RouteQuestion struct {
	Tokens      []string  `json:"tokens"` // text form, 1 to MaxRoute, each once
	At          time.Time `json:"at"`
	RequestHash string    `json:"request_hash"` // of the request, specification (i), hex
}

// RouteAnswer is a region's. Signature covers all of it, and the question.
type RouteAnswer struct {
	// Organisations has, for each token of the question and in its order, the ODS code of
	// the practice; null where there is none, where more than one claims the patient, and
	// where the token is nobody's here: the answer does not say which.
	Organisations []*string `json:"organisations"`
	Expires       time.Time `json:"expires"`
	Signature     []byte    `json:"signature"`
}

// Check refuses a question that is none. The error repeats nothing of it.
func (q *RouteQuestion) Check() error {
	switch {
	case len(q.Tokens) == 0:
		return errors.New("relationship: member tokens is empty")
	case len(q.Tokens) > MaxRoute:
		return errors.New("relationship: member tokens has more than 1000")
	case q.At.IsZero():
		return errors.New("relationship: member at is missing")
	case !hashText.MatchString(q.RequestHash):
		return errors.New("relationship: member request_hash is not of 64 hexadecimal digits")
	}
	seen := make(map[string]bool, len(q.Tokens))
	for _, text := range q.Tokens {
		if _, err := keys.ParseToken(text); err != nil {
			return errors.New("relationship: member tokens holds what is no token")
		}
		if text = strings.ToLower(text); seen[text] {
			return errors.New("relationship: member tokens holds a token twice")
		}
		seen[text] = true
	}
	return nil
}

// routeSigned is what a signature covers, in the form of RFC 8785.
type routeSigned struct {
	At          string `json:"at"`
	Count       int    `json:"count"` // of tokens
	Expires     string `json:"expires"`
	RequestHash string `json:"request_hash"`
	// RoutesSHA256 is of LP(token, organisation) for each token, one after another; no
	// organisation is an empty text.
	RoutesSHA256 string `json:"routes_sha256"`
}

// message returns LP("tarn/relationship-route/v1", JCS{..}).
func (a *RouteAnswer) message(q *RouteQuestion) ([]byte, error) {
	var routes []byte
	for i, token := range q.Tokens {
		organisation := ""
		if o := a.Organisations[i]; o != nil {
			organisation = *o
		}
		routes = keys.AppendLP(routes, keys.Text(token), keys.Text(organisation))
	}
	sum := sha256.Sum256(routes)
	return labelled("tarn/relationship-route/v1", routeSigned{At: timeText(q.At), Count: len(q.Tokens), Expires: timeText(a.Expires), RequestHash: q.RequestHash, RoutesSHA256: hex.EncodeToString(sum[:])})
}

// SignRoute answers a question at a time. organisations has one for each token, empty
// where there is none. The answer lasts a minute.
func SignRoute(q *RouteQuestion, organisations []string, now time.Time, key ed25519.PrivateKey) (*RouteAnswer, error) {
	if err := q.Check(); err != nil {
		return nil, err
	}
	if len(organisations) != len(q.Tokens) {
		return nil, errors.New("relationship: there is not one organisation for each token")
	}
	a := &RouteAnswer{Organisations: make([]*string, len(organisations)), Expires: expires(now)}
	for i := range organisations {
		if organisations[i] == "" {
			continue
		}
		if !organisationText.MatchString(organisations[i]) {
			return nil, errors.New("relationship: an organisation is no ODS code")
		}
		a.Organisations[i] = &organisations[i]
	}
	m, err := a.message(q)
	if err != nil {
		return nil, err
	}
	a.Signature = ed25519.Sign(key, m)
	return a, nil
}

// Verify holds an answer to its question and the region's public key, at a time, as
// [Answer.Verify] does.
func (a *RouteAnswer) Verify(q *RouteQuestion, region ed25519.PublicKey, now time.Time) (evidence [sha256.Size]byte, err error) {
	if err := q.Check(); err != nil {
		return evidence, err
	}
	if len(region) != ed25519.PublicKeySize || len(a.Organisations) != len(q.Tokens) {
		return evidence, ErrSignature
	}
	for _, o := range a.Organisations {
		if o != nil && !organisationText.MatchString(*o) {
			return evidence, ErrSignature
		}
	}
	m, err := a.message(q)
	if err != nil || !ed25519.Verify(region, m, a.Signature) {
		return evidence, ErrSignature
	}
	if !inTime(a.Expires, q.At, now) {
		return evidence, ErrExpired
	}
	return sha256.Sum256(keys.LP(m, a.Signature)), nil
}

// VerifyKeyText returns the public half of a region's signing key as configurations hold
// it, 64 hexadecimal digits.
func VerifyKeyText(key ed25519.PublicKey) string { return hex.EncodeToString(key) }

// ParseVerifyKey reads what VerifyKeyText wrote.
func ParseVerifyKey(text string) (ed25519.PublicKey, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, errors.New("relationship: a region's key is 64 hexadecimal digits, as tokeniser relationships key prints it")
	}
	return ed25519.PublicKey(b), nil
}
