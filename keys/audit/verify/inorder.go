package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"tarn/keys/audit/tiles"
)

// ErrChanged says that a log is not what it was when it was verified.
var ErrChanged = errors.New("its entries are not those of its checkpoint")

// InOrder gives the first size entries of a log from the first to the last, one bundle of
// them in memory, and holds them to the root that they had when they were verified: the
// error is [ErrChanged] where they have another, which only the last of them shows. An
// error of visit ends it.
func InOrder(ctx context.Context, log *tiles.Log, size uint64, root tiles.Hash, visit func(index uint64, entry []byte) error) error {
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for first := uint64(0); first < size; first += tiles.Width {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := log.Bundle(first/tiles.Width, size)
		if err != nil {
			return errors.Join(ErrChanged, err)
		}
		for i, entry := range entries {
			if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(entry), nil); err != nil {
				return fmt.Errorf("combining subtrees: %w", err)
			}
			if err := visit(first+uint64(i), entry); err != nil {
				return err
			}
		}
	}
	computed := rfc6962.DefaultHasher.EmptyRoot()
	if size > 0 {
		var err error
		if computed, err = tree.GetRootHash(nil); err != nil {
			return fmt.Errorf("combining subtrees: %w", err)
		}
	}
	if tiles.Hash(computed) != root {
		return ErrChanged
	}
	return nil
}
