package keyring

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"crypto/rand"

	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/oprf"
	"tarn/keys/parcel"
)

// parties is a world with two oblivious domains, a sender in one, a recipient in the
// other, and a grant between them.
func parties(t *testing.T) (*world, *parcel.Keys) {
	t.Helper()
	w := oblivious(t)
	w.do(api.OpDomainAdd, api.DomainAdd{Name: "registry", Scheme: keys.SchemeOblivious})
	w.do(api.OpProjectAdd, api.ProjectAdd{Record: projectRecord("cancer", "direct", `"domain":"lake"`, `"domain":"registry"`, `"keyed-hash"`, `"oblivious"`, `{"source_dataset":"south"}`, `{"source_dataset":"south","budget_rows":10}`)})
	c := w.do(api.OpClientAdd, api.ClientAdd{Name: "registrar", Role: api.RoleTokeniser, Organisation: "RX3", Projects: []string{"cancer"}, SourceDatasets: []string{"south"}})
	w.enrol("registrar", c.Code)
	k, err := parcel.NewKeys("registry", "test", "2026-01-01T00:00:00Z", nil)
	if err != nil {
		t.Fatal(err)
	}
	w.do(api.OpGrantAdd, partyGrant(w, k))
	return w, k
}

func partyGrant(w *world, k *parcel.Keys) api.GrantAdd {
	return api.GrantAdd{Name: "follow-up", Kind: api.GrantConvert, From: "tarn", To: "registry", Purpose: "a study", LegalBasis: "section 251", OptOuts: "2026-11", RowCap: 15,
		Expires: w.now.Add(time.Hour), Recipient: &api.GrantRecipient{Project: "cancer", Client: "registrar", Keys: k.Public}}
}

func (w *world) domainKeys(domain string) (public oprf.Point) {
	w.Helper()
	d, err := w.ring.Domain(domain)
	if err != nil {
		w.Fatal(err)
	}
	b, err := hex.DecodeString(d.Epochs[0].PublicKey)
	if err != nil {
		w.Fatal(err)
	}
	return oprf.Point(b)
}

// sent is a batch of n rows that have the token of the first domain's public key.
func (w *world) sent(to *parcel.Recipient, n int, id uuid.UUID) []byte {
	w.Helper()
	h := oprf.Header{Operation: oprf.ConvertForParty, TokenEpoch: 1, ToTokenEpoch: 1, RequestID: id}
	for name, no := range map[string]*uint32{"tarn": &h.DomainNo, "registry": &h.ToDomainNo} {
		d, err := w.ring.Domain(name)
		if err != nil {
			w.Fatal(err)
		}
		*no = d.DomainNo
	}
	payloads := make([][]byte, n)
	for i := range payloads {
		payloads[i] = []byte{byte(i)}
	}
	seal, sealed, err := parcel.SealRows(to, id, [32]byte{}, payloads, rand.Reader)
	if err != nil {
		w.Fatal(err)
	}
	rows := make([]oprf.Row, n)
	for i := range rows {
		rows[i] = oprf.Row{Token: w.domainKeys("tarn"), Payload: sealed[i]} // K = kG: the token of whom Enc gives G
	}
	y, err := to.Point()
	if err != nil {
		w.Fatal(err)
	}
	e, err := oprf.NewEncrypter(y, 1)
	if err != nil {
		w.Fatal(err)
	}
	request, err := e.Rows(h, seal, rows, nil)
	if err != nil {
		w.Fatal(err)
	}
	return request
}

func (w *world) convert(caller, project, grant string, id uuid.UUID, body []byte, coming ...int64) ([]byte, error) {
	e, err := w.ring.Convert(w.Context(), w.as(caller), id.String(), project, grant, slices.Max(append(coming, 0)), body)
	if err != nil {
		return nil, err
	}
	return e.Answer(1)
}

// TestConversionForAnotherParty: the recipient gets the other domain's tokens and nobody
// else anything; both budgets and the grant count the rows, once; the log says of both
// projects what happened.
func TestConversionForAnotherParty(t *testing.T) {
	w, k := parties(t)
	used := func() (rows [3]int64) {
		for _, b := range w.ring.Budgets() {
			if b.Use == api.UseToken && b.Project == "blind" {
				rows[0] = b.Used
			}
			if b.Use == api.UseToken && b.Project == "cancer" {
				rows[1] = b.Used
			}
		}
		rows[2] = w.ring.Grants()[0].RowsUsed
		return rows
	}
	id := uuid.New()
	body := w.sent(&k.Public, 7, id)
	for try := range 3 {
		if try == 2 {
			w.reopen(2)
		}
		sealed, err := w.convert("south", "blind", "follow-up", id, body)
		if err != nil {
			t.Fatal(err)
		}
		if used() != [3]int64{7, 7, 7} {
			t.Errorf("try %d: %v rows are used", try, used())
		}
		arrived, err := k.Open(sealed, [32]byte{}, w.domainKeys("tarn"), w.domainKeys("registry"), 1)
		if err != nil || len(arrived.Rows) != 7 {
			t.Fatalf("%v", err)
		}
		seen := map[byte]bool{}
		for _, row := range arrived.Rows {
			if row.Absent || row.Token != w.domainKeys("registry") || seen[row.Payload[0]] {
				t.Error("a row arrives with another token, or twice")
			}
			seen[row.Payload[0]] = true
		}
	}
	for back, want := range []audit.Leaf{{Project: "cancer", Domain: "registry", Outcome: "for/registrar"}, {Project: "blind", Domain: "tarn", Outcome: "registry"}} {
		leaf, err := audit.Decode(w.store.records[EventKey(w.ring.Events()-1-uint64(back))])
		if err != nil || leaf.Kind != audit.KindConvert || leaf.Count != 7 || leaf.Rule != "follow-up" || leaf.Actor.Subject != "south" || leaf.Project != want.Project || leaf.Domain != want.Domain || leaf.Outcome != want.Outcome {
			t.Errorf("%+v, %v", leaf, err)
		}
	}
	// The recipient's budget has 3 rows left, the grant 8.
	events := w.ring.Events()
	id = uuid.New()
	_, err := w.convert("south", "blind", "follow-up", id, w.sent(&k.Public, 4, id))
	refusedWith(t, err, api.CodeForbidden)
	if _, waits := err.(interface{ RetryAfter() (time.Duration, bool) }).RetryAfter(); waits {
		t.Error("the sender is told when the recipient has budget again")
	}
	if strings.Contains(err.Error(), "3") || used() != [3]int64{7, 7, 7} {
		t.Errorf("the sender is told of the recipient's budget, or charged: %v", err)
	}
	id = uuid.New()
	_, err = w.convert("south", "blind", "follow-up", id, w.sent(&k.Public, 9, id))
	refusedWith(t, err, api.CodeForbidden)
	if used() != [3]int64{7, 7, 7} {
		t.Error("what was refused is charged")
	}
	for i := events; i < w.ring.Events(); i++ {
		if leaf, err := audit.Decode(w.store.records[EventKey(i)]); err != nil || leaf.Kind == audit.KindConvert {
			t.Error("what was refused is recorded as done")
		}
	}
}

// TestConversionForAnotherPartyRefusals: nothing is charged of any.
func TestConversionForAnotherPartyRefusals(t *testing.T) {
	w, k := parties(t)
	w.do(api.OpGrantAdd, api.GrantAdd{Name: "within", Kind: api.GrantConvert, From: "tarn", To: "registry", Purpose: "a study", LegalBasis: "section 251", OptOuts: "2026-11", RowCap: 15, Expires: w.now.Add(time.Hour)})
	id := uuid.New()
	good := w.sent(&k.Public, 3, id)
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for name, tt := range map[string]struct {
		caller, project, grant string
		body                   []byte
		code                   api.Code
	}{
		"a byte less":                        {"south", "blind", "follow-up", good[:len(good)-1], api.CodeMalformed},
		"another operation":                  {"south", "blind", "follow-up", changed(5, 3), api.CodeMalformed},
		"another domain":                     {"south", "blind", "follow-up", changed(19, 9), api.CodeForbidden},
		"another epoch":                      {"south", "blind", "follow-up", changed(23, 2), api.CodeKeyState},
		"another epoch of the sender's":      {"south", "blind", "follow-up", changed(15, 2), api.CodeKeyState},
		"another domain of the sender's":     {"south", "blind", "follow-up", changed(11, 9), api.CodeForbidden},
		"no such grant":                      {"south", "blind", "other", good, api.CodeForbidden},
		"the recipient sends":                {"registrar", "cancer", "follow-up", good, api.CodeForbidden},
		"a grant within one controller":      {"south", "blind", "within", good, api.CodeForbidden},
		"a project that is not the sender's": {"south", "cancer", "follow-up", good, api.CodeForbidden},
	} {
		_, err := w.convert(tt.caller, tt.project, tt.grant, id, tt.body)
		t.Run(name, func(t *testing.T) { refusedWith(t, err, tt.code) })
	}
	// A batch within one controller does not go by a grant for another party.
	b, err := oprf.NewBlinder(w.domainKeys("tarn"), w.domainKeys("registry"), 1)
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.ring.Domain("tarn")
	if err != nil {
		t.Fatal(err)
	}
	to, err := w.ring.Domain("registry")
	if err != nil {
		t.Fatal(err)
	}
	own, err := b.Tokens(oprf.Header{Operation: oprf.Convert, DomainNo: d.DomainNo, TokenEpoch: 1, ToDomainNo: to.DomainNo, ToTokenEpoch: 1, RequestID: id}, []oprf.Point{w.domainKeys("tarn")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.convert("south", "blind", "follow-up", id, own.Request)
	refusedWith(t, err, api.CodeForbidden)
	if _, err := w.convert("south", "blind", "within", id, own.Request); err != nil {
		t.Errorf("by the grant within one controller: %v", err)
	}
	// What was charged by one grant is not free by another.
	w.do(api.OpGrantAdd, api.GrantAdd{Name: "second", Kind: api.GrantConvert, From: "tarn", To: "registry", Purpose: "a study", LegalBasis: "section 251", OptOuts: "2026-11", RowCap: 15, Expires: w.now.Add(2 * time.Hour)})
	_, err = w.convert("south", "blind", "second", id, own.Request)
	refusedWith(t, err, api.CodeConflict)
	later := w.now
	w.now = w.now.Add(90 * time.Minute)
	ended := uuid.New()
	_, err = w.convert("south", "blind", "follow-up", ended, w.sent(&k.Public, 1, ended))
	refusedWith(t, err, api.CodeForbidden)
	w.now = later
	w.do(api.OpClientRevoke, api.ClientNamed{Name: "registrar", Reason: "gone"})
	other := uuid.New()
	_, err = w.convert("south", "blind", "follow-up", other, w.sent(&k.Public, 3, other))
	refusedWith(t, err, api.CodeForbidden)
	for _, g := range w.ring.Grants() {
		if g.Name == "follow-up" && g.RowsUsed != 0 {
			t.Error("what was refused is charged")
		}
	}
}

// TestGrantThatDoesNotSuffice is not used up by a part of the rows of a run that says how
// many it has.
func TestGrantThatDoesNotSuffice(t *testing.T) {
	w, k := parties(t)
	try := func(rows int, coming int64) error {
		id := uuid.New()
		return failed(w.convert("south", "blind", "follow-up", id, w.sent(&k.Public, rows, id), coming))
	}
	refusedWith(t, try(3, 16), api.CodeForbidden)
	if used := w.ring.Grants()[0].RowsUsed; used != 0 {
		t.Errorf("%d rows are used", used)
	}
	if err := try(3, 15); err != nil {
		t.Error(err)
	}
	refusedWith(t, try(1, 13), api.CodeForbidden)
	if err := try(2, 12); err != nil {
		t.Error(err)
	}
	if err := try(3, 1); err != nil { // who says less than it sends has said nothing
		t.Error(err)
	}
	if used := w.ring.Grants()[0].RowsUsed; used != 8 {
		t.Errorf("%d rows are used", used)
	}
}

// TestCeilingOfBothSides: rows that count against two budgets are below the ceiling
// together, or not converted.
func TestCeilingOfBothSides(t *testing.T) {
	for share, most := range map[float64]int{0: 5, .5: 3} { // of 10: all for all, or 5 for all and 1 for each of the three
		w, k := parties(t)
		w.limits = Budgets{CeilingRows: 10, ReservedShare: share}
		w.reopen(2)
		try := func(rows int) error {
			id := uuid.New()
			return failed(w.convert("south", "blind", "follow-up", id, w.sent(&k.Public, rows, id)))
		}
		for rows := 9; rows > most; rows-- {
			if try(rows) == nil {
				t.Errorf("%v: twice %d rows are below a ceiling of 10", share, rows)
			}
		}
		all := func() (rows int64) {
			for _, b := range w.ring.Budgets() {
				rows += b.Used
			}
			return rows
		}
		if used := all(); used != 0 {
			t.Errorf("%v: %d rows of what was refused are used", share, used)
		}
		for rows := most; rows > 0; rows-- {
			for try(rows) == nil {
			}
		}
		if used := all(); used == 0 || used > 10 {
			t.Errorf("%v: %d rows are used below a ceiling of 10", share, used)
		}
	}
}

// TestRecipientWhoIsNoneAnyMore: a recipient whose project has ended, or is of another
// domain now, gets nothing.
func TestRecipientWhoIsNoneAnyMore(t *testing.T) {
	w, k := parties(t)
	w.do(api.OpGrantAdd, api.GrantAdd{Name: "long", Kind: api.GrantConvert, From: "tarn", To: "registry", Purpose: "a study", LegalBasis: "section 251", OptOuts: "2026-11", RowCap: 15,
		Expires: w.now.AddDate(9, 0, 0), Recipient: &api.GrantRecipient{Project: "cancer", Client: "registrar", Keys: k.Public}})
	try := func() error {
		id := uuid.New()
		return failed(w.convert("south", "blind", "long", id, w.sent(&k.Public, 1, id)))
	}
	p := *w.ring.projects["cancer"]
	moved := p
	moved.Domain = "tarn"
	w.ring.projects["cancer"] = &moved
	refusedWith(t, try(), api.CodeForbidden)
	ended := p
	ended.base.Expires = w.now.AddDate(0, 0, -2).Format(time.DateOnly)
	w.ring.projects["cancer"] = &ended
	refusedWith(t, try(), api.CodeForbidden)
	w.ring.projects["cancer"] = &p
	if err := try(); err != nil {
		t.Errorf("nothing was changed: %v", err)
	}
}

// TestRecipientsOfGrants: a grant for a recipient of another domain, of another role, or
// with keys that are none is not added.
func TestRecipientsOfGrants(t *testing.T) {
	w, k := parties(t)
	for name, change := range map[string]func(*api.GrantAdd){
		"a project of another domain": func(g *api.GrantAdd) { g.Recipient.Project, g.Recipient.Client = "blind", "south" },
		"another project's client":    func(g *api.GrantAdd) { g.Recipient.Client = "south" },
		"nobody":                      func(g *api.GrantAdd) { g.Recipient.Client = "nobody" },
		"no token key":                func(g *api.GrantAdd) { g.Recipient.Keys.TokenKey = strings.Repeat("0", 64) },
		"no sealing key":              func(g *api.GrantAdd) { g.Recipient.Keys.SealingKey = nil },
		"an export": func(g *api.GrantAdd) {
			g.Kind, g.Project, g.From, g.To, g.OptOuts, g.RowCap = api.GrantExport, "blind", "", "", "", 0
		},
	} {
		body := partyGrant(w, k)
		body.Name = "again"
		change(&body)
		if err := w.ring.checkGrantAdd(&body); err == nil {
			t.Errorf("%s: it is added", name)
		}
	}
	body := partyGrant(w, k)
	body.Name = "again"
	if err := w.ring.checkGrantAdd(&body); err != nil {
		t.Errorf("nothing was changed: %v", err)
	}
}
