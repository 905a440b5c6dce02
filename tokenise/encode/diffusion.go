package encode

import (
	"crypto/cipher"
	"encoding/binary"
	"slices"

	"tarn/keys/secret"
)

// keystream is the AES-256-CTR keystream under a key, from an all-zero
// counter.
type keystream struct {
	stream cipher.Stream
	buffer [1024]byte
	at     int
}

func newKeystream(key secret.Key) (*keystream, error) {
	c, err := newCipher(key)
	if err != nil {
		return nil, err
	}
	k := &keystream{stream: cipher.NewCTR(c, make([]byte, c.BlockSize()))}
	k.at = len(k.buffer)
	return k, nil
}

func (k *keystream) read(out []byte) {
	clear(out)
	k.stream.XORKeyStream(out, out)
}

// next returns the next two bytes as a little-endian number.
func (k *keystream) next() uint16 {
	if k.at == len(k.buffer) {
		k.read(k.buffer[:])
		k.at = 0
	}
	v := binary.LittleEndian.Uint16(k.buffer[k.at:])
	k.at += 2
	return v
}

// uniform returns a number below n, every one equally likely: values beyond
// the last whole multiple of n are drawn again.
func (k *keystream) uniform(n int) int {
	for {
		v := uint32(k.next())
		// v is the r-th of the n values that begin at v - r; there are n of them
		// only below the last whole multiple.
		if r := v % uint32(n); v-r+uint32(n) <= 65536 {
			return int(r)
		}
	}
}

// diffusionRows draws, for each output bit, t different input bits, such that
// every input bit is used equally often: they are drawn from a pool that is
// refilled when it is empty (Armknecht, Heng, Schnell, PoPETs 2023).
func diffusionRows(key secret.Key, bitsIn, bitsOut, t int) ([]uint16, error) {
	stream, err := newKeystream(key)
	if err != nil {
		return nil, err
	}
	rows := make([]uint16, 0, bitsOut*t)
	pool := make([]uint16, bitsIn)
	n := 0
	for range bitsOut {
		start := len(rows)
		for len(rows)-start < t {
			if n == 0 {
				for i := range pool {
					pool[i] = uint16(i)
				}
				n = bitsIn
			}
			r := stream.uniform(n)
			p := pool[r]
			if slices.Contains(rows[start:], p) {
				continue
			}
			n--
			pool[r], pool[n] = pool[n], p
			rows = append(rows, p)
		}
	}
	return rows, nil
}

// diffuse sets bit j of out to the exclusive or of the bits, each a byte of 0
// or 1, that row j names.
func diffuse(out, bits []byte, rows []uint16) {
	t := len(rows) / len(bits)
	if t == 6 && len(bits) == 512 {
		diffuse6(out, (*[512]byte)(bits), rows)
		return
	}
	for i := range out {
		var b byte
		for j := range 8 {
			var x byte
			for _, p := range rows[(8*i+j)*t : (8*i+j+1)*t] {
				x ^= bits[p]
			}
			b |= x << j
		}
		out[i] = b
	}
}

// diffuse6 is diffuse for the size and diffusion of the presets. Every index
// is in range as it stands, so that the compiler leaves the checks out.
func diffuse6(out []byte, bits *[512]byte, rows []uint16) {
	for i := range out {
		r := (*[48]uint16)(rows[48*i:])
		x := func(j int) byte {
			return bits[r[j]&511] ^ bits[r[j+1]&511] ^ bits[r[j+2]&511] ^ bits[r[j+3]&511] ^ bits[r[j+4]&511] ^ bits[r[j+5]&511]
		}
		out[i] = x(0) | x(6)<<1 | x(12)<<2 | x(18)<<3 | x(24)<<4 | x(30)<<5 | x(36)<<6 | x(42)<<7
	}
}
