package leak

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// maxInner bounds what is taken out of one compressed stream: what is looked at is
// Tarn's own, but a bomb must not end the search.
const maxInner = 256 << 20

// unwrap gives the inside of every encoding that some bytes could be in.
func unwrap(data []byte, found func(name string, inner []byte)) {
	if isParquet(data) {
		for name, inner := range parquetParts(data) {
			found(name, inner)
		}
	}
	if inner := wide(data); len(inner) > 0 {
		found("utf-16", inner)
	}
	if bytes.IndexByte(data, '%') >= 0 {
		if inner := unescape(data, "%", 2); inner != nil {
			found("url", inner)
		}
	}
	if bytes.Contains(data, []byte(`\u`)) {
		if inner := unescape(data, `\u`, 4); inner != nil {
			found("json", inner)
		}
	}
	if bytes.Contains(data, []byte(`\x`)) {
		if inner := unescape(data, `\x`, 2); inner != nil {
			found("escaped", inner)
		}
	}
	for _, inner := range texts(data, 4, minBase64, &base64Alphabet, decodeBase64) {
		found("base64", inner)
	}
	for _, inner := range texts(data, 2, minHex, &hexAlphabet, decodeHex) {
		found("hex", inner)
	}
	compressed(data, "\x1f\x8b\x08", func(from []byte) []byte {
		r, err := gzip.NewReader(bytes.NewReader(from))
		if err != nil {
			return nil
		}
		r.Multistream(false)
		return readable(r)
	}, func(inner []byte) { found("gzip", inner) })
	compressed(data, "\x28\xb5\x2f\xfd", func(from []byte) []byte {
		r, err := zstd.NewReader(bytes.NewReader(from), zstd.WithDecoderConcurrency(1), zstd.IgnoreChecksum(true))
		if err != nil {
			return nil
		}
		defer r.Close()
		return readable(r)
	}, func(inner []byte) { found("zstd", inner) })
}

func isParquet(data []byte) bool { return bytes.HasPrefix(data, []byte("PAR1")) }

// readable returns what can be read before the stream ends, or fails: the end of a
// stream that was cut off is no reason not to look at its beginning.
func readable(r io.Reader) []byte {
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(r, maxInner)); err != nil && errors.Is(err, io.ErrShortBuffer) {
		return nil
	}
	return b.Bytes()
}

// compressed gives the inside of every stream that begins with some bytes.
func compressed(data []byte, magic string, inside func([]byte) []byte, found func([]byte)) {
	for at := 0; ; {
		next := bytes.Index(data[at:], []byte(magic))
		if next < 0 {
			return
		}
		at += next
		if inner := inside(data[at:]); len(inner) > 0 {
			found(inner)
		}
		at += len(magic)
	}
}

// minWide is how many wide characters make a text.
const minWide = 6

// wide returns the ASCII of what is in UTF-16 or UTF-32 of either byte order: runs of
// printable characters with one or three zero bytes between them, divided by ends of
// lines.
//
//go:norace
func wide(data []byte) (inner []byte) {
	printable := func(i int) bool { return i < len(data) && data[i] >= ' ' && data[i] < 0x7f }
	for i := 0; i < len(data); i++ {
		if !printable(i) || i+1 >= len(data) || data[i+1] != 0 {
			continue
		}
		step := 2
		if i+4 < len(data) && data[i+2]|data[i+3] == 0 && printable(i+4) {
			step = 4
		}
		start, at := len(inner), i
		for ; printable(at); at += step {
			inner = append(inner, data[at])
			if gap := data[min(at+1, len(data)):min(at+step, len(data))]; bytes.Count(gap, []byte{0}) < step-1 {
				break
			}
		}
		if len(inner)-start < minWide {
			inner = inner[:start]
			continue
		}
		inner = append(inner, '\n')
		i = max(i, at-1)
	}
	return inner
}

// around is how much of what stands around an escaped character belongs to it.
const around = 64

// unescape replaces each mark that so many hexadecimal digits follow by the
// character. It returns what stands around these, divided by ends of lines.
func unescape(data []byte, mark string, digits int) (inner []byte) {
	done := 0 // up to where data were copied
	for at := 0; ; {
		next := bytes.Index(data[at:], []byte(mark))
		if next < 0 {
			break
		}
		at += next
		end := at + len(mark) + digits
		if end > len(data) {
			break
		}
		code, err := strconv.ParseUint(string(data[at+len(mark):end]), 16, 32)
		if err != nil {
			at += len(mark)
			continue
		}
		if at-done > 2*around {
			if len(inner) > 0 {
				inner = append(append(inner, data[done:done+around]...), '\n')
			}
			done = at - around
		}
		inner = append(inner, data[done:at]...)
		if digits == 2 {
			inner = append(inner, byte(code))
		} else {
			inner = utf8.AppendRune(inner, rune(code))
		}
		at, done = end, end
	}
	if len(inner) == 0 {
		return nil
	}
	return append(inner, data[done:min(done+around, len(data))]...)
}

const (
	minBase64 = 10 // characters: an NHS number has 14, eight bytes 11, a postcode 10
	minHex    = 16 // characters: eight bytes
)

// alphabet says of each byte whether it is in it.
type alphabet [256]bool

func newAlphabet(characters string) (a alphabet) {
	for i := range len(characters) {
		a[characters[i]] = true
	}
	return a
}

const alphanumerics = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var (
	base64Alphabet = newAlphabet(alphanumerics + "+/-_")
	hexAlphabet    = newAlphabet("0123456789ABCDEFabcdef")
)

// texts decodes each run of an alphabet, of some length at least, from its first
// character on, from its second, and so on for so many alignments. Ends of lines inside
// a run do not count. What is decoded of the runs is divided by ends of lines.
//
//go:norace
func texts(data []byte, alignments, least int, in *alphabet, decode func([]byte) []byte) [][]byte {
	inner := make([][]byte, alignments)
	var run []byte
	flush := func() {
		for alignment := range inner {
			if len(run)-alignment < least {
				break
			}
			if decoded := decode(run[alignment:]); len(decoded) > 0 {
				inner[alignment] = append(append(inner[alignment], decoded...), '\n')
			}
		}
		run = run[:0]
	}
	for _, c := range data {
		switch {
		case in[c]:
			run = append(run, c)
		case len(run) > 0 && c != '\n' && c != '\r':
			flush()
		}
	}
	flush()
	return slices.DeleteFunc(inner, func(text []byte) bool { return len(text) == 0 })
}

func decodeBase64(run []byte) []byte {
	run = bytes.ReplaceAll(bytes.ReplaceAll(run, []byte("-"), []byte("+")), []byte("_"), []byte("/"))
	if len(run)%4 == 1 {
		run = run[:len(run)-1]
	}
	decoded := make([]byte, base64.RawStdEncoding.DecodedLen(len(run)))
	n, err := base64.RawStdEncoding.Decode(decoded, run)
	if err != nil {
		return nil
	}
	return decoded[:n]
}

func decodeHex(run []byte) []byte {
	decoded := make([]byte, len(run)/2)
	if _, err := hex.Decode(decoded, run[:len(run)/2*2]); err != nil {
		return nil
	}
	return decoded
}
