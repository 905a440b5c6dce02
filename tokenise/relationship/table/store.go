package table

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Store reads a folder's tables while others may replace them: each look is of the tables
// that count at its beginning. It is safe for concurrent use.
type Store struct {
	folder string
	clock  func() time.Time
	read   func(folder string) (*Document, error) // Read, and what tests do meanwhile

	mu      sync.Mutex
	current *View
}

// NewStore returns a store of a folder, in which nothing needs to be yet.
func NewStore(folder string, clock func() time.Time) *Store {
	return &Store{folder: folder, clock: clock, read: Read}
}

// View is the tables that counted at one time.
type View struct {
	Document *Document

	store  *Store
	of     fs.FileInfo // of the document
	opened time.Time
	tables map[Key]*Table
	failed map[Key]error
	users  int
	stale  bool
}

// tryAgain is after how long a table that could not be opened is tried again.
const tryAgain = 5 * time.Second

// openTries is how often the tables are looked for where they are replaced meanwhile.
const openTries = 5

// View returns the tables that count now. Release it. ErrNone, ErrDamaged, or an error of
// the file system; then there are none.
func (s *Store) View() (*View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := filepath.Join(s.folder, DocumentFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNone
	}
	if err == nil && (s.current == nil || !s.current.is(info) || s.current.retry(s.clock())) {
		s.replace(nil)
		var v *View
		for range openTries {
			if v, err = s.open(path); !errors.Is(err, errReplaced) {
				break
			}
		}
		if err == nil {
			s.replace(v)
		}
	}
	if err != nil {
		s.replace(nil)
		return nil, err
	}
	s.current.users++
	return s.current, nil
}

// is reports whether a document is the one that the view is of: replacing gives it another
// file.
func (v *View) is(info fs.FileInfo) bool {
	return os.SameFile(v.of, info) && v.of.ModTime().Equal(info.ModTime()) && v.of.Size() == info.Size()
}

func (v *View) retry(now time.Time) bool {
	return len(v.failed) > 0 && now.Sub(v.opened) >= tryAgain
}

// errReplaced says that the tables were replaced while they were opened.
var errReplaced = errors.New("table: the tables were replaced")

func (s *Store) open(path string) (*View, error) {
	before, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	v := &View{store: s, of: before, opened: s.clock(), tables: map[Key]*Table{}, failed: map[Key]error{}}
	if v.Document, err = s.read(s.folder); err != nil {
		return nil, err
	}
	for i := range v.Document.Tables {
		e := &v.Document.Tables[i]
		key, err := e.Key()
		if err != nil {
			v.close()
			return nil, ErrDamaged
		}
		t, err := Open(s.folder, e)
		if err != nil {
			v.failed[key] = err
			continue
		}
		v.tables[key] = t
	}
	// What was replaced meanwhile may be gone, and the document not the one that was read.
	if after, err := os.Stat(path); err != nil || !v.is(after) {
		v.close()
		return nil, errReplaced
	}
	return v, nil
}

// replace has another view be the current one, or none.
func (s *Store) replace(v *View) {
	if old := s.current; old != nil {
		if old.stale = true; old.users == 0 {
			old.close()
		}
	}
	s.current = v
}

// Table returns whose table a key's is: nil where there is none, an error where there is one
// that cannot be read.
func (v *View) Table(key Key) (*Table, error) {
	if err := v.failed[key]; err != nil {
		return nil, err
	}
	return v.tables[key], nil
}

// Failed returns how many tables cannot be read.
func (v *View) Failed() int { return len(v.failed) }

// Release ends a look.
func (v *View) Release() {
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	if v.users--; v.users == 0 && v.stale {
		v.close()
	}
}

func (v *View) close() {
	for _, t := range v.tables {
		_ = t.Close() // opened for reading
	}
}

// Close closes the tables, once nobody looks at them any more.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replace(nil)
}
