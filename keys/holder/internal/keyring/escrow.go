package keyring

import (
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/escrow"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
)

const (
	kindEscrow   = "escrow"
	escrowRecord = "keys" // there is one record: the key holder has one escrow key at a time
)

// escrowKeys is the record of the key holder's escrow keys, specification (j): to the
// current one tokenisers seal whose token it is. A key's check value is [escrow.KeyID].
type escrowKeys struct {
	Epochs epochs `json:"epochs"`
}

// escrowKey names the record of an escrow key by what envelopes call it, and not by its
// number: after a restore a number may come again, and a tombstone must not hit the key
// that has it then.
func escrowKey(id string) string { return "escrow/" + id }

// escrowed reports whether a project's tokenisers seal whose token it is: its tokens may be
// opened, and are hashes.
func escrowed(p *keys.Project) bool {
	return p.Scheme == keys.SchemeKeyedHash && p.Reidentify.Mode == "direct"
}

// newEscrowKey draws an escrow key: the 32 bytes of which both halves are derived.
func (k *Keyring) newEscrowKey() (m tokenMaterial, err error) {
	key, err := secret.Generate(k.options.Rand)
	if err != nil {
		return m, err
	}
	return escrowMaterial(key)
}

// escrowMaterial is an escrow key with its public half.
func escrowMaterial(key secret.Key) (m tokenMaterial, err error) {
	private, err := openEscrowKey(key)
	if err != nil {
		return m, err
	}
	public := private.PublicKey().Bytes()
	return tokenMaterial{Key: key, check: escrow.KeyID(public), public: hex.EncodeToString(public)}, nil
}

// openEscrowKey derives the private half. It is not kept: fmt would print it.
func openEscrowKey(key secret.Key) (private hpke.PrivateKey, err error) {
	key.Use(func(b *[secret.Size]byte) { private, err = escrow.KEM().NewPrivateKey(b[:]) })
	if err != nil {
		return nil, fmt.Errorf("an escrow key cannot be used")
	}
	return private, nil
}

// checkEscrow holds the escrow keys to their public halves: what is sealed to one that is
// another's is opened by nobody here.
func (k *Keyring) checkEscrow() error {
	for _, e := range k.escrow.Epochs {
		if e.State == api.StateDestroyed {
			continue
		}
		m, err := escrowMaterial(k.keys[escrowKey(e.KeyCheck)])
		if err != nil {
			return err
		}
		if m.check != e.KeyCheck || m.public != e.PublicKey {
			return fmt.Errorf("the escrow key %s is not that of its record", e.KeyCheck)
		}
	}
	return nil
}

// firstEscrowKey draws the key that is lacking where one is needed; it is not valid where
// none is lacking.
func (k *Keyring) firstEscrowKey(needed bool) (m tokenMaterial, err error) {
	if !needed || k.escrow.Epochs.current() != nil {
		return m, nil
	}
	return k.newEscrowKey()
}

// putEscrowKey makes a key the current one; the one that was current becomes what before
// says.
func (t *transaction) putEscrowKey(m tokenMaterial, before api.EpochState) {
	k := t.keyring
	if old := k.escrow.Epochs.current(); old != nil {
		t.event(escrowLeaf(old.KeyCheck, before))
	}
	k.escrow.Epochs.add(m.check, before, t.now).PublicKey = m.public
	t.putKey(escrowKey(m.check), m.Key)
	t.put(kindEscrow, escrowRecord, k.escrow)
	t.event(escrowLeaf(m.check, api.StateCurrent))
}

// escrowLeaf is what an event says of an escrow key.
func escrowLeaf(id string, state api.EpochState) audit.Leaf {
	return audit.Leaf{Kind: audit.KindKeyState, Rule: audit.RuleEscrowKey, Request: id, Outcome: string(state)}
}

func (t *transaction) rotateEscrow(before api.EpochState) (string, error) {
	k := t.keyring
	m, err := k.newEscrowKey()
	if err != nil {
		return "", err
	}
	t.putEscrowKey(m, before)
	changed := 0
	for _, p := range k.projects {
		if escrowed(&p.base) {
			changed++
		}
	}
	return fmt.Sprintf("the escrow key is %s, and stands in the records of %d projects", m.check, changed), nil
}

// setEscrowState moves an escrow key on; destroying takes the key with it.
func (t *transaction) setEscrowState(number uint32, to api.EpochState) string {
	k := t.keyring
	e := k.escrow.Epochs.get(number)
	e.State, e.Changed = to, t.now
	if to == api.StateDestroyed {
		t.eraseKey(escrowKey(e.KeyCheck))
	}
	t.put(kindEscrow, escrowRecord, k.escrow)
	t.event(escrowLeaf(e.KeyCheck, to))
	return "the escrow key is " + string(to)
}

// checkStated refuses a record that states another escrow key than the key holder's: who
// seals to a key of somebody else's tells them who everybody is.
func (k *Keyring) checkStated(p *keys.Project) error {
	stated := p.Keys.EscrowPublicKey
	if stated == nil {
		return nil
	}
	if e := k.escrow.Epochs.current(); !escrowed(p) || e == nil || e.PublicKey != *stated {
		return api.Refuse(api.CodeConflict, "keys.escrow_public_key is not the key holder's escrow key, or the project has none", "leave it out: the key holder gives it")
	}
	return nil
}

// EscrowKeys returns the escrow keys, oldest first.
func (k *Keyring) EscrowKeys() []api.Epoch {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Clone(k.escrow.Epochs)
}

// openEnvelope opens the envelope that lay beside a token, with the escrow key that it
// names, and holds the number in it to the token.
//
// A key that was replaced opens, and so does one that somebody else may have: no envelope
// gives a number whose token is another. A key that was retired opens nothing.
func (k *Keyring) openEnvelope(p *project, epoch *api.Epoch, token keys.Token, e *escrow.Envelope) (number nhsnumber.Number, err error) {
	if e == nil {
		return number, ErrNoEnvelope
	}
	private, err := k.escrowPrivate(e.HolderKeyID)
	if err != nil {
		return number, err
	}
	key := keys.TokenDeriver(k.keys[tokenKey(p.Domain, epoch.Epoch)], p.Domain, epoch.Epoch)
	defer key.Destroy()
	beside := *e
	beside.Token = token.Value // whatever the envelope says
	mac := key.MAC()
	for _, sealedIn := range k.sealers(p) {
		number, err = beside.Open(private, escrow.Context{Project: sealedIn, Domain: p.Domain, TokenEpoch: epoch.Epoch, HolderKeyID: e.HolderKeyID}, mac)
		if errors.Is(err, escrow.ErrClosed) {
			continue // another project of the domain saw the token first
		}
		return number, err
	}
	return number, escrow.ErrClosed
}

// sealers returns the projects in which a token of a project's domain may have been sealed,
// the project itself first: a region keeps one envelope of a token, of whichever project
// of the domain came first.
func (k *Keyring) sealers(p *project) []string {
	names := []string{}
	for name, other := range k.projects {
		if name != p.Name && other.Domain == p.Domain {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Insert(names, 0, p.Name)
}

// escrowPrivate returns the private half of the escrow key of this name, where it may be
// used.
func (k *Keyring) escrowPrivate(id string) (hpke.PrivateKey, error) {
	for _, e := range k.escrow.Epochs {
		if e.KeyCheck != id {
			continue
		}
		switch e.State {
		case api.StateCurrent, api.StateReadable, api.StateCompromised:
			return openEscrowKey(k.keys[escrowKey(id)])
		}
		return nil, api.Refuse(api.CodeKeyState, "the escrow key is "+string(e.State), "have the region seal the envelope anew")
	}
	return nil, escrow.ErrClosed
}
