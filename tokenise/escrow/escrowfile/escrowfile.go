// Package escrowfile is the file NAME.escrow, in which a run of the tokeniser leaves,
// for the region's store, whose the tokens of a cohort are: each token once, beside the
// number it is of, sealed to the key holder (specification (j)). docs/formats.md has its
// bytes.
//
// It is read as a stream and held to its own digest: one that was cut off, joined or
// changed is refused. The digest is not keyed. Whoever can write the file can put
// envelopes into it that open to nothing, and none that open to the wrong person: the key
// holder computes the token of what it finds in one.
package escrowfile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"tarn/keys"
	"tarn/keys/escrow"
)

// Magic begins every file; a version follows.
const Magic = "TNES"

const version = 1

// Sizes in bytes of what a file is made of.
const (
	headSize  = 8
	keyIDSize = 16
	batchSize = 16 + escrow.EncSize
	itemSize  = keys.TokenSize + 4 + 4 + SealedSize
	sumSize   = sha256.Size
)

// SealedSize is the length in bytes of a sealed number.
const SealedSize = escrow.SealedSize

const (
	// blockItems is the most items that follow a count.
	blockItems = 4096
	// MaxBatches bounds the batches of a file, which are in memory while it is read: 4.7 MB.
	MaxBatches = 4096
)

// Header is what a file's items have in common.
type Header struct {
	escrow.Context
	// At is when the items were sealed, to the millisecond: of two envelopes to different
	// keys the later one is to the newer key.
	At      time.Time
	Batches []Batch
}

// Batch is the encapsulated key of a batch.
type Batch struct {
	ID  [16]byte
	Enc []byte // escrow.EncSize bytes
}

// Item is a token, and whose it is.
type Item struct {
	Token  [keys.TokenSize]byte
	Batch  uint32 // index in Header.Batches
	Index  uint32 // in the batch
	Sealed [SealedSize]byte
}

// ErrOther says that a file is none of this format, or of a later version.
var ErrOther = errors.New("escrow file: it is none, or a later version wrote it")

// ErrDamaged says that a file is not as it was written.
var ErrDamaged = errors.New("escrow file: it is damaged or cut off")

var errOrder = errors.New("escrow file: tokens are not in order, or an item has no batch")

// check refuses a header that could not be read again.
func (h *Header) check() error {
	id, err := hex.DecodeString(h.HolderKeyID)
	if err != nil || len(id) != keyIDSize || hex.EncodeToString(id) != h.HolderKeyID || !keys.ValidName(h.Project) || !keys.ValidName(h.Domain) ||
		h.TokenEpoch == 0 || h.TokenEpoch > 0xffff || len(h.Batches) > MaxBatches || h.At.UnixMilli() < 0 || h.At.Year() > 9999 {
		return errors.New("escrow file: a project, domain, epoch, key or number of batches is none")
	}
	for i := range h.Batches {
		if len(h.Batches[i].Enc) != escrow.EncSize {
			return errors.New("escrow file: an encapsulated key has another length")
		}
	}
	return nil
}

// Writer writes a file, item by item. It keeps no more than a block.
type Writer struct {
	out     io.Writer
	sum     hash.Hash
	batches uint32
	block   []byte // a count, and items
	last    [keys.TokenSize]byte
	count   uint64
}

// NewWriter begins a file.
func NewWriter(out io.Writer, h *Header) (*Writer, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	w := &Writer{out: out, sum: sha256.New(), batches: uint32(len(h.Batches))}
	b := append([]byte(Magic), version, 0, 0, 0)
	b = keys.AppendLP(b, keys.Text(h.Project), keys.Text(h.Domain))
	b = binary.BigEndian.AppendUint32(b, h.TokenEpoch)
	b, err := hex.AppendDecode(b, []byte(h.HolderKeyID))
	if err != nil {
		return nil, err
	}
	b = binary.BigEndian.AppendUint64(b, uint64(h.At.UnixMilli()))
	b = binary.BigEndian.AppendUint32(b, w.batches)
	for _, batch := range h.Batches {
		b = append(append(b, batch.ID[:]...), batch.Enc...)
	}
	w.block = make([]byte, 4, 4+blockItems*itemSize)
	return w, w.write(b)
}

func (w *Writer) write(b []byte) error {
	w.sum.Write(b)
	_, err := w.out.Write(b)
	return err
}

// Append writes an item. Tokens come in ascending order, each once.
func (w *Writer) Append(item *Item) error {
	if item.Batch >= w.batches || w.count > 0 && bytes.Compare(w.last[:], item.Token[:]) >= 0 {
		return errOrder
	}
	w.last = item.Token
	w.count++
	w.block = append(w.block, item.Token[:]...)
	w.block = binary.BigEndian.AppendUint32(w.block, item.Batch)
	w.block = binary.BigEndian.AppendUint32(w.block, item.Index)
	w.block = append(w.block, item.Sealed[:]...)
	if len(w.block) < cap(w.block) {
		return nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	if len(w.block) == 4 {
		return nil
	}
	binary.BigEndian.PutUint32(w.block, uint32((len(w.block)-4)/itemSize))
	err := w.write(w.block)
	w.block = w.block[:4]
	return err
}

// Finish ends the file. It is then for the caller to put it on the disk.
func (w *Writer) Finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.write(binary.BigEndian.AppendUint64(make([]byte, 4, 12), w.count)); err != nil {
		return err
	}
	_, err := w.out.Write(w.sum.Sum(nil))
	return err
}

// Count returns how many items were written.
func (w *Writer) Count() uint64 { return w.count }

// Reader reads a file. Until Next has returned io.EOF nothing says that the file is as it
// was written: see [Check].
type Reader struct {
	in     *bufio.Reader
	sum    hash.Hash
	header Header
	block  []byte
	items  []Item
	last   [keys.TokenSize]byte
	count  uint64
	short  bool // the block before was not full, and so the last
	ended  bool
}

// NewReader reads the header. The error is [ErrOther], [ErrDamaged] or in's.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, 1<<18), sum: sha256.New()}
	b, err := r.next(headSize)
	if errors.Is(err, ErrDamaged) || err == nil && (string(b[:4]) != Magic || b[4] != version || b[5]|b[6]|b[7] != 0) {
		return nil, ErrOther
	}
	if err != nil {
		return nil, err
	}
	for _, text := range []*string{&r.header.Project, &r.header.Domain} {
		if b, err = r.next(2); err != nil {
			return nil, err
		}
		if b, err = r.next(int(binary.BigEndian.Uint16(b))); err != nil {
			return nil, err
		}
		*text = string(b)
	}
	if b, err = r.next(4 + keyIDSize + 8 + 4); err != nil {
		return nil, err
	}
	r.header.TokenEpoch = binary.BigEndian.Uint32(b)
	r.header.HolderKeyID = hex.EncodeToString(b[4:][:keyIDSize])
	r.header.At = time.UnixMilli(int64(binary.BigEndian.Uint64(b[4+keyIDSize:]))).UTC()
	batches := binary.BigEndian.Uint32(b[4+keyIDSize+8:])
	if batches > MaxBatches {
		return nil, ErrDamaged
	}
	for range batches {
		if b, err = r.next(batchSize); err != nil {
			return nil, err
		}
		r.header.Batches = append(r.header.Batches, Batch{ID: [16]byte(b), Enc: bytes.Clone(b[16:])})
	}
	if r.header.check() != nil {
		return nil, ErrDamaged
	}
	return r, nil
}

// next returns the next n bytes, valid until the following call.
func (r *Reader) next(n int) ([]byte, error) {
	if cap(r.block) < n {
		r.block = make([]byte, n)
	}
	b := r.block[:n]
	if _, err := io.ReadFull(r.in, b); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, ErrDamaged
	} else if err != nil {
		return nil, fmt.Errorf("reading an escrow file: %w", err)
	}
	r.sum.Write(b)
	return b, nil
}

// Header returns what the items have in common.
func (r *Reader) Header() *Header { return &r.header }

// Next returns the next items, valid until the following call, or io.EOF at the end of a
// file that is as it was written.
func (r *Reader) Next() ([]Item, error) {
	if r.ended {
		return nil, io.EOF
	}
	b, err := r.next(4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(b)
	switch {
	case n == 0:
		return nil, r.end()
	case n > blockItems || r.short:
		return nil, ErrDamaged
	}
	r.short = n < blockItems
	if b, err = r.next(int(n) * itemSize); err != nil {
		return nil, err
	}
	r.items = r.items[:0]
	for ; len(b) > 0; b = b[itemSize:] {
		item := Item{Token: [keys.TokenSize]byte(b), Batch: binary.BigEndian.Uint32(b[keys.TokenSize:]), Index: binary.BigEndian.Uint32(b[keys.TokenSize+4:]),
			Sealed: [SealedSize]byte(b[keys.TokenSize+8:])}
		if item.Batch >= uint32(len(r.header.Batches)) || r.count > 0 && bytes.Compare(r.last[:], item.Token[:]) >= 0 {
			return nil, ErrDamaged
		}
		r.last = item.Token
		r.count++
		r.items = append(r.items, item)
	}
	return r.items, nil
}

// end reads what follows the last block: io.EOF where all is right.
func (r *Reader) end() error {
	b, err := r.next(8)
	if err != nil {
		return err
	}
	right := binary.BigEndian.Uint64(b) == r.count
	want := r.sum.Sum(nil)
	if b, err = r.next(sumSize); err != nil {
		return err
	}
	if !right || subtle.ConstantTimeCompare(b, want) != 1 {
		return ErrDamaged
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		return ErrDamaged
	}
	r.ended = true
	return io.EOF
}

// Count returns how many items were read so far.
func (r *Reader) Count() uint64 { return r.count }

// Check reads a whole file, and returns its header and the number of its items.
func Check(in io.Reader) (*Header, uint64, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, 0, err
	}
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return r.Header(), r.Count(), nil
		} else if err != nil {
			return nil, 0, err
		}
	}
}
