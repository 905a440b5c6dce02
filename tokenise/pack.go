package tokenise

import (
	"encoding/binary"

	"tarn/keys/nhsnumber"
	"tarn/linkage/cohort"
)

// packer turns encoded rows into byte strings of one width whose order is that
// of a cohort: a missing blk_dob after all others, blk_dob as a signed integer,
// unique_id; then the row's number, so that no two are equal.
//
//	0      1 if blk_dob is missing
//	1..8   blk_dob with its sign bit turned, big-endian
//	9..24  unique_id
//	25..32 number of the input row
//	33     state of the NHS number
//	34     1 if the row has something that can be compared
//	35     1 if there is a token, then 32 bytes of it
//	68     each block, filter and tag: 1 if there, then its bytes
//	last   of a project that has an escrow: batch, index and sealed number, 34 bytes
type packer struct {
	layout cohort.Layout
	sealed bool
	sortBy int // index of blk_dob among the blocks, or -1
	width  int
}

const (
	packedBlock   = 0
	packedID      = packedBlock + 9
	packedNumber  = packedID + 16
	packedPlace   = packedNumber + 8 // width of what says where a row belongs
	packedState   = packedPlace
	packedEncoded = packedState + 1
	packedToken   = packedEncoded + 1
	packedRest    = packedToken + 1 + cohort.TokenBytes
)

func newPacker(l cohort.Layout, sealed bool) packer {
	p := packer{layout: l, sealed: sealed, sortBy: -1, width: packedRest + 9*(len(l.Blocks)+len(l.Tags))}
	for _, f := range l.Filters {
		p.width += 1 + f.Bytes
	}
	if sealed {
		p.width += packedSeal
	}
	for i, name := range l.Blocks {
		if name == cohort.BlockDateOfBirth {
			p.sortBy = i
		}
	}
	return p
}

const signBit = 1 << 63

// pack appends one encoded row to dst.
func (p packer) pack(dst []byte, row *cohort.Row, number int64, state nhsnumber.State, encoded bool) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, p.width)...)
	b := dst[start:]
	p.place(b, row, number)
	b[packedState] = byte(state)
	if encoded {
		b[packedEncoded] = 1
	}
	if row.HasToken {
		b[packedToken] = 1
		copy(b[packedToken+1:], row.Token[:])
	}
	rest := putTags(b[packedRest:], row.Blocks)
	for i, filter := range row.Filters {
		if filter != nil {
			rest[0] = 1
			copy(rest[1:], filter)
		}
		rest = rest[1+p.layout.Filters[i].Bytes:]
	}
	putTags(rest, row.Tags)
	return dst
}

// place writes where a row belongs in its cohort, packedPlace bytes.
func (p packer) place(b []byte, row *cohort.Row, number int64) {
	b[packedBlock] = 1
	if p.sortBy >= 0 && row.Blocks[p.sortBy].Present {
		b[packedBlock] = 0
		binary.BigEndian.PutUint64(b[packedBlock+1:], uint64(row.Blocks[p.sortBy].Value)^signBit)
	}
	copy(b[packedID:], row.UniqueID[:])
	binary.BigEndian.PutUint64(b[packedNumber:], uint64(number))
}

func putTags(b []byte, tags []cohort.Tag) []byte {
	for _, tag := range tags {
		if tag.Present {
			b[0] = 1
			binary.BigEndian.PutUint64(b[1:], uint64(tag.Value))
		}
		b = b[9:]
	}
	return b
}

// unpack fills row from b, whose bytes its filters share.
func (p packer) unpack(b []byte, row *cohort.Row) {
	copy(row.UniqueID[:], b[packedID:])
	row.NHSNumberState = nhsnumber.State(b[packedState]).String()
	row.HasToken = b[packedToken] == 1
	copy(row.Token[:], b[packedToken+1:])
	row.Blocks, row.Filters, row.Tags = row.Blocks[:0], row.Filters[:0], row.Tags[:0]
	rest := b[packedRest:]
	row.Blocks, rest = takeTags(row.Blocks, rest, len(p.layout.Blocks))
	for _, f := range p.layout.Filters {
		var filter []byte
		if rest[0] == 1 {
			filter = rest[1 : 1+f.Bytes]
		}
		row.Filters = append(row.Filters, filter)
		rest = rest[1+f.Bytes:]
	}
	row.Tags, _ = takeTags(row.Tags, rest, len(p.layout.Tags))
}

func takeTags(tags []cohort.Tag, b []byte, n int) ([]cohort.Tag, []byte) {
	for range n {
		tags = append(tags, cohort.Tag{Value: int64(binary.BigEndian.Uint64(b[1:])), Present: b[0] == 1})
		b = b[9:]
	}
	return tags, b
}
