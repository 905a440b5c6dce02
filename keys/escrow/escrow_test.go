package escrow

import (
	"bytes"
	"crypto/hpke"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
)

// holder is a key holder with its escrow key and the token key of a domain's epoch.
type holder struct {
	private hpke.PrivateKey
	public  []byte
	token   secret.MAC
	context Context
}

func newHolder(t testing.TB) *holder {
	t.Helper()
	private, err := KEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := secret.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{private: private, public: private.PublicKey().Bytes(), token: keys.TokenDeriver(key, "lake", 3).MAC()}
	h.context = Context{Project: "study", Domain: "lake", TokenEpoch: 3, HolderKeyID: KeyID(h.public)}
	return h
}

func (h *holder) tokenOf(n nhsnumber.Number) [keys.TokenSize]byte {
	return *secret.NewHasher().Sum(h.token, n[:])
}

// number draws a number that passes the check digit.
func number(t *rapid.T) nhsnumber.Number {
	for i := rapid.IntRange(400_000_000, 999_000_000).Draw(t, "number"); ; i++ {
		first := [9]byte([]byte(fmt.Sprintf("%09d", i)))
		if digit, ok := nhsnumber.CheckDigit(first); ok {
			return nhsnumber.Number(append(first[:], digit))
		}
	}
}

// TestEnvelopesOpenAtRandom: every item of a batch opens by itself, in any order, to the
// number that was sealed; the same number twice gives other bytes.
func TestEnvelopesOpenAtRandom(t *testing.T) {
	h := newHolder(t)
	rapid.Check(t, func(rt *rapid.T) {
		b, err := NewBatch(h.public, h.context, [16]byte{byte(rapid.Byte().Draw(rt, "id"))})
		if err != nil {
			rt.Fatal(err)
		}
		numbers := rapid.SliceOfN(rapid.Custom(number), 1, 6).Draw(rt, "numbers")
		numbers = append(numbers, numbers[0])
		var sealed []byte
		for i, n := range numbers {
			var index uint32
			if sealed, index, err = b.Seal(sealed, h.tokenOf(n), n); err != nil || index != uint32(i) {
				rt.Fatalf("item %d has index %d, %v", i, index, err)
			}
		}
		if bytes.Equal(sealed[:SealedSize], sealed[len(sealed)-SealedSize:]) {
			rt.Fatal("one number is sealed to the same bytes twice")
		}
		for _, i := range rapid.Permutation(indices(len(numbers))).Draw(rt, "order") {
			e := Envelope{h.context.HolderKeyID, b.ID, b.Enc, uint32(i), h.tokenOf(numbers[i]), sealed[i*SealedSize : (i+1)*SealedSize]}
			if got, err := e.Open(h.private, h.context, h.token); err != nil || got != numbers[i] {
				rt.Fatalf("item %d: %v", i, err)
			}
		}
	})
}

func indices(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// TestEnvelopesThatDoNotOpen: of another key, context, batch, item or token, or changed in
// any bit.
func TestEnvelopesThatDoNotOpen(t *testing.T) {
	h, other := newHolder(t), newHolder(t)
	n := nhsnumber.Number([]byte("9434765919"))
	b, err := NewBatch(h.public, h.context, [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	sealed, _, err := b.Seal(nil, h.tokenOf(n), n)
	if err != nil {
		t.Fatal(err)
	}
	good := func() *Envelope {
		return &Envelope{h.context.HolderKeyID, b.ID, bytes.Clone(b.Enc), 0, h.tokenOf(n), bytes.Clone(sealed)}
	}
	if got, err := good().Open(h.private, h.context, h.token); err != nil || got != n {
		t.Fatalf("nothing was changed: %v", err)
	}
	for name, change := range map[string]func(e *Envelope, c *Context){
		"another batch":      func(e *Envelope, _ *Context) { e.Batch[15] ^= 1 },
		"another item":       func(e *Envelope, _ *Context) { e.Index++ },
		"another token":      func(e *Envelope, _ *Context) { e.Token[31] ^= 1 },
		"another project":    func(_ *Envelope, c *Context) { c.Project = "other" },
		"another domain":     func(_ *Envelope, c *Context) { c.Domain = "pond" },
		"another epoch":      func(_ *Envelope, c *Context) { c.TokenEpoch++ },
		"another key's name": func(_ *Envelope, c *Context) { c.HolderKeyID = other.context.HolderKeyID },
		"says another key":   func(e *Envelope, _ *Context) { e.HolderKeyID = other.context.HolderKeyID },
		"says no key":        func(e *Envelope, _ *Context) { e.HolderKeyID = "" },
		"shorter":            func(e *Envelope, _ *Context) { e.Sealed = e.Sealed[:SealedSize-1] },
		"longer":             func(e *Envelope, _ *Context) { e.Enc = append(e.Enc, 0) },
		"nothing":            func(e *Envelope, _ *Context) { e.Enc, e.Sealed = nil, nil },
	} {
		e, c := good(), h.context
		change(e, &c)
		if got, err := e.Open(h.private, c, h.token); !errors.Is(err, ErrClosed) || got != (nhsnumber.Number{}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for at := range sealed {
		e := good()
		e.Sealed[at] ^= 0x10
		if _, err := e.Open(h.private, h.context, h.token); !errors.Is(err, ErrClosed) {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
	for at := 0; at < EncSize; at += 13 {
		e := good()
		e.Enc[at] ^= 0x10
		if _, err := e.Open(h.private, h.context, h.token); !errors.Is(err, ErrClosed) {
			t.Errorf("byte %d of the batch's key changed: %v", at, err)
		}
	}
	elsewhere := good()
	elsewhere.HolderKeyID = other.context.HolderKeyID
	if _, err := elsewhere.Open(other.private, other.context, h.token); !errors.Is(err, ErrClosed) {
		t.Errorf("another key holder: %v", err)
	}
	if _, err := good().Open(h.private, h.context, other.token); !errors.Is(err, ErrToken) {
		t.Errorf("another token key: %v", err)
	}
}

// TestWhoSealsWrongly: a tokeniser that seals somebody else's number beside a token, or
// what is no number, releases nobody.
func TestWhoSealsWrongly(t *testing.T) {
	h := newHolder(t)
	token := h.tokenOf(nhsnumber.Number([]byte("9434765919")))
	for name, n := range map[string]string{"somebody else": "9434765870", "a wrong check digit": "9434765918", "no digits": "94347659x9", "bytes": "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09"} {
		b, err := NewBatch(h.public, h.context, [16]byte{1})
		if err != nil {
			t.Fatal(err)
		}
		sealed, index, err := b.Seal(nil, token, nhsnumber.Number([]byte(n)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := (&Envelope{h.context.HolderKeyID, b.ID, b.Enc, index, token, sealed}).Open(h.private, h.context, h.token); !errors.Is(err, ErrToken) || got != (nhsnumber.Number{}) {
			t.Errorf("%s: %v", name, err)
		}
		// Control: with the token that is its own it is looked at for what it is.
		own := h.tokenOf(nhsnumber.Number([]byte(n)))
		b, err = NewBatch(h.public, h.context, [16]byte{2})
		if err != nil {
			t.Fatal(err)
		}
		if sealed, index, err = b.Seal(nil, own, nhsnumber.Number([]byte(n))); err != nil {
			t.Fatal(err)
		}
		_, err = (&Envelope{h.context.HolderKeyID, b.ID, b.Enc, index, own, sealed}).Open(h.private, h.context, h.token)
		if (err == nil) != (name == "somebody else") {
			t.Errorf("%s beside its own token: %v", name, err)
		}
	}
}

// TestBatchesThatAreNone: another key's name, no key; a batch that is full.
func TestBatchesThatAreNone(t *testing.T) {
	h, other := newHolder(t), newHolder(t)
	if _, err := NewBatch(other.public, h.context, [16]byte{}); err == nil {
		t.Error("a key of another name is taken")
	}
	if _, err := NewBatch(h.public[1:], Context{HolderKeyID: KeyID(h.public[1:])}, [16]byte{}); err == nil {
		t.Error("what is no key is taken")
	}
	b, err := NewBatch(h.public, h.context, [16]byte{})
	if err != nil {
		t.Fatal(err)
	}
	b.next = 1<<32 - 1
	if _, _, err := b.Seal(nil, [keys.TokenSize]byte{}, nhsnumber.Number{}); !errors.Is(err, ErrFull) {
		t.Errorf("beyond the last item: %v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if printed := fmt.Sprintf(verb, b); !strings.Contains(printed, "[an escrow batch]") {
			t.Errorf("%s prints %q", verb, printed)
		}
	}
}

// golden is an envelope of an earlier day, with the keys that open it: no person's.
type golden struct {
	EscrowKey, TokenKey, Batch, Enc, Token, Sealed, Number, KeyID string
	Index, TokenEpoch                                             uint32
	Project, Domain                                               string
}

var write = flag.Bool("write-golden", false, "write the envelope that later versions have to open")

// TestEnvelopesOfBeforeOpen: what was sealed is opened for as long as tokens are.
func TestEnvelopesOfBeforeOpen(t *testing.T) {
	const path = "testdata/envelope.json"
	if *write {
		writeGolden(t, path)
	}
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(document, &g); err != nil {
		t.Fatal(err)
	}
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	private, err := KEM().NewPrivateKey(unhex(g.EscrowKey))
	if err != nil {
		t.Fatal(err)
	}
	token, err := keys.ParseKey(g.TokenKey)
	if err != nil {
		t.Fatal(err)
	}
	e := Envelope{g.KeyID, [16]byte(unhex(g.Batch)), unhex(g.Enc), g.Index, [keys.TokenSize]byte(unhex(g.Token)), unhex(g.Sealed)}
	got, err := e.Open(private, Context{g.Project, g.Domain, g.TokenEpoch, g.KeyID}, keys.TokenDeriver(token, g.Domain, g.TokenEpoch).MAC())
	if err != nil || string(got[:]) != g.Number {
		t.Errorf("it holds %s, not %s: %v", got[:], g.Number, err)
	}
}

func writeGolden(t *testing.T, path string) {
	private, err := KEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := private.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	key := secret.New([secret.Size]byte(bytes.Repeat([]byte{7}, secret.Size)))
	public := private.PublicKey().Bytes()
	c := Context{Project: "study", Domain: "lake", TokenEpoch: 3, HolderKeyID: KeyID(public)}
	n := nhsnumber.Number([]byte("9434765919"))
	token := *secret.NewHasher().Sum(keys.TokenDeriver(key, c.Domain, c.TokenEpoch).MAC(), n[:])
	b, err := NewBatch(public, c, [16]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	var sealed []byte
	var index uint32
	for range 3 {
		if sealed, index, err = b.Seal(nil, token, n); err != nil {
			t.Fatal(err)
		}
	}
	document, err := json.MarshalIndent(golden{hex.EncodeToString(seed), keys.HexKey(key), hex.EncodeToString(b.ID[:]), hex.EncodeToString(b.Enc), hex.EncodeToString(token[:]), hex.EncodeToString(sealed), string(n[:]), c.HolderKeyID,
		index, c.TokenEpoch, c.Project, c.Domain}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(document, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkSeal(b *testing.B) {
	h := newHolder(b)
	batch, err := NewBatch(h.public, h.context, [16]byte{})
	if err != nil {
		b.Fatal(err)
	}
	n := nhsnumber.Number([]byte("9434765919"))
	token := h.tokenOf(n)
	var to []byte
	b.ReportAllocs()
	for b.Loop() {
		if to, _, err = batch.Seal(to[:0], token, n); err != nil {
			b.Fatal(err)
		}
	}
}
