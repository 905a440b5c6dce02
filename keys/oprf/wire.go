package oprf

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Operation is what is done with a batch.
type Operation uint8

// The operations of specification (h).
const (
	Evaluate Operation = 1 // of blinded numbers: tokens
	Rotate   Operation = 2 // of blinded tokens: the tokens of another epoch
	Convert  Operation = 3 // of blinded tokens: those of another domain, within one controller
)

// MaxBatch is how many elements a batch has at most.
const MaxBatch = 16_384

// Header says what a batch is about. Both sides' proofs cover all of it.
type Header struct {
	Operation                Operation
	DomainNo, TokenEpoch     uint32
	ToDomainNo, ToTokenEpoch uint32   // both 0 for evaluations
	RequestID                [16]byte // X-Request-ID
}

const (
	requestMagic  = "TNEV"
	responseMagic = "TNEW"
	wireVersion   = 1
	headerSize    = 4 + 1 + 1 + 2 + 4*4 + 16 + 4
	// ProofSize is the length of a proof: two scalars.
	ProofSize = 64
)

// RequestSize and ResponseSize are the lengths in bytes of a batch of n elements.
func RequestSize(n int) int  { return headerSize + n*PointSize }
func ResponseSize(n int) int { return headerSize + n*PointSize + ProofSize }

// ErrWire says that bytes are no batch; what they are is not repeated.
var ErrWire = errors.New("oprf: the batch is not of the form that specification (h) gives")

// check refuses what no batch is about.
func (h *Header) check() error {
	to := h.ToDomainNo != 0 || h.ToTokenEpoch != 0
	both := h.ToDomainNo != 0 && h.ToTokenEpoch != 0
	switch {
	case h.Operation != Evaluate && h.Operation != Rotate && h.Operation != Convert && h.Operation != ConvertForParty && h.Operation != EvaluateRFC9497:
		return fmt.Errorf("%w: there is no such operation", ErrWire)
	case h.DomainNo == 0 || h.TokenEpoch == 0:
		return fmt.Errorf("%w: domain and epoch count from 1", ErrWire)
	case (h.Operation == Evaluate || h.Operation == EvaluateRFC9497) && to, (h.Operation == Rotate || h.Operation == Convert || h.Operation == ConvertForParty) && !both:
		return fmt.Errorf("%w: a batch names where tokens go if they go somewhere, and else not", ErrWire)
	case h.Operation == Rotate && h.ToDomainNo != h.DomainNo, (h.Operation == Convert || h.Operation == ConvertForParty) && h.ToDomainNo == h.DomainNo:
		return fmt.Errorf("%w: tokens are rotated within a domain and converted between two", ErrWire)
	}
	return nil
}

func (h *Header) append(to []byte, magic string, n int) []byte {
	to = append(to, magic...)
	to = append(to, wireVersion, byte(h.Operation), 0, 0)
	for _, number := range []uint32{h.DomainNo, h.TokenEpoch, h.ToDomainNo, h.ToTokenEpoch} {
		to = binary.BigEndian.AppendUint32(to, number)
	}
	to = append(to, h.RequestID[:]...)
	return binary.BigEndian.AppendUint32(to, uint32(n))
}

// parse reads a header, and holds the length to the number of elements it names.
func parse(b []byte, magic string, size func(int) int) (h Header, n int, err error) {
	if len(b) < headerSize || string(b[:4]) != magic {
		return h, 0, fmt.Errorf("%w: it does not begin with %s", ErrWire, magic)
	}
	if b[4] != wireVersion || b[6] != 0 || b[7] != 0 {
		return h, 0, fmt.Errorf("%w: it is of a version that is not known here", ErrWire)
	}
	h.Operation = Operation(b[5])
	for i, number := range []*uint32{&h.DomainNo, &h.TokenEpoch, &h.ToDomainNo, &h.ToTokenEpoch} {
		*number = binary.BigEndian.Uint32(b[8+4*i:])
	}
	copy(h.RequestID[:], b[24:])
	count := binary.BigEndian.Uint32(b[40:])
	if count < 1 || count > MaxBatch {
		return h, 0, fmt.Errorf("%w: it has no element, or more than %d", ErrWire, MaxBatch)
	}
	n = int(count)
	if len(b) != size(n) {
		return h, 0, fmt.Errorf("%w: it is longer or shorter than its number of elements", ErrWire)
	}
	return h, n, h.check()
}

// RequestID returns the id that a batch carries.
func RequestID(b []byte) ([16]byte, error) {
	if len(b) < headerSize || string(b[:4]) != requestMagic {
		return [16]byte{}, fmt.Errorf("%w: it does not begin with %s", ErrWire, requestMagic)
	}
	return [16]byte(b[24:]), nil
}

// point returns the bytes of an element of a batch.
func point(b []byte, i int) []byte { return b[headerSize+i*PointSize:][:PointSize] }
