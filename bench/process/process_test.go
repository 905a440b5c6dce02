package process_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"tarn/bench/process"
)

func start(t *testing.T, within time.Duration, script string) (*process.Process, string, error) {
	t.Helper()
	return process.Start(t.Context(), process.Options{Folder: t.TempDir(), Until: "answering on ", Within: within}, "sh", "-c", script)
}

// TestServiceAnswersAndIsEnded: a service is there when it says so, what it says
// further is kept, and it ends as it is told.
func TestServiceAnswersAndIsEnded(t *testing.T) {
	const service = "echo beginning >&2; echo answering on here, ready >&2; echo more >&2; while :; do sleep .05; done"
	for name, tt := range map[string]struct {
		end  func(*process.Process) error
		code int
	}{
		"stop": {(*process.Process).Stop, -1},
		"kill": {(*process.Process).Kill, -1},
	} {
		p, answer, err := start(t, time.Minute, service)
		if err != nil || answer != "answering on here, ready" || p.HasEnded() {
			t.Fatalf("%s: %q, %v", name, answer, err)
		}
		for until := time.Now().Add(time.Minute); !strings.HasSuffix(p.Said(), "more") && time.Now().Before(until); {
			time.Sleep(10 * time.Millisecond)
		}
		err = tt.end(p)
		if name == "kill" && err != nil || p.ExitCode() != tt.code || !p.HasEnded() {
			t.Errorf("%s: %v, exit code %d", name, err, p.ExitCode())
		}
		if said := p.Said(); !strings.HasPrefix(said, "beginning\nanswering") || !strings.HasSuffix(said, "more") {
			t.Errorf("%s: it said %q", name, said)
		}
		if err := p.Kill(); err != nil {
			t.Errorf("%s: ended again: %v", name, err)
		}
	}
	p, _, err := start(t, time.Minute, "trap 'exit 143' TERM; echo answering on here >&2; while :; do sleep .05; done")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("a service that ends as ours do: %v", err)
	}
	p, _, err = start(t, time.Minute, "trap 'echo out of order >&2; exit 3' TERM; echo answering on here >&2; while :; do sleep .05; done")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "exit code 3: ") || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("a service that ends otherwise: %v", err)
	}
}

// TestServiceThatDoesNotAnswer is an error that says what it said, and it is gone.
func TestServiceThatDoesNotAnswer(t *testing.T) {
	p, _, err := start(t, time.Minute, "echo no such folder >&2; exit 6")
	if err == nil || !strings.Contains(err.Error(), "no such folder") || p.ExitCode() != 6 {
		t.Errorf("ended: %v", err)
	}
	p, _, err = start(t, 100*time.Millisecond, "echo thinking >&2; while :; do sleep .05; done")
	if err == nil || !strings.Contains(err.Error(), "did not answer within") || !p.HasEnded() {
		t.Errorf("late: %v", err)
	}
	if p, _, err := process.Start(t.Context(), process.Options{Until: "x", Within: time.Second}, "/nowhere/at/all"); err == nil || p != nil {
		t.Errorf("no program: %v", err)
	}
}

// TestContextStopsTheService, and a grace kills one that does not stop.
func TestContextStopsTheService(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, _, err := process.Start(ctx, process.Options{Until: "answering", Within: time.Minute, Grace: 100 * time.Millisecond}, "sh", "-c", "trap '' TERM; echo answering >&2; while :; do sleep .05; done")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("it is not there: %v", err)
	}
	cancel()
	select {
	case <-p.Ended():
	case <-time.After(time.Minute):
		t.Error("it goes on")
		_ = p.Kill()
	}
}
