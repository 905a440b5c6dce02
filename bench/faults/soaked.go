package faults

import (
	"os"
	"syscall"
	"time"

	"tarn/bench/load"
	"tarn/bench/measure"
	"tarn/bench/soak"
	"tarn/bench/tokeniser"
)

// Load of scenario 20: what two cores do beside the generator and the checker, and what a
// service does that was built with the race detector.
const (
	soakRate = 40
	raceRate = 10
)

// soaked is scenario 20.
func soaked(t *Trial) error {
	span := time.Duration(t.times(30, 60)) * time.Second
	if err := t.soak("as it is shipped", t.binary("tokeniser"), span, soakRate); err != nil {
		return err
	}
	if t.Race == "" {
		t.leaveOut("the same with the race detector", "no tokeniser was given that was built with it")
	} else if err := t.soak("with the race detector", t.Race, span, raceRate); err != nil {
		return err
	}
	return t.stallIsSeen()
}

// soak soaks a service, and tells what came of it.
func (t *Trial) soak(how, program string, span time.Duration, rate float64) error {
	folder, err := t.sub(how)
	if err != nil {
		return err
	}
	place, separate, err := elsewhere(t.Options.Ledger, folder)
	if err != nil {
		return err
	}
	if !t.Keep {
		t.later(func() error { return os.RemoveAll(place) })
	}
	t.result.Ledger = LedgerPlace{Separate: separate, Filesystem: filesystemOf(place)}
	if !separate {
		t.leaveOut("the ledger on another filesystem", "there is none here that can be written")
	}
	r, err := soak.Run(t.ctx, soak.Options{Binaries: t.Binaries, Tokeniser: program, Folder: folder, Ledger: place, Span: span, Rate: rate, Software: t.Software, Clock: t.Clock,
		Progress: func(what string) { t.note("%s: %s", how, what) }})
	if err != nil {
		return err
	}
	wrong := r.Against()
	for _, line := range wrong {
		t.check(false, how+": "+line, "")
	}
	t.check(len(wrong) == 0, how+": nothing is lost, nothing is wrong, each request is charged once, memory and goroutines are flat", "%d requests, %d rows", r.Requests.Answered, r.Requests.Rows)
	for _, c := range r.Controls {
		t.control(c.Found, how+": "+c.What+" is found", "%s", c.Said)
	}
	t.count("requests", int(r.Requests.Answered))
	t.count("rows", int(r.Requests.Rows))
	if rate == soakRate {
		t.figure("p99_s", r.Straight.P99/1000)
	}
	for _, p := range r.Projects {
		t.figure("gap_s", p.GapS)
		t.figure("ready_s", p.ReadyS)
	}
	return nil
}

// stallIsSeen is the control of the latencies: a service that stands still for two seconds
// shows in them, and one that does not has none of it.
func (t *Trial) stallIsSeen() error {
	t.note("control: a stall of two seconds")
	s, err := t.trialService("stall", tokeniser.Options{})
	if err != nil {
		return err
	}
	target, err := s.Target(s.project, caller, "")
	if err != nil {
		return err
	}
	const span, stall = 6 * time.Second, 2 * time.Second
	go func() {
		time.Sleep(span / 3)
		_ = s.Process.Signal(syscall.SIGSTOP) // that it did is seen
		time.Sleep(stall)
		_ = s.Process.Signal(syscall.SIGCONT)
	}()
	r, err := load.Open(t.ctx, target, one(1), 16, 2*soakRate, span, s.Process.ID())
	if err != nil {
		return err
	}
	p99 := measure.MS(r.Latency, 99)
	t.control(p99 >= 1000 && r.Failed == 0, "a stall of 2 s shows in the latencies", "p99 %.0f ms, p50 %.0f ms, %d failed", p99, measure.MS(r.Latency, 50), r.Failed)
	return s.Kill()
}
