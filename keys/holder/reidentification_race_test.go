package holder_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/holder"
	"tarn/keys/holder/internal/requests"
	"tarn/keys/reidentify"
)

// outcomes are what the log says came of openings.
func (s *reid) outcomes() (all []string) {
	for _, leaf := range s.leaves() {
		if leaf.Kind == audit.KindReidOutcome {
			all = append(all, leaf.Outcome)
		}
	}
	return all
}

// TestWhoComesSecondEndsNothing: an opening that is under way stays this process's, though
// another call that passed the first look with it was refused: it has one outcome.
func TestWhoComesSecondEndsNothing(t *testing.T) {
	var asked sync.WaitGroup
	asked.Add(2)
	consumed, refused := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	s := newReid(t, func(o *holder.Options) {
		o.Reached = func(step requests.Step) {
			switch step {
			case requests.StepAsked:
				asked.Done()
				asked.Wait()
			case requests.StepConsumed:
				if first.CompareAndSwap(false, true) {
					close(consumed)
					<-refused
				}
			}
		}
	})
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	gp := s.as("gp/1")
	r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
	statuses := make(chan int, 2)
	for range 2 {
		go func() {
			status, _ := gp.call("POST", "/v1/reidentifications/"+r.ID+"/open", nil)
			statuses <- status
		}()
	}
	<-consumed
	if status := <-statuses; status != http.StatusGone {
		t.Fatalf("the second is answered %d", status)
	}
	if err := s.holder.LookAfterRequests(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(refused)
	if status := <-statuses; status != http.StatusOK {
		t.Fatalf("the first is answered %d", status)
	}
	if all := s.outcomes(); len(all) != 1 || all[0] != "released" {
		t.Errorf("%v", all)
	}
}

// TestEmergenciesAtOnceAreBounded: of many emergencies at once no more are opened without
// the witness than of many one after another.
func TestEmergenciesAtOnceAreBounded(t *testing.T) {
	duty := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer duty.Close()
	s := newReid(t, func(o *holder.Options) { o.AlertsURL = duty.URL })
	tokens := s.patients(10)
	away := s.witnessed()
	away.Store(true)
	var opened atomic.Int64
	var work, ready sync.WaitGroup
	ready.Add(len(tokens))
	for i, token := range tokens {
		work.Go(func() {
			doctor := s.as("doctor#" + strconv.Itoa(i) + "/1")
			e := must[api.Reidentification](doctor, "POST", "/v1/reidentifications", asks(token, "ETREAT", "RX1"))
			ready.Done()
			ready.Wait()
			if status, _ := doctor.call("POST", "/v1/reidentifications/"+e.ID+"/open", nil); status == http.StatusOK {
				opened.Add(1)
			}
		})
	}
	work.Wait()
	if n := opened.Load(); n != 3 {
		t.Errorf("%d emergencies were opened without the witness, want 3", n)
	}
}

// TestTheLogFailsWhileOpening: an opening that could not be brought into the log has opened
// nothing, and is given back when the log can be written.
func TestTheLogFailsWhileOpening(t *testing.T) {
	var fails atomic.Pointer[func()]
	s := newReid(t, func(o *holder.Options) {
		o.Reached = func(step requests.Step) {
			if f := fails.Load(); f != nil && step == requests.StepAsked {
				(*f)()
			}
		}
	})
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	gp := s.as("gp/1")
	r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
	tile := filepath.Join(s.logFolder(1), "tile")
	fail := func() {
		if err := errors.Join(os.Rename(tile, tile+".away"), os.WriteFile(tile, nil, 0o600)); err != nil {
			t.Error(err)
		}
	}
	fails.Store(&fail)
	gp.refused(api.CodeLogUnavailable, "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
	fails.Store(nil)
	if err := errors.Join(os.Remove(tile), os.Rename(tile+".away", tile)); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if err := s.holder.LookAfterRequests(t.Context()); err == nil {
			break
		} else if time.Now().After(until) {
			t.Fatal(err)
		}
	}
	if again := must[api.OpenedItems](gp, "POST", "/v1/reidentifications/"+r.ID+"/open", nil); again.Items[0].Identity == nil {
		t.Errorf("%+v", again)
	}
	if all := s.outcomes(); len(all) != 2 || all[0] != "failed" || all[1] != "released" {
		t.Errorf("%v", all)
	}
}

// TestLongListsAreBounded: who asks for long lists, refused or not, has to wait sooner than
// who asks often, and is told how long; others do not wait.
func TestLongListsAreBounded(t *testing.T) {
	s := newReid(t, func(*holder.Options) {})
	long := asks("no token", "TREAT", "Y12345")
	for range reidentify.MaxItems - 1 {
		long.Items = append(long.Items, long.Items[0])
	}
	gp := s.as("gp/1")
	for range 10 {
		gp.refused(api.CodeMalformed, "POST", "/v1/reidentifications", long)
	}
	gp.refused(api.CodeTooManyTries, "POST", "/v1/reidentifications", long)
	if s.retryAfter(gp, long) == "" {
		t.Error("it is not said when to come again")
	}
	s.as("gp2/1").refused(api.CodeMalformed, "POST", "/v1/reidentifications", long)
}

// retryAfter asks, and returns when to come again.
func (s *reid) retryAfter(c *caller, body any) string {
	s.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), "POST", "https://"+s.people+"/v1/reidentifications", bytes.NewReader(b))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + c.bearer, "Content-Type": "application/json", "X-Request-ID": uuid.NewString()} {
		request.Header.Set(name, value)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.Header.Get("Retry-After")
}
