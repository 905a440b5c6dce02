package cmd_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
)

// sent is a request that a client of the region sends, and what came back.
type sent struct {
	id     string
	body   string
	answer []byte // nil where none came
	rows   int
}

// send sends rows. Without an error they were answered.
func (r *region) send(id, body string) ([]byte, error) {
	request, err := http.NewRequest("POST", "https://"+r.address+"/v1/projects/"+regionProject+"/tokenise?return=token", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	request.Header.Set("X-Request-ID", id)
	response, err := r.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", response.StatusCode, b)
	}
	return b, err
}

// TestRegionThatIsKilled, with kill -9 and under load, knows after its start each request
// that it had answered: it answers it the same, and charges it no more. Nothing that was
// charged is given back, and no more is lost than what each account is kept ahead.
func TestRegionThatIsKilled(t *testing.T) {
	r := newRegion(t)
	const rounds, callers, kept = 3, 8, 1000
	known, acknowledged := []*sent{}, int64(0)
	for round := range rounds {
		var mu sync.Mutex
		var wait sync.WaitGroup
		inFlight, enough := int64(0), make(chan struct{})
		once := sync.OnceFunc(func() { close(enough) })
		for caller := range callers {
			wait.Go(func() {
				for n := 0; ; n++ {
					x := &sent{id: uuid.NewString(), rows: 1 + n%20}
					for i := range x.rows {
						x.body += fmt.Sprintf("{\"unique_id\":\"%d-%d-%d-%d\",\"nhs_number\":\"9990000018\"}\n", round, caller, n, i)
					}
					answer, err := r.send(x.id, x.body)
					mu.Lock()
					if err != nil {
						inFlight += int64(x.rows)
						mu.Unlock()
						return
					}
					x.answer = answer
					known, acknowledged = append(known, x), acknowledged+int64(x.rows)
					if len(known) >= 200*(round+1) {
						once()
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		must(t, r.command.Process.Kill())
		<-r.ended
		wait.Wait()
		r.http.CloseIdleConnections()
		r.start()
		charged := r.charged()
		if charged < acknowledged || charged > acknowledged+inFlight+int64(round+1)*(kept+200) {
			t.Fatalf("round %d: %d rows are charged, %d were answered and %d were under way", round, charged, acknowledged, inFlight)
		}
		for _, x := range known {
			again, err := r.send(x.id, x.body)
			if err != nil || !bytes.Equal(again, x.answer) || bytes.Count(again, []byte("\n")) != x.rows {
				t.Fatalf("round %d: a request that was answered: %v, %d bytes and not %d", round, err, len(again), len(x.answer))
			}
		}
		if after := r.charged(); after != charged {
			t.Fatalf("round %d: requests that were answered are charged again: %d and %d rows", round, charged, after)
		}
		// Control: one with another body is not known.
		if _, err := r.send(known[0].id, known[1].body); err == nil || !strings.Contains(err.Error(), "request_id_reused") {
			t.Fatalf("control: %v", err)
		}
	}
	t.Logf("%d requests with %d rows were answered over %d kills; %d rows charged", len(known), acknowledged, rounds, r.charged())
}
