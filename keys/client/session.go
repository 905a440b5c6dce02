package client

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
)

// Session is the leases that a run over one project's rows needs, for as long as
// it takes: they are renewed in time, and where that is not possible the run is
// ended before the leases are.
type Session struct {
	client  *Client
	clock   func() time.Time
	project *keys.Project
	uses    []api.Use

	cancel    context.CancelCauseFunc
	work      sync.WaitGroup
	rows      atomic.Int64 // that the keys were used for so far
	testRange atomic.Int64 // of them, with a number of the test range
	granted   atomic.Int64 // that every key may be used for

	reporting sync.Mutex // one report at a time

	evaluator *evaluator // of schemes whose tokens the key holder makes; else nil

	mu     sync.Mutex
	leases map[api.Use]*held
	ended  bool
}

type held struct {
	lease api.Lease
	key   secret.Key

	reported, reportedTest int64 // rows, that the key holder has confirmed
	// pending is a report that may or may not have arrived: it is sent again under
	// its id, so that it counts once.
	pending, pendingTest int64
	pendingID            string
}

// margin is how long before its end a lease counts as over: clocks differ.
const margin = 5 * time.Second

// retryRenewal is how long a failed renewal waits.
const retryRenewal = 10 * time.Second

// reportEvery is how often a run that goes on reports its rows.
const reportEvery = time.Minute

// Open leases the keys of a project that a run over about so many rows (0: not
// known) uses, and with the token key the release key where the project releases
// no raw token. The context that it returns ends when a lease is lost, with a
// cause of kind [fault.Unavailable] or, where the key holder refuses,
// [fault.Policy].
func Open(ctx context.Context, c *Client, clock func() time.Time, name string, rows int64, uses ...api.Use) (context.Context, *Session, error) {
	s := &Session{client: c, clock: clock, leases: map[api.Use]*held{}, uses: slices.Clone(uses)}
	var err error
	if s.project, err = s.record(ctx, name); err != nil {
		return nil, nil, err
	}
	if s.project.Reidentify.Mode == "none" && slices.Contains(uses, api.UseToken) {
		s.uses = append(s.uses, api.UseRelease)
	}
	if keys.Evaluated(s.project.Scheme) && slices.Contains(s.uses, api.UseToken) {
		// No token key is leased: each number is evaluated, and counts by that.
		s.uses = slices.DeleteFunc(s.uses, func(use api.Use) bool { return use == api.UseToken })
		if s.evaluator, err = newEvaluator(c, s.project); err != nil {
			return nil, nil, err
		}
	}
	for _, use := range s.uses {
		if err := s.take(ctx, use, rows); err != nil {
			return nil, nil, errors.Join(err, s.Close(ctx))
		}
	}
	s.grant()
	running, cancel := context.WithCancelCause(ctx)
	s.cancel = cancel
	s.work.Go(func() { s.keep(running) })
	return running, s, nil
}

// record returns the project's record as it is now.
func (s *Session) record(ctx context.Context, name string) (*keys.Project, error) {
	answer, err := s.client.Project(ctx, name)
	if err != nil {
		return nil, err
	}
	project, err := keys.ParseProject(answer.Record)
	if err != nil {
		return nil, fault.Wrap(fault.Disagreement, "reading the project's record from the key holder", err, "see that both are of versions that fit")
	}
	return project, nil
}

// take leases one key and holds it to what the project's record says of it.
func (s *Session) take(ctx context.Context, use api.Use, rows int64) error {
	lease, err := s.client.Lease(ctx, s.project.Name, api.LeaseRequest{Use: use, RowsExpected: rows})
	if err != nil {
		return err
	}
	doing := "opening the leased " + string(use) + " key of project " + s.project.Name
	key, err := lease.Open(s.client.credentials.sealing, s.client.credentials.digest)
	if err != nil {
		return fault.Wrap(fault.Disagreement, doing, err, "enrol again; if that does not help, ask the key holder's operators")
	}
	epoch := s.project.Keys.EncodingEpoch
	if use == api.UseToken {
		epoch = s.project.Keys.TokenEpoch
	}
	pinned := s.project.Keys.TokenKCV
	if lease.Use != use || lease.Project != s.project.Name || lease.Domain != s.project.Domain || lease.Epoch != epoch ||
		use == api.UseToken && pinned != nil && *pinned != lease.KeyCheck {
		key.Destroy()
		return fault.New(fault.Disagreement, doing, "it is not the key that the project's record names; its keys were changed just now, perhaps", "run it again")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases[use] = &held{lease: *lease, key: key}
	return nil
}

// Keys returns the project's record as the key holder has it, and the leased keys
// as a key file without row keys. The keys are zeros once the session is closed,
// and those that were not leased are not valid.
func (s *Session) Keys() (*keys.Project, *keys.KeyFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := &keys.KeyFile{Project: s.project.Name, Domain: s.project.Domain, Scheme: s.project.Scheme, RowKeys: map[string]secret.Key{}}
	for use, to := range map[api.Use]*secret.Key{api.UseToken: &file.TokenKey, api.UseEncoding: &file.EncodingKey, api.UseRelease: &file.ReleaseKey} {
		if h := s.leases[use]; h != nil {
			*to = h.key
		}
	}
	return s.project, file
}

// Pin reports the check value that the encoding key has with the project's
// profile, and returns the project's record with it: the first to encode a
// project's rows pins it for all others.
func (s *Session) Pin(ctx context.Context, encodingKCV string) (*keys.Project, error) {
	s.mu.Lock()
	id := s.leases[api.UseEncoding].lease.ID
	s.mu.Unlock()
	if _, err := s.client.use(ctx, uuid.NewString(), s.project.Name, id, api.Usage{EncodingKCV: &encodingKCV}); err != nil {
		return nil, err
	}
	pinned, err := s.record(ctx, s.project.Name)
	if err != nil {
		return nil, err
	}
	if pinned.Keys.TokenEpoch != s.project.Keys.TokenEpoch || pinned.Keys.EncodingEpoch != s.project.Keys.EncodingEpoch {
		return nil, fault.New(fault.Disagreement, "pinning the encoding key of project "+s.project.Name, "its keys were changed just now", "run it again")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.project = pinned
	return pinned, nil
}

// grant takes down what every key may be used for.
func (s *Session) grant() {
	granted := int64(math.MaxInt64)
	for _, h := range s.leases {
		granted = min(granted, h.lease.RowsGranted)
	}
	s.granted.Store(granted)
}

// Evaluated reports whether the session's tokens are made by the key holder.
func (s *Session) Evaluated() bool { return s.evaluator != nil }

// Tokens has numbers evaluated by the key holder, which sees neither them nor their
// tokens, and verifies that it was with the key of the project's record.
func (s *Session) Tokens(ctx context.Context, numbers []nhsnumber.Number) ([][keys.TokenSize]byte, error) {
	return s.evaluator.tokens(ctx, numbers)
}

// Take says that the keys are about to be used for so many more rows. Where the key
// holder has granted fewer it is asked for more; what it does not grant is refused
// with kind [fault.Policy], and the rows must not be used. They are reported from time
// to time, and when the session closes.
func (s *Session) Take(ctx context.Context, rows int64) error {
	if total := s.rows.Add(rows); total > s.granted.Load() {
		if err := s.extend(ctx, total); err != nil {
			s.rows.Add(-rows)
			return err
		}
	}
	return nil
}

// Canaries counts rows, of those that were taken, with an NHS number of the test range.
func (s *Session) Canaries(rows int64) { s.testRange.Add(rows) }

// extend asks for rows of every key that are not granted yet.
func (s *Session) extend(ctx context.Context, total int64) error {
	s.reporting.Lock()
	defer s.reporting.Unlock()
	for _, use := range s.uses {
		h := s.leases[use]
		if h.lease.RowsGranted >= total {
			continue
		}
		granted, err := s.client.use(ctx, uuid.NewString(), s.project.Name, h.lease.ID, api.Usage{RowsWanted: total})
		if err != nil {
			return err
		}
		s.mu.Lock()
		h.lease.RowsGranted = granted.RowsGranted
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant()
	if s.granted.Load() < total {
		return fault.New(fault.Internal, "asking for more rows of project "+s.project.Name, "its answer grants fewer than were asked for", "see that both are of versions that fit")
	}
	return nil
}

// report reports rows that were not yet, for every key.
func (s *Session) report(ctx context.Context) error {
	s.reporting.Lock()
	defer s.reporting.Unlock()
	total, test := s.rows.Load(), s.testRange.Load()
	for i, use := range s.uses {
		h := s.leases[use]
		if h == nil {
			continue
		}
		if i > 0 {
			test = 0 // they are the same rows
		}
		for h.reported < total || h.reportedTest < test {
			if h.pendingID == "" {
				h.pending, h.pendingTest, h.pendingID = total-h.reported, max(0, test-h.reportedTest), uuid.NewString()
			}
			if _, err := s.client.use(ctx, h.pendingID, s.project.Name, h.lease.ID, api.Usage{Rows: h.pending, TestRange: h.pendingTest}); err != nil {
				return err
			}
			h.reported, h.reportedTest = h.reported+h.pending, h.reportedTest+h.pendingTest
			h.pending, h.pendingTest, h.pendingID = 0, 0, ""
		}
	}
	return nil
}

// keep renews leases, and reports, until the context ends.
func (s *Session) keep(ctx context.Context) {
	report := s.clock().Add(reportEvery)
	for {
		next, use := s.due()
		reporting := next.IsZero() || report.Before(next)
		if reporting {
			next = report
		}
		timer := time.NewTimer(max(0, next.Sub(s.clock())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		var err error
		if reporting {
			report = s.clock().Add(reportEvery)
			waiting, cancel := context.WithTimeout(ctx, margin)
			err = s.report(waiting)
			cancel()
			if fault.KindOf(err) == fault.Unavailable {
				err = nil // it is reported later
			}
		} else {
			err = s.renew(ctx, use)
		}
		if err != nil {
			s.lose(err)
			return
		}
	}
}

// due returns the lease that is to be renewed first, and when; the zero time where
// there is none.
func (s *Session) due() (at time.Time, use api.Use) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for u, h := range s.leases {
		if at.IsZero() || h.lease.Renew.Before(at) || h.lease.Renew.Equal(at) && u < use {
			at, use = h.lease.Renew, u
		}
	}
	return at, use
}

// Expires returns when the first of the leases ends, unless it is renewed; the zero time
// where there is none.
func (s *Session) Expires() (end time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.leases {
		if end.IsZero() || h.lease.Expires.Before(end) {
			end = h.lease.Expires
		}
	}
	return end
}

// renew moves a lease's end. While it still runs a key holder that is away is
// waited for.
func (s *Session) renew(ctx context.Context, use api.Use) error {
	s.mu.Lock()
	h := s.leases[use]
	id, end := h.lease.ID, h.lease.Expires.Add(-margin)
	s.mu.Unlock()
	// A key holder that stalls must not keep the run beyond the lease.
	waiting, cancel := context.WithTimeout(ctx, end.Sub(s.clock()))
	defer cancel()
	renewed, err := s.client.renew(waiting, s.project.Name, id)
	if err == nil {
		s.mu.Lock()
		h.lease.Expires, h.lease.Renew = renewed.Expires, renewed.Renew
		s.mu.Unlock()
		return nil
	}
	now := s.clock()
	if fault.KindOf(err) == fault.Unavailable && now.Add(retryRenewal).Before(end) {
		s.mu.Lock()
		h.lease.Renew = now.Add(retryRenewal)
		s.mu.Unlock()
		return nil
	}
	return err
}

// lose ends the run. Its keys are destroyed by Close, when nothing encodes with
// them any more: zeros would make encodings, too.
func (s *Session) lose(err error) {
	var known *fault.Error
	if errors.As(err, &known) {
		lost := *known
		lost.Doing = "keeping the leases of project " + s.project.Name
		err = &lost
	}
	s.cancel(err)
}

func (s *Session) destroy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.leases {
		h.key.Destroy()
	}
}

// endTimeout bounds the ending of leases: they end by themselves, too.
const endTimeout = 3 * time.Second

// Close destroys the keys, reports the rows that were not yet, and ends the
// leases. Its error says that rows could not be reported.
func (s *Session) Close(ctx context.Context) error {
	if s.cancel != nil {
		s.cancel(context.Canceled)
	}
	s.work.Wait()
	s.destroy()
	if s.ended {
		return nil
	}
	s.ended = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	err := s.report(ctx)
	for _, use := range s.uses {
		if h := s.leases[use]; h != nil && s.client.end(ctx, s.project.Name, h.lease.ID) != nil {
			break // they end by themselves
		}
	}
	return err
}
