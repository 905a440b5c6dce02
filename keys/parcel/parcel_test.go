package parcel

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/oprf"
	"tarn/keys/secret"
)

func newKeys(t testing.TB) *Keys {
	t.Helper()
	k, err := NewKeys("registry", "test", "2026-01-01T00:00:00Z", nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// about is what the batches of these tests are of.
var about = [32]byte{5}

// road is two domains and a batch of rows on its way between them.
type road struct {
	fromPublic, toPublic oprf.Point
	quotient             secret.Key
	header               oprf.Header
}

func newRoad(t testing.TB) *road {
	t.Helper()
	r := &road{header: oprf.Header{Operation: oprf.ConvertForParty, DomainNo: 1, TokenEpoch: 1, ToDomainNo: 2, ToTokenEpoch: 1, RequestID: [16]byte{7}}}
	from, err := oprf.NewKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	to, err := oprf.NewKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, p := range map[*secret.Key]*oprf.Point{&from: &r.fromPublic, &to: &r.toPublic} {
		if *p, err = oprf.PublicKey(*k); err != nil {
			t.Fatal(err)
		}
	}
	if r.quotient, err = oprf.Quotient(to, from); err != nil {
		t.Fatal(err)
	}
	return r
}

// sent is what the key holder answers to rows with these payloads.
func (r *road) sent(t testing.TB, to *Recipient, payloads [][]byte) []byte {
	t.Helper()
	seal, sealed, err := SealRows(to, r.header.RequestID, about, payloads, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	y, err := to.Point()
	if err != nil {
		t.Fatal(err)
	}
	e, err := oprf.NewEncrypter(y, 1)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]oprf.Row, len(payloads))
	for i := range rows {
		rows[i] = oprf.Row{Absent: true, Payload: sealed[i]}
	}
	request, err := e.Rows(r.header, seal, rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := oprf.ParseParcel(request, 1)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := p.Answer(r.quotient, r.fromPublic, r.toPublic, y, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := SealAnswer(to.SealingKey, answer)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRowsArriveWhole: whatever is in a row, of any length and beside rows of others, it
// arrives byte for byte; on the way all rows are of one length.
func TestRowsArriveWhole(t *testing.T) {
	k, r := newKeys(t), newRoad(t)
	rapid.Check(t, func(rt *rapid.T) {
		payloads := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 8).Draw(rt, "rows")
		_, sealed, err := SealRows(&k.Public, r.header.RequestID, about, payloads, rand.Reader)
		if err != nil {
			rt.Fatal(err)
		}
		for i := range sealed {
			longest := 0
			for _, p := range payloads {
				longest = max(longest, len(p))
			}
			if len(sealed[i]) != SealedSize(longest) {
				rt.Fatalf("a row of %d bytes is sealed in %d", len(payloads[i]), len(sealed[i]))
			}
		}
		a, err := k.Open(r.sent(t, &k.Public, payloads), about, r.fromPublic, r.toPublic, 1)
		if err != nil {
			rt.Fatal(err)
		}
		left := map[string]int{}
		for _, p := range payloads {
			left[string(p)]++
		}
		for _, row := range a.Rows {
			left[string(row.Payload)]--
		}
		for _, n := range left {
			if n != 0 {
				rt.Fatal("a row is lost, or there twice")
			}
		}
	})
}

// TestNobodyElseOpens: another recipient, other domains, any bit changed, any length.
func TestNobodyElseOpens(t *testing.T) {
	k, r := newKeys(t), newRoad(t)
	good := r.sent(t, &k.Public, [][]byte{[]byte("a row"), []byte("another")})
	if _, err := k.Open(good, about, r.fromPublic, r.toPublic, 1); err != nil {
		t.Fatalf("nothing was changed: %v", err)
	}
	if _, err := newKeys(t).Open(good, about, r.fromPublic, r.toPublic, 1); !errors.Is(err, ErrSealed) {
		t.Errorf("another recipient: %v", err)
	}
	if _, err := k.Open(good, about, r.toPublic, r.fromPublic, 1); !errors.Is(err, oprf.ErrProof) {
		t.Errorf("the domains exchanged: %v", err)
	}
	if _, err := k.Open(good, [32]byte{6}, r.fromPublic, r.toPublic, 1); !errors.Is(err, ErrSealed) {
		t.Errorf("about something else: %v", err)
	}
	for i := 0; i < len(good); i += 7 {
		changed := bytes.Clone(good)
		changed[i] ^= 1
		if a, err := k.Open(changed, about, r.fromPublic, r.toPublic, 1); err == nil || a != nil {
			t.Fatalf("byte %d changed: it opens", i)
		}
	}
	for _, n := range []int{0, 3, 43, 44, 45, len(good) - 1} {
		if a, err := k.Open(good[:n], about, r.fromPublic, r.toPublic, 1); err == nil || a != nil {
			t.Errorf("%d bytes of it: it opens", n)
		}
	}
	if bytes.Contains(good, []byte("a row")) {
		t.Error("a row is there to be read")
	}
	id, rows, err := Head(good)
	if err != nil || id != r.header.RequestID || rows != 2 {
		t.Errorf("its head says %d rows, %v", rows, err)
	}
}

// TestLengthsAreCoarse: how long the longest row is, is seen in steps.
func TestLengthsAreCoarse(t *testing.T) {
	if SealedSize(0) != SealedSize(60) || SealedSize(61) != SealedSize(124) || SealedSize(60) == SealedSize(61) {
		t.Errorf("rows of 0, 60, 61 and 124 bytes are sealed in %d, %d, %d and %d", SealedSize(0), SealedSize(60), SealedSize(61), SealedSize(124))
	}
}

// TestHeadIsTheAnswers: a sealed answer that names another request than the one in it,
// which whoever seals can write, is refused.
func TestHeadIsTheAnswers(t *testing.T) {
	k, r := newKeys(t), newRoad(t)
	good := r.sent(t, &k.Public, [][]byte{[]byte("a row")})
	private, err := k.sealing()
	if err != nil {
		t.Fatal(err)
	}
	kdf, aead := suite()
	answer, err := hpke.Open(private, kdf, aead, answerInfo(good[:headSize]), good[headSize:])
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []byte{0, 1} {
		head := bytes.Clone(good[:headSize])
		head[24] ^= change
		sealed, err := hpke.Seal(private.PublicKey(), kdf, aead, answerInfo(head), answer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Open(append(head, sealed...), about, r.fromPublic, r.toPublic, 1); (err == nil) != (change == 0) {
			t.Errorf("request id changed by %d: %v", change, err)
		}
	}
}

// TestRowsThatAreThereTwice: a key holder that loses a row and sends another twice is found
// out.
func TestRowsThatAreThereTwice(t *testing.T) {
	k, r := newKeys(t), newRoad(t)
	seal, sealed, err := SealRows(&k.Public, r.header.RequestID, about, [][]byte{[]byte("one"), []byte("two")}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	y, err := k.Public.Point()
	if err != nil {
		t.Fatal(err)
	}
	e, err := oprf.NewEncrypter(y, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, second := range []int{1, 0} {
		request, err := e.Rows(r.header, seal, []oprf.Row{{Absent: true, Payload: sealed[0]}, {Absent: true, Payload: sealed[second]}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := oprf.ParseParcel(request, 1)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := p.Answer(r.quotient, r.fromPublic, r.toPublic, y, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		out, err := SealAnswer(k.Public.SealingKey, answer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Open(out, about, r.fromPublic, r.toPublic, 1); (err == nil) != (second == 1) {
			t.Errorf("row %d twice: %v", second, err)
		}
	}
}

// TestKeysOnDisk: they come back as they were, for their owner only, and are never
// printed.
func TestKeysOnDisk(t *testing.T) {
	k, r := newKeys(t), newRoad(t)
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := k.Write(path); err != nil {
		t.Fatal(err)
	}
	again, err := ReadKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if again.Public.TokenKey != k.Public.TokenKey || !bytes.Equal(again.Public.SealingKey, k.Public.SealingKey) || again.Public.Name != "registry" {
		t.Error("other keys come back")
	}
	if _, err := again.Open(r.sent(t, &k.Public, [][]byte{nil}), about, r.fromPublic, r.toPublic, 1); err != nil {
		t.Errorf("they do not open what was sealed before: %v", err)
	}
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	y := keys.HexKey(k.token)
	if !bytes.Contains(document, []byte(y)) {
		t.Fatal("the control does not find the key in its file")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		for _, value := range []any{k, *k} {
			if printed := fmt.Sprintf(verb, value); strings.Contains(printed, y) {
				t.Error("a key is printed")
			}
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeys(path); err == nil {
		t.Error("keys that others can read are taken")
	}
	for _, changed := range []string{`{}`, `{"schema":"tarn.keys/1"}`, strings.Replace(string(document), y, strings.Repeat("0", 64), 1), strings.Replace(string(document), y, y[2:], 1), string(document[:40])} {
		if _, err := parseKeys([]byte(changed)); err == nil || strings.Contains(err.Error(), y) {
			t.Errorf("keys that are none: %v", err)
		}
	}
}

// TestRecipientsThatAreNone.
func TestRecipientsThatAreNone(t *testing.T) {
	good := newKeys(t).Public
	for name, change := range map[string]func(*Recipient){
		"another schema":       func(r *Recipient) { r.Schema = "tarn.recipient/2" },
		"no name":              func(r *Recipient) { r.Name = "" },
		"the identity":         func(r *Recipient) { r.TokenKey = strings.Repeat("0", 64) },
		"not canonical":        func(r *Recipient) { r.TokenKey = strings.Repeat("f", 64) },
		"a short token key":    func(r *Recipient) { r.TokenKey = r.TokenKey[2:] },
		"no sealing key":       func(r *Recipient) { r.SealingKey = nil },
		"a longer sealing key": func(r *Recipient) { r.SealingKey = append(bytes.Clone(r.SealingKey), 0) },
	} {
		r := good
		change(&r)
		if r.Check() == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
}
