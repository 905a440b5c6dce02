// Package disktest gives tests a disk of their own: an ext4 filesystem in a
// file, that can lose its power and be full. It is in no binary.
//
// Losing power is an ext4 shutdown: what was not synced never reaches the file,
// and every later call fails. What the machine's own disk does with a sync is
// not tried.
package disktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Need skips a test, and says why, unless it runs as root where these programs
// are (make test-faults installs them where it can).
func Need(t testing.TB, programs ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: it needs root")
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("skipped: there is no %s here", program)
		}
	}
}

// Disk is a mounted filesystem.
type Disk struct {
	Path  string // where it is mounted
	image string
}

// New makes and mounts a disk, until the test ends. It skips the test where
// that cannot be done. Processes that the test starts after it, and ends in
// Cleanup, are gone before it is.
func New(t testing.TB, size int64) *Disk {
	t.Helper()
	Need(t, "mkfs.ext4", "mount", "umount", "xfs_io")
	folder := t.TempDir()
	d := &Disk{Path: filepath.Join(folder, "disk"), image: filepath.Join(folder, "image")}
	if err := os.Mkdir(d.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, size); err != nil {
		t.Fatal(err)
	}
	// No block is kept for root, so that a full disk is full for a test, too.
	run(t, "mkfs.ext4", "-q", "-F", "-m", "0", d.image)
	if said, err := exec.Command("mount", "-o", "loop", d.image, d.Path).CombinedOutput(); err != nil {
		t.Skipf("skipped: no loop device can be mounted here: %s", said)
	}
	t.Cleanup(func() {
		if d.unmount() != nil {
			_ = unix.Unmount(d.Path, unix.MNT_DETACH) // gone when its last user is
		}
	})
	return d
}

func run(t testing.TB, name string, arguments ...string) {
	t.Helper()
	if said, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, said)
	}
}

// Cut takes the disk's power away.
func (d *Disk) Cut(t testing.TB) {
	t.Helper()
	run(t, "xfs_io", "-x", "-c", "shutdown", d.Path)
}

// Remount gives the power back: nobody may have a file of the disk open.
func (d *Disk) Remount(t testing.TB) {
	t.Helper()
	if err := d.unmount(); err != nil {
		t.Fatalf("unmounting: %v", err)
	}
	run(t, "mount", "-o", "loop", d.image, d.Path)
}

// unmount waits a while for those who were killed to be gone.
func (d *Disk) unmount() (err error) {
	for range 100 {
		if err = unix.Unmount(d.Path, 0); err != unix.EBUSY { //nolint:errorlint // an errno as it is
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// Fill fills the disk to its last block, a step at a time, and returns what
// empties it again.
func (d *Disk) Fill(t testing.TB) (empty func()) {
	t.Helper()
	path := filepath.Join(d.Path, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for step, size := int64(1<<20), int64(0); step >= 1<<12; {
		if err := unix.Fallocate(int(f.Fd()), 0, size, step); err != nil {
			step /= 2
			continue
		}
		size += step
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	_ = f.Close() // what counts is what is left
	return func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		unix.Sync() // freed blocks are free once the journal says so
	}
}

// Free returns the bytes that are free.
func (d *Disk) Free(t testing.TB) uint64 {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(d.Path, &s); err != nil {
		t.Fatal(err)
	}
	return s.Bavail * uint64(s.Bsize)
}
