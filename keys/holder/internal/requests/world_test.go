package requests_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/escrow"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/regions"
	"tarn/keys/holder/internal/requests"
	"tarn/keys/holder/internal/store"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf"
	"tarn/keys/relationship"
	"tarn/keys/secret"
)

// tb is a test, or a property of one.
type tb interface {
	rapid.TB
	Context() context.Context
}

// memory is a store that writes nowhere. What it is given after a write was lost is lost,
// too: the process ended there.
type memory struct {
	mu      sync.Mutex
	records map[store.Key][]byte
	events  [][]byte
	lose    int // the write that is lost, counted from 1; none of 0
	dead    bool
}

var errEnded = errors.New("the process ended before it was written")

func (m *memory) Each(f func(store.Key, []byte) error) error {
	for key, value := range m.records {
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Enqueue(changes []store.Change) func(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lose > 0 {
		m.lose--
		m.dead = m.dead || m.lose == 0
	}
	if m.dead {
		return func(context.Context) error { return errEnded }
	}
	for _, c := range changes {
		switch {
		case c.Value == nil:
			delete(m.records, c.Key)
		case c.Key.Kind == "event":
			m.events = append(m.events, c.Value)
			fallthrough
		default:
			m.records[c.Key] = c.Value
		}
	}
	return func(context.Context) error { return nil }
}

func (m *memory) Room() error { return nil }

func (m *memory) Destroy(context.Context, []store.Change, []store.Key, []string) error {
	return errors.New("nothing is destroyed in these tests")
}

func (m *memory) size() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return uint64(len(m.events))
}

// witness is who signs what the log has, unless it is away.
type witness struct {
	store *memory

	mu     sync.Mutex
	away   bool
	signed uint64 // it has signed all before
}

func (w *witness) Witnessed(_ context.Context, size uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch have := w.store.size(); {
	case size <= w.signed:
		return nil
	case w.away || size > have:
		return context.DeadlineExceeded
	default:
		w.signed = have
		return nil
	}
}

func (w *witness) Receipt(context.Context, uint64) ([]byte, error) { return []byte("{}"), nil }

func (w *witness) Search(_ context.Context, text string, found func(uint64, []byte)) (uint64, error) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	for i, leaf := range w.store.events {
		if strings.Contains(string(leaf), text) {
			found(uint64(i), leaf)
		}
	}
	return uint64(len(w.store.events)), nil
}

// told is an answer that the region has given.
type told struct {
	token, organisation string
	allowed             bool
	at                  time.Time
}

// region answers for both domains, in this process: it knows who is registered where. (That
// its answers are believed for good reasons is for the tests of package regions.)
type region struct {
	clock   func() time.Time
	minted  *minted
	mu      sync.Mutex
	away    bool
	patient map[string]string // organisation by number
	answers map[string]told   // by evidence
}

var errAway = errors.New("the region does not answer")

func (r *region) Ask(_ context.Context, _ string, token keys.Token, organisation, _ string) (*regions.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return nil, errAway
	}
	text := token.String()
	a := &regions.Answer{Decision: relationship.Deny, Until: r.clock().Add(relationship.MaxAge)}
	if m := r.minted.tokens[text]; m != nil {
		if r.patient[m.number] != "" { // whose region keeps nothing of them, is nobody
			a.Envelope = m.envelope
		}
		if organisation != "" && r.patient[m.number] == organisation {
			a.Decision = relationship.Allow
		}
	}
	binary.BigEndian.PutUint64(a.Evidence[:], uint64(len(r.answers)+1))
	r.answers[hex.EncodeToString(a.Evidence[:])] = told{text, organisation, a.Decision == relationship.Allow, r.clock()}
	return a, nil
}

func (r *region) Route(_ context.Context, _ string, tokens []string, _ string) (*regions.Routes, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return nil, errAway
	}
	routes := &regions.Routes{Organisations: make([]string, len(tokens)), Until: r.clock().Add(relationship.MaxAge)}
	for i, text := range tokens {
		if m := r.minted.tokens[text]; m != nil {
			routes.Organisations[i] = r.patient[m.number]
		}
	}
	return routes, nil
}

// token is one that was minted, and all that is known of it.
type token struct {
	text, project, number string
	value                 [32]byte
	envelope              *escrow.Envelope // of scheme keyed-hash
	tokenH, subjectH      string           // specification (i), by whoever wrote these tests
}

// minted is what every world begins with.
type minted struct {
	records map[store.Key][]byte
	tokens  map[string]*token
	of      map[string][]*token // by project
}

var numbers = []string{"9434765919", "9434765870", "9876543210"}

var began = time.Date(2026, 11, 26, 9, 0, 0, 0, time.UTC)

func projectRecord(name, domain, scheme, mode string) []byte {
	return fmt.Appendf(nil, `{"schema":"tarn.project/1","name":%q,"domain":%q,"scheme":%q,"profile":"nhs-field-dob-1","purpose":"care",
		"legal_basis":{},"controllers":["QMJ"],"parties":[{"source_dataset":"north","ods":"Y11111"},{"source_dataset":"south","ods":"Y22222"}],
		"opt_outs":{"ndoo":true,"type1":true,"local":false},"groups":[],"keys":{"domain_no":0,"token_epoch":0,"token_public_key":null,"token_kcv":null,"encoding_epoch":0,"encoding_kcv":null},
		"reidentify":{"mode":%q},"expires":"2027-12-31"}`, name, domain, scheme, mode)
}

const operator = "ann-operator"

// openRing reads a keyring from a store.
func openRing(m *memory, clock func() time.Time) (*keyring.Keyring, error) {
	return keyring.Open(m, keyring.Options{Clock: clock, Holder: "holder", Software: "test", OperatorsRequired: 1, Alerts: true,
		Code: func() (string, [sha256.Size]byte, error) { return "code", sha256.Sum256([]byte("code")), nil }})
}

// operate makes a change of the key holder's.
func operate(ctx context.Context, ring *keyring.Keyring, kind api.OperationKind, body any) error {
	document, err := json.Marshal(body)
	if err != nil {
		return err
	}
	o, err := ring.Ask(ctx, keyring.Caller{Name: operator, Role: api.RoleOperator, Organisation: "X26"}, uuid.NewString(), api.OperationRequest{Kind: kind, Body: document})
	if err == nil && o.State == api.OpPending {
		err = errors.New("it waits for another operator")
	}
	return err
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// mint makes, once, a key holder with two domains, of each scheme one, three projects and
// tokens of every patient: in the oblivious domain in two epochs.
var mint = sync.OnceValue(func() *minted {
	m := &memory{records: map[store.Key][]byte{}}
	ring, err := openRing(m, func() time.Time { return began })
	must(err)
	ctx := context.Background()
	do := func(kind api.OperationKind, body any) { must(operate(ctx, ring, kind, body)) }
	_, err = ring.Bootstrap(ctx, "X26", []string{operator})
	must(err)
	do(api.OpDomainAdd, api.DomainAdd{Name: "pond", Scheme: keys.SchemeOblivious})
	do(api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: keys.SchemeKeyedHash})
	do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("care", "pond", keys.SchemeOblivious, "direct")})
	do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("hashed", "lake", keys.SchemeKeyedHash, "direct")})
	do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("study", "pond", keys.SchemeOblivious, "none")})
	do(api.OpKeyRotate, api.KeyChange{Domain: "pond", Reason: "a new year"})
	must(ring.Started(ctx))
	all := &minted{records: m.records, tokens: map[string]*token{}, of: map[string][]*token{}}
	add := func(project string, n nhsnumber.Number, k keys.Token, domain string, envelope *escrow.Envelope) {
		made := &token{text: k.String(), project: project, number: string(n[:]), value: k.Value, envelope: envelope}
		made.tokenH = named(m, []byte("tarn/audit-token/v1"), []byte(domain), binary.BigEndian.AppendUint32(nil, uint32(k.TokenEpoch)), k.Value[:])
		made.subjectH = named(m, []byte("tarn/subject/v1"), n[:])
		all.tokens[made.text] = made
		all.of[project] = append(all.of[project], made)
	}
	key := func(name string) secret.Key {
		return secret.New([32]byte(m.records[store.Key{Kind: "key", Name: name}]))
	}
	pond, err := ring.Domain("pond")
	must(err)
	lake, err := ring.Domain("lake")
	must(err)
	record, err := ring.Project(keyring.Caller{Name: operator, Role: api.RoleOperator}, "hashed")
	must(err)
	parsed, err := keys.ParseProject(record.Record)
	must(err)
	public, err := hex.DecodeString(*parsed.Keys.EscrowPublicKey)
	must(err)
	sealing := escrow.Context{Project: "hashed", Domain: "lake", TokenEpoch: 1, HolderKeyID: escrow.KeyID(public)}
	batch, err := escrow.NewBatch(public, sealing, [16]byte{1})
	must(err)
	deriver := keys.TokenDeriver(key("domain/lake/1"), "lake", 1).MAC()
	for _, digits := range numbers {
		n := nhsnumber.Number([]byte(digits))
		for epoch := uint16(1); epoch <= 2; epoch++ {
			k := keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: pond.DomainNo, TokenEpoch: epoch, Value: evaluated(n, key(fmt.Sprintf("domain/pond/%d", epoch)), pond.DomainNo, uint32(epoch))}
			add("care", n, k, "pond", nil)
		}
		k := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: lake.DomainNo, TokenEpoch: 1, Value: *secret.NewHasher().Sum(deriver, n[:])}
		sealed, index, err := batch.Seal(nil, k.Value, n)
		must(err)
		add("hashed", n, k, "lake", &escrow.Envelope{HolderKeyID: sealing.HolderKeyID, Batch: batch.ID, Enc: batch.Enc, Index: index, Token: k.Value, Sealed: sealed})
	}
	return all
})

// evaluated makes a token as a tokeniser and the key holder do together.
func evaluated(n nhsnumber.Number, key secret.Key, domainNo, epoch uint32) [32]byte {
	public, err := oprf.PublicKey(key)
	if err != nil {
		panic(err)
	}
	blinder, err := oprf.NewBlinder(oprf.Generator(), public, 1)
	if err != nil {
		panic(err)
	}
	batch, err := blinder.Numbers(oprf.Header{Operation: oprf.Evaluate, DomainNo: domainNo, TokenEpoch: epoch}, []nhsnumber.Number{n}, nil)
	if err != nil {
		panic(err)
	}
	request, err := oprf.ParseRequest(batch.Request, 1)
	if err != nil {
		panic(err)
	}
	answer, err := request.Answer(key, oprf.Generator(), public, 1)
	if err != nil {
		panic(err)
	}
	points, err := batch.Finish(answer)
	if err != nil {
		panic(err)
	}
	return points[0]
}

// named is HMAC(K_audit, LP(parts..))[0:16], written once more.
func named(m *memory, parts ...[]byte) string {
	h := hmac.New(sha256.New, m.records[store.Key{Kind: "key", Name: "audit"}])
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(part))))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

type meter struct{}

func (meter) Reidentified(string, string, string) {}

// site is a key holder, its region and its witness, whom nothing reaches from outside.
type site struct {
	*minted
	store   *memory
	ring    *keyring.Keyring
	desk    *requests.Requests
	region  *region
	witness *witness
	reached func(requests.Step)
	clock   func() time.Time
}

func newSite(t tb, clock func() time.Time) *site {
	t.Helper()
	all := mint()
	s := &site{minted: all, store: &memory{records: maps.Clone(all.records)}, clock: clock, reached: func(requests.Step) {}}
	// Entries of before belong to a log of before, but for the last, which says how many
	// there were: the checks begin at the first of these tests.
	s.store.events = make([][]byte, len(events(all.records)))
	copy(s.store.events, events(all.records))
	s.region = &region{clock: clock, minted: all, patient: map[string]string{}, answers: map[string]told{}}
	s.witness = &witness{store: s.store}
	s.start(t)
	return s
}

// events are those of a store, in their order.
func events(records map[store.Key][]byte) (all [][]byte) {
	for {
		value, there := records[store.Key{Kind: "event", Name: fmt.Sprintf("%020d", len(all))}]
		if !there {
			return all
		}
		all = append(all, value)
	}
}

// start is the process's: it reads its store, and finishes what an end has cut off.
func (s *site) start(t tb) {
	t.Helper()
	s.store.dead, s.store.lose = false, 0
	var err error
	if s.ring, err = openRing(s.store, s.clock); err != nil {
		t.Fatal(err)
	}
	s.desk, err = requests.Open(s.store.Each, s.ring, requests.Options{
		Regions: s.region, Log: s.witness, Meter: meter{}, Clock: s.clock, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Alerts: true,
		Reached: func(step requests.Step) { s.reached(step) },
	})
	if err == nil {
		err = s.desk.Recover(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) setPolicy(t tb, document string) {
	t.Helper()
	if err := operate(t.Context(), s.ring, api.OpPolicySet, api.PolicySet{Document: document}); err != nil {
		t.Fatal(err)
	}
}
