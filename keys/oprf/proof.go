package oprf

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"hash"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/zk/dleq"

	"tarn/keys"
	"tarn/keys/oprf/internal/ristretto"
)

// A batch's proof says that every output is its input times one scalar k, the one with
// which a base A makes a known kA. All of them are proven at once, for sums with
// weights. In RFC 9497 the weight of an element depends on that element alone, so that
// whoever makes the outputs can choose wrong ones whose errors cancel. Here the weights
// depend on the whole batch: they are not known before the last output is fixed.

// context is what a proof is about, ctx of specification (h).
func (h *Header) context() []byte {
	return keys.LP(keys.Text("tarn/dleq/v1"), []byte{byte(h.Operation)}, keys.U32(h.DomainNo), keys.U32(h.TokenEpoch), keys.U32(h.ToDomainNo), keys.U32(h.ToTokenEpoch), h.RequestID[:])
}

// statement is what a proof says: that k, with which base becomes public, is the scalar
// of each output.
type statement struct {
	context      []byte
	base, public Point
}

// weights returns one weight for each pair of input and output, given as they cross.
func (s *statement) weights(n int, input, output func(int) []byte) []ristretto.Weight {
	seed := sha512.New()
	seed.Write(keys.LP(s.context, s.base[:], s.public[:]))
	seed.Write(keys.U32(uint32(n)))
	for i := range n {
		seed.Write(input(i))
		seed.Write(output(i))
	}
	weights := make([]ristretto.Weight, n)
	mac := hmac.New(func() hash.Hash { return sha512.New() }, seed.Sum(nil))
	var index [4]byte
	var sum [sha512.Size]byte
	for i := range weights {
		mac.Reset()
		binary.BigEndian.PutUint32(index[:], uint32(i))
		mac.Write(index[:])
		copy(weights[i][:], mac.Sum(sum[:0]))
	}
	return weights
}

// parameters of the proof of two elements, circl's.
func (s *statement) parameters() dleq.Params {
	return dleq.Params{G: group.Ristretto255, H: crypto.SHA512, DST: s.context}
}

// errRandomness says that no blinding factors can be drawn.
var errRandomness = errors.New("oprf: no random bytes can be had")

// Errors of a batch. None says which element, or holds one.
var (
	ErrElement = errors.New("oprf: an element of the batch is not canonical, or is the identity")
	ErrProof   = errors.New("oprf: the batch is not what the key of its public key makes of what was sent")
)

func circlElement(e *ristretto.Element) group.Element {
	b := e.Bytes()
	out := group.Ristretto255.NewElement()
	if err := out.UnmarshalBinary(b[:]); err != nil {
		panic("oprf: two implementations disagree on what an element is")
	}
	return out
}

func circlPoint(p Point) (group.Element, error) {
	e := group.Ristretto255.NewElement()
	if err := e.UnmarshalBinary(p[:]); err != nil || e.IsIdentity() {
		return nil, ErrElement
	}
	return e, nil
}

// prove proves that the outputs are k times the inputs. The scalar is in k only.
func (s *statement) prove(k group.Scalar, weights []ristretto.Weight, inputs []ristretto.Element) (proof [ProofSize]byte, err error) {
	// With the scalar the other sum need not be made: it is k times this one.
	m := circlElement(new(ristretto.Element).VarTimeSum(weights, inputs))
	return s.provePair(k, m, group.Ristretto255.NewElement().Mul(m, k))
}

// provePair proves that w is k times m.
func (s *statement) provePair(k group.Scalar, m, w group.Element) (proof [ProofSize]byte, err error) {
	base, err := circlPoint(s.base)
	if err != nil {
		return proof, err
	}
	public, err := circlPoint(s.public)
	if err != nil {
		return proof, err
	}
	p, err := dleq.Prover{Params: s.parameters()}.Prove(k, base, public, m, w, rand.Reader)
	if err != nil {
		return proof, errors.New("oprf: a proof could not be made")
	}
	b, err := p.MarshalBinary()
	if err != nil || len(b) != ProofSize {
		return proof, errors.New("oprf: a proof could not be written")
	}
	return [ProofSize]byte(b), nil
}

// verify refuses outputs that are not the inputs times the scalar of the public key.
func (s *statement) verify(weights []ristretto.Weight, inputs, outputs []ristretto.Element, proof []byte) error {
	m := circlElement(new(ristretto.Element).VarTimeSum(weights, inputs))
	w := circlElement(new(ristretto.Element).VarTimeSum(weights, outputs))
	return s.verifyPair(m, w, proof)
}

// verifyPair refuses a w that is not m times the scalar of the public key.
func (s *statement) verifyPair(m, w group.Element, proof []byte) error {
	base, err := circlPoint(s.base)
	if err != nil {
		return err
	}
	public, err := circlPoint(s.public)
	if err != nil {
		return err
	}
	p := new(dleq.Proof)
	if err := p.UnmarshalBinary(group.Ristretto255, proof); err != nil {
		return ErrProof
	}
	if !(dleq.Verifier{Params: s.parameters()}).Verify(base, public, m, w, p) {
		return ErrProof
	}
	return nil
}
