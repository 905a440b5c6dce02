package keyring

import (
	"context"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/holder/internal/store"
	"tarn/keys/secret"
)

// memory is a store that forgets nothing and writes nowhere: the rules do not
// depend on how records are kept, which the store's own tests are about.
type memory struct {
	records map[store.Key][]byte
	full    bool
}

func newMemory() *memory { return &memory{records: map[store.Key][]byte{}} }

func (m *memory) Each(f func(store.Key, []byte) error) error {
	for key, value := range m.records {
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Enqueue(changes []store.Change) func(context.Context) error {
	for _, c := range changes {
		if c.Value == nil {
			delete(m.records, c.Key)
		} else {
			m.records[c.Key] = c.Value
		}
	}
	return func(context.Context) error { return nil }
}

func (m *memory) Room() error {
	if m.full {
		return store.ErrNoSpace
	}
	return nil
}

func (m *memory) Destroy(_ context.Context, changes []store.Change, erase []store.Key, tombstones []string) error {
	m.Enqueue(changes)
	for _, key := range erase {
		delete(m.records, key)
	}
	for _, name := range tombstones {
		m.records[store.Key{Kind: store.KindTombstone, Name: name}] = []byte("{}")
	}
	return nil
}

// world is a keyring with operators ann and bob, and what a client has.
type world struct {
	*testing.T
	ring    *Keyring
	store   *memory
	now     time.Time
	codes   int
	sealing map[string]hpke.PrivateKey
	request int
	limits  Budgets
	alerts  bool

	production bool
}

func newWorld(t *testing.T, operatorsRequired int) *world {
	t.Helper()
	w := &world{T: t, store: newMemory(), now: time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC), sealing: map[string]hpke.PrivateKey{}}
	w.reopen(operatorsRequired)
	codes, err := w.ring.Bootstrap(t.Context(), "X26", []string{"ann", "bob"})
	if err != nil {
		t.Fatal(err)
	}
	for name, code := range codes {
		w.enrol(name, code)
	}
	return w
}

func (w *world) reopen(operatorsRequired int) {
	w.Helper()
	ring, err := Open(w.store, Options{
		Clock: func() time.Time { return w.now }, Holder: "holder", Software: "test", OperatorsRequired: operatorsRequired, Budgets: w.limits, Alerts: w.alerts,
		Production: w.production,
		Code: func() (string, [sha256.Size]byte, error) {
			w.codes++
			text := fmt.Sprintf("code-%d", w.codes)
			return text, sha256.Sum256([]byte(text)), nil
		},
	})
	if err != nil {
		w.Fatal(err)
	}
	w.ring = ring
}

// enrol gives a client a certificate for its code.
func (w *world) enrol(name, code string) {
	w.Helper()
	private, err := api.LeaseKEM().GenerateKey()
	if err != nil {
		w.Fatal(err)
	}
	w.sealing[name] = private
	_, err = w.ring.Enrol(w.Context(), sha256.Sum256([]byte(code)), private.PublicKey().Bytes(), func(client string) ([]byte, time.Time, error) {
		return certificateOf(client), w.now.Add(90 * 24 * time.Hour), nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// failed is the error of what has a result besides.
func failed[T any](_ T, err error) error { return err }

func certificateOf(name string) []byte { return []byte("certificate of " + name) }

// as is a client by its certificate.
func (w *world) as(name string) Caller {
	w.Helper()
	caller, err := w.ring.Identify(sha256.Sum256(certificateOf(name)))
	if err != nil {
		w.Fatal(err)
	}
	return caller
}

func (w *world) id() string {
	w.request++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", w.request)
}

func encoded(t *testing.T, document any) jsontext.Value {
	t.Helper()
	b, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ask has ann ask for a change.
func (w *world) ask(kind api.OperationKind, document any) (api.Operation, error) {
	w.Helper()
	return w.ring.Ask(w.Context(), w.as("ann"), w.id(), api.OperationRequest{Kind: kind, Body: encoded(w.T, document)})
}

// do has ann ask for a change and bob approve it, and collects what it gives.
func (w *world) do(kind api.OperationKind, document any) *Collected {
	w.Helper()
	o, err := w.ask(kind, document)
	if err != nil {
		w.Fatalf("%s: %v", kind, err)
	}
	if o.State == api.OpPending {
		if o, err = w.ring.Decide(w.Context(), w.as("bob"), o.ID, api.ApprovalRequest{Decision: api.DecisionApprove, Hash: o.Hash}); err != nil {
			w.Fatalf("approving %s: %v", kind, err)
		}
	}
	if !o.Collect {
		return nil
	}
	collected, err := w.ring.Collect(w.Context(), w.as("ann"), o.ID)
	if err != nil {
		w.Fatalf("collecting %s: %v", kind, err)
	}
	return collected
}

func projectRecord(name, mode string, change ...string) jsontext.Value {
	text := `{"schema":"tarn.project/1","name":"` + name + `","domain":"lake","scheme":"keyed-hash","profile":"nhs-field-dob-1","purpose":"care",
		"legal_basis":{},"controllers":["X26"],"parties":[{"source_dataset":"north"},{"source_dataset":"south"}],
		"opt_outs":{"ndoo":true,"type1":true,"local":false},"groups":[],"keys":{"domain_no":0,"token_epoch":0,"token_public_key":null,"token_kcv":null,"encoding_epoch":0,"encoding_kcv":null},
		"reidentify":{"mode":"` + mode + `"},"expires":"2027-12-31"}`
	return jsontext.Value(strings.NewReplacer(change...).Replace(text))
}

// settled is a world with a domain, two projects and a tokeniser of both.
func settled(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, 2)
	w.do(api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: keys.SchemeKeyedHash})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("study", "none")})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("care", "direct")})
	c := w.do(api.OpClientAdd, api.ClientAdd{Name: "north", Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{"study", "care"}, SourceDatasets: []string{"north"}})
	w.enrol("north", c.Code)
	return w
}

// refusedWith fails unless an error is a refusal of this code.
func refusedWith(t *testing.T, err error, code api.Code) {
	t.Helper()
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Code != code {
		t.Errorf("got %v, want a refusal with %s", err, code)
	}
}

func (w *world) lease(project string, use api.Use) api.Lease {
	w.Helper()
	l, err := w.ring.Lease(w.Context(), w.as("north"), w.id(), project, api.LeaseRequest{Use: use, RowsExpected: 10})
	if err != nil {
		w.Fatal(err)
	}
	return l
}

func TestLeasedKeysOpenForTheirClientOnly(t *testing.T) {
	w := settled(t)
	certificate := sha256.Sum256(certificateOf("north"))
	seen := map[string]bool{}
	for _, use := range []api.Use{api.UseToken, api.UseEncoding, api.UseRelease} {
		l := w.lease("study", use)
		key, err := l.Open(w.sealing["north"], certificate)
		if err != nil {
			t.Fatalf("%s: %v", use, err)
		}
		key.Use(func(b *[secret.Size]byte) { seen[hex.EncodeToString(b[:])] = true })
		for name, changed := range map[string]func(*api.Lease){
			"project": func(l *api.Lease) { l.Project = "care" },
			"epoch":   func(l *api.Lease) { l.Epoch++ },
			"end":     func(l *api.Lease) { l.Expires = l.Expires.Add(time.Hour) },
			"id":      func(l *api.Lease) { l.ID += "0" },
			"use":     func(l *api.Lease) { l.Use += "x" },
			"domain":  func(l *api.Lease) { l.Domain = "pond" },
			"check":   func(l *api.Lease) { l.KeyCheck = strings.Repeat("0", 32) },
			"sealed":  func(l *api.Lease) { l.Sealed = slices.Clone(l.Sealed); l.Sealed[len(l.Sealed)-1] ^= 1 },
		} {
			other := l
			changed(&other)
			if _, err := other.Open(w.sealing["north"], certificate); err == nil {
				t.Errorf("%s: a lease with another %s opens", use, name)
			}
		}
		if _, err := l.Open(w.sealing["ann"], certificate); err == nil {
			t.Errorf("%s: another client opens the lease", use)
		}
		if _, err := l.Open(w.sealing["north"], sha256.Sum256(nil)); err == nil {
			t.Errorf("%s: another certificate opens the lease", use)
		}
	}
	if len(seen) != 3 {
		t.Errorf("three uses lease %d keys", len(seen))
	}
}

func TestLeaseRefusals(t *testing.T) {
	w := settled(t)
	lease := func(caller Caller, project string, use api.Use, rows int64) error {
		_, err := w.ring.Lease(t.Context(), caller, w.id(), project, api.LeaseRequest{Use: use, RowsExpected: rows})
		return err
	}
	north := w.as("north")
	refusedWith(t, lease(north, "absent", api.UseToken, 1), api.CodeForbidden)
	refusedWith(t, lease(w.as("ann"), "study", api.UseToken, 1), api.CodeForbidden)
	refusedWith(t, lease(north, "care", api.UseRelease, 1), api.CodeForbidden)
	refusedWith(t, lease(north, "study", "master", 1), api.CodeMalformed)
	refusedWith(t, lease(north, "study", api.UseToken, -1), api.CodeMalformed)
	w.store.full = true
	if err := lease(north, "study", api.UseToken, 1); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("without space: %v", err)
	}
	w.store.full = false
	w.now = time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	refusedWith(t, lease(north, "study", api.UseToken, 1), api.CodeProjectExpired)
	if _, err := w.ring.Identify(sha256.Sum256(certificateOf("north"))); err == nil {
		t.Error("an expired certificate is accepted")
	} else {
		refusedWith(t, err, api.CodeExpired)
	}
}

// TestRetriesCountOnce: the same request id gives the same lease and the same
// operation, counts rows once, and is recorded once; another body is refused.
func TestRetriesCountOnce(t *testing.T) {
	w := settled(t)
	north, id := w.as("north"), w.id()
	first, err := w.ring.Lease(t.Context(), north, id, "study", api.LeaseRequest{Use: api.UseToken})
	if err != nil {
		t.Fatal(err)
	}
	events := w.ring.Events()
	again, err := w.ring.Lease(t.Context(), north, id, "study", api.LeaseRequest{Use: api.UseToken})
	if err != nil || again.ID != first.ID || w.ring.Events() != events {
		t.Errorf("a retry gives lease %s after %s, %d events more, %v", again.ID, first.ID, w.ring.Events()-events, err)
	}
	if _, err := again.Open(w.sealing["north"], sha256.Sum256(certificateOf("north"))); err != nil {
		t.Error(err)
	}
	_, err = w.ring.Lease(t.Context(), north, id, "study", api.LeaseRequest{Use: api.UseEncoding})
	refusedWith(t, err, api.CodeConflict)
	usage := w.id()
	for range 2 {
		if _, err := w.ring.Use(t.Context(), north, usage, "study", first.ID, api.Usage{Rows: 7}); err != nil {
			t.Fatal(err)
		}
	}
	leases, err := w.ring.Leases("study")
	if err != nil || len(leases) != 1 || leases[0].RowsReported != 7 {
		t.Errorf("leases %+v, %v", leases, err)
	}
	body := encoded(t, api.DomainAdd{Name: "pond", Scheme: keys.SchemeKeyedHash})
	asked := w.id()
	one, err := w.ring.Ask(t.Context(), w.as("ann"), asked, api.OperationRequest{Kind: api.OpDomainAdd, Body: body})
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.ring.Ask(t.Context(), w.as("ann"), asked, api.OperationRequest{Kind: api.OpDomainAdd, Body: body})
	if err != nil || one.ID != two.ID || one.Hash != two.Hash {
		t.Errorf("a retry makes another operation: %v", err)
	}
	_, err = w.ring.Ask(t.Context(), w.as("ann"), asked, api.OperationRequest{Kind: api.OpBackup, Body: jsontext.Value("{}")})
	refusedWith(t, err, api.CodeConflict)
}

func TestLeasesEndRenewAndAreRevoked(t *testing.T) {
	w := settled(t)
	north := w.as("north")
	l := w.lease("study", api.UseEncoding)
	if want := w.now.Add(DefaultLeaseTTL); !l.Expires.Equal(want) || !l.Renew.Equal(w.now.Add(DefaultLeaseTTL/2)) {
		t.Errorf("lease ends %v and is renewed %v", l.Expires, l.Renew)
	}
	w.now = l.Renew
	renewed, err := w.ring.Renew(t.Context(), north, "study", l.ID)
	if err != nil || !renewed.Expires.After(l.Expires) {
		t.Fatalf("renewed to %v, %v", renewed.Expires, err)
	}
	// An ordinary rotation lets a lease run out, and does not renew it.
	w.do(api.OpKeyRotate, api.KeyChange{Project: "study", Reason: "yearly"})
	if _, err := w.ring.Use(t.Context(), north, w.id(), "study", l.ID, api.Usage{Rows: 1}); err != nil {
		t.Errorf("a lease of the epoch before ends at once: %v", err)
	}
	_, err = w.ring.Renew(t.Context(), north, "study", l.ID)
	refusedWith(t, err, api.CodeLeaseEnded)
	// A suspected leak ends it.
	l = w.lease("study", api.UseEncoding)
	token := w.lease("study", api.UseToken)
	if l.Epoch != 2 {
		t.Errorf("the lease is of epoch %d", l.Epoch)
	}
	w.do(api.OpKeyRotate, api.KeyChange{Project: "study", Compromised: true, Reason: "laptop lost"})
	refusedWith(t, failed(w.ring.Use(t.Context(), north, w.id(), "study", l.ID, api.Usage{Rows: 1})), api.CodeLeaseEnded)
	if _, err := w.ring.Use(t.Context(), north, w.id(), "study", token.ID, api.Usage{Rows: 1}); err != nil {
		t.Errorf("the token key's lease ended with the encoding key's: %v", err)
	}
	w.now = w.now.Add(2 * DefaultLeaseTTL)
	refusedWith(t, failed(w.ring.Use(t.Context(), north, w.id(), "study", token.ID, api.Usage{Rows: 1})), api.CodeLeaseEnded)
	if err := w.ring.End(t.Context(), north, "study", token.ID); err != nil {
		t.Errorf("ending a lease that has ended: %v", err)
	}
	refusedWith(t, w.ring.End(t.Context(), w.as("ann"), "study", token.ID), api.CodeNotFound)
}

func TestFirstEncodingCheckIsPinned(t *testing.T) {
	w := settled(t)
	north := w.as("north")
	l := w.lease("study", api.UseEncoding)
	one, two := strings.Repeat("1", 32), strings.Repeat("2", 32)
	for range 2 {
		if _, err := w.ring.Use(t.Context(), north, w.id(), "study", l.ID, api.Usage{EncodingKCV: &one}); err != nil {
			t.Fatal(err)
		}
	}
	refusedWith(t, failed(w.ring.Use(t.Context(), north, w.id(), "study", l.ID, api.Usage{EncodingKCV: &two, Rows: 5})), api.CodeKeyCheckDiffers)
	p, err := w.ring.Project(north, "study")
	if err != nil {
		t.Fatal(err)
	}
	record, err := keys.ParseProject(p.Record)
	if err != nil {
		t.Fatalf("the record that is handed out is none: %v", err)
	}
	if record.Keys.EncodingKCV == nil || *record.Keys.EncodingKCV != one || record.Keys.TokenKCV == nil || record.Keys.EncodingEpoch != 1 || record.Digest() != p.Digest {
		t.Errorf("the record says %+v", record.Keys)
	}
	token := w.lease("study", api.UseToken)
	if token.KeyCheck != *record.Keys.TokenKCV {
		t.Error("the lease's key check value is not the record's")
	}
	w.do(api.OpKeyRotate, api.KeyChange{Project: "study", Reason: "yearly"})
	if p, err = w.ring.Project(north, "study"); err != nil || strings.Contains(string(p.Record), one) {
		t.Errorf("the check value of the epoch before is still pinned (%v)", err)
	}
}

func TestKeysGoThroughTheirStates(t *testing.T) {
	w := settled(t)
	change := func(kind api.OperationKind, epoch uint32) error {
		_, err := w.ask(kind, api.KeyChange{Domain: "lake", Epoch: epoch, Reason: "test"})
		return err
	}
	refusedWith(t, change(api.OpKeyDestroy, 1), api.CodeKeyState)
	refusedWith(t, change(api.OpKeyRetire, 1), api.CodeKeyState)
	refusedWith(t, change(api.OpKeyRetire, 2), api.CodeNotFound)
	w.do(api.OpKeyRotate, api.KeyChange{Domain: "lake", Reason: "yearly"})
	refusedWith(t, change(api.OpKeyDestroy, 1), api.CodeKeyState)
	w.do(api.OpKeyRetire, api.KeyChange{Domain: "lake", Epoch: 1, Reason: "nobody reads it"})
	w.do(api.OpKeyDestroy, api.KeyChange{Domain: "lake", Epoch: 1, Reason: "promised"})
	d, err := w.ring.Domain("lake")
	if err != nil || d.Epochs[0].State != api.StateDestroyed || d.Epochs[1].State != api.StateCurrent {
		t.Errorf("%+v, %v", d, err)
	}
	if _, there := w.store.records[store.Key{Kind: kindKey, Name: "domain/lake/1"}]; there {
		t.Error("the destroyed key is in the store")
	}
	if _, there := w.store.records[store.Key{Kind: store.KindTombstone, Name: "domain/lake/1"}]; !there {
		t.Error("the destroyed key has no tombstone")
	}
	w.reopen(2)
	// Control of the check at start: a key without its state, a state without its key.
	key := store.Key{Kind: kindKey, Name: "domain/lake/2"}
	value := w.store.records[key]
	delete(w.store.records, key)
	if _, err := Open(w.store, Options{Clock: func() time.Time { return w.now }, OperatorsRequired: 2}); err == nil {
		t.Error("a store without a current key opens")
	}
	w.store.records[key] = value
	w.store.records[store.Key{Kind: kindKey, Name: "domain/lake/1"}] = value
	if _, err := Open(w.store, Options{Clock: func() time.Time { return w.now }, OperatorsRequired: 2}); err == nil {
		t.Error("a store with a destroyed key opens")
	}
}

func TestNobodyChangesAnythingAlone(t *testing.T) {
	w := newWorld(t, 2)
	o, err := w.ask(api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: keys.SchemeKeyedHash})
	if err != nil || o.State != api.OpPending {
		t.Fatalf("%+v, %v", o, err)
	}
	approve := func(who, id, hash string) error {
		_, err := w.ring.Decide(t.Context(), w.as(who), id, api.ApprovalRequest{Decision: api.DecisionApprove, Hash: hash})
		return err
	}
	refusedWith(t, approve("ann", o.ID, o.Hash), api.CodeApproverIsAsker)
	refusedWith(t, approve("bob", o.ID, strings.Repeat("0", 64)), api.CodeHashDiffers)
	refusedWith(t, approve("bob", "absent", o.Hash), api.CodeNotFound)
	if len(w.ring.Domains()) != 0 {
		t.Fatal("the domain is there before it was approved")
	}
	if err := approve("bob", o.ID, o.Hash); err != nil {
		t.Fatal(err)
	}
	if len(w.ring.Domains()) != 1 {
		t.Fatal("the domain is not there after it was approved")
	}
	if err := approve("bob", o.ID, o.Hash); err != nil {
		t.Errorf("a retry of the approval: %v", err)
	}
	// Rejected, expired, overtaken.
	o, err = w.ask(api.OpDomainAdd, api.DomainAdd{Name: "pond", Scheme: keys.SchemeKeyedHash})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.ring.Decide(t.Context(), w.as("bob"), o.ID, api.ApprovalRequest{Decision: api.DecisionReject, Hash: o.Hash}); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, approve("bob", o.ID, o.Hash), api.CodeConflict)
	twice := [2]api.Operation{}
	for i := range twice {
		if twice[i], err = w.ask(api.OpDomainAdd, api.DomainAdd{Name: "mere", Scheme: keys.SchemeKeyedHash}); err != nil {
			t.Fatal(err)
		}
	}
	if err := approve("bob", twice[0].ID, twice[0].Hash); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, approve("bob", twice[1].ID, twice[1].Hash), api.CodeConflict)
	late, err := w.ask(api.OpDomainAdd, api.DomainAdd{Name: "loch", Scheme: keys.SchemeKeyedHash})
	if err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(operationTTL)
	refusedWith(t, approve("bob", late.ID, late.Hash), api.CodeConflict)
	if got := w.ring.Operations(api.OpExpired); len(got) != 1 {
		t.Errorf("%d operations expired", len(got))
	}
}

func TestOneOperatorOnlyOutsideProduction(t *testing.T) {
	if _, err := Open(newMemory(), Options{Clock: time.Now, OperatorsRequired: 1, Production: true}); err == nil {
		t.Error("one operator is enough in production")
	}
	w := newWorld(t, 1)
	if o, err := w.ask(api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: keys.SchemeKeyedHash}); err != nil || o.State != api.OpExecuted {
		t.Errorf("%+v, %v", o, err)
	}
	if self := w.ring.Self(w.as("ann")); self.OperatorsRequired != 1 || self.Production {
		t.Errorf("it does not say so: %+v", self)
	}
}

func TestCodesWorkOnceAndNotForLong(t *testing.T) {
	w := settled(t)
	c := w.do(api.OpClientRenew, api.ClientNamed{Name: "north"})
	private, err := api.LeaseKEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	try := func(code string, sign Sign) error {
		_, err := w.ring.Enrol(t.Context(), sha256.Sum256([]byte(code)), private.PublicKey().Bytes(), sign)
		return err
	}
	sign := func(string) ([]byte, time.Time, error) { return []byte("a new one"), w.now.Add(time.Hour), nil }
	refusedWith(t, try("guess", sign), api.CodeEnrolCode)
	if err := try(c.Code, func(string) ([]byte, time.Time, error) { return nil, time.Time{}, errors.New("no") }); err == nil {
		t.Error("enrolled without a certificate")
	}
	lease := w.lease("study", api.UseToken)
	if err := try(c.Code, sign); err != nil {
		t.Fatal(err)
	}
	refusedWith(t, try(c.Code, sign), api.CodeEnrolCode)
	if _, err := w.ring.Identify(sha256.Sum256(certificateOf("north"))); err == nil {
		t.Error("the certificate before is still good")
	}
	caller, err := w.ring.Identify(sha256.Sum256([]byte("a new one")))
	if err != nil {
		t.Fatal(err)
	}
	refusedWith(t, failed(w.ring.Use(t.Context(), caller, w.id(), "study", lease.ID, api.Usage{Rows: 1})), api.CodeLeaseEnded)
	late := w.do(api.OpClientRenew, api.ClientNamed{Name: "north"})
	w.now = w.now.Add(codeTTL)
	refusedWith(t, try(late.Code, sign), api.CodeEnrolCode)
}

func TestRevocationIsImmediateAndForGood(t *testing.T) {
	w := settled(t)
	l := w.lease("study", api.UseToken)
	north := w.as("north")
	w.do(api.OpClientRevoke, api.ClientNamed{Name: "north", Reason: "contract ended"})
	_, err := w.ring.Identify(sha256.Sum256(certificateOf("north")))
	refusedWith(t, err, api.CodeRevoked)
	refusedWith(t, failed(w.ring.Use(t.Context(), north, w.id(), "study", l.ID, api.Usage{Rows: 1})), api.CodeRevoked)
	_, err = w.ask(api.OpClientRenew, api.ClientNamed{Name: "north"})
	refusedWith(t, err, api.CodeConflict)
	_, err = w.ask(api.OpClientAdd, api.ClientAdd{Name: "north", Role: api.RoleAuditor, Organisation: "RX1"})
	refusedWith(t, err, api.CodeConflict)
	_, err = w.ask(api.OpClientRevoke, api.ClientNamed{Name: "bob", Reason: "left"})
	refusedWith(t, err, api.CodeForbidden) // two operators are needed
}

// TestRevokedOperatorsApprovalCounts for nothing.
func TestRevokedOperatorsApprovalCountsForNothing(t *testing.T) {
	w := newWorld(t, 2)
	w.reopen(3) // ann asks, two others approve
	c := w.ring.clients["ann"]
	for _, name := range []string{"cat", "dan"} { // a third and a fourth, put in by hand: nobody could approve them
		other := *c
		other.Name, other.Certificate = name, hex.EncodeToString(func() []byte { s := sha256.Sum256(certificateOf(name)); return s[:] }())
		w.ring.putClient(&other)
	}
	o, err := w.ask(api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: keys.SchemeKeyedHash})
	if err != nil || o.Needed != 2 {
		t.Fatalf("%+v, %v", o, err)
	}
	approve := func(who string) api.Operation {
		decided, err := w.ring.Decide(t.Context(), w.as(who), o.ID, api.ApprovalRequest{Decision: api.DecisionApprove, Hash: o.Hash})
		if err != nil {
			t.Fatal(err)
		}
		return decided
	}
	approve("bob")
	bob := *w.ring.clients["bob"]
	bob.State = clientRevoked
	w.ring.putClient(&bob)
	if got := approve("cat"); got.State != api.OpPending {
		t.Errorf("state %s with one approval that counts", got.State)
	}
	if got := approve("dan"); got.State != api.OpExecuted {
		t.Errorf("state %s with two", got.State)
	}
}

func TestProjectRefusals(t *testing.T) {
	w := settled(t)
	for name, tt := range map[string]struct {
		record jsontext.Value
		code   api.Code
	}{
		"of no domain":           {projectRecord("other", "none", `"lake"`, `"sea"`), api.CodeNotFound},
		"expired":                {projectRecord("other", "none", "2027-12-31", "2026-11-25"), api.CodeProjectExpired},
		"there":                  {projectRecord("study", "none"), api.CodeConflict},
		"of several controllers": {projectRecord("other", "none", `["X26"]`, `["X26","RX1"]`), api.CodeForbidden},
		"accepted by one":        {projectRecord("other", "none", `["X26"]`, `["X26","RX1"],"keyed_hash":{"accepted_by":["X26"],"date":"2026-11-01"}`), api.CodeMalformed},
		"without date":           {projectRecord("other", "none", `["X26"]`, `["X26","RX1"],"keyed_hash":{"accepted_by":["X26","RX1"],"date":"soon"}`), api.CodeMalformed},
		"unknown member":         {projectRecord("other", "none", `"groups"`, `"grops"`), api.CodeMalformed},
	} {
		_, err := w.ask(api.OpProjectAdd, api.ProjectAdd{Record: tt.record})
		if t.Run(name, func(t *testing.T) { refusedWith(t, err, tt.code) }); err != nil && strings.Contains(err.Error(), "grops\"") {
			t.Error("the record is repeated")
		}
	}
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("other", "none", `["X26"]`, `["X26","RX1"],"keyed_hash":{"accepted_by":["RX1","X26"],"date":"2026-11-01"}`)})
	_, err := w.ask(api.OpProjectRenew, api.ProjectAdd{Record: projectRecord("study", "direct")})
	refusedWith(t, err, api.CodeConflict)
	w.do(api.OpProjectRenew, api.ProjectAdd{Record: projectRecord("study", "none", "2027-12-31", "2029-12-31")})
	p, err := w.ring.Project(w.as("north"), "study")
	if err != nil || !strings.Contains(string(p.Record), "2029-12-31") {
		t.Errorf("%v", err)
	}
	_, err = w.ring.Project(w.as("north"), "other")
	refusedWith(t, err, api.CodeNotFound)
	if _, err = w.ring.Project(w.as("ann"), "other"); err != nil {
		t.Error(err)
	}
}

func TestOneDomainForATokeniser(t *testing.T) {
	w := settled(t)
	w.do(api.OpDomainAdd, api.DomainAdd{Name: "sea", Scheme: keys.SchemeKeyedHash})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("far", "none", `"lake"`, `"sea"`)})
	add := func(role api.Role, datasets []string, projects ...string) error {
		_, err := w.ask(api.OpClientAdd, api.ClientAdd{Name: "other", Role: role, Organisation: "RX1", Projects: projects, SourceDatasets: datasets})
		return err
	}
	refusedWith(t, add(api.RoleTokeniser, nil, "study", "far"), api.CodeForbidden)
	refusedWith(t, add(api.RoleTokeniser, nil), api.CodeMalformed)
	refusedWith(t, add(api.RoleAuditor, nil, "study"), api.CodeMalformed)
	refusedWith(t, add(api.RoleTokeniser, []string{"elsewhere"}, "study"), api.CodeMalformed)
	refusedWith(t, add("root", nil), api.CodeMalformed)
	if err := add(api.RoleTokeniser, []string{"south"}, "far"); err != nil {
		t.Error(err)
	}
}

func TestExportNeedsAGrantAndUsesIt(t *testing.T) {
	w := settled(t)
	export := api.KeyExport{Project: "study", Grant: "pilot"}
	_, err := w.ask(api.OpKeyExport, export)
	refusedWith(t, err, api.CodeForbidden)
	w.do(api.OpGrantAdd, api.GrantAdd{Name: "pilot", Kind: api.GrantExport, Project: "study", Purpose: "a pilot", LegalBasis: "contract", Expires: w.now.Add(time.Hour)})
	collected := w.do(api.OpKeyExport, export)
	certificate := sha256.Sum256(certificateOf("ann"))
	sealed, err := api.SealExport(collected.Export, collected.SealTo, collected.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	file, err := api.OpenExport(sealed, w.sealing["ann"], certificate)
	if err != nil || file.Project != "study" {
		t.Fatalf("%+v, %v", file, err)
	}
	l := w.lease("study", api.UseEncoding)
	leased, err := l.Open(w.sealing["north"], sha256.Sum256(certificateOf("north")))
	if err != nil || !leased.Equal(file.EncodingKey) {
		t.Errorf("the exported key is not the leased one (%v)", err)
	}
	if _, err := api.OpenExport(sealed, w.sealing["bob"], certificate); err == nil {
		t.Error("another operator opens the export")
	}
	_, err = w.ask(api.OpKeyExport, export)
	refusedWith(t, err, api.CodeForbidden) // used
}

func TestReasonsAndPurposesNameNoPatient(t *testing.T) {
	w := settled(t)
	for _, text := range []string{"", "  ", "for 943 476 5919", "9434765919", "943-476-5919", strings.Repeat("x", maxReason+1)} {
		_, err := w.ask(api.OpClientRevoke, api.ClientNamed{Name: "north", Reason: text})
		refusedWith(t, err, api.CodeMalformed)
		if text != "" { // a new code needs no reason
			_, err = w.ask(api.OpClientRenew, api.ClientNamed{Name: "north", Reason: text})
			refusedWith(t, err, api.CodeMalformed)
		}
	}
	for key, value := range w.store.records {
		if key.Kind == kindEvent && (strings.Contains(string(value), "laptop") || len(value) > 4096) {
			t.Error("an event holds free text")
		}
	}
}

// TestNamesAreNoNumbers: names stand in logs, where no patient may.
func TestNamesAreNoNumbers(t *testing.T) {
	w := settled(t)
	for _, name := range []string{"9434765919", "943-476-5919", "ward-9434765919"} {
		for kind, body := range map[api.OperationKind]any{
			api.OpDomainAdd: api.DomainAdd{Name: name, Scheme: "keyed-hash"},
			api.OpClientAdd: api.ClientAdd{Name: name, Role: api.RoleAuditor, Organisation: "X26"},
			api.OpGrantAdd:  api.GrantAdd{Name: name, Kind: api.GrantExport, Project: "study", Purpose: "a", LegalBasis: "b", Expires: w.now.Add(time.Hour)},
		} {
			_, err := w.ask(kind, body)
			refusedWith(t, err, api.CodeMalformed)
		}
		_, err := w.ask(api.OpClientAdd, api.ClientAdd{Name: "a", Role: api.RoleAuditor, Organisation: name})
		refusedWith(t, err, api.CodeMalformed)
	}
}

// TestStateSurvivesReopening: what is in memory is what is read back.
func TestStateSurvivesReopening(t *testing.T) {
	w := settled(t)
	w.lease("study", api.UseToken)
	w.do(api.OpKeyRotate, api.KeyChange{Project: "care", Reason: "yearly"})
	before := w.picture()
	w.reopen(2)
	if after := w.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func (w *world) picture() string {
	leases, err := w.ring.Leases("study")
	if err != nil {
		w.Fatal(err)
	}
	b, err := json.Marshal([]any{w.ring.Domains(), w.ring.Projects(), w.ring.Clients(), w.ring.Grants(), leases, w.ring.Operations(""), w.ring.Events()}, json.Deterministic(true))
	if err != nil {
		w.Fatal(err)
	}
	return string(b)
}

func TestRestoredComesBackUsedUp(t *testing.T) {
	w := settled(t)
	w.lease("study", api.UseToken)
	w.do(api.OpGrantAdd, api.GrantAdd{Name: "pilot", Kind: api.GrantExport, Project: "study", Purpose: "a pilot", LegalBasis: "contract", Expires: w.now.Add(time.Hour)})
	if _, err := w.ask(api.OpDomainAdd, api.DomainAdd{Name: "pond", Scheme: keys.SchemeKeyedHash}); err != nil {
		t.Fatal(err)
	}
	w.do(api.OpKeyRotate, api.KeyChange{Domain: "lake", Reason: "yearly"})
	destroyed := func(name string) bool { return name == "domain/lake/1" || name == "client/bob" }
	back := newMemory()
	for key, value := range w.store.records {
		keep, changed, err := Restored(key, value, destroyed)
		if err != nil {
			t.Fatal(err)
		}
		if keep {
			back.records[key] = changed
		}
	}
	w.store = back
	w.reopen(2)
	leases, _ := w.ring.Leases("study")
	if leases[0].State != leaseRevoked || w.ring.Grants()[0].State != grantUsed || len(w.ring.Operations(api.OpVoid)) != 1 {
		t.Errorf("%+v %+v %+v", leases, w.ring.Grants(), w.ring.Operations(""))
	}
	if d, _ := w.ring.Domain("lake"); d.Epochs[0].State != api.StateDestroyed {
		t.Error("a destroyed key is back")
	}
	_, err := w.ring.Identify(sha256.Sum256(certificateOf("bob")))
	refusedWith(t, err, api.CodeRevoked)
}

func TestKeysAreNeverPrinted(t *testing.T) {
	w := settled(t)
	var hexes []string
	for _, key := range w.ring.keys {
		key.Use(func(b *[secret.Size]byte) { hexes = append(hexes, hex.EncodeToString(b[:8]), fmt.Sprint(b[:8])) })
	}
	text := fmt.Sprintf("%v %+v %#v", w.ring, w.ring, w.ring.keys)
	for _, h := range hexes {
		if strings.Contains(text, strings.Trim(h, "[]")) {
			t.Fatal("a key is printed")
		}
	}
	if len(hexes) == 0 {
		t.Fatal("no key was looked for")
	}
}
