package source_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"tarn/keys/fault"
	"tarn/tokenise/source"
)

// TestDamagedStreamsAreNoShortTables: a compressed table that ends anywhere
// before its end, or of which a byte is not what it was, is an error that says
// so, and never a table with fewer rows.
func TestDamagedStreamsAreNoShortTables(t *testing.T) {
	var text strings.Builder
	text.WriteString("id,name\n")
	for i := range 3000 {
		fmt.Fprintf(&text, "%d,%x\n", i, i*i*7919)
	}
	for _, compression := range []string{"gzip", "zstd"} {
		whole := packed(t, compression, []byte(text.String()))
		path := filepath.Join(t.TempDir(), "in.csv")
		read := func(b []byte, piped bool) (int, error) {
			o, from := source.Options{Stdin: bytes.NewReader(b)}, "-"
			if !piped {
				from = path
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, rows, err := readWith(from, o)
			return len(rows), err
		}
		if n, err := read(whole, true); err != nil || n != 3000 {
			t.Fatalf("control: %v, %d rows", err, n)
		}
		for cut := 6; cut < len(whole); cut += 97 {
			for _, piped := range []bool{true, false} {
				if _, err := read(whole[:cut], piped); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "its "+compression+" stream is damaged or ends too early") {
					t.Fatalf("%s cut at %d of %d: %v", compression, cut, len(whole), err)
				}
			}
		}
		for at := len(whole) / 3; at < len(whole)-8; at += 501 {
			damaged := bytes.Clone(whole)
			damaged[at] ^= 0x55
			if n, err := read(damaged, true); err == nil && n != 3000 || err != nil && fault.KindOf(err) != fault.Usage {
				t.Fatalf("%s damaged at %d: %v, %d rows", compression, at, err, n)
			}
		}
		if _, err := read(append(bytes.Clone(whole), "trailing"...), true); fault.KindOf(err) != fault.Usage {
			t.Errorf("%s with something behind it: %v", compression, err)
		}
	}
}

// TestBombsStayBounded: a stream that grows a thousandfold is one row that is
// too long.
func TestBombsStayBounded(t *testing.T) {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, "a,b\n1,") // into memory
	block := bytes.Repeat([]byte{'x'}, 1<<20)
	for range 32 { // gigabytes would do the same
		if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = io.WriteString(w, "\n2,y\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, rows, err := readWith("-", source.Options{Stdin: &b, Encoding: source.EncodingUTF8})
	if err != nil || len(rows) != 2 || rows[0].Problem != "row_too_long" || rows[1].Values[1] != "y" {
		t.Errorf("%v: %d rows", err, len(rows))
	}
}

// broken is a pipe that fails.
type broken struct{ io.Reader }

func (b broken) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = &os.PathError{Op: "read", Path: "pipe", Err: os.ErrClosed}
	}
	return n, err
}

func TestInputIsStated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.txt")
	text := packed(t, "gzip", []byte("id;name\n1;2\n"))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := source.Open(path, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b source.Batch
	if err := r.Read(&b); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%+v", source.Input{Format: "csv", Compression: "gzip", Delimiter: ";", Encoding: "utf-8", Bytes: int64(len(text)), HasHeader: true})
	if got := fmt.Sprintf("%+v", r.Input()); got != want {
		t.Errorf("input %s, want %s", got, want)
	}
	if done, total := r.Position(); done != int64(len(text)) || total != done {
		t.Errorf("at the end the position is %d of %d, want the %d compressed bytes", done, total, len(text))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readWith("-", source.Options{Stdin: broken{strings.NewReader("a,b\n1,2\n")}}); fault.KindOf(err) != fault.Internal || err == nil {
		t.Errorf("a pipe that fails: %v", err)
	}
	if _, err := source.Open(t.TempDir(), source.Options{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("a folder: %v", err)
	}
}

func TestTableName(t *testing.T) {
	for path, want := range map[string]string{"a/north.csv": "north", "north.csv.gz": "north", "north.2026.NDJSON.ZST": "north.2026", "north": "north", "north.gz": "north"} {
		if got := source.TableName(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}
