package holder_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"tarn/keys/holder"
)

// TestPeopleDoNotStarveTokenisers: people who wait for the floor of 300 ms, more of them
// than programs have places, keep no program from being answered, and nobody else.
func TestPeopleDoNotStarveTokenisers(t *testing.T) {
	s := newReid(t, func(*holder.Options) {})
	var strangers []*caller
	for i := range 4 { // a connection takes 250 requests at once
		strangers = append(strangers, s.as(fmt.Sprintf("gp#%d/1", i)))
	}
	gp := s.as("gp/1")
	var over atomic.Bool
	var group sync.WaitGroup
	for i := range 800 {
		group.Go(func() {
			for !over.Load() {
				press(t, strangers[i%len(strangers)])
			}
		})
	}
	time.Sleep(500 * time.Millisecond) // all of them are at it
	for range 30 {
		if status, body := s.north.call("GET", "/v1/domains/pond", nil); status != http.StatusOK {
			t.Errorf("a tokeniser is answered %d %s", status, body)
		}
		if status, body := gp.call("GET", "/v1/me", nil); status != http.StatusOK {
			t.Errorf("somebody who has signed in is answered %d %s", status, body)
		}
	}
	over.Store(true)
	group.Wait()
}

// press asks for what is refused, whatever comes of it: on a busy machine connections end.
func press(t *testing.T, c *caller) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+c.at+"/v1/reidentifications", nil)
	if err != nil {
		t.Error(err)
		return
	}
	request.Header.Set("Authorization", "Bearer "+c.bearer)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-ID", uuid.NewString())
	answer, err := c.http.Do(request)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
}
