package relationship

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tarn/keys"
	"tarn/keys/escrow"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 123_000_000, time.UTC)

func question() *Question {
	token := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 7, TokenEpoch: 3, Value: [keys.TokenSize]byte{1, 2, 3}}
	return &Question{Token: token.String(), Organisation: "RX1", At: noon, RequestHash: strings.Repeat("0a", 32)}
}

func region(t *testing.T) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func envelope() *escrow.Envelope {
	return &escrow.Envelope{HolderKeyID: strings.Repeat("0c", 16), Batch: [16]byte{9}, Enc: []byte("enc"), Index: 4, Token: [keys.TokenSize]byte{1, 2, 3}, Sealed: []byte("sealed")}
}

// TestAnswersAreOfTheirQuestion: the signature covers every member of question and answer,
// and an answer lasts a minute.
func TestAnswersAreOfTheirQuestion(t *testing.T) {
	public, private := region(t)
	a, err := Sign(question(), Allow, envelope(), noon, private)
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := a.Verify(question(), public, noon.Add(59*time.Second))
	if err != nil || evidence == [32]byte{} {
		t.Fatalf("nothing was changed: %v", err)
	}
	if e, there := a.Opened(question()); !there || string(e.Sealed) != "sealed" || e.Index != 4 || e.Token != envelope().Token || e.Batch != envelope().Batch || e.HolderKeyID != envelope().HolderKeyID {
		t.Errorf("its envelope is %+v, %v", e, there)
	}
	for name, change := range map[string]func(*Question, *Answer){
		"another patient": func(q *Question, _ *Answer) {
			q.Token = (keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 7, TokenEpoch: 3}).String()
		},
		"another organisation": func(q *Question, _ *Answer) { q.Organisation = "RX2" },
		"another time":         func(q *Question, _ *Answer) { q.At = q.At.Add(time.Millisecond) },
		"another request":      func(q *Question, _ *Answer) { q.RequestHash = strings.Repeat("0b", 32) },
		"another decision":     func(_ *Question, a *Answer) { a.Decision = Deny },
		"a decision for both":  func(_ *Question, a *Answer) { a.Decision, a.Envelope = Deny, nil },
		"no decision":          func(_ *Question, a *Answer) { a.Decision = "perhaps" },
		"a later end":          func(_ *Question, a *Answer) { a.Expires = a.Expires.Add(time.Millisecond) },
		"no envelope":          func(_ *Question, a *Answer) { a.Envelope = nil },
		"another escrow key":   func(_ *Question, a *Answer) { a.Envelope.Key = strings.Repeat("0d", 16) },
		"no escrow key":        func(_ *Question, a *Answer) { a.Envelope.Key = "" },
		"another batch":        func(_ *Question, a *Answer) { a.Envelope.Batch = make([]byte, 16) },
		"another batch's key":  func(_ *Question, a *Answer) { a.Envelope.Enc = []byte("cne") },
		"another item":         func(_ *Question, a *Answer) { a.Envelope.Index++ },
		"another envelope":     func(_ *Question, a *Answer) { a.Envelope.Sealed = []byte("delaes") },
		"bytes that move":      func(_ *Question, a *Answer) { a.Envelope.Enc, a.Envelope.Sealed = []byte("encs"), []byte("ealed") },
		"another signature":    func(_ *Question, a *Answer) { a.Signature[0] ^= 1 },
		"no signature":         func(_ *Question, a *Answer) { a.Signature = nil },
	} {
		a, err := Sign(question(), Allow, envelope(), noon, private)
		if err != nil {
			t.Fatal(err)
		}
		q := question()
		change(q, a)
		if _, err := a.Verify(q, public, noon); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, _ := region(t)
	for name, key := range map[string]ed25519.PublicKey{"another region": other, "no region": nil} {
		if _, err := a.Verify(question(), key, noon); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, at := range []time.Time{noon.Add(time.Minute), noon.Add(time.Hour), noon.Add(-6 * time.Second)} {
		if _, err := a.Verify(question(), public, at); !errors.Is(err, ErrExpired) {
			t.Errorf("at %s: %v", at, err)
		}
	}
	// Another answer to the same question leaves other evidence.
	denied, err := Sign(question(), Deny, nil, noon, private)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := denied.Verify(question(), public, noon); err != nil || second == evidence {
		t.Errorf("two answers leave one evidence: %v", err)
	}
	if _, there := denied.Opened(question()); there {
		t.Error("an answer without an envelope has one")
	}
}

// TestWhatIsDeniedMayHaveAnEnvelope: it is signed, verified and opened like one of what is
// allowed, and neither is taken for the other, or for an answer without.
func TestWhatIsDeniedMayHaveAnEnvelope(t *testing.T) {
	public, private := region(t)
	evidences := map[[32]byte]string{}
	for _, decision := range []Decision{Allow, Deny} {
		for _, e := range []*escrow.Envelope{nil, envelope()} {
			a, err := Sign(question(), decision, e, noon, private)
			if err != nil {
				t.Fatal(err)
			}
			evidence, err := a.Verify(question(), public, noon)
			if err != nil {
				t.Errorf("%s, envelope %t: %v", decision, e != nil, err)
			}
			name := fmt.Sprint(decision, e != nil)
			if other := evidences[evidence]; other != "" {
				t.Errorf("%s leaves the evidence of %s", name, other)
			}
			evidences[evidence] = name
			opened, there := a.Opened(question())
			if there != (e != nil) || there && (opened.Token != e.Token || opened.HolderKeyID != e.HolderKeyID || !bytes.Equal(opened.Sealed, e.Sealed)) {
				t.Errorf("%s: its envelope is %+v, %v", name, opened, there)
			}
			for what, change := range map[string]func(*Answer){
				"the other decision": func(a *Answer) { a.Decision = map[Decision]Decision{Allow: Deny, Deny: Allow}[a.Decision] },
				"an envelope more, or less": func(a *Answer) {
					if a.Envelope != nil {
						a.Envelope = nil
						return
					}
					a.Envelope = &Envelope{Key: envelope().HolderKeyID, Batch: make([]byte, 16)}
				},
			} {
				changed := *a
				change(&changed)
				if _, err := changed.Verify(question(), public, noon); !errors.Is(err, ErrSignature) {
					t.Errorf("%s: %s: %v", name, what, err)
				}
			}
		}
	}
}

// TestKnownAnswer holds what is signed to a signature that another implementation made
// (Python's json, hashlib and cryptography, whose Ed25519 is OpenSSL's) with the key whose
// seed is the bytes 0 to 31.
func TestKnownAnswer(t *testing.T) {
	const want = "802ffe7512fc63991ebe54806eaa70846ded0843d9a4b473d0c2c30e6e6785f58a40d96a0fd058c4668cc677a2c142c4a950cd3a491dd41cb186dad81286400b"
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	a, err := Sign(question(), Allow, envelope(), noon, ed25519.NewKeyFromSeed(seed))
	if err != nil || hex.EncodeToString(a.Signature) != want {
		t.Errorf("the signature is %x, not %s: %v", a.Signature, want, err)
	}
}

// TestOldQuestionsAreNotAnsweredForLong: an answer that is signed long after its question
// was asked is refused.
func TestOldQuestionsAreNotAnsweredForLong(t *testing.T) {
	public, private := region(t)
	a, err := Sign(question(), Allow, nil, noon.Add(time.Minute), private)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Verify(question(), public, noon.Add(time.Minute)); !errors.Is(err, ErrExpired) {
		t.Errorf("%v", err)
	}
}

// TestQuestionsThatAreNone: nothing is signed, and nothing of them is repeated.
func TestQuestionsThatAreNone(t *testing.T) {
	public, private := region(t)
	for name, change := range map[string]func(*Question){
		"a number for a token":  func(q *Question) { q.Token = "9434765919" },
		"no token":              func(q *Question) { q.Token = "" },
		"no organisation":       func(q *Question) { q.Organisation = "" },
		"a name":                func(q *Question) { q.Organisation = "Dr Foster" },
		"no time":               func(q *Question) { q.At = time.Time{} },
		"no request":            func(q *Question) { q.RequestHash = "" },
		"a request of no bytes": func(q *Question) { q.RequestHash = strings.Repeat("zz", 32) },
	} {
		q := question()
		change(q)
		_, err := Sign(q, Allow, nil, noon, private)
		if err == nil || strings.Contains(err.Error(), "9434765919") || strings.Contains(err.Error(), "Foster") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := (&Answer{Decision: Allow, Expires: noon.Add(time.Second)}).Verify(q, public, noon); err == nil {
			t.Errorf("%s: an answer to it is taken", name)
		}
	}
	if _, err := Sign(question(), "perhaps", nil, noon, private); err == nil {
		t.Error("there is a third decision")
	}
	for _, key := range []string{"", "0C" + strings.Repeat("0c", 15), strings.Repeat("0c", 15)} {
		e := envelope()
		e.HolderKeyID = key
		if _, err := Sign(question(), Allow, e, noon, private); err == nil {
			t.Errorf("an envelope goes with an answer that is sealed to %q", key)
		}
	}
}

// TestTimesTravelAsTheyAreSigned, with the zeros that a library leaves out: whoever verifies
// an answer by what stands in it finds the signature right.
func TestTimesTravelAsTheyAreSigned(t *testing.T) {
	at := time.Date(2026, 11, 27, 1, 18, 11, 0, time.FixedZone("", 3600))
	for _, document := range []any{
		Question{At: at}, &Question{At: at}, Answer{Expires: at}, &Answer{Expires: at},
		RouteQuestion{At: at}, RouteAnswer{Expires: at},
	} {
		for name, marshal := range map[string]func(any) ([]byte, error){"ours": func(d any) ([]byte, error) { return keys.Encode(d) }, "Go's": stdjson.Marshal} {
			b, err := marshal(document)
			if err != nil || !strings.Contains(string(b), `"2026-11-27T00:18:11.000Z"`) || strings.Count(string(b), "2026-") != 1 {
				t.Errorf("%T by %s: %v, %s", document, name, err, b)
			}
		}
	}
}
