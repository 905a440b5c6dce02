package keys

import (
	"encoding/binary"
)

// TokenWriter writes the text forms of tokens of one scheme, domain and epoch without
// allocating. It is safe for concurrent use.
type TokenWriter struct {
	head     [headGroups]byte // characters of the prefix and of all whole groups of what is constant
	left     uint32           // bits of what is constant that begin the next group
	checksum uint32           // of the checksum's state after head
}

// The payload begins with 7 constant bytes, 56 bits: 11 groups of 5 bits, and one bit.
const (
	constantBytes = 1 + 4 + 2
	wholeGroups   = constantBytes * 8 / 5
	leftBits      = constantBytes*8 - 5*wholeGroups
	headGroups    = len(tokenPrefix) + 1 + wholeGroups
)

// bech32mConstant ends the checksum of Bech32m (BIP-350).
const bech32mConstant = 0x2bc830a3

// checksumTable is what the top 5 bits of the checksum's state turn in the next one
// (BIP-173).
var checksumTable = func() (table [32]uint32) {
	generator := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	for top := range table {
		for bit, g := range generator {
			if top>>bit&1 == 1 {
				table[top] ^= g
			}
		}
	}
	return table
}()

func checksumAdd(state uint32, group byte) uint32 {
	return (state&0x1ffffff)<<5 ^ uint32(group) ^ checksumTable[state>>25]
}

// NewTokenWriter returns what writes the tokens of a scheme's number, a domain and an epoch.
func NewTokenWriter(scheme uint8, domainNo uint32, tokenEpoch uint16) (w TokenWriter) {
	w.checksum = 1
	for i := range len(tokenPrefix) {
		w.checksum = checksumAdd(w.checksum, tokenPrefix[i]>>5)
	}
	w.checksum = checksumAdd(w.checksum, 0)
	for i := range len(tokenPrefix) {
		w.checksum = checksumAdd(w.checksum, tokenPrefix[i]&31)
	}
	n := copy(w.head[:], tokenPrefix+"1")
	constant := uint64(scheme)<<48 | uint64(domainNo)<<16 | uint64(tokenEpoch)
	for i := range wholeGroups {
		group := byte(constant>>(constantBytes*8-5*(i+1))) & 31
		w.checksum = checksumAdd(w.checksum, group)
		w.head[n+i] = tokenAlphabet[group]
	}
	w.left = uint32(constant) & (1<<leftBits - 1)
	return w
}

// Append appends the text form of a token, 74 characters.
func (w *TokenWriter) Append(to []byte, value *[TokenSize]byte) []byte {
	to = append(to, w.head[:]...)
	state, bits, held := w.checksum, w.left, leftBits
	for at := 0; at < TokenSize; at += 4 {
		word := uint64(bits)<<32 | uint64(binary.BigEndian.Uint32(value[at:]))
		held += 32
		for held >= 5 {
			held -= 5
			group := byte(word>>held) & 31
			state = checksumAdd(state, group)
			to = append(to, tokenAlphabet[group])
		}
		bits = uint32(word) & (1<<held - 1)
	}
	if held > 0 { // zeros fill the last group
		group := byte(bits<<(5-held)) & 31
		state = checksumAdd(state, group)
		to = append(to, tokenAlphabet[group])
	}
	for range 6 {
		state = checksumAdd(state, 0)
	}
	state ^= bech32mConstant
	for i := range 6 {
		to = append(to, tokenAlphabet[state>>(5*(5-i))&31])
	}
	return to
}
