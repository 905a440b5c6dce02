package parcel

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"io"

	"tarn/keys"
	"tarn/keys/oprf"
	"tarn/keys/secret"
)

// The suite is that of the escrow envelope, specification (j).
func kem() hpke.KEM                { return hpke.MLKEM768X25519() }
func suite() (hpke.KDF, hpke.AEAD) { return hpke.HKDFSHA256(), hpke.AES256GCM() }

// rowsInfo binds a batch's rows to its request, and to what the sender says of all batches.
func rowsInfo(id [16]byte, about [32]byte) []byte {
	return keys.LP(keys.Text("tarn/parcel-rows/v1"), id[:], about[:])
}

func answerInfo(head []byte) []byte { return keys.LP(keys.Text("tarn/parcel/v1"), head) }

const (
	rowsLabel = "tarn/parcel-rows/key/v1"
	// magic begins a sealed answer, where an open one has TNEW: specification (h).
	magic    = "TNEX"
	headSize = 44
	nonce    = 12
	tag      = 16
	length   = 4
	// padTo is the step of the rows' lengths in bytes: how long the longest row of a batch
	// is, is not seen more exactly.
	padTo = 64
)

// SealedSize is the length in bytes of a sealed row where the longest of its batch has so
// many.
func SealedSize(longest int) int {
	return nonce + (length+longest+padTo-1)/padTo*padTo + tag
}

// SealRows seals what goes with the rows of a batch to its recipient, each to the length
// of the longest: neither the key holder nor who listens sees which is which by its
// length. about is a digest of what the recipient is to believe of the parcel and the
// batch's place in it: the rows open with the same only. It returns the batch's seal and
// the sealed rows. Row keys are of one batch, and nonces are drawn.
func SealRows(to *Recipient, requestID [16]byte, about [32]byte, rows [][]byte, randomness io.Reader) (seal []byte, sealed [][]byte, err error) {
	public, err := kem().NewPublicKey(to.SealingKey)
	if err != nil {
		return nil, nil, errors.New("the recipient's sealing key is none of MLKEM768X25519")
	}
	kdf, aead := suite()
	seal, sender, err := hpke.NewSender(public, kdf, aead, rowsInfo(requestID, about))
	if err != nil {
		return nil, nil, errors.New("the recipient's rows could not be sealed")
	}
	key, err := sender.Export(rowsLabel, secret.Size)
	if err != nil {
		return nil, nil, errors.New("the recipient's rows could not be sealed")
	}
	gcm, err := rowCipher(key)
	if err != nil {
		return nil, nil, err
	}
	longest := 0
	for _, row := range rows {
		longest = max(longest, len(row))
	}
	size := SealedSize(longest)
	plain := make([]byte, size-nonce-tag)
	defer clear(plain)
	for _, row := range rows {
		clear(plain)
		binary.BigEndian.PutUint32(plain, uint32(len(row)))
		copy(plain[length:], row)
		b := make([]byte, nonce, size)
		if _, err := io.ReadFull(randomness, b); err != nil {
			return nil, nil, errors.New("no random bytes can be had")
		}
		sealed = append(sealed, gcm.Seal(b, b, plain, nil))
	}
	return seal, sealed, nil
}

// rowCipher returns the cipher of a batch's rows, and clears the key.
func rowCipher(key []byte) (cipher.AEAD, error) {
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errors.New("the recipient's rows have no key")
	}
	return cipher.NewGCM(block)
}

// ErrSealed says that something does not open with the recipient's keys: it was sealed to
// another, or changed on its way.
var ErrSealed = errors.New("it was sealed for another recipient, or changed on its way")

// SealAnswer seals a key holder's answer to the recipient that the grant names.
func SealAnswer(sealingKey, answer []byte) ([]byte, error) {
	public, err := kem().NewPublicKey(sealingKey)
	if err != nil || len(answer) < headSize {
		return nil, errors.New("the answer cannot be sealed to the recipient of the grant")
	}
	head := append([]byte(magic), answer[len(magic):headSize]...)
	kdf, aead := suite()
	sealed, err := hpke.Seal(public, kdf, aead, answerInfo(head), answer)
	if err != nil {
		return nil, errors.New("the answer cannot be sealed to the recipient of the grant")
	}
	return append(head, sealed...), nil
}

// Head returns the request id and the number of rows that a sealed answer names, for who
// cannot open it; what it names is proven to the recipient only.
func Head(sealed []byte) (requestID [16]byte, rows int, err error) {
	if len(sealed) < headSize || string(sealed[:len(magic)]) != magic {
		return requestID, 0, errors.New("it is no sealed answer")
	}
	return [16]byte(sealed[24:]), int(binary.BigEndian.Uint32(sealed[40:])), nil
}

// IsAnswer reports whether a sealed answer names what a request does, for who cannot open
// it.
func IsAnswer(request, sealed []byte) bool {
	_, _, err := Head(sealed)
	return err == nil && len(request) >= headSize && bytes.Equal(request[len(magic):headSize], sealed[len(magic):headSize])
}

// Open opens a sealed answer: it verifies the key holder's proof that the tokens went from
// the domain of one public key to that of the other, and opens every row. about is as for
// [SealRows]. A row that is there twice is refused: one would be missing.
func (k *Keys) Open(sealed []byte, about [32]byte, from, to oprf.Point, threads int) (*oprf.Arrival, error) {
	if _, _, err := Head(sealed); err != nil {
		return nil, err
	}
	private, err := k.sealing()
	if err != nil {
		return nil, err
	}
	kdf, aead := suite()
	answer, err := hpke.Open(private, kdf, aead, answerInfo(sealed[:headSize]), sealed[headSize:])
	if err != nil || len(answer) < headSize || !bytes.Equal(answer[len(magic):headSize], sealed[len(magic):headSize]) {
		return nil, ErrSealed
	}
	arrived, err := oprf.OpenParcel(answer, k.token, from, to, threads)
	if err != nil {
		return nil, err
	}
	recipient, err := hpke.NewRecipient(arrived.Seal, private, kdf, aead, rowsInfo(arrived.RequestID, about))
	if err != nil {
		return nil, ErrSealed
	}
	key, err := recipient.Export(rowsLabel, secret.Size)
	if err != nil {
		return nil, ErrSealed
	}
	gcm, err := rowCipher(key)
	if err != nil {
		return nil, err
	}
	seen := make(map[[nonce]byte]bool, len(arrived.Rows))
	for i := range arrived.Rows {
		row := &arrived.Rows[i]
		if len(row.Payload) < nonce || seen[[nonce]byte(row.Payload)] {
			return nil, ErrSealed
		}
		seen[[nonce]byte(row.Payload)] = true
		if row.Payload, err = openRow(gcm, row.Payload); err != nil {
			return nil, err
		}
	}
	return arrived, nil
}

func openRow(gcm cipher.AEAD, sealed []byte) ([]byte, error) {
	if len(sealed) < nonce+tag+length {
		return nil, ErrSealed
	}
	plain, err := gcm.Open(nil, sealed[:nonce], sealed[nonce:], nil)
	if err != nil {
		return nil, ErrSealed
	}
	n := binary.BigEndian.Uint32(plain)
	if uint64(n) > uint64(len(plain)-length) {
		return nil, ErrSealed
	}
	return plain[length:][:n:n], nil
}
