package secret

import (
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
)

// MAC is a key prepared for HMAC-SHA-256 (RFC 2104) of many messages: the
// states of the hash after the padded key, which are as secret as the key. It
// may be shared by goroutines; each uses a [Hasher] of its own.
type MAC struct {
	_   [0]func()
	get func() *macStates
}

// macStates are SHA-256 states in the form that crypto/sha256 marshals.
type macStates struct{ inner, outer [stateBytes]byte }

const stateBytes = 108

// MAC prepares a key.
func (k Key) MAC() MAC {
	var states macStates
	k.Use(func(b *[Size]byte) {
		padded := func(x byte) (state [stateBytes]byte) {
			var block [sha256.BlockSize]byte
			copy(block[:], b[:])
			for i := range block {
				block[i] ^= x
			}
			h := sha256.New()
			h.Write(block[:])
			clear(block[:])
			marshalled, err := h.(encoding.BinaryMarshaler).MarshalBinary()
			if err != nil || copy(state[:], marshalled) != stateBytes || len(marshalled) != stateBytes {
				panic("secret: the state of SHA-256 has another form")
			}
			return state
		}
		states.inner, states.outer = padded(0x36), padded(0x5c)
	})
	return MAC{get: func() *macStates { return &states }}
}

// Valid reports whether m was prepared; the zero MAC was not.
func (m MAC) Valid() bool { return m.get != nil }

// Hasher computes HMACs without allocating. It is not for concurrent use.
type Hasher struct {
	digest hash.Hash
	state  encoding.BinaryUnmarshaler
	sum    [Size]byte
}

// NewHasher returns a Hasher.
func NewHasher() *Hasher {
	digest := sha256.New()
	return &Hasher{digest: digest, state: digest.(encoding.BinaryUnmarshaler)}
}

// Sum returns HMAC-SHA-256(m, message), valid until the following call.
func (h *Hasher) Sum(m MAC, message []byte) *[Size]byte {
	states := m.get()
	h.restore(&states.inner)
	h.digest.Write(message)
	h.digest.Sum(h.sum[:0])
	h.restore(&states.outer)
	h.digest.Write(h.sum[:])
	h.digest.Sum(h.sum[:0])
	return &h.sum
}

// Key returns HMAC-SHA-256(m, message) as a Key.
func (h *Hasher) Key(m MAC, message []byte) Key { return New(*h.Sum(m, message)) }

func (h *Hasher) restore(state *[stateBytes]byte) {
	if err := h.state.UnmarshalBinary(state[:]); err != nil {
		panic("secret: the state of SHA-256 has another form")
	}
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (m MAC) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (m MAC) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses: a key is written only by the code of its own file format.
func (m MAC) MarshalText() ([]byte, error) {
	return nil, errors.New("secret: refusing to marshal")
}
