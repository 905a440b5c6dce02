package table

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"sort"
	"sync"

	"tarn/keys"
)

// ErrDamaged says that a table, or the document that names the tables, is not what was
// written.
var ErrDamaged = errors.New("table: a relationship table is damaged")

// Table is an open table. It is safe for concurrent use.
type Table struct {
	file    *os.File
	index   []byte
	rows    int64
	perUnit int64
	buffers sync.Pool // of one block each
}

// open opens a table and holds it to its digest, in hex.
func open(path string, key Key, digest string) (t *Table, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close() // opened for reading
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	t = &Table{file: f}
	begin := make([]byte, len(magic))
	trailer := make([]byte, trailerSize)
	if info.Size() < int64(len(magic)+trailerSize) || readFull(f, begin, 0) != nil || readFull(f, trailer, info.Size()-int64(trailerSize)) != nil || string(begin) != magic {
		return nil, ErrDamaged
	}
	sum := sha256.Sum256(trailer)
	if hex.EncodeToString(sum[:]) != digest {
		return nil, ErrDamaged
	}
	return t, t.readIndex(trailer, key, info.Size())
}

// readIndex reads what a trailer says. The trailer is under a digest; that it is held to
// the file's length all the same is for files whose writer was another.
func (t *Table) readIndex(trailer []byte, key Key, size int64) error {
	rest, there := bytes.CutPrefix(trailer, []byte(magic))
	if !there || keyFrom(rest) != key {
		return ErrDamaged
	}
	rest = rest[keySize:]
	rows, perUnit, blocks := binary.BigEndian.Uint64(rest), int64(binary.BigEndian.Uint32(rest[8:])), int64(binary.BigEndian.Uint32(rest[12:]))
	if rows > uint64(size)/rowSize || perUnit < 1 || perUnit > maxBlockRows || blocks > maxIndexed {
		return ErrDamaged
	}
	t.rows, t.perUnit = int64(rows), perUnit
	at := int64(len(magic)) + t.rows*rowSize
	if blocks != (t.rows+perUnit-1)/perUnit || size != at+blocks*entrySize+int64(trailerSize) {
		return ErrDamaged
	}
	t.index = make([]byte, blocks*entrySize)
	if err := readFull(t.file, t.index, at); err != nil {
		return ErrDamaged
	}
	if sum := sha256.Sum256(t.index); !bytes.Equal(sum[:], rest[16:]) {
		return ErrDamaged
	}
	t.buffers.New = func() any { b := make([]byte, perUnit*rowSize); return &b }
	return nil
}

func readFull(f *os.File, b []byte, at int64) error {
	_, err := f.ReadAt(b, at)
	return err
}

// Rows returns how many rows there are.
func (t *Table) Rows() int64 { return t.rows }

// Close ends reading.
func (t *Table) Close() error { return t.file.Close() }

func (t *Table) blocks() int { return len(t.index) / entrySize }

// first returns the prefix of a block's first row.
func (t *Table) first(block int) []byte { return t.index[block*entrySize:][:prefixSize] }

// read reads a block, which is as it was written, into a buffer.
func (t *Table) read(block int, buffer []byte) ([]byte, error) {
	from := int64(block) * t.perUnit
	b := buffer[:min(t.perUnit, t.rows-from)*rowSize]
	if _, err := t.file.ReadAt(b, int64(len(magic))+from*rowSize); err != nil {
		return nil, ErrDamaged
	}
	if sum := sha256.Sum256(b); !bytes.Equal(sum[:], t.index[block*entrySize+prefixSize:][:sha256.Size]) {
		return nil, ErrDamaged
	}
	return b, nil
}

// each calls f for the rows that begin with a prefix, in order, until f returns false.
func (t *Table) each(ctx context.Context, prefix []byte, f func(*Row) bool) error {
	if t.rows == 0 {
		return nil
	}
	buffer := t.buffers.Get().(*[]byte)
	defer t.buffers.Put(buffer)
	// The last block whose first row comes before the prefix: the rows may begin in it, and
	// begin with the next if not.
	block := max(0, sort.Search(t.blocks(), func(i int) bool { return bytes.Compare(t.first(i), prefix) >= 0 })-1)
	for ; block < t.blocks(); block++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := t.read(block, *buffer)
		if err != nil {
			return err
		}
		n := len(b) / rowSize
		for i := sort.Search(n, func(i int) bool { return bytes.Compare(b[i*rowSize:][:prefixSize], prefix) >= 0 }); i < n; i++ {
			if !bytes.HasPrefix(b[i*rowSize:], prefix) {
				return nil
			}
			if row := rowFrom(b[i*rowSize:][:rowSize]); !f(&row) {
				return nil
			}
		}
		if block+1 < t.blocks() && !bytes.HasPrefix(t.first(block+1), prefix) {
			return nil
		}
	}
	return nil
}

// Related reports whether an organisation has to do with a patient on a day. A patient who
// is not there, and one with whom it has nothing to do, take the same reads.
func (t *Table) Related(ctx context.Context, token [keys.TokenSize]byte, organisation [OrganisationSize]byte, day Day) (related bool, err error) {
	for _, kind := range []Kind{Registered, Other} {
		err = errors.Join(err, t.each(ctx, appendPrefix(nil, &token, kind, &organisation), func(r *Row) bool {
			related = related || r.On(day)
			return true
		}))
	}
	return related && err == nil, err
}

// Practice returns the organisation that a patient is registered with on a day; empty where
// there is none. Where several are, it is the one since the latest day; where these are
// several, none: which of them is right, nobody can tell.
func (t *Table) Practice(ctx context.Context, token [keys.TokenSize]byte, day Day) (code string, err error) {
	var since Day
	several := false
	err = t.each(ctx, append(append([]byte(nil), token[:]...), byte(Registered)), func(r *Row) bool {
		switch {
		case !r.On(day) || code != "" && r.From < since:
		case code == "" || r.From > since:
			code, since, several = r.Code(), r.From, false
		default:
			several = several || r.Code() != code
		}
		return true
	})
	if err != nil || several {
		return "", err
	}
	return code, nil
}

// Check reads every block.
func (t *Table) Check(ctx context.Context) error {
	buffer := make([]byte, t.perUnit*rowSize)
	for block := range t.blocks() {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := t.read(block, buffer)
		if err != nil {
			return err
		}
		if !bytes.Equal(b[:prefixSize], t.first(block)) {
			return ErrDamaged
		}
	}
	return nil
}
