package keys

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"tarn/keys/nhsnumber"
)

// maxTokenEpoch is the last epoch that a token's text form can carry (two
// bytes, specification (f)). Encoding epochs fill their four bytes.
const maxTokenEpoch = math.MaxUint16

// EscrowPublicKeySize is the length in bytes of the public half of a key holder's escrow
// key, of MLKEM768X25519.
const EscrowPublicKeySize = 1216

// maxGroupName is the length in bytes that the name of a group column may have.
const maxGroupName = 100

var (
	checkValuePattern = regexp.MustCompile(`^[0-9a-f]{32}$`)
	publicKeyPattern  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	lowerHexPattern   = regexp.MustCompile(`^[0-9a-f]+$`)
)

// Check refuses a project that nothing could be done with. Each error names the
// member and what to put there, never what was found there.
func (p *Project) Check() error {
	switch {
	case p.Schema != ProjectSchema:
		return fmt.Errorf("member schema is not %q", ProjectSchema)
	case !ValidName(p.Name):
		return fmt.Errorf("member name must be 1 to 32 of a-z, 0-9 and -")
	case !ValidName(p.Domain):
		return fmt.Errorf("member domain must be 1 to 32 of a-z, 0-9 and -")
	case !slices.Contains(Schemes(), p.Scheme):
		return fmt.Errorf("member scheme must be one of %s", strings.Join(Schemes(), ", "))
	case !Evaluated(p.Scheme) && p.Keys.TokenPublicKey != nil:
		return fmt.Errorf("member keys.token_public_key must be null: scheme %s has none", p.Scheme)
	case p.Keys.TokenPublicKey != nil && !publicKeyPattern.MatchString(*p.Keys.TokenPublicKey):
		return fmt.Errorf("member keys.token_public_key must be null or 64 of 0-9 and a-f: get the record from the key holder")
	case p.Profile == "":
		return fmt.Errorf("member profile is missing: a preset's name or a profile file's path")
	case p.Reidentify.Mode != "none" && p.Reidentify.Mode != "direct":
		return fmt.Errorf("member reidentify.mode must be none or direct")
	case p.Reidentify.Approvals < 0:
		return fmt.Errorf("member reidentify.approvals is negative: give the number of approvals that are needed")
	}
	if err := p.checkTexts(); err != nil {
		return err
	}
	if err := p.Keys.check(); err != nil {
		return err
	}
	if err := checkParties(p.Parties); err != nil {
		return err
	}
	if err := checkGroups(p.Groups); err != nil {
		return err
	}
	_, err := p.End()
	return err
}

// checkTexts refuses an NHS number in what people write: the record goes to every
// party, and stands in reports.
func (p *Project) checkTexts() error {
	texts := map[string][]string{
		"purpose": {p.Purpose}, "controllers": p.Controllers, "groups": p.Groups, "opt_outs.reason": {p.OptOuts.Reason},
		"legal_basis":         append([]string{p.LegalBasis.Article6, p.LegalBasis.Article9, p.LegalBasis.Confidentiality}, p.LegalBasis.Refs...),
		"reidentify.purposes": p.Reidentify.Purposes,
	}
	if p.KeyedHash != nil {
		texts["keyed_hash.accepted_by"] = p.KeyedHash.AcceptedBy
	}
	for i := range p.Parties {
		texts[fmt.Sprintf("parties[%d].ods", i)] = []string{p.Parties[i].ODS}
	}
	for _, member := range slices.Sorted(maps.Keys(texts)) {
		if slices.ContainsFunc(texts[member], nhsnumber.In[string]) {
			return fmt.Errorf("member %s holds what may be an NHS number: name no patient", member)
		}
	}
	return nil
}

func (k *KeySet) check() error {
	switch {
	case k.TokenEpoch == 0 || k.TokenEpoch > maxTokenEpoch:
		return fmt.Errorf("member keys.token_epoch must be from 1 to %d, which is what a token's text form can carry", maxTokenEpoch)
	case k.EncodingEpoch == 0:
		return fmt.Errorf("member keys.encoding_epoch must be from 1 to %d", uint32(math.MaxUint32))
	}
	for _, pinned := range []struct {
		member string
		value  *string
	}{{"token_kcv", k.TokenKCV}, {"encoding_kcv", k.EncodingKCV}} {
		if pinned.value != nil && !checkValuePattern.MatchString(*pinned.value) {
			return fmt.Errorf("member keys.%s must be null or 32 of 0-9 and a-f: copy what tokeniser keys new printed", pinned.member)
		}
	}
	if key := k.EscrowPublicKey; key != nil && (len(*key) != 2*EscrowPublicKeySize || !lowerHexPattern.MatchString(*key)) {
		return fmt.Errorf("member keys.escrow_public_key must be left out or %d of 0-9 and a-f: get the record from the key holder", 2*EscrowPublicKeySize)
	}
	return nil
}

func checkParties(parties []Party) error {
	if len(parties) == 0 {
		return fmt.Errorf("member parties is empty: name at least one source_dataset")
	}
	seen := map[string]bool{}
	for i, party := range parties {
		switch {
		case !ValidSourceDataset(party.SourceDataset):
			return fmt.Errorf("member parties[%d].source_dataset must be 1 to 64 of letters, digits, - and _", i)
		case seen[party.SourceDataset]:
			return fmt.Errorf("member parties[%d].source_dataset is there twice: each party needs a name of its own", i)
		case party.BudgetRows < 0:
			return fmt.Errorf("member parties[%d].budget_rows is negative: give a number of rows, or leave it out where none is stated", i)
		}
		seen[party.SourceDataset] = true
	}
	return nil
}

// identifying are the columns, as fold leaves them, that say who somebody is.
// sex is not among them: it is a group that people are compared by.
var identifying = []string{
	"uniqueid", "nhsnumber", "givenname", "othergivennames", "familyname", "previousfamilyname", "dateofbirth", "postcode", "gppracticecode",
}

// reserved are the columns, as fold leaves them, with which Tarn tells records,
// parties and results apart.
var reserved = []string{"sourcedataset", "sourceid", "cohortid", "clusterid", "runid", "nhsnumberstate", "nhstoken"}

// encoded are the beginnings of the names of columns that hold tokens, tags
// and encodings.
var encoded = []string{"bf_", "tag_", "blk_", "token"}

// fold removes what people vary in a column's name: case, blanks, punctuation.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// checkGroups refuses group columns that would let somebody be recognised:
// groups leave the region and lie beside minted ids.
func checkGroups(groups []string) error {
	seen := map[string]bool{}
	for i, name := range groups {
		folded := fold(name)
		wrong := func(format string, a ...any) error {
			return fmt.Errorf("member groups[%d] %s", i, fmt.Sprintf(format, a...))
		}
		for _, prefix := range encoded {
			if strings.HasPrefix(strings.ToLower(name), prefix) {
				return wrong("begins with %s, as columns of tokens and encodings do: take it out, clear groups never lie beside encodings", prefix)
			}
		}
		switch {
		case folded == "":
			return wrong("is empty or holds neither letter nor digit: take it out, or give the name of a column of the input")
		case name != strings.TrimSpace(name) || strings.ContainsFunc(name, unicode.IsControl):
			return wrong("has blanks around it or a control character in it: give the column's name alone")
		case len(name) > maxGroupName:
			return wrong("is longer than %d bytes: give the column a shorter name", maxGroupName)
		case slices.Contains(identifying, folded):
			return wrong("is a field that identifies people and may not lie beside minted ids: take it out (of the fields, only sex may be a group)")
		case slices.Contains(reserved, folded):
			return wrong("is the name of a column of Tarn's own: take it out, or give the column another name")
		case seen[folded]:
			return wrong("is there twice, perhaps in another spelling: take one out")
		}
		seen[folded] = true
	}
	return nil
}
