package source_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// checkPieces: the pieces of a table are its bytes, and it has as many rows as
// the reader finds.
func checkPieces(t *testing.T, text []byte, column string, rows int) {
	t.Helper()
	r, err := source.OpenRecords("-", column, source.Options{Stdin: bytes.NewReader(text), MaxRowBytes: 500})
	if err != nil || r == nil {
		t.Fatalf("a table that can be read has no pieces: %v", err)
	}
	var all bytes.Buffer
	w := r.Encode(&all)
	var p source.Piece
	whole, last := r.Input().Compression == "", int64(0)
	for {
		if err := r.Next(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Number > 0 {
			last = p.Number
		}
		// Bytes that were lost in another encoding, or not kept, cannot be compared.
		whole = whole && p.Problem != reason.RowTooLong && (p.Problem == "" || r.Input().Encoding == source.EncodingUTF8)
		if p.HasCell && (p.Start < 0 || p.End < p.Start || p.End > len(p.Bytes)) {
			t.Fatalf("row %d: the cell lies at %d to %d of %d", p.Number, p.Start, p.End, len(p.Bytes))
		}
		if _, err := w.Write(p.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if last != int64(rows) {
		t.Fatalf("%d rows in pieces, %d for the reader", last, rows)
	}
	if whole && !bytes.Equal(all.Bytes(), text) {
		t.Fatalf("the pieces are %q, the table is %q", all.Bytes(), text)
	}
}
