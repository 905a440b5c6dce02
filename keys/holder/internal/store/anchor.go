package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// AnchorSchema is the schema member of an anchor.
const AnchorSchema = "tarn.keyholder-anchor/1"

// Anchor says what the newest store looks like. It lies on another filesystem
// than the store, so that an older copy of the store, put in its place, does not
// fit it.
type Anchor struct {
	Schema  string `json:"schema"`
	Current Mark   `json:"current"`
	// Next is the store that is about to take the place of Current, while a key is
	// destroyed. Which of them counts is said by root.json's generation.
	Next *Mark `json:"next,omitzero"`
}

// Mark is the state of one generation's store.
type Mark struct {
	Generation uint64   `json:"generation"`
	Sequence   uint64   `json:"sequence"`   // of the last transaction
	Count      uint64   `json:"count"`      // records
	Root       string   `json:"root"`       // sum over all records' envelopes, hex
	Tombstones []string `json:"tombstones"` // what a restore must not bring back, sorted
	Signer     string   `json:"signer"`     // public key of backups, Ed25519, hex
	MAC        string   `json:"mac"`        // over all other members, under the deployment's anchor key
}

// sum returns the MAC of a mark under a deployment's anchor key.
func (m Mark) sum(key secret.Key) (text string, err error) {
	m.MAC = ""
	document, err := keys.Encode(m)
	if err != nil {
		return "", err
	}
	canonical, err := keys.Canonical(document)
	if err != nil {
		return "", err
	}
	key.Use(func(b *[secret.Size]byte) {
		mac := hmac.New(sha256.New, b[:])
		mac.Write([]byte("tarn/holder/anchor/v1\x00"))
		mac.Write(canonical)
		text = hex.EncodeToString(mac.Sum(nil))
	})
	return text, nil
}

// Verify reports whether the mark was written by the deployment of this anchor
// key.
func (m Mark) Verify(key secret.Key) bool {
	text, err := m.sum(key)
	return err == nil && hmac.Equal([]byte(text), []byte(m.MAC))
}

// same reports whether a mark says what a state is.
func (m Mark) same(s State) bool {
	return m.Sequence == s.Sequence && m.Count == s.Count && m.Root == hex.EncodeToString(s.Root[:]) && slices.Equal(m.Tombstones, s.Tombstones)
}

// errNoAnchor says that there is no file where the anchor should be.
var errNoAnchor = errors.New("store: there is no anchor")

// ReadAnchor reads an anchor. Its marks are not verified: the key for that lies
// in the store, or in a backup.
func ReadAnchor(path string) (Anchor, error) {
	const doing = "reading the anchor"
	var a Anchor
	document, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return a, errors.Join(errNoAnchor, fault.New(fault.Usage, doing, "there is none at "+path, "give its path; it lies on another disk than the store"))
	}
	if err != nil {
		return a, fault.Wrap(fault.Usage, doing, err, "")
	}
	if err := keys.DecodeStrict(document, &a); err != nil || a.Schema != AnchorSchema {
		return a, fault.New(fault.Usage, doing, "it is no anchor, or is damaged", "bring back the newest copy of it, or restore a backup: docs/operations.md")
	}
	return a, nil
}

// mark returns the mark of a generation, nil where the anchor has none.
func (a *Anchor) mark(generation uint64) *Mark {
	switch {
	case a.Current.Generation == generation:
		return &a.Current
	case a.Next != nil && a.Next.Generation == generation:
		return a.Next
	}
	return nil
}

// writeAnchor replaces the anchor, and returns when it is on the disk.
func writeAnchor(path string, a Anchor) error {
	document, err := keys.Encode(a)
	if err != nil {
		return err
	}
	if err := keys.WriteFile(path, document); err != nil {
		return fault.Wrap(fault.Internal, "writing the anchor", err, "look at the disk that it lies on")
	}
	return keys.SyncFolder(filepath.Dir(path))
}
