// Package stream opens the bytes of a table: of a file or of standard input,
// compressed or not, in UTF-16 or not. What is compressed is found by its first
// bytes, never by a name. A stream that is damaged or ends too early is an
// error and never a short table.
package stream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"tarn/keys/fault"
)

// Compressions.
const (
	Gzip = "gzip" // RFC 1952, of any number of members
	Zstd = "zstd" // RFC 8878, of any number of frames
)

// Character encodings that are undone here. Others are the reader's business.
const (
	UTF16LE = "utf-16le"
	UTF16BE = "utf-16be"
)

// maxWindow is the largest window of a Zstandard frame that is accepted, that
// of zstd --long: it bounds memory.
const maxWindow = 128 << 20

// Stream is the bytes of a table. What was UTF-16 is UTF-8, with U+FFFD for
// what is no UTF-16; a byte order mark stays.
type Stream struct {
	name        string
	file        *os.File // nil for standard input
	raw         *counter
	in          *bufio.Reader
	closeCoder  func()
	compression string
	encoding    string
	size        int64
	begun       fs.FileInfo // the file as it was opened; nil where it is no regular file
}

// Stdin is the path that stands for standard input.
const Stdin = "-"

// Name returns what a path is called in messages.
func Name(path string) string {
	if path == Stdin {
		return "standard input"
	}
	return path
}

// Open opens the file at path, or stdin for Stdin. encoding is UTF16LE,
// UTF16BE, or empty to find UTF-16 by its first bytes; any other leaves the
// bytes as they are. What is wrong with the file is of kind [fault.Usage].
func Open(path string, stdin io.Reader, encoding string) (*Stream, error) {
	s := &Stream{name: Name(path), closeCoder: func() {}}
	in := stdin
	if path != Stdin {
		if err := s.openFile(path); err != nil {
			return nil, err
		}
		in = s.file
	}
	s.raw = &counter{in: in, ended: s.unchanged}
	s.in = bufio.NewReaderSize(s.raw, 64<<10)
	err := s.decompress()
	if err == nil {
		err = s.decode(encoding)
	}
	if err != nil {
		_ = s.Close() // opened for reading
		return nil, err
	}
	return s, nil
}

func (s *Stream) openFile(path string) error {
	next := "give the path of a table that this user can read with --in"
	f, err := os.Open(path)
	if err != nil {
		return fault.Wrap(fault.Usage, "reading "+path, err, next)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fault.New(fault.Usage, "reading "+path, "it is a folder", next)
	} else if err == nil && info.Mode()&os.ModeDevice != 0 {
		err = fault.New(fault.Usage, "reading "+path, "it is a device", next)
	} else if err != nil {
		err = fault.Wrap(fault.Usage, "reading "+path, err, next)
	}
	if err != nil {
		_ = f.Close() // opened for reading
		return err
	}
	s.file = f
	if info.Mode().IsRegular() {
		s.size, s.begun = info.Size(), info
	}
	return nil
}

// others are what is refused by its first bytes, with what to do instead.
var others = []struct{ magic, what, next string }{
	{"PK\x03\x04", "it is a ZIP archive, as Excel workbooks are", "unpack it, or save the sheet as CSV in UTF-8"},
	{"\xd0\xcf\x11\xe0", "it is an Excel or Access file", "save the table as CSV in UTF-8"},
	{"BZh91A", "it is compressed with bzip2", "unpack it, or compress it with gzip or zstd"},
	{"\xfd7zXZ", "it is compressed with xz", "unpack it, or compress it with gzip or zstd"},
	{"7z\xbc\xaf", "it is a 7-Zip archive", "unpack it"},
	{"ARROW1", "it is an Arrow file", "convert it to Parquet"},
}

func (s *Stream) decompress() error {
	magic, err := s.in.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return s.wrap(err)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		s.compression = Gzip
		decoder, err := gzip.NewReader(s.in)
		if err != nil {
			return s.wrap(err)
		}
		s.in = bufio.NewReaderSize(reader{s, decoder}, 64<<10)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(magic) >= 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:4], []byte{0x2a, 0x4d, 0x18}):
		s.compression = Zstd
		decoder, err := zstd.NewReader(s.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return s.wrap(err)
		}
		s.closeCoder = decoder.Close
		s.in = bufio.NewReaderSize(reader{s, decoder}, 64<<10)
	}
	magic, err = s.in.Peek(6)
	for _, o := range others {
		if bytes.HasPrefix(magic, []byte(o.magic)) {
			return fault.New(fault.Usage, "reading "+s.name, o.what, o.next)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return s.wrap(err)
	}
	return nil
}

// sampleBytes are those that UTF-16 is looked for in.
const sampleBytes = 1 << 10

func (s *Stream) decode(encoding string) error {
	if encoding == "" {
		sample, err := s.in.Peek(sampleBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return s.wrap(err)
		}
		encoding = findUTF16(sample)
	}
	order := unicode.LittleEndian
	switch encoding {
	case UTF16LE:
	case UTF16BE:
		order = unicode.BigEndian
	default:
		return nil
	}
	s.encoding = encoding
	s.in = bufio.NewReaderSize(transform.NewReader(s.in, unicode.UTF16(order, unicode.IgnoreBOM).NewDecoder()), 64<<10)
	return nil
}

// findUTF16 returns which UTF-16 a sample is in, by its byte order mark or by
// the zeros that every other byte of a table in a Latin script is; "" where it
// is not.
func findUTF16(sample []byte) string {
	switch {
	case bytes.HasPrefix(sample, []byte{0xff, 0xfe}):
		return UTF16LE
	case bytes.HasPrefix(sample, []byte{0xfe, 0xff}):
		return UTF16BE
	case len(sample) < 4:
		return ""
	}
	var zeros [2]int
	for i, b := range sample {
		if b == 0 {
			zeros[i%2]++
		}
	}
	half := len(sample) / 2
	switch {
	case 10*zeros[0] <= zeros[1] && 4*zeros[1] >= 3*half:
		return UTF16LE
	case 10*zeros[1] <= zeros[0] && 4*zeros[0] >= 3*half:
		return UTF16BE
	}
	return ""
}

// Read implements io.Reader.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.wrap(err)
	}
	return n, err
}

// Peek returns the next n bytes without taking them; fewer where the stream
// ends before. n is at most 64 KiB.
func (s *Stream) Peek(n int) ([]byte, error) {
	b, err := s.in.Peek(n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil {
		err = s.wrap(err)
	}
	return b, err
}

// Compression returns Gzip, Zstd or "".
func (s *Stream) Compression() string { return s.compression }

// Encoding returns UTF16LE or UTF16BE where that was undone, else "".
func (s *Stream) Encoding() string { return s.encoding }

// Size returns the bytes of the file as it lies on the disk; 0 if not known.
func (s *Stream) Size() int64 { return s.size }

// Position returns how many bytes of the file were read, compressed as they
// are.
func (s *Stream) Position() int64 { return s.raw.n }

// Close closes the file.
func (s *Stream) Close() error {
	s.closeCoder()
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// reader marks the errors of a decoder.
type reader struct {
	s  *Stream
	in io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if err != nil && err != io.EOF {
		err = r.s.wrap(err)
	}
	return n, err
}

// wrap makes an error of the operating system one of kind fault.Internal, and
// every other, which a decoder has made, one of kind fault.Usage.
func (s *Stream) wrap(err error) error {
	var known *fault.Error
	var path *fs.PathError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &path), s.compression == "":
		return fault.Wrap(fault.Internal, "reading "+s.name, err, "check the disk or the program that writes the table, then run again")
	}
	return fault.New(fault.Usage, "reading "+s.name, "its "+s.compression+" stream is damaged or ends too early", "compress the table again, or copy the file again; nothing was written")
}

// unchanged refuses a file that has been written to since it was opened: what
// was read of it may be the half of a table.
func (s *Stream) unchanged() error {
	if s.begun == nil || s.file == nil {
		return nil
	}
	now, err := s.file.Stat()
	if err != nil {
		return s.wrap(err)
	}
	if now.Size() != s.begun.Size() || !now.ModTime().Equal(s.begun.ModTime()) {
		return fault.New(fault.Usage, "reading "+s.name, "it was changed while it was read", "copy it, or wait until it is complete, and run again")
	}
	return nil
}

// counter counts what is read, and asks at the end whether it may end there.
type counter struct {
	in    io.Reader
	ended func() error
	n     int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += int64(n)
	if errors.Is(err, io.EOF) {
		if changed := c.ended(); changed != nil {
			err = changed
		}
	}
	return n, err
}

// Detach gives the file away, for reading at any place, and its size. The stream
// is of no use after.
func (s *Stream) Detach() (*os.File, int64) {
	f := s.file
	s.file = nil
	return f, s.size
}
