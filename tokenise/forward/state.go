package forward

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/parcel"
	"tarn/keys/secret"
)

// StateSuffix ends the name of the folder, beside the parcel, of what a run has sent and
// got so far. A request is written down before it is sent: it is encrypted anew each time
// it is made, and only the same bytes are charged once.
const StateSuffix = ".sending"

// state is what a run has done so far. It is locked until it is closed.
type state struct {
	folder string
	lock   *os.File
	begun  bool // by this run
	// tried says that a request was sent of which it is not known that the key holder
	// refused it: it may have been charged.
	tried atomic.Bool
}

// stateOf is what a run is about; another run's state is not used. The table counts by what
// is in it, whatever it is called and whenever it was written.
type stateOf struct {
	Schema string `json:"schema"`
	Run    string `json:"run"`   // digest of what was asked for
	Input  string `json:"input"` // keyed digest of the table's rows: a plain one of a short table could be searched for
}

const stateSchema = "tarn.parcel-state/1"

const (
	runFile  = "run.json"
	idFile   = "run.id"
	keyFile  = "run.key"
	lockFile = "run.lock"
)

// anew is what to do about a state that is of no use.
const anew = "remove the folder: what was converted then is charged again"

// openState begins the state of a run over a table of these rows, or goes on with it.
func openState(folder, run string, rows [sha256.Size]byte, randomness io.Reader) (_ *state, err error) {
	doing := "reading what an interrupted run has left in " + folder
	if nobodys(folder) {
		return nil, fault.New(fault.Usage, doing, "it is there, and does not say of which run it is", "remove it")
	}
	if err := os.Mkdir(folder, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
		_ = os.Chmod(folder, 0o700) // writing says what is wrong with it
	} else {
		return nil, fault.Wrap(fault.Internal, "writing "+folder, err, "give --out a folder that exists and can be written")
	}
	s := &state{folder: folder}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.lock, err = os.OpenFile(s.path(lockFile), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600); err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+folder, err, "make it writable, or "+anew)
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, fault.New(fault.Usage, doing, "another run is writing the same output", "wait until it ends, or name another file with --out")
	}
	// The run before may have removed it while this one opened it.
	if opened, err := s.lock.Stat(); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	} else if named, err := os.Lstat(s.path(lockFile)); err != nil || !os.SameFile(opened, named) {
		return nil, fault.New(fault.Usage, doing, "another run has just written the same output", "run again if that is meant")
	}
	key, err := s.drawn(keyFile, secret.Size, randomness)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(rows[:])
	want, err := keys.Encode(stateOf{stateSchema, run, hex.EncodeToString(mac.Sum(nil))})
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "it could not be written down", "")
	}
	switch there, err := s.read(runFile); {
	case err != nil:
		return nil, err
	case there == nil:
		s.begun = true
		return s, s.write(runFile, want)
	case string(there) != string(want):
		return nil, fault.New(fault.Usage, doing, "it is of another run, or the table was changed since", "run what was run before, or "+anew)
	}
	return s, nil
}

// nobodys reports whether a folder holds what is of nobody knows which run: more than one
// that was killed before it had said so can have left.
func nobodys(folder string) bool {
	left, _ := os.ReadDir(folder) // making it says what is wrong
	return !slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() == runFile }) &&
		slices.ContainsFunc(left, func(e os.DirEntry) bool {
			return e.Name() != lockFile && e.Name() != keyFile && !strings.HasPrefix(e.Name(), ".run.")
		})
}

// close lets go of the lock.
func (s *state) close() {
	if s != nil && s.lock != nil {
		_ = s.lock.Close() // it holds nothing
	}
}

// id returns the id of the run, which is drawn once.
func (s *state) id(randomness io.Reader) (string, error) {
	b, err := s.drawn(idFile, 16, randomness)
	return hex.EncodeToString(b), err
}

// drawn returns so many random bytes that are drawn once.
func (s *state) drawn(name string, n int, randomness io.Reader) ([]byte, error) {
	b, err := s.read(name)
	if err != nil || len(b) == n {
		return b, err
	}
	b = make([]byte, n)
	if _, err := io.ReadFull(randomness, b); err != nil {
		return nil, fault.New(fault.Internal, sending, "no random bytes can be had", "")
	}
	return b, s.write(name, b)
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

// request returns the request of batch i; nil where there is none. One that is damaged is
// an error: another request would be charged again, and nobody is to be charged unasked.
func (s *state) request(i int) ([]byte, error) {
	b, whole, err := s.summed(requestName(i))
	if err != nil || b == nil || whole {
		return b, err
	}
	return nil, fault.New(fault.Usage, "reading "+s.path(requestName(i)), "it is damaged", "remove it, then run again: if its rows were converted they are charged again")
}

// keepRequest writes the request of batch i down.
func (s *state) keepRequest(i int, request []byte) error {
	return s.keepSummed(requestName(i), request)
}

// keep writes the answer to batch i down.
func (s *state) keep(i int, answer []byte) error { return s.keepSummed(replyName(i), answer) }

// keepSummed writes a file behind its digest: only who receives it could tell that it was
// damaged, and too late.
func (s *state) keepSummed(name string, content []byte) error {
	sum := sha256.Sum256(content)
	return s.write(name, append(sum[:], content...))
}

// summed reads what keepSummed wrote; nil where it is not there.
func (s *state) summed(name string) (content []byte, whole bool, err error) {
	b, err := s.read(name)
	if err != nil || b == nil {
		return nil, false, err
	}
	if len(b) < sha256.Size || sha256.Sum256(b[sha256.Size:]) != [sha256.Size]byte(b) {
		return b, false, nil
	}
	return b[sha256.Size:], true, nil
}

// answer returns the answer to batch i; nil where there is none, or a damaged one.
func (s *state) answer(i int) ([]byte, error) {
	b, whole, err := s.summed(replyName(i))
	if !whole {
		return nil, err
	}
	return b, nil
}

// answered reports whether batch i, of this request, was answered.
func (s *state) answered(i int, request []byte) (bool, error) {
	answer, err := s.answer(i)
	if err != nil || answer == nil {
		return false, err
	}
	return parcel.IsAnswer(request, answer), nil
}

// forget removes the state of a run that has failed, where nothing was charged: it was begun
// by this run, and the key holder has refused all that was asked, if anything was.
func (s *state) forget() {
	if s != nil && s.begun && !s.tried.Load() {
		_ = s.remove() // the run has failed already
	}
}

// remove removes everything, and last what says of which run it was.
func (s *state) remove() error {
	entries, err := os.ReadDir(s.folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != runFile && e.Name() != lockFile {
			err = errors.Join(err, os.Remove(s.path(e.Name())))
		}
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(s.folder)
}
