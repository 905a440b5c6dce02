// Package checkpoint reads and checks what a transparency log signs and what its
// witnesses sign with it: a C2SP tlog-checkpoint, as a signed note with Ed25519
// and cosignatures of version 1.
package checkpoint

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/transparency-dev/formats/log"
	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"tarn/keys/audit/tiles"
)

// Checkpoint is what a log has said of itself: so many entries, with this root.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   tiles.Hash
	// Cosigned are the witnesses that have signed, too, and when.
	Cosigned map[string]time.Time
}

// NewSigner returns the signer of a log, and its verifier key, from the seed of an
// Ed25519 key. The origin is the name of both.
func NewSigner(origin string, seed *[ed25519.SeedSize]byte) (note.Signer, string, error) {
	private := ed25519.NewKeyFromSeed(seed[:])
	defer clear(private)
	public, err := note.NewEd25519VerifierKey(origin, private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, "", errors.New("a log's origin holds a space or a plus sign, or is empty")
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		return nil, "", errors.New("a log's origin holds a space or a plus sign, or is empty")
	}
	const ed25519Key = 1 // the algorithm, as signed-note numbers it
	text := fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", origin, verifier.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{ed25519Key}, seed[:]...)))
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, "", errors.New("the log's key could not be read") // the cause might repeat it
	}
	return signer, public, nil
}

// Verifier reads a log's verifier key, NAME+HASH+KEY.
func Verifier(key string) (note.Verifier, error) {
	v, err := note.NewVerifier(strings.TrimSpace(key))
	if err != nil {
		return nil, errors.New("it is not a verifier key, NAME+HASH+KEY")
	}
	return v, nil
}

// WitnessVerifier reads a witness's verifier key.
func WitnessVerifier(key string) (note.Verifier, error) {
	v, err := cosignature.NewVerifierForCosignatureV1(strings.TrimSpace(key))
	if err != nil {
		return nil, errors.New("it is not a witness's verifier key, NAME+HASH+KEY")
	}
	return v, nil
}

// Open checks a signed checkpoint. It must be signed with the log's key, and name
// the log as that key does. Signatures of witnesses that are given must be right
// where they are there; others are not looked at.
func Open(signed []byte, key note.Verifier, witnesses ...note.Verifier) (*Checkpoint, error) {
	parsed, _, opened, err := log.ParseCheckpoint(signed, key.Name(), key, witnesses...)
	if err != nil {
		return nil, fmt.Errorf("the checkpoint is not signed with the key of %s: %w", key.Name(), err)
	}
	if len(parsed.Hash) != sha256.Size {
		return nil, errors.New("the checkpoint's root is not of SHA-256")
	}
	c := &Checkpoint{Origin: parsed.Origin, Size: parsed.Size, Root: tiles.Hash(parsed.Hash), Cosigned: map[string]time.Time{}}
	for _, signature := range opened.Sigs {
		for _, witness := range witnesses {
			if signature.Name == witness.Name() && signature.Hash == witness.KeyHash() {
				if c.Cosigned[witness.Name()], err = cosignature.CoSigV1Timestamp(signature); err != nil {
					return nil, fmt.Errorf("the cosignature of %s has no time", witness.Name())
				}
			}
		}
	}
	return c, nil
}

// Unverified reads a checkpoint whose signatures nobody checks here.
func Unverified(signed []byte) (*Checkpoint, error) {
	var parsed log.Checkpoint
	if _, err := parsed.Unmarshal(signed); err != nil || len(parsed.Hash) != sha256.Size {
		return nil, errors.New("it is not a checkpoint")
	}
	return &Checkpoint{Origin: parsed.Origin, Size: parsed.Size, Root: tiles.Hash(parsed.Hash), Cosigned: map[string]time.Time{}}, nil
}
