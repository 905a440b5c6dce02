package keyring

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/escrow"
	"tarn/keys/holder/internal/store"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
)

var patient = nhsnumber.Number([]byte("9434765919"))

// sealed is whose token it is, as a tokeniser of a project keeps it: sealed to the escrow
// key that the project's record shows.
func (w *world) sealed(project string, n nhsnumber.Number) (keys.Token, *escrow.Envelope) {
	w.Helper()
	record := w.record(project)
	public, err := hex.DecodeString(*record.Keys.EscrowPublicKey)
	if err != nil {
		w.Fatal(err)
	}
	key := w.ring.keys[tokenKey(record.Domain, record.Keys.TokenEpoch)]
	value := *secret.NewHasher().Sum(keys.TokenDeriver(key, record.Domain, record.Keys.TokenEpoch).MAC(), n[:])
	c := escrow.Context{Project: record.Name, Domain: record.Domain, TokenEpoch: record.Keys.TokenEpoch, HolderKeyID: escrow.KeyID(public)}
	b, err := escrow.NewBatch(public, c, [16]byte{1})
	if err != nil {
		w.Fatal(err)
	}
	item, index, err := b.Seal(nil, value, n)
	if err != nil {
		w.Fatal(err)
	}
	token := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: record.Keys.DomainNo, TokenEpoch: uint16(record.Keys.TokenEpoch), Value: value}
	return token, &escrow.Envelope{HolderKeyID: c.HolderKeyID, Batch: b.ID, Enc: b.Enc, Index: index, Token: value, Sealed: item}
}

// opens fails unless an envelope opens to a number.
func (w *world) opens(project string, token keys.Token, e *escrow.Envelope, want nhsnumber.Number) {
	w.Helper()
	opened, err := w.ring.Open(project, token, e)
	if err != nil {
		w.Errorf("it does not open: %v", err)
		return
	}
	released := false
	if !opened.Identity.Release(func(n *nhsnumber.Number) { released = *n == want }) || !released {
		w.Error("it opens to somebody else")
	}
}

func (w *world) keyStates() (rules []string) {
	for index := range w.ring.Events() {
		leaf, err := audit.Decode(w.store.records[eventKey(index)])
		if err != nil {
			w.Fatal(err)
		}
		if leaf.Kind == audit.KindKeyState && leaf.Rule == audit.RuleEscrowKey {
			rules = append(rules, leaf.Request+" "+leaf.Outcome)
		}
	}
	return rules
}

// TestEscrowKeyIsMadeWhenItIsNeeded: with the first project whose tokens are hashes that may
// be opened; it stands in the records of those projects and of no others, and in the log.
func TestEscrowKeyIsMadeWhenItIsNeeded(t *testing.T) {
	w := newWorld(t, 2)
	w.do(api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: keys.SchemeKeyedHash})
	w.do(api.OpDomainAdd, api.DomainAdd{Name: "sea", Scheme: keys.SchemeOblivious})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("study", "none")})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("blind", "direct", `"lake"`, `"sea"`, "keyed-hash", "oblivious")})
	if w.ring.Started(t.Context()) != nil || len(w.ring.EscrowKeys()) != 0 {
		t.Fatalf("there is an escrow key that nobody needs: %v", w.ring.EscrowKeys())
	}
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("care", "direct")})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("other", "direct")})
	all := w.ring.EscrowKeys()
	if len(all) != 1 || all[0].State != api.StateCurrent || all[0].Epoch != 1 || !all[0].Created.Equal(w.now) {
		t.Fatalf("%+v", all)
	}
	public, err := hex.DecodeString(all[0].PublicKey)
	if err != nil || len(public) != 1216 || escrow.KeyID(public) != all[0].KeyCheck {
		t.Errorf("it is called %s and has %d bytes: %v", all[0].KeyCheck, len(public), err)
	}
	for name, want := range map[string]bool{"care": true, "other": true, "study": false, "blind": false} {
		if stated := w.record(name).Keys.EscrowPublicKey; (stated != nil) != want || want && *stated != all[0].PublicKey {
			t.Errorf("the record of %s states %v", name, stated)
		}
	}
	if got := w.keyStates(); !slices.Equal(got, []string{all[0].KeyCheck + " current"}) {
		t.Errorf("the log says %v", got)
	}
	before := w.picture() + fmt.Sprint(all)
	w.reopen(2)
	if err := w.ring.Started(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(before, fmt.Sprint(w.ring.EscrowKeys())) {
		t.Error("a start changes the escrow key")
	}
}

// TestStatedEscrowKeys: a record that an operator gives may state the key holder's escrow
// key, and no other.
func TestStatedEscrowKeys(t *testing.T) {
	stating := func(key string, change ...string) jsontext.Value {
		return projectRecord("fresh", "direct", append([]string{`"encoding_kcv":null`, `"encoding_kcv":null,"escrow_public_key":"` + key + `"`}, change...)...)
	}
	w := newWorld(t, 2)
	w.do(api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: keys.SchemeKeyedHash})
	foreign, err := w.ring.newEscrowKey()
	if err != nil {
		t.Fatal(err)
	}
	refusedWith(t, failed(w.ask(api.OpProjectAdd, api.ProjectAdd{Record: stating(foreign.public)})), api.CodeConflict)
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("care", "direct")})
	own := w.ring.EscrowKeys()[0].PublicKey
	for name, record := range map[string]jsontext.Value{
		"of somebody else": stating(foreign.public), "none": stating(""), "in capitals": stating(strings.ToUpper(own)), "for tokens that nobody opens": stating(own, `"direct"`, `"none"`),
	} {
		_, err := w.ask(api.OpProjectAdd, api.ProjectAdd{Record: record})
		t.Run(name, func(t *testing.T) { refusedWith(t, err, api.CodeConflict) })
	}
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: stating(own)})
	// A record as it is handed out may be given back; after a rotation it is of before.
	w.do(api.OpProjectRenew, api.ProjectAdd{Record: stating(own, "2027-12-31", "2028-12-31")})
	waiting, err := w.ask(api.OpProjectRenew, api.ProjectAdd{Record: stating(own)})
	if err != nil {
		t.Fatal(err)
	}
	w.do(api.OpKeyRotate, api.KeyChange{Escrow: true, Reason: "yearly"})
	_, err = w.ring.Decide(t.Context(), w.as("bob"), waiting.ID, api.ApprovalRequest{Decision: api.DecisionApprove, Hash: waiting.Hash})
	refusedWith(t, err, api.CodeConflict)
	if got := w.record("fresh"); *got.Keys.EscrowPublicKey == own || got.Expires != "2028-12-31" {
		t.Errorf("the record is %+v", got)
	}
}

// TestEscrowKeysGoThroughTheirStates: a key that was replaced opens what was sealed to it,
// until it is retired; destroyed, it is in no store, and no restore brings it back.
func TestEscrowKeysGoThroughTheirStates(t *testing.T) {
	w := settled(t)
	change := func(kind api.OperationKind, epoch uint32) error {
		return failed(w.ask(kind, api.KeyChange{Escrow: true, Epoch: epoch, Reason: "test"}))
	}
	first := w.ring.EscrowKeys()[0].KeyCheck
	token, old := w.sealed("care", patient)
	w.opens("care", token, old, patient)
	refusedWith(t, change(api.OpKeyDestroy, 1), api.CodeKeyState)
	refusedWith(t, change(api.OpKeyRetire, 1), api.CodeKeyState)
	refusedWith(t, change(api.OpKeyRetire, 2), api.CodeNotFound)
	refusedWith(t, change(api.OpKeyRotate, 2), api.CodeMalformed)
	for _, body := range []api.KeyChange{{Reason: "test"}, {Escrow: true, Domain: "lake", Reason: "test"}, {Escrow: true, Project: "care", Reason: "test"}, {Domain: "lake", Project: "care", Reason: "test"}} {
		refusedWith(t, failed(w.ask(api.OpKeyRotate, body)), api.CodeMalformed)
	}
	refusedWith(t, failed(w.ask(api.OpKeyRotate, api.KeyChange{Escrow: true})), api.CodeMalformed)

	digest := w.record("care").Digest()
	asked, err := w.ask(api.OpKeyRotate, api.KeyChange{Escrow: true, Reason: "yearly"})
	if err != nil || len(w.ring.EscrowKeys()) != 1 || w.record("care").Digest() != digest {
		t.Fatalf("one operator changes the escrow key: %v", err)
	}
	if asked, err = w.ring.Decide(t.Context(), w.as("bob"), asked.ID, api.ApprovalRequest{Decision: api.DecisionApprove, Hash: asked.Hash}); err != nil || !strings.HasSuffix(asked.Outcome, "records of 1 projects") {
		t.Fatalf("%s, %v", asked.Outcome, err)
	}
	second := w.ring.EscrowKeys()[1].KeyCheck
	if w.record("care").Digest() == digest || first == second {
		t.Error("the record is that of before")
	}
	newToken, current := w.sealed("care", patient)
	if newToken != token || current.HolderKeyID != second {
		t.Errorf("it is sealed to %s", current.HolderKeyID)
	}
	w.opens("care", token, old, patient)
	w.opens("care", token, current, patient)
	swapped := *old
	swapped.HolderKeyID = second
	if _, err := w.ring.Open("care", token, &swapped); !errors.Is(err, escrow.ErrClosed) {
		t.Errorf("an envelope of another key: %v", err)
	}

	// Somebody may have it: it opens still, for nothing of it can be somebody else's.
	w.do(api.OpKeyRotate, api.KeyChange{Escrow: true, Compromised: true, Reason: "backup and shares lost"})
	third := w.ring.EscrowKeys()[2].KeyCheck
	w.opens("care", token, current, patient)

	w.do(api.OpKeyRetire, api.KeyChange{Escrow: true, Epoch: 1, Reason: "sealed anew"})
	refusedWith(t, failed(w.ring.Open("care", token, old)), api.CodeKeyState)
	w.do(api.OpKeyDestroy, api.KeyChange{Escrow: true, Epoch: 1, Reason: "promised"})
	refusedWith(t, failed(w.ring.Open("care", token, old)), api.CodeKeyState)
	w.opens("care", token, current, patient)
	key := store.Key{Kind: kindKey, Name: "escrow/" + first}
	if _, there := w.store.records[key]; there {
		t.Error("the destroyed key is in the store")
	}
	if _, there := w.store.records[store.Key{Kind: store.KindTombstone, Name: key.Name}]; !there {
		t.Error("the destroyed key has no tombstone")
	}
	if got, want := w.keyStates(), []string{
		first + " current", first + " readable", second + " current", second + " compromised", third + " current", first + " retired", first + " destroyed",
	}; !slices.Equal(got, want) {
		t.Errorf("the log says %v", got)
	}
	w.reopen(2)
	w.opens("care", token, current, patient)
	// Control of the check at start: a destroyed key that is there, one that should be and is not.
	for _, name := range []string{first, third} {
		key := store.Key{Kind: kindKey, Name: "escrow/" + name}
		value, there := w.store.records[key]
		if there {
			delete(w.store.records, key)
		} else {
			w.store.records[key] = make([]byte, secret.Size)
		}
		if _, err := Open(w.store, Options{Clock: func() time.Time { return w.now }, OperatorsRequired: 2}); err == nil {
			t.Errorf("a store whose escrow key is there %v opens", !there)
		}
		if delete(w.store.records, key); there {
			w.store.records[key] = value
		}
	}
	// A key that is not that of its record, and a record whose public half is another's.
	opens := func() error {
		_, err := Open(w.store, Options{Clock: func() time.Time { return w.now }, OperatorsRequired: 2})
		return err
	}
	key = store.Key{Kind: kindKey, Name: "escrow/" + third}
	w.store.records[key][0] ^= 1
	if opens() == nil {
		t.Error("a store with another key than its record's opens")
	}
	w.store.records[key][0] ^= 1
	record, all := store.Key{Kind: kindEscrow, Name: escrowRecord}, w.ring.EscrowKeys()
	good := w.store.records[record]
	w.store.records[record] = bytes.ReplaceAll(good, []byte(all[2].PublicKey), []byte(all[1].PublicKey))
	if opens() == nil {
		t.Error("a store opens that has tokenisers seal to another key than the current one")
	}
	renamed := store.Key{Kind: kindKey, Name: "escrow/" + strings.Repeat("0", 32)}
	w.store.records[record] = bytes.ReplaceAll(good, []byte(third), []byte(strings.Repeat("0", 32)))
	w.store.records[renamed] = w.store.records[key]
	delete(w.store.records, key)
	if opens() == nil {
		t.Error("a store opens that calls a key by another name than envelopes do")
	}
	w.store.records[key], w.store.records[record] = w.store.records[renamed], good
	delete(w.store.records, renamed)
	if err := opens(); err != nil {
		t.Errorf("the store as it was does not open: %v", err)
	}
}

// TestEscrowKeysOfEarlierVersionsAndBackups: a store of before there were escrow keys has
// one after its start; one of a backup has what was not destroyed since, and another if
// none is left.
func TestEscrowKeysOfEarlierVersionsAndBackups(t *testing.T) {
	w := settled(t)
	first := w.ring.EscrowKeys()[0]
	token, old := w.sealed("care", patient)
	backup := newMemory()
	for key, value := range w.store.records {
		backup.records[key] = slices.Clone(value)
	}
	restore := func(destroyed ...string) {
		back := newMemory()
		for key, value := range backup.records {
			keep, changed, err := Restored(key, slices.Clone(value), func(name string) bool { return slices.Contains(destroyed, name) })
			if err != nil {
				t.Fatal(err)
			}
			if keep {
				back.records[key] = changed
			}
		}
		w.store = back
		w.reopen(2)
		if err := w.ring.Started(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	restore()
	w.opens("care", token, old, patient)
	if all := w.ring.EscrowKeys(); len(all) != 1 || all[0] != first {
		t.Errorf("after a restore: %+v", all)
	}
	// Control: by a tombstone of another key's, of the same number, nothing is lost.
	restore("escrow/1", "escrow/"+strings.Repeat("0", 32))
	w.opens("care", token, old, patient)

	restore("escrow/" + first.KeyCheck)
	all := w.ring.EscrowKeys()
	if len(all) != 2 || all[0].State != api.StateDestroyed || all[1].State != api.StateCurrent || *w.record("care").Keys.EscrowPublicKey != all[1].PublicKey {
		t.Fatalf("after a restore of a destroyed key: %+v", all)
	}
	refusedWith(t, failed(w.ring.Open("care", token, old)), api.CodeKeyState)
	now, fresh := w.sealed("care", patient)
	w.opens("care", now, fresh, patient)

	for key := range backup.records {
		if key.Kind == kindEscrow || key.Kind == kindKey && strings.HasPrefix(key.Name, "escrow/") {
			delete(backup.records, key)
		}
	}
	restore()
	if all := w.ring.EscrowKeys(); len(all) != 1 || all[0].State != api.StateCurrent {
		t.Errorf("a store of before there were escrow keys: %+v", all)
	}
	w.reopen(2)
	now, fresh = w.sealed("care", patient)
	w.opens("care", now, fresh, patient)
	if got := w.keyStates(); len(got) != 1 {
		t.Errorf("the log says %v", got)
	}
}

// TestEnvelopesThatAreNotOpened: each part of what is asked for is held to the envelope, and
// what may not be read any more is not.
func TestEnvelopesThatAreNotOpened(t *testing.T) {
	w := settled(t)
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("other", "direct")})
	w.do(api.OpDomainAdd, api.DomainAdd{Name: "sea", Scheme: keys.SchemeOblivious})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("blind", "direct", `"lake"`, `"sea"`, "keyed-hash", "oblivious")})
	token, good := w.sealed("care", patient)
	somebody, theirs := w.sealed("care", nhsnumber.Number([]byte("9434765870")))
	closed := map[string]func() (string, keys.Token, escrow.Envelope){
		"somebody's token": func() (string, keys.Token, escrow.Envelope) { return "care", somebody, *good },
		"somebody's":       func() (string, keys.Token, escrow.Envelope) { return "care", token, *theirs },
		"an unknown key": func() (string, keys.Token, escrow.Envelope) {
			e := *good
			e.HolderKeyID = strings.Repeat("0", 32)
			return "care", token, e
		},
		"no key": func() (string, keys.Token, escrow.Envelope) { e := *good; e.HolderKeyID = ""; return "care", token, e },
		"nothing in it": func() (string, keys.Token, escrow.Envelope) {
			return "care", token, escrow.Envelope{HolderKeyID: good.HolderKeyID}
		},
		"a byte that is not": func() (string, keys.Token, escrow.Envelope) {
			e := *good
			e.Sealed = bytes.Clone(e.Sealed)
			e.Sealed[0] ^= 1
			return "care", token, e
		},
	}
	for name, of := range closed {
		project, token, e := of()
		if identity, err := w.ring.Open(project, token, &e); !errors.Is(err, escrow.ErrClosed) || identity != nil {
			t.Errorf("%s: %v, %v", name, identity, err)
		}
	}
	// A region has one envelope of a token, of the first project of its domain that saw it.
	w.opens("other", token, good, patient)
	// What the envelope says of its token counts for nothing.
	said := *good
	said.Token = somebody.Value
	w.opens("care", token, &said, patient)
	refuse := func(code api.Code, project string, change func(*keys.Token)) {
		t.Helper()
		other := token
		change(&other)
		refusedWith(t, failed(w.ring.Open(project, other, good)), code)
	}
	same := func(*keys.Token) {}
	refuse(api.CodeNotFound, "absent", same)
	refuse(api.CodeForbidden, "study", same)
	refuse(api.CodeForbidden, "blind", same)
	refuse(api.CodeForbidden, "blind", func(token *keys.Token) { token.DomainNo = 2 })
	refuse(api.CodeForbidden, "care", func(token *keys.Token) { token.DomainNo = 2 })
	refuse(api.CodeForbidden, "care", func(token *keys.Token) { token.Scheme = keys.SchemeNoRelease })
	refuse(api.CodeKeyState, "care", func(token *keys.Token) { token.TokenEpoch = 0 })
	refuse(api.CodeKeyState, "care", func(token *keys.Token) { token.TokenEpoch = 2 })

	// Whoever sealed it was wrong, or lied: another number beside the token, or none.
	for _, n := range []string{"9434765870", "9434765918", "943476591x"} {
		public, err := hex.DecodeString(w.ring.EscrowKeys()[0].PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		b, err := escrow.NewBatch(public, escrow.Context{Project: "care", Domain: "lake", TokenEpoch: 1, HolderKeyID: good.HolderKeyID}, [16]byte{2})
		if err != nil {
			t.Fatal(err)
		}
		item, index, err := b.Seal(nil, token.Value, nhsnumber.Number([]byte(n)))
		if err != nil {
			t.Fatal(err)
		}
		e := &escrow.Envelope{HolderKeyID: good.HolderKeyID, Batch: b.ID, Enc: b.Enc, Index: index, Sealed: item}
		if identity, err := w.ring.Open("care", token, e); !errors.Is(err, escrow.ErrToken) || identity != nil || strings.Contains(err.Error(), n) {
			t.Errorf("a number that is not the token's: %v, %v", identity, err)
		}
	}

	// The token's epoch: while it may be read, and no longer; after its project's end not at all.
	w.do(api.OpKeyRotate, api.KeyChange{Domain: "lake", Reason: "yearly"})
	w.opens("care", token, good, patient)
	next, fresh := w.sealed("care", patient)
	if next == token {
		t.Fatal("the token is that of before")
	}
	w.opens("care", next, fresh, patient)
	refuse(api.CodeKeyState, "care", func(token *keys.Token) { token.TokenEpoch = 3 })
	w.do(api.OpKeyRetire, api.KeyChange{Domain: "lake", Epoch: 1, Reason: "nobody reads it"})
	refuse(api.CodeKeyState, "care", same)
	w.do(api.OpKeyRotate, api.KeyChange{Domain: "lake", Compromised: true, Reason: "laptop lost"})
	refusedWith(t, failed(w.ring.Open("care", next, fresh)), api.CodeKeyState)
	last, newest := w.sealed("care", patient)
	w.opens("care", last, newest, patient)
	w.now = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	refusedWith(t, failed(w.ring.Open("care", last, newest)), api.CodeProjectExpired)
}

// TestEnvelopesOfBeforeOpenInTheKeyring: an escrow key that a store has from an earlier day,
// as its 32 bytes, opens what was sealed to it then.
func TestEnvelopesOfBeforeOpenInTheKeyring(t *testing.T) {
	document, err := os.ReadFile("../../../escrow/testdata/envelope.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		EscrowKey, TokenKey, Batch, Enc, Token, Sealed, Number, KeyID string
		Index, TokenEpoch                                             uint32
		Project, Domain                                               string
	}
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
	w := newWorld(t, 2)
	w.do(api.OpDomainAdd, api.DomainAdd{Name: g.Domain, Scheme: keys.SchemeKeyedHash})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord(g.Project, "direct")})
	for range g.TokenEpoch - 1 {
		w.do(api.OpKeyRotate, api.KeyChange{Domain: g.Domain, Reason: "yearly"})
	}
	made := w.ring.EscrowKeys()[0]
	then, err := escrowMaterial(secret.New([secret.Size]byte(unhex(g.EscrowKey))))
	if err != nil {
		t.Fatal(err)
	}
	record := store.Key{Kind: kindEscrow, Name: escrowRecord}
	w.store.records[record] = []byte(strings.NewReplacer(made.KeyCheck, g.KeyID, made.PublicKey, then.public).Replace(string(w.store.records[record])))
	delete(w.store.records, store.Key{Kind: kindKey, Name: escrowKey(made.KeyCheck)})
	w.store.records[store.Key{Kind: kindKey, Name: escrowKey(g.KeyID)}] = unhex(g.EscrowKey)
	w.store.records[store.Key{Kind: kindKey, Name: tokenKey(g.Domain, g.TokenEpoch)}] = unhex(g.TokenKey)
	w.reopen(2)
	token := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: uint16(g.TokenEpoch), Value: [keys.TokenSize]byte(unhex(g.Token))}
	w.opens(g.Project, token, &escrow.Envelope{
		HolderKeyID: g.KeyID, Batch: [16]byte(unhex(g.Batch)), Enc: unhex(g.Enc), Index: g.Index, Sealed: unhex(g.Sealed),
	}, nhsnumber.Number([]byte(g.Number)))
}

// TestEnvelopesOpenWhileKeysChange: whoever destroys keys clears them, and nobody reads
// them then. It is for the race detector.
func TestEnvelopesOpenWhileKeysChange(t *testing.T) {
	w := settled(t)
	token, e := w.sealed("care", patient)
	done := make(chan struct{})
	var begun, opening sync.WaitGroup
	begun.Add(2)
	for range 2 {
		opening.Go(func() {
			for first := sync.OnceFunc(begun.Done); ; first() {
				select {
				case <-done:
					return
				default:
				}
				opened, err := w.ring.Open("care", token, e)
				var refused *api.Error
				if err != nil && (!errors.As(err, &refused) || refused.Code != api.CodeKeyState) {
					t.Errorf("%v", err)
				}
				if err == nil {
					opened.Identity.Release(func(n *nhsnumber.Number) {
						if *n != patient {
							t.Error("somebody else is released")
						}
					})
				}
			}
		})
	}
	begun.Wait()
	w.do(api.OpKeyRotate, api.KeyChange{Escrow: true, Reason: "yearly"})
	w.do(api.OpKeyRetire, api.KeyChange{Escrow: true, Epoch: 1, Reason: "test"})
	w.do(api.OpKeyDestroy, api.KeyChange{Escrow: true, Epoch: 1, Reason: "test"})
	close(done)
	opening.Wait()
}
