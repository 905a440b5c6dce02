package forward

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/parcel"
)

// StateSuffix ends the name of the folder, beside the parcel, of what a run has sent and
// got so far. A request is written down before it is sent: it is encrypted anew each time
// it is made, and only the same bytes are charged once.
const StateSuffix = ".sending"

// state is what a run has done so far.
type state struct{ folder string }

// stateOf is what a run is about; another run's state is not used.
type stateOf struct {
	Schema  string `json:"schema"`
	Run     string `json:"run"` // digest of what was asked for
	Input   string `json:"input"`
	Bytes   int64  `json:"bytes"`
	Changed string `json:"changed"` // when the input was, by its file system
}

const stateSchema = "tarn.parcel-state/1"

// openState begins a state, or goes on with one.
func openState(folder string, about stateOf) (*state, error) {
	about.Schema = stateSchema
	doing := "reading what an interrupted run has left in " + folder
	path := filepath.Join(folder, runFile)
	want, err := keys.Encode(about)
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "it could not be written down", "")
	}
	there, err := os.ReadFile(path)
	switch {
	case err == nil && string(there) == string(want):
		return &state{folder}, nil
	case err == nil:
		return nil, fault.New(fault.Usage, doing, "it is of another run, or the table was changed since", "run what was run before, or remove the folder: what was converted then is charged again")
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fault.Wrap(fault.Usage, doing, err, "make it readable, or remove the folder: what was converted then is charged again")
	}
	// A folder without it holds what is of nobody knows which run.
	left, _ := os.ReadDir(folder) // of a run that was killed before it had said so it is empty
	if err := os.Mkdir(folder, 0o700); errors.Is(err, fs.ErrExist) && len(left) == 0 {
		_ = os.Chmod(folder, 0o700) // writing says what is wrong with it
	} else if errors.Is(err, fs.ErrExist) {
		return nil, fault.New(fault.Usage, doing, "it is there, and does not say of which run it is", "remove it")
	} else if err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+folder, err, "give --out a folder that exists and can be written")
	}
	s := &state{folder}
	return s, s.write(runFile, want)
}

const (
	runFile = "run.json"
	idFile  = "run.id"
)

// id returns the id of the run, which is drawn once.
func (s *state) id(randomness io.Reader) (string, error) {
	b, err := s.read(idFile)
	if err != nil {
		return "", err
	}
	if len(b) == 0 {
		b = make([]byte, 16)
		if _, err := io.ReadFull(randomness, b); err != nil {
			return "", fault.New(fault.Internal, sending, "no random bytes can be had", "")
		}
		if err := s.write(idFile, b); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(b), nil
}

func (s *state) path(name string) string { return filepath.Join(s.folder, name) }

func (s *state) write(name string, content []byte) error {
	if err := keys.WriteFile(s.path(name), content); err != nil {
		return fault.Wrap(fault.Internal, "writing "+s.path(name), err, "free space on the disk, then run the same command again: it goes on where it was")
	}
	return nil
}

func (s *state) read(name string) ([]byte, error) {
	b, err := os.ReadFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "reading "+s.path(name), err, "")
	}
	return b, nil
}

func requestName(i int) string { return fmt.Sprintf("%06d.request", i) }
func replyName(i int) string   { return fmt.Sprintf("%06d.answer", i) }

// answered reports whether batch i, of this request, was answered.
func (s *state) answered(i int, request []byte) (bool, error) {
	answer, err := s.answer(i)
	if err != nil || answer == nil {
		return false, err
	}
	return parcel.IsAnswer(request, answer), nil
}

// keep writes the answer to batch i down, behind its digest: only the recipient could tell
// that it was damaged, and too late.
func (s *state) keep(i int, answer []byte) error {
	sum := sha256.Sum256(answer)
	return s.write(replyName(i), append(sum[:], answer...))
}

// answer returns the answer to batch i; nil where there is none, or a damaged one.
func (s *state) answer(i int) ([]byte, error) {
	b, err := s.read(replyName(i))
	if err != nil || len(b) < sha256.Size || sha256.Sum256(b[sha256.Size:]) != [sha256.Size]byte(b) {
		return nil, err
	}
	return b[sha256.Size:], nil
}

// remove removes everything, and last what says of which run it was.
func (s *state) remove() error {
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != runFile {
			err = errors.Join(err, os.Remove(s.path(e.Name())))
		}
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(s.folder)
}
