package reid

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tarn/bench/care"
	"tarn/bench/clinic"
	"tarn/bench/idp"
	"tarn/bench/measure"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
)

// pageLimitMS is within which 99 of 100 pages have to come, in ms.
const pageLimitMS = 50.0

// Pages are asked for at this rate beside requests at theirs.
const pageRate = 50

// visited are the pages of a clinician's day, in turn; of one request where it is asked for.
var visited = []string{"/", "/ask", "/requests", "/requests/%s", "/worklists", "/limits", "/register"}

// pages measures pages beside a key holder that decides and opens at the rate: from when a
// page was due to its last byte.
func (s *suite) pages() (r *measure.Result, err error) {
	folder := filepath.Join(s.Folder, "pages")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	c, err := clinic.Open(s.ctx, clinic.Options{Folder: folder, Binary: s.Keyholder, Patients: 3 * (s.samples + 50), Doctors: connections, Software: s.Software, Clock: s.Clock})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	visitor, err := c.Visitor(s.ctx, clinic.Doctor(0), idp.AAL2)
	if err != nil {
		return nil, err
	}
	load, err := s.beside(c)
	if err != nil {
		return nil, err
	}
	defer load.end()
	first, err := load.first()
	if err != nil {
		return nil, err
	}
	n := 4 * s.samples
	m := s.atRateOf(pageRate, n, func(i int) error {
		path := visited[i%len(visited)]
		if path == "/requests/%s" {
			path = fmt.Sprintf(path, first)
		}
		return page(s.ctx, visitor, c.Console+path)
	})
	if err := errors.Join(load.end(), m.failed); err != nil {
		return nil, err
	}
	within := 1.0
	return s.measured("page", m, measure.Party{Name: "the time within which 99 of 100 pages have to come", Version: "50 ms"}, pageLimitMS, &within,
		measure.Dataset{Name: fmt.Sprintf("pages of a clinician, %d a second, beside %d requests a second, each decided and opened", pageRate, rate), Rows: int64(n)},
		map[string]any{"page_rate": pageRate, "request_rate": rate, "requests_beside": load.done()}, "from when a page was due to its last byte, over TLS, with the session's cookie")
}

// page asks for a page, and reads it.
func page(ctx context.Context, b *http.Client, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := b.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // read to its end
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fault.New(fault.Internal, "asking for a page", fmt.Sprintf("it answers with status %d", answer.StatusCode), "")
	}
	return nil
}

// load is what the key holder does beside pages.
type load struct {
	stop chan struct{}
	work sync.WaitGroup
	once sync.Once

	mu     sync.Mutex
	n      int
	id     string // of the first request
	made   chan struct{}
	failed error
}

// beside has doctors of practice A ask for patients, and open them, at the rate, until it is
// ended.
func (s *suite) beside(c *clinic.Clinic) (*load, error) {
	people, err := doctors(c, s)
	if err != nil {
		return nil, err
	}
	patients := c.Of(idp.PracticeA)
	l := &load{stop: make(chan struct{}), made: make(chan struct{})}
	l.work.Go(func() {
		defer closeAll(people)
		var asking sync.WaitGroup
		defer asking.Wait()
		begun := time.Now()
		for i := 0; ; i++ {
			select {
			case <-l.stop:
				return
			case <-time.After(time.Until(begun.Add(time.Duration(i) * time.Second / rate))):
			}
			asking.Go(func() { l.note(ask(s.ctx, people[i%len(people)], patients[i%len(patients)].Token)) })
		}
	})
	return l, nil
}

// doctors have all signed in: one person asks once a second at most.
func doctors(c *clinic.Clinic, s *suite) (people []*client.Person, err error) {
	for i := range connections {
		token, err := c.Provider.Vouch(clinic.Doctor(i), idp.AAL2)
		if err != nil {
			return people, err
		}
		path := filepath.Join(s.Folder, "pages", "doctor.jwt")
		if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
			return people, err
		}
		p, err := client.SignedIn(c.Console, c.Authority, path, s.Clock)
		if err != nil {
			return people, err
		}
		people = append(people, p)
	}
	return people, nil
}

func closeAll(people []*client.Person) {
	for _, p := range people {
		p.Close()
	}
}

// ask asks for a patient and opens them.
func ask(ctx context.Context, p *client.Person, token string) (id string, err error) {
	r, err := p.Reidentify(ctx, care.NewID(), &api.ReidentificationRequest{Project: "care", Purpose: "TREAT", Organisation: idp.PracticeA, Reason: api.Reason{Code: "care", Text: "Called back about a blood result."}, Items: []api.ReidentificationItem{{Row: 1, Token: token}}})
	if err != nil {
		return "", err
	}
	_, err = p.Open(ctx, r.ID)
	return r.ID, err
}

func (l *load) note(id string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n++; l.n == 1 {
		l.id = id
		defer close(l.made)
	}
	if l.failed == nil {
		l.failed = err
	}
}

// first is the first request, once it is made.
func (l *load) first() (string, error) {
	<-l.made
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id, l.failed
}

func (l *load) done() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// end ends it, and says whether anything was refused.
func (l *load) end() error {
	l.once.Do(func() { close(l.stop) })
	l.work.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}
