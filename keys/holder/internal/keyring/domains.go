package keyring

import (
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/oprf"
	"tarn/keys/secret"
)

// domain is a domain's record.
type domain struct {
	Name    string    `json:"name"`
	No      uint32    `json:"no"`
	Scheme  string    `json:"scheme"`
	Epochs  epochs    `json:"epochs"`
	Created time.Time `json:"created"`
}

func (d *domain) document() api.Domain {
	return api.Domain{Name: d.Name, DomainNo: d.No, Scheme: d.Scheme, Epochs: slices.Clone(d.Epochs), Created: d.Created}
}

// checkDomainAdd refuses a domain that cannot be.
func (k *Keyring) checkDomainAdd(body *api.DomainAdd) error {
	switch {
	case !keys.ValidName(body.Name):
		return api.Refuse(api.CodeMalformed, "a domain's name is 1 to 32 of a-z, 0-9 and -", "choose another name")
	case !slices.Contains(keys.Schemes(), body.Scheme):
		return api.Refuse(api.CodeMalformed, "the scheme is not one that this version has", "give one of "+strings.Join(keys.Schemes(), ", "))
	case k.domains[body.Name] != nil:
		return api.Refuse(api.CodeConflict, "there is a domain of this name", "choose another name")
	case len(k.domains) == math.MaxUint32:
		return api.Refuse(api.CodeConflict, "there are no domain numbers left", "")
	}
	return nil
}

func (t *transaction) addDomain(body *api.DomainAdd) (string, error) {
	k := t.keyring
	key, err := k.newTokenKey(body.Scheme, body.Name, 1)
	if err != nil {
		return "", err
	}
	no := uint32(1)
	for _, d := range k.domains {
		no = max(no, d.No+1)
	}
	d := &domain{Name: body.Name, No: no, Scheme: body.Scheme, Created: t.now}
	d.Epochs.add(key.check, api.StateReadable, t.now).PublicKey = key.public
	k.domains[d.Name] = d
	t.putKey(tokenKey(d.Name, 1), key.Key)
	t.put(kindDomain, d.Name, d)
	t.event(audit.Leaf{Kind: audit.KindDomain, Domain: d.Name, Outcome: "added"})
	t.event(audit.Leaf{Kind: audit.KindKeyState, Domain: d.Name, TokenEpoch: 1, Outcome: string(api.StateCurrent)})
	return "domain " + d.Name + " added, its token epoch is 1", nil
}

// tokenMaterial is a domain's key and what may be known of it.
type tokenMaterial struct {
	secret.Key
	check, public string
}

// newTokenKey draws a domain's key: 32 random bytes, or a scalar that is not zero.
func (k *Keyring) newTokenKey(scheme, domain string, epoch uint32) (m tokenMaterial, err error) {
	if !keys.Evaluated(scheme) {
		if m.Key, err = secret.Generate(k.options.Rand); err == nil {
			m.check = api.KeyCheck(api.UseToken, m.Key, domain, epoch)
		}
		return m, err
	}
	if m.Key, err = oprf.NewKey(k.options.Rand); err != nil {
		return m, err
	}
	public, err := oprf.PublicKey(m.Key)
	m.check, m.public = keys.PublicKCV(public[:]), hex.EncodeToString(public[:])
	return m, err
}

// Domain returns a domain.
func (k *Keyring) Domain(name string) (api.Domain, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	d := k.domains[name]
	if d == nil {
		return api.Domain{}, noSuch("domain", "list them with: keyholder domain list")
	}
	return d.document(), nil
}

// Domains returns every domain, by name.
func (k *Keyring) Domains() []api.Domain {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return documents(k.domains, (*domain).document)
}

// documents returns what is in a map, as callers see it, by name.
func documents[T, D any](from map[string]T, document func(T) D) []D {
	names := sortedNames(from)
	all := make([]D, len(names))
	for i, name := range names {
		all[i] = document(from[name])
	}
	return all
}

func sortedNames[T any](of map[string]T) []string {
	names := make([]string, 0, len(of))
	for name := range of {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func noSuch(what, next string) error {
	return api.Refuse(api.CodeNotFound, "there is no such "+what, next)
}

// keyOwner returns the epochs that a key change is about, and what one of them is called.
func (k *Keyring) keyOwner(body *api.KeyChange) (all *epochs, what string, err error) {
	owners := 0
	for _, named := range []bool{body.Domain != "", body.Project != "", body.Escrow} {
		if named {
			owners++
		}
	}
	switch {
	case owners != 1:
		return nil, "", api.Refuse(api.CodeMalformed, "a key belongs to a domain or to a project, or is the escrow key", "name one of the three")
	case !k.reason(body.Reason):
		return nil, "", noReason()
	case body.Domain != "":
		d := k.domains[body.Domain]
		if d == nil {
			return nil, "", noSuch("domain", "list them with: keyholder domain list")
		}
		return &d.Epochs, "token epoch", nil
	case body.Escrow:
		return &k.escrow.Epochs, "escrow key", nil
	default:
		p := k.projects[body.Project]
		if p == nil {
			return nil, "", noSuch("project", "list them with: keyholder project list")
		}
		return &p.Encoding, "encoding epoch", nil
	}
}

// maxReason is the length in bytes of a reason.
const maxReason = 500

// reason reports whether a text may stand as a reason: something was said, and
// no number that could be a patient's.
func (k *Keyring) reason(text string) bool {
	return strings.TrimSpace(text) != "" && len(text) <= maxReason && !holdsNumber(text)
}

func noReason() error {
	return api.Refuse(api.CodeMalformed, "the reason is missing, longer than 500 bytes, or holds what may be an NHS number", "say in a few words why, and name no patient")
}

// checkKeyChange refuses what the key's state does not allow.
func (k *Keyring) checkKeyChange(kind api.OperationKind, body *api.KeyChange) error {
	all, what, err := k.keyOwner(body)
	if err != nil {
		return err
	}
	if kind == api.OpKeyRotate {
		if body.Epoch != 0 {
			return api.Refuse(api.CodeMalformed, "the next epoch's number is not chosen", "leave the epoch out")
		}
		if body.Domain != "" && len(*all) >= math.MaxUint16 {
			return api.Refuse(api.CodeConflict, "a token's text form can carry no later epoch", "use a new domain")
		}
		return nil
	}
	if body.Compromised {
		return api.Refuse(api.CodeMalformed, "compromised belongs to rotating a key", "rotate the key with it: its successor is current at once")
	}
	e := all.get(body.Epoch)
	if e == nil {
		return noSuch(what, "give one that there was: keyholder key list")
	}
	to := api.StateRetired
	if kind == api.OpKeyDestroy {
		to = api.StateDestroyed
	}
	if !Transition(e.State, to) {
		next := "retire it first"
		if e.State == api.StateCurrent {
			next = "rotate it first"
		}
		return api.Refuse(api.CodeKeyState, what+" is "+string(e.State)+" and cannot become "+string(to), next)
	}
	return nil
}

// rotate gives a domain or project a new key, or the key holder a new escrow key. Where the old one may be known to
// somebody it becomes compromised, and its leases end at once.
func (t *transaction) rotate(body *api.KeyChange) (string, error) {
	before, said := api.StateReadable, ""
	if body.Compromised {
		before, said = api.StateCompromised, "; the one before is compromised"
	}
	var outcome string
	var err error
	switch {
	case body.Escrow:
		outcome, err = t.rotateEscrow(before)
	case body.Domain != "":
		outcome, err = t.rotateDomain(t.keyring.domains[body.Domain], before)
	default:
		outcome, err = t.rotateProject(t.keyring.projects[body.Project], before)
	}
	return outcome + said, err
}

func (t *transaction) rotateDomain(d *domain, before api.EpochState) (string, error) {
	key, err := t.keyring.newTokenKey(d.Scheme, d.Name, uint32(len(d.Epochs)+1))
	if err != nil {
		return "", err
	}
	old := d.Epochs.current()
	next := d.Epochs.add(key.check, before, t.now)
	next.PublicKey = key.public
	t.putKey(tokenKey(d.Name, next.Epoch), key.Key)
	t.put(kindDomain, d.Name, d)
	if old != nil {
		t.event(audit.Leaf{Kind: audit.KindKeyState, Domain: d.Name, TokenEpoch: next.Epoch - 1, Outcome: string(before)})
	}
	t.event(audit.Leaf{Kind: audit.KindKeyState, Domain: d.Name, TokenEpoch: next.Epoch, Outcome: string(api.StateCurrent)})
	ended := t.endLeases(func(l *lease) bool {
		return l.Use == api.UseToken && l.Domain == d.Name && l.Epoch != next.Epoch && before == api.StateCompromised
	})
	return "domain " + d.Name + " has a new token epoch" + ended, nil
}

func (t *transaction) rotateProject(p *project, before api.EpochState) (string, error) {
	k := t.keyring
	encoding, err := secret.Generate(k.options.Rand)
	if err != nil {
		return "", err
	}
	release, err := secret.Generate(k.options.Rand)
	if err != nil {
		return "", err
	}
	number := uint32(len(p.Encoding) + 1)
	old := p.Encoding.current()
	p.Encoding.add(api.KeyCheck(api.UseEncoding, encoding, p.Domain, number), before, t.now)
	p.EncodingKCV = nil
	p.Changed = t.now
	t.putKey(encodingKey(p.Name, number), encoding)
	t.putKey(releaseKey(p.Name, number), release)
	t.put(kindProject, p.Name, p)
	if old != nil {
		t.event(audit.Leaf{Kind: audit.KindKeyState, Project: p.Name, EncodingEpoch: number - 1, Outcome: string(before)})
	}
	t.event(audit.Leaf{Kind: audit.KindKeyState, Project: p.Name, EncodingEpoch: number, Outcome: string(api.StateCurrent)})
	ended := t.endLeases(func(l *lease) bool {
		return l.Use != api.UseToken && l.Project == p.Name && l.Epoch != number && before == api.StateCompromised
	})
	return "project " + p.Name + " has a new encoding epoch" + ended, nil
}

// setState moves an epoch on; destroying takes its keys with it.
func (t *transaction) setState(body *api.KeyChange, to api.EpochState) (string, error) {
	if body.Escrow {
		return t.setEscrowState(body.Epoch, to), nil
	}
	k := t.keyring
	leaf := audit.Leaf{Kind: audit.KindKeyState, Domain: body.Domain, Project: body.Project, Outcome: string(to)}
	if body.Domain != "" {
		d := k.domains[body.Domain]
		e := d.Epochs.get(body.Epoch)
		e.State, e.Changed = to, t.now
		leaf.TokenEpoch = body.Epoch
		if to == api.StateDestroyed {
			t.eraseKey(tokenKey(d.Name, body.Epoch))
		}
		t.put(kindDomain, d.Name, d)
	} else {
		p := k.projects[body.Project]
		e := p.Encoding.get(body.Epoch)
		e.State, e.Changed = to, t.now
		leaf.EncodingEpoch = body.Epoch
		if to == api.StateDestroyed {
			t.eraseKey(encodingKey(p.Name, body.Epoch))
			t.eraseKey(releaseKey(p.Name, body.Epoch))
		}
		t.put(kindProject, p.Name, p)
	}
	t.event(leaf)
	ended := t.endLeases(func(l *lease) bool {
		if body.Domain != "" {
			return l.Use == api.UseToken && l.Domain == body.Domain && l.Epoch == body.Epoch
		}
		return l.Use != api.UseToken && l.Project == body.Project && l.Epoch == body.Epoch
	})
	return "the epoch is " + string(to) + ended, nil
}
