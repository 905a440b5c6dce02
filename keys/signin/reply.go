package signin

import (
	"crypto/subtle"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
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

// Shown is what a person is called, and the role that they selected, in words. Each is empty
// where the provider says none that can be shown.
type Shown struct{ Name, Role string }

// shown reads both.
func (c claims) shown() (s Shown) {
	name, _, err := c.optional("name")
	if err == nil {
		s.Name = printable(name)
	}
	var roles []struct {
		ID   string `json:"person_roleid"`
		Name string `json:"role_name"`
	}
	selected, _, err := c.optional("selected_roleid")
	if err != nil || selected == "" || json.Unmarshal(c.at("nhsid_nrbac_roles"), &roles) != nil {
		return s
	}
	for _, r := range roles {
		if r.ID == selected {
			// CIS2 has the role's groups before it: "Clinical":"Clinical Provision":"Nurse".
			s.Role = printable(strings.Trim(r.Name[strings.LastIndexByte(r.Name, ':')+1:], `" `))
		}
	}
	return s
}

// maxShown is how many characters of a name are shown.
const maxShown = 100

// printable returns a text of characters and blanks, or nothing.
func printable(text string) string {
	text = strings.TrimSpace(text)
	if utf8.RuneCountInString(text) > maxShown || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return text
}
