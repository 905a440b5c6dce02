package signin

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// KeySource is where an issuer's public keys come from: see [KeysInFile] and [KeysAtURL].
type KeySource interface {
	// keys returns the keys; where unknown, after a look whether there are new ones. The
	// error is an [*Error], or the context's.
	keys(ctx context.Context, unknown bool) ([]jose.JSONWebKey, error)
}

// Bounds of a key set, and of its keys.
const (
	maxKeySet   = 256 << 10 // bytes
	maxKeys     = 64
	minModulus  = 2048 // bits, NIST SP 800-131A
	maxModulus  = 8192 // bits: longer ones are slow to verify with
	minExponent = 65537
)

// find returns the one key that a token names.
func find(ctx context.Context, source KeySource, token *compact) (*jose.JSONWebKey, error) {
	if token.keyID == "" {
		return nil, refuse(KeyUnknown, "the token does not say which key it is signed with")
	}
	for _, unknown := range []bool{false, true} {
		all, err := source.keys(ctx, unknown)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(slices.Clone(all), func(k jose.JSONWebKey) bool { return k.KeyID != token.keyID })
		if len(all) == 0 {
			continue
		}
		all = slices.DeleteFunc(all, func(k jose.JSONWebKey) bool { return !fits(&k, token.algorithm) })
		if len(all) != 1 {
			return nil, refuse(KeyUnknown, "the key that the token names is for another algorithm, or two have its name")
		}
		return &all[0], nil
	}
	return nil, refuse(KeyUnknown, "the issuer has no key of the name that the token gives")
}

// fits reports whether a key is for an algorithm.
func fits(k *jose.JSONWebKey, algorithm string) bool {
	if k.Algorithm != "" && k.Algorithm != algorithm {
		return false
	}
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		return slices.Contains([]string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, algorithm)
	case *ecdsa.PublicKey:
		return algorithm == map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[public.Curve.Params().BitSize]
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	}
	return false
}

// publicKey is what is read of a key of a set (RFC 7517, 4; RFC 7518, 6; RFC 8037, 2):
// neither certificates nor addresses of them.
type publicKey struct {
	Type       string   `json:"kty,omitzero"`
	ID         string   `json:"kid,omitzero"`
	Algorithm  string   `json:"alg,omitzero"`
	Use        string   `json:"use,omitzero"`
	Operations []string `json:"key_ops,omitzero"`
	Curve      string   `json:"crv,omitzero"`
	X          string   `json:"x,omitzero"`
	Y          string   `json:"y,omitzero"`
	N          string   `json:"n,omitzero"`
	E          string   `json:"e,omitzero"`

	Private jsontext.Value `json:"d,omitzero"`
}

// readKeys reads a key set. Keys that no token may be verified with are left out:
// symmetric, encrypting, private, nameless, too short, of kinds that are not known.
func readKeys(document []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	switch err := json.Unmarshal(document, &set); {
	case len(document) > maxKeySet:
		return nil, errors.New("it is longer than 256 KiB")
	case err != nil:
		return nil, errors.New("it is no JSON Web Key Set")
	case len(set.Keys) > maxKeys:
		return nil, errors.New("it has more than 64 keys")
	}
	var all []jose.JSONWebKey
	for _, value := range set.Keys {
		if key, usable := readKey(value); usable {
			all = append(all, key)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("it has no public key that tokens could be verified with: of RSA with 2048 bits or more, P-256, P-384, P-521 or Ed25519, with a kid")
	}
	return all, nil
}

func readKey(value jsontext.Value) (key jose.JSONWebKey, usable bool) {
	var p publicKey
	if json.Unmarshal(value, &p) != nil || p.ID == "" || len(p.ID) > maxKeyID || p.Private != nil {
		return key, false
	}
	if !slices.Contains([]string{"RSA", "EC", "OKP"}, p.Type) || p.Use != "" && p.Use != "sig" || len(p.Operations) > 0 && !slices.Contains(p.Operations, "verify") {
		return key, false
	}
	p.Operations = nil
	b, err := json.Marshal(p)
	if err != nil || key.UnmarshalJSON(b) != nil || !key.IsPublic() || !key.Valid() {
		return key, false
	}
	if public, is := key.Key.(*rsa.PublicKey); is {
		bits, odd := public.N.BitLen(), public.N.Bit(0) == 1 && public.E%2 == 1
		return key, odd && bits >= minModulus && bits <= maxModulus && public.E >= minExponent
	}
	return key, true
}
