package holder_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/holder"
)

// duty is somebody who hears alarms.
type duty struct {
	*httptest.Server
	mu     sync.Mutex
	alerts []map[string]any
}

func newDuty(t *testing.T) *duty {
	t.Helper()
	d := &duty{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var alert map[string]any
		if err != nil || json.Unmarshal(b, &alert) != nil {
			t.Errorf("an alert that is none: %q", b)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.alerts = append(d.alerts, alert)
	}))
	t.Cleanup(d.Close)
	return d
}

// heard waits for so many alerts.
func (d *duty) heard(t *testing.T, n int) []map[string]any {
	t.Helper()
	for range 1500 {
		d.mu.Lock()
		all := d.alerts
		d.mu.Unlock()
		if len(all) >= n {
			return all
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("heard %d alerts of %d", len(d.alerts), n)
	return nil
}

// TestEnumerationIsStoppedAndTold: a client that leases for more and more is refused
// at its budget with 429, its alarm is in the log, in a metric and heard; neither a
// new start nor a clock that is set back brings anything back.
func TestEnumerationIsStoppedAndTold(t *testing.T) {
	d := newDuty(t)
	s := newSite(t, holder.Custody{Method: "identity"})
	s.stop()
	s.options.AlertsURL, s.options.AlertsSpool = d.URL, filepath.Join(t.TempDir(), "spool")
	s.options.Budgets = holder.Budgets{UnstatedRows: 100_000}
	s.start()
	s.unseal()
	north := prepare(s.operators())
	lease := func(rows int64) (status int, answer []byte) {
		return north.call("POST", "/v1/projects/study/leases", api.LeaseRequest{Use: api.UseToken, RowsExpected: rows})
	}
	granted := 0
	for ; granted < 1000; granted++ {
		status, answer := lease(10_000)
		if status == http.StatusTooManyRequests {
			if !strings.Contains(string(answer), `"code":"budget_exhausted"`) || !strings.Contains(string(answer), "come back in") {
				t.Errorf("refused with %s", answer)
			}
			break
		}
		if status != http.StatusCreated {
			t.Fatalf("%d %s", status, answer)
		}
	}
	if granted != 10 {
		t.Errorf("%d leases of 10,000 rows from a budget of 100,000", granted)
	}
	alerts := d.heard(t, 2)
	if alerts[0]["rule"] != audit.RuleBudgetLow || alerts[1]["rule"] != audit.RuleBudgetExhausted || alerts[1]["client"] != "north" || alerts[1]["project"] != "study" || alerts[1]["text"] == "" {
		t.Errorf("heard %v", alerts)
	}
	certificate := north.certificate()
	for _, late := range []time.Duration{0, -30 * 24 * time.Hour, time.Hour} {
		s.late.Store(int64(late))
		s.stop()
		s.start()
		s.unseal()
		north = s.with(&certificate)
		if status, answer := lease(1); status != http.StatusTooManyRequests {
			t.Errorf("after a start with a clock %s late: %d %s", late, status, answer)
		}
	}
	if all := d.heard(t, 2); len(all) != 2 {
		t.Errorf("heard %v", all)
	}
}
