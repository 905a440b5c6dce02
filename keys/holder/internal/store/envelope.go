package store

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/chacha20poly1305"

	"tarn/keys"
	"tarn/keys/secret"
)

// An envelope is version (u64, big-endian), nonce (24 bytes) and ciphertext of
// XChaCha20-Poly1305. Its plaintext is LP(kind, name) and the value. The
// additional data bind it to its place, version and generation, so that none can
// stand for another.
const (
	versionSize = 8
	placeSize   = sha256.Size
)

// place is where a record lies in Badger: a keyed hash of its kind and name.
type place [placeSize]byte

// sealer seals and opens envelopes of one generation. Its keys are derived from
// the generation's root key.
type sealer struct {
	aead       cipher.AEAD
	names      secret.Key
	sums       secret.Key
	generation uint64
	rand       io.Reader
}

func newSealer(root secret.Key, generation uint64, r io.Reader) (*sealer, error) {
	derive := func(what string) secret.Key {
		return root.Derive(keys.LP(keys.Text("tarn/holder/store/v1"), keys.Text(what), binary.BigEndian.AppendUint64(nil, generation)))
	}
	if r == nil {
		r = rand.Reader
	}
	s := &sealer{names: derive("names"), sums: derive("sums"), generation: generation, rand: r}
	sealing := derive("values")
	defer sealing.Destroy()
	var err error
	sealing.Use(func(b *[secret.Size]byte) { s.aead, err = chacha20poly1305.NewX(b[:]) })
	return s, err
}

func (s *sealer) destroy() {
	s.names.Destroy()
	s.sums.Destroy()
}

// mac returns HMAC-SHA-256 under a key.
func mac(key secret.Key, parts ...[]byte) (sum [sha256.Size]byte) {
	key.Use(func(b *[secret.Size]byte) {
		h := hmac.New(sha256.New, b[:])
		for _, part := range parts {
			h.Write(part)
		}
		h.Sum(sum[:0])
	})
	return sum
}

// placeOf returns where a record lies.
func (s *sealer) placeOf(key Key) place {
	return mac(s.names, keys.LP(keys.Text(key.Kind), keys.Text(key.Name)))
}

func (s *sealer) additional(at place, version uint64) []byte {
	a := make([]byte, 0, placeSize+16)
	a = append(a, at[:]...)
	a = binary.BigEndian.AppendUint64(a, version)
	return binary.BigEndian.AppendUint64(a, s.generation)
}

// seal makes the envelope of a record's version.
func (s *sealer) seal(key Key, at place, version uint64, value []byte) ([]byte, error) {
	plain := keys.LP(keys.Text(key.Kind), keys.Text(key.Name))
	plain = append(plain, value...)
	defer clear(plain)
	envelope := make([]byte, versionSize+s.aead.NonceSize(), versionSize+s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	binary.BigEndian.PutUint64(envelope, version)
	nonce := envelope[versionSize:]
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return nil, fmt.Errorf("drawing a nonce: %w", err)
	}
	return s.aead.Seal(envelope, nonce, plain, s.additional(at, version)), nil
}

// errDamaged says that an envelope is not one of this place and generation.
var errDamaged = errors.New("store: a record is damaged, or lies where it does not belong")

// open returns what an envelope at a place holds.
func (s *sealer) open(at place, envelope []byte) (key Key, value []byte, err error) {
	head := versionSize + s.aead.NonceSize()
	if len(envelope) < head {
		return key, nil, errDamaged
	}
	version := binary.BigEndian.Uint64(envelope)
	plain, err := s.aead.Open(nil, envelope[versionSize:head], envelope[head:], s.additional(at, version))
	if err != nil {
		return key, nil, errDamaged
	}
	key, value, err = splitRecord(plain)
	if err != nil || s.placeOf(key) != at {
		return Key{}, nil, errDamaged
	}
	return key, value, nil
}

// splitRecord reads LP(kind, name) and the value behind it.
func splitRecord(plain []byte) (key Key, value []byte, err error) {
	for _, part := range []*string{&key.Kind, &key.Name} {
		if len(plain) < 2 {
			return key, nil, errDamaged
		}
		n := int(binary.BigEndian.Uint16(plain))
		if len(plain) < 2+n {
			return key, nil, errDamaged
		}
		*part, plain = string(plain[2:2+n]), plain[2+n:]
	}
	return key, plain, nil
}

// version returns an envelope's version.
func version(envelope []byte) uint64 {
	if len(envelope) < versionSize {
		return 0
	}
	return binary.BigEndian.Uint64(envelope)
}

// sum is what an envelope adds to the root: a keyed hash, so that nobody without
// the root key can choose records whose sums cancel.
func (s *sealer) sum(at place, envelope []byte) [sha256.Size]byte {
	return mac(s.sums, at[:], envelope)
}

// add adds a sum to the root, or takes it away: the root is the exclusive or of
// all sums, and does not depend on their order.
func add(root *[sha256.Size]byte, sum [sha256.Size]byte) {
	for i := range root {
		root[i] ^= sum[i]
	}
}
