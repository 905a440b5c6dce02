// Package keys measures the key holder: its evaluation of oblivious tokens, what a
// tokeniser reaches with it, how soon it is ready, and how long leases take at a
// steady rate.
package keys

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"tarn/bench/keyholder"
	"tarn/bench/measure"
	"tarn/keys"
	"tarn/keys/api"
)

// Suite is the suite's name.
const Suite = "keys"

// Options are what the suite is given.
type Options struct {
	Folder    string // for its deployments
	Keyholder string // the key holder's program
	Tokeniser string // the tokeniser's
	Full      bool   // 10,000 projects, a million rows, a minute of load and a million entries; else 1,000, 20,000, ten seconds and 20,000, and targets are not judged
	Software  string
	Clock     func() time.Time
	Progress  func(string)
}

// What is asked for.
const (
	targetReady = 5.0 // seconds from start to ready
	leaseRate   = 500 // requests a second, open loop
	logCallers  = 128 // that fill the log at once
)

// domain is the one that all projects are of.
const domain = "lake"

type suite struct {
	Options
	ctx      context.Context
	projects int
	rows     int // of a table that is encoded
	seconds  int
	entries  int // of the log

	holder *keyholder.KeyHolder
}

// Run measures all cases. With an error come the results before it.
func Run(ctx context.Context, o Options) (results []*measure.Result, err error) {
	s := &suite{Options: o, ctx: ctx, projects: 1000, rows: 20_000, seconds: 10, entries: 20_000}
	if o.Full {
		s.projects, s.rows, s.seconds, s.entries = 10_000, 1_000_000, 60, 1_000_000
	}
	s.holder, err = keyholder.Begin(ctx, keyholder.Options{Binary: o.Keyholder, Folder: o.Folder, FreeFloor: "256MiB", Software: o.Software, Clock: o.Clock})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.holder.Stop()) }()
	if err := s.holder.AddDomain(ctx, domain, keys.SchemeKeyedHash); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		name string
		run  func() ([]*measure.Result, error)
	}{{"oblivious", s.oblivious}, {"forward", s.forwards}, {"run", s.runs}, {"lease", s.leases}, {"ready", s.ready}, {"ready-long-log", s.longLog}} {
		o.Progress(step.name)
		some, err := step.run()
		results = append(results, some...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// leases asks for leases at a steady rate, whatever the answers take, and
// measures each from the moment at which it was due.
func (s *suite) leases() ([]*measure.Result, error) {
	if err := s.holder.AddProject(s.ctx, keyholder.Record("study", domain, keys.SchemeKeyedHash)); err != nil {
		return nil, err
	}
	if err := s.holder.AddTokeniser(s.ctx, "north", "study"); err != nil {
		return nil, err
	}
	tokeniser, err := s.holder.As("north")
	if err != nil {
		return nil, err
	}
	defer tokeniser.Close()
	ask := func() error {
		_, err := tokeniser.Lease(s.ctx, "study", api.LeaseRequest{Use: api.UseEncoding, RowsExpected: 1})
		return err
	}
	for range 20 { // connections and code are warm
		if err := ask(); err != nil {
			return nil, err
		}
	}
	before, err := cpuOf(s.holder.Process.ID())
	if err != nil {
		return nil, err
	}
	latencies, failed := openLoop(s.ctx, leaseRate, time.Duration(s.seconds)*time.Second, ask)
	after, err := cpuOf(s.holder.Process.ID())
	if err != nil {
		return nil, err
	}
	floor, err := measure.SyncTimes(s.Folder)
	if err != nil {
		return nil, err
	}
	asked := leaseRate * s.seconds
	c := measure.Case{
		Suite: Suite, Name: "lease-p99", SubjectVersion: s.Software, Unit: "ms", Dataset: measure.Dataset{Name: "leases of one project, each answered when it is durable", Rows: int64(asked)},
		Subject:   func(context.Context) (float64, error) { return measure.MS(latencies, 99), nil },
		Peer:      func(context.Context) (float64, error) { return measure.MS(floor, 99), nil },
		PeerParty: measure.Party{Name: "fsync of 4 KiB on the same disk, one after another", Version: "p99"},
		Parameters: map[string]any{
			"rate": leaseRate, "seconds": s.seconds, "failed": failed, "server_cpu_s_per_lease": (after - before) / float64(asked),
			"fsync_ms": measure.LatencyOf(floor),
		},
		Check: func(context.Context) (int64, bool, error) { return int64(asked), failed == 0, nil },
		Notes: "open loop: from the moment a request was due to its answer, generator and server on the same machine; an answer waits for the store's sync and then the anchor's, which many requests share",
	}
	r, err := c.Run(s.ctx, 1, s.Software, s.Clock)
	if err != nil {
		return nil, err
	}
	r.Load = "open-loop"
	r.LatencyMS = measure.LatencyOf(latencies)
	return []*measure.Result{r}, nil
}

// openLoop calls at a rate, each call when it is due and not when the one before
// has ended.
func openLoop(ctx context.Context, rate int, span time.Duration, call func() error) (latencies *hdrhistogram.Histogram, failed int64) {
	latencies = measure.NewHistogram()
	var mu sync.Mutex
	var wrong atomic.Int64
	var calls sync.WaitGroup
	begun := time.Now()
	for i := range int(span.Seconds() * float64(rate)) {
		due := begun.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		if ctx.Err() != nil {
			break
		}
		calls.Go(func() {
			if call() != nil {
				wrong.Add(1)
			}
			took := time.Since(due).Microseconds()
			mu.Lock()
			defer mu.Unlock()
			_ = latencies.RecordValue(max(1, took)) // beyond a minute it has failed
		})
	}
	calls.Wait()
	return latencies, wrong.Load()
}

// clockTicks is how many ticks of /proc/PID/stat make a second on Linux.
const clockTicks = 100

// cpuOf returns the processor time of a process, in seconds.
func cpuOf(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(after)
	var user, system float64
	if len(fields) < 13 {
		return 0, errors.New("the system does not say what a process took")
	}
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0, err
	}
	return (user + system) / clockTicks, nil
}

// ready fills the key holder with projects, and measures from its start until it
// says that it is ready.
func (s *suite) ready() ([]*measure.Result, error) {
	var group errgroup.Group
	group.SetLimit(32)
	operator, err := s.holder.As(keyholder.Operator)
	if err != nil {
		return nil, err
	}
	defer operator.Close()
	for i := range s.projects - 1 {
		group.Go(func() error {
			_, err := operator.Ask(s.ctx, api.OpProjectAdd, api.ProjectAdd{Record: keyholder.Record(fmt.Sprintf("project-%d", i), domain, keys.SchemeKeyedHash)})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return s.starts("ready", measure.Dataset{Name: "projects, each with its keys; every record is read and held to the anchor", Rows: int64(s.projects)})
}

// longLog fills the log, and measures the same.
func (s *suite) longLog() ([]*measure.Result, error) {
	if err := s.holder.Start(s.ctx); err != nil {
		return nil, err
	}
	tokeniser, err := s.holder.As("north")
	if err != nil {
		return nil, err
	}
	defer tokeniser.Close()
	lease, err := tokeniser.Lease(s.ctx, "study", api.LeaseRequest{Use: api.UseEncoding, RowsExpected: int64(s.entries)})
	if err != nil {
		return nil, err
	}
	caller, err := s.holder.CallAs("north")
	if err != nil {
		return nil, err
	}
	defer caller.Close()
	var group errgroup.Group
	group.SetLimit(logCallers)
	for range s.entries {
		group.Go(func() error {
			status, code, err := caller.Call(s.ctx, http.MethodPost, "/v1/projects/study/leases/"+lease.ID+"/usage", api.Usage{Rows: 1}, nil)
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("reporting a row: %d %s", status, code)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return s.starts("ready-long-log", measure.Dataset{Name: "entries of the log, which is held to the store", Rows: int64(s.entries)})
}

// starts measures starts of the key holder, which runs, as it is now.
func (s *suite) starts(name string, dataset measure.Dataset) ([]*measure.Result, error) {
	if err := s.holder.Stop(); err != nil {
		return nil, err
	}
	c := measure.Case{
		Suite: Suite, Name: name, SubjectVersion: s.Software, Unit: "s", Dataset: dataset,
		Subject: func(context.Context) (float64, error) {
			begun := time.Now()
			if err := s.holder.Start(s.ctx); err != nil {
				return 0, err
			}
			if err := s.holder.Ready(s.ctx); err != nil {
				return 0, err
			}
			took := time.Since(begun).Seconds()
			return took, s.holder.Stop()
		},
		Notes: "from starting the program, with an identity file, to its answer 200 of /readyz",
	}
	if s.Full {
		target := targetReady
		c.Target = &target
	}
	r, err := c.Run(s.ctx, 3, s.Software, s.Clock)
	if err != nil {
		return nil, err
	}
	return []*measure.Result{r}, nil
}
