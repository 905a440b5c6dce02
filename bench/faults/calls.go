package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tarn/bench/keyholder"
)

// syncs are the system calls that bring data to the disk.
const syncs = "fsync,fdatasync,msync"

// traced is how strace is put before a program: it traces from outside, so that the
// program is the one that was started.
func traced(trace string, more ...string) []string {
	return append([]string{"strace", "-D", "-f", "-q", "-o", trace}, more...)
}

// failingCalls is scenario 3.
func failingCalls(t *Trial) error {
	if err := need("strace"); err != nil {
		return err
	}
	faults := []struct{ calls, fault string }{
		{syncs, "error=EIO"},
		{"write,pwrite64", "error=ENOSPC"},
		{"openat", "error=ENOSPC"},
		{"renameat,rename,renameat2", "error=EIO"},
		{"ftruncate,fallocate", "error=ENOSPC"},
		{syncs, "signal=KILL"},
		{"write,pwrite64", "signal=KILL"},
	}
	k, l, err := t.loaded(keyholder.Options{})
	if err != nil {
		return err
	}
	trace := filepath.Join(t.folder, "trace")
	injected, ended, round := 0, 0, 0
	rounds := t.times(1, 8) * len(faults)
	for range rounds / len(faults) {
		for _, fault := range faults {
			round++
			t.note("round %d of %d: %s of %s", round, rounds, fault.fault, fault.calls)
			if err := k.Kill(); err != nil {
				return err
			}
			there, gone, err := t.failing(k, l, round, trace, fault.calls, fault.fault)
			if err != nil {
				return err
			}
			injected += there
			ended += gone
			if whole, err := t.restart(k, l); err != nil || !whole {
				return err
			}
		}
	}
	t.figure("rounds", float64(round))
	t.figure("with_a_fault", float64(injected))
	t.figure("ended_by_it", float64(ended))
	t.busy(l, 1)
	t.control(2*injected >= round, "the fault was there", "in %d of %d rounds, by the trace", injected, round)
	if err := t.planted(k, l); err != nil {
		return err
	}
	if err := k.Kill(); err != nil {
		return err
	}
	if err := k.Start(t.ctx, traced(trace, "-e", "trace=fsync,msync")...); err != nil {
		return err
	}
	if err := t.load(k, round+1, l, func() error { time.Sleep(time.Second); return nil }); err != nil {
		return err
	}
	t.control(!k.Process.HasEnded(), "traced without a fault it goes on", "%s", k.Process.Said())
	return nil
}

// failing starts a key holder of whose system calls some fail, and puts load on it,
// until it ends or a while has passed. It says whether there was a fault, and
// whether the key holder ended of it: 1 or 0.
func (t *Trial) failing(k *keyholder.KeyHolder, l *Ledger, round int, trace, calls, how string) (injected, ended int, err error) {
	// Every thirtieth call from some moment on fails: one that is tried again may go
	// well.
	inject := fmt.Sprintf("inject=%s:%s:when=%d+30", calls, how, 40+rand.N(160))
	if k.Start(t.ctx, traced(trace, "-e", "trace="+calls, "-e", inject)...) == nil {
		err := t.load(k, round, l, func() error {
			select {
			case <-k.Process.Ended():
			case <-time.After(1500 * time.Millisecond):
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
	}
	if k.Process == nil {
		return 0, 0, errors.New("strace cannot be run")
	}
	if k.Process.HasEnded() {
		ended = 1
		said := k.Process.Said()
		if strings.Contains(how, "error") {
			t.check(strings.Contains(said, "error: ") || strings.Contains(said, "panic") || strings.Contains(said, "fatal error"),
				"it does not end without a word", "%s of %s: %q", how, calls, said)
		}
	}
	if err := k.Kill(); err != nil {
		return 0, 0, err
	}
	b, err := os.ReadFile(trace)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, err
	}
	if strings.Contains(string(b), "(INJECTED)") || strings.Contains(string(b), "killed by SIGKILL") {
		injected = 1
	}
	return injected, ended, nil
}
