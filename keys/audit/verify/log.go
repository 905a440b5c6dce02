package verify

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tarn/keys/audit"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/tiles"
	"tarn/keys/fault"
)

// Options are what a log is held to.
type Options struct {
	// Key is the verifier key of the log, and Witnesses those of witnesses. Where they
	// are empty the log's folder is believed, and Result says so.
	Key       string
	Witnesses []string
	// Seen is a signed checkpoint that this log has shown before; empty is none.
	Seen []byte
	// Visit is called for each entry that can be read, from several goroutines at once.
	// May be nil.
	Visit func(index uint64, leaf audit.Leaf)
	// Progress is called with the entries read so far. May be nil.
	Progress func(done uint64)
}

// Result is what was found of a log.
type Result struct {
	Origin string
	Size   uint64
	Root   tiles.Hash
	// OwnKeys says that the keys were taken from the log's own folder: whoever can
	// write there could have put others.
	OwnKeys bool
	// Cosigned are the witnesses that have signed this checkpoint, and when; Witnesses
	// those that should have.
	Witnesses []string
	Cosigned  map[string]time.Time
	// First is the first entry that is wrong; nil where all are what was recorded.
	First *Finding
	// Unreadable is the number of entries that are what was recorded and yet no leaf,
	// and FirstUnreadable the first of them.
	Unreadable      uint64
	FirstUnreadable uint64
	// RolledBack says that the log has shown a larger checkpoint before, or another
	// one of a size that it still has: entries are gone, or were made anew.
	RolledBack string
	// Previous is the checkpoint that the log goes on from; nil where it is the first.
	Previous *checkpoint.Checkpoint
	From, To time.Time // of the first and the last entry
}

// Whole reports whether the log is what its checkpoint says, and has lost nothing
// that it was seen to have.
func (r *Result) Whole() bool { return r.First == nil && r.Unreadable == 0 && r.RolledBack == "" }

// Log verifies the log in a folder. What is wrong with its entries is in the
// Result; an error says that nothing can be said of it: kind [fault.Usage] where it
// is no log, [fault.Disagreement] where its checkpoint is not signed with its key.
func Log(ctx context.Context, folder string, o Options) (*Result, error) {
	doing := "verifying the log " + folder
	log := tiles.Open(folder)
	signed, err := log.Checkpoint()
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the folder of a log, which holds a file named "+tiles.CheckpointFile+": those of a key holder are 1, 2, .. in its folder log")
	}
	r := &Result{}
	key, witnesses, err := o.keys(log, r)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "")
	}
	current, err := checkpoint.Open(signed, key, witnesses...)
	if err != nil {
		return nil, fault.Wrap(fault.Disagreement, doing, err, "give the key that the key holder publishes with --log-key; if it is the right one, the checkpoint was not made by this log")
	}
	r.Origin, r.Size, r.Root, r.Cosigned = current.Origin, current.Size, current.Root, current.Cosigned
	leaves := newReading(current.Size, o.Visit)
	tree, err := Entries(ctx, log, current.Size, current.Root, leaves.visit, o.Progress)
	if err != nil {
		return nil, err
	}
	r.First = tree.First
	leaves.finish(r)
	if len(o.Seen) > 0 {
		if err := seen(log, r, o.Seen, key); err != nil {
			return nil, fault.Wrap(fault.Disagreement, doing, err, "give the file that an earlier verify of this log wrote")
		}
	}
	return r, previous(log, r, leaves)
}

// keys reads the verifier keys that are given, or else the folder's.
func (o *Options) keys(log *tiles.Log, r *Result) (key note.Verifier, witnesses []note.Verifier, err error) {
	text, others := o.Key, o.Witnesses
	if text == "" {
		b, err := log.File(tiles.KeyFile)
		if err != nil {
			return nil, nil, fmt.Errorf("no key was given, and %s cannot be read in the log's folder", tiles.KeyFile)
		}
		text, r.OwnKeys = string(b), true
	}
	if len(others) == 0 {
		b, err := log.File(tiles.WitnessKeyFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		others = strings.Split(strings.TrimSpace(string(b)), "\n")
	}
	if key, err = checkpoint.Verifier(text); err != nil {
		return nil, nil, fmt.Errorf("the log's key: %w", err)
	}
	for _, other := range others {
		if strings.TrimSpace(other) == "" {
			continue
		}
		witness, err := checkpoint.WitnessVerifier(other)
		if err != nil {
			return nil, nil, fmt.Errorf("a witness's key: %w", err)
		}
		witnesses = append(witnesses, witness)
		r.Witnesses = append(r.Witnesses, witness.Name())
	}
	return key, witnesses, nil
}

// seen holds a log to a checkpoint that it has shown before.
func seen(log *tiles.Log, r *Result, signed []byte, key note.Verifier) error {
	before, err := checkpoint.Open(signed, key)
	if err != nil {
		return fmt.Errorf("the checkpoint that was seen before: %w", err)
	}
	if before.Size > r.Size {
		r.RolledBack = fmt.Sprintf("it had %d entries when it was last seen, and has %d", before.Size, r.Size)
		return nil
	}
	root, err := rootAt(log, before.Size)
	if err != nil || root != before.Root {
		r.RolledBack = fmt.Sprintf("its first %d entries are not those that it was last seen with", before.Size)
	}
	return nil
}

// rootAt returns the root of a log's first entries, as they are.
func rootAt(log *tiles.Log, size uint64) (tiles.Hash, error) {
	v := &verifier{log: log, size: size, bundles: make([]bundle, (size+tiles.Width-1)/tiles.Width)}
	for i := range v.bundles {
		want := min(tiles.Width, size-uint64(i)*tiles.Width)
		entries, err := log.Bundle(uint64(i), size)
		if err != nil {
			return tiles.Hash{}, err
		}
		v.bundles[i] = read(entries, want)
		if want == tiles.Width {
			v.bundles[i].leaves = nil
		}
	}
	return v.root()
}

// previous holds the first entry of a log to the checkpoint that the log goes on
// from. That checkpoint's signature is for the verification of the log before.
func previous(log *tiles.Log, r *Result, leaves *reading) error {
	signed, err := log.File(tiles.PreviousFile)
	if errors.Is(err, fs.ErrNotExist) {
		if leaves.first.Rule == audit.RuleLogBegun {
			r.RolledBack = "it goes on from another log, and " + tiles.PreviousFile + ", that log's last checkpoint, is gone"
		}
		return nil
	}
	if err != nil {
		return err
	}
	c, err := checkpoint.Unverified(signed)
	begun := leaves.first
	if err != nil || begun.Rule != audit.RuleLogBegun || begun.Ref == nil || c.Size != *begun.Ref || begun.Request != hex.EncodeToString(c.Root[:]) {
		r.RolledBack = "its first entry does not name the checkpoint in " + tiles.PreviousFile
		return nil
	}
	r.Previous = c
	return nil
}

// reading gathers what the entries say while they are verified, a bundle at a
// time, each in its own place: it is the same whatever the order.
type reading struct {
	visitor func(uint64, audit.Leaf)
	first   audit.Leaf
	bundles []bundleReading
}

type bundleReading struct {
	from, to   string
	unreadable []uint64
}

func newReading(size uint64, visitor func(uint64, audit.Leaf)) *reading {
	return &reading{visitor: visitor, bundles: make([]bundleReading, (size+tiles.Width-1)/tiles.Width)}
}

func (l *reading) visit(index uint64, entry []byte) {
	b := &l.bundles[index/tiles.Width]
	leaf, err := audit.Decode(entry)
	if err != nil {
		b.unreadable = append(b.unreadable, index)
		return
	}
	if index == 0 {
		l.first = leaf
	}
	if b.from == "" || leaf.Time < b.from {
		b.from = leaf.Time
	}
	b.to = max(b.to, leaf.Time)
	if l.visitor != nil {
		l.visitor(index, leaf)
	}
}

func (l *reading) finish(r *Result) {
	from, to := "", ""
	for _, b := range l.bundles {
		if len(b.unreadable) > 0 && r.Unreadable == 0 {
			r.FirstUnreadable = slices.Min(b.unreadable)
		}
		r.Unreadable += uint64(len(b.unreadable))
		if b.from != "" && (from == "" || b.from < from) {
			from = b.from
		}
		to = max(to, b.to)
	}
	r.From, _ = time.Parse(audit.TimeLayout, from) // Decode has parsed it
	r.To, _ = time.Parse(audit.TimeLayout, to)
}
