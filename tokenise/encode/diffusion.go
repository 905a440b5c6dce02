package encode

import (
	"crypto/cipher"
	"encoding/binary"
	"slices"

	"tarn/keys/secret"
)

// keystream is the AES-256-CTR keystream under a key, from an all-zero
// counter.
func keystream(key secret.Key) (cipher.Stream, error) {
	c, err := newCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewCTR(c, make([]byte, c.BlockSize())), nil
}

// readStream fills out with the next bytes of a keystream.
func readStream(s cipher.Stream, out []byte) {
	clear(out)
	s.XORKeyStream(out, out)
}

// diffusion draws diffusion tables for filters of one size. It may be shared by
// goroutines.
type diffusion struct {
	bits   int // of the filter and of the output
	inputs int // t, filter bits in each output bit
	// inverse holds 2^32/n, rounded up, for each n. The quotient by n of two bytes
	// is exact by multiplication with it, since both are below 2^16.
	inverse []uint64
}

func newDiffusion(bits, inputs int) *diffusion {
	d := &diffusion{bits: bits, inputs: inputs, inverse: make([]uint64, bits+1)}
	for n := 1; n <= bits; n++ {
		d.inverse[n] = (1<<32 + uint64(n) - 1) / uint64(n)
	}
	return d
}

// streamBytes is the part of a keystream that is made at a time.
const streamBytes = 1024

// columns draws, for each output bit, t different filter bits, from a pool of
// all filter bits that is refilled when it is empty (Armknecht, Heng, Schnell,
// PoPETs 2023), so that every filter bit is used t times. It returns, for each
// filter bit p, the t output bits it is in: columns[p*t : (p+1)*t]. Few bits
// of a filter are set, so that this is the quick way to diffuse it.
//
// A number below n is drawn as two bytes of the keystream, little-endian,
// modulo n; those beyond the last whole multiple of n are drawn again, so that
// every one is equally likely. The loop is written out: a century of dates are
// 200 million draws.
//
// The pool is filled t times, and each time gives every bit once: the k-th
// filling gives every bit its k-th output bit.
func (d *diffusion) columns(key secret.Key) ([]uint16, error) {
	stream, err := keystream(key)
	if err != nil {
		return nil, err
	}
	t := d.inputs
	columns := make([]uint16, d.bits*t)
	pool := make([]uint16, d.bits)
	row := make([]uint16, t) // the bits of the current output bit so far
	var buffer [streamBytes]byte
	at, j, i := len(buffer), 0, 0
	for filling := range t {
		for p := range pool {
			pool[p] = uint16(p)
		}
		straddles := i > 0 // the current output bit has bits of the filling before
		for n := len(pool); n > 0; {
			if at == len(buffer) {
				readStream(stream, buffer[:])
				at = 0
			}
			v := uint64(binary.LittleEndian.Uint16(buffer[at:]))
			at += 2
			base := v * d.inverse[n] >> 32 * uint64(n) // of the n values that v is among
			if base+uint64(n) > 1<<16 {
				continue
			}
			p := pool[v-base]
			if straddles && slices.Contains(row[:i], p) {
				continue // an output bit has t different bits
			}
			n--
			pool[v-base] = pool[n]
			columns[int(p)*t+filling] = uint16(j)
			row[i] = p
			if i++; i == t {
				i, straddles = 0, false
				j++
			}
		}
	}
	return columns, nil
}

// packBits sets bit i of out to byte i of bits, which is 0 or 1.
func packBits(out, bits []byte) {
	for i := range out {
		eight := binary.LittleEndian.Uint64(bits[8*i:])
		// Each byte's lowest bit moves to a bit of its own in the top byte.
		out[i] = byte(eight * 0x0102040810204080 >> 56)
	}
}
