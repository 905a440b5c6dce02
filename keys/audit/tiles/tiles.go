// Package tiles reads a transparency log from its folder, laid out as C2SP
// tlog-tiles says: a signed checkpoint, bundles of 256 entries, and tiles of 256
// hashes. It trusts nothing in it: what it returns is to be verified.
package tiles

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/transparency-dev/tessera/api/layout"
)

// Width is the number of entries of a whole bundle, and of hashes of a whole
// tile.
const Width = layout.EntryBundleWidth

// Files of a log's folder beside bundles and tiles.
const (
	CheckpointFile = "checkpoint"
	// PreviousFile is the last checkpoint of the log that this one goes on from.
	PreviousFile = "previous.checkpoint"
	// KeyFile holds the key that checkpoints are verified with, and WitnessKeyFile
	// those of witnesses, as C2SP signed-note verifier keys, one on a line.
	KeyFile        = "log.vkey"
	WitnessKeyFile = "witness.vkey"
)

// Limits on files, in bytes.
const (
	maxBundle = Width * (2 + 1<<16)
	maxTile   = Width * sha256.Size
	maxNote   = 1 << 20
)

// Hash is the hash of an entry or of a subtree, RFC 6962 with SHA-256.
type Hash = [sha256.Size]byte

// Log is a log's folder.
type Log struct{ folder string }

// Open returns the log in a folder.
func Open(folder string) *Log { return &Log{folder: folder} }

// Folder is where the log lies.
func (l *Log) Folder() string { return l.folder }

// Checkpoint returns the signed checkpoint as it lies there. The error wraps
// [fs.ErrNotExist] where there is none.
func (l *Log) Checkpoint() ([]byte, error) { return l.read(CheckpointFile, maxNote) }

// File returns another file of the folder, such as PreviousFile.
func (l *Log) File(name string) ([]byte, error) { return l.read(name, maxNote) }

// Bundle returns the entries of bundle i of a log of size entries: 256 of them, or
// fewer in the last one. It takes a whole bundle where a partial one is looked for:
// the log has grown since. Too few entries are an error that wraps ErrShort, with
// those that are there.
func (l *Log) Bundle(i, size uint64) ([][]byte, error) {
	want := Width
	if rest := size - i*Width; rest < Width {
		want = int(rest)
	}
	b, err := l.partial(layout.EntriesPath(i, uint8(want%Width)), layout.EntriesPath(i, 0), maxBundle)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = l.shorter(i, want) // of a log that was cut off an older bundle may be left
	}
	if err != nil {
		return nil, err
	}
	entries := make([][]byte, 0, want)
	for len(entries) < want {
		if len(b) < 2 {
			return entries, fmt.Errorf("bundle %d: %w", i, ErrShort)
		}
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return entries, fmt.Errorf("bundle %d: %w", i, ErrShort)
		}
		entries = append(entries, b[2:2+n:2+n])
		b = b[2+n:]
	}
	return entries, nil
}

// shorter returns the longest partial bundle i that has fewer entries.
func (l *Log) shorter(i uint64, entries int) ([]byte, error) {
	for n := entries - 1; n > 0; n-- {
		b, err := l.read(layout.EntriesPath(i, uint8(n)), maxBundle)
		if !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	return nil, fs.ErrNotExist
}

// ErrShort says that a bundle or tile ends before what should be in it.
var ErrShort = errors.New("it is shorter than the log's size says")

// Tile returns the hashes of tile i of a level of a log of size entries. Level 0
// has the hashes of entries; a hash of level n+1 is that of a whole tile of level n.
func (l *Log) Tile(level, i, size uint64) ([]Hash, error) {
	nodes := size >> (level * layout.TileHeight)
	want := min(uint64(Width), nodes-i*Width)
	b, err := l.partial(layout.TilePath(level, i, uint8(want%Width)), layout.TilePath(level, i, 0), maxTile)
	if err != nil {
		return nil, err
	}
	if uint64(len(b)) < want*sha256.Size {
		return nil, fmt.Errorf("tile %d of level %d: %w", i, level, ErrShort)
	}
	hashes := make([]Hash, want)
	for j := range hashes {
		copy(hashes[j][:], b[j*sha256.Size:])
	}
	return hashes, nil
}

// partial reads a file, or another in which it is contained.
func (l *Log) partial(name, whole string, limit int64) ([]byte, error) {
	b, err := l.read(name, limit)
	if errors.Is(err, fs.ErrNotExist) && whole != name {
		return l.read(whole, limit)
	}
	return b, err
}

func (l *Log) read(name string, limit int64) ([]byte, error) {
	path := filepath.Join(l.folder, filepath.FromSlash(name))
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file of a log, or too long", name)
	}
	return os.ReadFile(path)
}
