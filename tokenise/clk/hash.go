package clk

import (
	"crypto/hkdf"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"encoding/binary"
	"hash"
	"strconv"
	"unicode/utf8"
)

// The constructions of clkhash are kept whatever is thought of them: that of
// Schnell, Bachteler and Reiher (BMC Med. Inform. Decis. Mak. 9:41, 2009) with
// HMAC-SHA1 and HMAC-MD5, and one of independent BLAKE2b hashes.

// featureKeys are the keys of one feature, prepared: the states of the hashes
// behind their keys, as secret as the keys. Only one of the two is there.
type featureKeys struct {
	blake  []blakeState // by salt: "0", "1", ..
	double *[2]hmacStates
}

// hmacStates are the states of a hash behind the padded key of HMAC, in the
// form that the hash marshals.
type hmacStates struct{ inner, outer []byte }

// deriveKeys returns the prepared keys of every feature: HKDF gives two keys to
// each in turn, also to those that are ignored or use one only.
func (s *Schema) deriveKeys(secret Secret) ([]featureKeys, error) {
	newHash := sha256.New
	if s.sha512 {
		newHash = sha512.New
	}
	stream, err := hkdf.Key(newHash, secret.get(), s.salt, string(s.info), 2*len(s.features)*s.keySize)
	if err != nil {
		return nil, err
	}
	defer clear(stream)
	keys := make([]featureKeys, len(s.features))
	for i := range keys {
		first := stream[2*i*s.keySize : (2*i+1)*s.keySize]
		second := stream[(2*i+1)*s.keySize : (2*i+2)*s.keySize]
		switch f := &s.features[i]; {
		case f.ignored:
		case f.blake:
			keys[i].blake = make([]blakeState, (f.mostBits()+31)/32)
			for j := range keys[i].blake {
				keys[i].blake[j] = newBlakeState(first, strconv.AppendInt(nil, int64(j), 10))
			}
		default:
			keys[i].double = &[2]hmacStates{newHMACStates(sha1.New, first), newHMACStates(md5.New, second)}
		}
	}
	return keys, nil
}

// mostBits returns the number of bits of the token that gets most.
func (f *feature) mostBits() int { return max(f.perToken, f.perFeature) }

func newHMACStates(newHash func() hash.Hash, key []byte) hmacStates {
	h := newHash()
	if len(key) > h.BlockSize() {
		h.Write(key)
		key = h.Sum(nil)
	}
	padded := func(x byte) []byte {
		block := make([]byte, h.BlockSize())
		copy(block, key)
		for i := range block {
			block[i] ^= x
		}
		h.Reset()
		h.Write(block)
		clear(block)
		state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			panic("clk: a hash does not give its state")
		}
		return state
	}
	return hmacStates{inner: padded(0x36), outer: padded(0x5c)}
}

// hasher finds the positions of tokens in a filter. It is not for concurrent
// use.
type hasher struct {
	keys               func() *featureKeys
	length             uint64 // of the filter, in bits
	encoding           textEncoding
	preventSingularity bool

	sha1, md5 hash.Hash
	token     []byte
	sum       [sha1.Size]byte
	positions []uint32
}

func newHasher(f *feature, length int, keys func() *featureKeys) hasher {
	return hasher{keys: keys, length: uint64(length), encoding: f.encoding, preventSingularity: f.preventSingularity, sha1: sha1.New(), md5: md5.New()}
}

// find returns the first k positions of a token, given in UTF-8; they are valid
// until the next call.
func (h *hasher) find(token []byte, k int) []uint32 {
	token = h.encode(token)
	h.positions = h.positions[:0]
	keys := h.keys()
	if keys.blake != nil {
		h.findBlake(keys.blake, token, k)
		return h.positions
	}
	first := h.mac(h.sha1, &keys.double[0], token)
	step := h.mac(h.md5, &keys.double[1], token)
	for c := rune(0); step == 0 && h.preventSingularity; c++ {
		again := utf8.AppendRune(h.token, c) // behind the token, which is all of h.token
		step = h.mac(h.md5, &keys.double[1], again)
	}
	for at := first; k > 0; k-- {
		h.positions = append(h.positions, uint32(at))
		if at += step; at >= h.length {
			at -= h.length
		}
	}
	return h.positions
}

// findBlake reads positions of 16 bits from as many digests as are needed. In a
// filter of more than 2^16 bits the rest is never set.
func (h *hasher) findBlake(states []blakeState, token []byte, k int) {
	for j := 0; k > 0; j++ {
		digest := states[j].sum(token)
		for i := 0; i < 32 && k > 0; i++ {
			h.positions = append(h.positions, uint32(binary.LittleEndian.Uint16(digest[2*i:]))&uint32(h.length-1))
			k--
		}
	}
}

// encode returns a token as bytes, valid until the next call. Python's utf-16
// and utf-32 begin each with a byte order mark, here that of little-endian
// machines.
func (h *hasher) encode(token []byte) []byte {
	h.token = h.token[:0]
	switch h.encoding {
	case encodingUTF16:
		h.token = append(h.token, 0xff, 0xfe)
		for len(token) > 0 {
			r, n := utf8.DecodeRune(token)
			token = token[n:]
			if r >= 0x10000 {
				h.token = binary.LittleEndian.AppendUint16(h.token, uint16(0xd800+(r-0x10000)>>10))
				r = 0xdc00 + (r-0x10000)&0x3ff
			}
			h.token = binary.LittleEndian.AppendUint16(h.token, uint16(r))
		}
	case encodingUTF32:
		h.token = append(h.token, 0xff, 0xfe, 0, 0)
		for len(token) > 0 {
			r, n := utf8.DecodeRune(token)
			token = token[n:]
			h.token = binary.LittleEndian.AppendUint32(h.token, uint32(r))
		}
	default:
		h.token = append(h.token, token...)
	}
	return h.token
}

// mac returns HMAC(key, message), big endian, modulo the filter's length.
func (h *hasher) mac(digest hash.Hash, states *hmacStates, message []byte) uint64 {
	restore(digest, states.inner)
	digest.Write(message)
	sum := digest.Sum(h.sum[:0])
	restore(digest, states.outer)
	digest.Write(sum)
	sum = digest.Sum(h.sum[:0])
	var rest uint64
	for i := 0; i < len(sum); i += 4 { // 16 or 20 bytes
		rest = (rest<<32 | uint64(binary.BigEndian.Uint32(sum[i:]))) % h.length
	}
	return rest
}

func restore(digest hash.Hash, state []byte) {
	if err := digest.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		panic("clk: a hash does not take its own state")
	}
}
