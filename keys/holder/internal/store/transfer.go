package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// Content says what a stream of records holds, so that it is known for whole
// before any of it is used.
type Content struct {
	Generation uint64   `json:"generation"`
	Sequence   uint64   `json:"sequence"`
	Count      uint64   `json:"count"`
	SHA256     string   `json:"sha256"` // of the stream, hex
	Tombstones []string `json:"tombstones"`
}

// maxRecord bounds a record in a stream, in bytes.
const maxRecord = 4 << 20

// Export writes every record, in clear, by kind and name: the caller encrypts.
// Each is its length (u32, big-endian), LP(kind, name) and its value. Changes
// may be written meanwhile; the stream holds none of them.
func (s *Store) Export(ctx context.Context, w io.Writer) (Content, error) {
	// One read transaction sees one state, ledger included.
	var records []Change
	var l ledger
	err := s.envelopes(ctx, func(at place, envelope []byte) error {
		key, value, err := s.sealer.open(at, envelope)
		switch {
		case err != nil:
			return err
		case key == ledgerKey:
			return keys.DecodeStrict(value, &l)
		}
		records = append(records, Change{key, value})
		return nil
	})
	if err != nil {
		return Content{}, fault.New(fault.Internal, "reading the store for a backup", "a record cannot be read", "run: keyholder fsck")
	}
	sortRecords(records)
	sum := sha256.New()
	to := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	for _, r := range records {
		frame := keys.LP(keys.Text(r.Key.Kind), keys.Text(r.Key.Name))
		frame = append(frame, r.Value...)
		_, err = to.Write(binary.BigEndian.AppendUint32(nil, uint32(len(frame))))
		if err == nil {
			_, err = to.Write(frame)
		}
		clear(frame)
		clear(r.Value)
		if err != nil {
			return Content{}, err
		}
	}
	if err := to.Flush(); err != nil {
		return Content{}, err
	}
	return Content{
		Generation: s.options.Generation, Sequence: l.Sequence, Count: uint64(len(records)), SHA256: hex.EncodeToString(sum.Sum(nil)), Tombstones: notNil(l.Tombstones),
	}, nil
}

// Stream is an exported stream that was read to its end and is whole.
type Stream struct {
	content Content
	records []Change
	anchor  secret.Key
}

// ErrStream says that a stream is not the one that its content describes.
var ErrStream = errors.New("store: the records are not those of the backup's manifest: it was cut off or changed")

// ReadStream reads a stream and holds it to its content.
func ReadStream(r io.Reader, want Content) (*Stream, error) {
	sum := sha256.New()
	from := bufio.NewReaderSize(io.TeeReader(r, sum), 1<<16)
	s := &Stream{content: want}
	for {
		var size [4]byte
		if _, err := io.ReadFull(from, size[:]); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, ErrStream
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxRecord {
			return nil, ErrStream
		}
		frame := make([]byte, n)
		if _, err := io.ReadFull(from, frame); err != nil {
			return nil, ErrStream
		}
		key, value, err := splitRecord(frame)
		if err != nil {
			return nil, ErrStream
		}
		if key == anchorKey && len(value) == secret.Size {
			s.anchor = secret.New([secret.Size]byte(value))
		}
		s.records = append(s.records, Change{key, value})
	}
	if uint64(len(s.records)) != want.Count || hex.EncodeToString(sum.Sum(nil)) != want.SHA256 || !s.anchor.Valid() {
		return nil, ErrStream
	}
	return s, nil
}

// Wrote reports whether the deployment of these records wrote a mark.
func (s *Stream) Wrote(m Mark) bool { return m.Verify(s.anchor) }

// Get returns a record's value, nil where there is none.
func (s *Stream) Get(key Key) []byte {
	for _, r := range s.records {
		if r.Key == key {
			return bytes.Clone(r.Value)
		}
	}
	return nil
}

// Restore makes a store of a stream, in an empty folder, and replaces the
// anchor. change says of each record whether it is kept, and as what.
func (s *Stream) Restore(ctx context.Context, o Options, tombstones []string, change func(Key, []byte) (keep bool, value []byte, err error)) (*Store, error) {
	var records []Change
	for _, r := range s.records {
		if r.Key == anchorKey {
			records = append(records, r)
			continue
		}
		keep, value, err := change(r.Key, r.Value)
		if err != nil {
			return nil, fmt.Errorf("restoring: %w", err)
		}
		if keep {
			records = append(records, Change{r.Key, value})
		}
	}
	from := State{Sequence: s.content.Sequence, Generation: o.Generation, Tombstones: s.content.Tombstones}
	return fill(ctx, o, s.anchor, from, tombstones, records, false)
}

// Sign signs a backup's manifest, with the deployment's key for that.
func (s *Store) Sign(manifest []byte) []byte { return ed25519.Sign(signingKey(s.anchor), manifest) }

// Signed reports whether a manifest was signed by this signer, a public key in
// hex as marks have it.
func Signed(signer string, manifest, signature []byte) bool {
	key, err := hex.DecodeString(signer)
	return err == nil && len(key) == ed25519.PublicKeySize && ed25519.Verify(key, manifest, signature)
}
