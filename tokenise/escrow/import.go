package escrow

import (
	"bytes"
	"context"
	"errors"
	"io"

	"tarn/tokenise/escrow/escrowfile"
	"tarn/tokenise/regionstore"
)

// Counts says what became of the items of a file.
type Counts struct {
	New      uint64 // tokens that had no envelope
	Replaced uint64 // tokens whose envelope was to an older key, or damaged
	Known    uint64 // the others: what is kept stays
}

// Import keeps the items of a file that was checked ([escrowfile.Check]), of any project.
// Where a token has an envelope already it stays, unless the file's is to another key of
// the key holder and was sealed later. keep false only counts. What was kept before an
// error stays, and is known the next time. progress, which may be nil, gets the items so
// far.
func (k *Keeper) Import(ctx context.Context, file *escrowfile.Reader, keep bool, progress func(items uint64)) (c Counts, err error) {
	h := file.Header()
	kept := make([]bool, len(h.Batches))
	for {
		items, err := file.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		now := c
		var changes []regionstore.Change
		for at := range items {
			take, err := k.takes(h, &items[at], &now)
			if err != nil {
				return c, err
			}
			if !take || !keep {
				continue
			}
			of := items[at].Batch
			if !kept[of] {
				record, err := k.imported(h, &h.Batches[of])
				if err != nil {
					return c, err
				}
				kept[of] = true
				changes = append(changes, record)
			}
			i := item{batch: h.Batches[of].ID, index: items[at].Index, sealed: items[at].Sealed}
			changes = append(changes, regionstore.Change{Kind: regionstore.KindEscrow, Name: itemName(nil, h.Domain, h.TokenEpoch, &items[at].Token), Value: i.encode()})
		}
		if len(changes) > 0 {
			if err := k.store.Commit(ctx, changes); err != nil {
				return c, err
			}
		}
		c = now
		if progress != nil {
			progress(file.Count())
		}
		if err := ctx.Err(); err != nil {
			return c, err
		}
	}
}

// ErrBatch says that a file has a batch by the id of another that is kept: nothing that a
// run wrote does.
var ErrBatch = errors.New("escrow: another batch has this id")

// imported returns the record of a file's batch. The items that are kept already of
// another batch would not open under it.
func (k *Keeper) imported(h *escrowfile.Header, from *escrowfile.Batch) (regionstore.Change, error) {
	b := batch{Context: h.Context, at: h.At, enc: from.Enc}
	switch there, err := k.batch(from.ID); {
	case err == nil && (there.Context != b.Context || !bytes.Equal(there.enc, b.enc)):
		return regionstore.Change{}, ErrBatch
	case err != nil && !errors.Is(err, regionstore.ErrDamaged):
		return regionstore.Change{}, err
	}
	return batchChange(from.ID, &b)
}

// takes reports whether an item of a file goes into the store, and counts it.
func (k *Keeper) takes(h *escrowfile.Header, i *escrowfile.Item, c *Counts) (bool, error) {
	_, b, err := k.find(h.Domain, h.TokenEpoch, &i.Token)
	switch {
	case errors.Is(err, regionstore.ErrNotFound):
		c.New++
	case errors.Is(err, regionstore.ErrDamaged) || err == nil && later(h, &b):
		c.Replaced++
	case err != nil:
		return false, err
	default:
		c.Known++
		return false, nil
	}
	return true, nil
}

// later reports whether a file's envelopes go before one that is kept.
func later(h *escrowfile.Header, b *batch) bool {
	return b.HolderKeyID != h.HolderKeyID && h.At.After(b.at)
}

// Tokens returns how many tokens of all projects have an envelope.
func (k *Keeper) Tokens(ctx context.Context) (uint64, error) {
	return k.store.Count(ctx, regionstore.KindEscrow)
}
