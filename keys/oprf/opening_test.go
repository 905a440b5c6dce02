package oprf

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"os"
	"testing"

	"pgregory.net/rapid"

	"tarn/bench/peer"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf/internal/ristretto"
	"tarn/keys/secret"
)

// TestKnownOpening holds the bytes of a proof's statement to what testdata/python/oblivious.py
// made with the key 5 and the nonce 7, of a number of the specification.
func TestKnownOpening(t *testing.T) {
	key := secret.New([secret.Size]byte{5})
	public, err := PublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	n := nhsnumber.Number([]byte("9434765919"))
	token := multiplied(t, key, Encode(n))
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if want := "7a6cbc727523e653261af6528ed80f7201e13a83604fc9b0bd53e5e9a75dbc28"; hex.EncodeToString(token[:]) != want {
		t.Fatalf("the token is %x", token)
	}
	o := Opening{Point(unhex("a62049b524ccdb96f7f5735f563920e7ae2cdbfdab2759303c3ebecf10605d70")), [ProofSize]byte(unhex("e628fdd393ea0a67176509f74485663bf5809a6c1a00dabe4a30fe7caac9f80850afeff26b9400050eddb71543539c15367bfbe07bffbd458a0e098fab0f2403"))}
	if err := VerifyOpening(public, 7, 3, token, o); err != nil {
		t.Errorf("the proof does not hold: %v", err)
	}
	if err := VerifyOpening(public, 7, 4, token, o); !errors.Is(err, ErrProof) {
		t.Errorf("it holds of another epoch: %v", err)
	}
}

// TestOpenings: a token that was made by evaluation opens to its number, and the proof holds.
func TestOpenings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, public := newKey(t)
		n := number(t)
		token := multiplied(t, key, Encode(n))
		o, err := Open(key, public, 7, 3, token)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := Decode(o.Point, true); !ok || got != n || o.Point != Encode(n) {
			t.Fatalf("%s opens as %s, %v", n, got, ok)
		}
		if err := VerifyOpening(public, 7, 3, token, o); err != nil {
			t.Fatal(err)
		}
	})
}

// TestOpeningsOfAnotherKeyShow: each part of an opening, and of what it is an opening of, is
// held to the proof.
func TestOpeningsOfAnotherKeyShow(t *testing.T) {
	key, public := newKey(t)
	other, otherPublic := newKey(t)
	token := multiplied(t, key, Encode(nhsnumber.Number([]byte("9434765919"))))
	second := multiplied(t, key, Encode(nhsnumber.Number([]byte("9434765870"))))
	open := func(key secret.Key, public, token Point) Opening {
		t.Helper()
		o, err := Open(key, public, 7, 3, token)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	good := open(key, public, token)
	if err := VerifyOpening(public, 7, 3, token, good); err != nil {
		t.Fatalf("control: %v", err)
	}
	twice := good
	twice.Point = multiplied(t, secret.New([secret.Size]byte{2}), good.Point)
	negated := good
	var e ristretto.Element
	if !e.SetBytes(good.Point[:]) {
		t.Fatal("no element")
	}
	negated.Point = e.Negate(&e).Bytes()
	exchanged := good
	copy(exchanged.Proof[:32], good.Proof[32:])
	copy(exchanged.Proof[32:], good.Proof[:32])
	// s and s + the order are one scalar: only one of the two is written so.
	malleable := good
	carry := 0
	for i, b := range unhexOrder(t) {
		carry += int(malleable.Proof[32+i]) + int(b)
		malleable.Proof[32+i], carry = byte(carry), carry>>8
	}
	for name, try := range map[string]struct {
		public          Point
		domainNo, epoch uint32
		token           Point
		opening         Opening
	}{
		"another key":                 {public, 7, 3, token, open(other, otherPublic, token)},
		"another key as if it were":   {public, 7, 3, token, open(other, public, token)},
		"another record's key":        {otherPublic, 7, 3, token, good},
		"another domain":              {public, 8, 3, token, good},
		"another epoch":               {public, 7, 4, token, good},
		"domain and epoch exchanged":  {public, 3, 7, token, good},
		"another token":               {public, 7, 3, second, good},
		"somebody else":               {public, 7, 3, token, Opening{open(key, public, second).Point, good.Proof}},
		"somebody else's proof":       {public, 7, 3, token, Opening{good.Point, open(key, public, second).Proof}},
		"twice the point":             {public, 7, 3, token, twice},
		"the point negated":           {public, 7, 3, token, negated},
		"halves of the proof changed": {public, 7, 3, token, exchanged},
		"another form of the proof":   {public, 7, 3, token, malleable},
		"no proof":                    {public, 7, 3, token, Opening{Point: good.Point}},
		"a proof of a batch":          {public, 7, 3, token, Opening{good.Point, batchProof(t, key, public, good.Point)}},
	} {
		if err := VerifyOpening(try.public, try.domainNo, try.epoch, try.token, try.opening); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for bit := range 8 * ProofSize {
		changed := good
		changed.Proof[bit/8] ^= 1 << (bit % 8)
		if err := VerifyOpening(public, 7, 3, token, changed); !errors.Is(err, ErrProof) {
			t.Errorf("bit %d of the proof: %v", bit, err)
		}
	}
}

// unhexOrder is the order of the group, little-endian.
func unhexOrder(t *testing.T) []byte {
	t.Helper()
	b, err := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// batchProof proves the same of the same pair as the answer of a batch of one.
func batchProof(t *testing.T, key secret.Key, public, p Point) (proof [ProofSize]byte) {
	t.Helper()
	h := Header{Operation: Evaluate, DomainNo: 7, TokenEpoch: 3}
	request := append(h.append(nil, requestMagic, 1), p[:]...)
	response := answer(t, request, key, Generator(), public)
	return [ProofSize]byte(response[len(response)-ProofSize:])
}

// TestWhatIsNoTokenDoesNotOpen: the identity, and bytes that are no element.
func TestWhatIsNoTokenDoesNotOpen(t *testing.T) {
	key, public := newKey(t)
	token := multiplied(t, key, Encode(nhsnumber.Number([]byte("9434765919"))))
	good, err := Open(key, public, 7, 3, token)
	if err != nil {
		t.Fatal(err)
	}
	odd := token
	odd[0] |= 1 // negative
	high := token
	high[31] |= 0x80
	for name, b := range map[string]Point{"the identity": {}, "a negative one": odd, "more than 255 bits": high, "not reduced": Point(bytes.Repeat([]byte{0xff}, PointSize))} {
		if o, err := Open(key, public, 7, 3, b); !errors.Is(err, ErrElement) || o != (Opening{}) {
			t.Errorf("%s opens: %v", name, err)
		}
		for part, err := range map[string]error{
			"token": VerifyOpening(public, 7, 3, b, good), "point": VerifyOpening(public, 7, 3, token, Opening{b, good.Proof}), "public key": VerifyOpening(b, 7, 3, token, good),
		} {
			if !errors.Is(err, ErrElement) {
				t.Errorf("%s as the %s: %v", name, part, err)
			}
		}
	}
	for name, key := range map[string]secret.Key{"no key": {}, "the key zero": secret.New([secret.Size]byte{}), "a key that is not reduced": secret.New([secret.Size]byte(bytes.Repeat([]byte{0xff}, secret.Size)))} {
		if o, err := Open(key, public, 7, 3, token); !errors.Is(err, ErrKey) || o != (Opening{}) {
			t.Errorf("%s opens: %v", name, err)
		}
	}
}

// TestTokensThatWereMadeUpAreNobodys: who has the key, or an evaluation, can make tokens of
// points that no number's encoding gives: of a later counter, of which every patient would
// have thousands, of bytes behind the number, of an integer that is no number, and of any
// element. They open, with a proof that holds, and are nobody's.
func TestTokensThatWereMadeUpAreNobodys(t *testing.T) {
	key, public := newKey(t)
	x := value(nhsnumber.Number([]byte("9434765919")))
	e := newEncoder()
	// element returns the first element that bytes give which change makes of a counter.
	element := func(change func(b *Point, counter uint16), from uint16) (Point, uint16) {
		for counter := from; ; counter++ {
			var b Point
			for i := range 8 {
				b[7-i] = byte(x >> (8 * i))
			}
			b[8], b[9] = byte(counter>>8), byte(counter)
			change(&b, counter)
			e.permute(&b)
			if new(ristretto.Element).SetBytes(b[:]) {
				return b, counter
			}
		}
	}
	first, counter := element(func(*Point, uint16) {}, 0)
	later, _ := element(func(*Point, uint16) {}, counter+1)
	last, _ := element(func(*Point, uint16) {}, 60_000)
	behind, _ := element(func(b *Point, _ uint16) { b[31] = 1 }, 0)
	before, _ := element(func(b *Point, _ uint16) { b[0] = 1 }, 0)         // x + 2^56
	more, _ := element(func(b *Point, _ uint16) { b[3], b[4] = 2, 84 }, 0) // x + 10^10, about
	for name, try := range map[string]struct {
		point    Point
		somebody bool
	}{
		"the number":                   {first, true},
		"a later counter":              {later, false},
		"a much later counter":         {last, false},
		"a byte behind":                {behind, false},
		"an integer of too many bytes": {before, false},
		"an integer of eleven digits":  {more, false},
		"no encoding":                  {Generator(), false},
		"a number without its digit":   {Encode(nhsnumber.Number([]byte("9434765918"))), false},
		"one digit ten times":          {Encode(nhsnumber.Number([]byte("4444444444"))), false},
	} {
		token := multiplied(t, key, try.point)
		o, err := Open(key, public, 7, 3, token)
		if err != nil || o.Point != try.point {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n, ok := Decode(o.Point, true); ok != try.somebody || !ok && n != (nhsnumber.Number{}) {
			t.Errorf("%s is somebody: %v", name, ok)
		}
		if err := VerifyOpening(public, 7, 3, token, o); err != nil {
			t.Errorf("%s: the proof does not hold: %v", name, err)
		}
	}
}

// TestOpeningsAgreeWithPython: either side verifies the other's openings, and refuses what
// was changed in them.
func TestOpeningsAgreeWithPython(t *testing.T) {
	python := twin{peer.Start(t, cmp.Or(os.Getenv("TARN_PYTHON"), "python3"), "oblivious.py")}
	type answer struct {
		Point, Proof, Refused string
		Number                *string
	}
	rapid.Check(t, func(t *rapid.T) {
		key, public := newKey(t)
		nonce, _ := newKey(t)
		n := number(t)
		p := Encode(n)
		somebody := rapid.Bool().Draw(t, "somebody")
		if !somebody {
			p = multiplied(t, nonce, p)
		}
		token := multiplied(t, key, p)
		domainNo, epoch := rapid.Uint32().Draw(t, "domain"), rapid.Uint32().Draw(t, "epoch")
		ask := func(request map[string]any) (a answer) {
			request["domain_no"], request["token_epoch"], request["public"] = domainNo, epoch, text(public[:])
			python.Ask(t, request, &a)
			return a
		}
		theirs := ask(map[string]any{"open": text(token[:]), "key": scalarText(t, key), "nonce": scalarText(t, nonce)})
		if theirs.Point != text(p[:]) || (theirs.Number != nil) != somebody || somebody && *theirs.Number != string(n[:]) {
			t.Fatalf("it opens otherwise: %+v", theirs)
		}
		if err := VerifyOpening(public, domainNo, epoch, token, Opening{p, [ProofSize]byte(unhex(t, theirs.Proof))}); err != nil {
			t.Fatalf("its opening is refused: %v", err)
		}
		ours, err := Open(key, public, domainNo, epoch, token)
		if err != nil {
			t.Fatal(err)
		}
		verify := func(o Opening) answer {
			return ask(map[string]any{"verify_opening": text(token[:]), "point": text(o.Point[:]), "proof": text(o.Proof[:])})
		}
		if a := verify(ours); a.Refused != "" || (a.Number != nil) != somebody {
			t.Fatalf("it refuses our opening: %+v", a)
		}
		changed := ours
		changed.Proof[rapid.IntRange(0, ProofSize-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if a := verify(changed); a.Refused == "" {
			t.Fatal("it takes a proof that was changed")
		}
		domainNo++
		if a := verify(ours); a.Refused == "" {
			t.Fatal("it takes the proof of another domain")
		}
	})
}

// FuzzVerifyOpening: of whatever bytes, an opening is verified if it is the true one, and is
// else refused with one of two errors.
func FuzzVerifyOpening(f *testing.F) {
	key, public := newKey(f)
	token := multiplied(f, key, Encode(nhsnumber.Number([]byte("9434765919"))))
	good, err := Open(key, public, 7, 3, token)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token[:], good.Point[:], good.Proof[:])
	f.Add(make([]byte, PointSize), make([]byte, PointSize), make([]byte, ProofSize))
	f.Add(good.Point[:], token[:], good.Proof[:])
	f.Fuzz(func(t *testing.T, b, p, proof []byte) {
		if len(b) != PointSize || len(p) != PointSize || len(proof) != ProofSize {
			return
		}
		err := VerifyOpening(public, 7, 3, Point(b), Opening{Point(p), [ProofSize]byte(proof)})
		if right := bytes.Equal(b, token[:]) && bytes.Equal(p, good.Point[:]) && bytes.Equal(proof, good.Proof[:]); (err == nil) != right {
			t.Fatalf("the true opening: %v; %v", right, err)
		}
		if err != nil && !errors.Is(err, ErrElement) && !errors.Is(err, ErrProof) {
			t.Fatalf("refused with %v", err)
		}
	})
}

// BenchmarkOpen opens somebody's token, and one of a point that is nobody's.
func BenchmarkOpen(b *testing.B) {
	key, public := newKey(b)
	all := numbers(64)
	var somebody, nobody []Point
	for i, n := range all {
		p := Encode(n)
		somebody = append(somebody, multiplied(b, key, p))
		scalar := secret.New([secret.Size]byte{byte(i), 1})
		nobody = append(nobody, multiplied(b, key, multiplied(b, scalar, p)))
	}
	for name, tokens := range map[string][]Point{"somebody": somebody, "nobody": nobody} {
		b.Run(name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				o, err := Open(key, public, 7, 3, tokens[i%len(tokens)])
				if err != nil {
					b.Fatal(err)
				}
				if _, ok := Decode(o.Point, true); ok != (name == "somebody") {
					b.Fatal("whose it is")
				}
				i++
			}
		})
		b.Run(name+"/verify", func(b *testing.B) {
			o, err := Open(key, public, 7, 3, tokens[0])
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := VerifyOpening(public, 7, 3, tokens[0], o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
