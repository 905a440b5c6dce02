// Package reid measures how long whoever asks for a patient waits: for the decision, and
// for the opening. Requests come at a rate that does not wait for answers. Beside them
// stand what nobody can be faster than: the 300 ms before which no answer leaves, the
// syncs of store and log, and the witness.
package reid

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tarn/bench/care"
	"tarn/bench/keyholder"
	"tarn/bench/measure"
	"tarn/keys/api"
	"tarn/keys/client"
)

// Suite is the suite's name.
const Suite = "reid"

// Options are what the suite is given.
type Options struct {
	Folder             string
	Full               bool
	Keyholder, Auditor string // programs
	Software           string
	Clock              func() time.Time
	Progress           func(string)
}

// floorMS is the time before which no answer leaves, in ms: it is not ours to beat.
const floorMS = 300.0

// rate is how many requests come in a second: a clinician's click each, of a region of
// several million people. connections are how many clinicians ask over and over.
const (
	rate        = 20
	connections = 64
)

type suite struct {
	Options
	ctx     context.Context
	site    *care.Site
	asked   int // patients that were asked for
	people  []*client.Person
	samples int
}

// Run measures all cases. With an error come the results before it.
func Run(ctx context.Context, o Options) (results []*measure.Result, err error) {
	s := &suite{Options: o, ctx: ctx, samples: 300}
	if o.Full {
		s.samples = 2000
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, witness := range []bool{false, true} {
		if err := s.begin(witness); err != nil {
			return results, err
		}
		for _, one := range []struct {
			name string
			run  func(string) (*measure.Result, error)
		}{{"decide", s.decide}, {"open", s.open}} {
			name := one.name
			if witness {
				name += "-witnessed"
			}
			o.Progress(name)
			r, err := one.run(name)
			if err != nil {
				return results, err
			}
			results = append(results, r)
		}
		if err := s.close(); err != nil {
			return results, err
		}
	}
	o.Progress("page")
	r, err := s.pages()
	if err != nil {
		return results, err
	}
	return append(results, r), nil
}

// begin makes a site with patients who are asked for once each.
func (s *suite) begin(witness bool) (err error) {
	folder := filepath.Join(s.Folder, fmt.Sprintf("witness-%t", witness))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	s.asked = 0
	s.site, err = care.Begin(s.ctx, care.Options{
		Patients:  2*s.samples + 50,
		Keyholder: keyholder.Options{Binary: s.Keyholder, Folder: folder, LogLevel: "error", Software: s.Software, Clock: s.Clock},
	})
	if err != nil || !witness {
		return errors.Join(err, s.signIn())
	}
	w, err := keyholder.StartWitness(s.ctx, s.Auditor, folder, s.site.Log(1))
	if err != nil {
		return err
	}
	s.site.WitnessURL, s.site.WitnessKey = w.URL, w.Key
	return errors.Join(s.site.Stop(), s.site.Configure(), s.site.Start(s.ctx), s.signIn())
}

// signIn has clinicians sign in.
func (s *suite) signIn() error {
	if s.site == nil {
		return nil
	}
	for i := range connections {
		p, err := s.site.SignedIn(care.Person{Subject: fmt.Sprintf("gp-%d", i), Organisation: care.Practice, Role: "gp"})
		if err != nil {
			return err
		}
		s.people = append(s.people, p)
		if _, err := p.Me(s.ctx); err != nil { // so that the connection is there
			return err
		}
	}
	return nil
}

func (s *suite) close() error {
	for _, p := range s.people {
		p.Close()
	}
	s.people = nil
	if s.site == nil {
		return nil
	}
	site := s.site
	s.site = nil
	return site.Close()
}

// measured is what came of requests at a rate.
type measured struct {
	latency *hdrhistogram.Histogram
	right   int64 // as expected
	all     int64
	failed  error // the first
}

// atRate calls f n times, at the rate, without waiting for it. A latency is from the moment
// at which a call was due.
func (s *suite) atRate(n int, f func(i int) error) *measured { return s.atRateOf(rate, n, f) }

// atRateOf is atRate of so many a second.
func (s *suite) atRateOf(perSecond time.Duration, n int, f func(i int) error) *measured {
	m := &measured{latency: measure.NewHistogram()}
	var mu sync.Mutex
	var work sync.WaitGroup
	begun := time.Now()
	for i := range n {
		due := begun.Add(time.Duration(i) * time.Second / perSecond)
		time.Sleep(time.Until(due))
		work.Go(func() {
			err := f(i)
			took := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			m.all++
			if err == nil {
				m.right++
			} else if m.failed == nil {
				m.failed = err
			}
			_ = m.latency.RecordValue(max(1, took.Microseconds())) // beyond a minute it has failed
		})
	}
	work.Wait()
	return m
}

// ask asks for the next patient.
func (s *suite) ask(i, patient int) (*api.Reidentification, error) {
	return s.people[i%connections].Reidentify(s.ctx, care.NewID(), &api.ReidentificationRequest{
		Project: care.Project, Purpose: "TREAT", Organisation: care.Practice, Reason: api.Reason{Code: "care", Text: "Called back about a blood result."},
		Items: []api.ReidentificationItem{{Row: 1, Token: s.site.Patients[patient].Token}},
	})
}

// decide measures the decision.
func (s *suite) decide(name string) (*measure.Result, error) {
	first := s.asked
	s.asked += s.samples
	m := s.atRate(s.samples, func(i int) error {
		r, err := s.ask(i, first+i)
		if err == nil && r.State != "ready" {
			err = errors.New(r.Decision.Why)
		}
		return err
	})
	return s.result(name, m, "from when a request for direct care was due to its decision: the region asked over mutual TLS and its signature verified, three entries in the log, durably")
}

// open measures the opening of what was decided.
func (s *suite) open(name string) (*measure.Result, error) {
	first := s.asked
	s.asked += s.samples
	ready := make([]*api.Reidentification, s.samples)
	if m := s.atRate(s.samples, func(i int) (err error) { ready[i], err = s.ask(i, first+i); return err }); m.failed != nil {
		return nil, m.failed
	}
	m := s.atRate(s.samples, func(i int) error {
		opened, err := s.people[i%connections].Open(s.ctx, ready[i].ID)
		if err == nil && (opened.Items[0].Identity == nil || opened.Items[0].Identity.NHSNumber != s.site.Patients[first+i].Number) {
			err = errors.New("it opened to somebody else, or to nobody")
		}
		return err
	})
	return s.result(name, m, "from when an opening was due to the number: the region asked anew, the intent in the log and under a signed checkpoint (made every 250 ms), opened, what came of it in the log, with the receipt")
}

func (s *suite) result(name string, m *measured, notes string) (*measure.Result, error) {
	return s.measured(name, m, measure.Party{Name: "the time before which no answer leaves", Version: "300 ms"}, floorMS, nil,
		measure.Dataset{Name: fmt.Sprintf("requests for one patient each, %d a second", rate), Rows: int64(s.samples)}, map[string]any{"rate": rate, "clinicians": connections}, notes)
}

// measured is what came of something at a rate, beside its limit.
func (s *suite) measured(name string, m *measured, peer measure.Party, limit float64, target *float64, data measure.Dataset, parameters map[string]any, notes string) (*measure.Result, error) {
	if m.failed != nil {
		return nil, fmt.Errorf("%s: %w", name, m.failed)
	}
	floor, err := measure.SyncTimes(s.Folder)
	if err != nil {
		return nil, err
	}
	parameters["sync_p50_ms"], parameters["sync_p99_ms"] = measure.MS(floor, 50), measure.MS(floor, 99)
	c := measure.Case{
		Suite: Suite, Name: name, SubjectVersion: s.Software, Unit: "ms", Dataset: data,
		Subject:    func(context.Context) (float64, error) { return measure.MS(m.latency, 99), nil },
		Peer:       func(context.Context) (float64, error) { return limit, nil },
		PeerParty:  peer,
		Target:     target,
		Parameters: parameters,
		Check:      func(context.Context) (int64, bool, error) { return m.all, m.right == m.all, nil },
		Notes:      notes + "; p99, open loop",
	}
	r, err := c.Run(s.ctx, 1, s.Software, s.Clock)
	if r != nil {
		r.Load, r.LatencyMS = "open-loop", measure.LatencyOf(m.latency)
	}
	return r, err
}
