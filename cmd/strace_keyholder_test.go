//go:build faults || heavy

package cmd_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/keys/holder/disktest"
)

// TestFailingSystemCallsLoseNothing is scenario 3 of the reliability tests: a
// system call of the key holder fails, or kills it, at some moment of its work. It
// either goes on, or ends and says why; started again it has every change that was
// acknowledged. Control: the trace says that the fault was there, and without one
// nothing ends.
func TestFailingSystemCallsLoseNothing(t *testing.T) {
	disktest.Need(t, "strace")
	faults := []struct{ calls, fault string }{
		{"fsync,fdatasync,msync", "error=EIO"},
		{"write,pwrite64", "error=ENOSPC"},
		{"openat", "error=ENOSPC"},
		{"renameat,rename,renameat2", "error=EIO"},
		{"ftruncate,fallocate", "error=ENOSPC"},
		{"fsync,fdatasync,msync", "signal=KILL"},
		{"write,pwrite64", "signal=KILL"},
	}
	rounds := 1
	if full {
		rounds = 8
	}
	s := newKeyholder(t)
	ledger := &ledger{path: filepath.Join(t.TempDir(), "acknowledged")}
	trace := filepath.Join(t.TempDir(), "trace")
	injected, ended, round := 0, 0, 0
	for range rounds {
		for _, fault := range faults {
			round++
			// Every thirtieth call from some moment on fails: one that is tried again may go
			// well.
			inject := fmt.Sprintf("inject=%s:%s:when=%d+30", fault.calls, fault.fault, 40+rand.N(160))
			if s.begin("strace", "-D", "-f", "-q", "-o", trace, "-e", "trace="+fault.calls, "-e", inject) {
				s.load(round, ledger, func() {
					select {
					case <-s.ended:
					case <-time.After(1500 * time.Millisecond):
					}
				})
			}
			gone := false
			select {
			case <-s.ended:
				gone = true
				ended++
			default:
			}
			s.kill()
			b, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			there := strings.Contains(string(b), "(INJECTED)") || strings.Contains(string(b), "killed by SIGKILL")
			if there {
				injected++
			}
			if gone && strings.Contains(fault.fault, "error") && !strings.Contains(s.said(), "error: ") && !strings.Contains(s.said(), "panic") && !strings.Contains(s.said(), "fatal error") {
				t.Errorf("%s of %s: it ended without a word: %s", fault.fault, fault.calls, s.said())
			}
			s.start()
			if missing := s.missing(ledger.read(t)); len(missing) > 0 {
				t.Fatalf("%s of %s: %d of what was acknowledged is not there: %v", fault.fault, fault.calls, len(missing), missing)
			}
			s.kill()
		}
	}
	if injected < round/2 {
		t.Errorf("control: a fault was injected in %d of %d rounds", injected, round)
	}
	// Control: traced without a fault, it goes on.
	if !s.begin("strace", "-D", "-f", "-q", "-o", trace, "-e", "trace=fsync,msync") {
		t.Fatalf("control: %s", s.said())
	}
	s.load(round+1, ledger, func() { time.Sleep(time.Second) })
	select {
	case <-s.ended:
		t.Errorf("control: it ended without a fault: %s", s.said())
	default:
	}
	acknowledged := ledger.read(t)
	if missing := s.missing(append(slices.Clone(acknowledged), "planted")); !slices.Equal(missing, []string{"planted"}) {
		t.Errorf("control: a planted loss is not found: %v", missing)
	}
	s.kill()
	t.Logf("%d rounds, a fault in %d, %d ended by it; %d changes acknowledged, none lost", round, injected, ended, len(acknowledged))
}
