package oprf

import (
	"filippo.io/edwards25519"

	"tarn/keys"
	"tarn/keys/oprf/internal/ristretto"
	"tarn/keys/secret"
)

// Opening is the element that a token was made of, (1/k)T, with the proof that it is the
// domain's key that opened it, so that an answer by another key shows. Whoever has the
// point knows whose token it is: the encoding is public.
type Opening struct {
	Point Point
	Proof [ProofSize]byte
}

// openingContext is what the proof of an opening is about:
// LP("tarn/dleq-open/v1", u32(domain_no), u32(token_epoch)).
func openingContext(domainNo, tokenEpoch uint32) []byte {
	return keys.LP(keys.Text("tarn/dleq-open/v1"), keys.U32(domainNo), keys.U32(tokenEpoch))
}

// Open opens a token of a domain's epoch with its key, which public is the public half of.
// Whose it is, if anybody's, says [Decode]: a token that was made up opens, too, to a point
// that is nobody's, by the same work. A token that is no element, or the identity, is
// refused with [ErrElement].
//
// The proof is of one pair and has no weights of its own: there is nothing that errors could
// cancel with.
func Open(key secret.Key, public Point, domainNo, tokenEpoch uint32, token Point) (o Opening, err error) {
	t := new(ristretto.Element)
	if !t.SetBytes(token[:]) || t.IsIdentity() {
		return o, ErrElement
	}
	err = useScalar(key, func(k *edwards25519.Scalar) error {
		number := new(ristretto.Element).Multiply(edwards25519.NewScalar().Invert(k), t)
		o.Point = number.Bytes()
		s := statement{openingContext(domainNo, tokenEpoch), Generator(), public}
		o.Proof, err = s.provePair(circlScalar(k), circlElement(number), circlElement(t))
		return err
	})
	if err != nil {
		return Opening{}, err
	}
	return o, nil
}

// VerifyOpening refuses an opening that is not of this token, domain, epoch and public key,
// with [ErrProof], or [ErrElement] where one of the three is no element. The public key is
// that of the project's record, never of the answer. A number that came with the opening is
// the token's if [Encode] of it is the opening's point: that is the caller's to compare.
func VerifyOpening(public Point, domainNo, tokenEpoch uint32, token Point, o Opening) error {
	t, number := new(ristretto.Element), new(ristretto.Element)
	if !t.SetBytes(token[:]) || t.IsIdentity() || !number.SetBytes(o.Point[:]) || number.IsIdentity() {
		return ErrElement
	}
	s := statement{openingContext(domainNo, tokenEpoch), Generator(), public}
	return s.verifyPair(circlElement(number), circlElement(t), o.Proof[:])
}
