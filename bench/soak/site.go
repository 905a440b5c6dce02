package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tarn/bench/answers"
	"tarn/bench/keyholder"
	"tarn/bench/load"
	"tarn/bench/synth"
	"tarn/bench/tokeniser"
	"tarn/keys"
	"tarn/keys/fault"
)

// Names of who takes part.
const (
	region = "region" // begins the names of tokenisers to the key holder
	runner = "runner" // begins those of who makes the truth
	caller = "etl"    // the service's client
	people = 4000
)

// studies are the projects: one whose tokens the key holder makes of numbers that it does not
// see, released as they are, and one whose token key is leased.
var studies = []struct{ name, domain, scheme, mode string }{
	{"blind", "well", keys.SchemeOblivious, "direct"},
	{"hashed", "lake", keys.SchemeKeyedHash, "none"},
}

// site is a key holder, a tokenise service for each project, since a tokeniser's certificate
// is good for one domain, and people.
type site struct {
	o        *Options
	ctx      context.Context
	holder   *keyholder.KeyHolder
	projects []*project
	requests *templates
}

func (o *Options) path(names ...string) string {
	return filepath.Join(append([]string{o.Folder}, names...)...)
}

// newSite makes it all and starts it.
func newSite(ctx context.Context, o *Options) (s *site, err error) {
	s = &site{o: o, ctx: ctx}
	for _, folder := range []string{"people", "holder"} {
		if err := os.MkdirAll(o.path(folder), 0o700); err != nil {
			return s, fault.Wrap(fault.Internal, "making a folder", err, "")
		}
	}
	if _, err := synth.Generate(ctx, synth.Config{People: people, Parties: 1, Seed: 20, Errors: synth.ErrorsNHS, Threads: 1}, o.path("people"), func(int64, int64) {}); err != nil {
		return s, err
	}
	header, rows, err := load.ReadRows(o.table(), people)
	if err != nil {
		return s, fault.Wrap(fault.Internal, "reading the people", err, "")
	}
	if s.requests, err = newTemplates(header, rows); err != nil {
		return s, err
	}
	s.holder, err = keyholder.New(ctx, keyholder.Options{Binary: filepath.Join(o.Binaries, "keyholder"), Folder: o.path("holder"), LeaseTTL: leaseTTL, Software: o.Software, Clock: o.Clock})
	if err == nil {
		err = s.holder.Start(ctx)
	}
	if err == nil {
		err = s.holder.Enrol(ctx, keyholder.Operator, s.holder.Made.Codes[keyholder.Operator])
	}
	if err == nil {
		err = s.populate()
	}
	if err != nil {
		return s, err
	}
	for _, study := range studies {
		p := &project{site: s, name: study.name, domain: study.domain, scheme: study.scheme, truths: map[uint32]*answers.Truth{}, digests: map[answerKey]string{}}
		s.projects = append(s.projects, p)
		if err := p.learn(); err != nil {
			return s, err
		}
		p.begun = p.newest
		if err := p.startService(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// leaseTTL has leases renewed some times in the shortest soak.
const leaseTTL = 30 * time.Second

func (o *Options) table() string { return o.path("people", "north.csv") }

// populate has the operator make both projects, and two tokenisers of each.
func (s *site) populate() error {
	for _, p := range studies {
		record := bytes.Replace(keyholder.Record(p.name, p.domain, p.scheme), []byte(`"mode":"none"`), fmt.Appendf(nil, `"mode":%q`, p.mode), 1)
		err := s.holder.AddDomain(s.ctx, p.domain, p.scheme)
		if err == nil {
			err = s.holder.AddProject(s.ctx, record)
		}
		for _, who := range []string{region, runner} {
			if err == nil {
				err = s.holder.AddTokeniser(s.ctx, who+"-"+p.name, p.name)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// command runs a program of a party to its end.
func (s *site) command(name string, args ...string) error {
	c := exec.CommandContext(s.ctx, filepath.Join(s.o.Binaries, name), args...)
	if said, err := c.CombinedOutput(); err != nil {
		return fault.New(fault.Internal, "running "+name+" "+args[0], strings.TrimSpace(string(said)), "build all binaries into one folder: make build")
	}
	return nil
}

// budgetRows is more than a soak uses, of which what is left can be told exactly.
const budgetRows = 1 << 40

func (p *project) startService() (err error) {
	s := p.site
	folder := s.o.path(p.name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fault.Wrap(fault.Internal, "making a folder", err, "")
	}
	p.service, err = tokeniser.New(tokeniser.Options{
		Binary: s.o.Tokeniser, Folder: folder, Credentials: s.holder.Credentials(region + "-" + p.name), KeyholderURL: s.holder.URL, KeyholderTimeout: s.o.timeout(), Metrics: true, Clock: s.o.Clock, LogLevel: "warn",
		Limits:   fmt.Sprintf("timeout = %q\nceiling_rows = %d\ncached_dates = 1000\n", s.o.timeout(), int64(budgetRows)),
		Projects: []tokeniser.Project{{File: p.file(), Clients: []string{caller}, BudgetRows: budgetRows}},
	})
	if err == nil {
		err = p.start()
	}
	if err != nil {
		return err
	}
	return p.ready()
}

func (p *project) start() error {
	return p.service.Start(p.site.ctx, "env", fmt.Sprintf("GOGC=%d", p.site.o.gogc()))
}

// readyWithin is when a service that has been started has failed to be ready.
const readyWithin = time.Minute

func (p *project) ready() error {
	ctx, cancel := context.WithTimeout(p.site.ctx, readyWithin)
	defer cancel()
	return p.service.Ready(ctx, p.name, caller)
}

func (s *site) end() (err error) {
	for _, p := range s.projects {
		if p.service != nil {
			err = errors.Join(err, p.service.Kill())
		}
	}
	if s.holder != nil {
		err = errors.Join(err, s.holder.Kill())
	}
	return err
}

// learn gets the project's record as the key holder has it now, and what a run of the
// tokeniser makes of the people with it.
func (p *project) learn() error {
	s := p.site
	as := []string{"--as", s.holder.Credentials(runner + "-" + p.name), "--keyholder", s.holder.URL}
	next := p.file() + ".next"
	if err := s.command("tokeniser", append([]string{"project", p.name, "--out", next}, as...)...); err != nil {
		return err
	}
	out := s.o.path("people", fmt.Sprintf("%s-%d.parquet", p.name, len(p.truths)+1))
	run := append([]string{"run", "--project", next, "--in", s.o.table(), "--source", "north", "--confirm-map", "--max-refused", "100%", "--state", s.o.path("people", "state"), "--out", out}, as...)
	if err := s.command("tokeniser", run...); err != nil {
		return err
	}
	t, err := answers.ReadTruth(s.ctx, out)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.truths[t.Epoch], p.newest = t, t.Epoch
	p.mu.Unlock()
	if err := os.Rename(next, p.file()); err != nil {
		return fault.Wrap(fault.Internal, "replacing the project's file", err, "")
	}
	return nil
}

func (p *project) file() string { return p.site.o.path("people", p.name+".json") }
