package keys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"tarn/keys/fault"
)

// fileMode is that of every file Tarn writes: for its owner only.
const fileMode = 0o600

// PendingFile is a file that has not got its name yet.
type PendingFile = renameio.PendingFile

// NewFile begins a file that has its name only when it is complete and on the
// disk. Until then it lies in the folder it will be in, as .NAME and digits,
// never in a folder of temporary files that others share. It is locked until it is closed:
// one that nobody has locked was left by a run that was killed (outfile.RemoveLeft).
func NewFile(path string) (*PendingFile, error) {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(fileMode), renameio.IgnoreUmask(), renameio.WithTempDir(filepath.Dir(path)))
	if err == nil {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // a file system without locks has none to look for
	}
	return f, err
}

// WriteFile writes a file like that of NewFile, complete or not at all.
func WriteFile(path string, content []byte) error {
	return renameio.WriteFile(path, content, fileMode, renameio.IgnoreUmask(), renameio.WithTempDir(filepath.Dir(path)))
}

// CreateFile writes a file that must not exist, complete or not at all, in a folder
// that it makes. It lies beside its name until all of it is on the disk, and a link,
// unlike a rename, does not replace what another process has made: the error is then
// [fs.ErrExist].
func CreateFile(path string, content []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	pending, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(pending.Name())) }()
	_, err = pending.Write(content)
	if err == nil {
		err = pending.Sync()
	}
	if err = errors.Join(err, pending.Close()); err != nil {
		return err
	}
	if err := os.Link(pending.Name(), path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// SyncFolder returns when the names in a folder are on the disk.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// maxSecret bounds a file that holds a secret, in bytes.
const maxSecret = 64 << 10

// Private is what is said of a file that only its owner may use.
type Private struct {
	Doing string // "reading the key file k.json"
	Next  string // what to do where it cannot be read, or is no file
	// Known is what to do where others may have read it.
	Known string
	Limit int64 // bytes; one more is returned of a file that is longer
}

// ReadPrivate reads a file that only its owner may use (mode 0600 or less). The
// caller clears what it gets. Errors are of kind [fault.Usage] and hold no byte of
// the file.
func ReadPrivate(path string, p Private) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, p.Doing, err, p.Next)
	}
	defer func() { _ = f.Close() }() // opened for reading
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, p.Doing, err, "")
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Usage, p.Doing, "it is not a regular file", p.Next)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		next := "if nobody else can have read it, run: chmod 600 " + path
		if p.Known != "" {
			next += "; else " + p.Known
		}
		return nil, fault.New(fault.Usage, p.Doing, fmt.Sprintf("others than its owner may use it (mode %04o)", mode), next)
	}
	b, err := io.ReadAll(io.LimitReader(f, p.Limit+1))
	if err != nil {
		clear(b)
		return nil, fault.Wrap(fault.Usage, p.Doing, err, p.Next)
	}
	return b, nil
}

// ReadSecret reads an identity, a share, a passphrase, a certificate's key. The
// caller clears what it gets.
func ReadSecret(path string) ([]byte, error) {
	p := Private{Doing: "reading " + path, Next: "give a file that this user can read", Limit: maxSecret}
	b, err := ReadPrivate(path, p)
	if err == nil && len(b) > maxSecret {
		clear(b)
		return nil, fault.New(fault.Usage, p.Doing, "it is longer than 64 KiB", "give another file")
	}
	return b, err
}
