package keys

import (
	"path/filepath"

	"github.com/google/renameio/v2"
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
