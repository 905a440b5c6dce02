package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tarn/tokenise/online"
	"tarn/tokenise/online/wire"
)

// formatOf returns the form that a Content-Type names: of any other character set than
// UTF-8 none.
func formatOf(contentType []byte) (wire.Format, bool) {
	if f, ok := wire.OfMediaType(string(contentType)); ok {
		return f, true
	}
	media, parameters, err := mime.ParseMediaType(string(contentType))
	if err != nil || parameters["charset"] != "" && !strings.EqualFold(parameters["charset"], "utf-8") {
		return 0, false
	}
	return wire.OfMediaType(media)
}

// accepted returns the form of the answer: the one of the request where it is as welcome
// as any, else the one that is most welcome (RFC 9110 section 12.5.1).
func accepted(accept []byte, in wire.Format) (wire.Format, bool) {
	if len(accept) == 0 || string(accept) == "*/*" {
		return in, true
	}
	ranges := weighted(string(accept))
	best, quality := in, qualityOf(in, ranges)
	for _, f := range wire.Formats {
		if q := qualityOf(f, ranges); q > quality {
			best, quality = f, q
		}
	}
	return best, quality > 0
}

// choice is one member of a list with weights.
type choice struct {
	name    string
	quality float64
}

// weighted reads a list with weights, such as text/csv;q=0.5, */*. What is not of that
// form is left out.
func weighted(list string) (all []choice) {
	for one := range strings.SplitSeq(list, ",") {
		name, rest, _ := strings.Cut(one, ";")
		c := choice{name: strings.ToLower(strings.TrimSpace(name)), quality: 1}
		for parameter := range strings.SplitSeq(rest, ";") {
			key, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			if strings.EqualFold(key, "q") {
				q, err := strconv.ParseFloat(value, 64)
				if err != nil || !(q >= 0 && q <= 1) {
					q = 0
				}
				c.quality = q
			}
		}
		if c.name != "" {
			all = append(all, c)
		}
	}
	return all
}

// qualityOf returns how welcome a form is: what names it most exactly counts.
func qualityOf(f wire.Format, ranges []choice) float64 {
	media := f.MediaType()
	kind, _, _ := strings.Cut(media, "/")
	exact, quality := 0, 0.
	for _, r := range ranges {
		rank := 0
		switch r.name {
		case media:
			rank = 3
		case kind + "/*":
			rank = 2
		case "*/*":
			rank = 1
		}
		if rank > exact {
			exact, quality = rank, r.quality
		}
	}
	return quality
}

// askedIn reads a list of what is asked for.
func askedIn(a *online.Asked, list string) bool {
	for word := range strings.SplitSeq(list, ",") {
		if !wire.Ask(a, strings.TrimSpace(word)) {
			return false
		}
	}
	return true
}

// coding is how bytes are packed: a name of RFC 9110 section 8.4.1, empty for none.
type coding string

// The codings.
const (
	plain    coding = ""
	gzipped  coding = "gzip"
	zstdized coding = "zstd"
)

// packedFrom is from how many bytes on an answer is packed, where that is asked for.
const packedFrom = 1 << 10

// codingOf reads a Content-Encoding.
func codingOf(header []byte) (coding, bool) {
	switch strings.ToLower(strings.TrimSpace(string(header))) {
	case "", "identity":
		return plain, true
	case "gzip", "x-gzip":
		return gzipped, true
	case "zstd":
		return zstdized, true
	}
	return plain, false
}

// acceptedCoding returns how the answer is packed: zstd before gzip, where both are as
// welcome, and not at all where neither is named.
func acceptedCoding(header []byte) coding {
	if len(header) == 0 {
		return plain
	}
	best, quality := plain, 0.
	for _, c := range weighted(string(header)) {
		is, ok := codingOf([]byte(c.name))
		if ok && is != plain && (c.quality > quality || c.quality == quality && quality > 0 && is == zstdized) {
			best, quality = is, c.quality
		}
	}
	return best
}

// Pools of what packs and unpacks. A decoder that unpacks a whole body at once takes no
// more memory than it is allowed, whatever the body says of itself.
var (
	gzipReaders sync.Pool
	gzipWriters = sync.Pool{New: func() any {
		w, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
		if err != nil {
			panic("httpapi: there is such a level")
		}
		return w
	}}
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(4), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic("httpapi: there are such options")
		}
		return e
	})
)

// unpack appends what a body holds, of at most limit bytes.
func unpack(c coding, to, body []byte, limit int) ([]byte, error) {
	var r io.Reader
	switch c {
	case gzipped:
		known, _ := gzipReaders.Get().(*gzip.Reader)
		if known == nil {
			known = new(gzip.Reader)
		}
		defer gzipReaders.Put(known)
		if err := known.Reset(bytes.NewReader(body)); err != nil {
			return to, err
		}
		r = known
	default:
		d, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(max(limit, 1<<20))))
		if err != nil {
			return to, err
		}
		defer d.Close()
		r = d
	}
	to, err := readAll(r, to, limit+1, func(bytes int, _ bool) error {
		if bytes > limit {
			return errTooLarge
		}
		return nil
	}, func(int) error { return nil })
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = errTooLarge
	}
	return to, err
}

// pack packs an answer.
func pack(c coding, body []byte) ([]byte, error) {
	if c == zstdized {
		return zstdEncoder().EncodeAll(body, make([]byte, 0, len(body)/2)), nil
	}
	w := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(w)
	var out bytes.Buffer
	out.Grow(len(body) / 2)
	w.Reset(&out)
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
