package oprf

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	randv2 "math/rand/v2"
	"slices"

	"filippo.io/edwards25519"

	"tarn/keys/oprf/internal/ristretto"
	"tarn/keys/secret"
)

// A conversion for another party takes rows of one domain to somebody who may have the
// tokens of another, so that nobody sees both tokens of a row. The recipient has a key
// y and gives Y = yG. The sender encrypts each token under Y (ElGamal) and seals what
// else is in the row to the recipient. The key holder makes each ciphertext another of
// the same token, multiplies both of its halves by the quotient of the domains' keys,
// brings the rows into an order of its own, and proves the multiplication. What it then
// has, only the recipient can open: neither the sender nor the key holder learns the new
// token, and the recipient neither the old one nor which row of the sender's it was.
//
// The layout of both messages is in docs/oblivious.md.

// ConvertForParty makes of encrypted tokens those of another domain, for a recipient.
const ConvertForParty Operation = 4

// Bounds of what goes with the elements of a conversion for another party, in bytes.
const (
	MaxRowPayload = 64 << 10
	MaxSeal       = 4 << 10
	MaxParcel     = 1 << 20 // a request as a whole
)

const (
	parcelPrefix  = headerSize + 4 + 4 // then the seal
	sentPoints    = 2 * PointSize      // of each row, before its payload
	answeredPoint = 4 * PointSize
)

// Row is one row of a conversion for another party.
type Row struct {
	Token   Point // of the first domain as it is sent, of the second as it arrives
	Absent  bool  // the row has no token; only sender and recipient can tell
	Payload []byte
}

// ParcelSize is the length in bytes of a request of n rows, whose payloads have payload
// bytes each and whose seal has seal.
func ParcelSize(n, payload, seal int) int { return parcelPrefix + seal + n*(sentPoints+payload) }

// parcel is where the parts of a message lie.
type parcel struct {
	Header
	n             int
	seal          []byte
	rows          []byte
	payload, wide int // bytes of a row's payload, and of a row
	proof         []byte
}

// parseParcel reads a message of which every row has so many bytes of elements, and whose
// end is a proof of so many.
func parseParcel(b []byte, magic string, points, proof int) (p parcel, err error) {
	if most := MaxParcel / sentPoints * points; len(b) > most+proof {
		return p, fmt.Errorf("%w: it is longer than %d bytes", ErrWire, most)
	}
	var sealSize int
	p.Header, p.n, err = parse(b, magic, func(n int) int {
		if len(b) < parcelPrefix {
			return -1
		}
		payload, seal := binary.BigEndian.Uint32(b[headerSize:]), binary.BigEndian.Uint32(b[headerSize+4:])
		if payload > MaxRowPayload || seal > MaxSeal {
			return -1
		}
		p.payload, sealSize = int(payload), int(seal)
		p.wide = points + p.payload
		return parcelPrefix + sealSize + n*p.wide + proof
	})
	if err != nil {
		return parcel{}, err
	}
	if p.Operation != ConvertForParty {
		return parcel{}, fmt.Errorf("%w: it is no conversion for another party", ErrWire)
	}
	p.seal = b[parcelPrefix:][:sealSize]
	p.rows = b[parcelPrefix+sealSize:][:p.n*p.wide]
	p.proof = b[len(b)-proof:]
	return p, nil
}

// point returns element j of row i.
func (p *parcel) point(i, j int) []byte { return p.rows[i*p.wide+j*PointSize:][:PointSize] }

// payloadOf returns what goes with row i.
func (p *parcel) payloadOf(i int) []byte {
	return p.rows[(i+1)*p.wide-p.payload : (i+1)*p.wide : (i+1)*p.wide]
}

func (p *parcel) appendPrefix(to []byte, magic string) []byte {
	to = p.append(to, magic, p.n)
	to = binary.BigEndian.AppendUint32(to, uint32(p.payload))
	to = binary.BigEndian.AppendUint32(to, uint32(len(p.seal)))
	return append(to, p.seal...)
}

// Encrypter encrypts tokens to one recipient. It is safe for concurrent use.
type Encrypter struct {
	table   *ristretto.Table
	threads int
}

// NewEncrypter makes an encrypter to the recipient of a public key, on so many threads.
func NewEncrypter(recipient Point, threads int) (*Encrypter, error) {
	var y ristretto.Element
	if !y.SetBytes(recipient[:]) || y.IsIdentity() {
		return nil, ErrElement
	}
	return &Encrypter{ristretto.NewTable(&y), threads}, nil
}

// Rows returns the request of a batch of rows, whose payloads are of one length and sealed
// already; seal is what opens them for the recipient. randomness may be nil for the
// operating system's.
func (e *Encrypter) Rows(h Header, seal []byte, rows []Row, randomness io.Reader) ([]byte, error) {
	n := len(rows)
	if n < 1 || n > MaxBatch || len(seal) > MaxSeal || h.Operation != ConvertForParty {
		return nil, ErrWire
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	p := parcel{Header: h, n: n, seal: seal, payload: len(rows[0].Payload)}
	p.wide = sentPoints + p.payload
	size := ParcelSize(n, p.payload, len(seal))
	if p.payload > MaxRowPayload || size > MaxParcel || slices.ContainsFunc(rows, func(r Row) bool { return len(r.Payload) != p.payload }) {
		return nil, ErrWire
	}
	factors, err := drawScalars(n, randomness)
	if err != nil {
		return nil, err
	}
	defer clear(factors)
	request := p.appendPrefix(make([]byte, 0, size), requestMagic)[:size]
	p.rows = request[parcelPrefix+len(seal):]
	return request, inRanges(n, e.threads, func(from, to int) error {
		var token, c ristretto.Element
		for i := from; i < to; i++ {
			r := &factors[i]
			c.MultiplyGenerator(r).AppendTo(p.point(i, 0)[:0])
			e.table.Multiply(&c, r)
			if !rows[i].Absent {
				if !token.SetBytes(rows[i].Token[:]) || token.IsIdentity() {
					return ErrElement
				}
				c.Add(&c, &token)
			}
			c.AppendTo(p.point(i, 1)[:0])
			copy(p.payloadOf(i), rows[i].Payload)
		}
		return nil
	})
}

// drawScalars draws n scalars whose distribution is uniform but for 2^-128.
func drawScalars(n int, randomness io.Reader) ([]edwards25519.Scalar, error) {
	if randomness == nil {
		randomness = rand.Reader
	}
	scalars := make([]edwards25519.Scalar, n)
	var wide [64]byte
	defer clear(wide[:])
	for i := range scalars {
		if _, err := io.ReadFull(randomness, wide[:]); err != nil {
			return nil, errRandomness
		}
		if _, err := scalars[i].SetUniformBytes(wide[:]); err != nil {
			return nil, errRandomness
		}
	}
	return scalars, nil
}

// Parcel is a conversion for another party as the key holder reads it: it sees
// ciphertexts that only the recipient can open.
type Parcel struct {
	parcel
	inputs []ristretto.Element // two of each row
}

// IsParcel reports whether bytes say of themselves that they are a conversion for another
// party; [ParseParcel] says whether they are.
func IsParcel(b []byte) bool { return len(b) > 5 && b[5] == byte(ConvertForParty) }

// ParseParcel reads a request, as [ParseRequest] does.
func ParseParcel(b []byte, threads int) (*Parcel, error) {
	p, err := parseParcel(b, requestMagic, sentPoints, 0)
	if err != nil {
		return nil, err
	}
	r := &Parcel{p, make([]ristretto.Element, 2*p.n)}
	err = inRanges(p.n, threads, func(from, to int) error {
		for i := 2 * from; i < 2*to; i++ {
			if !r.inputs[i].SetBytes(p.point(i/2, i%2)) || r.inputs[i].IsIdentity() {
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

// Rows is how many rows the parcel has.
func (r *Parcel) Rows() int { return r.n }

// Answer returns what the recipient opens. key is the quotient of the domains' keys, base
// and public are their public keys, as for [Request.Answer]; recipient is the key that the
// grant names. Every call draws other ciphertexts and another order of the rows.
// randomness may be nil for the operating system's.
func (r *Parcel) Answer(key secret.Key, base, public, recipient Point, randomness io.Reader, threads int) (answer []byte, err error) {
	encrypter, err := NewEncrypter(recipient, threads)
	if err != nil {
		return nil, err
	}
	order, err := permutation(r.n, randomness)
	if err != nil {
		return nil, err
	}
	factors, err := drawScalars(r.n, randomness)
	if err != nil {
		return nil, err
	}
	defer clear(factors)
	out := r.parcel
	out.wide = answeredPoint + out.payload
	answer = out.appendPrefix(make([]byte, 0, parcelPrefix+len(r.seal)+r.n*out.wide+ProofSize), responseMagic)
	answer = answer[:cap(answer)]
	out.rows = answer[parcelPrefix+len(r.seal):][:r.n*out.wide]
	inputs := make([]ristretto.Element, 2*r.n)
	err = useScalar(key, func(k *edwards25519.Scalar) error {
		err := inRanges(r.n, threads, func(from, to int) error {
			var multiple, z ristretto.Element
			for i := from; i < to; i++ {
				s := &factors[i]
				u := inputs[2*i : 2*i+2]
				u[0].Add(&r.inputs[2*order[i]], multiple.MultiplyGenerator(s))
				u[1].Add(&r.inputs[2*order[i]+1], encrypter.table.Multiply(&multiple, s))
				for half := range u {
					if u[half].IsIdentity() {
						return ErrElement // with probability 2^-252, or never
					}
					u[half].AppendTo(out.point(i, half)[:0])
					z.Multiply(k, &u[half]).AppendTo(out.point(i, 2+half)[:0])
				}
				copy(out.payloadOf(i), r.payloadOf(order[i]))
			}
			return nil
		})
		if err != nil {
			return err
		}
		s := statement{out.context(), base, public}
		proof, err := s.prove(circlScalar(k), out.weights(&s), inputs)
		copy(answer[len(answer)-ProofSize:], proof[:])
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// weights are those of an answer's proof: of pairs u1, v1, u2, v2 of each row in turn.
func (p *parcel) weights(s *statement) []ristretto.Weight {
	return s.weights(2*p.n, func(i int) []byte { return p.point(i/2, i%2) }, func(i int) []byte { return p.point(i/2, 2+i%2) })
}

// permutation draws an order of n rows, of all that there are.
func permutation(n int, randomness io.Reader) ([]int, error) {
	if randomness == nil {
		randomness = rand.Reader
	}
	var seed [32]byte
	defer clear(seed[:])
	if _, err := io.ReadFull(randomness, seed[:]); err != nil {
		return nil, errRandomness
	}
	return randv2.New(randv2.NewChaCha8(seed)).Perm(n), nil
}

// Arrival is a batch as it arrives at its recipient.
type Arrival struct {
	Header
	Seal []byte
	Rows []Row // in the key holder's order; their payloads are still sealed
}

// OpenParcel verifies an answer and opens it with the recipient's key: base and public
// are the public keys of the domain that the tokens come from and of the one that they
// are of now. An answer that is not of these keys is refused, and gives nothing.
func OpenParcel(answer []byte, key secret.Key, base, public Point, threads int) (*Arrival, error) {
	p, err := parseParcel(answer, responseMagic, answeredPoint, ProofSize)
	if err != nil {
		return nil, err
	}
	inputs, outputs := make([]ristretto.Element, 2*p.n), make([]ristretto.Element, 2*p.n)
	err = inRanges(p.n, threads, func(from, to int) error {
		for i := 2 * from; i < 2*to; i++ {
			u, v := &inputs[i], &outputs[i]
			if !u.SetBytes(p.point(i/2, i%2)) || u.IsIdentity() || !v.SetBytes(p.point(i/2, 2+i%2)) || v.IsIdentity() {
				return ErrElement
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s := statement{p.context(), base, public}
	if err := s.verify(p.weights(&s), inputs, outputs, p.proof); err != nil {
		return nil, err
	}
	a := &Arrival{Header: p.Header, Seal: p.seal, Rows: make([]Row, p.n)}
	err = useScalar(key, func(y *edwards25519.Scalar) error {
		return inRanges(p.n, threads, func(from, to int) error {
			var token ristretto.Element
			for i := from; i < to; i++ {
				token.Subtract(&outputs[2*i+1], token.Multiply(y, &outputs[2*i]))
				a.Rows[i] = Row{Token: token.Bytes(), Absent: token.IsIdentity(), Payload: p.payloadOf(i)}
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}
