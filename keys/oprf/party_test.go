package oprf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"

	"tarn/bench/peer"
	"tarn/keys/oprf/internal/ristretto"
	"tarn/keys/secret"
)

var conversionForParty = Header{Operation: ConvertForParty, DomainNo: 7, TokenEpoch: 3, ToDomainNo: 8, ToTokenEpoch: 1, RequestID: [16]byte{1, 2, 3}}

// exchange is two domains, a recipient and some rows between them.
type exchange struct {
	from, to, recipient              secret.Key
	fromPublic, toPublic, recipientY Point
	quotient                         secret.Key
	rows                             []Row
	want                             map[string]Point // by payload; none of a row without a token
}

func newExchange(t testing.TB, count int) *exchange {
	x := &exchange{want: map[string]Point{}}
	x.from, x.fromPublic = newKey(t)
	x.to, x.toPublic = newKey(t)
	x.recipient, x.recipientY = newKey(t)
	var err error
	if x.quotient, err = Quotient(x.to, x.from); err != nil {
		t.Fatal(err)
	}
	for i, n := range numbers(count) {
		payload := binary.BigEndian.AppendUint32(nil, uint32(i))
		row := Row{Token: slowToken(t, x.from, n), Absent: i%3 == 1, Payload: payload}
		if i%5 == 4 {
			row.Token = x.rows[0].Token // the same person again
			n = numbers(1)[0]
		}
		if !row.Absent {
			x.want[string(payload)] = slowToken(t, x.to, n)
		}
		x.rows = append(x.rows, row)
	}
	return x
}

func (x *exchange) request(t testing.TB) []byte {
	t.Helper()
	e, err := NewEncrypter(x.recipientY, 2)
	if err != nil {
		t.Fatal(err)
	}
	request, err := e.Rows(conversionForParty, []byte("seal"), x.rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func (x *exchange) answer(t testing.TB, request []byte) []byte {
	t.Helper()
	p, err := ParseParcel(request, 2)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := p.Answer(x.quotient, x.fromPublic, x.toPublic, x.recipientY, nil, 2)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestConversionForAnotherParty: each row arrives with its payload and the token that the
// second domain's key makes, or without one; what is sent, what is answered and in which
// order is another each time.
func TestConversionForAnotherParty(t *testing.T) {
	for _, count := range []int{1, 2, 70, 500} {
		x := newExchange(t, count)
		request := x.request(t)
		answer := x.answer(t, request)
		a, err := OpenParcel(answer, x.recipient, x.fromPublic, x.toPublic, 2)
		if err != nil {
			t.Fatal(err)
		}
		if a.Header != conversionForParty || string(a.Seal) != "seal" || len(a.Rows) != count {
			t.Fatalf("%d rows of %+v arrive", len(a.Rows), a.Header)
		}
		seen := map[string]bool{}
		for _, row := range a.Rows {
			want, there := x.want[string(row.Payload)]
			if row.Absent == there || there && row.Token != want || seen[string(row.Payload)] {
				t.Fatal("a row arrives with another token, or twice")
			}
			seen[string(row.Payload)] = true
		}
		sent, err := parseParcel(request, requestMagic, sentPoints, 0)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseParcel(x.answer(t, request), responseMagic, answeredPoint, ProofSize)
		if err != nil {
			t.Fatal(err)
		}
		known := map[Point]bool{}
		for i := range x.rows {
			known[Point(sent.point(i, 0))], known[Point(sent.point(i, 1))] = true, true
		}
		first, err := parseParcel(answer, responseMagic, answeredPoint, ProofSize)
		if err != nil {
			t.Fatal(err)
		}
		for _, answered := range []parcel{first, again} {
			for i := range x.rows {
				for j := range 4 {
					p := Point(answered.point(i, j))
					if known[p] {
						t.Fatal("an element of the request, or of another answer, is there again")
					}
					known[p] = true
				}
			}
		}
		// Each row is hidden behind a factor of its own: what was added to the first half of
		// two rows differs.
		added := map[Point]bool{}
		for i, at := range a.order() {
			var u, c ristretto.Element
			if !u.SetBytes(first.point(i, 0)) || !c.SetBytes(sent.point(int(at), 0)) {
				t.Fatal("no element")
			}
			added[u.Subtract(&u, &c).Bytes()] = true
		}
		if len(added) != count {
			t.Errorf("%d factors hide %d rows", len(added), count)
		}
		if order := a.order(); count > 2 && slices.IsSorted(order) {
			t.Error("the rows arrive in the order in which they were sent")
		}
	}
}

func (a *Arrival) order() (order []uint32) {
	for _, row := range a.Rows {
		order = append(order, binary.BigEndian.Uint32(row.Payload))
	}
	return order
}

// TestEveryOrderIsAsLikely: of three rows each of the six orders comes a sixth of the
// time. The bound fails by chance once in some 10^9 runs.
func TestEveryOrderIsAsLikely(t *testing.T) {
	const tries = 6000
	counts := map[[3]int]int{}
	for range tries {
		order, err := permutation(3, nil)
		if err != nil {
			t.Fatal(err)
		}
		counts[[3]int(order)]++
	}
	for order, n := range counts {
		if n < tries/6-200 || n > tries/6+200 {
			t.Errorf("order %v came %d times of %d", order, n, tries)
		}
	}
	if len(counts) != 6 {
		t.Errorf("%d orders came", len(counts))
	}
}

// TestParcelsThatAreNotOfTheKeysAreRefused: other keys, other elements, other headers. A
// payload is not in the proof: it is sealed by itself.
func TestParcelsThatAreNotOfTheKeysAreRefused(t *testing.T) {
	x := newExchange(t, 70)
	request := x.request(t)
	good := x.answer(t, request)
	other, otherPublic := newKey(t)
	at := func(b []byte, i, j int) []byte {
		p, err := parseParcel(b, responseMagic, answeredPoint, ProofSize)
		if err != nil {
			t.Fatal(err)
		}
		return p.point(i, j)
	}
	exchanged := func(j int) func([]byte) []byte {
		return func(b []byte) []byte {
			kept := bytes.Clone(at(b, 3, j))
			copy(at(b, 3, j), at(b, 50, j))
			copy(at(b, 50, j), kept)
			return b
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"u1 exchanged": exchanged(0), "u2 exchanged": exchanged(1), "v1 exchanged": exchanged(2), "v2 exchanged": exchanged(3),
		"an element twice":  func(b []byte) []byte { copy(at(b, 3, 3), at(b, 4, 3)); return b },
		"one bit":           func(b []byte) []byte { at(b, 69, 3)[7] ^= 4; return b },
		"the identity":      func(b []byte) []byte { clear(at(b, 3, 2)); return b },
		"the proof's bit":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"no proof":          func(b []byte) []byte { return b[:len(b)-ProofSize] },
		"a byte more":       func(b []byte) []byte { return append(b, 0) },
		"nothing":           func([]byte) []byte { return nil },
		"another request":   func(b []byte) []byte { b[30] ^= 1; return b },
		"another epoch":     func(b []byte) []byte { b[15] ^= 1; return b },
		"another operation": func(b []byte) []byte { b[5] = byte(Convert); return b },
		"the request":       func([]byte) []byte { return bytes.Clone(request) },
		"another quotient": func([]byte) []byte {
			p, err := ParseParcel(request, 1)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := p.Answer(other, x.fromPublic, x.toPublic, x.recipientY, nil, 1)
			if err != nil {
				t.Fatal(err)
			}
			return answer
		},
	} {
		if a, err := OpenParcel(change(bytes.Clone(good)), x.recipient, x.fromPublic, x.toPublic, 2); err == nil || a != nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if _, err := OpenParcel(good, x.recipient, otherPublic, x.toPublic, 2); !errors.Is(err, ErrProof) {
		t.Errorf("another domain to come from: %v", err)
	}
	if _, err := OpenParcel(good, x.recipient, x.fromPublic, otherPublic, 2); !errors.Is(err, ErrProof) {
		t.Errorf("another domain to go to: %v", err)
	}
	if a, err := OpenParcel(good, other, x.fromPublic, x.toPublic, 2); err != nil || slices.ContainsFunc(a.Rows, func(r Row) bool { return x.want[string(r.Payload)] == r.Token }) {
		t.Errorf("another recipient reads tokens, or cannot try: %v", err)
	}
	if _, err := OpenParcel(good, x.recipient, x.fromPublic, x.toPublic, 2); err != nil {
		t.Errorf("nothing was changed: %v", err)
	}
}

// TestParcelsThatAreNone: the key holder takes nothing of a request of which one part is
// wrong, and nobody makes such a request.
func TestParcelsThatAreNone(t *testing.T) {
	x := newExchange(t, 3)
	good := x.request(t)
	const first = parcelPrefix + len("seal")
	for name, change := range map[string]func([]byte) []byte{
		"the identity": func(b []byte) []byte { clear(b[first:][:PointSize]); return b },
		"not canonical": func(b []byte) []byte {
			copy(b[first+PointSize:][:PointSize], bytes.Repeat([]byte{0xff}, PointSize))
			return b
		},
		"no rows":           func(b []byte) []byte { b[43] = 0; return b[:first] },
		"a row more":        func(b []byte) []byte { b[43]++; return b },
		"another payload":   func(b []byte) []byte { b[47]++; return b },
		"an endless one":    func(b []byte) []byte { b[44] = 0xff; return b },
		"another seal":      func(b []byte) []byte { b[51]++; return b },
		"an endless seal":   func(b []byte) []byte { b[48] = 0xff; return b },
		"its header alone":  func(b []byte) []byte { return b[:headerSize] },
		"a byte less":       func(b []byte) []byte { return b[:len(b)-1] },
		"one domain":        func(b []byte) []byte { b[19] = b[11]; return b },
		"another operation": func(b []byte) []byte { b[5] = byte(Convert); return b },
		"an answer":         func(b []byte) []byte { return x.answer(t, b) },
	} {
		if p, err := ParseParcel(change(bytes.Clone(good)), 2); err == nil || p != nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if _, err := ParseParcel(good, 2); err != nil {
		t.Errorf("nothing was changed: %v", err)
	}
	if _, err := ParseRequest(append(conversionForParty.append(nil, requestMagic, 1), x.fromPublic[:]...), 1); !errors.Is(err, ErrWire) {
		t.Errorf("as another operation's batch: %v", err)
	}
	e, err := NewEncrypter(x.recipientY, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, rows := range map[string][]Row{
		"no rows":         nil,
		"other lengths":   {x.rows[0], {Token: x.rows[0].Token, Payload: []byte("longer")}},
		"too long":        {{Token: x.rows[0].Token, Payload: make([]byte, MaxRowPayload+1)}},
		"no token at all": {{Payload: []byte("payload")}},
	} {
		if _, err := e.Rows(conversionForParty, nil, rows, nil); err == nil {
			t.Errorf("%s: a request is made", name)
		}
	}
	if _, err := NewEncrypter(Point{}, 1); err == nil {
		t.Error("the identity is a recipient")
	}
}

// TestParcelsThatAreTooLong: a request of more than 1 MiB is neither made nor read, though
// every part of it is as it should be.
func TestParcelsThatAreTooLong(t *testing.T) {
	x := newExchange(t, 1)
	e, err := NewEncrypter(x.recipientY, 2)
	if err != nil {
		t.Fatal(err)
	}
	const wide = sentPoints + MaxRowPayload
	row := Row{Token: x.rows[0].Token, Payload: make([]byte, MaxRowPayload)}
	one, err := e.Rows(conversionForParty, nil, []Row{row}, nil)
	if err != nil {
		t.Fatal(err)
	}
	most := (MaxParcel - parcelPrefix) / wide
	for _, tt := range []struct {
		rows int
		good bool
	}{{most, true}, {most + 1, false}} {
		if _, err := e.Rows(conversionForParty, nil, slices.Repeat([]Row{row}, tt.rows), nil); (err == nil) != tt.good {
			t.Errorf("%d rows are made a request: %v", tt.rows, err)
		}
		request := append(one[:parcelPrefix:parcelPrefix], bytes.Repeat(one[parcelPrefix:], tt.rows)...)
		binary.BigEndian.PutUint32(request[headerSize-4:], uint32(tt.rows))
		if _, err := ParseParcel(request, 2); (err == nil) != tt.good || err != nil && !errors.Is(err, ErrWire) {
			t.Errorf("%d rows are read: %v", tt.rows, err)
		}
	}
}

// TestParcelsAgreeWithPython: a second implementation sends, answers and opens, each with
// ours at the other ends.
func TestParcelsAgreeWithPython(t *testing.T) {
	python := peer.Start(t, cmp.Or(os.Getenv("TARN_PYTHON"), "python3"), "oblivious.py")
	type opened struct {
		Request, Answer, Refused string
		Tokens                   []*string
		Payloads                 []string
	}
	rapid.Check(t, func(t *rapid.T) {
		ask := func(request any) (answer opened) { python.Ask(t, request, &answer); return answer }
		count := rapid.IntRange(1, 4).Draw(t, "rows")
		from, fromPublic := newKey(t)
		to, toPublic := newKey(t)
		y, recipient := newKey(t)
		quotient, err := Quotient(to, from)
		if err != nil {
			t.Fatal(err)
		}
		wide := rapid.SliceOfN(rapid.Byte(), 64*count, 64*count).Draw(t, "randomness")
		length := rapid.IntRange(0, 9).Draw(t, "payload")
		rows, tokens, payloads, factors := make([]Row, count), make([]*string, count), make([]string, count), make([]string, count)
		want := map[string]bool{}
		for i := range rows {
			rows[i] = Row{Token: multiplied(t, from, Encode(number(t))), Payload: rapid.SliceOfN(rapid.Byte(), length, length).Draw(t, "row"), Absent: rapid.Bool().Draw(t, "absent")}
			payloads[i] = text(rows[i].Payload)
			became := ""
			if !rows[i].Absent {
				token, made := text(rows[i].Token[:]), multiplied(t, quotient, rows[i].Token)
				tokens[i], became = &token, text(made[:])
			}
			want[payloads[i]+became] = true
			s, err := edwards25519.NewScalar().SetUniformBytes(wide[64*i : 64*(i+1)])
			if err != nil {
				t.Fatal(err)
			}
			factors[i] = text(s.Bytes())
		}
		h := conversionForParty
		h.DomainNo = rapid.Uint32Range(10, 20).Draw(t, "domain")
		seal := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "seal")
		e, err := NewEncrypter(recipient, 1)
		if err != nil {
			t.Fatal(err)
		}
		request, err := e.Rows(h, seal, rows, bytes.NewReader(wide))
		if err != nil {
			t.Fatal(err)
		}
		theirs := ask(map[string]any{"parcel": twinHeader{h.Operation, h.DomainNo, h.TokenEpoch, h.ToDomainNo, h.ToTokenEpoch, text(h.RequestID[:])},
			"recipient": text(recipient[:]), "seal": text(seal), "tokens": tokens, "payloads": payloads, "factors": factors})
		if theirs.Request != text(request) {
			t.Fatalf("its request is %s, not %x", theirs.Request, request)
		}
		p, err := ParseParcel(request, 1)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := p.Answer(quotient, fromPublic, toPublic, recipient, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		nonce, _ := newKey(t)
		order, err := permutation(count, nil)
		if err != nil {
			t.Fatal(err)
		}
		its := unhex(t, ask(map[string]any{"answer_parcel": text(request), "key": scalarText(t, quotient), "base": text(fromPublic[:]), "public": text(toPublic[:]), "recipient": text(recipient[:]),
			"nonce": scalarText(t, nonce), "order": order, "factors": factors}).Answer)
		for name, answer := range map[string][]byte{"ours": ours, "its own": its} {
			a, err := OpenParcel(answer, y, fromPublic, toPublic, 1)
			if err != nil || string(a.Seal) != string(seal) || a.Header != h {
				t.Fatalf("%s: %v", name, err)
			}
			b := ask(map[string]any{"open_parcel": text(answer), "key": scalarText(t, y), "base": text(fromPublic[:]), "public": text(toPublic[:])})
			if b.Refused != "" || len(b.Tokens) != count {
				t.Fatalf("%s is refused by it: %s", name, b.Refused)
			}
			for i, row := range a.Rows {
				became := ""
				if !row.Absent {
					became = text(row.Token[:])
				}
				if !want[text(row.Payload)+became] || row.Absent != (b.Tokens[i] == nil) || !row.Absent && *b.Tokens[i] != became || b.Payloads[i] != text(row.Payload) {
					t.Fatalf("%s: row %d is another", name, i)
				}
			}
		}
		changed := bytes.Clone(ours)
		changed[parcelPrefix+len(seal)+rapid.IntRange(0, answeredPoint-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if b := ask(map[string]any{"open_parcel": text(changed), "key": scalarText(t, y), "base": text(fromPublic[:]), "public": text(toPublic[:])}); b.Refused == "" {
			t.Fatal("it takes an answer that was changed")
		}
	})
}

// FuzzParcel: bytes are a request that is written again as it was read, or refused with
// one of two errors; an answer to it opens.
func FuzzParcel(f *testing.F) {
	x := newExchange(f, 3)
	good := x.request(f)
	f.Add(good)
	f.Add(good[:headerSize])
	f.Add(append(bytes.Clone(good), 0))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := ParseParcel(body, 1)
		if err != nil {
			if !errors.Is(err, ErrWire) && !errors.Is(err, ErrElement) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		again := p.appendPrefix(nil, requestMagic)
		for i := range p.n {
			again = append(p.inputs[2*i+1].AppendTo(p.inputs[2*i].AppendTo(again)), p.payloadOf(i)...)
		}
		if !bytes.Equal(again, body) {
			t.Fatal("what was read is written otherwise")
		}
		if p.n > 64 {
			return
		}
		answer, err := p.Answer(x.quotient, x.fromPublic, x.toPublic, x.recipientY, nil, 1)
		if errors.Is(err, ErrElement) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if a, err := OpenParcel(answer, x.recipient, x.fromPublic, x.toPublic, 1); err != nil || len(a.Rows) != p.n {
			t.Fatalf("its answer does not open: %v", err)
		}
	})
}

// FuzzArrival: whatever arrives, rows come of the true answer only, but for payloads,
// which have seals of their own.
func FuzzArrival(f *testing.F) {
	x := newExchange(f, 2)
	good := x.answer(f, x.request(f))
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, answer []byte) {
		a, err := OpenParcel(answer, x.recipient, x.fromPublic, x.toPublic, 1)
		if (a == nil) == (err == nil) {
			t.Fatal("rows and an error, or neither")
		}
		if err != nil {
			return
		}
		p, err := parseParcel(answer, responseMagic, answeredPoint, ProofSize)
		if err != nil || p.n != 2 {
			t.Fatal("another answer was taken")
		}
		for i := range p.n {
			var e ristretto.Element
			if !bytes.Contains(good, p.point(i, 3)) || !e.SetBytes(p.point(i, 3)) {
				t.Fatal("another answer was taken")
			}
		}
	})
}
