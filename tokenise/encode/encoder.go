// Package encode turns normalised demographics into Bloom-filter encodings and
// keyed tags, exactly as docs/encoding.md specifies: keys by record, positions
// by AES-CMAC, diffusion and pad. Two implementations that follow the text
// give the same bytes.
package encode

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"strings"

	"tarn/keys"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/tokenise/demographics"
)

// Encoder encodes records of one project under one key. It is safe for
// concurrent use; the work is done by Workers.
type Encoder struct {
	profile  *Profile
	project  secret.Key // K_p
	mac      secret.MAC // K_p
	prefixes [][]byte   // of each field's tag
	// diffusions draw the tables of each field; nil where it has none.
	diffusions []*diffusion
	fixed      *recordKeys
	dates      *dateCache
}

// NewEncoder returns the encoder of a profile under K_enc of (project,
// encodingEpoch).
func NewEncoder(p *Profile, encodingKey secret.Key, project string, encodingEpoch uint32) (*Encoder, error) {
	return NewCachedEncoder(p, encodingKey, project, encodingEpoch, 0)
}

// NewCachedEncoder returns an encoder that keeps the keys and tables of so many dates of
// birth at most; of a century's where dates is 0. It encodes the same, whatever it keeps.
func NewCachedEncoder(p *Profile, encodingKey secret.Key, project string, encodingEpoch uint32, dates int) (*Encoder, error) {
	e := &Encoder{profile: p}
	digest := p.Digest()
	e.project = encodingKey.Derive(keys.LP(keys.Text("tarn/encoding/v1"), keys.Text(project), keys.U32(encodingEpoch), digest[:]))
	e.mac = e.project.MAC()
	for i := range p.Encoding.Fields {
		e.prefixes = append(e.prefixes, e.tagPrefix(i))
		var d *diffusion
		if f := p.Encoding.Fields[i]; !f.Tag() && p.Encoding.Diffusion > 0 {
			d = newDiffusion(f.Bits, p.Encoding.Diffusion)
		}
		e.diffusions = append(e.diffusions, d)
	}
	if p.Encoding.RecordKey == KeyedByProject {
		var err error
		e.fixed, err = e.deriveKeys(e.project, secret.NewHasher())
		return e, err
	}
	if dates == 0 {
		dates = p.Encoding.cachedDates()
	}
	e.dates = newDateCache(dates)
	return e, nil
}

// Warm makes the keys and tables of the dates from newest back, until as many are kept
// as may be, or the context ends, whose error it returns. Whoever encodes meanwhile
// makes those that it needs itself.
func (e *Encoder) Warm(ctx context.Context, newest demographics.Date) error {
	if e.dates == nil {
		return nil
	}
	hasher := secret.NewHasher()
	for date := newest; date.Year >= firstCachedYear && e.dates.free.Load() > 0; date = date.DayBefore() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := e.keysFor(date, hasher); err != nil {
			return err
		}
	}
	return nil
}

// Profile returns the encoder's profile.
func (e *Encoder) Profile() *Profile { return e.profile }

// Encoded is an encoded record; its slices align with the columns of
// Profile.Layout. Encode reuses them.
type Encoded struct {
	Blocks  []cohort.Tag
	Filters [][]byte // nil is missing
	Tags    []cohort.Tag
	buffers [][]byte
}

// Worker encodes records one after another, without allocating once its
// scratch memory has grown. It is not safe for concurrent use.
type Worker struct {
	encoder  *Encoder
	hasher   *secret.Hasher
	filter   []uint64
	diffused []byte // of the filter as far as it is made, one bit a byte
	block    [aes.BlockSize]byte
	mac      [aes.BlockSize]byte
	token    []byte
	message  []byte

	// What each field was last encoded with, its diffusion table copied. The
	// tables of all dates are hundreds of megabytes: one is read once, from end to
	// end, and not from memory at random for each record of its date.
	near   []fieldKeys
	nearOf []*fieldKeys

	// What set works on: the field that fill is making.
	keys  *fieldKeys
	field *Field
	add   func(token []byte)
}

// NewWorker returns a worker with scratch memory of its own.
func (e *Encoder) NewWorker() *Worker {
	w := &Worker{encoder: e, hasher: secret.NewHasher()}
	w.add = w.set
	return w
}

// Encode encodes a record into out. A record without a date of birth has no
// encoding under a profile that is keyed by it: everything is missing.
func (w *Worker) Encode(record *Record, out *Encoded) error {
	e := w.encoder
	out.reset(e.profile)
	rk, err := e.keysFor(record.DateOfBirth, w.hasher)
	if err != nil {
		return err
	}
	if !record.DateOfBirth.IsZero() {
		w.blocks(rk, record.DateOfBirth, out.Blocks)
	}
	if rk == nil {
		return nil
	}
	filter, tag := 0, 0
	for i := range e.profile.Encoding.Fields {
		f, value := &e.profile.Encoding.Fields[i], &record.Values[i]
		if f.Tag() {
			if !value.Missing() {
				out.Tags[tag] = w.tag(rk, i, value)
			}
			tag++
			continue
		}
		if !value.Missing() {
			out.Filters[filter] = out.buffers[filter]
			w.fill(w.bring(i, &rk.fields[i]), f, value, out.buffers[filter])
		}
		filter++
	}
	return nil
}

// blocks sets the block tags of a date of birth, which are among its keys where
// records are keyed by it.
func (w *Worker) blocks(rk *recordKeys, date demographics.Date, tags []cohort.Tag) {
	if rk != nil && rk.blocks != nil {
		copy(tags, rk.blocks)
		return
	}
	for i, b := range w.encoder.profile.Encoding.Blocks {
		tags[i] = w.encoder.blockTag(w.hasher, b.Kind, date)
	}
}

func (out *Encoded) reset(p *Profile) {
	if out.buffers == nil {
		for _, f := range p.Layout().Filters {
			out.buffers = append(out.buffers, make([]byte, f.Bytes))
		}
		l := p.Layout()
		out.Filters = make([][]byte, len(l.Filters))
		out.Blocks = make([]cohort.Tag, len(l.Blocks))
		out.Tags = make([]cohort.Tag, len(l.Tags))
	}
	clear(out.Filters)
	clear(out.Blocks)
	clear(out.Tags)
}

// keysFor returns the keys of a date of birth, nil where there is none.
func (e *Encoder) keysFor(date demographics.Date, h *secret.Hasher) (*recordKeys, error) {
	if e.fixed != nil {
		return e.fixed, nil
	}
	if date.IsZero() {
		return nil, nil
	}
	if rk := e.dates.get(date); rk != nil {
		return rk, nil
	}
	rk, err := e.deriveKeys(h.Key(e.mac, keys.LP(keys.Text("record-key"), keys.Text("dob"), keys.Text(date.String()))), h)
	if err != nil {
		return nil, err
	}
	for _, b := range e.profile.Encoding.Blocks {
		rk.blocks = append(rk.blocks, e.blockTag(h, b.Kind, date))
	}
	e.dates.put(date, rk)
	return rk, nil
}

// recordKeys is what a record key K_rec gives for each field.
type recordKeys struct {
	mac    secret.MAC // K_rec
	fields []fieldKeys
	blocks []cohort.Tag // of the date of birth, where that is what the keys are of
}

type fieldKeys struct {
	cipher cipher.Block // AES-256 under K_field
	subkey [aes.BlockSize]byte
	// columns is the diffusion table: of each filter bit, the output bits it is
	// in. Nil where the filter is not diffused.
	columns []uint16
	inputs  int // t
	pad     []byte
	sexes   [len(sexLetters)]cohort.Tag // of a field that is a tag of sex
}

// column returns the output bits that a filter bit is in; none where the filter
// is not diffused.
func (k *fieldKeys) column(position uint16) []uint16 {
	return k.columns[int(position)*k.inputs:][:k.inputs]
}

// sexLetters are all values of a field that is normalised as sex.
const sexLetters = "MFI"

func (e *Encoder) deriveKeys(record secret.Key, h *secret.Hasher) (*recordKeys, error) {
	enc := &e.profile.Encoding
	rk := &recordKeys{mac: record.MAC(), fields: make([]fieldKeys, len(enc.Fields))}
	for i, f := range enc.Fields {
		if f.Tag() {
			if f.Normalise == NormaliseSex {
				for j := range sexLetters {
					rk.fields[i].sexes[j] = tagOf(h, rk.mac, keys.AppendLP(e.tagPrefix(i), keys.Text(sexLetters[j:j+1])))
				}
			}
			continue
		}
		if err := rk.fields[i].derive(h, rk.mac, f, e.diffusions[i], enc.Pad); err != nil {
			return nil, err
		}
	}
	return rk, nil
}

func (k *fieldKeys) derive(h *secret.Hasher, record secret.MAC, f Field, d *diffusion, pad bool) (err error) {
	k.cipher, err = newCipher(h.Key(record, keys.LP(keys.Text("field"), keys.Text(f.Name))))
	if err != nil {
		return err
	}
	k.subkey = cmacSubkey(k.cipher)
	if d != nil {
		k.inputs = d.inputs
		if k.columns, err = d.columns(h.Key(record, keys.LP(keys.Text("diffusion"), keys.Text(f.Name)))); err != nil {
			return err
		}
	}
	if pad {
		stream, err := keystream(h.Key(record, keys.LP(keys.Text("pad"), keys.Text(f.Name))))
		if err != nil {
			return err
		}
		k.pad = make([]byte, f.Bits/8)
		readStream(stream, k.pad)
	}
	return nil
}

func newCipher(key secret.Key) (c cipher.Block, err error) {
	key.Use(func(b *[secret.Size]byte) { c, err = aes.NewCipher(b[:]) })
	if err != nil {
		return nil, fmt.Errorf("encode: setting up AES-256: %w", err)
	}
	return c, nil
}

// cmacSubkey returns K1 of SP 800-38B: the encryption of zeros, doubled in
// GF(2^128). Every message here is one whole block, so K2 is never needed.
func cmacSubkey(c cipher.Block) (k1 [aes.BlockSize]byte) {
	var zero [aes.BlockSize]byte
	c.Encrypt(k1[:], zero[:])
	carry := k1[0] >> 7
	for i := range k1 {
		k1[i] <<= 1
		if i+1 < len(k1) {
			k1[i] |= k1[i+1] >> 7
		}
	}
	k1[len(k1)-1] ^= 0x87 * carry
	return k1
}

// fill makes the output of one filter: tokens to positions, diffusion, pad.
func (w *Worker) fill(k *fieldKeys, f *Field, value *Value, out []byte) {
	w.keys, w.field = k, f
	w.filter = zeroed(w.filter, f.Bits/64)
	if k.columns == nil {
		w.tokens(f, value, w.add)
		for i, word := range w.filter {
			binary.LittleEndian.PutUint64(out[8*i:], word)
		}
	} else {
		w.diffused = zeroed(w.diffused, f.Bits)
		w.tokens(f, value, w.add)
		packBits(out, w.diffused)
	}
	subtle.XORBytes(out, out, k.pad)
}

// bring returns a field's keys with a diffusion table that is the worker's own.
func (w *Worker) bring(field int, k *fieldKeys) *fieldKeys {
	if w.near == nil {
		fields := len(w.encoder.profile.Encoding.Fields)
		w.near, w.nearOf = make([]fieldKeys, fields), make([]*fieldKeys, fields)
	}
	near := &w.near[field]
	if k.columns == nil {
		return k
	}
	if w.nearOf[field] != k {
		columns := append(near.columns[:0], k.columns...)
		*near, w.nearOf[field] = *k, k
		near.columns = columns
	}
	return near
}

func zeroed[T uint64 | byte](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// maxToken is the longest token that enters a block as it is.
const maxToken = 14

// set sets the positions of a token: the words of AES-CMAC(K_field, i || ..)
// for i = 0, 1, .. as u16 little-endian, reduced to the filter's size, which
// is a power of two, so that no position is more likely than another.
func (w *Worker) set(token []byte) {
	k := w.keys
	w.block = [aes.BlockSize]byte{}
	if len(token) <= maxToken {
		w.block[1] = byte(len(token))
		copy(w.block[2:], token)
	} else {
		w.block[1] = 0xff
		copy(w.block[2:], longToken(token))
	}
	subtle.XORBytes(w.block[:], w.block[:], k.subkey[:])
	left := w.field.Hashes
	for i := 0; left > 0; i++ {
		w.block[0] = byte(i) ^ k.subkey[0]
		k.cipher.Encrypt(w.mac[:], w.block[:])
		n := min(left, aes.BlockSize/2)
		w.mark(w.mac[:2*n])
		left -= n
	}
}

// mark sets the positions that words, u16 little-endian, give in the filter,
// and turns the output bits that each new one is in. Whether a position is new
// is as good as random, so it is a factor and not a branch.
func (w *Worker) mark(words []byte) {
	k, filter, diffused := w.keys, w.filter, w.diffused
	mask := uint16(w.field.Bits - 1)
	for at := 0; at+1 < len(words); at += 2 {
		position := binary.LittleEndian.Uint16(words[at:]) & mask
		word, shift := &filter[position>>6], position&63
		fresh := byte(^(*word >> shift) & 1) // a filter is a set
		*word |= 1 << shift
		if k.inputs == usualInputs {
			c := (*[usualInputs]uint16)(k.column(position))
			diffused[c[0]] ^= fresh
			diffused[c[1]] ^= fresh
			diffused[c[2]] ^= fresh
			diffused[c[3]] ^= fresh
			diffused[c[4]] ^= fresh
			diffused[c[5]] ^= fresh
			continue
		}
		for _, j := range k.column(position) {
			diffused[j] ^= fresh
		}
	}
}

// usualInputs is t of the preset, for which the loop is written out.
const usualInputs = 6

func tagOf(h *secret.Hasher, key secret.MAC, message []byte) cohort.Tag {
	return cohort.Tag{Value: int64(binary.BigEndian.Uint64(h.Sum(key, message)[:8])), Present: true}
}

// tagPrefix returns LP("tag", field), which a value follows.
func (e *Encoder) tagPrefix(field int) []byte {
	return keys.LP(keys.Text("tag"), keys.Text(e.profile.Encoding.Fields[field].Name))
}

// tag returns HMAC(K_rec, LP("tag", field, value))[0:8].
func (w *Worker) tag(rk *recordKeys, field int, value *Value) cohort.Tag {
	if w.encoder.profile.Encoding.Fields[field].Normalise == NormaliseSex {
		return rk.fields[field].sexes[strings.IndexByte(sexLetters, value.Parts[0][0])]
	}
	w.token = appendTagValue(w.token[:0], value)
	w.message = keys.AppendLP(append(w.message[:0], w.encoder.prefixes[field]...), w.token)
	return tagOf(w.hasher, rk.mac, w.message)
}

// appendTagValue gives the text of a value that is compared whole: a date as
// 2006-01-02, parts joined by one space.
func appendTagValue(dst []byte, value *Value) []byte {
	if !value.Date.IsZero() {
		return append(dst, value.Date.String()...)
	}
	for i, part := range value.Parts {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, part...)
	}
	return dst
}

// blockTag returns HMAC(K_p, LP("block", kind, value))[0:8].
func (e *Encoder) blockTag(h *secret.Hasher, kind string, date demographics.Date) cohort.Tag {
	return tagOf(h, e.mac, keys.LP(keys.Text("block"), keys.Text(kind), keys.Text(date.String())))
}
