// Package outfile refuses to write a file where something else lies: an input of
// the same command, another of its outputs, a device, or a file that an earlier
// run of the command has not made. A mistyped flag then costs nothing.
package outfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"tarn/keys/fault"
)

// Input is a file that a command reads.
type Input struct{ Flag, Path string }

// Output is a file that a command is going to write. One with no path, or "-",
// is none.
type Output struct {
	Flag string // as the user gives it, for messages
	Path string
	// Kind is what it is, for messages: "a quarantine file".
	Kind string
	// Earlier reports whether a file that begins with these bytes, up to 4 KiB of
	// it, may be replaced. Nil replaces any regular file. An empty file always may
	// be replaced.
	Earlier func(start []byte) bool
}

const startBytes = 4 << 10

// Check refuses outputs with kind [fault.Usage], and those whose folder cannot be
// written with kind [fault.Internal]. doing is what the command does.
func Check(doing string, inputs []Input, outputs []Output) error {
	taken := make([]place, 0, len(inputs)+len(outputs))
	for _, in := range inputs {
		if in.Path != "" && in.Path != "-" {
			taken = append(taken, placeOf(in.Flag, in.Path))
		}
	}
	for _, out := range outputs {
		if out.Path == "" || out.Path == "-" {
			continue
		}
		p := placeOf(out.Flag, out.Path)
		for i := range taken {
			if p.same(&taken[i]) {
				return fault.New(fault.Usage, doing, out.Flag+" and "+taken[i].flag+" name the same file", "give each a file of its own")
			}
		}
		if err := out.checkExisting(doing); err != nil {
			return err
		}
		taken = append(taken, p)
	}
	return nil
}

// Same reports whether two paths name one file, which need not be there.
func Same(a, b string) bool {
	p, q := placeOf("", a), placeOf("", b)
	return p.same(&q)
}

// place is where a file lies, or would.
type place struct {
	flag, path string
	info       os.FileInfo // nil where nothing is there
}

func placeOf(flag, path string) place {
	p := place{flag: flag, path: resolved(path)}
	p.info, _ = os.Stat(path) // what cannot be looked at will be found out when it is written
	return p
}

// resolved returns the path with every link in its folder followed; the file
// itself need not be there.
func resolved(path string) string {
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err == nil {
		folder, err = filepath.Abs(folder)
	}
	if err != nil {
		return filepath.Clean(path)
	}
	return filepath.Join(folder, filepath.Base(path))
}

func (p *place) same(o *place) bool {
	return p.path == o.path || p.info != nil && o.info != nil && os.SameFile(p.info, o.info)
}

// checkExisting refuses to replace what is no earlier output.
func (out *Output) checkExisting(doing string) error {
	next := "name another file with " + out.Flag
	if err := unix.Access(filepath.Dir(out.Path), unix.W_OK); err != nil {
		return fault.Wrap(fault.Internal, doing, &os.PathError{Op: "writing to the folder of", Path: out.Path, Err: err}, "choose a folder that exists and can be written with "+out.Flag)
	}
	info, err := os.Stat(out.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fault.Wrap(fault.Usage, doing, err, next)
	case info.IsDir():
		return fault.New(fault.Usage, doing, "the name given with "+out.Flag+" is that of a folder", next)
	case !info.Mode().IsRegular():
		return fault.New(fault.Usage, doing, "what lies under the name given with "+out.Flag+" is no regular file", next)
	case out.Earlier == nil || info.Size() == 0:
		return nil
	}
	f, err := os.Open(out.Path)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, next)
	}
	defer func() { _ = f.Close() }() // opened for reading
	start := make([]byte, startBytes)
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Wrap(fault.Usage, doing, err, next)
	}
	if !out.Earlier(start[:n]) {
		return fault.New(fault.Usage, doing, "the file given with "+out.Flag+" exists and is not "+out.Kind, next+", or remove it")
	}
	return nil
}

// unfinished matches what is appended to the name of a file or folder, behind a dot, until
// it is complete.
var unfinished = regexp.MustCompile(`^(\d+|\.partial-[0-9a-f]+)$`)

// RemoveUnfinished removes what a run that was killed left beside its outputs at these
// paths, of which some may be empty. The caller holds a lock that says that no run is
// writing them now.
func RemoveUnfinished(outputs ...string) {
	for _, path := range outputs {
		if path == "" {
			continue
		}
		path = filepath.Clean(path)
		folder, prefix := filepath.Dir(path), "."+filepath.Base(path)
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue // creating the output will say so
		}
		for _, e := range entries {
			if rest, ok := strings.CutPrefix(e.Name(), prefix); ok && unfinished.MatchString(rest) {
				_ = os.RemoveAll(filepath.Join(folder, e.Name())) // nothing depends on it
			}
		}
	}
}

// leftRows matches what is appended to the name of a file that a killed run has left: a
// random number, which is hardly ever as short as a date.
var leftRows = regexp.MustCompile(`^\d{10,19}$`)

// RemoveLeft removes what runs that were killed left of files at these paths, of which some
// may be empty: rows that nobody looks for. A file that is being written is locked, and
// stays.
func RemoveLeft(outputs ...string) {
	for _, path := range outputs {
		if path == "" || path == "-" {
			continue
		}
		path = filepath.Clean(path)
		folder, prefix := filepath.Dir(path), "."+filepath.Base(path)
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue // creating the output will say so
		}
		for _, e := range entries {
			if rest, ok := strings.CutPrefix(e.Name(), prefix); ok && leftRows.MatchString(rest) && e.Type().IsRegular() {
				removeUnlocked(filepath.Join(folder, e.Name()))
			}
		}
	}
}

// removeUnlocked removes a file that no process has locked.
func removeUnlocked(path string) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return // somebody else's
	}
	defer func() { _ = f.Close() }() // nothing was written
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.Remove(path) // nothing depends on it
	}
}
