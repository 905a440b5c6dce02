package oprf

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"os"
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"

	"tarn/bench/peer"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
)

// twin is testdata/python/oblivious.py: plain integers, written from the specification.
type twin struct{ *peer.Peer }

type twinHeader struct {
	Operation    Operation `json:"op"`
	DomainNo     uint32    `json:"domain_no"`
	TokenEpoch   uint32    `json:"token_epoch"`
	ToDomainNo   uint32    `json:"to_domain_no"`
	ToTokenEpoch uint32    `json:"to_epoch"`
	RequestID    string    `json:"request_id"`
}

type twinAnswer struct {
	Points   []string  `json:"points"`
	Numbers  []*string `json:"numbers"`
	Request  string    `json:"request"`
	Response string    `json:"response"`
	Tokens   []string  `json:"tokens"`
	Refused  string    `json:"refused"`
}

func text(b []byte) string { return hex.EncodeToString(b) }

func scalarText(t *rapid.T, k secret.Key) (s string) {
	k.Use(func(b *[secret.Size]byte) { s = text(b[:]) })
	return s
}

func unhex(t *rapid.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAgreesWithPython: random batches of every operation, blinded, answered and
// finished by either side, in all four ways; both refuse what was changed; both decode
// alike.
func TestAgreesWithPython(t *testing.T) {
	python := twin{peer.Start(t, cmp.Or(os.Getenv("TARN_PYTHON"), "python3"), "oblivious.py")}
	ask := func(t *rapid.T, request any) twinAnswer {
		var answer twinAnswer
		python.Ask(t, request, &answer)
		return answer
	}
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 5).Draw(t, "elements")
		all := make([]nhsnumber.Number, count)
		digits := make([]string, count)
		for i := range all {
			all[i] = number(t)
			digits[i] = string(all[i][:])
		}
		h := Header{Operation: Operation(rapid.IntRange(1, 3).Draw(t, "operation")), DomainNo: rapid.Uint32Range(1, 9).Draw(t, "domain"), TokenEpoch: rapid.Uint32Range(1, 9).Draw(t, "epoch")}
		for i := range h.RequestID {
			h.RequestID[i] = rapid.Byte().Draw(t, "id")
		}
		from, fromPublic := newKey(t)
		key, base, public := from, Generator(), fromPublic
		var tokens []Point
		asked := map[string]any{"numbers": digits}
		if h.Operation != Evaluate {
			h.ToDomainNo, h.ToTokenEpoch = h.DomainNo, h.TokenEpoch+1
			if h.Operation == Convert {
				h.ToDomainNo++
			}
			to, toPublic := newKey(t)
			quotient, err := Quotient(to, from)
			if err != nil {
				t.Fatal(err)
			}
			key, base, public = quotient, fromPublic, toPublic
			texts := make([]string, count)
			for i := range all {
				p := Encode(all[i])
				opened := multiplied(t, from, p)
				tokens = append(tokens, opened)
				texts[i] = text(opened[:])
			}
			asked = map[string]any{"tokens": texts}
		}
		// The same randomness on both sides gives the same bytes.
		wide := rapid.SliceOfN(rapid.Byte(), 64*count, 64*count).Draw(t, "randomness")
		factors := make([]string, count)
		for i := range factors {
			s, err := edwards25519.NewScalar().SetUniformBytes(wide[64*i : 64*(i+1)])
			if err != nil {
				t.Fatal(err)
			}
			factors[i] = text(s.Bytes())
		}
		b, err := NewBlinder(base, public, 1)
		if err != nil {
			t.Fatal(err)
		}
		var batch *Batch
		if h.Operation == Evaluate {
			batch, err = b.Numbers(h, all, bytes.NewReader(wide))
		} else {
			batch, err = b.Tokens(h, tokens, bytes.NewReader(wide))
		}
		if err != nil {
			t.Fatal(err)
		}
		asked["request"] = twinHeader{h.Operation, h.DomainNo, h.TokenEpoch, h.ToDomainNo, h.ToTokenEpoch, text(h.RequestID[:])}
		asked["base"], asked["factors"] = text(base[:]), factors
		if got := ask(t, asked).Request; got != text(batch.Request) {
			t.Fatalf("its request is %s, not %x", got, batch.Request)
		}
		r, err := ParseRequest(batch.Request, 2)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := r.Answer(key, base, public, 1)
		if err != nil {
			t.Fatal(err)
		}
		nonce, _ := newKey(t)
		theirs := unhex(t, ask(t, map[string]any{"answer": text(batch.Request), "key": scalarText(t, key), "base": text(base[:]), "public": text(public[:]), "nonce": scalarText(t, nonce)}).Response)
		if !bytes.Equal(ours[:len(ours)-ProofSize], theirs[:len(theirs)-ProofSize]) {
			t.Fatal("it makes other elements")
		}
		finish := func(response []byte) twinAnswer {
			return ask(t, map[string]any{"finish": text(response), "request": text(batch.Request), "factors": factors, "base": text(base[:]), "public": text(public[:])})
		}
		byOurs, byTheirs := finish(ours), finish(theirs)
		got, err := batch.Finish(theirs)
		if err != nil || byOurs.Refused+byTheirs.Refused != "" {
			t.Fatalf("its proof: %v; ours by it: %q; its own: %q", err, byOurs.Refused, byTheirs.Refused)
		}
		for i := range got {
			if text(got[i][:]) != byOurs.Tokens[i] || byOurs.Tokens[i] != byTheirs.Tokens[i] {
				t.Fatal("it makes other tokens")
			}
		}
		changed := bytes.Clone(ours)
		changed[rapid.IntRange(0, len(changed)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if answer := finish(changed); answer.Refused == "" {
			t.Fatal("it takes an answer that was changed")
		}
		points := make([]string, 0, count+1)
		for i := range all {
			p := Encode(all[i])
			points = append(points, text(p[:]))
		}
		points = append(points, text(got[0][:]))
		answer := ask(t, map[string]any{"decode": points})
		for i, n := range answer.Numbers {
			if i < count && (n == nil || *n != digits[i]) || i == count && n != nil {
				t.Fatalf("it decodes element %d otherwise", i)
			}
		}
	})
}
