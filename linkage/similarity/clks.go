package similarity

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"tarn/keys/fault"
)

const (
	// longestEntry is the most text an entry of a file may be: a filter of
	// 2^17 bits, the most that a linkage schema makes, and its quotes.
	longestEntry = 24 << 10
	// shownEntries is how many entries that are no CLKs an error names.
	shownEntries = 3
)

// ReadCLKs reads a file of CLKs, {"clks": ["base64", ..]}, as clkhash, anonlink
// and `tokeniser run --schema` write it. It is read as a stream: beside the
// filters no more is held than a buffer. most bounds the bytes of the filters.
//
// A file with an entry that is no CLK, or of another width than the first, is
// refused (kind [fault.Usage]), since a row that is left out would make every
// row after it another. The error says which entries these are, counted from 0,
// and never what stands there.
func ReadCLKs(ctx context.Context, path string, most int64, progress func(done, total int64)) (*Set, error) {
	name, err := nameOf(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the CLKs "+path, err, "give a file that this user can read")
	}
	defer func() { _ = f.Close() }() // opened for reading
	size := int64(0)
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return readCLKs(ctx, f, path, name, size, most, progress)
}

// IsCLKs reports whether a file begins as a file of CLKs does, as no Parquet
// file and no folder.
func IsCLKs(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // opened for reading
	first := make([]byte, 512)
	n, _ := io.ReadFull(f, first) // a short file is one, too
	return bytes.HasPrefix(bytes.TrimLeft(first[:n], " \t\r\n"), []byte("{"))
}

// clkReader reads one file of CLKs.
type clkReader struct {
	doing   string
	in      *bufio.Reader
	at      int64 // bytes that were read
	size    int64 // of the file; 0: unknown
	most    int64
	set     *Set
	wrong   int64  // entries that are no CLKs
	shown   string // the first of them
	decoded []byte // longestEntry bytes
}

func readCLKs(ctx context.Context, in io.Reader, path, name string, size, most int64, progress func(done, total int64)) (*Set, error) {
	digest := sha256.New()
	r := &clkReader{doing: "reading the CLKs " + path, in: bufio.NewReaderSize(io.TeeReader(in, digest), longestEntry), size: size, most: most,
		set: &Set{Name: name}, decoded: make([]byte, longestEntry)}
	if err := r.read(ctx, progress); err != nil {
		return nil, err
	}
	if r.wrong > 0 {
		also := ""
		if r.wrong > shownEntries {
			also = ", .."
		}
		return nil, fault.New(fault.Usage, r.doing, fmt.Sprintf("%d of %d entries are no CLKs (%s%s; the first entry is 0)", r.wrong, r.set.rows, r.shown, also),
			"write the file again, or get it again from whoever made it")
	}
	r.set.Words = max(r.set.Words, 1)
	r.set.Digest = hex.EncodeToString(digest.Sum(nil))[:16]
	r.set.count()
	return r.set, nil
}

// malformed is an error of the file's structure, at the last byte that was read.
func (r *clkReader) malformed(wrong string) error {
	return fault.New(fault.Usage, r.doing, fmt.Sprintf("%s (byte %d)", wrong, r.at), `give a file of CLKs: {"clks": ["..", ".."]}`)
}

// nextOrEnd returns the next byte that is no white space, and [io.EOF] at the end.
func (r *clkReader) nextOrEnd() (byte, error) {
	for {
		b, err := r.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return 0, io.EOF
		case err != nil:
			return 0, fault.Wrap(fault.Internal, r.doing, err, "")
		}
		r.at++
		if b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			return b, nil
		}
	}
}

// next is nextOrEnd where the file may not end.
func (r *clkReader) next() (byte, error) {
	b, err := r.nextOrEnd()
	if errors.Is(err, io.EOF) {
		return 0, r.malformed("it ends before its end")
	}
	return b, err
}

func (r *clkReader) expect(want byte, wrong string) error {
	b, err := r.next()
	if err == nil && b != want {
		return r.malformed(wrong)
	}
	return err
}

// text returns what stands between a quote that was read and the next; it is
// valid until the next read.
func (r *clkReader) text() ([]byte, error) {
	text, err := r.in.ReadSlice('"')
	r.at += int64(len(text))
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return nil, r.malformed("an entry is longer than any CLK")
	case errors.Is(err, io.EOF):
		return nil, r.malformed("it ends before its end")
	case err != nil:
		return nil, fault.Wrap(fault.Internal, r.doing, err, "")
	}
	text = text[:len(text)-1]
	if bytes.HasSuffix(text, []byte(`\`)) {
		return nil, r.malformed("there is a quote within a text, and so no base64")
	}
	return text, nil
}

func (r *clkReader) read(ctx context.Context, progress func(done, total int64)) error {
	if err := r.expect('{', "it does not begin with {"); err != nil {
		return err
	}
	if err := r.expect('"', "it has no member"); err != nil {
		return err
	}
	member, err := r.text()
	if err != nil {
		return err
	}
	switch string(member) {
	case "clks":
	case "clknblocks":
		return fault.New(fault.Usage, r.doing, "it has CLKs with blocks, which are not read", "write it without blocking: all pairs are compared")
	default:
		return r.malformed(`its first member is not "clks"`)
	}
	if err := r.expect(':', "there is no : after the member's name"); err != nil {
		return err
	}
	if err := r.expect('[', `member "clks" is no list`); err != nil {
		return err
	}
	if err := r.entries(ctx, progress); err != nil {
		return err
	}
	if err := r.expect('}', `there is something after the list`); err != nil {
		return err
	}
	switch _, err := r.nextOrEnd(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return r.malformed("there is something after the end")
}

// entries reads the list up to its end.
func (r *clkReader) entries(ctx context.Context, progress func(done, total int64)) error {
	for {
		b, err := r.next()
		if err != nil {
			return err
		}
		if b == ']' && r.set.rows == 0 {
			return nil
		}
		if b != '"' {
			return r.malformed(fmt.Sprintf("entry %d is no text", r.set.rows))
		}
		text, err := r.text()
		if err != nil {
			return err
		}
		if err := r.entry(text); err != nil {
			return err
		}
		if r.set.rows%(1<<14) == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if progress != nil {
				progress(r.at, r.size)
			}
		}
		switch b, err := r.next(); {
		case err != nil:
			return err
		case b == ']':
			return nil
		case b != ',':
			return r.malformed(fmt.Sprintf("there is neither , nor ] after entry %d", r.set.rows-1))
		}
	}
}

// entry decodes one entry. Only a file that is too large is an error here:
// entries that are no CLKs are counted.
func (r *clkReader) entry(text []byte) error {
	length := len(text)
	row := r.set.rows
	r.set.rows++
	refuse := func(why string) error {
		if r.wrong++; r.wrong > shownEntries {
			return nil
		}
		if r.wrong > 1 {
			r.shown += ", "
		}
		r.shown += fmt.Sprintf("entry %d %s", row, why)
		return nil
	}
	if bytes.IndexByte(text, '\\') >= 0 { // some writers of JSON write / as \/
		text = bytes.ReplaceAll(text, []byte(`\/`), []byte(`/`))
	}
	if bytes.ContainsAny(text, "\r\n") { // the decoder reads over these
		return refuse("is not base64")
	}
	n, err := base64.StdEncoding.Strict().Decode(r.decoded, text)
	switch {
	case err != nil:
		return refuse("is not base64")
	case n == 0:
		return refuse("is empty")
	case r.set.Bytes == 0:
		r.set.Bytes, r.set.Words = n, (n+7)/8
		if r.size > 0 { // the entries are as long as the first, with two quotes and a comma
			r.set.Bits = make([]uint64, 0, int64(r.set.Words)*min(r.size/int64(length+3)+1, r.most/int64(8*r.set.Words)))
		}
	case n != r.set.Bytes:
		return refuse("is of another width than the first")
	}
	if r.wrong > 0 {
		return nil // the file is refused, and no more need be kept of it
	}
	if int64(8*(len(r.set.Bits)+r.set.Words)) > r.most {
		return fault.New(fault.Usage, r.doing, "its filters do not fit into the memory that may be used", "allow more with --memory")
	}
	clear(r.decoded[n : 8*r.set.Words])
	for w := range r.set.Words {
		r.set.Bits = append(r.set.Bits, binary.LittleEndian.Uint64(r.decoded[8*w:]))
	}
	return nil
}
