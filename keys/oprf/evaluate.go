package oprf

import (
	"fmt"
	"sync"
	"sync/atomic"

	"filippo.io/edwards25519"

	"tarn/keys/oprf/internal/ristretto"
	"tarn/keys/secret"
)

// Request is a batch as the key holder reads it: it sees neither whom it is about nor
// what comes of it.
type Request struct {
	Header
	N      int // elements
	bytes  []byte
	inputs []ristretto.Element
}

// ParseRequest reads a request, on so many threads, and refuses it whole where one of its
// elements is none. The bytes must not change while it is used.
func ParseRequest(b []byte, threads int) (*Request, error) {
	h, n, err := parse(b, requestMagic, RequestSize)
	if err != nil {
		return nil, err
	}
	if h.Operation == ConvertForParty {
		return nil, fmt.Errorf("%w: it is a conversion for another party", ErrWire)
	}
	r := &Request{h, n, b, make([]ristretto.Element, n)}
	err = inRanges(n, threads, func(from, to int) error {
		for i := from; i < to; i++ {
			if !r.inputs[i].SetBytes(point(b, i)) || r.inputs[i].IsIdentity() {
				return ErrElement
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// elementsInRange is how many elements a worker takes at a time.
const elementsInRange = 64

// inRanges calls f for ranges of n, on so many threads, until one fails.
func inRanges(n, threads int, f func(from, to int) error) error {
	var next atomic.Int64
	var failed atomic.Value
	var work sync.WaitGroup
	for range max(1, min(threads, (n+elementsInRange-1)/elementsInRange)) {
		work.Go(func() {
			for failed.Load() == nil {
				from := int(next.Add(elementsInRange)) - elementsInRange
				if from >= n {
					return
				}
				if err := f(from, min(from+elementsInRange, n)); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	work.Wait()
	if err, ok := failed.Load().(*error); ok {
		return *err
	}
	return nil
}

// Answer multiplies every element by a key and proves it: by the key with which base
// becomes public. For evaluations base is the generator and the key the domain's; for
// rotations and conversions base and public are the public keys of both sides, and the
// key their [Quotient].
//
// Threshold custody multiplies by shares of a key instead, one holder each, and
// interpolates in the exponent: nothing outside this package and the keyring knows that
// there is one key.
func (r *Request) Answer(key secret.Key, base, public Point, threads int) (response []byte, err error) {
	response = r.append(make([]byte, 0, ResponseSize(r.N)), responseMagic, r.N)
	response = response[:ResponseSize(r.N)]
	err = useScalar(key, func(k *edwards25519.Scalar) error {
		err := inRanges(r.N, threads, func(from, to int) error {
			var z ristretto.Element
			for i := from; i < to; i++ {
				z.Multiply(k, &r.inputs[i]).AppendTo(point(response, i)[:0])
			}
			return nil
		})
		if err != nil {
			return err
		}
		s := statement{r.context(), base, public}
		weights := s.weights(r.N, func(i int) []byte { return point(r.bytes, i) }, func(i int) []byte { return point(response, i) })
		secretScalar := circlScalar(k)
		proof, err := s.prove(secretScalar, weights, r.inputs)
		copy(response[len(response)-ProofSize:], proof[:])
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}
