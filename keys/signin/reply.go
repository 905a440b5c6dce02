package signin

import (
	"crypto/subtle"
	"strings"
	"unicode"
	"unicode/utf8"
)

// answers refuses a token that is not the answer to a sign-in of this nonce; of none,
// whichever it is.
func (c claims) answers(nonce string) error {
	if nonce == "" {
		return nil
	}
	got, there, err := c.optional("nonce")
	if err != nil {
		return err
	}
	if !there || subtle.ConstantTimeCompare([]byte(got), []byte(nonce)) != 1 {
		return refuse(BadClaims, "the token is the answer to another sign-in")
	}
	return nil
}

// maxName is how many characters of a name are shown.
const maxName = 100

// shownName returns what a person is called, where it can be shown: characters and blanks.
func shownName(c claims) string {
	name, _, err := c.optional("name")
	name = strings.TrimSpace(name)
	if err != nil || utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return name
}
