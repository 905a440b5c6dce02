//go:build faults || heavy

package cmd_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tarn/keys/holder/disktest"
)

// diskSize is enough for what making a key holder asks for: the floor of a
// product, twice. Little of it is ever written.
const diskSize = 2 << 30

// TestPowerCutKeyholderKeepsWhatItAcknowledged is scenario 2 of the reliability
// tests: the disks of a key holder's store and of its anchor lose their power
// while callers change it, and it comes back with every change that was
// acknowledged. Its control is the store's own test.
//
// No program goes on while the power goes: the process is stopped first, or its
// anchor is cut first, without which nothing is acknowledged. Where it went on
// without its store's disk, a change was seen to be acknowledged and not there,
// once in some thirty cuts: a sync that is on its way while an ext4 filesystem is
// shut down can succeed without the data being there, for a program of ten lines
// too (7 of 300, Linux 6.18).
func TestPowerCutKeyholderKeepsWhatItAcknowledged(t *testing.T) {
	stores, anchors := disktest.New(t, diskSize), disktest.New(t, diskSize/16)
	s := newKeyholderIn(t, stores.Path, anchors.Path)
	ledger := &ledger{path: filepath.Join(t.TempDir(), "acknowledged")}
	rounds := 3
	if full {
		rounds = 25
	}
	for round := range rounds {
		s.start()
		s.ready()
		if missing := s.missing(ledger.read(t)); len(missing) > 0 {
			t.Fatalf("cut %d: %d of what was acknowledged is not there: %v", round, len(missing), missing)
		}
		s.load(round, ledger, func() {
			time.Sleep(200*time.Millisecond + rand.N(1200*time.Millisecond))
			if rand.N(2) == 0 {
				if err := s.process.Process.Signal(unix.SIGSTOP); err != nil {
					t.Error(err)
				}
				stores.Cut(t)
				anchors.Cut(t)
			} else { // in the middle of whatever it does
				anchors.Cut(t)
				stores.Cut(t)
			}
			s.kill()
		})
		stores.Remount(t)
		anchors.Remount(t)
	}
	s.start()
	s.ready()
	acknowledged := ledger.read(t)
	if missing := s.missing(acknowledged); len(missing) > 0 {
		t.Fatalf("at the end %d of what was acknowledged is not there: %v", len(missing), missing)
	}
	if len(acknowledged) < 10*rounds {
		t.Errorf("only %d changes were acknowledged: there was no load", len(acknowledged))
	}
	s.kill()
	t.Logf("%d changes acknowledged over %d power cuts, none lost", len(acknowledged), rounds)
}
