package faults

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"tarn/bench/enumerate"
	"tarn/bench/keyholder"
	"tarn/bench/load"
	"tarn/bench/tokeniser"
	"tarn/keys"
)

// cable is a TCP connection to a key holder that can be cut: it counts who tries.
type cable struct {
	Address string
	to      string
	socket  net.Listener
	cut     atomic.Bool
	tries   atomic.Int64

	mu   sync.Mutex
	open map[net.Conn]bool
}

func newCable(to string) (*cable, error) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cable{Address: socket.Addr().String(), to: to, socket: socket, open: map[net.Conn]bool{}}
	go func() {
		for {
			near, err := socket.Accept()
			if err != nil {
				return
			}
			c.tries.Add(1)
			if c.cut.Load() {
				_ = near.Close()
				continue
			}
			go c.join(near)
		}
	}()
	return c, nil
}

func (c *cable) join(near net.Conn) {
	far, err := net.Dial("tcp", c.to)
	if err != nil {
		_ = near.Close()
		return
	}
	c.mu.Lock()
	c.open[near], c.open[far] = true, true
	c.mu.Unlock()
	end := func() {
		_, _ = near.Close(), far.Close() // either may be closed already
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, near)
		delete(c.open, far)
	}
	go func() { _, _ = io.Copy(far, near); end() }()
	_, _ = io.Copy(near, far)
	end()
}

// Cut cuts it, and what goes over it.
func (c *cable) Cut() {
	c.cut.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	for one := range c.open {
		_ = one.Close()
	}
}

// Mend mends it.
func (c *cable) Mend() { c.cut.Store(false) }

// Close ends it.
func (c *cable) Close() error {
	c.Cut()
	return c.socket.Close()
}

const (
	// serviceTimeout bounds a request of the tokenise service here.
	serviceTimeout = 4 * time.Second
	// slack is what a request may take beyond it on a busy machine.
	slack = 2 * time.Second
	// recoversWithin is how soon a service must answer when its key holder does: 2 s, and
	// the wait between two tries, which is 2 s and a fifth.
	recoversWithin = 4500 * time.Millisecond
	// callsASecond is the load.
	callsASecond = 20
	// triesASecond is how often a key holder that is away may be tried: by the watch every
	// 2 s, by the project every 2 s, with the tries again of a call. Besides, a request whose
	// numbers it is to evaluate may try once.
	triesASecond = 5
)

// calls is what became of requests that were sent at a rate, whatever became of those
// before.
type calls struct {
	mu       sync.Mutex
	answered []time.Time // when they were sent
	refused  int         // with 503 and Retry-After
	other    []string
	longest  time.Duration
}

// call sends requests until the context ends: each of somebody new, so that a number that
// the key holder evaluates is one that it has not seen.
func (s *served) call(ctx context.Context) *calls {
	var c calls
	var work sync.WaitGroup
	numbers := strings.Fields(enumerate.Numbers(callsASecond * 120))[1:]
	ticker := time.NewTicker(time.Second / callsASecond)
	defer ticker.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			work.Wait()
			return &c
		case <-ticker.C:
		}
		work.Go(func() {
			conn, err := s.conn(caller, "")
			if err != nil {
				return
			}
			defer conn.Close()
			sent := time.Now()
			row := fmt.Sprintf(`{"rows":[{"unique_id":"r%d","nhs_number":%q,"family_name":"Family%d"}]}`, n, numbers[n%len(numbers)], n)
			a, err := conn.Do(&load.Request{Media: "application/json", Body: []byte(row), Rows: 1}, idOf(n), time.Minute)
			took := time.Since(sent)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.longest = max(c.longest, took)
			switch {
			case err != nil:
				c.other = append(c.other, err.Error())
			case a.Status == 200:
				c.answered = append(c.answered, sent)
			case a.Status == 503 && a.Header.Get("Retry-After") != "":
				c.refused++
			default:
				c.other = append(c.other, fmt.Sprintf("%d %s", a.Status, codeOf(a.Body)))
			}
		})
	}
}

// between counts the requests that were sent in a time and answered with 200.
func (c *calls) between(from, to time.Time) (n int, first time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, sent := range c.answered {
		if sent.After(from) && sent.Before(to) {
			if n++; first.IsZero() || sent.Before(first) {
				first = sent
			}
		}
	}
	return n, first
}

// awayFrom puts load on a service whose key holder goes away for a time, and returns what
// became of it.
func (t *Trial) awayFrom(name, scheme string, away time.Duration, goes func(k *keyholder.KeyHolder, c *cable) (back func() error, err error)) error {
	folder, err := t.sub(name)
	if err != nil {
		return err
	}
	t.together.Lock()
	k, err := t.keyHolder(keyholder.Options{Folder: folder, LeaseTTL: stalledTTL})
	t.together.Unlock()
	if err == nil {
		err = k.AddDomain(t.ctx, loadDomain, scheme)
	}
	if err == nil {
		err = k.AddProject(t.ctx, keyholder.Record(loadProject, loadDomain, scheme))
	}
	if err == nil {
		err = k.AddTokeniser(t.ctx, loadClient, loadProject)
	}
	if err != nil {
		return err
	}
	c, err := newCable(strings.TrimPrefix(k.URL, "https://"))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // nobody needs it any more
	s, err := t.service(k, name+"-service", tokeniser.Options{KeyholderURL: "https://" + c.Address, Limits: fmt.Sprintf("timeout = %q\n", serviceTimeout)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	done := make(chan *calls, 1)
	go func() { done <- s.call(ctx) }()
	time.Sleep(2 * time.Second)
	tries := c.tries.Load()
	back, err := goes(k, c)
	gone := time.Now()
	if err != nil {
		return err
	}
	time.Sleep(away)
	tries = c.tries.Load() - tries
	if err := back(); err != nil {
		return err
	}
	returned := time.Now()
	time.Sleep(recoversWithin + slack)
	cancel()
	got := <-done
	t.together.Lock()
	defer t.together.Unlock()
	before, _ := got.between(gone.Add(-2*time.Second), gone)
	closed, _ := got.between(gone.Add(closesWithin(scheme)), returned.Add(-serviceTimeout))
	after, first := got.between(returned.Add(-serviceTimeout), time.Now())
	recovered := max(0, first.Sub(returned))
	t.check(before > callsASecond/2, name+": the service answers", "%d of the requests of 2 s", before)
	t.check(closed == 0 && got.refused > 0, name+": without its key holder the service fails closed, with 503 and Retry-After", "%d answered when they could not be, %d refused", closed, got.refused)
	t.check(len(got.other) == 0, name+": nobody is answered anything else", "%d are: %.100q", len(got.other), got.other)
	t.check(got.longest <= serviceTimeout+slack, name+": nobody waits beyond the deadline", "%v of %v", got.longest, serviceTimeout)
	t.check(after > 0 && recovered <= recoversWithin, name+": it recovers by itself within 2 s and the wait between two tries", "%d answered, the first %v after the key holder was back", after, recovered)
	most := int64(away.Seconds() * triesASecond)
	if keys.Evaluated(scheme) {
		most += int64(away.Seconds() * callsASecond)
	}
	t.check(tries <= most, name+": the service tries its key holder without a storm", "%d connections in %v, of %d requests", tries, away, got.refused)
	t.figure("service_recovers_after_s", recovered.Seconds())
	t.figure("service_tries_a_second", float64(tries)/away.Seconds())
	if scheme == keys.SchemeKeyedHash {
		held, _ := got.between(gone.Add(time.Second), gone.Add(stalledTTL/4))
		t.control(held > callsASecond, name+": as long as its leases last the service needs no key holder", "%d requests of 4 s were answered", held)
	}
	return nil
}

// closesWithin is how soon a service without its key holder can answer nobody any more: one
// that has leased its keys when the leases end, another when what was asked has come.
func closesWithin(scheme string) time.Duration {
	if scheme == keys.SchemeKeyedHash {
		return stalledTTL
	}
	return time.Second / 2
}

// stalledService is scenario 19 for the tokenise service.
func stalledService(t *Trial) error {
	stopped := func(k *keyholder.KeyHolder, _ *cable) (func() error, error) {
		return func() error { return k.Process.Signal(syscall.SIGCONT) }, k.Process.Signal(syscall.SIGSTOP)
	}
	cut := func(_ *keyholder.KeyHolder, c *cable) (func() error, error) {
		c.Cut()
		return func() error { c.Mend(); return nil }, nil
	}
	t.note("services without their key holder")
	var group errgroup.Group
	for _, part := range []struct {
		name, scheme string
		away         time.Duration
		goes         func(*keyholder.KeyHolder, *cable) (func() error, error)
	}{
		{"a service that leases, stalled", keys.SchemeKeyedHash, stalledTTL + 8*time.Second, stopped},
		{"a service that leases, cut off", keys.SchemeKeyedHash, stalledTTL + 8*time.Second, cut},
		{"a service that asks, stalled", keys.SchemeOblivious, 12 * time.Second, stopped},
		{"a service that asks, cut off", keys.SchemeOblivious, 12 * time.Second, cut},
	} {
		group.Go(func() error { return t.awayFrom(part.name, part.scheme, part.away, part.goes) })
	}
	return group.Wait()
}
