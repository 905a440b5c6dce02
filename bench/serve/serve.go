// Package serve measures the tokenise service: how many rows a processor second answers,
// beside what the HTTP server and the parser take by themselves, and how long answers take
// at half load.
package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tarn/bench/load"
	"tarn/bench/measure"
	"tarn/bench/process"
	"tarn/bench/synth"
	"tarn/bench/tokeniser"
	"tarn/keys/fault"
	"tarn/tokenise/online/wire"
)

// Suite is the suite's name.
const Suite = "serve"

// Options are what the suite is given.
type Options struct {
	Folder    string // for its services
	Tokeniser string // the tokeniser's program
	Workbench string // tarn's, which has the peers
	Full      bool   // ten seconds a run and five runs; else two seconds and three
	Software  string
	Clock     func() time.Time
	Progress  func(string)
}

// What is asked for, as parts of what fasthttp and the parser do by themselves.
const (
	targetTokens = .60
	targetBoth   = .15
	targetSingle = .60
	// enoughSingle is as good: requests of one row in a processor second.
	enoughSingle = 50_000
)

// rowsInRequest is how many rows a bulk request has.
const rowsInRequest = 1000

// project and client are what is called, and who calls.
const client = "bench"

type suite struct {
	Options
	ctx        context.Context
	runs       int
	span       time.Duration
	project    string
	header     []string
	rows       [][]string
	warm, cold *tokeniser.Tokeniser
	bare, fast *peer
	plain      *peer
	before     unix.CPUSet // processors of this process
}

// peer is a program that is measured beside the service.
type peer struct {
	process *process.Process
	target  load.Target
}

// Run measures all cases. With an error come the results before it.
func Run(ctx context.Context, o Options) (results []*measure.Result, err error) {
	s := &suite{Options: o, ctx: ctx, runs: 3, span: 2 * time.Second}
	if o.Full {
		s.runs, s.span = 5, 10*time.Second
	}
	if runtime.NumCPU() < 2 {
		return nil, fault.New(fault.Usage, "measuring the service", "there is one processor, and generator and server need one each", "run it where there are two")
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.begin(); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		name string
		run  func() (*measure.Result, error)
	}{
		{"tokens-json", func() (*measure.Result, error) {
			return s.bulk("tokens-json", wire.JSON, "?return=token", s.warm, s.bare, targetTokens)
		}},
		{"tokens-json-fastjson", func() (*measure.Result, error) {
			return s.bulk("tokens-json-fastjson", wire.JSON, "?return=token", s.warm, s.fast, 0)
		}},
		{"both-json", func() (*measure.Result, error) {
			return s.bulk("both-json", wire.JSON, "", s.warm, s.bare, targetBoth)
		}},
		{"both-json-cold", func() (*measure.Result, error) { return s.bulk("both-json-cold", wire.JSON, "", s.cold, s.bare, 0) }},
		{"both-json-net-http", func() (*measure.Result, error) {
			return s.bulk("both-json-net-http", wire.JSON, "", s.warm, s.plain, 0)
		}},
		{"tokens-json-net-http", func() (*measure.Result, error) {
			return s.bulk("tokens-json-net-http", wire.JSON, "?return=token", s.warm, s.plain, 0)
		}},
		{"tokens-ndjson", func() (*measure.Result, error) {
			return s.bulk("tokens-ndjson", wire.NDJSON, "?return=token", s.warm, s.bare, 0)
		}},
		{"tokens-csv", func() (*measure.Result, error) {
			return s.bulk("tokens-csv", wire.CSV, "?return=token", s.warm, s.bare, 0)
		}},
		{"tokens-arrow", func() (*measure.Result, error) {
			return s.bulk("tokens-arrow", wire.Arrow, "?return=token", s.warm, s.bare, 0)
		}},
		{"both-ndjson", func() (*measure.Result, error) { return s.bulk("both-ndjson", wire.NDJSON, "", s.warm, s.bare, 0) }},
		{"both-csv", func() (*measure.Result, error) { return s.bulk("both-csv", wire.CSV, "", s.warm, s.bare, 0) }},
		{"both-arrow", func() (*measure.Result, error) { return s.bulk("both-arrow", wire.Arrow, "", s.warm, s.bare, 0) }},
		{"single", s.single},
		{"half-load-single", func() (*measure.Result, error) { return s.halfLoad("half-load-single", 1) }},
		{"half-load-bulk", func() (*measure.Result, error) { return s.halfLoad("half-load-bulk", rowsInRequest) }},
	} {
		o.Progress(step.name)
		r, err := step.run()
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// begin makes people, starts the service twice - with tables of all dates, and of one -
// and the peers.
func (s *suite) begin() error {
	data := filepath.Join(s.Folder, "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	made, err := synth.NewProject(&synth.Config{People: 20_000, Parties: 1, Seed: 11, Errors: synth.ErrorsNHS, Overlap: .5}, "nhs-field-dob-1")
	if err != nil {
		return err
	}
	if _, err := synth.Generate(s.ctx, synth.Config{People: 20_000, Parties: 1, Seed: 11, Errors: synth.ErrorsNHS, Overlap: .5, Threads: 1}, data, func(int64, int64) {}); err != nil {
		return err
	}
	if err := made.Write(data); err != nil {
		return err
	}
	s.project = made.Name()
	if s.header, s.rows, err = load.ReadRows(filepath.Join(data, "north.csv"), 20_000); err != nil {
		return err
	}
	for _, one := range []struct {
		to     **tokeniser.Tokeniser
		folder string
		limits string
	}{{&s.warm, "warm", ""}, {&s.cold, "cold", "cached_dates = 1\n"}} {
		folder := filepath.Join(s.Folder, one.folder)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		t, err := tokeniser.New(tokeniser.Options{
			Binary: s.Tokeniser, Folder: folder, Clock: s.Clock, LogLevel: "warn", Limits: one.limits,
			Projects: []tokeniser.Project{{File: filepath.Join(data, "project.json"), KeyFile: filepath.Join(data, "keys.json"), Clients: []string{client}, BudgetRows: 1 << 40}},
		})
		if err != nil {
			return err
		}
		t.Limits += "ceiling_rows = 1000000000000\n"
		if err := t.Configure(); err != nil {
			return err
		}
		*one.to = t
		if err := pinned(serverCPU, func() error { return t.Start(s.ctx) }); err != nil {
			return err
		}
		if err := t.Ready(s.ctx, s.project, client); err != nil {
			return err
		}
	}
	for _, one := range []struct {
		to   **peer
		kind string
	}{{&s.bare, PeerBare}, {&s.fast, PeerFast}, {&s.plain, PeerNetHTTP}} {
		if *one.to, err = s.startPeer(one.kind, data); err != nil {
			return err
		}
	}
	// The generator has the other processor; the tables of all dates are made meanwhile.
	if s.before, err = affinity(); err == nil {
		err = pinAll(oneCPU(generatorCPU))
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "giving the generator a processor of its own", err, "")
	}
	return s.tablesAreMade()
}

// The processors of server and generator.
const (
	generatorCPU = 0
	serverCPU    = 1
)

// tablesAreMade waits until the service uses no processor time any more.
func (s *suite) tablesAreMade() error {
	for last := -1.; ; {
		now, err := load.CPUOf(s.warm.Process.ID())
		if err != nil {
			return err
		}
		if now-last < .02 {
			return nil
		}
		last = now
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (s *suite) startPeer(kind, data string) (*peer, error) {
	const answering = "answering on "
	p := &peer{}
	var answer string
	err := pinned(serverCPU, func() (err error) {
		p.process, answer, err = process.Start(s.ctx, process.Options{Until: answering, Within: time.Minute}, s.Workbench, "bench-peer", kind,
			"--folder", s.warm.Folder, "--project", filepath.Join(data, "project.json"), "--key-file", filepath.Join(data, "keys.json"))
		return err
	})
	if err != nil {
		return nil, err
	}
	p.target, err = s.warm.Target(s.project, client, "")
	_, p.target.Address, _ = strings.Cut(answer, answering)
	return p, err
}

func (s *suite) stop() (err error) {
	if s.before.Count() > 0 {
		err = pinAll(s.before)
	}
	for _, t := range []*tokeniser.Tokeniser{s.warm, s.cold} {
		if t != nil {
			err = errors.Join(err, t.Stop())
		}
	}
	for _, p := range []*peer{s.bare, s.fast, s.plain} {
		if p != nil && p.process != nil {
			err = errors.Join(err, p.process.Kill())
		}
	}
	return err
}

// connections is over how many connections bulk and single rows come.
const (
	bulkConnections   = 4
	singleConnections = 64
)

// perCPU returns rows in a processor second of a server, which is kept busy over some
// connections.
func (s *suite) perCPU(t load.Target, pid int, r *load.Request, connections int) (float64, error) {
	result, err := load.Closed(s.ctx, t, r, connections, s.span, pid)
	if err != nil {
		return 0, err
	}
	if result.Failed > 0 {
		return 0, fault.New(fault.Internal, "measuring the service", fmt.Sprintf("%d requests failed", result.Failed), "")
	}
	return float64(result.Rows) / result.CPU, nil
}

func (s *suite) request(f wire.Format, rows int) (*load.Request, error) {
	b, err := load.Body(f, s.header, s.rows[:rows])
	return &load.Request{Media: f.MediaType(), Body: b, Rows: rows}, err
}

// bulk measures rows in a processor second, of requests of many rows.
func (s *suite) bulk(name string, f wire.Format, query string, service *tokeniser.Tokeniser, beside *peer, target float64) (*measure.Result, error) {
	request, err := s.request(f, rowsInRequest)
	if err != nil {
		return nil, err
	}
	peerRequest, err := s.request(wire.JSON, rowsInRequest)
	if err != nil {
		return nil, err
	}
	to, err := service.Target(s.project, client, query)
	if err != nil {
		return nil, err
	}
	from := beside.target
	party := measure.Party{Name: "fasthttp and jsontext alone", Version: "each row parsed and its fields read"}
	if beside == s.fast {
		party.Name = "fasthttp and fastjson alone"
	}
	if beside == s.plain {
		from.Path = to.Path
		party = measure.Party{Name: "net/http and encoding/json", Version: "the same work"}
	}
	c := measure.Case{
		Suite: Suite, Name: name, SubjectVersion: s.Software, Unit: "rows/cpu-s", HigherIsBetter: true,
		Dataset:    measure.Dataset{Name: fmt.Sprintf("requests of %d synthetic people as %s, answered%s", rowsInRequest, f.MediaType(), query), Rows: rowsInRequest},
		Parameters: map[string]any{"connections": bulkConnections, "seconds": s.span.Seconds(), "request_bytes": len(request.Body)},
		Subject: func(context.Context) (float64, error) {
			return s.perCPU(to, service.Process.ID(), request, bulkConnections)
		},
		Peer: func(context.Context) (float64, error) {
			return s.perCPU(from, beside.process.ID(), peerRequest, bulkConnections)
		},
		PeerParty: party,
		Notes:     "processor seconds of the server alone, on a processor of its own, over mutual TLS 1.3; every request under an id of its own, kept durably before its answer leaves",
	}
	if target > 0 {
		c.Target = &target
	}
	r, err := c.Run(s.ctx, s.runs, s.Software, s.Clock)
	if r != nil {
		r.Load = "closed"
	}
	return r, err
}

// single measures requests of one row in a processor second.
func (s *suite) single() (*measure.Result, error) {
	request, err := s.request(wire.JSON, 1)
	if err != nil {
		return nil, err
	}
	to, err := s.warm.Target(s.project, client, "?return=token")
	if err != nil {
		return nil, err
	}
	c := measure.Case{
		Suite: Suite, Name: "single", SubjectVersion: s.Software, Unit: "requests/cpu-s", HigherIsBetter: true,
		Dataset:    measure.Dataset{Name: "requests of one synthetic person as application/json, answered with its token", Rows: 1},
		Parameters: map[string]any{"connections": singleConnections, "seconds": s.span.Seconds()},
		Subject: func(context.Context) (float64, error) {
			return s.perCPU(to, s.warm.Process.ID(), request, singleConnections)
		},
		Peer: func(context.Context) (float64, error) {
			return s.perCPU(s.bare.target, s.bare.process.ID(), request, singleConnections)
		},
		PeerParty: measure.Party{Name: "fasthttp and jsontext alone", Version: "the row parsed and its fields read"},
		// As good as the part of the peer is an absolute figure.
		TargetOf: func(peer float64) float64 { return min(targetSingle, enoughSingle/peer) },
		Notes:    "processor seconds of the server alone, on a processor of its own, over mutual TLS 1.3 and kept-alive connections; every request under an id of its own, kept durably before its answer leaves",
	}
	r, err := c.Run(s.ctx, s.runs, s.Software, s.Clock)
	if r != nil {
		r.Load = "closed"
	}
	return r, err
}

// halfLoad measures how long answers take at half of what a processor can do.
func (s *suite) halfLoad(name string, rows int) (*measure.Result, error) {
	request, err := s.request(wire.JSON, rows)
	if err != nil {
		return nil, err
	}
	connections, query := singleConnections, "?return=token"
	if rows > 1 {
		connections, query = 16, ""
	}
	to, err := s.warm.Target(s.project, client, query)
	if err != nil {
		return nil, err
	}
	pid := s.warm.Process.ID()
	most, err := load.Closed(s.ctx, to, request, connections, s.span, pid)
	if err != nil {
		return nil, err
	}
	rate := float64(most.Answered) / most.Took.Seconds() / 2
	result, err := load.Open(s.ctx, to, request, connections, rate, 2*s.span, pid)
	if err != nil {
		return nil, err
	}
	c := measure.Case{
		Suite: Suite, Name: name, SubjectVersion: s.Software, Unit: "ms", Dataset: measure.Dataset{Name: fmt.Sprintf("requests of %d rows at half of the rate that one processor answers", rows), Rows: int64(rows)},
		Subject:    func(context.Context) (float64, error) { return measure.MS(result.Latency, 99.9), nil },
		Parameters: map[string]any{"rate": rate, "failed": result.Failed, "connections": connections, "server_cpu_share": result.CPU / result.Took.Seconds()},
		Check:      func(context.Context) (int64, bool, error) { return result.Answered, result.Failed == 0, nil },
		Notes:      "p99.9, open loop: from the moment a request was due to its answer, which leaves when the store has it durably",
	}
	r, err := c.Run(s.ctx, 1, s.Software, s.Clock)
	if r != nil {
		r.Load, r.LatencyMS = "open-loop", measure.LatencyOf(result.Latency)
	}
	return r, err
}
