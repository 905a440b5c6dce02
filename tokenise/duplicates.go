package tokenise

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"tarn/tokenise/reason"
	"tarn/tokenise/spill"
)

// maxDuplicates is the number of duplicates that are held in memory, 33 bytes
// each.
const maxDuplicates = 1 << 20

// duplicates are the rows whose id an earlier row has, by their place in the
// cohort and by their number.
type duplicates struct {
	folder string
	limit  int
	places [][packedPlace]byte
	chunks []*spill.Chunk
}

// Sections of a chunk of duplicates.
const (
	sectionPlaces  = iota // places, sorted
	sectionNumbers        // row number, unique_id, sorted
)

func (d *duplicates) add(entry []byte) error {
	var place [packedPlace]byte
	appendPlace(place[:0], entry)
	d.places = append(d.places, place)
	if len(d.places) < d.limit {
		return nil
	}
	return d.flush()
}

// flush writes what is in memory.
func (d *duplicates) flush() error {
	if len(d.places) == 0 {
		return nil
	}
	path := filepath.Join(d.folder, fmt.Sprintf("duplicates-%06d", len(d.chunks)))
	w, err := spill.Create(path)
	if err != nil {
		return err
	}
	defer w.Abort()
	w.Begin()
	slices.SortFunc(d.places, func(a, b [packedPlace]byte) int { return bytes.Compare(a[:], b[:]) })
	for i := range d.places {
		if err := w.Append(d.places[i][:]); err != nil {
			return err
		}
	}
	w.Begin()
	slices.SortFunc(d.places, func(a, b [packedPlace]byte) int { return bytes.Compare(a[packedNumber:], b[packedNumber:]) })
	var record []byte
	for i := range d.places {
		p := &d.places[i]
		record = append(append(record[:0], p[packedNumber:]...), p[packedID:packedNumber]...)
		if err := w.Append(record); err != nil {
			return err
		}
	}
	if err := w.Commit(nil); err != nil {
		return err
	}
	chunk, err := spill.Open(path)
	if err != nil {
		return err
	}
	d.chunks, d.places = append(d.chunks, chunk), d.places[:0]
	return nil
}

// byPlace gives the duplicates' places in the order of the cohort.
func (d *duplicates) byPlace(ctx context.Context) (*spill.Merger, error) {
	return spill.Merge(ctx, d.chunks, sectionPlaces, d.folder)
}

// byNumber gives the duplicates as events in the order of the input.
func (d *duplicates) byNumber(ctx context.Context) (*duplicateEvents, error) {
	m, err := spill.Merge(ctx, d.chunks, sectionNumbers, d.folder)
	return &duplicateEvents{Merger: m}, err
}

type duplicateEvents struct {
	*spill.Merger
	event event
}

// next returns the next event, valid until the following call, or nil.
func (d *duplicateEvents) next() (*event, error) {
	record, err := d.Next()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d.event = event{number: int64(binary.BigEndian.Uint64(record)), refused: true, hasID: true,
		problem: reason.Problem{Field: "unique_id", Code: reason.UniqueIDDuplicate}}
	copy(d.event.id[:], record[8:])
	return &d.event, nil
}
