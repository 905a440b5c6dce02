// Package keys measures the key holder: how soon it is ready with many projects,
// and how long leases take at a steady rate.
package keys

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"tarn/bench/measure"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/holder"
)

// Suite is the suite's name.
const Suite = "keys"

// Options are what the suite is given.
type Options struct {
	Folder    string // for its deployments
	Keyholder string // the key holder's program
	Full      bool   // 10,000 projects and a minute of load; else 1,000 and ten seconds, and targets are not judged
	Software  string
	Clock     func() time.Time
	Progress  func(string)
}

// What is asked for.
const (
	targetReady = 5.0 // seconds from start to ready
	leaseRate   = 500 // requests a second, open loop
)

type suite struct {
	Options
	ctx      context.Context
	projects int
	seconds  int

	identity, config string
	ca               string
	process          *exec.Cmd
	address          string
	operator         *client.Client
}

// Run measures all cases. With an error come the results before it.
func Run(ctx context.Context, o Options) (results []*measure.Result, err error) {
	s := &suite{Options: o, ctx: ctx, projects: 1000, seconds: 10}
	if o.Full {
		s.projects, s.seconds = 10_000, 60
	}
	if err := s.deploy(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, step := range []struct {
		name string
		run  func() ([]*measure.Result, error)
	}{{"lease", s.leases}, {"ready", s.ready}} {
		o.Progress(step.name)
		some, err := step.run()
		results = append(results, some...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// deploy makes a key holder, starts it and enrols its one operator.
func (s *suite) deploy() error {
	dir := filepath.Join(s.Folder, "holder")
	elsewhere := filepath.Join(s.Folder, "anchor")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		return err
	}
	made, err := holder.Init(s.ctx, holder.InitOptions{
		Dir: dir, Anchor: filepath.Join(elsewhere, "anchor.json"), Custody: holder.Custody{Method: "identity"}, Name: "bench", Organisation: "X26",
		Operators: []string{"ann"}, Hosts: []string{"127.0.0.1"}, Software: s.Software, Clock: s.Clock,
	})
	if err != nil {
		return err
	}
	s.identity, s.config, s.ca = filepath.Join(s.Folder, "identity.txt"), filepath.Join(s.Folder, "keyholder.toml"), filepath.Join(dir, holder.AuthorityFile)
	if err := os.WriteFile(s.identity, made.Identity, 0o600); err != nil {
		return err
	}
	config := fmt.Sprintf(`production = false
[listen]
address = "127.0.0.1:0"
[store]
dir = %q
anchor = %q
free_floor = "256MiB"
[custody]
identity_file = %q
[operators]
required = 1
`, dir, filepath.Join(elsewhere, "anchor.json"), s.identity)
	if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	if s.operator, err = s.enrol("ann", made.Codes["ann"]); err != nil {
		return err
	}
	_, err = s.operator.Ask(s.ctx, api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: "keyed-hash"})
	return err
}

// start starts the program, and returns when it says where it answers.
func (s *suite) start() error {
	const doing = "starting the key holder"
	s.process = exec.CommandContext(s.ctx, s.Keyholder, "serve", "--config", s.config)
	s.process.Cancel = func() error { return s.process.Process.Signal(syscall.SIGTERM) }
	said, err := s.process.StderrPipe()
	if err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		return fault.Wrap(fault.Unavailable, doing, err, "give the path of a program that can be run")
	}
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if _, after, ok := strings.Cut(lines.Text(), "answering on "); ok {
			s.address, _, _ = strings.Cut(after, ",")
			go func() { _, _ = io.Copy(io.Discard, said) }() // what it says further
			return nil
		}
	}
	return fault.New(fault.Internal, doing, "it ended before it answered", "run it by hand: "+s.Keyholder+" serve")
}

func (s *suite) stop() error {
	if s.process == nil {
		return nil
	}
	_ = s.process.Process.Signal(syscall.SIGTERM) // it may have ended
	err := s.process.Wait()
	s.process = nil
	return err
}

func (s *suite) enrol(name, code string) (*client.Client, error) {
	folder := filepath.Join(s.Folder, name)
	if _, err := client.Enrol(s.ctx, client.Enrolment{URL: "https://" + s.address, Code: code, Folder: folder}, s.Clock); err != nil {
		return nil, err
	}
	return s.as(name)
}

// as is a client of the credentials that enrol wrote, at the address of now.
func (s *suite) as(name string) (*client.Client, error) {
	credentials, err := client.Load(client.Files{Folder: filepath.Join(s.Folder, name), URL: "https://" + s.address})
	if err != nil {
		return nil, err
	}
	return client.New(credentials, s.Clock), nil
}

func (s *suite) addProject(name string) error {
	record := fmt.Sprintf(`{"schema":"tarn.project/1","name":%q,"domain":"lake","scheme":"keyed-hash","profile":"nhs-field-dob-1","purpose":"bench","legal_basis":{},
		"controllers":["X26"],"parties":[{"source_dataset":"north"}],"opt_outs":{"ndoo":true,"type1":true,"local":false},"groups":[],
		"keys":{"domain_no":0,"token_epoch":0,"token_public_key":null,"token_kcv":null,"encoding_epoch":0,"encoding_kcv":null},"reidentify":{"mode":"none"},"expires":"2999-12-31"}`, name)
	_, err := s.operator.Ask(s.ctx, api.OpProjectAdd, api.ProjectAdd{Record: []byte(record)})
	return err
}

// leases asks for leases at a steady rate, whatever the answers take, and
// measures each from the moment at which it was due.
func (s *suite) leases() ([]*measure.Result, error) {
	if err := s.addProject("study"); err != nil {
		return nil, err
	}
	invited, err := s.operator.Ask(s.ctx, api.OpClientAdd, api.ClientAdd{Name: "north", Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{"study"}})
	if err != nil {
		return nil, err
	}
	collected, err := s.operator.Collect(s.ctx, invited.ID)
	if err != nil {
		return nil, err
	}
	tokeniser, err := s.enrol("north", collected.Code)
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
	before, err := cpuOf(s.process.Process.Pid)
	if err != nil {
		return nil, err
	}
	latencies, failed := openLoop(s.ctx, leaseRate, time.Duration(s.seconds)*time.Second, ask)
	after, err := cpuOf(s.process.Process.Pid)
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
	for i := range s.projects - 1 {
		group.Go(func() error { return s.addProject(fmt.Sprintf("project-%d", i)) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := s.stop(); err != nil {
		return nil, err
	}
	c := measure.Case{
		Suite: Suite, Name: "ready", SubjectVersion: s.Software, Unit: "s",
		Dataset: measure.Dataset{Name: "projects, each with its keys; every record is read and held to the anchor", Rows: int64(s.projects)},
		Subject: func(context.Context) (float64, error) {
			begun := time.Now()
			if err := s.start(); err != nil {
				return 0, err
			}
			anyone, err := client.Anonymous("https://"+s.address, s.ca, s.Clock)
			if err != nil {
				return 0, err
			}
			defer anyone.Close()
			if err := anyone.Ready(s.ctx); err != nil {
				return 0, err
			}
			took := time.Since(begun).Seconds()
			return took, s.stop()
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
