// Package spill keeps pieces of a long job on disk, so that its memory is
// bounded and a job that was killed goes on where it was.
//
// A chunk is one file of sections of records. It appears under its name only
// when all of it is on the disk, so that one that is there is whole; a section
// that was damaged since is an error when it is read, never a wrong record.
package spill

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/go-json-experiment/json"

	"tarn/keys"
)

// castagnoli is the checksum that processors compute in hardware.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// bufferBytes is the buffer of each open section. A merge of maxFanIn sections
// holds as many of them.
const bufferBytes = 128 << 10

// maxRecord bounds a record, in bytes; a longer one is damage.
const maxRecord = 1 << 24

// magic ends every chunk, after the footer and its length.
const magic = "TARNCHK1"

// ErrDamaged says that a chunk is not what was written.
var ErrDamaged = errors.New("spill: a chunk is damaged")

type footer struct {
	Sections []section `json:"sections"`
	Note     []byte    `json:"note"`
}

type section struct {
	Offset  int64  `json:"offset"`
	Bytes   int64  `json:"bytes"`
	Records int64  `json:"records"`
	CRC     uint32 `json:"crc"`
}

// Writer writes one chunk, section by section.
type Writer struct {
	path    string
	pending *keys.PendingFile
	buffer  []byte // what was not written yet, all of the current section
	footer  footer
	at      int64
	err     error // why the buffer could not be written
}

// Create begins the chunk at path.
func Create(path string) (*Writer, error) {
	pending, err := keys.NewFile(path)
	if err != nil {
		return nil, fmt.Errorf("creating a chunk: %w", err)
	}
	return &Writer{path: path, pending: pending, buffer: make([]byte, 0, 2*bufferBytes)}, nil
}

// Begin ends the section before and begins the next. Sections are numbered
// from 0.
func (w *Writer) Begin() {
	w.flush()
	w.footer.Sections = append(w.footer.Sections, section{Offset: w.at})
}

// Append writes one record of the current section.
func (w *Writer) Append(record []byte) error {
	w.footer.Sections[len(w.footer.Sections)-1].Records++
	w.buffer = append(binary.AppendUvarint(w.buffer, uint64(len(record))), record...)
	if len(w.buffer) >= bufferBytes {
		w.flush()
	}
	return w.err
}

// flush writes the buffer and sums it into the current section.
func (w *Writer) flush() {
	if len(w.buffer) == 0 || w.err != nil {
		return
	}
	s := &w.footer.Sections[len(w.footer.Sections)-1]
	s.CRC = crc32.Update(s.CRC, castagnoli, w.buffer)
	s.Bytes += int64(len(w.buffer))
	w.at += int64(len(w.buffer))
	if _, err := w.pending.Write(w.buffer); err != nil {
		w.err = fmt.Errorf("writing a chunk: %w", err)
	}
	w.buffer = w.buffer[:0]
}

// Commit ends the chunk, with a note of the caller's, makes sure it is on the
// disk and puts it under its name.
func (w *Writer) Commit(note []byte) error {
	if w.flush(); w.err != nil {
		return w.err
	}
	w.footer.Note = note
	b, err := json.Marshal(w.footer)
	if err != nil {
		return fmt.Errorf("writing a chunk: %w", err)
	}
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(b))), magic...)
	if _, err := w.pending.Write(b); err != nil {
		return fmt.Errorf("writing a chunk: %w", err)
	}
	if err := w.pending.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("writing a chunk: %w", err)
	}
	return nil
}

// Abort removes what was written; after Commit it does nothing.
func (w *Writer) Abort() { _ = w.pending.Cleanup() }

// Chunk is a chunk that was committed.
type Chunk struct {
	path   string
	footer footer
}

// Open reads what a chunk says of itself.
func Open(path string) (*Chunk, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a chunk: %w", err)
	}
	defer func() { _ = f.Close() }() // opened for reading
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening a chunk: %w", err)
	}
	const tail = 4 + len(magic)
	b := make([]byte, tail)
	if _, err := f.ReadAt(b, info.Size()-int64(tail)); err != nil || string(b[4:]) != magic {
		return nil, ErrDamaged
	}
	length := int64(binary.BigEndian.Uint32(b))
	if length > info.Size()-int64(tail) {
		return nil, ErrDamaged
	}
	b = make([]byte, length)
	if _, err := f.ReadAt(b, info.Size()-int64(tail)-length); err != nil {
		return nil, ErrDamaged
	}
	c := &Chunk{path: path}
	if err := json.Unmarshal(b, &c.footer); err != nil {
		return nil, ErrDamaged
	}
	return c, nil
}

// Note returns the note the chunk was committed with.
func (c *Chunk) Note() []byte { return c.footer.Note }

// Records returns the number of records of a section.
func (c *Chunk) Records(section int) int64 { return c.footer.Sections[section].Records }

// Reader reads the records of a section in the order they were written.
type Reader struct {
	file   *os.File
	in     *bufio.Reader
	sum    *checksum
	left   int64
	want   uint32
	record []byte
}

// checksum sums what passes.
type checksum struct {
	in  io.Reader
	sum uint32
}

func (c *checksum) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.sum = crc32.Update(c.sum, castagnoli, b[:n])
	return n, err
}

// Reader opens a section.
func (c *Chunk) Reader(section int) (*Reader, error) {
	if section >= len(c.footer.Sections) {
		return nil, ErrDamaged
	}
	s := c.footer.Sections[section]
	f, err := os.Open(c.path)
	if err != nil {
		return nil, fmt.Errorf("reading a chunk: %w", err)
	}
	sum := &checksum{in: io.NewSectionReader(f, s.Offset, s.Bytes)}
	return &Reader{file: f, in: bufio.NewReaderSize(sum, bufferBytes), sum: sum, left: s.Records, want: s.CRC}, nil
}

// Next returns the next record, valid until the following call, or io.EOF
// after the last of a section that is as it was written.
func (r *Reader) Next() ([]byte, error) {
	if r.left == 0 {
		if _, err := r.in.ReadByte(); err != io.EOF || r.sum.sum != r.want {
			return nil, ErrDamaged
		}
		return nil, io.EOF
	}
	r.left--
	n, err := binary.ReadUvarint(r.in)
	if err != nil || n > maxRecord {
		return nil, ErrDamaged
	}
	if uint64(cap(r.record)) < n {
		r.record = make([]byte, n, 2*n)
	}
	r.record = r.record[:n]
	if _, err := io.ReadFull(r.in, r.record); err != nil {
		return nil, ErrDamaged
	}
	return r.record, nil
}

// Close ends reading.
func (r *Reader) Close() error { return r.file.Close() }
