package keyring

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf"
	"tarn/keys/secret"
)

// oblivious is a settled world with a second domain, whose tokens the key holder makes,
// its project and a tokeniser of it.
func oblivious(t *testing.T) *world {
	t.Helper()
	w := settled(t)
	w.do(api.OpDomainAdd, api.DomainAdd{Name: "tarn", Scheme: keys.SchemeOblivious})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("blind", "none", `"domain":"lake"`, `"domain":"tarn"`, `"keyed-hash"`, `"oblivious"`, `{"source_dataset":"south"}`, `{"source_dataset":"south","budget_rows":1000}`)})
	c := w.do(api.OpClientAdd, api.ClientAdd{Name: "south", Role: api.RoleTokeniser, Organisation: "RX2", Projects: []string{"blind"}, SourceDatasets: []string{"south"}})
	w.enrol("south", c.Code)
	return w
}

// record is the project's as its parties get it.
func (w *world) record(project string) *keys.Project {
	w.Helper()
	p, err := w.ring.Project(w.as("ann"), project)
	if err != nil {
		w.Fatal(err)
	}
	record, err := keys.ParseProject(p.Record)
	if err != nil {
		w.Fatal(err)
	}
	return record
}

// blinded is a batch of n numbers, and who finishes it.
func (w *world) blinded(project string, n int, id uuid.UUID) *oprf.Batch {
	w.Helper()
	record := w.record(project)
	public, err := hex.DecodeString(*record.Keys.TokenPublicKey)
	if err != nil || keys.PublicKCV(public) != *record.Keys.TokenKCV {
		w.Fatalf("public key %x of check value %s, %v", public, *record.Keys.TokenKCV, err)
	}
	b, err := oprf.NewBlinder(oprf.Generator(), oprf.Point(public), 1)
	if err != nil {
		w.Fatal(err)
	}
	numbers := make([]nhsnumber.Number, n)
	for i := range numbers {
		numbers[i] = nhsnumber.Number([]byte("9434765919"))
	}
	batch, err := b.Numbers(oprf.Header{Operation: oprf.Evaluate, DomainNo: record.Keys.DomainNo, TokenEpoch: record.Keys.TokenEpoch, RequestID: id}, numbers, nil)
	if err != nil {
		w.Fatal(err)
	}
	return batch
}

func (w *world) evaluate(caller, project string, id uuid.UUID, body []byte) ([]byte, error) {
	e, err := w.ring.Evaluate(w.Context(), w.as(caller), id.String(), project, body)
	if err != nil {
		return nil, err
	}
	return e.Answer(1)
}

// TestEvaluationsAreChargedAndRecordedOnce: a batch that is sent again, after a start, too,
// gives the same tokens and costs nothing; another one under its id is refused.
func TestEvaluationsAreChargedAndRecordedOnce(t *testing.T) {
	w := oblivious(t)
	id := uuid.New()
	batch := w.blinded("blind", 7, id)
	left := func() int64 {
		for _, b := range w.ring.Budgets() {
			if b.Project == "blind" && b.Use == api.UseToken {
				return b.Left
			}
		}
		t.Fatal("there is no budget")
		return 0
	}
	first, err := w.evaluate("south", "blind", id, batch.Request)
	if err != nil || left() != 993 {
		t.Fatalf("%d left, %v", left(), err)
	}
	events := w.ring.Events()
	leaf, err := audit.Decode(w.store.records[EventKey(events-1)])
	if err != nil || leaf.Kind != audit.KindEvaluate || leaf.Count != 7 || leaf.Project != "blind" || leaf.Domain != "tarn" || leaf.TokenEpoch != 1 || leaf.Actor.Subject != "south" {
		t.Errorf("%+v, %v", leaf, err)
	}
	w.reopen(2)
	again, err := w.evaluate("south", "blind", id, batch.Request)
	if err != nil || w.ring.Events() != events || left() != 993 {
		t.Fatalf("again: %d events more, %d left, %v", w.ring.Events()-events, left(), err)
	}
	if !bytes.Equal(first[:len(first)-oprf.ProofSize], again[:len(again)-oprf.ProofSize]) {
		t.Error("the same batch has other points")
	}
	tokens, err := batch.Finish(again)
	if err != nil || tokens[0] != tokens[6] || tokens[0] == (oprf.Point{}) {
		t.Errorf("%v", err)
	}
	_, err = w.evaluate("south", "blind", id, w.blinded("blind", 7, id).Request)
	refusedWith(t, err, api.CodeConflict)
	if left() != 993 || w.ring.Events() != events {
		t.Error("what was refused is charged, or recorded")
	}
	// Long after it is forgotten.
	w.now = w.now.Add(48 * time.Hour)
	w.ring.sinceBatchTidy = tidyEvery
	other := uuid.New()
	if _, err := w.evaluate("south", "blind", other, w.blinded("blind", 1, other).Request); err != nil || len(w.ring.batches) != 1 {
		t.Errorf("%d batches are kept, %v", len(w.ring.batches), err)
	}
}

// TestEvaluationRefusals: nothing is charged, recorded or kept of any.
func TestEvaluationRefusals(t *testing.T) {
	w := oblivious(t)
	id := uuid.New()
	good := w.blinded("blind", 3, id).Request
	events, records := w.ring.Events(), len(w.store.records)
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, tt := range map[string]struct {
		caller, project string
		id              uuid.UUID
		body            []byte
		code            api.Code
	}{
		"nothing":                       {"south", "blind", id, nil, api.CodeMalformed},
		"an element that is none":       {"south", "blind", id, changed(len(good)-1, 0xff), api.CodeMalformed},
		"another request's id":          {"south", "blind", uuid.New(), good, api.CodeMalformed},
		"another project":               {"south", "study", id, good, api.CodeForbidden},
		"another domain's client":       {"north", "blind", id, good, api.CodeForbidden},
		"a project whose key is leased": {"north", "study", id, good, api.CodeForbidden},
		"another domain":                {"south", "blind", id, changed(11, 1), api.CodeForbidden},
		"an epoch to come":              {"south", "blind", id, changed(15, 2), api.CodeKeyState},
		"the mode of RFC 9497":          {"south", "blind", id, changed(5, 5), api.CodeMalformed},
	} {
		_, err := w.evaluate(tt.caller, tt.project, tt.id, tt.body)
		t.Run(name, func(t *testing.T) { refusedWith(t, err, tt.code) })
	}
	if w.ring.Events() != events || len(w.store.records) != records {
		t.Errorf("%d events and %d records more", w.ring.Events()-events, len(w.store.records)-records)
	}
	over := uuid.New()
	_, err := w.evaluate("south", "blind", over, w.blinded("blind", 1001, over).Request)
	refusedWith(t, err, api.CodeForbidden)
	if _, err := w.ring.Lease(t.Context(), w.as("south"), w.id(), "blind", api.LeaseRequest{Use: api.UseToken, RowsExpected: 1}); err == nil {
		t.Error("its token key is leased")
	} else {
		refusedWith(t, err, api.CodeForbidden)
	}
}

// TestRotatedKeysEvaluateNoMore: the batch of an epoch that is over is refused, the new
// key has another public key and makes another token.
func TestRotatedKeysEvaluateNoMore(t *testing.T) {
	w := oblivious(t)
	token := func() oprf.Point {
		id := uuid.New()
		batch := w.blinded("blind", 1, id)
		answer, err := w.evaluate("south", "blind", id, batch.Request)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := batch.Finish(answer)
		if err != nil {
			t.Fatal(err)
		}
		return tokens[0]
	}
	before, public := token(), *w.record("blind").Keys.TokenPublicKey
	id := uuid.New()
	old := w.blinded("blind", 1, id).Request
	w.do(api.OpKeyRotate, api.KeyChange{Domain: "tarn", Reason: "yearly"})
	_, err := w.evaluate("south", "blind", id, old)
	refusedWith(t, err, api.CodeKeyState)
	if *w.record("blind").Keys.TokenPublicKey == public || token() == before {
		t.Error("the new epoch has the old key")
	}
	w.reopen(2)
	if w.record("blind").Keys.TokenEpoch != 2 {
		t.Error("the epoch did not survive a start")
	}
}

// TestPublicKeysAreTheKeys: what a domain shows is its secret times the generator.
func TestPublicKeysAreTheKeys(t *testing.T) {
	w := oblivious(t)
	d, err := w.ring.Domain("tarn")
	if err != nil {
		t.Fatal(err)
	}
	public, err := oprf.PublicKey(w.ring.keys[tokenKey("tarn", 1)])
	if err != nil || hex.EncodeToString(public[:]) != d.Epochs[0].PublicKey || d.Epochs[0].KeyCheck != keys.PublicKCV(public[:]) {
		t.Errorf("%+v, %v", d.Epochs[0], err)
	}
	w.ring.keys[tokenKey("tarn", 1)].Use(func(b *[secret.Size]byte) {
		for key, value := range w.store.records {
			if key.Kind != kindKey && (bytes.Contains(value, b[:]) || strings.Contains(string(value), hex.EncodeToString(b[:]))) {
				t.Errorf("the key is in the record %s/%s", key.Kind, key.Name)
			}
		}
	})
}
