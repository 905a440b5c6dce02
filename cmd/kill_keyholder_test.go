package cmd_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tarn/keys/api"
)

// killRounds is how often the key holder is killed: twenty times in full.
func killRounds() int {
	if full {
		return 20
	}
	return 4
}

// TestKilledKeyholderKeepsWhatItAcknowledged is scenario 1 of the reliability
// tests: the key holder is killed while callers change it, and comes back with
// every change that was acknowledged, whole, each time.
func TestKilledKeyholderKeepsWhatItAcknowledged(t *testing.T) {
	s := newKeyholder(t)
	ledger := &ledger{path: filepath.Join(t.TempDir(), "acknowledged")}
	ready := time.Duration(0)
	for round := range killRounds() {
		begun := time.Now()
		s.start()
		s.ready()
		ready = max(ready, time.Since(begun))
		if missing := s.missing(ledger.read(t)); len(missing) > 0 {
			t.Fatalf("round %d: %d of what was acknowledged is not there: %v", round, len(missing), missing)
		}
		s.load(round, ledger, func() {
			time.Sleep(300*time.Millisecond + rand.N(1500*time.Millisecond))
			s.kill()
		})
	}
	s.start()
	s.ready()
	acknowledged := ledger.read(t)
	if missing := s.missing(acknowledged); len(missing) > 0 {
		t.Fatalf("at the end %d of what was acknowledged is not there: %v", len(missing), missing)
	}
	// Control: what was never acknowledged is missed.
	if missing := s.missing(append(acknowledged, "planted")); !slices.Equal(missing, []string{"planted"}) {
		t.Errorf("a planted loss is not found: %v", missing)
	}
	if len(acknowledged) < 10*killRounds() {
		t.Errorf("only %d changes were acknowledged: there was no load", len(acknowledged))
	}
	s.kill()
	if limit := 5 * time.Second; ready > limit {
		t.Errorf("ready after %v, more than %v", ready, limit)
	}
	t.Logf("%d changes acknowledged over %d kills, ready after %v at most", len(acknowledged), killRounds(), ready)
}

// load has callers add domains until something has happened, or until they are
// refused, and writes down each that was acknowledged.
func (s *keyholder) load(round int, l *ledger, happens func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	var callers sync.WaitGroup
	for caller := range 4 {
		operator := s.operator()
		callers.Go(func() {
			defer operator.Close()
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("d-%d-%d-%d", round, caller, i)
				if _, err := operator.Ask(ctx, api.OpDomainAdd, api.DomainAdd{Name: name, Scheme: "keyed-hash"}); err != nil {
					return
				}
				l.write(s.t, name)
			}
		})
	}
	happens()
	cancel()
	callers.Wait()
}

// missing returns the names that the key holder has not got.
func (s *keyholder) missing(names []string) (missing []string) {
	s.t.Helper()
	operator := s.operator()
	defer operator.Close()
	domains, err := operator.Domains(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	have := map[string]bool{}
	for _, d := range domains {
		have[d.Name] = len(d.Epochs) == 1 && d.Epochs[0].State == api.StateCurrent && d.DomainNo > 0
	}
	for _, name := range names {
		if !have[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

// ledger is what was acknowledged, on another filesystem than the store's where
// the system's folder of temporary files is.
type ledger struct {
	path string
	mu   sync.Mutex
}

func (l *ledger) write(t *testing.T, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = f.Close() }() // synced below
	if _, err := fmt.Fprintln(f, name); err != nil {
		t.Error(err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
}

func (l *ledger) read(t *testing.T) (names []string) {
	t.Helper()
	b, err := os.ReadFile(l.path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(b))
}
