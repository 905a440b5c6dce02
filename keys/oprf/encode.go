// Package oprf makes tokens of NHS numbers such that the key holder sees neither the
// number nor the token, and proves that it used the right key (scheme oblivious,
// specification (h)): a number is a group element, blinded by another one, multiplied
// by the key holder's scalar, and unblinded. Batches carry one proof, whose weights
// depend on the whole batch.
//
// Because tokens are elements and not hashes of elements, they can be brought from one
// key to another by who has both keys, and a key holder can open one when that is
// decided. What hashes (RFC 9497) is in mode rfc9497.
package oprf

import (
	"crypto/sha256"
	"encoding/binary"

	"tarn/keys/nhsnumber"
	"tarn/keys/oprf/internal/ristretto"
)

// PointSize is the length of an element in bytes.
const PointSize = ristretto.Size

// Point is the canonical encoding of an element of ristretto255 (RFC 9496).
type Point [PointSize]byte

// encodeRounds is how often halves are mixed; encodeLabel separates that from all else.
const (
	encodeRounds = 10
	encodeLabel  = "tarn/enc/v1"
	halfSize     = PointSize / 2
	// maxEncodeTries is never reached: each try succeeds with 1 in 16.
	maxEncodeTries = 1 << 16
)

// encoder mixes halves; it has scratch memory of its own.
type encoder struct {
	block [len(encodeLabel) + 2 + halfSize]byte
}

func newEncoder() *encoder {
	e := new(encoder)
	copy(e.block[:], encodeLabel) // and 00
	return e
}

// mix sets out to out XOR F(round, in).
func (e *encoder) mix(round int, out, in []byte) {
	e.block[len(encodeLabel)+1] = byte(round)
	copy(e.block[len(encodeLabel)+2:], in)
	sum := sha256.Sum256(e.block[:])
	for i := range out {
		out[i] ^= sum[i]
	}
}

func (e *encoder) permute(b *Point) {
	left, right := b[:halfSize], b[halfSize:]
	for r := 0; r < encodeRounds; r += 2 {
		e.mix(r, right, left)
		e.mix(r+1, left, right)
	}
}

func (e *encoder) unpermute(b *Point) {
	left, right := b[:halfSize], b[halfSize:]
	for r := encodeRounds - 2; r >= 0; r -= 2 {
		e.mix(r+1, left, right)
		e.mix(r, right, left)
	}
}

// encode sets to to Enc(x). It takes a time that depends on x: it is for the tokeniser,
// which has x in clear, and for the moment of an opening.
func (e *encoder) encode(to *ristretto.Element, x uint64) (encoded Point) {
	for counter := range maxEncodeTries {
		clear(encoded[:])
		binary.BigEndian.PutUint64(encoded[:], x)
		binary.BigEndian.PutUint16(encoded[8:], uint16(counter))
		e.permute(&encoded)
		// Most are seen not to be elements before any arithmetic.
		if encoded[31]&0x80 != 0 || encoded[0]&1 != 0 {
			continue
		}
		if to.SetBytes(encoded[:]) && !to.IsIdentity() {
			return encoded
		}
	}
	panic("oprf: a number has no encoding")
}

// Encode returns a number's element, Enc of specification (h). Its time depends on the
// number.
func Encode(n nhsnumber.Number) Point {
	return newEncoder().encode(new(ristretto.Element), value(n))
}

// numbersEnd is the first integer that has more than ten digits.
const numbersEnd = 10_000_000_000

// Decode returns the number whose element a point is, and false where it is nobody's:
// not one that Encode gives, or no number that identifies anybody. test says that
// numbers of the test range do.
//
// Whether a point is somebody's does not show in the time: of anybody else's an integer
// that comes of its bytes is encoded, and takes what a number takes. How long that is
// depends on the point, as with Encode.
func Decode(p Point, test bool) (nhsnumber.Number, bool) {
	e := newEncoder()
	b := p
	e.unpermute(&b)
	x := binary.BigEndian.Uint64(b[:]) % numbersEnd
	var digits nhsnumber.Number
	for left, i := x, len(digits)-1; i >= 0; left, i = left/10, i-1 {
		digits[i] = byte('0' + left%10)
	}
	_, state, _ := nhsnumber.Parse(string(digits[:]))
	// Only the number's own encoding is hers. Else one patient would have thousands of tokens:
	// later counters that give an element, bytes behind the counter that are not zero, and
	// integers that the remainder has made hers.
	if e.encode(new(ristretto.Element), x) != p || !state.Identifies(test) {
		return nhsnumber.Number{}, false
	}
	return digits, true
}

// value is a number of ten digits as an integer.
func value(n nhsnumber.Number) (x uint64) {
	for _, digit := range n {
		x = 10*x + uint64(digit-'0')
	}
	return x
}
