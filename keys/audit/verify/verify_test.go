package verify_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/transparency-dev/tessera/api/layout"
	"pgregory.net/rapid"

	"tarn/keys/audit/tiles"
	"tarn/keys/audit/tiles/tilestest"
	"tarn/keys/audit/verify"
)

func entriesOf(n int) [][]byte {
	entries := make([][]byte, n)
	for i := range entries {
		entries[i] = fmt.Appendf(nil, `{"kind":"lease","n":%d}`, i)
	}
	return entries
}

// TestWholeLogs: logs of sizes around those of bundles and tiles are what they
// are, and each entry is visited once.
func TestWholeLogs(t *testing.T) {
	for _, n := range []int{0, 1, 2, 255, 256, 257, 511, 512, 513, 65535, 65536, 65537, 66049, 131072 + 300} {
		entries := entriesOf(n)
		folder := t.TempDir()
		root := tilestest.Write(t, folder, entries)
		var mu sync.Mutex
		visited := map[uint64]bool{}
		tree, err := verify.Entries(t.Context(), tiles.Open(folder), uint64(n), root, func(i uint64, entry []byte) {
			mu.Lock()
			defer mu.Unlock()
			if visited[i] || string(entry) != string(entries[i]) {
				t.Errorf("entry %d is visited twice, or is another", i)
			}
			visited[i] = true
		}, nil)
		if err != nil || tree.First != nil || tree.Root != root || len(visited) != n {
			t.Fatalf("%d entries: %v, %+v, %d visited", n, err, tree, len(visited))
		}
	}
}

// tampering changes entries, and says what is to be found.
type tampering struct {
	name string
	do   func(entries [][]byte, at int) [][]byte
	what string
	last bool // whether the last entry may be the one
}

var tamperings = []tampering{
	{"flipped", func(e [][]byte, at int) [][]byte {
		e[at] = slices.Clone(e[at])
		e[at][len(e[at])-1] ^= 1
		return e
	}, verify.Changed, true},
	{"emptied", func(e [][]byte, at int) [][]byte { e[at] = nil; return e }, verify.Changed, true},
	{"removed", func(e [][]byte, at int) [][]byte { return slices.Delete(e, at, at+1) }, verify.Removed, false},
	{"inserted", func(e [][]byte, at int) [][]byte { return slices.Insert(e, at, []byte("{}")) }, verify.Inserted, false},
	{"swapped", func(e [][]byte, at int) [][]byte { e[at], e[at+1] = e[at+1], e[at]; return e }, verify.OutOfOrder, false},
	{"truncated", func(e [][]byte, at int) [][]byte { return e[:at] }, verify.Missing, true},
}

// TestFirstBadEntryIsNamed tampers with the entries of logs of any size at any
// place, and wants its index.
func TestFirstBadEntryIsNamed(t *testing.T) {
	for _, tamper := range tamperings {
		t.Run(tamper.name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				n := rapid.OneOf(rapid.IntRange(3, 700), rapid.SampledFrom([]int{256, 512, 1024})).Draw(r, "entries")
				most := n - 2
				if tamper.last {
					most = n - 1
				}
				at := rapid.OneOf(rapid.IntRange(0, most), rapid.SampledFrom([]int{0, most})).Draw(r, "at")
				folder, err := os.MkdirTemp(t.TempDir(), "")
				if err != nil {
					t.Fatal(err)
				}
				entries := entriesOf(n)
				root := tilestest.Write(t, folder, entries)
				if err := os.RemoveAll(filepath.Join(folder, "tile", "entries")); err != nil {
					t.Fatal(err)
				}
				tampered := tamper.do(slices.Clone(entries), at)
				for len(tampered) < n && tamper.what == verify.Removed { // as an intruder would, to keep the size
					tampered = append(tampered, []byte(`{"kind":"start"}`))
				}
				tilestest.WriteBundles(t, folder, tampered[:min(n, len(tampered))])
				tree, err := verify.Entries(t.Context(), tiles.Open(folder), uint64(n), root, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				if f := tree.First; f == nil || f.First != uint64(at) || f.Last != uint64(at) || f.What != tamper.what {
					r.Fatalf("%d entries, %s at %d: %+v", n, tamper.name, at, f)
				}
			})
		})
	}
}

// TestDamagedTilesHideNothing: where the hashes that would name the entry are
// damaged, too, or were made to fit, the log is still not what its checkpoint
// says, and the entries among which the bad one is are.
func TestDamagedTilesHideNothing(t *testing.T) {
	const n = 65536 + 600
	entries := entriesOf(n)
	tampered := slices.Clone(entries)
	tampered[300] = []byte("{}")
	for name, tt := range map[string]struct {
		damage      func(folder string)
		first, last uint64
		what        string
	}{
		"tile of the entry": {func(folder string) { flip(t, folder, layout.TilePath(0, 1, 0)) }, 256, 511, verify.Hidden},
		"tile above":        {func(folder string) { flip(t, folder, layout.TilePath(1, 0, 0)) }, 0, 65535, verify.Hidden},
		"edge":              {func(folder string) { flip(t, folder, layout.TilePath(2, 0, 1)) }, 0, n - 1, verify.Hidden},
		"all made to fit":   {func(folder string) { tilestest.Write(t, folder, tampered) }, 0, n - 1, verify.Hidden},
		"gone": {func(folder string) {
			if err := os.Remove(filepath.Join(folder, layout.TilePath(0, 1, 0))); err != nil {
				t.Fatal(err)
			}
		}, 256, 511, verify.Hidden},
		"none": {func(string) {}, 300, 300, verify.Changed},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			root := tilestest.Write(t, folder, entries)
			tilestest.WriteBundles(t, folder, tampered)
			tt.damage(folder)
			tree, err := verify.Entries(t.Context(), tiles.Open(folder), n, root, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if f := tree.First; f == nil || f.First != tt.first || f.Last != tt.last || f.What != tt.what {
				t.Errorf("%+v", f)
			}
		})
	}
}

func flip(t *testing.T, folder, name string) {
	t.Helper()
	path := filepath.Join(folder, name)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
