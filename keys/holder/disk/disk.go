// Package disk makes a disk of its own for those who try what a store does when its
// disk fails: an ext4 filesystem in a file, that can lose its power and be full. It
// is in no party's binary.
//
// Losing power is an ext4 shutdown: what was not synced never reaches the file,
// and every later call fails. What the machine's own disk does with a sync is
// not tried.
package disk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Missing says why it cannot be tried here: it needs root, and these programs
// (make disk installs them where it can). It is empty where it can.
func Missing(programs ...string) string {
	if os.Getuid() != 0 {
		return "it needs root"
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			return "there is no " + program + " here"
		}
	}
	return ""
}

// Programs are what a disk is made and cut with.
var Programs = []string{"mkfs.ext4", "mount", "umount", "xfs_io"}

// ErrNoLoop says that no loop device can be mounted on this machine.
var ErrNoLoop = errors.New("no loop device can be mounted here")

// Disk is a mounted filesystem.
type Disk struct {
	Path  string // where it is mounted
	image string
}

// New makes a disk of this size, in bytes, and mounts it in a folder: as disk,
// beside the file that it is. The error wraps ErrNoLoop where no loop device can be
// mounted. Remove it when nobody uses it any more.
func New(folder string, size int64) (*Disk, error) {
	d := &Disk{Path: filepath.Join(folder, "disk"), image: filepath.Join(folder, "image")}
	if err := os.Mkdir(d.Path, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(d.image, size); err != nil {
		return nil, err
	}
	// No block is kept for root, so that a full disk is full for a test, too.
	if err := run("mkfs.ext4", "-q", "-F", "-m", "0", d.image); err != nil {
		return nil, err
	}
	if err := d.Mount(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoLoop, err)
	}
	return d, nil
}

func run(name string, arguments ...string) error {
	if said, err := exec.Command(name, arguments...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(said)))
	}
	return nil
}

// Mount mounts a disk that is not.
func (d *Disk) Mount() error { return run("mount", "-o", "loop", d.image, d.Path) }

// Remove unmounts the disk: where somebody still uses it, it is gone when that one
// is.
func (d *Disk) Remove() error {
	if d.unmount() != nil {
		_ = unix.Unmount(d.Path, unix.MNT_DETACH) // perhaps it was not mounted
	}
	return os.Remove(d.image)
}

// Cut takes the disk's power away.
func (d *Disk) Cut() error { return run("xfs_io", "-x", "-c", "shutdown", d.Path) }

// Remount gives the power back: nobody may have a file of the disk open.
func (d *Disk) Remount() error {
	if err := d.unmount(); err != nil {
		return fmt.Errorf("unmounting: %w", err)
	}
	return d.Mount()
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
func (d *Disk) Fill() (empty func() error, err error) {
	path := filepath.Join(d.Path, "filler")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	for step, size := int64(1<<20), int64(0); step >= 1<<12; {
		if err := unix.Fallocate(int(f.Fd()), 0, size, step); err != nil {
			step /= 2
			continue
		}
		size += step
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	return func() error {
		if err := os.Remove(path); err != nil {
			return err
		}
		unix.Sync() // freed blocks are free once the journal says so
		return nil
	}, nil
}

// Free returns the bytes that are free.
func (d *Disk) Free() (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(d.Path, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}
