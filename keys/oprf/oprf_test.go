package oprf

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"

	"tarn/keys/nhsnumber"
	"tarn/keys/oprf/internal/ristretto"
	"tarn/keys/secret"
)

// TestEncodingsOfTheSpecification: known answers.
func TestEncodingsOfTheSpecification(t *testing.T) {
	b, err := os.ReadFile("../../testdata/vectors/spec.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Enc map[string]struct {
			Point string `json:"point"`
		} `json:"enc"`
	}
	if err := json.Unmarshal(b, &vectors); err != nil || len(vectors.Enc) == 0 {
		t.Fatal(err)
	}
	for digits, want := range vectors.Enc {
		n := nhsnumber.Number([]byte(digits))
		p := Encode(n)
		if hex.EncodeToString(p[:]) != want.Point {
			t.Errorf("%s is %x, want %s", digits, p, want.Point)
		}
		if got, ok := Decode(p, true); !ok || got != n {
			t.Errorf("%s decodes to %s, %v", digits, got, ok)
		}
	}
}

// number draws a number that identifies somebody.
func number(t *rapid.T) nhsnumber.Number {
	for i := rapid.IntRange(400_000_000, 999_000_000).Draw(t, "number"); ; i++ {
		first := [9]byte([]byte(fmt.Sprintf("%09d", i)))
		if digit, ok := nhsnumber.CheckDigit(first); ok {
			n := nhsnumber.Number(append(first[:], digit))
			if _, state, _ := nhsnumber.Parse(string(n[:])); state.Identifies(true) {
				return n
			}
		}
	}
}

// TestDecodeIsTheInverse: of every number it gives the number, and of any other element
// nobody: a later counter of the same number, another permutation's bytes, a number
// without its check digit.
func TestDecodeIsTheInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := number(t)
		p := Encode(n)
		if got, ok := Decode(p, true); !ok || got != n {
			t.Fatalf("%s decodes to %s, %v", n, got, ok)
		}
		var random Point
		if _, err := rand.Read(random[:]); err != nil {
			t.Fatal(err)
		}
		if _, ok := Decode(random, true); ok {
			t.Fatal("random bytes are somebody")
		}
	})
	// The next counter whose bytes are an element.
	e, n := newEncoder(), nhsnumber.Number([]byte("9434765919"))
	seen := 0
	for counter := byte(0); seen < 2; counter++ {
		var p Point
		for i, x := 0, value(n); i < 8; i++ {
			p[7-i] = byte(x >> (8 * i))
		}
		p[9] = counter
		e.permute(&p)
		if !new(ristretto.Element).SetBytes(p[:]) {
			continue
		}
		_, ok := Decode(p, true)
		if ok != (seen == 0) {
			t.Errorf("element %d of a number decodes: %v", seen, ok)
		}
		seen++
	}
	if _, ok := Decode(Encode(nhsnumber.Number([]byte("9434765918"))), true); ok {
		t.Error("a number with a wrong check digit is somebody")
	}
	if _, ok := Decode(Encode(nhsnumber.Number([]byte("9990000018"))), false); ok {
		t.Error("a number of the test range is somebody")
	}
}

// newKey makes a key for a test, or a check of rapid's.
func newKey(t interface {
	Helper()
	Fatal(...any)
}) (secret.Key, Point) {
	t.Helper()
	k, err := NewKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	public, err := PublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return k, public
}

func blinder(t testing.TB, base, public Point) *Blinder {
	t.Helper()
	b, err := NewBlinder(base, public, 2)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func answer(t testing.TB, request []byte, key secret.Key, base, public Point) []byte {
	t.Helper()
	r, err := ParseRequest(request, 2)
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.Answer(key, base, public, 2)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func numbers(count int) (all []nhsnumber.Number) {
	for i := 400_000_000; len(all) < count; i++ {
		first := [9]byte([]byte(fmt.Sprintf("%09d", i)))
		if digit, ok := nhsnumber.CheckDigit(first); ok {
			all = append(all, nhsnumber.Number(append(first[:], digit)))
		}
	}
	return all
}

// slowToken is kEnc(x) by the letter of the specification.
func slowToken(t testing.TB, key secret.Key, n nhsnumber.Number) (token Point) {
	t.Helper()
	return multiplied(t, key, Encode(n))
}

// multiplied is kP.
func multiplied(t interface{ Fatal(...any) }, key secret.Key, p Point) (token Point) {
	key.Use(func(b *[secret.Size]byte) {
		k, err := edwards25519.NewScalar().SetCanonicalBytes(b[:])
		e := new(ristretto.Element)
		if err != nil || !e.SetBytes(p[:]) {
			t.Fatal("no key, or no element")
		}
		token = e.Multiply(k, e).Bytes()
	})
	return token
}

var evaluation = Header{Operation: Evaluate, DomainNo: 7, TokenEpoch: 3, RequestID: [16]byte{1, 2, 3}}

// TestTokensAreTheKeysMultiples, for batches of one, of several ranges and of the most
// there may be; the same number gets the same token, from other blinds, too.
func TestTokensAreTheKeysMultiples(t *testing.T) {
	key, public := newKey(t)
	b := blinder(t, Generator(), public)
	sizes := []int{1, 2, 63, 64, 65, 300}
	if !testing.Short() {
		sizes = append(sizes, MaxBatch)
	}
	for _, size := range sizes {
		all := numbers(size)
		batch, err := b.Numbers(evaluation, all, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.Numbers(evaluation, all[:1], nil)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(batch.Request, again.Request[headerSize:]) {
			t.Fatal("two blinds are the same")
		}
		tokens, err := batch.Finish(answer(t, batch.Request, key, Generator(), public))
		if err != nil || len(tokens) != size {
			t.Fatalf("%d: %d tokens, %v", size, len(tokens), err)
		}
		for i := 0; i < size; i += 1 + size/50 {
			if tokens[i] != slowToken(t, key, all[i]) {
				t.Fatalf("%d: token %d is another", size, i)
			}
		}
		opened, err := Open(key, public, 7, 3, tokens[size-1])
		if n, ok := Decode(opened.Point, true); err != nil || !ok || n != all[size-1] {
			t.Fatalf("%d: the last token opens as %s, %v, %v", size, n, ok, err)
		}
	}
}

// TestRotationAndConversion: tokens of one key become those of another, each side blind
// to what the other has.
func TestRotationAndConversion(t *testing.T) {
	from, fromPublic := newKey(t)
	to, toPublic := newKey(t)
	quotient, err := Quotient(to, from)
	if err != nil {
		t.Fatal(err)
	}
	all := numbers(100)
	var tokens []Point
	for _, n := range all {
		tokens = append(tokens, slowToken(t, from, n))
	}
	b := blinder(t, fromPublic, toPublic)
	for _, h := range []Header{
		{Operation: Rotate, DomainNo: 7, TokenEpoch: 3, ToDomainNo: 7, ToTokenEpoch: 4, RequestID: [16]byte{9}},
		{Operation: Convert, DomainNo: 7, TokenEpoch: 3, ToDomainNo: 8, ToTokenEpoch: 1, RequestID: [16]byte{9}},
	} {
		batch, err := b.Tokens(h, tokens, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := batch.Finish(answer(t, batch.Request, quotient, fromPublic, toPublic))
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range all {
			if got[i] != slowToken(t, to, n) {
				t.Fatalf("operation %d: token %d is not that of the other key", h.Operation, i)
			}
		}
	}
}

// TestWhatIsNotTheKeysIsRefused: another key, another batch's answer, an order that was
// changed, anything that was changed in the answer; nothing comes of it.
func TestWhatIsNotTheKeysIsRefused(t *testing.T) {
	key, public := newKey(t)
	other, otherPublic := newKey(t)
	b := blinder(t, Generator(), public)
	all := numbers(70)
	var batch *Batch
	fresh := func() []byte {
		var err error
		if batch, err = b.Numbers(evaluation, all, nil); err != nil {
			t.Fatal(err)
		}
		return answer(t, batch.Request, key, Generator(), public)
	}
	old := bytes.Clone(fresh())
	for name, change := range map[string]func(good []byte) []byte{
		"another key":               func([]byte) []byte { return answer(t, batch.Request, other, Generator(), otherPublic) },
		"another key as if it were": func([]byte) []byte { return answer(t, batch.Request, other, Generator(), public) },
		"an answer of before":       func([]byte) []byte { return old },
		"two exchanged": func(g []byte) []byte {
			a := bytes.Clone(point(g, 3))
			copy(point(g, 3), point(g, 50))
			copy(point(g, 50), a)
			return g
		},
		"one twice":       func(g []byte) []byte { copy(point(g, 3), point(g, 4)); return g },
		"one bit":         func(g []byte) []byte { point(g, 69)[7] ^= 4; return g },
		"the identity":    func(g []byte) []byte { clear(point(g, 3)); return g },
		"the proof's bit": func(g []byte) []byte { g[len(g)-1] ^= 1; return g },
		"no proof":        func(g []byte) []byte { return g[:len(g)-ProofSize] },
		"a byte more":     func(g []byte) []byte { return append(g, 0) },
		"nothing":         func([]byte) []byte { return nil },
		"another request": func(g []byte) []byte { g[30] ^= 1; return g },
		"another epoch":   func(g []byte) []byte { g[15] ^= 1; return g },
		"another domain":  func(g []byte) []byte { g[11] ^= 1; return g },
		"another kind":    func(g []byte) []byte { g[3] = 'V'; return g },
		"another version": func(g []byte) []byte { g[4] = 2; return g },
		"fewer":           func(g []byte) []byte { g[43]--; return append(g[:headerSize], g[headerSize+PointSize:]...) },
		"the whole negated": func(g []byte) []byte {
			for i := range all {
				var e ristretto.Element
				if !e.SetBytes(point(g, i)) {
					t.Fatal("no element")
				}
				e.Negate(&e).AppendTo(point(g, i)[:0])
			}
			return g
		},
	} {
		if tokens, err := batch.Finish(change(fresh())); err == nil || tokens != nil {
			t.Errorf("%s: %d tokens", name, len(tokens))
		}
	}
	good := fresh()
	if _, err := batch.Finish(good); err != nil {
		t.Errorf("nothing was changed: %v", err)
	}
}

// TestEveryWeightDependsOnEveryElement: an input or an output that changes, changes all
// weights, and so do the public key, the header and the number of elements.
func TestEveryWeightDependsOnEveryElement(t *testing.T) {
	const n = 20
	inputs, outputs := make([][]byte, n), make([][]byte, n)
	for i := range n {
		inputs[i], outputs[i] = make([]byte, PointSize), make([]byte, PointSize)
		_, _ = rand.Read(inputs[i]) // it never fails
		_, _ = rand.Read(outputs[i])
	}
	_, public := newKey(t)
	of := func(h Header, public Point, n int) []ristretto.Weight {
		s := statement{h.context(), Generator(), public}
		return s.weights(n, func(i int) []byte { return inputs[i] }, func(i int) []byte { return outputs[i] })
	}
	before := of(evaluation, public, n)
	differ := func(name string, after []ristretto.Weight) {
		t.Helper()
		for i := range after {
			if after[i] == before[i] {
				t.Errorf("%s: weight %d is the same", name, i)
			}
		}
	}
	for i := range n {
		for name, all := range map[string][][]byte{"input": inputs, "output": outputs} {
			all[i][31] ^= 1
			differ(fmt.Sprintf("%s %d", name, i), of(evaluation, public, n))
			all[i][31] ^= 1
		}
	}
	changed := evaluation
	changed.RequestID[15]++
	differ("request", of(changed, public, n))
	changed = evaluation
	changed.TokenEpoch++
	differ("epoch", of(changed, public, n))
	_, otherPublic := newKey(t)
	differ("public key", of(evaluation, otherPublic, n))
	differ("fewer", of(evaluation, public, n-1))
	if again := of(evaluation, public, n); again[0] != before[0] || again[n-1] != before[n-1] {
		t.Error("the same batch has other weights")
	}
}

// TestErrorsThatCancelAreRefused: a key holder that makes two outputs wrong such that
// the errors cancel under weights which each depend on one element only (RFC 9497's), is
// refused under weights that depend on the batch. The control is a verifier with such
// weights, which takes it.
func TestErrorsThatCancelAreRefused(t *testing.T) {
	key, public := newKey(t)
	b := blinder(t, Generator(), public)
	batch, err := b.Numbers(evaluation, numbers(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	good := answer(t, batch.Request, key, Generator(), public)
	// Weights of an element alone, of which two are such that w0 e0 + w1 e1 = 0 when the
	// errors are e0 = w1 E and e1 = -w0 E. To keep the search short the control's weights
	// do not depend on the outputs.
	alone := func(i int) *edwards25519.Scalar {
		w, err := edwards25519.NewScalar().SetCanonicalBytes(append(bytes.Clone(point(batch.Request, i)[:16]), make([]byte, 16)...))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	bad := bytes.Clone(good)
	errorOf := new(ristretto.Element)
	outputs := make([]ristretto.Element, 2)
	for i := range outputs {
		if !outputs[i].SetBytes(point(good, i)) {
			t.Fatal("no element")
		}
		errorOf.Multiply(alone(1-i), ristretto.Generator())
		if i == 1 {
			errorOf.Negate(errorOf)
		}
		outputs[i].Add(&outputs[i], errorOf)
		outputs[i].AppendTo(point(bad, i)[:0])
	}
	sum := func(response []byte) *ristretto.Element {
		all := ristretto.Identity()
		for i := range 2 {
			var z ristretto.Element
			if !z.SetBytes(point(response, i)) {
				t.Fatal("no element")
			}
			all.Add(all, z.Multiply(alone(i), &z))
		}
		return all
	}
	if !sum(good).Equal(sum(bad)) {
		t.Fatal("the errors do not cancel under weights of single elements: the control is none")
	}
	// It proves what it can: that sum.
	r, err := ParseRequest(batch.Request, 2)
	if err != nil {
		t.Fatal(err)
	}
	s := statement{r.context(), Generator(), public}
	inputs := make([]ristretto.Element, 2)
	for i := range inputs {
		if !inputs[i].SetBytes(point(batch.Request, i)) {
			t.Fatal("no element")
		}
	}
	weights := s.weights(2, func(i int) []byte { return point(batch.Request, i) }, func(i int) []byte { return point(bad, i) })
	err = useScalar(key, func(k *edwards25519.Scalar) error {
		proof, err := s.prove(circlScalar(k), weights, inputs)
		copy(bad[len(bad)-ProofSize:], proof[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if tokens, err := batch.Finish(bad); !errors.Is(err, ErrProof) || tokens != nil {
		t.Errorf("%d wrong tokens, %v", len(tokens), err)
	}
}

// TestRequestsThatAreNone: each refused before anything is multiplied.
func TestRequestsThatAreNone(t *testing.T) {
	key, public := newKey(t)
	b := blinder(t, Generator(), public)
	batch, err := b.Numbers(evaluation, numbers(3), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(g []byte) []byte{
		"nothing":       func([]byte) []byte { return nil },
		"a header only": func(g []byte) []byte { return g[:headerSize] },
		"no element":    func(g []byte) []byte { clear(g[40:44]); return g[:headerSize] },
		"a byte less":   func(g []byte) []byte { return g[:len(g)-1] },
		"a byte more":   func(g []byte) []byte { return append(g, 0) },
		"too many": func(g []byte) []byte {
			copy(g[40:], []byte{0, 0, 0x40, 1})
			return append(g, make([]byte, (MaxBatch-2)*PointSize)...)
		},
		"another version":      func(g []byte) []byte { g[4] = 2; return g },
		"another kind":         func(g []byte) []byte { g[3] = 'W'; return g },
		"reserved bits":        func(g []byte) []byte { g[7] = 1; return g },
		"no operation":         func(g []byte) []byte { g[5] = 0; return g },
		"another operation":    func(g []byte) []byte { g[5] = 4; return g },
		"no domain":            func(g []byte) []byte { clear(g[8:12]); return g },
		"a destination":        func(g []byte) []byte { g[19] = 1; return g },
		"no destination":       func(g []byte) []byte { g[5] = 2; return g },
		"the identity":         func(g []byte) []byte { clear(point(g, 1)); return g },
		"not canonical":        func(g []byte) []byte { point(g, 2)[31] |= 0x80; return g },
		"negative":             func(g []byte) []byte { point(g, 2)[0] |= 1; return g },
		"the prime, and so on": func(g []byte) []byte { copy(point(g, 0), bytes.Repeat([]byte{0xfe}, 32)); return g },
	} {
		r, err := ParseRequest(change(bytes.Clone(batch.Request)), 2)
		if err == nil {
			_, err = r.Answer(key, Generator(), public, 2)
		}
		if !errors.Is(err, ErrWire) && !errors.Is(err, ErrElement) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, h := range map[string]Header{"no domain": {Operation: Evaluate, TokenEpoch: 1}, "rotated to another domain": {Operation: Rotate, DomainNo: 1, TokenEpoch: 1, ToDomainNo: 2, ToTokenEpoch: 1}} {
		if _, err := b.Numbers(h, numbers(1), nil); err == nil {
			t.Errorf("%s is blinded", name)
		}
	}
	if _, err := b.Numbers(evaluation, nil, nil); err == nil {
		t.Error("a batch of nothing is blinded")
	}
	if _, err := b.Tokens(evaluation, []Point{{}}, nil); !errors.Is(err, ErrElement) {
		t.Errorf("the identity is blinded: %v", err)
	}
	if _, err := NewBlinder(Generator(), Point{}, 1); err == nil {
		t.Error("the identity is a public key")
	}
}

// TestKeysThatAreNone are refused: zero, and what is not reduced.
func TestKeysThatAreNone(t *testing.T) {
	for name, b := range map[string][]byte{
		"zero": make([]byte, 32), "the order": append([]byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14}, append(make([]byte, 15), 0x10)...),
		"all bits": bytes.Repeat([]byte{0xff}, 32),
	} {
		k := secret.New([32]byte(b))
		if _, err := PublicKey(k); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
		good, _ := newKey(t)
		if _, err := Quotient(good, k); !errors.Is(err, ErrKey) {
			t.Errorf("%s: divided by it: %v", name, err)
		}
	}
	if _, err := PublicKey(secret.Key{}); !errors.Is(err, ErrKey) {
		t.Errorf("no key: %v", err)
	}
}

// TestNothingSecretIsPrinted: of a batch on its way nothing but what is sent.
func TestNothingSecretIsPrinted(t *testing.T) {
	key, public := newKey(t)
	b := blinder(t, Generator(), public)
	// Blinds that can be recognised: each is the bytes' remainder, which is small.
	batch, err := b.Numbers(evaluation, numbers(1), bytes.NewReader(append([]byte{0xab, 0xcd, 0xef, 0x42}, make([]byte, 60)...)))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%d", "%s"} {
		batch.Request = nil
		text := strings.ToLower(fmt.Sprintf(verb, batch) + fmt.Sprintf(verb, *batch) + fmt.Sprintf(verb, key))
		for _, secret := range []string{"abcdef42", "171 205 239 66", "0xab, 0xcd"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s prints a blind", verb)
			}
		}
	}
}

func BenchmarkBlind(b *testing.B) {
	_, public := newKey(b)
	blind, err := NewBlinder(Generator(), public, 1)
	if err != nil {
		b.Fatal(err)
	}
	all := numbers(4096)
	for b.Loop() {
		if _, err := blind.Numbers(evaluation, all, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/float64(len(all)), "us/element")
}

func BenchmarkAnswer(b *testing.B) {
	key, public := newKey(b)
	blind := blinder(b, Generator(), public)
	all := numbers(4096)
	batch, err := blind.Numbers(evaluation, all, nil)
	if err != nil {
		b.Fatal(err)
	}
	r, err := ParseRequest(batch.Request, 2)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := r.Answer(key, Generator(), public, 1); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/float64(len(all)), "us/element")
}

func BenchmarkFinish(b *testing.B) {
	key, public := newKey(b)
	blind, err := NewBlinder(Generator(), public, 1)
	if err != nil {
		b.Fatal(err)
	}
	all := numbers(4096)
	for b.Loop() {
		b.StopTimer()
		batch, err := blind.Numbers(evaluation, all, nil)
		if err != nil {
			b.Fatal(err)
		}
		response := answer(b, batch.Request, key, Generator(), public)
		b.StartTimer()
		if _, err := batch.Finish(response); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/float64(len(all)), "us/element")
}
