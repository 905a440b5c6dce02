// Package tilestest writes logs as tests want them, by the definition of RFC 6962
// and without the library that writes them in a service.
package tilestest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/transparency-dev/tessera/api/layout"
	"golang.org/x/mod/sumdb/note"

	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/tiles"
)

// LeafHash is the hash of an entry.
func LeafHash(entry []byte) tiles.Hash { return sha256.Sum256(append([]byte{0}, entry...)) }

// Root is the Merkle tree hash of hashes, by recursion.
func Root(hashes []tiles.Hash) tiles.Hash {
	switch len(hashes) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return hashes[0]
	}
	k := 1
	for 2*k < len(hashes) {
		k *= 2
	}
	left, right := Root(hashes[:k]), Root(hashes[k:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

// Write writes the bundles and tiles of a log, and returns its root.
func Write(t testing.TB, folder string, entries [][]byte) tiles.Hash {
	t.Helper()
	WriteBundles(t, folder, entries)
	hashes := make([]tiles.Hash, len(entries))
	for i, entry := range entries {
		hashes[i] = LeafHash(entry)
	}
	root := Root(hashes)
	for level := uint64(0); len(hashes) > 0; level++ {
		var above []tiles.Hash
		for i := 0; i < len(hashes); i += tiles.Width {
			tile := hashes[i:min(i+tiles.Width, len(hashes))]
			var b []byte
			for _, hash := range tile {
				b = append(b, hash[:]...)
			}
			write(t, folder, layout.TilePath(level, uint64(i/tiles.Width), uint8(len(tile)%tiles.Width)), b)
			if len(tile) == tiles.Width {
				above = append(above, Root(tile))
			}
		}
		hashes = above
	}
	return root
}

// WriteSigned writes a log with its checkpoint, signed, and the key that it is verified
// with: one that a key holder could have made.
func WriteSigned(t testing.TB, folder, origin string, entries [][]byte) {
	t.Helper()
	root := Write(t, folder, entries)
	signer, key, err := checkpoint.NewSigner(origin, &[ed25519.SeedSize]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, len(entries), base64.StdEncoding.EncodeToString(root[:]))}, signer)
	if err != nil {
		t.Fatal(err)
	}
	write(t, folder, tiles.CheckpointFile, signed)
	write(t, folder, tiles.KeyFile, []byte(key+"\n"))
}

// WriteBundles writes the entries only.
func WriteBundles(t testing.TB, folder string, entries [][]byte) {
	t.Helper()
	for i := 0; i < len(entries); i += tiles.Width {
		bundle := entries[i:min(i+tiles.Width, len(entries))]
		var b []byte
		for _, entry := range bundle {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(entry))), entry...)
		}
		write(t, folder, layout.EntriesPath(uint64(i/tiles.Width), uint8(len(bundle)%tiles.Width)), b)
	}
}

func write(t testing.TB, folder, name string, content []byte) {
	t.Helper()
	path := filepath.Join(folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
