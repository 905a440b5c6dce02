// Package clk encodes records as clkhash does: it makes, bit for bit, the
// cryptographic linkage keys (CLKs) that clkhash 0.18.3 makes of the same
// records, linkage schema (version 3) and secret, and refuses the records that
// clkhash refuses. Where clkhash differs from its documentation, so does this.
//
// CLKs are Bloom filters of whole records, keyed by one secret. They are here
// for those who have linked with them before: who holds the filters, or a
// sample of known pairs, can find out who is in them, and nothing hardens them.
package clk

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	"tarn/tokenise/reason"
)

// Encoder encodes records of one schema under one secret. It is immutable and
// may be shared; each goroutine encodes with a [Worker] of its own.
type Encoder struct {
	schema *Schema
	get    func() []featureKeys // behind a closure as in Secret
}

// NewEncoder derives the keys of a schema from a secret.
func NewEncoder(s *Schema, secret Secret) (*Encoder, error) {
	keys, err := s.deriveKeys(secret)
	if err != nil {
		return nil, fmt.Errorf("deriving keys: %w", err)
	}
	return &Encoder{schema: s, get: func() []featureKeys { return keys }}, nil
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (e *Encoder) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (e *Encoder) LogValue() slog.Value { return slog.StringValue(redacted) }

// DefaultCacheBytes is the memory in which a worker keeps positions of tokens
// and filters of values that it has seen, 32 MiB. More makes it no faster on names, dates and
// addresses: what is seen rarely is made anew as fast as memory is read.
const DefaultCacheBytes = 32 << 20

// Worker encodes records one at a time without allocating. It is not for
// concurrent use. What it holds is as private as the records.
type Worker struct {
	schema   *Schema
	features []featureWorker
	filter   []byte
	problems []reason.Problem
	touched  byte // means nothing; it keeps reads that nothing needs
}

// NewWorker returns a worker with caches of about so many bytes; 0 or less is
// [DefaultCacheBytes]. What is encoded does not depend on it.
func (e *Encoder) NewWorker(cacheBytes int) *Worker {
	s := e.schema
	if cacheBytes <= 0 {
		cacheBytes = DefaultCacheBytes
	}
	w := &Worker{schema: s, filter: make([]byte, filterBytes(s.workLength()))}
	shared := newCaches(s, cacheBytes)
	for i := range s.features {
		if f := &s.features[i]; !f.ignored {
			keys := func() *featureKeys { return &e.get()[i] }
			w.features = append(w.features, featureWorker{
				normaliser: newNormaliser(f), caches: shared, column: uint16(i), hasher: newHasher(f, s.workLength(), keys),
				direct: newDirect(f, s.workLength(), cacheBytes/16*14/len(s.features)), cached: f.cachedBits(s.workLength()),
			})
		}
	}
	return w
}

// Format implements [fmt.Formatter]; it prints a fixed text for every verb.
func (w *Worker) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements [slog.LogValuer] with a fixed text.
func (w *Worker) LogValue() slog.Value { return slog.StringValue(redacted) }

// Encode returns the CLK of a record whose values are those of the schema's
// features, ignored ones included: ceil(Bits/8) bytes, the first bit the most
// significant of the first byte. A record that clkhash refuses has no CLK, but
// what is wrong with it, by feature. Both are valid until the next call.
func (w *Worker) Encode(values []string) ([]byte, []reason.Problem) {
	w.problems = w.problems[:0]
	if len(values) != len(w.schema.features) {
		return nil, append(w.problems, reason.Problem{Code: reason.RowMalformed})
	}
	clear(w.filter)
	w.lookUp(values)
	for i := range w.features {
		f := &w.features[i]
		var filter []byte
		var code reason.Code
		if f.looked {
			filter, code = f.encode(values[f.column])
		} else {
			code = f.addTo(w.filter, values[f.column])
		}
		if code != "" {
			w.problems = append(w.problems, reason.Problem{Field: f.identifier, Code: code})
			continue
		}
		or(w.filter, filter)
	}
	if len(w.problems) > 0 {
		return nil, w.problems
	}
	return w.fold(), nil
}

// lookUp finds the places of a record's values, one step for all of them after
// the other: the processor waits for all memory at once then.
func (w *Worker) lookUp(values []string) {
	for i := range w.features {
		f := &w.features[i]
		f.lookUp(values[f.column])
	}
	for i := range w.features {
		if f := &w.features[i]; f.looked {
			f.place = f.values.find(f.hash)
		}
	}
	for i := range w.features {
		if f := &w.features[i]; f.looked {
			w.touched += f.values.touch(f.place)
		}
	}
}

// or sets the bits of a filter in another of the same size, in whole words.
func or(to, from []byte) {
	little := binary.LittleEndian
	for len(to) >= 32 && len(from) >= 32 { // takes half the time of words one by one
		little.PutUint64(to, little.Uint64(to)|little.Uint64(from))
		little.PutUint64(to[8:], little.Uint64(to[8:])|little.Uint64(from[8:]))
		little.PutUint64(to[16:], little.Uint64(to[16:])|little.Uint64(from[16:]))
		little.PutUint64(to[24:], little.Uint64(to[24:])|little.Uint64(from[24:]))
		to, from = to[32:], from[32:]
	}
	for len(to) >= 8 && len(from) >= 8 {
		little.PutUint64(to, little.Uint64(to)|little.Uint64(from))
		to, from = to[8:], from[8:]
	}
}

// fold halves the filter as often as the schema says, each time to the XOR of
// its halves, and returns what is left of it.
func (w *Worker) fold() []byte {
	for length := w.schema.workLength(); length > w.schema.length; length /= 2 {
		foldOnce(w.filter, length/2)
	}
	return w.filter[:(w.schema.length+7)/8]
}

// foldOnce replaces the first half of a filter, of so many bits, by the XOR of
// both; bits behind it in its last byte become 0.
func foldOnce(filter []byte, half int) {
	if half%8 == 0 {
		subtle.XORBytes(filter, filter[:half/8], filter[half/8:half/4])
		return
	}
	for at := range half {
		right := half + at
		if filter[right/8]<<(right%8)&0x80 != 0 {
			filter[at/8] ^= 0x80 >> (at % 8)
		}
	}
	filter[half/8] &^= 0xff >> (half % 8)
}
