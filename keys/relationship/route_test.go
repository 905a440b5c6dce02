package relationship

import (
	"cmp"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/bench/peer"
	"tarn/keys"
	"tarn/keys/escrow"
)

func worklist() *RouteQuestion {
	q := &RouteQuestion{At: noon, RequestHash: strings.Repeat("0a", 32)}
	for n := range byte(3) {
		q.Tokens = append(q.Tokens, keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: 3, Value: [keys.TokenSize]byte{n, 2}}.String())
	}
	return q
}

// TestRoutesAreOfTheirQuestion: the signature covers every member of question and answer,
// the order of patients included, and an answer lasts a minute.
func TestRoutesAreOfTheirQuestion(t *testing.T) {
	public, private := region(t)
	sign := func() *RouteAnswer {
		t.Helper()
		a, err := SignRoute(worklist(), []string{"A81001", "", "B82002"}, noon, private)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	evidence, err := sign().Verify(worklist(), public, noon.Add(59*time.Second))
	if err != nil || evidence == [32]byte{} {
		t.Fatalf("nothing was changed: %v", err)
	}
	text := func(s string) *string { return &s }
	for name, change := range map[string]func(*RouteQuestion, *RouteAnswer){
		"another patient":         func(q *RouteQuestion, _ *RouteAnswer) { q.Tokens[2] = strings.ToUpper(q.Tokens[2]) },
		"patients exchanged":      func(q *RouteQuestion, _ *RouteAnswer) { slices.Reverse(q.Tokens) },
		"a patient less":          func(q *RouteQuestion, a *RouteAnswer) { q.Tokens, a.Organisations = q.Tokens[:2], a.Organisations[:2] },
		"an answer less":          func(_ *RouteQuestion, a *RouteAnswer) { a.Organisations = a.Organisations[:2] },
		"another time":            func(q *RouteQuestion, _ *RouteAnswer) { q.At = q.At.Add(time.Millisecond) },
		"another request":         func(q *RouteQuestion, _ *RouteAnswer) { q.RequestHash = strings.Repeat("0b", 32) },
		"another practice":        func(_ *RouteQuestion, a *RouteAnswer) { a.Organisations[0] = text("A81002") },
		"a practice for none":     func(_ *RouteQuestion, a *RouteAnswer) { a.Organisations[1] = text("A81001") },
		"none for a practice":     func(_ *RouteQuestion, a *RouteAnswer) { a.Organisations[0] = nil },
		"an empty one for none":   func(_ *RouteQuestion, a *RouteAnswer) { a.Organisations[1] = text("") },
		"practices exchanged":     func(_ *RouteQuestion, a *RouteAnswer) { slices.Reverse(a.Organisations) },
		"a later end":             func(_ *RouteQuestion, a *RouteAnswer) { a.Expires = a.Expires.Add(time.Millisecond) },
		"another signature":       func(_ *RouteQuestion, a *RouteAnswer) { a.Signature[0] ^= 1 },
		"no signature":            func(_ *RouteQuestion, a *RouteAnswer) { a.Signature = nil },
		"the end of one question": func(q *RouteQuestion, _ *RouteAnswer) { q.Tokens[0], q.Tokens[1] = q.Tokens[1], q.Tokens[0] },
	} {
		q, a := worklist(), sign()
		change(q, a)
		if _, err := a.Verify(q, public, noon); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, _ := region(t)
	for name, key := range map[string]ed25519.PublicKey{"another region": other, "no region": nil} {
		if _, err := sign().Verify(worklist(), key, noon); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, at := range []time.Time{noon.Add(time.Minute), noon.Add(time.Hour), noon.Add(-6 * time.Second)} {
		if _, err := sign().Verify(worklist(), public, at); !errors.Is(err, ErrExpired) {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

// TestWorklistsThatAreNone: nothing is signed, and nothing of them is repeated.
func TestWorklistsThatAreNone(t *testing.T) {
	public, private := region(t)
	for name, change := range map[string]func(*RouteQuestion){
		"no patient":      func(q *RouteQuestion) { q.Tokens = nil },
		"too many":        func(q *RouteQuestion) { q.Tokens = make([]string, MaxRoute+1) },
		"a number":        func(q *RouteQuestion) { q.Tokens[1] = "9434765919" },
		"one twice":       func(q *RouteQuestion) { q.Tokens[1] = q.Tokens[0] },
		"one in capitals": func(q *RouteQuestion) { q.Tokens[1] = strings.ToUpper(q.Tokens[0]) },
		"no time":         func(q *RouteQuestion) { q.At = time.Time{} },
		"no request":      func(q *RouteQuestion) { q.RequestHash = "" },
	} {
		q := worklist()
		change(q)
		_, err := SignRoute(q, make([]string, len(q.Tokens)), noon, private)
		if err == nil || strings.Contains(err.Error(), "9434765919") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := (&RouteAnswer{Organisations: make([]*string, len(q.Tokens)), Expires: noon.Add(time.Second)}).Verify(q, public, noon); err == nil {
			t.Errorf("%s: an answer to it is taken", name)
		}
	}
	for name, organisations := range map[string][]string{"too few": {"A81001"}, "a name": {"Dr Foster", "", ""}} {
		if _, err := SignRoute(worklist(), organisations, noon, private); err == nil || strings.Contains(err.Error(), "Foster") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// vectors is testdata/vectors/relationship.json: what is signed with the key whose seed is
// 32 bytes of 7.
type vectors struct {
	Public string `json:"public"`
	Check  []struct {
		Question *Question `json:"question"`
		Answer   *Answer   `json:"answer"`
	} `json:"check"`
	Route []struct {
		Question *RouteQuestion `json:"question"`
		Answer   *RouteAnswer   `json:"answer"`
	} `json:"route"`
}

// made returns the vectors as they are made now.
func made(t *testing.T) (v vectors) {
	t.Helper()
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat("\x07", 32)))
	v.Public = VerifyKeyText(key.Public().(ed25519.PublicKey))
	v.Check = slices.Grow(v.Check, 4)[:4]
	for i, c := range []struct {
		decision Decision
		envelope *escrow.Envelope
	}{{Allow, nil}, {Allow, envelope()}, {Deny, nil}, {Deny, envelope()}} {
		a, err := Sign(question(), c.decision, c.envelope, noon, key)
		if err != nil {
			t.Fatal(err)
		}
		v.Check[i].Question, v.Check[i].Answer = question(), a
	}
	v.Route = slices.Grow(v.Route, 1)[:1]
	a, err := SignRoute(worklist(), []string{"A81001", "", "B82002"}, noon, key)
	if err != nil {
		t.Fatal(err)
	}
	v.Route[0].Question, v.Route[0].Answer = worklist(), a
	return v
}

// TestVectors: what was signed once is signed again, byte for byte.
func TestVectors(t *testing.T) {
	want, err := os.ReadFile("../../testdata/vectors/relationship.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := keys.Encode(made(t))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("made now:\n%s", got)
	}
}

// TestAgreesWithPython: a program that was written from the documents finds the signatures
// right, of the vectors and of random answers, and wrong where a byte was changed.
func TestAgreesWithPython(t *testing.T) {
	peer.Python(t, "relationships.py")
	python := peer.Start(t, cmp.Or(os.Getenv("TARN_PYTHON"), "python3"), "relationships.py")
	public, private := region(t)
	right := func(t peer.Fataler, operation, key string, question, answer any) bool {
		var said struct {
			Message string `json:"message"`
			Right   bool   `json:"right"`
		}
		document := func(v any) json.RawMessage {
			b, err := keys.Encode(v)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		python.Ask(t, map[string]any{"op": operation, "question": document(question), "answer": document(answer), "public": key}, &said)
		return said.Right
	}
	v := made(t)
	for _, c := range v.Check {
		if !right(t, "check", v.Public, c.Question, c.Answer) {
			t.Error("a vector of a check is wrong")
		}
	}
	for _, c := range v.Route {
		if !right(t, "route", v.Public, c.Question, c.Answer) {
			t.Error("a vector of a worklist is wrong")
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		q := worklist()
		q.RequestHash = hex.EncodeToString(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash"))
		q.Tokens = nil
		var organisations []string
		for i := range rapid.IntRange(1, 30).Draw(t, "patients") {
			q.Tokens = append(q.Tokens, keys.Token{Scheme: keys.SchemeNoOblivious, Value: [keys.TokenSize]byte{byte(i), rapid.Byte().Draw(t, "token")}}.String())
			organisations = append(organisations, rapid.SampledFrom([]string{"", "A81001", "RX1"}).Draw(t, "practice"))
		}
		a, err := SignRoute(q, organisations, noon, private)
		if err != nil {
			t.Fatal(err)
		}
		if !right(t, "route", VerifyKeyText(public), q, a) {
			t.Fatal("it is wrong")
		}
		a.Signature[rapid.IntRange(0, 63).Draw(t, "byte")] ^= 1
		if right(t, "route", VerifyKeyText(public), q, a) {
			t.Fatal("a changed signature is right")
		}
	})
}
