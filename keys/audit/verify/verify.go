// Package verify holds a log to its signed checkpoint, offline: every entry is
// hashed again, and of a log that is not what its checkpoint says the first entry
// that is wrong is named.
package verify

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/sync/errgroup"

	"tarn/keys/audit/tiles"
)

// What a [Finding] can say of an entry.
const (
	Changed    = "changed"      // it is not what was recorded
	Removed    = "removed"      // the entries after it have moved up
	Inserted   = "inserted"     // the entries after it have moved down
	OutOfOrder = "out of order" // it stands where another was recorded
	Missing    = "missing"      // the log ends before it
	Hidden     = "hidden"       // the hashes that would tell which entry are damaged or were made to fit
)

// Finding is the first entry that is wrong.
type Finding struct {
	First uint64 // its index
	// Last is First where that entry is named, and else the last of those among which
	// it is.
	Last uint64
	What string // one of the constants above
}

// Tree is the entries of a log as they are, and what is wrong with them.
type Tree struct {
	Size uint64
	Root tiles.Hash // of the entries as they are
	// First is nil where they are what the checkpoint says.
	First *Finding
}

// bundle is what is kept of 256 entries while a log is read.
type bundle struct {
	root   tiles.Hash // of a whole bundle
	leaves []tiles.Hash
	broken bool // entries are missing or cannot be read
}

// Entries reads the first size entries of a log and holds them to the root of its
// checkpoint. visit, which may be nil, is called for each entry, from several
// goroutines at once, for bundles in any order. progress, which may be nil, is
// called with the entries that were read so far.
func Entries(ctx context.Context, log *tiles.Log, size uint64, root tiles.Hash, visit func(index uint64, entry []byte), progress func(done uint64)) (*Tree, error) {
	count := (size + tiles.Width - 1) / tiles.Width
	bundles := make([]bundle, count)
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	var done atomic.Uint64
	for i := range count {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			entries, err := log.Bundle(i, size)
			b := read(entries, min(tiles.Width, size-i*tiles.Width))
			b.broken = err != nil
			if i+1 < count && !b.broken {
				b.leaves = nil // they can be had again
			}
			bundles[i] = b
			if visit != nil {
				for j, entry := range entries {
					visit(i*tiles.Width+uint64(j), entry)
				}
			}
			if n := done.Add(uint64(len(entries))); progress != nil {
				progress(n)
			}
			return ctx.Err()
		})
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	v := &verifier{log: log, size: size, bundles: bundles}
	t := &Tree{Size: size}
	var err error
	if t.Root, err = v.root(); err != nil {
		return nil, err
	}
	if t.Root == root && !v.broken() {
		return t, nil
	}
	t.First = v.find(root)
	return t, nil
}

// read hashes the entries of a bundle that should have so many. Those that are not
// there have the hash of nothing that can be recorded.
func read(entries [][]byte, want uint64) (b bundle) {
	b.leaves = make([]tiles.Hash, want)
	for j, entry := range entries {
		b.leaves[j] = leafHash(entry)
	}
	if want == tiles.Width {
		b.root = subtree(b.leaves)
	}
	return b
}

func leafHash(entry []byte) tiles.Hash { return tiles.Hash(rfc6962.DefaultHasher.HashLeaf(entry)) }

func node(left, right tiles.Hash) tiles.Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = rfc6962.RFC6962NodeHashPrefix
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// subtree returns the root of 256 hashes.
func subtree(hashes []tiles.Hash) tiles.Hash {
	level := slices.Clone(hashes)
	for len(level) > 1 {
		for j := range len(level) / 2 {
			level[j] = node(level[2*j], level[2*j+1])
		}
		level = level[:len(level)/2]
	}
	return level[0]
}

// verifier knows the hashes of all bundles as they are.
type verifier struct {
	log     *tiles.Log
	size    uint64
	bundles []bundle
	levels  [][]tiles.Hash // [n] are the roots of whole tiles of level n, from n = 0
}

func (v *verifier) broken() bool {
	return slices.ContainsFunc(v.bundles, func(b bundle) bool { return b.broken })
}

// nodes returns how many hashes there are on a level of tiles.
func (v *verifier) nodes(level int) uint64 { return v.size >> (level * layout.TileHeight) }

// root computes the roots of whole tiles on every level, and the log's.
func (v *verifier) root() (tiles.Hash, error) {
	var below []tiles.Hash
	for i := range v.nodes(1) {
		below = append(below, v.bundles[i].root)
	}
	for len(below) > 0 {
		v.levels = append(v.levels, below)
		var above []tiles.Hash
		for i := range len(below) / tiles.Width {
			above = append(above, subtree(below[i*tiles.Width:(i+1)*tiles.Width]))
		}
		below = above
	}
	return v.combine(func(level int, i uint64) ([]tiles.Hash, error) {
		if level == 0 {
			return v.bundles[i].leaves, nil
		}
		return v.levels[level-1][i*tiles.Width:], nil
	})
}

// combine returns the root of the hashes at the right edge of the log: edge gives
// those of the last tile of a level, which is not whole.
func (v *verifier) combine(edge func(level int, i uint64) ([]tiles.Hash, error)) (root tiles.Hash, err error) {
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	total := factory.NewEmptyRange(0)
	for level := v.top(); level >= 0; level-- {
		count := v.nodes(level) % tiles.Width
		if count == 0 {
			continue
		}
		hashes, err := edge(level, v.nodes(level)/tiles.Width)
		if err != nil {
			return root, err
		}
		width := uint64(1) << (level * layout.TileHeight)
		for j := range count {
			one, err := factory.NewRange(total.End(), total.End()+width, [][]byte{hashes[j][:]})
			if err == nil {
				err = total.AppendRange(one, nil)
			}
			if err != nil {
				return root, fmt.Errorf("combining subtrees: %w", err)
			}
		}
	}
	b, err := total.GetRootHash(nil)
	if err != nil || b == nil {
		return tiles.Hash(rfc6962.DefaultHasher.EmptyRoot()), err
	}
	return tiles.Hash(b), nil
}

func (v *verifier) top() int {
	level := 0
	for v.nodes(level+1) > 0 {
		level++
	}
	return level
}

// computed returns the hashes of a tile as they follow from the entries.
func (v *verifier) computed(level int, i uint64) ([]tiles.Hash, error) {
	if level > 0 {
		all := v.levels[level-1]
		return all[i*tiles.Width : min(uint64(len(all)), (i+1)*tiles.Width)], nil
	}
	if v.bundles[i].leaves == nil {
		entries, err := v.log.Bundle(i, v.size)
		if err != nil {
			return nil, err
		}
		v.bundles[i].leaves = read(entries, min(tiles.Width, v.size-i*tiles.Width)).leaves
	}
	return v.bundles[i].leaves, nil
}

// find names the first entry that is wrong, by the tiles: they are hashes that the
// checkpoint vouches for, as far as they lead up to its root.
func (v *verifier) find(root tiles.Hash) *Finding {
	held, err := v.combine(func(level int, i uint64) ([]tiles.Hash, error) { return v.log.Tile(uint64(level), i, v.size) })
	if err != nil || held != root {
		return v.unvouched()
	}
	first := (*Finding)(nil)
	for level := v.top(); level >= 0; level-- {
		if v.nodes(level)%tiles.Width == 0 {
			continue
		}
		if f := v.compare(level, v.nodes(level)/tiles.Width); f != nil && (first == nil || f.First < first.First) {
			first = f
		}
	}
	if first == nil { // the entries have the root, and yet a bundle ends early
		return v.unvouched()
	}
	return first
}

// unvouched is a finding where the hashes do not lead to the checkpoint's root:
// the first bundle of which entries are missing, or else any entry.
func (v *verifier) unvouched() *Finding {
	for i, b := range v.bundles {
		if b.broken {
			entries, _ := v.log.Bundle(uint64(i), v.size) // what is there
			at := uint64(i)*tiles.Width + uint64(len(entries))
			return &Finding{First: at, Last: at, What: Missing}
		}
	}
	return &Finding{First: 0, Last: v.size - 1, What: Hidden}
}

// compare holds a tile whose hashes are vouched for to the entries.
func (v *verifier) compare(level int, i uint64) *Finding {
	stored, err := v.log.Tile(uint64(level), i, v.size)
	if err != nil {
		return v.hidden(level, i*tiles.Width)
	}
	return v.compareHashes(level, i, stored)
}

func (v *verifier) compareHashes(level int, i uint64, stored []tiles.Hash) *Finding {
	computed, err := v.computed(level, i)
	for j := range stored {
		at := i*tiles.Width + uint64(j)
		if err == nil && computed[j] == stored[j] {
			continue
		}
		if level == 0 {
			return v.name(i, j, computed, stored)
		}
		below, err := v.log.Tile(uint64(level-1), at, v.size)
		if err != nil || len(below) != tiles.Width || subtree(below) != stored[j] {
			return v.hidden(level, at)
		}
		if f := v.compareHashes(level-1, at, below); f != nil {
			return f
		}
	}
	return nil
}

// hidden is a finding somewhere below a hash: the tile that would tell is damaged.
func (v *verifier) hidden(level int, at uint64) *Finding {
	width := uint64(1) << (level * layout.TileHeight)
	return &Finding{First: at * width, Last: min(v.size, (at+1)*width) - 1, What: Hidden}
}

// name says what is wrong with entry j of bundle i, the first whose hash is not
// the one that is vouched for.
func (v *verifier) name(i uint64, j int, computed, stored []tiles.Hash) *Finding {
	f := &Finding{First: i*tiles.Width + uint64(j), What: Changed}
	f.Last = f.First
	if computed == nil || computed[j] == (tiles.Hash{}) {
		f.What = Missing
		return f
	}
	// What follows tells how the entries have moved; it may be in the next bundle.
	after := func(hashes []tiles.Hash, tile func(uint64) ([]tiles.Hash, error)) (next tiles.Hash) {
		if j+1 < len(hashes) {
			return hashes[j+1]
		}
		if (i+1)*tiles.Width >= v.size {
			return next // it is the log's last entry
		}
		if more, err := tile(i + 1); err == nil && len(more) > 0 {
			return more[0]
		}
		return next
	}
	nextComputed := after(computed, func(i uint64) ([]tiles.Hash, error) { return v.computed(0, i) })
	nextStored := after(stored, func(i uint64) ([]tiles.Hash, error) { return v.log.Tile(0, i, v.size) })
	switch {
	case computed[j] == nextStored && nextComputed == stored[j]:
		f.What = OutOfOrder
	case computed[j] == nextStored:
		f.What = Removed
	case nextComputed == stored[j]:
		f.What = Inserted
	case slices.Contains(stored[j+1:], computed[j]):
		f.What = OutOfOrder
	}
	return f
}
