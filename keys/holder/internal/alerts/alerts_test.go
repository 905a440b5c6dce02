package alerts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tarn/keys/holder/internal/alerts"
)

type meter struct{ delivered, failed atomic.Int64 }

func (m *meter) AlertDelivered() { m.delivered.Add(1) }
func (m *meter) AlertFailed()    { m.failed.Add(1) }

// listener hears alerts, but while it is deaf.
type listener struct {
	*httptest.Server
	deaf  atomic.Bool
	mu    sync.Mutex
	heard []alerts.Alert
	ids   []string
}

func listen(t *testing.T) *listener {
	t.Helper()
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var a alerts.Alert
		if err != nil || json.Unmarshal(b, &a) != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s with %q", r.Method, b)
		}
		if l.deaf.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.heard, l.ids = append(l.heard, a), append(l.ids, r.Header.Get("X-Request-ID"))
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *listener) rules() (rules []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.heard {
		rules = append(rules, a.Rule)
	}
	return rules
}

func alert(n int) alerts.Alert {
	return alerts.Alert{
		ID: alerts.ID("log/1", fmt.Sprint(n)), Time: time.Date(2026, 11, 26, 9, 0, n, 0, time.UTC), Holder: "holder", Rule: fmt.Sprintf("rule-%d", n), Text: "Something.",
	}
}

// until waits for what a goroutine does.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

func open(t *testing.T, folder, url string) (*alerts.Spool, *meter) {
	t.Helper()
	m := &meter{}
	s, err := alerts.Open(alerts.Options{Folder: folder, URL: url, HTTP: http.DefaultClient, Meter: m})
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

// TestAlertsOutliveWhoeverIsAway: what was given while nobody heard, by a process that
// has ended since, is heard later, in order, each once and under its id.
func TestAlertsOutliveWhoeverIsAway(t *testing.T) {
	folder, l := filepath.Join(t.TempDir(), "spool"), listen(t)
	l.deaf.Store(true)
	s, m := open(t, folder, l.URL)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { s.Work(ctx) })
	for _, n := range []int{2, 1, 3, 2} { // in any order, and one again
		if err := s.Put(alert(n)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "a try", func() bool { return m.failed.Load() > 0 })
	cancel()
	work.Wait()
	if s.Waiting() != 3 || len(l.rules()) != 0 {
		t.Fatalf("%d wait, %v were heard", s.Waiting(), l.rules())
	}
	l.deaf.Store(false)
	s, m = open(t, folder, l.URL) // started again
	if s.Waiting() != 3 {
		t.Fatalf("after a start %d wait", s.Waiting())
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	work.Go(func() { s.Work(ctx) })
	until(t, "three to be heard", func() bool { return s.Waiting() == 0 })
	if got := strings.Join(l.rules(), " "); got != "rule-1 rule-2 rule-3" || m.delivered.Load() != 3 {
		t.Errorf("heard %s, %d counted", got, m.delivered.Load())
	}
	if l.heard[0].Schema != alerts.Schema || l.ids[0] != l.heard[0].ID || l.ids[0] == l.ids[1] {
		t.Errorf("%+v under %s", l.heard[0], l.ids[0])
	}
	if err := s.Put(alert(4)); err != nil { // while it waits for more
		t.Fatal(err)
	}
	until(t, "the fourth", func() bool { return len(l.rules()) == 4 })
	until(t, "an empty folder", func() bool {
		entries, err := os.ReadDir(folder)
		return err == nil && len(entries) == 0
	})
	cancel()
	work.Wait()
}

// TestDamagedFilesStandInNobodysWay.
func TestDamagedFilesStandInNobodysWay(t *testing.T) {
	folder, l := t.TempDir(), listen(t)
	if err := os.WriteFile(filepath.Join(folder, "20260101T000000.000000000Z-x.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, folder, l.URL)
	if err := s.Put(alert(1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var work sync.WaitGroup
	work.Go(func() { s.Work(ctx) })
	until(t, "the other", func() bool { return len(l.rules()) == 1 })
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 || !strings.HasSuffix(entries[0].Name(), ".damaged") {
		t.Errorf("%v, %v", entries, err)
	}
	cancel()
	work.Wait()
}

// TestFullSpoolsSaySo, and hold what they held.
func TestFullSpoolsSaySo(t *testing.T) {
	folder := t.TempDir()
	for n := range 10_000 {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%08d.json", n)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := open(t, folder, "http://127.0.0.1:1")
	if err := s.Put(alert(1)); err == nil || s.Waiting() != 10_000 {
		t.Errorf("%v, %d wait", err, s.Waiting())
	}
}

// TestAddresses: alerts cross no network in the clear.
func TestAddresses(t *testing.T) {
	for address, good := range map[string]bool{
		"https://alerts.example/hook": true, "http://127.0.0.1:9093/x": true, "http://localhost:1": true, "http://[::1]:80": true,
		"http://alerts.example/hook": false, "http://10.0.0.1/": false, "ftp://127.0.0.1/": false, "https://user:word@example/": false, "https://": false, "x": false, "": false,
		"https://example/?key=secret": false,
	} {
		_, err := alerts.Open(alerts.Options{Folder: t.TempDir(), URL: address})
		if (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
