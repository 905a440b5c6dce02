package tokenise

import (
	"context"
	"crypto/hmac"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
)

// Modes of re-identification, member reidentify.mode of a project.
const (
	reidentifyNone   = "none"   // only release tokens leave the region
	reidentifyDirect = "direct" // the token itself may leave
)

// Evaluate has the key holder make tokens of numbers that it does not see.
type Evaluate func(ctx context.Context, numbers []nhsnumber.Number) ([][keys.TokenSize]byte, error)

// TokenKeys make the tokens of one project: the keyed hash of specification
// (g), unless the key holder makes them, and, where the project says reidentify mode
// none, the release token of (l), which is one-way and is never opened. They may be
// shared by goroutines.
type TokenKeys struct {
	project  *keys.Project
	token    secret.MAC // K_tok
	tokenKCV string
	release  secret.MAC // K_x; invalid where raw tokens may leave
	kcv      string
	prefix   []byte // of what a release token is made of
}

// NewTokenKeys returns the token keys of a project. Keys other than those that
// the project pins are refused with kind [fault.Disagreement].
func NewTokenKeys(p *keys.Project, k *keys.KeyFile) (*TokenKeys, error) {
	if err := k.CheckProject(p); err != nil {
		return nil, err
	}
	t := &TokenKeys{project: p}
	if keys.Evaluated(p.Scheme) {
		if p.Keys.TokenKCV == nil || p.Keys.TokenPublicKey == nil {
			return nil, fault.New(fault.Usage, "making tokens for project "+p.Name, "with scheme "+p.Scheme+" the project names the key holder's public key, and this one does not", "get the record from the key holder: tokeniser project")
		}
		t.tokenKCV = *p.Keys.TokenKCV
	} else {
		key := k.TokenDeriver(p.Keys.TokenEpoch)
		t.token, t.tokenKCV = key.MAC(), keys.TokenKCV(key)
	}
	t.kcv = t.tokenKCV
	switch p.Reidentify.Mode {
	case reidentifyDirect:
	case reidentifyNone:
		t.release, t.kcv = k.ReleaseKey.MAC(), keys.TokenKCV(k.ReleaseKey)
		t.prefix = keys.LP(keys.Text("tarn/export/v1"), keys.Text(p.Domain), keys.U32(p.Keys.TokenEpoch))
	default:
		return nil, fault.New(fault.Usage, "making tokens for project "+p.Name, "its reidentify mode is neither none nor direct", "correct reidentify.mode in the project file")
	}
	return t, checkPinned("token", p.Keys.TokenKCV, t.tokenKCV)
}

// checkPinned refuses a key that is not the one the project file pins.
func checkPinned(what string, pinned *string, here string) error {
	if pinned == nil || hmac.Equal([]byte(*pinned), []byte(here)) {
		return nil
	}
	return fault.New(fault.Disagreement, "comparing the key file with the project file",
		"the key check value of the "+what+" key is "+here+" here and "+*pinned+" in the project",
		"use the key file and the profile that the project was made with, or a project file of the current epoch")
}

// Release reports whether the tokens are release tokens.
func (t *TokenKeys) Release() bool { return t.release.Valid() }

// KCV returns the key check value that a manifest carries: of K_tok, or of K_x
// for release tokens.
func (t *TokenKeys) KCV() string { return t.kcv }

// Text returns the text form of a token, specification (f).
func (t *TokenKeys) Text(value [keys.TokenSize]byte) (string, error) {
	scheme, err := keys.SchemeNo(t.project.Scheme, t.Release())
	if err != nil {
		return "", err
	}
	return keys.Token{Scheme: scheme, DomainNo: t.project.Keys.DomainNo, TokenEpoch: uint16(t.project.Keys.TokenEpoch), Value: value}.String(), nil
}

// Tokens computes tokens one after another. It is not for concurrent use.
type Tokens struct {
	keys    *TokenKeys
	hasher  *secret.Hasher
	message []byte
}

// NewTokens returns a Tokens with scratch memory of its own.
func (t *TokenKeys) NewTokens() *Tokens { return &Tokens{keys: t, hasher: secret.NewHasher()} }

// Evaluated reports whether the key holder makes the tokens.
func (t *TokenKeys) Evaluated() bool { return keys.Evaluated(t.project.Scheme) }

// Of returns the token of a number: HMAC(K_tok, 10 digits), or, released,
// HMAC(K_x, LP("tarn/export/v1", domain, u32(token_epoch), token)).
func (t *Tokens) Of(n nhsnumber.Number) [keys.TokenSize]byte {
	t.message = append(t.message[:0], n[:]...)
	return t.Released(*t.hasher.Sum(t.keys.token, t.message))
}

// Released returns what leaves the region of a token: the token, or what is made of it.
func (t *Tokens) Released(token [keys.TokenSize]byte) [keys.TokenSize]byte {
	if t.keys.Release() {
		t.message = keys.AppendLP(append(t.message[:0], t.keys.prefix...), token[:])
		return *t.hasher.Sum(t.keys.release, t.message)
	}
	return token
}
