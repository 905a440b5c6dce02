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
	request      *oprf.Request
	key          secret.Key
	base, public oprf.Point
}

// Rows is how many elements the batch has.
func (e *Evaluation) Rows() int { return e.request.N }

// Answer evaluates the batch on so many threads, which needs no lock: all of one batch
// under one key.
func (e *Evaluation) Answer(threads int) ([]byte, error) {
	if e.request.Operation == oprf.EvaluateRFC9497 {
		return e.request.AnswerRFC9497(e.key, threads)
	}
	return e.request.Answer(e.key, e.base, e.public, threads)
}

// Evaluate charges and records a batch of blinded numbers of a project, and returns what
// answers it. The same batch under the same id is charged once.
func (k *Keyring) Evaluate(ctx context.Context, caller Caller, requestID, projectName string, body []byte) (*Evaluation, error) {
	return k.batch(ctx, caller, requestID, projectName, "", body, k.evaluated)
}

// Rotate does the same for a batch of blinded tokens, of a project's domain, which are
// brought from the key of an epoch that is over to that of the current one.
func (k *Keyring) Rotate(ctx context.Context, caller Caller, requestID, projectName, domainName string, body []byte) (*Evaluation, error) {
	return k.batch(ctx, caller, requestID, projectName, "", body, func(p *project, request *oprf.Request) (*Evaluation, audit.Leaf, error) {
		if p.Domain != domainName {
			return nil, audit.Leaf{}, api.Refuse(api.CodeForbidden, "the domain is not that of the project", "one certificate works in one domain")
		}
		return k.rotated(p, request)
	})
}

// Convert does the same for tokens of a project's domain that become another domain's,
// within one controller, under a grant that names both. Its rows count against the grant,
// too.
func (k *Keyring) Convert(ctx context.Context, caller Caller, requestID, projectName, grantName string, body []byte) (*Evaluation, error) {
	return k.batch(ctx, caller, requestID, projectName, grantName, body, func(p *project, request *oprf.Request) (*Evaluation, audit.Leaf, error) {
		return k.converted(p, k.grants[grantName], request)
	})
}

// batch charges and records a batch, once prepare has found what answers it. A grant, if
// one is named, counts its rows, too.
func (k *Keyring) batch(ctx context.Context, caller Caller, requestID, projectName, grantName string, body []byte, prepare func(*project, *oprf.Request) (*Evaluation, audit.Leaf, error)) (evaluation *Evaluation, err error) {
	// Before anything is charged or stored: a batch with one wrong element is none.
	request, err := oprf.ParseRequest(body, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, api.Refuse(api.CodeMalformed, err.Error(), "see specification (h)")
	}
	if id, err := uuid.Parse(requestID); err != nil || id != uuid.UUID(request.RequestID) {
		return nil, api.Refuse(api.CodeMalformed, "the batch's request id is not that of X-Request-ID", "send the same UUID in both")
	}
	id := idOf("batch", caller, requestID)
	sum := sha256.Sum256(body)
	digest := hex.EncodeToString(sum[:])
	err = k.change(ctx, func(t *transaction) error {
		p, c, err := k.mayLease(caller, projectName, t.now)
		if err != nil {
			return err
		}
		var leaf audit.Leaf
		if evaluation, leaf, err = prepare(p, request); err != nil {
			return err
		}
		if again := k.batches[id]; again != nil {
			if !hmac.Equal([]byte(again.Digest), []byte(digest)) {
				return api.Refuse(api.CodeConflict, "a request of this id was answered before, and was another", "give each request an id of its own")
			}
			return nil
		}
		a := k.budgets.account(accountKey{p.Name, c.Name, api.UseToken})
		rows := int64(request.N)
		if err := t.allow(a, p, c, rows); err != nil {
			return err
		}
		if grantName != "" {
			g := *k.grants[grantName] // prepare has looked at it
			if g.RowsUsed+rows > g.RowCap {
				return api.Refuse(api.CodeForbidden, fmt.Sprintf("of the %d rows that the grant is for, %d are left", g.RowCap, g.RowCap-g.RowsUsed), "add another grant: keyholder grant add")
			}
			g.RowsUsed += rows
			k.grants[grantName] = &g
			t.put(kindGrant, grantName, &g)
		}
		t.spend(a, caller, rows, k.budgets.allowance(p, c))
		t.tidyBatches()
		b := &batch{Digest: digest, Created: t.now}
		k.batches[id] = b
		t.put(kindBatch, id, b)
		leaf.Actor, leaf.Project, leaf.Domain, leaf.Request, leaf.Count = caller.actor(), p.Name, p.Domain, id, rows
		t.event(leaf)
		return nil
	})
	if err != nil {
		evaluation = nil
	}
	return evaluation, k.refusedForBudget(ctx, caller, err)
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
	return &Evaluation{request, k.keys[tokenKey(p.Domain, e.Epoch)], oprf.Generator(), public}, audit.Leaf{Kind: audit.KindEvaluate, TokenEpoch: e.Epoch}, err
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
	evaluation, err = k.between(request, p.Domain, from, p.Domain, to)
	return evaluation, audit.Leaf{Kind: audit.KindRotate, TokenEpoch: to.Epoch, Outcome: "tokens"}, err
}

// converted returns what makes tokens of a project's domain another domain's.
func (k *Keyring) converted(p *project, g *api.Grant, request *oprf.Request) (evaluation *Evaluation, leaf audit.Leaf, err error) {
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
	case request.Operation != oprf.Convert:
		return nil, leaf, api.Refuse(api.CodeMalformed, "the operation is not a conversion", "see specification (h)")
	case request.DomainNo != a.No || request.ToDomainNo != b.No:
		return nil, leaf, api.Refuse(api.CodeForbidden, "the domains are not those of the grant", "give the records of projects of both")
	case from == nil || to == nil || request.TokenEpoch != from.Epoch || request.ToTokenEpoch != to.Epoch:
		return nil, leaf, api.Refuse(api.CodeKeyState, "the epochs are not the current ones", "rotate the tokens first: tokeniser rotate; get the records again")
	}
	evaluation, err = k.between(request, a.Name, from, b.Name, to)
	return evaluation, audit.Leaf{Kind: audit.KindConvert, TokenEpoch: to.Epoch, Rule: g.Name, Outcome: b.Name}, err
}

// between returns what brings tokens of an epoch of one domain to an epoch of the same or
// another: with the quotient of their keys, and both public keys for the proof.
func (k *Keyring) between(request *oprf.Request, fromDomain string, from *api.Epoch, toDomain string, to *api.Epoch) (*Evaluation, error) {
	base, err := publicKey(from)
	if err != nil {
		return nil, err
	}
	public, err := publicKey(to)
	if err != nil {
		return nil, err
	}
	quotient, err := oprf.Quotient(k.keys[tokenKey(toDomain, to.Epoch)], k.keys[tokenKey(fromDomain, from.Epoch)])
	return &Evaluation{request, quotient, base, public}, err
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
