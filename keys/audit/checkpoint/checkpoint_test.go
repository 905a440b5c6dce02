package checkpoint_test

import (
	"strings"
	"testing"

	"github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"

	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/witness/witnesstest"
)

// TestCheckpointIsHeldToItsKeys: a checkpoint that its log and a witness signed is
// read; of another key, name or text it is refused, and one that the witness has
// not signed is read without it.
func TestCheckpointIsHeldToItsKeys(t *testing.T) {
	seed, other := [32]byte{1}, [32]byte{2}
	signer, key, err := checkpoint.NewSigner("tarn.example/log/1", &seed)
	if err != nil {
		t.Fatal(err)
	}
	again, sameKey, err := checkpoint.NewSigner("tarn.example/log/1", &seed)
	if err != nil || sameKey != key {
		t.Fatal("one seed gives two keys", err)
	}
	verifier, err := checkpoint.Verifier(key + "\n")
	if err != nil {
		t.Fatal(err)
	}
	w := witnesstest.New(t, "witness.example")
	witness, err := checkpoint.WitnessVerifier(w.Public)
	if err != nil {
		t.Fatal(err)
	}
	text := string(log.Checkpoint{Origin: "tarn.example/log/1", Size: 7, Hash: make([]byte, 32)}.Marshal())
	sign := func(text string, signers ...note.Signer) []byte {
		signed, err := note.Sign(&note.Note{Text: text}, signers...)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	both := sign(text, again, w.Signer)
	if c, err := checkpoint.Open(both, verifier, witness); err != nil || c.Size != 7 || c.Cosigned["witness.example"].IsZero() {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := checkpoint.Open(sign(text, signer), verifier, witness); err != nil || len(c.Cosigned) != 0 {
		t.Errorf("not cosigned: %+v, %v", c, err)
	}
	stranger, _, err := checkpoint.NewSigner("tarn.example/log/1", &other)
	if err != nil {
		t.Fatal(err)
	}
	for name, signed := range map[string][]byte{
		"another key":    sign(text, stranger),
		"another size":   []byte(strings.Replace(string(both), "\n7\n", "\n8\n", 1)),
		"another origin": sign(strings.Replace(text, "log/1", "log/2", 1), signer),
		"a short root":   sign(string(log.Checkpoint{Origin: "tarn.example/log/1", Size: 7, Hash: make([]byte, 31)}.Marshal()), signer),
		"nothing":        nil,
	} {
		if c, err := checkpoint.Open(signed, verifier, witness); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	for _, origin := range []string{"", "a b", "a+b"} {
		if _, _, err := checkpoint.NewSigner(origin, &seed); err == nil {
			t.Errorf("origin %q", origin)
		}
	}
}
