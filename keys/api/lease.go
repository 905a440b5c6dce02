package api

import (
	"crypto/hmac"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"tarn/keys"
	"tarn/keys/secret"
)

// Use is what a leased key is for.
type Use string

// The uses of a lease.
const (
	UseToken    Use = "token"    // K[domain, token_epoch], specification (g)
	UseEncoding Use = "encoding" // K_enc[project, encoding_epoch], specification (b)
	UseRelease  Use = "release"  // K_x[project, encoding_epoch], specification (l)
)

// Uses returns every use.
func Uses() []Use { return []Use{UseToken, UseEncoding, UseRelease} }

// LeaseRequest asks for a key of a project.
type LeaseRequest struct {
	Use          Use   `json:"use"`
	RowsExpected int64 `json:"rows_expected"`
}

// Lease is a key on loan, sealed to the client's enrolled key.
type Lease struct {
	ID       string `json:"id"`
	Use      Use    `json:"use"`
	Project  string `json:"project"`
	Domain   string `json:"domain"`
	DomainNo uint32 `json:"domain_no"`
	Epoch    uint32 `json:"epoch"`     // token epoch for tokens, encoding epoch for the others
	KeyCheck string `json:"key_check"` // of the leased key: see CheckLeased
	Sealed   []byte `json:"sealed"`    // HPKE: encapsulated key and ciphertext
	// RowsGranted is how many rows the key may be used for before more are granted.
	RowsGranted int64     `json:"rows_granted"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"`
	Renew       time.Time `json:"renew"` // when the client should ask for more time
}

// LeaseRenewal is a lease's new end.
type LeaseRenewal struct {
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
	Renew   time.Time `json:"renew"`
}

// Usage is what a client says it used a key for since it last said so. The key
// holder cannot check it and records it as self-reported.
type Usage struct {
	Rows int64 `json:"rows"`
	// RowsWanted is how many rows in all, since its beginning, the lease is to be
	// granted at least; 0 asks for none.
	RowsWanted int64 `json:"rows_wanted,omitzero"`
	// TestRange is how many of the rows had an NHS number of the test range.
	TestRange   int64   `json:"test_range,omitzero"`
	EncodingKCV *string `json:"encoding_kcv,omitzero"` // with use encoding: specification (d)
}

// LeaseUse is how much of a lease there is.
type LeaseUse struct {
	ID          string `json:"id"`
	RowsGranted int64  `json:"rows_granted"` // in all, since its beginning
}

// The suite of leases is that of the escrow envelope, specification (j).
func leaseSuite() (hpke.KDF, hpke.AEAD) { return hpke.HKDFSHA256(), hpke.AES256GCM() }

// LeaseKEM is the KEM that clients make their sealing keys for.
func LeaseKEM() hpke.KEM { return hpke.MLKEM768X25519() }

// info binds a sealed key to what it is a lease of:
// LP("tarn/lease/v1", use, project, domain, u32(epoch), id, certificate, u64(expiry in Unix seconds)).
func (l *Lease) info(certificate [sha256.Size]byte) []byte {
	return keys.LP(keys.Text("tarn/lease/v1"), keys.Text(string(l.Use)), keys.Text(l.Project), keys.Text(l.Domain), keys.U32(l.Epoch),
		keys.Text(l.ID), certificate[:], binary.BigEndian.AppendUint64(nil, uint64(l.Expires.Unix())))
}

// Seal puts a key into the lease, for the client that has this sealing key and
// the certificate of this SHA-256. All other members must be set.
func (l *Lease) Seal(key secret.Key, client []byte, certificate [sha256.Size]byte) error {
	public, err := LeaseKEM().NewPublicKey(client)
	if err != nil {
		return errors.New("the client's sealing key is not one of MLKEM768X25519")
	}
	kdf, aead := leaseSuite()
	key.Use(func(b *[secret.Size]byte) { l.Sealed, err = hpke.Seal(public, kdf, aead, l.info(certificate), b[:]) })
	if err != nil {
		return fmt.Errorf("sealing a lease: %w", err)
	}
	return nil
}

// Open returns the leased key, which only the client of this sealing key and
// certificate can do, and only while no member of the lease was changed. The
// key is held to its key check value.
func (l *Lease) Open(client hpke.PrivateKey, certificate [sha256.Size]byte) (secret.Key, error) {
	kdf, aead := leaseSuite()
	plain, err := hpke.Open(client, kdf, aead, l.info(certificate), l.Sealed)
	if err != nil || len(plain) != secret.Size {
		return secret.Key{}, errors.New("the leased key does not open: it was sealed for another client, or changed on its way")
	}
	defer clear(plain)
	key := secret.New([secret.Size]byte(plain))
	if !hmac.Equal([]byte(KeyCheck(l.Use, key, l.Domain, l.Epoch)), []byte(l.KeyCheck)) {
		return secret.Key{}, errors.New("the leased key is not the one that its key check value names")
	}
	return key, nil
}

// KeyCheck returns the check value of a leased key in lower-case hex: token_kcv
// of specification (d) for tokens and (l) for releases. An encoding key's own
// encoding_kcv needs the encoding pipeline, which the key holder has not got:
// its leases carry HMAC(K_enc, LP("tarn/lease-kcv/v1"))[0:16].
func KeyCheck(use Use, key secret.Key, domain string, epoch uint32) string {
	switch use {
	case UseToken:
		return keys.TokenKCV(keys.TokenDeriver(key, domain, epoch))
	case UseRelease:
		return keys.TokenKCV(key)
	default:
		var text string
		key.Derive(keys.LP(keys.Text("tarn/lease-kcv/v1"))).Use(func(b *[secret.Size]byte) { text = hex.EncodeToString(b[:16]) })
		return text
	}
}
