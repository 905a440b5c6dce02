package clk

import (
	"encoding/binary"
	"math/bits"
)

// BLAKE2b (RFC 7693) with a key and a salt, as far as blakeHash needs it: a
// digest of 64 bytes, a key of 1 to 64 bytes, a salt of up to 16 bytes.
// golang.org/x/crypto has no salt.

const (
	blakeBlock  = 128
	blakeMaxKey = 64
)

var blakeIV = [8]uint64{
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
}

// blakeSigma is the message schedule: rounds 10 and 11 repeat 0 and 1.
var blakeSigma = [10][16]byte{
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	{14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
	{11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
	{7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
	{9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
	{2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
	{12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
	{13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
	{6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
	{10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
}

// blakeState is the hash after its first block, the padded key: what every
// message under this key and salt begins with. It is as secret as the key.
type blakeState [8]uint64

// newBlakeState prepares a key of 1 to 64 bytes and a salt of up to 16.
func newBlakeState(key, salt []byte) blakeState {
	var parameters [64]byte
	parameters[0], parameters[1], parameters[2], parameters[3] = 64, byte(len(key)), 1, 1
	copy(parameters[32:48], salt)
	var s blakeState
	for i := range s {
		s[i] = blakeIV[i] ^ binary.LittleEndian.Uint64(parameters[8*i:])
	}
	var block [blakeBlock]byte
	copy(block[:], key)
	s.compress(&block, blakeBlock, false)
	clear(block[:])
	return s
}

// sum returns the digest of a message. For the empty message the key's block
// would be the last one, so s cannot give its digest; no token is empty.
func (s blakeState) sum(message []byte) (digest [64]byte) {
	var block [blakeBlock]byte
	length := uint64(blakeBlock)
	for len(message) > blakeBlock {
		copy(block[:], message)
		length += blakeBlock
		s.compress(&block, length, false)
		message = message[blakeBlock:]
	}
	clear(block[copy(block[:], message):])
	s.compress(&block, length+uint64(len(message)), true)
	for i, word := range s {
		binary.LittleEndian.PutUint64(digest[8*i:], word)
	}
	return digest
}

func (s *blakeState) compress(block *[blakeBlock]byte, length uint64, last bool) {
	var m, v [16]uint64
	for i := range m {
		m[i] = binary.LittleEndian.Uint64(block[8*i:])
	}
	copy(v[:8], s[:])
	copy(v[8:], blakeIV[:])
	v[12] ^= length
	if last {
		v[14] = ^v[14]
	}
	for round := range 12 {
		p := &blakeSigma[round%10]
		v[0], v[4], v[8], v[12] = blakeMix(v[0], v[4], v[8], v[12], m[p[0]&15], m[p[1]&15])
		v[1], v[5], v[9], v[13] = blakeMix(v[1], v[5], v[9], v[13], m[p[2]&15], m[p[3]&15])
		v[2], v[6], v[10], v[14] = blakeMix(v[2], v[6], v[10], v[14], m[p[4]&15], m[p[5]&15])
		v[3], v[7], v[11], v[15] = blakeMix(v[3], v[7], v[11], v[15], m[p[6]&15], m[p[7]&15])
		v[0], v[5], v[10], v[15] = blakeMix(v[0], v[5], v[10], v[15], m[p[8]&15], m[p[9]&15])
		v[1], v[6], v[11], v[12] = blakeMix(v[1], v[6], v[11], v[12], m[p[10]&15], m[p[11]&15])
		v[2], v[7], v[8], v[13] = blakeMix(v[2], v[7], v[8], v[13], m[p[12]&15], m[p[13]&15])
		v[3], v[4], v[9], v[14] = blakeMix(v[3], v[4], v[9], v[14], m[p[14]&15], m[p[15]&15])
	}
	for i := range s {
		s[i] ^= v[i] ^ v[i+8]
	}
}

func blakeMix(a, b, c, d, x, y uint64) (uint64, uint64, uint64, uint64) {
	a += b + x
	d = bits.RotateLeft64(d^a, -32)
	c += d
	b = bits.RotateLeft64(b^c, -24)
	a += b + y
	d = bits.RotateLeft64(d^a, -16)
	c += d
	b = bits.RotateLeft64(b^c, -63)
	return a, b, c, d
}
