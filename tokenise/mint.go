package tokenise

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"

	"tarn/keys"
	"tarn/keys/secret"
)

// Minter mints the unique_ids of one source data set. It is not for use by
// several goroutines at a time.
type Minter struct {
	mac     hash.Hash
	dataset []byte
	message []byte
}

// NewMinter returns the minter of a source data set under its row key K_row.
func NewMinter(rowKey secret.Key, sourceDataset string) *Minter {
	m := &Minter{dataset: []byte(sourceDataset)}
	rowKey.Use(func(b *[secret.Size]byte) { m.mac = hmac.New(sha256.New, b[:]) })
	return m
}

// Mint returns the unique_id of a source id of at most [keys.MaxPart] bytes:
// HMAC(K_row, LP("tarn/row/v1", source_dataset, source_id))[0:16],
// specification (k).
func (m *Minter) Mint(sourceID string) (id [16]byte) {
	var sum [sha256.Size]byte
	m.message = keys.AppendLP(m.message[:0], []byte("tarn/row/v1"), m.dataset, []byte(sourceID))
	m.mac.Reset()
	m.mac.Write(m.message)
	copy(id[:], m.mac.Sum(sum[:0]))
	return id
}
