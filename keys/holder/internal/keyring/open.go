package keyring

import (
	"encoding/hex"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/escrow"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf"
	"tarn/keys/secret"
)

// auditKey names the record of K_audit, specification (i), with which the log names tokens
// and patients. It is drawn once, and stays: with another one the same patient would have
// another name.
const auditKey = "audit"

// hashedNameSize is how many bytes of an HMAC a name in the log has.
const hashedNameSize = 16

// firstAuditKey draws K_audit where it is lacking; it is not valid where it is not.
func (k *Keyring) firstAuditKey() (secret.Key, error) {
	if _, there := k.keys[auditKey]; there {
		return secret.Key{}, nil
	}
	return secret.Generate(k.options.Rand)
}

// named returns the first bytes of HMAC(K_audit, LP(parts..)), in hex. The caller holds the
// lock.
func (k *Keyring) named(parts ...[]byte) (text string) {
	k.keys[auditKey].Derive(keys.LP(parts...)).Use(func(b *[secret.Size]byte) { text = hex.EncodeToString(b[:hashedNameSize]) })
	return text
}

// TokenH is how the log names a token, token_h of specification (i).
func (k *Keyring) TokenH(token keys.Token) string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.named(keys.Text("tarn/audit-token/v1"), keys.Text(k.domainName(token.DomainNo)), keys.U32(uint32(token.TokenEpoch)), token.Value[:])
}

// domainName returns "" where there is no domain of a number.
func (k *Keyring) domainName(number uint32) string {
	for name, d := range k.domains {
		if d.No == number {
			return name
		}
	}
	return ""
}

// Subject is how the log names the patient of a token, subject_h of specification (i): the
// same for each of their tokens, whichever the domain and the epoch. envelope is what the
// region keeps beside a token of scheme keyed-hash; nil where there is none.
//
// The number does not leave this function. A token that cannot be opened gets a name of its
// own that looks like any other, so that nobody learns from it whether the token is
// anybody's.
func (k *Keyring) Subject(projectName string, token keys.Token, envelope *escrow.Envelope) (name string) {
	identity, err := k.identity(projectName, token, envelope)
	k.mu.RLock()
	defer k.mu.RUnlock()
	if err != nil {
		return k.named(keys.Text("tarn/no-subject/v1"), keys.Text(k.domainName(token.DomainNo)), keys.U32(uint32(token.TokenEpoch)), token.Value[:])
	}
	identity.Release(func(n *nhsnumber.Number) { name = k.named(keys.Text("tarn/subject/v1"), n[:]) })
	return name
}

// Opened is whose token was opened, until it is released.
type Opened struct {
	Identity *Identity
	// Point and Proof, of scheme oblivious, show with which key: see [oprf.Opening].
	Point, Proof []byte
}

// Open opens a token of a project: of scheme oblivious with the domain's key, of scheme
// keyed-hash with the envelope that its region keeps. It asks no policy and records
// nothing: whoever calls it has had both done. What it refuses says too much for whoever
// asked.
func (k *Keyring) Open(projectName string, token keys.Token, envelope *escrow.Envelope) (*Opened, error) {
	if token.Scheme == keys.SchemeNoOblivious {
		return k.openPoint(projectName, token)
	}
	identity, err := k.identity(projectName, token, envelope)
	if err != nil {
		return nil, err
	}
	return &Opened{Identity: identity}, nil
}

// identity is Open without the proof.
func (k *Keyring) identity(projectName string, token keys.Token, envelope *escrow.Envelope) (*Identity, error) {
	if token.Scheme == keys.SchemeNoOblivious {
		opened, err := k.openPoint(projectName, token)
		if err != nil {
			return nil, err
		}
		return opened.Identity, nil
	}
	if envelope == nil {
		return nil, escrow.ErrClosed
	}
	return k.openEnvelope(projectName, token, envelope)
}

// openPoint opens an oblivious token, with the proof.
func (k *Keyring) openPoint(projectName string, token keys.Token) (*Opened, error) {
	opening, err := k.point(projectName, token)
	if err != nil {
		return nil, err
	}
	identity, err := k.decode(opening.Point)
	if err != nil {
		return nil, err
	}
	return &Opened{Identity: identity, Point: opening.Point[:], Proof: opening.Proof[:]}, nil
}

// decode returns whose number an element is. Numbers of the test range open where the key
// holder is for trials.
func (k *Keyring) decode(p oprf.Point) (*Identity, error) {
	number, is := oprf.Decode(p, !k.options.Production)
	if !is {
		return nil, api.Refuse(api.CodeForbidden, "the token is nobody's", "")
	}
	return newIdentity(number), nil
}

// point opens a token that may be opened to an element. The lock is held throughout: who
// destroys a key clears it.
func (k *Keyring) point(projectName string, token keys.Token) (oprf.Opening, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	d, epoch, err := k.openable(projectName, token)
	if err != nil {
		return oprf.Opening{}, err
	}
	public, err := publicKey(epoch)
	if err != nil {
		return oprf.Opening{}, err
	}
	return oprf.Open(k.keys[tokenKey(d.Name, epoch.Epoch)], public, token.DomainNo, uint32(token.TokenEpoch), oprf.Point(token.Value))
}

// openable refuses a token that a project does not open: one of another domain or scheme,
// of an epoch that is not read any more, or of a project that has ended or opens nothing.
func (k *Keyring) openable(projectName string, token keys.Token) (*domain, *api.Epoch, error) {
	p := k.projects[projectName]
	if p == nil {
		return nil, nil, noSuch("project", "list them with: keyholder project list")
	}
	end, err := p.base.End()
	if err != nil || !k.now().Before(end) {
		return nil, nil, api.Refuse(api.CodeProjectExpired, "its last day is over", "ask its controllers to renew it: keyholder project renew")
	}
	d := k.domains[p.Domain]
	scheme, err := keys.SchemeNo(p.base.Scheme, false)
	if err != nil || p.base.Reidentify.Mode != "direct" || token.Scheme != scheme || token.DomainNo != d.No {
		return nil, nil, api.Refuse(api.CodeForbidden, "the token is not of this project, or the project's tokens are not opened", "")
	}
	epoch := d.Epochs.get(uint32(token.TokenEpoch))
	if epoch == nil || epoch.State != api.StateCurrent && epoch.State != api.StateReadable {
		return nil, nil, api.Refuse(api.CodeKeyState, "the token's epoch is not one that may be read", "")
	}
	return d, epoch, nil
}
