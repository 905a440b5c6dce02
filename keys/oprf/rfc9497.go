package oprf

import (
	"crypto/rand"
	"errors"
	"io"

	"filippo.io/edwards25519"
	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/oprf"
	"github.com/cloudflare/circl/zk/dleq"

	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
)

// Mode rfc9497 is the verifiable mode of RFC 9497 with suite ristretto255-SHA512, by
// circl: for who must follow the standard. Its tokens are hashes of elements, so that they
// can be neither rotated nor converted nor opened, and its proofs' weights depend on
// single elements (see proof.go): a proof is of four elements at most, and a batch has
// one for each four.
const (
	EvaluateRFC9497 Operation = 5

	elementsInProof = 4
)

var suite = oprf.SuiteRistretto255

// proofsOf is how many proofs a batch of n elements has.
func proofsOf(n int) int { return (n + elementsInProof - 1) / elementsInProof }

// responseSizeRFC9497 is the length in bytes of an answer of n elements.
func responseSizeRFC9497(n int) int { return headerSize + n*PointSize + proofsOf(n)*ProofSize }

// usePrivateKey calls f with a key as circl has it, which prints it: it stays in f.
func usePrivateKey(key secret.Key, f func(*oprf.PrivateKey) error) error {
	return useScalar(key, func(k *edwards25519.Scalar) error {
		private := new(oprf.PrivateKey)
		if err := private.UnmarshalBinary(suite, k.Bytes()); err != nil {
			return ErrKey
		}
		private.Public() // circl fills it lazily, which is a race
		return f(private)
	})
}

// AnswerRFC9497 evaluates a batch of mode rfc9497.
func (r *Request) AnswerRFC9497(key secret.Key, threads int) (response []byte, err error) {
	elements := make([]group.Element, r.N)
	for i := range elements {
		p, err := circlPoint(Point(point(r.bytes, i)))
		if err != nil {
			return nil, err
		}
		elements[i] = p
	}
	response = r.append(make([]byte, 0, responseSizeRFC9497(r.N)), responseMagic, r.N)[:responseSizeRFC9497(r.N)]
	err = usePrivateKey(key, func(private *oprf.PrivateKey) error {
		server := oprf.NewVerifiableServer(suite, private)
		return inRanges(r.N, threads, func(from, to int) error { // ranges are of whole proofs
			for i := from; i < to; i += elementsInProof {
				some := elements[i:min(i+elementsInProof, to)]
				evaluation, err := server.Evaluate(&oprf.EvaluationRequest{Elements: some})
				if err != nil {
					return errors.New("oprf: a batch could not be evaluated")
				}
				for j, e := range evaluation.Elements {
					b, err := e.MarshalBinaryCompress()
					if err != nil {
						return ErrElement
					}
					copy(point(response, i+j), b)
				}
				b, err := evaluation.Proof.MarshalBinary()
				if err != nil {
					return errors.New("oprf: a proof could not be written")
				}
				copy(response[headerSize+r.N*PointSize+i/elementsInProof*ProofSize:], b)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// NumbersRFC9497 blinds numbers for mode rfc9497, of whose key public is the public key
// of the project's record. randomness may be nil for the operating system's.
func NumbersRFC9497(public Point, h Header, numbers []nhsnumber.Number, randomness io.Reader, threads int) (*Batch, error) {
	n := len(numbers)
	if n < 1 || n > MaxBatch {
		return nil, ErrWire
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	if _, err := circlPoint(public); err != nil {
		return nil, err
	}
	server := new(oprf.PublicKey)
	if err := server.UnmarshalBinary(suite, public[:]); err != nil {
		return nil, ErrElement
	}
	if randomness == nil {
		randomness = rand.Reader
	}
	client := oprf.NewVerifiableClient(suite, server)
	data := make([]*oprf.FinalizeData, proofsOf(n))
	blinds := make([]oprf.Blind, n)
	for i := range blinds {
		k, err := randomScalar(randomness)
		if err != nil {
			return nil, err
		}
		blinds[i] = circlScalar(k)
	}
	request := h.append(make([]byte, 0, RequestSize(n)), requestMagic, n)[:RequestSize(n)]
	err := inRanges(n, threads, func(from, to int) error {
		for i := from; i < to; i += elementsInProof {
			end := min(i+elementsInProof, to)
			var inputs [][]byte
			for _, number := range numbers[i:end] {
				inputs = append(inputs, append([]byte(nil), number[:]...))
			}
			some, evaluation, err := client.DeterministicBlind(inputs, blinds[i:end])
			if err != nil {
				return errors.New("oprf: a number could not be blinded")
			}
			data[i/elementsInProof] = some
			for j, e := range evaluation.Elements {
				b, err := e.MarshalBinaryCompress()
				if err != nil {
					return ErrElement
				}
				copy(point(request, i+j), b)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Batch{Request: request, finish: func(response []byte) ([]Point, error) {
		answered, m, err := parse(response, responseMagic, responseSizeRFC9497)
		if err != nil {
			return nil, err
		}
		if answered != h || m != n {
			return nil, ErrProof
		}
		tokens := make([]Point, n)
		err = inRanges(n, threads, func(from, to int) error {
			for i := from; i < to; i += elementsInProof {
				if err := finishRFC9497(client, data[i/elementsInProof], response, n, i, min(i+elementsInProof, to), tokens); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return tokens, nil
	}}, nil
}

// finishRFC9497 verifies one proof of an answer, and makes the tokens of its elements:
// the first half of the output.
func finishRFC9497(client oprf.VerifiableClient, data *oprf.FinalizeData, response []byte, n, from, to int, tokens []Point) error {
	evaluation := &oprf.Evaluation{Proof: new(dleq.Proof)}
	for i := from; i < to; i++ {
		e, err := circlPoint(Point(point(response, i)))
		if err != nil {
			return err
		}
		evaluation.Elements = append(evaluation.Elements, e)
	}
	if err := evaluation.Proof.UnmarshalBinary(group.Ristretto255, response[headerSize+n*PointSize+from/elementsInProof*ProofSize:][:ProofSize]); err != nil {
		return ErrProof
	}
	outputs, err := client.Finalize(data, evaluation)
	if err != nil {
		return ErrProof
	}
	for i, output := range outputs {
		copy(tokens[from+i][:], output)
	}
	return nil
}
