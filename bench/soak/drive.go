package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"tarn/bench/answers"
	"tarn/bench/load"
	"tarn/bench/measure"
	"tarn/bench/tokeniser"
)

// project is a project that is called.
type project struct {
	site    *site
	name    string
	domain  string
	scheme  string
	service *tokeniser.Tokeniser

	mu       sync.Mutex
	truths   map[uint32]*answers.Truth // by epoch
	newest   uint32                    // that there is a truth of
	begun    uint32                    // that the service answered first
	changing bool                      // its key has been replaced
	changed  time.Time                 // when the service was seen to have the new one; zero until then
	digests  map[answerKey]string
	charged  int64     // rows that were acknowledged, each request's once
	stopping bool      // its service is being stopped, or is not ready again
	stopped  time.Time // when it was ready again
}

// answerKey is what determines an answer.
type answerKey struct {
	template int
	epoch    uint32
}

// mix is how requests are mixed: every so many of them is of a thousand rows, is packed, or
// is an earlier one again.
const (
	bulkEvery   = 20
	packedEvery = 7
	againEvery  = 10
)

// connections are over how many connections each project is called.
const connections = 16

// job is a request on its way.
type job struct {
	project  *project
	template *template
	id       string
	packed   bool
	again    *acknowledged // it was answered before, so
	warms    bool          // it fills what the service keeps, and is not timed
	due      time.Time
	tries    int
}

// driver sends requests when they are due, whatever becomes of those before, and looks at
// every answer.
type driver struct {
	site   *site
	ledger *ledger

	due   chan *job
	again chan *job // that have to be sent once more
	open  sync.WaitGroup
	work  sync.WaitGroup

	mu       sync.Mutex
	counts   Counts
	wrong    []string
	straight *hdrhistogram.Histogram // of requests that were answered at once
	all      *hdrhistogram.Histogram // from when they were due to their answer, whatever came between
}

// Counts are of requests.
type Counts struct {
	Due      int64 `json:"due"`      // different requests, and earlier ones again
	Answered int64 `json:"answered"` // with their rows
	Rows     int64 `json:"rows"`     // of these
	Bulk     int64 `json:"bulk"`     // of a thousand rows
	Packed   int64 `json:"packed"`
	Again    int64 `json:"again"` // earlier ones that were sent again on purpose
	Resent   int64 `json:"resent"`
	Refused  int64 `json:"refused"`      // with 503 and Retry-After
	Changed  int64 `json:"keys_changed"` // with 409, because they had been answered under other keys
	Closed   int64 `json:"closed"`       // connections that closed before an answer
	Lost     int64 `json:"lost"`         // requests that never had their answer
	Wrong    int64 `json:"wrong"`        // answers that are not what they must be
}

func newDriver(s *site, l *ledger) *driver {
	return &driver{site: s, ledger: l, due: make(chan *job, 1<<20), again: make(chan *job, 1<<20), straight: measure.NewHistogram(), all: measure.NewHistogram()}
}

// start has workers wait for requests, until the context ends.
func (d *driver) start(ctx context.Context) {
	for i := range connections {
		d.work.Go(func() { d.serve(ctx, uint64(i)) })
	}
}

// warm sends a project every large request some times, over connections of their own, and
// returns when they are answered: caches and buffers fill, and what grows from then on grows.
func (d *driver) warm(ctx context.Context, p *project, times int) error {
	target, err := p.service.Target(p.name, caller, "")
	if err != nil {
		return err
	}
	jobs := make(chan *job)
	var work sync.WaitGroup
	for i := range d.site.o.warmers() {
		work.Go(func() {
			c := load.NewConn(target, uint64(i)+uint64(time.Now().UnixNano()))
			defer c.Close()
			for j := range jobs {
				d.send(ctx, c, j)
			}
		})
	}
	ids := load.NewConn(load.Target{}, uint64(time.Now().UnixNano()))
	large := d.site.requests.all[d.site.requests.small:]
	for n := range times * len(large) {
		d.count(func(c *Counts) { c.Due++; c.Bulk++ })
		d.open.Add(1)
		jobs <- &job{project: p, template: large[n%len(large)], id: ids.ID(), packed: n%packedEvery == 0, due: time.Now(), warms: true}
	}
	close(jobs)
	work.Wait()
	return nil
}

// load sends requests at a rate until it is enough, and returns for how long it did, when all
// have had an answer, or when those that are left have failed to get one.
func (d *driver) load(ctx context.Context, rate float64, enough <-chan struct{}) (span time.Duration) {
	random := rand.New(rand.NewPCG(20, 26))
	ids := load.NewConn(load.Target{}, uint64(time.Now().UnixNano()))
	begun := time.Now()
	for n := 0; ; n++ {
		due := begun.Add(time.Duration(float64(n) / rate * float64(time.Second)))
		select {
		case <-time.After(time.Until(due)):
			d.open.Add(1)
			d.due <- d.make(n, due, random, ids.ID())
			continue
		case <-enough:
		case <-ctx.Done():
		}
		break
	}
	span = time.Since(begun)
	all := make(chan struct{})
	go func() { d.open.Wait(); close(all) }()
	select {
	case <-all:
	case <-ctx.Done():
	case <-time.After(lateBy):
	}
	return span
}

// ended returns when the workers have ended, and counts what is lost.
func (d *driver) ended() {
	d.work.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.Lost = d.counts.Due - d.counts.Answered - d.counts.Changed
}

// lateBy is how long after the last request was due all must have had their answers.
const lateBy = time.Minute

// make makes the n-th request, of either project, in any of the forms.
func (d *driver) make(n int, due time.Time, random *rand.Rand, id string) *job {
	j := &job{project: d.site.projects[random.IntN(len(d.site.projects))], due: due, id: id, packed: n%packedEvery == 0}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.Due++
	if n%againEvery == againEvery-1 {
		if a := d.ledger.any(random.IntN); a != nil {
			j.again, j.id, j.template = a, a.ID, d.site.requests.all[a.Template]
			for _, p := range d.site.projects {
				if p.name == a.Project {
					j.project = p
				}
			}
			d.counts.Again++
			return j
		}
	}
	r := d.site.requests
	if n%bulkEvery == bulkEvery/2 {
		j.template = r.all[r.small+random.IntN(len(r.all)-r.small)]
		d.counts.Bulk++
	} else {
		j.template = r.all[random.IntN(r.small)]
	}
	if j.packed {
		d.counts.Packed++
	}
	return j
}

func (d *driver) serve(ctx context.Context, seed uint64) {
	conns := map[*project]*load.Conn{}
	for i, p := range d.site.projects {
		target, err := p.service.Target(p.name, caller, "")
		if err != nil {
			d.found("the service cannot be called: %v", err)
			return
		}
		conns[p] = load.NewConn(target, seed*16+uint64(i)+1)
		defer conns[p].Close()
	}
	for {
		select {
		case j := <-d.again:
			d.send(ctx, conns[j.project], j)
		case j := <-d.due:
			d.send(ctx, conns[j.project], j)
		case <-ctx.Done():
			return
		}
	}
}

// Waits before a request is sent again, whatever its answer asks for beyond that.
const (
	afterNothing = 100 * time.Millisecond
	afterRefusal = time.Second
)

func (d *driver) send(ctx context.Context, c *load.Conn, j *job) {
	request := &j.template.plain
	if j.packed {
		request = &j.template.packed
	}
	sent := time.Now()
	a, err := c.Do(request, j.id, answerWithin)
	j.tries++
	switch {
	case err == nil && a.Status == 200:
		if err := d.answer(j, &a, sent); err != nil {
			d.found("project %s, a request of %d rows as %s, tried %d times: %v", j.project.name, len(j.template.ids), j.template.format.MediaType(), j.tries, err)
		}
		d.open.Done()
	case err == nil && a.Status == 409 && codeOf(&a) == keysChanged && j.project.mayHaveChanged():
		d.keysChanged(j, c)
	case err == nil && a.Status == 503:
		wait, asked := retryAfter(&a)
		if excused := j.project.excused(sent); !asked || !excused {
			d.found("503 %s of project %s; Retry-After %v, excused %v", codeOf(&a), j.project.name, asked, excused)
		}
		d.count(func(c *Counts) { c.Refused++ })
		d.later(ctx, j, min(wait, afterRefusal))
	case err == nil:
		d.found("status %d %s of project %s", a.Status, codeOf(&a), j.project.name)
		d.count(func(c *Counts) { c.Answered++ }) // it is over, and told
		d.open.Done()
	case errors.Is(err, load.ErrShort):
		d.found("an answer of project %s ended before its end", j.project.name)
		d.later(ctx, j, afterNothing)
	default:
		d.count(func(c *Counts) { c.Closed++ })
		d.later(ctx, j, afterNothing)
	}
}

// later has a request sent once more, under its id.
func (d *driver) later(ctx context.Context, j *job, wait time.Duration) {
	d.count(func(c *Counts) { c.Resent++ })
	time.AfterFunc(wait, func() {
		if ctx.Err() == nil {
			d.again <- j
		}
	})
}

func retryAfter(a *load.Answer) (time.Duration, bool) {
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	return time.Duration(seconds) * time.Second, err == nil && seconds > 0
}

func (d *driver) count(f func(*Counts)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(&d.counts)
}

// mostTold is how many things that are wrong are told.
const mostTold = 20

func (d *driver) found(format string, values ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.Wrong++
	if len(d.wrong) < mostTold {
		d.wrong = append(d.wrong, fmt.Sprintf(format, values...))
	}
}

// keysChanged goes on with a request that was answered under the keys of before: an earlier
// one has had its answer, and one whose answer was lost is another request now.
func (d *driver) keysChanged(j *job, c *load.Conn) {
	d.count(func(c *Counts) { c.Changed++ })
	switch {
	case j.again != nil && j.again.Epoch == j.project.first():
		d.open.Done()
	case j.again != nil || j.tries == 1:
		d.found("a request of project %s is said to have been answered under other keys, and was not", j.project.name)
		d.open.Done()
	default:
		j.project.charge(int64(len(j.template.ids)))
		d.count(func(c *Counts) { c.Due++ })
		j.id = c.ID()
		d.again <- j
	}
}

// answer holds an answer to the truth, and keeps that it was acknowledged.
func (d *driver) answer(j *job, a *load.Answer, sent time.Time) error {
	d.count(func(c *Counts) { c.Answered++; c.Rows += int64(len(j.template.ids)) })
	epoch, err := strconv.ParseUint(a.Header.Get("Tarn-Token-Epoch"), 10, 32)
	if err != nil {
		return errors.New("it does not say of which epoch it is")
	}
	body := a.Body
	if a.Header.Get("Content-Encoding") == "gzip" {
		if body, err = answers.Unpacked(body); err != nil {
			return err
		}
	}
	digest := digestOf(body)
	if err := j.project.check(j.template, uint32(epoch), body, digest, sent); err != nil {
		return err
	}
	took := max(1, time.Since(j.due).Microseconds())
	if !j.warms {
		d.mu.Lock()
		_ = d.all.RecordValue(took) // beyond a minute it is lost
		if j.tries == 1 {
			_ = d.straight.RecordValue(took)
		}
		d.mu.Unlock()
	}
	if j.again != nil {
		if j.again.Digest != digest || j.again.Epoch != uint32(epoch) {
			return errors.New("sent again it is answered otherwise")
		}
		return nil
	}
	j.project.charge(int64(len(j.template.ids)))
	return d.ledger.keep(acknowledged{Project: j.project.name, ID: j.id, Template: j.template.number, Epoch: uint32(epoch), Digest: digest})
}

// check holds an answer to the truth of its epoch, and the epoch to the time: when the
// service has been seen to have new keys, it answers with no others. Answers that are the
// same bytes as one that was looked at are not read again.
func (p *project) check(r *template, epoch uint32, body []byte, digest string, sent time.Time) error {
	p.mu.Lock()
	t, newest, changing, changed := p.truths[epoch], p.newest, p.changing, p.changed
	known := p.digests[answerKey{r.number, epoch}]
	p.mu.Unlock()
	switch {
	case t == nil:
		return fmt.Errorf("epoch %d is none of the project's", epoch)
	case epoch != newest && !changing:
		return fmt.Errorf("it is of epoch %d, and the project's is %d", epoch, newest)
	case epoch != newest && !changed.IsZero() && sent.After(changed):
		return fmt.Errorf("it is of epoch %d after answers of epoch %d", epoch, newest)
	case known == digest:
		return nil
	}
	if err := t.Wrong(r.format, r.ids, body); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.digests[answerKey{r.number, epoch}] = digest
	return nil
}

func (p *project) charge(rows int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.charged += rows
}

func (p *project) mayHaveChanged() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changing
}

// first is the epoch that the service answered first.
func (p *project) first() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begun
}

// excused reports whether a service may have refused a request that was sent then: while its
// project's key was replaced, while it was stopped, and until it was ready again.
func (p *project) excused(sent time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changing && (p.changed.IsZero() || sent.Before(p.changed)) || p.stopping || sent.Before(p.stopped)
}
