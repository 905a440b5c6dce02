package relationship

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// SigningKey is the region's key that signs answers (Ed25519). It cannot be printed.
type SigningKey struct{ seed secret.Key }

const pemType = "PRIVATE KEY" // PKCS #8

// NewSigningKey makes a key. Its randomness comes from r.
func NewSigningKey(r io.Reader) (SigningKey, error) {
	seed, err := secret.Generate(r)
	return SigningKey{seed}, err
}

// Valid reports whether there is a key.
func (k SigningKey) Valid() bool { return k.seed.Valid() }

// Destroy overwrites the key, for every copy of k.
func (k SigningKey) Destroy() { k.seed.Destroy() }

// use calls f with the key as crypto/ed25519 takes it, and overwrites that afterwards.
func (k SigningKey) use(f func(ed25519.PrivateKey) error) (err error) {
	k.seed.Use(func(b *[secret.Size]byte) {
		private := ed25519.NewKeyFromSeed(b[:])
		defer clear(private)
		err = f(private)
	})
	return err
}

// Public returns the public half, which the key holder's configuration names.
func (k SigningKey) Public() (public ed25519.PublicKey) {
	_ = k.use(func(private ed25519.PrivateKey) error { // f returns nil
		public = bytes.Clone(private.Public().(ed25519.PublicKey))
		return nil
	})
	return public
}

// Write writes the key to a file of mode 0600 (PEM, PKCS #8), which must not be there.
func (k SigningKey) Write(path string) error {
	doing := "writing the signing key " + path
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return fault.New(fault.Usage, doing, "there is a file of that name already", "name another; a key that is written over verifies nothing any more")
	}
	return k.use(func(private ed25519.PrivateKey) error {
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return fault.New(fault.Internal, doing, "it could not be written down", "")
		}
		defer clear(der)
		b := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
		defer clear(b)
		if err := keys.WriteFile(path, b); err != nil {
			return fault.Wrap(fault.Internal, doing, err, "choose a folder that exists and can be written")
		}
		return nil
	})
}

// ReadSigningKey reads what Write wrote. Others than its owner may not be able to read the
// file.
func ReadSigningKey(path string) (SigningKey, error) {
	b, err := keys.ReadSecret(path)
	if err != nil {
		return SigningKey{}, err
	}
	defer clear(b)
	wrong := fault.New(fault.Usage, "reading the signing key "+path, "it is no Ed25519 key (PEM, PKCS #8)", "give the file that tokeniser relationships key wrote")
	block, rest := pem.Decode(b)
	if block == nil || block.Type != pemType || len(bytes.TrimSpace(rest)) > 0 {
		return SigningKey{}, wrong
	}
	defer clear(block.Bytes)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return SigningKey{}, wrong // the library's error may hold bytes of the key
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return SigningKey{}, wrong
	}
	defer clear(private)
	return SigningKey{secret.New([secret.Size]byte(private.Seed()))}, nil
}
