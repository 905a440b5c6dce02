// Package outdir gives a command an output folder that appears under its name
// only when it is complete, and replaces an earlier output of the same command
// in one step.
package outdir

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tarn/keys/fault"
)

// Folder is an output folder being filled.
type Folder struct {
	final, temporary string
	lock             *os.File // held while the folder is being filled
	committed        bool
}

// CheckpointDir is the folder, inside an output folder that is not complete or
// is about to be replaced, for what a job that is stopped goes on from.
const CheckpointDir = ".checkpoint"

// Begin makes a temporary folder beside final. ours tells whether an existing
// folder at final is an earlier output of the same command, which Commit will
// replace; any other folder that is not empty is refused with kind
// [fault.Usage].
func Begin(final string, ours func(folder string) bool) (*Folder, error) {
	doing := "preparing the output folder " + final
	// What a link leads to is replaced, not the link.
	if resolved, err := filepath.EvalSymlinks(final); err == nil {
		final = resolved
	}
	if name := filepath.Base(filepath.Clean(final)); name == "." || name == ".." || name == string(filepath.Separator) {
		return nil, fault.New(fault.Usage, doing, "a folder cannot be put in its place", "name a folder inside it with --out")
	}
	entries, err := os.ReadDir(final)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fault.Wrap(fault.Usage, doing, err, "name a folder with --out")
	case len(entries) > 0 && !onlyCheckpoint(entries) && !ours(final):
		return nil, fault.New(fault.Usage, doing, "it holds something other than an earlier output of this command", "name a new or an empty folder with --out")
	}
	parent := filepath.Dir(filepath.Clean(final))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	removeStale(final)
	var suffix [6]byte
	_, _ = rand.Read(suffix[:]) // never fails
	f := &Folder{final: final, temporary: partial(final, hex.EncodeToString(suffix[:]))}
	if err := os.Mkdir(f.temporary, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	f.lock, _ = locked(f.temporary) // without the lock the folder may be taken for a stale one, no more
	return f, nil
}

func onlyCheckpoint(entries []os.DirEntry) bool {
	return len(entries) == 1 && entries[0].Name() == CheckpointDir
}

// locked opens a folder and locks it until it is closed or the process ends.
func locked(folder string) (*os.File, error) {
	f, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close() // opened for reading
		return nil, err
	}
	return f, nil
}

// removeStale removes what processes that were killed had begun to write for
// this output: folders that nobody holds locked.
func removeStale(final string) {
	begun := partial(final, "")
	entries, _ := os.ReadDir(filepath.Dir(begun)) // what cannot be listed stays
	for _, entry := range entries {
		folder := filepath.Join(filepath.Dir(begun), entry.Name())
		if !strings.HasPrefix(folder, begun) {
			continue
		}
		if lock, err := locked(folder); err == nil {
			_ = os.RemoveAll(folder) // what stays is in nobody's way
			_ = lock.Close()         // opened for reading
		}
	}
}

func partial(final, suffix string) string {
	final = filepath.Clean(final)
	return filepath.Join(filepath.Dir(final), "."+filepath.Base(final)+".partial-"+suffix)
}

// Checkpoint makes the folder for what the job goes on from when it is stopped.
// Commit removes it, Abort leaves it.
func (f *Folder) Checkpoint() (string, error) {
	folder := filepath.Join(f.final, CheckpointDir)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fault.Wrap(fault.Internal, "preparing the output folder "+f.final, err, "choose a folder that can be written")
	}
	return folder, nil
}

// Path returns the folder to write into.
func (f *Folder) Path() string { return f.temporary }

// Commit puts the folder under its name. An earlier output is exchanged for
// the new one in one step, then removed.
func (f *Folder) Commit() error {
	doing := "putting the output under " + f.final
	err := os.Rename(f.temporary, f.final)
	if err == nil {
		f.committed = true
		return nil
	}
	if err := unix.Renameat2(unix.AT_FDCWD, f.temporary, unix.AT_FDCWD, f.final, unix.RENAME_EXCHANGE); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "name a new folder with --out")
	}
	f.committed = true
	if err := os.RemoveAll(f.temporary); err != nil {
		return fault.Wrap(fault.Internal, "removing the earlier output", err, "remove "+f.temporary)
	}
	return nil
}

// Abort removes what was written. After Commit it does nothing.
func (f *Folder) Abort() {
	if f.lock != nil {
		_ = f.lock.Close() // opened for reading
	}
	if !f.committed {
		_ = os.RemoveAll(f.temporary) // the name under which it would be relied on is untouched
	}
}
