package table

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"path/filepath"

	"tarn/keys"
	"tarn/keys/fault"
)

// The layout of a file: the magic, rows in ascending order, an index with the first row's
// prefix and the digest of each block, the trailer. docs/formats.md has the table.
const (
	magic         = "TARNREL1"
	entrySize     = prefixSize + sha256.Size
	trailerSize   = len(magic) + keySize + 8 + 4 + 4 + sha256.Size
	minBlockRows  = 64
	maxIndexed    = 1 << 16 // blocks: the index takes 5 MB at most, however many rows there are
	writeBuffer   = 256 << 10
	maxTableRows  = int64(maxIndexed) * maxBlockRows
	maxBlockRows  = 1 << 16
	maxBlockBytes = maxBlockRows * rowSize
)

// ErrTooMany says that a table would have more rows than it can: 4,294,967,296.
var ErrTooMany = errors.New("table: too many rows for one table")

// Writer writes one table's file.
type Writer struct {
	name    string
	key     Key
	pending *keys.PendingFile
	out     *bufio.Writer
	last    []byte // the row before
	row     []byte
	block   hash.Hash
	index   []byte
	rows    int64
	perUnit int64 // rows of a block
}

// newWriter begins a file of at most so many rows. It has its name when it is committed.
func newWriter(folder, name string, key Key, atMost int64) (*Writer, error) {
	if atMost > maxTableRows {
		return nil, ErrTooMany
	}
	pending, err := keys.NewFile(filepath.Join(folder, name))
	if err != nil {
		return nil, writing(folder, err)
	}
	w := &Writer{name: name, key: key, pending: pending, out: bufio.NewWriterSize(pending, writeBuffer), block: sha256.New(), perUnit: max(minBlockRows, (atMost+maxIndexed-1)/maxIndexed)}
	if _, err := w.out.WriteString(magic); err != nil {
		w.Abort()
		return nil, writing(folder, err)
	}
	return w, nil
}

func writing(folder string, err error) error {
	return fault.Wrap(fault.Internal, "writing a relationship table into "+folder, err, "free space on the disk, or choose a folder that can be written")
}

// ErrOrder says that rows were not given in ascending order.
var ErrOrder = errors.New("table: rows are not in order")

// Append writes a row, which comes after all before it. One that is there already is not
// written again: it reports whether it was new.
func (w *Writer) Append(r *Row) (fresh bool, err error) {
	w.row = r.append(w.row[:0])
	if w.rows > 0 {
		switch order := bytes.Compare(w.row, w.last); {
		case order == 0:
			return false, nil
		case order < 0:
			return false, ErrOrder
		}
	}
	if w.rows%w.perUnit == 0 {
		w.endBlock()
		w.index = append(w.index, w.row[:prefixSize]...)
	}
	w.block.Write(w.row)
	w.rows++
	w.last = append(w.last[:0], w.row...)
	if _, err := w.out.Write(w.row); err != nil {
		return false, writing(filepath.Dir(w.pending.Name()), err)
	}
	return true, nil
}

// endBlock puts the digest of the block before into the index.
func (w *Writer) endBlock() {
	if w.rows > 0 {
		w.index = w.block.Sum(w.index)
		w.block.Reset()
	}
}

// commit ends the file, makes sure that it is on the disk, and gives it its name.
func (w *Writer) commit() (rows int64, digest string, err error) {
	w.endBlock()
	sum := sha256.Sum256(w.index)
	trailer := w.key.append([]byte(magic))
	trailer = binary.BigEndian.AppendUint64(trailer, uint64(w.rows))
	trailer = binary.BigEndian.AppendUint32(trailer, uint32(w.perUnit))
	trailer = binary.BigEndian.AppendUint32(trailer, uint32(len(w.index)/entrySize))
	trailer = append(trailer, sum[:]...)
	_, err = w.out.Write(append(w.index, trailer...))
	if err == nil {
		err = w.out.Flush()
	}
	if err == nil {
		err = w.pending.CloseAtomicallyReplace()
	}
	if err != nil {
		return 0, "", writing(filepath.Dir(w.pending.Name()), err)
	}
	sum = sha256.Sum256(trailer)
	return w.rows, hex.EncodeToString(sum[:]), nil
}

// Abort removes what was written; once the file has its name it does nothing.
func (w *Writer) Abort() { _ = w.pending.Cleanup() }
