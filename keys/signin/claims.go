package signin

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys/fault"
	"tarn/keys/reidentify"
)

// The presets: what claims are called, and how a role is found.
const (
	// PresetCIS2 is NHS Care Identity Service 2: the role is the one entry of
	// nhsid_nrbac_roles whose person_roleid is selected_roleid, and organisation, role and
	// activities are that entry's org_code, role_code and activity_codes.
	PresetCIS2 = "cis2"
	// PresetEntra is Microsoft Entra ID (v2.0 tokens): the subject is oid, the roles are the
	// application's (roles). The organisation is a claim that is named, or by tenant: of
	// Organisations. Where a token has no auth_time, which is an optional claim there, its
	// iat counts.
	PresetEntra = "entra"
	// PresetKeycloak is Keycloak: roles are the realm's (realm_access.roles), the
	// organisation is a claim of that name.
	PresetKeycloak = "keycloak"
)

// Claims are the names of claims. A name is a path of members with dots between them, as
// realm_access.roles; a dot that belongs to a member's name has a backslash before it.
// An empty name is the preset's, and without a preset that of [PresetKeycloak] with roles
// in the claim roles.
type Claims struct {
	Preset       string // cis2, entra, keycloak, or empty
	Subject      string // a text; Keycloak and CIS2: sub, Entra: oid
	UserID       string // a text; CIS2: nhsid_useruid; else none. One that is named must be there.
	Organisation string // an ODS code, or a key of Organisations; not with CIS2
	Role         string // the selected role, a text; CIS2: selected_roleid, else selected_role
	Roles        string // the person's roles: CIS2: nhsid_nrbac_roles; else texts
	Activities   string // texts; none where it is empty; not with CIS2
	Assurance    string // a text, acr; a token may be without
	// AppRoles are the roles that the project knows; not with CIS2. A person has the role
	// that the claim Role selects, which must be one of their roles, and of these where
	// there are any. Without such a claim they have the one role of these that is among
	// theirs, or the only role that they have where AppRoles is empty. None and two are
	// refused: nobody acts in a role that they did not choose.
	AppRoles []string
	// Organisations gives an ODS code for each value of the claim Organisation; others are
	// refused. With Entra that claim is then tid, the tenant, unless it is named.
	Organisations map[string]string
}

var defaults = map[string]Claims{
	"":             {Subject: "sub", Organisation: "organisation", Role: "selected_role", Roles: "roles", Assurance: "acr"},
	PresetKeycloak: {Subject: "sub", Organisation: "organisation", Role: "selected_role", Roles: "realm_access.roles", Assurance: "acr"},
	PresetEntra:    {Subject: "oid", Role: "selected_role", Roles: "roles", Assurance: "acr"},
	PresetCIS2:     {Subject: "sub", UserID: "nhsid_useruid", Role: "selected_roleid", Roles: "nhsid_nrbac_roles", Assurance: "acr"},
}

// organisationText is an ODS code.
var organisationText = regexp.MustCompile(`^[A-Z0-9]{3,10}$`)

// complete returns claims with the preset's names. The error is of kind [fault.Usage].
func (c Claims) complete() (Claims, error) {
	wrongly := func(wrong, next string) (Claims, error) {
		return Claims{}, fault.New(fault.Usage, "reading [oidc.claims]", wrong, next)
	}
	preset, there := defaults[c.Preset]
	if !there {
		return wrongly("there is no such preset", "give cis2, entra or keycloak, or leave it out")
	}
	if c.Preset == PresetCIS2 && (c.Organisation != "" || c.Activities != "" || len(c.AppRoles) > 0 || len(c.Organisations) > 0) {
		return wrongly("organisation, activities, app_roles and organisations are not for cis2", "leave them out: they are the selected role's")
	}
	if c.Preset == PresetEntra && len(c.Organisations) > 0 {
		preset.Organisation = "tid"
	}
	for _, name := range []struct{ given, preset *string }{
		{&c.Subject, &preset.Subject}, {&c.UserID, &preset.UserID}, {&c.Organisation, &preset.Organisation}, {&c.Role, &preset.Role},
		{&c.Roles, &preset.Roles}, {&c.Activities, &preset.Activities}, {&c.Assurance, &preset.Assurance},
	} {
		if *name.given == "" {
			*name.given = *name.preset
		}
		if *name.given != "" && slices.Contains(members(*name.given), "") {
			return wrongly("the name of a claim has an empty part", "give names with single dots between them")
		}
	}
	if c.Organisation == "" && c.Preset != PresetCIS2 {
		return wrongly("nothing says which organisation a person is of", "name the claim as organisation, or give organisations: an ODS code for each tenant")
	}
	for _, code := range c.Organisations {
		if !organisationText.MatchString(code) {
			return wrongly("organisations has what is no ODS code", "give 3 to 10 of A-Z and 0-9")
		}
	}
	for _, role := range c.AppRoles {
		if !nameText.MatchString(role) {
			return wrongly("app_roles has what is no role", "a role has at most 128 letters, digits and ._:/@+-")
		}
	}
	return c, nil
}

// issuedIsSignedIn reports whether iat may stand for an auth_time that is not there.
func (c *Claims) issuedIsSignedIn() bool { return c.Preset == PresetEntra }

// Bounds of claims.
const (
	maxText = 255 // bytes, of texts that are not names: sub as OpenID Connect has it
	maxList = 256 // items
)

// claims are a payload's members.
type claims map[string]jsontext.Value

// readClaims reads a payload. Members that are there twice are refused, however deep, and
// so is what is no UTF-8.
func readClaims(payload []byte) (claims, error) {
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil || c == nil {
		return nil, refuse(BadClaims, "the token's claims are no JSON object, or have a member twice")
	}
	if c["events"] != nil {
		return nil, refuse(BadClaims, "the token is a message about an event, and signs nobody in")
	}
	return c, nil
}

// maxUserInfo bounds what a provider says beside the token, in bytes.
const maxUserInfo = 64 << 10

// ofSignIn returns the members that are about the sign-in and not the person.
func (c *Claims) ofSignIn() []string { return []string{members(c.Assurance)[0], members(c.Role)[0]} }

// with returns claims with those that the userinfo endpoint adds, but for some members.
func (c claims) with(userInfo []byte, but []string) (claims, error) {
	if userInfo == nil {
		return c, nil
	}
	var more claims
	if len(userInfo) > maxUserInfo || json.Unmarshal(userInfo, &more) != nil {
		return nil, refuse(BadClaims, "what the provider says of the person is no JSON object, has a member twice, or is longer than 64 KiB")
	}
	subject, err := c.required("sub")
	if err != nil {
		return nil, err
	}
	if other, err := more.required("sub"); err != nil || other != subject {
		return nil, refuse(BadClaims, "what the provider says is of another person")
	}
	for _, member := range but {
		delete(more, member)
	}
	maps.Copy(more, c)
	return more, nil
}

// members returns the members that a claim's name leads through.
func members(name string) []string {
	var all []string
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch {
		case name[i] == '\\' && i+1 < len(name):
			i++
			b.WriteByte(name[i])
		case name[i] == '.':
			all = append(all, b.String())
			b.Reset()
		default:
			b.WriteByte(name[i])
		}
	}
	return append(all, b.String())
}

// at returns the value that a name leads to, nil where there is none.
func (c claims) at(name string) jsontext.Value {
	path := members(name)
	value := c[path[0]]
	for _, member := range path[1:] {
		var inner map[string]jsontext.Value
		if value.Kind() != '{' || json.Unmarshal(value, &inner) != nil {
			return nil
		}
		value = inner[member]
	}
	return value
}

// text returns a value that is a text; there is false where there is none, or null.
func text(value jsontext.Value) (s string, there bool, err error) {
	if value == nil || value.Kind() == 'n' {
		return "", false, nil
	}
	if value.Kind() != '"' {
		return "", false, refuse(BadClaims, "a claim that should be a text is none")
	}
	if err := json.Unmarshal(value, &s); err != nil {
		return "", false, refuse(BadClaims, "a claim that should be a text is none")
	}
	return s, true, nil
}

// wrongly is what is wrong with a claim, whose name comes from the configuration or from a
// standard, never from the token.
func wrongly(name, wrong string) error {
	return refuse(BadClaims, fmt.Sprintf("claim %s of the token %s", name, wrong))
}

// optional returns a claim that is a text; there is false where the token has none.
func (c claims) optional(name string) (s string, there bool, err error) {
	s, there, err = text(c.at(name))
	switch {
	case err != nil:
		return "", false, wrongly(name, "is no text")
	case there && (s == "" || len(s) > maxText):
		return "", false, wrongly(name, "is empty, or longer than 255 bytes")
	}
	return s, there, nil
}

// required returns a claim that is a text.
func (c claims) required(name string) (string, error) {
	s, there, err := c.optional(name)
	if err == nil && !there {
		err = wrongly(name, "is missing")
	}
	return s, err
}

// name returns a claim that is a name as the log takes it.
func (c claims) name(claim string) (string, error) {
	s, err := c.required(claim)
	if err == nil && !nameText.MatchString(s) {
		err = wrongly(claim, "is none that the log takes: at most 128 letters, digits and ._:/@+-, a letter or digit first")
	}
	return s, err
}

// list returns a claim that is texts; none where the token has none.
func (c claims) list(name string) ([]string, error) {
	value := c.at(name)
	if value == nil || value.Kind() == 'n' {
		return nil, nil
	}
	var items []jsontext.Value
	if value.Kind() != '[' || json.Unmarshal(value, &items) != nil {
		return nil, wrongly(name, "is no list")
	}
	if len(items) > maxList {
		return nil, wrongly(name, fmt.Sprintf("has more than %d items", maxList))
	}
	all := make([]string, len(items))
	for i, item := range items {
		s, there, err := text(item)
		if err != nil || !there || s == "" || len(s) > maxText {
			return nil, wrongly(name, "has an item that is no text, empty, or longer than 255 bytes")
		}
		all[i] = s
	}
	return all, nil
}

// oneOrMore returns a claim that is a text or texts.
func (c claims) oneOrMore(name string) ([]string, error) {
	if c.at(name).Kind() == '[' {
		return c.list(name)
	}
	s, err := c.required(name)
	return []string{s}, err
}

// latest bounds times: far enough, and no computation with them goes wrong.
var latest = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// time returns a claim that is a NumericDate (RFC 7519, 2), to the second below; the zero
// time where there is none.
func (c claims) time(name string) (t time.Time, err error) {
	value := c.at(name)
	if value == nil {
		return t, nil
	}
	var seconds float64
	if value.Kind() != '0' || json.Unmarshal(value, &seconds) != nil || seconds <= 0 || seconds >= float64(latest.Unix()) {
		return t, wrongly(name, "is no time")
	}
	return time.Unix(int64(math.Floor(seconds)), 0).UTC(), nil
}

// person returns whom the claims are of, without issuer and sign-in.
func (c *Claims) person(of claims) (p reidentify.Person, err error) {
	if p.Subject, err = of.name(c.Subject); err != nil {
		return reidentify.Person{}, err
	}
	if c.UserID != "" {
		if p.UserID, err = of.name(c.UserID); err != nil {
			return reidentify.Person{}, err
		}
	}
	if _, there, err := of.optional(c.Assurance); err != nil {
		return reidentify.Person{}, err
	} else if there {
		if p.Assurance, err = of.name(c.Assurance); err != nil {
			return reidentify.Person{}, err
		}
	}
	if c.Preset == PresetCIS2 {
		err = c.national(of, &p)
	} else {
		err = c.local(of, &p)
	}
	if err != nil {
		return reidentify.Person{}, err
	}
	return p, nil
}

// nationalRole is an entry of nhsid_nrbac_roles; it has more members.
type nationalRole struct {
	ID           string   `json:"person_roleid"`
	Organisation string   `json:"org_code"`
	Role         string   `json:"role_code"`
	Activities   []string `json:"activity_codes"`
}

// national takes the selected role of the national role-based access control.
func (c *Claims) national(of claims, p *reidentify.Person) error {
	selected, err := of.required(c.Role)
	if err != nil {
		return err
	}
	var all []nationalRole
	if value := of.at(c.Roles); value.Kind() != '[' || json.Unmarshal(value, &all) != nil || len(all) > maxList {
		return wrongly(c.Roles, "is no list of roles")
	}
	all = slices.DeleteFunc(all, func(r nationalRole) bool { return r.ID != selected })
	switch len(all) {
	case 0:
		return wrongly(c.Role, "is no role of the person's")
	case 1:
	default:
		return wrongly(c.Role, "is the name of more than one role")
	}
	p.Organisation, p.Role, p.Activities = all[0].Organisation, all[0].Role, all[0].Activities
	return checkRole(c.Roles, p)
}

// checkRole refuses a selected role that is not what one looks like.
func checkRole(name string, p *reidentify.Person) error {
	switch {
	case !organisationText.MatchString(p.Organisation):
		return wrongly(name, "has no ODS code of the selected role: 3 to 10 of A-Z and 0-9")
	case !nameText.MatchString(p.Role):
		return wrongly(name, "has no code of the selected role")
	}
	return checkActivities(name, p.Activities)
}

func checkActivities(name string, activities []string) error {
	if len(activities) > maxList || slices.ContainsFunc(activities, func(a string) bool { return !nameText.MatchString(a) }) {
		return wrongly(name, "has what is no code of an activity, or more than 256 of them")
	}
	return nil
}

// local takes the organisation and role of a token that has them apart.
func (c *Claims) local(of claims, p *reidentify.Person) (err error) {
	if p.Organisation, err = c.organisation(of); err != nil {
		return err
	}
	if p.Role, err = c.role(of); err != nil {
		return err
	}
	if c.Activities == "" {
		return nil
	}
	if p.Activities, err = of.list(c.Activities); err != nil {
		return err
	}
	return checkActivities(c.Activities, p.Activities)
}

// organisation returns the ODS code of the one organisation that a person is of.
func (c *Claims) organisation(of claims) (string, error) {
	all, err := of.oneOrMore(c.Organisation)
	if err != nil {
		return "", err
	}
	if len(all) != 1 {
		return "", wrongly(c.Organisation, "names no organisation, or more than one")
	}
	code := all[0]
	if len(c.Organisations) > 0 {
		if code = c.Organisations[code]; code == "" {
			return "", wrongly(c.Organisation, "is none that organisations has an ODS code for")
		}
	}
	if !organisationText.MatchString(code) {
		return "", wrongly(c.Organisation, "is no ODS code: 3 to 10 of A-Z and 0-9")
	}
	return code, nil
}

// role returns the one role that a person acts in, see AppRoles.
func (c *Claims) role(of claims) (string, error) {
	theirs, err := of.list(c.Roles)
	if err != nil {
		return "", err
	}
	if len(c.AppRoles) > 0 {
		theirs = slices.DeleteFunc(theirs, func(role string) bool { return !slices.Contains(c.AppRoles, role) })
	}
	slices.Sort(theirs)
	theirs = slices.Compact(theirs)
	selected, there, err := of.optional(c.Role)
	if err != nil {
		return "", err
	}
	switch {
	case there && !slices.Contains(theirs, selected):
		return "", wrongly(c.Role, "is no role of the person's that counts here")
	case !there && len(theirs) == 0:
		return "", wrongly(c.Roles, "has no role that counts here")
	case !there && len(theirs) > 1:
		return "", wrongly(c.Roles, "has more than one role, and none is selected")
	case !there:
		selected = theirs[0]
	}
	if !nameText.MatchString(selected) {
		return "", wrongly(c.Roles, "has a role that is none that the log takes")
	}
	return selected, nil
}
