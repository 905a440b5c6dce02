// Package secret holds keys that must never be printed, logged or marshalled.
package secret

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Size is the length of every key, in bytes.
const Size = 32

// Key is a 32-byte secret. The zero Key is invalid: see [Key.Valid].
//
// The bytes sit behind a closure, because fmt reaches unexported fields by
// reflection without calling their methods, and prints an array in full for a
// bad verb; a func only ever prints as an address.
type Key struct {
	_   [0]func() // not comparable: == would not be constant-time
	get func() *[Size]byte
}

const redacted = "[redacted]"

// New returns a Key of these bytes.
func New(b [Size]byte) Key { return Key{get: func() *[Size]byte { return &b }} }

// Generate returns a Key of fresh random bytes from r, or from the operating
// system's generator where r is nil.
func Generate(r io.Reader) (Key, error) {
	if r == nil {
		r = rand.Reader
	}
	var b [Size]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Key{}, fmt.Errorf("drawing a random key: %w", err)
	}
	return New(b), nil
}

// Derive returns HMAC-SHA-256(k, message) as a Key.
func (k Key) Derive(message []byte) Key {
	var out [Size]byte
	k.Use(func(b *[Size]byte) {
		mac := hmac.New(sha256.New, b[:])
		mac.Write(message)
		mac.Sum(out[:0])
	})
	return New(out)
}

// Valid reports whether k holds a key; the zero Key does not.
func (k Key) Valid() bool { return k.get != nil }

// Equal compares two valid keys in constant time.
func (k Key) Equal(o Key) bool { return subtle.ConstantTimeCompare(k.get()[:], o.get()[:]) == 1 }

// Use calls f with the key's bytes. f must not keep or print them.
func (k Key) Use(f func(b *[Size]byte)) { f(k.get()) }

// Destroy overwrites the key's bytes with zeros, for every copy of k.
func (k Key) Destroy() { clear(k.get()[:]) }

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText refuses: a key is written only by the code of its own file format.
func (k Key) MarshalText() ([]byte, error) { return nil, errors.New("secret: refusing to marshal") }
