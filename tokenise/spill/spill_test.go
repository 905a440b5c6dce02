package spill

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// write makes a chunk of two sections: the records in order, and in reverse.
func write(t interface{ Fatal(...any) }, path string, records [][]byte, note string) *Chunk {
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.Begin()
		for _, r := range records {
			if err := w.Append(r); err != nil {
				t.Fatal(err)
			}
		}
		records = slices.Clone(records)
		slices.Reverse(records)
	}
	if err := w.Commit([]byte(note)); err != nil {
		t.Fatal(err)
	}
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func all(next func() ([]byte, error)) (records [][]byte, err error) {
	for {
		r, err := next()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err
		}
		records = append(records, bytes.Clone(r))
	}
}

// TestMergeIsASort: whatever the chunks and the fan-in, a merge gives what
// sorting everything gives.
func TestMergeIsASort(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		folder := t.TempDir()
		var chunks []*Chunk
		var want [][]byte
		for i := range rapid.IntRange(0, 12).Draw(r, "chunks") {
			records := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 5), 0, 20).Draw(r, "records")
			slices.SortFunc(records, bytes.Compare)
			want = append(want, records...)
			chunks = append(chunks, write(r, filepath.Join(folder, fmt.Sprint(i)), records, fmt.Sprint("note", i)))
			if string(chunks[i].Note()) != fmt.Sprint("note", i) || chunks[i].Records(0) != int64(len(records)) {
				r.Fatal("the chunk says something else of itself")
			}
		}
		slices.SortFunc(want, bytes.Compare)
		m, err := merge(t.Context(), chunks, 0, folder, rapid.IntRange(2, 5).Draw(r, "fan-in"))
		if err != nil {
			r.Fatal(err)
		}
		defer m.Close()
		got, err := all(m.Next)
		if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
			r.Fatalf("%v: %d records of %d", err, len(got), len(want))
		}
	})
}

// TestDamageIsFound: no byte of a chunk can change without an error, and an
// untouched one, the control, has none.
func TestDamageIsFound(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "chunk")
	records := [][]byte{[]byte("a"), []byte("bb"), {}, []byte("dddd")}
	write(t, path, records, "n")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) error {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Open(path)
		if err != nil {
			return err
		}
		for section := range 2 {
			r, err := c.Reader(section)
			if err != nil {
				return err
			}
			got, err := all(r.Next)
			_ = r.Close()
			if err != nil {
				return err
			}
			if len(got) != len(records) {
				return ErrDamaged
			}
		}
		return nil
	}
	if err := read(whole); err != nil {
		t.Fatalf("an untouched chunk: %v", err)
	}
	sections := 2 * (4 + 1 + 2 + 4) // lengths and bytes; after them the footer, whose note nothing sums
	for i := range sections {
		b := bytes.Clone(whole)
		b[i] ^= 1
		if read(b) == nil {
			t.Errorf("byte %d changed and nothing was said", i)
		}
	}
	for n := range whole {
		if read(whole[:n]) == nil {
			t.Errorf("cut to %d bytes and nothing was said", n)
		}
	}
}

// TestUncommittedChunkIsNotThere: a chunk that was not committed has no name.
func TestUncommittedChunkIsNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chunk")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w.Begin()
	if err := w.Append([]byte("x")); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatalf("the chunk is there: %v", err)
	}
}
