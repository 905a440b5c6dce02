package holder_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/witness"
	"tarn/keys/audit/witness/witnesstest"
	"tarn/keys/holder"
)

// witnessed has the site's log witnessed, from its next start on, by one that can be away.
func (s *reid) witnessed() (away *atomic.Bool) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.options.Dir, "log", "1", "log.vkey"))
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := checkpoint.Verifier(string(text))
	if err != nil {
		s.t.Fatal(err)
	}
	w := witnesstest.New(s.t, "witness.example")
	service, err := witness.New(s.t.TempDir(), w.Signer, w.Verifier, []note.Verifier{key})
	if err != nil {
		s.t.Fatal(err)
	}
	away = new(atomic.Bool)
	handler := service.Handler(slog.New(slog.DiscardHandler))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if away.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(rw, r)
	}))
	s.t.Cleanup(server.Close)
	certificate := s.ann.certificate()
	s.stop()
	s.options.WitnessURL, s.options.WitnessKey = server.URL, w.Public
	s.start()
	s.unseal()
	s.ann = s.with(&certificate)
	return away
}

// TestWitnessAway: what the witness has not signed is not opened, and can be opened when it
// has; an emergency does not wait, three times.
func TestWitnessAway(t *testing.T) {
	t.Parallel()
	duty := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer duty.Close()
	s := newReid(t, func(o *holder.Options) { o.AlertsURL = duty.URL })
	tokens := s.patients(6)
	s.region.registers(tokens[0], "Y12345")
	away := s.witnessed()
	gp := s.as("gp/1")
	r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(tokens[0], "TREAT", "Y12345"))
	away.Store(true)
	gp.refused(api.CodeWitness, "POST", "/v1/reidentifications/"+r.ID+"/open", nil)
	if again := must[api.Reidentification](gp, "GET", "/v1/reidentifications/"+r.ID, nil); again.State != "ready" {
		t.Errorf("%+v", again)
	}
	// Emergencies, of people who have no other outstanding.
	opened := 0
	for i := range 5 {
		doctor := s.as([]string{"doctor#1/1", "doctor#2/1", "doctor#3/1", "doctor#4/1", "doctor#5/1"}[i])
		e := must[api.Reidentification](doctor, "POST", "/v1/reidentifications", asks(tokens[i+1], "ETREAT", "RX1"))
		status, b := doctor.call("POST", "/v1/reidentifications/"+e.ID+"/open", nil)
		switch status {
		case http.StatusOK:
			opened++
		case http.StatusServiceUnavailable:
		default:
			t.Errorf("%d %s", status, b)
		}
	}
	if opened != 3 {
		t.Errorf("%d emergencies were opened without the witness, want 3", opened)
	}
	away.Store(false)
	if o := must[api.OpenedItems](gp, "POST", "/v1/reidentifications/"+r.ID+"/open", nil); o.Items[0].Identity == nil {
		t.Errorf("%+v", o)
	}
	failed, unwitnessed := 0, 0
	for _, leaf := range s.leaves() {
		if leaf.Kind == audit.KindReidOutcome && leaf.Outcome == "failed" && leaf.Rule == string(api.CodeWitness) {
			failed++
		}
		if leaf.Unwitnessed {
			unwitnessed++
		}
	}
	if failed != 3 || unwitnessed != 3 {
		t.Errorf("%d were given back, %d are marked as not witnessed", failed, unwitnessed)
	}
}
