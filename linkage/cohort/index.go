package cohort

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"

	"tarn/keys/fault"
)

// ID is a minted unique_id, 16 bytes that the file holds as 32 hexadecimal
// digits.
type ID [16]byte

// String returns the 32 digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Compare orders ids as their text.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// ReadIDs reads the unique_ids of all records, in file order.
func (f *File) ReadIDs(ctx context.Context) ([]ID, error) {
	ids := make([]ID, f.rows)
	return ids, f.eachID(ctx, func(i int, id *ID) { ids[i] = *id })
}

// eachID calls each with every record's id, in file order.
func (f *File) eachID(ctx context.Context, each func(i int, id *ID)) error {
	c := f.column(ColumnUniqueID)
	return inPieces(ctx, f.rows, func(from, n int) error {
		return c.bytes(n, func(i int, value []byte) error {
			var id ID
			if !parseID(&id, value) {
				return f.badID()
			}
			each(from+i, &id)
			return nil
		})
	})
}

func (f *File) badID() error {
	return fault.New(fault.Usage, "reading column "+ColumnUniqueID+" of "+f.Path, "a value is missing or is not a minted id of 32 hexadecimal digits", giveOurs)
}

// parseID reads 32 lower-case hexadecimal digits.
func parseID(id *ID, text []byte) bool {
	if len(text) != 2*len(id) {
		return false
	}
	bad := byte(0)
	for i := range id {
		high, low := nibble[text[2*i]], nibble[text[2*i+1]]
		bad |= high | low
		id[i] = high<<4 | low&0x0f
	}
	return bad&0xf0 == 0
}

// nibble is the value of a lower-case hexadecimal digit, and 0xff of any other
// byte.
var nibble = func() (table [256]byte) {
	for i := range table {
		table[i] = 0xff
	}
	for i, digit := range []byte("0123456789abcdef") {
		table[digit] = byte(i)
	}
	return table
}()

// CheckIDs returns the digest of the ids, see [RowsDigest], and refuses two
// records with one id.
func (f *File) CheckIDs(ids []ID) (digest string, err error) {
	sorted := sortedIDs(ids)
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return "", f.twice()
		}
	}
	return RowsDigest(sorted), nil
}

// sortedIDs sorts a copy: minted ids are evenly spread, so that two bytes of
// each leave little to compare.
func sortedIDs(ids []ID) []ID {
	from := make([]int32, 1<<16+1)
	bucket := func(id *ID) uint16 { return binary.BigEndian.Uint16(id[:2]) }
	for i := range ids {
		from[int(bucket(&ids[i]))+1]++
	}
	for b := range 1 << 16 {
		from[b+1] += from[b]
	}
	sorted, at := make([]ID, len(ids)), slices.Clone(from)
	for i := range ids {
		b := bucket(&ids[i])
		sorted[at[b]] = ids[i]
		at[b]++
	}
	for b := range 1 << 16 {
		slices.SortFunc(sorted[from[b]:from[b+1]], ID.Compare)
	}
	return sorted
}

// RowsDigest is the SHA-256, in hex, of all unique_ids in ascending order, as
// their ASCII text without separators. Without it two months of one party
// would share a cohort_id. ids must be sorted.
func RowsDigest(sorted []ID) string {
	h := sha256.New()
	addIDs(h, sorted)
	return hex.EncodeToString(h.Sum(nil))
}

func addIDs(to hash.Hash, sorted []ID) {
	var text [1024 * 32]byte
	for piece := range slices.Chunk(sorted, 1024) {
		for i := range piece {
			hex.Encode(text[32*i:], piece[i][:])
		}
		to.Write(text[:32*len(piece)])
	}
}

// CheckRows is [File.CheckIDs] with no more than about so many ids in memory, which
// reads them several times if there are more.
func (f *File) CheckRows(ctx context.Context, atOnce int) (digest string, err error) {
	bucket := func(id *ID) int { return int(binary.BigEndian.Uint16(id[:2])) }
	counts := make([]int, 1<<16)
	if err := f.eachID(ctx, func(_ int, id *ID) { counts[bucket(id)]++ }); err != nil {
		return "", err
	}
	h := sha256.New()
	var ids []ID
	for from := 0; from < len(counts); {
		to, rows := from+1, counts[from]
		for to < len(counts) && rows+counts[to] <= atOnce {
			rows += counts[to]
			to++
		}
		ids = ids[:0]
		if rows > 0 {
			err := f.eachID(ctx, func(_ int, id *ID) {
				if b := bucket(id); b >= from && b < to {
					ids = append(ids, *id)
				}
			})
			if err != nil {
				return "", err
			}
		}
		slices.SortFunc(ids, ID.Compare)
		for i := 1; i < len(ids); i++ {
			if ids[i] == ids[i-1] {
				return "", f.twice()
			}
		}
		addIDs(h, ids)
		from = to
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// twice is the error of two records with one id.
func (f *File) twice() error {
	return fault.New(fault.Usage, "reading the cohort "+f.Path, "a unique_id is there twice", "give the file that tokeniser run wrote, once")
}

// Notes says what is unlike the cohort that the tokeniser wrote, for the
// report's warnings. digest is that of the ids that are there.
func (f *File) Notes(digest string) (notes []Note) {
	m := f.Manifest
	if digest != m.RowsDigest {
		notes = append(notes, Note{"cohort_rows_changed",
			fmt.Sprintf("%s: its rows are not those the tokeniser wrote (%d rows, %d in the manifest); links are found among the rows that are there", m.SourceDataset, f.rows, m.Rows)})
	}
	if f.Rounded {
		notes = append(notes, Note{"cohort_tags_rounded",
			m.SourceDataset + ": a tool stored its tags as floating point, so tags are compared by their 53 leading bits; rewrite with nullable integers to keep all 64"})
	}
	return notes
}

// Fold is a token's two halves, one laid over the other: of two different
// tokens, which look random, they are equal with probability 2^-128. The zero
// Fold is a missing token.
type Fold [2]uint64

// ReadTokens reads the tokens of all records, in file order.
func (f *File) ReadTokens(ctx context.Context) ([]Fold, error) {
	folds := make([]Fold, f.rows)
	err := f.eachToken(ctx, func(i int, value []byte) {
		folds[i] = Fold{binary.LittleEndian.Uint64(value) ^ binary.LittleEndian.Uint64(value[16:]), binary.LittleEndian.Uint64(value[8:]) ^ binary.LittleEndian.Uint64(value[24:])}
		if folds[i] == (Fold{}) {
			folds[i][0] = ^uint64(0)
		}
	})
	return folds, err
}

// EachToken calls f with every record's token, in file order, where it has one.
func (f *File) eachToken(ctx context.Context, each func(i int, value []byte)) error {
	c := f.column(ColumnToken)
	return inPieces(ctx, f.rows, func(from, n int) error {
		return c.bytes(n, func(i int, value []byte) error {
			if value == nil {
				return nil
			}
			if len(value) != TokenBytes {
				return wrongWidth(ColumnToken, len(value), TokenBytes)
			}
			each(from+i, value)
			return nil
		})
	})
}

func wrongWidth(column string, bytes, want int) error {
	return fault.New(fault.Usage, "reading column "+column, fmt.Sprintf("a value has %d bytes instead of %d", bytes, want), giveOurs)
}

// ReadWholeTokens reads the tokens of all records as they are; of a record
// without one it is nil.
func (f *File) ReadWholeTokens(ctx context.Context) ([]*[TokenBytes]byte, error) {
	tokens := make([]*[TokenBytes]byte, f.rows)
	err := f.eachToken(ctx, func(i int, value []byte) {
		token := [TokenBytes]byte(value)
		tokens[i] = &token
	})
	return tokens, err
}

// TagValues is a column of tags; Value is 0 where Present is false.
type TagValues struct {
	Value   []int64
	Present []bool
}

// ReadTags reads one column of tags, in file order. rounded reduces each to
// what floating point leaves of it, so that the cohort can be compared with one
// to which that happened.
func (f *File) ReadTags(ctx context.Context, name string, rounded bool) (TagValues, error) {
	tags := TagValues{Value: make([]int64, f.rows), Present: make([]bool, f.rows)}
	c := f.column(name)
	err := inPieces(ctx, f.rows, func(from, n int) error {
		return c.int64s(n, func(i int, value int64, ok bool) error {
			if ok && rounded {
				value = Round(value)
			}
			tags.Value[from+i], tags.Present[from+i] = value, ok
			return nil
		})
	})
	return tags, err
}
