package tokenise

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/linkage/cohort"
	"tarn/tokenise/escrow"
	"tarn/tokenise/escrow/escrowfile"
	"tarn/tokenise/spill"
)

// A row's envelope is made where its number is at hand, in memory, and only what is sealed
// waits in a chunk: the index in its batch and the sealed number, 30 bytes. A packed row
// has the batch before them. Each part of a run, up to an interruption, has a batch of its
// own; a chunk's note has what the batch is known by.
const (
	sealedBytes = 4 + escrowfile.SealedSize
	packedSeal  = 4 + sealedBytes
)

// sealing seals the numbers of one part of a run. It may be shared by goroutines.
type sealing struct {
	mu    sync.Mutex
	batch *escrow.Batch
	err   error // of the first number that could not be sealed

	number uint32 // of the batch among those of the run
}

// noteBatch is the batch of a chunk, in its note.
type noteBatch struct {
	ID  []byte `json:"id"`
	Enc []byte `json:"enc"`
}

// beginSealing begins the batch of this part of a run, of a project that has an escrow.
func (s *setting) beginSealing(c *checkpoint) error {
	if s.recipient == nil {
		return nil
	}
	batch, err := s.recipient.NewBatch(s.Rand)
	if err != nil {
		return fault.Wrap(fault.Internal, "sealing numbers to the key holder", err, "")
	}
	s.sealing = &sealing{batch: batch, number: uint32(len(c.batches()))}
	return nil
}

// seal appends the sealed number of a row to dst, and zeros where it has none.
func (e *sealing) seal(dst []byte, token [keys.TokenSize]byte, digits nhsnumber.Number) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst, index, err := e.batch.Seal(dst, token, digits)
	if err != nil {
		e.err = err
		return append(dst, make([]byte, escrowfile.SealedSize)...)
	}
	binary.BigEndian.PutUint32(dst[at:], index)
	return dst
}

// note returns what a chunk's note says of the batch. The error is why a number was not
// sealed: nothing may be kept then.
func (e *sealing) note() (*noteBatch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return nil, fault.Wrap(fault.Internal, "sealing numbers to the key holder", e.err, "run again with --resume")
	}
	return &noteBatch{ID: e.batch.ID[:], Enc: e.batch.Enc}, nil
}

// batches returns the batches of the run so far, as rows number them.
func (c *checkpoint) batches() (all []escrowfile.Batch) {
	for _, note := range c.notes {
		b := note.Batch
		if b == nil || len(b.ID) != 16 || len(all) > 0 && bytes.Equal(all[len(all)-1].ID[:], b.ID) {
			continue
		}
		all = append(all, escrowfile.Batch{ID: [16]byte(b.ID), Enc: b.Enc})
	}
	return all
}

// maxEnvelopes is the number of envelopes that are held in memory, 66 bytes each.
const maxEnvelopes = 1 << 18

// envelopes are those of the rows that are in the cohort, until they are sorted by token.
type envelopes struct {
	folder string
	limit  int
	items  []escrowfile.Item
	chunks []*spill.Chunk
}

// add adds the envelope of a packed row that has a token.
func (e *envelopes) add(packed []byte) error {
	sealed := packed[len(packed)-packedSeal:]
	e.items = append(e.items, escrowfile.Item{
		Token: [cohort.TokenBytes]byte(packed[packedToken+1:]), Batch: binary.BigEndian.Uint32(sealed),
		Index: binary.BigEndian.Uint32(sealed[4:]), Sealed: [escrowfile.SealedSize]byte(sealed[8:]),
	})
	if len(e.items) < e.limit {
		return nil
	}
	return e.flush()
}

// flush writes what is in memory, of each token one.
func (e *envelopes) flush() error {
	if len(e.items) == 0 {
		return nil
	}
	path := filepath.Join(e.folder, fmt.Sprintf("escrow-%06d", len(e.chunks)))
	w, err := spill.Create(path)
	if err != nil {
		return err
	}
	defer w.Abort()
	w.Begin()
	slices.SortFunc(e.items, func(a, b escrowfile.Item) int { return bytes.Compare(a.Token[:], b.Token[:]) })
	var record []byte
	for i := range e.items {
		item := &e.items[i]
		if i > 0 && item.Token == e.items[i-1].Token {
			continue
		}
		record = append(record[:0], item.Token[:]...)
		record = binary.BigEndian.AppendUint32(record, item.Batch)
		record = binary.BigEndian.AppendUint32(record, item.Index)
		if err := w.Append(append(record, item.Sealed[:]...)); err != nil {
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
	e.chunks, e.items = append(e.chunks, chunk), e.items[:0]
	return nil
}

// escrowOutput is NAME.escrow while it is written.
type escrowOutput struct {
	pending *keys.PendingFile
	writer  *escrowfile.Writer
}

func (o *outputs) openEscrow(batches []escrowfile.Batch) (err error) {
	doing := "writing " + o.Escrow
	if len(batches) > escrowfile.MaxBatches {
		return fault.New(fault.Usage, doing, fmt.Sprintf("the run was interrupted more than %d times", escrowfile.MaxBatches), "run again without --resume")
	}
	o.escrow = &escrowOutput{}
	if o.escrow.pending, err = keys.NewFile(o.Escrow); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	o.escrow.writer, err = escrowfile.NewWriter(o.escrow.pending, &escrowfile.Header{Context: o.recipient.Context, At: o.Wall(), Batches: batches})
	return err
}

// writeEscrow writes the envelopes by token, of each token one.
func (o *outputs) writeEscrow(ctx context.Context, e *envelopes) error {
	if err := e.flush(); err != nil {
		return err
	}
	// Whatever else was merged is read by now: a merge's files may have its names.
	merged, err := spill.Merge(ctx, e.chunks, 0, e.folder)
	if err != nil {
		return err
	}
	defer merged.Close()
	var item escrowfile.Item
	for any := false; ; any = true {
		record, err := merged.Next()
		if errors.Is(err, io.EOF) {
			if err := o.escrow.writer.Finish(); err != nil {
				return err
			}
			return o.escrow.pending.Sync()
		}
		if err != nil {
			return err
		}
		token := [cohort.TokenBytes]byte(record)
		if any && token == item.Token {
			continue
		}
		rest := record[cohort.TokenBytes:]
		item = escrowfile.Item{Token: token, Batch: binary.BigEndian.Uint32(rest), Index: binary.BigEndian.Uint32(rest[4:]), Sealed: [escrowfile.SealedSize]byte(rest[8:])}
		if err := o.escrow.writer.Append(&item); err != nil {
			return err
		}
	}
}

func (e *escrowOutput) commit(path string) error {
	if err := e.pending.CloseAtomicallyReplace(); err != nil {
		return fault.Wrap(fault.Internal, "writing "+path, err, "free space on the disk, then run again with --resume")
	}
	return nil
}

func (e *escrowOutput) abort() {
	if e.pending != nil {
		_ = e.pending.Cleanup() // nothing was committed, or nothing is left
	}
}

// escrowed returns how many tokens the escrow has that an earlier run left, if it is whole
// and sealed as this run would seal it.
func (s *setting) escrowed() (tokens int64, complete bool) {
	f, err := os.Open(s.Escrow)
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }() // opened for reading
	h, n, err := escrowfile.Check(f)
	return int64(n), err == nil && h.Context == s.recipient.Context
}

// findRecipient finds to whom numbers are sealed, if to anybody.
func (s *setting) findRecipient() (err error) {
	if s.recipient, err = escrow.RecipientOf(s.Project); err == nil && s.recipient != nil && s.Escrow == "" {
		err = fault.New(fault.Internal, "encoding a table", "the project has an escrow, and there is no name for its file", "")
	}
	return err
}
