// Package escrow keeps, in the region's store, whose the tokens of scheme keyed-hash are:
// at first sight of a token its number is sealed to the key holder (specification (j)) and
// kept beside it. Nobody in the region can open what is kept. It goes to the key holder in
// the region's answer to whether an organisation has to do with the patient.
//
// Only projects whose tokens may leave and be opened (scheme keyed-hash, reidentify
// direct) have an escrow, and only where the project's record names the key holder's
// escrow key.
package escrow

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"

	"tarn/keys"
	"tarn/keys/escrow"
	"tarn/keys/fault"
)

// Recipient is to whom numbers are sealed, and in which context.
type Recipient struct {
	escrow.Context
	public []byte
}

// modeDirect is the reidentify mode of projects whose tokens leave the region.
const modeDirect = "direct"

// RecipientOf returns to whom a project's numbers are sealed: nil where it has no escrow.
func RecipientOf(p *keys.Project) (*Recipient, error) {
	if p.Scheme != keys.SchemeKeyedHash || p.Reidentify.Mode != modeDirect || p.Keys.EscrowPublicKey == nil {
		return nil, nil
	}
	public, err := hex.DecodeString(*p.Keys.EscrowPublicKey)
	if err == nil {
		_, err = escrow.KEM().NewPublicKey(public)
	}
	if err != nil {
		return nil, fault.New(fault.Usage, "reading the record of project "+p.Name, "member keys.escrow_public_key is no key of MLKEM768X25519", "get the record from the key holder: tokeniser project")
	}
	return &Recipient{
		Context: escrow.Context{Project: p.Name, Domain: p.Domain, TokenEpoch: p.Keys.TokenEpoch, HolderKeyID: escrow.KeyID(public)},
		public:  public,
	}, nil
}

// Batch seals numbers, see [escrow.Batch].
type Batch = escrow.Batch

// NewBatch begins a batch, whose id is drawn from r (the operating system's generator
// where r is nil).
func (t *Recipient) NewBatch(r io.Reader) (*Batch, error) {
	if r == nil {
		r = rand.Reader
	}
	var id [16]byte
	if _, err := io.ReadFull(r, id[:]); err != nil {
		return nil, errors.New("escrow: no randomness for a batch's id")
	}
	return escrow.NewBatch(t.public, t.Context, id)
}
