// Package escrow is the envelope in which a region keeps, beside a token of scheme
// keyed-hash, whose token it is: sealed to the key holder, specification (j). Such a token
// is a hash, so that without the envelope it is opened by trying all numbers. Tokens of
// scheme oblivious need none.
//
// One encapsulation serves a batch, whose items are opened one by one and in any order.
// The key of a batch is kept by nobody: the tokeniser that seals cannot open.
package escrow

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"tarn/keys"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
)

const (
	itemLabel  = "tarn/escrow/item/v1"
	nonceSize  = 12
	tagSize    = 16
	numberSize = len(nhsnumber.Number{})
	// EncSize is the length in bytes of a batch's encapsulated key.
	EncSize = 1120
	// SealedSize is the length in bytes of a sealed number.
	SealedSize = numberSize + tagSize
)

// KEM is that of the key holder's escrow key, MLKEM768X25519.
func KEM() hpke.KEM { return hpke.MLKEM768X25519() }

func suite() (hpke.KDF, hpke.AEAD) { return hpke.HKDFSHA256(), hpke.AES256GCM() }

// KeyID names an escrow key by its public half: the first 16 bytes, in hex, of
// SHA-256(LP("tarn/escrow-key/v1", public)).
func KeyID(public []byte) string {
	sum := sha256.Sum256(keys.LP(keys.Text("tarn/escrow-key/v1"), public))
	return hex.EncodeToString(sum[:16])
}

// Context is what an envelope is of. It opens under no other.
type Context struct {
	Project, Domain string
	TokenEpoch      uint32
	HolderKeyID     string // see KeyID
}

func (c Context) info() []byte {
	return keys.LP(keys.Text("tarn/escrow/v1"), keys.Text(c.Project), keys.Text(c.Domain), keys.U32(c.TokenEpoch), keys.Text(c.HolderKeyID))
}

// aad binds a sealed number to its batch and to the token beside which it lies:
// LP(batch_id, domain, u32(token_epoch), token).
func (c Context) aad(batch [16]byte, token [keys.TokenSize]byte) []byte {
	return keys.LP(batch[:], keys.Text(c.Domain), keys.U32(c.TokenEpoch), token[:])
}

// nonce is 8 zero bytes and the item's index.
func nonce(index uint32) (b [nonceSize]byte) {
	binary.BigEndian.PutUint32(b[8:], index)
	return b
}

// Batch seals the numbers of one batch. It is not for concurrent use; its key is in a
// closure, and gone with it.
type Batch struct {
	ID      [16]byte
	Enc     []byte // kept with the items, EncSize bytes
	context Context
	next    uint32
	seal    func(to []byte, index uint32, plain, aad []byte) []byte
}

// NewBatch begins a batch that only the holder of the escrow key with this public half can
// open. The encapsulation's randomness is the operating system's: crypto/hpke takes no
// other. id is drawn by the caller, once for each batch.
func NewBatch(public []byte, c Context, id [16]byte) (*Batch, error) {
	key, err := KEM().NewPublicKey(public)
	if err != nil {
		return nil, errors.New("escrow: the key holder's escrow key is none of MLKEM768X25519")
	}
	if c.HolderKeyID != KeyID(public) {
		return nil, errors.New("escrow: the escrow key is not the one that is named")
	}
	kdf, aead := suite()
	enc, sender, err := hpke.NewSender(key, kdf, aead, c.info())
	if err != nil {
		return nil, errors.New("escrow: a batch's key could not be made")
	}
	item, err := sender.Export(itemLabel, secret.Size)
	if err != nil {
		return nil, errors.New("escrow: a batch's key could not be made")
	}
	gcm, err := itemCipher(item)
	if err != nil {
		return nil, err
	}
	return &Batch{ID: id, Enc: enc, context: c, seal: func(to []byte, index uint32, plain, aad []byte) []byte {
		n := nonce(index)
		return gcm.Seal(to, n[:], plain, aad)
	}}, nil
}

// itemCipher returns the cipher of a batch's items, and clears the key.
func itemCipher(key []byte) (cipher.AEAD, error) {
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errors.New("escrow: a batch's key could not be used")
	}
	return cipher.NewGCM(block)
}

// ErrFull says that a batch has as many items as it may have: their numbers are used up.
var ErrFull = errors.New("escrow: the batch is full")

// Seal appends the number of whom a token is, sealed, and returns its index in the batch.
// No index is used twice.
func (b *Batch) Seal(to []byte, token [keys.TokenSize]byte, number nhsnumber.Number) (sealed []byte, index uint32, err error) {
	if index = b.next; index == 1<<32-1 {
		return to, 0, ErrFull
	}
	b.next++
	return b.seal(to, index, number[:], b.context.aad(b.ID, token)), index, nil
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (b *Batch) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[an escrow batch]") }

// LogValue implements [slog.LogValuer] with a fixed text.
func (b *Batch) LogValue() slog.Value { return slog.StringValue("[an escrow batch]") }

// Envelope is one item as it is kept, and as it travels to the key holder. None of it
// tells who it is.
type Envelope struct {
	HolderKeyID string // the escrow key that it was sealed to, see KeyID

	Batch  [16]byte
	Enc    []byte
	Index  uint32
	Token  [keys.TokenSize]byte
	Sealed []byte
}

// ErrClosed says that an envelope does not open: it was sealed to another key, or in
// another context, or changed.
var ErrClosed = errors.New("escrow: the envelope does not open")

// ErrToken says that what an envelope holds is not whose token it lies beside: whoever
// sealed it was wrong, or lied.
var ErrToken = errors.New("escrow: the envelope's number is not the token's")

// Open returns whose token it is. It belongs into the key holder's keyring: the number
// leaves it only where policy releases it. tokenKey is K_tok of the context's domain and
// epoch; a number whose token is another one, or which is no NHS number, is refused.
// The context names the escrow key, as the envelope does.
func (e *Envelope) Open(holder hpke.PrivateKey, c Context, tokenKey secret.MAC) (number nhsnumber.Number, err error) {
	if len(e.Enc) != EncSize || len(e.Sealed) != SealedSize || e.HolderKeyID != c.HolderKeyID || c.HolderKeyID != KeyID(holder.PublicKey().Bytes()) {
		return number, ErrClosed
	}
	kdf, aead := suite()
	recipient, err := hpke.NewRecipient(e.Enc, holder, kdf, aead, c.info())
	if err != nil {
		return number, ErrClosed
	}
	item, err := recipient.Export(itemLabel, secret.Size)
	if err != nil {
		return number, ErrClosed
	}
	gcm, err := itemCipher(item)
	if err != nil {
		return number, err
	}
	n := nonce(e.Index)
	plain, err := gcm.Open(nil, n[:], e.Sealed, c.aad(e.Batch, e.Token))
	if err != nil {
		return number, ErrClosed
	}
	defer clear(plain)
	digit, ok := nhsnumber.CheckDigit([9]byte(plain[:9]))
	if !ok || digit != plain[9] || bytes.ContainsFunc(plain, func(r rune) bool { return r < '0' || r > '9' }) {
		return number, ErrToken
	}
	if !hmac.Equal(secret.NewHasher().Sum(tokenKey, plain)[:], e.Token[:]) {
		return number, ErrToken
	}
	return nhsnumber.Number(plain), nil
}
