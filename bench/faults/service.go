package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"tarn/bench/keyholder"
	"tarn/bench/load"
	"tarn/bench/tokeniser"
	"tarn/keys/fault"
)

// Scenarios that have a part of the key holder's and a part of the tokenise service's.
func both(holder, service func(*Trial) error) func(*Trial) error {
	return func(t *Trial) error {
		if err := holder(t); err != nil {
			return err
		}
		return service(t)
	}
}

// caller is who calls the tokenise service.
const caller = "etl"

// served is a tokenise service of one project.
type served struct {
	t *Trial
	*tokeniser.Tokeniser
	project string // its name
}

// service makes a tokenise service of the load's project, with the keys of a key holder that
// runs and has it. It is gone when the scenario has ended.
func (t *Trial) service(k *keyholder.KeyHolder, name string, o tokeniser.Options) (*served, error) {
	folder, err := t.sub(name)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "project.json")
	if err := t.succeed("tokeniser", "project", loadProject, "--as", k.Credentials(loadClient), "--keyholder", k.URL, "--out", file); err != nil {
		return nil, err
	}
	o.Credentials = k.Credentials(loadClient)
	if o.KeyholderURL == "" {
		o.KeyholderURL = k.URL
	}
	return t.newService(folder, loadProject, tokeniser.Project{File: file}, o)
}

// trialService makes a tokenise service with keys of a file, which needs no key holder.
func (t *Trial) trialService(name string, o tokeniser.Options) (*served, error) {
	folder, err := t.sub(name)
	if err != nil {
		return nil, err
	}
	made := filepath.Join(folder, "people")
	if err := t.succeed("tarn", "synth", "--people", "10", "--parties", "1", "--overlap", "0", "--seed", "9", "--keys", "--out", made); err != nil {
		return nil, err
	}
	return t.newService(folder, "synth-9", tokeniser.Project{File: filepath.Join(made, "project.json"), KeyFile: filepath.Join(made, "keys.json")}, o)
}

func (t *Trial) newService(folder, project string, p tokeniser.Project, o tokeniser.Options) (*served, error) {
	o.Binary, o.Folder, o.Clock, o.Metrics = t.binary("tokeniser"), folder, t.Clock, true
	if len(o.Clients) == 0 {
		o.Clients = []string{caller}
	}
	for _, one := range o.Projects { // the caller's budget
		p.BudgetRows, p.BudgetPeriod = one.BudgetRows, one.BudgetPeriod
	}
	if p.BudgetRows == 0 {
		p.BudgetRows = plentyRows
	}
	p.Clients = o.Clients
	o.Projects = []tokeniser.Project{p}
	if !strings.Contains(o.Limits, "cached_dates") {
		o.Limits += "cached_dates = 100\n"
	}
	o.Limits += fmt.Sprintf("ceiling_rows = %d\n", int64(plentyRows))
	s := &served{t: t, project: project}
	var err error
	if s.Tokeniser, err = tokeniser.New(o); err != nil {
		return nil, err
	}
	t.together.Lock()
	t.later(s.Kill)
	t.together.Unlock()
	return s, s.up()
}

// plentyRows is a budget that nothing here uses up.
const plentyRows = 1 << 40

// up starts the service where it was, and returns when it answers for its project.
func (s *served) up(before ...string) error {
	if s.Address != "" {
		if err := s.Configure(); err != nil {
			return err
		}
	}
	if err := s.Start(s.t.ctx, before...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.t.ctx, time.Minute)
	defer cancel()
	return s.Ready(ctx, s.project, s.Clients[0])
}

// conn is a connection of a client's to the tokenise route.
func (s *served) conn(client, query string) (*load.Conn, error) {
	target, err := s.Target(s.project, client, query)
	return load.NewConn(target, uint64(time.Now().UnixNano())), err
}

// get asks for a document.
func (s *served) get(path string) (body []byte, status int, err error) {
	target, err := s.Target(s.project, s.Clients[0], "")
	if err != nil {
		return nil, 0, err
	}
	return load.Get(s.t.ctx, target, path)
}

// remaining is how many rows of a client's budget are left.
func (s *served) remaining(client string) (int64, error) {
	page, err := s.MetricsPage(s.t.ctx)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "tarn_budget_remaining_rows{") && strings.Contains(line, fmt.Sprintf("client=%q", client)) {
			var left float64
			_, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &left)
			return int64(left), err
		}
	}
	return 0, fault.New(fault.Internal, "reading the service's metrics", "the client has no budget there", "")
}

// person is a row of the n-th of people who do not exist.
func person(n int) string {
	return fmt.Sprintf(`{"unique_id":"r%d","given_name":"Given%d","family_name":"Family%d","date_of_birth":"19%02d-%02d-%02d","postcode":"LS%d 1AA"}`, n, n, n, 40+n%50, 1+n%12, 1+n%28, 1+n%9)
}

// one is a request of one row.
func one(n int) *load.Request {
	return &load.Request{Media: "application/json", Body: []byte(`{"rows":[` + person(n) + `]}`), Rows: 1}
}

// idOf is the request id of the n-th request.
func idOf(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

// fullRegion is scenario 4 for the store of a region.
func fullRegion(t *Trial) error {
	stores, err := t.disk("region-store", diskSize)
	if err != nil {
		return err
	}
	s, err := t.trialService("region", tokeniser.Options{Store: filepath.Join(stores.Path, "region")})
	if err != nil {
		return err
	}
	answers := map[int][]byte{}
	c, err := s.conn(caller, "")
	if err != nil {
		return err
	}
	defer c.Close()
	n := 0
	ask := func(n int) (*load.Answer, error) {
		a, err := c.Do(one(n), idOf(n), 10*time.Second)
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, s.Process.Said())
		}
		if a.Status == 200 && answers[n] == nil {
			answers[n] = bytes.Clone(a.Body)
		}
		return &a, nil
	}
	more := func() (*load.Answer, error) { n++; return ask(n) }
	for range t.times(200, 2000) {
		if _, err := more(); err != nil {
			return err
		}
	}
	before := len(answers)
	t.check(before == n, "a region: with room every request is answered", "%d of %d", before, n)
	t.note("the region's disk fills")
	empty, err := stores.Fill()
	if err != nil {
		return err
	}
	_, late, err := until(fullWithin, func() (bool, error) {
		a, err := more()
		return err == nil && a.Status == 507, err
	})
	if err != nil {
		return err
	}
	t.check(!late, "a region: on a full disk rows are refused with 507", "%s", s.Process.Said())
	for i := range t.times(10, 100) {
		a, err := more()
		if err != nil {
			return err
		}
		t.check(a.Status == 507 && a.Header.Get("Retry-After") != "", "a region: on a full disk rows are refused with 507", "status %d, Retry-After %q", a.Status, a.Header.Get("Retry-After"))
		known := 1 + i%before
		if a, err = ask(known); err != nil {
			return err
		}
		t.check(a.Status == 200 && bytes.Equal(a.Body, answers[known]), "a region: on a full disk what was answered is answered again", "status %d", a.Status)
		_, status, err := s.get("/v1/projects/" + s.project)
		t.check(err == nil && status == 200, "a region: on a full disk it says what it serves", "status %d%s", status, wrong(err))
	}
	t.note("there is room again")
	if err := empty(); err != nil {
		return err
	}
	took, late, err := until(fullWithin, func() (bool, error) {
		a, err := more()
		return err == nil && a.Status == 200, err
	})
	if err != nil {
		return err
	}
	t.check(!late && !s.Process.HasEnded(), "a region: with room again it goes on by itself", "%s", s.Process.Said())
	t.figure("region_goes_on_after_s", took.Seconds())
	if err := s.Kill(); err != nil {
		return err
	}
	c.Close()
	if err := s.up(); err != nil {
		return err
	}
	if err := s.same(answers, c); err != nil {
		return err
	}
	if err := s.Kill(); err != nil {
		return err
	}
	return t.heedlessRegion()
}

// same checks that requests that were answered are answered as they were, and charged
// nothing.
func (s *served) same(answers map[int][]byte, c *load.Conn) error {
	before, err := s.remaining(caller)
	if err != nil {
		return err
	}
	other := 0
	for n, body := range answers {
		a, err := c.Do(one(n), idOf(n), 10*time.Second)
		if err != nil {
			return err
		}
		if a.Status != 200 || !bytes.Equal(a.Body, body) {
			other++
		}
	}
	after, err := s.remaining(caller)
	if err != nil {
		return err
	}
	s.t.check(other == 0 && before == after, "a region: after a kill every request is known and answered as it was", "%d of %d are not, %d rows were charged", other, len(answers), before-after)
	// Control: one that was never asked is charged.
	if _, err := c.Do(one(1<<40), idOf(1<<40), 10*time.Second); err != nil {
		return err
	}
	charged, err := s.remaining(caller)
	s.t.control(charged == after-1, "a region: a request that was never acknowledged is charged", "%d rows", after-charged)
	return err
}

// heedlessRegion is the control: a service that is told that there is space writes until its
// store fails.
func (t *Trial) heedlessRegion() error {
	if err := need("strace"); err != nil {
		return err
	}
	stores, err := t.disk("heedless-region-store", diskSize)
	if err != nil {
		return err
	}
	s, err := t.trialService("heedless-region", tokeniser.Options{Store: filepath.Join(stores.Path, "region")})
	if err != nil {
		return err
	}
	if err := s.Stop(); err != nil {
		return err
	}
	t.note("control: a region that is heedless of free space")
	if err := s.up(traced("/dev/null", "-e", "trace=statfs", "-e", "inject=statfs:poke_exit=@arg2="+plenty())...); err != nil {
		return err
	}
	empty, err := stores.Fill()
	if err != nil {
		return err
	}
	c, err := s.conn(caller, "")
	if err != nil {
		return err
	}
	defer c.Close()
	for begun, n := time.Now(), 0; time.Since(begun) < 2*fullWithin && !s.Process.HasEnded(); n++ {
		if _, err := c.Do(one(n), idOf(n), 10*time.Second); err != nil {
			select {
			case <-s.Process.Ended():
			case <-time.After(2 * time.Second):
			}
		}
	}
	t.control(s.Process.HasEnded(), "a region: heedless of free space it does not live", "%.200q", s.Process.Said())
	return errors.Join(s.Kill(), empty())
}
