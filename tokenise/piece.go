package tokenise

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/linkage/cohort"
	"tarn/tokenise/encode"
)

// piece is a chunk in memory, before it is encoded.
type piece struct {
	prepared
	note  chunkNote
	order []uint64 // date and index of each row, sorted
}

// encodedPiece is a chunk in memory, ready to be kept.
type encodedPiece struct {
	parts  []encodedPart
	events records
	note   chunkNote

	rows    []sortKey
	entries []sortKey
}

// encodedPart is what one worker made of a piece.
type encodedPart struct {
	rows    []byte // packed rows, of one width each
	entries records
}

// sortKey is the first sixteen bytes of a record as numbers, and the record:
// nearly all comparisons are made without looking at it.
type sortKey struct {
	high, low uint64
	record    []byte
}

func newSortKey(record []byte) sortKey {
	return sortKey{binary.BigEndian.Uint64(record), binary.BigEndian.Uint64(record[8:]), record}
}

func (k sortKey) compare(o sortKey) int {
	if c := cmp.Compare(k.high, o.high); c != 0 {
		return c
	}
	if c := cmp.Compare(k.low, o.low); c != 0 {
		return c
	}
	return bytes.Compare(k.record, o.record)
}

// rowsInRange is the number of rows that a worker takes at a time.
const rowsInRange = 2048

// encodePiece encodes the rows of p, those of one date of birth one after
// another: the date's tables, 12 KB in the default profile, are then in the
// processor's cache, and are made once where memory does not hold all dates'.
func (s *setting) encodePiece(ctx context.Context, p *piece, workers []*rowEncoder, out *encodedPiece) error {
	p.order = p.order[:0]
	for i, date := range p.dates {
		p.order = append(p.order, uint64(date)<<32|uint64(i))
	}
	slices.Sort(p.order)
	text := string(p.rows.bytes) // values are shared as strings
	for len(out.parts) < len(workers) {
		out.parts = append(out.parts, encodedPart{})
	}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for i, w := range workers {
		part := &out.parts[i]
		part.rows = part.rows[:0]
		part.entries.reset()
		group.Go(func() (err error) {
			defer fault.Contain(&err)
			for {
				from := int(next.Add(rowsInRange)) - rowsInRange
				if from >= len(p.order) {
					return nil
				}
				for _, key := range p.order[from:min(from+rowsInRange, len(p.order))] {
					start, end := p.rows.span(int(uint32(key)))
					if err := w.encode(text[start:end], part); err != nil {
						return fault.Wrap(fault.Internal, "encoding a row", err, "")
					}
				}
				if err := ctx.Err(); err != nil {
					return err
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	out.note = p.note
	out.events.reset()
	out.events.add(&p.events)
	return nil
}

// rowEncoder encodes prepared rows; it has scratch memory of its own.
type rowEncoder struct {
	*setting
	encoder *encode.Worker
	record  encode.Record
	encoded encode.Encoded
	row     cohort.Row
	place   [packedPlace]byte
}

func (s *setting) newRowEncoder() *rowEncoder {
	return &rowEncoder{setting: s, encoder: s.encoder.NewWorker()}
}

// encode adds the packed row and the entry of a prepared row to out.
func (w *rowEncoder) encode(prepared string, out *encodedPart) error {
	number := int64(binary.BigEndian.Uint64([]byte(prepared[:preparedID])))
	copy(w.row.UniqueID[:], prepared[preparedID:])
	flags := prepared[preparedFlags]
	length := int(binary.BigEndian.Uint32([]byte(prepared[preparedTexts:][:4])))
	texts := prepared[preparedTexts+4:][:length]
	if flags&flagRefused == 0 {
		w.record.Read(prepared[preparedTexts+4+length:], len(w.Profile.Encoding.Fields))
		if err := w.encoder.Encode(&w.record, &w.encoded); err != nil {
			return err
		}
		w.row.Blocks, w.row.Filters, w.row.Tags = w.encoded.Blocks, w.encoded.Filters, w.encoded.Tags
		w.row.HasToken = flags&flagToken != 0
		copy(w.row.Token[:], prepared[preparedToken:])
		start := len(out.rows)
		out.rows = w.packer.pack(room(out.rows, w.packer.width), &w.row, number, nhsnumber.State(prepared[preparedState]), flags&flagEncoded != 0)
		copy(w.place[:], out.rows[start:])
		if w.packer.sealed && w.row.HasToken {
			last := out.rows[len(out.rows)-packedSeal:]
			binary.BigEndian.PutUint32(last, w.sealing.number)
			copy(last[4:], prepared[preparedSealed:preparedTexts])
		}
	} else {
		w.place = [packedPlace]byte{}
		copy(w.place[packedID:], w.row.UniqueID[:])
		binary.BigEndian.PutUint64(w.place[packedNumber:], uint64(number))
	}
	out.entries.bytes = appendEntry(room(out.entries.bytes, entryRest+length), w.place[:], flags&flagRefused != 0, texts)
	out.entries.end()
	return nil
}

// sort puts rows and entries into the order of a chunk. No two rows, and no two
// entries, are equal: they hold the number of the input row.
func (p *encodedPiece) sort(width int) {
	p.rows, p.entries = p.rows[:0], p.entries[:0]
	for i := range p.parts {
		part := &p.parts[i]
		for rest := part.rows; len(rest) > 0; rest = rest[width:] {
			p.rows = append(p.rows, newSortKey(rest[:width]))
		}
		for j := range part.entries.len() {
			p.entries = append(p.entries, newSortKey(part.entries.at(j)))
		}
	}
	slices.SortFunc(p.rows, sortKey.compare)
	slices.SortFunc(p.entries, sortKey.compare)
}
