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
	limit := 65536 - 65536%n
	for {
		if v := int(k.next()); v < limit {
			return v % n
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
