package metrics_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tarn/cmd/internal/boot/metrics"
	"tarn/keys/fault"
)

func get(t *testing.T, method, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestListener(t *testing.T) {
	l, err := metrics.Listen("127.0.0.1:0", metrics.NewRegistry("tokeniser", "0.1.0", true))
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Address().String()
	status, body := get(t, http.MethodGet, base+"/metrics")
	if status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{`tarn_build_info{binary="tokeniser",go_version="go`, `version="0.1.0"} 1`, "go_goroutines", "tarn_process_hardened 1\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("the answer lacks %q", want)
		}
	}
	if status, _ := get(t, http.MethodGet, base+"/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("another path answers %d, want 404", status)
	}
	if status, _ := get(t, http.MethodPost, base+"/metrics"); status != http.StatusMethodNotAllowed {
		t.Errorf("POST answers %d, want 405", status)
	}
	if _, err := metrics.Listen(l.Address().String(), metrics.NewRegistry("tokeniser", "0.1.0", true)); fault.KindOf(err) != fault.Usage {
		t.Errorf("a second listener on the address: %v, want a fault of usage", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Errorf("closing: %v", err)
	}
	if _, err := http.Get(base + "/metrics"); err == nil {
		t.Error("it still answers after Close")
	}
}

func TestAProcessThatIsNotHardenedSaysSo(t *testing.T) {
	for hardened, want := range map[bool]float64{true: 1, false: 0} {
		families, err := metrics.NewRegistry("tokeniser", "0.1.0", hardened).Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, family := range families {
			if family.GetName() == "tarn_process_hardened" {
				found = family.GetMetric()[0].GetGauge().GetValue() == want
			}
		}
		if !found {
			t.Errorf("hardened %t: the gauge is not %g", hardened, want)
		}
	}
}

// page returns what a registry answers with.
func page(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return answer.Body.String()
}

// TestWhatIsCountedIsThereFromTheStart: a count that begins at 1 has never risen, and its
// first event is no alarm.
func TestWhatIsCountedIsThereFromTheStart(t *testing.T) {
	zero := func() float64 { return 0 }
	clients := func(each func(project, client string, rows int64)) { each("study", "etl", 7) }
	keyholder := prometheus.NewRegistry()
	metrics.NewKeyholder(keyholder, metrics.KeyholderState{
		Sealed: func() bool { return false }, FreeBytes: zero, CertificateExpiry: time.Now, Records: zero, TreeSize: zero, AlertsWaiting: zero, Budgets: clients, Rules: []string{"test-range"},
		Pending: zero, Unreviewed: zero, Sessions: zero, Decisions: []metrics.Decision{{Purpose: "TREAT", Outcome: "ready", Rule: "relationship"}},
	})
	if said := page(t, keyholder); !strings.Contains(said, `tarn_alarms_total{rule="test-range"} 0`+"\n") {
		t.Error("the rule of alarms is not there")
	} else if !strings.Contains(said, `tarn_reidentification_requests_total{outcome="ready",purpose="TREAT",rule="relationship"} 0`+"\n") {
		t.Error("the decision is not there")
	}
	for _, has := range []bool{true, false} {
		tokeniser := prometheus.NewRegistry()
		metrics.NewTokeniser(tokeniser, metrics.TokeniserState{
			Budgets: clients, Allowed: clients, HasKeyholder: has, KeyholderSealed: func() bool { return false }, KeyholderUp: func() bool { return false }, CertificateExpiry: time.Now, FreeBytes: zero,
			Projects: func(each func(project string, ready bool, leaseEnd time.Time)) { each("study", false, time.Time{}) },
		})
		said := page(t, tokeniser)
		for _, want := range []string{`tarn_tokenise_rows_total{outcome="refused",project="study"} 0`, `tarn_tokenise_rows_total{outcome="ok",project="study"} 0`, `tarn_budget_rows{client="etl",project="study"} 7`} {
			if !strings.Contains(said, want+"\n") {
				t.Errorf("the answer lacks %s", want)
			}
		}
		if strings.Contains(said, "tarn_keyholder_up 0\n") != has || strings.Contains(said, "tarn_keyholder_sealed 0\n") != has {
			t.Errorf("has a key holder %t: %s", has, said)
		}
	}
}
