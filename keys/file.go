package keys

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"tarn/keys/fault"
)

// fileMode is that of every file Tarn writes: for its owner only.
const fileMode = 0o600

// PendingFile is a file that has not got its name yet.
type PendingFile = renameio.PendingFile

// NewFile begins a file that has its name only when it is complete and on the
// disk. Until then it lies in the folder it will be in, as .NAME and digits,
// never in a folder of temporary files that others share.
func NewFile(path string) (*PendingFile, error) {
	return renameio.NewPendingFile(path, renameio.WithPermissions(fileMode), renameio.IgnoreUmask(), renameio.WithTempDir(filepath.Dir(path)))
}

// WriteFile writes a file like that of NewFile, complete or not at all.
func WriteFile(path string, content []byte) error {
	return renameio.WriteFile(path, content, fileMode, renameio.IgnoreUmask(), renameio.WithTempDir(filepath.Dir(path)))
}

// maxSecret bounds a file that holds a secret, in bytes.
const maxSecret = 64 << 10

// ReadSecret reads a file that only its owner may use (mode 0600 or less): an
// identity, a share, a passphrase. The caller clears what it gets.
func ReadSecret(path string) ([]byte, error) {
	doing := "reading " + path
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give a file that this user can read")
	}
	defer func() { _ = f.Close() }() // opened for reading
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Usage, doing, "it is not a regular file", "give the path of a file")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fault.New(fault.Usage, doing, fmt.Sprintf("others than its owner may use it (mode %04o)", mode),
			"if nobody else can have used it, run: chmod 600 "+path)
	}
	if info.Size() > maxSecret {
		return nil, fault.New(fault.Usage, doing, "it is longer than 64 KiB", "give another file")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give a file that this user can read")
	}
	return b, nil
}
