package signin

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a token.
const (
	maxToken = 16 << 10 // bytes
	maxKeyID = 256      // bytes
)

// compact is a token before its signature is looked at.
type compact struct {
	text      string // all of it
	signed    string // header and payload, as they are signed
	keyID     string
	algorithm string
}

// compactText is the compact serialisation of RFC 7515, 7.1: three parts, no other
// character, no padding.
var compactText = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)

// strict takes one text only for the same bytes, so that nobody makes a second token out
// of one.
var strict = base64.RawURLEncoding.Strict()

// neverTaken are headers by which a token brings its own key, or says where to fetch it
// (jku, jwk, x5c, x5u), asks for what is not understood (crit, b64), or is encrypted.
var neverTaken = []string{"b64", "crit", "enc", "epk", "jku", "jwk", "x5c", "x5u", "zip"}

// types are what may be signed: an ID token, an access token of RFC 9068.
var types = []string{"JWT", "at+jwt", "application/at+jwt"}

// readCompact reads a token's header.
func readCompact(token string) (*compact, error) {
	switch {
	case token == "":
		return nil, refuse(TokenMissing, "there is no token")
	case len(token) > maxToken:
		return nil, refuse(TokenMalformed, "the token is longer than 16 KiB")
	case !compactText.MatchString(token):
		return nil, refuse(TokenMalformed, "the token is no signed JWT in compact form")
	}
	parts := strings.Split(token, ".")
	var first []byte
	for i, part := range parts {
		b, err := strict.DecodeString(part)
		if err != nil {
			return nil, refuse(TokenMalformed, "a part of the token is no base64url")
		}
		if i == 0 {
			first = b
		}
	}
	c := &compact{text: token, signed: parts[0] + "." + parts[1]}
	return c, c.readHeader(first)
}

func (c *compact) readHeader(b []byte) error {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(b, &members); err != nil {
		return refuse(TokenMalformed, "the token's header is no JSON object, or has a member twice")
	}
	for name := range members {
		if slices.Contains(neverTaken, strings.ToLower(name)) {
			return refuse(TokenMalformed, "the token's header names a key, an extension or an encryption of its own: none is taken")
		}
	}
	kind, there, err := text(members["typ"])
	if err != nil || there && !slices.ContainsFunc(types, func(t string) bool { return strings.EqualFold(t, kind) }) {
		return refuse(TokenMalformed, "the token is neither an ID token nor an access token")
	}
	if c.algorithm, _, err = text(members["alg"]); err != nil || c.algorithm == "" {
		return refuse(TokenMalformed, "the token does not say how it is signed")
	}
	if c.keyID, _, err = text(members["kid"]); err != nil || len(c.keyID) > maxKeyID {
		return refuse(TokenMalformed, "the token's key has no name that can be one")
	}
	return nil
}
