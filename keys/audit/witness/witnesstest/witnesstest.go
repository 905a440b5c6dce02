// Package witnesstest makes keys of witnesses, for tests.
package witnesstest

import (
	"crypto/rand"
	"testing"

	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// Key is a witness's key for cosignatures of version 1.
type Key struct {
	Signer   note.Signer
	Verifier note.Verifier
	Public   string // the verifier key's text
}

// New makes the key of a witness of this name.
func New(t testing.TB, name string) Key {
	t.Helper()
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := cosignature.NewSignerForCosignatureV1(private)
	if err == nil {
		public, err = cosignature.VKeyToCosignatureV1(public)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Key{Signer: signer, Verifier: signer.Verifier(), Public: public}
}
