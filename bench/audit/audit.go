// Package audit measures the key holder's log: how long an entry takes to be in it,
// how many there can be, and how soon a long one is open or verified.
package audit

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tarn/bench/measure"
	"tarn/keys/audit"
	"tarn/keys/audit/appender"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/verify"
)

// Suite is the suite's name.
const Suite = "audit"

// Options are what the suite is given.
type Options struct {
	Folder   string // for its logs
	Full     bool   // a million entries; else 50,000, and targets are not judged
	Software string
	Clock    func() time.Time
	Progress func(string)
}

// What is asked for, of a million entries.
const (
	targetVerify = 10.0 // seconds
	targetOpen   = 5.0  // seconds
)

type suite struct {
	Options
	ctx     context.Context
	entries int
	log     appender.Options
}

// Run measures all cases. With an error come the results before it.
func Run(ctx context.Context, o Options) (results []*measure.Result, err error) {
	s := &suite{Options: o, ctx: ctx, entries: 50_000}
	if o.Full {
		s.entries = 1_000_000
	}
	if s.log, err = options(filepath.Join(o.Folder, "log")); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		name string
		run  func() (*measure.Result, error)
	}{{"append", s.appended}, {"fill", nil}, {"verify", s.verified}, {"open", s.opened}} {
		o.Progress(step.name)
		if step.run == nil {
			if err := fill(ctx, s.log, s.entries); err != nil {
				return results, err
			}
			continue
		}
		r, err := step.run()
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// options are those of a log in a folder, whose key anybody has.
func options(folder string) (appender.Options, error) {
	signer, key, err := checkpoint.NewSigner("bench/log/1", &[32]byte{1})
	return appender.Options{Folder: folder, Signer: signer, Verifier: key, HTTP: http.DefaultClient}, err
}

// Make makes a log of so many entries in a folder, which must not exist.
func Make(ctx context.Context, folder string, entries int) error {
	o, err := options(folder)
	if err != nil {
		return err
	}
	return fill(ctx, o, entries)
}

func entry(n int) []byte {
	b, err := audit.Leaf{Actor: audit.Actor{Issuer: "mtls", Organisation: "RX1", Role: "tokeniser", Subject: "north"}, Count: int64(n%1000) + 1, Domain: "lake", Holder: "keyholder",
		Kind: audit.KindLease, Outcome: "used", Project: "study", Purpose: "token", Request: "15767dc710b5d44eb80ba1dc04b6644a", SelfReported: true,
		Time: audit.FormatTime(time.Date(2026, 1, 1, 0, 0, 0, n*1_000_000, time.UTC)), TokenEpoch: 1}.Encode()
	if err != nil {
		panic(err) // a leaf of constants
	}
	return b
}

// appended measures entries that come one at a time, and how many there can be of
// many callers whose entries are gathered, as the key holder's are.
func (s *suite) appended() (*measure.Result, error) {
	o := s.log
	o.Folder += "-appended"
	a, err := appender.Open(s.ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.Close(context.WithoutCancel(s.ctx)) }() // nothing of it is read
	const one, together = 1000, 64
	latencies := measure.NewHistogram()
	n := 0
	for ; n < one; n++ {
		begun := time.Now()
		if err := a.Append(s.ctx, uint64(n), [][]byte{entry(n)}); err != nil {
			return nil, err
		}
		_ = latencies.RecordValue(max(1, time.Since(begun).Microseconds())) // beyond a minute it has failed
	}
	begun := time.Now()
	const batches = 200
	for range batches {
		entries := make([][]byte, together)
		for i := range entries {
			entries[i] = entry(n + i)
		}
		if err := a.Append(s.ctx, uint64(n), entries); err != nil {
			return nil, err
		}
		n += together
	}
	rate := batches * together / time.Since(begun).Seconds()
	floor, err := measure.SyncTimes(s.Folder)
	if err != nil {
		return nil, err
	}
	c := s.appendCase(latencies, floor, rate)
	r, err := c.Run(s.ctx, 1, s.Software, s.Clock)
	if err != nil {
		return nil, err
	}
	r.LatencyMS = measure.LatencyOf(latencies)
	return r, nil
}

func (s *suite) appendCase(latencies, floor *hdrhistogram.Histogram, rate float64) *measure.Case {
	return &measure.Case{
		Suite: Suite, Name: "append-p99", SubjectVersion: s.Software, Unit: "ms", Dataset: measure.Dataset{Name: "entries, one after another", Rows: latencies.TotalCount()},
		Subject:    func(context.Context) (float64, error) { return measure.MS(latencies, 99), nil },
		Peer:       func(context.Context) (float64, error) { return measure.MS(floor, 99), nil },
		PeerParty:  measure.Party{Name: "fsync of 4 KiB on the same disk, one after another", Version: "p99"},
		Parameters: map[string]any{"entries_per_s_in_batches_of_64": rate, "fsync_ms": measure.LatencyOf(floor)},
		Notes:      "durable and in the tree: an entry syncs its bundle, its tiles, the tree's state and their folders",
	}
}

// fill makes the long log.
func fill(ctx context.Context, o appender.Options, entries int) error {
	a, err := appender.Open(ctx, o)
	if err != nil {
		return err
	}
	const most = 4096
	for n := 0; n < entries; {
		var chunk [][]byte
		for len(chunk) < most && n+len(chunk) < entries {
			chunk = append(chunk, entry(n+len(chunk)))
		}
		if err := a.Append(ctx, uint64(n), chunk); err != nil {
			return errors.Join(err, a.Close(context.WithoutCancel(ctx)))
		}
		n += len(chunk)
	}
	return a.Close(ctx)
}

// target is judged at full scale only.
func (s *suite) target(value float64) *float64 {
	if !s.Full {
		return nil
	}
	return &value
}

func (s *suite) verified() (*measure.Result, error) {
	var mu sync.Mutex
	var whole bool
	c := &measure.Case{
		Suite: Suite, Name: "verify", SubjectVersion: s.Software, Unit: "s", Dataset: measure.Dataset{Name: "entries of one log", Rows: int64(s.entries)}, Target: s.target(targetVerify),
		Subject: func(ctx context.Context) (float64, error) {
			begun := time.Now()
			r, err := verify.Log(ctx, s.log.Folder, verify.Options{})
			if err != nil {
				return 0, err
			}
			mu.Lock()
			defer mu.Unlock()
			whole = r.Whole() && r.Size == uint64(s.entries)
			return time.Since(begun).Seconds(), nil
		},
		Check: func(context.Context) (int64, bool, error) { return int64(s.entries), whole, nil },
		Notes: "auditor verify: every entry read, decoded and hashed, all cores, from the page cache",
	}
	return c.Run(s.ctx, 3, s.Software, s.Clock)
}

func (s *suite) opened() (*measure.Result, error) {
	c := &measure.Case{
		Suite: Suite, Name: "open", SubjectVersion: s.Software, Unit: "s", Dataset: measure.Dataset{Name: "entries of one log", Rows: int64(s.entries)}, Target: s.target(targetOpen),
		Subject: func(ctx context.Context) (float64, error) {
			begun := time.Now()
			a, err := appender.Open(ctx, s.log)
			if err != nil {
				return 0, err
			}
			size, err := a.Size(ctx)
			took := time.Since(begun).Seconds()
			if size != uint64(s.entries) && err == nil {
				err = errors.New("the log has another size than was written")
			}
			return took, errors.Join(err, a.Close(ctx))
		},
		Notes: "what a long log adds to the key holder's start: no entry is read again",
	}
	return c.Run(s.ctx, 3, s.Software, s.Clock)
}
