package oprf

import (
	"io"

	"filippo.io/edwards25519"

	"tarn/keys/nhsnumber"
	"tarn/keys/oprf/internal/ristretto"
)

// Blinder hides elements from the key holder and holds its answers to what was asked.
// It is safe for concurrent use.
type Blinder struct {
	base, public           Point
	baseTable, publicTable *ristretto.Table
	threads                int
}

// NewBlinder makes a blinder for batches whose scalar makes public of base: the
// generator and the domain's public key for evaluations, the public keys of both sides
// for rotations and conversions. Public keys are those of the project's record, never of
// an answer. threads is how many cores a batch may use.
func NewBlinder(base, public Point, threads int) (*Blinder, error) {
	b := &Blinder{base: base, public: public, threads: threads}
	for p, table := range map[*Point]**ristretto.Table{&b.base: &b.baseTable, &b.public: &b.publicTable} {
		var e ristretto.Element
		if !e.SetBytes(p[:]) || e.IsIdentity() {
			return nil, ErrElement
		}
		*table = ristretto.NewTable(&e)
	}
	return b, nil
}

// Batch is one batch on its way. What unblinds it is in a closure, where no printing
// reaches it.
type Batch struct {
	// Request is what is sent.
	Request []byte
	finish  func(response []byte) ([]Point, error)
}

// Finish returns the batch's tokens, in the order of what was blinded, of the answer. An
// answer that is not of this batch, or not of the key that was named, is refused, and
// gives nothing. It may be called once.
func (b *Batch) Finish(response []byte) ([]Point, error) { return b.finish(response) }

// Numbers blinds numbers, each of which identifies somebody. randomness may be nil for
// the operating system's.
func (b *Blinder) Numbers(h Header, numbers []nhsnumber.Number, randomness io.Reader) (*Batch, error) {
	elements := make([]ristretto.Element, len(numbers))
	err := inRanges(len(numbers), b.threads, func(from, to int) error {
		e := newEncoder()
		for i := from; i < to; i++ {
			e.encode(&elements[i], value(numbers[i]))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b.blind(h, elements, randomness)
}

// Tokens blinds tokens.
func (b *Blinder) Tokens(h Header, tokens []Point, randomness io.Reader) (*Batch, error) {
	elements := make([]ristretto.Element, len(tokens))
	err := inRanges(len(tokens), b.threads, func(from, to int) error {
		for i := from; i < to; i++ {
			if !elements[i].SetBytes(tokens[i][:]) || elements[i].IsIdentity() {
				return ErrElement
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b.blind(h, elements, randomness)
}

// blind hides each element behind a multiple of the base, drawn anew for each: what is
// sent has the same distribution whatever the element is.
func (b *Blinder) blind(h Header, elements []ristretto.Element, randomness io.Reader) (*Batch, error) {
	n := len(elements)
	if n < 1 || n > MaxBatch {
		return nil, ErrWire
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	factors, err := drawScalars(n, randomness)
	if err != nil {
		return nil, err
	}
	request := h.append(make([]byte, 0, RequestSize(n)), requestMagic, n)[:RequestSize(n)]
	err = inRanges(n, b.threads, func(from, to int) error {
		var multiple ristretto.Element
		for i := from; i < to; i++ {
			e := &elements[i]
			e.Add(e, b.baseTable.Multiply(&multiple, &factors[i]))
			e.AppendTo(point(request, i)[:0])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Batch{Request: request, finish: func(response []byte) ([]Point, error) {
		return b.unblind(h, request, elements, factors, response)
	}}, nil
}

// unblind verifies an answer and takes the factors out of it.
func (b *Blinder) unblind(h Header, request []byte, inputs []ristretto.Element, factors []edwards25519.Scalar, response []byte) ([]Point, error) {
	defer clear(factors)
	answered, n, err := parse(response, responseMagic, ResponseSize)
	if err != nil {
		return nil, err
	}
	if answered != h || n != len(inputs) {
		return nil, ErrProof
	}
	outputs := make([]ristretto.Element, n)
	err = inRanges(n, b.threads, func(from, to int) error {
		for i := from; i < to; i++ {
			if !outputs[i].SetBytes(point(response, i)) || outputs[i].IsIdentity() {
				return ErrElement
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s := statement{h.context(), b.base, b.public}
	weights := s.weights(n, func(i int) []byte { return point(request, i) }, func(i int) []byte { return point(response, i) })
	if err := s.verify(weights, inputs, outputs, response[len(response)-ProofSize:]); err != nil {
		return nil, err
	}
	tokens := make([]Point, n)
	err = inRanges(n, b.threads, func(from, to int) error {
		var multiple ristretto.Element
		for i := from; i < to; i++ {
			z := &outputs[i]
			z.Subtract(z, b.publicTable.Multiply(&multiple, &factors[i]))
			z.AppendTo(tokens[i][:0])
		}
		return nil
	})
	return tokens, err
}
