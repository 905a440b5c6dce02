package oprf

import (
	"filippo.io/edwards25519"

	"tarn/keys"
	"tarn/keys/oprf/internal/ristretto"
	"tarn/keys/secret"
)

// Opening is whose token it is, as the key holder answers it: the element of the number,
// and the proof that it is the one of which the domain's key makes the token. Whoever has
// the domain's public key can check that the key holder has not used another key.
type Opening struct {
	Point Point
	Proof [ProofSize]byte // c || s, little-endian, as those of batches
}

// opening is what the proof says: that k, with which the generator becomes the domain's
// public key, makes the token of the element. The context is
// LP("tarn/dleq-open/v1", u32(domain_no), u32(token_epoch)).
func opening(public Point, domainNo, tokenEpoch uint32) *statement {
	return &statement{keys.LP(keys.Text("tarn/dleq-open/v1"), keys.U32(domainNo), keys.U32(tokenEpoch)), Generator(), public}
}

// OpenProved is Open with the proof. public is the key's.
func OpenProved(key secret.Key, public Point, domainNo, tokenEpoch uint32, token Point) (*Opening, error) {
	number, err := Open(key, token)
	if err != nil {
		return nil, err
	}
	element := make([]ristretto.Element, 1)
	if !element[0].SetBytes(number[:]) {
		return nil, ErrElement
	}
	s, o := opening(public, domainNo, tokenEpoch), &Opening{Point: number}
	weights := s.weights(1, func(int) []byte { return number[:] }, func(int) []byte { return token[:] })
	err = useScalar(key, func(k *edwards25519.Scalar) error {
		o.Proof, err = s.prove(circlScalar(k), weights, element)
		return err
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Verify refuses, with [ErrProof], an opening that is not that of a token by the key of a
// domain's public key.
func (o *Opening) Verify(public Point, domainNo, tokenEpoch uint32, token Point) error {
	input, output := make([]ristretto.Element, 1), make([]ristretto.Element, 1)
	if !input[0].SetBytes(o.Point[:]) || input[0].IsIdentity() || !output[0].SetBytes(token[:]) || output[0].IsIdentity() {
		return ErrElement
	}
	s := opening(public, domainNo, tokenEpoch)
	weights := s.weights(1, func(int) []byte { return o.Point[:] }, func(int) []byte { return token[:] })
	return s.verify(weights, input, output, o.Proof[:])
}
