package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"tarn/tokenise/reason"
	"tarn/tokenise/source/stream"
)

// decoder makes UTF-8 of the records of CSV.
type decoder struct {
	encoding string // "" while it is not decided
	scratch  []byte
}

// evidence is what the bytes of a table say of its encoding.
type evidence struct {
	utf8       int // sequences of two bytes and more that are UTF-8
	letters    int // bytes that are not, and are letters or quotation marks in Windows-1252
	impossible int // bytes that are not, and are rare or undefined there: signs of yet another encoding
}

// Bounds of what is looked at.
const (
	enoughEvidence = 4096     // sequences
	streamEvidence = 32 << 10 // bytes of what cannot be read twice
)

// verdict returns the encoding. It is Windows-1252 only where next to nothing
// speaks against it, because what is read wrongly is lost in silence, and what
// is refused is not. It holds ISO 8859-1 too, as browsers do: the two differ in
// control characters only.
func (e *evidence) verdict() string {
	if e.letters > 0 && 20*(e.utf8+e.impossible) <= e.letters {
		return EncodingWindows1252
	}
	return EncodingUTF8
}

// add looks at more bytes and returns how many of them it could judge; the
// rest is the beginning of a sequence. last says that nothing comes after.
func (e *evidence) add(b []byte, last bool) (judged int) {
	for {
		judged += asciiPrefix(b[judged:])
		rest := b[judged:]
		if len(rest) == 0 || !last && !utf8.FullRune(rest) {
			return judged
		}
		r, size := utf8.DecodeRune(rest)
		switch c := rest[0]; {
		case r != utf8.RuneError || size > 1:
			e.utf8++
		case c >= 0xc0, c == 0xa0, c >= 0x91 && c <= 0x94:
			e.letters++
		case c < 0xa0 && bytes.IndexByte([]byte("\x85\x8a\x8c\x8e\x95\x96\x97\x9a\x9c\x9e\x9f"), c) < 0:
			e.impossible++
		}
		judged += size
	}
}

func (e *evidence) enough() bool { return e.utf8+e.letters+e.impossible >= enoughEvidence }

// surveyFile reads a file until there is evidence enough. Its streams are
// damaged or whole as they will be when it is read for its rows.
func surveyFile(path string) (string, error) {
	s, err := stream.Open(path, nil, "")
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }() // opened for reading
	var e evidence
	buffer := make([]byte, 256<<10)
	kept := 0
	for {
		n, err := s.Read(buffer[kept:])
		n += kept
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return "", err
		}
		kept = copy(buffer, buffer[e.add(buffer[:n], ended):n])
		if ended || e.enough() {
			return e.verdict(), nil
		}
	}
}

// decide settles the encoding at the first record that depends on it, by that
// record and what comes behind it. It returns the record, which may have moved.
func (d *decoder) decide(record []byte, window *stream.Window) ([]byte, error) {
	record = bytes.Clone(record)
	for len(window.Bytes()) < streamEvidence {
		if err := window.More(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	var e evidence
	e.add(record, true)
	e.add(window.Bytes()[:min(streamEvidence, len(window.Bytes()))], false)
	d.encoding = e.verdict()
	return record, nil
}

// check says why a record, which is not all ASCII, is no text.
func (d *decoder) check(record []byte) reason.Code {
	switch d.encoding {
	case EncodingWindows1252:
		for _, c := range record {
			if c >= 0x80 && charmap.Windows1252.DecodeByte(c) == utf8.RuneError {
				return reason.RowEncoding
			}
		}
		return ""
	case EncodingUTF16LE, EncodingUTF16BE:
		if bytes.ContainsRune(record, utf8.RuneError) {
			return reason.RowEncoding
		}
	}
	if !utf8.Valid(record) {
		return reason.RowEncoding
	}
	return ""
}

// append appends bytes of a record that was checked, as UTF-8.
func (d *decoder) append(to, text []byte) []byte {
	if d.encoding != EncodingWindows1252 {
		return append(to, text...)
	}
	for _, c := range text {
		if c < 0x80 {
			to = append(to, c)
		} else {
			to = utf8.AppendRune(to, charmap.Windows1252.DecodeByte(c))
		}
	}
	return to
}

// asciiPrefix returns how many bytes at the front are ASCII.
func asciiPrefix(b []byte) (n int) {
	for len(b)-n >= 8 && binary.LittleEndian.Uint64(b[n:])&0x8080808080808080 == 0 {
		n += 8
	}
	for n < len(b) && b[n] < 0x80 {
		n++
	}
	return n
}
