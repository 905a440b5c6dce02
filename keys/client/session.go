package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// Session is the leases that a run over one project's rows needs, for as long as
// it takes: they are renewed in time, and where that is not possible the run is
// ended before the leases are.
type Session struct {
	client  *Client
	clock   func() time.Time
	project *keys.Project

	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	leases map[api.Use]*held
	ended  bool
}

type held struct {
	lease api.Lease
	key   secret.Key
}

// margin is how long before its end a lease counts as over: clocks differ.
const margin = 5 * time.Second

// retryRenewal is how long a failed renewal waits.
const retryRenewal = 10 * time.Second

// Open leases the keys of a project for about so many rows. The context that it
// returns ends when a lease is lost, with a cause of kind [fault.Unavailable] or,
// where the key holder refuses, [fault.Policy].
func Open(ctx context.Context, c *Client, clock func() time.Time, name string, rows int64) (context.Context, *Session, error) {
	answer, err := c.Project(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	project, err := keys.ParseProject(answer.Record)
	if err != nil {
		return nil, nil, fault.Wrap(fault.Disagreement, "reading the project's record from the key holder", err, "see that both are of versions that fit")
	}
	s := &Session{client: c, clock: clock, project: project, leases: map[api.Use]*held{}}
	uses := []api.Use{api.UseToken, api.UseEncoding}
	if project.Reidentify.Mode == "none" {
		uses = append(uses, api.UseRelease)
	}
	for _, use := range uses {
		if err := s.take(ctx, use, rows); err != nil {
			return nil, nil, errors.Join(err, s.Close(ctx))
		}
	}
	running, cancel := context.WithCancelCause(ctx)
	s.cancel = cancel
	s.work.Go(func() { s.keep(running) })
	return running, s, nil
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
	s.leases[use] = &held{*lease, key}
	return nil
}

// Project is the project's record as the key holder has it.
func (s *Session) Project() *keys.Project { return s.project }

// Keys returns the leased keys as a key file, without row keys. They are zeros
// once the session is closed.
func (s *Session) Keys() *keys.KeyFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := &keys.KeyFile{Project: s.project.Name, Domain: s.project.Domain, Scheme: s.project.Scheme, RowKeys: map[string]secret.Key{}}
	file.TokenKey, file.EncodingKey = s.leases[api.UseToken].key, s.leases[api.UseEncoding].key
	if release := s.leases[api.UseRelease]; release != nil {
		file.ReleaseKey = release.key
	} else {
		file.ReleaseKey = file.EncodingKey // there is none; nothing of such a project is released
	}
	return file
}

// Used reports rows that the keys were used for, and, once, the encoding check
// value that was computed with them.
func (s *Session) Used(ctx context.Context, rows int64, encodingKCV *string) error {
	s.mu.Lock()
	id := s.leases[api.UseEncoding].lease.ID
	s.mu.Unlock()
	return s.client.use(ctx, s.project.Name, id, api.Usage{Rows: rows, EncodingKCV: encodingKCV})
}

// keep renews leases until the context ends.
func (s *Session) keep(ctx context.Context) {
	for {
		next, use := s.due()
		timer := time.NewTimer(max(0, next.Sub(s.clock())))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := s.renew(ctx, use); err != nil {
			s.lose(err)
			return
		}
	}
}

// due returns the lease that is to be renewed first, and when.
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

// renew moves a lease's end. While it still runs a key holder that is away is
// waited for.
func (s *Session) renew(ctx context.Context, use api.Use) error {
	s.mu.Lock()
	h := s.leases[use]
	id, end := h.lease.ID, h.lease.Expires.Add(-margin)
	s.mu.Unlock()
	renewed, err := s.client.renew(ctx, s.project.Name, id)
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
		lost.Next = "what was done so far is kept; when the key holder answers again, run it with --resume"
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

// Close ends the leases and destroys the keys.
func (s *Session) Close(ctx context.Context) error {
	if s.cancel != nil {
		s.cancel(context.Canceled)
	}
	s.work.Wait()
	s.destroy()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	s.mu.Lock()
	ids := make([]string, 0, len(s.leases))
	for _, use := range api.Uses() {
		if h := s.leases[use]; h != nil {
			ids = append(ids, h.lease.ID)
		}
	}
	done := s.ended
	s.ended = true
	s.mu.Unlock()
	if done {
		return nil
	}
	for _, id := range ids {
		if s.client.end(ctx, s.project.Name, id) != nil {
			break // it ends by itself
		}
	}
	return nil
}
