package receipt_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"tarn/keys/audit"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/receipt"

	"github.com/transparency-dev/formats/log"
)

type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		out[i] = h[index]
	}
	return out, nil
}

// TestReceiptProvesItsEntry, for every entry of logs of several sizes, with proofs
// that x/mod makes; of another entry, place, log or checkpoint it proves nothing.
func TestReceiptProvesItsEntry(t *testing.T) {
	signer, public, err := checkpoint.NewSigner("log/1", &[32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	key, err := checkpoint.Verifier(public)
	if err != nil {
		t.Fatal(err)
	}
	_, otherPublic, err := checkpoint.NewSigner("log/1", &[32]byte{2})
	if err != nil {
		t.Fatal(err)
	}
	other, err := checkpoint.Verifier(otherPublic)
	if err != nil {
		t.Fatal(err)
	}
	var stored hashes
	var leaves [][]byte
	for n := int64(0); n < 40; n++ {
		leaf, err := audit.Leaf{Kind: audit.KindLease, Count: n + 1, Time: audit.FormatTime(time.Unix(n, 0))}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		more, err := tlog.StoredHashes(n, leaf, stored)
		if err != nil {
			t.Fatal(err)
		}
		stored, leaves = append(stored, more...), append(leaves, leaf)
		root, err := tlog.TreeHash(n+1, stored)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(&note.Note{Text: string(log.Checkpoint{Origin: "log/1", Size: uint64(n + 1), Hash: root[:]}.Marshal())}, signer)
		if err != nil {
			t.Fatal(err)
		}
		for at := range n + 1 {
			path, err := tlog.ProveRecord(n+1, at, stored)
			if err != nil {
				t.Fatal(err)
			}
			r := &receipt.Receipt{Schema: receipt.Schema, Index: uint64(at), Leaf: leaves[at], Checkpoint: string(signed)}
			for _, hash := range path {
				r.Proof = append(r.Proof, hash[:])
			}
			document, err := json.MarshalIndent(r, "", "    ") // laid out as somebody's tool does
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := receipt.Parse(document)
			if err != nil {
				t.Fatal(err)
			}
			v, err := parsed.Verify(key)
			if err != nil || v.Leaf.Count != at+1 || v.Checkpoint.Size != uint64(n+1) {
				t.Fatalf("entry %d of %d: %+v, %v", at, n+1, v, err)
			}
			if _, err := parsed.Verify(other); err == nil {
				t.Fatal("a log of another key is proven")
			}
			for name, change := range map[string]func(*receipt.Receipt){
				"another entry": func(r *receipt.Receipt) {
					r.Leaf = []byte(strings.Replace(string(r.Leaf), `"count":`, `"count":1`, 1))
				},
				"another place": func(r *receipt.Receipt) { r.Index++ },
				"a longer path": func(r *receipt.Receipt) { r.Proof = append(r.Proof[:len(r.Proof):len(r.Proof)], make([]byte, 32)) },
				"no checkpoint": func(r *receipt.Receipt) { r.Checkpoint = "" },
			} {
				c := *parsed
				change(&c)
				if _, err := c.Verify(key); err == nil {
					t.Fatalf("%s is proven", name)
				}
			}
		}
	}
	for _, bad := range []string{"", "{}", `{"schema":"tarn.receipt/2"}`, `{"schema":"tarn.receipt/1","leaf":1,"more":2}`} {
		if _, err := receipt.Parse([]byte(bad)); err == nil {
			t.Errorf("%q is a receipt", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":"tarn.receipt/1","index":0,"leaf":{},"proof":[],"checkpoint":"x"}`))
	_, public, err := checkpoint.NewSigner("log/1", &[32]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	key, err := checkpoint.Verifier(public)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		r, err := receipt.Parse(document)
		if err != nil {
			return
		}
		if _, err := r.Verify(key); err == nil {
			t.Error("a receipt that nobody signed is proven")
		}
	})
}
