package signin

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"tarn/keys/fault"
)

// keyFile is a key set in a file, read again when the file changes.
type keyFile struct {
	path   string
	logger *slog.Logger

	mu      sync.Mutex
	changed time.Time
	size    int64
	current []jose.JSONWebKey
}

// KeysInFile returns the keys of a JSON Web Key Set (RFC 7517, 5) in a file of at most 256
// KiB. It is read now, and again whenever it has changed; what cannot be read then leaves
// the keys as they were, and a line in the log. The error is of kind [fault.Usage].
func KeysInFile(path string, logger *slog.Logger) (KeySource, error) {
	k := &keyFile{path: path, logger: logger}
	info, err := os.Stat(path)
	if err == nil {
		err = k.read(info)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the issuer's keys in "+path, err, "give the issuer's JSON Web Key Set as jwks_file")
	}
	return k, nil
}

// read reads the file. It keeps what info says, so that a file that is wrong is read once.
func (k *keyFile) read(info os.FileInfo) error {
	k.changed, k.size = info.ModTime(), info.Size()
	f, err := os.Open(k.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // opened for reading
	b, err := io.ReadAll(io.LimitReader(f, maxKeySet+1))
	if err != nil {
		return err
	}
	all, err := readKeys(b)
	if err == nil {
		k.current = all
	}
	return err
}

func (k *keyFile) keys(context.Context, bool) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	info, err := os.Stat(k.path)
	if err == nil && (!info.ModTime().Equal(k.changed) || info.Size() != k.size) {
		if err := k.read(info); err != nil {
			k.logger.Warn("the issuer's keys could not be read again: those from before stay", "error", err)
		}
	}
	return k.current, nil
}
