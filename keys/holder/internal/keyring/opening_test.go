package keyring

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/escrow"
	"tarn/keys/holder/internal/store"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf"
	"tarn/keys/secret"
)

// canary is a number of the test range.
var canary = nhsnumber.Number([]byte("9990000018"))

// opening is a world that has started, with a project of each kind: care, of hashes in lake;
// blind, of oblivious tokens in sea; plain, of RFC 9497's in bay; study and dark, whose tokens
// nobody opens.
func opening(t *testing.T, production bool) *world {
	t.Helper()
	w := settled(t)
	w.production = production
	w.reopen(2)
	if err := w.ring.Started(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.do(api.OpDomainAdd, api.DomainAdd{Name: "sea", Scheme: keys.SchemeOblivious})
	w.do(api.OpDomainAdd, api.DomainAdd{Name: "bay", Scheme: keys.SchemeRFC9497})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("blind", "direct", `"lake"`, `"sea"`, "keyed-hash", "oblivious")})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("dark", "none", `"lake"`, `"sea"`, "keyed-hash", "oblivious")})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("plain", "direct", `"lake"`, `"bay"`, "keyed-hash", "rfc9497")})
	return w
}

// tokenOf is the token of a point in the current epoch of an oblivious project.
func (w *world) tokenOf(project string, p oprf.Point) keys.Token {
	w.Helper()
	record := w.record(project)
	public, err := oprf.ParsePublicKey(record.Keys.TokenPublicKey)
	if err != nil {
		w.Fatal(err)
	}
	b, err := oprf.NewBlinder(oprf.Generator(), public, 1)
	if err != nil {
		w.Fatal(err)
	}
	batch, err := b.Tokens(oprf.Header{Operation: oprf.Evaluate, DomainNo: record.Keys.DomainNo, TokenEpoch: record.Keys.TokenEpoch}, []oprf.Point{p}, nil)
	if err != nil {
		w.Fatal(err)
	}
	request, err := oprf.ParseRequest(batch.Request, 1)
	if err != nil {
		w.Fatal(err)
	}
	answer, err := request.Answer(w.ring.keys[tokenKey(record.Domain, record.Keys.TokenEpoch)], oprf.Generator(), public, 1)
	if err != nil {
		w.Fatal(err)
	}
	tokens, err := batch.Finish(answer)
	if err != nil {
		w.Fatal(err)
	}
	return keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: record.Keys.DomainNo, TokenEpoch: uint16(record.Keys.TokenEpoch), Value: tokens[0]}
}

// proven fails unless a token opens to a number, with a proof that holds for a public key.
func (w *world) proven(project string, token keys.Token, want nhsnumber.Number, public string) {
	w.Helper()
	w.opens(project, token, nil, want)
	opened, err := w.ring.Open(project, token, nil)
	if err != nil {
		return
	}
	key, err := oprf.ParsePublicKey(&public)
	if err != nil {
		w.Fatal(err)
	}
	o, proven := opened.Opening()
	if err := oprf.VerifyOpening(key, token.DomainNo, uint32(token.TokenEpoch), token.Value, o); !proven || err != nil || o.Point != oprf.Encode(want) {
		w.Errorf("its proof, %v: %v", proven, err)
	}
	other := w.ring.domains["bay"].Epochs.current().PublicKey
	if key, err = oprf.ParsePublicKey(&other); err != nil || oprf.VerifyOpening(key, token.DomainNo, uint32(token.TokenEpoch), token.Value, o) == nil {
		w.Errorf("control: its proof holds for another key: %v", err)
	}
}

// TestObliviousTokensOpen while their epoch is current or may be read, each with the proof of
// its own epoch's key; not afterwards, and not after the project's end.
func TestObliviousTokensOpen(t *testing.T) {
	w := opening(t, true)
	first, firstPublic := w.tokenOf("blind", oprf.Encode(patient)), *w.record("blind").Keys.TokenPublicKey
	w.proven("blind", first, patient, firstPublic)
	// An envelope that comes with it is nothing to it.
	_, e := w.sealed("care", nhsnumber.Number([]byte("9434765870")))
	w.opens("blind", first, e, patient)

	w.do(api.OpKeyRotate, api.KeyChange{Domain: "sea", Reason: "yearly"})
	second, secondPublic := w.tokenOf("blind", oprf.Encode(patient)), *w.record("blind").Keys.TokenPublicKey
	if second.Value == first.Value || secondPublic == firstPublic {
		t.Fatal("the token is that of before")
	}
	w.proven("blind", first, patient, firstPublic)
	w.proven("blind", second, patient, secondPublic)
	// A token of one epoch as one of the other.
	crossed := first
	crossed.TokenEpoch = 2
	if _, err := w.ring.Open("blind", crossed, nil); !errors.Is(err, ErrNobody) {
		t.Errorf("an old token as a new one: %v", err)
	}
	w.do(api.OpKeyRetire, api.KeyChange{Domain: "sea", Epoch: 1, Reason: "nobody reads it"})
	refusedWith(t, failed(w.ring.Open("blind", first, nil)), api.CodeKeyState)
	w.do(api.OpKeyDestroy, api.KeyChange{Domain: "sea", Epoch: 1, Reason: "promised"})
	refusedWith(t, failed(w.ring.Open("blind", first, nil)), api.CodeKeyState)
	w.proven("blind", second, patient, secondPublic)
	w.do(api.OpKeyRotate, api.KeyChange{Domain: "sea", Compromised: true, Reason: "laptop lost"})
	refusedWith(t, failed(w.ring.Open("blind", second, nil)), api.CodeKeyState)
	third := w.tokenOf("blind", oprf.Encode(patient))
	w.proven("blind", third, patient, *w.record("blind").Keys.TokenPublicKey)
	w.now = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	refusedWith(t, failed(w.ring.Open("blind", third, nil)), api.CodeProjectExpired)
}

// laterCounter is an element that decodes to a number but is not its encoding: the next
// counter that gives one.
func laterCounter(t *testing.T, n nhsnumber.Number) oprf.Point {
	t.Helper()
	mix := func(round int, out, in []byte) {
		sum := sha256.Sum256(append(append([]byte("tarn/enc/v1\x00"), byte(round)), in...))
		for i := range out {
			out[i] ^= sum[i]
		}
	}
	x, found := uint64(0), 0
	for _, digit := range n {
		x = 10*x + uint64(digit-'0')
	}
	for counter := 0; ; counter++ {
		var b oprf.Point
		for i := range 8 {
			b[7-i] = byte(x >> (8 * i))
		}
		b[8], b[9] = byte(counter>>8), byte(counter)
		for r := range 10 {
			if r%2 == 0 {
				mix(r, b[16:], b[:16])
			} else {
				mix(r, b[:16], b[16:])
			}
		}
		if _, err := oprf.NewBlinder(b, b, 1); err != nil { // no element
			continue
		}
		if found++; found == 1 {
			if b != oprf.Encode(n) {
				t.Fatal("the first counter is not the encoding: the search is blind")
			}
			continue
		}
		return b
	}
}

// TestTokensThatAreNotOpened: what is nobody's, of no scheme that is opened, of another
// project or epoch.
func TestTokensThatAreNotOpened(t *testing.T) {
	w := opening(t, true)
	token := w.tokenOf("blind", oprf.Encode(patient))
	w.opens("blind", token, nil, patient)
	key, err := oprf.NewKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	element, err := oprf.PublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	with := func(value oprf.Point) keys.Token { other := token; other.Value = value; return other }
	for name, nobodys := range map[string]keys.Token{
		"a later counter":             w.tokenOf("blind", laterCounter(t, patient)),
		"a number with a wrong digit": w.tokenOf("blind", oprf.Encode(nhsnumber.Number([]byte("9434765918")))),
		"a number of the test range":  w.tokenOf("blind", oprf.Encode(canary)),
		"a number that was not blind": with(oprf.Encode(patient)),
		"any element":                 with(element),
		"the identity":                with(oprf.Point{}),
		"bytes that are no element":   with(oprf.Point(bytes.Repeat([]byte{0xff}, 32))),
		"a byte that is not":          with(oprf.Point(append(bytes.Clone(token.Value[:31]), token.Value[31]^1))),
	} {
		if opened, err := w.ring.Open("blind", nobodys, nil); !errors.Is(err, ErrNobody) || opened != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	refuse := func(code api.Code, project string, change func(*keys.Token)) {
		t.Helper()
		other := token
		change(&other)
		refusedWith(t, failed(w.ring.Open(project, other, nil)), code)
	}
	same := func(*keys.Token) {}
	refuse(api.CodeNotFound, "absent", same)
	refuse(api.CodeForbidden, "dark", same)
	refuse(api.CodeForbidden, "care", same)
	refuse(api.CodeForbidden, "blind", func(token *keys.Token) { token.DomainNo = 1 })
	refuse(api.CodeForbidden, "care", func(token *keys.Token) { token.DomainNo = 1 })
	for _, scheme := range []uint8{0, keys.SchemeNoKeyedHash, keys.SchemeNoRFC9497, keys.SchemeNoRelease, 5} {
		refuse(api.CodeForbidden, "blind", func(token *keys.Token) { token.Scheme = scheme })
	}
	for _, epoch := range []uint16{0, 2, 65535} {
		refuse(api.CodeKeyState, "blind", func(token *keys.Token) { token.TokenEpoch = epoch })
	}
	hashed, _ := w.sealed("care", patient)
	if opened, err := w.ring.Open("care", hashed, nil); !errors.Is(err, ErrNoEnvelope) || opened != nil {
		t.Errorf("a hash without its envelope: %v", err)
	}
	// Scheme rfc9497: whatever a project says, and whatever the token says it is.
	for scheme := range uint8(6) {
		refuse(api.CodeForbidden, "plain", func(token *keys.Token) { token.Scheme, token.DomainNo = scheme, w.ring.domains["bay"].No })
	}
}

// TestTheTestRangeOpensOutsideProduction, and not in it, in either scheme.
func TestTheTestRangeOpensOutsideProduction(t *testing.T) {
	for _, production := range []bool{false, true} {
		w := opening(t, production)
		hashed, e := w.sealed("care", canary)
		point := w.tokenOf("blind", oprf.Encode(canary))
		if !production {
			w.opens("care", hashed, e, canary)
			w.opens("blind", point, nil, canary)
			continue
		}
		for name, err := range map[string]error{"care": failed(w.ring.Open("care", hashed, e)), "blind": failed(w.ring.Open("blind", point, nil))} {
			if !errors.Is(err, ErrNobody) {
				t.Errorf("%s opens a canary in production: %v", name, err)
			}
		}
		w.opens("blind", w.tokenOf("blind", oprf.Encode(patient)), nil, patient)
	}
}

// TestHashesForTheLog: known answers, of Python's hmac, with the key 0 to 31.
func TestHashesForTheLog(t *testing.T) {
	w := opening(t, true)
	var key, value [32]byte
	for i := range 32 {
		key[i], value[i] = byte(i), byte(32+i)
	}
	w.ring.keys[auditKey] = secret.New(key)
	token := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 3, Value: value}
	hashed, e := w.sealed("care", patient)
	elsewhere := token
	elsewhere.DomainNo = 9 // no domain has this number
	for name, h := range map[string]struct{ got, want string }{
		"a token":                    {w.ring.TokenH(token), "5d0e317ce7b5cf0c1ac5a7a51da02514"},
		"a token of no domain":       {w.ring.TokenH(elsewhere), "25e3e54cbc200c6127ed19c5eb7ed659"},
		"a token that is not opened": {w.ring.Subject("care", token, nil), "d36cc5928a7861cdd4c6ba235f25dc51"},
		"somebody, by a hash":        {w.ring.Subject("care", hashed, e), "2cb7a6ad54e237f9f172d8a2a1bb94e0"},
		"somebody, by an oblivious":  {w.ring.Subject("blind", w.tokenOf("blind", oprf.Encode(patient)), nil), "2cb7a6ad54e237f9f172d8a2a1bb94e0"},
	} {
		if h.got != h.want {
			t.Errorf("%s is %s, not %s", name, h.got, h.want)
		}
	}
}

// TestSubjectsAreOfPeople: one patient is one subject in every epoch, domain and scheme; a
// token that does not open has a subject that looks like anybody's, the same each time.
func TestSubjectsAreOfPeople(t *testing.T) {
	w := opening(t, true)
	want := hmac.New(sha256.New, nil)
	w.ring.keys[auditKey].Use(func(b *[secret.Size]byte) { want = hmac.New(sha256.New, b[:]) })
	want.Write(append([]byte("\x00\x0ftarn/subject/v1\x00\x0a"), patient[:]...))
	patients := hex.EncodeToString(want.Sum(nil)[:16])

	hashed, e := w.sealed("care", patient)
	blind := w.tokenOf("blind", oprf.Encode(patient))
	other := w.tokenOf("blind", oprf.Encode(nhsnumber.Number([]byte("9434765870"))))
	w.do(api.OpKeyRotate, api.KeyChange{Domain: "sea", Reason: "yearly"})
	w.do(api.OpKeyRotate, api.KeyChange{Domain: "lake", Reason: "yearly"})
	hashed2, e2 := w.sealed("care", patient)
	for name, got := range map[string]string{
		"a hash": w.ring.Subject("care", hashed, e), "a hash of the next epoch": w.ring.Subject("care", hashed2, e2),
		"an oblivious token": w.ring.Subject("blind", blind, nil), "one of the next epoch": w.ring.Subject("blind", w.tokenOf("blind", oprf.Encode(patient)), nil),
	} {
		if got != patients {
			t.Errorf("%s is of subject %s, not %s", name, got, patients)
		}
	}
	forged, elsewhere, release := blind, blind, blind
	forged.Value = oprf.Encode(patient)
	elsewhere.DomainNo = 99
	release.Scheme, release.Value = keys.SchemeNoRelease, [32]byte{5}
	unreadable := blind
	unreadable.TokenEpoch = 9
	closed := *e
	closed.Sealed = make([]byte, len(e.Sealed))
	seen := map[string]string{patients: "the patient", w.ring.Subject("blind", other, nil): "somebody else"}
	if len(seen) != 2 {
		t.Fatal("two people are one subject")
	}
	form := regexp.MustCompile(`^[0-9a-f]{32}$`)
	for name, try := range map[string]struct {
		project  string
		token    keys.Token
		envelope *escrow.Envelope
	}{
		"a later counter": {"blind", w.tokenOf("blind", laterCounter(t, patient)), nil}, "a token that was made up": {"blind", forged, nil},
		"no element":              {"blind", keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 2, TokenEpoch: 1, Value: [32]byte{0xff, 31: 0xff}}, nil},
		"another domain's number": {"blind", elsewhere, nil}, "a release token": {"blind", release, nil}, "an epoch that there is not": {"blind", unreadable, nil},
		"a hash without its envelope": {"care", hashed, nil}, "a hash of the next epoch with the last one's": {"care", hashed2, &closed},
		"a canary": {"blind", w.tokenOf("blind", oprf.Encode(canary)), nil},
	} {
		got := w.ring.Subject(try.project, try.token, try.envelope)
		if !form.MatchString(got) || seen[got] != "" || got == w.ring.TokenH(try.token) {
			t.Errorf("%s is of subject %s, as %s", name, got, seen[got])
		}
		if seen[got] = name; got != w.ring.Subject(try.project, try.token, try.envelope) {
			t.Errorf("%s is another subject each time", name)
		}
	}
	// Where the project does not allow it, its tokens are not of their subjects either.
	for _, project := range []string{"dark", "care", "absent"} {
		if got := w.ring.Subject(project, blind, nil); got == patients || !form.MatchString(got) {
			t.Errorf("project %s learns the subject %s", project, got)
		}
	}
	w.do(api.OpKeyRetire, api.KeyChange{Domain: "sea", Epoch: 1, Reason: "nobody reads it"})
	if got := w.ring.Subject("blind", blind, nil); got == patients || !form.MatchString(got) {
		t.Errorf("of a retired epoch the subject is %s", got)
	}
}

// TestKeyOfTheLogStays: made at the first start, of a store of before, too; the same after
// restarts, after another key was destroyed, and from a backup.
func TestKeyOfTheLogStays(t *testing.T) {
	w := settled(t)
	token := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 1, Value: [32]byte{1}}
	record := store.Key{Kind: kindKey, Name: auditKey}
	if _, there := w.store.records[record]; there {
		t.Fatal("the store has the key before the key holder has started: it is not one of before")
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a token is hashed without a key")
			}
		}()
		w.ring.TokenH(token)
	}()
	if err := w.ring.Started(t.Context()); err != nil {
		t.Fatal(err)
	}
	value, want := slices.Clone(w.store.records[record]), w.ring.TokenH(token)
	if len(value) != secret.Size || bytes.Equal(value, make([]byte, secret.Size)) {
		t.Fatalf("the key has %d bytes", len(value))
	}
	holds := func(when string) {
		t.Helper()
		w.reopen(2)
		if err := w.ring.Started(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.ring.TokenH(token); got != want || !bytes.Equal(w.store.records[record], value) {
			t.Errorf("%s it is another key", when)
		}
	}
	holds("after a restart")
	w.do(api.OpKeyRotate, api.KeyChange{Domain: "lake", Reason: "yearly"})
	w.do(api.OpKeyRetire, api.KeyChange{Domain: "lake", Epoch: 1, Reason: "test"})
	w.do(api.OpKeyDestroy, api.KeyChange{Domain: "lake", Epoch: 1, Reason: "test"})
	holds("after a key was destroyed")
	back := newMemory()
	for key, value := range w.store.records {
		keep, changed, err := Restored(key, slices.Clone(value), func(name string) bool { return strings.HasPrefix(name, "domain/") })
		if err != nil {
			t.Fatal(err)
		}
		if keep {
			back.records[key] = changed
		}
	}
	w.store = back
	holds("from a backup")
	w.store.records[record] = value[:31]
	if _, err := Open(w.store, Options{Clock: func() time.Time { return w.now }, OperatorsRequired: 2}); err == nil {
		t.Error("a store whose key of the log is cut off opens")
	}
	// Control: another store draws another key; one that cannot draw does not start.
	other := settled(t)
	if err := other.ring.Started(t.Context()); err != nil || other.ring.TokenH(token) == want {
		t.Errorf("two key holders have one key: %v", err)
	}
	last := settled(t)
	last.ring.options.Rand = strings.NewReader("")
	events := last.ring.Events()
	if err := last.ring.Started(context.Background()); err == nil || last.ring.Events() != events {
		t.Errorf("it starts without randomness: %v", err)
	}
}

// TestIdentitiesAreReleasedOnceAndNeverPrinted, whoever tries, and however.
func TestIdentitiesAreReleasedOnceAndNeverPrinted(t *testing.T) {
	identity := newIdentity(patient)
	opening := &oprf.Opening{Point: oprf.Encode(patient)}
	opened := &Opened{identity, func() *oprf.Opening { return opening }}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("opened", "identity", identity, "opened", opened)
	nested := struct{ I *Identity }{identity}
	hiding := struct{ o *Opened }{opened}
	printed := logged.String() + fmt.Sprint(identity, nested, opened, *opened, hiding)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
		printed += fmt.Sprintf(verb, identity) + fmt.Sprintf(verb, nested) + fmt.Sprintf(verb, opened) + fmt.Sprintf(verb, *opened) + fmt.Sprintf(verb, hiding)
	}
	point := opening.Point[:8]
	for _, form := range []string{
		string(patient[:]), strings.Trim(fmt.Sprint(patient[:]), "[]"), hex.EncodeToString(patient[:]), fmt.Sprintf("%#v", patient),
		hex.EncodeToString(point), strings.Trim(fmt.Sprint(point), "[]"), strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", point), "[]byte{"), "}"),
	} {
		if strings.Contains(printed, form) {
			t.Errorf("it is printed: %s", printed)
		}
	}
	if !strings.Contains(logged.String(), hidden) {
		t.Error("nothing was logged: the search is blind")
	}
	if _, err := json.Marshal(nested); err == nil {
		t.Error("it is marshalled")
	}
	if _, err := json.Marshal(opened); err == nil {
		t.Error("what was opened is marshalled")
	}
	var kept *nhsnumber.Number
	var released sync.WaitGroup
	results := make(chan bool, 8)
	for range cap(results) {
		released.Go(func() {
			results <- identity.Release(func(n *nhsnumber.Number) {
				if kept = n; *n != patient {
					t.Error("somebody else is released")
				}
			})
		})
	}
	released.Wait()
	close(results)
	times := 0
	for was := range results {
		if was {
			times++
		}
	}
	if times != 1 || *kept != (nhsnumber.Number{}) {
		t.Errorf("it was released %d times, and is %v afterwards", times, *kept == nhsnumber.Number{})
	}
	forgotten := newIdentity(patient)
	forgotten.Forget()
	if forgotten.Release(func(*nhsnumber.Number) {}) {
		t.Error("what was forgotten is released")
	}
	if got, proven := opened.Opening(); !proven || got.Point != oprf.Encode(patient) {
		t.Error("the proof is gone before it is forgotten")
	}
	opened.Forget()
	if got, _ := opened.Opening(); got != (oprf.Opening{}) {
		t.Error("a proof that was forgotten is there")
	}
}
