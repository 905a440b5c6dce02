package tokenise

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys"
	envelope "tarn/keys/escrow"
	"tarn/linkage/cohort"
	"tarn/tokenise/escrow"
	"tarn/tokenise/escrow/escrowfile"
)

// TestEnvelopesAreSortedOnDisk: more than memory has room for come out by token, of each
// one that came in.
func TestEnvelopesAreSortedOnDisk(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		e := &envelopes{folder: t.TempDir(), limit: rapid.IntRange(1, 5).Draw(r, "limit")}
		in := map[byte]map[uint32]bool{}
		width := packedToken + 1 + cohort.TokenBytes + packedSeal
		for i, token := range rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(r, "tokens") {
			packed := make([]byte, width)
			packed[packedToken+1] = token
			binary.BigEndian.PutUint32(packed[width-packedSeal:], uint32(i%2))
			binary.BigEndian.PutUint32(packed[width-packedSeal+4:], uint32(i))
			packed[width-1] = byte(i)
			if err := e.add(packed); err != nil {
				r.Fatal(err)
			}
			if in[token] == nil {
				in[token] = map[uint32]bool{}
			}
			in[token][uint32(i)] = true
		}
		path := filepath.Join(e.folder, "north.escrow")
		s := &setting{Options: &Options{Escrow: path, Wall: func() time.Time { return time.Unix(1, 0) }}, recipient: &escrow.Recipient{Context: envelope.Context{Project: "p", Domain: "d", TokenEpoch: 1, HolderKeyID: "000102030405060708090a0b0c0d0e0f"}}}
		o := &outputs{setting: s}
		defer o.abort()
		none := escrowfile.Batch{Enc: make([]byte, envelope.EncSize)}
		if err := o.openEscrow([]escrowfile.Batch{none, none}); err != nil {
			r.Fatal(err)
		}
		if err := o.writeEscrow(t.Context(), e); err != nil {
			r.Fatal(err)
		}
		if err := o.escrow.commit(path); err != nil {
			r.Fatal(err)
		}
		var out []escrowfile.Item
		f, err := os.Open(path)
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = f.Close() }() // opened for reading
		file, err := escrowfile.NewReader(f)
		if err != nil {
			r.Fatal(err)
		}
		for {
			items, err := file.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				r.Fatal(err)
			}
			out = append(out, items...)
		}
		if len(out) != len(in) {
			r.Fatalf("%d envelopes of %d tokens", len(out), len(in))
		}
		for _, item := range out {
			token := item.Token[0]
			if !in[token][item.Index] || item.Batch != item.Index%2 || item.Sealed[envelope.SealedSize-1] != byte(item.Index) || item.Token != [keys.TokenSize]byte{token} {
				r.Fatalf("token %d: %+v", token, item)
			}
		}
	})
}
