// Package receipt is the proof that one entry is in the key holder's log: whoever
// was told that something was recorded can keep it, and show it to anybody.
package receipt

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"tarn/keys"
	"tarn/keys/audit"
	"tarn/keys/audit/checkpoint"
)

// Schema is the schema member of a receipt.
const Schema = "tarn.receipt/1"

// MaxSize bounds a receipt, in bytes.
const MaxSize = 64 << 10

// Receipt is an entry, its place, the proof that it is there, and the signed
// checkpoint that the proof leads to.
type Receipt struct {
	Schema     string         `json:"schema"`
	Index      uint64         `json:"index"`
	Leaf       jsontext.Value `json:"leaf"`       // specification (i), byte for byte in its canonical form
	Proof      [][]byte       `json:"proof"`      // RFC 6962 audit path, hashes in base64
	Checkpoint string         `json:"checkpoint"` // C2SP tlog-checkpoint
}

// Verified is what a receipt proves.
type Verified struct {
	Leaf       audit.Leaf
	Checkpoint *checkpoint.Checkpoint
}

// Parse reads a receipt. The leaf gets its canonical form, in which it is in the
// log, however the document was laid out.
func Parse(document []byte) (*Receipt, error) {
	r := new(Receipt)
	if len(document) > MaxSize || json.Unmarshal(document, r, json.RejectUnknownMembers(true)) != nil || r.Schema != Schema {
		return nil, errors.New("it is not a receipt, " + Schema)
	}
	leaf, err := keys.Canonical(r.Leaf)
	if err != nil {
		return nil, errors.New("its leaf is not a JSON object")
	}
	r.Leaf = leaf
	return r, nil
}

// Verify holds a receipt to the log's key and those of witnesses. Each witness that
// is given must have signed.
func (r *Receipt) Verify(key note.Verifier, witnesses ...note.Verifier) (*Verified, error) {
	c, err := checkpoint.Open([]byte(r.Checkpoint), key, witnesses...)
	if err != nil {
		return nil, err
	}
	for _, w := range witnesses {
		if c.Cosigned[w.Name()] == (time.Time{}) {
			return nil, fmt.Errorf("the witness %s has not signed its checkpoint", w.Name())
		}
	}
	for _, hash := range r.Proof {
		if len(hash) != sha256.Size {
			return nil, errors.New("its proof holds something else than hashes")
		}
	}
	if proof.VerifyInclusion(rfc6962.DefaultHasher, r.Index, c.Size, rfc6962.DefaultHasher.HashLeaf(r.Leaf), r.Proof, c.Root[:]) != nil {
		return nil, errors.New("its proof does not lead from the entry to the checkpoint: the entry was changed, or is not in this log at this place")
	}
	leaf, err := audit.Decode(r.Leaf)
	if err != nil {
		return nil, errors.New("its entry is in the log and cannot be read by this version")
	}
	return &Verified{Leaf: leaf, Checkpoint: c}, nil
}
