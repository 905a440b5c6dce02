// Package soak puts load on the tokenise service for a time, while what happens in a
// region's year happens to it: its domains' keys are replaced, and it is stopped and
// started. Key holder and service are the binaries as they are shipped, in processes of
// their own.
//
// Every answer is held to what tokeniser run makes of the same people. What was
// acknowledged is kept in a ledger, and asked for again by another process, tarn soak
// check: it must be answered as it was, and charged once.
package soak

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/bench/keyholder"
	"tarn/bench/measure"
	"tarn/bench/process"
	"tarn/keys/api"
	"tarn/keys/fault"
)

// Options are what a soak is run with.
type Options struct {
	// Binaries is the folder of the programs: keyholder, tokeniser and tarn itself.
	Binaries  string
	Tokeniser string        // the service's program; empty is the one of Binaries
	Folder    string        // an existing, empty one, for what it makes
	Ledger    string        // folder of the ledger; empty is Folder
	Span      time.Duration // about how long the load lasts: a third before anything happens, half after it
	Rate      float64       // requests a second
	Software  string
	Clock     func() time.Time
	Progress  func(string) // may be nil
}

// Shortest is the shortest soak: in less memory cannot be told to be flat.
const Shortest = 30 * time.Second

// Run runs a soak. With an error there is no report.
func Run(ctx context.Context, o Options) (r *Report, err error) {
	if o.Span < Shortest || o.Rate < 1 {
		return nil, fault.New(fault.Usage, "soaking", "it lasts less than 30 s, or has less than a request a second", "give it more: in less nothing is shown")
	}
	if o.Tokeniser == "" {
		o.Tokeniser = filepath.Join(o.Binaries, "tokeniser")
	}
	if o.Ledger == "" {
		o.Ledger = o.Folder
	}
	o.note("a key holder, a service of each of two projects, and %d people", people)
	s, err := newSite(ctx, &o)
	defer func() {
		if ended := s.end(); err == nil {
			err = ended
		}
	}()
	if err != nil {
		return nil, err
	}
	l, err := newLedger(o.Ledger, s.projects)
	if err != nil {
		return nil, err
	}
	defer l.close()
	r = &Report{Schema: Schema, Software: o.Software, Created: o.Clock().UTC().Format(time.RFC3339), Rate: o.Rate, GOGC: o.gogc(), Wrong: []string{}, Controls: []Control{}, Machine: measure.ThisMachine()}
	d := newDriver(s, l)
	if err := s.under(d, r); err != nil {
		return nil, err
	}
	for _, p := range s.projects {
		d.noRace(p)
	}
	r.Requests, r.Straight, r.All = d.counts, latencyOf(d.straight), latencyOf(d.all)
	r.Wrong = append(r.Wrong, d.wrong...)
	if err := s.settle(r, l); err != nil {
		return nil, err
	}
	r.Holds = len(r.Against()) == 0
	return r, nil
}

// longSpan is from how long on a soak is long enough for a collector as it is by default.
const longSpan = 10 * time.Minute

// gogc is GOGC of the services.
func (o *Options) gogc() int {
	if o.Span >= longSpan {
		return 100
	}
	return 10
}

func (o *Options) note(format string, values ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, values...))
	}
}

// under puts load on the service while things happen to it.
func (s *site) under(d *driver, r *Report) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	d.start(ctx)
	for _, p := range s.projects {
		if err := d.warm(ctx, p, s.o.warming()); err != nil {
			return err
		}
	}
	var loading sync.WaitGroup
	enough := make(chan struct{})
	loading.Go(func() { r.Seconds = d.load(ctx, s.o.Rate, enough).Seconds() })
	err := func() error {
		if err := s.watch(ctx, r, "before", s.o.Span/3); err != nil {
			return err
		}
		for _, p := range s.projects {
			s.o.note("the key of %s is replaced", p.domain)
			gap, err := p.rotate()
			if err != nil {
				return err
			}
			r.Projects = append(r.Projects, ProjectReport{Name: p.name, Scheme: p.scheme, Before: p.begun, After: p.newest, GapS: gap.Seconds()})
		}
		if err := pause(ctx, s.o.Span/10); err != nil {
			return err
		}
		s.o.note("SIGTERM")
		for i, p := range s.projects {
			if err := p.restart(d, &r.Projects[i]); err != nil {
				return err
			}
			if err := d.warm(ctx, p, s.o.warming()); err != nil {
				return err
			}
		}
		return s.watch(ctx, r, "after", s.o.Span/2)
	}()
	close(enough)
	if err == nil {
		s.o.note("the last answers")
		loading.Wait()
	}
	cancel()
	loading.Wait()
	d.ended()
	return err
}

// slowRate is the rate below which a service is taken to be slow, as one is that was built
// with the race detector: it gets more time, and less at once.
const slowRate = 20

func (o *Options) slow() bool { return o.Rate < slowRate }

// warming is how often each large request is sent to a service that was started, and
// warmers over how many connections.
func (o *Options) warming() int {
	if o.slow() {
		return 1
	}
	return 3
}

func (o *Options) warmers() int {
	if o.slow() {
		return 4
	}
	return connections
}

// timeout is the service's.
func (o *Options) timeout() time.Duration {
	if o.slow() {
		return 2 * time.Minute
	}
	return 30 * time.Second
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// newWithin is when a service that was told of new keys has failed to use them.
const newWithin = time.Minute

// rotate replaces a domain's key and tells the service, and returns after how long it
// answered with the new one.
func (p *project) rotate() (time.Duration, error) {
	s := p.site
	operator, err := s.holder.As(keyholder.Operator)
	if err != nil {
		return 0, err
	}
	defer operator.Close()
	p.mu.Lock()
	p.changing = true
	p.mu.Unlock()
	begun := time.Now()
	if _, err := operator.Ask(s.ctx, api.OpKeyRotate, api.KeyChange{Domain: p.domain, Reason: "yearly"}); err != nil {
		return 0, err
	}
	if err := p.learn(); err != nil {
		return 0, err
	}
	if err := p.service.Reload(); err != nil {
		return 0, err
	}
	target, err := p.service.Target(p.name, caller, "")
	if err != nil {
		return 0, err
	}
	for {
		document, err := described(s.ctx, target, p.name)
		if err == nil && document.Epoch == p.newest {
			break
		}
		if time.Since(begun) > newWithin {
			return 0, fault.New(fault.Internal, "replacing a key", "the service does not use the new one: "+p.service.Process.Said(), "")
		}
		if err := pause(s.ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed = time.Now()
	return p.changed.Sub(begun), nil
}

// restart ends the service with SIGTERM, and starts it again at its address.
func (p *project) restart(d *driver, r *ProjectReport) error {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	begun := time.Now()
	if err := p.service.Stop(); err != nil {
		return err
	}
	ended := time.Now()
	d.noRace(p)
	if err := p.service.Configure(); err != nil { // now with the address that it had
		return err
	}
	if err := p.start(); err != nil {
		return err
	}
	if err := p.ready(); err != nil {
		return err
	}
	ready := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping, p.stopped = false, ready
	r.EndedS, r.ReadyS = ended.Sub(begun).Seconds(), ready.Sub(ended).Seconds()
	return nil
}

// noRace looks for what the race detector says, where a service was built with it.
func (d *driver) noRace(p *project) {
	if said := p.service.Process.Said(); strings.Contains(said, "DATA RACE") {
		d.found("the race detector found something in the service of project %s: %.2000s", p.name, said[strings.Index(said, "DATA RACE"):])
	}
}

// watch reads the services' figures for a time, and judges them. The first quarter is
// left out: tables and caches fill.
func (s *site) watch(ctx context.Context, r *Report, name string, span time.Duration) error {
	if err := pause(ctx, span/4); err != nil {
		return err
	}
	begun := time.Now()
	until := begun.Add(span - span/4)
	every := max(250*time.Millisecond, span/600)
	type figures struct{ heap, resident, goroutines, collections []float64 }
	all := make([]figures, len(s.projects))
	for time.Until(until) > 0 {
		for i, p := range s.projects {
			page, err := p.service.MetricsPage(ctx)
			if err != nil {
				return err
			}
			for _, one := range []struct {
				name string
				to   *[]float64
			}{{"go_memstats_next_gc_bytes", &all[i].heap}, {"go_gc_duration_seconds_count", &all[i].collections}, {"process_resident_memory_bytes", &all[i].resident}, {"go_goroutines", &all[i].goroutines}} {
				value, ok := process.Metric(page, one.name)
				if !ok {
					return fault.New(fault.Internal, "reading the service's metrics", "there is no metric "+one.name, "")
				}
				*one.to = append(*one.to, value)
			}
		}
		if err := pause(ctx, every); err != nil {
			return err
		}
	}
	took := time.Since(begun).Seconds()
	for i, p := range s.projects {
		f := &all[i]
		if len(f.heap) == 0 {
			return fault.New(fault.Internal, "reading the service's metrics", "there was no time for it", "let the soak last longer")
		}
		for at := range f.heap {
			f.heap[at] /= 1 + float64(s.o.gogc())/100
		}
		r.Parts = append(r.Parts, Part{Project: p.name, When: name, Collections: int(f.collections[len(f.collections)-1] - f.collections[0]), Heap: growthOf(f.heap, took, memoryShare, memoryLeast), Resident: growthOf(f.resident, took, residentShare, residentLeast),
			Goroutines: growthOf(f.goroutines, took, goroutineShare, goroutineLeast)})
	}
	return nil
}

// mostChecked is how many acknowledged requests the checker asks for.
const mostChecked = 5000

// settle compares budgets, and has the checker ask for what was acknowledged.
func (s *site) settle(r *Report, l *ledger) error {
	for i, p := range s.projects {
		target, err := p.service.Target(p.name, caller, "")
		if err != nil {
			return err
		}
		left, err := remaining(s.ctx, target, p.name)
		if err != nil {
			return err
		}
		one := &r.Projects[i]
		one.Rows, one.Charged = p.charged, budgetRows-left
		s.o.note("the checker asks again: %s", p.name)
		found, said, err := p.checker(l.path(p.name), mostChecked)
		if err != nil {
			return err
		}
		if found == nil {
			return fault.New(fault.Internal, "checking what was acknowledged", said, "")
		}
		one.Check = *found
		if err := p.planted(r, l); err != nil {
			return err
		}
	}
	return nil
}

// checker runs tarn soak check. found is nil where it did not come to its end.
func (p *project) checker(ledger string, most int) (found *Checked, said string, err error) {
	o := p.site.o
	cert, key := p.service.ClientFiles(caller)
	c := exec.CommandContext(p.site.ctx, filepath.Join(o.Binaries, "tarn"), "soak", "check", "--ledger", ledger, "--people", o.table(), "--address", p.service.Address,
		"--ca", p.service.CA(), "--cert", cert, "--key", key, "--most", fmt.Sprint(most))
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, "", fault.Wrap(fault.Unavailable, "running tarn soak check", err, "build all binaries into one folder: make build")
	}
	said = strings.TrimSpace(string(out))
	found = new(Checked)
	line, _, _ := strings.Cut(said, "\n")
	if _, err := fmt.Sscanf(line, checkedFormat, &found.Asked, &found.Same, &found.Changed, &found.Wrong, &found.Charged); err != nil {
		return nil, said, nil
	}
	if found.Whole() != (c.ProcessState.ExitCode() == 0) {
		return nil, said, nil
	}
	return found, said, nil
}

// planted is the control: an answer that is another in the ledger is found, and so is a
// request that was never acknowledged.
func (p *project) planted(r *Report, l *ledger) error {
	all, err := readLedger(l.path(p.name))
	if err != nil || len(all) == 0 {
		return err
	}
	last := all[len(all)-1]
	altered, unknown := last, last
	altered.Digest = digestOf([]byte("another"))
	unknown.ID = "00000000-0000-4000-8000-000000000001"
	for _, planted := range []struct {
		what  string
		line  acknowledged
		found func(*Checked) bool
	}{
		{"an answer that is another in the ledger", altered, func(c *Checked) bool { return c.Wrong == 1 && c.Charged == 0 }},
		{"a request that was never acknowledged", unknown, func(c *Checked) bool { return c.Charged > 0 }},
	} {
		line, err := json.Marshal(planted.line)
		if err != nil {
			return fault.New(fault.Internal, "planting in the ledger", "the line cannot be made", "")
		}
		path := l.path(p.name) + "-planted"
		if err := os.WriteFile(path, append(line, '\n'), 0o600); err != nil {
			return fault.Wrap(fault.Internal, "planting in the ledger", err, "")
		}
		found, said, err := p.checker(path, 0)
		if err != nil {
			return err
		}
		r.Controls = append(r.Controls, Control{Project: p.name, What: planted.what, Found: found != nil && planted.found(found), Said: said})
	}
	return nil
}
