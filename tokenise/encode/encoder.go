// Package encode turns normalised demographics into Bloom-filter encodings and
// keyed tags, exactly as docs/encoding.md specifies: keys by record, positions
// by AES-CMAC, diffusion and pad. Two implementations that follow the text
// give the same bytes.
package encode

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"tarn/keys"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/tokenise/demographics"
)

// Encoder encodes records of one project under one key. It is safe for
// concurrent use; the work is done by Workers.
type Encoder struct {
	profile *Profile
	project secret.Key // K_p
	fixed   *recordKeys
	dates   *dateCache
}

// NewEncoder returns the encoder of a profile under K_enc of (project,
// encodingEpoch).
func NewEncoder(p *Profile, encodingKey secret.Key, project string, encodingEpoch uint32) (*Encoder, error) {
	e := &Encoder{profile: p}
	digest := p.Digest()
	e.project = encodingKey.Derive(keys.LP(keys.Text("tarn/encoding/v1"), keys.Text(project), keys.U32(encodingEpoch), digest[:]))
	if p.Encoding.RecordKey == KeyedByProject {
		var err error
		e.fixed, err = e.deriveKeys(e.project)
		return e, err
	}
	e.dates = newDateCache(defaultCachedDates)
	return e, nil
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

// Worker encodes records one after another. It is not safe for concurrent
// use.
type Worker struct {
	encoder *Encoder
	filter  []uint64
	block   [aes.BlockSize]byte
	mac     [aes.BlockSize]byte
	token   []byte
	message []byte
}

// NewWorker returns a worker with scratch memory of its own.
func (e *Encoder) NewWorker() *Worker { return &Worker{encoder: e} }

// Encode encodes a record into out. A record without a date of birth has no
// encoding under a profile that is keyed by it: everything is missing.
func (w *Worker) Encode(record *Record, out *Encoded) error {
	p := w.encoder.profile
	out.reset(p)
	rk, err := w.encoder.keysFor(record.DateOfBirth)
	if err != nil {
		return err
	}
	if !record.DateOfBirth.IsZero() {
		for i, b := range p.Encoding.Blocks {
			out.Blocks[i] = w.encoder.blockTag(b.Kind, record.DateOfBirth.String())
		}
	}
	if rk == nil {
		return nil
	}
	filter, tag := 0, 0
	for i := range p.Encoding.Fields {
		f := &p.Encoding.Fields[i]
		value := record.Values[i]
		if f.Tag() {
			if !value.Missing() {
				out.Tags[tag] = w.tag(rk, f, value)
			}
			tag++
			continue
		}
		if !value.Missing() {
			out.Filters[filter] = out.buffers[filter]
			w.fill(&rk.fields[i], f, value, out.buffers[filter])
		}
		filter++
	}
	return nil
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
func (e *Encoder) keysFor(date demographics.Date) (*recordKeys, error) {
	if e.fixed != nil {
		return e.fixed, nil
	}
	if date.IsZero() {
		return nil, nil
	}
	return e.dates.get(date, func() (*recordKeys, error) {
		return e.deriveKeys(e.project.Derive(keys.LP(keys.Text("record-key"), keys.Text("dob"), keys.Text(date.String()))))
	})
}

// recordKeys is what a record key K_rec gives for each field.
type recordKeys struct {
	key    secret.Key // K_rec
	fields []fieldKeys
}

type fieldKeys struct {
	cipher cipher.Block // AES-256 under K_field
	subkey [aes.BlockSize]byte
	rows   []uint16 // diffusion table, t input bits for each output bit
	pad    []byte
}

func (e *Encoder) deriveKeys(record secret.Key) (*recordKeys, error) {
	enc := &e.profile.Encoding
	rk := &recordKeys{key: record, fields: make([]fieldKeys, len(enc.Fields))}
	for i, f := range enc.Fields {
		if f.Tag() {
			continue
		}
		if err := rk.fields[i].derive(record, f, enc); err != nil {
			return nil, err
		}
	}
	return rk, nil
}

func (k *fieldKeys) derive(record secret.Key, f Field, e *Encoding) (err error) {
	k.cipher, err = newCipher(record.Derive(keys.LP(keys.Text("field"), keys.Text(f.Name))))
	if err != nil {
		return err
	}
	k.subkey = cmacSubkey(k.cipher)
	if e.Diffusion > 0 {
		if k.rows, err = diffusionRows(record.Derive(keys.LP(keys.Text("diffusion"), keys.Text(f.Name))), f.Bits, f.Bits, e.Diffusion); err != nil {
			return err
		}
	}
	if e.Pad {
		stream, err := newKeystream(record.Derive(keys.LP(keys.Text("pad"), keys.Text(f.Name))))
		if err != nil {
			return err
		}
		k.pad = make([]byte, f.Bits/8)
		stream.read(k.pad)
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
func (w *Worker) fill(k *fieldKeys, f *Field, value Value, out []byte) {
	words := f.Bits / 64
	if cap(w.filter) < words {
		w.filter = make([]uint64, words)
	}
	w.filter = w.filter[:words]
	clear(w.filter)
	w.tokens(f, value, func(token []byte) { w.set(k, f, token) })
	if k.rows == nil {
		for i, word := range w.filter {
			binary.LittleEndian.PutUint64(out[8*i:], word)
		}
	} else {
		diffuse(out, w.filter, k.rows)
	}
	for i, b := range k.pad {
		out[i] ^= b
	}
}

// maxToken is the longest token that enters a block as it is.
const maxToken = 14

// set sets the positions of a token: the words of AES-CMAC(K_field, i || ..)
// for i = 0, 1, .. as u16 little-endian, reduced to the filter's size, which
// is a power of two, so that no position is more likely than another.
func (w *Worker) set(k *fieldKeys, f *Field, token []byte) {
	w.block = [aes.BlockSize]byte{}
	if len(token) <= maxToken {
		w.block[1] = byte(len(token))
		copy(w.block[2:], token)
	} else {
		w.block[1] = 0xff
		copy(w.block[2:], longToken(token))
	}
	for i := range w.block {
		w.block[i] ^= k.subkey[i]
	}
	mask := uint16(f.Bits - 1)
	left := f.Hashes
	for i := 0; left > 0; i++ {
		w.block[0] = byte(i) ^ k.subkey[0]
		k.cipher.Encrypt(w.mac[:], w.block[:])
		for at := 0; at < aes.BlockSize && left > 0; at += 2 {
			position := binary.LittleEndian.Uint16(w.mac[at:]) & mask
			w.filter[position>>6] |= 1 << (position & 63)
			left--
		}
	}
}

// diffuse sets bit j of out to the exclusive or of the filter's bits that row
// j names.
func diffuse(out []byte, filter []uint64, rows []uint16) {
	bits := len(out) * 8
	t := len(rows) / bits
	for base := 0; base < bits; base += 8 {
		var b byte
		for j := range 8 {
			var x uint64
			for _, p := range rows[(base+j)*t : (base+j+1)*t] {
				x ^= filter[p>>6] >> (p & 63)
			}
			b |= byte(x&1) << j
		}
		out[base>>3] = b
	}
}

func tagOf(key secret.Key, message []byte) (tag cohort.Tag) {
	key.Derive(message).Use(func(b *[secret.Size]byte) {
		tag = cohort.Tag{Value: int64(binary.BigEndian.Uint64(b[:8])), Present: true}
	})
	return tag
}

// tag returns HMAC(K_rec, LP("tag", field, value))[0:8].
func (w *Worker) tag(rk *recordKeys, f *Field, value Value) cohort.Tag {
	w.token = appendTagValue(w.token[:0], value)
	w.message = keys.AppendLP(w.message[:0], keys.Text("tag"), keys.Text(f.Name), w.token)
	return tagOf(rk.key, w.message)
}

// appendTagValue gives the text of a value that is compared whole: a date as
// 2006-01-02, parts joined by one space.
func appendTagValue(dst []byte, value Value) []byte {
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
func (e *Encoder) blockTag(kind, value string) cohort.Tag {
	return tagOf(e.project, keys.LP(keys.Text("block"), keys.Text(kind), keys.Text(value)))
}
