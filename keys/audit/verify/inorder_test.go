package verify_test

import (
	"errors"
	"slices"
	"testing"

	"tarn/keys/audit/tiles"
	"tarn/keys/audit/tiles/tilestest"
	"tarn/keys/audit/verify"
)

// TestInOrder: each entry comes once and in its place, and the root is held to.
func TestInOrder(t *testing.T) {
	for _, n := range []int{0, 1, 255, 256, 257, 700} {
		entries, folder := entriesOf(n), t.TempDir()
		root := tilestest.Write(t, folder, entries)
		var got [][]byte
		read := func() error {
			got = nil
			return verify.InOrder(t.Context(), tiles.Open(folder), uint64(n), root, func(i uint64, entry []byte) error {
				if i != uint64(len(got)) {
					t.Errorf("entry %d comes after %d others", i, len(got))
				}
				got = append(got, slices.Clone(entry))
				return nil
			})
		}
		if err := read(); err != nil || !slices.EqualFunc(got, entries, slices.Equal) {
			t.Errorf("%d entries: %v, %d read", n, err, len(got))
		}
		if n == 0 {
			continue
		}
		tampered := slices.Clone(entries)
		tampered[n/2] = []byte("{}")
		tilestest.WriteBundles(t, folder, tampered)
		if err := read(); !errors.Is(err, verify.ErrChanged) {
			t.Errorf("%d entries, one of them another: %v", n, err)
		}
	}
	enough := errors.New("enough")
	folder := t.TempDir()
	root := tilestest.Write(t, folder, entriesOf(3))
	if err := verify.InOrder(t.Context(), tiles.Open(folder), 3, root, func(uint64, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
}
