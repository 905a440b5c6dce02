package holder_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
				strangers[i%len(strangers)].call("POST", "/v1/reidentifications", nil)
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
