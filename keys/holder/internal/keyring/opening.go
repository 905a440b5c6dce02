package keyring

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/escrow"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf"
)

// Errors of an opening. Like everything that Open refuses they say too much for whoever
// asked: who may hear of them is whoever decides, and the log.
var (
	// ErrNobody says that a token opens to nobody: it was made up, or is of a number that
	// identifies nobody, or of one of the test range in production.
	ErrNobody = errors.New("keyring: the token is nobody's")
	// ErrNoEnvelope says that a token of scheme keyed-hash came without what it is opened by.
	ErrNoEnvelope = errors.New("keyring: there is no envelope beside the token")
)

// Opened is whose token it is, and how that is proven, until it is released.
type Opened struct {
	Identity *Identity
	// opening is as good as the number, and lies behind a closure as that does; nil of
	// scheme keyed-hash.
	opening func() *oprf.Opening
}

// Opening returns the proof that goes with the number, of scheme oblivious; false of scheme
// keyed-hash, which has none. It tells whose token it is, and goes where the number goes.
func (o *Opened) Opening() (opening oprf.Opening, proven bool) {
	if o.opening == nil {
		return opening, false
	}
	return *o.opening(), true
}

// Forget clears the number, if it is not released, and the proof.
func (o *Opened) Forget() {
	o.Identity.Forget()
	if o.opening != nil {
		*o.opening() = oprf.Opening{}
	}
}

// Open opens a token of a project: of scheme oblivious with the domain's key, of scheme
// keyed-hash by the envelope that lay beside it, which may else be nil. Tokens of other
// schemes are opened by nobody. It asks no policy and records nothing: whoever calls it has
// had both done. Errors are refusals ([api.Error]), [ErrNobody], [ErrNoEnvelope],
// [escrow.ErrClosed] and [escrow.ErrToken].
//
// The token's epoch is the current one or may be read: both answer while a domain's key is
// replaced.
func (k *Keyring) Open(projectName string, token keys.Token, e *escrow.Envelope) (*Opened, error) {
	// Held throughout: who destroys a key clears it.
	k.mu.RLock()
	defer k.mu.RUnlock()
	number, opening, err := k.open(projectName, token, e)
	if err != nil {
		return nil, err
	}
	opened := &Opened{Identity: newIdentity(number)}
	if opening != nil {
		opened.opening = func() *oprf.Opening { return opening }
	}
	return opened, nil
}

// open opens a token, under the caller's lock. opening is nil of scheme keyed-hash.
func (k *Keyring) open(projectName string, token keys.Token, e *escrow.Envelope) (number nhsnumber.Number, opening *oprf.Opening, err error) {
	p, epoch, err := k.openable(projectName, token)
	if err != nil {
		return number, nil, err
	}
	if token.Scheme == keys.SchemeNoOblivious {
		return k.openPoint(p, epoch, token)
	}
	if number, err = k.openEnvelope(p, epoch, token, e); err != nil {
		return number, nil, err
	}
	if _, state, _ := nhsnumber.Parse(string(number[:])); !state.Identifies(!k.options.Production) {
		return nhsnumber.Number{}, nil, ErrNobody
	}
	return number, nil, nil
}

// openable returns the project of a token and its epoch, where the project's tokens may be
// opened, this one is of them, and its epoch may be read.
func (k *Keyring) openable(projectName string, token keys.Token) (*project, *api.Epoch, error) {
	p := k.projects[projectName]
	if p == nil {
		return nil, nil, noSuch("project", "list them with: keyholder project list")
	}
	end, err := p.base.End()
	if err != nil || !k.now().Before(end) {
		return nil, nil, api.Refuse(api.CodeProjectExpired, "its last day is over", "ask its controllers to renew it: keyholder project renew")
	}
	d := k.domains[p.Domain]
	if token.DomainNo != d.No || !opens(&p.base, token.Scheme) {
		return nil, nil, api.Refuse(api.CodeForbidden, "the token is not of this project, or the project's tokens are not opened", "")
	}
	epoch := d.Epochs.get(uint32(token.TokenEpoch))
	if epoch == nil || epoch.State != api.StateCurrent && epoch.State != api.StateReadable {
		return nil, nil, api.Refuse(api.CodeKeyState, "the token's epoch is not one that may be read", "")
	}
	return p, epoch, nil
}

// opens reports whether a project's tokens may be opened, and can: what rfc9497 hashes and
// what leaves a region as a release token is not opened by anybody.
func opens(p *keys.Project, scheme uint8) bool {
	if p.Reidentify.Mode != "direct" {
		return false
	}
	switch scheme {
	case keys.SchemeNoKeyedHash:
		return p.Scheme == keys.SchemeKeyedHash
	case keys.SchemeNoOblivious:
		return p.Scheme == keys.SchemeOblivious
	}
	return false
}

// openPoint opens a token of scheme oblivious. The proof is made before it is known whether
// the token is somebody's, so that it takes as long.
func (k *Keyring) openPoint(p *project, epoch *api.Epoch, token keys.Token) (number nhsnumber.Number, opening *oprf.Opening, err error) {
	public, err := publicKey(epoch)
	if err != nil {
		return number, nil, err
	}
	o, err := oprf.Open(k.keys[tokenKey(p.Domain, epoch.Epoch)], public, token.DomainNo, epoch.Epoch, token.Value)
	if errors.Is(err, oprf.ErrElement) {
		return number, nil, ErrNobody
	}
	if err != nil {
		return number, nil, err
	}
	number, somebody := oprf.Decode(o.Point, !k.options.Production)
	if !somebody {
		return number, nil, ErrNobody
	}
	return number, &o, nil
}

// Identity is whose token was opened, until it is released. It lies behind a closure, as
// keys do, and is printed by nothing.
type Identity struct {
	get  func() *nhsnumber.Number
	gone atomic.Bool
}

func newIdentity(number nhsnumber.Number) *Identity {
	return &Identity{get: func() *nhsnumber.Number { return &number }}
}

// Release calls f with the number and clears it: it is released once. false says that
// it was released or forgotten before, and that f was not called.
func (i *Identity) Release(f func(*nhsnumber.Number)) bool {
	if i.gone.Swap(true) {
		return false
	}
	number := i.get()
	defer clear(number[:])
	f(number)
	return true
}

// Forget clears a number that is not released.
func (i *Identity) Forget() { i.Release(func(*nhsnumber.Number) {}) }

const hidden = "[an identity]"

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (i *Identity) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (i *Identity) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText refuses: an identity is in no document but the answer that releases it.
func (i *Identity) MarshalText() ([]byte, error) {
	return nil, fmt.Errorf("keyring: refusing to marshal an identity")
}
