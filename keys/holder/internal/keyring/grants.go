package keyring

import (
	"regexp"
	"slices"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
)

// The states of a grant.
const (
	grantActive  = "active"
	grantUsed    = "used"
	grantRevoked = "revoked"
)

// maxGrantText is the length in bytes of a grant's purpose or legal basis.
const maxGrantText = 500

// tenDigits finds what may be an NHS number in a text: ten digits, perhaps
// grouped with blanks or hyphens.
var tenDigits = regexp.MustCompile(`(?:\d[ -]?){9}\d`)

func holdsNumber(text string) bool { return tenDigits.MatchString(text) }

func (k *Keyring) checkGrantAdd(body *api.GrantAdd) error {
	malformed := func(detail, next string) error { return api.Refuse(api.CodeMalformed, detail, next) }
	switch {
	case !keys.ValidName(body.Name):
		return malformed("a grant's name is 1 to 32 of a-z, 0-9 and -", "choose another name")
	case k.grants[body.Name] != nil:
		return api.Refuse(api.CodeConflict, "there is, or was, a grant of this name", "choose another name")
	case body.Purpose == "" || body.LegalBasis == "" || len(body.Purpose) > maxGrantText || len(body.LegalBasis) > maxGrantText ||
		holdsNumber(body.Purpose) || holdsNumber(body.LegalBasis):
		return malformed("a grant needs a purpose and a legal basis, each of at most 500 bytes and without any number of ten digits", "say both in a few words")
	case body.RowCap < 0 || body.RowCap > maxRows:
		return malformed("row_cap is negative or beyond reason", "")
	case !k.now().Before(body.Expires):
		return malformed("the grant's end is not in the future", "give a later expires")
	}
	switch body.Kind {
	case api.GrantExport:
		if body.From != "" || body.To != "" || body.Recipient != nil || k.projects[body.Project] == nil {
			return malformed("a grant to export names one project that exists, and neither domains nor a recipient", "give project")
		}
	case api.GrantConvert:
		switch {
		case body.Project != "" || k.domains[body.From] == nil || k.domains[body.To] == nil || body.From == body.To:
			return malformed("a grant to convert names two domains that exist, and no project", "give from and to")
		case body.RowCap == 0 || body.OptOuts == "" || holdsNumber(body.OptOuts):
			return malformed("a grant to convert needs a row_cap, and the version of the opt-out list that was applied", "give row_cap and opt_outs")
		}
		if to := body.Recipient; to != nil {
			return k.checkRecipient(to, body.To)
		}
	default:
		return malformed("there is no such kind of grant", "give export or convert")
	}
	return nil
}

// checkRecipient refuses a recipient who is no tokeniser of a project of the domain, or
// whose keys are none.
func (k *Keyring) checkRecipient(to *api.GrantRecipient, domain string) error {
	p, c := k.projects[to.Project], k.clients[to.Client]
	switch {
	case p == nil || p.Domain != domain:
		return api.Refuse(api.CodeMalformed, "the recipient's project is none of the domain that tokens go to", "list them with: keyholder project list")
	case c == nil || c.Role != api.RoleTokeniser || c.State == clientRevoked || !slices.Contains(c.Projects, p.Name):
		return api.Refuse(api.CodeMalformed, "the recipient's client is no tokeniser of that project", "list them with: keyholder client list")
	}
	if err := to.Keys.Check(); err != nil {
		return api.Refuse(api.CodeMalformed, "the recipient's keys are none: "+err.Error(), "ask the recipient for the file that tokeniser recipient wrote")
	}
	return nil
}

func (t *transaction) addGrant(body *api.GrantAdd) (string, error) {
	g := &api.Grant{
		Name: body.Name, Kind: body.Kind, Project: body.Project, From: body.From, To: body.To, Purpose: body.Purpose, LegalBasis: body.LegalBasis,
		OptOuts: body.OptOuts, RowCap: body.RowCap, Expires: body.Expires.UTC(), State: grantActive, Created: t.now, Recipient: body.Recipient,
	}
	t.putGrant(g, "added")
	return "grant " + g.Name + " added", nil
}

func (t *transaction) putGrant(g *api.Grant, outcome string) {
	t.keyring.grants[g.Name] = g
	t.put(kindGrant, g.Name, g)
	t.event(audit.Leaf{Kind: audit.KindGrant, Project: g.Project, Domain: g.From, Request: g.Name, Purpose: string(g.Kind), Outcome: outcome})
}

func (k *Keyring) checkGrantRevoke(body *api.GrantRevoke) error {
	g := k.grants[body.Name]
	switch {
	case g == nil:
		return noSuch("grant", "list them with: keyholder grant list")
	case g.State != grantActive:
		return api.Refuse(api.CodeConflict, "the grant is "+g.State+" already", "")
	case !k.reason(body.Reason):
		return noReason()
	}
	return nil
}

func (t *transaction) revokeGrant(body *api.GrantRevoke) (string, error) {
	g := *t.keyring.grants[body.Name]
	g.State = grantRevoked
	t.putGrant(&g, grantRevoked)
	return "grant " + g.Name + " is revoked", nil
}

// usable refuses a grant that does not allow this export now.
func (k *Keyring) checkKeyExport(body *api.KeyExport) error {
	p, g := k.projects[body.Project], k.grants[body.Grant]
	switch {
	case p == nil:
		return noSuch("project", "list them with: keyholder project list")
	case g == nil || g.Kind != api.GrantExport || g.Project != body.Project:
		return api.Refuse(api.CodeForbidden, "there is no grant of this name to export this project's keys", "add one: keyholder grant add")
	case g.State != grantActive || !k.now().Before(g.Expires):
		return api.Refuse(api.CodeForbidden, "the grant was used or revoked, or has expired", "add another: keyholder grant add")
	}
	_, err := k.export(p)
	return err
}

// Grants returns every grant, by name.
func (k *Keyring) Grants() []api.Grant {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return documents(k.grants, func(g *api.Grant) api.Grant { return *g })
}

func pointer(t time.Time) *time.Time { return &t }
