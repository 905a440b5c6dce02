package regionstore

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"tarn/keys"
	"tarn/keys/secret"
)

// place is where a record lies in Badger: its kind, so that a kind can be walked, and
// a keyed hash of kind and name.
type place [1 + sha256.Size]byte

// marker is the place of the record by which a store knows its key. It is no name's:
// its kind is none.
var marker place

// sealer places and seals records. An envelope is nonce (24 bytes) and ciphertext of
// XChaCha20-Poly1305; its plaintext is the time until which the record holds (u64,
// milliseconds since 1970, all ones for ever) and the value. The additional data are the
// place, so that no record can stand for another.
type sealer struct {
	aead    cipher.AEAD
	names   secret.MAC
	hashers sync.Pool
	rand    io.Reader
}

func newSealer(key secret.Key, r io.Reader) (*sealer, error) {
	derive := func(what string) secret.Key {
		return key.Derive(keys.LP(keys.Text("tarn/region-store/v1"), keys.Text(what)))
	}
	if r == nil {
		r = rand.Reader
	}
	names, values := derive("names"), derive("values")
	defer names.Destroy()
	defer values.Destroy()
	s := &sealer{names: names.MAC(), rand: r, hashers: sync.Pool{New: func() any { return secret.NewHasher() }}}
	var err error
	values.Use(func(b *[secret.Size]byte) { s.aead, err = chacha20poly1305.NewX(b[:]) })
	return s, err
}

// placeOf returns where a record lies.
func (s *sealer) placeOf(kind Kind, name []byte) (at place) {
	hasher := s.hashers.Get().(*secret.Hasher) //nolint:forcetypeassert // the pool has nothing else
	defer s.hashers.Put(hasher)
	at[0] = byte(kind)
	copy(at[1:], hasher.Sum(s.names, append([]byte{byte(kind)}, name...))[:])
	return at
}

const timeSize = 8

// forever stands for a record that does not expire.
const forever = math.MaxUint64

func (s *sealer) seal(at place, until time.Time, value []byte) ([]byte, error) {
	plain := make([]byte, timeSize, timeSize+len(value))
	defer clear(plain[:cap(plain)])
	binary.BigEndian.PutUint64(plain, milliseconds(until))
	plain = append(plain, value...)
	envelope := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	if _, err := io.ReadFull(s.rand, envelope); err != nil {
		return nil, errors.New("region store: no randomness for a nonce")
	}
	return s.aead.Seal(envelope, envelope, plain, at[:]), nil
}

// milliseconds returns a time as records write it.
func milliseconds(until time.Time) uint64 {
	if until.IsZero() {
		return forever
	}
	return uint64(max(0, until.UnixMilli()))
}

// errDamaged says that an envelope is not one of this place, or of another key.
var errDamaged = errors.New("region store: a record is damaged, or lies where it does not belong")

// open returns what an envelope at a place holds, and whether it still holds.
func (s *sealer) open(at place, envelope []byte, now time.Time) (value []byte, holds bool, err error) {
	n := s.aead.NonceSize()
	if len(envelope) < n {
		return nil, false, errDamaged
	}
	plain, err := s.aead.Open(nil, envelope[:n], envelope[n:], at[:])
	if err != nil || len(plain) < timeSize {
		return nil, false, errDamaged
	}
	until := binary.BigEndian.Uint64(plain)
	return plain[timeSize:], until == forever || milliseconds(now) < until, nil
}
