package keyring

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/oprf"
	"tarn/keys/parcel"
	"tarn/keys/secret"
)

// batch is what is kept of an evaluated batch: that it was charged, and of which bytes
// it was. It holds nothing by which anybody could be found: the bytes are blinded.
type batch struct {
	Digest  string    `json:"digest"`
	Created time.Time `json:"created"`
}

const (
	kindBatch   = "batch"
	keepBatches = 24 * time.Hour // as long as a request may be sent again
)

// Evaluation is what a key holder does with a batch once it is charged and recorded.
// It is the one place that knows there is one key in one process: threshold custody
// gives others.
type Evaluation struct {
	rows   int
	answer func(threads int) ([]byte, error)
}

// Rows is how many elements the batch has.
func (e *Evaluation) Rows() int { return e.rows }

// Answer evaluates the batch on so many threads, which needs no lock: all of one batch
// under one key.
func (e *Evaluation) Answer(threads int) ([]byte, error) { return e.answer(threads) }

// asked is a batch that somebody asks for.
type asked struct {
	project, grant string // the grant counts its rows, too, where one is named
	id             string // X-Request-ID
	body           []byte
	header         oprf.Header
	rows           int
	coming         int64 // of the grant's, that the run has still to come, these included; 0 is not known
	// prepare returns what answers it, and what the log says of it.
	prepare func(*project) (*Evaluation, audit.Leaf, error)
}

// malformed refuses bytes that are no batch.
func malformed(err error) error {
	return api.Refuse(api.CodeMalformed, err.Error(), "see specification (h)")
}

// Evaluate charges and records a batch of blinded numbers of a project, and returns what
// answers it. The same batch under the same id is charged once.
func (k *Keyring) Evaluate(ctx context.Context, caller Caller, requestID, projectName string, body []byte) (*Evaluation, error) {
	return k.blinded(ctx, caller, asked{project: projectName, id: requestID, body: body}, k.evaluated)
}

// Rotate does the same for a batch of blinded tokens, of a project's domain, which are
// brought from the key of an epoch that is over to that of the current one.
func (k *Keyring) Rotate(ctx context.Context, caller Caller, requestID, projectName, domainName string, body []byte) (*Evaluation, error) {
	return k.blinded(ctx, caller, asked{project: projectName, id: requestID, body: body}, func(p *project, request *oprf.Request) (*Evaluation, audit.Leaf, error) {
		if p.Domain != domainName {
			return nil, audit.Leaf{}, api.Refuse(api.CodeForbidden, "the domain is not that of the project", "one certificate works in one domain")
		}
		return k.rotated(p, request)
	})
}

// Convert does the same for tokens of a project's domain that become another domain's,
// under a grant that names both: within one controller, or for the recipient that the
// grant names. Its rows count against the grant, too, and for a recipient against the
// budgets of both domains. coming is as of useGrant.
func (k *Keyring) Convert(ctx context.Context, caller Caller, requestID, projectName, grantName string, coming int64, body []byte) (*Evaluation, error) {
	a := asked{project: projectName, grant: grantName, coming: coming, id: requestID, body: body}
	if !oprf.IsParcel(body) {
		return k.blinded(ctx, caller, a, func(p *project, request *oprf.Request) (*Evaluation, audit.Leaf, error) {
			return k.converted(p, k.grants[grantName], request)
		})
	}
	request, err := oprf.ParseParcel(body, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, malformed(err)
	}
	a.header, a.rows = request.Header, request.Rows()
	a.prepare = func(p *project) (*Evaluation, audit.Leaf, error) {
		return k.convertedForParty(p, k.grants[grantName], request)
	}
	return k.batch(ctx, caller, a)
}

// blinded reads a batch of blinded elements before anything is charged or stored: one
// with one wrong element is none.
func (k *Keyring) blinded(ctx context.Context, caller Caller, a asked, prepare func(*project, *oprf.Request) (*Evaluation, audit.Leaf, error)) (*Evaluation, error) {
	request, err := oprf.ParseRequest(a.body, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, malformed(err)
	}
	a.header, a.rows = request.Header, request.N
	a.prepare = func(p *project) (*Evaluation, audit.Leaf, error) { return prepare(p, request) }
	return k.batch(ctx, caller, a)
}

// batch charges and records a batch, once it is known what answers it.
func (k *Keyring) batch(ctx context.Context, caller Caller, asked asked) (evaluation *Evaluation, err error) {
	if id, err := uuid.Parse(asked.id); err != nil || id != uuid.UUID(asked.header.RequestID) {
		return nil, api.Refuse(api.CodeMalformed, "the batch's request id is not that of X-Request-ID", "send the same UUID in both")
	}
	id := idOf("batch", caller, asked.id)
	// The same bytes for another project, or by another grant, are another batch.
	sum := sha256.Sum256(append(keys.LP(keys.Text(asked.project), keys.Text(asked.grant)), asked.body...))
	digest := hex.EncodeToString(sum[:])
	err = k.change(ctx, func(t *transaction) error {
		p, c, err := k.mayLease(caller, asked.project, t.now)
		if err != nil {
			return err
		}
		var leaf audit.Leaf
		if evaluation, leaf, err = asked.prepare(p); err != nil {
			return err
		}
		if again := k.batches[id]; again != nil {
			if !hmac.Equal([]byte(again.Digest), []byte(digest)) {
				return api.Refuse(api.CodeConflict, "a request of this id was answered before, and was another", "give each request an id of its own")
			}
			return nil
		}
		a := k.budgets.account(accountKey{p.Name, c.Name, api.UseToken})
		rows := int64(asked.rows)
		if err := t.allow(a, p, c, rows, promised{}); err != nil {
			return err
		}
		leaf.Actor, leaf.Project, leaf.Domain, leaf.Request, leaf.Count = caller.actor(), p.Name, p.Domain, id, rows
		recorded := []audit.Leaf{leaf}
		if asked.grant != "" {
			arriving, err := t.useGrant(asked.grant, caller, leaf, asked.coming)
			if err != nil {
				return err
			}
			recorded = append(recorded, arriving...)
		}
		t.spend(a, caller, rows, k.budgets.allowance(p, c))
		t.tidyBatches()
		b := &batch{Digest: digest, Created: t.now}
		k.batches[id] = b
		t.put(kindBatch, id, b)
		for _, leaf := range recorded {
			t.event(leaf)
		}
		return nil
	})
	if err != nil {
		evaluation = nil
	}
	return evaluation, k.refusedForBudget(ctx, caller, err)
}

// useGrant counts the rows of a conversion, which the log is to call so, against its grant
// and, where they are for a recipient, against the recipient's budget, of which the log
// then says so, too. Whoever prepared the conversion has looked at the grant.
//
// coming is how many rows its run has still to come, these included, where that is known: a
// grant that does not suffice for them is not used up by a part of them.
func (t *transaction) useGrant(name string, caller Caller, leaf audit.Leaf, coming int64) (recorded []audit.Leaf, err error) {
	k := t.keyring
	g := *k.grants[name]
	if rows := max(coming, leaf.Count); rows > g.RowCap-g.RowsUsed {
		return nil, api.Refuse(api.CodeForbidden, fmt.Sprintf("of the %d rows that the grant is for, %d are left, and %d are to be converted", g.RowCap, g.RowCap-g.RowsUsed, rows), "add another grant: keyholder grant add")
	}
	if to := g.Recipient; to != nil {
		p, c := k.projects[to.Project], k.clients[to.Client]
		a := k.budgets.account(accountKey{p.Name, c.Name, api.UseToken})
		// The sender's are counted only when nothing is refused any more, and below the ceiling there has to be room for both.
		if err := t.allow(a, p, c, leaf.Count, promised{leaf.Actor.Subject, leaf.Count}); err != nil {
			return nil, recipientsBudget(err)
		}
		t.spend(a, caller, leaf.Count, k.budgets.allowance(p, c))
		leaf.Project, leaf.Domain, leaf.Outcome = p.Name, p.Domain, "for/"+c.Name
		recorded = append(recorded, leaf)
	}
	g.RowsUsed += leaf.Count
	k.grants[name] = &g
	t.put(kindGrant, name, &g)
	return recorded, nil
}

// recipientsBudget is a refusal for want of a recipient's budget as its sender is told of
// it: how much of it there is, and when there will be more, is not the sender's to know.
func recipientsBudget(err error) error {
	var e *exhausted
	if !errors.As(err, &e) {
		return err
	}
	told := *e
	told.wait = 0
	told.refusal = api.Refuse(api.CodeForbidden, "the recipient's budget does not allow for these rows now", "ask the recipient, or the key holder's operators: keyholder budget list")
	return &told
}

// publicKey returns an epoch's public key.
func publicKey(e *api.Epoch) (oprf.Point, error) {
	b, err := hex.DecodeString(e.PublicKey)
	if err != nil || len(b) != oprf.PointSize {
		return oprf.Point{}, errors.New("the public key of an epoch cannot be read")
	}
	return oprf.Point(b), nil
}

// evaluated returns what evaluates a batch: the current key of the project's domain, if
// it is the one that the batch itself names.
func (k *Keyring) evaluated(p *project, request *oprf.Request) (*Evaluation, audit.Leaf, error) {
	e, err := k.currentOf(p, request)
	if err != nil {
		return nil, audit.Leaf{}, err
	}
	public, err := publicKey(e)
	key := k.keys[tokenKey(p.Domain, e.Epoch)]
	return &Evaluation{request.N, func(threads int) ([]byte, error) {
		if request.Operation == oprf.EvaluateRFC9497 {
			return request.AnswerRFC9497(key, threads)
		}
		return request.Answer(key, oprf.Generator(), public, threads)
	}}, audit.Leaf{Kind: audit.KindEvaluate, TokenEpoch: e.Epoch}, err
}

// rotated returns what brings tokens of an epoch that is over to the current one.
func (k *Keyring) rotated(p *project, request *oprf.Request) (evaluation *Evaluation, leaf audit.Leaf, err error) {
	d := k.domains[p.Domain]
	from, to := d.Epochs.get(request.TokenEpoch), d.Epochs.current()
	switch {
	case d.Scheme != keys.SchemeOblivious:
		return nil, leaf, api.Refuse(api.CodeForbidden, "tokens of scheme "+d.Scheme+" cannot be rotated", "make them again from the numbers")
	case request.Operation != oprf.Rotate:
		return nil, leaf, api.Refuse(api.CodeMalformed, "the operation is not a rotation", "see specification (h)")
	case request.DomainNo != d.No:
		return nil, leaf, api.Refuse(api.CodeForbidden, "the domain is not that of the project", "one certificate works in one domain")
	case to == nil || request.ToTokenEpoch != to.Epoch:
		return nil, leaf, api.Refuse(api.CodeKeyState, "the epoch that tokens go to is not the current one", "get the project's record again")
	case from == nil || from.State != api.StateReadable && from.State != api.StateCompromised:
		return nil, leaf, api.Refuse(api.CodeKeyState, "the epoch that tokens come from is not one that was replaced and can be read", "make the tokens again from the numbers")
	}
	way, err := k.between(p.Domain, from, p.Domain, to)
	return way.answer(request), audit.Leaf{Kind: audit.KindRotate, TokenEpoch: to.Epoch, Outcome: "tokens"}, err
}

// converted returns what makes tokens of a project's domain another domain's, within one
// controller.
func (k *Keyring) converted(p *project, g *api.Grant, request *oprf.Request) (evaluation *Evaluation, leaf audit.Leaf, err error) {
	way, leaf, err := k.conversion(p, g, &request.Header)
	switch {
	case err != nil:
		return nil, leaf, err
	case g.Recipient != nil:
		return nil, leaf, api.Refuse(api.CodeForbidden, "the grant is for another party, its recipient, and not for the project itself", "send the tokens to the recipient: give tokeniser convert the grant's record")
	case request.Operation != oprf.Convert:
		return nil, leaf, api.Refuse(api.CodeMalformed, "the operation is not a conversion", "see specification (h)")
	}
	return way.answer(request), leaf, nil
}

// convertedForParty returns what makes encrypted tokens of a project's domain another
// domain's, for the recipient that the grant names.
func (k *Keyring) convertedForParty(p *project, g *api.Grant, request *oprf.Parcel) (evaluation *Evaluation, leaf audit.Leaf, err error) {
	way, leaf, err := k.conversion(p, g, &request.Header)
	switch {
	case err != nil:
		return nil, leaf, err
	case g.Recipient == nil:
		return nil, leaf, api.Refuse(api.CodeForbidden, "the grant names no recipient", "ask the key holder's operators for one that does: keyholder grant add --recipient")
	}
	to := g.Recipient
	recipient, err := to.Keys.Point()
	if err != nil {
		return nil, leaf, err
	}
	// The recipient has to be one still: the same client of a project that has not ended.
	if q, _, err := k.mayLease(Caller{Name: to.Client}, to.Project, k.now()); err != nil || q.Domain != g.To {
		return nil, leaf, api.Refuse(api.CodeForbidden, "the grant's recipient is no client of a current project of its domain any more", "ask the key holder's operators for another grant: keyholder grant add")
	}
	return &Evaluation{request.Rows(), func(threads int) ([]byte, error) {
		answer, err := request.Answer(way.quotient, way.base, way.public, recipient, nil, threads)
		if err != nil {
			return nil, err
		}
		return parcel.SealAnswer(to.Keys.SealingKey, answer)
	}}, leaf, nil
}

// conversion returns the way that a grant opens from a project's domain to another.
func (k *Keyring) conversion(p *project, g *api.Grant, h *oprf.Header) (way *way, leaf audit.Leaf, err error) {
	// The same for a grant that does not exist and one that is others': nobody learns of grants by asking.
	if g == nil || g.Kind != api.GrantConvert || g.From != p.Domain {
		return nil, leaf, api.Refuse(api.CodeForbidden, "there is no grant of this name to convert tokens of the project's domain", "ask the key holder's operators: keyholder grant add")
	}
	a, b := k.domains[g.From], k.domains[g.To]
	from, to := a.Epochs.current(), b.Epochs.current()
	switch {
	case g.State != grantActive || !k.now().Before(g.Expires):
		return nil, leaf, api.Refuse(api.CodeForbidden, "the grant was revoked, or has expired", "ask the key holder's operators for another: keyholder grant add")
	case a.Scheme != keys.SchemeOblivious || b.Scheme != keys.SchemeOblivious:
		return nil, leaf, api.Refuse(api.CodeForbidden, "only tokens of scheme oblivious can be converted", "make them again from the numbers")
	case h.DomainNo != a.No || h.ToDomainNo != b.No:
		return nil, leaf, api.Refuse(api.CodeForbidden, "the domains are not those of the grant", "give the records of projects of both")
	case from == nil || to == nil || h.TokenEpoch != from.Epoch || h.ToTokenEpoch != to.Epoch:
		return nil, leaf, api.Refuse(api.CodeKeyState, "the epochs are not the current ones", "rotate the tokens first: tokeniser rotate; get the records again")
	}
	way, err = k.between(a.Name, from, b.Name, to)
	return way, audit.Leaf{Kind: audit.KindConvert, TokenEpoch: to.Epoch, Rule: g.Name, Outcome: b.Name}, err
}

// way is what brings tokens of one epoch to another, of the same domain or another's: the
// quotient of their keys, and both public keys for the proof.
type way struct {
	quotient     secret.Key
	base, public oprf.Point
}

// answer returns what answers a batch of blinded tokens. It does nothing until it is used.
func (w *way) answer(request *oprf.Request) *Evaluation {
	return &Evaluation{request.N, func(threads int) ([]byte, error) { return request.Answer(w.quotient, w.base, w.public, threads) }}
}

// between returns the way from an epoch of one domain to one of the same or another.
func (k *Keyring) between(fromDomain string, from *api.Epoch, toDomain string, to *api.Epoch) (*way, error) {
	base, err := publicKey(from)
	if err != nil {
		return nil, err
	}
	public, err := publicKey(to)
	if err != nil {
		return nil, err
	}
	quotient, err := oprf.Quotient(k.keys[tokenKey(toDomain, to.Epoch)], k.keys[tokenKey(fromDomain, from.Epoch)])
	return &way{quotient, base, public}, err
}

// currentOf returns the epoch under which a batch is evaluated: the current one of the
// project's domain, by the numbers that the batch itself gives.
func (k *Keyring) currentOf(p *project, request *oprf.Request) (*api.Epoch, error) {
	d := k.domains[p.Domain]
	want := map[string]oprf.Operation{keys.SchemeOblivious: oprf.Evaluate, keys.SchemeRFC9497: oprf.EvaluateRFC9497}[d.Scheme]
	e := d.Epochs.current()
	switch {
	case want == 0:
		return nil, api.Refuse(api.CodeForbidden, "nothing is evaluated in a domain of scheme "+d.Scheme, "lease the token key")
	case request.Operation != want:
		return nil, api.Refuse(api.CodeMalformed, "the operation is not one of the domain's scheme, or not of this path", "send what scheme "+d.Scheme+" evaluates")
	case request.DomainNo != d.No:
		return nil, api.Refuse(api.CodeForbidden, "the domain is not that of the project", "one certificate works in one domain")
	case e == nil:
		return nil, api.Refuse(api.CodeKeyState, "the domain has no current key", "ask the key holder's operators: keyholder key rotate")
	case request.TokenEpoch != e.Epoch:
		return nil, api.Refuse(api.CodeKeyState, "the epoch is not the current one", "get the project's record again")
	}
	return e, nil
}

// tidyBatches forgets batches that are too old to be sent again.
func (t *transaction) tidyBatches() {
	k := t.keyring
	if k.sinceBatchTidy++; k.sinceBatchTidy < tidyEvery {
		return
	}
	k.sinceBatchTidy = 0
	var old []string
	for id, b := range k.batches {
		if t.now.Sub(b.Created) > keepBatches {
			old = append(old, id)
		}
	}
	slices.Sort(old)
	for _, id := range old {
		delete(k.batches, id)
		t.remove(kindBatch, id)
	}
}
