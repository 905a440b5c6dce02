package oprf

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"

	"filippo.io/edwards25519"
	"github.com/cloudflare/circl/group"

	"tarn/keys/oprf/internal/ristretto"
	"tarn/keys/secret"
)

// ErrKey says that 32 bytes are no key of a domain: not a canonical scalar, or zero.
var ErrKey = errors.New("oprf: it is no key of scheme oblivious")

// Generator is the base of evaluations.
func Generator() Point { return ristretto.Generator().Bytes() }

// NewKey draws a domain's key, a scalar that is not zero, from r, or from the operating
// system's generator where r is nil.
func NewKey(r io.Reader) (secret.Key, error) {
	if r == nil {
		r = rand.Reader
	}
	for {
		k, err := randomScalar(r)
		if err != nil {
			return secret.Key{}, err
		}
		if k.Equal(edwards25519.NewScalar()) == 0 {
			return secret.New([secret.Size]byte(k.Bytes())), nil
		}
	}
}

// randomScalar draws a scalar whose distribution is uniform but for 2^-128.
func randomScalar(r io.Reader) (*edwards25519.Scalar, error) {
	var b [64]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return nil, errRandomness
	}
	defer clear(b[:])
	return edwards25519.NewScalar().SetUniformBytes(b[:])
}

// useScalar calls f with a key's scalar, which must not be kept or printed.
func useScalar(key secret.Key, f func(k *edwards25519.Scalar) error) error {
	if !key.Valid() {
		return ErrKey
	}
	k := edwards25519.NewScalar()
	defer k.Set(edwards25519.NewScalar())
	var err error
	key.Use(func(b *[secret.Size]byte) { _, err = k.SetCanonicalBytes(b[:]) })
	if err != nil || k.Equal(edwards25519.NewScalar()) == 1 {
		return ErrKey
	}
	return f(k)
}

// PublicKey returns kG.
func PublicKey(key secret.Key) (public Point, err error) {
	err = useScalar(key, func(k *edwards25519.Scalar) error {
		public = new(ristretto.Element).MultiplyGenerator(k).Bytes()
		return nil
	})
	return public, err
}

// ParsePublicKey reads a public key as records write it, 64 hexadecimal digits; nil is
// none. It does not say whether it is an element: [NewBlinder] does.
func ParsePublicKey(text *string) (Point, error) {
	if text == nil {
		return Point{}, errors.New("oprf: there is no public key")
	}
	b, err := hex.DecodeString(*text)
	if err != nil || len(b) != PointSize {
		return Point{}, errors.New("oprf: a public key is not of 64 hexadecimal digits")
	}
	return Point(b), nil
}

// Quotient returns to/from: what brings tokens of one key to another.
func Quotient(to, from secret.Key) (quotient secret.Key, err error) {
	err = useScalar(to, func(a *edwards25519.Scalar) error {
		return useScalar(from, func(b *edwards25519.Scalar) error {
			q := edwards25519.NewScalar().Invert(b)
			quotient = secret.New([secret.Size]byte(q.Multiply(q, a).Bytes()))
			return nil
		})
	})
	return quotient, err
}

// circlScalar is a key as circl has it, which prints it: it stays in f.
func circlScalar(k *edwards25519.Scalar) group.Scalar {
	s := group.Ristretto255.NewScalar()
	if err := s.UnmarshalBinary(k.Bytes()); err != nil {
		panic("oprf: two implementations disagree on what a scalar is")
	}
	return s
}
