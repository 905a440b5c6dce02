package holder_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tarn/keys/holder"
)

// TestPeopleDoNotStarveTokenisers: strangers who wait for the floor of 300 ms, more of them
// than there are places, keep no program from being answered, and nobody who has signed in.
func TestPeopleDoNotStarveTokenisers(t *testing.T) {
	s := newReid(t, func(*holder.Options) {})
	var strangers []*caller
	for range 4 { // a connection takes 250 requests at once
		strangers = append(strangers, s.as("nobody/1"))
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
