package escrow

import (
	"encoding/binary"
	"encoding/hex"
	"time"

	"tarn/keys"
	"tarn/keys/escrow"
	"tarn/tokenise/regionstore"
)

// What lies in the store. A token has one envelope, whichever project saw it first: within
// a domain the token is the same.
//
//	KindEscrow       name LP(domain, u32(token_epoch), token)
//	                 value batch id (16), index (4), sealed number (26)
//	KindEscrowBatch  name batch id
//	                 value LP(project, domain), token_epoch (4), key id (16), when it
//	                 was sealed (8, milliseconds), enc (1,120)

func itemName(dst []byte, domain string, epoch uint32, token *[keys.TokenSize]byte) []byte {
	return keys.AppendLP(dst, keys.Text(domain), keys.U32(epoch), token[:])
}

// item is the value of a token's record.
type item struct {
	batch  [16]byte
	index  uint32
	sealed [escrow.SealedSize]byte
}

const itemSize = 16 + 4 + escrow.SealedSize

func (i *item) encode() []byte {
	b := append(make([]byte, 0, itemSize), i.batch[:]...)
	return append(binary.BigEndian.AppendUint32(b, i.index), i.sealed[:]...)
}

func decodeItem(b []byte) (i item, err error) {
	if len(b) != itemSize {
		return i, regionstore.ErrDamaged
	}
	return item{batch: [16]byte(b), index: binary.BigEndian.Uint32(b[16:]), sealed: [escrow.SealedSize]byte(b[20:])}, nil
}

// batch is the value of a batch's record.
type batch struct {
	escrow.Context
	at  time.Time
	enc []byte
}

func (b *batch) encode() ([]byte, error) {
	v := keys.LP(keys.Text(b.Project), keys.Text(b.Domain))
	v = binary.BigEndian.AppendUint32(v, b.TokenEpoch)
	v, err := hex.AppendDecode(v, []byte(b.HolderKeyID))
	v = binary.BigEndian.AppendUint64(v, uint64(b.at.UnixMilli()))
	return append(v, b.enc...), err
}

func decodeBatch(v []byte) (b batch, err error) {
	for _, text := range []*string{&b.Project, &b.Domain} {
		if len(v) < 2 || len(v)-2 < int(binary.BigEndian.Uint16(v)) {
			return b, regionstore.ErrDamaged
		}
		n := int(binary.BigEndian.Uint16(v))
		*text, v = string(v[2:][:n]), v[2+n:]
	}
	if len(v) != 4+16+8+escrow.EncSize {
		return b, regionstore.ErrDamaged
	}
	b.TokenEpoch, b.HolderKeyID = binary.BigEndian.Uint32(v), hex.EncodeToString(v[4:20])
	b.at, b.enc = time.UnixMilli(int64(binary.BigEndian.Uint64(v[20:]))).UTC(), v[28:]
	return b, nil
}
