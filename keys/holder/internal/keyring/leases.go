package keyring

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/holder/internal/store"
	"tarn/keys/secret"
)

// The states of a lease.
const (
	leaseActive  = "active"
	leaseEnded   = "ended"
	leaseExpired = "expired"
	leaseRevoked = "revoked"
)

// lease is a lease's record.
type lease struct {
	api.LeaseRecord
	Domain string `json:"domain"`
	// LastUsage is the id of the last usage report: a retry counts once.
	LastUsage string `json:"last_usage,omitzero"`
	// Charges are when what it was granted was counted.
	Charges []charge `json:"charges,omitzero"`
}

// stateAt is the lease's state at a time: leases end by themselves, without a
// write.
func (l *lease) stateAt(now time.Time) string {
	if l.State == leaseActive && !now.Before(l.Expires) {
		return leaseExpired
	}
	return l.State
}

func (l *lease) document(now time.Time) api.LeaseRecord {
	r := l.LeaseRecord
	r.State = l.stateAt(now)
	return r
}

// leaf is what an event says of a lease.
func (l *lease) leaf(caller Caller, outcome string) audit.Leaf {
	leaf := audit.Leaf{Kind: audit.KindLease, Actor: caller.actor(), Project: l.Project, Domain: l.Domain, Request: l.ID, Purpose: string(l.Use), Outcome: outcome}
	if l.Use == api.UseToken {
		leaf.TokenEpoch = l.Epoch
	} else {
		leaf.EncodingEpoch = l.Epoch
	}
	return leaf
}

// maxRows bounds what a client may say of rows: beyond it no region has people.
const maxRows = 1_000_000_000_000

// Lease leases a key of a project, sealed to the caller's enrolled key. The
// request's id makes the lease's: a retry gets the same lease, and is recorded
// once.
func (k *Keyring) Lease(ctx context.Context, caller Caller, requestID, projectName string, request api.LeaseRequest) (granted api.Lease, err error) {
	if request.RowsExpected < 0 || request.RowsExpected > maxRows {
		return granted, api.Refuse(api.CodeMalformed, "rows_expected is negative or beyond reason", "say how many rows this key will be used for")
	}
	id := idOf("lease", caller, requestID)
	var key secret.Key
	var certificate [sha256.Size]byte
	var sealTo []byte
	err = k.change(ctx, func(t *transaction) error {
		p, c, err := k.mayLease(caller, projectName, t.now)
		if err != nil {
			return err
		}
		epoch, keyName, err := k.leased(p, request.Use)
		if err != nil {
			return err
		}
		key, sealTo = k.keys[keyName], c.SealingKey
		certificate, _ = digestOf(c.Certificate)
		if again := k.leases[id]; again != nil {
			if again.Use != request.Use || again.Project != p.Name || again.Epoch != epoch.Epoch || again.stateAt(t.now) != leaseActive {
				return api.Refuse(api.CodeConflict, "a request of this id was answered before, and was another", "give each request an id of its own")
			}
			granted = k.granted(again, epoch, key)
			return nil
		}
		end, _ := p.base.End() // the record was checked when it was added
		l := &lease{Domain: p.Domain, LeaseRecord: api.LeaseRecord{
			ID: id, Use: request.Use, Project: p.Name, Client: c.Name, Epoch: epoch.Epoch, State: leaseActive, RowsExpected: request.RowsExpected,
			Created: t.now, Expires: earliest(t.now.Add(k.options.LeaseTTL), end, *c.CertificateEnd).Truncate(time.Second),
		}}
		if err := t.grant(l, caller, p, c, request.RowsExpected); err != nil {
			return err
		}
		granted = k.granted(l, epoch, key)
		t.tidy()
		k.leases[id] = l
		t.put(kindLease, id, l)
		t.event(l.leaf(caller, leaseActive))
		return nil
	})
	if err != nil {
		return api.Lease{}, k.refusedForBudget(ctx, caller, err)
	}
	// Sealing is the slowest part, and needs no lock; the entry is durable by now.
	return granted, granted.Seal(key, sealTo, certificate)
}

// granted is a lease as its client gets it, before the key is sealed into it.
func (k *Keyring) granted(l *lease, epoch *api.Epoch, key secret.Key) api.Lease {
	g := api.Lease{
		ID: l.ID, Use: l.Use, Project: l.Project, Domain: l.Domain, DomainNo: k.domains[l.Domain].No, Epoch: l.Epoch, KeyCheck: epoch.KeyCheck,
		RowsGranted: l.RowsGranted, Created: l.Created, Expires: l.Expires, Renew: renewAt(l.Created, l.Expires),
	}
	if l.Use == api.UseRelease {
		g.KeyCheck = api.KeyCheck(api.UseRelease, key, l.Domain, l.Epoch)
	}
	return g
}

// idOf makes a thing's id from the id of the request that asked for it.
func idOf(what string, caller Caller, requestID string) string {
	parts := [][]byte{keys.Text("tarn/request/v1"), keys.Text(what), keys.Text(caller.Name), keys.Text(requestID)}
	if caller.isPerson() { // a subject is its issuer's
		parts = append(parts, keys.Text(caller.Issuer))
	}
	sum := sha256.Sum256(keys.LP(parts...))
	return hex.EncodeToString(sum[:16])
}

// mayLease refuses whoever may not lease a key of the project now.
func (k *Keyring) mayLease(caller Caller, projectName string, now time.Time) (*project, *client, error) {
	c, p := k.clients[caller.Name], k.projects[projectName]
	if c == nil || c.State != clientEnrolled || c.CertificateEnd == nil {
		return nil, nil, api.Refuse(api.CodeRevoked, "", "ask the key holder's operators")
	}
	if p == nil || !slices.Contains(c.Projects, projectName) {
		// The same for both: a client learns nothing about other projects.
		return nil, nil, api.Refuse(api.CodeForbidden, "the client has no part in a project of this name", "ask the key holder's operators to add a client for it")
	}
	end, err := p.base.End()
	if err != nil || !now.Before(end) {
		return nil, nil, api.Refuse(api.CodeProjectExpired, "its last day is over", "ask its controllers to renew it: keyholder project renew")
	}
	return p, c, nil
}

// leased returns the epoch and the key's name that a use of a project leases.
func (k *Keyring) leased(p *project, use api.Use) (*api.Epoch, string, error) {
	var e *api.Epoch
	var name string
	switch use {
	case api.UseToken:
		if keys.Evaluated(p.base.Scheme) {
			return nil, "", api.Refuse(api.CodeForbidden, "the token key of this scheme is never leased", "")
		}
		if e = k.domains[p.Domain].Epochs.current(); e != nil {
			name = tokenKey(p.Domain, e.Epoch)
		}
	case api.UseEncoding:
		if e = p.Encoding.current(); e != nil {
			name = encodingKey(p.Name, e.Epoch)
		}
	case api.UseRelease:
		if p.base.Reidentify.Mode != "none" {
			return nil, "", api.Refuse(api.CodeForbidden, "the project's tokens may be re-identified and are not replaced for release", "lease the token key only")
		}
		if e = p.Encoding.current(); e != nil {
			name = releaseKey(p.Name, e.Epoch)
		}
	default:
		return nil, "", api.Refuse(api.CodeMalformed, "there is no such use of a key", "give token, encoding or release")
	}
	if e == nil {
		return nil, "", api.Refuse(api.CodeKeyState, "there is no current key for this use", "ask the key holder's operators: keyholder key rotate")
	}
	return e, name, nil
}

func earliest(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }

func renewAt(created, expires time.Time) time.Time {
	return created.Add(expires.Sub(created) / renewAfterOfLease).Truncate(time.Second)
}

// ofCaller returns a lease that can still be used by the caller.
func (k *Keyring) ofCaller(caller Caller, projectName, id string, now time.Time) (*lease, *project, *client, error) {
	p, c, err := k.mayLease(caller, projectName, now)
	if err != nil {
		return nil, nil, nil, err
	}
	l := k.leases[id]
	if l == nil || l.Client != caller.Name || l.Project != projectName {
		return nil, nil, nil, noSuch("lease", "lease a key again")
	}
	if state := l.stateAt(now); state != leaseActive {
		return nil, nil, nil, api.Refuse(api.CodeLeaseEnded, "it is "+state, "forget the key, and lease it again")
	}
	return l, p, c, nil
}

// Renew moves a lease's end. A key that is not current any more is not renewed:
// the client leases its successor.
func (k *Keyring) Renew(ctx context.Context, caller Caller, projectName, id string) (renewed api.LeaseRenewal, err error) {
	err = k.change(ctx, func(t *transaction) error {
		l, p, c, err := k.ofCaller(caller, projectName, id, t.now)
		if err != nil {
			return err
		}
		e, _, err := k.leased(p, l.Use)
		if err != nil {
			return err
		}
		if e.Epoch != l.Epoch {
			return api.Refuse(api.CodeLeaseEnded, "its key has been replaced", "finish with it before it ends, and lease the new one")
		}
		end, _ := p.base.End()
		next := *l
		next.Expires = earliest(t.now.Add(k.options.LeaseTTL), end, *c.CertificateEnd).Truncate(time.Second)
		k.leases[id] = &next
		t.put(kindLease, id, &next)
		t.event(next.leaf(caller, "renewed"))
		renewed = api.LeaseRenewal{ID: id, Expires: next.Expires, Renew: renewAt(t.now, next.Expires)}
		return nil
	})
	return renewed, err
}

var kcvText = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Use records what a client says it used a key for, and grants the lease the rows
// that it wants to have in all. What was used is recorded whether or not there are
// more.
func (k *Keyring) Use(ctx context.Context, caller Caller, requestID, projectName, id string, usage api.Usage) (api.LeaseUse, error) {
	used := api.LeaseUse{ID: id}
	for _, rows := range []int64{usage.Rows, usage.RowsWanted, usage.TestRange} {
		if rows < 0 || rows > maxRows {
			return used, api.Refuse(api.CodeMalformed, "a number of rows is negative or beyond reason", "")
		}
	}
	if usage.EncodingKCV != nil && !kcvText.MatchString(*usage.EncodingKCV) {
		return used, api.Refuse(api.CodeMalformed, "encoding_kcv is not 32 of 0-9 and a-f", "")
	}
	err := k.record(ctx, caller, requestID, projectName, id, usage)
	if err != nil {
		return used, err
	}
	err = k.change(ctx, func(t *transaction) error {
		l, p, c, err := k.ofCaller(caller, projectName, id, t.now)
		if err != nil {
			return err
		}
		used.RowsGranted = l.RowsGranted
		more := usage.RowsWanted - l.RowsGranted
		if more <= 0 {
			return nil
		}
		next := *l
		// A part of the budget at a time, so that a client need not ask for each few rows.
		a := k.budgets.account(accountKey{p.Name, c.Name, l.Use})
		more = max(more, min(k.budgets.left(a, k.budgets.slot(), k.budgets.allowance(p, c)), k.budgets.openGrant(p, c)))
		if err := t.grant(&next, caller, p, c, more); err != nil {
			return err
		}
		k.leases[id] = &next
		t.put(kindLease, id, &next)
		leaf := next.leaf(caller, "extended")
		leaf.Count = more
		t.event(leaf)
		used.RowsGranted = next.RowsGranted
		return nil
	})
	return used, k.refusedForBudget(ctx, caller, err)
}

// refusedForBudget gives the alarm of a refusal that is for want of budget, and
// returns it.
func (k *Keyring) refusedForBudget(ctx context.Context, caller Caller, err error) error {
	var e *exhausted
	if errors.As(err, &e) {
		if failed := k.noteExhausted(ctx, caller, e); failed != nil {
			return failed
		}
	}
	return err
}

// record records usage.
func (k *Keyring) record(ctx context.Context, caller Caller, requestID, projectName, id string, usage api.Usage) error {
	return k.change(ctx, func(t *transaction) error {
		l, p, c, err := k.ofCaller(caller, projectName, id, t.now)
		if err != nil {
			return err
		}
		if usage.EncodingKCV != nil {
			if l.Use != api.UseEncoding {
				return api.Refuse(api.CodeMalformed, "encoding_kcv belongs to a lease of the encoding key", "")
			}
			if err := t.pinEncodingKCV(p, l, *usage.EncodingKCV); err != nil {
				return err
			}
		}
		if usage.Rows == 0 && usage.TestRange == 0 || l.LastUsage == requestID {
			return nil
		}
		next := *l
		next.LastUsage = requestID
		next.RowsReported += usage.Rows
		if beyond := next.RowsReported - next.RowsGranted; beyond > 0 && len(next.Charges) > 0 {
			// It counts, whatever the budget: it has happened.
			a := k.budgets.account(accountKey{p.Name, c.Name, l.Use})
			next.Charges = append(slices.Clone(next.Charges), charge{t.spend(a, caller, beyond, k.budgets.allowance(p, c)), beyond})
			next.RowsGranted += beyond
			t.alarm(audit.Leaf{Rule: audit.RuleBeyondGrant, Actor: caller.actor(), Project: p.Name, Purpose: string(l.Use), Count: beyond, SelfReported: true})
		}
		if usage.TestRange > 0 {
			t.alarm(audit.Leaf{Rule: audit.RuleTestRange, Actor: caller.actor(), Project: p.Name, Purpose: string(l.Use), Count: usage.TestRange, SelfReported: true})
		}
		k.leases[id] = &next
		t.put(kindLease, id, &next)
		if usage.Rows > 0 {
			leaf := next.leaf(caller, "used")
			leaf.Count, leaf.SelfReported = usage.Rows, true
			t.event(leaf)
		}
		return nil
	})
}

// End ends a lease that the caller does not need any more. A lease that has
// ended already stays as it is, so that a retry is answered alike.
func (k *Keyring) End(ctx context.Context, caller Caller, projectName, id string) error {
	return k.change(ctx, func(t *transaction) error {
		l := k.leases[id]
		if l == nil || l.Client != caller.Name || l.Project != projectName {
			return noSuch("lease", "")
		}
		if l.stateAt(t.now) == leaseActive {
			t.end(l, leaseEnded, caller)
		}
		return nil
	})
}

// end ends a lease. What it was granted and not used for is given back where its
// client says that it is done; a lease that was revoked or expired may have been used
// for all of it.
func (t *transaction) end(l *lease, state string, by Caller) {
	next := *l
	next.State = state
	t.keyring.leases[l.ID] = &next
	t.put(kindLease, l.ID, &next)
	if state == leaseEnded {
		t.settleLease(&next)
	}
	t.event(next.leaf(by, state))
}

// endLeases revokes active leases, and says how many.
func (t *transaction) endLeases(which func(*lease) bool) string {
	ids := make([]string, 0, len(t.keyring.leases))
	for id, l := range t.keyring.leases {
		if l.stateAt(t.now) == leaseActive && which(l) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		l := t.keyring.leases[id]
		by := Caller{Name: l.Client, Role: api.RoleTokeniser}
		t.end(l, leaseRevoked, by)
	}
	if len(ids) == 0 {
		return ""
	}
	return fmt.Sprintf("; %d leases ended", len(ids))
}

// tidyEvery is how many leases are made between two removals of old ones.
const tidyEvery = 1024

// tidy forgets leases that ended long ago. Events keep what was done.
func (t *transaction) tidy() {
	k := t.keyring
	if k.sinceTidy++; k.sinceTidy < tidyEvery {
		return
	}
	k.sinceTidy = 0
	for id, l := range k.leases {
		if t.now.Sub(l.Expires) > keepEndedLeases {
			delete(k.leases, id)
			t.remove(kindLease, id)
		}
	}
	slices.SortFunc(t.changes, func(a, b store.Change) int { return cmp.Compare(a.Key.Kind+a.Key.Name, b.Key.Kind+b.Key.Name) })
}

// Leases returns a project's leases, oldest first.
func (k *Keyring) Leases(projectName string) ([]api.LeaseRecord, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.projects[projectName] == nil {
		return nil, noSuch("project", "list them with: keyholder project list")
	}
	now := k.now()
	all := []api.LeaseRecord{}
	for _, l := range k.leases {
		if l.Project == projectName {
			all = append(all, l.document(now))
		}
	}
	slices.SortFunc(all, func(a, b api.LeaseRecord) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}
