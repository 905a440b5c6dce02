//go:build faults || heavy

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"tarn/keys/holder/disk"
)

// What a child does with a store, besides opening it.
const (
	childSays = "TARN_TEST_LEDGER" // the ledger's path

	doesLoad     = "load"     // makes a store and writes until it ends
	doesUnsynced = "unsynced" // the same without syncing
	doesHeedless = "heedless" // the same, and sees free space where there is none
	doesCount    = "count"    // counts what of the ledger is there, past every check
)

// diskSize is some times what a store maps ahead. Little of it is ever written.
const diskSize = 1 << 30

// lowFloor leaves room for what is mapped ahead, and can be filled quickly.
const lowFloor = 128 << 20

func disturbedChild(o Options, does string) int {
	o.FreeFloor, o.Unsynced = lowFloor, does == doesUnsynced
	if does == doesHeedless {
		o.FreeSpace = func(string) (uint64, error) { return 1 << 40, nil }
	}
	var err error
	if does == doesCount {
		err = countLedger(o)
	} else {
		err = loadLedger(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// loadLedger has callers write until one is refused. Each appends to the ledger
// what was acknowledged.
func loadLedger(o Options) error {
	s, err := Create(context.Background(), o)
	if err != nil {
		return err
	}
	ledger, err := os.OpenFile(os.Getenv(childSays), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	fmt.Println("loading")
	refused := make(chan error)
	for caller := range 4 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("n-%d-%d", caller, i)
				err := s.Room()
				if err == nil {
					err = s.Commit(context.Background(), []Change{put(name, strings.Repeat("v", 900))})
				}
				if err == nil {
					_, err = fmt.Fprintln(ledger, name)
				}
				if err != nil {
					refused <- err
					return
				}
			}
		}()
	}
	for range 4 {
		err = errors.Join(err, <-refused)
	}
	return err
}

// countLedger prints how many of the ledger's records Badger by itself has.
func countLedger(o Options) error {
	o.complete()
	sealer, err := newSealer(o.Root, o.Generation, nil)
	if err != nil {
		return err
	}
	db, err := openBadger(&o)
	if err != nil {
		return err
	}
	there := 0
	err = db.View(func(txn *badger.Txn) error {
		for _, name := range ledgerNames(os.Getenv(childSays)) {
			at := sealer.placeOf(Key{"thing", name})
			switch _, err := txn.Get(at[:]); {
			case err == nil:
				there++
			case !errors.Is(err, badger.ErrKeyNotFound):
				return err
			}
		}
		return nil
	})
	fmt.Println(there)
	return errors.Join(err, db.Close())
}

func ledgerNames(path string) []string {
	b, _ := os.ReadFile(path) // nothing was acknowledged
	return strings.Fields(string(b))
}

// newDisk makes a disk until the test ends. It skips the test, and says why, where
// that cannot be done.
func newDisk(t *testing.T) *disk.Disk {
	t.Helper()
	if missing := disk.Missing(disk.Programs...); missing != "" {
		t.Skip("skipped: " + missing)
	}
	d, err := disk.New(t.TempDir(), diskSize)
	if errors.Is(err, disk.ErrNoLoop) {
		t.Skipf("skipped: %v", err)
	}
	try(t, err)
	t.Cleanup(func() { _ = d.Remove() }) // gone when its last user is
	return d
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// disturbed is a store that a child loads on a disk of its own. The anchor and
// the ledger lie elsewhere.
type disturbed struct {
	Options
	ledger string
	child  *exec.Cmd
	ended  chan error
	said   bytes.Buffer
}

func disturb(t *testing.T, on *disk.Disk, does string) *disturbed {
	t.Helper()
	elsewhere := t.TempDir()
	d := &disturbed{ledger: filepath.Join(elsewhere, "ledger"), ended: make(chan error, 1)}
	d.Options = Options{Dir: filepath.Join(on.Path, "store.1"), Anchor: filepath.Join(elsewhere, "anchor.json")}
	d.child = d.command(does)
	d.child.Stderr = &d.said
	out, err := d.child.StdoutPipe()
	if err == nil {
		err = d.child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.child.Process.Kill() }) // it has ended, where the test went well
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatalf("the child does not load: %v, %s", d.child.Wait(), d.said.String())
	}
	go func() { d.ended <- d.child.Wait() }()
	return d
}

func (d *disturbed) command(does string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childDir+"="+d.Dir, childAnchor+"="+d.Anchor, childDoes+"="+does, childSays+"="+d.ledger)
	return c
}

// kill ends the child, if nothing has.
func (d *disturbed) kill() {
	_ = d.child.Process.Kill() // it may have ended
	<-d.ended
}

// missing returns how many of the acknowledged records a store that was opened
// and checked has not got.
func (d *disturbed) missing(holds string) (missing int) {
	there := map[string]bool{}
	for line := range strings.Lines(holds) {
		var name, value string
		if _, err := fmt.Sscanf(line, "%q %q", &name, &value); err == nil && len(value) == 900 {
			there[name] = true
		}
	}
	for _, name := range ledgerNames(d.ledger) {
		if !there[name] {
			missing++
		}
	}
	return missing
}

// TestPowerCutLosesNothingThatWasAcknowledged is scenario 2 of the reliability
// tests for the store by itself. Control: a store that does not sync loses what
// it acknowledged, and its anchor says so.
func TestPowerCutLosesNothingThatWasAcknowledged(t *testing.T) {
	cut := func(does string) (*disturbed, string, bool) {
		on := newDisk(t)
		d := disturb(t, on, does)
		time.Sleep(50*time.Millisecond + rand.N(800*time.Millisecond))
		// The processor stops with the disk: a sync that is on its way while a filesystem
		// is shut down was seen to succeed without the data being there.
		if err := d.child.Process.Signal(unix.SIGSTOP); err != nil {
			t.Error(err)
		}
		try(t, on.Cut())
		d.kill()
		try(t, on.Remount())
		holds, opened := opens(t, d.Options)
		return d, holds, opened
	}
	cuts, acknowledged := times(4, 30), 0
	for range cuts {
		d, holds, opened := cut(doesLoad)
		if missing := d.missing(holds); !opened || missing > 0 {
			t.Fatalf("opened %v, %d of %d acknowledged records missing", opened, missing, len(ledgerNames(d.ledger)))
		}
		acknowledged += len(ledgerNames(d.ledger))
	}
	if acknowledged < 10*cuts {
		t.Errorf("only %d records were acknowledged: there was no load", acknowledged)
	}
	t.Logf("%d cuts, %d records acknowledged, none lost", cuts, acknowledged)

	cuts, acknowledged, lost := times(2, 6), 0, 0
	for range cuts {
		d, holds, opened := cut(doesUnsynced)
		names := len(ledgerNames(d.ledger))
		acknowledged += names
		if opened && d.missing(holds) > 0 {
			t.Errorf("it opens without %d of %d acknowledged records", d.missing(holds), names)
		}
		out, err := d.command(doesCount).Output()
		there := 0
		if err == nil {
			_, err = fmt.Sscan(string(out), &there)
		}
		if err != nil {
			t.Logf("not even Badger opens it: %v", err)
		}
		lost += names - there
	}
	t.Logf("control, unsynced: %d cuts, %d records acknowledged, %d lost", cuts, acknowledged, lost)
	if lost == 0 {
		t.Error("without syncing nothing is lost either: the cut does not cut")
	}
}

// TestFullDiskIsNotRunInto is scenario 4 for the store by itself: with a floor
// it refuses, and lives. Control: heedless of free space it dies of a signal.
// Either way nothing that was acknowledged is lost.
func TestFullDiskIsNotRunInto(t *testing.T) {
	for does, lives := range map[string]bool{doesLoad: true, doesHeedless: false} {
		on := newDisk(t)
		d := disturb(t, on, does)
		time.Sleep(200 * time.Millisecond)
		empty, err := on.Fill()
		try(t, err)
		select {
		case err = <-d.ended:
			d.ended <- err
		case <-time.After(20 * time.Second):
			free, err := on.Free()
			t.Fatalf("%s: it goes on, with %d bytes free, %v", does, free, err)
		}
		said := d.said.String()
		refused, killed := strings.Contains(said, ErrNoSpace.Error()), strings.Contains(said, "SIGBUS")
		if refused != lives || killed == lives {
			t.Errorf("%s: %v: %.300s", does, err, said)
		}
		try(t, empty())
		holds, opened := opens(t, d.Options)
		if missing := d.missing(holds); !opened || missing > 0 || len(ledgerNames(d.ledger)) == 0 {
			t.Errorf("%s: with space again: opened %v, %d of %d acknowledged records missing", does, opened, missing, len(ledgerNames(d.ledger)))
		}
		t.Logf("%s: %d records acknowledged, refused %v, killed by SIGBUS %v", does, len(ledgerNames(d.ledger)), refused, killed)
	}
}
